//! `search` and `find`: rows of many tables. Kusto docs: `search-operator`, `find-operator`.

use super::extend::add_columns;
use super::union::{Union, combine};
use crate::binder::{Binder, Relation};
use crate::bound::{Column, ColumnId, Expr as Bound, Plan};
use crate::lexer::Token;
use crate::literals::format_real;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};
use std::collections::HashSet;

/// What `search` looks for.
#[derive(Clone, Debug)]
pub enum Wanted {
    All(Vec<Wanted>),
    Any(Vec<Wanted>),
    /// `column: "text"`
    In(Expr, Expr),
    Not(Box<Wanted>),
    /// A lone text or number, which any column may hold, or a predicate.
    Is(Expr),
}

#[derive(Clone, Debug)]
pub struct Search {
    pub parameters: Vec<OperatorParameter>,
    pub tables: Vec<Expr>,
    pub leading: bool,
    pub wanted: Wanted,
    pub span: Span,
}

impl Search {
    pub(crate) fn name(&self) -> &'static str {
        "search"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Search {
        let leading = std::mem::take(&mut parser.leading);
        let parameters = parser.operator_parameters();
        let tables = tables(parser);
        Search { parameters, tables, leading, wanted: any_of(parser), span }
    }

    /// Columns: `$table`, then those of the tables.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let case_sensitive = parameter(&self.parameters, "kind").and_then(Expr::name) == Some("case_sensitive");
        let sources = sources(binder, self.name(), &self.tables, self.leading, input, self.span)?;
        let mut named = Vec::new();
        self.wanted.names(&mut named);
        let found = matching(binder, sources, &named, |binder| self.wanted.bind(binder, case_sensitive));
        Some(combine(binder, found, false, Some("$table")))
    }
}

/// Like an expression, with `column: "text"` and lone strings.
fn any_of(parser: &mut Parser) -> Wanted {
    let mut parts = vec![all_of(parser)];
    while parser.eat_word("or") {
        parts.push(all_of(parser));
    }
    if parts.len() == 1 { parts.remove(0) } else { Wanted::Any(parts) }
}

fn all_of(parser: &mut Parser) -> Wanted {
    let mut parts = vec![one(parser)];
    while parser.eat_word("and") {
        parts.push(one(parser));
    }
    if parts.len() == 1 { parts.remove(0) } else { Wanted::All(parts) }
}

fn one(parser: &mut Parser) -> Wanted {
    if parser.peek() == Token::OpenParen {
        parser.bump();
        let inner = any_of(parser);
        parser.expect(Token::CloseParen, ")");
        return inner;
    }
    if parser.at_word("not") && parser.peek_at(1) == Token::OpenParen {
        parser.bump();
        return Wanted::Not(Box::new(one(parser)));
    }
    let expr = parser.relational_expression();
    if parser.eat(Token::Colon) { Wanted::In(expr, parser.unary()) } else { Wanted::Is(expr) }
}

impl Wanted {
    /// The columns it names.
    fn names(&self, found: &mut Vec<String>) {
        match self {
            Wanted::All(parts) | Wanted::Any(parts) => parts.iter().for_each(|part| part.names(found)),
            Wanted::Not(part) => part.names(found),
            Wanted::In(column, _) => column.names(found),
            Wanted::Is(expr) => expr.names(found),
        }
    }

    /// Whether a part of it looks at all columns.
    fn anywhere(&self) -> bool {
        match self {
            Wanted::All(parts) | Wanted::Any(parts) => parts.iter().any(Wanted::anywhere),
            Wanted::Not(part) => part.anywhere(),
            Wanted::In(..) => false,
            Wanted::Is(expr) => match &expr.kind {
                _ if term(expr).is_some() => true,
                ExprKind::Star => true,
                ExprKind::Binary { left, .. } => matches!(left.kind, ExprKind::Star),
                _ => false,
            },
        }
    }

