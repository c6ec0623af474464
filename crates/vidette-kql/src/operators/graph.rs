//! `make-graph`, `graph-to-table`, `graph-mark-components`: rows as edges of a graph, and back. Kusto docs:
//! `make-graph-operator`, `graph-to-table-operator`, `graph-mark-components-operator`.

use super::Operator;
use crate::binder::naming::Names;
use crate::binder::{Binder, Binding, Relation};
use crate::bound::{Column, Expr as Bound, Graph, PassInput, Plan};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct MakeGraph {
    pub source: Name,
    pub target: Name,
    /// Tables of nodes, each with the column that identifies them.
    pub nodes: Vec<(Expr, Name)>,
    /// `with_node_id=name`
    pub node_id: Option<Name>,
    /// `partitioned-by column (operators)`
    pub partition: Option<(Name, Vec<Operator>)>,
    pub span: Span,
}

impl MakeGraph {
    pub(crate) fn name(&self) -> &'static str {
        "make-graph"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> MakeGraph {
        parser.operator_parameters();
        let source = parser.declared_name();
        parser.expect(Token::Minus, "-->");
        parser.expect(Token::Minus, "-->");
        parser.eat(Token::Greater);
        let target = parser.declared_name();
        let (mut nodes, mut node_id) = (Vec::new(), None);
        if parser.eat_word("with_node_id") {
            parser.expect(Token::Assign, "=");
            node_id = Some(parser.declared_name());
        } else if parser.eat_word("with") {
            loop {
                if parser.eat_word("node_id") || parser.eat_word("with_node_id") {
                    parser.expect(Token::Assign, "=");
                    node_id = Some(parser.declared_name());
                } else {
                    let table = parser.table_expression();
                    parser.expect_word("on");
                    nodes.push((table, parser.declared_name()));
                }
                if !parser.eat(Token::Comma) {
                    break;
                }
            }
        }
        let partition = parser.eat_word("partitioned").then(|| {
            parser.expect(Token::Minus, "-by");
            parser.expect_word("by");
            (parser.declared_name(), parser.subquery())
        });
        MakeGraph { source, target, nodes, node_id, partition, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let columns = input.columns.clone();
        let (mut source, mut target) = (column(binder, &columns, &self.source)?, column(binder, &columns, &self.target)?);
        let node_type = source.ty;
        if node_type == ScalarType::Dynamic {
            binder.error(codes::INVALID_USE, "the id of a node is not dynamic", self.source.span, "convert it, for example with `tostring()`");
            return None;
        }
        alike(binder, node_type, target.ty, self.target.span)?;
        let (mut edges, mut tables) = (input.plan, Vec::new());
        if let Some((key, _)) = &self.partition {
            let key = column(binder, &columns, key)?;
            (edges, tables) = self.partitioned_ends(binder, edges, &columns, &key, [&mut source, &mut target]);
        }
        let edges = Arc::new(edges);
        let mut found: Vec<(String, ScalarType)> = self.node_id.iter().map(|name| (name.node.clone(), node_type)).collect();
        let mut read = Vec::with_capacity(self.nodes.len());
        for (table, on) in &self.nodes {
            let group = binder.group.take();
            let relation = binder.with_row(&[], |binder| binder.tabular(table));
            binder.group = group;
            let relation = relation?;
            let id = column(binder, &relation.columns, on)?;
            alike(binder, node_type, id.ty, on.span)?;
            // Of the same type as the ends of the edges it is what they are called by, where no row tells more.
            let known = self.partition.is_none() && (id.ty == node_type || id.ty.is_integer() && node_type.is_integer());
            let argument = if known { id.name.clone() } else { "$argument".to_owned() };
            let id = match &self.partition {
                None => Bound::column(&id),
                Some((key, _)) => {
                    let key = column(binder, &relation.columns, key)?;
                    binder.partitioned(&key, &id)
                }
            };
            for column in &relation.columns {
                match found.iter_mut().find(|(name, _)| *name == column.name) {
                    Some((_, ty)) if *ty == column.ty => {}
                    Some((_, ty)) if ty.is_number() && column.ty.is_number() => *ty = crate::binder::expressions::widest(*ty, column.ty),
                    Some((_, ty)) => *ty = ScalarType::Dynamic,
                    None => found.push((column.name.clone(), column.ty)),
                }
            }
            read.push((relation, id, argument));
        }
        for (relation, id, argument) in read {
            let typed = |binder: &mut Binder, column: &Column| {
                let ty = found.iter().find(|(name, _)| *name == column.name).map_or(column.ty, |(_, ty)| *ty);
                (binder.column(column.name.clone(), ty), binder.convert(Bound::column(column), ty))
            };
            let mut columns: Vec<(Column, Bound)> = relation.columns.iter().map(|column| typed(binder, column)).collect();
            columns.push((binder.column(argument, id.ty), id));
            tables.push((relation.plan, columns));
        }
        let mut inputs = vec![ends(binder, &edges, &columns, &source, &target)];
        for (plan, columns) in tables {
            let shown = columns.iter().map(|(column, _)| column.clone()).collect();
            inputs.push(PassInput { plan: Plan::Project { input: Box::new(plan), columns }, columns: shown, arguments: 1 });
        }
        // The hidden id first, then the properties.
        let node_id = binder.column("$node", ScalarType::String);
        let nodes: Vec<Column> = found.iter().map(|(name, ty)| binder.column(name.clone(), *ty)).collect();
        let all: Vec<Column> = std::iter::once(&node_id).chain(&nodes).cloned().collect();
        let name = if self.node_id.is_some() && self.partition.is_none() { "graph_nodes_named" } else { "graph_nodes" };
        let plan = Arc::new(Plan::Pass { name: name.to_owned(), inputs, columns: all, pattern: None });
        let graph = Graph { edges, edge_columns: columns.clone(), source, target, partitioned: self.partition.is_some(), nodes: plan, node_columns: nodes, node_id };
        let relation = Relation { plan: Plan::Graph(Arc::new(graph)), columns };
        match &self.partition {
            None => Some(relation),
            Some((_, operators)) => binder.piped(relation, operators, 0),
        }
    }

    /// The edges with ends that say their partition, which become the ends; and, where nodes are known by their ids alone, these as
    /// tables of nodes. Nodes of two partitions are two nodes.
    fn partitioned_ends(&self, binder: &mut Binder, edges: Plan, columns: &[Column], key: &Column, ends: [&mut Column; 2]) -> (Plan, Vec<NodeTable>) {
        let mut tables = Vec::new();
        let mut shown: Vec<(Column, Bound)> = columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
        for end in ends {
            let id = binder.partitioned(key, end);
            if let Some(name) = &self.node_id {
                let named = vec![(binder.column(name.node.clone(), end.ty), Bound::column(end)), (binder.column("$argument", ScalarType::String), id.clone())];
                tables.push((edges.clone(), named));
            }
            *end = binder.column("$end", ScalarType::String);
            shown.push((end.clone(), id));
        }
        (Plan::Project { input: Box::new(edges), columns: shown }, tables)
    }
}

/// Ids of nodes are of one type, numbers of any.
fn alike(binder: &mut Binder, wanted: ScalarType, found: ScalarType, span: Span) -> Option<()> {
    if wanted == found || wanted.is_number() && found.is_number() {
        return Some(());
    }
    binder.error(codes::INVALID_USE, "the ids of the nodes of a graph have one type", span, format!("this is {found}, the source of the edges is {wanted}"));
    None
}

/// Rows, the properties of nodes among their columns, and last the id.
type NodeTable = (Plan, Vec<(Column, Bound)>);

impl Binder<'_> {
    /// The id of a node as text that says in which partition the node is.
    fn partitioned(&mut self, key: &Column, id: &Column) -> Bound {
        let part = |binder: &mut Self, column: &Column| binder.convert(Bound::column(column), ScalarType::String);
        let parts = vec![part(self, key), Bound::literal(Value::String("\u{1f}".into())), part(self, id)];
        Bound::call("strcat", ScalarType::String, parts)
    }
}

