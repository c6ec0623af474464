//! How Kusto's types ride in Arrow: the one place that says so. See `ARCHITECTURE.md`, "Representation".

use crate::decimal;
use arrow::array::{ArrayRef, BooleanArray, Decimal256Array, Float64Array, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use std::sync::Arc;
use vidette_kql::{ScalarType, Value};

/// The Arrow type of a Kusto type inside plans. Datetime and timespan are ticks, dynamic is JSON text, guid is text.
pub fn arrow_type(ty: ScalarType) -> DataType {
    match ty {
        ScalarType::Bool => DataType::Boolean,
        ScalarType::Int => DataType::Int32,
        ScalarType::Long | ScalarType::DateTime | ScalarType::TimeSpan => DataType::Int64,
        ScalarType::Real => DataType::Float64,
        ScalarType::Decimal => decimal::TYPE,
        ScalarType::Guid | ScalarType::String | ScalarType::Dynamic => DataType::Utf8View,
    }
}

/// A literal as DataFusion carries it.
pub(crate) fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null(ScalarType::String) => ScalarValue::Utf8View(Some(String::new())),
        Value::Null(ty) => null(*ty),
        Value::Bool(b) => ScalarValue::Boolean(Some(*b)),
        Value::Int(n) => ScalarValue::Int32(Some(*n)),
        Value::Long(n) | Value::DateTime(n) | Value::TimeSpan(n) => ScalarValue::Int64(Some(*n)),
        Value::Real(n) => ScalarValue::Float64(Some(*n)),
        Value::Decimal(text) => ScalarValue::Decimal256(decimal::parse(text), decimal::PRECISION, decimal::SCALE),
        Value::Guid(text) | Value::String(text) | Value::Dynamic(text) => ScalarValue::Utf8View(Some(text.clone())),
    }
}

pub(crate) fn null(ty: ScalarType) -> ScalarValue {
    match ty {
        ScalarType::Bool => ScalarValue::Boolean(None),
        ScalarType::Int => ScalarValue::Int32(None),
        ScalarType::Long | ScalarType::DateTime | ScalarType::TimeSpan => ScalarValue::Int64(None),
        ScalarType::Real => ScalarValue::Float64(None),
        ScalarType::Decimal => ScalarValue::Decimal256(None, decimal::PRECISION, decimal::SCALE),
        ScalarType::Guid | ScalarType::String | ScalarType::Dynamic => ScalarValue::Utf8View(None),
    }
}

/// A column of literals of one type.
pub(crate) fn array<'a>(ty: ScalarType, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    match arrow_type(ty) {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(values.map(|value| match value {
            Value::Bool(b) => Some(*b),
            _ => None,
        }))),
        DataType::Int32 => Arc::new(Int32Array::from_iter(values.map(|value| match value {
            Value::Int(n) => Some(*n),
            _ => None,
        }))),
        DataType::Float64 => Arc::new(Float64Array::from_iter(values.map(|value| match value {
            Value::Real(n) => Some(*n),
            _ => None,
        }))),
        DataType::Decimal256(..) => {
            let values = values.map(|value| match value {
                Value::Decimal(text) => decimal::parse(text),
                _ => None,
            });
            Arc::new(Decimal256Array::from_iter(values).with_data_type(decimal::TYPE))
        }
        DataType::Int64 => Arc::new(Int64Array::from_iter(values.map(|value| match value {
            Value::Long(n) | Value::DateTime(n) | Value::TimeSpan(n) => Some(*n),
            _ => None,
        }))),
        _ => Arc::new(StringViewArray::from_iter(values.map(|value| match value {
            Value::String(text) | Value::Dynamic(text) | Value::Guid(text) => Some(text.as_str()),
            Value::Null(ScalarType::String) => Some(""),
            _ => None,
        }))),
    }
}
