//! What a bound query reads, before there are rows: tables, their columns, and which values of `ActionType` can matter.

use crate::bound::{Column, ColumnId, Expr, ExprKind, JoinKind, Plan, Query};
use crate::types::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Values of `ActionType`, in any case; `None` is any value.
pub type Actions = Option<BTreeSet<String>>;

/// What is read of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    pub actions: Actions,
    pub columns: BTreeSet<String>,
}

/// Adds the tables of the query to `needs`, each with the actions that no filter right above it drops.
pub fn needs(query: &Query, needs: &mut BTreeMap<String, Need>) {
    let subqueries = query.subqueries.iter().map(|subquery| (&subquery.plan, std::slice::from_ref(&subquery.column)));
    for (plan, result) in subqueries.chain([(&query.plan, query.columns.as_slice())]) {
        let used = used_columns(plan, result);
        // Of a graph, the columns of edges and nodes are taken to be read, whoever asks for them.
        let mut waiting: Vec<(&Plan, Vec<&Expr>, bool)> = vec![(plan, Vec::new(), false)];
        while let Some((plan, filters, whole)) = waiting.pop() {
            match plan {
                Plan::Table { name, columns } => {
                    let read = columns.iter().filter(|column| whole || used.contains(column.id)).map(|column| column.name.clone());
                    note(needs, name, Need { actions: actions(columns, &filters), columns: read.collect() });
                }
                Plan::Filter { input, predicate } if !predicate.reads_neighbours() => waiting.push((input, filters.into_iter().chain([predicate]).collect(), whole)),
                // Ids are of one column only, so a filter still says the same below what adds or sorts columns.
                Plan::Project { input, columns } if !columns.iter().any(|(_, expr)| expr.reads_neighbours()) => waiting.push((input, filters, whole)),
                Plan::Sort { input, .. } => waiting.push((input, filters, whole)),
                Plan::Graph(graph) => waiting.extend([(&*graph.edges, Vec::new(), true), (&*graph.nodes, Vec::new(), true)]),
                other => waiting.extend(other.inputs().into_iter().map(|input| (input, Vec::new(), whole))),
            }
        }
    }
}

/// What is read of the rows of a plan.
#[derive(Clone, Debug, Default)]
pub struct Used {
    columns: HashSet<ColumnId>,
    /// What is read of the columns of captures that `parse` and its kind make.
    captures: BTreeSet<(ColumnId, i64)>,
}

impl Used {
    pub fn contains(&self, column: ColumnId) -> bool {
        self.columns.contains(&column)
    }

    pub fn add(&mut self, columns: impl IntoIterator<Item = ColumnId>) {
        self.columns.extend(columns);
    }

    /// Adds what an expression reads.
    pub fn mark(&mut self, expr: &Expr) {
        expr.visit(&mut |inner| match &inner.kind {
            ExprKind::Column(id) => self.add([*id]),
            ExprKind::Call { function, arguments, .. } if function == "parse_capture" => {
                if let (ExprKind::Column(captures), Some(Value::Long(at))) = (&arguments[0].kind, arguments[1].as_literal()) {
                    self.captures.insert((*captures, *at));
                }
            }
            _ => {}
        });
    }

    /// The numbers of the captures that are read of a column of captures.
    pub fn captures(&self, column: ColumnId) -> Vec<i64> {
        self.captures.range((column, i64::MIN)..=(column, i64::MAX)).map(|(_, at)| *at).collect()
    }
}

/// The columns that the result, or something on the way to it, reads. What no one reads is left out before a plan is made, and
/// need not be read from files: a Defender table has eighty columns.
pub fn used_columns(plan: &Plan, result: &[Column]) -> Used {
    let mut used = Used::default();
    used.add(result.iter().map(|column| column.id));
    collect(plan, &mut used);
    used
}

