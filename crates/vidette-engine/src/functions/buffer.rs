//! Shapes grown by a distance, and shapes with fewer corners. Kusto docs: `geo-point-buffer-function`,
//! `geo-line-buffer-function`, `geo-polygon-buffer-function`, `geo-polygon-simplify-function`,
//! `geo-simplify-polygons-array-function`.

use super::geospatial::{EARTH_RADIUS, Polygon, Vector, lines, point, polygons};
use super::overlay::{TOO_WIDE, every, reordered, show_polygons, united};
use super::{ScalarFunction, rows, simplify};
use crate::cells::{Cell, Out};
use std::f64::consts::{PI, TAU};

const DEFAULT_TOLERANCE: f64 = 10.0;
pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("geo_point_buffer", |a| match (point(a, 0), Reach::of(a, 2)) {
        (Some(point), Some(reach)) => show_polygons(&[Polygon { rings: vec![reach.circle(point)] }]),
        _ => Out::Null,
    }),
    rows("geo_line_buffer", |a| match (lines(a[0]), Reach::of(a, 1)) {
        (Some(lines), Some(reach)) => shown(reach.around(&lines)),
        _ => Out::Null,
    }),
    rows("geo_polygon_buffer", |a| match (polygons(a[0]), Reach::of(a, 1)) {
        (Some(polygons), Some(reach)) => shown(reach.grown(polygons)),
        _ => Out::Null,
    }),
    rows("geo_polygon_simplify", |a| with_fewer_corners(polygons(a[0]), a.get(1))),
    rows("geo_simplify_polygons_array", |a| with_fewer_corners(every(a[0], polygons), a.get(1))),
];

fn shown(polygons: Option<Vec<Polygon>>) -> Out {
    polygons.map_or(Out::Refused(TOO_WIDE), |polygons| show_polygons(&polygons))
}

/// A distance around a shape, and how far from it the answer may be; both as angles.
pub(super) struct Reach {
    radius: f64,
    tolerance: f64,
}

/// The outline of what is near a shape, as S2 walks it, and the areas between it and the shape.
#[derive(Default)]
struct Outline {
    paths: Vec<Vec<Vector>>,
    areas: Vec<Polygon>,
}

impl Reach {
    /// Radius and tolerance in metres, at `at` and behind it.
    pub(super) fn of(a: &[Cell], at: usize) -> Option<Reach> {
        const FINEST: f64 = 1e-6;
        let radius = a[at].real().filter(|radius| *radius > 0.0 && *radius < PI / 2.0 * EARTH_RADIUS)?;
        let tolerance = a.get(at + 1).map_or(Some(DEFAULT_TOLERANCE), |cell| cell.real()).filter(|tolerance| *tolerance >= FINEST * radius)?;
        Some(Reach { radius: radius / EARTH_RADIUS, tolerance: tolerance.min(radius * 0.999) / EARTH_RADIUS })
    }

    /// How far two points of a circle of this radius may be apart, seen from its center, so that the edge between them
    /// stays within the tolerance.
    fn step(&self, radius: f64) -> f64 {
        (2.0 * ((radius - self.tolerance).tan() / radius.tan()).acos()).min(TAU / 3.0)
    }

    fn offset(&self, from: Vector, direction: Vector) -> Vector {
        from.along(direction, self.radius)
    }

    fn circle(&self, center: Vector) -> Vec<Vector> {
        let steps = (TAU / self.step(self.radius)).ceil();
        let start = center.any_normal();
        let side = center.cross(start).unit();
        let mut ring: Vec<Vector> = (0..steps as usize).map(|step| self.offset(center, start.along(side, TAU * step as f64 / steps))).collect();
        ring.push(ring[0]);
        ring
    }

    /// Counterclockwise around a corner from one direction until before another.
    fn arc(&self, corner: Vector, start: Vector, end: Vector) -> Vec<Vector> {
        let side = corner.cross(start).unit();
        let span = start.angle(end);
        let step = self.step(self.radius);
        (0..).map(|n| n as f64 * step).take_while(|angle| *angle == 0.0 || *angle < span).map(|angle| self.offset(corner, start.along(side, angle))).collect()
    }

