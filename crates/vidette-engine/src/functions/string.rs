//! String functions. Kusto docs: `scalar-functions`, "String functions".

use super::conversion::display;
use super::{ScalarFunction, rows, stock};
use crate::cells::{Cell, Out};
use crate::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::functions::unicode::expr_fn::character_length;
use libdeflater::{CompressionLvl, Compressor};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;
use vidette_kql::literals::write_json_string;

/// What Kusto leaves as it is in a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'!').remove(b'*').remove(b'(').remove(b')');

/// Percent-encoding with lower-case digits.
fn encode_url(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).map(|part| if part.starts_with('%') { part.to_lowercase() } else { part.to_owned() }).collect()
}

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("strcat", |a| Out::Text(a.iter().map(|cell| display(*cell)).collect())),
    rows("strcat_delim", |a| Out::Text(a[1..].iter().map(|cell| display(*cell)).collect::<Vec<_>>().join(a[0].text()))),
    rows("strcat_array", |a| Out::Text(json::strings(a[0].json().unwrap_or("[]")).join(a[1].text()))),
    stock("strlen", |types, mut a| {
        let text = a.remove(0);
        let text = if types[0] == vidette_kql::ScalarType::Dynamic { super::udf::call("tostring", types, vidette_kql::ScalarType::String, vec![text]) } else { text };
        super::operators::to_long(character_length(text))
    }),
    rows("string_size", |a| Out::Long(display(a[0]).len() as i64)),
    rows("strcmp", |a| Out::Long(a[0].text().cmp(a[1].text()) as i64)),
    rows("strrep", |a| {
        let count = a[1].long().unwrap_or(0).clamp(0, 1024) as usize;
        let delimiter = a.get(2).map_or("", |cell| cell.text());
        Out::Text(vec![display(a[0]); count].join(delimiter))
    }),
    rows("tolower", |a| Out::Text(a[0].text().to_lowercase())),
    rows("toupper", |a| Out::Text(a[0].text().to_uppercase())),
    rows("reverse", |a| Out::Text(a[0].text().chars().rev().collect())),
    rows("substring", substring),
    rows("split", |a| {
        let (text, delimiter) = (a[0].text(), a[1].text());
        let at = a.get(2).and_then(|cell| cell.long()).map(|index| usize::try_from(index).unwrap_or(usize::MAX));
        let mut json = String::with_capacity(text.len() + 16);
        let mut put = |part: &str| {
            json.push(if json.is_empty() { '[' } else { ',' });
            write_json_string(part, &mut json);
        };
        let mut letters = delimiter.chars();
        match ([letters.next(), letters.next()], at) {
            ([None, _], None | Some(0)) => put(text),
            ([None, _], Some(_)) => {}
            // A single letter is found faster.
            ([Some(letter), None], Some(at)) => text.split(letter).nth(at).into_iter().for_each(put),
            ([Some(letter), None], None) => text.split(letter).for_each(put),
            (_, Some(at)) => text.split(delimiter).nth(at).into_iter().for_each(put),
            (_, None) => text.split(delimiter).for_each(put),
        }
        // There is no such part.
        if json.is_empty() {
            return Out::Null;
        }
        json.push(']');
        Out::Text(json)
    }),
    // Kusto's emulator finds an empty text nowhere, not even at -1.
    rows("indexof", |a| if a[1].text().is_empty() { Out::Null } else { index_of(a, |text, needle| text.find(needle).map(|at| (at, needle.len()))) }),
    rows("indexof_regex", |a| {
        // Unlike `indexof`, it does not count a negative start from the end.
        if a.get(2).and_then(|cell| cell.long()).is_some_and(|start| start < 0) {
            return Out::Null;
        }
        index_of(a, |text, pattern| with_regex(pattern, |regex| regex.find(text).map(|found| (found.start(), found.len()))).flatten())
    }),
    rows("countof", |a| {
        let (text, needle) = (a[0].text(), a[1].text());
        match a.get(2).map(|cell| cell.text()) {
            Some("regex") => Out::from(with_regex(needle, |regex| regex.find_iter(text).count() as i64)),
            _ if needle.is_empty() => Out::Long(0),
            // Overlapping occurrences count: "aa" stands twice in "aaa".
            _ => Out::Long(text.char_indices().filter(|(at, _)| text[*at..].starts_with(needle)).count() as i64),
        }
    }),
    rows("matches regex", |a| Out::from(with_regex(a[1].text(), |regex| regex.is_match(a[0].text())))),
    rows("extract", |a| {
        let group = usize::try_from(a[1].long().unwrap_or(0)).unwrap_or(usize::MAX);
        let found = with_regex(a[0].text(), |regex| regex.captures(a[2].text()).and_then(|captures| captures.get(group).map(|m| m.as_str().to_owned())));
        Out::Text(found.flatten().unwrap_or_default())
    }),
    rows("extract_all", extract_all),
    rows("replace_regex", |a| Out::from(replace_regex(a[1].text(), a[2].text(), a[0].text()))),
    rows("replace_regex_legacy", |a| Out::from(replace_regex(a[0].text(), a[1].text(), a[2].text()))),
    rows("replace_string", |a| Out::Text(if a[1].text().is_empty() { a[0].text().to_owned() } else { a[0].text().replace(a[1].text(), a[2].text()) })),
    rows("replace_strings", |a| {
        let same = Out::Text(a[0].text().to_owned());
        let (Some(lookups), Some(rewrites)) = (a[1].json().and_then(json::array), a[2].json().and_then(json::array)) else { return same };
        if lookups.len() != rewrites.len() {
            return same;
        }
        // What is to become something other than a string stays as it is.
        let pairs = lookups.iter().zip(&rewrites).filter_map(|(lookup, rewrite)| {
            let lookup = lookup.as_str().filter(|text| !text.is_empty())?;
            Some((lookup, rewrite.as_str().unwrap_or(lookup)))
        });
        Out::Text(replace_each(a[0].text(), &pairs.collect::<Vec<_>>()))
    }),
    rows("trim", |a| Out::from(trim(a[0].text(), a[1].text(), true, true))),
    rows("trim_start", |a| Out::from(trim(a[0].text(), a[1].text(), true, false))),
    rows("trim_end", |a| Out::from(trim(a[0].text(), a[1].text(), false, true))),
    rows("regex_quote", |a| Out::Text(regex::escape(a[0].text()))),
    rows("translate", |a| {
        let from: Vec<char> = a[0].text().chars().collect();
        let to: Vec<char> = a[1].text().chars().collect();
        let map = |c: char| match from.iter().position(|f| *f == c) {
            Some(at) => to.get(at).or(to.last()).copied(),
            None => Some(c),
        };
        Out::Text(a[2].text().chars().filter_map(map).collect())
    }),
    rows("unicode_codepoints_from_string", |a| {
        let codes: Vec<String> = a[0].text().chars().map(|c| u32::from(c).to_string()).collect();
        Out::Text(format!("[{}]", codes.join(",")))
    }),
    rows("unicode_codepoints_to_string", |a| {
        let codes = a.iter().flat_map(|cell| match cell.json().and_then(json::array) {
            Some(items) => items.iter().map(Value::as_i64).collect(),
            None => vec![cell.long()],
        });
        // One code that is none makes the text null, which a string cannot be.
        Out::Text(codes.map(|code| u32::try_from(code?).ok().and_then(char::from_u32)).collect::<Option<String>>().unwrap_or_default())
    }),
    rows("isascii", |a| Out::Bool(a[0].text().is_ascii())),
    rows("isutf8", |_| Out::Bool(true)),
    rows("url_encode_component", |a| Out::Text(encode_url(a[0].text()))),
    rows("url_encode", |a| Out::Text(encode_url(a[0].text()).replace("%20", "+"))),
    rows("url_decode", |a| Out::Text(percent_decode_str(&a[0].text().replace('+', " ")).decode_utf8_lossy().into_owned())),
    rows("base64_encode_fromguid", |a| match guid_bytes(a[0].text()) {
        Some(bytes) => Out::Text(BASE64.encode(bytes)),
        None => Out::Text(String::new()),
    }),
    rows("base64_decode_toguid", |a| {
        let bytes = BASE64.decode(a[0].text().trim()).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        Out::from(bytes.map(|bytes| guid_text(&bytes)))
    }),
    // The headers name the level that Kusto's do.
    rows("zlib_compress_to_base64_string", |a| compress(a[0].text(), CompressionLvl::fastest(), |packer, text, out| packer.zlib_compress(text, out))),
    rows("gzip_compress_to_base64_string", |a| compress(a[0].text(), CompressionLvl::default(), |packer, text, out| packer.gzip_compress(text, out))),
    rows("zlib_decompress_from_base64_string", |a| Out::from(BASE64.decode(a[0].text()).ok().and_then(|bytes| decompress(flate2::read::ZlibDecoder::new(&bytes[..]))))),
    rows("gzip_decompress_from_base64_string", |a| Out::from(BASE64.decode(a[0].text()).ok().and_then(|bytes| decompress(flate2::read::GzDecoder::new(&bytes[..]))))),
    rows("punycode_from_string", |a| Out::from(idna::punycode::encode_str(a[0].text()).map(|text| text.trim_end_matches('-').to_owned()))),
    rows("punycode_to_string", |a| Out::from(idna::punycode::decode_to_string(a[0].text()))),
    rows("punycode_domain_from_string", |a| {
        let decode = |label: &str| label.strip_prefix("xn--").map_or(Some(label.to_owned()), idna::punycode::decode_to_string);
        Out::from(a[0].text().split(DOTS).map(decode).collect::<Option<Vec<_>>>().map(|labels| labels.join(".")))
    }),
    rows("punycode_domain_to_string", |a| {
        let encode = |label: &str| if label.is_ascii() { Some(label.to_owned()) } else { idna::punycode::encode_str(label).map(|text| format!("xn--{text}")) };
        Out::from(a[0].text().split(DOTS).map(encode).collect::<Option<Vec<_>>>().map(|labels| labels.join(".")))
    }),
    rows("format_bytes", format_bytes),
    rows("estimate_data_size", |a| {
        if a.iter().any(|cell| matches!(cell, Cell::Json(text) if super::sketches::is_hll(text))) {
            return Out::Refused("the size of an HLL is that of Kusto's own layout");
        }
        Out::Long(a.iter().map(|cell| data_size(*cell)).sum())
    }),
    rows("new_guid", |_| Out::Text(guid_text(&random_bytes()))),
    rows("base64_encode_tostring", |a| Out::Text(BASE64.encode(a[0].text()))),
    rows("base64_decode_tostring", |a| {
        let decoded = BASE64.decode(a[0].text().trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        Out::Text(decoded.unwrap_or_default())
    }),
    rows("base64_decode_toarray", |a| match BASE64.decode(a[0].text().trim()) {
        Ok(bytes) => Out::Text(format!("[{}]", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(","))),
        Err(_) => Out::Null,
    }),
    rows("base64_encode_fromarray", |a| {
        let bytes: Option<Vec<u8>> = a[0].json().and_then(json::array).and_then(|items| items.iter().map(|item| item.as_u64().and_then(|n| u8::try_from(n).ok())).collect());
        Out::Text(bytes.map_or_else(String::new, |bytes| BASE64.encode(bytes)))
    }),
];

