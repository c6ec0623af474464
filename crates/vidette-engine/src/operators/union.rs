//! `union`.

use crate::arrow_types::arrow_type;
use crate::lower::{Lowering, Rows, Shown, physical};
use datafusion::common::Result;
use datafusion::logical_expr::{LogicalPlanBuilder, cast, lit};
use vidette_kql::bound::{Column, Expr as Bound, Plan};

impl Lowering<'_> {
    pub(crate) fn union(&mut self, inputs: &[(Plan, Vec<Bound>)], columns: &[Column]) -> Result<Rows> {
        let mut united: Option<LogicalPlanBuilder> = None;
        for (input, values) in inputs.iter().filter(|(input, _)| self.may_have_rows(input)).collect::<Vec<_>>() {
            let rows = self.rows(input)?;
            let mut shown = Vec::with_capacity(columns.len());
            for (column, value) in columns.iter().zip(values) {
                if !self.is_used(column) {
                    continue;
                }
                self.weights.set(column.id, value);
                // A dictionary column of one input must not decide the type of all.
                shown.push(cast(self.expr(value)?, arrow_type(column.ty)).alias(physical(column.id)));
            }
            if shown.is_empty() {
                shown.push(lit(true).alias("none"));
            }
            let plan = rows.plan.show(shown)?;
            united = Some(match united {
                Some(all) => all.union(plan.build()?)?,
                None => plan,
            });
        }
        match united {
            Some(plan) => Ok(Rows { plan, order: Vec::new() }),
            None => self.values(columns, &[]),
        }
    }
}
