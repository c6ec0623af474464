//! Kernels as DataFusion functions: stateless, and found by a name that holds the types they were bound with.

use super::{Body, find};
use crate::arrow_types::arrow_type;
use crate::cells::{Builder, Cell, Column, Out};
use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err, not_impl_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
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
        let varying: Vec<usize> = (0..args.args.len()).filter(|at| matches!(args.args[*at], ColumnarValue::Array(_))).collect();
        // A column of few distinct values is evaluated once per value.
        if let [only] = varying[..]
            && !is_random(&self.function)
            && let ColumnarValue::Array(array) = &args.args[only]
            && let Some(dictionary) = array.as_any_dictionary_opt()
        {
            let mut arguments = args.args.clone();
            arguments[only] = ColumnarValue::Array(dictionary.values().clone());
            let distinct = self.evaluate(&arguments, dictionary.values().len())?;
            return Ok(ColumnarValue::Array(take(&distinct, dictionary.keys(), None)?));
        }
        if varying.is_empty() && !is_random(&self.function) {
            let value = self.evaluate(&args.args, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?));
        }
        Ok(ColumnarValue::Array(self.evaluate(&args.args, rows)?))
    }
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
