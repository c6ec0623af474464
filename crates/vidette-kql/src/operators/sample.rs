//! `sample`, `sample-distinct` and `top-hitters`. Kusto docs: `sample-operator`, `sample-distinct-operator`,
//! `top-hitters-operator`.
//!
//! Any rows are a sample: these are the first ones, and the counts of `top-hitters` are exact.

use super::distinct::Distinct;
use super::sort::{Key, Top};
use super::summarize::Summarize;
use super::take::Take;
use crate::binder::naming::automatic_name;
use crate::binder::{Binder, Relation};
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::{Span, Spanned};
use crate::syntax::{Expr, ExprKind};

#[derive(Clone, Debug)]
pub struct Sample {
    pub count: Expr,
    pub span: Span,
}

impl Sample {
    pub(crate) fn name(&self) -> &'static str {
        "sample"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Sample {
        parser.operator_parameters();
        Sample { count: parser.named_expression(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        Take { count: self.count.clone(), span: self.span }.bind(binder, input)
    }
}

#[derive(Clone, Debug)]
pub struct SampleDistinct {
    pub count: Expr,
    pub of: Expr,
    pub span: Span,
}

impl SampleDistinct {
    pub(crate) fn name(&self) -> &'static str {
        "sample-distinct"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> SampleDistinct {
        parser.operator_parameters();
        let count = parser.named_expression();
        parser.expect_word("of");
        SampleDistinct { count, of: parser.named_expression(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        if automatic_name(&self.of).is_none() || matches!(self.of.kind, ExprKind::Named { .. }) {
            binder.error(codes::COLUMN_EXPECTED, "column name expected", self.of.span, "not a column");
            return None;
        }
        let distinct = Distinct { columns: vec![self.of.clone()], span: self.span }.bind(binder, input)?;
        Take { count: self.count.clone(), span: self.span }.bind(binder, distinct)
    }
}

#[derive(Clone, Debug)]
pub struct TopHitters {
    pub count: Expr,
    pub of: Expr,
    pub by: Option<Expr>,
    pub span: Span,
}

impl TopHitters {
    pub(crate) fn name(&self) -> &'static str {
        "top-hitters"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> TopHitters {
        let count = parser.named_expression();
        parser.expect_word("of");
        let of = parser.named_expression();
        let by = parser.eat_word("by").then(|| parser.named_expression());
        TopHitters { count, of, by, span }
    }

    /// `summarize approximate_… = count() or sum(by) by of | top count by approximate_…`
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let spanned = |node: &str| Spanned { node: node.to_owned(), span: self.span };
        let expr = |kind: ExprKind| Expr { kind, span: self.span };
        let (function, subject) = match &self.by {
            Some(by) => ("sum", by),
            None => ("count", &self.of),
        };
        let name = format!("approximate_{function}_{}", automatic_name(subject).unwrap_or_default());
        let arguments = self.by.iter().cloned().collect();
        let value = Box::new(expr(ExprKind::Call { name: spanned(function), arguments }));
        let aggregate = expr(ExprKind::Named { names: vec![spanned(&name)], value });
        let grouped = Summarize { aggregates: vec![aggregate], by: vec![self.of.clone()], span: self.span }.bind(binder, input)?;
        let key = Key { expr: expr(ExprKind::Name(name)), descending: true, nulls_first: None };
        Top { count: self.count.clone(), keys: vec![key], span: self.span }.bind(binder, grouped)
    }
}
