//! CSV with a header of column names, as Microsoft's portals export it.

use super::collected::{EVTXECMD_READ, evtxecmd, is_evtxecmd};
use super::cuts::{self, RecordPart};
use super::json::LINE_LIMIT_BYTES;
use super::rendered::is_get_winevent;
use super::rows::is_read;
use super::shapes::{NO_TIME, TIMES, classify, complete, field_of_text, in_utc, is_time, lacking, table_of_path, untold, without_zone};
use super::{Record, Sink, others};
use crate::error::Problem;
use crate::row::Row;
use crate::schemas::{TABLES, TableSchema, infer};
use serde_json::Value;
use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

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
struct Layouts {
    names: Vec<String>,
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

impl Layouts {
    fn new(path: &Path, names: Vec<String>) -> Layouts {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let (of_path, type_at, action_at) = (table_of_path(path, &names), place("Type"), place("ActionType"));
        Layouts { names, of_path, type_at, action_at, known: Vec::new(), last: 0 }
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
            None => infer(&self.names, action),
        };
        if self.known.len() >= MOST_LAYOUTS {
            self.known.clear();
        }
        self.known.push((says.map(|text| text.map(str::to_owned)), table.map(|table| Layout::read_by(sink, table, &self.names))));
        self.known.len() - 1
    }
}

pub(super) fn read(path: &Path, input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut lines = reader(Bounded::new(input), true);
    let header = lines.headers().map_err(|error| Problem::file(path, error.to_string()))?.clone();
    Lines::of(path, &header, true, sink)?.read(lines, 0)
}

/// Reads the records that begin in a part of the file.
pub(super) fn read_part(path: &Path, mut file: File, part: &RecordPart, sink: &mut dyn Sink) -> Result<(), Problem> {
    let unreadable = |error: std::io::Error| Problem::file(path, error.to_string());
    let header = cuts::header(path).map_err(|error| Problem::file(path, error.to_string()))?;
    let (start, end) = part.bounds().map_err(unreadable)?;
    file.seek(SeekFrom::Start(start.byte)).map_err(unreadable)?;
    let records = file.take(end.map_or(u64::MAX, |end| end.byte - start.byte));
    match Lines::of(path, &header, part.is_first(), sink) {
        Err(_) if !part.is_first() => Ok(()),
        lines => lines?.read(reader(Bounded::new(records), part.is_first()), start.line),
    }
}

fn reader<R: Read>(input: R, has_header: bool) -> csv::Reader<R> {
    csv::ReaderBuilder::new().flexible(true).has_headers(has_header).buffer_capacity(1 << 16).from_reader(input)
}

/// What is read on until a record ends: not more than any record has, as when a quote stays open.
struct Bounded<R> {
    input: R,
    left_bytes: Rc<Cell<usize>>,
}

impl<R> Bounded<R> {
    fn new(input: R) -> Bounded<R> {
        Bounded { input, left_bytes: Rc::new(Cell::new(LINE_LIMIT_BYTES)) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.input.read(buffer)?;
        match self.left_bytes.get().checked_sub(length) {
            Some(left) => self.left_bytes.set(left),
            None => return Err(std::io::Error::other(format!("a record of more than {} MiB; is a quote left open?", LINE_LIMIT_BYTES >> 20))),
        }
        Ok(length)
    }
}

/// What the lines of a file are.
enum Shape {
    /// Rows of the table that was learned from them.
    Learned(Layout),
    /// Events as EvtxECmd writes them: where the columns stand that are read of it.
    EvtxEcmd([Option<usize>; EVTXECMD_READ.len()]),
    /// Other events.
    Events,
    /// Rows of known tables.
    Rows,
}

/// The lines of a file or of a part of it.
struct Lines<'a> {
    path: &'a Path,
    layouts: Layouts,
    shape: Shape,
    /// Whether its first line is that behind the header.
    is_first: bool,
    sink: &'a mut dyn Sink,
}

