//! Events of which there is only the text that Windows shows of them, in English: what PowerShell's `Get-WinEvent` gives, and
//! Splunk's `WinEventLog` input without XML. Vendor pages: Sysmon; Microsoft, "Advanced security audit policy", the page of each event.

use super::json::{LINE_LIMIT_BYTES, take_line};
use super::shapes::time;
use super::{Record, Sink};
use crate::error::Problem;
use crate::event::{Event, Fields, parse_time, text};
use serde_json::{Map, Value};
use std::io::BufRead;
use std::path::Path;

const SYSMON: &str = "Microsoft-Windows-Sysmon";

/// A label of the text of some events, under its heading (none of those without), and the field whose value stands behind it.
type Label = (&'static str, &'static str, &'static str);

const SUBJECT: [Label; 4] = [
    ("Subject", "Security ID", "SubjectUserSid"),
    ("Subject", "Account Name", "SubjectUserName"),
    ("Subject", "Account Domain", "SubjectDomainName"),
    ("Subject", "Logon ID", "SubjectLogonId"),
];

const LABELS: &[(&[u32], &[Label])] = &[
    (
        &[4688],
        &[
            ("Creator Subject", "Security ID", "SubjectUserSid"),
            ("Creator Subject", "Account Name", "SubjectUserName"),
            ("Creator Subject", "Account Domain", "SubjectDomainName"),
            ("Creator Subject", "Logon ID", "SubjectLogonId"),
            ("Target Subject", "Security ID", "TargetUserSid"),
            ("Target Subject", "Account Name", "TargetUserName"),
            ("Target Subject", "Account Domain", "TargetDomainName"),
            ("Target Subject", "Logon ID", "TargetLogonId"),
            ("Process Information", "New Process ID", "NewProcessId"),
            ("Process Information", "New Process Name", "NewProcessName"),
            ("Process Information", "Token Elevation Type", "TokenElevationType"),
            ("Process Information", "Mandatory Label", "MandatoryLabel"),
            ("Process Information", "Creator Process ID", "ProcessId"),
            ("Process Information", "Creator Process Name", "ParentProcessName"),
            ("Process Information", "Process Command Line", "CommandLine"),
        ],
    ),
    (
        &[4624, 4625],
        &[
            ("", "Logon Type", "LogonType"),
            ("Logon Information", "Logon Type", "LogonType"),
            ("New Logon", "Security ID", "TargetUserSid"),
            ("New Logon", "Account Name", "TargetUserName"),
            ("New Logon", "Account Domain", "TargetDomainName"),
            ("New Logon", "Logon ID", "TargetLogonId"),
            ("Account For Which Logon Failed", "Security ID", "TargetUserSid"),
            ("Account For Which Logon Failed", "Account Name", "TargetUserName"),
            ("Account For Which Logon Failed", "Account Domain", "TargetDomainName"),
            ("Failure Information", "Failure Reason", "FailureReason"),
            ("Failure Information", "Status", "Status"),
            ("Failure Information", "Sub Status", "SubStatus"),
            ("Process Information", "Process ID", "ProcessId"),
            ("Process Information", "Process Name", "ProcessName"),
            ("Process Information", "Caller Process ID", "ProcessId"),
            ("Process Information", "Caller Process Name", "ProcessName"),
            ("Network Information", "Workstation Name", "WorkstationName"),
            ("Network Information", "Source Network Address", "IpAddress"),
            ("Network Information", "Source Port", "IpPort"),
            ("Detailed Authentication Information", "Logon Process", "LogonProcessName"),
            ("Detailed Authentication Information", "Authentication Package", "AuthenticationPackageName"),
        ],
    ),
    (
        &[5156, 5157],
        &[
            ("Application Information", "Process ID", "ProcessID"),
            ("Application Information", "Application Name", "Application"),
            ("Network Information", "Direction", "Direction"),
            ("Network Information", "Source Address", "SourceAddress"),
            ("Network Information", "Source Port", "SourcePort"),
            ("Network Information", "Destination Address", "DestAddress"),
            ("Network Information", "Destination Port", "DestPort"),
            ("Network Information", "Protocol", "Protocol"),
        ],
    ),
    (
        &[7045],
        &[
            ("", "Service Name", "ServiceName"),
            ("", "Service File Name", "ImagePath"),
            ("", "Service Type", "ServiceType"),
            ("", "Service Start Type", "StartType"),
            ("", "Service Account", "AccountName"),
        ],
    ),
];

/// What Windows writes as a number, and shows as a word.
const WORDS: [(&str, &str, &str); 2] = [("Direction", "Inbound", "%%14592"), ("Direction", "Outbound", "%%14593")];

/// The event of an object as `Get-WinEvent` gives it; `None` of another object.
pub(super) fn get_winevent(map: &Map<String, Value>) -> Option<Event<'static>> {
    let pick = |name: &str| map.get(name).map(text).unwrap_or_default();
    let number = |name: &str| pick(name).trim().parse().unwrap_or_default();
    if !is_get_winevent(|name| map.contains_key(name)) {
        return None;
    }
    // `ConvertTo-Json` of Windows PowerShell makes an object of a time, with what it shows beside it.
    let created = map.get("TimeCreated").map(|created| created.get("value").unwrap_or(created));
    let user = map.get("UserId").map(|user| user.get("Value").unwrap_or(user));
    let event_id = pick("Id").trim().parse().ok()?;
    let provider = pick("ProviderName");
    Some(Event {
        data: data(&provider, event_id, &pick("Message")),
        provider: provider.into(),
        event_id,
        channel: pick("LogName").into(),
        computer: pick("MachineName").into(),
        user_sid: user.map(text).unwrap_or_default().into(),
        version: number("Version"),
        level: number("Level"),
        task: number("Task"),
        opcode: number("Opcode"),
        record_id: pick("RecordId").trim().parse().unwrap_or_default(),
        execution_process_id: number("ProcessId"),
        execution_thread_id: number("ThreadId"),
        created_ticks: created.and_then(|created| json_date(&text(created)).or_else(|| time(created))),
        ..Event::default()
    })
}

