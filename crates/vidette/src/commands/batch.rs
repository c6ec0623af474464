//! `vidette batch`: one query a line in, one answer a line out; `--check` binds without running.

use crate::commands::{Failure, TimeOptions};
use crate::output;
use crate::workspace::{self, Wanted};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use vidette_engine::{Checker, Clock, Error, ResultTable, Workspace};
use vidette_kql::bound::{Column, Query};
use vidette_kql::{Diagnostic, Severity, compile, errors};
use vidette_telemetry::Keep;

/// Reads `{"id","query"}` lines from standard input and answers each in order.
pub async fn run(paths: &[PathBuf], check: bool, time: &TimeOptions) -> Result<u8, Failure> {
    workspace::learn_columns(paths);
    let loaded = workspace::load(workspace::empty(), paths, &Wanted::All, Keep::default(), None).await?;
    output::problems(&loaded.harvest.problems);
    output::left_out(&loaded.harvest.left_out);
    let clock = time.clock(loaded.harvest.newest_ticks)?;
    // The harvest holds the files that the tables read.
    let (workspace, _harvest) = (Arc::new(loaded.workspace), loaded.harvest);
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let request: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        let (id, Some(query)) = (request["id"].clone(), request["query"].as_str()) else {
            writeln!(out, "{}", json!({"id": request["id"], "error": "a line is {\"id\", \"query\"}"})).ok();
            continue;
        };
        let answer = if check { judge(&workspace, id, query) } else { answer(&workspace, id, query, clock).await };
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(0)
}

async fn answer(workspace: &Arc<Workspace>, id: Value, query: &str, clock: Clock) -> Value {
    let (workspace, text) = (workspace.clone(), query.to_owned());
    // A task of its own: a bug in one query must not end the batch.
    match tokio::spawn(async move { last_result(&workspace, &text, clock).await }).await {
        Ok(Ok(Some((table, warnings)))) => {
            let mut answer = json!({"id": id, "columns": columns(&table), "rows": table.rows()});
            if !warnings.is_empty() {
                answer["warnings"] = warnings.iter().map(Diagnostic::headline).collect();
            }
            answer
        }
        Ok(Ok(None)) => json!({"id": id, "error": format!("the result has more than {MOST_VALUES} values")}),
        Ok(Err(Error::Diagnostics(diagnostics))) => json!({"id": id, "error": errors(&diagnostics).collect::<Vec<_>>().join("; ")}),
        Ok(Err(error)) => json!({"id": id, "error": error.to_string()}),
        Err(_) => json!({"id": id, "error": "bug: the query made Vidette panic"}),
    }
}

/// An answer is one line: what is longer is refused.
const MOST_VALUES: usize = 10_000_000;

/// The table of the last statement, and what its text is warned of; `None` when it is too long.
async fn last_result(workspace: &Workspace, text: &str, clock: Clock) -> Result<Option<(ResultTable, Vec<Diagnostic>)>, Error> {
    let (queries, warnings) = workspace.compile(text, clock).await?;
    let mut last = ResultTable::default();
    for query in &queries {
        let mut rows = workspace.stream(query, clock).await?;
        last = rows.header.clone();
        let mut values = 0;
        while let Some(piece) = rows.next().await? {
            values += piece.row_count() * piece.columns.len();
            if values > MOST_VALUES {
                return Ok(None);
            }
            last.batches.extend(piece.batches);
        }
    }
    Ok(Some((last, warnings)))
}

fn columns(table: &ResultTable) -> Vec<Value> {
    table.columns.iter().map(|(name, ty)| json!({"name": name, "type": ty.name()})).collect()
}

fn type_name(query: &Query, column: &Column) -> &'static str {
    if query.guessed.contains(&column.id) { "unknown" } else { column.ty.name() }
}

/// The schema of the last result and all diagnostics, nothing executed.
fn judge(workspace: &Workspace, id: Value, query: &str) -> Value {
    let (queries, diagnostics) = compile(query, &Checker::new(workspace));
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let columns =
        queries.last().filter(|_| !failed).map(|query| query.columns.iter().map(|column| json!({"name": column.name, "type": type_name(query, column)})).collect::<Vec<_>>());
    let diagnostics: Vec<Value> =
        diagnostics.iter().map(|d| json!({"kind": d.kind, "severity": d.severity, "code": d.code, "message": d.message, "start": d.span.start, "length": d.span.len()})).collect();
    json!({"id": id, "columns": columns, "diagnostics": diagnostics})
}
