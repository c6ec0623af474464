//! Steps to the events that Sysmon, PowerShell and BITS would have logged.

use crate::scenario::{Platform, Step, ticks};
use base64::Engine;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha1::{Digest, Sha1};
use std::borrow::Cow;
use std::collections::HashMap;
use vidette_telemetry::{Event, format_time, unix_seconds};

const SYSMON: (&str, &str) = ("Microsoft-Windows-Sysmon", "Microsoft-Windows-Sysmon/Operational");
const LINUX_SYSMON: (&str, &str) = ("Linux-Sysmon", "Linux-Sysmon/Operational");
const POWERSHELL: (&str, &str) = ("Microsoft-Windows-PowerShell", "Microsoft-Windows-PowerShell/Operational");
const BITS: (&str, &str) = ("Microsoft-Windows-Bits-Client", "Microsoft-Windows-Bits-Client/Operational");
const DOMAIN: &str = "CONTOSO";
const TICKS_PER_SECOND: i64 = 10_000_000;

#[derive(Clone, Debug)]
struct Process {
    image: String,
    command: String,
    user: String,
    id: u32,
    guid: String,
}

/// One machine, with the processes that run on it.
pub struct Machine {
    host: String,
    platform: Platform,
    address: String,
    random: ChaCha8Rng,
    running: HashMap<String, Process>,
    /// What runs since the machine was started, by image.
    resident: HashMap<String, Process>,
}

fn digest(text: &str) -> [u8; 20] {
    Sha1::digest(text.as_bytes()).into()
}

fn file_name(image: &str) -> &str {
    image.rsplit(['\\', '/']).next().unwrap_or(image)
}

