//! XML to dynamic. Kusto docs: `parse-xml-function`.

use crate::json;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// Longer texts are null, as in Kusto.
const MAX_BYTES: usize = 1 << 20;
/// Elements nested deeper than this are null: a document is made by a recursion.
const MAX_DEPTH: usize = 200;

/// The document as JSON: attributes as `@name`, text as `#text` where there is more, repeated elements as an array.
pub(super) fn parse(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
                    return None;
                }
                open.push(Element::new(&start)?);
            }
            Event::Empty(start) => {
                let element = Element::new(&start)?;
                open.last_mut()?.take(element);
            }
            Event::End(_) => {
                let element = open.pop()?;
                open.last_mut()?.take(element);
            }
            Event::Text(piece) => open.last_mut()?.text.push_str(&piece.decode().ok()?),
            Event::CData(piece) => open.last_mut()?.text.push_str(&piece.decode().ok()?),
            Event::GeneralRef(reference) => {
                let entity = reference.decode().ok()?;
                let resolved = match reference.resolve_char_ref().ok()? {
                    Some(c) => c.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&entity)?.to_owned(),
                };
                open.last_mut()?.text.push_str(&resolved);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match &open[..] {
        [root] if !root.members.is_empty() => Some(json::write(&Value::Object(open.pop()?.members))),
        _ => None,
    }
}

#[derive(Default)]
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
}

impl Element {
    fn new(start: &BytesStart) -> Option<Element> {
        let mut members = Map::new();
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let name = format!("@{}", String::from_utf8_lossy(attribute.key.as_ref()));
            members.insert(name, Value::String(attribute.unescape_value().ok()?.into_owned()));
        }
        Some(Element { name: String::from_utf8_lossy(start.name().as_ref()).into_owned(), members, text: String::new() })
    }

    fn take(&mut self, child: Element) {
        let text = child.text.trim();
        let value = match (child.members.is_empty(), text.is_empty()) {
            (true, true) => Value::Null,
            (true, false) => Value::String(text.to_owned()),
            (false, empty) => {
                let mut members = Map::new();
                let (attributes, elements): (Vec<_>, Vec<_>) = child.members.into_iter().partition(|(name, _)| name.starts_with('@'));
                members.extend(attributes);
                if !empty {
                    members.insert("#text".to_owned(), Value::String(text.to_owned()));
                }
                members.extend(elements);
                Value::Object(members)
            }
        };
        match self.members.get_mut(&child.name) {
            Some(Value::Array(items)) => items.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                self.members.insert(child.name, value);
            }
        }
    }
}
