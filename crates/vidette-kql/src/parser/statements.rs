//! Statements: `let`, `set`, `declare`, `alias`, `restrict`, expressions. Kusto docs: `statements`.

use super::Parser;
use crate::diagnostics::{Diagnostic, codes};
use crate::lexer::Token;
use crate::span::{Span, Spanned};
use crate::syntax::{Expr, ExprKind, FunctionDeclaration, LetValue, Parameter, ParameterType, Pattern, PatternRow, Query, Statement};

impl Parser<'_> {
    /// The whole text: statements between semicolons.
    pub(super) fn query(&mut self) -> Query {
        if self.peek() == Token::Dot && self.peek_at(1) == Token::Name {
            let span = self.span().to(self.lexeme(1).span);
            let name = format!("management command `.{}` is not a query", self.text_at(1));
            let help = "Vidette runs queries; leave the leading `.` command out";
            self.report(Diagnostic::error(codes::MANAGEMENT_COMMAND, name, span).label("a management command").help(help));
            return Query::default();
        }
        let query = self.statements(Token::End);
        if self.peek() != Token::End {
            self.incomplete();
        }
        query
    }

    /// Text that belongs to no statement; a character that belongs to no token says so first.
    fn incomplete(&mut self) {
        let strange = self.peek() == Token::Unknown || self.text().starts_with('!') && self.text().len() > 1;
        if strange {
            let found = self.text().chars().next().unwrap_or_default();
            self.error_here(codes::UNEXPECTED, format!("unexpected: `{found}`"));
        } else {
            self.error_here(codes::INCOMPLETE_FRAGMENT, "the incomplete fragment is unexpected");
        }
    }

    /// Statements up to `end`, which is not consumed.
    pub(super) fn statements(&mut self, end: Token) -> Query {
        let mut statements = Vec::new();
        loop {
            while self.eat(Token::Semicolon) {}
            if self.peek() == end || self.peek() == Token::End {
                break;
            }
            let before = self.lexeme(0).span;
            if let Some(statement) = self.statement() {
                statements.push(statement);
            }
            if self.peek() == end || self.peek() == Token::End {
                break;
            }
            if self.peek() != Token::Semicolon {
                if self.begins_expression() {
                    self.error_here(codes::EXPECTED, "expected: ;");
                } else {
                    self.incomplete();
                }
                if end != Token::End && self.peek() == Token::CloseParen {
                    break;
                }
                if self.lexeme(0).span == before {
                    self.bump();
                }
                self.recover();
                while matches!(self.peek(), Token::CloseParen | Token::CloseBracket | Token::CloseBrace | Token::Pipe) && self.peek() != end {
                    self.bump();
                    self.recover();
                }
            }
        }
        Query { statements, words: self.words() }
    }

    /// The name of a pattern and, after `=`, its arguments and rows.
    fn pattern(&mut self) -> Pattern {
        let mut pattern = Pattern { name: self.declared_name(), arguments: Vec::new(), path: None, rows: Vec::new() };
        if !self.eat(Token::Assign) {
            return pattern;
        }
        pattern.arguments = self.column_declarations().into_iter().map(|column| column.name).collect();
        if self.eat(Token::OpenBracket) {
            pattern.path = Some(self.column_declaration().name);
            self.expect(Token::CloseBracket, "]");
        }
        self.expect(Token::OpenBrace, "{");
        while self.eat(Token::OpenParen) {
            let arguments = self.comma_list(|parser| parser.expression());
            self.expect(Token::CloseParen, ")");
            let path = self.eat(Token::Dot).then(|| {
                self.expect(Token::OpenBracket, "[");
                let path = self.expression();
                self.expect(Token::CloseBracket, "]");
                path
            });
            self.expect(Token::Assign, "=");
            self.expect(Token::OpenBrace, "{");
            let body = self.statements(Token::CloseBrace);
            self.expect(Token::CloseBrace, "}");
            self.eat(Token::Semicolon);
            pattern.rows.push(PatternRow { arguments, path, body });
        }
        self.expect(Token::CloseBrace, "}");
        pattern
    }

    fn begins_expression(&self) -> bool {
        matches!(self.peek(), Token::Name | Token::Long | Token::Real | Token::TimeSpan | Token::String | Token::Typed(_) | Token::OpenParen | Token::OpenBracket)
    }

    fn statement(&mut self) -> Option<Statement> {
        let keyword = if self.peek() == Token::Name { self.text() } else { "" };
        let name_follows = matches!(self.peek_at(1), Token::Name | Token::OpenBracket);
        match keyword {
            "let" if name_follows => Some(self.let_statement()),
            "set" if self.peek_at(1) == Token::Name => {
                self.bump();
                let name = self.declared_name();
                let value = self.eat(Token::Assign).then(|| self.parameter_value());
                Some(Statement::Set { name, value })
            }
            "declare" if self.text_at(1) == "query_parameters" => {
                self.at += 2;
                Some(Statement::DeclareQueryParameters(self.parameters()))
            }
            "declare" if self.text_at(1) == "pattern" => {
                self.at += 2;
                Some(Statement::DeclarePattern(self.pattern()))
            }
            "declare" if self.text_at(1) == "entity_group" => {
                let span = self.bump().span;
                self.bump();
                let name = self.declared_name();
                self.recover();
                Some(Statement::DeclareEntityGroup { name, span })
            }
            "alias" if self.text_at(1) == "database" => {
                self.at += 2;
                let name = self.declared_name();
                self.expect(Token::Assign, "=");
                Some(Statement::Alias { name, value: self.pipe() })
            }
            "restrict" if self.text_at(1) == "access" => {
                let span = self.span();
                self.at += 2;
                self.expect_word("to");
                self.expect(Token::OpenParen, "(");
                let entities = self.comma_list(|parser| parser.pipe());
                self.expect(Token::CloseParen, ")");
                Some(Statement::Restrict { entities, span })
            }
            _ => {
                if matches!(self.peek(), Token::Pipe | Token::CloseParen | Token::CloseBracket | Token::CloseBrace | Token::OpenBrace | Token::Unknown) {
                    self.incomplete();
                    return None;
                }
                Some(Statement::Expression(self.pipe()))
            }
        }
    }

    fn let_statement(&mut self) -> Statement {
        self.bump();
        let name = self.declared_name();
        self.expect(Token::Assign, "=");
        if self.at_word("view") && self.peek_at(1) == Token::OpenParen {
            self.bump();
            return Statement::Let { name, value: LetValue::Function(FunctionDeclaration { view: true, ..self.function() }) };
        }
        if self.at_function() {
            return Statement::Let { name, value: LetValue::Function(self.function()) };
        }
        Statement::Let { name, value: LetValue::Expr(self.pipe()) }
    }

    /// Whether `( … ) {` stands here.
    fn at_function(&self) -> bool {
        if self.peek() != Token::OpenParen {
            return false;
        }
        let mut open = 0usize;
        for ahead in 0.. {
            match self.peek_at(ahead) {
                Token::OpenParen => open += 1,
                Token::CloseParen => {
                    open -= 1;
                    if open == 0 {
                        return self.peek_at(ahead + 1) == Token::OpenBrace;
                    }
                }
                Token::End | Token::Semicolon | Token::Pipe => return false,
                _ => {}
            }
        }
        false
    }

    pub(super) fn function(&mut self) -> FunctionDeclaration {
        let start = self.span();
        let parameters = self.parameters();
        self.expect(Token::OpenBrace, "{");
        let body = self.deeper(|parser| parser.statements(Token::CloseBrace)).unwrap_or_default();
        self.expect(Token::CloseBrace, "}");
        FunctionDeclaration { parameters, body, view: false, span: start.to(Span::new(self.previous_end(), self.previous_end())) }
    }

    /// `(x: long = 5, T: (a: string), U: (*))`
    fn parameters(&mut self) -> Vec<Parameter> {
        self.expect(Token::OpenParen, "(");
        let mut parameters = Vec::new();
        while !matches!(self.peek(), Token::CloseParen | Token::End) {
            let name = self.given_name();
            let ty = if !self.eat(Token::Colon) {
                self.error_here(codes::EXPECTED, "expected: :");
                ParameterType::Missing
            } else if self.peek() == Token::OpenParen {
                self.tabular_parameter()
            } else {
                ParameterType::Scalar(self.scalar_type())
            };
            let default = self.eat(Token::Assign).then(|| self.expression());
            parameters.push(Parameter { name, ty, default });
            if !self.eat(Token::Comma) {
                break;
            }
        }
        self.expect(Token::CloseParen, ")");
        parameters
    }

    fn tabular_parameter(&mut self) -> ParameterType {
        self.bump();
        let mut columns = Vec::new();
        let mut open = false;
        while !matches!(self.peek(), Token::CloseParen | Token::End) {
            if self.eat(Token::Star) {
                open = true;
            } else {
                columns.push(self.column_declaration());
            }
            if !self.eat(Token::Comma) {
                break;
            }
        }
        self.expect(Token::CloseParen, ")");
        ParameterType::Tabular(columns, open)
    }

    /// A tabular or scalar expression: a source, then operators after `|`.
    pub(crate) fn pipe(&mut self) -> Expr {
        self.deeper(|parser| parser.pipe_inner()).unwrap_or(Expr { kind: ExprKind::Error, span: Span::default() })
    }

    fn pipe_inner(&mut self) -> Expr {
        let start = self.span();
        let mut operators = Vec::new();
        let source = match self.leading_operator() {
            Some(operator) => {
                operators.push(operator);
                None
            }
            None => Some(self.named_expression()),
        };
        while self.peek() == Token::Pipe {
            self.bump();
            match self.operator() {
                Some(operator) => operators.push(operator),
                None => self.recover(),
            }
        }
        match source {
            Some(source) if operators.is_empty() => source,
            // A named argument that is a query: the name belongs to the whole of it.
            Some(Expr { kind: ExprKind::Named { names, value }, .. }) => {
                let span = start.to(Span::new(self.previous_end(), self.previous_end()));
                let query = Expr::new(ExprKind::Pipe { source: Some(value), operators }, span);
                Expr::new(ExprKind::Named { names, value: Box::new(query) }, span)
            }
            source => {
                let span = start.to(Span::new(self.previous_end(), self.previous_end()));
                Expr::new(ExprKind::Pipe { source: source.map(Box::new), operators }, span)
            }
        }
    }

    /// `name = expression`, `(a, b) = expression`, `expression`.
    pub(crate) fn named_expression(&mut self) -> Expr {
        let start = self.span();
        let names = if self.peek() == Token::Name && self.peek_at(1) == Token::Assign
            || self.peek() == Token::OpenBracket && self.peek_at(1) == Token::String && self.peek_at(3) == Token::Assign
        {
            vec![self.given_name()]
        } else if self.peek() == Token::OpenParen {
            self.name_tuple()
        } else {
            Vec::new()
        };
        if names.is_empty() {
            return self.expression();
        }
        self.bump();
        let value = self.expression();
        let span = start.to(value.span);
        Expr::new(ExprKind::Named { names, value: Box::new(value) }, span)
    }

    /// The names of `(a, b) =`, consumed up to the `=`; empty when something else stands here.
    fn name_tuple(&mut self) -> Vec<Spanned<String>> {
        let mut ahead = 1;
        loop {
            ahead += match (self.peek_at(ahead), self.peek_at(ahead + 1)) {
                (Token::Name, _) => 1,
                (Token::OpenBracket, Token::String) => 3,
                _ => return Vec::new(),
            };
            match self.peek_at(ahead) {
                Token::Comma => ahead += 1,
                Token::CloseParen if self.peek_at(ahead + 1) == Token::Assign => break,
                _ => return Vec::new(),
            }
        }
        self.bump();
        let names = self.comma_list(|parser| parser.given_name());
        self.bump();
        names
    }
}
