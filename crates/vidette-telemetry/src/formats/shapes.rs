//! What a JSON object is: an event as one of the shippers writes it, or a row of a table. It is told from the keys.

use super::collected::{EVTXECMD_READ, evtxecmd, is_evtxecmd, wazuh};
use super::{Record, audit, cloudtrail, event_xml, other_table, rendered, zeek};
use crate::event::{Event, Fields, parse_time, text, to_ticks};
use crate::row::{Field, Row};
use crate::schemas::{ColumnSchema, ColumnType, TABLES, TableSchema, infer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;

pub(super) fn classify(mut map: Map<String, Value>, number: u64, path: &Path) -> Result<Record<'static>, String> {
    if let Some(event) = windows_event(&mut map, number)? {
        return Ok(Record::Event(event));
    }
    if audit::is_record(&map) {
        return audit::row(map).map(Record::Row);
    }
    if cloudtrail::is_record(&map) {
        return cloudtrail::row(map).map(Record::Row).ok_or_else(|| "no table takes records of CloudTrail".to_owned());
    }
    if zeek::is_line(&map) {
        return Ok(zeek::row(&map).map_or(Record::Other, Record::Row));
    }
    if let (Some(Value::String(category)), true) = (map.get("category"), map.contains_key("properties")) {
        let name = category.strip_prefix("AdvancedHunting-").unwrap_or(category).to_owned();
        let Some(Value::Object(properties)) = map.remove("properties") else { return Err("`properties` is not an object".to_owned()) };
        let Some(table) = diagnostic_table(&name) else { return Err(format!("unknown table `{name}`")) };
        let mut row = defender_row(table, properties);
        fill_beside(&mut row, |key| map.get(key));
        return Ok(Record::Row(row));
    }
    if let Some(table) = map.get("Type").and_then(Value::as_str).and_then(|name| TABLES.get(name)) {
        return Ok(Record::Row(defender_row(table, map)));
    }
    let columns: Vec<String> = map.keys().filter(|key| !key.starts_with('@')).cloned().collect();
    if let Some(table) = table_of_path(path, &columns) {
        return Ok(Record::Row(defender_row(table, map)));
    }
    if !is_timed(&map) {
        return Err(format!("not a shape Vidette knows: no Windows event, no Defender or Log Analytics row{}", as_other(path)));
    }
    let table = inferred(path, columns, map.get("ActionType").and_then(Value::as_str))?;
    Ok(Record::Row(defender_row(table, map)))
}

/// The keys with values of an object whose keys are the columns of its row.
pub(super) fn columns_of(map: &Map<String, Value>) -> Vec<String> {
    if map.contains_key("properties") || audit::is_record(map) || cloudtrail::is_record(map) || zeek::is_line(map) {
        return Vec::new();
    }
    let is_empty = |value: &Value| value.is_null() || value.as_str().is_some_and(str::is_empty);
    map.iter().filter(|(_, value)| !is_empty(value)).map(|(name, _)| name.clone()).collect()
}

/// Those of the columns that a table has not, but for what every table of Log Analytics has, or had.
pub(super) fn lacking(table: &TableSchema, columns: impl IntoIterator<Item = String>) -> Vec<String> {
    const OF_ALL: [&str; 9] = ["TenantId", "SourceSystem", "MG", "ManagementGroupName", "Computer", "RawData", "Type", "Timestamp", "TimeGenerated"];
    let has = |name: &str| OF_ALL.contains(&name) || table.place(name).is_some();
    columns.into_iter().filter(|name| !name.starts_with(['_', '@']) && !has(name)).collect()
}

/// What diagnostic settings say beside the properties, and the columns that it fills.
pub(super) const BESIDE: [(&str, &str); 5] =
    [("operationName", "OperationName"), ("category", "Category"), ("resultType", "ResultType"), ("correlationId", "CorrelationId"), ("callerIpAddress", "IPAddress")];

/// Fills what stands beside the properties of a row: when it was, and, but for Defender's devices, what.
pub(super) fn fill_beside<'v>(row: &mut Row, beside: impl Fn(&str) -> Option<&'v Value>) {
    if let Some(time) = beside("time").and_then(time) {
        row.fill("TimeGenerated", &Field::Ticks(time));
        row.links.time_ticks = if row.links.time_ticks == 0 { time } else { row.links.time_ticks };
    }
    for (key, column) in BESIDE.iter().filter(|_| !row.table.name.starts_with("Device")) {
        if let Some(value) = beside(key) {
            row.fill(column, &Field::Text(text(value).into()));
        }
    }
}

