//! `vidette coverage`: what the data can show, and which rules can fire on it.

use crate::commands::Failure;
use crate::output::{self, Format};
use crate::packs::{install, packs};
use crate::workspace::{self, Loaded, Wanted};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use vidette_engine::{Checker, Clock, Workspace};
use vidette_kql::bound::Query;
use vidette_kql::needs::{Leaf, Need, can_have_rows};
use vidette_kql::time::{TICKS_PER_HOUR, format_datetime, parse_datetime};
use vidette_telemetry::{Keep, tables_of_events};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Rule files and packs; without any, the packs that come with Vidette
    #[arg(long)]
    pub rules: Vec<PathBuf>,
    /// Hours without a row that count as a gap in what a host tells
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    pub gap: i64,
    /// How to write the report; a table on a terminal, else NDJSON of the rules
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// What one host tells.
#[derive(Default)]
struct Host {
    rows: u64,
    tables: BTreeSet<String>,
    /// Since 0001-01-01.
    hours: BTreeSet<i64>,
    first: Option<i64>,
    last: Option<i64>,
}

impl Host {
    /// The hours without rows between two with rows, longest first: where they begin, and how many.
    fn gaps(&self, least: i64) -> Vec<(i64, i64)> {
        let hours: Vec<i64> = self.hours.iter().copied().collect();
        let mut gaps: Vec<(i64, i64)> = hours.windows(2).map(|pair| (pair[0] + 1, pair[1] - pair[0] - 1)).filter(|(_, length)| *length >= least).collect();
        gaps.sort_by_key(|(start, length)| (-length, *start));
        gaps
    }
}

/// Whether a rule can fire.
struct Verdict {
    rule: String,
    /// `yes`, `in part` or `no`.
    can_fire: &'static str,
    why: Vec<String>,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    let packs = packs(&options.rules)?;
    workspace::learn_columns(&options.paths);
    let mut workspace = workspace::empty();
    let mut broken = install(&packs, &mut workspace);
    let rules: Vec<_> = packs.iter().flat_map(|pack| &pack.rules).map(|rule| (rule, leaves(&rule.query, &workspace))).collect();
    let asked = rules.iter().filter_map(|(_, read)| read.as_ref().ok()).flat_map(|(_, leaves)| leaves);
    let loaded = workspace::load(workspace::empty(), &options.paths, &wanted(asked), Keep::default(), None).await?;
    let hosts = hosts(&loaded).await;
    let mut verdicts = Vec::new();
    // Rules read the same things of the same tables.
    let mut looked: BTreeMap<Leaf, Found> = BTreeMap::new();
    for (rule, read) in rules {
        let (query, leaves) = match read {
            Ok(read) => read,
            Err(error) => {
                verdicts.push(Verdict { rule: rule.name.clone(), can_fire: "no", why: vec![format!("the query is wrong: {error}")] });
                broken = true;
                continue;
            }
        };
        let (mut there, mut why) = (Vec::new(), Vec::new());
        for leaf in leaves {
            if !looked.contains_key(&leaf) {
                looked.insert(leaf.clone(), look(&loaded, &leaf).await);
            }
            let found = &looked[&leaf];
            there.push(found.has_rows);
            why.extend(found.missing.iter().cloned());
        }
        let mut said = BTreeSet::new();
        why.retain(|reason| said.insert(reason.clone()));
        let mut at = 0;
        let can = can_have_rows(&query, &mut |_| {
            at += 1;
            there.get(at - 1).copied().unwrap_or(true)
        });
        let can_fire = match (can, why.is_empty()) {
            (false, _) => "no",
            (true, false) => "in part",
            (true, true) => "yes",
        };
        verdicts.push(Verdict { rule: rule.name.clone(), can_fire, why });
    }
    let signals = workspace::signals(&loaded, &options.paths).await?;
    output::write(&render(options, &signals, &hosts, &verdicts), None)?;
    output::problems(&loaded.harvest.problems);
    output::left_out(&loaded.harvest.left_out);
    Ok(if broken { 2 } else { output::status(&loaded.harvest.problems) })
}

