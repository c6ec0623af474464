//! Unions and intersections of shapes on the sphere. Kusto docs: `geo-union-polygons-array-function`,
//! `geo-union-lines-array-function`, `geo-intersection-2polygons-function`, `geo-intersection-2lines-function`,
//! `geo-intersection-line-with-polygon-function`.
//!
//! A gnomonic chart turns great circles into straight lines, so that the plane's algorithms (`geo`, `i_overlay`) are
//! exact; what comes back is put on the corners and crossings it came from. Loops begin where S2 has them begin: after
//! the piece of the last of the edges given.

use super::geospatial::{Polygon, Vector, document, lines, nearest, pair, polygons};
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json;
use geo::{Area, BooleanOps, Coord, LineString, MultiLineString, MultiPolygon};
use s2::cellid::CellID;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) const TOO_WIDE: &str = "shapes that together reach beyond a hemisphere are not combined";
/// How far a point may be from what it came from, in parts of the chart's extent: the plane's grid is finer.
const GRID: f64 = 4e-9;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("geo_union_polygons_array", |a| match every(a[0], polygons) {
        Some(all) => united(all).map_or(Out::Refused(TOO_WIDE), |polygons| show(&polygons, &[], &[])),
        None => Out::Null,
    }),
    rows("geo_intersection_2polygons", |a| match (polygons(a[0]), polygons(a[1])) {
        (Some(first), Some(second)) => match (united(first), united(second)) {
            (Some(first), Some(second)) => meet(&first, &second),
            _ => Out::Refused(TOO_WIDE),
        },
        _ => Out::Null,
    }),
    rows("geo_union_lines_array", |a| match every(a[0], lines) {
        Some(lines) => show(&[], &joined(&lines), &[]),
        None => Out::Null,
    }),
    rows("geo_intersection_2lines", |a| match (lines(a[0]), lines(a[1])) {
        (Some(first), Some(second)) => crossings(&first, &second),
        _ => Out::Null,
    }),
    rows("geo_intersection_line_with_polygon", |a| match (lines(a[0]), polygons(a[1])) {
        (Some(lines), Some(polygons)) => match united(polygons) {
            Some(polygons) => clipped(&lines, &polygons),
            None => Out::Refused(TOO_WIDE),
        },
        _ => Out::Null,
    }),
];

/// The shapes of an array, if each is one and there is one.
pub(super) fn every<T>(cell: Cell, read: impl Fn(Cell) -> Option<Vec<T>>) -> Option<Vec<T>> {
    let Value::Array(items) = json::parse(cell.json()?)? else { return None };
    let all: Option<Vec<Vec<T>>> = items.iter().map(|item| read(Cell::Json(&json::write(item)))).collect();
    all.map(|all| all.into_iter().flatten().collect::<Vec<T>>()).filter(|all| !all.is_empty())
}

/// A plane that touches the sphere amid the shapes.
struct Chart {
    axes: [Vector; 3],
    tolerance: f64,
}

impl Chart {
    /// `None` when the points do not fit on one.
    fn over(points: impl Iterator<Item = Vector> + Clone) -> Option<Chart> {
        const EDGE: f64 = 0.02;
        let center = points.clone().fold(Vector::default(), Vector::plus).unit();
        let east = center.any_normal();
        let mut chart = Chart { axes: [east, center.cross(east), center], tolerance: 0.0 };
        if points.clone().any(|point| point.dot(center) < EDGE) {
            return None;
        }
        chart.tolerance = GRID * points.map(|point| chart.place(point)).fold(1e-9, |most: f64, at| most.max(at.x.abs()).max(at.y.abs()));
        Some(chart)
    }

    fn place(&self, point: Vector) -> Coord<f64> {
        let [x, y, z] = self.axes.map(|axis| point.dot(axis));
        Coord { x: x / z, y: y / z }
    }

    fn point(&self, at: Coord<f64>) -> Vector {
        let [east, north, center] = self.axes;
        center.plus(east.times(at.x)).plus(north.times(at.y)).unit()
    }

