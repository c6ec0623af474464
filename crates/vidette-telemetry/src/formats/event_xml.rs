//! Windows events as XML, wherever they stand: in a file of their own, in syslog lines, in text around them. Sysmon for
//! Linux writes its events so, and `wevtutil` and the Event Viewer export them so.

use super::{Record, Sink};
use crate::error::Problem;
use crate::event::{Event, Fields, number, parse_time};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event as Token};
use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::path::Path;

/// An event longer than this is refused rather than held in memory.
const EVENT_LIMIT_BYTES: usize = 16 << 20;
const READ_BYTES: usize = 1 << 18;

/// Where an `Event` element begins, not an `EventData` or `Events`.
fn start_of_event(text: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(text, b"<Event").find(|at| matches!(text.get(at + 6), Some(b'>' | b' ' | b'\t' | b'\r' | b'\n')))
}

pub(super) fn recognizes(head: &[u8]) -> bool {
    start_of_event(head).is_some()
}

pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut text = Vec::new();
    let mut number = 0u64;
    loop {
        let before = text.len();
        let read = (&mut input).take(READ_BYTES as u64).read_to_end(&mut text).map_err(|error| Problem::at(path, format!("event {}", number + 1), error.to_string()))?;
        let mut done = 0;
        while let Some(start) = start_of_event(&text[done..]).map(|at| done + at) {
            // What was searched before has no end in it.
            let from = start.max(before.saturating_sub(16));
            let Some(end) = memchr::memmem::find(&text[from..], b"</Event>").map(|at| from + at + b"</Event>".len()) else {
                done = start;
                break;
            };
            number += 1;
            match parse(&String::from_utf8_lossy(&text[start..end])) {
                Ok(event) => {
                    if !sink.record(Record::Event(event)) {
                        return Ok(());
                    }
                }
                Err(message) => sink.problem(Problem::at(path, format!("event {number}"), message)),
            }
            done = end;
        }
        if start_of_event(&text[done..]).is_none() {
            // The start of an element may be cut.
            done = done.max(text.len().saturating_sub(8));
        }
        text.drain(..done);
        if read == 0 {
            if start_of_event(&text).is_some() {
                sink.problem(Problem::at(path, format!("event {}", number + 1), "the file ends within the event"));
            }
            return Ok(());
        }
        if text.len() > EVENT_LIMIT_BYTES {
            sink.problem(Problem::at(path, format!("event {}", number + 1), format!("an event of more than {} MiB", EVENT_LIMIT_BYTES >> 20)));
            text.clear();
        }
    }
}

/// The fields of an `EventData` or `UserData` element, wherever in the text it stands; none when it is no XML.
pub(crate) fn data_of_xml(text: &str) -> Fields {
    let element = ["EventData", "UserData"].into_iter().find_map(|name| {
        let (start, end) = (format!("<{name}"), format!("</{name}>"));
        let element = &text[text.find(&start)?..];
        Some(&element[..element.rfind(&end)? + end.len()])
    });
    element.and_then(|element| parse(&format!("<Event><System><EventID>1</EventID></System>{element}</Event>")).ok()).map(|event| event.data).unwrap_or_default()
}

/// The event of one `Event` element.
///
/// # Errors
/// What is wrong with the XML, in words.
pub(super) fn parse(xml: &str) -> Result<Event<'static>, String> {
    let mut reader = Reader::from_str(xml);
    let mut event = Event::default();
    // The names of the open elements, the text of the innermost, and the name of its data.
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut label = None;
    let mut had_elements = false;
    let wrong = |error: &dyn std::fmt::Display| format!("not the XML of an event: {error}");
    loop {
        match reader.read_event().map_err(|error| wrong(&error))? {
            Token::Start(element) => {
                label = start(&mut event, &open, &element);
                open.push(String::from_utf8_lossy(element.local_name().as_ref()).into_owned());
                text.clear();
                had_elements = false;
            }
            Token::Empty(element) => {
                let label = start(&mut event, &open, &element);
                let name = String::from_utf8_lossy(element.local_name().as_ref()).into_owned();
                close(&mut event, &open, name, label, "");
                had_elements = true;
            }
            Token::Text(part) => text.push_str(&part.decode().map_err(|error| wrong(&error))?),
            Token::CData(part) => text.push_str(&String::from_utf8_lossy(&part)),
            Token::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => text.push(character),
                _ => text.push_str(quick_xml::escape::resolve_predefined_entity(&String::from_utf8_lossy(&reference)).unwrap_or_default()),
            },
            Token::End(_) => {
                let name = open.pop().unwrap_or_default();
                if !had_elements {
                    close(&mut event, &open, name, label.take(), &text);
                }
                text.clear();
                had_elements = true;
            }
            Token::Eof => break,
            _ => {}
        }
    }
    if event.provider.is_empty() && event.event_id == 0 {
        return Err("the event has no System element".to_owned());
    }
    Ok(event)
}

