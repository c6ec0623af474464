//! Files of `externaldata`, as records of texts. Kusto docs: `externaldata-operator`, and the page on data formats.

use std::path::Path;

/// Larger files are refused: their rows become part of the query.
const MAX_BYTES: u64 = 64 << 20;

/// Records of delimited text, or lines.
///
/// # Errors
/// When the file cannot be read, is too large, or has a format that is not read.
pub(crate) fn read(path: &Path, format: Option<&str>) -> Result<Vec<Vec<String>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > MAX_BYTES {
        return Err(wrong(&format!("{size} bytes are more than {MAX_BYTES}")));
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    let delimiter = match format.or(extension.as_deref()).unwrap_or("csv").to_ascii_lowercase().as_str() {
        "csv" => b',',
        "tsv" | "tsve" => b'\t',
        "psv" => b'|',
        "scsv" => b';',
        "sohsv" => 1,
        "txt" | "raw" => {
            let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
            return Ok(String::from_utf8_lossy(&bytes).lines().map(|line| vec![line.to_owned()]).collect());
        }
        other => return Err(wrong(&format!("the format {other} is not read by externaldata; csv, tsv, psv, scsv, sohsv and txt are"))),
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_path(path).map_err(|error| wrong(&error))?;
    let mut records = Vec::new();
    for record in reader.byte_records() {
        records.push(record.map_err(|error| wrong(&error))?.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect());
    }
    Ok(records)
}
