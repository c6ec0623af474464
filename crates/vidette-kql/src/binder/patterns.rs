//! `declare pattern`: constant arguments choose a query. Kusto docs: `pattern-statement`.

use super::{Binder, Binding, Bound};
use crate::bound::Expr;
use crate::diagnostics::codes;
use crate::span::Span;
use crate::syntax::{self, ExprKind, Pattern, PatternRow};
use crate::types::Value;

impl Binder<'_> {
    /// `Pattern("a").path`, `Pattern("a").["path"]`; `None` when the target is no pattern.
    pub(super) fn pattern_path(&mut self, target: &syntax::Expr, path: &syntax::Expr, span: Span) -> Option<Bound> {
        let ExprKind::Call { name, arguments } = &target.kind else { return None };
        let path = match &path.kind {
            ExprKind::Name(name) => name.clone(),
            ExprKind::Literal(Value::String(text)) => text.clone(),
            _ => return None,
        };
        self.pattern(&name.node, arguments, Some(&path), span)
    }

    /// The query that a pattern has for these arguments; `None` when the name is no pattern.
    pub(super) fn pattern(&mut self, name: &str, arguments: &[syntax::Expr], path: Option<&str>, span: Span) -> Option<Bound> {
        let Some(Binding::Pattern(pattern, environment)) = self.lookup(name) else { return None };
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            match self.with_row(&[], |binder| binder.scalar(argument)).as_literal() {
                Some(Value::String(text)) => values.push(text.clone()),
                _ => {
                    self.error(codes::INVALID_USE, "the argument of a pattern is a string literal", argument.span, "not a constant");
                    return Some(Bound::Broken);
                }
            }
        }
        let Some(row) = pattern.rows.iter().find(|row| self.chosen(row, &values, path)) else {
            let message = format!("the pattern `{name}` has no row for these arguments");
            self.error(codes::INVALID_USE, message, span, "add one to its declaration");
            return Some(Bound::Broken);
        };
        let caller = std::mem::replace(&mut self.environment, environment);
        self.define_arguments(&pattern, values, path);
        let result = self.with_row(&[], |binder| binder.body(&row.body));
        self.environment = caller;
        Some(result)
    }

    fn chosen(&self, row: &PatternRow, values: &[String], path: Option<&str>) -> bool {
        let is = |expr: &syntax::Expr, value: &str| matches!(&expr.kind, ExprKind::Literal(Value::String(text)) if text == value);
        row.arguments.len() == values.len()
            && row.arguments.iter().zip(values).all(|(expr, value)| is(expr, value))
            && match (&row.path, path) {
                (Some(expr), Some(path)) => is(expr, path),
                (None, None) => true,
                _ => false,
            }
    }

    fn define_arguments(&mut self, pattern: &Pattern, values: Vec<String>, path: Option<&str>) {
        for (name, value) in pattern.arguments.iter().zip(values) {
            self.define(&name.node, Binding::Scalar(Expr::literal(Value::String(value))));
        }
        if let (Some(name), Some(path)) = (&pattern.path, path) {
            self.define(&name.node, Binding::Scalar(Expr::literal(Value::String(path.to_owned()))));
        }
    }
}
