//! Parquet as tools and services write it, and the folder that `ingest` makes.

mod common;

use arrow::array::{ArrayRef, Int32Array, MapBuilder, StringArray, StringBuilder, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use common::{text, vidette};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

fn all_of(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn column(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

/// 2024-05-01T00:00:00Z
fn time() -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![1_714_521_600_000_000]))
}

/// Writes a file of one row, and gives its path.
fn write<'c>(folder: &Path, name: &str, columns: impl IntoIterator<Item = (&'c str, ArrayRef)>) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut writer = parquet::arrow::ArrowWriter::try_new(std::fs::File::create(&path).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a row is written");
    writer.close().expect("a footer is written");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn a_hunt_over_parquet_alone_finds_its_own_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let columns = [
        ("Timestamp", time()),
        ("DeviceName", column("host.example")),
        ("ActionType", column("ConnectionSuccess")),
        ("RemoteUrl", column("pastebin.com")),
        ("InitiatingProcessFileName", column("powershell.exe")),
    ];
    let path = write(folder.path(), "DeviceNetworkEvents.parquet", columns);
    let output = vidette(&["hunt", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", all_of(&output));
    assert_eq!(text(&output.stdout).lines().count(), 2, "one of each rule: {}", all_of(&output));
    let times = vidette(&["query", "DeviceNetworkEvents | where Timestamp > ago(1h) | project same = Timestamp == TimeGenerated", &path]);
    assert_eq!(all_of(&times), "{\"same\":true}\n");
}

const RULE: &str = "
title: A program of the test
id: 00000000-0000-4000-8000-000000000001
logsource: {category: process_creation, product: windows}
detection: {selection: {Image|endswith: '\\curl.exe'}, condition: selection}
";

/// An export job of Log Analytics names the folder after the table. What its rows were are events to rules of every kind, before and
/// behind `ingest`, and once.
#[test]
fn exported_rows_of_a_log_are_the_events_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let columns = [
        ("TimeGenerated", time()),
        ("Computer", column("host.example")),
        ("EventID", Arc::new(Int32Array::from(vec![4688])) as ArrayRef),
        ("Channel", column("Security")),
        ("EventSourceName", column("Microsoft-Windows-Security-Auditing")),
        ("NewProcessName", column("C:\\Windows\\System32\\curl.exe")),
        ("CommandLine", column("curl https://api.dropboxapi.com")),
        ("EventRecordId", column("7")),
    ];
    let export = write(folder.path(), "am-SecurityEvent/PT1H.parquet", columns);
    let rule = folder.path().join("rule.yml");
    std::fs::write(&rule, RULE).expect("written");
    let store = folder.path().join("store").to_str().expect("a plain path").to_owned();
    let ingested = vidette(&["ingest", &export, "--to", &store]);
    assert_eq!(ingested.status.code(), Some(0), "{}", all_of(&ingested));
    for place in [&export, &store] {
        let query = "union SecurityEvent, DeviceProcessEvents | project Type, CommandLine = coalesce(CommandLine, ProcessCommandLine) | sort by Type asc";
        let rows = ["DeviceProcessEvents", "SecurityEvent"].map(|table| format!("{{\"Type\":\"{table}\",\"CommandLine\":\"curl https://api.dropboxapi.com\"}}\n"));
        assert_eq!(all_of(&vidette(&["query", query, place])), rows.concat(), "{place}");
        let alerts = vidette(&["hunt", place, "--rules", rule.to_str().expect("a plain path")]);
        assert_eq!(text(&alerts.stdout).lines().count(), 1, "{place}: {}", all_of(&alerts));
    }
}

/// Rows that Defender exported are asked by Sigma rules as such; rows that `ingest` made of events are not, the events are.
#[test]
fn a_folder_tells_rows_that_it_was_given_from_those_that_it_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let event = r#"{"Event":{"System":{"Provider":{"Name":"Microsoft-Windows-Sysmon"},"EventID":1,"TimeCreated":{"SystemTime":"2026-03-10T09:00:00Z"},"EventRecordID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"h"},"EventData":{"Image":"C:\\curl.exe","CommandLine":"curl a"}}}"#;
    std::fs::write(folder.path().join("events.jsonl"), event).expect("written");
    let row = "Timestamp,DeviceName,ActionType,FileName,FolderPath,ProcessCommandLine\n2026-03-10T09:00:01Z,other,ProcessCreated,curl.exe,C:\\curl.exe,curl b\n";
    std::fs::write(folder.path().join("DeviceProcessEvents.csv"), row).expect("written");
    let rule = folder.path().join("rule.yml");
    std::fs::write(&rule, RULE).expect("written");
    let place = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let ingested = vidette(&["ingest", &place("events.jsonl"), &place("DeviceProcessEvents.csv"), "--to", &place("store")]);
    assert_eq!(ingested.status.code(), Some(0), "{}", all_of(&ingested));
    let alerts = vidette(&["hunt", &place("store"), "--rules", &place("rule.yml")]);
    let hosts = ["Z\",\"Computer\":\"h\"", "\"DeviceName\":\"other\""].map(|host| text(&alerts.stdout).matches(host).count());
    assert_eq!((hosts, text(&alerts.stdout).lines().count()), ([1, 1], 2), "{}", all_of(&alerts));
}

