//! Aggregation functions: collected where they are called, bound with what they count, and over which rows.

use super::expressions::is_broken;
use super::functions::{canonical, reads_row};
use super::signatures::AGGREGATES;
use super::{Binder, Bound, naming};
use crate::bound::{Aggregate, Expr};
use crate::catalog::Feature;
use crate::diagnostics::{Diagnostic, codes};
use crate::span::{Span, Spanned};
use crate::syntax::{self, ExprKind as Syntax};
use crate::types::ScalarType;

impl Binder<'_> {
    /// An aggregate inside `summarize`: collected, and replaced by the column that will hold it.
    pub(super) fn aggregate_call(&mut self, name: &Spanned<String>, arguments: &[syntax::Expr]) -> Bound {
        let collected = self.aggregates.take();
        let aggregate = self.aggregate(name, arguments);
        self.aggregates = collected;
        match aggregate {
            Some(aggregate) => {
                let column = self.column(naming::aggregate_name(&name.node, arguments), aggregate.ty);
                let value = Expr::column(&column);
                if let Some(collected) = &mut self.aggregates {
                    collected.push((column, aggregate));
                }
                Bound::Scalar(value)
            }
            None => Bound::Broken,
        }
    }

    /// What percentiles are taken of: an int counts as a long, a decimal and a dynamic as a real.
    pub(crate) fn percentile_subject(&mut self, value: Expr) -> Expr {
        match value.ty {
            ScalarType::Int => self.convert(value, ScalarType::Long),
            ScalarType::Decimal | ScalarType::Dynamic => self.convert(value, ScalarType::Real),
            _ => value,
        }
    }

    /// Reports an argument that rows would disagree about.
    pub(crate) fn expect_fixed(&mut self, argument: &Expr, span: Span) -> Option<()> {
        let reads_row = reads_row(argument);
        if reads_row {
            self.error(codes::INVALID_USE, "an argument must be the same for all rows", span, "it reads a column");
        }
        (!reads_row).then_some(())
    }

    /// The condition of `count(condition)`. Of any other value Kusto's engine counts every row, null or not, where Microsoft's
    /// analyzer has an error.
    fn counted(&mut self, argument: &syntax::Expr) -> Option<Expr> {
        let value = self.scalar(argument);
        if value.ty == ScalarType::Bool {
            return Some(value);
        }
        if !is_broken(&value) {
            let message = "`count` of a value counts every row";
            let warning = Diagnostic::semantic(codes::ARGUMENT_TYPE, message, argument.span).warning().label(format!("this is {}, not a condition", value.ty));
            self.report(warning.help("write `count()`; where only values that are there should count, `countif(isnotempty(…))`"));
        }
        None
    }

    /// Binds one aggregation function with one result.
    pub(crate) fn aggregate(&mut self, name: &Spanned<String>, arguments: &[syntax::Expr]) -> Option<Aggregate> {
        let signature = AGGREGATES.get(name.node.as_str())?;
        if !arguments.iter().any(|argument| matches!(argument.kind, Syntax::Star)) && !self.takes("function", name, signature, arguments.len()) {
            return None;
        }
        let function = canonical(&name.node);
        if !self.catalog.runs(Feature::Aggregate, function) {
            self.refuse_named("aggregate function", &name.node, name.span);
            return None;
        }
        let predicate_at = match function {
            "countif" => Some(0),
            "covarianceif" | "covariancepif" => Some(2),
            name if name.ends_with("if") => Some(1),
            _ => None,
        };
        let mut bound = Vec::new();
        let mut filter = None;
        for (at, argument) in arguments.iter().enumerate() {
            if function == "count" {
                filter = self.counted(argument);
            } else if Some(at) == predicate_at {
                filter = Some(self.bool_argument(argument));
            } else {
                let value = self.scalar(argument);
                if let ([overload], false) = (signature.overloads.as_slice(), says_itself(function))
                    && let Some(parameter) = overload.parameter(at, arguments.len())
                {
                    self.refused_by_analyzer(&name.node, parameter.ty, &value, argument.span);
                }
                bound.push(value);
            }
        }
        let base = match function {
            "countif" => "count",
            "take_anyif" => "take_any",
            "make_set_if" => "make_set",
            "make_list_if" => "make_list",
            "make_bag_if" => "make_bag",
            "hll_if" => "hll",
            name => name.strip_suffix("if").unwrap_or(name),
        };
        self.convert_arguments(base, &mut bound, arguments, name.span)?;
        let ty = result_type(base, bound.first().map_or(ScalarType::Long, |argument| argument.ty));
        Some(Aggregate { function: base.to_owned(), arguments: bound, filter, ty, span: name.span })
    }

    /// Brings the arguments to the types that the aggregation takes; `None` when one cannot be.
    fn convert_arguments(&mut self, base: &str, bound: &mut [Expr], arguments: &[syntax::Expr], span: Span) -> Option<()> {
        if matches!(base, "sum" | "avg" | "stdev" | "stdevp" | "variance" | "variancep" | "covariance" | "covariancep") {
            for argument in bound.iter_mut() {
                if argument.ty == ScalarType::Dynamic {
                    let (code, why) =
                        if base == "avg" { (codes::NO_OVERLOAD, "is not compatible with dynamic values") } else { (codes::NOT_SUMMABLE, "sums numbers, timespans and datetimes") };
                    self.not_in_portal(base, code, why, "Summable", argument, arguments[0].span);
                    *argument = self.convert(argument.clone(), ScalarType::Real);
                } else if !argument.ty.is_summable() {
                    self.error(codes::NOT_SUMMABLE, "the expression must be a number, a datetime or a timespan", arguments[0].span, format!("this is {}", argument.ty));
                    return None;
                }
            }
        }
        if let ("max" | "min", Some(ScalarType::Dynamic | ScalarType::Guid)) = (base, bound.first().map(|argument| argument.ty)) {
            self.not_in_portal(base, codes::NOT_ORDERABLE, "orders numbers, times, strings and bools", "Orderable", &bound[0].clone(), arguments[0].span);
        }
        let fixed_from = match base {
            "hll" | "percentiles_array" | "percentile" => 1,
            "percentilesw_array" | "percentilew" => 2,
            _ => bound.len(),
        };
        if matches!(base, "percentile" | "percentilew") && fixed_from < bound.len() {
            bound[0] = self.percentile_subject(bound[0].clone());
            bound[fixed_from] = self.convert(bound[fixed_from].clone(), ScalarType::Real);
        }
        for argument in bound.iter().skip(fixed_from) {
            self.expect_fixed(argument, span)?;
        }
        if base.starts_with("binary_all_")
            && let Some(value) = bound.first_mut()
        {
            match value.ty {
                ScalarType::Real | ScalarType::Decimal | ScalarType::Dynamic => *value = self.convert(value.clone(), ScalarType::Long),
                ScalarType::String | ScalarType::Bool | ScalarType::Guid => {
                    self.error(codes::NOT_SUMMABLE, "the expression must be an integer", arguments[0].span, format!("this is {}", value.ty));
                    return None;
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// Whether the function has words of its own for values that it does not take.
fn says_itself(function: &str) -> bool {
    let base = function.strip_suffix("if").unwrap_or(function);
    base.starts_with("binary_all_") || matches!(base, "sum" | "avg" | "stdev" | "stdevp" | "variance" | "variancep" | "covariance" | "covariancep" | "min" | "max")
}

/// What an aggregation gives of values of a type.
fn result_type(base: &str, subject: ScalarType) -> ScalarType {
    match base {
        "count" | "cnt" | "dcount" | "count_distinct" => ScalarType::Long,
        "sum" if subject == ScalarType::Int => ScalarType::Long,
        "avg" if matches!(subject, ScalarType::Int | ScalarType::Long) => ScalarType::Real,
        "sum" | "avg" | "min" | "max" | "take_any" | "passthrough" | "binary_all_and" | "binary_all_or" | "binary_all_xor" | "percentile" | "percentilew" => subject,
        "stdev" | "stdevp" | "variance" | "variancep" | "covariance" | "covariancep" => ScalarType::Real,
        _ => ScalarType::Dynamic,
    }
}
