//! Statements and tabular expressions.

use super::{Binder, Binding, Bound, Relation, guessed};
use crate::bound::{Column, Expr, Plan, Query};
use crate::catalog::{Feature, Reading, file_name};
use crate::diagnostics::{Diagnostic, codes, nearest};
use crate::operators::Operator;
use crate::operators::extend::add_columns;
use crate::span::Span;
use crate::syntax::{self, ColumnDeclaration, ExprKind, LetValue, Parameter, ParameterType, Statement, UNLISTED_COLUMNS};
use crate::types::{ScalarType, Value};
use std::collections::HashSet;
use std::sync::Arc;

impl Binder<'_> {
    pub(super) fn bind_statements(&mut self, query: &syntax::Query) -> Vec<Query> {
        let mut results = Vec::new();
        for statement in &query.statements {
            if let Statement::Expression(expr) = statement {
                self.render = None;
                let relation = match self.apart(|binder| binder.bind_any(expr)).0 {
                    Bound::Tabular(relation) => self.no_graph(relation, expr.span).unwrap_or_else(|| self.nothing()),
                    Bound::Scalar(value) => self.one_value(value),
                    Bound::Broken => self.nothing(),
                };
                let render = self.render.take();
                results.push(Query { plan: relation.plan, columns: relation.columns, render, subqueries: Vec::new(), guessed: HashSet::new() });
                let more = std::mem::take(&mut self.more);
                results.extend(more.into_iter().map(|relation| Query {
                    plan: relation.plan,
                    columns: relation.columns,
                    render: None,
                    subqueries: Vec::new(),
                    guessed: HashSet::new(),
                }));
            } else {
                self.bind_declaration(statement);
            }
        }
        // Every result carries all subqueries: an unused one is dropped when the plan is lowered.
        for result in &mut results {
            result.subqueries = self.subqueries.clone();
            result.guessed = guessed::columns(&result.plan, &self.open_tables.columns);
        }
        results
    }

    fn one_value(&mut self, value: Expr) -> Relation {
        let column = self.column("print_0", value.ty);
        let input = Relation { plan: one_row(), columns: Vec::new() };
        self.project(input, vec![(column, value)])
    }

    pub(super) fn bind_declaration(&mut self, statement: &Statement) {
        match statement {
            Statement::Let { name, value } => {
                if self.declared.contains(&name.node) {
                    // Microsoft's analyzer has an error here; Kusto's emulator runs it.
                    let message = format!("the variable `{}` is already declared", name.node);
                    self.report(Diagnostic::semantic(codes::ALREADY_DECLARED, message, name.span).warning().label("the last declaration counts"));
                }
                self.declared.push(name.node.clone());
                let binding = match value {
                    LetValue::Function(function) => Binding::Function(Arc::new(function.clone()), self.environment.clone()),
                    LetValue::Expr(expr) => match self.apart(|binder| binder.bind_any(expr)) {
                        (Bound::Scalar(value), _) => Binding::Scalar(value),
                        (Bound::Tabular(relation), open) => Binding::Tabular(Arc::new(relation.plan), relation.columns, open),
                        (Bound::Broken, _) => Binding::Broken,
                    },
                };
                self.define(&name.node, binding);
            }
            Statement::DeclareQueryParameters(parameters) => {
                for parameter in parameters {
                    let binding = self.query_parameter(parameter);
                    self.define(&parameter.name.node, binding);
                }
            }
            Statement::Set { name, value } => {
                if let Some(value) = value {
                    let value = match &value.kind {
                        ExprKind::Name(word) => Expr::literal(Value::String(word.clone())),
                        _ => self.with_row(&[], |binder| binder.scalar(value)),
                    };
                    self.settings.push((name.node.clone(), value));
                }
            }
            Statement::Alias { name, .. } => self.define(&format!("database {}", name.node), Binding::Broken),
            Statement::Restrict { span, .. } => self.refuse("`restrict access`", *span),
            Statement::DeclarePattern(pattern) => self.define(&pattern.name.node, Binding::Pattern(Arc::new(pattern.clone()), self.environment.clone())),
            Statement::DeclareEntityGroup { span, .. } => self.refuse("`declare entity_group`", *span),
            Statement::Expression(_) => {}
        }
    }

    fn query_parameter(&mut self, parameter: &Parameter) -> Binding {
        match (&parameter.ty, &parameter.default) {
            (ParameterType::Scalar(ty), Some(default)) => {
                let value = self.scalar(default);
                Binding::Scalar(self.convert(value, *ty))
            }
            (ParameterType::Scalar(ty), None) => {
                let message = format!("the query parameter `{}` has no value", parameter.name.node);
                self.error(codes::INVALID_USE, message, parameter.name.span, format!("give a default: `{}: {ty} = …`", parameter.name.node));
                Binding::Broken
            }
            _ => Binding::Broken,
        }
    }

    /// Binds an expression that may be a value or a table.
    pub(crate) fn bind_any(&mut self, expr: &syntax::Expr) -> Bound {
        match &expr.kind {
            ExprKind::Pipe { source, operators } => {
                let relation = match source {
                    Some(source) => match self.rows_or_graph(source) {
                        Some(relation) => relation,
                        None => return Bound::Broken,
                    },
                    None => Relation { plan: one_row(), columns: Vec::new() },
                };
                let first = usize::from(source.is_none());
                let known = match source.as_ref().map(|source| &source.kind) {
                    Some(ExprKind::DataTable { .. }) => Some(false),
                    Some(ExprKind::Name(name)) if self.lookup(name).is_none() => Some(false),
                    _ => None,
                };
                match self.piped_in(known, relation, operators, first) {
                    Some(relation) => Bound::Tabular(relation),
                    None => Bound::Broken,
                }
            }
            ExprKind::Name(name) => self.bind_name(name, expr.span),
            ExprKind::DataTable { columns, values } => self.datatable(columns, values, expr.span),
            ExprKind::ExternalData { columns, locations, properties } => self.external_data(columns, locations, properties),
            ExprKind::Call { name, arguments } => self.bind_call(name, arguments, expr.span),
            ExprKind::Path { target, member } => match self.pattern_path(target, member, expr.span).or_else(|| self.remote_table(target, member)) {
                Some(bound) => bound,
                None => self.bind_scalar(expr),
            },
            ExprKind::Index { target, index } => match self.pattern_path(target, index, expr.span) {
                Some(bound) => bound,
                None => self.bind_scalar(expr),
            },
            ExprKind::Error => Bound::Broken,
            _ => self.bind_scalar(expr),
        }
    }

    /// Operators one after the other. Those before number `first` may make their rows themselves.
    pub(crate) fn piped(&mut self, relation: Relation, operators: &[Operator], first: usize) -> Option<Relation> {
        self.piped_in(None, relation, operators, first)
    }

    fn piped_in(&mut self, in_order: Option<bool>, relation: Relation, operators: &[Operator], first: usize) -> Option<Relation> {
        let outer = std::mem::replace(&mut self.in_order, in_order);
        let piped = self.piped_inner(relation, operators, first);
        self.in_order = outer;
        piped
    }

    fn piped_inner(&mut self, mut relation: Relation, operators: &[Operator], first: usize) -> Option<Relation> {
        for (at, operator) in operators.iter().enumerate() {
            let span = operator.span();
            if at >= first && operator.must_be_first() {
                self.error(codes::CANNOT_BE_FIRST, format!("the operator `{}` can only begin a query", operator.name()), span, "not after `|`");
                return None;
            }
            if !self.require_operator(operator.name(), span) {
                return None;
            }
            if !self.more.is_empty() {
                self.refuse("an operator after one with several results", span);
                return None;
            }
            if matches!(relation.plan, Plan::Graph(_)) && !operator.reads_graph() {
                let message = format!("the operator `{}` reads a table", operator.name());
                self.error(codes::INVALID_USE, message, span, "its input is a graph: `graph-match` or `graph-to-table` makes it a table");
                return None;
            }
            let after = order_after(operator.name(), self.in_order);
            if operator.name() == "serialize" {
                self.in_order = after;
            }
            relation = operator.bind(self, relation)?;
            self.in_order = after;
        }
        Some(relation)
    }

    fn bind_scalar(&mut self, expr: &syntax::Expr) -> Bound {
        let reported = self.diagnostics.len();
        let value = self.scalar(expr);
        if self.diagnostics.len() > reported { Bound::Broken } else { Bound::Scalar(value) }
    }

    /// Binds an expression that must be tabular.
    pub(crate) fn tabular(&mut self, expr: &syntax::Expr) -> Option<Relation> {
        let results = self.more.len();
        let relation = self.joining(|binder| binder.rows_or_graph(expr))?;
        if self.more.len() > results {
            self.more.truncate(results);
            self.refuse("several results where one table is wanted", expr.span);
            return None;
        }
        self.no_graph(relation, expr.span)
    }

    fn no_graph(&mut self, relation: Relation, span: Span) -> Option<Relation> {
        if matches!(relation.plan, Plan::Graph(_)) {
            self.refuse("a graph where a table is wanted", span);
            return None;
        }
        Some(relation)
    }

    fn rows_or_graph(&mut self, expr: &syntax::Expr) -> Option<Relation> {
        if let ExprKind::Name(name) = &expr.kind {
            return self.table_by_name(name, expr.span);
        }
        match self.bind_any(expr) {
            Bound::Tabular(relation) => Some(relation),
            Bound::Scalar(_) => {
                self.error(codes::SCALAR_EXPECTED, "tabular value expected", expr.span, "this is a scalar value");
                None
            }
            Bound::Broken => None,
        }
    }

    fn bind_name(&mut self, name: &str, span: Span) -> Bound {
        if let Some(column) = self.row.columns.iter().find(|column| column.name == name) {
            return Bound::Scalar(Expr::column(column));
        }
        match self.lookup(name) {
            Some(Binding::Scalar(value)) => Bound::Scalar(value),
            Some(Binding::Tabular(plan, columns, open)) => {
                self.open = self.open.or(open);
                Bound::Tabular(self.reference(&plan, &columns))
            }
            Some(Binding::Function(function, environment)) => self.call_user_function(name, &function, &environment, Vec::new(), span),
            Some(Binding::Broken) => Bound::Broken,
            Some(Binding::Pattern(..)) => self.pattern(name, &[], None, span).unwrap_or(Bound::Broken),
            None => match self.named_table(name) {
                Some(relation) => Bound::Tabular(relation),
                None if self.open.is_some() && !self.row.columns.is_empty() => {
                    self.ask_for(name);
                    Bound::Scalar(open_column(name))
                }
                None if self.row.columns.is_empty() && self.row.sides.is_none() && !self.in_scalar_context() => {
                    self.missing_table(name, codes::UNKNOWN_NAME, span).map_or(Bound::Broken, Bound::Tabular)
                }
                None => {
                    self.unknown_name(name, span);
                    Bound::Broken
                }
            },
        }
    }

    fn table_by_name(&mut self, name: &str, span: Span) -> Option<Relation> {
        match self.lookup(name) {
            Some(Binding::Tabular(plan, columns, open)) => {
                self.open = self.open.or(open);
                return Some(self.reference(&plan, &columns));
            }
            Some(Binding::Function(function, environment)) => {
                return match self.call_user_function(name, &function, &environment, Vec::new(), span) {
                    Bound::Tabular(relation) => Some(relation),
                    _ => None,
                };
            }
            Some(Binding::Broken) => return None,
            Some(Binding::Scalar(_) | Binding::Pattern(..)) => {
                self.error(codes::SCALAR_EXPECTED, "tabular value expected", span, "this is a scalar value");
                return None;
            }
            None => {}
        }
        self.named_table(name).or_else(|| self.missing_table(name, codes::UNKNOWN_TABLE, span))
    }

    pub(crate) fn named_table(&mut self, name: &str) -> Option<Relation> {
        let schema = self.catalog.table(name)?;
        let columns: Vec<Column> = schema.into_iter().map(|(name, ty)| self.column(name, ty)).collect();
        self.row.table_name = Some(name.to_owned());
        let relation = Relation { plan: Plan::Table { name: name.to_owned(), columns: columns.clone() }, columns };
        if OPEN_TABLES.contains(&name) {
            let asked = self.open_up();
            return Some(self.with_absent(relation, asked));
        }
        if !EVENT_TABLES.contains(&name) {
            return Some(relation);
        }
        let named = |name: &&str| self.words.contains(*name) && relation.columns.iter().all(|column| column.name != **name);
        let unlisted: Vec<&str> = UNLISTED_COLUMNS.into_iter().filter(named).collect();
        let unlisted: Vec<Column> = unlisted.into_iter().map(|name| self.column(name, ScalarType::String)).collect();
        self.open_tables.columns.extend(unlisted.iter().map(|column| column.id));
        Some(self.with_absent(relation, unlisted))
    }

    /// The relation with further columns, which no row has a value of.
    pub(crate) fn with_absent(&mut self, relation: Relation, columns: Vec<Column>) -> Relation {
        if columns.is_empty() {
            return relation;
        }
        let absent = columns.into_iter().map(|column| (column.clone(), Expr::absent(column.ty))).collect();
        add_columns(self, relation, absent)
    }

    /// A table that nobody knows: an error, but in a leg of a fuzzy union, which has no rows for it and the columns that are asked of
    /// it. Kusto docs: `union-operator`, "isfuzzy".
    pub(crate) fn missing_table(&mut self, name: &str, code: &'static str, span: Span) -> Option<Relation> {
        if !self.fuzzy {
            self.unknown_table(name, code, span);
            return None;
        }
        self.report(Diagnostic::semantic(codes::UNKNOWN_IN_FUZZY, format!("unknown table `{name}`: it has no rows"), span).warning().label("a fuzzy union leaves it out"));
        let columns = self.open_up();
        Some(Relation { plan: Plan::Values { columns: columns.clone(), rows: Vec::new() }, columns })
    }

    /// Where a value could stand, too, Kusto calls it an unknown name (KS142).
    pub(crate) fn unknown_table(&mut self, name: &str, code: &'static str, span: Span) {
        let mut candidates = self.catalog.table_names();
        candidates.extend(self.names_in_scope());
        let suggestion = nearest(name, candidates.iter().map(String::as_str)).map(str::to_owned);
        let mut diagnostic = Diagnostic::semantic(code, format!("unknown table `{name}`"), span).label("not a known table, tabular variable or function");
        if let Some(suggestion) = suggestion {
            diagnostic = diagnostic.help(format!("a table with a similar name exists: `{suggestion}`")).fix(span, suggestion);
        }
        self.report(diagnostic);
    }

    pub(crate) fn declare(&mut self, columns: &[ColumnDeclaration]) -> Vec<Column> {
        for (at, column) in columns.iter().enumerate() {
            if columns[..at].iter().any(|before| before.name.node == column.name.node) {
                self.declared_twice(&column.name.node, column.name.span);
            }
        }
        columns.iter().map(|column| self.column(column.name.node.clone(), column.ty)).collect()
    }

    /// `externaldata(columns) [locations] with (format=…, ignoreFirstRecord=…)`. A file that nobody gave is empty, as a watchlist
    /// is. A checker reads no file.
    fn external_data(&mut self, declared: &[ColumnDeclaration], locations: &[syntax::Expr], properties: &[syntax::Expr]) -> Bound {
        let columns = self.declare(declared);
        let mut rows = Vec::new();
        if !self.catalog.runs(Feature::Operator, "every externaldata") {
            let property = |binder: &mut Self, wanted: &str| {
                let value = properties.iter().find_map(|property| match &property.kind {
                    ExprKind::Named { names, value } if names[0].node.eq_ignore_ascii_case(wanted) => Some(value.as_ref()),
                    _ => None,
                })?;
                match &value.kind {
                    ExprKind::Name(word) => Some(word.clone()),
                    _ => match binder.scalar(value).as_literal() {
                        Some(Value::String(text)) => Some(text.clone()),
                        Some(Value::Bool(flag)) => Some(flag.to_string()),
                        _ => None,
                    },
                }
            };
            let format = property(self, "format");
            let skip = usize::from(property(self, "ignoreFirstRecord").is_some_and(|flag| flag.eq_ignore_ascii_case("true")));
            let reading = Reading { format, columns: columns.iter().map(|column| column.name.clone()).collect(), mapping: property(self, "ingestionMapping") };
            for location in locations {
                let value = self.with_row(&[], |binder| binder.scalar(location));
                let Some(Value::String(place)) = value.as_literal() else {
                    self.refuse("`externaldata` from a computed place", location.span);
                    return Bound::Broken;
                };
                match self.catalog.external(place, &reading) {
                    Ok(None) => {
                        let message = format!("`{place}` is elsewhere, and no query reaches the network: it is empty");
                        let help = format!("put a copy named `{}` into a folder, and give it with --external", file_name(place));
                        self.report(Diagnostic::semantic(codes::NO_FILE, message, location.span).warning().label("no file of that name was given").help(help));
                    }
                    Ok(Some(records)) => rows.extend(records.into_iter().skip(skip).map(|record| {
                        let field = |(at, column): (usize, &Column)| {
                            let text = record.get(at).cloned().unwrap_or_default();
                            cast_literal(&Value::String(text), column.ty).unwrap_or(Value::Null(column.ty))
                        };
                        columns.iter().enumerate().map(field).collect::<Vec<Value>>()
                    })),
                    Err(message) => {
                        self.error(codes::NOT_SUPPORTED, message, location.span, "not read");
                        return Bound::Broken;
                    }
                }
            }
        }
        Bound::Tabular(Relation { plan: Plan::Values { columns: columns.clone(), rows }, columns })
    }

    fn datatable(&mut self, declared: &[ColumnDeclaration], values: &[syntax::Expr], span: Span) -> Bound {
        let columns = self.declare(declared);
        if columns.is_empty() || !values.len().is_multiple_of(columns.len()) {
            let label = format!("{} values for {} columns", values.len(), columns.len());
            self.error(codes::INVALID_USE, "the number of values is not a multiple of the number of columns", span, label);
            return Bound::Broken;
        }
        let mut rows = Vec::with_capacity(values.len() / columns.len());
        let mut row = Vec::with_capacity(columns.len());
        for (at, value) in values.iter().enumerate() {
            let ty = columns[at % columns.len()].ty;
            row.push(self.constant_cell(value, ty));
            if row.len() == columns.len() {
                rows.push(std::mem::take(&mut row));
            }
        }
        Bound::Tabular(Relation { plan: Plan::Values { columns: columns.clone(), rows }, columns })
    }

    /// A cell of `datatable`: a literal, converted to the column's type. Microsoft's analyzer takes any literal for any column; what
    /// Kusto's engine makes of one that no conversion is for is not documented, here it is null.
    fn constant_cell(&mut self, expr: &syntax::Expr, ty: ScalarType) -> Value {
        let span = expr.span;
        if matches!(&expr.kind, ExprKind::Name(name) if name == "null") {
            return Value::Null(ty);
        }
        let bound = self.with_row(&[], |binder| binder.scalar(expr));
        let Some(value) = fold(&bound) else {
            self.error(codes::INVALID_USE, "a cell of `datatable` must be a constant", span, "not a constant");
            return Value::Null(ty);
        };
        match cast_literal(&value, ty).or_else(|| cell_literal(&value, ty)) {
            Some(value) => value,
            None => {
                let label = format!("a {} in a column of type {ty}", value.scalar_type());
                let message = "the value is null: no conversion leads to the type of its column";
                self.report(Diagnostic::semantic(codes::INVALID_USE, message, span).warning().label(label));
                Value::Null(ty)
            }
        }
    }
}

