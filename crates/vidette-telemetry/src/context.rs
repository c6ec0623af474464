//! What events tell about each other: processes by guid, names by address. Bounded: the oldest entries go first.

use crate::devices::Devices;
use crate::row::{Field, Row};
use crate::schemas::{TABLES, TableSchema};
use compact_str::{CompactString, ToCompactString};
use indexmap::{Equivalent, IndexMap};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// Entries kept of each kind; a process takes about 2 KiB, the others a few hundred bytes.
const LIMIT: usize = 40_000;
/// Names and starts kept of one entry.
const LIMIT_PER_ENTRY: usize = 32;
/// A name may be logged this much later than the connection it belongs to.
const DNS_TOLERANCE_TICKS: i64 = 2 * 10_000_000;

/// The columns of a process that rows about its actions want, each with its place in [`PROCESS_COLUMNS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    columns: Box<[(u8, Field)]>,
}

/// `DeviceProcessEvents` columns of the created process, and the `InitiatingProcess*` columns they fill elsewhere.
const PROCESS_COLUMNS: &[(&str, &str)] = &[
    ("FileName", "InitiatingProcessFileName"),
    ("FolderPath", "InitiatingProcessFolderPath"),
    ("ProcessCommandLine", "InitiatingProcessCommandLine"),
    ("ProcessId", "InitiatingProcessId"),
    ("ProcessCreationTime", "InitiatingProcessCreationTime"),
    ("AccountDomain", "InitiatingProcessAccountDomain"),
    ("AccountName", "InitiatingProcessAccountName"),
    ("SHA1", "InitiatingProcessSHA1"),
    ("SHA256", "InitiatingProcessSHA256"),
    ("MD5", "InitiatingProcessMD5"),
    ("ProcessIntegrityLevel", "InitiatingProcessIntegrityLevel"),
    ("ProcessVersionInfoFileDescription", "InitiatingProcessVersionInfoFileDescription"),
    ("ProcessVersionInfoProductName", "InitiatingProcessVersionInfoProductName"),
    ("ProcessVersionInfoCompanyName", "InitiatingProcessVersionInfoCompanyName"),
    ("ProcessVersionInfoProductVersion", "InitiatingProcessVersionInfoProductVersion"),
    ("ProcessVersionInfoOriginalFileName", "InitiatingProcessVersionInfoOriginalFileName"),
    ("InitiatingProcessFileName", "InitiatingProcessParentFileName"),
    ("InitiatingProcessId", "InitiatingProcessParentId"),
    ("InitiatingProcessCreationTime", "InitiatingProcessParentCreationTime"),
];

/// Where the tables of Defender have the columns that a process fills.
static POSITIONS: LazyLock<HashMap<&'static str, Vec<Option<usize>>>> = LazyLock::new(|| {
    let devices = TABLES.values().filter(|table| table.name.starts_with("Device"));
    devices.map(|table| (table.name, PROCESS_COLUMNS.iter().map(|(_, to)| table.position(to)).collect())).collect()
});

impl Process {
    /// The process that a `DeviceProcessEvents` row created.
    pub fn from_row(row: &Row) -> Process {
        let lower = |column: &str, field: &Field| match (column, field) {
            ("FileName" | "FolderPath", Field::Text(text)) => Field::Text(text.to_lowercase()),
            (_, other) => other.clone(),
        };
        let columns = PROCESS_COLUMNS.iter().zip(0u8..).filter_map(|((from, _), at)| row.get(from).map(|field| (at, lower(from, field)))).collect();
        Process { columns }
    }

    fn get(&self, column: &str) -> Option<&Field> {
        let at = PROCESS_COLUMNS.iter().position(|(_, to)| *to == column)?;
        self.columns.iter().find(|(known, _)| usize::from(*known) == at).map(|(_, field)| field)
    }

    /// Fills the columns that hold nothing yet.
    fn fill(&self, row: &mut Row) {
        let Some(positions) = POSITIONS.get(row.table.name) else { return };
        for (place, field) in &self.columns {
            let Some(at) = positions[usize::from(*place)] else { continue };
            let empty = matches!(field, Field::Text(text) if text.is_empty());
            if !empty && !row.may_hold(at) {
                row.set_at(at, field.clone());
            }
        }
    }
}

/// Names that one process was given for one address.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<(String, i64)>,
}

