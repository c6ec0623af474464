//! Windows events to rows: Defender's tables, and the tables of Sentinel that the same events land in. Most events are a
//! block of `mappings/*.txt`; a function here makes the rows of those that need more.

mod bits;
pub(crate) mod columns;
mod exported;
mod security;
mod sentinel;
pub(crate) mod sysmon;

pub(crate) use columns::start_of;
pub(crate) use exported::event_of;
pub(crate) use sentinel::TABLES_OF_LOGS;
pub use sentinel::{bag_of_data, windows_event};

use crate::context::Context;
use crate::devices::{DEVICE_TABLES, tells};
use crate::event::Event;
use crate::mapping::{MAPPINGS, Mapping};
use crate::row::{Field, Row, batch, batch_of};
use crate::schemas::{TABLES, TableSchema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Events whose rows a function makes.
struct Written {
    provider: &'static str,
    event_ids: &'static [u32],
    /// The tables it fills.
    tables: &'static [&'static str],
    /// Whether other rows want to know what it tells: of processes, of names.
    tells: bool,
    signal: &'static str,
    rows: fn(&Event, &mut Vec<Row>, &mut Context),
}

const SYSMON: &str = "Microsoft-Windows-Sysmon";
const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

const WRITTEN: &[Written] = &[
    Written { provider: SYSMON, event_ids: &[1], tables: &["DeviceProcessEvents"], tells: true, signal: "process creation", rows: sysmon::process_create },
    Written { provider: SYSMON, event_ids: &[3], tables: &["DeviceNetworkEvents"], tells: false, signal: "network connection", rows: sysmon::network_connect },
    Written { provider: SYSMON, event_ids: &[5], tables: &[], tells: false, signal: "process end", rows: |_, _, _| {} },
    Written { provider: SYSMON, event_ids: &[22], tables: &["DeviceEvents"], tells: true, signal: "DNS query", rows: sysmon::dns_query },
    Written { provider: SECURITY, event_ids: &[4688], tables: &["DeviceProcessEvents"], tells: true, signal: "process creation", rows: security::process_create },
    Written {
        provider: SECURITY,
        event_ids: &[5156, 5157, 5158],
        tables: &["DeviceNetworkEvents"],
        tells: false,
        signal: "network connection",
        rows: security::connection_checked,
    },
    Written { provider: "Microsoft-Windows-Bits-Client", event_ids: &[59, 60], tables: &["DeviceNetworkEvents"], tells: false, signal: "BITS transfer", rows: bits::transfer },
];

/// What a data set can show, by provider and event id, in plain words.
pub static SIGNALS: LazyLock<BTreeMap<(&'static str, u32), &'static str>> = LazyLock::new(|| {
    let written = WRITTEN.iter().flat_map(|written| written.event_ids.iter().map(|id| ((written.provider, *id), written.signal)));
    let mapped = MAPPINGS.iter().flat_map(|mapping| mapping.event_ids.iter().map(|id| ((mapping.provider, *id), mapping.signal.trim_end_matches(" (own ActionType)"))));
    // Where an event makes two rows, the first mapping says what it is.
    mapped.collect::<Vec<_>>().into_iter().rev().chain(written).collect()
});

/// All tables that rows of events go to.
pub fn tables_of_events() -> BTreeSet<&'static str> {
    let written = WRITTEN.iter().flat_map(|written| written.tables.iter().copied());
    written.chain(MAPPINGS.iter().map(|mapping| mapping.table.name)).chain(TABLES_OF_LOGS).chain(DEVICE_TABLES).collect()
}

/// The tables that rows of an event id go to.
pub fn tables_of(provider: &str, event_id: u32) -> Vec<&'static str> {
    let is = |known: &str, ids: &[u32]| ids.contains(&event_id) && known.eq_ignore_ascii_case(provider);
    let written = WRITTEN.iter().filter(|written| is(written.provider, written.event_ids)).flat_map(|written| written.tables.iter().copied());
    written.chain(MAPPINGS.iter().filter(|mapping| is(mapping.provider, &mapping.event_ids)).map(|mapping| mapping.table.name)).collect()
}

