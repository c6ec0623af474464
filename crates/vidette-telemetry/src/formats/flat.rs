//! A flat event, system and data fields side by side, as NXLog and its like write a line, read in place. What is unusual gives
//! `None`, and the line is read as any other JSON is.

use super::event_json::{Keys, Object};
use super::shapes::{SOURCES, flat_event};
use crate::event::Event;
use crate::schemas::TABLES;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt::{Formatter, Result as FmtResult};

/// The event of a line, which must be an object of scalars with an `EventID` and a name of where it is from; `number` is that of
/// the line.
pub(super) fn read(line: &str, number: u64) -> Option<Event<'_>> {
    memchr::memmem::find(line.as_bytes(), b"\"EventID\"")?;
    let Object(Line(fields)) = sonic_rs::from_str(line).ok()?;
    let has = |name: &str| fields.iter().any(|(key, _)| key == name);
    let is_event = has("EventID") && SOURCES.into_iter().any(has);
    is_event.then(|| flat_event(fields, number))
}

/// The fields in order.
#[derive(Default)]
struct Line<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Keys<'de> for Line<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let value = map.next_value_seed(Scalar)?;
        // Shapes that win over this one, and texts that may hold the event.
        let other = match key.as_ref() {
            "_raw" | "System" | "Event" | "event" | "event_id" | "StringInserts" => true,
            "message" | "Message" | "xml" => value.contains("<Event"),
            "Type" => TABLES.contains_key(value.as_ref()),
            key => key.starts_with("winlog."),
        };
        if other {
            return Err(A::Error::custom("another shape"));
        }
        self.0.push((key, value));
        Ok(())
    }
}

/// The text of a scalar; of numbers only whole ones, as others are written in many ways.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut Formatter) -> FmtResult {
        f.write_str("a text, a whole number, true, false or null")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(if value { "true" } else { "false" }.into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok("".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Record, shapes};

    /// The line as the general reader has it, its data in their own order.
    fn general(line: &str) -> Option<Event<'static>> {
        let serde_json::Value::Object(map) = serde_json::from_str(line).unwrap() else { panic!("an object") };
        match shapes::classify(map, 7, std::path::Path::new("a.json")) {
            Ok(Record::Event(event)) => Some(event),
            _ => None,
        }
    }

    #[test]
    fn both_readers_give_the_same_event() {
        for line in [
            r#"{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":3,"Computer":"H","Version":5,"ThreadID":9,"RecordNumber":12,"Severity":"warning","@timestamp":"2026-03-10T09:00:00.123Z","Image":"C:\\a \"b\"é\u00e9.exe","Port":"443","Big":18446744073709551615,"Flag":true,"None":null}"#,
            r#"{"EventTime":"2026-03-10 09:00:00","Hostname":"h","SourceName":"P","EventID":"4624","Message":"An account was logged on.","UserID":"S-1-5-18","ExecutionProcessID":4}"#,
            r#"{"TimeCreated":1773133200,"ProviderName":"P","EventID":1,"Negative":-5}"#,
            r#"{"SystemTime":"2026-03-10T09:00:00.5Z","Provider_Name":"P","EventID":1,"Execution_ProcessID":4,"Security_UserID":"S-1-5-18"}"#,
        ] {
            let mut quick = read(line, 7).unwrap_or_else(|| panic!("{line}"));
            let mut general = general(line).unwrap_or_else(|| panic!("{line}"));
            quick.data.sort();
            general.data.sort();
            assert_eq!(quick, general, "{line}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_reader() {
        for line in [
            r#"{"EventID":1,"Image":"x"}"#,
            r#"{"EventID":1,"Channel":"c","Extra":{"a":1}}"#,
            r#"{"EventID":1,"Channel":"c","Ratio":1.50}"#,
            r#"{"EventID":1,"Channel":"c","Message":"<Event xmlns='x'><System>"}"#,
            r#"{"EventID":1,"Channel":"c","_raw":"x"}"#,
            r#"{"EventID":1,"Channel":"c","Type":"SecurityEvent"}"#,
            r#"{"EventID":1,"Channel":"c","winlog.channel":"c"}"#,
            r#"{"EventID":1,"Channel":"c""#,
        ] {
            assert_eq!(read(line, 7), None, "{line}");
        }
    }
}
