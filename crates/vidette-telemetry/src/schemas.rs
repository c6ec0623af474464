//! The columns of the tables that Defender XDR and Log Analytics document: `schemas/tables.txt`.

use arrow::datatypes::{DataType, Field};
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

impl ColumnType {
    /// Tells JSON text from other text, in the metadata of a field.
    const KEY: &str = "kusto_type";

    /// What a column of Arrow holds.
    pub(crate) fn of(field: &Field) -> ColumnType {
        match field.data_type() {
            DataType::Boolean => ColumnType::Bool,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => ColumnType::Int,
            DataType::UInt32 | DataType::Int64 | DataType::UInt64 => ColumnType::Long,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnType::Real,
            DataType::Decimal128(..) | DataType::Decimal256(..) => ColumnType::Decimal,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => ColumnType::DateTime,
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => ColumnType::TimeSpan,
            nested if nested.is_nested() => ColumnType::Dynamic,
            _ if field.metadata().contains_key(Self::KEY) => ColumnType::Dynamic,
            _ => ColumnType::String,
        }
    }

    /// The field of Arrow, from which [`ColumnType::of`] tells the type.
    pub(crate) fn mark(self, field: &Field) -> Field {
        let field = field.clone();
        if self == ColumnType::Dynamic { field.with_metadata(HashMap::from([(Self::KEY.to_owned(), "dynamic".to_owned())])) } else { field }
    }
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

/// What Log Analytics puts behind the names of columns of custom tables, by the types of their values.
pub(crate) const TYPE_ENDS: [&str; 5] = ["_s", "_d", "_b", "_t", "_g"];

impl TableSchema {
    /// A table that is known to this process alone, and as long as it runs.
    pub(crate) fn learned(name: String, columns: Vec<(String, ColumnType)>) -> &'static TableSchema {
        let columns: Vec<ColumnSchema> = columns.into_iter().map(|(name, ty)| ColumnSchema { name: name.leak(), ty }).collect();
        Box::leak(Box::new(TableSchema { name: name.leak(), columns: Columns { text: "", read: OnceLock::from(columns) }, positions: OnceLock::new() }))
    }

    /// How many of the columns are documented: the first.
    pub(crate) fn documented(&self) -> usize {
        self.columns.text.split(' ').filter_map(column).count()
    }

    /// Whether the column is one of those that are documented, in any case. Asks for none.
    pub(crate) fn documents(&self, name: &str) -> bool {
        self.columns.text.split(' ').filter_map(|column| column.split_once(':')).any(|(column, _)| column.eq_ignore_ascii_case(name))
    }

    /// Adds columns, as long as nobody asked for those that there are.
    pub(crate) fn extend(&self, more: impl FnOnce(&[ColumnSchema]) -> Vec<(String, ColumnType)>) {
        let mut columns: Vec<ColumnSchema> = self.columns.text.split(' ').filter_map(column).collect();
        let more = more(&columns).into_iter().map(|(name, ty)| ColumnSchema { name: name.leak(), ty });
        columns.extend(more);
        self.columns.read.set(columns).ok();
    }

    /// The column of a key that a record has: of its name, in any case; in a custom table also the one whose name the service would make
    /// of it, with the type at its end.
    pub(crate) fn place(&self, key: &str) -> Option<usize> {
        let in_any_case = || self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(key));
        let as_ingested = || {
            let named = |end: &&str| self.position(&format!("{}{end}", key.replace(' ', "_")));
            if self.name.ends_with("_CL") { TYPE_ENDS.iter().find_map(named) } else { None }
        };
        self.position(key).or_else(in_any_case).or_else(as_ingested)
    }

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

