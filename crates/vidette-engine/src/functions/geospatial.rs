//! Points, lines and polygons on the sphere. Kusto docs: `scalar-functions`, "Geospatial
//! functions". Edges are great circles on a sphere with the Earth's mean radius, as in S2.

use super::overlay::{TOO_WIDE, united};
use super::{ScalarFunction, rows, simplify, spheroid};
use crate::cells::{Cell, Out};
use crate::json::{self, from_f64};
use serde_json::{Value, json};

/// Metres.
pub(super) const EARTH_RADIUS: f64 = 6_371_010.0;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("geo_distance_2points", |a| match (position(a, 0), position(a, 2)) {
        (Some(from), Some(to)) if spheroid::asked_for(a, 4) => Out::Real(spheroid::distance(from, to)),
        (Some(from), Some(to)) => Out::Real(Vector::at(from).angle(Vector::at(to)) * EARTH_RADIUS),
        _ => Out::Null,
    }),
    rows("geo_azimuth", |a| match (point(a, 0), point(a, 2)) {
        (Some(from), Some(to)) if from != to && !from.antipodal(to) => Out::Real(azimuth(from, to)),
        _ => Out::Null,
    }),
    rows("geo_angle", |a| match (point(a, 0), point(a, 2), point(a, 4)) {
        (Some(first), Some(middle), Some(last)) if first != middle && middle != last && !first.antipodal(middle) && !middle.antipodal(last) => {
            Out::Real((azimuth(middle, last) - azimuth(middle, first)).rem_euclid(std::f64::consts::TAU))
        }
        _ => Out::Null,
    }),
    rows("geo_point_in_circle", |a| match (point(a, 0), point(a, 2), a[4].real()) {
        (Some(inner), Some(center), Some(radius)) if radius > 0.0 => Out::Bool(inner.angle(center) * EARTH_RADIUS <= radius),
        _ => Out::Null,
    }),
    rows("geo_point_in_polygon", |a| match (point(a, 0), polygons(a[2])) {
        (Some(point), Some(polygons)) => Out::Bool(polygons.iter().any(|polygon| polygon.contains(point))),
        _ => Out::Null,
    }),
    rows("geo_distance_point_to_line", |a| match (point(a, 0), lines(a[2])) {
        (Some(point), Some(lines)) => Out::from(closest(point, &lines).map(|near| near.angle(point) * EARTH_RADIUS)),
        _ => Out::Null,
    }),
    rows("geo_distance_point_to_polygon", |a| match (point(a, 0), polygons(a[2])) {
        (Some(point), Some(polygons)) if polygons.iter().any(|polygon| polygon.contains(point)) => Out::Real(0.0),
        (Some(point), Some(polygons)) => Out::from(closest(point, &rings(&polygons)).map(|near| near.angle(point) * EARTH_RADIUS)),
        _ => Out::Null,
    }),
    rows("geo_closest_point_on_line", |a| match (point(a, 0), lines(a[2])) {
        (Some(point), Some(lines)) => closest(point, &lines).map_or(Out::Null, show_point),
        _ => Out::Null,
    }),
    rows("geo_closest_point_on_polygon", |a| match (point(a, 0), polygons(a[2])) {
        (Some(point), Some(polygons)) if polygons.iter().any(|polygon| polygon.contains(point)) => show_point(point),
        (Some(point), Some(polygons)) => closest(point, &rings(&polygons)).map_or(Out::Null, show_point),
        _ => Out::Null,
    }),
    rows("geo_line_length", |a| Out::from(lines(a[0]).map(|lines| lines.iter().map(|line| length(line)).sum::<f64>() * EARTH_RADIUS))),
    rows("geo_polygon_perimeter", |a| on_polygons(a[0], |polygons| Out::Real(rings(polygons).iter().map(|ring| length(ring)).sum::<f64>() * EARTH_RADIUS))),
    rows("geo_polygon_area", |a| on_polygons(a[0], |polygons| Out::Real(polygons.iter().map(Polygon::area).sum::<f64>() * EARTH_RADIUS * EARTH_RADIUS))),
    rows("geo_polygon_centroid", |a| on_polygons(a[0], |polygons| show_point(polygons.iter().map(Polygon::centroid).fold(Vector::default(), Vector::plus).unit()))),
    rows("geo_line_centroid", |a| match lines(a[0]) {
        Some(lines) => {
            // S2 weighs an edge by its chord.
            let parts = lines.iter().flat_map(|line| line.windows(2)).map(|edge| edge[0].plus(edge[1]).unit().times(edge[1].minus(edge[0]).length()));
            show_point(parts.fold(Vector::default(), Vector::plus).unit())
        }
        None => Out::Null,
    }),
    rows("geo_line_interpolate_point", |a| match (lines(a[0]), a[1].real()) {
        (Some(lines), Some(fraction)) if lines.len() == 1 && (0.0..=1.0).contains(&fraction) => show_point(along(&lines[0], fraction * length(&lines[0]))),
        _ => Out::Null,
    }),
    rows("geo_line_locate_point", |a| match (lines(a[0]), position(a, 1)) {
        (Some(lines), Some(place)) if lines.len() == 1 && spheroid::asked_for(a, 3) => {
            let line: Vec<(f64, f64)> = lines[0].iter().map(|point| point.degrees()).collect();
            Out::from(spheroid::locate(&line, place))
        }
        (Some(lines), Some(place)) if lines.len() == 1 => Out::Real(locate(&lines[0], Vector::at(place)) / length(&lines[0])),
        _ => Out::Null,
    }),
    rows("geo_line_simplify", |a| {
        let tolerance = a.get(1).map_or(Some(10.0), |cell| cell.real());
        match (lines(a[0]), tolerance) {
            (Some(lines), Some(tolerance)) if tolerance > 0.0 && tolerance <= simplify::MOST_TOLERANCE => {
                let simple = simplify::lines(&lines, tolerance / EARTH_RADIUS);
                if simple.is_empty() { Out::Null } else { show_lines(&simple) }
            }
            _ => Out::Null,
        }
    }),
    rows("geo_intersects_2lines", |a| match (lines(a[0]), lines(a[1])) {
        (Some(first), Some(second)) => Out::Bool(crosses(&first, &second)),
        _ => Out::Null,
    }),
    rows("geo_intersects_line_with_polygon", |a| match (lines(a[0]), polygons(a[1])) {
        (Some(lines), Some(polygons)) => {
            let inside = lines.iter().any(|line| polygons.iter().any(|polygon| polygon.contains(line[0])));
            Out::Bool(inside || crosses(&lines, &rings(&polygons)))
        }
        _ => Out::Null,
    }),
    rows("geo_intersects_2polygons", |a| match (polygons(a[0]), polygons(a[1])) {
        (Some(first), Some(second)) => {
            let holds = |outer: &[Polygon], inner: &[Polygon]| inner.iter().any(|polygon| outer.iter().any(|outer| outer.contains(polygon.rings[0][0])));
            Out::Bool(holds(&first, &second) || holds(&second, &first) || crosses(&rings(&first), &rings(&second)))
        }
        _ => Out::Null,
    }),
    rows("geo_from_wkt", |a| from_wkt(&super::conversion::display(a[0])).map_or(Out::Null, |shape| Out::Text(json::write(&shape)))),
];