#[test]
fn columns_of_any_arrow_type_have_one_of_kusto() {
    let folder = tempfile::tempdir().expect("a folder");
    let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let nested = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int32, true)), number), (Arc::new(Field::new("t", time().data_type().clone(), true)), time())]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("key");
    map.values().append_value("a \"value\"");
    map.append(true).expect("as many keys as values");
    let columns = [
        ("s", Arc::new(nested) as ArrayRef),
        ("m", Arc::new(map.finish())),
        ("d", Arc::new(Time64MicrosecondArray::from(vec![3_600_000_000]))),
        // The keywords of an audit success. As a long they have no value.
        ("u", Arc::new(UInt64Array::from(vec![0x8020_0000_0000_0000]))),
    ];
    let path = write(folder.path(), "things.parquet", columns);
    let answer = vidette(&["query", "things | project n = s.n, t = todatetime(s.t), m = tostring(m.key), d, lost = isnull(u)", &path]);
    assert_eq!(all_of(&answer), "{\"n\":1,\"t\":\"2024-05-01T00:00:00.0000000Z\",\"m\":\"a \\\"value\\\"\",\"d\":\"01:00:00\",\"lost\":true}\n");
}

/// A file of three row groups, a thousand rows each, of whose second one the middle of the named column is overwritten.
fn damaged(folder: &Path, name: &str, column: &str) -> String {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
    let numbers = || (0..3000_u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let texts = |prefix: &str| -> ArrayRef { Arc::new(numbers().map(|number| Some(format!("{prefix}{number:016x}"))).collect::<StringArray>()) };
    let times = TimestampMicrosecondArray::from_iter_values((0..3000).map(|at| 1_714_521_600_000_000 + at));
    let batch = [("TimeGenerated", Arc::new(times) as ArrayRef), ("Computer", texts("host")), ("Provider", texts("provider"))];
    let batch = RecordBatch::try_from_iter(batch).expect("columns of one length");
    let plain = parquet::file::properties::WriterProperties::builder().set_dictionary_enabled(false).set_compression(parquet::basic::Compression::SNAPPY);
    let properties = plain.set_max_row_group_row_count(Some(1000)).build();
    let mut writer = parquet::arrow::ArrowWriter::try_new(std::fs::File::create(&path).expect("a file"), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
    let reader = SerializedFileReader::new(std::fs::File::open(&path).expect("the file")).expect("a footer");
    let group = reader.metadata().row_group(1).clone();
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column).expect("the column");
    let (from, length) = chunk.byte_range();
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes[(from + length / 2) as usize..][..100].fill(0xff);
    std::fs::write(&path, bytes).expect("written");
    path.to_str().expect("a plain path").to_owned()
}

/// A damaged page costs the rows of its row group, and the file is named; columns that are whole are read.
#[test]
fn a_damaged_row_group_is_passed_over_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = damaged(folder.path(), "WindowsEvent.parquet", "Computer");
    let run = |query: &str| vidette(&["query", query, &path]);
    let damage = format!("skipped: {path}: row group 2, rows 1001 to 2000: Computer is damaged");
    for query in [
        "WindowsEvent | where strlen(Computer) == 20 | count",
        "WindowsEvent | summarize Count = dcount(Computer, 4) + 0 * dcount(Provider) | project Count = bin(Count, 1000)",
        "WindowsEvent | where Computer startswith 'host' | join kind=inner (WindowsEvent | project Provider, Computer) on Computer | count",
    ] {
        let output = run(query);
        assert_eq!(output.status.code(), Some(3), "{query}: {}", all_of(&output));
        assert_eq!(text(&output.stdout), "{\"Count\":2000}\n", "{query}: {}", all_of(&output));
        assert!(text(&output.stderr).starts_with(&damage), "{query}: {}", all_of(&output));
        assert_eq!(text(&output.stderr).lines().count(), 1, "told once: {query}: {}", all_of(&output));
    }
    assert_eq!(all_of(&run("WindowsEvent | where strlen(Provider) > 1 | count")), "{\"Count\":3000}\n");
    for command in [&["hunt"][..], &["coverage"], &["query", "WindowsEvent | where Computer startswith 'host' | count"]] {
        let output = vidette(&[command, &[&path]].concat());
        assert_eq!((output.status.code(), text(&output.stderr).contains(&format!("skipped: {path}: row "))), (Some(3), true), "{command:?}: {}", all_of(&output));
    }
    // A mistake of the query's is not the file's.
    let wrong = run("WindowsEvent | where strlen(Provider) > 1 | where assert(strlen(Provider) == 1, 'of another length') | count");
    assert_eq!((wrong.status.code(), text(&wrong.stderr).contains("skipped")), (Some(2), false), "{}", all_of(&wrong));
}

/// Of a damaged export of a log the other row groups become events.
#[test]
fn a_damaged_export_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = damaged(folder.path(), "WindowsEvent/export.parquet", "Computer");
    let store = folder.path().join("store").to_str().expect("a plain path").to_owned();
    let ingested = vidette(&["ingest", &path, "--to", &store]);
    assert_eq!(ingested.status.code(), Some(3), "{}", all_of(&ingested));
    assert!(text(&ingested.stderr).contains(&format!("{path}: row 1001 (row group 2): ")), "{}", all_of(&ingested));
    assert_eq!(text(&vidette(&["query", "WindowsEvent | count", &store]).stdout), "{\"Count\":2000}\n");
}
