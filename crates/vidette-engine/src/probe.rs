//! Which windows of a replayed rule can have rows at all: told by running once, over all windows together, the part of its
//! plan that looks at one row at a time.
//!
//! That part without the conditions that depend on the instant lets through no fewer rows than with them. Where it lets
//! through none of a window, the whole plan gives none there, as long as nothing above makes rows out of nothing.

use crate::operators::wide_inputs;
use crate::table::{native_time, ticks_of};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator};
use std::collections::BTreeSet;

/// Times of rows, and what they are after.
pub(crate) struct Times {
    /// A plan of one column: the times of the rows that the conditions let through.
    pub plan: LogicalPlan,
    /// The parameters that every such time is after or at, if the row is to be seen.
    pub after: BTreeSet<String>,
}

/// The plan has rows at an instant only where one of these has times, and none at all without them; `None` when it is not of that kind.
pub(crate) fn times(plan: &LogicalPlan) -> Result<Option<Vec<Times>>> {
    let mut cores = Vec::new();
    if !find_cores(plan, &mut cores) {
        return Ok(None);
    }
    cores.into_iter().map(times_of).collect::<Result<_>>().map(Some)
}

/// A part of a plan that looks at one row at a time, and where its rows have their time.
struct Core<'p> {
    plan: &'p LogicalPlan,
    column: usize,
    after: BTreeSet<String>,
}

impl<'p> Core<'p> {
    fn of(plan: &'p LogicalPlan) -> Option<Core<'p>> {
        let fields = plan.schema().fields();
        let timed = |column: &usize| matches!(fields[*column].data_type(), DataType::Int64 | DataType::Timestamp(..));
        let mut columns = (0..fields.len()).filter(timed);
        is_row_wise(plan).then(|| columns.find_map(|column| Some(Core { plan, column, after: bounds(plan, column, &BTreeSet::new())? })))?
    }
}

fn times_of(core: Core<'_>) -> Result<Times> {
    let plan = core.plan.clone().transform_up(|node| match node {
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
    let (qualifier, field) = plan.data.schema().qualified_field(core.column);
    let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let time = match field.data_type() {
        DataType::Timestamp(unit, _) => ticks_of(column, *unit),
        _ => column,
    };
    Ok(Times { plan: LogicalPlanBuilder::from(plan.data).project([time])?.build()?, after: core.after })
}

fn depends(expr: &Expr) -> bool {
    expr.exists(|inner| Ok(matches!(inner, Expr::Placeholder(_)))).unwrap_or(true)
}

/// The highest parts that look at one row at a time and have its time, below what gives no rows for none; whether there is nothing else.
fn find_cores<'p>(plan: &'p LogicalPlan, cores: &mut Vec<Core<'p>>) -> bool {
    if let Some(core) = Core::of(plan) {
        cores.push(core);
        return true;
    }
    match plan {
        LogicalPlan::EmptyRelation(empty) => !empty.produce_one_row,
        LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => find_cores(&aggregate.input, cores),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Window(_) => plan.inputs().into_iter().all(|input| find_cores(input, cores)),
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark) => {
            find_cores(&join.left, cores)
        }
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark) => find_cores(&join.right, cores),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| find_cores(input, cores)),
        _ => wide_inputs(plan).is_some_and(|inputs| inputs.iter().all(|input| find_cores(input, cores))),
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

/// The parameters that the column is compared with as their upper, for every table below; `None` unless the start of the window
/// is among them: then the column is not the time of the rows.
fn bounds(plan: &LogicalPlan, at: usize, above: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    match plan {
        LogicalPlan::TableScan(_) => above.iter().any(|name| name.starts_with("$After")).then(|| above.clone()),
        LogicalPlan::Filter(filter) => {
            let same = |place: usize| place == at || origin(&filter.input, at).is_some_and(|native| origin(&filter.input, place) == Some(native));
            let here = lower_bounds(&filter.predicate).into_iter().filter(|(column, _)| filter.input.schema().maybe_index_of_column(column).is_some_and(same));
            bounds(&filter.input, at, &above.iter().cloned().chain(here.map(|(_, name)| name)).collect())
        }
        LogicalPlan::SubqueryAlias(alias) => bounds(&alias.input, at, above),
        LogicalPlan::Union(union) => {
            let of_inputs = union.inputs.iter().map(|input| bounds(input, at, above)).collect::<Option<Vec<_>>>()?;
            of_inputs.into_iter().reduce(|all, one| all.intersection(&one).cloned().collect())
        }
        LogicalPlan::Unnest(unnest) => {
            let input = unnest.dependency_indices.get(at).copied().filter(|input| !unnest.list_type_columns.iter().any(|(list, _)| list == input))?;
            bounds(&unnest.input, input, above)
        }
        LogicalPlan::Projection(projection) => {
            let column = source(&projection.expr[at])?;
            bounds(&projection.input, projection.input.schema().maybe_index_of_column(&column)?, above)
        }
        _ => None,
    }
}

/// The column of the one table below that a column shows, as it is or as ticks.
fn origin(plan: &LogicalPlan, at: usize) -> Option<usize> {
    match plan {
        LogicalPlan::TableScan(_) => Some(at),
        LogicalPlan::Filter(filter) => origin(&filter.input, at),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, at),
        LogicalPlan::Projection(projection) => origin(&projection.input, projection.input.schema().maybe_index_of_column(&source(&projection.expr[at])?)?),
        _ => None,
    }
}

/// The columns that a predicate wants to be after a parameter. The start of the window is one even beside rows without a time.
fn lower_bounds(predicate: &Expr) -> Vec<(Column, String)> {
    let bound = |expr: &Expr| match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Gt | Operator::GtEq, right }) => match &**right {
            Expr::Placeholder(placeholder) if !placeholder.id.starts_with("$Subquery") => Some((source(left)?, placeholder.id.clone())),
            _ => None,
        },
        _ => None,
    };
    let mut found: Vec<(Column, String)> = split_conjunction(predicate).into_iter().filter_map(bound).collect();
    let window = predicate.apply(|expr| {
        found.extend(bound(expr).filter(|(_, name)| name.starts_with("$After")));
        Ok(TreeNodeRecursion::Continue)
    });
    if window.is_err() { Vec::new() } else { found }
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
