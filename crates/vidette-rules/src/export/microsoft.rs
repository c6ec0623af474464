//! Microsoft's own shapes: plain KQL, Sentinel's YAML and ARM template, Defender's custom detections.

use super::Written;
use super::model::Model;
use super::standalone::{functions, standalone};
use crate::duration;
use crate::pack::Pack;
use crate::rule::{AlertDetailsOverride, EntityMapping, EventGroupingSettings, FieldMapping, Kind, Rule, SeverityLevel};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Longer queries are refused by Sentinel's rule wizard and its API.
const SENTINEL_QUERY_CHARACTERS: usize = 10_000;

pub fn kql(pack: &Pack) -> Written {
    let rules = pack.rules.iter().map(|rule| (rule.file.as_str(), rule.name.as_str(), rule.query.as_str()));
    let hunting = pack.hunting.iter().map(|query| (query.file.as_str(), query.name.as_str(), query.query.as_str()));
    let one = |(file, name, query): (&str, &str, &str)| (format!("{}.kql", stem(file, name)), format!("// {name}\n{}\n", standalone(pack, query).trim_end()));
    some(unique(rules.chain(hunting).map(one).collect()), "rules")
}

pub fn sentinel_yaml(pack: &Pack) -> Written {
    let mut files = Vec::new();
    for rule in &pack.rules {
        files.push((format!("{}.yaml", stem(&rule.file, &rule.name)), yaml(&rule_fields(rule))));
    }
    for query in &pack.hunting {
        let fields = json!({
            "id": query.id, "name": query.name, "description": query.description,
            "requiredDataConnectors": [{"connectorId": "MicrosoftThreatProtection", "dataTypes": tables(&standalone(pack, &query.query))}],
            "tactics": query.tactics, "relevantTechniques": query.relevant_techniques, "query": query.query, "version": "1.0.0",
        });
        files.push((format!("{}.yaml", stem(&query.file, &query.name)), yaml(&fields)));
    }
    for function in functions(pack) {
        let parameters: Vec<Value> = parameters(&function.parameters).into_iter().map(|(name, ty)| json!({"Name": name, "Type": ty})).collect();
        let fields = json!({
            "id": id(&format!("function {}", function.name)),
            "Function": {"Title": function.name, "Version": "1.0.0"},
            "Category": "Vidette",
            "FunctionName": function.name, "FunctionAlias": function.name, "FunctionParameters": parameters, "FunctionQuery": function.body,
        });
        files.push((format!("function.{}.yaml", function.name), yaml(&fields)));
    }
    some(unique(files), "rules")
}

/// Functions are saved searches with an alias, so that the rules stay below the limit of 10,000 characters.
pub fn sentinel_arm(pack: &Pack) -> Written {
    let mut resources = Vec::new();
    let place = |kind: &str, id: &str| format!("[concat(parameters('workspace'), '/{kind}{id}')]");
    for function in functions(pack) {
        resources.push(json!({
            "type": "Microsoft.OperationalInsights/workspaces/savedSearches", "apiVersion": "2020-08-01", "name": place("", &function.name),
            "properties": {"category": "Vidette", "displayName": function.name, "functionAlias": function.name, "functionParameters": function.parameters, "query": function.body, "version": 2},
        }));
    }
    for (alias, list) in &pack.watchlists {
        let text = csv_text(&list.columns, &list.rows);
        resources.push(json!({
            "type": "Microsoft.OperationalInsights/workspaces/providers/Watchlists", "apiVersion": "2023-02-01", "name": place("Microsoft.SecurityInsights/", alias),
            "properties": {"displayName": alias, "watchlistAlias": alias, "provider": "Vidette", "source": format!("{alias}.csv"), "itemsSearchKey": list.columns.first(), "contentType": "text/csv", "numberOfLinesToSkip": 0, "rawContent": text},
        }));
    }
    for rule in &pack.rules {
        if rule.query.len() > SENTINEL_QUERY_CHARACTERS {
            return Err(format!("{}: Sentinel takes queries of {SENTINEL_QUERY_CHARACTERS} characters, this one has {}", rule.name, rule.query.len()));
        }
        resources.push(json!({
            "type": "Microsoft.OperationalInsights/workspaces/providers/alertRules", "apiVersion": "2023-02-01", "name": place("Microsoft.SecurityInsights/", &rule.id),
            "kind": if rule.kind == Kind::Nrt { "NRT" } else { "Scheduled" }, "properties": arm_properties(rule),
        }));
    }
    for query in &pack.hunting {
        let tag = |name: &str, value: &str| json!({"name": name, "value": value});
        resources.push(json!({
            "type": "Microsoft.OperationalInsights/workspaces/savedSearches", "apiVersion": "2020-08-01", "name": place("", &query.id),
            "properties": {"category": "Hunting Queries", "displayName": query.name, "query": query.query, "version": 2,
                "tags": [tag("description", &query.description), tag("tactics", &query.tactics.join(",")), tag("techniques", &query.relevant_techniques.join(","))]},
        }));
    }
    if pack.rules.is_empty() && pack.hunting.is_empty() {
        return Err("there are no rules to write".to_owned());
    }
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"workspace": {"type": "String"}},
        "resources": resources,
    });
    Ok(vec![("azuredeploy.json".to_owned(), format!("{template:#}\n"))])
}

