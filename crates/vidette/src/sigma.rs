//! Many Sigma rules over one reading: each event is looked at once, whatever the number of rules.
//!
//! Every reader looks at its events itself, before they become rows. Channel, provider and event id make a class of events: which
//! rules it may match, and which of its fields they ask for, is told once. The literals of all rules make one automaton per
//! field. What it finds in an event chooses few rules, and their gates say of most of them whether they match. An event of which
//! only the query can tell becomes a row of `WindowsEvent` and waits for the rule, whose KQL then runs over the rows that wait
//! for it; a rule that nothing waits for is never planned.

use crate::packs::Columns;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::runtime::Handle;
use vidette_engine::{Clock, Table, Workspace};
use vidette_kql::time::format_datetime;
use vidette_rules::{Alert, Pack, SigmaRule, alert_of_row, sigma_rules};
use vidette_sigma::{Gate, Match, NEARLY_ASCII, Test, Truth};
use vidette_telemetry::row::{Field as Cell, Row, batch};
use vidette_telemetry::schemas::TABLES;
use vidette_telemetry::{Event, Watcher, windows_event};

/// Events of one reader that wait before they join those of the others.
const MOST_OWN: usize = 1024;
/// Events that wait for rules until these run.
const MOST_WAITING: usize = 16_384;
/// The events' own columns that gates ask for; their fields have these numbers.
const COLUMNS: [&str; 3] = ["Channel", "Provider", "EventID"];
/// The weight of what every event of a class has.
const ALWAYS: f64 = 1e9;
/// The field that stands for the whole of the data.
const ANYWHERE: &str = "*";

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
#[derive(Default)]
struct Known {
    event: u64,
    /// By literal: the event in which it was seen last.
    seen: Vec<u64>,
    /// By field: the event that had it last, and of fields that are tested its value there.
    values: Vec<(u64, String)>,
    /// A field has something else than a text, or letters that no search for ASCII finds though they are the same to KQL.
    odd: bool,
}

impl Known {
    fn saw(&self, literal: u32) -> bool {
        self.seen[literal as usize] == self.event
    }

    fn value(&self, field: u32) -> &str {
        match &self.values[field as usize] {
            (of, value) if *of == self.event => value,
            _ => "",
        }
    }
}

impl Resolved {
    fn truth(&self, known: &Known) -> Truth {
        // Of values that are no texts the query tells.
        let absent = if known.odd { Truth::Unknown } else { Truth::No };
        match self {
            Resolved::Open => Truth::Unknown,
            Resolved::Shut => Truth::No,
            Resolved::All(parts) => Truth::all(parts.iter().map(|part| part.truth(known))),
            Resolved::Any(parts) => Truth::any(parts.iter().map(|part| part.truth(known))),
            Resolved::Not(part) => part.truth(known).negated(),
            Resolved::Literal(first, others) => match (known.saw(*first), others.iter().any(|other| known.saw(*other))) {
                (true, _) => Truth::Yes,
                // The first field may have another value.
                (false, true) => Truth::Unknown,
                (false, false) => absent,
            },
            Resolved::Anywhere(literal) if known.saw(*literal) => Truth::Unknown,
            Resolved::Anywhere(_) => absent,
            Resolved::Test(..) if known.odd => Truth::Unknown,
            Resolved::Test(fields, test) => {
                let value = fields.iter().map(|field| known.value(*field)).find(|value| !value.is_empty());
                test.holds(value.unwrap_or(""))
            }
        }
    }

    /// What an event's class alone tells: `seen` says of a literal in its own columns whether it is there.
    fn truth_of_class(&self, seen: &dyn Fn(u32) -> Option<bool>) -> Truth {
        match self {
            Resolved::Open | Resolved::Anywhere(_) | Resolved::Test(..) => Truth::Unknown,
            Resolved::Shut => Truth::No,
            Resolved::All(parts) => Truth::all(parts.iter().map(|part| part.truth_of_class(seen))),
            Resolved::Any(parts) => Truth::any(parts.iter().map(|part| part.truth_of_class(seen))),
            Resolved::Not(part) => part.truth_of_class(seen).negated(),
            Resolved::Literal(first, others) if others.is_empty() => seen(*first).map_or(Truth::Unknown, Truth::of),
            Resolved::Literal(..) => Truth::Unknown,
        }
    }

