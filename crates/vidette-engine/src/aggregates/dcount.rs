//! `dcount`: how many values there are, exactly while they are few, then by HyperLogLog, so that a group has a bounded
//! size; `hll`: the sketch itself. Kusto docs: `dcount-aggregation-function`, `hll-aggregation-function`.

use super::is_let_through;
use crate::functions::Hll;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryBuilder, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::hash_utils::{HLL_RANDOM_STATE, create_hashes};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Write;
use std::sync::Arc;

/// What is made of the distinct values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Made {
    Count,
    /// The values are hashes already; the sketch is JSON, null when there are none.
    Sketch,
}

/// The aggregate for an accuracy of Kusto, 0 to 4; other numbers stand for 1. Nulls are not counted.
pub(crate) fn dcount(accuracy: i64) -> AggregateUDF {
    distinct("dcount", Made::Count, accuracy)
}

/// The same of hashes, as a sketch.
pub(crate) fn hll(accuracy: i64) -> AggregateUDF {
    distinct("hll", Made::Sketch, accuracy)
}

fn distinct(function: &str, made: Made, accuracy: i64) -> AggregateUDF {
    let accuracy = if (0..=4).contains(&accuracy) { accuracy } else { 1 };
    AggregateUDF::from(DistinctCount { name: format!("{function}_{accuracy}"), made, accuracy, signature: Signature::any(1, Volatility::Immutable) })
}

