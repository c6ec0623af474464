//! Rows that a query asks for, as far as its filters tell: what a first test of a rule begins with.

use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use vidette_kql::bound::{Column, ColumnId, Expr, ExprKind, JoinKind, Plan, Query};
use vidette_kql::{ScalarType, Value};

/// When the rows are.
pub const TIME: &str = "2026-03-10T09:00:00Z";
/// So many alternatives are tried.
const MOST_TRIES: usize = 10_000;

/// A row for each place where the query reads a table; filters that ask for more than the making of a row can tell are passed over.
pub fn witness(query: &Query) -> Vec<(String, Map<String, Json>)> {
    let lists = query.subqueries.iter().map(|subquery| first_value(&subquery.plan, subquery.column.id)).collect();
    let mut search = Search { definitions: HashMap::new(), tables: Vec::new(), wishes: Vec::new(), same: Vec::new(), lists, tries: 0 };
    search.walk(&query.plan);
    let mut found = Found::default();
    for (one, other) in std::mem::take(&mut search.same) {
        if let (Some(one), Some(other)) = (search.place(&one, false), search.place(&other, false)) {
            found.link(one.column, other.column);
        }
    }
    for wish in std::mem::take(&mut search.wishes) {
        search.satisfy(&wish, true, &mut found);
    }
    let row = |(name, columns): &(String, Vec<Column>)| (name.clone(), found.row(columns));
    search.tables.iter().map(row).collect()
}

/// The first value of a list that a query makes of rows in it.
fn first_value(plan: &Plan, column: ColumnId) -> Option<Json> {
    match plan {
        Plan::Values { columns, rows } => literal(rows.first()?.get(columns.iter().position(|known| known.id == column)?)?),
        Plan::Project { input, columns } => match &columns.iter().find(|(known, _)| known.id == column)?.1.kind {
            ExprKind::Column(id) => first_value(input, *id),
            ExprKind::Literal(value) => literal(value),
            _ => None,
        },
        Plan::Filter { input, .. } | Plan::Sort { input, .. } | Plan::Take { input, .. } => first_value(input, column),
        Plan::Aggregate { input, by, .. } => match by.iter().find(|(known, _)| known.id == column)?.1.kind {
            ExprKind::Column(id) => first_value(input, id),
            _ => None,
        },
        Plan::Reference { plan, columns, .. } => first_value(plan, columns.iter().find(|(known, _)| known.id == column)?.1),
        _ => None,
    }
}

struct Search {
    /// What columns are made of.
    definitions: HashMap<ColumnId, Expr>,
    tables: Vec<(String, Vec<Column>)>,
    /// What must be true.
    wishes: Vec<Expr>,
    /// What must be equal, for rows to be joined.
    same: Vec<(Expr, Expr)>,
    /// The first values of subqueries.
    lists: Vec<Option<Json>>,
    tries: usize,
}

/// A column of a table, or a property inside it.
struct Place {
    column: ColumnId,
    ty: ScalarType,
    path: Vec<String>,
}

/// What a column must hold.
#[derive(Clone, Default)]
struct Wanted {
    exact: Option<Json>,
    start: String,
    end: String,
    parts: Vec<String>,
    /// By their paths, of a bag.
    properties: BTreeMap<Vec<String>, Json>,
}

#[derive(Clone, Default)]
struct Found {
    wanted: BTreeMap<ColumnId, Wanted>,
    same: HashMap<ColumnId, ColumnId>,
}

impl Search {
    fn walk(&mut self, plan: &Plan) {
        match plan {
            Plan::Table { name, columns } => self.tables.push((name.clone(), columns.clone())),
            Plan::Filter { input, predicate } => {
                self.wishes.push(predicate.clone());
                self.walk(input);
            }
            Plan::Project { input, columns } => {
                self.define(columns.iter().map(|(column, expr)| (column.id, expr.clone())));
                self.walk(input);
            }
            Plan::Aggregate { input, by, .. } => {
                self.define(by.iter().map(|(column, expr)| (column.id, expr.clone())));
                self.walk(input);
            }
            Plan::Join { kind, left, right, keys, .. } => {
                match kind {
                    JoinKind::LeftAnti => return self.walk(left),
                    JoinKind::RightAnti => return self.walk(right),
                    _ => self.same.extend(keys.iter().cloned()),
                }
                self.walk(left);
                self.walk(right);
            }
            // One of the inputs is enough.
            Plan::Union { inputs, columns } => {
                let reads = |plan: &Plan| {
                    let mut any = false;
                    plan.visit(&mut |plan| any |= matches!(plan, Plan::Table { .. }));
                    any
                };
                if let Some((input, values)) = inputs.iter().find(|(input, _)| reads(input)).or(inputs.first()) {
                    self.define(columns.iter().zip(values).map(|(column, value)| (column.id, value.clone())));
                    self.walk(input);
                }
            }
            Plan::Reference { plan, columns, .. } => {
                let of = |(column, id): &(Column, ColumnId)| (column.id, Expr { kind: ExprKind::Column(*id), ty: column.ty });
                self.define(columns.iter().map(of));
                self.walk(plan);
            }
            other => other.inputs().into_iter().for_each(|input| self.walk(input)),
        }
    }