thread_local! {
    static REGEXES: RefCell<Vec<(String, Option<Rc<Regex>>)>> = const { RefCell::new(Vec::new()) };
}

const CACHED_REGEXES: usize = 64;

/// Runs `body` with the compiled pattern; `None` when the pattern is not a regular expression.
/// The documented syntax is that of the `regex` crate.
pub(super) fn with_regex<T>(pattern: &str, body: impl FnOnce(&Regex) -> T) -> Option<T> {
    let regex = REGEXES.with_borrow_mut(|regexes| {
        if let Some((_, regex)) = regexes.iter().find(|(text, _)| text == pattern) {
            return regex.clone();
        }
        let readable = vidette_kql::regexes::readable(pattern).unwrap_or(Cow::Borrowed(pattern));
        let compiled = RegexBuilder::new(&readable).octal(true).build().ok().map(Rc::new);
        if regexes.len() == CACHED_REGEXES {
            regexes.remove(0);
        }
        regexes.push((pattern.to_owned(), compiled.clone()));
        compiled
    })?;
    Some(body(&regex))
}

fn substring(a: &[Cell]) -> Out {
    let text = a[0].text();
    let Some(start) = a[1].long() else { return Out::Text(String::new()) };
    let count = text.chars().count() as i64;
    // A negative start counts from the end; before the beginning there is nothing.
    let start = if start < 0 { count.saturating_add(start) } else { start };
    if start < 0 {
        return Out::Text(String::new());
    }
    let length = match a.get(2) {
        Some(cell) => cell.long().unwrap_or(0).max(0),
        None => count,
    };
    Out::Text(text.chars().skip(start as usize).take(length as usize).collect())
}

