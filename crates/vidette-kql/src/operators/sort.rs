//! `sort` (`order`) and `top`. Default `desc`; nulls first for `asc`, last for `desc`.
//! Kusto docs: `sort-operator`, `top-operator`.

use super::take::{limit, row_count};
use crate::binder::{Binder, Relation};
use crate::bound::{Plan, SortKey};
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::Expr;

#[derive(Clone, Debug)]
pub struct Key {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Sort {
    pub keys: Vec<Key>,
    pub span: Span,
}

impl Sort {
    pub(crate) fn name(&self) -> &'static str {
        "sort"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Sort {
        parser.operator_parameters();
        parser.expect_word("by");
        Sort { keys: parser.comma_list(parse_key), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let sorted = sort(binder, input, &self.keys);
        if let Plan::Sort { keys, .. } = &sorted.plan {
            keys.iter().zip(&self.keys).for_each(|(key, written)| binder.not_dynamic(&key.expr, written.expr.span));
        }
        Some(sorted)
    }
}

pub(super) fn parse_key(parser: &mut Parser) -> Key {
    let expr = parser.named_expression();
    let ascending = parser.eat_word("asc");
    if !ascending {
        parser.eat_word("desc");
    }
    let nulls_first = parser.eat_word("nulls").then(|| {
        let first = parser.eat_word("first");
        if !first {
            parser.expect_word("last");
        }
        first
    });
    Key { expr, descending: !ascending, nulls_first }
}

fn sort(binder: &mut Binder, input: Relation, keys: &[Key]) -> Relation {
    let keys = binder.with_row(&input.columns, |binder| {
        keys.iter().map(|key| SortKey { expr: binder.scalar(&key.expr), descending: key.descending, nulls_first: key.nulls_first.unwrap_or(!key.descending) }).collect()
    });
    Relation { plan: Plan::Sort { input: Box::new(input.plan), keys }, columns: input.columns }
}

#[derive(Clone, Debug)]
pub struct Top {
    pub count: Expr,
    pub keys: Vec<Key>,
    pub span: Span,
}

impl Top {
    pub(crate) fn name(&self) -> &'static str {
        "top"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Top {
        parser.operator_parameters();
        let count = parser.named_expression();
        parser.expect_word("by");
        Top { count, keys: parser.comma_list(parse_key), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let count = row_count(binder, &self.count)?;
        let sorted = sort(binder, input, &self.keys);
        let columns = sorted.columns.clone();
        Some(Relation { plan: limit(binder, sorted, count), columns })
    }
}
