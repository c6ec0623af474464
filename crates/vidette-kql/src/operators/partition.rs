//! `partition`: a subquery per value of a column. Kusto docs: `partition-operator`.

use super::Operator;
use super::mv_expand::grouped;
use crate::binder::{Binder, GroupContext, Relation};
use crate::bound::{Column, Expr as Bound};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name};

#[derive(Clone, Debug)]
pub struct Partition {
    pub key: Name,
    pub operators: Vec<Operator>,
    /// `by a.b`, `in (…)` and a whole query in braces.
    pub unusual: Option<Span>,
    pub span: Span,
}

impl Partition {
    pub(crate) fn name(&self) -> &'static str {
        "partition"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Partition {
        parser.operator_parameters();
        parser.expect_word("by");
        let key = parser.declared_name();
        let mut unusual = None;
        while parser.eat(Token::Dot) {
            unusual = Some(parser.span());
            parser.declared_name();
        }
        if parser.at_word("in") {
            unusual = Some(parser.span());
            parser.bump();
            parser.unary();
        }
        let mut operators = Vec::new();
        if parser.peek() == Token::OpenBrace {
            unusual = Some(parser.span());
            parser.bump();
            parser.pipe();
            parser.expect(Token::CloseBrace, "}");
        } else {
            operators = parser.subquery();
        }
        Partition { key, operators, unusual, span }
    }

    /// The subquery runs once over all rows, grouped by the key.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        if let Some(span) = self.unusual {
            binder.refuse("this form of `partition`", span);
            return None;
        }
        if binder.group.is_some() {
            binder.refuse("`partition` inside a grouped subquery", self.span);
            return None;
        }
        let name = Expr { kind: ExprKind::Name(self.key.node.clone()), span: self.key.span };
        let key = binder.with_row(&input.columns, |binder| binder.column_reference(&name))?;
        binder.not_dynamic(&Bound::column(&key), self.key.span);
        let copy: Column = binder.column("$partition", key.ty);
        let columns = input.columns.clone();
        let mut copies: Vec<(Column, Bound)> = columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        copies.push((copy.clone(), Bound::column(&key)));
        let mut relation = binder.project(input, copies);
        relation.columns = columns;
        let result = grouped(binder, GroupContext { row_id: copy, carried: Vec::new() }, relation, &self.operators, "partition")?;
        let shown = result.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        Some(binder.project(result, shown))
    }
}
