//! The functions, aggregates and plugins of the language as its own tables give them: `data/*.txt`.

use crate::diagnostics::codes;
use std::collections::HashMap;
use std::sync::LazyLock;

pub static SCALAR_FUNCTIONS: LazyLock<HashMap<&'static str, Signature>> = LazyLock::new(|| read(include_str!("../../data/scalar-functions.txt")));
pub static AGGREGATES: LazyLock<HashMap<&'static str, Signature>> = LazyLock::new(|| read(include_str!("../../data/aggregates.txt")));
pub static PLUGINS: LazyLock<HashMap<&'static str, Signature>> = LazyLock::new(|| read(include_str!("../../data/plugins.txt")));

/// One function or plugin: its overloads, and how a result column without a name is called.
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
    pub argument: Argument,
    /// A type name or a class such as `Number` or `DynamicArray`.
    pub ty: &'static str,
    pub optional: bool,
    /// How often at least and at most.
    pub repeats: Option<(usize, usize)>,
}

/// What an argument has to be, apart from its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    Any,
    Column,
    Constant,
    Literal,
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
    pub fn accepts(&self, count: usize) -> bool {
        self.overloads.iter().any(|overload| overload.accepts(count))
    }

    /// The code that Kusto's analyzer has for a wrong number of arguments.
    pub fn count_code(&self) -> &'static str {
        let repeats = self.overloads.iter().any(|overload| overload.parameters.iter().any(|parameter| parameter.repeats.is_some()));
        if repeats { codes::ARGUMENT_COUNT_RANGE } else { codes::ARGUMENT_COUNT }
    }

    /// How many arguments, in words.
    pub fn expected(&self) -> String {
        expected(self.overloads.iter().map(Overload::counts).collect())
    }
}

/// Least and most numbers of arguments in words: `1 or 3 to 6 arguments`.
pub(super) fn expected(mut counts: Vec<(usize, usize)>) -> String {
    counts.sort_unstable();
    counts.dedup();
    let texts: Vec<String> = counts
        .iter()
        .map(|(least, most)| match *most {
            usize::MAX => format!("at least {least}"),
            0 => "no".to_owned(),
            _ if least == most => least.to_string(),
            _ => format!("{least} to {most}"),
        })
        .collect();
    let plural = if counts == [(1, 1)] || counts == [(1, usize::MAX)] { "" } else { "s" };
    format!("{} argument{plural}", texts.join(" or "))
}

impl Overload {
    /// Least and most arguments.
    fn counts(&self) -> (usize, usize) {
        self.parameters.iter().fold((0, 0), |(least, most), parameter| {
            let (low, high) = parameter.repeats.unwrap_or((1, 1));
            (least + if parameter.optional { 0 } else { low }, most.saturating_add(high))
        })
    }

    pub fn accepts(&self, count: usize) -> bool {
        let (least, most) = self.counts();
        (least..=most).contains(&count)
    }

    /// The parameter that takes argument `index` of `count`: repeating ones share the middle.
    pub fn parameter(&self, index: usize, count: usize) -> Option<&Parameter> {
        let first = self.parameters.iter().position(|p| p.repeats.is_some());
        let last = self.parameters.iter().rposition(|p| p.repeats.is_some());
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
    let text = text.trim_matches(['[', ']']).split_once(": ").map_or("Scalar", |(_, rest)| rest);
    let (text, repeats) = match text.rsplit_once(' ') {
        Some((text, last)) if last.contains("...") => {
            let (least, most) = last.split_once("...").unwrap_or_default();
            (text, Some((least.parse().unwrap_or(1), most.parse().unwrap_or(usize::MAX))))
        }
        _ => (text, None),
    };
    let (argument, ty) = match text.split_once(' ') {
        Some(("column", ty)) => (Argument::Column, ty),
        Some(("constant", ty)) => (Argument::Constant, ty),
        Some(("literal", ty)) => (Argument::Literal, ty),
        _ => (Argument::Any, text),
    };
    Parameter { argument, ty, optional, repeats }
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
        assert_eq!(SCALAR_FUNCTIONS["substring"].expected(), "2 to 3 arguments");
        assert_eq!(SCALAR_FUNCTIONS["strcat"].expected(), "1 to 64 arguments");
        assert_eq!(SCALAR_FUNCTIONS["make_datetime"].expected(), "1 or 3 to 6 arguments");
        assert_eq!(SCALAR_FUNCTIONS["pi"].expected(), "no arguments");
        assert_eq!(SCALAR_FUNCTIONS["bag_pack"].expected(), "at least 2 arguments");
        let lookup = &PLUGINS["ipv4_lookup"].overloads[0];
        assert_eq!((lookup.counts(), lookup.parameters[1].argument, lookup.parameters[1].ty), ((3, usize::MAX), Argument::Column, "Scalar"));
    }
}
