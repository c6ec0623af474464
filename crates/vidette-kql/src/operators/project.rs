//! `project`, `project-away`, `project-keep`, `project-rename`, `project-reorder`: which columns, in which order.
//! Kusto docs: `project-operator`, `project-away-operator`, `project-keep-operator`, `project-rename-operator`,
//! `project-reorder-operator`.

use crate::binder::expressions::broken;
use crate::binder::naming::Names;
use crate::binder::tables::wildcard_matches;
use crate::binder::{Binder, Relation};
use crate::bound::{Column, Expr as Bound};
use crate::diagnostics::{Diagnostic, codes, nearest};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::{Span, Spanned};
use crate::syntax::{Expr, ExprKind, Name};
use crate::types::Value;
use std::collections::HashSet;

#[derive(Clone, Debug)]
pub struct Project {
    pub columns: Vec<Expr>,
    pub span: Span,
}

impl Project {
    pub(crate) fn name(&self) -> &'static str {
        "project"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Project {
        Project { columns: parser.comma_list(|parser| parser.named_expression()), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let mut names = Names::default();
        let mut result = Vec::with_capacity(self.columns.len());
        for expr in &self.columns {
            for (name, value) in binder.with_row(&input.columns, |binder| binder.all_results(expr)).0 {
                let Some(name) = binder.column_name(&mut names, expr, name) else { continue };
                result.push((binder.column(name, value.ty), value));
            }
        }
        Some(binder.project(input, result))
    }
}

/// `project-away` and, with `keep`, `project-keep`: names and name patterns.
#[derive(Clone, Debug)]
pub struct ProjectAway {
    pub patterns: Vec<Name>,
    pub keep: bool,
    pub span: Span,
}

impl ProjectAway {
    pub(crate) fn name(&self) -> &'static str {
        if self.keep { "project-keep" } else { "project-away" }
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span, keep: bool) -> ProjectAway {
        ProjectAway { patterns: parser.comma_list(|parser| parser.name_pattern()), keep, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        for pattern in &self.patterns {
            check_pattern(binder, &input, pattern);
        }
        let named = |column: &Column| self.patterns.iter().any(|pattern| wildcard_matches(&pattern.node, &column.name));
        let kept = input.columns.iter().filter(|column| named(column) == self.keep).map(|column| (column.clone(), Bound::column(column))).collect();
        Some(binder.project(input, kept))
    }
}

fn check_pattern(binder: &mut Binder, input: &Relation, pattern: &Name) {
    if input.columns.iter().any(|column| wildcard_matches(&pattern.node, &column.name)) {
        return;
    }
    if binder.open.is_some() {
        if !pattern.node.contains('*') {
            binder.ask_for(&pattern.node);
        }
        return;
    }
    let mut diagnostic = Diagnostic::semantic(codes::UNKNOWN_NAME, format!("unknown name `{}`", pattern.node), pattern.span).label("not a column");
    if let Some(suggestion) = nearest(&pattern.node, input.columns.iter().map(|column| column.name.as_str())) {
        diagnostic = diagnostic.help(format!("a column with a similar name exists: `{suggestion}`")).fix(pattern.span, suggestion);
    }
    binder.report(diagnostic);
}

#[derive(Clone, Debug)]
pub struct ProjectRename {
    pub renames: Vec<Expr>,
    pub span: Span,
}

impl ProjectRename {
    pub(crate) fn name(&self) -> &'static str {
        "project-rename"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> ProjectRename {
        ProjectRename { renames: parser.comma_list(|parser| parser.named_expression()), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let mut columns: Vec<(Column, Bound)> = input.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        let mut taken: HashSet<&str> = input.columns.iter().map(|column| column.name.as_str()).collect();
        for rename in &self.renames {
            let ExprKind::Named { names, value } = &rename.kind else {
                binder.error(codes::EXPECTED, "expected: new name = old name", rename.span, "no new name");
                continue;
            };
            let old = binder.with_row(&input.columns, |binder| binder.column_reference(value));
            let new = &names[0];
            if old.as_ref().is_some_and(|old| old.name == new.node) {
                // Microsoft's analyzer has an error here; parsers of ASIM that run have it.
                let message = format!("a column with the name `{}` is already declared", new.node);
                binder.report(Diagnostic::semantic(codes::DUPLICATE_COLUMN, message, new.span).warning().label("it has this name"));
            } else if !taken.insert(&new.node) {
                binder.declared_twice(&new.node, new.span);
                continue;
            }
            let Some(old) = old else {
                // The new name is known all the same: what follows asks nobody for it.
                let value = broken();
                columns.push((binder.column(new.node.clone(), value.ty), value));
                continue;
            };
            if let Some(slot) = columns.iter_mut().find(|(column, _)| column.id == old.id) {
                slot.0 = binder.column(new.node.clone(), old.ty);
            }
        }
        Some(binder.project(input, columns))
    }
}

#[derive(Clone, Debug)]
pub struct ProjectReorder {
    pub patterns: Vec<(Name, Order)>,
    pub span: Span,
}

/// How the columns that one pattern names are ordered among themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    AsTheyAre,
    Ascending,
    Descending,
    GrannyAscending,
    GrannyDescending,
}

impl ProjectReorder {
    pub(crate) fn name(&self) -> &'static str {
        "project-reorder"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> ProjectReorder {
        let patterns = parser.comma_list(|parser| {
            let name = parser.name_pattern();
            let order = match if parser.peek() == Token::Name { parser.text() } else { "" } {
                "asc" => Order::Ascending,
                "desc" => Order::Descending,
                "granny" => {
                    parser.bump();
                    parser.expect(Token::Minus, "-");
                    if parser.at_word("desc") { Order::GrannyDescending } else { Order::GrannyAscending }
                }
                _ => return (name, Order::AsTheyAre),
            };
            parser.bump();
            (name, order)
        });
        ProjectReorder { patterns, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let mut left = input.columns.clone();
        let mut result: Vec<Column> = Vec::with_capacity(left.len());
        for (pattern, order) in &self.patterns {
            check_pattern(binder, &input, pattern);
            let (mut matched, rest): (Vec<Column>, Vec<Column>) = left.into_iter().partition(|column| wildcard_matches(&pattern.node, &column.name));
            left = rest;
            if matched.is_empty() && input.columns.iter().any(|column| column.name == pattern.node) {
                let message = format!("a column with the name `{}` is already declared", pattern.node);
                binder.report(Diagnostic::semantic(codes::DUPLICATE_COLUMN, message, pattern.span).warning().label("it has its place already"));
            }
            match order {
                Order::AsTheyAre => {}
                Order::Ascending => matched.sort_by(|a, b| a.name.cmp(&b.name)),
                Order::Descending => matched.sort_by(|a, b| b.name.cmp(&a.name)),
                Order::GrannyAscending => matched.sort_by_key(|column| granny_key(&column.name)),
                Order::GrannyDescending => {
                    matched.sort_by_key(|column| granny_key(&column.name));
                    matched.reverse();
                }
            }
            result.extend(matched);
        }
        result.extend(left);
        let columns = result.into_iter().map(|column| (column.clone(), Bound::column(&column))).collect();
        Some(binder.project(input, columns))
    }
}

/// Text and numbers of a name apart, so that `a2` comes before `a10`.
fn granny_key(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut digits = String::new();
    for c in name.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
        } else {
            if !digits.is_empty() {
                parts.push((std::mem::take(&mut text), std::mem::take(&mut digits).parse().unwrap_or(u64::MAX)));
            }
            text.push(c);
        }
    }
    parts.push((text, digits.parse().unwrap_or(0)));
    parts
}

