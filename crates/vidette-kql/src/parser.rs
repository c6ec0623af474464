//! Tokens to syntax. Recursive descent with error recovery; it never fails and reads the whole language.
//!
//! Depth does not depend on the thread's stack: recursion goes through `stacker`, chains of `and`, `or` and
//! binary operators are loops, and nesting deeper than [`DEPTH_LIMIT`] is diagnosed.

mod expressions;
mod statements;

use crate::diagnostics::{Diagnostic, STRAIGHT_QUOTES, codes, has_typographic_quotes};
use crate::keywords;
use crate::lexer::{Lexeme, Token, lex};
use crate::span::{Span, Spanned};
use crate::syntax::{ColumnDeclaration, Expr, ExprKind, Name, OperatorParameter, Query, UNLISTED_COLUMNS};
use crate::types::ScalarType;
use std::collections::HashSet;

/// Nesting beyond this is refused with `VD003`; real rules stay below a hundred.
pub const DEPTH_LIMIT: usize = 3000;

/// Parses a query text. The tree is complete as far as the text is; the diagnostics say where it is not.
pub fn parse(source: &str) -> (Query, Vec<Diagnostic>) {
    let (tokens, diagnostics) = lex(source);
    let mut parser = Parser { source, tokens, at: 0, depth: 0, diagnostics, last_error: usize::MAX, leading: false };
    let query = parser.query();
    let mut diagnostics = parser.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (query, diagnostics)
}

pub(crate) struct Parser<'a> {
    pub(crate) source: &'a str,
    tokens: Vec<Lexeme>,
    at: usize,
    depth: usize,
    diagnostics: Vec<Diagnostic>,
    /// Token at which the last error was reported: what merely follows from it stays silent.
    last_error: usize,
    /// The operator about to be parsed begins a query and has no input.
    pub(crate) leading: bool,
}

/// Words after which, as operator parameters, a bare word or literal follows.
const WORD_PARAMETERS: &[&str] = &[
    "kind",
    "isfuzzy",
    "best_effort",
    "force_remote",
    "withsource",
    "with_source",
    "with_itemindex",
    "bagexpansion",
    "flags",
    "decodeblocks",
    "with_match_id",
    "cycles",
    "output",
    "with_component_id",
    "pair_delimiter",
    "kv_delimiter",
    "regex",
    "quote",
    "escape",
    "greedy",
];

impl<'a> Parser<'a> {
    pub(crate) fn lexeme(&self, ahead: usize) -> Lexeme {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    /// See [`Query::words`].
    fn words(&self) -> HashSet<String> {
        let text = |lexeme: &Lexeme| lexeme.span.text(self.source);
        let everything =
            |lexeme: &Lexeme| lexeme.token == Token::Star || lexeme.token == Token::Name && (matches!(text(lexeme), "search" | "find") || UNLISTED_COLUMNS.contains(&text(lexeme)));
        if !self.tokens.iter().any(everything) {
            return HashSet::new();
        }
        let words = self.tokens.iter().filter(|lexeme| matches!(lexeme.token, Token::Name | Token::String));
        words.map(|lexeme| text(lexeme).trim_matches(['\'', '"']).to_owned()).collect()
    }

    pub(crate) fn peek(&self) -> Token {
        self.lexeme(0).token
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Token {
        self.lexeme(ahead).token
    }

    pub(crate) fn text(&self) -> &'a str {
        self.lexeme(0).span.text(self.source)
    }

    pub(crate) fn text_at(&self, ahead: usize) -> &'a str {
        self.lexeme(ahead).span.text(self.source)
    }

    pub(crate) fn span(&self) -> Span {
        self.lexeme(0).span
    }

    /// Where the previous token ended.
    pub(crate) fn previous_end(&self) -> usize {
        if self.at == 0 { 0 } else { self.tokens[self.at - 1].span.end as usize }
    }

    pub(crate) fn bump(&mut self) -> Lexeme {
        let lexeme = self.lexeme(0);
        if lexeme.token != Token::End {
            self.at += 1;
        }
        lexeme
    }

