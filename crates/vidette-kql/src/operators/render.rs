//! `render`: how a client should draw the result; rows pass unchanged. Kusto docs: `render-operator`.

use crate::binder::{Binder, Relation};
use crate::bound;
use crate::diagnostics::{Diagnostic, codes, nearest};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, ExprKind, Name};
use crate::types::Value;

#[derive(Clone, Debug)]
pub struct Render {
    pub visualization: Name,
    pub properties: Vec<(Name, Vec<Expr>)>,
    pub span: Span,
}

const CHARTS: &[&str] = &[
    "table",
    "list",
    "barchart",
    "piechart",
    "ladderchart",
    "timechart",
    "linechart",
    "anomalychart",
    "pivotchart",
    "areachart",
    "stackedareachart",
    "scatterchart",
    "timepivot",
    "columnchart",
    "timeline",
    "3Dchart",
    "card",
    "treemap",
    "plotly",
    "graph",
    "sankey",
];

const PROPERTIES: &[&str] = &[
    "kind",
    "title",
    "accumulate",
    "xcolumn",
    "ycolumns",
    "anomalycolumns",
    "series",
    "xaxis",
    "yaxis",
    "ymin",
    "ymax",
    "xmin",
    "xmax",
    "xtitle",
    "ytitle",
    "ysplit",
    "legend",
    "by",
    "with",
];

impl Render {
    pub(crate) fn name(&self) -> &'static str {
        "render"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Render {
        let visualization = parser.declared_name();
        let mut properties = Vec::new();
        let parenthesized = parser.eat_word("with") && parser.expect(Token::OpenParen, "(");
        while parser.peek() == Token::Name && (parser.peek_at(1) == Token::Assign || PROPERTIES.contains(&parser.text())) {
            let name = parser.declared_name();
            parser.eat(Token::Assign);
            let mut values = vec![parser.parameter_value()];
            while parser.peek() == Token::Comma && !(parser.peek_at(1) == Token::Name && parser.peek_at(2) == Token::Assign) {
                parser.bump();
                values.push(parser.parameter_value());
            }
            properties.push((name, values));
            parser.eat(Token::Comma);
        }
        if parenthesized {
            parser.expect(Token::CloseParen, ")");
        }
        Render { visualization, properties, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let text = |value: &Expr| match &value.kind {
            ExprKind::Literal(Value::String(text)) => text.clone(),
            ExprKind::Literal(Value::Long(number)) => number.to_string(),
            ExprKind::Literal(Value::Real(number)) => number.to_string(),
            ExprKind::Literal(Value::Bool(flag)) => flag.to_string(),
            ExprKind::Name(name) => name.clone(),
            _ => String::new(),
        };
        known(binder, "chart", &self.visualization, CHARTS);
        self.properties.iter().for_each(|(name, _)| known(binder, "property", name, PROPERTIES));
        let properties = self.properties.iter().map(|(name, values)| (name.node.clone(), values.iter().map(text).collect::<Vec<_>>().join(","))).collect();
        binder.render = Some(bound::Render { visualization: self.visualization.node.clone(), properties });
        Some(input)
    }
}

/// Rows are as they are however nobody draws them: a warning.
fn known(binder: &mut Binder, kind: &str, name: &Name, names: &[&str]) {
    if names.iter().any(|known| known.eq_ignore_ascii_case(&name.node)) {
        return;
    }
    let warning = Diagnostic::semantic(codes::EXPECTED, format!("`render` has no {kind} `{}`", name.node), name.span).warning().label(format!("not a {kind}"));
    binder.report(match nearest(&name.node, names.iter().copied()) {
        Some(similar) => warning.help(format!("a {kind} with a similar name exists: `{similar}`")),
        None => warning,
    });
}
