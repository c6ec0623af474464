//! Parquet files as tables of the workspace: read by queries, not before.

use super::{Loaded, Wanted, empty, known_columns};
use crate::commands::Failure;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::prelude::ParquetReadOptions;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use vidette_engine::{Clock, TIMES, Table, TimedFile, TimedFiles, Workspace};
use vidette_kql::time::parse_datetime;
use vidette_telemetry::{Footer, Harvest, Problem, files_under, is_event_of_store, is_made_of_events, table_of_parquet};

/// Parquet files by table: a file or folder named after the table, else the table its columns suggest. Gives the tables with their files.
pub(super) async fn parquet_parts(
    workspace: &Workspace,
    harvest: &mut Harvest,
    wanted: &Wanted,
    parts: &mut BTreeMap<String, Vec<Arc<dyn TableProvider>>>,
) -> Vec<(String, Vec<Option<Footer>>)> {
    let mut by_table: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let rows_alone = matches!(wanted, Wanted::Rows(_));
    for path in std::mem::take(&mut harvest.parquet).into_iter().filter(|path| !(rows_alone && is_made_of_events(path))) {
        match table_of_parquet(&path) {
            Ok(name) if wanted.includes(&name) => by_table.entry(name).or_default().push(path),
            Ok(_) => {}
            Err(problem) => harvest.problems.push(problem),
        }
    }
    let mut names = Vec::with_capacity(by_table.len());
    for (name, paths) in by_table {
        let mut footers = Vec::with_capacity(paths.len());
        for group in groups(paths) {
            match parquet_view(workspace, &group).await {
                Ok(view) => {
                    parts.entry(name.clone()).or_default().push(view);
                    footers.extend(group.files.into_iter().map(|(_, footer)| footer));
                }
                Err(error) => harvest.problems.push(Problem::file(&group.files[0].0, error.to_string())),
            }
        }
        names.push((name, footers));
    }
    names
}

/// Files whose columns of one name are of one type.
#[derive(Default)]
struct Group {
    files: Vec<(PathBuf, Option<Footer>)>,
    types: BTreeMap<String, DataType>,
    /// Of the first file, where all have the same.
    schema: Option<SchemaRef>,
}

impl Group {
    fn fits(&self, schema: &SchemaRef) -> bool {
        schema.fields().iter().all(|field| self.types.get(field.name()).is_none_or(|ty| ty == field.data_type()))
    }

    fn add(&mut self, path: PathBuf, footer: Footer, schema: SchemaRef) {
        if self.files.is_empty() {
            self.schema = Some(schema.clone());
        } else if self.schema.as_ref().is_some_and(|first| *first != schema) {
            self.schema = None;
        }
        // Most files have the schema of the first.
        if self.schema.is_none() || self.files.is_empty() {
            self.types.extend(schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())));
        }
        self.files.push((path, Some(footer)));
    }
}

/// The files of a table in groups, mostly one. A file whose footer cannot be read is one of its own, which says so.
fn groups(paths: Vec<PathBuf>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for path in paths {
        match Footer::read(&path) {
            Some((footer, schema)) => {
                let at = groups.iter().position(|group| group.fits(&schema)).unwrap_or(groups.len());
                if at == groups.len() {
                    groups.push(Group::default());
                }
                groups[at].add(path, footer, schema);
            }
            None => groups.push(Group { files: vec![(path, None)], ..Group::default() }),
        }
    }
    groups
}

/// The files of a group as one table. A column without nulls is known to have none: what asks for its nulls is
/// left out of plans.
async fn parquet_view(workspace: &Workspace, group: &Group) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let of_schema = if group.schema.is_some() { &group.files[..1] } else { &group.files };
    let locations: Vec<String> = of_schema.iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect();
    let options = ParquetReadOptions::default().file_extension("");
    let schema = workspace.session().read_parquet(locations, options).await?.schema().as_arrow().clone();
    let complete = |name: &str| group.files.iter().all(|(_, footer)| footer.as_ref().is_some_and(|footer| footer.is_complete(name)));
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(field.is_nullable() && !complete(field.name()))).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let span = |footer: &Footer, column: &str| {
        let groups = footer.row_group_times(column).filter(|_| footer.is_complete(column))?;
        Some((groups.iter().map(|(first, _)| *first).min()?, groups.iter().map(|(_, last)| *last).max()?))
    };
    let files = group.files.iter().map(|(path, footer)| TimedFile { path: path.clone(), times: TIMES.map(|column| span(footer.as_ref()?, column)) });
    Ok(Arc::new(TimedFiles::new(schema, files.collect())))
}

/// The events that were read, by provider and id, with those of folders that `ingest` wrote, whose files queries read.
pub async fn signals(loaded: &Loaded, paths: &[PathBuf]) -> Result<BTreeMap<(String, u32), u64>, Failure> {
    let mut signals = loaded.harvest.signals.clone();
    let files = files_under(paths).map_or_else(|_| Vec::new(), |(files, _)| files);
    // What has no footer was told when the tables were made.
    let stored: Vec<String> = files.into_iter().filter(|file| is_event_of_store(file) && Footer::read(file).is_some()).map(|file| file.to_string_lossy().into_owned()).collect();
    if stored.is_empty() {
        return Ok(signals);
    }
    let failed = |error: DataFusionError| Failure::query(error.to_string());
    let events = loaded.workspace.session().read_parquet(stored, ParquetReadOptions::default().file_extension("")).await.map_err(failed)?;
    let table = Table::new(events.into_view(), known_columns("WindowsEvent"));
    let mut workspace = empty();
    workspace.register("WindowsEvent", table);
    let result = workspace.query("WindowsEvent | summarize Events = count() by Provider, EventID", Clock::now()).await.map_err(|error| Failure::query(error.to_string()))?;
    for row in result.tables[0].text_rows() {
        let [provider, id, events] = &row[..] else { continue };
        *signals.entry((provider.clone(), id.parse().unwrap_or_default())).or_default() += events.parse::<u64>().unwrap_or_default();
    }
    Ok(signals)
}

/// A row group that spans more says too little of its times: ten years, in ticks.
const LONGEST_ROW_GROUP: i64 = 3650 * 864_000_000_000;

/// Tells the harvest at which times a directly read table has rows: they decide `now()` and the windows of a hunt. The
/// statistics of the files tell it, else the rows.
pub(super) async fn cover(workspace: &Workspace, harvest: &mut Harvest, table: &str, files: &[Option<Footer>]) {
    for time in TIMES {
        let times: Option<Vec<_>> = files.iter().map(|footer| footer.as_ref()?.row_group_times(time)).collect();
        if let Some(times) = times.filter(|times| times.iter().copied().flatten().all(|(first, last)| last - first < LONGEST_ROW_GROUP)) {
            times.into_iter().flatten().for_each(|(first, last)| harvest.cover_between(*first, *last));
            return;
        }
        let query = format!("['{table}'] | where isnotnull({time}) | summarize First = min({time}), Last = max({time}) by bin({time}, 1h) | project First, Last");
        if let Ok(result) = workspace.query(&query, Clock::now()).await {
            harvest.cover(result.tables[0].text_rows().iter().flatten().filter_map(|text| parse_datetime(text)));
            return;
        }
    }
}
