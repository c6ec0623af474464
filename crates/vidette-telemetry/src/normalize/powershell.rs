//! PowerShell script-block logging. Vendor page: Microsoft, "about_Logging_Windows".

use super::columns::{additional, start};
use crate::context::Context;
use crate::event::Event;
use crate::row::Row;

/// 4104 to `DeviceEvents`, `PowerShellCommand`: one row per part, joined by `ScriptBlockId` and `MessageNumber`.
pub(super) fn script_block(event: &Event, rows: &mut Vec<Row>, _: &mut Context) {
    let mut row = start("DeviceEvents", "PowerShellCommand", event);
    row.text("InitiatingProcessFileName", "powershell.exe").long("InitiatingProcessId", Some(event.execution_process_id).filter(|id| *id != 0));
    let fields = [
        ("Command", event.get("ScriptBlockText")),
        ("ScriptBlockId", event.get("ScriptBlockId")),
        ("Path", event.get("Path")),
        ("MessageNumber", event.get("MessageNumber")),
        ("MessageTotal", event.get("MessageTotal")),
    ];
    additional(&mut row, &fields);
    rows.push(row);
}
