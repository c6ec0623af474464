//! JSON: a value per line, or arrays, in the shapes that shippers and portals write. Which shape a record has is told
//! from its keys.

use super::{Record, Sink};
use crate::error::Problem;
use crate::event::{Event, parse_time, text, to_ticks};
use crate::row::{Field, Row};
use crate::schemas::{ColumnType, TABLES, TableSchema, infer};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::BufRead;
use std::path::Path;

/// A longer line is refused rather than held in memory.
const LINE_LIMIT_BYTES: usize = 128 << 20;

pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let head = input.fill_buf().map_err(|error| Problem::file(path, error.to_string()))?;
    if head.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    let head = input.fill_buf().map_err(|error| Problem::file(path, error.to_string()))?;
    if super::first_text(head) == Some(b'[') {
        return read_array(path, input, sink);
    }
    read_lines(path, input, sink)
}

fn read_lines(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let length = take_line(&mut input, &mut line).map_err(|error| Problem::at(path, format!("line {number}"), error.to_string()))?;
        if length == 0 {
            return Ok(());
        }
        let place = || format!("line {number}");
        if line.len() > LINE_LIMIT_BYTES {
            sink.problem(Problem::at(path, place(), format!("a line of more than {} MiB", LINE_LIMIT_BYTES >> 20)));
            continue;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(value) => {
                if !deliver(path, &place(), number, value, sink) {
                    return Ok(());
                }
            }
            // The first line of a document written over several lines.
            Err(error) if number == 1 && error.is_eof() => {
                let rest = std::io::Cursor::new(std::mem::take(&mut line));
                return read_document(path, std::io::Read::chain(rest, input), sink);
            }
            Err(error) => sink.problem(Problem::at(path, place(), format!("not JSON: {error}"))),
        }
    }
    Ok(())
}

/// One line into `line`; of a line past the limit only so much is kept.
fn take_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut total = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(total);
        }
        let (used, done) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        if line.len() <= LINE_LIMIT_BYTES {
            line.extend_from_slice(&available[..used]);
        }
        input.consume(used);
        total += used;
        if done {
            return Ok(total);
        }
    }
}

fn read_document(path: &Path, input: impl std::io::Read, sink: &mut dyn Sink) -> Result<(), Problem> {
    for (at, value) in serde_json::Deserializer::from_reader(std::io::BufReader::new(input)).into_iter::<Value>().enumerate() {
        match value {
            Ok(value) => {
                if !deliver(path, &format!("document {}", at + 1), at as u64 + 1, value, sink) {
                    return Ok(());
                }
            }
            Err(error) => return Err(Problem::at(path, format!("line {}", error.line()), format!("not JSON: {error}"))),
        }
    }
    Ok(())
}

/// The elements of a top-level array, one in memory at a time.
fn read_array(path: &Path, input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    struct Elements<'a> {
        path: &'a Path,
        sink: &'a mut dyn Sink,
    }
    impl<'de> Visitor<'de> for Elements<'_> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("an array of records")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            let mut number = 0;
            while let Some(value) = elements.next_element::<Value>()? {
                number += 1;
                deliver(self.path, &format!("element {number}"), number, value, self.sink);
            }
            Ok(())
        }
    }
    impl<'de> DeserializeSeed<'de> for Elements<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_reader(input);
    Elements { path, sink }.deserialize(&mut deserializer).map_err(|error| Problem::at(path, format!("line {}", error.line()), format!("not JSON: {error}")))
}

/// Hands over one JSON value: a record, or a wrapper around records. `false` when the sink wants no more.
fn deliver(path: &Path, place: &str, number: u64, value: Value, sink: &mut dyn Sink) -> bool {
    let Value::Object(mut map) = value else {
        sink.problem(Problem::at(path, place, "a record is an object"));
        return true;
    };
    for wrapper in ["records", "Results", "results", "value"] {
        if let Some(Value::Array(inner)) = map.get_mut(wrapper) {
            return std::mem::take(inner).into_iter().enumerate().all(|(at, value)| deliver(path, &format!("{place}, {wrapper} {}", at + 1), number + at as u64, value, sink));
        }
    }
    match classify(map, number, path) {
        Ok(record) => sink.record(record),
        Err(message) => {
            sink.problem(Problem::at(path, place, message));
            true
        }
    }
}

