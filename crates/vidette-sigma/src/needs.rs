//! Texts without which a regular expression matches nothing.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Shorter texts are nearly everywhere.
const SHORTEST: usize = 3;

/// Texts in lower case of which a value that the expression matches has at least one, whatever the case of its ASCII letters; none
/// where nothing is known. Letters that are ASCII in their other case (see [`crate::NEARLY_ASCII`]) count as ASCII.
pub(crate) fn of_regex(expression: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(expression) else { return Vec::new() };
    texts(&hir).filter(|texts| shortest(texts) >= SHORTEST).unwrap_or_default()
}

fn shortest(texts: &[String]) -> usize {
    texts.iter().map(String::len).min().unwrap_or_default()
}

fn texts(hir: &Hir) -> Option<Vec<String>> {
    if let Some(text) = exact(hir) {
        return Some(vec![text]);
    }
    match hir.kind() {
        HirKind::Capture(capture) => texts(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => texts(&repetition.sub),
        HirKind::Alternation(ways) => Some(ways.iter().map(texts).collect::<Option<Vec<_>>>()?.concat()),
        HirKind::Concat(parts) => {
            let mut all: Vec<Vec<String>> = Vec::new();
            let mut run = String::new();
            for part in parts {
                match exact(part) {
                    Some(text) => run.push_str(&text),
                    None => {
                        all.push(vec![std::mem::take(&mut run)]);
                        all.extend(texts(part));
                    }
                }
            }
            all.push(vec![run]);
            all.into_iter().filter(|texts| shortest(texts) > 0).max_by_key(|texts| shortest(texts))
        }
        _ => None,
    }
}

/// The text in lower case, when the part matches nothing else.
fn exact(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(str::to_ascii_lowercase),
        // A letter of either case.
        HirKind::Class(Class::Unicode(class)) => {
            let mut letters = class.iter().flat_map(|range| range.start()..=range.end()).map(lower);
            let first = letters.next()?;
            letters.take(4).all(|letter| letter == first).then(|| first.to_string())
        }
        HirKind::Capture(capture) => exact(&capture.sub),
        _ => None,
    }
}

fn lower(letter: char) -> char {
    match letter {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_occur_is_found() {
        for (expression, expected) in [
            (r"cmd.{0,5}(?:/c|/r).+powershell.+(?:\$\{?input\}?|noexit)", &["powershell"][..]),
            (r"(?i)ECHO.*CliP.*&&", &["clip"]),
            (r"\$PSHome\[\s*\d", &["$pshome["]),
            (r"(?:foo|bars?)\d", &["foo", "bar"]),
            (r"(?:foo|b)\d", &[]),
            (r"(abc)+x*", &["abc"]),
            (r"(abc)*", &[]),
            (r"(?i)task", &["task"]),
            (r"\w+`", &[]),
            (r"ab[cd]ef", &[]),
            (r"(?i)straße", &["stra"]),
            (r"[", &[]),
        ] {
            assert_eq!(of_regex(expression), expected, "{expression}");
        }
    }

    #[test]
    fn no_match_is_without_them() {
        let expressions = [r"(?i)k(?:ab|cde)s+t", r"a{2,3}b|cdd*e", r"(?s)x.y(?:zz|\x{212a}q)w", r"(?i:Ab)c(?-i:D)e", r"^(?:ab?c|d)\d?ef$"];
        let mut random = fastrand::Rng::with_seed(7);
        for expression in expressions {
            let regex = regex::Regex::new(expression).expect("an expression");
            let needs = of_regex(expression);
            for _ in 0..200_000 {
                let value: String = (0..random.usize(2..9))
                    .map(|_| *random.choice(&['a', 'b', 'c', 'd', 'e', 'f', 'K', 's', 't', 'z', 'x', 'w', 'q', '\u{17f}', '1']).expect("a letter"))
                    .collect();
                let folded: String = value.chars().map(lower).collect();
                let has = needs.is_empty() || needs.iter().any(|text| folded.contains(text));
                assert!(has || !regex.is_match(&value), "{expression} matches {value} without any of {needs:?}");
            }
        }
    }
}
