//! The aggregation functions that run. Kusto docs: `aggregation-functions`.
//!
//! Most are stock aggregates, with a finishing expression over the result.

mod dcount;
mod extreme;
mod make_set;

pub(crate) use extreme::{extreme, field as extreme_field};
use make_set::Items;

use crate::arrow_types::arrow_type;
use crate::decimal;
use crate::functions::udf;
use crate::json;
use arrow::array::{Array, AsArray, BooleanArray, StringViewBuilder};
use arrow::datatypes::{DataType, Float64Type, i256};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::expr_fn as stock;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, lit};
use datafusion::prelude::coalesce;
use std::sync::Arc;
use vidette_kql::bound::Aggregate;
use vidette_kql::{ScalarType, Value};

/// The functions by Kusto's name, the `…if` forms under their base.
pub(crate) const AGGREGATES: &[&str] = &[
    "arg_max",
    "arg_min",
    "avg",
    "avgif",
    "count",
    "cnt",
    "countif",
    "count_distinct",
    "count_distinctif",
    "dcount",
    "dcountif",
    "make_bag",
    "make_bag_if",
    "make_list",
    "make_list_if",
    "make_list_with_nulls",
    "make_set",
    "make_set_if",
    "max",
    "maxif",
    "min",
    "minif",
    "percentile",
    "stdev",
    "stdevif",
    "stdevp",
    "sum",
    "sumif",
    "take_any",
    "take_anyif",
    "variance",
    "varianceif",
    "variancep",
    "variancepif",
    "covariance",
    "covariancep",
    "covarianceif",
    "covariancepif",
    "binary_all_and",
    "binary_all_or",
    "binary_all_xor",
    "passthrough",
    "percentilew",
    "percentiles_array",
    "percentilesw_array",
    "tdigest",
    "tdigest_merge",
    "merge_tdigest",
    "hll",
    "hll_if",
    "hll_merge",
    "buildschema",
];

/// The aggregates that are not stock, by their names in plans.
pub(crate) fn by_name(name: &str) -> Option<AggregateUDF> {
    dcount::by_name(name).or_else(|| extreme::by_name(name)).or_else(|| make_set::by_name(name))
}

/// The helper functions of aggregates, by their names in plans.
pub(crate) fn helper(name: &str) -> Option<ScalarUDF> {
    Some(match name {
        "join_items" => ScalarUDF::from(JoinItems::new()),
        "percentile_of_list" => ScalarUDF::from(Percentile::new()),
        _ => return None,
    })
}

