//! What an author of rules does: `vidette test` and `vidette check`, from a first test to rules over tables of their own.

mod common;

use common::{root, text, vidette};

#[test]
fn the_first_test_of_the_page_about_tests_passes_and_says_what_is_wrong() {
    let page = std::fs::read_to_string(root().join("docs/TESTING.md")).expect("the page");
    let (_, rest) = page.split_once("```yaml\n").expect("an example");
    let (tests, _) = rest.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let rule = "id: 3b7c5c0e-6a55-4a55-9b55-0b5f6f1f2a12\nname: Encoded\nkind: NRT\nseverity: Medium\nquery: |\n  DeviceProcessEvents\n  | where ProcessCommandLine matches regex @'\\s-enc\\s'\n";
    std::fs::write(path("EncodedCommand.yaml"), rule).expect("a file");
    std::fs::write(path("EncodedCommand.test.yaml"), tests).expect("a file");
    std::fs::write(path("Other.yaml"), rule).expect("a file");
    std::fs::write(path("Other.test.yaml"), tests.replace("FileName", "FileNam")).expect("a file");
    for named in ["EncodedCommand.yaml", "EncodedCommand.test.yaml"] {
        let output = vidette(&["test", &path(named)]);
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stderr).contains("2 passed, 0 failed"), "{}", text(&output.stderr));
    }
    let output = vidette(&["test", &path("")]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("DeviceProcessEvents has no column `FileNam`; a column with a similar name exists: `FileName`"), "{told}");
}

