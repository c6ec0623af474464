//! Functions of numeric arrays. Kusto docs: `scalar-functions`, "Series element-wise functions" and "Series processing
//! functions".
//!
//! Functions of several results give them as one array; `vidette_kql` reads its elements as columns.

use super::conversion::to_json;
use super::datetime::binned;
use super::{ScalarFunction, batch, rows, stock};
use crate::cells::{Cell, Out};
use crate::json::{self, from_f64};
use arrow::array::Int64Array;
use serde_json::{Value, json};
use std::sync::Arc;
use vidette_kql::time::{format_datetime, format_timespan};

/// A function of each number of one series.
macro_rules! each {
    ($name:literal, $body:expr) => {
        rows($name, |a| map(a[0], $body))
    };
}

/// A function of the pairs of two series, or of a series and a number.
macro_rules! pairs {
    ($name:literal, $body:expr) => {
        rows($name, |a| combine(a[0], a[1], $body))
    };
}

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    each!("series_exp", f64::exp),
    each!("series_sign", |n| if n == 0.0 { 0.0 } else { n.signum() }),
    each!("series_sin", f64::sin),
    each!("series_asin", f64::asin),
    each!("series_cos", f64::cos),
    each!("series_acos", f64::acos),
    each!("series_tan", f64::tan),
    each!("series_atan", f64::atan),
    each!("series_log", f64::ln),
    each!("series_floor", f64::floor),
    rows("series_abs", |a| typed_map(a[0], f64::abs)),
    rows("series_ceiling", |a| typed_map(a[0], f64::ceil)),
    pairs!("series_add", |l, r| exact(l, r, i64::checked_add, |l, r| l + r)),
    pairs!("series_subtract", |l, r| exact(l, r, i64::checked_sub, |l, r| l - r)),
    pairs!("series_multiply", |l, r| exact(l, r, i64::checked_mul, |l, r| l * r)),
    pairs!("series_divide", |l, r| reals(l, r, |l, r| l / r)),
    pairs!("series_pow", |l, r| reals(l, r, f64::powf)),
    pairs!("series_greater", |l, r| compare(l, r, |l, r| l > r)),
    pairs!("series_greater_equals", |l, r| compare(l, r, |l, r| l >= r)),
    pairs!("series_less", |l, r| compare(l, r, |l, r| l < r)),
    pairs!("series_less_equals", |l, r| compare(l, r, |l, r| l <= r)),
    pairs!("series_equals", |l, r| compare(l, r, |l, r| l == r)),
    pairs!("series_not_equals", |l, r| compare(l, r, |l, r| l != r)),
    // Nothing adds up to 0, not to the -0 that a sum of floats begins with.
    rows("series_sum", |a| Out::from(known(a[0]).map(|x| x.iter().sum::<f64>() + 0.0))),
    // Nulls are left out, and where nothing is left Kusto's emulator gives null; what is no number makes it null by the page.
    rows("array_sum", |a| {
        let Some(items) = a[0].json().and_then(json::array).filter(|items| items.iter().all(|item| item.is_number() || item.is_null())) else { return Out::Null };
        Out::from(items.iter().filter_map(Value::as_f64).reduce(|sum, number| sum + number))
    }),
    rows("series_product", |a| Out::from(known(a[0]).map(|x| x.iter().product::<f64>()))),
    rows("series_magnitude", |a| Out::from(known(a[0]).map(|x| magnitude(&x)))),
    rows("series_dot_product", |a| Out::from(pairs(a[0], a[1]).map(|(x, y)| dot(&x, &y)))),
    rows("series_cosine_similarity", |a| {
        let Some((x, y)) = pairs(a[0], a[1]) else { return Out::Null };
        let length = |at: usize, series: &[f64]| a.get(at).and_then(|cell| cell.real()).unwrap_or_else(|| magnitude(series));
        let scale = length(2, &x) * length(3, &y);
        if scale == 0.0 { Out::Null } else { Out::Real(dot(&x, &y) / scale) }
    }),
    rows("series_pearson_correlation", |a| Out::from(both(a[0], a[1]).and_then(|(x, y)| correlation(&x, &y)))),
    rows("series_fill_const", |a| {
        let constant = a.get(1).map_or(json!(0), |cell| value(*cell));
        fill(a, 2, |series, missing| {
            for item in series.iter_mut().filter(|item| missing(item)) {
                *item = constant.clone();
            }
        })
    }),
    rows("series_fill_forward", |a| fill(a, 1, |series, missing| carry(series.iter_mut(), missing))),
    rows("series_fill_backward", |a| fill(a, 1, |series, missing| carry(series.iter_mut().rev(), missing))),
    rows("series_fill_linear", |a| {
        let edges = !matches!(a.get(2), Some(Cell::Bool(false)));
        let constant = a.get(3).map_or(json!(0.0), |cell| value(*cell));
        fill(a, 1, |series, missing| fill_linear(series, missing, edges, &constant))
    }),
    rows("series_fir", fir),
    rows("series_iir", iir),
    rows("series_stats", |a| {
        let ignore = matches!(a.get(1), Some(Cell::Bool(true)));
        tuple(
            stats(a[0], ignore)
                .map(|s| vec![from_f64(s.min), json!(s.min_at), from_f64(s.max), json!(s.max_at), from_f64(s.mean), from_f64(s.variance.sqrt()), from_f64(s.variance)]),
        )
    }),
    rows("series_stats_dynamic", |a| {
        let ignore = matches!(a.get(1), Some(Cell::Bool(true)));
        let Some(s) = stats(a[0], ignore) else { return Out::Null };
        document(json!({
            "min": from_f64(s.min), "min_idx": s.min_at, "max": from_f64(s.max), "max_idx": s.max_at, "avg": from_f64(s.mean),
            "stdev": from_f64(s.variance.sqrt()), "variance": from_f64(s.variance), "sum": from_f64(s.sum), "len": s.count,
        }))
    }),
    // Times are numbers of ticks.
    stock("axis_number", |_, mut a| a.remove(0)),
    batch("series_bin", |a, rows| {
        // Rows below a lower bound are filtered away.
        let low = Some(&a[1]).filter(|low| low.constant).map(|low| low.cell(0).long().unwrap_or(0)).filter(|low| *low >= 0);
        let width = Some(&a[2]).filter(|width| width.constant).and_then(|width| width.cell(0).long()).filter(|width| *width > 0);
        if let (Some(values), Some(low), Some(width)) = (a[0].longs(), low, width) {
            return Ok(Arc::new(binned(values, low, width, |start| start.wrapping_sub(low).div_euclid(width))));
        }
        let bin = |row: usize| Axis::new(a[1].cell(row), Cell::Null, a[2].cell(row)).and_then(|axis| axis.bin(a[0].cell(row)));
        Ok(Arc::new((0..rows).map(bin).collect::<Int64Array>()))
    }),
    rows("series_values", |a| {
        let Some((_, points, first, count)) = series_points(a) else { return Out::Null };
        let (index, default) = (a[5].long().unwrap_or(1), a[6].json().and_then(json::parse).unwrap_or(Value::Null));
        let mut values = vec![default; count];
        for point in &points {
            let place = point.get(0).and_then(Value::as_i64).and_then(|bin| usize::try_from(bin - first).ok());
            if let (Some(slot), Some(value)) = (place.and_then(|place| values.get_mut(place)), point.get(index as usize)) {
                *slot = value.clone();
            }
        }
        document(Value::Array(values))
    }),
    rows("series_axis", |a| {
        let Some((axis, _, first, count)) = series_points(a) else { return Out::Null };
        document(Value::Array((first..first + count as i64).map(|at| axis.value(at, a[5].text())).collect()))
    }),
];

