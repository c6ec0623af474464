//! A layer for the ATT&CK Navigator. See "ATT&CK Navigator layer file format", 4.5.

use super::Written;
use crate::pack::Pack;
use serde_json::json;
use std::collections::BTreeMap;

pub fn write(pack: &Pack) -> Written {
    // Rules count more than queries for a person to run.
    let mut techniques: BTreeMap<&str, (u32, Vec<String>)> = BTreeMap::new();
    for rule in &pack.rules {
        for technique in &rule.relevant_techniques {
            let (score, names) = techniques.entry(technique).or_default();
            *score += 2;
            names.push(format!("rule: {}", rule.name));
        }
    }
    for query in &pack.hunting {
        for technique in &query.relevant_techniques {
            let (score, names) = techniques.entry(technique).or_default();
            *score += 1;
            names.push(format!("hunting: {}", query.name));
        }
    }
    if techniques.is_empty() {
        return Err("the pack has no rule that names a technique".to_owned());
    }
    let most = techniques.values().map(|(score, _)| *score).max().unwrap_or(1);
    let all: Vec<_> = techniques
        .iter()
        .map(|(technique, (score, names))| json!({"techniqueID": technique, "score": score, "comment": names.join("\n"), "enabled": true, "showSubtechniques": technique.contains('.')}))
        .collect();
    let layer = json!({
        "name": format!("Vidette {}", pack.name),
        "versions": {"attack": "18", "navigator": "5.2.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": "What the rules and hunting queries of the pack are about. A rule counts 2, a hunting query 1.",
        "sorting": 3,
        "techniques": all,
        "gradient": {"colors": ["#dbe9f6", "#1c5c9c"], "minValue": 0, "maxValue": most},
    });
    Ok(vec![("attack-navigator.json".to_owned(), format!("{:#}\n", layer))])
}
