//! Bound query to DataFusion's `LogicalPlan`.
//!
//! Every column is named by its id inside plans (`c12`), so that names never collide. A `sort` is not made where it is
//! written: its keys travel with the rows (hidden columns if need be) and are applied where order matters.

use crate::arrow_types::{arrow_type, scalar};
use crate::functions::{Body, find, udf};
use crate::run::{Instant, PlanClock};
use crate::weights::Weights;
use crate::workspace::Workspace;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::{Column as DfColumn, DFSchema, DFSchemaRef, Result, ScalarValue, TableReference, internal_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use std::sync::Arc;
use vidette_kql::bound::{self, Column, ColumnId, ExprKind, Plan};
use vidette_kql::needs::{Used, plan_can_have_rows, used_columns};
use vidette_kql::{ScalarType, Value};

/// The value of an expression without columns.
pub(crate) fn constant(expr: &Expr) -> Result<ScalarValue> {
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &RecordBatchOptions::new().with_row_count(Some(1)))?;
    let expr = executable(expr, &DFSchema::empty())?;
    ScalarValue::try_from_array(&expr.evaluate(&nothing)?.into_array(1)?, 0)
}

/// An expression as it is evaluated outside a plan. Some functions only stand for others until they are simplified.
pub(crate) fn executable(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build());
    let expr = simplifier.simplify(simplifier.coerce(expr.clone(), schema)?)?;
    create_physical_expr(&expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

/// Rows, and the order they should be seen in.
pub(crate) struct Rows {
    pub(crate) plan: LogicalPlanBuilder,
    pub(crate) order: Vec<Sort>,
}

/// Steps of a plan whose columns are named as the plan below names them.
///
/// A name stands for one column inside plans, so there is nothing to look up: `LogicalPlanBuilder::project` and `filter` would
/// walk the whole plan below for every column to find the tables that a `using` joined.
pub(crate) trait Shown: Sized {
    fn show(self, columns: Vec<Expr>) -> Result<Self>;
    fn keep_if(self, predicate: Expr) -> Result<Self>;
}

impl Shown for LogicalPlanBuilder {
    fn show(self, columns: Vec<Expr>) -> Result<LogicalPlanBuilder> {
        self.project_with_validation(columns.into_iter().map(|column| (column, false)).collect())
    }

    fn keep_if(self, predicate: Expr) -> Result<LogicalPlanBuilder> {
        Ok(LogicalPlanBuilder::from(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(self.build()?))?)))
    }
}

/// A table of which every use sees the same rows, though its plan would give others each time.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) plan: Arc<Plan>,
    pub(crate) rows: Arc<MemTable>,
    pub(crate) order: Vec<Sort>,
}

pub(crate) struct Lowering<'a> {
    pub(crate) workspace: &'a Workspace,
    clock: PlanClock,
    /// The query's scalar subqueries as values or parameters, as far as they are known.
    pub(crate) subqueries: &'a [Expr],
    /// The tables whose rows are drawn already.
    drawn: &'a [Drawn],
    /// Columns that some operator or the result reads.
    used: Used,
    pub(crate) weights: Weights,
    /// Parts without rows are left out; not where an assertion must be looked at, rows or no rows.
    leaves_out: bool,
    /// Tables without rows are yet to be read: none is left out.
    of_unread: bool,
    hidden: u32,
    windows: u32,
    /// The columns of window functions that the rows carry, each by what it computes.
    pub(crate) computed: Vec<(Expr, String)>,
}

/// The name of a column inside plans.
pub(crate) fn physical(id: ColumnId) -> String {
    format!("c{}", id.0)
}

/// The columns as a node of our own gives them.
pub(crate) fn physical_schema<'c>(columns: impl IntoIterator<Item = &'c Column>) -> Result<DFSchemaRef> {
    let field = |column: &Column| Field::new(physical(column.id), arrow_type(column.ty), column.ty != ScalarType::String);
    Ok(Arc::new(DFSchema::try_from(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))?))
}

pub(crate) fn named(name: impl Into<String>) -> Expr {
    Expr::Column(DfColumn::new_unqualified(name))
}