/// The most bins of a series, as in Kusto.
const MOST_BINS: i64 = 1_048_576;

/// The axis of `make-series`, bins counted from `low`.
#[derive(Clone, Copy)]
enum Axis {
    /// Whole numbers and ticks.
    Whole {
        low: i64,
        high: Option<i64>,
        width: i64,
    },
    Real {
        low: f64,
        high: Option<f64>,
        width: f64,
    },
}

impl Axis {
    /// Null bounds are open: then bins are counted from zero.
    fn new(low: Cell, high: Cell, width: Cell) -> Option<Axis> {
        match width {
            Cell::Real(width) if width > 0.0 => Some(Axis::Real { low: low.real().unwrap_or(0.0), high: high.real(), width }),
            Cell::Long(width) if width > 0 => Some(Axis::Whole { low: low.long().unwrap_or(0), high: high.long(), width }),
            _ => None,
        }
    }

    fn bin(self, value: Cell) -> Option<i64> {
        match self {
            Axis::Whole { low, width, .. } => Some(value.long()?.checked_sub(low)?.div_euclid(width)),
            Axis::Real { low, width, .. } => value.real().filter(|n| n.is_finite()).map(|n| ((n - low) / width).floor() as i64),
        }
    }

    /// The bins before the upper bound.
    fn bound(self, inclusive: bool) -> Option<i64> {
        match self {
            Axis::Whole { low, high, width } => {
                high.and_then(|high| high.checked_sub(low)).map(|range| if inclusive { range.div_euclid(width) + 1 } else { -(-range).div_euclid(width) })
            }
            Axis::Real { low, high, width } => high.map(|high| if inclusive { ((high - low) / width).floor() as i64 + 1 } else { ((high - low) / width).ceil() as i64 }),
        }
    }

