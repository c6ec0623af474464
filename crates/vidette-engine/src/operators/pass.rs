//! Operators that see all rows at once, as a node of DataFusion's plans: its inputs are gathered, a function of
//! `passes` makes the result.

use crate::cells::{Builder, Cell, Column as Cells, Out};
use crate::lower::{Lowering, Rows, Shown, physical_schema, reference};
use crate::operators::scan::{Compiled, Program};
use crate::operators::wide::WidePlanner;
use crate::passes::{self, Pass};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use vidette_kql::ScalarType;
use vidette_kql::bound::{Column, GraphPattern, PassInput};

/// What a pass knows of one input beside its rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) names: Vec<String>,
    pub(super) types: Vec<ScalarType>,
    pub(super) arguments: usize,
    /// The order of the rows: hidden columns after the others, with `descending` and `nulls_first`.
    pub(super) order: Vec<(bool, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) inputs: Vec<Shape>,
    pub(super) types: Vec<ScalarType>,
    /// The steps, when the pass is a `scan`.
    pub(super) scan: Option<Program>,
    /// The pattern, when it is `graph-match`.
    pub(super) pattern: Option<Arc<GraphPattern>>,
}

impl Lowering<'_> {
    pub(crate) fn pass(&mut self, name: &str, inputs: &[PassInput], columns: &[Column], pattern: Option<Arc<GraphPattern>>) -> Result<Rows> {
        let (mut plans, mut shapes) = (Vec::with_capacity(inputs.len()), Vec::with_capacity(inputs.len()));
        for input in inputs {
            let rows = self.rows(&input.plan)?;
            let mut shown: Vec<Expr> = input.columns.iter().map(reference).collect();
            let mut order = Vec::with_capacity(rows.order.len());
            for key in rows.order {
                shown.push(key.expr.alias(self.hidden_name("order")));
                order.push((!key.asc, key.nulls_first));
            }
            plans.push(rows.plan.show(shown)?.build()?);
            let names = input.columns.iter().map(|column| column.name.clone()).collect();
            let types = input.columns.iter().map(|column| column.ty).collect();
            shapes.push(Shape { names, types, arguments: input.arguments, order });
        }
        let schema = physical_schema(columns)?;
        let definition = Arc::new(Definition { name: name.to_owned(), inputs: shapes, types: columns.iter().map(|column| column.ty).collect(), scan: None, pattern });
        Ok(Rows { plan: node(plans, schema, definition), order: Vec::new() })
    }
}

/// The node over its inputs.
pub(super) fn node(inputs: Vec<LogicalPlan>, schema: DFSchemaRef, definition: Arc<Definition>) -> LogicalPlanBuilder {
    LogicalPlanBuilder::from(LogicalPlan::Extension(Extension { node: Arc::new(PassNode { inputs, schema, definition }) }))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PassNode {
    inputs: Vec<LogicalPlan>,
    schema: DFSchemaRef,
    definition: Arc<Definition>,
}

impl PartialOrd for PassNode {
    fn partial_cmp(&self, other: &PassNode) -> Option<Ordering> {
        self.inputs.partial_cmp(&other.inputs)
    }
}

impl UserDefinedLogicalNodeCore for PassNode {
    fn name(&self) -> &str {
        "Pass"
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
        write!(f, "Pass: {}", self.definition.name)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<PassNode> {
        Ok(PassNode { inputs, schema: self.schema.clone(), definition: self.definition.clone() })
    }

    /// Every column is wanted.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(self.inputs.iter().map(|input| (0..input.schema().fields().len()).collect()).collect())
    }
}

/// Plans queries as DataFusion does, and nodes of our own besides.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PassPlanner), Arc::new(WidePlanner)]).create_physical_plan(plan, state).await
    }
}

struct PassPlanner;

#[async_trait]
impl ExtensionPlanner for PassPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<PassNode>() else { return Ok(None) };
        let definition = &node.definition;
        let work = match (&definition.scan, &definition.pattern, passes::find(&definition.name)) {
            (Some(program), _, _) => Work::Scan(Arc::new(program.compile()?)),
            (None, Some(pattern), _) => Work::Match(pattern.clone()),
            (None, None, Some(pass)) => Work::Pass(pass),
            (None, None, None) => return internal_err!("no pass named {}", node.definition.name),
        };
        let schema: SchemaRef = node.schema.inner().clone();
        let properties = PlanProperties::new(EquivalenceProperties::new(schema.clone()), Partitioning::UnknownPartitioning(1), EmissionType::Final, Boundedness::Bounded);
        Ok(Some(Arc::new(PassExec { inputs: inputs.to_vec(), schema, definition: node.definition.clone(), work, properties: Arc::new(properties) })))
    }
}