/// The aggregate by its name in plans.
pub(crate) fn by_name(name: &str) -> Option<AggregateUDF> {
    let (function, accuracy) = name.split_once('_')?;
    match function {
        "dcount" => Some(dcount(accuracy.parse().ok()?)),
        "hll" => Some(hll(accuracy.parse().ok()?)),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DistinctCount {
    name: String,
    made: Made,
    accuracy: i64,
    signature: Signature,
}

impl DistinctCount {
    fn groups(&self) -> Groups {
        Groups::new(self.made, self.accuracy)
    }
}

impl AggregateUDFImpl for DistinctCount {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.made {
            Made::Count => DataType::Int64,
            Made::Sketch => DataType::Utf8View,
        })
    }

    fn is_nullable(&self) -> bool {
        self.made == Made::Sketch
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(match self.made {
            Made::Count => ScalarValue::Int64(Some(0)),
            Made::Sketch => ScalarValue::Utf8View(None),
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[values]", arguments.name), DataType::LargeBinary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(self.groups()))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups()))
    }
}

/// Hashes are their own hashes.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<Identity>>;

/// What is known of many groups is in no cache: that of a group is fetched for so many hashes at once.
const PENDING: usize = 256;
/// So few hashes need no set.
const FEWEST: usize = 8;

/// The distinct values of a group, as hashes.
#[derive(Debug)]
struct Distinct {
    seen: Seen,
    /// Hashes that wait to be seen. Once it is [settled](Distinct::settle) there are none, or these are all, each once.
    pending: Vec<u64>,
}

#[derive(Debug)]
enum Seen {
    Few(Hashes),
    Many(Hll),
}

impl Distinct {
    fn new() -> Distinct {
        Distinct { seen: Seen::Few(Hashes::default()), pending: Vec::new() }
    }

    /// Whether one more hash changes nothing but the length of what waits.
    fn has_room(&self) -> bool {
        self.pending.len() + 1 < PENDING && self.pending.len() < self.pending.capacity()
    }

    fn add(&mut self, hash: u64, accuracy: i64) {
        self.pending.push(hash);
        if self.pending.len() == PENDING {
            self.settle(accuracy);
        }
    }

    fn settle(&mut self, accuracy: i64) {
        match &mut self.seen {
            Seen::Few(hashes) if hashes.is_empty() && self.pending.len() <= FEWEST => {
                self.pending.sort_unstable();
                self.pending.dedup();
            }
            Seen::Few(hashes) => {
                hashes.extend(self.pending.drain(..));
                if hashes.len() > Hll::size(accuracy) / 16 {
                    self.seen = Seen::Many(sketch_of(Hll::new(accuracy), &*hashes));
                }
            }
            Seen::Many(sketch) => self.pending.drain(..).for_each(|hash| sketch.add(hash)),
        }
    }

    fn count(&self) -> i64 {
        match &self.seen {
            Seen::Few(hashes) => (hashes.len() + self.pending.len()) as i64,
            Seen::Many(sketch) => sketch.estimate(),
        }
    }

    fn sketch(&self, accuracy: i64) -> Option<String> {
        match &self.seen {
            Seen::Few(hashes) if hashes.is_empty() && self.pending.is_empty() => None,
            Seen::Few(hashes) => Some(sketch_of(Hll::new(accuracy), hashes.iter().chain(&self.pending)).to_json()),
            Seen::Many(sketch) => Some(sketch.to_json()),
        }
    }

    /// A zero and the hashes, or a one and the registers.
    fn write_state(&self, out: &mut impl Write) -> std::io::Result<()> {
        match &self.seen {
            Seen::Few(hashes) => {
                out.write_all(&[0])?;
                hashes.iter().chain(&self.pending).try_for_each(|hash| out.write_all(&hash.to_le_bytes()))
            }
            Seen::Many(sketch) => {
                out.write_all(&[1])?;
                out.write_all(sketch.registers())
            }
        }
    }

    /// What it holds beside itself.
    fn bytes(&self) -> usize {
        let seen = match &self.seen {
            Seen::Few(hashes) => hashes.capacity() * 9,
            Seen::Many(sketch) => sketch.registers().len(),
        };
        seen + self.pending.capacity() * 8
    }

    fn state_size(&self) -> usize {
        match &self.seen {
            Seen::Few(hashes) => 1 + (hashes.len() + self.pending.len()) * 8,
            Seen::Many(sketch) => 1 + sketch.registers().len(),
        }
    }

    fn merge(&mut self, state: &[u8], accuracy: i64) -> Result<()> {
        match state.split_first() {
            Some((0, hashes)) => hashes.as_chunks::<8>().0.iter().for_each(|hash| self.add(u64::from_le_bytes(*hash), accuracy)),
            Some((1, registers)) if registers.len() == Hll::size(accuracy) => match &mut self.seen {
                Seen::Many(sketch) => sketch.add_registers(registers),
                Seen::Few(hashes) => self.seen = Seen::Many(sketch_of(Hll::with_registers(registers.to_vec()), &*hashes)),
            },
            _ => return exec_err!("dcount: a state of {} bytes", state.len()),
        }
        Ok(())
    }
}

fn sketch_of<'h>(mut sketch: Hll, hashes: impl IntoIterator<Item = &'h u64>) -> Hll {
    hashes.into_iter().for_each(|hash| sketch.add(*hash));
    sketch
}

/// The values of all groups; without `by` there is one.
#[derive(Debug)]
struct Groups {
    made: Made,
    accuracy: i64,
    groups: Vec<Distinct>,
    /// What they hold. It is asked for after every batch, when there may be millions of groups.
    bytes: usize,
    hashes: Vec<u64>,
}

impl Groups {
    fn new(made: Made, accuracy: i64) -> Groups {
        Groups { made, accuracy, groups: Vec::new(), bytes: 0, hashes: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, Distinct::new);
        }
    }

    fn hash(&mut self, values: &ArrayRef) -> Result<()> {
        self.hashes.clear();
        if self.made == Made::Sketch {
            self.hashes.extend(values.as_primitive::<Int64Type>().values().iter().map(|hash| *hash as u64));
            return Ok(());
        }
        self.hashes.resize(values.len(), 0);
        create_hashes([values], &HLL_RANDOM_STATE, &mut self.hashes)?;
        Ok(())
    }

    #[inline]
    fn add(&mut self, group: usize, hash: u64) {
        let of = &mut self.groups[group];
        if of.has_room() {
            return of.pending.push(hash);
        }
        self.change(group, |group, accuracy| group.add(hash, accuracy));
    }

    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut Distinct, i64) -> T) -> T {
        let group = &mut self.groups[group];
        let before = group.bytes();
        let changed = change(group, self.accuracy);
        self.bytes = self.bytes + group.bytes() - before;
        changed
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Distinct> {
        let mut groups = emit_to.take_needed(&mut self.groups);
        self.bytes -= groups.iter().map(Distinct::bytes).sum::<usize>();
        groups.iter_mut().for_each(|group| group.settle(self.accuracy));
        groups
    }

    fn show(&self, groups: &[Distinct]) -> ArrayRef {
        match self.made {
            Made::Count => Arc::new(Int64Array::from_iter_values(groups.iter().map(Distinct::count))),
            Made::Sketch => Arc::new(groups.iter().map(|group| group.sketch(self.accuracy)).collect::<StringViewArray>()),
        }
    }

    fn states(groups: &[Distinct]) -> Result<ArrayRef> {
        let bytes = groups.iter().map(Distinct::state_size).sum();
        let mut states = LargeBinaryBuilder::with_capacity(groups.len(), bytes);
        for group in groups {
            group.write_state(&mut states)?;
            states.append_value([]);
        }
        Ok(Arc::new(states.finish()))
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        self.grow(count);
        self.hash(&values[0])?;
        let nulls = values[0].logical_nulls();
        for (row, group) in groups.iter().enumerate() {
            if is_let_through(filter, row) && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.add(*group, self.hashes[row]);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        Ok(self.show(&groups))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Groups::states(&self.take(emit_to))?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.grow(count);
        let states = states[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            if states.is_valid(row) {
                self.change(*group, |group, accuracy| group.merge(states.value(row), accuracy))?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Groups::new(self.made, self.accuracy);
        let rows: Vec<usize> = (0..values[0].len()).collect();
        GroupsAccumulator::update_batch(&mut each, values, &rows, filter, rows.len())?;
        GroupsAccumulator::state(&mut each, EmitTo::All)
    }

    fn size(&self) -> usize {
        self.bytes + self.groups.capacity() * size_of::<Distinct>() + self.hashes.capacity() * 8
    }
}

impl Accumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let all = vec![0; values[0].len()];
        GroupsAccumulator::update_batch(self, values, &all, None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.grow(1);
        self.change(0, Distinct::settle);
        ScalarValue::try_from_array(&self.show(&self.groups[..1]), 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.grow(1);
        let mut state = Vec::new();
        self.change(0, Distinct::settle);
        self.groups[0].write_state(&mut state)?;
        Ok(vec![ScalarValue::LargeBinary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let all = vec![0; states[0].len()];
        GroupsAccumulator::merge_batch(self, states, &all, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_any_size_are_counted_and_what_they_hold_is_known() {
        let sizes = [1, 3, 8, 9, 255, 256, 257, 1024, 1025, 60_000];
        let mut random = fastrand::Rng::with_seed(5);
        let mut groups = Groups::new(Made::Count, 1);
        let mut merged = Groups::new(Made::Count, 1);
        let held = |groups: &Groups| groups.groups.iter().map(Distinct::bytes).sum::<usize>();
        for _ in 0..3 {
            // Every value three times, in batches of several groups.
            let mut rows: Vec<(usize, i64)> = sizes.iter().enumerate().flat_map(|(group, size)| (0..*size).map(move |value| (group, value))).collect();
            random.shuffle(&mut rows);
            for batch in rows.chunks(777) {
                let (of, values): (Vec<usize>, Vec<i64>) = batch.iter().copied().unzip();
                let values: ArrayRef = Arc::new(Int64Array::from(values));
                GroupsAccumulator::update_batch(&mut groups, std::slice::from_ref(&values), &of, None, sizes.len()).expect("numbers");
                assert_eq!(groups.bytes, held(&groups));
                let states = groups.convert_to_state(&[values], None).expect("states");
                GroupsAccumulator::merge_batch(&mut merged, &states, &of, sizes.len()).expect("states");
                assert_eq!(merged.bytes, held(&merged));
            }
        }
        let first = GroupsAccumulator::state(&mut groups, EmitTo::First(4)).expect("states");
        assert_eq!(groups.bytes, held(&groups));
        GroupsAccumulator::merge_batch(&mut merged, &first, &[0, 1, 2, 3], sizes.len()).expect("states");
        let rest = GroupsAccumulator::state(&mut groups, EmitTo::All).expect("states");
        assert_eq!(groups.bytes, 0);
        GroupsAccumulator::merge_batch(&mut merged, &rest, &[4, 5, 6, 7, 8, 9], sizes.len()).expect("states");
        let counts = GroupsAccumulator::evaluate(&mut merged, EmitTo::All).expect("counts");
        for (size, count) in sizes.iter().zip(counts.as_primitive::<Int64Type>().values()) {
            assert!(if *size <= 1024 { count == size } else { (count - size).abs() * 50 < *size }, "{count} of {size}");
        }
    }
}