    fn value(self, at: i64, kind: &str) -> Value {
        match self {
            Axis::Real { low, width, .. } => from_f64(low + at as f64 * width),
            Axis::Whole { low, width, .. } => {
                let value = low.saturating_add(at.saturating_mul(width));
                match kind {
                    "datetime" => Value::String(format_datetime(value)),
                    "timespan" => Value::String(format_timespan(value)),
                    _ => json!(value),
                }
            }
        }
    }
}

/// The points of one series, `[bin, value, …]` each, and the bins it spans: from the bounds, where they are given, else
/// from its own first to its last point. The arguments are points, low, high, width and whether the high bound has a bin.
fn series_points(a: &[Cell]) -> Option<(Axis, Vec<Value>, i64, usize)> {
    let axis = Axis::new(a[1], a[2], a[3])?;
    let points = json::array(a[0].json()?)?;
    let bins = || points.iter().filter_map(|point| point.get(0)?.as_i64());
    let first = if a[1] == Cell::Null { bins().min()? } else { 0 };
    let end = match axis.bound(a[4] == Cell::Bool(true)) {
        Some(end) => end,
        None => bins().max()? + 1,
    };
    let count = end.checked_sub(first).filter(|count| (0..=MOST_BINS).contains(count))?;
    Some((axis, points, first, count as usize))
}

pub(super) fn value(cell: Cell) -> Value {
    json::parse(&to_json(cell)).unwrap_or(Value::Null)
}

pub(super) fn document(value: Value) -> Out {
    Out::Text(json::write(&value))
}

pub(super) fn tuple(values: Option<Vec<Value>>) -> Out {
    values.map_or(Out::Null, |values| document(Value::Array(values)))
}

pub(super) fn array(numbers: &[f64]) -> Value {
    Value::Array(numbers.iter().copied().map(from_f64).collect())
}

/// The numbers of a series; `None` for what is no array, or holds something else.
pub(super) fn known(cell: Cell) -> Option<Vec<f64>> {
    json::numbers(cell.json()?)?.into_iter().collect()
}

/// Numbers side by side, of two series of one length, or of a series and a number that goes with each of its elements.
fn both(left: Cell, right: Cell) -> Option<(Vec<f64>, Vec<f64>)> {
    beside(left, right, known, number).filter(|(x, y)| x.len() == y.len())
}

/// The numbers that stand side by side, up to the end of the shorter series; what is no number is left out with its neighbor. `None`
/// of an empty series. Kusto docs: `series-dot-product-function`, `series-cosine-similarity-function`.
fn pairs(left: Cell, right: Cell) -> Option<(Vec<f64>, Vec<f64>)> {
    let (x, y) = beside(left, right, |cell| cell.json().and_then(json::numbers), |cell| Some(number(cell)))?;
    (!x.is_empty() && !y.is_empty()).then(|| x.into_iter().zip(y).filter_map(|(x, y)| x.zip(y)).unzip())
}

