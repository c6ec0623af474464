//! `graph-match`, `graph-shortest-paths`: patterns of nodes and edges, a row per match. Kusto docs:
//! `graph-match-operator`, `graph-shortest-paths-operator`.

use super::graph::graph;
use super::project::Project;
use crate::binder::naming::{Names, automatic_name};
use crate::binder::{Binder, Relation};
use crate::bound::{
    Aggregate, Column, ColumnId, Cycles, Direction, Expr as Bound, ExprKind as Kind, Fold, Graph, GraphElement, GraphOutput, GraphPattern, GraphSequence, GraphStep, JoinKind,
    PassInput, Plan, Shortest,
};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// `-[name*1..3]->`
#[derive(Clone, Debug)]
pub struct EdgePattern {
    pub name: Option<Name>,
    pub direction: Direction,
    pub range: Option<(Expr, Option<Expr>)>,
    pub span: Span,
}

/// Nodes and the edges between them: one node more than edges.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub nodes: Vec<Option<Name>>,
    pub edges: Vec<EdgePattern>,
}

#[derive(Clone, Debug)]
pub struct GraphMatch {
    pub shortest: bool,
    pub parameters: Vec<OperatorParameter>,
    pub sequences: Vec<Sequence>,
    pub constraint: Option<Expr>,
    pub columns: Vec<Expr>,
    pub span: Span,
}

impl GraphMatch {
    pub(crate) fn name(&self) -> &'static str {
        if self.shortest { "graph-shortest-paths" } else { "graph-match" }
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span, shortest: bool) -> GraphMatch {
        let parameters = parser.operator_parameters();
        let sequences = parser.comma_list(|parser| {
            let (mut nodes, mut edges) = (vec![node(parser)], Vec::new());
            while let Some(edge) = edge(parser) {
                edges.push(edge);
                nodes.push(node(parser));
            }
            Sequence { nodes, edges }
        });
        let constraint = parser.eat_word("where").then(|| parser.expression());
        let columns = if parser.eat_word("project") { parser.comma_list(|parser| parser.named_expression()) } else { Vec::new() };
        GraphMatch { shortest, parameters, sequences, constraint, columns, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let graph = graph(binder, &input, self.name(), self.span)?;
        if self.columns.is_empty() {
            binder.error(codes::INVALID_USE, format!("`{}` needs a projection", self.name()), self.span, "end it with `project` and what a match shows");
            return None;
        }
        let scope = GraphScope::new(binder, &graph, &self.sequences)?;
        let outer_steps = std::mem::replace(&mut binder.row.steps, scope.properties());
        let outer = binder.graph.replace(scope);
        let bound = self.bind_in_scope(binder);
        binder.row.steps = outer_steps;
        let scope = std::mem::replace(&mut binder.graph, outer)?;
        let (residual, Relation { plan: Plan::Project { columns: shown, .. }, columns }) = bound? else { return None };
        let cycles = match parameter(&self.parameters, "cycles").and_then(Expr::name) {
            Some("all") => Cycles::All,
            Some("none") => Cycles::None,
            _ => Cycles::UniqueEdges,
        };
        let shortest = self.shortest.then(|| if parameter(&self.parameters, "output").and_then(Expr::name) == Some("all") { Shortest::All } else { Shortest::Any });
        let mut wanted = HashSet::new();
        shown.iter().map(|(_, value)| value).chain(&residual).for_each(|value| column_ids(value, &mut wanted));
        let mut plan = scope.plan(binder, &graph, cycles, shortest, &wanted);
        for predicate in residual {
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }
        Some(Relation { plan: Plan::Project { input: Box::new(plan), columns: shown }, columns })
    }

    /// The conditions that are left for whole matches, and the projection.
    fn bind_in_scope(&self, binder: &mut Binder) -> Option<(Vec<Bound>, Relation)> {
        let itself = binder.graph.as_ref()?.whole.clone();
        let mut residual = Vec::new();
        let mut waiting: Vec<&Expr> = self.constraint.iter().collect();
        while let Some(expr) = waiting.pop() {
            if let ExprKind::And(operands) = &expr.kind {
                waiting.extend(operands.iter().rev());
                continue;
            }
            let bound = binder.with_row(&itself, |binder| binder.predicate(expr));
            let column = binder.column("$condition", ScalarType::Bool);
            let scope = binder.graph.as_mut()?;
            match scope.about(&bound) {
                About::Element(element) => {
                    let bound = scope.at_source(&bound);
                    scope.filter(element, false, column, bound);
                }
                // Every edge of a path must meet it: its properties are those of an edge here.
                About::Path(element) => {
                    let own = vec![(scope.elements[element].name.clone(), scope.edges.columns.clone())];
                    let steps = std::mem::replace(&mut binder.row.steps, own);
                    let bound = binder.with_row(&[], |binder| binder.predicate(expr));
                    binder.row.steps = steps;
                    binder.graph.as_mut()?.filter(element, false, column, bound);
                }
                About::All(element, inner, condition) => scope.filter(element, inner, column, condition),
                About::Several { path: true } if self.shortest => {
                    binder.refuse("a condition on a whole path in `graph-shortest-paths`", expr.span);
                    return None;
                }
                About::Several { .. } => residual.push(bound),
            }
        }
        let project = Project { columns: self.named_columns(), span: self.span };
        let rows = Relation { plan: Plan::Values { columns: Vec::new(), rows: Vec::new() }, columns: itself };
        Some((residual, project.bind(binder, rows)?))
    }
}