fn is_data(open: &[String]) -> bool {
    open.get(1).is_some_and(|part| matches!(part.as_str(), "EventData" | "UserData" | "ProcessingErrorData"))
}

/// Takes what the attributes say; gives the name of a `Data`.
fn start(event: &mut Event, open: &[String], element: &BytesStart) -> Option<String> {
    let system = open.get(1).is_some_and(|part| part == "System");
    let mut label = None;
    for attribute in element.attributes().with_checks(false).flatten() {
        let value = attribute.unescape_value().map(Cow::into_owned).unwrap_or_default();
        match (element.local_name().as_ref(), attribute.key.local_name().as_ref()) {
            (b"Provider", b"Name") if system => event.provider = value.into(),
            (b"TimeCreated", b"SystemTime") if system => event.created_ticks = parse_time(&value),
            (b"Execution", b"ProcessID") if system => event.execution_process_id = number(&value).unwrap_or_default(),
            (b"Execution", b"ThreadID") if system => event.execution_thread_id = number(&value).unwrap_or_default(),
            (b"Security", b"UserID" | b"UserId") if system => event.user_sid = value.into(),
            (b"Data", b"Name") if is_data(open) => label = Some(value),
            _ => {}
        }
    }
    label
}

fn close(event: &mut Event, open: &[String], name: String, label: Option<String>, text: &str) {
    if is_data(open) {
        event.data.push((label.unwrap_or(name).into(), text.to_owned().into()));
        return;
    }
    if open.len() != 2 || open[1] != "System" {
        return;
    }
    let long = || number(text).unwrap_or_default();
    match name.as_str() {
        "EventID" => event.event_id = u32::try_from(long()).unwrap_or_default(),
        "Version" => event.version = long(),
        "Level" => event.level = long(),
        "Task" => event.task = long(),
        "Opcode" => event.opcode = long(),
        "Keywords" => event.keywords = text.to_owned().into(),
        "EventRecordID" => event.record_id = u64::try_from(long()).unwrap_or_default(),
        "Channel" => event.channel = text.to_owned().into(),
        "Computer" => event.computer = text.to_owned().into(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_anywhere_in_a_text() {
        let one = |text| data_of_xml(text).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(one(r#"<DataItem type="x"><EventData><Data Name="a">1</Data><Data>2</Data></EventData></DataItem>"#), ["a=1", "Data=2"]);
        assert_eq!(one("<UserData><Op xmlns='u'><b>3</b></Op></UserData>"), ["b=3"]);
        for broken in ["", "text", "</EventData><EventData>", "<EventData", "<EventData></UserData>", "<EventData><a></EventData>"] {
            assert!(one(broken).is_empty(), "{broken}");
        }
    }

    #[test]
    fn an_element_becomes_an_event() {
        let event = parse(
            r#"<Event xmlns="x"><System><Provider Name="Linux-Sysmon" Guid="{g}"/><EventID>1</EventID><Level>4</Level><TimeCreated SystemTime="2024-01-02T03:04:05.5Z"/><EventRecordID>7</EventRecordID><Correlation/><Execution ProcessID="9" ThreadID="10"/><Channel>Linux-Sysmon/Operational</Channel><Computer>web01</Computer><Security UserId="0"/></System><EventData><Data Name="Image">/usr/bin/curl</Data><Data Name="CommandLine">curl &quot;a&quot; &amp; &#98;</Data><Data Name="User">-</Data><Data>plain</Data></EventData></Event>"#,
        )
        .unwrap();
        assert_eq!((event.provider.as_ref(), event.event_id, event.record_id, event.execution_process_id), ("Linux-Sysmon", 1, 7, 9));
        assert_eq!((event.channel.as_ref(), event.computer.as_ref(), event.user_sid.as_ref()), ("Linux-Sysmon/Operational", "web01", "0"));
        assert_eq!((event.get("Image"), event.get("CommandLine"), event.get("User"), event.get("Data")), ("/usr/bin/curl", r#"curl "a" & b"#, "", "plain"));
        assert_eq!(event.created_ticks, parse_time("2024-01-02T03:04:05.5Z"));
    }

    #[test]
    fn what_is_no_event_is_told() {
        assert!(parse("<Event><EventData/></Event>").unwrap_err().contains("no System"));
        assert!(parse("<Event><System></Event>").unwrap_err().contains("not the XML"));
    }
}
