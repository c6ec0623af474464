//! Binary functions. Kusto docs: `scalar-functions`, "Binary functions".

use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("binary_and", |a| both(a, |l, r| l & r)),
    rows("binary_or", |a| both(a, |l, r| l | r)),
    rows("binary_xor", |a| both(a, |l, r| l ^ r)),
    rows("binary_not", |a| Out::from(a[0].long().map(|n| !n))),
    rows("binary_shift_left", |a| shift(a, |n, by| n << by)),
    rows("binary_shift_right", |a| shift(a, |n, by| n >> by)),
    rows("bitset_count_ones", |a| Out::from(a[0].long().map(|n| i64::from(n.count_ones())))),
];

/// By the second number modulo 64; by a negative one it is null.
fn shift(cells: &[Cell], shifted: fn(i64, i64) -> i64) -> Out {
    match (cells[0].long(), cells[1].long()) {
        (Some(number), Some(by)) if by >= 0 => Out::Long(shifted(number, by % 64)),
        _ => Out::Null,
    }
}

fn both(cells: &[Cell], combine: fn(i64, i64) -> i64) -> Out {
    match (cells[0].long(), cells[1].long()) {
        (Some(left), Some(right)) => Out::Long(combine(left, right)),
        _ => Out::Null,
    }
}
