//! A table of the workspace, and the edge where its Arrow columns become Kusto's.

use crate::arrow_types::{arrow_type, scalar};
use crate::functions::udf;
use crate::nested;
use crate::sieve::Unread;
use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, lit, try_cast};
use datafusion::prelude::coalesce;
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use vidette_kql::time::UNIX_EPOCH_TICKS;
use vidette_kql::{ScalarType, Value};

/// Field metadata of a dynamic column whose text is known to be compact JSON.
pub(crate) const VALID_JSON: &str = "vidette.json";

/// Rows and the Kusto schema they are seen through.
#[derive(Clone, Debug)]
pub struct Table {
    /// The places its rows come from, one after the other; their Arrow columns may differ. None of a table without rows.
    parts: Vec<Arc<dyn TableProvider>>,
    pub(crate) columns: Vec<(String, ScalarType)>,
    /// Known by its columns alone: nothing was read for it.
    pub(crate) is_schema: bool,
}

impl Table {
    /// A table with the given Kusto columns. Columns the provider lacks are null, or `""` for strings.
    pub fn new(provider: Arc<dyn TableProvider>, columns: Vec<(String, ScalarType)>) -> Table {
        Table { parts: vec![provider], columns, is_schema: false }
    }

    /// A table without rows, which `search` and `find` pass over.
    pub fn empty(columns: Vec<(String, ScalarType)>) -> Table {
        Table { parts: Vec::new(), columns, is_schema: true }
    }

    /// The places its rows come from; at least one. `name` is the table's.
    pub(crate) fn parts(&self, name: &str) -> Cow<'_, [Arc<dyn TableProvider>]> {
        if !self.parts.is_empty() {
            return Cow::Borrowed(&self.parts);
        }
        // Of the thousands of tables that are known few are asked for.
        let nothing: Arc<dyn TableProvider> = Arc::new(Unread::new(name, &self.columns));
        Cow::Owned(vec![nothing])
    }

    /// The table with more rows, from another place.
    pub fn and(mut self, provider: Arc<dyn TableProvider>) -> Table {
        self.parts.push(provider);
        self
    }

    /// A table whose Kusto types are those its Arrow types suggest.
    pub fn infer(provider: Arc<dyn TableProvider>) -> Table {
        let columns = provider.schema().fields().iter().map(|field| (field.name().clone(), kusto_type(field.data_type()))).collect();
        Table { parts: vec![provider], columns, is_schema: false }
    }

    /// The column as plans carry it: strings never null, datetimes as ticks.
    pub(crate) fn edge(&self, column: Expr, field: &Field, ty: ScalarType) -> Expr {
        let wanted = arrow_type(ty);
        match (ty, field.data_type()) {
            (ScalarType::String, DataType::Dictionary(..) | DataType::Utf8View) if !field.is_nullable() => column,
            (ScalarType::String, DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(..)) => {
                coalesce(vec![cast(column, DataType::Utf8View), Expr::Literal(scalar(&Value::String(String::new())), None)])
            }
            (ScalarType::DateTime, DataType::Timestamp(unit, _)) => ticks_of(column, *unit),
            (ScalarType::DateTime, DataType::Date32 | DataType::Date64) => ticks_of(cast(column, DataType::Timestamp(TimeUnit::Microsecond, None)), TimeUnit::Microsecond),
            (ScalarType::DateTime, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
                udf::call("todatetime", &[ScalarType::String], ScalarType::DateTime, vec![cast(column, DataType::Utf8View)])
            }
            (ScalarType::Dynamic, DataType::Utf8View) if field.metadata().contains_key(VALID_JSON) => column,
            (ScalarType::Dynamic, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..)) => {
                udf::call("parse_json", &[ScalarType::String], ScalarType::Dynamic, vec![cast(column, DataType::Utf8View)])
            }
            (ScalarType::Dynamic, have) if have.is_nested() => nested::to_json(column),
            (ScalarType::String, have) if have.is_nested() => coalesce(vec![nested::to_json(column), Expr::Literal(scalar(&Value::String(String::new())), None)]),
            (ScalarType::TimeSpan, DataType::Time32(unit)) => span_ticks(cast(column, DataType::Int32), *unit),
            (ScalarType::TimeSpan, DataType::Time64(unit) | DataType::Duration(unit)) => span_ticks(column, *unit),
            (ScalarType::TimeSpan, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
                udf::call("totimespan", &[ScalarType::String], ScalarType::TimeSpan, vec![cast(column, DataType::Utf8View)])
            }
            (_, have) if *have == wanted => column,
            // A value that the type does not hold is null.
            _ => try_cast(column, wanted),
        }
    }
}

/// The Kusto type that an Arrow column of an unknown table gets.
pub(crate) fn kusto_type(ty: &DataType) -> ScalarType {
    match ty {
        DataType::Boolean => ScalarType::Bool,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => ScalarType::Int,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => ScalarType::Long,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ScalarType::Real,
        DataType::Decimal128(..) | DataType::Decimal256(..) => ScalarType::Decimal,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => ScalarType::DateTime,
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => ScalarType::TimeSpan,
        nested if nested.is_nested() => ScalarType::Dynamic,
        _ => ScalarType::String,
    }
}

/// A time of day or a length of time as ticks.
fn span_ticks(span: Expr, unit: TimeUnit) -> Expr {
    let whole = cast(span, DataType::Int64);
    match unit {
        TimeUnit::Second => whole * lit(10_000_000_i64),
        TimeUnit::Millisecond => whole * lit(10_000_i64),
        TimeUnit::Microsecond => whole * lit(10_i64),
        TimeUnit::Nanosecond => whole / lit(100_i64),
    }
}

