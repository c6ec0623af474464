//! Execution: scalar subqueries first, then the query, within one instant of time.

use crate::lower::Lowering;
use crate::result::{QueryResult, ResultTable};
use crate::workspace::Workspace;
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use futures::TryStreamExt;
use vidette_kql::bound::{Column, ExprKind, Plan, Query};
use vidette_kql::time::UNIX_EPOCH_TICKS;
use vidette_kql::{Diagnostic, ScalarType, Severity, compile};

/// The instant of `now()` for one query, and the data it may see; ticks since 0001-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub now_ticks: i64,
    /// Rows whose time is after the first and not after the second; rows without a time are always seen.
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

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query is wrong, or asks for what Vidette does not run.
    #[error("{}", .0.first().map(Diagnostic::headline).unwrap_or_default())]
    Diagnostics(Vec<Diagnostic>),
    /// Execution failed: memory, a file, or a value that cannot be computed.
    #[error("{0}")]
    Execution(#[from] DataFusionError),
}

impl Workspace {
    /// Parses, binds and runs a query text.
    ///
    /// # Errors
    /// [`Error::Diagnostics`] when the text is not a query that runs here, [`Error::Execution`] when running it fails.
    pub async fn query(&self, text: &str, clock: Clock) -> Result<QueryResult, Error> {
        let (queries, diagnostics) = compile(text, self);
        if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            return Err(Error::Diagnostics(diagnostics));
        }
        let mut tables = Vec::with_capacity(queries.len());
        for query in &queries {
            tables.push(self.run(query, clock).await?);
        }
        Ok(QueryResult { tables, diagnostics })
    }

    /// Runs one bound query.
    ///
    /// # Errors
    /// When planning or execution fails.
    pub async fn run(&self, query: &Query, clock: Clock) -> Result<ResultTable, Error> {
        let values = self.subqueries(query, clock).await?;
        let batches = self.collect(&query.plan, &query.columns, clock, &values).await?;
        Ok(ResultTable { columns: query.columns.iter().map(|column| (column.name.clone(), column.ty)).collect(), batches, render: query.render.clone() })
    }

    async fn collect(&self, plan: &Plan, columns: &[Column], clock: Clock, values: &[ScalarValue]) -> Result<Vec<RecordBatch>, Error> {
        let logical = Lowering::new(self, clock, values).query(plan, columns)?;
        let frame = self.session.execute_logical_plan(logical).await?;
        Ok(frame.execute_stream().await?.try_collect().await?)
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
        let (queries, diagnostics) = compile(text, self);
        let Some(query) = queries.first().filter(|_| diagnostics.is_empty()) else { return Err(Error::Diagnostics(diagnostics)) };
        let values = self.subqueries(query, clock).await?;
        let logical = Lowering::new(self, clock, &values).query(&query.plan, &query.columns)?;
        Ok(self.session.state().optimize(&logical)?)
    }

    /// Values of the scalar subqueries that the query uses, in order; the others stay null.
    async fn subqueries(&self, query: &Query, clock: Clock) -> Result<Vec<ScalarValue>, Error> {
        let mut wanted = vec![false; query.subqueries.len()];
        mark(&query.plan, &mut wanted);
        for at in (0..wanted.len()).rev() {
            if wanted[at] {
                mark(&query.subqueries[at].plan, &mut wanted);
            }
        }
        let mut values = Vec::with_capacity(wanted.len());
        for (subquery, wanted) in query.subqueries.iter().zip(wanted) {
            if !wanted {
                values.push(ScalarValue::Null);
                continue;
            }
            let batches = self.collect(&subquery.plan, std::slice::from_ref(&subquery.column), clock, &values).await?;
            let table = ResultTable { columns: vec![(subquery.column.name.clone(), subquery.column.ty)], batches, render: None };
            values.push(if subquery.as_list { list_value(&table) } else { first_value(&table)? });
        }
        Ok(values)
    }
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
