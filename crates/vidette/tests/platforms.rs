//! What the pack is for other places: written from its catalogue, and as good as the pack where it can be run here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The platforms whose files are part of the pack; the others repeat the rules with the functions written out.
const KEPT: [&str; 13] = ["nrt", "sentinel-arm", "sigma", "splunk", "eql", "esql", "yara-l", "aql", "sumo", "logscale", "logql", "navigator", "sysmon"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn vidette(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_vidette")).args(arguments).current_dir(root()).output().expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path()).expect("a text"))).collect()
}

/// The titles of the alerts.
fn titles(logs: &Path, rules: &Path) -> Vec<String> {
    let lines = vidette(&["hunt", &logs.display().to_string(), "--format", "ndjson", "--rules", &rules.display().to_string()]);
    lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["title"].as_str().expect("a title").to_owned()).collect()
}

fn simulated(scenarios: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().display().to_string();
    let mut arguments = vec!["simulate", "--format", "jsonl", "--out", &out];
    scenarios.iter().for_each(|scenario| arguments.extend(["--test", scenario]));
    vidette(&arguments);
    folder
}

#[test]
fn files_for_other_platforms_are_those_of_the_catalogue() {
    let bless = std::env::var_os("VIDETTE_BLESS").is_some();
    for platform in KEPT {
        let kept = root().join("packs/T1102.002/platforms").join(platform);
        let made = tempfile::tempdir().expect("a folder");
        vidette(&["convert", "--to", platform, "--output", &made.path().display().to_string()]);
        let made = files(made.path());
        if bless {
            std::fs::remove_dir_all(&kept).ok();
            std::fs::create_dir_all(&kept).expect("a folder");
            made.iter().for_each(|(name, text)| std::fs::write(kept.join(name), text).expect("a file is written"));
        }
        let known = files(&kept);
        assert_eq!(made.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>(), "{platform}");
        for (name, text) in &made {
            assert!(known[name] == *text, "platforms/{platform}/{name} is not what the pack says now: VIDETTE_BLESS=1 cargo test -p vidette --test platforms");
        }
    }
}

#[test]
fn near_real_time_and_sigma_rules_find_the_four_tests_and_leave_their_near_misses() {
    for platform in ["nrt", "sigma"] {
        let rules = root().join("packs/T1102.002/platforms").join(platform);
        for test in ["test-1", "test-2", "test-3", "test-4"] {
            assert!(!titles(simulated(&[test]).path(), &rules).is_empty(), "{platform} is quiet about {test}");
            assert_eq!(titles(simulated(&[&format!("near-{test}")]).path(), &rules), Vec::<String>::new(), "{platform}");
        }
    }
}

#[test]
fn what_is_exported_to_microsoft_comes_back_as_the_same_rules() {
    let own = vidette(&["hunt", "samples", "--related"]);
    for platform in ["sentinel", "sentinel-arm"] {
        let made = tempfile::tempdir().expect("a folder");
        let place = made.path().display().to_string();
        vidette(&["convert", "--to", platform, "--output", &place]);
        assert_eq!(vidette(&["hunt", "samples", "--rules", &place]), own, "{platform}");
    }
    // A custom detection has no title from its rows.
    let made = tempfile::tempdir().expect("a folder");
    vidette(&["convert", "--to", "defender", "--output", &made.path().display().to_string()]);
    let alerts = |lines: &str| -> Vec<(serde_json::Value, serde_json::Value)> {
        let alerts = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        alerts.filter(|alert| alert["ruleName"] == "Bidirectional communication over web services").map(|alert| (alert["time"].clone(), alert["rows"].clone())).collect()
    };
    let hunted = vidette(&["hunt", "samples", "--rules", &made.path().join("Hardened.json").display().to_string()]);
    assert_eq!((alerts(&hunted), alerts(&hunted).len()), (alerts(&own), 6));
}

#[test]
fn a_rule_that_stands_alone_gives_the_same_rows() {
    let made = tempfile::tempdir().expect("a folder");
    vidette(&["convert", "packs/T1102.002", "--to", "kql", "--output", &made.path().display().to_string()]);
    let query = std::fs::read_to_string(made.path().join("Hardened.kql")).expect("the rule");
    assert!(!query.contains("_GetWatchlist") && query.contains("datatable(Host:string"), "{query}");
    // Files of functions and of watchlists are not there: the query has all it needs.
    let keys = |rows: String| -> Vec<(String, i64, i64)> {
        let key =
            |row: serde_json::Value| (row["FileName"].as_str().expect("a name").to_owned(), row["ProcessId"].as_i64().expect("a process"), row["Score"].as_i64().expect("a score"));
        let mut keys: Vec<_> = rows.lines().map(|line| key(serde_json::from_str(line).expect("JSON"))).collect();
        keys.sort();
        keys
    };
    let alone = keys(vidette(&["query", "--file", &made.path().join("Hardened.kql").display().to_string(), "samples", "--format", "ndjson"]));
    let own = "WebServiceScores(ago(1d), now()) | where Score >= 45 | summarize Score = max(Score) by DeviceId, FileName, ProcessId, Category";
    assert_eq!(alone, keys(vidette(&["query", own, "samples", "--format", "ndjson"])));
    assert_eq!(alone.len(), 6);
}
