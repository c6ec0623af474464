//! String operators over terms and substrings. Kusto docs: `datatypes-string-operators`, `has-anyoperator`.
//!
//! A term is a maximal run of alphanumeric characters. A needle matches `has` where it stands with a boundary
//! on each side on which its own edge is alphanumeric.

use super::spans::Spans;
use super::term_starts::{Item, TermStarts};
use super::udf::Argument;
use super::{ScalarFunction, batch, stock};
use crate::json;
use aho_corasick::{AhoCorasick, MatchKind};
use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, BooleanBuilder, StringViewArray};
use arrow::buffer::BooleanBuffer;
use datafusion::common::Result;
use datafusion::logical_expr::not;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use vidette_kql::ScalarType;
use vidette_kql::fold::{fold_into, folded};

/// Each operator with its negation: `has`, `!has`.
macro_rules! operators {
    ($($name:literal $negated:literal $kind:expr, $cs:literal;)*) => {
        &[$(
            batch($name, |a, rows| one_needle(a, rows, $kind, $cs)),
            stock($negated, |_, a| not(super::udf::call($name, &[ScalarType::String, ScalarType::String], ScalarType::Bool, a))),
        )*
            batch("in_array", |a, rows| lists(a, rows, List::In, true)),
            batch("in~_array", |a, rows| lists(a, rows, List::In, false)),
            batch("!in_array", |a, rows| lists(a, rows, List::NotIn, true)),
            batch("!in~_array", |a, rows| lists(a, rows, List::NotIn, false)),
            batch("has_any_array", |a, rows| lists(a, rows, List::HasAny, false)),
            batch("has_all_array", |a, rows| lists(a, rows, List::HasAll, false)),
            stock("in~", |_, a| as_array("in~_array", a)),
            stock("!in~", |_, a| as_array("!in~_array", a)),
            stock("has_any", |_, a| as_array("has_any_array", a)),
            stock("has_all", |_, a| as_array("has_all_array", a)),
            batch("has_any_index", has_any_index),
        ]
    };
}

pub(super) const FUNCTIONS: &[ScalarFunction] = operators! {
    "has" "!has" Kind::Term, false;
    "has_cs" "!has_cs" Kind::Term, true;
    "hasprefix" "!hasprefix" Kind::TermPrefix, false;
    "hasprefix_cs" "!hasprefix_cs" Kind::TermPrefix, true;
    "hassuffix" "!hassuffix" Kind::TermSuffix, false;
    "hassuffix_cs" "!hassuffix_cs" Kind::TermSuffix, true;
    "contains" "!contains" Kind::Substring, false;
    "contains_cs" "!contains_cs" Kind::Substring, true;
    "startswith" "!startswith" Kind::Start, false;
    "startswith_cs" "!startswith_cs" Kind::Start, true;
    "endswith" "!endswith" Kind::End, false;
    "endswith_cs" "!endswith_cs" Kind::End, true;
    "=~" "!~" Kind::Whole, false;
};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Term,
    TermPrefix,
    TermSuffix,
    Substring,
    Start,
    End,
    Whole,
}

#[derive(Clone, Copy, PartialEq)]
enum List {
    In,
    NotIn,
    HasAny,
    HasAll,
}

/// `value op (a, b, …)` as the kernel over one array.
fn as_array(kernel: &str, mut operands: Vec<datafusion::logical_expr::Expr>) -> datafusion::logical_expr::Expr {
    let value = operands.remove(0);
    let types = vec![ScalarType::String; operands.len()];
    let list = super::udf::call("text_list", &types, ScalarType::Dynamic, operands);
    super::udf::call(kernel, &[ScalarType::String, ScalarType::Dynamic], ScalarType::Bool, vec![value, list])
}

/// The text in lower case, in a buffer that is used again for the next row.
struct Folded {
    buffer: String,
}

