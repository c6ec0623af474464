//! `DeviceInfo` and `DeviceNetworkInfo`: what a device's events tell about itself, a row of each for every hour that has
//! events of it. Defender docs: `advanced-hunting-deviceinfo-table`, `advanced-hunting-devicenetworkinfo-table`.
//!
//! A device whose events are here is onboarded and active. What no event tells (its groups, tags, exposure, adapters) stays
//! empty; so does the type of a device that nothing shows to be a server or a workstation.

use crate::event::{Event, parse_time};
use crate::normalize::columns::{ip_type, start};
use crate::normalize::sysmon::ends;
use crate::row::{Field, Row};
use crate::schemas::TABLES;
use compact_str::CompactString;
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The tables this fills.
pub(crate) const DEVICE_TABLES: [&str; 2] = ["DeviceInfo", "DeviceNetworkInfo"];

/// Hours of devices that wait for more events, and devices about which more is known; one takes about 300 bytes.
const LIMIT: usize = 40_000;
/// Hours that one reader collects before it hands them over.
const READER_LIMIT: usize = 4_096;
/// Users, addresses and networks kept of one hour.
const LIMIT_PER_HOUR: usize = 32;
const TICKS_PER_HOUR: i64 = 36_000_000_000;

const SYSMON: &str = "Microsoft-Windows-Sysmon";
const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

/// The events whose data tell something about the device.
const TELLING: &[(&str, &[u32])] = &[
    (SYSMON, &[1, 3]),
    ("Linux-Sysmon", &[1, 3]),
    (SECURITY, &[4624, 5156]),
    ("Microsoft-Windows-Kernel-General", &[12]),
    ("EventLog", &[6009]),
    ("Microsoft-Windows-NetworkProfile", &[10000]),
];

/// Only domain controllers issue tickets and change the directory.
const ONLY_SERVERS: [u32; 8] = [4768, 4769, 4770, 4771, 5136, 5137, 5139, 5141];

/// Who sits at the device, or is connected to its desktop.
const INTERACTIVE: [&str; 5] = ["2", "7", "10", "11", "12"];

/// Builds of Windows with the names of their releases; some are of Windows Server, too, 20348 and 25398 of it alone.
const BUILDS: &[(i64, &str)] = &[
    (10240, "1507"),
    (10586, "1511"),
    (14393, "1607"),
    (15063, "1703"),
    (16299, "1709"),
    (17134, "1803"),
    (17763, "1809"),
    (18362, "1903"),
    (18363, "1909"),
    (19041, "2004"),
    (19042, "20H2"),
    (19043, "21H1"),
    (19044, "21H2"),
    (19045, "22H2"),
    (20348, "21H2"),
    (22000, "21H2"),
    (22621, "22H2"),
    (22631, "23H2"),
    (25398, "23H2"),
    (26100, "24H2"),
    (26200, "25H2"),
];

/// What the events of one hour of one device tell.
#[derive(Clone, Debug, Default)]
struct Hour {
    /// Of its last event.
    last_ticks: i64,
    /// Domain, name and SID, by the first two in lower case.
    users: BTreeMap<(String, String), [String; 3]>,
    addresses: BTreeSet<IpAddr>,
    /// Name, description and category.
    networks: BTreeSet<[String; 3]>,
}

/// What stays as it is for longer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Device {
    linux: bool,
    server: bool,
    /// Version, build and revision, with when it was told.
    system: Option<(i64, [i64; 4])>,
    /// The highest build that a program of Windows names; a later release may still have it.
    of_programs: Option<i64>,
}

/// The devices seen so far.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    hours: IndexMap<(CompactString, i64), Hour, foldhash::fast::RandomState>,
    devices: IndexMap<CompactString, Device, foldhash::fast::RandomState>,
    /// The name as it was written, the hour and the place of what was noted last.
    last: Option<(CompactString, i64, usize)>,
}

