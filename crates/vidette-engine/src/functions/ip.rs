//! IP addresses. Kusto docs: `scalar-functions`, "IPv4/IPv6 functions".

use super::conversion::{display, shown};
use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::OnceLock;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("geo_info_from_ip_address", |a| match a[0].text().parse::<IpAddr>() {
        Ok(address) if is_public(address) => match PLACES.get() {
            Some(places) => Out::Text(crate::json::write(&place(places, address))),
            None => Out::Refused("no database of addresses was given (--geoip FILE.mmdb)"),
        },
        _ => Out::Null,
    }),
    rows("ipv4_range_to_cidr_list", |a| match (a[0].text().parse::<Ipv4Addr>(), a[1].text().parse::<Ipv4Addr>()) {
        (Ok(first), Ok(last)) => Out::Text(crate::json::write(&serde_json::Value::Array(cidrs(first.into(), last.into())))),
        _ => Out::Null,
    }),
    rows("parse_ipv4", |a| Out::from(parse_v4(a[0].text()).map(|(address, prefix)| i64::from(mask(address, prefix))))),
    rows("parse_ipv4_mask", |a| match (parse_v4(a[0].text()), a[1].long()) {
        (Some((address, prefix)), Some(bits)) if (0..=32).contains(&bits) => Out::Long(i64::from(mask(address, prefix.min(bits as u32)))),
        _ => Out::Null,
    }),
    rows("ipv4_netmask_suffix", |a| Out::from(parse_v4(a[0].text()).map(|(_, prefix)| i64::from(prefix)))),
    rows("ipv4_is_private", |a| {
        let private = parse_v4(a[0].text()).map(|(address, _)| Ipv4Addr::from(address).is_private());
        Out::from(private)
    }),
    rows("ipv4_compare", |a| match (parse_v4(a[0].text()), parse_v4(a[1].text())) {
        (Some(left), Some(right)) => {
            let bits = left.1.min(right.1).min(limit(a.get(2)));
            Out::Long(mask(left.0, bits).cmp(&mask(right.0, bits)) as i64)
        }
        _ => Out::Null,
    }),
    rows("ipv4_is_match", |a| match (parse_v4(a[0].text()), parse_v4(a[1].text())) {
        (Some(left), Some(right)) => {
            let bits = left.1.min(right.1).min(limit(a.get(2)));
            Out::Bool(mask(left.0, bits) == mask(right.0, bits))
        }
        _ => Out::Null,
    }),
    rows("ipv4_is_in_range", |a| Out::from(v4_in_range(a[0].text(), a[1].text()))),
    rows("ipv4_is_in_any_range", |a| any_range(a, v4_in_range)),
    rows("parse_ipv6", |a| Out::Text(parse_v6(a[0].text()).map(|(address, prefix)| long_form(mask6(address.into(), prefix))).unwrap_or_default())),
    rows("parse_ipv6_mask", |a| match (comparable(a[0].text()), a[1].long()) {
        (Some((address, prefix)), Some(bits)) if (0..=128).contains(&bits) => Out::Text(long_form(mask6(address, prefix.min(bits as u32)))),
        _ => Out::Text(String::new()),
    }),
    rows("ipv6_compare", |a| match (comparable(a[0].text()), comparable(a[1].text())) {
        (Some(left), Some(right)) => {
            let bits = left.1.min(right.1).min(limit6(a.get(2)));
            Out::Long(mask6(left.0, bits).cmp(&mask6(right.0, bits)) as i64)
        }
        _ => Out::Null,
    }),
    rows("ipv6_is_match", |a| match (comparable(a[0].text()), comparable(a[1].text())) {
        (Some(left), Some(right)) => {
            let bits = left.1.min(right.1).min(limit6(a.get(2)));
            Out::Bool(mask6(left.0, bits) == mask6(right.0, bits))
        }
        _ => Out::Null,
    }),
    rows("ipv6_is_in_range", |a| Out::from(v6_in_range(a[0].text(), a[1].text()))),
    rows("ipv6_is_in_any_range", |a| any_range(a, v6_in_range)),
    rows("format_ipv4", |a| Out::Text(format_v4(a[0], a.get(1), false))),
    rows("format_ipv4_mask", |a| Out::Text(format_v4(a[0], a.get(1), true))),
    rows("has_ipv4", |a| Out::Bool(has_v4(&display(a[0]), a[1].text()))),
    rows("has_any_ipv4", |a| any_of(a, has_v4)),
    rows("has_ipv4_prefix", |a| Out::Bool(has_v4_prefix(&display(a[0]), a[1].text()))),
    rows("has_any_ipv4_prefix", |a| any_of(a, has_v4_prefix)),
];

