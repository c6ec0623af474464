//! A line of Winlogbeat, read in place: the shape that logs are most often shipped in, and so the one that must be fast.
//! What is unusual gives `None`, and the line is read as any other JSON is.

use super::event_json::{Data, Part, Text};
use crate::event::{Event, parse_time};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt::{Formatter, Result as FmtResult};

/// The event of a line, which must be an object with an object `winlog` in it.
pub(super) fn read(line: &[u8]) -> Option<Event<'_>> {
    memchr::memmem::find(line, b"\"winlog\":")?;
    let Line { event, is_whole } = sonic_rs::from_slice(line).ok()?;
    (is_whole && !event.provider.is_empty()).then_some(event)
}

#[derive(Default)]
struct Line<'a> {
    event: Event<'a>,
    is_whole: bool,
}

impl<'de> Deserialize<'de> for Line<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut Formatter) -> FmtResult {
        f.write_str("a record of Winlogbeat")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
        let mut line = Line::default();
        let (mut host, mut level) = (Cow::Borrowed(""), Cow::Borrowed(""));
        while let Some(Text(key)) = map.next_key()? {
            let mut part = Part::default();
            match key.as_ref() {
                "@timestamp" => {
                    map.next_value_seed(&mut part)?;
                    line.event.created_ticks = parse_time(&part.take(""));
                }
                "host" => {
                    map.next_value_seed(&mut part)?;
                    host = part.take("name");
                }
                "log" => {
                    map.next_value_seed(&mut part)?;
                    level = part.take("level");
                }
                "winlog" => {
                    map.next_value_seed(Winlog(&mut line.event))?;
                    line.is_whole = true;
                }
                // Shapes that win over this one.
                "_raw" | "Event" | "System" | "result" | "records" => {
                    map.next_value::<IgnoredAny>()?;
                    return Ok(Line::default());
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        line.event.level = super::shapes::level(&level);
        if line.event.computer.is_empty() {
            line.event.computer = host;
        }
        line.is_whole &= line.event.created_ticks.is_some();
        Ok(line)
    }
}

struct Winlog<'a, 'de>(&'a mut Event<'de>);

impl<'de> DeserializeSeed<'de> for Winlog<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Winlog<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter) -> FmtResult {
        f.write_str("the object winlog")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let event = self.0;
        while let Some(Text(key)) = map.next_key()? {
            if matches!(key.as_ref(), "event_data" | "user_data") {
                map.next_value_seed(Data { name: Cow::Borrowed(""), into: &mut event.data })?;
                continue;
            }
            let wanted = ["provider_name", "channel", "computer_name", "event_id", "record_id", "version", "task", "opcode", "process", "user"];
            if !wanted.contains(&key.as_ref()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let mut part = Part::default();
            map.next_value_seed(&mut part)?;
            match key.as_ref() {
                "provider_name" => event.provider = part.take(""),
                "channel" => event.channel = part.take(""),
                "computer_name" => event.computer = part.take(""),
                "event_id" => event.event_id = u32::try_from(part.number("")).unwrap_or_default(),
                "record_id" => event.record_id = u64::try_from(part.number("")).unwrap_or_default(),
                "version" => event.version = part.number(""),
                "task" => event.task = part.number(""),
                "opcode" => event.opcode = part.number(""),
                "process" => event.execution_process_id = part.number("pid"),
                _ => event.user_sid = part.take("identifier"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Record, shapes};

    /// The line as the general reader has it.
    fn general(line: &str) -> Event<'static> {
        let serde_json::Value::Object(map) = serde_json::from_str(line).unwrap() else { panic!("an object") };
        match shapes::classify(map, 1, std::path::Path::new("a.json")) {
            Ok(Record::Event(event)) => event,
            _ => panic!("an event"),
        }
    }

    #[test]
    fn both_readers_give_the_same_event() {
        for line in [
            r#"{"@timestamp":"2026-03-10T09:00:00.123Z","log":{"level":"warning"},"host":{"name":"h","os":{"family":"windows"}},"message":"a \"winlog\" line","winlog":{"provider_name":"Microsoft-Windows-Sysmon","event_id":"3","record_id":77,"channel":"c","computer_name":"H.example","version":5,"task":"Network (rule: x)","opcode":"Info","process":{"pid":4,"thread":{"id":5}},"user":{"identifier":"S-1-5-18","name":"SYSTEM"},"event_data":{"Image":"C:\\a.exe","Port":443,"Quote":"\"é\u00e9","Empty":""}}}"#,
            r#"{"winlog":{"event_data":{"a":"b"},"event_id":4624,"provider_name":"P","user_data":{"xml_name":"x","Inner":"y"}},"@timestamp":"2026-03-10T09:00:00Z","host":{"name":"only-here"}}"#,
        ] {
            assert_eq!(read(line.as_bytes()), Some(general(line)), "{line}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_reader() {
        for line in [
            r#"{"winlog":{"event_id":1}}"#,
            r#"{"winlog":"text","@timestamp":"2026-03-10T09:00:00Z"}"#,
            r#"{"winlog":{"event_id":1,"provider_name":"P"},"@timestamp":"never"}"#,
            r#"{"_raw":"x","winlog":{"event_id":1,"provider_name":"P"},"@timestamp":"2026-03-10T09:00:00Z"}"#,
            r#"{"winlog":{"event_id":1,"provider_name":"P"}"#,
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
