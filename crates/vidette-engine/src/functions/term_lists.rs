//! Lists of texts that others are searched for: `in~`, `has_any`, `has_all`. Kusto docs: `in-operator`, `has-any-operator`,
//! `has-all-operator`.

use super::joined::Joined;
use super::needle::{Kind, Needle, bounded};
use super::spans::{BETWEEN, Spans};
use super::term_starts::TermStarts;
use crate::json;
use aho_corasick::{AhoCorasick, MatchKind};
use arrow::array::StringViewArray;
use arrow::buffer::BooleanBuffer;
use fearless_simd::Level;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use vidette_kql::fold::folded;

/// What the items of a list are looked for as.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum As {
    /// The whole text.
    Whole,
    /// The whole text, in either case.
    WholeAnyCase,
    /// Terms of the text, in either case.
    Terms,
}

/// A list's text, how it was compiled, and the outcome.
type CachedList = (String, As, Rc<Compiled>);

/// A list compiled once: a set for `in`, an automaton for `has_any` and `has_all`.
pub(super) struct Compiled {
    pub(super) items: Vec<String>,
    /// The items as needles, made when each of them is looked for.
    needles: OnceCell<Vec<Needle>>,
    pub(super) set: std::collections::HashSet<String>,
    automaton: Option<AhoCorasick>,
    /// Finds where items begin, faster than the automaton, which finds all of them.
    searcher: Option<AhoCorasick>,
    /// In place of the searcher where each item begins a term.
    starts: Option<TermStarts>,
    pub(super) has_empty: bool,
}

impl Compiled {
    /// `level` is what the processor can.
    fn new(list: &str, how: As, level: Level) -> Compiled {
        let terms = how == As::Terms;
        let items: Vec<String> = json::strings(list).into_iter().map(|item| if how == As::Whole { item } else { folded(&item) }).collect();
        let has_empty = items.iter().any(String::is_empty);
        let automaton = if terms { AhoCorasick::builder().match_kind(MatchKind::Standard).build(items.iter().filter(|item| !item.is_empty())).ok() } else { None };
        let starts = if terms { TermStarts::new(&items, level) } else { None };
        let is_searched = terms && starts.is_none();
        let searcher = if is_searched { AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(items.iter().filter(|item| !item.is_empty())).ok() } else { None };
        let set = if terms { Default::default() } else { items.iter().cloned().collect() };
        Compiled { items, needles: OnceCell::new(), set, automaton, searcher, starts, has_empty }
    }

    pub(super) fn needles(&self) -> &[Needle] {
        self.needles.get_or_init(|| self.items.iter().map(|item| Needle::new(item, true)).collect())
    }

    pub(super) fn has_any(&self, text: &str) -> bool {
        self.has_empty || self.automaton.as_ref().is_some_and(|automaton| automaton.find_overlapping_iter(text).any(|found| bounded(text, found.start(), found.end(), Kind::Term)))
    }

    pub(super) fn has_all(&self, text: &str) -> bool {
        self.needles().iter().all(|needle| needle.matches(text, Kind::Term))
    }

    /// The rows that have one of the items, searched where the texts lie. `None` when they have to be joined for it.
    pub(super) fn rows_in_place(&self, texts: &StringViewArray) -> Option<BooleanBuffer> {
        let starts = self.starts.as_ref()?;
        let spans = Spans::of(texts)?;
        let search = |bytes: &[u8], end_behind: &dyn Fn(usize) -> usize| {
            starts.mark(bytes, |at, item| {
                let end = at + item.len();
                let next: Option<&[u8; BETWEEN]> = bytes.get(end..).and_then(<[u8]>::first_chunk);
                // What lies between texts has a zero byte: this one may end here, or within what is taken for the item.
                let text_end = if next.is_none_or(|next| next.contains(&0)) { end_behind(at) } else { usize::MAX };
                end == text_end || end < text_end && !(item.ends_alphanumeric() && bytes[end].is_ascii_alphanumeric())
            })
        };
        Some(spans.rows(search, |text| self.has_any(&folded(text))))
    }

    pub(super) fn rows_with_all(&self, joined: &Joined) -> Option<BooleanBuffer> {
        let mut needles = self.needles().iter().filter(|needle| !needle.text.is_empty()).map(|needle| joined.rows_with_needle(needle, Kind::Term));
        let first = needles.next()??;
        needles.try_fold(first, |rows, more| Some(&rows & &more?))
    }

    pub(super) fn rows_with_any(&self, joined: &Joined) -> Option<BooleanBuffer> {
        match &self.starts {
            Some(starts) => rows_with_start(starts, joined),
            None => self.rows_with_found(joined),
        }
    }

