//! Hash functions with published algorithms. Kusto docs: `hash-sha256-function`, `hash-md5-function`, `hash-sha1-function`.

use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use sha1::Digest;
use twox_hash::XxHash64;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("hash", xxhash),
    rows("hash_xxhash64", xxhash),
    rows("hash_md5", |a| Out::Text(hex(&md5::Md5::digest(super::conversion::display(a[0]).as_bytes())))),
    rows("hash_sha1", |a| Out::Text(hex(&sha1::Sha1::digest(super::conversion::display(a[0]).as_bytes())))),
    rows("hash_sha256", |a| Out::Text(hex(&sha2::Sha256::digest(super::conversion::display(a[0]).as_bytes())))),
];

/// xxHash64 of the value's bytes, numbers and times in little endian, optionally modulo the second argument.
fn xxhash(a: &[Cell]) -> Out {
    let hash = match a[0] {
        Cell::Null => return Out::Null,
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
