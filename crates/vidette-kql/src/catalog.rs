//! What the binder asks of the outside: which tables there are, and what the engine can run.

use crate::bound::Query;
use crate::syntax::FunctionDeclaration;
use crate::types::ScalarType;
use std::sync::Arc;

/// Which list of the language a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    ScalarFunction,
    Aggregate,
    Plugin,
    Operator,
}

/// How `externaldata` reads a file.
#[derive(Clone, Debug)]
pub struct Reading {
    pub format: Option<String>,
    pub columns: Vec<String>,
    /// Where in a JSON record each column is: `[{"Column": …, "Properties": {"Path": …}}]`. A column it leaves out is
    /// under its name.
    pub mapping: Option<String>,
}

/// The name that a copy of a file of `externaldata` has: the last part of its address.
pub fn file_name(location: &str) -> &str {
    let address = location.split(['?', '#', ';']).next().unwrap_or(location);
    address.trim_end_matches('/').rsplit('/').next().unwrap_or(address)
}

/// Tables by name, and the engine's support of the language. See DataFusion's `ContextProvider` for the idea.
pub trait Catalog {
    /// The catalog that answers what this one does not answer itself.
    fn beneath(&self) -> Option<&dyn Catalog> {
        None
    }

    /// Columns in order, or `None` when there is no such table.
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>>;

    fn table_names(&self) -> Vec<String>;

    /// The rows of a watchlist, when it is known: columns and values as text.
    fn watchlist(&self, alias: &str) -> Option<Watchlist> {
        self.beneath()?.watchlist(alias)
    }

    /// A saved function: its parameters and body, which sees no name of the query that calls it.
    fn function(&self, name: &str) -> Option<Arc<FunctionDeclaration>> {
        self.beneath()?.function(name)
    }

    /// The columns that a function of the platform adds to the rows it is invoked on.
    fn enrichment(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        self.beneath()?.enrichment(name)
    }

    /// The records of a file that `externaldata` names, as texts; `None` when nobody gave a copy of it.
    ///
    /// # Errors
    /// What is wrong with the file.
    fn external(&self, location: &str, reading: &Reading) -> Result<Option<Vec<Vec<String>>>, String> {
        self.beneath().map_or(Ok(None), |beneath| beneath.external(location, reading))
    }

    /// The tables that have rows, as far as the workspace knows; `None` when there are only schemas.
    fn filled_tables(&self) -> Option<Vec<String>> {
        self.beneath()?.filled_tables()
    }

    /// Every column of the known tables that is `wanted`, with the type that most of them give it, in the order of the tables.
    fn known_columns(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(String, ScalarType)> {
        self.beneath().map_or_else(Vec::new, |beneath| beneath.known_columns(wanted))
    }

    /// The answer to what only the rows can tell; questions are numbered in the order of binding. Without an answer the
    /// binder leaves the query open, without a diagnostic.
    fn ask(&self, number: usize, question: &Question) -> Option<Vec<(String, ScalarType)>> {
        self.beneath()?.ask(number, question)
    }

    /// Whether it is worth a warning that there is no table of this name, which is another service's: files may bring it.
    fn lacks(&self, table: &str) -> bool {
        self.beneath().is_none_or(|beneath| beneath.lacks(table))
    }

    /// Whether the engine can run this part of the language; otherwise the binder refuses it with `VD001`.
    fn runs(&self, feature: Feature, name: &str) -> bool;
}

/// A schema that depends on rows, as that of `bag_unpack`.
#[derive(Clone, Debug)]
pub struct Question {
    /// A query of one column.
    pub query: Query,
    pub kind: QuestionKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// The properties of a column of bags, in the order of their names, each with the type of its values.
    Properties,
    /// The distinct values of a column as texts, sorted.
    Values,
}

/// A watchlist: Kusto sees every column as a string.
#[derive(Clone, Debug, Default)]
pub struct Watchlist {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}