/// Processes, DNS answers and devices seen so far.
#[derive(Debug, Default)]
pub struct Context {
    /// By host and guid.
    processes: Known<Arc<Process>>,
    /// By host and pid, with when they began, for events that name no guid.
    by_id: Known<Vec<(i64, Arc<Process>)>>,
    /// By host, guid and address.
    answers: Known<Names>,
    /// When Sysmon saw a process of this host and pid begin.
    starts: Known<Vec<i64>>,
    pub(crate) devices: Devices,
}

type Known<V> = IndexMap<Key<CompactString>, V, foldhash::fast::RandomState>;

/// A host, and up to two things that tell apart what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key<T>([T; 3]);

impl<T: AsRef<str>> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|part| part.as_ref().hash(state));
    }
}

impl Equivalent<Key<CompactString>> for Key<&str> {
    fn equivalent(&self, key: &Key<CompactString>) -> bool {
        self.0.iter().zip(&key.0).all(|(ours, theirs)| ours == theirs)
    }
}

fn key(host: &str, name: &str, address: &str) -> Key<CompactString> {
    Key([host.into(), name.into(), address.into()])
}

/// Two logs report one process creation within this time.
const SAME_CREATION_TICKS: i64 = 2 * 10_000_000;

impl Context {
    /// Notes a process; without a guid it is known by its id and when it began.
    pub fn process(&mut self, host: &str, guid: &str, process: Process) {
        let process = Arc::new(process);
        if let (Some(Field::Long(id)), Some(Field::Ticks(began))) = (process.get("InitiatingProcessId"), process.get("InitiatingProcessCreationTime")) {
            note(self.by_id.entry(key(host, &id.to_compact_string(), "")).or_default(), (*began, process.clone()));
            trim(&mut self.by_id);
        }
        if !guid.is_empty() {
            self.processes.insert(key(host, guid, ""), process);
            trim(&mut self.processes);
        }
    }

    /// The process that a row is about: by guid, else the one with its id that began last before it.
    fn process_of(&self, row: &Row) -> Option<&Process> {
        if let Some(guid) = &row.links.process {
            return self.processes.get(&Key([row.links.host.as_str(), guid, ""])).map(AsRef::as_ref);
        }
        if self.by_id.is_empty() {
            return None;
        }
        let Some(Field::Long(id)) = row.get("InitiatingProcessId") else { return None };
        let known = self.by_id.get(&Key([row.links.host.as_str(), &id.to_compact_string(), ""]))?;
        let same_file = |process: &Process| match (row.get("InitiatingProcessFileName"), process.get("InitiatingProcessFileName")) {
            (Some(named), Some(known)) => named == known,
            _ => true,
        };
        let began_before = known.iter().filter(|(began, process)| *began <= row.links.time_ticks + SAME_CREATION_TICKS && same_file(process));
        began_before.max_by_key(|(began, _)| *began).map(|(_, process)| process.as_ref())
    }

    /// Notes a process creation that Sysmon reported.
    pub fn started(&mut self, host: &str, process_id: i64, time_ticks: i64) {
        note(self.starts.entry(key(host, &process_id.to_compact_string(), "")).or_default(), time_ticks);
        trim(&mut self.starts);
    }

    /// Whether rows of the table that were read as such may lack what events tell.
    pub fn may_enrich(table: &TableSchema) -> bool {
        POSITIONS.contains_key(table.name)
    }

    /// Whether the row may repeat a process creation, as one of the Security log may.
    pub fn may_repeat(row: &Row) -> bool {
        row.table.name == "DeviceProcessEvents" && row.links.created.is_none() && !row.has("ProcessUniqueId")
    }

    /// Whether the row repeats, from the Security log, a process creation that Sysmon reported with more detail.
    pub fn repeats(&self, row: &Row) -> bool {
        if self.starts.is_empty() || !Context::may_repeat(row) {
            return false;
        }
        let Some(Field::Long(process_id)) = row.get("ProcessId") else { return false };
        let starts = self.starts.get(&Key([row.links.host.as_str(), &process_id.to_compact_string(), ""]));
        starts.is_some_and(|times| times.iter().any(|time| (time - row.links.time_ticks).abs() <= SAME_CREATION_TICKS))
    }

    pub fn answer(&mut self, host: &str, guid: &str, address: &str, name: &str, time_ticks: i64) {
        if guid.is_empty() || name.is_empty() {
            return;
        }
        note(&mut self.answers.entry(key(host, guid, address)).or_default().names, (name.to_owned(), time_ticks));
        trim(&mut self.answers);
    }

