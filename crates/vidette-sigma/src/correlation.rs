//! Correlations: what several events say together within a time.

use crate::detection::Refused;
use crate::gate::Gate;
use crate::rules::{Columns, Compiled, Query, Rules};
use crate::source::places;
use rsigma_parser::{ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, Level, WindowMode};

/// The events of its rules joined with one another: an event is a match when those of its group in the time up to it fulfil
/// the condition.
pub(crate) fn compile(file: &str, rule: &CorrelationRule, rules: &Rules, columns: Columns) -> Result<Compiled, Refused> {
    if rule.window == WindowMode::Session {
        return Err(Refused::Unsupported("window: session".to_owned()));
    }
    let (measure, predicate) = condition(rule)?;
    let field = match &rule.condition {
        CorrelationCondition::Threshold { field: Some(fields), .. } => fields.first().cloned(),
        _ => None,
    };
    let mut events = Vec::new();
    let mut unknown_fields = Vec::new();
    for name in &rule.rules {
        let base = rules.called(name).ok_or_else(|| Refused::Name(name.clone()))?;
        // The names that this rule has for the fields of the group.
        let own = |field: &String| {
            let alias = rule.aliases.iter().find(|alias| alias.alias == *field);
            alias.and_then(|alias| alias.mapping.get(name)).unwrap_or(field).clone()
        };
        let asked: Vec<String> = rule.group_by.iter().chain(&field).map(own).collect();
        let asked = if asked.is_empty() { vec!["Computer".to_owned()] } else { asked };
        let place = places(&base.logsource).first().ok_or_else(|| Refused::Unsupported("log source".to_owned()))?;
        let base = rules.query(base, place, &asked, columns)?;
        unknown_fields.extend(base.unknown);
        let named: Vec<String> = base.asked.iter().enumerate().map(|(at, value)| format!("{} = tostring({value})", column(at, rule.group_by.len(), &field))).collect();
        let time = if place.table.starts_with("Device") { "Timestamp" } else { "TimeGenerated" };
        events.push(format!("({}\n| project Timestamp = {time}, Rule = {name:?}, {})", base.query.text, named.join(", ")));
    }
    let group: Vec<String> = (0..rule.group_by.len()).map(|at| format!("Group{at}")).collect();
    let renamed: Vec<String> = group.iter().zip(&rule.group_by).map(|(column, field)| format!("{} = {column}", plain(field))).collect();
    let keys = if group.is_empty() { String::new() } else { format!(", {}", group.join(", ")) };
    let span = format!("{}s", rule.timespan.seconds);
    let join_on = if group.is_empty() { "One".to_owned() } else { group.join(", ") };
    let window = match rule.window {
        WindowMode::Tumbling => format!("| extend Last = bin(Timestamp, {span}) + {span}\n| summarize {measure} by Last{keys}"),
        _ => format!(
            "| extend One = 1\n| join kind=inner (Events | extend One = 1 | project One, Last = Timestamp{keys} | distinct *) on {join_on}\n| where Timestamp > Last - {span} and Timestamp <= Last\n| summarize {measure} by Last{keys}"
        ),
    };
    let text = format!(
        "let Events = materialize(union\n{});\nEvents\n{window}\n| where {predicate}\n| summarize arg_max(Value, *) by Day = bin(Last, {span}){keys}\n| project Timestamp = First, Last, Value, Rules{}",
        events.join(",\n"),
        if renamed.is_empty() { String::new() } else { format!(", {}", renamed.join(", ")) }
    );
    Ok(Compiled {
        file: file.to_owned(),
        id: rule.id.clone().unwrap_or_default(),
        title: rule.title.clone(),
        description: rule.description.clone().unwrap_or_default(),
        level: rule.level.map_or("medium", |level| Level::as_str(&level)),
        tags: rule.tags.clone(),
        queries: vec![Query { table: String::new(), text, gate: Gate::Open, own: None }],
        unknown_fields,
    })
}

