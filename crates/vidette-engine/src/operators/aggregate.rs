//! `summarize`, `distinct` and `count`.

use crate::aggregates;
use crate::lower::{Lowering, Rows, Shown, physical};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use vidette_kql::bound::{Aggregate, Column, Expr as Bound, Plan};

impl Lowering<'_> {
    pub(crate) fn aggregate(&mut self, input: &Plan, by: &[(Column, Bound)], columns: &[(Column, Aggregate)]) -> Result<Rows> {
        let mut rows = self.rows(input)?;
        let mut keys = Vec::with_capacity(by.len());
        // Expressions are computed below, so that they may use window functions and are named once.
        let (with_windows, values) = self.windows(rows, by)?;
        rows = with_windows;
        for ((column, _), value) in by.iter().zip(&values) {
            keys.push(self.expr(value)?.alias(physical(column.id)));
        }
        let mut raw = Vec::with_capacity(columns.len());
        let mut shown: Vec<Expr> = by.iter().map(|(column, _)| crate::lower::reference(column)).collect();
        for (column, aggregate) in columns {
            if !self.is_used(column) {
                continue;
            }
            let arguments = aggregate.arguments.iter().map(|argument| self.expr(argument)).collect::<Result<Vec<_>>>()?;
            let filter = aggregate.filter.as_ref().map(|filter| self.expr(filter)).transpose()?;
            let name = self.hidden_name("agg");
            let (value, finish) = aggregates::lower(aggregate, arguments, filter, &rows.order)?;
            raw.push(value.alias(name.clone()));
            shown.push(finish(crate::lower::named(name)).alias(physical(column.id)));
        }
        let plan = if raw.is_empty() && !by.is_empty() {
            rows.plan.show(keys)?.distinct()?
        } else if raw.is_empty() {
            // One row, of which nothing is read.
            LogicalPlanBuilder::empty(true).project(vec![lit(true).alias(self.hidden_name("none"))])?
        } else {
            rows.plan.aggregate(keys, raw)?.show(shown)?
        };
        Ok(Rows { plan, order: Vec::new() })
    }
}
