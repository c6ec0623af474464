//! The tables of Log Analytics that Windows events land in: `SecurityEvent` (the Security log), `Event` (all others) and
//! `WindowsEvent` (all, as Windows Event Forwarding brings them). Vendor pages: Azure Monitor, "Tables", the page of each.

use super::columns::{device, file_name};
use crate::event::Event;
use crate::mapping::typed;
use crate::row::{Field, Row};
use crate::schemas::TABLES;
use quick_xml::escape::escape;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What each event of the Security log says, as its page is titled.
static ACTIVITIES: LazyLock<HashMap<u32, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../mappings/activities.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).filter_map(|(id, text)| Some((id.parse().ok()?, text))).collect()
});

pub(super) const TABLES_OF_LOGS: [&str; 3] = ["SecurityEvent", "WindowsEvent", "Event"];

/// Which of the tables are asked for.
pub(super) struct Landings {
    security: bool,
    windows: bool,
    event: bool,
    /// Columns that are long and that nobody asks for.
    left_out: LeftOut,
}

/// Columns with all the data of an event, left out of a table.
#[derive(Clone, Copy, Default)]
struct LeftOut {
    windows_data: bool,
    security_data: bool,
    event_data: bool,
    event_parameters: bool,
}

fn is_security(event: &Event) -> bool {
    event.channel.eq_ignore_ascii_case("Security")
}

impl Landings {
    pub(super) fn new(wanted: &dyn Fn(&str) -> bool) -> Landings {
        Landings { security: wanted("SecurityEvent"), windows: wanted("WindowsEvent"), event: wanted("Event"), left_out: LeftOut::default() }
    }

    /// Of a table only these columns are asked for.
    pub(super) fn narrow(&mut self, table: &str, asked: &dyn Fn(&str) -> bool) {
        match table {
            "WindowsEvent" => self.left_out.windows_data = !asked("EventData"),
            "SecurityEvent" => self.left_out.security_data = !asked("EventData"),
            "Event" => {
                self.left_out.event_data = !asked("EventData");
                self.left_out.event_parameters = !asked("ParameterXml");
            }
            _ => {}
        }
    }

    pub(super) fn want(&self, event: &Event) -> bool {
        self.windows || if is_security(event) { self.security } else { self.event }
    }

    pub(super) fn rows(&self, event: &Event, rows: &mut Vec<Row>) {
        if self.windows {
            rows.push(windows_row(event, self.left_out));
        }
        if is_security(event) {
            if self.security {
                rows.push(security_event(event, self.left_out));
            }
        } else if self.event {
            rows.push(log_event(event, self.left_out));
        }
    }
}

fn start(table: &str, event: &Event) -> Row {
    let mut row = Row::new(&TABLES[table]);
    // These tables carry the time of the log, not the one among the data.
    let time = event.created_ticks.or_else(|| event.time_ticks());
    row.ticks("TimeGenerated", time).text("Type", table).text("Computer", event.computer.as_ref()).text("SourceSystem", "OpsManager");
    row.long("EventID", Some(i64::from(event.event_id)));
    row.links.time_ticks = time.unwrap_or_default();
    row.links.host = device(&event.computer).0;
    row
}

/// What `WindowsEvent` and `SecurityEvent` take from the system part.
fn system(row: &mut Row, event: &Event) {
    row.text("Channel", event.channel.as_ref()).text("SystemUserId", event.user_sid.as_ref()).text("Keywords", event.keywords.as_ref());
    row.text("EventRecordId", event.record_id.to_string()).text("Opcode", event.opcode.to_string()).text("EventLevelName", level_name(event.level));
    row.long("Task", Some(event.task)).long("Version", Some(event.version));
    row.long("SystemProcessId", Some(event.execution_process_id)).long("SystemThreadId", Some(event.execution_thread_id));
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
    windows_row(event, LeftOut::default())
}

