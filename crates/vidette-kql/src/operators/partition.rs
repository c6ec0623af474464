//! `partition`: a subquery per value of a column. Kusto docs: `partition-operator`.

use super::Operator;
use super::mv_expand::{grouped, runs_grouped};
use super::union::combine;
use crate::binder::{Binder, Binding, GroupContext, Relation};
use crate::bound::{Column, Expr as Bound, Plan};
use crate::catalog::QuestionKind;
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name};
use crate::types::{ScalarType, Value};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Partition {
    pub key: Name,
    pub operators: Vec<Operator>,
    /// A whole query in braces, instead of operators.
    pub query: Option<Expr>,
    /// `by a.b` and `in (…)`.
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
        let (mut operators, mut query) = (Vec::new(), None);
        if parser.eat(Token::OpenBrace) {
            query = Some(parser.pipe());
            parser.expect(Token::CloseBrace, "}");
        } else {
            operators = parser.subquery();
        }
        Partition { key, operators, query, unusual, span }
    }

    /// The subquery runs once over all rows, grouped by the key, where all its operators can; else once per value of the key.
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
        if self.query.is_some() || self.operators.iter().any(|operator| !runs_grouped(operator)) {
            return self.by_value(binder, input, &key);
        }
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

    /// A leg per value, over the rows that have it. Within a query in braces the name of the key is its value.
    fn by_value(&self, binder: &mut Binder, input: Relation, key: &Column) -> Option<Relation> {
        let text = binder.convert(Bound::column(key), ScalarType::String);
        let hidden = binder.column("$value", ScalarType::String);
        let plan = Plan::Project { input: Box::new(input.plan.clone()), columns: vec![(hidden.clone(), text.clone())] };
        let values = binder.ask(plan, hidden, QuestionKind::Values).unwrap_or_default();
        if values.len() > VALUES {
            let message = format!("`partition` by {} values; a subquery of this kind may have {VALUES}", values.len());
            binder.error(codes::INVALID_USE, message, self.key.span, "group by fewer values");
            return None;
        }
        // Without rows, a leg without rows says which columns there are.
        let values: Vec<String> = if values.is_empty() { vec![String::new()] } else { values.into_iter().map(|(value, _)| value).collect() };
        let mut stored: Vec<(Column, Bound)> = input.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        stored.push((binder.column("$text", ScalarType::String), text));
        let columns: Vec<Column> = stored.iter().map(|(column, _)| column.clone()).collect();
        let rows = Arc::new(Plan::Project { input: Box::new(input.plan), columns: stored });
        let mut legs = Vec::with_capacity(values.len());
        let numbered = binder.numbered;
        for value in values {
            // The names of columns without a name are the same in all legs.
            binder.numbered = numbered;
            let value = Bound::literal(Value::String(value));
            let leg = match &self.query {
                Some(query) => {
                    let value = binder.convert(value, key.ty);
                    binder.with_defined(&self.key.node, Binding::Scalar(value), |binder| binder.tabular(query))?
                }
                None => {
                    let mut relation = binder.reference(&rows, &columns);
                    let text = relation.columns.pop()?;
                    let predicate = Bound::call("==", ScalarType::Bool, vec![Bound::column(&text), value]);
                    relation.plan = Plan::Filter { input: Box::new(relation.plan), predicate };
                    binder.piped(relation, &self.operators, 0)?
                }
            };
            legs.push((String::new(), leg));
        }
        Some(combine(binder, legs, false, None))
    }
}

/// The legs that a subquery may be run in (`partition-operator`, the legacy strategy).
const VALUES: usize = 64;