impl GraphMatch {
    /// The expressions of the projection with the names that they have in a graph, as Kusto's emulator gives them: those of
    /// elements and their properties, and of the functions of a graph; all others are numbered.
    fn named_columns(&self) -> Vec<Expr> {
        let said = self.columns.iter().filter_map(|expr| if let ExprKind::Named { names, .. } = &expr.kind { names.first().map(|name| name.node.clone()) } else { None });
        let (mut names, mut numbered) = (Names::with(said), 0);
        let mut named = |expr: &Expr| {
            if matches!(expr.kind, ExprKind::Named { .. }) {
                return expr.clone();
            }
            let name = graph_name(expr).unwrap_or_else(|| {
                numbered += 1;
                format!("Column{numbered}")
            });
            let name = Name { node: names.unique(&name), span: expr.span };
            Expr { kind: ExprKind::Named { names: vec![name], value: Box::new(expr.clone()) }, span: expr.span }
        };
        self.columns.iter().map(&mut named).collect()
    }
}

/// `a_age` of `a.age`, `p_w` of `map(p, w)`, `inner_nodes_p_Column` of `all(inner_nodes(p), w > 1)`.
fn graph_name(expr: &Expr) -> Option<String> {
    let ExprKind::Call { name, arguments } = &expr.kind else { return automatic_name(expr) };
    let first = arguments.first()?;
    let element = match &first.kind {
        ExprKind::Call { name, arguments } if name.node == "inner_nodes" => format!("inner_nodes_{}", arguments.first()?.name()?),
        _ => first.name()?.to_owned(),
    };
    match name.node.as_str() {
        "labels" | "node_id" | "node_degree_in" | "node_degree_out" => Some(format!("{}_{element}", name.node)),
        "map" | "all" | "any" => {
            let value = match &arguments.get(1)?.kind {
                ExprKind::Call { name, arguments } if arguments.is_empty() => Some(name.node.clone()),
                ExprKind::Call { .. } => None,
                _ => automatic_name(&arguments[1]),
            };
            Some(format!("{element}_{}", value.unwrap_or_else(|| "Column".to_owned())))
        }
        _ => None,
    }
}

fn node(parser: &mut Parser) -> Option<Name> {
    parser.expect(Token::OpenParen, "(");
    let name = parser.try_name();
    parser.expect(Token::CloseParen, ")");
    name
}

/// `-->`, `<--`, `--`, `-[e]->`, `<-[e*1..3]-`
fn edge(parser: &mut Parser) -> Option<EdgePattern> {
    let start = parser.span();
    let left = parser.peek() == Token::Less;
    if left {
        parser.bump();
    }
    if parser.peek() != Token::Minus {
        return None;
    }
    parser.bump();
    let (mut name, mut range) = (None, None);
    if parser.eat(Token::OpenBracket) {
        name = parser.try_name();
        if parser.eat(Token::Star) && parser.peek() != Token::CloseBracket {
            let least = parser.expression();
            parser.expect(Token::DotDot, "..");
            let most = (parser.peek() != Token::CloseBracket).then(|| parser.expression());
            range = Some((least, most));
        }
        parser.expect(Token::CloseBracket, "]");
    }
    let end = parser.span();
    parser.expect(Token::Minus, "-");
    let right = parser.eat(Token::Greater);
    let direction = match (left, right) {
        (true, false) => Direction::Backward,
        (false, true) => Direction::Forward,
        _ => Direction::Any,
    };
    Some(EdgePattern { name, direction, range, span: start.to(end) })
}

