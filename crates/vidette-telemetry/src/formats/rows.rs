//! A line that is a row of a known table, read in place and only as far as its columns are asked for: what Defender's streaming
//! API, Log Analytics' export, and exports that are named after their table write. What is unusual gives `None`, and the line is
//! read as any other JSON is.

use super::event_json::{Fill, Keys};
use super::shapes::{complete, diagnostic_table, field, field_of_text, is_time, time};
use super::{Record, Sink};
use crate::normalize::TABLES_OF_LOGS;
use crate::row::{Field, Row};
use crate::schemas::{ColumnSchema, TABLES, TableSchema};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::{Formatter, Result as FmtResult};
use std::path::Path;

/// How the lines of a file are read.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    /// The table that the file is named after.
    of_file: Option<&'static TableSchema>,
    /// Whether the records are those of a table that is learned from them.
    is_other: bool,
}

impl Lines {
    pub(super) fn of(path: &Path, sink: &dyn Sink) -> Lines {
        let of_file = path.file_stem().and_then(|stem| TABLES.get(stem.to_str()?));
        Lines { of_file: of_file.filter(|table| !TABLES_OF_LOGS.contains(&table.name)), is_other: sink.is_learner() || sink.other(path).is_some() }
    }

    /// The row of a line.
    pub(super) fn read(self, line: &[u8], sink: &dyn Sink) -> Option<Record<'static>> {
        if self.is_other {
            return None;
        }
        if let Some(name) = quoted_after(line, b"\"AdvancedHunting-") {
            return streamed(line, diagnostic_table(name)?, sink).map(Record::Row);
        }
        if let Some(table) = type_of(line).and_then(|name| TABLES.get(name)) {
            return plain(line, table, true, sink).map(Record::Row);
        }
        // A log's event may have columns of a table.
        let table = self.of_file.filter(|_| memchr::memmem::find(line, b"\"EventID\"").is_none())?;
        plain(line, table, false, sink).map(Record::Row)
    }
}

/// What stands between these bytes and the next quote.
fn quoted_after<'l>(line: &'l [u8], before: &[u8]) -> Option<&'l str> {
    let rest = &line[memchr::memmem::find(line, before)? + before.len()..];
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

/// The value of the first `Type`.
fn type_of(line: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"Type\"";
    let rest = &line[memchr::memmem::find(line, KEY)? + KEY.len()..];
    quoted_after(&rest[..rest.len().min(256)], b"\"")
}

/// A row of the table's own columns. Other keys but those that begin with `_` may be another shape.
fn plain(line: &[u8], table: &'static TableSchema, says_type: bool, sink: &dyn Sink) -> Option<Row> {
    let mut columns = Columns { row: Row::new(table), reads: sink.reads(table), only_known: true, type_is: None, timed: false };
    read(line, &mut columns)?;
    // The `Type` that was found may stand in a value.
    if says_type && columns.type_is != Some(table.name) || !says_type && columns.type_is.is_some() {
        return None;
    }
    complete(&mut columns.row);
    // Who reads it as JSON says that its time is none.
    (!columns.timed || columns.row.links.time_ticks != 0).then_some(columns.row)
}

/// The row in the `properties` of what Defender streams.
fn streamed(line: &[u8], table: &'static TableSchema, sink: &dyn Sink) -> Option<Row> {
    let mut envelope = Envelope { table, reads: sink.reads(table), row: None, time: None, is_of_table: false, beside: Vec::new() };
    read(line, &mut envelope)?;
    let mut row = envelope.row.filter(|_| envelope.is_of_table)?;
    complete(&mut row);
    if let Some(time) = envelope.time {
        row.fill("TimeGenerated", &Field::Ticks(time));
        row.links.time_ticks = if row.links.time_ticks == 0 { time } else { row.links.time_ticks };
    }
    if !table.name.starts_with("Device") {
        envelope.beside.iter().for_each(|(column, value)| row.fill(column, value));
    }
    Some(row)
}

fn read<'de>(line: &'de [u8], into: &mut impl Keys<'de>) -> Option<()> {
    let mut deserializer = sonic_rs::Deserializer::from_slice(line);
    Fill(into).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()
}

/// What stands beside the `properties`, and the columns that it fills.
const BESIDE: [(&str, &str); 5] =
    [("operationName", "OperationName"), ("category", "Category"), ("resultType", "ResultType"), ("correlationId", "CorrelationId"), ("callerIpAddress", "IPAddress")];

struct Envelope<'t> {
    table: &'static TableSchema,
    reads: Option<&'t [bool]>,
    row: Option<Row>,
    time: Option<i64>,
    is_of_table: bool,
    beside: Vec<(&'static str, Field)>,
}

