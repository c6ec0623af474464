//! Where a term of a text may be one of many: only places where a term begins are looked at, by the first bytes there.

use super::marks::Marks;
use super::prefixes::Prefixes;
use fearless_simd::Level;

/// As many first bytes decide whether an item may begin somewhere as the shortest item has, up to these.
const MOST_BYTES: usize = 4;

/// As many first bytes are compared of those that may, at once.
const HEAD: usize = 24;

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
    prefixes: Prefixes,
}

/// An item, in lower case.
pub(super) struct Item {
    text: Vec<u8>,
    hash: u32,
    /// The first bytes, and which of them there are.
    head: Head,
    present: Head,
}

type Head = [u64; HEAD / size_of::<u64>()];

/// Of bytes in either case, of which `mask` says what counts.
fn hash(first: [u8; MOST_BYTES], mask: u32, bits: u32) -> u32 {
    ((u32::from_le_bytes(first) | 0x2020_2020) & mask).wrapping_mul(0x9E37_79B1) >> (32 - bits)
}

/// The first bytes, zeros beyond the end.
fn padded<const LENGTH: usize>(text: &[u8]) -> [u8; LENGTH] {
    text.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; LENGTH];
        padded[..text.len()].copy_from_slice(text);
        padded
    })
}

/// The first bytes of a text with their ASCII letters in lower case; zeros beyond the end.
fn head(text: &[u8]) -> Head {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let bytes: [u8; HEAD] = padded(text);
    let mut head = Head::default();
    for (head, bytes) in head.iter_mut().zip(bytes.as_chunks().0) {
        let bytes = u64::from_le_bytes(*bytes);
        let low = bytes & (0x7f * ONES);
        let from_a = low + (0x80 - b'A' as u64) * ONES;
        let beyond_z = low + (0x7f - b'Z' as u64) * ONES;
        let upper = (from_a ^ beyond_z) & !bytes & (0x80 * ONES);
        *head = bytes | upper >> 2;
    }
    head
}

impl Item {
    fn new(text: &str, mask: u32, bits: u32) -> Item {
        let text = text.as_bytes();
        let present = std::array::from_fn(|part| u64::MAX.checked_shr(8 * (size_of::<u64>() * (part + 1)).saturating_sub(text.len()) as u32).unwrap_or(0));
        Item { text: text.to_vec(), hash: hash(padded(text), mask, bits), head: head(text), present }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn ends_alphanumeric(&self) -> bool {
        self.text.last().is_some_and(|last| !last.is_ascii() || last.is_ascii_alphanumeric())
    }

    /// Whether `text`, of which this is the head, begins with it. Without a branch on its length, unless it is long.
    fn begins(&self, text: &[u8], head: &Head) -> bool {
        let different = head.iter().zip(&self.present).zip(&self.head).fold(0, |different, ((bytes, present), wanted)| different | ((bytes & present) ^ wanted));
        let goes_on = || text.get(HEAD..self.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(&self.text[HEAD..]));
        different == 0 && (self.len() <= HEAD || goes_on())
    }
}

impl TermStarts {
    /// `None` when an item may stand elsewhere (`.com` within a term), or is so short that too much begins like it; when it has
    /// a zero byte, which stands between texts; and when many begin alike (`https://…`), for each of them would be tried.
    pub(super) fn new(items: &[String], level: Level) -> Option<TermStarts> {
        let shortest = items.iter().map(String::len).min()?;
        if shortest < 2 || items.len() >= usize::from(u16::MAX) || !items.iter().all(|item| item.as_bytes()[0].is_ascii_alphanumeric() && !item.contains('\0')) {
            return None;
        }
        let mask = u32::MAX >> (8 * (MOST_BYTES - shortest.min(MOST_BYTES)));
        let bits = (items.len().ilog2() + SPARE_BITS).clamp(FEWEST_BITS, MOST_BITS);
        let prefixes = Prefixes::new(items, level);
        let mut items: Vec<Item> = items.iter().map(|item| Item::new(item, mask, bits)).collect();
        items.sort_by_key(|item| item.hash);
        if items.windows(MOST_ALIKE + 1).any(|items| items[0].hash == items[MOST_ALIKE].hash) {
            return None;
        }
        let mut slots = vec![0; 1 << bits];
        for (at, item) in items.iter().enumerate().rev() {
            slots[item.hash as usize] = at as u16 + 1;
        }
        Some(TermStarts { mask, items, slots, bits, prefixes })
    }

    /// Marks the places of a text at which a term begins with an item of which `ends` says that it may end where it does.
    pub(super) fn mark(&self, text: &[u8], ends: impl Fn(usize, &Item) -> bool) -> Marks {
        let mut marks = Marks::of(text.len());
        let (mut places, mut likely) = (Vec::new(), Vec::new());
        for begin in (0..text.len()).step_by(CHUNK) {
            let count = self.prefixes.fill_places(text, begin, text.len().min(begin + CHUNK), &mut places);
            self.fill_likely(&text[begin..], &places[..count], &mut likely);
            for (place, slot) in &likely {
                let at = begin + usize::from(*place);
                let (rest, items) = (&text[at..], &self.items[usize::from(*slot) - 1..]);
                let head = head(rest);
                if items.iter().take_while(|item| item.hash == items[0].hash).any(|item| item.begins(rest, &head) && ends(at, item)) {
                    marks.set(at);
                }
            }
        }
        marks
    }

    /// The places at which the first bytes are those of an item, and its slot.
    fn fill_likely(&self, text: &[u8], places: &[u16], likely: &mut Vec<(u16, u16)>) {
        likely.resize(places.len(), (0, 0));
        // Without a branch on what is likely: it may be as often so as not.
        let mut count = 0;
        for place in places {
            let slot = self.slots[hash(padded(&text[usize::from(*place)..]), self.mask, self.bits) as usize];
            likely[count] = (*place, slot);
            count += usize::from(slot != 0);
        }
        likely.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::TermStarts;
    use fearless_simd::Level;

    #[test]
    fn lists_whose_items_begin_alike_or_elsewhere_are_left_to_the_automaton() {
        let served = |item: &dyn Fn(usize) -> String| TermStarts::new(&(0..40).map(item).collect::<Vec<String>>(), Level::new()).is_some();
        assert!(served(&|n| format!("{n}host.example")));
        assert!(!served(&|n| format!("https://{n}")) && !served(&|n| format!(".{n}")) && !served(&|n| n.to_string()));
    }
}
