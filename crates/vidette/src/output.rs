//! Results as text: a table fitted to the terminal, JSON, NDJSON or CSV.

use crate::commands::Failure;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use unicode_width::UnicodeWidthStr;
use vidette_engine::Damage;
use vidette_telemetry::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
    Ndjson,
    Csv,
}

impl Format {
    /// A table for a person, NDJSON for a pipe or file, unless one was asked for.
    pub fn choose(asked: Option<Format>, to_file: bool) -> Format {
        asked.unwrap_or(if !to_file && std::io::stdout().is_terminal() { Format::Table } else { Format::Ndjson })
    }
}

/// Writes to the file or to standard output. A closed pipe is no error.
pub fn write(text: &str, file: Option<&PathBuf>) -> Result<(), Failure> {
    match file {
        Some(path) => std::fs::write(path, text).map_err(|error| Failure::usage(format!("{}: {error}", path.display()))),
        None => match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::usage(error.to_string())),
            _ => Ok(()),
        },
    }
}

/// An annotation of a GitHub workflow, on a line of a file or on the file: `level` is `error` or `warning`.
pub fn annotation(level: &str, file: &str, place: Option<(usize, usize)>, title: &str, message: &str) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let place = place.map(|(line, column)| format!(",line={line},col={column}")).unwrap_or_default();
    format!("::{level} file={}{place},title={}::{}\n", property(file), property(title), escaped(message))
}

/// Where results go a few at a time: the file, or standard output.
pub struct Sink<'f> {
    out: Box<dyn Write>,
    file: Option<&'f PathBuf>,
}

impl<'f> Sink<'f> {
    pub fn open(file: Option<&'f PathBuf>) -> Result<Sink<'f>, Failure> {
        let out: Box<dyn Write> = match file {
            Some(path) => Box::new(std::io::BufWriter::new(std::fs::File::create(path).map_err(|error| failed(Some(path), &error))?)),
            None => Box::new(std::io::BufWriter::new(std::io::stdout())),
        };
        Ok(Sink { out, file })
    }

    /// Whether more is wanted: a closed pipe is no error, but the end.
    pub fn put(&mut self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<bool, Failure> {
        match write(&mut self.out) {
            Ok(()) => Ok(true),
            Err(error) if self.file.is_none() && error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(failed(self.file, &error)),
        }
    }

    pub fn close(mut self) -> Result<(), Failure> {
        self.put(|out| out.flush()).map(|_| ())
    }
}

fn failed(file: Option<&PathBuf>, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{}{error}", file.map(|path| format!("{}: ", path.display())).unwrap_or_default()))
}

/// As [`write()`], each value as a line of JSON, without all of them in memory.
pub fn write_lines(values: &[impl Serialize], file: Option<&PathBuf>) -> Result<(), Failure> {
    let mut sink = Sink::open(file)?;
    for value in values {
        let line = |out: &mut dyn Write| {
            serde_json::to_writer(&mut *out, value)?;
            out.write_all(b"\n")
        };
        if !sink.put(line)? {
            break;
        }
    }
    sink.close()
}

/// Names what could not be read, the first of many: files of which the same is said once; `tables` names all.
pub fn problems(problems: &[Problem]) {
    const NAMED: usize = 20;
    let mut alike: HashMap<&str, u64> = HashMap::new();
    for problem in problems.iter().filter(|problem| problem.place.is_none()) {
        *alike.entry(&problem.message).or_default() += 1;
    }
    let (mut named, mut told) = (0, 0);
    for problem in problems {
        let files = if problem.place.is_none() { alike.insert(&problem.message, 0).unwrap_or(1) } else { 1 };
        match files {
            0 => continue,
            _ if named == NAMED => break,
            1 => say!("skipped: {problem}"),
            files => say!("skipped: {} and {} more files: {}", problem.name(), files - 1, problem.message),
        }
        (named, told) = (named + 1, told + files);
    }
    if told < problems.len() as u64 {
        say!("skipped: {} more (vidette tables lists all)", problems.len() as u64 - told);
    }
}

static DAMAGES: AtomicU64 = AtomicU64::new(0);

/// Names what a query could not read, when it comes upon it.
pub fn damage(damage: &Damage) {
    DAMAGES.fetch_add(1, Ordering::Relaxed);
    say!("skipped: {damage}");
}

/// How many parts of files queries could not read.
pub fn damages() -> u64 {
    DAMAGES.load(Ordering::Relaxed)
}

/// The exit status of what read all that it was given, or not.
pub fn status(problems: &[Problem]) -> u8 {
    if problems.is_empty() && damages() == 0 { 0 } else { 3 }
}

/// Says which columns of files their tables have not.
pub fn left_out(left_out: &BTreeMap<&'static str, BTreeSet<String>>) {
    const NAMED: usize = 5;
    for (table, columns) in left_out {
        let named: Vec<&str> = columns.iter().take(NAMED).map(String::as_str).collect();
        let more = if columns.len() > NAMED { format!(" and {} more", columns.len() - NAMED) } else { String::new() };
        say!("left out: columns that {table} has not: {}{more}", named.join(", "));
    }
}

pub fn csv(columns: &[String], rows: &[Vec<String>]) -> String {
    let mut text = Vec::new();
    let mut lines = Lines::of(&mut text);
    lines.put(columns);
    rows.iter().for_each(|row| lines.put(row));
    match lines.end() {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

/// Lines of CSV, until one cannot be written.
pub struct Lines<'o> {
    writer: csv::Writer<&'o mut dyn Write>,
    written: csv::Result<()>,
}

impl<'o> Lines<'o> {
    pub fn of(out: &'o mut dyn Write) -> Lines<'o> {
        Lines { writer: csv::Writer::from_writer(out), written: Ok(()) }
    }

    pub fn put(&mut self, cells: &[String]) {
        if self.written.is_ok() {
            self.written = self.writer.write_record(cells);
        }
    }

    pub fn end(mut self) -> std::io::Result<()> {
        // What the output says is to be known by its kind.
        self.written.map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            other => std::io::Error::other(format!("{other:?}")),
        })?;
        self.writer.flush()
    }
}

/// Whether standard output takes color.
pub fn color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() || std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0")
}

/// The text in lines of this width, broken between words.
pub fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if at > 0 {
            let fits = at + 1 + length <= width;
            out.push(if fits { ' ' } else { '\n' });
            at = if fits { at + 1 } else { 0 };
        }
        out.push_str(word);
        at += length;
    }
    out
}

