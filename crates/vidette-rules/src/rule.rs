//! The rule file: Microsoft Sentinel's analytics-rule YAML, as the public rule repository validates it.

use crate::duration;
use crate::origin::Origin;
use crate::yaml::{keys, or_default};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Kind {
    #[default]
    Scheduled,
    #[serde(rename = "NRT")]
    Nrt,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
pub enum SeverityLevel {
    Informational,
    Low,
    #[default]
    Medium,
    High,
}

impl SeverityLevel {
    pub fn from_name(name: &str) -> Option<SeverityLevel> {
        Some(match name.to_ascii_lowercase().as_str() {
            "informational" => SeverityLevel::Informational,
            "low" => SeverityLevel::Low,
            "medium" => SeverityLevel::Medium,
            "high" => SeverityLevel::High,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            SeverityLevel::Informational => "Informational",
            SeverityLevel::Low => "Low",
            SeverityLevel::Medium => "Medium",
            SeverityLevel::High => "High",
        }
    }
}

/// A scheduled or near-real-time rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub kind: Kind,
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub severity: SeverityLevel,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub required_data_connectors: Vec<serde_yaml_ng::Value>,
    #[serde(default)]
    pub query_frequency: Option<String>,
    #[serde(default)]
    pub query_period: Option<String>,
    #[serde(default)]
    pub trigger_operator: Option<String>,
    #[serde(default)]
    pub trigger_threshold: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    pub tactics: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub relevant_techniques: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub tags: Vec<serde_yaml_ng::Value>,
    pub query: String,
    #[serde(default, deserialize_with = "or_default")]
    pub entity_mappings: Vec<EntityMapping>,
    #[serde(default, deserialize_with = "or_default")]
    pub custom_details: serde_yaml_ng::Mapping,
    #[serde(default)]
    pub alert_details_override: Option<AlertDetailsOverride>,
    #[serde(default)]
    pub event_grouping_settings: Option<EventGroupingSettings>,
    #[serde(default)]
    pub incident_configuration: Option<serde_yaml_ng::Value>,
    #[serde(default)]
    pub sentinel_entities_mappings: Option<serde_yaml_ng::Value>,
    #[serde(default)]
    pub suppression_enabled: Option<bool>,
    #[serde(default)]
    pub suppression_duration: Option<String>,
    #[serde(default)]
    pub metadata: Option<serde_yaml_ng::Value>,
    #[serde(default)]
    pub version: Option<String>,
    /// Where the rule was read from.
    #[serde(skip)]
    pub file: String,
    #[serde(skip)]
    pub origin: Origin,
    /// It stands in the folder `related` of its pack: of other techniques, run when asked for.
    #[serde(skip)]
    pub related: bool,
}

/// A query for a person to run and to read: Microsoft Sentinel's hunting-query YAML.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HuntingQuery {
    #[serde(default)]
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default, deserialize_with = "or_default")]
    pub tactics: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub relevant_techniques: Vec<String>,
    pub query: String,
    #[serde(default, deserialize_with = "or_default")]
    pub entity_mappings: Vec<EntityMapping>,
    /// Where the query was read from.
    #[serde(skip)]
    pub file: String,
    #[serde(skip)]
    pub origin: Origin,
}

/// Reads a hunting query.
///
/// # Errors
/// What is wrong with the file.
pub fn parse_hunting_query(file: &str, text: &str) -> Result<HuntingQuery, String> {
    let query: HuntingQuery = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    Ok(HuntingQuery { file: file.to_owned(), origin: Origin::find(text, &query.query), ..query })
}

