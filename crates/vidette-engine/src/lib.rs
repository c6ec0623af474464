//! Runs bound KQL queries on Apache DataFusion.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), vidette_engine::Error> {
//! use vidette_engine::{Clock, Workspace};
//!
//! let workspace = Workspace::default();
//! let result = workspace.query("print x = strlen('abc')", Clock::now()).await?;
//! assert_eq!(result.tables[0].rows()[0][0], serde_json::json!(3));
//! # Ok(()) }
//! ```
//!
//! In reading order: [`Workspace`] (tables by name), `lower` and `operators` (bound query to `LogicalPlan`),
//! `functions` and `aggregates` (the language's library), `run` (execution), [`ResultTable`] (rows out). Beside it,
//! [`Sieve`]: which rows a query may see, told before there are any.

mod aggregates;
mod arrow_types;
mod beside;
mod bounds;
mod cells;
mod damage;
mod decimal;
mod external;
mod files;
mod functions;
mod in_order;
mod json;
mod local;
mod lower;
mod nested;
mod operators;
mod optimizer;
mod passes;
mod probe;
mod result;
mod run;
mod scan;
mod scan_rules;
mod sieve;
mod slices;
mod table;
mod weights;
mod workspace;

pub use arrow_types::arrow_type;
pub use beside::side_by_side;
pub use damage::Damage;
pub use files::{Spans, TIMES, TimedBatches, TimedFile, TimedFiles};
pub use functions::{aggregate_function, function, use_geoip};
pub use result::{QueryResult, ResultTable, Rows};
pub use run::{Clock, Error, Prepared};
pub use sieve::Sieve;
pub use table::Table;
pub use workspace::{BuiltIns, Checker, Workspace};
