//! Calls: user-defined functions, forms with rules of their own, and the functions of the language's tables.

use super::expressions::{common_type, widest};
use super::signatures::{AGGREGATES, Overload, SCALAR_FUNCTIONS, expected};
use super::tuples::tuple;
use super::{Binder, Binding, Bound, Environment};
use crate::bound::{Expr, ExprKind, Plan, Subquery, WINDOW_FUNCTIONS};
use crate::catalog::Feature;
use crate::diagnostics::{Diagnostic, codes, nearest};
use crate::span::{Span, Spanned};
use crate::syntax::{self, ExprKind as Syntax, FunctionDeclaration, ParameterType};
use crate::types::{ScalarType, Value};
use std::sync::Arc;

/// Functions may call functions, but not without end.
const CALL_DEPTH_LIMIT: usize = 200;

/// The function that a name stands for: some have other spellings, mostly deprecated ones.
pub fn canonical(name: &str) -> &str {
    match name {
        "iif" => "iff",
        "pack" | "pack_dictionary" => "bag_pack",
        "parsejson" | "todynamic" | "toobject" => "parse_json",
        "columnifexists" => "column_ifexists",
        "arraylength" => "array_length",
        "replace" => "replace_regex_legacy",
        "notnull" => "isnotnull",
        "notempty" => "isnotempty",
        "todouble" => "toreal",
        "toboolean" => "tobool",
        "totime" => "totimespan",
        "floor" => "bin",
        "extractjson" => "extract_json",
        "extractall" => "extract_all",
        "parseurl" => "parse_url",
        "parseurlquery" => "parse_urlquery",
        "array_strcat" => "strcat_array",
        "array_iif" => "array_iff",
        "base64_encodestring" => "base64_encode_tostring",
        "base64_decodestring" => "base64_decode_tostring",
        "make_string" => "unicode_codepoints_to_string",
        "to_utf8" => "unicode_codepoints_from_string",
        "weekofyear" => "week_of_year",
        "datepart" => "datetime_part",
        "makelist" => "make_list",
        "makeset" => "make_set",
        "make_dictionary" => "make_bag",
        "any" => "take_any",
        "anyif" => "take_anyif",
        "argmax" => "arg_max",
        "argmin" => "arg_min",
        "merge_tdigest" => "tdigest_merge",
        "row_rank" => "row_rank_dense",
        other => other,
    }
}

fn is_built_in(name: &str) -> bool {
    SCALAR_FUNCTIONS.contains_key(name) || AGGREGATES.contains_key(name)
}

/// Calls that are no functions of the tables of signatures.
const SPECIAL_CALLS: &[&str] = &["materialize", "totable", "toscalar", "table", "_GetWatchlist", "database", "cluster", "workspace", "app"];

