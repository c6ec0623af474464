//! A Windows event from the JSON that the evtx crate renders, read in place: the system part first, and the data only when
//! a table takes the event.

use crate::event::{Event, parse_time};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt::{Formatter, Result as FmtResult};

/// The event of a record; `wants` decides by its system part whether its data are read.
///
/// # Errors
/// What is wrong with the record, in words.
pub(super) fn read<'a>(record: &'a [u8], wants: &dyn Fn(&Event) -> bool) -> Result<Event<'a>, String> {
    let after = |key: &str| memchr::memmem::find(record, key.as_bytes()).map(|at| at + key.len());
    let system = after("\"System\":").ok_or("the record has no System element")?;
    let mut stream = serde_json::Deserializer::from_slice(&record[system..]).into_iter::<Object<System>>();
    let Object(System(mut event)) = stream.next().unwrap_or_else(|| Err(serde::de::Error::custom("it ends there"))).map_err(|error| format!("System: {error}"))?;
    let rest = &record[system + stream.byte_offset()..];
    if !wants(&event) {
        return Ok(event);
    }
    for key in ["\"EventData\":", "\"UserData\":", "\"ProcessingErrorData\":"] {
        // The keys stand beside System, right after it or after each other.
        let Some(at) = memchr::memmem::find(rest, key.as_bytes()) else { continue };
        let mut data = serde_json::Deserializer::from_slice(&rest[at + key.len()..]);
        Data { name: Cow::Borrowed(""), into: &mut event.data }.deserialize(&mut data).map_err(|error| format!("{key} {error}"))?;
        break;
    }
    Ok(event)
}

/// The event of a line `{"Event": {"System": …, "EventData": …}}`, as evtx_dump writes it. What is unusual gives `None`, and the line
/// is read as any other JSON is.
pub(super) fn line(line: &str) -> Option<Event<'_>> {
    line.strip_prefix('{')?.trim_ascii_start().strip_prefix("\"Event\"")?;
    let Object(Line(Parts(event))) = sonic_rs::from_str(line).ok()?;
    (event.event_id != 0 && event.created_ticks.is_some()).then_some(event)
}

/// What is done with the keys of an object.
pub(super) trait Keys<'de> {
    /// Takes the key's value, which must be read whatever the key is.
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error>;
}

/// An object, read key by key into what takes them.
#[derive(Default)]
pub(super) struct Object<K>(pub(super) K);

impl<'de, K: Keys<'de> + Default> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Object::default();
        Fill(&mut object.0).deserialize(deserializer)?;
        Ok(object)
    }
}

/// Reads an object into what takes its keys.
pub(super) struct Fill<'a, K>(pub(super) &'a mut K);

impl<'de, K: Keys<'de>> DeserializeSeed<'de> for Fill<'_, K> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K: Keys<'de>> Visitor<'de> for Fill<'_, K> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter) -> FmtResult {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            self.0.take(key, &mut map)?;
        }
        Ok(())
    }
}

/// An object with an event in it, and nothing else.
#[derive(Default)]
struct Line<'a>(Parts<'a>);

impl<'de> Keys<'de> for Line<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        if key != "Event" {
            return Err(serde::de::Error::custom("more than an event"));
        }
        map.next_value_seed(Fill(&mut self.0))
    }
}

/// The parts of an event, in any order.
#[derive(Default)]
struct Parts<'a>(Event<'a>);

impl<'de> Keys<'de> for Parts<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match key.as_ref() {
            "System" => {
                let Object(System(system)) = map.next_value()?;
                let data = std::mem::take(&mut self.0.data);
                self.0 = Event { data, ..system };
            }
            "EventData" | "UserData" => map.next_value_seed(Data { name: Cow::Borrowed(""), into: &mut self.0.data })?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct System<'a>(Event<'a>);

impl<'de> Keys<'de> for System<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let event = &mut self.0;
        let mut part = Part::default();
        // Some write attributes beside the element.
        let name = match key.as_ref() {
            "Provider_attributes" | "TimeCreated_attributes" | "Execution_attributes" | "Security_attributes" => key.trim_end_matches("_attributes"),
            other => other,
        };
        match name {
            "Provider" | "EventID" | "Version" | "Level" | "Task" | "Opcode" | "Keywords" | "TimeCreated" | "EventRecordID" | "Execution" | "Channel" | "Computer" | "Security" => {
                map.next_value_seed(&mut part)?;
            }
            _ => {
                map.next_value::<IgnoredAny>()?;
                return Ok(());
            }
        }
        match name {
            "Provider" => event.provider = part.take("Name"),
            "EventID" => event.event_id = u32::try_from(part.number("")).unwrap_or_default(),
            "Version" => event.version = part.number(""),
            "Level" => event.level = part.number(""),
            "Task" => event.task = part.number(""),
            "Opcode" => event.opcode = part.number(""),
            "Keywords" => event.keywords = part.take(""),
            "TimeCreated" => event.created_ticks = parse_time(&part.take("SystemTime")),
            "EventRecordID" => event.record_id = u64::try_from(part.number("")).unwrap_or_default(),
            "Execution" => {
                event.execution_process_id = part.number("ProcessID");
                event.execution_thread_id = part.number("ThreadID");
            }
            "Channel" => event.channel = part.take(""),
            "Computer" => event.computer = part.take(""),
            _ => event.user_sid = part.take("UserID"),
        }
        Ok(())
    }
}