    fn line(&self, points: &[Vector]) -> LineString<f64> {
        points.iter().map(|point| self.place(*point)).collect()
    }

    /// Polygons with the corners of others where these lie on their edges, so that both run through the same places.
    fn plane(&self, polygons: &[Polygon], others: &[Polygon]) -> MultiPolygon<f64> {
        let mut corners: Vec<(f64, Vector)> = chains(others).flatten().map(|corner| (self.place(*corner).x, *corner)).collect();
        corners.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let ring = |ring: &Vec<Vector>| {
            let mut points: Vec<Vector> = ring.first().copied().into_iter().collect();
            for edge in ring.windows(2) {
                let [from, to] = [edge[0], edge[1]].map(|end| self.place(end).x);
                let (left, right) = (from.min(to) - self.tolerance, from.max(to) + self.tolerance);
                let beside = &corners[corners.partition_point(|(x, _)| *x < left)..];
                let on = |corner: &Vector| nearest(*corner, edge[0], edge[1]).is_at(*corner) && !edge.iter().any(|end| end.is_at(*corner));
                let mut between: Vec<Vector> = beside.iter().take_while(|(x, _)| *x <= right).map(|(_, corner)| *corner).filter(on).collect();
                between.sort_by(|a, b| edge[0].angle(*a).total_cmp(&edge[0].angle(*b)));
                points.extend(between);
                points.push(edge[1]);
            }
            self.line(&points)
        };
        polygons.iter().map(|polygon| geo::Polygon::new(ring(&polygon.rings[0]), polygon.rings[1..].iter().map(ring).collect())).collect()
    }
}

/// The edges that shapes were given with, in their order; found again by their corners.
struct Origin<'c> {
    chart: &'c Chart,
    edges: Vec<[Vector; 2]>,
    corners: HashMap<(i64, i64), Vec<usize>>,
}

impl<'c> Origin<'c> {
    fn of<'v>(chart: &'c Chart, chains: impl Iterator<Item = &'v Vec<Vector>>) -> Origin<'c> {
        let mut origin = Origin { chart, edges: Vec::new(), corners: HashMap::new() };
        for edge in chains.flat_map(|chain| chain.windows(2)) {
            for end in edge {
                origin.corners.entry(origin.square(chart.place(*end))).or_default().push(origin.edges.len());
            }
            origin.edges.push([edge[0], edge[1]]);
        }
        origin
    }

    fn square(&self, at: Coord<f64>) -> (i64, i64) {
        let side = 4.0 * self.chart.tolerance;
        ((at.x / side).floor() as i64, (at.y / side).floor() as i64)
    }

    fn is_near(&self, at: Coord<f64>, point: Vector) -> bool {
        let place = self.chart.place(point);
        (at.x - place.x).hypot(at.y - place.y) <= self.chart.tolerance
    }

    /// The given corner at this place.
    fn corner(&self, at: Coord<f64>) -> Option<(Vector, Vec<usize>)> {
        let (x, y) = self.square(at);
        let around = (x - 1..=x + 1).flat_map(|x| (y - 1..=y + 1).map(move |y| (x, y)));
        let near = around.filter_map(|square| self.corners.get(&square)).flatten().copied();
        let here: BTreeSet<usize> = near.filter(|edge| self.edges[*edge].iter().any(|end| self.is_near(at, *end))).collect();
        let first = self.edges[*here.first()?];
        let corner = if self.is_near(at, first[0]) { first[0] } else { first[1] };
        Some((corner, here.into_iter().collect()))
    }

    /// The first of the given edges that a piece between two places lies on.
    fn edge(&self, from: Coord<f64>, to: Coord<f64>, candidates: Option<&[usize]>) -> Option<usize> {
        let on = |edge: usize| {
            let ends = self.edges[edge].map(|end| self.chart.place(end));
            let slack = 2.0 * self.chart.tolerance;
            [from, to].into_iter().all(|at| {
                let (part, off, length) = beside(ends, at);
                off <= slack && (-slack..=length + slack).contains(&part)
            })
        };
        match candidates {
            Some(some) => some.iter().copied().find(|edge| on(*edge)),
            None => (0..self.edges.len()).find(|edge| on(*edge)),
        }
    }

