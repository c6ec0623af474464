//! Grids over the sphere: geohash, H3, S2, and the cells that cover a shape. Kusto docs: `geospatial-grid-systems`, and a page per function.

use super::buffer::Reach;
use super::geospatial::{Polygon, Vector, crosses, document, lines, polygons, position, rings, show_ring};
use super::overlay::{TOO_WIDE, united};
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json::from_f64;
use geohash::Direction;
use h3o::geom::{ContainmentMode, TilerBuilder};
use h3o::{CellIndex, LatLng, Resolution};
use s2::cellid::CellID;
use serde_json::{Value, json};

/// As many cells Kusto gives.
const MOST_S2_CELLS: usize = 65_536;
const MOST_H3_CELLS: usize = 61_680;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("geo_point_to_geohash", |a| {
        let accuracy = a.get(2).map_or(Some(5), |cell| cell.long()).and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=18).contains(n));
        match (position(a, 0), accuracy) {
            (Some((longitude, latitude)), Some(accuracy)) => Out::from(geohash::encode(geohash::Coord { x: longitude, y: latitude }, accuracy.min(12)).ok()),
            _ => Out::Text(String::new()),
        }
    }),
    rows("geo_geohash_to_central_point", |a| match geohash::decode(hash_text(a[0])) {
        Ok((center, ..)) if !a[0].text().is_empty() => document(json!({"type": "Point", "coordinates": [from_f64(center.x), from_f64(center.y)]})),
        _ => Out::Null,
    }),
    rows("geo_geohash_to_polygon", |a| match geohash::decode_bbox(hash_text(a[0])) {
        Ok(area) if !a[0].text().is_empty() => {
            let (low, high) = (area.min(), area.max());
            show_ring([(low.x, low.y), (high.x, low.y), (high.x, high.y), (low.x, high.y), (low.x, low.y)])
        }
        _ => Out::Null,
    }),
    rows("geo_geohash_neighbors", |a| {
        // The order of the examples on the function's page.
        use Direction::{E, N, NE, NW, S, SE, SW, W};
        let cells: Option<Vec<Value>> = [W, SW, S, SE, NE, E, N, NW].into_iter().map(|direction| geohash::neighbor(hash_text(a[0]), direction).ok().map(Value::String)).collect();
        cells.filter(|_| !a[0].text().is_empty()).map_or(Out::Null, |cells| document(Value::Array(cells)))
    }),
    rows("geo_point_to_h3cell", |a| {
        let resolution = a.get(2).map_or(Some(6), |cell| cell.long()).and_then(resolution);
        match (position(a, 0), resolution) {
            (Some((longitude, latitude)), Some(resolution)) => Out::from(LatLng::new(latitude, longitude).ok().map(|place| place.to_cell(resolution).to_string())),
            _ => Out::Text(String::new()),
        }
    }),
    rows("geo_h3cell_to_central_point", |a| match h3(a[0]) {
        Some(cell) => {
            let center = LatLng::from(cell);
            document(json!({"type": "Point", "coordinates": [from_f64(center.lng()), from_f64(center.lat())]}))
        }
        None => Out::Null,
    }),
    rows("geo_h3cell_to_polygon", |a| match h3(a[0]) {
        Some(cell) => {
            let boundary = cell.boundary();
            let corners: Vec<(f64, f64)> = boundary.iter().map(|corner| (corner.lng(), corner.lat())).collect();
            show_ring(corners.iter().copied().chain(corners.first().copied()))
        }
        None => Out::Null,
    }),
    rows("geo_h3cell_level", |a| Out::from(h3(a[0]).map(|cell| i64::from(u8::from(cell.resolution()))))),
    rows("geo_h3cell_parent", |a| match h3(a[0]) {
        Some(cell) => {
            let wanted = a.get(1).map_or(Some(i64::from(u8::from(cell.resolution())) - 1), |level| level.long()).and_then(resolution);
            Out::from(wanted.and_then(|wanted| cell.parent(wanted)).map(|parent| parent.to_string()))
        }
        None => Out::Text(String::new()),
    }),
    rows("geo_h3cell_children", |a| {
        const MOST: i64 = 5;
        let Some(cell) = h3(a[0]) else { return Out::Null };
        let own = i64::from(u8::from(cell.resolution()));
        let wanted = a.get(1).map_or(Some(own + 1), |level| level.long()).filter(|level| (own..=own + MOST).contains(level)).and_then(resolution);
        wanted.map_or(Out::Null, |wanted| document(Value::Array(cell.children(wanted).map(|child| child.to_string().into()).collect())))
    }),
    rows("geo_h3cell_neighbors", |a| h3(a[0]).map_or(Out::Null, |cell| document(ring(cell, 1)))),
    rows("geo_h3cell_rings", |a| match (h3(a[0]), a[1].long()) {
        (Some(cell), Some(distance)) if (0..=142).contains(&distance) => document(Value::Array((0..=distance as u32).map(|k| ring(cell, k)).collect())),
        _ => Out::Null,
    }),
    rows("geo_point_to_s2cell", |a| match (position(a, 0), s2_level(a.get(2))) {
        (Some((longitude, latitude)), Some(level)) => Out::Text(CellID::from(s2::latlng::LatLng::from_degrees(latitude, longitude)).parent(level).to_token()),
        _ => Out::Text(String::new()),
    }),
    rows("geo_s2cell_to_central_point", |a| match s2(a[0]) {
        Some(cell) => {
            let center = s2::latlng::LatLng::from(cell);
            document(json!({"type": "Point", "coordinates": [from_f64(center.lng.deg()), from_f64(center.lat.deg())]}))
        }
        None => Out::Null,
    }),
    rows("geo_s2cell_to_polygon", |a| match s2(a[0]) {
        Some(cell) => {
            let cell = s2::cell::Cell::from(cell);
            let corner = |at: usize| {
                let place = s2::latlng::LatLng::from(cell.vertex(at % 4));
                (place.lng.deg(), place.lat.deg())
            };
            show_ring((0..5).map(corner))
        }
        None => Out::Null,
    }),
    rows("geo_s2cell_neighbors", |a| match s2(a[0]) {
        Some(cell) => document(Value::Array(cell.all_neighbors(cell.level()).into_iter().map(|near| near.to_token().into()).collect())),
        None => Out::Null,
    }),
    rows("geo_polygon_to_s2cells", |a| {
        let Some((polygons, level)) = grown(a).zip(s2_level(a.get(1))) else { return Out::Null };
        s2_cells(level, &Region { chains: &rings(&polygons), polygons: &polygons })
    }),
    rows("geo_line_to_s2cells", |a| {
        let Some((lines, level)) = lines(a[0]).zip(s2_level(a.get(1))) else { return Out::Null };
        match a.get(2).map_or(Some(0.0), |radius| radius.real()) {
            Some(0.0) => s2_cells(level, &Region { chains: &lines, polygons: &[] }),
            Some(_) => {
                let Some(reach) = Reach::of(&a[..3], 2) else { return Out::Null };
                let Some(polygons) = reach.around(&lines) else { return Out::Refused(TOO_WIDE) };
                s2_cells(level, &Region { chains: &rings(&polygons), polygons: &polygons })
            }
            None => Out::Null,
        }
    }),
    rows("geo_polygon_to_h3cells", |a| {
        let resolution = a.get(1).map_or(Some(6), |level| level.long()).and_then(resolution);
        let Some((polygons, resolution)) = grown(a).zip(resolution) else { return Out::Null };
        let mut tiler = TilerBuilder::new(resolution).containment_mode(ContainmentMode::ContainsCentroid).build();
        let ring = |ring: &Vec<Vector>| ring.iter().map(|corner| corner.degrees()).collect::<geo::LineString<f64>>();
        let plane = polygons.iter().map(|polygon| geo::Polygon::new(ring(&polygon.rings[0]), polygon.rings[1..].iter().map(ring).collect()));
        if tiler.add_batch(plane).is_err() || tiler.coverage_size_hint() > 64 * MOST_H3_CELLS {
            return Out::Null;
        }
        let cells: Vec<Value> = tiler.into_coverage().take(MOST_H3_CELLS + 1).map(|cell| cell.to_string().into()).collect();
        if cells.len() > MOST_H3_CELLS { Out::Null } else { document(Value::Array(cells)) }
    }),
];

