//! `vidette batch`: one query a line in, one answer a line out; `--check` binds without running.

use crate::commands::{Failure, TimeOptions};
use crate::output;
use crate::workspace::{self, Wanted};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use vidette_engine::{Checker, Clock, Error, ResultTable, Workspace};
use vidette_kql::{Severity, compile, errors};
use vidette_telemetry::Keep;

/// Reads `{"id","query"}` lines from standard input and answers each in order.
pub async fn run(paths: &[PathBuf], check: bool, time: &TimeOptions) -> Result<u8, Failure> {
    let loaded = workspace::load(workspace::empty(), paths, &Wanted::All, Keep::default(), None).await?;
    output::problems(&loaded.harvest.problems);
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
    match tokio::spawn(async move { workspace.query(&text, clock).await }).await {
        Ok(Ok(result)) => match result.tables.last() {
            Some(table) => json!({"id": id, "columns": columns(table), "rows": table.rows()}),
            None => json!({"id": id, "columns": [], "rows": []}),
        },
        Ok(Err(Error::Diagnostics(diagnostics))) => json!({"id": id, "error": errors(&diagnostics).collect::<Vec<_>>().join("; ")}),
        Ok(Err(error)) => json!({"id": id, "error": error.to_string()}),
        Err(_) => json!({"id": id, "error": "bug: the query made Vidette panic"}),
    }
}

fn columns(table: &ResultTable) -> Vec<Value> {
    table.columns.iter().map(|(name, ty)| json!({"name": name, "type": ty.name()})).collect()
}

/// The schema of the last result and all diagnostics, nothing executed.
fn judge(workspace: &Workspace, id: Value, query: &str) -> Value {
    let (queries, diagnostics) = compile(query, &Checker::new(workspace));
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let columns = queries.last().filter(|_| !failed).map(|query| query.columns.iter().map(|column| json!({"name": column.name, "type": column.ty.name()})).collect::<Vec<_>>());
    let diagnostics: Vec<Value> =
        diagnostics.iter().map(|d| json!({"kind": d.kind, "severity": d.severity, "code": d.code, "message": d.message, "start": d.span.start, "length": d.span.len()})).collect();
    json!({"id": id, "columns": columns, "diagnostics": diagnostics})
}
