//! Files to records: what a file is, is told from its first bytes. Each format has a file of its own.

mod archives;
mod audit;
mod cloudtrail;
mod collected;
mod csv;
mod cuts;
mod elements;
mod event_json;
mod event_xml;
mod evtx;
mod flat;
mod json;
mod others;
mod parquet;
mod records;
mod rendered;
mod rows;
mod shapes;
mod template;
mod values;
mod winlogbeat;
mod zeek;

pub(crate) use event_xml::data_of_xml;
pub use others::{learn, learn_more_columns, other_table};
pub use parquet::{Footer, is_parquet, table_of_parquet};
pub(crate) use records::{CHUNK_BYTES, CHUNK_HEADER_BYTES, FILE_HEADER_BYTES};
pub(crate) use shapes::data_of_json;
pub(crate) use values::kind;

use crate::error::Problem;
use crate::event::Event;
use crate::row::Row;
use crate::schemas::TableSchema;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What one record of a file turned out to be.
pub enum Record<'a> {
    Event(Event<'a>),
    Row(Row),
    /// An event that no table takes: a line of another of Zeek's logs.
    Other,
}

/// Where records and problems go.
pub trait Sink {
    /// Whether a table takes the event, by its system part. The data of one that none takes need not be read.
    fn wants(&self, event: &Event) -> bool;
    /// `false` stops the reading.
    fn record(&mut self, record: Record) -> bool;
    fn problem(&mut self, problem: Problem);
    /// Whether deleted records are looked for.
    fn carves(&self) -> bool;
    /// A Parquet file: queries read it directly.
    fn parquet(&mut self, path: PathBuf);

    /// Whether it wants the rows of such a file itself, as [`Sink::record`]s.
    fn reads_parquet(&self) -> bool {
        false
    }

    /// Whether the events that its rows were are asked for, `stored` of those that have become rows before.
    fn wants_exported(&self, _stored: bool) -> bool {
        false
    }

    /// Takes such a row; `false` stops the reading.
    fn exported(&mut self, _row: &Row, _stored: bool) -> bool {
        true
    }

    /// The table whose rows a file holds that is of no known one.
    fn other(&self, _path: &Path) -> Option<&'static TableSchema> {
        None
    }

    /// Which columns of rows of a table are asked for, by their places; all, when it does not say.
    fn reads(&self, _table: &'static TableSchema) -> Option<&[bool]> {
        None
    }

    /// Takes note of columns that a file has and the table of its rows has not.
    fn left_out(&mut self, _table: &'static TableSchema, _columns: Vec<String>) {}

    /// Whether it only learns what columns there are.
    fn is_learner(&self) -> bool {
        false
    }

    /// Takes note of a record; `false` stops the reading.
    fn learn(&mut self, _record: &Map<String, Value>) -> bool {
        true
    }

    /// The same of a record of texts, some of these columns.
    fn learn_texts(&mut self, _columns: &[String], _record: &mut dyn Iterator<Item = &str>) -> bool {
        true
    }

    /// Whether it learns of records of a known table, too.
    fn learns_known(&self) -> bool {
        false
    }
}

/// Reads a whole stream into the sink; an error means that the stream as such is unreadable.
type Reader = fn(&Path, Box<dyn BufRead + Send>, &mut dyn Sink) -> Result<(), Problem>;

/// An input format, and how its first bytes look.
struct Format {
    name: &'static str,
    recognizes: fn(&[u8]) -> bool,
    read: Reader,
}

/// One row per format, in the order they are tried.
const FORMATS: &[Format] = &[
    Format { name: "evtx", recognizes: |head| head.starts_with(b"ElfFile\0"), read: evtx::read },
    Format { name: "gzip", recognizes: |head| head.starts_with(&[0x1f, 0x8b]), read: archives::read_gzip },
    Format { name: "zstd", recognizes: |head| head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), read: archives::read_zstd },
    Format { name: "bzip2", recognizes: |head| head.starts_with(b"BZh"), read: archives::read_bzip2 },
    Format { name: "xz", recognizes: |head| head.starts_with(b"\xfd7zXZ\0"), read: archives::read_xz },
    Format { name: "zip", recognizes: |head| head.starts_with(b"PK\x03\x04"), read: archives::read_zip },
    Format { name: "tar", recognizes: |head| head.get(257..262) == Some(b"ustar"), read: archives::read_tar },
    Format { name: "7z", recognizes: |head| head.starts_with(b"7z\xbc\xaf\x27\x1c"), read: archives::read_7z },
    Format { name: "utf16", recognizes: is_utf16, read: read_utf16 },
    Format { name: "json", recognizes: |head| matches!(first_text(head), Some(b'{' | b'[')), read: json::read },
    Format { name: "zeek", recognizes: zeek::recognizes, read: zeek::read },
    Format { name: "csv", recognizes: |head| csv::looks_like_header(head), read: csv::read },
    Format { name: "xml", recognizes: event_xml::recognizes, read: event_xml::read },
    Format { name: "text", recognizes: rendered::recognizes, read: rendered::read },
    Format { name: "syslog", recognizes: json::in_text, read: json::read },
];

