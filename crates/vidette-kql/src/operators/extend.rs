//! `extend`: adds columns, or replaces those of the same name. Kusto docs: `extend-operator`.

use crate::binder::naming::Names;
use crate::binder::{Binder, Relation};
use crate::bound::{Column, Expr as Bound};
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind};

#[derive(Clone, Debug)]
pub struct Extend {
    pub columns: Vec<Expr>,
    pub span: Span,
}

impl Extend {
    pub(crate) fn name(&self) -> &'static str {
        "extend"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Extend {
        Extend { columns: parser.comma_list(|parser| parser.named_expression()), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        Some(extend(binder, input, &self.columns))
    }
}

/// The columns of `input`, and after them hidden or new ones.
pub(crate) fn add_columns(binder: &mut Binder, input: Relation, columns: Vec<(Column, Bound)>) -> Relation {
    let mut result: Vec<(Column, Bound)> = input.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
    result.extend(columns);
    binder.project(input, result)
}

/// The columns of `input`, with `columns` replaced in place or added at the end.
pub(super) fn extend(binder: &mut Binder, input: Relation, columns: &[Expr]) -> Relation {
    let mut names = Names::with(input.columns.iter().map(|column| column.name.clone()));
    let mut result: Vec<(Column, Bound)> = input.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
    let mut declared = Names::default();
    let bound =
        binder.with_row(&input.columns, |binder| columns.iter().flat_map(|column| binder.named_scalars(column).into_iter().map(move |bound| (column, bound))).collect::<Vec<_>>());
    for (expr, (name, value)) in bound {
        if let (ExprKind::Named { .. }, Some(name)) = (&expr.kind, &name)
            && declared.declare(name).is_none()
        {
            binder.declared_twice(name, expr.span);
            continue;
        }
        let name = name.unwrap_or_else(|| {
            loop {
                let free = binder.numbered();
                if names.take(&free) {
                    break free;
                }
            }
        });
        let column = binder.column(name.clone(), value.ty);
        match result.iter_mut().find(|(existing, _)| existing.name == name) {
            Some(slot) => *slot = (column, value),
            None => {
                names.take(&name);
                result.push((column, value));
            }
        }
    }
    binder.project(input, result)
}
