//! Functions of neighbouring rows: `prev`, `next`, `row_number`, `row_cumsum`. Kusto docs: `scalar-functions`,
//! "Window scalar functions".

use super::session::session;
use crate::arrow_types::{arrow_type, scalar};
use crate::functions::WINDOW_FUNCTIONS;
use crate::lower::{Lowering, Rows, Shown, named, physical};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::expr_fn as aggregates;
use datafusion::functions_window::expr_fn as windows;
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, WindowFrame, WindowFunctionDefinition, cast, lit, when};
use std::sync::Arc;
use vidette_kql::bound::{self, Column, ExprKind, Plan};
use vidette_kql::{ScalarType, Value};

impl Lowering<'_> {
    /// Replaces window calls inside `columns` by columns that a window node computes below the projection.
    pub(crate) fn windows(&mut self, mut rows: Rows, columns: &[(Column, bound::Expr)]) -> Result<(Rows, Vec<bound::Expr>)> {
        let mut values = Vec::with_capacity(columns.len());
        let mut found: Vec<(u32, Option<bound::Expr>, bound::Expr)> = Vec::new();
        for (_, value) in columns {
            values.push(self.extract(value, &mut found));
        }
        self.computed.clear();
        for (id, group, call) in found {
            let name = physical(bound::ColumnId(id));
            rows = self.window(rows, group.as_ref(), &call, name)?;
        }
        Ok((rows, values))
    }

    fn extract(&mut self, expr: &bound::Expr, found: &mut Vec<(u32, Option<bound::Expr>, bound::Expr)>) -> bound::Expr {
        let ExprKind::Call { function, arguments, span } = &expr.kind else { return expr.clone() };
        let inner: Vec<bound::Expr> = arguments.iter().map(|argument| self.extract(argument, found)).collect();
        let call = bound::Expr { kind: ExprKind::Call { function: function.clone(), arguments: Arc::new(inner), span: *span }, ty: expr.ty };
        if !WINDOW_FUNCTIONS.contains(&function.as_str()) && function != "in_group" {
            return call;
        }
        if function == "in_group"
            && let [bound::Expr { kind: ExprKind::Column(inner), .. }, key] = arguments_of(&call)
            && let Some(at) = found.iter().position(|(id, ..)| *id == inner.0)
        {
            let twin = found.iter().find(|(_, group, known)| group.as_ref().is_some_and(|group| same(group, key)) && same(known, &found[at].2)).map(|(id, ..)| *id);
            if let Some(twin) = twin {
                found.remove(at);
                return bound::Expr { kind: ExprKind::Column(bound::ColumnId(twin)), ty: expr.ty };
            }
            found[at].1 = Some(key.clone());
            return bound::Expr { kind: ExprKind::Column(*inner), ty: expr.ty };
        }
        // The same call twice is one column: the optimizer takes two for a common expression, which no plan can hold.
        let grouped = function == "in_group";
        if let Some((id, ..)) = found.iter().find(|(_, group, known)| !grouped && group.is_none() && same(known, &call)) {
            return bound::Expr { kind: ExprKind::Column(bound::ColumnId(*id)), ty: expr.ty };
        }
        let id = u32::MAX - self.next_window();
        found.push((id, None, call));
        bound::Expr { kind: ExprKind::Column(bound::ColumnId(id)), ty: expr.ty }
    }

    fn window(&mut self, rows: Rows, group: Option<&bound::Expr>, call: &bound::Expr, name: String) -> Result<Rows> {
        let ExprKind::Call { function, arguments, .. } = &call.kind else { return plan_err!("a window call is a call") };
        let order = rows.order.clone();
        let apart = group.map(|group| self.expr(group)).transpose()?.into_iter().collect::<Vec<_>>();
        let constant = |at: usize| arguments.get(at).and_then(|argument| argument.as_literal());
        let long = |at: usize| match constant(at) {
            Some(Value::Long(n)) => Some(*n),
            Some(Value::Int(n)) => Some(i64::from(*n)),
            _ => None,
        };
        let (rows, value) = match function.as_str() {
            "prev" | "next" => {
                // A default that has no place in the column is null.
                let of_column = |value: ScalarValue| value.cast_to(&arrow_type(call.ty)).or_else(|_| ScalarValue::try_new_null(&arrow_type(call.ty)));
                let default =
                    constant(2).map(|value| of_column(scalar(value))).transpose()?.or_else(|| (call.ty == ScalarType::String).then(|| ScalarValue::Utf8View(Some(String::new()))));
                let offset = long(1).unwrap_or(1);
                let argument = self.expr(&arguments[0])?;
                let shifted = if function == "prev" { windows::lag(argument, Some(offset), default) } else { windows::lead(argument, Some(offset), default) };
                self.compute(rows, over(shifted, apart, order)?)?
            }
            "row_number" => {
                let start = long(0).unwrap_or(1);
                let (rows, group) = self.restarted(rows, arguments.get(1), apart)?;
                let (rows, number) = self.compute(rows, over(windows::row_number(), group, order)?)?;
                (rows, cast(number, DataType::Int64) + lit(start.saturating_sub(1)))
            }
            "row_window_session" => {
                let mut values = arguments.iter().map(|argument| self.expr(argument)).collect::<Result<Vec<_>>>()?;
                if values.len() == 3 {
                    values.push(lit(false));
                }
                let function = WindowFunctionDefinition::WindowUDF(Arc::new(session()));
                self.compute(rows, over(Expr::WindowFunction(Box::new(WindowFunction::new(function, values))), apart, order)?)?
            }
            "row_rank_dense" | "row_rank_min" => {
                let (rows, group) = self.restarted(rows, arguments.get(1), apart)?;
                let term = self.expr(&arguments[0])?;
                let (rows, before) = self.compute(rows, over(windows::lag(term.clone(), Some(1), None), group.clone(), order.clone())?)?;
                let (rows, number) = self.compute(rows, over(windows::row_number(), group.clone(), order.clone())?)?;
                let place = cast(number, DataType::Int64);
                let begins = place.clone().eq(lit(1i64)).or(Expr::BinaryExpr(BinaryExpr::new(Box::new(before), Operator::IsDistinctFrom, Box::new(term))));
                let rank = if function == "row_rank_dense" {
                    running(aggregates::sum(when(begins, lit(1i64)).otherwise(lit(0i64))?), group, order)?
                } else {
                    running(aggregates::max(when(begins, place).otherwise(lit(ScalarValue::Int64(None)))?), group, order)?
                };
                self.compute(rows, rank)?
            }
            _ => {
                let (rows, group) = self.restarted(rows, arguments.get(1), apart)?;
                let sum = running(aggregates::sum(self.expr(&arguments[0])?), group, order)?;
                self.compute(rows, sum)?
            }
        };
        extend(rows, value.alias(name))
    }

    /// The column that a window function gives: the optimizer takes two of the same for a common expression, which no plan can
    /// hold, so the one that is there already is used again.
    fn compute(&mut self, rows: Rows, function: Expr) -> Result<(Rows, Expr)> {
        if let Some((_, name)) = self.computed.iter().find(|(known, _)| *known == function) {
            return Ok((rows, named(name.clone())));
        }
        let name = self.hidden_name("window");
        let plan = rows.plan.window(vec![function.clone().alias(name.clone())])?;
        self.computed.push((function, name.clone()));
        Ok((Rows { plan, order: rows.order }, named(name)))
    }

    /// The count of restarts so far, which parts the rows; nothing without a restart argument.
    fn restarted(&mut self, rows: Rows, restart: Option<&bound::Expr>, mut apart: Vec<Expr>) -> Result<(Rows, Vec<Expr>)> {
        let Some(restart) = restart else { return Ok((rows, apart)) };
        let flag = when(self.expr(restart)?, lit(1i64)).otherwise(lit(0i64))?;
        let count = running(aggregates::sum(flag), apart.clone(), rows.order.clone())?;
        let (rows, count) = self.compute(rows, count)?;
        apart.push(count);
        Ok((rows, apart))
    }

    pub(crate) fn row_id(&mut self, input: &Plan, column: &Column) -> Result<Rows> {
        let rows = self.rows(input)?;
        let raw = self.hidden_name("row");
        let number = over(windows::row_number(), Vec::new(), rows.order.clone())?.alias(raw.clone());
        let plan = rows.plan.window(vec![number])?;
        let value = cast(named(raw), DataType::Int64);
        extend(Rows { plan, order: rows.order }, value.alias(physical(column.id)))
    }
}