/// A value with the attributes beside it; the value itself has the empty name.
#[derive(Default)]
pub(super) struct Part<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Part<'a> {
    pub(super) fn take(&mut self, name: &str) -> Cow<'a, str> {
        self.0.iter_mut().find(|(key, _)| key == name).map(|(_, value)| std::mem::take(value)).unwrap_or_default()
    }

    pub(super) fn number(&mut self, name: &str) -> i64 {
        crate::event::number(&self.take(name)).unwrap_or_default()
    }
}

impl<'de> DeserializeSeed<'de> for &mut Part<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        Data { name: Cow::Borrowed(""), into: &mut self.0 }.deserialize(deserializer)
    }
}

/// Reads a value of any shape into named texts: elements inside elements give theirs, attributes of data are left out but for
/// those of the system part, a list of texts repeats the name.
pub(super) struct Data<'a, 'de> {
    pub(super) name: Cow<'de, str>,
    pub(super) into: &'a mut Vec<(Cow<'de, str>, Cow<'de, str>)>,
}

impl<'de> DeserializeSeed<'de> for Data<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Data<'_, 'de> {
    fn push<E>(self, value: impl Into<Cow<'de, str>>) -> Result<(), E> {
        self.into.push((self.name, value.into()));
        Ok(())
    }
}

impl<'de> Visitor<'de> for Data<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter) -> FmtResult {
        f.write_str("the data of an event")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.push(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.push(value.to_owned())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.push(value.to_string())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(if value { "true" } else { "false" })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        if self.name.is_empty() { Ok(()) } else { self.push("") }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Data { name: self.name.clone(), into: self.into })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                // The system part's values are in attributes.
                "#attributes" if self.name.is_empty() => map.next_value_seed(Data { name: Cow::Borrowed(""), into: self.into })?,
                "#attributes" => drop(map.next_value::<IgnoredAny>()?),
                "#text" => map.next_value_seed(Data { name: self.name.clone(), into: self.into })?,
                _ => map.next_value_seed(Data { name: key, into: self.into })?,
            }
        }
        Ok(())
    }
}

pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut Formatter) -> FmtResult {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r##"{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"P \"q\"","Guid":"g"}},"EventID":{"#attributes":{"Qualifiers":0},"#text":7045},"Level":4,"TimeCreated":{"#attributes":{"SystemTime":"2024-01-02T03:04:05.000000Z"}},"EventRecordID":9,"Execution":{"#attributes":{"ProcessID":12,"ThreadID":13}},"Channel":"System","Computer":"H","Security":{"#attributes":{"UserID":"S-1-5-18"}}},"EventData":{"#attributes":{"Name":"n"},"Image":"C:\\a\\b.exe","Port":443,"Flag":true,"None":null,"Data":{"#text":["x","y"]}}}}"##;

    #[test]
    fn a_record_is_read_in_place() {
        let event = read(RECORD.as_bytes(), &|_| true).unwrap();
        assert_eq!((event.provider.as_ref(), event.event_id, event.record_id, event.execution_process_id), ("P \"q\"", 7045, 9, 12));
        assert_eq!((event.channel.as_ref(), event.computer.as_ref(), event.user_sid.as_ref()), ("System", "H", "S-1-5-18"));
        assert_eq!(event.created_ticks, parse_time("2024-01-02T03:04:05Z"));
        let data: Vec<(&str, &str)> = event.data.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        assert_eq!(data, [("Name", "n"), ("Image", r"C:\a\b.exe"), ("Port", "443"), ("Flag", "true"), ("None", ""), ("Data", "x"), ("Data", "y")]);
    }

    #[test]
    fn data_nobody_wants_are_not_read() {
        let broken = RECORD.replace("\"Port\":443", "\"Port\":");
        assert!(read(broken.as_bytes(), &|_| false).unwrap().data.is_empty());
        assert!(read(broken.as_bytes(), &|_| true).is_err());
    }

    #[test]
    fn a_line_is_what_the_general_reader_makes_of_it() {
        let beside = r##"{"Event":{"EventData":{"Image":"x","Data":["1","2"]},"System":{"EventID":4,"Provider_attributes":{"Name":"P"},"TimeCreated_attributes":{"SystemTime":"2024-01-02T03:04:05Z"},"Execution_attributes":{"ProcessID":1,"ThreadID":2},"Security_attributes":{"UserID":"S-1"}},"UserData":{"Op":{"#attributes":{"xmlns":"u"},"Inner":"y"}}}}"##;
        for text in [RECORD, beside] {
            let serde_json::Value::Object(map) = serde_json::from_str(text).unwrap() else { panic!("an object") };
            let Ok(crate::formats::Record::Event(general)) = crate::formats::shapes::classify(map, 1, std::path::Path::new("a.json")) else { panic!("an event") };
            assert_eq!(line(text), Some(general), "{text}");
        }
        for other in [r#"{"Event":{"System":{"EventID":4}}}"#, r#"{"Event":{"System":{"EventID":{"Value":4}}},"_raw":"x"}"#, r#"{"Event":"text"}"#] {
            assert_eq!(line(other), None, "{other}");
        }
    }
}