/// Whether these are the names of what `Get-WinEvent` gives.
pub(super) fn is_get_winevent(has: impl Fn(&str) -> bool) -> bool {
    ["Id", "ProviderName", "LogName", "Message"].into_iter().all(has)
}

/// The time of `/Date(1773133200000)/`, milliseconds since 1970.
fn json_date(text: &str) -> Option<i64> {
    let milliseconds: i64 = text.strip_prefix("/Date(")?.strip_suffix(")/")?.parse().ok()?;
    jiff::Timestamp::from_millisecond(milliseconds).ok().map(crate::event::to_ticks)
}

/// The event of a text as Splunk's `WinEventLog` input writes it: a time, lines `Name=value`, the last of them the message.
/// `beside` is when it was by what stands beside it, as its own time has no zone. `None` of another text.
pub(super) fn splunk(raw: &str, beside: Option<i64>) -> Option<Event<'static>> {
    let (head, message) = raw.split_once("\nMessage=").unwrap_or((raw, ""));
    let mut lines = head.lines();
    let first = lines.next()?.trim();
    let mut event = Event { created_ticks: beside.or_else(|| us_time(first)), ..Event::default() };
    for (name, value) in lines.filter_map(|line| line.trim_end().split_once('=')) {
        match name {
            "LogName" => event.channel = value.to_owned().into(),
            "SourceName" => event.provider = provider_of(value).to_owned().into(),
            "EventCode" => event.event_id = value.parse().ok()?,
            "ComputerName" => event.computer = value.to_owned().into(),
            "Sid" => event.user_sid = value.to_owned().into(),
            "RecordNumber" => event.record_id = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    event.data = data(&event.provider, event.event_id, message);
    (event.event_id > 0 && !event.channel.is_empty()).then_some(event)
}

/// Whether a file begins with such a text.
pub(super) fn recognizes(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(1024)]);
    let mut lines = text.lines();
    lines.next().is_some_and(|line| us_time(line.trim()).is_some()) && lines.next().is_some_and(|line| line.starts_with(FIRST))
}

/// What stands below the time of an event.
const FIRST: &str = "LogName=";

/// Texts one behind the other.
pub(super) fn read(path: &Path, mut input: Box<dyn BufRead + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    let unreadable = |error: std::io::Error| Problem::file(path, error.to_string());
    let (mut text, mut last) = (String::new(), String::new());
    let mut line = Vec::new();
    // Where the text begins, of lines.
    let mut begin = 1;
    for number in 1u64.. {
        line.clear();
        let ended = take_line(&mut input, &mut line).map_err(unreadable)? == 0;
        let next = String::from_utf8_lossy(&line);
        // A time is of the next event when that begins below it.
        let begins = next.starts_with(FIRST) && us_time(last.trim()).is_some();
        if begins || ended || text.len() > LINE_LIMIT_BYTES {
            if ended {
                text.push_str(&last);
            }
            if !text.trim().is_empty() && !deliver(path, begin, &text, sink) {
                return Ok(());
            }
            if ended {
                return Ok(());
            }
            begin = number - u64::from(begins);
            text.clear();
        }
        text.push_str(&last);
        last = next.into_owned();
    }
    Ok(())
}

