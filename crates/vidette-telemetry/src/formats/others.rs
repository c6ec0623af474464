//! Files of tables that nobody knows: their columns and types are learned from all of their records, so that KQL runs over any CSV
//! and any JSON.

use super::shapes::{both_times, classify, field};
use super::{Part, Record, Sink, parquet, parts_of, read_file};
use crate::error::Problem;
use crate::event::{Event, parse_time};
use crate::normalize::TABLES_OF_LOGS;
use crate::row::{Field, Row};
use crate::schemas::{ColumnSchema, ColumnType, TABLES, TYPE_ENDS, TableSchema};
use crate::store;
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What records have beyond so many columns is left out, and is a problem.
const MOST_COLUMNS: usize = 1024;
pub(super) const TOO_MANY_COLUMNS: &str = "it has columns beyond the first 1,024 of its table, which are left out";

/// The name of the table that a file would be: its own, without `.csv`, `.json` and their like. Other files are none, and those of
/// known tables.
pub fn other_table(path: &Path) -> Option<String> {
    stem(path).filter(|stem| !TABLES.contains_key(stem.as_str()))
}

/// The name of a file that may be named after its table.
fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let plain = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let (stem, extension) = plain.rsplit_once('.')?;
    let is_read = ["csv", "json", "jsonl", "ndjson"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    (is_read && !stem.is_empty()).then(|| stem.to_owned())
}

/// The table of these files, which have its name, and those of them that have its rows: none with records of a known shape, and none
/// without records. Columns come in the order in which they are first found, each of the type that holds all of its values: texts of CSV
/// are numbers, times, booleans or JSON where all are, those of JSON times.
///
/// The schema lives as long as the process, as those of known tables do; a query names few.
pub fn learn(name: String, paths: Vec<PathBuf>) -> Option<(&'static TableSchema, Vec<PathBuf>)> {
    let mut columns = Columns::default();
    let learned: Vec<PathBuf> = paths.into_iter().filter(|path| learn_file(path, &mut columns)).collect();
    let columns = columns.columns.into_iter().map(|(name, seen)| (name, seen.ty())).collect();
    (!learned.is_empty()).then(|| (TableSchema::learned(name, columns), learned))
}

/// Notes the columns of a file; whether its records are of no known shape, and there are some.
fn learn_file(path: &Path, columns: &mut Columns) -> bool {
    let mut parts = parts_of(path).into_iter();
    let first = learn_part(path, parts.next().as_ref(), true);
    if first.is_known {
        return false;
    }
    let rest: Vec<Learner> = parts.collect::<Vec<_>>().into_par_iter().map(|part| learn_part(path, Some(&part), false)).collect();
    let (mut records, mut is_known) = (0, false);
    for part in std::iter::once(first).chain(rest) {
        records += part.records;
        is_known |= part.is_known;
        columns.merge(part.columns);
    }
    !is_known && records > 0
}

/// The known table that the file is named after, or its folder is.
fn table_by_name(path: &Path) -> Option<&'static TableSchema> {
    let of_parquet = || path.extension().filter(|extension| extension.eq_ignore_ascii_case("parquet")).and_then(|_| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let name = store::part(path).map(|(table, _)| table.to_owned()).or_else(|| stem(path)).or_else(of_parquet)?;
    TABLES.get(name.as_str())
}

/// So many records of a file tell what columns its table has beside those that are known, and so many files of a table.
const TELLING: u64 = 1_000;
const TELLING_FILES: usize = 16;

/// Custom tables of Log Analytics have the columns that their customers send, and other tables more from month to month: those that
/// files named after one have in their first 1,000 records, and those of Parquet of such a table, are added to the known ones for as
/// long as the process lives. Of a table that is not custom only when most columns of the file are its own. To be called before
/// anybody asks for them; a table that somebody asked for stays as it is.
pub fn learn_more_columns(paths: &[PathBuf]) {
    let mut by_table: HashMap<&str, Told> = HashMap::new();
    for path in paths {
        let Some(table) = table_by_name(path).filter(|table| !TABLES_OF_LOGS.contains(&table.name)) else { continue };
        let told = by_table.entry(table.name).or_default();
        told.files += 1;
        if told.files > TELLING_FILES {
            continue;
        }
        let is_of_table = |names: &mut dyn Iterator<Item = &String>| {
            let (known, others): (Vec<&String>, Vec<&String>) = names.partition(|name| table.documents(name));
            table.name.ends_with("_CL") || known.len() > others.len()
        };
        // What cannot be read is told when it is read for its rows.
        if parquet::is_parquet(path) {
            let found = parquet::columns(path).unwrap_or_default();
            if is_of_table(&mut found.iter().map(|(name, _)| name)) {
                told.typed.extend(found);
            }
            continue;
        }
        let mut learner = Learner { path, is_first: true, limit: Some(TELLING), is_known: false, records: 0, columns: Columns::default(), places: Vec::new() };
        read_file(path, parts_of(path).first(), &mut learner).ok();
        if is_of_table(&mut learner.columns.columns.iter().map(|(name, _)| name)) {
            told.columns.merge(learner.columns);
        }
    }
    for (table, told) in by_table {
        TABLES[table].extend(|known| told.beside(known));
    }
}

