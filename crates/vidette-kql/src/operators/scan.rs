//! `scan`: rows matched against steps, one after the other. Kusto docs: `scan-operator`.

use super::sort::parse_key;
use crate::binder::naming::automatic_name;
use crate::binder::{Binder, Relation};
use crate::bound::{Column, Expr as Bound, Plan, ScanOutput, ScanStep};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{ColumnDeclaration, Expr, ExprKind, Name, OperatorParameter, parameter};
use crate::types::{ScalarType, Value};

#[derive(Clone, Debug)]
pub struct Step {
    pub name: Name,
    pub output: ScanOutput,
    pub condition: Expr,
    pub assignments: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct Scan {
    pub parameters: Vec<OperatorParameter>,
    pub declared: Vec<(ColumnDeclaration, Option<Expr>)>,
    pub steps: Vec<Step>,
    /// `order by`, `partition by` and optional steps.
    pub unusual: Option<Span>,
    pub span: Span,
}

impl Scan {
    pub(crate) fn name(&self) -> &'static str {
        "scan"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Scan {
        let parameters = parser.operator_parameters();
        let mut unusual = None;
        if parser.at_word("order") {
            unusual = Some(parser.span());
            parser.bump();
            parser.expect_word("by");
            parser.comma_list(parse_key);
        }
        if parser.at_word("partition") {
            unusual = Some(parser.span());
            parser.bump();
            parser.expect_word("by");
            parser.comma_list(|parser| parser.expression());
        }
        let mut declared = Vec::new();
        if parser.eat_word("declare") {
            parser.expect(Token::OpenParen, "(");
            declared = parser.comma_list(|parser| {
                let column = parser.column_declaration();
                let default = parser.eat(Token::Assign).then(|| parser.expression());
                (column, default)
            });
            parser.expect(Token::CloseParen, ")");
        }
        parser.expect_word("with");
        parser.expect(Token::OpenParen, "(");
        let mut steps = Vec::new();
        while parser.eat_word("step") {
            let name = parser.declared_name();
            if parser.at_word("optional") {
                unusual = Some(parser.span());
                parser.bump();
            }
            let mut output = ScanOutput::All;
            if parser.peek() == Token::Name && parser.text() == "output" {
                parser.bump();
                parser.expect(Token::Assign, "=");
                output = match parser.text() {
                    "last" => ScanOutput::Last,
                    "none" => ScanOutput::None,
                    _ => ScanOutput::All,
                };
                parser.bump();
            }
            parser.expect(Token::Colon, ":");
            let condition = parser.expression();
            let assignments = if parser.eat(Token::Arrow) { parser.comma_list(|parser| parser.named_expression()) } else { Vec::new() };
            steps.push(Step { name, output, condition, assignments });
            if !parser.eat(Token::Semicolon) {
                break;
            }
        }
        parser.expect(Token::CloseParen, ")");
        Scan { parameters, declared, steps, unusual, span }
    }

    /// Columns: the input's, the declared ones, the match id.
    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        if let Some(span) = self.unusual {
            binder.refuse("this form of `scan`", span);
            return None;
        }
        let mut declared: Vec<(Column, Bound)> = Vec::with_capacity(self.declared.len());
        for (column, default) in &self.declared {
            let value = match default {
                Some(default) => binder.with_row(&[], |binder| binder.scalar(default)),
                None => Bound::literal(Value::Null(column.ty)),
            };
            let value = binder.convert(value, column.ty);
            declared.push((binder.column(column.name.node.clone(), column.ty), value));
        }
        // A column of the input that a step assigns is shadowed by a declared one; a step that leaves it passes the row's.
        let is_declared = |name: &str| self.declared.iter().any(|(column, _)| column.name.node == name);
        let mut shadowed: Vec<(Column, usize)> = Vec::new();
        for assigned in self.steps.iter().flat_map(|step| &step.assignments).filter_map(automatic_name) {
            if let Some(column) = input.columns.iter().find(|column| column.name == assigned && !is_declared(&assigned))
                && !shadowed.iter().any(|(known, _)| known.id == column.id)
            {
                shadowed.push((column.clone(), declared.len()));
                declared.push((binder.column(assigned, column.ty), Bound::literal(Value::Null(column.ty))));
            }
        }
        let is_shadowed = |column: &Column| shadowed.iter().any(|(known, _)| known.id == column.id);
        let own: Vec<Column> = input.columns.iter().cloned().chain(declared.iter().map(|(column, _)| column.clone())).collect();
        // Every step remembers a row of its own, under ids of its own.
        let states: Vec<(String, Vec<Column>)> = self
            .steps
            .iter()
            .map(|step| {
                (step.name.node.clone(), own.iter().map(|column| binder.column(if is_shadowed(column) { String::new() } else { column.name.clone() }, column.ty)).collect())
            })
            .collect();
        let outer = std::mem::replace(&mut binder.row.steps, states.clone());
        let mut steps = Vec::with_capacity(self.steps.len());
        for (step, (_, state)) in self.steps.iter().zip(states) {
            let condition = binder.with_row(&own, |binder| binder.predicate(&step.condition));
            let mut assignments = Vec::with_capacity(step.assignments.len());
            for assignment in &step.assignments {
                let ExprKind::Named { names, value } = &assignment.kind else {
                    binder.error(codes::COLUMN_EXPECTED, "column name expected", assignment.span, "an assignment is `column = value`");
                    continue;
                };
                let Some(at) = declared.iter().position(|(column, _)| column.name == names[0].node) else {
                    binder.error(codes::UNKNOWN_NAME, format!("unknown name `{}`", names[0].node), names[0].span, "not declared by this `scan`");
                    continue;
                };
                let value = binder.with_row(&own, |binder| binder.scalar(value));
                assignments.push((at, binder.convert(value, declared[at].0.ty)));
            }
            for (column, at) in &shadowed {
                if !assignments.iter().any(|(assigned, _)| assigned == at) {
                    assignments.push((*at, Bound::column(column)));
                }
            }
            steps.push(ScanStep { output: step.output, condition, assignments, state });
        }
        binder.row.steps = outer;
        let match_id = parameter(&self.parameters, "with_match_id").and_then(Expr::name).map(|name| binder.column(name, ScalarType::Long));
        let mut kept = input.columns.clone();
        let mut partition = None;
        if let Some(group) = &binder.group {
            partition = Some(group.row_id.id);
            for carried in group.carried.iter().chain([&group.row_id]) {
                if !kept.iter().any(|column| column.id == carried.id) {
                    kept.push(carried.clone());
                }
            }
        }
        let written = self.declared.len();
        let shown = input.columns.iter().map(|column| match shadowed.iter().find(|(known, _)| known.id == column.id) {
            Some((_, at)) => declared[*at].0.clone(),
            None => column.clone(),
        });
        let shown: Vec<Column> = shown.chain(declared[..written].iter().map(|(column, _)| column.clone())).chain(match_id.clone()).collect();
        let plan = Plan::Scan { input: Box::new(input.plan), kept, declared, steps, match_id, partition };
        Some(Relation { plan, columns: shown })
    }
}