/// `to_ticks_…` by its name in plans.
pub(crate) fn helper(name: &str) -> Option<ScalarUDF> {
    [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond].into_iter().map(ToTicks::new).find(|ticks| ticks.name == name).map(ScalarUDF::from)
}

/// A native time as ticks.
pub(crate) fn ticks_of(time: Expr, unit: TimeUnit) -> Expr {
    ScalarUDF::from(ToTicks::new(unit)).call(vec![time])
}

/// The native column that an expression makes ticks of, in the same order.
pub(crate) fn native_time(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::ScalarFunction(call) if (call.func.inner().as_ref() as &dyn Any).is::<ToTicks>() => call.args.first().cloned(),
        _ => None,
    }
}

/// A native timestamp as ticks. Its preimage lets a comparison with ticks prune row groups like one with the column itself.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTicks {
    unit: TimeUnit,
    name: String,
    signature: Signature,
}

impl ToTicks {
    fn new(unit: TimeUnit) -> ToTicks {
        ToTicks { unit, name: format!("to_ticks_{unit:?}").to_lowercase(), signature: Signature::any(1, Volatility::Immutable) }
    }

    fn ticks(&self, value: i64) -> Option<i64> {
        match self.unit {
            TimeUnit::Second => value.checked_mul(10_000_000),
            TimeUnit::Millisecond => value.checked_mul(10_000),
            TimeUnit::Microsecond => value.checked_mul(10),
            TimeUnit::Nanosecond => Some(value.div_euclid(100)),
        }?
        .checked_add(UNIX_EPOCH_TICKS)
    }

    /// Ticks of times that are all within some ten thousand years; `None` when one is not. Without a branch a value.
    fn of_usual(&self, values: &Int64Array) -> Option<Int64Array> {
        let magnitude = values.values().iter().fold(0, |bits, value| bits | value ^ value >> (i64::BITS - 1));
        let exponent = match self.unit {
            TimeUnit::Second => 39,
            TimeUnit::Millisecond => 49,
            TimeUnit::Microsecond => 59,
            TimeUnit::Nanosecond => 63,
        };
        let is_usual = magnitude >> exponent == 0;
        is_usual.then(|| match self.unit {
            TimeUnit::Second => values.unary(|value| value * 10_000_000 + UNIX_EPOCH_TICKS),
            TimeUnit::Millisecond => values.unary(|value| value * 10_000 + UNIX_EPOCH_TICKS),
            TimeUnit::Microsecond => values.unary(|value| value * 10 + UNIX_EPOCH_TICKS),
            TimeUnit::Nanosecond => values.unary(|value| value.div_euclid(100) + UNIX_EPOCH_TICKS),
        })
    }

    /// The least native value whose ticks are at least `ticks`.
    fn native(&self, ticks: i64) -> Option<i64> {
        let since = ticks.checked_sub(UNIX_EPOCH_TICKS)?;
        let ceil = |unit: i64| -(-since).div_euclid(unit);
        match self.unit {
            TimeUnit::Second => Some(ceil(10_000_000)),
            TimeUnit::Millisecond => Some(ceil(10_000)),
            TimeUnit::Microsecond => Some(ceil(10)),
            TimeUnit::Nanosecond => since.checked_mul(100),
        }
    }

    fn scalar(&self, value: i64, zone: Option<Arc<str>>) -> ScalarValue {
        match self.unit {
            TimeUnit::Second => ScalarValue::TimestampSecond(Some(value), zone),
            TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(value), zone),
            TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(value), zone),
            TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(value), zone),
        }
    }
}

impl ScalarUDFImpl for ToTicks {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        if !matches!(arrays[0].data_type(), DataType::Timestamp(..)) {
            return exec_err!("{} expects a timestamp, not {}", self.name, arrays[0].data_type());
        }
        let values = arrow::compute::cast(&arrays[0], &DataType::Int64)?;
        let values = values.as_primitive::<arrow::datatypes::Int64Type>();
        let ticks = self.of_usual(values).unwrap_or_else(|| values.iter().map(|value| value.and_then(|value| self.ticks(value))).collect());
        Ok(ColumnarValue::Array(Arc::new(ticks)))
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let (Expr::Literal(ScalarValue::Int64(Some(ticks)), _), Some(argument)) = (literal, args.first()) else { return Ok(PreimageResult::None) };
        let DataType::Timestamp(_, zone) = info.get_data_type(argument)? else { return Ok(PreimageResult::None) };
        let (Some(low), Some(high)) = (self.native(*ticks), ticks.checked_add(1).and_then(|next| self.native(next))) else { return Ok(PreimageResult::None) };
        if high <= low {
            // No native value has these ticks: the bounds would cross.
            return Ok(PreimageResult::None);
        }
        let interval = Interval::try_new(self.scalar(low, zone.clone()), self.scalar(high, zone))?;
        Ok(PreimageResult::Range { expr: argument.clone(), interval: Box::new(interval) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_times_have_the_ticks_that_each_alone_has() {
        for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
            let ticks = ToTicks::new(unit);
            let mut usual = 0;
            for exponent in 0..63 {
                for value in [1 << exponent, (1 << exponent) - 1, -(1 << exponent), -(1 << exponent) - 1] {
                    let together = ticks.of_usual(&Int64Array::from(vec![0, value]));
                    usual += usize::from(together.is_some());
                    let alone = [Some(UNIX_EPOCH_TICKS), ticks.ticks(value)];
                    assert!(together.is_none_or(|together| together.iter().eq(alone)), "{value} {unit:?}");
                }
            }
            assert!(usual > 150, "{unit:?} {usual}");
        }
    }
}
