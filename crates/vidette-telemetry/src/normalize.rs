//! Windows events to Defender rows. One function per event source; the mapping follows each vendor's event page and
//! Defender's advanced hunting schema.

mod bits;
mod columns;
mod powershell;
mod security;
mod sysmon;

pub(crate) use columns::start_of;

use crate::context::Context;
use crate::event::Event;
use crate::row::Row;

/// An event source: provider, event ids, and what makes rows of them.
struct Source {
    provider: &'static str,
    event_ids: &'static [u32],
    rows: fn(&Event, &mut Vec<Row>, &mut Context),
}

/// One row per source.
const SOURCES: &[Source] = &[
    Source { provider: "Microsoft-Windows-Sysmon", event_ids: &[1], rows: sysmon::process_create },
    Source { provider: "Microsoft-Windows-Sysmon", event_ids: &[3], rows: sysmon::network_connect },
    Source { provider: "Microsoft-Windows-Sysmon", event_ids: &[5], rows: |_, _, _| {} },
    Source { provider: "Microsoft-Windows-Sysmon", event_ids: &[22], rows: sysmon::dns_query },
    Source { provider: "Microsoft-Windows-Security-Auditing", event_ids: &[4688], rows: security::process_create },
    Source { provider: "Microsoft-Windows-Security-Auditing", event_ids: &[5156], rows: security::connection_allowed },
    Source { provider: "Microsoft-Windows-PowerShell", event_ids: &[4104], rows: powershell::script_block },
    Source { provider: "Microsoft-Windows-Bits-Client", event_ids: &[59, 60], rows: bits::transfer },
];

fn source(event: &Event) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.event_ids.contains(&event.event_id) && source.provider.eq_ignore_ascii_case(&event.provider))
}

/// Whether any table takes the event.
pub fn wants(event: &Event) -> bool {
    source(event).is_some()
}

/// Appends the rows the event makes, and what it tells about processes and names.
pub fn rows(event: &Event, rows: &mut Vec<Row>, context: &mut Context) {
    if let Some(source) = source(event) {
        (source.rows)(event, rows, context);
    }
}

/// What the telemetry shows, for `vidette tables`: provider and event id with a plain name.
pub const SIGNALS: &[(&str, u32, &str)] = &[
    ("Microsoft-Windows-Sysmon", 1, "process creation (Sysmon 1)"),
    ("Microsoft-Windows-Sysmon", 3, "network connection (Sysmon 3)"),
    ("Microsoft-Windows-Sysmon", 22, "DNS query (Sysmon 22)"),
    ("Microsoft-Windows-Security-Auditing", 4688, "process creation (Security 4688)"),
    ("Microsoft-Windows-Security-Auditing", 5156, "network connection (Security 5156)"),
    ("Microsoft-Windows-PowerShell", 4104, "script block (PowerShell 4104)"),
    ("Microsoft-Windows-Bits-Client", 59, "BITS transfer (59, 60)"),
];
