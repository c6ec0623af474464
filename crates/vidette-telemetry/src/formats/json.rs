//! JSON: a value per line, or arrays. What a record is, is told in `shapes`.

use super::elements::{Rest, Scan, is_deep, next_token, wrapper};
use super::shapes::{NO_TIME, classify, columns_of, in_utc, is_timed, lacking};
use super::{Record, Sink, event_json, flat, others, rows, winlogbeat};
use crate::error::Problem;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Of a longer line only the records in a wrapper are read, one by one: it is never in memory as a whole.
pub(super) const LINE_LIMIT_BYTES: usize = 16 << 20;
/// What holds a record: Splunk's exports put each into a `result`, Elasticsearch's into a `_source`.
pub(super) const ENVELOPES: [&str; 2] = ["result", "_source"];
/// The arrays of records that exports wrap into one object.
pub(super) const WRAPPERS: [&str; 7] = ["records", "Records", "Results", "results", "value", "tables", "Tables"];

pub(super) fn read(path: &Path, input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut input = Counted { input, at: 0 };
    let head = input.fill_buf().map_err(|error| Problem::file(path, error.to_string()))?;
    if head.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    let (mut records, mut any) = (Records::of(path, 0, sink), false);
    // Arrays, and objects that wrap one, however many; what is behind them is read by lines.
    loop {
        let unreadable = |error: std::io::Error| Problem::file(path, error.to_string());
        let Some(first) = next_token(&mut input).map_err(unreadable)? else { return Ok(()) };
        let (place, start) = match wrapper(input.fill_buf().map_err(unreadable)?) {
            Some(wrapper) => wrapper,
            None if first == b'[' => ("element", 1),
            None => {
                // Lines are counted from where arrays ended.
                let start = if any { input.at } else { 0 };
                return records.read_lines(input, start..u64::MAX, true);
            }
        };
        input.consume(start);
        any = true;
        if !records.read_elements(place, &mut input)? {
            return Ok(());
        }
        if first == b'{' {
            // The other keys of a wrapper are not looked at.
            let mut scan = Scan::default();
            let mut rest = Rest { input: &mut input, end: |bytes: &[u8]| scan.end_of_all(bytes), done: false };
            std::io::copy(&mut rest, &mut std::io::sink()).map_err(unreadable)?;
            match next_token(&mut input).map_err(unreadable)? {
                Some(_) => input.consume(1),
                None => return Err(Problem::at(path, place, "the file ends within the object around them")),
            }
        }
    }
}

/// Bytes of lines that one reader takes at a time.
const PART_BYTES: u64 = 4 << 20;

/// A file of lines in parts by byte; a line belongs to the part in which it begins. None when it is no file of
/// lines: the first must be an object, and the second begin like one.
pub(super) fn parts(file: File, length_bytes: u64) -> Vec<Range<u64>> {
    let mut input = BufReader::new(file).take(LINE_LIMIT_BYTES as u64);
    let mut line = Vec::new();
    let is_lines = input.read_until(b'\n', &mut line).is_ok()
        && line.starts_with(b"{")
        && serde_json::from_slice::<IgnoredAny>(&line).is_ok()
        && input.fill_buf().is_ok_and(|rest| rest.first() == Some(&b'{'));
    if is_lines { cut(length_bytes, PART_BYTES) } else { Vec::new() }
}

/// The last part has no end: the file may grow.
fn cut(length_bytes: u64, part_bytes: u64) -> Vec<Range<u64>> {
    let count = length_bytes.div_ceil(part_bytes);
    (0..count).map(|part| part * part_bytes..if part + 1 == count { u64::MAX } else { (part + 1) * part_bytes }).collect()
}

/// Reads the lines that begin in a part of the file.
pub(super) fn read_part(path: &Path, mut file: File, part: Range<u64>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let unreadable = |error: std::io::Error| Problem::file(path, error.to_string());
    // A line begins here when the byte before ends one.
    let before = part.start.saturating_sub(1);
    file.seek(SeekFrom::Start(before)).map_err(unreadable)?;
    let mut input = Counted { input: Box::new(BufReader::with_capacity(1 << 16, file)), at: before };
    if part.start > 0 {
        input.skip_until(b'\n').map_err(unreadable)?;
    }
    let is_first = part.start == 0;
    Records::of(path, part.start, sink).read_lines(input, part, is_first)
}

