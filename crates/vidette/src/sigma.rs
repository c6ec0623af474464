//! Many Sigma rules over one reading: each event is looked at once, whatever the number of rules.
//!
//! The literals of all rules make one automaton per field. What it finds in an event opens the gates of few rules; the event
//! waits for those, and a rule's KQL runs over the events that wait for it. A rule that nothing waits for is never planned.

use crate::commands::Failure;
use crate::packs::Columns;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{cast, concat_batches, take};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::catalog::MemTable;
use std::collections::HashMap;
use std::sync::Arc;
use vidette_engine::{Clock, Table, Workspace};
use vidette_rules::{Alert, Pack, SigmaRule, sigma_rules};
use vidette_sigma::{Gate, Match};

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

/// A gate whose literals are numbers.
enum Resolved {
    Open,
    Shut,
    All(Vec<Resolved>),
    Any(Vec<Resolved>),
    /// One of these occurs.
    Literals(Vec<u32>),
}

impl Resolved {
    fn is_open(&self, occurs: &impl Fn(u32) -> bool) -> bool {
        match self {
            Resolved::Open => true,
            Resolved::Shut => false,
            Resolved::All(parts) => parts.iter().all(|part| part.is_open(occurs)),
            Resolved::Any(parts) => parts.iter().any(|part| part.is_open(occurs)),
            Resolved::Literals(literals) => literals.iter().any(|literal| occurs(*literal)),
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
    workspace: Workspace,
    pub alerts: Vec<Alert>,
    pub failures: Vec<String>,
}

impl<'r> Scanner<'r> {
    pub fn new(rules: impl Iterator<Item = &'r SigmaRule>) -> Result<Scanner<'r>, Failure> {
        let workspace = Workspace::default();
        // Plans of one table and few rows: what a second pass of the optimizer finds is not worth its time.
        let state = workspace.session().state_ref();
        state.write().config_mut().options_mut().optimizer.max_passes = 1;
        let mut scanner = Scanner {
            rules: Vec::new(),
            fields: HashMap::new(),
            triggers: Vec::new(),
            always: Vec::new(),
            seen: Vec::new(),
            asked: Vec::new(),
            event: 0,
            workspace,
            alerts: Vec::new(),
            failures: Vec::new(),
        };
        let mut literals = HashMap::new();
        for rule in rules {
            let gate = scanner.resolve(&rule.gate, &mut literals);
            let number = scanner.rules.len() as u32;
            let weights: Vec<f64> = scanner.weights(&literals);
            match triggers(&gate, &weights) {
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
        Ok(scanner)
    }

    fn resolve(&mut self, gate: &Gate, literals: &mut HashMap<(String, String, Match), u32>) -> Resolved {
        match gate {
            Gate::Open => Resolved::Open,
            Gate::Shut => Resolved::Shut,
            Gate::All(parts) => Resolved::All(parts.iter().map(|part| self.resolve(part, literals)).collect()),
            Gate::Any(parts) => Resolved::Any(parts.iter().map(|part| self.resolve(part, literals)).collect()),
            Gate::Literal { fields, text, how } => Resolved::Literals(fields.iter().map(|field| self.literal(field, text, *how, literals)).collect()),
        }
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
        number
    }

    /// How often a literal is there, as a guess: those of the log source always, short ones more than long ones.
    fn weights(&self, literals: &HashMap<(String, String, Match), u32>) -> Vec<f64> {
        let mut weights = vec![0.0; literals.len()];
        for ((field, text, _), number) in literals {
            weights[*number as usize] = match field.as_str() {
                "Channel" | "Provider" => 1000.0,
                "EventID" => 300.0,
                _ if text.ends_with(".exe") => 20.0,
                _ => 100.0 / text.len() as f64,
            };
        }
        weights
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
            let mut found = Vec::new();
            for (name, values) in COLUMNS.iter().zip(&own) {
                self.find(name, values.as_string::<i32>().value(row), &mut found);
            }
            if data.is_valid(row) {
                self.find("*", data.value(row), &mut found);
                for (name, value) in sonic_rs::to_object_iter(data.value(row)).flatten() {
                    if let Some(value) = sonic_rs::JsonValueTrait::as_str(&value) {
                        self.find(&name, value, &mut found);
                    }
                }
            }
            found.extend(&self.always);
            let (seen, event) = (&self.seen, self.event);
            for rule in found {
                let rule = &mut self.rules[rule as usize];
                if rule.gate.is_open(&|literal| seen[literal as usize] == event) {
                    rule.hits.push(row as u32);
                }
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

    /// Runs all rules that events wait for. Gives how many were run.
    pub async fn finish(&mut self) -> usize {
        let mut ran = 0;
        for rule in 0..self.rules.len() {
            if self.rules[rule].rows > 0 {
                ran += 1;
                self.run(rule).await;
            }
        }
        ran
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

/// The cheapest literals of which one must occur; `None` when there are none.
fn triggers(gate: &Resolved, weights: &[f64]) -> Option<(f64, Vec<u32>)> {
    match gate {
        Resolved::Open => None,
        Resolved::Shut => Some((0.0, Vec::new())),
        Resolved::Literals(literals) => Some((literals.iter().map(|literal| weights[*literal as usize]).sum(), literals.clone())),
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