pub(crate) fn reference(column: &Column) -> Expr {
    named(physical(column.id))
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(workspace: &'a Workspace, clock: PlanClock, subqueries: &'a [Expr], drawn: &'a [Drawn]) -> Lowering<'a> {
        Lowering {
            workspace,
            clock,
            subqueries,
            drawn,
            used: Used::default(),
            weights: Weights::default(),
            leaves_out: false,
            of_unread: false,
            hidden: 0,
            windows: 0,
            computed: Vec::new(),
        }
    }

    /// As if every table may have rows.
    #[must_use]
    pub(crate) fn of_unread(mut self) -> Self {
        self.of_unread = true;
        self
    }

    /// The plan of a whole query: ordered, its columns in Kusto's order.
    pub(crate) fn query(&mut self, plan: &Plan, columns: &[Column]) -> Result<LogicalPlan> {
        self.begin(plan, columns);
        let rows = if columns.is_empty() || self.may_have_rows(plan) { self.rows(plan)? } else { self.values(columns, &[])? };
        let ordered = ordered(rows)?;
        if columns.is_empty() {
            return ordered.plan.limit(0, Some(0))?.build();
        }
        let shown = columns.iter().map(reference).collect::<Vec<_>>();
        ordered.plan.show(shown)?.build()
    }

    /// The plan of a table whose rows are to be kept: its columns, and those it is ordered by.
    pub(crate) fn draw(&mut self, plan: &Plan, columns: &[Column]) -> Result<(LogicalPlan, Vec<Sort>)> {
        self.begin(plan, columns);
        let rows = self.rows(plan)?;
        let mut shown = columns.iter().map(reference).collect::<Vec<_>>();
        let order = self.carried(rows.order, &mut shown);
        Ok((rows.plan.show(shown)?.build()?, order))
    }

    fn begin(&mut self, plan: &Plan, columns: &[Column]) {
        self.used = used_columns(plan, columns);
        self.weights = Weights::of_plan(plan);
        self.leaves_out = !self.of_unread;
        plan.visit_expressions(&mut |expr| expr.visit(&mut |inner| self.leaves_out &= !matches!(&inner.kind, ExprKind::Call { function, .. } if function == "assert")));
    }

    /// Whether a part of the query can have rows, as far as the tables that it reads tell.
    pub(crate) fn may_have_rows(&self, plan: &Plan) -> bool {
        !self.leaves_out || plan_can_have_rows(plan, &mut |leaf| self.workspace.may_have_rows(&leaf.table))
    }

    /// The table's rows, if they are drawn.
    pub(crate) fn drawn(&mut self, plan: &Arc<Plan>) -> Result<Option<Rows>> {
        let Some(drawn) = self.drawn.iter().find(|drawn| Arc::ptr_eq(&drawn.plan, plan)) else { return Ok(None) };
        let alias = self.hidden_name("m");
        let columns = drawn
            .rows
            .schema()
            .fields()
            .iter()
            .map(|field| Expr::Column(DfColumn::new(Some(TableReference::bare(alias.clone())), field.name())).alias(field.name()))
            .collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::scan(TableReference::bare(alias.clone()), provider_as_source(drawn.rows.clone()), None)?.project(columns)?;
        Ok(Some(Rows { plan, order: drawn.order.clone() }))
    }

    /// Puts the keys of an order among the columns, and gives the order by them.
    pub(crate) fn carried(&mut self, order: Vec<Sort>, shown: &mut Vec<Expr>) -> Vec<Sort> {
        let carry = |mut key: Sort| {
            let name = self.hidden_name("order");
            shown.push(key.expr.alias(name.clone()));
            key.expr = named(name);
            key
        };
        order.into_iter().map(carry).collect()
    }

    pub(crate) fn rows(&mut self, plan: &Plan) -> Result<Rows> {
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || match plan {
            Plan::Table { name, columns } => self.table(name, columns),
            Plan::Values { columns, rows } => self.values(columns, rows),
            Plan::Range { column, start, end, step } => self.range(column, start, end, step),
            Plan::Filter { input, predicate } => self.filter(input, predicate),
            Plan::Project { input, columns } => self.project(input, columns),
            Plan::Aggregate { input, by, aggregates } => self.aggregate(input, by, aggregates),
            Plan::Sort { input, keys } => self.sort(input, keys),
            Plan::Take { input, count } => self.take(input, count),
            Plan::TakePerGroup { input, partition, count } => self.take_per_group(input, partition, count),
            Plan::Join { kind, left, right, keys, left_columns, right_columns } => self.join(*kind, left, right, keys, left_columns, right_columns),
            Plan::Union { inputs, columns } => self.union(inputs, columns),
            Plan::MvExpand { input, expansions, index, limit, keep, bag_as_array } => self.mv_expand(input, expansions, index.as_ref(), *limit, keep, *bag_as_array),
            Plan::RowId { input, column } => self.row_id(input, column),
            Plan::Pass { name, inputs, columns, pattern } => self.pass(name, inputs, columns, pattern.clone()),
            Plan::Graph(_) => internal_err!("a graph where rows are read")?,
            Plan::Scan { input, kept, declared, steps, match_id, partition } => self.scan(input, kept, declared, steps, match_id.as_ref(), *partition),
            Plan::Reference { plan, columns, .. } => self.named_value(plan, columns),
        })
    }

    /// The bounds of the time that the query may see.
    pub(crate) fn seen_between(&self) -> Option<(Expr, Expr)> {
        self.clock.is_windowed().then(|| (self.clock.instant(Instant::After, 0), self.clock.instant(Instant::Until, 0)))
    }

    pub(crate) fn is_used(&self, column: &Column) -> bool {
        self.used.contains(column.id)
    }

    /// The numbers of the captures that are read of a column of captures.
    pub(crate) fn captures_of(&self, column: &Column) -> Vec<i64> {
        self.used.captures(column.id)
    }

    /// Keeps a column that nothing reads.
    pub(crate) fn keep(&mut self, column: Option<&Column>) {
        self.used.add(column.map(|column| column.id));
    }

    /// Rows need a column to be counted by, even when none is read.
    pub(crate) fn at_least_one(&mut self, shown: &mut Vec<Expr>) {
        if shown.is_empty() {
            shown.push(lit(true).alias(self.hidden_name("none")));
        }
    }

    pub(crate) fn hidden_name(&mut self, what: &str) -> String {
        self.hidden += 1;
        format!("{what}{}", self.hidden)
    }

    /// A column id that no binder gives out, for the result of a window function.
    pub(crate) fn next_window(&mut self) -> u32 {
        self.windows += 1;
        self.windows
    }

    /// A scalar expression over the columns of its input.
    pub(crate) fn expr(&self, expr: &bound::Expr) -> Result<Expr> {
        stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || match &expr.kind {
            ExprKind::Literal(value) => Ok(Expr::Literal(scalar(value), None)),
            ExprKind::Column(id) => Ok(named(physical(*id))),
            ExprKind::Subquery(index) => match self.subqueries.get(*index) {
                Some(value) => Ok(value.clone()),
                None => internal_err!("subquery {index} is used before it is evaluated"),
            },
            ExprKind::Call { function, arguments, .. } => self.call(function, arguments, expr),
        })
    }

    /// Kusto evaluates an assertion when it analyzes the query: one that fails is an error, rows or no rows.
    fn assert(&self, arguments: &[Expr], message: Option<&bound::Expr>) -> Result<()> {
        let [condition, ..] = arguments else { return Ok(()) };
        if !condition.column_refs().is_empty() {
            return plan_err!("assert(): the condition must be a constant");
        }
        match constant(condition) {
            Ok(value) if !matches!(value, ScalarValue::Boolean(Some(true))) => {
                let text = match message.and_then(|message| message.as_literal()) {
                    Some(Value::String(text)) => text.clone(),
                    _ => String::new(),
                };
                plan_err!("assert() has failed with message: '{text}'")
            }
            // What only the run can tell, such as the clock, is left to it.
            _ => Ok(()),
        }
    }

    fn call(&self, function: &str, arguments: &[bound::Expr], expr: &bound::Expr) -> Result<Expr> {
        let lowered = arguments.iter().map(|argument| self.expr(argument)).collect::<Result<Vec<_>>>()?;
        match function {
            "now" => {
                return Ok(match lowered.into_iter().next() {
                    Some(Expr::Literal(ScalarValue::Int64(Some(offset)), _)) => self.clock.instant(Instant::Now, offset),
                    Some(offset) => self.clock.instant(Instant::Now, 0) + offset,
                    None => self.clock.instant(Instant::Now, 0),
                });
            }
            "ago" => {
                return Ok(match lowered.into_iter().next() {
                    Some(Expr::Literal(ScalarValue::Int64(Some(offset)), _)) => self.clock.instant(Instant::Now, offset.saturating_neg()),
                    Some(offset) => self.clock.instant(Instant::Now, 0) - offset,
                    None => return internal_err!("ago() takes a timespan"),
                });
            }
            "assert" => self.assert(&lowered, arguments.get(1))?,
            _ => {}
        }
        let types: Vec<_> = arguments.iter().map(|argument| argument.ty).collect();
        match find(function).map(|function| function.body) {
            Some(Body::Stock(lower)) => Ok(lower(&types, lowered)),
            Some(Body::Rows(_) | Body::Batch(_)) => Ok(udf::call(function, &types, expr.ty, lowered)),
            None => internal_err!("the binder let the function {function} pass, which the engine does not run"),
        }
    }
}

/// Puts the order into the plan.
pub(crate) fn ordered(rows: Rows) -> Result<Rows> {
    if rows.order.is_empty() {
        return Ok(rows);
    }
    Ok(Rows { plan: rows.plan.sort(rows.order.clone())?, order: rows.order })
}
