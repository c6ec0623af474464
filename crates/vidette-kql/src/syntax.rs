//! The syntax tree: what was written, with spans, names still text. Syntax may be incomplete.

use crate::operators::Operator;
use crate::span::{Span, Spanned};
use crate::types::{ScalarType, Value};
use std::collections::HashSet;

pub type Name = Spanned<String>;

/// The management group and the origin of an event. Sentinel's own rules over the tables of events name them, though no reference of these
/// tables lists them: they are there when a query names them.
pub(crate) const UNLISTED_COLUMNS: [&str; 2] = ["MG", "EventOriginId"];

/// All statements of a query text, in order.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub statements: Vec<Statement>,
    /// The words of the text, when columns are there because it names them: those of `union *`, `search` and `find`, and one that the
    /// reference of the event tables does not list.
    pub words: HashSet<String>,
}

#[derive(Clone, Debug)]
pub enum Statement {
    Let { name: Name, value: LetValue },
    Expression(Expr),
    Set { name: Name, value: Option<Expr> },
    DeclareQueryParameters(Vec<Parameter>),
    Alias { name: Name, value: Expr },
    Restrict { entities: Vec<Expr>, span: Span },
    DeclarePattern(Pattern),
    DeclareEntityGroup { name: Name, span: Span },
}

/// `declare pattern name = (argument: string)[path: string] { ("a").["b"] = { … }; };`
#[derive(Clone, Debug)]
pub struct Pattern {
    pub name: Name,
    pub arguments: Vec<Name>,
    pub path: Option<Name>,
    pub rows: Vec<PatternRow>,
}

/// The values that choose the body.
#[derive(Clone, Debug)]
pub struct PatternRow {
    pub arguments: Vec<Expr>,
    pub path: Option<Expr>,
    pub body: Query,
}

#[derive(Clone, Debug)]
pub enum LetValue {
    Expr(Expr),
    Function(FunctionDeclaration),
}

/// `(x: long, T: (Host: string, *)) { … }`
#[derive(Clone, Debug)]
pub struct FunctionDeclaration {
    pub parameters: Vec<Parameter>,
    pub body: Query,
    /// `view () { … }`, which `union` with wildcards finds.
    pub view: bool,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: Name,
    pub ty: ParameterType,
    pub default: Option<Expr>,
}

#[derive(Clone, Debug)]
pub enum ParameterType {
    Scalar(ScalarType),
    /// Columns, and whether more are allowed (`*`).
    Tabular(Vec<ColumnDeclaration>, bool),
    /// No type was written.
    Missing,
}

#[derive(Clone, Debug)]
pub struct ColumnDeclaration {
    pub name: Name,
    pub ty: ScalarType,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Literal(Value),
    Name(String),
    /// `*`
    Star,
    /// `a.b`; the member may be a call (`database("x").Table`, `cluster("c").database("d")`).
    Path {
        target: Box<Expr>,
        member: Box<Expr>,
    },
    /// `a[b]`
    Index {
        target: Box<Expr>,
        index: Box<Expr>,
    },
    Call {
        name: Name,
        arguments: Vec<Expr>,
    },
    /// `name = value` where an argument or a column may be named; several names for multi-value functions.
    Named {
        names: Vec<Name>,
        value: Box<Expr>,
    },
    Unary {
        operator: Name,
        operand: Box<Expr>,
    },
    /// Arithmetic, comparison and string operators; the operator is spelled as in Kusto.
    Binary {
        operator: Name,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `value between (low .. high)`
    Between {
        operator: Name,
        value: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
    },
    /// `value in (…)`, `in~`, `has_any`, `has_all` and the negated forms.
    In {
        operator: Name,
        value: Box<Expr>,
        list: Vec<Expr>,
    },
    /// `typeof(long)`, `typeof(a: long, b: string)`
    TypeOf(Vec<ColumnDeclaration>, Option<ScalarType>),
    /// A source followed by operators; without a source the first operator makes its own rows.
    Pipe {
        source: Option<Box<Expr>>,
        operators: Vec<Operator>,
    },
    DataTable {
        columns: Vec<ColumnDeclaration>,
        values: Vec<Expr>,
    },
    ExternalData {
        columns: Vec<ColumnDeclaration>,
        locations: Vec<Expr>,
        properties: Vec<Expr>,
    },
    /// Something that did not parse; a diagnostic says what.
    Error,
}

impl Expr {
    pub fn new(kind: ExprKind, span: Span) -> Expr {
        Expr { kind, span }
    }

    pub fn name(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The names that a scalar expression reads, in order; members of a path are none.
    pub fn names(&self, found: &mut Vec<String>) {
        match &self.kind {
            ExprKind::Name(name) => found.push(name.clone()),
            ExprKind::Path { target: inner, .. } | ExprKind::Named { value: inner, .. } | ExprKind::Unary { operand: inner, .. } => inner.names(found),
            ExprKind::Index { target: left, index: right } | ExprKind::Binary { left, right, .. } => {
                left.names(found);
                right.names(found);
            }
            ExprKind::Call { arguments: parts, .. } | ExprKind::And(parts) | ExprKind::Or(parts) => parts.iter().for_each(|part| part.names(found)),
            ExprKind::Between { value, low, high, .. } => [value, low, high].into_iter().for_each(|part| part.names(found)),
            ExprKind::In { value, list, .. } => {
                value.names(found);
                list.iter().for_each(|part| part.names(found));
            }
            _ => {}
        }
    }
}

/// A parameter of an operator: `kind=inner`, `hint.strategy=shuffle`, `withsource=T`.
#[derive(Clone, Debug)]
pub struct OperatorParameter {
    pub name: Name,
    pub value: Expr,
}

/// The value of the parameter `name` when it is a word or a name.
pub fn parameter<'a>(parameters: &'a [OperatorParameter], name: &str) -> Option<&'a Expr> {
    parameters.iter().find(|parameter| parameter.name.node == name).map(|parameter| &parameter.value)
}