impl<'de> Keys<'de> for Envelope<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match key.as_ref() {
            "properties" if self.row.is_none() => {
                let mut columns = Columns { row: Row::new(self.table), reads: self.reads, only_known: false, type_is: None, timed: false };
                map.next_value_seed(Fill(&mut columns))?;
                self.row = Some(columns.row);
            }
            "time" => self.time = time(&map.next_value::<Value>()?),
            key => match BESIDE.iter().find(|(beside, _)| *beside == key) {
                Some((_, column)) => {
                    let value: Value = map.next_value()?;
                    self.is_of_table |= key == "category" && value.as_str().and_then(|name| name.strip_prefix("AdvancedHunting-")) == Some(self.table.name);
                    self.beside.push((column, Field::Text(crate::event::text(&value).into())));
                }
                None if is_of_another_shape(key) => return Err(A::Error::custom("another shape")),
                None => drop(map.next_value::<IgnoredAny>()?),
            },
        }
        Ok(())
    }
}

/// Keys of wrappers, and of events as shippers write them.
fn is_of_another_shape(key: &str) -> bool {
    const KEYS: [&str; 21] = [
        "_raw",
        "_source",
        "result",
        "hits",
        "records",
        "Results",
        "results",
        "value",
        "tables",
        "Tables",
        "event",
        "Event",
        "System",
        "xml",
        "winlog",
        "win",
        "data",
        "event_id",
        "StringInserts",
        "ts",
        "properties",
    ];
    KEYS.contains(&key) || ["winlog.", "win.", "data.win."].iter().any(|start| key.starts_with(start))
}

/// The columns of a row.
struct Columns<'t> {
    row: Row,
    /// By place, whether a column is asked for; all are, without.
    reads: Option<&'t [bool]>,
    /// Whether every key must be a column.
    only_known: bool,
    type_is: Option<&'static str>,
    /// Whether it has a time, whatever it says.
    timed: bool,
}

impl<'de> Keys<'de> for Columns<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let table = self.row.table;
        let at = table.position(&key).or_else(|| table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&key)));
        if self.only_known && (is_of_another_shape(&key) || at.is_none() && !key.starts_with('_')) {
            return Err(A::Error::custom("another shape"));
        }
        let Some(at) = at else { return map.next_value::<IgnoredAny>().map(drop) };
        let column = &table.columns[at];
        // Of a text that is an event the table is not told.
        let may_be_event = self.only_known && column.name.eq_ignore_ascii_case("message");
        if !(may_be_event || is_read(self.reads, at, column)) {
            return map.next_value::<IgnoredAny>().map(drop);
        }
        let value = map.next_value_seed(Cell { column, timed: &mut self.timed })?;
        if may_be_event && matches!(&value, Some(Field::Text(text)) if text.contains("<Event")) {
            return Err(A::Error::custom("another shape"));
        }
        if let Some(value) = value {
            if column.name == "Type"
                && let Field::Text(name) = &value
            {
                self.type_is = TABLES.get(name.as_str()).map(|table| table.name);
            }
            self.row.set_at(at, value);
        }
        Ok(())
    }
}

/// Whether a column is asked for, or one by which a row is known: as what it is, when, and of whom.
pub(super) fn is_read(reads: Option<&[bool]>, at: usize, column: &ColumnSchema) -> bool {
    const ALWAYS: [&str; 4] = ["Type", "ActionType", "DeviceName", "Computer"];
    reads.is_none_or(|reads| reads.get(at).copied().unwrap_or(false)) || is_time(column) || ALWAYS.contains(&column.name)
}

/// A value, as its column's type has it: what `field` makes of the same value.
struct Cell<'c> {
    column: &'c ColumnSchema,
    timed: &'c mut bool,
}

