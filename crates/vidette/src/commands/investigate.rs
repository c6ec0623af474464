//! `vidette investigate`: the queries of the pack's guide around an alert, as one case report.

use crate::case::{Case, Node, html};
use crate::commands::hunt::severity_style;
use crate::commands::{AlertOptions, Failure, choose_alert};
use crate::hunting::hunt;
use crate::output;
use crate::packs::{install, packs_for_hunt};
use crate::workspace::{self, Wanted};
use anstyle::{AnsiColor, Style};
use std::path::PathBuf;
use vidette_rules::{Alert, Guide};
use vidette_telemetry::{Keep, Seen};

#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    pub of: AlertOptions,
    /// Write the report as one HTML page with the process tree and the timeline drawn
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Rows of each step and of the timeline that are shown in the terminal
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub rows: usize,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    let packs = packs_for_hunt(&options.of.rules)?;
    let guide = guide(&packs)?;
    let mut empty = workspace::empty();
    install(&packs, &mut empty);
    let alerts = hunt(packs, &options.of.paths, &options.of.time).await?.alerts;
    let alert = choose_alert(&alerts, &options.of.alert)?.clone();
    let queries: Vec<String> = guide.steps.iter().map(|step| guide.query(step, &[])).collect();
    // Tables that tell which process an alert is of.
    let asked = queries.iter().map(String::as_str).chain(["union DeviceProcessEvents, DeviceNetworkEvents, DeviceEvents"]);
    let wanted = Wanted::by(&empty, asked);
    let seen = Seen::default();
    let loaded = workspace::load(empty, &options.of.paths, &wanted, Keep::default(), Some(&seen)).await?;
    let clock = options.of.time.clock(loaded.harvest.newest_ticks)?;
    let case = Case::build(alert, &guide, &loaded, clock).await?;
    if let Some(path) = &options.html {
        output::write(&html::page(&case), Some(path))?;
        say!("report written to {}", path.display());
    }
    if options.json {
        let text = serde_json::to_string_pretty(&case).map_err(|error| Failure::usage(error.to_string()))?;
        output::write(&format!("{text}\n"), None)?;
    } else {
        output::write(&text(&case, options.rows), None)?;
    }
    Ok(output::status(&loaded.harvest.problems))
}

/// The guide of the packs, else that of the pack in the binary.
fn guide(packs: &[vidette_rules::Pack]) -> Result<Guide, Failure> {
    let found = packs.iter().chain(vidette_rules::embedded()).find_map(|pack| pack.guide.clone());
    found.ok_or_else(|| Failure::usage("no pack has an Investigation.md"))
}

fn text(case: &Case, rows: usize) -> String {
    let colored = output::color();
    let styled = |text: &str, style: Style| if colored { format!("{style}{text}{style:#}") } else { text.to_owned() };
    let bold = |text: &str| styled(text, Style::new().bold());
    let width = output::width();
    let alert: &Alert = &case.alert;
    let mut out = String::new();
    let severity = styled(alert.severity.name(), severity_style(alert.severity.name()).unwrap_or_default());
    out += &format!("{severity}  {}\n", bold(&alert.title));
    out += &format!("{}  {}  {}\n", alert.time, alert.rule_name, alert.techniques.join(", "));
    if !alert.description.is_empty() {
        out += &format!("{}\n", alert.description);
    }
    out += &format!("\n{}\n", bold("Process tree"));
    for (at, node) in case.tree.iter().enumerate() {
        let name = if node.is_subject { styled(&format!("▶ {}", name(node)), Style::new().bold().fg_color(Some(AnsiColor::Red.into()))) } else { name(node) };
        let lead = branches(&case.tree, at);
        let room = width.saturating_sub(lead.chars().count() + 30).max(20);
        out += &format!("{lead}{name}  {}\n", output::one_line(&node.command_line, room));
    }
    for section in &case.sections {
        out += &format!("\n{}\n", bold(&section.title));
        match (&section.error, section.rows.len()) {
            (Some(error), _) => out += &format!("could not be asked: {error}\n"),
            (None, 0) => out += "nothing\n",
            (None, count) => {
                out += &output::table(&section.columns, &section.rows[..count.min(rows)], width, |_, _| None);
                out += &more(count, rows);
            }
        }
    }
    out += &format!("\n{}\n", bold("Timeline"));
    if case.timeline.is_empty() {
        out += "nothing\n";
    } else {
        let columns = ["Time", "", "What", "Who", "Detail"].map(str::to_owned);
        let near = around(case, rows);
        let lines: Vec<Vec<String>> = near
            .iter()
            .map(|moment| {
                vec![
                    moment.time.get(11..23).unwrap_or(&moment.time).to_owned(),
                    if moment.of_subject { "▶" } else { "" }.to_owned(),
                    moment.what.clone(),
                    moment.who.clone(),
                    moment.detail.clone(),
                ]
            })
            .collect();
        out += &output::table(&columns, &lines, width, |_, _| None);
        out += &more(case.timeline.len(), rows);
    }
    out
}

/// As many moments as are shown: those of the subject first, then those nearest to the alert; in order of time.
fn around(case: &Case, most: usize) -> Vec<&crate::case::Moment> {
    let alert = vidette_kql::time::parse_datetime(&case.alert.time).unwrap_or_default();
    let mut all: Vec<&crate::case::Moment> = case.timeline.iter().collect();
    all.sort_by_key(|moment| (!moment.of_subject, (moment.ticks - alert).abs()));
    all.truncate(most);
    all.sort_by_key(|moment| moment.ticks);
    all
}

fn more(count: usize, shown: usize) -> String {
    if count > shown { format!("… {} more (--rows, --json or --html shows them)\n", count - shown) } else { String::new() }
}

fn name(node: &Node) -> String {
    let id = node.process_id.map(|id| format!(" ({id})")).unwrap_or_default();
    format!("{}{id}", if node.file_name.is_empty() { "?" } else { &node.file_name })
}

/// The lines before a node: `│  └─ `.
fn branches(tree: &[Node], at: usize) -> String {
    let depth = tree[at].depth;
    let mut lead = String::new();
    for level in 1..=depth {
        // Whether a later node hangs on the same stem.
        let goes_on = tree[at + 1..].iter().take_while(|node| node.depth >= level).any(|node| node.depth == level);
        lead += match (level == depth, goes_on) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        };
    }
    lead
}
