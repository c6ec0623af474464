//! A Windows event, whatever it was read from.

use jiff::Timestamp;
use serde_json::Value;

/// The system part of an event and its data fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub provider: String,
    pub event_id: u32,
    pub channel: String,
    pub computer: String,
    pub record_id: u64,
    /// `Execution/@ProcessID`: for Sysmon the service itself, for script blocks the right process.
    pub execution_process_id: i64,
    /// `TimeCreated` in ticks of 100 ns since 0001-01-01.
    pub created_ticks: Option<i64>,
    /// `EventData` or `UserData`, in order.
    pub data: Vec<(String, String)>,
}

impl Event {
    /// A data field; empty when it is absent, `-`, or written as null.
    pub fn get(&self, name: &str) -> &str {
        match self.data.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, value)) if value != "-" => value,
            _ => "",
        }
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        let text = self.get(name).trim();
        match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// The event's own time, else when it was written.
    pub fn time_ticks(&self) -> Option<i64> {
        parse_time(self.get("UtcTime")).or(self.created_ticks)
    }
}

pub(crate) const UNIX_EPOCH_TICKS: i64 = 621_355_968_000_000_000;

/// Ticks of `2024-01-02 03:04:05.678`, with `T`, `Z` or an offset as well.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(to_ticks(time));
    }
    let text = text.trim_end_matches(['Z', 'z']).trim_end_matches(" UTC").replacen(' ', "T", 1);
    format!("{text}Z").parse::<Timestamp>().ok().map(to_ticks)
}

pub fn to_ticks(time: Timestamp) -> i64 {
    (time.as_nanosecond().div_euclid(100)) as i64 + UNIX_EPOCH_TICKS
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
        assert!(expected.is_some());
        for text in ["2024-01-02 03:04:05.678", "2024-01-02T03:04:05.678000+00:00", "2024-01-02 03:04:05.678 UTC"] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
    }
}
