//! Every page under `src/` is a test: KQL in, table out. `VIDETTE_BLESS=1 cargo test -p vidette-engine --test pages`
//! writes the tables; review the diff as if someone else had sent it.
//!
//! A `kql` block is followed by a table whose heads are `name:type`, or by an `error` block with the diagnostics. No error is
//! blessed that the page did not ask for by an `error` block, if an empty one.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use vidette_engine::{Clock, Error, ResultTable, Workspace};
use vidette_kql::time::parse_datetime;
use vidette_kql::{AGGREGATES, Catalog, Feature, OPERATORS, PLUGINS, SCALAR_FUNCTIONS, canonical};

/// `now()` on every page.
const NOW: &str = "2024-05-01T12:00:00Z";

#[tokio::test]
async fn pages_show_what_the_engine_answers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pages = Vec::new();
    find(&root, &mut pages);
    pages.sort();
    assert!(!pages.is_empty(), "no pages under {}", root.display());
    let bless = std::env::var_os("VIDETTE_BLESS").is_some();
    let mut failures = String::new();
    let mut blocks = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page is readable");
        let (rewritten, count, unasked) = rewrite(&text).await;
        assert!(count > 0, "{} has no example", page.display());
        blocks += count;
        if rewritten == text {
            continue;
        }
        if let Some(query) = unasked.filter(|_| bless) {
            let _ = writeln!(failures, "{}: an error where the page has none, so it is not written; put an empty `error` block behind\n{query}", page.display());
        } else if bless {
            std::fs::write(page, rewritten).expect("a page is writable");
        } else {
            let differs = text.lines().zip(rewritten.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let (expected, got) = (text.lines().nth(differs).unwrap_or(""), rewritten.lines().nth(differs).unwrap_or(""));
            let _ = writeln!(failures, "{}:{}\n  expected {expected}\n  got      {got}", page.display(), differs + 1);
        }
    }
    println!("{} pages, {blocks} examples", pages.len());
    assert!(failures.is_empty(), "\n{failures}");
}

fn find(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// The page with the answers of today, how many examples it has, and the first whose answer is an error that it does not expect.
async fn rewrite(text: &str) -> (String, usize, Option<String>) {
    let mut unasked = None;
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line != "```kql" {
            continue;
        }
        let mut query = String::new();
        for line in lines.by_ref() {
            out.push_str(line);
            out.push('\n');
            if line == "```" {
                break;
            }
            query.push_str(line);
            query.push('\n');
        }
        // The old answer is left out: a table, or an error block.
        while lines.peek().is_some_and(|line| line.is_empty()) {
            lines.next();
        }
        let asked = lines.peek() == Some(&"```error");
        if lines.peek().is_some_and(|line| line.starts_with('|')) {
            while lines.next_if(|line| line.starts_with('|')).is_some() {}
        } else if asked {
            for line in lines.by_ref() {
                if line == "```" {
                    break;
                }
            }
        }
        out.push('\n');
        let answer = answer(&query).await;
        out.push_str(&answer);
        if answer.starts_with("```error") && !asked {
            unasked.get_or_insert(query);
        }
        if lines.peek().is_some_and(|line| !line.is_empty()) {
            out.push('\n');
        }
        count += 1;
    }
    (out, count, unasked)
}

async fn answer(query: &str) -> String {
    let clock = Clock::at(parse_datetime(NOW).expect("the pages' clock is a time"));
    match Workspace::default().query(query, clock).await {
        Ok(result) => result.tables.last().map(table).unwrap_or_default(),
        Err(Error::Diagnostics(diagnostics)) => format!("```error\n{}```\n", diagnostics.iter().map(|diagnostic| format!("{}\n", diagnostic.headline())).collect::<String>()),
        Err(error) => format!("```error\n{error}\n```\n"),
    }
}

fn table(table: &ResultTable) -> String {
    let mut out = String::new();
    let heads: Vec<String> = table.columns.iter().map(|(name, ty)| format!("{name}:{ty}")).collect();
    let _ = writeln!(out, "| {} |", heads.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(heads.len()));
    for row in table.rows() {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| match cell {
                serde_json::Value::Null => "(null)".to_owned(),
                serde_json::Value::String(text) => text.replace('|', "\\|").replace('\n', "\\n"),
                other => other.to_string().replace('|', "\\|"),
            })
            .collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

/// What runs is shown: every name stands in an example of some page.
#[test]
fn every_name_that_runs_is_on_a_page() {
    let mut pages = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut pages);
    let text: String = pages.iter().map(|page| std::fs::read_to_string(page).expect("a page is readable")).collect();
    let examples: String = text.split("```kql").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let words: std::collections::HashSet<&str> = examples.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).collect();
    let workspace = &Workspace::default();
    let names = [
        (Feature::Operator, OPERATORS.to_vec()),
        (Feature::ScalarFunction, SCALAR_FUNCTIONS.keys().copied().collect()),
        (Feature::Aggregate, AGGREGATES.keys().copied().collect()),
        (Feature::Plugin, PLUGINS.keys().copied().collect()),
    ];
    let missing: Vec<&str> =
        names.iter().flat_map(|(feature, names)| names.iter().filter(|name| workspace.runs(*feature, canonical(name)) && !words.contains(**name))).copied().collect();
    assert!(missing.is_empty(), "no page shows {missing:?}");
}
