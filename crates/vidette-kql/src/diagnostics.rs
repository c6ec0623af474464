//! What is wrong with a query: code, message, span, label and help, and how a person sees them.
//!
//! Codes are Kusto's where Kusto has one; those that begin with `VD` are Vidette's and none is reused.

use crate::span::Span;
use serde::Serialize;
use std::fmt::Write;

/// The codes, as Kusto names them in `Kusto.Language/Diagnostics/DiagnosticFacts`.
pub mod codes {
    pub const MISSING_TEXT: &str = "KS001";
    pub const EXPECTED: &str = "KS005";
    pub const MISSING_EXPRESSION: &str = "KS006";
    pub const OPERATOR_NOT_DEFINED: &str = "KS106";
    pub const ARGUMENT_TYPE: &str = "KS107";
    pub const NO_OVERLOAD: &str = "KS127";
    pub const NOT_A_NUMBER: &str = "KS137";
    pub const NOT_SUMMABLE: &str = "KS138";
    pub const NOT_AN_ARRAY: &str = "KS234";
    pub const NOT_A_BAG: &str = "KS235";
    pub const NO_COMMON_TYPE: &str = "KS232";
    pub const NOT_TEXT_OR_ARRAY: &str = "KS233";
    pub const SCALAR_EXPECTED: &str = "KS108";
    pub const COLUMN_EXPECTED: &str = "KS109";
    pub const NOT_DYNAMIC: &str = "KS116";
    pub const ARGUMENTS_MISSING: &str = "KS117";
    pub const NOT_ORDERABLE: &str = "KS206";
    pub const ARGUMENT_COUNT_RANGE: &str = "KS120";
    pub const ARGUMENT_COUNT: &str = "KS119";
    pub const UNKNOWN_PLUGIN: &str = "KS124";
    pub const INTEGER_EXPECTED: &str = "KS134";
    pub const TYPE_EXPECTED: &str = "KS141";
    pub const UNKNOWN_NAME: &str = "KS142";
    pub const AGGREGATE_NOT_ALLOWED: &str = "KS144";
    pub const DUPLICATE_COLUMN: &str = "KS171";
    pub const CANNOT_BE_FIRST: &str = "KS174";
    pub const OPERATOR_EXPECTED: &str = "KS176";
    pub const WRONG_INTERVAL: &str = "KS178";
    pub const UNEXPECTED: &str = "KS002";
    pub const MISSING_COLUMN_OF_JOIN: &str = "KS145";
    pub const ALREADY_DECLARED: &str = "KS201";
    pub const SIDE_OF_JOIN: &str = "KS183";
    pub const INCOMPLETE_FRAGMENT: &str = "KS198";
    pub const UNKNOWN_TABLE: &str = "KS204";
    pub const UNKNOWN_IN_FUZZY: &str = "KS205";
    pub const NEEDS_BRACKETS: &str = "KS228";
    pub const CONSTANT_EXPECTED: &str = "KS129";
    pub const LITERAL_EXPECTED: &str = "KS131";
    pub const TEXT_BEFORE_COLUMN: &str = "KS101";
    pub const UNKNOWN_FUNCTION: &str = "KS211";
    pub const JOIN_TYPES: &str = "KS227";
    pub const NOT_AN_AGGREGATE: &str = "KS236";
    pub const UNKNOWN_DIRECTIVE: &str = "KS250";
    pub const GRAPH_ALIAS: &str = "KS273";
    /// Valid KQL that Vidette does not run yet.
    pub const NOT_SUPPORTED: &str = "VD001";
    /// A management command where a query is expected.
    pub const MANAGEMENT_COMMAND: &str = "VD002";
    /// Nested more deeply than Vidette reads.
    pub const TOO_DEEP: &str = "VD003";
    /// Types that Kusto refuses to combine although its analyzer lets the text pass.
    pub const INVALID_USE: &str = "VD004";
    /// A watchlist that nobody gave.
    pub const NO_WATCHLIST: &str = "VD005";
    /// A file of `externaldata` that nobody gave.
    pub const NO_FILE: &str = "VD006";
    /// A table of another service that nobody exported.
    pub const NO_TABLE: &str = "VD007";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// Which stage found it. A query with a syntax diagnostic is not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Syntax,
    Semantic,
}

