//! Scalar expressions by precedence climbing. Kusto docs: `scalar-data-types`, `scalar-operators`.

use super::Parser;
use crate::diagnostics::{Diagnostic, codes};
use crate::lexer::{Token, string_value, timespan_literal};
use crate::literals;
use crate::span::{Span, Spanned};
use crate::syntax::{Expr, ExprKind};
use crate::types::{ScalarType, Value};

/// Operators spelled as words that bind as tightly as a comparison of strings.
const STRING_OPERATORS: &[&str] = &[
    "has",
    "has_cs",
    "hasprefix",
    "hasprefix_cs",
    "hassuffix",
    "hassuffix_cs",
    "contains",
    "contains_cs",
    "containscs",
    "startswith",
    "startswith_cs",
    "endswith",
    "endswith_cs",
    "matches",
    "like",
    "likecs",
    "notlike",
    "notlikecs",
    "notcontains",
    "notcontainscs",
];

const LIST_OPERATORS: &[&str] = &["in", "in~", "has_any", "has_all", "!in", "!in~"];

impl Parser<'_> {
    /// A scalar expression, without a name.
    pub(crate) fn expression(&mut self) -> Expr {
        self.deeper(|parser| parser.or()).unwrap_or(Expr { kind: ExprKind::Error, span: Span::default() })
    }

    fn or(&mut self) -> Expr {
        self.chain("or", Self::and, ExprKind::Or)
    }

    fn and(&mut self) -> Expr {
        self.chain("and", Self::equality, ExprKind::And)
    }

    fn chain(&mut self, word: &str, operand: fn(&mut Self) -> Expr, make: fn(Vec<Expr>) -> ExprKind) -> Expr {
        let first = operand(self);
        if !self.at_word(word) {
            return first;
        }
        let mut operands = vec![first];
        while self.eat_word(word) {
            operands.push(operand(self));
        }
        let span = operands[0].span.to(operands[operands.len() - 1].span);
        Expr::new(make(operands), span)
    }

    fn word_operator(&self) -> &str {
        if matches!(self.peek(), Token::Name | Token::BangName) { self.text() } else { "" }
    }

    fn take_operator(&mut self) -> Spanned<String> {
        let lexeme = self.bump();
        let text = lexeme.span.text(self.source);
        Spanned { node: if text == "<>" { "!=".to_owned() } else { text.to_owned() }, span: lexeme.span }
    }

    fn equality(&mut self) -> Expr {
        let mut left = self.relational();
        loop {
            let word = self.word_operator();
            if matches!(self.peek(), Token::Equal | Token::NotEqual) {
                left = self.binary(left, Self::relational);
            } else if LIST_OPERATORS.contains(&word) {
                let operator = self.take_operator();
                let list = self.operator_list();
                let span = left.span.to(Span::new(self.previous_end(), self.previous_end()));
                left = Expr::new(ExprKind::In { operator, value: Box::new(left), list }, span);
            } else if matches!(word, "between" | "!between") {
                left = self.between(left);
            } else {
                return left;
            }
        }
    }

    fn binary(&mut self, left: Expr, operand: fn(&mut Self) -> Expr) -> Expr {
        let operator = self.take_operator();
        let right = operand(self);
        let span = left.span.to(right.span);
        Expr::new(ExprKind::Binary { operator, left: Box::new(left), right: Box::new(right) }, span)
    }

    fn operator_list(&mut self) -> Vec<Expr> {
        if self.peek() != Token::OpenParen {
            // `x in T` and `x has_any list` are accepted without parentheses for a single name.
            self.expect(Token::OpenParen, "(");
            return vec![self.unary()];
        }
        self.bump();
        let mut list = Vec::new();
        while !matches!(self.peek(), Token::CloseParen | Token::End) {
            list.push(self.pipe());
            if !self.eat(Token::Comma) {
                // The commas of a list may be left out between literals.
                if !matches!(self.peek(), Token::String | Token::Long | Token::Real | Token::Typed(_)) {
                    break;
                }
            }
        }
        self.expect(Token::CloseParen, ")");
        list
    }

    fn between(&mut self, value: Expr) -> Expr {
        let operator = self.take_operator();
        self.expect(Token::OpenParen, "(");
        let low = self.expression();
        self.expect(Token::DotDot, "..");
        let high = self.expression();
        self.expect(Token::CloseParen, ")");
        let span = value.span.to(Span::new(self.previous_end(), self.previous_end()));
        Expr::new(ExprKind::Between { operator, value: Box::new(value), low: Box::new(low), high: Box::new(high) }, span)
    }

    /// An operand of `and` and `or`, for the predicate of `search`.
    pub(crate) fn relational_expression(&mut self) -> Expr {
        self.equality()
    }

    fn relational(&mut self) -> Expr {
        let mut left = self.additive();
        while matches!(self.peek(), Token::Less | Token::LessEqual | Token::Greater | Token::GreaterEqual) {
            left = self.binary(left, Self::additive);
        }
        left
    }

    fn additive(&mut self) -> Expr {
        let mut left = self.multiplicative();
        while matches!(self.peek(), Token::Plus | Token::Minus) {
            left = self.binary(left, Self::multiplicative);
        }
        left
    }

    fn multiplicative(&mut self) -> Expr {
        let mut left = self.string_operation();
        while matches!(self.peek(), Token::Star | Token::Slash | Token::Percent) {
            left = self.binary(left, Self::string_operation);
        }
        left
    }

    fn string_operation(&mut self) -> Expr {
        let mut left = self.unary();
        loop {
            let word = self.word_operator();
            if matches!(self.peek(), Token::EqualTilde | Token::NotTilde) {
                left = self.binary(left, Self::unary);
            } else if word == "matches" && self.text_at(1) == "regex" {
                let start = self.bump().span;
                let operator = Spanned { node: "matches regex".to_owned(), span: start.to(self.bump().span) };
                let right = self.unary();
                let span = left.span.to(right.span);
                left = Expr::new(ExprKind::Binary { operator, left: Box::new(left), right: Box::new(right) }, span);
            } else if self.peek() == Token::Name && STRING_OPERATORS.contains(&word) || self.peek() == Token::BangName && STRING_OPERATORS.contains(&&word[1..]) {
                if word == "matches" {
                    return left;
                }
                left = self.binary(left, Self::unary);
            } else {
                return left;
            }
        }
    }

    pub(crate) fn unary(&mut self) -> Expr {
        if !matches!(self.peek(), Token::Minus | Token::Plus) {
            return self.postfix();
        }
        let operator = self.take_operator();
        let operand = self.deeper(|parser| parser.unary()).unwrap_or(Expr { kind: ExprKind::Error, span: operator.span });
        let span = operator.span.to(operand.span);
        let kind = match (operator.node.as_str(), operand.kind) {
            ("-", ExprKind::Literal(Value::Long(n))) => ExprKind::Literal(Value::Long(n.wrapping_neg())),
            ("-", ExprKind::Literal(Value::Real(n))) => ExprKind::Literal(Value::Real(-n)),
            ("-", ExprKind::Literal(Value::TimeSpan(n))) => ExprKind::Literal(Value::TimeSpan(n.wrapping_neg())),
            (_, kind) => ExprKind::Unary { operator, operand: Box::new(Expr::new(kind, operand.span)) },
        };
        Expr::new(kind, span)
    }

    fn postfix(&mut self) -> Expr {
        let mut expr = self.primary();
        loop {
            match self.peek() {
                Token::Dot => {
                    self.bump();
                    let member = match self.peek() {
                        Token::Name | Token::Typed(_) => self.name_or_call(),
                        Token::OpenBracket => match self.try_name() {
                            Some(name) => Expr::new(ExprKind::Name(name.node), name.span),
                            // `a.[0]` is `a[0]`.
                            None => continue,
                        },
                        _ => {
                            self.error_here(codes::EXPECTED, "expected: a name");
                            return expr;
                        }
                    };
                    let span = expr.span.to(member.span);
                    expr = Expr::new(ExprKind::Path { target: Box::new(expr), member: Box::new(member) }, span);
                }
                Token::OpenBracket => {
                    self.bump();
                    let index = self.expression();
                    self.expect(Token::CloseBracket, "]");
                    let span = expr.span.to(Span::new(self.previous_end(), self.previous_end()));
                    expr = Expr::new(ExprKind::Index { target: Box::new(expr), index: Box::new(index) }, span);
                }
                _ => return expr,
            }
        }
    }

    fn primary(&mut self) -> Expr {
        let span = self.span();
        match self.peek() {
            Token::Name => self.name_or_call(),
            Token::Long | Token::Real | Token::TimeSpan | Token::Typed(_) => self.literal(),
            Token::String => self.string_literal(),
            Token::Star => {
                self.bump();
                Expr::new(ExprKind::Star, span)
            }
            Token::OpenParen => {
                self.bump();
                let mut inner = self.pipe();
                self.expect(Token::CloseParen, ")");
                inner.span = span.to(Span::new(self.previous_end(), self.previous_end()));
                inner
            }
            Token::OpenBracket => match self.try_name() {
                Some(name) => self.call_or_name(name),
                None => self.missing_expression(),
            },
            _ => self.missing_expression(),
        }
    }

    fn name_or_call(&mut self) -> Expr {
        match (self.text(), self.peek_at(1)) {
            ("dynamic", Token::OpenParen) => return self.dynamic_literal(),
            ("datatable", Token::OpenParen) => return self.datatable(),
            ("datatable", Token::Name) if self.peek_at(2) == Token::Assign => return self.datatable(),
            ("externaldata" | "external_data", Token::OpenParen) => return self.externaldata(),
            ("inline_external_table", Token::OpenParen | Token::Name) => return self.inline_external_table(),
            ("typeof", Token::OpenParen) => return self.type_of(),
            ("true" | "false" | "null" | "True" | "False" | "TRUE" | "FALSE", token) if token != Token::OpenParen => {
                let lexeme = self.bump();
                let value = match lexeme.span.text(self.source).to_ascii_lowercase().as_str() {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    _ => return Expr::new(ExprKind::Name("null".to_owned()), lexeme.span),
                };
                return Expr::new(ExprKind::Literal(value), lexeme.span);
            }
            _ => {}
        }
        let lexeme = self.bump();
        let name = Spanned { node: lexeme.span.text(self.source).to_owned(), span: lexeme.span };
        self.call_or_name(name)
    }

    fn call_or_name(&mut self, name: Spanned<String>) -> Expr {
        if self.peek() != Token::OpenParen {
            // A wildcard name such as `Device*` is only read where an operator asks for it.
            return Expr::new(ExprKind::Name(name.node), name.span);
        }
        let arguments = self.arguments();
        let span = name.span.to(Span::new(self.previous_end(), self.previous_end()));
        Expr::new(ExprKind::Call { name, arguments }, span)
    }

    pub(crate) fn arguments(&mut self) -> Vec<Expr> {
        self.bump();
        let mut arguments = Vec::new();
        if self.peek() != Token::CloseParen {
            arguments = self.comma_list(|parser| parser.pipe());
        }
        self.expect(Token::CloseParen, ")");
        arguments
    }

    fn literal(&mut self) -> Expr {
        let lexeme = self.bump();
        let text = lexeme.span.text(self.source);
        if lexeme.token == Token::Typed(ScalarType::DateTime) && text.ends_with("()") {
            // The time of the query (the page of the data type).
            return Expr::new(ExprKind::Call { name: Spanned { node: "now".to_owned(), span: lexeme.span }, arguments: Vec::new() }, lexeme.span);
        }
        let value = match lexeme.token {
            Token::Long => literals::long(text).map(Value::Long),
            Token::Real => text.parse().ok().map(Value::Real),
            Token::TimeSpan => timespan_literal(text).map(Value::TimeSpan),
            Token::Typed(ty) => {
                let open = text.find('(').unwrap_or(0);
                literals::typed(ty, text[open + 1..text.len() - 1].trim())
            }
            _ => None,
        };
        match value {
            Some(value) => Expr::new(ExprKind::Literal(value), lexeme.span),
            None => {
                // Microsoft's analyzer lets a malformed literal pass; its value is null.
                let ty = if let Token::Typed(ty) = lexeme.token { ty } else { ScalarType::Long };
                Expr::new(ExprKind::Literal(Value::Null(ty)), lexeme.span)
            }
        }
    }

    /// One string literal, or several side by side that make one.
    pub(crate) fn string_literal(&mut self) -> Expr {
        let start = self.span();
        let mut value = String::new();
        while self.peek() == Token::String {
            let span = self.bump().span;
            match string_value(span.text(self.source)) {
                Some(part) => value.push_str(&part),
                None => {
                    let help = "write a backslash as `\\\\`, or begin the literal with `@`";
                    self.report(Diagnostic::error(codes::MISSING_TEXT, "the string literal has an invalid escape", span).label("unknown escape").help(help));
                }
            }
        }
        Expr::new(ExprKind::Literal(Value::String(value)), start.to(Span::new(self.previous_end(), self.previous_end())))
    }

    /// `dynamic(…)`: JSON, with Kusto's literals allowed inside.
    fn dynamic_literal(&mut self) -> Expr {
        let start = self.bump().span;
        self.bump();
        let mut json = String::new();
        if self.peek() == Token::CloseParen {
            self.missing_expression();
        } else {
            self.deeper(|parser| parser.dynamic_value(&mut json));
        }
        self.expect(Token::CloseParen, ")");
        let value = if json == "null" { Value::Null(ScalarType::Dynamic) } else { Value::Dynamic(json) };
        Expr::new(ExprKind::Literal(value), start.to(Span::new(self.previous_end(), self.previous_end())))
    }

    fn dynamic_value(&mut self, json: &mut String) {
        match self.peek() {
            Token::OpenBracket => {
                self.bump();
                json.push('[');
                self.dynamic_items(json, Token::CloseBracket, |parser, json| {
                    parser.deeper(|parser| parser.dynamic_value(json));
                });
                self.expect(Token::CloseBracket, "]");
                json.push(']');
            }
            Token::OpenBrace => {
                self.bump();
                json.push('{');
                self.dynamic_items(json, Token::CloseBrace, |parser, json| {
                    if parser.peek() != Token::String {
                        parser.error_here(codes::EXPECTED, "expected: }");
                        return;
                    }
                    parser.dynamic_value(json);
                    parser.expect(Token::Colon, ":");
                    json.push(':');
                    parser.deeper(|parser| parser.dynamic_value(json));
                });
                self.expect(Token::CloseBrace, "}");
                json.push('}');
            }
            Token::Minus | Token::Plus | Token::Long | Token::Real | Token::TimeSpan | Token::Typed(_) | Token::String => {
                let literal = self.unary();
                match &literal.kind {
                    // A number of ticks, other than what `pack_array()` makes of it, as Kusto's emulator has it.
                    ExprKind::Literal(Value::TimeSpan(ticks)) => literals::write_json(&Value::Long(*ticks), json),
                    ExprKind::Literal(value) => literals::write_json(value, json),
                    _ => {}
                }
            }
            Token::Name if matches!(self.text(), "true" | "false" | "null") => json.push_str(self.bump().span.text(self.source)),
            Token::Name if self.text() == "dynamic" && self.peek_at(1) == Token::OpenParen => {
                let inner = self.dynamic_literal();
                if let ExprKind::Literal(value) = &inner.kind {
                    literals::write_json(value, json);
                }
            }
            _ => {
                self.missing_expression();
            }
        }
    }

    fn dynamic_items(&mut self, json: &mut String, close: Token, mut item: impl FnMut(&mut Self, &mut String)) {
        let mut first = true;
        while self.peek() != close && self.peek() != Token::End {
            if !first {
                json.push(',');
            }
            first = false;
            item(self, json);
            if !self.eat(Token::Comma) {
                return;
            }
        }
    }

    fn datatable(&mut self) -> Expr {
        let start = self.bump().span;
        self.operator_parameters();
        let columns = self.column_declarations();
        self.expect(Token::OpenBracket, "[");
        let mut values = Vec::new();
        // Kusto passes over a comma before the first value, as it does over one after the last.
        self.eat(Token::Comma);
        while !matches!(self.peek(), Token::CloseBracket | Token::End) {
            values.push(self.expression());
            if !self.eat(Token::Comma) {
                break;
            }
        }
        self.expect(Token::CloseBracket, "]");
        Expr::new(ExprKind::DataTable { columns, values }, start.to(Span::new(self.previous_end(), self.previous_end())))
    }

    fn externaldata(&mut self) -> Expr {
        let start = self.bump().span;
        let columns = self.column_declarations();
        self.operator_parameters();
        self.expect(Token::OpenBracket, "[");
        let mut locations = Vec::new();
        while !matches!(self.peek(), Token::CloseBracket | Token::End) {
            locations.push(self.expression());
            if !self.eat(Token::Comma) {
                break;
            }
        }
        self.expect(Token::CloseBracket, "]");
        let mut properties = Vec::new();
        if self.eat_word("with") {
            self.expect(Token::OpenParen, "(");
            if self.peek() != Token::CloseParen {
                properties = self.comma_list(|parser| parser.named_expression());
            }
            self.expect(Token::CloseParen, ")");
        }
        let span = start.to(Span::new(self.previous_end(), self.previous_end()));
        Expr::new(ExprKind::ExternalData { columns, locations, properties }, span)
    }

    /// `inline_external_table(columns) kind=… (locations)`, which the binder refuses.
    fn inline_external_table(&mut self) -> Expr {
        let lexeme = self.bump();
        self.recover();
        let name = Spanned { node: lexeme.span.text(self.source).to_owned(), span: lexeme.span };
        Expr::new(ExprKind::Call { name, arguments: Vec::new() }, lexeme.span)
    }

    fn type_of(&mut self) -> Expr {
        let start = self.bump().span;
        self.bump();
        let mut columns = Vec::new();
        let mut scalar = None;
        if self.peek_at(1) == Token::Colon || self.peek() == Token::OpenBracket {
            columns = self.comma_list(|parser| parser.column_declaration());
        } else if !self.eat(Token::Star) {
            scalar = Some(self.scalar_type());
        }
        self.expect(Token::CloseParen, ")");
        Expr::new(ExprKind::TypeOf(columns, scalar), start.to(Span::new(self.previous_end(), self.previous_end())))
    }
}
