//! The packs are part of the binary: a file that is added to them changes it.

fn main() {
    println!("cargo:rerun-if-changed=../../packs");
}
