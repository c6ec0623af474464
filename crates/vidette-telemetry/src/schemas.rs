//! The columns of the tables that Defender XDR and Log Analytics document: `schemas/tables.txt`.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{LazyLock, OnceLock};

/// What a column holds; the names are Kusto's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Bool,
    Int,
    Long,
    Real,
    Decimal,
    /// Ticks of 100 ns since 0001-01-01.
    DateTime,
    TimeSpan,
    Guid,
    String,
    /// JSON text.
    Dynamic,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSchema {
    pub name: &'static str,
    pub ty: ColumnType,
}

#[derive(Debug)]
pub struct TableSchema {
    pub name: &'static str,
    pub columns: Columns,
    positions: OnceLock<HashMap<&'static str, usize, foldhash::fast::FixedState>>,
}

/// The columns of a table, in order. They are read when somebody first asks for them: nobody does for most tables.
#[derive(Debug)]
pub struct Columns {
    text: &'static str,
    read: OnceLock<Vec<ColumnSchema>>,
}

impl Deref for Columns {
    type Target = [ColumnSchema];

    fn deref(&self) -> &[ColumnSchema] {
        self.read.get_or_init(|| self.text.split(' ').filter_map(column).collect())
    }
}

impl TableSchema {
    pub fn position(&self, column: &str) -> Option<usize> {
        let positions = || self.columns.iter().enumerate().map(|(at, schema)| (schema.name, at)).collect();
        self.positions.get_or_init(positions).get(column).copied()
    }
}

/// All known tables by name.
pub static TABLES: LazyLock<BTreeMap<&'static str, TableSchema>> =
    LazyLock::new(|| include_str!("../schemas/tables.txt").lines().filter_map(table).map(|table| (table.name, table)).collect());

fn table(line: &'static str) -> Option<TableSchema> {
    let (name, columns) = line.split_once('\t')?;
    Some(TableSchema { name, columns: Columns { text: columns, read: OnceLock::new() }, positions: OnceLock::new() })
}

fn column(text: &'static str) -> Option<ColumnSchema> {
    let (name, letter) = text.rsplit_once(':')?;
    let ty = match letter {
        "b" => ColumnType::Bool,
        "i" => ColumnType::Int,
        "l" => ColumnType::Long,
        "r" => ColumnType::Real,
        "e" => ColumnType::Decimal,
        "t" => ColumnType::DateTime,
        "p" => ColumnType::TimeSpan,
        "g" => ColumnType::Guid,
        "d" => ColumnType::Dynamic,
        _ => ColumnType::String,
    };
    Some(ColumnSchema { name, ty })
}

/// The Defender table that rows with these columns most likely come from: the one that has all of them and fewest others.
///
/// Fewer than four columns say too little: many tables have a time and a device.
pub fn infer(columns: &[String]) -> Option<&'static TableSchema> {
    if columns.len() < 4 {
        return None;
    }
    let has_all = |table: &&TableSchema| columns.iter().all(|column| table.position(column).is_some());
    TABLES.values().filter(|table| table.name.starts_with("Device")).filter(has_all).min_by_key(|table| table.columns.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defender_tables_carry_both_time_columns_and_dynamic_additional_fields() {
        for name in ["DeviceProcessEvents", "DeviceNetworkEvents", "DeviceEvents"] {
            let table = &TABLES[name];
            for column in ["Timestamp", "TimeGenerated"] {
                assert_eq!(table.columns[table.position(column).unwrap()].ty, ColumnType::DateTime, "{name}.{column}");
            }
            assert_eq!(table.columns[table.position("AdditionalFields").unwrap()].ty, ColumnType::Dynamic);
        }
        assert!(TABLES.len() > 2000);
    }
}
