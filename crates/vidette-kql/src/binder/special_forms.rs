//! Forms whose arguments or types follow rules that no signature states: `iff`, `case`, `bag_pack`, `bin` and their kind.

use super::expressions::{broken, common_type, widest};
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

    /// Forms whose arguments or type follow rules that no signature states.
    pub(super) fn special_form(&mut self, function: &str, arguments: &[syntax::Expr], span: Span) -> Option<Expr> {
        let argument = |at: usize| arguments.get(at);
        Some(match function {
            "iff" => {
                let condition = self.bool_argument(argument(0)?);
                let values = vec![self.scalar(argument(1)?), self.scalar(argument(2)?)];
                self.of_one_type("iff", &values, span);
                let ty = common_type(&[values[0].ty, values[1].ty]);
                let mut all = vec![condition];
                all.extend(values.into_iter().map(|value| self.convert(value, ty)));
                Expr::call("iff", ty, all)
            }
            "case" => {
                let mut all: Vec<Expr> = Vec::new();
                let last = arguments.len() - 1;
                for (at, argument) in arguments.iter().enumerate() {
                    let condition = at % 2 == 0 && at != last;
                    all.push(if condition { self.bool_argument(argument) } else { self.scalar(argument) });
                }
                let is_value = |at: usize| at % 2 == 1 || at == last;
                let values: Vec<&Expr> = all.iter().enumerate().filter(|(at, _)| is_value(*at)).map(|(_, value)| value).collect();
                let ty = common_type(&values.iter().map(|value| value.ty).collect::<Vec<_>>());
                self.of_one_type("case", values, span);
                let all = all.into_iter().enumerate().map(|(at, value)| if is_value(at) { self.convert(value, ty) } else { value }).collect();
                Expr::call("case", ty, all)
            }
            "coalesce" | "max_of" | "min_of" => {
                let values: Vec<Expr> = arguments.iter().map(|argument| self.scalar(argument)).collect();
                let mut ty = common_type(&values.iter().map(|value| value.ty).collect::<Vec<_>>());
                if function == "coalesce" {
                    self.of_one_type(function, &values, span);
                }
                if function == "coalesce" && ty != ScalarType::Dynamic && values[0].ty == ScalarType::Dynamic {
                    ty = ScalarType::Dynamic;
                    let other = values.iter().zip(arguments).find(|(value, _)| value.ty != ScalarType::Dynamic);
                    self.report(
                        Diagnostic::semantic(codes::TYPE_EXPECTED, "the expression must have the type dynamic", other.map_or(span, |(_, argument)| argument.span))
                            .warning()
                            .label(format!("with this all become {ty}"))
                            .help("say `tostring(…)` of the dynamic values"),
                    );
                }
                let values = values.into_iter().map(|value| self.convert(value, ty)).collect();
                Expr::call(function, ty, values)
            }
            "not" => {
                let operand = self.bool_argument(argument(0)?);
                Expr::call("not", ScalarType::Bool, vec![operand])
            }
            "bag_pack" => {
                let mut all = Vec::new();
                for (at, argument) in arguments.iter().enumerate() {
                    let value = self.scalar(argument);
                    all.push(self.convert(value, if at % 2 == 0 { ScalarType::String } else { ScalarType::Dynamic }));
                }
                Expr::call("bag_pack", ScalarType::Dynamic, all)
            }
            "bag_pack_columns" => {
                let mut all = Vec::new();
                for argument in arguments {
                    let name = naming::automatic_name(argument).unwrap_or_default();
                    let value = self.scalar(argument);
                    all.push(Expr::literal(Value::String(name)));
                    all.push(self.convert(value, ScalarType::Dynamic));
                }
                Expr::call("bag_pack", ScalarType::Dynamic, all)
            }
            "pack_all" => {
                let ignore_empty = match argument(0) {
                    Some(argument) => self.scalar(argument).as_literal() == Some(&Value::Bool(true)),
                    None => false,
                };
                let mut all = Vec::new();
                for column in self.row.columns.clone() {
                    all.push(Expr::literal(Value::String(column.name.clone())));
                    all.push(self.convert(Expr::column(&column), ScalarType::Dynamic));
                }
                Expr::call(if ignore_empty { "bag_pack_nonempty" } else { "bag_pack" }, ScalarType::Dynamic, all)
            }
            "pack_array" => {
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
            "column_names_of" => match self.bind_table_argument(argument(0)?) {
                Bound::Tabular(table) => {
                    let mut names = String::new();
                    for column in &table.columns {
                        names.push(if names.is_empty() { '[' } else { ',' });
                        write_json_string(&column.name, &mut names);
                    }
                    Expr::literal(Value::Dynamic(names + "]"))
                }
                _ => broken(),
            },
            "column_ifexists" => {
                let name = self.scalar(argument(0)?);
                let fallback = self.scalar(argument(1)?);
                let Some(Value::String(name)) = name.as_literal() else {
                    self.error(codes::INVALID_USE, "`column_ifexists` expects a column name as a string literal", argument(0)?.span, "not a literal");
                    return Some(broken());
                };
                match self.row.columns.iter().find(|column| column.name == *name) {
                    Some(column) => Expr::column(column),
                    None => fallback,
                }
            }
            "parse_json" => {
                let value = self.scalar(argument(0)?);
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
            "bin_auto" => self.bin_auto(argument(0)?, span),
            _ => return None,
        })
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

    /// `bin(value, size)`; without a size (`floor(x)`) it is 1. A plain number counts days for times.
    fn bin(&mut self, arguments: &[syntax::Expr], span: Span) -> Option<Expr> {
        let value = self.scalar(arguments.first()?);
        let Some(size) = arguments.get(1) else {
            let ty = value.ty;
            let one = Expr::literal(if ty == ScalarType::Real { Value::Real(1.0) } else { Value::Long(1) });
            return Some(Expr { kind: ExprKind::Call { function: "bin".to_owned(), arguments: Arc::new(vec![value, one]), span }, ty });
        };
        let mut size = self.scalar(size);
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
