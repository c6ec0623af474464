//! `assert-schema`: fails unless the input has exactly these columns. Kusto docs: `assert-schema-operator`.

use crate::binder::{Binder, Relation};
use crate::diagnostics::codes;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::ColumnDeclaration;

#[derive(Clone, Debug)]
pub struct AssertSchema {
    pub columns: Vec<ColumnDeclaration>,
    pub span: Span,
}

impl AssertSchema {
    pub(crate) fn name(&self) -> &'static str {
        "assert-schema"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> AssertSchema {
        AssertSchema { columns: parser.column_declarations(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let same = input.columns.len() == self.columns.len() && input.columns.iter().zip(&self.columns).all(|(have, want)| have.name == want.name.node && have.ty == want.ty);
        if !same {
            let have: Vec<String> = input.columns.iter().map(|column| format!("{}: {}", column.name, column.ty)).collect();
            binder.error(codes::INVALID_USE, "the input does not have the asserted schema", self.span, format!("it has ({})", have.join(", ")));
            return None;
        }
        Some(input)
    }
}
