//! `scan`: a row after the other against the steps, the last step first. Kusto docs: `scan-operator`.

use super::pass::{Definition, Shape, node};
use crate::arrow_types::{arrow_type, null};
use crate::lower::{Lowering, Rows, Shown, constant, executable, named, physical, reference};
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::PhysicalExpr;
use std::collections::HashMap;
use std::sync::Arc;
use vidette_kql::ScalarType;
use vidette_kql::bound::{Column, ColumnId, Expr as Bound, Plan, ScanOutput, ScanStep};

impl Lowering<'_> {
    /// The order of the input is the order of the result.
    pub(crate) fn scan(
        &mut self,
        input: &Plan,
        kept: &[Column],
        declared: &[(Column, Bound)],
        steps: &[ScanStep],
        match_id: Option<&Column>,
        partition: Option<ColumnId>,
    ) -> Result<Rows> {
        let wanted: Vec<bool> = kept.iter().map(|column| self.is_used(column)).collect();
        let is_wanted = |at: &usize| wanted.get(*at).copied().unwrap_or(true);
        // As many columns of a step's state are the input's; the declared ones come after them.
        let state = |columns: &[Column]| -> Vec<String> {
            let own = columns.len() - declared.len();
            (0..columns.len()).filter(|at| *at >= own || is_wanted(at)).map(|at| physical(columns[at].id)).collect()
        };
        let kept: Vec<Column> = (0..kept.len()).filter(is_wanted).map(|at| kept[at].clone()).collect();
        let rows = self.rows(input)?;
        let mut shown: Vec<Expr> = kept.iter().map(reference).collect();
        let mut order = Vec::with_capacity(rows.order.len());
        let mut order_names = Vec::with_capacity(rows.order.len());
        for mut key in rows.order {
            let name = self.hidden_name("order");
            shown.push(key.expr.alias(name.clone()));
            order_names.push(name.clone());
            key.expr = named(name);
            order.push(key);
        }
        self.at_least_one(&mut shown);
        let plan = rows.plan.show(shown)?.build()?;
        let shape = Shape {
            names: kept.iter().map(|column| column.name.clone()).collect(),
            types: kept.iter().map(|column| column.ty).collect(),
            arguments: 0,
            order: order.iter().map(|key| (!key.asc, key.nulls_first)).collect(),
        };
        let columns: Vec<Column> = kept.iter().chain(declared.iter().map(|(column, _)| column)).chain(match_id).cloned().collect();
        let mut fields: Vec<Field> = columns.iter().map(|column| Field::new(physical(column.id), crate::arrow_type(column.ty), true)).collect();
        // The keys of the order go through, so that what follows is in order too.
        fields.extend(order_names.iter().filter_map(|name| plan.schema().field_with_unqualified_name(name).ok().map(|field| field.as_ref().clone().with_nullable(true))));
        let program = Program {
            kept: kept.iter().map(|column| (physical(column.id), column.ty)).collect(),
            declared: declared.iter().map(|(column, default)| Ok((physical(column.id), column.ty, self.expr(default)?))).collect::<Result<_>>()?,
            steps: steps
                .iter()
                .map(|step| {
                    Ok(Step {
                        output: step.output,
                        condition: self.expr(&step.condition)?,
                        assignments: step.assignments.iter().map(|(at, value)| Ok((*at, self.expr(value)?))).collect::<Result<_>>()?,
                        state: state(&step.state),
                    })
                })
                .collect::<Result<_>>()?,
            match_id: match_id.is_some(),
            partition: partition.and_then(|id| kept.iter().position(|column| column.id == id)),
            order: order.len(),
        };
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        let definition =
            Arc::new(Definition { name: "scan".to_owned(), inputs: vec![shape], types: columns.iter().map(|column| column.ty).collect(), pattern: None, scan: Some(program) });
        Ok(Rows { plan: node(vec![plan], schema, definition), order })
    }
}

