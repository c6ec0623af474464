//! Files of every shape into rows, and hostile files into problems.

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use std::io::Write;
use std::path::Path;
use vidette_telemetry::{Harvest, Keep, Normalizer, Reading, harvest};

fn read(path: &Path) -> Harvest {
    harvest(&[path.to_owned()], &Normalizer::new(|_, _| true), Reading::default(), &mut |_| {}).expect("the path exists")
}

fn texts(harvest: &Harvest, table: &str, column: &str) -> Vec<String> {
    let mut values = Vec::new();
    for batch in harvest.tables.get(table).into_iter().flatten() {
        let array = batch.column_by_name(column).expect("a known column").as_dictionary::<Int32Type>();
        let array = array.downcast_dict::<arrow::array::StringArray>().expect("text");
        values.extend(array.into_iter().map(|value| value.unwrap_or_default().to_owned()));
    }
    values
}

const SYSMON_3: &str = r##"{"Event":{"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Sysmon"}},"EventID":3,"TimeCreated":{"#attributes":{"SystemTime":"2026-03-10T09:00:00Z"}},"EventRecordID":7,"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"HOST.example"},"EventData":{"UtcTime":"2026-03-10 09:00:00.000","ProcessGuid":"{A1B2C307-3CDA-69AF-0000-001077270D00}","ProcessId":44,"Image":"C:\\Windows\\System32\\curl.exe","User":"D\\u","Protocol":"tcp","Initiated":"true","SourceIp":"10.0.0.5","SourcePort":50001,"DestinationIp":"104.20.67.143","DestinationHostname":"ptr.example","DestinationPort":443}}}"##;
const SYSMON_22: &str = r##"{"Event":{"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Sysmon"}},"EventID":22,"TimeCreated":{"#attributes":{"SystemTime":"2026-03-10T09:00:01Z"}},"EventRecordID":8,"Computer":"HOST.example"},"EventData":{"UtcTime":"2026-03-10 09:00:01.000","ProcessGuid":"{A1B2C307-3CDA-69AF-0000-001077270D00}","ProcessId":44,"QueryName":"pastebin.com","QueryStatus":"0","QueryResults":"type:  5 cname.example;::ffff:104.20.67.143;","Image":"C:\\Windows\\System32\\curl.exe","User":"D\\u"}}}"##;

#[test]
fn a_connection_is_named_by_the_dns_answer_of_its_process_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    for (file, lines) in [("before.jsonl", [SYSMON_22, SYSMON_3]), ("after.jsonl", [SYSMON_3, SYSMON_22])] {
        let path = folder.path().join(file);
        std::fs::write(&path, lines.join("\n")).unwrap();
        let harvest = read(&path);
        assert_eq!(texts(&harvest, "DeviceNetworkEvents", "RemoteUrl"), ["pastebin.com"], "{file}");
        assert_eq!(texts(&harvest, "DeviceNetworkEvents", "RemoteIPType"), ["Public"]);
        assert_eq!(texts(&harvest, "DeviceNetworkEvents", "DeviceName"), ["host.example"]);
        let bag = harvest.tables["DeviceNetworkEvents"][0].column_by_name("AdditionalFields").unwrap().as_string_view().value(0).to_owned();
        assert_eq!(bag, r#"{"PtrName":"ptr.example","UrlSource":"dns"}"#);
    }
}

#[test]
fn archives_are_read_through() {
    let folder = tempfile::tempdir().unwrap();
    let gzip = folder.path().join("a.json.gz");
    let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(&gzip).unwrap(), flate2::Compression::fast());
    encoder.write_all(SYSMON_3.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let zstd_file = folder.path().join("b.zst");
    std::fs::write(&zstd_file, zstd::encode_all(SYSMON_3.as_bytes(), 1).unwrap()).unwrap();
    let zip_file = folder.path().join("c.zip");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&zip_file).unwrap());
    archive.start_file("deep/c.jsonl", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(SYSMON_3.as_bytes()).unwrap();
    archive.finish().unwrap();
    let harvest = read(folder.path());
    assert_eq!((harvest.events_read, harvest.skipped()), (3, 0), "{:?}", harvest.problems);
    assert_eq!(texts(&harvest, "DeviceNetworkEvents", "Protocol").len(), 3);
}

