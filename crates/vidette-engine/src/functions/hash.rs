//! Hash functions with published algorithms. Kusto docs: `hash-sha256-function`, `hash-md5-function`, `hash-sha1-function`.

use super::{ScalarFunction, rows};
use crate::cells::Out;
use sha1::Digest;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("hash_md5", |a| Out::Text(hex(&md5::Md5::digest(super::conversion::display(a[0]).as_bytes())))),
    rows("hash_sha1", |a| Out::Text(hex(&sha1::Sha1::digest(super::conversion::display(a[0]).as_bytes())))),
    rows("hash_sha256", |a| Out::Text(hex(&sha2::Sha256::digest(super::conversion::display(a[0]).as_bytes())))),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
