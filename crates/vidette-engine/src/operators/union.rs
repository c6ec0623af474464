//! `union`.

use crate::arrow_types::arrow_type;
use crate::lower::{Lowering, Rows, Shown, physical};
use crate::operators::wide;
use datafusion::common::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, Union, cast, lit};
use std::sync::Arc;
use vidette_kql::bound::{Column, Expr as Bound, Plan};

impl Lowering<'_> {
    pub(crate) fn union(&mut self, inputs: &[(Plan, Vec<Bound>)], columns: &[Column]) -> Result<Rows> {
        let inputs: Vec<_> = inputs.iter().filter(|(input, _)| self.may_have_rows(input)).collect();
        let width = columns.iter().filter(|column| self.is_used(column)).count();
        let wide = width * inputs.len() > wide::STOCK_COLUMNS;
        let mut united = Vec::with_capacity(inputs.len());
        for (input, values) in inputs {
            let rows = self.rows(input)?;
            let mut shown = Vec::with_capacity(columns.len());
            for (column, value) in columns.iter().zip(values) {
                if !self.is_used(column) || wide && value.is_absent() {
                    continue;
                }
                self.weights.set(column.id, value);
                // A dictionary column of one input must not decide the type of all.
                shown.push(cast(self.expr(value)?, arrow_type(column.ty)).alias(physical(column.id)));
            }
            if shown.is_empty() {
                shown.push(lit(true).alias("none"));
            }
            united.push(rows.plan.show(shown)?.build()?);
        }
        let plan = match united.len() {
            0 => return self.values(columns, &[]),
            _ if wide => wide::union(united, columns.iter().filter(|column| self.is_used(column)))?,
            1 => united.remove(0),
            // One node: of a node per table DataFusion asks every column of every table again for each of them.
            _ => LogicalPlan::Union(Union::try_new(united.into_iter().map(Arc::new).collect())?),
        };
        Ok(Rows { plan: LogicalPlanBuilder::from(plan), order: Vec::new() })
    }
}
