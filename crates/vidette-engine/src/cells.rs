//! Values one at a time: what row kernels read and give back.

use crate::arrow_types::arrow_type;
use crate::decimal;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Decimal256Array, Decimal256Builder, Float64Array, Float64Builder, Int32Array, Int32Builder, Int64Array, Int64Builder,
    StringViewArray, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Float64Type, Int32Type, Int64Type, i256};
use arrow::error::ArrowError;
use std::sync::Arc;
use vidette_kql::ScalarType;

/// A value that a kernel reads. Strings are never null; datetime and timespan are ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    Long(i64),
    Real(f64),
    /// As `decimal` says.
    Decimal(i256),
    DateTime(i64),
    TimeSpan(i64),
    Guid(&'a str),
    Text(&'a str),
    /// JSON text.
    Json(&'a str),
}

impl<'a> Cell<'a> {
    /// The text of a string or guid; empty for the rest.
    pub fn text(self) -> &'a str {
        match self {
            Cell::Text(text) | Cell::Guid(text) => text,
            _ => "",
        }
    }

    /// JSON text of a dynamic.
    pub fn json(self) -> Option<&'a str> {
        match self {
            Cell::Json(text) => Some(text),
            _ => None,
        }
    }

    pub fn long(self) -> Option<i64> {
        match self {
            Cell::Long(n) | Cell::DateTime(n) | Cell::TimeSpan(n) => Some(n),
            Cell::Real(n) => Some(n as i64),
            Cell::Decimal(n) => decimal::to_long(n),
            Cell::Bool(b) => Some(i64::from(b)),
            _ => None,
        }
    }

    pub fn real(self) -> Option<f64> {
        match self {
            Cell::Long(n) | Cell::DateTime(n) | Cell::TimeSpan(n) => Some(n as f64),
            Cell::Real(n) => Some(n),
            Cell::Decimal(n) => Some(decimal::to_real(n)),
            Cell::Bool(b) => Some(f64::from(u8::from(b))),
            _ => None,
        }
    }
}

/// A value that a kernel gives back; which Kusto type it is, the function's result type says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Null,
    Bool(bool),
    Long(i64),
    Real(f64),
    Decimal(i256),
    /// The function does not do this yet, and says why rather than give a wrong value.
    Refused(&'static str),
    /// A string, a guid, or the JSON text of a dynamic.
    Text(String),
}

impl From<Cell<'_>> for Out {
    fn from(cell: Cell) -> Out {
        match cell {
            Cell::Null => Out::Null,
            Cell::Bool(b) => Out::Bool(b),
            Cell::Long(n) | Cell::DateTime(n) | Cell::TimeSpan(n) => Out::Long(n),
            Cell::Real(n) => Out::Real(n),
            Cell::Decimal(n) => Out::Decimal(n),
            Cell::Guid(text) | Cell::Text(text) | Cell::Json(text) => Out::Text(text.to_owned()),
        }
    }
}

impl From<Option<i64>> for Out {
    fn from(value: Option<i64>) -> Out {
        value.map_or(Out::Null, Out::Long)
    }
}

impl From<Option<f64>> for Out {
    fn from(value: Option<f64>) -> Out {
        value.map_or(Out::Null, Out::Real)
    }
}

impl From<Option<bool>> for Out {
    fn from(value: Option<bool>) -> Out {
        value.map_or(Out::Null, Out::Bool)
    }
}

impl From<Option<String>> for Out {
    fn from(value: Option<String>) -> Out {
        value.map_or(Out::Null, Out::Text)
    }
}

/// An array of a known Kusto type, read cell by cell.
pub struct Column {
    values: Values,
    ty: ScalarType,
}

enum Values {
    Bool(BooleanArray),
    Int(Int32Array),
    Long(Int64Array),
    Real(Float64Array),
    Decimal(Decimal256Array),
    Text(StringViewArray),
}

