//! Where a long file of CSV may be cut: between records. A line ends a record when no quote is open, which all quotes before it tell.

use memchr::{memchr, memchr_iter, memchr2};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of records that one reader takes at a time.
const PART_BYTES: u64 = 4 << 20;

/// The records that begin in one of the parts of a file.
#[derive(Clone)]
pub(crate) struct RecordPart {
    number: usize,
    cuts: Arc<Cuts>,
}

impl RecordPart {
    pub(super) fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Where its records begin, and where those of the next part do: nowhere behind the last, for the file may grow.
    ///
    /// # Errors
    /// When the file cannot be read up to there.
    pub(super) fn bounds(&self) -> io::Result<(Cut, Option<Cut>)> {
        let end = self.number + 1;
        Ok((self.cuts.of(self.number)?, if end == self.cuts.count { None } else { Some(self.cuts.of(end)?) }))
    }
}

/// The parts of a file.
pub(super) fn parts(path: &Path, length_bytes: u64) -> Vec<RecordPart> {
    cut(path, length_bytes, PART_BYTES)
}

fn cut(path: &Path, length_bytes: u64, part_bytes: u64) -> Vec<RecordPart> {
    let count = usize::try_from(length_bytes.div_ceil(part_bytes)).unwrap_or(usize::MAX);
    let cuts = Arc::new(Cuts { path: path.to_owned(), count, part_bytes, found: Mutex::new((vec![Cut::default()], None)) });
    (0..count).map(|number| RecordPart { number, cuts: cuts.clone() }).collect()
}

/// Between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub byte: u64,
    /// How many lines end before it.
    pub line: u64,
}

/// The cuts of a file. They are found when somebody first asks for one, from the one before on.
struct Cuts {
    path: PathBuf,
    count: usize,
    part_bytes: u64,
    /// Those that are known, and the file as long as there are others.
    found: Mutex<(Vec<Cut>, Option<Scan>)>,
}

impl Cuts {
    fn of(&self, number: usize) -> io::Result<Cut> {
        let mut guard = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, open) = &mut *guard;
        while found.len() <= number {
            let scan = match open {
                Some(scan) => scan,
                None => open.insert(Scan::new(File::open(&self.path)?)),
            };
            found.push(scan.next(found.len() as u64 * self.part_bytes)?);
        }
        if found.len() == self.count {
            *open = None;
        }
        Ok(found[number])
    }
}

/// What the quotes up to a byte tell, as the crate csv reads them: one opens a field only as its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    Quoted,
    /// Behind a quote in a quoted field, which ends it unless another quote follows.
    AtQuote,
}

struct Scan {
    input: BufReader<File>,
    at: Cut,
    state: State,
    before: u8,
}

impl Scan {
    fn new(file: File) -> Scan {
        Scan { input: BufReader::with_capacity(1 << 18, file), at: Cut::default(), state: State::Plain, before: b'\n' }
    }

    /// The first cut at this byte or behind it; the end of the file when there is none.
    fn next(&mut self, least: u64) -> io::Result<Cut> {
        if self.at.byte == 0 && self.input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.take(3);
        }
        while !(self.at.byte >= least && self.state != State::Quoted && self.before == b'\n') {
            // A line that ends with the byte before is one, too.
            let plain = least.saturating_sub(self.at.byte + 1);
            let block = self.input.fill_buf()?;
            if block.is_empty() {
                break;
            }
            let taken = match usize::try_from(plain) {
                Ok(0) => self.state.pass_line(self.before, block),
                plain => self.state.pass(self.before, &block[..block.len().min(plain.unwrap_or(usize::MAX))]),
            };
            self.take(taken);
        }
        Ok(self.at)
    }

    fn take(&mut self, length: usize) {
        let block = &self.input.buffer()[..length];
        self.before = if self.at.byte == 0 && block == b"\xef\xbb\xbf" { b'\n' } else { block[length - 1] };
        self.at.line += memchr_iter(b'\n', block).count() as u64;
        self.at.byte += length as u64;
        self.input.consume(length);
    }
}

