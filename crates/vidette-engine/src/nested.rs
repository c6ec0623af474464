//! Structs, lists and maps of Arrow as dynamic values.

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef};
use arrow::json::EncoderOptions;
use arrow::json::writer::make_encoder;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

const NAME: &str = "nested_to_json";
/// As Kusto writes the time that is in a dynamic value.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// The value as JSON text. Fields of structs that are null are left out.
pub(crate) fn to_json(nested: Expr) -> Expr {
    ScalarUDF::from(ToJson::default()).call(vec![nested])
}

/// `nested_to_json` by its name in plans.
pub(crate) fn helper(name: &str) -> Option<ScalarUDF> {
    (name == NAME).then(|| ScalarUDF::from(ToJson::default()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJson {
    signature: Signature,
}

impl Default for ToJson {
    fn default() -> Self {
        ToJson { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let ([values], [field]) = (&arrays[..], &args.arg_fields[..]) else { return exec_err!("{NAME} expects one value") };
        Ok(ColumnarValue::Array(texts(values, field)?))
    }
}

fn texts(values: &ArrayRef, field: &FieldRef) -> Result<ArrayRef> {
    let options = EncoderOptions::default().with_timestamp_format(TIME_FORMAT.to_owned()).with_timestamp_tz_format(TIME_FORMAT.to_owned());
    let mut encoder = make_encoder(field, values, &options)?;
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = Vec::new();
    for at in 0..values.len() {
        if encoder.is_null(at) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(at, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}
