//! `summarize`: one row per distinct tuple of the `by` expressions. Kusto docs: `summarize-operator`.

use crate::binder::naming::{Names, automatic_name, percentile_name};
use crate::binder::{AGGREGATES, Binder, Binding, Relation};
use crate::bound::{Aggregate, Column, ColumnId, Expr as Bound, ExprKind as BoundKind, Plan};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name};
use crate::types::ScalarType;

#[derive(Clone, Debug)]
pub struct Summarize {
    pub aggregates: Vec<Expr>,
    pub by: Vec<Expr>,
    pub span: Span,
}

impl Summarize {
    pub(crate) fn name(&self) -> &'static str {
        "summarize"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Summarize {
        parser.operator_parameters();
        let mut aggregates = Vec::new();
        if !parser.at_word("by") && !matches!(parser.peek(), Token::Pipe | Token::End | Token::Semicolon | Token::CloseParen) {
            aggregates = parser.comma_list(|parser| parser.named_expression());
        }
        let by = if parser.eat_word("by") { parser.comma_list(|parser| parser.named_expression()) } else { Vec::new() };
        if aggregates.is_empty() && by.is_empty() {
            parser.missing_expression();
        }
        Summarize { aggregates, by, span }
    }

    /// Columns: the `by` columns in order, then the aggregates. Without `by`, an empty input gives one row.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let (by, names) = bind_keys(binder, &input, &self.by);
        by.iter().zip(&self.by).for_each(|((_, value), written)| binder.not_dynamic(value, written.span));
        let mut found = Found { aggregates: Vec::new(), results: Vec::new(), names };
        for expr in &self.aggregates {
            bind_aggregate(binder, &input, expr, &by, &mut found);
        }
        let mut shown: Vec<(Column, Bound)> = by.iter().map(|(column, _)| (column.clone(), Bound::column(column))).collect();
        shown.extend(found.results);
        let plan = aggregate(binder, input, by, found.aggregates);
        Some(binder.project(Relation { plan, columns: Vec::new() }, shown))
    }
}

/// The grouping: in the subquery of `mv-apply` the row it came from is a key, and its other columns are carried along.
pub(super) fn aggregate(binder: &Binder, input: Relation, mut by: Vec<(Column, Bound)>, mut aggregates: Vec<(Column, Aggregate)>) -> Plan {
    if let Some(group) = &binder.group {
        by.push((group.row_id.clone(), Bound::column(&group.row_id)));
        for carried in &group.carried {
            let any = Aggregate { function: "take_any".to_owned(), arguments: vec![Bound::column(carried)], filter: None, ty: carried.ty, span: Span::default() };
            aggregates.push((carried.clone(), any));
        }
    }
    Plan::Aggregate { input: Box::new(input.plan), by, aggregates }
}

/// Binds `by` expressions; their columns come first and keep plain names.
pub(super) fn bind_keys(binder: &mut Binder, input: &Relation, keys: &[Expr]) -> (Vec<(Column, Bound)>, Names) {
    let mut names = Names::default();
    let mut by = Vec::with_capacity(keys.len());
    for key in keys {
        let (name, value) = binder.with_row(&input.columns, |binder| binder.named_scalar(key));
        let Some(name) = binder.column_name(&mut names, key, name) else { continue };
        by.push((binder.column(name, value.ty), value));
    }
    (by, names)
}

pub(super) struct Found {
    pub(super) aggregates: Vec<(Column, Aggregate)>,
    /// The shown columns, computed from the aggregates.
    pub(super) results: Vec<(Column, Bound)>,
    pub(super) names: Names,
}

