//! Conversion functions. Kusto docs: `scalar-functions`, "Conversion functions".

use super::{ScalarFunction, rows, stock, udf};
use crate::arrow_types::arrow_type;
use crate::cells::{Cell, Out};
use crate::decimal;
use crate::json;
use datafusion::logical_expr::{Expr, cast};
use serde_json::Value;
use vidette_kql::ScalarType;
use vidette_kql::literals::{format_real, guid, long, write_json_string};
use vidette_kql::time::{MAX_TICKS, TICKS_PER_DAY, format_datetime, format_timespan, parse_datetime, parse_timespan};

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("tostring", |a| Out::Text(display(a[0]))),
    rows("dynamic_to_json", |a| match a[0] {
        Cell::Json(text) => Out::Text(json::parse(text).map_or_else(String::new, |value| json::write(&sorted(value)))),
        other => Out::Text(display(other)),
    }),
    rows("tobool", |a| {
        let text = match a[0] {
            Cell::Bool(b) => return Out::Bool(b),
            Cell::Null => return Out::Null,
            Cell::Long(n) => return Out::Bool(n != 0),
            Cell::Real(n) => return Out::Bool(n != 0.0),
            Cell::Decimal(n) => return Out::Bool(n != arrow::datatypes::i256::ZERO),
            other => display(other).to_ascii_lowercase(),
        };
        match text.trim() {
            "true" => Out::Bool(true),
            "false" => Out::Bool(false),
            number => Out::from(number.parse::<i64>().ok().map(|n| n != 0)),
        }
    }),
    rows("toint", |a| Out::from(to_long(a[0]).filter(|n| i32::try_from(*n).is_ok()))),
    stock("tolong", |types, a| widened(types, a, ScalarType::Long, "long_of")),
    stock("toreal", |types, a| widened(types, a, ScalarType::Real, "real_of")),
    rows("long_of", |a| Out::from(to_long(a[0]))),
    rows("real_of", |a| Out::from(to_real(a[0]))),
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
        Cell::Null => Out::Null,
        other => Out::from(parse_datetime(&display(other))),
    }),
    rows("totimespan", |a| match a[0] {
        Cell::TimeSpan(ticks) => Out::Long(ticks),
        Cell::Long(days) => Out::from(days.checked_mul(TICKS_PER_DAY)),
        Cell::Null => Out::Null,
        other => Out::from(parse_timespan(&display(other))),
    }),
    rows("toguid", |a| Out::from(to_guid(&display(a[0])))),
    rows("as_dynamic", |a| match a[0] {
        Cell::Null => Out::Null,
        Cell::Json(json) => Out::Text(json.to_owned()),
        other => Out::Text(to_json(other)),
    }),
    rows("gettype", |a| {
        let name = match a[0] {
            Cell::Null => "null",
            Cell::Bool(_) => "bool",
            Cell::Long(_) => "long",
            Cell::Real(_) => "real",
            Cell::Decimal(_) => "decimal",
            Cell::DateTime(_) => "datetime",
            Cell::TimeSpan(_) => "timespan",
            Cell::Guid(_) => "guid",
            Cell::Text(_) => "string",
            Cell::Json(json) => match json::parse(json) {
                Some(Value::Array(_)) => "array",
                Some(Value::Object(_)) => "dictionary",
                Some(Value::String(_)) => "string",
                Some(Value::Bool(_)) => "bool",
                Some(Value::Number(number)) => {
                    if json::is_integer(&Value::Number(number)) {
                        "long"
                    } else {
                        "double"
                    }
                }
                Some(Value::Null) | None => "null",
            },
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

fn hex(a: &[Cell], bits: fn(i64) -> u64) -> Out {
    let width = a.get(1).and_then(|cell| cell.long()).unwrap_or(0).clamp(0, 64) as usize;
    Out::Text(a[0].long().map_or_else(String::new, |value| format!("{:0width$x}", bits(value))))
}

/// A value as `tostring` shows it; null is the empty string.
pub(crate) fn display(cell: Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(b) => b.to_string(),
        Cell::Long(n) => n.to_string(),
        Cell::Real(n) => format_real(n),
        Cell::Decimal(n) => decimal::format(n),
        Cell::DateTime(ticks) => format_datetime(ticks),
        Cell::TimeSpan(ticks) => format_timespan(ticks),
        Cell::Guid(text) | Cell::Text(text) => text.to_owned(),
        Cell::Json(json) => json::to_text(json),
    }
}

/// A value as JSON, for a bag or an array.
pub(crate) fn to_json(cell: Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Bool(_) | Cell::Long(_) => display(cell),
        Cell::Real(n) if n.is_finite() => format_real(n),
        Cell::Json(json) => json.to_owned(),
        other => {
            let mut json = String::new();
            write_json_string(&display(other), &mut json);
            json
        }
    }
}

pub(crate) fn to_long(cell: Cell) -> Option<i64> {
    match cell {
        Cell::Null => None,
        Cell::Long(n) | Cell::DateTime(n) | Cell::TimeSpan(n) => Some(n),
        Cell::Real(n) => (n.is_finite() && n.abs() < 9.3e18).then_some(n as i64),
        Cell::Bool(b) => Some(i64::from(b)),
        Cell::Decimal(n) => decimal::to_long(n),
        other => {
            let text = display(other);
            let text = text.trim();
            if let Ok(value) = text.parse() {
                return Some(value);
            }
            let digits = text.trim_start_matches(['-', '+']);
            if digits.starts_with("0x") {
                return long(digits).map(|value| if text.starts_with('-') { value.wrapping_neg() } else { value });
            }
            if digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            if let Cell::Json("true" | "false") = other {
                return Some(i64::from(text == "true"));
            }
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n as i64)
        }
    }
}

pub(crate) fn to_real(cell: Cell) -> Option<f64> {
    match cell {
        Cell::Null => None,
        Cell::Text(_) | Cell::Guid(_) | Cell::Json(_) => {
            let text = display(cell);
            let text = text.trim();
            match text {
                "NaN" | "nan" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                "true" => Some(1.0),
                "false" => Some(0.0),
                _ if text.starts_with("0x") => long(text).map(|n| n as f64),
                _ if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
                _ => None,
            }
        }
        other => other.real(),
    }
}
