//! Scans of Parquet files, as Vidette reads them: around damages, without asking rows that are known to be wanted, and not
//! further than is known to be needed.

use crate::bounds::Bounds;
use crate::damage::{AroundDamage, Damage, is_of_file, path, reason};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{DefaultParquetFileReaderFactory, ParquetAccessPlan};
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource, ParquetFileReaderFactory, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{DynamicFilterTracker, DynamicFilterTracking};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::morsel::Morselizer;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Whether some of the conditions become known while rows are read.
pub(crate) fn is_dynamic(conditions: &Arc<dyn PhysicalExpr>) -> bool {
    !matches!(DynamicFilterTracking::classify(conditions), DynamicFilterTracking::Static)
}

/// [`ParquetSource`], whose files are opened by [`Opener`].
struct Guarded {
    source: Arc<dyn FileSource>,
    around: Arc<AroundDamage>,
}

/// The source, read around damages.
pub(crate) fn guarded(source: ParquetSource, around: Arc<AroundDamage>) -> Arc<dyn FileSource> {
    Arc::new(Guarded { source: Arc::new(source), around })
}

impl FileSource for Guarded {
    fn create_file_opener(&self, store: Arc<dyn ObjectStore>, config: &FileScanConfig, partition: usize) -> Result<Arc<dyn FileOpener>> {
        let Some(source) = self.source.downcast_ref::<ParquetSource>() else { return internal_err!("not Parquet") };
        let default = || Arc::new(DefaultParquetFileReaderFactory::new(store.clone())) as _;
        let readers = source.parquet_file_reader_factory().cloned().unwrap_or_else(default);
        let noting = source.clone().with_parquet_file_reader_factory(Arc::new(Noting(readers.clone())));
        let conditions = noting.filter();
        let within = match conditions.as_ref().and_then(Bounds::of) {
            Some((bounds, others)) => {
                let unbound = match others {
                    Some(others) => noting.with_predicate(others),
                    // What is pruned is pruned by all conditions.
                    None => noting.clone().with_pushdown_filters(false),
                };
                Some((bounds, unbound.create_morselizer(store.clone(), config, partition)?))
            }
            None => None,
        };
        let dynamic = conditions.filter(is_dynamic);
        let files = noting.create_morselizer(store, config, partition)?;
        Ok(Arc::new(Opener(Arc::new(Opening { files, within, dynamic, readers, around: self.around.clone() }))))
    }

    fn table_schema(&self) -> &TableSchema {
        self.source.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Guarded { source: self.source.with_batch_size(batch_size), around: self.around.clone() })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.source.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.source.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.source.metrics()
    }

    fn file_type(&self) -> &str {
        self.source.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt_extra(kind, formatter)
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.source.reorder_files(files)
    }

    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.source.apply_expressions(visit)
    }
}

struct Opener(Arc<Opening>);

impl FileOpener for Opener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let opening = self.0.clone();
        Ok(async move { opening.read(file).await }.boxed())
    }
}

/// Opens the files of a partition.
struct Opening {
    files: Box<dyn Morselizer>,
    /// Bounds of times, and who opens files of which all rows that are read keep them.
    within: Option<(Bounds, Box<dyn Morselizer>)>,
    /// Conditions of which some become known while rows are read: those of `top`, which has an order of its own for row groups.
    dynamic: Option<Arc<dyn PhysicalExpr>>,
    readers: Arc<dyn ParquetFileReaderFactory>,
    around: Arc<AroundDamage>,
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Row groups of a file that are read together.
#[derive(Clone)]
struct Run {
    is_within: bool,
    /// All of them without.
    groups: Option<ParquetAccessPlan>,
}

/// How far the row groups were read.
struct Part {
    opening: Arc<Opening>,
    file: PartitionedFile,
    run: Run,
    noted: Arc<Noted>,
    /// Row groups that were read, or begun, before the file was opened anew.
    done: BTreeSet<usize>,
    reopened: usize,
    batches: Batches,
}

/// More turns between row groups that are within the bounds and such that are not are not worth opening a file.
const MOST_RUNS: usize = 8;
/// So many times a file may be opened anew because more is known of its conditions.
const MOST_REOPENED: usize = 16;

impl Opening {
    /// The rows of a file, but for those behind a damage in their row group.
    async fn read(self: Arc<Opening>, file: PartitionedFile) -> Result<Batches> {
        let mut runs = self.runs(&file).await.into_iter();
        let Some(first) = runs.next() else { return Ok(futures::stream::empty().boxed()) };
        let batches = self.clone().read_run(file.clone(), first).await?;
        let others = futures::stream::iter(runs).then(move |run| self.clone().read_run(file.clone(), run)).try_flatten();
        Ok(batches.chain(others).boxed())
    }

