//! Where a term of a text may be one of many: only places where a term begins are looked at, by the first bytes there.

use wide::u8x16;

/// As many first bytes decide whether an item may begin somewhere as the shortest item has, up to these.
const MOST_BYTES: usize = 4;

/// As many first bytes are compared of those that may.
const HEAD: usize = 8;

/// Hashes have so many bits more than the number of items has; and at least and at most so many.
const SPARE_BITS: u32 = 7;
const FEWEST_BITS: u32 = 12;
const MOST_BITS: u32 = 16;

/// The most items of one hash.
const MOST_ALIKE: usize = 16;

/// So many bytes are searched at a time, which bounds what is remembered of them.
const CHUNK: usize = 1 << 16;

/// Needles that each begin with an ASCII letter or digit, so that each can only stand where a term begins. They are in lower
/// case; what they are looked for in may have either.
pub(super) struct TermStarts {
    /// Which of the first bytes decide.
    mask: u32,
    /// The items in the order of their hashes.
    items: Vec<Item>,
    /// For each hash, which has `bits` bits, one more than where its items begin; 0 where there are none.
    slots: Vec<u16>,
    bits: u32,
    /// Whether an item begins with a digit.
    digits: bool,
    /// As many letters or digits each item begins with, one to three of them.
    leading: usize,
}

/// An item, in lower case.
pub(super) struct Item {
    text: Vec<u8>,
    hash: u32,
    /// The first bytes, and which of them there are.
    head: u64,
    present: u64,
}

/// Of eight bytes in either case, of which `mask` says what counts.
fn hash(first: u64, mask: u32, bits: u32) -> u32 {
    ((first as u32 | 0x2020_2020) & mask).wrapping_mul(0x9E37_79B1) >> (32 - bits)
}

/// The first bytes, zeros beyond the end.
fn padded<const LENGTH: usize>(text: &[u8]) -> [u8; LENGTH] {
    text.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; LENGTH];
        padded[..text.len()].copy_from_slice(text);
        padded
    })
}

/// Eight bytes with their ASCII letters in lower case.
fn lower(bytes: [u8; HEAD]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let bytes = u64::from_le_bytes(bytes);
    let low = bytes & (0x7f * ONES);
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let beyond_z = low + (0x7f - b'Z' as u64) * ONES;
    let upper = (from_a ^ beyond_z) & !bytes & (0x80 * ONES);
    bytes | upper >> 2
}

impl Item {
    fn new(text: &str, mask: u32, bits: u32) -> Item {
        let head = u64::from_le_bytes(padded(text.as_bytes()));
        Item { text: text.as_bytes().to_vec(), hash: hash(head, mask, bits), head, present: u64::MAX >> (8 * HEAD.saturating_sub(text.len())) }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether it is where `text` begins, as its first bytes are, though perhaps beyond the end.
    pub(super) fn goes_on(&self, text: &[u8]) -> bool {
        let Some(text) = text.get(..self.text.len()) else { return false };
        let same = |bytes: &[u8; HEAD], wanted: &[u8; HEAD]| lower(*bytes) == u64::from_le_bytes(*wanted);
        let (parts, wanted) = (text.as_chunks().0, self.text.as_chunks().0);
        let rest_is_there = || text.last_chunk().zip(self.text.last_chunk()).is_none_or(|(last, wanted)| same(last, wanted));
        parts.iter().zip(wanted).skip(1).all(|(part, wanted)| same(part, wanted)) && rest_is_there()
    }
}

impl TermStarts {
    /// `None` when an item may stand elsewhere (`.com` within a term), or is so short that too much begins like it; and when
    /// many begin alike (`https://…`), for each of them would be tried.
    pub(super) fn new(items: &[String]) -> Option<TermStarts> {
        let shortest = items.iter().map(String::len).min()?;
        if shortest < 2 || items.len() >= usize::from(u16::MAX) || !items.iter().all(|item| item.as_bytes()[0].is_ascii_alphanumeric()) {
            return None;
        }
        let mask = u32::MAX >> (8 * (MOST_BYTES - shortest.min(MOST_BYTES)));
        let bits = (items.len().ilog2() + SPARE_BITS).clamp(FEWEST_BITS, MOST_BITS);
        let mut items: Vec<Item> = items.iter().map(|item| Item::new(item, mask, bits)).collect();
        items.sort_by_key(|item| item.hash);
        if items.windows(MOST_ALIKE + 1).any(|items| items[0].hash == items[MOST_ALIKE].hash) {
            return None;
        }
        let mut slots = vec![0; 1 << bits];
        for (at, item) in items.iter().enumerate().rev() {
            slots[item.hash as usize] = at as u16 + 1;
        }
        let digits = items.iter().any(|item| item.text[0].is_ascii_digit());
        let leading = items.iter().map(|item| item.text.iter().take(3).take_while(|byte| byte.is_ascii_alphanumeric()).count()).min()?;
        Some(TermStarts { mask, items, slots, bits, digits, leading })
    }

    /// The first item of those that may begin with these bytes, and one more; 0 when none may.
    fn slot(&self, first: [u8; HEAD]) -> u16 {
        self.slots[hash(u64::from_le_bytes(first), self.mask, self.bits) as usize]
    }

