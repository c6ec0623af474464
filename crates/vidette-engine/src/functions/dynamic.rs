//! Dynamic values: paths, arrays, bags and sets. Kusto docs: `scalar-functions`, "Dynamic/array functions".

use super::conversion::{to_json, write_json};
use super::parsing::{json_path, path_keys};
use super::udf::Argument;
use super::{ScalarFunction, batch, rows};
use crate::cells::{Cell, Out};
use crate::json;
use crate::json::parts::{self, Step};
use crate::slices::Slices;
use arrow::array::{ArrayRef, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use vidette_kql::literals::write_json_string;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    batch("path", path),
    batch("path_in_text", path_in_text),
    batch("parse_json", parse_json),
    rows("text_list", |a| Out::Text(list(a.iter().map(|cell| to_json(*cell))))),
    rows("flatten_list", |a| {
        let mut items = Vec::new();
        for cell in a {
            match cell.json().and_then(json::parse) {
                Some(Value::Array(inner)) => items.extend(inner),
                Some(other) => items.push(other),
                None => {}
            }
        }
        Out::Text(json::write(&Value::Array(items)))
    }),
    rows("pack_array", |a| Out::Text(list(a.iter().map(|cell| to_json(*cell))))),
    rows("bag_pack", |a| Out::Text(bag(a, false))),
    rows("bag_pack_nonempty", |a| Out::Text(bag(a, true))),
    rows("array_length", |a| Out::from(items(a[0]).map(|items| items.len() as i64))),
    rows("array_concat", |a| {
        let all: Vec<Value> = a.iter().filter_map(|cell| items(*cell)).flatten().collect();
        Out::Text(json::write(&Value::Array(all)))
    }),
    rows("array_reverse", |a| {
        array(a, |mut items, _| {
            items.reverse();
            items
        })
    }),
    rows("array_slice", |a| {
        array(a, |items, rest| {
            let count = items.len() as i64;
            let place = |cell: &Cell, default: i64| {
                let at = cell.long().unwrap_or(default);
                if at < 0 { count + at } else { at }
            };
            let (start, end) = (place(&rest[0], 0).max(0), place(&rest[1], -1).min(count - 1));
            if start > end { Vec::new() } else { items[start as usize..=end as usize].to_vec() }
        })
    }),
    rows("array_split", array_split),
    rows("array_rotate_left", |a| array(a, |items, rest| rotate(items, rest[0].long().unwrap_or(0)))),
    rows("array_rotate_right", |a| array(a, |items, rest| rotate(items, rest[0].long().unwrap_or(0).saturating_neg()))),
    rows("array_shift_left", |a| array(a, |items, rest| shift(items, rest[0].long().unwrap_or(0), rest.get(1)))),
    rows("array_shift_right", |a| array(a, |items, rest| shift(items, rest[0].long().unwrap_or(0).saturating_neg(), rest.get(1)))),
    rows("array_index_of", |a| {
        let Some(items) = items(a[0]) else { return Out::Null };
        let wanted = value(a[1]);
        let count = items.len() as i64;
        let argument = |at: usize, default: i64| a.get(at).and_then(|cell| cell.long()).unwrap_or(default);
        let start = argument(2, 0);
        let start = if start < 0 { (count + start).max(0) } else { start };
        let (length, occurrence) = (argument(3, -1), argument(4, 1));
        if length < -1 || occurrence < 0 {
            return Out::Null;
        }
        let end = if length < 0 { count } else { start.saturating_add(length).min(count) };
        let occurrence = occurrence.max(1) as usize;
        let found = (start..end).filter(|at| same(&items[*at as usize], &wanted)).nth(occurrence - 1);
        Out::Long(found.unwrap_or(-1))
    }),
    rows("array_sort_asc", |a| sort(a, false)),
    rows("array_sort_desc", |a| sort(a, true)),
    rows("array_iff", |a| {
        let Some(conditions) = items(a[0]) else { return Out::Null };
        let (then, otherwise) = (value(a[1]), value(a[2]));
        let pick = |value: &Value, at: usize| match value {
            Value::Array(items) => items.get(at).cloned().unwrap_or(Value::Null),
            other => other.clone(),
        };
        let picked = conditions.iter().enumerate().map(|(at, condition)| match condition {
            Value::Bool(true) => pick(&then, at),
            Value::Bool(false) => pick(&otherwise, at),
            Value::Number(number) => {
                if number.as_f64() != Some(0.0) {
                    pick(&then, at)
                } else {
                    pick(&otherwise, at)
                }
            }
            _ => Value::Null,
        });
        Out::Text(json::write(&Value::Array(picked.collect())))
    }),
    rows("range", range),
    rows("repeat", |a| match a[1].long() {
        Some(count) if count >= 0 => Out::Text(list(std::iter::repeat_n(to_json(a[0]), count.min(1_048_576) as usize))),
        _ => Out::Null,
    }),
    rows("zip", |a| {
        let arrays: Vec<Vec<Value>> = a.iter().map(|cell| items(*cell).unwrap_or_default()).collect();
        let longest = arrays.iter().map(Vec::len).max().unwrap_or(0);
        let tuples = (0..longest).map(|at| Value::Array(arrays.iter().map(|array| array.get(at).cloned().unwrap_or(Value::Null)).collect()));
        Out::Text(json::write(&Value::Array(tuples.collect())))
    }),
    rows("set_union", |a| set(a, |sets, all| all.iter().filter(|item| sets.iter().any(|set| contains(set, item))).cloned().collect())),
    rows("set_intersect", |a| set(a, |sets, all| all.iter().filter(|item| sets.iter().all(|set| contains(set, item))).cloned().collect())),
    rows("set_difference", |a| set(a, |sets, all| all.iter().filter(|item| contains(&sets[0], item) && !sets[1..].iter().any(|set| contains(set, item))).cloned().collect())),
    rows("set_has_element", |a| Out::from(items(a[0]).map(|items| contains(&items, &value(a[1]))))),
    rows("set_equals", |a| match (items(a[0]), items(a[1])) {
        (Some(left), Some(right)) => Out::Bool(left.iter().all(|item| contains(&right, item)) && right.iter().all(|item| contains(&left, item))),
        _ => Out::Bool(false),
    }),
    rows("jaccard_index", |a| {
        let (Some(left), Some(right)) = (items(a[0]), a.get(1).and_then(|cell| items(*cell))) else { return Out::Null };
        let (left, right) = (distinct(left), distinct(right));
        let common = left.iter().filter(|item| contains(&right, item)).count();
        let all = left.len() + right.len() - common;
        Out::Text(json::write(&json::from_f64(common as f64 / all as f64)))
    }),
    rows("bag_keys", |a| Out::from(a[0].json().and_then(json::object).map(|bag| json::write(&Value::Array(bag.keys().cloned().map(Value::String).collect()))))),
    rows("bag_merge", |a| {
        let mut merged = Map::new();
        for bag in a.iter().filter_map(|cell| cell.json().and_then(json::object)) {
            for (key, value) in bag {
                merged.entry(key).or_insert(value);
            }
        }
        Out::Text(json::write(&Value::Object(merged)))
    }),
    rows("bag_remove_keys", |a| {
        let (Some(mut bag), Some(keys)) = (a[0].json().and_then(json::parse), a[1].json().map(json::strings)) else { return Out::Null };
        for key in keys {
            remove(&mut bag, &key);
        }
        Out::Text(json::write(&bag))
    }),
    rows("bag_has_key", |a| Out::from(a[0].json().and_then(json::object).map(|bag| follow(&Value::Object(bag), a[1].text()).is_some()))),
    rows("bag_set_key", |a| {
        let Some(bag) = a[0].json().and_then(json::object) else { return Out::Null };
        let mut bag = Value::Object(bag);
        let mut place = &mut bag;
        for key in bag_keys(a[1].text()) {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(inner) = place else { return Out::Null };
            place = inner.entry(key.to_owned()).or_insert(Value::Null);
        }
        *place = value(a[2]);
        Out::Text(json::write(&bag))
    }),
    rows("bag_zip", |a| {
        let Some(keys) = items(a[0]) else { return Out::Null };
        let values = items(a[1]).unwrap_or_default();
        let mut bag = Map::new();
        for (at, key) in keys.iter().enumerate() {
            if let Value::String(key) = key {
                bag.insert(key.clone(), values.get(at).cloned().unwrap_or(Value::Null));
            }
        }
        Out::Text(json::write(&Value::Object(bag)))
    }),
    rows("treepath", |a| {
        let Some(document) = a[0].json().and_then(json::parse) else { return Out::Null };
        let mut paths = Vec::new();
        tree_paths(&document, String::new(), &mut paths);
        Out::Text(json::write(&Value::Array(paths.into_iter().map(Value::String).collect())))
    }),
    // Kernels of aggregates and of `mv-expand`.
    rows("make_bag", |a| {
        let mut merged = Map::new();
        for bag in items(a[0]).unwrap_or_default() {
            if let Value::Object(bag) = bag {
                for (key, value) in bag {
                    merged.entry(key).or_insert(value);
                }
            }
        }
        Out::Text(json::write(&Value::Object(merged)))
    }),
];

