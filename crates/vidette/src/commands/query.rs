//! `vidette query`: KQL over files, a table out.

use crate::commands::{Failure, TimeOptions};
use crate::output::{self, Format};
use crate::packs::{install, packs};
use crate::workspace::{self, Wanted};
use serde_json::{Value, json};
use std::path::PathBuf;
use vidette_engine::{Error, ResultTable};
use vidette_kql::Diagnostic;
use vidette_rules::{HuntingQuery, Pack};
use vidette_telemetry::{files_under, other_table};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The query, then files and folders of telemetry; with --file only the paths
    pub arguments: Vec<String>,
    /// Read the query from this file
    #[arg(short, long, conflicts_with = "hunting")]
    pub file: Option<PathBuf>,
    /// Run this hunting query of the packs: its name or the beginning of it, such as H1; `list` shows them
    #[arg(long, value_name = "NAME")]
    pub hunting: Option<String>,
    /// How to write the rows; a table on a terminal, else NDJSON
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write to this file
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Folders or files with rules and CSV watchlists; a CSV is known by its file name
    #[arg(long)]
    pub watchlists: Vec<PathBuf>,
    /// Show the optimized plan instead of rows
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub time: TimeOptions,
}

pub async fn run(options: Options) -> Result<u8, Failure> {
    let mut arguments = options.arguments.iter();
    // What the packs in the binary save every workspace knows.
    let packs = if options.watchlists.is_empty() && options.hunting.is_none() { Vec::new() } else { packs(&options.watchlists)? };
    let (name, text) = match (&options.file, &options.hunting) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            (file.display().to_string(), separated(text))
        }
        (None, Some(asked)) if asked == "list" => return list(&packs, options.output.as_ref()),
        (None, Some(asked)) => {
            let query = hunting_query(&packs, asked)?;
            (query.name.clone(), query.query.clone())
        }
        (None, None) => ("query".to_owned(), arguments.next().cloned().ok_or_else(|| Failure::usage("give a query, --file or --hunting"))?),
    };
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    workspace::learn_columns(&paths);
    let mut empty = workspace::empty();
    install(&packs, &mut empty);
    let hopeless = workspace::hopeless(&empty, &text, &paths);
    if !hopeless.is_empty() {
        return Err(Failure::query(vidette_kql::render(&text, &name, &hopeless)));
    }
    let wanted = Wanted::by(&empty, [text.as_str()]);
    let loaded = workspace::load_for(&[&text], empty, &paths, &wanted, None).await?;
    output::problems(&loaded.harvest.problems);
    output::left_out(&loaded.harvest.left_out);
    let clock = options.time.clock(loaded.harvest.newest_ticks)?;
    if options.explain {
        let plan = loaded.workspace.explain(&text, clock).await.map_err(|error| Failure::query(error.to_string()))?;
        output::write(&format!("{plan}\n"), options.output.as_ref())?;
        return Ok(0);
    }
    let failed = |error: Error| match error {
        Error::Diagnostics(diagnostics) => Failure::query(vidette_kql::render(&text, &name, &diagnostics) + &files_of_known_tables(&diagnostics, &paths)),
        error => Failure::query(error.to_string()),
    };
    let format = Format::choose(options.format, options.output.is_some());
    let (queries, warnings) = loaded.workspace.compile(&text, clock).await.map_err(failed)?;
    if !warnings.is_empty() {
        say!("{}", vidette_kql::render(&text, &name, &warnings).trim_end());
    }
    // Nothing is written before the first rows are there: a query that fails leaves the file as it was.
    let mut sink = None;
    for query in &queries {
        let mut rows = loaded.workspace.stream(query, clock).await.map_err(failed)?;
        let mut piece = rows.next().await.map_err(failed)?;
        if sink.is_none() {
            sink = Some(output::Sink::open(options.output.as_ref())?);
        }
        let Some(sink) = &mut sink else { break };
        let mut shown = Shown::begin(&rows.header, format, sink)?;
        while let Some(rows_of_piece) = piece {
            if !shown.add(&rows_of_piece, sink)? {
                break;
            }
            piece = rows.next().await.map_err(failed)?;
        }
        shown.end(sink)?;
    }
    sink.map_or(Ok(()), output::Sink::close)?;
    Ok(output::status(&loaded.harvest.problems))
}

/// What is said where a query asks for a file by its name, whose records turned out to be of known tables.
fn files_of_known_tables(diagnostics: &[Diagnostic], paths: &[PathBuf]) -> String {
    let unknown = |name: &str| diagnostics.iter().any(|diagnostic| diagnostic.message.starts_with(&format!("unknown table `{name}`")));
    let files = files_under(paths).map(|(files, _)| files).unwrap_or_default();
    let of_known = files.iter().filter(|file| other_table(file).is_some_and(|name| unknown(&name)));
    of_known.map(|file| format!("note: what {} holds is read as rows of known tables; `vidette tables {0}` shows which\n", file.display())).collect()
}

