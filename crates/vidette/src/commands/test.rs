//! `vidette test`: rules against telemetry, as their `.test.yaml` files say.

use crate::commands::Failure;
use crate::first_tests;
use crate::output;
use crate::packs::{install, packs};
use crate::simulated::{Background, Simulation};
use crate::workspace::{self, Wanted};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use vidette_engine::{Clock, Workspace, side_by_side};
use vidette_kql::Watchlist;
use vidette_kql::diagnostics::nearest;
use vidette_kql::time::parse_datetime;
use vidette_rules::{Alert, Case, HuntingQuery, Pack, Rule, Source, TestFile, parse_tests, tuning, watchlist};
use vidette_simulation::{Library, Profile};
use vidette_telemetry::Keep;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Packs, rules or test files; the built-in packs unless told
    pub paths: Vec<PathBuf>,
    /// Only tests with this in their name
    #[arg(short, long, default_value = "")]
    pub filter: String,
    /// How to tell: text, json, junit (XML) or github (annotations of a workflow)
    #[arg(long, value_enum, default_value = "text")]
    pub format: Report,
    /// Write a test file for each rule without one, with rows that its filters ask for
    #[arg(long)]
    pub init: bool,
    /// Record what tests with `snapshot: true` give now
    #[arg(long)]
    pub update: bool,
    /// Write the table of rules, cases and verdicts to this Markdown file
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Report {
    Text,
    Json,
    Junit,
    Github,
}

