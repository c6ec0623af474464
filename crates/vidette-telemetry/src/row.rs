//! Normalized rows, and the Arrow columns they become.

use crate::schemas::{ColumnType, TableSchema};
use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringDictionaryBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use std::sync::Arc;

/// A value of a row. Absent strings are `""`, absent others null.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Text(String),
    Long(i64),
    Real(f64),
    Bool(bool),
    /// Ticks of 100 ns since 0001-01-01, for datetime and timespan.
    Ticks(i64),
    /// JSON text, known to be valid.
    Json(String),
}

/// One row of a table: only the columns that hold something.
#[derive(Clone, Debug)]
pub struct Row {
    pub table: &'static TableSchema,
    pub fields: Vec<(u16, Field)>,
    pub links: Links,
}

/// What a row still wants from other events.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The process whose `InitiatingProcess*` columns this row carries.
    pub process: Option<String>,
    /// The process created by this row's event, whose parent the row names.
    pub created: Option<String>,
    /// A remote address that DNS may name.
    pub remote_ip: Option<String>,
    pub time_ticks: i64,
    pub host: String,
}

impl Row {
    pub fn new(table: &'static TableSchema) -> Row {
        Row { table, fields: Vec::with_capacity(24), links: Links::default() }
    }

    /// Sets a column; a column the table does not have, and an empty text, set nothing.
    pub fn set(&mut self, column: &str, value: Field) -> &mut Row {
        if matches!(&value, Field::Text(text) if text.is_empty()) {
            return self;
        }
        if let Some(position) = self.table.position(column) {
            self.set_at(position, value);
        }
        self
    }

    /// As [`Row::set`], of the column at a position.
    pub fn set_at(&mut self, position: usize, value: Field) {
        let position = position as u16;
        match self.fields.iter_mut().find(|(at, _)| *at == position) {
            Some((_, slot)) => *slot = value,
            None => self.fields.push((position, value)),
        }
    }

    pub fn text(&mut self, column: &str, value: impl Into<String>) -> &mut Row {
        self.set(column, Field::Text(value.into()))
    }

    pub fn long(&mut self, column: &str, value: Option<i64>) -> &mut Row {
        if let Some(value) = value {
            self.set(column, Field::Long(value));
        }
        self
    }

    pub fn ticks(&mut self, column: &str, value: Option<i64>) -> &mut Row {
        if let Some(value) = value {
            self.set(column, Field::Ticks(value));
        }
        self
    }

    pub fn get(&self, column: &str) -> Option<&Field> {
        let position = self.table.position(column)? as u16;
        self.fields.iter().find(|(at, _)| *at == position).map(|(_, value)| value)
    }

    pub fn has(&self, column: &str) -> bool {
        self.get(column).is_some()
    }

    /// Sets the column unless it holds something.
    pub fn fill(&mut self, column: &str, value: &Field) {
        if !self.has(column) {
            self.set(column, value.clone());
        }
    }
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Real(Float64Builder),
    Text(StringDictionaryBuilder<Int32Type>),
    Json(StringViewBuilder),
}

impl Builder {
    fn new(ty: ColumnType) -> Builder {
        match ty {
            ColumnType::Bool => Builder::Bool(BooleanBuilder::new()),
            ColumnType::Int => Builder::Int(Int32Builder::new()),
            ColumnType::Long | ColumnType::DateTime | ColumnType::TimeSpan => Builder::Long(Int64Builder::new()),
            ColumnType::Real | ColumnType::Decimal => Builder::Real(Float64Builder::new()),
            ColumnType::String => Builder::Text(StringDictionaryBuilder::new()),
            ColumnType::Guid | ColumnType::Dynamic => Builder::Json(StringViewBuilder::new()),
        }
    }

