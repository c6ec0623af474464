//! Conditions and detections to a predicate in KQL, and to the gate before it.

use crate::gate::{Gate, Match, Network, Test as Is};
use crate::needs;
use crate::source::{Field, Origin, Place};
use crate::text::{is_identifier, literal, pattern, windash};
use base64::Engine;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SelectorPattern, SigmaString, SigmaValue, SpecialChar, StringPart, detection_name_matches,
};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A predicate, with what lets it be passed over.
pub(crate) struct Predicate {
    pub text: String,
    pub gate: Gate,
}

/// Why a rule has no query over a table.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{table} does not tell of `{field}`")]
    Field { table: String, field: String },
    #[error("no detection `{0}`")]
    Name(String),
    #[error("`{0}`")]
    Unsupported(String),
}

/// Writes the predicates of one place, and remembers which fields they name.
pub(crate) struct Writer<'a> {
    place: &'a Place,
    columns: Option<&'a [String]>,
    /// Columns that the query adds: their names and what they are.
    pub extended: BTreeMap<String, String>,
    /// Where each of them has its value.
    pub origins: BTreeMap<String, Origin>,
    /// Fields that the table has no column for.
    pub unknown: Vec<String>,
}

/// A test of one value.
enum Test {
    Plain(String, Match),
    Pattern(SigmaString),
}