    fn bind(&self, binder: &mut Binder, case_sensitive: bool) -> Bound {
        let bool_call = |function: &str, values: Vec<Bound>| Bound::call(function, ScalarType::Bool, values);
        match self {
            Wanted::All(parts) => bool_call("and", parts.iter().map(|part| part.bind(binder, case_sensitive)).collect()),
            Wanted::Any(parts) => bool_call("or", parts.iter().map(|part| part.bind(binder, case_sensitive)).collect()),
            Wanted::In(column, text) => {
                let value = binder.scalar(column);
                let text = binder.scalar(text);
                match (value.ty, text.as_literal()) {
                    (ScalarType::String | ScalarType::Dynamic | ScalarType::Guid, Some(Value::String(text))) => {
                        let value = binder.convert(value, ScalarType::String);
                        holds(value, &text.clone(), case_sensitive)
                    }
                    _ => {
                        let text = binder.convert(text, value.ty);
                        bool_call("==", vec![value, text])
                    }
                }
            }
            Wanted::Not(part) => bool_call("not", vec![part.bind(binder, case_sensitive)]),
            Wanted::Is(expr) => match (&expr.kind, term(expr)) {
                (ExprKind::Star, _) => Bound::literal(Value::Bool(true)),
                (_, Some(text)) => binder.any_column(|binder, column| may_hold(column.ty, &text).then(|| holds(binder.convert(column, ScalarType::String), &text, case_sensitive))),
                _ => binder.predicate(expr),
            },
        }
    }
}

/// What a lone literal looks for.
fn term(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Literal(Value::String(text)) => Some(text.clone()),
        ExprKind::Literal(Value::Long(number)) => Some(number.to_string()),
        ExprKind::Literal(Value::Real(number)) => Some(format_real(*number)),
        _ => None,
    }
}

/// Whether a column of this type may hold the text. Kusto's emulator finds "1" in columns of whole numbers, too.
fn may_hold(ty: ScalarType, text: &str) -> bool {
    match ty {
        ScalarType::String | ScalarType::Dynamic | ScalarType::Guid => true,
        ScalarType::Int | ScalarType::Long => text.bytes().all(|letter| letter.is_ascii_digit() || matches!(letter, b'-' | b'*')),
        _ => false,
    }
}

/// A term, or with `*` at its ends a prefix, suffix or part of one.
fn holds(value: Bound, text: &str, case_sensitive: bool) -> Bound {
    let (front, back) = (text.starts_with('*'), text.len() > 1 && text.ends_with('*'));
    let bare = text.trim_matches('*');
    if bare.contains('*') {
        let flags = if case_sensitive { "" } else { "(?i)" };
        let (start, end) = (if front { "" } else { r"\b" }, if back { "" } else { r"\b" });
        let pattern: Vec<String> = bare.split('*').map(escaped).collect();
        return Bound::call("matches regex", ScalarType::Bool, vec![value, Bound::literal(Value::String(format!("{flags}{start}{}{end}", pattern.join(".*"))))]);
    }
    let function = match (front, back, case_sensitive) {
        _ if bare.is_empty() => return Bound::call("isnotempty", ScalarType::Bool, vec![value]),
        (true, true, false) => "contains",
        (true, true, true) => "contains_cs",
        (true, false, false) => "hassuffix",
        (true, false, true) => "hassuffix_cs",
        (false, true, false) => "hasprefix",
        (false, true, true) => "hasprefix_cs",
        (false, false, false) => "has",
        (false, false, true) => "has_cs",
    };
    Bound::call(function, ScalarType::Bool, vec![value, Bound::literal(Value::String(bare.to_owned()))])
}

fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| (!c.is_alphanumeric() && !c.is_whitespace()).then_some('\\').into_iter().chain([c])).collect()
}

fn tables(parser: &mut Parser) -> Vec<Expr> {
    if !parser.eat_word("in") {
        return Vec::new();
    }
    parser.expect(Token::OpenParen, "(");
    let tables = parser.comma_list(|parser| parser.table_expression());
    parser.expect(Token::CloseParen, ")");
    tables
}