pub(super) fn bind_aggregate(binder: &mut Binder, input: &Relation, expr: &Expr, by: &[(Column, Bound)], found: &mut Found) {
    let (explicit, value): (&[Name], &Expr) = match &expr.kind {
        ExprKind::Named { names, value } => (names, value),
        _ => (&[], expr),
    };
    if let ExprKind::Call { name, arguments } = &value.kind
        && !matches!(binder.lookup(&name.node), Some(Binding::Function(..)))
    {
        const SEVERAL: [&str; 10] = ["arg_max", "arg_min", "argmax", "argmin", "take_any", "any", "percentile", "percentiles", "percentilew", "percentilesw"];
        if SEVERAL.contains(&name.node.as_str()) && !binder.takes("function", name, &AGGREGATES[name.node.as_str()], arguments.len()) {
            return;
        }
        match name.node.as_str() {
            "arg_max" | "arg_min" | "argmax" | "argmin" => return arg_extreme(binder, input, name, arguments, explicit, by, found),
            "take_any" | "any" if arguments.len() != 1 || matches!(arguments[0].kind, ExprKind::Star) => return take_any(binder, input, name, arguments, explicit, by, found),
            "percentile" | "percentiles" | "percentilew" | "percentilesw" => return percentiles(binder, input, name, arguments, explicit, found),
            _ => {}
        }
    }
    binder.aggregates = Some(Vec::new());
    let reported = binder.with_row(&input.columns, |binder| binder.named_scalars(expr));
    let collected = binder.aggregates.take().unwrap_or_default();
    let reads_row = reported.iter().any(|(_, value)| first_column(value, &|id| input.columns.iter().any(|column| column.id == id)).is_some());
    let constant = reported.iter().all(|(_, value)| value.as_literal().is_some());
    if reads_row || collected.is_empty() && !constant && is_name(value) {
        let text = automatic_name(value).unwrap_or_default();
        binder.error(codes::NOT_AN_AGGREGATE, format!("`{text}` is not an aggregate"), value.span, "use an aggregate function, or move it after `by`");
        return;
    }
    found.aggregates.extend(collected);
    for (at, (automatic, value)) in reported.into_iter().enumerate() {
        let name = match (explicit.get(at), automatic) {
            (Some(name), _) => {
                let Some(name) = found.names.declare(&name.node) else {
                    binder.declared_twice(&name.node, name.span);
                    return;
                };
                name
            }
            (None, Some(name)) => found.names.unique(&name),
            (None, None) => {
                let name = binder.numbered();
                found.names.unique(&name)
            }
        };
        found.results.push((binder.column(name, value.ty), value));
    }
}

fn is_name(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Name(_))
}

fn first_column(expr: &Bound, wanted: &dyn Fn(ColumnId) -> bool) -> Option<ColumnId> {
    match &expr.kind {
        BoundKind::Column(id) => wanted(*id).then_some(*id),
        BoundKind::Call { arguments, .. } => arguments.iter().find_map(|argument| first_column(argument, wanted)),
        BoundKind::Literal(_) | BoundKind::Subquery(_) => None,
    }
}

/// `arg_max(key, a, b)` or `arg_max(key, *)`: the key, then the values of the row where it is greatest.
fn arg_extreme(binder: &mut Binder, input: &Relation, function: &Name, arguments: &[Expr], explicit: &[Name], by: &[(Column, Bound)], found: &mut Found) {
    let Some(key_syntax) = arguments.first() else { return };
    let legacy = matches!(function.node.as_str(), "argmax" | "argmin");
    let prefix = if function.node.ends_with("max") { "max" } else { "min" };
    let key = binder.with_row(&input.columns, |binder| binder.scalar(key_syntax));
    let key_name = automatic_name(key_syntax).unwrap_or_default();
    let key_column = match (explicit.first(), legacy) {
        (Some(name), _) => name.node.clone(),
        (None, true) => format!("{prefix}_{key_name}"),
        (None, false) if key_name.is_empty() => format!("{prefix}_"),
        (None, false) => key_name.clone(),
    };
    let canonical = format!("arg_{prefix}");
    let mut values: Vec<(String, Bound)> = vec![(key_column, key.clone())];
    for (at, argument) in arguments.iter().enumerate().skip(1) {
        if matches!(argument.kind, ExprKind::Star) {
            for column in others(input, by) {
                if column.name != key_name {
                    let name = if legacy { format!("{prefix}_{key_name}_{}", column.name) } else { column.name.clone() };
                    values.push((name, Bound::column(column)));
                }
            }
            continue;
        }
        let (name, value) = binder.with_row(&input.columns, |binder| binder.named_scalar(argument));
        let name = match (explicit.get(at), name) {
            (Some(name), _) => name.node.clone(),
            (None, Some(name)) if legacy => format!("{prefix}_{key_name}_{name}"),
            (None, Some(name)) => name,
            (None, None) => binder.numbered(),
        };
        values.push((name, value));
    }
    for (name, value) in values {
        let ty = value.ty;
        push(binder, found, name, Aggregate { function: canonical.clone(), arguments: vec![key.clone(), value], filter: None, ty, span: function.span });
    }
}