    fn rows_with_found(&self, joined: &Joined) -> Option<BooleanBuffer> {
        let searcher = self.searcher.as_ref().filter(|_| !self.items.iter().any(|item| item.contains('\0')))?;
        let next = |bytes: &[u8], from: usize| searcher.find(aho_corasick::Input::new(bytes).range(from..)).map(|found| (found.start(), found.pattern().as_usize()));
        let is_term = |text: &str, at: usize, item: &str| bounded(text, at, at + item.len(), Kind::Term);
        // Another item may begin at the same place.
        let other = |text: &str, at: usize| self.items.iter().any(|item| text[at..].starts_with(item.as_str()) && is_term(text, at, item));
        let holds = |text: &str, at: usize, item: usize| is_term(text, at, &self.items[item]) || other(text, at);
        joined.rows_with(next, holds)
    }
}

fn rows_with_start(starts: &TermStarts, joined: &Joined) -> Option<BooleanBuffer> {
    let bytes = std::str::from_utf8(&joined.bytes).ok()?;
    let marks = starts.mark(&joined.bytes, |at, item| bounded(bytes, at, at + item.len(), Kind::Term));
    let rows = joined.starts.len() - 1;
    Some(marks.rows(rows, |row| (joined.starts[row], joined.starts[row + 1] - joined.starts[row])))
}

thread_local! {
    /// The lists compiled last on this thread, so that each batch of a scan finds its automaton ready.
    static COMPILED: RefCell<Vec<CachedList>> = const { RefCell::new(Vec::new()) };
}

const COMPILED_LISTS: usize = 16;

pub(super) fn compiled(list: &str, how: As) -> Rc<Compiled> {
    COMPILED.with_borrow_mut(|lists| {
        if let Some((.., found)) = lists.iter().find(|(text, known, _)| *known == how && text == list) {
            return found.clone();
        }
        let made = Rc::new(Compiled::new(list, how, Level::new()));
        if lists.len() == COMPILED_LISTS {
            lists.remove(0);
        }
        lists.push((list.to_owned(), how, made.clone()));
        made
    })
}

#[cfg(test)]
mod tests {
    use super::super::joined::joined;
    use super::*;

    /// What this processor can, or what all of its kind can, in turns.
    fn level(round: usize) -> Level {
        [Level::new(), Level::baseline()][round % 2]
    }

