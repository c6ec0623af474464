//! `invoke`: calls a function with the input as its first argument. Kusto docs: `invoke-operator`.

use super::extend::add_columns;
use crate::binder::naming::Names;
use crate::binder::{Binder, Binding, Bound, Relation};
use crate::bound::Expr as BoundExpr;
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, Name};
use crate::types::Value;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Invoke {
    pub function: Name,
    pub arguments: Vec<Expr>,
    pub span: Span,
}

impl Invoke {
    pub(crate) fn name(&self) -> &'static str {
        "invoke"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Invoke {
        let mut function = parser.declared_name();
        while parser.eat(Token::Dot) {
            function = parser.declared_name();
        }
        let arguments = if parser.peek() == Token::OpenParen {
            parser.arguments()
        } else {
            parser.error_here(codes::EXPECTED, "expected: (");
            Vec::new()
        };
        Invoke { function, arguments, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        if let Some(added) = binder.catalog.enrichment(&self.function.node) {
            // Columns of a place that is not here: they are null, unless the input has them.
            let mut names = Names::with(input.columns.iter().map(|column| column.name.clone()));
            let columns = added.into_iter().map(|(name, ty)| (binder.column(names.unique(&name), ty), BoundExpr::literal(Value::Null(ty)))).collect();
            return Some(add_columns(binder, input, columns));
        }
        let Some(Binding::Function(function, environment)) = binder.lookup(&self.function.node) else {
            let message = format!("unknown function `{}`", self.function.node);
            binder.error(codes::UNKNOWN_FUNCTION, message, self.function.span, "`invoke` needs a function defined by `let`");
            return None;
        };
        let leading = vec![Binding::Tabular(Arc::new(input.plan), input.columns, binder.open)];
        match binder.call_with(&self.function.node, &function, &environment, leading, self.arguments.iter().collect(), self.function.span) {
            Bound::Tabular(relation) => Some(relation),
            Bound::Scalar(_) => {
                binder.error(codes::SCALAR_EXPECTED, "tabular value expected", self.function.span, "this function gives a scalar");
                None
            }
            Bound::Broken => None,
        }
    }
}