/// A point on the unit sphere, or any vector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Vector([f64; 3]);

impl Vector {
    /// A place, as longitude and latitude in degrees.
    pub(super) fn at((longitude, latitude): (f64, f64)) -> Vector {
        Vector::from_degrees(longitude, latitude)
    }

    pub(super) fn from_degrees(longitude: f64, latitude: f64) -> Vector {
        let (lng, lat) = (longitude.to_radians(), latitude.to_radians());
        Vector([lat.cos() * lng.cos(), lat.cos() * lng.sin(), lat.sin()])
    }

    pub(super) fn degrees(self) -> (f64, f64) {
        let [x, y, z] = self.0;
        (y.atan2(x).to_degrees(), z.atan2((x * x + y * y).sqrt()).to_degrees())
    }

    pub(super) fn dot(self, other: Vector) -> f64 {
        self.0.iter().zip(other.0).map(|(a, b)| a * b).sum()
    }

    pub(super) fn from_s2(point: s2::point::Point) -> Vector {
        Vector([point.0.x, point.0.y, point.0.z])
    }

    pub(super) fn to_s2(self) -> s2::point::Point {
        let [x, y, z] = self.0;
        s2::point::Point(s2::r3::vector::Vector { x, y, z })
    }

    /// A direction across this one, as S2 chooses it (`Ortho`).
    pub(super) fn any_normal(self) -> Vector {
        let mut other = [0.012, 0.0053, 0.00457];
        let largest = (0..3).max_by(|a, b| self.0[*a].abs().total_cmp(&self.0[*b].abs())).unwrap_or(0);
        other[(largest + 2) % 3] = 1.0;
        self.cross(Vector(other)).unit()
    }

