//! `docs/SUPPORT.md` says what of the language runs; it is written from what the engine registers.
//! `VIDETTE_BLESS=1 cargo test -p vidette-engine --test support` writes it anew.

use std::fmt::Write;
use std::path::Path;
use vidette_engine::Workspace;
use vidette_kql::{AGGREGATES, Catalog, Feature, OPERATORS, PLUGINS, SCALAR_FUNCTIONS, canonical, why_never};

/// Bound without the engine: places, what the binder answers itself, and the functions of `graph-match`'s elements.
const BOUND: &[&str] =
    &["cluster", "database", "table", "percentiles", "percentilesw", "all", "any", "inner_nodes", "labels", "map", "node_degree_in", "node_degree_out", "node_id"];

fn main_table(title: &str, mut names: Vec<&str>, runs: &dyn Fn(&str) -> bool) -> (String, usize, usize) {
    names.sort_unstable();
    let (running, refused): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| runs(name));
    let mut out = format!("## {title}\n\n{} of {} run.\n\n", running.len(), names.len());
    let _ = writeln!(out, "Run: {}.\n", running.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" "));
    let later: Vec<String> = refused.iter().filter(|name| why_never(name).is_none()).map(|name| format!("`{name}`")).collect();
    if !later.is_empty() {
        let _ = writeln!(out, "Refused by name, not there yet: {}.\n", later.join(" "));
    }
    for name in refused {
        if let Some(why) = why_never(name) {
            let _ = writeln!(out, "- `{name}` is refused: {why}.");
        }
    }
    out.push('\n');
    (out, running.len(), names.len())
}

#[test]
fn the_support_matrix_is_what_the_engine_registers() {
    let workspace = &Workspace::default();
    let runs = |feature: Feature| move |name: &str| BOUND.contains(&name) || workspace.runs(feature, canonical(name));
    let sections = [
        main_table("Operators", OPERATORS.to_vec(), &runs(Feature::Operator)),
        main_table("Scalar functions", SCALAR_FUNCTIONS.keys().copied().collect(), &runs(Feature::ScalarFunction)),
        main_table("Aggregation functions", AGGREGATES.keys().copied().collect(), &runs(Feature::Aggregate)),
        main_table("Plugins", PLUGINS.keys().copied().collect(), &runs(Feature::Plugin)),
    ];
    let mut text = String::from(
        "# What of KQL runs\n\nWritten from what the engine registers (`crates/vidette-engine/tests/support.rs`). What does not run is refused by\nname and position, never answered wrongly.\n\n",
    );
    sections.iter().for_each(|(section, ..)| text.push_str(section));
    let text = format!("{}\n", text.trim_end());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/SUPPORT.md");
    if std::env::var_os("VIDETTE_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the page is writable");
    }
    let stored = std::fs::read_to_string(&path).expect("docs/SUPPORT.md exists");
    assert!(stored == text, "docs/SUPPORT.md is not what the engine registers; VIDETTE_BLESS=1 writes it anew");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README exists");
    let [operators, functions, aggregates, plugins] = sections.map(|(_, running, all)| format!("{running} of {all}"));
    let sentence = format!("{operators} operators, {functions} scalar functions, {aggregates} aggregation functions and {plugins} plugins run");
    assert!(readme.contains(&sentence), "the README should say: {sentence}");
}
