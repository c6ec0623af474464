//! CSV with a header of column names, as the Defender portal exports it.

use super::shapes::{both_times, field, table_of_path};
use super::{Record, Sink};
use crate::error::Problem;
use crate::row::Row;
use crate::schemas::infer;
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;

/// Whether the first line is a list of names, one of them a time.
pub(super) fn looks_like_header(head: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(head.split(|byte| *byte == b'\n').next().unwrap_or(head)) else { return false };
    text.contains(',') && text.split(',').any(|name| matches!(name.trim_matches(['"', '\u{feff}', '\r', ' ']), "Timestamp" | "TimeGenerated" | "TimeGenerated [UTC]"))
}

pub(super) fn read(path: &Path, input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(|name| name.trim_start_matches('\u{feff}').trim_end_matches(" [UTC]").to_owned()).collect(),
        Err(error) => return Err(Problem::file(path, error.to_string())),
    };
    let Some(table) = table_of_path(path, &names).or_else(|| infer(&names)) else {
        return Err(Problem::file(path, "its columns are of no known table; name the file after its table"));
    };
    let columns: Vec<Option<usize>> = names.iter().map(|name| table.position(name)).collect();
    for record in reader.into_records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, |position| position.line());
                sink.problem(Problem::at(path, format!("line {line}"), error.to_string()));
                continue;
            }
        };
        let mut row = Row::new(table);
        for (value, column) in record.iter().zip(&columns) {
            if let Some(column) = column
                && !value.is_empty()
                && let Some(value) = field(table.columns[*column].ty, Value::String(value.to_owned()))
            {
                row.set(table.columns[*column].name, value);
            }
        }
        both_times(&mut row);
        if !sink.record(Record::Row(row)) {
            return Ok(());
        }
    }
    Ok(())
}
