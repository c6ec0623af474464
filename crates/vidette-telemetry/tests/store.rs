//! The folder of Parquet that `ingest` writes: whole steps, no event twice.

use arrow::array::Array;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::{Path, PathBuf};
use vidette_telemetry::{Harvest, Keep, Normalizer, Reading, Store, harvest};

fn event(record: u32, day: u32, computer: &str) -> String {
    format!(
        r#"{{"Event":{{"System":{{"Provider":{{"Name":"Microsoft-Windows-Sysmon"}},"EventID":11,"TimeCreated":{{"SystemTime":"2026-03-{day:02}T09:00:00.1234567Z"}},"EventRecordID":{record},"Channel":"Sysmon","Computer":"{computer}"}},"EventData":{{"Image":"C:\\a.exe","TargetFilename":"C:\\file-{record}.txt"}}}}}}"#
    )
}

/// Reads the files into the store, in one step.
fn ingest(store: &mut Store, files: &[PathBuf]) -> Harvest {
    let mut step = store.step().unwrap();
    let reading = Reading { keep: Keep::Hand(&mut |table, origin, batch| step.take(table, origin, &batch)), seen: Some(&store.seen), ..Reading::default() };
    let harvest = harvest(files, &Normalizer::new(|table, _| table == "DeviceFileEvents"), reading, &mut |_| {}).unwrap();
    store.commit(step, files).unwrap();
    harvest
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    parts.sort();
    parts
}

fn rows(folder: &Path) -> usize {
    parts(folder).iter().map(|part| ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(part).unwrap()).unwrap().metadata().file_metadata().num_rows() as usize).sum()
}

#[test]
fn rows_stand_by_table_and_day_in_the_order_of_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.jsonl");
    std::fs::write(&source, [event(3, 11, "h"), event(1, 10, "h"), event(2, 10, "h")].join("\n")).unwrap();
    let place = folder.path().join("store");
    let mut store = Store::open(&place).unwrap();
    ingest(&mut store, &[source]);
    let table = place.join("DeviceFileEvents");
    assert_eq!((rows(&table.join("day=2026-03-10")), rows(&table.join("day=2026-03-11"))), (2, 1));
    let part = parts(&table.join("day=2026-03-10")).remove(0);
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(part).unwrap()).unwrap().build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let times = batch.column_by_name("Timestamp").unwrap();
    assert_eq!(times.data_type().to_string(), r#"Timestamp(ns, "UTC")"#);
    let times = times.as_any().downcast_ref::<arrow::array::TimestampNanosecondArray>().unwrap();
    assert_eq!(times.value(0), "2026-03-10T09:00:00.1234567Z".parse::<jiff::Timestamp>().unwrap().as_nanosecond() as i64);
}

#[test]
fn what_was_read_before_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.jsonl"), folder.path().join("copy.jsonl"));
    std::fs::write(&first, [event(1, 10, "h"), event(2, 10, "h")].join("\n")).unwrap();
    // Another copy of the log, grown by one event; and the same number on another host.
    std::fs::write(&second, [event(1, 10, "h"), event(2, 10, "h"), event(3, 10, "h"), event(1, 10, "other")].join("\n")).unwrap();
    let place = folder.path().join("store");
    let mut store = Store::open(&place).unwrap();
    ingest(&mut store, std::slice::from_ref(&first));
    drop(store);
    let mut store = Store::open(&place).unwrap();
    assert!(store.has(&first) && !store.has(&second));
    ingest(&mut store, &[second]);
    assert_eq!((rows(&place.join("DeviceFileEvents/day=2026-03-10")), store.seen.repeated()), (4, 2));
    std::fs::write(&first, event(9, 10, "h")).unwrap();
    assert!(!store.has(&first), "a file that changed is read again");
}

#[test]
fn a_crash_leaves_a_whole_step_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.jsonl");
    std::fs::write(&source, event(1, 10, "h")).unwrap();
    let place = folder.path().join("store");
    let store = Store::open(&place).unwrap();
    assert!(Store::open(&place).unwrap_err().to_string().contains("another process writes"));
    let mut step = store.step().unwrap();
    let reading = Reading { keep: Keep::Hand(&mut |table, origin, batch| step.take(table, origin, &batch)), seen: Some(&store.seen), ..Reading::default() };
    harvest(std::slice::from_ref(&source), &Normalizer::new(|_, _| true), reading, &mut |_| {}).unwrap();
    // The process ends here: nothing was committed.
    drop((step, store));
    let mut store = Store::open(&place).unwrap();
    assert!(!place.join("DeviceFileEvents").exists() && !store.has(&source));
    ingest(&mut store, std::slice::from_ref(&source));
    drop(store);

    // A step that was complete, but not in its place yet, is put there by the next run.
    let step = place.join(".vidette-step-late");
    std::fs::create_dir_all(step.join("DeviceFileEvents/day=2026-03-10")).unwrap();
    let part = parts(&place.join("DeviceFileEvents/day=2026-03-10")).remove(0);
    std::fs::copy(&part, step.join("DeviceFileEvents/day=2026-03-10/part-late-00001.parquet")).unwrap();
    for name in ["seen.bin", "ingested.jsonl", "COMPLETE"] {
        std::fs::write(step.join(name), b"").unwrap();
    }
    Store::open(&place).unwrap();
    assert!(!step.exists());
    assert_eq!(rows(&place.join("DeviceFileEvents/day=2026-03-10")), 2);
}