/// Two series, of which one may be a lone value that goes with each of the other's.
fn beside<'a, T: Clone>(left: Cell<'a>, right: Cell<'a>, series: impl Fn(Cell<'a>) -> Option<Vec<T>>, lone: impl Fn(Cell<'a>) -> Option<T>) -> Option<(Vec<T>, Vec<T>)> {
    match (series(left), series(right)) {
        (Some(x), Some(y)) => Some((x, y)),
        (Some(x), None) => lone(right).map(|value| (x.clone(), vec![value; x.len()])),
        (None, Some(y)) => lone(left).map(|value| (vec![value; y.len()], y)),
        (None, None) => None,
    }
}

fn number(cell: Cell) -> Option<f64> {
    match cell {
        Cell::Json(text) => json::parse(text)?.as_f64(),
        other => other.real(),
    }
}

fn map(cell: Cell, body: fn(f64) -> f64) -> Out {
    let Some(series) = cell.json().and_then(json::numbers) else { return Out::Null };
    document(Value::Array(series.into_iter().map(|item| item.map_or(Value::Null, |n| from_f64(body(n)))).collect()))
}

/// As [`map`]; whole numbers stay whole when all are.
fn typed_map(cell: Cell, body: fn(f64) -> f64) -> Out {
    let Some(series) = cell.json().and_then(json::array) else { return Out::Null };
    if !series.iter().all(json::is_integer) {
        return map(cell, body);
    }
    document(Value::Array(series.iter().map(|item| item.as_f64().map_or(Value::Null, |n| json!(body(n) as i64))).collect()))
}

fn combine(left: Cell, right: Cell, body: fn(&Value, &Value) -> Value) -> Out {
    let (left, right) = (value(left), value(right));
    let length = match (&left, &right) {
        (Value::Array(l), Value::Array(r)) => l.len().max(r.len()),
        (Value::Array(only), _) | (_, Value::Array(only)) => only.len(),
        _ => return Out::Null,
    };
    let item = |series: &Value, at: usize| match series {
        Value::Array(items) => items.get(at).cloned().unwrap_or(Value::Null),
        one => one.clone(),
    };
    document(Value::Array((0..length).map(|at| body(&item(&left, at), &item(&right, at))).collect()))
}

fn reals(left: &Value, right: &Value, body: fn(f64, f64) -> f64) -> Value {
    match (left.as_f64(), right.as_f64()) {
        (Some(l), Some(r)) => from_f64(body(l, r)),
        _ => Value::Null,
    }
}

/// Whole numbers stay whole.
fn exact(left: &Value, right: &Value, whole: fn(i64, i64) -> Option<i64>, body: fn(f64, f64) -> f64) -> Value {
    match (left.as_i64(), right.as_i64()) {
        (Some(l), Some(r)) if json::is_integer(left) && json::is_integer(right) => whole(l, r).map_or(Value::Null, Value::from),
        _ => reals(left, right, body),
    }
}

fn compare(left: &Value, right: &Value, body: fn(f64, f64) -> bool) -> Value {
    match (left.as_f64(), right.as_f64()) {
        (Some(l), Some(r)) => Value::Bool(body(l, r)),
        _ => Value::Null,
    }
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    // A sum of nothing is -0.
    x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() + 0.0
}

fn magnitude(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

pub(super) fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

pub(super) fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mx, my) = (mean(x), mean(y));
    let (x, y): (Vec<f64>, Vec<f64>) = (x.iter().map(|n| n - mx).collect(), y.iter().map(|n| n - my).collect());
    let scale = magnitude(&x) * magnitude(&y);
    (scale > 0.0).then(|| dot(&x, &y) / scale)
}

/// Fills the missing items: nulls, or those equal to the placeholder that argument `at` names.
fn fill(a: &[Cell], at: usize, body: impl FnOnce(&mut Vec<Value>, &dyn Fn(&Value) -> bool)) -> Out {
    let Some(mut series) = a[0].json().and_then(json::array) else { return Out::Null };
    let placeholder = a.get(at).map_or(Value::Null, |cell| value(*cell));
    let missing = |item: &Value| item.is_null() || !placeholder.is_null() && (*item == placeholder || item.as_f64().is_some() && item.as_f64() == placeholder.as_f64());
    body(&mut series, &missing);
    document(Value::Array(series))
}

fn carry<'a>(series: impl Iterator<Item = &'a mut Value>, missing: &dyn Fn(&Value) -> bool) {
    let mut last: Option<Value> = None;
    for item in series {
        match &last {
            Some(value) if missing(item) => *item = value.clone(),
            _ if missing(item) => {}
            _ => last = Some(item.clone()),
        }
    }
}

