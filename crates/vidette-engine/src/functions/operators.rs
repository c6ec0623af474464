//! Operators: logical, arithmetic and comparison. Kusto docs: `logical-operators`, `numerical-operators`,
//! `scalar-data-types/null-values`.

use super::{ScalarFunction, rows, stock};
use crate::cells::{Cell, Out};
use crate::decimal;
use arrow::datatypes::i256;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit, not, when};
use datafusion::prelude::{coalesce, isnan};
use vidette_kql::ScalarType;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    stock("and", |_, operands| balanced(operands, Expr::and)),
    stock("or", |_, operands| balanced(operands, Expr::or)),
    stock("not", |_, mut a| not(a.remove(0))),
    stock("==", equal),
    stock("!=", not_equal),
    stock("<", |types, a| ordered(types, a, Expr::lt)),
    stock("<=", |types, a| ordered(types, a, Expr::lt_eq)),
    stock(">", |types, a| ordered(types, a, Expr::gt)),
    stock(">=", |types, a| ordered(types, a, Expr::gt_eq)),
    stock("+", |types, a| in_decimals(types, pair(a, |l, r| l + r))),
    stock("-", |types, a| in_decimals(types, pair(a, |l, r| l - r))),
    stock("*", multiply),
    stock("/", divide),
    rows("decimal_multiply", |a| decimals(a, decimal::multiply)),
    rows("decimal_divide", |a| decimals(a, decimal::divide)),
    rows("%", |a| match (a[0], a[1]) {
        (Cell::Decimal(l), Cell::Decimal(r)) => decimal::remainder(l, r).map_or(Out::Null, Out::Decimal),
        (l, r) if matches!(l, Cell::Real(_)) => match (l.real(), r.real()) {
            (Some(l), Some(r)) => Out::Real(l.rem_euclid(r)),
            _ => Out::Null,
        },
        (l, r) => match (l.long(), r.long()) {
            (Some(l), Some(r)) if r != 0 => Out::Long(l.checked_rem_euclid(r).unwrap_or(0)),
            _ => Out::Null,
        },
    }),
    stock("negate", |types, mut a| {
        let operand = a.remove(0);
        match types[0] {
            ScalarType::Real => lit(-1.0) * operand,
            _ => Expr::Negative(Box::new(operand)),
        }
    }),
    stock("in", membership),
    stock("!in", |types, a| not(membership(types, a))),
];

/// Sums of decimals grow by a digit in Arrow; Kusto's keep their type.
fn in_decimals(types: &[ScalarType], sum: Expr) -> Expr {
    if types[0] == ScalarType::Decimal { datafusion::logical_expr::cast(sum, decimal::TYPE) } else { sum }
}

fn decimals(a: &[Cell], combine: fn(i256, i256) -> Option<i256>) -> Out {
    match (a[0], a[1]) {
        (Cell::Decimal(left), Cell::Decimal(right)) => combine(left, right).map_or(Out::Null, Out::Decimal),
        _ => Out::Null,
    }
}

fn pair(mut operands: Vec<Expr>, combine: fn(Expr, Expr) -> Expr) -> Expr {
    let right = operands.pop().unwrap_or_else(|| lit(ScalarValue::Null));
    let left = operands.pop().unwrap_or_else(|| lit(ScalarValue::Null));
    combine(left, right)
}

/// A chain as a tree of logarithmic depth: a rule may hold thousands of operands.
fn balanced(mut operands: Vec<Expr>, combine: fn(Expr, Expr) -> Expr) -> Expr {
    while operands.len() > 1 {
        let mut next = Vec::with_capacity(operands.len().div_ceil(2));
        let mut pairs = operands.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => combine(left, right),
                None => left,
            });
        }
        operands = next;
    }
    operands.pop().unwrap_or_else(|| lit(true))
}

fn is_present_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if !value.is_null())
}

/// Strings are never null. Elsewhere `null == null` is null and `null == 5` is false.
fn equal(types: &[ScalarType], operands: Vec<Expr>) -> Expr {
    comparison(types, operands, Expr::eq, false)
}

fn not_equal(types: &[ScalarType], operands: Vec<Expr>) -> Expr {
    comparison(types, operands, Expr::not_eq, true)
}

