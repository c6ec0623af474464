//! Syntax to bound query: names resolved, types known, coercions written out.
//!
//! The binder never fails. It reports all it can and stays silent about what merely follows from another error.

mod aggregates;
mod arguments;
pub(crate) mod expressions;
mod functions;
mod guessed;
pub(crate) mod naming;
mod operators;
mod patterns;
mod signatures;
mod special_forms;
pub(crate) mod statements;
pub(crate) mod tables;
mod tuples;

use crate::bound::{Aggregate, Column, ColumnId, Expr, Plan, Query, Render, Subquery};
use crate::catalog::{Catalog, Feature, Question, QuestionKind};
use crate::diagnostics::{Diagnostic, Severity, codes};
use crate::never::why_never;
use crate::operators::GraphScope;
use crate::span::Span;
use crate::syntax::{self, FunctionDeclaration};
use crate::types::ScalarType;
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) use expressions::is_broken;
pub use functions::canonical;
pub(crate) use functions::reads_row;
pub use signatures::{AGGREGATES, PLUGINS, SCALAR_FUNCTIONS};
pub(crate) use signatures::{Argument, Parameter};

/// Binds a parsed query: one bound query per tabular statement. With any error diagnostic the queries must not run.
///
/// A table whose columns nobody knows has those that the query asks of it: such a query is bound again, with them.
pub fn bind<'a>(query: &'a syntax::Query, catalog: &'a dyn Catalog) -> (Vec<Query>, Vec<Diagnostic>) {
    let errors = |diagnostics: &[Diagnostic]| diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let (mut queries, mut diagnostics, mut open) = bind_once(query, catalog, OpenTables::default());
    // An operator may show what it asks for one name after the other.
    for _ in 0..MOST_BINDINGS {
        let Some(promised) = open.promises() else { break };
        let again = bind_once(query, catalog, OpenTables { promised, ..OpenTables::default() });
        // Nothing follows from a column that nobody knows: if an error does, it stays unbound.
        if errors(&again.1) > errors(&diagnostics) {
            break;
        }
        (queries, diagnostics, open) = again;
    }
    (queries, diagnostics)
}

/// How often a query with open tables is bound again.
const MOST_BINDINGS: usize = 4;

fn bind_once<'a>(query: &'a syntax::Query, catalog: &'a dyn Catalog, open_tables: OpenTables) -> (Vec<Query>, Vec<Diagnostic>, OpenTables) {
    let mut binder = Binder {
        catalog,
        diagnostics: Vec::new(),
        next_column: 0,
        numbered: 0,
        subqueries: Vec::new(),
        environment: None,
        row: RowScope::default(),
        group: None,
        render: None,
        call_depth: 0,
        aggregates: None,
        scalar_depth: 0,
        questions: 0,
        open: None,
        open_tables,
        fuzzy: false,
        declared: Vec::new(),
        in_order: None,
        settings: Vec::new(),
        graph: None,
        more: Vec::new(),
        words: &query.words,
    };
    let queries = binder.bind_statements(query);
    binder.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    binder.diagnostics.dedup_by(|later, kept| {
        let same = later.span == kept.span && later.code == kept.code;
        if same && later.severity == Severity::Error {
            std::mem::swap(later, kept);
        }
        same
    });
    (queries, binder.diagnostics, binder.open_tables)
}

/// Tables whose columns nobody knows, in the order of binding.
#[derive(Default)]
struct OpenTables {
    /// By table, the columns that the query asks of it.
    asked: Vec<Vec<String>>,
    /// What it asked when it was bound before.
    promised: Vec<Vec<String>>,
    /// The columns that were promised.
    columns: HashSet<ColumnId>,
}

impl OpenTables {
    /// By table, what was asked so far; `None` when all of it was promised before.
    fn promises(mut self) -> Option<Vec<Vec<String>>> {
        self.promised.resize_with(self.asked.len().max(self.promised.len()), Vec::new);
        let mut more = false;
        for (promised, asked) in self.promised.iter_mut().zip(self.asked) {
            // What is asked in spite of a promise was projected away.
            let new: Vec<String> = asked.into_iter().filter(|name| !promised.contains(name)).collect();
            more |= !new.is_empty();
            promised.extend(new);
        }
        more.then_some(self.promised)
    }
}

