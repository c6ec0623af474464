//! Conversion functions. Kusto docs: `scalar-functions`, "Conversion functions".

use super::{ScalarFunction, rows, stock, udf};
use crate::arrow_types::arrow_type;
use crate::cells::{Cell, Out};
use crate::decimal;
use crate::json;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, cast, lit};
use serde_json::Value;
use std::borrow::Cow;
use vidette_kql::ScalarType;
use vidette_kql::literals::{format_real, guid, long, write_json_string};
use vidette_kql::time::{MAX_TICKS, format_datetime, format_timespan, parse_datetime, parse_timespan};

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("tostring", |a| Out::Text(display(a[0]).into_owned())),
    rows("dynamic_to_json", |a| match a[0] {
        Cell::Json(text) => Out::Text(json::parse(text).map_or_else(String::new, |value| json::write(&sorted(value)))),
        other => Out::Text(display(other).into_owned()),
    }),
    rows("tobool", |a| {
        let text = match a[0] {
            Cell::Bool(b) => return Out::Bool(b),
            Cell::Null => return Out::Null,
            Cell::Long(n) => return Out::Bool(n != 0),
            Cell::Real(n) => return Out::Bool(n != 0.0),
            Cell::Decimal(n) => return Out::Bool(n != arrow::datatypes::i256::ZERO),
            Cell::Json(json) if is_json_number(json) => return Out::from(to_real(a[0]).map(|n| n != 0.0)),
            other => display(other),
        };
        Out::from(bool_of_text(&text))
    }),
    // As Kusto's emulator has it: of a whole number the lower 32 bits, of a real one the nearest that fits, of a text only what
    // fits.
    rows("toint", |a| {
        let real = |n: f64| Out::Long(i64::from(n as i32));
        match a[0] {
            Cell::Real(n) if n.is_finite() => real(n),
            Cell::Json(json) if is_json_number(json) && json.parse::<i64>().is_err() => json.parse().map_or(Out::Null, real),
            Cell::Long(_) | Cell::DateTime(_) | Cell::TimeSpan(_) | Cell::Bool(_) | Cell::Decimal(_) => Out::from(to_long(a[0]).map(|n| i64::from(n as i32))),
            Cell::Json(json) if is_json_number(json) => Out::from(to_long(a[0]).map(|n| i64::from(n as i32))),
            text => Out::from(to_long(text).filter(|n| i32::try_from(*n).is_ok())),
        }
    }),
    stock("tolong", |types, a| widened(types, a, ScalarType::Long, "long_of")),
    stock("toreal", |types, a| widened(types, a, ScalarType::Real, "real_of")),
    rows("long_of", |a| Out::from(to_long(a[0]))),
    rows("real_of", |a| Out::from(to_real(a[0]))),
    // Of `mv-expand … to typeof(…)`.
    rows("element_of_kind", |a| {
        let Some(json) = a[0].json() else { return Out::Null };
        let is = match a[1].text() {
            "number" => is_json_number(json),
            "whole" => matches!(json, "true" | "false") || is_json_number(json) && json.parse::<i64>().is_ok(),
            "text" => json.starts_with('"'),
            _ => false,
        };
        if is { Out::Text(json.to_owned()) } else { Out::Null }
    }),
    rows("todecimal", |a| {
        let value = match a[0] {
            Cell::Null => None,
            Cell::Decimal(n) => Some(n),
            Cell::Real(n) => decimal::from_real(n),
            Cell::Text(_) | Cell::Guid(_) | Cell::Json(_) => decimal::parse(&display(a[0])),
            other => other.long().map(decimal::from_long),
        };
        value.map_or(Out::Null, Out::Decimal)
    }),
    rows("decimal_bin", |a| match (a[0], a[1]) {
        (Cell::Decimal(value), Cell::Decimal(size)) => decimal::floor_to(value, size).map_or(Out::Null, Out::Decimal),
        _ => Out::Null,
    }),
    rows("todatetime", |a| match a[0] {
        Cell::DateTime(ticks) => Out::Long(ticks),
        Cell::Long(ticks) => Out::from(Some(ticks).filter(|ticks| (0..=MAX_TICKS).contains(ticks))),
        Cell::Real(ticks) => Out::from(Some(ticks as i64).filter(|ticks| (0..=MAX_TICKS).contains(ticks))),
        Cell::Null => Out::Null,
        other => Out::from(parse_datetime(&display(other))),
    }),
    rows("totimespan", |a| match a[0] {
        Cell::TimeSpan(ticks) => Out::Long(ticks),
        Cell::Long(ticks) => Out::Long(ticks),
        Cell::Null => Out::Null,
        other => Out::from(parse_timespan(&display(other))),
    }),
    rows("toguid", |a| Out::from(to_guid(&display(a[0])))),
    rows("as_dynamic", |a| match a[0] {
        Cell::Null => Out::Null,
        Cell::Json(json) => Out::Text(json.to_owned()),
        other => Out::Text(to_json(other)),
    }),
    stock("gettype", |types, a| match types[0] {
        ScalarType::Dynamic => super::udf::call("type_of_dynamic", types, ScalarType::String, a),
        ty => lit(ScalarValue::Utf8View(Some(ty.to_string()))),
    }),
    rows("type_of_dynamic", |a| {
        let name = match a[0].json().and_then(json::parse) {
            Some(Value::Array(_)) => "array",
            Some(Value::Object(_)) => "dictionary",
            Some(Value::String(_)) => "string",
            Some(Value::Bool(_)) => "bool",
            Some(Value::Number(number)) if json::is_integer(&Value::Number(number.clone())) => "long",
            Some(Value::Number(_)) => "double",
            Some(Value::Null) | None => "null",
        };
        Out::Text(name.to_owned())
    }),
    stock("tohex", |types, a| super::udf::call(if types[0] == ScalarType::Int { "tohex_int" } else { "tohex_long" }, types, ScalarType::String, a)),
    rows("tohex_int", |a| hex(a, |n| u64::from(n as u32))),
    rows("tohex_long", |a| hex(a, |n| n as u64)),
];

