//! Texts that lie one after the other in a buffer, as those of a page of Parquet do: searched where they are, all at once.

use arrow::array::{Array, ByteView, MAX_INLINE_VIEW_LEN, StringViewArray};
use std::ops::Range;

/// Rows whose texts lie in one buffer in their order, a byte that is no letter or digit before each.
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

/// Texts of a span have at most as many bytes between them as a few lengths take.
const MOST_BETWEEN: usize = 16;

/// Searching is worth it when a span has as many rows as these, on average.
const WORTH: usize = 16;

impl Span {
    /// Takes in the next row when its text lies behind the others.
    fn takes(&mut self, row: usize, view: ByteView, buffer: &[u8]) -> bool {
        let start = view.offset as usize;
        let end = start + view.length as usize;
        let near = start.wrapping_sub(self.bytes.end) < MOST_BETWEEN && self.rows.end == row;
        let taken = near && !buffer[start - 1].is_ascii_alphanumeric();
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

    /// The rows that are in no span.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> {
        self.others.iter().copied()
    }

    /// Gives `search` the bytes of each span, and what tells which text is at a place among them.
    pub(super) fn search(&self, mut search: impl FnMut(&[u8], &mut Place<'a>)) {
        for span in &self.spans {
            let bytes = &self.texts.data_buffers()[span.buffer][span.bytes.start..span.bytes.end];
            search(bytes, &mut Place { texts: self.texts, rows: span.rows.clone(), offset: span.bytes.start });
        }
    }
}

/// Which text is at a place of a span. Places have to be asked for in their order.
pub(super) struct Place<'a> {
    texts: &'a StringViewArray,
    /// The rows that are not passed yet.
    rows: Range<usize>,
    offset: usize,
}

impl<'a> Place<'a> {
    /// The row, where its text begins in the span, and the text. `None` between texts.
    pub(super) fn text_at(&mut self, at: usize) -> Option<(usize, usize, &'a str)> {
        let at = self.offset + at;
        for view in &self.texts.views()[self.rows.clone()] {
            let view = ByteView::from(*view);
            let begin = view.offset as usize;
            if at < begin + view.length as usize {
                return (begin <= at).then(|| (self.rows.start, begin - self.offset, self.texts.value(self.rows.start)));
            }
            self.rows.start += 1;
        }
        None
    }
}
