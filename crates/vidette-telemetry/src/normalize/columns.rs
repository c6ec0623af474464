//! Columns that many events fill in the same way.

use crate::event::Event;
use crate::row::{Field, Row};
use crate::schemas::TableSchema;
use compact_str::CompactString;
use sha1::Digest;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

/// A row with the columns every Defender table has.
pub(crate) fn start(table: &'static TableSchema, action: &str, event: &Event) -> Row {
    let mut row = Row::new(table);
    let time = event.time_ticks();
    let (host, id) = device(&event.computer);
    row.ticks("Timestamp", time).ticks("TimeGenerated", time);
    row.text("DeviceName", host.as_str()).text("DeviceId", id).text("ActionType", action).text("Type", table.name);
    row.long("ReportId", i64::try_from(event.record_id).ok());
    row.links.time_ticks = time.unwrap_or_default();
    row.links.record_id = event.record_id;
    row.links.host = host;
    row
}

/// The name of a device in lower case, and a stable id for one that has no other: the SHA-1 of its name.
pub(crate) fn device(computer: &str) -> (CompactString, CompactString) {
    thread_local! {
        // One log mostly speaks of one device.
        static LAST: RefCell<(String, CompactString, CompactString)> = RefCell::default();
    }
    LAST.with_borrow_mut(|last| {
        if last.0 != computer {
            let name = CompactString::from(computer).to_lowercase();
            let id = sha1::Sha1::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            *last = (computer.to_owned(), name, id);
        }
        (last.1.clone(), last.2.clone())
    })
}

pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

/// `DOMAIN\user` as lower-case domain and name.
pub(crate) fn account(user: &str) -> (String, String) {
    let (domain, name) = user.split_once('\\').unwrap_or(("", user));
    (domain.to_lowercase(), name.to_lowercase())
}

/// The image of the process a row is about; Sysmon writes a placeholder when it does not know.
pub(crate) fn known(image: &str) -> &str {
    if matches!(image, "<unknown process>" | "&lt;unknown process&gt;" | "Unknown") { "" } else { image }
}

/// A process guid without braces, in upper case; empty for the zero guid.
pub(crate) fn process_guid(text: &str) -> String {
    let guid = text.trim_matches(['{', '}']).to_uppercase();
    if guid.chars().all(|c| matches!(c, '0' | '-')) { String::new() } else { guid }
}

/// The second the process started in, which Sysmon encodes in groups 2 and 3 of the guid.
pub(crate) fn start_of(guid: &str) -> Option<i64> {
    let mut groups = guid.split('-').skip(1);
    let (low, high) = (groups.next()?, groups.next()?);
    let seconds = i64::from_str_radix(&format!("{high}{low}"), 16).ok().filter(|seconds| *seconds > 0)?;
    jiff::Timestamp::from_second(seconds).ok().map(crate::event::to_ticks)
}

/// `InitiatingProcess*` columns that say which process acted.
pub(crate) fn initiating(row: &mut Row, image: &str, process_id: Option<i64>, guid: &str, user: &str) {
    let image = known(image).to_lowercase();
    row.text("InitiatingProcessFileName", file_name(&image)).text("InitiatingProcessFolderPath", image.as_str());
    row.long("InitiatingProcessId", process_id);
    row.text("InitiatingProcessUniqueId", guid);
    let (domain, name) = account(user);
    row.text("InitiatingProcessAccountDomain", domain).text("InitiatingProcessAccountName", name);
    if !guid.is_empty() {
        row.links.process = Some(guid.into());
    }
}

/// `SHA1=…,MD5=…,SHA256=…,IMPHASH=…` into columns with a prefix.
pub(crate) fn hashes(row: &mut Row, prefix: &str, text: &str) {
    for (algorithm, value) in text.split(',').filter_map(|part| part.split_once('=')) {
        let column = algorithm.trim().to_uppercase();
        if matches!(column.as_str(), "SHA1" | "SHA256" | "MD5") {
            row.text(&format!("{prefix}{column}"), value.trim().to_lowercase());
        }
    }
}

