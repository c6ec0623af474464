//! Many Sigma rules over one reading: each event is looked at once, whatever the number of rules.
//!
//! The literals of all rules make one automaton per field. What it finds in an event chooses few rules, and their gates say of
//! most of them whether they match. An event of which only the query can tell waits for the rule, whose KQL then runs over the
//! events that wait for it; a rule that nothing waits for is never planned.

use crate::commands::Failure;
use crate::packs::Columns;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{cast, concat_batches, take};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::catalog::MemTable;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use vidette_engine::{Clock, Table, Workspace};
use vidette_kql::time::format_datetime;
use vidette_rules::{Alert, Pack, SigmaRule, alert_of_row, sigma_rules};
use vidette_sigma::{Gate, Match, NEARLY_ASCII, Test, Truth};

/// Events that wait for a rule until it runs.
const MOST_WAITING: usize = 16_384;
/// The events' own columns that gates ask for.
const COLUMNS: [&str; 3] = ["Channel", "Provider", "EventID"];

/// The Sigma rules of the packs. Says what is wrong with those that do not compile; whether there is one.
pub fn compile(packs: &mut [Pack], columns: Columns) -> (Vec<SigmaRule>, bool) {
    let mut all = Vec::new();
    let mut broken = false;
    for pack in packs {
        let (rules, problems) = sigma_rules(&mut pack.sigma, columns);
        for problem in &problems {
            eprintln!("error: {}: {}", problem.file, problem.message);
            broken = true;
        }
        all.extend(rules);
    }
    (all, broken)
}

/// A gate whose literals and fields are numbers.
enum Resolved {
    Open,
    Shut,
    All(Vec<Resolved>),
    Any(Vec<Resolved>),
    Not(Box<Resolved>),
    /// The literal in the first field, and in the others.
    Literal(u32, Vec<u32>),
    /// A literal somewhere in the data.
    Anywhere(u32),
    Test(Vec<u32>, Test),
}

/// What is known of an event.
struct Event<'e> {
    number: u64,
    /// By literal: the event in which it was seen last.
    seen: &'e [u64],
    values: &'e Values,
}

/// The values of an event by the numbers of their fields.
#[derive(Default)]
struct Values {
    /// The event and the value of each field.
    by_field: Vec<(u64, String)>,
    /// A field has something else than a text, or letters that no search for ASCII finds though they are the same to KQL.
    odd: bool,
}

impl Values {
    fn get(&self, event: u64, field: u32) -> &str {
        match self.by_field.get(field as usize) {
            Some((of, value)) if *of == event => value,
            _ => "",
        }
    }
}

impl Resolved {
    fn truth(&self, event: &Event) -> Truth {
        let seen = |literal: &u32| event.seen[*literal as usize] == event.number;
        // Of values that are no texts the query tells.
        let absent = if event.values.odd { Truth::Unknown } else { Truth::No };
        match self {
            Resolved::Open => Truth::Unknown,
            Resolved::Shut => Truth::No,
            Resolved::All(parts) => Truth::all(parts.iter().map(|part| part.truth(event))),
            Resolved::Any(parts) => Truth::any(parts.iter().map(|part| part.truth(event))),
            Resolved::Not(part) => part.truth(event).negated(),
            Resolved::Literal(first, others) => match (seen(first), others.iter().any(seen)) {
                (true, _) => Truth::Yes,
                // The first field may have another value.
                (false, true) => Truth::Unknown,
                (false, false) => absent,
            },
            Resolved::Anywhere(literal) => {
                if seen(literal) {
                    Truth::Unknown
                } else {
                    absent
                }
            }
            Resolved::Test(..) if event.values.odd => Truth::Unknown,
            Resolved::Test(fields, test) => {
                let value = fields.iter().map(|field| event.values.get(event.number, *field)).find(|value| !value.is_empty());
                Truth::of(test.holds(value.unwrap_or("")))
            }
        }
    }
}

/// The literals that are looked for in one field.
#[derive(Default)]
struct Field {
    texts: Vec<String>,
    by_text: HashMap<String, usize>,
    /// By text: how it may lie, and the number of the literal.
    uses: Vec<Vec<(Match, u32)>>,
    automaton: Option<AhoCorasick>,
    /// Its number, when a test asks for its value.
    number: Option<u32>,
}

struct Waiting<'r> {
    rule: &'r SigmaRule,
    gate: Resolved,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Of the batch that is looked at.
    hits: Vec<u32>,
}

