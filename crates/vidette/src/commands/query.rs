//! `vidette query`: KQL over files, a table out.

use crate::commands::{Failure, TimeOptions};
use crate::output::{self, Format};
use crate::packs::{install, packs};
use crate::workspace::{self, Wanted};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use vidette_engine::{Error, ResultTable};
use vidette_rules::{HuntingQuery, Pack};

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
    let packs = packs(&options.watchlists)?;
    let (name, text) = match (&options.file, &options.hunting) {
        (Some(file), _) => (file.display().to_string(), std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?),
        (None, Some(asked)) if asked == "list" => return list(&packs, options.output.as_ref()),
        (None, Some(asked)) => {
            let query = hunting_query(&packs, asked)?;
            (query.name.clone(), query.query.clone())
        }
        (None, None) => ("query".to_owned(), arguments.next().cloned().ok_or_else(|| Failure::usage("give a query, --file or --hunting"))?),
    };
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let mut empty = workspace::empty();
    install(&packs, &mut empty);
    let hopeless = workspace::hopeless(&empty, &text, &paths);
    if !hopeless.is_empty() {
        return Err(Failure::query(vidette_kql::render(&text, &name, &hopeless)));
    }
    let wanted = Wanted::by(&empty, [text.as_str()]);
    let loaded = workspace::load_for(&text, empty, &paths, &wanted).await?;
    output::problems(&loaded.harvest.problems);
    let clock = options.time.clock(loaded.harvest.newest_ticks)?;
    if options.explain {
        let plan = loaded.workspace.explain(&text, clock).await.map_err(|error| Failure::query(error.to_string()))?;
        output::write(&format!("{plan}\n"), options.output.as_ref())?;
        return Ok(0);
    }
    let result = match loaded.workspace.query(&text, clock).await {
        Ok(result) => result,
        Err(Error::Diagnostics(diagnostics)) => return Err(Failure::query(vidette_kql::render(&text, &name, &diagnostics))),
        Err(error) => return Err(Failure::query(error.to_string())),
    };
    let format = Format::choose(options.format, options.output.is_some());
    let mut out = String::new();
    for table in &result.tables {
        out.push_str(&render(table, format));
    }
    output::write(&out, options.output.as_ref())?;
    Ok(u8::from(!loaded.harvest.problems.is_empty()) * 3)
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

fn render(table: &ResultTable, format: Format) -> String {
    let names: Vec<String> = table.columns.iter().map(|(name, _)| name.clone()).collect();
    match format {
        Format::Table => {
            let rows = table.text_rows();
            format!("{}{} {}\n", output::table(&names, &rows, output::width(), |_, _| None), rows.len(), if rows.len() == 1 { "row" } else { "rows" })
        }
        Format::Csv => output::csv(&names, &table.text_rows()),
        Format::Ndjson => table.rows().into_iter().map(|row| format!("{}\n", object(&names, row))).collect(),
        Format::Json => {
            let columns: Vec<Value> = table.columns.iter().map(|(name, ty)| json!({"name": name, "type": ty.name()})).collect();
            format!("{}\n", json!({"columns": columns, "rows": table.rows()}))
        }
    }
}

fn object(names: &[String], row: Vec<Value>) -> Value {
    Value::Object(names.iter().cloned().zip(row).collect::<Map<_, _>>())
}
