//! `vidette tune`: an entry of the watchlist Tuning from an alert, and what else it would keep quiet.

use crate::commands::{AlertOptions, Failure, choose_alert};
use crate::hunting::hunt;
use crate::output;
use crate::packs::packs_for_hunt;
use std::collections::HashSet;
use std::path::PathBuf;
use vidette_kql::Watchlist;
use vidette_kql::time::{format_datetime, parse_datetime};
use vidette_rules::{Alert, Pack, tuning};

#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    pub of: AlertOptions,
    /// Who answers for the entry
    #[arg(long, default_value = "")]
    pub owner: String,
    /// Why it is benign
    #[arg(long, default_value = "")]
    pub reason: String,
    /// When the entry ends; 90 days after the alert unless told
    #[arg(long)]
    pub expires: Option<String>,
    /// Append the entry to this CSV
    #[arg(long, value_name = "FILE")]
    pub add: Option<PathBuf>,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    const DAYS: i64 = 90;
    const TICKS_PER_DAY: i64 = 864_000_000_000;
    let packs = packs_for_hunt(&options.of.rules)?;
    let before = hunt(packs.clone(), &options.of.paths, &options.of.time).await?.alerts;
    let scored: Vec<Alert> = before.iter().filter(|alert| alert.row().contains_key("Score")).cloned().collect();
    // A number is one of the whole list; a title, of an alert that can be tuned.
    let alert = choose_alert(if options.of.alert.parse::<usize>().is_ok() { &before } else { &scored }, &options.of.alert)?;
    if !alert.row().contains_key("Score") {
        return Err(Failure::query(format!("`{}` has no score: only rules over WebServiceScores are tuned by the watchlist", alert.rule_name)));
    }
    let expires = match (&options.expires, parse_datetime(&alert.time)) {
        (Some(text), _) => text.clone(),
        (None, Some(time)) => format_datetime(time + DAYS * TICKS_PER_DAY)[..10].to_owned(),
        _ => String::new(),
    };
    let entry = tuning::propose(&alert.row(), &options.owner, &options.reason, &expires);
    let after = hunt(with_entry(packs, &entry), &options.of.paths, &options.of.time).await?.alerts;
    let cells: Vec<String> = entry.iter().map(|(_, value)| value.clone()).collect();
    let columns = tuning::COLUMNS.map(str::to_owned);
    let line = output::csv(&columns, std::slice::from_ref(&cells));
    output::write(&line, None)?;
    let left: HashSet<String> = after.iter().map(key).collect();
    let gone: Vec<&Alert> = before.iter().filter(|other| !left.contains(&key(other))).collect();
    let chosen = key(alert);
    say!("{} of {} alerts would be quiet:", gone.len(), before.len());
    for other in &gone {
        say!("  {} {}{}", &other.time.get(..19).unwrap_or(&other.time), other.title, if key(other) == chosen { " (the chosen one)" } else { "" });
    }
    if options.owner.is_empty() || options.reason.is_empty() {
        say!("an entry without --owner and --reason is refused when the pack is loaded");
    }
    if let Some(path) = &options.add {
        let existing = std::fs::read_to_string(path).unwrap_or_default();
        let row = line.split_once('\n').map_or("", |(_, row)| row);
        let text = if existing.is_empty() { line.clone() } else { format!("{}\n{row}", existing.trim_end()) };
        output::write(&text, Some(path))?;
        say!("added to {}", path.display());
    }
    Ok(0)
}

fn key(alert: &Alert) -> String {
    format!("{}\n{}\n{}", alert.time, alert.rule_id, alert.title)
}

/// The packs, with the entry in their watchlist.
fn with_entry(mut packs: Vec<Pack>, entry: &[(&'static str, String)]) -> Vec<Pack> {
    let row: Vec<String> = entry.iter().map(|(_, value)| value.clone()).collect();
    let columns: Vec<String> = entry.iter().map(|(name, _)| (*name).to_owned()).collect();
    for pack in &mut packs {
        match pack.watchlists.iter_mut().find(|(alias, _)| alias == "Tuning") {
            Some((_, list)) => list.rows.push(row.clone()),
            None => pack.watchlists.push(("Tuning".to_owned(), Watchlist { columns: columns.clone(), rows: vec![row.clone()] })),
        }
    }
    packs
}
