//! JSON: a value per line, or arrays. What a record is, is told in `shapes`.

use super::shapes::classify;
use super::{Record, Sink, winlogbeat};
use crate::error::Problem;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value;
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

/// Lines of a text log that hold a JSON object behind a head of their own, as syslog writes them.
pub(super) fn in_text(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).is_ok_and(|line| line.contains(" {\"") && line.trim_end().ends_with('}'))
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
        // What stands before the object is the head of a syslog line.
        let start = if line.starts_with(b"{") { 0 } else { memchr::memmem::find(&line, b" {\"").unwrap_or(0) };
        if let Some(event) = winlogbeat::read(&line[start..]) {
            if !sink.record(Record::Event(event)) {
                return Ok(());
            }
            continue;
        }
        match serde_json::from_slice::<Value>(&line[start..]) {
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
    // Splunk's exports put each record into a `result`.
    if let Some(Value::Object(_)) = map.get("result") {
        let inner = map.remove("result").unwrap_or_default();
        return deliver(path, place, number, inner, sink);
    }
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
