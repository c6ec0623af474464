//! `where` (`filter`): keeps the rows whose predicate is true. Kusto docs: `where-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::Plan;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::Expr;

#[derive(Clone, Debug)]
pub struct Where {
    pub predicate: Expr,
    pub span: Span,
}

impl Where {
    pub(crate) fn name(&self) -> &'static str {
        "where"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Where {
        parser.operator_parameters();
        Where { predicate: parser.named_expression(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let predicate = binder.with_row(&input.columns, |binder| binder.predicate(&self.predicate));
        Some(Relation { plan: Plan::Filter { input: Box::new(input.plan), predicate }, columns: input.columns })
    }
}
