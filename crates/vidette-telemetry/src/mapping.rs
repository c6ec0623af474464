//! The mapping of events to tables as data: `mappings/*.txt`, a block per event.
//!
//! ```text
//! provider Microsoft-Windows-Sysmon
//! 11,29 DeviceFileEvents FileCreated : what it is, in plain words
//!   file TargetFilename
//!   RegistryValueType Details/valuetype
//!   +Reason Reason or "none"
//! ```
//!
//! The head names event ids, the table, the `ActionType` and the signal. A line below it fills a column (`+Name` a property
//! of `AdditionalFields`), or several in a way that many events share: [`Step`]. A value is a field, a `"constant"` or
//! `@pid` (the process that wrote the event); `[Field Name]` where the name holds blanks; `/conversion` changes it,
//! `{a=b *=c}` replaces it, `or` gives what to take when it is empty, `-` is nothing.

use crate::convert;
use crate::event::{Event, number, parse_time};
use crate::normalize::columns::{account, address, connection, file_name, hashes, initiating, process_guid, start};
use crate::row::{Field, Row};
use crate::schemas::{ColumnType, TABLES, TableSchema};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The event ids of one provider that make the same row.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) provider: &'static str,
    pub(crate) event_ids: Vec<u32>,
    pub(crate) table: &'static TableSchema,
    action: Value,
    /// What the event tells, in plain words.
    pub(crate) signal: &'static str,
    /// Each with the places of the columns that it may fill.
    steps: Vec<(Step, Vec<usize>)>,
}

/// A line of a block.
#[derive(Debug)]
enum Step {
    Column(usize, Value),
    /// A property of `AdditionalFields`.
    Property(&'static str, Value),
    /// `process image pid guid user`: the `InitiatingProcess*` columns.
    Process([Value; 4]),
    /// `by Subject`: the account of the initiating process, from the fields of that prefix.
    By(Account),
    /// `who Target`: the account the event is about.
    Who(Account),
    /// `account DOMAIN\user`
    Account(Value),
    /// `file path`: `FolderPath` and `FileName`.
    File(Value),
    Hashes(Value),
    /// `registry path kind`: of a `value`, the last part is its name.
    Registry([Value; 2]),
    /// `remote address port device`
    Remote([Value; 3]),
    /// `flow source port destination port direction`
    Flow([Value; 5]),
}

/// The fields that name an account.
#[derive(Debug)]
struct Account {
    domain: String,
    name: String,
    user_sid: String,
    sid: String,
    logon_id: String,
}

impl Account {
    fn of(prefix: &str) -> Account {
        let field = |suffix: &str| format!("{prefix}{suffix}");
        Account { domain: field("DomainName"), name: field("UserName"), user_sid: field("UserSid"), sid: field("Sid"), logon_id: field("LogonId") }
    }
}

/// The first alternative that is not empty.
#[derive(Debug, Default)]
struct Value(Vec<Alternative>);

#[derive(Debug)]
struct Alternative {
    source: Source,
    convert: Option<convert::Conversion>,
    /// Replacements; `*` stands for any other text.
    replace: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
enum Source {
    Field(&'static str),
    Constant(&'static str),
    ProcessId,
}

impl Value {
    fn of<'e>(&'e self, event: &'e Event) -> Cow<'e, str> {
        self.0.iter().map(|alternative| alternative.of(event)).find(|text| !text.is_empty()).unwrap_or_default()
    }
}

impl Alternative {
    fn of<'e>(&'e self, event: &'e Event) -> Cow<'e, str> {
        let mut text: Cow<'e, str> = match self.source {
            Source::Field(name) => Cow::Borrowed(event.get(name)),
            Source::Constant(text) => Cow::Borrowed(text),
            Source::ProcessId if event.execution_process_id != 0 => Cow::Owned(event.execution_process_id.to_string()),
            Source::ProcessId => Cow::Borrowed(""),
        };
        if text.is_empty() {
            return text;
        }
        if let Some(convert) = self.convert {
            text = match text {
                Cow::Borrowed(text) => convert(text),
                Cow::Owned(text) => Cow::Owned(convert(&text).into_owned()),
            };
        }
        if self.replace.is_empty() {
            return text;
        }
        let found = self.replace.iter().find(|(from, _)| text.eq_ignore_ascii_case(from) || *from == "*");
        Cow::Borrowed(found.map_or("", |(_, to)| to))
    }
}

impl Mapping {
    /// The `ActionType` of all its rows, when there is only one.
    pub(crate) fn action(&self) -> Option<&'static str> {
        match &self.action.0[..] {
            [Alternative { source: Source::Constant(text), convert: None, replace }] if replace.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The row that the event makes; of columns that are told one by one which are asked for, those.
    pub(crate) fn row(&self, event: &Event, asked: Option<&[bool]>) -> Row {
        let mut row = start(self.table, &self.action.of(event), event);
        let mut bag = serde_json::Map::new();
        for (step, _) in self.steps.iter().filter(|(_, columns)| asked.is_none_or(|asked| columns.iter().any(|at| asked[*at]))) {
            step.fill(event, &mut row, &mut bag);
        }
        if !bag.is_empty() {
            row.set("AdditionalFields", Field::Json(serde_json::Value::Object(bag).to_string()));
        }
        row
    }
}

impl Step {
    /// The places of the columns that it may fill, in a table.
    fn columns(&self, table: &'static TableSchema) -> Vec<usize> {
        let names: &[&str] = match self {
            Step::Column(at, _) => return vec![*at],
            Step::Property(..) => &["AdditionalFields"],
            Step::Process(_) => &[
                "InitiatingProcessFileName",
                "InitiatingProcessFolderPath",
                "InitiatingProcessId",
                "InitiatingProcessUniqueId",
                "InitiatingProcessAccountDomain",
                "InitiatingProcessAccountName",
            ],
            Step::By(_) => &["InitiatingProcessAccountDomain", "InitiatingProcessAccountName", "InitiatingProcessAccountSid", "InitiatingProcessLogonId"],
            Step::Who(_) => &["AccountDomain", "AccountName", "AccountSid"],
            Step::Account(_) => &["AccountDomain", "AccountName"],
            Step::File(_) => &["FileName", "FolderPath"],
            Step::Hashes(_) => &["SHA1", "SHA256", "MD5"],
            Step::Registry(_) => &["RegistryKey", "RegistryValueName"],
            Step::Remote(_) => &["RemoteIP", "RemoteIPType", "RemotePort", "RemoteDeviceName"],
            Step::Flow(_) => &["LocalIP", "LocalPort", "LocalIPType", "RemoteIP", "RemotePort", "RemoteIPType", "Protocol"],
        };
        names.iter().filter_map(|name| table.position(name)).collect()
    }

