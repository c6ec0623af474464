//! `union`: rows of several tables. Columns of one name and type are one column. Kusto docs: `union-operator`.

use crate::binder::naming::Names;
use crate::binder::{Binder, Binding, Relation};
use crate::bound::{Column, Expr as Bound, Plan};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};
use std::collections::HashMap;

#[derive(Clone, Debug)]
pub struct Union {
    pub parameters: Vec<OperatorParameter>,
    pub tables: Vec<Expr>,
    pub leading: bool,
    pub span: Span,
}

impl Union {
    pub(crate) fn name(&self) -> &'static str {
        "union"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Union {
        let leading = std::mem::take(&mut parser.leading);
        let parameters = parser.operator_parameters();
        let tables = parser.comma_list(|parser| parser.table_expression());
        Union { parameters, tables, leading, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let fuzzy = matches!(parameter(&self.parameters, "isfuzzy").map(|value| &value.kind), Some(ExprKind::Name(word)) if word == "true");
        let mut inputs: Vec<(String, Relation)> = Vec::new();
        if !self.leading {
            let name = binder.row.table_name.clone().unwrap_or_else(|| "union_arg0".to_owned());
            inputs.push((name, input));
        }
        for table in &self.tables {
            self.member(binder, self.name(), table, fuzzy, &mut inputs)?;
        }
        if inputs.is_empty() {
            let empty = binder.nothing();
            return Some(empty);
        }
        let inner = parameter(&self.parameters, "kind").and_then(Expr::name) == Some("inner");
        let source = parameter(&self.parameters, "withsource").or_else(|| parameter(&self.parameters, "with_source")).and_then(Expr::name);
        Some(combine(binder, inputs, inner, source))
    }

    pub(super) fn member(&self, binder: &mut Binder, operator: &str, table: &Expr, fuzzy: bool, inputs: &mut Vec<(String, Relation)>) -> Option<()> {
        if let Some(pattern) = table.name().filter(|name| name.contains('*')) {
            let views = binder.wildcard_views(pattern);
            let any_view = !views.is_empty();
            for name in views {
                let view = Expr::new(ExprKind::Name(name), table.span);
                self.member(binder, operator, &view, fuzzy, inputs)?;
            }
            if pattern == "*" {
                inputs.extend(binder.every_table());
                return Some(());
            }
            let names = binder.wildcard_tables(pattern);
            if names.is_empty() && !any_view && !fuzzy {
                binder.unknown_table(pattern, codes::UNKNOWN_NAME, table.span);
                return None;
            }
            for name in names {
                if let Some(relation) = binder.named_table(&name) {
                    inputs.push((name, relation));
                }
            }
            return Some(());
        }
        if fuzzy
            && let Some(name) = table.name()
            && binder.lookup(name).is_none()
            && binder.catalog.table(name).is_none()
            && binder.catalog.function(name).is_none()
        {
            return Some(());
        }
        // Nor does a function that nobody knows give rows.
        if fuzzy
            && let ExprKind::Call { name, .. } = &table.kind
            && !binder.knows_call(&name.node)
        {
            return Some(());
        }
        let outer = binder.row.table_name.take();
        let group = binder.group.take();
        let outer_fuzzy = std::mem::replace(&mut binder.fuzzy, fuzzy);
        let relation = binder.with_row(&[], |binder| {
            let relation = binder.tabular(table);
            (relation, binder.row.table_name.clone())
        });
        binder.group = group;
        binder.fuzzy = outer_fuzzy;
        binder.row.table_name = outer;
        let (relation, table_name) = relation;
        // What a `let` names is not known by that name in Kusto's result, as long as it is no view.
        let own = table.name().filter(|name| !matches!(binder.lookup(name), Some(Binding::Tabular(..))));
        let name = own.map(str::to_owned).or(table_name).unwrap_or_else(|| format!("{operator}_arg{}", inputs.len()));
        inputs.push((name, relation?));
        Some(())
    }
}

/// Unites relations by column name and type; a name with several types becomes one column per type, `name_type`.
pub(crate) fn combine(binder: &mut Binder, inputs: Vec<(String, Relation)>, inner: bool, source: Option<&str>) -> Relation {
    let lookups: Vec<HashMap<(&str, ScalarType), &Column>> =
        inputs.iter().map(|(_, relation)| relation.columns.iter().rev().map(|column| ((column.name.as_str(), column.ty), column)).collect()).collect();
    // The columns of one name stand together, where the name was first seen.
    let mut order: Vec<&str> = Vec::new();
    let mut types: HashMap<&str, Vec<ScalarType>> = HashMap::new();
    for column in inputs.iter().flat_map(|(_, relation)| &relation.columns) {
        let known = types.entry(&column.name).or_insert_with(|| {
            order.push(&column.name);
            Vec::new()
        });
        if !known.contains(&column.ty) {
            known.push(column.ty);
        }
    }
    if inner {
        types.iter_mut().for_each(|(name, types)| types.retain(|ty| lookups.iter().all(|lookup| lookup.contains_key(&(*name, *ty)))));
    }
    let guessed = binder.guessed(inputs.iter().map(|(_, relation)| relation));
    let unknown = |name: &str, ty| {
        let mut same = lookups.iter().filter_map(|lookup| lookup.get(&(name, ty))).peekable();
        same.peek().is_some() && same.all(|column| guessed.contains(&column.id))
    };
    let mut names = Names::default();
    let mut columns: Vec<(Column, Option<&str>)> = Vec::new();
    if let Some(source) = source {
        names.take(source);
        columns.push((binder.column(source, ScalarType::String), None));
    }
    for name in order {
        let several = types[name].len() > 1;
        for ty in &types[name] {
            let shown = match several {
                true if unknown(name, *ty) => format!("{name}_unknown"),
                true => format!("{name}_{ty}"),
                false => name.to_owned(),
            };
            let shown = names.unique(&shown);
            columns.push((binder.column(shown, *ty), Some(name)));
        }
    }
    let values = |table: &str, lookup: &HashMap<(&str, ScalarType), &Column>| -> Vec<Bound> {
        let value = |(column, name): &(Column, Option<&str>)| match name {
            None => Bound::literal(Value::String(table.to_owned())),
            Some(name) => match lookup.get(&(*name, column.ty)) {
                Some(column) => Bound::column(column),
                None => Bound::absent(column.ty),
            },
        };
        columns.iter().map(value).collect()
    };
    let values: Vec<Vec<Bound>> = inputs.iter().zip(&lookups).map(|((table, _), lookup)| values(table, lookup)).collect();
    let columns: Vec<Column> = columns.into_iter().map(|(column, _)| column).collect();
    let inputs: Vec<(Plan, Vec<Bound>)> = inputs.into_iter().map(|(_, relation)| relation.plan).zip(values).collect();
    if inputs.is_empty() {
        return Relation { plan: Plan::Values { columns: columns.clone(), rows: Vec::new() }, columns };
    }
    Relation { plan: Plan::Union { inputs, columns: columns.clone() }, columns }
}

impl Parser<'_> {
    /// A table of `union`, `find` or `search in`: a name, a wildcard, a call, or a query in parentheses.
    pub(crate) fn table_expression(&mut self) -> Expr {
        let starts_wild = self.peek() == Token::Star || self.peek() == Token::Name && self.peek_at(1) == Token::Star && self.lexeme(0).span.end == self.lexeme(1).span.start;
        if starts_wild {
            let name = self.name_pattern();
            return Expr::new(ExprKind::Name(name.node), name.span);
        }
        if matches!(self.peek(), Token::Name | Token::OpenParen | Token::OpenBracket | Token::Typed(_) | Token::String) {
            return self.unary();
        }
        self.error_here(codes::MISSING_EXPRESSION, "missing expression");
        Expr::new(ExprKind::Error, self.span())
    }
}
