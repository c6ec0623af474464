//! Tables reached through functions: `table()`, `database()`, `workspace()`, watchlists, and wildcards.

use super::{Binder, Binding, Bound, Relation};
use crate::bound::{Column, Plan};
use crate::catalog::Watchlist;
use crate::diagnostics::{Diagnostic, codes};
use crate::literals::write_json_string;
use crate::span::{Span, Spanned};
use crate::syntax::{self, ExprKind};
use crate::types::{ScalarType, Value};
use std::collections::HashSet;

/// Functions that stand for another place; Vidette has one workspace, so they resolve to it.
const SCOPES: &[&str] = &["cluster", "database", "workspace", "app", "resource"];

/// Functions that stand for a service whose tables no workspace holds: Azure Resource Graph, Azure Data Explorer.
const ELSEWHERE: &[&str] = &["arg", "adx"];

/// The columns of every watchlist, as ASIM's public parser `_ASIM_GetWatchlistRaw` reads them.
const WATCHLIST: &[(&str, ScalarType)] =
    &[("_DTItemId", ScalarType::String), ("LastUpdatedTimeUTC", ScalarType::DateTime), ("SearchKey", ScalarType::String), ("WatchlistItem", ScalarType::Dynamic)];

/// What a file of a watchlist tells of such a column: its key, and the row as a bag.
fn watchlist_value(name: &str, ty: ScalarType, columns: &[String], row: &[String]) -> Value {
    match name {
        "SearchKey" => Value::String(row.first().cloned().unwrap_or_default()),
        "WatchlistItem" => {
            let mut bag = String::new();
            for (column, value) in columns.iter().zip(row) {
                bag.push(if bag.is_empty() { '{' } else { ',' });
                write_json_string(column, &mut bag);
                bag.push(':');
                write_json_string(value, &mut bag);
            }
            bag.push('}');
            Value::Dynamic(bag)
        }
        _ if ty == ScalarType::String => Value::String(String::new()),
        _ => Value::Null(ty),
    }
}

