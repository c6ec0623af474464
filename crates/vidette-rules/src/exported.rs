//! Rules as Microsoft's portals and APIs export them: ARM templates of Sentinel, and Defender's custom detections. See the pages
//! `import-export-analytics-rules` (Sentinel) and `security-detectionrule` (Graph).

use crate::function::statement;
use crate::pack::{Pack, watchlist};
use crate::rule::{HuntingQuery, Rule, RuleProblem, vet};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vidette_kql::Watchlist;

/// Whether a text may hold any of this: most JSON beside rules is something else.
pub(crate) fn is_export(text: &str) -> bool {
    ["/alertRules\"", "/savedSearches\"", "\"queryCondition\""].iter().any(|mark| text.contains(mark))
}

impl Pack {
    /// Adds what an export holds; resources of other kinds are left alone.
    pub(crate) fn add_export(&mut self, file: &str, text: &str) {
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => return self.report(file, error.to_string(), true),
        };
        let before = self.rules.len() + self.hunting.len() + self.functions.len();
        for resource in resources(&document) {
            let text_of = |key: &str| resource.get(key).and_then(Value::as_str).unwrap_or_default();
            let properties = resource.get("properties").and_then(Value::as_object);
            let of_type = |ending: &str| text_of("type").to_ascii_lowercase().ends_with(ending);
            match properties {
                _ if resource.get("queryCondition").is_some() => self.add_detection(file, resource),
                Some(properties) if of_type("/alertrules") => self.add_alert_rule(file, resource, properties),
                Some(properties) if of_type("/savedsearches") => self.add_search(file, properties),
                Some(properties) if of_type("/watchlists") => self.watchlists.extend(list(properties)),
                _ => {}
            }
        }
        if self.rules.len() + self.hunting.len() + self.functions.len() == before {
            self.report(file, "no rule, hunting query or function in it".to_owned(), false);
        }
    }

    fn report(&mut self, file: &str, message: String, fatal: bool) {
        self.problems.push(RuleProblem { file: file.to_owned(), message, fatal });
    }

    /// A resource of the type `…/alertRules`: the keys are those of the YAML, but for a few.
    fn add_alert_rule(&mut self, file: &str, resource: &Value, properties: &Map<String, Value>) {
        let mut fields = properties.clone();
        let kind = resource.get("kind").and_then(Value::as_str).unwrap_or_default();
        let name = fields.remove("displayName").unwrap_or_default();
        if !fields.contains_key("query") {
            return self.report(file, format!("`{}` is a rule of the kind {kind}, which has no query", name.as_str().unwrap_or_default()), false);
        }
        if !matches!(kind, "Scheduled" | "NRT") {
            return self.report(file, format!("`{}` is a rule of the kind {kind}, which does not run here", name.as_str().unwrap_or_default()), true);
        }
        let techniques = [list_of(&mut fields, "techniques"), list_of(&mut fields, "subTechniques")].concat();
        fields.insert("relevantTechniques".to_owned(), techniques.into());
        fields.insert("id".to_owned(), guid(resource).into());
        fields.insert("kind".to_owned(), kind.into());
        fields.insert("name".to_owned(), name);
        unescape(&mut fields, "query");
        // A key without a value is as good as none.
        fields.retain(|_, value| !value.is_null());
        match Rule::deserialize(Value::Object(fields)) {
            Ok(rule) => self.vetted(file, rule),
            Err(error) => self.report(file, error.to_string(), true),
        }
    }

    fn vetted(&mut self, file: &str, mut rule: Rule) {
        file.clone_into(&mut rule.file);
        let problems = vet(&rule);
        if !problems.iter().any(|problem| problem.fatal) {
            self.rules.push(rule);
        }
        self.problems.extend(problems);
    }

    /// A saved search: a function when it has an alias, else a hunting query.
    fn add_search(&mut self, file: &str, properties: &Map<String, Value>) {
        let mut properties = properties.clone();
        unescape(&mut properties, "query");
        let text_of = |key: &str| properties.get(key).and_then(Value::as_str).unwrap_or_default();
        let query = text_of("query").to_owned();
        if !text_of("functionAlias").is_empty() {
            let statement = statement(text_of("functionAlias"), text_of("functionParameters"), &query);
            return self.functions.push((format!("{file} as a statement"), statement));
        }
        let tags = properties.get("tags").and_then(Value::as_array);
        let tag = |name: &str| tags.and_then(|tags| tags.iter().find(|tag| tag["name"] == name)).and_then(|tag| tag["value"].as_str()).unwrap_or_default();
        let several = |name: &str| tag(name).split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        self.hunting.push(HuntingQuery {
            name: text_of("displayName").to_owned(),
            description: tag("description").to_owned(),
            tactics: several("tactics"),
            relevant_techniques: several("techniques"),
            query,
            file: file.to_owned(),
            ..HuntingQuery::default()
        });
    }

    /// A custom detection: it looks back further than it is frequent, and every row is an alert.
    fn add_detection(&mut self, file: &str, detection: &Value) {
        let template = &detection["detectionAction"]["alertTemplate"];
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (frequency, period) = match detection["schedule"]["period"].as_str().unwrap_or("24H") {
            "0" => (None, None),
            "1H" => (Some("1h"), Some("4h")),
            "3H" => (Some("3h"), Some("12h")),
            "12H" => (Some("12h"), Some("2d")),
            _ => (Some("1d"), Some("30d")),
        };
        let assets = template["impactedAssets"].as_array().into_iter().flatten().filter_map(|asset| {
            let kind = asset["@odata.type"].as_str()?.rsplit('.').next()?;
            let entity = [("Device", "Host"), ("User", "Account"), ("Mailbox", "Mailbox")].into_iter().find(|(name, _)| kind.contains(name))?.1;
            let column = asset["identifier"].as_str()?;
            let column = format!("{}{}", column.get(..1)?.to_uppercase(), column.get(1..)?);
            Some(json!({"entityType": entity, "fieldMappings": [{"identifier": column, "columnName": column}]}))
        });
        let mut severity = text_of(&template["severity"]);
        if let Some(first) = severity.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let name = detection["displayName"].as_str().unwrap_or_default();
        let fields = json!({
            "id": detection["id"].as_str().unwrap_or_default(), "name": name, "description": text_of(&template["description"]),
            "kind": if frequency.is_none() { "NRT" } else { "Scheduled" }, "severity": severity, "queryFrequency": frequency, "queryPeriod": period,
            "tactics": template["category"].as_str().map(|category| vec![category]), "relevantTechniques": template["mitreTechniques"],
            "query": text_of(&detection["queryCondition"]["queryText"]), "entityMappings": assets.collect::<Vec<Value>>(),
            "alertDetailsOverride": {"alertDisplayNameFormat": template["title"].as_str().unwrap_or(name)}, "eventGroupingSettings": {"aggregationKind": "AlertPerResult"},
        });
        match Rule::deserialize(fields) {
            Ok(rule) if rule.query.trim().is_empty() => self.report(file, "`queryText` is empty".to_owned(), true),
            Ok(rule) => self.rules.push(Rule { file: file.to_owned(), ..rule }),
            Err(error) => self.report(file, error.to_string(), true),
        }
    }
}