/// All rules over `WindowsEvent`.
pub struct Scanner<'r> {
    rules: Vec<Waiting<'r>>,
    fields: HashMap<String, Field>,
    /// By literal: the rules that cannot match without it, or one of its like.
    triggers: Vec<Vec<u32>>,
    /// Rules that any event may match.
    always: Vec<u32>,
    /// By literal and by rule: the event in which it was seen last.
    seen: Vec<u64>,
    asked: Vec<u64>,
    event: u64,
    /// How often each literal is there, as a guess.
    weights: Vec<f64>,
    /// Rules that at least one event was a match of, or waited for.
    evaluated: Vec<bool>,
    values: Values,
    workspace: Workspace,
    pub alerts: Vec<Alert>,
    pub failures: Vec<String>,
}

/// Plans of one table and few rows: what a second pass of the optimizer finds is not worth its time.
pub fn plan_quickly(workspace: &Workspace) {
    workspace.session().state_ref().write().config_mut().options_mut().optimizer.max_passes = 1;
}

impl<'r> Scanner<'r> {
    pub fn new(rules: impl Iterator<Item = &'r SigmaRule>) -> Result<Scanner<'r>, Failure> {
        let workspace = Workspace::default();
        plan_quickly(&workspace);
        let mut scanner = Scanner {
            rules: Vec::new(),
            fields: HashMap::new(),
            triggers: Vec::new(),
            always: Vec::new(),
            seen: Vec::new(),
            asked: Vec::new(),
            event: 0,
            weights: Vec::new(),
            evaluated: Vec::new(),
            values: Values::default(),
            workspace,
            alerts: Vec::new(),
            failures: Vec::new(),
        };
        let mut literals = HashMap::new();
        for rule in rules {
            let gate = scanner.resolve(&rule.gate, &mut literals);
            let number = scanner.rules.len() as u32;
            match triggers(&gate, &scanner.weights) {
                Some((_, triggers)) => triggers.into_iter().for_each(|literal| scanner.triggers[literal as usize].push(number)),
                None => scanner.always.push(number),
            }
            scanner.rules.push(Waiting { rule, gate, batches: Vec::new(), rows: 0, hits: Vec::new() });
        }
        for field in scanner.fields.values_mut() {
            let automaton = AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::ContiguousNFA)).build(&field.texts);
            field.automaton = Some(automaton.map_err(|error| Failure::usage(error.to_string()))?);
        }
        scanner.seen = vec![0; scanner.triggers.len()];
        scanner.asked = vec![0; scanner.rules.len()];
        scanner.evaluated = vec![false; scanner.rules.len()];
        Ok(scanner)
    }

    fn resolve(&mut self, gate: &Gate, literals: &mut HashMap<(String, String, Match), u32>) -> Resolved {
        match gate {
            Gate::Open => Resolved::Open,
            Gate::Shut => Resolved::Shut,
            Gate::All(parts) => Resolved::All(parts.iter().map(|part| self.resolve(part, literals)).collect()),
            Gate::Any(parts) => Resolved::Any(parts.iter().map(|part| self.resolve(part, literals)).collect()),
            Gate::Not(part) => Resolved::Not(Box::new(self.resolve(part, literals))),
            Gate::Literal { fields, text, how } => {
                let mut numbers = fields.iter().map(|field| self.literal(field, text, *how, literals)).collect::<Vec<_>>();
                let first = numbers.remove(0);
                if fields[0] == "*" { Resolved::Anywhere(first) } else { Resolved::Literal(first, numbers) }
            }
            Gate::Test { fields, test } => Resolved::Test(fields.iter().map(|field| self.field_number(field)).collect(), test.clone()),
        }
    }

    fn field_number(&mut self, name: &str) -> u32 {
        let next = self.values.by_field.len() as u32;
        let number = *self.fields.entry(name.to_owned()).or_default().number.get_or_insert(next);
        if number == next {
            self.values.by_field.push((0, String::new()));
        }
        number
    }

    fn literal(&mut self, name: &str, text: &str, how: Match, literals: &mut HashMap<(String, String, Match), u32>) -> u32 {
        let key = (name.to_owned(), text.to_owned(), how);
        if let Some(number) = literals.get(&key) {
            return *number;
        }
        let number = literals.len() as u32;
        let field = self.fields.entry(name.to_owned()).or_default();
        let at = *field.by_text.entry(text.to_owned()).or_insert_with(|| {
            field.texts.push(text.to_owned());
            field.uses.push(Vec::new());
            field.texts.len() - 1
        });
        field.uses[at].push((how, number));
        literals.insert(key, number);
        self.triggers.push(Vec::new());
        // Those of the log source are always there, short ones more often than long ones.
        self.weights.push(match name {
            "Channel" | "Provider" => 1000.0,
            "EventID" => 300.0,
            _ if text.ends_with(".exe") => 20.0,
            _ => 100.0 / text.len() as f64,
        });
        number
    }

    /// Looks at the rows of a batch of `WindowsEvent`, as far as they are from this time.
    pub async fn look(&mut self, batch: &RecordBatch, (from, to): (Option<i64>, Option<i64>)) -> Result<(), Failure> {
        let wrong = |error: datafusion::arrow::error::ArrowError| Failure::usage(error.to_string());
        let text = |name: &str| -> Result<ArrayRef, Failure> {
            let column = batch.column_by_name(name).ok_or_else(|| Failure::usage(format!("no column {name}")))?;
            cast(column, &DataType::Utf8).map_err(wrong)
        };
        let own = [text(COLUMNS[0])?, text(COLUMNS[1])?, text(COLUMNS[2])?];
        let data = text("EventData")?;
        let data = data.as_string::<i32>();
        let times = batch.column_by_name("TimeGenerated").filter(|_| from.is_some() || to.is_some()).map(|times| times.as_primitive::<Int64Type>().clone());
        for row in 0..batch.num_rows() {
            if times.as_ref().is_some_and(|times| from.is_some_and(|from| times.value(row) < from) || to.is_some_and(|to| times.value(row) > to)) {
                continue;
            }
            self.event += 1;
            self.values.odd = false;
            let mut found = Vec::new();
            for (name, values) in COLUMNS.iter().zip(&own) {
                self.find(name, values.as_string::<i32>().value(row), &mut found);
            }
            if data.is_valid(row) {
                self.find("*", data.value(row), &mut found);
                for (name, value) in sonic_rs::to_object_iter(data.value(row)).flatten() {
                    match sonic_rs::JsonValueTrait::as_str(&value) {
                        Some(value) => self.find(&name, value, &mut found),
                        None => self.values.odd |= !sonic_rs::JsonValueTrait::is_null(&value) && self.fields.contains_key(name.as_ref()),
                    }
                }
            }
            if self.values.odd {
                // What was not found may be there: every rule is asked.
                found = (0..self.rules.len() as u32).collect();
            } else {
                found.extend(&self.always);
            }
            let mut matched = Vec::new();
            for rule in found {
                let waiting = &mut self.rules[rule as usize];
                match waiting.gate.truth(&Event { number: self.event, seen: &self.seen, values: &self.values }) {
                    Truth::No => continue,
                    Truth::Yes if waiting.rule.own.is_some() => matched.push(rule),
                    _ => waiting.hits.push(row as u32),
                }
                self.evaluated[rule as usize] = true;
            }
            if !matched.is_empty() {
                let row = Row::read(batch, row, data.value(row)).ok_or_else(|| Failure::usage("WindowsEvent without its columns"))?;
                self.alerts.extend(matched.into_iter().map(|rule| row.alert(self.rules[rule as usize].rule)));
            }
        }
        for rule in self.rules.iter_mut().filter(|rule| !rule.hits.is_empty()) {
            let rows = UInt32Array::from(std::mem::take(&mut rule.hits));
            rule.rows += rows.len();
            let columns = batch.columns().iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            rule.batches.push(RecordBatch::try_new(batch.schema(), columns).map_err(wrong)?);
        }
        for rule in 0..self.rules.len() {
            if self.rules[rule].rows >= MOST_WAITING {
                self.run(rule).await;
            }
        }
        Ok(())
    }

    /// Notes the literals in a value, and the rules that they may open.
    fn find(&mut self, name: &str, value: &str, found: &mut Vec<u32>) {
        let Some(field) = self.fields.get(name) else { return };
        self.values.odd |= !value.is_ascii() && value.contains(NEARLY_ASCII);
        if let Some((of, kept)) = field.number.and_then(|number| self.values.by_field.get_mut(number as usize)) {
            *of = self.event;
            kept.clear();
            kept.push_str(value);
        }
        let Some(automaton) = &field.automaton else { return };
        for hit in automaton.find_overlapping_iter(value) {
            for (how, literal) in &field.uses[hit.pattern().as_usize()] {
                let lies = match how {
                    Match::Contains => true,
                    Match::StartsWith => hit.start() == 0,
                    Match::EndsWith => hit.end() == value.len(),
                    Match::Equals => hit.start() == 0 && hit.end() == value.len(),
                };
                let at = *literal as usize;
                if lies && self.seen[at] != self.event {
                    self.seen[at] = self.event;
                    for rule in &self.triggers[at] {
                        if self.asked[*rule as usize] != self.event {
                            self.asked[*rule as usize] = self.event;
                            found.push(*rule);
                        }
                    }
                }
            }
        }
    }

    /// Runs all rules that events wait for. Gives how many rules any event was near to.
    pub async fn finish(&mut self) -> usize {
        for rule in 0..self.rules.len() {
            if self.rules[rule].rows > 0 {
                self.run(rule).await;
            }
        }
        self.evaluated.iter().filter(|evaluated| **evaluated).count()
    }

    async fn run(&mut self, rule: usize) {
        let waiting = &mut self.rules[rule];
        let batches = std::mem::take(&mut waiting.batches);
        waiting.rows = 0;
        let (sigma, Some(first)) = (waiting.rule, batches.first()) else { return };
        let outcome = async {
            let whole = concat_batches(&first.schema(), &batches)?;
            let table = MemTable::try_new(first.schema(), vec![vec![whole]])?;
            let schema = crate::workspace::known_columns("WindowsEvent");
            self.workspace.register("WindowsEvent", Table::new(Arc::new(table), schema));
            Ok::<(), datafusion::error::DataFusionError>(())
        };
        if let Err(error) = outcome.await {
            self.failures.push(error.to_string());
            return;
        }
        match vidette_rules::run(&sigma.rule, &self.workspace, &[Clock::now()]).await {
            Ok(found) => self.alerts.extend(found),
            Err(error) => self.failures.push(error.to_string()),
        }
    }
}

