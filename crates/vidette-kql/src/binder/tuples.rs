//! Functions of several results, such as `series_stats`: in `extend` and `project` each becomes a column.

use super::{Binder, naming};
use crate::bound::{Expr, ExprKind};
use crate::syntax::{self, ExprKind as Syntax};
use crate::types::{ScalarType, Value};

use ScalarType::{Dynamic, Long, Real};

type Elements = &'static [(&'static str, ScalarType)];

/// The results of each such function: the end of the column's name, and its type.
const TUPLES: &[(&str, Elements)] = &[
    ("series_stats", &[("min", Real), ("min_idx", Long), ("max", Real), ("max_idx", Long), ("avg", Real), ("stdev", Real), ("variance", Real)]),
    ("series_fft", &[("real", Dynamic), ("imag", Dynamic)]),
    ("series_ifft", &[("real", Dynamic), ("imag", Dynamic)]),
    ("series_fit_line", &[("rsquare", Real), ("slope", Real), ("variance", Real), ("rvariance", Real), ("interception", Real), ("line_fit", Dynamic)]),
    (
        "series_fit_2lines",
        &[
            ("rsquare", Real),
            ("split_idx", Long),
            ("variance", Real),
            ("rvariance", Real),
            ("line_fit", Dynamic),
            ("right_rsquare", Real),
            ("right_slope", Real),
            ("right_interception", Real),
            ("right_variance", Real),
            ("right_rvariance", Real),
            ("left_rsquare", Real),
            ("left_slope", Real),
            ("left_interception", Real),
            ("left_variance", Real),
            ("left_rvariance", Real),
        ],
    ),
    ("series_fit_poly", &[("rsquare", Real), ("coefficients", Dynamic), ("variance", Real), ("rvariance", Real), ("poly_fit", Dynamic)]),
    ("series_periods_detect", &[("periods", Dynamic), ("scores", Dynamic)]),
    ("series_periods_validate", &[("periods", Dynamic), ("scores", Dynamic)]),
    ("series_decompose", &[("baseline", Dynamic), ("seasonal", Dynamic), ("trend", Dynamic), ("residual", Dynamic)]),
    ("series_decompose_forecast", &[("baseline", Dynamic), ("seasonal", Dynamic), ("trend", Dynamic), ("residual", Dynamic)]),
    ("series_decompose_anomalies", &[("ad_flag", Dynamic), ("ad_score", Dynamic), ("baseline", Dynamic)]),
];

pub(super) fn tuple(function: &str) -> Option<Elements> {
    TUPLES.iter().find(|(name, _)| *name == function).map(|(_, elements)| *elements)
}

impl Binder<'_> {
    pub(super) fn tuple_element(&mut self, call: &Expr, at: i64, ty: ScalarType) -> Expr {
        let element = Expr::call("path", Dynamic, vec![call.clone(), Expr::literal(Value::Long(at))]);
        self.convert(element, ty)
    }

    /// The columns an expression of `extend` or `project` makes: one, or all results of a function of several.
    ///
    /// Without names they are automatic (`None` is a numbered one); with fewer than there are results, only those columns are
    /// there (`series-stats-function`; Microsoft's analyzer lists the others, too), in `project` all (`series-fit-2lines-function`).
    pub(crate) fn named_scalars(&mut self, expr: &syntax::Expr) -> Vec<(Option<String>, Expr)> {
        let (mut results, named) = self.all_results(expr);
        results.truncate(named);
        results
    }

    /// As [`Binder::named_scalars`], with the results that have no name, too; and how many are there without them.
    pub(crate) fn all_results(&mut self, expr: &syntax::Expr) -> (Vec<(Option<String>, Expr)>, usize) {
        let (explicit, value): (&[syntax::Name], &syntax::Expr) = match &expr.kind {
            Syntax::Named { names, value } => (names, value),
            _ => (&[], expr),
        };
        let Syntax::Call { name, arguments } = &value.kind else { return (vec![self.named_scalar(expr)], 1) };
        let function = name.node.as_str();
        let sorts = matches!(function, "array_sort_asc" | "array_sort_desc");
        if self.lookup(function).is_some() || !sorts && tuple(function).is_none() {
            return (vec![self.named_scalar(expr)], 1);
        }
        let first = self.scalar(value);
        let Some(call) = innermost(&first, function) else { return (vec![(explicit.first().map(|name| name.node.clone()), first)], 1) };
        let results: Vec<(String, Expr)> = match tuple(function) {
            Some(elements) => {
                let argument = arguments.first().and_then(naming::automatic_name).unwrap_or_default();
                let result = |(at, (suffix, ty)): (usize, &(&str, ScalarType))| (format!("{function}_{argument}_{suffix}"), self.tuple_element(&call, at as i64, *ty));
                elements.iter().enumerate().map(result).collect()
            }
            None => self.sorted_arrays(&call, arguments),
        };
        if explicit.len() > results.len() {
            self.error("KS149", format!("the function has {} results", results.len()), explicit[results.len()].span, "one name too many");
        }
        let named = |(at, (automatic, result)): (usize, (String, Expr))| (Some(explicit.get(at).map_or(automatic, |name| name.node.clone())), result);
        let shown = if explicit.is_empty() { results.len() } else { explicit.len() };
        (results.into_iter().enumerate().map(named).collect(), shown)
    }

    /// `array_sort_asc` and `array_sort_desc` give an array for each that they are given: of one, the array itself.
    fn sorted_arrays(&mut self, call: &Expr, arguments: &[syntax::Expr]) -> Vec<(String, Expr)> {
        let ExprKind::Call { arguments: values, .. } = &call.kind else { return Vec::new() };
        let arrays = values.iter().take_while(|value| value.ty == Dynamic).count();
        let mut results = Vec::with_capacity(arrays);
        for (at, argument) in arguments.iter().enumerate().take(arrays) {
            let name = naming::automatic_name(argument).unwrap_or_else(|| format!("array{at}"));
            let result = if arrays == 1 { call.clone() } else { self.tuple_element(call, at as i64, Dynamic) };
            results.push((format!("{name}_sorted"), result));
        }
        results
    }
}

/// The call of `function` below conversions.
fn innermost(expr: &Expr, function: &str) -> Option<Expr> {
    let mut expr = expr;
    loop {
        match &expr.kind {
            ExprKind::Call { function: name, .. } if name == function => return Some(expr.clone()),
            ExprKind::Call { arguments, .. } => expr = arguments.first()?,
            _ => return None,
        }
    }
}
