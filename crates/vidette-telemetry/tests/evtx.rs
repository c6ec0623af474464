//! EVTX files, whole and broken.

use std::borrow::Cow;
use std::path::Path;
use vidette_telemetry::{Event, Harvest, Keep, Normalizer, Reading, harvest, write_evtx};

const HEADER_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 65_536;

fn read(path: &Path) -> Harvest {
    let reading = Reading { keep: Keep::Counts, carve: true, ..Reading::default() };
    harvest(&[path.to_owned()], &Normalizer::new(|_, _| true), reading, &mut |_| {}).expect("the path exists")
}

/// File creations, a second apart; enough for several chunks.
fn events(count: u32) -> Vec<Event<'static>> {
    (0..count)
        .map(|number| Event {
            provider: "Microsoft-Windows-Sysmon".into(),
            event_id: 11,
            version: 2,
            level: 4,
            task: 11,
            keywords: "0x8000000000000000".into(),
            channel: "Microsoft-Windows-Sysmon/Operational".into(),
            computer: "HOST.example".into(),
            execution_process_id: 1234,
            execution_thread_id: 5678,
            user_sid: "S-1-5-18".into(),
            created_ticks: Some(639_086_400_000_000_000 + i64::from(number) * 10_000_000),
            data: [
                ("UtcTime", "-".to_owned()),
                ("Image", r"C:\Windows\explorer.exe".to_owned()),
                ("TargetFilename", format!("C:\\ü\\{number}\\{}.txt", "x".repeat(number as usize % 300))),
            ]
            .into_iter()
            .map(|(name, value)| (Cow::Borrowed(name), value.into()))
            .collect(),
            ..Event::default()
        })
        .collect()
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.evtx");
    let bytes = write_evtx(&events(1000)).unwrap();
    assert!((bytes.len() - HEADER_BYTES) / CHUNK_BYTES > 3, "several chunks");
    std::fs::write(&path, &bytes).unwrap();
    let harvest = read(&path);
    assert_eq!((harvest.events_read, harvest.skipped()), (1000, 0), "{:?}", harvest.problems);
    let summary = &harvest.summaries["DeviceFileEvents"];
    assert_eq!((summary.rows, summary.first_ticks, summary.last_ticks), (1000, Some(639_086_400_000_000_000), Some(639_086_400_000_000_000 + 999 * 10_000_000)));
    assert!(summary.devices.contains("host.example"));
    let again = Event { data: vec![("Data".into(), "x".repeat(40_000).into())], ..Event::default() };
    assert_eq!(write_evtx(&[again]), Err(0), "longer than a chunk");
}

/// Events of the chunks that no byte of which changed are all there.
fn check(path: &Path, bytes: &[u8], what: &str) -> Harvest {
    std::fs::write(path, bytes).unwrap();
    let harvest = read(path);
    let bug = harvest.problems.iter().find(|problem| problem.message.contains("this is a bug"));
    assert!(bug.is_none(), "{what}: {bug:?}");
    harvest
}

#[test]
fn a_file_cut_anywhere_gives_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.evtx");
    let bytes = write_evtx(&events(700)).unwrap();
    let mut before = 0;
    for length in (0..bytes.len()).step_by(4096) {
        let harvest = check(&path, &bytes[..length], &format!("{length} bytes"));
        assert!(harvest.events_read >= before || harvest.events_read == 0, "{length} bytes: {} events after {before}", harvest.events_read);
        before = harvest.events_read;
        let whole = length > HEADER_BYTES && (length - HEADER_BYTES).is_multiple_of(CHUNK_BYTES);
        assert!(whole || length == HEADER_BYTES || !harvest.problems.is_empty(), "{length} bytes: a loss that nobody tells");
    }
}

#[test]
fn flipped_bits_cost_no_more_than_their_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.evtx");
    let bytes = write_evtx(&events(150)).unwrap();
    let whole = check(&path, &bytes, "as written").events_read;
    let mut random = fastrand::Rng::with_seed(20_260_310);
    // `VIDETTE_FLIPS=10000` looks longer.
    let rounds = std::env::var("VIDETTE_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    for round in 0..rounds {
        let mut broken = bytes.clone();
        for _ in 0..=random.usize(0..4) {
            let at = random.usize(0..broken.len());
            broken[at] ^= 1 << random.u32(0..8);
        }
        let harvest = check(&path, &broken, &format!("round {round}"));
        // A size that grew makes the walk skip records; carving may find more than there were.
        assert!(harvest.events_read <= whole * 2, "round {round}: {} events of {whole}", harvest.events_read);
    }
}

#[test]
fn random_bytes_are_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noise.evtx");
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let length = random.usize(1..200_000);
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let magic: &[u8] = if round % 2 == 0 { b"ElfFile\0" } else { b"" };
        bytes.splice(0..0, magic.iter().copied());
        if round % 4 == 0 && bytes.len() > HEADER_BYTES + 8 {
            bytes[HEADER_BYTES..HEADER_BYTES + 8].copy_from_slice(b"ElfChnk\0");
        }
        check(&path, &bytes, &format!("round {round}"));
    }
}