/// What the files of a table tell of its columns.
#[derive(Default)]
struct Told {
    files: usize,
    /// What records have.
    columns: Columns,
    /// What Parquet says.
    typed: Vec<(String, ColumnType)>,
}

impl Told {
    /// The columns beside the known ones, as the service would name them.
    fn beside(self, known: &[ColumnSchema]) -> Vec<(String, ColumnType)> {
        let is_known = |name: &str| known.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let has_ends = known.iter().any(|column| ends_in_type(column.name));
        let mut more: Vec<(String, ColumnType)> = Vec::new();
        for (name, ty) in self.typed {
            if !is_known(&name) && more.iter().all(|(other, _)| !other.eq_ignore_ascii_case(&name)) {
                more.push((name, ty));
            }
        }
        for (name, seen) in self.columns.columns.iter().filter(|(name, _)| !name.starts_with(['_', '@'])) {
            let plain = name.replace(' ', "_");
            if is_known(name) || has_ends && TYPE_ENDS.iter().any(|end| is_known(&format!("{plain}{end}"))) {
                continue;
            }
            let end = match seen.ty() {
                _ if !has_ends || ends_in_type(name) => "",
                ColumnType::Long | ColumnType::Real => "_d",
                ColumnType::Bool => "_b",
                ColumnType::DateTime => "_t",
                _ => "_s",
            };
            let name = if end.is_empty() { name.clone() } else { plain + end };
            let ty = type_of(&name, seen);
            if !is_known(&name) && more.iter().all(|(other, _)| !other.eq_ignore_ascii_case(&name)) {
                more.push((name, ty));
            }
        }
        more
    }
}

fn ends_in_type(name: &str) -> bool {
    TYPE_ENDS.iter().any(|end| name.ends_with(end))
}

/// As the service names columns, the end of the name tells the type.
fn type_of(name: &str, seen: &Seen) -> ColumnType {
    match name.rsplit_once('_') {
        Some((_, "s" | "g")) => ColumnType::String,
        Some((_, "d")) => ColumnType::Real,
        Some((_, "b")) => ColumnType::Bool,
        Some((_, "t")) => ColumnType::DateTime,
        _ => seen.ty(),
    }
}

fn learn_part<'p>(path: &'p Path, part: Option<&Part>, is_first: bool) -> Learner<'p> {
    let mut learner = Learner { path, is_first, limit: None, is_known: false, records: 0, columns: Columns::default(), places: Vec::new() };
    // What cannot be read is told when it is read for its rows.
    read_file(path, part, &mut learner).ok();
    learner
}

/// A record as a row of the table that was learned from it and its like, and whether that is all of it.
pub(super) fn row(table: &'static TableSchema, map: Map<String, Value>) -> (Row, bool) {
    let mut row = Row::new(table);
    let mut is_whole = true;
    for (name, value) in map {
        let Some(at) = table.position(&name) else {
            is_whole = false;
            continue;
        };
        let field = match (table.columns[at].ty, value) {
            (_, Value::Null) => None,
            (ColumnType::Dynamic, value) => Some(Field::Json(value.to_string())),
            (ColumnType::String, Value::String(text)) => Some(Field::Text(text.into())),
            (ty, value) => field(ty, value),
        };
        field.into_iter().for_each(|field| row.set_at(at, field));
    }
    both_times(&mut row);
    (row, is_whole)
}

/// The same of a record of CSV, whose texts have these places in the table.
pub(super) fn row_of_texts<'t>(table: &'static TableSchema, places: &[Option<usize>], texts: impl Iterator<Item = &'t str>) -> Row {
    let mut row = Row::with_capacity(table, places.len());
    for (place, text) in places.iter().zip(texts).filter(|(_, text)| !text.is_empty()) {
        let Some(at) = *place else { continue };
        let field = match table.columns[at].ty {
            ColumnType::String => Some(Field::Text(text.into())),
            ColumnType::Long => text.parse().ok().map(Field::Long),
            ColumnType::Real => text.parse().ok().map(Field::Real),
            ColumnType::Bool => Some(Field::Bool(text.eq_ignore_ascii_case("true"))),
            ColumnType::DateTime => parse_time(text).map(Field::Ticks),
            _ => Some(Field::Json(text.to_owned())),
        };
        field.into_iter().for_each(|field| row.set_at(at, field));
    }
    both_times(&mut row);
    row
}

#[derive(Default)]
struct Columns {
    columns: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
}