impl Binder<'_> {
    /// `database("x").T`, `workspace("w").T`, `cluster("c").database("d").T`; `None` when it is something else.
    pub(super) fn remote_table(&mut self, target: &syntax::Expr, member: &syntax::Expr) -> Option<Bound> {
        if let ExprKind::Call { name: service, .. } = &target.kind
            && ELSEWHERE.contains(&service.node.as_str())
        {
            return Some(Bound::Tabular(self.exported_table(service, member)));
        }
        if !is_scope(target) {
            return None;
        }
        Some(match &member.kind {
            ExprKind::Name(name) => match self.named_table(name) {
                Some(relation) => Bound::Tabular(relation),
                None => self.missing_table(name, codes::UNKNOWN_TABLE, member.span).map_or(Bound::Broken, Bound::Tabular),
            },
            ExprKind::Call { name, arguments } if name.node == "table" => self.table_function(arguments, member.span),
            _ => self.bind_any(member),
        })
    }

    /// `arg("").Resources`: the table of that name among the data. One that nobody exported is empty, as a watchlist is, and has the columns
    /// that are asked of it.
    fn exported_table(&mut self, service: &Spanned<String>, member: &syntax::Expr) -> Relation {
        let name = if let ExprKind::Name(name) = &member.kind { Some(name) } else { None };
        if let Some(relation) = name.and_then(|name| self.named_table(name)) {
            return relation;
        }
        let name = name.map_or("its table", String::as_str);
        if self.catalog.lacks(name) {
            let message = format!("`{name}` of `{}` is elsewhere, and no query reaches the network: it is empty", service.node);
            let help = format!("rows exported to `{name}.json` or `{name}.csv` among the data are the table");
            self.report(Diagnostic::semantic(codes::NO_TABLE, message, member.span).warning().label("no table of that name was given").help(help));
        }
        let columns = self.open_up();
        Relation { plan: Plan::Values { columns: columns.clone(), rows: Vec::new() }, columns }
    }

    /// `table("name")`
    pub(super) fn table_function(&mut self, arguments: &[syntax::Expr], span: Span) -> Bound {
        let Some(argument) = arguments.first() else {
            self.error(codes::ARGUMENT_COUNT, "the function `table` expects 1 argument", span, "no table is named");
            return Bound::Broken;
        };
        let bound = self.scalar(argument);
        match bound.as_literal() {
            Some(Value::String(name)) => match self.named_table(&name.clone()) {
                Some(relation) => Bound::Tabular(relation),
                None => match self.lookup(name) {
                    // A saved function has no scope around it.
                    Some(Binding::Function(function, scope)) if function.view || scope.is_none() => {
                        let name = name.clone();
                        self.call_user_function(&name, &function, &scope, Vec::new(), argument.span)
                    }
                    _ => self.missing_table(&name.clone(), codes::UNKNOWN_TABLE, argument.span).map_or(Bound::Broken, Bound::Tabular),
                },
            },
            _ => {
                self.refuse("`table` of a computed name", argument.span);
                Bound::Broken
            }
        }
    }

    /// `_GetWatchlist("alias")`: the columns that every watchlist has, then those of the file, all strings; a file without a
    /// `SearchKey` has its first column as that. One that nobody gave is empty, and has the columns that are asked of it: rules and
    /// the parsers of ASIM ask for watchlists that most workspaces do not have.
    pub(super) fn watchlist(&mut self, arguments: &[syntax::Expr], span: Span) -> Bound {
        let alias = arguments.first().map(|argument| self.scalar(argument));
        let Some(Value::String(alias)) = alias.as_ref().and_then(|alias| alias.as_literal()) else {
            self.error(codes::INVALID_USE, "`_GetWatchlist` expects the alias of a watchlist", span, "not a string literal");
            return Bound::Broken;
        };
        let known = self.catalog.watchlist(alias);
        let asked = if known.is_none() {
            let message = format!("no watchlist `{alias}`: it is empty");
            let help = format!("a file `{alias}.csv` beside the rules is one");
            self.report(Diagnostic::semantic(codes::NO_WATCHLIST, message, span).warning().label("no CSV file of that name was given").help(help));
            self.open_up()
        } else {
            Vec::new()
        };
        let Watchlist { columns: own, rows } = known.unwrap_or_default();
        let common: Vec<&(&str, ScalarType)> = WATCHLIST.iter().filter(|(name, _)| !own.iter().any(|own| own == name)).collect();
        let mut columns: Vec<Column> = common.iter().map(|(name, ty)| self.column(*name, *ty)).collect();
        columns.extend(own.iter().map(|name| self.column(name.clone(), ScalarType::String)));
        columns.extend(asked);
        let rows = rows.into_iter().map(|row| {
            let mut values: Vec<Value> = common.iter().map(|(name, ty)| watchlist_value(name, *ty, &own, &row)).collect();
            values.extend(row.into_iter().map(Value::String));
            values
        });
        Bound::Tabular(Relation { plan: Plan::Values { columns: columns.clone(), rows: rows.collect() }, columns })
    }

    /// What `*` stands for: the views of the query, the tables with rows, and, without a row, the columns of the other known tables,
    /// so that a query may name them. Kusto has them all; where there are rows, only those that the query names are shown.
    pub(crate) fn every_table(&mut self) -> Vec<(String, Relation)> {
        let filled = self.catalog.filled_tables();
        let mut found = Vec::new();
        for name in filled.iter().flatten() {
            found.extend(self.named_table(name).map(|relation| (name.clone(), relation)));
        }
        let shown: HashSet<&str> = found.iter().flat_map(|(_, relation)| &relation.columns).map(|column| column.name.as_str()).collect();
        let others = self.catalog.known_columns(&|name| !shown.contains(name) && (filled.is_none() || self.words.contains(name)));
        let columns: Vec<Column> = others.into_iter().map(|(name, ty)| self.column(name, ty)).collect();
        if !columns.is_empty() {
            found.push((String::new(), Relation { plan: Plan::Values { columns: columns.clone(), rows: Vec::new() }, columns }));
        }
        found
    }

    /// The tables a name with `*` stands for.
    pub(crate) fn wildcard_tables(&self, pattern: &str) -> Vec<String> {
        self.catalog.table_names().into_iter().filter(|name| wildcard_matches(pattern, name)).collect()
    }
}

impl Binder<'_> {
    /// The views of the query that a name with `*` stands for.
    pub(crate) fn wildcard_views(&self, pattern: &str) -> Vec<String> {
        let tabular = |name: &String| match self.lookup(name) {
            Some(Binding::Function(function, _)) => function.view,
            _ => false,
        };
        let mut names: Vec<String> = self.names_in_scope().into_iter().filter(|name| wildcard_matches(pattern, name)).filter(tabular).collect();
        names.reverse();
        names
    }
}

fn is_scope(expr: &syntax::Expr) -> bool {
    match &expr.kind {
        ExprKind::Call { name, .. } => SCOPES.contains(&name.node.as_str()),
        ExprKind::Path { target, member } => is_scope(target) && is_scope(member),
        _ => false,
    }
}

/// Whether `name` matches a pattern in which `*` stands for any text.
pub(crate) fn wildcard_matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
