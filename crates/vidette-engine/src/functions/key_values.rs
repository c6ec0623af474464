//! How `parse-kv` cuts a text. Kusto docs: `parse-kv-operator`.

use super::string::with_regex;
use crate::json;
use serde_json::{Map, Value};

/// How `parse-kv` cuts a text. Kusto docs: `parse-kv-operator`.
pub(super) struct KeyValues {
    pub(super) keys: Vec<String>,
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
    /// `{"keys":[…],"pair_delimiter":[…],"quote":[…],…}`, every option a list of its values.
    pub(super) fn new(options: &Map<String, Value>) -> KeyValues {
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
    pub(super) fn read(&self, text: &str) -> Vec<Option<String>> {
        let mut values = vec![None; self.keys.len()];
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
            if let Some(at) = self.keys.iter().position(|known| *known == key.trim()).filter(|at| values[*at].is_none()) {
                values[at] = Some(value.trim().to_owned());
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