/// Whether the data of the event tell something about its device.
pub(crate) fn tells(event: &Event) -> bool {
    TELLING.iter().any(|(provider, ids)| ids.contains(&event.event_id) && provider.eq_ignore_ascii_case(&event.provider))
}

impl Devices {
    /// Takes in an event; of one that does not [tell](tells) more, that its device was there.
    pub(crate) fn note(&mut self, event: &Event) {
        let Some(ticks) = event.created_ticks.filter(|ticks| *ticks > 0 && !event.computer.is_empty()) else { return };
        let hour = ticks.div_euclid(TICKS_PER_HOUR);
        let same = self.last.as_ref().filter(|(computer, at, _)| *at == hour && *computer == event.computer).map(|(_, _, at)| *at);
        let at = same.unwrap_or_else(|| {
            let host = CompactString::from(event.computer.as_ref()).to_lowercase();
            let entry = self.hours.entry((host, hour));
            let at = entry.index();
            entry.or_default();
            self.last = Some((event.computer.as_ref().into(), hour, at));
            at
        });
        let Some((_, noted)) = self.hours.get_index_mut(at) else { return };
        noted.last_ticks = noted.last_ticks.max(ticks);
        if tells(event) {
            noted.tell(event);
        }
        let facts = Device::told_by(event, ticks);
        if facts != Device::default() {
            self.add(CompactString::from(event.computer.as_ref()).to_lowercase(), &facts);
        }
    }

    /// Whether what one reader collected is enough to hand over.
    pub(crate) fn is_full(&self) -> bool {
        self.hours.len() >= READER_LIMIT
    }

    fn add(&mut self, host: CompactString, facts: &Device) {
        self.devices.entry(host).or_default().add(facts);
        if self.devices.len() > LIMIT {
            self.devices.drain(..LIMIT / 10);
        }
    }

    /// Takes in what another reader saw.
    pub(crate) fn merge(&mut self, other: Devices) {
        for (key, hour) in other.hours {
            self.hours.entry(key).or_default().add(hour);
        }
        for (host, device) in other.devices {
            self.add(host, &device);
        }
    }

    /// The rows of the oldest hours when there are too many; in the end those of all.
    pub(crate) fn rows(&mut self, all: bool) -> Vec<Row> {
        let count = if all { self.hours.len() } else { LIMIT / 10 };
        if count == 0 || !all && self.hours.len() <= LIMIT {
            return Vec::new();
        }
        self.last = None;
        let mut done: Vec<((CompactString, i64), Hour)> = self.hours.drain(..count).collect();
        // Which reader was first must not show in the order of rows.
        done.sort_by(|(a, _), (b, _)| (a.1, &a.0).cmp(&(b.1, &b.0)));
        let nothing = Device::default();
        done.into_iter().flat_map(|((host, number), hour)| hour.rows(&host, number, self.devices.get(&host).unwrap_or(&nothing))).collect()
    }
}

impl Device {
    fn told_by(event: &Event, ticks: i64) -> Device {
        let is = |provider: &str| event.provider.eq_ignore_ascii_case(provider);
        let mut told = Device::default();
        match event.event_id {
            _ if is("Linux-Sysmon") => told.linux = true,
            1 if is(SYSMON) => told.of_programs = build_of_program(event),
            12 if is("Microsoft-Windows-Kernel-General") => {
                let parts = ["MajorVersion", "MinorVersion", "BuildVersion", "QfeVersion"].map(|name| event.number(name));
                if let [Some(major), Some(minor), Some(build), revision] = parts {
                    told.system = Some((parse_time(event.get("StartTime")).unwrap_or(ticks), [major, minor, build, revision.unwrap_or_default()]));
                }
            }
            // `10.00.`, `19041`
            6009 if is("EventLog") => {
                let mut data = event.data.iter().filter(|(name, _)| name == "Data").map(|(_, value)| value.trim());
                let version = data.next().and_then(|text| text.trim_end_matches('.').split_once('.'));
                if let (Some((major, minor)), Some(Ok(build))) = (version, data.next().map(str::parse)) {
                    told.system = major.parse().ok().zip(minor.parse().ok()).map(|(major, minor)| (ticks, [major, minor, build, 0]));
                }
            }
            id => told.server = ONLY_SERVERS.contains(&id) && is(SECURITY),
        }
        told
    }

