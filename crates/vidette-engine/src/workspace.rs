//! Tables by name: the binder's catalog and the engine's sources.

use crate::aggregates::AGGREGATES;
use crate::functions;
use crate::table::Table;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vidette_kql::{Catalog, Feature, ScalarType, Watchlist};

/// Operators of the language that the engine runs.
const OPERATORS: &[&str] = &[
    "where",
    "extend",
    "project",
    "project-away",
    "project-keep",
    "project-rename",
    "project-reorder",
    "distinct",
    "count",
    "take",
    "sort",
    "top",
    "summarize",
    "join",
    "lookup",
    "union",
    "mv-expand",
    "mv-apply",
    "parse",
    "parse-where",
    "print",
    "range",
    "render",
    "serialize",
    "as",
    "consume",
    "getschema",
    "invoke",
    "datatable",
    "make-series",
    "parse-kv",
    "partition",
    "sample",
    "sample-distinct",
    "top-hitters",
    "project-by-names",
    "assert-schema",
];

/// A set of tables that queries run over.
pub struct Workspace {
    tables: BTreeMap<String, Table>,
    watchlists: HashMap<String, Watchlist>,
    pub(crate) session: SessionContext,
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new(None)
    }
}

impl Workspace {
    /// A workspace without tables. Beyond `memory_limit_bytes`, sorts, aggregates and joins spill to disk.
    pub fn new(memory_limit_bytes: Option<usize>) -> Workspace {
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(limit) = memory_limit_bytes {
            runtime = runtime.with_memory_pool(Arc::new(FairSpillPool::new(limit)));
        }
        let config = SessionConfig::new().with_information_schema(false);
        let session = match runtime.build_arc() {
            Ok(runtime) => SessionContext::new_with_config_rt(config, runtime),
            Err(_) => SessionContext::new_with_config(config),
        };
        Workspace { tables: BTreeMap::new(), watchlists: HashMap::new(), session }
    }

    /// Adds a table, or replaces the one of that name.
    pub fn register(&mut self, name: impl Into<String>, table: Table) {
        self.tables.insert(name.into(), table);
    }

    /// Adds a watchlist for `_GetWatchlist("alias")`.
    pub fn register_watchlist(&mut self, alias: impl Into<String>, watchlist: Watchlist) {
        self.watchlists.insert(alias.into(), watchlist);
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub fn session(&self) -> &SessionContext {
        &self.session
    }
}

impl Catalog for Workspace {
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        self.tables.get(name).map(|table| table.columns.clone())
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    fn watchlist(&self, alias: &str) -> Option<Watchlist> {
        self.watchlists.get(alias).cloned()
    }

    fn runs(&self, feature: Feature, name: &str) -> bool {
        match feature {
            Feature::ScalarFunction => functions::runs(name),
            Feature::Aggregate => AGGREGATES.contains(&name),
            Feature::Operator => OPERATORS.contains(&name),
            Feature::Plugin => false,
        }
    }
}

/// A catalog for judging queries: tables without rows, and the whole language.
pub struct Checker<'a>(pub &'a Workspace);

impl Catalog for Checker<'_> {
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        self.0.table(name)
    }

    fn table_names(&self) -> Vec<String> {
        self.0.table_names()
    }

    fn runs(&self, _: Feature, _: &str) -> bool {
        true
    }
}