/// A node or an edge of the pattern, while its expressions are bound.
struct Element {
    /// Empty when it has none.
    name: String,
    node: bool,
    /// An edge of variable length.
    path: bool,
    filters: Vec<usize>,
    inner_filters: Vec<usize>,
}

/// A column of the matches: what it is made of.
#[derive(Clone)]
struct MatchValue {
    column: Column,
    element: usize,
    /// Of the nodes inside a path rather than its edges.
    inner: bool,
    fold: Fold,
    /// Over the columns of the graph's own nodes or edges.
    value: Bound,
    /// The element's own property, not a call over a path.
    property: bool,
}

/// What a condition is about.
enum About {
    Element(usize),
    Path(usize),
    /// `all(path, condition)`, and whether it is of inner nodes.
    All(usize, bool, Bound),
    Several {
        path: bool,
    },
}

/// The names of a pattern.
pub(crate) struct GraphScope {
    elements: Vec<Element>,
    sequences: Vec<GraphSequence>,
    values: Vec<MatchValue>,
    /// Each named element as one bag of its properties.
    whole: Vec<Column>,
    nodes: Relation,
    edges: Relation,
    ends: [Column; 2],
    /// How many edges end, and begin, at a node inside a path: computed where they are asked for.
    degrees: [Column; 2],
    partitioned: bool,
    /// Values over nodes and over edges that the match reads, beside ids.
    node_inputs: Vec<(Column, Bound)>,
    edge_inputs: Vec<(Column, Bound)>,
}

impl GraphScope {
    fn new(binder: &mut Binder, graph: &Graph, sequences: &[Sequence]) -> Option<GraphScope> {
        let nodes = graph.nodes(binder);
        let (edges, ends) = graph.edges(binder);
        let mut scope = GraphScope {
            elements: Vec::new(),
            sequences: Vec::new(),
            values: Vec::new(),
            whole: Vec::new(),
            node_inputs: vec![(binder.column("$node", nodes.columns[0].ty), Bound::column(&nodes.columns[0]))],
            edge_inputs: Vec::new(),
            nodes,
            edges,
            ends,
            degrees: [binder.column("$in", ScalarType::Long), binder.column("$out", ScalarType::Long)],
            partitioned: graph.partitioned,
        };
        for end in scope.ends.clone() {
            let text = binder.convert(Bound::column(&end), ScalarType::String);
            scope.edge_inputs.push((binder.column("$end", ScalarType::String), text));
        }
        for sequence in sequences {
            let start = scope.element(binder, sequence.nodes[0].as_ref(), true, false)?;
            let mut steps = Vec::with_capacity(sequence.edges.len());
            for (edge, node) in sequence.edges.iter().zip(&sequence.nodes[1..]) {
                let range = match &edge.range {
                    None => None,
                    Some((least, most)) => Some((count(binder, least)?, most.as_ref().map_or(Some(usize::MAX), |most| count(binder, most))?)),
                };
                if range.is_some_and(|(least, most)| least > most) {
                    binder.error(codes::INVALID_USE, "a path has at least as many edges as it may have", edge.span, "the first number is the greater");
                    return None;
                }
                let element = scope.element(binder, edge.name.as_ref(), false, range.is_some())?;
                let to = scope.element(binder, node.as_ref(), true, false)?;
                steps.push(GraphStep { edge: element, direction: edge.direction, range, to });
            }
            scope.sequences.push(GraphSequence { start, steps });
        }
        if let Some(apart) = scope.apart() {
            let span = sequences[apart].nodes.iter().flatten().next().map_or_else(Span::default, |name| name.span);
            binder.error(codes::INVALID_USE, "all sequences of a pattern are connected by the names of nodes", span, "no other sequence names a node of this one");
            return None;
        }
        Some(scope)
    }

