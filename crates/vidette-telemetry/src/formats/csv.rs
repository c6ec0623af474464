//! CSV with a header of column names, as Microsoft's portals export it.

use super::collected::is_evtxecmd;
use super::shapes::{NO_TIME, TIMES, both_times, classify, field, is_time, table_of_path, untold};
use super::{Record, Sink, others};
use crate::error::Problem;
use crate::row::Row;
use crate::schemas::{TABLES, TableSchema, infer};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::path::Path;

/// A column as Log Analytics exports a time: with the time zone that the portal shows.
fn without_zone(name: &str) -> (&str, Option<&str>) {
    match name.strip_suffix(']').and_then(|name| name.rsplit_once(" [")) {
        Some((name, zone)) => (name, Some(zone)),
        None => (name, None),
    }
}

/// Whether the first line is a list of names, one of them a time.
pub(super) fn looks_like_header(head: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(head.split(|byte| *byte == b'\n').next().unwrap_or(head)) else { return false };
    let is_of_time = |name: &str| TIMES.contains(&without_zone(name).0);
    let names = text.split(',').map(|name| name.trim_matches(['"', '\u{feff}', '\r', ' ']));
    text.contains(',') && (names.clone().any(is_of_time) || holds_events(names))
}

/// Whether the lines are Windows events: EvtxECmd's, what Splunk exports as it was written, what Kibana exports of Winlogbeat's
/// fields, or flat events of NXLog's kind.
fn holds_events<'n>(names: impl Iterator<Item = &'n str> + Clone) -> bool {
    let has = |wanted: &str| names.clone().any(|name| name == wanted);
    is_evtxecmd(names.clone()) || has("_raw") || has("winlog.event_id") || has("EventID") && has("Channel") && !has("Type") && !has("TimeGenerated")
}

/// A table, and where in it each value of a line belongs.
struct Layout {
    table: &'static TableSchema,
    places: Vec<Option<usize>>,
}

/// Gives columns without a name, and those whose name another has, one of their own.
fn make_distinct(names: &mut [String]) {
    let mut taken: HashSet<String> = HashSet::with_capacity(names.len());
    for (at, name) in names.iter_mut().enumerate() {
        if name.is_empty() {
            *name = format!("Column{}", at + 1);
        }
        let mut free = name.clone();
        let mut number = 0;
        while !taken.insert(free.clone()) {
            number += 1;
            free = format!("{name}{number}");
        }
        *name = free;
    }
}

/// So many kinds of lines are remembered.
const MOST_LAYOUTS: usize = 1024;

pub(super) fn read(path: &Path, input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let header = reader.headers().map_err(|error| Problem::file(path, error.to_string()))?;
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for name in header.iter().map(|name| name.trim_start_matches('\u{feff}')) {
        match without_zone(name) {
            (name, Some("UTC")) => names.push(name.to_owned()),
            (time, Some(zone)) if TIMES.contains(&time) => {
                return Err(Problem::file(path, format!("`{time}` is in the time zone `{zone}`, which nothing here tells of; let the portal show times in UTC, and export again")));
            }
            _ => names.push(name.to_owned()),
        }
    }
    let other = sink.other(path);
    if other.is_some() || sink.is_learner() {
        make_distinct(&mut names);
    }
    let holds_events = holds_events(names.iter().map(String::as_str));
    let of_path = table_of_path(path, &names);
    let other = other.map(|table| (table, names.iter().map(|name| table.position(name)).collect::<Vec<_>>()));
    let place = |wanted: &str| names.iter().position(|name| name == wanted);
    let (type_at, action_at) = (place("Type"), place("ActionType"));
    let layout = |ty: Option<&str>, action: Option<&str>| -> Result<Layout, Vec<&'static str>> {
        let table = match of_path.or_else(|| ty.and_then(|name| TABLES.get(name))) {
            Some(table) => table,
            None => infer(&names, action)?,
        };
        Ok(Layout { table, places: names.iter().map(|name| table.position(name)).collect() })
    };
    let mut layouts: HashMap<[Option<String>; 2], Result<Layout, Vec<&'static str>>> = HashMap::new();
    let mut is_first = true;
    for record in reader.into_records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, |position| position.line());
                sink.problem(Problem::at(path, format!("line {line}"), error.to_string()));
                continue;
            }
        };
        let line = || format!("line {}", record.position().map_or(0, csv::Position::line));
        let [ty, action] = [type_at, action_at].map(|at| at.and_then(|at| record.get(at)));
        if sink.is_learner() {
            // Lines of a known table are rows of that.
            if std::mem::take(&mut is_first) && (holds_events || layout(ty, action).is_ok()) {
                return Ok(());
            }
            sink.learn_texts(&names, &mut record.iter());
            continue;
        }
        if let Some((table, places)) = &other {
            if !sink.record(Record::Row(others::row_of_texts(table, places, record.iter()))) {
                return Ok(());
            }
            continue;
        }
        if holds_events {
            let map = names.iter().zip(&record).map(|(name, value)| (name.clone(), Value::String(value.to_owned()))).collect();
            match classify(map, record.position().map_or(0, csv::Position::line), path) {
                Ok(record) => {
                    if !sink.record(record) {
                        return Ok(());
                    }
                }
                Err(message) => sink.problem(Problem::at(path, line(), message)),
            }
            continue;
        }
        if layouts.len() >= MOST_LAYOUTS {
            layouts.clear();
        }
        let layout = match layouts.entry([ty, action].map(|text| text.map(str::to_owned))).or_insert_with(|| layout(ty, action)) {
            Ok(layout) => layout,
            Err(tables) if type_at.is_none() && action_at.is_none() => return Err(Problem::file(path, untold(tables, path))),
            Err(tables) => {
                sink.problem(Problem::at(path, line(), untold(tables, path)));
                continue;
            }
        };
        let mut row = Row::new(layout.table);
        for (value, column) in record.iter().zip(&layout.places).filter(|(value, _)| !value.is_empty()) {
            let Some(column) = column.map(|at| &layout.table.columns[at]) else { continue };
            match field(column.ty, Value::String(value.to_owned())) {
                Some(value) => drop(row.set(column.name, value)),
                None if is_time(column) => sink.problem(Problem::at(path, line(), NO_TIME)),
                None => {}
            }
        }
        both_times(&mut row);
        if !sink.record(Record::Row(row)) {
            return Ok(());
        }
    }
    Ok(())
}