fn comparison(types: &[ScalarType], mut operands: Vec<Expr>, compare: fn(Expr, Expr) -> Expr, one_null: bool) -> Expr {
    let right = operands.pop().unwrap_or_else(|| lit(ScalarValue::Null));
    let left = operands.pop().unwrap_or_else(|| lit(ScalarValue::Null));
    // What is no number equals nothing, not even itself; Arrow has it otherwise.
    let nans = nans(types, [&left, &right]);
    let compare = |left: Expr, right: Expr| match nans {
        Some(nan) if one_null => compare(left, right).or(nan),
        Some(nan) => compare(left, right).and(not(nan)),
        None => compare(left, right),
    };
    if types[0] == ScalarType::String || is_present_literal(&left) && is_present_literal(&right) {
        return compare(left, right);
    }
    let compared = coalesce(vec![compare(left.clone(), right.clone()), lit(one_null)]);
    if is_present_literal(&left) || is_present_literal(&right) {
        // Docs: `val != 5` keeps a null `val` in `where`, and a null compared with a value is not null.
        return compared;
    }
    let both_null = left.is_null().and(right.is_null());
    when(both_null, lit(ScalarValue::Boolean(None))).otherwise(compared).unwrap_or_else(|_| lit(ScalarValue::Boolean(None)))
}

/// A number that is none is neither before nor after another.
fn ordered(types: &[ScalarType], operands: Vec<Expr>, compare: fn(Expr, Expr) -> Expr) -> Expr {
    let nans = nans(types, operands.iter());
    let compared = pair(operands, compare);
    match nans {
        Some(nan) => compared.and(not(nan)),
        None => compared,
    }
}

/// Whether one of the operands is no number; `None` where none can be.
fn nans<'e>(types: &[ScalarType], operands: impl IntoIterator<Item = &'e Expr>) -> Option<Expr> {
    // A whole number that became a real one is one.
    let is_number = |operand: &Expr| match operand {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => !number.is_nan(),
        operand => matches!(operand, Expr::Cast(_)),
    };
    operands.into_iter().zip(types).filter(|(operand, ty)| **ty == ScalarType::Real && !is_number(operand)).map(|(operand, _)| isnan(operand.clone())).reduce(Expr::or)
}

fn membership(types: &[ScalarType], mut operands: Vec<Expr>) -> Expr {
    let value = operands.remove(0);
    let found = value.in_list(operands, false);
    if types[0] == ScalarType::String { found } else { coalesce(vec![found, lit(false)]) }
}

fn multiply(types: &[ScalarType], operands: Vec<Expr>) -> Expr {
    // A timespan times a number is computed as real and cut to ticks.
    match (types[0], types[1]) {
        (ScalarType::TimeSpan, ScalarType::Real) | (ScalarType::Real, ScalarType::TimeSpan) => {
            let reals = operands.into_iter().map(to_real).collect();
            to_long(pair(reals, |l, r| l * r))
        }
        (ScalarType::Decimal, _) => super::udf::call("decimal_multiply", &[ScalarType::Decimal; 2], ScalarType::Decimal, operands),
        _ => pair(operands, |l, r| l * r),
    }
}

/// Integer division by zero is null; a timespan over a timespan is real.
fn divide(types: &[ScalarType], mut operands: Vec<Expr>) -> Expr {
    match (types[0], types[1]) {
        (ScalarType::Int | ScalarType::Long, _) => {
            let right = operands.pop().unwrap_or_else(|| lit(ScalarValue::Null));
            let left = operands.pop().unwrap_or_else(|| lit(ScalarValue::Null));
            if matches!(&right, Expr::Literal(ScalarValue::Int64(Some(n)), _) if *n != 0) {
                return left / right;
            }
            let zero = right.clone().eq(lit(0i64));
            left / when(zero, lit(ScalarValue::Int64(None))).otherwise(right.clone()).unwrap_or(right)
        }
        (ScalarType::TimeSpan, ScalarType::Real) => to_long(pair(operands.into_iter().map(to_real).collect(), |l, r| l / r)),
        (ScalarType::TimeSpan | ScalarType::DateTime, _) => pair(operands.into_iter().map(to_real).collect(), |l, r| l / r),
        (ScalarType::Decimal, _) => super::udf::call("decimal_divide", &[ScalarType::Decimal; 2], ScalarType::Decimal, operands),
        _ => pair(operands, |l, r| l / r),
    }
}

pub(super) fn to_real(expr: Expr) -> Expr {
    datafusion::logical_expr::cast(expr, arrow::datatypes::DataType::Float64)
}

/// Null where a number is none, or has no place in 64 bits.
pub(super) fn to_long(expr: Expr) -> Expr {
    datafusion::logical_expr::try_cast(expr, arrow::datatypes::DataType::Int64)
}