/// Whether two expressions compute the same, wherever they were written.
fn same(a: &bound::Expr, b: &bound::Expr) -> bool {
    match (&a.kind, &b.kind) {
        (ExprKind::Call { function, arguments, .. }, ExprKind::Call { function: other, arguments: others, .. }) => {
            function == other && arguments.len() == others.len() && arguments.iter().zip(others.iter()).all(|(a, b)| same(a, b))
        }
        (ExprKind::Literal(a), ExprKind::Literal(b)) => a == b,
        (ExprKind::Column(a), ExprKind::Column(b)) => a == b,
        (ExprKind::Subquery(a), ExprKind::Subquery(b)) => a == b,
        _ => false,
    }
}

fn arguments_of(call: &bound::Expr) -> &[bound::Expr] {
    match &call.kind {
        ExprKind::Call { arguments, .. } => arguments,
        _ => &[],
    }
}

fn extend(rows: Rows, value: Expr) -> Result<Rows> {
    let mut shown: Vec<Expr> = rows.plan.schema().columns().into_iter().map(Expr::Column).collect();
    shown.push(value);
    Ok(Rows { plan: rows.plan.show(shown)?, order: rows.order })
}

/// The window function over the partition, in the order of the rows; both may be absent.
pub(super) fn over(mut function: Expr, partition: Vec<Expr>, order: Vec<Sort>) -> Result<Expr> {
    let Expr::WindowFunction(window) = &mut function else { return plan_err!("a window function is needed") };
    window.params.partition_by = partition;
    window.params.window_frame = WindowFrame::new((!order.is_empty()).then_some(false));
    window.params.order_by = order;
    Ok(function)
}

/// An aggregate of the rows so far.
fn running(aggregate: Expr, partition: Vec<Expr>, order: Vec<Sort>) -> Result<Expr> {
    let Expr::AggregateFunction(function) = aggregate else { return plan_err!("a running aggregate is an aggregate") };
    let window = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(function.func), function.params.args);
    let frame = WindowFrame::new_bounds(
        datafusion::logical_expr::WindowFrameUnits::Rows,
        datafusion::logical_expr::WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        datafusion::logical_expr::WindowFrameBound::CurrentRow,
    );
    let mut window = over(Expr::WindowFunction(Box::new(window)), partition, order)?;
    if let Expr::WindowFunction(function) = &mut window {
        function.params.window_frame = frame;
    }
    Ok(window)
}
