//! What a bound query reads, before there are rows: tables, and which values of `ActionType` can matter.

use crate::bound::{Column, ColumnId, Expr, ExprKind, Plan, Query};
use crate::types::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Values of `ActionType`, in lower case; `None` is any.
pub type Actions = Option<BTreeSet<String>>;

/// Adds the tables of the query to `needs`, each with the actions that no filter right above it drops.
pub fn needs(query: &Query, needs: &mut BTreeMap<String, Actions>) {
    for plan in query.subqueries.iter().map(|subquery| &subquery.plan).chain([&query.plan]) {
        let mut waiting: Vec<(&Plan, Vec<&Expr>)> = vec![(plan, Vec::new())];
        while let Some((plan, filters)) = waiting.pop() {
            match plan {
                Plan::Table { name, columns } => note(needs, name, actions(columns, &filters)),
                Plan::Filter { input, predicate } if !predicate.reads_neighbours() => waiting.push((input, filters.into_iter().chain([predicate]).collect())),
                // Ids are of one column only, so a filter still says the same below what adds or sorts columns.
                Plan::Project { input, columns } if !columns.iter().any(|(_, expr)| expr.reads_neighbours()) => waiting.push((input, filters)),
                Plan::Sort { input, .. } => waiting.push((input, filters)),
                Plan::Graph(graph) => waiting.extend([(&*graph.edges, Vec::new()), (&*graph.nodes, Vec::new())]),
                other => waiting.extend(other.inputs().into_iter().map(|input| (input, Vec::new()))),
            }
        }
    }
}

fn note(needs: &mut BTreeMap<String, Actions>, table: &str, actions: Actions) {
    match (needs.get_mut(table), actions) {
        (Some(Some(known)), Some(more)) => known.extend(more),
        (Some(known), None) => *known = None,
        (Some(None), _) => {}
        (None, actions) => drop(needs.insert(table.to_owned(), actions)),
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
                Value::String(text) => Some(text.to_lowercase()),
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
        assert_eq!(found.get("Events"), Some(&expected), "{query}");
    }

    #[test]
    fn filters_say_which_actions_matter() {
        check("Events | where ActionType == 'A' and Port > 1", Some(&["a"]));
        check("Events | where Port > 1 | extend P = Port | where ActionType in ('A', 'B')", Some(&["a", "b"]));
        check("let T = Events | where ActionType =~ 'a' or ActionType in~ ('b'); T | join kind=inner (T) on Port", Some(&["a", "b"]));
        check("union (Events | where ActionType == 'A'), (Events | where ActionType == 'B' | count)", Some(&["a", "b"]));
        check("Events | where Port == toscalar(Events | where ActionType == 'A' | summarize max(Port)) and ActionType == 'B'", Some(&["a", "b"]));
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
