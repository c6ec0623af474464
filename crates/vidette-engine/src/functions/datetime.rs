//! Datetime and timespan functions. Kusto docs: `scalar-functions`, "DateTime/timespan functions".

use super::operators::{to_long, to_real};
use super::{ScalarFunction, batch, rows, stock};
use crate::cells::{Cell, Out};
use arrow::array::Int64Array;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::floor;
use std::sync::Arc;
use vidette_kql::ScalarType;
use vidette_kql::time::{
    MAX_TICKS, TICKS_PER_DAY, TICKS_PER_HOUR, TICKS_PER_MICROSECOND, TICKS_PER_MILLISECOND, TICKS_PER_MINUTE, TICKS_PER_SECOND, UNIX_EPOCH_TICKS, civil_from_days, days_from_civil,
    days_in_month, ticks_from_civil,
};

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    stock("bin", |types, mut a| {
        let size = a.pop().unwrap_or_else(|| lit(1i64));
        let value = a.pop().unwrap_or_else(|| lit(1i64));
        match (types[0], &size) {
            (ScalarType::Decimal, _) => super::udf::call("decimal_bin", &[ScalarType::Decimal; 2], ScalarType::Decimal, vec![value, size]),
            (ScalarType::Real, _) => floor(value / size.clone()) * size,
            (ScalarType::Int, _) => super::udf::call("bin_int", types, types[0], vec![value, size]),
            _ => super::udf::call("bin_long", types, types[0], vec![value, size]),
        }
    }),
    rows("bin_int", |a| Out::from(bin(a[0].long(), a[1].long()))),
    batch("bin_long", |a, rows| {
        let size = Some(&a[1]).filter(|size| size.constant).and_then(|size| size.cell(0).long());
        if let (Some(values), Some(size)) = (a[0].longs(), size.filter(|size| *size > 0)) {
            return Ok(Arc::new(binned(values, 0, size, |start| start)));
        }
        Ok(Arc::new((0..rows).map(|row| bin(a[0].cell(row).long(), a[1].cell(row).long())).collect::<Int64Array>()))
    }),
    rows("datetime_utc_to_local", |a| {
        in_zone(a, |zone, ticks| {
            let offset = zone.to_offset(timestamp(ticks)?);
            Some(ticks + i64::from(offset.seconds()) * TICKS_PER_SECOND)
        })
    }),
    rows("datetime_local_to_utc", |a| {
        in_zone(a, |zone, ticks| {
            // Of two moments with this local time the earlier one; a time that a clock skips is its gap's start.
            let local = jiff::tz::Offset::UTC.to_datetime(timestamp(ticks)?);
            let offset = match zone.to_ambiguous_timestamp(local).offset() {
                jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset,
                jiff::tz::AmbiguousOffset::Gap { after, .. } => after,
                jiff::tz::AmbiguousOffset::Fold { before, .. } => before,
            };
            Some(ticks - i64::from(offset.seconds()) * TICKS_PER_SECOND)
        })
    }),
    rows("datetime_list_timezones", |_| {
        let names: Vec<serde_json::Value> = jiff::tz::db().available().map(|name| name.to_string().into()).collect();
        Out::Text(crate::json::write(&serde_json::Value::Array(names)))
    }),
    rows("bin_at", |a| match (a[0], a[1], a[2]) {
        (Cell::Real(_), ..) | (_, Cell::Real(_), _) | (.., Cell::Real(_)) if !matches!(a[0], Cell::TimeSpan(_) | Cell::DateTime(_)) => {
            match (a[0].real(), a[1].real(), a[2].real()) {
                (Some(value), Some(size), Some(at)) if size > 0.0 => Out::Real(((value - at) / size).floor() * size + at),
                _ => Out::Null,
            }
        }
        _ => match (a[0].long(), a[1].long(), a[2].long()) {
            (Some(value), Some(size), Some(at)) if size > 0 => Out::Long((value - at).div_euclid(size) * size + at),
            _ => Out::Null,
        },
    }),
    rows("startofday", |a| start(a, |days, offset| Some(days + offset))),
    rows("startofweek", |a| start(a, |days, offset| Some(days - (days + 1).rem_euclid(7) + 7 * offset))),
    rows("startofmonth", |a| start(a, month_start)),
    rows("startofyear", |a| start(a, year_start)),
    rows("endofday", |a| end(a, |days, offset| Some(days + offset + 1))),
    rows("endofweek", |a| end(a, |days, offset| Some(days - (days + 1).rem_euclid(7) + 7 * (offset + 1)))),
    rows("endofmonth", |a| end(a, |days, offset| month_start(days, offset + 1))),
    rows("endofyear", |a| end(a, |days, offset| year_start(days, offset + 1))),
    rows("dayofweek", |a| Out::from(a[0].long().map(|ticks| (ticks.div_euclid(TICKS_PER_DAY) + 1).rem_euclid(7) * TICKS_PER_DAY))),
    rows("dayofmonth", |a| part_of(a[0], "day")),
    rows("dayofyear", |a| part_of(a[0], "dayofyear")),
    rows("hourofday", |a| part_of(a[0], "hour")),
    rows("monthofyear", |a| part_of(a[0], "month")),
    rows("getmonth", |a| part_of(a[0], "month")),
    rows("getyear", |a| part_of(a[0], "year")),
    rows("week_of_year", |a| part_of(a[0], "week_of_year")),
    rows("datetime_part", |a| part_of(a[1], &a[0].text().to_ascii_lowercase())),
    rows("datetime_add", |a| match (a[1].long(), a[2].long()) {
        (Some(amount), Some(ticks)) => Out::from(add(&a[0].text().to_ascii_lowercase(), amount, ticks)),
        _ => Out::Null,
    }),
    rows("datetime_diff", |a| match (a[1].long(), a[2].long()) {
        (Some(later), Some(earlier)) => Out::from(difference(&a[0].text().to_ascii_lowercase(), later, earlier)),
        _ => Out::Null,
    }),
    rows("make_datetime", |a| {
        if let [only] = a {
            return match *only {
                Cell::DateTime(ticks) => Out::Long(ticks),
                other => Out::from(vidette_kql::time::parse_datetime(&super::conversion::display(other))),
            };
        }
        let number = |at: usize| a.get(at).map_or(Some(0), |cell| cell.long());
        let second = a.get(5).map_or(Some(0.0), |cell| cell.real());
        let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) = (number(0), number(1), number(2), number(3), number(4), second) else {
            return Out::Null;
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..60.0).contains(&second) {
            return Out::Null;
        }
        let time = hour * TICKS_PER_HOUR + minute * TICKS_PER_MINUTE + (second * TICKS_PER_SECOND as f64).round() as i64;
        Out::from(ticks_from_civil(year, month as u32, day as u32, time))
    }),
    rows("make_timespan", |a| {
        if let [only] = a {
            return match *only {
                Cell::TimeSpan(ticks) => Out::Long(ticks),
                other => Out::from(vidette_kql::time::parse_timespan(&super::conversion::display(other))),
            };
        }
        let n: Vec<f64> = a.iter().filter_map(|cell| cell.real()).collect();
        let (days, hours, minutes, seconds) = match n[..] {
            [hours, minutes] => (0.0, hours, minutes, 0.0),
            [hours, minutes, seconds] => (0.0, hours, minutes, seconds),
            [days, hours, minutes, seconds] => (days, hours, minutes, seconds),
            _ => return Out::Null,
        };
        if !(0.0..24.0).contains(&hours) || !(0.0..60.0).contains(&minutes) || !(0.0..60.0).contains(&seconds) {
            return Out::Null;
        }
        let whole = days as i64 * TICKS_PER_DAY + hours as i64 * TICKS_PER_HOUR + minutes as i64 * TICKS_PER_MINUTE;
        Out::Long(whole + (seconds * TICKS_PER_SECOND as f64).round() as i64)
    }),
    stock("unixtime_seconds_todatetime", |types, a| from_unix(types[0], a, TICKS_PER_SECOND)),
    stock("unixtime_milliseconds_todatetime", |types, a| from_unix(types[0], a, TICKS_PER_MILLISECOND)),
    stock("unixtime_microseconds_todatetime", |types, a| from_unix(types[0], a, TICKS_PER_MICROSECOND)),
    rows("unixtime_nanoseconds_todatetime", |a| Out::from(a[0].long().map(|n| n.div_euclid(100) + UNIX_EPOCH_TICKS))),
    rows("format_datetime", |a| match a[0].long() {
        Some(ticks) => Out::from(format_pattern(a[1].text(), ticks, true)),
        None => Out::Text(String::new()),
    }),
    rows("format_timespan", |a| match a[0].long() {
        Some(ticks) => Out::from(format_pattern(a[1].text(), ticks, false)),
        None => Out::Text(String::new()),
    }),
];

