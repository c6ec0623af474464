//! The binary as a user runs it: standard output, standard error, exit status.

#[path = "../common/mod.rs"]
mod common;
mod functions;
mod hunt;

use common::{batch, root, text, vidette};
use std::process::{Command, Output};

fn alerts(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("an alert is a JSON line")).collect()
}

#[test]
fn a_hopeless_query_reads_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("half.evtx"), b"ElfFile\0 and no more").expect("a file");
    let paths = folder.path().to_str().expect("a path");
    let read = vidette(&["query", "print 1", paths]);
    assert!(text(&read.stderr).contains("skipped"), "the file is a problem once it is read: {}", text(&read.stderr));
    for query in ["DeviceEvents | wher x", "DeviceEvents | where NoSuchColumn == 1", "NoSuchTable | count"] {
        let output = vidette(&["query", query, paths]);
        assert_eq!(output.status.code(), Some(2), "{query}");
        let errors = text(&output.stderr);
        assert!(errors.starts_with("error[") && !errors.contains("skipped"), "{query}: {errors}");
    }
}

#[test]
fn every_table_is_read_where_none_is_named() {
    // `Operation` and `OperationName` are columns of known tables that have no rows here.
    let queries = [
        ("union * | extend Action = coalesce(Operation, OperationName, ActionType) | where Action == 'DnsQueryResponse' | count", 20),
        ("search 'DnsQueryResponse' | where Operation == '' | where $table startswith 'Device' | count", 20),
        ("search * | where ActionType == 'DnsQueryResponse' | count", 20),
        ("find where ActionType == 'DnsQueryResponse' or Operation == 'x' | count", 20),
    ];
    for (query, rows) in queries {
        let output = vidette(&["query", query, "samples/"]);
        assert_eq!(text(&output.stdout).trim(), format!(r#"{{"Count":{rows}}}"#), "{query}: {}", text(&output.stderr));
    }
    let output = vidette(&["query", "union * | where NoSuchColumn == 1", "samples/"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("unknown name `NoSuchColumn`"));
}

#[test]
fn batch_answers_each_line_over_the_files_it_is_given() {
    let lines = "{\"id\": 1, \"query\": \"DeviceProcessEvents | summarize n = count() | project some = n > 0\"}\n{\"id\": 2, \"query\": \"print todynamic(dynamic({})), nope\"}\n{\"id\": 3, \"query\": \"externaldata(a: long)['https://example.org/a.csv']\"}\n";
    let answers = alerts(&batch(&["samples/"], lines));
    assert_eq!(answers[0], serde_json::json!({"id": 1, "columns": [{"name": "some", "type": "bool"}], "rows": [[true]]}));
    assert_eq!(answers[1], serde_json::json!({"id": 2, "error": "error[KS142]: unknown name `nope`"}));
    let warning = "warning[VD006]: `https://example.org/a.csv` is elsewhere, and no query reaches the network: it is empty";
    assert_eq!(answers[2], serde_json::json!({"id": 3, "columns": [{"name": "a", "type": "long"}], "rows": [], "warnings": [warning]}));
}

#[test]
fn tables_of_other_services_are_files_named_after_them_or_empty() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().to_str().expect("a plain path");
    let query = "arg('').Resources | where type =~ 'microsoft.compute/virtualmachines' | extend size = tostring(properties.hardwareProfile.vmSize) | project name, size";
    let output = vidette(&["query", query, path]);
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), ""), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("warning[VD007]: `Resources` of `arg` is elsewhere, and no query reaches the network: it is empty"), "{}", text(&output.stderr));
    let rows = r#"{"name":"vm1","type":"microsoft.compute/virtualmachines","properties":{"hardwareProfile":{"vmSize":"B2s"}}}"#;
    std::fs::write(folder.path().join("Resources.json"), rows).expect("a file is written");
    let output = vidette(&["query", query, path]);
    assert_eq!((text(&output.stdout).trim(), text(&output.stderr)), (r#"{"name":"vm1","size":"B2s"}"#, String::new()));
}

#[test]
fn exit_status_tells_alerts_wrong_queries_and_unreadable_input_apart() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let broken = folder.path().join("broken.jsonl");
    std::fs::write(&broken, "{\"Event\": oops}\n{\"no\": \"event\"}\n").expect("a file is written");
    assert_eq!(vidette(&["hunt", "samples/", "--fail-on-alert"]).status.code(), Some(1));
    assert_eq!(vidette(&["query", "DeviceEvents | wheree x", "samples/"]).status.code(), Some(2));
    assert_eq!(vidette(&["hunt", "no/such/folder"]).status.code(), Some(3));
    let output = vidette(&["hunt", broken.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("broken.jsonl: line 1: not JSON"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("broken.jsonl: line 2: not a shape Vidette knows"));
}

#[test]
fn files_of_which_the_same_is_said_are_named_once() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for hour in 0..30 {
        std::fs::write(folder.path().join(format!("cut.{hour:02}.parquet")), "PAR1, and no more").expect("a file is written");
    }
    // A log that tells of nothing that is looked for is no loss.
    std::fs::write(folder.path().join("weird.log"), "#separator \\x09\n#path\tweird\n#fields\tts\tname\n1.5\tx\n").expect("a file is written");
    std::fs::write(folder.path().join("z.jsonl"), "{\"Event\": oops}\n").expect("a file is written");
    let output = vidette(&["query", "print 1", folder.path().to_str().expect("a plain path")]);
    let said = text(&output.stderr);
    let skipped: Vec<&str> = said.lines().filter(|line| line.starts_with("skipped: ")).collect();
    assert_eq!(skipped.len(), 2, "{said}");
    assert!(skipped.iter().any(|line| line.contains(".parquet and 29 more files: ")), "{said}");
}

#[test]
fn a_run_goes_on_when_nobody_reads_what_it_says() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let command = ["query", "Nothing | count", "samples/"];
    let status = Command::new(env!("CARGO_BIN_EXE_vidette")).args(command).current_dir(root()).stderr(writer).status().expect("the binary runs");
    assert_eq!(status.code(), Some(2), "as with a reader");
}