impl<'a> Writer<'a> {
    pub(crate) fn new(place: &'a Place, columns: Option<&'a [String]>) -> Writer<'a> {
        Writer { place, columns, extended: BTreeMap::new(), origins: BTreeMap::new(), unknown: Vec::new() }
    }

    pub(crate) fn conditions(&mut self, detections: &Detections) -> Result<Predicate, Refused> {
        let parts: Result<Vec<Predicate>, Refused> = detections.conditions.iter().map(|condition| self.condition(condition, detections)).collect();
        Ok(joined(parts?, false))
    }

    pub(crate) fn condition(&mut self, condition: &ConditionExpr, detections: &Detections) -> Result<Predicate, Refused> {
        match condition {
            ConditionExpr::And(parts) => Ok(joined(parts.iter().map(|part| self.condition(part, detections)).collect::<Result<_, _>>()?, true)),
            ConditionExpr::Or(parts) => Ok(joined(parts.iter().map(|part| self.condition(part, detections)).collect::<Result<_, _>>()?, false)),
            ConditionExpr::Not(part) => Ok(negated(self.condition(part, detections)?)),
            ConditionExpr::Identifier(name) => {
                let detection = detections.named.get(name).ok_or_else(|| Refused::Name(name.clone()))?;
                self.detection(detection)
            }
            ConditionExpr::Selector { quantifier, pattern } => self.selector(quantifier, pattern, detections),
        }
    }

    fn selector(&mut self, quantifier: &Quantifier, pattern: &SelectorPattern, detections: &Detections) -> Result<Predicate, Refused> {
        let mut names: Vec<&String> = detections.named.keys().collect();
        names.sort();
        names.retain(|name| match pattern {
            SelectorPattern::Them => !name.starts_with('_'),
            SelectorPattern::Pattern(pattern) => detection_name_matches(pattern, name),
        });
        if names.is_empty() {
            return Err(Refused::Name(pattern.to_string()));
        }
        let parts: Vec<Predicate> = names.iter().map(|name| self.detection(&detections.named[*name])).collect::<Result<_, _>>()?;
        Ok(match quantifier {
            Quantifier::All => joined(parts, true),
            Quantifier::Any | Quantifier::Count(1) => joined(parts, false),
            Quantifier::Count(count) => {
                let sum: Vec<String> = parts.iter().map(|part| format!("toint({})", part.text)).collect();
                Predicate { text: format!("({}) >= {count}", sum.join(" + ")), gate: Gate::all(vec![Gate::any(parts.into_iter().map(|part| part.gate).collect()), Gate::Open]) }
            }
        })
    }

    fn detection(&mut self, detection: &Detection) -> Result<Predicate, Refused> {
        match detection {
            Detection::AllOf(items) => Ok(joined(items.iter().map(|item| self.item(item)).collect::<Result<_, _>>()?, true)),
            Detection::And(parts) => Ok(joined(parts.iter().map(|part| self.detection(part)).collect::<Result<_, _>>()?, true)),
            Detection::AnyOf(parts) => Ok(joined(parts.iter().map(|part| self.detection(part)).collect::<Result<_, _>>()?, false)),
            Detection::Keywords(values) => {
                let item = DetectionItem { field: rsigma_parser::FieldSpec::new(None, vec![Modifier::Contains]), values: values.clone() };
                self.item(&item)
            }
            Detection::ArrayMatch { .. } | Detection::Conditional { .. } => Err(Refused::Unsupported("array matching".to_owned())),
        }
    }

    /// The column that holds the field.
    fn column(&mut self, name: &str) -> Result<(String, Field), Refused> {
        let field = self.place.field(name, self.columns).ok_or_else(|| Refused::Field { table: self.place.table.clone(), field: name.to_owned() })?;
        if field.unknown && !self.unknown.iter().any(|known| known == name) {
            self.unknown.push(name.to_owned());
        }
        if is_identifier(&field.expression) || field.expression == "\"\"" {
            return Ok((field.expression.clone(), field));
        }
        let name = if name.is_empty() { "Everything" } else { name };
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let taken = self.columns.unwrap_or_default().contains(&plain) || !is_identifier(&plain) || WINDOWS_COLUMNS.contains(&plain.as_str());
        let column = if taken { format!("Field_{plain}") } else { plain };
        self.extended.insert(column.clone(), field.expression.clone());
        self.origins.insert(column.clone(), field.origin.clone());
        Ok((column, field))
    }

    /// The column of a field that something else asks for.
    pub(crate) fn asked(&mut self, name: &str) -> Result<String, Refused> {
        Ok(self.column(name)?.0)
    }

    fn item(&mut self, item: &DetectionItem) -> Result<Predicate, Refused> {
        let name = item.field.name.clone().unwrap_or_default();
        let (column, field) = self.column(&name)?;
        let has = |modifier: Modifier| item.field.has_modifier(modifier);
        if has(Modifier::Expand) {
            return Err(Refused::Unsupported("|expand: a placeholder, which only the rule's own environment knows".to_owned()));
        }
        let mut parts = Vec::new();
        for value in &item.values {
            let Predicate { text, gate } = self.value(value, item, &column, &field)?;
            parts.push(Predicate { text, gate: gate.or_chosen(&field.origin) });
        }
        // Equal values as one list.
        let cased = has(Modifier::Cased);
        let equal: Vec<String> = parts.iter().filter_map(|part| part.text.strip_prefix(&format!("{column} {} ", if cased { "==" } else { "=~" })).map(str::to_owned)).collect();
        let all = has(Modifier::All);
        let mut predicate = joined(parts, all);
        if !all && equal.len() == item.values.len() && equal.len() > 1 {
            predicate.text = format!("{column} {} ({})", if cased { "in" } else { "in~" }, equal.join(", "));
        }
        if has(Modifier::Neq) {
            predicate = negated(predicate);
        }
        Ok(predicate)
    }

    fn value(&mut self, value: &SigmaValue, item: &DetectionItem, column: &str, field: &Field) -> Result<Predicate, Refused> {
        let has = |modifier: Modifier| item.field.has_modifier(modifier);
        let open = |text: String| Ok(Predicate { text, gate: Gate::Open });
        if has(Modifier::Exists) {
            let wanted = !matches!(value, SigmaValue::Bool(false)) && value.to_string() != "false";
            let empty = Gate::test(&field.origin.names, Is::IsEmpty, Gate::All(Vec::new()));
            return Ok(Predicate { text: format!("{}({column})", if wanted { "isnotempty" } else { "isempty" }), gate: if wanted { empty.negated() } else { empty } });
        }
        if has(Modifier::FieldRef) {
            let (other, _) = self.column(&value.to_string())?;
            let operator = if has(Modifier::StartsWith) {
                "startswith"
            } else if has(Modifier::EndsWith) {
                "endswith"
            } else if has(Modifier::Contains) {
                "contains"
            } else {
                "=~"
            };
            return open(format!("{column} {operator} {other}"));
        }
        let orders = [
            (Modifier::Gte, ">=", Ordering::Greater, true),
            (Modifier::Gt, ">", Ordering::Greater, false),
            (Modifier::Lte, "<=", Ordering::Less, true),
            (Modifier::Lt, "<", Ordering::Less, false),
        ];
        if let Some((_, operator, order, or_equal)) = orders.into_iter().find(|(modifier, ..)| has(*modifier)) {
            let gate = match value.to_string().parse() {
                Ok(number) => Gate::test(&field.origin.names, Is::Number(order, or_equal, number), Gate::All(Vec::new())),
                Err(_) => Gate::Open,
            };
            return Ok(Predicate { text: format!("toreal({column}) {operator} {value}"), gate });
        }
        if has(Modifier::Cidr) {
            let family = if value.to_string().contains(':') { "ipv6" } else { "ipv4" };
            let gate = Network::parse(&value.to_string()).map_or(Gate::Open, |network| Gate::test(&field.origin.names, Is::Within(vec![network]), Gate::All(Vec::new())));
            return Ok(Predicate { text: format!("coalesce({family}_is_in_range({column}, {}), false)", literal(&value.to_string())), gate });
        }
        if has(Modifier::Re) {
            let flags: String = [(Modifier::IgnoreCase, 'i'), (Modifier::Multiline, 'm'), (Modifier::DotAll, 's')].iter().filter(|(flag, _)| has(*flag)).map(|(_, c)| *c).collect();
            let flags = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
            let expression = format!("{flags}{value}");
            let needs = Gate::any_literal(&field.origin.names, &needs::of_regex(&expression));
            return Ok(Predicate { gate: Gate::regex(&field.origin.names, &expression, needs), text: format!("{column} matches regex {}", literal(&expression)) });
        }
        if [Modifier::Minute, Modifier::Hour, Modifier::Day, Modifier::Week, Modifier::Month, Modifier::Year].into_iter().any(has) {
            return open(time_part(item, value));
        }
        let string = match value {
            SigmaValue::Null => return Ok(Predicate { text: format!("isempty({column})"), gate: Gate::test(&field.origin.names, Is::IsEmpty, Gate::All(Vec::new())) }),
            SigmaValue::String(string) => string.clone(),
            other => SigmaString::from_raw(&other.to_string()),
        };
        if string.parts.is_empty() && !has(Modifier::Contains) {
            return Ok(Predicate { text: format!("isempty({column})"), gate: Gate::test(&field.origin.names, Is::IsEmpty, Gate::All(Vec::new())) });
        }
        let tests: Vec<Test> = variants(&string, item).into_iter().map(|string| test(string, item)).collect();
        let cased = has(Modifier::Cased);
        let parts = tests
            .into_iter()
            .map(|test| match test {
                Test::Plain(text, how) => {
                    let operator = match (how, cased) {
                        (Match::Contains, false) => "contains",
                        (Match::Contains, true) => "contains_cs",
                        (Match::StartsWith, false) => "startswith",
                        (Match::StartsWith, true) => "startswith_cs",
                        (Match::EndsWith, false) => "endswith",
                        (Match::EndsWith, true) => "endswith_cs",
                        (Match::Equals, false) => "=~",
                        (Match::Equals, true) => "==",
                    };
                    let mut gate = Gate::literal(&field.origin.names, &text, how);
                    if cased {
                        gate = Gate::test(&field.origin.names, Is::Cased(text.clone(), how), gate);
                    }
                    Predicate { text: format!("{column} {operator} {}", literal(&text)), gate }
                }
                Test::Pattern(string) => {
                    let expression = pattern(&string);
                    let expression = if cased { expression.replacen("(?is)", "(?s)", 1) } else { expression };
                    let longest = string.parts.iter().filter_map(|part| if let StringPart::Plain(text) = part { Some(text) } else { None }).max_by_key(|text| text.len());
                    // What the longest text cannot tell, the expression does.
                    let needs = Gate::any_literal(&field.origin.names, longest.map_or(&[], std::slice::from_ref));
                    Predicate { gate: Gate::regex(&field.origin.names, &expression, needs), text: format!("{column} matches regex {}", literal(&expression)) }
                }
            })
            .collect();
        Ok(joined(parts, false))
    }
}

