//! Texts that lie one after the other in a buffer, as those of a page of Parquet do: searched where they are, all at once.

use super::marks::Marks;
use arrow::array::{Array, BooleanBufferBuilder, ByteView, MAX_INLINE_VIEW_LEN, StringViewArray};
use arrow::buffer::BooleanBuffer;
use std::ops::Range;

/// Rows whose texts lie in one buffer in their order, with `BETWEEN` bytes before each but the first, of which the last is zero.
struct Span {
    rows: Range<usize>,
    buffer: usize,
    bytes: Range<usize>,
}

/// The texts of a batch as spans, and the rows that are in none.
pub(super) struct Spans<'a> {
    texts: &'a StringViewArray,
    spans: Vec<Span>,
    others: Vec<usize>,
}

/// A length, in little endian.
pub(super) const BETWEEN: usize = 4;

/// Searching is worth it when a span has as many rows as these, on average.
const WORTH: usize = 16;

impl Span {
    /// Takes in the next row when its text lies behind the others.
    fn takes(&mut self, row: usize, view: ByteView, buffer: &[u8]) -> bool {
        let start = view.offset as usize;
        let end = start + view.length as usize;
        let taken = start == self.bytes.end + BETWEEN && self.rows.end == row && buffer[start - 1] == 0;
        if taken {
            self.rows.end = row + 1;
            self.bytes.end = end;
        }
        taken
    }
}

impl<'a> Spans<'a> {
    /// `None` when the texts lie scattered, when many are so short that they are in no buffer, and when one has letters beyond
    /// ASCII.
    pub(super) fn of(texts: &'a StringViewArray) -> Option<Spans<'a>> {
        let (mut spans, mut others): (Vec<Span>, _) = (Vec::new(), Vec::new());
        let buffers = texts.data_buffers();
        for (row, view) in texts.views().iter().enumerate() {
            let view = ByteView::from(*view);
            let buffer = view.buffer_index as usize;
            if view.length <= MAX_INLINE_VIEW_LEN || texts.is_null(row) {
                others.push(row);
            } else if spans.last_mut().is_some_and(|span| span.buffer == buffer && span.takes(row, view, &buffers[buffer])) {
                continue;
            } else {
                let start = view.offset as usize;
                spans.push(Span { rows: row..row + 1, buffer, bytes: start..start + view.length as usize });
            }
            if spans.len() + others.len() > row / WORTH + WORTH {
                return None;
            }
        }
        let ascii = |span: &Span| buffers[span.buffer][span.bytes.clone()].is_ascii() || span.rows.clone().all(|row| texts.value(row).is_ascii());
        spans.iter().all(ascii).then_some(Spans { texts, spans, others })
    }

    /// The rows of which `search` marks a place, given the bytes of a span and what tells where the text at a place ends; and
    /// those that `each` takes of the rows that are in no span.
    pub(super) fn rows(&self, search: impl Fn(&[u8], &dyn Fn(usize) -> usize) -> Marks, each: impl Fn(&str) -> bool) -> BooleanBuffer {
        let mut found = BooleanBufferBuilder::new(self.texts.len());
        for Span { rows, buffer, bytes } in &self.spans {
            let views = &self.texts.views()[rows.clone()];
            let text = &self.texts.data_buffers()[*buffer][bytes.clone()];
            let end = |view: &u128| ByteView::from(*view).offset as usize + ByteView::from(*view).length as usize - bytes.start;
            let end_behind = |at: usize| end(&views[views.partition_point(|view| end(view) <= at)]);
            let marks = search(text, &end_behind);
            found.append_n(rows.start - found.len(), false);
            found.append_buffer(&marks.rows(rows.len(), |row| {
                let view = ByteView::from(views[row]);
                (view.offset as usize - bytes.start, view.length as usize)
            }));
        }
        found.append_n(self.texts.len() - found.len(), false);
        for row in self.others.iter().filter(|row| self.texts.is_valid(**row)) {
            found.set_bit(*row, each(self.texts.value(*row)));
        }
        found.finish()
    }
}
