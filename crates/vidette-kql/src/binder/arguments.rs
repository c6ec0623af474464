//! Arguments as a signature wants them: counted, their overload told, converted, refused.

use super::Binder;
use super::expressions::{broken, is_broken};
use super::functions::reads_row;
use super::signatures::{Argument, Overload, Parameter, Signature};
use crate::bound::Expr;
use crate::diagnostics::{Diagnostic, codes};
use crate::span::{Span, Spanned};
use crate::types::{ScalarType, Value};

impl Binder<'_> {
    /// Whether a function or plugin takes so many arguments; otherwise the error of Kusto's analyzer.
    pub(crate) fn takes(&mut self, kind: &str, name: &Spanned<String>, signature: &Signature, count: usize) -> bool {
        let accepted = signature.accepts(count);
        if !accepted {
            let message = format!("the {kind} `{}` expects {}", name.node, signature.expected());
            self.error(signature.count_code(), message, name.span, "wrong number of arguments");
        }
        accepted
    }

    /// The overload that most arguments fit, and whether it is the only one.
    pub(super) fn meant(&self, signature: &'static Signature, arguments: &[(Expr, Span)], count: usize) -> Option<(&'static Overload, bool)> {
        let fits = |overload: &Overload, index: usize| overload.parameter(index, count).is_some_and(|parameter| refused_as(parameter.ty, arguments[index].0.ty).is_none());
        let candidates = signature.overloads.iter().filter(|overload| overload.accepts(count));
        let counted: Vec<(usize, &Overload)> = candidates.map(|overload| ((0..arguments.len()).filter(|index| fits(overload, *index)).count(), overload)).collect();
        let most = counted.iter().map(|(fitting, _)| *fitting).max()?;
        let best: Vec<&Overload> = counted.into_iter().filter(|(fitting, _)| *fitting == most).map(|(_, overload)| overload).collect();
        let suited = |dynamic_converts: bool| best.iter().find(|overload| self.suits(overload, arguments, dynamic_converts));
        Some((suited(false).or_else(|| suited(true)).unwrap_or(&best[0]), best.len() == 1))
    }

    /// Whether the arguments' types are the parameters' own, so that overloads can be told apart.
    fn suits(&self, overload: &Overload, arguments: &[(Expr, Span)], dynamic_converts: bool) -> bool {
        arguments.iter().enumerate().all(|(index, (argument, _))| {
            let ty = overload.parameter(index, arguments.len()).map_or("Scalar", |parameter| parameter.ty);
            match ScalarType::from_name(ty) {
                Some(ty) => ty == argument.ty || dynamic_converts && argument.ty == ScalarType::Dynamic,
                None => match ty {
                    "Number" => argument.ty.is_number() || dynamic_converts && argument.ty == ScalarType::Dynamic,
                    "Integer" => argument.ty.is_integer(),
                    "DynamicArray" | "DynamicBag" => argument.ty == ScalarType::Dynamic,
                    _ => true,
                },
            }
        })
    }

    /// What Kusto's analyzer wants the same for all rows may differ from row to row here: a warning.
    pub(super) fn expect_as(&mut self, function: &str, argument: &Expr, parameter: Option<&Parameter>, span: Span) {
        let code = match parameter.map(|parameter| parameter.argument) {
            Some(Argument::Constant) => codes::CONSTANT_EXPECTED,
            Some(Argument::Literal) => codes::LITERAL_EXPECTED,
            _ => return,
        };
        if self.open.is_none() && reads_row(argument) {
            let message = format!("`{function}` wants an argument that is the same for all rows");
            self.report(Diagnostic::semantic(code, message, span).warning().label("it reads a column"));
        }
    }

    /// The argument as its parameter wants it. What it cannot be is an error of the analyzer's code; what the analyzer refuses,
    /// although a conversion is plain, is a warning.
    pub(crate) fn adapt(&mut self, function: &str, argument: Expr, wanted: &str, span: Span) -> Expr {
        use ScalarType::{Dynamic, Long, Real, String};
        if is_broken(&argument) {
            return argument;
        }
        let target = match wanted {
            "string" => Some(String),
            "StringOrDynamic" | "StringOrArray" => None,
            "Scalar" if reads_text(function) => return self.convert(argument, String),
            "Number" if matches!(argument.ty, String | ScalarType::Guid | ScalarType::Bool | ScalarType::DateTime | ScalarType::TimeSpan) && !is_null(&argument) => {
                self.error(codes::NOT_A_NUMBER, "the expression must be a number", span, format!("this is {}", argument.ty));
                return broken();
            }
            "Number" | "NumberOrBool" => Some(if argument.ty == Dynamic { Real } else { argument.ty }),
            "Integer" if argument.ty == ScalarType::Int => return argument,
            // Its page gives the seconds a fraction, though its signature does not.
            "Integer" if argument.ty == Real && function == "make_timespan" => return argument,
            "Integer" | "long" => Some(Long),
            "int" => Some(ScalarType::Int),
            // `array_sort_asc(a, b, nulls_last)`: the flag follows any number of arrays.
            "DynamicArray" if argument.ty == ScalarType::Bool && function.starts_with("array_sort") => return argument,
            "DynamicArray" | "DynamicBag" => Some(Dynamic),
            "Summable" | "Orderable" | "CommonScalar" | "CommonOrderable" | "Scalar" | "NotDynamic" => None,
            other => ScalarType::from_name(other),
        };
        let Some(target) = target else {
            self.refused_by_analyzer(function, wanted, &argument, span);
            return argument;
        };
        let allowed = argument.ty == target
            || argument.ty == Dynamic
            || argument.ty.is_number() && target.is_number()
            || is_null(&argument)
            || target == String && matches!(argument.ty, ScalarType::Guid)
            || matches!((argument.ty, target), (String, ScalarType::DateTime | ScalarType::TimeSpan) if argument.as_literal().is_some());
        if allowed {
            self.refused_by_analyzer(function, wanted, &argument, span);
            return self.convert(argument, target);
        }
        self.error(
            refused_as(wanted, argument.ty).unwrap_or(codes::ARGUMENT_TYPE),
            format!("the expression must have the type {target}"),
            span,
            format!("this is {}", argument.ty),
        );
        broken()
    }

    /// An argument that Kusto's analyzer, and so the portal, refuses where it wants a type, although Kusto's engine can convert it.
    pub(super) fn refused_by_analyzer(&mut self, function: &str, wanted: &str, argument: &Expr, span: Span) {
        if let Some(code) = refused_as(wanted, argument.ty) {
            self.not_in_portal(function, code, &format!("does not take values of the type {}", argument.ty), wanted, argument, span);
        }
    }

    /// What Kusto's engine takes although its analyzer, and so the portal, refuses it.
    pub(super) fn not_in_portal(&mut self, function: &str, code: &'static str, why: &str, wanted: &str, argument: &Expr, span: Span) {
        if self.open.is_some() || is_broken(argument) {
            return;
        }
        let warning = Diagnostic::semantic(code, format!("`{function}` {why}"), span).warning().label(format!("this is {}", argument.ty));
        self.report(match converting(wanted) {
            Some(function) => warning.help(format!("convert it with `{function}()`")),
            None => warning,
        });
    }
}

