//! `make-series`: aggregates per bin of an axis, as arrays without gaps. Kusto docs: `make-series-operator`.

use super::summarize::{Found, aggregate, bind_aggregate, bind_keys};
use crate::binder::{Binder, Relation, is_broken};
use crate::bound::{Aggregate, Column, Expr as Bound, Plan};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};

#[derive(Clone, Debug)]
pub struct MakeSeries {
    pub parameters: Vec<OperatorParameter>,
    /// Each with its `default=`.
    pub aggregates: Vec<(Expr, Option<Expr>)>,
    pub axis: Expr,
    pub from: Option<Expr>,
    pub to: Option<Expr>,
    pub step: Option<Expr>,
    /// `in range(from, to, step)`: bins are those of `bin`, so that `from` may lie within the first, and `to` has one too.
    pub inclusive: bool,
    pub by: Vec<Expr>,
    pub span: Span,
}

impl MakeSeries {
    pub(crate) fn name(&self) -> &'static str {
        "make-series"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> MakeSeries {
        let parameters = parser.operator_parameters();
        let aggregates = parser.comma_list(|parser| {
            let aggregate = parser.named_expression();
            let default = parser.eat_word("default").then(|| {
                parser.expect(Token::Assign, "=");
                parser.unary()
            });
            (aggregate, default)
        });
        parser.expect_word("on");
        let explicit = (parser.peek() == Token::Name && parser.peek_at(1) == Token::Assign).then(|| {
            let name = parser.given_name();
            parser.bump();
            name
        });
        let value = parser.unary();
        let axis = match explicit {
            Some(name) => Expr { span: name.span.to(value.span), kind: ExprKind::Named { names: vec![name], value: Box::new(value) } },
            None => value,
        };
        let inclusive = parser.eat_word("in");
        let (mut from, mut to, mut step) = (None, None, None);
        if inclusive {
            parser.expect_word("range");
            if parser.peek() == Token::OpenParen {
                let mut bounds = parser.arguments().into_iter();
                (from, to, step) = (bounds.next(), bounds.next(), bounds.next());
            }
        } else {
            from = parser.eat_word("from").then(|| parser.expression());
            to = parser.eat_word("to").then(|| parser.expression());
            parser.expect_word("step");
            step = Some(parser.expression());
        }
        let by = if parser.eat_word("by") { parser.comma_list(|parser| parser.named_expression()) } else { Vec::new() };
        MakeSeries { parameters, aggregates, axis, from, to, step, inclusive, by, span }
    }

