//! Windows events as other tools keep them: EvtxECmd's JSON and CSV, and Wazuh's alerts and archives.

use super::shapes::{flatten, level, time};
use crate::event::{Event, Fields, parse_time, text};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The columns of EvtxECmd's output that tell it from all others.
const EVTXECMD: [&str; 4] = ["EventId", "Channel", "TimeCreated", "Payload"];

/// Whether these are the columns of EvtxECmd's CSV.
pub(super) fn is_evtxecmd<'n>(names: impl Iterator<Item = &'n str> + Clone) -> bool {
    EVTXECMD.iter().all(|wanted| names.clone().any(|name| name == *wanted))
}

/// The columns of EvtxECmd that are read; those beside them are made for people from what `Payload` says.
pub(super) const EVTXECMD_READ: [&str; 12] =
    ["Provider", "EventId", "Level", "Keywords", "Channel", "Computer", "EventRecordId", "ProcessId", "ThreadId", "UserId", "TimeCreated", "Payload"];

/// A record of EvtxECmd, of the texts of its columns [`EVTXECMD_READ`]. The data of an event that nobody wants are not read.
pub(super) fn evtxecmd<'t>(texts: [&'t str; 12], wants: impl Fn(&Event) -> bool) -> Result<Event<'t>, String> {
    let [provider, id, of_level, keywords, channel, computer, record_id, process_id, thread_id, user_sid, created, payload] = texts;
    let keywords = match keywords {
        known if known.eq_ignore_ascii_case("audit success") => "0x8020000000000000",
        known if known.eq_ignore_ascii_case("audit failure") => "0x8010000000000000",
        other => other,
    };
    let mut event = Event {
        provider: provider.into(),
        event_id: id.parse().unwrap_or_default(),
        level: level(of_level),
        keywords: keywords.into(),
        channel: channel.into(),
        computer: computer.into(),
        record_id: record_id.parse().unwrap_or_default(),
        execution_process_id: process_id.parse().unwrap_or_default(),
        execution_thread_id: thread_id.parse().unwrap_or_default(),
        user_sid: user_sid.into(),
        created_ticks: parse_time(created),
        ..Event::default()
    };
    if !payload.is_empty() && wants(&event) {
        let payload = serde_json::from_str(payload).map_err(|error| format!("`Payload` is not JSON: {error}"))?;
        let mut data = Fields::new();
        flatten(payload, &mut data);
        data.retain(|(name, _)| !name.starts_with('@'));
        event.data = data;
    }
    Ok(event)
}

/// An event of Wazuh: `win`, alone or in `data`, with dots in its names or without.
pub(super) fn wazuh(map: &mut Map<String, Value>) -> Option<Event<'static>> {
    let win = match map.get_mut("data") {
        Some(Value::Object(data)) if data.contains_key("win") => data,
        _ => map,
    };
    let Some(Value::Object(win)) = win.get_mut("win") else { return None };
    let Some(Value::Object(system)) = win.remove("system") else { return None };
    let pick = |name: &str| system.get(name).map(text).unwrap_or_default();
    let number = |name: &str| pick(name).parse().unwrap_or_default();
    let mut event = Event {
        provider: pick("providerName").into(),
        event_id: pick("eventID").parse().unwrap_or_default(),
        version: number("version"),
        level: number("level"),
        task: number("task"),
        opcode: number("opcode"),
        keywords: pick("keywords").into(),
        channel: pick("channel").into(),
        computer: pick("computer").into(),
        record_id: pick("eventRecordID").parse().unwrap_or_default(),
        execution_process_id: number("processID"),
        execution_thread_id: number("threadID"),
        created_ticks: system.get("systemTime").and_then(time),
        ..Event::default()
    };
    if let Some(Value::Object(data)) = win.remove("eventdata").or_else(|| win.remove("userdata")) {
        flatten(data, &mut event.data);
    }
    // Wazuh writes names with a small first letter, and most versions every backslash twice.
    let doubled = event.data.iter().any(|(_, value)| value.contains('\\')) && event.data.iter().all(|(_, value)| is_doubled(value));
    for (name, value) in &mut event.data {
        if !name.starts_with("param") && name.starts_with(|first: char| first.is_ascii_lowercase()) {
            let mut capital = std::mem::take(name).into_owned();
            capital[..1].make_ascii_uppercase();
            *name = Cow::Owned(capital);
        }
        if doubled {
            *value = value.replace(r"\\", r"\").into();
        }
    }
    Some(event)
}

/// Whether backslashes come in pairs only.
fn is_doubled(text: &str) -> bool {
    text.split(|c| c != '\\').all(|run| run.len() % 2 == 0)
}
