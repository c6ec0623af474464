//! Plugins that look rows up in a second table. Kusto docs: `ipv4-lookup-plugin`, `ipv6-lookup-plugin`,
//! `geo-polygon-lookup-plugin`, `geo-line-lookup-plugin`.

use crate::cells::{Cell, Out};
use crate::functions::shown;
use crate::operators::{Output, Table};
use datafusion::common::{Result, internal_err};
use std::collections::HashMap;
use std::net::IpAddr;

/// The network's first bits and their number; IPv4 as IPv6 with 96 bits before it.
fn network(text: &str) -> Option<(u128, u32)> {
    let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(address, prefix)| (address, Some(prefix)));
    let (bits, extra) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 96),
        IpAddr::V6(address) => (address.to_bits(), 0),
    };
    let prefix = match prefix {
        Some(prefix) => prefix.parse::<u32>().ok()? + extra,
        None => 128,
    };
    (prefix <= 128).then(|| (masked(bits, prefix), prefix))
}

fn masked(bits: u128, prefix: u32) -> u128 {
    if prefix == 0 { 0 } else { bits & (u128::MAX << (128 - prefix)) }
}

pub(super) fn ipv4_lookup(inputs: &[Table], output: &mut Output) -> Result<()> {
    ip_lookup(inputs, &mut |left, right| match right {
        Some(right) => output.push(inputs[0].row(left).chain(inputs[1].row(right))),
        None => output.push(inputs[0].row(left)),
    })
}

pub(super) fn ipv6_lookup(inputs: &[Table], output: &mut Output) -> Result<()> {
    let absent = vec![Out::Null; inputs[1].width()];
    ip_lookup(inputs, &mut |left, right| match right {
        Some(right) => output.push(inputs[1].row(right).chain(inputs[0].row(left))),
        None => output.push(absent.iter().cloned().chain(inputs[0].row(left))),
    })
}

/// Rows of the second input whose network holds the address, and whose keys are equal.
fn ip_lookup(inputs: &[Table], found_row: &mut dyn FnMut(usize, Option<usize>)) -> Result<()> {
    let (left, right) = (&inputs[0], &inputs[1]);
    let keys = right.arguments();
    let key = |table: &Table, row: usize| (1..keys).map(|at| shown(table.argument(row, at))).collect::<Vec<_>>();
    let mut networks: HashMap<(u128, u32), Vec<usize>> = HashMap::new();
    let mut prefixes: Vec<u32> = Vec::new();
    for row in 0..right.rows {
        let Some(network) = network(right.argument(row, 0).text()) else { continue };
        networks.entry(network).or_default().push(row);
        if !prefixes.contains(&network.1) {
            prefixes.push(network.1);
        }
    }
    // The narrowest network first.
    prefixes.sort_unstable_by(|a, b| b.cmp(a));
    let unmatched = left.constant(keys) == Cell::Bool(true);
    for row in 0..left.rows {
        let mut found = false;
        if let Some((bits, own)) = network(left.argument(row, 0).text()) {
            for prefix in prefixes.iter().filter(|prefix| **prefix <= own) {
                for other in networks.get(&(masked(bits, *prefix), *prefix)).into_iter().flatten() {
                    if key(left, row) == key(right, *other) {
                        found_row(row, Some(*other));
                        found = true;
                    }
                }
            }
        }
        if !found && unmatched {
            found_row(row, None);
        }
    }
    Ok(())
}

/// `geo_polygon_lookup(table, polygon, longitude, latitude, radius, …)`: the radius is the third argument of the left.
pub(super) fn geo_polygon_lookup(inputs: &[Table], output: &mut Output) -> Result<()> {
    geo_lookup("geo_distance_point_to_polygon", inputs, output)
}

pub(super) fn geo_line_lookup(inputs: &[Table], output: &mut Output) -> Result<()> {
    geo_lookup("geo_distance_point_to_line", inputs, output)
}

/// Rows of the second input whose shape is within the radius; the others too when asked for.
fn geo_lookup(distance: &str, inputs: &[Table], output: &mut Output) -> Result<()> {
    let (left, right) = (&inputs[0], &inputs[1]);
    let Some(distance) = crate::functions::row(distance) else { return internal_err!("no function {distance}") };
    let radius = left.constant(2).real().unwrap_or(0.0);
    let unmatched = left.constant(3) == Cell::Bool(true);
    for row in 0..left.rows {
        let mut found = false;
        for other in 0..right.rows {
            let away = distance(&[left.argument(row, 0), left.argument(row, 1), right.argument(other, 0)]);
            if matches!(away, Out::Real(metres) if metres <= radius) {
                output.push(left.row(row).chain(right.row(other)));
                found = true;
            }
        }
        if !found && unmatched {
            output.push(left.row(row));
        }
    }
    Ok(())
}
