//! `take` (`limit`): any so many rows. Kusto docs: `take-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::{Expr as Bound, Plan};
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::Expr;
use crate::types::{ScalarType, Value};

#[derive(Clone, Debug)]
pub struct Take {
    pub count: Expr,
    pub span: Span,
}

impl Take {
    pub(crate) fn name(&self) -> &'static str {
        "take"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Take {
        parser.operator_parameters();
        Take { count: parser.named_expression(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let count = row_count(binder, &self.count)?;
        let columns = input.columns.clone();
        Some(Relation { plan: limit(binder, input, count), columns })
    }
}

/// The number of rows an operator is limited to: an integer, the same for all rows.
pub(super) fn row_count(binder: &mut Binder, expr: &Expr) -> Option<Bound> {
    let bound = binder.with_row(&[], |binder| binder.scalar(expr));
    match crate::binder::statements::fold(&bound) {
        Some(Value::Long(count)) => Some(Bound::literal(Value::Long(count.max(0)))),
        Some(Value::Int(count)) => Some(Bound::literal(Value::Long(i64::from(count.max(0))))),
        Some(Value::Null(_)) => None,
        Some(_) => {
            binder.error(codes::INTEGER_EXPECTED, "the expression value must be an integer", expr.span, "not an integer");
            None
        }
        None if matches!(bound.ty, ScalarType::Int | ScalarType::Long | ScalarType::Dynamic) => Some(binder.convert(bound, ScalarType::Long)),
        None => {
            binder.error(codes::INTEGER_EXPECTED, "the expression value must be an integer", expr.span, format!("this is {}", bound.ty));
            None
        }
    }
}

/// `take` over the rows, or over each group inside the subquery of `mv-apply`.
pub(super) fn limit(binder: &Binder, input: Relation, count: Bound) -> Plan {
    match &binder.group {
        Some(group) => Plan::TakePerGroup { input: Box::new(input.plan), partition: vec![group.row_id.id], count },
        None => Plan::Take { input: Box::new(input.plan), count },
    }
}
