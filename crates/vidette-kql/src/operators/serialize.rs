//! `serialize`, `as`, `consume`: rows pass in their order. Kusto docs: `serialize-operator`, `as-operator`,
//! `consume-operator`.

use super::extend::extend;
use crate::binder::{Binder, Binding, Relation};
use crate::bound::{Expr as Bound, Plan};
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{Expr, Name};
use crate::types::Value;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Serialize {
    pub columns: Vec<Expr>,
    /// `as name`
    pub alias: Option<Name>,
    /// `hint.materialized=true`: the name gives the same rows as the operator.
    pub once: bool,
    pub consume: bool,
    pub span: Span,
}

impl Serialize {
    pub(crate) fn name(&self) -> &'static str {
        match (&self.alias, self.consume) {
            (Some(_), _) => "as",
            (None, true) => "consume",
            (None, false) => "serialize",
        }
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Serialize {
        let ends = matches!(parser.peek(), Token::Pipe | Token::End | Token::Semicolon | Token::CloseParen | Token::CloseBrace);
        let columns = if ends { Vec::new() } else { parser.comma_list(|parser| parser.named_expression()) };
        Serialize { columns, alias: None, once: false, consume: false, span }
    }

    pub(crate) fn parse_passing(parser: &mut Parser, span: Span, name: &str) -> Serialize {
        let parameters = parser.operator_parameters();
        let once = parameters.iter().any(|parameter| parameter.name.node == "hint.materialized" && parameter.value.name() == Some("true"));
        let alias = (name == "as").then(|| parser.declared_name());
        Serialize { columns: Vec::new(), alias, once, consume: name == "consume", span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        if self.consume {
            return Some(Relation { plan: Plan::Take { input: Box::new(input.plan), count: Bound::literal(Value::Long(0)) }, columns: Vec::new() });
        }
        if let Some(alias) = &self.alias {
            let input = if self.once { binder.once(input) } else { input };
            let plan = Arc::new(input.plan);
            let relation = binder.reference(&plan, &input.columns);
            binder.define(&alias.node, Binding::Tabular(plan, input.columns, binder.open));
            // `withsource` knows the rows by this name.
            binder.row.table_name = Some(alias.node.clone());
            return Some(relation);
        }
        Some(extend(binder, input, &self.columns))
    }
}