/// The columns of the input that are not grouping keys.
fn others<'a>(input: &'a Relation, by: &[(Column, Bound)]) -> Vec<&'a Column> {
    input.columns.iter().filter(|column| !by.iter().any(|(_, key)| matches!(key.kind, BoundKind::Column(id) if id == column.id))).collect()
}

fn push(binder: &mut Binder, found: &mut Found, name: String, aggregate: Aggregate) {
    let name = found.names.unique(&name);
    let hidden = binder.column(name.clone(), aggregate.ty);
    let shown = binder.column(name, aggregate.ty);
    found.results.push((shown, Bound::column(&hidden)));
    found.aggregates.push((hidden, aggregate));
}

/// `take_any(a, b)`, `take_any(*)`: one value of each; the deprecated `any(*)` prefixes the names.
fn take_any(binder: &mut Binder, input: &Relation, function: &Name, arguments: &[Expr], explicit: &[Name], by: &[(Column, Bound)], found: &mut Found) {
    let prefix = if function.node == "any" { "any_" } else { "" };
    for (at, argument) in arguments.iter().enumerate() {
        let values: Vec<(String, Bound)> = if matches!(argument.kind, ExprKind::Star) {
            others(input, by).into_iter().map(|column| (column.name.clone(), Bound::column(column))).collect()
        } else {
            let (name, value) = binder.with_row(&input.columns, |binder| binder.named_scalar(argument));
            vec![(name.unwrap_or_default(), value)]
        };
        for (name, value) in values {
            let name = explicit.get(at).map_or_else(|| format!("{prefix}{name}"), |name| name.node.clone());
            let ty = value.ty;
            push(binder, found, name, Aggregate { function: "take_any".to_owned(), arguments: vec![value], filter: None, ty, span: function.span });
        }
    }
}

/// `percentiles(x, 5, 99.5)`: one column per percentile, `percentile_x_99_5`.
fn percentiles(binder: &mut Binder, input: &Relation, function: &Name, arguments: &[Expr], explicit: &[Name], found: &mut Found) {
    let weighted = function.node.contains("lew") || function.node.contains("lesw");
    let first_percentile = if weighted { 2 } else { 1 };
    let canonical = if weighted { "percentilew" } else { "percentile" };
    if !binder.catalog.runs(crate::catalog::Feature::Aggregate, canonical) {
        binder.refuse_named("aggregate function", &function.node, function.span);
        return;
    }
    let subject = automatic_name(&arguments[0]).unwrap_or_default();
    let bound: Vec<Bound> = binder.with_row(&input.columns, |binder| arguments.iter().map(|argument| binder.scalar(argument)).collect());
    for (at, percentile) in bound.iter().enumerate().skip(first_percentile) {
        if binder.expect_fixed(percentile, arguments[at].span).is_none() {
            return;
        }
        let name = explicit.get(at - first_percentile).map_or_else(|| percentile_name(&subject, percentile.as_literal()), |name| name.node.clone());
        let percentile = binder.convert(percentile.clone(), ScalarType::Real);
        let mut values = bound[..first_percentile].to_vec();
        values[0] = binder.percentile_subject(values[0].clone());
        let ty = values[0].ty;
        values.push(percentile);
        push(binder, found, name, Aggregate { function: canonical.to_owned(), arguments: values, filter: None, ty, span: function.span });
    }
}