impl Folded {
    fn fold<'a>(&'a mut self, text: &'a str, case_sensitive: bool) -> &'a str {
        if case_sensitive {
            return text;
        }
        self.buffer.clear();
        fold_into(text, &mut self.buffer);
        &self.buffer
    }
}

fn one_needle(arguments: &[Argument], rows: usize, kind: Kind, case_sensitive: bool) -> Result<ArrayRef> {
    let (haystack, needle) = (&arguments[0], &arguments[1]);
    if let (Some(texts), true) = (haystack.texts(), needle.constant) {
        let needle = Needle::new(needle.cell(0).text(), case_sensitive);
        let within = matches!(kind, Kind::Substring | Kind::Term | Kind::TermPrefix | Kind::TermSuffix) && !needle.text.is_empty();
        if let Some(found) = within.then(|| joined(texts, case_sensitive, |joined| joined.rows_with_needle(&needle, kind))).flatten() {
            return Ok(Arc::new(BooleanArray::new(found, None)));
        }
        let mut folded = Folded { buffer: String::new() };
        let holds = |text: &str| match needle.matches_ascii(text, kind, case_sensitive) {
            Some(matches) => matches,
            None => needle.matches(folded.fold(text, case_sensitive), kind),
        };
        return Ok(Arc::new(BooleanArray::from_iter(texts.iter().map(Option::unwrap_or_default).map(holds).map(Some))));
    }
    let mut found = BooleanBuilder::with_capacity(rows);
    let mut folded = Folded { buffer: String::new() };
    let mut compiled: Option<(String, Needle)> = None;
    for row in 0..rows {
        let wanted = needle.cell(row).text();
        if compiled.as_ref().is_none_or(|(text, _)| text != wanted) {
            compiled = Some((wanted.to_owned(), Needle::new(wanted, case_sensitive)));
        }
        let text = haystack.cell(row).text();
        let matches = compiled.as_ref().is_some_and(|(_, needle)| needle.matches(folded.fold(text, case_sensitive), kind));
        found.append_value(matches);
    }
    Ok(Arc::new(found.finish()))
}

/// The texts of a batch one after the other, a zero byte after each, so that one search serves them all.
#[derive(Default)]
struct Joined {
    bytes: Vec<u8>,
    /// Where each text begins; and where the next one would.
    starts: Vec<usize>,
}

thread_local! {
    static JOINED: RefCell<Joined> = RefCell::default();
}

/// Longer batches are searched text by text: they would be held twice.
const MOST_JOINED_BYTES: usize = 16 << 20;