fn list(items: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

fn bag(cells: &[Cell], skip_empty: bool) -> String {
    let mut out = String::from("{");
    let mut seen: Vec<Cow<str>> = Vec::with_capacity(cells.len() / 2);
    for pair in cells.chunks_exact(2) {
        let key = super::conversion::display(pair[0]);
        if seen.contains(&key) {
            continue;
        }
        let before = out.len();
        if !seen.is_empty() {
            out.push(',');
        }
        write_json_string(&key, &mut out);
        out.push(':');
        let value = out.len();
        write_json(pair[1], &mut out);
        if skip_empty && matches!(&out[value..], "null" | "\"\"" | "[]" | "{}") {
            out.truncate(before);
        } else {
            seen.push(key);
        }
    }
    out.push('}');
    out
}

fn value(cell: Cell) -> Value {
    json::parse(&to_json(cell)).unwrap_or(Value::Null)
}

fn items(cell: Cell) -> Option<Vec<Value>> {
    json::array(cell.json()?)
}

fn array(cells: &[Cell], change: fn(Vec<Value>, &[Cell]) -> Vec<Value>) -> Out {
    match items(cells[0]) {
        Some(items) => Out::Text(json::write(&Value::Array(change(items, &cells[1..])))),
        None => Out::Null,
    }
}

fn rotate(mut items: Vec<Value>, left: i64) -> Vec<Value> {
    if !items.is_empty() {
        let by = left.rem_euclid(items.len() as i64) as usize;
        items.rotate_left(by);
    }
    items
}

/// What is shifted in is null, or `""` among strings.
fn shift(items: Vec<Value>, left: i64, default: Option<&Cell>) -> Vec<Value> {
    let nothing = if items.iter().all(Value::is_string) { Value::String(String::new()) } else { Value::Null };
    let default = default.map_or(nothing, |cell| value(*cell));
    let count = items.len() as i64;
    (0..count).map(|at| at.checked_add(left).and_then(|at| usize::try_from(at).ok()).and_then(|at| items.get(at)).cloned().unwrap_or_else(|| default.clone())).collect()
}

fn array_split(a: &[Cell]) -> Out {
    let Some(all) = items(a[0]) else { return Out::Null };
    let count = all.len() as i64;
    let indices: Vec<i64> = match a[1].json().and_then(json::array) {
        Some(indices) => indices.iter().filter_map(Value::as_i64).collect(),
        None => a[1].long().into_iter().collect(),
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for index in indices {
        let at = if index < 0 { count.saturating_add(index).max(0) } else { index.min(count) }.max(start);
        parts.push(Value::Array(all[start as usize..at as usize].to_vec()));
        start = at;
    }
    parts.push(Value::Array(all[start as usize..].to_vec()));
    Out::Text(json::write(&Value::Array(parts)))
}

/// Equal as Kusto compares elements: numbers by value.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

fn contains(set: &[Value], item: &Value) -> bool {
    set.iter().any(|other| same(other, item))
}

fn distinct(items: Vec<Value>) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for item in items {
        if !contains(&seen, &item) {
            seen.push(item);
        }
    }
    seen
}

fn set(cells: &[Cell], choose: fn(&[Vec<Value>], &[Value]) -> Vec<Value>) -> Out {
    let Some(sets) = cells.iter().map(|cell| items(*cell)).collect::<Option<Vec<_>>>() else { return Out::Null };
    let all = distinct(sets.iter().flatten().cloned().collect());
    Out::Text(json::write(&Value::Array(choose(&sets, &all))))
}

/// Sorts the first array; further ones of the same length follow its order. Nulls go last unless asked otherwise.
fn sort(cells: &[Cell], descending: bool) -> Out {
    let nulls_last = cells.iter().rev().find_map(|cell| if let Cell::Bool(last) = cell { Some(*last) } else { None }).unwrap_or(true);
    let arrays: Vec<Option<Vec<Value>>> = cells.iter().filter(|cell| !matches!(cell, Cell::Bool(_))).map(|cell| items(*cell)).collect();
    let Some(Some(keys)) = arrays.first() else { return Out::Null };
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&keys[*a], &keys[*b]);
        match (a.is_null(), b.is_null()) {
            (true, true) => std::cmp::Ordering::Equal,
            (true, false) => {
                if nulls_last {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Less
                }
            }
            (false, true) => {
                if nulls_last {
                    std::cmp::Ordering::Less
                } else {
                    std::cmp::Ordering::Greater
                }
            }
            (false, false) => {
                // Numbers come before texts, and texts before all else, in both directions.
                let ordering = if a.is_number() { a.as_f64().partial_cmp(&b.as_f64()) } else { json::value_text(a).partial_cmp(&json::value_text(b)) };
                let ordering = ordering.unwrap_or(std::cmp::Ordering::Equal);
                kind(a).cmp(&kind(b)).then(if descending { ordering.reverse() } else { ordering })
            }
        }
    });
    let sorted: Vec<Value> = arrays
        .iter()
        .map(|array| match array {
            Some(items) if items.len() == keys.len() => Value::Array(order.iter().map(|at| items[*at].clone()).collect()),
            _ => Value::Null,
        })
        .collect();
    Out::Text(json::write(&match <[Value; 1]>::try_from(sorted) {
        Ok([only]) => only,
        Err(several) => Value::Array(several),
    }))
}