/// Whether an aggregate's filter lets a row through.
fn is_let_through(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

type Finish = Box<dyn FnOnce(Expr) -> Expr>;

/// The aggregate expression, and what makes Kusto's value of its result. `order` is the order of the input rows.
pub(crate) fn lower(aggregate: &Aggregate, mut arguments: Vec<Expr>, filter: Option<Expr>, order: &[Sort]) -> Result<(Expr, Finish)> {
    let ty = aggregate.ty;
    let argument_type = aggregate.arguments.first().map_or(ScalarType::Long, |argument| argument.ty);
    let same = || -> Finish { Box::new(|value| value) };
    let zero = |value: ScalarValue| -> Finish { Box::new(move |result| coalesce(vec![result, Expr::Literal(value, None)])) };
    let as_type = || -> Finish { Box::new(move |result| cast(result, arrow_type(ty))) };
    let numeric = |value: Expr| cast(value, DataType::Float64);
    let (value, finish): (Expr, Finish) = match aggregate.function.as_str() {
        "count" | "cnt" => (stock::count(lit(1i64)), same()),
        "dcount" => (dcount::dcount(accuracy(aggregate)).call(vec![arguments.remove(0)]), same()),
        "count_distinct" => (stock::count_distinct(arguments.remove(0)), same()),
        "sum" => match argument_type {
            ScalarType::Real => (stock::sum(arguments.remove(0)), zero(ScalarValue::Float64(Some(0.0)))),
            ScalarType::Decimal => (stock::sum(arguments.remove(0)), zero(ScalarValue::Decimal256(Some(i256::ZERO), decimal::PRECISION, decimal::SCALE))),
            _ => (stock::sum(cast(arguments.remove(0), DataType::Int64)), zero(ScalarValue::Int64(Some(0)))),
        },
        "avg" => match ty {
            ScalarType::Real => (stock::avg(numeric(arguments.remove(0))), zero(ScalarValue::Float64(Some(f64::NAN)))),
            ScalarType::Decimal => (stock::avg(arguments.remove(0)), as_type()),
            // A float cannot hold the ticks of today: the mean of times is taken in decimals.
            _ => (stock::avg(cast(arguments.remove(0), DataType::Decimal128(20, 0))), as_type()),
        },
        "min" if ty == ScalarType::Real => (stock::min(rank(arguments.remove(0), "rank_least")), Box::new(of_rank)),
        "max" if ty == ScalarType::Real => (stock::max(rank(arguments.remove(0), "rank_greatest")), Box::new(of_rank)),
        "min" => (stock::min(arguments.remove(0)), strings(ty)),
        "max" => (stock::max(arguments.remove(0)), strings(ty)),
        "stdev" => (stock::stddev(numeric(arguments.remove(0))), zero(ScalarValue::Float64(Some(0.0)))),
        "stdevp" => (stock::stddev_pop(numeric(arguments.remove(0))), zero(ScalarValue::Float64(Some(0.0)))),
        "variance" => (stock::var_sample(numeric(arguments.remove(0))), zero(ScalarValue::Float64(Some(0.0)))),
        "variancep" => (stock::var_pop(numeric(arguments.remove(0))), zero(ScalarValue::Float64(Some(0.0)))),
        "covariance" | "covariancep" => {
            let (y, x) = (numeric(arguments.remove(1)), numeric(arguments.remove(0)));
            let population = aggregate.function == "covariancep";
            (if population { stock::covar_pop(x, y) } else { stock::covar_samp(x, y) }, zero(ScalarValue::Float64(Some(0.0))))
        }
        "binary_all_and" => (stock::bit_and(arguments.remove(0)), same()),
        "binary_all_or" => (stock::bit_or(arguments.remove(0)), same()),
        "binary_all_xor" => (stock::bit_xor(arguments.remove(0)), same()),
        "take_any" | "passthrough" => {
            let value = arguments.remove(0);
            let present = match argument_type {
                ScalarType::String => value.clone().not_eq(lit(ScalarValue::Utf8View(Some(String::new())))),
                _ => value.clone().is_not_null(),
            };
            // A present value is preferred to an absent one.
            (stock::first_value(value, vec![present.sort(false, false)]), strings(ty))
        }
        "make_list" | "make_list_with_nulls" | "documents" | "make_set" | "make_bag" => return collect(aggregate, arguments, filter, order),
        "percentile" => {
            let percentile = arguments.remove(1);
            let value = arguments.remove(0);
            let kept = value.clone().is_not_null();
            let all = filtered(stock::array_agg(value), Some(filter.map_or(kept.clone(), |filter| kept.and(filter))))?;
            return Ok((all, Box::new(move |list| cast(ScalarUDF::from(Percentile::new()).call(vec![list, percentile]), arrow_type(ty)))));
        }
        "percentilew" | "percentiles_array" | "percentilesw_array" | "tdigest" | "tdigest_merge" | "hll" | "hll_merge" | "buildschema" => {
            return sketch(aggregate, arguments, filter);
        }
        other => return internal_err!("the binder let the aggregate {other} pass, which the engine does not run"),
    };
    Ok((filtered(value, filter)?, finish))
}

/// The accuracy of `dcount` and `hll`, by default Kusto's.
fn accuracy(aggregate: &Aggregate) -> i64 {
    match aggregate.arguments.get(1).and_then(|accuracy| accuracy.as_literal()) {
        Some(Value::Long(accuracy)) => *accuracy,
        Some(Value::Int(accuracy)) => i64::from(*accuracy),
        _ => 1,
    }
}

/// Digests and what is computed from all values: gathered as one JSON array, then made by a function of `sketches`; but `hll`,
/// whose sketch grows with the rows.
fn sketch(aggregate: &Aggregate, mut arguments: Vec<Expr>, filter: Option<Expr>) -> Result<(Expr, Finish)> {
    let types: Vec<ScalarType> = aggregate.arguments.iter().map(|argument| argument.ty).collect();
    let ty = aggregate.ty;
    let dynamic = |function: &'static str, types: Vec<ScalarType>, arguments: Vec<Expr>| udf::call(function, &types, ScalarType::Dynamic, arguments);
    // Times are counted in ticks.
    let number = |value: Expr, ty: ScalarType| match ty {
        ScalarType::DateTime | ScalarType::TimeSpan => (value, ScalarType::Long),
        _ => (value, ty),
    };
    let pair = |value: Expr, ty: ScalarType, weight: Expr, weight_type: ScalarType| {
        let (value, ty) = number(value, ty);
        let parts = vec![dynamic("as_dynamic", vec![ty], vec![value]), dynamic("as_dynamic", vec![weight_type], vec![weight])];
        dynamic("pack_array", vec![ScalarType::Dynamic; 2], parts)
    };
    let weighted = matches!(aggregate.function.as_str(), "percentilew" | "percentilesw_array") || aggregate.function == "tdigest" && arguments.len() > 1;
    let rest = arguments.split_off(if weighted { 2 } else { 1 });
    let present = arguments[0].clone().is_not_null();
    let present = Some(filter.map_or(present.clone(), |filter| present.and(filter)));
    let item = match aggregate.function.as_str() {
        "hll" => {
            let hash = udf::call("hash", &types[..1], ScalarType::Long, vec![arguments.remove(0)]);
            return Ok((filtered(dcount::hll(accuracy(aggregate)).call(vec![hash]), present)?, Box::new(|sketch| sketch)));
        }
        // Many documents are of one kind.
        "buildschema" => dynamic("schema_of", vec![ScalarType::Dynamic], vec![arguments.remove(0)]),
        "tdigest_merge" | "hll_merge" => arguments.remove(0),
        _ if weighted => pair(arguments.remove(0), types[0], arguments.remove(0), types[1]),
        _ => pair(arguments.remove(0), types[0], lit(1i64), ScalarType::Long),
    };
    let all = if aggregate.function == "buildschema" { make_set::make_set(Items::Json, usize::MAX).call(vec![item]) } else { stock::array_agg(item) };
    let all = filtered(all, present)?;
    let function = aggregate.function.clone();
    Ok((
        all,
        Box::new(move |list| {
            let list = ScalarUDF::from(JoinItems::new()).call(vec![list, lit(i64::MAX), lit(false), lit(false)]);
            let mut inputs = vec![list];
            let made = match function.as_str() {
                "percentilew" => {
                    inputs.extend(rest);
                    let value = udf::call("weighted_percentile", &[ScalarType::Dynamic, ScalarType::Real], ScalarType::Real, inputs);
                    return cast(value, arrow_type(ty));
                }
                "percentiles_array" | "percentilesw_array" => {
                    let asked = &types[types.len() - rest.len()..];
                    inputs.push(match asked {
                        [ScalarType::Dynamic] => rest.into_iter().next().unwrap_or_else(|| lit(ScalarValue::Null)),
                        _ => {
                            let parts = rest.into_iter().zip(asked).map(|(part, ty)| dynamic("as_dynamic", vec![*ty], vec![part])).collect();
                            dynamic("pack_array", vec![ScalarType::Dynamic; asked.len()], parts)
                        }
                    });
                    "percentile_array"
                }
                "tdigest" => "tdigest_of",
                "tdigest_merge" => "tdigest_merge_list",
                "hll_merge" => "hll_merge_list",
                _ => "schema_of_list",
            };
            udf::call(made, &vec![ScalarType::Dynamic; inputs.len()], ScalarType::Dynamic, inputs)
        }),
    ))
}

/// A real number as a whole one of the same order, where what is no number is beyond all others: both the least and the greatest
/// of values among which it is are NaN, says Kusto's emulator.
pub(crate) fn rank(value: Expr, function: &'static str) -> Expr {
    udf::call(function, &[ScalarType::Real], ScalarType::Long, vec![value])
}

fn of_rank(rank: Expr) -> Expr {
    udf::call("real_of_rank", &[ScalarType::Long], ScalarType::Real, vec![rank])
}

/// The aggregate over the rows that pass the filter. A builder would forget its order and `DISTINCT`.
fn filtered(mut aggregate: Expr, filter: Option<Expr>) -> Result<Expr> {
    match &mut aggregate {
        Expr::AggregateFunction(function) => function.params.filter = filter.map(Box::new),
        other => return internal_err!("{other} is not an aggregate"),
    }
    Ok(aggregate)
}

/// Strings of an empty group are empty, not null.
pub(crate) fn strings(ty: ScalarType) -> Finish {
    match ty {
        ScalarType::String => Box::new(|result| coalesce(vec![result, lit(ScalarValue::Utf8View(Some(String::new())))])),
        _ => Box::new(|result| result),
    }
}

/// Lists, sets and bags: JSON texts gathered by `array_agg`, then written as one document. `documents` is a list that
/// `make-series` makes, whose arrays stay arrays.
fn collect(aggregate: &Aggregate, mut arguments: Vec<Expr>, filter: Option<Expr>, order: &[Sort]) -> Result<(Expr, Finish)> {
    let value = arguments.remove(0);
    let ty = aggregate.arguments[0].ty;
    let most = match aggregate.arguments.get(1).and_then(|most| most.as_literal()) {
        Some(Value::Long(most)) => *most,
        Some(Value::Int(most)) => i64::from(*most),
        _ => 1_048_576,
    };
    let set = aggregate.function == "make_set";
    let is_json = ty == ScalarType::Dynamic || set && ty == ScalarType::String;
    let item = if is_json { value.clone() } else { udf::call("as_dynamic", &[ty], ScalarType::Dynamic, vec![value.clone()]) };
    // Only of typed values are nulls left out of a list, says Kusto's emulator.
    let keeps_nulls = matches!(aggregate.function.as_str(), "make_list_with_nulls" | "documents") || aggregate.function == "make_list" && ty == ScalarType::Dynamic;
    let present = (!keeps_nulls && ty != ScalarType::String).then(|| value.is_not_null());
    let kept = present.into_iter().chain(filter).reduce(Expr::and);
    let all = if set {
        let items = if ty == ScalarType::String { Items::Texts } else { Items::Json };
        // Arrays are taken apart later, and may be empty.
        let most = if ty == ScalarType::Dynamic { usize::MAX } else { usize::try_from(most).unwrap_or(usize::MAX) };
        make_set::make_set(items, most).call(vec![item])
    } else {
        let mut all = stock::array_agg(item);
        if let Expr::AggregateFunction(function) = &mut all {
            function.params.order_by = order.to_vec();
        }
        all
    };
    let all = filtered(all, kept)?;
    let bag = aggregate.function == "make_bag";
    let makes_list = aggregate.function.starts_with("make_list") && ty == ScalarType::Dynamic;
    Ok((
        all,
        Box::new(move |list| {
            let joined = ScalarUDF::from(JoinItems::new()).call(vec![list, lit(most), lit(set || makes_list), lit(set)]);
            if bag { udf::call("make_bag", &[ScalarType::Dynamic], ScalarType::Dynamic, vec![joined]) } else { joined }
        }),
    ))
}

/// `join_items(list, most, flatten, distinct)`: JSON texts as one array; null items are `null`, an absent list is `[]`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinItems {
    signature: Signature,
}