fn windows_row(event: &Event, left_out: LeftOut) -> Row {
    let mut row = start("WindowsEvent", event);
    system(&mut row, event);
    row.text("Provider", event.provider.as_ref()).long("EventLevel", Some(event.level));
    if !left_out.windows_data {
        row.set("EventData", Field::Json(bag(event)));
    }
    row
}

/// The data as a bag; values of one name are an array.
fn bag(event: &Event) -> String {
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
fn security_event(event: &Event, left_out: LeftOut) -> Row {
    let mut row = start("SecurityEvent", event);
    system(&mut row, event);
    row.text("EventSourceName", event.provider.as_ref()).text("Level", event.level.to_string());
    let mut all_have_columns = true;
    for (name, value) in &event.data {
        match row.table.position(name) {
            Some(at) => {
                let field = typed(row.table.columns[at].ty, value);
                field.into_iter().for_each(|field| row.set_at(at, field));
            }
            None => all_have_columns = false,
        }
    }
    if !all_have_columns && !left_out.security_data {
        row.text("EventData", event_data(event));
    }
    let activity = ACTIVITIES.get(&event.event_id).map_or_else(|| event.event_id.to_string(), |text| format!("{} - {text}", event.event_id));
    row.text("Activity", activity);
    let name = |prefix: &str| match (event.get(&format!("{prefix}DomainName")), event.get(&format!("{prefix}UserName"))) {
        (_, "") => String::new(),
        ("", user) => user.to_owned(),
        (domain, user) => format!(r"{domain}\{user}"),
    };
    let (subject, target) = (name("Subject"), name("Target"));
    let logon = matches!(event.event_id, 4624 | 4625 | 4634 | 4647 | 4768..=4776) && !target.is_empty();
    let account = if logon || subject.is_empty() { &target } else { &subject };
    if !account.is_empty() {
        row.text("Account", account.as_str()).text("AccountType", if account.ends_with('$') { "Machine" } else { "User" });
    }
    row.text("SubjectAccount", subject.as_str()).text("TargetAccount", target.as_str());
    let process = [event.get("NewProcessName"), event.get("ProcessName")].into_iter().find(|path| !path.is_empty()).unwrap_or_default();
    row.text("Process", file_name(process));
    if let Some(kind) = event.number("LogonType") {
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
        row.text("LogonTypeName", format!("{kind} - {name}"));
    }
    row
}

fn log_event(event: &Event, left_out: LeftOut) -> Row {
    let mut row = start("Event", event);
    row.text("Source", event.provider.as_ref()).text("EventLog", event.channel.as_ref()).text("UserName", event.user_sid.as_ref());
    // The levels of the classic log: 1 error, 2 warning, 4 information.
    let (level, name) = match event.level {
        1 | 2 => (1, "Error"),
        3 => (2, "Warning"),
        _ => (4, "Information"),
    };
    row.long("EventLevel", Some(level)).text("EventLevelName", name).long("EventCategory", Some(event.task));
    if !left_out.event_parameters {
        let mut parameters = String::with_capacity(event.data.iter().map(|(_, value)| value.len() + 16).sum());
        for (_, value) in &event.data {
            parameters.push_str("<Param>");
            parameters.push_str(&escape(value.as_ref()));
            parameters.push_str("</Param>");
        }
        row.text("ParameterXml", parameters);
    }
    if !left_out.event_data {
        row.text("EventData", format!(r#"<DataItem type="System.XmlData" time="" sourceHealthServiceId="">{}</DataItem>"#, event_data(event)));
    }
    row
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
        assert_eq!(bag(&event), r#"{"Data":["a\"b","c",""],"x":"1"}"#);
        assert_eq!(bag(&Event::default()), "{}");
        assert_eq!(
            event_data(&event),
            r#"<EventData xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><Data>a&quot;b</Data><Data Name="x">1</Data><Data>c</Data><Data></Data></EventData>"#
        );
    }
}
