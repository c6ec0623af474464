//! Texts that are parts of other texts, built without copying them.

use arrow::array::builder::make_view;
use arrow::array::{Array, ByteView, NullBufferBuilder, StringViewArray};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;

/// A block of own text grows no further.
const BLOCK_BYTES: usize = 1 << 16;

/// Texts up to this length stand in the view itself.
const INLINE: usize = 12;

/// Builds an array of views into the texts of `source`, and into text of its own.
pub struct Slices<'a> {
    source: &'a StringViewArray,
    views: Vec<u128>,
    valid: NullBufferBuilder,
    own: Vec<Vec<u8>>,
}

impl<'a> Slices<'a> {
    pub fn of(source: &'a StringViewArray) -> Slices<'a> {
        Slices { source, views: Vec::with_capacity(source.len()), valid: NullBufferBuilder::new(source.len()), own: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// A part of the text of a row.
    pub fn push(&mut self, row: usize, part: &str) {
        let within = (part.as_ptr() as usize).checked_sub(self.source.value(row).as_ptr() as usize);
        let view = ByteView::from(self.source.views()[row]);
        match within.and_then(|at| u32::try_from(at).ok()) {
            Some(at) if part.len() <= (view.length.saturating_sub(at)) as usize => {
                self.views.push(make_view(part.as_bytes(), view.buffer_index, view.offset.wrapping_add(at)));
                self.valid.append_non_null();
            }
            _ => self.push_own(part),
        }
    }

    /// A text that stands nowhere in the source.
    pub fn push_own(&mut self, text: &str) {
        self.valid.append_non_null();
        if text.len() <= INLINE {
            self.views.push(make_view(text.as_bytes(), 0, 0));
            return;
        }
        if self.own.last().is_none_or(|block| block.len() + text.len() > BLOCK_BYTES) {
            self.own.push(Vec::new());
        }
        let block = self.own.len() - 1;
        let at = self.own[block].len();
        self.own[block].extend_from_slice(text.as_bytes());
        self.views.push(make_view(text.as_bytes(), (self.source.data_buffers().len() + block) as u32, at as u32));
    }

    pub fn push_null(&mut self) {
        self.views.push(0);
        self.valid.append_null();
    }

    /// # Errors
    /// When a view is not a part of its buffer: a bug here.
    pub fn finish(mut self) -> Result<StringViewArray, ArrowError> {
        let buffers: Vec<Buffer> = self.source.data_buffers().iter().cloned().chain(self.own.into_iter().map(Buffer::from_vec)).collect();
        StringViewArray::try_new(self.views.into(), buffers, self.valid.finish())
    }
}
