//! `vidette tables`: which tables there are, their rows and time range, and which signals the telemetry holds.

use crate::commands::Failure;
use crate::output;
use crate::workspace::{self, Loaded};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use vidette_engine::Clock;
use vidette_kql::time::{format_datetime, parse_datetime};
use vidette_telemetry::{Keep, SIGNALS, Summary};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    workspace::learn_custom(&options.paths);
    let loaded = workspace::load(workspace::empty(), &options.paths, &workspace::Wanted::All, Keep::Counts, None).await?;
    let mut summaries: BTreeMap<String, Summary> = loaded.harvest.summaries.iter().map(|(name, summary)| ((*name).to_owned(), summary.clone())).collect();
    for name in ["DeviceEvents", "DeviceNetworkEvents", "DeviceProcessEvents"] {
        summaries.entry(name.to_owned()).or_default();
    }
    for name in &loaded.with_rows {
        let direct = directly_read(&loaded, name).await?;
        summaries.entry(name.clone()).or_default().merge(direct);
    }
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|(name, summary)| {
            let time = |ticks: Option<i64>| ticks.map(format_datetime).unwrap_or_default();
            vec![name.clone(), summary.rows.to_string(), time(summary.first_ticks), time(summary.last_ticks), summary.devices.len().to_string()]
        })
        .collect();
    let columns = ["Table", "Rows", "First", "Last", "Devices"].map(str::to_owned);
    let mut out = output::table(&columns, &rows, output::width(), |_, _| None);
    out.push('\n');
    out.push_str(&signals(&loaded));
    output::write(&out, None)?;
    for problem in &loaded.harvest.problems {
        say!("skipped: {problem}");
    }
    output::left_out(&loaded.harvest.left_out);
    Ok(if loaded.harvest.problems.is_empty() { 0 } else { 3 })
}

/// What is in the Parquet files of a table.
async fn directly_read(loaded: &Loaded, name: &str) -> Result<Summary, Failure> {
    for (time, device) in [("Timestamp", "DeviceName"), ("TimeGenerated", "Computer"), ("TimeGenerated", "\"\"")] {
        let query = format!("['{name}'] | summarize rows = count(), first = min({time}), last = max({time}) by device = tostring({device})");
        let Ok(result) = loaded.workspace.query(&query, Clock::now()).await else { continue };
        let mut summary = Summary::default();
        for row in result.tables[0].text_rows() {
            let [device, rows, first, last] = &row[..] else { continue };
            let devices = Some(device.as_str().into()).filter(|_| !device.is_empty()).into_iter().collect();
            summary.merge(Summary { rows: rows.parse().unwrap_or_default(), first_ticks: parse_datetime(first), last_ticks: parse_datetime(last), devices });
        }
        return Ok(summary);
    }
    let result = loaded.workspace.query(&format!("['{name}'] | count"), Clock::now()).await.map_err(|error| Failure::query(error.to_string()))?;
    let rows = result.tables[0].text_rows().first().and_then(|row| row[0].parse().ok()).unwrap_or_default();
    Ok(Summary { rows, ..Summary::default() })
}

/// The signals that are there, with their events, then the names of the others.
fn signals(loaded: &Loaded) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for ((provider, id), name) in SIGNALS.iter() {
        let events = loaded.harvest.signals.iter().filter(|((p, i), _)| p.eq_ignore_ascii_case(provider) && i == id).map(|(_, count)| *count).sum::<u64>();
        *counts.entry(name).or_default() += events;
    }
    let there: Vec<Vec<String>> = counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| vec![(*name).to_owned(), count.to_string()]).collect();
    let missing: BTreeSet<&str> = counts.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut out = output::table(&["Signal".to_owned(), "Events".to_owned()], &there, output::width(), |_, _| None);
    if !missing.is_empty() {
        let missing: Vec<&str> = missing.into_iter().collect();
        out.push_str(&format!("\nmissing: {}\n", missing.join(", ")));
    }
    out
}
