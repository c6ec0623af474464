//! JSON text as the form of dynamic values: reading, paths and writing.
//!
//! Text is validated and cut of blanks once, when it becomes a dynamic; later steps trust it.

pub mod parts;

use jiter::{Jiter, JiterResult, Peek};
use parts::Step;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ops::Range;

/// The document, or `None` when the text is not JSON.
pub fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Whether the text is one JSON document. `jiter` reads most texts twice as fast; it refuses some that are documents: hundreds
/// of brackets in each other, halves of surrogate pairs.
pub fn is_document(text: &str) -> bool {
    let mut reader = Jiter::new(text.as_bytes());
    reader.next_skip().is_ok() && reader.finish().is_ok() || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// `parse_json`: text that is not JSON becomes a JSON string. An empty text is null.
pub fn from_text(text: &str) -> Option<Cow<'_, str>> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed == "null" {
        return None;
    }
    let first = trimmed.as_bytes()[0];
    let looks = matches!(first, b'{' | b'[' | b'"' | b'-' | b't' | b'f' | b'0'..=b'9');
    if looks && let Some(value) = parse_compact(trimmed) {
        return Some(value);
    }
    Some(Cow::Owned(quote(text)))
}

/// The text without blanks outside strings, when it is one JSON document.
fn parse_compact(text: &str) -> Option<Cow<'_, str>> {
    is_document(text).then(|| compact(text))
}

/// A JSON document, with none around it, without blanks outside its strings.
pub fn compact(text: &str) -> Cow<'_, str> {
    if !text.starts_with(['[', '{']) || !text.bytes().any(|byte| byte.is_ascii_whitespace()) || !has_blanks(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if !c.is_ascii_whitespace() {
            out.push(c);
            in_string = c == '"';
        }
    }
    Cow::Owned(out)
}

/// What stands at the end of the steps in a text that is a JSON document, as it is written there; nothing where null does. Of a
/// name that is there twice, the first. If it is an array and somebody asks for its items, they are where they stand in the text.
///
/// # Errors
/// Of a text that is no document, and of some that are: see [`is_document`].
fn find_in_text<'t>(text: &'t str, steps: &[Step], items: Option<&mut Vec<Range<usize>>>) -> JiterResult<Option<&'t str>> {
    let mut reader = Jiter::new(text.as_bytes());
    let found = seek(&mut reader, steps, items)?;
    reader.finish()?;
    Ok(found.and_then(|range| text.get(range)).filter(|found| *found != "null"))
}

/// What stands at the end of the steps in `parse_json(text)`; nothing where null does.
pub fn find_in<'t>(text: &'t str, steps: &[Step]) -> Option<Cow<'t, str>> {
    match find_in_text(text, steps, None) {
        Ok(found) => found.map(compact),
        Err(_) => find_in_parsed(text, steps),
    }
}

fn find_in_parsed(text: &str, steps: &[Step]) -> Option<Cow<'static, str>> {
    parts::find(&from_text(text)?, steps).map(|part| Cow::Owned(part.to_owned()))
}

/// What a path leads to.
pub enum Found<'t> {
    Value(Cow<'t, str>),
    /// An array, the items of which are where they stand in the text, and written as there.
    Items,
}

/// As [`find_in`]; arrays in the walk that finds them.
pub fn find_items<'t>(text: &'t str, steps: &[Step], items: &mut Vec<Range<usize>>) -> Option<Found<'t>> {
    items.clear();
    match find_in_text(text, steps, Some(items)) {
        Ok(Some(array)) if array.starts_with('[') => Some(Found::Items),
        Ok(found) => found.map(compact).map(Found::Value),
        Err(_) => find_in_parsed(text, steps).map(Found::Value),
    }
}

/// Reads a value to its end, and gives the place of the part that is asked for.
fn seek(reader: &mut Jiter, steps: &[Step], mut items: Option<&mut Vec<Range<usize>>>) -> JiterResult<Option<Range<usize>>> {
    let kind = reader.peek()?;
    let Some((step, rest)) = steps.split_first() else {
        let start = reader.current_index();
        match items {
            Some(items) if kind == Peek::Array => skip_items(reader, items)?,
            _ => reader.known_skip(kind)?,
        }
        return Ok(Some(start..reader.current_index()));
    };
    let mut found = None;
    match step {
        Step::Name(wanted) if kind == Peek::Object => {
            let mut seen = false;
            // As they are written.
            let is_wanted = |name: &[u8]| name == wanted.as_bytes() || name.contains(&b'\\') && std::str::from_utf8(name).is_ok_and(|name| parts::name(name) == *wanted);
            let mut next = reader.next_object_bytes()?.map(is_wanted);
            while let Some(is_wanted_here) = next {
                if is_wanted_here && !seen {
                    seen = true;
                    found = seek(reader, rest, items.take())?;
                } else {
                    reader.next_skip()?;
                }
                next = reader.next_key_bytes()?.map(is_wanted);
            }
        }
        Step::Index(wanted) if kind == Peek::Array => {
            let mut at = 0;
            let mut next = reader.known_array()?;
            while let Some(kind) = next {
                if at == *wanted {
                    found = seek(reader, rest, items.take())?;
                } else {
                    reader.known_skip(kind)?;
                }
                at += 1;
                next = reader.array_step()?;
            }
        }
        _ => reader.known_skip(kind)?,
    }
    Ok(found)
}

