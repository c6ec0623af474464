//! A line that is a row of a known table, read in place and only as far as its columns are asked for: what Defender's streaming
//! API, Log Analytics' export, and exports that are named after their table write. What is unusual gives `None`, and the line is
//! read as any other JSON is.

use super::event_json::{Fill, Keys};
use super::json::{ENVELOPES, WRAPPERS};
use super::shapes::{BESIDE, TIMES, both_times, complete, diagnostic_table, field, field_of_text, fill_beside, is_time};
use super::{Record, Sink, zeek};
use crate::normalize::TABLES_OF_LOGS;
use crate::row::{Field, Row};
use crate::schemas::{ColumnSchema, ColumnType, TABLES, TableSchema};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use sonic_rs::LazyValue;
use std::borrow::Cow;
use std::fmt::{Formatter, Result as FmtResult};
use std::path::Path;

/// How the lines of a file are read.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    /// The table that the file is named after.
    of_file: Option<&'static TableSchema>,
    /// The table that was learned from its records.
    other: Option<&'static TableSchema>,
    /// It is being learned.
    is_learner: bool,
}

impl Lines {
    pub(super) fn of(path: &Path, sink: &dyn Sink) -> Lines {
        let of_file = path.file_stem().and_then(|stem| TABLES.get(stem.to_str()?));
        Lines { of_file: of_file.filter(|table| !TABLES_OF_LOGS.contains(&table.name)), other: sink.other(path), is_learner: sink.is_learner() }
    }

    /// The row of a line.
    pub(super) fn read(self, line: &str, sink: &dyn Sink) -> Option<Record<'static>> {
        if self.is_learner {
            return None;
        }
        if let Some(table) = self.other {
            let mut columns = Columns::of(table, sink, Kind::Learned);
            read(line, &mut columns)?;
            both_times(&mut columns.row);
            return Some(Record::Row(columns.row));
        }
        if let Some(name) = quoted_after(line, "\"AdvancedHunting-") {
            return streamed(line, diagnostic_table(name)?, sink).map(Record::Row);
        }
        if let Some(row) = zeek::read_json(line, sink) {
            return Some(Record::Row(row));
        }
        if let Some(table) = type_of(line).and_then(|name| TABLES.get(name)) {
            return plain(line, table, true, sink).map(Record::Row);
        }
        // A log's event may have columns of a table.
        let table = self.of_file.filter(|_| memchr::memmem::find(line.as_bytes(), b"\"EventID\"").is_none())?;
        plain(line, table, false, sink).map(Record::Row)
    }
}

/// What stands between these bytes and the next quote.
fn quoted_after<'l>(line: &'l str, before: &str) -> Option<&'l str> {
    let rest = &line[memchr::memmem::find(line.as_bytes(), before.as_bytes())? + before.len()..];
    Some(&rest[..memchr::memchr(b'"', rest.as_bytes())?])
}

/// The value of the first `Type`.
fn type_of(line: &str) -> Option<&str> {
    const KEY: &str = "\"Type\"";
    let rest = &line[memchr::memmem::find(line.as_bytes(), KEY.as_bytes())? + KEY.len()..];
    let value = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start().strip_prefix('"')?;
    Some(&value[..memchr::memchr(b'"', value.as_bytes())?])
}

/// A row of the table's own columns. Other keys but those that begin with `_` may be another shape.
fn plain(line: &str, table: &'static TableSchema, says_type: bool, sink: &dyn Sink) -> Option<Row> {
    let mut columns = Columns::of(table, sink, Kind::Plain);
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
fn streamed(line: &str, table: &'static TableSchema, sink: &dyn Sink) -> Option<Row> {
    let mut envelope = Envelope { columns: Columns::of(table, sink, Kind::Properties), has_properties: false, beside: Vec::new() };
    read(line, &mut envelope)?;
    let beside = |key: &str| envelope.beside.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value);
    let is_of_table = beside("category")?.as_str()?.strip_prefix("AdvancedHunting-") == Some(table.name);
    let mut row = envelope.columns.row;
    complete(&mut row);
    fill_beside(&mut row, beside);
    (envelope.has_properties && is_of_table).then_some(row)
}

fn read<'de>(line: &'de str, into: &mut impl Keys<'de>) -> Option<()> {
    let mut deserializer = sonic_rs::Deserializer::from_str(line);
    Fill(into).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()
}

struct Envelope<'t> {
    columns: Columns<'t>,
    has_properties: bool,
    /// What stands beside them.
    beside: Vec<(String, Value)>,
}

