//! Operators: arithmetic, equality, order, ranges, and those of texts.
//! Kusto docs: `numerical-operators`, `datetime-timespan-arithmetic`, `between-operator`, `datatypes-string-operators`.

use super::Binder;
use super::expressions::{broken, is_broken, widest};
use super::functions::{NO_PATTERN, wrong_pattern};
use crate::bound::Expr;
use crate::diagnostics::{Diagnostic, codes};
use crate::span::{Span, Spanned};
use crate::syntax;
use crate::types::{ScalarType, Value};

impl Binder<'_> {
    pub(super) fn unary(&mut self, operator: &Spanned<String>, operand: &syntax::Expr) -> Expr {
        let value = self.scalar(operand);
        // As in all arithmetic, an int becomes a long.
        let value = if value.ty == ScalarType::Int { self.convert(value, ScalarType::Long) } else { value };
        if operator.node == "+" {
            return value;
        }
        match value.ty {
            ScalarType::Dynamic => {
                let value = self.convert(value, ScalarType::Real);
                Expr::call("negate", ScalarType::Real, vec![value])
            }
            ty if ty.is_number() || ty == ScalarType::TimeSpan => Expr::call("negate", ty, vec![value]),
            ScalarType::DateTime => {
                let ticks = self.ticks(value);
                let negative = Expr::call("negate", ScalarType::Long, vec![ticks]);
                self.convert(negative, ScalarType::DateTime)
            }
            ty => {
                self.error(codes::OPERATOR_NOT_DEFINED, format!("the operator `-` is not defined for the operand type {ty}"), operator.span, format!("the operand is {ty}"));
                broken()
            }
        }
    }

    pub(crate) fn binary(&mut self, operator: &Spanned<String>, left: (Expr, Span), right: (Expr, Span)) -> Expr {
        match operator.node.as_str() {
            "+" | "-" | "*" | "/" | "%" => self.arithmetic(operator, left.0, right.0),
            "==" | "!=" => {
                // The engine's own answer: its analyzer lets it pass.
                let dynamic = |side: &(Expr, Span)| side.0.ty == ScalarType::Dynamic && !is_broken(&side.0) && !matches!(side.0.as_literal(), Some(Value::Null(_)));
                if dynamic(&left) && dynamic(&right) && self.open.is_none() {
                    let message = "two dynamic values are compared, which Kusto refuses";
                    self.report(
                        Diagnostic::semantic(codes::INVALID_USE, message, operator.span).warning().label("both are dynamic").help("convert them, for example with `tostring()`"),
                    );
                }
                self.equality(&operator.node, left.0, right.0)
            }
            "<" | "<=" | ">" | ">=" => {
                self.order_of_dynamic(operator, &left.0, &right.0);
                self.ordering(operator, left.0, right.0)
            }
            name => {
                let canonical = match name {
                    "containscs" => "contains_cs",
                    "!containscs" | "notcontainscs" => "!contains_cs",
                    "notcontains" => "!contains",
                    other => other,
                };
                let right_span = right.1;
                let left = self.text_operand(left, codes::OPERATOR_NOT_DEFINED);
                let right = self.text_operand(right, codes::OPERATOR_NOT_DEFINED);
                if canonical == "matches regex"
                    && let Some(Value::String(pattern)) = right.as_literal()
                    && let Some(why) = wrong_pattern(pattern)
                {
                    self.error(codes::INVALID_USE, NO_PATTERN, right_span, why);
                }
                Expr::call(canonical, ScalarType::Bool, vec![left, right])
            }
        }
    }

    /// The operand of a string operator: a string, or a dynamic read as one.
    pub(super) fn text_operand(&mut self, (operand, span): (Expr, Span), code: &'static str) -> Expr {
        match operand.ty {
            ScalarType::String => operand,
            ScalarType::Dynamic => self.convert(operand, ScalarType::String),
            ty => {
                let message = "the expression must have one of the types string or dynamic";
                self.report(Diagnostic::semantic(code, message, span).label(format!("this is {ty}")).help("convert it with `tostring()`"));
                broken()
            }
        }
    }

    fn undefined(&mut self, operator: &Spanned<String>, left: ScalarType, right: ScalarType) -> Expr {
        let message = format!("the operator `{}` is not defined for the operand types {left} and {right}", operator.node);
        self.error(codes::OPERATOR_NOT_DEFINED, message, operator.span, format!("{left} {} {right}", operator.node));
        broken()
    }

    fn arithmetic(&mut self, operator: &Spanned<String>, left: Expr, right: Expr) -> Expr {
        use ScalarType::{DateTime, Dynamic, Long, Real, TimeSpan};
        let (mut l, mut r) = (left.ty, right.ty);
        // A dynamic operand takes the type of the other one.
        match (l, r) {
            (Dynamic, Dynamic) => (l, r) = (Real, Real),
            (Dynamic, other) => l = if other == DateTime && operator.node == "+" { TimeSpan } else { other },
            (other, Dynamic) => r = if other == DateTime && operator.node == "+" { TimeSpan } else { other },
            _ => {}
        }
        let op = operator.node.as_str();
        let (l, r, result) = match (op, l, r) {
            (_, l, r) if l.is_number() && r.is_number() => {
                let wide = match widest(l, r) {
                    ScalarType::Int => Long,
                    other => other,
                };
                (wide, wide, wide)
            }
            ("+", DateTime, TimeSpan) | ("-", DateTime, TimeSpan) => (l, r, DateTime),
            ("+", TimeSpan, DateTime) => (l, r, DateTime),
            ("-", DateTime, DateTime) => (l, r, TimeSpan),
            ("+" | "-" | "%", TimeSpan, TimeSpan) => (l, r, TimeSpan),
            ("%", DateTime, TimeSpan) => (l, r, TimeSpan),
            ("/", TimeSpan, TimeSpan) | ("/", DateTime, TimeSpan) => (l, r, Real),
            ("*" | "/", TimeSpan, r) if r.is_number() => (l, Real, TimeSpan),
            ("*", l, TimeSpan) if l.is_number() => (Real, r, TimeSpan),
            ("*" | "/" | "%", DateTime, r) if r.is_number() => return self.on_ticks(operator, left, right, DateTime),
            ("*", l, DateTime) if l.is_number() => return self.on_ticks(operator, left, right, DateTime),
            ("%", TimeSpan, r) if r.is_number() => return self.on_ticks(operator, left, right, TimeSpan),
            ("+", DateTime, DateTime) | ("-", TimeSpan, DateTime) => return self.on_ticks(operator, left, right, DateTime),
            ("%", DateTime, DateTime) | ("*", TimeSpan, TimeSpan) => return self.on_ticks(operator, left, right, TimeSpan),
            ("/", DateTime, DateTime) => {
                let (left, right) = (self.ticks(left), self.ticks(right));
                return Expr::call(op, Real, vec![self.convert(left, Real), self.convert(right, Real)]);
            }
            _ => return self.undefined(operator, left.ty, right.ty),
        };
        let arguments = vec![self.convert(left, l), self.convert(right, r)];
        Expr::call(op, result, arguments)
    }

    /// Arithmetic that Microsoft's operators have for times and no page documents: that of their ticks.
    fn on_ticks(&mut self, operator: &Spanned<String>, left: Expr, right: Expr, result: ScalarType) -> Expr {
        let (left, right) = (self.ticks(left), self.ticks(right));
        let ticks = self.arithmetic(operator, left, right);
        let ticks = self.convert(ticks, ScalarType::Long);
        self.convert(ticks, result)
    }

    fn ticks(&mut self, value: Expr) -> Expr {
        if matches!(value.ty, ScalarType::DateTime | ScalarType::TimeSpan) { self.convert(value, ScalarType::Long) } else { value }
    }

    fn equality(&mut self, operator: &str, left: Expr, right: Expr) -> Expr {
        let (left, right) = self.comparable(left, right);
        Expr::call(operator, ScalarType::Bool, vec![left, right])
    }

    /// Both operands as one type in which they can be compared.
    pub(crate) fn comparable(&mut self, left: Expr, right: Expr) -> (Expr, Expr) {
        use ScalarType::{Bool, Dynamic, Long, String};
        let common = match (left.ty, right.ty) {
            (l, r) if l == r => l,
            (l, r) if l.is_number() && r.is_number() => widest(l, r),
            (Bool, r) if r.is_number() => Long,
            (l, Bool) if l.is_number() => Long,
            (Dynamic, other) | (other, Dynamic) => other,
            (String, other) | (other, String) => other,
            _ => String,
        };
        (self.convert(left, common), self.convert(right, common))
    }

    /// Microsoft's analyzer refuses to order dynamic values and others than numbers, which runs here.
    fn order_of_dynamic(&mut self, operator: &Spanned<String>, left: &Expr, right: &Expr) {
        let other = match (left.ty, right.ty) {
            (ScalarType::Dynamic, other) | (other, ScalarType::Dynamic) => other,
            _ => return,
        };
        let refused = matches!(other, ScalarType::DateTime | ScalarType::TimeSpan | ScalarType::Bool | ScalarType::Guid);
        if refused && self.open.is_none() && !is_broken(left) && !is_broken(right) {
            let message = format!("the operator `{}` is not defined for the operand types {} and {}", operator.node, left.ty, right.ty);
            let warning = Diagnostic::semantic(codes::OPERATOR_NOT_DEFINED, message, operator.span).warning();
            self.report(warning.label(format!("{} {} {}", left.ty, operator.node, right.ty)).help(format!("convert the dynamic value: `to{other}(…)`")));
        }
    }

    fn ordering(&mut self, operator: &Spanned<String>, left: Expr, right: Expr) -> Expr {
        use ScalarType::{Bool, DateTime, Dynamic, String, TimeSpan};
        let defined = match (left.ty, right.ty) {
            (Dynamic, Dynamic) => true,
            (Dynamic, String) | (String, Dynamic) => false,
            (Dynamic, _) | (_, Dynamic) => true,
            (l, r) if l == r => !matches!(l, String | ScalarType::Guid),
            (l, r) if (l.is_number() || l == Bool) && (r.is_number() || r == Bool) => true,
            (String, DateTime | TimeSpan) => left.as_literal().is_some(),
            (DateTime | TimeSpan, String) => right.as_literal().is_some(),
            _ => false,
        };
        if !defined {
            return self.undefined(operator, left.ty, right.ty);
        }
        let (left, right) =
            if left.ty == Dynamic && right.ty == Dynamic { (self.convert(left, ScalarType::Real), self.convert(right, ScalarType::Real)) } else { self.comparable(left, right) };
        Expr::call(&operator.node, ScalarType::Bool, vec![left, right])
    }

    /// Microsoft's analyzer refuses ranges of dynamic values and others than numbers, which run here.
    fn dynamic_range(&mut self, operator: &Spanned<String>, values: [&Expr; 3]) {
        use ScalarType::{Bool, DateTime, Dynamic, Guid, TimeSpan};
        let other = values.iter().map(|value| value.ty).find(|ty| *ty != Dynamic).unwrap_or(Dynamic);
        let refused = values.iter().any(|value| value.ty == Dynamic) && matches!(other, Bool | DateTime | Dynamic | Guid | TimeSpan);
        if refused && self.open.is_none() && !values.iter().any(|value| is_broken(value)) {
            let code = if values[0].ty == Dynamic && matches!(other, DateTime | TimeSpan) { codes::NOT_SUMMABLE } else { codes::NOT_A_NUMBER };
            let warning = Diagnostic::semantic(code, format!("`{}` of dynamic values", operator.node), operator.span).warning();
            self.report(warning.label(format!("between {other} and dynamic")).help("convert what is dynamic, for example with `todatetime()`"));
        }
    }

    pub(super) fn between(&mut self, operator: &Spanned<String>, value: &syntax::Expr, low: &syntax::Expr, high: &syntax::Expr) -> Expr {
        let value = self.scalar(value);
        let low = self.scalar(low);
        let mut high = self.scalar(high);
        if low.ty == ScalarType::DateTime && high.ty == ScalarType::TimeSpan {
            high = Expr::call("+", ScalarType::DateTime, vec![low.clone(), high]);
        }
        self.dynamic_range(operator, [&value, &low, &high]);
        let at = |text: &str| Spanned { node: text.to_owned(), span: operator.span };
        if operator.node == "between" {
            let above = self.ordering(&at(">="), value.clone(), low);
            let below = self.ordering(&at("<="), value, high);
            Expr::call("and", ScalarType::Bool, vec![above, below])
        } else {
            let below = self.ordering(&at("<"), value.clone(), low);
            let above = self.ordering(&at(">"), value, high);
            Expr::call("or", ScalarType::Bool, vec![below, above])
        }
    }
}