#[cfg(unix)]
#[test]
fn a_folder_of_rules_that_links_to_itself_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("Rule.yaml"),
        "id: 3b7c5c0e-6a55-4a55-9b55-0b5f6f1f2a11\nname: Once\nkind: NRT\nseverity: Low\nquery: DeviceProcessEvents | where FileName =~ 'powershell.exe'\n",
    )
    .expect("a file");
    std::os::unix::fs::symlink(".", folder.path().join("again")).expect("a link");
    let output = vidette(&["hunt", "samples/", "--rules", folder.path().to_str().expect("a path")]);
    assert_eq!(text(&output.stderr).matches("Once").count(), 1, "{}", text(&output.stderr));
    let times: Vec<_> = alerts(&output).iter().map(|alert| alert["time"].to_string()).collect();
    assert!(!times.is_empty() && times.windows(2).all(|pair| pair[0] != pair[1]), "{times:?}");
}

#[test]
fn names_of_files_end_in_any_case() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Hunt.KQL"), "DeviceEvents | where NoSuchColumn == 1").expect("a file");
    std::fs::write(folder.path().join("HUNT.MD"), "# Hunt\n```KQL\nDeviceEvents | where NoSuchColumn == 2\n```\n").expect("a file");
    let errors = text(&vidette(&["check", folder.path().to_str().expect("a path")]).stdout);
    assert!(errors.contains("Hunt.KQL:1") && errors.contains("HUNT.MD:3"), "{errors}");
}

#[test]
fn an_unknown_column_is_pointed_at_and_fixed() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("q.kql");
    std::fs::write(&file, "DeviceNetworkEvents\n| project Timestamp, AccountName\n").expect("a file is written");
    let path = file.to_str().expect("a plain path");
    let output = vidette(&["check", path]);
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stdout);
    assert!(shown.contains("error[KS142]: unknown name `AccountName`") && shown.contains("2 | | project Timestamp, AccountName"), "{shown}");
    assert!(shown.contains("= help: a column with a similar name exists: `InitiatingProcessAccountName`"), "{shown}");
    assert_eq!(vidette(&["check", "--fix", path]).status.code(), Some(0));
    assert!(std::fs::read_to_string(&file).expect("the file is there").contains("InitiatingProcessAccountName"));
}

