//! `where`, and the projections behind `extend`, `project` and their kind.

use crate::functions::only_captures;
use crate::lower::{Lowering, Rows, Shown, named, physical};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashSet;
use vidette_kql::ScalarType;
use vidette_kql::bound::{self, Column, ExprKind, Plan};

impl Lowering<'_> {
    pub(crate) fn filter(&mut self, input: &Plan, predicate: &bound::Expr) -> Result<Rows> {
        let rows = self.rows(input)?;
        let hidden = [(Column { id: bound::ColumnId(u32::MAX), name: String::new(), ty: ScalarType::Bool }, predicate.clone())];
        let (rows, values) = self.windows(rows, &hidden)?;
        Ok(Rows { plan: rows.plan.keep_if(self.condition(&values[0])?)?, order: rows.order })
    }

    /// A predicate where null and false are the same: comparisons need no null logic, so the reader can prune with them.
    fn condition(&self, predicate: &bound::Expr) -> Result<Expr> {
        let ExprKind::Call { function, arguments, .. } = &predicate.kind else { return self.expr(predicate) };
        let both = || -> Result<(Expr, Expr)> { Ok((self.expr(&arguments[0])?, self.expr(&arguments[1])?)) };
        match function.as_str() {
            "and" => {
                let parts = arguments.iter().map(|argument| self.condition(argument)).collect::<Result<Vec<_>>>()?;
                Ok(parts.into_iter().reduce(Expr::and).unwrap_or_else(|| datafusion::logical_expr::lit(true)))
            }
            "==" => {
                let (left, right) = both()?;
                Ok(left.eq(right))
            }
            "!=" if arguments[0].ty != ScalarType::String => {
                let (left, right) = both()?;
                Ok(datafusion::logical_expr::binary_expr(left, datafusion::logical_expr::Operator::IsDistinctFrom, right))
            }
            "in" => {
                let mut operands = arguments.iter().map(|argument| self.expr(argument)).collect::<Result<Vec<_>>>()?;
                let value = operands.remove(0);
                Ok(value.in_list(operands, false))
            }
            _ => self.expr(predicate),
        }
    }

    /// The shown columns; the keys of a pending sort stay below them.
    pub(crate) fn project(&mut self, input: &Plan, columns: &[(Column, bound::Expr)]) -> Result<Rows> {
        let rows = self.rows(input)?;
        let columns: Vec<(Column, bound::Expr)> = columns.iter().filter(|(column, _)| self.is_used(column)).cloned().collect();
        let (rows, values) = self.windows(rows, &columns)?;
        let mut names = HashSet::new();
        let mut shown = Vec::with_capacity(columns.len());
        for ((column, _), value) in columns.iter().zip(&values) {
            let name = physical(column.id);
            if !names.insert(name.clone()) {
                continue;
            }
            shown.push(match &value.kind {
                ExprKind::Column(id) if *id == column.id => named(name),
                _ => {
                    self.weights.set(column.id, value);
                    let lowered = only_captures(self.expr(value)?, &self.captures_of(column));
                    let lowered = if self.weights.heavy(column.id) { ScalarUDF::from(StayHere::new()).call(vec![lowered]) } else { lowered };
                    lowered.alias(name)
                }
            });
        }
        for key in &rows.order {
            if let Expr::Column(hidden) = &key.expr
                && names.insert(hidden.name.clone())
            {
                shown.push(key.expr.clone());
            }
        }
        self.at_least_one(&mut shown);
        Ok(Rows { plan: rows.plan.show(shown)?, order: rows.order })
    }
}

/// `stay_here(value)`: the value itself. It says that it is volatile, which is what keeps the optimizer from moving a
/// filter on the column below the projection that computes it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct StayHere {
    signature: Signature,
}

impl StayHere {
    pub(super) fn new() -> StayHere {
        StayHere { signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for StayHere {
    fn name(&self) -> &str {
        "stay_here"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args.remove(0))
    }
}