    fn fill(&self, event: &Event, row: &mut Row, bag: &mut serde_json::Map<String, serde_json::Value>) {
        match self {
            Step::Column(at, value) => {
                let text = value.of(event);
                if let Some(field) = typed(row.table.columns[*at].ty, &text) {
                    row.set_at(*at, field);
                }
            }
            Step::Property(name, value) => {
                let text = value.of(event);
                if !text.is_empty() {
                    let value = if text.starts_with('[') { serde_json::from_str(&text).ok() } else { None };
                    bag.insert((*name).to_owned(), value.unwrap_or_else(|| text.into()));
                }
            }
            Step::Process([image, id, guid, user]) => initiating(row, &image.of(event), number(&id.of(event)), &process_guid(&guid.of(event)), &user.of(event)),
            Step::By(account) => {
                row.text("InitiatingProcessAccountDomain", event.get(&account.domain).to_lowercase());
                row.text("InitiatingProcessAccountName", event.get(&account.name).to_lowercase());
                row.text("InitiatingProcessAccountSid", event.get(&account.user_sid));
                row.long("InitiatingProcessLogonId", number(event.get(&account.logon_id)));
            }
            Step::Who(account) => {
                row.text("AccountDomain", event.get(&account.domain).to_lowercase()).text("AccountName", event.get(&account.name).to_lowercase());
                let sid = event.get(&account.user_sid);
                row.text("AccountSid", if sid.is_empty() { event.get(&account.sid) } else { sid });
            }
            Step::Account(user) => {
                let (domain, name) = account(&user.of(event));
                row.text("AccountDomain", domain).text("AccountName", name);
            }
            Step::File(path) => {
                let path = path.of(event);
                row.text("FileName", file_name(&path)).text("FolderPath", path.as_ref());
            }
            Step::Hashes(text) => hashes(row, "", &text.of(event)),
            Step::Registry([path, kind]) => {
                let path = path.of(event);
                let whole = convert::hive(&path);
                match whole.rsplit_once('\\').filter(|_| kind.of(event) == "value") {
                    Some((key, name)) => row.text("RegistryKey", key).text("RegistryValueName", name),
                    None => row.text("RegistryKey", whole.as_ref()),
                };
            }
            Step::Remote([ip, port, device]) => {
                address(row, "Remote", &ip.of(event), number(&port.of(event)));
                row.text("RemoteDeviceName", device.of(event).as_ref());
            }
            Step::Flow([source, source_port, destination, destination_port, direction]) => {
                let (source, destination) = (source.of(event), destination.of(event));
                let ends = ((&*source, number(&source_port.of(event))), (&*destination, number(&destination_port.of(event))));
                connection(row, direction.of(event) == "out", ends.0, ends.1, "");
            }
        }
    }
}

/// A text as a column's type; nothing when it is empty or is no such value.
pub(crate) fn typed(ty: ColumnType, text: &str) -> Option<Field> {
    if text.is_empty() {
        return None;
    }
    match ty {
        ColumnType::Int | ColumnType::Long => number(text).map(Field::Long),
        ColumnType::DateTime => parse_time(text).map(Field::Ticks),
        ColumnType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(Field::Bool(true)),
            "false" | "0" => Some(Field::Bool(false)),
            _ => None,
        },
        ColumnType::Real | ColumnType::Decimal => text.parse().ok().map(Field::Real),
        ColumnType::Dynamic => Some(Field::Json(serde_json::Value::from(text).to_string())),
        ColumnType::String | ColumnType::Guid | ColumnType::TimeSpan => Some(Field::Text(text.into())),
    }
}

/// All mappings, in the order of the files.
pub(crate) static MAPPINGS: LazyLock<Vec<Mapping>> = LazyLock::new(|| FILES.iter().flat_map(|text| parse(text).unwrap_or_default()).collect());

const FILES: &[&str] = &[include_str!("../mappings/sysmon.txt"), include_str!("../mappings/security.txt"), include_str!("../mappings/windows.txt")];

/// The mappings of one file, or the line that is wrong and why.
fn parse(text: &'static str) -> Result<Vec<Mapping>, String> {
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut provider = "";
    for (at, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}: {line}", at + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("provider ") {
            provider = name;
        } else if line.starts_with(' ') {
            let mapping = mappings.last_mut().ok_or_else(|| wrong("a line before the first event"))?;
            let step = step(mapping.table, line.trim()).map_err(|what| wrong(&what))?;
            let columns = step.columns(mapping.table);
            mapping.steps.push((step, columns));
        } else {
            let (head, signal) = line.split_once(" : ").ok_or_else(|| wrong("` : ` and what it is are missing"))?;
            let mut parts = head.splitn(3, ' ');
            let (Some(ids), Some(table), Some(action)) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong("event ids, table and ActionType are wanted")) };
            let event_ids = ids.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong("an event id is a number"))?;
            let table = TABLES.get(table).ok_or_else(|| wrong("unknown table"))?;
            let action = if action.contains('{') { value(action)? } else { constant(action.trim_matches('"')) };
            mappings.push(Mapping { provider, event_ids, table, action, signal, steps: Vec::new() });
        }
    }
    Ok(mappings)
}

