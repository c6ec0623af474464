//! What a user agent says of browser, system and device, by the patterns of uap-core, whose shape is Kusto's. Kusto docs:
//! `parse-user-agent-function`.

use crate::cells::{Cell, Out};
use crate::json;
use serde_json::{Map, Value};
use std::sync::LazyLock;
use ua_parser::{Error, Extractor, Regexes};

/// Compiled when first asked. The patterns are part of the binary, so that they compile is a test's to say.
static PATTERNS: LazyLock<Result<Extractor<'static>, String>> = LazyLock::new(|| {
    let patterns: Regexes = serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/user_agents.json"))).map_err(|error| error.to_string())?;
    patterns.try_into().map_err(|error: Error| error.to_string())
});

/// An object with one member for each target that is asked; without one, and for what is no target, null. What no pattern
/// tells is the family `Other`, as uap-core has it, and parts that are not there are empty.
pub(super) fn parse(a: &[Cell]) -> Out {
    let targets = match a.get(1) {
        None => vec!["browser".to_owned(), "os".to_owned(), "device".to_owned()],
        Some(asked) => {
            let asked = super::conversion::display(*asked);
            json::array(&asked).map_or_else(|| vec![asked.to_string()], |targets| targets.iter().map(json::value_text).collect())
        }
    };
    let mut found = Map::new();
    for target in targets {
        let Some((name, parts)) = read(a[0].text(), &target) else { return Out::Null };
        found.insert(name.to_owned(), parts);
    }
    if found.is_empty() { Out::Null } else { Out::Text(json::write(&Value::Object(found))) }
}

fn read(agent: &str, target: &str) -> Option<(&'static str, Value)> {
    let patterns = PATTERNS.as_ref().ok()?;
    let versions = ["MajorVersion", "MinorVersion", "Patch", "PatchMinor"];
    match target.to_ascii_lowercase().as_str() {
        "browser" => {
            let found = patterns.ua.extract(agent).unwrap_or_default();
            Some(("Browser", parts(&found.family, &versions[..3], [found.major, found.minor, found.patch])))
        }
        "os" => {
            let found = patterns.os.extract(agent).unwrap_or_default();
            let parsed = [found.major, found.minor, found.patch, found.patch_minor];
            Some(("OperatingSystem", parts(&found.os, &versions, parsed)))
        }
        "device" => {
            let found = patterns.dev.extract(agent).unwrap_or_default();
            Some(("Device", parts(&found.device, &["Brand", "Model"], [found.brand, found.model])))
        }
        _ => None,
    }
}

fn parts<T: AsRef<str>, const N: usize>(family: &str, names: &[&str], values: [Option<T>; N]) -> Value {
    let mut object = Map::new();
    object.insert("Family".to_owned(), Value::from(if family.is_empty() { "Other" } else { family }));
    for (name, value) in names.iter().zip(&values) {
        object.insert((*name).to_owned(), Value::from(value.as_ref().map_or("", AsRef::as_ref)));
    }
    Value::Object(object)
}

#[test]
fn the_patterns_compile() {
    assert_eq!(PATTERNS.as_ref().map(|_| ()), Ok(()));
}
