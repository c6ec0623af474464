//! Normalized rows, and the Arrow columns they become.

use crate::schemas::{ColumnType, TableSchema};
use arrow::array::{ArrayBuilder, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use compact_str::CompactString;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// A value of a row. Absent strings are `""`, absent others null.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Text(CompactString),
    Long(i64),
    Real(f64),
    Bool(bool),
    /// Ticks of 100 ns since 0001-01-01, for datetime and timespan.
    Ticks(i64),
    /// JSON text, known to be valid.
    Json(String),
}

impl Field {
    /// The value as text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Field::Text(text) => Cow::Borrowed(text),
            Field::Json(text) => Cow::Borrowed(text),
            Field::Long(value) | Field::Ticks(value) => Cow::Owned(value.to_string()),
            Field::Bool(value) => Cow::Owned(value.to_string()),
            Field::Real(value) => Cow::Owned(value.to_string()),
        }
    }
}

/// One row of a table: only the columns that hold something.
#[derive(Clone, Debug)]
pub struct Row {
    pub table: &'static TableSchema,
    pub fields: Vec<(u16, Field)>,
    pub links: Links,
    /// Which of the first columns hold something, a bit each.
    filled: [u128; 2],
}

/// What a row still wants from other events.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The process whose `InitiatingProcess*` columns this row carries.
    pub process: Option<CompactString>,
    /// The process created by this row's event, whose parent the row names.
    pub created: Option<CompactString>,
    /// A remote address that DNS may name.
    pub remote_ip: Option<CompactString>,
    pub time_ticks: i64,
    /// Of the log it was read from.
    pub record_id: u64,
    pub host: CompactString,
    /// It was read as a row of its table, not made of an event.
    pub given: bool,
}

impl Row {
    pub fn new(table: &'static TableSchema) -> Row {
        Row::with_capacity(table, 24)
    }

    /// With room for so many columns.
    pub fn with_capacity(table: &'static TableSchema, columns: usize) -> Row {
        Row { table, fields: Vec::with_capacity(columns), links: Links::default(), filled: [0; 2] }
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
        match self.place(position) {
            Some(at) => self.fields[at].1 = value,
            None => {
                if let Some(bits) = self.filled.get_mut(position >> 7) {
                    *bits |= 1 << (position & 127);
                }
                self.fields.push((position as u16, value));
            }
        }
    }

    /// Where in `fields` a column is.
    fn place(&self, position: usize) -> Option<usize> {
        if !self.may_hold(position) {
            return None;
        }
        self.fields.iter().position(|(at, _)| usize::from(*at) == position)
    }

    /// Whether a column may hold something; the first 256 are known.
    pub(crate) fn may_hold(&self, position: usize) -> bool {
        self.filled.get(position >> 7).is_none_or(|bits| bits & 1 << (position & 127) != 0)
    }

    pub fn text(&mut self, column: &str, value: impl Into<CompactString>) -> &mut Row {
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
        let at = self.place(self.table.position(column)?)?;
        Some(&self.fields[at].1)
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

/// The values of one column, each with the number of its row; rows without one are left out.
type Cells<'a> = Vec<(u32, &'a Field)>;

fn column(ty: ColumnType, rows: usize, cells: &Cells, absent: &Int32Array) -> Result<ArrayRef, ArrowError> {
    Ok(match ty {
        ColumnType::Bool => Arc::new(options(rows, cells, truth).collect::<BooleanArray>()),
        ColumnType::Int => Arc::new(options(rows, cells, |field| long(field).and_then(|value| i32::try_from(value).ok())).collect::<Int32Array>()),
        ColumnType::Long | ColumnType::DateTime | ColumnType::TimeSpan => Arc::new(options(rows, cells, long).collect::<Int64Array>()),
        ColumnType::Real | ColumnType::Decimal => Arc::new(options(rows, cells, real).collect::<Float64Array>()),
        ColumnType::String => Arc::new(dictionary(rows, cells, absent)?),
        ColumnType::Guid | ColumnType::Dynamic => {
            let mut builder = StringViewBuilder::with_capacity(rows);
            for text in options(rows, cells, |field| Some(field.text())) {
                builder.append_option(text);
            }
            Arc::new(builder.finish())
        }
    })
}

/// What the cells hold, row by row.
fn options<'a, T>(rows: usize, cells: &'a Cells, read: impl Fn(&'a Field) -> Option<T> + 'a) -> impl Iterator<Item = Option<T>> + 'a {
    let mut cells = cells.iter().peekable();
    (0..rows as u32).map(move |row| cells.next_if(|(at, _)| *at == row).and_then(|(_, field)| read(field)))
}

