//! `evaluate`: plugins. Kusto docs: `evaluate-operator`, and a page per plugin.
//!
//! `bag_unpack` and `pivot` become plain operators once their columns are known; most others look at all rows at once.

use super::Operator;
use super::count::Count;
use super::fork::branches;
use super::summarize::{Summarize, aggregate};
use super::take::Take;
use crate::binder::naming::{Names, automatic_name};
use crate::binder::{Argument, Binder, Binding, PLUGINS, Parameter, Relation, is_broken, reads_row};
use crate::bound::{Column, Expr as Bound, ExprKind as BoundKind, PassInput, Plan};
use crate::catalog::{Feature, QuestionKind};
use crate::diagnostics::codes;
use crate::lexer::Token;
use crate::parser::Parser;
use crate::span::Span;
use crate::syntax::{ColumnDeclaration, Expr, ExprKind, Name};
use crate::types::ScalarType::{DateTime, Dynamic, Long, Real, TimeSpan};
use crate::types::{ScalarType, Value};

#[derive(Clone, Debug)]
pub struct Evaluate {
    pub plugin: Name,
    pub arguments: Vec<Expr>,
    /// Declared output columns, and whether `*` keeps the input's.
    pub schema: Option<(Vec<ColumnDeclaration>, bool)>,
    pub span: Span,
}