/// The width of the terminal; wide when output goes elsewhere.
pub fn width() -> usize {
    match terminal_size::terminal_size() {
        Some((terminal_size::Width(width), _)) if std::io::stdout().is_terminal() => usize::from(width),
        _ => 180,
    }
}

/// Columns aligned and shortened until they fit; `styles` gives the color of a cell.
pub fn table(columns: &[String], rows: &[Vec<String>], width: usize, style: impl Fn(usize, &str) -> Option<anstyle::Style>) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let clean: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cell.replace(['\n', '\r', '\t'], " ")).collect()).collect();
    let mut widths: Vec<usize> = columns.iter().map(|name| name.width()).collect();
    for row in &clean {
        for (at, cell) in row.iter().enumerate() {
            widths[at] = widths[at].max(cell.width());
        }
    }
    // Columns in the middle give way when not even narrow ones fit.
    let least = 8;
    let fits = (width / (least + 2)).max(2);
    let hidden = columns.len().saturating_sub(fits);
    let shown: Vec<usize> = if hidden > 0 { (0..fits - 1).chain([columns.len() - 1]).collect() } else { (0..columns.len()).collect() };
    let budget = width.saturating_sub(2 * (shown.len() - 1));
    loop {
        let total: usize = shown.iter().map(|at| widths[*at]).sum();
        let Some(widest) = shown.iter().copied().max_by_key(|at| widths[*at]) else { break };
        if total <= budget || widths[widest] <= least {
            break;
        }
        let second = shown.iter().map(|at| widths[*at]).filter(|other| *other < widths[widest]).max().unwrap_or(least).max(least);
        widths[widest] = widths[widest].saturating_sub(total - budget).max(second).min(widths[widest] - 1);
    }
    let mut out = String::new();
    let line = |cells: &dyn Fn(usize) -> String, styled: bool, out: &mut String| {
        for (place, at) in shown.iter().enumerate() {
            let cell = shorten(&cells(*at), widths[*at]);
            let pad = if place + 1 == shown.len() { 0 } else { widths[*at] - cell.width() + 2 };
            match if styled { style(*at, &cells(*at)) } else { None } {
                Some(style) => out.push_str(&format!("{style}{cell}{style:#}")),
                None => out.push_str(&cell),
            }
            out.push_str(&" ".repeat(pad));
        }
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    };
    line(&|at| columns[at].clone(), false, &mut out);
    line(&|at| "─".repeat(widths[at]), false, &mut out);
    for row in &clean {
        line(&|at| row.get(at).cloned().unwrap_or_default(), true, &mut out);
    }
    if hidden > 0 {
        out.push_str(&format!("… {hidden} more columns (--format csv or json shows all)\n"));
    }
    out
}

/// The text on one line, cut at so many characters.
pub fn one_line(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width { line } else { line.chars().take(width.saturating_sub(1)).chain(['…']).collect() }
}

fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.width() + 2 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_columns_give_way_until_the_table_fits() {
        let columns = vec!["a".to_owned(), "command".to_owned()];
        let rows = vec![vec!["x".to_owned(), "y".repeat(200)]];
        let text = table(&columns, &rows, 40, |_, _| None);
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        assert!(text.contains('…'));
    }
}