/// A `scan` as its plan holds it. Columns are known by their names in plans.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Program {
    kept: Vec<(String, ScalarType)>,
    /// Each with its default.
    declared: Vec<(String, ScalarType, Expr)>,
    steps: Vec<Step>,
    match_id: bool,
    partition: Option<usize>,
    /// Hidden columns of the order, after the kept ones.
    order: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Step {
    output: ScanOutput,
    condition: Expr,
    assignments: Vec<(usize, Expr)>,
    /// The kept and the declared columns of the row that the step's state remembers.
    state: Vec<String>,
}

/// A column that an expression reads.
#[derive(Clone, Copy, Debug)]
enum Source {
    Kept(usize),
    Declared(usize),
    /// A step's remembered row: a kept column, or after those a declared one.
    State(usize, usize),
}

/// An expression with the columns it reads.
#[derive(Debug)]
struct Reader {
    expr: Arc<dyn PhysicalExpr>,
    sources: Vec<Source>,
    schema: SchemaRef,
}

#[derive(Debug)]
pub(super) struct Compiled {
    program: Program,
    defaults: Vec<ScalarValue>,
    conditions: Vec<Condition>,
    assignments: Vec<Vec<(usize, Reader)>>,
}

/// When a step takes a row: what the row alone tells, asked of all rows at once, and what depends on the rows before.
#[derive(Debug)]
struct Condition {
    of_row: Option<Reader>,
    of_state: Option<Reader>,
}

/// A row that a step remembers.
#[derive(Clone)]
struct Record {
    row: usize,
    declared: Vec<ScalarValue>,
}

/// A step's active sequence: a row per step up to this one.
#[derive(Clone)]
struct Sequence {
    id: i64,
    records: Vec<Option<Record>>,
    /// With `output=last`: the step's last row, not shown yet.
    held: Option<(Record, i64)>,
}

/// The rows, and by step those that it takes as far as the row alone tells.
struct Table {
    columns: Vec<ArrayRef>,
    taken: Vec<Option<BooleanBuffer>>,
}

impl Reader {
    /// For which rows the expression, which reads nothing but them, is true.
    fn hold(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
        let read = self.sources.iter().filter_map(|source| if let Source::Kept(at) = source { columns.get(*at).cloned() } else { None }).collect();
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), read, &RecordBatchOptions::new().with_row_count(Some(rows)))?;
        let values = self.expr.evaluate(&batch)?.into_array(rows)?;
        let values = values.as_boolean();
        Ok(match values.nulls() {
            Some(nulls) => values.values() & nulls.inner(),
            None => values.values().clone(),
        })
    }
}

