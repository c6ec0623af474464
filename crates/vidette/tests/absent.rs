//! Rules that name what this workspace does not have: they run, and give nothing.

mod common;

use common::{batch, text, vidette};

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
fn open_tables_have_the_columns_that_are_asked_of_them() {
    for (query, columns) in [
        ("_GetWatchlist('Servers') | where Owner == 'x'", "_DTItemId:string LastUpdatedTimeUTC:datetime SearchKey:string WatchlistItem:dynamic Owner:unknown"),
        ("DeviceEvents | project Id = DeviceId | join kind=leftouter (_GetWatchlist('Servers') | project Id = Device, Owner) on Id", "Id:string Id1:unknown Owner:unknown"),
        ("_GetWatchlist('Servers') | project-rename Who = Owner | where isnotempty(Who) | project Who", "Who:unknown"),
        ("union (_GetWatchlist('Servers') | project Owner), (print Owner = 'a')", "Owner_unknown:unknown Owner_string:string"),
        ("arg('').Resources | where type == 'vm' | project name, place = tostring(location), state = iff(type == 'x', 'y', state)", "name:unknown place:string state:unknown"),
        ("DeviceEvents | project a = AdditionalFields | evaluate bag_unpack(a) | summarize max(Score), n = count() by Host", "Host:unknown max_Score:unknown n:long"),
        ("union isfuzzy=true (Nowhere | where A == 1 | project A), (print B = 1)", "A:unknown B:long"),
        ("DeviceEvents | project DeviceId, Mistyped", "(none)"),
    ] {
        let output = batch(&["--check"], &serde_json::json!({"query": query}).to_string());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an answer");
        let told = |column: &serde_json::Value| format!("{}:{}", column["name"], column["type"]).replace('"', "");
        let found = answer["columns"].as_array().map(|columns| columns.iter().map(told).collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref().unwrap_or("(none)"), columns, "{query}: {answer}");
    }
}

#[test]
fn a_watchlist_has_the_columns_that_all_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("Servers.csv", "Host,Owner\nwks-hr-02.contoso.example,it\nwks-hr-03.contoso.example,hr\n");
    let query = "DeviceNetworkEvents | where DeviceName in ((_GetWatchlist('Servers') | where WatchlistItem.Owner == Owner and Owner == 'it' and isempty(_DTItemId) and isnull(LastUpdatedTimeUTC) | project SearchKey)) | distinct DeviceName";
    write(
        "rule.yaml",
        &format!(
            "id: 5a2b3c4d-0000-4000-8000-000000000009\nkind: Scheduled\nname: Server\nseverity: Low\nqueryFrequency: 14d\nqueryPeriod: 14d\nentityMappings:\n- entityType: Host\n  fieldMappings:\n  - identifier: FullName\n    columnName: DeviceName\nquery: |\n  {query}\n"
        ),
    );
    let output = vidette(&["hunt", "samples/", "--rules", folder.path().to_str().expect("a path"), "--format", "ndjson"]);
    let hosts = text(&output.stdout);
    assert!(hosts.contains("wks-hr-02.contoso.example") && hosts.lines().count() == 1, "{hosts}{}", text(&output.stderr));
}

#[test]
fn a_device_has_the_addresses_that_it_reported_last() {
    for (query, rows) in [
        ("AssignedIPAddresses('wks-hr-02.contoso.example') | project IPAddress, IPType", "{\"IPAddress\":\"10.20.4.52\",\"IPType\":\"Private\"}"),
        ("AssignedIPAddresses('wks-hr-02.contoso.example', datetime(2026-03-10))", ""),
        ("AssignedIPAddresses('nobody')", ""),
    ] {
        let output = vidette(&["query", query, "samples/", "--format", "ndjson"]);
        assert_eq!(text(&output.stdout).trim(), rows, "{query}: {}", text(&output.stderr));
    }
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
