//! `parse` and `parse-where`: columns out of text by a pattern. Kusto docs: `parse-operator`, `parse-where-operator`.

use crate::binder::{Binder, Relation};
use crate::bound::{Column, Expr as Bound, Plan};
use crate::diagnostics::{Diagnostic, codes};
use crate::lexer::Token;
use crate::literals::write_json_string;
use crate::parser::Parser;
use crate::regexes;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};

/// A part of the pattern, in order.
#[derive(Clone, Debug)]
pub enum Part {
    Text(Expr),
    Column(Name, Option<ScalarType>),
    /// `*`: anything, not kept.
    Skip,
}

#[derive(Clone, Debug)]
pub struct Parse {
    pub parameters: Vec<OperatorParameter>,
    pub source: Expr,
    pub parts: Vec<Part>,
    /// `parse-where`: rows that do not match are dropped.
    pub filter: bool,
    pub span: Span,
}

impl Parse {
    pub(crate) fn name(&self) -> &'static str {
        if self.filter { "parse-where" } else { "parse" }
    }

    pub(crate) fn read(parser: &mut Parser, span: Span, filter: bool) -> Parse {
        let parameters = parser.operator_parameters();
        let source = parser.expression();
        parser.expect_word("with");
        let mut parts = Vec::new();
        loop {
            match parser.peek() {
                Token::Star => {
                    parser.bump();
                    parts.push(Part::Skip);
                }
                Token::String => parts.push(Part::Text(parser.string_literal())),
                Token::Name | Token::OpenBracket => {
                    if matches!(parts.last(), Some(Part::Column(..) | Part::Skip)) {
                        let found = parser.text().to_owned();
                        let diagnostic = Diagnostic::semantic(codes::TEXT_BEFORE_COLUMN, "the column name must follow a string literal", parser.span());
                        parser.report(diagnostic.label(format!("nothing tells where `{found}` begins")));
                    }
                    let Some(name) = parser.try_name() else { break };
                    let ty = parser.eat(Token::Colon).then(|| parser.scalar_type());
                    parts.push(Part::Column(name, ty));
                }
                _ => break,
            }
            parser.eat(Token::Comma);
        }
        if parts.is_empty() {
            parser.missing_expression();
        }
        Parse { parameters, source, parts, filter, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let kind = parameter(&self.parameters, "kind").and_then(Expr::name).unwrap_or("simple");
        if self.filter && kind == "relaxed" {
            let span = parameter(&self.parameters, "kind").map_or(self.span, |kind| kind.span);
            binder.error(codes::INVALID_USE, "`parse-where` has the kinds simple and regex only", span, "with this, `parse` keeps every row");
        }
        for part in self.parts.iter().filter(|_| kind == "regex") {
            if let Part::Text(Expr { kind: ExprKind::Literal(Value::String(text)), span }) = part
                && let Err(why) = regexes::readable(&regexes::balanced(text))
            {
                binder.error(codes::INVALID_USE, "the pattern is not a regular expression", *span, why);
            }
        }
        let flags = parameter(&self.parameters, "flags").and_then(Expr::name).unwrap_or_default();
        let source = binder.with_row(&input.columns, |binder| binder.scalar(&self.source));
        let source = binder.convert(source, ScalarType::String);
        let pattern = self.pattern(kind, flags);
        // All captures at once, in a hidden column; each is then read out as its own type.
        let captures = binder.column("$captures", ScalarType::Dynamic);
        let matched = Bound::call("parse_captures", ScalarType::Dynamic, vec![source, Bound::literal(Value::String(pattern))]);
        let mut hidden: Vec<(Column, Bound)> = input.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        hidden.push((captures.clone(), matched));
        let columns = input.columns.clone();
        let mut relation = binder.project(input, hidden);
        if self.filter {
            let present = Bound::call("isnotnull", ScalarType::Bool, vec![Bound::column(&captures)]);
            relation.plan = Plan::Filter { input: Box::new(relation.plan), predicate: present };
        }
        let names = self.parts.iter().filter_map(|part| if let Part::Column(name, ty) = part { Some((name, ty.unwrap_or(ScalarType::String))) } else { None });
        Some(captured(binder, relation, &columns, &captures, names))
    }

    /// The pattern as JSON: `[kind, flags, part…]`, a part being `["text", t]`, `["skip"]` or `["type", ty]`.
    fn pattern(&self, kind: &str, flags: &str) -> String {
        let mut json = format!("[\"{kind}\",\"{flags}\"");
        for part in &self.parts {
            match part {
                Part::Text(Expr { kind: ExprKind::Literal(Value::String(text)), .. }) => {
                    json.push_str(",[\"text\",");
                    write_json_string(text, &mut json);
                    json.push(']');
                }
                Part::Text(_) => {}
                Part::Skip => json.push_str(",[\"skip\"]"),
                Part::Column(_, ty) => {
                    json.push_str(&format!(",[\"type\",\"{}\"]", ty.unwrap_or(ScalarType::String)));
                }
            }
        }
        json.push(']');
        json
    }
}

/// The columns, and one for each capture in the hidden one, as its own type; a name that is there is replaced.
pub(super) fn captured<'n>(binder: &mut Binder, input: Relation, columns: &[Column], captures: &Column, names: impl Iterator<Item = (&'n Name, ScalarType)>) -> Relation {
    let mut shown: Vec<(Column, Bound)> = columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
    for (at, (name, ty)) in names.enumerate() {
        let text = Bound::call("parse_capture", ScalarType::String, vec![Bound::column(captures), Bound::literal(Value::Long(at as i64))]);
        let value = binder.convert(text, ty);
        let column = binder.column(name.node.clone(), ty);
        match shown.iter_mut().find(|(existing, _)| existing.name == name.node) {
            Some(slot) => *slot = (column, value),
            None => shown.push((column, value)),
        }
    }
    binder.project(input, shown)
}