/// A result as it is written: a few rows at a time, but for a table, whose widths depend on all that it shows.
struct Shown {
    format: Format,
    names: Vec<String>,
    count: usize,
    /// Of a table: its first rows.
    cells: Vec<Vec<String>>,
}

/// A table shows so many rows.
const MOST_SHOWN: usize = 10_000;

impl Shown {
    fn begin(header: &ResultTable, format: Format, sink: &mut output::Sink) -> Result<Shown, Failure> {
        let names: Vec<String> = header.columns.iter().map(|(name, _)| name.clone()).collect();
        match format {
            Format::Csv => {
                sink.put(|out| {
                    let mut lines = output::Lines::of(out);
                    lines.put(&names);
                    lines.end()
                })?;
            }
            Format::Json => {
                let columns: Vec<Value> = header.columns.iter().map(|(name, ty)| json!({"name": name, "type": ty.name()})).collect();
                sink.put(|out| write!(out, "{{\"columns\":{},\"rows\":[", Value::Array(columns)))?;
            }
            Format::Table | Format::Ndjson => {}
        }
        Ok(Shown { format, names, count: 0, cells: Vec::new() })
    }

    /// Whether more rows are wanted.
    fn add(&mut self, piece: &ResultTable, sink: &mut output::Sink) -> Result<bool, Failure> {
        let first = self.count == 0;
        self.count += piece.row_count();
        match self.format {
            Format::Table => {
                let room = MOST_SHOWN - self.cells.len();
                if room > 0 {
                    self.cells.extend(piece.text_rows().into_iter().take(room));
                }
                Ok(true)
            }
            Format::Csv => sink.put(|out| {
                let mut lines = output::Lines::of(out);
                piece.each_text_row(|row| lines.put(&row));
                lines.end()
            }),
            Format::Ndjson => sink.put(|mut out| piece.write_lines(true, &mut out)),
            Format::Json => {
                let mut lines = Vec::new();
                sink.put(|out| {
                    piece.write_lines(false, &mut lines)?;
                    lines.pop();
                    // Between two rows stands a comma; in JSON text no other line ends.
                    lines.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b',');
                    if !first && !lines.is_empty() {
                        out.write_all(b",")?;
                    }
                    out.write_all(&lines)
                })
            }
        }
    }

    fn end(self, sink: &mut output::Sink) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => {
                let counted = format!("{} {}", self.count, if self.count == 1 { "row" } else { "rows" });
                let left_out =
                    if self.count > self.cells.len() { format!(", of which the first {} are shown (--format csv or json writes all)", self.cells.len()) } else { String::new() };
                format!("{}{counted}{left_out}\n", output::table(&self.names, &self.cells, output::width(), |_, _| None))
            }
            Format::Json => "]}\n".to_owned(),
            Format::Csv | Format::Ndjson => return Ok(()),
        };
        sink.put(|out| out.write_all(text.as_bytes())).map(|_| ())
    }
}

/// The queries of a text with semicolons on the blank lines between them.
fn separated(mut text: String) -> String {
    for part in vidette_kql::queries_in(&text).into_iter().skip(1).rev() {
        text.insert(part.start - 1, ';');
    }
    text
}

/// The hunting query of this name, or whose name begins so.
fn hunting_query<'p>(packs: &'p [Pack], asked: &str) -> Result<&'p HuntingQuery, Failure> {
    let asked = asked.to_lowercase();
    let all = || packs.iter().flat_map(|pack| &pack.hunting);
    let fits = |query: &&HuntingQuery| query.name.to_lowercase().strip_prefix(&asked).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    all()
        .find(fits)
        .or_else(|| all().find(|query| query.name.to_lowercase().contains(&asked)))
        .ok_or_else(|| Failure::usage(format!("no hunting query `{asked}`; --hunting list shows them")))
}

fn list(packs: &[Pack], output: Option<&PathBuf>) -> Result<u8, Failure> {
    let columns = ["Name", "Techniques", "What it finds"].map(str::to_owned);
    let finds = |query: &HuntingQuery| query.description.replace('\n', " ").trim_start_matches("What it finds: ").split(" Reading it:").next().unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = packs.iter().flat_map(|pack| &pack.hunting).map(|query| vec![query.name.clone(), query.relevant_techniques.join(", "), finds(query)]).collect();
    output::write(&output::table(&columns, &rows, output::width(), |_, _| None), output)?;
    Ok(0)
}
