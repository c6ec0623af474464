//! `join` and `lookup`.

use crate::arrow_types::scalar;
use crate::lower::{Lowering, Rows, Shown, physical, reference};
use datafusion::common::{Column as DfColumn, JoinType, Result};
use datafusion::functions_aggregate::expr_fn::first_value;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlanBuilder, Operator};
use datafusion::prelude::coalesce;
use std::collections::BTreeSet;
use vidette_kql::bound::{Column, Expr as Bound, JoinKind, Plan};
use vidette_kql::{ScalarType, Value};

impl Lowering<'_> {
    pub(crate) fn join(&mut self, kind: JoinKind, left: &Plan, right: &Plan, keys: &[(Bound, Bound)], left_columns: &[Column], right_columns: &[Column]) -> Result<Rows> {
        let left_columns = &self.kept(left_columns);
        let right_columns = &self.kept(right_columns);
        let left_rows = self.rows(left)?;
        let right_rows = self.rows(right)?;
        let mut left_plan = left_rows.plan.show(columns(left_columns))?;
        let mut right_plan = right_rows.plan.show(columns(right_columns))?;
        if kind == JoinKind::InnerUnique {
            // One row of the left per key, as the default kind keeps.
            let by = keys.iter().map(|(key, _)| self.expr(key)).collect::<Result<Vec<_>>>()?;
            let firsts: Vec<Expr> = left_columns.iter().map(|column| first_value(reference(column), Vec::new()).alias(physical(column.id))).collect();
            let names: Vec<(Expr, String)> = by.into_iter().map(|key| (key, self.hidden_name("key"))).collect();
            let by = names.into_iter().map(|(key, name)| key.alias(name)).collect::<Vec<_>>();
            left_plan = left_plan.aggregate(by, firsts)?.show(columns(left_columns))?;
        }
        // Two nulls are the same key, says Kusto's emulator. Texts are never null; keys of both kinds would not be hashed together.
        let texts_only = keys.iter().all(|(left, _)| left.ty == ScalarType::String);
        let operator = if texts_only { Operator::Eq } else { Operator::IsNotDistinctFrom };
        let keys = keys.iter().map(|(left, right)| Ok((self.expr(left)?, self.expr(right)?))).collect::<Result<Vec<_>>>()?;
        match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => right_plan = once(right_plan, keys.iter().map(|(_, key)| key))?,
            JoinKind::RightSemi | JoinKind::RightAnti => left_plan = once(left_plan, keys.iter().map(|(key, _)| key))?,
            _ => {}
        }
        let conditions: Vec<Expr> = keys.into_iter().map(|(left, right)| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))).collect();
        let join_type = match kind {
            JoinKind::Inner | JoinKind::InnerUnique => JoinType::Inner,
            JoinKind::LeftOuter => JoinType::Left,
            JoinKind::RightOuter => JoinType::Right,
            JoinKind::FullOuter => JoinType::Full,
            JoinKind::LeftSemi => JoinType::LeftSemi,
            JoinKind::RightSemi => JoinType::RightSemi,
            JoinKind::LeftAnti => JoinType::LeftAnti,
            JoinKind::RightAnti => JoinType::RightAnti,
        };
        // The first side is held in memory, the rows of the second are looked up in it.
        let plan = match join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => right_plan.join_on(left_plan.build()?, join_type.swap(), conditions)?,
            _ => left_plan.join_on(right_plan.build()?, join_type, conditions)?,
        };
        let (left_missing, right_missing) = match kind {
            JoinKind::LeftOuter => (false, true),
            JoinKind::RightOuter => (true, false),
            JoinKind::FullOuter => (true, true),
            _ => return Ok(Rows { plan, order: Vec::new() }),
        };
        // The missing side of an outer join is "" for strings and null for the rest.
        let mut shown = Vec::with_capacity(left_columns.len() + right_columns.len());
        for (side, missing) in [(left_columns, left_missing), (right_columns, right_missing)] {
            for column in side {
                shown.push(if missing && column.ty == ScalarType::String {
                    coalesce(vec![reference(column), Expr::Literal(scalar(&Value::String(String::new())), None)]).alias(physical(column.id))
                } else {
                    reference(column)
                });
            }
        }
        Ok(Rows { plan: plan.show(shown)?, order: Vec::new() })
    }
}

impl Lowering<'_> {
    /// The columns that are read above or by the keys; at least one, so that rows can be counted.
    fn kept(&mut self, columns: &[Column]) -> Vec<Column> {
        let kept: Vec<Column> = columns.iter().filter(|column| self.is_used(column)).cloned().collect();
        if kept.is_empty() {
            self.keep(columns.first());
            return columns.first().cloned().into_iter().collect();
        }
        kept
    }
}

/// The side of a join that only decides which rows of the other stay: each key once, for a row would meet all its copies.
fn once<'e>(plan: LogicalPlanBuilder, keys: impl Iterator<Item = &'e Expr>) -> Result<LogicalPlanBuilder> {
    let columns: BTreeSet<DfColumn> = keys.flat_map(Expr::column_refs).cloned().collect();
    plan.show(columns.into_iter().map(Expr::Column).collect())?.distinct()
}

fn columns(columns: &[Column]) -> Vec<Expr> {
    columns.iter().map(reference).collect()
}
