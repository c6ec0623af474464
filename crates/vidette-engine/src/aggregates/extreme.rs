//! `arg_max` and `arg_min`: the values of the row whose key is greatest or least, all from one row. Kusto docs:
//! `arg-max-aggregation-function`.

use super::is_let_through;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use std::sync::Arc;

const NAMES: [&str; 2] = ["arg_max_row", "arg_min_row"];

/// The aggregate for Kusto's `arg_max` or `arg_min`: of a key and values, a struct of the values.
pub(crate) fn extreme(function: &str) -> AggregateUDF {
    AggregateUDF::from(Extreme { greatest: function == "arg_max", signature: Signature::variadic_any(Volatility::Immutable) })
}

/// The aggregate by its name in plans.
pub(crate) fn by_name(name: &str) -> Option<AggregateUDF> {
    NAMES.contains(&name).then(|| extreme(name.trim_end_matches("_row")))
}

/// The name of a value in the struct.
pub(crate) fn field(at: usize) -> String {
    format!("v{at}")
}

fn fields<'t>(values: impl Iterator<Item = &'t DataType>) -> Fields {
    values.enumerate().map(|(at, ty)| Field::new(field(at), ty.clone(), true)).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    greatest: bool,
    signature: Signature,
}

impl Extreme {
    fn rows(&self, arguments: &AccumulatorArgs) -> Result<Rows> {
        Rows::new(self.greatest, arguments.expr_fields.iter().map(|field| field.data_type().clone()).collect())
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        NAMES[usize::from(!self.greatest)]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields(types.iter().skip(1))))
    }

    /// The key, the values, and whether there was a row.
    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let parts = arguments.input_fields.iter().map(|field| field.data_type().clone()).chain([DataType::Boolean]);
        Ok(parts.enumerate().map(|(at, ty)| Arc::new(Field::new(format!("{}[{at}]", arguments.name), ty, true))).collect())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(self.rows(&arguments)?))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.rows(&arguments)?))
    }
}

/// No row of the batch is better than what a group has.
const NONE: u32 = u32::MAX;
/// Rows that were overtaken and are still kept, beside as many as there are groups.
const MOST_OVERTAKEN: usize = 16_384;

/// By group: the key of its row, so that a lesser one is a better one. Rows without a key come last: they are chosen only when
/// no row has one.
#[derive(Debug)]
enum Keys {
    Numbers {
        greatest: bool,
        best: Vec<Option<i128>>,
    },
    /// With the bytes of the keys.
    Rows {
        converter: RowConverter,
        best: Vec<Option<OwnedRow>>,
        bytes: usize,
    },
}

impl Keys {
    fn new(greatest: bool, ty: &DataType) -> Result<Keys> {
        if *ty == DataType::Int64 {
            return Ok(Keys::Numbers { greatest, best: Vec::new() });
        }
        let key = SortField::new_with_options(ty.clone(), SortOptions { descending: greatest, nulls_first: false });
        Ok(Keys::Rows { converter: RowConverter::new(vec![key])?, best: Vec::new(), bytes: 0 })
    }

    /// The groups for which the batch has a better row, which is in `chosen` then.
    fn take_better(&mut self, keys: &ArrayRef, groups: &[usize], wanted: Option<&BooleanArray>, chosen: &mut [u32]) -> Result<Vec<usize>> {
        match self {
            Keys::Numbers { greatest, best } => {
                best.resize(chosen.len(), None);
                let rank = |key: i64| if *greatest { -i128::from(key) } else { i128::from(key) };
                let keys: Vec<i128> = keys.as_primitive::<Int64Type>().iter().map(|key| key.map_or(i128::MAX, rank)).collect();
                let touched = choose(groups, wanted, chosen, |row| keys[row], |group| best[group]);
                touched.iter().for_each(|group| best[*group] = Some(keys[chosen[*group] as usize]));
                Ok(touched)
            }
            Keys::Rows { converter, best, bytes } => {
                best.resize(chosen.len(), None);
                let keys = converter.convert_columns(std::slice::from_ref(keys))?;
                let touched = choose(groups, wanted, chosen, |row| keys.row(row), |group| best[group].as_ref().map(OwnedRow::row));
                for group in &touched {
                    let key = keys.row(chosen[*group] as usize).owned();
                    *bytes += length(Some(&key));
                    *bytes -= length(best[*group].replace(key).as_ref());
                }
                Ok(touched)
            }
        }
    }

