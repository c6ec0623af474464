//! Where a term of a text may be one of many, by its first letters: told of 32 places at once, in the way of Hyperscan's Teddy.
//! Each item is in one of eight buckets, which are bits of a byte. A table for each of the first bytes gives the buckets of the
//! items that have a letter there.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x32};

/// As many first bytes are looked at.
const BYTES: usize = 3;

/// Tells letters apart, in either case. Other characters are taken for letters.
const LETTER: u8 = 0x1f;
const LETTERS: usize = LETTER as usize + 1;

const BUCKETS: usize = u8::BITS as usize;

/// The bytes of one vector.
const LANES: usize = 32;

/// The bytes that are looked at together, a bit for each.
const BLOCK: usize = u64::BITS as usize;

/// A block, the byte before it and those that follow.
const SEEN: usize = 1 + BLOCK + BYTES - 1;

type Tables = [[u8; LETTERS]; BYTES];

/// The first bytes of items.
pub(super) struct Prefixes {
    tables: Tables,
    /// What the processor can.
    level: Level,
}

impl Prefixes {
    pub(super) fn new(items: &[String], level: Level) -> Prefixes {
        let mut items: Vec<&[u8]> = items.iter().map(String::as_bytes).collect();
        // Those that begin alike share a bucket, so that it has few letters.
        items.sort_unstable();
        let mut tables = [[0; LETTERS]; BYTES];
        for (at, item) in items.iter().enumerate() {
            let bucket = 1 << (at * BUCKETS / items.len());
            for (place, table) in tables.iter_mut().enumerate() {
                let letters = item.get(place).map_or(0..=LETTER, |byte| byte & LETTER..=byte & LETTER);
                letters.for_each(|letter| table[usize::from(letter)] |= bucket);
            }
        }
        Prefixes { tables, level }
    }

    /// The places from `begin` to `end`, at most 65,536 on, at which a term begins as an item does, perhaps. They are counted from
    /// `begin`, and come first in `places`, as many as it says.
    pub(super) fn fill_places(&self, text: &[u8], begin: usize, end: usize, places: &mut Vec<u16>) -> usize {
        dispatch!(self.level, simd => fill(simd, &self.tables, text, begin..end, places))
    }
}

// What a loop for a processor calls is put into it, for it would not be compiled for that processor otherwise.

#[inline(always)]
fn fill<S: Simd>(simd: S, tables: &Tables, text: &[u8], range: std::ops::Range<usize>, places: &mut Vec<u16>) -> usize {
    let mut count = 0;
    for at in range.clone().step_by(BLOCK) {
        let mut copied = [0; SEEN];
        let bytes: &[u8; SEEN] = match text.get(at.wrapping_sub(1)..at + SEEN - 1).and_then(<[u8]>::first_chunk) {
            Some(bytes) => bytes,
            None => {
                let first = usize::from(at == 0);
                let there = &text[at + first - 1..text.len().min(at + SEEN - 1)];
                copied[first..][..there.len()].copy_from_slice(there);
                &copied
            }
        };
        let begun = begins(simd, tables, bytes) | begins(simd, tables, &bytes[LANES..]) << LANES;
        count = push(begun, (at - range.start) as u16, places, count);
    }
    count
}

/// A bit for each of 32 bytes, of which one before them and two behind them are seen.
#[inline(always)]
fn begins<S: Simd>(simd: S, tables: &Tables, bytes: &[u8]) -> u64 {
    let before = u8x32::from_slice(simd, &bytes[..LANES]);
    let within = among(simd, before | 0x20, b'a', 26) | among(simd, before, b'0', 10);
    let mut buckets = u8x32::splat(simd, u8::MAX);
    for (ahead, table) in tables.iter().enumerate() {
        let letters = u8x32::from_slice(simd, &bytes[1 + ahead..][..LANES]) & LETTER;
        buckets &= u8x32::load_array_ref(simd, table).swizzle_dyn(letters);
    }
    (buckets.simd_ne(u8x32::splat(simd, 0)) & !within).to_bitmask()
}

#[inline(always)]
fn among<S: Simd>(simd: S, bytes: u8x32<S>, first: u8, count: u8) -> <u8x32<S> as SimdBase<S>>::Mask {
    (bytes - u8x32::splat(simd, first)).simd_lt(u8x32::splat(simd, count))
}

/// Puts the places of the bits of a block behind the first `count`, and says how many there are then.
#[inline(always)]
fn push(mut bits: u64, block: u16, places: &mut Vec<u16>, count: usize) -> usize {
    /// Few blocks have more.
    const AT_ONCE: usize = 4;
    let end = count + bits.count_ones() as usize;
    if places.len() < count + BLOCK {
        places.resize(2 * count + BLOCK, 0);
    }
    let mut at = count;
    // Some more than there are, which the next block overwrites, for a branch that is mostly taken alike.
    while at < end {
        for place in &mut places[at..at + AT_ONCE] {
            *place = block.wrapping_add(bits.trailing_zeros() as u16);
            bits &= bits.wrapping_sub(1);
        }
        at += AT_ONCE;
    }
    end
}
