//! Plugins over users on a timeline. Kusto docs: a page per plugin.

use crate::cells::{Cell, Out};
use crate::functions::{display, shown};
use crate::operators::{Output, Table};
use datafusion::common::{Result, exec_err};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

/// An event of a user on a timeline, by group.
struct Event<'t> {
    user: Cow<'t, str>,
    time: i64,
}

/// The most periods that a plugin counts: more would not fit into memory.
const MOST_BINS: i64 = 100_000;

/// Events by the values of the arguments from `first` on, in the order of their appearance.
fn events(table: &Table, first: usize) -> Vec<(Vec<Out>, Vec<Event<'_>>)> {
    let mut groups: Vec<(Vec<Out>, Vec<Event<'_>>)> = Vec::new();
    let mut places: HashMap<Vec<String>, usize> = HashMap::new();
    for row in 0..table.rows {
        let Some(time) = table.argument(row, 1).long() else { continue };
        let key: Vec<Cell> = (first..table.arguments()).map(|at| table.argument(row, at)).collect();
        let place = *places.entry(key.iter().map(|cell| shown(*cell)).collect()).or_insert_with(|| {
            groups.push((key.iter().map(|cell| Out::from(*cell)).collect(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(Event { user: display(table.argument(row, 0)), time });
    }
    groups
}

/// A constant argument of time, which a plugin cannot do without.
pub(super) fn ticks(table: &Table, argument: usize, plugin: &str) -> Result<i64> {
    match table.constant(argument).long() {
        Some(ticks) => Ok(ticks),
        None => exec_err!("{plugin}: argument {} is null", argument + 1),
    }
}

pub(super) fn positive(table: &Table, argument: usize, plugin: &str) -> Result<i64> {
    match ticks(table, argument, plugin)? {
        step if step > 0 => Ok(step),
        _ => exec_err!("{plugin}: argument {} must be positive", argument + 1),
    }
}

pub(super) fn bins(start: i64, end: i64, step: i64, plugin: &str) -> Result<i64> {
    let count = end.saturating_sub(start).div_euclid(step) + 1;
    if count > MOST_BINS { exec_err!("{plugin}: {count} periods are more than {MOST_BINS}") } else { Ok(count.max(0)) }
}

fn time_row(time: i64, group: &[Out], values: impl IntoIterator<Item = i64>) -> Vec<Out> {
    std::iter::once(Out::Long(time)).chain(group.iter().cloned()).chain(values.into_iter().map(Out::Long)).collect()
}

/// `active_users_count(id, time, start, end, lookback, period, active_periods, bin, group…)`: users that were active in
/// at least so many periods of the time before.
pub(super) fn active_users_count(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "active_users_count";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (start, end, lookback, period) = (ticks(table, 2, NAME)?, ticks(table, 3, NAME)?, ticks(table, 4, NAME)?, positive(table, 5, NAME)?);
    let (active, bin) = (ticks(table, 6, NAME)?, positive(table, 7, NAME)?);
    for (group, events) in events(table, 8) {
        let mut times: HashMap<&str, Vec<i64>> = HashMap::new();
        events.iter().for_each(|event| times.entry(&event.user).or_default().push(event.time));
        let count = bins(start, end, bin, NAME)?;
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for times in times.values_mut() {
            times.sort_unstable();
            for (at, until) in times.iter().enumerate().filter(|(_, time)| (start..=end).contains(*time)) {
                // What counts is the time before the user's last event of a bin.
                let here = (until - start).div_euclid(bin);
                if here >= count || times.get(at + 1).is_some_and(|next| *next <= end && (next - start).div_euclid(bin) == here) {
                    continue;
                }
                let since = times.partition_point(|time| *time <= until - lookback);
                let periods: HashSet<i64> = times[since..=at].iter().map(|time| time.div_euclid(period)).collect();
                if periods.len() as i64 >= active {
                    *counts.entry(here).or_default() += 1;
                }
            }
        }
        for (at, count) in counts {
            output.push(time_row(start + at * bin, &group, [count]));
        }
    }
    Ok(())
}

/// `sliding_window_counts(id, time, start, end, lookback, bin, group…)`: events and users of the window that ends with
/// each bin.
pub(super) fn sliding_window_counts(inputs: &[Table], output: &mut Output) -> Result<()> {
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
            let users: HashSet<&str> = seen.iter().map(|event| event.user.as_ref()).collect();
            if !seen.is_empty() {
                output.push(time_row(until - bin, &group, [seen.len() as i64, users.len() as i64]));
            }
        }
    }
    Ok(())
}

/// `activity_counts_metrics(id, time, start, end, window, group…)`: events, users, new users and users so far.
pub(super) fn activity_counts_metrics(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "activity_counts_metrics";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    // Here the ends must be given; other plugins take them from the events.
    ticks(table, 2, NAME)?;
    ticks(table, 3, NAME)?;
    let periods = Periods::of(table, [2, 3, 4], NAME)?;
    for (group, events) in events(table, 5) {
        let mut known: HashSet<&str> = HashSet::new();
        let mut counts = vec![0; periods.starts.len()];
        events.iter().filter_map(|event| periods.find(event.time)).for_each(|at| counts[at] += 1);
        for ((from, count), users) in periods.starts.iter().zip(counts).zip(periods.users(&events)) {
            let new = users.iter().filter(|user| !known.contains(**user)).count() as i64;
            known.extend(&users);
            if count > 0 {
                output.push(time_row(*from, &group, [count, users.len() as i64, new, known.len() as i64]));
            }
        }
    }
    Ok(())
}

/// `session_count(id, time, start, end, bin, lookback, group…)`: users of a bin that were not seen in the time before.
pub(super) fn session_count(inputs: &[Table], output: &mut Output) -> Result<()> {
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
            let begins = last.get(event.user.as_ref()).is_none_or(|before| event.time - before > lookback);
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

/// Where the periods of an analysis begin, and its last instant.
struct Periods {
    starts: Vec<i64>,
    last: i64,
}

impl Periods {
    /// From the arguments `start`, `end` and `step`; a step may be `week`, `month` or `year`. Without a start or an end
    /// they are those of the events.
    fn of(table: &Table, [start, end, step]: [usize; 3], plugin: &str) -> Result<Periods> {
        let times = || (0..table.rows).filter_map(|row| table.argument(row, 1).long());
        let last = table.constant(end).long().or_else(|| times().max()).unwrap_or(0);
        let first = table.constant(start).long().or_else(|| times().min()).unwrap_or(0);
        let mut starts = Vec::new();
        let Some(name) = Calendar::named(table.constant(step)) else {
            let step = positive(table, step, plugin)?;
            // Without a start, periods are those of bin().
            let first = if table.constant(start) == Cell::Null { first.div_euclid(step) * step } else { first };
            starts.extend((0..bins(first, last, step, plugin)?).map(|at| first + at * step));
            return Ok(Periods { starts, last });
        };
        let mut at = 0;
        loop {
            let Some(start) = name.start(first, at) else { return exec_err!("{plugin}: the periods leave the calendar") };
            if start > last {
                return Ok(Periods { starts, last });
            }
            starts.push(start);
            at += 1;
            bins(0, at, 1, plugin)?;
        }
    }

    fn find(&self, time: i64) -> Option<usize> {
        (time <= self.last).then(|| self.starts.partition_point(|start| *start <= time)).and_then(|after| after.checked_sub(1))
    }

    /// The users of each period.
    fn users<'e>(&self, events: &'e [Event]) -> Vec<HashSet<&'e str>> {
        let mut users: Vec<HashSet<&str>> = vec![HashSet::new(); self.starts.len()];
        for event in events {
            if let Some(period) = self.find(event.time) {
                users[period].insert(&event.user);
            }
        }
        users
    }
}

#[derive(Clone, Copy)]
enum Calendar {
    Week,
    Month,
    Year,
}

impl Calendar {
    fn named(step: Cell) -> Option<Calendar> {
        match step.text().to_ascii_lowercase().as_str() {
            "week" => Some(Calendar::Week),
            "month" => Some(Calendar::Month),
            "year" => Some(Calendar::Year),
            _ => None,
        }
    }

    /// The start of the period that is `offset` after the one of `ticks`.
    fn start(self, ticks: i64, offset: i64) -> Option<i64> {
        let function = match self {
            Calendar::Week => "startofweek",
            Calendar::Month => "startofmonth",
            Calendar::Year => "startofyear",
        };
        match crate::functions::row(function)?(&[Cell::DateTime(ticks), Cell::Long(offset)]) {
            Out::Long(start) => Some(start),
            _ => None,
        }
    }
}

fn rate(part: usize, whole: usize) -> Out {
    Out::Real(part as f64 / whole as f64)
}

/// `activity_metrics(id, time, start, end, window, group…)`: users, users that the period before did not have, and the
/// parts of that period's users that came back and that did not.
pub(super) fn activity_metrics(inputs: &[Table], output: &mut Output) -> Result<()> {
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let periods = Periods::of(table, [2, 3, 4], "activity_metrics")?;
    for (group, events) in events(table, 5) {
        let users = periods.users(&events);
        let nobody = HashSet::new();
        for (at, now) in users.iter().enumerate().filter(|(_, now)| !now.is_empty()) {
            let before = at.checked_sub(1).map_or(&nobody, |before| &users[before]);
            let back = now.intersection(before).count();
            let row = time_row(periods.starts[at], &group, [now.len() as i64, (now.len() - back) as i64]);
            output.push(row.into_iter().chain([rate(back, before.len()), rate(before.len() - back, before.len())]));
        }
    }
    Ok(())
}

/// `activity_engagement(id, time, start, end, inner, outer, group…)`: users of a period, users of the longer time that
/// ends with it, and their ratio.
pub(super) fn activity_engagement(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "activity_engagement";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let periods = Periods::of(table, [2, 3, 4], NAME)?;
    let (inner, outer) = (positive(table, 4, NAME)?, positive(table, 5, NAME)?);
    for (group, mut events) in events(table, 6) {
        events.sort_by_key(|event| event.time);
        let users = periods.users(&events);
        for (at, now) in users.iter().enumerate().filter(|(_, now)| !now.is_empty()) {
            let until = periods.starts[at] + inner;
            let within = events.partition_point(|event| event.time < until - outer)..events.partition_point(|event| event.time < until);
            let outer = events[within].iter().map(|event| event.user.as_ref()).collect::<HashSet<_>>().len();
            let row = time_row(periods.starts[at], &group, [now.len() as i64, outer as i64]);
            output.push(row.into_iter().chain([rate(now.len(), outer)]));
        }
    }
    Ok(())
}

/// `new_activity_metrics(id, time, start, end, window, cohort, group…)`, and perhaps a table of users known before: of
/// the users that a period saw first, how many a later one saw again.
pub(super) fn new_activity_metrics(inputs: &[Table], output: &mut Output) -> Result<()> {
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let periods = Periods::of(table, [2, 3, 4], "new_activity_metrics")?;
    let cohort = table.constant(5).long();
    let known: HashSet<String> = inputs.get(1).map_or_else(HashSet::new, |earlier| (0..earlier.rows).map(|row| shown(earlier.argument(row, 0))).collect());
    for (group, events) in events(table, 6) {
        let users = periods.users(&events);
        let mut seen: HashSet<&str> = HashSet::new();
        for (from, now) in users.iter().enumerate() {
            let new: HashSet<&str> = now.iter().copied().filter(|user| !seen.contains(user) && !known.contains(*user)).collect();
            let before = seen.clone();
            seen.extend(now);
            if new.is_empty() || cohort.is_some_and(|cohort| periods.find(cohort) != Some(from)) {
                continue;
            }
            for (to, later) in users.iter().enumerate().skip(from) {
                let earlier = if to == from { &before } else { &seen };
                let fresh = later.iter().filter(|user| !earlier.contains(**user) && !known.contains(**user)).count();
                let kept = later.intersection(&new).count();
                let times = [Out::Long(periods.starts[from]), Out::Long(periods.starts[to])];
                let counts = [fresh, kept, new.len() - kept].map(|count| Out::Long(count as i64));
                output.push(times.into_iter().chain(group.iter().cloned()).chain(counts).chain([rate(kept, new.len()), rate(new.len() - kept, new.len())]));
            }
        }
    }
    Ok(())
}

/// `funnel_sequence_completion(id, time, start, end, bin, state, sequence, periods)`: users that came as far as each
/// state of the sequence, within each length of time after its first state.
pub(super) fn funnel_sequence_completion(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "funnel_sequence_completion";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let windows = Periods::of(table, [2, 3, 4], NAME)?;
    let sequence: Vec<String> = table.constant(6).json().map(crate::json::strings).unwrap_or_default();
    let spans: Vec<i64> = (table.constant(7).json().and_then(crate::json::array).unwrap_or_default().iter())
        .filter_map(|span| span.as_i64().or_else(|| vidette_kql::time::parse_timespan(span.as_str()?)))
        .collect();
    // Of a user the steps of the sequence that its events take, in order of time.
    let mut users: BTreeMap<(usize, String), Vec<(i64, usize)>> = BTreeMap::new();
    for row in 0..table.rows {
        let (Some(time), state) = (table.argument(row, 1).long(), shown(table.argument(row, 5))) else { continue };
        if let (Some(window), Some(step)) = (windows.find(time), sequence.iter().position(|step| *step == state)) {
            users.entry((window, shown(table.argument(row, 0)))).or_default().push((time, step));
        }
    }
    let mut counts: BTreeMap<(usize, usize), Vec<i64>> = BTreeMap::new();
    for ((window, _), mut events) in users {
        events.sort_unstable();
        for (which, span) in spans.iter().enumerate() {
            let reached =
                events.iter().enumerate().filter(|(_, (_, step))| *step == 0).map(|(at, (begin, _))| {
                    events[at..].iter().take_while(|(time, _)| time - begin <= *span).fold(0, |next, (_, step)| if *step == next { next + 1 } else { next })
                });
            let counts = counts.entry((window, which)).or_insert_with(|| vec![0; sequence.len()]);
            (0..reached.max().unwrap_or(0)).for_each(|step| counts[step] += 1);
        }
    }
    for ((window, which), counts) in counts {
        for (state, count) in sequence.iter().zip(counts) {
            output.push([Out::Long(windows.starts[window]), Out::Text(state.clone()), Out::Long(spans[which]), Out::Long(count)]);
        }
    }
    Ok(())
}

/// `funnel_sequence(id, time, start, end, window, bin, state, sequence)`: a row per way in which a user takes the states of
/// the sequence one right after the other: the period, the state before, the state after, the user.
///
/// A state that repeats counts once. Two states follow each other when at most the window lies between them.
pub(super) fn funnel_sequence(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "funnel_sequence";
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let windows = Periods::of(table, [2, 3, 5], NAME)?;
    let most = ticks(table, 4, NAME)?;
    let sequence: Vec<String> = table.constant(7).json().map(crate::json::strings).unwrap_or_default();
    let mut users: BTreeMap<String, Vec<(i64, usize)>> = BTreeMap::new();
    for row in 0..table.rows {
        let Some(time) = table.argument(row, 1).long().filter(|time| windows.find(*time).is_some()) else { continue };
        users.entry(shown(table.argument(row, 0))).or_default().push((time, row));
    }
    for mut events in users.into_values() {
        events.sort_unstable();
        let mut states: Vec<State> = Vec::new();
        for (time, row) in events {
            let name = shown(table.argument(row, 6));
            match states.last_mut() {
                Some(state) if state.name == name && time - state.last <= most => state.last = time,
                _ => states.push(State { name, first: time, last: time, row }),
            }
        }
        let follows = |at: usize| states[at].first - states[at - 1].last <= most;
        for (at, taken) in states.windows(sequence.len().max(1)).enumerate() {
            let end = at + taken.len();
            if !taken.iter().map(|state| &state.name).eq(&sequence) || !(at + 1..end).all(follows) {
                continue;
            }
            let before = if at > 0 && follows(at) { states[at - 1].name.clone() } else { String::new() };
            let after = if end < states.len() && follows(end) { states[end].name.clone() } else { String::new() };
            let Some(window) = windows.find(taken[0].first) else { continue };
            output.push([Out::Long(windows.starts[window]), Out::Text(before), Out::Text(after), Out::from(table.argument(taken[0].row, 0))]);
        }
    }
    Ok(())
}

/// A user's state, from its first event to its last.
struct State {
    name: String,
    first: i64,
    last: i64,
    row: usize,
}

/// `sequence_detect(time, step window, whole window, predicate…, group…)`: every way in which rows meet the predicates
/// one after the other, each at most the step window after the one before.
pub(super) fn sequence_detect(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "sequence_detect";
    const MOST: usize = 1_000_000;
    let table = &inputs[0];
    if table.rows == 0 {
        return Ok(());
    }
    let (step, whole) = (ticks(table, 1, NAME)?, ticks(table, 2, NAME)?);
    let (steps, groups): (Vec<usize>, Vec<usize>) = (3..table.arguments()).partition(|at| table.argument_type(*at) == Some(vidette_kql::ScalarType::Bool));
    let mut by_group: BTreeMap<Vec<String>, Vec<(i64, usize)>> = BTreeMap::new();
    for row in 0..table.rows {
        let Some(time) = table.argument(row, 0).long() else { continue };
        if steps.iter().any(|at| table.argument(row, *at) == Cell::Bool(true)) {
            by_group.entry(groups.iter().map(|at| shown(table.argument(row, *at))).collect()).or_default().push((time, row));
        }
    }
    let mut found = 0;
    for rows in by_group.values_mut() {
        rows.sort_unstable();
        let mut waiting: Vec<Vec<usize>> = Vec::new();
        let takes = |at: usize, depth: usize| table.argument(rows[at].1, steps[depth]) == Cell::Bool(true);
        waiting.extend((0..rows.len()).rev().filter(|at| takes(*at, 0)).map(|at| vec![at]));
        while let Some(chain) = waiting.pop() {
            let (first, last) = (rows[chain[0]].0, chain[chain.len() - 1]);
            if chain.len() == steps.len() {
                found += 1;
                if found > MOST {
                    return exec_err!("{NAME}: more than {MOST} sequences; narrow the predicates or the windows");
                }
                let group = groups.iter().map(|at| Out::from(table.argument(rows[last].1, *at)));
                let times = chain.iter().map(|at| Out::Long(rows[*at].0));
                output.push(group.chain(times).chain([Out::Long(rows[last].0 - first)]).collect::<Vec<_>>());
                continue;
            }
            let until = (rows[last].0.saturating_add(step)).min(first.saturating_add(whole));
            let next = (last + 1..rows.len()).take_while(|at| rows[*at].0 <= until).filter(|at| takes(*at, chain.len()));
            let next: Vec<Vec<usize>> = next.map(|at| chain.iter().copied().chain([at]).collect()).collect();
            waiting.extend(next.into_iter().rev());
        }
    }
    Ok(())
}