/// The column of that name, which must be there.
fn column(binder: &mut Binder, columns: &[Column], name: &Name) -> Option<Column> {
    let expr = Expr { kind: ExprKind::Name(name.node.clone()), span: name.span };
    binder.with_row(columns, |binder| binder.column_reference(&expr))
}

/// The edges, without columns of their own, and the ids of their two ends.
fn ends(binder: &mut Binder, edges: &Arc<Plan>, columns: &[Column], source: &Column, target: &Column) -> PassInput {
    let (relation, ends) = referred(binder, edges, columns, source, target);
    let columns: Vec<(Column, Bound)> = ends.iter().map(|end| (binder.column("$end", end.ty), Bound::column(end))).collect();
    let shown: Vec<Column> = columns.iter().map(|(column, _)| column.clone()).collect();
    PassInput { plan: Plan::Project { input: Box::new(relation.plan), columns }, arguments: shown.len(), columns: shown }
}

/// The edges under ids of their own, and their ends, which need not be among the columns.
fn referred(binder: &mut Binder, edges: &Arc<Plan>, columns: &[Column], source: &Column, target: &Column) -> (Relation, [Column; 2]) {
    let hidden = [source, target].into_iter().filter(|end| columns.iter().all(|column| column.id != end.id));
    let all: Vec<Column> = columns.iter().chain(hidden).cloned().collect();
    let mut relation = binder.reference(edges, &all);
    let at = |end: &Column| all.iter().position(|column| column.id == end.id).map_or_else(|| end.clone(), |at| relation.columns[at].clone());
    let ends = [at(source), at(target)];
    relation.columns.truncate(columns.len());
    (relation, ends)
}

impl Graph {
    /// The nodes under ids of their own, the hidden id first.
    pub(crate) fn nodes(&self, binder: &mut Binder) -> Relation {
        let columns: Vec<Column> = std::iter::once(&self.node_id).chain(&self.node_columns).cloned().collect();
        binder.reference(&self.nodes, &columns)
    }

    /// The edges under ids of their own, and their ends.
    pub(crate) fn edges(&self, binder: &mut Binder) -> (Relation, [Column; 2]) {
        referred(binder, &self.edges, &self.edge_columns, &self.source, &self.target)
    }
}

