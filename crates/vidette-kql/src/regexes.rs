//! Regular expressions: Kusto's documentation describes those of the Rust crate `regex` (`regex`). Rules in use are also written
//! for RE2, which Kusto had before: where only one of the two reads a pattern, it is meant.

use std::borrow::Cow;

/// The pattern as the crate reads it: what it cannot read itself, as RE2 does.
///
/// # Errors
/// Why neither reads it, such as one that looks ahead or behind.
pub fn readable(pattern: &str) -> Result<Cow<'_, str>, String> {
    let Err(why) = read(pattern) else { return Ok(Cow::Borrowed(pattern)) };
    let literal = with_literals(pattern);
    if read(&literal).is_ok() { Ok(Cow::Owned(literal)) } else { Err(why) }
}

fn read(pattern: &str) -> Result<(), String> {
    match regex_syntax::ParserBuilder::new().octal(true).build().parse(pattern) {
        Ok(_) => Ok(()),
        Err(regex_syntax::Error::Parse(error)) => Err(error.kind().to_string()),
        Err(regex_syntax::Error::Translate(error)) => Err(error.kind().to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A character of a pattern, and how it stands there.
struct Sign {
    at: usize,
    letter: char,
    escaped: bool,
    in_class: bool,
}

fn signs(pattern: &str) -> Vec<Sign> {
    let (mut signs, mut escaped, mut class, mut named) = (Vec::new(), false, None, false);
    for (at, letter) in pattern.char_indices() {
        signs.push(Sign { at, letter, escaped, in_class: class.is_some() });
        match (letter, class) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('[', None) => class = Some(at),
            // `[:alpha:]` within the brackets of a class.
            ('[', Some(_)) if pattern[at..].starts_with("[:") && pattern[at..].contains(":]") => named = true,
            (']', Some(_)) if named => named = !pattern[..at].ends_with(':'),
            // The first one of a class is one of its characters.
            (']', Some(start)) if at > start + 1 && pattern[start..at] != *"[^" => class = None,
            _ => {}
        }
    }
    signs
}

/// The pattern with those characters escaped that RE2 takes for themselves: braces that repeat nothing, a bracket within
/// brackets, and `\<` and `\>` there.
fn with_literals(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() + 8);
    let mut repeatable = false;
    for sign in signs(pattern) {
        let rest = &pattern[sign.at..];
        match sign.letter {
            '<' | '>' if sign.escaped && sign.in_class => {
                text.pop();
            }
            '[' if sign.in_class && !sign.escaped && !rest.starts_with("[:") => text.push('\\'),
            '{' if !(sign.in_class || sign.escaped || repeatable && is_repetition(rest)) => text.push('\\'),
            _ => {}
        }
        text.push(sign.letter);
        repeatable = sign.escaped || !matches!(sign.letter, '(' | '|' | '\\') || sign.in_class;
    }
    text
}

/// Whether the text begins with `{n}`, `{n,}` or `{n,m}`, or the braces belong to `\p{…}` and its kind, which are escaped by a
/// letter.
fn is_repetition(text: &str) -> bool {
    let Some((numbers, _)) = text[1..].split_once('}') else { return false };
    let (least, most) = numbers.split_once(',').unwrap_or((numbers, ""));
    !least.is_empty() && least.bytes().chain(most.bytes()).all(|byte| byte.is_ascii_digit())
}

/// A part of a pattern with its parentheses in pairs: in `parse kind=regex` one without the other is a character, as Kusto's
/// emulator has it.
pub fn balanced(part: &str) -> String {
    let (mut open, mut alone) = (Vec::new(), Vec::new());
    for sign in signs(part).into_iter().filter(|sign| !sign.escaped && !sign.in_class) {
        match sign.letter {
            '(' => open.push(sign.at),
            ')' if open.pop().is_none() => alone.push(sign.at),
            _ => {}
        }
    }
    alone.append(&mut open);
    alone.sort_unstable();
    let mut text = part.to_owned();
    alone.into_iter().rev().for_each(|at| text.insert(at, '\\'));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_re2_reads_is_read_as_it_does() {
        for (pattern, read_as) in [
            ("a{2,3}", "a{2,3}"),
            ("{(.*)}", r"\{(.*)}"),
            (r"\s{\d+[.]\d+}:", r"\s\{\d+[.]\d+}:"),
            (r"_[0-9]{1-3}+", r"_[0-9]\{1-3}+"),
            ("([0-9]{{1,3}}x){{3}}", r"([0-9]\{{1,3}}x)\{{3}}"),
            (r"\d{1.3}\.\d{2}", r"\d\{1.3}\.\d{2}"),
            ("[[]", r"[\[]"),
            ("[][]x", r"[]\[]x"),
            (r#""[\w\<\>\#\[]+""#, r#""[\w<>\#\[]+""#),
            ("(?:{a}|{b})", r"(?:\{a}|\{b})"),
            ("[[:alpha:]{]+{", r"[[:alpha:]{]+\{"),
        ] {
            assert_eq!(readable(pattern).as_deref(), Ok(read_as), "{pattern}");
        }
    }

    #[test]
    fn what_neither_reads_has_a_reason() {
        assert_eq!(readable("te(?=st)"), Err("look-around, including look-ahead and look-behind, is not supported".to_owned()));
        assert_eq!(readable("a(b"), Err("unclosed group".to_owned()));
        assert_eq!(readable("a{2"), Ok(Cow::Owned(r"a\{2".to_owned())));
    }

    #[test]
    fn a_parenthesis_alone_is_a_character() {
        for (part, text) in [(")", r"\)"), ("a(b)c(", r"a(b)c\("), (r"\((x)", r"\((x)"), ("[)](", r"[)]\("), ("", "")] {
            assert_eq!(balanced(part), text, "{part}");
        }
    }
}