/// A geohash of a length that one may have, else a text that is none.
fn hash_text(cell: Cell<'_>) -> &str {
    match cell.text() {
        text if (1..=12).contains(&text.len()) => text,
        _ => "!",
    }
}

fn resolution(level: i64) -> Option<Resolution> {
    Resolution::try_from(u8::try_from(level).ok()?).ok()
}

fn h3(cell: Cell) -> Option<CellIndex> {
    cell.text().parse().ok()
}

fn s2(cell: Cell) -> Option<CellID> {
    let text = cell.text();
    let hex = !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(CellID::from_token(text)).filter(|cell| hex && cell.is_valid())
}

/// The cells at a distance of `k`.
fn ring(cell: CellIndex, k: u32) -> Value {
    let cells: Option<Vec<CellIndex>> = cell.grid_ring_fast(k).collect();
    // H3's own library begins one cell later.
    let cells = cells.map(|mut cells| {
        cells.rotate_left(usize::from(k > 0));
        cells
    });
    let cells = cells.unwrap_or_else(|| cell.grid_disk_distances_safe(k).filter(|(_, distance)| *distance == k).map(|(near, _)| near).collect());
    Value::Array(cells.into_iter().map(|near| near.to_string().into()).collect())
}

/// The polygons of the first argument, united, with the radius of the third around them.
fn grown(a: &[Cell]) -> Option<Vec<Polygon>> {
    let polygons = polygons(a[0])?;
    match a.get(2).map_or(Some(0.0), |radius| radius.real())? {
        0.0 => united(polygons),
        _ => Reach::of(&a[..3], 2)?.grown(polygons),
    }
}

