//! Sysmon. Vendor page: Sysinternals, "Sysmon", section "Events".

use super::columns::{account, additional, connection, file_name, hashes, initiating, known, process_guid, start, start_of};
use crate::context::{Context, Process};
use crate::convert::protocol;
use crate::event::{Event, parse_time};
use crate::row::Row;
use crate::schemas::TABLES;

/// Event 1 to `DeviceProcessEvents`, `ProcessCreated`.
pub(super) fn process_create(event: &Event, rows: &mut Vec<Row>, context: &mut Context) {
    let mut row = start(&TABLES["DeviceProcessEvents"], "ProcessCreated", event);
    let guid = process_guid(event.get("ProcessGuid"));
    let image = known(event.get("Image"));
    row.text("FileName", file_name(image)).text("FolderPath", image);
    row.long("ProcessId", event.number("ProcessId")).text("ProcessUniqueId", guid.as_str());
    row.text("ProcessCommandLine", event.get("CommandLine"));
    row.ticks("ProcessCreationTime", parse_time(event.get("UtcTime")).or_else(|| start_of(&guid)));
    for (column, field) in [
        ("ProcessVersionInfoFileDescription", "Description"),
        ("ProcessVersionInfoProductName", "Product"),
        ("ProcessVersionInfoCompanyName", "Company"),
        ("ProcessVersionInfoProductVersion", "FileVersion"),
        ("ProcessVersionInfoOriginalFileName", "OriginalFileName"),
        ("ProcessIntegrityLevel", "IntegrityLevel"),
    ] {
        row.text(column, event.get(field));
    }
    row.long("LogonId", event.number("LogonId"));
    let (domain, name) = account(event.get("User"));
    row.text("AccountDomain", domain).text("AccountName", name);
    hashes(&mut row, "", event.get("Hashes"));
    let parent = process_guid(event.get("ParentProcessGuid"));
    initiating(&mut row, event.get("ParentImage"), event.number("ParentProcessId"), &parent, event.get("ParentUser"));
    row.text("InitiatingProcessCommandLine", event.get("ParentCommandLine"));
    if let Some(process_id) = event.number("ProcessId") {
        context.started(&row.links.host, process_id, row.links.time_ticks);
    }
    context.process(&row.links.host, &guid, Process::from_row(&row));
    row.links.created = Some(guid.into());
    rows.push(row);
}

/// Event 3 to `DeviceNetworkEvents`. The host name Sysmon writes is a reverse look-up, never what was asked for.
pub(super) fn network_connect(event: &Event, rows: &mut Vec<Row>, _: &mut Context) {
    let outbound = !event.get("Initiated").eq_ignore_ascii_case("false");
    let mut row = start(&TABLES["DeviceNetworkEvents"], if outbound { "ConnectionSuccess" } else { "InboundConnectionAccepted" }, event);
    let protocol = protocol(event.get("Protocol"));
    let end = |side: &str| (event.get(&format!("{side}Ip")), event.number(&format!("{side}Port")));
    let Ends { local, remote, .. } = ends(event);
    // Whoever began an inbound connection is the remote end.
    let (from, to) = if outbound { (local, remote) } else { (remote, local) };
    connection(&mut row, outbound, end(from), end(to), protocol);
    let guid = process_guid(event.get("ProcessGuid"));
    initiating(&mut row, event.get("Image"), event.number("ProcessId"), &guid, event.get("User"));
    additional(&mut row, &[("PtrName", event.get(&format!("{remote}Hostname")))]);
    rows.push(row);
}

/// The ends of a connection as the fields of event 3 name them.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) local: &'static str,
    remote: &'static str,
    /// Whether something tells the local end.
    pub(crate) told: bool,
}

/// Which end of a connection is the local one. The source of what a process began is. Of what it accepted it may be either:
/// before Windows 10, and of UDP, Sysmon writes the local end first. So there it is the end whose port is a service's.
pub(crate) fn ends(event: &Event) -> Ends {
    let from = |local, remote, told| Ends { local, remote, told };
    if !event.get("Initiated").eq_ignore_ascii_case("false") {
        return from("Source", "Destination", true);
    }
    // From 49152 on no port is assigned to a service; below 1024 it takes a right to listen.
    let rank = |port: i64| (port >= 49152, port >= 1024);
    match (event.number("SourcePort").map(rank), event.number("DestinationPort").map(rank)) {
        (Some(source), Some(destination)) if source < destination => from("Source", "Destination", true),
        (source, destination) => from("Destination", "Source", source != destination),
    }
}

/// Event 22 to `DeviceEvents`, `DnsQueryResponse`. A failed query still shows intent.
pub(super) fn dns_query(event: &Event, rows: &mut Vec<Row>, context: &mut Context) {
    let mut row = start(&TABLES["DeviceEvents"], "DnsQueryResponse", event);
    let guid = process_guid(event.get("ProcessGuid"));
    initiating(&mut row, event.get("Image"), event.number("ProcessId"), &guid, event.get("User"));
    let name = event.get("QueryName");
    let mut answers = Vec::new();
    for part in event.get("QueryResults").split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let answer = part.strip_prefix("type:").map_or(part, |rest| rest.trim().split_once(' ').map_or("", |(_, name)| name)).trim();
        let answer = answer.strip_prefix("::ffff:").unwrap_or(answer);
        if answer.parse::<std::net::IpAddr>().is_ok() {
            context.answer(&row.links.host, &guid, answer, name, row.links.time_ticks);
        }
        answers.push(serde_json::Value::from(answer));
    }
    let bag = serde_json::json!({"DnsQueryString": name, "DnsStatus": event.get("QueryStatus"), "DnsQueryResult": answers});
    row.set("AdditionalFields", crate::row::Field::Json(bag.to_string()));
    rows.push(row);
}
