//! `vidette ingest`: files of any kind into a folder of Parquet, which every other command reads directly.

use crate::commands::Failure;
use crate::output::{self, Format};
use crate::workspace::carves;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;
use vidette_telemetry::{Harvest, Keep, Normalizer, Problem, Reading, Store, files_under, harvest_files, learn_more_columns};

/// What one step of the store reads: a crash loses no more than this.
const STEP_BYTES: u64 = 4 << 30;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files and folders of telemetry
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The folder to write to; one that is there grows
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// How to show what was done; a table on a terminal, else NDJSON
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

#[derive(Default)]
struct Done {
    files: usize,
    known_files: usize,
    other_files: usize,
    events: u64,
    written_bytes: u64,
    rows: BTreeMap<&'static str, u64>,
    problems: Vec<Problem>,
    left_out: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Done {
    fn add(&mut self, harvest: Harvest) {
        self.files += harvest.files_read;
        self.other_files += harvest.other_files;
        self.events += harvest.events_read;
        for (table, summary) in harvest.summaries {
            *self.rows.entry(table).or_default() += summary.rows;
        }
        for (table, columns) in harvest.left_out {
            self.left_out.entry(table).or_default().extend(columns);
        }
        self.problems.extend(harvest.problems);
        self.problems
            .extend(harvest.parquet.iter().map(|path| Problem::file(path, "Parquet of no known table, or of another such folder: left as it is; give it beside the folder")));
    }
}

pub fn run(options: &Options) -> Result<u8, Failure> {
    let started = Instant::now();
    let failed = |error: vidette_telemetry::Error| Failure::usage(format!("error: {error}"));
    let (files, problems) = files_under(&options.paths).map_err(failed)?;
    learn_more_columns(&files);
    let mut store = Store::open(&options.to).map_err(failed)?;
    let mut done = Done { problems, ..Done::default() };
    let own = options.to.canonicalize().ok();
    let (known, fresh): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().filter(|file| !own.as_ref().is_some_and(|own| file.canonicalize().is_ok_and(|file| file.starts_with(own)))).partition(|file| store.has(file));
    done.known_files = known.len();
    let normalizer = Normalizer::new(|_, _| true);
    let bar = crate::progress::Bar::new();
    for files in steps(fresh) {
        let mut step = store.step().map_err(failed)?;
        let reading = Reading {
            keep: Keep::Hand(&mut |table, origin, batch| step.take(table, origin, &batch)),
            seen: Some(&store.seen),
            carve: carves(),
            watch: None,
            direct_parquet: false,
        };
        let harvest = harvest_files(files.clone(), &options.paths, &normalizer, reading, &mut |progress| bar.update(progress)).map_err(failed)?;
        // A file that could not be read as a whole is to be tried again.
        let read: Vec<PathBuf> = files.into_iter().filter(|file| !harvest.problems.iter().any(|problem| problem.place.is_none() && problem.path == *file)).collect();
        done.add(harvest);
        done.written_bytes += store.commit(step, &read).map_err(failed)?;
    }
    bar.finish();
    let repeated = store.seen.repeated();
    report(&done, repeated, started, options.format)?;
    Ok(output::status(&done.problems))
}

/// Files that are read in one step.
fn steps(files: Vec<PathBuf>) -> Vec<Vec<PathBuf>> {
    let mut steps: Vec<Vec<PathBuf>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        let length = std::fs::metadata(&file).map_or(0, |meta| meta.len());
        match steps.last_mut() {
            Some(step) if bytes + length <= STEP_BYTES => step.push(file),
            _ => {
                steps.push(vec![file]);
                bytes = 0;
            }
        }
        bytes += length;
    }
    steps
}

fn report(done: &Done, repeated: u64, started: Instant, format: Option<Format>) -> Result<(), Failure> {
    let names = ["Table", "Rows"].map(str::to_owned);
    let rows: Vec<Vec<String>> = done.rows.iter().map(|(table, rows)| vec![(*table).to_owned(), rows.to_string()]).collect();
    let total: u64 = done.rows.values().sum();
    let text = match Format::choose(format, false) {
        Format::Table => output::table(&names, &rows, output::width(), |_, _| None),
        Format::Csv => output::csv(&names, &rows),
        Format::Ndjson => done.rows.iter().map(|(table, rows)| format!("{}\n", json!({"table": table, "rows": rows}))).collect(),
        Format::Json => {
            let problems: Vec<String> = done.problems.iter().map(ToString::to_string).collect();
            let summary = json!({
                "tables": done.rows, "files": done.files, "knownFiles": done.known_files, "otherFiles": done.other_files,
                "events": done.events, "repeatedEvents": repeated, "writtenBytes": done.written_bytes, "problems": problems, "leftOutColumns": done.left_out,
            });
            format!("{summary}\n")
        }
    };
    output::write(&text, None)?;
    output::problems(&done.problems);
    output::left_out(&done.left_out);
    say!(
        "{} files ({} known before, {} of other kinds left alone), {} events ({repeated} seen before), {total} rows in {:.1} MB, {:.2} s",
        done.files,
        done.known_files,
        done.other_files,
        done.events,
        done.written_bytes as f64 / 1e6,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