impl JoinItems {
    fn new() -> JoinItems {
        JoinItems { signature: Signature::any(4, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for JoinItems {
    fn name(&self) -> &str {
        "join_items"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (lists, most, flatten) = (arrays[0].as_list::<i32>(), arrays[1].as_primitive::<arrow::datatypes::Int64Type>(), arrays[2].as_boolean());
        let distinct = arrays[3].as_boolean();
        let mut builder = StringViewBuilder::with_capacity(lists.len());
        let mut out = String::new();
        for row in 0..lists.len() {
            out.clear();
            out.push('[');
            if lists.is_valid(row) {
                let items = arrow::compute::cast(&lists.value(row), &DataType::Utf8View)?;
                let items = items.as_string_view();
                let most = usize::try_from(most.value(row)).unwrap_or(usize::MAX);
                // A set or list of arrays is that of their elements.
                if flatten.value(row) && items.iter().flatten().any(|item| item.starts_with('[')) {
                    let mut seen: Vec<String> = Vec::new();
                    for item in items.iter().map(|item| item.unwrap_or("null")) {
                        let inner = match json::array(item) {
                            Some(inner) => inner.iter().map(json::write).collect(),
                            None => vec![item.to_owned()],
                        };
                        for text in inner {
                            if !distinct.value(row) || !seen.contains(&text) {
                                seen.push(text);
                            }
                        }
                    }
                    seen.truncate(most);
                    out.push_str(&seen.join(","));
                } else {
                    for (at, item) in items.iter().take(most).enumerate() {
                        if at > 0 {
                            out.push(',');
                        }
                        out.push_str(item.unwrap_or("null"));
                    }
                }
            }
            out.push(']');
            builder.append_value(&out);
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

/// `percentile(list, p)`: the value at nearest rank, over all values. Kusto docs: `percentiles-aggregation-function`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    signature: Signature,
}

impl Percentile {
    fn new() -> Percentile {
        Percentile { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Percentile {
    fn name(&self) -> &str {
        "percentile_of_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(element), _] => Ok(element.data_type().clone()),
            other => internal_err!("a percentile of {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (lists, percentiles) = (arrays[0].as_list::<i32>(), arrays[1].as_primitive::<Float64Type>());
        let mut chosen = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let sorted = arrow::compute::sort(&lists.value(row), None)?;
            let rank = (percentiles.value(row) / 100.0 * sorted.len() as f64).ceil() as usize;
            let at = rank.saturating_sub(1).min(sorted.len().saturating_sub(1));
            chosen.push(if lists.is_null(row) || sorted.is_empty() { ScalarValue::try_from(sorted.data_type())? } else { ScalarValue::try_from_array(&sorted, at)? });
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(chosen)?))
    }
}
