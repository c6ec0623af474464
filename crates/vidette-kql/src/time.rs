//! Kusto's datetime and timespan as ticks of 100 ns: reading and writing their text forms.
//!
//! A datetime counts from 0001-01-01T00:00:00Z and ends with 9999-12-31. Kusto docs: `scalar-data-types/datetime`,
//! `scalar-data-types/timespan`.

pub const TICKS_PER_MICROSECOND: i64 = 10;
pub const TICKS_PER_MILLISECOND: i64 = 10_000;
pub const TICKS_PER_SECOND: i64 = 10_000_000;
pub const TICKS_PER_MINUTE: i64 = 60 * TICKS_PER_SECOND;
pub const TICKS_PER_HOUR: i64 = 60 * TICKS_PER_MINUTE;
pub const TICKS_PER_DAY: i64 = 24 * TICKS_PER_HOUR;
/// 1970-01-01 in ticks.
pub const UNIX_EPOCH_TICKS: i64 = 719_162 * TICKS_PER_DAY;
/// 9999-12-31T23:59:59.9999999Z.
pub const MAX_TICKS: i64 = 3_652_059 * TICKS_PER_DAY - 1;

/// Year, month, day of the day number counted from 0001-01-01 (day 0), in the proleptic Gregorian calendar.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 306;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`]; the day may overflow its month.
pub fn days_from_civil(year: i64, month: u32, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 306
}

pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Ticks of a calendar date and a time of day in ticks; `None` outside Kusto's range.
pub fn ticks_from_civil(year: i64, month: u32, day: u32, time_of_day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let ticks = days_from_civil(year, month, i64::from(day)) * TICKS_PER_DAY + time_of_day;
    (0..=MAX_TICKS).contains(&ticks).then_some(ticks)
}

/// `2024-01-02T03:04:05.1234567Z`, always seven digits.
pub fn format_datetime(ticks: i64) -> String {
    let (year, month, day) = civil_from_days(ticks.div_euclid(TICKS_PER_DAY));
    let time = ticks.rem_euclid(TICKS_PER_DAY);
    let (seconds, fraction) = (time / TICKS_PER_SECOND, time % TICKS_PER_SECOND);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:07}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `[-][d.]hh:mm:ss[.fffffff]`; the fraction is left out when it is zero.
