//! The tabular operators: for each its node, how it parses and how it binds.

mod assert_schema;
mod count;
mod distinct;
mod evaluate;
pub(crate) mod extend;
mod fork;
mod getschema;
mod graph;
mod graph_match;
mod invoke;
mod join;
mod make_series;
mod mv_expand;
mod parse;
mod parse_kv;
mod partition;
mod print;
mod project;
mod range;
mod reduce;
mod refused;
mod render;
mod sample;
mod scan;
mod search;
mod serialize;
mod sort;
mod summarize;
mod take;
mod top_nested;
mod union;
mod where_;

use crate::binder::{Binder, Relation};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
pub(crate) use graph_match::GraphScope;

macro_rules! operators {
    ($($variant:ident($node:ty)),* $(,)?) => {
        /// A tabular operator as it was written.
        #[derive(Clone, Debug)]
        pub enum Operator { $($variant($node)),* }

        impl Operator {
            pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
                match self { $(Operator::$variant(node) => node.bind(binder, input)),* }
            }

            pub(crate) fn span(&self) -> Span {
                match self { $(Operator::$variant(node) => node.span),* }
            }

            /// Kusto's name of the operator, without synonyms.
            pub fn name(&self) -> &str {
                match self { $(Operator::$variant(node) => node.name()),* }
            }
        }
    };
}

operators! {
    AssertSchema(assert_schema::AssertSchema),
    Count(count::Count),
    Distinct(distinct::Distinct),
    Evaluate(evaluate::Evaluate),
    Extend(extend::Extend),
    Facet(fork::Facet),
    Find(search::Find),
    Fork(fork::Fork),
    GetSchema(getschema::GetSchema),
    GraphMatch(graph_match::GraphMatch),
    GraphToTable(graph::GraphToTable),
    Invoke(invoke::Invoke),
    Join(join::Join),
    MakeGraph(graph::MakeGraph),
    MakeSeries(make_series::MakeSeries),
    MarkComponents(graph::MarkComponents),
    MvApply(mv_expand::MvApply),
    MvExpand(mv_expand::MvExpand),
    Parse(parse::Parse),
    ParseKv(parse_kv::ParseKv),
    Partition(partition::Partition),
    Print(print::Print),
    Project(project::Project),
    ProjectAway(project::ProjectAway),
    ProjectByNames(project::ProjectByNames),
    ProjectRename(project::ProjectRename),
    ProjectReorder(project::ProjectReorder),
    Range(range::Range),
    Reduce(reduce::Reduce),
    Refused(refused::Refused),
    Render(render::Render),
    Sample(sample::Sample),
    SampleDistinct(sample::SampleDistinct),
    Scan(scan::Scan),
    Search(search::Search),
    Serialize(serialize::Serialize),
    Sort(sort::Sort),
    Summarize(summarize::Summarize),
    Take(take::Take),
    Top(sort::Top),
    TopHitters(sample::TopHitters),
    TopNested(top_nested::TopNested),
    Union(union::Union),
    Where(where_::Where),
}

impl Operator {
    /// Operators whose input is a graph.
    pub(crate) fn reads_graph(&self) -> bool {
        matches!(self, Operator::GraphMatch(_) | Operator::GraphToTable(_) | Operator::MarkComponents(_) | Operator::Refused(_))
    }

    /// Operators that make their rows themselves.
    pub(crate) fn must_be_first(&self) -> bool {
        matches!(self, Operator::Print(_) | Operator::Range(_))
    }
}

/// Every tabular operator of the language, without synonyms. Kusto docs: `queries`.
pub const OPERATORS: &[&str] = &[
    "as",
    "assert-schema",
    "consume",
    "count",
    "datatable",
    "distinct",
    "evaluate",
    "extend",
    "externaldata",
    "facet",
    "find",
    "fork",
    "getschema",
    "graph-mark-components",
    "graph-match",
    "graph-shortest-paths",
    "graph-to-table",
    "invoke",
    "join",
    "lookup",
    "macro-expand",
    "make-graph",
    "make-series",
    "mv-apply",
    "mv-expand",
    "parse",
    "parse-kv",
    "parse-where",
    "partition",
    "print",
    "project",
    "project-away",
    "project-by-names",
    "project-keep",
    "project-rename",
    "project-reorder",
    "range",
    "reduce",
    "render",
    "sample",
    "sample-distinct",
    "scan",
    "search",
    "serialize",
    "sort",
    "summarize",
    "take",
    "top",
    "top-hitters",
    "top-nested",
    "union",
    "where",
];

