//! What the binder asks of the outside: which tables there are, and what the engine can run.

use crate::types::ScalarType;

/// Which list of the language a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    ScalarFunction,
    Aggregate,
    Plugin,
    Operator,
}

/// Tables by name, and the engine's support of the language. See DataFusion's `ContextProvider` for the idea.
pub trait Catalog {
    /// Columns in order, or `None` when there is no such table.
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>>;

    fn table_names(&self) -> Vec<String>;

    /// The rows of a watchlist, when it is known: columns and values as text.
    fn watchlist(&self, _alias: &str) -> Option<Watchlist> {
        None
    }

    /// Whether the engine can run this part of the language; otherwise the binder refuses it with `VD001`.
    fn runs(&self, feature: Feature, name: &str) -> bool;
}

/// A watchlist: Kusto sees every column as a string.
#[derive(Clone, Debug, Default)]
pub struct Watchlist {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}