    /// Calls `visit` with every field that must be looked at to tell.
    fn fields(&self, of: &[u32], visit: &mut dyn FnMut(u32)) {
        match self {
            Resolved::Open | Resolved::Shut => {}
            Resolved::All(parts) | Resolved::Any(parts) => parts.iter().for_each(|part| part.fields(of, visit)),
            Resolved::Not(part) => part.fields(of, visit),
            Resolved::Literal(first, others) => std::iter::once(first).chain(others).for_each(|literal| visit(of[*literal as usize])),
            Resolved::Anywhere(literal) => visit(of[*literal as usize]),
            Resolved::Test(fields, _) => fields.iter().for_each(|field| visit(*field)),
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
    /// Made when the first value is looked at.
    automaton: OnceLock<Option<AhoCorasick>>,
    /// A test asks for its value.
    tested: bool,
}

impl Field {
    /// Calls `visit` with every literal in a value; some of them more than once. Whether they could be looked for.
    fn find(&self, value: &str, visit: &mut dyn FnMut(u32)) -> bool {
        if self.texts.is_empty() {
            return true;
        }
        let make = || AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::ContiguousNFA)).build(&self.texts);
        let Some(automaton) = self.automaton.get_or_init(|| make().ok()) else { return false };
        for hit in automaton.find_overlapping_iter(value) {
            for (how, literal) in &self.uses[hit.pattern().as_usize()] {
                let lies = match how {
                    Match::Contains => true,
                    Match::StartsWith => hit.start() == 0,
                    Match::EndsWith => hit.end() == value.len(),
                    Match::Equals => hit.start() == 0 && hit.end() == value.len(),
                };
                if lies {
                    visit(*literal);
                }
            }
        }
        true
    }
}

/// What was found in the values that a field had of late: logs repeat themselves.
#[derive(Default)]
struct Remembered(Vec<(String, Vec<u32>)>);

impl Remembered {
    const SLOTS: usize = 256;
    const LONGEST: usize = 1024;

    /// The literals in a value of the field; `None` when they could not be looked for.
    fn find(&mut self, field: &Field, value: &str) -> Option<&[u32]> {
        if self.0.is_empty() {
            self.0.resize_with(Self::SLOTS + 1, Default::default);
        }
        let hash = foldhash::fast::FixedState::default().hash_one(value);
        let slot = if value.len() > Self::LONGEST { Self::SLOTS } else { hash as usize % Self::SLOTS };
        let (known, literals) = &mut self.0[slot];
        if known != value {
            literals.clear();
            known.clear();
            let found = field.find(value, &mut |literal| literals.push(literal));
            literals.sort_unstable();
            literals.dedup();
            if !found {
                return None;
            }
            known.push_str(value);
        }
        Some(literals)
    }
}

struct Entry<'r> {
    rule: &'r SigmaRule,
    gate: Resolved,
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

