//! Rows that do not fit into memory: one temporary Parquet file per table.

use crate::error::Error;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use tempfile::TempDir;

/// Rows of a row group: what a writer holds in memory, encoded.
const ROW_GROUP_ROWS: usize = 8192;

/// The columns that rows are chosen by.
const TIMES: [&str; 2] = ["Timestamp", "TimeGenerated"];

/// Temporary files of one harvest, in the folder that `TMPDIR` names.
#[derive(Debug)]
pub struct Spill {
    folder: TempDir,
    writers: BTreeMap<&'static str, ArrowWriter<File>>,
    files: BTreeMap<&'static str, (PathBuf, SchemaRef)>,
}

impl Spill {
    pub(crate) fn new() -> Result<Spill, Error> {
        let folder = tempfile::Builder::new().prefix("vidette-").tempdir().map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
        Ok(Spill { folder, writers: BTreeMap::new(), files: BTreeMap::new() })
    }

    pub(crate) fn write(&mut self, table: &'static str, batch: &RecordBatch) -> Result<(), Error> {
        if !self.writers.contains_key(table) {
            let path = self.folder.path().join(format!("{table}.parquet"));
            let file = File::create(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
            // Row groups are pruned by time. The least and the greatest of long texts that begin alike cost more than all else here.
            let mut properties =
                WriterProperties::builder().set_compression(Compression::LZ4_RAW).set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).set_statistics_enabled(EnabledStatistics::None);
            for time in TIMES {
                properties = properties.set_column_statistics_enabled(time.into(), EnabledStatistics::Chunk);
            }
            self.writers.insert(table, ArrowWriter::try_new(file, batch.schema(), Some(properties.build()))?);
            self.files.insert(table, (path, batch.schema()));
        }
        if let Some(writer) = self.writers.get_mut(table) {
            writer.write(batch)?;
        }
        Ok(())
    }

    /// Completes the files; before it they cannot be read.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        for (_, writer) in std::mem::take(&mut self.writers) {
            writer.close()?;
        }
        Ok(())
    }

    /// The finished file of each table that has rows beyond the budget, with its schema.
    pub fn files(&self) -> &BTreeMap<&'static str, (PathBuf, SchemaRef)> {
        &self.files
    }
}
