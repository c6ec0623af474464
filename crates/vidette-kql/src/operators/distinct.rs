//! `distinct`: one row per distinct tuple. Kusto docs: `distinct-operator`.

use super::summarize::{aggregate, bind_keys};
use crate::binder::{Binder, Relation};
use crate::bound::{Column, Expr as Bound};
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind};

#[derive(Clone, Debug)]
pub struct Distinct {
    pub columns: Vec<Expr>,
    pub span: Span,
}

impl Distinct {
    pub(crate) fn name(&self) -> &'static str {
        "distinct"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Distinct {
        parser.operator_parameters();
        Distinct { columns: parser.comma_list(|parser| parser.named_expression()), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let by: Vec<(Column, Bound)> = match self.columns.as_slice() {
            [Expr { kind: ExprKind::Star, .. }] => {
                let columns = input.columns.clone();
                columns.iter().map(|column| (binder.column(column.name.clone(), column.ty), Bound::column(column))).collect()
            }
            columns => bind_keys(binder, &input, columns).0,
        };
        for (at, (_, value)) in by.iter().enumerate() {
            let written = self.columns.get(at).unwrap_or(&self.columns[0]);
            binder.not_dynamic(value, written.span);
        }
        let columns = by.iter().map(|(column, _)| column.clone()).collect();
        Some(Relation { plan: aggregate(binder, input, by, Vec::new()), columns })
    }
}
