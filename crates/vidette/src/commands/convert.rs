//! `vidette convert`: rules for other places.

use crate::commands::Failure;
use crate::output;
use crate::packs::packs;
use crate::{sigma, workspace};
use std::path::PathBuf;
use vidette_rules::{PLATFORMS, Pack, export};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Packs, rules or Sigma rules; the built-in pack unless told
    pub paths: Vec<PathBuf>,
    /// The platform; `list` shows them
    #[arg(long, default_value = "list")]
    pub to: String,
    /// Write the files to this folder; without it the texts go to the standard output
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<u8, Failure> {
    if options.to == "list" {
        let rows: Vec<Vec<String>> = PLATFORMS.iter().map(|platform| vec![platform.name.to_owned(), platform.title.to_owned()]).collect();
        output::write(&output::table(&["Name", "What it is"].map(str::to_owned), &rows, output::width(), |_, _| None), None)?;
        return Ok(0);
    }
    let mut packs = packs(&options.paths)?;
    let mut broken = false;
    for problem in packs.iter().flat_map(|pack| &pack.problems) {
        say!("{}: {}: {}", if problem.fatal { "error" } else { "warning" }, problem.file, problem.message);
        broken |= problem.fatal;
    }
    let (sigma, wrong) = sigma::compile(&mut packs, &workspace::column_names);
    broken |= wrong;
    let mut whole = packs.into_iter().reduce(joined).unwrap_or_default();
    // Sigma rules are rules like others from here on.
    whole.rules.extend(sigma.into_iter().map(|sigma| sigma.rule));
    let files = export(&whole, &options.to).map_err(Failure::usage)?;
    match &options.output {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
            for (name, text) in &files {
                output::write(text, Some(&folder.join(name)))?;
            }
            say!("{} files under {}", files.len(), folder.display());
        }
        None => {
            let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
            output::write(&texts.join("\n"), None)?;
        }
    }
    Ok(if broken { 2 } else { 0 })
}

/// Two packs as one; the watchlists of the second one win.
fn joined(mut first: Pack, second: Pack) -> Pack {
    first.watchlists.retain(|(alias, _)| second.watchlists.iter().all(|(other, _)| other != alias));
    first.rules.extend(second.rules);
    first.hunting.extend(second.hunting);
    first.watchlists.extend(second.watchlists);
    first.functions.extend(second.functions);
    first
}
