//! Where the values of JSON end, told without reading them: arrays of records are cut into records, of any length, before anybody
//! reads one.

use super::json::WRAPPERS;
use super::rows::is_of_event;
use std::io::{BufRead, Read, Result};

/// Goes over a value among others, in an array or an object, up to what ends it.
#[derive(Default)]
pub(super) struct Scan {
    depth: usize,
    deepest: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Goes on over bytes; where among them the comma or the bracket is that ends the value.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
                self.in_string = bytes[at] == b'\\';
                self.escaped = self.in_string;
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => {
                        self.depth += 1;
                        self.deepest = self.deepest.max(self.depth);
                    }
                    b'}' | b']' | b',' if self.depth == 0 => return Some(at),
                    b'}' | b']' => self.depth -= 1,
                    _ => {}
                }
            }
            at += 1;
        }
        None
    }

    /// The same up to what ends the array or the object, behind any of its values.
    pub(super) fn end_of_all(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            at += self.end(&bytes[at..])?;
            if bytes[at] != b',' {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// Readers that go down into a value at every bracket are not to be given one with so many in each other.
const DEEPEST: usize = 128;

pub(super) fn is_deep(value: &[u8]) -> bool {
    // Few values have so many brackets at all.
    if memchr::memchr2_iter(b'{', b'[', value).nth(DEEPEST).is_none() {
        return false;
    }
    let mut scan = Scan::default();
    scan.end(value);
    scan.deepest > DEEPEST
}

/// The first key of an object that wraps an array whose first element is an object, and where that begins. What stands before it
/// must be there as a whole, and none of it be what an event has.
pub(super) fn wrapper(object: &[u8]) -> Option<(&'static str, usize)> {
    fn behind<'b>(bytes: &'b [u8], token: &[u8]) -> Option<&'b [u8]> {
        bytes.trim_ascii_start().strip_prefix(token)
    }
    let mut rest = behind(object, b"{")?;
    loop {
        let name = behind(rest, b"\"")?;
        let (name, value) = name.split_at(memchr::memchr2(b'"', b'\\', name)?);
        let value = behind(value.strip_prefix(b"\"")?, b":")?;
        let name = std::str::from_utf8(name).ok()?;
        if let Some(key) = WRAPPERS.into_iter().find(|key| *key == name)
            && let Some(elements) = behind(value, b"[").filter(|elements| elements.trim_ascii_start().starts_with(b"{"))
        {
            return Some((key, object.len() - elements.len()));
        }
        if is_of_event(name) {
            return None;
        }
        rest = value[Scan::default().end(value)?..].strip_prefix(b",")?;
    }
}

/// The next byte that is no blank; `None` at the end.
pub(super) fn next_token(input: &mut dyn BufRead) -> Result<Option<u8>> {
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(None);
        }
        match available.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => {
                let token = available[at];
                input.consume(at);
                return Ok(Some(token));
            }
            None => {
                let length = available.len();
                input.consume(length);
            }
        }
    }
}

/// What is left of a part of the input, whose end is found as it is read.
pub(super) struct Rest<'a, F> {
    pub(super) input: &'a mut dyn BufRead,
    /// How many of these bytes, which follow those before, belong to the part, when it ends among them.
    pub(super) end: F,
    pub(super) done: bool,
}

impl<F: FnMut(&[u8]) -> Option<usize>> Rest<'_, F> {
    /// Adds what is left, until there are `most` bytes or a little more.
    pub(super) fn add_to(&mut self, bytes: &mut Vec<u8>, most: usize) -> Result<()> {
        while !self.done && bytes.len() < most {
            let available = self.input.fill_buf()?;
            let end = (self.end)(available);
            let length = end.unwrap_or(available.len());
            bytes.extend_from_slice(&available[..length]);
            self.done = end.is_some() || available.is_empty();
            self.input.consume(length);
        }
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> Option<usize>> Read for Rest<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        let available = self.input.fill_buf()?;
        let available = &available[..available.len().min(buffer.len())];
        let end = (self.end)(available);
        let length = end.unwrap_or(available.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.done = end.is_some() || available.is_empty();
        self.input.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end_in_whatever_pieces_they_come() {
        let text = br#" {"a":"]},\"\\","b":[1,{"c":[]}]} , "x,]" ,-1.5, [[],"\\\""],{}] rest"#;
        let ends: Vec<usize> = {
            let (mut at, mut ends) = (0, Vec::new());
            while text.get(at) != Some(&b']') {
                let start = if at == 0 { 0 } else { at + 1 };
                at = start + Scan::default().end(&text[start..]).expect("an end");
                ends.push(at);
            }
            ends
        };
        let values: Vec<&str> =
            [0].into_iter().chain(ends.iter().map(|end| end + 1)).zip(&ends).map(|(start, end)| std::str::from_utf8(&text[start..*end]).expect("a text").trim()).collect();
        assert_eq!(values, [r#"{"a":"]},\"\\","b":[1,{"c":[]}]}"#, r#""x,]""#, "-1.5", r#"[[],"\\\""]"#, "{}"]);
        for piece in 1..8 {
            let mut scan = Scan::default();
            let found = text.chunks(piece).enumerate().find_map(|(chunk, bytes)| Some(chunk * piece + scan.end(bytes)?));
            assert_eq!(found, Some(ends[0]), "in pieces of {piece}");
        }
    }

    #[test]
    fn brackets_in_each_other_are_counted_not_all() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(is_deep(&nested(DEEPEST + 1)) && !is_deep(&nested(DEEPEST)) && !is_deep(&nested(1).repeat(1_000)));
        assert!(is_deep(&[b"{\"a\":\"", &b"[".repeat(200)[..], b"\",\"b\":", &nested(DEEPEST)].concat()), "with what a string holds, it is looked at");
        assert!(!is_deep(&[b"\"", &b"[".repeat(200)[..], b"\""].concat()));
    }

    #[test]
    fn a_wrapper_is_known_by_a_key() {
        for (object, expected) in [
            (r#"{"records":[{"a":1}]}"#, Some(("records", 12))),
            (" {\n \"value\" : [ {}", Some(("value", 15))),
            (r#"{"Results":[]}"#, None),
            (r#"{"value":[1]}"#, None),
            (r#"{"valued":[{}]}"#, None),
            (r#"{"@odata.context":"https:\/\/x[{", "Stats" : {"a":[1]},"value":[{}]}"#, Some(("value", 64))),
            (r#"{"results":[],"value":[{"a":1}]}"#, Some(("value", 23))),
            (r#"{"a":1,"value":[2]}"#, None),
            (r#"{"a":{"b":["#, None),
            (r#"{"winlog":{},"value":[{}]}"#, None),
            (r#"{"a\"":1,"value":[{}]}"#, None),
        ] {
            assert_eq!(wrapper(object.as_bytes()), expected, "{object}");
        }
    }
}
