//! A hunt: rules over telemetry, alerts out.

use crate::commands::{Failure, TimeOptions};
use crate::packs::install;
use crate::progress::Bar;
use crate::sigma::{self, Scanner};
use crate::workspace::{self, Loaded, Wanted};
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{self, AtomicUsize};
use vidette_engine::{Clock, Workspace, side_by_side};
use vidette_kql::{NO_FILE, NO_TABLE, NO_WATCHLIST};
use vidette_rules::{Alert, Outcome, Pack, Rule, RuleError, SigmaRule};
use vidette_telemetry::{Harvest, Keep, Reading, Seen, harvest};

/// So few rules are run one after the other, the windows of each side by side, and say while files are read which rows they can see.
const FEW: usize = 16;

/// What was found, and in what.
#[derive(Default)]
pub struct Found {
    pub alerts: Vec<Alert>,
    /// How many alerts each rule gave.
    counts: Vec<(String, usize)>,
    /// Events that were there more than once.
    pub repeated: u64,
    /// What is said of the watchlists and files that rules ask for, and nobody gave.
    pub without: BTreeSet<String>,
    /// A rule could not run.
    pub broken: bool,
    /// What was read; of a hunt with nothing but Sigma rules, without rows.
    pub harvest: Harvest,
}

/// Newest first, of one instant the gravest; then by what else they differ in, so that the order of reading does not show.
fn order(a: &Alert, b: &Alert) -> Ordering {
    let by_rule = || a.title.cmp(&b.title).then_with(|| a.rule_name.cmp(&b.rule_name)).then_with(|| a.rule_id.cmp(&b.rule_id));
    b.time.cmp(&a.time).then(b.severity.cmp(&a.severity)).then_with(by_rule).then_with(|| a.rows.iter().map(|row| row.get()).cmp(b.rows.iter().map(|row| row.get())))
}

/// Runs the rules of the packs over the telemetry; alerts are sorted, newest first, of one instant the gravest first.
pub async fn hunt(mut packs: Vec<Pack>, paths: &[PathBuf], time: &TimeOptions) -> Result<Found, Failure> {
    workspace::learn_columns(paths);
    let mut empty = workspace::empty();
    let mut found = Found { broken: install(&packs, &mut empty), ..Found::default() };
    let (sigma, wrong) = sigma::compile(&mut packs, &workspace::column_names);
    found.broken |= wrong;
    let rules: Vec<&Rule> = packs.iter().flat_map(|pack| &pack.rules).collect();
    if rules.is_empty() && sigma.is_empty() && !found.broken {
        return Err(Failure::usage("there are no rules to run: Sentinel's YAML or ARM template, Defender's custom detections, or Sigma"));
    }
    if !sigma.is_empty() {
        hunt_sigma(&sigma, empty.clone(), paths, time, &mut found).await?;
    }
    if !rules.is_empty() || sigma.is_empty() {
        let queries: Vec<&str> = rules.iter().map(|rule| rule.query.as_str()).collect();
        let wanted = Wanted::by(&empty, queries.iter().copied());
        // Triage folders hold copies of logs: an event is one event, wherever it was found.
        let seen = Seen::default();
        // What many rules ask together lets most rows through, and is asked twice then.
        let mut loaded = if rules.len() > FEW {
            workspace::load(empty, paths, &wanted, Keep::default(), Some(&seen)).await?
        } else {
            workspace::load_for(&queries, empty, paths, &wanted, Some(&seen)).await?
        };
        if let Some(end) = end(time, &loaded.harvest)? {
            loaded.workspace.date_undated(end);
        }
        for (rule, alerts) in rules.iter().zip(replay(&rules, &loaded, time, &mut found).await?) {
            found.counts.extend(alerts.map(|alerts| (rule.name.clone(), alerts)));
        }
        found.repeated = seen.repeated();
        found.harvest = loaded.harvest;
    }
    found.alerts.sort_by(order);
    Ok(found)
}

