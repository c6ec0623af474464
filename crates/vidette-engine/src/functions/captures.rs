//! What `parse`, `parse-where` and `parse-kv` find in a text, as parts of it. Kusto docs: `parse-operator`,
//! `parse-where-operator`, `parse-kv-operator`.

use super::key_values::KeyValues;
use super::string::with_regex;
use super::udf::per_value;
use super::{ScalarFunction, stock};
use crate::json;
use crate::slices::Slices;
use arrow::array::{Array, ArrayRef, AsArray, NullBufferBuilder, StringViewArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit};
use memchr::memmem::Finder;
use regex::Regex;
use serde_json::Value;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    // captures(text, pattern, numbers): null when the text does not match.
    stock("parse_captures", |_, a| ScalarUDF::from(Captures::new()).call(a)),
    // capture(captures, at): the text of one; what did not match is empty.
    stock("parse_capture", |_, a| ScalarUDF::from(Capture::new()).call(a)),
];

/// The functions by their names in plans.
pub(super) fn by_name(name: &str) -> Option<ScalarUDF> {
    match name {
        NAME => Some(ScalarUDF::from(Captures::new())),
        "capture" => Some(ScalarUDF::from(Capture::new())),
        _ => None,
    }
}

fn field(at: impl std::fmt::Display) -> String {
    format!("v{at}")
}

/// Of the captures that a lowered call of `parse_captures` makes, only those with these numbers; any other expression as it is.
pub(crate) fn only_captures(expr: Expr, numbers: &[i64]) -> Expr {
    match expr {
        Expr::ScalarFunction(mut call) if call.func.name() == NAME => {
            let numbers: Vec<ScalarValue> = numbers.iter().map(|number| ScalarValue::Int64(Some(*number))).collect();
            call.args.push(lit(ScalarValue::List(ScalarValue::new_list_nullable(&numbers, &DataType::Int64))));
            Expr::ScalarFunction(call)
        }
        other => other,
    }
}

const NAME: &str = "captures";

/// `captures(text, pattern, numbers)`: a struct of the texts that the columns of a pattern stand for, null when the text does not
/// match; of those whose numbers are given, or of all.
///
/// The pattern is JSON: `[kind, flags, part…]`, a part being `["text", t]`, `["skip"]` or `["type", ty]`; or the options of
/// `parse-kv`, whose captures are the values of its keys.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Captures {
    signature: Signature,
}

impl Captures {
    fn new() -> Captures {
        Captures { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Captures {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("captures: the type depends on the pattern")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let scalar = |at: usize| arguments.scalar_arguments.get(at).copied().flatten();
        let asked = Asked::read(scalar(1), scalar(2))?;
        Ok(Arc::new(Field::new(self.name(), DataType::Struct(asked.fields()), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = |at: usize| match arguments.args.get(at) {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        };
        let asked = Asked::read(scalar(1), scalar(2))?;
        match &arguments.args[0] {
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(per_value(texts, &|texts| asked.captures(texts))?)),
            ColumnarValue::Scalar(text) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&asked.captures(&text.to_array()?)?, 0)?)),
        }
    }
}

/// `capture(captures, at)`: the texts of one capture, empty where there is none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Capture {
    signature: Signature,
}

impl Capture {
    fn new() -> Capture {
        Capture { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Capture {
    fn name(&self) -> &str {
        "capture"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let captures = arguments.args[0].to_array(arguments.number_rows)?;
        let ColumnarValue::Scalar(ScalarValue::Int64(Some(at))) = arguments.args[1] else { return internal_err!("capture: no number") };
        let Some(captures) = captures.as_struct_opt() else { return internal_err!("capture: of a {}", captures.data_type()) };
        let Some(texts) = captures.column_by_name(&field(at)).and_then(|texts| texts.as_string_view_opt()) else {
            return internal_err!("capture: there is no number {at}");
        };
        if captures.null_count() == 0 && texts.null_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::new(texts.clone())));
        }
        // A view of zero is the empty text.
        let is_there = |row: usize| captures.is_valid(row) && texts.is_valid(row);
        let views: Vec<u128> = texts.views().iter().enumerate().map(|(row, view)| if is_there(row) { *view } else { 0 }).collect();
        Ok(ColumnarValue::Array(Arc::new(StringViewArray::try_new(views.into(), texts.data_buffers().to_vec(), None)?)))
    }
}

/// What is looked for in texts.
enum Search {
    Pattern(Pattern),
    Pairs(KeyValues),
}

