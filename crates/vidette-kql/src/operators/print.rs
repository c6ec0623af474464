//! `print`: one row of scalar values. Kusto docs: `print-operator`.

use crate::binder::naming::Names;
use crate::binder::{Binder, Relation};
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind};

#[derive(Clone, Debug)]
pub struct Print {
    pub columns: Vec<Expr>,
    pub span: Span,
}

impl Print {
    pub(crate) fn name(&self) -> &'static str {
        "print"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Print {
        Print { columns: parser.comma_list(|parser| parser.named_expression()), span }
    }

    /// Unnamed columns are `print_0`, `print_1` … by their position.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let mut names = Names::default();
        let mut result = Vec::with_capacity(self.columns.len());
        for (at, expr) in self.columns.iter().enumerate() {
            let values = binder.with_row(&[], |binder| binder.named_scalars(expr));
            let named = matches!(expr.kind, ExprKind::Named { .. });
            let several = values.len() > 1;
            for (name, value) in values {
                let name = match name {
                    Some(name) if named => name,
                    Some(automatic) if several => names.unique(&automatic),
                    _ => format!("print_{at}"),
                };
                if (named || !several) && !names.take(&name) {
                    binder.error(codes::DUPLICATE_COLUMN, format!("a column with the name `{name}` is already declared"), expr.span, "declared twice");
                    break;
                }
                result.push((binder.column(name, value.ty), value));
            }
        }
        Some(binder.project(input, result))
    }
}
