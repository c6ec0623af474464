//! Execution: scalar subqueries first, then the query, within one instant of time.

use crate::beside::side_by_side;
use crate::in_order::InOrder;
use crate::lower::{Drawn, Lowering};
use crate::probe;
use crate::result::{QueryResult, ResultTable, Rows};
use crate::workspace::{Answering, Workspace};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, SchemaError, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use futures::TryStreamExt;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vidette_kql::bound::{Column, ExprKind, Plan, Query, Subquery};
use vidette_kql::time::{TICKS_PER_HOUR, UNIX_EPOCH_TICKS};
use vidette_kql::{Diagnostic, QuestionKind, ScalarType, Severity, compile, errors};

/// The instant of `now()` for one query, and the data it may see; ticks since 0001-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub now_ticks: i64,
    /// Rows whose time is after the first and not after the second; rows without a time as [`Workspace::date_undated`] says.
    pub window: Option<(i64, i64)>,
}

impl Clock {
    /// The machine's clock.
    pub fn now() -> Clock {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Clock::at(UNIX_EPOCH_TICKS + (since_epoch.as_nanos() / 100) as i64)
    }

    pub fn at(now_ticks: i64) -> Clock {
        Clock { now_ticks, window: None }
    }

    /// Only the data of the time before `now_ticks` that a scheduled rule would see.
    pub fn window(now_ticks: i64, period_ticks: i64) -> Clock {
        Clock { now_ticks, window: Some((now_ticks.saturating_sub(period_ticks), now_ticks)) }
    }
}

/// The instants that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instant {
    Now,
    After,
    Until,
}

/// The clock while a plan is made: known, or left as parameters so that one plan serves many instants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PlanClock {
    Known(Clock),
    Parameters { windowed: bool },
}

impl PlanClock {
    pub(crate) fn is_windowed(self) -> bool {
        match self {
            PlanClock::Known(clock) => clock.window.is_some(),
            PlanClock::Parameters { windowed } => windowed,
        }
    }

    /// The instant, moved by `offset` ticks.
    pub(crate) fn instant(self, instant: Instant, offset: i64) -> Expr {
        match self {
            PlanClock::Known(clock) => Expr::Literal(ScalarValue::Int64(Some(clock.ticks(instant).saturating_add(offset))), None),
            PlanClock::Parameters { .. } => parameter(format!("${instant:?}{offset}"), DataType::Int64),
        }
    }
}

impl Clock {
    fn ticks(self, instant: Instant) -> i64 {
        match instant {
            Instant::Now => self.now_ticks,
            Instant::After => self.window.map_or(i64::MIN, |window| window.0),
            Instant::Until => self.window.map_or(i64::MAX, |window| window.1),
        }
    }

    /// The value of a parameter that [`PlanClock::instant`] named, or of a subquery.
    fn value(self, name: &str, subqueries: &[Option<ScalarValue>]) -> Option<ScalarValue> {
        if let Some(index) = name.strip_prefix("$Subquery") {
            return subqueries.get(index.parse::<usize>().ok()?)?.clone();
        }
        let (instant, offset) = [Instant::Now, Instant::After, Instant::Until].into_iter().find_map(|instant| Some((instant, name.strip_prefix(&format!("${instant:?}"))?)))?;
        Some(ScalarValue::Int64(Some(self.ticks(instant).saturating_add(offset.parse().ok()?))))
    }
}

pub(crate) fn parameter(name: String, ty: DataType) -> Expr {
    Expr::Placeholder(Placeholder::new_with_field(name, Some(Arc::new(Field::new("", ty, true)))))
}

/// A query planned once for runs at many instants.
#[derive(Debug)]
pub struct Prepared<'a> {
    query: &'a Query,
    /// Values of the subqueries that no instant changes, plans of those that one does, nothing for unused ones.
    subqueries: Vec<PreparedSubquery>,
    plan: LogicalPlan,
    /// Every run is planned with its instant after all.
    replan: bool,
    /// It may give other rows each time.
    drawn: bool,
}