/// Of other programs: Python's `tarfile` and `zipfile`, and py7zr; each holds the line above.
#[test]
fn archives_of_other_programs_are_read_through() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for (file, events) in [("event.tar.gz", 1), ("event.tar.bz2", 1), ("event.tar.xz", 1), ("event.7z", 1), ("event.zip", 2)] {
        let harvest = read(&folder.join(file));
        assert_eq!((harvest.events_read, harvest.skipped()), (events, 0), "{file}: {:?}", harvest.problems);
        assert_eq!(texts(&harvest, "DeviceNetworkEvents", "RemoteIP")[0], "104.20.67.143", "{file}");
        // What is cut off is a problem, and no panic.
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let cut = tempfile::tempdir().unwrap();
        let path = cut.path().join(file);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(&path).skipped() > 0, "{file}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("good.jsonl", SYSMON_3.as_bytes());
    write("half.jsonl", format!("{SYSMON_3}\n{{\"Event\": {{\n{SYSMON_22}\n").as_bytes());
    write("noise.evtx", b"ElfFile\0 but nothing more");
    write("picture.png", &[0x89, b'P', b'N', b'G', 1, 2, 3]);
    write("empty.json", b"");
    write("broken.zip", b"PK\x03\x04 not really");
    write("nest.json", "[".repeat(100_000).as_bytes());
    let harvest = read(folder.path());
    assert_eq!(harvest.events_read, 3);
    let mut named: Vec<String> = harvest.problems.iter().map(|problem| problem.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    named.sort();
    named.dedup();
    assert_eq!(named, ["broken.zip", "empty.json", "half.jsonl", "nest.json", "noise.evtx"]);
    assert_eq!(harvest.other_files, 1);
    assert_eq!(read(&folder.path().join("picture.png")).problems.len(), 1, "a file that is named is to be read");
}

#[test]
fn exports_keep_their_own_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.json");
    let row = r#"{"Results":[{"Timestamp":"2026-03-10T08:10:00.1234567Z","DeviceName":"h","ActionType":"ConnectionSuccess","RemoteUrl":"x.example","RemotePort":443,"AdditionalFields":"{\"a\":1}"}]}"#;
    std::fs::write(&path, row).unwrap();
    let harvest = read(&path);
    assert_eq!(texts(&harvest, "DeviceNetworkEvents", "RemoteUrl"), ["x.example"]);
    let batch = &harvest.tables["DeviceNetworkEvents"][0];
    let time = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<arrow::datatypes::Int64Type>().value(0);
    assert_eq!(time("Timestamp") % 10_000_000, 1_234_567);
    assert_eq!(time("Timestamp"), time("TimeGenerated"));
    assert_eq!(batch.column_by_name("AdditionalFields").unwrap().as_string_view().value(0), r#"{"a":1}"#);
}

#[test]
fn rows_beyond_the_budget_are_on_disk_until_the_harvest_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, [SYSMON_22, SYSMON_3].join("\n")).unwrap();
    let harvest =
        harvest(&[path], &Normalizer::new(|_, _| true), Reading { keep: Keep::Rows { memory_bytes: 0, sieve: None }, ..Reading::default() }, &mut |_| {}).expect("the path exists");
    assert!(harvest.tables.is_empty(), "nothing may stay in memory");
    let spill = harvest.spilled.as_ref().expect("rows were spilled");
    let (files, _) = spill.files()["DeviceNetworkEvents"].clone();
    let file = &files[0];
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    // Of each event one row in a Defender table, one in Event and one in WindowsEvent; two about the device.
    assert_eq!((rows, harvest.rows), (1, 8));
    drop(harvest);
    assert!(!file.exists());
}

