//! `vidette check`: the diagnostics of queries and rules, nothing executed.

use crate::commands::Failure;
use crate::output;
use crate::packs::install;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vidette_engine::Workspace;
use vidette_kql::{Diagnostic, NOT_SUPPORTED, Severity, compile};
use vidette_rules::{Origin, Pack};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// KQL files, rule files, or folders of rules
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write the fixes that diagnostics offer into the files
    #[arg(long)]
    pub fix: bool,
    /// Fail on warnings, too: what Microsoft's analyzer, and the portal's editor with it, rejects, though Kusto runs it
    #[arg(long)]
    pub deny_warnings: bool,
    /// How to tell: text, json (an object per diagnostic) or github (annotations of a workflow)
    #[arg(long, value_enum, default_value = "text")]
    pub format: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Report {
    Text,
    Json,
    Github,
}

/// A query, and where it was read from.
struct Subject {
    file: String,
    query: String,
    origin: Origin,
}

pub fn run(options: &Options) -> Result<u8, Failure> {
    let mut workspace = crate::workspace::empty();
    let mut unread = false;
    let mut found = Found::default();
    for path in &options.files {
        let (mut subjects, wrong) = subjects(path, Some(&mut workspace))?;
        unread |= wrong;
        if options.fix && fix(&workspace, &subjects)? {
            subjects = self::subjects(path, None)?.0;
        }
        for subject in &subjects {
            report(&workspace, subject, options.format, &mut found)?;
        }
    }
    let (Found { queries, errors, warnings }, s) = (found, |count: usize| if count == 1 { "" } else { "s" });
    say!("{queries} quer{}, {errors} error{}, {warnings} warning{}", if queries == 1 { "y" } else { "ies" }, s(errors), s(warnings));
    Ok(if unread || errors > 0 || options.deny_warnings && warnings > 0 { 2 } else { 0 })
}

/// What there was to check, and what was wrong with it.
#[derive(Default)]
struct Found {
    queries: usize,
    errors: usize,
    warnings: usize,
}

/// The queries of a file or folder; whether one is too wrong to be read. What the rules need is installed into the workspace.
fn subjects(path: &Path, workspace: Option<&mut Workspace>) -> Result<(Vec<Subject>, bool), Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let is_pack = path.is_dir() || path.extension().is_some_and(|extension| ["yaml", "yml", "json", "md"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
    if is_pack {
        let pack = vidette_rules::load(path).map_err(unreadable)?;
        let broken = workspace.is_some_and(|workspace| install(std::slice::from_ref(&pack), workspace));
        let (subjects, wrong) = of_pack(pack);
        return Ok((subjects, broken || wrong));
    }
    let text: Arc<str> = std::fs::read_to_string(path).map_err(unreadable)?.into();
    let one = |part: Range<usize>| Subject { file: path.display().to_string(), query: text[part.clone()].to_owned(), origin: Origin::within(&text, part) };
    Ok((vidette_kql::queries_in(&text).into_iter().map(one).collect(), false))
}

/// All queries of a pack; whether one of its Sigma rules has none.
fn of_pack(pack: Pack) -> (Vec<Subject>, bool) {
    let mut packs = [pack];
    let (sigma, wrong) = crate::sigma::compile(&mut packs, &crate::workspace::column_names);
    let [pack] = packs;
    let made = |file: String, query: String| Subject { file, query, origin: Origin::default() };
    let mut subjects: Vec<Subject> = sigma.into_iter().map(|rule| made(rule.rule.file, rule.rule.query)).collect();
    subjects.extend(pack.hunting.into_iter().map(|query| Subject { file: query.file, query: query.query, origin: query.origin }));
    if let Some(guide) = &pack.guide {
        subjects.extend(guide.steps.iter().map(|step| made(format!("guide: {}", step.title), guide.query(step, &[]))));
    }
    subjects.extend(pack.rules.into_iter().map(|rule| Subject { file: rule.file, query: rule.query, origin: rule.origin }));
    (subjects, wrong)
}

/// Writes the fixes that are offered into the files; whether there were any.
fn fix(workspace: &Workspace, subjects: &[Subject]) -> Result<bool, Failure> {
    let mut files: BTreeMap<&str, (String, Vec<Diagnostic>)> = BTreeMap::new();
    for subject in subjects.iter().filter(|subject| subject.origin.is_known()) {
        let (text, diagnostics) = subject.origin.in_file(&subject.query, &compile(&subject.query, workspace).1);
        files.entry(&subject.file).or_insert_with(|| (text, Vec::new())).1.extend(diagnostics);
    }
    files.retain(|_, (_, diagnostics)| diagnostics.iter().any(|diagnostic| diagnostic.fix.is_some()));
    for (file, (text, diagnostics)) in &files {
        std::fs::write(file, mended(text, diagnostics)).map_err(|error| Failure::usage(format!("{file}: {error}")))?;
        say!("fixed: {file}");
    }
    Ok(!files.is_empty())
}

/// What is to be said of a query. That Vidette does not run it, or has no copy of a file that it reads, is no mistake of the query.
fn judged(query: &str, workspace: &Workspace) -> Vec<Diagnostic> {
    let mut diagnostics = compile(query, workspace).1;
    diagnostics.iter_mut().filter(|diagnostic| diagnostic.code == NOT_SUPPORTED).for_each(|diagnostic| diagnostic.severity = Severity::Warning);
    diagnostics
}

/// Prints the diagnostics of a query, and counts them.
fn report(workspace: &Workspace, subject: &Subject, format: Report, found: &mut Found) -> Result<(), Failure> {
    let (text, diagnostics) = subject.origin.in_file(&subject.query, &judged(&subject.query, workspace));
    let place = |diagnostic: &Diagnostic| vidette_kql::line_and_column(&text, diagnostic.span.start);
    let told = match format {
        Report::Text => vidette_kql::render(&text, &subject.file, &diagnostics),
        Report::Json => diagnostics
            .iter()
            .map(|diagnostic| {
                let (line, column) = place(diagnostic);
                format!("{}\n", json!({"file": subject.file, "line": line, "column": column, "diagnostic": diagnostic}))
            })
            .collect(),
        Report::Github => diagnostics
            .iter()
            .map(|diagnostic| {
                let level = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
                let message =
                    [&diagnostic.message, &diagnostic.label].into_iter().chain(&diagnostic.help).filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("; ");
                output::annotation(level, &subject.file, Some(place(diagnostic)), diagnostic.code, &message)
            })
            .collect(),
    };
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    found.queries += 1;
    found.errors += errors;
    found.warnings += diagnostics.len() - errors;
    output::write(&told, None)
}

/// The text with every offered fix applied, last first so that spans stay true.
fn mended(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut fixes: Vec<_> = diagnostics.iter().filter_map(|diagnostic| diagnostic.fix.as_ref()).collect();
    fixes.sort_by_key(|fix| std::cmp::Reverse(fix.span.start));
    let mut mended = text.to_owned();
    for fix in fixes {
        mended.replace_range(fix.span.start as usize..fix.span.end as usize, &fix.replacement);
    }
    mended
}
