//! Queries in Markdown: many collections of hunting queries are pages with blocks of KQL.

use std::ops::Range;
use vidette_kql::Severity;

/// The blocks of a page that are marked as KQL, or read as a query with operators whatever they are marked as (some mark KQL as C), without
/// their fences; one that does not end goes to the end of the page.
pub(crate) fn blocks(text: &str) -> Vec<Range<usize>> {
    const FENCE: &str = "```";
    let mut blocks = Vec::new();
    let (mut at, mut open) = (0, None);
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let Some(info) = line.trim().strip_prefix(FENCE) else { continue };
        match open.take() {
            Some((marked, from)) => blocks.extend(Some(from..start).filter(|block| marked || is_query(&text[block.clone()]))),
            None => {
                let language = info.trim_start_matches('`').split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
                open = Some((matches!(language.as_str(), "kql" | "kusto"), at));
            }
        }
    }
    blocks.extend(open.filter(|(marked, _)| *marked).map(|(_, from)| from..text.len()));
    blocks
}

fn is_query(block: &str) -> bool {
    let has_operator = block.lines().any(|line| line.trim_start().starts_with('|'));
    has_operator && vidette_kql::ends_in_query(block) && vidette_kql::parse(block).1.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
}

/// The first heading of a page.
pub(crate) fn title(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("# ")).map(str::trim).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_kql_are_found() {
        let text =
            "# A page\n\n```KQL\nT\n| take 1\n```\n\n```\nkql\n```\n  ``` Kusto\n  U\n  ```\n```json\n{}\n```\n```c\nT\n| count\n```\n```sh\ncat a-b \\\n| grep c\n```\n```kql\nV";
        assert_eq!(blocks(text).into_iter().map(|block| &text[block]).collect::<Vec<_>>(), ["T\n| take 1\n", "  U\n", "T\n| count\n", "V"]);
        assert_eq!((title(text), title("no")), (Some("A page"), None));
    }
}
