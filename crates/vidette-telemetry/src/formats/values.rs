//! The values of a record, where they stand in its chunk: nothing is copied before it is asked for.
//!
//! Format: Microsoft, MS-EVEN6, "BinXml". What is unusual here gives `None`, and the record is read by the crate `evtx`
//! instead.

use crate::event::{FILETIME_EPOCH_TICKS, UNIX_EPOCH_TICKS};
use bumpalo::Bump;
use jiff::Timestamp;
use std::fmt::Write;
use std::ops::Range;

/// Kinds of values (MS-EVEN6, "Value type").
pub(crate) mod kind {
    pub const NULL: u8 = 0x00;
    pub const STRING: u8 = 0x01;
    pub const ANSI_STRING: u8 = 0x02;
    pub const INT8: u8 = 0x03;
    pub const UINT8: u8 = 0x04;
    pub const INT16: u8 = 0x05;
    pub const UINT16: u8 = 0x06;
    pub const INT32: u8 = 0x07;
    pub const UINT32: u8 = 0x08;
    pub const INT64: u8 = 0x09;
    pub const UINT64: u8 = 0x0a;
    pub const REAL32: u8 = 0x0b;
    pub const REAL64: u8 = 0x0c;
    pub const BOOL: u8 = 0x0d;
    pub const BINARY: u8 = 0x0e;
    pub const GUID: u8 = 0x0f;
    pub const SIZE: u8 = 0x10;
    pub const FILETIME: u8 = 0x11;
    pub const SYSTEMTIME: u8 = 0x12;
    pub const SID: u8 = 0x13;
    pub const HEX32: u8 = 0x14;
    pub const HEX64: u8 = 0x15;
    pub const BINXML: u8 = 0x21;
    pub const STRING_ARRAY: u8 = 0x81;
}

/// Bytes of a chunk that are read one after the other.
pub(super) struct Cursor<'c> {
    pub chunk: &'c [u8],
    pub at: usize,
}

impl<'c> Cursor<'c> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.chunk.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn take(&mut self, length: usize) -> Option<&'c [u8]> {
        let bytes = self.chunk.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }
}

/// A template, and what a record puts into it.
pub(super) struct Instance<'c, 'b> {
    /// Where the definition stands in the chunk.
    pub definition: u32,
    pub values: bumpalo::collections::Vec<'b, Value<'c>>,
}

/// Reads a part of the chunk that is one instance of a template, perhaps with a fragment's header before it, and nothing more.
pub(super) fn instance<'c, 'b>(chunk: &'c [u8], part: Range<usize>, bump: &'b Bump) -> Option<Instance<'c, 'b>> {
    const FRAGMENT: u8 = 0x0f;
    const TEMPLATE_INSTANCE: u8 = 0x0c;
    let mut cursor = Cursor { chunk, at: part.start };
    let mut token = cursor.u8()?;
    if token == FRAGMENT {
        cursor.take(3)?;
        token = cursor.u8()?;
    }
    if token != TEMPLATE_INSTANCE {
        return None;
    }
    // A byte whose meaning is not known, and an id of the template.
    cursor.take(5)?;
    let definition = cursor.u32()?;
    if cursor.at == definition as usize {
        // The definition stands here, at its first use: a link, a guid and its size before it.
        cursor.take(20)?;
        let size = cursor.u32()?;
        cursor.take(size as usize)?;
    }
    let count = cursor.u32()? as usize;
    let (descriptors, _) = cursor.take(count.checked_mul(4)?)?.as_chunks::<4>();
    let mut values = bumpalo::collections::Vec::with_capacity_in(descriptors.len(), bump);
    for [low, high, kind, _] in descriptors {
        let at = cursor.at;
        let bytes = cursor.take(usize::from(u16::from_le_bytes([*low, *high])))?;
        let value = Value { kind: *kind, bytes, at };
        if !value.is_whole() {
            return None;
        }
        values.push(value);
    }
    let ends = cursor.at >= part.end || chunk.get(cursor.at) == Some(&0);
    ends.then_some(Instance { definition, values })
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'c> {
    kind: u8,
    bytes: &'c [u8],
    /// Where it stands in the chunk.
    at: usize,
}

