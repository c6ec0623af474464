//! Plugins and operators that find what rows have in common. Kusto docs: `basket-plugin`, `autocluster-plugin`,
//! `diffpatterns-plugin`, `reduce-operator`.
//!
//! A pattern gives some columns a value. Those that differ from a longer one with the same rows are left out: only
//! closed patterns are shown, as Kusto's examples have it.

use crate::cells::{Cell, Out};
use crate::functions::{display, shown};
use crate::operators::{Output, Table};
use datafusion::common::{Result, exec_err};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use vidette_kql::ScalarType;

/// Beyond so many patterns the threshold is too low to be of use.
const MOST_PATTERNS: usize = 20_000;

/// A set of rows.
type Rows = Vec<u64>;

fn both(a: &Rows, b: &Rows) -> Rows {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

fn within(inner: &Rows, outer: &Rows) -> bool {
    inner.iter().zip(outer).all(|(inner, outer)| inner & !outer == 0)
}

fn members(rows: &Rows) -> impl Iterator<Item = usize> {
    rows.iter().enumerate().flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit))
}

/// A value that a column often has.
struct Item {
    column: usize,
    /// A row that shows it.
    example: usize,
    rows: Rows,
}

/// Rows as the plugins see them: each with a weight, and the values that are frequent enough to matter.
struct Data<'t> {
    table: &'t Table,
    /// Of each row; none when each weighs one.
    weights: Vec<f64>,
    items: Vec<Item>,
}

/// The items that a pattern fixes, in order, and the rows that have them.
#[derive(Clone)]
struct Pattern {
    items: Vec<usize>,
    rows: Rows,
}

impl<'t> Data<'t> {
    /// `frequent` says of a set of rows whether a pattern may have them; none whose rows weigh less than `least`.
    fn of(table: &'t Table, skipped: Option<usize>, weights: Vec<f64>, least: f64, frequent: impl Fn(&[f64], &Rows) -> bool) -> Data<'t> {
        let mut items = Vec::new();
        for column in (0..table.width()).filter(|column| Some(*column) != skipped) {
            let mut values: HashMap<Cow<str>, Vec<usize>> = HashMap::new();
            for row in 0..table.rows {
                let value = display(table.cell(row, column));
                if !value.is_empty() {
                    values.entry(value).or_default().push(row);
                }
            }
            let weight = |rows: &[usize]| if weights.is_empty() { rows.len() as f64 } else { rows.iter().map(|row| weights[*row]).sum() };
            let mut values: Vec<Vec<usize>> = values.into_values().filter(|rows| weight(rows) >= least).collect();
            values.sort_unstable();
            for rows in values {
                let mut set = vec![0; table.rows.div_ceil(64)];
                rows.iter().for_each(|row| set[row / 64] |= 1 << (row % 64));
                if frequent(&weights, &set) {
                    items.push(Item { column, example: rows[0], rows: set });
                }
            }
        }
        Data { table, weights, items }
    }

    fn weight(&self, rows: &Rows) -> f64 {
        total(&self.weights, rows)
    }

    /// The closed patterns of at most `dimensions` independent columns.
    fn patterns(&self, dimensions: usize, plugin: &str, frequent: impl Fn(&[f64], &Rows) -> bool) -> Result<Vec<Pattern>> {
        let mut closed: BTreeMap<Vec<usize>, Rows> = BTreeMap::new();
        let mut level: Vec<Pattern> = vec![Pattern { items: Vec::new(), rows: vec![u64::MAX; self.table.rows.div_ceil(64)] }];
        for _ in 0..dimensions.min(self.table.width()) {
            let mut next: HashMap<Vec<usize>, Rows> = HashMap::new();
            for pattern in &level {
                for (at, item) in self.items.iter().enumerate() {
                    if pattern.items.iter().any(|fixed| self.items[*fixed].column == item.column) {
                        continue;
                    }
                    let rows = both(&pattern.rows, &item.rows);
                    if !frequent(&self.weights, &rows) {
                        continue;
                    }
                    let closure = self.closure(&rows);
                    debug_assert!(closure.contains(&at));
                    if closed.insert(closure.clone(), rows.clone()).is_none() {
                        next.insert(closure, rows);
                    }
                    if closed.len() > MOST_PATTERNS {
                        return exec_err!("{plugin}: more than {MOST_PATTERNS} patterns; raise the threshold");
                    }
                }
            }
            level = next.into_iter().map(|(items, rows)| Pattern { items, rows }).collect();
        }
        Ok(closed.into_iter().map(|(items, rows)| Pattern { items, rows }).collect())
    }

    /// All items that these rows share.
    fn closure(&self, rows: &Rows) -> Vec<usize> {
        (0..self.items.len()).filter(|at| within(rows, &self.items[*at].rows)).collect()
    }

    /// The columns of a pattern: its values, and wildcards in the others.
    fn show(&self, pattern: &Pattern, wildcards: &[Cell]) -> Vec<Out> {
        let cell = |column: usize| {
            let fixed = pattern.items.iter().map(|item| &self.items[*item]).find(|item| item.column == column);
            match fixed {
                Some(item) => Out::from(self.table.cell(item.example, column)),
                None => wildcard(self.table.types[column], wildcards),
            }
        };
        (0..self.table.width()).map(cell).collect()
    }
}

/// The custom wildcard of a type, else null, which in a string is empty.
fn wildcard(ty: ScalarType, wildcards: &[Cell]) -> Out {
    let fits = |cell: &&Cell| {
        matches!(
            (ty, cell),
            (ScalarType::String, Cell::Text(_))
                | (ScalarType::Long | ScalarType::Int, Cell::Long(_))
                | (ScalarType::Real, Cell::Real(_))
                | (ScalarType::DateTime, Cell::DateTime(_))
        )
    };
    match wildcards.iter().find(fits) {
        Some(cell) => Out::from(*cell),
        None if ty == ScalarType::String => Out::Text(String::new()),
        None => Out::Null,
    }
}

/// The constant arguments from `first` on; `~` and what is absent is `None`.
fn settings(table: &Table, first: usize) -> Vec<Option<Cell<'_>>> {
    (first..table.arguments()).map(|at| Some(table.constant(at)).filter(|cell| !matches!(cell, Cell::Null | Cell::Text("~" | "")))).collect()
}

