//! `vidette hunt`: rules over telemetry, alerts out.

use crate::commands::{Failure, RuleOptions, TimeOptions};
use crate::hunting::{Found, hunt};
use crate::output::{self, Format};
use crate::packs::packs_for_hunt;
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;
use vidette_rules::{Alert, SeverityLevel};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rules: RuleOptions,
    /// How to write the alerts; a table on a terminal, else NDJSON
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write the alerts to this file
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Exit with status 1 when there is an alert
    #[arg(long)]
    pub fail_on_alert: bool,
    #[command(flatten)]
    pub time: TimeOptions,
}

/// What `--format json` writes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    schema_version: u8,
    alerts: &'a [Alert],
}

pub async fn run(options: Options) -> Result<u8, Failure> {
    let started = Instant::now();
    let found = hunt(packs_for_hunt(&options.rules)?, &options.paths, &options.time).await?;
    let format = Format::choose(options.format, options.output.is_some());
    match format {
        Format::Ndjson => output::write_lines(&found.alerts, options.output.as_ref())?,
        Format::Json => output::write_lines(&[Report { schema_version: 1, alerts: &found.alerts }], options.output.as_ref())?,
        Format::Table => output::write(&table(&found.alerts), options.output.as_ref())?,
        Format::Csv => output::write(&csv(&found.alerts), options.output.as_ref())?,
    }
    summarize(&found, started);
    Ok(if found.broken {
        2
    } else if options.fail_on_alert && !found.alerts.is_empty() {
        1
    } else {
        output::status(&found.harvest.problems)
    })
}

pub fn severity_style(severity: &str) -> Option<Style> {
    let color = match SeverityLevel::from_name(severity)? {
        SeverityLevel::High => AnsiColor::Red,
        SeverityLevel::Medium => AnsiColor::Yellow,
        SeverityLevel::Low => AnsiColor::Cyan,
        SeverityLevel::Informational => AnsiColor::BrightBlack,
    };
    Some(Style::new().bold().fg_color(Some(color.into())))
}

const COLUMNS: [&str; 6] = ["Severity", "Time", "Alert", "Entities", "Technique", "Rule"];

fn cells(alert: &Alert) -> Vec<String> {
    let entities: Vec<String> = alert
        .entities
        .iter()
        .map(|entity| {
            let values: Vec<String> = entity.fields.iter().filter(|(name, _)| name.as_str() != "CommandLine").map(|(_, value)| text(value)).collect();
            (entity.entity_type.to_lowercase(), values.join(" "))
        })
        .filter(|(_, values)| !values.is_empty())
        .map(|(kind, values)| format!("{kind} {values}"))
        .collect();
    vec![
        alert.severity.name().to_owned(),
        alert.time.get(..19).unwrap_or(&alert.time).replace('T', " "),
        alert.title.clone(),
        entities.join(", "),
        alert.techniques.last().cloned().unwrap_or_default(),
        alert.rule_name.clone(),
    ]
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn table(alerts: &[Alert]) -> String {
    // The number is what `investigate` and `tune` take. Where not all fits, the title says most of the rest.
    const WIDE: usize = 150;
    if alerts.is_empty() {
        return String::new();
    }
    let shown: &[usize] = if output::width() < WIDE { &[0, 1, 2, 4] } else { &[0, 1, 2, 3, 4, 5] };
    let columns: Vec<String> = std::iter::once("#").chain(shown.iter().map(|at| COLUMNS[*at])).map(str::to_owned).collect();
    let numbered = |(at, alert): (usize, &Alert)| {
        let cells = cells(alert);
        std::iter::once((at + 1).to_string()).chain(shown.iter().map(|at| cells[*at].clone())).collect()
    };
    let rows: Vec<Vec<String>> = alerts.iter().enumerate().map(numbered).collect();
    let colored = output::color();
    output::table(&columns, &rows, output::width(), |at, cell| if at == 1 && colored { severity_style(cell) } else { None })
}

fn csv(alerts: &[Alert]) -> String {
    let rows: Vec<Vec<String>> = alerts.iter().map(cells).collect();
    output::csv(&COLUMNS.map(str::to_owned), &rows)
}

fn summarize(found: &Found, started: Instant) {
    let (harvest, alerts) = (&found.harvest, found.alerts.len());
    output::problems(&harvest.problems);
    output::left_out(&harvest.left_out);
    if harvest.other_files > 0 {
        say!("{} files of other kinds left alone", harvest.other_files);
    }
    for message in &found.without {
        say!("warning: {message}");
    }
    if found.repeated > 0 {
        say!("{} events were there more than once", found.repeated);
    }
    // Sigma rules look at events, not at rows.
    let rows = if harvest.rows == 0 { String::new() } else { format!("{} rows, ", harvest.rows) };
    say!(
        "{} files, {} events, {rows}{} skipped in {:.2} s; {alerts} {} ({})",
        harvest.files_read,
        harvest.events_read,
        harvest.skipped() + output::damages(),
        started.elapsed().as_secs_f64(),
        if alerts == 1 { "alert" } else { "alerts" },
        found.by_rule(),
    );
}
