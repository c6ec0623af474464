//! Many Sigma rules over one reading: each event is looked at once, whatever the number of rules.
//!
//! Every reader looks at its events itself, before they become rows. Channel, provider and event id make a class of events: which
//! rules it may match, and which of its fields they ask for, is told once. The literals of all rules make one automaton per
//! field. What it finds in an event chooses few rules, and their gates say of most of them whether they match. An event of which
//! only the query can tell becomes a row of `WindowsEvent` and waits for the rule, whose KQL then runs over the rows that wait
//! for it; a rule that nothing waits for is never planned.

mod found;
mod gates;
mod literals;

use crate::packs::Columns;
use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use found::Found;
use gates::{COLUMNS, Known, Resolved, is_own, triggers};
use literals::{Field, Remembered, is_odd};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use vidette_engine::{Clock, Table, Workspace};
use vidette_kql::fold::folded;
use vidette_rules::{Alert, Pack, SigmaRule, sigma_rules};
use vidette_sigma::{Gate, Match, Truth};
use vidette_telemetry::row::{Row, batch};
use vidette_telemetry::schemas::TABLES;
use vidette_telemetry::{Event, Watcher, windows_event};

/// Events of one reader that wait before they join those of the others.
const MOST_OWN: usize = 1024;
/// Events that wait for rules until these run.
const MOST_WAITING: usize = 16_384;
/// Event ids, and channels and providers of one, whose classes are kept: more than any machine logs.
const MOST_IDS: usize = 8192;
const MOST_OF_ID: usize = 64;
/// The weight of what every event of a class has.
const ALWAYS: f64 = 1e9;
/// Parts of texts that many events have somewhere, and the weight of such a text: more than of lists of others.
const COMMON: [&str; 11] = ["true", "false", "high", "microsoft", "windows", "system", r"\explorer.exe", r"\svchost.exe", r"\services.exe", r"\cmd.exe", r"\powershell.exe"];
const OFTEN: f64 = 1e5;
/// The field that stands for the whole of the data.
const ANYWHERE: &str = "*";

/// The Sigma rules of the packs. Says what is wrong with those that do not compile; whether there is one.
pub fn compile(packs: &mut [Pack], columns: Columns) -> (Vec<SigmaRule>, bool) {
    let mut all = Vec::new();
    let mut broken = false;
    for pack in packs {
        let (rules, problems) = sigma_rules(&mut pack.sigma, columns);
        for problem in &problems {
            say!("error: {}: {}", problem.file, problem.message);
            broken = true;
        }
        all.extend(rules);
    }
    (all, broken)
}

struct Entry<'r> {
    rule: &'r SigmaRule,
    gate: Resolved,
}

/// How many rules they are: each is there once for every table that it reads.
pub fn count<'r>(rules: impl Iterator<Item = &'r SigmaRule>) -> usize {
    rules.map(|rule| (&rule.rule.id, &rule.rule.name)).collect::<HashSet<_>>().len()
}

/// All rules over `WindowsEvent`.
pub struct Scanner<'r> {
    rules: Vec<Entry<'r>>,
    fields: Vec<Field>,
    by_name: HashMap<String, u32>,
    /// By literal: its field, how often it is there, as a guess, and the rules that cannot match without it or one of its like.
    field_of: Vec<u32>,
    weights: Vec<f64>,
    triggers: Vec<Vec<u32>>,
    /// Rules that any event may match.
    always: Vec<u32>,
    /// Events from and to these times.
    range: (Option<i64>, Option<i64>),
    gathered: Mutex<Gathered>,
    runtime: Handle,
}

/// What all readers found.
#[derive(Default)]
pub struct Gathered {
    pub alerts: Vec<Alert>,
    pub failures: Vec<String>,
    /// Rules that at least one event was a match of, or waited for.
    evaluated: Vec<bool>,
    waiting: Waiting,
    workspace: Workspace,
}

/// Events that wait, as rows, and by rule those that wait for it.
#[derive(Default)]
struct Waiting {
    rows: Vec<Row>,
    hits: Vec<Vec<u32>>,
}

/// Plans of one table and few rows: what a second pass of the optimizer finds is not worth its time.
pub fn plan_quickly(workspace: &Workspace) {
    workspace.session().state_ref().write().config_mut().options_mut().optimizer.max_passes = 1;
}

