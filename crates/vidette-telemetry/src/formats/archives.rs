//! Files in files: compressed ones, and archives, whose members are unpacked one after another. What says that it is a bomb, or turns
//! out to be one, is a problem, and what was read before it stays.

use super::{Sink, read_stream};
use crate::error::Problem;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use zip::result::ZipError;

/// How deep archives may hold archives.
const NESTING_LIMIT: usize = 3;
/// A compressed stream may grow to this many bytes.
const STREAM_LIMIT_BYTES: u64 = 64 << 30;
/// A member of an archive may be so many times as long as what holds it; logs grow by ten or twenty.
const MEMBER_LIMIT_RATIO: u64 = 200;
/// A member of a small archive may have this many bytes.
const MEMBER_LEAST_LIMIT_BYTES: u64 = 1 << 30;

/// A dictionary of xz and 7z may take so much memory; the largest that their presets make takes a quarter of it.
const DICTIONARY_LIMIT_KIB: u32 = 256 << 10;

type Input = Box<dyn BufRead + Send>;

pub(super) fn read_gzip(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    nested(path, Box::new(flate2::read::MultiGzDecoder::new(input)), sink)
}

pub(super) fn read_zstd(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|error| Problem::file(path, error.to_string()))?;
    nested(path, Box::new(decoder), sink)
}

pub(super) fn read_bzip2(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    nested(path, Box::new(bzip2::bufread::MultiBzDecoder::new(input)), sink)
}

pub(super) fn read_xz(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    nested(path, Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, DICTIONARY_LIMIT_KIB)), sink)
}

fn check_depth(path: &Path) -> Result<(), Problem> {
    let depth = path.to_string_lossy().matches('!').count();
    if depth < NESTING_LIMIT { Ok(()) } else { Err(Problem::file(path, format!("archives nested more than {NESTING_LIMIT} deep"))) }
}

/// Reads what a compressed file holds.
fn nested(path: &Path, input: Box<dyn Read + Send>, sink: &mut dyn Sink) -> Result<(), Problem> {
    check_depth(path)?;
    let inside = PathBuf::from(format!("{}!", path.display()));
    read_stream(&inside, Box::new(BufReader::with_capacity(1 << 16, Limited { input, left_bytes: STREAM_LIMIT_BYTES })), sink)
}

/// A stream that is an error beyond its limit.
struct Limited<R> {
    input: R,
    left_bytes: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.left_bytes = self.left_bytes.checked_sub(length as u64).ok_or_else(|| bomb("it goes on where it should have ended"))?;
        Ok(length)
    }
}

fn bomb(what: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::FileTooLarge, format!("{what}: taken for a bomb"))
}

/// Reads the member of an archive of a name that is not hidden, from a file of its own: a reader wants to own its input. Of one that is
/// cut off what there is of it is read.
fn member(path: &Path, name: &str, input: &mut dyn Read, said_bytes: u64, limit_bytes: u64, sink: &mut dyn Sink) {
    // As in folders.
    if name.split(['/', '\\']).any(|part| part.starts_with('.') && part.len() > 1) {
        return;
    }
    let inside = PathBuf::from(format!("{}!{name}", path.display().to_string().trim_end_matches('!')));
    let mut wrong = |error: std::io::Error| sink.problem(Problem::file(&inside, error.to_string()));
    if said_bytes >= limit_bytes {
        return wrong(bomb(&format!("unpacked it is over {} MiB, {MEMBER_LIMIT_RATIO} times its size", limit_bytes >> 20)));
    }
    let mut file = match tempfile::tempfile() {
        Ok(file) => file,
        Err(error) => return wrong(error),
    };
    if let Err(error) = std::io::copy(&mut Limited { input, left_bytes: limit_bytes }, &mut file) {
        let is_bomb = error.kind() == ErrorKind::FileTooLarge;
        wrong(error);
        if is_bomb || file.stream_position().is_ok_and(|length| length == 0) {
            return;
        }
    }
    if let Err(error) = file.rewind() {
        return wrong(error);
    }
    if let Err(problem) = read_stream(&inside, Box::new(BufReader::new(file)), sink) {
        sink.problem(problem);
    }
}

fn member_limit(packed_bytes: u64) -> u64 {
    packed_bytes.saturating_mul(MEMBER_LIMIT_RATIO).max(MEMBER_LEAST_LIMIT_BYTES)
}

/// The directory at the end of an archive needs a file to seek in.
fn seekable(mut input: Input) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut input, &mut file)?;
    file.rewind()?;
    Ok(file)
}

pub(super) fn read_zip(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    check_depth(path)?;
    let broken = |error: String| Problem::file(path, error);
    let mut archive = zip::ZipArchive::new(seekable(input).map_err(|error| broken(error.to_string()))?).map_err(|error| broken(error.to_string()))?;
    for index in 0..archive.len() {
        let mut entry = match archive.by_index(index) {
            Ok(entry) if entry.is_file() => entry,
            Ok(_) => continue,
            Err(error) => {
                let why = match error {
                    ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => "it is encrypted; unpack it with its password, and give what was in it".to_owned(),
                    other => other.to_string(),
                };
                sink.problem(broken(format!("member {index}: {why}")));
                continue;
            }
        };
        let name = entry.name().map_or_else(|_| format!("member {index}"), |name| name.into_owned());
        let (said_bytes, limit_bytes) = (entry.size(), member_limit(entry.compressed_size()));
        member(path, &name, &mut entry, said_bytes, limit_bytes, sink);
    }
    Ok(())
}

/// Also what is in a compressed stream, as most are.
pub(super) fn read_tar(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    check_depth(path)?;
    let broken = |error: std::io::Error| Problem::file(path, error.to_string());
    let outer = path.to_string_lossy();
    let packed_bytes = std::fs::metadata(outer.split('!').next().unwrap_or_default()).map_or(STREAM_LIMIT_BYTES, |meta| meta.len());
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries().map_err(broken)? {
        // Behind a broken header no other can be found.
        let mut entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_or_else(|_| "a member".to_owned(), |name| name.to_string_lossy().into_owned());
        let said_bytes = entry.size();
        member(path, &name, &mut entry, said_bytes, member_limit(packed_bytes), sink);
    }
    Ok(())
}

pub(super) fn read_7z(path: &Path, input: Input, sink: &mut dyn Sink) -> Result<(), Problem> {
    check_depth(path)?;
    let broken = |error: String| Problem::file(path, error);
    let file = seekable(input).map_err(|error| broken(error.to_string()))?;
    let packed_bytes = file.metadata().map_or(0, |meta| meta.len());
    let mut archive =
        sevenz_rust2::ArchiveReader::new_with_memory_limit(file, sevenz_rust2::Password::empty(), DICTIONARY_LIMIT_KIB as usize).map_err(|error| broken(error.to_string()))?;
    let read = archive.for_each_entries(|entry, input| {
        if !entry.is_directory() && entry.has_stream() {
            member(path, entry.name(), input, entry.size(), member_limit(packed_bytes), sink);
        }
        Ok(true)
    });
    read.map_err(|error| broken(error.to_string()))
}
