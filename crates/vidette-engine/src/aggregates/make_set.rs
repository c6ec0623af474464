//! `make_set`: the distinct values of each group, as many as are asked for. Kusto docs: `make-set-aggregation-function`, which
//! leave their order open. They come as they were first seen, as in Kusto's emulator, where one thread sees all rows; else they are
//! sorted, so that the same rows give the same answer however they are read.

use super::is_let_through;
use crate::json;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use hashbrown::HashTable;
use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::Arc;

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Items {
    /// Texts, which become JSON at the end.
    Texts,
    /// JSON already.
    Json,
}

/// The aggregate: a list of JSON texts, at most so many. A null is the JSON `null`.
pub(crate) fn make_set(items: Items, most: usize) -> AggregateUDF {
    let kind = if items == Items::Texts { "texts" } else { "json" };
    AggregateUDF::from(MakeSet { name: format!("make_set_{kind}_{most}"), items, most, signature: Signature::any(1, Volatility::Immutable) })
}

/// The aggregate by its name in plans.
pub(crate) fn by_name(name: &str) -> Option<AggregateUDF> {
    let (kind, most) = name.strip_prefix("make_set_")?.split_once('_')?;
    Some(make_set(if kind == "texts" { Items::Texts } else { Items::Json }, most.parse().ok()?))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MakeSet {
    name: String,
    items: Items,
    most: usize,
    signature: Signature,
}

fn list() -> DataType {
    DataType::new_list(DataType::Utf8View, true)
}

impl AggregateUDFImpl for MakeSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list())
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[values]", arguments.name), list(), true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sets::new(self.items, self.most)))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Sets::new(self.items, self.most)))
    }
}

type Order = fn(&str, &str) -> Ordering;

/// A value of a group: where its text is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    group: usize,
    start: usize,
    end: usize,
}

/// The sets of all groups; without `by` there is one.
#[derive(Debug)]
struct Sets {
    items: Items,
    most: usize,
    /// In the order in which they came.
    entries: Vec<Entry>,
    text: String,
    /// By group and text: their hash and the number of the entry.
    known: HashTable<(u64, usize)>,
    /// By group: how many there are.
    counts: Vec<usize>,
    /// Whether parts of the sets were made elsewhere.
    merged: bool,
    hasher: foldhash::fast::RandomState,
}

impl Sets {
    fn new(items: Items, most: usize) -> Sets {
        Sets { items, most, entries: Vec::new(), text: String::new(), known: HashTable::new(), counts: Vec::new(), merged: false, hasher: Default::default() }
    }

    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups.max(self.counts.len()), 0);
    }

    fn add(&mut self, group: usize, value: &str) {
        if self.counts[group] >= self.most {
            return;
        }
        let Sets { entries, text, known, hasher, .. } = self;
        let hash = hasher.hash_one((group, value));
        let is_same = |(known, at): &(u64, usize)| {
            let entry = &entries[*at];
            *known == hash && entry.group == group && &text[entry.start..entry.end] == value
        };
        let hashbrown::hash_table::Entry::Vacant(place) = known.entry(hash, is_same, |(known, _)| *known) else { return };
        place.insert((hash, entries.len()));
        let start = text.len();
        text.push_str(value);
        entries.push(Entry { group, start, end: text.len() });
        self.counts[group] += 1;
    }

    fn add_all(&mut self, group: usize, values: &StringViewArray) {
        values.iter().for_each(|value| self.add(group, value.unwrap_or("null")));
    }

    /// The values of groups that are let go, in this order or as they were first seen, as `write` has them.
    fn emit(&mut self, emit_to: EmitTo, order: Option<Order>, write: impl Fn(&str, &mut StringViewBuilder)) -> ArrayRef {
        let counts = emit_to.take_needed(&mut self.counts);
        let mut starts = Vec::with_capacity(counts.len() + 1);
        starts.push(0);
        counts.iter().for_each(|count| starts.push(starts[starts.len() - 1] + count));
        let mut next = starts.clone();
        let mut texts = vec![""; starts[counts.len()]];
        let mut rest = Sets::new(self.items, self.most);
        rest.merged = self.merged;
        rest.grow(self.counts.len());
        for entry in &self.entries {
            let text = &self.text[entry.start..entry.end];
            match next.get_mut(entry.group).filter(|_| entry.group < counts.len()) {
                Some(next) => {
                    texts[*next] = text;
                    *next += 1;
                }
                None => rest.add(entry.group - counts.len(), text),
            }
        }
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for bounds in starts.windows(2) {
            let set = &mut texts[bounds[0]..bounds[1]];
            if let Some(order) = order {
                set.sort_unstable_by(|a, b| order(a, b));
            }
            set.iter().for_each(|text| write(text, lists.values()));
            lists.append(true);
        }
        *self = rest;
        Arc::new(lists.finish())
    }

    fn states(&mut self, emit_to: EmitTo) -> ArrayRef {
        self.emit(emit_to, None, |text, list| list.append_value(text))
    }

    fn sets(&mut self, emit_to: EmitTo) -> ArrayRef {
        let merged = |order: Order| self.merged.then_some(order);
        match self.items {
            Items::Texts => self.emit(emit_to, merged(str::cmp), |text, list| list.append_value(json::quote(text))),
            Items::Json => self.emit(emit_to, merged(by_number), |text, list| list.append_value(text)),
        }
    }
}

