//! A run of a rule: rows, then alerts. See Sentinel's documentation of scheduled analytics rules.

use crate::rule::{Rule, SeverityLevel, compare};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use vidette_engine::{Clock, Error, ResultTable, Workspace};
use vidette_kql::{Diagnostic, errors};

/// What an analyst acts on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// The row's time, else the time of the run.
    pub time: String,
    pub rule_id: String,
    pub rule_name: String,
    pub title: String,
    /// What the rule's description format makes of the row; else empty.
    pub description: String,
    pub severity: SeverityLevel,
    pub tactics: Vec<String>,
    pub techniques: Vec<String>,
    pub entities: Vec<Entity>,
    pub custom_details: Map<String, Value>,
    /// The rows behind it, objects by column. As text: there are many alerts, and few are looked into.
    pub rows: Vec<Box<RawValue>>,
}

impl Alert {
    /// The rows behind it, by column.
    pub fn rows(&self) -> impl Iterator<Item = Map<String, Value>> {
        self.rows.iter().map(|row| serde_json::from_str(row.get()).unwrap_or_default())
    }

    /// The first of its rows.
    pub fn row(&self) -> Map<String, Value> {
        self.rows().next().unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    #[serde(rename = "type")]
    pub entity_type: String,
    pub fields: Map<String, Value>,
}

#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The query does not bind against these tables.
    #[error("{rule}: {}", errors(.diagnostics).next().unwrap_or_default())]
    Query { rule: String, diagnostics: Vec<Diagnostic> },
    #[error("{rule}: {source}")]
    Execution { rule: String, source: Error },
}

/// What came of the runs of a rule.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub alerts: Vec<Alert>,
    /// What its query may not mean.
    pub warnings: Vec<Diagnostic>,
}

/// Runs the rule once per clock, planned once, and gives the alerts of all runs.
///
/// # Errors
/// When the query does not bind, or a run fails.
pub async fn run(rule: &Rule, workspace: &Workspace, clocks: &[Clock]) -> Result<Outcome, RuleError> {
    let (queries, diagnostics) = match workspace.compile(&rule.query, whole(clocks)).await {
        Ok(compiled) => compiled,
        Err(Error::Diagnostics(diagnostics)) => return Err(RuleError::Query { rule: rule.name.clone(), diagnostics }),
        Err(source) => return Err(RuleError::Execution { rule: rule.name.clone(), source }),
    };
    let Some(query) = queries.last() else { return Err(RuleError::Query { rule: rule.name.clone(), diagnostics }) };
    let failure = |source| RuleError::Execution { rule: rule.name.clone(), source };
    let windowed = clocks.iter().any(|clock| clock.window.is_some());
    let prepared = workspace.prepare(query, windowed).await.map_err(failure)?;
    let alerts = workspace.run_prepared_at(&prepared, clocks, |table, clock| alerts_of(rule, &table, clock)).await.map_err(failure)?;
    Ok(Outcome { alerts: alerts.into_iter().flatten().collect(), warnings: diagnostics })
}

/// The time of all clocks together: columns that depend on rows are those of every run.
fn whole(clocks: &[Clock]) -> Clock {
    let now_ticks = clocks.iter().map(|clock| clock.now_ticks).max().unwrap_or_else(|| Clock::now().now_ticks);
    let windows = clocks.iter().filter_map(|clock| clock.window);
    Clock { now_ticks, window: windows.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))) }
}

fn alerts_of(rule: &Rule, table: &ResultTable, clock: Clock) -> Vec<Alert> {
    let count = table.row_count() as u64;
    let (operator, threshold) = (rule.trigger_operator.as_deref().unwrap_or("gt"), rule.trigger_threshold.unwrap_or(0));
    if count == 0 || !compare(operator, count, threshold).unwrap_or(false) {
        return Vec::new();
    }
    let rows = table.objects();
    if rule.one_alert_per_row() {
        return rows.iter().map(|row| alert(rule, std::slice::from_ref(row), texts(std::slice::from_ref(row)), clock)).collect();
    }
    vec![alert(rule, &rows, texts(&rows), clock)]
}

fn texts(rows: &[Map<String, Value>]) -> Vec<Box<RawValue>> {
    rows.iter().filter_map(|row| to_raw_value(row).ok()).collect()
}

/// The alert of one row that the rule's query would have given; `last` is its last column, that no entity and no title names.
pub fn alert_of_row(rule: &Rule, row: &Map<String, Value>, last: (&str, &RawValue), clock: Clock) -> Alert {
    alert(rule, std::slice::from_ref(row), to_raw_value(&WithLast { row, last }).into_iter().collect(), clock)
}

/// A row with one more column.
struct WithLast<'a> {
    row: &'a Map<String, Value>,
    last: (&'a str, &'a RawValue),
}

impl Serialize for WithLast<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(Some(self.row.len() + 1))?;
        self.row.iter().try_for_each(|(name, value)| row.serialize_entry(name, value))?;
        row.serialize_entry(self.last.0, self.last.1)?;
        row.end()
    }
}

/// `texts` are the rows as JSON.
fn alert(rule: &Rule, rows: &[Map<String, Value>], texts: Vec<Box<RawValue>>, clock: Clock) -> Alert {
    let first = &rows[0];
    let details = rule.alert_details_override.clone().unwrap_or_default();
    let time = ["Timestamp", "TimeGenerated"].iter().find_map(|name| first.get(*name)).map(text).filter(|time| !time.is_empty());
    let severity = details.alert_severity_column_name.and_then(|column| first.get(&column).map(text)).and_then(|name| SeverityLevel::from_name(&name));
    let title = details.alert_display_name_format.map_or_else(|| rule.name.clone(), |format| fill(&format, first));
    let description = details.alert_description_format.map(|format| fill(&format, first)).unwrap_or_default();
    let custom_details = rule.custom_details.iter().filter_map(|(key, column)| Some((key.as_str()?.to_owned(), first.get(column.as_str()?)?.clone()))).collect();
    let mut entities = Vec::new();
    for row in rows {
        for mapping in &rule.entity_mappings {
            let fields: Map<String, Value> = mapping
                .field_mappings
                .iter()
                .filter_map(|field| Some((field.identifier.clone(), row.get(&field.column_name)?.clone())))
                .filter(|(_, value)| !text(value).is_empty())
                .collect();
            let entity = Entity { entity_type: mapping.entity_type.clone(), fields };
            if !entity.fields.is_empty() && !entities.contains(&entity) {
                entities.push(entity);
            }
        }
    }
    Alert {
        time: time.unwrap_or_else(|| vidette_kql::time::format_datetime(clock.now_ticks)),
        rule_id: rule.id.clone(),
        rule_name: rule.name.clone(),
        title,
        description,
        severity: severity.unwrap_or(rule.severity),
        tactics: rule.tactics.clone(),
        techniques: rule.relevant_techniques.clone(),
        entities,
        custom_details,
        rows: texts,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `{{Column}}` replaced by the row's value.
fn fill(format: &str, row: &Map<String, Value>) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        out.push_str(&row.get(name.trim()).map(text).unwrap_or_default());
        rest = tail;
    }
    out.push_str(rest);
    out
}
