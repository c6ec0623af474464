//! Files of `externaldata`, as records of texts. Kusto docs: `externaldata-operator`, and the page on data formats.

use crate::functions::json_path;
use crate::json;
use serde_json::Value;
use std::path::Path;
use vidette_kql::Reading;

/// Larger files are refused: their rows become part of the query.
const MAX_BYTES: u64 = 64 << 20;

/// Records of delimited text, lines, or the values of the columns in JSON records.
///
/// # Errors
/// When the file cannot be read, is too large, or has a format that is not read.
pub(crate) fn read(path: &Path, reading: &Reading) -> Result<Vec<Vec<String>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > MAX_BYTES {
        return Err(wrong(&format!("{size} bytes are more than {MAX_BYTES}")));
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    let delimiter = match reading.format.as_deref().or(extension.as_deref()).unwrap_or("csv").to_ascii_lowercase().as_str() {
        "csv" => b',',
        "tsv" | "tsve" => b'\t',
        "psv" => b'|',
        "scsv" => b';',
        "sohsv" => 1,
        "txt" | "raw" => {
            let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
            return Ok(String::from_utf8_lossy(&bytes).lines().map(|line| vec![line.to_owned()]).collect());
        }
        "json" | "multijson" | "singlejson" => {
            let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
            let paths = json_paths(reading);
            let mut records = Vec::new();
            for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
                let value = value.map_err(|error| wrong(&error))?;
                let items = if let Value::Array(items) = value { items } else { vec![value] };
                records.extend(items.iter().map(|item| paths.iter().map(|path| json_path(item, path).map(json::value_text).unwrap_or_default()).collect()));
            }
            return Ok(records);
        }
        other => return Err(wrong(&format!("the format {other} is not read by externaldata; csv, tsv, psv, scsv, sohsv, txt, json and multijson are"))),
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_path(path).map_err(|error| wrong(&error))?;
    let mut records = Vec::new();
    for record in reader.byte_records() {
        records.push(record.map_err(|error| wrong(&error))?.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect());
    }
    Ok(records)
}

fn json_paths(reading: &Reading) -> Vec<String> {
    let mapping = reading.mapping.as_deref().and_then(json::array).unwrap_or_default();
    let text = |entry: &Value, key: &str| {
        let fields = entry.as_object()?;
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).and_then(|(_, value)| value.as_str()).map(str::to_owned)
    };
    let path = |column: &String| {
        let entry = mapping.iter().find(|entry| text(entry, "Column").as_ref() == Some(column))?;
        text(entry, "Path").or_else(|| entry.as_object()?.values().find_map(|value| text(value, "Path")))
    };
    reading.columns.iter().map(|column| path(column).unwrap_or_else(|| format!("$['{column}']"))).collect()
}