    fn forget(&mut self, groups: EmitTo) {
        match self {
            Keys::Numbers { best, .. } => drop(groups.take_needed(best)),
            Keys::Rows { best, bytes, .. } => *bytes -= groups.take_needed(best).iter().map(|key| length(key.as_ref())).sum::<usize>(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Keys::Numbers { best, .. } => best.capacity() * size_of::<Option<i128>>(),
            Keys::Rows { best, bytes, .. } => bytes + best.capacity() * size_of::<Option<OwnedRow>>(),
        }
    }
}

fn length(key: Option<&OwnedRow>) -> usize {
    key.map_or(0, |key| key.as_ref().len())
}

/// The groups that have a row with a lesser key than their best one; the row with the least is in `chosen`.
fn choose<Key: Ord>(groups: &[usize], wanted: Option<&BooleanArray>, chosen: &mut [u32], key: impl Fn(usize) -> Key, best: impl Fn(usize) -> Option<Key>) -> Vec<usize> {
    let mut touched = Vec::new();
    for (row, group) in groups.iter().enumerate().filter(|(row, _)| is_let_through(wanted, *row)) {
        let is_better = match chosen[*group] {
            NONE => best(*group).is_none_or(|best| key(row) < best),
            at => key(row) < key(at as usize),
        };
        if is_better {
            if chosen[*group] == NONE {
                touched.push(*group);
            }
            chosen[*group] = row as u32;
        }
    }
    touched
}

/// The best row of each group; without `by` there is one.
#[derive(Debug)]
struct Rows {
    /// Of the key and the values.
    types: Vec<DataType>,
    keys: Keys,
    /// By group: the piece its row is in, and where. In the first piece is a row of nulls.
    places: Vec<(usize, usize)>,
    pieces: Vec<Vec<ArrayRef>>,
    kept: usize,
    bytes: usize,
    /// By group: the row of the batch that is best so far.
    chosen: Vec<u32>,
}

impl Rows {
    fn new(greatest: bool, types: Vec<DataType>) -> Result<Rows> {
        let keys = Keys::new(greatest, &types[0])?;
        let nulls = types.iter().map(|ty| new_null_array(ty, 1)).collect();
        Ok(Rows { types, keys, places: Vec::new(), pieces: vec![nulls], kept: 0, bytes: 0, chosen: Vec::new() })
    }

    /// Looks at rows of the key and the values.
    fn add(&mut self, columns: &[ArrayRef], groups: &[usize], wanted: Option<&BooleanArray>, count: usize) -> Result<()> {
        let groups_known = count.max(self.places.len());
        self.places.resize(groups_known, (0, 0));
        self.chosen.resize(groups_known, NONE);
        let touched = self.keys.take_better(&columns[0], groups, wanted, &mut self.chosen)?;
        let rows: UInt32Array = touched.iter().map(|group| std::mem::replace(&mut self.chosen[*group], NONE)).collect();
        for (at, group) in touched.iter().enumerate() {
            self.places[*group] = (self.pieces.len(), at);
        }
        if !touched.is_empty() {
            let piece = columns.iter().map(|column| Ok(compact(take(column, &rows, None)?))).collect::<Result<Vec<_>>>()?;
            self.keep(piece, touched.len());
        }
        if self.kept > MOST_OVERTAKEN + 2 * self.places.len() {
            let all = self.gather(&self.places)?;
            self.forget();
            self.keep(all, self.places.len());
            for (group, place) in self.places.iter_mut().enumerate() {
                *place = if place.0 == 0 { (0, 0) } else { (1, group) };
            }
        }
        Ok(())
    }

    fn keep(&mut self, piece: Vec<ArrayRef>, rows: usize) {
        self.bytes += piece.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.kept += rows;
        self.pieces.push(piece);
    }

    fn forget(&mut self) {
        self.pieces.truncate(1);
        (self.kept, self.bytes) = (0, 0);
    }

    /// The key and the values of the rows at these places.
    fn gather(&self, places: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
        let column = |at: usize| {
            let pieces: Vec<&dyn Array> = self.pieces.iter().map(|piece| piece[at].as_ref()).collect();
            Ok(compact(interleave(&pieces, places)?))
        };
        (0..self.types.len()).map(column).collect()
    }

    /// As [`Rows::gather`], of groups that are let go, and whether there was a row.
    fn emit(&mut self, emit_to: EmitTo) -> Result<(Vec<ArrayRef>, BooleanArray)> {
        let places = emit_to.take_needed(&mut self.places);
        self.keys.forget(emit_to);
        self.chosen.truncate(self.places.len());
        let columns = self.gather(&places)?;
        if self.places.is_empty() {
            self.forget();
        }
        Ok((columns, places.iter().map(|(piece, _)| Some(*piece != 0)).collect()))
    }

