//! Which columns are costly to compute twice.

use std::collections::HashMap;
use vidette_kql::bound::{ColumnId, Expr, ExprKind, Plan};
use vidette_kql::needs::Used;

/// How much work the columns are: expression nodes between a column and the rows it comes from.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    by_column: HashMap<ColumnId, usize>,
    /// Columns that a filter reads.
    filtered: Used,
}

/// A filter on a heavier column stays above the projection that computes it. The optimizer would push it down by copying
/// the column's whole definition into it, once per use, and so compute it again for every row.
const HEAVY: usize = 8;

impl Weights {
    pub(crate) fn of_plan(plan: &Plan) -> Weights {
        let mut filtered = Used::default();
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
        self.filtered.contains(column) && self.by_column.get(&column).is_some_and(|weight| *weight > HEAVY)
    }
}

/// The columns that filters anywhere in the plan read, by whatever name.
fn filters(plan: &Plan, filtered: &mut Used) {
    plan.visit(&mut |node| match node {
        Plan::Filter { predicate, .. } => filtered.mark(predicate),
        // What a filtered column merely renames is filtered too.
        Plan::Project { columns, .. } => {
            for (column, expr) in columns {
                if let (true, ExprKind::Column(old)) = (filtered.contains(column.id), &expr.kind) {
                    filtered.add([*old]);
                }
            }
        }
        Plan::Reference { columns, .. } => {
            for (new, old) in columns {
                if filtered.contains(new.id) {
                    filtered.add([*old]);
                }
            }
        }
        Plan::Union { inputs, columns } => {
            for (_, values) in inputs {
                for (column, value) in columns.iter().zip(values) {
                    if filtered.contains(column.id) {
                        filtered.mark(value);
                    }
                }
            }
        }
        _ => {}
    });
}