fn plain(field: &str) -> String {
    field.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn column(at: usize, groups: usize, field: &Option<String>) -> String {
    if at < groups {
        format!("Group{at}")
    } else if field.is_some() {
        "Field".to_owned()
    } else {
        "Host".to_owned()
    }
}

/// What is measured of the events in the time, and what it must be.
fn condition(rule: &CorrelationRule) -> Result<(String, String), Refused> {
    let always = "First = min(Timestamp), Rules = make_set(Rule)";
    let predicates = |predicates: &[(ConditionOperator, u64)]| {
        let one = |(operator, value): &(ConditionOperator, u64)| {
            let operator = match operator {
                ConditionOperator::Lt => "<",
                ConditionOperator::Lte => "<=",
                ConditionOperator::Gt => ">",
                ConditionOperator::Gte => ">=",
                ConditionOperator::Eq => "==",
                ConditionOperator::Neq => "!=",
            };
            format!("Value {operator} {value}")
        };
        predicates.iter().map(one).collect::<Vec<_>>().join(" and ")
    };
    let count = rule.rules.len();
    Ok(match (&rule.condition, rule.correlation_type) {
        (CorrelationCondition::Threshold { predicates: wanted, .. }, CorrelationType::EventCount) => (format!("Value = count(), {always}"), predicates(wanted)),
        (CorrelationCondition::Threshold { predicates: wanted, .. }, CorrelationType::ValueCount) => {
            (format!("Value = array_length(make_set(Field)), {always}"), predicates(wanted))
        }
        (CorrelationCondition::Threshold { predicates: wanted, .. }, CorrelationType::ValueSum) => (format!("Value = sum(toreal(Field)), {always}"), predicates(wanted)),
        (CorrelationCondition::Threshold { predicates: wanted, .. }, CorrelationType::ValueAvg) => (format!("Value = avg(toreal(Field)), {always}"), predicates(wanted)),
        (CorrelationCondition::Threshold { predicates: wanted, .. }, CorrelationType::ValueMedian) => {
            (format!("Value = percentile(toreal(Field), 50), {always}"), predicates(wanted))
        }
        (CorrelationCondition::Threshold { predicates: wanted, percentile, .. }, CorrelationType::ValuePercentile) => {
            (format!("Value = percentile(toreal(Field), {}), {always}", percentile.unwrap_or(50)), predicates(wanted))
        }
        (CorrelationCondition::Extended(condition), CorrelationType::Temporal) => (format!("Value = array_length(make_set(Rule)), {always}"), extended(condition)?),
        (_, CorrelationType::Temporal) => (format!("Value = array_length(make_set(Rule)), {always}"), format!("Value >= {count}")),
        (_, CorrelationType::TemporalOrdered) => {
            let firsts: Vec<String> =
                rule.rules.iter().enumerate().map(|(at, name)| format!("First{at} = minif(Timestamp, Rule == {name:?}), Last{at} = maxif(Timestamp, Rule == {name:?})")).collect();
            // Each begins before the next one's last event.
            let ordered: Vec<String> = (1..count).map(|at| format!("First{} <= Last{at}", at - 1)).collect();
            let ordered = if ordered.is_empty() { String::new() } else { format!(" and {}", ordered.join(" and ")) };
            (format!("Value = array_length(make_set(Rule)), {always}, {}", firsts.join(", ")), format!("Value >= {count}{ordered}"))
        }
        (CorrelationCondition::Extended(_), kind) => return Err(Refused::Unsupported(format!("a condition of names for {}", kind.as_str()))),
    })
}

fn extended(condition: &ConditionExpr) -> Result<String, Refused> {
    let list = |parts: &[ConditionExpr], word: &str| -> Result<String, Refused> {
        let parts: Vec<String> = parts.iter().map(extended).collect::<Result<_, _>>()?;
        Ok(format!("({})", parts.join(word)))
    };
    match condition {
        ConditionExpr::And(parts) => list(parts, " and "),
        ConditionExpr::Or(parts) => list(parts, " or "),
        ConditionExpr::Not(part) => Ok(format!("not({})", extended(part)?)),
        ConditionExpr::Identifier(name) => Ok(format!("set_has_element(Rules, {name:?})")),
        ConditionExpr::Selector { .. } => Err(Refused::Unsupported("`of` in the condition of a correlation".to_owned())),
    }
}
