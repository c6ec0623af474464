//! Windows event logs, a chunk of 64 KiB at a time: memory does not depend on the size of the file.
//!
//! A broken chunk or record is named and skipped. Events no table takes are told from their first bytes.

use super::template::Templates;
use super::{Record, Sink, event_json, template};
use crate::error::Problem;
use crate::event::Event;
use bumpalo::Bump;
use evtx::{EvtxChunkData, EvtxRecord, ParserSettings};
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const HEADER_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 65_536;

/// Chunks that one reader takes at a time.
const PART_CHUNKS: u64 = 64;

/// The chunks of a file of this length, in parts; the last has no end, for what stands behind the last whole chunk.
pub(super) fn parts(length_bytes: u64) -> Vec<Range<u64>> {
    let chunks = length_bytes.saturating_sub(HEADER_BYTES as u64) / CHUNK_BYTES as u64;
    let parts = chunks.div_ceil(PART_CHUNKS);
    (0..parts).map(|part| part * PART_CHUNKS..if part + 1 == parts { u64::MAX } else { (part + 1) * PART_CHUNKS }).collect()
}

pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut header = vec![0; HEADER_BYTES];
    input.read_exact(&mut header).map_err(|_| Problem::file(path, "the file ends within its header"))?;
    read_range(path, &mut input, 0..u64::MAX, sink)
}

pub(super) fn read_chunks(path: &Path, mut file: File, chunks: Range<u64>, sink: &mut dyn Sink) -> Result<(), Problem> {
    file.seek(SeekFrom::Start(HEADER_BYTES as u64 + chunks.start * CHUNK_BYTES as u64)).map_err(|error| Problem::file(path, error.to_string()))?;
    read_range(path, &mut file, chunks, sink)
}

fn read_range(path: &Path, input: &mut dyn Read, chunks: Range<u64>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let settings = Arc::new(ParserSettings::new().num_threads(1).separate_json_attributes(false).indent(false).recover_records(sink.carves()));
    let mut space = Space::default();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    for number in chunks {
        chunk.clear();
        let length = input.take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map_err(|error| Problem::at(path, format!("chunk {number}"), error.to_string()))?;
        if length == 0 {
            return Ok(());
        }
        if chunk.iter().all(|byte| *byte == 0) {
            // Space that was set aside and never written.
            continue;
        }
        let place = || format!("chunk {number} at offset {:#x}", HEADER_BYTES as u64 + number * CHUNK_BYTES as u64);
        if length < CHUNK_BYTES {
            sink.problem(Problem::at(path, place(), format!("the file ends within the chunk ({length} of {CHUNK_BYTES} bytes)")));
            chunk.resize(CHUNK_BYTES, 0);
        }
        if !chunk.starts_with(MAGIC) {
            sink.problem(Problem::at(path, place(), "not a chunk"));
            continue;
        }
        let (going, unusual) = read_usual(&chunk, &mut space, sink);
        if !going {
            return Ok(());
        }
        if let Some(unusual) = unusual
            && !read_unusual(path, &chunk, &unusual, &settings, &place, sink)
        {
            return Ok(());
        }
    }
    Ok(())
}

const MAGIC: &[u8] = b"ElfChnk\0";

/// Memory for what is read, used again and again.
#[derive(Default)]
struct Space {
    texts: Bump,
    event: Bump,
}

/// The records of a chunk that the crate `evtx` is to read.
struct Unusual {
    /// Among the first, those at these places.
    among: Vec<usize>,
    /// And all from this place on.
    from: usize,
}

/// Reads the records whose templates tell all, the others are told; whether to go on.
fn read_usual(chunk: &[u8], space: &mut Space, sink: &mut dyn Sink) -> (bool, Option<Unusual>) {
    if sink.carves() {
        return (true, Some(Unusual { among: Vec::new(), from: 0 }));
    }
    space.texts.reset();
    let mut templates = Templates::new(chunk, &space.texts);
    let mut records = Records::new(chunk);
    let (mut among, mut count) = (Vec::new(), 0);
    for (id, part) in &mut records {
        space.event.reset();
        match template::read(part, &mut templates, &space.event, &|event| sink.wants(event)) {
            Some(event) => {
                if !hand_over(event, id, sink) {
                    return (false, None);
                }
            }
            None => among.push(count),
        }
        count += 1;
    }
    let all = among.is_empty() && records.ended;
    (true, (!all).then_some(Unusual { among, from: if records.ended { usize::MAX } else { count } }))
}

/// The records of a chunk, up to the first that is damaged: their ids, and where their BinXml stands.
struct Records<'c> {
    chunk: &'c [u8],
    at: usize,
    /// The last one was read, or where the next would stand is free.
    ended: bool,
}

impl Records<'_> {
    fn new(chunk: &[u8]) -> Records<'_> {
        const CHUNK_HEADER_BYTES: usize = 512;
        Records { chunk, at: CHUNK_HEADER_BYTES, ended: false }
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.chunk.get(at..)?.first_chunk()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.chunk.get(at..)?.first_chunk()?))
    }

    fn record(&mut self) -> Option<(u64, Range<usize>)> {
        const LAST_ID_AT: usize = 32;
        const FREE_SPACE_AT: usize = 48;
        const RECORD_MAGIC: u32 = 0x2a2a;
        const RECORD_HEADER_BYTES: usize = 24;
        /// A copy of the size.
        const RECORD_END_BYTES: usize = 4;
        /// Times beyond the year 9998 are damage.
        const LAST_TIME: u64 = 2_650_000_000_000_000_000;
        if self.at >= (self.u32(FREE_SPACE_AT)? as usize).min(self.chunk.len()) {
            self.ended = true;
            return None;
        }
        let size = self.u32(self.at + 4)? as usize;
        let id = self.u64(self.at + 8)?;
        let end = self.at.checked_add(size)?;
        let whole = self.u32(self.at)? == RECORD_MAGIC
            && self.u64(self.at + 16)? < LAST_TIME
            && size >= RECORD_HEADER_BYTES + RECORD_END_BYTES
            && end - RECORD_END_BYTES <= self.chunk.len();
        if !whole {
            return None;
        }
        let part = self.at + RECORD_HEADER_BYTES..end - RECORD_END_BYTES;
        self.at = end;
        self.ended = Some(id) == self.u64(LAST_ID_AT);
        Some((id, part))
    }
}

