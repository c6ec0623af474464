//! The binary as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn vidette(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vidette")).args(arguments).current_dir(root()).output().expect("the binary runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
