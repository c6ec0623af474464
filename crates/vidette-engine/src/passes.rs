//! What sees all rows at once: plugins of `evaluate`, graph operators. Kusto docs: a page per plugin.

mod graph;
pub(crate) mod graph_match;

use crate::cells::{Cell, Out};
use crate::functions::display;
use crate::operators::{Output, Table};
use datafusion::common::{Result, exec_err};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

pub(crate) type Pass = fn(&[Table], &mut Output) -> Result<()>;

/// One row per plugin.
pub(crate) const PASSES: &[(&str, Pass)] = &[
    ("narrow", narrow),
    ("identity", identity),
    ("rows_near", rows_near),
    ("ipv4_lookup", ipv4_lookup),
    ("ipv6_lookup", ipv6_lookup),
    ("active_users_count", active_users_count),
    ("sliding_window_counts", sliding_window_counts),
    ("activity_counts_metrics", activity_counts_metrics),
    ("session_count", session_count),
    ("rolling_percentile", rolling_percentile),
    ("graph_nodes", graph::nodes),
    ("graph_nodes_named", graph::named_nodes),
    ("graph_weak_components", graph::weak_components),
    ("graph_strong_components", graph::strong_components),
];

pub(crate) fn find(name: &str) -> Option<Pass> {
    PASSES.iter().find(|(pass, _)| *pass == name).map(|(_, pass)| *pass)
}

/// A row per cell: the row's number, the column's name, the value as text.
fn narrow(inputs: &[Table], output: &mut Output) -> Result<()> {
    for row in 0..inputs[0].rows {
        for column in 0..inputs[0].width() {
            output.push([Out::Long(row as i64), Out::Text(inputs[0].names[column].clone()), Out::Text(display(inputs[0].cell(row, column)))]);
        }
    }
    Ok(())
}

fn identity(inputs: &[Table], output: &mut Output) -> Result<()> {
    (0..inputs[0].rows).for_each(|row| output.push(inputs[0].row(row)));
    Ok(())
}

/// `rows_near(condition, before, group, after)`: the rows near those that meet the condition.
fn rows_near(inputs: &[Table], output: &mut Output) -> Result<()> {
    let table = &inputs[0];
    let before = table.constant(1).long().unwrap_or(0).max(0) as usize;
    let after = if table.arguments() > 3 { table.constant(3).long().unwrap_or(0).max(0) as usize } else { before };
    let group = |row: usize| if table.arguments() > 2 { display(table.argument(row, 2)) } else { String::new() };
    let mut by_group: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    (0..table.rows).for_each(|row| by_group.entry(group(row)).or_default().push(row));
    let mut near: HashSet<usize> = HashSet::new();
    for rows in by_group.values() {
        for (at, row) in rows.iter().enumerate() {
            if table.argument(*row, 0) == Cell::Bool(true) {
                near.extend(&rows[at.saturating_sub(before)..(at + after + 1).min(rows.len())]);
            }
        }
    }
    (0..table.rows).filter(|row| near.contains(row)).for_each(|row| output.push(table.row(row)));
    Ok(())
}

/// The network's first bits and their number; IPv4 as IPv6 with 96 bits before it.
fn network(text: &str) -> Option<(u128, u32)> {
    let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(address, prefix)| (address, Some(prefix)));
    let (bits, extra) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 96),
        IpAddr::V6(address) => (address.to_bits(), 0),
    };
    let prefix = match prefix {
        Some(prefix) => prefix.parse::<u32>().ok()? + extra,
        None => 128,
    };
    (prefix <= 128).then(|| (masked(bits, prefix), prefix))
}

fn masked(bits: u128, prefix: u32) -> u128 {
    if prefix == 0 { 0 } else { bits & (u128::MAX << (128 - prefix)) }
}

fn ipv4_lookup(inputs: &[Table], output: &mut Output) -> Result<()> {
    ip_lookup(inputs, &mut |left, right| match right {
        Some(right) => output.push(inputs[0].row(left).chain(inputs[1].row(right))),
        None => output.push(inputs[0].row(left)),
    })
}

fn ipv6_lookup(inputs: &[Table], output: &mut Output) -> Result<()> {
    let absent = vec![Out::Null; inputs[1].width()];
    ip_lookup(inputs, &mut |left, right| match right {
        Some(right) => output.push(inputs[1].row(right).chain(inputs[0].row(left))),
        None => output.push(absent.iter().cloned().chain(inputs[0].row(left))),
    })
}