impl<'c> Value<'c> {
    pub const NULL: Value<'static> = Value { kind: kind::NULL, bytes: &[], at: 0 };

    /// Whether there are as many bytes as the kind has.
    fn is_whole(&self) -> bool {
        let length = self.bytes.len();
        match self.kind {
            kind::NULL | kind::ANSI_STRING | kind::BINARY | kind::BINXML => true,
            kind::STRING => length.is_multiple_of(2),
            kind::STRING_ARRAY => length == 0 || length.is_multiple_of(2) && self.bytes.ends_with(&[0, 0]),
            kind::INT8 | kind::UINT8 => length == 1,
            kind::INT16 | kind::UINT16 => length == 2,
            kind::INT32 | kind::UINT32 | kind::REAL32 | kind::BOOL | kind::HEX32 => length == 4,
            kind::INT64 | kind::UINT64 | kind::REAL64 | kind::FILETIME | kind::HEX64 => length == 8,
            kind::SIZE => matches!(length, 4 | 8),
            kind::GUID | kind::SYSTEMTIME => length == 16,
            kind::SID => length >= 8 && length == 8 + 4 * usize::from(self.bytes[1]),
            _ => false,
        }
    }

    pub fn is_null(&self) -> bool {
        self.kind == kind::NULL
    }

    /// The part of the chunk that holds elements of another template.
    pub fn elements(&self) -> Option<Range<usize>> {
        (self.kind == kind::BINXML).then(|| self.at..self.at + self.bytes.len())
    }

    /// The texts of an array that has some.
    pub fn texts<'b>(&self, bump: &'b Bump) -> Option<impl Iterator<Item = &'b str> + use<'c, 'b>> {
        let units = self.bytes.as_chunks::<2>().0;
        let (_, items) = units.split_last().filter(|_| self.kind == kind::STRING_ARRAY)?;
        Some(items.split(|unit| *unit == [0, 0]).map(|item| utf16(item, bump)))
    }

    fn fixed<const N: usize>(&self) -> [u8; N] {
        self.bytes.first_chunk().copied().unwrap_or([0; N])
    }

    /// A point in time, in units of 100 ns since 1601.
    pub fn filetime(&self) -> Option<u64> {
        (self.kind == kind::FILETIME).then(|| u64::from_le_bytes(self.fixed()))
    }

    /// A whole number; those above the range of the type are `None`.
    pub fn long(&self) -> Option<i64> {
        Some(match self.kind {
            kind::INT8 => i64::from(i8::from_le_bytes(self.fixed())),
            kind::UINT8 => i64::from(u8::from_le_bytes(self.fixed())),
            kind::INT16 => i64::from(i16::from_le_bytes(self.fixed())),
            kind::UINT16 => i64::from(u16::from_le_bytes(self.fixed())),
            kind::INT32 => i64::from(i32::from_le_bytes(self.fixed())),
            kind::UINT32 => i64::from(u32::from_le_bytes(self.fixed())),
            kind::INT64 => i64::from_le_bytes(self.fixed()),
            kind::UINT64 => return i64::try_from(u64::from_le_bytes(self.fixed())).ok(),
            _ => return None,
        })
    }

    /// The value as Windows writes it in the XML of an event.
    pub fn text<'b>(&self, bump: &'b Bump) -> Option<&'b str> {
        let decimal = |number: i64| bump.alloc_str(itoa::Buffer::new().format(number));
        Some(match self.kind {
            kind::NULL => "",
            kind::STRING => utf16(self.bytes.as_chunks::<2>().0, bump),
            kind::ANSI_STRING => ascii(self.bytes, bump)?,
            kind::STRING_ARRAY if self.bytes.is_empty() => "",
            kind::UINT64 => bump.alloc_str(itoa::Buffer::new().format(u64::from_le_bytes(self.fixed()))),
            kind::BOOL => match i32::from_le_bytes(self.fixed()) {
                0 => "false",
                1 => "true",
                // Bits that Windows writes where a truth value belongs.
                other => decimal(i64::from(other)),
            },
            kind::SIZE | kind::HEX32 | kind::HEX64 => {
                let mut bytes = [0; 8];
                bytes[..self.bytes.len()].copy_from_slice(self.bytes);
                written(bump, |out| write!(out, "{:#x}", u64::from_le_bytes(bytes)))?
            }
            kind::SID => written(bump, |out| sid(out, self.bytes))?,
            kind::GUID => written(bump, |out| guid(out, &self.fixed()))?,
            kind::BINARY => written(bump, |out| self.bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}")))?,
            kind::FILETIME => {
                let since_1970 = i128::from(self.filetime()?) - i128::from(UNIX_EPOCH_TICKS - FILETIME_EPOCH_TICKS);
                let time = Timestamp::from_nanosecond(since_1970 * 100).ok()?;
                written(bump, |out| write!(out, "{time:.7}"))?
            }
            _ => decimal(self.long()?),
        })
    }
}