/// The query of a rule, and what it reads; or its first error.
fn leaves(text: &str, workspace: &Workspace) -> Result<(Query, Vec<Leaf>), String> {
    let (mut queries, diagnostics) = vidette_kql::compile(text, &Checker::new(workspace));
    if let Some(error) = vidette_kql::errors(&diagnostics).next() {
        return Err(error.to_string());
    }
    let query = queries.pop().ok_or_else(|| "there is none".to_owned())?;
    let mut leaves = Vec::new();
    can_have_rows(&query, &mut |leaf| {
        leaves.push(leaf.clone());
        true
    });
    Ok((query, leaves))
}

/// Of every table that events make: its hosts, times and actions, and the columns that a rule looks at.
fn wanted<'l>(leaves: impl Iterator<Item = &'l Leaf>) -> Wanted {
    let always = || ["DeviceName", "Computer", "Timestamp", "TimeGenerated", "ActionType"].map(str::to_owned).into_iter().collect();
    let mut tables: BTreeMap<String, Need> = tables_of_events().into_iter().map(|table| (table.to_owned(), Need { actions: None, columns: always() })).collect();
    for leaf in leaves {
        if let Some(need) = tables.get_mut(&leaf.table) {
            need.columns.extend(leaf.filtered.iter().cloned());
        }
    }
    Wanted::AllBut(tables)
}

/// Hosts by name, from every table that has rows.
async fn hosts(loaded: &Loaded) -> BTreeMap<String, Host> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    for table in &loaded.with_rows {
        for (host, time) in [("DeviceName", "Timestamp"), ("Computer", "TimeGenerated")] {
            let query = format!("['{table}'] | where isnotempty({host}) | summarize n = count(), a = min({time}), z = max({time}) by h = tolower({host}), bin({time}, 1h)");
            let Ok(result) = loaded.workspace.query(&query, Clock::now()).await else { continue };
            for row in result.tables[0].text_rows() {
                let [name, hour, rows, first, last] = &row[..] else { continue };
                let host = hosts.entry(name.clone()).or_default();
                host.rows += rows.parse::<u64>().unwrap_or_default();
                host.tables.insert(table.clone());
                host.hours.extend(parse_datetime(hour).map(|hour| hour / TICKS_PER_HOUR));
                let first = parse_datetime(first);
                host.first = [host.first, first].into_iter().flatten().min();
                host.last = host.last.max(parse_datetime(last));
            }
            break;
        }
    }
    hosts
}

struct Found {
    has_rows: bool,
    missing: Vec<String>,
}

/// What the data have of the rows that a rule reads, and what they lack.
async fn look(loaded: &Loaded, leaf: &Leaf) -> Found {
    let table = &leaf.table;
    if !loaded.with_rows.contains(table) {
        return Found { has_rows: false, missing: vec![format!("no rows in {table}")] };
    }
    let mut condition = String::new();
    if let Some(actions) = &leaf.actions {
        let list: Vec<String> = actions.iter().map(|action| format!("'{}'", action.replace('\'', ""))).collect();
        condition = format!("| where ActionType in~ ({})", list.join(", "));
    }
    let columns: Vec<&String> = leaf.filtered.iter().filter(|column| column.as_str() != "ActionType").collect();
    let counts: Vec<String> = columns.iter().enumerate().map(|(at, column)| format!("c{at} = countif(isnotempty(tostring(['{column}'])))")).collect();
    let query = format!("['{table}'] {condition} | summarize {}", std::iter::once("rows = count()".to_owned()).chain(counts).collect::<Vec<_>>().join(", "));
    let Ok(result) = loaded.workspace.query(&query, Clock::now()).await else { return Found { has_rows: true, missing: Vec::new() } };
    let row = result.tables[0].text_rows().into_iter().next().unwrap_or_default();
    if row.first().is_none_or(|rows| rows == "0") {
        let kinds = leaf.actions.as_ref().map(|actions| actions.iter().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default();
        return Found { has_rows: false, missing: vec![format!("{table} has no row of {kinds}")] };
    }
    let empty: Vec<String> =
        columns.iter().zip(&row[1..]).filter(|(_, count)| *count == "0").map(|(column, _)| format!("{table} has nothing in {column}{}", hint(column))).collect();
    Found { has_rows: true, missing: empty }
}

/// What fills a column that is often empty.
fn hint(column: &str) -> &'static str {
    match column {
        "ProcessCommandLine" | "InitiatingProcessCommandLine" => ": log command lines (Sysmon 1, or the policy \"Include command line in process creation events\")",
        "RemoteUrl" => ": log DNS (Sysmon 22) or inspect connections",
        _ => "",
    }
}