#[derive(Debug)]
enum PreparedSubquery {
    Unused,
    Constant(ScalarValue),
    Plan(LogicalPlan),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query is wrong, or asks for what Vidette does not run.
    #[error("{}", errors(.0).next().unwrap_or_default())]
    Diagnostics(Vec<Diagnostic>),
    /// Execution failed: memory, a file, or a value that cannot be computed.
    #[error("{}", told(.0))]
    Execution(#[from] DataFusionError),
}

fn told(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(why) => {
            format!("the query needs more memory than there is for it; ask for less time, or keep fewer columns before `sort` and `join`\n  {why}")
        }
        _ => error.to_string(),
    }
}

impl Workspace {
    /// Parses, binds and runs a query text.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] when the text is not a query that runs here, [`Error::Execution`] when running it fails.
    pub async fn query(&self, text: &str, clock: Clock) -> Result<QueryResult, Error> {
        let (queries, diagnostics) = self.compile(text, clock).await?;
        let mut tables = Vec::with_capacity(queries.len());
        for query in &queries {
            tables.push(self.run(query, clock).await?);
        }
        Ok(QueryResult { tables, diagnostics })
    }

    /// Parses and binds a query text; what only rows can tell, such as the columns of `bag_unpack`, is found out by
    /// running the query before it.
    ///
    /// # Errors
    /// As [`Workspace::query`].
    pub async fn compile(&self, text: &str, clock: Clock) -> Result<(Vec<Query>, Vec<Diagnostic>), Error> {
        let mut answers = Vec::new();
        loop {
            let (compiled, answering) = {
                let catalog = Answering { workspace: self, answers, open: RefCell::new(None) };
                (compile(text, &catalog), (catalog.answers, catalog.open.into_inner()))
            };
            let (queries, diagnostics) = compiled;
            if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
                return Err(Error::Diagnostics(diagnostics));
            }
            let (known, Some(question)) = answering else { return Ok((queries, diagnostics)) };
            answers = known;
            answers.push(answer(self.stream(&question.query, clock).await?, question.kind).await?);
        }
    }

    /// Runs one bound query.
    ///
    /// # Errors
    /// When planning or execution fails.
    pub async fn run(&self, query: &Query, clock: Clock) -> Result<ResultTable, Error> {
        let mut rows = self.stream(query, clock).await?;
        let mut table = rows.header.clone();
        while let Some(piece) = rows.next().await? {
            table.batches.extend(piece.batches);
        }
        Ok(table)
    }

    /// Begins to run one bound query, of whose rows a few at a time are in memory.
    ///
    /// # Errors
    /// When planning fails.
    pub async fn stream(&self, query: &Query, clock: Clock) -> Result<Rows, Error> {
        let known = self.known(query, clock).await?;
        let batches = self.execute(self.lower(&query.plan, &query.columns, clock, &known)?).await?;
        let columns = query.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        Ok(Rows { header: ResultTable { columns, batches: Vec::new(), render: query.render.clone() }, batches })
    }

    fn lower(&self, plan: &Plan, columns: &[Column], clock: Clock, known: &Known) -> Result<LogicalPlan, Error> {
        Ok(Lowering::new(self, PlanClock::Known(clock), &known.values, &known.drawn).query(plan, columns)?)
    }

    fn state_of_few_rows(&self) -> SessionState {
        self.of_few_rows.get_or_init(|| in_order(on_one_thread(self.session.state()))).clone()
    }

    fn state_of_windows(&self) -> SessionState {
        self.of_windows.get_or_init(|| on_one_thread(self.session.state())).clone()
    }

    async fn execute(&self, logical: LogicalPlan) -> Result<SendableRecordBatchStream, Error> {
        // On one thread rows come as they are written, and groups as they were first seen, as they do in Kusto.
        let mut state = if has_few_rows(&logical) { self.state_of_few_rows() } else { self.session.state() };
        if logical.schema().fields().len() > MANY_COLUMNS {
            *state.config_mut() = state.config().clone().with_batch_size(FEWER_ROWS);
        }
        let physical = state.create_physical_plan(&logical).await?;
        Ok(datafusion::physical_plan::execute_stream(physical, state.task_ctx())?)
    }

    async fn collect(&self, logical: LogicalPlan) -> Result<Vec<RecordBatch>, Error> {
        Ok(self.execute(logical).await?.try_collect().await?)
    }

    /// Plans a query for [`Workspace::run_prepared`]; `windowed` when its clocks have windows.
    ///
    /// # Errors
    /// When planning fails, or a subquery that no instant changes.
    pub async fn prepare<'a>(&self, query: &'a Query, windowed: bool) -> Result<Prepared<'a>, Error> {
        let clock = PlanClock::Parameters { windowed };
        let state = self.session.state();
        let mut values: Vec<Expr> = Vec::with_capacity(query.subqueries.len());
        let mut subqueries = Vec::with_capacity(query.subqueries.len());
        // What is drawn once is drawn anew by every run.
        let drawn = is_drawn(query);
        let mut replan = drawn;
        for (at, (subquery, wanted)) in query.subqueries.iter().zip(wanted(query)).enumerate() {
            if !wanted {
                values.push(Expr::Literal(ScalarValue::Null, None));
                subqueries.push(PreparedSubquery::Unused);
                continue;
            }
            let logical = Lowering::new(self, clock, &values, &[]).query(&subquery.plan, std::slice::from_ref(&subquery.column))?;
            replan |= needs_instant(&logical);
            if parameters(&logical)? {
                let ty = if subquery.as_list { ScalarType::Dynamic } else { subquery.column.ty };
                values.push(parameter(format!("$Subquery{at}"), crate::arrow_type(ty)));
                subqueries.push(PreparedSubquery::Plan(state.optimize(&logical)?));
            } else {
                let value = subquery_value(subquery, self.collect(logical).await?)?;
                values.push(Expr::Literal(value.clone(), None));
                subqueries.push(PreparedSubquery::Constant(value));
            }
        }
        let logical = Lowering::new(self, clock, &values, &[]).query(&query.plan, &query.columns)?;
        let replan = replan || needs_instant(&logical);
        Ok(Prepared { query, subqueries, plan: state.optimize(&logical)?, replan, drawn })
    }

    /// Runs a prepared query at one instant.
    ///
    /// # Errors
    /// When execution fails.
    pub async fn run_prepared(&self, prepared: &Prepared<'_>, clock: Clock) -> Result<ResultTable, Error> {
        self.run_in(prepared, clock, &self.session.state()).await
    }

    /// Runs a prepared query at many instants, side by side: there each run keeps to one thread, which for the few rows of
    /// a window costs less than spreading it. What `read` takes from each result is given in the order of the clocks; the
    /// results themselves would hold the memory of all that they were cut from.
    ///
    /// # Errors
    /// When an execution fails.
    pub async fn run_prepared_at<T: Send>(&self, prepared: &Prepared<'_>, clocks: &[Clock], read: impl Fn(ResultTable, Clock) -> T + Sync) -> Result<Vec<T>, Error> {
        let with_rows = self.with_rows(prepared, clocks).await?;
        let columns: Vec<(String, ScalarType)> = prepared.query.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        let empty = || ResultTable { columns: columns.clone(), batches: Vec::new(), render: prepared.query.render.clone() };
        let state = if clocks.len() > 1 { self.state_of_windows() } else { self.session.state() };
        let run = async |at: usize| {
            let table = if with_rows[at] { self.run_in(prepared, clocks[at], &state).await? } else { empty() };
            Ok(read(table, clocks[at]))
        };
        side_by_side(clocks.len(), run).await.into_iter().collect()
    }

    /// Which of many windows can have rows: those with times that the conditions on single rows let through.
    async fn with_rows(&self, prepared: &Prepared<'_>, clocks: &[Clock]) -> Result<Vec<bool>, Error> {
        /// Fewer windows are sooner run than asked about.
        const MANY: usize = 8;
        let all = vec![true; clocks.len()];
        let constant = !prepared.drawn && !prepared.query.plan.is_volatile();
        if clocks.len() < MANY || !constant || clocks.iter().any(|clock| clock.window.is_none()) {
            return Ok(all);
        }
        let Some(probes) = probe::times(&prepared.plan)? else { return Ok(all) };
        let state = self.session.state();
        let hour = |ticks: i64| ticks.div_euclid(TICKS_PER_HOUR);
        let mut seen = vec![false; clocks.len()];
        for probe in probes {
            let physical = state.query_planner().create_physical_plan(&state.optimize(&probe.plan)?, &state).await?;
            let mut rows = datafusion::physical_plan::execute_stream(physical, state.task_ctx())?;
            let mut hours = BTreeSet::new();
            while let Some(batch) = rows.try_next().await? {
                for time in batch.column(0).as_primitive::<Int64Type>() {
                    // Without an instant for them, rows without a time are seen by every window.
                    let Some(time) = time.or(self.undated) else { return Ok(all) };
                    hours.insert(hour(time));
                }
            }
            let after = |clock: &Clock| {
                let ticks = |name: &String| match clock.value(name, &[]) {
                    Some(ScalarValue::Int64(ticks)) => ticks,
                    _ => None,
                };
                probe.after.iter().filter_map(ticks).max().unwrap_or(i64::MIN)
            };
            for (clock, seen) in clocks.iter().zip(&mut seen) {
                let (from, to) = (hour(after(clock)), clock.window.map_or(i64::MAX, |(_, until)| hour(until)));
                *seen |= from <= to && hours.range(from..=to).next().is_some();
            }
        }
        Ok(seen)
    }

    async fn run_in(&self, prepared: &Prepared<'_>, clock: Clock, state: &SessionState) -> Result<ResultTable, Error> {
        if prepared.replan {
            return self.run(prepared.query, clock).await;
        }
        let mut values = Vec::with_capacity(prepared.subqueries.len());
        for (subquery, bound) in prepared.subqueries.iter().zip(&prepared.query.subqueries) {
            values.push(match subquery {
                PreparedSubquery::Unused => None,
                PreparedSubquery::Constant(value) => Some(value.clone()),
                PreparedSubquery::Plan(plan) => Some(subquery_value(bound, self.collect_at(plan, clock, &values, state).await?)?),
            });
        }
        let columns = prepared.query.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        Ok(ResultTable { columns, batches: self.collect_at(&prepared.plan, clock, &values, state).await?, render: prepared.query.render.clone() })
    }

    /// Puts the instant into an optimized plan, and executes it.
    async fn collect_at(&self, plan: &LogicalPlan, clock: Clock, subqueries: &[Option<ScalarValue>], state: &SessionState) -> Result<Vec<RecordBatch>, Error> {
        let plan = plan.clone().transform_up(|plan| {
            plan.map_expressions(|expr| {
                expr.transform_up(|expr| match &expr {
                    Expr::Placeholder(Placeholder { id, .. }) => match clock.value(id, subqueries) {
                        Some(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
                        None => internal_err!("the parameter {id} has no value"),
                    },
                    _ => Ok(Transformed::no(expr)),
                })
            })
        })?;
        // With the instant known, a comparison of ticks becomes one with a file's own times, which prunes.
        let plan = plan.data.transform_up(|plan| match plan {
            LogicalPlan::TableScan(ref scan) if !scan.filters.is_empty() => SimplifyExpressions::new().rewrite(plan, state),
            other => Ok(Transformed::no(other)),
        })?;
        let physical = state.query_planner().create_physical_plan(&plan.data, state).await?;
        Ok(datafusion::physical_plan::collect(physical, state.task_ctx()).await?)
    }

    /// The optimized plan as text, for tests that a filter still reaches the reader.
    ///
    /// # Errors
    /// As [`Workspace::query`].
    pub async fn explain(&self, text: &str, clock: Clock) -> Result<String, Error> {
        Ok(self.plan(text, clock).await?.display_indent().to_string())
    }

    /// The optimized plan of the first tabular statement.
    ///
    /// # Errors
    /// As [`Workspace::query`].
    pub async fn plan(&self, text: &str, clock: Clock) -> Result<LogicalPlan, Error> {
        let (queries, diagnostics) = self.compile(text, clock).await?;
        let Some(query) = queries.first() else { return Err(Error::Diagnostics(diagnostics)) };
        let known = self.known(query, clock).await?;
        Ok(self.session.state().optimize(&self.lower(&query.plan, &query.columns, clock, &known)?)?)
    }

    /// What is computed before the query: the scalar subqueries that it uses (the others stay null), and the tables
    /// whose rows must not change from use to use.
    async fn known(&self, query: &Query, clock: Clock) -> Result<Known, Error> {
        let mut known = Known::default();
        for (subquery, wanted) in query.subqueries.iter().zip(wanted(query)) {
            let value = if wanted {
                self.draw(&subquery.plan, clock, &mut known).await?;
                let logical = self.lower(&subquery.plan, std::slice::from_ref(&subquery.column), clock, &known).map_err(outer_row)?;
                subquery_value(subquery, self.collect(logical).await?)?
            } else {
                ScalarValue::Null
            };
            known.values.push(Expr::Literal(value, None));
        }
        self.draw(&query.plan, clock, &mut known).await?;
        Ok(known)
    }

    /// Runs the volatile tables that the plan wants once, those inside others first.
    async fn draw(&self, plan: &Plan, clock: Clock, known: &mut Known) -> Result<(), Error> {
        for (plan, columns) in once(plan).into_iter().rev() {
            if known.drawn.iter().any(|drawn| Arc::ptr_eq(&drawn.plan, &plan)) {
                continue;
            }
            let (logical, order) = Lowering::new(self, PlanClock::Known(clock), &known.values, &known.drawn).draw(&plan, &columns)?;
            let schema = Arc::new(logical.schema().as_arrow().clone());
            let rows = Arc::new(MemTable::try_new(schema, vec![self.collect(logical).await?])?);
            known.drawn.push(Drawn { plan, rows, order });
        }
        Ok(())
    }
}

