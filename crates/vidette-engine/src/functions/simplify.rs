//! Lines and polygons with fewer corners. Kusto docs: `geo-line-simplify-function`, `geo-polygon-simplify-function`,
//! `geo-simplify-polygons-array-function`. Which corners stay is told by none of them; these are those that stay in S2, whose
//! builder the documented words and bounds are of: corners are snapped to some of them, then chains of edges become one edge
//! where it passes near each corner of the chain and keeps away from all others.

mod view;

use super::geospatial::{Polygon, Vector, excess, nearest};
use std::collections::{BTreeSet, HashSet};
use std::f64::consts::{FRAC_PI_2, TAU};
use view::View;

/// In metres.
pub(super) const MOST_TOLERANCE: f64 = 7_800_000.0;

/// The lines with fewer corners; the radius in radians. A line that becomes a point is left out.
pub(super) fn lines(lines: &[Vec<Vector>], radius: f64) -> Vec<Vec<Vector>> {
    let simplifier = Simplifier::of(lines.iter(), radius);
    let mut edges = simplifier.edges();
    edges.sort_by_key(|edge| edge.place);
    let mut found: Vec<Vec<usize>> = Vec::new();
    for edge in &edges {
        match found.last_mut() {
            Some(line) if line.last() == Some(&edge.from) => line.push(edge.to),
            _ => found.push(vec![edge.from, edge.to]),
        }
    }
    found.iter().map(|line| line.iter().map(|site| simplifier.sites[*site]).collect()).collect()
}

/// The polygons with fewer corners, some of them perhaps joined.
pub(super) fn polygons(polygons: &[Polygon], radius: f64) -> Vec<Polygon> {
    // What a ring bounds is on its left.
    let turned = |at: usize, ring: &Vec<Vector>| if (excess(ring) > 0.0) == (at == 0) { ring.clone() } else { ring.iter().rev().copied().collect() };
    let rings: Vec<Vec<Vector>> = polygons.iter().flat_map(|polygon| polygon.rings.iter().enumerate().map(|(at, ring)| turned(at, ring))).collect();
    let simplifier = Simplifier::of(rings.iter(), radius);
    let rings: Vec<Vec<Vector>> = simplifier.loops().into_iter().map(|ring| ring.iter().map(|site| simplifier.sites[*site]).collect()).collect();
    let (shells, holes): (Vec<Vec<Vector>>, Vec<Vec<Vector>>) = rings.into_iter().partition(|ring| excess(ring) > 0.0);
    let mut found: Vec<Polygon> = shells.into_iter().map(|shell| Polygon { rings: vec![shell] }).collect();
    for hole in holes {
        if let Some(around) = found.iter_mut().find(|polygon| polygon.contains(hole[0])) {
            around.rings.push(hole);
        }
    }
    found
}

/// An edge between two sites.
struct Edge {
    from: usize,
    to: usize,
    /// The given edges that it was.
    of: Vec<usize>,
    /// Of the first of its parts among all.
    place: usize,
}

struct Simplifier {
    radius: f64,
    points: Vec<Vector>,
    /// Pairs of points.
    given: Vec<[usize; 2]>,
    /// Points that others are snapped to.
    sites: Vec<Vector>,
    /// Of each given edge the sites near it, from its start on.
    near: Vec<Vec<usize>>,
}

/// How much farther than a corner the middle of an edge may move.
const DEVIATION: f64 = 1.1;
/// The distance that edges keep from other sites, of the radius.
const APART: f64 = 0.5;