    /// The chain with the given corners on its straight pieces: the plane's algorithms leave them out.
    fn with_corners(&self, chain: &LineString<f64>) -> LineString<f64> {
        let mut places: Vec<Coord<f64>> = chain.0.first().copied().into_iter().collect();
        for piece in chain.0.windows(2) {
            let (mut at, end) = (piece[0], piece[1]);
            let between = |at: Coord<f64>, place: Coord<f64>| {
                let (part, off, length) = beside([at, end], place);
                let apart = 4.0 * self.chart.tolerance;
                off <= self.chart.tolerance && part > apart && part < length - apart
            };
            while let Some((_, edges)) = self.corner(at) {
                let ends = edges.iter().flat_map(|edge| self.edges[*edge]).map(|end| self.chart.place(end));
                let Some(next) = ends.into_iter().find(|place| between(at, *place)) else { break };
                places.push(next);
                at = next;
            }
            places.push(end);
        }
        LineString::new(places)
    }

    /// A chain of the plane as what it came from: corners and crossings of edges, and the edge of each piece.
    fn restore(&self, chain: &LineString<f64>) -> (Vec<Vector>, Vec<usize>) {
        let chain = self.with_corners(chain);
        let corners: Vec<_> = chain.0.iter().map(|at| self.corner(*at)).collect();
        let edges: Vec<Option<usize>> = chain
            .0
            .windows(2)
            .zip(corners.windows(2))
            .map(|(ends, corners)| {
                let known = corners.iter().flatten().map(|(_, edges)| &edges[..]).next();
                self.edge(ends[0], ends[1], known).or_else(|| self.edge(ends[0], ends[1], None))
            })
            .collect();
        let crossing = |at: usize| {
            // A ring's first piece comes after its last.
            let around = |piece: Option<usize>, other: usize| piece.filter(|piece| *piece < edges.len()).unwrap_or(if chain.is_closed() { other } else { at.min(edges.len() - 1) });
            let (before, after) = (around(at.checked_sub(1), edges.len() - 1), around(Some(at), 0));
            let point = self.chart.point(chain.0[at]);
            let [first, second] = [edges[before]?, edges[after]?].map(|edge| self.edges[edge][0].normal(self.edges[edge][1]).unit());
            let across = first.cross(second).unit();
            [across, across.times(-1.0)].into_iter().find(|across| self.is_near(chain.0[at], *across) && across.dot(point) > 0.0)
        };
        let point = |at: usize| corners[at].as_ref().map(|(corner, _)| *corner).or_else(|| crossing(at)).unwrap_or_else(|| self.chart.point(chain.0[at]));
        let points = (0..chain.0.len()).map(point).collect();
        (points, edges.into_iter().map(|edge| edge.unwrap_or(usize::MAX)).collect())
    }

    /// A ring in S2's order: its last edge is the last given one, and of its pieces in a row the last. `None` when it
    /// encloses nothing but what rounding left.
    fn ring(&self, ring: &LineString<f64>) -> Option<(usize, Vec<Vector>)> {
        let (mut points, mut edges) = self.restore(&self.without_specks(ring)?);
        points.pop();
        // S2 finds a loop from its first corner along the Hilbert curve.
        let start = (0..points.len()).min_by_key(|at| CellID::from(points[*at].to_s2())).unwrap_or(0);
        points.rotate_left(start);
        edges.rotate_left(start);
        let (mut last, mut gap) = (0, false);
        for at in 1..edges.len() {
            match edges[at].cmp(&edges[last]) {
                std::cmp::Ordering::Less => gap = true,
                std::cmp::Ordering::Equal if gap => {}
                _ => (last, gap) = (at, false),
            }
        }
        let first = (last + 1) % edges.len();
        points.rotate_left(first);
        edges.rotate_left(first);
        points.push(points[0]);
        Some((edges[0], points))
    }

