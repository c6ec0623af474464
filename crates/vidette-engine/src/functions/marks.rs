//! Which bytes of a text are marked.

/// A bit for each byte of a text.
pub(super) struct Marks {
    /// One more than the bytes need, so that each has a next one.
    words: Vec<u64>,
}

impl Marks {
    const BITS: usize = u64::BITS as usize;

    pub(super) fn of(bytes: usize) -> Marks {
        Marks { words: vec![0; bytes / Marks::BITS + 2] }
    }

    pub(super) fn set(&mut self, at: usize) {
        self.words[at / Marks::BITS] |= 1 << (at % Marks::BITS);
    }

    /// Whether a byte of so many from `begin` on is marked. Without a branch on it when they are few.
    pub(super) fn any(&self, begin: usize, length: usize) -> bool {
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