/// How one test went.
struct Outcome {
    file: String,
    rule: String,
    name: String,
    /// The profile of the telemetry, when it was simulated.
    profile: Option<Profile>,
    /// Why it failed; nothing when it passed.
    failures: Vec<String>,
    alerts: usize,
    severity: Option<&'static str>,
    wanted: bool,
    seconds: f64,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    let started = Instant::now();
    let mut packs = packs(&with_rules(&options.paths))?;
    let mut base = workspace::empty();
    let mut broken = install(&packs, &mut base);
    if options.init {
        if options.paths.is_empty() {
            return Err(Failure::usage("--init needs the rules: a file or a folder"));
        }
        first_tests::write(&mut packs, &base, |file| is_asked_for(&options.paths, &[file]))?;
    }
    let mut outcomes = Vec::new();
    for pack in &packs {
        let mut library = super::simulate::scenarios(pack)?;
        // A part of a pack uses what the whole one has.
        for embedded in vidette_rules::embedded() {
            let others = super::simulate::scenarios(embedded)?.scenarios;
            library.scenarios.extend(others.into_iter().filter(|other| library.scenarios.iter().all(|own| own.name != other.name)).collect::<Vec<_>>());
        }
        for (file, text) in &pack.tests {
            let tests = match parse_tests(text) {
                Ok(tests) => tests,
                Err(message) => {
                    say!("error: {file}: {message}");
                    broken = true;
                    continue;
                }
            };
            let Some(rule) = rule_of(&tests, file, pack) else {
                say!("error: {file}: no rule {}", tests.rule.as_deref().unwrap_or("beside it with its name"));
                broken = true;
                continue;
            };
            if !is_asked_for(&options.paths, &[file, &rule.file]) {
                continue;
            }
            let recorded = Mutex::new(Snapshots::read(file));
            let cases = tests.tests.iter().filter(|case| case.name.contains(&options.filter));
            let runners: Vec<Runner> =
                cases.map(|case| Runner { base: &base, file, tests: &tests, case, rule: &rule, pack, library: &library, recorded: &recorded, update: options.update }).collect();
            for outcome in side_by_side(runners.len(), |at| runners[at].run()).await {
                outcomes.extend(outcome?);
            }
            recorded.lock().unwrap_or_else(PoisonError::into_inner).write(file)?;
        }
    }
    if let Some(path) = &options.table {
        output::write(&table(&outcomes), Some(path))?;
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    output::write(&report(&outcomes, options.format), None)?;
    say!("{} passed, {failed} failed in {:.2} s", outcomes.len() - failed, started.elapsed().as_secs_f64());
    if outcomes.is_empty() && !broken {
        return Err(Failure::usage("no tests: they are `<Rule>.test.yaml` beside a rule; docs/TESTING.md shows how"));
    }
    Ok(if broken { 2 } else { u8::from(failed > 0) })
}

/// A test file or a rule alone stands for its folder: the rule, its tests and its watchlists are in it.
fn with_rules(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in paths {
        let folder = if path.is_file() { path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned() } else { path.clone() };
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// Whether the tests of a file are among those of the paths: in a folder of them, or they or their rule are named.
fn is_asked_for(paths: &[PathBuf], files: &[&String]) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let files: Vec<PathBuf> = files.iter().map(|file| canonical(Path::new(file))).collect();
    let holds = |path: &PathBuf| files.iter().any(|file| file.starts_with(canonical(path)));
    paths.is_empty() || paths.iter().any(holds)
}

/// The rule or hunting query that the file names, else the one beside it with its name.
fn rule_of(tests: &TestFile, file: &str, pack: &Pack) -> Option<Rule> {
    let stem = file.strip_suffix(".test.yaml").unwrap_or(file);
    let all = pack.rules.iter().cloned().chain(pack.hunting.iter().map(HuntingQuery::as_rule));
    let mut fitting = all.filter(|rule| match &tests.rule {
        Some(wanted) => rule.id == *wanted || rule.name == *wanted || Path::new(&rule.file).file_name() == Path::new(wanted).file_name(),
        None => rule.file.strip_suffix(".yaml").or(rule.file.strip_suffix(".yml")) == Some(stem),
    });
    fitting.next()
}

struct Runner<'a> {
    base: &'a Workspace,
    file: &'a str,
    tests: &'a TestFile,
    case: &'a Case,
    rule: &'a Rule,
    pack: &'a Pack,
    library: &'a Library,
    recorded: &'a Mutex<Snapshots>,
    update: bool,
}

impl Runner<'_> {
    /// Once, or once for each profile.
    async fn run(&self) -> Result<Vec<Outcome>, Failure> {
        let mut profiles = Vec::new();
        for name in &self.case.profiles {
            profiles.push(Some(Profile::from_name(name).ok_or_else(|| Failure::query(format!("{}: test `{}`: no profile `{name}`", self.file, self.case.name)))?));
        }
        if profiles.is_empty() {
            profiles.push(self.case.simulate.as_ref().map(|_| Profile::Full));
        }
        let mut outcomes = Vec::with_capacity(profiles.len());
        for profile in profiles {
            let started = Instant::now();
            let given = self.alerts(profile).await?;
            let expect = &self.case.expect;
            let (alerts, mut failures) = match (&given, &expect.error) {
                (Ok(alerts), None) => (alerts.as_slice(), expect.unmet(alerts)),
                (Ok(alerts), Some(error)) => (alerts.as_slice(), vec![format!("an error with `{error}` expected")]),
                (Err(message), Some(error)) if message.contains(error.as_str()) => (&[][..], Vec::new()),
                (Err(message), _) => (&[][..], vec![message.clone()]),
            };
            if expect.snapshot {
                let key = profile.map_or(self.case.name.clone(), |profile| format!("{} ({})", self.case.name, profile.name()));
                failures.extend(self.recorded.lock().unwrap_or_else(PoisonError::into_inner).compare(key, alerts, self.update));
            }
            outcomes.push(Outcome {
                file: self.file.to_owned(),
                rule: self.rule.name.clone(),
                name: self.case.name.clone(),
                profile,
                failures,
                alerts: alerts.len(),
                severity: alerts.iter().map(|alert| alert.severity).max().map(vidette_rules::SeverityLevel::name),
                wanted: expect.wants_alerts(),
                seconds: started.elapsed().as_secs_f64(),
            });
        }
        Ok(outcomes)
    }

