//! `join` and `lookup`. Kusto docs: `join-operator`, `lookup-operator`.

use crate::binder::naming::Names;
use crate::binder::{Binder, Relation, RowScope};
use crate::bound::{Column, Expr as Bound, JoinKind, Plan};
use crate::diagnostics::{Diagnostic, codes};
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, OperatorParameter, parameter};
use crate::types::ScalarType;

#[derive(Clone, Debug)]
pub struct Join {
    pub parameters: Vec<OperatorParameter>,
    pub right: Expr,
    pub on: Vec<Expr>,
    pub lookup: bool,
    pub span: Span,
}

const KINDS: &[(&str, JoinKind)] = &[
    ("innerunique", JoinKind::InnerUnique),
    ("inner", JoinKind::Inner),
    ("leftouter", JoinKind::LeftOuter),
    ("rightouter", JoinKind::RightOuter),
    ("fullouter", JoinKind::FullOuter),
    ("leftsemi", JoinKind::LeftSemi),
    ("rightsemi", JoinKind::RightSemi),
    ("leftanti", JoinKind::LeftAnti),
    ("leftantisemi", JoinKind::LeftAnti),
    ("anti", JoinKind::LeftAnti),
    ("rightanti", JoinKind::RightAnti),
    ("rightantisemi", JoinKind::RightAnti),
];

