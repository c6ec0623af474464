//! Windows event logs, a chunk of 64 KiB at a time: memory does not depend on the size of the file.
//!
//! A broken chunk or record is named and skipped. Events no table takes are told from their first bytes.

use super::{Record, Sink, event_json};
use crate::error::Problem;
use evtx::{EvtxChunkData, ParserSettings};
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

const HEADER_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 65_536;

pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut header = vec![0; HEADER_BYTES];
    input.read_exact(&mut header).map_err(|_| Problem::file(path, "the file ends within its header"))?;
    let settings = Arc::new(ParserSettings::new().num_threads(1).separate_json_attributes(false).indent(false));
    for number in 0u64.. {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = read_full(&mut input, &mut chunk).map_err(|error| Problem::at(path, format!("chunk {number}"), error.to_string()))?;
        if length == 0 {
            return Ok(());
        }
        if chunk[..length].iter().all(|byte| *byte == 0) {
            // Space that was set aside and never written.
            continue;
        }
        let place = || format!("chunk {number} at offset {:#x}", HEADER_BYTES as u64 + number * CHUNK_BYTES as u64);
        if length < CHUNK_BYTES {
            sink.problem(Problem::at(path, place(), format!("the file ends within the chunk ({length} of {CHUNK_BYTES} bytes)")));
        }
        if !chunk.starts_with(b"ElfChnk\0") {
            sink.problem(Problem::at(path, place(), "not a chunk"));
            continue;
        }
        let mut data = match EvtxChunkData::new(chunk, false) {
            Ok(data) => data,
            Err(error) => {
                sink.problem(Problem::at(path, place(), error.to_string()));
                continue;
            }
        };
        let mut parsed = match data.parse(settings.clone()) {
            Ok(parsed) => parsed,
            Err(error) => {
                sink.problem(Problem::at(path, place(), error.to_string()));
                continue;
            }
        };
        for record in parsed.iter() {
            let rendered = record.and_then(|record| record.into_json_bytes());
            match rendered {
                Ok(record) => {
                    if !deliver(path, record.event_record_id, &record.data, sink) {
                        return Ok(());
                    }
                }
                Err(error) => sink.problem(Problem::at(path, place(), error.to_string())),
            }
        }
    }
    Ok(())
}

fn deliver(path: &Path, id: u64, json: &[u8], sink: &mut dyn Sink) -> bool {
    match event_json::read(json, &|event| sink.wants(event)) {
        Ok(mut event) => {
            if event.record_id == 0 {
                event.record_id = id;
            }
            sink.record(Record::Event(event))
        }
        Err(message) => {
            sink.problem(Problem::at(path, format!("record {id}"), message));
            true
        }
    }
}

fn read_full(input: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
