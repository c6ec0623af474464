//! The processes above and below one process.

use super::{Subject, plain};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use vidette_kql::time::parse_datetime;

/// A line of the tree, in the order in which it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub depth: usize,
    pub process_id: Option<i64>,
    pub file_name: String,
    pub command_line: String,
    pub account: String,
    pub time: String,
    /// It is the alert's own process.
    pub is_subject: bool,
}

const MOST_ANCESTORS: usize = 16;
const MOST_NODES: usize = 200;
const MOST_DEPTH: usize = 12;
/// Start times of one process differ by as much between sources.
const NEAR_TICKS: i64 = 20_000_000;

struct Process<'r> {
    row: &'r Map<String, Value>,
    id: i64,
    started: Option<i64>,
    parent: Option<i64>,
    parent_started: Option<i64>,
}

/// The ancestors of the subject from the oldest, the subject, and all below it. Process ids are used again: a parent is one
/// that started when the child says, or else the latest one before it.
pub fn build(subject: &Subject, rows: &[Map<String, Value>]) -> Vec<Node> {
    let mut processes: Vec<Process> = rows.iter().filter_map(process).collect();
    processes.sort_by_key(|process| process.started);
    let mut by_id: HashMap<i64, Vec<usize>> = HashMap::new();
    for (at, process) in processes.iter().enumerate() {
        by_id.entry(process.id).or_default().push(at);
    }
    let started = parse_datetime(&subject.started).or_else(|| parse_datetime(&subject.first));
    let own = subject.process_id.and_then(|id| find(&processes, &by_id, id, started));
    // Upwards, then turned around.
    let mut above = Vec::new();
    let mut at = own;
    while let Some(child) = at {
        let process = &processes[child];
        let Some(parent) = process.parent.filter(|parent| *parent != process.id) else { break };
        at = find(&processes, &by_id, parent, process.parent_started.or(process.started)).filter(|parent| *parent < child || processes[*parent].started <= process.started);
        at = at.filter(|parent| *parent != child);
        match at {
            Some(parent) => above.push(node(&processes[parent], 0)),
            None => {
                // Nobody saw the parent start; the child tells of it, and of its parent.
                above.push(told(process, "InitiatingProcess", Some(parent)));
                let grandparent = told(process, "InitiatingProcessParent", process.row.get("InitiatingProcessParentId").and_then(Value::as_i64));
                above.extend(Some(grandparent).filter(|node| !node.file_name.is_empty()));
            }
        }
        if above.len() >= MOST_ANCESTORS {
            break;
        }
    }
    above.reverse();
    let mut nodes: Vec<Node> = above.into_iter().enumerate().map(|(depth, node)| Node { depth, ..node }).collect();
    let depth = nodes.len();
    match own {
        Some(own) => {
            nodes.push(Node { is_subject: true, ..node(&processes[own], depth) });
            below(&processes, own, depth + 1, &mut nodes);
        }
        None => nodes.push(Node {
            depth,
            process_id: subject.process_id,
            file_name: subject.file_name.clone(),
            command_line: subject.command_line.clone(),
            account: subject.account.clone(),
            time: subject.started.clone(),
            is_subject: true,
        }),
    }
    nodes
}

fn process(row: &Map<String, Value>) -> Option<Process<'_>> {
    let number = |name: &str| row.get(name).and_then(Value::as_i64);
    let time = |name: &str| row.get(name).and_then(Value::as_str).and_then(parse_datetime);
    Some(Process {
        row,
        id: number("ProcessId")?,
        started: time("ProcessCreationTime").or_else(|| time("Timestamp")),
        parent: number("InitiatingProcessId"),
        parent_started: time("InitiatingProcessCreationTime"),
    })
}