impl Machine {
    pub fn new(host: &str, platform: Platform, seed: u64) -> Machine {
        let hash = digest(host);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..28].copy_from_slice(&hash);
        Machine {
            host: if host.contains('.') { host.to_owned() } else { format!("{host}.contoso.example") },
            platform,
            address: format!("10.20.{}.{}", hash[0], hash[1].max(2)),
            random: ChaCha8Rng::from_seed(bytes),
            running: HashMap::new(),
            resident: HashMap::new(),
        }
    }

    /// Greater than 0, not greater than 1.
    pub(crate) fn random(&mut self) -> f64 {
        (self.random.next_u32() as f64 + 1.0) / (u32::MAX as f64 + 1.0)
    }

    /// What the steps leave behind, beginning at an instant; in order of time.
    pub fn play(&mut self, user: &str, steps: &[Step], start_ticks: i64) -> Vec<Event<'static>> {
        self.running.clear();
        let mut events = Vec::new();
        let mut now = start_ticks;
        let mut last = None;
        for step in steps {
            now += step.after.as_deref().and_then(ticks).unwrap_or(TICKS_PER_SECOND);
            // What repeats is what the process does, not its start.
            let again = Step { start: None, by: if step.start.is_some() { None } else { step.by.clone() }, ..step.clone() };
            let every = step.every.as_deref().and_then(ticks).unwrap_or(TICKS_PER_SECOND);
            for time in 0..step.times.unwrap_or(1) {
                if time > 0 {
                    let jitter = (self.random() * 2.0 - 1.0) * step.jitter.clamp(0.0, 1.0);
                    now += (every as f64 * (1.0 + jitter)) as i64;
                }
                now = if time == 0 { self.step(user, step, now, &mut last, &mut events) } else { self.step(user, &again, now, &mut last, &mut events) };
            }
        }
        events.sort_by_key(|event: &Event| event.created_ticks);
        events
    }

    /// Gives the time at which the step was over.
    fn step(&mut self, user: &str, step: &Step, mut now: i64, last: &mut Option<String>, events: &mut Vec<Event<'static>>) -> i64 {
        let account = self.account(step.user.as_deref().unwrap_or(user));
        let process = match &step.start {
            Some(image) => {
                let parent = self.process(step.by.as_deref().unwrap_or(self.shell()), &account, now);
                let process = self.start(step, image, &account, now);
                events.push(self.created(step, &process, &parent, now));
                let name = step.r#as.clone().unwrap_or_else(|| file_name(image).to_owned());
                self.running.insert(name.clone(), process.clone());
                *last = Some(name);
                process
            }
            None => {
                let name = step.by.clone().or_else(|| last.clone()).unwrap_or_else(|| self.shell().to_owned());
                self.process(&name, &account, now)
            }
        };
        for (host, connects) in step.reach.iter().map(|host| (host, true)).chain(step.resolve.iter().map(|host| (host, false))) {
            let address = address_of(host);
            now += 3 * TICKS_PER_SECOND / 10;
            if self.platform == Platform::Windows && !host.starts_with(|c: char| c.is_ascii_digit()) {
                events.push(self.resolved(&process, host, Some(&address), now));
            }
            if connects {
                now += TICKS_PER_SECOND / 20;
                events.push(self.connected(&process, &address, now));
            }
        }
        let windows = self.platform == Platform::Windows;
        for host in step.miss.iter().filter(|_| windows) {
            now += 3 * TICKS_PER_SECOND / 10;
            events.push(self.resolved(&process, host, None, now));
        }
        if let (Some(script), true) = (&step.script, windows) {
            let id = self.guid(&format!("{script}{now}"));
            let data = vec![("MessageNumber", "1".into()), ("MessageTotal", "1".into()), ("ScriptBlockText", script.clone()), ("ScriptBlockId", id), ("Path", String::new())];
            let mut event = self.event(POWERSHELL, 4104, data, now);
            event.execution_process_id = i64::from(process.id);
            events.push(event);
        }
        if let (Some(url), true) = (&step.transfer, windows) {
            events.push(self.transferred(&process, url, step.job.as_deref().unwrap_or("job"), now));
        }
        if let Some(file) = &step.file {
            let data = self.acting(&process, now, vec![("TargetFilename", file.clone()), ("CreationUtcTime", format_time(now))]);
            events.push(self.event(self.sysmon(), 11, data, now));
        }
        if let (Some(value), true) = (&step.registry, windows) {
            let mut data = self.acting(&process, now, vec![("TargetObject", value.clone()), ("Details", step.data.clone().unwrap_or_default())]);
            data.insert(1, ("EventType", "SetValue".into()));
            events.push(self.event(SYSMON, 13, data, now));
        }
        now
    }

    fn sysmon(&self) -> (&'static str, &'static str) {
        if self.platform == Platform::Windows { SYSMON } else { LINUX_SYSMON }
    }

    /// What users start programs from.
    fn shell(&self) -> &'static str {
        match self.platform {
            Platform::Windows => r"C:\Windows\explorer.exe",
            Platform::Linux => "/usr/bin/bash",
            Platform::Macos => "/sbin/launchd",
        }
    }

    fn account(&self, user: &str) -> String {
        match self.platform {
            Platform::Windows if !user.contains('\\') => format!("{DOMAIN}\\{user}"),
            _ => user.to_owned(),
        }
    }

    fn guid(&self, text: &str) -> String {
        let h = digest(text);
        let part = |from: usize, to: usize| h[from..to].iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        format!("{{{}-{}-{}-{}-{}}}", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16))
    }

    /// Sysmon's: the machine, the second at which the process started, and a number of its own.
    fn process_guid(&self, started_ticks: i64, number: &str) -> String {
        let machine = digest(&self.host);
        let second = unix_seconds(started_ticks) as u32;
        let own = digest(number);
        let own = |from: usize, to: usize| own[from..to].iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        format!("{{{:02X}{:02X}{:02X}{:02X}-{:04X}-{:04X}-{}-{}}}", machine[0], machine[1], machine[2], machine[3], second & 0xffff, second >> 16, own(0, 2), own(2, 8))
    }

    /// A process by its name or image; one that nobody started runs since the machine does.
    fn process(&mut self, name: &str, user: &str, now: i64) -> Process {
        if let Some(process) = self.running.get(name) {
            return process.clone();
        }
        if let Some(process) = self.resident.get(name) {
            return process.clone();
        }
        let image = if name.contains(['\\', '/']) || self.platform != Platform::Windows { name.to_owned() } else { format!(r"C:\Windows\System32\{name}") };
        let id = 400 + (self.random.next_u32() % 900) * 4;
        let started = now - 3 * 3600 * TICKS_PER_SECOND;
        let process = Process { command: image.clone(), user: user.to_owned(), id, guid: self.process_guid(started, name), image };
        self.resident.insert(name.to_owned(), process.clone());
        process
    }

    fn start(&mut self, step: &Step, image: &str, user: &str, now: i64) -> Process {
        let id = 4000 + (self.random.next_u32() % 7000) * 4;
        let guid = self.process_guid(now, &format!("{image}{id}{now}"));
        let command = step.command.clone().unwrap_or_else(|| if image.contains(' ') { format!("\"{image}\"") } else { image.to_owned() });
        Process { image: image.to_owned(), command: encoded(&command), user: user.to_owned(), id, guid }
    }

    fn created(&self, step: &Step, process: &Process, parent: &Process, now: i64) -> Event<'static> {
        let hash = digest(&process.image);
        let hex: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        let windows = self.platform == Platform::Windows;
        let system = process.user.to_ascii_uppercase().starts_with("NT AUTHORITY") || process.user == "root";
        let original = step.original.clone().unwrap_or_else(|| if windows { file_name(&process.image).to_owned() } else { "-".to_owned() });
        let data = vec![
            ("RuleName", "-".into()),
            ("UtcTime", format_time(now)),
            ("ProcessGuid", process.guid.clone()),
            ("ProcessId", process.id.to_string()),
            ("Image", process.image.clone()),
            ("FileVersion", "-".into()),
            ("Description", "-".into()),
            ("Product", "-".into()),
            ("Company", step.company.clone().unwrap_or_else(|| "-".into())),
            ("OriginalFileName", original),
            ("CommandLine", process.command.clone()),
            ("CurrentDirectory", if windows { r"C:\".into() } else { "/".into() }),
            ("User", process.user.clone()),
            ("LogonGuid", self.guid(&process.user)),
            ("LogonId", if system { "0x3e7".into() } else { "0x3e7a1".into() }),
            ("TerminalSessionId", if system { "0".into() } else { "1".into() }),
            (
                "IntegrityLevel",
                if !windows {
                    "no level".into()
                } else if system {
                    "System".into()
                } else {
                    "Medium".into()
                },
            ),
            ("Hashes", format!("SHA1={hex},MD5={}", &hex[..32])),
            ("ParentProcessGuid", parent.guid.clone()),
            ("ParentProcessId", parent.id.to_string()),
            ("ParentImage", parent.image.clone()),
            ("ParentCommandLine", parent.command.clone()),
            ("ParentUser", parent.user.clone()),
        ];
        self.event(self.sysmon(), 1, data, now)
    }

    /// The head of every other Sysmon event, then what is the event's own.
    fn acting(&self, process: &Process, now: i64, own: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let mut data = vec![
            ("RuleName", "-".into()),
            ("UtcTime", format_time(now)),
            ("ProcessGuid", process.guid.clone()),
            ("ProcessId", process.id.to_string()),
            ("Image", process.image.clone()),
        ];
        data.extend(own);
        data.push(("User", process.user.clone()));
        data
    }

    /// The answer to a DNS query; without an address there is no such name.
    fn resolved(&self, process: &Process, host: &str, address: Option<&str>, now: i64) -> Event<'static> {
        let (status, results) = address.map_or(("9003", "-".to_owned()), |address| ("0", format!("::ffff:{address};")));
        let own = vec![("QueryName", host.to_owned()), ("QueryStatus", status.to_owned()), ("QueryResults", results)];
        self.event(SYSMON, 22, self.acting(process, now, own), now)
    }

    fn connected(&mut self, process: &Process, address: &str, now: i64) -> Event<'static> {
        let port = 49_152 + self.random.next_u32() % 16_000;
        let own = vec![
            ("Protocol", "tcp".into()),
            ("Initiated", "true".into()),
            ("SourceIsIpv6", "false".into()),
            ("SourceIp", self.address.clone()),
            ("SourceHostname", self.host.clone()),
            ("SourcePort", port.to_string()),
            ("SourcePortName", "-".into()),
            ("DestinationIsIpv6", "false".into()),
            ("DestinationIp", address.to_owned()),
            ("DestinationHostname", "-".into()),
            ("DestinationPort", "443".into()),
            ("DestinationPortName", "https".into()),
        ];
        self.event(self.sysmon(), 3, self.acting(process, now, own), now)
    }

    fn transferred(&self, process: &Process, url: &str, job: &str, now: i64) -> Event<'static> {
        let data = vec![
            ("transferId", self.guid(&format!("{url}{now}"))),
            ("name", job.to_owned()),
            ("Id", self.guid(job)),
            ("url", url.to_owned()),
            ("peer", String::new()),
            ("fileTime", "1601-01-01T00:00:00Z".into()),
            ("fileLength", "18446744073709551615".into()),
            ("bytesTotal", "18446744073709551615".into()),
            ("bytesTransferred", "0".into()),
            ("bytesTransferredFromPeer", "0".into()),
        ];
        let mut event = self.event(BITS, 59, data, now);
        event.execution_process_id = i64::from(process.id);
        event
    }

    fn event(&self, (provider, channel): (&'static str, &'static str), id: u32, data: Vec<(&'static str, String)>, now: i64) -> Event<'static> {
        Event {
            provider: Cow::Borrowed(provider),
            channel: Cow::Borrowed(channel),
            event_id: id,
            version: 5,
            level: 4,
            task: i64::from(id),
            keywords: Cow::Borrowed("0x8000000000000000"),
            computer: Cow::Owned(self.host.clone()),
            execution_process_id: 2212,
            execution_thread_id: 3000,
            user_sid: Cow::Borrowed("S-1-5-18"),
            created_ticks: Some(now),
            data: data.into_iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Owned(value))).collect(),
            ..Event::default()
        }
    }
}

