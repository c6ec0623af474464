//! A folder of Parquet files that grows by whole steps: `Table/day=2026-03-10/part-….parquet`, and `rows-….parquet` of what were rows
//! before.
//!
//! What a step reads is first written beside the tables, in a hidden folder. When all of it is on disk, a mark says so, and
//! its files move to their places; a step without its mark never happened, one with it is completed by whoever comes next.
//! `.vidette/ingested.jsonl` lists the files that were read, `.vidette/seen.bin` the events.

use crate::error::Error;
use crate::harvest::Origin;
use crate::schemas::{ColumnSchema, ColumnType, TABLES, TableSchema};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampNanosecondArray, UInt32Array};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use hashbrown::HashSet;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

/// Rows that wait for more of their day.
const WAITING_BYTES: usize = 96 << 20;
/// Small enough that a minute of a busy day can be pruned.
const ROW_GROUP_ROWS: usize = 65_536;
const TICKS_PER_DAY: i64 = 864_000_000_000;
/// The mark of a step that is complete.
const COMPLETE: &str = "COMPLETE";
const HIDDEN: &str = ".vidette";
const STEP: &str = ".vidette-step-";

fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// A file that was read, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ingested {
    path: PathBuf,
    bytes: u64,
    modified_ns: u64,
}

impl Ingested {
    fn of(path: &Path) -> Option<Ingested> {
        let path = path.canonicalize().ok()?;
        let meta = fs::metadata(&path).ok()?;
        let modified = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Ingested { bytes: meta.len(), modified_ns: u64::try_from(modified.as_nanos()).unwrap_or_default(), path })
    }
}

/// Events that were read before, by host, channel, record id and time.
#[derive(Debug, Default)]
pub struct Seen {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    events: HashSet<u128>,
    fresh: Vec<u128>,
    repeated: u64,
}

impl Seen {
    /// Whether the event is new. One without a record id or a time always is.
    pub(crate) fn is_new(&self, event: &crate::Event) -> bool {
        use std::hash::BuildHasher;
        if event.record_id == 0 || event.created_ticks.is_none() {
            return true;
        }
        let half = |seed: u64| {
            let state = foldhash::quality::FixedState::with_seed(seed);
            u128::from(state.hash_one((event.computer.as_ref(), event.channel.as_ref(), event.record_id, event.created_ticks)))
        };
        let key = half(1) << 64 | half(2);
        let Ok(mut known) = self.known.lock() else { return true };
        let new = known.events.insert(key);
        if new {
            known.fresh.push(key);
        } else {
            known.repeated += 1;
        }
        new
    }

    /// Events that were there before.
    pub fn repeated(&self) -> u64 {
        self.known.lock().map_or(0, |known| known.repeated)
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    ingested: HashMap<PathBuf, Ingested>,
    pub seen: Seen,
    /// Locked while the store is open: two writers would take each other's steps for crashed ones.
    _lock: File,
}

impl Store {
    /// Opens the folder, makes it where it is not there, and completes or drops what a run before left.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or another process writes to it.
    pub fn open(folder: &Path) -> Result<Store, Error> {
        let hidden = folder.join(HIDDEN);
        at(&hidden, fs::create_dir_all(&hidden))?;
        let lock = at(&hidden, File::create(hidden.join("lock")))?;
        if lock.try_lock().is_err() {
            return Err(Error::Io { path: folder.to_owned(), source: std::io::Error::other("another process writes to this folder") });
        }
        for entry in at(folder, fs::read_dir(folder))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(STEP) {
                complete(folder, &entry.path())?;
            }
        }
        let mut ingested = HashMap::new();
        if let Ok(file) = File::open(hidden.join("ingested.jsonl")) {
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                if let Ok(file) = serde_json::from_str::<Ingested>(&line) {
                    ingested.insert(file.path.clone(), file);
                }
            }
        }
        let mut known = Known::default();
        if let Ok(mut file) = File::open(hidden.join("seen.bin")) {
            let mut bytes = Vec::new();
            at(&hidden, file.read_to_end(&mut bytes))?;
            known.events.extend(bytes.as_chunks::<16>().0.iter().map(|key| u128::from_le_bytes(*key)));
        }
        Ok(Store { folder: folder.to_owned(), ingested, seen: Seen { known: Mutex::new(known) }, _lock: lock })
    }

    /// Whether the file was read, and has not changed since.
    pub fn has(&self, file: &Path) -> bool {
        Ingested::of(file).is_some_and(|now| self.ingested.get(&now.path) == Some(&now))
    }

    /// Begins a step.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn step(&self) -> Result<Step, Error> {
        let made = tempfile::Builder::new().prefix(STEP).tempdir_in(&self.folder);
        Ok(Step { folder: at(&self.folder, made)?.keep(), waiting: BTreeMap::new(), bytes: 0, parts: 0, written_bytes: 0 })
    }

    /// Ends a step that read these files: what it wrote is part of the store, all of it or nothing.
    ///
    /// # Errors
    /// When something cannot be written; the next opening of the store drops the step.
    pub fn commit(&mut self, mut step: Step, files: &[PathBuf]) -> Result<u64, Error> {
        while !step.waiting.is_empty() {
            step.write_largest()?;
        }
        let mut lines = String::new();
        for file in files.iter().filter_map(|file| Ingested::of(file)) {
            lines.push_str(&serde_json::to_string(&file).unwrap_or_default());
            lines.push('\n');
            self.ingested.insert(file.path.clone(), file);
        }
        let fresh = self.seen.known.lock().map(|mut known| std::mem::take(&mut known.fresh)).unwrap_or_default();
        let keys: Vec<u8> = fresh.iter().flat_map(|key| key.to_le_bytes()).collect();
        write(&step.folder.join("ingested.jsonl"), lines.as_bytes())?;
        write(&step.folder.join("seen.bin"), &keys)?;
        write(&step.folder.join(COMPLETE), b"")?;
        complete(&self.folder, &step.folder)?;
        Ok(step.written_bytes)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = at(path, File::create(path))?;
    at(path, file.write_all(bytes))?;
    at(path, file.sync_all())
}

