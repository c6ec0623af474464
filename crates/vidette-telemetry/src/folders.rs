//! The files under what a user names.

use crate::error::{Error, Problem};
use crate::formats::STANDARD_INPUT;
use std::path::{Path, PathBuf};

/// The files under the paths, each once, and what could not be walked.
///
/// # Errors
/// When a path does not exist.
pub fn files_under(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<Problem>), Error> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        if path == Path::new(STANDARD_INPUT) {
            files.push(path.clone());
            continue;
        }
        walk(path, &mut files, &mut problems, 0).map_err(|source| Error::Io { path: path.clone(), source })?;
    }
    files.sort();
    files.dedup();
    Ok((files, problems))
}

/// Folders deeper than this are a loop of links.
const DEPTH_LIMIT: usize = 64;

fn walk(path: &Path, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>, depth: usize) -> std::io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH_LIMIT {
        problems.push(Problem::file(path, "folders nested too deep, perhaps a loop of links"));
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let linked_folder = entry.is_symlink() && entry.is_dir();
        if hidden || linked_folder {
            continue;
        }
        if let Err(error) = walk(&entry, files, problems, depth + 1) {
            problems.push(Problem::file(&entry, error.to_string()));
        }
    }
    Ok(())
}