    fn push(&mut self, value: Option<&Field>) {
        match (self, value) {
            (Builder::Bool(builder), Some(Field::Bool(value))) => builder.append_value(*value),
            (Builder::Bool(builder), Some(Field::Text(text))) if matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0") => {
                builder.append_value(matches!(text.to_ascii_lowercase().as_str(), "true" | "1"));
            }
            (Builder::Bool(builder), Some(Field::Long(value))) => builder.append_value(*value != 0),
            (Builder::Bool(builder), _) => builder.append_null(),
            (Builder::Int(builder), Some(Field::Long(value))) => builder.append_option(i32::try_from(*value).ok()),
            (Builder::Int(builder), Some(Field::Text(text))) => builder.append_option(text.parse().ok()),
            (Builder::Int(builder), _) => builder.append_null(),
            (Builder::Long(builder), Some(Field::Long(value) | Field::Ticks(value))) => builder.append_value(*value),
            (Builder::Long(builder), Some(Field::Text(text))) => builder.append_option(text.parse().ok()),
            (Builder::Long(builder), _) => builder.append_null(),
            (Builder::Real(builder), Some(Field::Real(value))) => builder.append_value(*value),
            (Builder::Real(builder), Some(Field::Long(value))) => builder.append_value(*value as f64),
            (Builder::Real(builder), _) => builder.append_null(),
            (Builder::Text(builder), Some(Field::Text(text) | Field::Json(text))) => builder.append_value(text),
            (Builder::Text(builder), Some(Field::Long(value))) => builder.append_value(value.to_string()),
            (Builder::Text(builder), Some(Field::Bool(value))) => builder.append_value(value.to_string()),
            (Builder::Text(builder), Some(Field::Real(value))) => builder.append_value(value.to_string()),
            (Builder::Text(builder), _) => builder.append_value(""),
            (Builder::Json(builder), Some(Field::Json(text) | Field::Text(text))) => builder.append_value(text),
            (Builder::Json(builder), Some(Field::Long(value))) => builder.append_value(value.to_string()),
            (Builder::Json(builder), Some(Field::Bool(value))) => builder.append_value(value.to_string()),
            (Builder::Json(builder), _) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Builder::Bool(mut builder) => Arc::new(builder.finish()),
            Builder::Int(mut builder) => Arc::new(builder.finish()),
            Builder::Long(mut builder) => Arc::new(builder.finish()),
            Builder::Real(mut builder) => Arc::new(builder.finish()),
            Builder::Text(mut builder) => Arc::new(builder.finish()),
            Builder::Json(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// The Arrow schema of a table: strings are dictionaries without nulls, times are ticks.
pub fn arrow_schema(table: &TableSchema) -> Arc<Schema> {
    let fields: Vec<ArrowField> = table
        .columns
        .iter()
        .map(|column| {
            let (ty, nullable) = match column.ty {
                ColumnType::Bool => (DataType::Boolean, true),
                ColumnType::Int => (DataType::Int32, true),
                ColumnType::Long | ColumnType::DateTime | ColumnType::TimeSpan => (DataType::Int64, true),
                ColumnType::Real | ColumnType::Decimal => (DataType::Float64, true),
                ColumnType::String => (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), false),
                ColumnType::Guid | ColumnType::Dynamic => (DataType::Utf8View, true),
            };
            let field = ArrowField::new(column.name, ty, nullable);
            if column.ty == ColumnType::Dynamic { field.with_metadata(HashMap::from([("vidette.json".to_owned(), "valid".to_owned())])) } else { field }
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// One batch of all rows, which must be of one table.
///
/// # Errors
/// When the columns do not make a batch, which is a bug.
pub fn batch(table: &'static TableSchema, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let mut builders: Vec<Builder> = table.columns.iter().map(|column| Builder::new(column.ty)).collect();
    let mut sparse: Vec<Option<&Field>> = vec![None; builders.len()];
    for row in rows {
        row.fields.iter().for_each(|(at, value)| sparse[usize::from(*at)] = Some(value));
        for (builder, value) in builders.iter_mut().zip(&sparse) {
            builder.push(*value);
        }
        row.fields.iter().for_each(|(at, _)| sparse[usize::from(*at)] = None);
    }
    RecordBatch::try_new(arrow_schema(table), builders.into_iter().map(Builder::finish).collect())
}