    /// The ring without pieces too short to be any; `None` when it is no wider than the grid.
    fn without_specks(&self, ring: &LineString<f64>) -> Option<LineString<f64>> {
        let apart = |a: &Coord<f64>, b: &Coord<f64>| (a.x - b.x).hypot(a.y - b.y) > self.chart.tolerance;
        let mut places: Vec<Coord<f64>> = Vec::with_capacity(ring.0.len());
        for place in &ring.0 {
            if places.last().is_none_or(|last| apart(last, place)) {
                places.push(*place);
            }
        }
        let first = *places.first()?;
        while places.len() > 1 && places.last().is_some_and(|last| !apart(last, &first)) {
            places.pop();
        }
        places.push(first);
        let ring = geo::Polygon::new(LineString::new(places), Vec::new());
        let length: f64 = ring.exterior().lines().map(|line| line.dx().hypot(line.dy())).sum();
        (ring.unsigned_area() > self.chart.tolerance * length).then(|| ring.into_inner().0)
    }

    fn polygons(&self, plane: &MultiPolygon<f64>) -> Vec<Polygon> {
        let mut all: Vec<(usize, Polygon)> = plane
            .iter()
            .filter_map(|polygon| {
                let (first, exterior) = self.ring(polygon.exterior())?;
                let mut holes: Vec<_> = polygon.interiors().iter().filter_map(|hole| self.ring(hole)).collect();
                holes.sort_by_key(|(first, _)| *first);
                Some((first, Polygon { rings: std::iter::once(exterior).chain(holes.into_iter().map(|(_, hole)| hole)).collect() }))
            })
            .collect();
        all.sort_by_key(|(first, _)| *first);
        all.into_iter().map(|(_, polygon)| polygon).collect()
    }
}

/// How far along a line from its first end a place is, how far off it, and how long the line is.
fn beside([from, to]: [Coord<f64>; 2], at: Coord<f64>) -> (f64, f64, f64) {
    let (along, length) = ((to.x - from.x, to.y - from.y), (to.x - from.x).hypot(to.y - from.y));
    let (x, y) = (at.x - from.x, at.y - from.y);
    ((x * along.0 + y * along.1) / length, ((x * along.1 - y * along.0) / length).abs(), length)
}

fn chains(polygons: &[Polygon]) -> impl Iterator<Item = &Vec<Vector>> + Clone {
    polygons.iter().flat_map(|polygon| &polygon.rings)
}

/// What any of the polygons covers; `None` when they reach too far. Like S2 it unites the two simplest, again and again.
pub(super) fn united(polygons: Vec<Polygon>) -> Option<Vec<Polygon>> {
    let mut waiting: BTreeMap<(usize, usize), Vec<Polygon>> = BTreeMap::new();
    let size = |polygons: &[Polygon]| chains(polygons).map(|ring| ring.len() - 1).sum::<usize>();
    let mut given = 0..;
    for polygon in polygons {
        let one = vec![polygon];
        waiting.insert((size(&one), given.next()?), one);
    }
    while waiting.len() > 1 {
        let ((some, first), (more, second)) = (waiting.pop_first()?, waiting.pop_first()?);
        let chart = Chart::over(chains(&first).chain(chains(&second)).flatten().copied())?;
        let origin = Origin::of(&chart, chains(&first).chain(chains(&second)));
        let union = origin.polygons(&chart.plane(&first, &second).union(&chart.plane(&second, &first)));
        // S2 takes the sum of the corners for those of the union.
        waiting.insert((some.0 + more.0, given.next()?), union);
    }
    waiting.pop_first().map(|(_, union)| union)
}

/// The polygons with their rings in the order of the paths they were cut from.
pub(super) fn reordered(polygons: Vec<Polygon>, paths: &[Vec<Vector>]) -> Option<Vec<Polygon>> {
    let chart = Chart::over(chains(&polygons).chain(paths).flatten().copied())?;
    Some(Origin::of(&chart, paths.iter()).polygons(&chart.plane(&polygons, &[])))
}

