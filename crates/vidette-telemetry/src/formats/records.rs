//! Where the records of a chunk stand. Format: libyal, "Windows XML Event Log (EVTX) format".

use super::values::Cursor;
use std::ops::Range;

pub(crate) const FILE_HEADER_BYTES: usize = 4096;
pub(crate) const CHUNK_BYTES: usize = 65_536;
pub(crate) const CHUNK_HEADER_BYTES: usize = 512;
pub(super) const CHUNK_MAGIC: &[u8] = b"ElfChnk\0";

const LAST_ID_AT: usize = 32;
const FREE_SPACE_AT: usize = 48;
const RECORD_MAGIC: u32 = 0x2a2a;
/// The magic, the size, the id and the time.
const RECORD_HEADER_BYTES: usize = 24;
/// A copy of the size.
const RECORD_END_BYTES: usize = 4;
/// Times beyond the year 9998 are damage.
const LAST_TIME: u64 = 2_650_000_000_000_000_000;

/// The records of a chunk, up to the first that is damaged: their ids, and where their BinXml stands.
pub(super) struct Records<'c> {
    chunk: &'c [u8],
    at: usize,
    ended: bool,
}

impl Records<'_> {
    pub fn new(chunk: &[u8]) -> Records<'_> {
        Records { chunk, at: CHUNK_HEADER_BYTES, ended: false }
    }

    /// Whether the last one was read, or where the next would stand is free.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn record(&mut self) -> Option<(u64, Range<usize>)> {
        let read = |at: usize| Cursor { chunk: self.chunk, at };
        let free = read(FREE_SPACE_AT).u32()? as usize;
        if self.at >= free.min(self.chunk.len()) {
            self.ended = true;
            return None;
        }
        let mut header = read(self.at);
        let (magic, size, id, time) = (header.u32()?, header.u32()? as usize, header.u64()?, header.u64()?);
        let end = self.at.checked_add(size)?;
        let part = header.at..end.checked_sub(RECORD_END_BYTES)?;
        if magic != RECORD_MAGIC || time > LAST_TIME || size < RECORD_HEADER_BYTES + RECORD_END_BYTES || part.end > self.chunk.len() {
            return None;
        }
        self.ended = read(LAST_ID_AT).u64() == Some(id);
        self.at = end;
        Some((id, part))
    }
}

impl Iterator for Records<'_> {
    type Item = (u64, Range<usize>);

    fn next(&mut self) -> Option<(u64, Range<usize>)> {
        if self.ended { None } else { self.record() }
    }
}