/// Where values of a type stand among others. Kusto docs: `array-sort-asc-function`.
fn kind(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        _ => 2,
    }
}

/// `range(start, stop, step)` as an array, at most 1,048,576 elements.
fn range(a: &[Cell]) -> Out {
    const MOST: usize = 1_048_576;
    if a.iter().any(|cell| matches!(cell, Cell::Real(_))) {
        let (Some(start), Some(stop), Some(step)) = (a[0].real(), a[1].real(), a.get(2).map_or(Some(1.0), |cell| cell.real())) else { return Out::Null };
        if step == 0.0 {
            return Out::Null;
        }
        let values = (0..MOST).map(|n| start + n as f64 * step).take_while(|value| if step > 0.0 { *value <= stop } else { *value >= stop });
        return Out::Text(json::write(&Value::Array(values.map(json::from_f64).collect())));
    }
    let default_step = match a[0] {
        Cell::DateTime(_) | Cell::TimeSpan(_) => vidette_kql::time::TICKS_PER_HOUR,
        _ => 1,
    };
    let (Some(start), Some(stop), Some(step)) = (a[0].long(), a[1].long(), a.get(2).map_or(Some(default_step), |cell| cell.long())) else { return Out::Null };
    if step == 0 {
        return Out::Null;
    }
    let values = (0..MOST as i64).map_while(|n| start.checked_add(n.checked_mul(step)?)).take_while(|value| if step > 0 { *value <= stop } else { *value >= stop });
    let cell = |value: i64| match a[0] {
        Cell::DateTime(_) => Cell::DateTime(value),
        Cell::TimeSpan(_) => Cell::TimeSpan(value),
        _ => Cell::Long(value),
    };
    Out::Text(list(values.map(|value| to_json(cell(value)))))
}