impl Column {
    /// # Errors
    /// When the array cannot be cast to the Arrow type of `ty`.
    pub fn new(array: &ArrayRef, ty: ScalarType) -> Result<Column, ArrowError> {
        let wanted = arrow_type(ty);
        let array = if *array.data_type() == wanted { array.clone() } else { cast(array, &wanted)? };
        let values = match wanted {
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::Int32 => Values::Int(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Values::Long(array.as_primitive::<Int64Type>().clone()),
            DataType::Float64 => Values::Real(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal256(..) => Values::Decimal(array.as_primitive::<Decimal256Type>().clone()),
            _ => Values::Text(array.as_string_view().clone()),
        };
        Ok(Column { values, ty })
    }

    /// The array of a column that holds long integers, datetimes or timespans.
    pub fn longs(&self) -> Option<&Int64Array> {
        match &self.values {
            Values::Long(array) => Some(array),
            _ => None,
        }
    }

    /// The array of a column that holds texts.
    pub fn texts(&self) -> Option<&StringViewArray> {
        match &self.values {
            Values::Text(array) => Some(array),
            _ => None,
        }
    }

    pub fn cell(&self, row: usize) -> Cell<'_> {
        match &self.values {
            Values::Bool(array) if array.is_valid(row) => Cell::Bool(array.value(row)),
            Values::Int(array) if array.is_valid(row) => Cell::Long(i64::from(array.value(row))),
            Values::Long(array) if array.is_valid(row) => match self.ty {
                ScalarType::DateTime => Cell::DateTime(array.value(row)),
                ScalarType::TimeSpan => Cell::TimeSpan(array.value(row)),
                _ => Cell::Long(array.value(row)),
            },
            Values::Real(array) if array.is_valid(row) => Cell::Real(array.value(row)),
            Values::Decimal(array) if array.is_valid(row) => Cell::Decimal(array.value(row)),
            Values::Text(array) if array.is_valid(row) => match self.ty {
                ScalarType::Dynamic => Cell::Json(array.value(row)),
                ScalarType::Guid => Cell::Guid(array.value(row)),
                _ => Cell::Text(array.value(row)),
            },
            Values::Text(_) if self.ty == ScalarType::String => Cell::Text(""),
            _ => Cell::Null,
        }
    }
}

/// Builds an array of a Kusto type from kernel results.
pub enum Builder {
    Bool(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Real(Float64Builder),
    Decimal(Decimal256Builder),
    /// Whether an absent value is `""` rather than null.
    Text(StringViewBuilder, bool),
}

impl Builder {
    pub fn new(ty: ScalarType, rows: usize) -> Builder {
        match arrow_type(ty) {
            DataType::Boolean => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int32 => Builder::Int(Int32Builder::with_capacity(rows)),
            DataType::Int64 => Builder::Long(Int64Builder::with_capacity(rows)),
            DataType::Float64 => Builder::Real(Float64Builder::with_capacity(rows)),
            DataType::Decimal256(..) => Builder::Decimal(Decimal256Builder::with_capacity(rows).with_data_type(decimal::TYPE)),
            _ => Builder::Text(StringViewBuilder::with_capacity(rows), ty == ScalarType::String),
        }
    }

    pub fn push(&mut self, value: Out) {
        match (self, value) {
            (Builder::Bool(builder), Out::Bool(b)) => builder.append_value(b),
            (Builder::Bool(builder), _) => builder.append_null(),
            (Builder::Int(builder), Out::Long(n)) => builder.append_option(i32::try_from(n).ok()),
            (Builder::Int(builder), Out::Real(n)) => builder.append_value(n as i32),
            (Builder::Int(builder), _) => builder.append_null(),
            (Builder::Long(builder), Out::Long(n)) => builder.append_value(n),
            (Builder::Long(builder), Out::Real(n)) => builder.append_value(n as i64),
            (Builder::Long(builder), _) => builder.append_null(),
            (Builder::Real(builder), Out::Real(n)) => builder.append_value(n),
            (Builder::Real(builder), Out::Long(n)) => builder.append_value(n as f64),
            (Builder::Real(builder), _) => builder.append_null(),
            (Builder::Decimal(builder), Out::Decimal(n)) => builder.append_value(n),
            (Builder::Decimal(builder), Out::Long(n)) => builder.append_value(decimal::from_long(n)),
            (Builder::Decimal(builder), Out::Real(n)) => builder.append_option(decimal::from_real(n)),
            (Builder::Decimal(builder), _) => builder.append_null(),
            (Builder::Text(builder, _), Out::Text(text)) => builder.append_value(text),
            (Builder::Text(builder, true), _) => builder.append_value(""),
            (Builder::Text(builder, false), _) => builder.append_null(),
        }
    }

    pub fn finish(self) -> ArrayRef {
        match self {
            Builder::Bool(mut builder) => Arc::new(builder.finish()),
            Builder::Int(mut builder) => Arc::new(builder.finish()),
            Builder::Long(mut builder) => Arc::new(builder.finish()),
            Builder::Real(mut builder) => Arc::new(builder.finish()),
            Builder::Decimal(mut builder) => Arc::new(builder.finish()),
            Builder::Text(mut builder, _) => Arc::new(builder.finish()),
        }
    }
}