/// Values that the query's plan is made with.
#[derive(Debug, Default)]
struct Known {
    values: Vec<Expr>,
    drawn: Vec<Drawn>,
}

/// Whether a part of the query may give other rows each time, and its uses must see the same.
pub(crate) fn is_drawn(query: &Query) -> bool {
    !once(&query.plan).is_empty() || query.subqueries.iter().any(|subquery| subquery.plan.is_volatile())
}

/// The volatile tables that every use must see alike, a table before those inside it.
fn once(plan: &Plan) -> Vec<(Arc<Plan>, Vec<Column>)> {
    let mut found: Vec<(Arc<Plan>, Vec<Column>)> = Vec::new();
    plan.visit(&mut |plan| {
        if let Plan::Reference { plan, columns, once: true } = plan
            && plan.is_volatile()
        {
            let columns = columns.iter().map(|(new, old)| Column { id: *old, ..new.clone() }).collect();
            found.push((plan.clone(), columns));
        }
    });
    found
}

/// A subquery that names a column it has not: an argument of a function brought it there.
fn outer_row(error: Error) -> Error {
    let Error::Execution(cause) = &error else { return error };
    match cause.find_root() {
        DataFusionError::SchemaError(missing, _) if matches!(**missing, SchemaError::FieldNotFound { .. }) => {
            let what = "a toscalar() that reads a column of the row around it: it is computed once, before the rows";
            DataFusionError::NotImplemented(what.to_owned()).into()
        }
        _ => error,
    }
}