/// What both cover: areas, the edges they share, the corners at which they only touch.
fn meet(first: &[Polygon], second: &[Polygon]) -> Out {
    let both = || chains(first).chain(chains(second));
    let Some(chart) = Chart::over(both().flatten().copied()) else { return Out::Refused(TOO_WIDE) };
    let areas = Origin::of(&chart, both()).polygons(&chart.plane(first, second).intersection(&chart.plane(second, first)));
    let (shared, points) = contacts(chains(first), chains(second));
    let covered: Vec<Vec<Vector>> = chains(&areas).cloned().collect();
    let apart = |point: &Vector| !covered.iter().flatten().any(|corner| corner.is_at(*point));
    let shared: Vec<Vec<Vector>> = shared.into_iter().filter(|edge| edge.iter().any(apart)).collect();
    let points: Vec<Vector> = points.into_iter().filter(apart).filter(|point| !shared.iter().flatten().any(|end| end.is_at(*point))).collect();
    show(&areas, &joined(&shared), &points)
}

/// Where the chains of two shapes run together, and the points at which they cross or touch.
fn contacts<'v>(first: impl Iterator<Item = &'v Vec<Vector>>, second: impl Iterator<Item = &'v Vec<Vector>> + Clone) -> (Vec<Vec<Vector>>, Vec<Vector>) {
    let (mut shared, mut points): (Vec<Vec<Vector>>, Vec<Vector>) = (Vec::new(), Vec::new());
    for a in first.flat_map(|chain| chain.windows(2)) {
        for b in second.clone().flat_map(|chain| chain.windows(2)) {
            let on = |edge: &[Vector], point: &Vector| nearest(*point, edge[0], edge[1]).is_at(*point);
            let mut common: Vec<Vector> = Vec::new();
            for point in b.iter().filter(|point| on(a, point)).chain(a.iter().filter(|point| on(b, point))) {
                if !common.iter().any(|known| known.is_at(*point)) {
                    common.push(*point);
                }
            }
            match common[..] {
                [] => {}
                [point] => points.push(point),
                // In the direction of the first.
                [from, to, ..] if a[0].dot(from) < a[0].dot(to) => shared.push(vec![to, from]),
                [from, to, ..] => shared.push(vec![from, to]),
            }
        }
    }
    points.sort_by(|a, b| a.degrees().partial_cmp(&b.degrees()).unwrap_or(std::cmp::Ordering::Equal));
    points.dedup_by(|a, b| a.is_at(*b));
    (shared, points)
}

fn crossings(first: &[Vec<Vector>], second: &[Vec<Vector>]) -> Out {
    let (shared, mut points) = contacts(first.iter(), second.iter());
    for a in first.iter().flat_map(|line| line.windows(2)) {
        for b in second.iter().flat_map(|line| line.windows(2)) {
            let (normal, other) = (a[0].normal(a[1]), b[0].normal(b[1]));
            let sides = [normal.dot(b[0]) * normal.dot(b[1]), other.dot(a[0]) * other.dot(a[1])];
            let across = normal.unit().cross(other.unit()).unit();
            let across = if across.dot(a[0].plus(a[1])) < 0.0 { across.times(-1.0) } else { across };
            let touches = a.iter().chain(b).any(|end| end.is_at(across));
            if sides[0] < 0.0 && sides[1] < 0.0 && a[0].plus(a[1]).dot(b[0].plus(b[1])) > 0.0 && !touches {
                points.push(across);
            }
        }
    }
    points.retain(|point| !shared.iter().flatten().any(|end| end.is_at(*point)));
    show(&[], &joined(&shared), &points)
}