    /// The row groups of the file, in their order.
    async fn runs(&self, file: &PartitionedFile) -> Vec<Run> {
        let all = |is_within| vec![Run { is_within, groups: None }];
        let Some((bounds, _)) = &self.within else { return all(false) };
        // Who opens the file tells what is wrong with it.
        let Ok(mut reader) = self.readers.create_reader(0, file.clone(), None, &ExecutionPlanMetricsSet::new()) else { return all(false) };
        let Ok(metadata) = reader.get_metadata(None).await else { return all(false) };
        let Ok(kept) = bounds.are_kept(&metadata) else { return all(false) };
        let is_asked =
            |group: &usize| file.range.as_ref().is_none_or(|range| metadata.row_group(*group).columns().first().is_some_and(|column| range.contains(bytes(column).start as i64)));
        let asked: Vec<usize> = (0..kept.len()).filter(is_asked).collect();
        let runs: Vec<&[usize]> = asked.chunk_by(|one, next| kept[*one] == kept[*next]).collect();
        match runs.as_slice() {
            [run] => all(kept[run[0]]),
            [_, _, ..] if runs.len() <= MOST_RUNS && self.dynamic.is_none() => {
                let run = |groups: &[usize]| {
                    let mut plan = ParquetAccessPlan::new_none(kept.len());
                    groups.iter().for_each(|group| plan.scan(*group));
                    Run { is_within: kept[groups[0]], groups: Some(plan) }
                };
                runs.into_iter().map(run).collect()
            }
            _ => all(false),
        }
    }

    async fn read_run(self: Arc<Opening>, file: PartitionedFile, run: Run) -> Result<Batches> {
        let noted = Arc::new(Noted::new(self.dynamic.as_ref()));
        let batches = match self.open(&file, &run, &noted, &BTreeSet::new()).await {
            Err(error) if is_of_file(&error) => {
                self.around.tell(Damage { path: path(&file), place: None, message: reason(&error) })?;
                return Ok(futures::stream::empty().boxed());
            }
            opened => opened?,
        };
        let part = Part { opening: self, file, run, noted, done: BTreeSet::new(), reopened: 0, batches };
        Ok(futures::stream::unfold(part, Part::next).boxed())
    }

    /// The rows of a run, but for those of row groups that are done.
    async fn open(&self, file: &PartitionedFile, run: &Run, noted: &Arc<Noted>, done: &BTreeSet<usize>) -> Result<Batches> {
        let mut file = file.clone().with_extension(noted.clone());
        let known = noted.metadata.get().map(|metadata| ParquetAccessPlan::new_all(metadata.num_row_groups()));
        if let Some(mut groups) = run.groups.clone().or(known) {
            done.iter().for_each(|group| groups.skip(*group));
            file = file.with_extension(groups);
        }
        let files = match &self.within {
            Some((_, within)) if run.is_within => within,
            _ => &self.files,
        };
        let mut planners = vec![files.plan_file(file)?];
        let mut morsels = Vec::new();
        while let Some(planner) = planners.pop() {
            let Some(mut plan) = planner.plan()? else { continue };
            morsels.extend(plan.take_morsels());
            planners.extend(plan.take_ready_planners().into_iter().rev());
            if let Some(pending) = plan.take_pending_planner() {
                planners.push(pending.await?);
            }
        }
        Ok(futures::stream::iter(morsels).flat_map(|morsel| morsel.into_stream()).boxed())
    }