    #[test]
    fn a_search_over_all_texts_finds_what_a_search_of_each_does() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut text = |most: usize| -> String {
            let letters = ['a', 'A', 'b', 'é', 'É', 'Σ', 'σ', 'ς', '\u{130}', '\u{212a}', 'k', 'i', '-', ' ', '1', '中'];
            (0..random.usize(0..most)).map(|_| *random.choice(&letters).expect("a letter")).collect()
        };
        let mut seen = 0;
        for round in 0..2_000 {
            let case_sensitive = round % 3 == 0;
            let texts: Vec<String> = (0..8).map(|_| text(12)).collect();
            let fold = |text: &str| if case_sensitive { text.to_owned() } else { folded(text) };
            let array = StringViewArray::from_iter_values(&texts);
            let rows = |found: Option<BooleanBuffer>| found.map(|found| found.iter().collect::<Vec<bool>>());
            let needle = Needle::new(&text(4), case_sensitive);
            for kind in [Kind::Substring, Kind::Term, Kind::TermPrefix, Kind::TermSuffix].into_iter().filter(|_| !needle.text.is_empty()) {
                let each: Vec<bool> = texts.iter().map(|text| needle.matches(&fold(text), kind)).collect();
                assert_eq!(rows(joined(&array, case_sensitive, |joined| joined.rows_with_needle(&needle, kind))), Some(each), "{texts:?} {}", needle.text);
            }
            let items: Vec<String> = (0..3).map(|_| text(3)).collect();
            let list = Compiled::new(&serde_json::to_string(&items).expect("JSON"), As::Terms, level(round));
            let (all, any): (Vec<bool>, Vec<bool>) = texts.iter().map(|text| (list.has_all(&folded(text)), list.has_any(&folded(text)))).unzip();
            let found = rows(joined(&array, false, |joined| list.rows_with_all(joined)));
            assert!(found.as_ref().is_none_or(|found| *found == all), "{texts:?} {items:?} {found:?}");
            if !list.has_empty {
                assert_eq!(rows(joined(&array, false, |joined| list.rows_with_any(joined))), Some(any), "{texts:?} {items:?}");
            }
            let items: Vec<String> = ["a", "k", "1"].iter().map(|first| format!("{first}{}", Some(text(2)).filter(|more| !more.is_empty()).unwrap_or("b".to_owned()))).collect();
            let list = Compiled::new(&serde_json::to_string(&items).expect("JSON"), As::Terms, level(round));
            let any: Vec<bool> = texts.iter().map(|text| list.has_any(&folded(text))).collect();
            seen += any.iter().filter(|any| **any).count();
            assert!(list.starts.is_some());
            assert_eq!(rows(joined(&array, false, |joined| list.rows_with_any(joined))), Some(any), "{texts:?} {items:?}");
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn a_search_where_texts_lie_finds_what_a_search_of_each_does() {
        const LONG: &str = "the-name-of-a-host-that-is-LONG";
        let mut random = fastrand::Rng::with_seed(5);
        let words =
            ["box", "Box2", "drop", "DropBox", "x", "9", "dropboxapi", "githubusercontent", "GitHubUserContents", "a_b", "a\u{10}", LONG, "The-name-of-a-host-that-is-longx"];
        let list = r#"["box","dropbox","dropboxapi","githubusercontent","a_b","drop box","drop.box","9box","the-name-of-a-host-that-is-long","xx"]"#;
        let (mut searched, mut found) = (0, 0);
        for round in 0..60 {
            let list = Compiled::new(list, As::Terms, level(round));
            // Every third round all lie as in a page; in others some lie together, some have letters beyond ASCII.
            let strange = |random: &mut fastrand::Rng, one_of: usize| round % 3 > 0 && random.usize(0..one_of) == 0;
            let mut buffers = vec![Vec::new(), Vec::new()];
            let (mut texts, mut views) = (Vec::new(), Vec::new());
            for row in 0..4_000 {
                let least = if random.usize(0..40) == 0 { 1 } else { 16 };
                let mut text = String::new();
                while text.len() < least {
                    text.push_str(random.choice(words).expect("a word"));
                    text.push_str(random.choice([".", " ", "/", "-", ""]).expect("a separator"));
                }
                if round % 3 == 2 && strange(&mut random, 9_000) {
                    text.push('é');
                }
                let at = usize::from(row >= 3_000);
                if !strange(&mut random, 100) {
                    buffers[at].extend_from_slice(&(text.len() as u32).to_le_bytes());
                }
                views.push(arrow::array::make_view(text.as_bytes(), at as u32, buffers[at].len() as u32));
                buffers[at].extend_from_slice(text.as_bytes());
                texts.push((random.usize(0..500) > 0).then_some(text));
            }
            let nulls = texts.iter().map(Option::is_some).collect::<Vec<bool>>().into();
            let array = StringViewArray::try_new(views.into(), buffers.into_iter().map(Into::into).collect::<Vec<arrow::buffer::Buffer>>(), Some(nulls)).expect("views");
            let each: Vec<bool> = texts.iter().map(|text| text.as_ref().is_some_and(|text| list.has_any(&folded(text)))).collect();
            let Some(rows) = list.rows_in_place(&array) else { continue };
            assert_eq!(rows.iter().collect::<Vec<bool>>(), each);
            searched += 1;
            found += rows.count_set_bits();
        }
        assert!((30..60).contains(&searched) && found > searched * 500, "{searched} {found}");
        let scattered = StringViewArray::from_iter_values((0..100).map(|n| format!("a text of which the next lies right behind it {n}")));
        assert!(Compiled::new(list, As::Terms, Level::new()).rows_in_place(&scattered).is_none());
    }

    #[test]
    fn the_end_of_a_text_and_the_length_of_the_next_are_no_item() {
        let texts = ["-- as long as this is the length is the digit 0: 12345", "-- of 48 characters, the digit 0, as they end in 123"];
        let mut buffer = Vec::new();
        let views: Vec<u128> = texts
            .repeat(40)
            .iter()
            .map(|text| {
                buffer.extend_from_slice(&48u32.to_le_bytes());
                buffer.extend_from_slice(&text.as_bytes()[text.len() - 48..]);
                arrow::array::make_view(&text.as_bytes()[text.len() - 48..], 0, (buffer.len() - 48) as u32)
            })
            .collect();
        let array = StringViewArray::try_new(views.into(), vec![buffer.into()], None).expect("views");
        for (list, count) in [(r#"["1230","123450","1234"]"#, 0), (r#"["123","1234"]"#, 40), (r#"["as they","x123"]"#, 40), (r#"["in 123","0: 1"]"#, 40)] {
            let rows = Compiled::new(list, As::Terms, Level::new()).rows_in_place(&array).expect("a span");
            assert_eq!(rows.count_set_bits(), count, "{list}");
        }
    }
}