fn clipped(lines: &[Vec<Vector>], polygons: &[Polygon]) -> Out {
    let both = || lines.iter().chain(chains(polygons));
    let Some(chart) = Chart::over(both().flatten().copied()) else { return Out::Refused(TOO_WIDE) };
    let whole = MultiLineString::new(lines.iter().map(|line| chart.line(line)).collect());
    let origin = Origin::of(&chart, both());
    let mut inside: Vec<(usize, Vec<Vector>)> = Vec::new();
    for piece in chart.plane(polygons, &[]).clip(&whole, false) {
        let (points, edges) = origin.restore(&piece);
        // Where a line crosses itself it gets no corner.
        let straight = |at: usize| at > 0 && edges.get(at).is_some_and(|edge| edges[at - 1] == *edge) && origin.corner(chart.place(points[at])).is_none();
        let mut points: Vec<Vector> = (0..points.len()).filter(|at| !straight(*at)).map(|at| points[at]).collect();
        let first = edges.first().copied().unwrap_or(usize::MAX);
        // In the direction of the line.
        if let Some(edge) = origin.edges.get(first)
            && edge[0].minus(edge[1]).dot(points[0].minus(points[1])) < 0.0
        {
            points.reverse();
        }
        inside.push((first, points));
    }
    inside.sort_by(|(a, first), (b, second)| {
        let along = |edge: usize, point: Vector| origin.edges.get(edge).map_or(0.0, |ends| ends[0].angle(point));
        a.cmp(b).then(along(*a, first[0]).total_cmp(&along(*b, second[0])))
    });
    let mut inside: Vec<Vec<Vector>> = inside.into_iter().map(|(_, points)| points).collect();
    let (border, points) = contacts(lines.iter(), chains(polygons));
    inside.extend(border);
    let alone = |point: &Vector| !inside.iter().any(|line| line.windows(2).any(|edge| nearest(*point, edge[0], edge[1]).is_at(*point)));
    let points: Vec<Vector> = points.into_iter().filter(alone).collect();
    show(&[], &joined(&inside), &points)
}

/// Lines without what they repeat, joined where one ends and the next begins.
fn joined(lines: &[Vec<Vector>]) -> Vec<Vec<Vector>> {
    let mut corners: Vec<Vector> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut all: Vec<Vec<Vector>> = Vec::new();
    let mut numbers: HashMap<[i64; 3], usize> = HashMap::new();
    for edge in lines.iter().flat_map(|line| line.windows(2)) {
        let [from, to] = [edge[0], edge[1]].map(|end| {
            *numbers.entry(end.grid()).or_insert_with(|| {
                corners.push(end);
                corners.len() - 1
            })
        });
        if from == to || !seen.insert((from.min(to), from.max(to))) {
            continue;
        }
        let (from, to) = (corners[from], corners[to]);
        if let Some(line) = all.iter_mut().rev().find(|line| line.last() == Some(&from)) {
            line.push(to);
        } else if let Some(line) = all.iter_mut().find(|line| line[0] == to) {
            line.insert(0, from);
        } else {
            all.push(vec![from, to]);
        }
    }
    all
}

/// One shape, or a collection of them; an empty one without any.
fn show(polygons: &[Polygon], lines: &[Vec<Vector>], points: &[Vector]) -> Out {
    let chain = |points: &Vec<Vector>| Value::Array(points.iter().map(|point| pair(point.degrees())).collect());
    let mut shapes: Vec<Value> = Vec::new();
    let mut add = |name: &str, mut parts: Vec<Value>| match parts.len() {
        0 => {}
        1 => shapes.push(json!({"type": name, "coordinates": parts.remove(0)})),
        _ => shapes.push(json!({"type": format!("Multi{name}"), "coordinates": parts})),
    };
    add("Point", points.iter().map(|point| pair(point.degrees())).collect());
    add("LineString", lines.iter().map(chain).collect());
    add("Polygon", polygons.iter().map(|polygon| polygon.rings.iter().map(chain).collect()).collect());
    if shapes.len() == 1 { document(shapes.remove(0)) } else { document(json!({"type": "GeometryCollection", "geometries": shapes})) }
}

/// A polygon or several.
pub(super) fn show_polygons(polygons: &[Polygon]) -> Out {
    if polygons.is_empty() { Out::Null } else { show(polygons, &[], &[]) }
}
