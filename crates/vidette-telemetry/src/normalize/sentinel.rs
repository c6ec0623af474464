//! The tables of Log Analytics that Windows events land in: `SecurityEvent` (the Security log), `Event` (all others) and
//! `WindowsEvent` (all, as Windows Event Forwarding brings them). Vendor pages: Azure Monitor, "Tables", the page of each.

use super::columns::{device, file_name};
use crate::event::Event;
use crate::mapping::typed;
use crate::row::{Field, Row};
use crate::schemas::{TABLES, TableSchema};
use quick_xml::escape::escape;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What each event of the Security log says, as its page is titled.
static ACTIVITIES: LazyLock<HashMap<u32, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../mappings/activities.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).filter_map(|(id, text)| Some((id.parse().ok()?, text))).collect()
});

pub(crate) const TABLES_OF_LOGS: [&str; 3] = ["SecurityEvent", "WindowsEvent", "Event"];

/// Columns of a table, with their places.
type Columns = HashMap<&'static str, usize, foldhash::fast::FixedState>;

/// The columns that are asked for; `None` when no one asks for the table.
type Asked = Option<Columns>;

fn all_columns(table: &TableSchema) -> Columns {
    table.columns.iter().enumerate().map(|(at, column)| (column.name, at)).collect()
}

static WINDOWS_EVENT: LazyLock<&TableSchema> = LazyLock::new(|| &TABLES["WindowsEvent"]);
static SECURITY_EVENT: LazyLock<&TableSchema> = LazyLock::new(|| &TABLES["SecurityEvent"]);
static EVENT: LazyLock<&TableSchema> = LazyLock::new(|| &TABLES["Event"]);

/// What is asked for of each table.
pub(super) struct Landings {
    security: Asked,
    windows: Asked,
    event: Asked,
}

fn is_security(event: &Event) -> bool {
    event.channel.eq_ignore_ascii_case("Security")
}

impl Landings {
    pub(super) fn new(wanted: &dyn Fn(&str) -> bool) -> Landings {
        let asked = |table: &TableSchema| wanted(table.name).then(|| all_columns(table));
        Landings { security: asked(&SECURITY_EVENT), windows: asked(&WINDOWS_EVENT), event: asked(&EVENT) }
    }

    /// Of a table only these columns are asked for.
    pub(super) fn narrow(&mut self, table: &str, asked: &dyn Fn(&str) -> bool) {
        let columns = match table {
            "WindowsEvent" => &mut self.windows,
            "SecurityEvent" => &mut self.security,
            "Event" => &mut self.event,
            _ => return,
        };
        if let Some(columns) = columns {
            columns.retain(|name, _| asked(name));
        }
    }

    pub(super) fn want(&self, event: &Event) -> bool {
        self.windows.is_some() || if is_security(event) { self.security.is_some() } else { self.event.is_some() }
    }

    pub(super) fn rows(&self, event: &Event, rows: &mut Vec<Row>) {
        if let Some(asked) = &self.windows {
            rows.push(windows_row(event, asked));
        }
        if is_security(event) {
            rows.extend(self.security.as_ref().map(|asked| security_event(event, asked)));
        } else {
            rows.extend(self.event.as_ref().map(|asked| log_event(event, asked)));
        }
    }
}

/// A row that takes in only what is asked for.
struct Landing<'a> {
    row: Row,
    asked: &'a Columns,
}

impl Landing<'_> {
    fn set(&mut self, column: &str, value: Field) {
        if let Some(at) = self.asked.get(column).filter(|_| !matches!(&value, Field::Text(text) if text.is_empty())) {
            self.row.set_at(*at, value);
        }
    }

    fn text(&mut self, column: &str, value: &str) {
        if let Some(at) = self.asked.get(column).filter(|_| !value.is_empty()) {
            self.row.set_at(*at, Field::Text(value.into()));
        }
    }

    /// A text that is made only when it is asked for.
    fn made(&mut self, column: &str, value: impl FnOnce() -> String) {
        if let Some(at) = self.asked.get(column) {
            let text = value();
            if !text.is_empty() {
                self.row.set_at(*at, Field::Text(text.into()));
            }
        }
    }

    fn long(&mut self, column: &str, value: i64) {
        self.set(column, Field::Long(value));
    }
}