/// Position in characters of the *n*th occurrence; -1 when there is none. Kusto docs: `indexof-function`.
fn index_of(a: &[Cell], find: impl Fn(&str, &str) -> Option<(usize, usize)>) -> Out {
    let (text, needle) = (a[0].text(), a[1].text());
    let argument = |at: usize, default: i64| a.get(at).map_or(Some(default), |cell| cell.long());
    let (Some(start), Some(length), Some(occurrence)) = (argument(2, 0), argument(3, -1), argument(4, 1)) else { return Out::Null };
    let count = text.chars().count() as i64;
    if length < -1 || occurrence < 1 {
        return Out::Null;
    }
    let start = if start < 0 { count.saturating_add(start).max(0) } else { start };
    if start > count {
        return Out::Long(-1);
    }
    let byte_of = |position: i64| text.char_indices().nth(position as usize).map_or(text.len(), |(at, _)| at);
    let from = byte_of(start);
    // The length limits where an occurrence may begin, not where it ends.
    let to = if length < 0 { text.len() + 1 } else { byte_of(start.saturating_add(length).min(count)) };
    let window = &text[from..];
    let mut at = 0;
    for n in 1..=occurrence {
        let Some((found, _)) = window.get(at..).and_then(|rest| find(rest, needle)) else { return Out::Long(-1) };
        let position = at + found;
        if from + position >= to {
            return Out::Long(-1);
        }
        if n == occurrence {
            return Out::Long(start + window[..position].chars().count() as i64);
        }
        at = position + window[position..].chars().next().map_or(1, char::len_utf8);
    }
    Out::Long(-1)
}