    /// What is damaged of the columns of the row group that were asked for.
    async fn damage(&self, file: &PartitionedFile, group: usize, noted: &Noted) -> Result<Option<Damage>> {
        let Some(metadata) = noted.metadata.get() else { return Ok(None) };
        let before: i64 = metadata.row_groups()[..group].iter().map(RowGroupMetaData::num_rows).sum();
        let rows = metadata.row_group(group).num_rows();
        for (at, column) in metadata.row_group(group).columns().iter().enumerate() {
            if !noted.ranges().iter().any(|range| bytes(column).contains(&range.start)) {
                continue;
            }
            let Err(error) = self.decode(file, metadata, group, at).await else { continue };
            let column = column.column_path().string();
            return Ok(Some(Damage {
                path: path(file),
                place: Some(format!("row group {}, rows {} to {}", group + 1, before + 1, before + rows)),
                message: format!("{column} is damaged ({}); rows behind it are left out", reason(&error)),
            }));
        }
        Ok(None)
    }

    /// Reads a column of a row group for its errors.
    async fn decode(&self, file: &PartitionedFile, metadata: &Arc<ParquetMetaData>, group: usize, column: usize) -> Result<()> {
        let reader: Box<dyn AsyncFileReader> = self.readers.create_reader(0, file.clone(), None, &ExecutionPlanMetricsSet::new())?;
        let of_file = ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new())?;
        let mask = ProjectionMask::leaves(metadata.file_metadata().schema_descr(), [column]);
        let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, of_file).with_row_groups(vec![group]).with_projection(mask).build()?;
        batches.try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }
}

impl Part {
    async fn next(mut self) -> Option<(Result<RecordBatch>, Part)> {
        loop {
            let error = match self.batches.next().await? {
                Ok(batch) => {
                    self.noted.is_silent.store(false, Ordering::Relaxed);
                    return Some((Ok(batch), self));
                }
                Err(error) => error,
            };
            let opened = if self.noted.is_overtaken.load(Ordering::Relaxed) { self.go_on().await } else { self.go_around(error).await };
            if let Err(error) = opened {
                self.batches = futures::stream::empty().boxed();
                return Some((Err(error), self));
            }
        }
    }

    /// Opens the file anew behind the row group that failed. Gives the error back where the file is not what failed.
    async fn go_around(&mut self, error: DataFusionError) -> Result<()> {
        let Some((failed, groups)) = self.noted.row_groups() else { return Err(error) };
        let Some(damage) = self.opening.damage(&self.file, failed, &self.noted).await? else { return Err(error) };
        self.opening.around.tell(damage)?;
        self.open_behind(groups).await
    }

    /// Opens the file anew, so that row groups are left out by what is known now.
    async fn go_on(&mut self) -> Result<()> {
        self.reopened += 1;
        let groups = self.noted.row_groups().map(|(_, groups)| groups).unwrap_or_default();
        let dynamic = self.opening.dynamic.as_ref().filter(|_| self.reopened < MOST_REOPENED);
        let next = Noted::new(dynamic);
        if let Some(metadata) = self.noted.metadata.get() {
            let _ = next.metadata.set(metadata.clone());
        }
        self.noted = Arc::new(next);
        self.open_behind(groups).await
    }

    async fn open_behind(&mut self, groups: BTreeSet<usize>) -> Result<()> {
        self.done.extend(groups);
        self.noted.ranges().clear();
        self.batches = self.opening.open(&self.file, &self.run, &self.noted, &self.done).await?;
        Ok(())
    }
}