    /// The first sequence without a node of those before it, directly or by way of others.
    fn apart(&self) -> Option<usize> {
        let nodes = |sequence: &GraphSequence| -> HashSet<usize> { std::iter::once(sequence.start).chain(sequence.steps.iter().map(|step| step.to)).collect() };
        let (mut joined, mut rest): (HashSet<usize>, Vec<usize>) = (nodes(self.sequences.first()?), (1..self.sequences.len()).collect());
        while let Some(at) = rest.iter().position(|at| !nodes(&self.sequences[*at]).is_disjoint(&joined)) {
            joined.extend(nodes(&self.sequences[rest.remove(at)]));
        }
        rest.first().copied()
    }

    /// The element of that name, a new one when there is none.
    fn element(&mut self, binder: &mut Binder, name: Option<&Name>, node: bool, path: bool) -> Option<usize> {
        if let Some(name) = name
            && let Some(at) = self.elements.iter().position(|element| element.name == name.node)
        {
            if node && self.elements[at].node {
                return Some(at);
            }
            binder.error(codes::INVALID_USE, format!("`{}` is named twice in the pattern", name.node), name.span, "only nodes can be named again");
            return None;
        }
        let element = self.elements.len();
        let text = name.map(|name| name.node.clone()).unwrap_or_default();
        self.elements.push(Element { name: text.clone(), node, path, filters: Vec::new(), inner_filters: Vec::new() });
        if name.is_some() {
            let source = if node { self.nodes.columns[1..].to_vec() } else { self.edges.columns.clone() };
            let fold = if path { Fold::Map } else { Fold::One };
            let mut bag = Vec::with_capacity(source.len() * 2);
            for column in &source {
                bag.extend([Bound::literal(Value::String(column.name.clone())), binder.convert(Bound::column(column), ScalarType::Dynamic)]);
                let ty = if path { ScalarType::Dynamic } else { column.ty };
                let own = binder.column(column.name.clone(), ty);
                let value = binder.convert(Bound::column(column), ty);
                self.values.push(MatchValue { column: own, element, inner: false, fold, value, property: true });
            }
            let whole = binder.column(text, ScalarType::Dynamic);
            self.whole.push(whole.clone());
            self.values.push(MatchValue { column: whole, element, inner: false, fold, value: Bound::call("bag_pack_nonempty", ScalarType::Dynamic, bag), property: true });
        }
        Some(element)
    }

    /// Each named element with its properties.
    fn properties(&self) -> Vec<(String, Vec<Column>)> {
        let of = |at: usize| self.values.iter().filter(move |value| value.element == at && value.property).map(|value| value.column.clone()).collect();
        self.elements.iter().enumerate().filter(|(_, element)| !element.name.is_empty()).map(|(at, element)| (element.name.clone(), of(at))).collect()
    }

    fn value(&self, id: ColumnId) -> Option<&MatchValue> {
        self.values.iter().find(|value| value.column.id == id)
    }

    fn about(&self, condition: &Bound) -> About {
        let mut ids = HashSet::new();
        column_ids(condition, &mut ids);
        let values: Vec<&MatchValue> = ids.iter().filter_map(|id| self.value(*id)).collect();
        if let ([value], Kind::Column(_)) = (values.as_slice(), &condition.kind)
            && value.fold == Fold::All
        {
            return About::All(value.element, value.inner, value.value.clone());
        }
        let path = values.iter().any(|value| self.elements[value.element].path);
        match values.first() {
            Some(first) if values.iter().all(|value| value.property && value.element == first.element) => {
                if path {
                    About::Path(first.element)
                } else {
                    About::Element(first.element)
                }
            }
            _ => About::Several { path },
        }
    }

    /// The condition over the columns of the graph's own nodes or edges.
    fn at_source(&self, expr: &Bound) -> Bound {
        match &expr.kind {
            Kind::Column(id) => self.value(*id).map_or_else(|| expr.clone(), |value| value.value.clone()),
            Kind::Call { function, arguments, span } => {
                let arguments = Arc::new(arguments.iter().map(|argument| self.at_source(argument)).collect());
                Bound { kind: Kind::Call { function: function.clone(), arguments, span: *span }, ty: expr.ty }
            }
            _ => expr.clone(),
        }
    }