    /// What columns are made of; one that is carried on is made of itself.
    fn define(&mut self, columns: impl Iterator<Item = (ColumnId, Expr)>) {
        self.definitions.extend(columns.filter(|(column, expr)| !matches!(expr.kind, ExprKind::Column(id) if id == *column)));
    }

    /// The column that an expression is, or a text that is made of one and holds what it holds. `within` lets a property of a bag count.
    fn place(&self, expr: &Expr, within: bool) -> Option<Place> {
        match &expr.kind {
            ExprKind::Column(id) => match self.definitions.get(id) {
                Some(definition) => self.place(definition, within),
                None => Some(Place { column: *id, ty: expr.ty, path: Vec::new() }),
            },
            ExprKind::Call { function, arguments, .. } => match (function.as_str(), arguments.as_slice()) {
                ("path", [bag, steps @ ..]) if within => {
                    let mut place = self.place(bag, true)?;
                    for step in steps {
                        let Some(Value::String(name)) = step.as_literal() else { return None };
                        place.path.push(name.clone());
                    }
                    Some(place)
                }
                ("tolower" | "toupper" | "tostring" | "toint" | "tolong" | "toreal" | "todynamic" | "parse_json" | "trim" | "coalesce", [first, ..]) => {
                    self.place(arguments.iter().find(|argument| argument.as_literal().is_none()).unwrap_or(first), within)
                }
                _ => None,
            },
            ExprKind::Literal(_) | ExprKind::Subquery(_) => None,
        }
    }

    /// Makes an expression true or false, if that can be told.
    fn satisfy(&mut self, expr: &Expr, truth: bool, found: &mut Found) -> bool {
        self.tries += 1;
        if self.tries > MOST_TRIES {
            return false;
        }
        match &expr.kind {
            ExprKind::Literal(Value::Bool(value)) => *value == truth,
            ExprKind::Column(id) => match self.definitions.get(id).cloned() {
                Some(definition) => self.satisfy(&definition, truth, found),
                None => found.set(&Place { column: *id, ty: expr.ty, path: Vec::new() }, json!(truth)),
            },
            ExprKind::Call { function, arguments, .. } => match (function.as_str(), arguments.as_slice()) {
                ("and" | "or", sides) if (function == "and") == truth => {
                    // What can be told is, whatever else cannot.
                    let told: Vec<bool> = sides.iter().map(|side| self.satisfy(side, truth, found)).collect();
                    !told.contains(&false)
                }
                ("and" | "or", sides) => self.any(sides, truth, found),
                ("not", [inner]) => self.satisfy(inner, !truth, found),
                (name, arguments) => match name.strip_prefix('!') {
                    Some(positive) => truth || self.compare(if positive == "=" { "==" } else { positive }, arguments, found),
                    None => !truth || self.compare(name, arguments, found),
                },
            },
            _ => false,
        }
    }

    /// The first of several that can be told.
    fn any(&mut self, sides: &[Expr], truth: bool, found: &mut Found) -> bool {
        for side in sides {
            let mut tried = found.clone();
            if self.satisfy(side, truth, &mut tried) {
                *found = tried;
                return true;
            }
        }
        false
    }

    fn compare(&self, operator: &str, arguments: &[Expr], found: &mut Found) -> bool {
        let [left, rest @ ..] = arguments else { return false };
        if let ("==" | "=~", [right]) = (operator, rest)
            && let Some(value) = self.value(left).filter(|_| self.value(right).is_none())
        {
            return self.place(right, true).is_some_and(|place| found.set(&place, value));
        }
        let Some(place) = self.place(left, true) else { return false };
        let first = || rest.first().and_then(|expr| self.value(expr));
        let text = || first().and_then(|value| value.as_str().map(str::to_owned));
        let number =
            |by: f64| first().and_then(|value| value.as_f64()).map(|value| json!(if place.ty == ScalarType::Real { json!(value + by) } else { json!((value + by) as i64) }));
        match operator {
            "==" | "=~" | "in" | "in~" | "in_array" | "in~_array" | ">=" | "<=" => first().is_some_and(|value| place.ty == ScalarType::DateTime || found.set(&place, value)),
            ">" | "<" if place.ty == ScalarType::DateTime => true,
            ">" => number(1.0).is_some_and(|value| found.set(&place, value)),
            "<" => number(-1.0).is_some_and(|value| found.set(&place, value)),
            "has" | "has_cs" | "contains" | "contains_cs" | "has_any" | "has_any_array" => text().is_some_and(|text| found.add(&place, text)),
            "has_all" => rest.iter().all(|item| self.value(item).and_then(|value| value.as_str().map(str::to_owned)).is_some_and(|text| found.add(&place, text))),
            "startswith" | "startswith_cs" | "hasprefix" | "hasprefix_cs" => text().is_some_and(|text| found.text(&place, text, |wanted, text| wanted.start = text)),
            "endswith" | "endswith_cs" | "hassuffix" | "hassuffix_cs" => text().is_some_and(|text| found.text(&place, text, |wanted, text| wanted.end = text)),
            "isnotempty" | "isnotnull" => found.hold(&place),
            "isempty" | "isnull" => true,
            _ => false,
        }
    }

