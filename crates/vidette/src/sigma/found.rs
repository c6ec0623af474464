//! An event that rules match, and its alerts.

use serde_json::{Map, Value};
use vidette_engine::Clock;
use vidette_kql::time::format_datetime;
use vidette_rules::{Alert, SigmaRule, alert_of_row};
use vidette_sigma::{Choice, Origin};
use vidette_telemetry::Event;

/// An event that rules match, as their queries would give it.
pub struct Found {
    time_ticks: i64,
    columns: Map<String, Value>,
    data: Map<String, Value>,
    data_text: String,
}

impl Found {
    fn new(time_ticks: i64, columns: Map<String, Value>, data: Map<String, Value>) -> Found {
        let data_text = serde_json::to_string(&data).unwrap_or_default();
        Found { time_ticks, columns, data, data_text }
    }

    pub fn of_event(event: &Event, time_ticks: i64) -> Found {
        let mut columns = Map::new();
        columns.insert("Computer".to_owned(), event.computer.as_ref().into());
        columns.insert("Channel".to_owned(), event.channel.as_ref().into());
        columns.insert("Provider".to_owned(), event.provider.as_ref().into());
        columns.insert("EventRecordId".to_owned(), event.record_id.to_string().into());
        columns.insert("EventID".to_owned(), event.event_id.into());
        let mut data = Map::new();
        for (name, value) in &event.data {
            let value = Value::from(value.as_ref());
            match data.get_mut(name.as_ref()) {
                None => drop(data.insert(name.to_string(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Found::new(time_ticks, columns, data)
    }

    /// What a column of this origin is.
    fn value(&self, origin: &Origin) -> String {
        let text = |field: &String| match self.columns.get(field).or_else(|| self.data.get(field))? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let chosen = |choice: &Choice| if text(&choice.field).is_some_and(|value| value == choice.value) { choice.then.clone() } else { choice.otherwise.clone() };
        origin.names.iter().filter_map(text).find(|text| !text.is_empty()).or_else(|| origin.choice.as_ref().map(chosen)).unwrap_or_default()
    }

    pub fn alert(&self, sigma: &SigmaRule) -> Alert {
        let mut shown = Map::new();
        shown.insert("Timestamp".to_owned(), format_datetime(self.time_ticks).into());
        for name in ["Computer", "Channel", "EventID", "EventRecordId"] {
            shown.insert(name.to_owned(), self.columns[name].clone());
        }
        for (name, origin) in sigma.own.iter().flatten() {
            shown.insert(name.clone(), self.value(origin).into());
        }
        alert_of_row(&sigma.rule, &shown, ("EventData", &self.data_text), Clock::at(self.time_ticks))
    }
}
