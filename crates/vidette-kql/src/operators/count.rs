//! `count`: one row with the number of rows in `Count`. Kusto docs: `count-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::Aggregate;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::Name;
use crate::types::ScalarType;

#[derive(Clone, Debug)]
pub struct Count {
    pub alias: Option<Name>,
    pub span: Span,
}

impl Count {
    pub(crate) fn name(&self) -> &'static str {
        "count"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Count {
        parser.operator_parameters();
        let alias = (parser.at_word("as") && parser.peek_at(1) == Token::Name).then(|| {
            parser.bump();
            parser.declared_name()
        });
        Count { alias, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let name = self.alias.as_ref().map_or("Count", |alias| alias.node.as_str());
        let column = binder.column(name, ScalarType::Long);
        let aggregate = Aggregate { function: "count".to_owned(), arguments: Vec::new(), filter: None, ty: ScalarType::Long, span: self.span };
        let plan = super::summarize::aggregate(binder, input, Vec::new(), vec![(column.clone(), aggregate)]);
        Some(Relation { plan, columns: vec![column] })
    }
}
