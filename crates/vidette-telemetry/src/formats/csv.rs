//! CSV with a header of column names, as Microsoft's portals export it.

use super::collected::is_evtxecmd;
use super::rendered::is_get_winevent;
use super::rows::is_read;
use super::shapes::{NO_TIME, TIMES, classify, complete, field_of_text, in_utc, is_time, lacking, table_of_path, untold, without_zone};
use super::{Record, Sink, others};
use crate::error::Problem;
use crate::row::Row;
use crate::schemas::{TABLES, TableSchema, infer};
use serde_json::Value;
use std::collections::HashSet;
use std::io::BufRead;
use std::path::Path;

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
    is_evtxecmd(names.clone())
        || is_get_winevent(has)
        || has("_raw")
        || has("AuditData")
        || has("winlog.event_id")
        || has("EventID") && has("Channel") && !has("Type") && !has("TimeGenerated")
}

/// The columns of a header.
fn names_of(header: &csv::StringRecord) -> Result<Vec<String>, String> {
    header.iter().map(|name| in_utc(name.trim_start_matches('\u{feff}')).map(str::to_owned)).collect()
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
    /// The columns that the sink reads.
    fn read_by(sink: &dyn Sink, table: &'static TableSchema, names: &[String]) -> Layout {
        let reads = sink.reads(table);
        let place = |name: &String| table.place(name).filter(|at| is_read(reads, *at, &table.columns[*at]));
        Layout { table, places: names.iter().map(place).collect() }
    }

    /// A line as a row; whether its time is none.
    fn row(&self, line: &csv::StringRecord) -> (Row, bool) {
        let mut row = Row::with_capacity(self.table, self.places.len());
        let mut lacks_time = false;
        for (value, column) in line.iter().zip(&self.places).filter(|(value, _)| !value.is_empty()) {
            let Some(at) = *column else { continue };
            let column = &self.table.columns[at];
            match field_of_text(column.ty, value) {
                Some(value) => row.set_at(at, value),
                None => lacks_time |= is_time(column),
            }
        }
        complete(&mut row);
        (row, lacks_time)
    }
}

/// So many kinds of lines are remembered.
const MOST_LAYOUTS: usize = 64;

/// The layouts of lines that are rows: each may say itself which table it is of.
struct Layouts<'n> {
    names: &'n [String],
    of_path: Option<&'static TableSchema>,
    type_at: Option<usize>,
    action_at: Option<usize>,
    /// By what lines say of themselves.
    known: Vec<([Option<String>; 2], Told)>,
    /// The place of that of the line before.
    last: usize,
}

/// The layout of a line, or the tables that it may be of.
type Told = Result<Layout, Vec<&'static str>>;

impl<'n> Layouts<'n> {
    fn new(path: &Path, names: &'n [String]) -> Layouts<'n> {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        Layouts { names, of_path: table_of_path(path, names), type_at: place("Type"), action_at: place("ActionType"), known: Vec::new(), last: 0 }
    }

    /// Whether all lines are of one table, or of none.
    fn are_one(&self) -> bool {
        self.type_at.is_none() && self.action_at.is_none()
    }

    /// What is told of a line; the sink says which columns are read.
    fn of(&mut self, line: &csv::StringRecord, sink: &dyn Sink) -> &Told {
        let of_line = |at: Option<usize>| line.get(at?);
        // Of another use of the word, which may be of many, the table is not told.
        let ty = of_line(self.type_at).filter(|name| TABLES.contains_key(name));
        let says = [ty, of_line(self.action_at.filter(|_| self.of_path.is_none()))];
        let is = |(known, _): &([Option<String>; 2], Told)| known.iter().map(Option::as_deref).eq(says);
        if !self.known.get(self.last).is_some_and(is) {
            self.last = self.known.iter().position(is).unwrap_or_else(|| self.learn(says, sink));
        }
        &self.known[self.last].1
    }

    /// Gives the place of what is told of lines that say so.
    fn learn(&mut self, says: [Option<&str>; 2], sink: &dyn Sink) -> usize {
        let [ty, action] = says;
        let table = match ty.and_then(|name| TABLES.get(name)).or(self.of_path) {
            Some(table) => Ok(table),
            None => infer(self.names, action),
        };
        if self.known.len() >= MOST_LAYOUTS {
            self.known.clear();
        }
        self.known.push((says.map(|text| text.map(str::to_owned)), table.map(|table| Layout::read_by(sink, table, self.names))));
        self.known.len() - 1
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
    if learned.is_some_and(|table| names.iter().any(|name| table.position(name).is_none())) {
        sink.problem(Problem::at(path, "line 1", others::TOO_MANY_COLUMNS));
    }
    let learned = learned.map(|table| Layout::read_by(sink, table, &names));
    let holds_events = holds_events(names.iter().map(String::as_str));
    let mut layouts = Layouts::new(path, &names);
    let mut is_first = true;
    let mut line = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut line) {
            Ok(true) => {}
            Ok(false) => {
                let tables = layouts.known.iter().filter_map(|(_, told)| told.as_ref().ok().map(|layout| layout.table));
                tables.for_each(|table| sink.left_out(table, lacking(table, names.iter().cloned())));
                return Ok(());
            }
            Err(error) => {
                let line = error.position().map_or(0, |position| position.line());
                sink.problem(Problem::at(path, format!("line {line}"), error.to_string()));
                continue;
            }
        }
        let number = line.position().map_or(0, csv::Position::line);
        let place = || format!("line {number}");
        if sink.is_learner() {
            // Lines of a known table are rows of that.
            let is_known = std::mem::take(&mut is_first) && !sink.learns_known() && (holds_events || layouts.of(&line, sink).is_ok());
            if is_known || !sink.learn_texts(&names, &mut line.iter()) {
                return Ok(());
            }
            continue;
        }
        let record = match &learned {
            Some(layout) => Ok(Record::Row(others::row_of_texts(layout.table, &layout.places, line.iter()))),
            None if holds_events => classify(names.iter().zip(&line).map(|(name, value)| (name.clone(), Value::String(value.to_owned()))).collect(), number, path),
            None => match layouts.of(&line, sink) {
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
}