    fn add(&mut self, other: &Device) {
        self.linux |= other.linux;
        self.server |= other.server;
        self.system = self.system.max(other.system);
        self.of_programs = self.of_programs.max(other.of_programs);
    }

    fn build(&self) -> Option<i64> {
        self.system.map(|(_, [_, _, build, _])| build).or(self.of_programs)
    }

    fn is_server(&self) -> bool {
        self.server || matches!(self.build(), Some(20348 | 25398))
    }

    /// Whether no server has this build.
    fn is_workstation(&self) -> bool {
        self.build().is_some_and(|build| (18362..20348).contains(&build) || (22000..26100).contains(&build) && build != 25398)
    }

    /// Defender's name of the system; `Windows` when servers and workstations share what is known of it.
    fn platform(&self) -> &'static str {
        match (self.build(), self.is_server()) {
            _ if self.linux => "Linux",
            (Some(7600 | 7601), true) => "WindowsServer2008R2",
            (Some(9200), true) => "WindowsServer2012",
            (Some(9600), true) => "WindowsServer2012R2",
            (Some(14393), true) => "WindowsServer2016",
            (Some(17763), true) => "WindowsServer2019",
            (Some(20348 | 25398), true) => "WindowsServer2022",
            (Some(26100), true) => "WindowsServer2025",
            (Some(build), false) if self.is_workstation() => {
                if build < 22000 {
                    "Windows10"
                } else {
                    "Windows11"
                }
            }
            (Some(10240 | 10586 | 15063 | 16299 | 17134), _) => "Windows10",
            _ => "Windows",
        }
    }
}

/// The build in `10.0.19041.1 (WinBuild.160101.0800)`, of a program that came with Windows.
fn build_of_program(event: &Event) -> Option<i64> {
    let (version, built) = event.get("FileVersion").split_once(' ')?;
    let of_windows = built.starts_with("(WinBuild") && event.get("Company") == "Microsoft Corporation" && event.get("Product").ends_with("Operating System");
    version.split('.').nth(2).filter(|_| of_windows)?.parse().ok()
}

impl Hour {
    fn tell(&mut self, event: &Event) {
        match event.event_id {
            1 if event.number("TerminalSessionId").is_some_and(|session| session > 0) => {
                let (domain, name) = event.get("User").split_once('\\').unwrap_or(("", event.get("User")));
                self.user(domain, name, "");
            }
            4624 if INTERACTIVE.contains(&event.get("LogonType")) => {
                self.user(event.get("TargetDomainName"), event.get("TargetUserName"), event.get("TargetUserSid"));
            }
            3 => {
                let ends = ends(event);
                if ends.told {
                    self.address(event.get(&format!("{}Ip", ends.local)));
                }
            }
            5156 if event.get("Direction") == "%%14592" => self.address(event.get("DestAddress")),
            5156 => self.address(event.get("SourceAddress")),
            10000 => {
                let category = match event.get("Category") {
                    "0" => "Public",
                    "1" => "Private",
                    "2" => "Domain",
                    other => other,
                };
                self.network([event.get("Name").to_owned(), event.get("Description").to_owned(), category.to_owned()]);
            }
            _ => {}
        }
    }

    fn user(&mut self, domain: &str, name: &str, sid: &str) {
        // The accounts of services and of the desktop itself do not log on.
        let of_windows = name.is_empty() || ["Window Manager", "Font Driver Host", "NT AUTHORITY", "NT SERVICE"].iter().any(|of| domain.eq_ignore_ascii_case(of));
        if of_windows || name.ends_with('$') || self.users.len() == LIMIT_PER_HOUR {
            return;
        }
        let new = [domain, name, sid].map(str::to_owned);
        let known = self.users.entry((domain.to_lowercase(), name.to_lowercase())).or_insert_with(|| new.clone());
        known.iter_mut().zip(new).for_each(|(known, new)| *known = std::mem::take(known).max(new));
    }

