//! Kernels as DataFusion functions: stateless, and found by a name that holds the types they were bound with.

use super::{Body, find};
use crate::arrow_types::arrow_type;
use crate::cells::{Builder, Cell, Column, Out};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err, not_impl_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::any::Any;
use vidette_kql::ScalarType;

/// Whether every row has a value of its own.
fn is_random(function: &str) -> bool {
    matches!(function, "rand" | "new_guid")
}

/// A kernel bound to its argument and result types. Its name is `has(string,string):bool`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kernel {
    name: String,
    function: String,
    arguments: Vec<ScalarType>,
    result: ScalarType,
    signature: Signature,
}

impl Kernel {
    pub(crate) fn new(function: &str, arguments: &[ScalarType], result: ScalarType) -> Kernel {
        let types: Vec<&str> = arguments.iter().map(|ty| ty.name()).collect();
        let name = format!("{function}({}):{result}", types.join(","));
        let volatility = if is_random(function) { Volatility::Volatile } else { Volatility::Immutable };
        let signature = if arguments.is_empty() { Signature::nullary(volatility) } else { Signature::variadic_any(volatility) };
        Kernel { name, function: function.to_owned(), arguments: arguments.to_vec(), result, signature }
    }

    /// The kernel a name stands for, so that a plan can be read back on another machine.
    pub(crate) fn from_name(name: &str) -> Option<Kernel> {
        let (function, rest) = name.split_once('(')?;
        let (arguments, result) = rest.rsplit_once("):")?;
        find(function)?;
        let arguments = arguments.split(',').filter(|ty| !ty.is_empty()).map(ScalarType::from_name).collect::<Option<Vec<_>>>()?;
        Some(Kernel::new(function, &arguments, ScalarType::from_name(result)?))
    }
}

/// The arguments of a call of the kernel `function`, with their types.
pub(crate) fn called<'e>(expr: &'e Expr, function: &str) -> Option<(&'e [Expr], &'e [ScalarType])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let kernel = (call.func.inner().as_ref() as &dyn Any).downcast_ref::<Kernel>()?;
    (kernel.function == function).then_some((&call.args, &kernel.arguments))
}

/// A path of constant steps into a text that is parsed for nothing else, as one walk of the text.
pub(crate) fn path_in_text(expr: &Expr) -> Option<Expr> {
    let ([document, steps @ ..], [_, of_steps @ ..]) = called(expr, "path")? else { return None };
    let ([text], [ScalarType::String]) = called(document, "parse_json")? else { return None };
    if !steps.iter().all(|step| matches!(step, Expr::Literal(..))) {
        return None;
    }
    let arguments = std::iter::once(text).chain(steps).cloned().collect();
    Some(call("path_in_text", &[&[ScalarType::String], of_steps].concat(), ScalarType::Dynamic, arguments))
}

/// A call of the kernel `function`.
pub(crate) fn call(function: &str, types: &[ScalarType], result: ScalarType, arguments: Vec<Expr>) -> Expr {
    ScalarUDF::from(Kernel::new(function, types, result)).call(arguments)
}

/// One argument of a batch kernel.
pub struct Argument {
    column: Column,
    /// One value for all rows.
    pub constant: bool,
}

impl Argument {
    /// The values as they came, when they are texts, one for each row.
    pub fn texts(&self) -> Option<&StringViewArray> {
        self.column.texts().filter(|_| !self.constant)
    }

    /// The values as they came, when they are long integers, datetimes or timespans, one for each row.
    pub fn longs(&self) -> Option<&Int64Array> {
        self.column.longs().filter(|_| !self.constant)
    }

    pub fn cell(&self, row: usize) -> Cell<'_> {
        self.column.cell(if self.constant { 0 } else { row })
    }
}

impl ScalarUDFImpl for Kernel {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(arrow_type(self.result))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let pure = !is_random(&self.function);
        let varying: Vec<usize> = (0..args.args.len()).filter(|at| matches!(args.args[*at], ColumnarValue::Array(_))).collect();
        if let [only] = varying[..]
            && pure
            && let ColumnarValue::Array(array) = &args.args[only]
        {
            let evaluate = |values: &ArrayRef| {
                let mut arguments = args.args.clone();
                arguments[only] = ColumnarValue::Array(values.clone());
                self.evaluate(&arguments, values.len())
            };
            return Ok(ColumnarValue::Array(per_value(array, &evaluate)?));
        }
        if varying.is_empty() && pure {
            let value = self.evaluate(&args.args, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?));
        }
        Ok(ColumnarValue::Array(self.evaluate(&args.args, rows)?))
    }
}