/// From the result towards the tables: an operator's own columns are decided before its input is looked at.
fn collect(plan: &Plan, used: &mut Used) {
    stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || match plan {
        Plan::Table { .. } | Plan::Values { .. } | Plan::Range { .. } | Plan::Graph(_) => {}
        Plan::Filter { input, predicate } => {
            used.mark(predicate);
            collect(input, used);
        }
        Plan::Project { input, columns } => {
            for (column, expr) in columns {
                if used.contains(column.id) {
                    used.mark(expr);
                }
            }
            collect(input, used);
        }
        Plan::Aggregate { input, by, aggregates } => {
            by.iter().for_each(|(_, expr)| used.mark(expr));
            for (column, aggregate) in aggregates {
                if used.contains(column.id) {
                    aggregate.arguments.iter().chain(&aggregate.filter).for_each(|expr| used.mark(expr));
                }
            }
            collect(input, used);
        }
        Plan::Sort { input, keys } => {
            keys.iter().for_each(|key| used.mark(&key.expr));
            collect(input, used);
        }
        Plan::Take { input, .. } | Plan::RowId { input, .. } => collect(input, used),
        Plan::TakePerGroup { input, partition, .. } => {
            used.add(partition.iter().copied());
            collect(input, used);
        }
        Plan::Join { left, right, keys, .. } => {
            for (a, b) in keys {
                used.mark(a);
                used.mark(b);
            }
            collect(left, used);
            collect(right, used);
        }
        Plan::Union { inputs, columns } => {
            for (input, values) in inputs {
                for (column, value) in columns.iter().zip(values) {
                    if used.contains(column.id) {
                        used.mark(value);
                    }
                }
                collect(input, used);
            }
        }
        Plan::MvExpand { input, expansions, .. } => {
            expansions.iter().for_each(|expansion| used.mark(&expansion.source));
            collect(input, used);
        }
        Plan::Scan { input, kept, declared, steps, partition, .. } => {
            used.add(partition.iter().copied());
            declared.iter().for_each(|(_, default)| used.mark(default));
            for step in steps {
                used.mark(&step.condition);
                step.assignments.iter().for_each(|(_, value)| used.mark(value));
            }
            // What a step remembers of a column is that column's.
            for (column, remembered) in steps.iter().flat_map(|step| kept.iter().zip(&step.state)) {
                if used.contains(remembered.id) {
                    used.add([column.id]);
                }
            }
            collect(input, used);
        }
        Plan::Pass { inputs, .. } => {
            for input in inputs {
                used.add(input.columns.iter().map(|column| column.id));
                collect(&input.plan, used);
            }
        }
        Plan::Reference { plan, columns, .. } => {
            for (new, old) in columns {
                if used.contains(new.id) {
                    used.add([*old]);
                }
            }
            collect(plan, used);
        }
    });
}

/// A table where a query reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    pub table: String,
    pub actions: Actions,
    /// Its columns that the filters right above look at.
    pub filtered: BTreeSet<String>,
}

/// Whether the query can have rows, when `has` says of each table it reads whether that one can. Filters are taken to let
/// something through; `has` is asked about every leaf.
pub fn can_have_rows(query: &Query, has: &mut dyn FnMut(&Leaf) -> bool) -> bool {
    plan_can_have_rows(&query.plan, has)
}

/// As [`can_have_rows`], of a part of a query.
pub fn plan_can_have_rows(plan: &Plan, has: &mut dyn FnMut(&Leaf) -> bool) -> bool {
    can(plan, &[], has)
}

fn can(plan: &Plan, filters: &[&Expr], has: &mut dyn FnMut(&Leaf) -> bool) -> bool {
    match plan {
        Plan::Table { name, columns } => {
            let mut filtered = BTreeSet::new();
            for filter in filters {
                filter.visit(&mut |expr| {
                    if let ExprKind::Column(id) = &expr.kind {
                        filtered.extend(columns.iter().filter(|column| column.id == *id).map(|column| column.name.clone()));
                    }
                });
            }
            has(&Leaf { table: name.clone(), actions: actions(columns, filters), filtered })
        }
        Plan::Values { rows, .. } => !rows.is_empty(),
        Plan::Range { .. } => true,
        Plan::Filter { input, predicate } if !predicate.reads_neighbours() => {
            let filters: Vec<&Expr> = filters.iter().copied().chain([predicate]).collect();
            can(input, &filters, has)
        }
        Plan::Project { input, columns } if !columns.iter().any(|(_, expr)| expr.reads_neighbours()) => can(input, filters, has),
        Plan::Sort { input, .. } => can(input, filters, has),
        Plan::Join { kind, left, right, .. } => {
            let (left, right) = (can(left, &[], has), can(right, &[], has));
            match kind {
                JoinKind::Inner | JoinKind::InnerUnique | JoinKind::LeftSemi | JoinKind::RightSemi => left && right,
                JoinKind::LeftOuter | JoinKind::LeftAnti => left,
                JoinKind::RightOuter | JoinKind::RightAnti => right,
                JoinKind::FullOuter => left || right,
            }
        }
        Plan::Aggregate { input, by, .. } if by.is_empty() => {
            can(input, &[], has);
            // One row always: whether it says anything depends on its values.
            true
        }
        other => {
            let each: Vec<bool> = other.inputs().into_iter().map(|input| can(input, &[], has)).collect();
            each.contains(&true)
        }
    }
}

fn note(needs: &mut BTreeMap<String, Need>, table: &str, need: Need) {
    let Some(known) = needs.get_mut(table) else {
        needs.insert(table.to_owned(), need);
        return;
    };
    known.columns.extend(need.columns);
    match (&mut known.actions, need.actions) {
        (Some(known), Some(more)) => known.extend(more),
        (known, None) => *known = None,
        (None, _) => {}
    }
}

/// The first filter that says which actions it lets through, says it for all.
fn actions(columns: &[Column], filters: &[&Expr]) -> Actions {
    let id = columns.iter().find(|column| column.name == "ActionType")?.id;
    filters.iter().find_map(|filter| let_through(filter, id))
}

