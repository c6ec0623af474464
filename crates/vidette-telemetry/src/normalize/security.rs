//! The Security log. Vendor pages: Microsoft, "4688(S): A new process has been created", "5156(S): The Windows Filtering
//! Platform has permitted a connection".

use super::columns::{connection, file_name, initiating, start};
use crate::context::{Context, Process};
use crate::convert::{device_path, protocol};
use crate::event::Event;
use crate::row::Row;
use crate::schemas::TABLES;

/// 4688 to `DeviceProcessEvents`, `ProcessCreated`.
pub(super) fn process_create(event: &Event, rows: &mut Vec<Row>, context: &mut Context) {
    let mut row = start(&TABLES["DeviceProcessEvents"], "ProcessCreated", event);
    let image = event.get("NewProcessName");
    row.text("FileName", file_name(image)).text("FolderPath", image);
    row.long("ProcessId", event.number("NewProcessId")).text("ProcessCommandLine", event.get("CommandLine"));
    row.ticks("ProcessCreationTime", event.created_ticks);
    let target = event.get("TargetUserName");
    let (domain, name) = if target.is_empty() { ("SubjectDomainName", "SubjectUserName") } else { ("TargetDomainName", "TargetUserName") };
    row.text("AccountDomain", event.get(domain).to_lowercase()).text("AccountName", event.get(name).to_lowercase());
    row.long("LogonId", event.number("TargetLogonId").filter(|id| *id != 0).or_else(|| event.number("SubjectLogonId")));
    row.text(
        "ProcessTokenElevation",
        match event.get("TokenElevationType") {
            "%%1936" => "TokenElevationTypeDefault",
            "%%1937" => "TokenElevationTypeFull",
            "%%1938" => "TokenElevationTypeLimited",
            _ => "",
        },
    );
    row.text(
        "ProcessIntegrityLevel",
        match event.get("MandatoryLabel") {
            "S-1-16-4096" => "Low",
            "S-1-16-8192" => "Medium",
            "S-1-16-12288" => "High",
            "S-1-16-16384" => "System",
            _ => "",
        },
    );
    initiating(&mut row, event.get("ParentProcessName"), event.number("ProcessId"), "", "");
    row.text("InitiatingProcessAccountDomain", event.get("SubjectDomainName").to_lowercase());
    row.text("InitiatingProcessAccountName", event.get("SubjectUserName").to_lowercase());
    row.text("InitiatingProcessAccountSid", event.get("SubjectUserSid"));
    context.process(&row.links.host, "", Process::from_row(&row));
    rows.push(row);
}

/// 5156 (allowed), 5157 (blocked) and 5158 (bound to a port) to `DeviceNetworkEvents`. The source began the connection here
/// too.
pub(super) fn connection_checked(event: &Event, rows: &mut Vec<Row>, _: &mut Context) {
    let outbound = event.get("Direction") != "%%14592" && event.event_id != 5158;
    let action = match (event.event_id, outbound) {
        (5157, _) => "ConnectionFailed",
        (5158, _) => "ListeningConnectionCreated",
        (_, true) => "ConnectionSuccess",
        (_, false) => "InboundConnectionAccepted",
    };
    let mut row = start(&TABLES["DeviceNetworkEvents"], action, event);
    let (source, destination) = ((event.get("SourceAddress"), event.number("SourcePort")), (event.get("DestAddress"), event.number("DestPort")));
    let ends = if event.event_id == 5158 { (destination, source) } else { (source, destination) };
    connection(&mut row, outbound, ends.0, ends.1, protocol(event.get("Protocol")));
    initiating(&mut row, &device_path(event.get("Application")), event.number("ProcessID").or_else(|| event.number("ProcessId")), "", "");
    rows.push(row);
}
