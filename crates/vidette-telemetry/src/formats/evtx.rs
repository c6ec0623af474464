//! Windows event logs, a chunk of 64 KiB at a time: memory does not depend on the size of the file.
//!
//! A broken chunk or record is named and skipped. Events no table takes are told from their first bytes.

use super::records::{CHUNK_BYTES, CHUNK_MAGIC, FILE_HEADER_BYTES, Records};
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

/// Chunks that one reader takes at a time.
const PART_CHUNKS: u64 = 64;

/// The chunks of a file of this length, in parts; the last has no end, for what stands behind the last whole chunk.
pub(super) fn parts(length_bytes: u64) -> Vec<Range<u64>> {
    let chunks = length_bytes.saturating_sub(FILE_HEADER_BYTES as u64) / CHUNK_BYTES as u64;
    let parts = chunks.div_ceil(PART_CHUNKS);
    (0..parts).map(|part| part * PART_CHUNKS..if part + 1 == parts { u64::MAX } else { (part + 1) * PART_CHUNKS }).collect()
}

pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut header = vec![0; FILE_HEADER_BYTES];
    input.read_exact(&mut header).map_err(|_| Problem::file(path, "the file ends within its header"))?;
    read_range(path, &mut input, 0..u64::MAX, sink)
}

pub(super) fn read_chunks(path: &Path, mut file: File, chunks: Range<u64>, sink: &mut dyn Sink) -> Result<(), Problem> {
    file.seek(SeekFrom::Start(FILE_HEADER_BYTES as u64 + chunks.start * CHUNK_BYTES as u64)).map_err(|error| Problem::file(path, error.to_string()))?;
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
        let place = || format!("chunk {number} at offset {:#x}", FILE_HEADER_BYTES as u64 + number * CHUNK_BYTES as u64);
        if length < CHUNK_BYTES {
            sink.problem(Problem::at(path, place(), format!("the file ends within the chunk ({length} of {CHUNK_BYTES} bytes)")));
            chunk.resize(CHUNK_BYTES, 0);
        }
        if !chunk.starts_with(CHUNK_MAGIC) {
            sink.problem(Problem::at(path, place(), "not a chunk"));
            continue;
        }
        let Some(left) = read_usual(&chunk, &mut space, sink) else { return Ok(()) };
        if !left.is_nothing() && !read_unusual(path, &chunk, &left, &settings, &place, sink) {
            return Ok(());
        }
    }
    Ok(())
}

/// Memory for what is read, used again and again.
#[derive(Default)]
struct Space {
    texts: Bump,
    event: Bump,
}

/// The records of a chunk that are left to the crate `evtx`.
#[derive(Default)]
struct Left {
    /// Their places among the first.
    among: Vec<usize>,
    /// And all from this place on.
    from: Option<usize>,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.among.is_empty() && self.from.is_none()
    }

    fn has(&self, place: usize) -> bool {
        self.from.is_some_and(|from| place >= from) || self.among.binary_search(&place).is_ok()
    }
}

/// Reads the records whose templates tell all; `None` when no more are wanted.
fn read_usual(chunk: &[u8], space: &mut Space, sink: &mut dyn Sink) -> Option<Left> {
    let mut left = Left::default();
    if sink.carves() {
        left.from = Some(0);
        return Some(left);
    }
    space.texts.reset();
    let mut templates = Templates::new(chunk, &space.texts);
    let mut records = Records::new(chunk);
    let mut count = 0;
    for (id, part) in &mut records {
        space.event.reset();
        match template::read(part, &mut templates, &space.event, &|event| sink.wants(event)) {
            Some(event) => hand_over(event, id, sink).then_some(())?,
            None => left.among.push(count),
        }
        count += 1;
    }
    left.from = (!records.ended()).then_some(count);
    Some(left)
}

/// Reads records by the crate `evtx`: it knows every shape, and finds whole records behind damaged ones. Whether to go on.
fn read_unusual(path: &Path, chunk: &[u8], left: &Left, settings: &Arc<ParserSettings>, place: &dyn Fn() -> String, sink: &mut dyn Sink) -> bool {
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
    for (_, record) in parsed.iter().enumerate().filter(|(place, _)| left.has(*place)) {
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
            for chunk in bytes.get(FILE_HEADER_BYTES..).unwrap_or_default().chunks_exact(CHUNK_BYTES) {
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