/// A weight for each row when the argument is a column of numbers; else none, and each weighs one.
fn weights(table: &Table, argument: usize) -> Vec<f64> {
    let given = table.constant(argument).real().is_some();
    (0..if given { table.rows } else { 0 }).map(|row| table.argument(row, argument).real().unwrap_or(0.0)).collect()
}

/// What all rows weigh.
fn sum(weights: &[f64], table: &Table) -> f64 {
    if weights.is_empty() { table.rows as f64 } else { weights.iter().sum() }
}

fn ratio(settings: &[Option<Cell>], at: usize, default: f64, plugin: &str) -> Result<f64> {
    match settings.get(at).copied().flatten().and_then(Cell::real) {
        Some(ratio) if !(0.0..=1.0).contains(&ratio) => exec_err!("{plugin}: {ratio} is not between 0 and 1"),
        ratio => Ok(ratio.unwrap_or(default)),
    }
}

fn total(weights: &[f64], rows: &Rows) -> f64 {
    if weights.is_empty() {
        return rows.iter().map(|word| f64::from(word.count_ones())).sum();
    }
    members(rows).filter_map(|row| weights.get(row)).fold(0.0, |sum, weight| sum + weight)
}

fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// `basket(threshold, weight, dimensions, wildcard…)`: patterns that at least this part of the rows have.
pub(super) fn basket(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "basket";
    let table = &inputs[0];
    let settings = settings(table, 0);
    let threshold = ratio(&settings, 0, 0.05, NAME)?;
    let weights = weights(table, 1);
    let all = sum(&weights, table);
    let least = (threshold * all).max(f64::MIN_POSITIVE);
    let frequent = |weights: &[f64], rows: &Rows| total(weights, rows) >= least;
    let data = Data::of(table, None, weights, least, frequent);
    let dimensions = settings.get(2).copied().flatten().and_then(Cell::long).map_or(5, |n| n.clamp(1, 64) as usize);
    let mut found: Vec<(f64, Pattern)> = data.patterns(dimensions, NAME, frequent)?.into_iter().map(|pattern| (data.weight(&pattern.rows), pattern)).collect();
    found.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.items.cmp(&second.items)));
    let wildcards: Vec<Cell> = settings.into_iter().skip(3).flatten().collect();
    for (id, (count, pattern)) in found.into_iter().enumerate() {
        let head = [Out::Long(id as i64), Out::Long(count as i64), Out::Real(round2(100.0 * count / all))];
        output.push(head.into_iter().chain(data.show(&pattern, &wildcards)));
    }
    Ok(())
}