/// The resources of a template, of those within it, of a list that an API gives, or the one that the document is.
fn resources(document: &Value) -> Vec<&Value> {
    let inner = ["resources", "value"].iter().find_map(|key| document.get(key)?.as_array()).or(document.as_array());
    match inner {
        Some(inner) => inner.iter().flat_map(resources).collect(),
        None => vec![document],
    }
}

/// The last GUID in the name or the id of a resource: names are expressions that end with it.
fn guid(resource: &Value) -> String {
    let text = ["name", "id"].map(|key| resource.get(key).and_then(Value::as_str).unwrap_or_default()).join(" ");
    let mut parts = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    parts.rfind(|part| part.len() == 36 && part.matches('-').count() == 4).unwrap_or_default().to_owned()
}

fn list_of(fields: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match fields.remove(key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// In a template a text that begins with `[` is an expression unless it begins with two of them.
fn unescape(fields: &mut Map<String, Value>, key: &str) {
    if let Some(Value::String(text)) = fields.get_mut(key)
        && text.starts_with("[[")
    {
        text.remove(0);
    }
}

/// A watchlist with its text; its key comes last, unless it has that name.
fn list(properties: &Map<String, Value>) -> Option<(String, Watchlist)> {
    let text_of = |key: &str| properties.get(key).and_then(Value::as_str);
    let mut list = watchlist(text_of("rawContent")?);
    let key = text_of("itemsSearchKey").and_then(|key| list.columns.iter().position(|column| column == key));
    if let Some(key) = key.filter(|_| !list.columns.iter().any(|column| column == "SearchKey")) {
        list.columns.push("SearchKey".to_owned());
        list.rows.iter_mut().for_each(|row| row.push(row[key].clone()));
    }
    Some((text_of("watchlistAlias")?.to_owned(), list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Kind;

    #[test]
    fn a_rule_of_a_template_is_a_rule() {
        let text = r#"{"resources": [
            {"type": "Microsoft.OperationalInsights/workspaces/providers/alertRules", "kind": "Scheduled", "name": "[concat(parameters('workspace'),'/Microsoft.SecurityInsights/5a2b3c4d-0000-4000-8000-0000000000ff')]",
             "properties": {"displayName": "A", "enabled": true, "severity": "High", "query": "[[T", "queryFrequency": "PT1H", "queryPeriod": "P1D", "triggerOperator": "GreaterThan", "triggerThreshold": 2,
                "tactics": null, "techniques": ["T1102", "T1071"], "subTechniques": ["T1102.002"], "entityMappings": null, "customDetails": null}},
            {"type": "x/alertRules", "kind": "Fusion", "properties": {"displayName": "F"}},
            {"type": "Microsoft.Logic/workflows", "properties": {}}]}"#;
        let mut pack = Pack::default();
        pack.add_export("a.json", text);
        let rule = &pack.rules[0];
        assert_eq!((rule.id.as_str(), rule.name.as_str(), rule.query.as_str(), rule.kind), ("5a2b3c4d-0000-4000-8000-0000000000ff", "A", "[T", Kind::Scheduled));
        assert_eq!(
            (rule.period_ticks(), rule.trigger_threshold, rule.relevant_techniques.clone()),
            (864_000_000_000, Some(2), ["T1102", "T1071", "T1102.002"].map(str::to_owned).to_vec())
        );
        assert_eq!(pack.problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), ["`F` is a rule of the kind Fusion, which has no query"]);
    }

    #[test]
    fn what_is_no_export_says_so() {
        let mut pack = Pack::default();
        pack.add_export("a.json", r#"{"resources": [{"type": "x/workbooks", "properties": {}}]}"#);
        pack.add_export("b.json", "{");
        assert_eq!(pack.problems.iter().map(|problem| problem.fatal).collect::<Vec<_>>(), [false, true]);
    }
}