/// A relation of one row without columns.
pub(crate) fn one_row() -> Plan {
    Plan::Values { columns: Vec::new(), rows: vec![Vec::new()] }
}

/// The literal an expression is, through sign and conversion calls that the binder put there.
pub(crate) fn fold(expr: &Expr) -> Option<Value> {
    match &expr.kind {
        crate::bound::ExprKind::Literal(value) => Some(value.clone()),
        crate::bound::ExprKind::Call { function, arguments, .. } => match (function.as_str(), arguments.as_slice()) {
            ("negate", [operand]) => match fold(operand)? {
                Value::Int(n) => Some(Value::Int(-n)),
                Value::Long(n) => Some(Value::Long(-n)),
                Value::Real(n) => Some(Value::Real(-n)),
                Value::TimeSpan(n) => Some(Value::TimeSpan(-n)),
                _ => None,
            },
            ("tolong" | "toreal" | "toint" | "todatetime" | "totimespan" | "tobool" | "todynamic" | "parse_json", [operand]) => cast_literal(&fold(operand)?, expr.ty),
            _ => None,
        },
        _ => None,
    }
}

/// A literal as a cell of `datatable` of another type, beside what [`cast_literal`] converts: its text, or a bool as a number.
fn cell_literal(value: &Value, ty: ScalarType) -> Option<Value> {
    Some(match (value, ty) {
        (Value::Bool(flag), ScalarType::String) => Value::String(if *flag { "True" } else { "False" }.to_owned()),
        (other, ScalarType::String) => {
            let mut json = String::new();
            crate::literals::write_json(other, &mut json);
            Value::String(json.trim_matches('"').to_owned())
        }
        (Value::Bool(flag), ScalarType::Long) => Value::Long(i64::from(*flag)),
        (Value::Bool(flag), ScalarType::Int) => Value::Int(i32::from(*flag)),
        (Value::Bool(flag), ScalarType::Real) => Value::Real(f64::from(u8::from(*flag))),
        _ => return None,
    })
}