/// Reads an array to its end, and notes where its items stand.
fn skip_items(reader: &mut Jiter, items: &mut Vec<Range<usize>>) -> JiterResult<()> {
    let mut next = reader.known_array()?;
    while let Some(kind) = next {
        let start = reader.current_index();
        reader.known_skip(kind)?;
        items.push(start..reader.current_index());
        next = reader.array_step()?;
    }
    Ok(())
}

/// Whether there are blanks outside the strings of a JSON text.
fn has_blanks(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(opening) = memchr::memchr(b'"', rest) {
        if rest[..opening].iter().any(u8::is_ascii_whitespace) {
            return true;
        }
        rest = &rest[parts::string_end(rest, opening)..];
    }
    rest.iter().any(u8::is_ascii_whitespace)
}

pub fn quote(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    vidette_kql::literals::write_json_string(text, &mut json);
    json
}

/// A bag of texts, whose names differ.
pub fn bag_of_texts(properties: &[(&str, &str)]) -> String {
    let mut json = String::from("{");
    for (at, (name, text)) in properties.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        vidette_kql::literals::write_json_string(name, &mut json);
        json.push(':');
        vidette_kql::literals::write_json_string(text, &mut json);
    }
    json.push('}');
    json
}

/// Compact JSON with Kusto's escapes.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    write_into(value, &mut out);
    out
}

fn write_into(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => vidette_kql::literals::write_json_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_into(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                vidette_kql::literals::write_json_string(key, out);
                out.push(':');
                write_into(item, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Dynamic to string: a JSON string without its quotes, anything else as it is written.
pub fn to_text(json: &str) -> String {
    text(json).into_owned()
}

/// As [`to_text`]; a part of the JSON where that is the text.
pub fn text(json: &str) -> Cow<'_, str> {
    if let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && !inner.contains('\\')
    {
        return Cow::Borrowed(inner);
    }
    if json.starts_with('"') {
        return serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned);
    }
    Cow::Borrowed(if json == "null" { "" } else { json })
}

/// The same for a parsed value.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => write(other),
    }
}

/// The elements of an array as text; a lone value is an array of one.
pub fn strings(json: &str) -> Vec<String> {
    match parse(json) {
        Some(Value::Array(items)) => items.iter().map(value_text).collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![value_text(&other)],
    }
}

pub fn array(json: &str) -> Option<Vec<Value>> {
    match parse(json)? {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

pub fn object(json: &str) -> Option<Map<String, Value>> {
    match parse(json)? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// Numbers of an array; `None` where an element is not a number.
pub fn numbers(json: &str) -> Option<Vec<Option<f64>>> {
    Some(array(json)?.iter().map(Value::as_f64).collect())
}

pub fn from_f64(value: f64) -> Value {
    if !value.is_finite() {
        return Value::String(vidette_kql::literals::format_real(value));
    }
    serde_json::from_str(&vidette_kql::literals::format_real(value)).unwrap_or(Value::Null)
}

pub fn is_integer(value: &Value) -> bool {
    matches!(value, Value::Number(number) if !number.to_string().contains(['.', 'e', 'E']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of the letters that JSON is made of: some are documents, more are nearly.
    #[test]
    fn a_part_of_a_text_is_that_of_the_parsed_text() {
        let mut random = fastrand::Rng::with_seed(11);
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\"",
            "\"a\\u0062\"",
            "\"\\u0061\"",
            "\"x y\"",
            "1",
            "-2.50",
            "null",
            "true",
            " ",
            "\n",
            "\\",
            "{\"a\":",
            "[{\"b\":",
            "ü",
            "\"a\":",
        ];
        let steps = [
            vec![Step::Name("a".to_owned())],
            vec![Step::Name("a".to_owned()), Step::Name("b".to_owned())],
            vec![Step::Index(1)],
            vec![Step::Name("a".to_owned()), Step::Index(0), Step::Name("b".to_owned())],
        ];
        let (mut documents, mut parts_found) = (0, 0);
        let mut check = |text: &str| {
            for steps in &steps {
                let mut places = Vec::new();
                let Ok(found) = find_in_text(text, steps, Some(&mut places)) else { continue };
                documents += 1;
                let parsed = from_text(text);
                let expected = parsed.as_deref().and_then(|document| parts::find(document, steps));
                assert_eq!(found.map(compact).as_deref(), expected, "{text}");
                let items: Vec<Cow<str>> = places.iter().map(|place| compact(&text[place.clone()])).collect();
                assert_eq!(items, found.map(compact).iter().filter(|found| found.starts_with('[')).flat_map(|array| parts::items(array)).collect::<Vec<_>>(), "{text}");
                parts_found += usize::from(found.is_some());
            }
        };
        for _ in 0..200_000 {
            let text: String = (0..random.usize(1..12)).map(|_| *random.choice(&pieces).expect("a piece")).collect();
            check(&text);
            // Closed, so that more of them are documents.
            let closed: String = text.chars().rev().filter_map(|c| Some(["}", "]"][['{', '['].iter().position(|open| *open == c)?])).collect();
            check(&format!("{text}1{closed}"));
            check(&format!("{{\"a\":{text},\"a\":{{\"b\" : 2}}}}"));
        }
        for text in [r#" { "a" : { "b" : [ 1 , "x y" ] } } "#, r#"[1,[2, 3]]"#, r#"{"a":[{"b":"c"},2]}"#, r#"{"\u0061":{"b":null},"a":{"b":1}}"#, "\u{a0}{\"a\":1}"] {
            check(text);
        }
        assert!(documents > 10_000 && parts_found > 1_000, "{documents} {parts_found}");
    }
}