impl<'a> Lines<'a> {
    fn of(path: &'a Path, header: &csv::StringRecord, is_first: bool, sink: &'a mut dyn Sink) -> Result<Lines<'a>, Problem> {
        let mut names = names_of(header).map_err(|message| Problem::file(path, message))?;
        let learned = sink.other(path);
        if learned.is_some() || sink.is_learner() {
            make_distinct(&mut names);
        }
        if is_first && learned.is_some_and(|table| names.iter().any(|name| table.position(name).is_none())) {
            sink.problem(Problem::at(path, "line 1", others::TOO_MANY_COLUMNS));
        }
        let texts = || names.iter().map(String::as_str);
        let shape = match learned {
            Some(table) => Shape::Learned(Layout::read_by(sink, table, &names)),
            None if is_evtxecmd(texts()) => Shape::EvtxEcmd(EVTXECMD_READ.map(|wanted| names.iter().position(|name| name == wanted))),
            None if holds_events(texts()) => Shape::Events,
            None => Shape::Rows,
        };
        Ok(Lines { path, layouts: Layouts::new(path, names), shape, is_first, sink })
    }

    /// Reads all lines, which so many are before.
    fn read<R: Read>(mut self, mut reader: csv::Reader<Bounded<R>>, lines_before: u64) -> Result<(), Problem> {
        let left_bytes = reader.get_ref().left_bytes.clone();
        let mut line = csv::StringRecord::new();
        let mut is_next_first = self.is_first;
        loop {
            left_bytes.set(LINE_LIMIT_BYTES);
            let began = reader.position().clone();
            let read = reader.read_record(&mut line);
            let position = read.as_ref().map_or_else(|error| error.position(), |_| line.position()).unwrap_or(&began);
            let number = lines_before + position.line();
            let goes_on = match read {
                Ok(false) => {
                    self.finish();
                    return Ok(());
                }
                Ok(true) if self.sink.is_learner() => self.learn(&line, std::mem::take(&mut is_next_first)),
                Ok(true) => match self.record(&line, number) {
                    Ok(record) => self.sink.record(record),
                    // What is said of the file the first part says for all.
                    Err(problem) if problem.place.is_none() => return if self.is_first { Err(problem) } else { Ok(()) },
                    Err(problem) => {
                        self.sink.problem(problem);
                        true
                    }
                },
                Err(error) => {
                    self.sink.problem(Problem::at(self.path, format!("line {number}"), what(&error)));
                    true
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Takes note of a line; lines of a known table are rows of that. `false` stops the reading.
    fn learn(&mut self, line: &csv::StringRecord, is_first: bool) -> bool {
        let is_event = matches!(self.shape, Shape::EvtxEcmd(_) | Shape::Events);
        let is_known = is_first && !self.sink.learns_known() && (is_event || self.layouts.of(line, self.sink).is_ok());
        !is_known && self.sink.learn_texts(&self.layouts.names, &mut line.iter())
    }

    /// The record of a line. A problem is the line's, or the file's when no line can be told better.
    fn record<'l>(&mut self, line: &'l csv::StringRecord, number: u64) -> Result<Record<'l>, Problem> {
        let problem = |message: String| Problem::at(self.path, format!("line {number}"), message);
        match &self.shape {
            Shape::Learned(layout) => Ok(Record::Row(others::row_of_texts(layout.table, &layout.places, line.iter()))),
            Shape::EvtxEcmd(places) => {
                let texts = places.map(|at| at.and_then(|at| line.get(at)).unwrap_or_default());
                evtxecmd(texts, |event| self.sink.wants(event)).map(Record::Event).map_err(problem)
            }
            Shape::Events => {
                let values = self.layouts.names.iter().zip(line).map(|(name, value)| (name.clone(), Value::String(value.to_owned())));
                classify(values.collect(), number, self.path).map_err(problem)
            }
            Shape::Rows => match self.layouts.of(line, self.sink) {
                Ok(layout) => {
                    let (row, lacks_time) = layout.row(line);
                    if lacks_time {
                        self.sink.problem(problem(NO_TIME.to_owned()));
                    }
                    Ok(Record::Row(row))
                }
                Err(tables) => {
                    let message = untold(tables, self.path);
                    Err(if self.layouts.are_one() { Problem::file(self.path, message) } else { problem(message) })
                }
            },
        }
    }

    fn finish(self) {
        let tables = self.layouts.known.iter().filter_map(|(_, told)| told.as_ref().ok().map(|layout| layout.table));
        tables.for_each(|table| self.sink.left_out(table, lacking(table, self.layouts.names.iter().cloned())));
    }
}

/// What is wrong with a line. The crate counts lines from where it began to read.
fn what(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { err, .. } => err.to_string(),
        _ => error.to_string(),
    }
}