fn render(options: &Options, signals: &BTreeMap<(String, u32), u64>, hosts: &BTreeMap<String, Host>, verdicts: &[Verdict]) -> String {
    let time = |ticks: Option<i64>| ticks.map(format_datetime).unwrap_or_default();
    let rule = |verdict: &Verdict| json!({"rule": verdict.rule, "canFire": verdict.can_fire, "why": verdict.why});
    let gaps = |host: &Host| -> Vec<serde_json::Value> {
        host.gaps(options.gap).into_iter().map(|(start, hours)| json!({"from": format_datetime(start * TICKS_PER_HOUR), "hours": hours})).collect()
    };
    let names = ["Rule", "Can fire", "Why not, or not wholly"].map(str::to_owned);
    let rows: Vec<Vec<String>> = verdicts.iter().map(|verdict| vec![verdict.rule.clone(), verdict.can_fire.to_owned(), verdict.why.join("; ")]).collect();
    match Format::choose(options.format, false) {
        Format::Ndjson => verdicts.iter().map(|verdict| format!("{}\n", rule(verdict))).collect(),
        Format::Csv => output::csv(&names, &rows),
        Format::Json => {
            let hosts: Vec<serde_json::Value> = hosts
                .iter()
                .map(|(name, host)| json!({"host": name, "rows": host.rows, "first": time(host.first), "last": time(host.last), "tables": host.tables, "gaps": gaps(host)}))
                .collect();
            let sources: Vec<serde_json::Value> = signals.iter().map(|((provider, id), count)| json!({"provider": provider, "eventId": id, "events": count})).collect();
            format!("{}\n", json!({"hosts": hosts, "sources": sources, "rules": verdicts.iter().map(rule).collect::<Vec<_>>()}))
        }
        Format::Table => {
            let host_rows: Vec<Vec<String>> = hosts
                .iter()
                .map(|(name, host)| {
                    let gaps = host.gaps(options.gap);
                    let longest = gaps.first().map(|(start, hours)| format!("{hours} h from {} ({} in all)", &format_datetime(start * TICKS_PER_HOUR)[..16], gaps.len()));
                    vec![name.clone(), host.rows.to_string(), time(host.first), time(host.last), host.tables.len().to_string(), longest.unwrap_or_else(|| "none".to_owned())]
                })
                .collect();
            let host_names = ["Host", "Rows", "First", "Last", "Tables", "Longest gap"].map(str::to_owned);
            let mut providers: BTreeMap<&str, (u64, BTreeSet<u32>)> = BTreeMap::new();
            for ((provider, id), count) in signals {
                let entry = providers.entry(provider).or_default();
                entry.0 += count;
                entry.1.insert(*id);
            }
            let source_rows: Vec<Vec<String>> = providers
                .iter()
                .map(|(provider, (count, ids))| vec![(*provider).to_owned(), count.to_string(), ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")])
                .collect();
            let plain = |names: &[String], rows: &[Vec<String>]| output::table(names, rows, output::width(), |_, _| None);
            let sources = plain(&["Source", "Events", "Event ids"].map(str::to_owned), &source_rows);
            format!("{}\n{sources}\n{}", plain(&host_names, &host_rows), plain(&names, &rows))
        }
    }
}