/// The column as texts: those of telemetry are dictionaries.
fn texts(column: &ArrayRef) -> Result<StringViewArray> {
    Ok(cast(column, &DataType::Utf8View)?.as_string_view().clone())
}

/// Numbers by their values, before all else; no two texts are equal.
fn by_number(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

impl GroupsAccumulator for Sets {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        self.grow(count);
        let values = texts(&values[0])?;
        for (row, group) in groups.iter().enumerate() {
            if is_let_through(filter, row) {
                self.add(*group, if values.is_valid(row) { values.value(row) } else { "null" });
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.sets(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.states(emit_to)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.merged = true;
        self.grow(count);
        let states = states[0].as_list::<i32>();
        for (row, group) in groups.iter().enumerate() {
            if states.is_valid(row) {
                self.add_all(*group, states.value(row).as_string_view());
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Sets::new(self.items, self.most);
        let rows: Vec<usize> = (0..values[0].len()).collect();
        GroupsAccumulator::update_batch(&mut each, values, &rows, filter, rows.len())?;
        GroupsAccumulator::state(&mut each, EmitTo::All)
    }

    fn size(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.text.capacity() + self.known.allocation_size() + self.counts.capacity() * size_of::<usize>()
    }
}

impl Accumulator for Sets {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.grow(1);
        self.add_all(0, &texts(&values[0])?);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.grow(1);
        ScalarValue::try_from_array(&self.sets(EmitTo::All), 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.grow(1);
        Ok(vec![ScalarValue::try_from_array(&self.states(EmitTo::All), 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::merge_batch(self, states, &vec![0; states[0].len()], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(lists: &ArrayRef) -> Vec<Vec<String>> {
        lists.as_list::<i32>().iter().map(|list| list.map_or(Vec::new(), |list| list.as_string_view().iter().flatten().map(str::to_owned).collect())).collect()
    }

    #[test]
    fn sets_are_let_go_a_few_at_a_time_and_merged() {
        let mut sets = Sets::new(Items::Texts, 2);
        let values: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "a", "c", "\"", "x"]));
        let filter = BooleanArray::from(vec![true, true, true, true, true, false]);
        let dictionary = cast(&values, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))).expect("a dictionary");
        GroupsAccumulator::update_batch(&mut sets, &[dictionary], &[0, 1, 0, 0, 1, 2], Some(&filter), 3).expect("it is added");
        let first = GroupsAccumulator::state(&mut sets, EmitTo::First(1)).expect("a state");
        assert_eq!(lists(&first[0]), [["a", "c"]]);
        let mut seen = Sets::new(Items::Texts, 2);
        GroupsAccumulator::update_batch(&mut seen, &[values.slice(1, 2)], &[0, 0], None, 1).expect("it is added");
        assert_eq!(lists(&seen.sets(EmitTo::All)), [[r#""b""#, r#""a""#]], "as they were first seen");
        // What was group 1 is group 0 now; it is full.
        GroupsAccumulator::merge_batch(&mut sets, &first, &[0], 2).expect("it is merged");
        GroupsAccumulator::merge_batch(&mut sets, &first, &[1], 2).expect("it is merged");
        let each = sets.convert_to_state(&[values], Some(&filter)).expect("states");
        assert_eq!(lists(&each[0])[4..], [vec!["\""], vec![]]);
        assert_eq!(lists(&sets.sets(EmitTo::All)), [[r#""\"""#, r#""b""#], [r#""a""#, r#""c""#]]);
        assert_eq!((sets.entries.len(), sets.counts.len()), (0, 0));
        let mut order = vec!["\"b\"", "10", "9.5", "-1", "[1]", "\"a\""];
        order.sort_by(|a, b| by_number(a, b));
        assert_eq!(order, ["-1", "9.5", "10", "\"a\"", "\"b\"", "[1]"]);
    }
}
