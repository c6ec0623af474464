//! `vidette test --init`: a test file for each rule that has none, with rows that its filters ask for.

use crate::commands::Failure;
use crate::witness::{TIME, witness};
use serde_json::{Map, Value, json};
use std::path::Path;
use vidette_engine::{Checker, Workspace};
use vidette_rules::{Pack, Rule};

/// A rule that fires on more than so many rows gets no more of them.
const MOST_ROWS: u64 = 20;

/// Writes the test files that are missing for rules that `is_asked_for`, says so, and adds them to the packs.
///
/// # Errors
/// When a file cannot be written.
pub fn write(packs: &mut [Pack], workspace: &Workspace, is_asked_for: impl Fn(&String) -> bool) -> Result<(), Failure> {
    for pack in packs {
        for rule in pack.rules.iter().filter(|rule| is_asked_for(&rule.file)) {
            let Some(stem) = rule.file.strip_suffix(".yaml").or(rule.file.strip_suffix(".yml")) else { continue };
            let path = format!("{stem}.test.yaml");
            if Path::new(&path).exists() {
                continue;
            }
            let (queries, diagnostics) = vidette_kql::compile(&rule.query, &Checker::new(workspace));
            let Some(query) = queries.last().filter(|_| vidette_kql::errors(&diagnostics).next().is_none()) else {
                say!("{}: the query has errors, which `vidette check` shows; no test is written", rule.file);
                continue;
            };
            let text = text(rule, &witness(query));
            std::fs::write(&path, &text).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
            say!("written {path}");
            pack.tests.push((path, text));
        }
    }
    Ok(())
}

fn text(rule: &Rule, rows: &[(String, Map<String, Value>)]) -> String {
    let copies = rule.trigger_threshold.filter(|_| rule.trigger_operator.as_deref().is_none_or(|operator| operator == "gt")).unwrap_or_default();
    let copies = copies.saturating_add(1).min(MOST_ROWS);
    let empty: Vec<(String, Map<String, Value>)> = rows.iter().map(|(table, row)| (table.clone(), kept(row))).collect();
    let firing = data(rows, copies);
    let quiet = data(&empty, 1);
    format!(
        "# Tests of `{}`. The rows are what its filters ask for, as far as they tell; docs/TESTING.md says what a test may hold.\n\
         tests:\n  - name: fires\n{firing}    expect: {{alerts: {{at_least: 1}}}}\n\n  - name: quiet on anything else\n{quiet}    expect: {{alerts: 0}}\n",
        rule.name.replace('\n', " ")
    )
}

/// When and where a row is, and nothing of what was asked for.
fn kept(row: &Map<String, Value>) -> Map<String, Value> {
    row.iter().filter(|(_, value)| **value == json!(TIME)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn data(rows: &[(String, Map<String, Value>)], copies: u64) -> String {
    let mut tables: Vec<&str> = Vec::new();
    for (table, _) in rows.iter().filter(|(_, row)| !row.is_empty()) {
        if !tables.contains(&table.as_str()) {
            tables.push(table);
        }
    }
    if tables.is_empty() {
        return String::new();
    }
    let mut text = String::from("    data:\n");
    for table in tables {
        text.push_str(&format!("      {table}:\n"));
        for (_, row) in rows.iter().filter(|(name, row)| name == table && !row.is_empty()) {
            let cells: Vec<String> = row.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            (0..copies).for_each(|_| text.push_str(&format!("        - {{{}}}\n", cells.join(", "))));
        }
    }
    text
}