fn start<'a>(table: &'static TableSchema, event: &Event, asked: &'a Columns) -> Landing<'a> {
    let mut landing = Landing { row: Row::with_capacity(table, asked.len().min(24)), asked };
    // These tables carry the time of the log, not the one among the data.
    let time = event.created_ticks.or_else(|| event.time_ticks());
    if let Some(time) = time {
        landing.set("TimeGenerated", Field::Ticks(time));
    }
    landing.text("Type", table.name);
    landing.text("Computer", &event.computer);
    landing.text("SourceSystem", "OpsManager");
    landing.long("EventID", i64::from(event.event_id));
    landing.row.links.time_ticks = time.unwrap_or_default();
    landing.row.links.host = device(&event.computer).0;
    landing
}

/// What `WindowsEvent` and `SecurityEvent` take from the system part.
fn system(landing: &mut Landing, event: &Event) {
    landing.text("Channel", &event.channel);
    landing.text("SystemUserId", &event.user_sid);
    landing.text("Keywords", &event.keywords);
    landing.made("EventRecordId", || event.record_id.to_string());
    landing.made("Opcode", || event.opcode.to_string());
    landing.text("EventLevelName", level_name(event.level));
    landing.long("Task", event.task);
    landing.long("Version", event.version);
    landing.long("SystemProcessId", event.execution_process_id);
    landing.long("SystemThreadId", event.execution_thread_id);
}

fn level_name(level: i64) -> &'static str {
    match level {
        0 => "LogAlways",
        1 => "Critical",
        2 => "Error",
        3 => "Warning",
        5 => "Verbose",
        _ => "Information",
    }
}

/// The row of `WindowsEvent` that an event is.
pub fn windows_event(event: &Event) -> Row {
    static ALL: LazyLock<Columns> = LazyLock::new(|| all_columns(&WINDOWS_EVENT));
    windows_row(event, &ALL)
}

fn windows_row(event: &Event, asked: &Columns) -> Row {
    let mut landing = start(&WINDOWS_EVENT, event, asked);
    system(&mut landing, event);
    landing.text("Provider", &event.provider);
    landing.long("EventLevel", event.level);
    if asked.contains_key("EventData") {
        landing.set("EventData", Field::Json(bag_of_data(event)));
    }
    landing.row
}

/// The data of an event as a bag in JSON; values of one name are an array.
pub fn bag_of_data(event: &Event) -> String {
    let mut bag = Vec::with_capacity(event.data.iter().map(|(name, value)| name.len() + value.len() + 8).sum());
    let write = |text: &str, after: &[u8], bag: &mut Vec<u8>| {
        serde_json::to_writer(&mut *bag, text).ok();
        bag.extend(after);
    };
    bag.push(b'{');
    for (at, (name, value)) in event.data.iter().enumerate() {
        if event.data[..at].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        write(name, b":", &mut bag);
        let mut others = event.data[at + 1..].iter().filter(|(other, _)| other == name).peekable();
        if others.peek().is_none() {
            write(value, b",", &mut bag);
            continue;
        }
        bag.push(b'[');
        write(value, b"", &mut bag);
        for (_, other) in others {
            bag.push(b',');
            write(other, b"", &mut bag);
        }
        bag.extend(b"],");
    }
    if bag.len() > 1 {
        bag.pop();
    }
    bag.push(b'}');
    String::from_utf8(bag).unwrap_or_default()
}

