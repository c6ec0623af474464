//! `top-nested`: the greatest values of a column, within each the greatest of the next. Kusto docs: `top-nested-operator`.

use super::summarize::{Found, bind_aggregate, bind_keys};
use super::take::row_count;
use crate::binder::naming::Names;
use crate::binder::{Binder, Relation};
use crate::bound::{Column, ColumnId, Expr as Bound, JoinKind, Plan, SortKey};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind};
use crate::types::{ScalarType, Value};
use std::sync::Arc;

/// `top-nested N of key with others = value by aggregate asc`
#[derive(Clone, Debug)]
pub struct Level {
    pub count: Option<Expr>,
    pub key: Expr,
    pub others: Option<Expr>,
    pub aggregate: Expr,
    pub ascending: bool,
}

#[derive(Clone, Debug)]
pub struct TopNested {
    pub levels: Vec<Level>,
    pub span: Span,
}

impl TopNested {
    pub(crate) fn name(&self) -> &'static str {
        "top-nested"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> TopNested {
        let mut levels = Vec::new();
        loop {
            let count = (!parser.at_word("of")).then(|| parser.expression());
            parser.expect_word("of");
            let key = parser.named_expression();
            let others = parser.eat_word("with").then(|| {
                parser.expect_word("others");
                parser.expect(Token::Assign, "=");
                parser.expression()
            });
            parser.expect_word("by");
            let aggregate = parser.named_expression();
            let ascending = parser.eat_word("asc");
            if !ascending {
                parser.eat_word("desc");
            }
            levels.push(Level { count, key, others, aggregate, ascending });
            if !parser.eat(Token::Comma) {
                return TopNested { levels, span };
            }
            if parser.at_word("top-nested") || parser.text() == "top" && parser.peek_at(1) == Token::Minus {
                for _ in 0..3 {
                    parser.bump();
                }
            }
        }
    }

    /// Columns: for each level its key and its aggregate. Below `others` a next level has its own `others`, of the same rows, or
    /// nulls.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let mut names = Names::default();
        let columns = input.columns.clone();
        let mut keyed: Vec<(Column, Bound)> = columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        let mut keys = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let (named, value) = bind_keys(binder, &input, std::slice::from_ref(&level.key)).0.pop()?;
            binder.not_dynamic(&value, level.key.span);
            let name = names.unique(&named.name);
            let column = binder.column(name, value.ty);
            keyed.push((column.clone(), value));
            keys.push(column);
        }
        let rows = binder.project(input, keyed);
        let mut below = Rows { plan: Arc::new(rows.plan), columns, keys };
        let mut result: Option<Relation> = None;
        let mut left_out: Vec<LeftOut> = Vec::new();
        for (at, level) in self.levels.iter().enumerate() {
            let (chosen, kept) = self.level(binder, &below, at, level, &mut left_out, &mut names)?;
            result = Some(match result {
                None => chosen,
                Some(upper) => nested(binder, upper, chosen, at),
            });
            below = kept;
        }
        if self.levels.iter().any(|level| level.others.is_some()) {
            return result;
        }
        // The greatest group first, and in it the greatest below it.
        let Relation { plan, columns } = result?;
        let mut keys = Vec::with_capacity(columns.len());
        for (level, shown) in self.levels.iter().zip(columns.chunks(2)) {
            keys.push(SortKey { expr: Bound::column(&shown[1]), descending: !level.ascending, nulls_first: level.ascending });
            keys.push(SortKey { expr: Bound::column(&shown[0]), descending: false, nulls_first: true });
        }
        Some(Relation { plan: Plan::Sort { input: Box::new(plan), keys }, columns })
    }

    /// The keys so far with the aggregate, those that are chosen and those of `others`; and the rows that are chosen.
    fn level(&self, binder: &mut Binder, rows: &Rows, at: usize, level: &Level, left_out: &mut Vec<LeftOut>, names: &mut Names) -> Option<(Relation, Rows)> {
        let fallback = format!("aggregated_{}", rows.keys[at].name);
        let name = match &level.aggregate.kind {
            ExprKind::Named { names, .. } => names[0].node.clone(),
            _ => fallback,
        };
        let name = names.unique(&name);
        let groups = rows.aggregate(binder, at + 1, &level.aggregate, &name)?;
        let value = groups.columns.last().cloned()?;
        let sorted = Plan::Sort { input: Box::new(groups.plan), keys: vec![SortKey { expr: Bound::column(&value), descending: !level.ascending, nulls_first: level.ascending }] };
        let plan = match &level.count {
            None => sorted,
            Some(count) => {
                let count = row_count(binder, count)?;
                let partition: Vec<ColumnId> = groups.columns[..at].iter().map(|column| column.id).collect();
                Plan::TakePerGroup { input: Box::new(sorted), partition, count }
            }
        };
        let plan = Arc::new(plan);
        let kept = rows.joined(binder, JoinKind::LeftSemi, &plan, &groups.columns, at + 1);
        let chosen = binder.reference(&plan, &groups.columns);
        let Some(others) = &level.others else {
            left_out.iter_mut().for_each(|rest| rest.labels.push(Bound::literal(Value::Null(rows.keys[at].ty))));
            return Some((chosen, kept));
        };
        let label = binder.with_row(&[], |binder| binder.scalar(others));
        let label = binder.convert(label, rows.keys[at].ty);
        left_out.push(LeftOut { rows: rows.joined(binder, JoinKind::LeftAnti, &plan, &groups.columns, at + 1), labels: Vec::new() });
        let values = |relation: &Relation| -> Vec<Bound> { relation.columns.iter().map(Bound::column).collect() };
        let mut inputs = vec![(chosen.plan.clone(), values(&chosen))];
        for rest in left_out {
            rest.labels.push(label.clone());
            let depth = at + 1 - rest.labels.len();
            let aggregated = rest.rows.aggregate(binder, depth, &level.aggregate, &name)?;
            let mut shown = values(&aggregated);
            shown.splice(depth..depth, rest.labels.iter().cloned());
            inputs.push((aggregated.plan, shown));
        }
        let columns: Vec<Column> = chosen.columns.iter().map(|column| binder.column(column.name.clone(), column.ty)).collect();
        Some((Relation { plan: Plan::Union { inputs, columns: columns.clone() }, columns }, kept))
    }
}

