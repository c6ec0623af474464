//! `take` (`limit`): any so many rows. Kusto docs: `take-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::Plan;
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::Expr;
use crate::types::Value;

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

/// The number of rows an operator is limited to: a constant integer.
pub(super) fn row_count(binder: &mut Binder, expr: &Expr) -> Option<u64> {
    let bound = binder.with_row(&[], |binder| binder.scalar(expr));
    match crate::binder::statements::fold(&bound) {
        Some(Value::Long(count)) => Some(count.max(0) as u64),
        Some(Value::Int(count)) => Some(count.max(0) as u64),
        Some(Value::Null(_)) => None,
        Some(_) => {
            binder.error(codes::INTEGER_EXPECTED, "the expression value must be an integer", expr.span, "not an integer");
            None
        }
        None => {
            binder.refuse("a computed number of rows", expr.span);
            None
        }
    }
}

/// `take` over the rows, or over each group inside the subquery of `mv-apply`.
pub(super) fn limit(binder: &Binder, input: Relation, count: u64) -> Plan {
    match &binder.group {
        Some(group) => Plan::TakePerGroup { input: Box::new(input.plan), partition: vec![group.row_id.id], count },
        None => Plan::Take { input: Box::new(input.plan), count },
    }
}