impl State {
    /// Passes all of a block, behind this byte. Gives its length.
    fn pass(&mut self, before: u8, block: &[u8]) -> usize {
        let mut at = 0;
        while at < block.len() {
            at = self.step(before, block, at, memchr(b'"', &block[at..]));
        }
        block.len()
    }

    /// Passes the rest of the line in which a block begins, or all of the block when that line ends no record. Gives how many bytes.
    fn pass_line(&mut self, before: u8, block: &[u8]) -> usize {
        let mut at = 0;
        while at < block.len() {
            let found = if *self == State::Quoted { memchr(b'"', &block[at..]) } else { memchr2(b'"', b'\n', &block[at..]) };
            if *self != State::Quoted
                && let Some(end) = found.filter(|found| block[at + found] == b'\n')
            {
                *self = State::Plain;
                return at + end + 1;
            }
            at = self.step(before, block, at, found);
        }
        block.len()
    }

    /// Passes the quote that was found next, so many bytes behind `at`, or else the block. Gives where it is then.
    fn step(&mut self, before: u8, block: &[u8], at: usize, found: Option<usize>) -> usize {
        let Some(quote) = found.map(|found| at + found) else {
            if *self == State::AtQuote {
                *self = State::Plain;
            }
            return block.len();
        };
        let before = if quote == 0 { before } else { block[quote - 1] };
        *self = match *self {
            State::Quoted => State::AtQuote,
            State::AtQuote if quote == at => State::Quoted,
            State::AtQuote | State::Plain if matches!(before, b',' | b'\n' | b'\r') => State::Quoted,
            State::AtQuote | State::Plain => State::Plain,
        };
        quote + 1
    }
}

/// The first record of a file, and what it is called.
pub(super) fn header(path: &Path) -> csv::Result<csv::StringRecord> {
    csv::ReaderBuilder::new().flexible(true).from_path(path)?.headers().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, SeekFrom};

    fn records(input: impl Read) -> Vec<csv::ByteRecord> {
        let reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(input);
        reader.into_byte_records().map(|record| record.expect("readable")).collect()
    }

    #[test]
    fn parts_have_the_records_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.csv");
        let mut random = fastrand::Rng::with_seed(1);
        let mut cut_within = 0;
        for round in 0..1_000 {
            let kinds: &[&[u8]] = if round % 2 == 0 { &[b"a", b"\"", b",", b"\n", b"\r\n"] } else { &[b"a", b"a", b"b,", b"\n", b"\"x\ny\"", b"\"\"\"\""] };
            let start: &[u8] = if round % 5 == 0 { b"\xef\xbb\xbf" } else { b"" };
            let text: Vec<u8> = start.iter().copied().chain((0..random.usize(1..40)).flat_map(|_| kinds[random.usize(0..kinds.len())].iter().copied())).collect();
            std::fs::write(&path, &text).expect("written");
            let parts = cut(&path, text.len() as u64, random.u64(1..9));
            let of_parts: Vec<_> = parts
                .iter()
                .flat_map(|part| {
                    let (start, end) = part.bounds().expect("bounds");
                    assert_eq!(start.line, text[..start.byte as usize].iter().filter(|byte| **byte == b'\n').count() as u64);
                    cut_within += usize::from(start.byte > 0 && start.byte < text.len() as u64);
                    let mut file = File::open(&path).expect("there");
                    io::Seek::seek(&mut file, SeekFrom::Start(start.byte)).expect("there");
                    records(file.take(end.map_or(u64::MAX, |end| end.byte - start.byte)))
                })
                .collect();
            assert_eq!(of_parts, records(File::open(&path).expect("there")), "{:?}", String::from_utf8_lossy(&text));
        }
        assert!(cut_within > 1_000, "{cut_within}");
    }

    /// What of a file is open is only what is read.
    #[test]
    fn a_file_is_closed_behind_its_last_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "a,b\n1,2\n3,4\n").expect("written");
        let parts = cut(&path, 12, 4);
        assert!(parts[0].bounds().is_ok() && parts[0].cuts.found.lock().expect("lock").1.is_some());
        assert_eq!(parts[2].bounds().expect("bounds"), (Cut { byte: 8, line: 2 }, None));
        assert!(parts[0].cuts.found.lock().expect("lock").1.is_none());
    }
}