/// Rows that a level did not choose, with the keys that this level and the next ones show for them.
struct LeftOut {
    rows: Rows,
    labels: Vec<Bound>,
}

/// Rows with the keys of all levels beside their columns.
struct Rows {
    plan: Arc<Plan>,
    columns: Vec<Column>,
    keys: Vec<Column>,
}

impl Rows {
    fn view(&self, binder: &mut Binder) -> (Relation, Vec<Column>) {
        let all: Vec<Column> = self.columns.iter().chain(&self.keys).cloned().collect();
        let view = binder.reference(&self.plan, &all);
        let keys = view.columns[self.columns.len()..].to_vec();
        (view, keys)
    }

    /// The aggregate by the first `depth` keys.
    fn aggregate(&self, binder: &mut Binder, depth: usize, aggregate: &Expr, name: &str) -> Option<Relation> {
        let (view, keys) = self.view(binder);
        let own = Relation { plan: view.plan, columns: view.columns[..self.columns.len()].to_vec() };
        let by: Vec<(Column, Bound)> = keys[..depth].iter().map(|key| (binder.column(key.name.clone(), key.ty), Bound::column(key))).collect();
        let mut found = Found { aggregates: Vec::new(), results: Vec::new(), names: Names::default() };
        bind_aggregate(binder, &own, aggregate, &by, &mut found);
        let (_, value) = found.results.pop()?;
        let mut columns: Vec<(Column, Bound)> = by.iter().map(|(column, _)| (binder.column(column.name.clone(), column.ty), Bound::column(column))).collect();
        columns.push((binder.column(name, value.ty), value));
        // No rows are no row of `others`.
        let counted = binder.column("$rows", ScalarType::Long);
        let count = crate::bound::Aggregate { function: "count".to_owned(), arguments: Vec::new(), filter: None, ty: ScalarType::Long, span: Span::default() };
        found.aggregates.push((counted.clone(), count));
        let plan = Plan::Aggregate { input: Box::new(own.plan), by, aggregates: found.aggregates };
        let some = Bound::call(">", ScalarType::Bool, vec![Bound::column(&counted), Bound::literal(Value::Long(0))]);
        let plan = Plan::Filter { input: Box::new(plan), predicate: some };
        Some(binder.project(Relation { plan, columns: Vec::new() }, columns))
    }

    /// The rows whose first `depth` keys are, or are not, among those of `groups`.
    fn joined(&self, binder: &mut Binder, kind: JoinKind, groups: &Arc<Plan>, columns: &[Column], depth: usize) -> Rows {
        let (view, keys) = self.view(binder);
        let groups = binder.reference(groups, columns);
        let pairs = pairs(&keys[..depth], &groups.columns[..depth]);
        let own = view.columns[..self.columns.len()].to_vec();
        let plan = Plan::Join { kind, left: Box::new(view.plan), right: Box::new(groups.plan), keys: pairs, left_columns: view.columns, right_columns: groups.columns };
        Rows { plan: Arc::new(plan), columns: own, keys }
    }
}

/// The keys of both sides; without any, all rows go together.
fn pairs(left: &[Column], right: &[Column]) -> Vec<(Bound, Bound)> {
    let mut pairs: Vec<(Bound, Bound)> = left.iter().zip(right).map(|(left, right)| (Bound::column(left), Bound::column(right))).collect();
    if pairs.is_empty() {
        pairs.push((Bound::literal(Value::Long(0)), Bound::literal(Value::Long(0))));
    }
    pairs
}

/// The levels so far with the next one: `depth` keys in common.
fn nested(binder: &mut Binder, upper: Relation, lower: Relation, depth: usize) -> Relation {
    let upper_keys: Vec<Column> = upper.columns.iter().step_by(2).take(depth).cloned().collect();
    let keys = pairs(&upper_keys, &lower.columns[..depth]);
    let shown: Vec<Column> = upper.columns.iter().chain(&lower.columns[depth..]).cloned().collect();
    let plan = Plan::Join { kind: JoinKind::LeftOuter, left: Box::new(upper.plan), right: Box::new(lower.plan), keys, left_columns: upper.columns, right_columns: lower.columns };
    let columns = shown.iter().map(|column| (column.clone(), Bound::column(column))).collect();
    binder.project(Relation { plan, columns: Vec::new() }, columns)
}
