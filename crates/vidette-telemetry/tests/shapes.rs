//! The same connection in every shape a shipper gives it: the same row.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use std::path::Path;
use vidette_telemetry::{Harvest, Normalizer, Reading, harvest};

fn read(path: &Path) -> Harvest {
    harvest(&[path.to_owned()], &Normalizer::new(|_, _| true), Reading::default(), &mut |_| {}).expect("the path exists")
}

fn first(harvest: &Harvest, table: &str, column: &str) -> String {
    let Some(batch) = harvest.tables.get(table).and_then(|batches| batches.first()) else { return format!("no rows: {:?}", harvest.problems) };
    let array = batch.column_by_name(column).expect("a known column");
    if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
        return numbers.value(0).to_string();
    }
    if let Some(views) = array.as_string_view_opt() {
        return views.value(0).to_owned();
    }
    array.as_dictionary::<Int32Type>().downcast_dict::<arrow::array::StringArray>().expect("text").into_iter().next().flatten().unwrap_or_default().to_owned()
}

const XML: &str = r#"<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><Provider Name="Microsoft-Windows-Sysmon" Guid="{5770385f-c22a-43e0-bf4c-06f5698ffbd9}"/><EventID>3</EventID><Version>5</Version><Level>4</Level><TimeCreated SystemTime="2026-03-10T09:00:00.5000000Z"/><EventRecordID>7</EventRecordID><Correlation/><Execution ProcessID="1" ThreadID="2"/><Channel>Microsoft-Windows-Sysmon/Operational</Channel><Computer>HOST.example</Computer><Security UserID="S-1-5-18"/></System><EventData><Data Name="ProcessId">44</Data><Data Name="Image">C:\Windows\System32\curl.exe</Data><Data Name="Protocol">tcp</Data><Data Name="Initiated">true</Data><Data Name="SourceIp">10.0.0.5</Data><Data Name="DestinationIp">104.20.67.143</Data><Data Name="DestinationPort">443</Data></EventData></Event>"#;
const DATA: &str = r#"{"ProcessId":"44","Image":"C:\\Windows\\System32\\curl.exe","Protocol":"tcp","Initiated":"true","SourceIp":"10.0.0.5","DestinationIp":"104.20.67.143","DestinationPort":"443"}"#;

