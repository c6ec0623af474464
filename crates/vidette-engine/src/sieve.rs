//! What a query asks of single rows of its tables, told before there are any: rows that none of its scans lets through need not
//! be kept while files are read.

use crate::arrow_types::arrow_type;
use crate::lower::Lowering;
use crate::run::{PlanClock, is_drawn, parameter};
use crate::table::VALID_JSON;
use crate::workspace::{Checker, Workspace};
use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_select::dictionary::garbage_collect_any_dictionary;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as DfColumn, DFSchema, Result, project_schema};
use datafusion::datasource::{TableType, source_as_provider};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use vidette_kql::{ScalarType, compile, errors};

/// A table that nothing was read for yet. It has no rows, and takes every filter.
#[derive(Debug)]
pub(crate) struct Unread {
    name: String,
    schema: SchemaRef,
}

impl Unread {
    pub(crate) fn new(name: &str, columns: &[(String, ScalarType)]) -> Unread {
        let field = |(name, ty): &(String, ScalarType)| {
            let field = Field::new(name, arrow_type(*ty), *ty != ScalarType::String);
            if *ty == ScalarType::Dynamic { field.with_metadata(HashMap::from([(VALID_JSON.to_owned(), "valid".to_owned())])) } else { field }
        };
        Unread { name: name.to_owned(), schema: Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())) }
    }
}

#[async_trait::async_trait]
impl TableProvider for Unread {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(&self, _: &dyn Session, projection: Option<&Vec<usize>>, _: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)))
    }
}

/// The conditions on the rows of tables, by their names.
pub struct Sieve {
    state: SessionState,
    conditions: HashMap<String, Expr>,
    /// For the columns that batches turned out to have; nothing where they do not suffice.
    compiled: Mutex<HashMap<String, Option<Arc<Condition>>>>,
}

/// A condition on batches of one schema.
struct Condition {
    /// The places of the columns it reads.
    columns: Vec<usize>,
    /// Their types as the engine has them.
    schema: SchemaRef,
    holds: Arc<dyn PhysicalExpr>,
    /// How many batches there were, and rows that were looked at, and that stay.
    batches: AtomicUsize,
    looked_at: AtomicUsize,
    staying: AtomicUsize,
}

/// After so many rows, a condition that holds for most of them is asked about one batch in so many.
const TELLING_ROWS: usize = 16_384;
const ASKED_AGAIN: usize = 16;

impl Workspace {
    /// The sieve of queries over tables of which all that have no rows are yet to be read; `filled` are those that may get some.
    /// `None` when every row may matter, or what is read depends on rows.
    pub fn sieve<'q>(&self, texts: impl IntoIterator<Item = &'q str>, filled: &[&str]) -> Option<Sieve> {
        let checker = Checker::new(self).with_filled(filled.iter().map(|table| (*table).to_owned()).collect());
        let mut queries = Vec::new();
        for text in texts {
            let (of_text, diagnostics) = compile(text, &checker);
            if errors(&diagnostics).next().is_some() || checker.is_open() {
                return None;
            }
            queries.extend(of_text);
        }
        let state = self.session().state();
        // By table: the condition of each scan, or that one has none.
        let mut asked: HashMap<String, Option<Vec<Expr>>> = HashMap::new();
        for query in &queries {
            if is_drawn(query) {
                return None;
            }
            let mut values = Vec::with_capacity(query.subqueries.len());
            let mut plans = Vec::with_capacity(query.subqueries.len() + 1);
            for (at, subquery) in query.subqueries.iter().enumerate() {
                plans.push(self.unread(&values).query(&subquery.plan, std::slice::from_ref(&subquery.column)).ok()?);
                let ty = if subquery.as_list { ScalarType::Dynamic } else { subquery.column.ty };
                values.push(parameter(format!("$Subquery{at}"), arrow_type(ty)));
            }
            plans.push(self.unread(&values).query(&query.plan, &query.columns).ok()?);
            for plan in plans {
                conditions(&state.optimize(&plan).ok()?, &mut asked).ok()?;
            }
        }
        let conditions: HashMap<String, Expr> = asked.into_iter().filter_map(|(table, asked)| Some((table, disjunction(asked?)?))).collect();
        (!conditions.is_empty()).then(|| Sieve { state, conditions, compiled: Mutex::default() })
    }

    fn unread<'a>(&'a self, values: &'a [Expr]) -> Lowering<'a> {
        Lowering::new(self, PlanClock::Parameters { windowed: false }, values, &[]).of_unread()
    }
}