    /// Whether it is the same point but for rounding.
    pub(super) fn is_at(self, other: Vector) -> bool {
        self.minus(other).length() < 1e-14
    }

    /// The same for points that are the same but for rounding.
    pub(super) fn grid(self) -> [i64; 3] {
        self.0.map(|n| (n * 1e13).round() as i64)
    }

    /// As far away as `angle` says, in a direction across this one.
    pub(super) fn along(self, direction: Vector, angle: f64) -> Vector {
        self.times(angle.cos()).plus(direction.times(angle.sin())).unit()
    }

    pub(super) fn cross(self, other: Vector) -> Vector {
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        Vector([b * z - c * y, c * x - a * z, a * y - b * x])
    }

    pub(super) fn plus(self, other: Vector) -> Vector {
        Vector([self.0[0] + other.0[0], self.0[1] + other.0[1], self.0[2] + other.0[2]])
    }

    pub(super) fn minus(self, other: Vector) -> Vector {
        self.plus(other.times(-1.0))
    }

    pub(super) fn times(self, factor: f64) -> Vector {
        Vector(self.0.map(|n| n * factor))
    }

    fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    pub(super) fn unit(self) -> Vector {
        let length = self.length();
        if length == 0.0 { self } else { self.times(1.0 / length) }
    }

    /// The cross product of two points on the sphere, exact also when they are near each other.
    pub(super) fn normal(self, other: Vector) -> Vector {
        self.plus(other).cross(other.minus(self)).times(0.5)
    }

    /// Whether one is the other's opposite, so that no line between them is the shortest.
    fn antipodal(self, other: Vector) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| (a + b).abs() < 1e-15)
    }

    /// Radians between two directions.
    pub(super) fn angle(self, other: Vector) -> f64 {
        self.normal(other).length().atan2(self.dot(other))
    }
}

/// A closed ring and its holes; the first point of a ring is also its last.
pub(super) struct Polygon {
    pub(super) rings: Vec<Vec<Vector>>,
}

impl Polygon {
    pub(super) fn contains(&self, point: Vector) -> bool {
        winds(&self.rings[0], point) && !self.rings[1..].iter().any(|hole| winds(hole, point))
    }

    /// Steradians.
    fn area(&self) -> f64 {
        excess(&self.rings[0]).abs() - self.rings[1..].iter().map(|hole| excess(hole).abs()).sum::<f64>()
    }

    /// The mean of its points, times its area.
    fn centroid(&self) -> Vector {
        let whole = |ring: &Vec<Vector>| if excess(ring) < 0.0 { moment(ring).times(-1.0) } else { moment(ring) };
        self.rings[1..].iter().map(whole).fold(whole(&self.rings[0]), |sum, hole| sum.minus(hole))
    }
}

/// Whether the ring goes around the point.
fn winds(ring: &[Vector], point: Vector) -> bool {
    if ring.iter().any(|corner| corner.angle(point) < 1e-15) {
        return true;
    }
    let turn: f64 = ring
        .windows(2)
        .map(|edge| {
            let (from, to) = (point.cross(edge[0]), point.cross(edge[1]));
            from.cross(to).dot(point).atan2(from.dot(to))
        })
        .sum();
    turn.abs() > std::f64::consts::PI && point.dot(ring.iter().copied().fold(Vector::default(), Vector::plus)) > 0.0
}