/// `false` when the sink wants no more.
fn deliver(path: &Path, line: u64, text: &str, sink: &mut dyn Sink) -> bool {
    match splunk(text, None) {
        Some(event) => sink.record(Record::Event(event)),
        None => {
            sink.problem(Problem::at(path, format!("line {line}"), "no event as Splunk's WinEventLog input writes one"));
            true
        }
    }
}

/// Whether a text is one that [`splunk`] reads.
pub(super) fn is_splunk(raw: &str) -> bool {
    raw.contains("\nLogName=") && raw.contains("\nEventCode=")
}

/// Splunk shows some providers as the event viewer does.
fn provider_of(shown: &str) -> &str {
    match shown {
        "Microsoft Windows security auditing." => "Microsoft-Windows-Security-Auditing",
        "Microsoft-Windows-Service Control Manager" => "Service Control Manager",
        other => other,
    }
}

fn us_time(text: &str) -> Option<i64> {
    let time = ["%m/%d/%Y %I:%M:%S%.f %p", "%m/%d/%Y %H:%M:%S%.f"].into_iter().find_map(|form| jiff::civil::DateTime::strptime(form, text).ok());
    time.and_then(|time| jiff::tz::TimeZone::UTC.to_timestamp(time).ok()).map(crate::event::to_ticks).or_else(|| parse_time(text))
}

/// The fields that the text shows; none of events whose text is not known.
fn data(provider: &str, event_id: u32, message: &str) -> Fields {
    if provider == SYSMON {
        return lines_of_sysmon(message);
    }
    if event_id == 4104 {
        return script_block(message).unwrap_or_default();
    }
    let known = LABELS.iter().find(|(ids, _)| ids.contains(&event_id)).map_or(&[][..], |(_, labels)| labels);
    let mut section = "";
    let mut fields = Fields::new();
    for line in message.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let Some((label, value)) = line.split_once(':') else { continue };
        let (is_indented, label, value) = (line.starts_with(['\t', ' ']), label.trim(), value.trim());
        if value.is_empty() && !is_indented {
            section = label;
            continue;
        }
        let here = if is_indented { section } else { "" };
        let Some((_, _, field)) = known.iter().chain(&SUBJECT).find(|(heading, known, _)| *heading == here && *known == label) else { continue };
        let value = WORDS.iter().find(|(of, word, _)| of == field && *word == value).map_or(value, |(_, _, number)| number);
        put(&mut fields, field, value);
    }
    fields
}

/// The first of a name stays: what a program writes into a field must not stand for another behind it.
fn put(fields: &mut Fields, name: &str, value: &str) {
    if !fields.iter().any(|(known, _)| known == name) {
        fields.push((name.to_owned().into(), value.to_owned().into()));
    }
}

/// `Name: value`, a field a line, below a line that says what it is; what has no name goes on with the value before.
fn lines_of_sysmon(message: &str) -> Fields {
    let mut fields = Fields::new();
    for line in message.lines().skip(1).map(str::trim_end) {
        let named = line.split_once(':').filter(|(name, value)| {
            name.starts_with(|first: char| first.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric()) && (value.is_empty() || value.starts_with(' '))
        });
        match (named, fields.last_mut()) {
            (Some((name, value)), _) => put(&mut fields, name, value.trim()),
            (None, Some((_, value))) if !line.is_empty() => {
                let value = value.to_mut();
                value.push('\n');
                value.push_str(line);
            }
            _ => {}
        }
    }
    fields
}

