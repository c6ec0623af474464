//! The text of literals to values, and values to JSON.

use crate::time::{format_datetime, format_timespan, parse_datetime, parse_timespan};
use crate::types::{ScalarType, Value};
use std::fmt::Write;

/// `123`, `0x1F`; numbers past 2^63 wrap as Kusto's do.
pub fn long(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as i64),
        None => text.parse::<i64>().ok().or_else(|| text.parse::<u64>().ok().map(|n| n as i64)),
    }
}

/// The value of `type(text)`; `None` when the text is not of the type. Kusto docs: each type's page.
pub fn typed(ty: ScalarType, text: &str) -> Option<Value> {
    let unquoted = text.trim_matches(['"', '\'']);
    if text.eq_ignore_ascii_case("null") {
        return Some(Value::Null(ty));
    }
    Some(match ty {
        ScalarType::Bool => match unquoted.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number => Value::Bool(number.parse::<i64>().ok()? != 0),
        },
        ScalarType::Int => Value::Int(long_or_real(unquoted).and_then(|n| i32::try_from(n).ok())?),
        ScalarType::Long => Value::Long(long_or_real(unquoted)?),
        ScalarType::Real => Value::Real(match unquoted.to_ascii_lowercase().as_str() {
            "nan" => f64::NAN,
            "+inf" | "inf" => f64::INFINITY,
            "-inf" => f64::NEG_INFINITY,
            number => number.parse().ok().or_else(|| long(unquoted).map(|n| n as f64))?,
        }),
        ScalarType::Decimal => {
            unquoted.parse::<f64>().ok()?;
            Value::Decimal(unquoted.to_owned())
        }
        // Kusto reads `datetime(2017 - 08 - 01)` too.
        ScalarType::DateTime => Value::DateTime(parse_datetime(unquoted).or_else(|| parse_datetime(&unquoted.replace(" - ", "-"))).or_else(|| spaced_date(unquoted))?),
        ScalarType::TimeSpan => Value::TimeSpan(parse_timespan(unquoted)?),
        ScalarType::Guid => Value::Guid(guid(unquoted)?),
        ScalarType::String => Value::String(unquoted.to_owned()),
        ScalarType::Dynamic => return None,
    })
}

fn long_or_real(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    let value = long(digits).or_else(|| digits.parse::<f64>().ok().map(|n| n as i64))?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// `2025, 6, 14`
fn spaced_date(text: &str) -> Option<i64> {
    let parts: Vec<u32> = text.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
    let [year, month, day] = parts[..] else { return None };
    parse_datetime(&format!("{year:04}-{month:02}-{day:02}"))
}

/// Lower-case with hyphens, from the forms with or without hyphens and braces.
pub fn guid(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches(['{', '(']).trim_end_matches(['}', ')']);
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let d = digits.to_ascii_lowercase();
    Some(format!("{}-{}-{}-{}-{}", &d[..8], &d[8..12], &d[12..16], &d[16..20], &d[20..]))
}

/// A real number as Kusto prints it inside JSON and in `tostring`: `1.0`, `0.1`, `1e+20`.
pub fn format_real(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value:.1}");
    }
    let magnitude = value.abs();
    if (1e-5..1e15).contains(&magnitude) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

/// Appends the value as JSON: times and guids as strings.
pub fn write_json(value: &Value, json: &mut String) {
    let _ = match value {
        Value::Null(ScalarType::String) => write!(json, "\"\""),
        Value::Null(_) => write!(json, "null"),
        Value::Bool(b) => write!(json, "{b}"),
        Value::Int(n) => write!(json, "{n}"),
        Value::Long(n) => write!(json, "{n}"),
        Value::Real(n) if n.is_finite() => write!(json, "{}", format_real(*n)),
        Value::Real(n) => write!(json, "\"{}\"", format_real(*n)),
        Value::Decimal(text) => write!(json, "\"{text}\""),
        Value::DateTime(ticks) => write!(json, "\"{}\"", format_datetime(*ticks)),
        Value::TimeSpan(ticks) => write!(json, "\"{}\"", format_timespan(*ticks)),
        Value::Guid(text) => write!(json, "\"{text}\""),
        Value::String(text) => {
            write_json_string(text, json);
            Ok(())
        }
        Value::Dynamic(text) => write!(json, "{text}"),
    };
}

/// Appends a JSON string, with the escapes that JSON requires and no others.
pub fn write_json_string(text: &str, json: &mut String) {
    json.push('"');
    // Without branches many bytes are looked at together; most texts need no escape.
    if !text.bytes().fold(false, |any, byte| any | (byte < 0x20) | (byte == b'"') | (byte == b'\\')) {
        json.push_str(text);
        json.push('"');
        return;
    }
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        json.push_str(&text[plain..at]);
        if escape.is_empty() {
            let _ = write!(json, "\\u{byte:04x}");
        } else {
            json.push_str(escape);
        }
        plain = at + 1;
    }
    json.push_str(&text[plain..]);
    json.push('"');
}
/// The texts of a JSON array of strings without escapes but `\\"` and `\\\\`; other items are left out.
pub(crate) fn string_array(json: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = json.chars();
    while rest.any(|c| c == '"') {
        let mut text = String::new();
        while let Some(c) = rest.next() {
            match c {
                '"' => break,
                '\\' => text.extend(rest.next()),
                _ => text.push(c),
            }
        }
        texts.push(text);
    }
    texts
}
