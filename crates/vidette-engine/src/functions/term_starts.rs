//! Where a term of a text may be one of many: only places where a term begins are looked at, by the first bytes there.

/// As many first bytes are looked at as the shortest item has, up to these.
const MOST_BYTES: usize = 4;

/// Needles that each begin with an ASCII letter or digit, so that each can only stand where a term begins.
pub(super) struct TermStarts {
    /// Which of the first bytes count.
    mask: u32,
    /// A bit for each hash of the first bytes of an item.
    known: Vec<u64>,
    /// The items in the order of their buckets, which are the upper bits of the hash; and where each bucket begins.
    order: Vec<u32>,
    buckets: Vec<u32>,
}

const KNOWN_BITS: u32 = 16;
const BUCKET_BITS: u32 = 12;

/// The most items of a bucket.
const MOST_ALIKE: u32 = 16;

fn hash(first: u32) -> u32 {
    first.wrapping_mul(0x9E37_79B1)
}

impl TermStarts {
    /// `None` when an item may stand elsewhere (`.com` within a term), or is so short that too much begins like it; and when
    /// many begin alike (`https://…`), for each of them would be tried.
    pub(super) fn new(items: &[String]) -> Option<TermStarts> {
        let shortest = items.iter().map(String::len).min()?;
        if shortest < 2 || !items.iter().all(|item| item.as_bytes()[0].is_ascii_alphanumeric()) {
            return None;
        }
        let mask = u32::MAX >> (8 * (MOST_BYTES - shortest.min(MOST_BYTES)));
        let hash_of = |item: &u32| {
            let mut first = [0; MOST_BYTES];
            let bytes = items[*item as usize].as_bytes();
            let length = bytes.len().min(MOST_BYTES);
            first[..length].copy_from_slice(&bytes[..length]);
            hash(u32::from_le_bytes(first) & mask)
        };
        let mut order: Vec<u32> = (0..items.len() as u32).collect();
        order.sort_by_key(hash_of);
        let mut known = vec![0; 1 << (KNOWN_BITS - 6)];
        for item in &order {
            let bit = hash_of(item) >> (32 - KNOWN_BITS);
            known[bit as usize / 64] |= 1 << (bit % 64);
        }
        let begin = |bucket: u64| order.partition_point(|item| u64::from(hash_of(item)) < bucket << (32 - BUCKET_BITS)) as u32;
        let buckets: Vec<u32> = (0..=1 << BUCKET_BITS).map(begin).collect();
        if buckets.windows(2).any(|ends| ends[1] - ends[0] > MOST_ALIKE) {
            return None;
        }
        Some(TermStarts { mask, known, order, buckets })
    }

    /// Whether an item may begin with these bytes.
    fn knows(&self, first: [u8; MOST_BYTES]) -> bool {
        let bit = hash(u32::from_le_bytes(first) & self.mask) >> (32 - KNOWN_BITS);
        self.known[bit as usize / 64] >> (bit % 64) & 1 == 1
    }

    /// The items that may begin with these bytes.
    fn like(&self, first: [u8; MOST_BYTES]) -> &[u32] {
        let bucket = (hash(u32::from_le_bytes(first) & self.mask) >> (32 - BUCKET_BITS)) as usize;
        &self.order[self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize]
    }

    /// Tells `found` each place at which an item may begin, with the items that may, until it gives the place to go on from.
    /// The bytes of `text` are in lower case; what begins in its last three is not told.
    pub(super) fn scan(&self, text: &[u8], mut found: impl FnMut(usize, &[u32]) -> Option<usize>) {
        let (mut before, mut from) = (0, 0);
        let mut likely = [0; BLOCK];
        for (block, bytes) in text.chunks(BLOCK).enumerate() {
            let alphanumeric = alphanumeric(bytes);
            let mut starts = alphanumeric & !(alphanumeric << 1 | before);
            before = alphanumeric >> (BLOCK - 1);
            // Without a branch on what is likely: it is as often so as not.
            let mut count = 0;
            while starts != 0 {
                let at = block * BLOCK + starts.trailing_zeros() as usize;
                starts &= starts - 1;
                likely[count % BLOCK] = at;
                count += usize::from(text[at..].first_chunk().is_some_and(|first| self.knows(*first)));
            }
            for at in &likely[..count] {
                if let (true, Some(first)) = (*at >= from, text[*at..].first_chunk()) {
                    from = found(*at, self.like(*first)).unwrap_or(from);
                }
            }
        }
    }
}

/// The bytes that are looked at together, a bit for each.
const BLOCK: usize = 64;

/// A bit for each byte of a block, or of the part that is left, that is an ASCII letter or digit.
fn alphanumeric(bytes: &[u8]) -> u64 {
    let mut block = [0u8; BLOCK];
    match <&[u8; BLOCK]>::try_from(bytes) {
        Ok(whole) => block = *whole,
        Err(_) => block[..bytes.len()].copy_from_slice(bytes),
    }
    for byte in &mut block {
        let letter = (*byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        *byte = u8::from(letter | digit);
    }
    // The product has the lowest bits of eight bytes side by side in its highest byte.
    let eights = block.as_chunks::<8>().0;
    eights.iter().rev().fold(0, |bits, eight| bits << 8 | u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56)
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