impl Iterator for Records<'_> {
    type Item = (u64, Range<usize>);

    fn next(&mut self) -> Option<(u64, Range<usize>)> {
        if self.ended { None } else { self.record() }
    }
}

/// Reads records by the crate `evtx`: it knows every shape, and finds whole records behind damaged ones. Whether to go on.
fn read_unusual(path: &Path, chunk: &[u8], unusual: &Unusual, settings: &Arc<ParserSettings>, place: &dyn Fn() -> String, sink: &mut dyn Sink) -> bool {
    let mut data = match EvtxChunkData::new(chunk.to_vec(), false) {
        Ok(data) => data,
        Err(error) => {
            sink.problem(Problem::at(path, place(), error.to_string()));
            return true;
        }
    };
    let mut parsed = match data.parse(settings.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            sink.problem(Problem::at(path, place(), error.to_string()));
            return true;
        }
    };
    for (at, record) in parsed.iter().enumerate() {
        if at < unusual.from && unusual.among.binary_search(&at).is_err() {
            continue;
        }
        let going = match record {
            Ok(record) => deliver(path, record, sink),
            Err(error) => {
                sink.problem(Problem::at(path, place(), error.to_string()));
                true
            }
        };
        if !going {
            return false;
        }
    }
    true
}

fn deliver(path: &Path, record: EvtxRecord, sink: &mut dyn Sink) -> bool {
    let id = record.event_record_id;
    let read = match record.into_json_bytes() {
        Ok(json) => event_json::read(&json.data, &|event| sink.wants(event)).map(|event| hand_over(event, id, sink)),
        Err(error) => Err(error.to_string()),
    };
    read.unwrap_or_else(|message| {
        sink.problem(Problem::at(path, format!("record {id}"), message));
        true
    })
}

fn hand_over(mut event: Event, id: u64, sink: &mut dyn Sink) -> bool {
    if event.record_id == 0 {
        event.record_id = id;
    }
    sink.record(Record::Event(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evtx_files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                evtx_files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "evtx") {
                found.push(path);
            }
        }
    }

    /// What a template says of a record is what the record's JSON says. `VIDETTE_EVTX` names a folder with more logs.
    #[test]
    fn templates_and_json_give_the_same_events() {
        let mut files = Vec::new();
        let folder = tempfile::tempdir().expect("a folder");
        let event = |id: u32| Event {
            provider: "Provider".into(),
            event_id: id,
            keywords: "0x80".into(),
            channel: "C".into(),
            computer: "h".into(),
            created_ticks: Some(639_086_400_000_000_000),
            data: vec![("One".into(), "a \"b\" <c> ü 😀".into()), ("Two".into(), "".into())],
            ..Event::default()
        };
        let events: Vec<Event> = (0..100).map(event).collect();
        std::fs::write(folder.path().join("written.evtx"), crate::write_evtx(&events).expect("short events")).expect("a file");
        evtx_files(folder.path(), &mut files);
        if let Some(folder) = std::env::var_os("VIDETTE_EVTX") {
            evtx_files(Path::new(&folder), &mut files);
        }
        let (mut compared, mut unusual) = (0, 0);
        for file in &files {
            let bytes = std::fs::read(file).expect("a file");
            for chunk in bytes.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(CHUNK_BYTES) {
                let Ok(mut data) = EvtxChunkData::new(chunk.to_vec(), false) else { continue };
                let Ok(mut parsed) = data.parse(Arc::new(ParserSettings::new().num_threads(1))) else { continue };
                let texts = Bump::new();
                let mut templates = Templates::new(chunk, &texts);
                for record in parsed.iter().flatten() {
                    let bump = Bump::new();
                    let Ok(json) = record.clone().into_json_bytes() else { continue };
                    let Ok(mut expected) = event_json::read(&json.data, &|_| true) else { continue };
                    // JSON numbers the names that repeat.
                    let names: Vec<String> = expected.data.iter().map(|(name, _)| name.to_string()).collect();
                    for (name, _) in &mut expected.data {
                        if let Some((plain, _)) = name.rsplit_once('_').filter(|(plain, number)| number.parse::<u32>().is_ok() && names.iter().any(|name| name == plain)) {
                            *name = plain.to_owned().into();
                        }
                    }
                    let start = record.binxml_offset as usize;
                    match template::read(start..start + record.binxml_size as usize, &mut templates, &bump, &|_| true) {
                        Some(event) => assert_eq!(event, expected, "{} {}", file.display(), String::from_utf8_lossy(&json.data)),
                        None => unusual += 1,
                    }
                    compared += 1;
                }
            }
        }
        assert!(compared >= 100 && unusual * 10 <= compared, "{unusual} of {compared}");
        println!("{unusual} of {compared} records are unusual");
    }
}
