//! KQL's front end: text to tokens, syntax and a bound query, with Kusto's types, names and diagnostics.
//!
//! It knows nothing of files, DataFusion, async code or the clock, so it also serves editors and checkers.
//!
//! ```
//! use vidette_kql::{Catalog, Feature, ScalarType, compile};
//!
//! struct Tables;
//! impl Catalog for Tables {
//!     fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
//!         (name == "T").then(|| vec![("x".to_owned(), ScalarType::Long)])
//!     }
//!     fn table_names(&self) -> Vec<String> {
//!         vec!["T".to_owned()]
//!     }
//!     fn runs(&self, _: Feature, _: &str) -> bool {
//!         true
//!     }
//! }
//!
//! let (queries, diagnostics) = compile("T | summarize count() by x", &Tables);
//! assert!(diagnostics.is_empty());
//! let columns: Vec<_> = queries[0].columns.iter().map(|column| column.name.as_str()).collect();
//! assert_eq!(columns, ["x", "count_"]);
//! ```
//!
//! In reading order: [`span`], [`types`], `lexer`, `keywords`, [`syntax`], `parser`, `operators`, [`catalog`], [`bound`],
//! `binder`, [`diagnostics`]; [`time`], [`literals`], [`regexes`] and [`mod@fold`] read and write values.

mod binder;
pub mod bound;
pub mod catalog;
pub mod diagnostics;
pub mod fold;
mod keywords;
mod lexer;
pub mod literals;
pub mod needs;
mod never;
mod operators;
mod paragraphs;
mod parser;
pub mod regexes;
pub mod span;
pub mod syntax;
pub mod time;
pub mod types;

pub use binder::{AGGREGATES, PLUGINS, SCALAR_FUNCTIONS, bind, canonical};
pub use catalog::{Catalog, Feature, Question, QuestionKind, Reading, Watchlist, file_name};
pub use diagnostics::codes::{NO_FILE, NO_TABLE, NO_WATCHLIST, NOT_SUPPORTED};
pub use diagnostics::{Diagnostic, Fix, Kind, Severity, errors, line_and_column, render};
pub use lexer::lex;
pub use never::why_never;
pub use operators::OPERATORS;
pub use paragraphs::queries_in;
pub use parser::parse;
pub use span::Span;
pub use types::{ScalarType, Value};

/// Whether the last statement of a text is a query rather than a declaration.
pub fn ends_in_query(source: &str) -> bool {
    matches!(parse(source).0.statements.last(), Some(syntax::Statement::Expression(_)))
}

/// Parses and binds a query text: one bound query per tabular statement, and all diagnostics of both stages.
///
/// With a syntax error nothing is bound. With any error the queries must not run.
pub fn compile(source: &str, catalog: &dyn Catalog) -> (Vec<bound::Query>, Vec<Diagnostic>) {
    let (syntax, diagnostics) = parse(source);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return (Vec::new(), diagnostics);
    }
    let (queries, found) = bind(&syntax, catalog);
    let diagnostics = diagnostics.into_iter().chain(found).collect();
    (queries, diagnostics)
}
