//! Decimals: 128-bit integers with 18 fractional digits. Kusto docs: `scalar-data-types/decimal`.
//!
//! Kusto's decimal floats with 34 digits. The fixed form keeps 20 digits before and 18 after the point, which arrow
//! compares, sorts and sums natively; what does not fit is null.

use arrow::datatypes::{DataType, i256};

/// Fractional digits.
pub const SCALE: i8 = 18;
const ONE: i128 = 1_000_000_000_000_000_000;
/// 38 digits, the most of the Arrow type.
const LIMIT: i128 = 10i128.pow(38) - 1;

pub const TYPE: DataType = DataType::Decimal128(38, SCALE);

fn fitting(value: i256) -> Option<i128> {
    value.to_i128().filter(|value| value.abs() <= LIMIT)
}

/// Digits with an optional point and exponent; further fractional digits are rounded half up.
pub fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) || digits.len() > 80 {
        return None;
    }
    let mut value = i256::from_string(&format!("0{whole}{fraction}"))?;
    let shift = i32::from(SCALE) - fraction.len() as i32 + exponent;
    let ten = i256::from_i128(10);
    if shift >= 0 {
        value = value.checked_mul(ten.checked_pow(u32::try_from(shift).ok()?)?)?;
    } else {
        let divisor = ten.checked_pow(shift.unsigned_abs()).unwrap_or(i256::MAX);
        value = divide_rounded(value, divisor)?;
    }
    fitting(value).map(|value| if negative { -value } else { value })
}

/// The shortest text: no zeros at the end of the fraction.
pub fn format(value: i128) -> String {
    let magnitude = value.unsigned_abs();
    let (whole, fraction) = (magnitude / ONE as u128, magnitude % ONE as u128);
    let sign = if value < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{fraction:018}").trim_end_matches('0'))
}

pub fn from_long(value: i64) -> i128 {
    i128::from(value) * ONE
}

/// The real's shortest decimal text decides; NaN, infinities and reals out of range are `None`.
pub fn from_real(value: f64) -> Option<i128> {
    value.is_finite().then(|| parse(&format!("{value:e}")))?
}

pub fn to_real(value: i128) -> f64 {
    format(value).parse().unwrap_or(f64::NAN)
}

/// Cut towards zero.
pub fn to_long(value: i128) -> Option<i64> {
    i64::try_from(value / ONE).ok()
}

fn divide_rounded(value: i256, divisor: i256) -> Option<i256> {
    let half = divisor.checked_div(i256::from_i128(2))?;
    let moved = if value < i256::ZERO { value.checked_sub(half)? } else { value.checked_add(half)? };
    moved.checked_div(divisor)
}

pub fn multiply(left: i128, right: i128) -> Option<i128> {
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    fitting(divide_rounded(product, i256::from_i128(ONE))?)
}

/// `None` for a division by zero.
pub fn divide(left: i128, right: i128) -> Option<i128> {
    let (left, right) = if right < 0 { (left.checked_neg()?, right.checked_neg()?) } else { (left, right) };
    fitting(divide_rounded(i256::from_i128(left).checked_mul(i256::from_i128(ONE))?, (right != 0).then(|| i256::from_i128(right))?)?)
}

/// The largest multiple of `size` that is not above the value.
pub fn floor_to(value: i128, size: i128) -> Option<i128> {
    if size == 0 { None } else { value.checked_sub(value.checked_rem_euclid(size)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        for text in ["0", "1.23", "-0.000000000000000001", "99999999999999999999.999999999999999999", "-7"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(parse("1.5e3").unwrap()), "1500");
        assert_eq!(format(parse("2.0000000000000000005").unwrap()), "2.000000000000000001");
        for wrong in ["", ".", "1.2.3", "abc", "1e40", "--1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn arithmetic_rounds_and_overflows_to_none() {
        let d = |text| parse(text).unwrap();
        assert_eq!(multiply(d("1.5"), d("-2")), Some(d("-3")));
        assert_eq!(divide(d("1"), d("3")), Some(d("0.333333333333333333")));
        assert_eq!(divide(d("-2"), d("3")), Some(d("-0.666666666666666667")));
        assert_eq!(divide(d("1"), 0), None);
        assert_eq!(multiply(d("10000000000"), d("10000000000")), None);
    }
}