impl Binder<'_> {
    /// Whether a call of this name means something.
    pub(crate) fn knows_call(&self, name: &str) -> bool {
        self.lookup(name).is_some() || self.catalog.function(name).is_some() || is_built_in(name) || SPECIAL_CALLS.contains(&name)
    }

    pub(super) fn bind_call(&mut self, name: &Spanned<String>, arguments: &[syntax::Expr], span: Span) -> Bound {
        match self.lookup(&name.node) {
            Some(Binding::Function(function, environment)) => return self.call_user_function(&name.node, &function, &environment, arguments.iter().collect(), span),
            Some(Binding::Broken) => return Bound::Broken,
            Some(Binding::Pattern(..)) => return self.pattern(&name.node, arguments, None, span).unwrap_or(Bound::Broken),
            Some(Binding::Scalar(_) | Binding::Tabular(..)) if !is_built_in(&name.node) => {
                self.error(codes::UNKNOWN_FUNCTION, format!("`{}` is not a function", name.node), name.span, "a variable");
                return Bound::Broken;
            }
            _ => {}
        }
        if self.graph.is_some()
            && let Some(value) = self.graph_call(name, arguments)
        {
            return Bound::Scalar(value);
        }
        match name.node.as_str() {
            "materialize" | "totable" => match arguments.first() {
                Some(argument) => match self.bind_table_argument(argument) {
                    Bound::Tabular(relation) => Bound::Tabular(self.once(relation)),
                    other => other,
                },
                None => self.wrong_count(&name.node, "1 argument", name.span),
            },
            "toscalar" => self.toscalar(arguments, name.span),
            "table" => self.table_function(arguments, span),
            "inline_external_table" => {
                self.refuse_named("operator", &name.node, name.span);
                Bound::Broken
            }
            "_GetWatchlist" => self.watchlist(arguments, span),
            "database" | "cluster" | "workspace" | "app" => {
                self.error(codes::SCALAR_EXPECTED, format!("`{}(…)` needs a table after it", name.node), span, "name a table: `.Table`");
                Bound::Broken
            }
            function if self.aggregates.is_some() && AGGREGATES.contains_key(function) => self.aggregate_call(name, arguments),
            function if SCALAR_FUNCTIONS.contains_key(function) => self.built_in(name, arguments, span),
            function if AGGREGATES.contains_key(function) => {
                let message = format!("the aggregate function `{function}` is not allowed in this context");
                self.report(Diagnostic::semantic(codes::AGGREGATE_NOT_ALLOWED, message, name.span).label("an aggregate function").help("use it in `summarize`"));
                Bound::Broken
            }
            function if self.fuzzy && !self.in_scalar_context() => self.missing_table(function, codes::UNKNOWN_FUNCTION, name.span).map_or(Bound::Broken, Bound::Tabular),
            function => {
                self.unknown_function(function, name.span);
                Bound::Broken
            }
        }
    }

    pub(super) fn bind_table_argument(&mut self, argument: &syntax::Expr) -> Bound {
        let depth = std::mem::replace(&mut self.scalar_depth, 0);
        let aggregates = self.aggregates.take();
        let group = self.group.take();
        let bound = self.with_row(&[], |binder| binder.tabular(argument));
        self.scalar_depth = depth;
        self.aggregates = aggregates;
        self.group = group;
        bound.map_or(Bound::Broken, Bound::Tabular)
    }

    fn unknown_function(&mut self, name: &str, span: Span) {
        let local = self.names_in_scope();
        let known = SCALAR_FUNCTIONS.keys().copied().chain(AGGREGATES.keys().copied()).chain(local.iter().map(String::as_str));
        let suggestion = nearest(name, known).map(str::to_owned);
        let mut diagnostic = Diagnostic::semantic(codes::UNKNOWN_FUNCTION, format!("unknown function `{name}`"), span).label("not a known function");
        if let Some(suggestion) = suggestion {
            diagnostic = diagnostic.help(format!("a function with a similar name exists: `{suggestion}`")).fix(span, suggestion);
        }
        self.report(diagnostic);
    }

    pub(super) fn wrong_count(&mut self, name: &str, expected: &str, span: Span) -> Bound {
        self.error(codes::ARGUMENT_COUNT, format!("the function `{name}` expects {expected}"), span, "wrong number of arguments");
        Bound::Broken
    }

    fn toscalar(&mut self, arguments: &[syntax::Expr], span: Span) -> Bound {
        let [argument] = arguments else { return self.wrong_count("toscalar", "1 argument", span) };
        let depth = std::mem::replace(&mut self.scalar_depth, 0);
        let aggregates = self.aggregates.take();
        let group = self.group.take();
        let bound = self.with_row(&[], |binder| binder.joining(|binder| binder.bind_any(argument)));
        self.scalar_depth = depth;
        self.aggregates = aggregates;
        self.group = group;
        match bound {
            Bound::Tabular(relation) => {
                let Some(column) = relation.columns.first().cloned() else { return Bound::Broken };
                let ty = column.ty;
                self.subqueries.push(Subquery { plan: relation.plan, column, as_list: false });
                Bound::Scalar(Expr { kind: ExprKind::Subquery(self.subqueries.len() - 1), ty })
            }
            Bound::Scalar(value) if value.is_volatile() => Bound::Scalar(self.computed_once(value)),
            other => other,
        }
    }

    /// A value that is drawn once: the same place in the query gives the same value, however often it is read.
    fn computed_once(&mut self, value: Expr) -> Expr {
        let ty = value.ty;
        let written = format!("{value:?}");
        let known =
            self.subqueries.iter().position(|subquery| matches!(&subquery.plan, Plan::Project { columns, .. } if columns.len() == 1 && format!("{:?}", columns[0].1) == written));
        let index = known.unwrap_or_else(|| {
            let column = self.column(String::new(), ty);
            let row = Box::new(Plan::Values { columns: Vec::new(), rows: vec![Vec::new()] });
            self.subqueries.push(Subquery { plan: Plan::Project { input: row, columns: vec![(column.clone(), value)] }, column, as_list: false });
            self.subqueries.len() - 1
        });
        Expr { kind: ExprKind::Subquery(index), ty }
    }

    /// Binds the body of a user-defined function with its parameters in scope.
    pub(super) fn call_user_function(&mut self, name: &str, function: &Arc<FunctionDeclaration>, environment: &Environment, arguments: Vec<&syntax::Expr>, span: Span) -> Bound {
        let leading = Vec::new();
        self.call_with(name, function, environment, leading, arguments, span)
    }

    /// As [`Self::call_user_function`], with already bound leading arguments (`invoke`).
    pub(crate) fn call_with(
        &mut self,
        name: &str,
        function: &Arc<FunctionDeclaration>,
        environment: &Environment,
        leading: Vec<Binding>,
        arguments: Vec<&syntax::Expr>,
        span: Span,
    ) -> Bound {
        let required = function.parameters.iter().filter(|parameter| parameter.default.is_none()).count();
        let count = leading.len() + arguments.len();
        if count > function.parameters.len() || count < required {
            return self.wrong_count(name, &expected(vec![(required, function.parameters.len())]), span);
        }
        if self.call_depth >= CALL_DEPTH_LIMIT {
            self.error(codes::TOO_DEEP, format!("functions call each other more than {CALL_DEPTH_LIMIT} levels deep"), span, "too deep");
            return Bound::Broken;
        }
        let mut bindings: Vec<Option<Binding>> = vec![None; function.parameters.len()];
        let offset = leading.len();
        for (slot, binding) in bindings.iter_mut().zip(leading) {
            *slot = Some(binding);
        }
        for (at, argument) in arguments.into_iter().enumerate() {
            let (position, value) = match &argument.kind {
                Syntax::Named { names, value } => match function.parameters.iter().position(|parameter| parameter.name.node == names[0].node) {
                    Some(position) => (position, value.as_ref()),
                    None => {
                        self.unknown_name(&names[0].node, names[0].span);
                        return Bound::Broken;
                    }
                },
                _ => (at + offset, argument),
            };
            let binding = self.argument(&function.parameters[position], value);
            bindings[position] = Some(binding);
        }
        let caller = std::mem::replace(&mut self.environment, environment.clone());
        let reported = self.diagnostic_count();
        for (parameter, binding) in function.parameters.iter().zip(bindings) {
            let binding = match (binding, &parameter.default) {
                (Some(binding), _) => binding,
                (None, Some(default)) => {
                    let value = self.with_row(&[], |binder| binder.scalar(default));
                    match &parameter.ty {
                        ParameterType::Scalar(ty) => Binding::Scalar(self.convert(value, *ty)),
                        _ => Binding::Scalar(value),
                    }
                }
                (None, None) => Binding::Broken,
            };
            self.define(&parameter.name.node, binding);
        }
        self.call_depth += 1;
        let numbered = std::mem::take(&mut self.numbered);
        let depth = std::mem::replace(&mut self.scalar_depth, 0);
        let aggregates = self.aggregates.take();
        let result = stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.with_row(&[], |binder| binder.body(&function.body)));
        self.aggregates = aggregates;
        self.scalar_depth = depth;
        self.call_depth -= 1;
        self.numbered = numbered;
        self.environment = caller;
        if self.catalog.function(name).is_some_and(|saved| Arc::ptr_eq(&saved, function)) {
            // Places in the text of a saved function are none in this query.
            self.diagnostics[reported..].iter_mut().for_each(|diagnostic| diagnostic.inside(name, span));
        }
        result
    }

    /// The last result of a body's statements.
    pub(super) fn body(&mut self, body: &syntax::Query) -> Bound {
        let mut result = Bound::Broken;
        let declared = std::mem::take(&mut self.declared);
        for statement in &body.statements {
            match statement {
                syntax::Statement::Expression(expr) => result = self.joining(|binder| binder.bind_any(expr)),
                other => self.bind_declaration(other),
            }
        }
        self.declared = declared;
        result
    }

    fn argument(&mut self, parameter: &syntax::Parameter, value: &syntax::Expr) -> Binding {
        match &parameter.ty {
            ParameterType::Scalar(ty) => {
                let value = self.scalar(value);
                Binding::Scalar(self.convert(value, *ty))
            }
            ParameterType::Tabular(..) => match self.bind_table_argument(value) {
                Bound::Tabular(relation) => Binding::Tabular(Arc::new(relation.plan), relation.columns, self.open),
                _ => Binding::Broken,
            },
            ParameterType::Missing => Binding::Broken,
        }
    }

    /// A function of the language. The argument count and the result type follow its signature.
    fn built_in(&mut self, name: &Spanned<String>, arguments: &[syntax::Expr], span: Span) -> Bound {
        let Some(signature) = SCALAR_FUNCTIONS.get(name.node.as_str()) else { return Bound::Broken };
        let has_star = arguments.iter().any(|argument| matches!(argument.kind, Syntax::Star));
        if !has_star && !self.takes("function", name, signature, arguments.len()) {
            return Bound::Broken;
        }
        let function = canonical(&name.node);
        if !self.catalog.runs(Feature::ScalarFunction, function) {
            self.refuse_named("function", &name.node, name.span);
            return Bound::Broken;
        }
        if let Some(value) = self.special_form(function, arguments, span) {
            if let ("todynamic" | "toobject", ExprKind::Call { arguments: bound, .. }) = (name.node.as_str(), &value.kind)
                && bound.first().is_some_and(|argument| argument.ty == ScalarType::Dynamic)
            {
                // Microsoft's analyzer has an error here; the documentation takes such values as they are.
                let message = format!("`{}` expects a value of the type string", name.node);
                self.report(Diagnostic::semantic(codes::ARGUMENT_TYPE, message, arguments[0].span).warning().label("this is dynamic").help("`parse_json()` takes it as it is"));
            }
            return Bound::Scalar(value);
        }
        let mut bound = Vec::with_capacity(arguments.len());
        let mut result_type = None;
        for argument in arguments {
            match &argument.kind {
                Syntax::TypeOf(_, ty) => result_type = *ty,
                Syntax::Star => bound.extend(self.row.columns.clone().iter().map(|column| (Expr::column(column), argument.span))),
                _ => bound.push((self.scalar(argument), argument.span)),
            }
        }
        let count = arguments.len();
        let Some((overload, one_is_best)) = self.meant(signature, &bound, count) else { return Bound::Broken };
        let reported = self.diagnostics.len();
        let mut converted = Vec::with_capacity(bound.len());
        for (index, (argument, at)) in bound.into_iter().enumerate() {
            let parameter = overload.parameter(index, count);
            self.expect_as(function, &argument, parameter, at);
            converted.push(self.adapt(function, argument, parameter.map_or("Scalar", |parameter| parameter.ty), at));
        }
        if !one_is_best {
            // Which of the overloads was meant cannot be told.
            self.diagnostics[reported..].iter_mut().for_each(|diagnostic| (diagnostic.code, diagnostic.help) = (codes::NO_OVERLOAD, None));
        }
        if let Some((code, at, message, label)) = mistake(function, &converted) {
            self.error(code, message, arguments[at].span, label);
            return Bound::Broken;
        }
        if let Some(elements) = tuple(function) {
            // Where one value is wanted, it is the first.
            let call = Expr { kind: ExprKind::Call { function: function.to_owned(), arguments: Arc::new(converted), span }, ty: ScalarType::Dynamic };
            return Bound::Scalar(self.tuple_element(&call, 0, elements[0].1));
        }
        let ty = result_type.unwrap_or_else(|| self.result_type(function, overload, &converted));
        let call = Expr { kind: ExprKind::Call { function: function.to_owned(), arguments: Arc::new(converted), span }, ty };
        match result_type {
            Some(ty) if ty != ScalarType::String => {
                let text = Expr { ty: if matches!(function, "extract_json" | "percentile_tdigest") { ScalarType::Dynamic } else { ScalarType::String }, ..call };
                Bound::Scalar(self.convert(text, ty))
            }
            _ => match &self.group {
                // In a grouped subquery a row's neighbours are those of its group.
                Some(group) if WINDOW_FUNCTIONS.contains(&function) => Bound::Scalar(Expr::call("in_group", call.ty, vec![call, Expr::column(&group.row_id)])),
                _ => {
                    if WINDOW_FUNCTIONS.contains(&function) && self.in_order == Some(false) {
                        self.no_neighbours(name);
                    }
                    Bound::Scalar(call)
                }
            },
        }
    }

    fn no_neighbours(&mut self, function: &Spanned<String>) {
        let warning = Diagnostic::semantic(codes::INVALID_USE, format!("`{}` needs rows in an order", function.node), function.span).warning();
        self.report(warning.label("Kusto refuses it here").help("put `| sort by …` or `| serialize` before it"));
    }

    fn result_type(&self, function: &str, overload: &Overload, arguments: &[Expr]) -> ScalarType {
        let first = arguments.first().map_or(ScalarType::Dynamic, |argument| argument.ty);
        match overload.returns {
            "Parameter0" => first,
            "Parameter1" => arguments.get(1).map_or(ScalarType::Dynamic, |argument| argument.ty),
            "Parameter0Promoted" => {
                if first == ScalarType::Int {
                    ScalarType::Long
                } else {
                    first
                }
            }
            "Widest" => match arguments.iter().map(|argument| argument.ty).reduce(widest) {
                Some(ScalarType::Int) => ScalarType::Long,
                Some(ty) => ty,
                None => first,
            },
            "Common" | "CommonNonDynamic" => common_type(&arguments.iter().map(|argument| argument.ty).collect::<Vec<_>>()),
            "ParameterNLiteral" => ScalarType::String,
            "Custom" if function == "bin_auto" => first,
            other => ScalarType::from_name(other).unwrap_or(ScalarType::Dynamic),
        }
    }
}