pub(crate) struct Binder<'a> {
    pub(crate) catalog: &'a dyn Catalog,
    diagnostics: Vec<Diagnostic>,
    next_column: u32,
    /// Columns without a name so far, in all operators of the query.
    pub(crate) numbered: usize,
    pub(crate) subqueries: Vec<Subquery>,
    environment: Environment,
    pub(crate) row: RowScope,
    /// Inside the subquery of `mv-apply`: the columns every operator must keep, and group by.
    pub(crate) group: Option<GroupContext>,
    pub(crate) render: Option<Render>,
    call_depth: usize,
    /// While a `summarize` expression is bound: the aggregates found in it.
    pub(crate) aggregates: Option<Vec<(Column, Aggregate)>>,
    scalar_depth: usize,
    /// Questions asked so far.
    questions: usize,
    /// The rows have columns of this open table: an unknown name may be one of them.
    pub(crate) open: Option<usize>,
    open_tables: OpenTables,
    /// In a leg of a fuzzy union: a table that nobody knows is no error.
    pub(crate) fuzzy: bool,
    /// The names that `let` gave in these statements.
    pub(crate) declared: Vec<String>,
    /// Whether the rows of the operator that is bound are in an order that Kusto knows of; `None` where that is not told.
    pub(crate) in_order: Option<bool>,
    /// What `set` statements set, by name.
    pub(crate) settings: Vec<(String, Expr)>,
    /// In the expressions of `graph-match`: its pattern.
    pub(crate) graph: Option<GraphScope>,
    /// Results of the statement after its first: those of `fork`, `facet`, `graph-to-table`.
    pub(crate) more: Vec<Relation>,
    /// See [`syntax::Query::words`].
    words: &'a HashSet<String>,
}

/// A tabular value: a plan and the columns it shows.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) plan: Plan,
    pub(crate) columns: Vec<Column>,
}

/// The columns a scalar expression may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowScope {
    pub(crate) columns: Vec<Column>,
    /// In `scan`: the columns of each step's state, by the step's name.
    pub(crate) steps: Vec<(String, Vec<Column>)>,
    /// In a join's `on`: the columns of `$left` and `$right`.
    pub(crate) sides: Option<(Vec<Column>, Vec<Column>)>,
    /// No row at all: constants only (`let`, `print`).
    pub(crate) table_name: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct GroupContext {
    pub(crate) row_id: Column,
    pub(crate) carried: Vec<Column>,
}

/// `let` names, innermost first.
pub(crate) type Environment = Option<Arc<Scope>>;

pub(crate) struct Scope {
    name: String,
    binding: Binding,
    outer: Environment,
}

impl Drop for Scope {
    /// Unlinks the chain in a loop: thousands of `let`s must not recurse.
    fn drop(&mut self) {
        let mut next = self.outer.take();
        while let Some(scope) = next {
            match Arc::try_unwrap(scope) {
                Ok(mut scope) => next = scope.outer.take(),
                Err(_) => break,
            }
        }
    }
}

#[derive(Clone)]
pub(crate) enum Binding {
    Scalar(Expr),
    /// The last tells whether the rows have columns that are not known.
    Tabular(Arc<Plan>, Vec<Column>, Option<usize>),
    Function(Arc<FunctionDeclaration>, Environment),
    Pattern(Arc<syntax::Pattern>, Environment),
    /// Bound with errors that are already reported.
    Broken,
}

/// What an expression turned out to be.
pub(crate) enum Bound {
    Scalar(Expr),
    Tabular(Relation),
    /// A diagnostic has been reported.
    Broken,
}