/// An event that rules match, as their queries would give it.
struct Row {
    time_ticks: i64,
    columns: Map<String, Value>,
    data: Map<String, Value>,
}

impl Row {
    fn read(batch: &RecordBatch, row: usize, data: &str) -> Option<Row> {
        let text = |name: &str| -> Option<String> {
            let column = cast(&batch.column_by_name(name)?.slice(row, 1), &DataType::Utf8).ok()?;
            let column = column.as_string::<i32>();
            Some(if column.is_null(0) { String::new() } else { column.value(0).to_owned() })
        };
        let mut columns = Map::new();
        for name in ["Computer", "Channel", "Provider", "EventRecordId"] {
            columns.insert(name.to_owned(), text(name)?.into());
        }
        columns.insert("EventID".to_owned(), text("EventID")?.parse::<i64>().map_or(Value::Null, Value::from));
        let time_ticks = batch.column_by_name("TimeGenerated")?.as_primitive_opt::<Int64Type>()?.value(row);
        Some(Row { time_ticks, columns, data: serde_json::from_str(data).unwrap_or_default() })
    }

    /// The first of the fields that is not empty.
    fn first(&self, fields: &[String]) -> String {
        let text = |field: &String| match self.columns.get(field).or_else(|| self.data.get(field))? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        fields.iter().filter_map(text).find(|text| !text.is_empty()).unwrap_or_default()
    }

