//! The bound query: every name is a column id, every type known, every coercion written out.
//!
//! Scalar operators are calls too: `a + b` is `Call("+")`. Nothing a user wrote can make lowering fail.

use crate::span::Span;
use crate::types::{ScalarType, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// Identifies a column within one bound query; two columns of the same name have different ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId(pub u32);

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub id: ColumnId,
    pub name: String,
    pub ty: ScalarType,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub ty: ScalarType,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Literal(Value),
    Column(ColumnId),
    /// A scalar function or operator by Kusto's name; the argument types choose the implementation.
    Call {
        function: String,
        arguments: Arc<Vec<Expr>>,
        span: Span,
    },
    /// The value of a scalar subquery (`toscalar`, or the list of `in (T)`), by index into `Query::subqueries`.
    Subquery(usize),
}

impl Expr {
    /// The value of a column in the rows of a table without it: null, of strings the empty one.
    pub fn absent(ty: ScalarType) -> Expr {
        Expr::literal(if ty == ScalarType::String { Value::String(String::new()) } else { Value::Null(ty) })
    }

    /// Whether it is the value of a column in the rows of a table without it.
    pub fn is_absent(&self) -> bool {
        match &self.kind {
            ExprKind::Literal(Value::Null(_)) => true,
            ExprKind::Literal(Value::String(text)) => text.is_empty(),
            _ => false,
        }
    }

    pub fn literal(value: Value) -> Expr {
        Expr { ty: value.scalar_type(), kind: ExprKind::Literal(value) }
    }

    pub fn column(column: &Column) -> Expr {
        Expr { kind: ExprKind::Column(column.id), ty: column.ty }
    }

    pub fn call(function: &str, ty: ScalarType, arguments: Vec<Expr>) -> Expr {
        Expr { kind: ExprKind::Call { function: function.to_owned(), arguments: Arc::new(arguments), span: Span::default() }, ty }
    }

    pub fn as_literal(&self) -> Option<&Value> {
        match &self.kind {
            ExprKind::Literal(value) => Some(value),
            _ => None,
        }
    }
}

/// An aggregation function with its arguments; `filter` is the predicate of the `…if` forms.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub function: String,
    pub arguments: Vec<Expr>,
    pub filter: Option<Expr>,
    pub ty: ScalarType,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    InnerUnique,
    LeftOuter,
    RightOuter,
    FullOuter,
    LeftSemi,
    RightSemi,
    LeftAnti,
    RightAnti,
}

/// A column that `mv-expand` turns into rows.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// A dynamic array or bag.
    pub source: Expr,
    /// The element, as the type it was asked for.
    pub element: Column,
}

/// Relational operators. `input` comes first; columns are what the operator shows, in order.
#[derive(Clone, Debug)]
pub enum Plan {
    Table {
        name: String,
        columns: Vec<Column>,
    },
    Values {
        columns: Vec<Column>,
        rows: Vec<Vec<Value>>,
    },
    Range {
        column: Column,
        start: Expr,
        end: Expr,
        step: Expr,
    },
    Filter {
        input: Box<Plan>,
        predicate: Expr,
    },
    /// All columns of the result, computed from the input's.
    Project {
        input: Box<Plan>,
        columns: Vec<(Column, Expr)>,
    },
    /// Without `by`, one row always.
    Aggregate {
        input: Box<Plan>,
        by: Vec<(Column, Expr)>,
        aggregates: Vec<(Column, Aggregate)>,
    },
    Sort {
        input: Box<Plan>,
        keys: Vec<SortKey>,
    },
    Take {
        input: Box<Plan>,
        count: Expr,
    },
    /// Rows numbered and kept up to `count` per distinct tuple of `partition` (for subqueries of `mv-apply`).
    TakePerGroup {
        input: Box<Plan>,
        partition: Vec<ColumnId>,
        count: Expr,
    },
    /// Equality of the key pairs; a null key matches nothing. Columns of both sides stay, except in semi and anti joins.
    Join {
        kind: JoinKind,
        left: Box<Plan>,
        right: Box<Plan>,
        keys: Vec<(Expr, Expr)>,
        left_columns: Vec<Column>,
        right_columns: Vec<Column>,
    },
    /// Each input with, for every result column, the expression over that input.
    Union {
        inputs: Vec<(Plan, Vec<Expr>)>,
        columns: Vec<Column>,
    },
    MvExpand {
        input: Box<Plan>,
        expansions: Vec<Expansion>,
        index: Option<Column>,
        limit: Option<u64>,
        keep: Vec<Column>,
        bag_as_array: bool,
    },
    /// Numbers the rows, so that a subquery can be grouped by the row it came from.
    RowId {
        input: Box<Plan>,
        column: Column,
    },
    /// An operator that sees all rows of its inputs, one after the other: most plugins of `evaluate`.
    Pass {
        name: String,
        inputs: Vec<PassInput>,
        columns: Vec<Column>,
        /// Of the pass `graph_match`.
        pattern: Option<Arc<GraphPattern>>,
    },
    /// A graph, between the graph operators; no engine sees it.
    Graph(Arc<Graph>),
    /// Rows in their order against steps, as `scan` says. Shows the kept columns, the declared ones and the match id.
    Scan {
        input: Box<Plan>,
        kept: Vec<Column>,
        /// Each with its default.
        declared: Vec<(Column, Expr)>,
        steps: Vec<ScanStep>,
        match_id: Option<Column>,
        /// Each value of this column is scanned apart.
        partition: Option<ColumnId>,
    },
    /// A tabular value used by name: the columns are new, so that it may be used twice.
    Reference {
        plan: Arc<Plan>,
        columns: Vec<(Column, ColumnId)>,
        /// Every use sees the same rows, even of a plan that would give others each time (`materialize`).
        once: bool,
    },
}

