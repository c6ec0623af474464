//! Rules for other places: the pack's rules as Sentinel and Defender take them, and what of the detection other platforms can
//! say, all from the same catalogue and the same list of programs.
//!
//! A platform is a module with one function and a row in [`PLATFORMS`].

mod crowdstrike;
mod elastic;
mod grafana;
mod microsoft;
mod model;
mod navigator;
mod qradar;
mod secops;
mod sigma;
mod splunk;
mod standalone;
mod sumo;
mod sysmon;

use crate::pack::Pack;
pub use standalone::standalone;

/// Files by name, with their texts, or why there are none.
pub type Written = Result<Vec<(String, String)>, String>;

/// A place that rules can be written for.
pub struct Platform {
    pub name: &'static str,
    pub title: &'static str,
    write: fn(&Pack) -> Written,
}

pub const PLATFORMS: &[Platform] = &[
    Platform { name: "kql", title: "KQL with functions and watchlists written out", write: microsoft::kql },
    Platform { name: "sentinel", title: "Microsoft Sentinel, YAML: rules, hunting queries and functions", write: microsoft::sentinel_yaml },
    Platform { name: "sentinel-arm", title: "Microsoft Sentinel, ARM template: functions, watchlists, rules", write: microsoft::sentinel_arm },
    Platform { name: "defender", title: "Microsoft Defender XDR, custom detections, JSON", write: microsoft::defender },
    Platform { name: "nrt", title: "Near-real-time rules that Defender XDR accepts: one table, no join", write: microsoft::near_real_time },
    Platform { name: "sigma", title: "Sigma: three rules and a correlation", write: sigma::write },
    Platform { name: "splunk", title: "Splunk, SPL", write: splunk::write },
    Platform { name: "eql", title: "Elastic, EQL", write: elastic::eql },
    Platform { name: "esql", title: "Elastic, ES|QL", write: elastic::esql },
    Platform { name: "yara-l", title: "Google SecOps, YARA-L 2.0", write: secops::write },
    Platform { name: "aql", title: "IBM QRadar, AQL", write: qradar::write },
    Platform { name: "sumo", title: "Sumo Logic", write: sumo::write },
    Platform { name: "logscale", title: "CrowdStrike LogScale", write: crowdstrike::write },
    Platform { name: "logql", title: "Grafana Loki, LogQL", write: grafana::write },
    Platform { name: "navigator", title: "ATT&CK Navigator layer", write: navigator::write },
    Platform { name: "sysmon", title: "Sysmon configuration that makes the technique visible", write: sysmon::write },
];

/// The files for a platform, by name.
///
/// # Errors
/// When there is no such platform, or the pack has not what it needs: the message says which.
pub fn export(pack: &Pack, platform: &str) -> Written {
    let names = || PLATFORMS.iter().map(|platform| platform.name).collect::<Vec<_>>().join(", ");
    let found = PLATFORMS.iter().find(|one| one.name == platform).ok_or_else(|| format!("no platform `{platform}`; there are {}", names()))?;
    (found.write)(pack)
}
