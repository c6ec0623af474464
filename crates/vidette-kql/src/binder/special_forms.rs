//! Forms whose arguments or types follow rules that no signature states: `iff`, `case`, `bag_pack`, `bin` and their kind.

use super::expressions::{broken, common_type, is_broken, widest};
use super::{Binder, Bound, naming};
use crate::bound::{Expr, ExprKind};
use crate::diagnostics::{Diagnostic, codes};
use crate::literals::write_json_string;
use crate::span::Span;
use crate::syntax::{self, ExprKind as Syntax};
use crate::types::{ScalarType, Value};
use std::sync::Arc;

impl Binder<'_> {
    /// What `iff`, `case` and `coalesce` choose from is of one type for Kusto's engine, which refuses a mixture that its analyzer
    /// lets pass: int and long are one, and a dynamic or a null goes with all.
    fn of_one_type<'e>(&mut self, function: &str, values: impl IntoIterator<Item = &'e Expr>, span: Span) {
        let types = values.into_iter().filter(|value| value.ty != ScalarType::Dynamic && !matches!(value.as_literal(), Some(Value::Null(_))));
        let mut types = types.map(|value| if value.ty == ScalarType::Int { ScalarType::Long } else { value.ty });
        let Some(first) = types.next() else { return };
        if let Some(other) = types.find(|ty| *ty != first) {
            let message = format!("`{function}` chooses from values of one type in Kusto, which refuses this");
            self.report(Diagnostic::semantic(codes::INVALID_USE, message, span).warning().label(format!("from {first} and {other}")).help("convert one of them"));
        }
    }

    /// What `max_of` and `min_of` compare is of one type, as their pages say, which may be any number; what has no order is refused
    /// by the analyzer.
    fn of_one_order(&mut self, function: &str, values: &[Expr], arguments: &[syntax::Expr], span: Span) {
        for (value, argument) in values.iter().zip(arguments) {
            self.refused_by_analyzer(function, "Orderable", value, argument.span);
        }
        let types: Vec<ScalarType> = values.iter().map(|value| value.ty).collect();
        if self.open.is_none() && common_type(&types) == ScalarType::Dynamic && !types.contains(&ScalarType::Dynamic) {
            let texts: Vec<String> = types.iter().map(ToString::to_string).collect();
            let message = format!("`{function}` compares values of one type in Kusto, which refuses this");
            self.report(Diagnostic::semantic(codes::NO_COMMON_TYPE, message, span).warning().label(texts.join(" and ")).help("convert one of them"));
        }
    }

    /// Forms whose arguments or type follow rules that no signature states.
    pub(super) fn special_form(&mut self, function: &str, arguments: &[syntax::Expr], span: Span) -> Option<Expr> {
        let first = arguments.first();
        Some(match function {
            "iff" => self.iff(arguments, span)?,
            "case" => self.case(arguments, span),
            "coalesce" => self.coalesce(arguments, span),
            "max_of" | "min_of" => {
                let values = self.scalars(arguments);
                self.of_one_order(function, &values, arguments, span);
                self.of_common_type(function, values)
            }
            "not" => {
                let operand = self.bool_argument(first?);
                Expr::call("not", ScalarType::Bool, vec![operand])
            }
            "bag_pack" => {
                let types = [ScalarType::String, ScalarType::Dynamic].into_iter().cycle();
                let all = arguments.iter().zip(types).map(|(argument, ty)| self.converted(argument, ty)).collect();
                Expr::call("bag_pack", ScalarType::Dynamic, all)
            }
            "bag_pack_columns" => {
                let named = |argument: &syntax::Expr| Expr::literal(Value::String(naming::automatic_name(argument).unwrap_or_default()));
                let all = arguments.iter().flat_map(|argument| [named(argument), self.converted(argument, ScalarType::Dynamic)]).collect();
                Expr::call("bag_pack", ScalarType::Dynamic, all)
            }
            "pack_all" => self.pack_all(first),
            "pack_array" => self.pack_array(arguments),
            "column_names_of" => self.column_names_of(first?),
            "column_ifexists" => self.column_ifexists(first?, arguments.get(1)?),
            "parse_json" => {
                let value = self.scalar(first?);
                match value.ty {
                    ScalarType::String | ScalarType::Dynamic => Expr::call("parse_json", ScalarType::Dynamic, vec![value]),
                    _ => self.convert(value, ScalarType::Dynamic),
                }
            }
            "ingestion_time" => {
                let time = ["TimeGenerated", "Timestamp"].iter().find_map(|name| self.row.columns.iter().find(|column| column.name == *name));
                time.map_or_else(|| Expr::literal(Value::Null(ScalarType::DateTime)), Expr::column)
            }
            "bin" => self.bin(arguments, span)?,
            "bin_auto" => self.bin_auto(first?, span),
            _ => return None,
        })
    }

    fn scalars(&mut self, arguments: &[syntax::Expr]) -> Vec<Expr> {
        arguments.iter().map(|argument| self.scalar(argument)).collect()
    }

    fn converted(&mut self, argument: &syntax::Expr, ty: ScalarType) -> Expr {
        let value = self.scalar(argument);
        self.convert(value, ty)
    }

    /// A call whose arguments and result have the type that holds all of them.
    fn of_common_type(&mut self, function: &str, values: Vec<Expr>) -> Expr {
        let ty = common_type(&values.iter().map(|value| value.ty).collect::<Vec<_>>());
        let values = values.into_iter().map(|value| self.convert(value, ty)).collect();
        Expr::call(function, ty, values)
    }

    fn iff(&mut self, arguments: &[syntax::Expr], span: Span) -> Option<Expr> {
        let condition = self.bool_argument(arguments.first()?);
        let values = [self.scalar(arguments.get(1)?), self.scalar(arguments.get(2)?)];
        self.of_one_type("iff", &values, span);
        let ty = common_type(&[values[0].ty, values[1].ty]);
        let values = values.map(|value| self.convert(value, ty));
        Some(Expr::call("iff", ty, std::iter::once(condition).chain(values).collect()))
    }

    fn case(&mut self, arguments: &[syntax::Expr], span: Span) -> Expr {
        let last = arguments.len().saturating_sub(1);
        let is_value = |at: usize| at % 2 == 1 || at == last;
        let all: Vec<Expr> = arguments.iter().enumerate().map(|(at, argument)| if is_value(at) { self.scalar(argument) } else { self.bool_argument(argument) }).collect();
        let values: Vec<&Expr> = all.iter().enumerate().filter(|(at, _)| is_value(*at)).map(|(_, value)| value).collect();
        let ty = common_type(&values.iter().map(|value| value.ty).collect::<Vec<_>>());
        self.of_one_type("case", values, span);
        let all = all.into_iter().enumerate().map(|(at, value)| if is_value(at) { self.convert(value, ty) } else { value }).collect();
        Expr::call("case", ty, all)
    }

    /// With a dynamic value first all are dynamic, as for Kusto's engine; its analyzer refuses the others.
    fn coalesce(&mut self, arguments: &[syntax::Expr], span: Span) -> Expr {
        let mut values = self.scalars(arguments);
        self.of_one_type("coalesce", &values, span);
        let other = values.iter().position(|value| value.ty != ScalarType::Dynamic);
        if let (Some(ScalarType::Dynamic), Some(other)) = (values.first().map(|value| value.ty), other) {
            let wrong = Diagnostic::semantic(codes::TYPE_EXPECTED, "the expression must have the type dynamic", arguments[other].span);
            self.report(wrong.warning().label("with this all become dynamic").help("say `tostring(…)` of the dynamic values"));
            values = values.into_iter().map(|value| self.convert(value, ScalarType::Dynamic)).collect();
        }
        self.of_common_type("coalesce", values)
    }

    fn pack_all(&mut self, ignore_empty: Option<&syntax::Expr>) -> Expr {
        let ignore_empty = ignore_empty.is_some_and(|argument| self.scalar(argument).as_literal() == Some(&Value::Bool(true)));
        let mut all = Vec::new();
        for column in self.row.columns.clone() {
            all.push(Expr::literal(Value::String(column.name.clone())));
            all.push(self.convert(Expr::column(&column), ScalarType::Dynamic));
        }
        Expr::call(if ignore_empty { "bag_pack_nonempty" } else { "bag_pack" }, ScalarType::Dynamic, all)
    }

    fn pack_array(&mut self, arguments: &[syntax::Expr]) -> Expr {
        let mut all = Vec::new();
        for argument in arguments {
            if matches!(argument.kind, Syntax::Star) {
                all.extend(self.row.columns.clone().iter().map(Expr::column));
            } else {
                all.push(self.scalar(argument));
            }
        }
        let all = all.into_iter().map(|value| self.convert(value, ScalarType::Dynamic)).collect();
        Expr::call("pack_array", ScalarType::Dynamic, all)
    }

    fn column_names_of(&mut self, table: &syntax::Expr) -> Expr {
        let Bound::Tabular(table) = self.bind_table_argument(table) else { return broken() };
        let mut names = String::new();
        for column in &table.columns {
            names.push(if names.is_empty() { '[' } else { ',' });
            write_json_string(&column.name, &mut names);
        }
        Expr::literal(Value::Dynamic(names + "]"))
    }

    fn column_ifexists(&mut self, argument: &syntax::Expr, fallback: &syntax::Expr) -> Expr {
        let name = self.scalar(argument);
        let fallback = self.scalar(fallback);
        let Some(Value::String(name)) = name.as_literal() else {
            self.error(codes::INVALID_USE, "`column_ifexists` expects a column name as a string literal", argument.span, "not a literal");
            return broken();
        };
        self.row.columns.iter().find(|column| column.name == *name).map_or(fallback, Expr::column)
    }

    /// The size and the fixed point come from `set` statements. Kusto docs: `bin-auto-function`.
    fn bin_auto(&mut self, value: &syntax::Expr, span: Span) -> Expr {
        let setting = |wanted: &str| self.settings.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let (size, fixed) = (setting("query_bin_auto_size"), setting("query_bin_auto_at"));
        let value = self.scalar(value);
        let Some(size) = size else {
            self.error(codes::INVALID_USE, "`bin_auto` needs the size of its bins", span, "no `set query_bin_auto_size = …;` before");
            return broken();
        };
        let ty = value.ty;
        let size = if ty == ScalarType::Real { self.convert(size, ty) } else { size };
        match fixed {
            Some(fixed) => Expr::call("bin_at", ty, vec![value, size, fixed]),
            None => Expr::call("bin", ty, vec![value, size]),
        }
    }

    /// What `bin` takes; Microsoft's analyzer refuses more than its engine does.
    fn check_bin(&mut self, value: &Expr, size: &Expr, span: Span) {
        let is_time = |ty: ScalarType| matches!(ty, ScalarType::DateTime | ScalarType::TimeSpan);
        if self.open.is_some() || is_broken(value) || is_broken(size) {
            return;
        }
        if matches!(value.ty, ScalarType::String | ScalarType::Bool | ScalarType::Guid) {
            self.error(codes::NOT_A_NUMBER, "the expression value must be a number or a time", span, format!("this is a bin of {}", value.ty));
        } else if value.ty == ScalarType::Dynamic {
            let warning = Diagnostic::semantic(codes::NOT_A_NUMBER, "the expression value must be a number or a time", span).warning();
            self.report(warning.label("this is a bin of dynamic").help("convert it, for example with `tolong()`"));
        } else if is_time(value.ty) != is_time(size.ty) {
            let message = format!("`bin` is not compatible with arguments ({}, {})", value.ty, size.ty);
            self.report(Diagnostic::semantic(codes::NO_OVERLOAD, message, span).warning().label("a bin of another kind than the value"));
        }
    }

    /// `bin(value, size)`; without a size (`floor(x)`) it is 1. A plain number counts days for times.
    fn bin(&mut self, arguments: &[syntax::Expr], span: Span) -> Option<Expr> {
        let value = self.scalar(arguments.first()?);
        let Some(size) = arguments.get(1) else {
            let ty = value.ty;
            let one = Expr::literal(if ty == ScalarType::Real { Value::Real(1.0) } else { Value::Long(1) });
            return Some(Expr { kind: ExprKind::Call { function: "bin".to_owned(), arguments: Arc::new(vec![value, one]), span }, ty });
        };
        let mut size = self.scalar(size);
        self.check_bin(&value, &size, span);
        let value = if value.ty == ScalarType::Dynamic { self.convert(value, ScalarType::Real) } else { value };
        if matches!(value.ty, ScalarType::DateTime | ScalarType::TimeSpan) {
            if !matches!(size.ty, ScalarType::TimeSpan | ScalarType::DateTime) {
                let number = self.convert(size, ScalarType::Real);
                size = Expr::call("*", ScalarType::TimeSpan, vec![number, Expr::literal(Value::TimeSpan(crate::time::TICKS_PER_DAY))]);
            }
            let ty = value.ty;
            return Some(Expr::call("bin", ty, vec![value, size]));
        }
        let ty = match widest(value.ty, size.ty) {
            ScalarType::Int => ScalarType::Long,
            ty => ty,
        };
        let (value, size) = (self.convert(value, ty), self.convert(size, ty));
        Some(Expr::call("bin", ty, vec![value, size]))
    }
}
