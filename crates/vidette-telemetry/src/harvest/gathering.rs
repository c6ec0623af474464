//! What all readers hand over, put together: rows enriched by what other events tell, in batches, in memory or on disk.

use super::{Harvest, Keep, LANDED_ROWS, Landed, Origin, Parcel, land};
use crate::context::Context;
use crate::error::{Error, Problem};
use crate::normalize::Normalizer;
use crate::row::Row;
use crate::schemas::TableSchema;
use crate::spill::Spill;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Rows of one batch.
const BATCH_ROWS: usize = 1024;
/// Batches of few rows that are put together, and bytes at which they are fewer.
const FEW_BATCHES: usize = 64;
const FEW_BYTES: usize = 8 << 20;
/// Rows that wait for events that tell more about them.
const PENDING_ROWS: usize = 24_576;
/// Rows that wait to the end for the event that would make them a repetition.
const UNDECIDED_ROWS: usize = 8_192;

/// Batches of few rows of a table.
struct Few {
    table: &'static TableSchema,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

/// The one place where parcels meet.
pub(super) struct Gathering<'a, 'k> {
    result: &'a mut Harvest,
    normalizer: &'a Normalizer,
    context: Context,
    pending: Vec<Row>,
    /// See [`UNDECIDED_ROWS`].
    undecided: Vec<Row>,
    /// Rows that are complete, by table.
    ready: BTreeMap<(&'static str, Origin), Vec<Row>>,
    /// Of them, each of one table, so many that they make a batch.
    full: Vec<Vec<Row>>,
    /// What a sieve left of batches, by table.
    few: BTreeMap<&'static str, Few>,
    /// As given, but for the bytes that were taken.
    keep: Keep<'k>,
}

impl<'a, 'k> Gathering<'a, 'k> {
    pub(super) fn new(result: &'a mut Harvest, normalizer: &'a Normalizer, keep: Keep<'k>) -> Self {
        Gathering {
            result,
            normalizer,
            context: Context::default(),
            pending: Vec::new(),
            undecided: Vec::new(),
            ready: BTreeMap::new(),
            full: Vec::new(),
            few: BTreeMap::new(),
            keep,
        }
    }

    pub(super) fn take(&mut self, parcel: Parcel) -> Result<(), Error> {
        self.context.merge(parcel.context);
        parcel.problems.into_iter().for_each(|problem| self.note(problem));
        self.result.parquet.extend(parcel.parquet);
        self.result.events_read += parcel.events;
        self.result.files_read += usize::from(parcel.file_done && !parcel.file_failed);
        self.result.other_files += parcel.other_files;
        for (table, columns) in parcel.left_out {
            self.result.left_out.entry(table).or_default().extend(columns);
        }
        self.result.newest_ticks = self.result.newest_ticks.max(parcel.newest_ticks);
        for (signal, count) in parcel.signals {
            *self.result.signals.entry(signal).or_default() += count;
        }
        parcel.batches.into_iter().try_for_each(|landed| self.take_landed(landed))?;
        self.pending.extend(parcel.rows);
        if self.pending.len() > PENDING_ROWS {
            self.settle(PENDING_ROWS / 2)?;
        }
        self.report_devices(false)
    }

    fn take_landed(&mut self, landed: Landed) -> Result<(), Error> {
        self.result.rows += landed.summary.rows;
        self.result.cover(landed.times);
        self.result.summaries.entry(landed.table.name).or_default().merge(landed.summary);
        landed.batch.map_or(Ok(()), |batch| self.store(landed.table, landed.origin, batch?))
    }

    /// The same complaint about another part of a file only counts.
    fn note(&mut self, problem: Problem) {
        const LOOKED_AT: usize = 64;
        let mut latest = self.result.problems.iter_mut().rev().take(LOOKED_AT);
        match latest.find(|known| known.path == problem.path && known.message == problem.message) {
            Some(known) => known.count += problem.count,
            None => self.result.problems.push(problem),
        }
    }

