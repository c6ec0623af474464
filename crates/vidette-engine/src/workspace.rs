//! Tables by name: the binder's catalog and the engine's sources.

use crate::aggregates::AGGREGATES;
use crate::damage::{AroundDamage, Damage};
use crate::external;
use crate::functions;
use crate::local::LocalFiles;
use crate::operators::Planner;
use crate::table::Table;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use vidette_kql::syntax::{FunctionDeclaration, LetValue, Statement};
use vidette_kql::{Catalog, Diagnostic, Feature, Question, Reading, ScalarType, Severity, Watchlist, file_name};

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
    "externaldata",
    "facet",
    "fork",
    "graph-mark-components",
    "graph-match",
    "graph-shortest-paths",
    "graph-to-table",
    "make-graph",
    "make-series",
    "top-nested",
    "parse-kv",
    "partition",
    "sample",
    "sample-distinct",
    "top-hitters",
    "project-by-names",
    "reduce",
    "assert-schema",
    "evaluate",
    "search",
    "scan",
    "find",
];

/// What is known before anything is registered. Of thousands of tables a query names few: each is asked for by its name.
pub trait BuiltIns: Send + Sync {
    /// The names of the known tables.
    fn tables(&self) -> Vec<&'static str>;

    /// The columns of a known table.
    fn columns(&self, table: &str) -> Option<Vec<(String, ScalarType)>>;

    /// A saved function; each time the same.
    fn function(&self, name: &str) -> Option<Arc<FunctionDeclaration>>;

    /// The columns that `invoke name(…)` adds, which are null.
    fn enrichment(&self, name: &str) -> Option<Vec<(String, ScalarType)>>;

    fn watchlist(&self, alias: &str) -> Option<Watchlist>;
}

/// A set of tables that queries run over.
#[derive(Clone)]
pub struct Workspace {
    built_ins: Option<&'static dyn BuiltIns>,
    tables: BTreeMap<String, Table>,
    watchlists: HashMap<String, Watchlist>,
    functions: HashMap<String, Arc<FunctionDeclaration>>,
    external: Option<PathBuf>,
    /// See [`Workspace::date_undated`].
    pub(crate) undated: Option<i64>,
    pub(crate) session: SessionContext,
    damage: Arc<AroundDamage>,
    /// How plans of few rows are run; made when one is.
    pub(crate) of_few_rows: OnceLock<SessionState>,
    /// How windows that stand side by side are run.
    pub(crate) of_windows: OnceLock<SessionState>,
}

/// Footers of files that stay in memory: hunts over a thousand files take as long with a sixth of DataFusion's own limit.
const FOOTER_BYTES: usize = 8 << 20;

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new(None)
    }
}

impl Workspace {
    /// A workspace without tables. Beyond `memory_limit_bytes`, sorts, aggregates and joins spill to disk.
    pub fn new(memory_limit_bytes: Option<usize>) -> Workspace {
        let mut runtime = RuntimeEnvBuilder::new().with_metadata_cache_limit(FOOTER_BYTES);
        if let Some(limit) = memory_limit_bytes {
            runtime = runtime.with_memory_pool(Arc::new(FairSpillPool::new(limit)));
        }
        let mut config = SessionConfig::new().with_information_schema(false);
        // The optimizer may leave an expression nullable that the plan knows to be not null: no reason to refuse a query.
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        config.options_mut().execution.parquet.reorder_filters = true;
        // The footers of many files of a hundred columns, all read before the first row, take hundreds of megabytes and
        // longer than what they tell saves.
        config.options_mut().execution.collect_statistics = false;
        let state = SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(crate::optimizer::rules());
        let damage = Arc::new(AroundDamage::default());
        let state = state.with_physical_optimizer_rules(crate::optimizer::physical_rules(damage.clone())).with_query_planner(Arc::new(Planner));
        let state = match runtime.build_arc() {
            Ok(runtime) => {
                runtime.register_object_store(ObjectStoreUrl::local_filesystem().as_ref(), Arc::new(LocalFiles::default()));
                state.with_runtime_env(runtime)
            }
            Err(_) => state,
        };
        let session = SessionContext::new_with_state(state.build());
        Workspace {
            built_ins: None,
            tables: BTreeMap::new(),
            watchlists: HashMap::new(),
            functions: HashMap::new(),
            external: None,
            undated: None,
            session,
            damage,
            of_few_rows: OnceLock::new(),
            of_windows: OnceLock::new(),
        }
    }