    /// The position of a value among those the match reads.
    fn input(&mut self, nodes: bool, column: Column, value: Bound) -> usize {
        let inputs = if nodes { &mut self.node_inputs } else { &mut self.edge_inputs };
        inputs.push((column, value));
        inputs.len() - 1
    }

    fn filter(&mut self, element: usize, inner: bool, column: Column, condition: Bound) {
        let at = self.input(inner || self.elements[element].node, column, condition);
        let element = &mut self.elements[element];
        if inner { element.inner_filters.push(at) } else { element.filters.push(at) }
    }

    /// The match over nodes and edges, with a column for each value that is wanted.
    fn plan(mut self, binder: &mut Binder, graph: &Graph, cycles: Cycles, shortest: Option<Shortest>, wanted: &HashSet<ColumnId>) -> Plan {
        let values: Vec<MatchValue> = self.values.iter().filter(|value| wanted.contains(&value.column.id)).cloned().collect();
        let mut outputs = Vec::with_capacity(values.len());
        for value in &values {
            let column = binder.column("$value", value.value.ty);
            let at = self.input(value.inner || self.elements[value.element].node, column, value.value.clone());
            outputs.push(GraphOutput { element: value.element, inner: value.inner, fold: value.fold, at });
        }
        let mut read = HashSet::new();
        self.node_inputs.iter().for_each(|(_, value)| column_ids(value, &mut read));
        if self.degrees.iter().any(|degree| read.contains(&degree.id)) {
            self.nodes = with_degrees(binder, graph, self.nodes, &self.degrees);
        }
        let element = |element: Element| GraphElement { node: element.node, filters: element.filters, inner_filters: element.inner_filters };
        let elements = self.elements.into_iter().map(element).collect();
        let pattern = GraphPattern { elements, sequences: self.sequences, cycles, shortest, outputs };
        let inputs = [(self.nodes, self.node_inputs), (self.edges, self.edge_inputs)]
            .into_iter()
            .map(|(relation, columns)| {
                let shown = columns.iter().map(|(column, _)| column.clone()).collect();
                PassInput { plan: Plan::Project { input: Box::new(relation.plan), columns }, columns: shown, arguments: 0 }
            })
            .collect();
        let columns = values.into_iter().map(|value| value.column).collect();
        Plan::Pass { name: "graph_match".to_owned(), inputs, columns, pattern: Some(Arc::new(pattern)) }
    }
}

/// The nodes with how many edges end and begin at each.
fn with_degrees(binder: &mut Binder, graph: &Graph, nodes: Relation, degrees: &[Column; 2]) -> Relation {
    let mut nodes = nodes;
    for (degree, end) in degrees.iter().zip([1, 0]) {
        let (edges, ends) = graph.edges(binder);
        let key = (binder.column("$end", ScalarType::String), binder.convert(Bound::column(&ends[end]), ScalarType::String));
        let count = Aggregate { function: "count".to_owned(), arguments: Vec::new(), filter: None, ty: ScalarType::Long, span: Span::default() };
        let counted = binder.column("$count", ScalarType::Long);
        let right_columns = vec![key.0.clone(), counted.clone()];
        let right = Plan::Aggregate { input: Box::new(edges.plan), by: vec![key.clone()], aggregates: vec![(counted.clone(), count)] };
        let keys = vec![(Bound::column(&nodes.columns[0]), Bound::column(&key.0))];
        let plan = Plan::Join { kind: JoinKind::LeftOuter, left: Box::new(nodes.plan), right: Box::new(right), keys, left_columns: nodes.columns.clone(), right_columns };
        let mut shown: Vec<(Column, Bound)> = nodes.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        let none = Bound::literal(Value::Long(0));
        shown.push((degree.clone(), Bound::call("coalesce", ScalarType::Long, vec![Bound::column(&counted), none])));
        nodes = binder.project(Relation { plan, columns: Vec::new() }, shown);
    }
    nodes
}