/// Kusto writes a capture as `\1`; `$` is plain text.
fn replace_regex(pattern: &str, rewrite: &str, text: &str) -> Option<String> {
    let mut template = String::with_capacity(rewrite.len());
    let mut rest = rewrite.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                template.push_str(&format!("${{{digit}}}"));
                rest.next();
            }
            ('\\', Some('\\')) => {
                template.push('\\');
                rest.next();
            }
            ('$', _) => template.push_str("$$"),
            _ => template.push(c),
        }
    }
    with_regex(pattern, |regex| regex.replace_all(text, template.as_str()).into_owned())
}

fn trim(pattern: &str, text: &str, start: bool, end: bool) -> Option<String> {
    let mut range = 0..text.len();
    if start {
        range.start = with_regex(&format!("^(?:{pattern})"), |regex| regex.find(text).map_or(0, |found| found.end()))?;
    }
    if end {
        let rest = &text[range.start..];
        range.end = range.start + with_regex(&format!("(?:{pattern})$"), |regex| regex.find(rest).map_or(rest.len(), |found| found.start()))?;
    }
    Some(text[range].to_owned())
}

/// All matches: a string for one group, an array for several. Kusto docs: `extract-all-function`.
fn extract_all(a: &[Cell]) -> Out {
    let (groups, text) = match a {
        [_, groups, text] => (groups.json().map(json::strings), text.text()),
        [_, text] => (None, text.text()),
        _ => return Out::Null,
    };
    let found = with_regex(a[0].text(), |regex| {
        if regex.captures_len() < 2 {
            return None;
        }
        let chosen = groups.iter().flatten().filter_map(|group| group.parse().ok().or_else(|| regex.capture_names().position(|name| name == Some(group))));
        // A group that is not there is left out; where none is left, all are given.
        let mut wanted: Vec<usize> = chosen.filter(|group| *group < regex.captures_len()).collect();
        if wanted.is_empty() {
            wanted = (1..regex.captures_len()).collect();
        }
        let matches: Vec<Value> = regex
            .captures_iter(text)
            .map(|captures| {
                let parts: Vec<Value> = wanted.iter().map(|group| Value::String(captures.get(*group).map_or(String::new(), |m| m.as_str().to_owned()))).collect();
                match <[Value; 1]>::try_from(parts) {
                    Ok([only]) => only,
                    Err(parts) => Value::Array(parts),
                }
            })
            .collect();
        (!matches.is_empty()).then(|| json::write(&Value::Array(matches)))
    });
    Out::from(found.flatten())
}

