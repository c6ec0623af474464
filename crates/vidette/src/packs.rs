//! The rule packs of a command: where they come from, and what they add to a workspace.

use crate::commands::{Failure, RuleOptions};
use std::path::PathBuf;
use vidette_engine::Workspace;
use vidette_rules::{HuntingQuery, Pack};

/// The columns of a table, when it is known.
pub type Columns<'a> = &'a (dyn Fn(&str) -> Option<Vec<String>> + Sync);

/// The packs at the paths; without any, those in the binary.
pub fn packs(paths: &[PathBuf]) -> Result<Vec<Pack>, Failure> {
    if paths.is_empty() {
        return Ok(vidette_rules::embedded().to_vec());
    }
    let unreadable = |path: &PathBuf, error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    paths.iter().map(|path| vidette_rules::load(path).map_err(|error| unreadable(path, error))).collect()
}

/// The same with the rules that a hunt runs: those of neighboring techniques and hunting queries only when they are asked for.
pub fn packs_for_hunt(options: &RuleOptions) -> Result<Vec<Pack>, Failure> {
    let mut packs = packs(&options.rules)?;
    for pack in &mut packs {
        pack.rules.retain(|rule| options.related || !rule.related);
        if options.hunting {
            pack.rules.extend(pack.hunting.iter().map(HuntingQuery::as_rule));
        } else if !options.rules.is_empty() && !pack.hunting.is_empty() {
            say!("{} hunting queries in {} are not run; --hunting runs them, too", pack.hunting.len(), pack.name);
        }
    }
    Ok(packs)
}

/// Says what is wrong with the packs, and registers their watchlists and functions; whether one is too wrong to run.
pub fn install(packs: &[Pack], workspace: &mut Workspace) -> bool {
    let mut broken = false;
    for pack in packs {
        for problem in &pack.problems {
            say!("{}: {}: {}", if problem.fatal { "error" } else { "warning" }, problem.file, problem.message);
            broken |= problem.fatal;
        }
        for (alias, watchlist) in &pack.watchlists {
            workspace.register_watchlist(alias.clone(), watchlist.clone());
        }
        for (file, text) in &pack.functions {
            if let Err(diagnostics) = workspace.register_functions(text) {
                broken = true;
                say!("{}", vidette_kql::render(text, file, &diagnostics).trim_end());
            }
        }
    }
    broken
}