    /// What an edge adds on its right: beside a long one the equidistant line is no great circle.
    fn side(&self, from: Vector, to: Vector, outline: &mut Outline) {
        let normal = right(from, to);
        let span = from.angle(to);
        let step = self.step(PI / 2.0 - self.radius);
        let along = from.cross(normal).unit().times(-1.0);
        let mut path: Vec<Vector> =
            (0..).map(|n| n as f64 * step).take_while(|angle| *angle == 0.0 || *angle < span).map(|angle| self.offset(from.along(along, angle), normal)).collect();
        let last = self.offset(to, normal);
        let area = [from].into_iter().chain(path.iter().copied()).chain([last, to, from]).collect();
        outline.areas.push(Polygon { rings: vec![area] });
        outline.path().append(&mut path);
    }

    /// What a corner adds between two directions.
    fn corner(&self, corner: Vector, start: Vector, end: Vector, outline: &mut Outline) {
        let mut path = self.arc(corner, start, end);
        let last = self.offset(corner, end);
        if path.len() > 1 || !path[0].is_at(last) {
            let area = [corner].into_iter().chain(path.iter().copied()).chain([last, corner]).collect();
            outline.areas.push(Polygon { rings: vec![area] });
        }
        outline.path().append(&mut path);
    }

    /// What the corner `b` between two edges adds on the right.
    fn turn(&self, [a, b, c]: [Vector; 3], outline: &mut Outline) {
        if a.normal(b).dot(c) >= 0.0 {
            self.corner(b, right(a, b), right(b, c), outline);
        } else {
            outline.path().extend([self.offset(b, right(a, b)), b]);
        }
    }

    fn around_ring(&self, ring: &[Vector], outline: &mut Outline) {
        let corners = &ring[..ring.len() - 1];
        let corner = |at: usize| corners[at % corners.len()];
        outline.paths.push(Vec::new());
        for at in 0..corners.len() {
            self.side(corner(at), corner(at + 1), outline);
            self.turn([corner(at), corner(at + 1), corner(at + 2)], outline);
        }
    }

    fn around_line(&self, line: &[Vector], outline: &mut Outline) {
        let mut line = line.to_vec();
        line.dedup();
        outline.paths.push(Vec::new());
        for back in [false, true] {
            let (start, second) = (line[0], line[1]);
            if !back {
                self.corner(start, right(start, second).times(-1.0), right(start, second), outline);
            }
            for edge in line.windows(3) {
                self.side(edge[0], edge[1], outline);
                self.turn([edge[0], edge[1], edge[2]], outline);
            }
            let (before, end) = (line[line.len() - 2], line[line.len() - 1]);
            self.side(before, end, outline);
            if !back {
                self.corner(end, right(before, end), right(before, end).times(-1.0), outline);
            }
            line.reverse();
        }
    }

    /// What is near lines.
    pub(super) fn around(&self, lines: &[Vec<Vector>]) -> Option<Vec<Polygon>> {
        let mut outline = Outline::default();
        lines.iter().for_each(|line| self.around_line(line, &mut outline));
        outline.filled()
    }

    /// Polygons, united, and what is near them.
    pub(super) fn grown(&self, polygons: Vec<Polygon>) -> Option<Vec<Polygon>> {
        let polygons = united(polygons)?;
        let mut outline = Outline::default();
        polygons.iter().flat_map(|polygon| &polygon.rings).for_each(|ring| self.around_ring(ring, &mut outline));
        outline.areas.extend(polygons);
        outline.filled()
    }
}

impl Outline {
    fn path(&mut self) -> &mut Vec<Vector> {
        if self.paths.is_empty() {
            self.paths.push(Vec::new());
        }
        let last = self.paths.len() - 1;
        &mut self.paths[last]
    }

    /// The areas united, their rings beginning where the walk began.
    fn filled(mut self) -> Option<Vec<Polygon>> {
        for path in &mut self.paths {
            path.push(path[0]);
        }
        reordered(united(self.areas)?, &self.paths)
    }
}

/// The direction to the right of an edge.
fn right(from: Vector, to: Vector) -> Vector {
    to.normal(from).unit()
}

fn with_fewer_corners(polygons: Option<Vec<Polygon>>, tolerance: Option<&Cell>) -> Out {
    let tolerance = tolerance.map_or(Some(DEFAULT_TOLERANCE), |cell| cell.real()).filter(|metres| (0.0..=simplify::MOST_TOLERANCE).contains(metres));
    let Some((polygons, tolerance)) = polygons.zip(tolerance) else { return Out::Null };
    let Some(polygons) = united(polygons) else { return Out::Refused(TOO_WIDE) };
    let fewer = if tolerance > 0.0 { simplify::polygons(&polygons, tolerance / EARTH_RADIUS) } else { polygons };
    if fewer.is_empty() { Out::Null } else { shown(united(fewer)) }
}
