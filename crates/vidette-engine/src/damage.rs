//! Parts of Parquet files that cannot be read: a query leaves them out, and says which.

use arrow::error::ArrowError;
use datafusion::common::{Result, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::DataFusionError;
use datafusion::object_store::local::LocalFileSystem;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A part of a Parquet file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    pub path: PathBuf,
    /// The row group with its rows, counted from 1; `None` when the file cannot be opened.
    pub place: Option<String>,
    pub message: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.path.display())?;
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// Who is told of damages.
type Listener = Box<dyn Fn(&Damage) + Send + Sync>;

/// Scans of Parquet go on behind what is damaged, when someone is told.
#[derive(Default)]
pub(crate) struct AroundDamage {
    listener: OnceLock<Listener>,
    told: Mutex<BTreeSet<Damage>>,
}

impl fmt::Debug for AroundDamage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AroundDamage")
    }
}

impl AroundDamage {
    /// The first listener stays.
    pub(crate) fn listen(&self, listener: impl Fn(&Damage) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Tells of a damage once, however many queries meet it.
    pub(crate) fn tell(&self, damage: Damage) -> Result<()> {
        let Some(listener) = self.listener.get() else { return exec_err!("{damage}") };
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(damage.clone()) {
            listener(&damage);
        }
        Ok(())
    }
}

/// Whether the error tells of what a file holds, or that it is not there.
pub(crate) fn is_of_file(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(**error, ArrowError::ParquetError(_) | ArrowError::IoError(..)),
        _ => false,
    }
}

/// What the innermost library said.
pub(crate) fn reason(error: &DataFusionError) -> String {
    const LAYERS: [&str; 5] = ["Parquet error: ", "Parquet argument error: ", "Arrow error: ", "Arrow: ", "External: "];
    let told = error.find_root().to_string();
    let mut reason = &told[..];
    while let Some(inner) = LAYERS.iter().find_map(|layer| reason.strip_prefix(layer)) {
        reason = inner;
    }
    reason.to_owned()
}

pub(crate) fn path(file: &PartitionedFile) -> PathBuf {
    let location = &file.object_meta.location;
    LocalFileSystem::new().path_to_filesystem(location).unwrap_or_else(|_| PathBuf::from(location.as_ref()))
}
