//! `--functions`: saved functions, as Sentinel's repository and people's folders keep them.

use crate::commands::Failure;
use std::path::Path;
use std::sync::OnceLock;
use vidette_engine::Workspace;

static FUNCTIONS: OnceLock<Vec<String>> = OnceLock::new();

/// All of them, as `let` statements.
pub fn saved_functions() -> &'static [String] {
    FUNCTIONS.get().map(Vec::as_slice).unwrap_or_default()
}

/// Saves the functions of a file, or of every one in a folder, at any depth, for the whole process: those that a `.kql`, `.csl` or
/// `.txt` file defines by `let`, or its whole query under the name of the file; and those of Sentinel's repository and of ASIM, which
/// are YAML. What is wrong with one of a folder is said, and the others are there.
///
/// # Errors
/// What cannot be read; what is wrong with a file that was named.
pub fn use_functions(place: &Path) -> Result<(), Failure> {
    let pack = vidette_rules::load_functions(place).map_err(|error| Failure::usage(format!("error: cannot read {}: {error}", place.display())))?;
    let of_folder = place.is_dir();
    let wrong = |message: String| -> Result<(), Failure> {
        if of_folder {
            say!("{}", message.replacen("error", "warning", 1).trim_end());
            return Ok(());
        }
        Err(Failure::query(message))
    };
    for problem in pack.problems.iter().filter(|problem| problem.fatal) {
        wrong(format!("error: {}: {}", problem.file, problem.message))?;
    }
    let mut functions = pack.functions;
    let mut queries = pack.hunting.into_iter().filter(|query| vidette_rules::holds_kql(Path::new(&query.file))).peekable();
    while let Some(query) = queries.next() {
        let mut several = false;
        while queries.next_if(|next| next.file == query.file).is_some() {
            several = true;
        }
        if several {
            wrong(format!("error: {} holds several queries; a saved function is one", query.file))?;
            continue;
        }
        let name = query.name.replace(['-', ' ', '.'], "_");
        functions.push((query.file, vidette_rules::statement(&name, "", &query.query)));
    }
    let mut scratch = Workspace::default();
    let (mut saved, mut others) = (Vec::with_capacity(functions.len()), Vec::new());
    for (file, text) in functions {
        match scratch.register_functions(&text) {
            Ok(_) => saved.push(text),
            // Any text may stand beside functions.
            Err(_) if of_folder && file.ends_with(".txt") => others.push(file),
            Err(diagnostics) => wrong(vidette_kql::render(&text, &file, &diagnostics))?,
        }
    }
    match others.as_slice() {
        [] => {}
        [file] => say!("warning: {file} is no KQL; left alone"),
        [file, more @ ..] => say!("warning: {file} and {} more are no KQL; left alone", more.len()),
    }
    FUNCTIONS.set(saved).ok();
    Ok(())
}
