//! Windows events as an EVTX file that Windows and other tools read: for simulated telemetry, and for tests.
//!
//! Every event of one provider, id and list of names shares a template of its chunk; data are texts. Format: Microsoft,
//! MS-EVEN6, "BinXml", and libyal's "Windows XML Event Log (EVTX) format".

use crate::event::{Event, FILETIME_EPOCH_TICKS};
use crate::formats::kind::{FILETIME, HEX64, STRING, UINT8, UINT16, UINT32, UINT64};
use crate::formats::{CHUNK_BYTES, CHUNK_HEADER_BYTES, FILE_HEADER_BYTES};
use evtx::checksum_ieee;
use std::collections::HashMap;

const FRAGMENT: [u8; 4] = [0x0f, 1, 1, 0];

/// The bytes of a log with these events, in their order. Record ids are counted from 1.
///
/// # Errors
/// The number of an event that is longer than a chunk.
pub fn write_evtx(events: &[Event]) -> Result<Vec<u8>, usize> {
    let mut file = vec![0; FILE_HEADER_BYTES];
    let mut chunk = Chunk::new(1);
    let mut chunks = 0u64;
    for (at, event) in events.iter().enumerate() {
        let id = at as u64 + 1;
        let before = chunk.clone();
        chunk.record(event, id);
        if chunk.bytes.len() > CHUNK_BYTES {
            file.extend(before.finish());
            chunks += 1;
            chunk = Chunk::new(id);
            chunk.record(event, id);
            if chunk.bytes.len() > CHUNK_BYTES {
                return Err(at);
            }
        }
    }
    file.extend(chunk.finish());
    chunks += 1;
    let header: Vec<u8> = [
        b"ElfFile\0".as_slice(),
        &0u64.to_le_bytes(),
        &(chunks - 1).to_le_bytes(),
        &(events.len() as u64 + 1).to_le_bytes(),
        &128u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        &3u16.to_le_bytes(),
        &(FILE_HEADER_BYTES as u16).to_le_bytes(),
        &(chunks as u16).to_le_bytes(),
    ]
    .concat();
    file[..header.len()].copy_from_slice(&header);
    let checksum = checksum_ieee(&file[..120]);
    file[124..128].copy_from_slice(&checksum.to_le_bytes());
    Ok(file)
}

/// A value of a template: where it stands is in the template, what it is beside it.
struct Value {
    ty: u8,
    bytes: Vec<u8>,
}

#[derive(Clone)]
struct Chunk {
    bytes: Vec<u8>,
    first: u64,
    last: u64,
    last_offset: usize,
    /// Where each name stands.
    names: HashMap<String, u32>,
    name_table: [u32; 64],
    templates: HashMap<String, u32>,
    template_table: [u32; 32],
}

impl Chunk {
    fn new(first: u64) -> Chunk {
        Chunk {
            bytes: vec![0; CHUNK_HEADER_BYTES],
            first,
            last: first,
            last_offset: CHUNK_HEADER_BYTES,
            names: HashMap::new(),
            name_table: [0; 64],
            templates: HashMap::new(),
            template_table: [0; 32],
        }
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn utf16(&mut self, text: &str) -> u16 {
        let units: Vec<u16> = text.encode_utf16().collect();
        self.u16(units.len() as u16);
        units.iter().for_each(|unit| self.u16(*unit));
        units.len() as u16
    }

    /// A reference to a name, which stands right behind its first reference.
    fn name(&mut self, name: &str) {
        if let Some(offset) = self.names.get(name) {
            return self.u32(*offset);
        }
        let offset = self.bytes.len() as u32 + 4;
        self.u32(offset);
        self.names.insert(name.to_owned(), offset);
        let hash = name.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(65_599).wrapping_add(u32::from(unit))) as u16;
        let bucket = usize::from(hash % 64);
        self.u32(self.name_table[bucket]);
        self.name_table[bucket] = offset;
        self.u16(hash);
        self.utf16(name);
        self.u16(0);
    }

