//! `mv-expand`: dynamic values become lists, which a stock `Unnest` turns into rows.

use crate::functions::udf;
use crate::json::parts::Step;
use crate::json::{self, Found, parts};
use crate::lower::{Lowering, Rows, Shown, named, physical};
use crate::slices::Slices;
use arrow::array::{Array, AsArray, Int64Builder, ListArray, ListBuilder, NullBufferBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column as DfColumn, Result, ScalarValue, UnnestOptions, exec_err, internal_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit};
use datafusion::prelude::coalesce;
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use vidette_kql::ScalarType;
use vidette_kql::bound::{Column, Expansion, Plan};

impl Lowering<'_> {
    pub(crate) fn mv_expand(&mut self, input: &Plan, expansions: &[Expansion], index: Option<&Column>, limit: Option<u64>, keep: &[Column], bag_as_array: bool) -> Result<Rows> {
        let rows = self.rows(input)?;
        let mut shown: Vec<Expr> = rows.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut lists = Vec::new();
        let mut longest = Vec::new();
        for expansion in expansions {
            let name = self.hidden_name("list");
            let list = elements(self.expr(&expansion.source)?, bag_as_array, limit, expansion.element.ty == ScalarType::String);
            longest.push(list.clone());
            shown.push(list.alias(name.clone()));
            lists.push(name);
        }
        let index = index.map(|column| (column, self.hidden_name("index")));
        if let Some((_, name)) = &index {
            shown.push(ScalarUDF::from(Indices::new()).call(longest).alias(name.clone()));
            lists.push(name.clone());
        }
        let columns = lists.iter().map(|name| DfColumn::new_unqualified(name.clone())).collect();
        let plan = rows.plan.show(shown)?.unnest_columns_with_options(columns, UnnestOptions::default())?;
        let mut result: Vec<Expr> = keep.iter().filter(|column| self.is_used(column)).map(|column| named(physical(column.id))).collect();
        for (expansion, list) in expansions.iter().zip(&lists) {
            let element = match expansion.element.ty {
                ScalarType::Dynamic => named(list.clone()),
                ScalarType::String if expansions.len() == 1 => named(list.clone()),
                // Beside a longer list the rows of a shorter one are filled with nulls.
                ScalarType::String => coalesce(vec![named(list.clone()), lit(ScalarValue::Utf8View(Some(String::new())))]),
                ty => typed(named(list.clone()), ty),
            };
            result.push(element.alias(physical(expansion.element.id)));
        }
        if let Some((column, name)) = index {
            result.push(named(name).alias(physical(column.id)));
        }
        for key in &rows.order {
            if !result.contains(&key.expr) {
                result.push(key.expr.clone());
            }
        }
        self.at_least_one(&mut result);
        Ok(Rows { plan: plan.show(result)?, order: rows.order })
    }
}

/// An element as a value of the type, null unless it is one already: a text is no number, as Kusto's emulator has it.
fn typed(element: Expr, ty: ScalarType) -> Expr {
    let (kind, conversion) = match ty {
        ScalarType::Bool => ("whole", "tobool"),
        ScalarType::Int => ("number", "toint"),
        ScalarType::Long => ("number", "long_of"),
        ScalarType::Real => ("number", "real_of"),
        ScalarType::DateTime => ("text", "todatetime"),
        ScalarType::Guid => ("text", "toguid"),
        // No element is one of these.
        ScalarType::Decimal => ("none", "todecimal"),
        ScalarType::TimeSpan => ("none", "totimespan"),
        ScalarType::String | ScalarType::Dynamic => return element,
    };
    let element = udf::call("element_of_kind", &[ScalarType::Dynamic, ScalarType::String], ScalarType::Dynamic, vec![element, lit(ScalarValue::Utf8View(Some(kind.to_owned())))]);
    udf::call(conversion, &[ScalarType::Dynamic], ty, vec![element])
}

/// The elements of a dynamic as a list of JSON texts, or of what `tostring()` makes of them.
pub(super) fn elements(value: Expr, bag_as_array: bool, limit: Option<u64>, as_strings: bool) -> Expr {
    ScalarUDF::from(Elements::new()).call(vec![value, lit(bag_as_array), lit(limit.unwrap_or(u64::MAX)), lit(as_strings)])
}

/// The elements of what a path into a text finds, in the walk that finds it.
pub(crate) fn elements_in_text(expr: &Expr) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let (elements, [list, options @ ..]) = ((call.func.inner().as_ref() as &dyn Any).downcast_ref::<Elements>()?, call.args.as_slice()) else { return None };
    let [text, steps @ ..] = udf::called(list, "path_in_text")?.0 else { return None };
    let is_step = |step: &Expr| matches!(step, Expr::Literal(value, _) if step_of(value).is_some());
    if options.len() != OPTIONS || !steps.iter().all(is_step) {
        return None;
    }
    let arguments = std::iter::once(text).chain(options).chain(steps).cloned().collect();
    Some(ScalarUDF::from(Elements { signature: elements.signature.clone() }).call(arguments))
}

