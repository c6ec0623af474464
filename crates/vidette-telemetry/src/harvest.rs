//! A folder of files to tables: files in parallel, rows in batches, problems counted and named.

mod gathering;

use crate::context::Context;
use crate::error::{Error, Problem};
use crate::event::Event;
use crate::folders::files_under;
use crate::formats::{Part, Record, Sink, parts_of, read_file};
use crate::normalize::{Normalizer, TABLES_OF_LOGS, event_of};
use crate::row::Row;
use crate::schemas::TableSchema;
use crate::spill::Spill;
use crate::store::Seen;
use arrow::record_batch::RecordBatch;
use compact_str::CompactString;
use gathering::Gathering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Rows of one batch of a table that takes whole events: they are long.
const LANDED_ROWS: usize = 512;
/// Records a reader hands over at a time.
const PARCEL_ROWS: usize = 512;
/// Parcels that may wait however few readers there are, so that neither side waits for the other.
const LEAST_WAITING: usize = 16;
/// Bytes of finished rows that stay in memory.
const MEMORY_BUDGET_BYTES: usize = 64 << 20;

/// Takes rows of a table: those that were read as such, or those that were made of events.
pub type Taker<'a> = dyn FnMut(&'static TableSchema, Origin, RecordBatch) -> Result<(), Error> + 'a;

/// Where rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Events,
    Rows,
}

impl Origin {
    fn of(row: &Row) -> Origin {
        if row.links.given { Origin::Rows } else { Origin::Events }
    }
}

/// Gives the rows of a batch of the table that are worth keeping.
pub type Sieve<'a> = dyn Fn(&'static TableSchema, RecordBatch) -> RecordBatch + Sync + 'a;

/// What becomes of the rows.
pub enum Keep<'a> {
    /// Those that the sieve gives stay, beyond this many bytes in temporary Parquet files. A table that had rows stays, if
    /// without any.
    Rows { memory_bytes: usize, sieve: Option<&'a Sieve<'a>> },
    /// They are counted: [`Harvest::summaries`].
    Counts,
    /// They are handed over.
    Hand(&'a mut Taker<'a>),
}

impl<'a> Keep<'a> {
    fn counts(&self) -> bool {
        matches!(self, Keep::Counts)
    }

    fn sieve(&self) -> Option<&'a Sieve<'a>> {
        match self {
            Keep::Rows { sieve, .. } => *sieve,
            Keep::Counts | Keep::Hand(_) => None,
        }
    }
}

impl Default for Keep<'_> {
    fn default() -> Self {
        Keep::Rows { memory_bytes: MEMORY_BUDGET_BYTES, sieve: None }
    }
}

/// Looks at what one reader reads, as it is read.
pub trait Watcher {
    /// Whether the data of the event are worth reading, by its system part.
    fn wants(&self, event: &Event) -> bool;
    fn event(&mut self, event: &Event);
}

/// Gives every reader, on its own thread, its watcher; one that is dropped has seen all that there is.
pub type Watch<'a> = dyn Fn() -> Box<dyn Watcher + 'a> + Sync + 'a;

/// How files are read.
#[derive(Default)]
pub struct Reading<'a> {
    pub keep: Keep<'a>,
    /// Events that are in here are left out; the others are put in.
    pub seen: Option<&'a Seen>,
    /// Whether deleted records in the unused space of EVTX chunks are looked for.
    pub carve: bool,
    pub watch: Option<&'a Watch<'a>>,
    /// Whether queries read Parquet files themselves: [`Harvest::parquet`]. Else those of known tables are read as all files are.
    pub direct_parquet: bool,
}

/// The rows of one table.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub rows: u64,
    pub first_ticks: Option<i64>,
    pub last_ticks: Option<i64>,
    /// The names of the devices, up to a million.
    pub devices: HashSet<CompactString>,
}

const DEVICES_LIMIT: usize = 1_000_000;

impl Summary {
    fn count(&mut self, row: &Row) {
        self.rows += 1;
        let time = row.links.time_ticks;
        if time > 0 {
            self.first_ticks = Some(self.first_ticks.map_or(time, |first| first.min(time)));
            self.last_ticks = self.last_ticks.max(Some(time));
        }
        if !row.links.host.is_empty() && self.devices.len() < DEVICES_LIMIT && !self.devices.contains(&row.links.host) {
            self.devices.insert(row.links.host.clone());
        }
    }

    pub fn merge(&mut self, other: Summary) {
        self.rows += other.rows;
        self.first_ticks = [self.first_ticks, other.first_ticks].into_iter().flatten().min();
        self.last_ticks = self.last_ticks.max(other.last_ticks);
        self.devices.extend(other.devices);
    }
}