pub fn format_timespan(ticks: i64) -> String {
    let magnitude = ticks.unsigned_abs();
    let sign = if ticks < 0 { "-" } else { "" };
    let day = TICKS_PER_DAY as u64;
    let (days, rest) = (magnitude / day, magnitude % day);
    let (seconds, fraction) = (rest / TICKS_PER_SECOND as u64, rest % TICKS_PER_SECOND as u64);
    let days = if days > 0 { format!("{days}.") } else { String::new() };
    let fraction = if fraction > 0 { format!(".{fraction:07}") } else { String::new() };
    format!("{sign}{days}{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Reads `d.hh:mm:ss.fffffff` and its shorter forms, a number of days, or a literal such as `1.5h`.
pub fn parse_timespan(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let ticks = if body.contains(':') {
        timespan_with_colons(body)?
    } else if let Some(number) = body.strip_suffix("seconds").filter(|number| number.ends_with(' ')) {
        crate::lexer::timespan_literal(&format!("{}s", number.trim_end()))?
    } else if body.ends_with(|c: char| c.is_ascii_alphabetic()) {
        crate::lexer::timespan_literal(body)?
    } else {
        body.parse::<i64>().ok()?.checked_mul(TICKS_PER_DAY)?
    };
    Some(if negative { -ticks } else { ticks })
}

fn timespan_with_colons(body: &str) -> Option<i64> {
    // The sign stands before all of it, and no part has more digits than these.
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    let parts: Vec<&str> = body.split(':').collect();
    let (days, hours) = match parts[0].split_once('.') {
        Some((days, hours)) => (number(days)?, hours),
        None => (0, parts[0]),
    };
    let (days, hours, minutes, seconds) = match parts.len() {
        2 => (days, number(hours)?, parts[1], "0"),
        3 => (days, number(hours)?, parts[1], parts[2]),
        4 => (number(hours)?, number(parts[1])?, parts[2], parts[3]),
        _ => return None,
    };
    let minutes = number(minutes)?;
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let seconds = number(seconds)?;
    if minutes > 59 || seconds > 59 || hours > 23 && parts.len() != 2 {
        return None;
    }
    days.checked_mul(TICKS_PER_DAY)?.checked_add(hours * TICKS_PER_HOUR + minutes * TICKS_PER_MINUTE + seconds * TICKS_PER_SECOND + fraction_ticks(fraction)?)
}

/// Ticks of the digits after the decimal point of a second; digits past the seventh are cut.
fn fraction_ticks(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seven: String = digits.chars().chain(std::iter::repeat('0')).take(7).collect();
    seven.parse().ok()
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads the datetime formats Kusto documents: ISO 8601, RFC 822 and RFC 850, and month/day/year.
pub fn parse_datetime(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() || !text.is_ascii() {
        return None;
    }
    let names_month = text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word.len() >= 3 && MONTHS.iter().any(|month| word.to_ascii_lowercase().starts_with(month)));
    if names_month { parse_named_month(text) } else { parse_numeric(text) }
}

fn parse_numeric(text: &str) -> Option<i64> {
    let split = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, time) = (&text[..split], text.get(split + 1..).unwrap_or("").trim());
    let date = date.strip_suffix(['Z', 'z']).unwrap_or(date);
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let number = |n: usize| parts.get(n).and_then(|part| part.parse::<u32>().ok());
    let (year, month, day) = match parts.len() {
        1 if date.len() == 8 => (date[..4].parse().ok()?, date[4..6].parse().ok()?, date[6..].parse().ok()?),
        1 if date.len() == 4 => (number(0)?, 1, 1),
        2 if parts[0].len() == 4 => (number(0)?, number(1)?, 1),
        3 if parts[0].len() == 4 => (number(0)?, number(1)?, number(2)?),
        3 if parts[2].len() == 4 => (number(2)?, number(0)?, number(1)?),
        3 if parts[2].len() == 2 => (2000 + number(2)?, number(0)?, number(1)?),
        _ => return None,
    };
    let (time_of_day, offset) = parse_time_of_day(time)?;
    let ticks = ticks_from_civil(i64::from(year), month, day, 0)? + time_of_day - offset;
    (0..=MAX_TICKS).contains(&ticks).then_some(ticks)
}

/// `Sat, 8 Nov 2014 15:05:02 GMT`, `Saturday, 08-Nov-14 15:05:02 UTC`, `8 Nov 14 15:05`, `Nov 8, 2014`.
fn parse_named_month(text: &str) -> Option<i64> {
    // A day of the week is a word of its own before a comma.
    let text = text.split_once(',').filter(|(day, _)| !day.trim().contains(' ')).map_or(text, |(_, rest)| rest);
    let mut words = text.split([' ', '-', ',']).filter(|word| !word.is_empty());
    let (first, second) = (words.next()?, words.next()?);
    let month_of = |word: &str| MONTHS.iter().position(|month| word.to_ascii_lowercase().starts_with(month));
    let (day, month) = match month_of(second) {
        Some(month) => (first.parse::<u32>().ok()?, month),
        None => (second.parse::<u32>().ok()?, month_of(first)?),
    };
    let year: i64 = words.next()?.parse().ok()?;
    let year = if year < 50 {
        year + 2000
    } else if year < 100 {
        year + 1900
    } else {
        year
    };
    let rest: Vec<&str> = words.collect();
    let (time_of_day, offset) = parse_time_of_day(&rest.join(" "))?;
    Some(ticks_from_civil(year, month as u32 + 1, day, 0)? + time_of_day - offset)
}

/// Ticks since midnight and the zone's offset in ticks. An empty text is midnight UTC.
fn parse_time_of_day(text: &str) -> Option<(i64, i64)> {
    let mut text = text.trim();
    let mut offset = 0;
    let lower = text.to_ascii_lowercase();
    let mut half_day = None;
    for (suffix, hours) in [("am", 0), ("pm", 12)] {
        if lower.ends_with(suffix) {
            half_day = Some(hours);
            text = text[..text.len() - 2].trim();
        }
    }
    for zone in ["z", "gmt", "utc"] {
        if lower.ends_with(zone) {
            text = text[..text.len() - zone.len()].trim();
        }
    }
    if let Some(at) = text.rfind(['+', '-']) {
        let digits: String = text[at + 1..].chars().filter(|c| *c != ':').collect();
        if digits.len() != 4 && digits.len() != 2 {
            return None;
        }
        let hours: i64 = digits[..2].parse().ok()?;
        let minutes: i64 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
        offset = hours * TICKS_PER_HOUR + minutes * TICKS_PER_MINUTE;
        if text.as_bytes()[at] == b'-' {
            offset = -offset;
        }
        text = text[..at].trim();
    }
    if text.is_empty() {
        return Some((0, offset));
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    let mut hours: i64 = parts[0].parse().ok()?;
    if let Some(half) = half_day {
        hours = hours % 12 + half;
    }
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    let minutes = parts.get(1).map_or(Some(0), |part| number(part))?;
    let (seconds, fraction) = parts.get(2).map_or(("0", ""), |part| part.split_once(['.', ',']).unwrap_or((part, "")));
    let seconds = number(seconds)?;
    if hours > 24 || minutes > 59 || seconds > 59 || hours < 0 {
        return None;
    }
    Some((hours * TICKS_PER_HOUR + minutes * TICKS_PER_MINUTE + seconds * TICKS_PER_SECOND + fraction_ticks(fraction)?, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_round_trip_over_the_whole_range() {
        for text in ["0001-01-01T00:00:00.0000000Z", "1601-01-01T00:00:00.0000000Z", "2024-02-29T23:59:59.1234567Z", "9999-12-31T23:59:59.9999999Z"] {
            assert_eq!(format_datetime(parse_datetime(text).unwrap()), text);
        }
        assert_eq!(parse_datetime("1970-01-01"), Some(UNIX_EPOCH_TICKS));
    }

    #[test]
    fn documented_datetime_formats_are_read() {
        let expected = parse_datetime("2014-11-08T15:05:02Z");
        for text in ["Sat, 8 Nov 14 15:05:02 GMT", "8 Nov 2014 15:05:02", "Saturday, 08-Nov-14 15:05:02 UTC", "2014-11-08 17:05:02+02:00", "11/08/2014 3:05:02 PM"] {
            assert_eq!(parse_datetime(text), expected, "{text}");
        }
        assert_eq!(parse_datetime("2014-13-01"), None);
        assert_eq!(parse_datetime("tomorrow"), None);
    }

    #[test]
    fn parts_of_timespans_are_checked() {
        for wrong in ["2024:-05555555555555555552", "1:-5", "1:2:-3", "1.-2:00:00", "99999999999999999999:00", "4294967295.00:00:00"] {
            assert_eq!(parse_timespan(wrong), None, "{wrong}");
        }
        assert_eq!(parse_datetime("2024-01-01 10:-99999999999999999-0100"), None);
    }

    #[test]
    fn timespans_round_trip() {
        for text in ["1.02:03:04.0000005", "-10675199.02:48:05.4775807", "00:00:00"] {
            assert_eq!(format_timespan(parse_timespan(text).unwrap()), text);
        }
        assert_eq!(parse_timespan("1.5h"), Some(TICKS_PER_HOUR * 3 / 2));
        assert_eq!(parse_timespan("2"), Some(2 * TICKS_PER_DAY));
    }
}
