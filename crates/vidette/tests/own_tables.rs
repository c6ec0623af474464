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