impl<'r> Scanner<'r> {
    pub fn new(rules: impl Iterator<Item = &'r SigmaRule>, range: (Option<i64>, Option<i64>)) -> Scanner<'r> {
        let mut scanner = Scanner {
            rules: Vec::new(),
            fields: Vec::new(),
            by_name: HashMap::new(),
            field_of: Vec::new(),
            weights: Vec::new(),
            triggers: Vec::new(),
            always: Vec::new(),
            range,
            gathered: Mutex::default(),
            runtime: Handle::current(),
        };
        for name in COLUMNS {
            scanner.field(name);
        }
        let mut literals = HashMap::new();
        for rule in rules {
            let gate = scanner.resolve(&rule.gate, &mut literals);
            let number = scanner.rules.len() as u32;
            match triggers(&gate, &scanner.weights) {
                Some((_, triggers)) => triggers.into_iter().for_each(|literal| scanner.triggers[literal as usize].push(number)),
                None => scanner.always.push(number),
            }
            scanner.rules.push(Entry { rule, gate });
        }
        let rules = scanner.rules.len();
        let mut gathered = scanner.gathered();
        plan_quickly(&gathered.workspace);
        gathered.evaluated = vec![false; rules];
        gathered.waiting.hits = vec![Vec::new(); rules];
        drop(gathered);
        scanner
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&mut self, gate: &Gate, literals: &mut HashMap<(String, String, Match), u32>) -> Resolved {
        match gate {
            Gate::Open => Resolved::Open,
            Gate::Shut => Resolved::Shut,
            // What decides soonest stands first.
            Gate::All(parts) => {
                let mut parts: Vec<Resolved> = parts.iter().map(|part| self.resolve(part, literals)).collect();
                parts.sort_by(|a, b| self.likelihood(a).total_cmp(&self.likelihood(b)));
                Resolved::All(parts)
            }
            Gate::Any(parts) => {
                let mut parts = gates::merged(parts.iter().map(|part| self.resolve(part, literals)));
                parts.sort_by(|a, b| self.likelihood(b).total_cmp(&self.likelihood(a)));
                if parts.len() == 1 { parts.remove(0) } else { Resolved::Any(parts) }
            }
            Gate::Not(part) => Resolved::Not(Box::new(self.resolve(part, literals))),
            Gate::Literal { fields, text, how } => {
                if fields[0] == ANYWHERE {
                    return Resolved::Anywhere(self.literal(ANYWHERE, text, *how, literals));
                }
                Resolved::Literals(fields.iter().map(|name| (self.field(name), vec![self.literal(name, text, *how, literals)])).collect())
            }
            Gate::Test { fields, test } => {
                let numbers: Vec<u32> = fields.iter().map(|field| self.field(field)).collect();
                numbers.iter().for_each(|field| self.fields[*field as usize].tested = true);
                Resolved::Test(numbers, test.clone())
            }
        }
    }

    /// How often a part is true, as a guess, in the measure of the weights of literals.
    fn likelihood(&self, part: &Resolved) -> f64 {
        match part {
            Resolved::Shut => 0.0,
            Resolved::Open | Resolved::Test(..) => ALWAYS,
            Resolved::Not(part) => (ALWAYS - self.likelihood(part)).max(0.0),
            Resolved::Anywhere(literal) => self.weights[*literal as usize],
            Resolved::Literals(columns) => columns[0].1.iter().map(|literal| self.weights[*literal as usize]).sum(),
            Resolved::All(parts) => parts.first().map_or(ALWAYS, |first| self.likelihood(first)),
            Resolved::Any(parts) => parts.iter().map(|part| self.likelihood(part)).sum(),
        }
    }

    fn field(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.fields.len() as u32;
        self.by_name.insert(name.to_owned(), number);
        self.fields.push(Field::default());
        number
    }

    fn literal(&mut self, name: &str, text: &str, how: Match, literals: &mut HashMap<(String, String, Match), u32>) -> u32 {
        let text = folded(text);
        let key = (name.to_owned(), text.clone(), how);
        if let Some(number) = literals.get(&key) {
            return *number;
        }
        let number = literals.len() as u32;
        let of = self.field(name);
        self.fields[of as usize].add(&text, how, number);
        literals.insert(key, number);
        self.field_of.push(of);
        self.triggers.push(Vec::new());
        // An event's class tells those in its own columns; of the others short ones are there more often than long ones.
        self.weights.push(match name {
            _ if is_own(of) => ALWAYS,
            _ if !text.is_ascii() => 0.01,
            _ if COMMON.iter().any(|common| text.contains(common)) => OFTEN,
            _ if text.ends_with(".exe") => 20.0,
            _ => 100.0 / text.len() as f64,
        });
        number
    }

    /// A watcher of one reader's events.
    pub fn watch(&self) -> Scan<'_, 'r> {
        let known = Known { seen: vec![0; self.triggers.len()], values: vec![(0, String::new()); self.fields.len()], ..Known::default() };
        Scan {
            scanner: self,
            classes: RefCell::default(),
            known,
            remembered: self.fields.iter().map(|_| Remembered::default()).collect(),
            asked: vec![0; self.rules.len()],
            found: Vec::new(),
            matched: Vec::new(),
            evaluated: vec![false; self.rules.len()],
            waiting: Waiting { rows: Vec::new(), hits: vec![Vec::new(); self.rules.len()] },
            alerts: Vec::new(),
        }
    }

    /// Runs all rules that events wait for. With what was found, how many rules were evaluated.
    pub fn finish(self) -> (Gathered, usize) {
        self.run(&mut self.gathered());
        let gathered = self.gathered.into_inner().unwrap_or_else(PoisonError::into_inner);
        let evaluated = self.rules.iter().zip(&gathered.evaluated).filter(|(_, evaluated)| **evaluated);
        let evaluated = count(evaluated.map(|(entry, _)| entry.rule));
        (gathered, evaluated)
    }

    fn run(&self, gathered: &mut Gathered) {
        let rows = std::mem::take(&mut gathered.waiting.rows);
        if rows.is_empty() {
            return;
        }
        let whole = match batch(&TABLES["WindowsEvent"], &rows) {
            Ok(whole) => whole,
            Err(error) => return gathered.failures.push(error.to_string()),
        };
        for (at, entry) in self.rules.iter().enumerate() {
            let hits = std::mem::take(&mut gathered.waiting.hits[at]);
            if hits.is_empty() {
                continue;
            }
            let outcome = take_record_batch(&whole, &UInt32Array::from(hits)).map_err(DataFusionError::from).and_then(|rows| register(&mut gathered.workspace, rows));
            if let Err(error) = outcome {
                gathered.failures.push(error.to_string());
                continue;
            }
            match self.runtime.block_on(vidette_rules::run(&entry.rule.rule, &gathered.workspace, &[Clock::now()])) {
                Ok(outcome) => gathered.alerts.extend(outcome.alerts),
                Err(error) => gathered.failures.push(error.to_string()),
            }
        }
    }
}

fn register(workspace: &mut Workspace, rows: RecordBatch) -> Result<(), DataFusionError> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
    workspace.register("WindowsEvent", Table::new(Arc::new(table), crate::workspace::known_columns("WindowsEvent")));
    Ok(())
}

