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
    let harvest = harvest(&[path], &Normalizer::new(|_, _| true), Reading { keep: Keep::Rows { memory_bytes: 0 }, ..Reading::default() }, &mut |_| {}).expect("the path exists");
    assert!(harvest.tables.is_empty(), "nothing may stay in memory");
    let spill = harvest.spilled.as_ref().expect("rows were spilled");
    let (files, _) = spill.files()["DeviceNetworkEvents"].clone();
    let file = &files[0];
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    // One row in a Defender table, one each in Event and WindowsEvent.
    assert_eq!((rows, harvest.rows), (1, 6));
    drop(harvest);
    assert!(!file.exists());
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
    assert!(harvest.problems[0].place.as_deref() == Some("line 2") && harvest.problems[0].message.contains("no record is that long"), "{:?}", harvest.problems);
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
    let path = folder.path().join("bomb.zip");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    archive.start_file("good.jsonl", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(SYSMON_3.as_bytes()).unwrap();
    archive.start_file("bomb.json", zip::write::SimpleFileOptions::default().large_file(true)).unwrap();
    let blanks = vec![b' '; 1 << 20];
    (0..1025).for_each(|_| archive.write_all(&blanks).unwrap());
    archive.finish().unwrap();
    let harvest = read(&path);
    assert_eq!(harvest.events_read, 1);
    assert!(harvest.problems[0].message.contains("taken for a bomb"), "{:?}", harvest.problems);
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