impl Parser<'_> {
    /// A column name in which `*` may stand for any text: `Device*`, `*Id`, `*`.
    pub(crate) fn name_pattern(&mut self) -> Name {
        if self.peek() == Token::OpenBracket {
            return self.declared_name();
        }
        let start = self.span();
        let mut end = start;
        while matches!(self.peek(), Token::Name | Token::Star | Token::Long) && (self.span().start == end.end || end == start && self.span() == start) {
            end = self.bump().span;
        }
        if self.span() == start {
            return self.declared_name();
        }
        let span = start.to(end);
        Spanned { node: span.text(self.source).to_owned(), span }
    }
}

/// `project-by-names`: columns whose names are given as texts, arrays of texts, or patterns.
#[derive(Clone, Debug)]
pub struct ProjectByNames {
    pub names: Vec<Expr>,
    pub span: Span,
}

impl ProjectByNames {
    pub(crate) fn name(&self) -> &'static str {
        "project-by-names"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> ProjectByNames {
        ProjectByNames { names: parser.comma_list(|parser| parser.named_expression()), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let mut patterns = Vec::new();
        for name in &self.names {
            let value = binder.with_row(&[], |binder| binder.scalar(name));
            match value.as_literal() {
                Some(Value::String(text)) => patterns.push(text.clone()),
                Some(Value::Dynamic(json)) => patterns.extend(crate::literals::string_array(json)),
                _ => {
                    binder.refuse("a computed column name", name.span);
                    return None;
                }
            }
        }
        let mut shown: Vec<(Column, Bound)> = Vec::new();
        for pattern in &patterns {
            for column in input.columns.iter().filter(|column| wildcard_matches(pattern, &column.name)) {
                if !shown.iter().any(|(known, _)| known.id == column.id) {
                    shown.push((column.clone(), Bound::column(column)));
                }
            }
        }
        Some(binder.project(input, shown))
    }
}