impl Found {
    /// Which rules gave the alerts, the busiest first: as many as a line has room for.
    pub fn by_rule(&self) -> String {
        const SHOWN: usize = 5;
        let mut loud: Vec<&(String, usize)> = self.counts.iter().filter(|(_, alerts)| *alerts > 0).collect();
        loud.sort_by_key(|(_, alerts)| std::cmp::Reverse(*alerts));
        let (shown, others) = loud.split_at(loud.len().min(SHOWN));
        let mut parts: Vec<String> = shown.iter().map(|(name, alerts)| format!("{name}: {alerts}")).collect();
        let rules = |count: usize| format!("{count} {}", if count == 1 { "rule" } else { "rules" });
        if !others.is_empty() {
            parts.push(format!("{} more: {}", rules(others.len()), others.iter().map(|(_, alerts)| alerts).sum::<usize>()));
        }
        if self.counts.len() > loud.len() {
            parts.push(format!("{} without", rules(self.counts.len() - loud.len())));
        }
        parts.join("; ")
    }

    /// Takes the alerts of a rule and gives how many there were, or says what is wrong with it.
    fn take(&mut self, rule: &Rule, replayed: Result<Outcome, RuleError>) -> Option<usize> {
        match replayed {
            Ok(Outcome { mut alerts, warnings }) => {
                let absent = warnings.into_iter().filter(|warning| [NO_WATCHLIST, NO_FILE, NO_TABLE].contains(&warning.code));
                self.without.extend(absent.map(|warning| format!("{}; {}", warning.message, warning.help.unwrap_or_default())));
                // Windows that overlap find an event more than once.
                let mut given = HashSet::new();
                alerts.retain(|alert| given.insert((alert.time.clone(), alert.title.clone(), alert.rows.iter().map(|row| row.get()).collect::<String>())));
                let count = alerts.len();
                self.alerts.extend(alerts);
                return Some(count);
            }
            Err(RuleError::Query { diagnostics, .. }) => say!("{}", rule.origin.render(&rule.file, &rule.query, &diagnostics).trim_end()),
            Err(error) => say!("error: {error}"),
        }
        self.broken = true;
        None
    }
}

/// Replays rules over the data, many side by side; of a few, their windows are. Gives how many alerts there were of those that ran.
async fn replay(rules: &[&Rule], loaded: &Loaded, time: &TimeOptions, found: &mut Found) -> Result<Vec<Option<usize>>, Failure> {
    let clocks = rules.iter().map(|rule| clocks(rule, time, &loaded.harvest)).collect::<Result<Vec<_>, Failure>>()?;
    let (bar, done, workspace) = (Bar::new(), AtomicUsize::new(0), &loaded.workspace);
    let work = async |at: usize| {
        let outcome = vidette_rules::run(rules[at], workspace, &clocks[at]).await;
        let done = done.fetch_add(1, atomic::Ordering::Relaxed) + 1;
        bar.say(|| format!("{done}/{} rules", rules.len()));
        outcome
    };
    let mut outcomes = Vec::with_capacity(rules.len());
    if rules.len() > FEW {
        outcomes = side_by_side(rules.len(), work).await;
    } else {
        for at in 0..rules.len() {
            outcomes.push(work(at).await);
        }
    }
    bar.finish();
    Ok(rules.iter().zip(outcomes).map(|(rule, outcome)| found.take(rule, outcome)).collect())
}

