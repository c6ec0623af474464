//! Saved functions as YAML: Sentinel's repository keeps its parsers and those of ASIM so.

use crate::yaml::or_default;
use serde::Deserialize;
use serde_yaml_ng::Value;

#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "FunctionName", alias = "ParserName")]
    name: String,
    #[serde(rename = "FunctionAlias", default)]
    alias: Option<String>,
    #[serde(rename = "EquivalentBuiltInParser", alias = "EquivalentBuiltInFunction", default)]
    built_in: Option<String>,
    #[serde(rename = "FunctionParams", alias = "ParserParams", alias = "FunctionParameters", default, deserialize_with = "or_default")]
    parameters: Vec<Parameter>,
    #[serde(rename = "FunctionQuery", alias = "ParserQuery")]
    query: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    name: String,
    #[serde(rename = "Type")]
    ty: String,
    #[serde(default)]
    default: Option<Value>,
}

impl Parameter {
    /// `name: type = default`
    fn declaration(&self) -> String {
        let default = self.default.as_ref().map(|value| match value {
            Value::String(text) if self.ty == "string" && !text.starts_with(['\'', '"']) => format!(" = {text:?}"),
            Value::String(text) => format!(" = {text}"),
            other => format!(" = {}", serde_yaml_ng::to_string(other).unwrap_or_default().trim_end()),
        });
        // What Sentinel calls a table of these columns.
        let ty = self.ty.strip_prefix("Tabular:").map_or(self.ty.as_str(), str::trim);
        format!("{}: {ty}{}", self.name, default.unwrap_or_default())
    }
}

/// Whether the keys are those of a saved function.
pub(crate) fn is_function(keys: &[&str]) -> bool {
    keys.contains(&"FunctionQuery") || keys.contains(&"ParserQuery")
}

/// A query as a function, as a `let` statement.
pub fn statement(name: &str, parameters: &str, query: &str) -> String {
    format!("let {name} = ({parameters}) {{\n{}\n}};\n", query.trim_end().trim_end_matches(';'))
}

/// The function as `let` statements: under its own name, and those that it has beside it.
///
/// # Errors
/// What is wrong with the YAML.
pub(crate) fn statements(text: &str) -> Result<String, String> {
    let saved: Saved = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    let parameters: Vec<String> = saved.parameters.iter().map(Parameter::declaration).collect();
    let mut names = vec![saved.name];
    names.extend([saved.alias, saved.built_in].into_iter().flatten().filter(|name| !name.is_empty()));
    names.sort();
    names.dedup();
    Ok(names.iter().map(|name| statement(name, &parameters.join(", "), &saved.query)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_is_a_function_under_two_names() {
        let text = "ParserName: vimX\nEquivalentBuiltInParser: _Im_X\nParserParams:\n  - Name: from\n    Type: datetime\n    Default: datetime(null)\n  - Name: who\n    Type: string\n    Default: '*'\n  - Name: off\n    Type: bool\n    Default: false\nParserQuery: |\n  T\n  | where not(off) // done\n";
        let function = "(from: datetime = datetime(null), who: string = \"*\", off: bool = false) {\nT\n| where not(off) // done\n};\n";
        assert_eq!(statements(text), Ok(format!("let _Im_X = {function}let vimX = {function}")));
        assert!(statements("ParserQuery: T\n").is_err_and(|message| message.contains("FunctionName")));
    }
}