#[test]
fn a_table_stays_whose_rows_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, [SYSMON_22, SYSMON_3].join("\n")).unwrap();
    let sieve = |table: &'static vidette_telemetry::schemas::TableSchema, batch: arrow::record_batch::RecordBatch| if table.name == "Event" { batch } else { batch.slice(0, 0) };
    let keep = Keep::Rows { memory_bytes: 1 << 20, sieve: Some(&sieve) };
    let harvest = harvest(&[path], &Normalizer::new(|_, _| true), Reading { keep, ..Reading::default() }, &mut |_| {}).expect("the path exists");
    let rows = |table: &str| harvest.tables[table].iter().map(|batch| batch.num_rows()).sum::<usize>();
    assert_eq!([rows("Event"), rows("WindowsEvent"), rows("DeviceNetworkEvents")], [2, 0, 0]);
    // What there was is told all the same.
    assert_eq!((harvest.rows, harvest.summaries["DeviceNetworkEvents"].rows), (8, 1));
    assert_eq!(harvest.newest_ticks, vidette_telemetry::parse_time("2026-03-10T09:00:01Z"));
}

#[test]
fn batches_hold_the_columns_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, [SYSMON_22, SYSMON_3].join("\n")).unwrap();
    let wanted = |table: &str| (table != "DeviceEvents").then(|| std::collections::BTreeSet::from(["RemoteIP".to_owned(), "Channel".to_owned()]));
    let normalizer = Normalizer::new(|_, _| true).with_columns(wanted);
    let harvest = harvest(&[path], &normalizer, Reading::default(), &mut |_| {}).expect("the path exists");
    let columns = |table: &str| -> Vec<String> { harvest.tables[table][0].schema().fields().iter().map(|field| field.name().clone()).collect() };
    assert_eq!(columns("DeviceNetworkEvents"), ["Timestamp", "RemoteIP", "TimeGenerated"]);
    assert_eq!(columns("WindowsEvent"), ["TimeGenerated", "Channel"]);
    assert!(columns("DeviceEvents").len() > 50, "all columns of a table of which all are asked for");
}

#[test]
fn a_long_line_is_read_record_by_record_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.json");
    let filler = format!(r#"{{"Timestamp":"2026-03-10T08:10:00Z","Type":"DeviceProcessEvents","DeviceName":"h","ProcessCommandLine":"{}"}}"#, "x".repeat(1 << 20));
    let wrapped = format!(r#"{{"count":20,"records":[{}]}}"#, vec![filler.as_str(); 20].join(","));
    let giant = format!(r#"{{"Event":{{"EventData":{{"a":"{}"}}}}}}"#, "y".repeat(17 << 20));
    std::fs::write(&path, [wrapped.as_str(), &giant, SYSMON_3].join("\n")).unwrap();
    let harvest = read(&path);
    assert_eq!((harvest.events_read, harvest.summaries["DeviceProcessEvents"].rows, harvest.summaries["DeviceNetworkEvents"].rows), (21, 20, 1));
    assert_eq!(harvest.problems.len(), 1, "{:?}", harvest.problems);
    assert!(
        harvest.problems[0].place.as_deref() == Some("line 1 behind byte 20973685") && harvest.problems[0].message.contains("no record is that long"),
        "{:?}",
        harvest.problems
    );
}

#[test]
fn a_long_file_of_csv_is_read_in_parts_record_by_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("DeviceNetworkEvents.csv");
    // Lines end within quotes, too, and what is in them looks like lines.
    let long = format!("\"{}\n2026-03-10T09:00:00Z,not,a,row\"", "x, \"\"y\"\" ".repeat(2_000));
    let mut text = b"Timestamp,DeviceName,RemoteUrl,InitiatingProcessCommandLine\n".to_vec();
    for number in 0..1_000 {
        text.extend_from_slice(format!("2026-03-10T09:00:00Z,h{},a{number}.example,{long}\n", number % 10).as_bytes());
    }
    text.extend_from_slice(b"2026-03-10T09:00:00Z,h,\xff,bad\nno time,h,last.example,x\n");
    std::fs::write(&path, &text).expect("written");
    assert!(text.len() > 16 << 20);
    let harvest = read(&path);
    let mut urls = texts(&harvest, "DeviceNetworkEvents", "RemoteUrl");
    urls.sort();
    urls.dedup();
    assert_eq!((harvest.rows, urls.len()), (1_001, 1_001));
    let problems: Vec<(&str, &str)> = harvest.problems.iter().filter_map(|problem| Some((problem.place.as_deref()?, problem.message.as_str()))).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].0 == "line 2002" && problems[0].1.contains("UTF-8"), "{problems:?}");
    assert_eq!(problems[1].0, "line 2003");

    // A quote that stays open takes what is behind it, not the memory of the machine.
    std::fs::write(&path, ["Timestamp,DeviceName\n2026-03-10T09:00:00Z,a\n2026-03-10T09:00:00Z,\"b", &"x,y\n".repeat(5 << 20)].concat()).expect("written");
    let harvest = read(&path);
    assert_eq!((harvest.rows, harvest.problems.len()), (1, 1));
    assert!(harvest.problems[0].place.as_deref() == Some("line 3") && harvest.problems[0].message.contains("is a quote left open?"), "{:?}", harvest.problems);
}