impl Cell<'_> {
    fn of(self, value: Value) -> Option<Field> {
        *self.timed |= is_time(self.column) && !value.is_null();
        field(self.column.ty, value)
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Field>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut Formatter) -> FmtResult {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Field>, E> {
        *self.timed |= is_time(self.column);
        Ok(field_of_text(self.column.ty, text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Field>, E> {
        Ok(self.of(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Field>, E> {
        Ok(self.of(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<Field>, E> {
        Ok(self.of(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Field>, E> {
        Ok(self.of(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Option<Field>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Option<Field>, A::Error> {
        let items = Vec::<Value>::deserialize(serde::de::value::SeqAccessDeserializer::new(items))?;
        Ok(self.of(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Field>, A::Error> {
        let map = Map::<String, Value>::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(self.of(map.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;
    use crate::event::Event;
    use crate::formats::shapes::classify;
    use std::path::PathBuf;

    /// Asks for these columns of every table; for all, without.
    struct Asks(Option<Vec<bool>>);

    impl Sink for Asks {
        fn wants(&self, _: &Event) -> bool {
            true
        }
        fn record(&mut self, _: Record) -> bool {
            true
        }
        fn problem(&mut self, _: Problem) {}
        fn carves(&self) -> bool {
            false
        }
        fn parquet(&mut self, _: PathBuf) {}
        fn reads(&self, _: &'static TableSchema) -> Option<&[bool]> {
            self.0.as_deref()
        }
    }

    fn quick(line: &str, path: &str, sink: &Asks) -> Option<Row> {
        match Lines::of(Path::new(path), sink).read(line.as_bytes(), sink)? {
            Record::Row(row) => Some(row),
            Record::Event(_) => panic!("a row"),
        }
    }

    fn told(row: &Row) -> (&'static str, Vec<(u16, String)>, i64, String) {
        let mut fields: Vec<(u16, String)> = row.fields.iter().map(|(at, field)| (*at, format!("{field:?}"))).collect();
        fields.sort();
        (row.table.name, fields, row.links.time_ticks, row.links.host.to_string())
    }

    #[test]
    fn both_readers_give_the_same_row() {
        let streamed = r#"{"time":"2026-03-10T09:00:00.1Z","tenantId":"t","operationName":"Publish","category":"AdvancedHunting-DeviceNetworkEvents","_TimeReceivedBySvc":"x","properties":{"Timestamp":"2026-03-10T09:00:00.1234567Z","DeviceName":"h","ActionType":"ConnectionSuccess","RemotePort":443,"RemoteIP":null,"LocalPort":"80","Protocol":"","AdditionalFields":"{\"a\": [1, 2.50]}","InitiatingProcessId":18446744073709551615,"NoColumn":{"x":[1]},"IsInitiatingProcessRemoteSession":true}}"#;
        let exported = r#"{"TenantId":"t","TimeGenerated":"2026-03-10T09:00:00Z","DeviceName":"h\u00e9 \"x\"","actiontype":"ProcessCreated","ProcessId":4.5,"AdditionalFields":{"k":{"n":[null,1.0,"s"]}},"_Internal_WorkspaceResourceId":"/subscriptions/x","Type":"DeviceProcessEvents"}"#;
        for (line, path) in [
            (streamed, "PT1H.json"),
            (&streamed.replace(r#""Timestamp":"2026-03-10T09:00:00.1234567Z","#, ""), "PT1H.json"),
            (&streamed.replace("DeviceNetworkEvents", "EmailEvents"), "PT1H.json"),
            (exported, "PT1H.json"),
            (&exported.replace("TimeGenerated\":\"2026-03-10T09:00:00Z\"", "TimeGenerated\":1773133200.5"), "PT1H.json"),
            (&exported.replace(r#","Type":"DeviceProcessEvents""#, ""), "DeviceProcessEvents.jsonl"),
            (r#"{"TimeGenerated":"2026-03-10T09:00:00Z","Channel":"Security","EventID":4624,"Computer":"h","EventSourceName":"P","Type":"SecurityEvent"}"#, "x.json"),
        ] {
            let sink = Asks(None);
            let quick = quick(line, path, &sink).unwrap_or_else(|| panic!("{line}"));
            let Ok(Value::Object(map)) = serde_json::from_str(line) else { panic!("an object") };
            let Ok(Record::Row(general)) = classify(map, 1, Path::new(path)) else { panic!("a row: {line}") };
            assert_eq!(told(&quick), told(&general), "{line}");
            assert!(quick.fields.len() > 3, "{line}");
        }
        // Nothing but what a row is known by is read of one that nobody asks for.
        let row = quick(exported, "PT1H.json", &Asks(Some(Vec::new()))).expect("a row");
        let names: Vec<&str> = row.fields.iter().map(|(at, _)| row.table.columns[usize::from(*at)].name).collect();
        assert_eq!(names, ["TimeGenerated", "DeviceName", "ActionType", "Type", "Timestamp"]);
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_reader() {
        for (line, path) in [
            (r#"{"Timestamp":"2026-03-10T09:00:00Z","DeviceName":"h"}"#, "a.json"),
            (r#"{"Timestamp":"no time","DeviceName":"h","Type":"DeviceEvents"}"#, "a.json"),
            (r#"{"Timestamp":"2026-03-10T09:00:00Z","Unknown":"h","Type":"DeviceEvents"}"#, "a.json"),
            (r#"{"Timestamp":"2026-03-10T09:00:00Z","AdditionalFields":{"Type":"DeviceEvents"}}"#, "a.json"),
            (r#"{"Timestamp":"2026-03-10T09:00:00Z","DeviceName":"h","Type":"DeviceEvents""#, "a.json"),
            (r#"{"Timestamp":"2026-03-10T09:00:00Z","DeviceName":"h","Type":"DeviceEvents"} x"#, "a.json"),
            (r#"{"Message":"<Event xmlns='x'><System>","Computer":"h","Type":"CommonSecurityLog"}"#, "a.json"),
            (r#"{"EventID":1,"Channel":"c","DeviceName":"h"}"#, "DeviceEvents.json"),
            (r#"{"records":[{"category":"AdvancedHunting-DeviceEvents","properties":{}}]}"#, "a.json"),
            (r#"{"category":"AdvancedHunting-NoSuchTable","properties":{}}"#, "a.json"),
            (r#"{"category":"Other","properties":{"a":"AdvancedHunting-DeviceEvents"}}"#, "a.json"),
        ] {
            assert!(quick(line, path, &Asks(None)).is_none(), "{line}");
        }
    }
}
