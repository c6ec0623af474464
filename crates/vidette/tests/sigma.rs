//! Sigma rules, correlations and filters as a user runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The titles of the alerts that the rules give over the samples, or what the command said.
fn hunt(rules: &str, logs: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("rules.yml"), rules).expect("a file is written");
    let output =
        Command::new(env!("CARGO_BIN_EXE_vidette")).args(["hunt", logs, "--format", "ndjson", "--rules"]).arg(folder.path()).current_dir(root()).output().expect("the binary runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["title"].as_str().expect("a title").to_owned()).collect())
}

const POWERSHELL: &str = r"
title: PowerShell to a paste site
id: 11111111-1111-1111-1111-111111111111
name: paste
status: test
logsource: {product: windows, category: process_creation}
detection:
  selection_image:
    - Image|endswith: '\powershell.exe'
    - OriginalFileName: PowerShell.EXE
  selection_host:
    CommandLine|contains: ['pastebin.com', 'paste.ee']
  filter_main_file:
    CommandLine|contains|windash: ' -File '
  condition: all of selection_* and not 1 of filter_main_*
level: high
tags: [attack.command-and-control, attack.t1102.002]
";

#[test]
fn a_rule_fires_on_events_of_any_shape_and_on_rows_of_defender() {
    assert_eq!(hunt(POWERSHELL, "samples/").as_deref(), Ok(&["PowerShell to a paste site on WKS-HR-02.contoso.example".to_owned()][..]));
    // The Defender export has no Windows events: its rows answer.
    let python = POWERSHELL.replace(r"\powershell.exe", r"\python3.11.exe").replace("pastebin.com", "googleapis.com");
    assert_eq!(hunt(&python, "samples/").as_deref(), Ok(&["PowerShell to a paste site on dev-lt-19.contoso.example".to_owned()][..]));
}

#[test]
fn a_rule_over_several_tables_counts_once() {
    let rules = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(rules.path().join("paste.yml"), POWERSHELL).expect("a file is written");
    let output = Command::new(env!("CARGO_BIN_EXE_vidette")).args(["hunt", "samples/", "--rules"]).arg(rules.path()).current_dir(root()).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1 alert (1 Sigma rule, 1 of them evaluated: 1)"), "{said}");
}

