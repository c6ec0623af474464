//! Records without their JSON: a template of a chunk is read once, into the places that its values have in an event.
//!
//! Format: Microsoft, MS-EVEN6, "BinXml". What is unusual here (an element of several parts, an entity, an array of
//! anything but texts) gives `None`, and the record is read from its JSON instead.

use super::values::{Cursor, Value, instance, utf16};
use crate::event::{Event, FILETIME_EPOCH_TICKS, number, parse_time};
use bumpalo::Bump;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// The templates of one chunk, by where they stand and what stands around them.
pub(super) struct Templates<'c> {
    chunk: &'c [u8],
    /// Where their texts are kept.
    texts: &'c Bump,
    known: HashMap<(u32, Around), Option<Rc<Template<'c>>>, foldhash::fast::RandomState>,
}

/// Where the root of a template stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Around {
    Nothing,
    Event,
    Data,
}

/// The places of a template's values, in the order of the document.
#[derive(Default)]
struct Template<'c> {
    system: Vec<(SystemPart, Slot<'c>)>,
    /// By name.
    data: Vec<(&'c str, Slot<'c>)>,
    /// Elements of other templates, in an element of this one.
    elements: Vec<(Around, Slot<'c>)>,
}

#[derive(Clone, Copy)]
struct Slot<'c> {
    part: Part<'c>,
    /// The value without which the element is not there.
    needs: Option<usize>,
}

impl<'c> Slot<'c> {
    fn is_there(&self, values: &[Value]) -> bool {
        self.needs.is_none_or(|at| values.get(at).is_none_or(|value| !value.is_null()))
    }

    fn value(&self, values: &[Value<'c>]) -> Value<'c> {
        match self.part {
            Part::Text(_) => Value::NULL,
            Part::Value(at) => values.get(at).copied().unwrap_or(Value::NULL),
        }
    }

    fn text<'a>(&self, values: &[Value], bump: &'a Bump) -> Option<&'a str>
    where
        'c: 'a,
    {
        match self.part {
            Part::Text(text) => Some(text),
            Part::Value(at) => values.get(at).map_or(Some(""), |value| value.text(bump)),
        }
    }
}

#[derive(Clone, Copy)]
enum Part<'c> {
    Text(&'c str),
    Value(usize),
}

#[derive(Clone, Copy)]
enum SystemPart {
    Provider,
    EventId,
    Version,
    Level,
    Task,
    Opcode,
    Keywords,
    Created,
    RecordId,
    ProcessId,
    ThreadId,
    Channel,
    Computer,
    User,
}

fn system_part(element: &str, attribute: Option<&str>) -> Option<SystemPart> {
    Some(match (element, attribute) {
        ("Provider", Some("Name")) => SystemPart::Provider,
        ("EventID", None) => SystemPart::EventId,
        ("Version", None) => SystemPart::Version,
        ("Level", None) => SystemPart::Level,
        ("Task", None) => SystemPart::Task,
        ("Opcode", None) => SystemPart::Opcode,
        ("Keywords", None) => SystemPart::Keywords,
        ("TimeCreated", Some("SystemTime")) => SystemPart::Created,
        ("EventRecordID", None) => SystemPart::RecordId,
        ("Execution", Some("ProcessID")) => SystemPart::ProcessId,
        ("Execution", Some("ThreadID")) => SystemPart::ThreadId,
        ("Channel", None) => SystemPart::Channel,
        ("Computer", None) => SystemPart::Computer,
        ("Security", Some("UserID")) => SystemPart::User,
        _ => return None,
    })
}

/// The event of a record, whose BinXml is that part of the chunk; `wants` decides by its system part whether its data are
/// read. `None` when the record is unusual.
pub(super) fn read<'a, 'c: 'a>(part: Range<usize>, templates: &mut Templates<'c>, bump: &'a Bump, wants: &dyn Fn(&Event) -> bool) -> Option<Event<'a>> {
    let mut event = Event::default();
    let whole = instance(templates.chunk, part, bump)?;
    let template = templates.find(whole.definition, Around::Nothing)?;
    for (part, slot) in template.system.iter().filter(|(_, slot)| slot.is_there(&whole.values)) {
        set(&mut event, *part, slot, &whole.values, bump)?;
    }
    if event.provider.is_empty() {
        // A record whose system part is damaged: what is left of it, its JSON has.
        return None;
    }
    if !wants(&event) {
        return Some(event);
    }
    data(&mut event, &template, &whole.values, bump)?;
    let mut within = elements(&template, &whole.values)?;
    // Elements stand in elements as deep as a chunk has room for; four levels are more than any log has.
    for _ in 0..4 {
        for (around, part) in std::mem::take(&mut within).into_iter().filter(|(_, part)| !part.is_empty()) {
            let inner = instance(templates.chunk, part, bump)?;
            let template = templates.find(inner.definition, around)?;
            data(&mut event, &template, &inner.values, bump)?;
            within.extend(elements(&template, &inner.values)?);
        }
    }
    within.is_empty().then_some(event)
}

/// What other templates have to say in the elements of this one.
fn elements(template: &Template, values: &[Value]) -> Option<Vec<(Around, Range<usize>)>> {
    let mut within = Vec::new();
    for (around, slot) in template.elements.iter().filter(|(_, slot)| slot.is_there(values)) {
        let Part::Value(at) = slot.part else { return None };
        match values.get(at).filter(|value| !value.is_null()) {
            None => {}
            Some(value) => within.push((*around, value.elements()?)),
        }
    }
    Some(within)
}

fn set<'a, 'c: 'a>(event: &mut Event<'a>, part: SystemPart, slot: &Slot<'c>, values: &[Value<'c>], bump: &'a Bump) -> Option<()> {
    let value = slot.value(values);
    let text = || slot.text(values, bump);
    let long = || Some(value.long().or_else(|| number(slot.text(values, bump)?)).unwrap_or_default());
    match part {
        SystemPart::Provider => event.provider = Cow::Borrowed(text()?),
        SystemPart::EventId => event.event_id = u32::try_from(long()?).unwrap_or_default(),
        SystemPart::Version => event.version = long()?,
        SystemPart::Level => event.level = long()?,
        SystemPart::Task => event.task = long()?,
        SystemPart::Opcode => event.opcode = long()?,
        SystemPart::Keywords => event.keywords = Cow::Borrowed(text()?),
        SystemPart::Created => {
            event.created_ticks = match value.filetime() {
                Some(time) => i64::try_from(time).ok()?.checked_add(FILETIME_EPOCH_TICKS),
                None => parse_time(text()?),
            }
        }
        SystemPart::RecordId => event.record_id = u64::try_from(long()?).unwrap_or_default(),
        SystemPart::ProcessId => event.execution_process_id = long()?,
        SystemPart::ThreadId => event.execution_thread_id = long()?,
        SystemPart::Channel => event.channel = Cow::Borrowed(text()?),
        SystemPart::Computer => event.computer = Cow::Borrowed(text()?),
        SystemPart::User => event.user_sid = Cow::Borrowed(text()?),
    }
    Some(())
}

