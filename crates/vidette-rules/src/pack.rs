//! Rule packs: a folder of rules and what belongs to them. One pack is part of the binary.

use crate::exported::is_export;
use crate::function;
use crate::guide::{Guide, parse_guide};
use crate::markdown;
use crate::origin::Origin;
use crate::rule::{HuntingQuery, Rule, RuleProblem, parse_hunting_query, parse_rule};
use crate::yaml::keys;
use include_dir::{Dir, File, include_dir};
use rayon::prelude::*;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use vidette_kql::Watchlist;

/// Rules and their data.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    pub name: String,
    pub rules: Vec<Rule>,
    pub hunting: Vec<HuntingQuery>,
    /// By alias, as `_GetWatchlist` asks for them.
    pub watchlists: Vec<(String, Watchlist)>,
    /// Sigma rules, correlations and filters.
    pub sigma: vidette_sigma::Rules,
    /// Saved functions: their places, as diagnostics name them, and their `let` statements.
    pub functions: Vec<(String, String)>,
    /// Scenario files: their places and texts.
    pub scenarios: Vec<(String, String)>,
    /// How alerts of the pack are investigated.
    pub guide: Option<Guide>,
    /// Test files: their places and texts.
    pub tests: Vec<(String, String)>,
    pub problems: Vec<RuleProblem>,
}

const GUIDE: &str = "Investigation.md";
/// The folders of what was made from a pack: here, and in the solutions of Sentinel's repository.
const MADE: [&str; 2] = ["platforms", "Package"];

static PACKS: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../packs");

/// The packs in the binary.
pub fn embedded() -> &'static [Pack] {
    static EMBEDDED: LazyLock<Vec<Pack>> = LazyLock::new(|| {
        let folders = PACKS.dirs().map(|folder| {
            let mut pack = Pack { name: folder.path().display().to_string(), ..Pack::default() };
            pack.add_folder(folder);
            pack.rules.iter_mut().for_each(|rule| rule.related = is_related(Path::new(&rule.file)));
            pack
        });
        folders.collect()
    });
    &EMBEDDED
}

/// The texts of the functions that the packs in the binary save, without what else they hold.
pub fn embedded_functions() -> impl Iterator<Item = &'static str> {
    PACKS.dirs().flat_map(Dir::files).filter(|file| file.path().extension().is_some_and(|extension| extension == "kql")).filter_map(File::contents_utf8)
}

/// Reads a file of a pack, or a folder of them, at any depth. What is told apart:
///
/// | file | is |
/// |---|---|
/// | `.json` with `…/alertRules`, `…/savedSearches` or `queryCondition` | rules as Sentinel or Defender export them |
/// | other `.json` | left alone |
/// | `.csv` | a watchlist, its alias the file's name |
/// | `.kql` that ends in a query | a hunting query of the file's name, or several between blank lines |
/// | other `.kql` | saved functions |
/// | `Investigation.md` | the guide of the pack |
/// | other `.md` | its blocks that are KQL are hunting queries of the page's title |
/// | `.test.yaml` | tests of the rule beside it |
/// | `.yaml`, `.yml` with `scenarios` or `background` | scenarios for `vidette simulate` |
/// | `.yaml`, `.yml` with `FunctionQuery` or `ParserQuery` | a saved function |
/// | `.yaml`, `.yml` with `query`, but neither `kind` nor when to run it | a hunting query |
/// | `.yaml`, `.yml` with `detection`, `correlation` or `filter` | Sigma |
/// | `.yaml`, `.yml` with `attack_technique` | an Atomic Red Team test, left alone |
/// | other `.yaml`, `.yml` with `id`, `name` or `query` | a rule |
/// | other `.yaml`, `.yml` | left alone, with a warning |
///
/// Folders named `platforms` or `Package` hold what was made from the pack for other places; they are read only when asked for.
///
/// # Errors
/// When the path cannot be read.
pub fn load(path: &Path) -> std::io::Result<Pack> {
    load_files(path, is_part)
}

/// As [`load`], for the saved functions: these are in files of text, too.
///
/// # Errors
/// When the path cannot be read.
pub fn load_functions(path: &Path) -> std::io::Result<Pack> {
    load_files(path, |file| is_part(file) || holds_kql(file))
}

fn load_files(path: &Path, is_part: fn(&Path) -> bool) -> std::io::Result<Pack> {
    let mut pack = Pack { name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), ..Pack::default() };
    // A folder goes on without what cannot be read; a file that was named does not.
    if !path.is_dir() {
        std::fs::File::open(path)?;
    }
    let mut files = Vec::new();
    visit(path, is_part, &mut files, &mut HashSet::new(), &mut pack.problems);
    let read = |file: &PathBuf| {
        let mut part = Pack::default();
        let name = file.display().to_string();
        match std::fs::read(file) {
            Ok(bytes) => part.add(&name, &String::from_utf8_lossy(&bytes)),
            Err(error) => part.problems.push(unreadable(name, &error)),
        }
        part
    };
    files.par_iter().map(read).collect::<Vec<_>>().into_iter().for_each(|part| pack.append(part));
    let inside = |file: &str| Path::new(file).strip_prefix(path).is_ok_and(is_related);
    pack.rules.iter_mut().for_each(|rule| rule.related = inside(&rule.file));
    Ok(pack)
}

/// Whether the file stands in a folder for related rules.
fn is_related(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "related")
}

