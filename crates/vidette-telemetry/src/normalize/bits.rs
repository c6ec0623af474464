//! Background Intelligent Transfer Service, channel `Microsoft-Windows-Bits-Client/Operational`: 59 began, 60 ended.

use super::columns::{additional, initiating, start};
use crate::context::Context;
use crate::event::Event;
use crate::row::Row;
use crate::schemas::TABLES;

/// 59 and 60 to `DeviceNetworkEvents`, with the whole URL and the bytes.
pub(super) fn transfer(event: &Event, rows: &mut Vec<Row>, _: &mut Context) {
    let mut row = start(&TABLES["DeviceNetworkEvents"], "ConnectionSuccess", event);
    row.text("RemoteUrl", event.get("url")).text("Protocol", "Tcp");
    let process = event.get("processPath");
    initiating(&mut row, if process.is_empty() { r"c:\windows\system32\svchost.exe" } else { process }, event.number("processId"), "", event.get("owner"));
    let fields = [("Source", "bits"), ("UrlSource", "bits"), ("JobTitle", event.get("name")), ("JobId", event.get("Id")), ("BytesTransferred", event.get("bytesTransferred"))];
    additional(&mut row, &fields);
    rows.push(row);
}
