//! The functions, aggregates and plugins of the language as its own tables give them: `data/*.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

pub static SCALAR_FUNCTIONS: LazyLock<HashMap<&'static str, Signature>> = LazyLock::new(|| read(include_str!("../../data/scalar-functions.txt")));
pub static AGGREGATES: LazyLock<HashMap<&'static str, Signature>> = LazyLock::new(|| read(include_str!("../../data/aggregates.txt")));
pub static PLUGINS: LazyLock<Vec<&'static str>> = LazyLock::new(|| include_str!("../../data/plugins.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// One function: its overloads, and how a result column without a name is called.
#[derive(Debug)]
pub struct Signature {
    pub overloads: Vec<Overload>,
    pub naming: Naming,
}

#[derive(Debug)]
pub struct Overload {
    pub parameters: Vec<Parameter>,
    /// A type name or a rule such as `Parameter0` or `Widest`.
    pub returns: &'static str,
}

#[derive(Debug)]
pub struct Parameter {
    /// A type name or a class such as `Number` or `DynamicArray`.
    pub ty: &'static str,
    pub optional: bool,
    pub repeats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Naming {
    None,
    FirstArgument,
    FirstArgumentValueIfColumn,
    OnlyArgument,
    NameAndFirstArgument,
    PrefixAndFirstArgument(&'static str),
    PrefixOnly(&'static str),
}

impl Signature {
    /// Least and most arguments over all overloads.
    pub fn argument_counts(&self) -> (usize, usize) {
        let least = self.overloads.iter().map(|overload| overload.parameters.iter().filter(|p| !p.optional).count()).min();
        let most = self.overloads.iter().map(|overload| if overload.parameters.iter().any(|p| p.repeats) { usize::MAX } else { overload.parameters.len() }).max();
        (least.unwrap_or(0), most.unwrap_or(0))
    }
}

impl Overload {
    pub fn accepts(&self, count: usize) -> bool {
        let least = self.parameters.iter().filter(|p| !p.optional).count();
        count >= least && (count <= self.parameters.len() || self.parameters.iter().any(|p| p.repeats))
    }

    /// The parameter that takes argument `index` of `count`: repeating ones share the middle.
    pub fn parameter(&self, index: usize, count: usize) -> Option<&Parameter> {
        let first = self.parameters.iter().position(|p| p.repeats);
        let last = self.parameters.iter().rposition(|p| p.repeats);
        match (first, last) {
            (Some(first), Some(last)) if index >= first => {
                let after = self.parameters[last + 1..].iter().filter(|p| !p.optional).count();
                if index >= count.saturating_sub(after) && after > 0 && index > first {
                    return self.parameters.get(self.parameters.len() - (count - index));
                }
                self.parameters.get(first + (index - first) % (last - first + 1))
            }
            _ => self.parameters.get(index),
        }
    }
}

fn read(text: &'static str) -> HashMap<&'static str, Signature> {
    let mut functions = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (overloads, naming) = line.split_once(" @ ").unwrap_or((line, ""));
        let name = line.split('(').next().unwrap_or_default();
        let overloads = overloads.split(" | ").map(overload).collect();
        functions.insert(name, Signature { overloads, naming: naming_of(naming) });
    }
    functions
}

fn overload(text: &'static str) -> Overload {
    let (head, returns) = text.rsplit_once(" -> ").unwrap_or((text, "Custom"));
    let inner = head.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
    let parameters = inner.split(", ").filter(|part| !part.is_empty()).map(parameter).collect();
    Overload { parameters, returns }
}

fn parameter(text: &'static str) -> Parameter {
    let optional = text.starts_with('[');
    let text = text.trim_matches(['[', ']']);
    let repeats = text.ends_with(" ...");
    let ty = text.trim_end_matches(" ...").split_once(": ").map_or("Scalar", |(_, ty)| ty);
    Parameter { ty, optional, repeats }
}

fn naming_of(text: &'static str) -> Naming {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("FirstArgument", _) => Naming::FirstArgument,
        ("FirstArgumentValueIfColumn", _) => Naming::FirstArgumentValueIfColumn,
        ("OnlyArgument", _) => Naming::OnlyArgument,
        ("NameAndFirstArgument", _) => Naming::NameAndFirstArgument,
        ("PrefixAndFirstArgument", prefix) => Naming::PrefixAndFirstArgument(prefix),
        ("PrefixOnly", prefix) => Naming::PrefixOnly(prefix),
        _ => Naming::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        assert!(SCALAR_FUNCTIONS.len() > 400 && AGGREGATES.len() == 61 && PLUGINS.len() == 47);
        let case = &SCALAR_FUNCTIONS["case"].overloads[0];
        let types: Vec<&str> = (0..5).map(|n| case.parameter(n, 5).unwrap().ty).collect();
        assert_eq!(types, ["bool", "CommonScalarOrDynamic", "bool", "CommonScalarOrDynamic", "CommonScalarOrDynamic"]);
        assert_eq!(SCALAR_FUNCTIONS["strlen"].naming, Naming::NameAndFirstArgument);
        assert_eq!(SCALAR_FUNCTIONS["substring"].argument_counts(), (2, 3));
    }
}
