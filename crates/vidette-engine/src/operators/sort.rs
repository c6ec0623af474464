//! `sort`, `take`, `top`.

use crate::lower::{Lowering, Rows, Shown, named, ordered, physical};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::math::expr_fn::isnan;
use datafusion::logical_expr::cast;
use datafusion::logical_expr::expr::Sort;
use vidette_kql::bound::{ColumnId, Expr as Bound, Plan, SortKey};
use vidette_kql::{ScalarType, Value};

impl Lowering<'_> {
    /// Keys become columns that travel with the rows; the latest sort decides, earlier ones break its ties.
    pub(crate) fn sort(&mut self, input: &Plan, keys: &[SortKey]) -> Result<Rows> {
        let rows = self.rows(input)?;
        let mut shown: Vec<_> = rows.plan.schema().columns().into_iter().map(datafusion::logical_expr::Expr::Column).collect();
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let name = self.hidden_name("order");
            shown.push(self.expr(&key.expr)?.alias(name.clone()));
            if key.expr.ty == ScalarType::Real && key.nulls_first != key.descending {
                // NaN stands beside the nulls, whichever end they are at; the greatest of all it is by itself.
                order.push(Sort { expr: isnan(named(name.clone())), asc: key.descending, nulls_first: key.nulls_first });
            }
            order.push(Sort { expr: named(name), asc: !key.descending, nulls_first: key.nulls_first });
        }
        order.extend(rows.order);
        Ok(Rows { plan: rows.plan.show(shown)?, order })
    }

    /// A count that only running tells is a filter on the numbers of the rows.
    pub(crate) fn take(&mut self, input: &Plan, count: &Bound) -> Result<Rows> {
        let Some(Value::Long(count)) = count.as_literal() else { return self.take_per_group(input, &[], count) };
        let rows = ordered(self.rows(input)?)?;
        Ok(Rows { plan: rows.plan.limit(0, Some(usize::try_from(*count).unwrap_or(usize::MAX)))?, order: rows.order })
    }

    pub(crate) fn take_per_group(&mut self, input: &Plan, partition: &[ColumnId], count: &Bound) -> Result<Rows> {
        let count = self.expr(count)?;
        let rows = self.rows(input)?;
        let place = self.hidden_name("place");
        let groups = partition.iter().map(|id| named(physical(*id))).collect();
        let number = super::window::over(datafusion::functions_window::expr_fn::row_number(), groups, rows.order.clone())?.alias(place.clone());
        let plan = rows.plan.window(vec![number])?.filter(cast(named(place), DataType::Int64).lt_eq(count))?;
        Ok(Rows { plan, order: rows.order })
    }
}
