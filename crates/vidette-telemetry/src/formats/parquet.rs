//! Parquet files: queries read them directly; here only when they have rows.

use crate::event::UNIX_EPOCH_TICKS;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use std::fs::File;
use std::path::Path;

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