/// What [`infer`] says of rows, which mostly have the columns of the row before.
fn inferred(path: &Path, columns: Vec<String>, action: Option<&str>) -> Result<&'static TableSchema, String> {
    type Told = (Vec<String>, Option<String>, Result<&'static TableSchema, String>);
    const MOST: usize = 64;
    thread_local! {
        static TOLD: RefCell<Vec<Told>> = const { RefCell::new(Vec::new()) };
    }
    TOLD.with_borrow_mut(|told| {
        if let Some((_, _, table)) = told.iter().find(|(known, of, _)| *known == columns && of.as_deref() == action) {
            return table.clone();
        }
        let table = infer(&columns, action).map_err(|tables| untold(&tables, path));
        if told.len() == MOST {
            drop(told.remove(0));
        }
        told.push((columns, action.map(str::to_owned), table.clone()));
        table
    })
}

/// What is said of rows whose table is not told by their columns, which are of these tables.
pub(super) fn untold(tables: &[&str], path: &Path) -> String {
    const NAMED: usize = 5;
    let which = match tables {
        [] => "its columns are of no known table".to_owned(),
        _ => format!("its columns are of {} tables ({}{})", tables.len(), tables[..tables.len().min(NAMED)].join(", "), if tables.len() > NAMED { ", …" } else { "" }),
    };
    format!("{which}; name the file after its table{}", as_other(path))
}

/// How a query reads a file that is of no known table.
fn as_other(path: &Path) -> String {
    other_table(path).map(|name| format!("; a query may read it as `['{name}']`")).unwrap_or_default()
}

/// Whether a row says when it was.
pub(super) fn is_timed(map: &Map<String, Value>) -> bool {
    TIMES.iter().any(|name| map.get(*name).is_some_and(|time| !time.is_null()))
}

pub(super) const TIMES: [&str; 2] = ["Timestamp", "TimeGenerated"];

/// A column as Log Analytics exports a time: with the time zone that the portal shows.
pub(super) fn without_zone(name: &str) -> (&str, Option<&str>) {
    match name.strip_suffix(']').and_then(|name| name.rsplit_once(" [")) {
        Some((name, zone)) => (name, Some(zone)),
        None => (name, None),
    }
}

/// The column of an exported name: without the zone, which of the time of a row must be UTC.
pub(super) fn in_utc(name: &str) -> Result<&str, String> {
    match without_zone(name) {
        (name, Some("UTC")) => Ok(name),
        (time, Some(zone)) if TIMES.contains(&time) => {
            Err(format!("`{time}` is in the time zone `{zone}`, which nothing here tells of; let the portal show times in UTC, and export again"))
        }
        _ => Ok(name),
    }
}

/// What is said of a row whose time is none.
pub(super) const NO_TIME: &str = "its time is none that Vidette reads (such as 2026-03-10T09:00:00Z), and stays empty";

/// Whether the column is the time of its row.
pub(super) fn is_time(column: &ColumnSchema) -> bool {
    TIMES.contains(&column.name)
}

/// The table that a category of Azure's diagnostic settings lands in. Azure Monitor docs: "Supported resource log categories".
pub(super) fn diagnostic_table(category: &str) -> Option<&'static TableSchema> {
    let name = match category {
        "SignInLogs" => "SigninLogs",
        "NonInteractiveUserSignInLogs" => "AADNonInteractiveUserSignInLogs",
        "ServicePrincipalSignInLogs" => "AADServicePrincipalSignInLogs",
        "ManagedIdentitySignInLogs" => "AADManagedIdentitySignInLogs",
        "RiskyUsers" => "AADRiskyUsers",
        "UserRiskEvents" => "AADUserRiskEvents",
        "Administrative" => "AzureActivity",
        other => other,
    };
    TABLES.get(name)
}

/// The table that a file is named after, or one of its folders, if half of the columns are of that table. Exports name
/// their containers `am-Table` and `insights-logs-advancedhunting-table`.
pub(super) fn table_of_path(path: &Path, columns: &[String]) -> Option<&'static TableSchema> {
    let name_of = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    if let Some(table) = name_of(path).and_then(|stem| TABLES.get(stem.as_str())) {
        return Some(table);
    }
    let fits = |table: &&TableSchema| columns.iter().filter(|column| table.position(column).is_some()).count() * 2 >= columns.len();
    let folders = path.ancestors().skip(1).filter_map(name_of);
    folders
        .filter_map(|folder| match folder.strip_prefix("am-").or_else(|| folder.strip_prefix("insights-logs-advancedhunting-")) {
            Some(name) => TABLES.values().find(|table| table.name.eq_ignore_ascii_case(name)),
            None => TABLES.get(folder.as_str()),
        })
        .find(fits)
}