/// The bytes of a column of a row group; a damaged footer may tell negative ones.
fn bytes(column: &ColumnChunkMetaData) -> Range<u64> {
    let from = column.dictionary_page_offset().filter(|offset| *offset > 0).unwrap_or(column.data_page_offset());
    let of = |at: i64| u64::try_from(at).unwrap_or(0);
    of(from)..of(from).saturating_add(of(column.compressed_size()))
}

/// What was read of a file, as an extension of it.
#[derive(Default)]
struct Noted {
    metadata: OnceLock<Arc<ParquetMetaData>>,
    ranges: Mutex<Vec<Range<u64>>>,
    /// Tells when more is known of the conditions.
    conditions: Option<Mutex<DynamicFilterTracker>>,
    /// The last row group has given no rows yet.
    is_silent: AtomicBool,
    /// More was known before the next row group was read.
    is_overtaken: AtomicBool,
}

impl Noted {
    fn new(dynamic: Option<&Arc<dyn PhysicalExpr>>) -> Noted {
        let conditions = dynamic.and_then(|conditions| match DynamicFilterTracking::classify(conditions) {
            DynamicFilterTracking::Watching(tracker) => Some(Mutex::new(tracker)),
            _ => None,
        });
        Noted { conditions, ..Noted::default() }
    }

    fn ranges(&self) -> MutexGuard<'_, Vec<Range<u64>>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row group that was read last, and all that were read.
    fn row_groups(&self) -> Option<(usize, BTreeSet<usize>)> {
        let metadata = self.metadata.get()?;
        let ranges = self.ranges();
        let last = group_at(metadata, ranges.last()?.start)?;
        Some((last, ranges.iter().filter_map(|range| group_at(metadata, range.start)).collect()))
    }

    /// Whether a row group is asked for after one without rows, and more is known of the conditions than when the file was
    /// opened. The library asks by itself only behind rows.
    fn overtakes(&self, next: &[Range<u64>]) -> bool {
        let (Some(conditions), Some(metadata), Some(next)) = (&self.conditions, self.metadata.get(), next.first()) else { return false };
        let last = self.ranges().last().and_then(|last| group_at(metadata, last.start));
        if last == group_at(metadata, next.start) || !self.is_silent.swap(true, Ordering::Relaxed) {
            return false;
        }
        let is_overtaken = conditions.lock().unwrap_or_else(PoisonError::into_inner).changed();
        self.is_overtaken.store(is_overtaken, Ordering::Relaxed);
        is_overtaken
    }
}

/// The row group that has the byte.
fn group_at(metadata: &ParquetMetaData, at: u64) -> Option<usize> {
    let groups = metadata.row_groups();
    let has = |group: &RowGroupMetaData| group.columns().iter().any(|column| bytes(column).contains(&at));
    // They stand in their order, mostly.
    let near = groups.partition_point(|group| group.columns().first().is_some_and(|column| bytes(column).start <= at)).saturating_sub(1);
    groups.get(near).filter(|group| has(group)).map(|_| near).or_else(|| groups.iter().position(has))
}

/// Readers that note what they read, where a file has [`Noted`].
#[derive(Debug)]
struct Noting(Arc<dyn ParquetFileReaderFactory>);

impl ParquetFileReaderFactory for Noting {
    fn create_reader(&self, partition: usize, file: PartitionedFile, hint: Option<usize>, metrics: &ExecutionPlanMetricsSet) -> Result<Box<dyn AsyncFileReader + Send>> {
        let noted = file.extension::<Arc<Noted>>().cloned().unwrap_or_default();
        Ok(Box::new(NotingReader { reader: self.0.create_reader(partition, file, hint, metrics)?, noted }))
    }
}

struct NotingReader {
    reader: Box<dyn AsyncFileReader + Send>,
    noted: Arc<Noted>,
}

