//! CSV with a header of column names, as Microsoft's portals export it.

use super::collected::is_evtxecmd;
use super::shapes::{NO_TIME, TIMES, classify, complete, field, is_time, table_of_path, untold};
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

/// The columns of a header; without the zone of times, which must be UTC.
fn names_of(header: &csv::StringRecord) -> Result<Vec<String>, String> {
    let name = |name: &str| match without_zone(name.trim_start_matches('\u{feff}')) {
        (name, Some("UTC")) => Ok(name.to_owned()),
        (time, Some(zone)) if TIMES.contains(&time) => {
            Err(format!("`{time}` is in the time zone `{zone}`, which nothing here tells of; let the portal show times in UTC, and export again"))
        }
        _ => Ok(name.trim_start_matches('\u{feff}').to_owned()),
    };
    header.iter().map(name).collect()
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

/// A table, and where in it each value of a line belongs.
struct Layout {
    table: &'static TableSchema,
    places: Vec<Option<usize>>,
}

impl Layout {
    fn of(table: &'static TableSchema, names: &[String]) -> Layout {
        Layout { table, places: names.iter().map(|name| table.position(name)).collect() }
    }

    /// A line as a row; whether its time is none.
    fn row(&self, line: &csv::StringRecord) -> (Row, bool) {
        let mut row = Row::new(self.table);
        let mut lacks_time = false;
        for (value, column) in line.iter().zip(&self.places).filter(|(value, _)| !value.is_empty()) {
            let Some(column) = column.map(|at| &self.table.columns[at]) else { continue };
            match field(column.ty, Value::String(value.to_owned())) {
                Some(value) => drop(row.set(column.name, value)),
                None => lacks_time |= is_time(column),
            }
        }
        complete(&mut row);
        (row, lacks_time)
    }
}

/// So many kinds of lines are remembered.
const MOST_LAYOUTS: usize = 1024;

/// The layouts of lines that are rows: each may say itself which table it is of.
struct Layouts<'n> {
    names: &'n [String],
    of_path: Option<&'static TableSchema>,
    type_at: Option<usize>,
    action_at: Option<usize>,
    known: HashMap<[Option<String>; 2], Result<Layout, Vec<&'static str>>>,
}

impl<'n> Layouts<'n> {
    fn new(path: &Path, names: &'n [String]) -> Layouts<'n> {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        Layouts { names, of_path: table_of_path(path, names), type_at: place("Type"), action_at: place("ActionType"), known: HashMap::new() }
    }

    /// Whether all lines are of one table, or of none.
    fn are_one(&self) -> bool {
        self.type_at.is_none() && self.action_at.is_none()
    }

    /// The layout of a line, or the tables that it may be of.
    fn of(&mut self, line: &csv::StringRecord) -> &Result<Layout, Vec<&'static str>> {
        let [ty, action] = [self.type_at, self.action_at].map(|at| at.and_then(|at| line.get(at)));
        let table = || match self.of_path.or_else(|| ty.and_then(|name| TABLES.get(name))) {
            Some(table) => Ok(table),
            None => infer(self.names, action),
        };
        if self.known.len() >= MOST_LAYOUTS {
            self.known.clear();
        }
        self.known.entry([ty, action].map(|text| text.map(str::to_owned))).or_insert_with(|| Ok(Layout::of(table()?, self.names)))
    }
}

pub(super) fn read(path: &Path, input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let header = reader.headers().map_err(|error| Problem::file(path, error.to_string()))?;
    let mut names = names_of(header).map_err(|message| Problem::file(path, message))?;
    let learned = sink.other(path);
    if learned.is_some() || sink.is_learner() {
        make_distinct(&mut names);
    }
    let learned = learned.map(|table| Layout::of(table, &names));
    if learned.as_ref().is_some_and(|layout| layout.places.contains(&None)) {
        sink.problem(Problem::at(path, "line 1", others::TOO_MANY_COLUMNS));
    }
    let holds_events = holds_events(names.iter().map(String::as_str));
    let mut layouts = Layouts::new(path, &names);
    let mut is_first = true;
    for line in reader.into_records() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                let line = error.position().map_or(0, |position| position.line());
                sink.problem(Problem::at(path, format!("line {line}"), error.to_string()));
                continue;
            }
        };
        let number = line.position().map_or(0, csv::Position::line);
        let place = || format!("line {number}");
        if sink.is_learner() {
            // Lines of a known table are rows of that.
            if std::mem::take(&mut is_first) && (holds_events || layouts.of(&line).is_ok()) {
                return Ok(());
            }
            sink.learn_texts(&names, &mut line.iter());
            continue;
        }
        let record = match &learned {
            Some(layout) => Ok(Record::Row(others::row_of_texts(layout.table, &layout.places, line.iter()))),
            None if holds_events => classify(names.iter().zip(&line).map(|(name, value)| (name.clone(), Value::String(value.to_owned()))).collect(), number, path),
            None => match layouts.of(&line) {
                Ok(layout) => {
                    let (row, lacks_time) = layout.row(&line);
                    if lacks_time {
                        sink.problem(Problem::at(path, place(), NO_TIME));
                    }
                    Ok(Record::Row(row))
                }
                Err(tables) => {
                    let message = untold(tables, path);
                    if layouts.are_one() {
                        return Err(Problem::file(path, message));
                    }
                    Err(message)
                }
            },
        };
        match record {
            Ok(record) => {
                if !sink.record(record) {
                    return Ok(());
                }
            }
            Err(message) => sink.problem(Problem::at(path, place(), message)),
        }
    }
    Ok(())
}
