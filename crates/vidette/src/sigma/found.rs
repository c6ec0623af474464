//! An event that rules match, and its alerts.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use vidette_engine::Clock;
use vidette_kql::time::format_datetime;
use vidette_rules::{Alert, SigmaRule, alert_of_row};
use vidette_sigma::{Choice, Origin};
use vidette_telemetry::{Event, bag_of_data};

/// An event that rules match, as their queries would give it.
pub struct Found<'e> {
    time_ticks: i64,
    event: &'e Event<'e>,
    data: Box<RawValue>,
}

impl Found<'_> {
    pub fn new<'e>(event: &'e Event<'e>, time_ticks: i64) -> Found<'e> {
        Found { time_ticks, event, data: RawValue::from_string(bag_of_data(event)).unwrap_or_default() }
    }

    /// The text of a column of the event, or of a field of its data.
    fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        let event = self.event;
        Some(match field {
            "Computer" => Cow::Borrowed(event.computer.as_ref()),
            "Channel" => Cow::Borrowed(event.channel.as_ref()),
            "Provider" => Cow::Borrowed(event.provider.as_ref()),
            "EventRecordId" => Cow::Owned(event.record_id.to_string()),
            "EventID" => Cow::Owned(event.event_id.to_string()),
            _ => {
                let mut values = event.data.iter().filter(|(name, _)| name == field).map(|(_, value)| value.as_ref());
                let first = values.next()?;
                let rest: Vec<&str> = values.collect();
                if rest.is_empty() { Cow::Borrowed(first) } else { Cow::Owned(Value::from([&[first], &rest[..]].concat()).to_string()) }
            }
        })
    }

    /// What a column of this origin is.
    fn value(&self, origin: &Origin) -> Cow<'_, str> {
        let chosen = |choice: &Choice| Cow::Owned(if self.text(&choice.field).is_some_and(|value| value == choice.value) { choice.then.clone() } else { choice.otherwise.clone() });
        origin.names.iter().filter_map(|name| self.text(name)).find(|text| !text.is_empty()).or_else(|| origin.choice.as_ref().map(chosen)).unwrap_or_default()
    }

    pub fn alert(&self, sigma: &SigmaRule) -> Alert {
        let mut shown = Map::new();
        shown.insert("Timestamp".to_owned(), format_datetime(self.time_ticks).into());
        shown.insert("Computer".to_owned(), self.event.computer.as_ref().into());
        shown.insert("Channel".to_owned(), self.event.channel.as_ref().into());
        shown.insert("EventID".to_owned(), self.event.event_id.into());
        shown.insert("EventRecordId".to_owned(), self.event.record_id.to_string().into());
        for (name, origin) in sigma.own.iter().flatten() {
            shown.insert(name.clone(), self.value(origin).into());
        }
        alert_of_row(&sigma.rule, &shown, ("EventData", &self.data), Clock::at(self.time_ticks))
    }
}
