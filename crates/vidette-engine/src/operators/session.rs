//! `row_window_session`: the start of the session that a row belongs to. Kusto docs: `row-window-session-function`.

use crate::cells::{Builder, Column, Out};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use std::sync::Arc;
use vidette_kql::ScalarType;

/// Arguments: a datetime, the longest session, the longest pause, and whether the row restarts. Null in, null out; the
/// next value begins a session.
pub(super) fn session() -> WindowUDF {
    WindowUDF::from(Session { signature: Signature::any(4, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Session {
    signature: Signature,
}

impl WindowUDFImpl for Session {
    fn name(&self) -> &str {
        "row_window_session"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        let ty = arguments.input_fields().first().map_or(DataType::Null, |field| field.data_type().clone());
        Ok(Arc::new(Field::new(arguments.name(), ty, true)))
    }
}

#[derive(Debug)]
struct Evaluator;

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let column = |at: usize, ty| Column::new(&values[at], ty);
        let (times, longest) = (column(0, ScalarType::DateTime)?, column(1, ScalarType::TimeSpan)?);
        let (pause, restart) = (column(2, ScalarType::TimeSpan)?, column(3, ScalarType::Bool)?);
        let mut starts = Builder::new(ScalarType::DateTime, rows);
        let mut session: Option<(i64, i64)> = None;
        for row in 0..rows {
            let (Some(time), Some(longest), Some(pause)) = (times.cell(row).long(), longest.cell(row).long(), pause.cell(row).long()) else {
                session = None;
                starts.push(Out::Null);
                continue;
            };
            let restarts = restart.cell(row).long() == Some(1);
            let start = match session {
                Some((start, before)) if !restarts && time < start.saturating_add(longest) && time < before.saturating_add(pause) => start,
                _ => time,
            };
            session = Some((start, time));
            starts.push(Out::Long(start));
        }
        Ok(starts.finish())
    }
}
