//! What the YAML of rule repositories has in common.

use serde::{Deserialize, Deserializer};

/// The keys at the top of a document, which may be indented as a whole.
pub(crate) fn keys(text: &str) -> Vec<&str> {
    top(text).filter_map(|(_, line)| Some(line.split_once(':')?.0.trim_end())).collect()
}

/// The lines of a document that begin something, with the bytes at which they start, without their indentation.
pub(crate) fn top(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let speaks = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with(['#', '-', '%']);
    let depth = text.lines().find(|line| speaks(line)).map_or(0, indentation);
    let mut at = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        at += line.len();
        (at - line.len(), line.trim_end())
    });
    lines.filter(move |(_, line)| speaks(line) && indentation(line) == depth).map(move |(at, line)| (at + depth, &line[depth..]))
}

/// A key without a value is as good as none.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_first_level() {
        assert_eq!(keys("# note\n---\nid: 1\nquery: |\n  let kind: x\n\n  T\nkind : NRT\n- a: 1\n"), ["id", "query", "kind"]);
        assert_eq!(keys("  id: 1\n  query: |\n    T\r\n  name: x"), ["id", "query", "name"]);
        assert!(keys("").is_empty());
    }
}