/// Address and prefix length of `a.b.c.d[/n]`.
fn parse_v4(text: &str) -> Option<(u32, u32)> {
    let (address, prefix) = match text.trim().split_once('/') {
        Some((address, prefix)) => (address, prefix.parse::<u32>().ok().filter(|bits| *bits <= 32)?),
        None => (text.trim(), 32),
    };
    Some((u32::from(address.parse::<Ipv4Addr>().ok()?), prefix))
}

/// Address and prefix length of an IPv6 address, or of an IPv4 one as the mapped address: there, and behind an end with dots, a
/// prefix counts the bits of the IPv4 address. A zone is passed over.
fn parse_v6(text: &str) -> Option<(Ipv6Addr, u32)> {
    let (address, prefix) = match text.trim().split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
        None => (text.trim(), None),
    };
    let address = address.split_once('%').map_or(address, |(address, _zone)| address);
    let (parsed, before) = match address.parse::<Ipv4Addr>() {
        Ok(v4) => (v4.to_ipv6_mapped(), 96),
        Err(_) => (address.parse().ok()?, if address.contains('.') { 96 } else { 0 }),
    };
    let bits = before + prefix.unwrap_or(128 - before);
    (bits <= 128).then_some((parsed, bits))
}

/// As [`parse_v6`], to be compared: `::192.168.1.1` is the mapped address.
fn comparable(text: &str) -> Option<(u128, u32)> {
    let (address, bits) = parse_v6(text)?;
    let mapped = address.to_ipv4().filter(|_| text.contains('.')).map(|v4| v4.to_ipv6_mapped());
    Some((u128::from(mapped.unwrap_or(address)), bits))
}

fn mask(address: u32, bits: u32) -> u32 {
    if bits == 0 { 0 } else { address & (u32::MAX << (32 - bits)) }
}

fn mask6(address: u128, bits: u32) -> u128 {
    if bits == 0 { 0 } else { address & (u128::MAX << (128 - bits.min(128))) }
}

fn limit(cell: Option<&Cell>) -> u32 {
    cell.and_then(|cell| cell.long()).map_or(32, |bits| bits.clamp(0, 32) as u32)
}

fn limit6(cell: Option<&Cell>) -> u32 {
    cell.and_then(|cell| cell.long()).map_or(128, |bits| bits.clamp(0, 128) as u32)
}

fn long_form(address: u128) -> String {
    Ipv6Addr::from(address).segments().map(|segment| format!("{segment:04x}")).join(":")
}

fn v4_in_range(address: &str, range: &str) -> Option<bool> {
    let ((address, _), (network, bits)) = (parse_v4(address)?, parse_v4(range)?);
    Some(mask(address, bits) == mask(network, bits))
}

fn v6_in_range(address: &str, range: &str) -> Option<bool> {
    let ((address, _), (network, bits)) = (comparable(address)?, comparable(range)?);
    Some(mask6(address, bits) == mask6(network, bits))
}

fn candidates(cells: &[Cell]) -> Vec<String> {
    match cells {
        [Cell::Json(list)] => json::strings(list),
        cells => cells.iter().map(|cell| shown(*cell)).collect(),
    }
}

fn any_range(cells: &[Cell], in_range: fn(&str, &str) -> Option<bool>) -> Out {
    let address = display(cells[0]);
    let found: Vec<Option<bool>> = candidates(&cells[1..]).iter().map(|range| in_range(&address, range)).collect();
    if found.contains(&Some(true)) {
        return Out::Bool(true);
    }
    Out::from(found.into_iter().flatten().next())
}