/// A file for each rule whose rows have what a custom detection needs: `Timestamp`, `ReportId` and a device.
pub fn defender(pack: &Pack) -> Written {
    let mut files = Vec::new();
    for rule in &pack.rules {
        let query = standalone(pack, &rule.query);
        if !query.contains("ReportId") || !query.contains("DeviceId") {
            continue;
        }
        let period = match rule.query_frequency.as_deref().and_then(duration::ticks).map(|ticks| ticks / 36_000_000_000) {
            _ if rule.kind == Kind::Nrt => "0",
            Some(0..=1) => "1H",
            Some(2..=3) => "3H",
            Some(4..=12) => "12H",
            _ => "24H",
        };
        let detection = json!({
            "displayName": rule.name, "isEnabled": true,
            "queryCondition": {"queryText": query},
            "schedule": {"period": period},
            "detectionAction": {
                "alertTemplate": {
                    "title": rule.name, "description": rule.description.trim(), "severity": rule.severity.name().to_lowercase(), "category": rule.tactics.first(),
                    "recommendedActions": "Follow the investigation guide of the pack.", "mitreTechniques": rule.relevant_techniques,
                    "impactedAssets": [{"@odata.type": "#microsoft.graph.security.impactedDeviceAsset", "identifier": "deviceId"}],
                },
                "organizationalScope": null, "responseActions": [],
            },
        });
        files.push((format!("{}.json", stem(&rule.file, &rule.name)), format!("{detection:#}\n")));
    }
    some(unique(files), "rules with Timestamp, ReportId and DeviceId")
}