impl Program {
    pub(super) fn compile(&self) -> Result<Compiled> {
        let mut sources: HashMap<&str, (Source, ScalarType)> = HashMap::new();
        for (at, (name, ty)) in self.kept.iter().enumerate() {
            sources.insert(name, (Source::Kept(at), *ty));
        }
        for (at, (name, ty, _)) in self.declared.iter().enumerate() {
            sources.insert(name, (Source::Declared(at), *ty));
        }
        for (step, definition) in self.steps.iter().enumerate() {
            // A group's hidden columns are kept too, but no step can name them.
            let own = definition.state.len() - self.declared.len();
            for (at, name) in definition.state.iter().enumerate() {
                let (place, ty) = if at < own { (at, self.kept[at].1) } else { (self.kept.len() + at - own, self.declared[at - own].1) };
                sources.insert(name, (Source::State(step, place), ty));
            }
        }
        let reader = |expr: &Expr| -> Result<Reader> {
            let mut names: Vec<&str> = expr.column_refs().into_iter().map(|column| column.name.as_str()).collect();
            names.sort_unstable();
            let found: Vec<(&str, Source, ScalarType)> = names.into_iter().filter_map(|name| sources.get(name).map(|(source, ty)| (name, *source, *ty))).collect();
            let fields: Vec<Field> = found.iter().map(|(name, _, ty)| Field::new(*name, arrow_type(*ty), true)).collect();
            let schema = Arc::new(Schema::new(fields));
            let expr = executable(expr, &DFSchema::try_from(schema.as_ref().clone())?)?;
            Ok(Reader { expr, sources: found.iter().map(|(_, source, _)| *source).collect(), schema })
        };
        let mut defaults = Vec::with_capacity(self.declared.len());
        for (_, ty, default) in &self.declared {
            defaults.push(constant(default)?.cast_to(&arrow_type(*ty))?);
        }
        let of_row = |part: &&Expr| part.column_refs().into_iter().all(|column| matches!(sources.get(column.name.as_str()), Some((Source::Kept(_), _))));
        let all = |parts: Vec<&Expr>| conjunction(parts.into_iter().cloned()).map(|all| reader(&all)).transpose();
        let condition = |step: &Step| {
            let (rows, states) = split_conjunction(&step.condition).into_iter().partition(of_row);
            Ok(Condition { of_row: all(rows)?, of_state: all(states)? })
        };
        let conditions = self.steps.iter().map(condition).collect::<Result<_>>()?;
        let assignments = self.steps.iter().map(|step| step.assignments.iter().map(|(at, value)| Ok((*at, reader(value)?))).collect::<Result<_>>()).collect::<Result<_>>()?;
        Ok(Compiled { program: self.clone(), defaults, conditions, assignments })
    }
}

