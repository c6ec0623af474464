//! Rows out: a result's columns with Kusto's types, and its values as JSON.

use crate::cells::{Cell, Column};
use crate::run::Error;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use serde_json::{Map, Value};
use std::io::Write;
use vidette_kql::bound::Render;
use vidette_kql::literals::format_real;
use vidette_kql::time::{format_datetime, format_timespan};
use vidette_kql::{Diagnostic, ScalarType};

/// One table per tabular statement, in order, and warnings.
#[derive(Debug, Default)]
pub struct QueryResult {
    pub tables: Vec<ResultTable>,
    pub diagnostics: Vec<Diagnostic>,
}

/// A tabular result.
#[derive(Clone, Debug, Default)]
pub struct ResultTable {
    pub columns: Vec<(String, ScalarType)>,
    /// In the order of the rows; datetime and timespan are ticks, dynamic is JSON text.
    pub batches: Vec<RecordBatch>,
    pub render: Option<Render>,
}

impl ResultTable {
    pub fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// All rows as JSON values: times in Kusto's notation, NaN and infinities as strings, dynamics as they are.
    pub fn rows(&self) -> Vec<Vec<Value>> {
        let mut rows = Vec::with_capacity(self.row_count());
        self.for_each(|cells| rows.push(cells.iter().map(|cell| json(*cell)).collect()));
        rows
    }

    /// The same, each row by column.
    pub fn objects(&self) -> Vec<Map<String, Value>> {
        let names: Vec<&String> = self.columns.iter().map(|(name, _)| name).collect();
        self.rows().into_iter().map(|row| names.iter().map(|name| (*name).clone()).zip(row).collect()).collect()
    }

    /// All rows as JSON, one a line: objects by column, or arrays. Values are those of [`ResultTable::rows`], no tree is built of them.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_lines(&self, objects: bool, out: &mut impl Write) -> std::io::Result<()> {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| format!("{}:", crate::json::quote(name))).collect();
        let [open, close] = if objects { ["{", "}"] } else { ["[", "]"] };
        let mut line = Vec::new();
        let mut written = Ok(());
        self.for_each(|cells| {
            line.clear();
            line.extend_from_slice(open.as_bytes());
            for (at, (cell, name)) in cells.iter().zip(&names).enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                if objects {
                    line.extend_from_slice(name.as_bytes());
                }
                write_json(*cell, &mut line);
            }
            line.extend_from_slice(close.as_bytes());
            line.push(b'\n');
            if written.is_ok() {
                written = out.write_all(&line);
            }
        });
        written
    }

    /// All rows as text, the way `tostring` shows them, but a bool as JSON does.
    pub fn text_rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::with_capacity(self.row_count());
        self.each_text_row(|row| rows.push(row));
        rows
    }

    /// The same, one after the other.
    pub fn each_text_row(&self, mut visit: impl FnMut(Vec<String>)) {
        self.for_each(|cells| visit(cells.iter().map(|cell| text(*cell)).collect()));
    }

    fn for_each(&self, mut visit: impl FnMut(&[Cell])) {
        for batch in &self.batches {
            let columns: Vec<Column> = self.columns.iter().zip(batch.columns()).filter_map(|((_, ty), array)| Column::new(array, *ty).ok()).collect();
            for row in 0..batch.num_rows() {
                let cells: Vec<Cell> = columns.iter().map(|column| column.cell(row)).collect();
                visit(&cells);
            }
        }
    }
}

fn text(cell: Cell) -> String {
    match cell {
        Cell::Bool(b) => b.to_string(),
        other => crate::functions::shown(other),
    }
}

/// The rows of a running query.
pub struct Rows {
    /// The columns, without rows.
    pub header: ResultTable,
    pub(crate) batches: SendableRecordBatchStream,
}

impl Rows {
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// When execution fails.
    pub async fn next(&mut self) -> Result<Option<ResultTable>, Error> {
        Ok(self.batches.try_next().await?.map(|batch| ResultTable { batches: vec![batch], ..self.header.clone() }))
    }
}

fn write_json(cell: Cell, out: &mut Vec<u8>) {
    let written = match cell {
        Cell::Text(text) | Cell::Guid(text) => serde_json::to_writer(&mut *out, text),
        // On one line it is written as it is.
        Cell::Json(text) if !text.contains(['\n', '\r']) && crate::json::is_document(text) => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
        other => serde_json::to_writer(&mut *out, &json(other)),
    };
    // A vector takes everything.
    debug_assert!(written.is_ok());
}

fn json(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Bool(b) => Value::Bool(b),
        Cell::Long(n) => Value::from(n),
        Cell::Real(n) if n.is_finite() => crate::json::from_f64(n),
        Cell::Real(n) => Value::String(format_real(n)),
        Cell::Decimal(n) => Value::String(crate::decimal::format(n)),
        Cell::DateTime(ticks) => Value::String(format_datetime(ticks)),
        Cell::TimeSpan(ticks) => Value::String(format_timespan(ticks)),
        Cell::Guid(text) | Cell::Text(text) => Value::String(text.to_owned()),
        Cell::Json(text) => crate::json::parse(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}