/// A replacement of text that would mend the query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fix {
    pub span: Span,
    pub replacement: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnostic {
    pub code: &'static str,
    pub severity: Severity,
    pub kind: Kind,
    pub message: String,
    pub span: Span,
    pub label: String,
    pub help: Option<String>,
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// A syntax error.
    pub fn error(code: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { code, severity: Severity::Error, kind: Kind::Syntax, message: message.into(), span, label: String::new(), help: None, fix: None }
    }

    /// An error of names or types.
    pub fn semantic(code: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { kind: Kind::Semantic, ..Diagnostic::error(code, message, span) }
    }

    /// A word of the language as a name.
    pub(crate) fn needs_brackets(name: &str, span: Span) -> Diagnostic {
        let bracketed = format!("['{name}']");
        let message = format!("the name `{name}` needs to be bracketed to be used here");
        Diagnostic::semantic(codes::NEEDS_BRACKETS, message, span).label("a word of the language").help(format!("write `{bracketed}`")).fix(span, bracketed)
    }

    /// Of the body of a saved function, told where it is called.
    pub(crate) fn inside(&mut self, function: &str, call: Span) {
        const WITHIN: &str = ", within `";
        if !self.message.contains(WITHIN) {
            self.message = format!("{}{WITHIN}{function}`", self.message);
        }
        self.span = call;
        self.fix = None;
    }

    /// The same as a hint: the query runs.
    pub fn warning(self) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..self }
    }

    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Diagnostic {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }

    /// The one-line form: `error[KS142]: unknown name `X``.
    pub fn headline(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!("{severity}[{}]: {}", self.code, self.message)
    }
}

/// Line and column (both from 1, the column in characters) of a byte offset.
pub fn line_and_column(source: &str, offset: u32) -> (usize, usize) {
    let mut offset = (offset as usize).min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &source[..offset];
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The one-line forms of the errors among diagnostics.
pub fn errors(diagnostics: &[Diagnostic]) -> impl Iterator<Item = String> + '_ {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).map(Diagnostic::headline)
}

/// Renders diagnostics the way rustc does: headline, place, source line, marker, help.
pub fn render(source: &str, file: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let (line, column) = line_and_column(source, diagnostic.span.start);
        let gutter = line.to_string().len();
        let length = diagnostic.span.text(source).lines().next().unwrap_or("").chars().count().max(1);
        let (text, at, length) = cropped(source.lines().nth(line - 1).unwrap_or(""), column - 1, length);
        let blank = text.chars().take(at).map(|c| if c == '\t' { '\t' } else { ' ' }).collect::<String>();
        let pad = " ".repeat(gutter);
        let marker = "^".repeat(length);
        let _ = writeln!(out, "{}", diagnostic.headline());
        let _ = writeln!(out, "{pad}--> {file}:{line}:{column}");
        let _ = writeln!(out, "{pad} |");
        let _ = writeln!(out, "{line} | {text}");
        let _ = writeln!(out, "{}", format!("{pad} | {blank}{marker} {}", diagnostic.label).trim_end());
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "{pad} = help: {help}");
        }
    }
    out
}

/// The part of a line that fits into a terminal, around what is marked there: `length` characters after `at`.
fn cropped(line: &str, at: usize, length: usize) -> (String, usize, usize) {
    const WIDE: usize = 160;
    const BEFORE: usize = 60;
    let count = line.chars().count();
    if count <= WIDE {
        return (line.to_owned(), at, length);
    }
    let from = if at + length < WIDE { 0 } else { at.saturating_sub(BEFORE) };
    let mut text: String = line.chars().skip(from).take(WIDE).collect();
    let (mut at, length) = (at - from, length.min(WIDE + from - at));
    if count > from + WIDE {
        text.push('…');
    }
    if from > 0 {
        text.insert(0, '…');
        at += 1;
    }
    (text, at, length)
}

/// The candidate nearest to `name`: same letters in another case first, then few edits, then a candidate
/// that ends with the name (`AccountName` for `InitiatingProcessAccountName`).
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = candidate.to_lowercase();
        let distance = if other == lower {
            0
        } else {
            let edits = edit_distance(&lower, &other);
            if edits <= 1 + lower.len() / 5 {
                edits
            } else if lower.len() >= 5 && other.ends_with(&lower) {
                100 + other.len()
            } else {
                continue;
            }
        };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What word processors and web pages make of quotes.
pub(crate) fn has_typographic_quotes(text: &str) -> bool {
    text.contains(['“', '”', '„', '‘', '’', '«', '»'])
}

pub(crate) const STRAIGHT_QUOTES: &str = "typographic quotes begin no text in KQL: write \"…\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_place_is_shown() {
        let query = format!("T | where Name == {:?} and Nam == 1 and Other == {:?}", "x".repeat(500), "y".repeat(500));
        let at = query.find("Nam ==").expect("the name") as u32;
        let shown = render(&query, "q", &[Diagnostic::semantic("KS142", "unknown", Span { start: at, end: at + 3 })]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines[1], lines[3].chars().count()), (" --> q:1:526", "1 | ".len() + 162));
        let marked: String = lines[3].chars().zip(lines[4].chars()).filter(|(_, mark)| *mark == '^').map(|(c, _)| c).collect();
        assert_eq!(marked, "Nam");
        let whole = render(&query, "q", &[Diagnostic::semantic("KS142", "unknown", Span { start: 0, end: query.len() as u32 })]);
        assert!(whole.lines().all(|line| line.chars().count() < 170));
    }
}