impl Join {
    pub(crate) fn name(&self) -> &'static str {
        if self.lookup { "lookup" } else { "join" }
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span, lookup: bool) -> Join {
        let parameters = parser.operator_parameters();
        let right = parser.unary();
        let mut on = Vec::new();
        if parser.eat_word("on") {
            on = parser.comma_list(|parser| parser.expression());
        } else if parser.eat_word("where") {
            parser.expression();
        } else {
            parser.error_here(codes::EXPECTED, "expected: on");
        }
        Join { parameters, right, on, lookup, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, left: Relation) -> Option<Relation> {
        let kind = self.kind(binder)?;
        let table = binder.row.table_name.clone();
        let group = binder.group.take();
        let right = binder.with_row(&[], |binder| binder.tabular(&self.right));
        binder.group = group;
        binder.row.table_name = table;
        let right = right?;
        let mut keys = Vec::new();
        for condition in &self.on {
            self.condition(binder, condition, &left, &right, &mut keys);
        }
        Some(self.result(binder, kind, left, right, keys))
    }

    fn kind(&self, binder: &mut Binder) -> Option<JoinKind> {
        let Some(kind) = parameter(&self.parameters, "kind") else {
            return Some(if self.lookup { JoinKind::LeftOuter } else { JoinKind::InnerUnique });
        };
        let word = kind.name().unwrap_or_default();
        let known = KINDS.iter().find(|(name, kind)| *name == word && (!self.lookup || matches!(kind, JoinKind::Inner | JoinKind::LeftOuter)));
        if known.is_none() {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            let expected = if self.lookup { "inner, leftouter".to_owned() } else { names.join(", ") };
            binder.error(codes::EXPECTED, format!("expected one of: {expected}"), kind.span, format!("`{word}` is not a kind of {}", self.name()));
        }
        known.map(|(_, kind)| *kind)
    }

    /// One condition of `on`: a common column, or `$left.a == $right.b` in either order.
    fn condition(&self, binder: &mut Binder, condition: &Expr, left: &Relation, right: &Relation, keys: &mut Vec<(Bound, Bound)>) {
        match &condition.kind {
            ExprKind::Name(name) => {
                let has = |side: &Relation| side.columns.iter().any(|column| column.name == *name);
                if binder.open.is_none() && has(left) != has(right) {
                    let absent = if has(left) { "not a column of the right" } else { "not a column of the left" };
                    binder.error(codes::MISSING_COLUMN_OF_JOIN, format!("the column `{name}` must exist on both sides of the join"), condition.span, absent);
                    return;
                }
                let l = binder.with_row(&left.columns, |binder| binder.column_reference(condition));
                let Some(l) = l else { return };
                let Some(r) = binder.with_row(&right.columns, |binder| binder.column_reference(condition)) else { return };
                self.key(binder, Bound::column(&l), Bound::column(&r), condition.span, keys);
            }
            ExprKind::And(conditions) => {
                for condition in conditions {
                    self.condition(binder, condition, left, right, keys);
                }
            }
            ExprKind::Binary { operator, left: a, right: b } if operator.node == "==" => {
                let scope = RowScope { columns: Vec::new(), steps: Vec::new(), sides: Some((left.columns.clone(), right.columns.clone())), table_name: None };
                let outer = std::mem::replace(&mut binder.row, scope);
                let (a_bound, b_bound) = (binder.scalar(a), binder.scalar(b));
                binder.row = outer;
                match (side(a), side(b)) {
                    (Some("$left"), Some("$right")) => self.key(binder, a_bound, b_bound, condition.span, keys),
                    (Some("$right"), Some("$left")) => {
                        let message = "the join condition operand must be: $left.<column>";
                        binder.report(Diagnostic::semantic(codes::SIDE_OF_JOIN, message, a.span).warning().label("the sides are exchanged"));
                        self.key(binder, b_bound, a_bound, condition.span, keys);
                    }
                    _ => binder.error("KS189", "a join condition compares a column of `$left` with one of `$right`", condition.span, "not an equality of both sides"),
                }
            }
            _ => binder.error("KS189", "a join condition is a column name or an equality of both sides", condition.span, "not an equality"),
        }
    }

    fn key(&self, binder: &mut Binder, left: Bound, right: Bound, span: Span, keys: &mut Vec<(Bound, Bound)>) {
        let same = left.ty == right.ty || left.ty.is_number() && right.ty.is_number();
        let dynamic = left.ty == ScalarType::Dynamic || right.ty == ScalarType::Dynamic;
        if !same && !dynamic {
            let message = format!("join keys of the types {} and {} cannot be compared", left.ty, right.ty);
            binder.error(codes::JOIN_TYPES, message, span, "convert one side first");
            return;
        }
        // Kusto compares dynamic keys by their text.
        let keyed = if dynamic { (binder.convert(left, ScalarType::String), binder.convert(right, ScalarType::String)) } else { binder.comparable(left, right) };
        keys.push(keyed);
    }

    /// Columns of both sides; a name of the right that the left has gets a number. `lookup` leaves the right's keys out.
    fn result(&self, binder: &mut Binder, kind: JoinKind, left: Relation, right: Relation, keys: Vec<(Bound, Bound)>) -> Relation {
        let (left_columns, right_columns) = (left.columns.clone(), right.columns.clone());
        let plan = match kind {
            // The first side is held in memory: that of `lookup` is the table of facts, as its page says, so it is exchanged.
            JoinKind::LeftOuter if self.lookup => Plan::Join {
                kind: JoinKind::RightOuter,
                left: Box::new(right.plan),
                right: Box::new(left.plan),
                keys: keys.iter().cloned().map(|(left, right)| (right, left)).collect(),
                left_columns: right_columns,
                right_columns: left_columns,
            },
            _ => Plan::Join { kind, left: Box::new(left.plan), right: Box::new(right.plan), keys: keys.clone(), left_columns, right_columns },
        };
        let one_side = match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => Some(left.columns.clone()),
            JoinKind::RightSemi | JoinKind::RightAnti => Some(right.columns.clone()),
            _ => None,
        };
        if let Some(columns) = one_side {
            return Relation { plan, columns };
        }
        let is_key = |column: &Column| keys.iter().any(|(_, key)| matches!(key.kind, crate::bound::ExprKind::Column(id) if id == column.id));
        let mut names = Names::with(left.columns.iter().map(|column| column.name.clone()));
        let mut shown: Vec<(Column, Bound)> = left.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        // The right's own names stay its own; only what both sides have is numbered.
        let kept: Vec<&Column> = right.columns.iter().filter(|column| !(self.lookup && is_key(column))).collect();
        let own: Vec<bool> = kept.iter().map(|column| names.take(&column.name)).collect();
        for (column, own) in kept.into_iter().zip(own) {
            let name = if own { column.name.clone() } else { names.unique(&column.name) };
            let renamed = if name == column.name { column.clone() } else { binder.column(name, column.ty) };
            shown.push((renamed, Bound::column(column)));
        }
        binder.project(Relation { plan, columns: Vec::new() }, shown)
    }
}

/// `$left` or `$right` when the expression is a column of that side.
fn side(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Path { target, .. } => side(target).or_else(|| target.name()),
        ExprKind::Call { arguments, .. } => arguments.iter().find_map(side),
        ExprKind::Index { target, .. } => side(target),
        _ => None,
    }
}