impl Simplifier {
    fn of<'l>(chains: impl Iterator<Item = &'l Vec<Vector>>, radius: f64) -> Simplifier {
        let mut simplifier = Simplifier { radius, points: Vec::new(), given: Vec::new(), sites: Vec::new(), near: Vec::new() };
        for chain in chains {
            for edge in chain.windows(2).filter(|edge| edge[0] != edge[1]) {
                let at = simplifier.points.len();
                simplifier.points.extend(edge);
                simplifier.given.push([at, at + 1]);
            }
        }
        simplifier.choose_sites();
        simplifier.near = (0..simplifier.given.len()).map(|edge| simplifier.near_edge(edge)).collect();
        simplifier.add_sites();
        simplifier
    }

    fn ends(&self, edge: usize) -> [Vector; 2] {
        self.given[edge].map(|point| self.points[point])
    }

    /// Points along S2's curve, no two of them within the radius.
    fn choose_sites(&mut self) {
        let mut order: Vec<(u64, usize)> = self.points.iter().enumerate().map(|(at, point)| (s2::cellid::CellID::from(&point.to_s2()).0, at)).collect();
        order.sort_unstable();
        let least = chord(self.radius);
        for (_, at) in order {
            let point = self.points[at];
            if self.sites.iter().all(|site| apart(*site, point) > least) {
                self.sites.push(point);
            }
        }
    }

    fn near_edge(&self, edge: usize) -> Vec<usize> {
        let [from, to] = self.ends(edge);
        let mut near: Vec<usize> = (0..self.sites.len()).filter(|site| self.is_near(self.sites[*site], from, to)).collect();
        near.sort_by(|a, b| apart(from, self.sites[*a]).total_cmp(&apart(from, self.sites[*b])).then(a.cmp(b)));
        near
    }

    fn is_near(&self, site: Vector, from: Vector, to: Vector) -> bool {
        let reach = (DEVIATION + APART) * self.radius;
        // Most sites are far away, as a glance shows: an angle is no more than so many times its chord.
        apart(site, from).sqrt() <= reach + FRAC_PI_2 * apart(from, to).sqrt() && nearest(site, from, to).angle(site) <= reach
    }

    /// Where no site is near an edge, what it is snapped to may come near another site: a site on the edge keeps it away.
    fn add_sites(&mut self) {
        const MOST_ROUNDS: usize = 1_000;
        let mut waiting: BTreeSet<usize> = (0..self.given.len()).collect();
        for _ in 0..MOST_ROUNDS {
            if waiting.is_empty() {
                return;
            }
            for edge in std::mem::take(&mut waiting) {
                waiting.remove(&edge);
                for site in self.lacking(edge) {
                    let new = self.sites.len();
                    self.sites.push(site);
                    for other in 0..self.given.len() {
                        let [from, to] = self.ends(other);
                        if self.is_near(site, from, to) {
                            let place = self.near[other].partition_point(|known| apart(from, self.sites[*known]) < apart(from, site));
                            self.near[other].insert(place, new);
                            waiting.insert(other);
                        }
                    }
                }
            }
        }
    }

    /// The sites that keep what an edge is snapped to away from those beside it.
    fn lacking(&self, edge: usize) -> Vec<Vector> {
        let chain = self.snapped(edge);
        let along = Along::of(self.ends(edge), self.radius);
        let mut lacking = Vec::new();
        let mut passed = 0;
        let mut is_kept_away = false;
        for site in &self.near[edge] {
            if chain.get(passed) == Some(site) {
                passed += 1;
                is_kept_away = false;
            } else if let (true, Some(next)) = (passed > 0 && !is_kept_away, chain.get(passed)) {
                let (from, to) = (self.sites[chain[passed - 1]], self.sites[*next]);
                let site = self.sites[*site];
                if nearest(site, from, to).angle(site) < APART * self.radius {
                    let (least, most) = (along.covered(from).1, along.covered(to).0);
                    let place = along.place(nearest(site, along.from, along.to));
                    lacking.push(along.at(if place < least { least } else { place.min(most) }));
                    is_kept_away = true;
                }
            }
        }
        lacking
    }

    /// The sites that an edge is snapped to: those whose part of the sphere it goes through.
    fn snapped(&self, edge: usize) -> Vec<usize> {
        let ends @ [from, to] = self.ends(edge);
        let along = Along::of(ends, self.radius);
        let mut chain: Vec<usize> = Vec::new();
        for site in &self.near[edge] {
            let c = self.sites[*site];
            if nearest(c, from, to).angle(c) > self.radius {
                continue;
            }
            let mut is_passed = true;
            while let Some(last) = chain.last() {
                let b = self.sites[*last];
                let touch = |one: Vector, other: Vector| apart(one, other) < chord(2.0 * self.radius);
                if !touch(b, c) {
                    break;
                }
                let (of_b, of_c) = (along.covered(b), along.covered(c));
                // What is nearer to both ends is nearer to all between them.
                if apart(to, b) <= apart(to, c) || of_b.0 <= of_c.0 && of_c.1 <= of_b.1 {
                    is_passed = false;
                    break;
                }
                if of_c.0 <= of_b.0 && of_b.1 <= of_c.1 {
                    chain.pop();
                    continue;
                }
                let Some(a) = chain.len().checked_sub(2).map(|at| self.sites[chain[at]]).filter(|a| touch(*a, c)) else { break };
                let side = sign(from, to, b);
                let turn = sign(a, b, c);
                // Where the three parts meet, the part of the one amid them ends.
                let meeting = a.minus(b).cross(b.minus(c)).times(turn);
                if turn == side || from.normal(to).dot(meeting).signum() != side {
                    break;
                }
                chain.pop();
            }
            if is_passed {
                chain.push(*site);
            }
        }
        chain
    }

    /// The edges between sites, each chain of them as few edges.
    fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut points: Vec<Vec<Vector>> = vec![Vec::new(); self.sites.len()];
        for edge in 0..self.given.len() {
            let chain = self.snapped(edge);
            let (Some(first), Some(last)) = (chain.first(), chain.last()) else { continue };
            let [from, to] = self.ends(edge);
            points[*first].push(from);
            points[*last].push(to);
            for pair in chain.windows(2) {
                edges.push(Edge { from: pair[0], to: pair[1], of: vec![edge], place: edges.len() });
            }
        }
        edges.sort_by_key(|edge| (edge.from, edge.to));
        Chains::of(self, edges, points).fewer()
    }

    /// The rings of the edges, each from where its last given edge ends.
    fn loops(&self) -> Vec<Vec<usize>> {
        let mut edges = self.edges();
        edges.sort_by_key(|edge| (edge.from, edge.to));
        // An edge there and back bounds nothing.
        let mut left: Vec<Edge> = Vec::new();
        for edge in edges {
            match left.iter().position(|other| other.from == edge.to && other.to == edge.from) {
                Some(at) => drop(left.remove(at)),
                None => left.push(edge),
            }
        }
        let mut loops = Vec::new();
        while let Some(first) = left.pop() {
            let mut path = vec![first];
            while let Some(last) = path.last() {
                if let Some(start) = path.iter().position(|edge| edge.from == last.to) {
                    loops.push(path.split_off(start));
                    if path.is_empty() {
                        break;
                    }
                    continue;
                }
                let (before, here) = (self.sites[last.from], self.sites[last.to]);
                // Of several ways on the one farthest to the left.
                let turn = |edge: &Edge| {
                    let (back, on) = (here.cross(before), here.cross(self.sites[edge.to]));
                    here.dot(on.cross(back)).atan2(on.dot(back)).rem_euclid(TAU)
                };
                let next = (0..left.len()).filter(|at| left[*at].from == last.to).min_by(|a, b| turn(&left[*a]).total_cmp(&turn(&left[*b])));
                let Some(next) = next else { break };
                path.push(left.remove(next));
            }
        }
        let first = |edge: &Edge| edge.of.iter().min().copied().unwrap_or_default();
        let ring = |mut ring: Vec<Edge>| {
            let highest = ring.iter().map(first).max();
            // Of several together the last.
            let count = ring.len();
            let last = (0..count).rev().find(|at| Some(first(&ring[*at])) == highest && Some(first(&ring[(at + 1) % count])) != highest).unwrap_or(count - 1);
            ring.rotate_left((last + 1) % count);
            let mut sites: Vec<usize> = ring.iter().map(|edge| edge.from).collect();
            sites.push(sites[0]);
            (ring.iter().map(first).min(), sites)
        };
        let mut rings: Vec<_> = loops.into_iter().filter(|ring| ring.len() > 2).map(ring).collect();
        rings.sort();
        rings.into_iter().map(|(_, ring)| ring).collect()
    }
}

