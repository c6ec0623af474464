//! Graphs: their nodes, their components. Kusto docs: `make-graph-operator`, `graph-mark-components-operator`.

use crate::cells::Out;
use crate::functions::shown;
use crate::operators::{Output, Table};
use datafusion::common::Result;
use std::collections::HashMap;

/// Numbers for the ids of nodes, in the order of their appearance.
#[derive(Default)]
pub(super) struct Ids {
    numbers: HashMap<String, usize>,
}

impl Ids {
    /// The number of an id, a new one when it was not seen before.
    pub(super) fn number(&mut self, id: String) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(id).or_insert(next)
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.numbers.get(id).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// Inputs: the ends of the edges, then the tables of nodes, each with its id, which has the name of the property that it is, if
/// it is one. A row per node: the id as text, the properties. Nodes of one id are one, with the first value of each property;
/// nodes without a row have their id alone, for each table, as Kusto's emulator has it.
pub(super) fn nodes(inputs: &[Table], output: &mut Output) -> Result<()> {
    // By name, as the columns of the result.
    let mut names: Vec<&String> = Vec::new();
    for name in inputs[1..].iter().flat_map(|table| &table.names[..table.width()]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let (mut ids, mut rows): (Ids, Vec<(String, Vec<Out>)>) = (Ids::default(), Vec::new());
    for table in &inputs[1..] {
        let places: Vec<usize> = table.names[..table.width()].iter().filter_map(|name| names.iter().position(|known| *known == name)).collect();
        for row in 0..table.rows {
            let id = shown(table.argument(row, 0));
            let at = ids.number(id.clone());
            if at == rows.len() {
                rows.push((id, vec![Out::Null; names.len()]));
            }
            for (column, place) in places.iter().enumerate() {
                let known = &mut rows[at].1[*place];
                if matches!(known, Out::Null) || matches!(known, Out::Text(text) if text.is_empty()) {
                    *known = Out::from(table.cell(row, column));
                }
            }
        }
    }
    let keys: Vec<usize> = inputs[1..].iter().filter_map(|table| names.iter().position(|name| **name == table.names[table.width()])).collect();
    for row in 0..inputs[0].rows {
        for end in 0..2 {
            let value = inputs[0].argument(row, end);
            let id = shown(value);
            if ids.number(id.clone()) == rows.len() {
                let mut properties = vec![Out::Null; names.len()];
                keys.iter().for_each(|key| properties[*key] = Out::from(value));
                rows.push((id, properties));
            }
        }
    }
    rows.into_iter().for_each(|(id, values)| output.push(std::iter::once(Out::Text(id)).chain(values)));
    Ok(())
}

/// As `nodes`, where the ends of the edges are all that is known of them: a row per node with its id, twice.
pub(super) fn named_nodes(inputs: &[Table], output: &mut Output) -> Result<()> {
    let mut ids = Ids::default();
    for row in 0..inputs[0].rows {
        for end in 0..2 {
            let value = inputs[0].argument(row, end);
            let seen = ids.len();
            if ids.number(shown(value)) == seen {
                output.push([Out::Text(shown(value)), Out::from(value)]);
            }
        }
    }
    Ok(())
}

/// The ends of every edge, by the numbers of the nodes; edges of unknown nodes are left out.
fn ends(nodes: &Ids, edges: &Table) -> Vec<(usize, usize)> {
    (0..edges.rows).filter_map(|row| Some((nodes.find(&shown(edges.argument(row, 0)))?, nodes.find(&shown(edges.argument(row, 1)))?))).collect()
}

/// Inputs: the ends of the edges, then the nodes. The nodes with the number of their component.
fn with_components(inputs: &[Table], output: &mut Output, components: impl FnOnce(usize, &[(usize, usize)]) -> Vec<usize>) -> Result<()> {
    let mut ids = Ids::default();
    for row in 0..inputs[1].rows {
        ids.number(shown(inputs[1].cell(row, 0)));
    }
    let found = components(ids.len(), &ends(&ids, &inputs[0]));
    let mut numbers: HashMap<usize, i64> = HashMap::new();
    for (row, component) in found.into_iter().enumerate() {
        let next = numbers.len() as i64;
        let number = *numbers.entry(component).or_insert(next);
        output.push(inputs[1].row(row).chain([Out::Long(number)]));
    }
    Ok(())
}

pub(super) fn weak_components(inputs: &[Table], output: &mut Output) -> Result<()> {
    with_components(inputs, output, |count, edges| {
        let mut parents: Vec<usize> = (0..count).collect();
        fn root(parents: &mut [usize], mut at: usize) -> usize {
            while parents[at] != at {
                parents[at] = parents[parents[at]];
                at = parents[at];
            }
            at
        }
        for (a, b) in edges {
            let (a, b) = (root(&mut parents, *a), root(&mut parents, *b));
            parents[a.max(b)] = a.min(b);
        }
        (0..count).map(|node| root(&mut parents, node)).collect()
    })
}

/// Kosaraju's two passes, without recursion.
pub(super) fn strong_components(inputs: &[Table], output: &mut Output) -> Result<()> {
    with_components(inputs, output, |count, edges| {
        let (mut onward, mut backward) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (from, to) in edges {
            onward[*from].push(*to);
            backward[*to].push(*from);
        }
        let (mut seen, mut finished) = (vec![false; count], Vec::with_capacity(count));
        for start in 0..count {
            let mut path = vec![(start, 0)];
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            while let Some((node, next)) = path.last_mut() {
                match onward[*node].get(*next) {
                    Some(to) => {
                        *next += 1;
                        if !std::mem::replace(&mut seen[*to], true) {
                            path.push((*to, 0));
                        }
                    }
                    None => {
                        finished.push(*node);
                        path.pop();
                    }
                }
            }
        }
        let mut component = vec![usize::MAX; count];
        for start in finished.into_iter().rev() {
            let mut waiting = vec![start];
            while let Some(node) = waiting.pop() {
                if component[node] == usize::MAX {
                    component[node] = start;
                    waiting.extend(&backward[node]);
                }
            }
        }
        component
    })
}
