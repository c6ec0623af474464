//! Rows that come from nowhere else: tables, `datatable`, `range`, and tabular variables.

use crate::arrow_types::{array, arrow_type};
use crate::functions::udf;
use crate::lower::{Lowering, Rows, constant, named, physical, reference};
use crate::table::Table;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::{Column as DfColumn, DFSchema, Result, ScalarValue, TableReference, internal_err};
use datafusion::datasource::provider_as_source;
use datafusion::functions_table::generate_series::{GenSeriesArgs, GenerateSeriesTable};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use std::collections::HashMap;
use std::sync::Arc;
use vidette_kql::bound::{self, Column, ColumnId, Plan};
use vidette_kql::{ScalarType, Value};

fn twin(column: &str) -> Option<&'static str> {
    match column {
        "TimeGenerated" => Some("Timestamp"),
        "Timestamp" => Some("TimeGenerated"),
        _ => None,
    }
}

impl Lowering<'_> {
    pub(crate) fn table(&mut self, name: &str, columns: &[Column]) -> Result<Rows> {
        let Some(table) = self.workspace.find(name) else { return internal_err!("the binder let the table {name} pass, which is not registered") };
        let mut united: Option<LogicalPlanBuilder> = None;
        let parts = table.parts(name);
        for part in parts.iter() {
            let plan = self.table_part(name, &table, part, parts.len() > 1, columns)?;
            united = Some(match united {
                Some(all) => all.union(plan.build()?)?,
                None => plan,
            });
        }
        let Some(mut plan) = united else { return internal_err!("the table {name} has no parts") };
        if let (Some((after, until)), Some(time)) = (self.seen_between(), self.window_time(columns)) {
            let undated = reference(time).is_null();
            let undated = match self.workspace.undated {
                Some(ticks) => undated.and(lit(ticks).lt_eq(until.clone())),
                None => undated,
            };
            plan = plan.filter(reference(time).gt(after).and(reference(time).lt_eq(until)).or(undated))?;
        }
        Ok(Rows { plan, order: Vec::new() })
    }

    /// The column that decides whether the clock's window shows a row.
    fn window_time<'c>(&self, columns: &'c [Column]) -> Option<&'c Column> {
        let time = |column: &&Column| matches!(column.name.as_str(), "TimeGenerated" | "Timestamp") && column.ty == ScalarType::DateTime;
        if self.seen_between().is_some() { columns.iter().find(time) } else { None }
    }

    fn table_part(&mut self, name: &str, table: &Table, part: &Arc<dyn TableProvider>, one_of_many: bool, columns: &[Column]) -> Result<LogicalPlanBuilder> {
        let alias = self.hidden_name("t");
        let plan = LogicalPlanBuilder::scan(TableReference::bare(alias.clone()), provider_as_source(part.clone()), None)?;
        let schema = part.schema();
        let mut shown = Vec::with_capacity(columns.len());
        let window_time = self.window_time(columns);
        for column in columns {
            if !self.is_used(column) && Some(column) != window_time {
                continue;
            }
            let stored = |field: &Field| table.edge(Expr::Column(DfColumn::new(Some(TableReference::bare(alias.clone())), field.name())), field, column.ty);
            let mut value = match schema.field_with_name(&column.name) {
                Ok(field) => stored(field),
                // Known to Defender, absent in this file. XDR says `Timestamp`, Sentinel `TimeGenerated`: each stands in for the other.
                Err(_) => match twin(&column.name).and_then(|name| schema.field_with_name(name).ok()) {
                    Some(field) => stored(field),
                    None if column.name == "Type" && column.ty == ScalarType::String => lit(ScalarValue::Utf8View(Some(name.to_owned()))),
                    None => Expr::Literal(crate::arrow_types::scalar(&Value::Null(column.ty)), None),
                },
            };
            if one_of_many && column.ty == ScalarType::String {
                // A dictionary column of one part must not decide the type of all.
                value = cast(value, arrow_type(column.ty));
            }
            shown.push(value.alias(physical(column.id)));
        }
        self.at_least_one(&mut shown);
        plan.project(shown)
    }

    pub(crate) fn values(&mut self, columns: &[Column], rows: &[Vec<Value>]) -> Result<Rows> {
        if columns.is_empty() {
            return Ok(Rows { plan: LogicalPlanBuilder::empty(!rows.is_empty()), order: Vec::new() });
        }
        let fields: Vec<Field> = columns.iter().map(|column| Field::new(physical(column.id), arrow_type(column.ty), column.ty != ScalarType::String)).collect();
        if rows.is_empty() {
            let schema = Arc::new(DFSchema::from_unqualified_fields(fields.into(), HashMap::new())?);
            return Ok(Rows { plan: LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }).into(), order: Vec::new() });
        }
        let arrays = columns.iter().enumerate().map(|(at, column)| array(column.ty, rows.iter().map(|row| &row[at]))).collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &RecordBatchOptions::new().with_row_count(Some(rows.len())))?;
        let provider = Arc::new(MemTable::try_new(schema, vec![vec![batch]])?);
        let alias = self.hidden_name("v");
        let plan = LogicalPlanBuilder::scan(TableReference::bare(alias.clone()), provider_as_source(provider), None)?;
        let shown = columns.iter().map(|column| Expr::Column(DfColumn::new(Some(TableReference::bare(alias.clone())), physical(column.id))).alias(physical(column.id)));
        Ok(Rows { plan: plan.project(shown.collect::<Vec<_>>())?, order: Vec::new() })
    }

    /// The rows are made as they are read. Where only the run knows the instant that they begin or end with, there is one row with
    /// the whole range as an array, then a row per element.
    pub(crate) fn range(&mut self, column: &Column, start: &bound::Expr, end: &bound::Expr, step: &bound::Expr) -> Result<Rows> {
        let bounds = [self.expr(start)?, self.expr(end)?, self.expr(step)?];
        if let [Ok(start), Ok(end), Ok(step)] = bounds.each_ref().map(constant) {
            return self.series(column, &start, &end, &step);
        }
        let list = udf::call("range", &[start.ty, end.ty, step.ty], ScalarType::Dynamic, bounds.to_vec());
        let plan = LogicalPlanBuilder::empty(true);
        let raw = self.hidden_name("range");
        let plan = plan.project(vec![crate::operators::mv_expand::elements(list, false, None, false).alias(raw.clone())])?;
        let plan = plan.unnest_column(DfColumn::new_unqualified(raw.clone()))?;
        let convert = match column.ty {
            ScalarType::Real => "real_of",
            ScalarType::DateTime => "todatetime",
            ScalarType::TimeSpan => "totimespan",
            _ => "long_of",
        };
        let value = udf::call(convert, &[ScalarType::Dynamic], column.ty, vec![named(raw)]);
        // An array without elements leaves one null row behind.
        let plan = plan.project(vec![value.alias(physical(column.id))])?.filter(reference(column).is_not_null())?;
        Ok(Rows { plan, order: Vec::new() })
    }

    fn series(&mut self, column: &Column, start: &ScalarValue, end: &ScalarValue, step: &ScalarValue) -> Result<Rows> {
        let alias = self.hidden_name("s");
        let last = match (start, end, step) {
            (ScalarValue::Float64(Some(start)), ScalarValue::Float64(Some(end)), ScalarValue::Float64(Some(step))) => last_of_reals(*start, *end, *step),
            (ScalarValue::Int64(Some(start)), ScalarValue::Int64(Some(end)), ScalarValue::Int64(Some(step))) => last_of_longs(*start, *end, *step),
            _ => -1,
        };
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let numbers = GenerateSeriesTable::new(schema, GenSeriesArgs::Int64Args { start: 0, end: last, step: 1, include_end: true, name: "range" });
        let plan = LogicalPlanBuilder::scan(TableReference::bare(alias.clone()), provider_as_source(Arc::new(numbers)), None)?;
        let number = Expr::Column(DfColumn::new(Some(TableReference::bare(alias)), "n"));
        let value = Expr::Literal(start.clone(), None) + cast(number, start.data_type()) * Expr::Literal(step.clone(), None);
        Ok(Rows { plan: plan.project(vec![cast(value, arrow_type(column.ty)).alias(physical(column.id))])?, order: Vec::new() })
    }

    /// A tabular variable, its columns under the ids of this use.
    pub(crate) fn named_value(&mut self, plan: &Arc<Plan>, columns: &[(Column, ColumnId)]) -> Result<Rows> {
        let rows = match self.drawn(plan)? {
            Some(rows) => rows,
            None => self.rows(plan)?,
        };
        if columns.is_empty() {
            return Ok(rows);
        }
        columns.iter().for_each(|(new, old)| self.weights.copy(new.id, *old));
        let mut shown: Vec<Expr> = columns.iter().filter(|(new, _)| self.is_used(new)).map(|(new, old)| named(physical(*old)).alias(physical(new.id))).collect();
        let order = self.carried(rows.order, &mut shown);
        self.at_least_one(&mut shown);
        Ok(Rows { plan: rows.plan.project(shown)?, order })
    }
}

/// The number of the last step that does not go beyond the end; -1 when there is none.
fn last_of_longs(start: i64, end: i64, step: i64) -> i64 {
    let way = i128::from(end) - i128::from(start);
    if step == 0 || way != 0 && (way < 0) != (step < 0) {
        return -1;
    }
    i64::try_from(way / i128::from(step)).unwrap_or(i64::MAX)
}

/// The same, where a quotient may be rounded.
fn last_of_reals(start: f64, end: f64, step: f64) -> i64 {
    let is_within = |n: i64| {
        let value = start + n as f64 * step;
        if step > 0.0 { value <= end } else { value >= end }
    };
    let last = ((end - start) / step).floor() as i64;
    if step == 0.0 || !step.is_finite() || !start.is_finite() || !is_within(0) {
        return -1;
    }
    // What floor() rounded away or took too much.
    if is_within(last.saturating_add(1)) {
        last.saturating_add(1)
    } else if is_within(last) {
        last
    } else {
        last - 1
    }
}
