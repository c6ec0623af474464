//! Sigma rules to KQL: detection rules, correlations and filters of the Sigma specification 2, over the tables that Vidette
//! fills. Parsing is rsigma-parser's; which table and column a log source and its fields are is `data/logsources.txt`.
//!
//! ```
//! let mut rules = vidette_sigma::Rules::default();
//! rules.add("r.yml", "title: T\nlogsource: {product: windows, category: process_creation}\ndetection: {s: {Image|endswith: '\\whoami.exe'}, condition: s}");
//! let compiled = rules.compile(&|_| None);
//! assert!(compiled[0].queries[0].text.contains(r#"Image endswith @"\whoami.exe""#));
//! ```
//!
//! In reading order: [`Rules`] (files to rules), `source` (log sources), `detection` (conditions to predicates), [`Gate`] (what
//! can be told without the query), `needs` (texts that a regular expression cannot do without), `correlation`.

mod correlation;
mod detection;
mod gate;
mod needs;
mod rules;
mod source;
mod text;

pub use gate::{Gate, Match, NEARLY_ASCII, Test, Truth};
pub use rules::{Compiled, Problem, Query, Rules};
pub use source::{Choice, Origin};
