//! A case: an alert, what the queries of a guide found around it, its process tree and its timeline.

pub mod html;
mod tree;

use crate::commands::Failure;
use crate::workspace::Loaded;
use serde::Serialize;
use serde_json::{Map, Value};
pub use tree::Node;
use vidette_engine::{Clock, Error};
use vidette_kql::time::parse_datetime;
use vidette_rules::{Alert, Guide};

/// What the alert is about.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub device: String,
    pub process_id: Option<i64>,
    /// When the process started, as a KQL `datetime` text; empty when unknown.
    pub started: String,
    pub file_name: String,
    pub account: String,
    pub sha1: String,
    pub command_line: String,
    pub first: String,
    pub last: String,
}

/// What one step of the guide found.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub title: String,
    pub text: String,
    pub query: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Why there are no rows, when the query failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Case {
    pub alert: Alert,
    pub subject: Subject,
    pub tree: Vec<Node>,
    pub sections: Vec<Section>,
    /// The rows of the step called *Timeline*.
    pub timeline: Vec<Moment>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    pub ticks: i64,
    pub time: String,
    pub what: String,
    pub who: String,
    pub detail: String,
    /// It is of the alert's process, or of one below it.
    pub of_subject: bool,
}

impl Subject {
    /// From the columns of the alert's first row, whichever rule gave it.
    pub fn of(alert: &Alert) -> Subject {
        let row = alert.row();
        let data = row.get("EventData").and_then(Value::as_object).cloned().unwrap_or_default();
        let text = |names: &[&str]| {
            let value = names.iter().find_map(|name| row.get(*name).or_else(|| data.get(*name)).map(plain).filter(|text| !text.is_empty()));
            value.unwrap_or_default()
        };
        let id = text(&["ProcessId", "InitiatingProcessId", "NewProcessId"]);
        let image = text(&["FileName", "InitiatingProcessFileName", "Image", "NewProcessName"]);
        let account = text(&["AccountName", "InitiatingProcessAccountName", "User", "SubjectUserName"]);
        let last = text(&["LastSeen", "Last"]);
        Subject {
            device: text(&["DeviceName", "Computer"]).to_lowercase(),
            process_id: id.strip_prefix("0x").map_or_else(|| id.parse().ok(), |hex| i64::from_str_radix(hex, 16).ok()),
            started: text(&["ProcessCreationTime", "InitiatingProcessCreationTime"]),
            file_name: image.rsplit(['\\', '/']).next().unwrap_or_default().to_owned(),
            account: account.rsplit('\\').next().unwrap_or_default().to_owned(),
            sha1: text(&["SHA1", "InitiatingProcessSHA1"]),
            command_line: text(&["CommandLine", "InitiatingProcessCommandLine", "ProcessCommandLine"]),
            last: if parse_datetime(&last).is_some() { last } else { alert.time.clone() },
            first: alert.time.clone(),
        }
    }

