//! Rows that come from nowhere else: tables, `datatable`, `range`, and tabular variables.

use crate::arrow_types::{array, arrow_type};
use crate::functions::udf;
use crate::lower::{Lowering, Rows, named, physical, reference};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::MemTable;
use datafusion::common::{Column as DfColumn, Result, TableReference, internal_err, not_impl_err};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
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
        let alias = self.hidden_name("t");
        let plan = LogicalPlanBuilder::scan(TableReference::bare(alias.clone()), provider_as_source(table.provider.clone()), None)?;
        let schema = table.provider.schema();
        let mut shown = Vec::with_capacity(columns.len());
        let window_time =
            columns.iter().find(|column| self.clock.window.is_some() && matches!(column.name.as_str(), "TimeGenerated" | "Timestamp") && column.ty == ScalarType::DateTime);
        for column in columns {
            if !self.is_used(column) && Some(column) != window_time {
                continue;
            }
            let value = match schema.field_with_name(&column.name) {
                Ok(field) => table.edge(Expr::Column(DfColumn::new(Some(TableReference::bare(alias.clone())), &column.name)), field, column.ty),
                // Known to Defender, absent in this file. XDR says `Timestamp`, Sentinel `TimeGenerated`: each stands in for the other.
                Err(_) => match twin(&column.name).and_then(|name| schema.field_with_name(name).ok()) {
                    Some(field) => table.edge(Expr::Column(DfColumn::new(Some(TableReference::bare(alias.clone())), field.name())), field, column.ty),
                    None => Expr::Literal(crate::arrow_types::scalar(&Value::Null(column.ty)), None),
                },
            };
            shown.push(value.alias(physical(column.id)));
        }
        self.at_least_one(&mut shown);
        let mut plan = plan.project(shown)?;
        if let (Some((after, until)), Some(time)) = (self.clock.window, window_time) {
            let seen = reference(time).gt(lit(after)).and(reference(time).lt_eq(lit(until)));
            plan = plan.filter(seen.or(reference(time).is_null()))?;
        }
        Ok(Rows { plan, order: Vec::new() })
    }

    pub(crate) fn values(&mut self, columns: &[Column], rows: &[Vec<Value>]) -> Result<Rows> {
        if columns.is_empty() {
            return Ok(Rows { plan: LogicalPlanBuilder::empty(!rows.is_empty()), order: Vec::new() });
        }
        if columns.iter().any(|column| column.ty == ScalarType::Decimal) {
            return not_impl_err!("values of type decimal");
        }
        let fields: Vec<Field> = columns.iter().map(|column| Field::new(physical(column.id), arrow_type(column.ty), column.ty != ScalarType::String)).collect();
        let arrays = columns.iter().enumerate().map(|(at, column)| array(column.ty, rows.iter().map(|row| &row[at]))).collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &RecordBatchOptions::new().with_row_count(Some(rows.len())))?;
        let provider = Arc::new(MemTable::try_new(schema, vec![vec![batch]])?);
        let alias = self.hidden_name("v");
        let plan = LogicalPlanBuilder::scan(TableReference::bare(alias.clone()), provider_as_source(provider), None)?;
        let shown = columns.iter().map(|column| Expr::Column(DfColumn::new(Some(TableReference::bare(alias.clone())), physical(column.id))).alias(physical(column.id)));
        Ok(Rows { plan: plan.project(shown.collect::<Vec<_>>())?, order: Vec::new() })
    }

    /// One row with the whole range as an array, then a row per element.
    pub(crate) fn range(&mut self, column: &Column, start: &bound::Expr, end: &bound::Expr, step: &bound::Expr) -> Result<Rows> {
        let list = udf::call("range", &[start.ty, end.ty, step.ty], ScalarType::Dynamic, vec![self.expr(start)?, self.expr(end)?, self.expr(step)?]);
        let plan = LogicalPlanBuilder::empty(true);
        let raw = self.hidden_name("range");
        let plan = plan.project(vec![crate::operators::mv_expand::elements(list, false, None).alias(raw.clone())])?;
        let plan = plan.unnest_column(DfColumn::new_unqualified(raw.clone()))?;
        let convert = match column.ty {
            ScalarType::Real => "toreal",
            ScalarType::DateTime => "todatetime",
            ScalarType::TimeSpan => "totimespan",
            _ => "tolong",
        };
        let value = udf::call(convert, &[ScalarType::Dynamic], column.ty, vec![named(raw)]);
        // An array without elements leaves one null row behind.
        let plan = plan.project(vec![value.alias(physical(column.id))])?.filter(reference(column).is_not_null())?;
        Ok(Rows { plan, order: Vec::new() })
    }

    /// A tabular variable, its columns under the ids of this use.
    pub(crate) fn named_value(&mut self, plan: &Plan, columns: &[(Column, ColumnId)]) -> Result<Rows> {
        let rows = self.rows(plan)?;
        if columns.is_empty() {
            return Ok(rows);
        }
        columns.iter().for_each(|(new, old)| self.weights.copy(new.id, *old));
        let mut shown: Vec<Expr> = columns.iter().filter(|(new, _)| self.is_used(new)).map(|(new, old)| named(physical(*old)).alias(physical(new.id))).collect();
        let mut order = Vec::with_capacity(rows.order.len());
        for mut key in rows.order {
            let name = self.hidden_name("order");
            shown.push(key.expr.alias(name.clone()));
            key.expr = named(name);
            order.push(key);
        }
        self.at_least_one(&mut shown);
        Ok(Rows { plan: rows.plan.project(shown)?, order })
    }
}