fn data<'a, 'c: 'a>(event: &mut Event<'a>, template: &Template<'c>, values: &[Value<'c>], bump: &'a Bump) -> Option<()> {
    event.data.reserve(template.data.len());
    for (name, slot) in template.data.iter().filter(|(_, slot)| slot.is_there(values)) {
        match slot.value(values).texts(bump) {
            Some(items) => event.data.extend(items.map(|item| (Cow::Borrowed(*name), Cow::Borrowed(item)))),
            None => event.data.push((Cow::Borrowed(*name), Cow::Borrowed(slot.text(values, bump)?))),
        }
    }
    Some(())
}

impl<'c> Templates<'c> {
    pub fn new(chunk: &'c [u8], texts: &'c Bump) -> Templates<'c> {
        Templates { chunk, texts, known: HashMap::default() }
    }

    fn find(&mut self, definition: u32, around: Around) -> Option<Rc<Template<'c>>> {
        let (chunk, texts) = (self.chunk, self.texts);
        self.known.entry((definition, around)).or_insert_with(|| Reader::new(chunk, definition, texts).template(around).map(Rc::new)).clone()
    }
}

/// The bytes of a template's definition.
struct Reader<'c> {
    bytes: Cursor<'c>,
    texts: &'c Bump,
}

/// An element that is open.
struct Element<'c> {
    name: &'c str,
    needs: Option<usize>,
    /// The value of the attribute `Name`.
    label: Option<&'c str>,
    parts: Vec<Part<'c>>,
    has_elements: bool,
    has_attributes: bool,
}

/// Before the elements of a definition: where the next one is, its guid and its size.
const DEFINITION_HEADER_BYTES: usize = 24;

