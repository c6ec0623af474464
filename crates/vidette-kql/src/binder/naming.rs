//! The names of result columns that were not written: `count_`, `dcount_DeviceId`, `Column1`, `DeviceName1`.

use super::signatures::{AGGREGATES, Naming, SCALAR_FUNCTIONS, Signature};
use crate::syntax::{Expr, ExprKind};
use crate::types::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The name an expression gives its column, or `None` when it gets a numbered one.
pub(crate) fn automatic_name(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Named { names, .. } => names.first().map(|name| name.node.clone()),
        ExprKind::Path { target, member } => Some(element_name(target, &automatic_name(member)?)),
        ExprKind::Index { target, index } => match &index.kind {
            ExprKind::Literal(Value::String(text)) => Some(element_name(target, text)),
            ExprKind::Literal(Value::Long(number)) if *number >= 0 => Some(element_name(target, &number.to_string())),
            _ => element_owner(target).map(|target| format!("{target}_")),
        },
        // Of one argument, `hll_merge` and its kind are aggregates.
        ExprKind::Call { name, arguments } if arguments.len() == 1 && name.node.ends_with("_merge") => Some(aggregate_name(&name.node, arguments)),
        // So is the deprecated `any`, though a pattern of a graph has a function of that name.
        ExprKind::Call { name, arguments } if name.node == "any" => Some(aggregate_name(&name.node, arguments)),
        ExprKind::Call { name, arguments } => match SCALAR_FUNCTIONS.get(name.node.as_str()) {
            Some(signature) => call_name(&name.node, signature, arguments),
            None if AGGREGATES.contains_key(name.node.as_str()) => Some(aggregate_name(&name.node, arguments)),
            None => None,
        },
        _ => None,
    }
}

/// `a.b[0].c` is `a_b_0_c`.
fn element_name(target: &Expr, element: &str) -> String {
    element_owner(target).map_or_else(|| element.to_owned(), |target| format!("{target}_{element}"))
}

fn element_owner(target: &Expr) -> Option<String> {
    match &target.kind {
        ExprKind::Name(name) if name.starts_with('$') => None,
        ExprKind::Call { name, .. } if matches!(name.node.as_str(), "take_any" | "any" | "anyif" | "take_anyif") => None,
        _ => automatic_name(target),
    }
}

fn call_name(name: &str, signature: &Signature, arguments: &[Expr]) -> Option<String> {
    let first = || arguments.first().and_then(automatic_name);
    match signature.naming {
        Naming::None => None,
        Naming::FirstArgument => first(),
        Naming::FirstArgumentValueIfColumn => match arguments.first().map(|argument| &argument.kind) {
            Some(ExprKind::Literal(Value::String(text))) => Some(text.clone()),
            _ => None,
        },
        Naming::OnlyArgument if arguments.len() == 1 => first(),
        Naming::OnlyArgument => None,
        Naming::NameAndFirstArgument => first().map(|argument| format!("{name}_{argument}")),
        Naming::PrefixAndFirstArgument(prefix) => Some(format!("{prefix}_{}", first().unwrap_or_default())),
        Naming::PrefixOnly(prefix) => Some(prefix.to_owned()),
    }
}

/// `count_`, `dcount_X`, `list_` when the argument has no name.
pub(crate) fn aggregate_name(function: &str, arguments: &[Expr]) -> String {
    let argument = arguments.first().and_then(automatic_name).unwrap_or_default();
    if matches!(function, "percentiles_array" | "percentilesw_array") {
        return format!("percentiles_{argument}");
    }
    // Kusto names both, its analyzer only the first.
    if function.starts_with("covariance")
        && let Some(second) = arguments.get(1).and_then(automatic_name)
    {
        return format!("{function}_{argument}_{second}");
    }
    if matches!(function, "percentile" | "percentilew")
        && let Some(last) = arguments.last().filter(|_| arguments.len() > 1)
    {
        return percentile_name(&argument, if let ExprKind::Literal(value) = &last.kind { Some(value) } else { None });
    }
    let naming = AGGREGATES.get(function).map_or(Naming::None, |signature| signature.naming);
    match naming {
        Naming::PrefixAndFirstArgument(prefix) => format!("{prefix}_{argument}"),
        Naming::NameAndFirstArgument => format!("{function}_{argument}"),
        _ if argument.is_empty() => format!("{function}_"),
        _ => argument,
    }
}

/// `percentile_x_99_5`
pub(crate) fn percentile_name(subject: &str, percentile: Option<&Value>) -> String {
    let text = match percentile {
        Some(Value::Long(n)) => n.to_string(),
        Some(Value::Int(n)) => n.to_string(),
        Some(Value::Real(n)) => n.to_string().replace('.', "_"),
        _ => String::new(),
    };
    format!("percentile_{subject}_{text}")
}

/// Gives out column names without repeating one.
#[derive(Default)]
pub(crate) struct Names {
    /// Whether the query itself says the name: two such are an error, all others step aside.
    used: HashMap<String, bool>,
}

impl Names {
    pub(crate) fn with(names: impl IntoIterator<Item = String>) -> Names {
        Names { used: names.into_iter().map(|name| (name, false)).collect() }
    }

    /// Takes `name`; `false` when it is taken already.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        self.insert(name, false)
    }

    /// A name that the query says: as it is, or with a number when an automatic name came first, or `None` when it is said twice.
    pub(crate) fn declare(&mut self, name: &str) -> Option<String> {
        match self.used.get(name) {
            Some(true) => None,
            Some(false) => Some(self.unique(name)),
            None => {
                self.insert(name, true);
                Some(name.to_owned())
            }
        }
    }

    fn insert(&mut self, name: &str, declared: bool) -> bool {
        match self.used.entry(name.to_owned()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(declared);
                true
            }
        }
    }

    /// `name`, or `name1`, `name2` …
    pub(crate) fn unique(&mut self, name: &str) -> String {
        if self.take(name) {
            return name.to_owned();
        }
        (1..).map(|n| format!("{name}{n}")).find(|candidate| self.take(candidate)).unwrap_or_default()
    }
}