/// Which of its scalar subqueries the query uses, directly or through another.
fn wanted(query: &Query) -> Vec<bool> {
    let mut wanted = vec![false; query.subqueries.len()];
    mark(&query.plan, &mut wanted);
    for at in (0..wanted.len()).rev() {
        if wanted[at] {
            mark(&query.subqueries[at].plan, &mut wanted);
        }
    }
    wanted
}

/// Of a result with more columns fewer rows are in memory at a time: all of a gigabyte's `SecurityEvent` is written in 262 MiB instead of 325.
const MANY_COLUMNS: usize = 64;
const FEWER_ROWS: usize = 2048;

/// Whether all rows of the plan are made by the query itself.
fn has_few_rows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<MemTable>() || provider.is::<GenerateSeriesTable>()),
        _ => plan.inputs().into_iter().all(has_few_rows),
    }
}

/// For plans of few rows: on one thread, and without the rules that cost half of the planning and pay only for many rows.
fn on_one_thread(mut state: SessionState) -> SessionState {
    const OF_MANY: [&str; 3] = ["join_selection", "ProjectionPushdown", "OptimizeAggregateOrder"];
    state.config_mut().options_mut().execution.target_partitions = 1;
    let rules = state.physical_optimizers().iter().filter(|rule| !OF_MANY.contains(&rule.name())).cloned().collect();
    SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(rules).build()
}

