//! Functions that queries find: saved ones, those of the platforms, data from outside.

use crate::common::{text, vidette};

#[test]
fn what_is_wrong_inside_a_saved_function_is_told_at_its_call() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("f.kql"), "let Inner = () { DeviceEvents | where NoSuch == 1 };\nlet Outer = () { print 'a long text that comes first' | union (Inner) };")
        .expect("written");
    let output = vidette(&["query", "Outer | count", "--functions", folder.path().to_str().expect("a path")]);
    assert!(text(&output.stderr).contains("error[KS142]: unknown name `NoSuch`, within `Inner`\n --> query:1:1\n  |\n1 | Outer | count\n  | ^^^^^ "), "{}", text(&output.stderr));
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
fn external_data_is_read_from_a_local_copy_and_empty_without_one_with_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("feed.csv"), "ip,name\n10.0.0.1,first\n10.0.0.2,\"second, quoted\"\n").expect("a file");
    let query = "externaldata(ip: string, name: string) [@'https://example.org/data/feed.csv?x=1'] with (format='csv', ignoreFirstRecord=true) | where ip has '10.0.0.2'";
    let without = vidette(&["query", query]);
    assert_eq!((text(&without.stdout).as_str(), without.status.code()), ("", Some(0)));
    assert!(text(&without.stderr).contains("put a copy named `feed.csv` into a folder, and give it with --external"), "{}", text(&without.stderr));
    let rule = folder.path().join("rule.yaml");
    let head = "id: 1d0c0e3a-5f6e-4b57-9d0c-0d2f6f1a2b3c\nname: Feed\nseverity: Low\nkind: Scheduled\nqueryFrequency: 1h\nqueryPeriod: 1h\nquery: |\n  DeviceNetworkEvents | where RemoteUrl != 'pastebin.com' or RemoteIP in (";
    std::fs::write(&rule, format!("{head}({query} | project ip)) | where RemoteUrl == 'pastebin.com'\n")).expect("a rule");
    let hunt = vidette(&["hunt", "samples/", "--rules", &rule.to_string_lossy()]);
    assert_eq!(hunt.status.code(), Some(0), "{}", text(&hunt.stderr));
    assert!(text(&hunt.stderr).contains("it is empty; put a copy named `feed.csv` into a folder"), "{}", text(&hunt.stderr));
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