/// The level of S2 cells; 11 unless told.
fn s2_level(argument: Option<&Cell>) -> Option<u64> {
    argument.map_or(Some(11), |level| level.long()).and_then(|level| u64::try_from(level).ok()).filter(|level| *level <= 30)
}

/// What cells are to cover: chains of edges, and what is inside the polygons.
struct Region<'a> {
    chains: &'a [Vec<Vector>],
    polygons: &'a [Polygon],
}

fn s2_cells(level: u64, region: &Region) -> Out {
    let mut cells = Vec::new();
    let fits = (0..6).all(|face| region.cover(CellID::from_face(face), level, &mut cells));
    if fits { document(Value::Array(cells.into_iter().map(|cell| cell.to_token().into()).collect())) } else { Out::Null }
}

impl Region<'_> {
    /// The cells of a level, within `cell`, that meet the region, in order; false when they are too many.
    fn cover(&self, cell: CellID, level: u64, cells: &mut Vec<CellID>) -> bool {
        let square = s2::cell::Cell::from(cell);
        let corners: Vec<Vector> = (0..5).map(|at| Vector::from_s2(square.vertex(at % 4))).collect();
        let center = Vector::from_s2(s2::point::Point::from(cell));
        let border = crosses(self.chains, std::slice::from_ref(&corners));
        let holds = || self.chains.iter().flatten().any(|corner| square.contains_point(&corner.to_s2()));
        let inside = || self.polygons.iter().any(|polygon| polygon.contains(center));
        // The corners of a face are too far apart to tell.
        if cell.level() > 0 && !border && !holds() && !inside() {
            return true;
        }
        if cell.level() == level {
            cells.push(cell);
            return cells.len() <= MOST_S2_CELLS;
        }
        cell.children().into_iter().all(|child| self.cover(child, level, cells))
    }
}
