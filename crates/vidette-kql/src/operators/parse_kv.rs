//! `parse-kv`: columns out of text made of key-value pairs. Kusto docs: `parse-kv-operator`.

use super::extend::add_columns;
use super::parse::captured;
use crate::binder::{Binder, Relation};
use crate::bound::Expr as Bound;
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::literals::write_json_string;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{ColumnDeclaration, Expr, ExprKind};
use crate::types::{ScalarType, Value};

const OPTIONS: [&str; 6] = ["pair_delimiter", "kv_delimiter", "quote", "escape", "greedy", "regex"];

#[derive(Clone, Debug)]
pub struct ParseKv {
    pub source: Expr,
    pub keys: Vec<ColumnDeclaration>,
    /// `pair_delimiter=…`, `kv_delimiter=…`, `quote=…`, `escape=…`, `greedy=…`, `regex=…`
    pub options: Vec<Expr>,
    pub span: Span,
}

impl ParseKv {
    pub(crate) fn name(&self) -> &'static str {
        "parse-kv"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> ParseKv {
        let source = parser.expression();
        parser.expect_word("as");
        let keys = parser.column_declarations();
        let mut options = Vec::new();
        if parser.eat_word("with") {
            parser.expect(Token::OpenParen, "(");
            options = parser.comma_list(|parser| parser.named_expression());
            parser.expect(Token::CloseParen, ")");
        }
        ParseKv { source, keys, options, span }
    }

    /// All values at once, as an array in a hidden column; each is then read out as its own type.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let source = binder.with_row(&input.columns, |binder| binder.scalar(&self.source));
        let source = binder.convert(source, ScalarType::String);
        let pattern = self.pattern(binder)?;
        let values = binder.column("$values", ScalarType::Dynamic);
        let columns = input.columns.clone();
        let parsed = Bound::call("parse_captures", ScalarType::Dynamic, vec![source, Bound::literal(Value::String(pattern))]);
        let relation = add_columns(binder, input, vec![(values.clone(), parsed)]);
        Some(captured(binder, relation, &columns, &values, self.keys.iter().map(|key| (&key.name, key.ty))))
    }

    /// The options as JSON: `{"keys":[…],"pair_delimiter":[…],"quote":[…],…}`, every option a list of its values.
    fn pattern(&self, binder: &mut Binder) -> Option<String> {
        let mut options: Vec<(String, Vec<String>)> = vec![("keys".to_owned(), self.keys.iter().map(|key| key.name.node.clone()).collect())];
        for option in &self.options {
            let ExprKind::Named { names, value } = &option.kind else {
                binder.error(codes::EXPECTED, "expected: an option with its value, such as pair_delimiter=','", option.span, "no name");
                return None;
            };
            if !OPTIONS.contains(&names[0].node.as_str()) {
                let message = format!("`parse-kv` has no option `{}`", names[0].node);
                binder.error(codes::EXPECTED, message, names[0].span, format!("it has {}", OPTIONS.join(", ")));
                return None;
            }
            let bound = binder.with_row(&[], |binder| binder.scalar(value));
            let text = match bound.as_literal() {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(flag)) => flag.to_string(),
                _ => {
                    binder.refuse("a computed option of `parse-kv`", value.span);
                    return None;
                }
            };
            match options.iter_mut().find(|(name, _)| *name == names[0].node) {
                Some((_, values)) => values.push(text),
                None => options.push((names[0].node.clone(), vec![text])),
            }
        }
        let mut json = String::from("{");
        for (at, (name, values)) in options.iter().enumerate() {
            json.push_str(if at > 0 { "," } else { "" });
            write_json_string(name, &mut json);
            json.push_str(":[");
            for (at, value) in values.iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                write_json_string(value, &mut json);
            }
            json.push(']');
        }
        json.push('}');
        Some(json)
    }
}