/// The full stops of domain names.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// What is packed into a text must not fill the memory: longer results are empty.
const MAX_UNPACKED: u64 = 64 << 20;

/// A guid's bytes in its mixed order: the first three groups are little endian.
const GUID_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let mut bytes = [0; 16];
    for (at, byte) in GUID_ORDER.iter().zip(&mut bytes) {
        *byte = u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn guid_text(bytes: &[u8; 16]) -> String {
    let digits: String = GUID_ORDER.iter().map(|at| format!("{:02x}", bytes[*at])).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// Sixteen bytes of the hasher's random keys, marked as a guid of version 4.
fn random_bytes() -> [u8; 16] {
    use std::hash::{BuildHasher, Hasher};
    let half = || std::collections::hash_map::RandomState::new().build_hasher().finish().to_le_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half());
    bytes[8..].copy_from_slice(&half());
    bytes[7] = bytes[7] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// Earlier lookups come first, wherever they are found; what one has found, no other finds.
fn replace_each(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut found: BTreeMap<usize, (usize, &str)> = BTreeMap::new();
    for (lookup, rewrite) in pairs {
        let free = |from: usize, to: usize, found: &BTreeMap<usize, (usize, &str)>| found.range(..to).next_back().is_none_or(|(_, (end, _))| *end <= from);
        for (from, _) in text.match_indices(lookup) {
            let to = from + lookup.len();
            if free(from, to, &found) {
                found.insert(from, (to, rewrite));
            }
        }
    }
    let mut replaced = String::with_capacity(text.len());
    let mut at = 0;
    for (from, (to, rewrite)) in found {
        replaced.push_str(&text[at..from]);
        replaced.push_str(rewrite);
        at = to;
    }
    replaced + &text[at..]
}

/// Kusto packs with libdeflate, as the examples of its pages show; so the packed text is the same.
fn compress(text: &str, level: CompressionLvl, pack: impl FnOnce(&mut Compressor, &[u8], &mut [u8]) -> Result<usize, libdeflater::CompressionError>) -> Out {
    let mut packer = Compressor::new(level);
    let mut packed = vec![0; packer.gzip_compress_bound(text.len())];
    match pack(&mut packer, text.as_bytes(), &mut packed) {
        Ok(length) => Out::Text(BASE64.encode(&packed[..length])),
        Err(_) => Out::Null,
    }
}

fn decompress(unpacker: impl Read) -> Option<String> {
    let mut text = Vec::new();
    let length = unpacker.take(MAX_UNPACKED + 1).read_to_end(&mut text).ok()?;
    if length as u64 > MAX_UNPACKED { None } else { String::from_utf8(text).ok() }
}

/// `format_bytes(size, digits, unit)`; the largest unit that the size fills when none is named.
fn format_bytes(a: &[Cell]) -> Out {
    const UNITS: [&str; 7] = ["Bytes", "KB", "MB", "GB", "TB", "PB", "EB"];
    let Some(size) = a[0].real() else { return Out::Text(String::new()) };
    let digits = a.get(1).and_then(|cell| cell.long()).unwrap_or(0).clamp(0, 15) as usize;
    let named = a.get(2).map_or("", |cell| cell.text());
    let unit = match UNITS.iter().position(|unit| *unit == named) {
        Some(unit) => unit,
        None if named.is_empty() => (0..UNITS.len()).rev().find(|unit| size.abs() >= 1024f64.powi(*unit as i32)).unwrap_or(0),
        None => return Out::Text(String::new()),
    };
    let scaled = format!("{:.digits$}", size / 1024f64.powi(unit as i32));
    let shown = if scaled.contains('.') { scaled.trim_end_matches('0').trim_end_matches('.') } else { &scaled };
    Out::Text(format!("{shown} {}", UNITS[unit]))
}

/// Bytes of the value as Kusto estimates them. Kusto docs: `estimate-data-size-function`.
fn data_size(cell: Cell) -> i64 {
    match cell {
        Cell::Null => 0,
        Cell::Bool(_) => 1,
        Cell::Long(_) | Cell::Real(_) | Cell::DateTime(_) | Cell::TimeSpan(_) => 8,
        Cell::Decimal(_) | Cell::Guid(_) => 16,
        Cell::Text(text) | Cell::Json(text) => text.len() as i64,
    }
}