/// Everything read.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Rows by table name, as many as the memory budget holds.
    pub tables: BTreeMap<&'static str, Vec<RecordBatch>>,
    /// The rows beyond the budget: temporary Parquet files, gone with the harvest.
    pub spilled: Option<Spill>,
    /// Parquet files, to be read by queries directly.
    pub parquet: Vec<PathBuf>,
    pub problems: Vec<Problem>,
    pub files_read: usize,
    /// Files of no format that is read, found in folders and archives.
    pub other_files: usize,
    /// By table, columns that files have and the table has not.
    pub left_out: BTreeMap<&'static str, BTreeSet<String>>,
    pub events_read: u64,
    pub rows: u64,
    /// Process creations that two logs reported; one row was kept.
    pub repeated: u64,
    /// Time of the newest event or row, in ticks.
    pub newest_ticks: Option<i64>,
    pub oldest_ticks: Option<i64>,
    /// Events by provider and id.
    pub signals: BTreeMap<(String, u32), u64>,
    /// What rows each table got, kept or not.
    pub summaries: BTreeMap<&'static str, Summary>,
    /// The hours, counted from 0001-01-01, that have rows.
    hours: BTreeSet<i64>,
}

const TICKS_PER_HOUR: i64 = 36_000_000_000;

impl Harvest {
    /// Files and records that could not be read.
    pub fn skipped(&self) -> u64 {
        self.problems.iter().map(|problem| problem.count).sum()
    }

    /// Whether an hour that touches the interval has rows.
    pub fn has_events_between(&self, start_ticks: i64, end_ticks: i64) -> bool {
        self.hours.range(start_ticks.div_euclid(TICKS_PER_HOUR)..=end_ticks.div_euclid(TICKS_PER_HOUR)).next().is_some()
    }

    /// Notes the times of rows that queries read directly from files.
    pub fn cover(&mut self, ticks: impl IntoIterator<Item = i64>) {
        let mut before = None;
        for time in ticks {
            let hour = time.div_euclid(TICKS_PER_HOUR);
            if before != Some(hour) {
                self.hours.insert(hour);
                before = Some(hour);
            }
            self.newest_ticks = self.newest_ticks.max(Some(time));
            self.oldest_ticks = Some(self.oldest_ticks.map_or(time, |oldest| oldest.min(time)));
        }
    }

    /// Notes that rows are somewhere between two times.
    pub fn cover_between(&mut self, first_ticks: i64, last_ticks: i64) {
        self.cover([first_ticks, last_ticks]);
        self.hours.extend(first_ticks.div_euclid(TICKS_PER_HOUR)..last_ticks.div_euclid(TICKS_PER_HOUR));
    }

    /// The end of the newest hour with rows that begins before the instant.
    pub fn newest_before(&self, ticks: i64) -> Option<i64> {
        self.hours.range(..=ticks.div_euclid(TICKS_PER_HOUR)).next_back().map(|hour| (hour + 1) * TICKS_PER_HOUR - 1)
    }
}

/// How far the reading is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub files_done: usize,
    pub files: usize,
    pub events: u64,
}

/// What a reader hands over.
#[derive(Default)]
struct Parcel {
    /// Rows that other events may tell more about.
    rows: Vec<Row>,
    /// Rows that are complete.
    batches: Vec<Landed>,
    context: Context,
    problems: Vec<Problem>,
    parquet: Vec<PathBuf>,
    events: u64,
    /// Events by provider and id.
    signals: Vec<((String, u32), u64)>,
    newest_ticks: Option<i64>,
    file_done: bool,
    file_failed: bool,
    other_files: usize,
    left_out: BTreeMap<&'static str, BTreeSet<String>>,
}

/// A batch, and the times of its rows.
struct Landed {
    table: &'static TableSchema,
    origin: Origin,
    batch: Option<Result<RecordBatch, Error>>,
    summary: Summary,
    times: Vec<i64>,
}

impl Parcel {
    fn count(&mut self, event: &Event) {
        match self.signals.iter_mut().find(|((provider, id), _)| *id == event.event_id && *provider == event.provider) {
            Some((_, count)) => *count += 1,
            None => self.signals.push(((event.provider.to_string(), event.event_id), 1)),
        }
    }
}

/// A file, or the part of one that a reader takes at a time.
struct Unit<'a> {
    file: &'a Path,
    /// The user named it: whatever it is, it is to be read.
    named: bool,
    part: Option<Part>,
    /// How many units of the file are unread.
    left: &'a AtomicUsize,
}

/// Reads all files under the paths; `-` is the standard input. Directories are walked, links are followed once. The
/// normalizer says which tables are wanted.
///
/// # Errors
/// When a path does not exist, or the temporary files cannot be written. What is wrong inside the files is in
/// `Harvest::problems`.
pub fn harvest(paths: &[PathBuf], normalizer: &Normalizer, reading: Reading, progress: &mut dyn FnMut(Progress)) -> Result<Harvest, Error> {
    let (files, problems) = files_under(paths)?;
    let mut harvest = harvest_files(files, paths, normalizer, reading, progress)?;
    harvest.problems.splice(0..0, problems);
    Ok(harvest)
}

