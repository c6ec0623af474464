//! Parquet files: queries read them directly. Here which table they are of, when they have rows, and of exported tables of logs
//! the events that the rows were.

use super::shapes::{defender_row, table_of_path};
use super::{Record, Sink};
use crate::error::Problem;
use crate::event::UNIX_EPOCH_TICKS;
use crate::harvest::Origin;
use crate::normalize::TABLES_OF_LOGS;
use crate::schemas::{ColumnType, TableSchema, infer};
use crate::store;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Whether the file says that it is Parquet.
pub fn is_parquet(path: &Path) -> bool {
    let mut head = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && &head == b"PAR1"
}

/// The name of the table that the file is of: the known one that it or a folder is named after, the one that its columns suggest, or
/// the file's own name.
///
/// # Errors
/// When its footer cannot be read.
pub fn table_of_parquet(path: &Path) -> Result<String, Problem> {
    if let Some((table, _)) = store::part(path) {
        return Ok(table.to_owned());
    }
    let names = names(path)?;
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(known_table(path, &names).map_or_else(stem, |table| table.name.to_owned()))
}

fn known_table(path: &Path, columns: &[String]) -> Option<&'static TableSchema> {
    table_of_path(path, columns).or_else(|| infer(columns, None).ok())
}

/// The columns of a file; `None` when its footer cannot be read.
pub(super) fn columns(path: &Path) -> Option<Vec<(String, ColumnType)>> {
    let metadata = ArrowReaderMetadata::load(&File::open(path).ok()?, Default::default()).ok()?;
    Some(metadata.schema().fields().iter().map(|field| (field.name().clone(), ColumnType::of(field))).collect())
}

fn names(path: &Path) -> Result<Vec<String>, Problem> {
    let broken = |error: String| Problem::file(path, error);
    let file = File::open(path).map_err(|error| broken(error.to_string()))?;
    let metadata = ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| broken(error.to_string()))?;
    Ok(metadata.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// So many rows are read at a time: those of logs are long.
const ROWS: usize = 512;

/// Hands the file to queries, unless the sink wants its rows. What `SecurityEvent`, `WindowsEvent` and `Event` hold are events, too; those
/// of a folder that Vidette wrote have become rows before.
pub(super) fn read(path: &Path, sink: &mut dyn Sink) -> Result<(), Problem> {
    let broken = |error: String| Problem::file(path, error);
    let part = store::part(path);
    let stored = part.is_some();
    let direct = stored || !sink.reads_parquet();
    // In the folder every event has a row of `WindowsEvent`, but for those that were rows.
    let repeats = part.is_some_and(|(table, origin)| table != "WindowsEvent" && origin == Origin::Events);
    if direct && (repeats || !sink.wants_exported(stored)) {
        sink.parquet(path.to_owned());
        return Ok(());
    }
    let names = names(path)?;
    let table = known_table(path, &names);
    if direct || table.is_none() {
        sink.parquet(path.to_owned());
    }
    let Some(table) = table.filter(|table| !direct || TABLES_OF_LOGS.contains(&table.name)) else { return Ok(()) };
    let file = File::open(path).map_err(|error| broken(error.to_string()))?;
    let metadata = ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| broken(error.to_string()))?;
    let known = metadata.schema().fields().iter().enumerate().filter(|(_, field)| table.position(field.name()).is_some()).map(|(at, _)| at);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), known);
    let mut count = 0;
    // Where a row group is damaged the next one may still be whole.
    for (group, rows) in metadata.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).enumerate() {
        let first = count;
        let failed = |at: i64, error: String| Problem::at(path, format!("row {} (row group {})", at + 1, group + 1), error);
        let file = file.try_clone().map_err(|error| broken(error.to_string()))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone()).with_row_groups(vec![group]);
        let reader = reader.with_projection(mask.clone()).with_batch_size(ROWS).build().map_err(|error| failed(first, error.to_string()))?;
        for batch in reader {
            let lines = match batch.and_then(|batch| json_lines(&batch)) {
                Ok(lines) => lines,
                Err(error) => {
                    sink.problem(failed(count, error.to_string()));
                    break;
                }
            };
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let map = serde_json::from_slice::<Map<String, Value>>(line).map_err(|error| failed(count, error.to_string()))?;
                let row = defender_row(table, map);
                count += 1;
                let goes_on = if direct { sink.exported(&row, stored) } else { sink.record(Record::Row(row)) };
                if !goes_on {
                    return Ok(());
                }
            }
        }
        count = first + rows;
    }
    Ok(())
}