fn step(table: &'static TableSchema, line: &'static str) -> Result<Step, String> {
    let (name, rest) = line.split_once(' ').ok_or("a value is missing")?;
    fn array<const N: usize>(text: &'static str) -> Result<[Value; N], String> {
        values(text)?.try_into().map_err(|values: Vec<Value>| format!("{N} values are wanted, {} are given", values.len()))
    }
    Ok(match name {
        "process" => Step::Process(array(rest)?),
        "registry" => Step::Registry(array(rest)?),
        "remote" => Step::Remote(array(rest)?),
        "flow" => Step::Flow(array(rest)?),
        "by" => Step::By(Account::of(rest)),
        "who" => Step::Who(Account::of(rest)),
        "account" => Step::Account(value(rest)?),
        "file" => Step::File(value(rest)?),
        "hashes" => Step::Hashes(value(rest)?),
        _ => match name.strip_prefix('+') {
            Some(property) => Step::Property(property, value(rest)?),
            None => Step::Column(table.position(name).ok_or_else(|| format!("{} has no column {name}", table.name))?, value(rest)?),
        },
    })
}

fn value(text: &'static str) -> Result<Value, String> {
    let [value] = values(text)?.try_into().map_err(|values: Vec<Value>| format!("one value is wanted, {} are given", values.len()))?;
    Ok(value)
}

