//! Scalar expressions: names, paths, lists and the coercions between types.
//! Kusto docs: `in-operator`, `dynamic`.

use super::signatures::{AGGREGATES, SCALAR_FUNCTIONS};
use super::{Binder, Binding, Bound, naming};
use crate::bound::{Column, Expr, ExprKind, Subquery};
use crate::diagnostics::{Diagnostic, STRAIGHT_QUOTES, codes, has_typographic_quotes, nearest};
use crate::keywords;
use crate::span::{Span, Spanned};
use crate::syntax::{self, ExprKind as Syntax};
use crate::types::{ScalarType, Value};

/// Stands for what could not be bound: dynamic converts to everything, so nothing follows from it.
pub(crate) fn broken() -> Expr {
    Expr::literal(Value::Null(ScalarType::Dynamic))
}

/// Whether nothing may follow from the value: it could not be bound, or is null.
pub(crate) fn is_broken(expr: &Expr) -> bool {
    matches!(expr.as_literal(), Some(Value::Null(_)))
}

/// Operators that `*` cannot stand before: only equality and the operators of texts look at any column.
const ARITHMETIC_OR_ORDER: &[&str] = &["+", "-", "*", "/", "%", "<", "<=", ">", ">="];

impl Binder<'_> {
    pub(super) fn in_scalar_context(&self) -> bool {
        self.scalar_depth > 0
    }

    /// Binds a scalar expression; after an error it stands for itself as a null of type dynamic.
    pub(crate) fn scalar(&mut self, expr: &syntax::Expr) -> Expr {
        self.scalar_depth += 1;
        let bound = stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.scalar_inner(expr));
        self.scalar_depth -= 1;
        bound
    }

    fn scalar_inner(&mut self, expr: &syntax::Expr) -> Expr {
        match &expr.kind {
            Syntax::Literal(value) => Expr::literal(value.clone()),
            Syntax::Name(name) => self.name(name, expr.span),
            Syntax::And(operands) => self.logical("and", operands),
            Syntax::Or(operands) => self.logical("or", operands),
            Syntax::Unary { operator, operand } => self.unary(operator, operand),
            Syntax::Binary { operator, left, right } if matches!(left.kind, Syntax::Star) && !ARITHMETIC_OR_ORDER.contains(&operator.node.as_str()) => {
                self.star(operator, left.span, right)
            }
            Syntax::Binary { operator, left, right } => {
                let (left_span, right_span) = (left.span, right.span);
                let left = self.scalar(left);
                let right = self.scalar(right);
                self.binary(operator, (left, left_span), (right, right_span))
            }
            Syntax::Between { operator, value, low, high } => self.between(operator, value, low, high),
            Syntax::In { operator, value, list } => self.membership(operator, value, list),
            Syntax::Path { target, member } => self.path(target, member, expr.span),
            Syntax::Index { target, index } => self.index(target, index),
            Syntax::Call { name, arguments } => match self.bind_call(name, arguments, expr.span) {
                Bound::Scalar(value) => value,
                Bound::Tabular(_) => self.scalar_expected(expr.span),
                Bound::Broken => broken(),
            },
            Syntax::Named { value, .. } => self.scalar(value),
            Syntax::Pipe { .. } | Syntax::DataTable { .. } | Syntax::ExternalData { .. } => self.scalar_expected(expr.span),
            Syntax::Star => {
                self.error(codes::SCALAR_EXPECTED, "scalar value expected", expr.span, "`*` is not a value here");
                broken()
            }
            Syntax::TypeOf(..) => {
                self.refuse("`typeof` as a value", expr.span);
                broken()
            }
            Syntax::Error => broken(),
        }
    }

    /// `* has "x"`: whether any column is so. Texts are compared with columns of text, other values with those of their kind.
    fn star(&mut self, operator: &Spanned<String>, span: Span, right: &syntax::Expr) -> Expr {
        let value = self.scalar(right);
        let text = |ty: ScalarType| matches!(ty, ScalarType::String | ScalarType::Dynamic | ScalarType::Guid);
        let value = if text(value.ty) { self.convert(value, ScalarType::String) } else { value };
        self.any_column(|binder, column| {
            let comparable = match (text(value.ty), text(column.ty)) {
                (true, true) => true,
                (false, false) => column.ty == value.ty || column.ty.is_number() && value.ty.is_number(),
                _ => false,
            };
            let column = if comparable && text(column.ty) { binder.convert(column, ScalarType::String) } else { column };
            comparable.then(|| binder.binary(operator, (column, span), (value.clone(), right.span)))
        })
    }

    /// Whether any column of the row is as `wanted`, which passes over those it gives nothing for.
    pub(crate) fn any_column(&mut self, mut wanted: impl FnMut(&mut Self, Expr) -> Option<Expr>) -> Expr {
        let columns: Vec<Expr> = self.row.columns.iter().map(Expr::column).collect();
        let mut parts: Vec<Expr> = columns.into_iter().filter_map(|column| wanted(self, column)).collect();
        match parts.len() {
            0 => Expr::literal(Value::Bool(false)),
            1 => parts.remove(0),
            _ => Expr::call("or", ScalarType::Bool, parts),
        }
    }

    fn scalar_expected(&mut self, span: Span) -> Expr {
        self.error(codes::SCALAR_EXPECTED, "scalar value expected", span, "this is a table");
        broken()
    }

    fn name(&mut self, name: &str, span: Span) -> Expr {
        // In brackets it is longer.
        if span.len() == name.len() && !keywords::can_be_read(name) {
            self.report(Diagnostic::needs_brackets(name, span));
            return broken();
        }
        if let Some(column) = self.row.columns.iter().find(|column| column.name == name) {
            return Expr::column(column);
        }
        match self.lookup(name) {
            Some(Binding::Scalar(value)) => value,
            Some(Binding::Tabular(..)) => self.scalar_expected(span),
            Some(Binding::Broken | Binding::Pattern(..)) => broken(),
            Some(Binding::Function(function, environment)) => match self.call_user_function(name, &function, &environment, Vec::new(), span) {
                Bound::Scalar(value) => value,
                Bound::Tabular(_) => self.scalar_expected(span),
                Bound::Broken => broken(),
            },
            None if self.catalog.table(name).is_some() => self.scalar_expected(span),
            None => {
                self.unknown_name(name, span);
                broken()
            }
        }
    }

    /// `KS142`, with the nearest name as help and fix.
    pub(crate) fn unknown_name(&mut self, name: &str, span: Span) {
        if self.open.is_some() {
            return self.ask_for(name);
        }
        if SCALAR_FUNCTIONS.contains_key(name) || self.aggregates.is_some() && AGGREGATES.contains_key(name) {
            self.error(codes::ARGUMENTS_MISSING, format!("the function `{name}` needs its arguments"), span, format!("write `{name}(…)`"));
            return;
        }
        let label = match &self.row.table_name {
            Some(table) => format!("not a column of {table}"),
            None => "not a known column, variable or function".to_owned(),
        };
        let mut candidates: Vec<String> = self.row.columns.iter().map(|column| column.name.clone()).collect();
        candidates.extend(self.names_in_scope());
        let mut diagnostic = Diagnostic::semantic(codes::UNKNOWN_NAME, format!("unknown name `{name}`"), span).label(label);
        if has_typographic_quotes(name) {
            diagnostic = diagnostic.help(STRAIGHT_QUOTES);
        } else if let Some(suggestion) = nearest(name, candidates.iter().map(String::as_str)) {
            diagnostic = diagnostic.help(format!("a column with a similar name exists: `{suggestion}`")).fix(span, suggestion);
        }
        self.report(diagnostic);
    }

    /// A bool, as `where` needs.
    pub(crate) fn predicate(&mut self, expr: &syntax::Expr) -> Expr {
        self.condition(expr, codes::TYPE_EXPECTED)
    }

    /// A bool, as an argument of a function.
    pub(crate) fn bool_argument(&mut self, expr: &syntax::Expr) -> Expr {
        self.condition(expr, codes::ARGUMENT_TYPE)
    }

    /// Kusto converts a dynamic value for `and` and `or` only; where not all columns are known, a dynamic may be a bool.
    fn condition(&mut self, expr: &syntax::Expr, code: &'static str) -> Expr {
        let bound = self.scalar(expr);
        match bound.ty {
            ScalarType::Bool => bound,
            ScalarType::Dynamic if self.open.is_some() || code == codes::OPERATOR_NOT_DEFINED || is_broken(&bound) => self.convert(bound, ScalarType::Bool),
            ScalarType::Int | ScalarType::Long if bound.as_literal().is_some() => self.convert(bound, ScalarType::Bool),
            ty => {
                let diagnostic = Diagnostic::semantic(code, "the expression must have the type bool", expr.span).label(format!("this is {ty}"));
                self.report(if ty == ScalarType::Dynamic { diagnostic.help("convert it with `tobool()`") } else { diagnostic });
                broken()
            }
        }
    }

    /// Kusto groups and sorts by no dynamic value.
    pub(crate) fn not_dynamic(&mut self, value: &Expr, span: Span) {
        if value.ty == ScalarType::Dynamic && self.open.is_none() && !is_broken(value) {
            let message = "a value of the type dynamic is not allowed in this context";
            self.report(Diagnostic::semantic(codes::NOT_DYNAMIC, message, span).label("this is dynamic").help("convert it, for example with `tostring()`"));
        }
    }

    fn logical(&mut self, function: &str, operands: &[syntax::Expr]) -> Expr {
        let operands = operands.iter().map(|operand| self.condition(operand, codes::OPERATOR_NOT_DEFINED)).collect();
        Expr::call(function, ScalarType::Bool, operands)
    }

    /// `in`, `in~`, `has_any`, `has_all`: the list becomes literals of the value's type, or one dynamic array.
    fn membership(&mut self, operator: &Spanned<String>, value: &syntax::Expr, list: &[syntax::Expr]) -> Expr {
        let mut value_bound = self.scalar(value);
        let textual = operator.node.starts_with("has") || operator.node.ends_with('~');
        if textual || value_bound.ty == ScalarType::Dynamic {
            value_bound = self.text_operand((value_bound, value.span), codes::ARGUMENT_TYPE);
        }
        let mut items = Vec::with_capacity(list.len());
        let mut arrays = false;
        for item in list {
            let bound = match self.bind_any_in_list(item) {
                Bound::Scalar(item) => item,
                Bound::Tabular(relation) => match relation.columns.first().cloned() {
                    Some(column) => {
                        self.subqueries.push(Subquery { plan: relation.plan, column, as_list: true });
                        Expr { kind: ExprKind::Subquery(self.subqueries.len() - 1), ty: ScalarType::Dynamic }
                    }
                    None => broken(),
                },
                Bound::Broken => broken(),
            };
            arrays |= bound.ty == ScalarType::Dynamic;
            items.push(bound);
        }
        let mut arguments = vec![value_bound];
        if arrays {
            let items = items.into_iter().map(|item| self.convert(item, ScalarType::Dynamic)).collect();
            arguments.push(Expr::call("flatten_list", ScalarType::Dynamic, items));
            let function = format!("{}_array", operator.node);
            return Expr::call(&function, ScalarType::Bool, arguments);
        }
        for item in items {
            let (value, item) = (arguments[0].clone(), item);
            if value.ty.is_number() && item.ty.is_number() && widest(value.ty, item.ty) != value.ty {
                let wide = widest(value.ty, item.ty);
                arguments[0] = self.convert(value, wide);
                arguments.push(self.convert(item, wide));
            } else {
                arguments.push(self.convert(item, value.ty));
            }
        }
        Expr::call(&operator.node, ScalarType::Bool, arguments)
    }

    fn bind_any_in_list(&mut self, item: &syntax::Expr) -> Bound {
        if let Syntax::Name(name) = &item.kind {
            let is_column = self.row.columns.iter().any(|column| column.name == *name);
            if !is_column && self.lookup(name).is_none() && self.catalog.table(name).is_none() {
                self.unknown_name(name, item.span);
                return Bound::Broken;
            }
        }
        let depth = std::mem::replace(&mut self.scalar_depth, 0);
        let table = self.row.table_name.clone();
        let (bound, _) = self.apart(|binder| binder.bind_any(item));
        self.row.table_name = table;
        self.scalar_depth = depth;
        bound
    }

    fn path(&mut self, target: &syntax::Expr, member: &syntax::Expr, span: Span) -> Expr {
        if let Some(side) = target.name().filter(|name| matches!(*name, "$left" | "$right")) {
            return self.side_column(side, member);
        }
        if let Some(columns) = target.name().and_then(|name| self.row.steps.iter().find(|(step, _)| step == name)).map(|(_, columns)| columns.clone()) {
            return self.member_column(&columns, member);
        }
        if let Some(bound) = self.remote_table(target, member) {
            return match bound {
                Bound::Scalar(value) => value,
                Bound::Tabular(_) => self.scalar_expected(span),
                Bound::Broken => broken(),
            };
        }
        let target = self.scalar(target);
        let Some(name) = member.name() else {
            self.error(codes::UNKNOWN_NAME, "a member of a dynamic value is a name", member.span, "not a name");
            return broken();
        };
        if target.ty != ScalarType::Dynamic {
            let message = format!("unknown name `{name}`");
            let label = format!("a value of type {} has no members", target.ty);
            self.report(Diagnostic::semantic(codes::UNKNOWN_NAME, message, member.span).label(label).help("read the text as dynamic with `parse_json()`"));
            return broken();
        }
        extend_path(target, Expr::literal(Value::String(name.to_owned())))
    }

    fn side_column(&mut self, side: &str, member: &syntax::Expr) -> Expr {
        let columns = match &self.row.sides {
            Some((left, right)) => {
                if side == "$left" {
                    left.clone()
                } else {
                    right.clone()
                }
            }
            None => Vec::new(),
        };
        self.member_column(&columns, member)
    }

    fn member_column(&mut self, columns: &[Column], member: &syntax::Expr) -> Expr {
        let name = member.name().unwrap_or_default();
        match columns.iter().find(|column| column.name == name) {
            Some(column) => Expr::column(column),
            None => {
                self.with_row(columns, |binder| binder.unknown_name(name, member.span));
                broken()
            }
        }
    }

    fn index(&mut self, target: &syntax::Expr, index: &syntax::Expr) -> Expr {
        let bound = self.scalar(target);
        let key = self.scalar(index);
        if bound.ty != ScalarType::Dynamic {
            let label = format!("a value of type {} has no elements", bound.ty);
            self.error("KS147", "the element access operator [] is not allowed in this context", target.span, label);
            return broken();
        }
        if key.ty == ScalarType::String && is_array(&bound) {
            let message = "the expression must have one of the types int or long";
            self.report(Diagnostic::semantic(codes::TYPE_EXPECTED, message, index.span).warning().label("an array has no such element: it is null"));
        }
        let key = match key.ty {
            ScalarType::String | ScalarType::Long => key,
            ScalarType::Int => self.convert(key, ScalarType::Long),
            _ => self.convert(key, ScalarType::String),
        };
        extend_path(bound, key)
    }

    /// The value as another type, by the conversion function of that type.
    pub(crate) fn convert(&mut self, expr: Expr, ty: ScalarType) -> Expr {
        if expr.ty == ty {
            return expr;
        }
        if let Some(value) = expr.as_literal().and_then(|value| super::statements::cast_literal(value, ty)) {
            return Expr::literal(value);
        }
        let function = match ty {
            ScalarType::Bool => "tobool",
            ScalarType::Int => "toint",
            ScalarType::Long => "tolong",
            ScalarType::Real => "toreal",
            ScalarType::Decimal => "todecimal",
            ScalarType::DateTime => "todatetime",
            ScalarType::TimeSpan => "totimespan",
            ScalarType::Guid => "toguid",
            ScalarType::String => "tostring",
            ScalarType::Dynamic => "as_dynamic",
        };
        Expr::call(function, ty, vec![expr])
    }

    /// Binds the named or unnamed expressions of `project`, `extend` and their kind.
    ///
    /// The result column's name is explicit, automatic, or `None` for a numbered one.
    pub(crate) fn named_scalar(&mut self, expr: &syntax::Expr) -> (Option<String>, Expr) {
        match &expr.kind {
            Syntax::Named { names, value } => {
                if names.len() > 1 {
                    self.error("KS149", "the expression does not have multiple named values", names[0].span.to(names[names.len() - 1].span), "one value, several names");
                }
                (names.first().map(|name| name.node.clone()), self.scalar(value))
            }
            _ => (naming::automatic_name(expr), self.scalar(expr)),
        }
    }

    /// The column an expression names, or a diagnostic.
    pub(crate) fn column_reference(&mut self, expr: &syntax::Expr) -> Option<Column> {
        let Some(name) = expr.name() else {
            self.error(codes::COLUMN_EXPECTED, "column name expected", expr.span, "not a name");
            return None;
        };
        let column = self.row.columns.iter().find(|column| column.name == name).cloned();
        if column.is_none() {
            self.unknown_name(name, expr.span);
        }
        column
    }
}