/// What the column must be for the predicate to be true; `None` when that is not told.
fn let_through(predicate: &Expr, id: ColumnId) -> Actions {
    let ExprKind::Call { function, arguments, .. } = &predicate.kind else { return None };
    let is_column = |expr: &Expr| matches!(expr.kind, ExprKind::Column(found) if found == id);
    match (function.as_str(), arguments.as_slice()) {
        ("and", sides) => sides.iter().find_map(|side| let_through(side, id)),
        ("or", sides) => sides.iter().map(|side| let_through(side, id)).reduce(|all, side| Some(all?.into_iter().chain(side?).collect()))?,
        ("==" | "=~" | "in" | "in~", [column, values @ ..]) if is_column(column) => {
            let text = |expr: &Expr| match expr.as_literal()? {
                Value::String(text) => Some(text.clone()),
                _ => None,
            };
            values.iter().map(text).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, Feature, ScalarType, compile};

    struct Events;

    impl Catalog for Events {
        fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
            (name == "Events").then(|| vec![("ActionType".to_owned(), ScalarType::String), ("Port".to_owned(), ScalarType::Long)])
        }

        fn table_names(&self) -> Vec<String> {
            vec!["Events".to_owned()]
        }

        fn runs(&self, _: Feature, _: &str) -> bool {
            true
        }
    }

    fn check(query: &str, expected: Option<&[&str]>) {
        let (queries, diagnostics) = compile(query, &Events);
        assert!(diagnostics.is_empty(), "{query}: {diagnostics:?}");
        let mut found = BTreeMap::new();
        queries.iter().for_each(|query| needs(query, &mut found));
        let expected = expected.map(|actions| actions.iter().map(|action| (*action).to_owned()).collect());
        assert_eq!(found["Events"].actions, expected, "{query}");
    }

    #[test]
    fn columns_that_nothing_reads_are_not_needed() {
        for (query, expected) in [
            ("Events | count", vec![]),
            ("Events | where Port > 1 | project P = Port", vec!["Port"]),
            ("Events | extend x = strlen(ActionType) | project Port", vec!["Port"]),
            ("Events | summarize n = count() by ActionType | where n > toscalar(Events | summarize max(Port))", vec!["ActionType", "Port"]),
            ("let T = Events | extend x = Port; T | join kind=inner (T | project x, ActionType) on x | project x", vec!["Port"]),
            ("Events | take 1", vec!["ActionType", "Port"]),
        ] {
            let (queries, diagnostics) = compile(query, &Events);
            assert!(diagnostics.is_empty(), "{query}: {diagnostics:?}");
            let mut found = BTreeMap::new();
            queries.iter().for_each(|query| needs(query, &mut found));
            assert_eq!(found["Events"].columns.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }

    #[test]
    fn filters_say_which_actions_matter() {
        check("Events | where ActionType == 'A' and Port > 1", Some(&["A"]));
        check("Events | where Port > 1 | extend P = Port | where ActionType in ('A', 'B')", Some(&["A", "B"]));
        check("let T = Events | where ActionType =~ 'a' or ActionType in~ ('b'); T | join kind=inner (T) on Port", Some(&["a", "b"]));
        check("union (Events | where ActionType == 'A'), (Events | where ActionType == 'B' | count)", Some(&["A", "B"]));
        check("Events | where Port == toscalar(Events | where ActionType == 'A' | summarize max(Port)) and ActionType == 'B'", Some(&["A", "B"]));
    }

    #[test]
    fn rows_depend_on_the_tables_as_the_operators_say() {
        let can = |query: &str, with: &[&str]| {
            let (queries, diagnostics) = compile(query, &Events);
            assert!(diagnostics.is_empty(), "{query}: {diagnostics:?}");
            can_have_rows(&queries[0], &mut |leaf| leaf.actions.as_ref().is_none_or(|actions| actions.iter().any(|action| with.contains(&action.as_str()))))
        };
        let (a, b) = ("(Events | where ActionType == 'A')", "(Events | where ActionType == 'B')");
        assert!(can(&format!("union {a}, {b}"), &["A"]) && !can(&format!("union {a}, {b}"), &["C"]));
        assert!(!can(&format!("Events | where ActionType == 'A' | join kind=inner {b} on Port"), &["A"]));
        assert!(can(&format!("Events | where ActionType == 'A' | join kind=leftouter {b} on Port"), &["A"]));
        let mut seen = BTreeSet::new();
        let (queries, _) = compile("Events | where ActionType == 'A' | where Port > 1 | extend x = 1 | where x == 1", &Events);
        can_have_rows(&queries[0], &mut |leaf| {
            seen.extend(leaf.filtered.clone());
            true
        });
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["ActionType", "Port"]);
    }

    #[test]
    fn all_actions_matter_where_a_filter_does_not_say() {
        check("Events | count", None);
        check("Events | where ActionType != 'A'", None);
        check("Events | where ActionType == 'A' or Port > 1", None);
        check("Events | where ActionType has 'A'", None);
        check("Events | summarize n = count() by ActionType | where ActionType == 'A'", None);
        check("Events | extend ActionType = strcat(ActionType, 'x') | where ActionType == 'A'", None);
        check("union (Events | where ActionType == 'A'), (Events | where Port > 1)", None);
        check("Events | sort by Port | extend n = row_number() | where ActionType == 'A'", None);
        check("Events | take 5 | where ActionType == 'A'", None);
        check("Events | where not(ActionType == 'A')", None);
    }
}