/// A public address that a name always has; an address is its own.
fn address_of(host: &str) -> String {
    if host.split('.').count() == 4 && host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host.to_owned();
    }
    let hash = digest(host);
    format!("104.{}.{}.{}", 16 + hash[0] % 16, hash[1], hash[2].clamp(1, 254))
}

/// `{b64:text}` as PowerShell takes it.
fn encoded(command: &str) -> String {
    let Some((before, rest)) = command.split_once("{b64:") else { return command.to_owned() };
    let Some((text, after)) = rest.rsplit_once('}') else { return command.to_owned() };
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!("{before}{}{after}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_events() {
        let steps = vec![Step {
            start: Some(r"C:\a.exe".into()),
            reach: crate::scenario::Hosts::One("pastebin.com".into()),
            times: Some(3),
            every: Some("1m".into()),
            jitter: 0.5,
            ..Step::default()
        }];
        let play = |seed| Machine::new("pc", Platform::Windows, seed).play("ann", &steps, 638_000_000_000_000_000);
        assert_eq!(play(1), play(1));
        assert_ne!(play(1), play(2));
    }

    #[test]
    fn a_command_is_encoded_as_powershell_takes_it() {
        assert_eq!(encoded("powershell -enc {b64:dir} x"), "powershell -enc ZABpAHIA x");
    }
}