impl<'c> Reader<'c> {
    fn new(chunk: &'c [u8], definition: u32, texts: &'c Bump) -> Reader<'c> {
        Reader { bytes: Cursor { chunk, at: definition as usize + DEFINITION_HEADER_BYTES }, texts }
    }

    fn string(&mut self) -> Option<&'c str> {
        let length = usize::from(self.bytes.u16()?);
        let units = self.bytes.take(length * 2)?.as_chunks::<2>().0;
        let valid = char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit))).all(|unit| unit.is_ok_and(|unit| unit != '\0'));
        valid.then(|| utf16(units, self.texts))
    }

    /// A name stands where its reference is, or was written before.
    fn name(&mut self) -> Option<&'c str> {
        const LINK_BYTES: usize = 6;
        const END_BYTES: usize = 2;
        let offset = self.bytes.u32()? as usize;
        let back = self.bytes.at;
        let stands_here = offset == back;
        self.bytes.at = offset + LINK_BYTES;
        let name = self.string()?;
        self.bytes.at = if stands_here { self.bytes.at + END_BYTES } else { back };
        Some(name)
    }

    fn template(mut self, around: Around) -> Option<Template<'c>> {
        let mut template = Template::default();
        let mut open: Vec<Element> = Vec::new();
        // The attribute that is read, until its value is.
        let mut attribute: Option<&'c str> = None;
        loop {
            match self.bytes.u8()? {
                0x00 => return open.is_empty().then_some(template),
                0x0f => drop(self.bytes.take(3)?),
                start @ (0x01 | 0x41) => {
                    const NOTHING: u16 = 0xffff;
                    let needs = Some(self.bytes.u16()?).filter(|at| *at != NOTHING).map(usize::from);
                    let _size_bytes = self.bytes.u32()?;
                    let name = self.name()?;
                    if start == 0x41 {
                        self.bytes.take(4)?;
                    }
                    if let Some(outer) = open.last_mut() {
                        outer.has_elements = true;
                    }
                    let needs = needs.or(open.last().and_then(|outer| outer.needs));
                    open.push(Element { name, needs, label: None, parts: Vec::new(), has_elements: false, has_attributes: start == 0x41 });
                }
                0x06 | 0x46 => attribute = Some(self.name()?),
                0x02 => attribute = None,
                0x03 | 0x04 => {
                    attribute = None;
                    let closed = open.pop()?;
                    template.close(&open, around, closed)?;
                }
                0x05 | 0x45 => {
                    const STRING: u8 = 1;
                    if self.bytes.u8()? != STRING {
                        return None;
                    }
                    let text = self.string()?;
                    template.part(&mut open, around, attribute.take(), Part::Text(text))?;
                }
                0x0d | 0x0e => {
                    let value = usize::from(self.bytes.u16()?);
                    self.bytes.u8()?;
                    template.part(&mut open, around, attribute.take(), Part::Value(value))?;
                }
                _ => return None,
            }
        }
    }
}

/// How deep an element stands, what surrounds the template included: 0 is `Event`.
fn depth(open: &[Element], around: Around) -> usize {
    open.len()
        + match around {
            Around::Nothing => 0,
            Around::Event => 1,
            Around::Data => 2,
        }
}

impl<'c> Template<'c> {
    /// A value inside the innermost open element or in one of its attributes.
    fn part(&mut self, open: &mut [Element<'c>], around: Around, attribute: Option<&'c str>, part: Part<'c>) -> Option<()> {
        let system = is_system(open, around);
        let depth = depth(open, around);
        let element = open.last_mut()?;
        let slot = Slot { part, needs: element.needs };
        match attribute {
            None => element.parts.push(part),
            Some(attribute) if system => self.system.extend(system_part(element.name, Some(attribute)).map(|place| (place, slot))),
            // Attributes of `EventData` itself are data.
            Some(attribute) if depth == 2 && matches!(element.name, "EventData" | "UserData") => {
                if attribute != "xmlns" {
                    self.data.push((attribute, slot));
                }
            }
            Some("Name") => {
                let Part::Text(label) = part else { return None };
                element.label = Some(label);
            }
            Some(_) => {}
        }
        Some(())
    }

    fn close(&mut self, open: &[Element<'c>], around: Around, mut closed: Element<'c>) -> Option<()> {
        let part = closed.parts.pop();
        // Several parts would have to be put together.
        if !closed.parts.is_empty() || closed.has_elements && part.is_some() && depth(open, around) != 0 {
            return None;
        }
        let slot = Slot { part: part.unwrap_or(Part::Text("")), needs: closed.needs };
        match (depth(open, around), &part) {
            (0, Some(Part::Value(_))) => self.elements.push((Around::Event, slot)),
            (1, Some(Part::Value(_))) if closed.name != "System" => self.elements.push((Around::Data, slot)),
            (0 | 1, _) => {}
            (2, _) if is_system(open, around) => self.system.extend(system_part(closed.name, None).map(|place| (place, slot))),
            _ if closed.has_elements => {}
            // An element that only names its schema holds nothing.
            _ if part.is_none() && closed.has_attributes && closed.name != "Data" => {}
            _ if closed.name == "Data" => self.data.push((closed.label.unwrap_or(closed.name), slot)),
            _ => self.data.push((closed.name, slot)),
        }
        Some(())
    }
}

/// Whether what is open is the system part of the event, or in it.
fn is_system(open: &[Element], around: Around) -> bool {
    around == Around::Nothing && open.get(1).is_some_and(|element| element.name == "System")
}
