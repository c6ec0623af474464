//! `fork` and `facet`: several results of one input. Kusto docs: `fork-operator`, `facet-operator`.

use super::Operator;
use super::summarize::Summarize;
use crate::binder::{Binder, Relation};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::{Span, Spanned};
use crate::syntax::{Expr, ExprKind, Name};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Fork {
    pub legs: Vec<Vec<Operator>>,
    pub span: Span,
}

impl Fork {
    pub(crate) fn name(&self) -> &'static str {
        "fork"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Fork {
        let mut legs = Vec::new();
        loop {
            if parser.peek() == Token::Name && parser.peek_at(1) == Token::Assign {
                parser.bump();
                parser.bump();
            }
            legs.push(parser.subquery());
            parser.eat(Token::Comma);
            let named = parser.peek() == Token::Name && parser.peek_at(1) == Token::Assign;
            if parser.peek() != Token::OpenParen && !named {
                return Fork { legs, span };
            }
        }
    }

    /// One result per leg.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let legs: Vec<&[Operator]> = self.legs.iter().map(Vec::as_slice).collect();
        branches(binder, input, &legs)
    }
}

#[derive(Clone, Debug)]
pub struct Facet {
    pub by: Vec<Name>,
    pub with: Option<Vec<Operator>>,
    pub span: Span,
}

impl Facet {
    pub(crate) fn name(&self) -> &'static str {
        "facet"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Facet {
        parser.expect_word("by");
        let by = parser.comma_list(|parser| parser.declared_name());
        let with = parser.eat_word("with").then(|| if parser.peek() == Token::OpenParen { parser.subquery() } else { parser.operator().into_iter().collect() });
        Facet { by, with, span }
    }

    /// The result of `with`, then a result per column: its values and how often each is there.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let count = |name: &Name| {
            let call = ExprKind::Call { name: Spanned { node: "count".to_owned(), span: name.span }, arguments: Vec::new() };
            let names = vec![Spanned { node: format!("count_{}", name.node), span: name.span }];
            let aggregate = Expr { kind: ExprKind::Named { names, value: Box::new(Expr { kind: call, span: name.span }) }, span: name.span };
            let key = Expr { kind: ExprKind::Name(name.node.clone()), span: name.span };
            vec![Operator::Summarize(Summarize { aggregates: vec![aggregate], by: vec![key], span: self.span })]
        };
        let facets: Vec<Vec<Operator>> = self.by.iter().map(count).collect();
        let legs: Vec<&[Operator]> = self.with.iter().chain(&facets).map(Vec::as_slice).collect();
        branches(binder, input, &legs)
    }
}

/// What each chain of operators makes of the same rows.
pub(super) fn branches(binder: &mut Binder, input: Relation, legs: &[&[Operator]]) -> Option<Relation> {
    let plan = Arc::new(input.plan);
    let mut results = Vec::with_capacity(legs.len());
    for leg in legs {
        let rows = binder.reference(&plan, &input.columns);
        results.push(binder.piped(rows, leg, 0)?);
    }
    binder.several(results)
}