#[test]
fn rules_as_repositories_have_them_run_or_say_where_they_are_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    // Without kind and severity, with an empty list, a byte order mark and a function that is YAML; and one with a mistake.
    write(
        "old.yaml",
        "\u{feff}id: 5a2b3c4d-0000-4000-8000-000000000001\nname: Paste site\nqueryFrequency: 14d\nqueryPeriod: 14d\nentityMappings:\nquery: |\n  Contacts('paste') | where Host !in ((_GetWatchlist('Allowed') | project SearchKey))\n",
    );
    write(
        "contacts.yaml",
        "FunctionName: Contacts\nFunctionParams:\n- Name: what\n  Type: string\n  Default: '*'\nFunctionQuery: |\n  DeviceNetworkEvents\n  | where RemoteUrl contains what // any\n  | extend Host = DeviceName\n",
    );
    write(
        "wrong.yaml",
        "id: 5a2b3c4d-0000-4000-8000-000000000002\nkind: Scheduled\nname: Wrong\nseverity: Low\nqueryFrequency: 1h\nqueryPeriod: 1h\nquery: |\n\n    DeviceEvents\n    | where ActionTyp == 'x'\n",
    );
    write("hunt.yaml", "name: Many\nquery: DeviceNetworkEvents | count\n");
    // Two queries, as the portals tell them apart.
    write(
        "More.kql",
        "// Sentinel\nlet n = 1;\nDeviceProcessEvents\n| where FileName == 'nothing.exe'\n\n//Defender\nlet n = 2;\nDeviceProcessEvents | where FileNam == 'nothing.exe'",
    );
    write("page.md", "# Page\n\nWords.\n\n```KQL\nDeviceEvents\n| where ActionTyp == 'y'\n```\n");
    write("openapi.yaml", "swagger: 2.0\n");
    std::fs::write(folder.path().join("picture.md"), b"\xff\xfe no text").expect("a file");
    let place = folder.path().to_str().expect("a path");
    let output = vidette(&["hunt", "samples/", "--rules", place]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert_eq!(alerts(&output).iter().map(|alert| alert["ruleName"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ["Paste site"]);
    for part in [
        "old.yaml: no `kind`; taken for Scheduled",
        "old.yaml: no `severity`; taken for Medium",
        "openapi.yaml: neither a rule",
        "wrong.yaml:10:13\n   |\n10 |     | where ActionTyp == 'x'\n   |             ^^^^^^^^^",
        "no watchlist `Allowed`: it is empty",
        "4 hunting queries",
        "1 alert (Paste site: 1)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let annotated = text(&vidette(&["check", place, "--format", "github"]).stdout);
    assert!(annotated.contains("wrong.yaml,line=10,col=13,title=KS142::unknown name `ActionTyp`; not a column of DeviceEvents; "), "{annotated}");
    assert!(annotated.contains("page.md,line=7,col=9,title=KS142::"), "{annotated}");
    assert_eq!(vidette(&["check", "--fix", place]).status.code(), Some(0));
    assert!(std::fs::read_to_string(folder.path().join("wrong.yaml")).expect("the file").ends_with("\n    | where ActionType == 'x'\n"));
    assert!(std::fs::read_to_string(folder.path().join("More.kql")).expect("the file").ends_with("let n = 2;\nDeviceProcessEvents | where FileName == 'nothing.exe'"));
    let both = vidette(&["query", "--file", &folder.path().join("More.kql").display().to_string(), "samples/", "--format", "csv"]);
    assert_eq!((both.status.code(), text(&both.stdout).matches("Timestamp,").count()), (Some(0), 2), "{}", text(&both.stderr));
    let output = vidette(&["hunt", "samples/", "--rules", place, "--hunting"]);
    assert!(text(&output.stderr).contains("(Paste site: 1; Many: 1; 4 rules without)"), "{}", text(&output.stderr));
}

#[test]
fn the_pack_binds() {
    let output = vidette(&["check", "packs/"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn query_writes_every_format() {
    let query = "DeviceProcessEvents | summarize n = count() by FileName | top 1 by n";
    let run = |format: &str| text(&vidette(&["query", query, "samples/", "--format", format]).stdout);
    assert_eq!(run("csv"), "FileName,n\npowershell.exe,4\n");
    assert_eq!(run("ndjson"), "{\"FileName\":\"powershell.exe\",\"n\":4}\n");
    assert!(run("json").contains("\"type\":\"long\""));
    assert!(run("table").ends_with("1 row\n"));
}

#[test]
fn rows_are_written_as_they_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rows.json");
    let path = file.to_str().expect("a path");
    // More than a batch, then a second result.
    let query = "range x from 1 to 20000 step 1 | extend t = strcat('\"', x, '\\n'), d = dynamic({\"a\": [1, null]}) | fork (where x > 0) (count)";
    let output = vidette(&["query", query, "--format", "json", "-o", path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(&file).expect("it is written");
    let results: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).expect("a result is a line of JSON")).collect();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["rows"].as_array().map(Vec::len), Some(20_000));
    assert_eq!(results[0]["rows"][19_999], serde_json::json!([20_000, "\"20000\n", {"a": [1, null]}]));
    assert_eq!(results[1], serde_json::json!({"columns": [{"name": "Count", "type": "long"}], "rows": [[20_000]]}));
    let table = text(&vidette(&["query", "range x from 1 to 20000 step 1", "--format", "table"]).stdout);
    assert!(table.ends_with("20000 rows, of which the first 10000 are shown (--format csv or json writes all)\n"), "{}", &table[table.len() - 200..]);
    // A query that is wrong leaves the file as it was.
    assert_eq!(vidette(&["query", "NoSuchTable", "-o", path]).status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), written);
    let long = "range x from 1 to 2600000 step 1 | extend a = x, b = x, c = x";
    let line = serde_json::json!({"id": 1, "query": long}).to_string();
    let answer = text(&batch(&[], &line).stdout);
    assert!(answer.contains("more than 10000000 values"), "{}", answer.chars().take(200).collect::<String>());
}

#[test]
fn warnings_fail_a_check_that_denies_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("counted.kql");
    std::fs::write(&file, "DeviceEvents\n| summarize count(DeviceName)").expect("written");
    let path = file.to_str().expect("a path");
    for (arguments, status) in [(vec!["check", path], 0), (vec!["check", "--deny-warnings", path], 2)] {
        let output = vidette(&arguments);
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("warning[KS107]") && text(&output.stderr).contains("1 query, 0 errors, 1 warning\n"), "{}", text(&output.stderr));
    }
}