#[test]
fn a_document_over_several_lines_is_one_record_or_a_wrapper() {
    let folder = tempfile::tempdir().unwrap();
    let row = r#"{ "Timestamp": "2026-03-10T08:10:00Z",
 "Type": "DeviceProcessEvents", "value": "a field that is called so", "DeviceName": "h" }"#;
    let path = folder.path().join("document.json");
    std::fs::write(&path, format!("{row}\n{{\n\"Results\": [{row}, {row}]\n}}\n")).unwrap();
    assert_eq!(read(&path).summaries["DeviceProcessEvents"].rows, 3);
}

#[test]
fn a_bomb_is_told_and_left() {
    let folder = tempfile::tempdir().unwrap();
    const LENGTH_BYTES: u32 = 3_000_017;
    // The length that the archive says a member has: over a gigabyte, and less than comes.
    for (said_bytes, told) in [(1_100_000_000_u32, "over 1024 MiB, 200 times its size: taken for a bomb"), (1_000_003, "larger than its declared uncompressed size")] {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        archive.start_file("bomb.json", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&vec![b' '; LENGTH_BYTES as usize]).unwrap();
        archive.start_file("good.jsonl", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(SYSMON_3.as_bytes()).unwrap();
        let mut bytes = archive.finish().unwrap().into_inner();
        let places: Vec<usize> = bytes.windows(4).enumerate().filter(|(_, window)| *window == LENGTH_BYTES.to_le_bytes()).map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        places.iter().for_each(|at| bytes[*at..at + 4].copy_from_slice(&said_bytes.to_le_bytes()));
        let path = folder.path().join(format!("{said_bytes}.zip"));
        std::fs::write(&path, bytes).unwrap();
        let harvest = read(&path);
        assert_eq!(harvest.events_read, 1);
        assert!(harvest.problems[0].message.contains(told), "{:?}", harvest.problems);
    }
}

#[test]
fn a_byte_order_mark_alone_is_no_text() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("little", b"\xff\xfe".as_slice()), ("big", b"\xfe\xff"), ("zeros", b"{\0\0\0\0\0\0\0")] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).problems.len(), 1, "{name}");
    }
}