/// The signed area of a ring: the sum of its triangles, seen from its first point.
pub(super) fn excess(ring: &[Vector]) -> f64 {
    ring.windows(2)
        .map(|edge| {
            let (a, b, c) = (ring[0], edge[0], edge[1]);
            // Differences are exact where points are near to each other.
            2.0 * a.dot(b.minus(a).cross(c.minus(a))).atan2(1.0 + a.dot(b) + b.dot(c) + c.dot(a))
        })
        .sum()
}

/// The signed integral of position over a ring's inside: half the sum over edges of angle times normal.
fn moment(ring: &[Vector]) -> Vector {
    ring.windows(2).map(|edge| edge[0].normal(edge[1]).unit().times(edge[0].angle(edge[1]) / 2.0)).fold(Vector::default(), Vector::plus)
}

fn azimuth(from: Vector, to: Vector) -> f64 {
    let ((lng1, lat1), (lng2, lat2)) = (from.degrees(), to.degrees());
    let (lat1, lat2, turn) = (lat1.to_radians(), lat2.to_radians(), (lng2 - lng1).to_radians());
    (turn.sin() * lat2.cos()).atan2(lat1.cos() * lat2.sin() - lat1.sin() * lat2.cos() * turn.cos()).rem_euclid(std::f64::consts::TAU)
}

/// Radians.
fn length(line: &[Vector]) -> f64 {
    line.windows(2).map(|edge| edge[0].angle(edge[1])).sum()
}

/// The point of an edge that is nearest.
pub(super) fn nearest(point: Vector, from: Vector, to: Vector) -> Vector {
    let normal = from.normal(to);
    let foot = point.plus(normal.times(-point.dot(normal) / normal.dot(normal))).unit();
    let between = from.normal(foot).dot(normal) >= 0.0 && foot.normal(to).dot(normal) >= 0.0;
    match (between, from.angle(point) <= to.angle(point)) {
        (true, _) => foot,
        (false, true) => from,
        (false, false) => to,
    }
}

fn closest(point: Vector, lines: &[Vec<Vector>]) -> Option<Vector> {
    let near = lines.iter().flat_map(|line| line.windows(2)).map(|edge| nearest(point, edge[0], edge[1]));
    near.min_by(|a, b| a.angle(point).total_cmp(&b.angle(point)))
}

fn along(line: &[Vector], mut distance: f64) -> Vector {
    for edge in line.windows(2) {
        let angle = edge[0].angle(edge[1]);
        if distance <= angle {
            let tangent = edge[0].cross(edge[1]).cross(edge[0]).unit();
            return edge[0].times(distance.cos()).plus(tangent.times(distance.sin())).unit();
        }
        distance -= angle;
    }
    line[line.len() - 1]
}

/// How far along the line its point nearest to `point` is.
fn locate(line: &[Vector], point: Vector) -> f64 {
    let mut best = (f64::INFINITY, 0.0);
    let mut before = 0.0;
    for edge in line.windows(2) {
        let near = nearest(point, edge[0], edge[1]);
        if near.angle(point) < best.0 {
            best = (near.angle(point), before + edge[0].angle(near));
        }
        before += edge[0].angle(edge[1]);
    }
    best.1
}

/// Whether an edge of one meets an edge of the other.
pub(super) fn crosses(first: &[Vec<Vector>], second: &[Vec<Vector>]) -> bool {
    let on = |edge: &[Vector], point: &Vector| nearest(*point, edge[0], edge[1]).is_at(*point);
    let meet = |a: &[Vector], b: &[Vector]| {
        let (first, second) = (a[0].normal(a[1]), b[0].normal(b[1]));
        let sides = [first.dot(b[0]) * first.dot(b[1]), second.dot(a[0]) * second.dot(a[1])];
        // The edges' planes also cross on the other side of the sphere.
        if sides[0] < 0.0 && sides[1] < 0.0 {
            return a[0].plus(a[1]).dot(b[0].plus(b[1])) > 0.0;
        }
        b.iter().any(|end| on(a, end)) || a.iter().any(|end| on(b, end))
    };
    first.iter().flat_map(|line| line.windows(2)).any(|a| second.iter().flat_map(|line| line.windows(2)).any(|b| meet(a, b)))
}

