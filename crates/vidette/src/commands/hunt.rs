//! `vidette hunt`: rules over a folder of logs, alerts out.

use crate::commands::{Failure, TimeOptions};
use crate::output::{self, Format};
use crate::workspace::{self, Wanted};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;
use vidette_engine::{Clock, Workspace};
use vidette_rules::{Alert, Pack, Rule, RuleError, SeverityLevel};
use vidette_telemetry::{Harvest, Keep, Seen};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Rule files or folders; without them the built-in pack for T1102.002 runs
    #[arg(short, long)]
    pub rules: Vec<PathBuf>,
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

pub async fn run(options: Options) -> Result<u8, Failure> {
    let started = Instant::now();
    let packs = packs(&options.rules)?;
    let mut empty = workspace::empty();
    let mut rules: Vec<&Rule> = Vec::new();
    let mut broken = announce(&packs, &mut empty);
    for pack in &packs {
        rules.extend(&pack.rules);
    }
    let wanted = Wanted::by(&empty, rules.iter().map(|rule| rule.query.as_str()));
    // Triage folders hold copies of logs: an event is one event, wherever it was found.
    let seen = Seen::default();
    let loaded = workspace::load(empty, &options.paths, &wanted, Keep::default(), Some(&seen)).await?;
    let mut alerts = Vec::new();
    let mut counts = Vec::new();
    for rule in rules {
        let clocks = clocks(rule, &options.time, &loaded.harvest)?;
        match vidette_rules::run(rule, &loaded.workspace, &clocks).await {
            Ok(found) => {
                counts.push(format!("{}: {}", rule.name, found.len()));
                alerts.extend(found);
            }
            Err(RuleError::Query { rule: name, diagnostics }) => {
                broken = true;
                eprint!("{}", vidette_kql::render(&rule.query, &name, &diagnostics));
            }
            Err(error) => {
                broken = true;
                eprintln!("error: {error}");
            }
        }
    }
    // Newest first; of one instant, the gravest.
    alerts.sort_by(|a, b| b.time.cmp(&a.time).then(b.severity.cmp(&a.severity)).then(a.title.cmp(&b.title)));
    let format = Format::choose(options.format, options.output.is_some());
    output::write(&render(&alerts, format), options.output.as_ref())?;
    summarize(&loaded.harvest, seen.repeated(), &counts, alerts.len(), started);
    Ok(if broken {
        2
    } else if options.fail_on_alert && !alerts.is_empty() {
        1
    } else if loaded.harvest.problems.is_empty() {
        0
    } else {
        3
    })
}

/// Says what is wrong with the packs, and registers their watchlists; whether one is too wrong to run.
pub(super) fn announce(packs: &[Pack], workspace: &mut Workspace) -> bool {
    let mut broken = false;
    for pack in packs {
        for problem in &pack.problems {
            eprintln!("{}: {}: {}", if problem.fatal { "error" } else { "warning" }, problem.file, problem.message);
            broken |= problem.fatal;
        }
        for (alias, watchlist) in &pack.watchlists {
            workspace.register_watchlist(alias.clone(), watchlist.clone());
        }
    }
    broken
}

pub(super) fn packs(paths: &[PathBuf]) -> Result<Vec<Pack>, Failure> {
    if paths.is_empty() {
        return Ok(vidette_rules::embedded());
    }
    let mut packs = Vec::with_capacity(paths.len());
    for path in paths {
        packs.push(vidette_rules::load(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?);
    }
    Ok(packs)
}

/// The instants a rule runs at.
///
/// With `--now` once. Else the rule is replayed over the data as its schedule would have run it: windows of its period,
/// the last one ending with the newest event, those without data left out.
fn clocks(rule: &Rule, time: &TimeOptions, harvest: &Harvest) -> Result<Vec<Clock>, Failure> {
    let period = rule.period_ticks();
    if let Some(now) = time.now()? {
        return Ok(vec![Clock::window(now, period)]);
    }
    let (from, to) = time.range()?;
    let Some(newest) = harvest.newest_ticks else { return Ok(vec![Clock::now()]) };
    let oldest = harvest.oldest_ticks.unwrap_or(newest).max(from.unwrap_or(i64::MIN));
    let mut clocks = Vec::new();
    let mut end = newest.min(to.unwrap_or(i64::MAX));
    while end >= oldest {
        let start = end.saturating_sub(period);
        if harvest.has_events_between(start, end) {
            clocks.push(Clock { now_ticks: end, window: Some((start.max(oldest - 1), end)) });
        }
        // Skip to the next window that has events at all.
        end = match harvest.newest_before(start) {
            Some(hour_end) if hour_end < start => end - period * ((end - hour_end) / period).max(1),
            Some(_) => start,
            None => break,
        };
    }
    Ok(clocks)
}

fn severity_style(severity: &str) -> Option<Style> {
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

fn render(alerts: &[Alert], format: Format) -> String {
    let columns = COLUMNS.map(str::to_owned);
    match format {
        Format::Table if alerts.is_empty() => String::new(),
        Format::Table => {
            let rows: Vec<Vec<String>> = alerts.iter().map(cells).collect();
            let colored = output::color();
            output::table(&columns, &rows, output::width(), |at, cell| if at == 0 && colored { severity_style(cell) } else { None })
        }
        Format::Csv => {
            let rows: Vec<Vec<String>> = alerts.iter().map(cells).collect();
            output::csv(&columns, &rows)
        }
        Format::Ndjson => alerts.iter().map(|alert| format!("{}\n", json!(alert))).collect(),
        Format::Json => format!("{}\n", json!({"schemaVersion": 1, "alerts": alerts})),
    }
}

fn summarize(harvest: &Harvest, repeated: u64, counts: &[String], alerts: usize, started: Instant) {
    const NAMED: usize = 20;
    for problem in harvest.problems.iter().take(NAMED) {
        eprintln!("skipped: {problem}");
    }
    if harvest.problems.len() > NAMED {
        eprintln!("skipped: {} more (vidette tables lists all)", harvest.problems.len() - NAMED);
    }
    if harvest.other_files > 0 {
        eprintln!("{} files of other kinds left alone", harvest.other_files);
    }
    if repeated > 0 {
        eprintln!("{repeated} events were there more than once");
    }
    eprintln!(
        "{} files, {} events, {} rows, {} skipped in {:.2} s; {alerts} {} ({})",
        harvest.files_read,
        harvest.events_read,
        harvest.rows,
        harvest.skipped(),
        started.elapsed().as_secs_f64(),
        if alerts == 1 { "alert" } else { "alerts" },
        counts.join("; "),
    );
}