/// The graph that a graph operator reads.
pub(crate) fn graph(binder: &mut Binder, input: &Relation, operator: &str, span: Span) -> Option<Arc<Graph>> {
    if let Plan::Graph(graph) = &input.plan {
        return Some(graph.clone());
    }
    binder.error(codes::INVALID_USE, format!("the operator `{operator}` reads a graph"), span, "its input is a table: `make-graph` makes it a graph");
    None
}

#[derive(Clone, Debug)]
pub struct MarkComponents {
    pub parameters: Vec<OperatorParameter>,
    pub span: Span,
}

impl MarkComponents {
    pub(crate) fn name(&self) -> &'static str {
        "graph-mark-components"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> MarkComponents {
        MarkComponents { parameters: parser.operator_parameters(), span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let graph = graph(binder, &input, "graph-mark-components", self.span)?;
        let name = parameter(&self.parameters, "with_component_id").and_then(Expr::name).unwrap_or("ComponentId");
        let strong = parameter(&self.parameters, "kind").and_then(Expr::name) == Some("strong");
        let nodes = graph.nodes(binder);
        let node_id = binder.column("$node", ScalarType::String);
        let mut columns: Vec<Column> = graph.node_columns.iter().map(|column| binder.column(column.name.clone(), column.ty)).collect();
        columns.push(binder.column(name, ScalarType::Long));
        let inputs = vec![ends(binder, &graph.edges, &graph.edge_columns, &graph.source, &graph.target), PassInput { plan: nodes.plan, columns: nodes.columns, arguments: 0 }];
        let pass = if strong { "graph_strong_components" } else { "graph_weak_components" };
        let all = std::iter::once(&node_id).chain(&columns).cloned().collect();
        let plan = Plan::Pass { name: pass.to_owned(), inputs, columns: all, pattern: None };
        let marked = Graph { nodes: Arc::new(plan), node_columns: columns, node_id, ..(*graph).clone() };
        Some(Relation { plan: Plan::Graph(Arc::new(marked)), columns: input.columns })
    }
}

/// One table of `graph-to-table`.
#[derive(Clone, Debug)]
pub struct GraphTable {
    pub nodes: bool,
    pub alias: Option<Name>,
    /// `with_node_id`, `with_source_id`, `with_target_id`: columns for the hashes of ids.
    pub ids: Vec<(String, Name)>,
}

#[derive(Clone, Debug)]
pub struct GraphToTable {
    pub tables: Vec<GraphTable>,
    pub span: Span,
}

impl GraphToTable {
    pub(crate) fn name(&self) -> &'static str {
        "graph-to-table"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> GraphToTable {
        let tables = parser.comma_list(|parser| {
            let nodes = parser.eat_word("nodes");
            if !nodes {
                parser.expect_word("edges");
            }
            let alias = parser.eat_word("as").then(|| parser.declared_name());
            let mut ids = Vec::new();
            while parser.peek() == Token::Name && parser.text().starts_with("with_") {
                let kind = parser.text().to_owned();
                parser.bump();
                parser.expect(Token::Assign, "=");
                ids.push((kind, parser.declared_name()));
            }
            GraphTable { nodes, alias, ids }
        });
        GraphToTable { tables, span }
    }

    /// One table; of several, each is a result, and known by its alias from here on.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let graph = graph(binder, &input, "graph-to-table", self.span)?;
        let mut results = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            if self.tables.len() > 1 && table.alias.is_none() {
                binder.error(codes::GRAPH_ALIAS, "several tables of a graph need names", self.span, "name each: `nodes as N, edges as E`");
                return None;
            }
            let relation = table.bind(binder, &graph);
            results.push(match &table.alias {
                None => relation,
                Some(alias) => {
                    let plan = Arc::new(relation.plan);
                    let shown = binder.reference(&plan, &relation.columns);
                    binder.define(&alias.node, Binding::Tabular(plan, relation.columns, binder.open));
                    shown
                }
            });
        }
        binder.several(results)
    }
}

impl GraphTable {
    fn bind(&self, binder: &mut Binder, graph: &Graph) -> Relation {
        let (relation, ends) = match self.nodes {
            true => (graph.nodes(binder), None),
            false => {
                let (relation, ends) = graph.edges(binder);
                (relation, Some(ends))
            }
        };
        let properties = if self.nodes { &relation.columns[1..] } else { &relation.columns[..] };
        let mut names = Names::default();
        let mut columns = Vec::with_capacity(relation.columns.len());
        for (kind, name) in &self.ids {
            let id = match &ends {
                None => &relation.columns[0],
                Some([_, target]) if kind == "with_target_id" => target,
                Some([source, _]) => source,
            };
            let text = binder.convert(Bound::column(id), ScalarType::String);
            names.take(&name.node);
            columns.push((binder.column(name.node.clone(), ScalarType::Long), Bound::call("hash", ScalarType::Long, vec![text])));
        }
        for column in properties {
            let name = names.unique(&column.name);
            columns.push((binder.column(name, column.ty), Bound::column(column)));
        }
        binder.project(relation, columns)
    }
}