    /// Takes in what another reader saw.
    pub fn merge(&mut self, other: Context) {
        self.processes.extend(other.processes);
        for (key, processes) in other.by_id {
            let known = self.by_id.entry(key).or_default();
            processes.into_iter().for_each(|process| note(known, process));
        }
        trim(&mut self.by_id);
        for (key, names) in other.answers {
            let known = &mut self.answers.entry(key).or_default().names;
            names.names.into_iter().for_each(|name| note(known, name));
        }
        for (key, times) in other.starts {
            let known = self.starts.entry(key).or_default();
            times.into_iter().for_each(|time| note(known, time));
        }
        trim(&mut self.processes);
        trim(&mut self.answers);
        trim(&mut self.starts);
        self.devices.merge(other.devices);
    }

    /// Fills what the row lacks: its process's columns, the parent's parents, and the name behind a remote address.
    pub fn enrich(&self, row: &mut Row) {
        if let Some(process) = self.process_of(row) {
            process.fill(row);
        }
        // Rows of Defender's own name no process by a guid.
        let Some(process) = &row.links.process else { return };
        if !row.has("InitiatingProcessCreationTime") {
            let start = crate::normalize::start_of(process);
            row.ticks("InitiatingProcessCreationTime", start);
        }
        if row.table.name == "DeviceNetworkEvents" && !row.has("RemoteUrl") {
            self.name_remote(row);
        }
    }

    /// The requested host of a connection: what DNS told the process, else the only URL on its command line.
    fn name_remote(&self, row: &mut Row) {
        let (Some(guid), Some(address)) = (row.links.process.clone(), row.links.remote_ip.clone()) else { return };
        let plain = address.strip_prefix("::ffff:").unwrap_or(&address);
        if let Some(names) = self.answers.get(&Key([row.links.host.as_str(), &guid, plain])) {
            let mut known: Vec<&(String, i64)> = names.names.iter().filter(|(_, time)| *time <= row.links.time_ticks + DNS_TOLERANCE_TICKS).collect();
            // The latest answer first; the order in which files were read must not show.
            known.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            if let Some((name, _)) = known.first() {
                let name = name.clone();
                let mut seen = HashSet::new();
                let others: Vec<serde_json::Value> = known.iter().filter(|(name, _)| seen.insert(name)).map(|(name, _)| name.as_str().into()).collect();
                add(row, "UrlSource", "dns".into());
                if others.len() > 1 {
                    add(row, "UrlCandidates", serde_json::Value::Array(others));
                }
                row.text("RemoteUrl", name);
                return;
            }
        }
        let command = match row.get("InitiatingProcessCommandLine") {
            Some(Field::Text(command)) => command.clone(),
            _ => return,
        };
        let public = matches!(row.get("RemoteIPType"), Some(Field::Text(class)) if class == "Public");
        if let (Some(host), true) = (only_host(&command), public) {
            add(row, "UrlSource", "cmdline".into());
            row.text("RemoteUrl", host);
        }
    }
}

/// The host of the only `http` or `https` URL in a command line.
fn only_host(command: &str) -> Option<String> {
    let lower = command.to_lowercase();
    let mut hosts: Vec<&str> = lower
        .match_indices("://")
        .filter(|(at, _)| lower[..*at].ends_with("http") || lower[..*at].ends_with("https"))
        .map(|(at, _)| {
            let rest = &lower[at + 3..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))).unwrap_or(rest.len());
            &rest[..end]
        })
        .filter(|host| host.contains('.'))
        .collect();
    hosts.dedup();
    match hosts[..] {
        [only] => Some(only.to_owned()),
        _ => None,
    }
}

fn add(row: &mut Row, name: &str, value: serde_json::Value) {
    let mut bag = match row.get("AdditionalFields") {
        Some(Field::Json(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => serde_json::Map::new(),
    };
    bag.insert(name.to_owned(), value);
    row.set("AdditionalFields", Field::Json(serde_json::Value::Object(bag).to_string()));
}

/// Adds what is new, the oldest giving way.
fn note<T: PartialEq>(known: &mut Vec<T>, new: T) {
    if known.contains(&new) {
        return;
    }
    if known.len() == LIMIT_PER_ENTRY {
        known.remove(0);
    }
    known.push(new);
}

/// Drops the oldest tenth when there are too many.
fn trim<V>(map: &mut Known<V>) {
    if map.len() > LIMIT {
        map.drain(..LIMIT / 10);
    }
}