#[test]
fn a_rule_sees_the_events_of_rows_that_log_analytics_exported() {
    let command = r#""Image":"C:\\w\\powershell.exe","CommandLine":"powershell irm https://pastebin.com/raw/x""#;
    let fields = r#"<EventData><Data Name=\"Image\">C:\\w\\powershell.exe</Data><Data Name=\"CommandLine\">powershell irm https://pastebin.com/raw/x</Data></EventData>"#;
    let of_sysmon = r#""TimeGenerated":"2026-03-10T09:00:00Z","Computer":"H","EventID":1"#;
    for (table, rest) in [
        ("Event", format!(r#""Source":"Microsoft-Windows-Sysmon","EventLog":"Microsoft-Windows-Sysmon/Operational","EventData":"{fields}""#)),
        ("WindowsEvent", format!(r#""Provider":"Microsoft-Windows-Sysmon","Channel":"Microsoft-Windows-Sysmon/Operational","EventData":{{{command}}}"#)),
    ] {
        let logs = tempfile::tempdir().expect("a folder for the test");
        std::fs::write(logs.path().join("export.jsonl"), format!(r#"{{{of_sysmon},{rest},"Type":"{table}"}}"#)).expect("a file is written");
        assert_eq!(hunt(POWERSHELL, &logs.path().display().to_string()).as_deref(), Ok(&["PowerShell to a paste site on H".to_owned()][..]), "{table}");
    }
}

#[test]
fn a_filter_silences_a_rule_and_a_correlation_counts_it() {
    let filter = "---\ntitle: Not here\nlogsource: {product: windows, category: process_creation}\nfilter:\n  rules: [paste]\n  selection:\n    User|endswith: 's.ito'\n  condition: not selection\n";
    assert_eq!(hunt(&format!("{POWERSHELL}{filter}"), "samples/").as_deref(), Ok(&[][..]));
    let correlation = |least: u32| {
        format!(
            "title: A connection\nname: connection\nlogsource: {{product: windows, category: network_connection}}\ndetection:\n  s:\n    Image|endswith: '\\powershell.exe'\n  condition: s\n---\ntitle: Several connections\ncorrelation:\n  type: event_count\n  rules: [connection]\n  group-by: [Computer]\n  timespan: 1h\n  condition: {{gte: {least}}}\n"
        )
    };
    let mut titles = hunt(&correlation(2), "samples/").expect("it runs");
    titles.retain(|title| title == "Several connections");
    // Two machines with two connections each.
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert!(!hunt(&correlation(3), "samples/").expect("it runs").contains(&"Several connections".to_owned()));
}

#[test]
fn what_is_wrong_with_a_rule_is_said_with_its_file() {
    let wrong = hunt("title: T\nlogsource: {product: windows, category: process_creation}\ndetection:\n  s: {Image|endswith: x}\n  condition: s and t\n", "samples/").unwrap_err();
    assert!(wrong.contains("rules.yml: T: no detection `t`"), "{wrong}");
    let wrong = hunt("title: T\nlogsource: {product: windows, category: process_creation}\ndetection:\n  s: {Image|expand: '%x%'}\n  condition: s\n", "samples/").unwrap_err();
    assert!(wrong.contains("a placeholder, which only the rule's own environment knows"), "{wrong}");
}

/// What a gate says without the query is what the query says.
#[test]
fn gates_and_queries_agree() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let event = |record: u32, data: serde_json::Value| {
        serde_json::json!({"Event": {"System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventID": 1, "TimeCreated": {"#attributes": {"SystemTime": format!("2026-01-01T00:00:{record:02}Z")}},
            "EventRecordID": record, "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "pc1"}, "EventData": data}})
        .to_string()
    };
    let commands = [
        "cmd.exe /c WHOAMI /all",
        "powershell -enc aaaa",
        "powershell –enc aaaa",
        "",
        r"c:\temp\a.exe",
        "Привет мир",
        "ПРИВЕТ",
        "curl http://h/x",
        "a\"b\\c",
        "net use \\\\h\\s",
        "\u{212a}ernel",
        "kernel",
        "line\nbreak",
        "Σίσυφος ⓜ",
        "\u{130}stanbul ta\u{17f}k",
        "İ😀 Ångström",
    ];
    let images = [r"C:\Windows\System32\cmd.exe", r"C:\Windows\System32\POWERSHELL.EXE", "", r"C:\Users\x\A.exe"];
    let mut lines = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        for (of, image) in images.iter().enumerate() {
            let record = (at * images.len() + of) as u32;
            let mut data = serde_json::json!({"Image": image, "CommandLine": command, "ProcessId": record.to_string(), "User": r"CONTOSO\ann"});
            data["Address"] = ["10.1.2.3", "fe80::1", "::1", "192.0.2.1", "", "10.1.2.3/24", "::ffff:10.1.2.3"][record as usize % 7].into();
            if of == 2 {
                data.as_object_mut().expect("an object").remove("Image");
            }
            lines.push(event(record, data));
        }
    }
    let logs = folder.path().join("events.jsonl");
    std::fs::write(&logs, lines.join("\n")).expect("a file is written");
    let detections = [
        "s: {CommandLine|contains: whoami}\n  condition: s",
        "s: {CommandLine|contains|cased: WHOAMI}\n  condition: s",
        "s: {CommandLine|contains|cased: whoami}\n  condition: s",
        "s: {Image|endswith: ['\\cmd.exe', '\\powershell.exe']}\n  f: {CommandLine|contains: whoami}\n  condition: s and not f",
        "s: {CommandLine: null}\n  condition: s",
        "s: {Image|exists: true}\n  condition: s",
        "s: {Image|exists: false}\n  condition: not s",
        "s: {CommandLine: ''}\n  condition: not s",
        "s: {CommandLine|re: '^c.*e'}\n  condition: s",
        "s: {CommandLine|re|i: '^CURL'}\n  condition: s",
        "s: {CommandLine|windash|contains: ' -enc '}\n  condition: s",
        "s: {CommandLine|contains: привет}\n  condition: s",
        "s: {CommandLine|contains: kernel}\n  condition: s",
        "s: {CommandLine: привет}\n  condition: s",
        "s: {CommandLine|contains: ['Ⓜ', '😀']}\n  condition: s",
        "s: {CommandLine|startswith: ΣΊΣΥΦΟΣ}\n  t: {CommandLine|contains: ΑΒΓ}\n  condition: s and not t",
        "s: {CommandLine|endswith: \u{212b}NGSTRÖM}\n  condition: s",
        "s: {CommandLine|contains|cased: Ångström}\n  condition: s",
        "s: {CommandLine|re: '(?i)task$'}\n  condition: s",
        "s: {CommandLine|contains: [istanbul, task]}\n  condition: not s",
        "k: [ПРИВЕТ, ångström]\n  condition: k",
        "s: {CommandLine: 'c*e /c*all'}\n  condition: s",
        "s: {CommandLine: 'kerne?'}\n  condition: s",
        "s: {Image|startswith: 'c:\\windows'}\n  t: {CommandLine|contains: [enc, curl]}\n  u: {User|endswith: ann}\n  condition: 2 of them",
        "k: [whoami, 'net use \\\\\\\\h']\n  condition: k",
        "s: {CommandLine|neq: kernel}\n  condition: s",
        "s: {ProcessId|gte: 10}\n  t: {ProcessId|lt: 20}\n  condition: s and t",
        "s: {NotThere|contains: x}\n  condition: not s",
        "s: {CommandLine|contains: '\"b\\c'}\n  condition: s",
        "s: {CommandLine|fieldref: Image}\n  condition: not s",
        "s: {Address|cidr: 10.0.0.0/8}\n  condition: s",
        "s: {Address|cidr: ['10.0.0.0/8', 'fe80::/10', '::1/128']}\n  condition: not s",
        "s: {CommandLine|cidr: 10.0.0.0/8}\n  condition: not s",
        "s: {CommandLine|gt: 10}\n  condition: not s",
    ];
    for (at, detection) in detections.iter().enumerate() {
        let rules = folder.path().join(format!("{at}.yml"));
        std::fs::write(&rules, format!("title: T\nlogsource: {{product: windows, category: process_creation}}\ndetection:\n  {detection}\n")).expect("a file is written");
        let run = |arguments: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_vidette")).args(arguments).current_dir(folder.path()).output().expect("the binary runs");
            assert!(output.status.success(), "{detection}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let (rules, logs) = (rules.display().to_string(), logs.display().to_string());
        let ids = |text: String, row: fn(&serde_json::Value) -> &serde_json::Value| -> Vec<String> {
            let mut ids: Vec<String> = text.lines().map(|line| row(&serde_json::from_str(line).expect("JSON"))["EventRecordId"].to_string()).collect();
            ids.sort();
            ids
        };
        let by_gate = ids(run(&["hunt", &logs, "--rules", &rules, "--format", "ndjson"]), |alert| &alert["rows"][0]);
        let out = folder.path().join(format!("kql{at}"));
        run(&["convert", &rules, "--to", "kql", "--output", &out.display().to_string()]);
        let query = std::fs::read_dir(&out)
            .expect("queries")
            .flatten()
            .map(|entry| entry.path())
            .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("WindowsEvent")))
            .expect("one of events");
        let by_query = ids(run(&["query", "--file", &query.display().to_string(), &logs, "--format", "ndjson"]), |row| row);
        assert_eq!(by_gate, by_query, "{detection}");
    }
}
