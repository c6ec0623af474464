//! Log sources: which tables hold their events, and what the tables call their fields.

use crate::gate::{Gate, Match};
use crate::text::{is_identifier, literal};
use rsigma_parser::LogSource;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Rows of a table that belong to a log source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub table: String,
    pub condition: String,
    /// Expressions of fields.
    fields: HashMap<String, String>,
    /// Other names that the data of an event have for a field.
    names: HashMap<String, String>,
    /// What fields are when the data of an event have no value for them.
    choices: HashMap<String, Choice>,
}

struct Source {
    product: String,
    category: String,
    service: String,
    places: Vec<Place>,
}

static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut sources: Vec<Source> = Vec::new();
    for line in include_str!("../data/logsources.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some((word, rest)) = line.split_once(' ') else { continue };
        if word == "source" {
            let mut words = rest.split(' ').map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            sources.push(Source { product: next(), category: next(), service: next(), places: Vec::new() });
            continue;
        }
        let Some(source) = sources.last_mut() else { continue };
        if let ("table", Some((table, condition))) = (word, rest.split_once(" : ")) {
            source.places.push(Place { table: table.to_owned(), condition: condition.to_owned(), ..Place::default() });
            continue;
        }
        let Some(place) = source.places.last_mut() else { continue };
        match (word, rest.split_once(" = "), rest.split_once(' ')) {
            ("field", Some((name, expression)), _) => place.fields.insert(name.to_owned(), expression.to_owned()),
            ("choice", Some((name, choice)), _) => {
                let words: Vec<String> = choice.split(' ').map(|word| word.trim_matches('"').to_owned()).collect();
                if let Ok([field, value, then, otherwise]) = <[String; 4]>::try_from(words) {
                    place.choices.insert(name.to_owned(), Choice { field, value, then, otherwise });
                }
                None
            }
            ("names", _, Some((name, other))) => place.names.insert(name.to_owned(), other.to_owned()),
            _ => None,
        };
    }
    sources
});

/// The places of a log source: of the source that says most of what the rule says.
pub(crate) fn places(source: &LogSource) -> &'static [Place] {
    let fits = |known: &str, asked: &Option<String>, weight: u32| match asked.as_deref() {
        _ if known == "*" => Some(0),
        Some(asked) if asked.eq_ignore_ascii_case(known) => Some(weight),
        _ => None,
    };
    let score = |known: &Source| Some(fits(&known.product, &source.product, 1)? + fits(&known.category, &source.category, 4)? + fits(&known.service, &source.service, 2)?);
    SOURCES.iter().filter_map(|known| Some((score(known)?, known))).max_by_key(|(score, _)| *score).map_or(&[], |(_, known)| &known.places)
}

/// One of two texts, as another field of an event has a value or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub field: String,
    pub value: String,
    pub then: String,
    pub otherwise: String,
}

/// Where among the data of an event a column has its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The first of these that is not empty; none when the column is more than that.
    pub names: Vec<String>,
    /// What it is when all of them are empty.
    pub choice: Option<Choice>,
}

/// What a field is in a place.
pub(crate) struct Field {
    pub expression: String,
    pub origin: Origin,
    /// The table has no such column.
    pub unknown: bool,
}

pub(crate) const WINDOWS: &str = "WindowsEvent";

/// The whole of an event's data, for keywords.
const EVERYTHING: &str = r#"replace_string(tostring(EventData), @"\\", @"\")"#;
/// Values without names.
const UNNAMED: &str = r#"iff(gettype(EventData.Data) == "array", strcat_array(EventData.Data, "\n"), tostring(EventData.Data))"#;

impl Place {
    /// What the condition asks of an event; conditions of other tables than WindowsEvent are not looked into.
    pub(crate) fn gate(&self) -> Gate {
        if self.table != WINDOWS {
            return Gate::Open;
        }
        let atom = |text: &str| {
            let Some((column, rest)) = text.trim().trim_matches(['(', ')']).split_once(' ') else { return Gate::Open };
            // What stands in quotes, else the numbers.
            let values: Vec<&str> = if rest.contains('"') {
                rest.split('"').skip(1).step_by(2).collect()
            } else {
                rest.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()).collect()
            };
            Gate::any(values.iter().map(|value| Gate::literal(&[column.to_owned()], value, Match::Equals)).collect())
        };
        let branch = |text: &str| Gate::all(text.split(" and ").map(atom).collect());
        if self.condition == "true" { Gate::All(Vec::new()) } else { Gate::any(self.condition.split(" or ").map(branch).collect()) }
    }

    /// What the field is here; `columns` are those of the table, when they are known. `None` when the table cannot tell of it.
    pub(crate) fn field(&self, name: &str, columns: Option<&[String]>) -> Option<Field> {
        if let Some(expression) = self.fields.get(name) {
            return Some(Field { expression: expression.clone(), origin: Origin::default(), unknown: false });
        }
        if self.table == WINDOWS {
            return Some(self.event_field(name));
        }
        if self.table.starts_with("Device") {
            return None;
        }
        if name.is_empty() {
            return Some(Field { expression: "tostring(pack_all())".to_owned(), origin: Origin::default(), unknown: false });
        }
        let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let column = columns.unwrap_or_default().iter().find(|column| plain(column) == plain(name));
        let expression = column.map_or_else(|| "\"\"".to_owned(), |column| format!("tostring({})", if is_identifier(column) { column.clone() } else { format!("['{column}']") }));
        Some(Field { expression, origin: Origin::default(), unknown: column.is_none() })
    }

    fn event_field(&self, name: &str) -> Field {
        let of = |expression: String, names: &[&str]| {
            let origin = Origin { names: names.iter().map(|name| (*name).to_owned()).collect(), choice: None };
            Field { expression, origin, unknown: false }
        };
        if let Some(hash) = ["md5", "sha1", "sha256", "imphash"].iter().find(|hash| name.eq_ignore_ascii_case(hash)) {
            return of(format!(r#"extract(@"(?i){hash}=([0-9a-f]+)", 1, tostring(EventData.Hashes))"#), &[]);
        }
        let access = |name: &str| if is_identifier(name) { format!("EventData.{name}") } else { format!("EventData[{}]", literal(name)) };
        if let Some(choice) = self.choices.get(name) {
            let Choice { field, value, then, otherwise } = choice;
            let chosen = format!("iff({} == {}, {}, {})", access(field), literal(value), literal(then), literal(otherwise));
            let mut field = of(format!("coalesce(tostring({}), {chosen})", access(name)), &[name]);
            field.origin.choice = Some(choice.clone());
            return field;
        }
        if let Some(other) = self.names.get(name) {
            return of(format!("coalesce(tostring({}), tostring({}))", access(name), access(other)), &[name, other]);
        }
        match name {
            "EventID" => of("tostring(EventID)".into(), &["EventID"]),
            "Provider_Name" | "ProviderName" | "Source" | "SourceName" | "EventSource" => of("Provider".into(), &["Provider"]),
            "Channel" => of("Channel".into(), &["Channel"]),
            "Computer" | "ComputerName" | "Hostname" => of("Computer".into(), &[]),
            "Level" => of("tostring(EventLevel)".into(), &[]),
            "Message" | "" => of(EVERYTHING.into(), &["*"]),
            "Data" => of(UNNAMED.into(), &[]),
            _ => of(format!("tostring({})", access(name)), &[name]),
        }
    }
}