#[test]
fn every_shipper_tells_of_the_same_connection() {
    let quoted = serde_json::Value::from(XML).to_string();
    let flat = DATA.trim_start_matches('{');
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(DATA).unwrap();
    let listed = serde_json::Value::from_iter(fields.iter().map(|(name, value)| serde_json::json!({"@Name": name, "#text": value})));
    let payload = serde_json::json!({"EventData": {"Data": listed}}).to_string();
    let small = |name: &str| name[..1].to_ascii_lowercase() + &name[1..];
    let doubled = serde_json::Value::from_iter(fields.iter().map(|(name, value)| (small(name), value.as_str().unwrap_or_default().replace('\\', r"\\"))));
    let dotted: String = fields.iter().map(|(name, value)| format!(",\"data.win.eventdata.{}\":{value}", small(name))).collect();
    let winlog = format!(
        r#"{{"@timestamp":"2026-03-10T09:00:00.5Z","winlog":{{"provider_name":"Microsoft-Windows-Sysmon","event_id":3,"record_id":7,"computer_name":"HOST.example","event_data":{DATA}}}}}"#
    );
    let message: String = fields.iter().map(|(name, value)| format!("\n{name}: {}", value.as_str().unwrap_or_default())).collect();
    let message = format!("Network connection detected:\nUtcTime: 2026-03-10 09:00:00.500{message}");
    let splunk = format!(
        "03/10/2026 09:00:00.500 AM\nLogName=Microsoft-Windows-Sysmon/Operational\nEventCode=3\nComputerName=HOST.example\nSourceName=Microsoft-Windows-Sysmon\nRecordNumber=7\nMessage={message}\n"
    );
    let get_winevent = serde_json::json!([{"Id": 3, "ProviderName": "Microsoft-Windows-Sysmon", "LogName": "c", "MachineName": "HOST.example", "RecordId": 7,
        "TimeCreated": {"value": "/Date(1773133200500)/", "DateTime": "Tuesday, March 10, 2026 9:00:00 AM"}, "Properties": [{"Value": "-"}], "Message": message}]);
    let shapes = [
        ("splunk-text.log", splunk.clone()),
        ("splunk-text.json", serde_json::json!({"result": {"_raw": splunk, "_time": "2026-03-10T09:00:00.500+0000"}}).to_string()),
        ("get-winevent.json", serde_json::to_string_pretty(&get_winevent).unwrap()),
        (
            "get-winevent.csv",
            format!("\"Message\",\"Id\",\"RecordId\",\"ProviderName\",\"LogName\",\"MachineName\",\"TimeCreated\"\n\"{message}\",\"3\",\"7\",\"Microsoft-Windows-Sysmon\",\"c\",\"HOST.example\",\"10.03.2026 10:00:00\"\n"),
        ),
        ("elasticdump.json", format!(r#"{{"_index":"winlogbeat","_id":"a","_source":{winlog}}}"#)),
        ("elasticsearch.json", format!(r#"{{"took":1,"hits":{{"total":{{"value":1}},"hits":[{{"_id":"a","_source":{winlog}}}]}}}}"#)),
        (
            "evtxecmd.json",
            serde_json::json!({"MapDescription": "Network connection", "Computer": "HOST.example", "Payload": payload, "Channel": "c", "Provider": "Microsoft-Windows-Sysmon",
                "EventId": 3, "EventRecordId": "7", "ProcessId": 1, "ThreadId": 2, "Level": "Info", "TimeCreated": "2026-03-10T09:00:00.5000000+00:00"})
            .to_string(),
        ),
        (
            "evtxecmd.csv",
            format!(
                "RecordNumber,EventRecordId,TimeCreated,EventId,Level,Provider,Channel,Computer,MapDescription,Payload\n1,7,2026-03-10 09:00:00.5000000,3,Info,Microsoft-Windows-Sysmon,c,HOST.example,,\"{}\"\n",
                payload.replace('"', "\"\"")
            ),
        ),
        ("splunk.csv", format!("_time,host,_raw\n2026-03-10T09:00:00.500+0000,h,\"{}\"\n", XML.replace('"', "\"\""))),
        (
            "kibana.csv",
            "\"@timestamp\",\"winlog.provider_name\",\"winlog.event_id\",\"winlog.record_id\",\"winlog.computer_name\",\"winlog.event_data.Image\",\"winlog.event_data.DestinationIp\",\"winlog.event_data.Initiated\"\n\"Mar 10, 2026 @ 09:00:00.500\",\"Microsoft-Windows-Sysmon\",3,7,\"HOST.example\",\"C:\\Windows\\System32\\curl.exe\",\"104.20.67.143\",true\n".to_owned(),
        ),
        (
            "nxlog.csv",
            "EventTime,SourceName,EventID,RecordNumber,Channel,Hostname,Image,DestinationIp,Initiated\n2026-03-10T09:00:00.5Z,Microsoft-Windows-Sysmon,3,7,c,HOST.example,C:\\Windows\\System32\\curl.exe,104.20.67.143,true\n".to_owned(),
        ),
        (
            "wazuh.json",
            format!(
                r#"{{"timestamp":"2026-03-10T09:00:01.000+0000","agent":{{"name":"HOST"}},"data":{{"win":{{"system":{{"providerName":"Microsoft-Windows-Sysmon","eventID":"3","systemTime":"2026-03-10T09:00:00.5000000Z","eventRecordID":"7","computer":"HOST.example"}},"eventdata":{doubled}}}}}}}"#
            ),
        ),
        (
            "wazuh-dotted.json",
            format!(
                r#"{{"data.win.system.providerName":"Microsoft-Windows-Sysmon","data.win.system.eventID":"3","data.win.system.systemTime":"2026-03-10T09:00:00.5000000Z","data.win.system.eventRecordID":"7","data.win.system.computer":"HOST.example"{dotted}}}"#
            ),
        ),
        (
            "xmltodict.json",
            format!(
                r##"{{"Event":{{"System":{{"Provider":{{"@Name":"Microsoft-Windows-Sysmon"}},"EventID":{{"@Qualifiers":"","#text":"3"}},"TimeCreated":{{"@SystemTime":"2026-03-10 09:00:00.500000"}},"EventRecordID":"7","Channel":"c","Computer":"HOST.example"}},"EventData":{{"Data":{listed}}}}}}}"##
            ),
        ),
        ("event.xml", format!("<?xml version=\"1.0\"?>\n<Events>\n{XML}\n</Events>")),
        ("sysmon.log", format!("<13>1 2026-03-10T09:00:00Z web01 sysmon 99 - - {}\n", XML.replace("Microsoft-Windows-Sysmon\"", "Linux-Sysmon\""))),
        ("splunk.json", format!("{{\"preview\":false,\"result\":{{\"_raw\":{quoted},\"host\":\"h\"}}}}")),
        ("cribl.json", format!("{{\"_raw\":{quoted},\"_time\":1773133200,\"cribl_pipe\":\"p\"}}")),
        ("fluentbit.json", format!("{{\"date\":1773133200.5,\"System\":{quoted},\"Message\":\"\"}}")),
        ("winlogbeat-xml.json", format!("{{\"@timestamp\":\"2026-03-10T09:00:00.5Z\",\"event\":{{\"original\":{quoted}}}}}")),
        (
            "velociraptor.json",
            format!(
                r#"{{"System":{{"Provider":{{"Name":"Microsoft-Windows-Sysmon"}},"EventID":{{"Value":3}},"TimeCreated":{{"SystemTime":1773133200.5}},"EventRecordID":7,"Channel":"c","Computer":"HOST.example"}},"EventData":{DATA},"Message":"m"}}"#
            ),
        ),
        (
            "dotted.json",
            format!(
                r#"{{"@timestamp":"2026-03-10T09:00:00.5Z","winlog.provider_name":"Microsoft-Windows-Sysmon","winlog.event_id":3,"winlog.record_id":7,"winlog.computer_name":"HOST.example","winlog.event_data":{DATA}}}"#
            ),
        ),
        (
            "vector.json",
            format!(
                r#"{{"timestamp":"2026-03-10T09:00:00.5Z","provider_name":"Microsoft-Windows-Sysmon","event_id":3,"record_id":7,"channel":"c","computer":"HOST.example","event_data":{DATA}}}"#
            ),
        ),
        (
            "nxlog.log",
            format!(
                "<14>Mar 10 09:00:00 HOST nxlog: {{\"EventTime\":\"2026-03-10T09:00:00.5Z\",\"SourceName\":\"Microsoft-Windows-Sysmon\",\"EventID\":3,\"RecordNumber\":7,\"Channel\":\"c\",\"Hostname\":\"HOST.example\",{flat}\n"
            ),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in shapes {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        let row = ["RemoteIP", "ActionType", "InitiatingProcessFileName", "DeviceName", "ReportId"].map(|column| first(&harvest, "DeviceNetworkEvents", column));
        assert_eq!(row, ["104.20.67.143", "ConnectionSuccess", "curl.exe", "host.example", "7"], "{name}");
        let ticks: i64 = first(&harvest, "DeviceNetworkEvents", "Timestamp").parse().unwrap();
        assert_eq!(ticks, ticks_of("2026-03-10T09:00:00.5Z"), "{name}");
        assert_eq!((harvest.events_read, harvest.skipped()), (1, 0), "{name}");
    }
}

/// Ticks of an instant.
fn ticks_of(text: &str) -> i64 {
    let time: jiff::Timestamp = text.parse().unwrap();
    (time.as_nanosecond() / 100) as i64 + 621_355_968_000_000_000
}

#[test]
fn records_of_cloudtrail_are_rows_of_its_table() {
    let record = serde_json::json!({
        "eventVersion": "1.08", "eventTime": "2026-03-10T09:00:00Z", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.1", "userAgent": "aws-cli/2", "requestParameters": {"userName": "eve"}, "responseElements": null, "readOnly": false, "eventID": "e-1",
        "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/r/s", "sessionContext": {"sessionIssuer": {"userName": "r"},
            "attributes": {"mfaAuthenticated": "true", "creationDate": "2026-03-10T08:00:00Z"}}},
    });
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("bucket.json", serde_json::json!({"Records": [record]}).to_string()), ("lines.jsonl", record.to_string())] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        let values = ["EventName", "UserIdentityType", "SessionIssuerUserName", "SourceIpAddress", "RequestParameters", "ResponseElements", "AwsEventId", "Type"]
            .map(|column| first(&harvest, "AWSCloudTrail", column));
        assert_eq!(values, ["CreateUser", "AssumedRole", "r", "192.0.2.1", r#"{"userName":"eve"}"#, "", "e-1", "AWSCloudTrail"], "{name}");
        assert_eq!(first(&harvest, "AWSCloudTrail", "TimeGenerated").parse::<i64>().unwrap(), ticks_of("2026-03-10T09:00:00Z"), "{name}");
        let mfa = harvest.tables["AWSCloudTrail"][0].column_by_name("SessionMfaAuthenticated").unwrap().as_boolean().value(0);
        assert!(mfa && harvest.problems.is_empty(), "{name}");
    }
}

#[test]
fn records_of_the_unified_audit_log_are_rows_of_its_table() {
    let record = serde_json::json!({
        "CreationTime": "2026-03-10T09:00:00", "Id": "a-1", "Operation": "New-InboxRule", "OrganizationId": "o", "RecordType": 1, "UserType": 2, "Workload": "Exchange",
        "UserId": "eve@corp.example", "ClientIP": "192.0.2.1:55", "ObjectId": "box\\rule", "Parameters": [{"Name": "ForwardTo", "Value": "x@y"}], "LogonType": 0, "ExternalAccess": false,
    });
    let quoted = record.to_string().replace('"', "\"\"");
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("search.csv", format!("RecordId,CreationDate,RecordType,Operation,UserId,AuditData\na-1,2026-03-10T09:00:00.0000000Z,1,New-InboxRule,eve@corp.example,\"{quoted}\"\n")),
        ("search.json", serde_json::json!([{"RecordType": "ExchangeAdmin", "CreationDate": "2026-03-10T09:00:00Z", "AuditData": record.to_string()}]).to_string()),
        ("api.json", serde_json::json!([record]).to_string()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        let values = ["Operation", "RecordType", "UserType", "OfficeWorkload", "OfficeObjectId", "Parameters", "Logon_Type", "ExternalAccess", "UserId", "Type"]
            .map(|column| first(&harvest, "OfficeActivity", column));
        let parameters = r#"[{"Name":"ForwardTo","Value":"x@y"}]"#;
        assert_eq!(values, ["New-InboxRule", "ExchangeAdmin", "Admin", "Exchange", r"box\rule", parameters, "Owner", "false", "eve@corp.example", "OfficeActivity"], "{name}");
        assert_eq!(first(&harvest, "OfficeActivity", "TimeGenerated").parse::<i64>().unwrap(), ticks_of("2026-03-10T09:00:00Z"), "{name}");
    }
}

#[test]
fn a_name_of_many_parts_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.json");
    std::fs::write(&path, format!("{{\"winlog.{}b\":1}}\n{{\"data.win.{}b\":1}}", "a.".repeat(200_000), "a.".repeat(200_000))).unwrap();
    assert_eq!(read(&path).skipped(), 2);
}

/// Whoever goes down into a value at every bracket runs out of stack.
#[test]
fn brackets_in_each_other_are_a_problem_of_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.jsonl");
    let good = r#"{"Type":"DeviceNetworkEvents","Timestamp":"2026-03-10T09:00:00Z","RemoteUrl":"x.example"}"#;
    for start in [
        r#"{"Type":"DeviceNetworkEvents","AdditionalFields":"#,
        r#"{"Type":"DeviceNetworkEvents","_x":"#,
        r#"{"category":"AdvancedHunting-DeviceNetworkEvents","properties":{"x":"#,
        r#"{"Event":{"System":{"EventID":1},"x":"#,
        r#"{"winlog":{"x":"#,
        r#"{"EventID":1,"Channel":"c","x":"#,
    ] {
        let ends = "}".repeat(start.matches('{').count() - start.matches('}').count());
        for (open, close) in [("[", "]"), ("{\"records\":[", "]}")] {
            let deep = format!("{start}{}{}{ends}", open.repeat(400_000), close.repeat(400_000));
            for text in [format!("{deep}\n{good}\n"), format!("[{deep},{good}]"), format!("{{\"value\":[{good},{deep}]}}")] {
                std::fs::write(&path, text).unwrap();
                let harvest = read(&path);
                assert_eq!((first(&harvest, "DeviceNetworkEvents", "RemoteUrl").as_str(), harvest.skipped()), ("x.example", 1), "{start} {open}");
            }
        }
    }
}

#[test]
fn arrays_of_records_are_read_in_whatever_they_are_wrapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.json");
    let row =
        |at: u32| format!("{{\"Type\":\"DeviceNetworkEvents\",\n\"Timestamp\":\"2026-03-10T09:00:0{at}Z\",\"RemoteUrl\":\"{at}.example\",\"AdditionalFields\":\"]}},\\\"\"}}");
    let (one, two, three) = (row(1), row(2), row(3));
    let line = |text: &str| text.replace('\n', " ");
    let read_whole = |text: String| {
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        let told: Vec<String> = harvest.problems.iter().map(|problem| format!("{}: {}", problem.place.as_deref().unwrap_or_default(), problem.message)).collect();
        let rows = harvest.tables.get("DeviceNetworkEvents").into_iter().flatten().map(arrow::array::RecordBatch::num_rows).sum::<usize>();
        (rows, told)
    };
    for text in [
        format!("[{one},{two} , {three}]"),
        format!("\u{feff}[\n{one},\n{two}\n]\n[{three}]\n"),
        format!("{{\"records\" : [ {one}, {two}, {three} ], \"next\": {{\"a\": [1, \"]\"]}} }}\n"),
        format!("{{\"records\":[{one}]}}{{\"records\":[{two}]}}\n[{three}]"),
        format!("{{\"records\":[{}]}}\n{{\"records\":[{},{}]}}\n", line(&one), line(&two), line(&three)),
        format!("{{\"@odata.context\":\"x\",\"value\":[{one},{two},{three}]}}"),
        format!("{}\n{{\"value\":[{},{}],\"more\":true}}\n", line(&one), line(&two), line(&three)),
    ] {
        assert_eq!(read_whole(text.clone()), (3, Vec::new()), "{text}");
    }
    for (text, rows, problem) in [
        (format!("[{one},{{\"a\" 1}},{three}]"), 2, "element 2: not JSON: expected `:`"),
        (format!("[{one},7,{three}]"), 2, "element 2: a record is an object"),
        (format!("[{one},{two},{}", &three[..40]), 2, "element 3: not JSON: EOF while parsing"),
        (format!("[{one},{two}"), 2, "element 3: the file ends within its array"),
        (format!("[{one}}},{two}]"), 1, "element 1: not JSON: a `}` that nothing opened"),
        (format!("{{\"records\":[{one},{two}]"), 2, "records: the file ends within the object around them"),
        (format!("{}\n{{\"value\":[{},{{\"a\" 1}},{}]}}\n", line(&one), line(&two), line(&three)), 3, "line 2, value 2: not JSON: expected `:`"),
        (format!("{}\n{{\"value\":[{}}},{}]}}\n", line(&one), line(&two), line(&three)), 2, "line 2: not JSON: "),
        (format!("{}\n{{\"value\":[{}] x}}\n", line(&one), line(&two)), 2, "line 2: not JSON: expected `,` or `}`"),
    ] {
        let (found, told) = read_whole(text.clone());
        assert_eq!((found, told.len()), (rows, 1), "{text} {told:?}");
        assert!(told[0].starts_with(problem), "{told:?}");
    }
}

#[test]
fn texts_of_events_stand_one_behind_the_other() {
    let event = |number: u32| {
        format!(
            "03/10/2026 09:00:0{number} AM\nLogName=Microsoft-Windows-Sysmon/Operational\nEventCode=11\nSourceName=Microsoft-Windows-Sysmon\nMessage=File created:\nTargetFilename: C:\\a{number}\n03/10/2026 09:00:00 AM\nis of the name\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windows.log");
    std::fs::write(&path, format!("{}\n{}03/10/2026 09:00:03 AM\nLogName=System\n", event(1), event(2))).unwrap();
    let harvest = read(&path);
    assert_eq!(harvest.events_read, 2);
    assert_eq!(first(&harvest, "DeviceFileEvents", "FolderPath"), "C:\\a1\n03/10/2026 09:00:00 AM\nis of the name");
    assert_eq!(harvest.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [format!("{}: line 18: no event as Splunk's WinEventLog input writes one", path.display())]);
}

#[test]
fn utf_16_is_read_with_and_without_its_mark() {
    let folder = tempfile::tempdir().unwrap();
    let units: Vec<u8> = XML.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, mark) in [("marked.xml", &[0xffu8, 0xfe][..]), ("plain.xml", &[][..])] {
        let path = folder.path().join(name);
        std::fs::write(&path, [mark, &units].concat()).unwrap();
        assert_eq!(first(&read(&path), "DeviceNetworkEvents", "RemoteIP"), "104.20.67.143", "{name}");
    }
}

#[test]
fn a_cut_event_is_named_and_the_others_are_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.xml");
    std::fs::write(&path, format!("{XML}\n<Event><System>oops</Event>\n{XML}\n{}", &XML[..300])).unwrap();
    let harvest = read(&path);
    assert_eq!(harvest.events_read, 2);
    let told: Vec<String> = harvest.problems.iter().map(|problem| format!("{}: {}", problem.place.as_deref().unwrap_or_default(), problem.message)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("event 2: ") && told[1] == "event 4: the file ends within the event", "{told:?}");
}

#[test]
fn values_without_names_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inserts.json");
    std::fs::write(&path, r#"{"ProviderName":"Microsoft-Windows-Sysmon","EventID":3,"Channel":"c","StringInserts":["a","b"]}"#).unwrap();
    let harvest = read(&path);
    assert!(harvest.problems[0].message.contains("Render_Event_As_XML"), "{:?}", harvest.problems);
}

const ZEEK_SSL: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tssl\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tversion\tcipher\tserver_name\testablished\n#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tstring\tbool\n1773133200.500000\tC1\t10.0.1.5\t50000\t13.107.42.12\t443\tTLSv12\t-\td.docs.live.net\tT\n1773133201.5\tC2\tshort\n#close\n";

#[test]
fn zeek_logs_become_inspected_connections() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("ssl.log");
    std::fs::write(&text, ZEEK_SSL).unwrap();
    let harvest = read(&text);
    let row = ["ActionType", "RemoteUrl", "RemoteIP", "LocalIP", "RemoteIPType", "Protocol", "DeviceName"].map(|column| first(&harvest, "DeviceNetworkEvents", column));
    assert_eq!(row, ["SslConnectionInspected", "d.docs.live.net", "13.107.42.12", "10.0.1.5", "Public", "Tcp", "10.0.1.5"]);
    assert_eq!(first(&harvest, "DeviceNetworkEvents", "AdditionalFields"), r#"{"uid":"C1","server_name":"d.docs.live.net","version":"TLSv12","established":true}"#);
    assert_eq!(harvest.problems.len(), 1);
    assert_eq!((harvest.problems[0].place.as_deref(), harvest.problems[0].message.as_str()), (Some("line 9"), "3 values for 10 fields"));

    let json = folder.path().join("zeek.json");
    let lines = [
        r#"{"ts":1773133200.5,"uid":"C3","id.orig_h":"10.0.1.5","id.orig_p":50001,"id.resp_h":"10.0.0.4","id.resp_p":53,"proto":"udp","query":"d.docs.live.net","qtype_name":"A","answers":["13.107.42.12"]}"#,
        r#"{"ts":"2026-03-10T09:00:01Z","uid":"C4","id_orig_h":"10.0.1.5","id_orig_p":50002,"id_resp_h":"13.107.42.12","id_resp_p":443,"proto":"tcp","conn_state":"SF","orig_bytes":900}"#,
        r#"{"ts":1773133202,"uid":"C5","id.orig_h":"10.0.1.5","id.orig_p":50003,"id.resp_h":"13.107.42.12","id.resp_p":80,"method":"GET","host":"x.example","uri":"/"}"#,
    ];
    std::fs::write(&json, lines.join("\n")).unwrap();
    let harvest = read(&json);
    let array = harvest.tables["DeviceNetworkEvents"][0].column_by_name("ActionType").unwrap().as_dictionary::<Int32Type>().clone();
    let actions: Vec<&str> = array.downcast_dict::<arrow::array::StringArray>().unwrap().into_iter().flatten().collect();
    assert_eq!(actions, ["DnsConnectionInspected", "ConnectionSuccess", "HttpConnectionInspected"]);
}

#[test]
fn a_zeek_log_is_the_one_that_it_says_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let head = |path: &str, fields: &str| {
        format!("#separator \\t\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{path}\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\t{fields}\n")
    };
    let actions = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        let found = if harvest.tables.is_empty() { String::new() } else { first(&harvest, "DeviceNetworkEvents", "ActionType") };
        (found, harvest.problems.len())
    };
    let ends = "1773133200.5\t10.0.1.5\t50000\t198.51.100.7\t80";
    // Written `\t`, with a separator at the end of the line, by a package of Zeek's.
    assert_eq!(actions("open_http.log", head("open_http", "method\turi") + ends + "\tGET\t/\t\n"), ("HttpConnectionInspected".to_owned(), 0));
    assert_eq!(actions("quic.log", head("quic", "version\tserver_name") + ends + "\t1\td.docs.live.net\n"), ("SslConnectionInspected".to_owned(), 0));
    assert_eq!(actions("sip.log", head("sip", "method\turi\tcall_id\tstatus_code") + ends + "\tINVITE\tsip:a@b.example\tc1\t200\n"), (String::new(), 1));
    let line =
        |path: &str| format!(r#"{{"ts":1773133202,"uid":"C5","id.orig_h":"10.0.1.5","id.orig_p":50003,"id.resp_h":"13.107.42.12","id.resp_p":80,"request_body_len":195{path}}}"#);
    assert_eq!(actions("http.json", line(r#","_path":"http""#)), ("HttpConnectionInspected".to_owned(), 0));
    // Lines of another log are events that no table takes, for lines of several logs may be in one file.
    let sip = line(r#","method":"INVITE","call_id":"c1""#);
    assert_eq!(actions("sip.json", sip.clone()), (String::new(), 0));
    assert_eq!(actions("all.json", sip + "\n" + &line(r#","_path":"http""#)), ("HttpConnectionInspected".to_owned(), 0));
}

#[test]
fn diagnostic_settings_land_in_their_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("PT1H.json");
    std::fs::write(
        &path,
        r#"{"time":"2026-03-10T09:00:00Z","resourceId":"r","operationName":"Sign-in activity","category":"SignInLogs","resultType":"0","callerIpAddress":"203.0.113.5","properties":{"userPrincipalName":"a@b.example","appDisplayName":"Portal"}}"#,
    )
    .unwrap();
    let harvest = read(&path);
    let row = ["UserPrincipalName", "AppDisplayName", "OperationName", "IPAddress"].map(|column| first(&harvest, "SigninLogs", column));
    assert_eq!(row, ["a@b.example", "Portal", "Sign-in activity", "203.0.113.5"]);
}

#[test]
fn what_portals_and_their_interfaces_export_is_told_from_its_columns() {
    // What Log Analytics calls every file that it exports.
    const ANY_NAME: &str = "query_data.csv";
    let cases = [
        // The portal's times, and a table that no other can be.
        (
            ANY_NAME,
            "\"TimeGenerated [UTC]\",Computer,EventID,Activity,NewProcessName\n\"3/10/2026, 9:00:00.500 AM\",h,4688,a,C:\\\\p.exe\n",
            "SecurityEvent",
            "NewProcessName",
            r"C:\\p.exe",
        ),
        // The same as JSON, as people turn it into.
        (
            "query_data.json",
            r#"[{"TimeGenerated [UTC]":"3/10/2026, 9:00:00.500 AM","Computer":"h","EventID":"4688","Activity":"a","Type":"SecurityEvent"}]"#,
            "SecurityEvent",
            "Activity",
            "a",
        ),
        // `Type` names the table.
        (ANY_NAME, "TimeGenerated,UserPrincipalName,ResultType,Type\n2026-03-10T09:00:00.5Z,a@b.example,0,SigninLogs\n", "SigninLogs", "UserPrincipalName", "a@b.example"),
        // It is heard before the name of the file.
        (
            "SecurityEvent.csv",
            "TimeGenerated,UserPrincipalName,ResultType,Type\n2026-03-10T09:00:00.5Z,a@b.example,0,SigninLogs\n",
            "SigninLogs",
            "UserPrincipalName",
            "a@b.example",
        ),
        ("SigninLogs.csv", "TimeGenerated,UserPrincipalName,Type\n2026-03-10T09:00:00.5Z,a@b.example,interactive\n", "SigninLogs", "UserPrincipalName", "a@b.example"),
        // Nearly every column is one of `DeviceEvents`, too; the action says which it is.
        ("hits.csv", "Timestamp,DeviceName,ActionType,FileName\n\"Mar 10, 2026 9:00:00.5 AM\",h,ProcessCreated,p.exe\n", "DeviceProcessEvents", "FileName", "p.exe"),
        ("hits.csv", "Timestamp,DeviceName,ActionType,FileName\n2026-03-10T09:00:00.5Z,h,FileCreated,p.exe\n", "DeviceFileEvents", "FileName", "p.exe"),
        (
            "api.json",
            r#"{"Schema":[],"Results":[{"Timestamp":"2026-03-10T09:00:00.5Z","DeviceName":"h","FileName":"p.exe","ProcessCommandLine":"p"}]}"#,
            "DeviceProcessEvents",
            "FileName",
            "p.exe",
        ),
        (
            "answer.json",
            r#"{"tables":[{"name":"PrimaryResult","columns":[{"name":"TimeGenerated","type":"datetime"},{"name":"Computer","type":"string"},{"name":"Type","type":"string"}],"rows":[["2026-03-10T09:00:00.5Z","h","SecurityEvent"]]}]}"#,
            "SecurityEvent",
            "Computer",
            "h",
        ),
        (
            "kusto.json",
            r#"{"Tables":[{"TableName":"Table_0","Columns":[{"ColumnName":"Timestamp","DataType":"DateTime"},{"ColumnName":"DeviceName"},{"ColumnName":"RemoteUrl"},{"ColumnName":"RemotePort"}],"Rows":[["2026-03-10T09:00:00.5Z","h","x.example",443]]}]}"#,
            "DeviceNetworkEvents",
            "RemoteUrl",
            "x.example",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, text, table, column, value) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        assert_eq!((first(&harvest, table, column), harvest.problems.len()), (value.to_owned(), 0), "{text}: {:?}", harvest.problems);
        assert_eq!(first(&harvest, table, "TimeGenerated"), "639087300005000000".to_owned(), "{text}");
    }
}

/// Both versions of the answers of Azure Data Explorer have more than the result.
#[test]
fn what_comes_with_an_answer_is_no_row() {
    let table = r#""Columns":[{"ColumnName":"Timestamp","ColumnType":"datetime"},{"ColumnName":"DeviceName","ColumnType":"string"}],"Rows":[["2026-03-10T09:00:00.5Z","h"]]"#;
    let first_version = format!(
        r#"{{"Tables":[{{"TableName":"Table_0",{table}}},{{"TableName":"Table_1","Columns":[{{"ColumnName":"Value","DataType":"String"}}],"Rows":[["{{}}"]]}},{{"TableName":"Table_2","Columns":[{{"ColumnName":"Timestamp"}},{{"ColumnName":"Severity"}}],"Rows":[["2026-03-10T09:00:01Z",4]]}}]}}"#
    );
    let second_version = format!(
        r#"[{{"FrameType":"DataSetHeader","IsProgressive":false,"Version":"v2.0"}},{{"FrameType":"DataTable","TableId":0,"TableKind":"QueryProperties","TableName":"@ExtendedProperties","Columns":[{{"ColumnName":"TableId"}}],"Rows":[[1]]}},{{"FrameType":"DataTable","TableId":1,"TableKind":"PrimaryResult","TableName":"PrimaryResult",{table}}},{{"FrameType":"DataSetCompletion","HasErrors":false}}]"#
    );
    for text in [first_version, second_version] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("DeviceInfo.json");
        std::fs::write(&path, &text).unwrap();
        let harvest = read(&path);
        let rows: usize = harvest.tables.values().flatten().map(|batch| batch.num_rows()).sum();
        assert_eq!((first(&harvest, "DeviceInfo", "DeviceName"), rows, harvest.problems.len()), ("h".to_owned(), 1, 0), "{text}: {:?}", harvest.problems);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("DeviceInfo.json");
    std::fs::write(&path, r#"{"Timestamp":"2026-03-10T09:00:00Z","DeviceName":"h","FrameType":"Beacon"}"#).unwrap();
    assert_eq!(first(&read(&path), "DeviceInfo", "DeviceName"), "h", "a frame of something else is a record");
}

#[test]
fn columns_that_a_table_has_not_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "Timestamp,DeviceName,FileName,Type,MG,NewThing\n2026-03-10T09:00:00Z,h,p.exe,DeviceEvents,x,1\n";
    let json = r#"[{"Timestamp":"2026-03-10T09:00:00Z","deviceName":"h","Type":"DeviceEvents","Other":{"a":1},"Empty":"","_Own":1},{"Timestamp":"2026-03-10T09:00:00Z","Type":"DeviceInfo","More":2}]"#;
    let streamed = r#"{"time":"2026-03-10T09:00:00Z","tenantId":"t","category":"AdvancedHunting-DeviceEvents","properties":{"Timestamp":"2026-03-10T09:00:00Z","DeviceName":"h"}}"#;
    for (name, text) in [("a.csv", csv), ("b.json", json), ("c.json", streamed)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let harvest = read(folder.path());
    let told: Vec<(&str, Vec<&str>)> = harvest.left_out.iter().map(|(table, columns)| (*table, columns.iter().map(String::as_str).collect())).collect();
    assert_eq!(told, [("DeviceEvents", vec!["NewThing", "Other"]), ("DeviceInfo", vec!["More"])]);
    assert!(harvest.problems.is_empty(), "{:?}", harvest.problems);
}

#[test]
fn a_time_that_is_none_is_a_problem_and_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("a.csv", "Timestamp,DeviceName,RemoteUrl,RemotePort\n26/11/2026 15:04,h,x.example,443\n27/11/2026 15:04,h,y.example,443\n", Some("line 2"), 2, "its time is none"),
        ("b.json", r#"{"Timestamp":"yesterday","DeviceName":"h","RemoteUrl":"x.example","RemotePort":443}"#, Some("line 1"), 1, "its time is none"),
        ("c.csv", "TimeGenerated [Local Time],Computer,EventID,Activity\n\"3/10/2026, 9:00:00.500 AM\",h,4688,a\n", None, 1, "show times in UTC"),
        (
            "c.json",
            r#"{"Timestamp [Local Time]":"3/10/2026, 9:00:00.500 AM","DeviceName":"h","RemoteUrl":"x.example","RemotePort":443,"Type":"DeviceNetworkEvents"}"#,
            Some("line 1"),
            1,
            "show times in UTC",
        ),
        ("d.csv", "TimeGenerated,UserPrincipalName,AppDisplayName,ResultType\n2026-03-10T09:00:00Z,a@b.example,x,0\n", None, 1, "name the file after its table"),
    ];
    for (name, text, place, count, said) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let harvest = read(&path);
        let [problem] = &harvest.problems[..] else { panic!("{name}: {:?}", harvest.problems) };
        assert_eq!((problem.place.as_deref(), problem.count), (place, count), "{name}");
        assert!(problem.message.contains(said), "{name}: {}", problem.message);
        if place.is_some() {
            assert_eq!(first(&harvest, "DeviceNetworkEvents", "RemoteUrl"), "x.example", "{name}");
        }
    }
}
