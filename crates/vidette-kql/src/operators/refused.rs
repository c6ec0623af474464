//! Operators that parse in full and are refused by name when bound: the engine does not run them yet.

use crate::binder::{Binder, Relation};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;

#[derive(Clone, Debug)]
pub struct Refused {
    pub operator: String,
    pub span: Span,
}

impl Refused {
    pub(crate) fn name(&self) -> &str {
        &self.operator
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span, operator: &str) -> Refused {
        parser.leading = false;
        match operator {
            "graph-where-nodes" | "graph-where-edges" => {
                parser.named_expression();
            }
            "macro-expand" => macro_expand(parser),
            _ => {}
        }
        Refused { operator: operator.to_owned(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, _input: Relation) -> Option<Relation> {
        binder.refuse_named("operator", &self.operator, self.span);
        None
    }
}

fn macro_expand(parser: &mut Parser) {
    parser.operator_parameters();
    if parser.at_word("entity_group") {
        parser.bump();
        parser.expect(Token::OpenBracket, "[");
        parser.comma_list(|parser| parser.expression());
        parser.expect(Token::CloseBracket, "]");
    } else {
        parser.declared_name();
    }
    parser.expect_word("as");
    parser.declared_name();
    parser.expect(Token::OpenParen, "(");
    while !matches!(parser.peek(), Token::CloseParen | Token::End) {
        parser.pipe();
        if !parser.eat(Token::Semicolon) {
            break;
        }
    }
    parser.expect(Token::CloseParen, ")");
}
