//! What the optimizer does beside DataFusion's own rules.

use crate::table::native_time;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// DataFusion's rules, and among them ours.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Vec::new();
    for rule in Optimizer::new().rules {
        let name = rule.name().to_owned();
        rules.push(rule);
        match name.as_str() {
            // Next to the scan a comparison of ticks becomes one of native times, before common expressions hide that.
            "push_down_filter" => rules.push(Arc::new(SimplifyExpressions::new())),
            "push_down_limit" => rules.push(Arc::new(NativeTop)),
            _ => {}
        }
    }
    rules
}

/// `top` by a time sorts by the native column, below the projection that makes ticks of it: so that the reader can begin
/// with the row groups that have the latest times, and leave out those that have none.
#[derive(Debug)]
struct NativeTop;

impl OptimizerRule for NativeTop {
    fn name(&self) -> &str {
        "native_top"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(sort) = &plan else { return Ok(Transformed::no(plan)) };
        let (Some(_), LogicalPlan::Projection(projection)) = (sort.fetch, sort.input.as_ref()) else { return Ok(Transformed::no(plan)) };
        let mut is_time = false;
        let mut keys = Vec::with_capacity(sort.expr.len());
        for key in &sort.expr {
            let Some(source) = source(&key.expr, projection) else { return Ok(Transformed::no(plan)) };
            let native = native_time(&source);
            is_time |= native.is_some();
            match native.unwrap_or(source) {
                column @ Expr::Column(_) => keys.push(datafusion::logical_expr::expr::Sort { expr: column, asc: key.asc, nulls_first: key.nulls_first }),
                _ => return Ok(Transformed::no(plan)),
            }
        }
        if !is_time {
            return Ok(Transformed::no(plan));
        }
        let sorted = LogicalPlan::Sort(Sort { expr: keys, input: projection.input.clone(), fetch: sort.fetch });
        let shown = Projection::try_new_with_schema(projection.expr.clone(), Arc::new(sorted), projection.schema.clone())?;
        Ok(Transformed::yes(LogicalPlan::Projection(shown)))
    }
}

/// What a projection computes for a column.
fn source(column: &Expr, projection: &Projection) -> Option<Expr> {
    let Expr::Column(column) = column else { return None };
    let at = projection.schema.maybe_index_of_column(column)?;
    projection.expr.get(at).map(|expr| expr.clone().unalias())
}
