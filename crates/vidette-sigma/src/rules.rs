//! Files of Sigma rules to queries.

use crate::correlation;
use crate::detection::{Refused, Writer};
use crate::gate::Gate;
use crate::source::{self, Origin, Place, places};
use rayon::prelude::*;
use rsigma_parser::{CorrelationRule, FilterRule, FilterRuleTarget, Level, SigmaRule, parse_sigma_yaml};

/// All Sigma rules of a run: correlations and filters name rules of other files.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<(String, SigmaRule)>,
    correlations: Vec<(String, CorrelationRule)>,
    filters: Vec<FilterRule>,
    pub problems: Vec<Problem>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub file: String,
    pub message: String,
}

/// A rule as queries, one for each table that tells of its events.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub file: String,
    pub id: String,
    pub title: String,
    pub description: String,
    /// `informational` to `critical`; `medium` when the rule does not say.
    pub level: &'static str,
    /// `attack.t1102.002` and its kind.
    pub tags: Vec<String>,
    pub queries: Vec<Query>,
    /// Fields without a column in the table: they compare as empty.
    pub unknown_fields: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Query {
    /// The table it reads.
    pub table: String,
    /// KQL; a row is a match.
    pub text: String,
    /// What can be told of a row without the query.
    pub gate: Gate,
    /// The columns that the query adds to an event, and where each has its value; `None` when one is more than that.
    pub own: Option<Vec<(String, Origin)>>,
}

/// The columns of a table, when it is known.
pub(crate) type Columns<'a> = &'a (dyn Fn(&str) -> Option<Vec<String>> + Sync);

impl Rules {
    /// Adds a file, which may hold several documents.
    pub fn add(&mut self, file: &str, text: &str) {
        match parse_sigma_yaml(text) {
            Ok(collection) => {
                self.problems.extend(collection.errors.into_iter().map(|message| Problem { file: file.to_owned(), message }));
                self.rules.extend(collection.rules.into_iter().map(|rule| (file.to_owned(), rule)));
                self.correlations.extend(collection.correlations.into_iter().map(|rule| (file.to_owned(), rule)));
                self.filters.extend(collection.filters);
            }
            Err(error) => self.problems.push(Problem { file: file.to_owned(), message: error.to_string() }),
        }
    }

    /// Adds the rules of other files.
    pub fn append(&mut self, mut others: Rules) {
        self.rules.append(&mut others.rules);
        self.correlations.append(&mut others.correlations);
        self.filters.append(&mut others.filters);
        self.problems.append(&mut others.problems);
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.correlations.is_empty()
    }

    /// The rules as KQL; what has no query is a problem. `columns` tells the columns of known tables.
    pub fn compile(&mut self, columns: Columns) -> Vec<Compiled> {
        let mut compiled = Vec::with_capacity(self.rules.len());
        let mut problems = Vec::new();
        let silent = self.silenced();
        let mut take = |file: &str, title: &str, one: Result<Compiled, Refused>| match one {
            Ok(one) => compiled.push(one),
            Err(why) => problems.push(Problem { file: file.to_owned(), message: format!("{title}: {why}") }),
        };
        let own = self.rules.par_iter().filter(|(_, rule)| !silent.iter().any(|name| is_called(rule, name)));
        let own: Vec<_> = own.map(|(file, rule)| (file, rule, self.rule(file, rule, columns))).collect();
        own.into_iter().for_each(|(file, rule, one)| take(file, &rule.title, one));
        for (file, rule) in &self.correlations {
            take(file, &rule.title, correlation::compile(file, rule, self, columns));
        }
        self.problems.extend(problems);
        compiled
    }

    /// Rules that only a correlation asks for raise no alerts of their own.
    fn silenced(&self) -> Vec<String> {
        self.correlations.iter().filter(|(_, rule)| !rule.generate).flat_map(|(_, rule)| rule.rules.clone()).collect()
    }

    /// A rule by its id or name.
    pub(crate) fn called(&self, name: &str) -> Option<&SigmaRule> {
        self.rules.iter().map(|(_, rule)| rule).find(|rule| is_called(rule, name))
    }