    fn alert(&self, sigma: &SigmaRule) -> Alert {
        let mut shown = Map::new();
        shown.insert("Timestamp".to_owned(), format_datetime(self.time_ticks).into());
        for name in ["Computer", "Channel", "EventID", "EventRecordId"] {
            shown.insert(name.to_owned(), self.columns[name].clone());
        }
        for (name, fields) in sigma.own.iter().flatten() {
            shown.insert(name.clone(), self.first(fields).into());
        }
        shown.insert("EventData".to_owned(), Value::Object(self.data.clone()));
        alert_of_row(&sigma.rule, shown, Clock::at(self.time_ticks))
    }
}

/// The cheapest literals of which one must occur; `None` when there are none.
fn triggers(gate: &Resolved, weights: &[f64]) -> Option<(f64, Vec<u32>)> {
    match gate {
        Resolved::Open | Resolved::Not(_) | Resolved::Test(..) => None,
        Resolved::Shut => Some((0.0, Vec::new())),
        Resolved::Anywhere(literal) => Some((weights[*literal as usize], vec![*literal])),
        Resolved::Literal(first, others) => {
            let literals: Vec<u32> = std::iter::once(*first).chain(others.iter().copied()).collect();
            Some((literals.iter().map(|literal| weights[*literal as usize]).sum(), literals))
        }
        Resolved::All(parts) => parts.iter().filter_map(|part| triggers(part, weights)).min_by(|a, b| a.0.total_cmp(&b.0)),
        Resolved::Any(parts) => {
            let mut all = (0.0, Vec::new());
            for part in parts {
                let (weight, literals) = triggers(part, weights)?;
                all.0 += weight;
                all.1.extend(literals);
            }
            all.1.sort_unstable();
            all.1.dedup();
            Some(all)
        }
    }
}
