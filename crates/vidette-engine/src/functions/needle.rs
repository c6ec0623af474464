//! A text that others are searched for. Kusto docs: `datatypes-string-operators`.
//!
//! A term is a maximal run of alphanumeric characters. A needle matches `has` where it stands with a boundary
//! on each side on which its own edge is alphanumeric.

use vidette_kql::fold::{fold_into, folded};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Term,
    TermPrefix,
    TermSuffix,
    Substring,
    Start,
    End,
    Whole,
}

/// The text in lower case, in a buffer that is used again for the next row.
pub(super) struct Folded {
    pub(super) buffer: String,
}

impl Folded {
    pub(super) fn fold<'a>(&'a mut self, text: &'a str, case_sensitive: bool) -> &'a str {
        if case_sensitive {
            return text;
        }
        self.buffer.clear();
        fold_into(text, &mut self.buffer);
        &self.buffer
    }
}

/// One needle with its searcher.
pub(super) struct Needle {
    pub(super) text: String,
    pub(super) finder: memchr::memmem::Finder<'static>,
}

impl Needle {
    pub(super) fn new(text: &str, case_sensitive: bool) -> Needle {
        let text = if case_sensitive { text.to_owned() } else { folded(text) };
        let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
        Needle { text, finder }
    }

    /// The answer for a kind that looks at an end of the text, when ASCII settles it.
    pub(super) fn matches_ascii(&self, text: &str, kind: Kind, case_sensitive: bool) -> Option<bool> {
        let (text, needle) = (text.as_bytes(), self.text.as_bytes());
        let part = match kind {
            Kind::Start => text.get(..needle.len()),
            Kind::End => text.len().checked_sub(needle.len()).map(|from| &text[from..]),
            Kind::Whole => Some(text),
            Kind::Term | Kind::TermPrefix | Kind::TermSuffix | Kind::Substring => return None,
        };
        let same = part.is_some_and(|part| if case_sensitive { part == needle } else { part.eq_ignore_ascii_case(needle) });
        (same || case_sensitive || text.is_ascii()).then_some(same)
    }

    pub(super) fn matches(&self, text: &str, kind: Kind) -> bool {
        match kind {
            Kind::Substring => self.finder.find(text.as_bytes()).is_some(),
            Kind::Start => text.starts_with(&self.text),
            Kind::End => text.ends_with(&self.text),
            Kind::Whole => text == self.text,
            Kind::Term | Kind::TermPrefix | Kind::TermSuffix => {
                if self.text.is_empty() {
                    return true;
                }
                self.finder.find_iter(text.as_bytes()).any(|at| bounded(text, at, at + self.text.len(), kind)) || self.overlapping(text, kind)
            }
        }
    }

    /// Occurrences that overlap an earlier one (`a-a` in `xa-a-a`): only asked when the plain scan found none.
    fn overlapping(&self, text: &str, kind: Kind) -> bool {
        let mut from = 0;
        while let Some(at) = text.as_bytes().get(from..).and_then(|rest| self.finder.find(rest)) {
            let start = from + at;
            if bounded(text, start, start + self.text.len(), kind) {
                return true;
            }
            from = start + 1;
        }
        false
    }
}

/// Whether the match `start..end` stands between term boundaries where its own edges ask for them.
pub(super) fn bounded(text: &str, start: usize, end: usize, kind: Kind) -> bool {
    let bytes = text.as_bytes();
    let separates = |at: usize| bytes.get(at).is_none_or(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric());
    if separates(start.wrapping_sub(1)) && separates(end) {
        return true;
    }
    let left_free = kind == Kind::TermSuffix || !ends_alphanumeric(&text[..start]) || !starts_alphanumeric(&text[start..]);
    let right_free = kind == Kind::TermPrefix || !starts_alphanumeric(&text[end..]) || !ends_alphanumeric(&text[..end]);
    left_free && right_free
}

fn starts_alphanumeric(text: &str) -> bool {
    match text.as_bytes().first() {
        Some(byte) if byte.is_ascii() => byte.is_ascii_alphanumeric(),
        Some(_) => text.chars().next().is_some_and(char::is_alphanumeric),
        None => false,
    }
}

fn ends_alphanumeric(text: &str) -> bool {
    match text.as_bytes().last() {
        Some(byte) if byte.is_ascii() => byte.is_ascii_alphanumeric(),
        Some(_) => text.chars().next_back().is_some_and(char::is_alphanumeric),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_beyond_ascii_have_one_case() {
        let has = |text: &str, needle: &str, kind: Kind| Needle::new(needle, false).matches(&folded(text), kind);
        assert!(
            has("Größe ÄNDERN", "ändern", Kind::Term) && has("ΟΔΟΣ", "οδος", Kind::Whole) && has("ΟΔΟΣΑ", "οδος", Kind::Substring) && has("\u{212a}B 5", "kb", Kind::TermPrefix)
        );
        assert!(!has("Große", "ß", Kind::Term));
    }
}