    /// The value of a literal; of a list its first.
    fn value(&self, expr: &Expr) -> Option<Json> {
        match &expr.kind {
            ExprKind::Literal(value) => match literal(value)? {
                Json::Array(items) => items.into_iter().next(),
                value => Some(value),
            },
            ExprKind::Subquery(at) => self.lists.get(*at)?.clone(),
            ExprKind::Call { function, arguments, .. } if function == "flatten_list" => arguments.iter().find_map(|argument| self.value(argument)),
            ExprKind::Column(id) => self.value(self.definitions.get(id)?),
            ExprKind::Call { .. } => None,
        }
    }
}

impl Found {
    fn link(&mut self, one: ColumnId, other: ColumnId) {
        let (one, other) = (self.first_of(one), self.first_of(other));
        if one != other {
            self.same.insert(other, one);
        }
        self.wanted.entry(one).or_default();
    }

    /// The column that stands for all that must hold the same.
    fn first_of(&self, mut column: ColumnId) -> ColumnId {
        while let Some(first) = self.same.get(&column) {
            column = *first;
        }
        column
    }

    fn wanted(&mut self, place: &Place) -> &mut Wanted {
        let first = self.first_of(place.column);
        self.wanted.entry(first).or_default()
    }

    /// Whether the place may hold the value: it does not have to hold another.
    fn set(&mut self, place: &Place, value: Json) -> bool {
        let wanted = self.wanted(place);
        match place.path.is_empty() {
            true => *wanted.exact.get_or_insert_with(|| value.clone()) == value,
            false => *wanted.properties.entry(place.path.clone()).or_insert_with(|| value.clone()) == value,
        }
    }

    /// Puts a text into a column; a property is the text.
    fn text(&mut self, place: &Place, text: String, put: impl FnOnce(&mut Wanted, String)) -> bool {
        if !place.path.is_empty() {
            return self.set(place, json!(text));
        }
        put(self.wanted(place), text);
        true
    }

    fn add(&mut self, place: &Place, text: String) -> bool {
        self.text(place, text, |wanted, text| wanted.parts.push(text))
    }

    fn hold(&mut self, place: &Place) -> bool {
        let wanted = self.wanted(place);
        if !place.path.is_empty() {
            wanted.properties.entry(place.path.clone()).or_insert_with(|| json!("x"));
        }
        true
    }

    fn row(&self, columns: &[Column]) -> Map<String, Json> {
        let mut row = Map::new();
        let time = ["Timestamp", "TimeGenerated"].into_iter().find(|time| columns.iter().any(|column| column.name == *time));
        row.extend(time.map(|time| (time.to_owned(), json!(TIME))));
        for column in columns {
            let host = matches!(column.name.as_str(), "DeviceName" | "Computer");
            let value = match self.wanted.get(&self.first_of(column.id)) {
                Some(wanted) => wanted.value(column),
                None if host => json!("ws-07.contoso.example"),
                None => continue,
            };
            if column.ty != ScalarType::DateTime {
                row.insert(column.name.clone(), value);
            }
        }
        row
    }
}

impl Wanted {
    fn value(&self, column: &Column) -> Json {
        if let Some(exact) = &self.exact {
            return exact.clone();
        }
        if !self.properties.is_empty() {
            let mut bag = json!({});
            self.properties.iter().for_each(|(path, value)| put(&mut bag, path, value));
            return bag;
        }
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).filter(|part| !self.start.contains(part) && !self.end.contains(part)).collect();
        let text = match (parts.is_empty(), self.start.is_empty(), self.end.is_empty()) {
            (true, ..) => format!("{}{}", self.start, self.end),
            _ => [self.start.as_str(), &parts.join(" "), &self.end].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
        };
        match column.ty {
            ScalarType::String if text.is_empty() => json!("x"),
            ScalarType::String => json!(text),
            ScalarType::Bool => json!(true),
            ScalarType::Dynamic if text.is_empty() => json!({}),
            ScalarType::Dynamic => json!(text),
            _ => json!(1),
        }
    }
}

/// Sets a property inside a bag.
fn put(bag: &mut Json, path: &[String], value: &Json) {
    match (path, bag) {
        ([], bag) => *bag = value.clone(),
        ([name, rest @ ..], Json::Object(bag)) => put(bag.entry(name.clone()).or_insert_with(|| json!({})), rest, value),
        (path, bag) => {
            *bag = json!({});
            put(bag, path, value);
        }
    }
}

fn literal(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Long(value) => json!(value),
        Value::Real(value) => json!(value),
        Value::Guid(text) | Value::String(text) | Value::Decimal(text) => json!(text),
        Value::Dynamic(text) => serde_json::from_str(text).ok()?,
        Value::Null(_) | Value::DateTime(_) | Value::TimeSpan(_) => return None,
    })
}
