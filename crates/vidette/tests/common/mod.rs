//! The binary as a user runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn vidette(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vidette")).args(arguments).current_dir(root()).output().expect("the binary runs")
}

/// `vidette batch` with these lines on its standard input.
#[allow(dead_code, reason = "not every test asks it")]
pub fn batch(arguments: &[&str], lines: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    let mut child = command.arg("batch").args(arguments).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("the lines are written");
    child.wait_with_output().expect("it ends")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
