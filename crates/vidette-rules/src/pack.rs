//! Rule packs: a folder of rules and the watchlists they use. One pack is part of the binary.

use crate::rule::{Rule, RuleProblem, parse_rule};
use std::path::Path;
use vidette_kql::Watchlist;

/// Rules and their data.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    pub name: String,
    pub rules: Vec<Rule>,
    /// By alias, as `_GetWatchlist` asks for them.
    pub watchlists: Vec<(String, Watchlist)>,
    pub problems: Vec<RuleProblem>,
}

const T1102_002: &[(&str, &str)] = &[
    ("Baseline.yaml", include_str!("../../../packs/T1102.002/Baseline.yaml")),
    ("Hardened.yaml", include_str!("../../../packs/T1102.002/Hardened.yaml")),
    ("WebServices.csv", include_str!("../../../packs/T1102.002/WebServices.csv")),
];

/// The packs in the binary.
pub fn embedded() -> Vec<Pack> {
    let mut pack = Pack { name: "T1102.002".to_owned(), ..Pack::default() };
    for (file, text) in T1102_002 {
        pack.add(file, text);
    }
    vec![pack]
}

/// Reads a rule file, or a folder of rules and CSV watchlists, at any depth.
///
/// # Errors
/// When the path cannot be read.
pub fn load(path: &Path) -> std::io::Result<Pack> {
    let mut pack = Pack { name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), ..Pack::default() };
    visit(path, &mut pack)?;
    Ok(pack)
}

fn visit(path: &Path, pack: &mut Pack) -> std::io::Result<()> {
    if path.is_dir() {
        let mut entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::path);
        return entries.iter().try_for_each(|entry| visit(&entry.path(), pack));
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if matches!(extension.as_str(), "yaml" | "yml" | "csv") && !path.to_string_lossy().ends_with(".test.yaml") {
        pack.add(&path.display().to_string(), &std::fs::read_to_string(path)?);
    }
    Ok(())
}

impl Pack {
    fn add(&mut self, file: &str, text: &str) {
        if let Some(stem) = file.strip_suffix(".csv") {
            let alias = stem.rsplit(['/', '\\']).next().unwrap_or(stem).to_owned();
            self.watchlists.push((alias, watchlist(text)));
            return;
        }
        let (rule, problems) = parse_rule(file, text);
        self.rules.extend(rule);
        self.problems.extend(problems);
    }
}

/// A CSV with a header; rows that are too short are filled up.
fn watchlist(text: &str) -> Watchlist {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let columns: Vec<String> = reader.headers().map(|names| names.iter().map(str::to_owned).collect()).unwrap_or_default();
    let rows = reader
        .records()
        .filter_map(Result::ok)
        .map(|record| {
            let mut row: Vec<String> = record.iter().map(str::to_owned).collect();
            row.resize(columns.len(), String::new());
            row
        })
        .collect();
    Watchlist { columns, rows }
}
