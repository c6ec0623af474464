//! The parts of dynamic values, found in their text: no tree is built, nothing is copied.
//!
//! The text is JSON without blanks between its tokens, as every dynamic is (see [`super::from_text`]). Of any other text the parts are some
//! parts of it.

use std::borrow::Cow;

/// What follows an opening quote, up to and with the closing one.
pub(super) fn string_end(text: &[u8], opening: usize) -> usize {
    /// Most strings end sooner than a search over many bytes at a time is begun.
    const NEAR: usize = 16;
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
    let mut at = opening + 1;
    while let Some(rest) = text.get(at..) {
        let (near, far) = rest.split_at(rest.len().min(NEAR));
        match near.iter().position(ends).or_else(|| memchr::memchr2(b'"', b'\\', far).map(|found| near.len() + found)) {
            Some(found) if rest[found] == b'"' => return at + found + 1,
            Some(escape) => at += escape + 2,
            None => break,
        }
    }
    text.len()
}

/// Where the value that begins at a place ends.
fn value_end(text: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at + depth,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The values of an array.
pub fn items(array: &str) -> impl Iterator<Item = &str> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let end = value_end(array.as_bytes(), at);
        let item = array.get(at..end).filter(|item| !item.is_empty())?;
        at = end + 1;
        Some(item)
    })
}

/// The properties of a bag: names as they are written, without their quotes, and values.
pub fn properties(bag: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let text = bag.as_bytes();
        if text.get(at) != Some(&b'"') {
            return None;
        }
        let name_end = string_end(text, at);
        // Between the name and the value stands a colon.
        let end = value_end(text, name_end + 1);
        let property = (bag.get(at + 1..name_end - 1)?, bag.get(name_end + 1..end)?);
        at = end + 1;
        Some(property)
    })
}

/// A name as it is meant.
pub fn name(written: &str) -> Cow<'_, str> {
    if !written.contains('\\') {
        return Cow::Borrowed(written);
    }
    serde_json::from_str(&format!("\"{written}\"")).map_or(Cow::Borrowed(written), Cow::Owned)
}

/// A step from a value to one of its parts.
pub enum Step {
    Name(String),
    Index(usize),
}

/// What stands at the end of the steps; `None` for nothing and for null. Of a name that is there twice, the first.
pub fn find<'t>(value: &'t str, steps: &[Step]) -> Option<&'t str> {
    let mut value = value;
    for step in steps {
        value = match step {
            Step::Name(wanted) if value.starts_with('{') => properties(value).find(|(written, _)| *written == wanted || written.contains('\\') && name(written) == *wanted)?.1,
            Step::Index(at) if value.starts_with('[') => items(value).nth(*at)?,
            _ => return None,
        };
    }
    Some(value).filter(|value| *value != "null")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const DOCUMENTS: &[&str] = &[
        r#"[]"#,
        r#"{}"#,
        r#"[1,"a,]}","b\"]\\",{"x":[1,{"y":"}"}],"":null},[[],[[2]]],-1.5e3,true,null,"ü{"]"#,
        r#"{"a":1,"b\"c":{"d":["e","f"],"g":"h\\"},"ü":"\u00e9","k":null,"l":[],"m":"{\"n\":1}"}"#,
        r#"[{"a":{"b":[{"c":3}]}}]"#,
    ];

    /// All paths to parts of the value, each with the part.
    fn paths(value: &Value, steps: &mut Vec<Value>, found: &mut Vec<(Vec<Value>, Value)>) {
        found.push((steps.clone(), value.clone()));
        let parts: Vec<(Value, &Value)> = match value {
            Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.into(), item)).collect(),
            Value::Object(bag) => bag.iter().map(|(name, value)| (name.as_str().into(), value)).collect(),
            _ => Vec::new(),
        };
        for (step, part) in parts {
            steps.push(step);
            paths(part, steps, found);
            steps.pop();
        }
    }

    #[test]
    fn every_part_is_what_a_parser_finds() {
        for document in DOCUMENTS {
            let mut found = Vec::new();
            paths(&serde_json::from_str(document).expect("JSON"), &mut Vec::new(), &mut found);
            for (path, expected) in found {
                let step = |step: &Value| step.as_str().map_or_else(|| Step::Index(step.as_u64().expect("an index") as usize), |name| Step::Name(name.to_owned()));
                let steps: Vec<Step> = path.iter().map(step).collect();
                let part = find(document, &steps).map_or(Value::Null, |part| serde_json::from_str(part).expect("JSON"));
                assert_eq!(part, expected, "{document} {path:?}");
            }
        }
    }

    #[test]
    fn other_texts_are_cut_somewhere() {
        for document in DOCUMENTS {
            for end in (0..=document.len()).filter(|end| document.is_char_boundary(*end)) {
                for cut in [&document[..end], &document[end..]] {
                    items(cut).take(100).count();
                    properties(cut).take(100).count();
                    find(cut, &[Step::Name("a".to_owned()), Step::Index(1)]);
                }
            }
        }
    }
}
