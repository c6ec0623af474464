//! Rows that Log Analytics exported of `SecurityEvent`, `WindowsEvent` and `Event`, as the events they were: what
//! `sentinel.rs` makes of an event, the other way. Vendor pages: Azure Monitor, "Tables", the page of each.

use super::SECURITY;
use crate::event::Event;
use crate::formats::{data_of_json, data_of_xml};
use crate::row::{Field, Row};

/// Columns of `SecurityEvent` that are no field of its event, or are told by several.
const NO_FIELDS: [&str; 36] = [
    "Account",
    "AccountType",
    "Activity",
    "AzureDeploymentID",
    "Channel",
    "Computer",
    "EventData",
    "EventID",
    "EventLevelName",
    "EventOriginId",
    "EventRecordId",
    "EventSourceName",
    "Keywords",
    "Level",
    "LogonTypeName",
    "ManagementGroupName",
    "Opcode",
    "PartitionKey",
    "Process",
    "Role",
    "RowKey",
    "SourceComputerId",
    "SourceSystem",
    "StorageAccount",
    "SubjectAccount",
    "SystemProcessId",
    "SystemThreadId",
    "SystemUserId",
    "TargetAccount",
    "Task",
    "TenantId",
    "TimeCollected",
    "TimeGenerated",
    "Type",
    "Version",
    "_ResourceId",
];

/// The event that a row of one of these tables was made of, if it is wanted by its system part; `None` of a row of another
/// table, and of one without an id.
pub(crate) fn event_of(row: &Row, wanted: impl FnOnce(&Event) -> bool) -> Option<Event<'static>> {
    let text = |column: &str| row.get(column).map(|field| field.text().into_owned()).unwrap_or_default();
    let number = |column: &str| text(column).trim().parse::<i64>().unwrap_or_default();
    let or = |text: String, default: &'static str| if text.is_empty() { default.into() } else { text.into() };
    let (provider, channel) = match row.table.name {
        "SecurityEvent" => (or(text("EventSourceName"), SECURITY), or(text("Channel"), "Security")),
        "WindowsEvent" => (text("Provider").into(), text("Channel").into()),
        "Event" => (text("Source").into(), text("EventLog").into()),
        _ => return None,
    };
    let mut event = Event {
        provider,
        event_id: u32::try_from(number("EventID")).ok().filter(|id| *id > 0)?,
        channel,
        computer: text("Computer").into(),
        user_sid: text("SystemUserId").into(),
        version: number("Version"),
        task: number("Task"),
        execution_process_id: number("SystemProcessId"),
        execution_thread_id: number("SystemThreadId"),
        record_id: text("EventRecordId").parse().unwrap_or_default(),
        created_ticks: Some(row.links.time_ticks).filter(|time| *time > 0),
        ..Event::default()
    };
    if !wanted(&event) {
        return None;
    }
    match row.table.name {
        "SecurityEvent" => {
            let fields = row.fields.iter().map(|(at, field)| (row.table.columns[usize::from(*at)].name, field));
            // An event has few of the columns; the others are empty texts in an export.
            let own = fields.map(|(name, field)| (name, field.text())).filter(|(name, value)| !value.is_empty() && !NO_FIELDS.contains(name));
            event.data = own.map(|(name, value)| (name.into(), value.into_owned().into())).collect();
            let rest = data_of_xml(&text("EventData"));
            let columns = event.data.len();
            for field in rest {
                if !event.data[..columns].iter().any(|(name, _)| *name == field.0) {
                    event.data.push(field);
                }
            }
        }
        "WindowsEvent" => {
            if let Some(Field::Json(bag)) = row.get("EventData") {
                event.data = data_of_json(bag);
            }
        }
        _ => event.data = data_of_xml(&text("EventData")),
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::sentinel;
    use crate::schemas::TABLES;

    /// What an event lands as is read as that event again.
    #[test]
    fn rows_are_the_events_they_were() {
        let event = Event {
            provider: SECURITY.into(),
            event_id: 4688,
            channel: "Security".into(),
            computer: "host.corp.example".into(),
            record_id: 77,
            created_ticks: Some(638_400_000_000_000_000),
            data: [
                ("NewProcessName", r"C:\Windows\System32\curl.exe"),
                ("CommandLine", "curl <a> & \"b\""),
                ("NewProcessId", "0x1a4"),
                ("Unnamed Field", "ü"),
                ("SidHistory", "-"),
            ]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
            ..Event::default()
        };
        let mut rows = Vec::new();
        sentinel::Landings::new(&|table| sentinel::TABLES_OF_LOGS.contains(&table)).rows(&event, &mut rows);
        rows.push({
            // The Security log lands in `SecurityEvent`, not in `Event`; another log the other way.
            let mut of_sysmon = Vec::new();
            let sysmon = Event { provider: "Microsoft-Windows-Sysmon".into(), channel: "Microsoft-Windows-Sysmon/Operational".into(), ..event.clone() };
            sentinel::Landings::new(&|table| table == "Event").rows(&sysmon, &mut of_sysmon);
            of_sysmon.remove(0)
        });
        assert_eq!(rows.iter().map(|row| row.table.name).collect::<Vec<_>>(), ["WindowsEvent", "SecurityEvent", "Event"]);
        for row in &rows {
            let again = event_of(row, |_| true).unwrap();
            assert_eq!((again.event_id, &again.computer, again.created_ticks), (4688, &event.computer, event.created_ticks), "{}", row.table.name);
            for field in &event.data {
                assert_eq!(again.data.iter().filter(|(name, _)| *name == field.0).collect::<Vec<_>>(), [field], "{}", row.table.name);
            }
        }
        assert_eq!(event_of(&rows[1], |_| true).unwrap().record_id, 77);
        assert!(event_of(&Row::new(&TABLES["SecurityEvent"]), |_| true).is_none(), "without an id");
        assert!(event_of(&Row::new(&TABLES["DeviceEvents"]), |_| true).is_none(), "of another table");
    }
}
