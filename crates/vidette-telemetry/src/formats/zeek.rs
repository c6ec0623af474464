//! Zeek's `conn`, `dns`, `ssl`, `quic` and `http` logs, as tab-separated text or JSON lines, to `DeviceNetworkEvents`. The sensor
//! is no device, so the side that began the connection stands for one. Zeek docs: "Log Files", the page of each.

use super::event_json::{Keys, Object};
use super::rows::{is_of_another_shape, is_read};
use super::{Record, Sink};
use crate::error::Problem;
use crate::event::{UNIX_EPOCH_TICKS, text};
use crate::normalize::columns::connection;
use crate::row::{Field, Row};
use crate::schemas::{TABLES, TableSchema};
use memchr::memmem::Finder;
use serde::Serialize;
use serde::de::{Error, MapAccess};
use serde_json::{Map, Value};
use sonic_rs::LazyValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::LazyLock;

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

/// The fields of a line of a log.
trait Line {
    /// Whether the log has the field.
    fn has(&self, name: &str) -> bool;
    /// What the field holds, as text; nothing where it is unset.
    fn text(&self, name: &str) -> Option<Cow<'_, str>>;
    /// Adds what the field holds, as JSON; nothing where it is unset.
    fn write(&self, name: &str, into: &mut Vec<u8>) -> Option<()>;
}

impl Line for Map<String, Value> {
    fn has(&self, name: &str) -> bool {
        field(self, name).is_some()
    }

    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        field(self, name).map(|value| value.as_str().map_or_else(|| text(value).into(), Cow::Borrowed))
    }

    fn write(&self, name: &str, into: &mut Vec<u8>) -> Option<()> {
        json(field(self, name)?, into)
    }
}

fn json(value: &(impl Serialize + ?Sized), into: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(into, value).ok()
}

/// The fields of a line of JSON as they stand there, but for null ones; those of the connection's ends with dots.
#[derive(Default)]
struct Written<'l>(Vec<(Cow<'l, str>, Cow<'l, str>)>);

impl<'de> Keys<'de> for Written<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        const OTHERS: [&str; 8] = ["message", "Message", "EventID", "EventId", "Id", "AuditData", "RecordType", "eventVersion"];
        let value = map.next_value::<LazyValue>()?.as_raw_cow();
        // Shapes that win over this one.
        if key != "ts" && is_of_another_shape(&key) || OTHERS.contains(&key.as_ref()) || key == "id" && value.starts_with('{') {
            return Err(A::Error::custom("another shape"));
        }
        if value != "null" {
            let key = if key.starts_with("id_") { key.replacen("id_", "id.", 1).into() } else { key };
            self.0.push((key, value));
        }
        Ok(())
    }
}

impl Written<'_> {
    /// Of two of one name the last counts.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }
}

impl Line for Written<'_> {
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = self.get(name)?;
        match value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => Some(text.into()),
            Some(_) => serde_json::from_str(value).ok().map(Cow::Owned),
            None => Some(value.into()),
        }
    }

    fn write(&self, name: &str, into: &mut Vec<u8>) -> Option<()> {
        let value = self.get(name)?;
        // Only what is surely written as it would be here goes as it stands.
        if !value.starts_with('"') || value.bytes().any(|byte| byte < b' ' || byte == b'\\') {
            return json(&serde_json::from_str::<Value>(value).ok()?, into);
        }
        into.extend_from_slice(value.as_bytes());
        Some(())
    }
}

/// The row of a line of JSON, read in place. What is unusual gives `None`, and the line is read as any other JSON is.
pub(super) fn read_json(line: &str, sink: &dyn Sink) -> Option<Row> {
    static END: LazyLock<Finder> = LazyLock::new(|| Finder::new("orig_h\""));
    END.find(line.as_bytes())?;
    let Object(fields): Object<Written> = sonic_rs::from_str(line).ok()?;
    let log = ["@stream", "_path"].into_iter().find_map(|name| fields.get(name)).and_then(|log| log.strip_prefix('"')?.strip_suffix('"'));
    let action = if fields.has("ts") { action(log, &fields) } else { None };
    action.map(|action| row_of(action, &fields, reads_bag(sink)))
}

/// Whether the sink reads `AdditionalFields`.
fn reads_bag(sink: &dyn Sink) -> bool {
    TABLE.position("AdditionalFields").is_none_or(|at| is_read(sink.reads(*TABLE), at, &TABLE.columns[at]))
}

/// `AdditionalFields` of a line.
fn bag(line: &dyn Line) -> String {
    let mut bag = vec![b'{'];
    for name in PROPERTIES {
        let before = bag.len();
        if before > 1 {
            bag.push(b',');
        }
        json(*name, &mut bag);
        bag.push(b':');
        if line.write(name, &mut bag).is_none() {
            bag.truncate(before);
        }
    }
    bag.push(b'}');
    String::from_utf8(bag).unwrap_or_default()
}

/// The row of a line; `None` when it is of another log.
pub(super) fn row(map: &Map<String, Value>) -> Option<Row> {
    let log = map.get("@stream").or_else(|| map.get("_path")).and_then(Value::as_str);
    action(log, map).map(|action| row_of(action, map, true))
}

/// The `ActionType` of lines of a log, unless no table takes them.
fn action(log: Option<&str>, line: &dyn Line) -> Option<&'static str> {
    if line.has("id.orig_h") { kind(log, &|name| line.has(name)) } else { None }
}

