//! Lowering of the relational operators, a file each.

mod aggregate;
mod join;
mod mv_expand;
mod pass;
mod project;
mod scan;
mod session;
mod sort;
mod source;
mod union;
mod wide;
mod window;

pub(crate) use mv_expand::elements_in_text;
pub(crate) use pass::{Output, Planner, Table};
pub(crate) use wide::{FilterInputs, inputs as wide_inputs};

use datafusion::logical_expr::ScalarUDF;

/// The helper functions of operators, by their names in plans.
pub(crate) fn helper(name: &str) -> Option<ScalarUDF> {
    Some(match name {
        "elements" => ScalarUDF::from(mv_expand::Elements::new()),
        "indices" => ScalarUDF::from(mv_expand::Indices::new()),
        "stay_here" => ScalarUDF::from(project::StayHere::new()),
        _ => return None,
    })
}