    /// The alerts of the rule over the telemetry of the test, or why there are none.
    async fn alerts(&self, profile: Option<Profile>) -> Result<Result<Vec<Alert>, String>, Failure> {
        let scratch = tempfile::tempdir().map_err(|error| Failure::usage(error.to_string()))?;
        let mut paths = vec![scratch.path().to_owned()];
        paths.extend(self.case.files.iter().map(|path| self.beside(path)));
        for (table, source) in merged(&self.tests.defaults.data, &self.case.data) {
            if let Err(wrong) = self.write_rows(table, source, scratch.path())? {
                return Ok(Err(wrong));
            }
        }
        if let Some(name) = &self.case.simulate {
            let scenario = self.library.scenarios.iter().find(|scenario| scenario.name == *name);
            let scenario = scenario.ok_or_else(|| Failure::query(format!("{}: test `{}`: no scenario `{name}`", self.file, self.case.name)))?;
            let start_ticks = parse_datetime("2026-03-10T08:00:00Z").unwrap_or_default();
            let profile = profile.unwrap_or_default();
            Simulation { scenarios: vec![scenario], profile, evtx: false, out: scratch.path(), start_ticks, background: Background::default() }.write()?;
        }
        let mut workspace = self.base.clone();
        for (alias, source) in merged(&self.tests.defaults.watchlists, &self.case.watchlists) {
            let mut list = match source {
                Source::Path(path) => watchlist(&read(&self.beside(path))?),
                Source::Rows(rows) => self.rows_list(alias, rows),
            };
            if let Some(problem) = tuning::vet_if_tuning(alias, &mut list, Clock::now().now_ticks).into_iter().find(|problem| problem.fatal) {
                return Ok(Err(problem.message));
            }
            workspace.register_watchlist(alias.clone(), list);
        }
        if let Some(Err(diagnostics)) = self.case.functions.as_ref().map(|text| workspace.register_functions(text)) {
            return Ok(Err(vidette_kql::render(self.case.functions.as_deref().unwrap_or_default(), &self.case.name, &diagnostics)));
        }
        let wanted = Wanted::by(&workspace, [self.rule.query.as_str()]);
        let loaded = workspace::load(workspace, &paths, &wanted, Keep::default(), None).await?;
        if let Some(problem) = loaded.harvest.problems.first() {
            return Ok(Err(format!("telemetry: {problem}")));
        }
        let now = match self.case.now.as_ref().or(self.tests.defaults.now.as_ref()) {
            Some(text) => parse_datetime(text).ok_or_else(|| Failure::query(format!("{}: test `{}`: `{text}` is not a time", self.file, self.case.name)))?,
            None => loaded.harvest.newest_ticks.unwrap_or_else(|| Clock::now().now_ticks),
        };
        let clock = Clock::window(now, self.rule.period_ticks());
        Ok(vidette_rules::run(self.rule, &loaded.workspace, &[clock]).await.map(|outcome| outcome.alerts).map_err(|error| error.to_string()))
    }

    /// A watchlist of these rows, with all columns of the pack's own one.
    fn rows_list(&self, alias: &str, rows: &[serde_json::Map<String, Value>]) -> Watchlist {
        let own = self.pack.watchlists.iter().find(|(known, _)| known == alias).map(|(_, list)| list.columns.clone()).unwrap_or_default();
        let mut list = watchlist(&csv_of(rows));
        for column in own.into_iter().filter(|column| !list.columns.contains(column)).collect::<Vec<_>>() {
            list.columns.push(column);
            list.rows.iter_mut().for_each(|row| row.push(String::new()));
        }
        list
    }

    fn beside(&self, path: &str) -> PathBuf {
        Path::new(self.file).parent().unwrap_or(Path::new("")).join(path)
    }