/// Rows of a pass. The last `arguments` columns are the values of the operator's arguments.
#[derive(Clone, Debug)]
pub struct PassInput {
    pub plan: Plan,
    pub columns: Vec<Column>,
    pub arguments: usize,
}

/// Rows as edges, and the nodes they join.
#[derive(Clone, Debug)]
pub struct Graph {
    pub edges: Arc<Plan>,
    pub edge_columns: Vec<Column>,
    /// Columns of the plan of the edges; of a graph that is partitioned they are not among its columns.
    pub source: Column,
    pub target: Column,
    pub partitioned: bool,
    pub nodes: Arc<Plan>,
    /// The properties, without the id.
    pub node_columns: Vec<Column>,
    /// The id as text, which no one sees.
    pub node_id: Column,
}

/// What a match is: elements, and the sequences that join them. Inputs of its pass are the nodes (first column their
/// id) and the edges (first columns the ids of their ends), then the values that conditions and outputs read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GraphPattern {
    pub elements: Vec<GraphElement>,
    pub sequences: Vec<GraphSequence>,
    pub cycles: Cycles,
    pub shortest: Option<Shortest>,
    /// One per column of the pass.
    pub outputs: Vec<GraphOutput>,
}

/// A node, an edge or a path, with the positions of the values that must be true for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GraphElement {
    pub node: bool,
    pub filters: Vec<usize>,
    /// Of a path: for the nodes between its edges.
    pub inner_filters: Vec<usize>,
}

/// Elements by their numbers, from a node along edges.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GraphSequence {
    pub start: usize,
    pub steps: Vec<GraphStep>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GraphStep {
    pub edge: usize,
    pub direction: Direction,
    /// Of a path: the least and the most edges.
    pub range: Option<(usize, usize)>,
    pub to: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Forward,
    Backward,
    Any,
}

/// Which matches may come back to where they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cycles {
    All,
    None,
    UniqueEdges,
}

/// One shortest path for each pair of ends, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortest {
    Any,
    All,
}

/// A column of the matches: a value of an element, or of all edges or inner nodes of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GraphOutput {
    pub element: usize,
    pub inner: bool,
    pub fold: Fold,
    pub at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    One,
    /// An array of the values.
    Map,
    All,
    Any,
    /// How many edges end, and begin, at the node.
    DegreeIn,
    DegreeOut,
}

/// A step of `scan`. Its state holds a row of the input with the declared columns after it, under ids of its own.
#[derive(Clone, Debug)]
pub struct ScanStep {
    pub output: ScanOutput,
    pub condition: Expr,
    /// Values of declared columns, by position.
    pub assignments: Vec<(usize, Expr)>,
    pub state: Vec<Column>,
}

/// Which rows of a step `scan` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanOutput {
    All,
    Last,
    None,
}

/// How a client should draw the result. Kusto docs: `render-operator`.
#[derive(Clone, Debug, PartialEq)]
pub struct Render {
    pub visualization: String,
    pub properties: Vec<(String, String)>,
}

/// A scalar subquery, evaluated once before the query that uses it.
#[derive(Clone, Debug)]
pub struct Subquery {
    pub plan: Plan,
    pub column: Column,
    /// The value is the array of the whole first column rather than its first row.
    pub as_list: bool,
}

/// One tabular result of a query text.
#[derive(Clone, Debug)]
pub struct Query {
    pub plan: Plan,
    pub columns: Vec<Column>,
    pub render: Option<Render>,
    /// In dependency order: a subquery refers only to earlier ones.
    pub subqueries: Vec<Subquery>,
    /// Columns of tables whose columns nobody knows: that they are dynamic is a guess.
    pub guessed: HashSet<ColumnId>,
}