/// Rows of the second input whose network holds the address, and whose keys are equal.
fn ip_lookup(inputs: &[Table], found_row: &mut dyn FnMut(usize, Option<usize>)) -> Result<()> {
    let (left, right) = (&inputs[0], &inputs[1]);
    let keys = right.arguments();
    let key = |table: &Table, row: usize| (1..keys).map(|at| display(table.argument(row, at))).collect::<Vec<_>>();
    let mut networks: HashMap<(u128, u32), Vec<usize>> = HashMap::new();
    let mut prefixes: Vec<u32> = Vec::new();
    for row in 0..right.rows {
        let Some(network) = network(right.argument(row, 0).text()) else { continue };
        networks.entry(network).or_default().push(row);
        if !prefixes.contains(&network.1) {
            prefixes.push(network.1);
        }
    }
    // The narrowest network first.
    prefixes.sort_unstable_by(|a, b| b.cmp(a));
    let unmatched = left.constant(keys) == Cell::Bool(true);
    for row in 0..left.rows {
        let mut found = false;
        if let Some((bits, own)) = network(left.argument(row, 0).text()) {
            for prefix in prefixes.iter().filter(|prefix| **prefix <= own) {
                for other in networks.get(&(masked(bits, *prefix), *prefix)).into_iter().flatten() {
                    if key(left, row) == key(right, *other) {
                        found_row(row, Some(*other));
                        found = true;
                    }
                }
            }
        }
        if !found && unmatched {
            found_row(row, None);
        }
    }
    Ok(())
}

/// An event of a user on a timeline, by group.
struct Event {
    user: String,
    time: i64,
}

/// The most periods that a plugin counts: more would not fit into memory.
const MOST_BINS: i64 = 100_000;