fn written<'b>(bump: &'b Bump, write: impl FnOnce(&mut bumpalo::collections::String<'b>) -> std::fmt::Result) -> Option<&'b str> {
    let mut out = bumpalo::collections::String::new_in(bump);
    write(&mut out).ok()?;
    Some(out.into_bump_str())
}

/// Text of one byte a character, its NULs left out; other letters than those of ASCII depend on a code page.
fn ascii<'b>(bytes: &[u8], bump: &'b Bump) -> Option<&'b str> {
    if !bytes.is_ascii() {
        return None;
    }
    let mut kept = bumpalo::collections::Vec::with_capacity_in(bytes.len(), bump);
    kept.extend(bytes.iter().copied().filter(|byte| *byte != 0));
    std::str::from_utf8(kept.into_bump_slice()).ok()
}

fn sid(out: &mut impl Write, bytes: &[u8]) -> std::fmt::Result {
    let [revision, _, authority @ ..] = bytes.first_chunk::<8>().copied().unwrap_or_default();
    let authority = authority.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let mut number = itoa::Buffer::new();
    out.write_str("S-")?;
    out.write_str(number.format(revision))?;
    out.write_str("-")?;
    out.write_str(number.format(authority))?;
    for part in bytes.get(8..).unwrap_or_default().as_chunks::<4>().0 {
        out.write_str("-")?;
        out.write_str(number.format(u32::from_le_bytes(*part)))?;
    }
    Ok(())
}

/// `{d1-d2-d3-d4}` in lower case; the first three parts are little-endian.
fn guid(out: &mut impl Write, bytes: &[u8; 16]) -> std::fmt::Result {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 38];
    (text[0], text[37]) = (b'{', b'}');
    let mut at = 1;
    for (position, from) in ORDER.into_iter().enumerate() {
        at += usize::from(matches!(position, 4 | 6 | 8 | 10));
        text[at] = DIGITS[usize::from(bytes[from] >> 4)];
        text[at + 1] = DIGITS[usize::from(bytes[from] & 15)];
        at += 2;
    }
    out.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

/// Text up to its first NUL.
pub(super) fn utf16<'b>(units: &[[u8; 2]], bump: &'b Bump) -> &'b str {
    const ASCII: u16 = 0x7f;
    // A block at a time: the compiler looks at all its units at once.
    let plain = |block: &[[u8; 2]]| {
        let odd = |unit: u16| (unit & !ASCII) | u16::from(unit == 0);
        block.iter().fold(0, |found, unit| found | odd(u16::from_le_bytes(*unit))) == 0
    };
    if units.chunks(32).all(plain) {
        let ascii = bump.alloc_slice_fill_iter(units.iter().map(|[low, _]| *low));
        return std::str::from_utf8(ascii).unwrap_or_default();
    }
    let end = units.iter().position(|unit| *unit == [0, 0]).unwrap_or(units.len());
    let mut out = bumpalo::collections::String::with_capacity_in(end, bump);
    out.extend(char::decode_utf16(units[..end].iter().map(|unit| u16::from_le_bytes(*unit))).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    out.into_bump_str()
}