/// A record as `evtx_dump` writes it.
fn record(provider: &str, id: u32, time: &str, data: serde_json::Value) -> String {
    let system = serde_json::json!({"Provider": {"#attributes": {"Name": provider}}, "EventID": id, "EventRecordID": 1, "Computer": "HOST.example",
        "TimeCreated": {"#attributes": {"SystemTime": time}}});
    serde_json::json!({"Event": {"System": system, "EventData": data}}).to_string()
}

fn connection(initiated: bool, protocol: &str, source: (&str, u16), destination: (&str, u16)) -> String {
    let data = serde_json::json!({"Initiated": initiated.to_string(), "Protocol": protocol, "SourceIp": source.0, "SourcePort": source.1, "DestinationIp": destination.0, "DestinationPort": destination.1});
    record("Microsoft-Windows-Sysmon", 3, "2026-03-10T09:00:00Z", data)
}

#[test]
fn a_device_is_reported_for_every_hour_with_what_its_events_tell() {
    let folder = tempfile::tempdir().unwrap();
    let sysmon = "Microsoft-Windows-Sysmon";
    let first = [
        record("EventLog", 6009, "2026-03-10T08:10:00Z", serde_json::json!({"Data": {"#text": ["10.00.", "19045", "", "Multiprocessor Free", "0"]}})),
        record(sysmon, 1, "2026-03-10T08:20:00Z", serde_json::json!({"User": "CORP\\Alice", "TerminalSessionId": 2})),
        record(sysmon, 1, "2026-03-10T08:21:00Z", serde_json::json!({"User": "CORP\\backup", "TerminalSessionId": 0})),
        record(sysmon, 1, "2026-03-10T08:22:00Z", serde_json::json!({"User": "Window Manager\\DWM-2", "TerminalSessionId": 2})),
    ];
    let second = [
        connection(true, "tcp", ("10.0.0.5", 50001), ("104.20.67.143", 443)),
        connection(false, "udp", ("ff02::fb", 5353), ("fe80::1", 5353)),
        record(
            "Microsoft-Windows-Security-Auditing",
            4624,
            "2026-03-10T08:50:00Z",
            serde_json::json!({"LogonType": "2", "TargetDomainName": "CORP", "TargetUserName": "alice", "TargetUserSid": "S-1-5-21-1-2-3-1104"}),
        ),
        record("Microsoft-Windows-Security-Auditing", 4624, "2026-03-10T08:51:00Z", serde_json::json!({"LogonType": "3", "TargetDomainName": "CORP", "TargetUserName": "bob"})),
        record("Microsoft-Windows-NetworkProfile", 10000, "2026-03-10T09:30:00Z", serde_json::json!({"Name": "corp.example", "Description": "corp.example", "Category": "2"})),
    ];
    for (file, lines) in [("a.jsonl", &first[..]), ("b.jsonl", &second[..])] {
        std::fs::write(folder.path().join(file), lines.join("\n")).unwrap();
    }
    let harvest = read(folder.path());
    for (column, values) in [
        ("DeviceName", ["host.example"; 2]),
        ("OSPlatform", ["Windows10"; 2]),
        ("OSVersionInfo", ["22H2"; 2]),
        ("DeviceType", ["Workstation"; 2]),
        ("OnboardingStatus", ["Onboarded"; 2]),
    ] {
        assert_eq!(texts(&harvest, "DeviceInfo", column), values, "{column}");
    }
    let json = |table: &str, column: &str| -> Vec<String> {
        let array = harvest.tables[table][0].column_by_name(column).unwrap().as_string_view().clone();
        array.iter().map(|value| value.unwrap_or("null").to_owned()).collect()
    };
    assert_eq!(json("DeviceInfo", "LoggedOnUsers"), [r#"[{"UserName":"alice","DomainName":"CORP","Sid":"S-1-5-21-1-2-3-1104"}]"#, "null"]);
    assert_eq!(json("DeviceNetworkInfo", "IPAddresses"), [r#"[{"IPAddress":"10.0.0.5","AddressType":"Private"}]"#]);
    assert_eq!(json("DeviceNetworkInfo", "ConnectedNetworks"), [r#"[{"Name":"corp.example","Description":"corp.example","Category":"Domain"}]"#]);
    let times = harvest.tables["DeviceInfo"][0].column_by_name("Timestamp").unwrap().as_primitive::<arrow::datatypes::Int64Type>().clone();
    let expected = ["2026-03-10T08:51:00Z", "2026-03-10T09:30:00Z"].map(|time| vidette_telemetry::parse_time(time).unwrap());
    assert_eq!(times.values()[..], expected, "a row is of the last event of its hour");
}

#[test]
fn devices_are_reported_only_when_they_are_asked_for_and_whatever_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, [SYSMON_22, SYSMON_3].join("\n")).unwrap();
    for (asked, tables) in [("DeviceInfo", vec!["DeviceInfo"]), ("DeviceNetworkInfo", vec!["DeviceNetworkInfo"]), ("DeviceEvents", vec!["DeviceEvents"])] {
        let normalizer = Normalizer::new(move |table, _| table == asked);
        let harvest = harvest(std::slice::from_ref(&path), &normalizer, Reading::default(), &mut |_| {}).expect("the path exists");
        assert_eq!(harvest.tables.keys().copied().collect::<Vec<_>>(), tables);
    }
}

#[test]
fn more_devices_than_fit_are_reported_all_the_same() {
    const DEVICES: usize = 50_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let line =
        |at: usize| format!(r#"{{"Event":{{"System":{{"Provider":{{"Name":"P"}},"EventID":1,"TimeCreated":{{"SystemTime":"2026-03-10T08:00:00Z"}},"Computer":"H{at}"}}}}}}"#);
    std::fs::write(&path, (0..DEVICES).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let normalizer = Normalizer::new(|table, _| table == "DeviceInfo");
    let harvest = harvest(&[path], &normalizer, Reading { keep: Keep::Counts, ..Reading::default() }, &mut |_| {}).expect("the path exists");
    assert_eq!((harvest.summaries["DeviceInfo"].rows, harvest.summaries["DeviceInfo"].devices.len()), (DEVICES as u64, DEVICES));
}

#[test]
fn the_local_end_of_an_inbound_connection_is_the_one_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let (server, client) = ("10.0.0.5", "10.0.0.9");
    let lines = [
        connection(true, "tcp", (server, 50001), (client, 445)),
        connection(false, "tcp", (client, 50002), (server, 445)),
        connection(false, "tcp", (server, 445), (client, 45616)),
        connection(false, "udp", (server, 53), (client, 60001)),
        connection(false, "tcp", (client, 50003), (server, 49667)),
    ];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let harvest = read(&path);
    assert_eq!(texts(&harvest, "DeviceNetworkEvents", "LocalIP"), [server; 5]);
    assert_eq!(texts(&harvest, "DeviceNetworkEvents", "RemoteIP"), [client; 5]);
}

#[test]
fn rows_that_log_analytics_exported_are_the_events_they_were_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = |pairs: &[(&str, &str)]| {
        let fields: String = pairs.iter().map(|(name, value)| format!("<Data Name=\"{name}\">{value}</Data>")).collect();
        format!("<EventData xmlns=\"http://schemas.microsoft.com/win/2004/08/events/event\">{fields}</EventData>")
    };
    let sysmon = data(&[("UtcTime", "2026-03-10 09:00:00.000"), ("ProcessId", "44"), ("Image", r"C:\a\curl.exe"), ("DestinationIp", "104.20.67.143"), ("DestinationPort", "443")]);
    let event = serde_json::json!({"TimeGenerated": "2026-03-10T09:00:00Z", "Source": "Microsoft-Windows-Sysmon", "EventLog": "Microsoft-Windows-Sysmon/Operational",
        "Computer": "HOST.example", "EventID": 3, "EventData": format!("<DataItem type=\"System.XmlData\">{sysmon}</DataItem>"), "Type": "Event"});
    let security = "TimeGenerated [UTC],Computer,EventID,Activity,NewProcessName,NewProcessId,CommandLine,Type\n\
        \"3/10/2026, 9:00:00.000 AM\",HOST.example,4688,4688 - A new process has been created.,C:\\a\\curl.exe,0x2c,curl https://pastebin.com,SecurityEvent\n";
    let windows = serde_json::json!({"TimeGenerated": "2026-03-10T09:00:00Z", "Provider": "Service Control Manager", "Channel": "System", "Computer": "HOST.example",
        "EventID": 7045, "EventData": {"ServiceName": "s", "ImagePath": r"C:\a\s.exe"}, "Type": "WindowsEvent"});
    std::fs::write(folder.path().join("sysmon.jsonl"), event.to_string()).unwrap();
    std::fs::write(folder.path().join("query_data.csv"), security).unwrap();
    std::fs::write(folder.path().join("system.json"), windows.to_string()).unwrap();
    let harvest = read(folder.path());
    assert_eq!((harvest.events_read, harvest.skipped()), (3, 0), "{:?}", harvest.problems);
    assert_eq!(texts(&harvest, "DeviceNetworkEvents", "RemoteIP"), ["104.20.67.143"]);
    assert_eq!(texts(&harvest, "DeviceProcessEvents", "ProcessCommandLine"), ["curl https://pastebin.com"]);
    assert_eq!(texts(&harvest, "DeviceEvents", "ActionType"), ["ServiceInstalled"]);
    let rows = ["Event", "SecurityEvent", "WindowsEvent"].map(|table| harvest.tables[table].iter().map(|batch| batch.num_rows()).sum::<usize>());
    assert_eq!(rows, [1, 1, 1], "a row lands once");
}

/// The process that both logs report is one, however many rows lie between, whichever report comes first.
#[test]
fn a_process_of_two_logs_is_one_whatever_lies_between() {
    let at = |id: u32, line: String| line.replace("\"EventRecordID\":1,", &format!("\"EventRecordID\":{id},"));
    let guid = "{A1B2C307-3CDA-69AF-0000-001077270D00}";
    let security =
        at(1, record("Microsoft-Windows-Security-Auditing", 4688, "2026-03-10T09:00:00Z", serde_json::json!({"NewProcessId": "0x2c", "NewProcessName": "C:\\a\\curl.exe"})));
    let sysmon = at(2, record("Microsoft-Windows-Sysmon", 1, "2026-03-10T09:00:00.2Z", serde_json::json!({"ProcessGuid": guid, "ProcessId": "44", "Image": "C:\\a\\curl.exe"})));
    let file = |id: u32| {
        at(id, record("Microsoft-Windows-Sysmon", 11, "2026-03-10T09:05:00Z", serde_json::json!({"ProcessGuid": guid, "ProcessId": "44", "TargetFilename": format!("C:\\{id}")})))
    };
    let files: Vec<String> = (10..30_010).map(file).collect();
    let normalizer = Normalizer::new(|table, _| ["DeviceProcessEvents", "DeviceFileEvents"].contains(&table));
    for [first, last] in [[&security, &sysmon], [&sysmon, &security]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        archive.start_file("a.jsonl", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all([std::slice::from_ref(first), &files, std::slice::from_ref(last)].concat().join("\n").as_bytes()).unwrap();
        archive.finish().unwrap();
        let harvest = harvest(&[path], &normalizer, Reading { keep: Keep::Counts, ..Reading::default() }, &mut |_| {}).expect("the path exists");
        let rows = ["DeviceProcessEvents", "DeviceFileEvents"].map(|table| harvest.summaries[table].rows);
        assert_eq!((rows, harvest.repeated), ([1, 30_000], 1), "{:?}", harvest.problems);
    }
}
