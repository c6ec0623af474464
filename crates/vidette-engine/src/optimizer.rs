//! What the optimizer does beside DataFusion's own rules.

use crate::damage::AroundDamage;
use crate::functions::udf::path_in_text;
use crate::operators::FilterInputs;
use crate::operators::elements_in_text;
use crate::scan_rules::{FiltersInScans, Guard};
use crate::table::native_time;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort, SortExpr};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use std::sync::Arc;

/// DataFusion's rules, and among them ours.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in Optimizer::new().rules {
        let name = rule.name().to_owned();
        if name == "push_down_filter" {
            rules.push(Arc::new(FilterInputs));
        }
        rules.push(rule);
        match name.as_str() {
            // Next to the scan a comparison of ticks becomes one of native times, before common expressions hide that.
            "push_down_filter" => rules.push(Arc::new(SimplifyExpressions::new())),
            "push_down_limit" => rules.push(Arc::new(NativeTop)),
            _ => {}
        }
    }
    // What is parsed for several uses was made a column of its own before.
    rules.push(Arc::new(PathsInTexts));
    rules
}

/// DataFusion's rules over physical plans, kept from what two of them do wrong; behind them, scans are led around damaged files.
pub(crate) fn physical_rules(damage: Arc<AroundDamage>) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let guarded = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name() {
        "aggregate_statistics" => Arc::new(StatisticsWithoutFilters(rule)),
        _ => rule,
    };
    let ours: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 2] = [Arc::new(DistinctInOrder), Arc::new(Guard(damage))];
    let first = Arc::new(FiltersInScans) as _;
    std::iter::once(first).chain(PhysicalOptimizer::new().rules.into_iter().map(guarded)).chain(ours).collect()
}

/// `limited_distinct_aggregation` tells a distinct without an order how many rows are wanted. Where a later rule finds that its
/// rows come in order, it is run as one that has to choose the first of them, and fails: it is told nothing then.
#[derive(Debug)]
struct DistinctInOrder;

impl PhysicalOptimizerRule for DistinctInOrder {
    fn name(&self) -> &str {
        "distinct_in_order"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let told = |aggregate: &&AggregateExec| aggregate.limit_options().is_some_and(|limit| limit.descending().is_none());
            match node.downcast_ref::<AggregateExec>().filter(told).filter(|aggregate| !aggregate.is_unordered_unfiltered_group_by_distinct()) {
                Some(aggregate) => Ok(Transformed::yes(Arc::new(aggregate.with_new_limit_options(None)))),
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }
}

/// `aggregate_statistics` answers from statistics what it can. Looking for the rows of an aggregate that has a filter of its
/// own it goes on to the next aggregate below, and takes that one's answer: so plans with filters are kept from it.
#[derive(Debug)]
struct StatisticsWithoutFilters(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for StatisticsWithoutFilters {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if has_filters(&plan) { Ok(plan) } else { self.0.optimize(plan, config) }
    }
}

fn has_filters(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let own = plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| aggregate.filter_expr().iter().any(Option::is_some));
    own || plan.children().into_iter().any(has_filters)
}

/// A path into a text that is parsed for nothing else is found while the text is read, not after.
#[derive(Debug)]
struct PathsInTexts;

impl OptimizerRule for PathsInTexts {
    fn name(&self) -> &str {
        "paths_in_texts"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| Ok(path_in_text(&expr).or_else(|| elements_in_text(&expr)).map_or(Transformed::no(expr), Transformed::yes)))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    }
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
