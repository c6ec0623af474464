//! `range`: a column of values from a start to an end. Kusto docs: `range-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::Plan;
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, Name};
use crate::types::ScalarType;

#[derive(Clone, Debug)]
pub struct Range {
    pub column: Name,
    pub from: Expr,
    pub to: Expr,
    pub step: Expr,
    pub span: Span,
}

impl Range {
    pub(crate) fn name(&self) -> &'static str {
        "range"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Range {
        let column = parser.given_name();
        parser.expect_word("from");
        let from = parser.named_expression();
        parser.expect_word("to");
        let to = parser.named_expression();
        parser.expect_word("step");
        let step = parser.named_expression();
        Range { column, from, to, step, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, _input: Relation) -> Option<Relation> {
        let (from, to, step) = binder.with_row(&[], |binder| (binder.scalar(&self.from), binder.scalar(&self.to), binder.scalar(&self.step)));
        let ty = match (from.ty, to.ty, step.ty) {
            (ScalarType::Dynamic, ..) => ScalarType::Long,
            (a, b, c) if a.is_number() && b.is_number() && c.is_number() => {
                let wide = crate::binder::expressions::widest(crate::binder::expressions::widest(a, b), c);
                if wide == ScalarType::Int { ScalarType::Long } else { wide }
            }
            (a, _, _) => a,
        };
        let step_type = if ty == ScalarType::DateTime { ScalarType::TimeSpan } else { ty };
        if !ty.is_summable() || !step.ty.is_summable() {
            binder.error(codes::INVALID_USE, format!("`range` cannot step through values of type {ty}"), self.from.span, "a number, a datetime or a timespan");
            return None;
        }
        let (from, to, step) = (binder.convert(from, ty), binder.convert(to, ty), binder.convert(step, step_type));
        let column = binder.column(self.column.node.clone(), ty);
        Some(Relation { plan: Plan::Range { column: column.clone(), start: from, end: to, step }, columns: vec![column] })
    }
}
