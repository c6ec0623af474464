//! Rules that name what this workspace does not have: they run, and give nothing.

mod common;

use common::{text, vidette};

#[test]
fn what_nobody_gave_is_empty_whatever_is_asked_of_it() {
    for (query, row) in [
        ("_GetWatchlist('Servers') | where Owner == 'x' | project Owner", ""),
        ("print Host = 'a' | where Host !in ((_GetWatchlist('Servers') | project ['Host Name'])) | project Host", r#"{"Host":"a"}"#),
        ("print Host = 'a' | join kind=leftanti (_GetWatchlist('Servers')) on $left.Host == $right.['Host Name'] | project Host", r#"{"Host":"a"}"#),
        ("Event | summarize count() by MG", ""),
        ("print x = 1 | extend n = toscalar(Event | where MG == '' | count)", r#"{"x":1,"n":0}"#),
        ("DeviceEvents | evaluate bag_unpack(AdditionalFields) | where ScriptBlockText has 'x' | project ScriptBlockText", ""),
    ] {
        let output = vidette(&["query", query, "--format", "ndjson"]);
        assert_eq!((text(&output.stdout).trim(), output.status.code()), (row, Some(0)), "{query}: {}", text(&output.stderr));
    }
    let output = vidette(&["query", "_GetWatchlist('Servers') | count"]);
    assert!(text(&output.stderr).contains("no watchlist `Servers`: it is empty"), "{}", text(&output.stderr));
    let output = vidette(&["query", "Event | getschema | where ColumnName == 'mg' | count", "--format", "ndjson"]);
    assert_eq!(text(&output.stdout).trim(), r#"{"Count":0}"#, "a column that no reference lists is there only for queries that name it");
}

#[test]
fn a_row_without_a_time_is_seen_by_the_last_window_of_a_replayed_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let hours: Vec<String> = (0..60).map(|hour| format!("{{\"Timestamp\":\"2026-03-{:02}T{:02}:00:00Z\",\"DeviceName\":\"dated\"}}\n", 1 + hour / 24, hour % 24)).collect();
    let rows = file("DeviceEvents.jsonl", &format!("{}{{\"DeviceName\":\"undated\"}}\n", hours.concat()));
    let rule = file("Rule.yaml", "id: 5a2b3c4d-0000-4000-8000-000000000002\nname: Any\nqueryFrequency: 1h\nqueryPeriod: 1h\nquery: DeviceEvents | project DeviceName\n");
    for (time, dated) in [(vec![], 60), (vec!["--to", "2026-03-01T05:30:00Z"], 6), (vec!["--now", "2026-03-02T00:10:00Z"], 1)] {
        let output = vidette(&[&["hunt", "--rules", &rule, &rows, "--format", "json"][..], &time[..]].concat());
        let found = text(&output.stdout).matches("\"DeviceName\":\"dated\"").count();
        assert_eq!((found, text(&output.stdout).matches("\"DeviceName\":\"undated\"").count()), (dated, 1), "{time:?}: {}", text(&output.stderr));
    }
}
