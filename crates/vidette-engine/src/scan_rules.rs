//! What the optimizer does with scans of Parquet files.

use crate::damage::AroundDamage;
use crate::scan::{guarded, is_dynamic};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

/// The first rule over physical plans. Scans of Parquet filter their rows before the other columns are read; where a text is
/// all that is read of them, choosing rows within the reader saves nothing and costs 0.07 of the time of a `has_any`: the filter
/// stays above. (A time alone is better chosen by the scan, which knows of row groups whose rows are all within the bounds.)
#[derive(Debug)]
pub(crate) struct FiltersInScans;

impl PhysicalOptimizerRule for FiltersInScans {
    fn name(&self) -> &str {
        "filters_in_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        with_scans(plan, |config, source, schema| {
            let is_one_text = matches!(&schema.fields()[..], [field] if field.data_type() == &DataType::Utf8View);
            config.file_source = Arc::new(source.with_pushdown_filters(!is_one_text));
        })
    }
}

/// The last rule over physical plans: a scan of Parquet is led around damages, and in pieces.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Arc<AroundDamage>);

impl PhysicalOptimizerRule for Guard {
    fn name(&self) -> &str {
        "around_damage"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        with_scans(plan, |config, source, _| {
            if config.file_groups.len() > 1 && source.filter().is_none_or(|conditions| !is_dynamic(&conditions)) {
                config.file_groups = config.file_groups.iter().map(|files| files.iter().flat_map(in_pieces).collect()).collect();
            }
            config.file_source = guarded(source, self.0.clone());
        })
    }
}

/// The plan with its scans of Parquet changed.
fn with_scans(plan: Arc<dyn ExecutionPlan>, change: impl Fn(&mut FileScanConfig, ParquetSource, &Schema)) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let scan = node.downcast_ref::<DataSourceExec>().and_then(|scan| scan.downcast_to_file_source::<ParquetSource>());
        let Some((config, source)) = scan else { return Ok(Transformed::no(node)) };
        let mut config = config.clone();
        change(&mut config, source.clone(), &node.schema());
        Ok(Transformed::yes(DataSourceExec::from_data_source(config)))
    })
    .data()
}

/// A long part of a file as several: streams that are done with theirs take those that none has begun. (A scan for the first
/// rows of an order is better off with long ones, of which it begins with the row groups that promise most.)
fn in_pieces(file: &PartitionedFile) -> Vec<PartitionedFile> {
    const PIECE_BYTES: i64 = 8 << 20;
    let (start, end) = file.range.as_ref().map_or((0, file.object_meta.size as i64), |range| (range.start, range.end));
    let count = ((end - start) / PIECE_BYTES).max(1);
    let bound = |piece: i64| start + (end - start) * piece / count;
    if count == 1 {
        return vec![file.clone()];
    }
    (0..count).map(|piece| file.clone().with_range(bound(piece), bound(piece + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Table, Workspace};
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use arrow::record_batch::RecordBatch;
    use datafusion::prelude::ParquetReadOptions;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    #[tokio::test]
    async fn a_long_file_is_read_whole_and_once() {
        const ROWS: usize = 3_000_000;
        let mut random = fastrand::Rng::with_seed(7);
        let numbers = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| random.i64(0..1 << 40)))) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", numbers)]).expect("a column");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("n.parquet");
        let plain = WriterProperties::builder().set_dictionary_enabled(false).set_max_row_group_row_count(Some(100_000)).build();
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).expect("a file"), batch.schema(), Some(plain)).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.close().expect("a footer");
        let pieces = in_pieces(&PartitionedFile::new("n", std::fs::metadata(&path).expect("the file").len()));
        assert!(pieces.len() > 1, "{}", pieces.len());
        let mut workspace = Workspace::default();
        let rows = workspace.session.read_parquet(path.to_str().expect("a plain path"), ParquetReadOptions::default()).await.expect("a footer");
        workspace.register("N", Table::infer(rows.into_view()));
        let found = workspace.query("N | summarize count(), sum(n)", Clock::at(0)).await.expect("it runs");
        let sum = arrow::compute::sum(batch.column(0).as_primitive::<Int64Type>());
        assert_eq!(found.tables[0].rows(), [[serde_json::json!(ROWS), serde_json::json!(sum)]]);
    }

    #[test]
    fn the_pieces_of_a_file_lie_side_by_side() {
        let bounds = |file: &PartitionedFile| file.range.as_ref().map(|range| (range.start, range.end));
        let all = |file: PartitionedFile| in_pieces(&file).iter().map(bounds).collect::<Vec<_>>();
        assert_eq!(all(PartitionedFile::new("a", 15 << 20)), [None]);
        assert_eq!(all(PartitionedFile::new("a", 24 << 20)), [Some((0, 8 << 20)), Some((8 << 20, 16 << 20)), Some((16 << 20, 24 << 20))]);
        let half = all(PartitionedFile::new("a", 1 << 30).with_range(1_000, 20_000_001));
        assert_eq!(half, [Some((1_000, 10_000_500)), Some((10_000_500, 20_000_001))]);
    }
}