#[derive(Clone, Copy)]
enum Maker {
    Mapped(&'static Mapping),
    Written(&'static Written),
}

impl Maker {
    fn provider(self) -> &'static str {
        match self {
            Maker::Mapped(mapping) => mapping.provider,
            Maker::Written(written) => written.provider,
        }
    }
}

/// Which columns of a table are to be made: those that are asked for, and what they are told by.
fn made(table: &TableSchema, asked: &dyn Fn(&str) -> bool) -> Vec<bool> {
    /// By these a row is chosen, and known as the repetition of another.
    const ALWAYS: [&str; 3] = ["ActionType", "ProcessId", "ProcessUniqueId"];
    /// By these other events tell more about it: its process, and the name behind an address.
    const LINKS: [&str; 7] =
        ["InitiatingProcessId", "InitiatingProcessFileName", "InitiatingProcessCommandLine", "InitiatingProcessUniqueId", "RemoteIP", "RemoteIPType", "RemoteUrl"];
    let told_by_others = |name: &str| name.starts_with("InitiatingProcess") || matches!(name, "RemoteUrl" | "AdditionalFields");
    let linked = table.columns.iter().any(|column| told_by_others(column.name) && asked(column.name));
    table.columns.iter().map(|column| asked(column.name) || ALWAYS.contains(&column.name) || linked && LINKS.contains(&column.name)).collect()
}

/// Makes the rows of chosen tables.
pub struct Normalizer {
    by_id: HashMap<u32, Vec<Maker>>,
    wanted: Box<Wants>,
    landings: sentinel::Landings,
    /// Whether rows about the devices themselves are asked for.
    devices: bool,
    /// By table: the places of the columns that are asked for, where not all are.
    columns: HashMap<&'static str, Vec<usize>>,
    /// The same, of every column, with those that other events' details depend on.
    made: HashMap<&'static str, Vec<bool>>,
    /// Files of tables that are not known.
    others: HashMap<PathBuf, &'static TableSchema>,
}

/// Whether anyone asks for rows of a table with an action; of a table at all, when none is given.
type Wants = dyn Fn(&str, Option<&str>) -> bool + Send + Sync;

impl std::fmt::Debug for Normalizer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Normalizer").finish_non_exhaustive()
    }
}

impl Normalizer {
    /// `wanted` says by name which tables anyone asks for, and with which `ActionType`.
    pub fn new(wanted: impl Fn(&str, Option<&str>) -> bool + Send + Sync + 'static) -> Normalizer {
        let asked = |table: &str| wanted(table, None);
        let actions = MAPPINGS.iter().map(|mapping| mapping.table.name).chain(["DeviceProcessEvents", "DeviceNetworkEvents"]).any(asked);
        let mut by_id: HashMap<u32, Vec<Maker>> = HashMap::new();
        for written in WRITTEN.iter().filter(|written| written.tells && actions || written.tables.iter().any(|table| asked(table))) {
            written.event_ids.iter().for_each(|id| by_id.entry(*id).or_default().push(Maker::Written(written)));
        }
        for mapping in MAPPINGS.iter().filter(|mapping| asked(mapping.table.name) && mapping.action().is_none_or(|action| wanted(mapping.table.name, Some(action)))) {
            mapping.event_ids.iter().for_each(|id| by_id.entry(*id).or_default().push(Maker::Mapped(mapping)));
        }
        let landings = sentinel::Landings::new(&asked);
        let devices = DEVICE_TABLES.into_iter().any(asked);
        Normalizer { by_id, wanted: Box::new(wanted), landings, devices, columns: HashMap::new(), made: HashMap::new(), others: HashMap::new() }
    }

