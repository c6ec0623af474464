//! The scenario file: what happens on a machine, step by step, without a word about event ids.

use serde::Deserialize;

/// A file of scenarios, of background activities, or of both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    #[serde(default)]
    pub scenarios: Vec<Scenario>,
    /// What goes on anyway.
    #[serde(default)]
    pub background: Vec<Activity>,
}

/// One attack, or one thing that only looks like one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    pub title: String,
    /// The ATT&CK technique that it shows; none when nothing is wrong.
    #[serde(default)]
    pub technique: Option<String>,
    #[serde(default)]
    pub platform: Platform,
    pub host: String,
    /// The account, without its domain.
    pub user: String,
    pub does: Vec<Step>,
}

/// Something ordinary, and how often it happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    pub name: String,
    /// In an hour of the working day, on one machine.
    pub per_hour: f64,
    /// Goes on at night as by day.
    #[serde(default)]
    pub always: bool,
    /// The account; without one, the user of the machine.
    #[serde(default)]
    pub user: Option<String>,
    pub does: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    #[default]
    Windows,
    Linux,
    /// Nothing of Sysmon's runs there: only as rows of Defender.
    Macos,
}

/// A process that starts, and what it does; or what a process that started before does. In the order of the fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// How long after the step before, as `30s`, `5m` or `2h`; a second unless told.
    #[serde(default)]
    pub after: Option<String>,
    /// The image of a process that starts.
    #[serde(default)]
    pub start: Option<String>,
    /// What the process is called by later steps; its file name unless told.
    #[serde(default)]
    pub r#as: Option<String>,
    /// The process that acts, or that starts the process: one that started before, or an image; Explorer unless told.
    #[serde(default)]
    pub by: Option<String>,
    /// `OriginalFileName` in the version resource; the file's name unless told.
    #[serde(default)]
    pub original: Option<String>,
    #[serde(default)]
    pub company: Option<String>,
    /// The command line; the image unless told. `{b64:text}` becomes the text in UTF-16 and base64.
    #[serde(default)]
    pub command: Option<String>,
    /// The account of the process, when it is another one.
    #[serde(default)]
    pub user: Option<String>,
    /// Hosts that are resolved and connected to.
    #[serde(default)]
    pub reach: Hosts,
    /// Hosts that are resolved only.
    #[serde(default)]
    pub resolve: Hosts,
    /// Hosts that are asked for and do not exist.
    #[serde(default)]
    pub miss: Hosts,
    /// A PowerShell script block that runs.
    #[serde(default)]
    pub script: Option<String>,
    /// The URL of a transfer that BITS makes.
    #[serde(default)]
    pub transfer: Option<String>,
    /// The name of the BITS job.
    #[serde(default)]
    pub job: Option<String>,
    /// A file that is written.
    #[serde(default)]
    pub file: Option<String>,
    /// A registry value that is set, with its path and name.
    #[serde(default)]
    pub registry: Option<String>,
    #[serde(default)]
    pub data: Option<String>,
    /// How often the step happens; once unless told.
    #[serde(default)]
    pub times: Option<u32>,
    /// How far apart.
    #[serde(default)]
    pub every: Option<String>,
    /// The part of `every` by which it varies at most, either way.
    #[serde(default)]
    pub jitter: f64,
}

/// One host, or several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub enum Hosts {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Hosts {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Hosts::None => [].iter(),
            Hosts::One(host) => std::slice::from_ref(host).iter(),
            Hosts::Several(hosts) => hosts.iter(),
        }
        .map(String::as_str)
    }
}

/// What is wrong with a scenario file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("{0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    #[error("scenario `{scenario}`: `{text}` is not a duration such as 30s, 5m or 2h")]
    Duration { scenario: String, text: String },
}

/// Reads a scenario file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(text: &str) -> Result<Library, Wrong> {
    let library: Library = serde_yaml_ng::from_str(text)?;
    let steps = library.scenarios.iter().map(|one| (&one.name, &one.does)).chain(library.background.iter().map(|one| (&one.name, &one.does)));
    for (name, steps) in steps {
        for text in steps.iter().flat_map(|step| [&step.after, &step.every]).flatten() {
            if ticks(text).is_none() {
                return Err(Wrong::Duration { scenario: name.clone(), text: text.clone() });
            }
        }
    }
    Ok(library)
}

/// Ticks of 100 ns of `30s`, `5m`, `2h`, `1d`, `250ms`.
pub(crate) fn ticks(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "ms" => 10_000,
        "s" => 10_000_000,
        "m" => 600_000_000,
        "h" => 36_000_000_000,
        "d" => 864_000_000_000,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_name() {
        let wrong = parse("scenarios: [{name: a, title: t, host: h, user: u, does: [{after: soon}]}]").unwrap_err();
        assert_eq!(wrong.to_string(), "scenario `a`: `soon` is not a duration such as 30s, 5m or 2h");
        let wrong = parse("scenarios: [{name: a, title: t, host: h, user: u, does: [{run: x}]}]").unwrap_err();
        assert!(wrong.to_string().contains("unknown field `run`"), "{wrong}");
    }
}
