//! Texts that are parts of other texts, built without copying them.

use arrow::array::builder::{ArrayBuilder, StringViewBuilder};
use arrow::array::{Array, ByteView, StringViewArray};

/// Texts up to this length stand in the view itself.
const INLINE: usize = 12;

/// Builds an array of views into the texts of `source`, and into text of its own.
pub struct Slices<'a> {
    source: &'a StringViewArray,
    texts: StringViewBuilder,
}

impl<'a> Slices<'a> {
    pub fn of(source: &'a StringViewArray) -> Slices<'a> {
        let mut texts = StringViewBuilder::with_capacity(source.len());
        // The first blocks of the result are those of the source, so that a view into either has the same number.
        source.data_buffers().iter().for_each(|block| {
            texts.append_block(block.clone());
        });
        Slices { source, texts }
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// A part of the text of a row.
    #[inline]
    pub fn push(&mut self, row: usize, part: &str) {
        if part.len() <= INLINE || !self.push_view(row, part) {
            self.texts.append_value(part);
        }
    }

    /// Whether the part stands in the row's text, so that a view of it is the text.
    fn push_view(&mut self, row: usize, part: &str) -> bool {
        let within = (part.as_ptr() as usize).checked_sub(self.source.value(row).as_ptr() as usize);
        let Some(at) = within.and_then(|at| u32::try_from(at).ok()) else { return false };
        let view = ByteView::from(self.source.views()[row]);
        let stands = part.len() <= view.length.saturating_sub(at) as usize;
        stands && self.texts.try_append_view(view.buffer_index, view.offset.wrapping_add(at), part.len() as u32).is_ok()
    }

    /// A text that stands nowhere in the source.
    pub fn push_own(&mut self, text: &str) {
        self.texts.append_value(text);
    }

    pub fn push_null(&mut self) {
        self.texts.append_null();
    }

    pub fn finish(mut self) -> StringViewArray {
        self.texts.finish()
    }
}
