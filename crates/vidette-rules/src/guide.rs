//! Investigation guides: Markdown with a query below each heading.

/// One step of an investigation.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub title: String,
    /// What it says, and how to read it.
    pub text: String,
    pub query: String,
}

/// A guide, as a person reads it and as `vidette investigate` runs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guide {
    /// The statements before every query: `let` statements that the alert's values replace.
    pub parameters: String,
    pub steps: Vec<Step>,
}

/// Reads a guide: every heading of the second level with a block of `kql` is a step; the one called *Parameters* has the
/// statements that come before each of them.
pub fn parse_guide(text: &str) -> Guide {
    let mut guide = Guide::default();
    for section in text.split("\n## ").skip(1) {
        let (title, rest) = section.split_once('\n').unwrap_or((section, ""));
        let Some((before, rest)) = rest.split_once("```kql\n") else { continue };
        let Some((query, _)) = rest.split_once("\n```") else { continue };
        if title.trim() == "Parameters" {
            guide.parameters = query.to_owned();
        } else {
            guide.steps.push(Step { title: title.trim().to_owned(), text: before.split_whitespace().collect::<Vec<_>>().join(" "), query: query.to_owned() });
        }
    }
    guide
}

impl Guide {
    /// The query of a step after the parameters, in which the values replace those of the same names; values are KQL.
    pub fn query(&self, step: &Step, values: &[(&str, String)]) -> String {
        let mut out = String::new();
        for line in self.parameters.lines() {
            let name = line.strip_prefix("let ").and_then(|rest| rest.split([' ', '=']).next());
            match name.and_then(|name| values.iter().find(|(known, _)| *known == name)) {
                Some((name, value)) => out.push_str(&format!("let {name} = {value};\n")),
                None => out.push_str(&format!("{line}\n")),
            }
        }
        out + &step.query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_with_a_query_is_a_step() {
        let guide = parse_guide(
            "# G\n\n## Parameters\n\nValues.\n\n```kql\nlet A = \"x\";\nlet B = A;\n```\n\n## Words only\n\nNothing.\n\n## Look\n\nAt\nthis.\n\n```kql\nT | where a == A\n```\n",
        );
        assert_eq!(guide.steps, [Step { title: "Look".to_owned(), text: "At this.".to_owned(), query: "T | where a == A".to_owned() }]);
        assert_eq!(guide.query(&guide.steps[0], &[("A", "\"y\"".to_owned())]), "let A = \"y\";\nlet B = A;\nT | where a == A");
    }
}
