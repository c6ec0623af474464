//! The patterns of user agents are those of uap-core, which the crate `ua-parser` packages beside its code without
//! including them: they are written as JSON for `functions/user_agents.rs` to include.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let patterns = folder_of("ua-parser").join("uap-core/regexes.yaml");
    let text = std::fs::read_to_string(&patterns).unwrap_or_else(|error| panic!("{}: {error}", patterns.display()));
    let patterns: Value = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", patterns.display()));
    let to = PathBuf::from(variable("OUT_DIR")).join("user_agents.json");
    std::fs::write(&to, patterns.to_string()).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Where cargo keeps a dependency's source. Without the network first: what this build needs is there by now, though what
/// tests alone need may not be.
fn folder_of(package: &str) -> PathBuf {
    let metadata = |offline: &[&str]| {
        let output = Command::new(variable("CARGO"))
            .args(["metadata", "--format-version", "1", "--filter-platform", &variable("TARGET")])
            .args(offline)
            .output()
            .unwrap_or_else(|error| panic!("cargo metadata: {error}"));
        output.status.success().then_some(output.stdout).ok_or(output.stderr)
    };
    let stdout = metadata(&["--offline"]).or_else(|_| metadata(&[])).unwrap_or_else(|stderr| panic!("cargo metadata: {}", String::from_utf8_lossy(&stderr)));
    let metadata: Value = serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.filter(|found| found["name"] == package).find_map(|found| found["manifest_path"].as_str());
    let manifest = manifest.unwrap_or_else(|| panic!("cargo metadata names no package {package}"));
    Path::new(manifest).parent().unwrap_or(Path::new("")).to_owned()
}