impl Plan {
    /// Whether it may give other rows when it is run again.
    pub fn is_volatile(&self) -> bool {
        let mut volatile = false;
        self.visit(&mut |plan| volatile |= matches!(plan, Plan::Take { input, .. } if !matches!(**input, Plan::Sort { .. })));
        self.visit_expressions(&mut |expr| volatile |= expr.is_volatile());
        volatile
    }

    /// The plans this one reads from.
    pub fn inputs(&self) -> Vec<&Plan> {
        match self {
            Plan::Table { .. } | Plan::Values { .. } | Plan::Range { .. } | Plan::Graph(_) => Vec::new(),
            Plan::Filter { input, .. }
            | Plan::Project { input, .. }
            | Plan::Aggregate { input, .. }
            | Plan::Sort { input, .. }
            | Plan::Take { input, .. }
            | Plan::TakePerGroup { input, .. }
            | Plan::RowId { input, .. }
            | Plan::Scan { input, .. }
            | Plan::MvExpand { input, .. } => vec![input],
            Plan::Join { left, right, .. } => vec![left, right],
            Plan::Union { inputs, .. } => inputs.iter().map(|(input, _)| input).collect(),
            Plan::Pass { inputs, .. } => inputs.iter().map(|input| &input.plan).collect(),
            Plan::Reference { plan, .. } => vec![plan],
        }
    }

    /// Calls `visit` on this plan and every one below it, a plan before its inputs.
    pub fn visit(&self, visit: &mut dyn FnMut(&Plan)) {
        let mut waiting = vec![self];
        while let Some(plan) = waiting.pop() {
            visit(plan);
            waiting.extend(plan.inputs());
        }
    }

    /// Calls `visit` on every expression of this plan and the plans below it.
    pub fn visit_expressions(&self, visit: &mut dyn FnMut(&Expr)) {
        self.visit(&mut |plan| match plan {
            Plan::Table { .. } | Plan::Values { .. } | Plan::RowId { .. } | Plan::Pass { .. } | Plan::Graph(_) | Plan::Reference { .. } => {}
            Plan::Range { start, end, step, .. } => [start, end, step].into_iter().for_each(&mut *visit),
            Plan::Filter { predicate, .. } => visit(predicate),
            Plan::Take { count, .. } | Plan::TakePerGroup { count, .. } => visit(count),
            Plan::Project { columns, .. } => columns.iter().for_each(|(_, expr)| visit(expr)),
            Plan::Aggregate { by, aggregates, .. } => {
                by.iter().for_each(|(_, expr)| visit(expr));
                aggregates.iter().flat_map(|(_, aggregate)| aggregate.arguments.iter().chain(&aggregate.filter)).for_each(&mut *visit);
            }
            Plan::Scan { declared, steps, .. } => {
                declared.iter().for_each(|(_, default)| visit(default));
                for step in steps {
                    visit(&step.condition);
                    step.assignments.iter().for_each(|(_, value)| visit(value));
                }
            }
            Plan::Sort { keys, .. } => keys.iter().for_each(|key| visit(&key.expr)),
            Plan::Join { keys, .. } => keys.iter().flat_map(|(left, right)| [left, right]).for_each(&mut *visit),
            Plan::Union { inputs, .. } => inputs.iter().flat_map(|(_, values)| values).for_each(&mut *visit),
            Plan::MvExpand { expansions, .. } => expansions.iter().for_each(|expansion| visit(&expansion.source)),
        });
    }
}

/// Functions of serialized rows. Kusto docs: `scalar-functions`, "Window scalar functions".
pub(crate) const WINDOW_FUNCTIONS: &[&str] = &["prev", "next", "row_number", "row_cumsum", "row_rank_dense", "row_rank_min", "row_window_session"];

impl Expr {
    /// Whether it may have another value when it is computed again.
    pub fn is_volatile(&self) -> bool {
        let mut volatile = false;
        self.visit(&mut |inner| volatile |= matches!(&inner.kind, ExprKind::Call { function, .. } if matches!(function.as_str(), "rand" | "new_guid")));
        volatile
    }

    /// Whether it looks at other rows than its own.
    pub fn reads_neighbours(&self) -> bool {
        let mut reads = false;
        self.visit(&mut |inner| reads |= matches!(&inner.kind, ExprKind::Call { function, .. } if WINDOW_FUNCTIONS.contains(&function.as_str())));
        reads
    }

    /// Calls `visit` on this expression and every one inside it.
    pub fn visit(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        if let ExprKind::Call { arguments, .. } = &self.kind {
            arguments.iter().for_each(|argument| argument.visit(visit));
        }
    }
}
