//! `summarize`, `distinct` and `count`.

use crate::aggregates;
use crate::lower::{Lowering, Rows, Shown, named, physical};
use datafusion::common::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use vidette_kql::ScalarType;
use vidette_kql::bound::{Aggregate, Column, Expr as Bound, Plan};

/// Calls of `arg_max` or `arg_min` by one key: one row answers them all.
struct Extreme<'a> {
    function: &'a str,
    key: Expr,
    values: Vec<Expr>,
    name: String,
}

/// The function, key and value of an aggregate that one row answers together with others. To `take_any` of several values
/// all rows are alike.
fn of_one_row<'a>(aggregate: &'a Aggregate, arguments: &[Expr], columns: &[(Column, Aggregate)]) -> Option<(&'a str, Expr, Expr)> {
    let is_of_call = |other: &Aggregate| other.function == aggregate.function && other.span == aggregate.span;
    match (aggregate.function.as_str(), arguments) {
        (function @ ("arg_max" | "arg_min"), [key, value]) => {
            let ranked = match (aggregate.arguments[0].ty, function) {
                (ScalarType::Real, "arg_max") => aggregates::rank(key.clone(), "rank_greatest"),
                (ScalarType::Real, _) => aggregates::rank(key.clone(), "rank_least"),
                _ => key.clone(),
            };
            Some((function, ranked, value.clone()))
        }
        ("take_any", [value]) if columns.iter().filter(|(_, other)| is_of_call(other)).count() > 1 => Some(("arg_min", lit(0i64), value.clone())),
        _ => None,
    }
}

impl Lowering<'_> {
    pub(crate) fn aggregate(&mut self, input: &Plan, by: &[(Column, Bound)], columns: &[(Column, Aggregate)]) -> Result<Rows> {
        let mut rows = self.rows(input)?;
        let mut keys = Vec::with_capacity(by.len());
        // Expressions are computed below, so that they may use window functions and are named once.
        let (with_windows, values) = self.windows(rows, by)?;
        rows = with_windows;
        for ((column, _), value) in by.iter().zip(&values) {
            keys.push(self.expr(value)?.alias(physical(column.id)));
        }
        let mut raw = Vec::with_capacity(columns.len());
        let mut extremes: Vec<Extreme> = Vec::new();
        let mut shown: Vec<Expr> = by.iter().map(|(column, _)| crate::lower::reference(column)).collect();
        for (column, aggregate) in columns {
            if !self.is_used(column) {
                continue;
            }
            let arguments = aggregate.arguments.iter().map(|argument| self.expr(argument)).collect::<Result<Vec<_>>>()?;
            if let Some((function, key, value)) = of_one_row(aggregate, &arguments, columns) {
                let at = extremes.iter().position(|extreme| extreme.function == function && extreme.key == key).unwrap_or_else(|| {
                    extremes.push(Extreme { function, key, values: Vec::new(), name: self.hidden_name("agg") });
                    extremes.len() - 1
                });
                let found = get_field(named(&extremes[at].name), aggregates::extreme_field(extremes[at].values.len()));
                extremes[at].values.push(value);
                shown.push(aggregates::strings(aggregate.ty)(found).alias(physical(column.id)));
                continue;
            }
            let filter = aggregate.filter.as_ref().map(|filter| self.expr(filter)).transpose()?;
            let name = self.hidden_name("agg");
            let (value, finish) = aggregates::lower(aggregate, arguments, filter, &rows.order)?;
            raw.push(value.alias(name.clone()));
            shown.push(finish(named(name)).alias(physical(column.id)));
        }
        for Extreme { function, key, values, name } in extremes {
            raw.push(aggregates::extreme(function).call([vec![key], values].concat()).alias(name));
        }
        let plan = if raw.is_empty() && !by.is_empty() {
            rows.plan.show(keys)?.distinct()?
        } else if raw.is_empty() {
            // One row, of which nothing is read.
            LogicalPlanBuilder::empty(true).project(vec![lit(true).alias(self.hidden_name("none"))])?
        } else {
            rows.plan.aggregate(keys, raw)?.show(shown)?
        };
        Ok(Rows { plan, order: Vec::new() })
    }
}
