//! Scenarios as files of telemetry.

use crate::commands::Failure;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use vidette_simulation::{Activity, Machine, Platform, Profile, Scenario, day};
use vidette_telemetry::{Event, format_time, write_evtx};

/// The days of an office.
pub const BACKGROUND: &str = include_str!("../../vidette-simulation/data/background.yaml");

/// What to write, and where.
pub struct Simulation<'a> {
    pub scenarios: Vec<&'a Scenario>,
    pub profile: Profile,
    /// As EVTX files, else as JSON lines in evtx_dump's shape.
    pub evtx: bool,
    pub out: &'a Path,
    pub start_ticks: i64,
    pub background: Background<'a>,
}

/// The noise around the scenarios.
#[derive(Default)]
pub struct Background<'a> {
    pub activities: &'a [Activity],
    pub hours: i64,
    /// Machines without a scenario.
    pub hosts: usize,
    pub seed: u64,
}

/// What was written.
#[derive(Default)]
pub struct Written {
    pub files: usize,
    pub events: usize,
    /// Scenarios that have no log of this format.
    pub left_out: Vec<String>,
}

const TICKS_PER_HOUR: i64 = 36_000_000_000;
const HOURS_PER_FILE: i64 = 24;

impl Simulation<'_> {
    /// Writes a folder for each host. The same simulation gives the same bytes.
    pub fn write(&self) -> Result<Written, Failure> {
        let mut written = Written::default();
        let mut hosts: Vec<(String, Platform, String)> = Vec::new();
        for scenario in &self.scenarios {
            if scenario.platform == Platform::Macos && self.evtx {
                written.left_out.push(format!("{}: no such log on macOS; --format defender has it", scenario.name));
            } else if !hosts.iter().any(|(host, ..)| *host == scenario.host) {
                hosts.push((scenario.host.clone(), scenario.platform, scenario.user.clone()));
            }
        }
        hosts.extend((1..=self.background.hosts).map(|number| (format!("WKS-{number:04}"), Platform::Windows, format!("user{number:04}"))));
        for (host, platform, user) in &hosts {
            self.host(host, *platform, user, &mut written)?;
        }
        Ok(written)
    }

    fn host(&self, host: &str, platform: Platform, user: &str, written: &mut Written) -> Result<(), Failure> {
        let mut machine = Machine::new(host, platform, self.background.seed);
        let end = self.start_ticks + self.background.hours * TICKS_PER_HOUR;
        // In the middle of the first day of noise.
        let attack = self.start_ticks + self.background.hours.min(HOURS_PER_FILE) * TICKS_PER_HOUR / 2;
        let mut from = self.start_ticks;
        let mut record = 0;
        loop {
            let to = (from + HOURS_PER_FILE * TICKS_PER_HOUR).min(end);
            let mut events = Vec::new();
            if platform == Platform::Windows {
                events.extend(day(&mut machine, user, self.background.activities, from, to));
            }
            if (from..=to.max(from)).contains(&attack) {
                for scenario in self.scenarios.iter().filter(|scenario| scenario.host == host && scenario.platform == platform) {
                    events.extend(machine.play(&scenario.user, &scenario.does, attack));
                }
            }
            events.sort_by_key(|event| event.created_ticks);
            let part = if end - self.start_ticks > HOURS_PER_FILE * TICKS_PER_HOUR { format_time(from)[..10].to_owned() } else { String::new() };
            self.files(host, platform, &part, self.profile.filter(events), &mut record, written)?;
            from = to;
            if from >= end {
                return Ok(());
            }
        }
    }

    fn files(&self, host: &str, platform: Platform, part: &str, mut events: Vec<Event>, record: &mut u64, written: &mut Written) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        written.events += events.len();
        let folder = self.out.join(host);
        std::fs::create_dir_all(&folder).map_err(|error| failure(&folder, &error))?;
        let suffix = if part.is_empty() { String::new() } else { format!("-{part}") };
        if !self.evtx || platform != Platform::Windows {
            let mut text = String::new();
            for event in &mut events {
                *record += 1;
                event.record_id = *record;
                text.push_str(&json_line(event).to_string());
                text.push('\n');
            }
            written.files += 1;
            return write(&folder.join(format!("events{suffix}.jsonl")), text.as_bytes());
        }
        let mut channels: Vec<String> = events.iter().map(|event| event.channel.to_string()).collect();
        channels.sort();
        channels.dedup();
        for channel in channels {
            let own: Vec<Event> = events.iter().filter(|event| event.channel == channel).cloned().collect();
            let path = folder.join(format!("{}{suffix}.evtx", channel.replace('/', "%4")));
            let bytes = write_evtx(&own).map_err(|at| Failure::usage(format!("{}: event {at} is longer than a chunk of a log", path.display())))?;
            write(&path, &bytes)?;
            written.files += 1;
        }
        Ok(())
    }
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

/// An event as evtx_dump writes it.
fn json_line(event: &Event) -> Value {
    let time = event.created_ticks.map(format_time).unwrap_or_default().replace(' ', "T") + "Z";
    let data: Map<String, Value> = event.data.iter().map(|(name, value)| (name.to_string(), Value::from(value.as_ref()))).collect();
    json!({"Event": {
        "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
        "System": {
            "Provider": {"#attributes": {"Name": event.provider}},
            "EventID": event.event_id, "Version": event.version, "Level": event.level, "Task": event.task, "Opcode": event.opcode, "Keywords": event.keywords,
            "TimeCreated": {"#attributes": {"SystemTime": time}},
            "EventRecordID": event.record_id,
            "Execution": {"#attributes": {"ProcessID": event.execution_process_id, "ThreadID": event.execution_thread_id}},
            "Channel": event.channel, "Computer": event.computer,
            "Security": {"#attributes": {"UserID": event.user_sid}},
        },
        "EventData": data,
    }})
}