/// The line of an edge, by the angle from its start.
struct Along {
    from: Vector,
    to: Vector,
    normal: Vector,
    radius: f64,
}

impl Along {
    fn of([from, to]: [Vector; 2], radius: f64) -> Along {
        Along { from, to, normal: from.normal(to).unit(), radius }
    }

    fn place(&self, point: Vector) -> f64 {
        point.dot(self.normal.cross(self.from)).atan2(point.dot(self.from))
    }

    fn at(&self, place: f64) -> Vector {
        self.from.along(self.normal.cross(self.from), place)
    }

    /// From where to where it is within the radius of a site.
    fn covered(&self, site: Vector) -> (f64, f64) {
        let off = site.dot(self.normal).clamp(-1.0, 1.0).asin();
        let half = (self.radius.cos() / off.cos()).clamp(-1.0, 1.0).acos();
        (self.place(site) - half, self.place(site) + half)
    }
}

/// The squared length of a straight line through the sphere.
fn apart(a: Vector, b: Vector) -> f64 {
    let between = a.minus(b);
    between.dot(between)
}

fn chord(angle: f64) -> f64 {
    4.0 * (angle / 2.0).sin().powi(2)
}

/// On which side of the edge a point is: 1 on the left.
fn sign(from: Vector, to: Vector, point: Vector) -> f64 {
    from.normal(to).dot(point).signum()
}

