//! `--custom-tables`: schemas of tables that no vendor documents, so that rules over them can be judged without their data.

use crate::commands::Failure;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use vidette_kql::ScalarType;
use vidette_telemetry::files_under;

/// A name, and columns with their types.
pub type CustomTable = (String, Vec<(String, ScalarType)>);

static TABLES: OnceLock<Vec<CustomTable>> = OnceLock::new();

/// All of them.
pub fn custom_tables() -> &'static [CustomTable] {
    TABLES.get().map(Vec::as_slice).unwrap_or_default()
}

/// Reads schemas for the whole process: a JSON file, or those in a folder at any depth, as Sentinel's repository keeps them for its
/// checks (`{"Name", "Properties": [{"Name", "Type"}]}`), or as the Tables API of Log Analytics gives them
/// (`{"properties": {"schema": {"name", "columns": [{"name", "type"}]}}}`).
///
/// # Errors
/// What cannot be read, or is no such schema.
pub fn use_custom_tables(place: &Path) -> Result<(), Failure> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| Failure::usage(format!("error: cannot read {}: {error}", path.display()));
    let (files, _) = files_under(&[place.to_owned()]).map_err(|error| unreadable(place, &error))?;
    let is_json = |file: &PathBuf| file.as_path() == place || file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut tables = Vec::new();
    for file in files.into_iter().filter(is_json) {
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| unreadable(&file, &error))?;
        let several = if let Value::Array(several) = value { several } else { vec![value] };
        for schema in &several {
            tables.push(custom_table(schema).map_err(|message| Failure::query(format!("error: {}: {message}", file.display())))?);
        }
    }
    TABLES.set(tables).ok();
    Ok(())
}

fn custom_table(schema: &Value) -> Result<CustomTable, String> {
    let schema = schema.pointer("/properties/schema").unwrap_or(schema);
    let part = |value: &Value, names: [&str; 2]| names.into_iter().find_map(|name| value.get(name).cloned());
    let text = |value: &Value, names: [&str; 2]| part(value, names).and_then(|value| value.as_str().map(str::to_owned));
    let name = text(schema, ["Name", "name"]).ok_or("no schema of a table: there is no `Name`")?;
    let Some(Value::Array(columns)) = part(schema, ["Properties", "columns"]) else { return Err(format!("{name}: no `Properties` with its columns")) };
    let column = |column: &Value| {
        let column_name = text(column, ["Name", "name"]).ok_or(format!("{name}: a column has no `Name`"))?;
        let ty = text(column, ["Type", "type"]).unwrap_or_default();
        let known = ScalarType::from_name(&ty.to_ascii_lowercase()).ok_or(format!("{name}: `{ty}` is no type of Kusto's, of the column `{column_name}`"))?;
        Ok((column_name, known))
    };
    let columns: Result<Vec<_>, String> = columns.iter().map(column).collect();
    Ok((name.clone(), columns?))
}