static TABLE: LazyLock<&TableSchema> = LazyLock::new(|| &TABLES["DeviceNetworkEvents"]);

/// The row of a line whose log has this `ActionType`, with or without `AdditionalFields`.
fn row_of(mut action: &'static str, line: &dyn Line, with_bag: bool) -> Row {
    let word = |name: &str| line.text(name).unwrap_or_default();
    if action == "ConnectionSuccess" && failed(&word("conn_state")) {
        action = "ConnectionFailed";
    }
    let mut row = Row::new(*TABLE);
    let time = line.text("ts").and_then(|time| time.parse::<f64>().ok().map(ticks).or_else(|| crate::event::parse_time(&time)));
    let (source, destination) = (word("id.orig_h"), word("id.resp_h"));
    row.ticks("Timestamp", time).ticks("TimeGenerated", time).text("Type", "DeviceNetworkEvents").text("ActionType", action).text("DeviceName", source.as_ref());
    row.links.time_ticks = time.unwrap_or_default();
    row.links.host = source.as_ref().into();
    let port = |name: &str| word(name).parse::<i64>().ok();
    let protocol = match word("proto").as_ref() {
        "tcp" => "Tcp",
        "udp" => "Udp",
        "icmp" => "Icmp",
        _ if action == "SslConnectionInspected" || action == "HttpConnectionInspected" => "Tcp",
        _ => "",
    };
    connection(&mut row, true, (&source, port("id.orig_p")), (&destination, port("id.resp_p")), protocol);
    let url = ["server_name", "host", "query"].into_iter().map(word).find(|name| !name.is_empty());
    // A resolver is not the host that was asked for, but Defender puts the question here too.
    row.text("RemoteUrl", url.unwrap_or_default());
    if with_bag {
        row.set("AdditionalFields", Field::Json(bag(line)));
    }
    row
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
    fields: HashMap<String, usize, foldhash::fast::FixedState>,
    types: Vec<String>,
    /// How many values a line has.
    width: usize,
}

impl Default for Head {
    fn default() -> Head {
        Head { separator: '\t', list: ',', empty: "(empty)".to_owned(), unset: "-".to_owned(), path: None, fields: HashMap::default(), types: Vec::new(), width: 0 }
    }
}

impl Head {
    /// Takes in a line that begins with `#`.
    fn take(&mut self, line: &str) {
        let (name, rest) = line.split_once([' ', self.separator]).unwrap_or((line, ""));
        let names = || rest.split(self.separator).map(str::to_owned);
        match name {
            "#separator" => self.separator = escaped(rest).unwrap_or('\t'),
            "#set_separator" => self.list = rest.chars().next().unwrap_or(','),
            "#empty_field" => self.empty = rest.to_owned(),
            "#unset_field" => self.unset = rest.to_owned(),
            "#path" => self.path = Some(rest.to_owned()),
            "#fields" => {
                // Of two that bear one name the first counts.
                self.fields = names().zip(0..).collect::<Vec<_>>().into_iter().rev().collect();
                self.width = names().count();
            }
            "#types" => self.types = names().collect(),
            _ => {}
        }
    }

    /// The values of a line, unless they are not as many as the fields.
    fn line<'l>(&'l self, line: &'l str) -> Result<Values<'l>, String> {
        let mut values: Vec<&str> = Vec::with_capacity(self.width + 1);
        values.extend(line.split(self.separator));
        if values.len() == self.width + 1 && values.last() == Some(&"") {
            values.pop(); // A separator ends the line.
        }
        if values.len() == self.width { Ok(Values { head: self, values }) } else { Err(format!("{} values for {} fields", values.len(), self.width)) }
    }
}

/// The values of a line of a tab-separated log.
struct Values<'l> {
    head: &'l Head,
    values: Vec<&'l str>,
}

impl<'l> Values<'l> {
    /// What the field holds, and its place.
    fn get(&self, name: &str) -> Option<(usize, &'l str)> {
        let at = *self.head.fields.get(name)?;
        let text = self.values[at];
        (text != self.head.unset && text != self.head.empty).then_some((at, text))
    }
}

impl Line for Values<'_> {
    fn has(&self, name: &str) -> bool {
        self.head.fields.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|(_, text)| text.into())
    }

    fn write(&self, name: &str, into: &mut Vec<u8>) -> Option<()> {
        let (at, text) = self.get(name)?;
        match self.head.types.get(at).map_or("", String::as_str) {
            "count" | "int" | "port" if let Ok(number) = text.parse::<i64>() => json(&number, into),
            "bool" => json(&(text == "T"), into),
            ty if ty.starts_with("vector") || ty.starts_with("set") => json(&text.split(self.head.list).collect::<Vec<_>>(), into),
            _ => json(text, into),
        }
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
    let with_bag = reads_bag(sink);
    let mut head = Head::default();
    // Of the lines under this head.
    let mut told: Option<&'static str> = None;
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
            told = None;
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let line = match head.line(line) {
            Ok(line) => line,
            Err(message) => {
                sink.problem(Problem::at(path, place(), message));
                continue;
            }
        };
        let Some(action) = told.or_else(|| action(head.path.as_deref(), &line)) else { return Err(Problem::other_zeek_log(path)) };
        told = Some(action);
        if !sink.record(Record::Row(row_of(action, &line, with_bag))) {
            return Ok(());
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
