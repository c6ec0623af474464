//! Files of no known table: any CSV and any JSON is one of its name.

mod common;

use common::{text, vidette};
use std::path::Path;

#[test]
fn any_csv_and_any_json_is_a_table_of_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("users.csv", "name,id,zip,score,active,joined,tags,Type,Type,\nalice,1,01234,1.5,true,2026-01-02T03:04:05Z,\"[\"\"a\"\"]\",admin,x,y\nbob,2,99999,2,FALSE,,,user,,\n");
    write(
        "app-log.jsonl",
        "{\"user\":\"alice\",\"n\":1,\"when\":\"2026-01-02T03:04:05Z\",\"deep\":{\"a\":[1,2]},\"mixed\":1}\n{\"user\":\"bob\",\"n\":2.5,\"mixed\":\"x\",\"deep\":\"7\"}\n",
    );
    write("list.json", "[{\"user\":\"bob\"}]");
    std::fs::create_dir(folder.path().join("more")).expect("a folder");
    write("more/list.json", "{\"records\":[{\"user\":\"carol\",\"n\":3}]}");
    let folder = folder.path().to_str().expect("a path");
    let cases = [
        (
            "users | getschema | project x = strcat(ColumnName, ':', ColumnType) | summarize s = strcat_array(make_list(x), ' ')",
            r#"{"s":"name:string id:long zip:string score:real active:bool joined:datetime tags:dynamic Type:string Type1:string Column10:string"}"#,
        ),
        (
            "users | where active | project name, id, zip, score, joined, tag = tags[0], Type1",
            r#"{"name":"alice","id":1,"zip":"01234","score":1.5,"joined":"2026-01-02T03:04:05.0000000Z","tag":"a","Type1":"x"}"#,
        ),
        ("['app-log'] | where n > 1.5 | project user, mixed, type = gettype(deep), isnull(when)", r#"{"user":"bob","mixed":"x","type":"string","Column1":true}"#),
        ("['app-log'] | join kind=inner users on $left.user == $right.name | where id == 1 | project user, second = deep.a[1]", r#"{"user":"alice","second":2}"#),
        ("list | summarize count(), sum(n)", r#"{"count_":2,"sum_n":3}"#),
    ];
    for (query, row) in cases {
        let output = vidette(&["query", query, folder, "--format", "ndjson"]);
        assert_eq!(text(&output.stdout).trim(), row, "{query}: {}", text(&output.stderr));
    }
    let output = vidette(&["query", "DeviceEvents | count", folder]);
    assert!(text(&output.stderr).contains("a query may read it as `['app-log']`"), "{}", text(&output.stderr));
    std::fs::write(Path::new(folder).join("export.jsonl"), r#"{"Timestamp":"2026-01-02T03:04:05Z","DeviceName":"h","Type":"DeviceEvents"}"#).expect("a file");
    let output = vidette(&["query", "export | count", folder]);
    assert!(text(&output.stderr).contains("export.jsonl holds is read as rows of known tables"), "{}", text(&output.stderr));
    let output = vidette(&["query", "users | where nam == 1", folder]);
    assert!(text(&output.stderr).contains("a column with a similar name exists: `name`"), "{}", text(&output.stderr));
}

#[test]
fn a_record_of_any_table_keeps_its_lists_and_says_what_it_loses() {
    let folder = tempfile::tempdir().expect("a folder");
    let many: Vec<String> = (0..1_100).map(|number| format!("\"c{number}\":{number}")).collect();
    std::fs::write(folder.path().join("jobs.jsonl"), format!("{{\"tables\":[],\"id\":1}}\n{{\"tables\":[7],\"id\":2}}\n{{{}}}\n", many.join(","))).expect("a file");
    let output = vidette(&["query", "jobs | summarize count(), max(array_length(tables)), max(c1000)", folder.path().to_str().expect("a path"), "--format", "ndjson"]);
    assert_eq!(text(&output.stdout).trim(), r#"{"count_":3,"max_":1,"max_c1000":1000}"#, "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("line 3: it has columns beyond the first 1,024"), "{}", text(&output.stderr));
}

#[test]
fn a_custom_table_has_what_its_files_have_beside_its_known_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    let row = r#"{"TimeGenerated [UTC]":"3/10/2026, 9:00:00.500 AM","event_type_s":"login","risk_d":"7.5","seen_t [UTC]":"2026-03-10T09:00:00Z","extra":{"a":[1]},"count":3,"user id":"17","MG":""}"#;
    write("OneLogin_CL.json", &format!("[{row},{row}]"));
    std::fs::create_dir(folder.path().join("more")).expect("a folder");
    write("more/OneLogin_CL.csv", "TimeGenerated,event_type_s,late_b,Type\n2026-03-11T09:00:00Z,logout,true,OneLogin_CL\n");
    write("export.json", r#"[{"TimeGenerated":"2026-03-12T09:00:00Z","Type":"OneLogin_CL","event_type_s":"other","risk_d":1,"unheard":1}]"#);
    write("ADOAuditLogs_CL.json", r#"[{"TimeGenerated":"2026-03-10T09:00:00Z","ActionId":"Git.Push","Branch":{"name":"main"}}]"#);
    write("Rule.yaml", "id: 5a2b3c4d-0000-4000-8000-000000000003\nname: Risky\nqueryFrequency: 1d\nqueryPeriod: 1d\nquery: OneLogin_CL | where risk_d > 5 and seen_t < now()\n");
    let place = folder.path().to_str().expect("a path");
    let store = tempfile::tempdir().expect("a folder");
    let store = store.path().to_str().expect("a path");
    let ingested = vidette(&["ingest", place, "--to", store]);
    assert!(text(&ingested.stderr).contains("left out: columns that OneLogin_CL has not: unheard\n"), "{}", text(&ingested.stderr));
    for (query, row) in [
        (
            "OneLogin_CL | summarize count(), sum(risk_d), max(seen_t), max(count_d), countif(late_b)",
            r#"{"count_":4,"sum_risk_d":16.0,"max_seen_t":"2026-03-10T09:00:00.0000000Z","max_count_d":3.0,"countif_late_b":1}"#,
        ),
        (
            "OneLogin_CL | where parse_json(extra_s).a[0] == 1 | summarize by event_type_s, TimeGenerated, user_id_d",
            r#"{"event_type_s":"login","TimeGenerated":"2026-03-10T09:00:00.5000000Z","user_id_d":17.0}"#,
        ),
        ("ADOAuditLogs_CL | summarize max(tostring(Branch.name)) by ActionId", r#"{"ActionId":"Git.Push","max_Branch_name":"main"}"#),
    ] {
        let output = vidette(&["query", query, store, "--format", "ndjson"]);
        assert_eq!(text(&output.stdout).trim(), row, "of what was ingested: {}", text(&output.stderr));
        let output = vidette(&["query", query, place, "--format", "ndjson"]);
        assert_eq!(text(&output.stdout).trim(), row, "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("left out: columns that OneLogin_CL has not: unheard\n"), query.starts_with("OneLogin"), "{}", text(&output.stderr));
    }
    let output = vidette(&["query", "OneLogin_CL | where risk_d > 1"]);
    assert_eq!(output.status.code(), Some(2), "without files the table has its known columns alone");
    let output = vidette(&["hunt", "--rules", folder.path().join("Rule.yaml").to_str().expect("a path"), place]);
    assert!(text(&output.stderr).contains("1 alert (Risky: 1)"), "{}", text(&output.stderr));
}

/// Defender's tables have more columns from month to month.
#[test]
fn a_table_has_the_columns_that_its_files_have_beside_the_documented_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("DeviceProcessEvents.csv", "Timestamp,DeviceName,ActionType,FileName,NewColumn,More\n2026-03-11T09:00:00Z,h1,ProcessCreated,cmd.exe,12,\"{\"\"a\"\":1}\"\n");
    write("DeviceNetworkEvents.json", r#"[{"Timestamp":"2026-03-11T09:00:00Z","DeviceName":"h1","ActionType":"ConnectionSuccess","RemoteUrl":"x","Brand":{"new":[7]}}]"#);
    // Another table's name, and nothing of it.
    write("Update.csv", "Who,What\nme,that\n");
    let place = folder.path().to_str().expect("a path");
    let store = tempfile::tempdir().expect("a folder");
    let store = store.path().to_str().expect("a path");
    vidette(&["ingest", place, "--to", store]);
    for (query, row) in [
        ("DeviceProcessEvents | project FileName, NewColumn, a = More.a", r#"{"FileName":"cmd.exe","NewColumn":12,"a":1}"#),
        ("DeviceNetworkEvents | project RemoteUrl, new = Brand.new[0]", r#"{"RemoteUrl":"x","new":7}"#),
    ] {
        for of in [place, store] {
            let output = vidette(&["query", query, of, "--format", "ndjson"]);
            assert_eq!(text(&output.stdout).trim(), row, "{}", text(&output.stderr));
        }
    }
    let output = vidette(&["query", "Update | project Who", place]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
}
