//! Many Parquet files, or batches, as one table: a scan looks only at those whose times its filters let through.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{Result, ScalarValue, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use std::path::PathBuf;
use std::sync::Arc;
use vidette_kql::time::UNIX_EPOCH_TICKS;

/// The columns whose times decide.
pub const TIMES: [&str; 2] = ["Timestamp", "TimeGenerated"];

/// The first and last tick of each of [`TIMES`], where they are known and no row is without.
pub type Spans = [Option<(i64, i64)>; 2];

/// A file, and the times that its footer tells.
#[derive(Clone, Debug)]
pub struct TimedFile {
    pub path: PathBuf,
    pub times: Spans,
}

/// A table of Parquet files of one schema.
#[derive(Debug)]
pub struct TimedFiles {
    schema: SchemaRef,
    files: Vec<TimedFile>,
}

impl TimedFiles {
    /// The schema is that of all files together.
    pub fn new(schema: SchemaRef, files: Vec<TimedFile>) -> TimedFiles {
        TimedFiles { schema, files }
    }
}

#[async_trait::async_trait]
impl TableProvider for TimedFiles {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, filters: &[Expr], limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = asked(filters);
        let urls = self.files.iter().filter(|file| overlap(&file.times, &asked)).map(|file| ListingTableUrl::parse(file.path.to_string_lossy())).collect::<Result<Vec<_>>>()?;
        if urls.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
        let table = ListingTable::try_new(ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(self.schema.clone()))?;
        table.scan(state, projection, filters, limit).await
    }
}

/// A table of batches in memory, whose times are ticks.
#[derive(Debug)]
pub struct TimedBatches {
    schema: SchemaRef,
    batches: Vec<(RecordBatch, Spans)>,
}

impl TimedBatches {
    /// The batches must have the schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> TimedBatches {
        let spans = |batch: &RecordBatch| TIMES.map(|column| span(batch.column_by_name(column)?));
        let batches = batches.into_iter().map(|batch| {
            let spans = spans(&batch);
            (batch, spans)
        });
        TimedBatches { schema, batches: batches.collect() }
    }
}

/// The first and last of a column of ticks without nulls.
fn span(column: &ArrayRef) -> Option<(i64, i64)> {
    let ticks = column.as_primitive_opt::<Int64Type>().filter(|ticks| ticks.null_count() == 0)?;
    Some((min(ticks)?, max(ticks)?))
}

#[async_trait::async_trait]
impl TableProvider for TimedBatches {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, filters: &[Expr], limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = asked(filters);
        let batches = self.batches.iter().filter(|(_, times)| overlap(times, &asked)).map(|(batch, _)| batch.clone()).collect();
        MemTable::try_new(self.schema.clone(), vec![batches])?.scan(state, projection, &[], limit).await
    }
}

/// The ticks of each of [`TIMES`] that the filters let through.
fn asked(filters: &[Expr]) -> [(i64, i64); 2] {
    let mut asked = [(i64::MIN, i64::MAX); 2];
    filters.iter().for_each(|filter| narrow(filter, &mut asked));
    asked
}

fn overlap(times: &Spans, asked: &[(i64, i64); 2]) -> bool {
    times.iter().zip(asked).all(|(times, (from, to))| times.is_none_or(|(first, last)| first <= *to && last >= *from))
}

/// Narrows the asked ticks by what the filter demands of a time column.
fn narrow(filter: &Expr, asked: &mut [(i64, i64); 2]) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return };
    match op {
        Operator::And => {
            narrow(left, asked);
            narrow(right, asked);
            return;
        }
        // A file that may have null times has none that decide.
        Operator::Or if is_null_time(right) => return narrow(left, asked),
        Operator::Or if is_null_time(left) => return narrow(right, asked),
        _ => {}
    }
    let (column, ticks, op) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, ticks(value), Some(*op)),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, ticks(value), op.swap()),
        _ => return,
    };
    let (Some(at), Some(ticks)) = (TIMES.iter().position(|name| *name == column.name), ticks) else { return };
    let (from, to) = &mut asked[at];
    // A tick more than asked costs nothing.
    match op {
        Some(Operator::Gt | Operator::GtEq) => *from = (*from).max(ticks),
        Some(Operator::Lt | Operator::LtEq) => *to = (*to).min(ticks),
        Some(Operator::Eq) => (*from, *to) = ((*from).max(ticks), (*to).min(ticks)),
        _ => {}
    }
}

