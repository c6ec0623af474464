//! Bounds of times that all rows of a row group keep, by its statistics: the rows are not asked.
//!
//! DataFusion knows such row groups, too, but uses that for limits and page indexes only, and tells nobody.

use arrow::array::{Array, BooleanArray};
use arrow::compute::kernels::cmp::{gt, gt_eq, lt, lt_eq};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction, utils};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

/// `column < time`, with any of the four operators.
#[derive(Clone, Debug)]
struct Bound {
    column: String,
    operator: Operator,
    time: ScalarValue,
}

/// The bounds among the conditions of a scan.
#[derive(Clone, Debug)]
pub(crate) struct Bounds(Vec<Bound>);

impl Bounds {
    /// The bounds, and the other conditions. `None` where there are no bounds.
    pub(crate) fn of(predicate: &Arc<dyn PhysicalExpr>) -> Option<(Bounds, Option<Arc<dyn PhysicalExpr>>)> {
        let (mut bounds, mut others) = (Vec::new(), Vec::new());
        for condition in split_conjunction(predicate) {
            match Bound::read(condition) {
                Some(bound) => bounds.push(bound),
                None => others.push(condition.clone()),
            }
        }
        let others = (!others.is_empty()).then(|| utils::conjunction(others));
        (!bounds.is_empty()).then_some((Bounds(bounds), others))
    }

    /// Of each row group, whether all of its rows are within.
    ///
    /// # Errors
    /// When the schema or the statistics cannot be read.
    pub(crate) fn are_kept(&self, file: &ParquetMetaData) -> Result<Vec<bool>> {
        let schema = parquet_to_arrow_schema(file.file_metadata().schema_descr(), file.file_metadata().key_value_metadata())?;
        let mut kept = vec![true; file.num_row_groups()];
        for bound in &self.0 {
            let holds = bound.holds(file, &schema)?;
            kept.iter_mut().enumerate().for_each(|(group, kept)| *kept &= holds.as_ref().is_some_and(|holds| holds.is_valid(group) && holds.value(group)));
        }
        Ok(kept)
    }
}

impl Bound {
    fn read(condition: &Arc<dyn PhysicalExpr>) -> Option<Bound> {
        let comparison = condition.downcast_ref::<BinaryExpr>()?;
        let (column, literal) = (comparison.left().downcast_ref::<Column>()?, comparison.right().downcast_ref::<Literal>()?);
        let (operator, time) = (*comparison.op(), literal.value().clone());
        let is_bound = matches!(operator, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) && matches!(time.data_type(), DataType::Timestamp(..)) && !time.is_null();
        is_bound.then(|| Bound { column: column.name().to_owned(), operator, time })
    }

