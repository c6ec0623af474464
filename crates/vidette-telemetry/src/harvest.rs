//! A folder of files to tables: files in parallel, rows in batches, problems counted and named.

use crate::context::Context;
use crate::error::{Error, Problem};
use crate::event::Event;
use crate::formats::{Record, Sink, read_file};
use crate::normalize::Normalizer;
use crate::row::{Row, batch};
use crate::schemas::TableSchema;
use crate::spill::Spill;
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;
/// Rows that wait for events that tell more about them.
const PENDING_ROWS: usize = 24_576;
/// Records a reader hands over at a time.
const PARCEL_ROWS: usize = 1024;
/// Bytes of finished rows that stay in memory.
pub const MEMORY_BUDGET_BYTES: usize = 64 << 20;

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
    pub events_read: u64,
    pub rows: u64,
    /// Process creations that two logs reported; one row was kept.
    pub repeated: u64,
    /// Time of the newest event or row, in ticks.
    pub newest_ticks: Option<i64>,
    pub oldest_ticks: Option<i64>,
    /// Events by provider and id.
    pub signals: BTreeMap<(String, u32), u64>,
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
        for time in ticks {
            self.hours.insert(time.div_euclid(TICKS_PER_HOUR));
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
    rows: Vec<Row>,
    context: Context,
    problems: Vec<Problem>,
    parquet: Vec<PathBuf>,
    events: u64,
    /// Events by provider and id.
    signals: Vec<((String, u32), u64)>,
    newest_ticks: Option<i64>,
    file_done: bool,
    file_failed: bool,
}

impl Parcel {
    fn count(&mut self, event: &Event) {
        match self.signals.iter_mut().find(|((provider, id), _)| *id == event.event_id && *provider == event.provider) {
            Some((_, count)) => *count += 1,
            None => self.signals.push(((event.provider.to_string(), event.event_id), 1)),
        }
    }
}

/// Reads all files under the paths. Directories are walked, links are followed once. The
/// normalizer says which tables are wanted. Rows beyond `budget_bytes` go to temporary Parquet files.
///
/// # Errors
/// When a path does not exist, or the temporary files cannot be written. What is wrong inside the files is in
/// `Harvest::problems`.
pub fn harvest(paths: &[PathBuf], normalizer: &Normalizer, budget_bytes: usize, progress: &mut dyn FnMut(Progress)) -> Result<Harvest, Error> {
    let mut files = Vec::new();
    let mut result = Harvest::default();
    for path in paths {
        walk(path, &mut files, &mut result.problems, 0).map_err(|source| Error::Io { path: path.clone(), source })?;
    }
    files.sort();
    files.dedup();
    let total = files.len();
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(total.max(1));
    let (sender, receiver) = sync_channel::<Parcel>(workers * 4);
    let files = &files;
    let next = &next;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    read_one(file, normalizer, &sender);
                }
            });
        }
        drop(sender);
        let mut gathering = Gathering { result: &mut result, context: Context::default(), pending: Vec::new(), ready: BTreeMap::new(), room: budget_bytes };
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

fn read_one(path: &Path, normalizer: &Normalizer, sender: &SyncSender<Parcel>) {
    let mut reader = Reader { sender, normalizer, parcel: Parcel::default(), open: true };
    // A reader of untrusted bytes must not take the hunt down with it.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_file(path, &mut reader)));
    let mut parcel = std::mem::take(&mut reader.parcel);
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => {
            parcel.file_failed = problem.place.is_none();
            parcel.problems.push(problem);
        }
        Err(_) => parcel.problems.push(Problem::file(path, "the reader gave up; this is a bug")),
    }
    parcel.file_done = true;
    sender.send(parcel).ok();
}

struct Reader<'a> {
    sender: &'a SyncSender<Parcel>,
    normalizer: &'a Normalizer,
    parcel: Parcel,
    open: bool,
}

impl Reader<'_> {
    fn send_when_full(&mut self) -> bool {
        if self.parcel.rows.len() >= PARCEL_ROWS {
            self.open = self.sender.send(std::mem::take(&mut self.parcel)).is_ok();
        }
        self.open
    }
}

