//! `reduce`: groups texts by the words they share. Kusto docs: `reduce-operator`.

use super::evaluate::with_arguments;
use crate::binder::{Binder, Relation};
use crate::bound::{Column, Expr as Bound, Plan};
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind};
use crate::types::ScalarType::{Long, String as Text};
use crate::types::Value;

#[derive(Clone, Debug)]
pub struct Reduce {
    pub by: Expr,
    /// `threshold` and `characters`.
    pub with: Vec<Expr>,
    /// `kind=source`: the rows stay, with their pattern.
    pub keeps_rows: bool,
    pub span: Span,
}

impl Reduce {
    pub(crate) fn name(&self) -> &'static str {
        "reduce"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Reduce {
        parser.leading = false;
        let keeps_rows = parser.operator_parameters().iter().any(|parameter| parameter.name.node == "kind" && parameter.value.name() == Some("source"));
        parser.expect_word("by");
        let by = parser.expression();
        let with = if parser.eat_word("with") { parser.comma_list(|parser| parser.named_expression()) } else { Vec::new() };
        Reduce { by, with, keeps_rows, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let by = binder.with_row(&input.columns, |binder| binder.scalar(&self.by));
        let by = binder.convert(by, Text);
        let (mut threshold, mut characters) = (Bound::literal(Value::Real(0.1)), Bound::literal(Value::String(String::new())));
        for parameter in &self.with {
            let ExprKind::Named { names, value } = &parameter.kind else { continue };
            let value = binder.with_row(&[], |binder| binder.scalar(value));
            match names[0].node.as_str() {
                "threshold" => threshold = value,
                "characters" => characters = value,
                other => {
                    binder.error(codes::UNKNOWN_NAME, format!("unknown name `{other}`"), names[0].span, "expected `threshold` or `characters`");
                    return None;
                }
            }
        }
        let mut columns: Vec<Column> = if self.keeps_rows { input.columns.iter().map(|column| binder.column(column.name.clone(), column.ty)).collect() } else { Vec::new() };
        columns.extend([("Pattern", Text), ("Count", Long), ("Representative", Text)].map(|(name, ty)| binder.column(name, ty)));
        let read = Relation { columns: if self.keeps_rows { input.columns } else { Vec::new() }, plan: input.plan };
        let input = with_arguments(binder, read, vec![by, threshold, characters, Bound::literal(Value::Bool(self.keeps_rows))]);
        Some(Relation { plan: Plan::Pass { name: "reduce".to_owned(), inputs: vec![input], columns: columns.clone(), pattern: None }, columns })
    }
}