    /// By row group, null where nobody knows; `None` where the file has no such column.
    fn holds(&self, file: &ParquetMetaData, schema: &Schema) -> Result<Option<BooleanArray>> {
        if schema.field_with_name(&self.column).ok().is_none_or(|field| *field.data_type() != self.time.data_type()) {
            return Ok(None);
        }
        let statistics = StatisticsConverter::try_new(&self.column, schema, file.file_metadata().schema_descr())?;
        let groups = file.row_groups();
        let time = self.time.to_scalar()?;
        let within = match self.operator {
            Operator::Lt => lt(&statistics.row_group_maxes(groups)?, &time)?,
            Operator::LtEq => lt_eq(&statistics.row_group_maxes(groups)?, &time)?,
            Operator::Gt => gt(&statistics.row_group_mins(groups)?, &time)?,
            _ => gt_eq(&statistics.row_group_mins(groups)?, &time)?,
        };
        let nulls = statistics.with_missing_null_counts_as_zero(false).row_group_null_counts(groups)?;
        Ok(Some(within.iter().zip(nulls.iter()).map(|(within, nulls)| Some(within? && nulls? == 0)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Table, Workspace};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
    use datafusion::physical_expr::expressions::{col, lit};
    use datafusion::prelude::ParquetReadOptions;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    const SECOND: i64 = 1_000_000;
    const GROUPS: i64 = 6;

    /// Ten rows a row group, a second apart; in the fourth one has no time, the last begins at the start again.
    fn second_of(row: i64) -> Option<i64> {
        (row != 35).then_some(if row >= 50 { row - 50 } else { row })
    }

    fn rows() -> RecordBatch {
        let times = Arc::new((0..GROUPS * 10).map(|row| Some(second_of(row)? * SECOND)).collect::<TimestampMicrosecondArray>()) as ArrayRef;
        RecordBatch::try_from_iter([("t", times), ("n", Arc::new(Int64Array::from_iter_values(0..GROUPS * 10)) as ArrayRef)]).expect("two columns")
    }

    fn file(bytes: &mut Vec<u8>) -> ParquetMetaData {
        let groups = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
        let mut writer = ArrowWriter::try_new(bytes, rows().schema(), Some(groups)).expect("a writer");
        writer.write(&rows()).expect("rows");
        writer.close().expect("a footer")
    }

    fn bound(column: &str, operator: Operator, time: ScalarValue) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(col(column, &rows().schema()).expect("a column"), operator, lit(time)))
    }

    fn second(second: i64) -> ScalarValue {
        ScalarValue::TimestampMicrosecond(Some(second * SECOND), None)
    }

    #[test]
    fn row_groups_are_within_when_all_of_their_rows_are() {
        let file = file(&mut Vec::new());
        let kept = |conditions: Vec<Arc<dyn PhysicalExpr>>| {
            let (bounds, others) = Bounds::of(&utils::conjunction(conditions))?;
            Some((bounds.are_kept(&file).expect("statistics").into_iter().map(u8::from).collect::<Vec<_>>(), others.is_some()))
        };
        let number = bound("n", Operator::Gt, ScalarValue::Int64(Some(3)));
        assert_eq!(kept(vec![bound("t", Operator::GtEq, second(10))]), Some((vec![0, 1, 1, 0, 1, 0], false)));
        assert_eq!(kept(vec![bound("t", Operator::Gt, second(10)), number.clone()]), Some((vec![0, 0, 1, 0, 1, 0], true)));
        assert_eq!(kept(vec![bound("t", Operator::GtEq, second(0)), bound("t", Operator::Lt, second(29))]), Some((vec![1, 1, 0, 0, 0, 1], false)));
        assert_eq!(kept(vec![bound("t", Operator::LtEq, second(29))]), Some((vec![1, 1, 1, 0, 0, 1], false)));
        // A file that tells times otherwise is asked.
        assert_eq!(kept(vec![bound("t", Operator::GtEq, ScalarValue::TimestampNanosecond(Some(0), None))]), Some((vec![0; 6], false)));
        assert_eq!(kept(vec![number, bound("t", Operator::NotEq, second(0)), bound("t", Operator::Lt, ScalarValue::TimestampMicrosecond(None, None))]), None);
    }

    #[tokio::test]
    async fn rows_are_those_that_every_condition_lets_through() {
        let mut bytes = Vec::new();
        file(&mut bytes);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("n.parquet");
        std::fs::write(&path, bytes).expect("written");
        let mut workspace = Workspace::default();
        let read = workspace.session.read_parquet(path.to_str().expect("a plain path"), ParquetReadOptions::default()).await.expect("a footer");
        workspace.register("N", Table::infer(read.into_view()));
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..60 {
            let (from, to, least) = (random.i64(-1..61), random.i64(-1..61), random.i64(-20..50));
            let query = format!(
                "N | where t >= datetime(1970-01-01) + {from}s and t < datetime(1970-01-01) + {to}s and n > {least} | summarize Count = count(), Sum = coalesce(sum(n), 0)"
            );
            let expected: Vec<i64> = (0..GROUPS * 10).filter(|row| *row > least && second_of(*row).is_some_and(|second| (from..to).contains(&second))).collect();
            let found = workspace.query(&query, Clock::at(0)).await.expect("a query");
            assert_eq!(found.tables[0].rows(), [[expected.len() as i64, expected.iter().sum()]], "{query}");
        }
    }
}