/// Events of one channel, provider and event id.
struct Class {
    channel: String,
    provider: String,
    /// Rules that its events may match, a bit each.
    candidates: Vec<u64>,
    /// Those among them that every event of it is asked about.
    always: Vec<u32>,
    /// The literals in the events' own columns.
    literals: Vec<u32>,
    odd: bool,
    /// By field: whether a candidate asks for it.
    asks: Vec<bool>,
    /// A candidate asks for a text anywhere in the data.
    anywhere: Option<u32>,
    /// The data fields in the order in which the last event had them, with their numbers.
    names: RefCell<Vec<(String, Option<u32>)>>,
}

impl Class {
    fn new(scanner: &Scanner, own: [&str; 3]) -> Class {
        let mut literals = Vec::new();
        let mut odd = own.iter().any(|value| is_odd(value));
        for (number, value) in own.iter().enumerate() {
            odd |= !scanner.fields[number].find(value, &mut |literal| literals.push(literal));
        }
        let seen = |literal: u32| (is_own(scanner.field_of[literal as usize]) && !odd).then(|| literals.contains(&literal));
        let mut candidates = vec![0; scanner.rules.len().div_ceil(64)];
        let mut asks = vec![false; scanner.fields.len()];
        for (at, entry) in scanner.rules.iter().enumerate() {
            if entry.gate.truth_of_class(&seen) != Truth::No {
                candidates[at / 64] |= 1 << (at % 64);
                entry.gate.fields(&scanner.field_of, &mut |field| asks[field as usize] = true);
            }
        }
        let mut always: Vec<u32> = literals.iter().flat_map(|literal| &scanner.triggers[*literal as usize]).chain(&scanner.always).copied().collect();
        always.retain(|rule| has_bit(&candidates, *rule));
        always.sort_unstable();
        always.dedup();
        let anywhere = scanner.by_name.get(ANYWHERE).copied().filter(|field| asks[*field as usize]);
        Class { channel: own[0].to_owned(), provider: own[1].to_owned(), candidates, always, literals, odd, asks, anywhere, names: RefCell::default() }
    }