    pub(crate) fn eat(&mut self, token: Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.bump();
        }
        found
    }

    /// Whether the next token is the word `word`.
    pub(crate) fn at_word(&self, word: &str) -> bool {
        self.peek() == Token::Name && self.text() == word
    }

    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.bump();
        }
        found
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> bool {
        let found = self.eat_word(word);
        if !found {
            self.error_here(codes::EXPECTED, format!("expected: {word}"));
        }
        found
    }

    pub(crate) fn expect(&mut self, token: Token, text: &str) -> bool {
        let found = self.eat(token);
        if !found {
            self.error_here(codes::EXPECTED, format!("expected: {text}"));
        }
        found
    }

    /// Reports at the current token, once per token.
    pub(crate) fn error_here(&mut self, code: &'static str, message: impl Into<String>) {
        if self.last_error == self.at {
            return;
        }
        self.last_error = self.at;
        let span = self.span();
        let found = if self.peek() == Token::End { "the query ends here".to_owned() } else { format!("found `{}`", self.text()) };
        let diagnostic = Diagnostic::error(code, message, span).label(found);
        // The words of such a text are names to the lexer.
        let near = [self.at.saturating_sub(1), self.at].into_iter().filter_map(|at| self.tokens.get(at));
        let quoted = near.filter(|lexeme| lexeme.token == Token::Name).any(|lexeme| has_typographic_quotes(lexeme.span.text(self.source)));
        self.diagnostics.push(if quoted { diagnostic.help(STRAIGHT_QUOTES) } else { diagnostic });
    }

    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn missing_expression(&mut self) -> Expr {
        self.error_here(codes::MISSING_EXPRESSION, "missing expression");
        let span = self.span();
        Expr::new(ExprKind::Error, Span::new(span.start as usize, span.start as usize))
    }

    /// Skips to the next token that can end an operator, over balanced brackets.
    pub(crate) fn recover(&mut self) {
        let mut open = 0usize;
        loop {
            match self.peek() {
                Token::End => return,
                Token::Pipe | Token::Semicolon if open == 0 => return,
                Token::OpenParen | Token::OpenBracket | Token::OpenBrace => open += 1,
                Token::CloseParen | Token::CloseBracket | Token::CloseBrace if open == 0 => return,
                Token::CloseParen | Token::CloseBracket | Token::CloseBrace => open -= 1,
                _ => {}
            }
            self.bump();
        }
    }

    /// Runs `parse` one level deeper, on a stack that grows; `None` (and `VD003`) beyond the limit.
    pub(crate) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth >= DEPTH_LIMIT {
            self.error_here(codes::TOO_DEEP, format!("nested more than {DEPTH_LIMIT} levels deep"));
            self.at = self.tokens.len() - 1;
            return None;
        }
        self.depth += 1;
        let result = stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || parse(self));
        self.depth -= 1;
        Some(result)
    }

    /// One or more items between commas.
    pub(crate) fn comma_list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = vec![item(self)];
        while self.eat(Token::Comma) {
            items.push(item(self));
        }
        items
    }

    /// `name`, `['name']` or `["name"]`.
    pub(crate) fn declared_name(&mut self) -> Name {
        self.try_name().unwrap_or_else(|| {
            self.error_here(codes::EXPECTED, "expected: a name");
            Spanned { node: String::new(), span: self.span() }
        })
    }

    /// A name that a column or a parameter is given.
    pub(crate) fn given_name(&mut self) -> Name {
        let bare = self.peek() == Token::Name;
        let name = self.declared_name();
        if bare && !keywords::can_be_given(&name.node) {
            self.report(Diagnostic::needs_brackets(&name.node, name.span));
        }
        name
    }

    pub(crate) fn try_name(&mut self) -> Option<Name> {
        match self.peek() {
            Token::Name => {
                let lexeme = self.bump();
                Some(Spanned { node: lexeme.span.text(self.source).to_owned(), span: lexeme.span })
            }
            Token::OpenBracket if self.peek_at(1) == Token::String && self.peek_at(2) == Token::CloseBracket => {
                let start = self.bump().span;
                let text = self.bump();
                let node = crate::lexer::string_value(text.span.text(self.source)).unwrap_or_default();
                let end = self.bump().span;
                Some(Spanned { node, span: start.to(end) })
            }
            _ => None,
        }
    }

    pub(crate) fn scalar_type(&mut self) -> ScalarType {
        let name = self.text();
        match ScalarType::from_name(name) {
            Some(ty) if self.peek() == Token::Name => {
                self.bump();
                ty
            }
            _ => {
                self.error_here(codes::EXPECTED, "expected: a scalar type");
                if self.peek() == Token::Name {
                    self.bump();
                }
                ScalarType::String
            }
        }
    }

    /// `name: type`
    pub(crate) fn column_declaration(&mut self) -> ColumnDeclaration {
        let name = self.declared_name();
        self.expect(Token::Colon, ":");
        ColumnDeclaration { name, ty: self.scalar_type() }
    }

    /// `(name: type, …)`
    pub(crate) fn column_declarations(&mut self) -> Vec<ColumnDeclaration> {
        self.expect(Token::OpenParen, "(");
        let mut columns = Vec::new();
        while !matches!(self.peek(), Token::CloseParen | Token::End) {
            columns.push(self.column_declaration());
            if !self.eat(Token::Comma) {
                break;
            }
        }
        self.expect(Token::CloseParen, ")");
        columns
    }

    /// The parameters that may follow an operator's name: `hint.x=…`, `kind=…`, `withsource=…`.
    pub(crate) fn operator_parameters(&mut self) -> Vec<OperatorParameter> {
        let mut parameters = Vec::new();
        while self.peek() == Token::Name {
            let start = self.span();
            let word = self.text();
            let hint = word == "hint" && self.peek_at(1) == Token::Dot && self.peek_at(3) == Token::Assign;
            if !(hint || WORD_PARAMETERS.contains(&word) && self.peek_at(1) == Token::Assign) {
                break;
            }
            let length = if hint { 3 } else { 1 };
            let end = self.lexeme(length - 1).span;
            self.at += length + 1;
            let span = start.to(end);
            let name = Spanned { node: span.text(self.source).replace(' ', ""), span };
            let value = self.parameter_value();
            self.eat(Token::Comma);
            parameters.push(OperatorParameter { name, value });
        }
        parameters
    }

    /// A literal, a word, or a name in brackets.
    pub(crate) fn parameter_value(&mut self) -> Expr {
        match self.peek() {
            Token::Name | Token::OpenBracket => {
                let name = self.declared_name();
                Expr::new(ExprKind::Name(name.node), name.span)
            }
            _ => self.unary(),
        }
    }
}
