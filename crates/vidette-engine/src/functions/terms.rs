//! String operators over terms and substrings. Kusto docs: `datatypes-string-operators`, `has-anyoperator`.
//!
//! A term is a maximal run of alphanumeric characters. A needle matches `has` where it stands with a boundary
//! on each side on which its own edge is alphanumeric.

use super::udf::Argument;
use super::{ScalarFunction, batch, stock};
use crate::json;
use aho_corasick::{AhoCorasick, MatchKind};
use arrow::array::{ArrayRef, BooleanBuilder};
use datafusion::common::Result;
use datafusion::logical_expr::not;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use vidette_kql::ScalarType;

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
        if text.is_ascii() {
            self.buffer.clear();
            self.buffer.push_str(text);
            self.buffer.make_ascii_lowercase();
        } else {
            self.buffer = text.to_lowercase();
        }
        &self.buffer
    }
}

fn one_needle(arguments: &[Argument], rows: usize, kind: Kind, case_sensitive: bool) -> Result<ArrayRef> {
    let (haystack, needle) = (&arguments[0], &arguments[1]);
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

/// One needle with its searcher.
struct Needle {
    text: String,
    finder: memchr::memmem::Finder<'static>,
}

impl Needle {
    fn new(text: &str, case_sensitive: bool) -> Needle {
        let text = if case_sensitive { text.to_owned() } else { text.to_lowercase() };
        let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
        Needle { text, finder }
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
    set: std::collections::HashSet<String>,
    automaton: Option<AhoCorasick>,
    has_empty: bool,
}

impl Compiled {
    fn new(list: &str, case_sensitive: bool, terms: bool) -> Compiled {
        let items: Vec<String> = json::strings(list).into_iter().map(|item| if case_sensitive { item } else { item.to_lowercase() }).collect();
        let has_empty = items.iter().any(String::is_empty);
        let automaton = if terms { AhoCorasick::builder().match_kind(MatchKind::Standard).build(items.iter().filter(|item| !item.is_empty())).ok() } else { None };
        let set = if terms { Default::default() } else { items.iter().cloned().collect() };
        Compiled { items, set, automaton, has_empty }
    }

    fn has_any(&self, text: &str) -> bool {
        self.has_empty || self.automaton.as_ref().is_some_and(|automaton| automaton.find_overlapping_iter(text).any(|found| bounded(text, found.start(), found.end(), Kind::Term)))
    }

    fn has_all(&self, text: &str) -> bool {
        self.items.iter().all(|item| Needle::new(item, true).matches(text, Kind::Term))
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
    let mut found = BooleanBuilder::with_capacity(rows);
    let mut folded = Folded { buffer: String::new() };
    let mut current: Option<Rc<Compiled>> = None;
    for row in 0..rows {
        if current.is_none() || !list.constant {
            current = Some(compiled(list.cell(row).json().unwrap_or("[]"), case_sensitive, terms));
        }
        let Some(compiled) = &current else { continue };
        let text = match value.cell(row) {
            crate::cells::Cell::Text(text) => folded.fold(text, case_sensitive),
            other => {
                let text = super::conversion::display(other);
                folded.buffer = if case_sensitive { text } else { text.to_lowercase() };
                &folded.buffer
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
    let mut folded = Folded { buffer: String::new() };
    for row in 0..rows {
        let source = super::conversion::display(arguments[0].cell(row));
        let items = json::strings(arguments[1].cell(row).json().unwrap_or("[]"));
        let text = folded.fold(&source, false);
        let index = items.iter().position(|item| Needle::new(item, false).matches(text, Kind::Term));
        result.append_value(index.map_or(-1, |index| index as i64));
    }
    Ok(Arc::new(result.finish()))
}
