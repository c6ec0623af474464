//! Texts of several queries, as people keep them in a file.

use crate::diagnostics::Severity;
use crate::ends_in_query;
use crate::lexer::{Token, lex};
use crate::parser::parse;
use std::ops::Range;

/// The queries of a text, told apart as the portals do: by blank lines, where what is above is a query of its own and what is below does
/// not go on with it. A text that can be read as it is is one query, and so is what cannot be read at all.
pub fn queries_in(source: &str) -> Vec<Range<usize>> {
    /// A text of more is no collection of queries.
    const PARAGRAPHS: usize = 200;
    let first_error = |range: Range<usize>| {
        let errors = parse(&source[range.clone()]).1.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        errors.map(|error| range.start + error.span.start as usize).min()
    };
    let begins = |at: usize| {
        let below = &source[at..];
        lex(below).0.first().is_none_or(|first| match first.token {
            Token::Name => !matches!(first.span.text(below), "and" | "or" | "by" | "on" | "to" | "with"),
            token => matches!(token, Token::OpenParen | Token::OpenBracket),
        })
    };
    let starts = paragraphs(source);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    // What cannot be read stops where a query begins that does not belong to it.
    while let Some(error) = first_error(start..source.len()).filter(|_| starts.len() <= PARAGRAPHS) {
        let next = starts.iter().rev().copied().find(|next| (start + 1..=error).contains(next) && begins(*next));
        let Some(end) = next.filter(|end| first_error(start..*end).is_none() && ends_in_query(&source[start..*end])) else { break };
        found.push(start..end);
        start = end;
    }
    found.push(start..source.len());
    found
}

/// Where the paragraphs of a text begin.
fn paragraphs(source: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let (mut at, mut blank) = (0, false);
    for line in source.split_inclusive('\n') {
        if blank && !line.trim().is_empty() {
            starts.push(at);
        }
        blank = line.trim().is_empty();
        at += line.len();
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::queries_in;

    #[test]
    fn blank_lines_tell_queries_apart_where_they_must() {
        let parts = |text: &'static str| queries_in(text).into_iter().map(|range| text[range].trim()).collect::<Vec<_>>();
        assert_eq!(
            parts("// one\n\nlet a = 1;\n\nT | where x == a\n\n| take 1\n\n// two\nlet a = 2;\nU\n"),
            ["// one\n\nlet a = 1;\n\nT | where x == a\n\n| take 1", "// two\nlet a = 2;\nU"]
        );
        // One query, whatever its blank lines; one with a mistake too.
        assert_eq!(parts("T\n\n| take 1").len(), 1);
        assert_eq!(parts("T\n\n| where (\n\n| take 1").len(), 1);
        assert_eq!(parts("T\n\nU | where (\n\nV"), ["T", "U | where (\n\nV"]);
        assert_eq!(parts("// A note.\n\nlet a = 1;\n\nT | where (").len(), 1);
        assert_eq!(parts("").len(), 1);
    }
}