/// Moves the files of a complete step to their places; drops one that is not.
fn complete(folder: &Path, step: &Path) -> Result<(), Error> {
    if step.join(COMPLETE).exists() {
        let tables = at(step, fs::read_dir(step))?.flatten().filter(|entry| entry.path().is_dir());
        for table in tables {
            for day in at(step, fs::read_dir(table.path()))?.flatten() {
                let place = folder.join(table.file_name()).join(day.file_name());
                at(&place, fs::create_dir_all(&place))?;
                for part in at(step, fs::read_dir(day.path()))?.flatten() {
                    let to = place.join(part.file_name());
                    at(&to, fs::rename(part.path(), &to))?;
                }
            }
        }
        for name in ["seen.bin", "ingested.jsonl"] {
            let (from, to) = (step.join(name), folder.join(HIDDEN).join(name));
            let bytes = at(&from, fs::read(&from))?;
            let mut file = at(&to, OpenOptions::new().create(true).append(true).open(&to))?;
            at(&to, file.write_all(&bytes).and_then(|()| file.sync_all()))?;
        }
    }
    at(step, fs::remove_dir_all(step))
}

/// Rows of one table and one day.
struct Day {
    table: &'static TableSchema,
    day: i64,
    origin: Origin,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

/// What is written between two states of the store.
pub struct Step {
    folder: PathBuf,
    /// By table name, day and origin.
    waiting: BTreeMap<(&'static str, i64, Origin), Day>,
    bytes: usize,
    parts: usize,
    written_bytes: u64,
}

impl Step {
    /// Takes rows in; they are written when there are enough of their day.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn take(&mut self, table: &'static TableSchema, origin: Origin, batch: &RecordBatch) -> Result<(), Error> {
        let times = time_column(table, batch);
        let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            // Rows without a time are of the first day there is.
            let day = times.as_ref().filter(|times| times.is_valid(row)).map_or(0, |times| times.value(row).div_euclid(TICKS_PER_DAY));
            days.entry(day).or_default().push(row as u32);
        }
        for (day, rows) in days {
            let part = take_record_batch(batch, &UInt32Array::from(rows))?;
            // Parts share the dictionaries of the batch: counted once for each, they would be written too early.
            let bytes = batch.get_array_memory_size() * part.num_rows() / batch.num_rows().max(1);
            let waiting = self.waiting.entry((table.name, day, origin)).or_insert_with(|| Day { table, day, origin, batches: Vec::new(), bytes: 0 });
            waiting.batches.push(part);
            waiting.bytes += bytes;
            self.bytes += bytes;
        }
        while self.bytes > WAITING_BYTES {
            self.write_largest()?;
        }
        Ok(())
    }

    fn write_largest(&mut self) -> Result<(), Error> {
        let Some(key) = self.waiting.iter().max_by_key(|(_, day)| day.bytes).map(|(key, _)| *key) else { return Ok(()) };
        let Some(day) = self.waiting.remove(&key) else { return Ok(()) };
        self.bytes -= day.bytes;
        self.parts += 1;
        let folder = self.folder.join(day.table.name).join(format!("day={}", day_name(day.day)));
        at(&folder, fs::create_dir_all(&folder))?;
        // The step's own random name keeps its parts apart from those of others.
        let step = self.folder.file_name().map(|name| name.to_string_lossy().trim_start_matches(STEP).to_owned()).unwrap_or_default();
        let path = folder.join(format!("{}{step}-{:05}.parquet", prefix(day.origin), self.parts));
        let all = concat_batches(&day.batches[0].schema(), &day.batches)?;
        let sorted = match time_column(day.table, &all) {
            Some(times) => take_record_batch(&all, &sort_to_indices(&times, None, None)?)?,
            None => all,
        };
        let sorted = with_timestamps(day.table, &sorted)?;
        let level = ZstdLevel::try_new(3).map_err(Error::from)?;
        let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
        for column in day.table.columns.iter().filter(|column| !prunes(column)) {
            properties = properties.set_column_statistics_enabled(column.name.into(), EnabledStatistics::None);
        }
        for (column, _) in day.table.columns.iter().zip(sorted.columns()).filter(|(_, values)| value_bytes(values.as_ref()) < COMPRESSED_BYTES) {
            properties = properties.set_column_compression(column.name.into(), Compression::UNCOMPRESSED);
        }
        let file = at(&path, File::create(&path))?;
        let mut writer = ArrowWriter::try_new(file, sorted.schema(), Some(properties.build()))?;
        writer.write(&sorted)?;
        let file = writer.into_inner()?;
        at(&path, file.sync_all())?;
        self.written_bytes += at(&path, file.metadata())?.len();
        Ok(())
    }
}

