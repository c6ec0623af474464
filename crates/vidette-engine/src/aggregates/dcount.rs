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

/// Full sets grow by so many times their size: hashes move less often than when it doubles.
const GROWTH: usize = 3;

/// The registers of many groups are in no cache: a group's are fetched for so many hashes at once.
const PENDING: usize = 512;

/// The distinct values of a group, as hashes.
#[derive(Debug)]
enum Distinct {
    Few(Hashes),
    /// Hashes that wait for the sketch; there are none once it is [settled](Distinct::settle).
    Many(Hll, Vec<u64>),
}

impl Distinct {
    fn add(&mut self, hash: u64, accuracy: i64) {
        match self {
            Distinct::Few(hashes) => {
                let most = Hll::size(accuracy) / 16;
                if hashes.len() == hashes.capacity() {
                    hashes.reserve((hashes.len() * GROWTH).min(most + 1 - hashes.len()));
                }
                hashes.insert(hash);
                if hashes.len() > most {
                    let mut sketch = Hll::new(accuracy);
                    hashes.iter().for_each(|hash| sketch.add(*hash));
                    *self = Distinct::Many(sketch, Vec::new());
                }
            }
            Distinct::Many(_, pending) => {
                pending.push(hash);
                if pending.len() == PENDING {
                    self.settle();
                }
            }
        }
    }

    fn settle(&mut self) {
        if let Distinct::Many(sketch, pending) = self {
            pending.drain(..).for_each(|hash| sketch.add(hash));
        }
    }

    fn count(&self) -> i64 {
        match self {
            Distinct::Few(hashes) => hashes.len() as i64,
            Distinct::Many(sketch, _) => sketch.estimate(),
        }
    }

    fn sketch(&self, accuracy: i64) -> Option<String> {
        match self {
            Distinct::Few(hashes) if hashes.is_empty() => None,
            Distinct::Few(hashes) => {
                let mut sketch = Hll::new(accuracy);
                hashes.iter().for_each(|hash| sketch.add(*hash));
                Some(sketch.to_json())
            }
            Distinct::Many(sketch, _) => Some(sketch.to_json()),
        }
    }

    /// A zero and the hashes, or a one and the registers.
    fn write_state(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self {
            Distinct::Few(hashes) => {
                out.write_all(&[0])?;
                hashes.iter().try_for_each(|hash| out.write_all(&hash.to_le_bytes()))
            }
            Distinct::Many(sketch, _) => {
                out.write_all(&[1])?;
                out.write_all(sketch.registers())
            }
        }
    }

    fn state_size(&self) -> usize {
        match self {
            Distinct::Few(hashes) => 1 + hashes.len() * 8,
            Distinct::Many(sketch, _) => 1 + sketch.registers().len(),
        }
    }

    fn merge(&mut self, state: &[u8], accuracy: i64) -> Result<()> {
        match state.split_first() {
            Some((0, hashes)) => {
                for hash in hashes.as_chunks::<8>().0 {
                    self.add(u64::from_le_bytes(*hash), accuracy);
                }
                Ok(())
            }
            Some((1, registers)) if registers.len() == Hll::size(accuracy) => {
                match self {
                    Distinct::Many(sketch, _) => sketch.add_registers(registers),
                    Distinct::Few(hashes) => {
                        let mut sketch = Hll::with_registers(registers.to_vec());
                        hashes.iter().for_each(|hash| sketch.add(*hash));
                        *self = Distinct::Many(sketch, Vec::new());
                    }
                }
                Ok(())
            }
            _ => exec_err!("dcount: a state of {} bytes", state.len()),
        }
    }
}

/// The values of all groups; without `by` there is one.
#[derive(Debug)]
struct Groups {
    made: Made,
    accuracy: i64,
    groups: Vec<Distinct>,
    hashes: Vec<u64>,
}

impl Groups {
    fn new(made: Made, accuracy: i64) -> Groups {
        Groups { made, accuracy, groups: Vec::new(), hashes: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, || Distinct::Few(Hashes::default()));
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

    fn take(&mut self, emit_to: EmitTo) -> Vec<Distinct> {
        let mut groups = emit_to.take_needed(&mut self.groups);
        groups.iter_mut().for_each(Distinct::settle);
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
                self.groups[*group].add(self.hashes[row], self.accuracy);
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
                self.groups[*group].merge(states.value(row), self.accuracy)?;
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
        let of = |group: &Distinct| match group {
            Distinct::Few(hashes) => hashes.capacity() * 9,
            Distinct::Many(sketch, pending) => sketch.registers().len() + pending.capacity() * 8,
        };
        self.groups.iter().map(of).sum::<usize>() + self.groups.capacity() * size_of::<Distinct>() + self.hashes.capacity() * 8
    }
}

impl Accumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let all = vec![0; values[0].len()];
        GroupsAccumulator::update_batch(self, values, &all, None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.grow(1);
        self.groups[0].settle();
        ScalarValue::try_from_array(&self.show(&self.groups[..1]), 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.grow(1);
        let mut state = Vec::new();
        self.groups[0].settle();
        self.groups[0].write_state(&mut state)?;
        Ok(vec![ScalarValue::LargeBinary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let all = vec![0; states[0].len()];
        GroupsAccumulator::merge_batch(self, states, &all, 1)
    }
}