/// Whether the ways to `a`, `b` and `c` are in this order around a point, against the clock.
fn ordered(a: Vector, b: Vector, c: Vector, around: Vector) -> bool {
    let turns = [sign(b, around, a) >= 0.0, sign(c, around, b) >= 0.0, sign(a, around, c) > 0.0];
    turns.into_iter().filter(|turn| *turn).count() >= 2
}

/// The graph of the edges between sites.
struct Chains<'s> {
    of: &'s Simplifier,
    /// By their ends.
    edges: Vec<Edge>,
    /// The points that were snapped to each site.
    points: Vec<Vec<Vector>>,
    /// The sites that may be passed without being a corner.
    interior: Vec<bool>,
    used: Vec<bool>,
    fewer: Vec<Edge>,
}

impl Chains<'_> {
    fn of(of: &Simplifier, edges: Vec<Edge>, points: Vec<Vec<Vector>>) -> Chains<'_> {
        // Of a site the edges in and out by the site at the other end: two of these, as many edges of each, as many in as out.
        let mut around: Vec<Vec<(usize, i64, i64)>> = vec![Vec::new(); of.sites.len()];
        for edge in &edges {
            for (here, there, out) in [(edge.from, edge.to, 1), (edge.to, edge.from, -1)] {
                match around[here].iter_mut().find(|(other, ..)| *other == there) {
                    Some((_, count, excess)) => (*count, *excess) = (*count + 1, *excess + out),
                    None => around[here].push((there, 1, out)),
                }
            }
        }
        let is_interior = |around: &Vec<(usize, i64, i64)>| match around[..] {
            [(_, one, out), (_, other, more)] => one == other && out + more == 0,
            _ => false,
        };
        let interior = around.iter().map(is_interior).collect();
        Chains { of, used: vec![false; edges.len()], edges, points, interior, fewer: Vec::new() }
    }

    fn fewer(mut self) -> Vec<Edge> {
        // First the chains with ends, then the rings.
        for rings in [false, true] {
            for at in 0..self.edges.len() {
                let Edge { from, to, .. } = self.edges[at];
                if !self.used[at] && (rings || !self.interior[from]) {
                    self.simplify(from, to);
                }
            }
        }
        self.fewer
    }

    /// The numbers of the edges from one site to another.
    fn between(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let start = self.edges.partition_point(|edge| (edge.from, edge.to) < (from, to));
        start..start + self.edges[start..].iter().take_while(|edge| (edge.from, edge.to) == (from, to)).count()
    }

    /// Follows a chain to where it ends, and puts one edge for as many as can be.
    fn simplify(&mut self, mut from: usize, mut to: usize) {
        let start = from;
        loop {
            let mut chain = vec![from];
            let mut passed: HashSet<usize> = HashSet::from([from]);
            let mut view = View::from(self.of.sites[from]);
            let may_grow = self.avoid(from, from, to, &mut passed, &mut view);
            let is_done = loop {
                chain.push(to);
                passed.insert(to);
                if !self.interior[to] || to == start {
                    break true;
                }
                let before = std::mem::replace(&mut from, to);
                let on = self.edges.partition_point(|edge| edge.from < from);
                let Some(next) = self.edges[on..].iter().take_while(|edge| edge.from == from).map(|edge| edge.to).find(|next| *next != before) else { break true };
                to = next;
                let grows = may_grow
                    && self.points[from].iter().all(|point| view.pass(*point, self.of.radius))
                    && self.avoid(chain[0], from, to, &mut passed, &mut view)
                    && view.sees(self.of.sites[to]);
                if !grows {
                    break false;
                }
            };
            self.put(&chain);
            if is_done {
                return;
            }
        }
    }

    /// Whether an edge from `start` on can keep away from the sites near the edge of a chain.
    fn avoid(&self, start: usize, from: usize, to: usize, passed: &mut HashSet<usize>, view: &mut View) -> bool {
        let site = |at: usize| self.of.sites[at];
        let far = apart(site(start), site(to));
        let longest = 2.0 * (self.of.radius.sin() / (DEVIATION * self.of.radius).sin()).acos();
        // A chain does not come back.
        if far < apart(site(start), site(from)) || far >= chord(longest) {
            return false;
        }
        let given = self.between(from, to).chain(self.between(to, from)).flat_map(|edge| self.edges[edge].of.iter());
        let Some(best) = given.min_by_key(|edge| self.of.near[**edge].len()) else { return false };
        for near in &self.of.near[*best] {
            let at = site(*near);
            if apart(site(start), at) >= far || !passed.insert(*near) {
                continue;
            }
            let is_left = if from == start { sign(site(from), site(to), at) > 0.0 } else { ordered(site(start), site(to), at, site(from)) };
            if !view.avoid(at, APART * self.of.radius, is_left) {
                return false;
            }
        }
        true
    }

    /// One edge for those of a chain, in each direction in which there are some.
    fn put(&mut self, chain: &[usize]) {
        for is_forward in [true, false] {
            let steps: Vec<Vec<usize>> = chain.windows(2).map(|step| if is_forward { self.between(step[0], step[1]) } else { self.between(step[1], step[0]) }.collect()).collect();
            for copy in 0..steps[0].len() {
                let edges: Vec<usize> = steps.iter().filter_map(|step| step.get(copy).copied()).collect();
                let (first, last) = (chain[0], chain[chain.len() - 1]);
                let (from, to) = if is_forward { (first, last) } else { (last, first) };
                let of = edges.iter().flat_map(|edge| self.edges[*edge].of.iter().copied()).collect();
                let place = edges.iter().map(|edge| self.edges[*edge].place).min().unwrap_or_default();
                self.fewer.push(Edge { from, to, of, place });
                edges.iter().for_each(|edge| self.used[*edge] = true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn what_is_left_out_is_near_what_stays() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut fewer = 0;
        for round in 0..400 {
            let step = 10f64.powf(rng.f64() * 4.0 - 4.0);
            let (mut at, mut heading) = ((rng.f64() * 200.0 - 100.0, rng.f64() * 100.0 - 50.0), rng.f64() * TAU);
            let turn = [0.1, 0.5, 1.5, 3.0][round % 4];
            let line: Vec<Vector> = (0..rng.usize(2..30))
                .map(|_| {
                    heading += (rng.f64() * 2.0 - 1.0) * turn;
                    at = (at.0 + step * heading.cos(), (at.1 + step * heading.sin()).clamp(-80.0, 80.0));
                    Vector::from_degrees(at.0, at.1)
                })
                .collect();
            let radius = step.to_radians() * 10f64.powf(rng.f64() * 2.0 - 1.5);
            let simple = lines(std::slice::from_ref(&line), radius);
            fewer += usize::from(simple.iter().flatten().count() < line.len());
            let near = |point: &Vector| simple.iter().flat_map(|line| line.windows(2)).map(|edge| nearest(*point, edge[0], edge[1]).angle(*point)).fold(PI, f64::min);
            // A line that becomes a point is none.
            assert!(simple.is_empty() || line.iter().all(|point| near(point) <= radius * 1.000_001), "round {round}");
            for corners in simple.iter().flat_map(|line| line.windows(2)) {
                assert!(corners[0].angle(corners[1]) > radius && line.contains(&corners[0]), "round {round}");
            }
        }
        assert!(fewer > 200, "{fewer} lines became shorter");
    }

    #[test]
    fn rings_that_touch_stay_apart_and_those_that_share_an_edge_become_one() {
        let ring = |corners: &[(f64, f64)]| corners.iter().chain(&corners[..1]).map(|(x, y)| Vector::from_degrees(*x, *y)).collect::<Vec<Vector>>();
        let square = |x: f64| Polygon { rings: vec![ring(&[(x, 0.0), (x + 1.0, 0.0), (x + 1.0, 1.0), (x, 1.0)])] };
        let count = |found: &[Polygon]| found.iter().map(|polygon| polygon.rings.iter().map(Vec::len).collect::<Vec<_>>()).collect::<Vec<_>>();
        // Where three edges met, a corner stays.
        assert_eq!(count(&polygons(&[square(0.0), square(1.0)], 1e-5)), [[7]]);
        assert_eq!(count(&polygons(&[square(0.0), square(2.0)], 1e-5)), [[5], [5]]);
        let mut holed = square(0.0);
        holed.rings.push(ring(&[(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.5, 0.600_01), (0.4, 0.6)]));
        assert_eq!(count(&polygons(&[holed], 1e-5)), [[5, 5]]);
        assert!(polygons(&[square(0.0)], 0.1).is_empty());
    }
}