fn fill_linear(series: &mut [Value], missing: &dyn Fn(&Value) -> bool, edges: bool, constant: &Value) {
    let present: Vec<usize> = (0..series.len()).filter(|at| !missing(&series[*at])).collect();
    let (Some(first), Some(last)) = (present.first().copied(), present.last().copied()) else {
        series.fill(constant.clone());
        return;
    };
    let whole = present.iter().all(|at| json::is_integer(&series[*at]));
    for pair in present.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (Some(low), Some(high)) = (series[from].as_f64(), series[to].as_f64()) else { continue };
        let step = (high - low) / (to - from) as f64;
        for (n, item) in series[from + 1..to].iter_mut().enumerate() {
            let between = low + step * (n + 1) as f64;
            *item = if whole { json!(between as i64) } else { from_f64(between) };
        }
    }
    if edges {
        let (start, end) = (series[first].clone(), series[last].clone());
        series[..first].fill(start);
        series[last + 1..].fill(end);
    }
}

/// Finite impulse response: a moving weighted sum, before the start zero.
fn fir(a: &[Cell]) -> Out {
    let (Some(series), Some(mut filter)) = (known(a[0]), known(a[1])) else { return Out::Null };
    let negative = filter.iter().any(|n| *n < 0.0);
    let normalize = match a.get(2) {
        Some(Cell::Bool(wanted)) => *wanted,
        _ => !negative,
    };
    if normalize && negative {
        return Out::Null;
    }
    let sum: f64 = filter.iter().sum();
    if normalize && sum != 0.0 {
        filter.iter_mut().for_each(|n| *n /= sum);
    }
    let shift = if matches!(a.get(3), Some(Cell::Bool(true))) { filter.len() / 2 } else { 0 };
    let at = |index: isize| usize::try_from(index).ok().and_then(|index| series.get(index)).copied().unwrap_or(0.0);
    let out: Vec<f64> = (0..series.len()).map(|n| filter.iter().enumerate().map(|(k, weight)| weight * at((n + shift) as isize - k as isize)).sum()).collect();
    document(array(&out))
}

/// Infinite impulse response.
fn iir(a: &[Cell]) -> Out {
    let (Some(series), Some(numerators), Some(denominators)) = (known(a[0]), known(a[1]), known(a[2])) else { return Out::Null };
    let Some(scale) = denominators.first().copied().filter(|n| *n != 0.0) else { return Out::Null };
    let mut out: Vec<f64> = Vec::with_capacity(series.len());
    for n in 0..series.len() {
        let fed: f64 = numerators.iter().enumerate().filter(|(k, _)| *k <= n).map(|(k, b)| b * series[n - k]).sum();
        let back: f64 = denominators.iter().enumerate().skip(1).filter(|(k, _)| *k <= n).map(|(k, weight)| weight * out[n - k]).sum();
        out.push((fed - back) / scale);
    }
    document(array(&out))
}

struct Stats {
    min: f64,
    min_at: usize,
    max: f64,
    max_at: usize,
    mean: f64,
    /// Of a sample.
    variance: f64,
    sum: f64,
    count: usize,
}

fn stats(cell: Cell, ignore_nonfinite: bool) -> Option<Stats> {
    let series = json::numbers(cell.json()?)?;
    if !ignore_nonfinite && series.iter().any(Option::is_none) {
        return None;
    }
    let present: Vec<(usize, f64)> = series.iter().enumerate().filter_map(|(at, item)| item.map(|n| (at, n))).collect();
    let (mut least, mut most) = (*present.first()?, *present.first()?);
    for item in &present {
        if item.1 < least.1 {
            least = *item;
        }
        if item.1 > most.1 {
            most = *item;
        }
    }
    let numbers: Vec<f64> = present.iter().map(|(_, n)| *n).collect();
    Some(Stats { min: least.1, min_at: least.0, max: most.1, max_at: most.0, mean: mean(&numbers), variance: variance(&numbers), sum: numbers.iter().sum(), count: series.len() })
}

/// Of a sample; 0 for less than two numbers.
pub(super) fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / (x.len().max(2) - 1) as f64
}