/// Events by the values of the arguments from `first` on, in the order of their appearance.
fn events(table: &Table, first: usize) -> Vec<(Vec<Out>, Vec<Event>)> {
    let mut groups: Vec<(Vec<Out>, Vec<Event>)> = Vec::new();
    let mut places: HashMap<Vec<String>, usize> = HashMap::new();
    for row in 0..table.rows {
        let Some(time) = table.argument(row, 1).long() else { continue };
        let key: Vec<Cell> = (first..table.arguments()).map(|at| table.argument(row, at)).collect();
        let place = *places.entry(key.iter().map(|cell| display(*cell)).collect()).or_insert_with(|| {
            groups.push((key.iter().map(|cell| Out::from(*cell)).collect(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(Event { user: display(table.argument(row, 0)), time });
    }
    groups
}

/// A constant argument of time, which a plugin cannot do without.
fn ticks(table: &Table, argument: usize, plugin: &str) -> Result<i64> {
    match table.constant(argument).long() {
        Some(ticks) => Ok(ticks),
        None => exec_err!("{plugin}: argument {} is null", argument + 1),
    }
}

fn positive(table: &Table, argument: usize, plugin: &str) -> Result<i64> {
    match ticks(table, argument, plugin)? {
        step if step > 0 => Ok(step),
        _ => exec_err!("{plugin}: argument {} must be positive", argument + 1),
    }
}

fn bins(start: i64, end: i64, step: i64, plugin: &str) -> Result<i64> {
    let count = end.saturating_sub(start).div_euclid(step) + 1;
    if count > MOST_BINS { exec_err!("{plugin}: {count} periods are more than {MOST_BINS}") } else { Ok(count.max(0)) }
}

fn time_row(time: i64, group: &[Out], values: impl IntoIterator<Item = i64>) -> Vec<Out> {
    std::iter::once(Out::Long(time)).chain(group.iter().cloned()).chain(values.into_iter().map(Out::Long)).collect()
}

/// `active_users_count(id, time, start, end, lookback, period, active_periods, bin, group…)`: users that were active in
/// at least so many periods of the time before.
fn active_users_count(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "active_users_count";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (start, end, lookback, period) = (ticks(table, 2, NAME)?, ticks(table, 3, NAME)?, ticks(table, 4, NAME)?, positive(table, 5, NAME)?);
    let (active, bin) = (ticks(table, 6, NAME)?, positive(table, 7, NAME)?);
    for (group, events) in events(table, 8) {
        for at in 0..bins(start, end, bin, NAME)? {
            let from = start + at * bin;
            // Users of the bin, each with the days before its last event in the bin.
            let mut last: HashMap<&str, i64> = HashMap::new();
            for event in events.iter().filter(|event| event.time >= from && event.time < from + bin && event.time <= end) {
                let time = last.entry(&event.user).or_insert(event.time);
                *time = (*time).max(event.time);
            }
            let busy = |user: &str, until: i64| {
                let periods: HashSet<i64> =
                    events.iter().filter(|event| event.user == user && event.time <= until && event.time > until - lookback).map(|event| event.time.div_euclid(period)).collect();
                periods.len() as i64 >= active
            };
            let count = last.iter().filter(|(user, until)| busy(user, **until)).count() as i64;
            if count > 0 {
                output.push(time_row(from, &group, [count]));
            }
        }
    }
    Ok(())
}

/// `sliding_window_counts(id, time, start, end, lookback, bin, group…)`: events and users of the window that ends with
/// each bin.
fn sliding_window_counts(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "sliding_window_counts";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (start, end, lookback, bin) = (ticks(table, 2, NAME)?, ticks(table, 3, NAME)?, positive(table, 4, NAME)?, positive(table, 5, NAME)?);
    for (group, events) in events(table, 6) {
        for at in 0..bins(start, end, bin, NAME)? {
            let until = start + (at + 1) * bin;
            let seen: Vec<&Event> = events.iter().filter(|event| event.time < until && event.time >= until - lookback).collect();
            let users: HashSet<&str> = seen.iter().map(|event| event.user.as_str()).collect();
            if !seen.is_empty() {
                output.push(time_row(until - bin, &group, [seen.len() as i64, users.len() as i64]));
            }
        }
    }
    Ok(())
}

/// `activity_counts_metrics(id, time, start, end, window, group…)`: events, users, new users and users so far.
fn activity_counts_metrics(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "activity_counts_metrics";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (start, end, window) = (ticks(table, 2, NAME)?, ticks(table, 3, NAME)?, positive(table, 4, NAME)?);
    for (group, events) in events(table, 5) {
        let mut known: HashSet<&str> = HashSet::new();
        for at in 0..bins(start, end, window, NAME)? {
            let from = start + at * window;
            let seen: Vec<&Event> = events.iter().filter(|event| event.time >= from && event.time < from + window && event.time <= end).collect();
            let users: HashSet<&str> = seen.iter().map(|event| event.user.as_str()).collect();
            let new = users.iter().filter(|user| !known.contains(**user)).count() as i64;
            known.extend(&users);
            if !seen.is_empty() {
                output.push(time_row(from, &group, [seen.len() as i64, users.len() as i64, new, known.len() as i64]));
            }
        }
    }
    Ok(())
}

/// `session_count(id, time, start, end, bin, lookback, group…)`: users of a bin that were not seen in the time before.
fn session_count(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "session_count";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (start, end, bin, lookback) = (ticks(table, 2, NAME)?, ticks(table, 3, NAME)?, positive(table, 4, NAME)?, positive(table, 5, NAME)?);
    for (group, mut events) in events(table, 6) {
        events.sort_by_key(|event| event.time);
        let mut last: HashMap<&str, i64> = HashMap::new();
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for event in &events {
            let begins = last.get(event.user.as_str()).is_none_or(|before| event.time - before > lookback);
            last.insert(&event.user, event.time);
            if begins && event.time >= start && event.time < end {
                *counts.entry((event.time - start).div_euclid(bin)).or_default() += 1;
            }
        }
        for (at, count) in counts {
            output.push(time_row(start + at * bin, &group, [count]));
        }
    }
    Ok(())
}

/// `rolling_percentile(value, percentile, index, bin, bins, group…)`: the percentile of the last bins, a row per bin.
fn rolling_percentile(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "rolling_percentile";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (bin, window) = (positive(table, 3, NAME)?, positive(table, 4, NAME)?);
    let percent = table.constant(1).real().unwrap_or(50.0);
    type Group = (Vec<Out>, Vec<(i64, f64)>);
    let mut groups: BTreeMap<Vec<String>, Group> = BTreeMap::new();
    for row in 0..table.rows {
        let (Some(value), Some(index)) = (table.argument(row, 0).real(), table.argument(row, 2).long()) else { continue };
        let key: Vec<Cell> = (5..table.arguments()).map(|at| table.argument(row, at)).collect();
        let group = groups.entry(key.iter().map(|cell| display(*cell)).collect()).or_insert_with(|| (key.iter().map(|cell| Out::from(*cell)).collect(), Vec::new()));
        group.1.push((index.div_euclid(bin), value));
    }
    let whole = table.argument_type(0).is_some_and(|ty| ty != vidette_kql::ScalarType::Real);
    for (group, mut values) in groups.into_values() {
        values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (first, last) = (values[0].0, values[values.len() - 1].0);
        bins(first, last, 1, NAME)?;
        for at in first..=last {
            let mut seen: Vec<f64> = values.iter().filter(|(index, _)| *index <= at && *index > at - window).map(|(_, value)| *value).collect();
            seen.sort_by(f64::total_cmp);
            if !seen.is_empty() {
                let rank = ((percent / 100.0 * seen.len() as f64).ceil() as usize).clamp(1, seen.len()) - 1;
                let value = if whole { Out::Long(seen[rank] as i64) } else { Out::Real(seen[rank]) };
                output.push(std::iter::once(Out::Long(at * bin)).chain(group.iter().cloned()).chain([value]));
            }
        }
    }
    Ok(())
}