impl Binder<'_> {
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn diagnostic_count(&self) -> usize {
        self.diagnostics.len()
    }

    /// Takes back what was reported after the first `count`.
    pub(crate) fn forget_diagnostics(&mut self, count: usize) {
        self.diagnostics.truncate(count);
    }

    pub(crate) fn error(&mut self, code: &'static str, message: impl Into<String>, span: Span, label: impl Into<String>) {
        self.report(Diagnostic::semantic(code, message, span).label(label));
    }

    /// Refuses valid KQL that Vidette does not run yet.
    pub(crate) fn refuse(&mut self, what: &str, span: Span) {
        self.error(codes::NOT_SUPPORTED, format!("{what} is valid KQL that Vidette does not run yet"), span, "not supported yet");
    }

    /// The same of something that has a name, with the reason if it will never run.
    pub(crate) fn refuse_named(&mut self, kind: &str, name: &str, span: Span) {
        match why_never(name) {
            Some(why) => self.error(codes::NOT_SUPPORTED, format!("the {kind} `{name}` does not run in Vidette: {why}"), span, "refused"),
            None => self.refuse(&format!("the {kind} `{name}`"), span),
        }
    }

    /// Refuses an operator that the engine does not run; a checker's catalog runs everything.
    pub(crate) fn require_operator(&mut self, name: &str, span: Span) -> bool {
        let runs = self.catalog.runs(Feature::Operator, name);
        if !runs {
            self.refuse_named("operator", name, span);
        }
        runs
    }

    pub(crate) fn column(&mut self, name: impl Into<String>, ty: ScalarType) -> Column {
        self.next_column += 1;
        Column { id: ColumnId(self.next_column), name: name.into(), ty }
    }

    /// `Column1`, `Column2` …: the names of columns that have none, counted over the whole query.
    pub(crate) fn numbered(&mut self) -> String {
        self.numbered += 1;
        format!("Column{}", self.numbered)
    }

    /// The name of a column of a result: what the expression says or is, or a number.
    pub(crate) fn column_name(&mut self, names: &mut naming::Names, expr: &syntax::Expr, name: Option<String>) -> Option<String> {
        let Some(name) = name else {
            let name = self.numbered();
            return Some(names.unique(&name));
        };
        if !matches!(expr.kind, syntax::ExprKind::Name(_) | syntax::ExprKind::Named { .. }) {
            return Some(names.unique(&name));
        }
        let declared = names.declare(&name);
        if declared.is_none() {
            self.declared_twice(&name, expr.span);
        }
        declared
    }

    pub(crate) fn declared_twice(&mut self, name: &str, span: Span) {
        self.error(codes::DUPLICATE_COLUMN, format!("a column with the name `{name}` is already declared"), span, "declared twice");
    }

    pub(crate) fn define(&mut self, name: &str, binding: Binding) {
        let outer = self.environment.take();
        self.environment = Some(Arc::new(Scope { name: name.to_owned(), binding, outer }));
    }

    /// Runs `bind` with one more name.
    pub(crate) fn with_defined<T>(&mut self, name: &str, binding: Binding, bind: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.environment.clone();
        self.define(name, binding);
        let result = bind(self);
        self.environment = outer;
        result
    }

    /// What a name of the query means, or of a saved function.
    pub(crate) fn lookup(&self, name: &str) -> Option<Binding> {
        let mut scope = &self.environment;
        while let Some(inner) = scope {
            if inner.name == name {
                return Some(inner.binding.clone());
            }
            scope = &inner.outer;
        }
        self.catalog.function(name).map(|function| Binding::Function(function, None))
    }

    pub(crate) fn names_in_scope(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut scope = &self.environment;
        while let Some(inner) = scope {
            names.push(inner.name.clone());
            scope = &inner.outer;
        }
        names
    }

    /// Runs `bind` with other columns in scope.
    pub(crate) fn with_row<T>(&mut self, columns: &[Column], bind: impl FnOnce(&mut Self) -> T) -> T {
        let row = RowScope { columns: columns.to_vec(), steps: self.row.steps.clone(), sides: None, table_name: self.row.table_name.clone() };
        let outer = std::mem::replace(&mut self.row, row);
        let result = bind(self);
        self.row = outer;
        result
    }

    /// A fresh view of a tabular value, so that it can be used more than once in a query.
    pub(crate) fn reference(&mut self, plan: &Arc<Plan>, columns: &[Column]) -> Relation {
        if let Plan::Graph(graph) = plan.as_ref() {
            return Relation { plan: Plan::Graph(graph.clone()), columns: columns.to_vec() };
        }
        let renamed: Vec<(Column, ColumnId)> = columns.iter().map(|old| (self.column(old.name.clone(), old.ty), old.id)).collect();
        let columns = renamed.iter().map(|(new, _)| new.clone()).collect();
        Relation { plan: Plan::Reference { plan: plan.clone(), columns: renamed, once: false }, columns }
    }

    /// The rows as every use of them sees them.
    pub(crate) fn once(&mut self, relation: Relation) -> Relation {
        let mut relation = self.reference(&Arc::new(relation.plan), &relation.columns);
        if let Plan::Reference { once, .. } = &mut relation.plan {
            *once = true;
        }
        relation
    }

    /// Binds what has rows of its own; also the open table whose columns these have.
    pub(crate) fn apart<T>(&mut self, bind: impl FnOnce(&mut Self) -> T) -> (T, Option<usize>) {
        let outer = self.open.take();
        let bound = bind(self);
        (bound, std::mem::replace(&mut self.open, outer))
    }

    /// As [`Binder::apart`]; the rows become a part of those that are bound here.
    pub(crate) fn joining<T>(&mut self, bind: impl FnOnce(&mut Self) -> T) -> T {
        let (bound, open) = self.apart(bind);
        self.open = self.open.or(open);
        bound
    }

    /// Asks the catalog for what only the rows of `column` can tell.
    pub(crate) fn ask(&mut self, plan: Plan, column: Column, kind: QuestionKind) -> Option<Vec<(String, ScalarType)>> {
        let number = self.questions;
        self.questions += 1;
        let query = Query { plan, columns: vec![column], render: None, subqueries: self.subqueries.clone(), guessed: HashSet::new() };
        self.catalog.ask(number, &Question { query, kind })
    }

    /// From here on the rows have columns that are not known: those that the query asks for.
    pub(crate) fn open_up(&mut self) -> Vec<Column> {
        let number = self.open_tables.asked.len();
        self.open = Some(number);
        self.open_tables.asked.push(Vec::new());
        let names = self.open_tables.promised.get(number).cloned().unwrap_or_default();
        let columns: Vec<Column> = names.into_iter().map(|name| self.column(name, ScalarType::Dynamic)).collect();
        self.open_tables.columns.extend(columns.iter().map(|column| column.id));
        columns
    }

    /// The columns of relations that come from an open table: no row tells their type.
    pub(crate) fn guessed<'a>(&self, relations: impl Iterator<Item = &'a Relation>) -> HashSet<ColumnId> {
        if self.open_tables.columns.is_empty() {
            return HashSet::new();
        }
        relations.flat_map(|relation| guessed::columns(&relation.plan, &self.open_tables.columns)).collect()
    }

    /// Notes a name that may be a column of the open table.
    pub(crate) fn ask_for(&mut self, name: &str) {
        if let Some(asked) = self.open.and_then(|number| self.open_tables.asked.get_mut(number))
            && !asked.iter().any(|known| known == name)
        {
            asked.push(name.to_owned());
        }
    }

    /// The results of an operator that has several: the first goes on, the others end here.
    pub(crate) fn several(&mut self, results: Vec<Relation>) -> Option<Relation> {
        let mut results = results.into_iter();
        let first = results.next();
        self.more.extend(results);
        first
    }

    /// An empty relation, for what could not be bound.
    pub(crate) fn nothing(&mut self) -> Relation {
        Relation { plan: Plan::Values { columns: Vec::new(), rows: Vec::new() }, columns: Vec::new() }
    }

    /// A projection over `input` that shows `columns`; in a grouped subquery the carried columns stay below.
    pub(crate) fn project(&mut self, input: Relation, mut columns: Vec<(Column, Expr)>) -> Relation {
        let shown = columns.iter().map(|(column, _)| column.clone()).collect::<Vec<_>>();
        if let Some(group) = &self.group {
            for carried in group.carried.iter().chain([&group.row_id]) {
                if !columns.iter().any(|(column, _)| column.id == carried.id) {
                    columns.push((carried.clone(), Expr::column(carried)));
                }
            }
        }
        Relation { plan: Plan::Project { input: Box::new(input.plan), columns }, columns: shown }
    }
}
