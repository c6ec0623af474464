//! Which bytes of a text are marked.

use arrow::buffer::BooleanBuffer;

/// A bit for each byte of a text.
pub(super) struct Marks {
    /// One more than the bytes need, so that each has a next one.
    words: Vec<u64>,
    is_empty: bool,
}

impl Marks {
    const BITS: usize = u64::BITS as usize;

    pub(super) fn of(bytes: usize) -> Marks {
        Marks { words: vec![0; bytes / Marks::BITS + 2], is_empty: true }
    }

    pub(super) fn set(&mut self, at: usize) {
        self.is_empty = false;
        self.words[at / Marks::BITS] |= 1 << (at % Marks::BITS);
    }

    /// Of so many rows those that have a marked byte; `place` gives where each begins and how long it is.
    pub(super) fn rows(&self, rows: usize, place: impl Fn(usize) -> (usize, usize)) -> BooleanBuffer {
        if self.is_empty {
            return BooleanBuffer::new_unset(rows);
        }
        BooleanBuffer::collect_bool(rows, |row| {
            let (begin, length) = place(row);
            self.any(begin, length)
        })
    }

    /// Whether a byte of so many from `begin` on is marked. Without a branch on it when they are few.
    fn any(&self, begin: usize, length: usize) -> bool {
        let at = |begin: usize, length: usize| {
            let (word, shift) = (begin / Marks::BITS, begin % Marks::BITS);
            let bits = self.words[word] >> shift | self.words[word + 1] << 1 << (Marks::BITS - 1 - shift);
            bits & (u64::MAX >> (Marks::BITS - length)) != 0
        };
        if (1..=Marks::BITS).contains(&length) {
            return at(begin, length);
        }
        (0..length).step_by(Marks::BITS).any(|offset| at(begin + offset, (length - offset).min(Marks::BITS)))
    }
}