impl<'de> Keys<'de> for Envelope<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match key.as_ref() {
            "properties" if !self.has_properties => {
                map.next_value_seed(Fill(&mut self.columns))?;
                self.has_properties = true;
            }
            key if key == "time" || BESIDE.iter().any(|(beside, _)| *beside == key) => self.beside.push((key.to_owned(), map.next_value()?)),
            key if is_of_another_shape(key) => return Err(A::Error::custom("another shape")),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// Keys of wrappers, and of events as shippers write them.
pub(super) fn is_of_another_shape(key: &str) -> bool {
    WRAPPERS.contains(&key) || is_of_event(key)
}

/// Keys of events as shippers write them, and of what holds one.
pub(super) fn is_of_event(key: &str) -> bool {
    const KEYS: [&str; 13] = ["_raw", "hits", "event", "Event", "System", "xml", "winlog", "win", "data", "event_id", "StringInserts", "ts", "properties"];
    [&KEYS[..], &ENVELOPES].iter().any(|keys| keys.contains(&key)) || ["winlog.", "win.", "data.win."].iter().any(|start| key.starts_with(start))
}

/// What an object's keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Columns of a known table, nothing else.
    Plain,
    /// Columns of a known table, and others.
    Properties,
    /// Columns of the table that was learned from it.
    Learned,
}

/// The columns of a row.
struct Columns<'t> {
    row: Row,
    /// By place, whether a column is asked for; all are, without.
    reads: Option<&'t [bool]>,
    kind: Kind,
    type_is: Option<&'static str>,
    /// Whether it has a time, whatever it says.
    timed: bool,
}

impl<'t> Columns<'t> {
    fn of(table: &'static TableSchema, sink: &'t dyn Sink, kind: Kind) -> Columns<'t> {
        Columns { row: Row::new(table), reads: sink.reads(table), kind, type_is: None, timed: false }
    }

    /// A value of a dynamic column, its numbers as they are written.
    fn dynamic(&self, raw: &str) -> serde_json::Result<Option<Field>> {
        Ok(match serde_json::from_str(raw)? {
            Value::Null => None,
            // What a known table holds as a text is JSON.
            value if self.kind == Kind::Learned => Some(Field::Json(value.to_string())),
            value => field(ColumnType::Dynamic, value),
        })
    }

    /// Whether a key tells that the object is not what it was taken for.
    fn refuses(&self, key: &str, is_column: bool) -> bool {
        match self.kind {
            // What the zone behind a name tells is told by who reads it as JSON.
            Kind::Plain => is_of_another_shape(key) || key.ends_with(']') || !is_column && !key.starts_with('_'),
            Kind::Properties => false,
            // What it loses is said by who reads it as JSON.
            Kind::Learned => !is_column || [&["hits", "columns", "rows", "Columns", "Rows"][..], &ENVELOPES, &WRAPPERS].iter().any(|keys| keys.contains(&key)),
        }
    }
}

impl<'de> Keys<'de> for Columns<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let table = self.row.table;
        let at = if self.kind == Kind::Learned { table.position(&key) } else { table.place(&key) };
        if self.refuses(&key, at.is_some()) {
            return Err(A::Error::custom("another shape"));
        }
        let Some(at) = at else { return map.next_value::<IgnoredAny>().map(drop) };
        let column = &table.columns[at];
        // Of a text that is an event the table is not told.
        let may_be_event = self.kind == Kind::Plain && column.name.eq_ignore_ascii_case("message");
        if !(may_be_event || is_read(self.reads, at, column)) {
            return map.next_value::<IgnoredAny>().map(drop);
        }
        let value = if column.ty == ColumnType::Dynamic {
            self.dynamic(map.next_value::<LazyValue>()?.as_raw_str()).map_err(A::Error::custom)?
        } else {
            map.next_value_seed(Cell { ty: column.ty, timed: TIMES.contains(&key.as_ref()).then_some(&mut self.timed) })?
        };
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

/// A value, as its column's type has it, which is not dynamic: what `field` makes of the same value.
struct Cell<'c> {
    ty: ColumnType,
    /// To be told that there is one, of a time.
    timed: Option<&'c mut bool>,
}

