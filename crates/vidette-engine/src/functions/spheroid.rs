//! Distances on the WGS-84 spheroid, by Karney's geodesics. Kusto docs: `geo-distance-2points-function`,
//! `geo-line-locate-point-function`, where `use_spheroid` is true.

use crate::cells::Cell;
use geo::{Distance, Geodesic, InterpolatePoint, Point};

/// Whether the optional argument at `at` asks for the spheroid.
pub(super) fn asked_for(a: &[Cell], at: usize) -> bool {
    a.get(at).is_some_and(|cell| *cell == Cell::Bool(true) || cell.real().is_some_and(|number| number != 0.0))
}

/// Metres between two places, as longitude and latitude in degrees.
pub(super) fn distance(from: (f64, f64), to: (f64, f64)) -> f64 {
    Geodesic.distance(Point::from(from), Point::from(to))
}

/// How far along the line its point nearest to `place` is, 0 to 1; null of a line without length.
pub(super) fn locate(line: &[(f64, f64)], place: (f64, f64)) -> Option<f64> {
    let mut best = (f64::INFINITY, 0.0);
    let mut before = 0.0;
    for edge in line.windows(2) {
        let length = distance(edge[0], edge[1]);
        let (away, ratio) = nearest(edge[0], edge[1], place);
        if away < best.0 {
            best = (away, before + ratio * length);
        }
        before += length;
    }
    (before > 0.0).then(|| best.1 / before)
}

/// How far a place is from an edge, and where on it the nearest point lies, 0 to 1: an end, or the one least distance between
/// them, by golden section.
fn nearest(from: (f64, f64), to: (f64, f64), place: (f64, f64)) -> (f64, f64) {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    // Hundredths of a millimetre of the longest edge.
    const PRECISION: f64 = 1e-12;
    let away = |ratio: f64| distance(Geodesic.point_at_ratio_between(Point::from(from), Point::from(to), ratio).into(), place);
    let (mut low, mut high) = (0.0, 1.0);
    let (mut left, mut right) = (1.0 - GOLDEN, GOLDEN);
    let (mut at_left, mut at_right) = (away(left), away(right));
    while high - low > PRECISION {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - GOLDEN * (high - low);
            at_left = away(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + GOLDEN * (high - low);
            at_right = away(right);
        }
    }
    [0.0, 1.0, low.midpoint(high)].into_iter().map(|ratio| (away(ratio), ratio)).fold((f64::INFINITY, 0.0), |best, next| if next.0 < best.0 { next } else { best })
}