/// `autocluster(size weight, weight, seeds, wildcard…)`: few patterns, each with many rows and many values that no
/// pattern before it covers.
pub(super) fn autocluster(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "autocluster";
    const LEAST: f64 = 0.05;
    let table = &inputs[0];
    let settings = settings(table, 0);
    let balance = ratio(&settings, 0, 0.5, NAME)?;
    let weights = weights(table, 1);
    let all = sum(&weights, table);
    let least = (LEAST * all).max(f64::MIN_POSITIVE);
    let frequent = |weights: &[f64], rows: &Rows| total(weights, rows) >= least;
    let data = Data::of(table, None, weights, least, frequent);
    let mut waiting = data.patterns(5, NAME, frequent)?;
    let mut left: Rows = vec![u64::MAX; table.rows.div_ceil(64)];
    let mut chosen: Vec<Pattern> = Vec::new();
    loop {
        // The weighted geometric mean of coverage and of the part of the columns that are fixed.
        let score = |pattern: &Pattern| {
            let covered = data.weight(&both(&pattern.rows, &left)) / all;
            let fixed = pattern.items.len() as f64 / table.width() as f64;
            if covered < LEAST { 0.0 } else { covered.powf(balance) * fixed.powf(1.0 - balance) }
        };
        let best = (0..waiting.len()).max_by(|a, b| score(&waiting[*a]).total_cmp(&score(&waiting[*b])).then(b.cmp(a)));
        let Some(best) = best.filter(|best| score(&waiting[*best]) > 0.0) else { break };
        let pattern = waiting.swap_remove(best);
        left = left.iter().zip(&pattern.rows).map(|(left, rows)| left & !rows).collect();
        chosen.push(pattern);
    }
    let wildcards: Vec<Cell> = settings.into_iter().skip(3).flatten().collect();
    for (id, pattern) in chosen.into_iter().enumerate() {
        let count = data.weight(&pattern.rows);
        let head = [Out::Long(id as i64), Out::Long(count as i64), Out::Real(round2(100.0 * count / all))];
        output.push(head.into_iter().chain(data.show(&pattern, &wildcards)));
    }
    Ok(())
}

/// `diffpatterns(column, A, B, weight, threshold, dimensions, wildcard…)`: patterns that the rows with A in the column
/// have much more or less often than those with B.
pub(super) fn diffpatterns(inputs: &[Table], output: &mut Output) -> Result<()> {
    const NAME: &str = "diffpatterns";
    let table = &inputs[0];
    let settings = settings(table, 3);
    // The column that tells A from B is no pattern.
    let split = (0..table.width()).find(|column| (0..table.rows).all(|row| table.cell(row, *column) == table.argument(row, 0)));
    let side = |value: usize| -> Rows {
        let wanted = shown(table.constant(value));
        let mut set = vec![0; table.rows.div_ceil(64)];
        (0..table.rows).filter(|row| shown(table.argument(*row, 0)) == wanted).for_each(|row| set[row / 64] |= 1 << (row % 64));
        set
    };
    let (a, b) = (side(1), side(2));
    let threshold = ratio(&settings, 1, 0.05, NAME)?;
    let weights = weights(table, 3);
    let (whole_a, whole_b) = (total(&weights, &a), total(&weights, &b));
    let shares = |weights: &[f64], rows: &Rows| (total(weights, &both(rows, &a)) / whole_a.max(1e-9), total(weights, &both(rows, &b)) / whole_b.max(1e-9));
    let frequent = |weights: &[f64], rows: &Rows| {
        let (in_a, in_b) = shares(weights, rows);
        in_a.max(in_b) >= threshold
    };
    let data = Data::of(table, split, weights, threshold * whole_a.min(whole_b), frequent);
    let dimensions = settings.get(2).copied().flatten().and_then(Cell::long).map_or(5, |n| n.clamp(1, 64) as usize);
    let difference = |pattern: &Pattern| {
        let (in_a, in_b) = shares(&data.weights, &pattern.rows);
        (in_a - in_b).abs()
    };
    let mut found: Vec<(f64, Pattern)> = data.patterns(dimensions, NAME, frequent)?.into_iter().map(|pattern| (difference(&pattern), pattern)).collect();
    found.retain(|(difference, _)| *difference >= threshold);
    found.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.items.cmp(&second.items)));
    let mut chosen: Vec<Pattern> = Vec::new();
    for (_, pattern) in found {
        // A narrower or wider form of a pattern says nothing new.
        let known = chosen.iter().any(|other| {
            let (few, many) = if other.items.len() < pattern.items.len() { (other, &pattern) } else { (&pattern, other) };
            few.items.iter().all(|item| many.items.contains(item))
        });
        if !known {
            chosen.push(pattern);
        }
    }
    let wildcards: Vec<Cell> = settings.into_iter().skip(3).flatten().collect();
    for (id, pattern) in chosen.into_iter().enumerate() {
        let counts = [both(&pattern.rows, &a), both(&pattern.rows, &b)].map(|rows| data.weight(&rows));
        let (in_a, in_b) = shares(&data.weights, &pattern.rows);
        let percents = [in_a, in_b, (in_a - in_b).abs()].map(|share| Out::Real(round2(100.0 * share)));
        let head = [id as f64, counts[0], counts[1]].map(|count| Out::Long(count as i64));
        output.push(head.into_iter().chain(percents).chain(data.show(&pattern, &wildcards)));
    }
    Ok(())
}