/// Columns of fewer bytes are written as they are: to set up a compressor, for each column of each file, and one more to read
/// it, costs more than they hold.
const COMPRESSED_BYTES: usize = 1024;

/// How many bytes the values take, those of a dictionary once.
fn value_bytes(values: &dyn Array) -> usize {
    match values.data_type() {
        _ if values.null_count() == values.len() => 0,
        DataType::Dictionary(..) => {
            let Some(dictionary) = values.as_dictionary_opt::<Int32Type>() else { return usize::MAX };
            let Some(texts) = dictionary.values().as_string_opt::<i32>() else { return usize::MAX };
            let mut used = vec![false; texts.len()];
            dictionary.keys_iter().flatten().for_each(|key| used[key] = true);
            (0..texts.len()).filter(|key| used[*key]).map(|key| texts.value(key).len()).sum()
        }
        DataType::Utf8View => values.as_string_view().lengths().map(|length| length as usize).sum(),
        ty => values.len() * ty.primitive_width().unwrap_or(1),
    }
}

/// Whether the least and the greatest value of a column tell anything. Those of long texts that begin alike do not, and cost more than
/// all else in writing.
fn prunes(column: &ColumnSchema) -> bool {
    column.ty != ColumnType::Dynamic && !["EventData", "ParameterXml", "CommandLine"].iter().any(|long| column.name.ends_with(long))
}

fn time_column(table: &TableSchema, batch: &RecordBatch) -> Option<Int64Array> {
    let position = table.position("TimeGenerated").or_else(|| table.position("Timestamp"))?;
    batch.column(position).as_primitive_opt::<Int64Type>().cloned()
}

/// `2026-03-10` of days since 0001-01-01.
fn day_name(day: i64) -> String {
    let date = i32::try_from(day).ok().and_then(|day| jiff::civil::Date::constant(1, 1, 1).checked_add(jiff::Span::new().days(day)).ok());
    date.map_or_else(|| "0001-01-01".to_owned(), |date| date.to_string())
}

fn prefix(origin: Origin) -> &'static str {
    match origin {
        Origin::Events => "part-",
        Origin::Rows => "rows-",
    }
}

/// The table of a file that a [`Step`] wrote, and where its rows come from, by its path; `None` of any other.
pub(crate) fn part(path: &Path) -> Option<(&'static str, Origin)> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (file, day) = (name(path)?, path.parent()?);
    let origin = [Origin::Events, Origin::Rows].into_iter().find(|origin| file.starts_with(prefix(*origin)))?;
    let table = name(day)?.starts_with("day=").then(|| TABLES.get(name(day.parent()?)?.as_str())).flatten()?;
    Some((table.name, origin))
}

/// Whether the rows of the file, which a [`Step`] wrote, were made of events.
pub fn is_made_of_events(path: &Path) -> bool {
    part(path).is_some_and(|(_, origin)| origin == Origin::Events)
}

/// Whether each event that a [`Step`] wrote has a row in the file.
pub fn is_event_of_store(path: &Path) -> bool {
    part(path) == Some(("WindowsEvent", Origin::Events))
}

/// Times as every reader of Parquet knows them. A time before 1678 or after 2262 has no such form, and becomes null.
fn with_timestamps(table: &TableSchema, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let ty = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let (mut fields, mut columns): (Vec<_>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    let documented = table.documented();
    for (at, ((field, column), schema)) in batch.schema().fields().iter().zip(batch.columns()).zip(table.columns.iter()).enumerate() {
        if schema.ty == ColumnType::DateTime {
            let ticks = column.as_primitive::<Int64Type>();
            let nanoseconds = ticks.iter().map(|ticks| ticks?.checked_sub(crate::event::UNIX_EPOCH_TICKS)?.checked_mul(100));
            let times: TimestampNanosecondArray = nanoseconds.collect();
            fields.push(Arc::new(field.as_ref().clone().with_data_type(ty.clone())));
            columns.push(Arc::new(times.with_timezone("UTC")));
        } else {
            // Of a column that is not documented nothing else tells the type.
            fields.push(if at < documented { field.clone() } else { Arc::new(schema.ty.mark(field)) });
            columns.push(column.clone());
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