fn classify(mut map: Map<String, Value>, number: u64, path: &Path) -> Result<Record<'static>, String> {
    if let Some(Value::Object(event)) = map.get_mut("Event") {
        return Ok(Record::Event(event_log(std::mem::take(event))));
    }
    if let Some(Value::Object(winlog)) = map.get_mut("winlog") {
        let winlog = std::mem::take(winlog);
        return Ok(Record::Event(winlogbeat(winlog, &map)));
    }
    if map.contains_key("event_id") && (map.contains_key("event_data") || map.contains_key("log_name")) {
        let flat = map.clone();
        return Ok(Record::Event(winlogbeat(flat, &map)));
    }
    if let (Some(Value::String(category)), true) = (map.get("category"), map.contains_key("properties")) {
        let name = category.strip_prefix("AdvancedHunting-").unwrap_or(category).to_owned();
        let Some(Value::Object(properties)) = map.remove("properties") else { return Err("`properties` is not an object".to_owned()) };
        let Some(table) = TABLES.get(name.as_str()) else { return Err(format!("unknown table `{name}`")) };
        return Ok(Record::Row(defender_row(table, properties)));
    }
    if let Some(table) = map.get("Type").and_then(Value::as_str).and_then(|name| TABLES.get(name)) {
        return Ok(Record::Row(defender_row(table, map)));
    }
    if map.contains_key("EventID") && ["Channel", "SourceName", "ProviderGuid", "ProviderName"].iter().any(|key| map.contains_key(*key)) {
        return Ok(Record::Event(flat_event(map, number)));
    }
    let columns: Vec<String> = map.keys().filter(|key| !key.starts_with('@')).cloned().collect();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match TABLES.get(stem.as_str()).or_else(|| if map.contains_key("Timestamp") || map.contains_key("TimeGenerated") { infer(&columns) } else { None }) {
        Some(table) => Ok(Record::Row(defender_row(table, map))),
        None => Err("not a shape Vidette knows: no Windows event, no Defender or Log Analytics row".to_owned()),
    }
}

fn attribute<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get("#attributes").or_else(|| value.get("@attributes")).unwrap_or(value).get(name)
}

fn number(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Number(number)) => number.as_i64().unwrap_or_default(),
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        Some(Value::Object(map)) => number(map.get("#text").or_else(|| map.get("Value"))),
        _ => 0,
    }
}

/// `{System, EventData | UserData}` as the evtx crate and Velociraptor write it.
fn event_log(mut event: Map<String, Value>) -> Event<'static> {
    let system = event.remove("System").unwrap_or_default();
    let field = |name: &str| system.get(name);
    let created = field("TimeCreated").and_then(|created| attribute(created, "SystemTime"));
    let mut result = Event {
        provider: field("Provider").and_then(|provider| attribute(provider, "Name")).map(text).unwrap_or_default().into(),
        event_id: u32::try_from(number(field("EventID"))).unwrap_or_default(),
        version: number(field("Version")),
        level: number(field("Level")),
        task: number(field("Task")),
        opcode: number(field("Opcode")),
        keywords: field("Keywords").map(text).unwrap_or_default().into(),
        channel: field("Channel").map(text).unwrap_or_default().into(),
        computer: field("Computer").map(text).unwrap_or_default().into(),
        execution_thread_id: number(field("Execution").and_then(|execution| attribute(execution, "ThreadID"))),
        user_sid: field("Security").and_then(|security| attribute(security, "UserID")).map(text).unwrap_or_default().into(),
        record_id: u64::try_from(number(field("EventRecordID"))).unwrap_or_default(),
        execution_process_id: number(field("Execution").and_then(|execution| attribute(execution, "ProcessID"))),
        created_ticks: created.and_then(time),
        data: Vec::new(),
    };
    for part in ["EventData", "UserData"] {
        if let Some(Value::Object(data)) = event.remove(part) {
            flatten(data, &mut result.data);
        }
    }
    result
}

/// A time as text or as seconds since 1970.
fn time(value: &Value) -> Option<i64> {
    match value {
        Value::Number(seconds) => jiff::Timestamp::from_microsecond((seconds.as_f64()? * 1e6) as i64).ok().map(to_ticks),
        other => parse_time(&text(other)),
    }
}

/// Named values, also those one element deeper (`UserData`) or in a list of `Data`.
fn flatten(data: Map<String, Value>, into: &mut Vec<(Cow<'static, str>, Cow<'static, str>)>) {
    for (key, value) in data {
        match value {
            Value::Object(inner) if inner.contains_key("#text") => {
                let value = inner.get("#text").map(text).unwrap_or_default();
                into.push((key.into(), value.into()));
            }
            Value::Object(inner) => flatten(inner.into_iter().filter(|(key, _)| key != "#attributes").collect(), into),
            other => into.push((key.into(), text(&other).into())),
        }
    }
}

