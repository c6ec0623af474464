//! Straight lines on the map as great circles, within a tolerance. Kusto docs: `geo-line-densify-function`,
//! `geo-polygon-densify-function`.

use super::geospatial::{EARTH_RADIUS, Vector, document, lines, pair, polygons};
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json;
use serde_json::{Value, json};

/// Where on an edge S2 compares the two curves, and what of the tolerance may be used up there.
const COMPARED_AT: f64 = 0.312_156_910_822_482_8;
const SHARE: f64 = 0.838_299_925_698_885_1;
/// As many points Kusto allows.
const MOST_POINTS: usize = 10_485_760;
const ANTIMERIDIAN: &str = "edges that cross the antimeridian are not preserved";

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("geo_line_densify", |a| {
        if lines(a[0]).is_none() {
            return Out::Null;
        }
        densify(a, |shape| match shape["type"].as_str() {
            Some("LineString") => vec![&mut shape["coordinates"]],
            _ => shape["coordinates"].as_array_mut().into_iter().flatten().collect(),
        })
    }),
    rows("geo_polygon_densify", |a| {
        if polygons(a[0]).is_none() {
            return Out::Null;
        }
        densify(a, |shape| {
            let deep = shape["type"].as_str() == Some("MultiPolygon");
            let parts: Vec<&mut Value> = shape["coordinates"].as_array_mut().into_iter().flatten().collect();
            if deep { parts.into_iter().filter_map(Value::as_array_mut).flatten().collect() } else { parts }
        })
    }),
];

/// The shape with every chain of coordinates densified; arguments: shape, tolerance, preserve crossing.
fn densify(a: &[Cell], chains: impl FnOnce(&mut Value) -> Vec<&mut Value>) -> Out {
    if a.get(2) == Some(&Cell::Bool(true)) {
        return Out::Refused(ANTIMERIDIAN);
    }
    let tolerance = a.get(1).map_or(Some(10.0), |cell| cell.real());
    let Some(tolerance) = tolerance.filter(|tolerance| (0.1..=10_000.0).contains(tolerance)) else { return Out::Null };
    let Some(mut shape) = a[0].json().and_then(json::parse) else { return Out::Null };
    for chain in chains(&mut shape) {
        let place = |pair: &Value| Some((pair.get(0)?.as_f64()?, pair.get(1)?.as_f64()?));
        let Some(places) = chain.as_array().and_then(|pairs| pairs.iter().map(place).collect::<Option<Vec<_>>>()) else { return Out::Null };
        // From the sphere to the map, as S2's projection has them.
        let places: Vec<(f64, f64)> = places.into_iter().map(|place| Vector::at(place).degrees()).collect();
        let mut dense: Vec<Vector> = places.first().map(|place| Vector::at(*place)).into_iter().collect();
        for edge in places.windows(2) {
            split(edge[0], edge[1], SHARE * tolerance / EARTH_RADIUS, &mut dense);
        }
        if dense.len() > MOST_POINTS {
            return Out::Null;
        }
        *chain = Value::Array(dense.into_iter().map(|point| pair(point.degrees())).collect());
    }
    document(json!({"type": shape["type"].take(), "coordinates": shape["coordinates"].take()}))
}

/// Appends the end of the edge, and before it what its halves need.
fn split(from: (f64, f64), to: (f64, f64), tolerance: f64, dense: &mut Vec<Vector>) {
    // The shorter way round.
    let to = match to.0 - from.0 {
        way if way > 180.0 => (to.0 - 360.0, to.1),
        way if way < -180.0 => (to.0 + 360.0, to.1),
        _ => to,
    };
    if dense.len() > MOST_POINTS || error(from, to) <= tolerance {
        dense.push(Vector::at(to));
        return;
    }
    let middle = between(from, to, 0.5);
    split(from, middle, tolerance, dense);
    split(middle, to, tolerance, dense);
}

fn between(from: (f64, f64), to: (f64, f64), at: f64) -> (f64, f64) {
    ((1.0 - at) * from.0 + at * to.0, (1.0 - at) * from.1 + at * to.1)
}

/// Radians between the straight line and the great circle.
fn error(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (a, b) = (Vector::at(from), Vector::at(to));
    if a.dot(b) < -1e-14 {
        return f64::INFINITY;
    }
    let angle = a.angle(b);
    let on_circle = |at: f64| if angle == 0.0 { a } else { a.times(((1.0 - at) * angle).sin()).plus(b.times((at * angle).sin())).unit() };
    [COMPARED_AT, 1.0 - COMPARED_AT].into_iter().map(|at| on_circle(at).angle(Vector::at(between(from, to, at)))).fold(0.0, f64::max)
}