impl Search {
    fn read(pattern: Option<&ScalarValue>) -> Result<Search> {
        let text = match pattern {
            Some(ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text))) => text.as_str(),
            _ => "",
        };
        match (json::object(text), json::array(text).as_deref()) {
            (Some(options), _) => Ok(Search::Pairs(KeyValues::new(&options))),
            (None, Some([kind, flags, parts @ ..])) => Ok(Search::Pattern(Pattern::new(kind.as_str().unwrap_or("simple"), flags.as_str().unwrap_or(""), parts))),
            _ => internal_err!("captures: no pattern"),
        }
    }

    fn count(&self) -> usize {
        match self {
            Search::Pattern(pattern) => pattern.types.len(),
            Search::Pairs(pairs) => pairs.keys.len(),
        }
    }
}

/// What is looked for, and which of its captures are asked for.
struct Asked {
    search: Search,
    /// In order; each is one of the search's.
    numbers: Vec<usize>,
}

impl Asked {
    fn read(pattern: Option<&ScalarValue>, numbers: Option<&ScalarValue>) -> Result<Asked> {
        let search = Search::read(pattern)?;
        let numbers = match numbers {
            Some(ScalarValue::List(list)) => list.values().as_primitive::<Int64Type>().iter().flatten().filter_map(|number| usize::try_from(number).ok()).collect(),
            _ => (0..search.count()).collect(),
        };
        Ok(Asked { search, numbers })
    }

    fn fields(&self) -> Fields {
        self.numbers.iter().map(|at| Field::new(field(at), DataType::Utf8View, true)).collect()
    }

    fn captures(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let texts = arrow::compute::cast(texts, &DataType::Utf8View)?;
        let texts = texts.as_string_view();
        let mut columns: Vec<Slices> = self.numbers.iter().map(|_| Slices::of(texts)).collect();
        let mut valid = NullBufferBuilder::new(texts.len());
        let value = |row: usize| if texts.is_valid(row) { texts.value(row) } else { "" };
        match &self.search {
            Search::Pairs(pairs) => {
                for row in 0..texts.len() {
                    valid.append_non_null();
                    let values = pairs.read(value(row));
                    for (column, at) in columns.iter_mut().zip(&self.numbers) {
                        match values.get(*at).and_then(Option::as_ref) {
                            Some(value) => column.push_own(value),
                            None => column.push_null(),
                        }
                    }
                }
            }
            Search::Pattern(pattern) => {
                // Not every text is a regular expression: without one nothing matches.
                with_regex(&pattern.regex, |regex| {
                    let mut found = Vec::with_capacity(columns.len());
                    for row in 0..texts.len() {
                        let matches = pattern.find(regex, value(row), &mut found);
                        valid.append(matches);
                        for (column, at) in columns.iter_mut().zip(&self.numbers) {
                            match found.get(*at).filter(|_| matches) {
                                Some(part) => column.push(row, part),
                                None => column.push_null(),
                            }
                        }
                    }
                })
                .unwrap_or_else(|| {
                    valid.append_n_nulls(texts.len());
                    columns.iter_mut().for_each(|column| (0..texts.len()).for_each(|_| column.push_null()));
                });
            }
        }
        let columns = columns.into_iter().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        Ok(Arc::new(StructArray::try_new_with_length(self.fields(), columns, valid.finish(), texts.len())?))
    }
}

/// A part of a pattern, for the way without regular expressions.
enum Piece {
    Text(String, Box<Finder<'static>>),
    /// Anything, as little as there can be; all that is left at the end.
    Any {
        kept: bool,
    },
    Number {
        real: bool,
    },
}

/// A pattern, ready to be matched.
struct Pattern {
    /// In the strict way nothing is captured when a value is not of its type. `relaxed` leaves such a value empty.
    is_strict: bool,
    /// Of the captures.
    types: Vec<String>,
    /// `None` where only the regular expression tells.
    pieces: Option<Vec<Piece>>,
    regex: String,
}

/// What the way without regular expressions says of a text.
enum Told {
    Captures,
    Nothing,
    /// A number did not stand where it was looked for first; it may stand further on.
    Unknown,
}

impl Pattern {
    fn new(kind: &str, flags: &str, parts: &[Value]) -> Pattern {
        let types = parts.iter().filter(|part| part[0] == "type").map(|part| part[1].as_str().unwrap_or("").to_owned()).collect();
        Pattern { is_strict: kind == "simple", types, pieces: pieces(kind, parts), regex: pattern_regex(kind, flags, parts) }
    }

    /// Whether the text matches; `found` is then what its captures are.
    fn find<'t>(&self, regex: &Regex, text: &'t str, found: &mut Vec<&'t str>) -> bool {
        found.clear();
        match self.pieces.as_ref().map(|pieces| told(pieces, text, found)) {
            Some(Told::Captures) => {}
            Some(Told::Nothing) => return false,
            Some(Told::Unknown) | None => {
                let Some(captures) = regex.captures(text) else { return false };
                found.clear();
                found.extend((0..self.types.len()).map(|at| captures.name(&field(at)).map_or("", |part| part.as_str())));
            }
        }
        !self.is_strict || self.types.iter().zip(found).all(|(ty, text)| reads_as(ty, text))
    }
}