    /// The same, but batches of the tables, and of those of [`Normalizer::with_others`] before, hold only the columns that `wanted` says are asked for, and those of times.
    pub fn with_columns(mut self, wanted: impl Fn(&str) -> Option<BTreeSet<String>>) -> Normalizer {
        let others: Vec<&TableSchema> = self.others.values().copied().collect();
        for table in TABLES.values().chain(others) {
            let Some(names) = wanted(table.name) else { continue };
            let asked = |name: &str| names.contains(name) || matches!(name, "Timestamp" | "TimeGenerated");
            let mut places: Vec<usize> = table.columns.iter().enumerate().filter(|(_, column)| asked(column.name)).map(|(at, _)| at).collect();
            if places.is_empty() {
                places.push(0);
            }
            self.made.insert(table.name, made(table, &asked));
            self.columns.insert(table.name, places);
            self.landings.narrow(table.name, &asked);
        }
        self
    }

    /// The same, with files whose records are rows of tables that are not known.
    pub fn with_others(mut self, others: HashMap<PathBuf, &'static TableSchema>) -> Normalizer {
        self.others = others;
        self
    }

    /// The table of a file, also when it is compressed.
    pub(crate) fn other(&self, path: &Path) -> Option<&'static TableSchema> {
        let outer = || Some(Path::new(path.to_str()?.strip_suffix('!')?));
        self.others.get(path).or_else(|| self.others.get(outer()?)).copied()
    }

    /// The batch of rows of one table.
    pub(crate) fn batch(&self, table: &'static TableSchema, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
        match self.columns.get(table.name) {
            Some(columns) => batch_of(table, rows, columns),
            None => batch(table, rows),
        }
    }

    /// The same, but events make no rows: only what is a row of a table already.
    pub fn without_events(mut self) -> Normalizer {
        self.by_id.clear();
        self.landings = sentinel::Landings::new(&|_| false);
        self.devices = false;
        self
    }

    fn makers(&self, provider: &str, event_id: u32) -> impl Iterator<Item = Maker> {
        // Sysmon for Linux numbers and names its events as Sysmon does.
        let provider = if provider.eq_ignore_ascii_case("Linux-Sysmon") { SYSMON } else { provider };
        self.by_id.get(&event_id).into_iter().flatten().copied().filter(move |maker| maker.provider().eq_ignore_ascii_case(provider))
    }

    /// Whether the event makes a row, or tells what other rows want to know.
    pub fn wants(&self, event: &Event) -> bool {
        self.landings.want(event) || self.devices && tells(event) || self.makers(&event.provider, event.event_id).next().is_some()
    }

    /// By place, the columns of a table that are asked for, and those that others are told by; all, when none is said.
    pub(crate) fn made(&self, table: &str) -> Option<&[bool]> {
        self.made.get(table).map(Vec::as_slice)
    }

    /// Whether events make rows that are asked for, beside those of the tables that take events as they are.
    pub(crate) fn makes_rows(&self) -> bool {
        self.devices || !self.by_id.is_empty()
    }

    /// Whether rows that were read as rows of the table are asked for.
    pub fn wants_table(&self, table: &str) -> bool {
        (self.wanted)(table, None)
    }

    fn wants_row(&self, row: &Row) -> bool {
        let action = match row.get("ActionType") {
            Some(Field::Text(action)) => Some(action.as_str()),
            _ => None,
        };
        (self.wanted)(row.table.name, action)
    }

    /// Appends the rows the event makes, and what it tells about processes, names and its device.
    pub fn rows(&self, event: &Event, rows: &mut Vec<Row>, context: &mut Context) {
        if self.devices {
            context.devices.note(event);
        }
        for maker in self.makers(&event.provider, event.event_id) {
            match maker {
                Maker::Mapped(mapping) => rows.push(mapping.row(event, self.made(mapping.table.name))),
                Maker::Written(written) => {
                    let before = rows.len();
                    (written.rows)(event, rows, context);
                    if rows.get(before).is_some_and(|row| !self.wants_row(row)) {
                        rows.truncate(before);
                    }
                }
            }
        }
    }

    /// Appends the rows of the tables that take events as they are; no other event tells more about them.
    pub fn landings(&self, event: &Event, rows: &mut Vec<Row>) {
        self.landings.rows(event, rows);
    }
}