    fn values(&self, columns: Vec<ArrayRef>) -> Result<StructArray> {
        Ok(StructArray::try_new(fields(self.types.iter().skip(1)), columns.into_iter().skip(1).collect(), None)?)
    }
}

/// Texts of their own: those of a batch are not kept for a few rows of it.
fn compact(column: ArrayRef) -> ArrayRef {
    match column.as_string_view_opt() {
        Some(texts) => Arc::new(texts.gc()),
        None => column,
    }
}

impl GroupsAccumulator for Rows {
    fn update_batch(&mut self, columns: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        self.add(columns, groups, filter, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (columns, _) = self.emit(emit_to)?;
        Ok(Arc::new(self.values(columns)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (mut columns, seen) = self.emit(emit_to)?;
        columns.push(Arc::new(seen));
        Ok(columns)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        let (columns, seen) = states.split_at(self.types.len());
        self.add(columns, groups, seen.first().map(|seen| seen.as_boolean()), count)
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let seen: BooleanArray = (0..columns[0].len()).map(|row| Some(is_let_through(filter, row))).collect();
        Ok(columns.iter().cloned().chain([Arc::new(seen) as ArrayRef]).collect())
    }

    fn size(&self) -> usize {
        self.keys.bytes() + self.bytes + self.places.capacity() * (size_of::<(usize, usize)>() + size_of::<u32>())
    }
}

impl Accumulator for Rows {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.add(columns, &vec![0; columns[0].len()], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = self.gather(&[self.places.first().copied().unwrap_or_default()])?;
        Ok(ScalarValue::Struct(Arc::new(self.values(columns)?)))
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let place = self.places.first().copied().unwrap_or_default();
        let columns = self.gather(&[place])?;
        let parts = columns.iter().map(|column| ScalarValue::try_from_array(column, 0));
        parts.chain([Ok(ScalarValue::Boolean(Some(place.0 != 0)))]).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::merge_batch(self, states, &vec![0; states[0].len()], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringViewArray};

    fn columns(keys: Vec<Option<i64>>) -> Vec<ArrayRef> {
        let texts: StringViewArray = keys.iter().map(|key| Some(format!("a text of the key {key:?}"))).collect();
        vec![Arc::new(Int64Array::from(keys)), Arc::new(texts)]
    }

    fn of(structs: &ArrayRef) -> Vec<Option<String>> {
        structs.as_struct().column(0).as_string_view().iter().map(|text| text.map(|text| text["a text of the key ".len()..].to_owned())).collect()
    }

    #[test]
    fn the_best_rows_outlive_those_that_they_overtook() {
        let mut rows = Rows::new(true, vec![DataType::Int64, DataType::Utf8View]).expect("a key that is ordered");
        let groups: Vec<usize> = (0..1000).map(|row| row % 500).collect();
        for batch in 0..100 {
            let keys = (0..1000).map(|row| Some(batch * 1000 + row)).collect();
            GroupsAccumulator::update_batch(&mut rows, &columns(keys), &groups, None, 501).expect("rows are added");
        }
        assert!(rows.kept <= MOST_OVERTAKEN + 3 * 501 && rows.pieces.len() < 40, "{} rows in {} pieces", rows.kept, rows.pieces.len());
        let first = GroupsAccumulator::state(&mut rows, EmitTo::First(2)).expect("a state");
        assert_eq!(first[0].as_primitive::<Int64Type>().values()[..], [99_500, 99_501]);
        // What was group 2 is group 0 now, and the last one had no row.
        let rest = GroupsAccumulator::evaluate(&mut rows, EmitTo::All).expect("rows");
        assert_eq!((of(&rest)[0].as_deref(), of(&rest)[498].as_deref(), rest.len()), (Some("Some(99502)"), None, 499));
        assert_eq!((rows.pieces.len(), rows.bytes), (1, 0));
    }

    #[test]
    fn no_row_is_less_than_a_row_without_a_key() {
        let mut rows = Rows::new(false, vec![DataType::Int64, DataType::Utf8View]).expect("a key that is ordered");
        let filter = BooleanArray::from(vec![false, true, true, true]);
        let states = rows.convert_to_state(&columns(vec![Some(1), None, Some(7), Some(7)]), Some(&filter)).expect("states");
        GroupsAccumulator::merge_batch(&mut rows, &states, &[0, 0, 1, 1], 3).expect("they are merged");
        let nothing = Rows::new(false, vec![DataType::Int64, DataType::Utf8View]).and_then(|mut rows| Accumulator::state(&mut rows)).expect("a state");
        let nothing: Vec<ArrayRef> = nothing.iter().map(|part| part.to_array_of_size(1).expect("an array")).collect();
        GroupsAccumulator::merge_batch(&mut rows, &nothing, &[0], 3).expect("it is merged");
        let best = GroupsAccumulator::evaluate(&mut rows, EmitTo::All).expect("rows");
        assert_eq!(of(&best), [Some("None".to_owned()), Some("Some(7)".to_owned()), None]);
    }
}
