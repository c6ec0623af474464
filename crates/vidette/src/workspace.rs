//! Joins telemetry and engine: read tables become the workspace's tables. The only place that knows both.

mod parquet;

use crate::built_ins::Known;
use crate::commands::Failure;
use crate::custom_tables::custom_tables;
use crate::saved_functions::saved_functions;
use datafusion::catalog::TableProvider;
use datafusion::prelude::ParquetReadOptions;
pub use parquet::signals;
use parquet::{cover, parquet_parts};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use sysinfo::System;
use vidette_engine::{Checker, Sieve, Table, TimedBatches, Workspace};
use vidette_kql::needs::{Need, needs};
use vidette_kql::{Catalog, Diagnostic, Kind, ScalarType, Severity};
use vidette_telemetry::schemas::{ColumnType, TABLES, TableSchema};
use vidette_telemetry::{Harvest, Keep, Normalizer, Problem, Reading, Seen, files_under, harvest_files, is_parquet, learn, learn_more_columns, other_table, tables_of_events};

/// What was read, and the workspace over it.
pub struct Loaded {
    pub workspace: Workspace,
    /// Holds the temporary files that the workspace reads.
    pub harvest: Harvest,
    /// The tables that something was read for.
    pub with_rows: Vec<String>,
}

fn scalar_type(ty: ColumnType) -> ScalarType {
    match ty {
        ColumnType::Bool => ScalarType::Bool,
        ColumnType::Int => ScalarType::Int,
        ColumnType::Long => ScalarType::Long,
        ColumnType::Real => ScalarType::Real,
        ColumnType::Decimal => ScalarType::Decimal,
        ColumnType::DateTime => ScalarType::DateTime,
        ColumnType::TimeSpan => ScalarType::TimeSpan,
        ColumnType::Guid => ScalarType::Guid,
        ColumnType::String => ScalarType::String,
        ColumnType::Dynamic => ScalarType::Dynamic,
    }
}

pub fn columns(table: &TableSchema) -> Vec<(String, ScalarType)> {
    table.columns.iter().map(|column| (column.name.to_owned(), scalar_type(column.ty))).collect()
}

/// The columns of a known table, with their types.
pub fn known_columns(table: &str) -> Vec<(String, ScalarType)> {
    TABLES.get(table).map(columns).unwrap_or_default()
}

/// The names of the columns of a known table.
pub fn column_names(table: &str) -> Option<Vec<String>> {
    TABLES.get(table).map(|table| table.columns.iter().map(|column| column.name.to_owned()).collect())
}

/// The folder of `--external`, for the whole process.
static EXTERNAL: OnceLock<PathBuf> = OnceLock::new();

pub fn use_external(folder: PathBuf) {
    EXTERNAL.set(folder).ok();
}

/// `--carve`, for the whole process.
static CARVE: AtomicBool = AtomicBool::new(false);

pub fn use_carving() {
    CARVE.store(true, Ordering::Relaxed);
}

pub fn carves() -> bool {
    CARVE.load(Ordering::Relaxed)
}

/// The tables that something asks for, with the actions and columns of theirs that it asks for.
#[derive(Clone, Debug)]
pub enum Wanted {
    All,
    These(BTreeMap<String, Need>),
    /// Every table, of these only what is asked for.
    AllBut(BTreeMap<String, Need>),
    /// Rows that are in files as rows of these tables; none that events make.
    Rows(BTreeSet<String>),
}

