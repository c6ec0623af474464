//! The pack's own tests, and what the documentation says about them.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_pack_passes_its_tests_and_the_table_of_verdicts_is_what_they_gave() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = folder.path().join("verdicts.md");
    let output = Command::new(env!("CARGO_BIN_EXE_vidette")).args(["test", "packs/T1102.002", "--table"]).arg(&made).current_dir(root()).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", text.lines().filter(|line| !line.contains('✓')).collect::<Vec<_>>().join("\n"));
    let made = std::fs::read_to_string(made).expect("a table");
    let kept = root().join("docs/T1102.002-verdicts.md");
    if std::env::var_os("VIDETTE_BLESS").is_some() {
        std::fs::write(&kept, &made).expect("a file is written");
    }
    assert!(
        std::fs::read_to_string(&kept).ok().as_deref() == Some(&made),
        "docs/T1102.002-verdicts.md is not what the tests gave: VIDETTE_BLESS=1 cargo test -p vidette --test pack"
    );
}

/// A catalogue entry that no rule can use is an entry that protects nobody.
#[test]
fn the_catalogue_is_well_formed() {
    let text = std::fs::read_to_string(root().join("packs/T1102.002/WebServices.csv")).expect("the catalogue");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    assert_eq!(columns, ["Host", "Match", "Service", "Category", "Direction", "Kind", "Noise", "Clients", "Reviewed"]);
    let mut seen = std::collections::HashSet::new();
    for (line, record) in reader.records().enumerate() {
        let record = record.expect("a record");
        let at = format!("line {}: {record:?}", line + 2);
        let host = &record[0];
        let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(host.contains('.') && host.split('.').all(label), "a lower-case host name: {at}");
        assert!(seen.insert(host.to_owned()), "named twice: {at}");
        assert!(["suffix", "exact"].contains(&&record[1]), "Match: {at}");
        assert!(!record[2].is_empty() && !record[3].is_empty(), "Service and Category: {at}");
        assert!(["rw", "ro", "host", "tun"].contains(&&record[4]), "Direction: {at}");
        assert!(["web", "api", "webdav"].contains(&&record[5]), "Kind: {at}");
        assert!(["low", "med", "high"].contains(&&record[6]), "Noise: {at}");
        assert!(record[8].len() == 10 && record[8].starts_with("20"), "Reviewed is a day: {at}");
    }
    assert!(seen.len() >= 307);
}
