//! `mv-expand` and `mv-apply`: elements of dynamic arrays and bags as rows.
//! Kusto docs: `mv-expand-operator`, `mv-apply-operator`.

use super::Operator;
use super::take::row_count;
use crate::binder::naming::{Names, automatic_name};
use crate::binder::{Binder, GroupContext, Relation};
use crate::bound::{Column, Expansion, Expr as Bound, Plan};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};

/// `name = expr to typeof(type)`
#[derive(Clone, Debug)]
pub struct Item {
    pub expr: Expr,
    pub ty: Option<ScalarType>,
}

#[derive(Clone, Debug)]
pub struct MvExpand {
    pub parameters: Vec<OperatorParameter>,
    pub items: Vec<Item>,
    pub limit: Option<Expr>,
    pub span: Span,
}

impl MvExpand {
    pub(crate) fn name(&self) -> &'static str {
        "mv-expand"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> MvExpand {
        let parameters = parser.operator_parameters();
        let items = parser.comma_list(parse_item);
        let limit = parser.eat_word("limit").then(|| parser.expression());
        MvExpand { parameters, items, limit, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        expand(binder, input, &self.parameters, &self.items, self.limit.as_ref())
    }
}

fn parse_item(parser: &mut Parser) -> Item {
    let expr = parser.named_expression();
    let mut ty = None;
    if parser.eat_word("to") {
        parser.expect_word("typeof");
        parser.expect(Token::OpenParen, "(");
        ty = Some(parser.scalar_type());
        parser.expect(Token::CloseParen, ")");
    }
    Item { expr, ty }
}

fn expand(binder: &mut Binder, input: Relation, parameters: &[OperatorParameter], items: &[Item], limit: Option<&Expr>) -> Option<Relation> {
    let limit = match limit {
        Some(limit) => match row_count(binder, limit)?.as_literal() {
            Some(Value::Long(count)) => Some(*count as u64),
            _ => {
                binder.refuse("a computed number of elements", limit.span);
                return None;
            }
        },
        None => None,
    };
    let mut columns = input.columns.clone();
    let mut expansions = Vec::with_capacity(items.len());
    for item in items {
        let (name, value) = match &item.expr.kind {
            ExprKind::Named { names, value } => (Some(names[0].node.clone()), value.as_ref()),
            _ => (automatic_name(&item.expr), &item.expr),
        };
        let source = binder.with_row(&input.columns, |binder| binder.scalar(value));
        if source.ty != ScalarType::Dynamic {
            binder.error(codes::TYPE_EXPECTED, "the expression must have the type dynamic", value.span, format!("this is {}", source.ty));
            return None;
        }
        let ty = item.ty.unwrap_or(ScalarType::Dynamic);
        let name = name.unwrap_or_else(|| format!("Column{}", expansions.len() + 1));
        let element = binder.column(name.clone(), ty);
        match columns.iter_mut().find(|column| column.name == name) {
            Some(slot) => *slot = element.clone(),
            None => columns.push(element.clone()),
        }
        expansions.push(Expansion { source, element });
    }
    let index = parameter(parameters, "with_itemindex").and_then(Expr::name).map(|name| {
        let mut names = Names::with(columns.iter().map(|column| column.name.clone()));
        binder.column(names.unique(name), ScalarType::Long)
    });
    let bag_as_array = ["kind", "bagexpansion"].iter().any(|name| parameter(parameters, name).and_then(Expr::name) == Some("array"));
    let mut keep: Vec<Column> = input.columns;
    if let Some(group) = &binder.group {
        for carried in group.carried.iter().chain([&group.row_id]) {
            if !keep.iter().any(|column| column.id == carried.id) {
                keep.push(carried.clone());
            }
        }
    }
    columns.extend(index.clone());
    let plan = Plan::MvExpand { input: Box::new(input.plan), expansions, index, limit, keep, bag_as_array };
    let shown = columns.into_iter().map(|column| (column.clone(), Bound::column(&column))).collect();
    Some(binder.project(Relation { plan, columns: Vec::new() }, shown))
}

#[derive(Clone, Debug)]
pub struct MvApply {
    pub parameters: Vec<OperatorParameter>,
    pub items: Vec<Item>,
    pub limit: Option<Expr>,
    pub operators: Vec<Operator>,
    pub span: Span,
}

impl MvApply {
    pub(crate) fn name(&self) -> &'static str {
        "mv-apply"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> MvApply {
        let parameters = parser.operator_parameters();
        let items = parser.comma_list(parse_item);
        let limit = parser.eat_word("limit").then(|| parser.expression());
        parser.expect_word("on");
        let operators = parser.subquery();
        MvApply { parameters, items, limit, operators, span }
    }