impl Wanted {
    /// What the queries read. Of one that does not compile without rows, or stays open, every table that it names is taken whole.
    pub fn by<'q>(workspace: &Workspace, queries: impl IntoIterator<Item = &'q str>) -> Wanted {
        let mut tables = BTreeMap::new();
        let mut of_every = Vec::new();
        for text in queries {
            let checker = Checker::new(workspace);
            match compiled(text, &checker) {
                Some(_) if checker.reads_everything() => of_every.push(text),
                Some(queries) if !checker.is_open() => queries.iter().for_each(|query| needs(query, &mut tables)),
                _ => match named_tables(workspace, text) {
                    Some(named) => tables.extend(named),
                    None => return Wanted::All,
                },
            }
        }
        if of_every.is_empty() {
            return Wanted::These(tables);
        }
        // What is read of the tables that events make is told as if all of them had rows.
        let all = tables_of_events();
        for table in &all {
            tables.entry((*table).to_owned()).or_insert_with(|| Need { actions: Some(BTreeSet::new()), ..Need::default() });
        }
        for text in of_every {
            let checker = Checker::new(workspace).with_filled(all.iter().map(|table| (*table).to_owned()).collect());
            match compiled(text, &checker) {
                Some(queries) if !checker.is_open() => queries.iter().for_each(|query| needs(query, &mut tables)),
                _ => return Wanted::All,
            }
        }
        Wanted::AllBut(tables)
    }

    /// A table that is no known one may be asked for by name.
    fn includes(&self, table: &str) -> bool {
        match self {
            Wanted::These(tables) => tables.contains_key(table) || !TABLES.contains_key(table),
            Wanted::Rows(tables) => tables.contains(table),
            Wanted::All | Wanted::AllBut(_) => true,
        }
    }

    fn normalizer(&self, others: &Others) -> Normalizer {
        let others = others.iter().flat_map(|(table, files)| files.iter().map(|file| (file.clone(), *table))).collect();
        match self.clone() {
            Wanted::All => Normalizer::new(|_, _| true).with_others(others),
            Wanted::Rows(tables) => Normalizer::new(move |table, _| tables.contains(table)).with_others(others).without_events(),
            Wanted::These(tables) => narrowed(tables, false, others),
            Wanted::AllBut(tables) => narrowed(tables, true, others),
        }
    }

    /// Whether only tables are asked for that are no known ones.
    fn is_of_others(&self) -> bool {
        matches!(self, Wanted::These(tables) if !tables.is_empty() && !tables.keys().any(|table| TABLES.contains_key(table.as_str())))
    }
}

/// Without errors; `None` with one.
fn compiled(text: &str, checker: &Checker) -> Option<Vec<vidette_kql::bound::Query>> {
    let (queries, diagnostics) = vidette_kql::compile(text, checker);
    vidette_kql::errors(&diagnostics).next().is_none().then_some(queries)
}

/// The known tables that a text names, with all their columns; `None` when it may read others, through a function or a pattern.
fn named_tables(workspace: &Workspace, text: &str) -> Option<BTreeMap<String, Need>> {
    let words: BTreeSet<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let by_pattern = ["search", "find"].iter().any(|word| words.contains(word)) || words.contains("union") && text.contains('*');
    if by_pattern || words.iter().any(|word| workspace.function(word).is_some()) {
        return None;
    }
    let whole = |table: &TableSchema| Need { actions: None, columns: table.columns.iter().map(|column| column.name.to_owned()).collect() };
    // What is no known table may be one of a file.
    let need = |word: &str| (word.to_owned(), TABLES.get(word).map_or_else(Need::default, whole));
    Some(words.into_iter().chain(quoted_names(text)).map(need).collect())
}

/// What stands in brackets and quotes, as names with blanks or hyphens do.
fn quoted_names(text: &str) -> impl Iterator<Item = &str> {
    text.split('[').skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        rest[1..].split_once(quote).map(|(name, _)| name)
    })
}

/// The diagnostics of a query with errors that no data can mend: those of its syntax, and, where no file brings a table of its own, all.
pub fn hopeless(workspace: &Workspace, text: &str, paths: &[PathBuf]) -> Vec<Diagnostic> {
    let (_, diagnostics) = vidette_kql::compile(text, workspace);
    let mut errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).peekable();
    let any = errors.peek().is_some();
    if errors.any(|error| error.kind == Kind::Syntax) || any && !may_bring_tables(text, paths) { diagnostics } else { Vec::new() }
}

/// Whether there is a Parquet file, whose table may be one that is not known, another that the query names, or what cannot be told before
/// it is read.
fn may_bring_tables(text: &str, paths: &[PathBuf]) -> bool {
    let Ok((files, _)) = files_under(paths) else { return true };
    if files.iter().filter_map(|file| other_table(file)).any(|name| text.contains(&name)) {
        return true;
    }
    files.iter().any(|file| file == Path::new("-") || is_parquet(file))
}

