//! A file of any bytes, read as whatever its first ones say, to rows of every table.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use vidette_telemetry::{Normalizer, Reading, harvest};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join(format!("vidette-fuzz-{}", std::process::id())));
static ALL: LazyLock<Normalizer> = LazyLock::new(|| Normalizer::new(|_, _| true));

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("a temporary file");
    // Carving reads EVTX by the crate alone.
    let carve = bytes.last().is_some_and(|byte| byte % 4 == 3);
    harvest(&[FILE.clone()], &ALL, Reading { carve, ..Reading::default() }, &mut |_| {}).ok();
});