impl Evaluate {
    pub(crate) fn name(&self) -> &'static str {
        "evaluate"
    }

    pub(crate) fn parse(parser: &mut Parser, span: Span) -> Evaluate {
        parser.leading = false;
        parser.operator_parameters();
        let plugin = parser.declared_name();
        let mut arguments = Vec::new();
        if parser.peek() == Token::OpenParen {
            arguments = parser.arguments();
        } else {
            parser.expect(Token::OpenParen, "(");
        }
        let schema = parser.eat(Token::Colon).then(|| output_schema(parser));
        Evaluate { plugin, arguments, schema, span }
    }

    pub(crate) fn bind(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let plugin = self.plugin.node.as_str();
        let Some(signature) = PLUGINS.get(plugin) else {
            binder.error(codes::UNKNOWN_PLUGIN, format!("unknown plugin `{plugin}`"), self.plugin.span, "not a plugin");
            return None;
        };
        if !binder.catalog.runs(Feature::Plugin, plugin) {
            binder.refuse_named("plugin", plugin, self.plugin.span);
            return None;
        }
        if !binder.takes("plugin", &self.plugin, signature, self.arguments.len()) {
            return None;
        }
        match plugin {
            "bag_unpack" => self.bag_unpack(binder, input),
            "pivot" => self.pivot(binder, input),
            "ipv4_lookup" | "ipv6_lookup" => self.ip_lookup(binder, input),
            "preview" => self.preview(binder, input),
            "geo_polygon_lookup" | "geo_line_lookup" => self.geo_lookup(binder, input),
            "funnel_sequence" => self.funnel_sequence(binder, input),
            _ => self.pass(binder, input),
        }
    }

    /// A plugin that looks at all rows: its arguments travel as columns after those of the input.
    fn pass(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let plugin = self.plugin.node.as_str();
        let overload = PLUGINS.get(plugin)?.overloads.iter().find(|overload| overload.accepts(self.arguments.len()))?;
        let mut values: Vec<(Option<String>, Bound)> = Vec::with_capacity(self.arguments.len());
        let mut sound = true;
        for (at, argument) in self.arguments.iter().enumerate() {
            if plugin == "new_activity_metrics" && self.is_table(binder, &input, argument) {
                continue;
            }
            let parameter = overload.parameter(at, self.arguments.len())?;
            let value = if is_placeholder(argument) { Some(Bound::literal(Value::Null(ScalarType::String))) } else { plugin_argument(binder, &input, plugin, argument, parameter) };
            sound &= value.is_some();
            values.extend(value.map(|value| (automatic_name(argument), value)));
        }
        if !sound {
            return None;
        }
        let known_before = if plugin == "new_activity_metrics" { self.known_before(binder, &input, &mut values) } else { None };
        self.complete(&input, &mut values);
        let Some(columns) = self.columns(&input, &values) else {
            binder.refuse_named("plugin", plugin, self.plugin.span);
            return None;
        };
        let mut names = Names::default();
        let columns: Vec<Column> = columns.into_iter().map(|(name, ty)| binder.column(names.unique(&name), ty)).collect();
        // Of a plugin over users on a timeline only the arguments are read.
        let shows_rows = matches!(plugin, "narrow" | "autocluster" | "basket" | "diffpatterns" | "rows_near" | "identity" | "dcount_intersect");
        let read = Relation { columns: if shows_rows { input.columns } else { Vec::new() }, plan: input.plan };
        let input = with_arguments(binder, read, values.into_iter().map(|(_, value)| value).collect());
        let inputs = std::iter::once(input).chain(known_before).collect();
        let plan = Plan::Pass { name: plugin.to_owned(), inputs, columns: columns.clone(), pattern: None };
        Some(Relation { plan, columns })
    }

    /// The columns of such a plugin's result.
    fn columns(&self, input: &Relation, values: &[(Option<String>, Bound)]) -> Option<Vec<(String, ScalarType)>> {
        let argument = |at: usize| values.get(at).map(|(name, value)| (name.clone().unwrap_or_else(|| "Column1".to_owned()), value.ty));
        let rest = |from: usize| (from..values.len()).filter_map(argument).collect::<Vec<_>>();
        let named = |names: &[(&str, ScalarType)]| names.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect::<Vec<_>>();
        let own: Vec<(String, ScalarType)> = input.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        let time = argument(1).map_or_else(|| ("Timestamp".to_owned(), DateTime), |(name, ty)| (name, ty));
        Some(match self.plugin.node.as_str() {
            "narrow" => named(&[("Row", Long), ("Column", ScalarType::String), ("Value", ScalarType::String)]),
            "autocluster" | "basket" => [named(&[("SegmentId", Long), ("Count", Long), ("Percent", Real)]), own].concat(),
            "diffpatterns" => {
                let counts = [("SegmentId", Long), ("CountA", Long), ("CountB", Long), ("PercentA", Real), ("PercentB", Real), ("PercentDiffAB", Real)];
                [named(&counts), own].concat()
            }
            "rows_near" | "identity" => own,
            "active_users_count" => [vec![time], rest(8), named(&[("dcount", Long)])].concat(),
            "sliding_window_counts" => [vec![time], rest(6), named(&[("Count", Long), ("Dcount", Long)])].concat(),
            "activity_counts_metrics" => [vec![time], rest(5), named(&[("count", Long), ("dcount", Long), ("new_dcount", Long), ("aggregated_dcount", Long)])].concat(),
            "session_count" => [vec![time], rest(6), named(&[("count_sessions", Long)])].concat(),
            "activity_metrics" => {
                let counts = [("dcount_values", Long), ("dcount_newvalues", Long), ("retention_rate", Real), ("churn_rate", Real)];
                [vec![time], rest(5), named(&counts)].concat()
            }
            "activity_engagement" => {
                let counts = [("dcount_activities_inner", Long), ("dcount_activities_outer", Long), ("activity_ratio", Real)];
                [vec![time], rest(6), named(&counts)].concat()
            }
            "new_activity_metrics" => {
                let times = ["from", "to"].map(|end| (format!("{end}_{}", time.0), time.1));
                let counts = [("dcount_new_values", Long), ("dcount_retained_values", Long), ("dcount_churn_values", Long), ("retention_rate", Real), ("churn_rate", Real)];
                [times.to_vec(), rest(6), named(&counts)].concat()
            }
            "funnel_sequence_completion" => [vec![time, argument(5)?], named(&[("Period", TimeSpan), ("dcount", Long)])].concat(),
            // A row per sequence that was found; `funnel_sequence` counts the users.
            "funnel_sequence" => [vec![time], named(&[("prev", ScalarType::String), ("next", ScalarType::String)]), vec![("$user".to_owned(), argument(0)?.1)]].concat(),
            "dcount_intersect" => [own, (0..values.len()).map(|at| (format!("s{at}"), Long)).collect()].concat(),
            "rolling_percentile" => {
                let (value, ty) = argument(0)?;
                let percent = number_text(&values.get(1)?.1);
                let bins = number_text(&values.get(4)?.1);
                [vec![argument(2)?], rest(5), vec![(format!("rolling_{bins}_percentile_{value}_{percent}"), ty)]].concat()
            }
            "sequence_detect" => {
                let timeline = argument(0)?;
                let predicates: Vec<_> = self.arguments[3.min(self.arguments.len())..].iter().zip(&values[3.min(values.len())..]).collect();
                let steps = predicates
                    .iter()
                    .filter(|(_, (_, value))| value.ty == ScalarType::Bool)
                    .map(|(_, (name, _))| (format!("{}_{}", name.clone().unwrap_or_default(), timeline.0), DateTime));
                let dimensions = predicates.iter().filter(|(_, (_, value))| value.ty != ScalarType::Bool).filter_map(|(_, (name, value))| Some((name.clone()?, value.ty)));
                let mut columns: Vec<(String, ScalarType)> = dimensions.collect();
                columns.extend(steps);
                columns.push(("Duration".to_owned(), TimeSpan));
                columns
            }
            _ => return None,
        })
    }

    /// `preview(n)`: so many rows, and how many there are.
    fn preview(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let some = [Operator::Take(Take { count: self.arguments.first()?.clone(), span: self.span })];
        let all = [Operator::Count(Count { alias: None, span: self.span })];
        branches(binder, input, &[&some, &all])
    }

    /// `funnel_sequence(id, time, start, end, window, bin, state, sequence)`: users by what came before and after the
    /// sequence, then by what came before, then by what came after.
    fn funnel_sequence(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let found = self.pass(binder, input)?;
        let [time, prev, next, user] = found.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().try_into().ok()?;
        let here = |kind: ExprKind| Expr { kind, span: self.span };
        let name = |name: &str| here(ExprKind::Name(name.to_owned()));
        let named = |alias: &str, function: &str, arguments: Vec<Expr>| {
            let spanned = |text: &str| Name { node: text.to_owned(), span: self.span };
            let call = ExprKind::Call { name: spanned(function), arguments };
            here(ExprKind::Named { names: vec![spanned(alias)], value: Box::new(here(call)) })
        };
        let users = |by: &[&String]| {
            // Kusto names at most 128 of the users.
            let most = here(ExprKind::Literal(Value::Long(128)));
            let aggregates = vec![named("dcount", "dcount", vec![name(&user)]), named("samples", "make_set", vec![name(&user), most])];
            Operator::Summarize(Summarize { aggregates, by: by.iter().map(|column| name(column)).collect(), span: self.span })
        };
        let (around, before, after) = ([users(&[&time, &prev, &next])], [users(&[&time, &prev])], [users(&[&time, &next])]);
        branches(binder, found, &[&around, &before, &after])
    }

    /// Nulls for the arguments that may be left out from the middle: start and end, or the cohort.
    fn complete(&self, input: &Relation, values: &mut Vec<(Option<String>, Bound)>) {
        let absent = || (None, Bound::literal(Value::Null(DateTime)));
        match self.plugin.node.as_str() {
            "activity_metrics" | "activity_engagement" if values.get(2).is_some_and(|(_, value)| matches!(value.ty, TimeSpan | ScalarType::String)) => {
                values.splice(2..2, [absent(), absent()]);
            }
            "new_activity_metrics" => {
                let is_column = |value: &Bound| matches!(value.kind, BoundKind::Column(id) if input.columns.iter().any(|column| column.id == id));
                if values.get(5).is_none_or(|(_, value)| is_column(value)) {
                    values.resize_with(values.len().max(5), absent);
                    values.insert(5, absent());
                }
            }
            _ => {}
        }
    }

    fn is_table(&self, binder: &Binder, input: &Relation, argument: &Expr) -> bool {
        let ExprKind::Name(name) = &argument.kind else { return false };
        let known = matches!(binder.lookup(name), Some(Binding::Tabular(..))) || binder.catalog.table(name).is_some();
        known && !input.columns.iter().any(|column| column.name == *name)
    }

    /// The table of users that were known before: its column has the name of the first argument.
    fn known_before(&self, binder: &mut Binder, input: &Relation, values: &mut [(Option<String>, Bound)]) -> Option<PassInput> {
        let table = self.arguments.iter().find(|argument| self.is_table(binder, input, argument))?;
        let relation = binder.with_row(&[], |binder| binder.tabular(table))?;
        let user = values.first()?.0.clone();
        let Some(column) = relation.columns.iter().find(|column| Some(&column.name) == user.as_ref()).cloned() else {
            let name = user.unwrap_or_default();
            binder.error(codes::UNKNOWN_NAME, format!("unknown name `{name}`"), table.span, format!("has no column `{name}`"));
            return None;
        };
        Some(with_arguments(binder, relation, vec![Bound::column(&column)]))
    }

    /// `geo_polygon_lookup(table, key, longitude, latitude, radius, …)`: the columns of the rows whose shape is near.
    fn geo_lookup(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let lines = self.plugin.node == "geo_line_lookup";
        let positional = |at: usize| self.arguments.get(at).filter(|argument| !matches!(argument.kind, ExprKind::Named { .. }));
        let (Some(table), Some(key), Some(longitude), Some(latitude)) = (positional(0), positional(1), positional(2), positional(3)) else {
            let message = format!("the plugin `{}` expects at least {} arguments", self.plugin.node, 4 + usize::from(lines));
            binder.error(codes::ARGUMENT_COUNT_RANGE, message, self.plugin.span, "a table, its shape, longitude and latitude");
            return None;
        };
        let lookup = binder.with_row(&[], |binder| binder.tabular(table))?;
        let key = binder.with_row(&lookup.columns, |binder| binder.column_reference(key))?;
        let mut constant = |argument: Option<&Expr>| match argument {
            Some(argument) => binder.with_row(&[], |binder| binder.scalar(argument)),
            None => Bound::literal(Value::Null(ScalarType::Bool)),
        };
        let radius = constant(positional(4).or_else(|| self.named("radius")));
        let unmatched = constant(positional(5).or_else(|| self.named("return_unmatched")));
        let show_key = constant(positional(7).or_else(|| self.named("return_lookup_key"))).as_literal() == Some(&Value::Bool(true));
        let place = [longitude, latitude].map(|argument| binder.with_row(&input.columns, |binder| binder.scalar(argument)));
        let shown: Vec<Column> = lookup.columns.iter().filter(|column| show_key || column.id != key.id).cloned().collect();
        let mut names = Names::default();
        let columns: Vec<(String, ScalarType)> = input.columns.iter().chain(&shown).map(|column| (names.unique(&column.name), column.ty)).collect();
        let columns: Vec<Column> = columns.into_iter().map(|(name, ty)| binder.column(name, ty)).collect();
        let left = with_arguments(binder, input, [place.to_vec(), vec![radius, unmatched]].concat());
        let right = with_arguments(binder, Relation { plan: lookup.plan, columns: shown }, vec![Bound::column(&key)]);
        Some(Relation { plan: Plan::Pass { name: self.plugin.node.clone(), inputs: vec![left, right], columns: columns.clone(), pattern: None }, columns })
    }

    fn named(&self, name: &str) -> Option<&Expr> {
        self.arguments.iter().find_map(|argument| match &argument.kind {
            ExprKind::Named { names, value } if names[0].node == name => Some(value.as_ref()),
            _ => None,
        })
    }

    /// The argument at a position among those without a name, or the named one.
    fn argument(&self, position: usize, name: &str) -> Option<&Expr> {
        self.named(name).or_else(|| self.arguments.iter().filter(|argument| !matches!(argument.kind, ExprKind::Named { .. })).nth(position))
    }

    fn text(&self, binder: &mut Binder, position: usize, name: &str) -> Option<String> {
        let argument = self.argument(position, name)?;
        match binder.with_row(&[], |binder| binder.scalar(argument)).as_literal() {
            Some(Value::String(text) | Value::Dynamic(text)) => Some(text.clone()),
            _ => None,
        }
    }

    /// `bag_unpack(column, prefix, columnsConflict, ignoredProperties)`: a column per property.
    fn bag_unpack(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let first = self.arguments.first()?;
        let bag = binder.with_row(&input.columns, |binder| binder.column_reference(first))?;
        if bag.ty != Dynamic {
            binder.error(codes::TYPE_EXPECTED, "the expression must have the type dynamic", first.span, format!("this is {}", bag.ty));
            return None;
        }
        let prefix = self.text(binder, 1, "OutputColumnPrefix").unwrap_or_default();
        let conflict = self.text(binder, 2, "columnsConflict").unwrap_or_else(|| "error".to_owned());
        let ignored = self.text(binder, 3, "ignoredProperties").map(|json| crate::literals::string_array(&json)).unwrap_or_default();
        let kept: Vec<Column> = input.columns.iter().filter(|column| column.id != bag.id).cloned().collect();
        let mut shown: Vec<(Column, Bound)> = Vec::new();
        let mut unpacked: Vec<(String, String, ScalarType)> = Vec::new();
        match &self.schema {
            Some((declared, star)) => {
                if *star {
                    shown.extend(kept.iter().map(|column| (column.clone(), Bound::column(column))));
                }
                for declaration in declared {
                    let name = &declaration.name.node;
                    match kept.iter().find(|column| column.name == *name && !*star) {
                        Some(column) => shown.push((column.clone(), Bound::column(column))),
                        None => unpacked.push((name.clone(), name.strip_prefix(&prefix).unwrap_or(name).to_owned(), declaration.ty)),
                    }
                }
            }
            None => {
                shown.extend(kept.iter().map(|column| (column.clone(), Bound::column(column))));
                let hidden = binder.column("$bag", Dynamic);
                let plan = Plan::Project { input: Box::new(input.plan.clone()), columns: vec![(hidden.clone(), Bound::column(&bag))] };
                let properties = match binder.ask(plan, hidden, QuestionKind::Properties) {
                    Some(properties) => properties,
                    None => {
                        shown.extend(binder.open_up().into_iter().map(|column| (column.clone(), Bound::absent(column.ty))));
                        Vec::new()
                    }
                };
                unpacked.extend(properties.into_iter().filter(|(name, _)| !ignored.contains(name)).map(|(name, ty)| (format!("{prefix}{name}"), name, ty)));
            }
        }
        for (name, property, ty) in unpacked {
            let element = Bound::call("path", Dynamic, vec![Bound::column(&bag), Bound::literal(Value::String(property))]);
            let value = binder.convert(element, ty);
            let column = binder.column(name.clone(), ty);
            match (shown.iter_mut().find(|(existing, _)| existing.name == name), conflict.as_str()) {
                (Some(slot), "replace_source") => *slot = (column, value),
                (Some(_), "keep_source") => {}
                (Some(_), _) => {
                    binder.error(codes::DUPLICATE_COLUMN, format!("a column with the name `{name}` is already declared"), self.span, "give a prefix, or columnsConflict");
                    return None;
                }
                (None, _) => shown.push((column, value)),
            }
        }
        // As they were declared; what `*` stands for comes first.
        if let Some((declared, _)) = &self.schema {
            shown.sort_by_key(|(column, _)| declared.iter().position(|declared| declared.name.node == column.name));
        }
        Some(binder.project(input, shown))
    }

    /// `pivot(column, aggregate, column, …)`: a column per value.
    fn pivot(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let first = self.arguments.first()?;
        let pivot = binder.with_row(&input.columns, |binder| binder.column_reference(first))?;
        let count = Expr { kind: ExprKind::Call { name: Name { node: "count".to_owned(), span: self.span }, arguments: Vec::new() }, span: self.span };
        let function = self.arguments.get(1).filter(|argument| matches!(argument.kind, ExprKind::Call { .. }));
        let aggregated = function.unwrap_or(&count);
        let mut by: Vec<Column> = Vec::new();
        for argument in self.arguments.iter().skip(1 + usize::from(function.is_some())) {
            by.push(binder.with_row(&input.columns, |binder| binder.column_reference(argument))?);
        }
        if by.is_empty() {
            let mut inside: Vec<String> = Vec::new();
            if let ExprKind::Call { arguments, .. } = &aggregated.kind {
                inside.extend(arguments.iter().filter_map(automatic_name));
            }
            by = input.columns.iter().filter(|column| column.id != pivot.id && !inside.contains(&column.name)).cloned().collect();
        }
        // What is wrong with the aggregate is so whatever values there are.
        binder.aggregates = Some(Vec::new());
        let probed = binder.with_row(&input.columns, |binder| binder.scalar(aggregated));
        binder.aggregates = None;
        if is_broken(&probed) {
            return None;
        }
        let text = binder.convert(Bound::column(&pivot), ScalarType::String);
        let mut asked = Vec::new();
        let names: Vec<(String, ScalarType)> = match &self.schema {
            Some((declared, _)) => {
                let keys = |name: &str| by.iter().any(|column| column.name == name);
                declared.iter().filter(|column| !keys(&column.name.node)).map(|column| (column.name.node.clone(), column.ty)).collect()
            }
            None => {
                let hidden = binder.column("$value", ScalarType::String);
                let plan = Plan::Project { input: Box::new(input.plan.clone()), columns: vec![(hidden.clone(), text.clone())] };
                binder.ask(plan, hidden, QuestionKind::Values).unwrap_or_else(|| {
                    asked = binder.open_up();
                    Vec::new()
                })
            }
        };
        let keys: Vec<(Column, Bound)> = by.iter().map(|column| (binder.column(column.name.clone(), column.ty), Bound::column(column))).collect();
        let mut shown: Vec<(Column, Bound)> = keys.iter().map(|(column, _)| (column.clone(), Bound::column(column))).collect();
        let mut aggregates = Vec::new();
        for (name, _) in names {
            binder.aggregates = Some(Vec::new());
            let value = binder.with_row(&input.columns, |binder| binder.scalar(aggregated));
            let mut collected = binder.aggregates.take().unwrap_or_default();
            let here = Bound::call("==", ScalarType::Bool, vec![text.clone(), Bound::literal(Value::String(name.clone()))]);
            for (_, one) in &mut collected {
                one.filter = Some(match one.filter.take() {
                    Some(filter) => Bound::call("and", ScalarType::Bool, vec![filter, here.clone()]),
                    None => here.clone(),
                });
            }
            aggregates.extend(collected);
            shown.push((binder.column(name, value.ty), value));
        }
        shown.extend(asked.into_iter().map(|column| (column.clone(), Bound::absent(column.ty))));
        let plan = aggregate(binder, input, keys, aggregates);
        Some(binder.project(Relation { plan, columns: Vec::new() }, shown))
    }

    /// `ipv4_lookup(table, address, network, key, …, return_unmatched)`
    fn ip_lookup(&self, binder: &mut Binder, input: Relation) -> Option<Relation> {
        let (Some(table), Some(address), Some(network)) = (self.arguments.first(), self.argument(1, "SourceIPKey"), self.argument(2, "IPLookupKey")) else {
            let message = format!("the plugin `{}` expects at least 3 arguments", self.plugin.node);
            binder.error(codes::ARGUMENT_COUNT_RANGE, message, self.plugin.span, "a table, an address and its network");
            return None;
        };
        let lookup = binder.with_row(&[], |binder| binder.tabular(table))?;
        let address = binder.with_row(&input.columns, |binder| binder.scalar(address));
        let network_column = binder.with_row(&lookup.columns, |binder| binder.column_reference(network))?;
        let (mut left, mut right) = (vec![address], vec![Bound::column(&network_column)]);
        let mut unmatched = Bound::literal(Value::Bool(false));
        for argument in self.arguments.iter().skip(3) {
            let value = match &argument.kind {
                ExprKind::Named { value, .. } => value.as_ref(),
                _ => argument,
            };
            let bound = binder.with_row(&input.columns, |binder| binder.scalar(value));
            if bound.ty == ScalarType::Bool && bound.as_literal().is_some() {
                unmatched = bound;
                continue;
            }
            left.push(bound);
            right.push(binder.with_row(&lookup.columns, |binder| binder.scalar(value)));
        }
        left.push(unmatched);
        let mut names = Names::default();
        // Kusto's emulator shows the lookup's columns first for IPv6 alone.
        let reversed = self.plugin.node == "ipv6_lookup";
        let (first, second) = if reversed { (&lookup.columns, &input.columns) } else { (&input.columns, &lookup.columns) };
        let columns: Vec<Column> =
            first.iter().chain(second).map(|column| (names.unique(&column.name), column.ty)).collect::<Vec<_>>().into_iter().map(|(name, ty)| binder.column(name, ty)).collect();
        let inputs = vec![with_arguments(binder, input, left), with_arguments(binder, lookup, right)];
        Some(Relation { plan: Plan::Pass { name: self.plugin.node.clone(), inputs, columns: columns.clone(), pattern: None }, columns })
    }
}