/// The pieces of a pattern that can be looked for one after the other: all but those of regular expressions, and those with
/// numbers that may be missing.
fn pieces(kind: &str, parts: &[Value]) -> Option<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(parts.len());
    for part in parts {
        let second = part[1].as_str().unwrap_or("");
        let piece = match (part[0].as_str()?, kind) {
            (_, "regex") => return None,
            ("text", _) => match pieces.pop_if(|last| matches!(last, Piece::Text(..))) {
                Some(Piece::Text(first, _)) => text_piece(first + second),
                _ => text_piece(second.to_owned()),
            },
            ("skip", _) => Piece::Any { kept: false },
            (_, _) if !matches!(second, "int" | "long" | "real" | "decimal") => Piece::Any { kept: true },
            (_, "relaxed") => return None,
            _ => Piece::Number { real: matches!(second, "real" | "decimal") },
        };
        pieces.push(piece);
    }
    Some(pieces)
}

fn text_piece(text: String) -> Piece {
    let finder = Finder::new(text.as_bytes()).into_owned();
    Piece::Text(text, Box::new(finder))
}

/// Looks for each piece as early as it can stand, which is what the regular expression tries first.
fn told<'t>(pieces: &[Piece], text: &'t str, captures: &mut Vec<&'t str>) -> Told {
    let mut at = 0;
    let mut with_number = false;
    let mut pieces = pieces;
    while let Some((piece, after)) = pieces.split_first() {
        let rest = &text[at..];
        pieces = after;
        let length = match piece {
            Piece::Text(literal, _) => rest.starts_with(literal.as_str()).then_some(literal.len()),
            Piece::Any { kept } => {
                // Where a text ends what is kept, it is passed at once.
                let (length, passed) = match after {
                    [] => (Some(rest.len()), 0),
                    [Piece::Text(literal, _)] => (rest.strip_suffix(literal.as_str()).map(str::len), literal.len()),
                    [Piece::Text(literal, finder), ..] => (finder.find(rest.as_bytes()), literal.len()),
                    _ => (Some(0), 0),
                };
                if let [Piece::Text(..), others @ ..] = after {
                    pieces = others;
                }
                if let Some(length) = length.filter(|_| *kept) {
                    captures.push(&rest[..length]);
                }
                length.map(|length| length + passed)
            }
            Piece::Number { real } => {
                with_number = true;
                let next = match after.first() {
                    Some(Piece::Text(literal, _)) => Some(literal.as_str()),
                    _ => None,
                };
                let length = number(rest, *real, next);
                captures.extend(length.map(|length| &rest[..length]));
                length
            }
        };
        match length {
            Some(length) => at += length,
            None if with_number => return Told::Unknown,
            None => return Told::Nothing,
        }
    }
    match at == text.len() {
        true => Told::Captures,
        false if with_number => Told::Unknown,
        false => Told::Nothing,
    }
}

/// How long the number is that a text begins with, white space around it included, so that `next` follows it.
fn number(text: &str, real: bool, next: Option<&str>) -> Option<usize> {
    let bytes = text.as_bytes();
    let many = |from: usize, wanted: fn(&u8) -> bool| bytes[from..].iter().take_while(|byte| wanted(byte)).count();
    let digits = |from: usize| many(from, u8::is_ascii_digit);
    let space = |from: usize| many(from, |byte| matches!(byte, b' ' | b'\t'..=b'\r'));
    let signed = |at: usize| at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let start = signed(space(0));
    let mut end = start + digits(start);
    let is_number = if real {
        let fraction = if bytes.get(end) == Some(&b'.') { digits(end + 1) } else { 0 };
        let any = end > start || fraction > 0;
        end += if fraction > 0 { 1 + fraction } else { 0 };
        if any && matches!(bytes.get(end), Some(b'e' | b'E')) {
            let exponent = signed(end + 1);
            end = if digits(exponent) > 0 { exponent + digits(exponent) } else { end };
        }
        any
    } else {
        end > start
    };
    let most = end + space(end);
    // Digits and white space beyond ASCII are known to the regular expression.
    if !is_number || bytes.get(most).is_some_and(|byte| !byte.is_ascii()) {
        return None;
    }
    match next {
        None => Some(most),
        // White space may be the number's or the text's that follows.
        Some(next) => (end..=most).rev().find(|end| text[*end..].starts_with(next)),
    }
}