    /// Lets queries name what is known everywhere; what is registered under such a name is taken instead.
    #[must_use]
    pub fn with_built_ins(mut self, built_ins: &'static dyn BuiltIns) -> Workspace {
        self.built_ins = Some(built_ins);
        self
    }

    /// Rows without a time are seen by the windows that do not end before this instant. Without it every window sees them, and a
    /// rule that is replayed over many gives them as often.
    pub fn date_undated(&mut self, ticks: i64) {
        self.undated = Some(ticks);
    }

    /// Lets queries go on where part of a Parquet file cannot be read, and calls the listener once for each such part; the first
    /// listener stays. Of a row group that is damaged, rows before the damage are seen and those behind it are not. Without a
    /// listener such a query fails.
    pub fn on_damage(&self, listener: impl Fn(&Damage) + Send + Sync + 'static) {
        self.damage.listen(listener);
    }

    /// Adds a table, or replaces the one of that name.
    pub fn register(&mut self, name: impl Into<String>, table: Table) {
        self.tables.insert(name.into(), table);
    }

    /// Adds a watchlist for `_GetWatchlist("alias")`.
    pub fn register_watchlist(&mut self, alias: impl Into<String>, watchlist: Watchlist) {
        self.watchlists.insert(alias.into(), watchlist);
    }

    /// Saves the functions that a text defines by `let`, and replaces those of the same names.
    ///
    /// # Errors
    /// The syntax errors of the text, or that it defines no function.
    pub fn register_functions(&mut self, text: &str) -> Result<usize, Vec<Diagnostic>> {
        let (query, diagnostics) = vidette_kql::parse(text);
        if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            return Err(diagnostics);
        }
        let before = self.functions.len();
        for statement in query.statements {
            if let Statement::Let { name, value: LetValue::Function(function) } = statement {
                self.functions.insert(name.node, Arc::new(function));
            }
        }
        Ok(self.functions.len() - before)
    }

    /// The folder with copies of the files that `externaldata` names, each under the last part of its address.
    pub fn set_external_folder(&mut self, folder: impl Into<PathBuf>) {
        self.external = Some(folder.into());
    }

    pub(crate) fn find(&self, name: &str) -> Option<Cow<'_, Table>> {
        let known = || self.built_ins?.columns(name).map(Table::empty).map(Cow::Owned);
        self.tables.get(name).map(Cow::Borrowed).or_else(known)
    }

    /// Whether a table may have rows, as far as is known without reading them.
    pub(crate) fn may_have_rows(&self, table: &str) -> bool {
        match self.tables.get(table) {
            Some(table) => !table.is_schema,
            None => self.built_ins.is_none_or(|built_ins| built_ins.columns(table).is_none()),
        }
    }

    pub fn session(&self) -> &SessionContext {
        &self.session
    }
}