/// Adds what each scan of a table that is yet to be read asks of single rows, whatever the instant.
fn conditions(plan: &LogicalPlan, asked: &mut HashMap<String, Option<Vec<Expr>>>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = (provider.as_ref() as &dyn Any).downcast_ref::<Unread>() else { return Ok(TreeNodeRecursion::Continue) };
        let is_known = |filter: &&Expr| !filter.exists(|part| Ok(matches!(part, Expr::Placeholder(_)))).unwrap_or(true);
        let here = conjunction(scan.filters.iter().filter(is_known).cloned());
        let all = asked.entry(table.name.clone()).or_insert_with(|| Some(Vec::new()));
        match (here, all.as_mut()) {
            (Some(here), Some(all)) => all.push(unqualified(here)?),
            (None, _) => *all = None,
            (Some(_), None) => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn unqualified(expr: Expr) -> Result<Expr> {
    let bare = |part| match part {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(DfColumn::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    };
    Ok(expr.transform(bare)?.data)
}

impl Sieve {
    /// The rows of a batch of the table that the query may see; all of them where that cannot be told, or where most are seen.
    pub fn keep(&self, table: &str, batch: RecordBatch) -> RecordBatch {
        let Some(condition) = self.condition(table, &batch.schema()).filter(|condition| condition.pays()) else { return batch };
        // What cannot be computed is for the query to tell.
        condition.kept(&batch).ok().flatten().unwrap_or(batch)
    }

    fn condition(&self, table: &str, schema: &Schema) -> Option<Arc<Condition>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = compiled.get(table) {
            return known.clone();
        }
        let condition = self.conditions.get(table).and_then(|expr| Condition::new(&self.state, expr, schema).ok()).map(Arc::new);
        compiled.insert(table.to_owned(), condition.clone());
        condition
    }
}

impl Condition {
    fn new(state: &SessionState, expr: &Expr, batch: &Schema) -> Result<Condition> {
        let mut columns: Vec<usize> = expr.column_refs().into_iter().map(|column| batch.index_of(&column.name)).collect::<std::result::Result<_, _>>()?;
        columns.sort_unstable();
        let field = |at: &usize| {
            let field = batch.field(*at).clone();
            if matches!(field.data_type(), DataType::Dictionary(..)) { field.with_data_type(DataType::Utf8View) } else { field }
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let holds = state.create_physical_expr(expr.clone(), &DFSchema::try_from(schema.clone())?)?;
        Ok(Condition { columns, schema, holds, batches: AtomicUsize::new(0), looked_at: AtomicUsize::new(0), staying: AtomicUsize::new(0) })
    }

    /// Whether the next batch is worth looking at: not when most rows stay, as far as was seen.
    fn pays(&self) -> bool {
        let (batch, looked_at) = (self.batches.fetch_add(1, Ordering::Relaxed), self.looked_at.load(Ordering::Relaxed));
        looked_at < TELLING_ROWS || 2 * self.staying.load(Ordering::Relaxed) < looked_at || batch.is_multiple_of(ASKED_AGAIN)
    }

    fn kept(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let columns = self.columns.iter().zip(self.schema.fields()).map(|(at, field)| cast(batch.column(*at), field.data_type())).collect::<std::result::Result<_, _>>()?;
        let seen = RecordBatch::try_new_with_options(self.schema.clone(), columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))?;
        let holds = self.holds.evaluate(&seen)?.into_array(batch.num_rows())?;
        let holds = holds.as_boolean();
        let staying = holds.true_count();
        self.looked_at.fetch_add(batch.num_rows(), Ordering::Relaxed);
        self.staying.fetch_add(staying, Ordering::Relaxed);
        // To copy most of the rows costs more than to keep them all.
        let few = 2 * staying < batch.num_rows();
        few.then(|| compact(&filter_record_batch(batch, holds)?)).transpose()
    }
}

/// The rows without the texts of those that were beside them.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let column = |array: &ArrayRef| -> Result<ArrayRef> {
        Ok(match (array.as_any_dictionary_opt(), array.as_string_view_opt()) {
            (Some(dictionary), _) => garbage_collect_any_dictionary(dictionary)?,
            (_, Some(texts)) => Arc::new(texts.gc()),
            _ => array.clone(),
        })
    };
    let columns = batch.columns().iter().map(column).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))?)
}