/// As [`harvest()`], of files that were found before; those among `named` must be of a format that is read.
///
/// # Errors
/// As of [`harvest()`].
pub fn harvest_files(files: Vec<PathBuf>, named: &[PathBuf], normalizer: &Normalizer, reading: Reading, progress: &mut dyn FnMut(Progress)) -> Result<Harvest, Error> {
    let mut result = Harvest::default();
    let total = files.len();
    let files: Vec<(PathBuf, Vec<Part>, AtomicUsize)> = files
        .into_iter()
        .map(|file| {
            let parts = parts_of(&file);
            let left = AtomicUsize::new(parts.len().max(1));
            (file, parts, left)
        })
        .collect();
    let units: Vec<Unit> = files
        .iter()
        .flat_map(|(file, parts, left)| {
            let parts: Vec<Option<Part>> = if parts.is_empty() { vec![None] } else { parts.iter().cloned().map(Some).collect() };
            let named = named.contains(file);
            parts.into_iter().map(move |part| Unit { file, named, part, left })
        })
        .collect();
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(units.len().max(1));
    let (sender, receiver) = sync_channel::<Parcel>((workers * 2).max(LEAST_WAITING));
    let (units, next) = (&units, &next);
    let Reading { keep, seen, carve, watch, direct_parquet } = reading;
    let (counts, sieve) = (keep.counts(), keep.sieve());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut reader = Reader {
                    sender: &sender,
                    normalizer,
                    seen,
                    carve,
                    counts,
                    sieve,
                    watcher: watch.map(|watch| watch()),
                    direct_parquet,
                    parcel: Parcel::default(),
                    landed: Vec::new(),
                    fresh: Vec::new(),
                    open: true,
                };
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    read_one(unit, &mut reader);
                }
                sender.send(Parcel { batches: reader.landed.drain(..).map(|rows| land(rows, normalizer, counts, sieve)).collect(), ..Parcel::default() }).ok();
            });
        }
        drop(sender);
        let mut gathering = Gathering::new(&mut result, normalizer, keep);
        let mut state = Progress { files: total, ..Progress::default() };
        for parcel in receiver {
            state.files_done += usize::from(parcel.file_done);
            state.events += parcel.events;
            progress(state);
            gathering.take(parcel)?;
        }
        gathering.finish()
    })?;
    Ok(result)
}

fn read_one(unit: &Unit, reader: &mut Reader) {
    // A reader of untrusted bytes must not take the hunt down with it.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_file(unit.file, unit.part.as_ref(), reader)));
    let mut parcel = std::mem::take(&mut reader.parcel);
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(problem)) if problem.is_of_other_kind && !unit.named => {
            parcel.file_failed = true;
            parcel.other_files += 1;
        }
        Ok(Err(problem)) => {
            parcel.file_failed = problem.place.is_none();
            parcel.problems.push(problem);
        }
        Err(_) => parcel.problems.push(Problem::file(unit.file, "the reader gave up; this is a bug")),
    }
    parcel.file_done = unit.left.fetch_sub(1, Ordering::Relaxed) == 1;
    reader.sender.send(parcel).ok();
}

struct Reader<'a> {
    sender: &'a SyncSender<Parcel>,
    normalizer: &'a Normalizer,
    seen: Option<&'a Seen>,
    carve: bool,
    /// Rows are counted and let go.
    counts: bool,
    sieve: Option<&'a Sieve<'a>>,
    watcher: Option<Box<dyn Watcher + 'a>>,
    direct_parquet: bool,
    parcel: Parcel,
    /// Complete rows, by table, that do not make a batch yet.
    landed: Vec<Vec<Row>>,
    /// The complete rows of one record.
    fresh: Vec<Row>,
    open: bool,
}

/// Makes a batch of the rows, which are of one table and origin, unless they are only counted.
fn land(rows: Vec<Row>, normalizer: &Normalizer, counts: bool, sieve: Option<&Sieve>) -> Landed {
    let (table, origin) = (rows[0].table, Origin::of(&rows[0]));
    let mut summary = Summary::default();
    rows.iter().for_each(|row| summary.count(row));
    let times = rows.iter().map(|row| row.links.time_ticks).filter(|time| *time > 0).collect();
    let batch = (!counts).then(|| batch_of(table, &rows, normalizer, sieve));
    Landed { table, origin, batch, summary, times }
}

/// The rows that are worth keeping, as a batch.
fn batch_of(table: &'static TableSchema, rows: &[Row], normalizer: &Normalizer, sieve: Option<&Sieve>) -> Result<RecordBatch, Error> {
    let batch = normalizer.batch(table, rows)?;
    Ok(match sieve {
        Some(sieve) => sieve(table, batch),
        None => batch,
    })
}

