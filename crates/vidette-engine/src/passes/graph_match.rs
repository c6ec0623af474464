//! Matches of a pattern in a graph. Kusto docs: `graph-match-operator`, `graph-shortest-paths-operator`.

use super::graph::Ids;
use crate::cells::{Cell, Out};
use crate::functions::shown;
use crate::json;
use crate::operators::{Output, Table};
use datafusion::common::Result;
use serde_json::Value;
use std::collections::HashMap;
use vidette_kql::bound::{Cycles, Direction, Fold, GraphPattern, GraphStep, Shortest};

/// Beyond this many edges a path of no given length does not go.
const LONGEST_PATH: usize = 1000;

/// An edge as seen from one of its ends.
#[derive(Clone, Copy)]
struct Hop {
    edge: usize,
    to: usize,
    /// Along its direction.
    forward: bool,
}

/// The length of the shortest matches so far, and their rows.
type Best = (usize, Vec<Vec<Out>>);

struct Search<'a> {
    pattern: &'a GraphPattern,
    nodes: &'a Table,
    edges: &'a Table,
    hops: Vec<Vec<Hop>>,
    degrees: Vec<(i64, i64)>,
    /// All steps of all sequences, with the element each begins at.
    steps: Vec<(usize, &'a GraphStep)>,
    starts: Vec<usize>,
    /// The node of each node element, and the edges of each edge element.
    bound: Vec<Option<usize>>,
    paths: Vec<Vec<Hop>>,
    used_edges: Vec<bool>,
    used_nodes: Vec<bool>,
    /// Of shortest paths: how far each node is from the start.
    distances: Option<Vec<usize>>,
    /// Of shortest paths: the matches by their nodes, those inside paths not among them.
    best: HashMap<Vec<Option<usize>>, Best>,
    order: Vec<Vec<Option<usize>>>,
}

/// Inputs: the nodes, the edges. A row per match.
pub(crate) fn run(pattern: &GraphPattern, inputs: &[Table], output: &mut Output) -> Result<()> {
    let (nodes, edges) = (&inputs[0], &inputs[1]);
    let mut ids = Ids::default();
    for row in 0..nodes.rows {
        ids.number(shown(nodes.cell(row, 0)));
    }
    let (mut hops, mut degrees) = (vec![Vec::new(); nodes.rows], vec![(0, 0); nodes.rows]);
    for edge in 0..edges.rows {
        let (Some(from), Some(to)) = (ids.find(edges.cell(edge, 0).text()), ids.find(edges.cell(edge, 1).text())) else { continue };
        hops[from].push(Hop { edge, to, forward: true });
        hops[to].push(Hop { edge, to: from, forward: false });
        degrees[from].1 += 1;
        degrees[to].0 += 1;
    }
    let mut steps = Vec::new();
    for sequence in &pattern.sequences {
        let mut from = sequence.start;
        for step in &sequence.steps {
            steps.push((from, step));
            from = step.to;
        }
    }
    let starts = pattern.sequences.iter().map(|sequence| sequence.start).collect();
    let count = pattern.elements.len();
    let mut search = Search {
        pattern,
        nodes,
        edges,
        used_edges: vec![false; edges.rows],
        used_nodes: vec![false; nodes.rows],
        hops,
        degrees,
        steps,
        starts,
        bound: vec![None; count],
        paths: vec![Vec::new(); count],
        distances: None,
        best: HashMap::new(),
        order: Vec::new(),
    };
    search.continue_at(0, output);
    for nodes in std::mem::take(&mut search.order) {
        search.best.remove(&nodes).into_iter().flat_map(|(_, rows)| rows).for_each(|row| output.push(row));
    }
    Ok(())
}

