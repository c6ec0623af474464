//! Zeek's `conn`, `dns`, `ssl`, `quic` and `http` logs, as tab-separated text or JSON lines, to `DeviceNetworkEvents`. The sensor
//! is no device, so the side that began the connection stands for one. Zeek docs: "Log Files", the page of each.

use super::{Record, Sink};
use crate::error::Problem;
use crate::event::{UNIX_EPOCH_TICKS, text};
use crate::normalize::columns::connection;
use crate::row::{Field, Row};
use crate::schemas::TABLES;
use serde_json::{Map, Value};
use std::io::BufRead;
use std::path::Path;

/// The fields of `AdditionalFields`, by the name of the log's field.
const PROPERTIES: &[&str] = &[
    "uid",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "query",
    "qtype_name",
    "rcode_name",
    "answers",
    "server_name",
    "version",
    "cipher",
    "subject",
    "issuer",
    "ja3",
    "ja3s",
    "established",
    "validation_status",
    "method",
    "host",
    "uri",
    "referrer",
    "user_agent",
    "status_code",
    "request_body_len",
    "response_body_len",
    "resp_mime_types",
];

pub(super) fn recognizes(head: &[u8]) -> bool {
    head.starts_with(b"#separator")
}

/// A field of a JSON line. The ends of a connection are `id.orig_h`, or `id_orig_h` where dots are not wanted, or parts of `id`.
fn field<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let nested = || map.get("id")?.get(name.strip_prefix("id.")?);
    map.get(name).or_else(|| map.get(&name.replacen("id.", "id_", 1))).or_else(nested).filter(|value| !value.is_null())
}

/// Whether a JSON object is a line of a log of Zeek.
pub(super) fn is_line(map: &Map<String, Value>) -> bool {
    map.contains_key("ts") && (field(map, "id.orig_h").is_some() || map.contains_key("uid") || map.contains_key("fuid") || map.contains_key("@stream"))
}

/// The `ActionType` of the log that a line is of: told by the log's name, of which sites make `http_proxy` and packages `open_http`,
/// else by the fields that only it has.
fn kind(log: Option<&str>, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let named = |part: &str| match part {
        "dns" => Some("DnsConnectionInspected"),
        "ssl" | "quic" => Some("SslConnectionInspected"),
        "http" => Some("HttpConnectionInspected"),
        "conn" => Some("ConnectionSuccess"),
        _ => None,
    };
    if let Some(log) = log {
        return log.split(['_', '-', '.']).find_map(named);
    }
    Some(if has("query") || has("qtype") {
        "DnsConnectionInspected"
    } else if has("server_name") || has("cipher") {
        "SslConnectionInspected"
    } else if has("call_id") {
        return None; // SIP's requests have a method, a URI and a status as HTTP's have.
    } else if has("method") || has("status_code") || has("uri") {
        "HttpConnectionInspected"
    } else if has("conn_state") {
        "ConnectionSuccess"
    } else {
        return None;
    })
}

/// Zeek's states of a connection that was refused or never answered.
fn failed(state: &str) -> bool {
    matches!(state, "S0" | "REJ" | "RSTOS0" | "RSTRH" | "SH" | "SHR")
}

/// The row of a line; `None` when it is of another log.
pub(super) fn row(map: &Map<String, Value>) -> Option<Row> {
    let log = map.get("@stream").or_else(|| map.get("_path")).and_then(Value::as_str);
    row_of(log, &|name| field(map, name).cloned(), &|name| field(map, name).is_some())
}

fn row_of(log: Option<&str>, get: &dyn Fn(&str) -> Option<Value>, has: &dyn Fn(&str) -> bool) -> Option<Row> {
    if !has("id.orig_h") {
        return None;
    }
    let mut action = kind(log, has)?;
    let word = |name: &str| get(name).map(|value| text(&value)).unwrap_or_default();
    if action == "ConnectionSuccess" && failed(&word("conn_state")) {
        action = "ConnectionFailed";
    }
    let mut row = Row::new(&TABLES["DeviceNetworkEvents"]);
    let time = match get("ts") {
        Some(Value::String(text)) => text.parse::<f64>().ok().map(ticks).or_else(|| crate::event::parse_time(&text)),
        Some(value) => value.as_f64().map(ticks),
        None => None,
    };
    let (source, destination) = (word("id.orig_h"), word("id.resp_h"));
    row.ticks("Timestamp", time).ticks("TimeGenerated", time).text("Type", "DeviceNetworkEvents").text("ActionType", action).text("DeviceName", source.as_str());
    row.links.time_ticks = time.unwrap_or_default();
    row.links.host = source.as_str().into();
    let port = |name: &str| word(name).parse::<i64>().ok();
    let protocol = match word("proto").as_str() {
        "tcp" => "Tcp",
        "udp" => "Udp",
        "icmp" => "Icmp",
        _ if action == "SslConnectionInspected" || action == "HttpConnectionInspected" => "Tcp",
        _ => "",
    };
    connection(&mut row, true, (&source, port("id.orig_p")), (&destination, port("id.resp_p")), protocol);
    let url = [word("server_name"), word("host"), word("query")].into_iter().find(|name| !name.is_empty());
    // A resolver is not the host that was asked for, but Defender puts the question here too.
    row.text("RemoteUrl", url.unwrap_or_default());
    let bag: Map<String, Value> = PROPERTIES.iter().filter_map(|name| Some(((*name).to_owned(), get(name)?))).collect();
    row.set("AdditionalFields", Field::Json(Value::Object(bag).to_string()));
    Some(row)
}