/// A rule for each signal. Defender runs such a rule on every event as it arrives if it reads one table, joins nothing, looks
/// nothing up and has no comments: the hosts stand in the query. See "Continuous (NRT) frequency" of Defender's documentation.
pub fn near_real_time(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let engines = model.engine_pattern();
    let unix = model.unix_pattern();
    let programs = format!(r"(?i)^({engines}|{unix})$");
    let acting = |host: &str| {
        format!(
            "| where (InitiatingProcessFileName matches regex @\"{programs}\" or InitiatingProcessVersionInfoOriginalFileName matches regex @\"{programs}\") and {host} matches regex @\"(?i)^([a-z]+://)?([a-z0-9_-]+\\.)*({hosts})\\.?([:/?#]|$)\"\n    or InitiatingProcessFileName in~ ({clients}) and {host} matches regex @\"(?i)^([a-z]+://)?([a-z0-9_-]+\\.)*({webdav})\\.?([:/?#]|$)\"",
            hosts = super::model::alternatives(&model.hosts),
            webdav = super::model::alternatives(&model.webdav),
            clients = model.webdav_clients().map(|name| format!("\"{name}\"")).join(", "),
        )
    };
    let columns = "| project Timestamp, DeviceId, DeviceName, ReportId, FileName = InitiatingProcessFileName, FolderPath = InitiatingProcessFolderPath, CommandLine = InitiatingProcessCommandLine, ProcessId = InitiatingProcessId, AccountName = InitiatingProcessAccountName, Host";
    let network = format!(
        "DeviceNetworkEvents\n| where ActionType in (\"ConnectionSuccess\", \"ConnectionAttempt\", \"ConnectionRequest\") and isnotempty(RemoteUrl)\n{}\n| extend Host = RemoteUrl\n{columns}\n",
        acting("RemoteUrl")
    );
    let dns =
        format!("DeviceEvents\n| where ActionType == \"DnsQueryResponse\"\n| extend Host = tostring(parse_json(AdditionalFields).DnsQueryString)\n{}\n{columns}\n", acting("Host"));
    let command = model.command_pattern();
    let process = format!(
        "DeviceProcessEvents\n| where ActionType == \"ProcessCreated\"\n| where (FileName matches regex @\"{programs}\" or ProcessVersionInfoOriginalFileName matches regex @\"{programs}\") and ProcessCommandLine matches regex @\"(?i){command}\"\n    or ProcessCommandLine matches regex @\"(?i)\\buse\\b.*https?://|\\\\\\\\[a-z0-9.-]+@ssl|davclnt\\.dll.*DavSetCookie\"\n| extend Host = extract(@\"(?i)(?://|\\\\\\\\)([a-z0-9.-]+)\", 1, ProcessCommandLine)\n| project Timestamp, DeviceId, DeviceName, ReportId, FileName, FolderPath, CommandLine = ProcessCommandLine, ProcessId, AccountName, Host\n"
    );
    let rule = |name: &str, title: &str, query: String| {
        let field = |identifier: &str, column: &str| FieldMapping { identifier: identifier.to_owned(), column_name: column.to_owned() };
        let entity = |entity_type: &str, field_mappings: Vec<FieldMapping>| EntityMapping { entity_type: entity_type.to_owned(), field_mappings };
        let rule = Rule {
            id: id(name),
            kind: Kind::Nrt,
            name: title.to_owned(),
            description: "As an event arrives: a script engine, LOLBin or WebDAV client reaches a web service usable for command and control. It has no score: the scheduled rule weighs, this one is fast.".to_owned(),
            severity: SeverityLevel::Medium,
            status: Some("Available".to_owned()),
            version: Some("1.0.0".to_owned()),
            tactics: vec!["CommandAndControl".to_owned()],
            relevant_techniques: vec!["T1102".to_owned(), "T1102.002".to_owned()],
            required_data_connectors: vec![serde_yaml_ng::to_value(json!({"connectorId": "MicrosoftThreatProtection", "dataTypes": tables(&query)})).unwrap_or_default()],
            query,
            entity_mappings: vec![
                entity("Host", vec![field("HostName", "DeviceName")]),
                entity("Account", vec![field("Name", "AccountName")]),
                entity("Process", vec![field("ProcessId", "ProcessId"), field("CommandLine", "CommandLine")]),
            ],
            alert_details_override: Some(AlertDetailsOverride {
                alert_display_name_format: Some("{{FileName}} on {{DeviceName}} uses {{Host}}".to_owned()),
                ..AlertDetailsOverride::default()
            }),
            event_grouping_settings: Some(EventGroupingSettings { aggregation_kind: "AlertPerResult".to_owned() }),
            ..Rule::default()
        };
        (format!("{name}.yaml"), yaml(&rule_fields(&rule)))
    };
    Ok(vec![
        rule("NrtNetwork", "Connection of a script engine to a web service (NRT)", network),
        rule("NrtDns", "DNS query of a script engine for a web service (NRT)", dns),
        rule("NrtProcess", "Web service on the command line of a script engine (NRT)", process),
    ])
}

fn some(files: Vec<(String, String)>, what: &str) -> Written {
    if files.is_empty() { Err(format!("there are no {what} to write")) } else { Ok(files) }
}

/// The file's name without its ending, else the rule's name as one.
fn stem(file: &str, name: &str) -> String {
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).filter(|stem| !stem.is_empty());
    stem.unwrap_or_else(|| name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect())
}