impl Cell<'_> {
    fn of(self, value: Value) -> Option<Field> {
        if let Some(timed) = self.timed {
            *timed |= !value.is_null();
        }
        field(self.ty, value)
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
        self.timed.into_iter().for_each(|timed| *timed = true);
        Ok(field_of_text(self.ty, text))
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
    use crate::formats::others;
    use crate::formats::shapes::classify;
    use std::path::PathBuf;

    /// Asks for these columns of every table; for all, without. Perhaps all files are of one table.
    #[derive(Default)]
    struct Asks(Option<Vec<bool>>, Option<&'static TableSchema>);

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
        fn other(&self, _: &Path) -> Option<&'static TableSchema> {
            self.1
        }
    }

    fn quick(line: &str, path: &str, sink: &Asks) -> Option<Row> {
        match Lines::of(Path::new(path), sink).read(line, sink)? {
            Record::Row(row) => Some(row),
            Record::Event(_) | Record::Other => panic!("a row"),
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
        let exported = r#"{"TenantId":"t","TimeGenerated":"2026-03-10T09:00:00Z","DeviceName":"h\u00e9 \"x\"","actiontype":"ProcessCreated","ProcessId":4.5,"AdditionalFields":{"k":{"n":[null,1.0,2.50,123456789012345678901234567890,"s"]}},"_Internal_WorkspaceResourceId":"/subscriptions/x","Type":"DeviceProcessEvents"}"#;
        for (line, path) in [
            (streamed, "PT1H.json"),
            (&streamed.replace(r#""Timestamp":"2026-03-10T09:00:00.1234567Z","#, ""), "PT1H.json"),
            (&streamed.replace("DeviceNetworkEvents", "EmailEvents"), "PT1H.json"),
            (exported, "PT1H.json"),
            (&exported.replace("TimeGenerated\":\"2026-03-10T09:00:00Z\"", "TimeGenerated\":1773133200.5"), "PT1H.json"),
            (&exported.replace(r#","Type":"DeviceProcessEvents""#, ""), "DeviceProcessEvents.jsonl"),
            (
                r#"{"ts":1714420737.556099,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":55317,"id.resp_h":"8.8.8.8","id.resp_p":443,"proto":"tcp","service":"ssl","duration":3.50,"orig_bytes":1e3,"conn_state":"S0","local_orig":true,"tunnel_parents":[]}"#,
                "conn.log",
            ),
            (
                r#"{"_path":"dns","ts":"2024-04-29T19:58:57.5Z","uid":"C2","id_orig_h":"fe80::1","id_orig_p":53,"id_resp_h":"1.1.1.1","id_resp_p":53,"proto":"udp","query":"a\u00e9\"\\.example","answers":[ "1.2.3.4", "x\ty" ],"rcode_name":null,"qtype_name":"A"}"#,
                "x.json",
            ),
            (
                r#"{"ts":1714420737,"uid":"C3","id.orig_h":"10.0.0.1","id.orig_h":"10.0.0.2","id.resp_h":"8.8.8.8","method":"GET","host":"a.example","uri":"/é?q=\"","status_code":200}"#,
                "http.json",
            ),
            (r#"{"TimeGenerated":"2026-03-10T09:00:00Z","Channel":"Security","EventID":4624,"Computer":"h","EventSourceName":"P","Type":"SecurityEvent"}"#, "x.json"),
        ] {
            let sink = Asks::default();
            let quick = quick(line, path, &sink).unwrap_or_else(|| panic!("{line}"));
            let Ok(Value::Object(map)) = serde_json::from_str(line) else { panic!("an object") };
            let Ok(Record::Row(general)) = classify(map, 1, Path::new(path)) else { panic!("a row: {line}") };
            assert_eq!(told(&quick), told(&general), "{line}");
            assert!(quick.fields.len() > 3, "{line}");
        }
        // Nothing but what a row is known by is read of one that nobody asks for.
        let row = quick(exported, "PT1H.json", &Asks(Some(Vec::new()), None)).expect("a row");
        let names: Vec<&str> = row.fields.iter().map(|(at, _)| row.table.columns[usize::from(*at)].name).collect();
        assert_eq!(names, ["TimeGenerated", "DeviceName", "ActionType", "Type", "Timestamp"]);
    }

    #[test]
    fn rows_of_a_learned_table_are_the_same_too() {
        let columns = [("user", ColumnType::String), ("n", ColumnType::Real), ("deep", ColumnType::Dynamic), ("when", ColumnType::DateTime), ("Timestamp", ColumnType::DateTime)];
        let table = TableSchema::learned("things".to_owned(), columns.map(|(name, ty)| (name.to_owned(), ty)).to_vec());
        let sink = Asks(None, Some(table));
        for line in [
            r#"{"user":"a","n":1,"deep":{"a":[1,2.50,null]},"when":"2026-03-10T09:00:00Z","Timestamp":"2026-03-10T09:00:01Z"}"#,
            r#"{"user":7,"n":null,"deep":"{\"a\":1}","when":"no time"}"#,
            r#"{"deep":[],"user":""}"#,
        ] {
            let Ok(Value::Object(map)) = serde_json::from_str(line) else { panic!("an object") };
            assert_eq!(told(&quick(line, "things.jsonl", &sink).expect(line)), told(&others::row(table, map).0), "{line}");
        }
        for line in [r#"{"user":"a","more":1}"#, r#"{"records":[{"user":"a"}]}"#, r#"{"User":"a"}"#] {
            assert!(quick(line, "things.jsonl", &sink).is_none(), "{line}");
        }
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
            (r#"{"ts":1,"id":{"orig_h":"10.0.0.1","resp_h":"8.8.8.8"},"conn_state":"SF"}"#, "conn.json"),
            (r#"{"ts":1,"id.orig_h":"10.0.0.1","note":"Scan::Port_Scan","_path":"notice"}"#, "notice.json"),
            (r#"{"ts":1,"id.orig_h":"10.0.0.1","conn_state":"SF","_raw":"x"}"#, "conn.json"),
            (r#"{"id.orig_h":"10.0.0.1","conn_state":"SF"}"#, "conn.json"),
            (r#"{"records":[{"category":"AdvancedHunting-DeviceEvents","properties":{}}]}"#, "a.json"),
            (r#"{"category":"AdvancedHunting-NoSuchTable","properties":{}}"#, "a.json"),
            (r#"{"category":"Other","properties":{"a":"AdvancedHunting-DeviceEvents"}}"#, "a.json"),
        ] {
            assert!(quick(line, path, &Asks::default()).is_none(), "{line}");
        }
    }
}