fn ticks(seconds: f64) -> i64 {
    // Microseconds are what a double holds of today's times; what is no time of the calendar is its first or last second.
    UNIX_EPOCH_TICKS + (seconds.clamp(-62_135_596_800.0, 253_402_300_799.0) * 1e6).round() as i64 * 10
}

/// What the head of a tab-separated log says.
struct Head {
    separator: char,
    list: char,
    empty: String,
    unset: String,
    path: Option<String>,
    fields: Vec<String>,
    types: Vec<String>,
}

impl Head {
    /// Takes in a line that begins with `#`.
    fn take(&mut self, line: &str) {
        let (name, rest) = line.split_once([' ', self.separator]).unwrap_or((line, ""));
        let names = || rest.split(self.separator).map(str::to_owned).collect();
        match name {
            "#separator" => self.separator = escaped(rest).unwrap_or('\t'),
            "#set_separator" => self.list = rest.chars().next().unwrap_or(','),
            "#empty_field" => self.empty = rest.to_owned(),
            "#unset_field" => self.unset = rest.to_owned(),
            "#path" => self.path = Some(rest.to_owned()),
            "#fields" => self.fields = names(),
            "#types" => self.types = names(),
            _ => {}
        }
    }

    fn value(&self, at: usize, text: &str) -> Option<Value> {
        if text == self.unset || text == self.empty {
            return None;
        }
        let ty = self.types.get(at).map_or("", String::as_str);
        Some(match ty {
            "count" | "int" | "port" => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
            "bool" => (text == "T").into(),
            _ if ty.starts_with("vector") || ty.starts_with("set") => Value::Array(text.split(self.list).map(Into::into).collect()),
            _ => text.into(),
        })
    }
}

/// `\x09` as the character it stands for; shippers that write the head anew write `\t`.
fn escaped(text: &str) -> Option<char> {
    match text.trim().strip_prefix('\\') {
        Some("t") => Some('\t'),
        Some(code) => u8::from_str_radix(code.strip_prefix('x')?, 16).ok().map(char::from),
        None => text.chars().next(),
    }
}

pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let mut head = Head { separator: '\t', list: ',', empty: "(empty)".to_owned(), unset: "-".to_owned(), path: None, fields: Vec::new(), types: Vec::new() };
    let mut bytes = Vec::new();
    for number in 1u64.. {
        bytes.clear();
        let place = || format!("line {number}");
        let length = super::json::take_line(&mut input, &mut bytes).map_err(|error| Problem::at(path, place(), error.to_string()))?;
        if length == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.starts_with('#') {
            head.take(line);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let mut values: Vec<&str> = line.split(head.separator).collect();
        if values.len() == head.fields.len() + 1 && values.last() == Some(&"") {
            values.pop(); // A separator ends the line.
        }
        if values.len() != head.fields.len() {
            sink.problem(Problem::at(path, place(), format!("{} values for {} fields", values.len(), head.fields.len())));
            continue;
        }
        let at = |name: &str| head.fields.iter().position(|field| field == name);
        match row_of(head.path.as_deref(), &|name| at(name).and_then(|at| head.value(at, values[at])), &|name| at(name).is_some()) {
            Some(row) => {
                if !sink.record(Record::Row(row)) {
                    return Ok(());
                }
            }
            None => return Err(Problem::other_zeek_log(path)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ticks;
    use crate::event::parse_time;

    #[test]
    fn what_is_no_time_is_the_nearest_that_is_one() {
        assert_eq!(Some(ticks(1_600_000_000.25)), parse_time("2020-09-13T12:26:40.25Z"));
        assert_eq!((Some(ticks(1e300)), ticks(f64::NEG_INFINITY)), (parse_time("9999-12-31T23:59:59Z"), 0));
    }
}