    /// The items of a slot that begin with these bytes, or are part of them.
    fn like(&self, slot: u16, first: [u8; HEAD]) -> impl Iterator<Item = &Item> {
        let first = lower(first);
        let items = &self.items[usize::from(slot) - 1..];
        items.iter().take_while(|item| item.hash == items[0].hash).filter(move |item| first & item.present == item.head)
    }

    /// Asks `found` of each place at which a term begins with the first bytes of an item, up to eight, and of the item, until it
    /// gives the place to go on from.
    pub(super) fn scan(&self, text: &[u8], mut found: impl FnMut(usize, &Item) -> Option<usize>) {
        let mut from = 0;
        let mut likely = Vec::new();
        for begin in (0..text.len()).step_by(CHUNK) {
            self.fill_likely(text, begin, &self.starts(text, begin), &mut likely);
            for (offset, slot) in &likely {
                let at = begin + usize::from(*offset);
                if at >= from {
                    from = self.like(*slot, padded(&text[at..])).find_map(|item| found(at, item)).unwrap_or(from);
                }
            }
        }
    }

    /// For each block of the chunk at `begin` a bit for each byte at which a term begins as one of the items could.
    fn starts(&self, text: &[u8], begin: usize) -> [u64; CHUNK / BLOCK] {
        let mut starts = [0; CHUNK / BLOCK];
        let mut before = u64::from(begin > 0 && text[begin - 1].is_ascii_alphanumeric());
        let mut block = Characters::at(text, begin);
        for (at, starts) in (begin..text.len()).step_by(BLOCK).zip(&mut starts) {
            let next = Characters::at(text, at + BLOCK);
            let first = if self.digits { block.alphanumeric } else { block.letters };
            let begun = first & !(block.alphanumeric << 1 | before);
            let follow = |ahead: usize| if ahead < self.leading { block.alphanumeric >> ahead | next.alphanumeric << (BLOCK - ahead) } else { u64::MAX };
            *starts = begun & follow(1) & follow(2);
            before = block.alphanumeric >> (BLOCK - 1);
            block = next;
        }
        starts
    }

    /// The places among `starts`, from `begin` on, at which the bytes are those of an item, and its slot.
    fn fill_likely(&self, text: &[u8], begin: usize, starts: &[u64], likely: &mut Vec<(u16, u16)>) {
        /// A block and the first bytes of what begins at its end.
        const SEEN: usize = BLOCK + HEAD - 1;
        likely.resize(starts.iter().map(|starts| starts.count_ones() as usize).sum(), (0, 0));
        // Without a branch on what is likely: it is as often so as not.
        let mut count = 0;
        for (offset, starts) in (0..CHUNK).step_by(BLOCK).zip(starts).filter(|(_, starts)| **starts != 0) {
            let (rest, mut starts) = (&text[begin + offset..], *starts);
            let end;
            let bytes: &[u8; SEEN] = match rest.first_chunk() {
                Some(bytes) => bytes,
                None => {
                    end = padded(rest);
                    &end
                }
            };
            while starts != 0 {
                let at = starts.trailing_zeros() as usize % BLOCK;
                starts &= starts - 1;
                let slot = bytes[at..].first_chunk().map_or(0, |first| self.slot(*first));
                likely[count] = ((offset + at) as u16, slot);
                count += usize::from(slot != 0);
            }
        }
        likely.truncate(count);
    }
}

/// The bytes that are looked at together, a bit for each.
const BLOCK: usize = 64;

/// For each byte of a block a bit: whether it is an ASCII letter or digit, and whether it is a letter.
#[derive(Clone, Copy, Default)]
struct Characters {
    alphanumeric: u64,
    letters: u64,
}

impl Characters {
    /// Of the block that begins at a place, and is none beyond the end.
    fn at(text: &[u8], at: usize) -> Characters {
        let rest = text.get(at..).unwrap_or_default();
        match rest.first_chunk() {
            Some(block) => Characters::of(block),
            None => Characters::of(&padded(rest)),
        }
    }

    fn of(block: &[u8; BLOCK]) -> Characters {
        const LANES: usize = 16;
        let mut characters = Characters::default();
        for (lanes, bytes) in block.as_chunks::<LANES>().0.iter().enumerate() {
            let bytes = u8x16::new(*bytes);
            let among = |values: u8x16, first: u8, count: u8| (values - u8x16::splat(first)).simd_lt(u8x16::splat(count));
            let letters = among(bytes | u8x16::splat(0x20), b'a', 26);
            let digits = among(bytes, b'0', 10);
            characters.letters |= u64::from(letters.to_bitmask()) << (LANES * lanes);
            characters.alphanumeric |= u64::from((letters | digits).to_bitmask()) << (LANES * lanes);
        }
        characters
    }
}

#[cfg(test)]
mod tests {
    use super::TermStarts;

    #[test]
    fn lists_whose_items_begin_alike_or_elsewhere_are_left_to_the_automaton() {
        let served = |item: &dyn Fn(usize) -> String| TermStarts::new(&(0..40).map(item).collect::<Vec<String>>()).is_some();
        assert!(served(&|n| format!("{n}host.example")));
        assert!(!served(&|n| format!("https://{n}")) && !served(&|n| format!(".{n}")) && !served(&|n| n.to_string()));
    }
}
