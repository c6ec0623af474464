//! Parsing of structured text. Kusto docs: `parse-url-function`, `parse-path-function`, `parse-csv-function`,
//! `extract-json-function`, `parse-command-line-function`, `parse-kv-operator`.

use super::string::with_regex;
use super::{ScalarFunction, rows};
use crate::cells::Out;
use crate::json;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
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
    rows("parse_kv", |a| {
        let Some(options) = json::object(a[1].text()) else { return Out::Null };
        Out::Text(json::write(&Value::Array(KeyValues::new(&options).read(a[0].text()))))
    }),
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
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    let mut bag = json::bag_of_texts(&[("Scheme", scheme), ("Host", host), ("Port", port), ("Path", path), ("Username", username), ("Password", password)]);
    bag.pop();
    bag.push_str(",\"Query Parameters\":");
    bag.push_str(&if query.is_empty() { "{}".to_owned() } else { json::write(&Value::Object(query_parameters(query))) });
    bag.push_str(",\"Fragment\":");
    write_json_string(fragment, &mut bag);
    bag.push('}');
    bag
}

fn query_parameters(query: &str) -> Map<String, Value> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), Value::String(decode(value))))
        .collect()
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

/// How `parse-kv` cuts a text. Kusto docs: `parse-kv-operator`.
struct KeyValues {
    keys: Vec<String>,
    /// Between pairs and between key and value; without them, whatever is neither letter nor digit.
    pair: Option<String>,
    key: Option<String>,
    /// Opening and closing characters.
    quotes: Vec<(char, char)>,
    escapes: Vec<char>,
    greedy: bool,
    regex: Option<String>,
}

impl KeyValues {
    fn new(options: &Map<String, Value>) -> KeyValues {
        let all = |name: &str| -> Vec<String> { options.get(name).and_then(Value::as_array).into_iter().flatten().map(json::value_text).collect() };
        let pair_of = |text: &String| {
            let mut chars = text.chars();
            chars.next().map(|open| (open, chars.next().unwrap_or(open)))
        };
        KeyValues {
            keys: all("keys"),
            pair: all("pair_delimiter").pop(),
            key: all("kv_delimiter").pop(),
            quotes: all("quote").iter().filter_map(pair_of).collect(),
            escapes: all("escape").iter().filter_map(|text| text.chars().next()).collect(),
            greedy: all("greedy").first().is_some_and(|text| text == "true"),
            regex: all("regex").pop(),
        }
    }

    /// The value of each key, in the order of the keys; the first appearance counts.
    fn read(&self, text: &str) -> Vec<Value> {
        let mut values = vec![Value::Null; self.keys.len()];
        let pairs = match (&self.regex, &self.pair, &self.key) {
            (Some(pattern), ..) => with_regex(pattern, |regex| {
                let group = |found: &regex::Captures, at: usize| found.get(at).map_or(String::new(), |part| part.as_str().to_owned());
                regex.captures_iter(text).map(|found| (group(&found, 1), group(&found, 2))).collect()
            })
            .unwrap_or_default(),
            (None, Some(pair), Some(key)) if self.greedy => self.greedy_pairs(text, pair, key),
            (None, None, None) => self.loose_pairs(text),
            (None, pair, key) => self.pairs(text, pair.as_deref(), key.as_deref()),
        };
        for (key, value) in pairs {
            if let Some(at) = self.keys.iter().position(|known| *known == key.trim()).filter(|at| values[*at].is_null()) {
                values[at] = Value::String(value.trim().to_owned());
            }
        }
        values
    }