/// Makes of these tables what is asked for; of the others everything or nothing.
fn narrowed(tables: BTreeMap<String, Need>, rest: bool, others: HashMap<PathBuf, &'static TableSchema>) -> Normalizer {
    let columns: BTreeMap<String, BTreeSet<String>> = tables.iter().map(|(name, need)| (name.clone(), need.columns.clone())).collect();
    let wants = move |table: &str, action: Option<&str>| match (tables.get(table), action) {
        (None, _) => rest,
        (Some(Need { actions: Some(actions), .. }), Some(action)) => actions.iter().any(|wanted| wanted.eq_ignore_ascii_case(action)),
        (Some(_), _) => true,
    };
    // Of a table that was not known when the query was bound no columns are told.
    let told = |table: &str| columns.get(table).filter(|columns| !columns.is_empty() || TABLES.contains_key(table)).cloned();
    Normalizer::new(wants).with_others(others).with_columns(told)
}

/// Adds to tables what files named after them have beside their known columns: before any query is bound.
pub fn learn_columns(paths: &[PathBuf]) {
    if let Ok((files, _)) = files_under(paths) {
        learn_more_columns(&files);
    }
}

/// A workspace in which every known table is empty: a rule over a table that has no data runs and gives nothing.
pub fn empty() -> Workspace {
    let mut workspace = Workspace::new(memory_limit()).with_built_ins(&Known);
    workspace.on_damage(crate::output::damage);
    if let Some(folder) = EXTERNAL.get() {
        workspace.set_external_folder(folder);
    }
    for (name, columns) in custom_tables() {
        workspace.register(name.clone(), Table::empty(columns.clone()));
    }
    for text in saved_functions() {
        workspace.register_functions(text).ok();
    }
    workspace
}

/// What sorts, aggregates and joins may take: three quarters of the memory of the machine or its container. What needs more is
/// written to temporary files, or refused, before the system ends the process.
fn memory_limit() -> Option<usize> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let of_container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    let memory = system.total_memory().min(of_container);
    usize::try_from(memory / 4 * 3).ok().filter(|memory| *memory > 0)
}

/// Tables that are not known, each with the files that it was learned from.
type Others = Vec<(&'static TableSchema, Vec<PathBuf>)>;

/// What is to be read.
struct Sources {
    files: Vec<PathBuf>,
    problems: Vec<Problem>,
    others: Others,
}

impl Sources {
    /// The files under the paths, as far as they may hold what is wanted.
    fn find(paths: &[PathBuf], wanted: &Wanted) -> Result<Sources, Failure> {
        let (mut files, problems) = files_under(paths).map_err(|error| Failure::usage(error.to_string()))?;
        let others = others(&files, paths, wanted);
        if wanted.is_of_others() && !others.is_empty() {
            files.retain(|file| others.iter().any(|(_, files)| files.contains(file)) || is_parquet(file));
        }
        Ok(Sources { files, problems, others })
    }
}

/// Reads all paths and registers their tables, as far as they are wanted. Events in `seen` are left out.
pub async fn load<'a>(workspace: Workspace, paths: &[PathBuf], wanted: &Wanted, keep: Keep<'a>, seen: Option<&'a Seen>) -> Result<Loaded, Failure> {
    load_from(Sources::find(paths, wanted)?, workspace, paths, wanted, keep, seen).await
}

