//! What is wrong with the data: named by file and place, never a reason to stop.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file, or a part of one, that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub path: PathBuf,
    /// Record number, line or chunk, when the rest of the file was read.
    pub place: Option<String>,
    pub message: String,
    /// How often the same thing was found in the file, from this place on.
    pub count: u64,
    /// Whether the file is of no format that is read, or a log of another kind: in a folder of all sorts that is no loss.
    pub(crate) is_of_other_kind: bool,
}

impl Problem {
    pub(crate) fn unknown(path: &Path) -> Problem {
        let message = "not a format Vidette reads (EVTX, XML, JSON, CSV, Zeek, Parquet; gzip, bzip2, xz, zstd, zip, tar, 7z)";
        Problem { is_of_other_kind: true, ..Problem::file(path, message) }
    }

    /// A log of Zeek's that tells of nothing that is looked for.
    pub(crate) fn other_zeek_log(path: &Path) -> Problem {
        Problem { is_of_other_kind: true, ..Problem::file(path, "a Zeek log Vidette does not read (it reads conn, dns, ssl, quic and http)") }
    }

    /// The file's name; that of a compressed file stands for what is in it.
    pub fn name(&self) -> String {
        self.path.display().to_string().trim_end_matches('!').to_owned()
    }

    pub fn file(path: &Path, message: impl Into<String>) -> Problem {
        Problem { path: path.to_owned(), place: None, message: message.into(), count: 1, is_of_other_kind: false }
    }

    pub fn at(path: &Path, place: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.to_owned(), place: Some(place.into()), message: message.into(), count: 1, is_of_other_kind: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}: {place}: {}", self.name(), self.message),
            None => write!(f, "{}: {}", self.name(), self.message),
        }?;
        if self.count > 1 { write!(f, " (and {} more like it)", self.count - 1) } else { Ok(()) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("rows do not fit into memory and cannot be written to a temporary file: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}