/// The code with which Kusto's analyzer refuses a type where a parameter wants one, or one of a class.
fn refused_as(wanted: &str, ty: ScalarType) -> Option<&'static str> {
    use ScalarType::{Bool, Decimal, Dynamic, Guid, Int, Long, Real, String};
    let (allowed, code) = match wanted {
        "Integer" => (ty.is_integer(), codes::INTEGER_EXPECTED),
        "Number" => (ty.is_number(), codes::NOT_A_NUMBER),
        "NumberOrBool" => (ty.is_number() || ty == Bool, codes::NOT_A_NUMBER),
        "Summable" => (ty.is_summable(), codes::NOT_SUMMABLE),
        "Orderable" => (!matches!(ty, Dynamic | Guid), codes::NOT_ORDERABLE),
        "NotDynamic" => (ty != Dynamic, codes::NOT_DYNAMIC),
        "NotRealOrBool" => (!matches!(ty, Real | Bool), codes::NOT_DYNAMIC),
        "DynamicArray" => (ty == Dynamic, codes::NOT_AN_ARRAY),
        "DynamicBag" => (ty == Dynamic, codes::NOT_A_BAG),
        "string" => (matches!(ty, String | Dynamic), codes::ARGUMENT_TYPE),
        "StringOrDynamic" => (matches!(ty, String | Dynamic), codes::TYPE_EXPECTED),
        "StringOrArray" => (matches!(ty, String | Dynamic), codes::NOT_TEXT_OR_ARRAY),
        "long" => (matches!(ty, Int | Long), codes::ARGUMENT_TYPE),
        "real" => (ty.is_number() && ty != Decimal, codes::ARGUMENT_TYPE),
        other => (ScalarType::from_name(other).is_none_or(|wanted| wanted == ty), codes::ARGUMENT_TYPE),
    };
    (!allowed).then_some(code)
}

fn is_null(argument: &Expr) -> bool {
    argument.as_literal().is_some_and(|value| matches!(value, Value::Null(_)))
}

/// Functions that turn every argument of their `Scalar` parameters into text.
fn reads_text(function: &str) -> bool {
    matches!(
        function,
        "strcat"
            | "strcat_delim"
            | "strcat_array"
            | "strcmp"
            | "strrep"
            | "toupper"
            | "tolower"
            | "substring"
            | "indexof"
            | "indexof_regex"
            | "reverse"
            | "split"
            | "parse_command_line"
            | "regex_quote"
            | "unicode_codepoints_from_string"
            | "isascii"
            | "isutf8"
    )
}

/// The function that makes of a value what a parameter wants.
fn converting(wanted: &str) -> Option<&'static str> {
    Some(match wanted {
        "Integer" | "Number" | "NumberOrBool" | "Summable" | "Orderable" | "long" | "int" => "tolong",
        "real" => "todouble",
        "string" | "StringOrDynamic" | "StringOrArray" | "NotDynamic" => "tostring",
        "datetime" => "todatetime",
        "timespan" => "totimespan",
        "bool" => "tobool",
        "guid" => "toguid",
        "DynamicArray" | "DynamicBag" => "parse_json",
        _ => return None,
    })
}