impl Catalog for Workspace {
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        let known = || self.built_ins?.columns(name);
        self.tables.get(name).map(|table| table.columns.clone()).or_else(known)
    }

    fn table_names(&self) -> Vec<String> {
        let known = self.built_ins.iter().flat_map(|built_ins| built_ins.tables());
        let names: BTreeSet<&str> = self.tables.keys().map(String::as_str).chain(known).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    fn watchlist(&self, alias: &str) -> Option<Watchlist> {
        self.watchlists.get(alias).cloned().or_else(|| self.built_ins?.watchlist(alias))
    }

    fn function(&self, name: &str) -> Option<Arc<FunctionDeclaration>> {
        self.functions.get(name).cloned().or_else(|| self.built_ins?.function(name))
    }

    fn enrichment(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        self.built_ins?.enrichment(name)
    }

    fn external(&self, location: &str, reading: &Reading) -> Result<Option<Vec<Vec<String>>>, String> {
        let path = self.external.as_ref().map(|folder| folder.join(file_name(location)));
        path.filter(|path| path.exists()).map(|path| external::read(&path, reading)).transpose()
    }

    fn filled_tables(&self) -> Option<Vec<String>> {
        Some(self.tables.iter().filter(|(_, table)| !table.is_schema).map(|(name, _)| name.clone()).collect())
    }

    fn known_columns(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(String, ScalarType)> {
        let mut order: Vec<String> = Vec::new();
        let mut types: HashMap<String, Vec<(ScalarType, usize)>> = HashMap::new();
        for (name, ty) in self.table_names().iter().filter_map(|table| self.table(table)).flatten().filter(|(name, _)| wanted(name)) {
            let known = types.entry(name).or_insert_with_key(|name| {
                order.push(name.clone());
                Vec::new()
            });
            match known.iter_mut().find(|(known, _)| *known == ty) {
                Some((_, tables)) => *tables += 1,
                None => known.push((ty, 1)),
            }
        }
        // Of two types that are as common the one that came first.
        let most = |name: String| types[&name].iter().rev().max_by_key(|(_, tables)| *tables).map(|(ty, _)| (name, *ty));
        order.into_iter().filter_map(most).collect()
    }

    fn runs(&self, feature: Feature, name: &str) -> bool {
        match feature {
            Feature::ScalarFunction => functions::runs(name),
            Feature::Aggregate => AGGREGATES.contains(&name),
            Feature::Operator => OPERATORS.contains(&name),
            Feature::Plugin => matches!(name, "bag_unpack" | "pivot" | "preview") || crate::passes::find(name).is_some(),
        }
    }
}

/// A catalog for judging queries: tables without rows, and the whole language.
pub struct Checker<'a> {
    workspace: &'a Workspace,
    open: Cell<bool>,
    everything: Cell<bool>,
    filled: Option<Vec<String>>,
}

impl<'a> Checker<'a> {
    pub fn new(workspace: &'a Workspace) -> Checker<'a> {
        Checker { workspace, open: Cell::new(false), everything: Cell::new(false), filled: None }
    }

    /// As if these tables, and no others, had rows.
    #[must_use]
    pub fn with_filled(mut self, tables: Vec<String>) -> Checker<'a> {
        self.filled = Some(tables);
        self
    }

    /// Whether a query so far reads every table that has rows, as `union *` and `search` do.
    pub fn reads_everything(&self) -> bool {
        self.everything.get()
    }

    /// Whether a query so far depends on what only rows can tell, as the columns of `bag_unpack`: what was bound is then not all of it.
    pub fn is_open(&self) -> bool {
        self.open.get()
    }
}

impl Catalog for Checker<'_> {
    fn beneath(&self) -> Option<&dyn Catalog> {
        Some(self.workspace)
    }

    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        self.workspace.table(name)
    }

    fn table_names(&self) -> Vec<String> {
        self.workspace.table_names()
    }

    fn external(&self, _: &str, _: &Reading) -> Result<Option<Vec<Vec<String>>>, String> {
        Ok(None)
    }

    fn filled_tables(&self) -> Option<Vec<String>> {
        self.everything.set(true);
        self.filled.clone()
    }

    fn ask(&self, _: usize, _: &Question) -> Option<Vec<(String, ScalarType)>> {
        self.open.set(true);
        None
    }

    fn lacks(&self, _: &str) -> bool {
        // A file may be the table: then its columns are those of its rows.
        self.open.set(true);
        false
    }

    fn runs(&self, _: Feature, _: &str) -> bool {
        true
    }
}

/// The workspace with answers to the questions that only rows can answer.
pub(crate) struct Answering<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) answers: Vec<Option<Vec<(String, ScalarType)>>>,
    /// The first question without an answer.
    pub(crate) open: RefCell<Option<Question>>,
}

impl Catalog for Answering<'_> {
    fn beneath(&self) -> Option<&dyn Catalog> {
        Some(self.workspace)
    }

    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        self.workspace.table(name)
    }

    fn table_names(&self) -> Vec<String> {
        self.workspace.table_names()
    }

    fn ask(&self, number: usize, question: &Question) -> Option<Vec<(String, ScalarType)>> {
        self.answers.get(number).cloned().unwrap_or_else(|| {
            self.open.borrow_mut().get_or_insert_with(|| question.clone());
            None
        })
    }

    fn runs(&self, feature: Feature, name: &str) -> bool {
        self.workspace.runs(feature, name)
    }
}