/// A step from the front.
fn step_of(value: &ScalarValue) -> Option<Step> {
    match value {
        ScalarValue::Utf8View(Some(name)) => Some(Step::Name(name.clone())),
        ScalarValue::Int64(Some(at)) => usize::try_from(*at).ok().map(Step::Index),
        _ => None,
    }
}

/// The arguments after the first that are no steps.
const OPTIONS: usize = 3;

/// `elements(dynamic, bag_as_array, limit, as_strings)`: an array's items, a bag's properties, a lone value itself; null
/// stays null, and among strings is `""`. Steps after these lead to the dynamic in a text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Elements {
    signature: Signature,
}

impl Elements {
    pub(super) fn new() -> Elements {
        Elements { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

fn list_type(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

impl ScalarUDFImpl for Elements {
    fn name(&self) -> &str {
        "elements"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_type(DataType::Utf8View))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (options, steps) = args.args.split_at(1 + OPTIONS);
        let arrays = ColumnarValue::values_to_arrays(options)?;
        let step = |step: &ColumnarValue| if let ColumnarValue::Scalar(value) = step { step_of(value) } else { None };
        let Some(steps) = steps.iter().map(step).collect::<Option<Vec<Step>>>() else { return internal_err!("elements: no step") };
        let documents = arrow::compute::cast(&arrays[0], &DataType::Utf8View)?;
        let (documents, as_array, limit) = (documents.as_string_view(), arrays[1].as_boolean(), arrays[2].as_primitive::<arrow::datatypes::UInt64Type>());
        let as_strings = arrays[3].as_boolean();
        let mut items = Slices::of(documents);
        let mut valid = NullBufferBuilder::new(documents.len());
        let mut offsets: Vec<i32> = vec![0];
        let mut places = Vec::new();
        for row in 0..documents.len() {
            let strings = as_strings.value(row);
            let most = usize::try_from(limit.value(row)).unwrap_or(usize::MAX);
            let written = documents.is_valid(row).then(|| documents.value(row));
            let found = if steps.is_empty() { written.map(|text| Found::Value(Cow::Borrowed(text))) } else { written.and_then(|text| json::find_items(text, &steps, &mut places)) };
            valid.append(strings || found.is_some());
            let mut push = |item: &str| match item {
                item if strings => push_text(&mut items, row, item),
                "null" => items.push_null(),
                item => items.push(row, item),
            };
            let document = if let Some(Found::Value(document)) = &found { document } else { "" };
            match document.as_bytes().first() {
                _ if matches!(found, Some(Found::Items)) => places.iter().take(most).for_each(|place| push(&json::compact(&documents.value(row)[place.clone()]))),
                None if strings => items.push_own(""),
                None => {}
                // Elements are parts of the text: no tree is built.
                Some(b'[') => parts::items(document).take(most).for_each(push),
                Some(b'{') => {
                    for (key, value) in parts::properties(document).take(most) {
                        let key = json::quote(&parts::name(key));
                        items.push_own(&if as_array.value(row) { format!("[{key},{value}]") } else { format!("{{{key}:{value}}}") });
                    }
                }
                Some(_) if strings => push_text(&mut items, row, document),
                Some(_) => items.push(row, document),
            }
            let Ok(end) = i32::try_from(items.len()) else { return exec_err!("mv-expand: a batch of more than {} elements", i32::MAX) };
            offsets.push(end);
        }
        let DataType::List(field) = list_type(DataType::Utf8View) else { return internal_err!("no list") };
        Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), Arc::new(items.finish()), valid.finish())?)))
    }
}

fn push_text(items: &mut Slices, row: usize, item: &str) {
    match json::text(item) {
        Cow::Borrowed(part) => items.push(row, part),
        Cow::Owned(text) => items.push_own(&text),
    }
}

/// `indices(list, …)`: 0, 1, 2 … up to the longest list.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Indices {
    signature: Signature,
}

impl Indices {
    pub(super) fn new() -> Indices {
        Indices { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Indices {
    fn name(&self) -> &str {
        "indices"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_type(DataType::Int64))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut lists = ListBuilder::new(Int64Builder::new());
        for row in 0..args.number_rows {
            let longest = arrays.iter().map(|array| array.as_list::<i32>()).filter(|list| list.is_valid(row)).map(|list| list.value_length(row)).max();
            (0..longest.unwrap_or(1)).for_each(|at| lists.values().append_value(i64::from(at)));
            lists.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}