    /// Rows in place become JSON lines that name their table; a file is linked under the table's name. Inside, what is wrong with the rows.
    fn write_rows(&self, table: &str, source: &Source, folder: &Path) -> Result<Result<(), String>, Failure> {
        let target = folder.join(format!("{table}.jsonl"));
        let rows: Vec<serde_json::Map<String, Value>> = match source {
            Source::Rows(rows) => rows.clone(),
            Source::Path(path) => {
                let path = self.beside(path);
                let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
                match extension.as_str() {
                    "csv" => watchlist_rows(&read(&path)?),
                    "jsonl" | "ndjson" | "json" => {
                        let wrong = |error: serde_json::Error| Failure::query(format!("{}: {error}", path.display()));
                        let rows: Result<Vec<_>, _> = read(&path)?.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect();
                        rows.map_err(wrong)?
                    }
                    _ => {
                        std::fs::copy(&path, folder.join(format!("{table}.{extension}"))).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                        return Ok(Ok(()));
                    }
                }
            }
        };
        if let Some(wrong) = unknown_column(table, &rows) {
            return Ok(Err(wrong));
        }
        let typed = |mut row: serde_json::Map<String, Value>| {
            row.insert("Type".to_owned(), table.into());
            format!("{}\n", Value::Object(row))
        };
        let text: String = rows.into_iter().map(typed).collect();
        std::fs::write(&target, text).map_err(|error| Failure::usage(format!("{}: {error}", target.display())))?;
        Ok(Ok(()))
    }
}

/// What is said of a column that the known table does not have: its values would be lost without a word.
fn unknown_column(table: &str, rows: &[serde_json::Map<String, Value>]) -> Option<String> {
    let known = workspace::column_names(table)?;
    let is_known = |name: &String| name == "Type" || known.iter().any(|column| column.eq_ignore_ascii_case(name));
    let unknown = rows.iter().flat_map(serde_json::Map::keys).find(|name| !is_known(name))?;
    let meant = nearest(unknown, known.iter().map(String::as_str)).map(|name| format!("; a column with a similar name exists: `{name}`"));
    Some(format!("data: {table} has no column `{unknown}`{}", meant.unwrap_or_default()))
}

fn merged<'a>(defaults: &'a BTreeMap<String, Source>, own: &'a BTreeMap<String, Source>) -> BTreeMap<&'a String, &'a Source> {
    defaults.iter().chain(own).collect()
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn csv_of(rows: &[serde_json::Map<String, Value>]) -> String {
    let mut columns: Vec<String> = Vec::new();
    for key in rows.iter().flat_map(serde_json::Map::keys) {
        if !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|column| cell(row.get(column))).collect()).collect();
    output::csv(&columns, &cells)
}

fn watchlist_rows(text: &str) -> Vec<serde_json::Map<String, Value>> {
    let list = watchlist(text);
    list.rows.into_iter().map(|row| list.columns.iter().cloned().zip(row.into_iter().map(Value::from)).collect()).collect()
}

/// What `--update` recorded, in a file beside the tests.
struct Snapshots {
    recorded: BTreeMap<String, Value>,
    changed: bool,
}

impl Snapshots {
    fn place(file: &str) -> PathBuf {
        PathBuf::from(file.replace(".test.yaml", ".test.snap.json"))
    }

    fn read(file: &str) -> Snapshots {
        let recorded = std::fs::read_to_string(Snapshots::place(file)).ok().and_then(|text| serde_json::from_str(&text).ok());
        Snapshots { recorded: recorded.unwrap_or_default(), changed: false }
    }

    fn compare(&mut self, key: String, alerts: &[Alert], update: bool) -> Option<String> {
        let now = json!(alerts.iter().map(|alert| json!({"title": alert.title, "severity": alert.severity, "entities": alert.entities})).collect::<Vec<_>>());
        if self.recorded.get(&key) == Some(&now) {
            return None;
        }
        if update {
            self.recorded.insert(key, now);
            self.changed = true;
            return None;
        }
        Some(if self.recorded.contains_key(&key) { format!("not what was recorded: {now}") } else { "nothing recorded: run with --update".to_owned() })
    }

    fn write(&self, file: &str) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&self.recorded).unwrap_or_default() + "\n";
        output::write(&text, Some(&Snapshots::place(file)))
    }
}

impl Outcome {
    fn title(&self) -> String {
        match self.profile {
            Some(profile) => format!("{} ({})", self.name, profile.name()),
            None => self.name.clone(),
        }
    }
}

