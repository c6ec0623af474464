//! String operators over terms and substrings. Kusto docs: `datatypes-string-operators`, `has-anyoperator`.

use super::joined::joined;
use super::needle::{Folded, Kind, Needle};
use super::term_lists::{As, Compiled, compiled};
use super::udf::Argument;
use super::{ScalarFunction, batch, stock};
use arrow::array::{ArrayRef, BooleanArray, BooleanBuilder};
use datafusion::common::Result;
use datafusion::logical_expr::not;
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

fn lists(arguments: &[Argument], rows: usize, kind: List, case_sensitive: bool) -> Result<ArrayRef> {
    let (value, list) = (&arguments[0], &arguments[1]);
    let how = match kind {
        List::HasAny | List::HasAll => As::Terms,
        List::In | List::NotIn if case_sensitive => As::Whole,
        List::In | List::NotIn => As::WholeAnyCase,
    };
    if let (As::Terms, Some(texts), true) = (how, value.texts(), list.constant) {
        let list = compiled(list.cell(0).json().unwrap_or("[]"), how);
        let found = match kind {
            List::HasAll => joined(texts, case_sensitive, |joined| list.rows_with_all(joined)),
            _ if list.has_empty => None,
            _ => list.rows_in_place(texts).or_else(|| joined(texts, case_sensitive, |joined| list.rows_with_any(joined))),
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
            current = Some(compiled(list.cell(row).json().unwrap_or("[]"), how));
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
        let list = compiled(arguments[1].cell(row).json().unwrap_or("[]"), As::Terms);
        let text = buffer.fold(&source, false);
        let index = list.needles().iter().position(|needle| needle.matches(text, Kind::Term));
        result.append_value(index.map_or(-1, |index| index as i64));
    }
    Ok(Arc::new(result.finish()))
}
