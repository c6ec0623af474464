//! Analytics rules: from YAML to alerts.
//!
//! A run is a pure function of tables, window and clock; a rule never learns where rows came from.
//!
//! ```
//! let packs = vidette_rules::embedded();
//! let rule = &packs[0].rules[0];
//! assert!(rule.relevant_techniques.contains(&"T1102.002".to_owned()));
//! ```
//!
//! In reading order: [`Rule`] (the file format), [`Pack`] (rules and their data), [`run`] (rows to [`Alert`]s).

mod alert;
mod duration;
mod export;
mod exported;
mod function;
mod guide;
mod markdown;
mod origin;
mod pack;
mod rule;
mod sigma;
mod test_file;
pub mod tuning;
mod yaml;

pub use alert::{Alert, Entity, Outcome, RuleError, alert_of_row, run};
pub use export::{PLATFORMS, Platform, export, standalone};
pub use function::statement;
pub use guide::{Guide, Step, parse_guide};
pub use origin::Origin;
pub use pack::{Pack, embedded, embedded_functions, holds_kql, load, load_functions, watchlist};
pub use rule::{EntityMapping, FieldMapping, HuntingQuery, Kind, Rule, RuleProblem, SeverityLevel, parse_rule};
pub use sigma::{SigmaRule, sigma_rules};
pub use test_file::{Case, Expect, Source, TestFile, parse_tests};