/// A literal as another type, where Kusto converts literals silently.
pub(crate) fn cast_literal(value: &Value, ty: ScalarType) -> Option<Value> {
    if value.scalar_type() == ty {
        return Some(value.clone());
    }
    Some(match (value, ty) {
        (Value::Null(_), ScalarType::String) => Value::String(String::new()),
        (Value::Null(_), ty) => Value::Null(ty),
        (Value::Int(n), ScalarType::Long) => Value::Long(i64::from(*n)),
        (Value::Int(n), ScalarType::Real) => Value::Real(f64::from(*n)),
        (Value::Long(n), ScalarType::Int) => i32::try_from(*n).map_or(Value::Null(ty), Value::Int),
        (Value::Long(n), ScalarType::Real) => Value::Real(*n as f64),
        (Value::Long(n), ScalarType::Decimal) => Value::Decimal(n.to_string()),
        (Value::Long(n), ScalarType::Bool) => Value::Bool(*n != 0),
        (Value::Real(n), ScalarType::Decimal) => Value::Decimal(n.to_string()),
        (Value::Real(n), ScalarType::Long) => Value::Long(*n as i64),
        (Value::Real(n), ScalarType::Int) => Value::Int(*n as i32),
        (Value::String(text), ScalarType::Dynamic) => {
            let mut json = String::new();
            crate::literals::write_json_string(text, &mut json);
            Value::Dynamic(json)
        }
        (Value::String(text), ty) => crate::literals::typed(ty, text).unwrap_or(Value::Null(ty)),
        (other, ScalarType::Dynamic) => {
            let mut json = String::new();
            crate::literals::write_json(other, &mut json);
            Value::Dynamic(json)
        }
        _ => return None,
    })
}