/// An argument as the signature of its plugin wants it; an error of the analyzer's code when it cannot be.
fn plugin_argument(binder: &mut Binder, input: &Relation, plugin: &str, argument: &Expr, parameter: &Parameter) -> Option<Bound> {
    let value = binder.with_row(&input.columns, |binder| binder.named_scalar(argument)).1;
    if is_broken(&value) {
        return None;
    }
    if parameter.argument == Argument::Column && !matches!(value.kind, BoundKind::Column(_)) {
        binder.error(codes::COLUMN_EXPECTED, "column name expected", argument.span, "not a column");
        return None;
    }
    if matches!(parameter.argument, Argument::Constant | Argument::Literal) && reads_row(&value) {
        binder.error(codes::CONSTANT_EXPECTED, "the argument must be a constant", argument.span, "it reads a column");
        return None;
    }
    let wrong = match parameter.ty {
        "Summable" if !value.ty.is_summable() => Some((codes::NOT_SUMMABLE, "the expression must be a number, a datetime or a timespan")),
        "NotDynamic" if value.ty == Dynamic => Some((codes::NOT_DYNAMIC, "the expression must not be dynamic")),
        _ => None,
    };
    if let Some((code, message)) = wrong {
        binder.error(code, message, argument.span, format!("this is {}", value.ty));
        return None;
    }
    let value = binder.adapt(plugin, value, parameter.ty, argument.span);
    (!is_broken(&value)).then_some(value)
}