impl Reader<'_> {
    /// Puts the complete rows of a record beside the others of their tables.
    fn land(&mut self) {
        for row in self.fresh.drain(..) {
            let at = self.landed.iter().position(|rows| rows[0].table.name == row.table.name && Origin::of(&rows[0]) == Origin::of(&row));
            let rows = match at {
                Some(at) => &mut self.landed[at],
                None => self.landed.push_mut(Vec::with_capacity(LANDED_ROWS)),
            };
            rows.push(row);
            if rows.len() == LANDED_ROWS {
                let full = at.map(|at| self.landed.swap_remove(at));
                self.parcel.batches.extend(full.map(|rows| land(rows, self.normalizer, self.counts, self.sieve)));
            }
        }
    }

    /// Takes the event that a row of a table of logs was made of, which lands nowhere: the row has landed. Its other rows may be
    /// `stored`, too.
    fn take_exported(&mut self, row: &Row, stored: bool) {
        let Some(event) = event_of(row, |event| self.wants(event)).filter(|event| self.seen.is_none_or(|seen| seen.is_new(event))) else { return };
        self.watched(&event);
        if !stored {
            self.normalizer.rows(&event, &mut self.parcel.rows, &mut self.parcel.context);
        }
        self.parcel.count(&event);
    }

    fn watched(&mut self, event: &Event) {
        if let Some(watcher) = self.watcher.as_mut().filter(|watcher| watcher.wants(event)) {
            watcher.event(event);
        }
    }

    fn send_when_full(&mut self) -> bool {
        if self.parcel.rows.len() >= PARCEL_ROWS || !self.parcel.batches.is_empty() || self.parcel.context.devices.is_full() {
            self.open = self.sender.send(std::mem::take(&mut self.parcel)).is_ok();
        }
        self.open
    }
}

impl Sink for Reader<'_> {
    fn wants(&self, event: &Event) -> bool {
        self.normalizer.wants(event) || self.watcher.as_ref().is_some_and(|watcher| watcher.wants(event))
    }

    fn record(&mut self, record: Record) -> bool {
        self.parcel.events += 1;
        match record {
            Record::Event(event) if self.seen.is_some_and(|seen| self.wants(&event) && !seen.is_new(&event)) => {}
            Record::Event(event) => {
                self.watched(&event);
                self.normalizer.rows(&event, &mut self.parcel.rows, &mut self.parcel.context);
                self.normalizer.landings(&event, &mut self.fresh);
                self.land();
                self.parcel.count(&event);
                self.parcel.newest_ticks = self.parcel.newest_ticks.max(event.created_ticks);
            }
            Record::Row(mut row) => {
                row.links.given = true;
                self.take_exported(&row, false);
                if self.normalizer.wants_table(row.table.name) {
                    if Context::may_enrich(row.table) {
                        self.parcel.rows.push(row);
                    } else {
                        self.fresh.push(row);
                        self.land();
                    }
                }
            }
            Record::Other => {}
        }
        self.send_when_full()
    }

    /// The same complaint about one file again only counts.
    fn problem(&mut self, problem: Problem) {
        if problem.is_of_other_kind {
            self.parcel.other_files += 1;
            return;
        }
        match self.parcel.problems.last_mut() {
            Some(last) if last.path == problem.path && last.message == problem.message => last.count += 1,
            _ => self.parcel.problems.push(problem),
        }
    }

    fn left_out(&mut self, table: &'static TableSchema, columns: Vec<String>) {
        if !columns.is_empty() && self.normalizer.wants_table(table.name) {
            self.parcel.left_out.entry(table.name).or_default().extend(columns);
        }
    }

    fn carves(&self) -> bool {
        self.carve
    }

    fn other(&self, path: &Path) -> Option<&'static TableSchema> {
        self.normalizer.other(path)
    }

    fn parquet(&mut self, path: PathBuf) {
        self.parcel.parquet.push(path);
    }

    fn reads(&self, table: &'static TableSchema) -> Option<&[bool]> {
        // What a row of a log was is told by all of its columns.
        if TABLES_OF_LOGS.contains(&table.name) {
            return None;
        }
        if self.normalizer.wants_table(table.name) { self.normalizer.made(table.name) } else { Some(&[]) }
    }

    fn reads_parquet(&self) -> bool {
        !self.direct_parquet
    }

    fn wants_exported(&self, stored: bool) -> bool {
        self.watcher.is_some() || !stored && self.normalizer.makes_rows()
    }

    fn exported(&mut self, row: &Row, stored: bool) -> bool {
        self.parcel.events += 1;
        self.take_exported(row, stored);
        self.send_when_full()
    }
}