fn count(binder: &mut Binder, expr: &Expr) -> Option<usize> {
    let value = binder.with_row(&[], |binder| binder.scalar(expr));
    match value.as_literal() {
        Some(Value::Long(count)) => Some(usize::try_from(*count).unwrap_or(0)),
        Some(Value::Int(count)) => Some(usize::try_from(*count).unwrap_or(0)),
        _ => {
            binder.error(codes::INVALID_USE, "the length of a path is a whole number", expr.span, "not an integer literal");
            None
        }
    }
}

fn column_ids(expr: &Bound, ids: &mut HashSet<ColumnId>) {
    expr.visit(&mut |expr| {
        if let Kind::Column(id) = &expr.kind {
            ids.insert(*id);
        }
    });
}

impl Binder<'_> {
    /// `all`, `any`, `map`, `labels` and the degrees: functions of the elements of a pattern; `None` when it is none of them.
    /// Kusto docs: `all-graph-function`, `any-graph-function`, `map-graph-function`, `inner-nodes-graph-function`.
    pub(crate) fn graph_call(&mut self, name: &Name, arguments: &[Expr]) -> Option<Bound> {
        let fold = match name.node.as_str() {
            "all" => Fold::All,
            "any" => Fold::Any,
            "map" => Fold::Map,
            "node_degree_in" => Fold::DegreeIn,
            "node_degree_out" => Fold::DegreeOut,
            "labels" => return Some(Bound::literal(Value::Dynamic("[]".into()))),
            "node_id" => Fold::One,
            _ => return None,
        };
        let scope = self.graph.as_ref()?;
        let id = scope.nodes.columns[0].clone();
        if fold == Fold::One && scope.partitioned {
            self.refuse("`node_id` in a graph that is partitioned", name.span);
            return Some(crate::binder::expressions::broken());
        }
        // Without an argument, of the inner node that is looked at.
        if fold == Fold::One && arguments.is_empty() && self.row.columns.iter().any(|column| column.id == id.id) {
            return Some(self.convert(Bound::column(&id), ScalarType::String));
        }
        if arguments.is_empty() && self.row.columns.iter().any(|column| column.id == id.id) {
            match fold {
                Fold::DegreeIn => return Some(Bound::column(&scope.degrees[0])),
                Fold::DegreeOut => return Some(Bound::column(&scope.degrees[1])),
                _ => {}
            }
        }
        let first = arguments.first()?;
        let (element, inner) = match &first.kind {
            ExprKind::Call { name, arguments } if name.node == "inner_nodes" => (arguments.first()?, true),
            _ => (first, false),
        };
        let at = element.name().and_then(|name| scope.elements.iter().position(|element| element.name == name));
        let of_node = matches!(fold, Fold::DegreeIn | Fold::DegreeOut | Fold::One);
        let Some(at) = at.filter(|at| scope.elements[*at].node == of_node) else {
            let what = if of_node { "a node" } else { "an edge" };
            self.error(codes::INVALID_USE, format!("`{}` is about {what} of the pattern", name.node), first.span, format!("not the name of {what}"));
            return Some(crate::binder::expressions::broken());
        };
        let source = if inner { [&scope.nodes.columns[1..], std::slice::from_ref(&id)].concat() } else { scope.edges.columns.clone() };
        let (value, ty) = match (fold, arguments.get(1)) {
            (Fold::One, _) => (self.convert(Bound::column(&id), ScalarType::String), ScalarType::String),
            (Fold::DegreeIn | Fold::DegreeOut, _) => (Bound::literal(Value::Bool(true)), ScalarType::Long),
            (Fold::Map, Some(value)) => {
                let value = self.of_each(&source, |binder| binder.scalar(value));
                (self.convert(value, ScalarType::Dynamic), ScalarType::Dynamic)
            }
            (_, Some(condition)) => (self.of_each(&source, |binder| binder.bool_argument(condition)), ScalarType::Bool),
            (_, None) => return None,
        };
        let column = self.column("$value", ty);
        let result = Bound::column(&column);
        self.graph.as_mut()?.values.push(MatchValue { column, element: at, inner, fold, value, property: false });
        Some(result)
    }

    /// Binds an expression over the properties of each edge or node of a path, where no other name is known.
    fn of_each(&mut self, columns: &[Column], bind: impl FnOnce(&mut Self) -> Bound) -> Bound {
        let steps = std::mem::take(&mut self.row.steps);
        let value = self.with_row(columns, bind);
        self.row.steps = steps;
        value
    }
}