/// Sigma rules over events in one reading; those over other tables, over the rows that files hold of them.
async fn hunt_sigma(rules: &[SigmaRule], empty: Workspace, paths: &[PathBuf], time: &TimeOptions, found: &mut Found) -> Result<(), Failure> {
    let others: BTreeSet<String> = rules.iter().filter(|rule| !rule.table.is_empty() && rule.table != "WindowsEvent").map(|rule| rule.table.clone()).collect();
    let scanner = Scanner::new(rules.iter().filter(|rule| rule.table == "WindowsEvent"), time.range()?);
    let wanted = others.clone();
    let normalizer = vidette_telemetry::Normalizer::new(move |table, _| wanted.contains(table)).without_events();
    let bar = Bar::new();
    let seen = Seen::default();
    let watch = || Box::new(scanner.watch()) as Box<dyn vidette_telemetry::Watcher>;
    let reading = Reading { keep: Keep::Counts, seen: Some(&seen), carve: workspace::carves(), watch: Some(&watch), direct_parquet: true };
    let harvest = tokio::task::block_in_place(|| harvest(paths, &normalizer, reading, &mut |progress| bar.update(progress))).map_err(|error| Failure::usage(error.to_string()))?;
    bar.finish();
    let (mut gathered, evaluated) = tokio::task::block_in_place(|| scanner.finish());
    for message in &gathered.failures {
        say!("error: {message}");
    }
    found.broken |= !gathered.failures.is_empty();
    found.alerts.append(&mut gathered.alerts);
    // Only rows that files hold as such are counted.
    if harvest.rows > 0 || !harvest.parquet.is_empty() {
        let loaded = workspace::load(empty.clone(), paths, &Wanted::Rows(others), Keep::default(), None).await?;
        sigma::plan_quickly(&loaded.workspace);
        let has_rows = |rule: &SigmaRule| rule.table != "WindowsEvent" && loaded.with_rows.contains(&rule.table);
        let rules: Vec<&Rule> = rules.iter().filter(|rule| has_rows(rule)).map(|rule| &rule.rule).collect();
        replay(&rules, &loaded, time, found).await?;
    }
    // Correlations read whole tables.
    let correlations: Vec<&Rule> = rules.iter().filter(|rule| rule.table.is_empty()).map(|rule| &rule.rule).collect();
    if !correlations.is_empty() {
        let wanted = Wanted::by(&empty, correlations.iter().map(|rule| rule.query.as_str()));
        // A copy of an event counts once.
        let loaded = workspace::load(empty, paths, &wanted, Keep::default(), Some(&Seen::default())).await?;
        replay(&correlations, &loaded, time, found).await?;
    }
    let count = sigma::count(rules.iter());
    let of = if count == 1 { "rule" } else { "rules" };
    found.counts.push((format!("{count} Sigma {of}, {evaluated} of them evaluated"), found.alerts.len()));
    found.repeated = seen.repeated();
    found.harvest = harvest;
    Ok(())
}

/// The end of the last window: `--now`, or the newest event before `--to`; `None` where nothing has a time.
fn end(time: &TimeOptions, harvest: &Harvest) -> Result<Option<i64>, Failure> {
    let (now, (_, to)) = (time.now()?, time.range()?);
    Ok(now.or(harvest.newest_ticks.map(|newest| newest.min(to.unwrap_or(i64::MAX)))))
}

/// The instants a rule runs at.
///
/// With `--now` once. Else the rule is replayed over the data as its schedule would have run it: in steps of its frequency,
/// looking back over its period, the last one ending with the newest event, those without new data left out.
fn clocks(rule: &Rule, time: &TimeOptions, harvest: &Harvest) -> Result<Vec<Clock>, Failure> {
    let period = rule.period_ticks();
    if let Some(now) = time.now()? {
        return Ok(vec![Clock::window(now, period)]);
    }
    let Some(last) = end(time, harvest)? else { return Ok(vec![Clock::now()]) };
    let oldest = harvest.oldest_ticks.unwrap_or(last).max(time.range()?.0.unwrap_or(i64::MIN));
    let step = rule.step_ticks();
    let mut clocks = Vec::new();
    let mut end = last;
    while end >= oldest {
        let start = end.saturating_sub(step);
        // The last one sees the rows without a time.
        if end == last || harvest.has_events_between(start, end) {
            clocks.push(Clock { now_ticks: end, window: Some((end.saturating_sub(period).max(oldest - 1), end)) });
        }
        // Skip to the next step that has events at all.
        end = match harvest.newest_before(start) {
            Some(hour_end) if hour_end < start => end - step * ((end - hour_end) / step).max(1),
            Some(_) => start,
            None => break,
        };
    }
    Ok(clocks)
}