/// What `of` makes of the start of each value's bin, which is some times `size` from `from`. Events come sorted by their times,
/// or nearly so: most are in the bin of the one before.
pub(super) fn binned(values: &Int64Array, from: i64, size: i64, of: impl Fn(i64) -> i64) -> Int64Array {
    let last = std::cell::Cell::new((from, of(from)));
    values.unary(|value| {
        let (start, made) = last.get();
        if (value.wrapping_sub(start) as u64) < size as u64 {
            return made;
        }
        let start = value.wrapping_sub(value.wrapping_sub(from).rem_euclid(size));
        last.set((start, of(start)));
        of(start)
    })
}

/// The greatest multiple of the size that is not above the value.
fn bin(value: Option<i64>, size: Option<i64>) -> Option<i64> {
    let (value, size) = (value?, size.filter(|size| *size > 0)?);
    Some(value.wrapping_sub(value.rem_euclid(size)))
}

fn from_unix(ty: ScalarType, mut a: Vec<Expr>, unit: i64) -> Expr {
    let value = a.remove(0);
    match ty {
        ScalarType::Int | ScalarType::Long => to_long(value) * lit(unit) + lit(UNIX_EPOCH_TICKS),
        _ => to_long(to_real(value) * lit(unit as f64)) + lit(UNIX_EPOCH_TICKS),
    }
}

