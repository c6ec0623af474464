//! Conditional functions and tests for null and empty. Kusto docs: `iff-function`, `case-function`, `coalesce-function`,
//! `isnull-function`, `isempty-function`, `max-of-function`.

use super::{ScalarFunction, rows, stock};
use crate::cells::{Cell, Out};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::{coalesce, nullif};
use vidette_kql::ScalarType;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    stock("iff", |_, mut a| {
        let otherwise = a.pop();
        let then = a.pop();
        branch(a.pop(), then, otherwise)
    }),
    stock("case", |_, mut a| {
        let otherwise = a.pop();
        let mut pairs = a.into_iter();
        let mut chain: Option<datafusion::logical_expr::conditional_expressions::CaseBuilder> = None;
        while let (Some(condition), Some(then)) = (pairs.next(), pairs.next()) {
            chain = Some(match chain {
                Some(mut chain) => chain.when(condition, then),
                None => when(condition, then),
            });
        }
        let otherwise = otherwise.unwrap_or_else(|| lit(ScalarValue::Null));
        match chain {
            Some(mut chain) => chain.otherwise(otherwise.clone()).unwrap_or(otherwise),
            None => otherwise,
        }
    }),
    stock("coalesce", |types, a| {
        if types[0] == ScalarType::String {
            // An empty string is an absent one.
            let empty = || lit(ScalarValue::Utf8View(Some(String::new())));
            let mut values: Vec<Expr> = a.into_iter().map(|value| nullif(value, empty())).collect();
            values.push(empty());
            return coalesce(values);
        }
        coalesce(a)
    }),
    stock("isnull", |types, mut a| match types[0] {
        ScalarType::String => lit(false),
        _ => a.remove(0).is_null(),
    }),
    stock("isnotnull", |types, mut a| match types[0] {
        ScalarType::String => lit(true),
        _ => a.remove(0).is_not_null(),
    }),
    stock("isempty", |types, mut a| empty(types[0], a.remove(0))),
    stock("isnotempty", |types, mut a| Expr::Not(Box::new(empty(types[0], a.remove(0))))),
    rows("max_of", |a| extreme(a, |a, b| a > b)),
    rows("min_of", |a| extreme(a, |a, b| a < b)),
    rows("assert", |a| match a[0] {
        Cell::Bool(true) => Out::Bool(true),
        _ => Out::Refused("the condition is not true"),
    }),
    rows("around", around),
];

/// Whether the first value is as near to the second as the third says. Kusto docs: `around-function`.
fn around(a: &[Cell]) -> Out {
    if a.iter().all(|cell| matches!(cell, Cell::Long(_) | Cell::DateTime(_) | Cell::TimeSpan(_))) {
        let (Some(value), Some(center), Some(delta)) = (a[0].long(), a[1].long(), a[2].long()) else { return Out::Null };
        return Out::Bool(center.saturating_sub(delta) <= value && value <= center.saturating_add(delta));
    }
    match (a[0].real(), a[1].real(), a[2].real()) {
        (Some(value), Some(center), Some(delta)) => Out::Bool(center - delta <= value && value <= center + delta),
        _ => Out::Null,
    }
}

fn branch(condition: Option<Expr>, then: Option<Expr>, otherwise: Option<Expr>) -> Expr {
    let null = || lit(ScalarValue::Null);
    let (condition, then, otherwise) = (condition.unwrap_or_else(null), then.unwrap_or_else(null), otherwise.unwrap_or_else(null));
    when(condition, then.clone()).otherwise(otherwise).unwrap_or(then)
}

fn empty(ty: ScalarType, value: Expr) -> Expr {
    let text = |value: Expr, empty: &str| value.eq(lit(ScalarValue::Utf8View(Some(empty.to_owned()))));
    match ty {
        ScalarType::String => text(value, ""),
        ScalarType::Dynamic => value.clone().is_null().or(text(value, "\"\"")),
        _ => value.is_null(),
    }
}

fn extreme(cells: &[Cell], better: fn(f64, f64) -> bool) -> Out {
    let mut best: Option<Cell> = None;
    for cell in cells {
        let wins = match (cell, &best) {
            (Cell::Null, _) => false,
            (_, None) => true,
            (Cell::Long(a) | Cell::DateTime(a) | Cell::TimeSpan(a), Some(Cell::Long(b) | Cell::DateTime(b) | Cell::TimeSpan(b))) => a != b && better(1.0, 0.0) == (a > b),
            (Cell::Text(a), Some(Cell::Text(b))) => a != b && better(1.0, 0.0) == (a > b),
            (a, Some(b)) => match (a.real(), b.real()) {
                (Some(a), Some(b)) => better(a, b),
                _ => false,
            },
        };
        if wins {
            best = Some(*cell);
        }
    }
    match best {
        Some(Cell::Bool(b)) => Out::Bool(b),
        Some(Cell::Real(n)) => Out::Real(n),
        Some(Cell::Text(text) | Cell::Guid(text) | Cell::Json(text)) => Out::Text(text.to_owned()),
        Some(other) => Out::from(other.long()),
        None => Out::Null,
    }
}
