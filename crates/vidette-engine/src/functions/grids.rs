//! Grids over the sphere: geohash, H3, S2. Kusto docs: `geospatial-grid-systems`, and a page per function.

use super::geospatial::{document, position, show_ring};
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json::from_f64;
use geohash::Direction;
use h3o::{CellIndex, LatLng, Resolution};
use s2::cellid::CellID;
use serde_json::{Value, json};

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
    rows("geo_point_to_s2cell", |a| {
        let level = a.get(2).map_or(Some(11), |cell| cell.long()).and_then(|level| u64::try_from(level).ok()).filter(|level| *level <= 30);
        match (position(a, 0), level) {
            (Some((longitude, latitude)), Some(level)) => Out::Text(CellID::from(s2::latlng::LatLng::from_degrees(latitude, longitude)).parent(level).to_token()),
            _ => Out::Text(String::new()),
        }
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
];

/// A geohash of a length that one may have, else a text that is none.
fn hash_text(cell: Cell<'_>) -> &str {
    match cell.text() {
        text if (1..=12).contains(&text.len()) => text,
        _ => "!",
    }
}

pub(super) fn resolution(level: i64) -> Option<Resolution> {
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
