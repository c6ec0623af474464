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
            "make-graph" => make_graph(parser),
            "graph-match" | "graph-shortest-paths" => graph_pattern(parser),
            "graph-to-table" => graph_to_table(parser),
            "graph-mark-components" => {
                parser.operator_parameters();
            }
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

fn make_graph(parser: &mut Parser) {
    parser.operator_parameters();
    parser.declared_name();
    if !edge(parser) {
        parser.expect(Token::Minus, "-->");
    }
    parser.declared_name();
    if parser.eat_word("with_node_id") {
        parser.expect(Token::Assign, "=");
        parser.declared_name();
    } else if parser.eat_word("with") {
        loop {
            if parser.eat_word("node_id") || parser.eat_word("with_node_id") {
                parser.expect(Token::Assign, "=");
                parser.declared_name();
            } else {
                parser.table_expression();
                parser.expect_word("on");
                parser.declared_name();
            }
            if !parser.eat(Token::Comma) {
                break;
            }
        }
    }
    if parser.at_word("partitioned") || parser.at_word("partitioned-by") {
        parser.recover();
    }
}

/// `-->`, `<--`, `--`, `-[e]->`, `<-[e*1..3]-`
fn edge(parser: &mut Parser) -> bool {
    let left = parser.peek() == Token::Less;
    if left {
        parser.bump();
    }
    if parser.peek() != Token::Minus {
        return false;
    }
    parser.bump();
    if parser.eat(Token::OpenBracket) {
        if parser.peek() == Token::Name {
            parser.bump();
        }
        if parser.eat(Token::Star) && parser.peek() != Token::CloseBracket {
            parser.expression();
            parser.expect(Token::DotDot, "..");
            if parser.peek() != Token::CloseBracket {
                parser.expression();
            }
        }
        parser.expect(Token::CloseBracket, "]");
    }
    parser.expect(Token::Minus, "-");
    parser.eat(Token::Greater);
    true
}

fn graph_pattern(parser: &mut Parser) {
    parser.operator_parameters();
    parser.comma_list(|parser| {
        graph_node(parser);
        while edge(parser) {
            graph_node(parser);
        }
    });
    if parser.eat_word("where") {
        parser.expression();
    }
    if parser.eat_word("project") {
        parser.comma_list(|parser| parser.named_expression());
    }
}

fn graph_node(parser: &mut Parser) {
    parser.expect(Token::OpenParen, "(");
    if parser.peek() == Token::Name {
        parser.bump();
    }
    parser.expect(Token::CloseParen, ")");
}

fn graph_to_table(parser: &mut Parser) {
    parser.comma_list(|parser| {
        if !parser.eat_word("nodes") {
            parser.expect_word("edges");
        }
        if parser.eat_word("as") {
            parser.declared_name();
        }
        if parser.peek() == Token::Name && parser.text().starts_with("with_") {
            parser.bump();
            parser.expect(Token::Assign, "=");
            parser.declared_name();
        }
    });
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