/// The rows as objects, without their nulls.
fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// The first and last tick of each row group.
type Spans = Box<[(i64, i64)]>;

/// What the footer of a file says of its rows. It is small: a footer itself takes up to a hundred times as much.
pub struct Footer {
    complete: Box<[Box<str>]>,
    /// By [`TIMES`].
    times: [Option<Spans>; 2],
}

/// The columns whose times are told.
const TIMES: [&str; 2] = ["Timestamp", "TimeGenerated"];

impl Footer {
    /// With the schema of the file. `None` when it has no footer that can be read.
    pub fn read(path: &Path) -> Option<(Footer, SchemaRef)> {
        let metadata = ArrowReaderMetadata::load(&File::open(path).ok()?, Default::default()).ok()?;
        let schema = metadata.schema().clone();
        let complete = schema.fields().iter().filter(|field| is_complete(&metadata, field.name())).map(|field| field.name().as_str().into()).collect();
        let times = TIMES.map(|column| row_group_times(&metadata, column).map(Vec::into_boxed_slice));
        Some((Footer { complete, times }, schema))
    }

    /// Whether the statistics tell that the column, which the file must have, has no null.
    pub fn is_complete(&self, column: &str) -> bool {
        self.complete.iter().any(|complete| **complete == *column)
    }

    /// The first and last time of each row group by the statistics of `Timestamp` or `TimeGenerated`, in ticks. `None` when
    /// the column or the statistics of a row group are absent, or the column is no timestamp.
    pub fn row_group_times(&self, column: &str) -> Option<&[(i64, i64)]> {
        self.times[TIMES.iter().position(|name| *name == column)?].as_deref()
    }
}

fn is_complete(metadata: &ArrowReaderMetadata, column: &str) -> bool {
    let nulls = StatisticsConverter::try_new(column, metadata.schema(), metadata.parquet_schema());
    nulls.and_then(|converter| converter.row_group_null_counts(metadata.metadata().row_groups())).is_ok_and(|nulls| nulls.iter().all(|nulls| nulls == Some(0)))
}

fn row_group_times(metadata: &ArrowReaderMetadata, column: &str) -> Option<Vec<(i64, i64)>> {
    let DataType::Timestamp(unit, _) = metadata.schema().field_with_name(column).ok()?.data_type() else { return None };
    let converter = StatisticsConverter::try_new(column, metadata.schema(), metadata.parquet_schema()).ok()?;
    let groups = metadata.metadata().row_groups();
    let whole = |values: ArrayRef| arrow::compute::cast(&values, &DataType::Int64).ok();
    let (least, most) = (whole(converter.row_group_mins(groups).ok()?)?, whole(converter.row_group_maxes(groups).ok()?)?);
    let ticks = |values: &ArrayRef, at: usize| {
        let value = values.as_primitive::<Int64Type>();
        let ticks = match unit {
            TimeUnit::Second => value.value(at).checked_mul(10_000_000)?,
            TimeUnit::Millisecond => value.value(at).checked_mul(10_000)?,
            TimeUnit::Microsecond => value.value(at).checked_mul(10)?,
            TimeUnit::Nanosecond => value.value(at) / 100,
        };
        (!value.is_null(at)).then(|| ticks.checked_add(UNIX_EPOCH_TICKS))?
    };
    let mut times = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        match (ticks(&least, at), ticks(&most, at)) {
            (Some(first), Some(last)) => times.push((first, last)),
            // Only null times: no row that a query of some time finds.
            _ if group.num_rows() == 0 || converter.row_group_null_counts([group]).ok()?.value(0) == group.num_rows() as u64 => {}
            _ => return None,
        }
    }
    Some(times)
}