fn negated(predicate: Predicate) -> Predicate {
    Predicate { text: format!("not({})", predicate.text), gate: predicate.gate.negated() }
}

/// Columns of WindowsEvent, whose names fields may share.
const WINDOWS_COLUMNS: [&str; 20] = [
    "Channel",
    "Computer",
    "Correlation",
    "Data",
    "EventData",
    "EventID",
    "EventLevel",
    "EventLevelName",
    "EventOriginId",
    "EventRecordId",
    "Keywords",
    "Opcode",
    "Provider",
    "RawEventData",
    "SystemProcessId",
    "SystemThreadId",
    "Task",
    "TimeCreated",
    "TimeGenerated",
    "Type",
];

fn time_part(item: &DetectionItem, value: &SigmaValue) -> String {
    let (_, function) = [
        (Modifier::Minute, r#"datetime_part("minute", TimeGenerated)"#),
        (Modifier::Hour, r#"datetime_part("hour", TimeGenerated)"#),
        (Modifier::Day, r#"datetime_part("day", TimeGenerated)"#),
        (Modifier::Week, r#"datetime_part("week_of_year", TimeGenerated)"#),
        (Modifier::Month, r#"datetime_part("month", TimeGenerated)"#),
        (Modifier::Year, r#"datetime_part("year", TimeGenerated)"#),
    ]
    .into_iter()
    .find(|(modifier, _)| item.field.has_modifier(*modifier))
    .unwrap_or((Modifier::Year, "0"));
    format!("{function} == {value}")
}

/// The texts a value stands for, by the modifiers that change it.
fn variants(string: &SigmaString, item: &DetectionItem) -> Vec<SigmaString> {
    let has = |modifier: Modifier| item.field.has_modifier(modifier);
    if has(Modifier::WindAsh) {
        return windash(&string.original).iter().map(|text| SigmaString::new(text)).collect();
    }
    let encoded = has(Modifier::Base64) || has(Modifier::Base64Offset);
    if !encoded {
        return vec![string.clone()];
    }
    let plain = string.as_plain().unwrap_or_else(|| string.original.clone());
    let bytes: Vec<u8> = if has(Modifier::Wide) || has(Modifier::Utf16) {
        plain.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else if has(Modifier::Utf16be) {
        plain.encode_utf16().flat_map(u16::to_be_bytes).collect()
    } else {
        plain.into_bytes()
    };
    let engine = base64::engine::general_purpose::STANDARD;
    if !has(Modifier::Base64Offset) {
        return vec![SigmaString::from_raw(&engine.encode(bytes))];
    }
    // What the text becomes at each place in a group of three bytes: without the characters that the neighbors decide, too.
    let (starts, ends) = ([0, 2, 3], [0, 3, 2]);
    let at = |offset: usize| {
        let shifted: Vec<u8> = std::iter::repeat_n(b' ', offset).chain(bytes.iter().copied()).collect();
        let text = engine.encode(&shifted);
        let end = text.len() - ends[shifted.len() % 3];
        SigmaString::from_raw(text.get(starts[offset]..end).unwrap_or_default())
    };
    (0..3).map(at).filter(|string| !string.parts.is_empty()).collect()
}

/// A value with its modifiers: how a plain text lies in the field, or a pattern.
fn test(string: SigmaString, item: &DetectionItem) -> Test {
    let has = |modifier: Modifier| item.field.has_modifier(modifier);
    let mut parts = string.parts.clone();
    let wildcard = |part: Option<&StringPart>| matches!(part, Some(StringPart::Special(SpecialChar::WildcardMulti)));
    let (mut open_start, mut open_end) = (has(Modifier::Contains) || has(Modifier::EndsWith), has(Modifier::Contains) || has(Modifier::StartsWith));
    while wildcard(parts.first()) {
        parts.remove(0);
        open_start = true;
    }
    while wildcard(parts.last()) {
        parts.pop();
        open_end = true;
    }
    let how = match (open_start, open_end) {
        (true, true) => Match::Contains,
        (true, false) => Match::EndsWith,
        (false, true) => Match::StartsWith,
        (false, false) => Match::Equals,
    };
    let plain: Option<String> = parts.iter().map(|part| if let StringPart::Plain(text) = part { Some(text.as_str()) } else { None }).collect();
    match plain {
        Some(text) => Test::Plain(text, how),
        None => {
            let mut whole = Vec::new();
            if open_start {
                whole.push(StringPart::Special(SpecialChar::WildcardMulti));
            }
            whole.extend(parts);
            if open_end {
                whole.push(StringPart::Special(SpecialChar::WildcardMulti));
            }
            Test::Pattern(SigmaString { parts: whole, original: string.original })
        }
    }
}

fn joined(mut parts: Vec<Predicate>, and: bool) -> Predicate {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
    let text = format!("({})", texts.join(if and { " and " } else { " or " }));
    let gates = parts.into_iter().map(|part| part.gate).collect();
    Predicate { text, gate: if and { Gate::all(gates) } else { Gate::any(gates) } }
}