fn find(processes: &[Process], by_id: &HashMap<i64, Vec<usize>>, id: i64, started: Option<i64>) -> Option<usize> {
    let all = by_id.get(&id)?;
    let Some(started) = started else { return all.last().copied() };
    let exact = all.iter().copied().find(|at| processes[*at].started.is_some_and(|own| (own - started).abs() <= NEAR_TICKS));
    exact.or_else(|| all.iter().copied().rfind(|at| processes[*at].started.is_none_or(|own| own <= started)))
}

fn below(processes: &[Process], parent: usize, depth: usize, nodes: &mut Vec<Node>) {
    if depth > MOST_DEPTH {
        return;
    }
    let (id, started) = (processes[parent].id, processes[parent].started);
    // The id is another process's when that one started before the child did.
    let next = processes.iter().skip(parent + 1).filter(|other| other.id == id).find_map(|other| other.started);
    for (at, child) in processes.iter().enumerate().skip(parent + 1).filter(|(_, child)| child.parent == Some(id)) {
        let same = match (child.parent_started, started) {
            (Some(told), Some(started)) => (told - started).abs() <= NEAR_TICKS,
            _ => next.is_none_or(|next| child.started.is_some_and(|own| own < next)),
        };
        if same && nodes.len() < MOST_NODES {
            nodes.push(node(child, depth));
            below(processes, at, depth + 1, nodes);
        }
    }
}

fn node(process: &Process, depth: usize) -> Node {
    let text = |name: &str| process.row.get(name).map(plain).unwrap_or_default();
    Node {
        depth,
        process_id: Some(process.id),
        file_name: text("FileName"),
        command_line: text("ProcessCommandLine"),
        account: text("AccountName"),
        time: text("Timestamp"),
        is_subject: false,
    }
}

/// A process that only its child tells of.
fn told(child: &Process, prefix: &str, id: Option<i64>) -> Node {
    let text = |name: &str| child.row.get(&format!("{prefix}{name}")).map(plain).unwrap_or_default();
    Node { depth: 0, process_id: id, file_name: text("FileName"), command_line: text("CommandLine"), account: String::new(), time: text("CreationTime"), is_subject: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(all: Value) -> Vec<Map<String, Value>> {
        all.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect()
    }

    #[test]
    fn ancestors_and_descendants_are_those_of_the_instance_not_of_the_number() {
        let at = |minute: u32| format!("2026-01-01T00:{minute:02}:00.0000000Z");
        let row = |minute: u32, id: i64, name: &str, parent: i64, parent_minute: Option<u32>| {
            json!({"Timestamp": at(minute), "ProcessCreationTime": at(minute), "ProcessId": id, "FileName": name, "InitiatingProcessId": parent,
                "InitiatingProcessCreationTime": parent_minute.map(at), "InitiatingProcessFileName": "told.exe", "InitiatingProcessParentFileName": "old.exe"})
        };
        let rows = rows(json!([
            row(1, 10, "a.exe", 4, None),
            row(2, 20, "b.exe", 10, Some(1)),
            row(3, 30, "c.exe", 20, Some(2)),
            row(4, 20, "other.exe", 4, None),
            row(5, 40, "d.exe", 20, Some(4)),
            row(6, 50, "e.exe", 20, None)
        ]));
        let subject = Subject { process_id: Some(20), started: at(2), ..Subject::default() };
        let lines: Vec<(usize, String, bool)> = build(&subject, &rows).into_iter().map(|node| (node.depth, node.file_name, node.is_subject)).collect();
        let line = |depth: usize, name: &str, own: bool| (depth, name.to_owned(), own);
        assert_eq!(lines, [line(0, "old.exe", false), line(1, "told.exe", false), line(2, "a.exe", false), line(3, "b.exe", true), line(4, "c.exe", false)]);
    }

    #[test]
    fn a_process_that_nobody_saw_start_is_a_tree_of_its_own() {
        let subject = Subject { process_id: Some(7), file_name: "x.exe".to_owned(), ..Subject::default() };
        assert_eq!(build(&subject, &[]).len(), 1);
    }
}