/// `Creating Scriptblock text (1 of 2):`, the text, then `ScriptBlock ID` and `Path`.
fn script_block(message: &str) -> Option<Fields> {
    let (head, rest) = message.split_once('\n')?;
    let (number, total) = head.split_once('(')?.1.split_once(')')?.0.split_once(" of ")?;
    let (script, tail) = rest.rsplit_once("ScriptBlock ID:").unwrap_or((rest, ""));
    let (id, path) = tail.split_once("Path:").unwrap_or((tail, ""));
    let fields = [("MessageNumber", number), ("MessageTotal", total), ("ScriptBlockText", script), ("ScriptBlockId", id), ("Path", path)];
    Some(fields.into_iter().map(|(name, value)| (name.into(), value.trim().to_owned().into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &Event) -> Vec<String> {
        event.data.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn what_get_winevent_gives_is_an_event() {
        let json = r#"{"Id":1,"Version":5,"RecordId":16,"ProviderName":"Microsoft-Windows-Sysmon","LogName":"Microsoft-Windows-Sysmon/Operational","MachineName":"h","UserId":{"BinaryLength":12,"Value":"S-1-5-18"},"TimeCreated":"\/Date(1773133200123)\/","Properties":[{"Value":"-"}],"Message":"Process Create:\r\nRuleName: -\r\nUtcTime: 2026-03-10 09:00:00.123\r\nProcessId: 44\r\nImage: C:\\a b\\curl.exe\r\nCommandLine: curl a\nImage: C:\\x.exe\nb\r\nUser: D\\u"}"#;
        let Ok(Value::Object(map)) = serde_json::from_str(json) else { panic!("an object") };
        let event = get_winevent(&map).expect("an event");
        assert_eq!((event.event_id, event.record_id, &*event.computer, &*event.user_sid), (1, 16, "h", "S-1-5-18"));
        assert_eq!(event.created_ticks, parse_time("2026-03-10T09:00:00.123Z"));
        let expected = ["RuleName=-", "UtcTime=2026-03-10 09:00:00.123", "ProcessId=44", r"Image=C:\a b\curl.exe", "CommandLine=curl a\nb", r"User=D\u"];
        assert_eq!(told(&event), expected);
        assert!(get_winevent(&Map::new()).is_none());
    }

    #[test]
    fn the_text_of_a_security_event_has_its_fields_by_heading_and_label() {
        let raw = "03/10/2026 09:00:00 AM\nLogName=Security\nEventCode=4688\nEventType=0\nComputerName=h.corp\nSourceName=Microsoft Windows security auditing.\nType=Information\nRecordNumber=7\nMessage=A new process has been created.\n\nCreator Subject:\n\tSecurity ID:\t\tS-1-5-18\n\tAccount Name:\t\tHOST$\n\tLogon ID:\t\t0x3E7\n\nTarget Subject:\n\tAccount Name:\t\t-\n\nProcess Information:\n\tNew Process ID:\t\t0x1a4\n\tNew Process Name:\tC:\\Windows\\curl.exe\n\tCreator Process Name:\tC:\\Windows\\cmd.exe\n\tProcess Command Line:\tcurl https://x:1\n\nToken Elevation Type indicates the type: see above\n";
        assert!(is_splunk(raw));
        let event = splunk(raw, None).expect("an event");
        assert_eq!((event.event_id, event.record_id, &*event.provider, &*event.channel), (4688, 7, "Microsoft-Windows-Security-Auditing", "Security"));
        assert_eq!(event.created_ticks, parse_time("2026-03-10T09:00:00Z"));
        let expected = [
            "SubjectUserSid=S-1-5-18",
            "SubjectUserName=HOST$",
            "SubjectLogonId=0x3E7",
            "TargetUserName=-",
            "NewProcessId=0x1a4",
            r"NewProcessName=C:\Windows\curl.exe",
            r"ParentProcessName=C:\Windows\cmd.exe",
            "CommandLine=curl https://x:1",
        ];
        assert_eq!(told(&event), expected);
        assert!(splunk("LogName=Security", None).is_none());
    }

    #[test]
    fn other_texts() {
        let wall =
            data("Microsoft-Windows-Security-Auditing", 5156, "Allowed.\n\nNetwork Information:\n\tDirection:\t\tOutbound\n\tSource Address:\t\t::1\n\tDestination Port:\t443\n");
        let told = |fields: &Fields| fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(told(&wall), ["Direction=%%14593", "SourceAddress=::1", "DestPort=443"]);
        let script = data("Microsoft-Windows-PowerShell", 4104, "Creating Scriptblock text (1 of 2):\niwr https://x\nPath: y\n\nScriptBlock ID: 12-ab\nPath: C:\\a.ps1");
        assert_eq!(told(&script), ["MessageNumber=1", "MessageTotal=2", "ScriptBlockText=iwr https://x\nPath: y", "ScriptBlockId=12-ab", r"Path=C:\a.ps1"]);
        assert!(data("Microsoft-Windows-Security-Auditing", 4625, "").is_empty());
    }
}