/// Longitude and latitude, within their ranges.
pub(super) fn position(a: &[Cell], at: usize) -> Option<(f64, f64)> {
    let (longitude, latitude) = (a.get(at)?.real()?, a.get(at + 1)?.real()?);
    ((-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude)).then_some((longitude, latitude))
}

pub(super) fn point(a: &[Cell], at: usize) -> Option<Vector> {
    position(a, at).map(Vector::at)
}

fn coordinates(value: &Value) -> Option<Vec<Vector>> {
    let place = |pair: &Value| {
        let (longitude, latitude) = (pair.get(0)?.as_f64()?, pair.get(1)?.as_f64()?);
        ((-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude)).then(|| Vector::from_degrees(longitude, latitude))
    };
    value.as_array()?.iter().map(place).collect()
}

/// The lines of a `LineString` or `MultiLineString`; `None` when one is not a line.
pub(super) fn lines(cell: Cell) -> Option<Vec<Vec<Vector>>> {
    let shape = json::object(cell.json()?)?;
    let inner = shape.get("coordinates")?;
    let lines: Vec<Vec<Vector>> = match shape.get("type")?.as_str()? {
        "LineString" => vec![coordinates(inner)?],
        "MultiLineString" => inner.as_array()?.iter().map(coordinates).collect::<Option<_>>()?,
        _ => return None,
    };
    (!lines.is_empty() && lines.iter().all(|line| line.len() > 1 && length(line) > 0.0)).then_some(lines)
}

/// The polygons of a `Polygon` or `MultiPolygon`; `None` when one is not a polygon.
pub(super) fn polygons(cell: Cell) -> Option<Vec<Polygon>> {
    let shape = json::object(cell.json()?)?;
    let inner = shape.get("coordinates")?;
    let rings = |value: &Value| -> Option<Polygon> {
        let rings: Vec<Vec<Vector>> = value.as_array()?.iter().map(coordinates).collect::<Option<_>>()?;
        if rings.is_empty() || !rings.iter().all(|ring| is_ring(ring)) {
            return None;
        }
        // The inside is to the left of a shell and to the right of a hole.
        let turned = rings.into_iter().enumerate().map(|(at, mut ring)| {
            if (excess(&ring) < 0.0) == (at == 0) {
                ring.reverse();
            }
            ring
        });
        Some(Polygon { rings: turned.collect() })
    };
    match shape.get("type")?.as_str()? {
        "Polygon" => Some(vec![rings(inner)?]),
        "MultiPolygon" => inner.as_array().filter(|all| !all.is_empty())?.iter().map(rings).collect(),
        _ => None,
    }
}

/// At least a triangle that ends where it begins, without repeated corners.
fn is_ring(ring: &[Vector]) -> bool {
    let corners = &ring[..ring.len().saturating_sub(1)];
    corners.len() >= 3 && ring[0] == ring[ring.len() - 1] && !corners.iter().enumerate().any(|(at, corner)| corners[..at].contains(corner))
}

pub(super) fn rings(polygons: &[Polygon]) -> Vec<Vec<Vector>> {
    polygons.iter().flat_map(|polygon| polygon.rings.iter().cloned()).collect()
}

/// A measure of what polygons cover together.
fn on_polygons(cell: Cell, measure: impl FnOnce(&[Polygon]) -> Out) -> Out {
    match polygons(cell) {
        Some(polygons) if polygons.len() == 1 => measure(&polygons),
        Some(polygons) => united(polygons).map_or(Out::Refused(TOO_WIDE), |polygons| measure(&polygons)),
        None => Out::Null,
    }
}

pub(super) fn document(value: Value) -> Out {
    Out::Text(json::write(&value))
}