fn in_range(ticks: i64) -> Option<i64> {
    (0..=MAX_TICKS).contains(&ticks).then_some(ticks)
}

/// How many days, weeks, months or years on; as many as no calendar has are enough of any.
fn offset(cells: &[Cell]) -> Option<i64> {
    cells.get(1).map_or(Some(0), |cell| cell.long()).map(|offset| offset.clamp(-4_000_000, 4_000_000))
}

fn start(cells: &[Cell], day: fn(i64, i64) -> Option<i64>) -> Out {
    let offset = offset(cells);
    match (cells[0].long(), offset) {
        (Some(ticks), Some(offset)) => Out::from(day(ticks.div_euclid(TICKS_PER_DAY), offset).and_then(|days| days.checked_mul(TICKS_PER_DAY)).and_then(in_range)),
        _ => Out::Null,
    }
}

/// The last tick before the day that `day` gives.
fn end(cells: &[Cell], day: fn(i64, i64) -> Option<i64>) -> Out {
    let offset = offset(cells);
    match (cells[0].long(), offset) {
        (Some(ticks), Some(offset)) => {
            Out::from(day(ticks.div_euclid(TICKS_PER_DAY), offset).and_then(|days| days.checked_mul(TICKS_PER_DAY)).and_then(|ticks| in_range(ticks - 1)))
        }
        _ => Out::Null,
    }
}