/// Values side by side, each with its alternatives.
fn values(text: &'static str) -> Result<Vec<Value>, String> {
    let mut values: Vec<Value> = Vec::new();
    let mut joins = false;
    for word in words(text) {
        if word == "or" {
            joins = true;
            continue;
        }
        if !std::mem::take(&mut joins) || values.is_empty() {
            values.push(Value::default());
        }
        if let Some(value) = values.last_mut() {
            value.0.extend(alternative(word)?);
        }
    }
    Ok(values)
}

fn constant(text: &'static str) -> Value {
    Value(vec![Alternative { source: Source::Constant(text), convert: None, replace: Vec::new() }])
}

/// `None` for `-`, which is nothing.
fn alternative(word: &'static str) -> Result<Option<Alternative>, String> {
    if word == "-" {
        return Ok(None);
    }
    if let Some(text) = word.strip_prefix('"') {
        return Ok(constant(text.trim_end_matches('"')).0.pop());
    }
    let (word, replace) = match word.split_once('{') {
        Some((word, pairs)) => {
            let pair = |pair: &'static str| pair.split_once('=').ok_or_else(|| format!("`{pair}` is not `from=to`"));
            (word, pairs.trim_end_matches('}').split_whitespace().map(pair).collect::<Result<_, _>>()?)
        }
        None => (word, Vec::new()),
    };
    let (word, convert) = match word.split_once('/') {
        Some((word, name)) => (word, Some(convert::find(name).ok_or_else(|| format!("unknown conversion `{name}`"))?)),
        None => (word, None),
    };
    let source = if word == "@pid" { Source::ProcessId } else { Source::Field(word.trim_matches(['[', ']'])) };
    Ok(Some(Alternative { source, convert, replace }))
}

/// Words between blanks; blanks inside quotes, brackets and braces do not part.
fn words(text: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    let (mut from, mut depth, mut quoted) = (0, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ' ' if depth == 0 && !quoted => {
                words.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    words.push(&text[from..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Step {
        /// The fields that it reads.
        fn fields(&self) -> Vec<String> {
            let values: Vec<&Value> = match self {
                Step::Column(_, value) | Step::Property(_, value) | Step::Account(value) | Step::File(value) | Step::Hashes(value) => vec![value],
                Step::Process(values) => values.iter().collect(),
                Step::Registry(values) => values.iter().collect(),
                Step::Remote(values) => values.iter().collect(),
                Step::Flow(values) => values.iter().collect(),
                Step::By(account) | Step::Who(account) => {
                    return [&account.domain, &account.name, &account.user_sid, &account.sid, &account.logon_id].into_iter().cloned().collect();
                }
            };
            let field = |alternative: &Alternative| match alternative.source {
                Source::Field(name) => Some(name.to_owned()),
                _ => None,
            };
            values.into_iter().flat_map(|value| value.0.iter().filter_map(field)).collect()
        }
    }

    #[test]
    fn every_line_of_the_mappings_is_read() {
        for text in FILES {
            let mappings = parse(text).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(mappings.iter().all(|mapping| !mapping.provider.is_empty()));
        }
    }

    /// A row of few columns has in them what the whole row has.
    #[test]
    fn what_is_not_asked_for_is_not_made() {
        for mapping in MAPPINGS.iter() {
            let value = |name: &str| if name.contains("Ip") || name.contains("Address") { "10.0.0.1".to_owned() } else { format!("A\\{name}") };
            let fields = mapping.steps.iter().flat_map(|(step, _)| step.fields()).map(|name| (Cow::Owned(name.clone()), Cow::Owned(value(&name))));
            let event = Event { event_id: mapping.event_ids[0], data: fields.collect(), ..Event::default() };
            let whole = mapping.row(&event, None);
            for (at, column) in mapping.table.columns.iter().enumerate() {
                let asked: Vec<bool> = (0..mapping.table.columns.len()).map(|place| place == at).collect();
                assert_eq!(mapping.row(&event, Some(&asked)).get(column.name), whole.get(column.name), "{} {:?} {}", mapping.provider, mapping.event_ids, column.name);
            }
        }
    }

    #[test]
    fn what_is_wrong_in_a_mapping_is_named() {
        for (text, what) in [
            ("1 DeviceEvents X : x\n  Nothing Field", "line 2: DeviceEvents has no column Nothing"),
            ("1 Devices X : x", "line 1: unknown table"),
            ("1 DeviceEvents X : x\n  FileName Field/upside", "unknown conversion `upside`"),
            ("1 DeviceEvents X : x\n  process Image", "4 values are wanted, 1 are given"),
        ] {
            let error = parse(text).err().unwrap_or_default();
            assert!(error.contains(what), "{error}");
        }
    }
}