/// Texts that share words, and the words they share.
struct Group<'t> {
    /// Words with what stands between them; `None` where texts differ.
    words: Vec<Option<&'t str>>,
    rows: Vec<usize>,
}

/// `reduce`: arguments are the text, the threshold, the characters between words, and whether the rows are kept.
pub(super) fn reduce(inputs: &[Table], output: &mut Output) -> Result<()> {
    let table = &inputs[0];
    let threshold = table.constant(1).real().unwrap_or(0.1);
    let separators: HashSet<char> = table.constant(2).text().chars().collect();
    let between = |c: char| if separators.is_empty() { !c.is_ascii_alphanumeric() } else { separators.contains(&c) };
    let texts: Vec<Cow<str>> = (0..table.rows).map(|row| display(table.argument(row, 0))).collect();
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut by_length: HashMap<usize, Vec<usize>> = HashMap::new();
    for (row, text) in texts.iter().enumerate() {
        if let Some(group) = known.get(text.as_ref()) {
            groups[*group].rows.push(row);
            continue;
        }
        let words: Vec<&str> = text.split(between).collect();
        let alike = |group: &Group| group.words.iter().zip(&words).filter(|(a, b)| **a == Some(**b)).count() as f64 / words.len() as f64;
        let candidates = by_length.entry(words.len()).or_default();
        let best = candidates.iter().map(|group| (alike(&groups[*group]), *group)).filter(|(alike, _)| *alike >= threshold.max(f64::MIN_POSITIVE));
        let group = match best.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))) {
            Some((_, group)) => {
                groups[group].words.iter_mut().zip(&words).filter(|(a, b)| **a != Some(**b)).for_each(|(word, _)| *word = None);
                groups[group].rows.push(row);
                group
            }
            None => {
                groups.push(Group { words: words.iter().copied().map(Some).collect(), rows: vec![row] });
                candidates.push(groups.len() - 1);
                groups.len() - 1
            }
        };
        known.insert(text, group);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    let keep = table.constant(3) == Cell::Bool(true);
    let mut show = |rows: &[usize], pattern: String, example: &str| {
        let shown = [Out::Text(pattern), Out::Long(rows.len() as i64), Out::Text(example.to_owned())];
        if keep {
            rows.iter().for_each(|row| output.push(table.row(*row).chain(shown.iter().cloned())));
        } else {
            output.push(shown);
        }
    };
    let (alone, alike): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.rows.len() == 1);
    for group in alike {
        let example = &texts[group.rows[0]];
        show(&group.rows, pattern(example, &group.words, between, separators.is_empty()), example);
    }
    let others: Vec<usize> = alone.iter().map(|group| group.rows[0]).collect();
    if !others.is_empty() {
        show(&others, "others".to_owned(), "");
    }
    Ok(())
}

/// The example with `*` for the words that differ, one for those in a row. Separators that were asked for go with them.
fn pattern(example: &str, words: &[Option<&str>], between: impl Fn(char) -> bool, keeps_separators: bool) -> String {
    let mut shown = String::new();
    let mut rest = example;
    for (at, word) in words.iter().enumerate() {
        let end = rest.find(&between).unwrap_or(rest.len());
        shown.push_str(word.unwrap_or("*"));
        let separator = rest[end..].chars().next();
        rest = &rest[end + separator.map_or(0, char::len_utf8)..];
        let next = words.get(at + 1);
        if word.is_none() && next.is_some_and(Option::is_none) {
            shown.pop();
        } else if let Some(separator) = separator.filter(|_| keeps_separators || word.is_some() && next.is_some_and(Option::is_some)) {
            shown.push(separator);
        }
    }
    shown
}
