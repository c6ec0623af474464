//! `<Rule>.test.yaml`: telemetry in, alerts out. The file stands beside the rule and leaves the rule's own file alone.

use crate::alert::Alert;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The tests of one rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// The rule's id, name, or file beside this one; the rule of the file's own name unless told.
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default)]
    pub defaults: Defaults,
    pub tests: Vec<Case>,
}

/// What every test takes over unless it says otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    #[serde(default)]
    pub now: Option<String>,
    #[serde(default)]
    pub data: BTreeMap<String, Source>,
    #[serde(default)]
    pub watchlists: BTreeMap<String, Source>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// The instant of `now()`; the rule's window ends with it. The newest event unless told.
    #[serde(default)]
    pub now: Option<String>,
    /// Rows by table.
    #[serde(default)]
    pub data: BTreeMap<String, Source>,
    /// Telemetry of any kind, by path.
    #[serde(default)]
    pub files: Vec<String>,
    /// A scenario of the pack.
    #[serde(default)]
    pub simulate: Option<String>,
    /// What of the scenario is logged; the test runs once for each.
    #[serde(default)]
    pub profiles: Vec<String>,
    #[serde(default)]
    pub watchlists: BTreeMap<String, Source>,
    /// Saved functions, as KQL.
    #[serde(default)]
    pub functions: Option<String>,
    pub expect: Expect,
}

/// Rows in place, or a file of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Source {
    Rows(Vec<Map<String, Value>>),
    Path(String),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    pub alerts: Option<Count>,
    /// Each has a row of some alert that holds all of it, in any order.
    #[serde(default)]
    pub rows: Vec<Map<String, Value>>,
    /// The columns of every row.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Each is an entity of some alert: its `type`, and identifiers with their values.
    #[serde(default)]
    pub entities: Vec<Map<String, Value>>,
    /// Of some alert.
    #[serde(default)]
    pub title: Option<String>,
    /// Of the gravest alert.
    #[serde(default)]
    pub severity: Option<String>,
    /// The gravest alert is at least this grave.
    #[serde(default)]
    pub severity_at_least: Option<String>,
    /// Part of the message with which the rule fails.
    #[serde(default)]
    pub error: Option<String>,
    /// The alerts are those that `--update` recorded.
    #[serde(default)]
    pub snapshot: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Count {
    Exactly(usize),
    Bounds(Bounds),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    exactly: Option<usize>,
    at_least: Option<usize>,
    at_most: Option<usize>,
}

/// Reads a test file.
///
/// # Errors
/// What is wrong with it.
pub fn parse_tests(text: &str) -> Result<TestFile, String> {
    let file: TestFile = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    match file.tests.iter().find(|case| !case.expect.says_something()) {
        Some(case) => Err(format!("test `{}` expects nothing: say `alerts: 0` when it should be quiet", case.name)),
        None => Ok(file),
    }
}

impl Expect {
    fn says_something(&self) -> bool {
        let lists = [self.rows.is_empty(), self.columns.is_empty(), self.entities.is_empty()];
        let single = [self.title.is_none(), self.severity.is_none(), self.severity_at_least.is_none(), self.error.is_none()];
        self.alerts.is_some() || self.snapshot || lists.contains(&false) || single.contains(&false)
    }

    /// Whether the test is about an attack: whether an alert is expected.
    pub fn wants_alerts(&self) -> bool {
        !matches!(self.alerts, Some(Count::Exactly(0) | Count::Bounds(Bounds { exactly: Some(0), .. } | Bounds { at_most: Some(0), .. })))
    }

    /// What of the expectation the alerts do not fulfil, a sentence each.
    pub fn unmet(&self, alerts: &[Alert]) -> Vec<String> {
        let mut unmet = Vec::new();
        let found = alerts.len();
        match &self.alerts {
            Some(Count::Exactly(wanted) | Count::Bounds(Bounds { exactly: Some(wanted), .. })) if found != *wanted => {
                unmet.push(format!("{wanted} alerts expected, {found} found"))
            }
            Some(Count::Bounds(Bounds { at_least: Some(least), .. })) if found < *least => unmet.push(format!("at least {least} alerts expected, {found} found")),
            Some(Count::Bounds(Bounds { at_most: Some(most), .. })) if found > *most => unmet.push(format!("at most {most} alerts expected, {found} found")),
            _ => {}
        }
        let rows: Vec<Map<String, Value>> = alerts.iter().flat_map(Alert::rows).collect();
        for wanted in &self.rows {
            if !rows.iter().any(|row| holds(row, wanted)) {
                unmet.push(format!("no row with {}", Value::Object(wanted.clone())));
            }
        }
        for row in rows.iter().take(1).filter(|_| !self.columns.is_empty()) {
            let columns: Vec<&String> = row.keys().collect();
            if columns != self.columns.iter().collect::<Vec<_>>() {
                unmet.push(format!("columns are {columns:?}"));
            }
        }
        for wanted in &self.entities {
            let entities = || alerts.iter().flat_map(|alert| &alert.entities);
            let kind = wanted.get("type").and_then(Value::as_str).unwrap_or_default();
            let fields: Map<String, Value> = wanted.iter().filter(|(key, _)| key.as_str() != "type").map(|(key, value)| (key.clone(), value.clone())).collect();
            if !entities().any(|entity| entity.entity_type.eq_ignore_ascii_case(kind) && holds(&entity.fields, &fields)) {
                unmet.push(format!("no entity {}", Value::Object(wanted.clone())));
            }
        }
        if let Some(title) = &self.title
            && !alerts.iter().any(|alert| alert.title == *title)
        {
            unmet.push(format!("no alert is called `{title}`: {:?}", alerts.iter().map(|alert| &alert.title).collect::<Vec<_>>()));
        }
        let gravest = alerts.iter().map(|alert| alert.severity).max();
        for (wanted, or_more) in [(&self.severity, false), (&self.severity_at_least, true)] {
            let Some(name) = wanted else { continue };
            match (crate::SeverityLevel::from_name(name), gravest) {
                (None, _) => unmet.push(format!("`{name}` is no severity")),
                (Some(wanted), Some(found)) if found == wanted || or_more && found > wanted => {}
                (Some(_), found) => unmet.push(format!("severity {name} expected, {} found", found.map_or("none", crate::SeverityLevel::name))),
            }
        }
        unmet
    }
}

/// Whether the row has all these values. A text equals a number that is written so.
fn holds(row: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| row.get(key).is_some_and(|found| found == value || plain(found) == plain(value)))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_expects_nothing_is_refused() {
        let wrong = parse_tests("tests: [{name: a, expect: {}}]").unwrap_err();
        assert_eq!(wrong, "test `a` expects nothing: say `alerts: 0` when it should be quiet");
        assert!(parse_tests("tests: [{name: a, expect: {alert: 1}}]").unwrap_err().contains("unknown field `alert`"));
    }

    #[test]
    fn what_is_not_met_is_said() {
        let file = parse_tests("tests: [{name: a, expect: {alerts: {at_least: 1}, rows: [{X: 1}], severity_at_least: Medium}}]").unwrap();
        assert_eq!(file.tests[0].expect.unmet(&[]), ["at least 1 alerts expected, 0 found", r#"no row with {"X":1}"#, "severity Medium expected, none found"]);
        assert!(file.tests[0].expect.wants_alerts());
    }
}