/// The named tables, else the input, else all tables.
fn sources(binder: &mut Binder, operator: &str, tables: &[Expr], leading: bool, input: Relation, span: Span) -> Option<Vec<(String, Relation)>> {
    if tables.is_empty() && !leading {
        let name = binder.row.table_name.clone().unwrap_or_else(|| format!("{operator}_arg0"));
        return Some(vec![(name, input)]);
    }
    let every = [Expr::new(ExprKind::Name("*".to_owned()), span)];
    let union = Union { parameters: Vec::new(), tables: Vec::new(), leading: true, span };
    let mut found = Vec::with_capacity(tables.len());
    for table in if tables.is_empty() { &every } else { tables } {
        union.member(binder, operator, table, false, &mut found)?;
    }
    Some(found)
}

/// The rows of each table for which `predicate` holds. A column that only other tables have is null, as in a union of them.
fn matching(binder: &mut Binder, sources: Vec<(String, Relation)>, named: &[String], mut predicate: impl FnMut(&mut Binder) -> Bound) -> Vec<(String, Relation)> {
    let mut types: Vec<(&String, ScalarType)> = Vec::new();
    for name in named {
        let column = sources.iter().flat_map(|(_, relation)| &relation.columns).find(|column| column.name == *name);
        types.extend(column.map(|column| (name, column.ty)));
    }
    let mut found = Vec::with_capacity(sources.len());
    let reported = binder.diagnostic_count();
    let several = sources.len() > 1;
    for (name, relation) in sources {
        let absent: Vec<(&String, ScalarType)> = types.iter().filter(|(name, _)| !relation.columns.iter().any(|column| column.name == **name)).copied().collect();
        let absent: Vec<(Column, Bound)> = absent.into_iter().map(|(name, ty)| (binder.column(name.clone(), ty), Bound::absent(ty))).collect();
        let relation = if absent.is_empty() { relation } else { add_columns(binder, relation, absent) };
        let before = binder.diagnostic_count();
        let predicate = binder.with_row(&relation.columns, &mut predicate);
        if several && binder.diagnostic_count() > before {
            // A column has another type in this table: its rows do not match. What no table can tell is an error, said once.
            if before > reported {
                binder.forget_diagnostics(before);
            }
            continue;
        }
        found.push((name, Relation { plan: Plan::Filter { input: Box::new(relation.plan), predicate }, columns: relation.columns }));
    }
    if !found.is_empty() && several {
        binder.forget_diagnostics(reported);
    }
    found
}

#[derive(Clone, Debug)]
pub struct Find {
    pub parameters: Vec<OperatorParameter>,
    pub tables: Vec<Expr>,
    pub leading: bool,
    pub wanted: Option<Wanted>,
    /// The columns of `project`, each with its type; none for `project-smart`.
    pub columns: Vec<(Name, Option<ScalarType>)>,
    /// `pack_all()` or `pack(*)` among the columns.
    pub pack: bool,
    pub span: Span,
}

impl Find {
    pub(crate) fn name(&self) -> &'static str {
        "find"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Find {
        let leading = std::mem::take(&mut parser.leading);
        let mut parameters = parser.operator_parameters();
        let tables = tables(parser);
        parameters.extend(parser.operator_parameters());
        let mut wanted = None;
        if parser.eat_word("where") || !parser.at_word("project") {
            wanted = Some(any_of(parser));
        }
        let (mut columns, mut pack) = (Vec::new(), false);
        let smart = parser.at_word("project") && parser.peek_at(1) == Token::Minus && parser.text_at(2) == "smart";
        if smart {
            for _ in 0..3 {
                parser.bump();
            }
        } else if parser.eat_word("project") {
            parser.comma_list(|parser| {
                if matches!(parser.text(), "pack" | "pack_all") && parser.peek_at(1) == Token::OpenParen {
                    parser.bump();
                    parser.arguments();
                    pack = true;
                    return;
                }
                let name = parser.name_pattern();
                let ty = parser.eat(Token::Colon).then(|| parser.scalar_type());
                columns.push((name, ty));
            });
        }
        Find { parameters, tables, leading, wanted, columns, pack, span }
    }

