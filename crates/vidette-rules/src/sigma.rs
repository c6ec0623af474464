//! Sigma rules as analytics rules.

use crate::rule::{AlertDetailsOverride, EntityMapping, EventGroupingSettings, FieldMapping, Kind, Rule, RuleProblem, SeverityLevel};
use std::collections::HashMap;
use vidette_sigma::{Compiled, Gate, Origin, Rules};

/// A Sigma rule over one table.
#[derive(Clone, Debug)]
pub struct SigmaRule {
    pub rule: Rule,
    /// The table it reads; empty when it reads several.
    pub table: String,
    /// What can be told of a row without the query.
    pub gate: Gate,
    /// See [`vidette_sigma::Query::own`].
    pub own: Option<Vec<(String, Origin)>>,
}

/// Compiles the rules; `columns` tells the columns of known tables.
pub fn sigma_rules(rules: &mut Rules, columns: &(dyn Fn(&str) -> Option<Vec<String>> + Sync)) -> (Vec<SigmaRule>, Vec<RuleProblem>) {
    let compiled = rules.compile(columns);
    let problems = std::mem::take(&mut rules.problems);
    let problems = problems.into_iter().map(|problem| RuleProblem { file: problem.file, message: problem.message, fatal: true }).collect();
    let mut all = Vec::with_capacity(compiled.len());
    // By table, whether its rows name a host.
    let mut hosts: HashMap<String, bool> = HashMap::new();
    for mut one in compiled {
        for query in std::mem::take(&mut one.queries) {
            let host = host_column(&query.table);
            if !hosts.contains_key(&query.table) {
                let is_there = columns(&query.table).is_some_and(|columns| columns.iter().any(|column| column == host));
                hosts.insert(query.table.clone(), is_there);
            }
            all.push(SigmaRule { rule: rule(&one, host, hosts[&query.table], query.text), table: query.table, gate: query.gate, own: query.own });
        }
    }
    (all, problems)
}

fn host_column(table: &str) -> &'static str {
    if table.starts_with("Device") { "DeviceName" } else { "Computer" }
}

fn rule(compiled: &Compiled, host: &str, has_host: bool, query: String) -> Rule {
    let entity = |entity_type: &str, identifier: &str, column: &str| EntityMapping {
        entity_type: entity_type.to_owned(),
        field_mappings: vec![FieldMapping { identifier: identifier.to_owned(), column_name: column.to_owned() }],
    };
    let on = if has_host { format!(" on {{{{{host}}}}}") } else { String::new() };
    Rule {
        id: compiled.id.clone(),
        kind: Kind::Nrt,
        name: compiled.title.clone(),
        description: compiled.description.clone(),
        severity: match compiled.level {
            "critical" | "high" => SeverityLevel::High,
            "low" => SeverityLevel::Low,
            "informational" => SeverityLevel::Informational,
            _ => SeverityLevel::Medium,
        },
        tactics: compiled.tags.iter().filter_map(|tag| tactic(tag)).collect(),
        relevant_techniques: compiled.tags.iter().filter_map(|tag| technique(tag)).collect(),
        query,
        entity_mappings: vec![
            entity("Host", "HostName", host),
            entity("Account", "Name", "User"),
            entity("Account", "Name", "AccountName"),
            entity("Process", "CommandLine", "CommandLine"),
            entity("Process", "CommandLine", "ProcessCommandLine"),
        ],
        alert_details_override: Some(AlertDetailsOverride { alert_display_name_format: Some(format!("{}{on}", compiled.title)), ..AlertDetailsOverride::default() }),
        event_grouping_settings: Some(EventGroupingSettings { aggregation_kind: "AlertPerResult".to_owned() }),
        file: compiled.file.clone(),
        ..Rule::default()
    }
}

/// `attack.command-and-control` as Sentinel writes it: `CommandAndControl`.
fn tactic(tag: &str) -> Option<String> {
    let name = tag.strip_prefix("attack.")?;
    if technique(tag).is_some() || name.starts_with(['g', 's']) && name[1..].bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    Some(name.split(['-', '_']).filter(|part| !part.is_empty()).map(word).collect())
}

fn technique(tag: &str) -> Option<String> {
    let number = tag.strip_prefix("attack.t")?;
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| format!("T{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_tactics_or_techniques() {
        assert_eq!(tactic("attack.command-and-control").as_deref(), Some("CommandAndControl"));
        assert_eq!(technique("attack.t1102.002").as_deref(), Some("T1102.002"));
        assert_eq!((tactic("attack.g0016"), tactic("attack.s0154"), tactic("cve.2021-1")), (None, None, None));
    }
}