/// The tables of the events of Windows and Operations Manager.
const EVENT_TABLES: &[&str] = &["Event", "SecurityEvent", "WindowsEvent"];

/// Tables whose columns depend on what a customer sends.
const OPEN_TABLES: &[&str] = &["AzureDiagnostics"];

/// A column that may exist where not all columns are known; the end of a custom column's name tells its type.
pub(crate) fn open_column(name: &str) -> Expr {
    let ty = match name.rsplit_once('_').map(|(_, suffix)| suffix) {
        Some("s" | "g") => ScalarType::String,
        Some("d") => ScalarType::Real,
        Some("b") => ScalarType::Bool,
        Some("t") => ScalarType::DateTime,
        _ => ScalarType::Dynamic,
    };
    Expr::literal(Value::Null(ty))
}

/// Whether rows are in order after an operator. Kusto docs: `window-functions`, "Serialized row set".
fn order_after(operator: &str, before: Option<bool>) -> Option<bool> {
    match operator {
        "sort" | "order" | "top" | "serialize" | "range" | "getschema" | "scan" => Some(true),
        "where" | "filter" | "extend" | "project" | "project-away" | "project-keep" | "project-rename" | "project-reorder" | "mv-expand" | "mvexpand" | "mv-apply" | "mvapply"
        | "parse" | "parse-where" | "parse-kv" | "take" | "limit" | "as" | "render" => before,
        "summarize" | "distinct" | "count" | "join" | "lookup" | "union" | "make-series" | "sample" | "search" | "find" => Some(false),
        _ => None,
    }
}
