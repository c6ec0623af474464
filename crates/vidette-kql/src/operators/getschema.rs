//! `getschema`: one row per column. Kusto docs: `getschema-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::Plan;
use crate::span::Span;
use crate::types::{ScalarType, Value};

#[derive(Clone, Debug)]
pub struct GetSchema {
    pub span: Span,
}

impl GetSchema {
    pub(crate) fn name(&self) -> &'static str {
        "getschema"
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let columns = vec![
            binder.column("ColumnName", ScalarType::String),
            binder.column("ColumnOrdinal", ScalarType::Long),
            binder.column("DataType", ScalarType::String),
            binder.column("ColumnType", ScalarType::String),
        ];
        let rows = input
            .columns
            .iter()
            .enumerate()
            .map(|(ordinal, column)| {
                vec![Value::String(column.name.clone()), Value::Long(ordinal as i64), Value::String(column.ty.dotnet_name().to_owned()), Value::String(column.ty.name().to_owned())]
            })
            .collect();
        Some(Relation { plan: Plan::Values { columns: columns.clone(), rows }, columns })
    }
}