impl Gathered {
    pub fn evaluated(&self) -> usize {
        self.evaluated.iter().filter(|evaluated| **evaluated).count()
    }
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
                let mut parts: Vec<Resolved> = parts.iter().map(|part| self.resolve(part, literals)).collect();
                parts.sort_by(|a, b| self.likelihood(b).total_cmp(&self.likelihood(a)));
                Resolved::Any(parts)
            }
            Gate::Not(part) => Resolved::Not(Box::new(self.resolve(part, literals))),
            Gate::Literal { fields, text, how } => {
                let mut numbers = fields.iter().map(|field| self.literal(field, text, *how, literals)).collect::<Vec<_>>();
                let first = numbers.remove(0);
                if fields[0] == ANYWHERE { Resolved::Anywhere(first) } else { Resolved::Literal(first, numbers) }
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
            Resolved::Literal(first, _) => self.weights[*first as usize],
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
        let key = (name.to_owned(), text.to_owned(), how);
        if let Some(number) = literals.get(&key) {
            return *number;
        }
        let number = literals.len() as u32;
        let of = self.field(name);
        let field = &mut self.fields[of as usize];
        let at = *field.by_text.entry(text.to_owned()).or_insert_with(|| {
            field.texts.push(text.to_owned());
            field.uses.push(Vec::new());
            field.texts.len() - 1
        });
        field.uses[at].push((how, number));
        literals.insert(key, number);
        self.field_of.push(of);
        self.triggers.push(Vec::new());
        // An event's class tells those in its own columns; of the others short ones are there more often than long ones.
        self.weights.push(match name {
            _ if (of as usize) < COLUMNS.len() => ALWAYS,
            _ if !text.is_ascii() => 0.01,
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

    /// Runs all rules that events wait for.
    pub fn finish(self) -> Gathered {
        self.run(&mut self.gathered());
        self.gathered.into_inner().unwrap_or_else(PoisonError::into_inner)
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
                Ok(found) => gathered.alerts.extend(found),
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
        for (number, value) in own.iter().enumerate() {
            scanner.fields[number].find(value, &mut |literal| literals.push(literal));
        }
        let is_own = |literal: u32| (scanner.field_of[literal as usize] as usize) < COLUMNS.len();
        let odd = own.iter().any(|value| is_odd(value));
        let seen = |literal: u32| (is_own(literal) && !odd).then(|| literals.contains(&literal));
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
        let number = scanner.by_name.get(name).copied().filter(|field| self.asks[*field as usize] && *field as usize >= COLUMNS.len());
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

/// Letters that no search for ASCII finds, though they are the same to KQL.
fn is_odd(value: &str) -> bool {
    !value.is_ascii() && value.contains(NEARLY_ASCII)
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
        let of_id = classes.entry(event_id).or_default();
        if let Some(class) = of_id.iter().find(|class| class.channel == channel && class.provider == provider) {
            return class.clone();
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
        let scanner = self.scanner;
        self.matched.clear();
        self.found.clear();
        let known = &mut self.known;
        known.event += 1;
        known.odd = class.odd;
        for literal in &class.literals {
            known.seen[*literal as usize] = known.event;
        }
        let event = known.event;
        let (asked, found) = (&mut self.asked, &mut self.found);
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
                let anywhere = &scanner.fields[anywhere as usize];
                for text in [Some(name), value].into_iter().flatten() {
                    let found = anywhere.find(text, &mut |literal| note(&mut known.seen, literal));
                    known.odd |= !found || is_odd(text);
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
            match self.remembered[number as usize].find(field, value) {
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
        let mut waits = false;
        for rule in found.iter() {
            let entry = &scanner.rules[*rule as usize];
            match entry.gate.truth(known) {
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
            self.raise(&Found::of_event(event, time_ticks));
        }
    }

    fn row(&mut self, row: &Row) {
        if row.table.name != "WindowsEvent" || !self.is_in_range(row.links.time_ticks) {
            return;
        }
        let text = |name: &str| row.get(name).map_or(Cow::Borrowed(""), text_of);
        let event_id = match row.get("EventID") {
            Some(Cell::Long(id)) => u32::try_from(*id).unwrap_or_default(),
            _ => 0,
        };
        let class = self.class(&text("Channel"), &text("Provider"), event_id);
        if class.is_empty() {
            return;
        }
        let data: Map<String, Value> = serde_json::from_str(&text("EventData")).unwrap_or_default();
        let values = data.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value.as_str()));
        self.examine(&class, values, || row.clone());
        if !self.matched.is_empty() {
            self.raise(&Found::of_row(row, data));
        }
    }
}

fn text_of(cell: &Cell) -> Cow<'_, str> {
    match cell {
        Cell::Text(text) => Cow::Borrowed(text),
        Cell::Json(text) => Cow::Borrowed(text),
        Cell::Long(number) | Cell::Ticks(number) => Cow::Owned(number.to_string()),
        Cell::Real(number) => Cow::Owned(number.to_string()),
        Cell::Bool(truth) => Cow::Owned(truth.to_string()),
    }
}

/// An event that rules match, as their queries would give it.
struct Found {
    time_ticks: i64,
    columns: Map<String, Value>,
    data: Map<String, Value>,
    data_text: String,
}

impl Found {
    fn new(time_ticks: i64, columns: Map<String, Value>, data: Map<String, Value>) -> Found {
        let data = Value::Object(data);
        let data_text = data.to_string();
        let Value::Object(data) = data else { unreachable!() };
        Found { time_ticks, columns, data, data_text }
    }

    fn of_event(event: &Event, time_ticks: i64) -> Found {
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

    fn of_row(row: &Row, data: Map<String, Value>) -> Found {
        let mut columns = Map::new();
        for name in ["Computer", "Channel", "Provider", "EventRecordId"] {
            columns.insert(name.to_owned(), row.get(name).map_or(Cow::Borrowed(""), text_of).into_owned().into());
        }
        columns.insert("EventID".to_owned(), if let Some(Cell::Long(id)) = row.get("EventID") { (*id).into() } else { Value::Null });
        Found::new(row.links.time_ticks, columns, data)
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
        alert_of_row(&sigma.rule, &shown, ("EventData", &self.data_text), Clock::at(self.time_ticks))
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