/// A Windows event, in whatever way a shipper writes it; `None` when the object is none.
fn windows_event(map: &mut Map<String, Value>, number: u64) -> Result<Option<Event<'static>>, String> {
    // XML inside JSON is the whole event: Splunk and Cribl (`_raw`), Winlogbeat (`event.original`), Fluent Bit (`System`).
    let original = map.get("event").and_then(|event| event.get("original"));
    let texts = [map.get("_raw"), original, map.get("System"), map.get("message"), map.get("Message"), map.get("xml")];
    if let Some(xml) = texts.into_iter().flatten().filter_map(Value::as_str).find(|text| text.contains("<Event") && text.contains("<System>")) {
        let start = xml.find("<Event").unwrap_or(0);
        return event_xml::parse(&xml[start..]).map(Some);
    }
    if let Some(raw) = map.get("_raw").and_then(Value::as_str).filter(|raw| rendered::is_splunk(raw)) {
        return Ok(rendered::splunk(raw, map.get("_time").and_then(time)));
    }
    if let Some(raw) = map.get("_raw").and_then(Value::as_str).filter(|raw| raw.trim_start().starts_with('{')) {
        let Ok(Value::Object(mut inner)) = serde_json::from_str(raw) else { return Err("`_raw` is not JSON".to_owned()) };
        return windows_event(&mut inner, number);
    }
    if let Some(Value::Object(event)) = map.get_mut("Event") {
        return Ok(Some(event_log(std::mem::take(event))));
    }
    if matches!(map.get("System"), Some(Value::Object(_))) {
        return Ok(Some(event_log(std::mem::take(map))));
    }
    if map.keys().any(|key| ["winlog.", "win.", "data.win."].iter().any(|start| key.starts_with(start))) {
        nest(map);
    }
    if let Some(event) = rendered::get_winevent(map) {
        return Ok(Some(event));
    }
    if let Some(event) = wazuh(map) {
        return Ok(Some(event));
    }
    if is_evtxecmd(map.keys().map(String::as_str)) {
        let texts = EVTXECMD_READ.map(|name| map.get(name).map(text).unwrap_or_default());
        return evtxecmd(texts.each_ref().map(String::as_str), |_| true).map(|event| Some(event.into_owned()));
    }
    if let Some(Value::Object(winlog)) = map.get_mut("winlog") {
        let winlog = std::mem::take(winlog);
        return Ok(Some(winlogbeat(winlog, map)));
    }
    if map.contains_key("event_id") && ["event_data", "user_data", "log_name", "channel", "provider_name"].iter().any(|key| map.contains_key(*key)) {
        let flat = map.clone();
        return Ok(Some(winlogbeat(flat, map)));
    }
    if map.contains_key("StringInserts") {
        return Err("StringInserts holds values without names; let Fluent Bit write the event as XML (Render_Event_As_XML)".to_owned());
    }
    let named = SOURCES.iter().any(|key| map.contains_key(*key));
    let is_row = map.get("Type").and_then(Value::as_str).is_some_and(|name| TABLES.contains_key(name));
    if map.contains_key("EventID") && named && !is_row {
        let fields = std::mem::take(map).into_iter().map(|(key, value)| (key.into(), text(&value).into())).collect();
        return Ok(Some(flat_event(fields, number)));
    }
    Ok(None)
}

/// Names with dots as objects in objects. A name of more parts than any shipper's stays as it is.
fn nest(map: &mut Map<String, Value>) {
    const MOST_PARTS: usize = 32;
    for (name, value) in std::mem::take(map) {
        if name.split('.').nth(MOST_PARTS).is_some() {
            map.insert(name, value);
            continue;
        }
        let mut place = &mut *map;
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                place.insert(part.to_owned(), value);
                break;
            }
            let inner = place.entry(part).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            let Value::Object(inner) = inner else { break };
            place = inner;
        }
    }
}

fn attribute<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get("#attributes").or_else(|| value.get("@attributes")).unwrap_or(value).get(name).or_else(|| value.get(format!("@{name}")))
}

fn number(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Number(number)) => number.as_i64().unwrap_or_default(),
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        Some(Value::Object(map)) => number(map.get("#text").or_else(|| map.get("Value")).or_else(|| map.get("value"))),
        _ => 0,
    }
}