#[test]
fn rules_over_custom_tables_are_judged_by_their_schemas() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let rule = |name: &str, query: &str| {
        write(&format!("rules/{name}.yaml"), &format!("id: 3b7c5c0e-6a55-4a55-9b55-0b5f6f1f2a11\nname: {name}\nkind: NRT\nseverity: Low\nquery: |\n  {query}\n"))
    };
    let good = rule("Good", "MyApp_CL | where Level_s == 'error' and Size_d > 1.5 | join kind=inner (Other_CL | where Active) on Computer");
    let wrong = rule("Wrong", "MyApp_CL | where Levl_s == 'error'");
    write(
        "tables/MyApp_CL.json",
        r#"{"Name": "MyApp_CL", "Properties": [{"Name": "TimeGenerated", "Type": "DateTime"}, {"Name": "Level_s", "Type": "String"}, {"Name": "Size_d", "Type": "Double"}, {"Name": "Computer", "Type": "String"}]}"#,
    );
    write("tables/api.json", r#"{"properties": {"schema": {"name": "Other_CL", "columns": [{"name": "Computer", "type": "string"}, {"name": "Active", "type": "boolean"}]}}}"#);
    let tables = folder.path().join("tables").to_str().expect("a path").to_owned();
    assert_eq!(vidette(&["check", &good]).status.code(), Some(2), "nobody knows the tables");
    let output = vidette(&["check", &good, "--custom-tables", &tables]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = vidette(&["check", &wrong, "--custom-tables", &tables]);
    assert!(text(&output.stdout).contains("a column with a similar name exists: `Level_s`"), "{}", text(&output.stdout));
    // Their rows are seen through the schema, in whatever way a file writes the values.
    let rows = write("logs/MyApp_CL.json", "{\"TimeGenerated\":\"2026-03-10T09:00:00Z\",\"Level_s\":\"error\",\"Size_d\":2,\"More\":1}\n");
    let output =
        vidette(&["query", "MyApp_CL | extend t = gettype(Size_d) | project TimeGenerated, Level_s, Size_d, t, Computer", &rows, "--custom-tables", &tables, "--format", "ndjson"]);
    assert_eq!(
        text(&output.stdout).trim(),
        r#"{"TimeGenerated":"2026-03-10T09:00:00.0000000Z","Level_s":"error","Size_d":2.0,"t":"real","Computer":""}"#,
        "{}",
        text(&output.stderr)
    );
    write("tables/bad.json", r#"{"Name": "Bad_CL", "Properties": [{"Name": "X", "Type": "Text"}]}"#);
    let output = vidette(&["check", &good, "--custom-tables", &tables]);
    assert!(text(&output.stderr).contains("bad.json: Bad_CL: `Text` is no type of Kusto's"), "{}", text(&output.stderr));
}

#[test]
fn first_tests_hold_rows_that_the_filters_ask_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let queries = [
        r#"DeviceProcessEvents | where FileName =~ "powershell.exe" and ProcessCommandLine has_all ("-enc", "hidden") and not(AccountName == "system") | project Timestamp, DeviceName"#,
        r#"let hosts = dynamic(["pastebin.com", "ngrok.io"]); DeviceNetworkEvents | where RemoteUrl has_any (hosts) and RemotePort in (443, 80) | where InitiatingProcessFolderPath startswith @"C:\Users\" and InitiatingProcessFolderPath endswith ".exe""#,
        r#"SecurityEvent | where EventID == 4688 | where tolower(NewProcessName) endswith @"\certutil.exe" or CommandLine contains "urlcache" | summarize count() by Computer, Account"#,
        r#"DeviceEvents | where ActionType == "DnsQueryResponse" | extend Name = tostring(AdditionalFields.DnsQueryString) | where Name endswith ".onion" | project Timestamp, Name"#,
        r#"DeviceProcessEvents | where FileName == "winword.exe" | project DeviceId, ProcessId | join kind=inner (DeviceNetworkEvents | where RemotePort > 1024) on DeviceId, $left.ProcessId == $right.InitiatingProcessId"#,
        r#"union isfuzzy=true (SigninLogs | where ResultType != 0 and isnotempty(UserPrincipalName) | extend Who = UserPrincipalName), (AADNonInteractiveUserSignInLogs | extend Who = UserPrincipalName) | where Who startswith "adm""#,
    ];
    for (number, query) in queries.iter().enumerate() {
        let rule = format!(
            "id: 3b7c5c0e-6a55-4a55-9b55-0b5f6f1f2a{number:02}\nname: Rule {number}\nkind: Scheduled\nseverity: Medium\nqueryFrequency: 1h\nqueryPeriod: 1h\ntriggerOperator: gt\ntriggerThreshold: 0\nquery: |\n  {query}\n"
        );
        std::fs::write(path(&format!("Rule{number}.yaml")), rule).expect("a file");
    }
    std::fs::write(path("Wrong.yaml"), "id: 3b7c5c0e-6a55-4a55-9b55-0b5f6f1f2a99\nname: Wrong\nkind: NRT\nseverity: Low\nquery: |\n  DeviceEvents | where NoSuchColumn == 1\n")
        .expect("a file");
    let output = vidette(&["test", "--init", &path("")]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(err.contains(&format!("{} passed, 0 failed", 2 * queries.len())), "{out}{err}");
    assert!(err.contains("Wrong.yaml: the query has errors"), "{err}");
    // What is there stays.
    std::fs::write(path("Rule0.test.yaml"), "tests: [{name: own, data: {}, expect: {alerts: 0}}]").expect("a file");
    let output = vidette(&["test", "--init", &path("Rule0.yaml")]);
    assert!(text(&output.stderr).contains("1 passed, 0 failed"), "{}", text(&output.stderr));
}

#[test]
fn a_rule_over_a_table_of_ones_own_is_tested() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = "id: 3b7c5c0e-6a55-4a55-9b55-0b5f6f1f2a11\nname: Own\nkind: NRT\nseverity: Low\nquery: |\n  MyApp_CL\n  | where Level_s == 'error'\n";
    let tests = "tests:\n  - name: fires\n    data: {MyApp_CL: [{TimeGenerated: 2026-03-10T08:00:00Z, Level_s: error}]}\n    expect: {alerts: 1}\n  - name: quiet\n    data: {MyApp_CL: [{TimeGenerated: 2026-03-10T08:00:00Z, Level_s: info}]}\n    expect: {alerts: 0}\n";
    std::fs::write(folder.path().join("Own.yaml"), rule).expect("a file");
    std::fs::write(folder.path().join("Own.test.yaml"), tests).expect("a file");
    let output = vidette(&["test", folder.path().to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stderr).contains("2 passed, 0 failed"), "{}", text(&output.stderr));
}