    /// The text up to the delimiter, and what follows it. Quoted parts lose their quotes and may hold the delimiter.
    fn part<'t>(&self, text: &'t str, delimiters: &[Option<&str>]) -> (String, &'t str) {
        let mut out = String::new();
        let mut rest = text.trim_start();
        if let Some((_, close)) = self.quotes.iter().find(|(open, _)| rest.starts_with(*open)) {
            let mut chars = rest.char_indices().skip(1);
            while let Some((at, c)) = chars.next() {
                if self.escapes.contains(&c) {
                    out.extend(chars.next().map(|(_, c)| c));
                } else if c == *close {
                    rest = &rest[at + c.len_utf8()..];
                    let (_, rest) = self.cut(rest, delimiters);
                    return (out, rest);
                } else {
                    out.push(c);
                }
            }
            return (out, "");
        }
        let (part, rest) = self.cut(rest, delimiters);
        out.push_str(part);
        (out, rest)
    }

    fn cut<'t>(&self, text: &'t str, delimiters: &[Option<&str>]) -> (&'t str, &'t str) {
        let at = delimiters
            .iter()
            .filter_map(|delimiter| match delimiter {
                Some(delimiter) => text.find(delimiter).map(|at| (at, delimiter.len())),
                None => text.find(|c: char| !c.is_alphanumeric() && c != '_').map(|at| (at, text[at..].chars().next().map_or(1, char::len_utf8))),
            })
            .min();
        match at {
            Some((at, length)) => (&text[..at], &text[at + length..]),
            None => (text, ""),
        }
    }

    fn pairs(&self, text: &str, pair: Option<&str>, key: Option<&str>) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let before = rest.len();
            let (name, after) = self.part(rest, &[key]);
            // A delimiter of pairs before that of keys: what stands before it is no pair.
            let quoted = self.quotes.iter().any(|(open, _)| rest.trim_start().starts_with(*open));
            if let Some((_, later)) = pair.filter(|_| !quoted).and_then(|pair| name.split_once(pair)) {
                let skipped = rest.len() - after.len() - later.len() - key.map_or(0, str::len);
                rest = rest.get(skipped..).unwrap_or("");
                if rest.len() < before {
                    continue;
                }
            }
            if key.is_none() && name.is_empty() {
                rest = after;
                continue;
            }
            let (value, after) = self.part(after, &[pair]);
            pairs.push((name, value));
            rest = after;
            if rest.len() >= before {
                break;
            }
        }
        pairs
    }

    /// Without delimiters: a known key, whatever separates, then a quoted text or a word.
    fn loose_pairs(&self, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for known in &self.keys {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let found = text.match_indices(known.as_str()).find(|(at, _)| !text[..*at].ends_with(word) && !text[at + known.len()..].starts_with(word));
            let Some((at, _)) = found else { continue };
            let separator = |c: char| !word(c) && !self.quotes.iter().any(|(open, _)| *open == c);
            let (value, _) = self.part(text[at + known.len()..].trim_start_matches(separator), &[None]);
            pairs.push((known.clone(), value));
        }
        pairs
    }

    /// Values reach to the next known key.
    fn greedy_pairs(&self, text: &str, pair: &str, key: &str) -> Vec<(String, String)> {
        let mut starts: Vec<(usize, usize, &String)> = Vec::new();
        for known in &self.keys {
            for (at, _) in text.match_indices(known.as_str()) {
                let begins = at == 0 || text[..at].ends_with(pair) || text[..at].ends_with(char::is_whitespace);
                let after = text[at + known.len()..].trim_start();
                if begins && after.starts_with(key) {
                    starts.push((at, text.len() - after.len() + key.len(), known));
                }
            }
        }
        starts.sort_unstable();
        let value = |at: usize, (_, from, known): &(usize, usize, &String)| {
            let until = starts.get(at + 1).map_or(text.len(), |next| next.0.max(*from));
            let raw = text[*from..until].trim();
            let raw = raw.strip_suffix(pair.trim()).filter(|_| !pair.trim().is_empty()).unwrap_or(raw);
            ((*known).clone(), raw.trim_matches(|c| self.quotes.iter().any(|(open, close)| c == *open || c == *close)).to_owned())
        };
        starts.iter().enumerate().map(|(at, start)| value(at, start)).collect()
    }
}