/// The name of the format that the first bytes show.
pub fn recognize(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"PAR1") {
        return Some("parquet");
    }
    FORMATS.iter().find(|format| (format.recognizes)(head)).map(|format| format.name)
}

/// What one reader takes of a file at a time.
#[derive(Clone)]
pub(crate) enum Part {
    /// Chunks of EVTX, by number.
    Chunks(Range<u64>),
    /// The lines of JSON that begin in these bytes.
    Lines(Range<u64>),
    /// Records of CSV.
    Records(cuts::RecordPart),
    /// The same of CSV whose header has no known names.
    Others(cuts::RecordPart),
}

/// Shorter files of text are read as a whole.
const LEAST_SPLIT_BYTES: u64 = 16 << 20;

/// The parts in which a file is best read side by side. None for a file that is read as a whole.
pub(crate) fn parts_of(path: &Path) -> Vec<Part> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let Ok(length_bytes) = file.metadata().map(|meta| meta.len()) else { return Vec::new() };
    let is_long = length_bytes >= LEAST_SPLIT_BYTES;
    let mut head = Vec::new();
    if (&file).take(if is_long { 1 << 16 } else { 8 }).read_to_end(&mut head).is_err() {
        return Vec::new();
    }
    match recognize(&head) {
        Some("evtx") => evtx::parts(length_bytes).into_iter().map(Part::Chunks).collect(),
        _ if !is_long || file.rewind().is_err() => Vec::new(),
        Some("json") => json::parts(file, length_bytes).into_iter().map(Part::Lines).collect(),
        Some("csv") => cuts::parts(path, length_bytes).into_iter().map(Part::Records).collect(),
        None if is_table(&head) => cuts::parts(path, length_bytes).into_iter().map(Part::Others).collect(),
        _ => Vec::new(),
    }
}

/// Whether it may be CSV whose columns are of no known table.
fn is_table(head: &[u8]) -> bool {
    std::str::from_utf8(&head[..head.len().min(64)]).is_ok_and(|head| head.contains(','))
}

/// The path that stands for the standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

/// Reads a file of any known format into the sink, or the part of it that [`parts_of`] gave.
///
/// # Errors
/// When the file cannot be opened or is of no known format. Broken records are problems of their own.
pub(crate) fn read_file(path: &Path, part: Option<&Part>, sink: &mut dyn Sink) -> Result<(), Problem> {
    if path == Path::new(STANDARD_INPUT) {
        return read_stream(path, Box::new(BufReader::with_capacity(1 << 16, std::io::stdin())), sink);
    }
    let file = File::open(path).map_err(|error| Problem::file(path, error.to_string()))?;
    match part {
        Some(Part::Chunks(chunks)) => return evtx::read_chunks(path, file, chunks.clone(), sink),
        Some(Part::Lines(lines)) => return json::read_part(path, file, lines.clone(), sink),
        Some(Part::Others(records)) if !(sink.is_learner() || sink.other(path).is_some()) => {
            return if records.is_first() { Err(Problem::unknown(path)) } else { Ok(()) };
        }
        Some(Part::Records(records) | Part::Others(records)) => return csv::read_part(path, file, records, sink),
        None => {}
    }
    let mut input = BufReader::with_capacity(1 << 16, file);
    let head = input.fill_buf().map_err(|error| Problem::file(path, error.to_string()))?;
    if head.starts_with(b"PAR1") {
        return parquet::read(path, sink);
    }
    read_stream(path, Box::new(input), sink)
}

fn read_stream(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let head = input.fill_buf().map_err(|error| Problem::file(path, error.to_string()))?;
    if head.is_empty() {
        return Err(Problem::file(path, "the file is empty"));
    }
    match FORMATS.iter().find(|format| (format.recognizes)(head)) {
        Some(format) => (format.read)(path, input, sink),
        // Any names may head the columns of a file that is a table of its own.
        None if (sink.is_learner() || sink.other(path).is_some()) && is_table(head) => csv::read(path, input, sink),
        None => Err(Problem::unknown(path)),
    }
}

/// With its byte order mark, or as JSON or XML without one.
fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) || matches!(head, [b'{' | b'[' | b'<', 0, _, 0, ..])
}

fn read_utf16(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let marked = input.fill_buf().is_ok_and(|head| matches!(head.first(), Some(0xff | 0xfe)));
    let mut builder = encoding_rs_io::DecodeReaderBytesBuilder::new();
    if !marked {
        builder.encoding(Some(encoding_rs::UTF_16LE));
    }
    let mut text = builder.build(input);
    // The decoder gives its first bytes one by one; the format is told from more of them.
    let mut head = Vec::new();
    (&mut text).take(1 << 12).read_to_end(&mut head).map_err(|error| Problem::file(path, error.to_string()))?;
    // A mark with nothing behind it comes out as it went in, and must not come round again.
    if is_utf16(&head) {
        return Err(Problem::file(path, "UTF-16 that holds no text"));
    }
    read_stream(path, Box::new(BufReader::with_capacity(1 << 16, std::io::Cursor::new(head).chain(text))), sink)
}

/// The first byte that is not a blank or part of a byte order mark.
fn first_text(head: &[u8]) -> Option<u8> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    head.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}
