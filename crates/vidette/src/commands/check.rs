//! `vidette check`: the diagnostics of queries and rules, nothing executed.

use crate::commands::Failure;
use crate::packs::install;
use serde_json::json;
use std::path::PathBuf;
use vidette_engine::Workspace;
use vidette_kql::{Diagnostic, Severity, compile};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// KQL files, rule files, or folders of rules
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write the fixes that diagnostics offer into the files
    #[arg(long)]
    pub fix: bool,
    /// One JSON object per diagnostic instead of text
    #[arg(long)]
    pub json: bool,
}

pub fn run(options: &Options) -> Result<u8, Failure> {
    let mut workspace = Workspace::default();
    crate::workspace::register_schemas(&mut workspace);
    let mut failed = install(&[], &mut workspace);
    for path in &options.files {
        let is_rule = path.is_dir() || path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_rule {
            let pack = vidette_rules::load(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            failed |= install(std::slice::from_ref(&pack), &mut workspace);
            let mut packs = [pack];
            let (sigma, wrong) = crate::sigma::compile(&mut packs, &crate::workspace::column_names);
            let [pack] = packs;
            failed |= wrong;
            for rule in &sigma {
                failed |= report(&workspace, &rule.rule.file, &rule.rule.query, options.json);
            }
            for query in &pack.hunting {
                failed |= report(&workspace, &query.name, &query.query, options.json);
            }
            if let Some(guide) = &pack.guide {
                for step in &guide.steps {
                    failed |= report(&workspace, &format!("guide: {}", step.title), &guide.query(step, &[]), options.json);
                }
            }
            for rule in &pack.rules {
                failed |= report(&workspace, &rule.name, &rule.query, options.json);
            }
            continue;
        }
        let mut text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        if options.fix {
            let fixed = apply_fixes(&workspace, &text);
            if fixed != text {
                std::fs::write(path, &fixed).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                eprintln!("fixed: {}", path.display());
                text = fixed;
            }
        }
        failed |= report(&workspace, &path.display().to_string(), &text, options.json);
    }
    Ok(if failed { 2 } else { 0 })
}

/// Prints the diagnostics of a query; whether one is an error.
fn report(workspace: &Workspace, name: &str, text: &str, as_json: bool) -> bool {
    let (_, diagnostics) = compile(text, workspace);
    if as_json {
        for diagnostic in &diagnostics {
            println!("{}", json!({"file": name, "diagnostic": diagnostic}));
        }
    } else {
        print!("{}", vidette_kql::render(text, name, &diagnostics));
    }
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// The text with every offered fix applied, last first so that spans stay true.
pub fn apply_fixes(workspace: &Workspace, text: &str) -> String {
    let (_, diagnostics) = compile(text, workspace);
    let mut fixes: Vec<_> = diagnostics.iter().filter_map(|diagnostic: &Diagnostic| diagnostic.fix.as_ref()).collect();
    fixes.sort_by_key(|fix| std::cmp::Reverse(fix.span.start));
    let mut fixed = text.to_owned();
    for fix in fixes {
        fixed.replace_range(fix.span.start as usize..fix.span.end as usize, &fix.replacement);
    }
    fixed
}