/// Whether the filter asks for rows without a time.
fn is_null_time(filter: &Expr) -> bool {
    let Expr::IsNull(inner) = filter else { return false };
    let column = match &**inner {
        Expr::ScalarFunction(call) => call.args.first(),
        other => Some(other),
    };
    matches!(column, Some(Expr::Column(column)) if TIMES.contains(&column.name.as_str()))
}

/// Ticks of a literal time, which may be ticks itself; others say nothing.
fn ticks(value: &ScalarValue) -> Option<i64> {
    let since = match value {
        ScalarValue::Int64(Some(ticks)) => return Some(*ticks),
        ScalarValue::TimestampSecond(Some(value), _) => value.checked_mul(10_000_000)?,
        ScalarValue::TimestampMillisecond(Some(value), _) => value.checked_mul(10_000)?,
        ScalarValue::TimestampMicrosecond(Some(value), _) => value.checked_mul(10)?,
        ScalarValue::TimestampNanosecond(Some(value), _) => value.div_euclid(100),
        _ => return None,
    };
    since.checked_add(UNIX_EPOCH_TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{ident, lit};

    #[test]
    fn filters_narrow_the_times() {
        let at = |nanoseconds: i64| lit(ScalarValue::TimestampNanosecond(Some(nanoseconds), Some("UTC".into())));
        let mut asked = [(i64::MIN, i64::MAX); 2];
        let filter = ident("Timestamp").gt_eq(at(1_000)).and(at(9_000).gt(ident("Timestamp"))).and(ident("TimeGenerated").eq(at(500))).and(ident("Other").eq(at(7)));
        narrow(&filter, &mut asked);
        let tick = |at: i64| UNIX_EPOCH_TICKS + at;
        assert_eq!(asked, [(tick(10), tick(90)), (tick(5), tick(5))]);
        let mut asked = [(i64::MIN, i64::MAX); 2];
        narrow(&ident("Timestamp").gt(at(1_000)).or(ident("Timestamp").is_null()), &mut asked);
        assert_eq!(asked[0], (tick(10), i64::MAX));
        let mut asked = [(i64::MIN, i64::MAX); 2];
        narrow(&ident("Timestamp").gt(at(1_000)).or(ident("Timestamp").lt(at(1))), &mut asked);
        assert_eq!(asked, [(i64::MIN, i64::MAX); 2]);
    }

    #[tokio::test]
    async fn a_scan_gives_the_batches_whose_times_it_asks_for() {
        use arrow::array::Int64Array;
        let batch = |times: Vec<Option<i64>>| RecordBatch::try_from_iter_with_nullable([("Timestamp", Arc::new(Int64Array::from(times)) as ArrayRef, true)]).expect("a column");
        let batches = vec![batch(vec![Some(10), Some(20)]), batch(vec![Some(30), Some(40), Some(35)]), batch(vec![Some(1), None])];
        let table = TimedBatches::new(batches[0].schema(), batches);
        let session = datafusion::prelude::SessionContext::new();
        for (filter, rows) in [
            (ident("Timestamp").gt(lit(21i64)), 5),
            (ident("Timestamp").gt(lit(21i64)).and(ident("Timestamp").lt_eq(lit(29i64))), 2),
            (ident("Timestamp").eq(lit(15i64)).or(ident("Timestamp").is_null()), 4),
            (ident("Timestamp").lt(lit(100i64)), 7),
            (ident("Other").eq(lit(1i64)), 7),
        ] {
            let plan = table.scan(&session.state(), None, std::slice::from_ref(&filter), None).await.expect("it plans");
            let given = datafusion::physical_plan::collect(plan, session.task_ctx()).await.expect("it runs");
            assert_eq!(given.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{filter}");
        }
    }
}
