//! The scalar functions and operators that run, by the families of the Kusto docs page `scalar-functions`.
//!
//! A row is the registration: a name of the language and how it runs. Signatures are the language's own
//! (`vidette_kql::SCALAR_FUNCTIONS`); by the time a row is asked, every argument has the type it wants.

mod binary;
mod buffer;
mod captures;
mod conditional;
mod conversion;
mod datetime;
mod densify;
mod dynamic;
mod geospatial;
mod grids;
mod hash;
mod ip;
mod joined;
mod key_values;
mod marks;
mod mathematical;
mod needle;
mod operators;
mod overlay;
mod parsing;
mod prefixes;
mod series;
mod series_analysis;
mod simplify;
mod sketches;
mod spans;
mod spheroid;
mod string;
mod term_lists;
mod term_starts;
mod terms;
pub(crate) mod udf;
mod units;
mod user_agents;
mod xml;

pub(crate) use captures::only_captures;
pub(crate) use conversion::{display, shown};
pub use ip::use_geoip;
pub(crate) use parsing::json_path;
pub(crate) use sketches::Hll;

use crate::cells::{Cell, Out};
use arrow::array::ArrayRef;
use datafusion::common::Result;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};
use std::collections::HashMap;
use std::sync::LazyLock;
use vidette_kql::ScalarType;

/// How a function runs.
#[derive(Clone, Copy)]
pub enum Body {
    /// As stock expressions, which the optimizer sees into.
    Stock(fn(&[ScalarType], Vec<Expr>) -> Expr),
    /// A kernel that takes one row's values.
    Rows(fn(&[Cell]) -> Out),
    /// A kernel that takes whole columns.
    Batch(fn(&[udf::Argument], usize) -> Result<ArrayRef>),
}

pub struct ScalarFunction {
    pub name: &'static str,
    pub body: Body,
}

const fn stock(name: &'static str, body: fn(&[ScalarType], Vec<Expr>) -> Expr) -> ScalarFunction {
    ScalarFunction { name, body: Body::Stock(body) }
}

const fn rows(name: &'static str, body: fn(&[Cell]) -> Out) -> ScalarFunction {
    ScalarFunction { name, body: Body::Rows(body) }
}

const fn batch(name: &'static str, body: fn(&[udf::Argument], usize) -> Result<ArrayRef>) -> ScalarFunction {
    ScalarFunction { name, body: Body::Batch(body) }
}

/// Every family, in the order of the docs page.
const FAMILIES: &[&[ScalarFunction]] = &[
    operators::FUNCTIONS,
    terms::FUNCTIONS,
    binary::FUNCTIONS,
    conversion::FUNCTIONS,
    datetime::FUNCTIONS,
    dynamic::FUNCTIONS,
    conditional::FUNCTIONS,
    mathematical::FUNCTIONS,
    hash::FUNCTIONS,
    string::FUNCTIONS,
    parsing::FUNCTIONS,
    captures::FUNCTIONS,
    ip::FUNCTIONS,
    series::FUNCTIONS,
    series_analysis::FUNCTIONS,
    units::FUNCTIONS,
    sketches::FUNCTIONS,
    geospatial::FUNCTIONS,
    grids::FUNCTIONS,
    densify::FUNCTIONS,
    overlay::FUNCTIONS,
    buffer::FUNCTIONS,
];

/// Functions that need the row's neighbours: lowered to window expressions by `operators::window`.
pub(crate) const WINDOW_FUNCTIONS: &[&str] = &["prev", "next", "row_number", "row_cumsum", "row_rank_dense", "row_rank_min", "row_window_session"];

/// Functions that the binder rewrites away.
const BOUND_AWAY: &[&str] = &["column_ifexists", "column_names_of", "pack_all", "bag_pack_columns", "bin_auto", "ingestion_time", "now", "ago"];

static BY_NAME: LazyLock<HashMap<&'static str, &'static ScalarFunction>> =
    LazyLock::new(|| FAMILIES.iter().flat_map(|family| family.iter()).map(|function| (function.name, function)).collect());

pub(crate) fn find(name: &str) -> Option<&'static ScalarFunction> {
    BY_NAME.get(name).copied()
}

/// The kernel that a function runs row by row.
pub(crate) fn row(name: &str) -> Option<fn(&[Cell]) -> Out> {
    match find(name)?.body {
        Body::Rows(body) => Some(body),
        _ => None,
    }
}

/// The aggregate behind a name in a plan, as [`function`].
pub fn aggregate_function(name: &str) -> Option<AggregateUDF> {
    crate::aggregates::by_name(name)
}

/// The function behind a name in a plan, such as `has(string,string):bool`: what a reader of serialized plans asks for.
pub fn function(name: &str) -> Option<ScalarUDF> {
    udf::Kernel::from_name(name)
        .map(ScalarUDF::from)
        .or_else(|| captures::by_name(name))
        .or_else(|| crate::operators::helper(name))
        .or_else(|| crate::aggregates::helper(name))
        .or_else(|| crate::table::helper(name))
        .or_else(|| crate::nested::helper(name))
}

/// Whether a function of the language runs.
pub fn runs(name: &str) -> bool {
    BY_NAME.contains_key(name) || WINDOW_FUNCTIONS.contains(&name) || BOUND_AWAY.contains(&name)
}
