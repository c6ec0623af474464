//! `vidette tables`: which tables there are, their rows and time range, and which signals the telemetry holds.

use crate::commands::Failure;
use crate::output;
use crate::workspace;
use std::collections::BTreeSet;
use std::path::PathBuf;
use vidette_engine::Clock;
use vidette_telemetry::SIGNALS;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    let loaded = workspace::load(workspace::empty(), &options.paths, &workspace::Wanted::All).await?;
    let mut rows = Vec::new();
    let mut names: BTreeSet<&str> = ["DeviceEvents", "DeviceNetworkEvents", "DeviceProcessEvents"].into();
    names.extend(loaded.with_rows.iter().map(String::as_str));
    for name in names {
        let query = format!("{name} | summarize Rows = count(), First = min(Timestamp), Last = max(Timestamp), Devices = dcount(DeviceName)");
        let fallback = format!("{name} | summarize Rows = count(), First = min(TimeGenerated), Last = max(TimeGenerated)");
        let result = match loaded.workspace.query(&query, Clock::now()).await {
            Ok(result) => result,
            Err(_) => loaded.workspace.query(&fallback, Clock::now()).await.map_err(|error| Failure::query(error.to_string()))?,
        };
        let mut row = vec![name.to_owned()];
        row.extend(result.tables[0].text_rows().into_iter().next().unwrap_or_default());
        row.resize(5, String::new());
        rows.push(row);
    }
    let columns = ["Table", "Rows", "First", "Last", "Devices"].map(str::to_owned);
    let mut out = output::table(&columns, &rows, output::width(), |_, _| None);
    out.push('\n');
    let signals: Vec<Vec<String>> = SIGNALS
        .iter()
        .map(|((provider, id), name)| {
            let count = loaded.harvest.signals.iter().find(|((p, i), _)| p.eq_ignore_ascii_case(provider) && i == id).map_or(0, |(_, count)| *count);
            vec![(*name).to_owned(), if count == 0 { "missing".to_owned() } else { count.to_string() }]
        })
        .collect();
    out.push_str(&output::table(&["Signal".to_owned(), "Events".to_owned()], &signals, output::width(), |_, _| None));
    output::write(&out, None)?;
    for problem in &loaded.harvest.problems {
        eprintln!("warning: {problem}");
    }
    Ok(if loaded.harvest.problems.is_empty() { 0 } else { 3 })
}