/// Fields under their own names; those without a column are in `EventData`, as XML.
fn security_event(event: &Event, asked: &Columns) -> Row {
    let mut landing = start(&SECURITY_EVENT, event, asked);
    system(&mut landing, event);
    landing.text("EventSourceName", &event.provider);
    landing.made("Level", || event.level.to_string());
    let table = landing.row.table;
    for (name, value) in &event.data {
        if let Some(at) = asked.get(name.as_ref())
            && let Some(field) = typed(table.columns[*at].ty, value)
        {
            landing.row.set_at(*at, field);
        }
    }
    if asked.contains_key("EventData") && event.data.iter().any(|(name, _)| table.position(name).is_none()) {
        landing.made("EventData", || event_data(event));
    }
    landing.made("Activity", || ACTIVITIES.get(&event.event_id).map_or_else(|| event.event_id.to_string(), |text| format!("{} - {text}", event.event_id)));
    let name = |domain: &str, user: &str| match (event.get(domain), event.get(user)) {
        (_, "") => String::new(),
        ("", user) => user.to_owned(),
        (domain, user) => format!(r"{domain}\{user}"),
    };
    if ["Account", "AccountType", "SubjectAccount", "TargetAccount"].iter().any(|column| asked.contains_key(column)) {
        let (subject, target) = (name("SubjectDomainName", "SubjectUserName"), name("TargetDomainName", "TargetUserName"));
        let logon = matches!(event.event_id, 4624 | 4625 | 4634 | 4647 | 4768..=4776) && !target.is_empty();
        let account = if logon || subject.is_empty() { &target } else { &subject };
        if !account.is_empty() {
            landing.text("Account", account);
            landing.text("AccountType", if account.ends_with('$') { "Machine" } else { "User" });
        }
        landing.text("SubjectAccount", &subject);
        landing.text("TargetAccount", &target);
    }
    if asked.contains_key("Process") {
        let process = [event.get("NewProcessName"), event.get("ProcessName")].into_iter().find(|path| !path.is_empty()).unwrap_or_default();
        landing.text("Process", file_name(process));
    }
    if asked.contains_key("LogonTypeName")
        && let Some(kind) = event.number("LogonType")
    {
        let name = match kind {
            2 => "Interactive",
            3 => "Network",
            4 => "Batch",
            5 => "Service",
            7 => "Unlock",
            8 => "NetworkCleartext",
            9 => "NewCredentials",
            10 => "RemoteInteractive",
            11 => "CachedInteractive",
            _ => "Unknown",
        };
        landing.made("LogonTypeName", || format!("{kind} - {name}"));
    }
    landing.row
}

fn log_event(event: &Event, asked: &Columns) -> Row {
    let mut landing = start(&EVENT, event, asked);
    landing.text("Source", &event.provider);
    landing.text("EventLog", &event.channel);
    landing.text("UserName", &event.user_sid);
    // The levels of the classic log: 1 error, 2 warning, 4 information.
    let (level, name) = match event.level {
        1 | 2 => (1, "Error"),
        3 => (2, "Warning"),
        _ => (4, "Information"),
    };
    landing.long("EventLevel", level);
    landing.text("EventLevelName", name);
    landing.long("EventCategory", event.task);
    landing.made("ParameterXml", || {
        let mut parameters = String::with_capacity(event.data.iter().map(|(_, value)| value.len() + 16).sum());
        for (_, value) in &event.data {
            parameters.push_str("<Param>");
            parameters.push_str(&escape(value.as_ref()));
            parameters.push_str("</Param>");
        }
        parameters
    });
    landing.made("EventData", || format!(r#"<DataItem type="System.XmlData" time="" sourceHealthServiceId="">{}</DataItem>"#, event_data(event)));
    landing.row
}

fn event_data(event: &Event) -> String {
    let mut xml = String::with_capacity(80 + event.data.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>());
    xml.push_str(r#"<EventData xmlns="http://schemas.microsoft.com/win/2004/08/events/event">"#);
    for (name, value) in &event.data {
        if name == "Data" {
            xml.push_str("<Data>");
        } else {
            xml.push_str("<Data Name=\"");
            xml.push_str(&escape(name.as_ref()));
            xml.push_str("\">");
        }
        xml.push_str(&escape(value.as_ref()));
        xml.push_str("</Data>");
    }
    xml.push_str("</EventData>");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_one_name_are_an_array() {
        let data = [("Data", "a\"b"), ("x", "1"), ("Data", "c"), ("Data", "")];
        let event = Event { data: data.map(|(name, value)| (name.into(), value.into())).to_vec(), ..Event::default() };
        assert_eq!(bag_of_data(&event), r#"{"Data":["a\"b","c",""],"x":"1"}"#);
        assert_eq!(bag_of_data(&Event::default()), "{}");
        assert_eq!(
            event_data(&event),
            r#"<EventData xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><Data>a&quot;b</Data><Data Name="x">1</Data><Data>c</Data><Data></Data></EventData>"#
        );
    }
}
