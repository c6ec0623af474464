//! Hash functions with published algorithms. Kusto docs: `hash-sha256-function`, `hash-md5-function`, `hash-sha1-function`.

use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use sha1::Digest;
use twox_hash::XxHash64;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("hash", xxhash),
    rows("hash_xxhash64", xxhash),
    rows("hash_md5", digest::<md5::Md5>),
    rows("hash_sha1", digest::<sha1::Sha1>),
    rows("hash_sha256", digest::<sha2::Sha256>),
];

/// Of the value's text; an empty text, so null as well, has an empty digest, as Kusto's emulator has it.
fn digest<D: Digest>(a: &[Cell]) -> Out {
    let text = super::conversion::display(a[0]);
    Out::Text(if text.is_empty() { String::new() } else { hex(&D::digest(text.as_bytes())) })
}

/// xxHash64 of the value's bytes, numbers and times in little endian, null having none; optionally modulo the second argument.
fn xxhash(a: &[Cell]) -> Out {
    let hash = match a[0] {
        Cell::Null => XxHash64::oneshot(0, &[]),
        Cell::Bool(b) => XxHash64::oneshot(0, &[u8::from(b)]),
        Cell::Long(n) | Cell::DateTime(n) | Cell::TimeSpan(n) => XxHash64::oneshot(0, &n.to_le_bytes()),
        Cell::Real(n) => XxHash64::oneshot(0, &n.to_le_bytes()),
        other => XxHash64::oneshot(0, super::conversion::display(other).as_bytes()),
    };
    match a.get(1).and_then(|modulus| modulus.long()) {
        Some(modulus) if modulus > 0 => Out::Long((hash % modulus as u64) as i64),
        Some(_) => Out::Null,
        None => Out::Long(hash as i64),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