/// The rows come in the order in which they are written.
fn in_order(mut state: SessionState) -> SessionState {
    // A join that tells the other side what it looks for waits until all of its partitions are read: one after the other they never are.
    state.config_mut().options_mut().optimizer.enable_join_dynamic_filter_pushdown = false;
    SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rule(Arc::new(InOrder)).build()
}

/// Whether the plan must be made with the instant: a `scan` has the parameters among its steps, where they are not replaced.
fn needs_instant(plan: &LogicalPlan) -> bool {
    plan.display_indent().to_string().contains("Pass: scan")
}

fn parameters(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut found = false;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|inner| Ok(matches!(inner, Expr::Placeholder(_))))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn subquery_value(subquery: &Subquery, batches: Vec<RecordBatch>) -> Result<ScalarValue, Error> {
    let table = ResultTable { columns: vec![(subquery.column.name.clone(), subquery.column.ty)], batches, render: None };
    Ok(if subquery.as_list { list_value(&table) } else { first_value(&table)? })
}

fn mark(plan: &Plan, wanted: &mut [bool]) {
    plan.visit_expressions(&mut |expr| {
        expr.visit(&mut |inner| {
            if let ExprKind::Subquery(index) = inner.kind {
                wanted[index] = true;
            }
        });
    });
}