    /// `from`, `to` and `step` as an axis of the type wants them; null where there is none.
    fn bounds(&self, binder: &mut Binder, ty: ScalarType) -> Option<[Bound; 3]> {
        let step_type = if ty == ScalarType::DateTime { ScalarType::TimeSpan } else { ty };
        let constant = |binder: &mut Binder, expr: &Option<Expr>, ty: ScalarType, code: &'static str, numbers: bool| match expr {
            Some(expr) => {
                let value = binder.with_row(&[], |binder| binder.scalar(expr));
                on_axis(binder, value, ty, numbers).map_err(|found| binder.error(code, format!("the expression must have the type {ty}"), expr.span, found)).ok()
            }
            None => Some(Bound::literal(Value::Null(ty))),
        };
        let from = constant(binder, &self.from, ty, codes::TYPE_EXPECTED, ty.is_number());
        let to = constant(binder, &self.to, ty, codes::TYPE_EXPECTED, ty.is_number());
        // The step of a timespan may be a number.
        let step = constant(binder, &self.step, step_type, codes::WRONG_INTERVAL, ty != ScalarType::DateTime);
        Some([from?, to?, step?])
    }

    /// Columns: the `by` columns, the series, then the axis. Two groupings: by key and bin, then the bins of a key.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let (by, names) = bind_keys(binder, &input, &self.by);
        let (axis_name, axis) = binder.with_row(&input.columns, |binder| binder.named_scalar(&self.axis));
        if is_broken(&axis) {
            return None;
        }
        let ty = match axis.ty {
            ScalarType::DateTime | ScalarType::TimeSpan | ScalarType::Long | ScalarType::Real => axis.ty,
            ScalarType::Int => ScalarType::Long,
            ScalarType::Decimal | ScalarType::Dynamic => ScalarType::Real,
            other => {
                binder.error(codes::TYPE_EXPECTED, "the axis must be a datetime, a timespan or a number", self.axis.span, format!("this is {other}"));
                return None;
            }
        };
        let axis = binder.convert(axis, ty);
        let [from, to, step] = self.bounds(binder, ty)?;
        let number = |value: &Bound| Bound::call("axis_number", if ty == ScalarType::Real { ScalarType::Real } else { ScalarType::Long }, vec![value.clone()]);
        let first = if self.inclusive { Bound::call("bin", ty, vec![from.clone(), step.clone()]) } else { from.clone() };
        let (low, high, width) = (number(&first), number(&to), number(&step));

        let mut plan = input.plan;
        if self.from.is_some() {
            plan = Plan::Filter { input: Box::new(plan), predicate: Bound::call(">=", ScalarType::Bool, vec![axis.clone(), from.clone()]) };
        }
        if self.to.is_some() {
            let last = if self.inclusive { "<=" } else { "<" };
            plan = Plan::Filter { input: Box::new(plan), predicate: Bound::call(last, ScalarType::Bool, vec![axis.clone(), to.clone()]) };
        }
        let input = Relation { plan, columns: input.columns };
        let mut found = Found { aggregates: Vec::new(), results: Vec::new(), names };
        for (expr, _) in &self.aggregates {
            bind_aggregate(binder, &input, expr, &by, &mut found);
        }
        if found.results.len() != self.aggregates.len() {
            return None;
        }
        // One row per key and bin.
        let bin = binder.column("$bin", ScalarType::Long);
        let mut bins = by.clone();
        bins.push((bin.clone(), Bound::call("series_bin", ScalarType::Long, vec![number(&axis), low.clone(), width.clone()])));
        let plan = aggregate(binder, input, bins, found.aggregates);
        let mut shown: Vec<(Column, Bound)> = by.iter().map(|(column, _)| (column.clone(), Bound::column(column))).collect();
        shown.push((bin.clone(), Bound::column(&bin)));
        shown.extend(found.results.iter().cloned());
        let binned = binder.project(Relation { plan, columns: Vec::new() }, shown);
        // One row per key, its bins as an array of arrays.
        let mut point = vec![Bound::column(&bin)];
        point.extend(found.results.iter().map(|(column, _)| Bound::column(column)));
        let point = point.into_iter().map(|value| binder.convert(value, ScalarType::Dynamic)).collect();
        let point = Bound::call("pack_array", ScalarType::Dynamic, point);
        let points = binder.column("$points", ScalarType::Dynamic);
        let gathered = Aggregate { function: "documents".to_owned(), arguments: vec![point], filter: None, ty: ScalarType::Dynamic, span: self.span };
        let keys: Vec<(Column, Bound)> = by.iter().map(|(column, _)| (column.clone(), Bound::column(column))).collect();
        let mut plan = aggregate(binder, binned, keys.clone(), vec![(points.clone(), gathered)]);
        let nonempty = parameter(&self.parameters, "kind").and_then(Expr::name) == Some("nonempty");
        if by.is_empty() && !nonempty {
            // A grouping without keys makes a row of nothing.
            let count = Bound::call("array_length", ScalarType::Long, vec![Bound::column(&points)]);
            plan = Plan::Filter { input: Box::new(plan), predicate: Bound::call(">", ScalarType::Bool, vec![count, Bound::literal(Value::Long(0))]) };
        }
        let inclusive = Bound::literal(Value::Bool(self.inclusive));
        let mut shown = keys;
        for (at, ((column, value), (_, default))) in found.results.iter().zip(&self.aggregates).enumerate() {
            let default = match default {
                Some(default) => binder.with_row(&[], |binder| binder.scalar(default)),
                None => Bound::literal(Value::Long(0)),
            };
            let default = if value.ty.is_number() { binder.convert(default, value.ty) } else { default };
            let default = binder.convert(default, ScalarType::Dynamic);
            let arguments = vec![Bound::column(&points), low.clone(), high.clone(), width.clone(), inclusive.clone(), Bound::literal(Value::Long(at as i64 + 1)), default];
            shown.push((binder.column(column.name.clone(), ScalarType::Dynamic), Bound::call("series_values", ScalarType::Dynamic, arguments)));
        }
        let axis_name = axis_name.unwrap_or_else(|| "Column1".to_owned());
        let kind = Bound::literal(Value::String(ty.name().to_owned()));
        let arguments = vec![Bound::column(&points), low, high, width, inclusive, kind];
        shown.push((binder.column(axis_name, ScalarType::Dynamic), Bound::call("series_axis", ScalarType::Dynamic, arguments)));
        Some(binder.project(Relation { plan, columns: Vec::new() }, shown))
    }
}

/// A bound of the axis, or its step, as its type, or what it is: a number is no time, and a time no number.
fn on_axis(binder: &mut Binder, value: Bound, ty: ScalarType, numbers: bool) -> Result<Bound, String> {
    if value.ty == ty || value.ty == ScalarType::Dynamic || numbers && value.ty.is_number() {
        return Ok(binder.convert(value, ty));
    }
    Err(format!("this is {}", value.ty))
}
