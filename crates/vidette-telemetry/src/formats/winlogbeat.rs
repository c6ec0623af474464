//! A line of Winlogbeat, read in place: the shape that logs are most often shipped in, and so the one that must be fast.
//! What is unusual gives `None`, and the line is read as any other JSON is.

use super::event_json::{Data, Fill, Keys, Object, Part};
use crate::event::{Event, parse_time};
use serde::de::{Error, IgnoredAny, MapAccess};
use std::borrow::Cow;

/// The event of a line, which must be an object with an object `winlog` in it.
pub(super) fn read(line: &str) -> Option<Event<'_>> {
    memchr::memmem::find(line.as_bytes(), b"\"winlog\":")?;
    let Object(Line { winlog, created_ticks, host, level, is_whole }) = sonic_rs::from_str(line).ok()?;
    let mut event = winlog.0;
    event.created_ticks = created_ticks;
    event.level = super::shapes::level(&level);
    if event.computer.is_empty() {
        event.computer = host;
    }
    (is_whole && created_ticks.is_some() && !event.provider.is_empty()).then_some(event)
}

#[derive(Default)]
struct Line<'a> {
    winlog: Winlog<'a>,
    created_ticks: Option<i64>,
    host: Cow<'a, str>,
    level: Cow<'a, str>,
    is_whole: bool,
}

impl<'de> Keys<'de> for Line<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let mut part = Part::default();
        match key.as_ref() {
            "@timestamp" => {
                map.next_value_seed(&mut part)?;
                self.created_ticks = parse_time(&part.take(""));
            }
            "host" => {
                map.next_value_seed(&mut part)?;
                self.host = part.take("name");
            }
            "log" => {
                map.next_value_seed(&mut part)?;
                self.level = part.take("level");
            }
            "winlog" => {
                map.next_value_seed(Fill(&mut self.winlog))?;
                self.is_whole = true;
            }
            // Shapes that win over this one.
            "_raw" | "Event" | "System" | "result" | "records" => return Err(A::Error::custom("another shape")),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// The event as far as the object `winlog` tells it.
#[derive(Default)]
struct Winlog<'a>(Event<'a>);

impl<'de> Keys<'de> for Winlog<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let event = &mut self.0;
        if matches!(key.as_ref(), "event_data" | "user_data") {
            return map.next_value_seed(Data { name: Cow::Borrowed(""), into: &mut event.data });
        }
        let wanted = ["provider_name", "channel", "computer_name", "event_id", "record_id", "version", "task", "opcode", "process", "user"];
        if !wanted.contains(&key.as_ref()) {
            map.next_value::<IgnoredAny>()?;
            return Ok(());
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
            assert_eq!(read(line), Some(general(line)), "{line}");
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
            assert_eq!(read(line), None, "{line}");
        }
    }
}