/// The files of a pack below a path, by name. A folder is visited once, whatever links lead to it.
fn visit(path: &Path, is_part: fn(&Path) -> bool, files: &mut Vec<PathBuf>, visited: &mut HashSet<PathBuf>, problems: &mut Vec<RuleProblem>) {
    if !path.is_dir() {
        files.extend(is_part(path).then(|| path.to_owned()));
        return;
    }
    if path.canonicalize().is_ok_and(|folder| !visited.insert(folder)) {
        return;
    }
    match std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(mut entries) => {
            entries.sort_by_key(std::fs::DirEntry::path);
            entries.iter().filter(|entry| MADE.iter().all(|made| entry.file_name() != *made)).for_each(|entry| visit(&entry.path(), is_part, files, visited, problems));
        }
        Err(error) => problems.push(unreadable(path.display().to_string(), &error)),
    }
}

fn unreadable(file: String, error: &std::io::Error) -> RuleProblem {
    RuleProblem { file, message: error.to_string(), fatal: true }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn is_part(path: &Path) -> bool {
    matches!(extension(path).as_str(), "yaml" | "yml" | "csv" | "kql" | "json" | "md")
}

/// Whether the file is KQL as a whole: `.kql`, and as others name theirs.
pub fn holds_kql(path: &Path) -> bool {
    matches!(extension(path).as_str(), "kql" | "csl" | "txt")
}

impl Pack {
    /// Adds what another part of the pack holds.
    fn append(&mut self, mut part: Pack) {
        self.rules.append(&mut part.rules);
        self.hunting.append(&mut part.hunting);
        self.watchlists.append(&mut part.watchlists);
        self.sigma.append(part.sigma);
        self.functions.append(&mut part.functions);
        self.scenarios.append(&mut part.scenarios);
        self.guide = part.guide.or(self.guide.take());
        self.tests.append(&mut part.tests);
        self.problems.append(&mut part.problems);
    }

    fn add_folder(&mut self, folder: &Dir) {
        for file in folder.files().filter(|file| is_part(file.path())) {
            self.add(&file.path().display().to_string(), file.contents_utf8().unwrap_or_default());
        }
        folder.dirs().filter(|folder| MADE.iter().all(|made| !folder.path().ends_with(made))).for_each(|folder| self.add_folder(folder));
    }

    fn add(&mut self, file: &str, text: &str) {
        let text = text.trim_start_matches('\u{feff}');
        let name = file.to_ascii_lowercase();
        let stem = || Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".csv") {
            let (alias, mut list) = (stem(), watchlist(text));
            let problems = crate::tuning::vet_if_tuning(&alias, &mut list, vidette_engine::Clock::now().now_ticks);
            self.problems.extend(problems.into_iter().map(|problem| RuleProblem { file: file.to_owned(), ..problem }));
            self.watchlists.push((alias, list));
        } else if Path::new(file).ends_with(GUIDE) {
            self.guide = Some(parse_guide(text));
        } else if name.ends_with(".md") {
            self.add_queries(file, markdown::title(text).unwrap_or(&stem()), text, markdown::blocks(text));
        } else if holds_kql(Path::new(file)) {
            if vidette_kql::ends_in_query(text) {
                self.add_queries(file, &stem(), text, std::iter::once(0..text.len()));
            } else {
                self.functions.push((file.to_owned(), text.to_owned()));
            }
        } else if name.ends_with(".json") {
            if is_export(text) {
                self.add_export(file, text);
            }
        } else if name.ends_with(".test.yaml") {
            self.tests.push((file.to_owned(), text.to_owned()));
        } else {
            self.add_yaml(file, text);
        }
    }

    /// The queries in parts of a file; from the second on they have a number.
    fn add_queries(&mut self, file: &str, title: &str, text: &str, parts: impl IntoIterator<Item = Range<usize>>) {
        let within = |part: Range<usize>| {
            let start = part.start;
            vidette_kql::queries_in(&text[part]).into_iter().map(move |query| start + query.start..start + query.end)
        };
        let whole: Arc<str> = text.into();
        for (at, part) in parts.into_iter().flat_map(within).enumerate() {
            let name = if at == 0 { title.to_owned() } else { format!("{title} ({})", at + 1) };
            let (query, origin) = (text[part.clone()].to_owned(), Origin::within(&whole, part));
            self.hunting.push(HuntingQuery { name, query, file: file.to_owned(), origin, ..HuntingQuery::default() });
        }
    }

    fn add_yaml(&mut self, file: &str, text: &str) {
        let keys = keys(text);
        let has = |any: &[&str]| any.iter().any(|key| keys.contains(key));
        let problem = |message: String, fatal: bool| RuleProblem { file: file.to_owned(), message, fatal };
        if has(&["attack_technique"]) {
            // A test of Atomic Red Team, which is for people.
        } else if has(&["scenarios", "background"]) {
            self.scenarios.push((file.to_owned(), text.to_owned()));
        } else if has(&["detection", "correlation", "filter"]) {
            self.sigma.add(file, text);
        } else if function::is_function(&keys) {
            match function::statements(text) {
                Ok(statements) => self.functions.push((format!("{file} as a statement"), statements)),
                Err(message) => self.problems.push(problem(message, true)),
            }
        } else if has(&["query"]) && !has(&["kind", "queryFrequency", "queryPeriod", "triggerOperator"]) {
            match parse_hunting_query(file, text) {
                Ok(query) => self.hunting.push(query),
                Err(message) => self.problems.push(problem(message, true)),
            }
        } else if has(&["id", "name", "query"]) {
            let (rule, problems) = parse_rule(file, text);
            self.rules.extend(rule);
            self.problems.extend(problems);
        } else {
            self.problems.push(problem("neither a rule nor anything else that belongs to rules; left alone".to_owned(), false));
        }
    }
}

/// A CSV with a header; rows that are too short are filled up.
pub fn watchlist(text: &str) -> Watchlist {
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