/// What an argument cannot be, though it has the type: a code, the argument, what is wrong, and what it is. Most of this Kusto
/// refuses only when it runs the query.
fn mistake(function: &str, arguments: &[Expr]) -> Option<(&'static str, usize, String, String)> {
    let text = |at: usize| match arguments.get(at)?.as_literal()? {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    };
    let pattern = match function {
        "extract" | "extract_all" | "trim" | "trim_start" | "trim_end" | "replace_regex_legacy" => Some(0),
        "replace_regex" | "indexof_regex" => Some(1),
        "countof" if text(2).is_some_and(|kind| kind.eq_ignore_ascii_case("regex")) => Some(1),
        _ => None,
    };
    if let Some(at) = pattern
        && let Some(why) = text(at).and_then(wrong_pattern)
    {
        return Some((codes::INVALID_USE, at, NO_PATTERN.to_owned(), why));
    }
    match function {
        "prev" | "next" if reads_row(arguments.get(2)?) => Some((codes::CONSTANT_EXPECTED, 2, "the expression must be a constant".to_owned(), "it reads a column".to_owned())),
        "format_datetime" | "format_timespan" => {
            let known = if function == "format_datetime" { "yMdHhmsfFt /-:,._[]" } else { "dHhmsfF /-:,._[]" };
            let letter = text(1)?.chars().find(|letter| !known.contains(*letter))?;
            Some((codes::INVALID_USE, 1, format!("`{function}` has no format `{letter}`"), format!("Kusto knows the letters and delimiters {known}")))
        }
        "datetime_part" | "datetime_add" | "datetime_diff" => {
            let (own, asked) = (if function == "datetime_part" { PARTS } else { PERIODS }, text(0)?);
            let known = || SHARED_PARTS.iter().chain(own);
            if known().any(|part| asked.eq_ignore_ascii_case(part)) {
                return None;
            }
            let known: Vec<&str> = known().copied().collect();
            Some((codes::INVALID_USE, 0, format!("`{function}` has no part `{asked}`"), format!("it knows {}", known.join(", "))))
        }
        "extract_all" if !text(0)?.contains('(') => {
            Some((codes::INVALID_USE, 0, "`extract_all` gives what the groups of its pattern match".to_owned(), "no group in parentheses".to_owned()))
        }
        _ => None,
    }
}

/// What `datetime_part`, `datetime_add` and `datetime_diff` know alike, and what else they do.
const SHARED_PARTS: &[&str] = &["year", "quarter", "month", "day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond"];
const PARTS: &[&str] = &["week_of_year", "dayofyear"];
const PERIODS: &[&str] = &["week"];

pub(super) const NO_PATTERN: &str = "the pattern is not a regular expression";

/// Why a text is no regular expression; `None` when it is one.
pub(super) fn wrong_pattern(text: &str) -> Option<String> {
    crate::regexes::readable(text).err()
}

pub(crate) fn reads_row(argument: &Expr) -> bool {
    let mut reads_row = false;
    argument.visit(&mut |inner| reads_row |= matches!(inner.kind, ExprKind::Column(_)));
    reads_row
}
