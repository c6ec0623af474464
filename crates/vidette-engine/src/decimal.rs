//! Decimals: 256-bit integers with 22 fractional digits. Kusto docs: `scalar-data-types/decimal`.
//!
//! Kusto's decimal floats with 34 digits. The fixed form keeps 54 digits before and 22 after the point, which Arrow
//! compares, sorts and sums natively; what does not fit is null.

use arrow::datatypes::{DataType, i256};

/// Fractional digits.
pub const SCALE: i8 = 22;
/// Digits, the most of the Arrow type.
pub const PRECISION: u8 = 76;
const ONE: i256 = i256::from_i128(10_000_000_000_000_000_000_000);

pub const TYPE: DataType = DataType::Decimal256(PRECISION, SCALE);

fn fitting(value: i256) -> Option<i256> {
    let limit = i256::from_i128(10).checked_pow(u32::from(PRECISION))?;
    (value > limit.wrapping_neg() && value < limit).then_some(value)
}

/// Digits with an optional point and exponent; further fractional digits are rounded half up.
pub fn parse(text: &str) -> Option<i256> {
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
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) || digits.len() > 70 {
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
    fitting(value).map(|value| if negative { value.wrapping_neg() } else { value })
}

/// The shortest text: no zeros at the end of the fraction.
pub fn format(value: i256) -> String {
    let digits = value.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let padded = format!("{digits:0>width$}", width = SCALE as usize + 1);
    let (whole, fraction) = padded.split_at(padded.len() - SCALE as usize);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

pub fn from_long(value: i64) -> i256 {
    i256::from_i128(i128::from(value) * 10i128.pow(SCALE as u32 / 2)).wrapping_mul(i256::from_i128(10i128.pow(SCALE as u32 / 2)))
}

/// The real's shortest decimal text decides; NaN, infinities and reals out of range are `None`.
pub fn from_real(value: f64) -> Option<i256> {
    value.is_finite().then(|| parse(&format!("{value:e}")))?
}

pub fn to_real(value: i256) -> f64 {
    format(value).parse().unwrap_or(f64::NAN)
}

/// Cut towards zero.
pub fn to_long(value: i256) -> Option<i64> {
    i64::try_from(value.checked_div(ONE)?.to_i128()?).ok()
}

fn divide_rounded(value: i256, divisor: i256) -> Option<i256> {
    let half = divisor.checked_div(i256::from_i128(2))?;
    let moved = if value < i256::ZERO { value.checked_sub(half)? } else { value.checked_add(half)? };
    moved.checked_div(divisor)
}

pub fn multiply(left: i256, right: i256) -> Option<i256> {
    fitting(divide_rounded(left.checked_mul(right)?, ONE)?)
}

/// `None` for a division by zero.
pub fn divide(left: i256, right: i256) -> Option<i256> {
    if right == i256::ZERO {
        return None;
    }
    let (left, right) = if right < i256::ZERO { (left.checked_neg()?, right.checked_neg()?) } else { (left, right) };
    fitting(divide_rounded(left.checked_mul(ONE)?, right)?)
}

/// The remainder, with the sign of the divisor.
pub fn remainder(left: i256, right: i256) -> Option<i256> {
    let rest = left.checked_rem(right)?;
    if rest != i256::ZERO && (rest < i256::ZERO) != (right < i256::ZERO) { rest.checked_add(right) } else { Some(rest) }
}

/// The largest multiple of `size` that is not above the value.
pub fn floor_to(value: i256, size: i256) -> Option<i256> {
    if size == i256::ZERO { None } else { value.checked_sub(remainder(value, size)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        for text in ["0", "1.23", "-0.0000000000000000000001", "99999999999999999999.999999999999999999", "-7"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(parse("1.5e3").unwrap()), "1500");
        assert_eq!(format(parse("2.00000000000000000000005").unwrap()), "2.0000000000000000000001");
        for wrong in ["", ".", "1.2.3", "abc", "1e60", "--1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn arithmetic_rounds_and_overflows_to_none() {
        let d = |text| parse(text).unwrap();
        assert_eq!(multiply(d("1.5"), d("-2")), Some(d("-3")));
        assert_eq!(divide(d("1"), d("3")), Some(d("0.3333333333333333333333")));
        assert_eq!(divide(d("-2"), d("3")), Some(d("-0.6666666666666666666667")));
        assert_eq!(divide(d("1"), i256::ZERO), None);
        assert_eq!(multiply(d("1e30"), d("1e30")), None);
    }
}