/// A reader that knows where in the file it is.
struct Counted {
    input: Box<dyn BufRead + Send>,
    at: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount as u64;
        self.input.consume(amount);
    }
}

/// Lines of a text log that hold a JSON object behind a head of their own, as syslog writes them.
pub(super) fn in_text(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).is_ok_and(|line| line.contains(" {\"") && line.trim_end().ends_with('}'))
}

/// Hands the records of a file over.
struct Records<'a> {
    path: &'a Path,
    rows: rows::Lines,
    /// Of the record that was handed over last. No two records of a file have the same, in whatever parts it is read.
    number: u64,
    sink: &'a mut dyn Sink,
}

impl<'a> Records<'a> {
    fn of(path: &'a Path, number: u64, sink: &'a mut dyn Sink) -> Records<'a> {
        Records { path, rows: rows::Lines::of(path, sink), number, sink }
    }

    /// The lines that begin in a part; where no line can be before it, the first may be that of a document over several.
    fn read_lines(&mut self, mut input: Counted, part: Range<u64>, is_first: bool) -> Result<(), Problem> {
        let mut line = Vec::new();
        for count in 1u64.. {
            let place = || if part.start == 0 { format!("line {count}") } else { format!("line {count} behind byte {}", part.start) };
            let problem = |error: String| Problem::at(self.path, place(), error);
            if input.at >= part.end {
                return Ok(());
            }
            line.clear();
            let length = take_line(&mut input, &mut line).map_err(|error| problem(error.to_string()))?;
            if length == 0 {
                return Ok(());
            }
            if line.len() > LINE_LIMIT_BYTES {
                let done = line.ends_with(b"\n");
                let mut rest = Rest { input: &mut input, end: |bytes: &[u8]| memchr::memchr(b'\n', bytes).map(|at| at + 1), done };
                match self.read_long(std::mem::take(&mut line), &mut rest, &place()) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => self.sink.problem(Problem::at(self.path, place(), format!("a line of more than {} MiB: {error}", LINE_LIMIT_BYTES >> 20))),
                }
                std::io::copy(&mut rest, &mut std::io::sink()).map_err(|error| Problem::at(self.path, place(), error.to_string()))?;
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            // What stands before the object is the head of a syslog line.
            let start = if line.starts_with(b"{") { 0 } else { memchr::memmem::find(&line, b" {\"").unwrap_or(0) };
            match self.take(&line[start..], &place) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The first line of a document written over several lines.
                Err(error) if count == 1 && is_first && error.is_eof() => {
                    let rest = std::io::Cursor::new(std::mem::take(&mut line));
                    return self.read_document(rest.chain(input));
                }
                Err(error) => self.sink.problem(problem(format!("not JSON: {error}"))),
            }
        }
        Ok(())
    }

    /// The elements of an array behind its bracket, one in memory at a time. `false` when the sink wants no more.
    fn read_elements(&mut self, place: &str, input: &mut dyn BufRead) -> Result<bool, Problem> {
        let mut element = Vec::new();
        for count in 1u64.. {
            let place = || format!("{place} {count}");
            let path = self.path;
            let problem = |error: String| Problem::at(path, place(), error);
            let unreadable = |error: std::io::Error| problem(error.to_string());
            match next_token(input).map_err(unreadable)? {
                Some(b']') => {
                    input.consume(1);
                    return Ok(true);
                }
                Some(_) => {}
                None => return Err(problem("the file ends within its array".to_owned())),
            }
            let mut scan = Scan::default();
            element.clear();
            let mut rest = Rest { input: &mut *input, end: |bytes: &[u8]| scan.end(bytes), done: false };
            rest.add_to(&mut element, LINE_LIMIT_BYTES).map_err(unreadable)?;
            let goes_on = if element.len() < LINE_LIMIT_BYTES {
                self.take(element.trim_ascii_end(), &place).map_err(|error| problem(format!("not JSON: {error}")))
            } else {
                let goes_on = self.read_long(std::mem::take(&mut element), &mut rest, &place());
                std::io::copy(&mut rest, &mut std::io::sink()).map_err(unreadable)?;
                goes_on.map_err(|error| problem(format!("more than {} MiB: {error}", LINE_LIMIT_BYTES >> 20)))
            };
            let next = next_token(input).map_err(unreadable)?;
            match goes_on {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(problem) if next.is_none() => return Err(problem),
                Err(problem) => self.sink.problem(problem),
            }
            match next {
                Some(b',') => input.consume(1),
                Some(b'}') => return Err(problem("not JSON: a `}` that nothing opened".to_owned())),
                _ => {}
            }
        }
        Ok(true)
    }

    /// A record of any length, of which so much was read: only what it wraps is kept.
    fn read_long(&mut self, start: Vec<u8>, rest: &mut dyn Read, place: &str) -> serde_json::Result<bool> {
        let whole = std::io::Cursor::new(start).chain(rest);
        Document { records: self, place, whole: false }.read(&mut serde_json::Deserializer::from_reader(BufReader::new(whole)))
    }

    fn read_document(&mut self, input: impl Read) -> Result<(), Problem> {
        let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(input));
        for count in 1u64.. {
            // Only blanks may be left.
            if deserializer.end().is_ok() {
                return Ok(());
            }
            match (Document { records: self, place: &format!("document {count}"), whole: true }).read(&mut deserializer) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(Problem::at(self.path, format!("line {}", error.line()), format!("not JSON: {error}"))),
            }
        }
        Ok(())
    }

    /// Hands over a record, or those that it wraps. `false` when the sink wants no more.
    fn take(&mut self, record: &[u8], place: &dyn Fn() -> String) -> serde_json::Result<bool> {
        if !is_deep(record) {
            // What reads in place takes the bytes for text without a look.
            let read = std::str::from_utf8(record).ok().and_then(|record| {
                let event = event_json::line(record).or_else(|| winlogbeat::read(record)).map(Record::Event);
                event.or_else(|| self.rows.read(record, self.sink)).or_else(|| flat::read(record, self.number + 1).map(Record::Event))
            });
            if let Some(read) = read {
                self.number += 1;
                return Ok(self.sink.record(read));
            }
            if let Some((key, start)) = wrapper(record) {
                return self.take_elements(&record[start..], &|count| format!("{}, {key} {count}", place()));
            }
        }
        let value = serde_json::from_slice::<Value>(record)?;
        Ok(self.deliver(&place(), value))
    }

    /// The elements of an array behind its bracket, and of the object that wraps it the rest.
    fn take_elements(&mut self, array: &[u8], place: &dyn Fn(u64) -> String) -> serde_json::Result<bool> {
        let mut rest = array;
        for count in 1.. {
            rest = rest.trim_ascii_start();
            if rest.is_empty() || rest.starts_with(b"]") {
                break;
            }
            let (element, behind) = rest.split_at(Scan::default().end(rest).unwrap_or(rest.len()));
            match self.take(element.trim_ascii_end(), &|| place(count)) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if behind.is_empty() => return Err(error),
                Err(error) => self.sink.problem(Problem::at(self.path, place(count), format!("not JSON: {error}"))),
            }
            rest = behind;
            match behind.strip_prefix(b",") {
                Some(more) => rest = more,
                None => break,
            }
        }
        // What is left is the end of an object, as after its first key.
        serde_json::from_slice::<IgnoredAny>(&[b"{\"\":[", rest].concat()).map(|_| true)
    }
}