/// `~`, which keeps a plugin's default.
fn is_placeholder(argument: &Expr) -> bool {
    matches!(&argument.kind, ExprKind::Literal(Value::String(text)) if text == "~")
}

fn number_text(value: &Bound) -> String {
    match value.as_literal() {
        Some(Value::Long(n)) => n.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        Some(Value::Real(n)) => n.to_string().replace('.', "_"),
        _ => String::new(),
    }
}

pub(super) fn with_arguments(binder: &mut Binder, input: Relation, values: Vec<Bound>) -> PassInput {
    let mut columns: Vec<(Column, Bound)> = input.columns.iter().map(|column| (column.clone(), Bound::column(column))).collect();
    let arguments = values.len();
    for value in values {
        columns.push((binder.column("$argument", value.ty), value));
    }
    let shown = columns.iter().map(|(column, _)| column.clone()).collect();
    PassInput { plan: binder.project(input, columns).plan, columns: shown, arguments }
}

/// `(a: long, *)` after a plugin call.
fn output_schema(parser: &mut Parser) -> (Vec<ColumnDeclaration>, bool) {
    let (mut columns, mut star) = (Vec::new(), false);
    parser.expect(Token::OpenParen, "(");
    while !matches!(parser.peek(), Token::CloseParen | Token::End) {
        if parser.eat(Token::Star) {
            star = true;
        } else {
            columns.push(parser.column_declaration());
        }
        if !parser.eat(Token::Comma) {
            break;
        }
    }
    parser.expect(Token::CloseParen, ")");
    (columns, star)
}