    fn address(&mut self, text: &str) {
        let Ok(ip) = text.parse::<IpAddr>() else { return };
        let ip = ip.to_canonical();
        // The last address of most networks is everyone's.
        let of_all = matches!(ip, IpAddr::V4(ip) if ip.octets()[3] == 255);
        if !of_all && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified() {
            self.own(ip);
        }
    }

    fn own(&mut self, ip: IpAddr) {
        if self.addresses.len() < LIMIT_PER_HOUR {
            self.addresses.insert(ip);
        }
    }

    fn network(&mut self, network: [String; 3]) {
        if self.networks.len() < LIMIT_PER_HOUR {
            self.networks.insert(network);
        }
    }

    fn add(&mut self, other: Hour) {
        self.last_ticks = self.last_ticks.max(other.last_ticks);
        other.users.into_values().for_each(|[domain, name, sid]| self.user(&domain, &name, &sid));
        other.networks.into_iter().for_each(|network| self.network(network));
        other.addresses.into_iter().for_each(|ip| self.own(ip));
    }

    fn rows(self, host: &str, number: i64, device: &Device) -> Vec<Row> {
        let event = Event { computer: host.into(), created_ticks: Some(self.last_ticks), record_id: number as u64, ..Event::default() };
        let mut rows = vec![self.device(start(&TABLES["DeviceInfo"], "", &event), device)];
        if !self.addresses.is_empty() || !self.networks.is_empty() {
            rows.push(self.network_row(start(&TABLES["DeviceNetworkInfo"], "", &event)));
        }
        rows
    }

    fn device(&self, mut row: Row, device: &Device) -> Row {
        row.text("OnboardingStatus", "Onboarded").text("SensorHealthState", "Active").text("DeviceCategory", "Endpoint");
        row.text("OSPlatform", device.platform());
        if device.is_server() {
            row.text("DeviceType", "Server");
        } else if device.is_workstation() {
            row.text("DeviceType", "Workstation");
        }
        if let Some((_, [major, minor, build, revision])) = device.system {
            row.text("OSVersion", format!("{major}.{minor}")).long("OSBuild", Some(build));
            if revision > 0 {
                row.text("OsBuildRevision", revision.to_string());
            }
            if let Some((_, name)) = BUILDS.iter().find(|(known, _)| *known == build) {
                row.text("OSVersionInfo", *name);
            }
        }
        if let Some(public) = self.addresses.iter().find(|ip| ip_type(&ip.to_string()) == "Public") {
            row.text("PublicIP", public.to_string());
        }
        let user = |[domain, name, sid]: &[String; 3]| {
            let mut user = json!({"UserName": name, "DomainName": domain});
            if !sid.is_empty() {
                user["Sid"] = sid.as_str().into();
            }
            user
        };
        list(&mut row, "LoggedOnUsers", self.users.values().map(user));
        row
    }

    fn network_row(&self, mut row: Row) -> Row {
        row.text("NetworkAdapterStatus", "Up").text("OnboardingStatus", "Onboarded");
        list(&mut row, "IPAddresses", self.addresses.iter().map(|ip| json!({"IPAddress": ip.to_string(), "AddressType": ip_type(&ip.to_string())})));
        list(&mut row, "ConnectedNetworks", self.networks.iter().map(|[name, description, category]| json!({"Name": name, "Description": description, "Category": category})));
        row
    }
}

fn list(row: &mut Row, column: &str, items: impl Iterator<Item = Value>) {
    let items: Vec<Value> = items.collect();
    if !items.is_empty() {
        row.set(column, Field::Json(Value::Array(items).to_string()));
    }
}
