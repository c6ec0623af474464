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
            "fork" => fork(parser),
            "facet" => facet(parser),
            "reduce" => reduce(parser),
            "top-nested" => top_nested(parser),
            "graph-where-nodes" | "graph-where-edges" => {
                parser.named_expression();
            }
            "macro-expand" => macro_expand(parser),
            _ => {}
        }
        Refused { operator: operator.to_owned(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, _input: Relation) -> Option<Relation> {
        binder.refuse(&format!("the operator `{}`", self.operator), self.span);
        None
    }
}

fn fork(parser: &mut Parser) {
    loop {
        if parser.peek() == Token::Name && parser.peek_at(1) == Token::Assign {
            parser.bump();
            parser.bump();
        }
        parser.subquery();
        parser.eat(Token::Comma);
        let named = parser.peek() == Token::Name && parser.peek_at(1) == Token::Assign;
        if parser.peek() != Token::OpenParen && !named {
            return;
        }
    }
}

fn facet(parser: &mut Parser) {
    parser.expect_word("by");
    parser.comma_list(|parser| parser.declared_name());
    if parser.eat_word("with") {
        if parser.peek() == Token::OpenParen {
            parser.subquery();
        } else {
            parser.operator();
        }
    }
}

fn reduce(parser: &mut Parser) {
    parser.operator_parameters();
    parser.expect_word("by");
    parser.expression();
    if parser.eat_word("with") {
        parser.comma_list(|parser| parser.named_expression());
    }
}

fn top_nested(parser: &mut Parser) {
    loop {
        if !parser.at_word("of") {
            parser.expression();
        }
        parser.expect_word("of");
        parser.named_expression();
        if parser.eat_word("with") {
            parser.expect_word("others");
            parser.expect(Token::Assign, "=");
            parser.expression();
        }
        parser.expect_word("by");
        parser.named_expression();
        if !parser.eat_word("asc") {
            parser.eat_word("desc");
        }
        if !parser.eat(Token::Comma) {
            return;
        }
        if parser.at_word("top-nested") || parser.text() == "top" && parser.peek_at(1) == Token::Minus {
            for _ in 0..3 {
                parser.bump();
            }
        }
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