impl AsyncFileReader for NotingReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.reader.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        if self.noted.overtakes(&ranges) {
            return async { Err(ParquetError::General("more is known of the conditions".to_owned())) }.boxed();
        }
        self.noted.ranges().extend_from_slice(&ranges);
        self.reader.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let metadata = self.reader.get_metadata(options).await?;
            let _ = self.noted.metadata.set(metadata.clone());
            Ok(metadata)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Table, Workspace};
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::record_batch::RecordBatch;
    use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, lit};
    use datafusion::prelude::ParquetReadOptions;
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    /// A file of four row groups of ten numbers, of which the given ones are overwritten.
    fn file(path: &Path, damaged: &[usize]) {
        let numbers = Arc::new(Int64Array::from_iter_values(0..40)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", numbers)]).expect("a column");
        let plain = WriterProperties::builder().set_dictionary_enabled(false).set_compression(Compression::SNAPPY);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(plain.set_max_row_group_row_count(Some(10)).build())).expect("a writer");
        writer.write(&batch).expect("rows");
        let footer = writer.finish().expect("a footer");
        let mut bytes = std::mem::take(writer.inner_mut());
        for group in damaged {
            let (from, length) = footer.row_group(*group).column(0).byte_range();
            bytes[from as usize..(from + length) as usize].fill(0xff);
        }
        std::fs::write(path, bytes).expect("written");
    }

    #[test]
    fn a_row_group_is_asked_for_again_when_more_is_known_behind_one_without_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("n.parquet");
        file(&path, &[]);
        let metadata = ArrowReaderMetadata::load(&std::fs::File::open(&path).expect("the file"), ArrowReaderOptions::new()).expect("a footer");
        let place = |group: usize| vec![bytes(metadata.metadata().row_group(group).column(0))];
        let filter = Arc::new(DynamicFilterPhysicalExpr::new(Vec::new(), lit(true)));
        let noted = Noted::new(Some(&(filter.clone() as Arc<dyn PhysicalExpr>)));
        noted.metadata.set(metadata.metadata().clone()).expect("nobody has set it");
        let asks = |group: usize| {
            let overtakes = noted.overtakes(&place(group));
            noted.ranges().extend(place(group));
            overtakes
        };
        assert!(!asks(0) && !asks(1), "nothing is new");
        filter.update(lit(false)).expect("a filter that may change");
        assert!(!asks(1), "it is read already");
        noted.is_silent.store(false, Ordering::Relaxed);
        assert!(!asks(2), "the library has asked by itself");
        assert!(asks(3) && noted.is_overtaken.load(Ordering::Relaxed));
        assert_eq!(noted.row_groups().map(|(last, groups)| (last, groups.len())), Some((3, 4)));
        assert!(!Noted::default().overtakes(&place(1)), "no condition changes");
    }

    #[tokio::test]
    async fn a_query_goes_on_behind_damages_where_someone_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        for (damaged, count, sum) in [(&[][..], 40, 780), (&[0], 30, 735), (&[1, 3], 20, 290), (&[0, 1, 2, 3], 0, 0)] {
            let path = folder.path().join("n.parquet");
            file(&path, damaged);
            let mut workspace = Workspace::default();
            let rows = workspace.session.read_parquet(path.to_str().expect("a plain path"), ParquetReadOptions::default()).await.expect("a footer");
            workspace.register("N", Table::infer(rows.into_view()));
            let query = async || workspace.query("N | summarize Count = count(), Sum = coalesce(sum(n), 0)", Clock::at(0)).await;
            if let Some(first) = damaged.first() {
                let failed = query().await.expect_err("nobody is told").to_string();
                let place = format!("{}: row group {}, rows {} to {}: n is damaged", path.display(), first + 1, first * 10 + 1, first * 10 + 10);
                assert!(failed.contains(&place), "{failed}");
            }
            let told = Arc::new(Mutex::new(0));
            let listener = told.clone();
            workspace.on_damage(move |_| *listener.lock().expect("no panic") += 1);
            for _ in 0..2 {
                assert_eq!(query().await.expect("it goes on").tables[0].rows(), [[count, sum]], "{damaged:?}");
            }
            assert_eq!(*told.lock().expect("no panic"), damaged.len());
        }
    }
}
