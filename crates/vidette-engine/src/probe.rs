//! Which windows of a replayed rule can have rows at all: told by running once, over all windows together, the part of its
//! plan that looks at one row at a time.
//!
//! That part without the conditions that depend on the instant lets through no fewer rows than with them. Where it lets
//! through none of a window, the whole plan gives none there, as long as nothing above makes rows out of nothing.

use crate::table::native_time;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator};

/// A plan of one column: the times of the rows that the conditions let through. `None` when the plan is not of that kind.
pub(crate) fn times(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let Some(core) = core(plan) else { return Ok(None) };
    let Some(at) = (0..core.schema().fields().len()).find(|at| is_time(core, *at, false)) else { return Ok(None) };
    let core = core.clone().transform_up(|node| match node {
        LogicalPlan::Filter(filter) => {
            let kept: Vec<Expr> = split_conjunction(&filter.predicate).into_iter().filter(|part| !depends(part)).cloned().collect();
            match conjunction(kept) {
                Some(predicate) => LogicalPlanBuilder::from(filter.input.as_ref().clone()).filter(predicate)?.build().map(Transformed::yes),
                None => Ok(Transformed::yes(filter.input.as_ref().clone())),
            }
        }
        LogicalPlan::TableScan(mut scan) => {
            scan.filters.retain(|filter| !depends(filter));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let (qualifier, field) = core.data.schema().qualified_field(at);
    if field.data_type() != &DataType::Int64 {
        return Ok(None);
    }
    let time = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    Ok(Some(LogicalPlanBuilder::from(core.data).project([time])?.build()?))
}

fn depends(expr: &Expr) -> bool {
    expr.exists(|inner| Ok(matches!(inner, Expr::Placeholder(_)))).unwrap_or(true)
}

/// The highest part that looks at one row at a time, below what gives no rows for none.
fn core(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    if is_row_wise(plan) {
        return Some(plan);
    }
    match plan {
        LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => core(&aggregate.input),
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Distinct(_) => {
            core(plan.inputs().first()?)
        }
        _ => None,
    }
}

/// An expression over the instant in a projection would need its value.
fn is_row_wise(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(projection) => !projection.expr.iter().any(depends) && is_row_wise(&projection.input),
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) | LogicalPlan::Union(_) => plan.inputs().into_iter().all(is_row_wise),
        _ => false,
    }
}

/// Whether the column is, for every table below, the one that the window is compared with. It is when a filter above the table
/// does so.
fn is_time(plan: &LogicalPlan, at: usize, compared: bool) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => compared,
        LogicalPlan::Filter(filter) => {
            let here = windowed(&filter.predicate).and_then(|column| filter.input.schema().maybe_index_of_column(&column));
            is_time(&filter.input, at, compared || here == Some(at))
        }
        LogicalPlan::SubqueryAlias(alias) => is_time(&alias.input, at, compared),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_time(input, at, compared)),
        LogicalPlan::Unnest(unnest) => {
            let input = unnest.dependency_indices.get(at).copied();
            input.is_some_and(|input| !unnest.list_type_columns.iter().any(|(list, _)| *list == input) && is_time(&unnest.input, input, compared))
        }
        LogicalPlan::Projection(projection) => {
            let column = source(&projection.expr[at]);
            column.is_some_and(|column| projection.input.schema().maybe_index_of_column(&column).is_some_and(|at| is_time(&projection.input, at, compared)))
        }
        _ => false,
    }
}

/// The column that a predicate compares with the start of the window.
fn windowed(predicate: &Expr) -> Option<Column> {
    let mut found = None;
    predicate
        .apply(|expr| {
            if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Gt, right }) = expr
                && matches!(&**right, Expr::Placeholder(placeholder) if placeholder.id.starts_with("$After"))
            {
                found = source(left);
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .ok()?;
    found
}

/// The column that an expression shows as it is.
fn source(expr: &Expr) -> Option<Column> {
    match expr {
        Expr::Column(column) => Some(column.clone()),
        Expr::Alias(alias) => source(&alias.expr),
        Expr::Cast(cast) if cast.field.data_type() == &DataType::Int64 => source(&cast.expr),
        other => source(&native_time(other)?),
    }
}
