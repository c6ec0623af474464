//! A Windows event, whatever it was read from.

use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// Names and values, in order.
pub(crate) type Fields = Vec<(Cow<'static, str>, Cow<'static, str>)>;

/// The system part of an event and its data fields; texts are borrowed from the record where they can be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event<'a> {
    pub provider: Cow<'a, str>,
    pub event_id: u32,
    pub version: i64,
    /// 1 critical, 2 error, 3 warning, 0 and 4 information, 5 verbose.
    pub level: i64,
    pub task: i64,
    pub opcode: i64,
    pub keywords: Cow<'a, str>,
    pub channel: Cow<'a, str>,
    pub computer: Cow<'a, str>,
    pub record_id: u64,
    /// `Execution/@ProcessID`: for Sysmon the service itself, for script blocks the right process.
    pub execution_process_id: i64,
    pub execution_thread_id: i64,
    /// `Security/@UserID`.
    pub user_sid: Cow<'a, str>,
    /// `TimeCreated` in ticks of 100 ns since 0001-01-01.
    pub created_ticks: Option<i64>,
    /// `EventData` or `UserData`, in order.
    pub data: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Event<'_> {
    /// A data field; empty when it is absent, `-`, or written as null.
    pub fn get(&self, name: &str) -> &str {
        match self.data.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, value)) if value != "-" => value,
            _ => "",
        }
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        number(self.get(name))
    }

    /// With texts of its own.
    pub fn into_owned(self) -> Event<'static> {
        let own = |text: Cow<str>| Cow::Owned(text.into_owned());
        let Event {
            provider,
            event_id,
            version,
            level,
            task,
            opcode,
            keywords,
            channel,
            computer,
            record_id,
            execution_process_id,
            execution_thread_id,
            user_sid,
            created_ticks,
            data,
        } = self;
        let [provider, keywords, channel, computer, user_sid] = [provider, keywords, channel, computer, user_sid].map(own);
        let data = data.into_iter().map(|(name, value)| (own(name), own(value))).collect();
        Event { provider, event_id, version, level, task, opcode, keywords, channel, computer, record_id, execution_process_id, execution_thread_id, user_sid, created_ticks, data }
    }

    /// The event's own time, else when it was written.
    pub fn time_ticks(&self) -> Option<i64> {
        parse_time(self.get("UtcTime")).or(self.created_ticks)
    }
}

/// A decimal or `0x` number.
pub fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|number| number as i64),
        None => text.parse().ok(),
    }
}

pub(crate) const UNIX_EPOCH_TICKS: i64 = 621_355_968_000_000_000;
/// 1601-01-01, where Windows counts from.
pub(crate) const FILETIME_EPOCH_TICKS: i64 = 504_911_232_000_000_000;

/// Ticks of `2024-01-02 03:04:05.678`, with `T`, `Z` or an offset as well.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if let Some(ticks) = plain_time(text) {
        return Some(ticks);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(to_ticks(time));
    }
    let iso = text.trim_end_matches(['Z', 'z']).trim_end_matches(" UTC").replacen(' ', "T", 1);
    format!("{iso}Z").parse::<Timestamp>().ok().map(to_ticks).or_else(|| portal_time(text))
}

/// As Microsoft's portals show times, and Log Analytics and Kibana export them: month, day, year.
fn portal_time(text: &str) -> Option<i64> {
    let time = ["%m/%d/%Y, %I:%M:%S%.f %p", "%b %d, %Y %I:%M:%S%.f %p", "%b %d, %Y @ %H:%M:%S%.f"].into_iter().find_map(|form| jiff::civil::DateTime::strptime(form, text).ok())?;
    jiff::tz::TimeZone::UTC.to_timestamp(time).ok().map(to_ticks)
}

/// `YYYY-MM-DD`, a blank or `T`, `hh:mm:ss`, a fraction of up to 7 digits, perhaps `Z`: what nearly all events hold, read
/// without the general parser.
fn plain_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let bytes = bytes.strip_suffix(b"Z").unwrap_or(bytes);
    if bytes.len() < 19 || bytes.len() > 27 || bytes[4] != b'-' || bytes[7] != b'-' || !matches!(bytes[10], b' ' | b'T') || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let digits = |from: usize, to: usize| bytes[from..to].iter().try_fold(0i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')));
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let fraction = match bytes.get(19) {
        None => 0,
        Some(b'.') if bytes.len() > 20 => digits(20, bytes.len())? * 10i64.pow(27 - bytes.len() as u32),
        Some(_) => return None,
    };
    let date = jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = i64::from(date.since(jiff::civil::Date::constant(1970, 1, 1)).ok()?.get_days());
    Some(UNIX_EPOCH_TICKS + (((days * 24 + hour) * 60 + minute) * 60 + second) * 10_000_000 + fraction)
}

pub fn to_ticks(time: Timestamp) -> i64 {
    (time.as_nanosecond().div_euclid(100)) as i64 + UNIX_EPOCH_TICKS
}

/// Seconds since 1970.
pub fn unix_seconds(ticks: i64) -> i64 {
    (ticks - UNIX_EPOCH_TICKS).div_euclid(10_000_000)
}

/// Ticks as Sysmon writes them: `2024-01-02 03:04:05.678`.
pub fn format_time(ticks: i64) -> String {
    let time = Timestamp::from_millisecond((ticks - UNIX_EPOCH_TICKS).div_euclid(10_000)).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Text of a JSON scalar; nested values as JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_writers_are_read() {
        let expected = parse_time("2024-01-02T03:04:05.678Z");
        assert_eq!(expected, Some(to_ticks("2024-01-02T03:04:05.678Z".parse().unwrap())));
        for text in ["2024-01-02 03:04:05.678", "2024-01-02T03:04:05.678000+00:00", "2024-01-02 03:04:05.678 UTC", "2024-01-02T03:04:05.6780000Z"] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        assert_eq!(parse_time("2024-01-02 03:04:05").unwrap() + 6_780_000, expected.unwrap());
        for wrong in ["2024-13-02 03:04:05", "2024-01-02 25:04:05", "2024-01-02 03:04:05.", "yesterday", ""] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }
}