/// The `winlog` object of Winlogbeat, and the older form with its keys at the top.
fn winlogbeat(mut winlog: Map<String, Value>, outer: &Map<String, Value>) -> Event<'static> {
    let pick = |names: &[&str]| names.iter().find_map(|name| winlog.get(*name).filter(|value| !value.is_object())).map(text).unwrap_or_default();
    let computer = pick(&["computer_name", "computer"]);
    let mut event = Event {
        provider: pick(&["provider_name", "source_name"]).into(),
        event_id: pick(&["event_id"]).parse().unwrap_or_default(),
        channel: pick(&["channel", "log_name"]).into(),
        version: number(winlog.get("version")),
        task: number(winlog.get("task")),
        level: level(outer.get("log").and_then(|log| log.get("level"))),
        user_sid: winlog.get("user").and_then(|user| user.get("identifier")).map(text).unwrap_or_default().into(),
        computer: if computer.is_empty() { outer.get("host").and_then(|host| host.get("name")).map(text).unwrap_or_default() } else { computer }.into(),
        record_id: pick(&["record_id", "record_number"]).parse().unwrap_or_default(),
        execution_process_id: winlog.get("process").map_or(0, |process| number(process.get("pid"))).max(number(winlog.get("process_id"))),
        created_ticks: outer.get("@timestamp").and_then(time),
        ..Event::default()
    };
    for part in ["event_data", "user_data"] {
        if let Some(Value::Object(data)) = winlog.remove(part) {
            flatten(data, &mut event.data);
        }
    }
    event
}

/// The level that a shipper wrote as a word.
fn level(word: Option<&Value>) -> i64 {
    match word.and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase().as_str() {
        "critical" => 1,
        "error" => 2,
        "warning" => 3,
        "verbose" | "debug" => 5,
        _ => 4,
    }
}

/// NXLog and its like: system and data fields side by side.
fn flat_event(map: Map<String, Value>, line: u64) -> Event<'static> {
    let pick = |names: &[&str]| names.iter().find_map(|name| map.get(*name)).map(text).unwrap_or_default();
    let record = pick(&["RecordNumber", "EventRecordID", "RecordID"]).parse().unwrap_or(line);
    Event {
        provider: pick(&["SourceName", "ProviderName", "Provider"]).into(),
        event_id: pick(&["EventID"]).parse().unwrap_or_default(),
        version: number(map.get("Version")),
        task: number(map.get("Task")),
        opcode: number(map.get("OpcodeValue")),
        level: level(map.get("Severity")),
        keywords: pick(&["Keywords"]).into(),
        channel: pick(&["Channel"]).into(),
        computer: pick(&["Hostname", "Computer", "host"]).into(),
        execution_thread_id: number(map.get("ThreadID")),
        user_sid: pick(&["UserID"]).into(),
        record_id: record,
        execution_process_id: pick(&["ExecutionProcessID", "ExecutionProcessId"]).parse().unwrap_or_default(),
        created_ticks: ["@timestamp", "EventTime", "TimeCreated"].iter().find_map(|name| map.get(*name).and_then(time)),
        data: map.into_iter().map(|(key, value)| (key.into(), text(&value).into())).collect(),
    }
}

/// A row in the table's own columns; each value is read as its column's type.
pub(super) fn defender_row(table: &'static TableSchema, map: Map<String, Value>) -> Row {
    let mut row = Row::new(table);
    for (name, value) in map {
        if let Some(field) = table.position(&name).and_then(|at| field(table.columns[at].ty, value)) {
            row.set(&name, field);
        }
    }
    both_times(&mut row);
    row
}

/// XDR says `Timestamp`, Sentinel `TimeGenerated`: each fills the other.
pub(super) fn both_times(row: &mut Row) {
    for (from, to) in [("Timestamp", "TimeGenerated"), ("TimeGenerated", "Timestamp")] {
        if let Some(time) = row.get(from).cloned() {
            row.fill(to, &time);
        }
    }
    if let Some(Field::Ticks(time)) = row.get("Timestamp") {
        row.links.time_ticks = *time;
    }
}

pub(super) fn field(ty: ColumnType, value: Value) -> Option<Field> {
    if value.is_null() {
        return None;
    }
    Some(match ty {
        ColumnType::DateTime => Field::Ticks(time(&value)?),
        ColumnType::Dynamic => match value {
            // Exports write JSON columns as text that holds JSON.
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => match serde_json::from_str::<Value>(&text) {
                Ok(inner) => Field::Json(inner.to_string()),
                Err(_) => Field::Json(Value::String(text).to_string()),
            },
            other => Field::Json(other.to_string()),
        },
        _ => match value {
            Value::Bool(flag) => Field::Bool(flag),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Field::Long(whole),
                None => Field::Real(number.as_f64()?),
            },
            other => Field::Text(text(&other).into()),
        },
    })
}