pub(super) fn pair((longitude, latitude): (f64, f64)) -> Value {
    json!([from_f64(longitude), from_f64(latitude)])
}

fn show_point(point: Vector) -> Out {
    document(json!({"type": "Point", "coordinates": pair(point.degrees())}))
}

pub(super) fn show_ring(corners: impl IntoIterator<Item = (f64, f64)>) -> Out {
    let ring: Vec<Value> = corners.into_iter().map(pair).collect();
    document(json!({"type": "Polygon", "coordinates": [ring]}))
}

fn show_lines(lines: &[Vec<Vector>]) -> Out {
    let all: Vec<Value> = lines.iter().map(|line| Value::Array(line.iter().map(|point| pair(point.degrees())).collect())).collect();
    match &all[..] {
        [only] => document(json!({"type": "LineString", "coordinates": only})),
        _ => document(json!({"type": "MultiLineString", "coordinates": all})),
    }
}

/// Well-known text to GeoJSON.
fn from_wkt(text: &str) -> Option<Value> {
    let text = text.trim();
    let open = text.find('(')?;
    // How deep the points stand.
    let (name, depth) = match text[..open].trim().to_ascii_uppercase().as_str() {
        "POINT" => ("Point", 0),
        "LINESTRING" => ("LineString", 1),
        "POLYGON" => ("Polygon", 2),
        "MULTIPOINT" => ("MultiPoint", 1),
        "MULTILINESTRING" => ("MultiLineString", 2),
        "MULTIPOLYGON" => ("MultiPolygon", 3),
        "GEOMETRYCOLLECTION" => {
            let inner = text[open + 1..].trim_end().strip_suffix(')')?;
            let shapes: Option<Vec<Value>> = split_shapes(inner).into_iter().map(from_wkt).collect();
            return Some(json!({"type": "GeometryCollection", "geometries": shapes?}));
        }
        _ => return None,
    };
    let mut rest = &text[open..];
    let mut value = nested(&mut rest, 0)?;
    match name {
        "Point" => {
            let points = value.as_array_mut().filter(|points| points.len() == 1)?;
            value = points.remove(0);
        }
        // Each of its points may have parentheses of its own, and mostly has.
        "MultiPoint" => {
            for point in value.as_array_mut()?.iter_mut().filter(|point| point[0].is_array()) {
                let inner = point.as_array_mut().filter(|inner| inner.len() == 1)?.remove(0);
                *point = inner;
            }
        }
        _ => {}
    }
    (rest.trim().is_empty() && stands_at(&value, depth)).then(|| json!({"type": name, "coordinates": value}))
}

/// Whether points, and only points, stand so deep.
fn stands_at(value: &Value, depth: usize) -> bool {
    match depth {
        0 => value.as_array().is_some_and(|point| point.iter().all(Value::is_number)),
        _ => value.as_array().is_some_and(|inner| inner.iter().all(|inner| stands_at(inner, depth - 1))),
    }
}

/// The shapes of a collection: cut at commas outside parentheses.
fn split_shapes(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .collect()
}

/// `(1 2, 3 4)` or `((…), (…))` as arrays.
fn nested(rest: &mut &str, depth: usize) -> Option<Value> {
    const DEPTH_LIMIT: usize = 4;
    *rest = rest.trim_start().strip_prefix('(').filter(|_| depth < DEPTH_LIMIT)?;
    let mut items = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.starts_with('(') {
            items.push(nested(rest, depth + 1)?);
        } else {
            let end = rest.find([',', ')'])?;
            let numbers: Option<Vec<Value>> = rest[..end].split_whitespace().map(|number| number.parse().ok().map(from_f64)).collect();
            items.push(Value::Array(numbers.filter(|numbers| numbers.len() == 2)?));
            *rest = &rest[end..];
        }
        *rest = rest.trim_start();
        match rest.chars().next()? {
            ',' => *rest = &rest[1..],
            ')' => {
                *rest = &rest[1..];
                return Some(Value::Array(items));
            }
            _ => return None,
        }
    }
}