/// Files of one name get numbers.
fn unique(mut files: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut given = std::collections::HashMap::new();
    for (name, _) in &mut files {
        let times = given.entry(name.clone()).or_insert(0);
        *times += 1;
        if *times > 1
            && let Some((stem, ending)) = name.clone().rsplit_once('.')
        {
            *name = format!("{stem}-{times}.{ending}");
        }
    }
    files
}

/// A GUID that is always the same for the same name.
fn id(name: &str) -> String {
    let hash = |seed: u64| name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let (a, b) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    format!("{:08x}-{:04x}-5{:03x}-8{:03x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
}

/// The tables whose names stand in the query.
fn tables(query: &str) -> Vec<&'static str> {
    const TABLES: [&str; 6] = ["DeviceEvents", "DeviceFileEvents", "DeviceNetworkEvents", "DeviceProcessEvents", "DeviceRegistryEvents", "DeviceFileCertificateInfo"];
    TABLES.into_iter().filter(|table| query.contains(table)).collect()
}

/// `Start:datetime, T:(Url:string)` by name and type.
fn parameters(list: &str) -> Vec<(String, String)> {
    let mut depth = 0;
    let parts = list.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let one = |part: &str| {
        part.split_once(':').map(|(name, ty)| (name.trim().to_owned(), if ty.trim().starts_with('(') { format!("Tabular: {}", ty.trim()) } else { ty.trim().to_owned() }))
    };
    parts.filter_map(one).collect()
}