    fn rule(&self, file: &str, rule: &SigmaRule, columns: Columns) -> Result<Compiled, Refused> {
        let mut queries = Vec::new();
        let mut unknown_fields = Vec::new();
        let mut refused = None;
        for place in places(&rule.logsource) {
            match self.query(rule, place, &[], columns) {
                Ok(base) => {
                    queries.push(base.query);
                    unknown_fields.extend(base.unknown);
                }
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        match (queries.is_empty(), refused) {
            (true, Some(why)) => Err(why),
            _ => Ok(Compiled {
                file: file.to_owned(),
                id: rule.id.clone().unwrap_or_default(),
                title: rule.title.clone(),
                description: rule.description.clone().unwrap_or_default(),
                level: rule.level.map_or("medium", |level| Level::as_str(&level)),
                tags: rule.tags.clone(),
                queries,
                unknown_fields,
            }),
        }
    }

    /// The rule over one place, with columns for further fields.
    pub(crate) fn query(&self, rule: &SigmaRule, place: &Place, asked: &[String], columns: Columns) -> Result<Base, Refused> {
        let known = columns(&place.table);
        let mut writer = Writer::new(place, known.as_deref());
        let mut predicate = writer.conditions(&rule.detection)?;
        for filter in self.filters.iter().filter(|filter| applies(filter, rule)) {
            let condition = writer.conditions(&filter.detection)?;
            predicate.text = format!("{} and {}", predicate.text, condition.text);
            predicate.gate = Gate::all(vec![predicate.gate, condition.gate]);
        }
        let asked: Vec<String> = asked.iter().map(|name| writer.asked(name)).collect::<Result<_, _>>()?;
        let mut text = place.table.clone();
        if place.condition != "true" {
            text.push_str(&format!("\n| where {}", place.condition));
        }
        let own: Vec<&str> = writer.extended.keys().map(String::as_str).filter(|name| *name != "Everything").collect();
        if !writer.extended.is_empty() {
            let columns: Vec<String> = writer.extended.iter().map(|(name, expression)| format!("{name} = {expression}")).collect();
            text.push_str(&format!("\n| extend {}", columns.join(",\n    ")));
        }
        text.push_str(&format!("\n| where {}", outer(&predicate.text)));
        if asked.is_empty() && place.table == source::WINDOWS {
            let added: String = own.iter().map(|name| format!(", {name}")).collect();
            text.push_str(&format!("\n| project Timestamp = TimeGenerated, Computer, Channel, EventID, EventRecordId{added}, EventData"));
        } else if asked.is_empty() && !own.is_empty() {
            text.push_str(&format!("\n| project-away {}", own.join(", ")));
        }
        let gate = Gate::all(vec![place.gate(), predicate.gate]);
        let of = |name: &&str| writer.origins.get(*name).filter(|origin| !origin.names.is_empty()).map(|origin| ((*name).to_owned(), origin.clone()));
        let own = own.iter().map(of).collect();
        Ok(Base { query: Query { table: place.table.clone(), text, gate, own }, unknown: writer.unknown, asked })
    }
}

/// A rule over one place.
pub(crate) struct Base {
    pub query: Query,
    /// Fields that the table has no column for.
    pub unknown: Vec<String>,
    /// The columns of further fields.
    pub asked: Vec<String>,
}

/// A predicate without the parentheses around the whole of it.
fn outer(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else { return text };
    let mut depth = 0i32;
    let mut quoted = false;
    for c in inner.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return text;
        }
    }
    inner
}

fn is_called(rule: &SigmaRule, name: &str) -> bool {
    rule.id.as_deref() == Some(name) || rule.name.as_deref() == Some(name)
}

fn applies(filter: &FilterRule, rule: &SigmaRule) -> bool {
    let fits = |wanted: &Option<String>, own: &Option<String>| wanted.is_none() || wanted == own;
    let source = filter
        .logsource
        .as_ref()
        .is_none_or(|source| fits(&source.product, &rule.logsource.product) && fits(&source.category, &rule.logsource.category) && fits(&source.service, &rule.logsource.service));
    source
        && match &filter.rules {
            FilterRuleTarget::Any => true,
            FilterRuleTarget::Specific(names) => names.iter().any(|name| is_called(rule, name) || rule.title == *name),
        }
}