    /// The values of the guide's parameters.
    fn values(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned());
        let time = |text: &str| if parse_datetime(text).is_some() { format!("datetime({text})") } else { "datetime(null)".to_owned() };
        vec![
            ("Device", quoted(&self.device)),
            ("Process", self.process_id.map_or_else(|| "long(null)".to_owned(), |id| format!("long({id})"))),
            ("Started", time(&self.started)),
            ("Image", quoted(&self.file_name)),
            ("Account", quoted(&self.account)),
            ("Hash", quoted(&self.sha1)),
            ("Command", quoted(&self.command_line)),
            ("First", time(&self.first)),
            ("Last", time(&self.last)),
        ]
    }

    /// What the alert does not tell of its process, from the event at its time.
    pub async fn complete(&mut self, loaded: &Loaded) {
        if self.process_id.is_some() {
            return;
        }
        let query = format!(
            "union (DeviceNetworkEvents | project Timestamp, DeviceName, Name = InitiatingProcessFileName, Id = InitiatingProcessId, Started = InitiatingProcessCreationTime, Command = InitiatingProcessCommandLine, Account = InitiatingProcessAccountName, Hash = InitiatingProcessSHA1), (DeviceProcessEvents | project Timestamp, DeviceName, Name = FileName, Id = ProcessId, Started = ProcessCreationTime, Command = ProcessCommandLine, Account = AccountName, Hash = SHA1), (DeviceEvents | project Timestamp, DeviceName, Name = InitiatingProcessFileName, Id = InitiatingProcessId, Started = InitiatingProcessCreationTime, Command = InitiatingProcessCommandLine, Account = InitiatingProcessAccountName, Hash = InitiatingProcessSHA1) | where DeviceName =~ {} and Timestamp == datetime({}) and isnotnull(Id) | where {} | take 1",
            serde_json::to_string(&self.device).unwrap_or_default(),
            self.first,
            if self.file_name.is_empty() { "true".to_owned() } else { format!("Name =~ {}", serde_json::to_string(&self.file_name).unwrap_or_default()) },
        );
        let Ok(result) = loaded.workspace.query(&query, Clock::now()).await else { return };
        let Some(row) = result.tables.first().and_then(|table| table.objects().into_iter().next()) else { return };
        let fill = |field: &mut String, name: &str| {
            if field.is_empty() {
                *field = row.get(name).map(plain).unwrap_or_default();
            }
        };
        self.process_id = row.get("Id").and_then(Value::as_i64);
        fill(&mut self.file_name, "Name");
        fill(&mut self.started, "Started");
        fill(&mut self.command_line, "Command");
        fill(&mut self.account, "Account");
        fill(&mut self.sha1, "Hash");
    }
}

impl Case {
    /// Runs the guide around the alert. A step that fails says why and leaves the others alone.
    pub async fn build(alert: Alert, guide: &Guide, loaded: &Loaded, clock: Clock) -> Result<Case, Failure> {
        let mut subject = Subject::of(&alert);
        subject.complete(loaded).await;
        let values = subject.values();
        let mut case = Case { alert, subject, tree: Vec::new(), sections: Vec::new(), timeline: Vec::new() };
        for step in &guide.steps {
            let query = guide.query(step, &values);
            let mut section = Section { title: step.title.clone(), text: step.text.clone(), query: query.clone(), columns: Vec::new(), rows: Vec::new(), error: None };
            match loaded.workspace.query(&query, clock).await {
                Ok(result) => {
                    let Some(table) = result.tables.last() else { continue };
                    match step.title.as_str() {
                        "Process tree" => {
                            case.tree = tree::build(&case.subject, &table.objects());
                            continue;
                        }
                        "Timeline" => {
                            case.timeline = moments(&case, &table.objects());
                            continue;
                        }
                        _ => {}
                    }
                    section.columns = table.columns.iter().map(|(name, _)| name.clone()).collect();
                    section.rows = table.text_rows();
                }
                Err(Error::Diagnostics(diagnostics)) => return Err(Failure::query(vidette_kql::render(&query, &format!("guide: {}", step.title), &diagnostics))),
                Err(error) => section.error = Some(error.to_string()),
            }
            case.sections.push(section);
        }
        Ok(case)
    }
}

fn moments(case: &Case, rows: &[Map<String, Value>]) -> Vec<Moment> {
    // The subject and what it started, as far as the tree knows.
    let own: Vec<i64> = case.tree.iter().skip_while(|node| !node.is_subject).filter_map(|node| node.process_id).chain(case.subject.process_id).collect();
    let text = |row: &Map<String, Value>, name: &str| row.get(name).map(plain).unwrap_or_default();
    let id = |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_i64);
    let moment = |row: &Map<String, Value>| {
        let time = text(row, "Timestamp");
        let of_subject = [id(row, "Id"), id(row, "By")].into_iter().flatten().any(|id| own.contains(&id));
        Some(Moment { ticks: parse_datetime(&time)?, time, what: text(row, "What"), who: text(row, "Who"), detail: text(row, "Detail"), of_subject })
    };
    rows.iter().filter_map(moment).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