fn month_start(days: i64, offset: i64) -> Option<i64> {
    let (year, month, _) = civil_from_days(days);
    let index = year * 12 + i64::from(month) - 1 + offset;
    Some(days_from_civil(index.div_euclid(12), index.rem_euclid(12) as u32 + 1, 1))
}

fn year_start(days: i64, offset: i64) -> Option<i64> {
    Some(days_from_civil(civil_from_days(days).0 + offset, 1, 1))
}

fn part_of(cell: Cell, part: &str) -> Out {
    Out::from(cell.long().and_then(|ticks| datetime_part(part, ticks)))
}

fn datetime_part(part: &str, ticks: i64) -> Option<i64> {
    let days = ticks.div_euclid(TICKS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let time = ticks.rem_euclid(TICKS_PER_DAY);
    Some(match part {
        "year" => year,
        "quarter" => i64::from(month - 1) / 3 + 1,
        "month" => i64::from(month),
        "week_of_year" | "weekofyear" => iso_week(days),
        "day" => i64::from(day),
        "dayofyear" | "day_of_year" => days - days_from_civil(year, 1, 1) + 1,
        "hour" => time / TICKS_PER_HOUR,
        "minute" => time / TICKS_PER_MINUTE % 60,
        "second" => time / TICKS_PER_SECOND % 60,
        "millisecond" => time / TICKS_PER_MILLISECOND % 1000,
        "microsecond" => time / TICKS_PER_MICROSECOND % 1_000_000,
        "nanosecond" => time % TICKS_PER_SECOND * 100,
        _ => return None,
    })
}

/// The ISO 8601 week: the one that holds the year's first Thursday is week 1.
fn iso_week(days: i64) -> i64 {
    // Day 0 is a Monday.
    let thursday = days - days.rem_euclid(7) + 3;
    let year = civil_from_days(thursday).0;
    (thursday - days_from_civil(year, 1, 1)) / 7 + 1
}

fn add(part: &str, amount: i64, ticks: i64) -> Option<i64> {
    let months = match part {
        "year" => Some(amount.checked_mul(12)?),
        "quarter" => Some(amount.checked_mul(3)?),
        "month" => Some(amount),
        _ => None,
    };
    if let Some(months) = months {
        let (year, month, day) = civil_from_days(ticks.div_euclid(TICKS_PER_DAY));
        let index = year * 12 + i64::from(month) - 1 + months;
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
        return ticks_from_civil(year, month, day.min(days_in_month(year, month)), ticks.rem_euclid(TICKS_PER_DAY));
    }
    let step = match part {
        "week" => amount.checked_mul(7 * TICKS_PER_DAY)?,
        "nanosecond" => amount / 100,
        other => amount.checked_mul(unit(other)?)?,
    };
    in_range(ticks.checked_add(step)?)
}

fn unit(part: &str) -> Option<i64> {
    Some(match part {
        "day" => TICKS_PER_DAY,
        "hour" => TICKS_PER_HOUR,
        "minute" => TICKS_PER_MINUTE,
        "second" => TICKS_PER_SECOND,
        "millisecond" => TICKS_PER_MILLISECOND,
        "microsecond" => TICKS_PER_MICROSECOND,
        _ => return None,
    })
}

/// Whole boundaries crossed between the two. Kusto docs: `datetime-diff-function`.
fn difference(part: &str, later: i64, earlier: i64) -> Option<i64> {
    let months = |ticks: i64| {
        let (year, month, _) = civil_from_days(ticks.div_euclid(TICKS_PER_DAY));
        year * 12 + i64::from(month) - 1
    };
    Some(match part {
        "year" => months(later).div_euclid(12) - months(earlier).div_euclid(12),
        "quarter" => months(later).div_euclid(3) - months(earlier).div_euclid(3),
        "month" => months(later) - months(earlier),
        // Weeks begin on Sunday; day 0 is a Monday.
        "week" => (later.div_euclid(TICKS_PER_DAY) + 1).div_euclid(7) - (earlier.div_euclid(TICKS_PER_DAY) + 1).div_euclid(7),
        "nanosecond" => (later - earlier).checked_mul(100)?,
        other => later.div_euclid(unit(other)?) - earlier.div_euclid(unit(other)?),
    })
}

/// .NET-like patterns: `yyyy-MM-dd HH:mm:ss.fff`. `None` for a character the docs do not list.
fn format_pattern(pattern: &str, ticks: i64, is_datetime: bool) -> Option<String> {
    let magnitude = ticks.abs();
    let days = magnitude.div_euclid(TICKS_PER_DAY);
    let time = magnitude.rem_euclid(TICKS_PER_DAY);
    let (year, month, day) = if is_datetime { civil_from_days(days) } else { (0, 0, 0) };
    let (hour, minute, second, fraction) = (time / TICKS_PER_HOUR, time / TICKS_PER_MINUTE % 60, time / TICKS_PER_SECOND % 60, time % TICKS_PER_SECOND);
    let mut out = String::new();
    if !is_datetime && ticks < 0 {
        out.push('-');
    }
    let letters: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < letters.len() {
        let letter = letters[at];
        let mut run = letters[at..].iter().take_while(|c| **c == letter).count();
        if is_datetime && matches!(letter, 'M' | 'd') {
            // Kusto has no names of months and days: a third letter begins anew.
            run = run.min(2);
        }
        at += run;
        let padded = |value: i64, width: usize| format!("{value:0width$}");
        match letter {
            'y' if is_datetime && run >= 3 => out.push_str(&padded(year, 4)),
            'y' if is_datetime => out.push_str(&padded(year % 100, run)),
            'M' if is_datetime => out.push_str(&padded(i64::from(month), run)),
            'd' if is_datetime => out.push_str(&padded(i64::from(day), run)),
            'd' => out.push_str(&padded(days, run)),
            'H' => out.push_str(&padded(hour, run.min(2))),
            'h' if is_datetime => out.push_str(&padded(if hour % 12 == 0 { 12 } else { hour % 12 }, run.min(2))),
            'h' => out.push_str(&padded(hour, run.min(2))),
            'm' => out.push_str(&padded(minute, run.min(2))),
            's' => out.push_str(&padded(second, run.min(2))),
            'f' if run <= 7 => out.push_str(&padded(fraction, 7)[..run]),
            'F' if run <= 7 => out.push_str(padded(fraction, 7)[..run].trim_end_matches('0')),
            't' if is_datetime => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            ' ' | '/' | '-' | ':' | ',' | '.' | '_' | '[' | ']' => (0..run).for_each(|_| out.push(letter)),
            _ => return None,
        }
    }
    Some(out)
}

fn timestamp(ticks: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second((ticks - UNIX_EPOCH_TICKS).div_euclid(TICKS_PER_SECOND)).ok()
}

/// Null for a zone that the IANA database does not know.
fn in_zone(a: &[Cell], convert: impl Fn(&jiff::tz::TimeZone, i64) -> Option<i64>) -> Out {
    let Cell::DateTime(ticks) = a[0] else { return Out::Null };
    match jiff::tz::TimeZone::get(a[1].text()) {
        Ok(zone) => Out::from(convert(&zone, ticks)),
        Err(_) => Out::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_bins_they_would_be_in_alone() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let (from, size, wide) = (random.i64(-50..50), random.i64(1..40), random.i64(1..100));
            let values: Int64Array = (0..50).map(|_| random.i64(-wide..wide)).chain([i64::MAX - 200, i64::MIN + 200, 0]).collect();
            let alone = values.values().iter().map(|value| (value - from).div_euclid(size) * size + from);
            assert_eq!(binned(&values, from, size, |start| start).values().to_vec(), alone.collect::<Vec<i64>>(), "{from} {size}");
        }
    }
}
