//! Where a query stands in the file of its rule, so that what is wrong with it is shown there.

use crate::yaml;
use std::ops::Range;
use std::sync::Arc;
use vidette_kql::{Diagnostic, Fix, Span};

/// A file, and where in it each line of a query begins.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    text: Arc<str>,
    lines: Vec<usize>,
}

impl Origin {
    /// Finds the query in the YAML that it was read from. Where its lines are not there as they are (a folded text, a text in quotes),
    /// the origin knows nothing.
    pub(crate) fn find(text: &str, query: &str) -> Origin {
        let head = yaml::top(text).find(|(_, line)| line.split_once(':').is_some_and(|(key, _)| key.trim_end() == "query"));
        let beside = |(at, line): (usize, &str)| if query.contains('\n') { None } else { Some(vec![at + line.find(query)?]) };
        let lines = head.and_then(|head| beside(head).or_else(|| block(text, head.0, query)));
        lines.map(|lines| Origin { text: text.into(), lines }).unwrap_or_default()
    }

    /// Of a query that is a part of a text.
    pub fn within(text: &Arc<str>, part: Range<usize>) -> Origin {
        let breaks = text[part.clone()].match_indices('\n').map(|(at, _)| part.start + at + 1);
        Origin { text: text.clone(), lines: std::iter::once(part.start).chain(breaks).collect() }
    }

    /// Whether the query is in its file as it is.
    pub fn is_known(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The place in the file of a place in the query.
    fn place(&self, query: &str, at: u32) -> u32 {
        let before = &query.as_bytes()[..(at as usize).min(query.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count().min(self.lines.len() - 1);
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        (self.lines[line] + column) as u32
    }

    /// The file's text and the diagnostics of the query as those of the file; those of the query itself where the file is not known.
    pub fn in_file(&self, query: &str, diagnostics: &[Diagnostic]) -> (String, Vec<Diagnostic>) {
        if !self.is_known() {
            return (query.to_owned(), diagnostics.to_vec());
        }
        let span = |span: Span| Span { start: self.place(query, span.start), end: self.place(query, span.end) };
        let moved = |diagnostic: &Diagnostic| {
            let fix = diagnostic.fix.as_ref().map(|fix| Fix { span: span(fix.span), replacement: fix.replacement.clone() });
            Diagnostic { span: span(diagnostic.span), fix, ..diagnostic.clone() }
        };
        (self.text.to_string(), diagnostics.iter().map(moved).collect())
    }

    /// The diagnostics of the query as a person sees them, in the file.
    pub fn render(&self, file: &str, query: &str, diagnostics: &[Diagnostic]) -> String {
        let (text, diagnostics) = self.in_file(query, diagnostics);
        vidette_kql::render(&text, file, &diagnostics)
    }
}

/// Where the lines of a block begin that stands below the line at `at`: every one as much further right.
fn block(text: &str, at: usize, query: &str) -> Option<Vec<usize>> {
    let below = at + text[at..].find('\n')? + 1;
    let mut start = below;
    let mut lines = text[below..].split_inclusive('\n').map(|line| {
        start += line.len();
        (start - line.len(), line.trim_end())
    });
    let mut indentation = None;
    let mut found = Vec::new();
    // Blank lines before a query are part of the block, and of the query.
    for wanted in query.lines().map(str::trim_end) {
        let (start, line) = lines.next()?;
        let depth = match indentation {
            Some(depth) => depth,
            None if wanted.is_empty() => 0,
            None => *indentation.insert(line.len().checked_sub(wanted.len())?),
        };
        match line.get(depth..) {
            Some(rest) if rest == wanted && line[..depth].trim().is_empty() => found.push(start + depth),
            None if wanted.is_empty() => found.push(start + line.len()),
            _ => return None,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, query: &str, word: &str) -> String {
        let at = query.find(word).expect("the word is in the query") as u32;
        let diagnostic = Diagnostic::semantic("KS142", "unknown", Span { start: at, end: at + word.len() as u32 });
        Origin::find(text, query).render("r.yaml", query, &[diagnostic])
    }

    #[test]
    fn diagnostics_point_into_the_file() {
        let block = "id: x\nquery: |\n\n    T\n    | where Nam == 1\n\n      | take 1\nkind: NRT\n";
        assert_eq!(shown(block, "\nT\n| where Nam == 1\n\n  | take 1\n", "Nam"), "error[KS142]: unknown\n --> r.yaml:5:13\n  |\n5 |     | where Nam == 1\n  |             ^^^\n");
        assert!(shown("query: T | where Nam == 1\n", "T | where Nam == 1", "Nam").contains("r.yaml:1:18"));
        assert!(shown("name: a\r\nquery: |-\r\n T\r\n | where Nam == 1\r\n", "T\n| where Nam == 1", "Nam").contains("r.yaml:4:10"));
        // Folded into one line: shown as the query has it.
        assert!(shown("query: >\n  T\n  | where Nam\n", "T | where Nam\n", "Nam").contains("r.yaml:1:11\n  |\n1 | T | where Nam"));
    }
}
