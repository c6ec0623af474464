//! `make-graph`, `graph-to-table`, `graph-mark-components`: rows as edges of a graph, and back. Kusto docs:
//! `make-graph-operator`, `graph-to-table-operator`, `graph-mark-components-operator`.

use crate::binder::naming::Names;
use crate::binder::{Binder, Binding, Relation};
use crate::bound::{Column, Expr as Bound, Graph, PassInput, Plan};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name, OperatorParameter, parameter};
use crate::types::ScalarType;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct MakeGraph {
    pub source: Name,
    pub target: Name,
    /// Tables of nodes, each with the column that identifies them.
    pub nodes: Vec<(Expr, Name)>,
    /// `with_node_id=name`
    pub node_id: Option<Name>,
    /// `partitioned-by`
    pub unusual: Option<Span>,
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
        let mut unusual = None;
        if parser.at_word("partitioned") || parser.at_word("partitioned-by") {
            unusual = Some(parser.span());
            parser.recover();
        }
        MakeGraph { source, target, nodes, node_id, unusual, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        if let Some(span) = self.unusual {
            binder.refuse("`partitioned-by`", span);
            return None;
        }
        let named = |binder: &mut Binder, columns: &[Column], name: &Name| {
            let expr = Expr { kind: ExprKind::Name(name.node.clone()), span: name.span };
            binder.with_row(columns, |binder| binder.column_reference(&expr))
        };
        let (source, target) = (named(binder, &input.columns, &self.source)?, named(binder, &input.columns, &self.target)?);
        let edges = Arc::new(input.plan);
        let mut tables = Vec::with_capacity(self.nodes.len());
        let mut found: Vec<(String, ScalarType)> = self.node_id.iter().map(|name| (name.node.clone(), source.ty)).collect();
        for (table, on) in &self.nodes {
            let group = binder.group.take();
            let relation = binder.with_row(&[], |binder| binder.tabular(table));
            binder.group = group;
            let relation = relation?;
            let id = named(binder, &relation.columns, on)?;
            for column in &relation.columns {
                match found.iter_mut().find(|(name, _)| *name == column.name) {
                    Some((_, ty)) if *ty == column.ty => {}
                    Some((_, ty)) if ty.is_number() && column.ty.is_number() => *ty = crate::binder::expressions::widest(*ty, column.ty),
                    Some((_, ty)) => *ty = ScalarType::Dynamic,
                    None => found.push((column.name.clone(), column.ty)),
                }
            }
            tables.push((relation, id));
        }
        let mut inputs = vec![ends(binder, &edges, &input.columns, &source, &target)];
        for (relation, id) in tables {
            let id = Bound::column(&id);
            let typed = |binder: &mut Binder, column: &Column| {
                let ty = found.iter().find(|(name, _)| *name == column.name).map_or(column.ty, |(_, ty)| *ty);
                (binder.column(column.name.clone(), ty), binder.convert(Bound::column(column), ty))
            };
            let mut columns: Vec<(Column, Bound)> = relation.columns.iter().map(|column| typed(binder, column)).collect();
            columns.push((binder.column("$argument", id.ty), id));
            let shown = columns.iter().map(|(column, _)| column.clone()).collect();
            inputs.push(PassInput { plan: Plan::Project { input: Box::new(relation.plan), columns }, columns: shown, arguments: 1 });
        }
        // The hidden id first, then the properties.
        let node_id = binder.column("$node", ScalarType::String);
        let nodes: Vec<Column> = found.iter().map(|(name, ty)| binder.column(name.clone(), *ty)).collect();
        let columns: Vec<Column> = std::iter::once(&node_id).chain(&nodes).cloned().collect();
        let name = if self.node_id.is_some() { "graph_nodes_named" } else { "graph_nodes" };
        let plan = Arc::new(Plan::Pass { name: name.to_owned(), inputs, columns, pattern: None });
        let graph = Graph { edges, edge_columns: input.columns.clone(), source, target, nodes: plan, node_columns: nodes, node_id };
        Some(Relation { plan: Plan::Graph(Arc::new(graph)), columns: input.columns })
    }
}

/// The edges, without columns of their own, and the ids of their two ends.
fn ends(binder: &mut Binder, edges: &Arc<Plan>, columns: &[Column], source: &Column, target: &Column) -> PassInput {
    let relation = binder.reference(edges, columns);
    let at = |wanted: &Column| columns.iter().position(|column| column.id == wanted.id).map(|at| Bound::column(&relation.columns[at]));
    let columns: Vec<(Column, Bound)> = [at(source), at(target)].into_iter().flatten().map(|value| (binder.column("$end", value.ty), value)).collect();
    let shown: Vec<Column> = columns.iter().map(|(column, _)| column.clone()).collect();
    PassInput { plan: Plan::Project { input: Box::new(relation.plan), columns }, arguments: shown.len(), columns: shown }
}

impl Graph {
    /// The nodes under ids of their own, the hidden id first.
    pub(crate) fn nodes(&self, binder: &mut Binder) -> Relation {
        let columns: Vec<Column> = std::iter::once(&self.node_id).chain(&self.node_columns).cloned().collect();
        binder.reference(&self.nodes, &columns)
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
                    binder.define(&alias.node, Binding::Tabular(plan, relation.columns));
                    shown
                }
            });
        }
        binder.several(results)
    }
}

impl GraphTable {
    fn bind(&self, binder: &mut Binder, graph: &Graph) -> Relation {
        let relation = if self.nodes { graph.nodes(binder) } else { binder.reference(&graph.edges, &graph.edge_columns) };
        let properties = if self.nodes { &relation.columns[1..] } else { &relation.columns[..] };
        let mut names = Names::default();
        let mut columns = Vec::with_capacity(relation.columns.len());
        for (kind, name) in &self.ids {
            let wanted = if kind == "with_target_id" { &graph.target } else { &graph.source };
            let id = match graph.edge_columns.iter().position(|column| column.id == wanted.id) {
                Some(at) if !self.nodes => &relation.columns[at],
                _ => &relation.columns[0],
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