    /// The subquery runs once over all rows, grouped by the row each element came from. Within another such subquery it carries
    /// along what that one carries.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let around = binder.group.take();
        let relation = self.apply(binder, input, around.as_ref());
        binder.group = around;
        let (relation, shown) = relation?;
        Some(binder.project(relation, shown))
    }

    fn apply(&self, binder: &mut Binder, input: Relation, around: Option<&GroupContext>) -> Option<(Relation, Vec<(Column, Bound)>)> {
        let row_id = binder.column("$row", ScalarType::Long);
        let expanded: Vec<String> = self.items.iter().filter_map(|item| automatic_name(&item.expr)).collect();
        let outer: Vec<Column> = input.columns.iter().filter(|column| !expanded.contains(&column.name)).cloned().collect();
        let mut numbered = Relation { plan: Plan::RowId { input: Box::new(input.plan), column: row_id.clone() }, columns: input.columns.clone() };
        // Outer columns are carried below every operator of the subquery, under ids of their own.
        let carried: Vec<Column> = outer.iter().map(|column| binder.column(column.name.clone(), column.ty)).collect();
        let mut group = GroupContext { row_id: row_id.clone(), carried: carried.clone() };
        group.carried.extend(around.iter().flat_map(|around| around.carried.iter().chain([&around.row_id]).cloned()));
        let own = numbered.columns.iter().chain(&group.carried[carried.len()..]).chain([&row_id]);
        let mut copies: Vec<(Column, Bound)> = Vec::with_capacity(2 * outer.len() + 1);
        for column in own {
            if !copies.iter().any(|(copied, _)| copied.id == column.id) {
                copies.push((column.clone(), Bound::column(column)));
            }
        }
        copies.extend(carried.iter().zip(&outer).map(|(copy, column)| (copy.clone(), Bound::column(column))));
        numbered.plan = Plan::Project { input: Box::new(numbered.plan), columns: copies };
        binder.group = Some(group.clone());
        let expanded = expand(binder, numbered, &self.parameters, &self.items, self.limit.as_ref());
        binder.group = None;
        let relation = grouped(binder, group, expanded?, &self.operators, "mv-apply")?;
        // Outer columns that the subquery kept are shown once, in their first place.
        let mut shown: Vec<(Column, Bound)> = Vec::new();
        for (copy, column) in carried.iter().zip(&outer) {
            match relation.columns.iter().find(|inner| inner.name == column.name) {
                Some(inner) => shown.push((inner.clone(), Bound::column(inner))),
                None => shown.push((copy.clone(), Bound::column(copy))),
            }
        }
        for inner in &relation.columns {
            if !shown.iter().any(|(column, _)| column.name == inner.name) {
                shown.push((inner.clone(), Bound::column(inner)));
            }
        }
        Some((relation, shown))
    }
}

/// Whether an operator can work on all groups of rows at once.
pub(super) fn runs_grouped(operator: &Operator) -> bool {
    const GROUPED: &[&str] = &[
        "where",
        "extend",
        "project",
        "project-away",
        "project-keep",
        "project-rename",
        "project-reorder",
        "project-by-names",
        "summarize",
        "distinct",
        "count",
        "take",
        "sample",
        "top",
        "sort",
        "mv-expand",
        "mv-apply",
        "parse",
        "parse-where",
        "parse-kv",
        "make-series",
        "scan",
        "as",
        "serialize",
    ];
    GROUPED.contains(&operator.name())
}

/// Runs a subquery over all rows at once, every operator by group; the others are refused.
pub(super) fn grouped(binder: &mut Binder, group: GroupContext, input: Relation, operators: &[Operator], outer: &str) -> Option<Relation> {
    for operator in operators {
        if !runs_grouped(operator) {
            binder.refuse(&format!("`{}` inside `{outer}`", operator.name()), operator.span());
            return None;
        }
    }
    binder.group = Some(group);
    let mut relation = Some(input);
    for operator in operators {
        relation = match relation {
            Some(input) if binder.require_operator(operator.name(), operator.span()) => operator.bind(binder, input),
            _ => None,
        };
    }
    binder.group = None;
    relation
}
