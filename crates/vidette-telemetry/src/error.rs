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
}

/// What is said of a file that no reader knows.
const UNKNOWN: &str = "not a format Vidette reads (EVTX, XML, JSON, CSV, Zeek, Parquet; gzip, bzip2, xz, zstd, zip, tar, 7z)";

impl Problem {
    pub(crate) fn unknown(path: &Path) -> Problem {
        Problem::file(path, UNKNOWN)
    }

    /// A log of Zeek's that tells of nothing that is looked for.
    pub(crate) const OTHER_ZEEK_LOG: &str = "a Zeek log Vidette does not read (it reads conn, dns, ssl, quic and http)";

    /// Whether the file is of no format that is read, or a log of another kind: in a folder of all sorts that is no loss.
    pub(crate) fn is_unknown(&self) -> bool {
        self.message == UNKNOWN || self.message == Problem::OTHER_ZEEK_LOG && self.place.is_none()
    }

    /// The file's name; that of a compressed file stands for what is in it.
    pub fn name(&self) -> String {
        self.path.display().to_string().trim_end_matches('!').to_owned()
    }

    pub fn file(path: &Path, message: impl Into<String>) -> Problem {
        Problem { path: path.to_owned(), place: None, message: message.into(), count: 1 }
    }

    pub fn at(path: &Path, place: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.to_owned(), place: Some(place.into()), message: message.into(), count: 1 }
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