    fn is_empty(&self) -> bool {
        self.candidates.iter().all(|bits| *bits == 0)
    }

    /// The number of a data field that a candidate asks for; `at` is where the event has it.
    fn field(&self, scanner: &Scanner, at: usize, name: &str) -> Option<u32> {
        if let Some((_, number)) = self.names.borrow().get(at).filter(|(known, _)| known == name) {
            return *number;
        }
        // The own columns are not meant by a field of their name.
        let number = scanner.by_name.get(name).copied().filter(|field| self.asks[*field as usize] && !is_own(*field));
        let mut names = self.names.borrow_mut();
        if names.len() <= at {
            names.resize(at + 1, (String::new(), None));
        }
        names[at] = (name.to_owned(), number);
        number
    }
}

fn has_bit(bits: &[u64], at: u32) -> bool {
    bits[at as usize / 64] >> (at % 64) & 1 == 1
}

/// What one reader's events are.
pub struct Scan<'s, 'r> {
    scanner: &'s Scanner<'r>,
    /// By event id.
    classes: RefCell<HashMap<u32, Vec<Rc<Class>>>>,
    known: Known,
    /// By field.
    remembered: Vec<Remembered>,
    /// By rule: the event that was last asked about it.
    asked: Vec<u64>,
    found: Vec<u32>,
    matched: Vec<u32>,
    evaluated: Vec<bool>,
    waiting: Waiting,
    alerts: Vec<Alert>,
}

impl Scan<'_, '_> {
    fn class(&self, channel: &str, provider: &str, event_id: u32) -> Rc<Class> {
        let mut classes = self.classes.borrow_mut();
        if classes.len() > MOST_IDS {
            classes.clear();
        }
        let of_id = classes.entry(event_id).or_default();
        if let Some(class) = of_id.iter().find(|class| class.channel == channel && class.provider == provider) {
            return class.clone();
        }
        if of_id.len() > MOST_OF_ID {
            of_id.clear();
        }
        let class = Rc::new(Class::new(self.scanner, [channel, provider, &event_id.to_string()]));
        of_id.push(class.clone());
        class
    }

    fn is_in_range(&self, time_ticks: i64) -> bool {
        let (from, to) = self.scanner.range;
        from.is_none_or(|from| time_ticks >= from) && to.is_none_or(|to| time_ticks <= to)
    }