fn any_of(cells: &[Cell], has: fn(&str, &str) -> bool) -> Out {
    let text = display(cells[0]);
    Out::Bool(candidates(&cells[1..]).iter().any(|wanted| has(&text, wanted)))
}

fn format_v4(cell: Cell, prefix: Option<&Cell>, with_suffix: bool) -> String {
    let bits = prefix.map_or(Some(32), |cell| cell.long().filter(|bits| (0..=32).contains(bits)));
    let parsed = match cell {
        Cell::Long(number) => u32::try_from(number).ok().map(|address| (address, 32)),
        other => parse_v4(&display(other)),
    };
    match (parsed, bits) {
        (Some((address, own)), Some(bits)) => {
            let bits = (bits as u32).min(own);
            let address = Ipv4Addr::from(mask(address, bits));
            if with_suffix { format!("{address}/{bits}") } else { address.to_string() }
        }
        _ => String::new(),
    }
}

/// The addresses in a text, each between characters that are neither letters, digits nor dots.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).filter(|part| part.matches('.').count() == 3 && part.parse::<Ipv4Addr>().is_ok())
}

fn has_v4(text: &str, address: &str) -> bool {
    address.parse::<Ipv4Addr>().is_ok_and(|wanted| addresses(text).any(|found| found.parse() == Ok(wanted)))
}

fn has_v4_prefix(text: &str, prefix: &str) -> bool {
    let whole = prefix.parse::<Ipv4Addr>().is_ok();
    let valid = whole || prefix.ends_with('.') && (1..=3).contains(&prefix.matches('.').count());
    valid && addresses(text).any(|found| if whole { found == prefix } else { found.starts_with(prefix) })
}

/// The fewest networks that cover the range.
fn cidrs(first: u32, last: u32) -> Vec<serde_json::Value> {
    let (mut at, end) = (u64::from(first), u64::from(last));
    let mut networks = Vec::new();
    while at <= end {
        let aligned = if at == 0 { 32 } else { at.trailing_zeros().min(32) };
        let fitting = (end - at + 1).ilog2();
        let bits = aligned.min(fitting);
        networks.push(format!("{}/{}", Ipv4Addr::from(at as u32), 32 - bits).into());
        at += 1 << bits;
    }
    networks
}

/// Where addresses are: a database in MaxMind's format, for the whole process.
static PLACES: OnceLock<maxminddb::Reader<Vec<u8>>> = OnceLock::new();

/// Opens the database that `geo_info_from_ip_address` looks into; the first one stays.
///
/// # Errors
/// When the file cannot be read, or is not a MaxMind database.
pub fn use_geoip(path: &Path) -> Result<(), String> {
    let reader = maxminddb::Reader::open_readfile(path).map_err(|error| format!("{}: {error}", path.display()))?;
    PLACES.set(reader).ok();
    Ok(())
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_private() || address.is_loopback() || address.is_link_local() || address.is_unspecified() || address.is_broadcast() || address.is_multicast())
        }
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unspecified() || address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast()),
    }
}

/// The properties that Kusto's function gives, as far as the database knows them.
fn place(places: &maxminddb::Reader<Vec<u8>>, address: IpAddr) -> serde_json::Value {
    let mut bag = serde_json::Map::new();
    if let Some(city) = places.lookup(address).ok().and_then(|found| found.decode::<maxminddb::geoip2::City>().ok()).flatten() {
        let state = city.subdivisions.first().and_then(|state| state.names.english);
        for (name, value) in [("country", city.country.names.english), ("state", state), ("city", city.city.names.english)] {
            bag.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        for (name, value) in [("latitude", city.location.latitude), ("longitude", city.location.longitude)] {
            bag.extend(value.map(|value| (name.to_owned(), crate::json::from_f64(value))));
        }
    }
    serde_json::Value::Object(bag)
}