/// `None` where there are no rows: then the query stays as open as before there was any data, and a rule gives nothing, where Kusto
/// would not know the columns that it goes on to name.
async fn answer(mut rows: Rows, kind: QuestionKind) -> Result<Option<Vec<(String, ScalarType)>>, Error> {
    let mut any = false;
    let mut found: BTreeMap<String, Option<ScalarType>> = BTreeMap::new();
    while let Some(piece) = rows.next().await? {
        any |= piece.batches.iter().any(|batch| batch.num_rows() > 0);
        match kind {
            QuestionKind::Values => found.extend(piece.text_rows().into_iter().flatten().map(|text| (text, Some(ScalarType::String)))),
            QuestionKind::Properties => piece.rows().into_iter().flatten().for_each(|bag| learn(bag, &mut found)),
        }
    }
    Ok(any.then(|| found.into_iter().map(|(name, ty)| (name, ty.unwrap_or(ScalarType::Dynamic))).collect()))
}

/// Adds the properties of a bag, each with the type that all its values have.
fn learn(bag: serde_json::Value, found: &mut BTreeMap<String, Option<ScalarType>>) {
    let serde_json::Value::Object(bag) = bag else { return };
    for (name, value) in bag {
        let ty = json_type(&value);
        let known = found.entry(name).or_insert(ty);
        *known = match (*known, ty) {
            (None, other) | (other, None) => other,
            (Some(ScalarType::Long), Some(ScalarType::Real)) | (Some(ScalarType::Real), Some(ScalarType::Long)) => Some(ScalarType::Real),
            (Some(a), Some(b)) => Some(if a == b { a } else { ScalarType::Dynamic }),
        };
    }
}

/// `None` for null, which says nothing about a property's type.
fn json_type(value: &serde_json::Value) -> Option<ScalarType> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::Bool(_) => Some(ScalarType::Bool),
        serde_json::Value::Number(_) => Some(if crate::json::is_integer(value) { ScalarType::Long } else { ScalarType::Real }),
        serde_json::Value::String(_) => Some(ScalarType::String),
        _ => Some(ScalarType::Dynamic),
    }
}

fn list_value(table: &ResultTable) -> ScalarValue {
    let items: Vec<serde_json::Value> = table.rows().into_iter().filter_map(|mut row| row.pop()).collect();
    ScalarValue::Utf8View(Some(crate::json::write(&serde_json::Value::Array(items))))
}

fn first_value(table: &ResultTable) -> Result<ScalarValue, DataFusionError> {
    let ty = table.columns[0].1;
    match table.batches.iter().find(|batch| batch.num_rows() > 0) {
        Some(batch) => {
            let column = arrow::compute::cast(batch.column(0), &crate::arrow_type(ty))?;
            ScalarValue::try_from_array(&column, 0)
        }
        None if ty == ScalarType::String => Ok(ScalarValue::Utf8View(Some(String::new()))),
        None => Ok(crate::arrow_types::null(ty)),
    }
}