/// Of a longer text the first 32 digits count, with or without their hyphens. Kusto docs: `toguid-function`.
fn to_guid(text: &str) -> Option<String> {
    let (mut digits, mut end) = (0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '-' if matches!(digits, 8 | 12 | 16 | 20) => {}
            _ if digits == 32 || !letter.is_ascii_hexdigit() => break,
            _ => digits += 1,
        }
        end = at + 1;
    }
    guid(if digits == 32 { &text[..end] } else { text })
}

/// Numbers widen by a plain cast, which comparisons see through; all else by the kernel.
fn widened(types: &[ScalarType], mut arguments: Vec<Expr>, ty: ScalarType, kernel: &'static str) -> Expr {
    match types[0] {
        from if from == ty => arguments.remove(0),
        ScalarType::Int | ScalarType::Long => cast(arguments.remove(0), arrow_type(ty)),
        _ => udf::call(kernel, types, ty, arguments),
    }
}

/// The document with the properties of every bag in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(bag) => {
            let mut properties: Vec<(String, Value)> = bag.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            properties.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(properties.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// At least as many digits as asked for, of which 16 count. Kusto docs: `tohex-function`.
fn hex(a: &[Cell], bits: fn(i64) -> u64) -> Out {
    let width = a.get(1).and_then(|cell| cell.long()).unwrap_or(0).clamp(0, 16) as usize;
    Out::Text(a[0].long().map_or_else(String::new, |value| format!("{:0width$x}", bits(value))))
}

/// A value as `tostring` shows it, a bool as .NET writes it; null is the empty string.
pub(crate) fn display(cell: Cell<'_>) -> Cow<'_, str> {
    Cow::Owned(match cell {
        Cell::Null => return Cow::Borrowed(""),
        Cell::Bool(b) => return Cow::Borrowed(if b { "True" } else { "False" }),
        Cell::Guid(text) | Cell::Text(text) => return Cow::Borrowed(text),
        Cell::Json(json) => return json::text(json),
        Cell::Real(n) if n.is_infinite() => return Cow::Borrowed(if n > 0.0 { "inf" } else { "-inf" }),
        Cell::Real(n) => format_real(n),
        Cell::Long(n) => n.to_string(),
        Cell::Decimal(n) => decimal::format(n),
        Cell::DateTime(ticks) => format_datetime(ticks),
        Cell::TimeSpan(ticks) => format_timespan(ticks),
    })
}

/// As [`display`], to be kept.
pub(crate) fn shown(cell: Cell) -> String {
    display(cell).into_owned()
}

/// A value as JSON, for a bag or an array.
pub(crate) fn to_json(cell: Cell) -> String {
    let mut json = String::new();
    write_json(cell, &mut json);
    json
}

/// As [`to_json`], behind what is written already.
pub(super) fn write_json(cell: Cell, json: &mut String) {
    match cell {
        Cell::Null => json.push_str("null"),
        Cell::Bool(b) => json.push_str(if b { "true" } else { "false" }),
        Cell::Long(_) => json.push_str(&display(cell)),
        Cell::Real(n) if n.is_finite() => json.push_str(&format_real(n)),
        Cell::Real(n) => write_json_string(&format_real(n), json),
        Cell::Json(text) => json.push_str(text),
        other => write_json_string(&display(other), json),
    }
}

/// Of a real number the nearest that fits; of a text only a whole number, as Kusto's emulator has it.
pub(crate) fn to_long(cell: Cell) -> Option<i64> {
    match cell {
        Cell::Null => None,
        Cell::Long(n) | Cell::DateTime(n) | Cell::TimeSpan(n) => Some(n),
        Cell::Real(n) => n.is_finite().then_some(n as i64),
        Cell::Bool(b) => Some(i64::from(b)),
        Cell::Decimal(n) => decimal::to_long(n),
        Cell::Json(json @ ("true" | "false")) => Some(i64::from(json == "true")),
        Cell::Json(json) if is_json_number(json) => json.parse().ok().or_else(|| Some(json.parse::<f64>().ok()? as i64)),
        other => long_of_text(&display(other)),
    }
}

fn is_json_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// `true`, `false`, or a whole number, only this with white space around it: an answer recorded of Kusto's emulator has
/// `tobool(" true")` of a column as null.
pub(super) fn bool_of_text(text: &str) -> Option<bool> {
    match text {
        word if word.eq_ignore_ascii_case("true") => Some(true),
        word if word.eq_ignore_ascii_case("false") => Some(false),
        number => long_of_text(number).map(|n| n != 0),
    }
}

fn long_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| long(text).filter(|_| text.starts_with("0x") || text.starts_with("0X")))
}

pub(crate) fn to_real(cell: Cell) -> Option<f64> {
    match cell {
        Cell::Null => None,
        Cell::Json(json @ ("true" | "false")) => Some(f64::from(u8::from(json == "true"))),
        Cell::Text(_) | Cell::Guid(_) | Cell::Json(_) => {
            let text = display(cell);
            match text.trim() {
                "NaN" | "nan" => Some(f64::NAN),
                "Infinity" | "+Infinity" | "inf" | "+inf" | "Inf" => Some(f64::INFINITY),
                "-Infinity" | "-inf" | "-Inf" => Some(f64::NEG_INFINITY),
                text if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
                _ => None,
            }
        }
        other => other.real(),
    }
}
