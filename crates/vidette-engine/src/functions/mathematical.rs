//! Mathematical functions. Kusto docs: `scalar-functions`, "Mathematical functions".

use super::{ScalarFunction, rows, stock};
use crate::cells::{Cell, Out};
use datafusion::logical_expr::lit;
use statrs::distribution::{Beta, Continuous, ContinuousCDF, StudentsT};

/// A function of one real number.
macro_rules! real {
    ($name:literal, $body:expr) => {
        rows($name, |a| Out::from(a[0].real().map($body)))
    };
}

/// Such a function that has no value below zero: null there, as its page says.
macro_rules! real_of_positive {
    ($name:literal, $body:expr) => {
        rows($name, |a| Out::from(a[0].real().filter(|n| n.is_nan() || *n >= 0.0).map($body)))
    };
}

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    // Of the least number there is none: null.
    rows("abs", |a| match a[0] {
        Cell::Real(n) => Out::Real(n.abs()),
        Cell::Decimal(n) => Out::Decimal(n.wrapping_abs()),
        other => Out::from(other.long().and_then(i64::checked_abs)),
    }),
    stock("pi", |_, _| lit(std::f64::consts::PI)),
    // Its page says null below zero; Kusto's emulator gives NaN.
    real!("sqrt", |n| if n < 0.0 { f64::NAN } else { n.sqrt() }),
    rows("ceiling", |a| match a[0] {
        Cell::Long(n) => Out::Long(n),
        other => Out::from(other.real().map(f64::ceil)),
    }),
    rows("round", |a| match (a[0], a.get(1).map_or(Some(0), |cell| cell.long())) {
        (Cell::Long(n), Some(digits)) if digits >= 0 => Out::Long(n),
        (Cell::Long(n), Some(digits)) => Out::Long(round_to(n as f64, digits) as i64),
        (cell, Some(digits)) => Out::from(cell.real().map(|n| round_to(n, digits))),
        _ => Out::Null,
    }),
    rows("sign", |a| {
        Out::from(a[0].real().map(|n| {
            if n > 0.0 {
                1.0
            } else if n < 0.0 {
                -1.0
            } else {
                0.0
            }
        }))
    }),
    rows("pow", |a| match (a[0].real(), a[1].real()) {
        (Some(base), Some(exponent)) => Out::Real(base.powf(exponent)),
        _ => Out::Null,
    }),
    real!("exp", f64::exp),
    real!("exp2", f64::exp2),
    real!("exp10", |n| 10f64.powf(n)),
    real_of_positive!("log", f64::ln),
    real_of_positive!("log2", f64::log2),
    real_of_positive!("log10", f64::log10),
    real!("sin", f64::sin),
    real!("cos", f64::cos),
    real!("tan", f64::tan),
    real!("asin", f64::asin),
    real!("acos", f64::acos),
    real!("atan", f64::atan),
    real!("cot", |n| 1.0 / n.tan()),
    real!("degrees", f64::to_degrees),
    real!("radians", f64::to_radians),
    rows("atan2", |a| match (a[0].real(), a[1].real()) {
        (Some(y), Some(x)) => Out::Real(y.atan2(x)),
        _ => Out::Null,
    }),
    rows("erf", |a| Out::from(a[0].real().map(libm::erf))),
    rows("erfc", |a| Out::from(a[0].real().map(libm::erfc))),
    rows("gamma", |a| Out::from(a[0].real().map(libm::tgamma).map(whole_if_near))),
    rows("loggamma", |a| Out::from(a[0].real().map(libm::lgamma))),
    rows("beta_cdf", |a| match (a[1].real(), a[2].real()) {
        // Its page says NaN; Kusto's emulator gives 1.
        (Some(alpha), Some(beta)) if alpha <= 0.0 || beta <= 0.0 => Out::Real(1.0),
        _ => distribution(a, |beta, x| if (0.0..=1.0).contains(&x) { beta.cdf(x) } else { f64::NAN }),
    }),
    rows("beta_pdf", |a| distribution(a, |beta, x| if x > 0.0 && x < 1.0 { beta.pdf(x) } else { f64::NAN })),
    rows("beta_inv", |a| match a[0].real() {
        Some(p) if !(0.0..=1.0).contains(&p) => Out::Null,
        _ => distribution(a, |beta, p| beta.inverse_cdf(p)),
    }),
    rows("welch_test", welch_test),
    rows("rank_least", |a| Out::from(a[0].real().map(|n| if n.is_nan() { i64::MIN } else { rank(n) }))),
    rows("rank_greatest", |a| Out::from(a[0].real().map(|n| if n.is_nan() { i64::MAX } else { rank(n) }))),
    rows("real_of_rank", |a| Out::from(a[0].long().map(|rank| f64::from_bits(in_order(rank) as u64)))),
    rows("isnan", |a| Out::from(a[0].real().map(f64::is_nan))),
    rows("isinf", |a| Out::from(a[0].real().map(f64::is_infinite))),
    rows("isfinite", |a| Out::from(a[0].real().map(f64::is_finite))),
    rows("rand", |a| {
        let unit = random();
        match a.first().and_then(|cell| cell.long()) {
            Some(n) if n > 0 => Out::Real((unit * n as f64).floor()),
            _ => Out::Real(unit),
        }
    }),
];

/// The function of the beta distribution with the second and third argument; NaN when they are not positive.
fn distribution(a: &[Cell], body: fn(&Beta, f64) -> f64) -> Out {
    match (a[0].real(), a[1].real(), a[2].real()) {
        (Some(x), Some(alpha), Some(beta)) => Out::Real(Beta::new(alpha, beta).map_or(f64::NAN, |beta| body(&beta, x))),
        _ => Out::Null,
    }
}

/// Factorials are whole numbers.
fn whole_if_near(value: f64) -> f64 {
    if value.abs() < 1e15 && (value - value.round()).abs() < value.abs() * 1e-13 { value.round() } else { value }
}

/// The two-sided p-value that both samples have the same mean. Kusto docs: `welch-test-function`.
fn welch_test(a: &[Cell]) -> Out {
    let numbers: Option<Vec<f64>> = a.iter().map(|cell| cell.real()).collect();
    let Some([mean1, variance1, count1, mean2, variance2, count2]) = numbers.as_deref().and_then(|n| <&[f64; 6]>::try_from(n).ok()) else { return Out::Null };
    let (first, second) = (variance1 / count1, variance2 / count2);
    let freedom = (first + second).powi(2) / (first.powi(2) / (count1 - 1.0) + second.powi(2) / (count2 - 1.0));
    let t = (mean1 - mean2) / (first + second).sqrt();
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(distribution) if !t.is_nan() => Out::Real(2.0 * distribution.cdf(-t.abs())),
        _ => Out::Real(f64::NAN),
    }
}

/// The bits of a number as a whole one of the same order; both zeros are one.
fn rank(number: f64) -> i64 {
    in_order((number + 0.0).to_bits() as i64)
}

fn in_order(bits: i64) -> i64 {
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// Half away from zero, as the docs' examples show.
fn round_to(value: f64, digits: i64) -> f64 {
    let scale = 10f64.powi(digits.clamp(-300, 300) as i32);
    let scaled = value * scale;
    if !scaled.is_finite() {
        return value;
    }
    let rounded = scaled.round() / scale;
    // The decimal text decides where binary rounding would show: 2.675 at two digits.
    if (0..=15).contains(&digits) { format!("{rounded:.*}", digits as usize).parse().unwrap_or(rounded) } else { rounded }
}

/// A number in 0..1 from the hasher's random keys.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