    /// Asks the rules; `row` makes the event's row when one of them cannot tell. Those that match are in `matched`.
    fn examine<'v>(&mut self, class: &Class, data: impl Iterator<Item = (&'v str, Option<&'v str>)>, row: impl FnOnce() -> Row) {
        self.find(class, data);
        let mut waits = false;
        self.matched.clear();
        for rule in &self.found {
            let entry = &self.scanner.rules[*rule as usize];
            match entry.gate.truth(&self.known) {
                Truth::No => continue,
                Truth::Yes if entry.rule.own.is_some() => self.matched.push(*rule),
                _ => {
                    waits = true;
                    self.waiting.hits[*rule as usize].push(self.waiting.rows.len() as u32);
                }
            }
            self.evaluated[*rule as usize] = true;
        }
        if waits {
            self.waiting.rows.push(row());
            if self.waiting.rows.len() == MOST_OWN {
                self.hand_over();
            }
        }
    }

    /// Notes what is known of an event, and in `found` the rules that are to be asked about it.
    fn find<'v>(&mut self, class: &Class, data: impl Iterator<Item = (&'v str, Option<&'v str>)>) {
        let Scan { scanner, known, asked, found, remembered, .. } = self;
        found.clear();
        known.event += 1;
        known.odd = class.odd;
        let event = known.event;
        for literal in &class.literals {
            known.seen[*literal as usize] = event;
        }
        for (at, (name, value)) in data.enumerate() {
            let mut note = |seen: &mut Vec<u64>, literal: u32| {
                let literal = literal as usize;
                if std::mem::replace(&mut seen[literal], event) == event {
                    return;
                }
                for rule in &scanner.triggers[literal] {
                    if std::mem::replace(&mut asked[*rule as usize], event) != event && has_bit(&class.candidates, *rule) {
                        found.push(*rule);
                    }
                }
            };
            if let Some(anywhere) = class.anywhere {
                let (field, remembered) = (&scanner.fields[anywhere as usize], &mut remembered[anywhere as usize]);
                for text in [Some(name), value].into_iter().flatten() {
                    known.odd |= is_odd(text);
                    match remembered.find(field, text) {
                        Some(literals) => literals.iter().for_each(|literal| note(&mut known.seen, *literal)),
                        None => known.odd = true,
                    }
                }
            }
            let Some(number) = class.field(scanner, at, name) else { continue };
            let (of, kept) = &mut known.values[number as usize];
            // A name that is there twice is an array to the query.
            let twice = std::mem::replace(of, event) == event;
            let Some(value) = value.filter(|_| !twice) else {
                known.odd = true;
                continue;
            };
            known.odd |= is_odd(value);
            let field = &scanner.fields[number as usize];
            if field.tested {
                kept.clear();
                kept.push_str(value);
            }
            match remembered[number as usize].find(field, value) {
                Some(literals) => literals.iter().for_each(|literal| note(&mut known.seen, *literal)),
                None => known.odd = true,
            }
        }
        if known.odd {
            // What was not found may be there: every rule is asked.
            found.clear();
            found.extend((0..scanner.rules.len() as u32).filter(|rule| has_bit(&class.candidates, *rule)));
        } else {
            found.extend(class.always.iter().filter(|rule| asked[**rule as usize] != event));
        }
    }

    fn raise(&mut self, found: &Found) {
        for rule in &self.matched {
            self.alerts.push(found.alert(self.scanner.rules[*rule as usize].rule));
        }
    }

    /// Puts what was found beside what the other readers found.
    fn hand_over(&mut self) {
        let mut gathered = self.scanner.gathered();
        let before = gathered.waiting.rows.len() as u32;
        gathered.waiting.rows.append(&mut self.waiting.rows);
        for (all, own) in gathered.waiting.hits.iter_mut().zip(&mut self.waiting.hits) {
            all.extend(own.drain(..).map(|row| row + before));
        }
        gathered.alerts.append(&mut self.alerts);
        for (all, own) in gathered.evaluated.iter_mut().zip(&self.evaluated) {
            *all |= own;
        }
        if gathered.waiting.rows.len() >= MOST_WAITING {
            self.scanner.run(&mut gathered);
        }
    }
}

impl Drop for Scan<'_, '_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Watcher for Scan<'_, '_> {
    fn wants(&self, event: &Event) -> bool {
        !self.class(&event.channel, &event.provider, event.event_id).is_empty()
    }

    fn event(&mut self, event: &Event) {
        let class = self.class(&event.channel, &event.provider, event.event_id);
        let time_ticks = event.created_ticks.or_else(|| event.time_ticks()).unwrap_or_default();
        if class.is_empty() || !self.is_in_range(time_ticks) {
            return;
        }
        let data = event.data.iter().map(|(name, value)| (name.as_ref(), Some(value.as_ref())));
        self.examine(&class, data, || windows_event(event));
        if !self.matched.is_empty() {
            self.raise(&Found::new(event, time_ticks));
        }
    }
}