    /// Columns: the source; then the projected ones, or those that all tables have and those that the predicate reads; then, if there
    /// are others, these in a bag. A table without any column that the predicate reads is left out.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let source = parameter(&self.parameters, "withsource").or_else(|| parameter(&self.parameters, "with_source")).and_then(Expr::name).unwrap_or("source_");
        let mut sources = sources(binder, self.name(), &self.tables, self.leading, input, self.span)?;
        let mut named = Vec::new();
        self.wanted.iter().for_each(|wanted| wanted.names(&mut named));
        let reads = |relation: &Relation| relation.columns.iter().any(|column| named.contains(&column.name));
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.anywhere()) && sources.iter().any(|(_, relation)| reads(relation)) {
            sources.retain(|(_, relation)| reads(relation));
        }
        // Known columns of tables without rows are part of no table here.
        let tables: Vec<&Relation> = sources.iter().filter(|(name, _)| !name.is_empty() || sources.len() == 1).map(|(_, relation)| relation).collect();
        let common = |column: &Column| tables.iter().all(|relation| relation.columns.iter().any(|other| other.name == column.name && other.ty == column.ty));
        let wanted: Vec<(String, ScalarType)> = match tables.first() {
            Some(first) if self.columns.is_empty() => {
                // The columns that all tables have, and those that the predicate reads.
                let mut wanted: Vec<(String, ScalarType)> = first.columns.iter().filter(|column| common(column)).map(|column| (column.name.clone(), column.ty)).collect();
                for name in &named {
                    let column = sources.iter().flat_map(|(_, relation)| &relation.columns).find(|column| column.name == *name);
                    if let Some(column) = column.filter(|column| !wanted.iter().any(|(known, _)| *known == column.name)) {
                        wanted.push((column.name.clone(), column.ty));
                    }
                }
                wanted
            }
            _ => {
                let known = |name: &Name| sources.iter().flat_map(|(_, relation)| &relation.columns).find(|column| column.name == name.node).map(|column| column.ty);
                let types: Vec<(&Name, Option<ScalarType>)> = self.columns.iter().map(|(name, given)| (name, given.or_else(|| known(name)))).collect();
                types.iter().filter(|(_, ty)| ty.is_none()).for_each(|(name, _)| binder.unknown_name(&name.node, name.span));
                types.into_iter().map(|(name, ty)| (name.node.clone(), ty.unwrap_or(ScalarType::String))).collect()
            }
        };
        let is_left = |column: &Column| self.pack || !wanted.iter().any(|(name, _)| *name == column.name);
        let pack = self.pack || self.columns.is_empty() && tables.iter().any(|relation| relation.columns.iter().any(is_left));
        let own: HashSet<ColumnId> = sources.iter().flat_map(|(_, relation)| &relation.columns).map(|column| column.id).collect();
        let sources = match &self.wanted {
            Some(predicate) => matching(binder, sources, &named, |binder| predicate.bind(binder, false)),
            None => sources,
        };
        let mut found = Vec::with_capacity(sources.len());
        for (name, relation) in sources {
            let columns: Vec<Column> = relation.columns.iter().filter(|column| own.contains(&column.id)).cloned().collect();
            let mut shown: Vec<(Column, Bound)> = Vec::new();
            for (name, ty) in &wanted {
                let value = match columns.iter().find(|column| column.name == *name) {
                    Some(column) => binder.convert(Bound::column(column), *ty),
                    None => Bound::absent(*ty),
                };
                shown.push((binder.column(name.clone(), *ty), value));
            }
            if pack {
                let mut rest = Vec::new();
                for column in columns.iter().filter(|column| is_left(column)) {
                    rest.push(Bound::literal(Value::String(column.name.clone())));
                    rest.push(binder.convert(Bound::column(column), ScalarType::Dynamic));
                }
                shown.push((binder.column("pack_", ScalarType::Dynamic), Bound::call("bag_pack_nonempty", ScalarType::Dynamic, rest)));
            }
            found.push((name, binder.project(relation, shown)));
        }
        Some(combine(binder, found, false, Some(source)))
    }
}
