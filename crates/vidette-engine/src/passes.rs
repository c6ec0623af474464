//! What sees all rows at once: plugins of `evaluate`, graph operators. Kusto docs: a page per plugin.

mod activity;
mod graph;
pub(crate) mod graph_match;
mod lookup;
mod patterns;

use crate::cells::{Cell, Out};
use crate::functions::{Hll, shown};
use crate::operators::{Output, Table};
use activity::{bins, positive};
use datafusion::common::{Result, exec_err};
use std::collections::BTreeMap;

pub(crate) type Pass = fn(&[Table], &mut Output) -> Result<()>;

/// One row per plugin.
pub(crate) const PASSES: &[(&str, Pass)] = &[
    ("narrow", narrow),
    ("identity", identity),
    ("rows_near", rows_near),
    ("ipv4_lookup", lookup::ipv4_lookup),
    ("ipv6_lookup", lookup::ipv6_lookup),
    ("active_users_count", activity::active_users_count),
    ("sliding_window_counts", activity::sliding_window_counts),
    ("activity_counts_metrics", activity::activity_counts_metrics),
    ("session_count", activity::session_count),
    ("rolling_percentile", rolling_percentile),
    ("activity_metrics", activity::activity_metrics),
    ("activity_engagement", activity::activity_engagement),
    ("new_activity_metrics", activity::new_activity_metrics),
    ("funnel_sequence_completion", activity::funnel_sequence_completion),
    ("funnel_sequence", activity::funnel_sequence),
    ("sequence_detect", activity::sequence_detect),
    ("geo_polygon_lookup", lookup::geo_polygon_lookup),
    ("geo_line_lookup", lookup::geo_line_lookup),
    ("dcount_intersect", dcount_intersect),
    ("autocluster", patterns::autocluster),
    ("basket", patterns::basket),
    ("diffpatterns", patterns::diffpatterns),
    ("reduce", patterns::reduce),
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
            output.push([Out::Long(row as i64), Out::Text(inputs[0].names[column].clone()), Out::Text(shown(inputs[0].cell(row, column)))]);
        }
    }
    Ok(())
}

fn identity(inputs: &[Table], output: &mut Output) -> Result<()> {
    (0..inputs[0].rows).for_each(|row| output.push(inputs[0].row(row)));
    Ok(())
}

/// `rows_near(condition, before, after)`: the rows near those that meet the condition.
fn rows_near(inputs: &[Table], output: &mut Output) -> Result<()> {
    let table = &inputs[0];
    let count = |at: usize| table.constant(at).long().unwrap_or(0).max(0) as usize;
    let before = count(1);
    let after = if table.arguments() > 2 { count(2) } else { before };
    // The rows that were shown so far.
    let mut shown = 0;
    for row in (0..table.rows).filter(|row| table.argument(*row, 0) == Cell::Bool(true)) {
        let end = row.saturating_add(after).saturating_add(1).min(table.rows);
        (row.saturating_sub(before).max(shown)..end).for_each(|near| output.push(table.row(near)));
        shown = shown.max(end);
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
        let group = groups.entry(key.iter().map(|cell| shown(*cell)).collect()).or_insert_with(|| (key.iter().map(|cell| Out::from(*cell)).collect(), Vec::new()));
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

/// `dcount_intersect(hll…)`: distinct values of the first set, of the first two together, and so on, by inclusion and
/// exclusion.
fn dcount_intersect(inputs: &[Table], output: &mut Output) -> Result<()> {
    const MOST: usize = 8;
    let table = &inputs[0];
    if table.arguments() > MOST {
        return exec_err!("dcount_intersect: more than {MOST} sets");
    }
    for row in 0..table.rows {
        let sets: Vec<Option<Hll>> = (0..table.arguments()).map(|at| Hll::of(table.argument(row, at))).collect();
        let common = |count: usize| {
            let mut sum = 0;
            for subset in 1_usize..1 << count {
                let chosen: Option<Vec<Hll>> = (0..count).filter(|at| subset >> at & 1 == 1).map(|at| sets[at].clone()).collect();
                let union = chosen?.into_iter().reduce(Hll::merge)?;
                sum += if subset.count_ones() % 2 == 1 { union.estimate() } else { -union.estimate() };
            }
            Some(sum.max(0))
        };
        output.push(table.row(row).chain((1..=sets.len()).map(|count| Out::from(common(count)))));
    }
    Ok(())
}