/// `{System, EventData | UserData}` as the evtx crate and Velociraptor write it.
fn event_log(mut event: Map<String, Value>) -> Event<'static> {
    let system = event.remove("System").unwrap_or_default();
    let field = |name: &str| system.get(name);
    // Some write attributes beside the element.
    let attribute = |element: &str, name: &str| field(element).and_then(|value| attribute(value, name)).or_else(|| field(&format!("{element}_attributes"))?.get(name));
    let mut result = Event {
        provider: attribute("Provider", "Name").map(text).unwrap_or_default().into(),
        event_id: u32::try_from(number(field("EventID"))).unwrap_or_default(),
        version: number(field("Version")),
        level: number(field("Level")),
        task: number(field("Task")),
        opcode: number(field("Opcode")),
        keywords: field("Keywords").map(text).unwrap_or_default().into(),
        channel: field("Channel").map(text).unwrap_or_default().into(),
        computer: field("Computer").map(text).unwrap_or_default().into(),
        execution_thread_id: number(attribute("Execution", "ThreadID")),
        user_sid: attribute("Security", "UserID").map(text).unwrap_or_default().into(),
        record_id: u64::try_from(number(field("EventRecordID"))).unwrap_or_default(),
        execution_process_id: number(attribute("Execution", "ProcessID")),
        created_ticks: attribute("TimeCreated", "SystemTime").and_then(time),
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
pub(super) fn time(value: &Value) -> Option<i64> {
    match value {
        Value::Number(seconds) => unix_time(&seconds.to_string()),
        other => parse_time(&text(other)),
    }
}

/// The fields of a bag that are not null; none when it is no object.
pub(crate) fn data_of_json(bag: &str) -> Fields {
    let mut fields = Vec::new();
    let bag: Map<String, Value> = serde_json::from_str(bag).unwrap_or_default();
    flatten(bag.into_iter().filter(|(_, value)| !value.is_null()).collect(), &mut fields);
    fields
}

/// Named values, also those one element deeper (`UserData`), in a list of `Data`, or with their name as an attribute `@Name`.
pub(super) fn flatten(data: Map<String, Value>, into: &mut Fields) {
    for (key, value) in data {
        match value {
            Value::Object(inner) if inner.contains_key("@Name") => {
                let [name, value] = ["@Name", "#text"].map(|part| inner.get(part).map(text).unwrap_or_default());
                into.push((name.into(), value.into()));
            }
            Value::Array(items) if items.iter().any(|item| item.get("@Name").is_some()) => {
                items.into_iter().for_each(|item| flatten(Map::from_iter([(key.clone(), item)]), into));
            }
            Value::Object(mut inner) if inner.contains_key("#text") => flatten(Map::from_iter([(key, inner.remove("#text").unwrap_or_default())]), into),
            Value::Array(items) if !items.iter().any(|item| item.is_object() || item.is_array()) => {
                into.extend(items.iter().map(|item| (key.clone().into(), text(item).into())));
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
        provider: pick(&["provider_name", "source_name", "source"]).into(),
        // Kibana exports `4,688`.
        event_id: pick(&["event_id"]).replace(',', "").parse().unwrap_or_default(),
        channel: pick(&["channel", "log_name"]).into(),
        version: number(winlog.get("version")),
        task: number(winlog.get("task")),
        level: level(outer.get("log").and_then(|log| log.get("level")).and_then(Value::as_str).unwrap_or_default()),
        user_sid: winlog.get("user").and_then(|user| user.get("identifier")).map(text).unwrap_or_default().into(),
        computer: if computer.is_empty() { outer.get("host").and_then(|host| host.get("name")).map(text).unwrap_or_default() } else { computer }.into(),
        record_id: pick(&["record_id", "record_number"]).replace(',', "").parse().unwrap_or_default(),
        execution_process_id: winlog.get("process").map_or(0, |process| number(process.get("pid"))).max(number(winlog.get("process_id"))),
        opcode: number(winlog.get("opcode")),
        created_ticks: ["@timestamp", "timestamp", "time_created"].iter().find_map(|name| outer.get(*name).and_then(time)),
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
pub(super) fn level(word: &str) -> i64 {
    match word.to_ascii_lowercase().as_str() {
        "critical" => 1,
        "error" => 2,
        "warning" => 3,
        "verbose" | "debug" => 5,
        _ => 4,
    }
}

/// What names where a flat event is from: as Windows, NXLog and Sigma do.
pub(super) const SOURCES: [&str; 5] = ["Channel", "SourceName", "ProviderGuid", "ProviderName", "Provider_Name"];

/// NXLog and its like: system and data fields side by side.
pub(super) fn flat_event<'a>(data: Vec<(Cow<'a, str>, Cow<'a, str>)>, line: u64) -> Event<'a> {
    let find = |names: &[&str]| names.iter().find_map(|name| data.iter().find(|(key, _)| key == name)).map(|(_, value)| value.clone());
    let pick = |names: &[&str]| find(names).unwrap_or_default();
    let number = |name: &str| pick(&[name]).parse().unwrap_or_default();
    Event {
        provider: pick(&["SourceName", "ProviderName", "Provider_Name", "Provider"]),
        event_id: pick(&["EventID"]).parse().unwrap_or_default(),
        version: number("Version"),
        task: number("Task"),
        opcode: number("OpcodeValue"),
        level: level(&pick(&["Severity"])),
        keywords: pick(&["Keywords"]),
        channel: pick(&["Channel"]),
        computer: pick(&["Hostname", "Computer", "host"]),
        execution_thread_id: pick(&["ThreadID", "Execution_ThreadID"]).parse().unwrap_or_default(),
        user_sid: pick(&["UserID", "Security_UserID"]),
        record_id: pick(&["RecordNumber", "EventRecordID", "RecordID"]).parse().unwrap_or(line),
        execution_process_id: pick(&["ExecutionProcessID", "ExecutionProcessId", "Execution_ProcessID"]).parse().unwrap_or_default(),
        created_ticks: ["@timestamp", "EventTime", "TimeCreated", "SystemTime"]
            .iter()
            .find_map(|name| find(&[name]).and_then(|text| parse_time(&text).or_else(|| unix_time(&text)))),
        data,
    }
}

/// Seconds since 1970, written as a number.
fn unix_time(text: &str) -> Option<i64> {
    jiff::Timestamp::from_microsecond((text.parse::<f64>().ok()? * 1e6) as i64).ok().map(to_ticks)
}

/// A row in the table's own columns; each value is read as its column's type.
pub(super) fn defender_row(table: &'static TableSchema, map: Map<String, Value>) -> Row {
    let mut row = Row::new(table);
    for (name, value) in map {
        // Azure writes properties with a small first letter.
        if let Some((at, field)) = table.place(&name).and_then(|at| Some((at, field(table.columns[at].ty, value)?))) {
            row.set_at(at, field);
        }
    }
    complete(&mut row);
    row
}

/// Fills what a row does not say of itself: the other of its times, and which table it is of, as Sentinel has it in `Type`.
pub(super) fn complete(row: &mut Row) {
    both_times(row);
    row.fill("Type", &Field::Text(row.table.name.into()));
}

/// XDR says `Timestamp`, Sentinel `TimeGenerated`: each fills the other.
pub(super) fn both_times(row: &mut Row) {
    for (from, to) in [("Timestamp", "TimeGenerated"), ("TimeGenerated", "Timestamp")] {
        if let Some(time) = row.get(from).cloned() {
            row.fill(to, &time);
        }
    }
    if let Some(Field::Ticks(time)) = row.get("TimeGenerated").or_else(|| row.get("Timestamp")) {
        row.links.time_ticks = *time;
    }
    if let Some(Field::Text(device)) = row.get("DeviceName").or_else(|| row.get("Computer")) {
        row.links.host = device.clone();
    }
}

/// As [`field`], of a text.
pub(super) fn field_of_text(ty: ColumnType, text: &str) -> Option<Field> {
    Some(match ty {
        ColumnType::DateTime => Field::Ticks(parse_time(text)?),
        // Exports write JSON columns as text that holds JSON.
        ColumnType::Dynamic if text.is_empty() => return None,
        ColumnType::Dynamic => match serde_json::from_str::<Value>(text) {
            Ok(inner) => Field::Json(inner.to_string()),
            Err(_) => Field::Json(Value::from(text).to_string()),
        },
        _ => Field::Text(text.into()),
    })
}

/// A value of JSON as its column's type has it.
pub(super) fn field(ty: ColumnType, value: Value) -> Option<Field> {
    Some(match ty {
        _ if value.is_null() => return None,
        ColumnType::DateTime => Field::Ticks(time(&value)?),
        ColumnType::Dynamic => match value {
            Value::String(text) => return field_of_text(ty, &text),
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
