//! What the optimizer does beside DataFusion's own rules.

use crate::table::native_time;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort, SortExpr};
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
        match &plan {
            LogicalPlan::Sort(Sort { expr, input, fetch: Some(fetch) }) => Ok(sink(expr, *fetch, input)?.map_or(Transformed::no(plan), Transformed::yes)),
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// The plan with its first rows chosen below the projection that makes ticks of a time; `None` when there is none among the
/// projections at its top.
fn sink(keys: &[SortExpr], fetch: usize, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    let mut is_time = false;
    let mut below = Vec::with_capacity(keys.len());
    for key in keys {
        let source = source(&key.expr, projection)?;
        if source.is_volatile() {
            return Ok(None);
        }
        let native = native_time(&source);
        is_time |= native.is_some();
        below.push(SortExpr { expr: native.unwrap_or(source), asc: key.asc, nulls_first: key.nulls_first });
    }
    let input = if is_time {
        LogicalPlan::Sort(Sort { expr: below, input: projection.input.clone(), fetch: Some(fetch) })
    } else {
        let Some(input) = sink(&below, fetch, &projection.input)? else { return Ok(None) };
        input
    };
    let shown = Projection::try_new_with_schema(projection.expr.clone(), Arc::new(input), projection.schema.clone())?;
    Ok(Some(LogicalPlan::Projection(shown)))
}

/// The expression over what a projection reads.
fn source(expr: &Expr, projection: &Projection) -> Result<Expr> {
    let column = |expr: &Expr| projection.expr.get(projection.schema.maybe_index_of_column(expr.try_as_col()?)?).cloned();
    expr.clone().transform_up(|expr| Ok(column(&expr).map_or(Transformed::no(expr), |source| Transformed::yes(source.unalias())))).data()
}