/// One line into `line`, or as much of it as is past the limit by a little.
pub(super) fn take_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut total = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(total);
        }
        let (used, done) = match memchr::memchr(b'\n', available) {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        line.extend_from_slice(&available[..used]);
        input.consume(used);
        total += used;
        if done || line.len() > LINE_LIMIT_BYTES {
            return Ok(total);
        }
    }
}

/// An object at the top: a record, or records in a wrapper, one of them in memory at a time.
struct Document<'r, 'a> {
    records: &'r mut Records<'a>,
    place: &'r str,
    /// Whether the object is kept, should it be a record.
    whole: bool,
}

impl<'de> Document<'_, '_> {
    /// `false` when the sink wants no more.
    fn read<R: serde_json::de::Read<'de>>(self, deserializer: &mut serde_json::Deserializer<R>) -> serde_json::Result<bool> {
        self.deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut record = serde_json::Map::new();
        let mut wrapped = false;
        while let Some(key) = map.next_key::<String>()? {
            if WRAPPERS.contains(&key.as_str()) {
                // What is no array is a field that is called so.
                match map.next_value_seed(Elements { records: &mut *self.records, place: &format!("{}, {key}", self.place) })? {
                    None => wrapped = true,
                    Some(value) => drop(record.insert(key, value)),
                }
            } else if self.whole {
                record.insert(key, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if wrapped {
            return Ok(true);
        }
        if !self.whole {
            return Err(serde::de::Error::custom("no record is that long"));
        }
        Ok(self.records.deliver(self.place, Value::Object(record)))
    }
}

/// The elements of an array, one in memory at a time; any other value is given back.
struct Elements<'r, 'a> {
    records: &'r mut Records<'a>,
    place: &'r str,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Option<Value>, A::Error> {
        let mut count = 0;
        while let Some(value) = elements.next_element::<Value>()? {
            count += 1;
            self.records.deliver(&format!("{} {count}", self.place), value);
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Value>, A::Error> {
        Value::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Value>, E> {
        Ok(Some(text.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(Some(Value::Null))
    }
}

/// So many records are looked at for columns that are left out.
const FIRST: u64 = 16;

impl Records<'_> {
    /// Hands over one JSON value: a record, or a wrapper around records. `false` when the sink wants no more.
    fn deliver(&mut self, place: &str, value: Value) -> bool {
        let path = self.path;
        let Value::Object(mut map) = value else {
            self.sink.problem(Problem::at(path, place, "a record is an object"));
            return true;
        };
        for envelope in ENVELOPES {
            if let Some(Value::Object(_)) = map.get(envelope) {
                let inner = map.remove(envelope).unwrap_or_default();
                return self.deliver(place, inner);
            }
        }
        // Elasticsearch's answers hold those in the `hits` of `hits`.
        if let Some(Value::Array(hits)) = map.get_mut("hits").and_then(|hits| hits.get_mut("hits")) {
            return std::mem::take(hits).into_iter().enumerate().all(|(at, hit)| self.deliver(&format!("{place}, hit {}", at + 1), hit));
        }
        // Of a table that is learned even an empty list is a value.
        let is_other = self.sink.is_learner() || self.sink.other(path).is_some();
        for wrapper in WRAPPERS {
            if let Some(Value::Array(inner)) = map.get_mut(wrapper)
                && inner.first().map_or(!is_other, Value::is_object)
            {
                return std::mem::take(inner).into_iter().enumerate().all(|(at, value)| self.deliver(&format!("{place}, {wrapper} {}", at + 1), value));
            }
        }
        if is_beside_the_answer(&map) {
            return true;
        }
        if let Some(rows) = rows_of_answer(&mut map) {
            return rows.enumerate().all(|(at, row)| self.deliver(&format!("{place}, row {}", at + 1), Value::Object(row)));
        }
        for key in map.keys().filter(|key| key.ends_with(']')).cloned().collect::<Vec<_>>() {
            match in_utc(&key) {
                Ok(name) if name != key && !map.contains_key(name) => {
                    let value = map.remove(&key).unwrap_or_default();
                    map.insert(name.to_owned(), value);
                }
                Ok(_) => {}
                Err(message) => self.sink.problem(Problem::at(path, place, message)),
            }
        }
        self.number += 1;
        if self.sink.is_learner() {
            return self.sink.learn(&map);
        }
        if let Some(table) = self.sink.other(path) {
            let (row, is_whole) = others::row(table, map);
            if !is_whole {
                self.sink.problem(Problem::at(path, place, others::TOO_MANY_COLUMNS));
            }
            return self.sink.record(Record::Row(row));
        }
        let timed = is_timed(&map);
        // The first records tell what columns their table has not.
        let columns = if self.number <= FIRST { columns_of(&map) } else { Vec::new() };
        match classify(map, self.number, path) {
            Ok(record) => {
                if let (Record::Row(row), false) = (&record, columns.is_empty()) {
                    self.sink.left_out(row.table, lacking(row.table, columns));
                }
                if timed && matches!(&record, Record::Row(row) if row.links.time_ticks == 0) {
                    self.sink.problem(Problem::at(path, place, NO_TIME));
                }
                self.sink.record(record)
            }
            Err(message) => {
                self.sink.problem(Problem::at(path, place, message));
                true
            }
        }
    }
}

/// Whether it is what Azure Data Explorer sends with an answer: a frame of its second version that is not the result, or one of
/// the tables of its first version behind the result, which is `Table_0`.
fn is_beside_the_answer(map: &serde_json::Map<String, Value>) -> bool {
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    match text("FrameType") {
        Some("DataSetHeader" | "DataSetCompletion") => true,
        Some("DataTable") => text("TableKind").is_some_and(|kind| kind != "PrimaryResult"),
        _ => map.contains_key("Rows") && text("TableName").and_then(|name| name.strip_prefix("Table_")).is_some_and(|number| number != "0"),
    }
}

/// The rows of a table as the query APIs of Log Analytics and Azure Data Explorer answer: the columns once, then a list of values a row.
fn rows_of_answer(map: &mut serde_json::Map<String, Value>) -> Option<impl Iterator<Item = serde_json::Map<String, Value>> + use<>> {
    let [columns, rows] = if map.contains_key("columns") { ["columns", "rows"] } else { ["Columns", "Rows"] };
    let (Some(Value::Array(columns)), Some(Value::Array(_))) = (map.get(columns), map.get(rows)) else { return None };
    let name = |column: &Value| Some(column.get("name").or_else(|| column.get("ColumnName"))?.as_str()?.to_owned());
    let names: Vec<String> = columns.iter().map(name).collect::<Option<_>>()?;
    let Some(Value::Array(rows)) = map.remove(rows) else { return None };
    let values = |row: Value| if let Value::Array(values) = row { values } else { Vec::new() };
    Some(rows.into_iter().map(move |row| names.iter().cloned().zip(values(row)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[derive(Default)]
    struct Numbers(Vec<u64>, Vec<String>);

    impl Sink for Numbers {
        fn wants(&self, _: &crate::event::Event) -> bool {
            true
        }
        fn record(&mut self, record: Record) -> bool {
            let Record::Event(event) = record else { panic!("an event") };
            self.0.push(event.event_id.into());
            true
        }
        fn problem(&mut self, problem: Problem) {
            self.1.push(problem.to_string());
        }
        fn carves(&self) -> bool {
            false
        }
        fn parquet(&mut self, _: PathBuf) {}
    }

    #[test]
    fn every_line_is_in_one_part() {
        let lines: String =
            (1..=40).map(|id| format!("{{\"EventID\":{id},\"Channel\":\"c\",\"Text\":\"{}\"}}\n{}", "x".repeat(id % 7), if id % 9 == 0 { "\n" } else { "" })).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.json");
        std::fs::write(&path, lines.trim_end()).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        for part_bytes in [1, 2, 7, 50, 51, 333, length, length + 1] {
            let mut sink = Numbers::default();
            cut(length, part_bytes).into_iter().for_each(|part| read_part(&path, File::open(&path).unwrap(), part, &mut sink).unwrap());
            assert_eq!(sink.0, (1..=40).collect::<Vec<u64>>(), "parts of {part_bytes} bytes");
            assert!(sink.1.is_empty(), "{:?}", sink.1);
        }
    }
}
