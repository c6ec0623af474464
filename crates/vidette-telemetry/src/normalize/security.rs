//! The Security log. Vendor pages: Microsoft, "4688(S): A new process has been created", "5156(S): The Windows Filtering
//! Platform has permitted a connection".

use super::columns::{connection, file_name, initiating, start};
use crate::context::Context;
use crate::event::Event;
use crate::row::Row;

/// 4688 to `DeviceProcessEvents`, `ProcessCreated`.
pub(super) fn process_create(event: &Event, rows: &mut Vec<Row>, _: &mut Context) {
    let mut row = start("DeviceProcessEvents", "ProcessCreated", event);
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
    rows.push(row);
}

/// 5156 to `DeviceNetworkEvents`. The source began the connection here too.
pub(super) fn connection_allowed(event: &Event, rows: &mut Vec<Row>, _: &mut Context) {
    let outbound = event.get("Direction") != "%%14592";
    let mut row = start("DeviceNetworkEvents", if outbound { "ConnectionSuccess" } else { "InboundConnectionAccepted" }, event);
    let protocol = match event.get("Protocol") {
        "6" => "Tcp",
        "17" => "Udp",
        "1" => "Icmp",
        _ => "",
    };
    let (source, destination) = ((event.get("SourceAddress"), event.number("SourcePort")), (event.get("DestAddress"), event.number("DestPort")));
    connection(&mut row, outbound, source, destination, protocol);
    let image = device_path(event.get("Application"));
    initiating(&mut row, &image, event.number("ProcessID"), "", "");
    rows.push(row);
}

/// `\device\harddiskvolumeN\…` as a path on the system drive, which is where programs almost always are.
fn device_path(path: &str) -> String {
    let lower = path.to_lowercase();
    match lower.strip_prefix(r"\device\harddiskvolume").and_then(|rest| rest.split_once('\\')) {
        Some((_, rest)) => format!(r"c:\{rest}"),
        None => lower,
    }
}