impl Search<'_> {
    fn meets(&self, table: &Table, row: usize, filters: &[usize]) -> bool {
        filters.iter().all(|filter| table.cell(row, *filter) == Cell::Bool(true))
    }

    fn node_fits(&self, element: usize, node: usize) -> bool {
        self.meets(self.nodes, node, &self.pattern.elements[element].filters)
    }

    /// Matches the steps from number `step` on; those before are matched.
    fn continue_at(&mut self, step: usize, output: &mut Output) {
        let next = match self.steps.get(step) {
            Some((from, _)) => *from,
            // Sequences of one node have no steps.
            None => match self.starts.iter().find(|start| self.bound[**start].is_none()) {
                Some(start) => *start,
                None => return self.found(output),
            },
        };
        match self.bound[next] {
            Some(node) => self.along(step, node, output),
            None => {
                for node in 0..self.nodes.rows {
                    if self.node_fits(next, node) {
                        self.bound[next] = Some(node);
                        let taken = std::mem::replace(&mut self.used_nodes[node], true);
                        if !(taken && self.pattern.cycles == Cycles::None) {
                            self.distances = self.distances(node);
                            self.along(step, node, output);
                        }
                        self.used_nodes[node] = taken;
                        self.bound[next] = None;
                    }
                }
            }
        }
    }

    fn along(&mut self, step: usize, node: usize, output: &mut Output) {
        match self.steps.get(step).copied() {
            None => self.continue_at(step, output),
            Some((_, edge)) => stacker::maybe_grow(64 * 1024, 2 * 1024 * 1024, || self.hop(step, edge, node, output)),
        }
    }

    /// One edge more from `node` in the step: the step may end there, or its path goes on.
    fn hop(&mut self, step: usize, wanted: &GraphStep, node: usize, output: &mut Output) {
        let (least, most) = wanted.range.unwrap_or((1, 1));
        let length = self.paths[wanted.edge].len();
        let start = self.bound[self.steps[step].0];
        if length >= least && (length > 0 || least == 0) {
            self.arrive(step, wanted, node, output);
        }
        if length >= most.min(LONGEST_PATH) || length > 0 && !self.meets(self.nodes, node, &self.pattern.elements[wanted.edge].inner_filters) {
            return;
        }
        for at in 0..self.hops[node].len() {
            let hop = self.hops[node][at];
            let again = match self.pattern.cycles {
                Cycles::All => false,
                Cycles::UniqueEdges => self.used_edges[hop.edge],
                Cycles::None => self.used_nodes[hop.to] && (self.bound[wanted.to] != Some(hop.to) || wanted.range.is_some() && start == Some(hop.to)),
            };
            // The shortest of paths that come to no node twice.
            let again = again || self.pattern.shortest.is_some() && (start == Some(hop.to) || self.paths[wanted.edge].iter().any(|earlier| earlier.to == hop.to));
            let detour = self.distances.as_ref().is_some_and(|distances| distances[hop.to] != length + 1);
            if detour || again || !self.may_follow(wanted, &hop) {
                continue;
            }
            let (edge, seen) = (std::mem::replace(&mut self.used_edges[hop.edge], true), std::mem::replace(&mut self.used_nodes[hop.to], true));
            self.paths[wanted.edge].push(hop);
            stacker::maybe_grow(64 * 1024, 2 * 1024 * 1024, || self.hop(step, wanted, hop.to, output));
            self.paths[wanted.edge].pop();
            (self.used_edges[hop.edge], self.used_nodes[hop.to]) = (edge, seen);
        }
    }

    /// The step ends at `node`, if its element allows it.
    fn arrive(&mut self, step: usize, wanted: &GraphStep, node: usize, output: &mut Output) {
        match self.bound[wanted.to] {
            Some(known) if known == node => self.continue_at(step + 1, output),
            Some(_) => {}
            None if self.node_fits(wanted.to, node) => {
                self.bound[wanted.to] = Some(node);
                self.continue_at(step + 1, output);
                self.bound[wanted.to] = None;
            }
            None => {}
        }
    }

    /// Of a pattern that is one path: how far each node is from `start`, edges and nodes inside the path as wanted.
    fn distances(&self, start: usize) -> Option<Vec<usize>> {
        let [(_, wanted)] = self.steps.as_slice() else { return None };
        let (least, most) = wanted.range?;
        if self.pattern.shortest.is_none() || least > 1 {
            return None;
        }
        let mut distances = vec![usize::MAX; self.nodes.rows];
        distances[start] = 0;
        let (mut here, mut length) = (vec![start], 0);
        while !here.is_empty() && length < most.min(LONGEST_PATH) {
            length += 1;
            let mut next = Vec::new();
            for node in here {
                for hop in self.hops[node].iter().filter(|hop| self.may_follow(wanted, hop)) {
                    if distances[hop.to] == usize::MAX {
                        distances[hop.to] = length;
                        if self.meets(self.nodes, hop.to, &self.pattern.elements[wanted.edge].inner_filters) {
                            next.push(hop.to);
                        }
                    }
                }
            }
            here = next;
        }
        Some(distances)
    }

    fn may_follow(&self, wanted: &GraphStep, hop: &Hop) -> bool {
        let way = match wanted.direction {
            Direction::Forward => hop.forward,
            Direction::Backward => !hop.forward,
            Direction::Any => true,
        };
        way && self.meets(self.edges, hop.edge, &self.pattern.elements[wanted.edge].filters)
    }

    fn found(&mut self, output: &mut Output) {
        let row: Vec<Out> = self.pattern.outputs.iter().map(|wanted| self.value(wanted)).collect();
        let Some(shortest) = self.pattern.shortest else { return output.push(row) };
        let nodes = self.bound.clone();
        let length = self.paths.iter().map(Vec::len).sum();
        match self.best.get_mut(&nodes) {
            Some((best, _)) if *best < length => {}
            Some((best, rows)) if *best == length => {
                if shortest == Shortest::All {
                    rows.push(row);
                }
            }
            Some(best) => *best = (length, vec![row]),
            None => {
                self.order.push(nodes.clone());
                self.best.insert(nodes, (length, vec![row]));
            }
        }
    }

    fn value(&self, wanted: &vidette_kql::bound::GraphOutput) -> Out {
        if self.pattern.elements[wanted.element].node {
            let node = self.bound[wanted.element].unwrap_or(0);
            return match wanted.fold {
                Fold::DegreeIn => Out::Long(self.degrees[node].0),
                Fold::DegreeOut => Out::Long(self.degrees[node].1),
                _ => Out::from(self.nodes.cell(node, wanted.at)),
            };
        }
        let path = &self.paths[wanted.element];
        let cells = || -> Box<dyn Iterator<Item = Cell<'_>>> {
            if wanted.inner {
                Box::new(path[..path.len().saturating_sub(1)].iter().map(|hop| self.nodes.cell(hop.to, wanted.at)))
            } else {
                Box::new(path.iter().map(|hop| self.edges.cell(hop.edge, wanted.at)))
            }
        };
        match wanted.fold {
            Fold::All => Out::Bool(cells().all(|cell| cell == Cell::Bool(true))),
            Fold::Any => Out::Bool(cells().any(|cell| cell == Cell::Bool(true))),
            Fold::Map => {
                let values: Vec<Value> = cells().map(|cell| cell.json().and_then(json::parse).unwrap_or(Value::Null)).collect();
                Out::Text(json::write(&Value::Array(values)))
            }
            _ => cells().next().map_or(Out::Null, Out::from),
        }
    }
}