async fn load_from<'a>(sources: Sources, mut workspace: Workspace, named: &[PathBuf], wanted: &Wanted, keep: Keep<'a>, seen: Option<&'a Seen>) -> Result<Loaded, Failure> {
    let Sources { files, problems, others } = sources;
    let bar = crate::progress::Bar::new();
    let mut normalizer = wanted.normalizer(&others);
    if matches!(keep, Keep::Counts) {
        // Rows are counted whatever they hold.
        normalizer = normalizer.with_columns(|_| Some(BTreeSet::new()));
    }
    let reading = Reading { keep, seen, carve: carves(), watch: None, direct_parquet: true };
    let mut harvest = harvest_files(files, named, &normalizer, reading, &mut |progress| bar.update(progress)).map_err(|error| Failure::usage(error.to_string()))?;
    harvest.problems.splice(0..0, problems);
    bar.finish();
    let mut parts: BTreeMap<String, Vec<Arc<dyn TableProvider>>> = BTreeMap::new();
    for (name, batches) in &harvest.tables {
        let Some(first) = batches.first() else { continue };
        parts.entry((*name).to_owned()).or_default().push(Arc::new(TimedBatches::new(first.schema(), batches.clone())));
    }
    for (name, (files, schema)) in harvest.spilled.iter().flat_map(|spill| spill.files()) {
        let options = ParquetReadOptions::default().schema(schema);
        let files: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        let frame = workspace.session().read_parquet(files, options).await;
        parts.entry((*name).to_owned()).or_default().push(frame.map_err(|error| Failure::usage(error.to_string()))?.into_view());
    }
    let parquet = parquet_parts(&workspace, &mut harvest, wanted, &mut parts).await;
    let with_rows = parts.keys().cloned().collect();
    for (name, parts) in parts {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { continue };
        let learned = || others.iter().map(|(table, _)| *table).find(|table| table.name == name);
        let table = match (TABLES.get(name.as_str()), custom_tables().iter().find(|(custom, _)| *custom == name)) {
            (Some(known), _) => Table::new(first, columns(known)),
            (None, Some((_, columns))) => Table::new(first, columns.clone()),
            (None, None) => learned().map_or_else(|| Table::infer(first.clone()), |schema| Table::new(first.clone(), columns(schema))),
        };
        workspace.register(name, parts.fold(table, Table::and));
    }
    for (name, files) in parquet {
        cover(&workspace, &mut harvest, &name, &files).await;
    }
    Ok(Loaded { workspace, harvest, with_rows })
}

/// The tables that are not known of files that are asked for by their names, or were named themselves where all is asked for.
fn others(files: &[PathBuf], named: &[PathBuf], wanted: &Wanted) -> Others {
    let mut by_name: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let Some(name) = other_table(file) else { continue };
        let is_asked_for = match wanted {
            Wanted::These(tables) => tables.contains_key(&name),
            Wanted::All | Wanted::AllBut(_) => named.contains(file),
            Wanted::Rows(_) => false,
        };
        if is_asked_for {
            by_name.entry(name).or_default().push(file.clone());
        }
    }
    by_name.into_iter().filter_map(|(name, files)| learn(name, files)).collect()
}

/// As [`load`], for these queries: rows that none of them can see are not kept.
pub async fn load_for(texts: &[&str], mut workspace: Workspace, paths: &[PathBuf], wanted: &Wanted, seen: Option<&Seen>) -> Result<Loaded, Failure> {
    let sources = Sources::find(paths, wanted)?;
    let mut wanted = Cow::Borrowed(wanted);
    // Now that these tables are known, so is what the queries read of them.
    for (table, _) in &sources.others {
        workspace.register(table.name.to_owned(), Table::empty(columns(table)));
    }
    if !sources.others.is_empty() {
        wanted = Cow::Owned(Wanted::by(&workspace, texts.iter().copied()));
    }
    let filled: Vec<&'static str> = tables_of_events().into_iter().chain(sources.others.iter().map(|(table, _)| table.name)).collect();
    // To plan a rule takes longer than to read a small folder: what is read before the sieve is there stays.
    let sieve: Arc<OnceLock<Sieve>> = Arc::default();
    let (planned, of, asked) = (sieve.clone(), workspace.clone(), texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>());
    tokio::task::spawn_blocking(move || {
        let found = of.sieve(asked.iter().map(String::as_str), &filled);
        found.map(|sieve| planned.set(sieve).is_ok())
    });
    let keep = |table: &'static TableSchema, batch| match sieve.get() {
        Some(sieve) => sieve.keep(table.name, batch),
        None => batch,
    };
    let keep = match Keep::default() {
        Keep::Rows { memory_bytes, .. } => Keep::Rows { memory_bytes, sieve: Some(&keep) },
        other => other,
    };
    load_from(sources, workspace, paths, &wanted, keep, seen).await
}
