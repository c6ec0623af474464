//! Parsing of structured text. Kusto docs: `parse-url-function`, `parse-path-function`, `parse-csv-function`,
//! `extract-json-function`, `parse-command-line-function`.

use super::{ScalarFunction, rows};
use crate::cells::Out;
use crate::json;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use vidette_kql::literals::write_json_string;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("parse_url", |a| Out::Text(parse_url(a[0].text()))),
    rows("parse_urlquery", |a| {
        let mut bag = Map::new();
        bag.insert("Query Parameters".to_owned(), Value::Object(query_parameters(a[0].text().trim_start_matches('?'))));
        Out::Text(json::write(&Value::Object(bag)))
    }),
    rows("parse_path", |a| Out::Text(parse_path(a[0].text()))),
    rows("parse_csv", |a| {
        let text = super::conversion::display(a[0]);
        Out::Text(json::write(&Value::Array(split_csv(&text).into_iter().map(Value::String).collect())))
    }),
    rows("extract_json", |a| {
        let Some(document) = json::parse(a[1].text()) else { return Out::Text(String::new()) };
        Out::Text(json_path(&document, a[0].text()).map(json::value_text).unwrap_or_default())
    }),
    rows("parse_command_line", |a| {
        if !a[1].text().eq_ignore_ascii_case("windows") || a[0].text().is_empty() {
            return Out::Null;
        }
        Out::Text(json::write(&Value::Array(split_windows(a[0].text()).into_iter().map(Value::String).collect())))
    }),
    rows("parse_xml", |a| Out::from(super::xml::parse(&super::conversion::display(a[0])))),
    rows("parse_version", |a| parse_version(a[0].text()).map_or(Out::Null, Out::Decimal)),
    rows("parse_user_agent", super::user_agents::parse),
];

/// One to four parts of up to eight digits, the first weighing most.
fn parse_version(text: &str) -> Option<arrow::datatypes::i256> {
    let parts: Vec<&str> = text.trim().split('.').collect();
    if parts.len() > 4 || !parts.iter().all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let digits: String = (0..4).map(|at| format!("{:0>8}", parts.get(at).copied().unwrap_or("0"))).collect();
    crate::decimal::parse(&digits)
}

/// The parts of a URL as a bag, all present, empty where the URL has none.
fn parse_url(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let is_scheme = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let (scheme, rest) = if is_scheme(scheme) { (scheme, rest) } else { ("", "") };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // Without a colon a user is part of the host.
    let (user, host) = authority.rsplit_once('@').filter(|(user, _)| user.contains(':')).unwrap_or((":", authority));
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    let path = if path == "/" && text.ends_with('/') { "" } else { path };
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    let mut bag = json::bag_of_texts(&[("Scheme", scheme), ("Host", host), ("Port", port), ("Path", path), ("Username", username), ("Password", password)]);
    bag.pop();
    bag.push_str(",\"Query Parameters\":");
    bag.push_str(&json::write(&Value::Object(query_parameters(query))));
    bag.push_str(",\"Fragment\":");
    write_json_string(fragment, &mut bag);
    bag.push('}');
    bag
}

/// In the order of their names, the values of a repeated one as an array; what has no name or no value is left out.
fn query_parameters(query: &str) -> Map<String, Value> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut parameters: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if !key.is_empty() && !value.is_empty() {
            parameters.entry(decode(key)).or_default().push(Value::String(decode(value)));
        }
    }
    let one = |values: Vec<Value>| <[Value; 1]>::try_from(values).map_or_else(Value::Array, |[only]| only);
    parameters.into_iter().map(|(key, values)| (key, one(values))).collect()
}

fn parse_path(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", text),
    };
    let separator = |c: char| c == '/' || c == '\\';
    let (rest, stream) = match rest.rsplit_once(':') {
        Some((path, stream)) if !stream.contains(separator) && path.len() > 1 => (path, stream),
        _ => (rest, ""),
    };
    let root = if rest.len() > 2 && rest.as_bytes()[1] == b':' && rest[2..].starts_with(separator) { &rest[..3] } else { "" };
    let directory_end = rest.rfind(separator);
    let (directory, file) = match directory_end {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => ("", rest),
    };
    let directory_name = directory.rsplit(separator).next().unwrap_or("");
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    json::bag_of_texts(&[
        ("Scheme", scheme),
        ("RootPath", root),
        ("DirectoryPath", directory),
        ("DirectoryName", directory_name),
        ("Filename", file),
        ("Extension", extension),
        ("AlternateDataStreamName", stream),
    ])
}

/// The fields of one line; quotes may hold commas and doubled quotes.
fn split_csv(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            // Only the first record counts.
            '\r' | '\n' if !quoted => break,
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                if let Some(field) = fields.last_mut() {
                    field.push('"');
                }
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}

/// The value at `$.a.b[0]['c']`.
pub(crate) fn json_path<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    path_keys(path)?.into_iter().try_fold(document, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => value.get(key),
    })
}

/// The steps of a path, `a`, `b`, `0` and `c` of `$.a.b[0]['c']`. Kusto docs: `jsonpath`.
pub(super) fn path_keys(path: &str) -> Option<Vec<&str>> {
    let mut keys = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|first| matches!(first, '\'' | '"'));
            let (key, after) = match quote {
                Some(quote) => inner[1..].split_once(quote).and_then(|(key, after)| Some((key, after.strip_prefix(']')?)))?,
                None => inner.split_once(']')?,
            };
            keys.push(key);
            rest = after;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            keys.push(&name[..end]);
            rest = &name[end..];
        }
    }
    Some(keys)
}

/// Arguments as Windows splits them: quotes group, a backslash escapes a quote.
fn split_windows(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current = String::new();
    let (mut quoted, mut present, mut backslashes) = (false, false, 0usize);
    for c in text.chars() {
        if c == '\\' {
            backslashes += 1;
            continue;
        }
        if c == '"' {
            current.extend(std::iter::repeat_n('\\', backslashes / 2));
            if backslashes % 2 == 1 {
                current.push('"');
            } else {
                quoted = !quoted;
            }
            present = true;
        } else {
            current.extend(std::iter::repeat_n('\\', backslashes));
            if c.is_whitespace() && !quoted {
                if present || !current.is_empty() {
                    arguments.push(std::mem::take(&mut current));
                }
                present = false;
            } else {
                current.push(c);
            }
        }
        backslashes = 0;
    }
    current.extend(std::iter::repeat_n('\\', backslashes));
    if present || !current.is_empty() {
        arguments.push(current);
    }
    arguments
}