/// The only table of these values of `ActionType`, or of those that end so. Defender docs: the pages of the tables.
const ACTIONS: &[(&str, &[&str])] = &[
    ("DeviceProcessEvents", &["ProcessCreated"]),
    ("DeviceFileEvents", &["FileCreated", "FileDeleted", "FileModified", "FileRenamed"]),
    ("DeviceImageLoadEvents", &["ImageLoaded"]),
    ("DeviceLogonEvents", &["LogonAttempted", "LogonFailed", "LogonSuccess"]),
    ("DeviceRegistryEvents", &["RegistryKeyCreated", "RegistryKeyDeleted", "RegistryKeyRenamed", "RegistryValueDeleted", "RegistryValueSet"]),
    (
        "DeviceNetworkEvents",
        &[
            "ConnectionAcknowledged",
            "ConnectionAttempt",
            "ConnectionFailed",
            "ConnectionFound",
            "ConnectionInspected",
            "ConnectionRequest",
            "ConnectionSuccess",
            "InboundConnectionAccepted",
            "InboundConnectionAttempted",
            "InboundConnectionBlocked",
            "InboundInternetScanInspected",
            "ListeningConnectionCreated",
            "NetworkSignatureInspected",
            "NtlmAuthenticationInspected",
        ],
    ),
];

/// The table that rows of these columns are of, when they do not say: `action` is the `ActionType` of one, where they have it.
///
/// A table has all of the columns. Of Defender's device tables it is the one with fewest others, and `DeviceEvents`, which has nearly
/// every column, the last of them; of other tables the only one.
///
/// # Errors
/// The tables that it may be: none, or several. Fewer than four columns say too little.
pub fn infer(columns: &[String], action: Option<&str>) -> Result<&'static TableSchema, Vec<&'static str>> {
    if columns.len() < 4 {
        return Err(Vec::new());
    }
    let has_all = |table: &&TableSchema| columns.iter().all(|column| table.position(column).is_some());
    let acts = |action: &str| ACTIONS.iter().find(|(_, known)| known.iter().any(|known| action.ends_with(known))).and_then(|(table, _)| TABLES.get(table));
    if let Some(table) = action.and_then(acts).filter(has_all) {
        return Ok(table);
    }
    let devices = TABLES.range("Device".."Devicf").map(|(_, table)| table).filter(|table| table.position("Timestamp").is_some());
    if let Some(table) = devices.filter(has_all).min_by_key(|table| (table.name == "DeviceEvents", table.columns.len())) {
        return Ok(table);
    }
    let fitting: Vec<&TableSchema> = TABLES.values().filter(has_all).collect();
    match fitting[..] {
        [table] => Ok(table),
        _ => Err(fitting.into_iter().map(|table| table.name).collect()),
    }
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

    #[test]
    fn rows_without_a_name_are_told_by_their_columns_and_their_action() {
        let infer = |columns: &str, action: Option<&str>| infer(&columns.split(' ').map(str::to_owned).collect::<Vec<_>>(), action).map(|table| table.name);
        let program = "Timestamp DeviceName ActionType FileName SHA256";
        assert_eq!(infer("Timestamp DeviceName FileName ProcessCommandLine", None), Ok("DeviceProcessEvents"));
        assert_eq!(infer("Timestamp DeviceName RemoteUrl RemotePort", None), Ok("DeviceNetworkEvents"));
        assert_eq!(infer(program, Some("ProcessCreated")), Ok("DeviceProcessEvents"));
        assert_eq!(infer(program, Some("FileCreated")), Ok("DeviceFileEvents"));
        assert_eq!(infer("Timestamp DeviceName RemoteUrl RemotePort", Some("SslConnectionInspected")), Ok("DeviceNetworkEvents"));
        assert_eq!(infer("TimeGenerated Computer EventID Activity NewProcessName", None), Ok("SecurityEvent"));
        assert_eq!(infer("TimeGenerated Computer NoSuchColumn Other", None), Err(Vec::new()));
        assert_eq!(infer("TimeGenerated Computer", None), Err(Vec::new()));
        assert!(infer("TimeGenerated UserPrincipalName AppDisplayName ResultType", None).is_err_and(|tables| tables.contains(&"SigninLogs")));
    }
}
