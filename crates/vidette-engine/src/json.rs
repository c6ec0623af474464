//! JSON text as the form of dynamic values: reading, paths and writing.
//!
//! Text is validated and cut of blanks once, when it becomes a dynamic; later steps trust it.

pub mod parts;

use serde_json::{Map, Value};
use std::borrow::Cow;

/// The document, or `None` when the text is not JSON.
pub fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Whether the text is one JSON document. `jiter` reads most texts twice as fast; it refuses some that are documents: hundreds
/// of brackets in each other, halves of surrogate pairs.
pub fn is_document(text: &str) -> bool {
    let mut reader = jiter::Jiter::new(text.as_bytes());
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
    is_document(text).then_some(())?;
    if !text.bytes().any(|byte| byte.is_ascii_whitespace()) || !has_blanks(text.as_bytes()) {
        return Some(Cow::Borrowed(text));
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
    Some(Cow::Owned(out))
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
