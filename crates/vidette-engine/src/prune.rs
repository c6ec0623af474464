//! Which columns a query needs, and which are costly to compute twice.
//!
//! What no one reads is left out before the plan is made: a Defender table has eighty columns, and
//! every optimizer pass looks at every one of every operator.

use std::collections::{HashMap, HashSet};
use vidette_kql::bound::{Column, ColumnId, Expr, ExprKind, Plan};

/// The columns that the result, or something on the way to it, reads.
pub(crate) fn used_columns(plan: &Plan, result: &[Column]) -> HashSet<ColumnId> {
    let mut used: HashSet<ColumnId> = result.iter().map(|column| column.id).collect();
    visit(plan, &mut used);
    used
}

fn mark(expr: &Expr, used: &mut HashSet<ColumnId>) {
    expr.visit(&mut |inner| {
        if let ExprKind::Column(id) = inner.kind {
            used.insert(id);
        }
    });
}

/// From the result towards the tables: an operator's own columns are decided before its input is looked at.
fn visit(plan: &Plan, used: &mut HashSet<ColumnId>) {
    stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || match plan {
        Plan::Table { .. } | Plan::Values { .. } | Plan::Range { .. } | Plan::Graph(_) => {}
        Plan::Filter { input, predicate } => {
            mark(predicate, used);
            visit(input, used);
        }
        Plan::Project { input, columns } => {
            for (column, expr) in columns {
                if used.contains(&column.id) {
                    mark(expr, used);
                }
            }
            visit(input, used);
        }
        Plan::Aggregate { input, by, aggregates } => {
            by.iter().for_each(|(_, expr)| mark(expr, used));
            for (column, aggregate) in aggregates {
                if used.contains(&column.id) {
                    aggregate.arguments.iter().chain(&aggregate.filter).for_each(|expr| mark(expr, used));
                }
            }
            visit(input, used);
        }
        Plan::Sort { input, keys } => {
            keys.iter().for_each(|key| mark(&key.expr, used));
            visit(input, used);
        }
        Plan::Take { input, .. } | Plan::RowId { input, .. } => visit(input, used),
        Plan::TakePerGroup { input, partition, .. } => {
            used.extend(partition);
            visit(input, used);
        }
        Plan::Join { left, right, keys, .. } => {
            for (a, b) in keys {
                mark(a, used);
                mark(b, used);
            }
            visit(left, used);
            visit(right, used);
        }
        Plan::Union { inputs, columns } => {
            for (input, values) in inputs {
                for (column, value) in columns.iter().zip(values) {
                    if used.contains(&column.id) {
                        mark(value, used);
                    }
                }
                visit(input, used);
            }
        }
        Plan::MvExpand { input, expansions, .. } => {
            expansions.iter().for_each(|expansion| mark(&expansion.source, used));
            visit(input, used);
        }
        Plan::Scan { input, kept, declared, steps, .. } => {
            used.extend(kept.iter().map(|column| column.id));
            declared.iter().for_each(|(_, default)| mark(default, used));
            for step in steps {
                mark(&step.condition, used);
                step.assignments.iter().for_each(|(_, value)| mark(value, used));
            }
            visit(input, used);
        }
        Plan::Pass { inputs, .. } => {
            for input in inputs {
                used.extend(input.columns.iter().map(|column| column.id));
                visit(&input.plan, used);
            }
        }
        Plan::Reference { plan, columns, .. } => {
            for (new, old) in columns {
                if used.contains(&new.id) {
                    used.insert(*old);
                }
            }
            visit(plan, used);
        }
    });
}

/// How much work the columns are: expression nodes between a column and the rows it comes from.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    by_column: HashMap<ColumnId, usize>,
    /// Columns that a filter reads.
    filtered: HashSet<ColumnId>,
}

/// A filter on a heavier column stays above the projection that computes it. The optimizer would push it down by copying
/// the column's whole definition into it, once per use, and so compute it again for every row.
const HEAVY: usize = 8;

impl Weights {
    pub(crate) fn of_plan(plan: &Plan) -> Weights {
        let mut filtered = HashSet::new();
        filters(plan, &mut filtered);
        Weights { by_column: HashMap::new(), filtered }
    }

    pub(crate) fn set(&mut self, column: ColumnId, expr: &Expr) {
        let weight = self.of(expr);
        if weight > 0 {
            self.by_column.insert(column, weight);
        }
    }

    pub(crate) fn copy(&mut self, new: ColumnId, old: ColumnId) {
        if let Some(weight) = self.by_column.get(&old).copied() {
            self.by_column.insert(new, weight);
        }
    }

    /// A plain column weighs what it was computed from; a call weighs one more than its arguments.
    fn of(&self, expr: &Expr) -> usize {
        match &expr.kind {
            ExprKind::Literal(_) | ExprKind::Subquery(_) => 0,
            ExprKind::Column(id) => self.by_column.get(id).copied().unwrap_or(0),
            ExprKind::Call { arguments, .. } => arguments.iter().map(|argument| self.of(argument)).fold(1, usize::saturating_add),
        }
    }

    /// Whether a filter on the column must not be moved to where it would be computed again.
    pub(crate) fn heavy(&self, column: ColumnId) -> bool {
        self.filtered.contains(&column) && self.by_column.get(&column).is_some_and(|weight| *weight > HEAVY)
    }
}

/// The columns that filters anywhere in the plan read, by whatever name.
fn filters(plan: &Plan, filtered: &mut HashSet<ColumnId>) {
    plan.visit(&mut |node| match node {
        Plan::Filter { predicate, .. } => mark(predicate, filtered),
        // What a filtered column merely renames is filtered too.
        Plan::Project { columns, .. } => {
            for (column, expr) in columns {
                if let (true, ExprKind::Column(old)) = (filtered.contains(&column.id), &expr.kind) {
                    filtered.insert(*old);
                }
            }
        }
        Plan::Reference { columns, .. } => {
            for (new, old) in columns {
                if filtered.contains(&new.id) {
                    filtered.insert(*old);
                }
            }
        }
        Plan::Union { inputs, columns } => {
            for (_, values) in inputs {
                for (column, value) in columns.iter().zip(values) {
                    if filtered.contains(&column.id) {
                        mark(value, filtered);
                    }
                }
            }
        }
        _ => {}
    });
}
