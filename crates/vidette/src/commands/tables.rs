//! `vidette tables`: which tables there are, their rows and time range, and which signals the telemetry holds.

use crate::commands::Failure;
use crate::output::{self, Format};
use crate::workspace::{self, Loaded};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use vidette_engine::Clock;
use vidette_kql::time::{format_datetime, parse_datetime};
use vidette_telemetry::{Keep, SIGNALS, Summary};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// How to write the report; a table on a terminal, else NDJSON
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    workspace::learn_columns(&options.paths);
    let loaded = workspace::load(workspace::empty(), &options.paths, &workspace::Wanted::All, Keep::Counts, None).await?;
    let mut summaries: BTreeMap<String, Summary> = loaded.harvest.summaries.iter().map(|(name, summary)| ((*name).to_owned(), summary.clone())).collect();
    for name in ["DeviceEvents", "DeviceNetworkEvents", "DeviceProcessEvents"] {
        summaries.entry(name.to_owned()).or_default();
    }
    for name in &loaded.with_rows {
        let direct = directly_read(&loaded, name).await?;
        summaries.entry(name.clone()).or_default().merge(direct);
    }
    output::write(&render(Format::choose(options.format, false), &summaries, &signals(&loaded, &options.paths).await?), None)?;
    for problem in &loaded.harvest.problems {
        say!("skipped: {problem}");
    }
    output::left_out(&loaded.harvest.left_out);
    Ok(output::status(&loaded.harvest.problems))
}

/// What is in the Parquet files of a table.
async fn directly_read(loaded: &Loaded, name: &str) -> Result<Summary, Failure> {
    for (time, device) in [("Timestamp", "DeviceName"), ("TimeGenerated", "Computer"), ("TimeGenerated", "\"\"")] {
        let query = format!("['{name}'] | summarize Rows = count(), First = min({time}), Last = max({time}) by Device = tostring({device})");
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

/// The events of each signal, those that are not there among them.
async fn signals(loaded: &Loaded, paths: &[PathBuf]) -> Result<BTreeMap<&'static str, u64>, Failure> {
    let found = workspace::signals(loaded, paths).await?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for ((provider, id), name) in SIGNALS.iter() {
        let events = found.iter().filter(|((p, i), _)| p.eq_ignore_ascii_case(provider) && i == id).map(|(_, count)| *count).sum::<u64>();
        *counts.entry(name).or_default() += events;
    }
    Ok(counts)
}

fn render(format: Format, summaries: &BTreeMap<String, Summary>, signals: &BTreeMap<&str, u64>) -> String {
    let time = |ticks: Option<i64>| ticks.map(format_datetime);
    let columns = ["Table", "Rows", "First", "Last", "Devices"].map(str::to_owned);
    let rows = || -> Vec<Vec<String>> {
        let texts = |(name, summary): (&String, &Summary)| {
            let [first, last] = [summary.first_ticks, summary.last_ticks].map(|ticks| time(ticks).unwrap_or_default());
            vec![name.clone(), summary.rows.to_string(), first, last, summary.devices.len().to_string()]
        };
        summaries.iter().map(texts).collect()
    };
    let tables = summaries.iter().map(
        |(name, summary)| json!({"table": name, "rows": summary.rows, "first": time(summary.first_ticks), "last": time(summary.last_ticks), "devices": summary.devices.len()}),
    );
    let counts = signals.iter().map(|(name, events)| json!({"signal": name, "events": events}));
    match format {
        Format::Csv => output::csv(&columns, &rows()),
        Format::Ndjson => tables.chain(counts).map(|line| format!("{line}\n")).collect(),
        Format::Json => format!("{}\n", json!({"tables": tables.collect::<Vec<_>>(), "signals": counts.collect::<Vec<_>>()})),
        Format::Table => {
            let there: Vec<Vec<String>> = signals.iter().filter(|(_, events)| **events > 0).map(|(name, events)| vec![(*name).to_owned(), events.to_string()]).collect();
            let missing: Vec<&str> = signals.iter().filter(|(_, events)| **events == 0).map(|(name, _)| *name).collect();
            let plain = |names: &[String], rows: &[Vec<String>]| output::table(names, rows, output::width(), |_, _| None);
            let mut out = format!("{}\n{}", plain(&columns, &rows()), plain(&["Signal".to_owned(), "Events".to_owned()], &there));
            if !missing.is_empty() {
                out.push_str(&format!("\n{}\n", output::wrapped(&format!("missing: {}", missing.join("; ")), output::width())));
            }
            out
        }
    }
}