fn report(outcomes: &[Outcome], format: Report) -> String {
    match format {
        Report::Text => text(outcomes),
        Report::Json => {
            let tests: Vec<Value> = outcomes
                .iter()
                .map(|one| json!({"file": one.file, "rule": one.rule, "test": one.title(), "passed": one.failures.is_empty(), "failures": one.failures, "alerts": one.alerts, "seconds": one.seconds}))
                .collect();
            format!("{}\n", json!({"schemaVersion": 1, "tests": tests}))
        }
        Report::Junit => junit(outcomes),
        Report::Github => {
            let lines = outcomes.iter().filter(|one| !one.failures.is_empty());
            lines.map(|one| output::annotation("error", &one.file, None, &one.title(), &one.failures.join("; "))).collect()
        }
    }
}

fn text(outcomes: &[Outcome]) -> String {
    let colored = output::color();
    let mark = |passed: bool| {
        let (mark, color) = if passed { ("✓", AnsiColor::Green) } else { ("✗", AnsiColor::Red) };
        let style = Style::new().bold().fg_color(Some(color.into()));
        if colored { format!("{style}{mark}{style:#}") } else { mark.to_owned() }
    };
    let mut out = String::new();
    let mut rule = "";
    let mut rest = outcomes;
    while let Some(one) = rest.first() {
        if one.rule != rule {
            rule = &one.rule;
            out.push_str(&format!("{rule}\n"));
        }
        // The profiles in which a test passes share a line.
        let same = rest.iter().take_while(|other| one.failures.is_empty() && other.failures.is_empty() && other.name == one.name && other.rule == one.rule).count().max(1);
        let profiles: Vec<&str> = rest[..same].iter().filter_map(|one| one.profile.map(Profile::name)).collect();
        let title = if profiles.is_empty() { one.name.clone() } else { format!("{} ({})", one.name, profiles.join(", ")) };
        out.push_str(&format!("  {} {title}\n", mark(one.failures.is_empty())));
        one.failures.iter().for_each(|failure| out.push_str(&format!("      {}\n", failure.replace('\n', "\n      "))));
        rest = &rest[same..];
    }
    out
}

fn junit(outcomes: &[Outcome]) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let failed = outcomes.iter().filter(|one| !one.failures.is_empty()).count();
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"vidette\" tests=\"{}\" failures=\"{failed}\">\n", outcomes.len());
    for one in outcomes {
        out.push_str(&format!("<testcase classname=\"{}\" name=\"{}\" file=\"{}\" time=\"{:.3}\"", escape(&one.rule), escape(&one.title()), escape(&one.file), one.seconds));
        match one.failures.is_empty() {
            true => out.push_str("/>\n"),
            false => out.push_str(&format!("><failure message=\"{}\"/></testcase>\n", escape(&one.failures.join("; ")))),
        }
    }
    out + "</testsuite>\n</testsuites>\n"
}

/// Rules and cases, and what each rule said: a row for each case, a column for each profile.
fn table(outcomes: &[Outcome]) -> String {
    let mut out = "# What each rule said of each case\n\nWritten by `vidette test --table`. A cell is the severity of the gravest alert, or `quiet`, for telemetry in which a machine logs\neverything, connects through a proxy, logs no DNS, or logs nothing but processes; it is empty where the test has no such telemetry.\n\n".to_owned();
    let mut rules: Vec<&str> = outcomes.iter().map(|one| one.rule.as_str()).collect();
    rules.dedup();
    for rule in rules {
        out.push_str(&format!("## {rule}\n\n| case | wanted | full | nameless network | no DNS | process only |\n|---|---|---|---|---|---|\n"));
        let own: Vec<&Outcome> = outcomes.iter().filter(|one| one.rule == rule).collect();
        let mut names: Vec<&str> = own.iter().map(|one| one.name.as_str()).collect();
        names.dedup();
        for name in names {
            let case: Vec<&&Outcome> = own.iter().filter(|one| one.name == name).collect();
            let cell = |profile: Profile| {
                let found = case.iter().find(|one| one.profile.unwrap_or_default() == profile);
                found.map_or_else(String::new, |one| one.severity.map_or_else(|| "quiet".to_owned(), str::to_lowercase))
            };
            let wanted = if case.iter().any(|one| one.wanted) { "caught" } else { "quiet" };
            out.push_str(&format!("| {name} | {wanted} | {} |\n", Profile::ALL.map(cell).join(" | ")));
        }
        out.push('\n');
    }
    out
}