/// Walks a path `$.a[0].b` or a plain key.
fn follow<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    if path.starts_with('$') { json_path(document, path) } else { document.get(path) }
}

/// The steps to a place in a bag: those of a path, else a name at its root.
fn bag_keys(path: &str) -> Vec<&str> {
    if path.starts_with('$') { path_keys(path).unwrap_or_default() } else { vec![path] }
}

fn remove(document: &mut Value, path: &str) {
    let mut keys = bag_keys(path);
    let Some(last) = keys.pop() else { return };
    let mut target = Some(document);
    for key in keys {
        target = target.and_then(|value| value.get_mut(key));
    }
    if let Some(Value::Object(map)) = target {
        map.shift_remove(last);
    }
}

fn tree_paths(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = format!("{path}['{key}']");
                paths.push(path.clone());
                tree_paths(inner, path, paths);
            }
        }
        Value::Array(items) => {
            let path = format!("{path}[0]");
            for item in items {
                let mut inner = vec![path.clone()];
                tree_paths(item, path.clone(), &mut inner);
                for path in inner {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Text becomes a document; a string in a document is read as text again. Where every text is a document already, the array
/// itself is the result.
fn parse_json(arguments: &[Argument], rows: usize) -> Result<ArrayRef> {
    let read = |row: usize| document_of(arguments[0].cell(row));
    let same = |row: usize| {
        let cell = arguments[0].cell(row);
        matches!(document_of(cell), Some(Cow::Borrowed(part)) if part.len() == text_length(cell))
    };
    let Some(changed) = (0..rows).find(|row| arguments[0].texts().is_none() || !same(*row)) else {
        return Ok(arguments[0].texts().map_or_else(|| arrow::array::new_null_array(&DataType::Utf8View, rows), |texts| Arc::new(texts.clone()) as ArrayRef));
    };
    let Some(texts) = arguments[0].texts() else {
        return Ok(Arc::new((0..rows).map(read).collect::<StringViewArray>()));
    };
    let mut slices = Slices::of(texts);
    for row in 0..rows {
        match (row < changed).then(|| arguments[0].cell(row)) {
            Some(Cell::Json(text) | Cell::Text(text) | Cell::Guid(text)) => slices.push(row, text),
            Some(_) => slices.push_null(),
            None => match read(row) {
                Some(Cow::Borrowed(part)) => slices.push(row, part),
                Some(Cow::Owned(text)) => slices.push_own(&text),
                None => slices.push_null(),
            },
        }
    }
    Ok(Arc::new(slices.finish()))
}

fn document_of(cell: Cell<'_>) -> Option<Cow<'_, str>> {
    match cell {
        Cell::Json(text) if text.starts_with('"') => json::from_text(&json::to_text(text)).map(|text| Cow::Owned(text.into_owned())),
        Cell::Json(text) => Some(Cow::Borrowed(text)),
        other => json::from_text(other.text()),
    }
}

fn text_length(cell: Cell) -> usize {
    match cell {
        Cell::Json(text) | Cell::Text(text) | Cell::Guid(text) => text.len(),
        _ => usize::MAX,
    }
}

/// `a.b[0]`: the element's JSON text, or null. Documents are walked lazily, without building a tree.
fn path(arguments: &[Argument], rows: usize) -> Result<ArrayRef> {
    let constant = arguments[1..].iter().all(|argument| argument.constant);
    let steps = |row: usize| arguments[1..].iter().map(|argument| step(argument.cell(row))).collect::<Option<Vec<Step>>>();
    let fixed = constant.then(|| steps(0));
    // One bag for all rows, as a catalogue looked up by a column, is walked once.
    let bag = match arguments {
        [document, key] if document.constant && !key.constant && rows > 1 => by_name(document.cell(0)),
        _ => None,
    };
    let find = |row: usize| -> Option<Cow<'_, str>> {
        if let Some(bag) = &bag
            && let Cell::Text(key) = arguments[1].cell(row)
        {
            return bag.get(key).copied().flatten().map(Cow::Borrowed);
        }
        let Cell::Json(document) = arguments[0].cell(row) else { return None };
        let own;
        let steps = match &fixed {
            Some(steps) => steps,
            None => {
                own = steps(row);
                &own
            }
        };
        match steps {
            Some(steps) => parts::find(document, steps).map(Cow::Borrowed),
            None => from_end(document, &arguments[1..], row).map(Cow::Owned),
        }
    };
    let Some(documents) = arguments[0].texts() else {
        return Ok(Arc::new((0..rows).map(find).collect::<StringViewArray>()));
    };
    Ok(Arc::new(sliced(documents, rows, find)))
}

/// The values of a bag by their names; of a name that is there twice, the first.
fn by_name(document: Cell<'_>) -> Option<HashMap<Cow<'_, str>, Option<&str>>> {
    let Cell::Json(document) = document else { return None };
    if !document.starts_with('{') {
        return None;
    }
    let mut values = HashMap::new();
    for (name, value) in parts::properties(document) {
        values.entry(parts::name(name)).or_insert(Some(value).filter(|value| *value != "null"));
    }
    Some(values)
}

/// `parse_json(text).a.b`, of constant steps, in one walk of the text.
fn path_in_text(arguments: &[Argument], rows: usize) -> Result<ArrayRef> {
    let steps = arguments[1..].iter().map(|argument| step(argument.cell(0))).collect::<Option<Vec<Step>>>();
    let find = |row: usize| -> Option<Cow<'_, str>> {
        let text = arguments[0].cell(row).text();
        match &steps {
            Some(steps) => json::find_in(text, steps),
            None => from_end(&json::from_text(text)?, &arguments[1..], row).map(Cow::Owned),
        }
    };
    let Some(texts) = arguments[0].texts() else {
        return Ok(Arc::new((0..rows).map(find).collect::<StringViewArray>()));
    };
    Ok(Arc::new(sliced(texts, rows, find)))
}

/// What is found in the text of each row, mostly a part of it.
fn sliced<'t>(texts: &'t StringViewArray, rows: usize, find: impl Fn(usize) -> Option<Cow<'t, str>>) -> StringViewArray {
    let mut found = Slices::of(texts);
    for row in 0..rows {
        match find(row) {
            Some(Cow::Borrowed(part)) => found.push(row, part),
            Some(Cow::Owned(text)) => found.push_own(&text),
            None => found.push_null(),
        }
    }
    found.finish()
}

/// A step from the front; `None` for a negative index.
fn step(cell: Cell) -> Option<Step> {
    match cell {
        Cell::Text(key) => Some(Step::Name(key.to_owned())),
        Cell::Long(index) => usize::try_from(index).ok().map(Step::Index),
        _ => None,
    }
}

fn from_end(document: &str, steps: &[Argument], row: usize) -> Option<String> {
    let mut value = json::parse(document)?;
    for step in steps {
        value = match step.cell(row) {
            Cell::Text(key) => value.get_mut(key)?.take(),
            Cell::Long(index) => {
                let count = value.as_array()?.len() as i64;
                let at = if index < 0 { count + index } else { index };
                value.get_mut(usize::try_from(at).ok()?)?.take()
            }
            _ => return None,
        };
    }
    (!value.is_null()).then(|| json::write(&value))
}
