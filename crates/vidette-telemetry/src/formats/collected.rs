//! Windows events as other tools keep them: EvtxECmd's JSON and CSV, and Wazuh's alerts and archives.

use super::shapes::{flatten, level, time};
use crate::event::{Event, text};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The columns of EvtxECmd's output that tell it from all others.
const EVTXECMD: [&str; 4] = ["EventId", "Channel", "TimeCreated", "Payload"];

/// Whether these are the columns of EvtxECmd's CSV.
pub(super) fn is_evtxecmd<'n>(names: impl Iterator<Item = &'n str> + Clone) -> bool {
    EVTXECMD.iter().all(|wanted| names.clone().any(|name| name == *wanted))
}

/// A record of EvtxECmd. What the event says is JSON in `Payload`; the columns beside it are made from that for readers.
pub(super) fn evtxecmd(map: &Map<String, Value>) -> Result<Event<'static>, String> {
    let pick = |name: &str| map.get(name).map(text).unwrap_or_default();
    let number = |name: &str| pick(name).parse().unwrap_or_default();
    let keywords = match pick("Keywords") {
        known if known.eq_ignore_ascii_case("audit success") => "0x8020000000000000".to_owned(),
        known if known.eq_ignore_ascii_case("audit failure") => "0x8010000000000000".to_owned(),
        other => other,
    };
    let mut event = Event {
        provider: pick("Provider").into(),
        event_id: pick("EventId").parse().unwrap_or_default(),
        level: level(&pick("Level")),
        keywords: keywords.into(),
        channel: pick("Channel").into(),
        computer: pick("Computer").into(),
        record_id: pick("EventRecordId").parse().unwrap_or_default(),
        execution_process_id: number("ProcessId"),
        execution_thread_id: number("ThreadId"),
        user_sid: pick("UserId").into(),
        created_ticks: map.get("TimeCreated").and_then(time),
        ..Event::default()
    };
    let payload = match map.get("Payload") {
        Some(Value::String(payload)) if !payload.is_empty() => serde_json::from_str(payload).map_err(|error| format!("`Payload` is not JSON: {error}"))?,
        Some(Value::Object(payload)) => payload.clone(),
        _ => Map::new(),
    };
    flatten(payload, &mut event.data);
    event.data.retain(|(name, _)| !name.starts_with('@'));
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
