//! A `union` of many tables that have few columns in common (`union *`, `search` over a workspace), as a node of DataFusion's
//! plans: each input has its own columns, and what it lacks is added to its rows as they come. As stock nodes every input
//! would be a projection of all columns of all tables, and planning 110 tables of 5,500 columns took three minutes.

use crate::lower::{Shown, physical_schema};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result, ScalarValue, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode, UserDefinedLogicalNodeCore, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::StreamExt;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use vidette_kql::bound::Column;

/// How many columns the inputs of a stock union may have together. DataFusion sees through such a union; planning it costs the
/// square of its columns.
pub(super) const STOCK_COLUMNS: usize = 1_000;

/// The rows of the inputs, each with some of the columns; what it lacks is null, or empty text.
pub(super) fn union<'c>(inputs: Vec<LogicalPlan>, columns: impl Iterator<Item = &'c Column>) -> Result<LogicalPlan> {
    let schema = physical_schema(columns)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(WideUnion { inputs, schema }) }))
}

/// The inputs of a wide union.
pub(crate) fn inputs(plan: &LogicalPlan) -> Option<&[LogicalPlan]> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    extension.node.as_any().downcast_ref().map(|union: &WideUnion| union.inputs.as_slice())
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WideUnion {
    inputs: Vec<LogicalPlan>,
    schema: DFSchemaRef,
}

impl PartialOrd for WideUnion {
    fn partial_cmp(&self, other: &WideUnion) -> Option<Ordering> {
        self.inputs.partial_cmp(&other.inputs)
    }
}

impl UserDefinedLogicalNodeCore for WideUnion {
    fn name(&self) -> &str {
        "WideUnion"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "WideUnion")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<WideUnion> {
        Ok(WideUnion { inputs, schema: self.schema.clone() })
    }

    /// Every column is wanted: those that nothing reads were left out before.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(self.inputs.iter().map(|input| (0..input.schema().fields().len()).collect()).collect())
    }
}

/// Moves a filter over a wide union to its inputs, where it reads what the input lacks as the value that the union would give.
#[derive(Debug)]
pub(crate) struct FilterInputs;

impl OptimizerRule for FilterInputs {
    fn name(&self) -> &str {
        "filter_inputs"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(inputs) = inputs(&filter.input).filter(|_| !filter.predicate.is_volatile()) else { return Ok(Transformed::no(plan)) };
        let kept = inputs.iter().map(|input| kept(input, filter)).collect::<Result<Vec<_>>>()?;
        Ok(Transformed::yes(filter.input.with_new_exprs(Vec::new(), kept)?))
    }
}

fn kept(input: &LogicalPlan, filter: &Filter) -> Result<LogicalPlan> {
    let here = |expr: Expr| match expr.try_as_col().filter(|column| !input.schema().has_column(column)) {
        Some(column) => Ok(Transformed::yes(lit(default(filter.input.schema().field_with_unqualified_name(column.name())?)?))),
        None => Ok(Transformed::no(expr)),
    };
    let predicate = filter.predicate.clone().transform_up(here).data()?;
    LogicalPlanBuilder::from(input.clone()).keep_if(predicate)?.build()
}

/// Text alone is never null.
fn default(field: &Field) -> Result<ScalarValue> {
    if field.is_nullable() { ScalarValue::try_from(field.data_type()) } else { Ok(ScalarValue::Utf8View(Some(String::new()))) }
}

pub(super) struct WidePlanner;

#[async_trait]
impl ExtensionPlanner for WidePlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let union = node.as_any().downcast_ref::<WideUnion>();
        Ok(union.map(|union| Arc::new(WideUnionExec::new(inputs.to_vec(), union.schema.inner().clone())) as Arc<dyn ExecutionPlan>))
    }
}

/// The partitions of all inputs, one after the other.
#[derive(Debug)]
struct WideUnionExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl WideUnionExec {
    fn new(inputs: Vec<Arc<dyn ExecutionPlan>>, schema: SchemaRef) -> WideUnionExec {
        let partitions = inputs.iter().map(|input| input.output_partitioning().partition_count()).sum();
        let partitioning = Partitioning::UnknownPartitioning(partitions);
        let properties = PlanProperties::new(EquivalenceProperties::new(schema.clone()), partitioning, EmissionType::Incremental, Boundedness::Bounded);
        WideUnionExec { inputs, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for WideUnionExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "WideUnionExec")
    }
}

impl ExecutionPlan for WideUnionExec {
    fn name(&self) -> &str {
        "WideUnionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn with_new_children(self: Arc<Self>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(WideUnionExec::new(inputs, self.schema.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut before = 0;
        for input in &self.inputs {
            let partitions = input.output_partitioning().partition_count();
            if partition < before + partitions {
                let places = places(&input.schema(), &self.schema);
                let schema = self.schema.clone();
                let rows = input.execute(partition - before, context)?.map(move |batch| widen(&batch?, &places, &schema));
                return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)));
            }
            before += partitions;
        }
        exec_err!("a union of {before} partitions has no partition {partition}")
    }
}

/// Where the input has each column of the union.
fn places(input: &Schema, union: &Schema) -> Vec<Option<usize>> {
    let known: HashMap<&str, usize> = input.fields().iter().enumerate().map(|(place, field)| (field.name().as_str(), place)).collect();
    union.fields().iter().map(|field| known.get(field.name().as_str()).copied()).collect()
}

fn widen(batch: &RecordBatch, places: &[Option<usize>], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut absent: HashMap<(&DataType, bool), ArrayRef> = HashMap::new();
    let mut columns = Vec::with_capacity(places.len());
    for (field, place) in schema.fields().iter().zip(places) {
        columns.push(match place {
            Some(place) => batch.column(*place).clone(),
            None => match absent.entry((field.data_type(), field.is_nullable())) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(new) => new.insert(default(field)?.to_array_of_size(batch.num_rows())?).clone(),
            },
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