fn csv_text(columns: &[String], rows: &[Vec<String>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(columns).and_then(|()| rows.iter().try_for_each(|row| writer.write_record(row)));
    match (written, writer.into_inner()) {
        (Ok(()), Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

/// JSON is YAML; read as such, its numbers are numbers.
fn yaml(value: &Value) -> String {
    serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&value.to_string()).and_then(|value| serde_yaml_ng::to_string(&value)).unwrap_or_default()
}

fn plain(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn entity_mappings(rule: &Rule) -> Value {
    let field = |field: &FieldMapping| json!({"identifier": field.identifier, "columnName": field.column_name});
    rule.entity_mappings.iter().map(|mapping| json!({"entityType": mapping.entity_type, "fieldMappings": mapping.field_mappings.iter().map(field).collect::<Vec<_>>()})).collect()
}

fn alert_details(details: &AlertDetailsOverride) -> Value {
    let pairs = [
        ("alertDisplayNameFormat", &details.alert_display_name_format),
        ("alertDescriptionFormat", &details.alert_description_format),
        ("alertSeverityColumnName", &details.alert_severity_column_name),
        ("alertTacticsColumnName", &details.alert_tactics_column_name),
    ];
    let mut fields: Map<String, Value> = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into()))).collect();
    if !details.alert_dynamic_properties.is_empty() {
        fields.insert("alertDynamicProperties".to_owned(), plain(&details.alert_dynamic_properties));
    }
    Value::Object(fields)
}

/// What both shapes of a rule have under the same names.
fn shared(rule: &Rule) -> Vec<(&'static str, Value)> {
    let mut fields = Vec::new();
    if !rule.entity_mappings.is_empty() {
        fields.push(("entityMappings", entity_mappings(rule)));
    }
    if !rule.custom_details.is_empty() {
        fields.push(("customDetails", plain(&rule.custom_details)));
    }
    if let Some(details) = &rule.alert_details_override {
        fields.push(("alertDetailsOverride", alert_details(details)));
    }
    if let Some(settings) = &rule.event_grouping_settings {
        fields.push(("eventGroupingSettings", json!({"aggregationKind": settings.aggregation_kind})));
    }
    if let Some(incident) = &rule.incident_configuration {
        fields.push(("incidentConfiguration", plain(incident)));
    }
    fields
}

/// The rule in the public repository's YAML, keys in its order.
fn rule_fields(rule: &Rule) -> Value {
    let scheduled = rule.kind == Kind::Scheduled;
    let mut fields: Vec<(&str, Value)> = vec![
        ("id", rule.id.clone().into()),
        ("name", rule.name.clone().into()),
        ("version", rule.version.clone().unwrap_or_else(|| "1.0.0".to_owned()).into()),
        ("kind", if scheduled { "Scheduled" } else { "NRT" }.into()),
        ("description", rule.description.clone().into()),
        ("severity", rule.severity.name().into()),
        ("status", rule.status.clone().unwrap_or_else(|| "Available".to_owned()).into()),
        ("requiredDataConnectors", plain(&rule.required_data_connectors)),
    ];
    if scheduled {
        fields.push(("queryFrequency", rule.query_frequency.clone().unwrap_or_else(|| "1d".to_owned()).into()));
        fields.push(("queryPeriod", rule.query_period.clone().unwrap_or_else(|| "1d".to_owned()).into()));
        fields.push(("triggerOperator", rule.trigger_operator.clone().unwrap_or_else(|| "gt".to_owned()).into()));
        fields.push(("triggerThreshold", rule.trigger_threshold.unwrap_or(0).into()));
    }
    fields.push(("tactics", plain(&rule.tactics)));
    fields.push(("relevantTechniques", plain(&rule.relevant_techniques)));
    fields.push(("query", rule.query.clone().into()));
    fields.extend(shared(rule));
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The rule as the API and a template take it: `name` is `displayName`, techniques and subtechniques are apart.
fn arm_properties(rule: &Rule) -> Value {
    let (sub, whole): (Vec<&String>, Vec<&String>) = rule.relevant_techniques.iter().partition(|technique| technique.contains('.'));
    let mut techniques: Vec<&str> = whole.iter().map(|technique| technique.as_str()).chain(sub.iter().filter_map(|technique| technique.split('.').next())).collect();
    techniques.sort_unstable();
    techniques.dedup();
    let mut fields: Vec<(&str, Value)> = vec![
        ("displayName", rule.name.clone().into()),
        ("description", rule.description.clone().into()),
        ("severity", rule.severity.name().into()),
        ("enabled", true.into()),
        ("query", rule.query.clone().into()),
    ];
    if rule.kind == Kind::Scheduled {
        fields.push(("queryFrequency", iso(rule.query_frequency.as_deref().unwrap_or("1d")).into()));
        fields.push(("queryPeriod", iso(rule.query_period.as_deref().unwrap_or("1d")).into()));
        let operator = match rule.trigger_operator.as_deref().unwrap_or("gt") {
            "lt" | "LessThan" => "LessThan",
            "eq" | "Equal" => "Equal",
            "ne" | "NotEqual" => "NotEqual",
            _ => "GreaterThan",
        };
        fields.push(("triggerOperator", operator.into()));
        fields.push(("triggerThreshold", rule.trigger_threshold.unwrap_or(0).into()));
    }
    fields.push(("suppressionEnabled", rule.suppression_enabled.unwrap_or(false).into()));
    fields.push(("suppressionDuration", iso(rule.suppression_duration.as_deref().unwrap_or("5h")).into()));
    fields.push(("tactics", plain(&rule.tactics)));
    fields.push(("techniques", plain(&techniques)));
    fields.push(("subTechniques", plain(&sub)));
    fields.extend(shared(rule));
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// `1d` as `P1D`, `5m` as `PT5M`.
fn iso(text: &str) -> String {
    let upper = text.to_uppercase();
    match upper.chars().last() {
        _ if upper.starts_with('P') => upper,
        Some('D' | 'W') => format!("P{upper}"),
        _ => format!("PT{upper}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_names_and_parameters() {
        assert_eq!((iso("1d"), iso("5m"), iso("PT1H")), ("P1D".to_owned(), "PT5M".to_owned(), "PT1H".to_owned()));
        assert_eq!(id("NrtDns"), id("NrtDns"));
        assert_eq!(id("NrtDns").len(), 36);
        assert_eq!(parameters("Start:datetime, T:(A:string, B:long)"), [("Start".to_owned(), "datetime".to_owned()), ("T".to_owned(), "Tabular: (A:string, B:long)".to_owned())]);
        let files = unique(vec![("a.kql".to_owned(), String::new()), ("a.kql".to_owned(), String::new())]);
        assert_eq!(files[1].0, "a-2.kql");
    }
}