fn truth(field: &Field) -> Option<bool> {
    match field {
        Field::Bool(value) => Some(*value),
        Field::Long(value) => Some(*value != 0),
        Field::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
        Field::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
        _ => None,
    }
}

fn long(field: &Field) -> Option<i64> {
    match field {
        Field::Long(value) | Field::Ticks(value) => Some(*value),
        Field::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn real(field: &Field) -> Option<f64> {
    match field {
        Field::Real(value) => Some(*value),
        Field::Long(value) => Some(*value as f64),
        Field::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Each text once. Rows without a cell hold `""`, which is then the first text.
fn dictionary(rows: usize, cells: &Cells, absent: &Int32Array) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let mut texts = StringBuilder::with_capacity(cells.len().min(64), cells.len() * 8);
    if cells.len() < rows {
        texts.append_value("");
    }
    if cells.is_empty() {
        return DictionaryArray::try_new(absent.clone(), Arc::new(texts.finish()));
    }
    let hasher = foldhash::fast::FixedState::default();
    // The key of a text with the row that first held it.
    let mut known: HashTable<(i32, u32)> = HashTable::with_capacity(64);
    let mut keys = vec![0; rows];
    let mut before: Option<(Cow<str>, i32)> = None;
    for (number, (row, field)) in cells.iter().enumerate() {
        let value = field.text();
        let same = before.as_ref().filter(|(text, _)| *text == value);
        let key = if let Some((_, key)) = same {
            *key
        } else if value.is_empty() && cells.len() < rows {
            0
        } else {
            let is_value = |(_, at): &(i32, u32)| cells[*at as usize].1.text() == value;
            let hash_of = |(_, at): &(i32, u32)| hasher.hash_one(cells[*at as usize].1.text().as_bytes());
            match known.entry(hasher.hash_one(value.as_bytes()), is_value, hash_of) {
                Entry::Occupied(entry) => entry.get().0,
                Entry::Vacant(entry) => {
                    let key = i32::try_from(texts.len()).map_err(|_| ArrowError::DictionaryKeyOverflowError)?;
                    texts.append_value(&value);
                    entry.insert((key, number as u32));
                    key
                }
            }
        };
        keys[*row as usize] = key;
        before = Some((value, key));
    }
    DictionaryArray::try_new(Int32Array::from(keys), Arc::new(texts.finish()))
}

/// The Arrow schema of some columns of a table, by their places: strings are dictionaries without nulls, times are ticks.
fn arrow_schema(table: &TableSchema, columns: &[usize]) -> Arc<Schema> {
    let fields: Vec<ArrowField> = columns
        .iter()
        .map(|at| {
            let column = &table.columns[*at];
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

/// One batch of all rows, which must be of one table, with all its columns.
///
/// # Errors
/// When the columns do not make a batch, which is a bug.
pub fn batch(table: &'static TableSchema, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    batch_of(table, rows, &(0..table.columns.len()).collect::<Vec<_>>())
}

/// As [`batch`], with the columns at these places.
pub(crate) fn batch_of(table: &'static TableSchema, rows: &[Row], columns: &[usize]) -> Result<RecordBatch, ArrowError> {
    let mut cells: Vec<Cells> = vec![Cells::new(); table.columns.len()];
    for (at, row) in rows.iter().enumerate() {
        row.fields.iter().for_each(|(column, value)| cells[usize::from(*column)].push((at as u32, value)));
    }
    // Columns that nothing fills share their keys.
    let absent = Int32Array::from(vec![0; rows.len()]);
    let arrays = columns.iter().map(|at| column(table.columns[*at].ty, rows.len(), &cells[*at], &absent)).collect::<Result<_, _>>()?;
    RecordBatch::try_new_with_options(arrow_schema(table, columns), arrays, &RecordBatchOptions::new().with_row_count(Some(rows.len())))
}