#[derive(Clone, Debug)]
enum Work {
    Pass(Pass),
    Scan(Arc<Compiled>),
    Match(Arc<GraphPattern>),
}

#[derive(Debug)]
struct PassExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    schema: SchemaRef,
    definition: Arc<Definition>,
    work: Work,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for PassExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PassExec: {}", self.definition.name)
    }
}

impl ExecutionPlan for PassExec {
    fn name(&self) -> &str {
        "PassExec"
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

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; self.inputs.len()]
    }

    fn with_new_children(self: Arc<Self>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(PassExec { inputs, schema: self.schema.clone(), definition: self.definition.clone(), work: self.work.clone(), properties: self.properties.clone() }))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let streams = self.inputs.iter().map(|input| input.execute(0, context.clone())).collect::<Result<Vec<_>>>()?;
        let (schema, definition, work) = (self.schema.clone(), self.definition.clone(), self.work.clone());
        let result = async move {
            let mut tables = Vec::with_capacity(streams.len());
            for (stream, shape) in streams.into_iter().zip(&definition.inputs) {
                let input = stream.schema();
                let batches: Vec<RecordBatch> = stream.try_collect().await?;
                let rows = in_order(&concat_batches(&input, &batches)?, shape)?;
                if let Work::Scan(program) = &work {
                    return program.run(&rows, schema);
                }
                tables.push(Table::new(&rows, shape)?);
            }
            let mut output = Output { builders: definition.types.iter().map(|ty| Builder::new(*ty, 0)).collect(), rows: 0 };
            match work {
                Work::Pass(pass) => pass(&tables, &mut output)?,
                Work::Match(pattern) => passes::graph_match::run(&pattern, &tables, &mut output)?,
                Work::Scan(_) => return internal_err!("a scan has an input"),
            }
            let options = RecordBatchOptions::new().with_row_count(Some(output.rows));
            Ok(RecordBatch::try_new_with_options(schema, output.builders.into_iter().map(Builder::finish).collect(), &options)?)
        };
        let stream = futures::stream::once(result).boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

/// The rows sorted by the hidden columns of their order.
fn in_order(batch: &RecordBatch, shape: &Shape) -> Result<RecordBatch> {
    let keys: Vec<SortColumn> = (batch.columns()[shape.types.len()..].iter().zip(&shape.order))
        .map(|(values, (descending, nulls_first))| SortColumn { values: values.clone(), options: Some(SortOptions { descending: *descending, nulls_first: *nulls_first }) })
        .collect();
    Ok(if keys.is_empty() { batch.clone() } else { take_record_batch(batch, &lexsort_to_indices(&keys, None)?)? })
}

/// All rows of one input, in their order.
pub(crate) struct Table {
    columns: Vec<Cells>,
    pub(crate) names: Vec<String>,
    pub(crate) types: Vec<ScalarType>,
    pub(crate) rows: usize,
    arguments: usize,
}

impl Table {
    fn new(batch: &RecordBatch, shape: &Shape) -> Result<Table> {
        let columns = batch.columns().iter().zip(&shape.types).map(|(array, ty)| Cells::new(array, *ty)).collect::<Result<Vec<_>, _>>()?;
        Ok(Table { columns, names: shape.names.clone(), types: shape.types.clone(), rows: batch.num_rows(), arguments: shape.arguments })
    }

    /// Columns without those of the arguments.
    pub(crate) fn width(&self) -> usize {
        self.columns.len() - self.arguments
    }

    pub(crate) fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        self.columns[column].cell(row)
    }

    pub(crate) fn arguments(&self) -> usize {
        self.arguments
    }

    pub(crate) fn argument(&self, row: usize, argument: usize) -> Cell<'_> {
        if argument < self.arguments { self.columns[self.width() + argument].cell(row) } else { Cell::Null }
    }

    pub(crate) fn argument_type(&self, argument: usize) -> Option<ScalarType> {
        self.types.get(self.width() + argument).copied()
    }

    /// The value of an argument that is the same for all rows; null without rows.
    pub(crate) fn constant(&self, argument: usize) -> Cell<'_> {
        if self.rows == 0 { Cell::Null } else { self.argument(0, argument) }
    }

    /// A row without the arguments.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = Out> + '_ {
        (0..self.width()).map(move |column| Out::from(self.cell(row, column)))
    }
}

/// The rows of the result.
pub(crate) struct Output {
    builders: Vec<Builder>,
    rows: usize,
}

impl Output {
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = Out>) {
        let mut values = row.into_iter();
        for builder in &mut self.builders {
            builder.push(values.next().unwrap_or(Out::Null));
        }
        self.rows += 1;
    }
}
