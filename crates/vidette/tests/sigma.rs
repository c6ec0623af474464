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