/// Notes columns and their values.
struct Learner<'a> {
    path: &'a Path,
    /// Whether its first record is that of the file, which tells the shape of all.
    is_first: bool,
    /// So many records suffice, of a known table.
    limit: Option<u64>,
    /// Its records are of a shape that is known.
    is_known: bool,
    records: u64,
    columns: Columns,
    /// Of the columns of a file of texts.
    places: Vec<Option<usize>>,
}

impl Sink for Learner<'_> {
    fn wants(&self, _: &Event) -> bool {
        true
    }

    fn record(&mut self, _: Record) -> bool {
        self.is_known = true;
        false
    }

    fn problem(&mut self, _: Problem) {}

    fn carves(&self) -> bool {
        false
    }

    fn parquet(&mut self, _: PathBuf) {
        self.is_known = true;
    }

    fn is_learner(&self) -> bool {
        true
    }

    fn learn(&mut self, record: &Map<String, Value>) -> bool {
        if self.limit.is_none() && self.is_first && self.records == 0 && classify(record.clone(), 1, self.path).is_ok() {
            self.is_known = true;
            return false;
        }
        self.records += 1;
        record.iter().for_each(|(name, value)| self.columns.seen(name).into_iter().for_each(|seen| seen.note(value)));
        self.limit.is_none_or(|limit| self.records < limit)
    }

    fn learns_known(&self) -> bool {
        self.limit.is_some()
    }

    fn learn_texts(&mut self, columns: &[String], record: &mut dyn Iterator<Item = &str>) -> bool {
        if self.records == 0 {
            self.places = columns.iter().map(|name| self.columns.place(name)).collect();
        }
        self.records += 1;
        for (place, text) in self.places.iter().zip(record).filter(|(_, text)| !text.is_empty()) {
            place.iter().for_each(|place| self.columns.columns[*place].1.note_text(text));
        }
        self.limit.is_none_or(|limit| self.records < limit)
    }
}

impl Columns {
    /// Where a column is, which is added when it is new.
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        let place = self.columns.len();
        (place < MOST_COLUMNS).then(|| {
            self.places.insert(name.to_owned(), place);
            self.columns.push((name.to_owned(), Seen::default()));
            place
        })
    }

    /// Takes in what was noted of the records behind.
    fn merge(&mut self, later: Columns) {
        for (name, seen) in later.columns {
            self.seen(&name).into_iter().for_each(|known| known.merge(&seen));
        }
    }

    fn seen(&mut self, name: &str) -> Option<&mut Seen> {
        self.place(name).map(|place| &mut self.columns[place].1)
    }
}

const BOOL: u8 = 1;
const LONG: u8 = 2;
const REAL: u8 = 4;
const TIME: u8 = 8;
const JSON: u8 = 16;

/// What all values of a column can be read as, a bit each.
struct Seen {
    any: bool,
    all: u8,
    /// One was an array or a bag.
    nested: bool,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { any: false, all: u8::MAX, nested: false }
    }
}

impl Seen {
    fn note(&mut self, value: &Value) {
        let kinds = match value {
            Value::Null => return,
            Value::Bool(_) => BOOL,
            Value::Number(number) if number.is_i64() => LONG | REAL,
            Value::Number(_) => REAL,
            Value::String(text) if self.all & TIME != 0 => kinds(text) & TIME,
            Value::String(_) => 0,
            Value::Array(_) | Value::Object(_) => {
                self.nested = true;
                0
            }
        };
        self.any = true;
        self.all &= kinds;
    }

    fn merge(&mut self, other: &Seen) {
        self.any |= other.any;
        self.all &= other.all;
        self.nested |= other.nested;
    }

    fn note_text(&mut self, text: &str) {
        self.any = true;
        if self.all != 0 {
            self.all &= kinds(text);
        }
    }

    fn ty(&self) -> ColumnType {
        match self.all {
            _ if self.nested => ColumnType::Dynamic,
            _ if !self.any => ColumnType::String,
            all if all & BOOL != 0 => ColumnType::Bool,
            all if all & LONG != 0 => ColumnType::Long,
            all if all & REAL != 0 => ColumnType::Real,
            all if all & TIME != 0 => ColumnType::DateTime,
            all if all & JSON != 0 => ColumnType::Dynamic,
            _ => ColumnType::String,
        }
    }
}

/// What a text can be read as. Numbers with zeros before them are names.
fn kinds(text: &str) -> u8 {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return BOOL;
    }
    if text.starts_with(['{', '[']) {
        return if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() { JSON } else { 0 };
    }
    if !digits.starts_with(|first: char| first.is_ascii_digit()) && !digits.starts_with('.') {
        return if text.len() >= 10 && parse_time(text).is_some() { TIME } else { 0 };
    }
    if digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") {
        return if parse_time(text).is_some() { TIME } else { 0 };
    }
    if text.parse::<i64>().is_ok() {
        return LONG | REAL;
    }
    if text.parse::<f64>().is_ok() {
        return REAL;
    }
    if text.len() >= 10 && parse_time(text).is_some() { TIME } else { 0 }
}