/// Operator names with a hyphen, which the lexer sees as several tokens.
const HYPHENATED: &[&str] = &[
    "project-away",
    "project-keep",
    "project-rename",
    "project-reorder",
    "project-by-names",
    "mv-expand",
    "mv-apply",
    "make-series",
    "make-graph",
    "parse-where",
    "parse-kv",
    "top-nested",
    "top-hitters",
    "sample-distinct",
    "graph-match",
    "graph-shortest-paths",
    "graph-to-table",
    "graph-mark-components",
    "graph-where-nodes",
    "graph-where-edges",
    "assert-schema",
    "execute-and-cache",
    "macro-expand",
    "project-smart",
];

impl Parser<'_> {
    /// The operator's name here, and how many tokens it takes.
    fn operator_name(&self) -> Option<(&'static str, usize)> {
        if self.peek() != Token::Name {
            return None;
        }
        let start = self.span().start as usize;
        let rest = &self.source[start..];
        for name in HYPHENATED {
            let follows = rest.as_bytes().get(name.len()).copied().unwrap_or(b' ');
            if rest.starts_with(name) && !follows.is_ascii_alphanumeric() && follows != b'_' && follows != b'-' {
                return Some((name, name.split('-').count() * 2 - 1));
            }
        }
        let word = self.text();
        PLAIN.iter().find(|name| **name == word).map(|name| (*name, 1))
    }

    /// An operator at the start of a query, which has no input: `print`, `range`, `union`, `search`, `find`, `evaluate`.
    pub(crate) fn leading_operator(&mut self) -> Option<Operator> {
        let (name, _) = self.operator_name()?;
        let next = self.peek_at(1);
        let operand = !matches!(
            next,
            Token::Comma
                | Token::CloseParen
                | Token::CloseBracket
                | Token::CloseBrace
                | Token::Pipe
                | Token::Dot
                | Token::Assign
                | Token::Equal
                | Token::NotEqual
                | Token::Semicolon
        );
        let leads = match name {
            "print" => operand && next != Token::End,
            "range" => next == Token::Name || next == Token::OpenBracket,
            "union" | "find" | "search" => operand && next != Token::End,
            "evaluate" => next == Token::Name,
            "macro-expand" | "execute-and-cache" => true,
            _ => false,
        };
        if !leads {
            return None;
        }
        self.leading = true;
        let operator = self.operator();
        self.leading = false;
        operator
    }

    /// Operators between parentheses: `( where … | take 1 )`.
    pub(crate) fn subquery(&mut self) -> Vec<Operator> {
        self.expect(Token::OpenParen, "(");
        let mut operators = Vec::new();
        loop {
            match self.operator() {
                Some(operator) => operators.push(operator),
                None => self.recover(),
            }
            if !self.eat(Token::Pipe) {
                break;
            }
        }
        self.expect(Token::CloseParen, ")");
        operators
    }

    /// The operator after a `|`; the name has not been consumed.
    pub(crate) fn operator(&mut self) -> Option<Operator> {
        let Some((name, tokens)) = self.operator_name() else {
            self.error_here(codes::OPERATOR_EXPECTED, "query operator expected");
            return None;
        };
        let start = self.span();
        let mut end = start;
        for _ in 0..tokens {
            end = self.bump().span;
        }
        let span = start.to(end);
        Some(match name {
            "where" | "filter" => Operator::Where(where_::Where::parse(self, span)),
            "extend" => Operator::Extend(extend::Extend::parse(self, span)),
            "project" => Operator::Project(project::Project::parse(self, span)),
            "project-away" => Operator::ProjectAway(project::ProjectAway::parse(self, span, false)),
            "project-keep" => Operator::ProjectAway(project::ProjectAway::parse(self, span, true)),
            "project-rename" => Operator::ProjectRename(project::ProjectRename::parse(self, span)),
            "project-reorder" => Operator::ProjectReorder(project::ProjectReorder::parse(self, span)),
            "distinct" => Operator::Distinct(distinct::Distinct::parse(self, span)),
            "count" => Operator::Count(count::Count::parse(self, span)),
            "take" | "limit" => Operator::Take(take::Take::parse(self, span)),
            "sort" | "order" => Operator::Sort(sort::Sort::parse(self, span)),
            "top" => Operator::Top(sort::Top::parse(self, span)),
            "summarize" => Operator::Summarize(summarize::Summarize::parse(self, span)),
            "join" => Operator::Join(join::Join::parse(self, span, false)),
            "lookup" => Operator::Join(join::Join::parse(self, span, true)),
            "union" => Operator::Union(union::Union::parse(self, span)),
            "mv-expand" | "mvexpand" => Operator::MvExpand(mv_expand::MvExpand::parse(self, span)),
            "mv-apply" | "mvapply" => Operator::MvApply(mv_expand::MvApply::parse(self, span)),
            "parse" => Operator::Parse(parse::Parse::read(self, span, false)),
            "parse-where" => Operator::Parse(parse::Parse::read(self, span, true)),
            "evaluate" => Operator::Evaluate(evaluate::Evaluate::parse(self, span)),
            "search" => Operator::Search(search::Search::parse(self, span)),
            "find" => Operator::Find(search::Find::parse(self, span)),
            "scan" => Operator::Scan(scan::Scan::parse(self, span)),
            "parse-kv" => Operator::ParseKv(parse_kv::ParseKv::parse(self, span)),
            "make-series" => Operator::MakeSeries(make_series::MakeSeries::parse(self, span)),
            "partition" | "__partitionby" => Operator::Partition(partition::Partition::parse(self, span)),
            "sample" => Operator::Sample(sample::Sample::parse(self, span)),
            "sample-distinct" => Operator::SampleDistinct(sample::SampleDistinct::parse(self, span)),
            "top-hitters" => Operator::TopHitters(sample::TopHitters::parse(self, span)),
            "project-by-names" => Operator::ProjectByNames(project::ProjectByNames::parse(self, span)),
            "assert-schema" => Operator::AssertSchema(assert_schema::AssertSchema::parse(self, span)),
            "make-graph" => Operator::MakeGraph(graph::MakeGraph::parse(self, span)),
            "graph-match" => Operator::GraphMatch(graph_match::GraphMatch::parse(self, span, false)),
            "graph-shortest-paths" => Operator::GraphMatch(graph_match::GraphMatch::parse(self, span, true)),
            "graph-to-table" => Operator::GraphToTable(graph::GraphToTable::parse(self, span)),
            "graph-mark-components" => Operator::MarkComponents(graph::MarkComponents::parse(self, span)),
            "fork" => Operator::Fork(fork::Fork::parse(self, span)),
            "facet" => Operator::Facet(fork::Facet::parse(self, span)),
            "top-nested" => Operator::TopNested(top_nested::TopNested::parse(self, span)),
            "reduce" => Operator::Reduce(reduce::Reduce::parse(self, span)),
            "print" => Operator::Print(print::Print::parse(self, span)),
            "range" => Operator::Range(range::Range::parse(self, span)),
            "render" => Operator::Render(render::Render::parse(self, span)),
            "serialize" => Operator::Serialize(serialize::Serialize::parse(self, span)),
            "as" | "consume" => Operator::Serialize(serialize::Serialize::parse_passing(self, span, name)),
            "getschema" => Operator::GetSchema(getschema::GetSchema { span }),
            "invoke" => Operator::Invoke(invoke::Invoke::parse(self, span)),
            other => Operator::Refused(refused::Refused::parse(self, span, other)),
        })
    }
}

/// Operator names of one word.
const PLAIN: &[&str] = &[
    "where",
    "filter",
    "extend",
    "project",
    "distinct",
    "count",
    "take",
    "limit",
    "sort",
    "order",
    "top",
    "summarize",
    "join",
    "lookup",
    "union",
    "mvexpand",
    "mvapply",
    "parse",
    "print",
    "range",
    "render",
    "serialize",
    "as",
    "consume",
    "getschema",
    "invoke",
    "search",
    "find",
    "evaluate",
    "fork",
    "facet",
    "partition",
    "reduce",
    "sample",
    "scan",
    "__partitionby",
];
