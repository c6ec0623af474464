//! Columns whose type nobody knows before there are rows.

use crate::bound::{Aggregate, Column, ColumnId, Expr, ExprKind, Plan};
use crate::span::Span;
use crate::types::ScalarType;
use std::collections::HashSet;
use std::sync::Arc;

/// The columns of a plan that hold what a column of an open table holds, the `open` ones among them.
pub(super) fn columns(plan: &Plan, open: &HashSet<ColumnId>) -> HashSet<ColumnId> {
    let mut guessed = open.clone();
    if open.is_empty() {
        return guessed;
    }
    // A plan comes after its inputs, and one that is used more than once is looked at once.
    let mut seen = HashSet::new();
    let mut waiting = vec![(plan, false)];
    while let Some((plan, ready)) = waiting.pop() {
        if !ready {
            waiting.push((plan, true));
            let shared = matches!(plan, Plan::Reference { plan, .. } if !seen.insert(Arc::as_ptr(plan)));
            waiting.extend(plan.inputs().into_iter().filter(|_| !shared).map(|input| (input, false)));
            continue;
        }
        match plan {
            Plan::Project { columns, .. } => take(&mut guessed, columns, is_guessed),
            Plan::Aggregate { by, aggregates, .. } => {
                take(&mut guessed, by, is_guessed);
                take(&mut guessed, aggregates, is_guessed_aggregate);
            }
            Plan::Reference { columns, .. } => {
                let new: Vec<ColumnId> = columns.iter().filter(|(_, old)| guessed.contains(old)).map(|(new, _)| new.id).collect();
                guessed.extend(new);
            }
            Plan::Union { inputs, columns } => {
                for (at, column) in columns.iter().enumerate() {
                    if inputs.iter().any(|(_, values)| is_guessed(&values[at], &guessed)) {
                        guessed.insert(column.id);
                    }
                }
            }
            Plan::MvExpand { expansions, .. } => {
                let elements = expansions.iter().filter(|expansion| expansion.element.ty == ScalarType::Dynamic && is_guessed(&expansion.source, &guessed));
                let elements: Vec<ColumnId> = elements.map(|expansion| expansion.element.id).collect();
                guessed.extend(elements);
            }
            Plan::Table { .. }
            | Plan::Values { .. }
            | Plan::Range { .. }
            | Plan::Filter { .. }
            | Plan::Sort { .. }
            | Plan::Take { .. }
            | Plan::TakePerGroup { .. }
            | Plan::Join { .. }
            | Plan::RowId { .. }
            | Plan::Pass { .. }
            | Plan::Graph(_)
            | Plan::Scan { .. } => {}
        }
    }
    guessed
}

fn take<T>(guessed: &mut HashSet<ColumnId>, columns: &[(Column, T)], is: fn(&T, &HashSet<ColumnId>) -> bool) {
    for (column, value) in columns {
        if is(value, guessed) {
            guessed.insert(column.id);
        }
    }
}

/// A column of an open table, a part of one, or what is chosen from such and other values.
fn is_guessed(value: &Expr, guessed: &HashSet<ColumnId>) -> bool {
    match &value.kind {
        ExprKind::Column(id) => guessed.contains(id),
        ExprKind::Call { function, arguments, span } => match (function.as_str(), arguments.as_slice()) {
            ("path", [target, ..]) => is_guessed(target, guessed),
            ("iff", [_, values @ ..]) | ("coalesce", values) => values.iter().any(|value| is_guessed(value, guessed)),
            ("case", values) => {
                let is_value = |at: usize| at % 2 == 1 || at + 1 == values.len();
                values.iter().enumerate().any(|(at, value)| is_value(at) && is_guessed(value, guessed))
            }
            // Known to be dynamic.
            ("parse_json", _) => false,
            // A conversion that nobody wrote.
            (_, [converted]) if *span == Span::default() => is_guessed(converted, guessed),
            _ => false,
        },
        ExprKind::Literal(_) | ExprKind::Subquery(_) => false,
    }
}

/// Aggregates that show one of the values; `arg_max` shows its last.
fn is_guessed_aggregate(aggregate: &Aggregate, guessed: &HashSet<ColumnId>) -> bool {
    let shows = matches!(aggregate.function.as_str(), "min" | "max" | "take_any" | "passthrough" | "arg_max" | "arg_min");
    shows && aggregate.arguments.last().is_some_and(|argument| is_guessed(argument, guessed))
}