/// What `evaluate` makes of an array, one result for each row; of few distinct values each is evaluated once.
pub(super) fn per_value(array: &ArrayRef, evaluate: &dyn Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let once = |values: &ArrayRef, keys: &dyn Array| Ok(take(&evaluate(values)?, keys, None)?);
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        return once(dictionary.values(), dictionary.keys());
    }
    match array.as_string_view_opt().and_then(distinct) {
        Some((values, keys)) => once(&values, &keys),
        None => evaluate(array),
    }
}

/// The texts of an array in which they repeat, and which of them each row has; a text may be there more than once. Parquet
/// gives rows with one entry of its dictionary the same view, so views are compared, not texts.
fn distinct(texts: &StringViewArray) -> Option<(ArrayRef, UInt32Array)> {
    /// Places for views; one that another takes is forgotten.
    const PLACES: usize = 512;
    /// Rows by which it shows whether texts repeat.
    const SAMPLE: usize = 256;
    /// Rows that share a text must be this many, on average.
    const WORTH: usize = 4;
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    if texts.len() < SAMPLE || texts.null_count() > 0 {
        return None;
    }
    let mut known = [(0u128, u32::MAX); PLACES];
    let mut firsts: Vec<u32> = Vec::with_capacity(SAMPLE);
    let mut keys: Vec<u32> = Vec::with_capacity(texts.len());
    for (row, view) in texts.views().iter().enumerate() {
        let mixed = ((view >> 64) as u64 ^ (*view as u64).rotate_left(32)).wrapping_mul(SPREAD);
        let place = &mut known[(mixed >> (64 - PLACES.ilog2())) as usize];
        if place.1 == u32::MAX || place.0 != *view {
            *place = (*view, firsts.len() as u32);
            firsts.push(row as u32);
        }
        keys.push(place.1);
        if row % SAMPLE == SAMPLE - 1 && firsts.len() * WORTH > row {
            return None;
        }
    }
    let values = take(texts, &UInt32Array::from(firsts), None).ok()?;
    Some((values, UInt32Array::from(keys)))
}

impl Kernel {
    fn evaluate(&self, values: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let Some(function) = find(&self.function) else { return internal_err!("no kernel named {}", self.function) };
        let mut arguments = Vec::with_capacity(values.len());
        for (value, ty) in values.iter().zip(&self.arguments) {
            let (array, constant) = match value {
                ColumnarValue::Array(array) => (array.clone(), false),
                ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            };
            arguments.push(Argument { column: Column::new(&array, *ty)?, constant });
        }
        match function.body {
            Body::Batch(body) => body(&arguments, rows),
            Body::Rows(body) => {
                let mut builder = Builder::new(self.result, rows);
                let mut cells = Vec::with_capacity(arguments.len());
                for row in 0..rows {
                    cells.clear();
                    cells.extend(arguments.iter().map(|argument| argument.cell(row)));
                    match body(&cells) {
                        Out::Refused(why) => return not_impl_err!("{}: {why}", self.function),
                        value => builder.push(value),
                    }
                }
                Ok(builder.finish())
            }
            Body::Stock(_) => internal_err!("{} has no kernel", self.function),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringViewBuilder;

    /// Rows that name texts by their numbers; a text has one view, as Parquet gives it.
    fn texts(numbers: impl Iterator<Item = usize>) -> StringViewArray {
        let mut builder = StringViewBuilder::new().with_deduplicate_strings();
        numbers.for_each(|number| builder.append_value(format!("a text of more than twelve bytes {number}")));
        builder.finish()
    }

    #[test]
    fn texts_that_repeat_are_told_once_and_again_where_they_were() {
        for count in [1, 5, 60] {
            let array = texts((0..1000).map(|row| row * row % count));
            let (values, keys) = distinct(&array).expect("they repeat");
            assert!(values.len() <= 60, "{count}: {}", values.len());
            assert_eq!(take(&values, &keys, None).unwrap().as_string_view(), &array);
        }
        // More than there are places for, in an order in which they take each other's.
        let array = texts((0..9000).map(|row| row % 8 * 700 / 8 + row / 3000));
        let (values, keys) = distinct(&array).expect("they repeat");
        assert_eq!(take(&values, &keys, None).unwrap().as_string_view(), &array);
    }

    #[test]
    fn texts_that_hardly_repeat_are_left_as_they_are() {
        assert!(distinct(&texts(0..1000)).is_none());
        assert!(distinct(&texts((0..1000).map(|row| row / 2))).is_none());
        assert!(distinct(&texts([7; 100].into_iter())).is_none(), "too few rows to tell");
        assert!(distinct(&StringViewArray::from(vec![None::<&str>; 1000])).is_none());
    }
}