impl HuntingQuery {
    /// The query as a rule that gives one alert for all its rows, over any time.
    pub fn as_rule(&self) -> Rule {
        Rule {
            id: self.id.clone(),
            kind: Kind::Nrt,
            name: self.name.clone(),
            description: self.description.clone(),
            severity: SeverityLevel::Informational,
            tactics: self.tactics.clone(),
            relevant_techniques: self.relevant_techniques.clone(),
            query: self.query.clone(),
            query_period: Some("30d".to_owned()),
            entity_mappings: self.entity_mappings.clone(),
            file: self.file.clone(),
            origin: self.origin.clone(),
            ..Rule::default()
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityMapping {
    pub entity_type: String,
    pub field_mappings: Vec<FieldMapping>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldMapping {
    pub identifier: String,
    pub column_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertDetailsOverride {
    #[serde(default)]
    pub alert_display_name_format: Option<String>,
    #[serde(default)]
    pub alert_description_format: Option<String>,
    #[serde(default)]
    pub alert_severity_column_name: Option<String>,
    #[serde(default)]
    pub alert_tactics_column_name: Option<String>,
    #[serde(default)]
    pub alert_dynamic_properties: Vec<serde_yaml_ng::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventGroupingSettings {
    pub aggregation_kind: String,
}

/// What is wrong with a rule file; `fatal` means that it cannot run.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleProblem {
    pub file: String,
    pub message: String,
    pub fatal: bool,
}

/// Reads and validates a rule. Keys the format does not know are reported; a rule with a fatal problem is not returned.
pub fn parse_rule(file: &str, text: &str) -> (Option<Rule>, Vec<RuleProblem>) {
    let mut problems = Vec::new();
    let mut report = |message: String, fatal: bool| problems.push(RuleProblem { file: file.to_owned(), message, fatal });
    let mut unknown = Vec::new();
    let parsed: Result<Rule, _> = serde_ignored::deserialize(serde_yaml_ng::Deserializer::from_str(text), |path| unknown.push(path.to_string()));
    for key in unknown {
        report(format!("unknown key `{key}`"), false);
    }
    let mut rule = match parsed {
        Ok(rule) => rule,
        Err(error) => {
            report(error.to_string(), true);
            return (None, problems);
        }
    };
    rule.file = file.to_owned();
    rule.origin = Origin::find(text, &rule.query);
    let given = keys(text);
    for (key, taken) in [("kind", "Scheduled"), ("severity", "Medium")] {
        if !given.contains(&key) {
            report(format!("no `{key}`; taken for {taken}"), false);
        }
    }
    problems.extend(vet(&rule));
    let fatal = problems.iter().any(|problem| problem.fatal);
    ((!fatal).then_some(rule), problems)
}

/// What is wrong with the values of a rule.
pub(crate) fn vet(rule: &Rule) -> Vec<RuleProblem> {
    let mut problems = Vec::new();
    let mut report = |message: String, fatal: bool| problems.push(RuleProblem { file: rule.file.clone(), message, fatal });
    let hex = rule.id.replace('-', "");
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        report(format!("`id` is a GUID, not `{}`", rule.id), false);
    }
    if rule.query.trim().is_empty() {
        report("`query` is empty".to_owned(), true);
    }
    if rule.query.len() > 10_000 {
        report(format!("`query` has {} characters; Sentinel takes 10,000", rule.query.len()), false);
    }
    if rule.kind == Kind::Scheduled {
        for (key, value) in [("queryFrequency", &rule.query_frequency), ("queryPeriod", &rule.query_period)] {
            match value.as_deref().map(|value| (value, duration::ticks(value))) {
                None => report(format!("a scheduled rule needs `{key}`"), false),
                Some((text, None)) => report(format!("`{key}` is a duration such as 1h, not `{text}`"), true),
                Some(_) => {}
            }
        }
    }
    if let Some(operator) = &rule.trigger_operator
        && compare(operator, 0, 0).is_none()
    {
        report(format!("`triggerOperator` is gt, lt, eq or ne, not `{operator}`"), true);
    }
    for technique in &rule.relevant_techniques {
        let digits = technique.strip_prefix('T').unwrap_or("");
        if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || digits.len() < 4 {
            report(format!("`{technique}` is not a technique"), false);
        }
    }
    problems
}

/// Whether `count` passes the trigger; `None` for an unknown operator.
pub(crate) fn compare(operator: &str, count: u64, threshold: u64) -> Option<bool> {
    Some(match operator.to_ascii_lowercase().as_str() {
        "gt" | "greaterthan" => count > threshold,
        "lt" | "lessthan" => count < threshold,
        "eq" | "equal" => count == threshold,
        "ne" | "notequal" => count != threshold,
        _ => return None,
    })
}

impl Rule {
    /// How far back a run looks, in ticks; a day unless the rule says otherwise.
    pub fn period_ticks(&self) -> i64 {
        self.query_period.as_deref().and_then(duration::ticks).unwrap_or(864_000_000_000)
    }

    /// The time between two runs of a replay, in ticks: the rule's frequency, but not less than a part of its period; the
    /// period when it has none.
    pub fn step_ticks(&self) -> i64 {
        /// More windows than these over one event say nothing new.
        const WINDOWS_PER_PERIOD: i64 = 24;
        let period = self.period_ticks();
        self.query_frequency.as_deref().and_then(duration::ticks).map_or(period, |step| step.clamp(period / WINDOWS_PER_PERIOD, period)).max(1)
    }

    pub fn one_alert_per_row(&self) -> bool {
        self.event_grouping_settings.as_ref().is_some_and(|settings| settings.aggregation_kind.eq_ignore_ascii_case("AlertPerResult"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_wrong_durations_are_reported() {
        let text = "id: x\nkind: Scheduled\nname: n\nseverity: High\nqueryFrequency: soon\nqueryPeriod: 1d\nquery: T\ncolour: red\n";
        let (rule, problems) = parse_rule("r.yaml", text);
        assert!(rule.is_none());
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["unknown key `colour`", "`id` is a GUID, not `x`", "`queryFrequency` is a duration such as 1h, not `soon`"]);
    }
}