    fn record(&mut self, event: &Event, id: u64) {
        self.last_offset = self.bytes.len();
        self.last = id;
        let start = self.bytes.len();
        let created = event.created_ticks.unwrap_or(FILETIME_EPOCH_TICKS) - FILETIME_EPOCH_TICKS;
        self.bytes.extend([0x2a, 0x2a, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend(id.to_le_bytes());
        self.bytes.extend(created.to_le_bytes());
        self.bytes.extend(FRAGMENT);
        self.instance(event, id, created as u64);
        self.bytes.push(0);
        let size = (self.bytes.len() - start + 4) as u32;
        self.u32(size);
        self.set_u32(start + 4, size);
    }

    /// The template of an event and its values.
    fn instance(&mut self, event: &Event, id: u64, created: u64) {
        let names: Vec<&str> = event.data.iter().map(|(name, _)| name.as_ref()).collect();
        let key = format!("{}\u{0}{}\u{0}{}\u{0}{}", event.provider, event.channel, event.computer, names.join("\u{0}"));
        // The id of a template is the start of its guid.
        let guid = [checksum_ieee(key.as_bytes()), checksum_ieee(&key.as_bytes()[key.len() / 2..]), 1, 2].map(u32::to_le_bytes).concat();
        let template_id = u32::from_le_bytes([guid[0], guid[1], guid[2], guid[3]]);
        self.bytes.extend([0x0c, 1]);
        self.u32(template_id);
        match self.templates.get(&key) {
            Some(offset) => self.u32(*offset),
            None => {
                let offset = self.bytes.len() as u32 + 4;
                self.u32(offset);
                self.templates.insert(key, offset);
                let bucket = (template_id % 32) as usize;
                self.u32(self.template_table[bucket]);
                self.template_table[bucket] = offset;
                self.bytes.extend(&guid);
                let size_at = self.bytes.len();
                self.u32(0);
                self.definition(event, &names);
                let size = (self.bytes.len() - size_at - 4) as u32;
                self.set_u32(size_at, size);
            }
        }
        let values = values(event, id, created);
        self.u32(values.len() as u32);
        for value in &values {
            self.u16(value.bytes.len() as u16);
            self.bytes.extend([value.ty, 0]);
        }
        values.iter().for_each(|value| self.bytes.extend(&value.bytes));
    }

    /// An element: its name, attributes and content. Sizes are filled in when they are known.
    fn element(&mut self, name: &str, attributes: &[(&str, Content)], content: &mut dyn FnMut(&mut Chunk)) {
        self.bytes.push(if attributes.is_empty() { 0x01 } else { 0x41 });
        self.u16(0xffff);
        let size_at = self.bytes.len();
        self.u32(0);
        self.name(name);
        if !attributes.is_empty() {
            let list_at = self.bytes.len();
            self.u32(0);
            for (at, (name, value)) in attributes.iter().enumerate() {
                self.bytes.push(if at + 1 == attributes.len() { 0x06 } else { 0x46 });
                self.name(name);
                self.content(value);
            }
            let size = (self.bytes.len() - list_at - 4) as u32;
            self.set_u32(list_at, size);
        }
        let start = self.bytes.len();
        self.bytes.push(0x02);
        content(self);
        if self.bytes.len() == start + 1 {
            self.bytes[start] = 0x03;
        } else {
            self.bytes.push(0x04);
        }
        let size = (self.bytes.len() - size_at - 4) as u32;
        self.set_u32(size_at, size);
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Text(text) => {
                self.bytes.extend([0x05, STRING]);
                self.utf16(text);
            }
            Content::Value(at, ty) => {
                self.bytes.push(0x0d);
                self.u16(*at);
                self.bytes.push(*ty);
            }
        }
    }

    /// The definition of the template, its values in the order of [`values`].
    fn definition(&mut self, event: &Event, names: &[&str]) {
        use Content::{Text, Value};
        self.bytes.extend(FRAGMENT);
        let value = |chunk: &mut Chunk, name: &str, at: u16, ty: u8| chunk.element(name, &[], &mut |chunk| chunk.content(&Value(at, ty)));
        self.element("Event", &[("xmlns", Text("http://schemas.microsoft.com/win/2004/08/events/event"))], &mut |chunk| {
            chunk.element("System", &[], &mut |chunk| {
                chunk.element("Provider", &[("Name", Text(&event.provider))], &mut |_| {});
                for (name, at, ty) in [("EventID", 0, UINT16), ("Version", 1, UINT8), ("Level", 2, UINT8), ("Task", 3, UINT16), ("Opcode", 4, UINT8), ("Keywords", 5, HEX64)] {
                    value(chunk, name, at, ty);
                }
                chunk.element("TimeCreated", &[("SystemTime", Value(6, FILETIME))], &mut |_| {});
                value(chunk, "EventRecordID", 7, UINT64);
                chunk.element("Execution", &[("ProcessID", Value(8, UINT32)), ("ThreadID", Value(9, UINT32))], &mut |_| {});
                chunk.element("Channel", &[], &mut |chunk| chunk.content(&Text(&event.channel)));
                chunk.element("Computer", &[], &mut |chunk| chunk.content(&Text(&event.computer)));
                chunk.element("Security", &[("UserID", Value(10, STRING))], &mut |_| {});
            });
            chunk.element("EventData", &[], &mut |chunk| {
                for (at, name) in names.iter().enumerate() {
                    chunk.element("Data", &[("Name", Text(name))], &mut |chunk| chunk.content(&Value(11 + at as u16, STRING)));
                }
            });
        });
        self.bytes.push(0);
    }

    /// The chunk in its full length, with its tables and checksums.
    fn finish(mut self) -> Vec<u8> {
        let free = self.bytes.len();
        let records = checksum_ieee(&self.bytes[CHUNK_HEADER_BYTES..]);
        self.bytes.resize(CHUNK_BYTES, 0);
        let header: Vec<u8> = [
            b"ElfChnk\0".as_slice(),
            &self.first.to_le_bytes(),
            &self.last.to_le_bytes(),
            &self.first.to_le_bytes(),
            &self.last.to_le_bytes(),
            &128u32.to_le_bytes(),
            &(self.last_offset as u32).to_le_bytes(),
            &(free as u32).to_le_bytes(),
            &records.to_le_bytes(),
        ]
        .concat();
        self.bytes[..header.len()].copy_from_slice(&header);
        for (at, offset) in self.name_table.into_iter().chain(self.template_table).enumerate() {
            self.set_u32(128 + at * 4, offset);
        }
        let checked = [&self.bytes[..120], &self.bytes[128..CHUNK_HEADER_BYTES]].concat();
        self.set_u32(124, checksum_ieee(&checked));
        self.bytes
    }
}

enum Content<'a> {
    Text(&'a str),
    Value(u16, u8),
}

fn values(event: &Event, id: u64, created: u64) -> Vec<Value> {
    let text = |text: &str| Value { ty: STRING, bytes: text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let byte = |number: i64| Value { ty: UINT8, bytes: vec![number as u8] };
    let word = |number: i64| Value { ty: UINT16, bytes: (number as u16).to_le_bytes().to_vec() };
    let double = |number: i64| Value { ty: UINT32, bytes: (number as u32).to_le_bytes().to_vec() };
    let keywords = crate::event::number(&event.keywords).unwrap_or_default() as u64;
    let mut values = vec![
        word(i64::from(event.event_id)),
        byte(event.version),
        byte(event.level),
        word(event.task),
        byte(event.opcode),
        Value { ty: HEX64, bytes: keywords.to_le_bytes().to_vec() },
        Value { ty: FILETIME, bytes: created.to_le_bytes().to_vec() },
        Value { ty: UINT64, bytes: id.to_le_bytes().to_vec() },
        double(event.execution_process_id),
        double(event.execution_thread_id),
        text(&event.user_sid),
    ];
    values.extend(event.data.iter().map(|(_, value)| text(value)));
    values
}