/// Runs a search over the texts, in lower case unless `case_sensitive`. `None` when they are long.
fn joined(texts: &StringViewArray, case_sensitive: bool, search: impl FnOnce(&Joined) -> Option<BooleanBuffer>) -> Option<BooleanBuffer> {
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

/// Whether this item, whose first bytes are at this place of the text and perhaps beyond its end, is a term there.
fn has_at(text: &str, at: usize, item: &Item) -> bool {
    item.goes_on(&text.as_bytes()[at..]) && bounded(text, at, at + item.len(), Kind::Term)
}

/// The rows that have one of the items, searched where the texts lie. `None` when they have to be joined for it.
fn rows_in_place(texts: &StringViewArray, list: &Compiled) -> Option<BooleanBuffer> {
    let starts = list.starts.as_ref()?;
    let spans = Spans::of(texts)?;
    let mut found = no_row_of(texts.len());
    for row in spans.others().filter(|row| texts.is_valid(*row)) {
        found.set_bit(row, list.has_any(&folded(texts.value(row))));
    }
    spans.search(|bytes, place| {
        starts.scan(bytes, |at, item| {
            let (row, begin, text) = place.text_at(at)?;
            has_at(text, at - begin, item).then(|| {
                found.set_bit(row, true);
                begin + text.len()
            })
        });
    });
    Some(found.finish())
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
    fn rows_with<T>(&self, next: impl Fn(&[u8], usize) -> Option<(usize, T)>, holds: impl Fn(&str, usize, T) -> bool) -> Option<BooleanBuffer> {
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

    fn rows_with_needle(&self, needle: &Needle, kind: Kind) -> Option<BooleanBuffer> {
        if needle.text.contains('\0') {
            return None;
        }
        let next = |bytes: &[u8], from: usize| needle.finder.find(&bytes[from..]).map(|at| (from + at, ()));
        self.rows_with(next, |text, at, ()| kind == Kind::Substring || bounded(text, at, at + needle.text.len(), kind))
    }

    fn rows_with_all(&self, list: &Compiled) -> Option<BooleanBuffer> {
        let mut needles = list.needles().iter().filter(|needle| !needle.text.is_empty()).map(|needle| self.rows_with_needle(needle, Kind::Term));
        let first = needles.next()??;
        needles.try_fold(first, |rows, more| Some(&rows & &more?))
    }

    fn rows_with_any(&self, list: &Compiled) -> Option<BooleanBuffer> {
        match &list.starts {
            Some(starts) => self.rows_with_start(starts),
            None => self.rows_with_found(list),
        }
    }

    fn rows_with_start(&self, starts: &TermStarts) -> Option<BooleanBuffer> {
        let bytes = std::str::from_utf8(&self.bytes).ok()?;
        let mut found = no_row_of(self.starts.len() - 1);
        let mut row = 0;
        starts.scan(&self.bytes, |at, item| {
            while self.starts[row + 1] <= at {
                row += 1;
            }
            let (start, end) = (self.starts[row], self.starts[row + 1]);
            has_at(&bytes[start..end - 1], at - start, item).then(|| {
                found.set_bit(row, true);
                end
            })
        });
        Some(found.finish())
    }

    fn rows_with_found(&self, list: &Compiled) -> Option<BooleanBuffer> {
        let searcher = list.searcher.as_ref().filter(|_| !list.items.iter().any(|item| item.contains('\0')))?;
        let next = |bytes: &[u8], from: usize| searcher.find(aho_corasick::Input::new(bytes).range(from..)).map(|found| (found.start(), found.pattern().as_usize()));
        let is_term = |text: &str, at: usize, item: &str| bounded(text, at, at + item.len(), Kind::Term);
        // Another item may begin at the same place.
        let other = |text: &str, at: usize| list.items.iter().any(|item| text[at..].starts_with(item.as_str()) && is_term(text, at, item));
        let holds = |text: &str, at: usize, item: usize| is_term(text, at, &list.items[item]) || other(text, at);
        self.rows_with(next, holds)
    }
}

/// One needle with its searcher.
struct Needle {
    text: String,
    finder: memchr::memmem::Finder<'static>,
}

impl Needle {
    fn new(text: &str, case_sensitive: bool) -> Needle {
        let text = if case_sensitive { text.to_owned() } else { folded(text) };
        let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
        Needle { text, finder }
    }

    /// The answer for a kind that looks at an end of the text, when ASCII settles it.
    fn matches_ascii(&self, text: &str, kind: Kind, case_sensitive: bool) -> Option<bool> {
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

    fn matches(&self, text: &str, kind: Kind) -> bool {
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
fn bounded(text: &str, start: usize, end: usize, kind: Kind) -> bool {
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

/// A list's text, how it was compiled (case-sensitive, for terms), and the outcome.
type CachedList = (String, (bool, bool), Rc<Compiled>);

/// A list compiled once: a set for `in`, an automaton for `has_any` and `has_all`.
struct Compiled {
    items: Vec<String>,
    /// The items as needles, made when each of them is looked for.
    needles: OnceCell<Vec<Needle>>,
    set: std::collections::HashSet<String>,
    automaton: Option<AhoCorasick>,
    /// Finds where items begin, faster than the automaton, which finds all of them.
    searcher: Option<AhoCorasick>,
    /// In place of the searcher where each item begins a term.
    starts: Option<TermStarts>,
    has_empty: bool,
}

impl Compiled {
    fn new(list: &str, case_sensitive: bool, terms: bool) -> Compiled {
        let items: Vec<String> = json::strings(list).into_iter().map(|item| if case_sensitive { item } else { folded(&item) }).collect();
        let has_empty = items.iter().any(String::is_empty);
        let automaton = if terms { AhoCorasick::builder().match_kind(MatchKind::Standard).build(items.iter().filter(|item| !item.is_empty())).ok() } else { None };
        let searcher = if terms { AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(items.iter().filter(|item| !item.is_empty())).ok() } else { None };
        let starts = if terms { TermStarts::new(&items) } else { None };
        let set = if terms { Default::default() } else { items.iter().cloned().collect() };
        Compiled { items, needles: OnceCell::new(), set, automaton, searcher, starts, has_empty }
    }

    fn needles(&self) -> &[Needle] {
        self.needles.get_or_init(|| self.items.iter().map(|item| Needle::new(item, true)).collect())
    }

    fn has_any(&self, text: &str) -> bool {
        self.has_empty || self.automaton.as_ref().is_some_and(|automaton| automaton.find_overlapping_iter(text).any(|found| bounded(text, found.start(), found.end(), Kind::Term)))
    }

    fn has_all(&self, text: &str) -> bool {
        self.needles().iter().all(|needle| needle.matches(text, Kind::Term))
    }
}

thread_local! {
    /// The lists compiled last on this thread, so that each batch of a scan finds its automaton ready.
    static COMPILED: RefCell<Vec<CachedList>> = const { RefCell::new(Vec::new()) };
}

const COMPILED_LISTS: usize = 16;

fn compiled(list: &str, case_sensitive: bool, terms: bool) -> Rc<Compiled> {
    COMPILED.with_borrow_mut(|lists| {
        let key = (case_sensitive, terms);
        if let Some((.., found)) = lists.iter().find(|(text, mode, _)| *mode == key && text == list) {
            return found.clone();
        }
        let made = Rc::new(Compiled::new(list, case_sensitive, terms));
        if lists.len() == COMPILED_LISTS {
            lists.remove(0);
        }
        lists.push((list.to_owned(), key, made.clone()));
        made
    })
}

fn lists(arguments: &[Argument], rows: usize, kind: List, case_sensitive: bool) -> Result<ArrayRef> {
    let (value, list) = (&arguments[0], &arguments[1]);
    let terms = matches!(kind, List::HasAny | List::HasAll);
    if let (true, Some(texts), true) = (terms, value.texts(), list.constant) {
        let list = compiled(list.cell(0).json().unwrap_or("[]"), case_sensitive, terms);
        let found = match kind {
            List::HasAll => joined(texts, case_sensitive, |joined| joined.rows_with_all(&list)),
            _ if list.has_empty => None,
            _ => rows_in_place(texts, &list).or_else(|| joined(texts, case_sensitive, |joined| joined.rows_with_any(&list))),
        };
        if let Some(found) = found {
            return Ok(Arc::new(BooleanArray::new(found, None)));
        }
    }
    let mut found = BooleanBuilder::with_capacity(rows);
    let mut buffer = Folded { buffer: String::new() };
    let mut current: Option<Rc<Compiled>> = None;
    for row in 0..rows {
        let shown;
        if current.is_none() || !list.constant {
            current = Some(compiled(list.cell(row).json().unwrap_or("[]"), case_sensitive, terms));
        }
        let Some(compiled) = &current else { continue };
        let text = match value.cell(row) {
            crate::cells::Cell::Text(text) => buffer.fold(text, case_sensitive),
            other => {
                shown = super::conversion::display(other);
                buffer.fold(&shown, case_sensitive)
            }
        };
        found.append_value(match kind {
            List::In => compiled.set.contains(text),
            List::NotIn => !compiled.set.contains(text),
            List::HasAny => compiled.has_any(text),
            List::HasAll => compiled.has_all(text),
        });
    }
    Ok(Arc::new(found.finish()))
}

/// The index of the first item of the list that the text has; -1 when none. Kusto docs: `has-any-index-function`.
fn has_any_index(arguments: &[Argument], rows: usize) -> Result<ArrayRef> {
    let mut result = arrow::array::Int64Builder::with_capacity(rows);
    let mut buffer = Folded { buffer: String::new() };
    for row in 0..rows {
        let source = super::conversion::display(arguments[0].cell(row));
        let list = compiled(arguments[1].cell(row).json().unwrap_or("[]"), false, true);
        let text = buffer.fold(&source, false);
        let index = list.needles().iter().position(|needle| needle.matches(text, Kind::Term));
        result.append_value(index.map_or(-1, |index| index as i64));
    }
    Ok(Arc::new(result.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let list = Compiled::new(&serde_json::to_string(&items).expect("JSON"), false, true);
            let (all, any): (Vec<bool>, Vec<bool>) = texts.iter().map(|text| (list.has_all(&folded(text)), list.has_any(&folded(text)))).unzip();
            let found = rows(joined(&array, false, |joined| joined.rows_with_all(&list)));
            assert!(found.as_ref().is_none_or(|found| *found == all), "{texts:?} {items:?} {found:?}");
            if !list.has_empty {
                assert_eq!(rows(joined(&array, false, |joined| joined.rows_with_any(&list))), Some(any), "{texts:?} {items:?}");
            }
            let items: Vec<String> = ["a", "k", "1"].iter().map(|first| format!("{first}{}", Some(text(2)).filter(|more| !more.is_empty()).unwrap_or("b".to_owned()))).collect();
            let list = Compiled::new(&serde_json::to_string(&items).expect("JSON"), false, true);
            let any: Vec<bool> = texts.iter().map(|text| list.has_any(&folded(text))).collect();
            seen += any.iter().filter(|any| **any).count();
            assert!(list.starts.is_some());
            assert_eq!(rows(joined(&array, false, |joined| joined.rows_with_any(&list))), Some(any), "{texts:?} {items:?}");
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn a_search_where_texts_lie_finds_what_a_search_of_each_does() {
        let mut random = fastrand::Rng::with_seed(5);
        let words = ["box", "Box2", "drop", "DropBox", "x", "9", "dropboxapi", "githubusercontent", "GitHubUserContents", "a_b", "a\u{10}"];
        let list = Compiled::new(r#"["box","dropbox","dropboxapi","githubusercontent","a_b","drop box","drop.box","9box"]"#, false, true);
        let (mut searched, mut found) = (0, 0);
        for round in 0..60 {
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
            let Some(rows) = rows_in_place(&array, &list) else { continue };
            assert_eq!(rows.iter().collect::<Vec<bool>>(), each);
            searched += 1;
            found += rows.count_set_bits();
        }
        assert!((30..60).contains(&searched) && found > searched * 500, "{searched} {found}");
        let scattered = StringViewArray::from_iter_values((0..100).map(|n| format!("a text of which the next lies right behind it {n}")));
        assert!(rows_in_place(&scattered, &list).is_none());
    }

    #[test]
    fn letters_beyond_ascii_have_one_case() {
        let has = |text: &str, needle: &str, kind: Kind| Needle::new(needle, false).matches(&folded(text), kind);
        assert!(
            has("Größe ÄNDERN", "ändern", Kind::Term) && has("ΟΔΟΣ", "οδος", Kind::Whole) && has("ΟΔΟΣΑ", "οδος", Kind::Substring) && has("\u{212a}B 5", "kb", Kind::TermPrefix)
        );
        assert!(!has("Große", "ß", Kind::Term));
    }
}