fn pattern_regex(kind: &str, flags: &str, parts: &[Value]) -> String {
    let regex_kind = kind == "regex";
    let flags: String = flags.chars().filter(|c| matches!(c, 'i' | 'm' | 's' | 'U' | 'u' | 'x')).collect();
    let mut pattern = if regex_kind { format!("(?{})", if flags.is_empty() { "s".to_owned() } else { flags }) } else { String::from("(?s)^") };
    let mut captures = 0;
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let second = part[1].as_str().unwrap_or("");
        match part[0].as_str().unwrap_or("") {
            "text" if regex_kind => pattern.push_str(&format!("(?:{})", vidette_kql::regexes::balanced(second))),
            "text" => pattern.push_str(&regex::escape(second)),
            "skip" if regex_kind => pattern.push_str(".*"),
            "skip" => pattern.push_str(if last { ".*" } else { ".*?" }),
            _ => {
                let body = match second {
                    "bool" if regex_kind => r"\s*(?i:true|false)\s*",
                    "real" | "decimal" if regex_kind => r"\s*[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\s*",
                    "long" | "int" if kind != "relaxed" => r"\s*(?:[-+]?\d+|0x[0-9a-fA-F]+)\s*",
                    "real" | "decimal" if kind != "relaxed" => r"\s*[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?\s*",
                    // A number where there is one, else whatever stands there: it reads as null.
                    "long" | "int" => r"(?:\s*(?:[-+]?\d+|0x[0-9a-fA-F]+)\s*|.*?)",
                    "real" | "decimal" => r"(?:\s*[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?\s*|.*?)",
                    // The greedy form is what the engine uses for regular expressions.
                    _ if regex_kind || last => ".*",
                    _ => ".*?",
                };
                pattern.push_str(&format!("(?P<{}>{body})", field(captures)));
                captures += 1;
            }
        }
    }
    if !regex_kind {
        pattern.push('$');
    }
    pattern
}

/// Whether the text is a value of the type; an empty text is one of none but string.
fn reads_as(ty: &str, text: &str) -> bool {
    match ty {
        "datetime" => vidette_kql::time::parse_datetime(text).is_some(),
        "timespan" => vidette_kql::time::parse_timespan(text).is_some(),
        "guid" => vidette_kql::literals::guid(text).is_some(),
        "bool" => super::conversion::bool_of_text(text).is_some(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pattern finds with its pieces, and with the regular expression alone.
    fn both(pattern: &str, text: &str) -> [Option<Vec<String>>; 2] {
        let parts = json::array(pattern).expect("a pattern");
        let mut pattern = Pattern::new("simple", "", &parts[2..]);
        assert!(pattern.pieces.is_some());
        let find = |pattern: &Pattern| {
            with_regex(&pattern.regex, |regex| {
                let mut found = Vec::new();
                pattern.find(regex, text, &mut found).then(|| found.into_iter().map(str::to_owned).collect())
            })
            .flatten()
        };
        let by_pieces = find(&pattern);
        pattern.pieces = None;
        [by_pieces, find(&pattern)]
    }

    #[test]
    fn a_number_may_stand_further_on() {
        let pattern = r#"["simple","",["skip"],["text","id="],["type","long"],["text"," "],["type","string"]]"#;
        for (text, found) in [("id=x id=5 rest", Some(vec!["5", "rest"])), ("id= 7  id", Some(vec![" 7 ", "id"])), ("id=0x1F z", Some(vec!["0x1F", "z"])), ("id=", None)] {
            let found = found.map(|found| found.into_iter().map(str::to_owned).collect());
            assert_eq!(both(pattern, text), [found.clone(), found], "{text}");
        }
    }

    #[test]
    fn pieces_find_what_the_regular_expression_finds() {
        const PARTS: &[&str] = &[r#"["skip"]"#, r#"["type","string"]"#, r#"["type","long"]"#, r#"["type","real"]"#, r#"["type","bool"]"#];
        let mut rng = fastrand::Rng::with_seed(7);
        let text = |rng: &mut fastrand::Rng, letters: &str, most: usize| -> String {
            let letters: Vec<char> = letters.chars().collect();
            (0..rng.usize(0..=most)).map(|_| letters[rng.usize(..letters.len())]).collect()
        };
        let mut matched = 0;
        for _ in 0..4_000 {
            let mut parts: Vec<String> = Vec::new();
            for _ in 0..rng.usize(1..6) {
                let part = match rng.bool() {
                    true => format!(r#"["text","{}"]"#, text(&mut rng, "ab1 .x", 2)),
                    false => PARTS[rng.usize(..PARTS.len())].to_owned(),
                };
                // A column never follows a column or `*`.
                if !part.starts_with(r#"["type"#) || parts.last().is_none_or(|last| last.starts_with(r#"["text"#)) {
                    parts.push(part);
                }
            }
            let pattern = format!(r#"["simple","",{}]"#, parts.join(","));
            let text = text(&mut rng, "ab10 .xe+é", 12);
            let [pieces, regex] = both(&pattern, &text);
            assert_eq!(pieces, regex, "{pattern} in {text:?}");
            matched += usize::from(regex.is_some());
        }
        assert!(matched > 400, "{matched} of the texts match");
    }
}