/// `AdditionalFields` from the pairs that hold something.
pub(crate) fn additional(row: &mut Row, pairs: &[(&str, &str)]) {
    let bag: serde_json::Map<String, serde_json::Value> = pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    if !bag.is_empty() {
        row.set("AdditionalFields", Field::Json(serde_json::Value::Object(bag).to_string()));
    }
}

/// Defender's class of an address: `Public`, `Private`, `Loopback`, `Teredo`, `FourToSixMapping`, `Broadcast`, `Reserved`.
pub(crate) fn ip_type(text: &str) -> &'static str {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => match ip.octets() {
            [127, ..] => "Loopback",
            [255, 255, 255, 255] => "Broadcast",
            [10, ..] | [192, 168, ..] => "Private",
            [172, second, ..] if (16..32).contains(&second) => "Private",
            [0, ..] | [169, 254, ..] | [192, 0, 0, _] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "Reserved",
            [100, second, ..] if (64..128).contains(&second) => "Reserved",
            [198, 18 | 19, ..] => "Reserved",
            [first, ..] if first >= 224 => "Reserved",
            _ => "Public",
        },
        Ok(IpAddr::V6(ip)) => {
            let first = ip.segments()[0];
            if ip.to_ipv4_mapped().is_some() {
                "FourToSixMapping"
            } else if ip.is_loopback() {
                "Loopback"
            } else if first == 0x2001 && ip.segments()[1] == 0 {
                "Teredo"
            } else if first & 0xfe00 == 0xfc00 {
                "Private"
            } else if first & 0xffc0 == 0xfe80 || first & 0xff00 == 0xff00 || ip.is_unspecified() {
                "Reserved"
            } else {
                "Public"
            }
        }
        Err(_) => "",
    }
}

/// One end of a connection, with Defender's class of its address.
pub(crate) fn address(row: &mut Row, end: &str, ip: &str, port: Option<i64>) {
    let ip = ip.strip_prefix("::ffff:").filter(|rest| rest.parse::<Ipv4Addr>().is_ok() && end == "Remote").unwrap_or(ip);
    if ip.parse::<IpAddr>().is_err() {
        return;
    }
    row.text(&format!("{end}IP"), ip).text(&format!("{end}IPType"), ip_type(ip)).long(&format!("{end}Port"), port);
}

/// Both ends of a connection. The source always began it.
pub(crate) fn connection(row: &mut Row, outbound: bool, source: (&str, Option<i64>), destination: (&str, Option<i64>), protocol: &str) {
    let (local, remote) = if outbound { (source, destination) } else { (destination, source) };
    row.text("LocalIP", local.0).long("LocalPort", local.1).text("LocalIPType", ip_type(local.0));
    row.text("RemoteIP", remote.0).long("RemotePort", remote.1).text("RemoteIPType", ip_type(remote.0));
    row.text("Protocol", protocol);
    if outbound && !remote.0.is_empty() {
        row.links.remote_ip = Some(remote.0.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_start_is_decoded_from_the_guid() {
        let start = start_of("B3C285A4-3CDA-5DC0-0000-001077270D00").unwrap();
        assert_eq!(start, crate::event::parse_time("2019-11-04T14:59:38Z").unwrap());
        assert_eq!(process_guid("{00000000-0000-0000-0000-000000000000}"), "");
    }

    #[test]
    fn addresses_are_classed_as_defender_classes_them() {
        for (ip, class) in
            [("8.8.8.8", "Public"), ("172.31.0.1", "Private"), ("::1", "Loopback"), ("::ffff:1.2.3.4", "FourToSixMapping"), ("169.254.1.1", "Reserved"), ("2606:4700::1", "Public")]
        {
            assert_eq!(ip_type(ip), class, "{ip}");
        }
    }
}
