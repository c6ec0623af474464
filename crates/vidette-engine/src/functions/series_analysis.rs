//! What series show: lines, outliers, frequencies, seasons, anomalies. Kusto docs: `scalar-functions`, "Series processing
//! functions".

use super::series::{array, document, dot, known, mean, tuple, variance};
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json::{self, from_f64};
use serde_json::{Value, json};

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
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
    rows("series_seasonal", |a| {
        let Some(series) = known(a[0]) else { return Out::Null };
        let tested = a.get(2).and_then(|cell| cell.long()).unwrap_or(0);
        document(array(&seasonal(&series, a.get(1).and_then(|cell| cell.long()).unwrap_or(-1), usize::try_from(tested).unwrap_or(0), 0.7)))
    }),
    rows("series_decompose", |a| parts(a, 1, 2, 3, 4)),
    rows("series_decompose_forecast", |a| parts(a, 2, 3, 1, 4)),
    rows("series_decompose_anomalies", anomalies),
];

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