impl Sink for Reader<'_> {
    fn wants(&self, event: &Event) -> bool {
        self.normalizer.wants(event)
    }

    fn record(&mut self, record: Record) -> bool {
        self.parcel.events += 1;
        match record {
            Record::Event(event) => {
                self.normalizer.rows(&event, &mut self.parcel.rows, &mut self.parcel.context);
                self.parcel.count(&event);
                self.parcel.newest_ticks = self.parcel.newest_ticks.max(event.created_ticks);
            }
            Record::Row(row) if self.normalizer.wants_table(row.table.name) => self.parcel.rows.push(row),
            Record::Row(_) => {}
        }
        self.send_when_full()
    }

    /// The same complaint about one file again only counts.
    fn problem(&mut self, problem: Problem) {
        match self.parcel.problems.last_mut() {
            Some(last) if last.path == problem.path && last.message == problem.message => last.count += 1,
            _ => self.parcel.problems.push(problem),
        }
    }

    fn parquet(&mut self, path: PathBuf) {
        self.parcel.parquet.push(path);
    }
}

/// The one place where parcels meet.
struct Gathering<'a> {
    result: &'a mut Harvest,
    context: Context,
    pending: Vec<Row>,
    ready: BTreeMap<&'static str, (&'static TableSchema, Vec<Row>)>,
    /// Bytes that finished rows may still take.
    room: usize,
}

impl Gathering<'_> {
    fn take(&mut self, parcel: Parcel) -> Result<(), Error> {
        self.context.merge(parcel.context);
        self.result.problems.extend(parcel.problems);
        self.result.parquet.extend(parcel.parquet);
        self.result.events_read += parcel.events;
        self.result.files_read += usize::from(parcel.file_done && !parcel.file_failed);
        self.result.newest_ticks = self.result.newest_ticks.max(parcel.newest_ticks);
        for (signal, count) in parcel.signals {
            *self.result.signals.entry(signal).or_default() += count;
        }
        self.pending.extend(parcel.rows);
        if self.pending.len() > PENDING_ROWS {
            self.settle(PENDING_ROWS / 2)?;
        }
        Ok(())
    }

    /// Enriches the oldest waiting rows and puts them into batches.
    fn settle(&mut self, count: usize) -> Result<(), Error> {
        for mut row in self.pending.drain(..count.min(self.pending.len())) {
            if self.context.repeats(&row) {
                self.result.repeated += 1;
                continue;
            }
            self.context.enrich(&mut row);
            self.result.rows += 1;
            let time = row.links.time_ticks;
            if time > 0 {
                self.result.cover([time]);
            }
            let row_table = row.table;
            let (table, rows) = self.ready.entry(row_table.name).or_insert_with(|| (row_table, Vec::new()));
            rows.push(row);
            if rows.len() == BATCH_ROWS {
                let full = batch(table, rows)?;
                rows.clear();
                self.room = store(self.result, self.room, row_table, full)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.settle(usize::MAX)?;
        for (table, rows) in std::mem::take(&mut self.ready).into_values() {
            if !rows.is_empty() {
                self.room = store(self.result, self.room, table, batch(table, &rows)?)?;
            }
        }
        if let Some(spill) = &mut self.result.spilled {
            spill.finish()?;
        }
        Ok(())
    }
}

/// Keeps the batch in memory while there is room, else writes it to disk; gives the room that is left.
fn store(result: &mut Harvest, room: usize, table: &'static TableSchema, batch: RecordBatch) -> Result<usize, Error> {
    let bytes = batch.get_array_memory_size();
    if result.spilled.is_none() && bytes <= room {
        result.tables.entry(table.name).or_default().push(batch);
        return Ok(room - bytes);
    }
    if result.spilled.is_none() {
        result.spilled = Some(Spill::new()?);
    }
    if let Some(spill) = &mut result.spilled {
        spill.write(table.name, &batch)?;
    }
    Ok(0)
}

/// Folders deeper than this are a loop of links.
const DEPTH_LIMIT: usize = 64;

fn walk(path: &Path, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>, depth: usize) -> std::io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > DEPTH_LIMIT {
        problems.push(Problem::file(path, "folders nested too deep, perhaps a loop of links"));
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let linked_folder = entry.is_symlink() && entry.is_dir();
        if hidden || linked_folder {
            continue;
        }
        if let Err(error) = walk(&entry, files, problems, depth + 1) {
            problems.push(Problem::file(&entry, error.to_string()));
        }
    }
    Ok(())
}
