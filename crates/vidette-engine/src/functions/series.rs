//! Functions of numeric arrays. Kusto docs: `scalar-functions`, "Series element-wise functions" and "Series processing
//! functions".
//!
//! Functions of several results give them as one array; `vidette_kql` reads its elements as columns.

use super::conversion::to_json;
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json::{self, from_f64};
use serde_json::{Value, json};
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
    rows("series_sum", |a| Out::from(known(a[0]).map(|x| x.iter().sum::<f64>()))),
    rows("series_product", |a| Out::from(known(a[0]).map(|x| x.iter().product::<f64>()))),
    rows("series_magnitude", |a| Out::from(known(a[0]).map(|x| magnitude(&x)))),
    rows("series_dot_product", |a| Out::from(both(a[0], a[1]).map(|(x, y)| dot(&x, &y)))),
    rows("series_cosine_similarity", |a| {
        let Some((x, y)) = both(a[0], a[1]) else { return Out::Null };
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
    rows("series_fit_line", |a| tuple(known(a[0]).and_then(|y| Line::fit(&y)).map(|line| line.columns()))),
    rows("series_fit_line_dynamic", |a| {
        let Some(line) = known(a[0]).and_then(|y| Line::fit(&y)) else { return Out::Null };
        document(json!({
            "rsquare": from_f64(line.rsquare()), "slope": from_f64(line.slope), "variance": from_f64(line.variance), "rvariance": from_f64(line.residual),
            "interception": from_f64(line.start), "line_fit": array(&line.points()),
        }))
    }),
    rows("series_fit_2lines", |a| tuple(known(a[0]).and_then(|y| two_lines(&y)).map(|lines| lines.columns()))),
    rows("series_fit_2lines_dynamic", |a| {
        let Some(lines) = known(a[0]).and_then(|y| two_lines(&y)) else { return Out::Null };
        let side = |line: &Line| {
            json!({
                "rsquare": from_f64(line.rsquare()), "slope": from_f64(line.slope), "interception": from_f64(line.start),
                "variance": from_f64(line.variance), "rvariance": from_f64(line.residual),
            })
        };
        document(json!({
            "rsquare": from_f64(lines.rsquare()), "split_idx": lines.split, "variance": from_f64(lines.variance), "rvariance": from_f64(lines.residual),
            "line_fit": array(&lines.points()), "right": side(&lines.right), "left": side(&lines.left),
        }))
    }),
    rows("series_fit_poly", fit_poly),
    rows("series_outliers", |a| {
        let Some(series) = a[0].json().and_then(json::numbers) else { return Out::Null };
        let custom = !matches!(a.get(1), Some(Cell::Text("tukey")));
        let number = |at: usize| a.get(at).and_then(|cell| cell.real());
        let ignored = number(2).filter(|n| n.is_finite());
        let (low, high) = if custom { (number(3).unwrap_or(10.0), number(4).unwrap_or(90.0)) } else { (25.0, 75.0) };
        let tested = number(5).unwrap_or(0.0) as usize;
        document(Value::Array(outliers(&series, ignored, low, high, tested).into_iter().map(from_f64).collect()))
    }),
    rows("series_fft", |a| fourier(a, false)),
    rows("series_ifft", |a| fourier(a, true)),
    rows("series_periods_detect", |a| {
        let (Some(series), Some(least), Some(most), Some(count)) = (known(a[0]), a[1].real(), a[2].real(), a[3].long()) else { return Out::Null };
        let mut found = periods(&series, least, most);
        let count = usize::try_from(count).unwrap_or(0).min(1000);
        found.truncate(count);
        found.resize(count, (0, 0.0));
        let (lengths, scores): (Vec<Value>, Vec<Value>) = found.into_iter().map(|(period, score)| (from_f64(period as f64), from_f64(score))).unzip();
        document(json!([lengths, scores]))
    }),
    rows("series_periods_validate", |a| {
        let Some(series) = known(a[0]) else { return Out::Null };
        let asked: Vec<f64> = a[1..].iter().filter_map(|cell| cell.real()).collect();
        let score = |period: &f64| if *period < 4.0 || *period > series.len() as f64 / 2.0 { 0.0 } else { score(&series, period.round() as usize) };
        let scores: Vec<f64> = asked.iter().map(score).collect();
        document(json!([array(&asked), array(&scores)]))
    }),
    rows("axis_number", |a| match a[0] {
        Cell::Real(n) => Out::Real(n),
        other => Out::from(other.long()),
    }),
    rows("series_bin", |a| Out::from(Axis::new(a[1], Cell::Null, a[2]).and_then(|axis| axis.bin(a[0])))),
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
    rows("series_seasonal", |a| {
        let Some(series) = known(a[0]) else { return Out::Null };
        let tested = a.get(2).and_then(|cell| cell.long()).unwrap_or(0);
        document(array(&seasonal(&series, a.get(1).and_then(|cell| cell.long()).unwrap_or(-1), usize::try_from(tested).unwrap_or(0), 0.7)))
    }),
    rows("series_decompose", |a| parts(a, 1, 2, 3, 4)),
    rows("series_decompose_forecast", |a| parts(a, 2, 3, 1, 4)),
    rows("series_decompose_anomalies", anomalies),
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

fn value(cell: Cell) -> Value {
    json::parse(&to_json(cell)).unwrap_or(Value::Null)
}

fn document(value: Value) -> Out {
    Out::Text(json::write(&value))
}

fn tuple(values: Option<Vec<Value>>) -> Out {
    values.map_or(Out::Null, |values| document(Value::Array(values)))
}

fn array(numbers: &[f64]) -> Value {
    Value::Array(numbers.iter().copied().map(from_f64).collect())
}

/// The numbers of a series; `None` for what is no array, or holds something else.
fn known(cell: Cell) -> Option<Vec<f64>> {
    json::numbers(cell.json()?)?.into_iter().collect()
}

fn both(left: Cell, right: Cell) -> Option<(Vec<f64>, Vec<f64>)> {
    let number = |cell: Cell| match cell {
        Cell::Json(text) => json::parse(text)?.as_f64(),
        other => other.real(),
    };
    match (known(left), known(right)) {
        (Some(x), Some(y)) => (x.len() == y.len()).then_some((x, y)),
        (Some(x), None) => number(right).map(|n| (x.clone(), vec![n; x.len()])),
        (None, Some(y)) => number(left).map(|n| (vec![n; y.len()], y)),
        (None, None) => None,
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

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn magnitude(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
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
fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / (x.len().max(2) - 1) as f64
}

/// A least-squares line over `0, 1, 2 …`.
struct Line {
    slope: f64,
    start: f64,
    count: usize,
    variance: f64,
    /// Variance of what the line leaves over.
    residual: f64,
}

impl Line {
    fn fit(y: &[f64]) -> Option<Line> {
        if y.len() < 2 {
            return None;
        }
        let x: Vec<f64> = (0..y.len()).map(|n| n as f64).collect();
        let (mx, my) = (mean(&x), mean(y));
        let slope = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>() / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>();
        let start = my - slope * mx;
        let mut line = Line { slope, start, count: y.len(), variance: variance(y), residual: 0.0 };
        let left: Vec<f64> = line.points().iter().zip(y).map(|(fitted, y)| y - fitted).collect();
        line.residual = variance(&left);
        Some(line)
    }

    fn points(&self) -> Vec<f64> {
        (0..self.count).map(|n| self.start + self.slope * n as f64).collect()
    }

    fn rsquare(&self) -> f64 {
        explained(self.residual, self.variance)
    }

    fn columns(&self) -> Vec<Value> {
        let mut columns: Vec<Value> = [self.rsquare(), self.slope, self.variance, self.residual, self.start].into_iter().map(from_f64).collect();
        columns.push(array(&self.points()));
        columns
    }
}

fn explained(residual: f64, variance: f64) -> f64 {
    if variance == 0.0 { 1.0 } else { 1.0 - residual / variance }
}

struct TwoLines {
    split: usize,
    variance: f64,
    residual: f64,
    left: Line,
    right: Line,
}

impl TwoLines {
    fn points(&self) -> Vec<f64> {
        [self.left.points(), self.right.points()].concat()
    }

    fn rsquare(&self) -> f64 {
        explained(self.residual, self.variance)
    }

    fn columns(&self) -> Vec<Value> {
        let mut columns = vec![from_f64(self.rsquare()), json!(self.split), from_f64(self.variance), from_f64(self.residual), array(&self.points())];
        for line in [&self.right, &self.left] {
            columns.extend([line.rsquare(), line.slope, line.start, line.variance, line.residual].into_iter().map(from_f64));
        }
        columns
    }
}

/// The split whose two lines leave the least over.
fn two_lines(y: &[f64]) -> Option<TwoLines> {
    let mut best: Option<TwoLines> = None;
    for split in 2..=y.len().checked_sub(2)? {
        let (left, right) = (Line::fit(&y[..split])?, Line::fit(&y[split..])?);
        let left_over: Vec<f64> = left.points().into_iter().chain(right.points()).zip(y).map(|(fitted, y)| y - fitted).collect();
        let residual = variance(&left_over);
        if best.as_ref().is_none_or(|best| residual < best.residual) {
            best = Some(TwoLines { split, variance: variance(y), residual, left, right });
        }
    }
    best
}

/// `series_fit_poly(y, x, degree)` by normal equations over centred and scaled `x`.
fn fit_poly(a: &[Cell]) -> Out {
    let Some(y) = known(a[0]) else { return Out::Null };
    let x = match a.get(1) {
        Some(Cell::Json(_)) => match json_or_times(a[1]) {
            Some(x) if x.len() == y.len() => x,
            _ => return Out::Null,
        },
        _ => (0..y.len()).map(|n| n as f64).collect(),
    };
    let degree = a.get(2).and_then(|cell| cell.long()).unwrap_or(1);
    if !(1..=7).contains(&degree) || y.len() <= degree as usize {
        return Out::Null;
    }
    let size = degree as usize + 1;
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for (x, y) in x.iter().zip(&y) {
        for (row, line) in matrix.iter_mut().enumerate() {
            for (column, cell) in line.iter_mut().take(size).enumerate() {
                *cell += x.powi((row + column) as i32);
            }
            line[size] += y * x.powi(row as i32);
        }
    }
    let Some(coefficients) = solve(matrix) else { return Out::Null };
    let fitted: Vec<f64> = x.iter().map(|x| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)).collect();
    let left: Vec<f64> = fitted.iter().zip(&y).map(|(fitted, y)| y - fitted).collect();
    let (variance, residual) = (variance(&y), variance(&left));
    let highest_first: Vec<f64> = coefficients.into_iter().rev().collect();
    tuple(Some(vec![from_f64(explained(residual, variance)), array(&highest_first), from_f64(variance), from_f64(residual), array(&fitted)]))
}

/// Numbers, or times as days since the first.
fn json_or_times(cell: Cell) -> Option<Vec<f64>> {
    if let Some(numbers) = known(cell) {
        return Some(numbers);
    }
    let times: Option<Vec<i64>> = json::array(cell.json()?)?.iter().map(|item| vidette_kql::time::parse_datetime(item.as_str()?)).collect();
    let times = times?;
    let first = *times.first()?;
    Some(times.into_iter().map(|ticks| (ticks - first) as f64 / vidette_kql::time::TICKS_PER_DAY as f64).collect())
}

/// Gauss's elimination with pivoting of an augmented matrix.
fn solve(mut matrix: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let size = matrix.len();
    for at in 0..size {
        let pivot = (at..size).max_by(|a, b| matrix[*a][at].abs().total_cmp(&matrix[*b][at].abs()))?;
        matrix.swap(at, pivot);
        if matrix[at][at] == 0.0 {
            return None;
        }
        for row in 0..size {
            if row != at {
                let factor = matrix[row][at] / matrix[at][at];
                let pivot = matrix[at].clone();
                for (cell, above) in matrix[row].iter_mut().zip(&pivot).skip(at) {
                    *cell -= factor * above;
                }
            }
        }
    }
    Some((0..size).map(|at| matrix[at][size] / matrix[at][at]).collect())
}

/// Between neighbours by distance.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = percent / 100.0 * (sorted.len() - 1) as f64;
    let low = rank.floor().clamp(0.0, (sorted.len() - 1) as f64) as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * (rank - low as f64)
}

/// Tukey's fences: how many ranges between the percentiles a number lies outside of them. The last `tested` numbers do
/// not take part in the percentiles.
fn outliers(series: &[Option<f64>], ignored: Option<f64>, low: f64, high: f64, tested: usize) -> Vec<f64> {
    let counts = |n: &Option<f64>| n.filter(|n| n.is_finite() && Some(*n) != ignored);
    let mut sorted: Vec<f64> = series[..series.len().saturating_sub(tested)].iter().filter_map(counts).collect();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return vec![0.0; series.len()];
    }
    let (low, high) = (percentile(&sorted, low), percentile(&sorted, high));
    let range = high - low;
    let score = |n: f64| {
        if n > high {
            (n - high) / range
        } else if n < low {
            (n - low) / range
        } else {
            0.0
        }
    };
    series.iter().map(|n| counts(n).map_or(0.0, score)).map(|score| if score.is_nan() { 0.0 } else { score }).collect()
}

fn fourier(a: &[Cell], inverse: bool) -> Out {
    let Some(real) = known(a[0]) else { return Out::Null };
    let imaginary = a.get(1).and_then(|cell| known(*cell)).unwrap_or_default();
    let mut buffer: Vec<rustfft::num_complex::Complex<f64>> =
        real.iter().enumerate().map(|(at, re)| rustfft::num_complex::Complex::new(*re, imaginary.get(at).copied().unwrap_or(0.0))).collect();
    if buffer.is_empty() {
        return document(json!([[], []]));
    }
    let mut planner = rustfft::FftPlanner::new();
    let plan = if inverse { planner.plan_fft_inverse(buffer.len()) } else { planner.plan_fft_forward(buffer.len()) };
    plan.process(&mut buffer);
    let scale = if inverse { buffer.len() as f64 } else { 1.0 };
    let (re, im): (Vec<f64>, Vec<f64>) = buffer.iter().map(|c| (c.re / scale, c.im / scale)).unzip();
    document(json!([array(&re), array(&im)]))
}

/// The correlation of the series with itself, `lag` items later.
fn autocorrelation(series: &[f64], lag: usize) -> f64 {
    if lag >= series.len() {
        return 0.0;
    }
    let mean = mean(series);
    let moved: Vec<f64> = series.iter().map(|n| n - mean).collect();
    let energy = dot(&moved, &moved);
    let pairs = (series.len() - lag) as f64;
    if energy == 0.0 { 0.0 } else { dot(&moved[..series.len() - lag], &moved[lag..]) / energy * series.len() as f64 / pairs }
}

/// How sure a period is: a peak of the autocorrelation that still stands after two periods. Kusto's docs give no
/// formula; this one agrees with the examples of `series_periods_detect` and `series_seasonal`.
fn score(series: &[f64], period: usize) -> f64 {
    let at = autocorrelation(series, period);
    let peak = period > 0 && at > 0.0 && at >= autocorrelation(series, period - 1) && at >= autocorrelation(series, period + 1);
    if peak { autocorrelation(series, period * 2).clamp(0.0, 1.0) } else { 0.0 }
}

/// Periods with their scores, the best first. A multiple of a period is another only when it is much surer.
fn periods(series: &[f64], least: f64, most: f64) -> Vec<(usize, f64)> {
    const MUCH: f64 = 1.25;
    const LEAST: f64 = 0.1;
    let longest = (series.len() / 2).min(most.max(0.0) as usize);
    let mut kept: Vec<(usize, f64)> = Vec::new();
    for period in least.max(4.0).ceil() as usize..=longest {
        let score = score(series, period);
        if score >= LEAST && !kept.iter().any(|(shorter, known)| period % shorter == 0 && score < known * MUCH) {
            kept.push((period, score));
        }
    }
    kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    kept
}

/// The median of the items of each phase, without the last `tested`. Period -1 is detected, 0 is none.
fn seasonal(series: &[f64], period: i64, tested: usize, threshold: f64) -> Vec<f64> {
    let learned = &series[..series.len().saturating_sub(tested)];
    let period = match period {
        -1 => periods(learned, 0.0, f64::MAX).first().filter(|(_, score)| *score >= threshold).map_or(0, |(period, _)| *period),
        other => usize::try_from(other).unwrap_or(0),
    };
    if period == 0 || period > learned.len() {
        return vec![0.0; series.len()];
    }
    let medians: Vec<f64> = (0..period)
        .map(|phase| {
            let mut items: Vec<f64> = learned.iter().skip(phase).step_by(period).copied().collect();
            items.sort_by(f64::total_cmp);
            percentile(&items, 50.0)
        })
        .collect();
    (0..series.len()).map(|at| medians[at % period]).collect()
}

struct Parts {
    baseline: Vec<f64>,
    seasonal: Vec<f64>,
    trend: Vec<f64>,
    residual: Vec<f64>,
}

fn decompose(series: &[f64], period: i64, trend: &str, tested: usize, threshold: f64) -> Parts {
    let seasonal = seasonal(series, period, tested, threshold);
    let rest: Vec<f64> = series.iter().zip(&seasonal).map(|(x, s)| x - s).collect();
    let learned = &rest[..rest.len().saturating_sub(tested)];
    let trend = match trend {
        "none" => vec![0.0; series.len()],
        "linefit" => match Line::fit(learned) {
            Some(line) => Line { count: series.len(), ..line }.points(),
            None => vec![0.0; series.len()],
        },
        _ if learned.is_empty() => vec![0.0; series.len()],
        _ => vec![mean(learned); series.len()],
    };
    let baseline: Vec<f64> = seasonal.iter().zip(&trend).map(|(s, t)| s + t).collect();
    let residual = series.iter().zip(&baseline).map(|(x, b)| x - b).collect();
    Parts { baseline, seasonal, trend, residual }
}

/// `series_decompose` with the positions of its arguments.
fn parts(a: &[Cell], period: usize, trend: usize, tested: usize, threshold: usize) -> Out {
    let Some(series) = known(a[0]) else { return Out::Null };
    let parts = decompose(
        &series,
        a.get(period).and_then(|cell| cell.long()).unwrap_or(-1),
        a.get(trend).map_or("avg", |cell| cell.text()),
        a.get(tested).and_then(|cell| cell.long()).and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        a.get(threshold).and_then(|cell| cell.real()).unwrap_or(0.6),
    );
    document(json!([array(&parts.baseline), array(&parts.seasonal), array(&parts.trend), array(&parts.residual)]))
}

/// `series_decompose_anomalies(series, threshold, period, trend, tested, method, seasonality_threshold)`.
fn anomalies(a: &[Cell]) -> Out {
    let Some(series) = known(a[0]) else { return Out::Null };
    let threshold = a.get(1).and_then(|cell| cell.real()).unwrap_or(1.5);
    let tested = a.get(4).and_then(|cell| cell.long()).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let parts = decompose(
        &series,
        a.get(2).and_then(|cell| cell.long()).unwrap_or(-1),
        a.get(3).map_or("avg", |cell| cell.text()),
        tested,
        a.get(6).and_then(|cell| cell.real()).unwrap_or(0.6),
    );
    let (low, high) = if matches!(a.get(5), Some(Cell::Text("tukey"))) { (25.0, 75.0) } else { (10.0, 90.0) };
    let residual: Vec<Option<f64>> = parts.residual.iter().copied().map(Some).collect();
    let scores = outliers(&residual, None, low, high, tested);
    let flags: Vec<f64> = scores
        .iter()
        .map(|score| {
            if *score > threshold {
                1.0
            } else if *score < -threshold {
                -1.0
            } else {
                0.0
            }
        })
        .collect();
    document(json!([array(&flags), array(&scores), array(&parts.baseline)]))
}
