//! The texts of a batch as one text, so that one search serves them all.

use super::needle::{Folded, Kind, Needle, bounded};
use arrow::array::{BooleanBufferBuilder, StringViewArray};
use arrow::buffer::BooleanBuffer;
use std::cell::RefCell;

/// The texts of a batch one after the other, a zero byte after each, so that one search serves them all.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    /// Where each text begins; and where the next one would.
    pub(super) starts: Vec<usize>,
}

thread_local! {
    static JOINED: RefCell<Joined> = RefCell::default();
}

/// Longer batches are searched text by text: they would be held twice.
const MOST_JOINED_BYTES: usize = 16 << 20;

/// Runs a search over the texts, in lower case unless `case_sensitive`. `None` when they are long.
pub(super) fn joined(texts: &StringViewArray, case_sensitive: bool, search: impl FnOnce(&Joined) -> Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    JOINED.with_borrow_mut(|joined| {
        joined.fill(texts, |text, bytes| bytes.extend_from_slice(text.as_bytes()))?;
        if !case_sensitive {
            if !joined.bytes.is_ascii() {
                let mut buffer = Folded { buffer: String::new() };
                joined.fill(texts, |text, bytes| bytes.extend_from_slice(if text.is_ascii() { text } else { buffer.fold(text, false) }.as_bytes()))?;
            }
            joined.bytes.make_ascii_lowercase();
        }
        search(joined)
    })
}

fn no_row_of(rows: usize) -> BooleanBufferBuilder {
    let mut found = BooleanBufferBuilder::new(rows);
    found.append_n(rows, false);
    found
}

impl Joined {
    /// Joins the texts as `push` writes them; `None` when they are long.
    fn fill(&mut self, texts: &StringViewArray, mut push: impl FnMut(&str, &mut Vec<u8>)) -> Option<()> {
        self.bytes.clear();
        self.starts.clear();
        for text in texts.iter() {
            let text = text.unwrap_or_default();
            if self.bytes.len() + text.len() > MOST_JOINED_BYTES {
                return None;
            }
            self.starts.push(self.bytes.len());
            push(text, &mut self.bytes);
            self.bytes.push(0);
        }
        self.starts.push(self.bytes.len());
        Some(())
    }

    /// The rows in which `holds` says of what `next` finds, and of its place in the text, that it counts.
    pub(super) fn rows_with<T>(&self, next: impl Fn(&[u8], usize) -> Option<(usize, T)>, holds: impl Fn(&str, usize, T) -> bool) -> Option<BooleanBuffer> {
        let bytes = std::str::from_utf8(&self.bytes).ok()?;
        let mut found = no_row_of(self.starts.len() - 1);
        let (mut row, mut from) = (0, 0);
        while let Some((at, what)) = next(&self.bytes, from) {
            while self.starts[row + 1] <= at {
                row += 1;
            }
            let (start, end) = (self.starts[row], self.starts[row + 1]);
            if holds(&bytes[start..end - 1], at - start, what) {
                found.set_bit(row, true);
                from = end;
            } else {
                from = at + 1;
            }
        }
        Some(found.finish())
    }

    pub(super) fn rows_with_needle(&self, needle: &Needle, kind: Kind) -> Option<BooleanBuffer> {
        if needle.text.contains('\0') {
            return None;
        }
        let next = |bytes: &[u8], from: usize| needle.finder.find(&bytes[from..]).map(|at| (from + at, ()));
        self.rows_with(next, |text, at, ()| kind == Kind::Substring || bounded(text, at, at + needle.text.len(), kind))
    }
}