    /// Enriches the oldest waiting rows and puts them into batches.
    fn settle(&mut self, count: usize) -> Result<(), Error> {
        let mut pending = std::mem::take(&mut self.pending);
        let goes_on = count < pending.len();
        if !goes_on {
            pending.append(&mut self.undecided);
        }
        // Which reader was first must not show in the order of rows.
        pending.sort_by_key(|row| (row.links.time_ticks, row.links.record_id));
        for mut row in pending.drain(..count.min(pending.len())) {
            if self.context.repeats(&row) {
                self.result.repeated += 1;
                continue;
            }
            // The file that tells may be the last.
            if goes_on && self.undecided.len() < UNDECIDED_ROWS && Context::may_repeat(&row) {
                self.undecided.push(row);
                continue;
            }
            self.context.enrich(&mut row);
            self.put(row);
        }
        self.pending = pending;
        self.land()
    }

    /// What is known of the devices, as rows: of the oldest hours when there are too many, in the end of all.
    fn report_devices(&mut self, all: bool) -> Result<(), Error> {
        let rows = self.context.devices.rows(all);
        rows.into_iter().filter(|row| self.normalizer.wants_table(row.table.name)).for_each(|row| self.put(row));
        self.land()
    }

    /// Puts a row that is complete beside the others of its table.
    fn put(&mut self, row: Row) {
        let rows = self.ready.entry((row.table.name, Origin::of(&row))).or_default();
        rows.push(row);
        if rows.len() == BATCH_ROWS {
            self.full.push(std::mem::take(rows));
        }
    }

    /// Makes batches of the rows that are as many as one has.
    fn land(&mut self) -> Result<(), Error> {
        let (counts, sieve) = (self.keep.counts(), self.keep.sieve());
        let (full, normalizer) = (std::mem::take(&mut self.full), self.normalizer);
        let one = |rows| land(rows, normalizer, counts, sieve);
        // Who reads events keeps two cores busy; who reads rows waits for this one.
        let is_waited_for = full.iter().any(|rows| rows[0].links.given);
        if counts || rayon::current_num_threads() <= 2 && !is_waited_for {
            return full.into_iter().try_for_each(|rows| self.take_landed(one(rows)));
        }
        let landed: Vec<Landed> = full.into_par_iter().map(one).collect();
        landed.into_iter().try_for_each(|landed| self.take_landed(landed))
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.settle(usize::MAX)?;
        self.report_devices(true)?;
        self.full = std::mem::take(&mut self.ready).into_values().filter(|rows| !rows.is_empty()).collect();
        self.land()?;
        for few in std::mem::take(&mut self.few).into_values() {
            if let Some(first) = few.batches.first() {
                self.put_down(few.table, concat_batches(&first.schema(), &few.batches)?)?;
            }
        }
        if let Some(spill) = &mut self.result.spilled {
            spill.finish()?;
        }
        Ok(())
    }

    /// Takes a finished batch. What a sieve left of several waits until it is worth a batch: every column of one takes memory,
    /// however few rows it has.
    fn store(&mut self, table: &'static TableSchema, origin: Origin, batch: RecordBatch) -> Result<(), Error> {
        match &mut self.keep {
            Keep::Counts => Ok(()),
            Keep::Hand(take) => take(table, origin, batch),
            Keep::Rows { sieve: Some(_), .. } if batch.num_rows() < LANDED_ROWS / 2 => {
                let few = self.few.entry(table.name).or_insert_with(|| Few { table, batches: Vec::new(), bytes: 0 });
                if batch.num_rows() > 0 || few.batches.is_empty() {
                    few.bytes += batch.get_array_memory_size();
                    few.batches.push(batch);
                }
                if few.batches.len() < FEW_BATCHES && few.bytes < FEW_BYTES {
                    return Ok(());
                }
                few.bytes = 0;
                let batches = std::mem::take(&mut few.batches);
                self.put_down(table, concat_batches(&batches[0].schema(), &batches)?)
            }
            Keep::Rows { .. } => self.put_down(table, batch),
        }
    }

    /// Keeps the batch in memory while there is room, else writes it to disk.
    fn put_down(&mut self, table: &'static TableSchema, batch: RecordBatch) -> Result<(), Error> {
        let Keep::Rows { memory_bytes: room, .. } = &mut self.keep else { return Ok(()) };
        let bytes = batch.get_array_memory_size();
        if self.result.spilled.is_none() && bytes <= *room {
            self.result.tables.entry(table.name).or_default().push(batch);
            *room -= bytes;
            return Ok(());
        }
        if self.result.spilled.is_none() {
            self.result.spilled = Some(Spill::new()?);
        }
        match &mut self.result.spilled {
            Some(spill) => spill.write(table.name, &batch),
            None => Ok(()),
        }
    }
}