impl Compiled {
    pub(super) fn run(&self, rows: &RecordBatch, schema: SchemaRef) -> Result<RecordBatch> {
        let kept = self.program.kept.len();
        let columns: Vec<ArrayRef> =
            self.program.kept.iter().zip(rows.columns()).map(|((_, ty), array)| Ok(arrow::compute::cast(array, &arrow_type(*ty))?)).collect::<Result<_>>()?;
        let taken = self.conditions.iter().map(|condition| condition.of_row.as_ref().map(|reader| reader.hold(&columns, rows.num_rows())).transpose()).collect::<Result<_>>()?;
        let table = Table { columns, taken };
        let columns = &table.columns;
        let mut shown: Vec<(Record, i64)> = Vec::new();
        let mut next_id = 0;
        for group in self.groups(columns, rows.num_rows())? {
            let mut states: Vec<Option<Sequence>> = vec![None; self.program.steps.len()];
            for row in group {
                self.visit(&table, row, &mut states, &mut next_id, &mut shown)?;
            }
            for state in states.into_iter().flatten() {
                shown.extend(state.held);
            }
        }
        let indices = UInt32Array::from_iter_values(shown.iter().map(|(record, _)| record.row as u32));
        let mut out: Vec<ArrayRef> = columns.iter().map(|column| Ok(take(column, &indices, None)?)).collect::<Result<_>>()?;
        for (at, (_, ty, _)) in self.program.declared.iter().enumerate() {
            out.push(if shown.is_empty() { new_empty_array(&arrow_type(*ty)) } else { ScalarValue::iter_to_array(shown.iter().map(|(record, _)| record.declared[at].clone()))? });
        }
        if self.program.match_id {
            out.push(Arc::new(arrow::array::Int64Array::from_iter_values(shown.iter().map(|(_, id)| *id))));
        }
        for order in &rows.columns()[kept..kept + self.program.order] {
            out.push(take(order, &indices, None)?);
        }
        let out = out
            .into_iter()
            .zip(schema.fields())
            .map(|(array, field)| if array.data_type() == field.data_type() { Ok(array) } else { arrow::compute::cast(&array, field.data_type()) });
        let options = RecordBatchOptions::new().with_row_count(Some(shown.len()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), out.collect::<Result<_, _>>()?, &options)?)
    }

    /// The rows of each partition, in their order.
    fn groups(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Vec<usize>>> {
        let Some(partition) = self.program.partition else { return Ok(vec![(0..rows).collect()]) };
        let mut places: HashMap<ScalarValue, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for row in 0..rows {
            let place = *places.entry(ScalarValue::try_from_array(&columns[partition], row)?).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(row);
        }
        Ok(groups)
    }

    fn visit(&self, table: &Table, row: usize, states: &mut [Option<Sequence>], next_id: &mut i64, shown: &mut Vec<(Record, i64)>) -> Result<()> {
        for at in (0..self.program.steps.len()).rev() {
            let fresh = Record { row, declared: self.defaults.clone() };
            // The sequence of the step before goes on here, or this step's own does.
            let promoted = at > 0 && states[at - 1].is_some() && self.matches(table, at, &fresh, states[at - 1].as_ref())?;
            let mut sequence = if promoted {
                shown.extend(states[at].take().and_then(|state| state.held));
                let mut sequence = states[at - 1].take();
                shown.extend(sequence.as_mut().and_then(|state| state.held.take()));
                sequence
            } else if (at == 0 || states[at].is_some()) && self.matches(table, at, &fresh, states[at].as_ref())? {
                states[at].take()
            } else {
                continue;
            };
            let mut record = fresh;
            for (declared, value) in &self.assignments[at] {
                record.declared[*declared] = self.evaluate(&table.columns, value, &record, sequence.as_ref())?;
            }
            let mut sequence = sequence.take().unwrap_or_else(|| {
                *next_id += 1;
                Sequence { id: *next_id - 1, records: Vec::new(), held: None }
            });
            sequence.records.resize(at + 1, None);
            sequence.records[at] = Some(record.clone());
            match self.program.steps[at].output {
                ScanOutput::All => shown.push((record, sequence.id)),
                ScanOutput::Last => sequence.held = Some((record, sequence.id)),
                ScanOutput::None => {}
            }
            states[at] = Some(sequence);
        }
        Ok(())
    }

    fn matches(&self, table: &Table, step: usize, row: &Record, state: Option<&Sequence>) -> Result<bool> {
        if table.taken[step].as_ref().is_some_and(|taken| !taken.value(row.row)) {
            return Ok(false);
        }
        match &self.conditions[step].of_state {
            Some(reader) => Ok(self.evaluate(&table.columns, reader, row, state)? == ScalarValue::Boolean(Some(true))),
            None => Ok(true),
        }
    }

    fn evaluate(&self, columns: &[ArrayRef], reader: &Reader, row: &Record, state: Option<&Sequence>) -> Result<ScalarValue> {
        let mut arrays = Vec::with_capacity(reader.sources.len());
        for source in &reader.sources {
            let array = match *source {
                Source::Kept(column) => columns[column].slice(row.row, 1),
                Source::Declared(column) => row.declared[column].to_array()?,
                Source::State(step, column) => match state.and_then(|state| state.records.get(step)?.as_ref()) {
                    Some(record) if column < columns.len() => columns[column].slice(record.row, 1),
                    Some(record) => record.declared[column - columns.len()].to_array()?,
                    None if column < columns.len() => absent(self.program.kept[column].1).to_array()?,
                    None => self.defaults[column - columns.len()].to_array()?,
                },
            };
            arrays.push(array);
        }
        let batch = RecordBatch::try_new_with_options(reader.schema.clone(), arrays, &RecordBatchOptions::new().with_row_count(Some(1)))?;
        match reader.expr.evaluate(&batch)? {
            ColumnarValue::Scalar(value) => Ok(value),
            ColumnarValue::Array(array) if array.len() == 1 => ScalarValue::try_from_array(&array, 0),
            ColumnarValue::Array(array) => internal_err!("an expression of a scan gave {} values for one row", array.len()),
        }
    }
}

/// What a state without a row holds.
fn absent(ty: ScalarType) -> ScalarValue {
    if ty == ScalarType::String { ScalarValue::Utf8View(Some(String::new())) } else { null(ty) }
}
