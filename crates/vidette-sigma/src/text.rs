//! Sigma values as KQL text.

use rsigma_parser::{SigmaString, SpecialChar, StringPart};

/// A string literal: verbatim where it can be.
pub(crate) fn literal(text: &str) -> String {
    if text.chars().any(|c| c.is_control()) {
        return format!("\"{}\"", text.escape_default().to_string().replace("\\'", "'").replace("\\u{", "\\x{"));
    }
    format!("@\"{}\"", text.replace('"', "\"\""))
}

/// A name in brackets, unless it is an identifier.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The pattern as a regular expression, which the whole of a text matches.
pub(crate) fn pattern(value: &SigmaString) -> String {
    let mut out = String::from("(?is)^");
    for part in &value.parts {
        match part {
            StringPart::Plain(text) => out.push_str(&escape(text)),
            StringPart::Special(SpecialChar::WildcardMulti) => out.push_str(".*"),
            StringPart::Special(SpecialChar::WildcardSingle) => out.push('.'),
        }
    }
    out.push('$');
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(c) && c != '/' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The texts that `windash` stands for: each dash or slash before a word as every other.
pub(crate) fn windash(text: &str) -> Vec<String> {
    const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];
    /// More options than these in one value are left as they are.
    const MOST: usize = 3;
    let chars: Vec<char> = text.chars().collect();
    let word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let places: Vec<usize> = (0..chars.len()).filter(|at| matches!(chars[*at], '-' | '/') && word(at + 1) && (*at == 0 || !word(at - 1))).take(MOST).collect();
    let mut texts = vec![chars];
    for place in places {
        texts = texts
            .iter()
            .flat_map(|text| {
                DASHES.map(|dash| {
                    let mut other = text.clone();
                    other[place] = dash;
                    other
                })
            })
            .collect();
    }
    texts.into_iter().map(|text| text.into_iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_verbatim_where_they_can_be() {
        assert_eq!(literal(r#"\a "b""#), r#"@"\a ""b""""#);
        assert_eq!(literal("a\nb"), "\"a\\nb\"");
        assert_eq!(pattern(&SigmaString::new("a*b.?")), r"(?is)^a.*b\..$");
    }

    #[test]
    fn a_dash_before_a_word_is_every_dash() {
        assert_eq!(windash(" -enc"), [" -enc", " /enc", " \u{2013}enc", " \u{2014}enc", " \u{2015}enc"]);
        assert_eq!(windash("a-b"), ["a-b"]);
    }
}