/// `a.b.c` is one call with all its steps, so that a document is walked once.
fn extend_path(target: Expr, step: Expr) -> Expr {
    if let ExprKind::Call { function, arguments, .. } = &target.kind
        && function == "path"
    {
        let mut steps = arguments.as_ref().clone();
        steps.push(step);
        return Expr::call("path", ScalarType::Dynamic, steps);
    }
    Expr::call("path", ScalarType::Dynamic, vec![target, step])
}

/// The wider of two number types.
pub(crate) fn widest(left: ScalarType, right: ScalarType) -> ScalarType {
    use ScalarType::{Decimal, Int, Long, Real};
    match (left, right) {
        (Decimal, _) | (_, Decimal) => Decimal,
        (Real, _) | (_, Real) => Real,
        (Long, _) | (_, Long) => Long,
        _ => Int,
    }
}

/// Whether a dynamic value is an array by what makes it.
fn is_array(value: &Expr) -> bool {
    const MAKERS: [&str; 8] = ["split", "pack_array", "extract_all", "array_concat", "array_slice", "bag_keys", "range", "zip"];
    matches!(&value.kind, ExprKind::Call { function, .. } if MAKERS.contains(&&**function))
}

/// The type `iff`, `case` and `coalesce` give for arguments of these types.
pub(crate) fn common_type(types: &[ScalarType]) -> ScalarType {
    let mut types = types.iter().copied();
    let Some(first) = types.next() else { return ScalarType::Dynamic };
    types.fold(first, |common, ty| match (common, ty) {
        (a, b) if a == b => a,
        (a, b) if a.is_number() && b.is_number() => widest(a, b),
        (ScalarType::Dynamic, other) | (other, ScalarType::Dynamic) => other,
        _ => ScalarType::Dynamic,
    })
}
