//! Rows that do not fit into memory: temporary Parquet files of each table.

use crate::error::Error;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Rows of a row group: what a writer holds in memory, encoded, and a reader decoded.
const ROW_GROUP_ROWS: usize = 2048;
/// Row groups of a file: what is known of each column of each stays in memory until the file is complete.
const FILE_ROW_GROUPS: usize = 64;

/// The columns that rows are chosen by.
const TIMES: [&str; 2] = ["Timestamp", "TimeGenerated"];

/// Temporary files of one harvest, in the folder that `TMPDIR` names.
#[derive(Debug)]
pub struct Spill {
    folder: TempDir,
    writers: BTreeMap<&'static str, ArrowWriter<File>>,
    files: BTreeMap<&'static str, (Vec<PathBuf>, SchemaRef)>,
}

impl Spill {
    pub(crate) fn new() -> Result<Spill, Error> {
        let folder = tempfile::Builder::new().prefix("vidette-").tempdir().map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
        Ok(Spill { folder, writers: BTreeMap::new(), files: BTreeMap::new() })
    }

    pub(crate) fn write(&mut self, table: &'static str, batch: &RecordBatch) -> Result<(), Error> {
        let mut writer = match self.writers.remove(table) {
            Some(writer) => writer,
            None => self.begin(table, batch)?,
        };
        writer.write(batch)?;
        if writer.flushed_row_groups().len() < FILE_ROW_GROUPS {
            self.writers.insert(table, writer);
        } else {
            writer.close()?;
        }
        Ok(())
    }

    /// The next file of a table, which begins with this batch.
    fn begin(&mut self, table: &'static str, first: &RecordBatch) -> Result<ArrowWriter<File>, Error> {
        let schema = with_views(&first.schema());
        let (paths, _) = self.files.entry(table).or_insert_with(|| (Vec::new(), schema.clone()));
        let path = self.folder.path().join(format!("{table}-{}.parquet", paths.len()));
        let file = File::create(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        paths.push(path);
        // Row groups are pruned by time. The least and the greatest of long texts that begin alike cost more than all else here.
        let mut properties =
            WriterProperties::builder().set_compression(Compression::LZ4_RAW).set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).set_statistics_enabled(EnabledStatistics::None);
        for time in TIMES {
            properties = properties.set_column_statistics_enabled(time.into(), EnabledStatistics::Chunk);
        }
        // To look each value up among those before takes longer than to write what nearly all rows have, or none shares.
        for (field, column) in schema.fields().iter().zip(first.columns()) {
            let repeats = column.as_any_dictionary_opt().is_some_and(|dictionary| dictionary.values().len() > 1);
            properties = properties.set_column_dictionary_enabled(field.name().as_str().into(), repeats);
        }
        Ok(ArrowWriter::try_new(file, schema, Some(properties.build()))?)
    }

    /// Completes the files; before it they cannot be read.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        for (_, writer) in std::mem::take(&mut self.writers) {
            writer.close()?;
        }
        Ok(())
    }

    /// The finished files of each table that has rows beyond the budget, with their schema.
    pub fn files(&self) -> &BTreeMap<&'static str, (Vec<PathBuf>, SchemaRef)> {
        &self.files
    }
}

/// The schema with which texts are read back: as views. A dictionary would have to be made of those that its page had no room for.
pub(crate) fn with_views(schema: &Schema) -> SchemaRef {
    let view = |field: &FieldRef| match field.data_type() {
        DataType::Dictionary(..) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    };
    Arc::new(Schema::new_with_metadata(schema.fields().iter().map(view).collect::<Fields>(), schema.metadata().clone()))
}
