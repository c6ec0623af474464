//! Records without their JSON: a template of a chunk is read once, into the places that its values have in an event.
//!
//! Format: Microsoft, MS-EVEN6, "BinXml". What is unusual here (an element of several parts, an entity, an array of
//! anything but texts) gives `None`, and the record is read from its JSON instead.

use crate::event::{Event, FILETIME_EPOCH_TICKS, number, parse_time};
use bumpalo::Bump;
use evtx::EvtxRecord;
use evtx::binxml::value_variant::BinXmlValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

/// The templates of one chunk, by where they stand and what stands around them.
#[derive(Default)]
pub(super) struct Templates(HashMap<(u32, Around), Option<Rc<Template>>>);

/// Where the root of a template stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Around {
    Nothing,
    Event,
    Data,
}

/// The places of a template's values, in the order of the document.
struct Template(Vec<Slot>);

struct Slot {
    place: Place,
    part: Part,
    /// The value without which the element is not there.
    needs: Option<usize>,
}

impl Slot {
    fn is_there(&self, values: &[BinXmlValue]) -> bool {
        self.needs.is_none_or(|at| !matches!(values.get(at), Some(BinXmlValue::NullType)))
    }
}

enum Part {
    Text(Box<str>),
    Value(usize),
}

enum Place {
    System(SystemPart),
    Data(Box<str>),
    /// Elements of another template, in an element of this one.
    Elements(Around),
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

/// The event of a record; `wants` decides by its system part whether its data are read. `None` when the record is unusual.
pub(super) fn read<'a>(record: &mut EvtxRecord, templates: &mut Templates, bump: &'a Bump, wants: &dyn Fn(&Event) -> bool) -> Option<Event<'a>> {
    let mut event = Event::default();
    let [instance] = <[_; 1]>::try_from(record.template_instances().ok()?).ok()?;
    let chunk: &[u8] = record.chunk.data;
    // The template lives as long as its chunk; what it names is copied beside the values.
    let template = templates.find(chunk, instance.template_def_offset, Around::Nothing)?;
    for slot in template.0.iter().filter(|slot| slot.is_there(&instance.values)) {
        if let Place::System(part) = &slot.place {
            set(&mut event, *part, &slot.part, &instance.values, bump)?;
        }
    }
    if event.provider.is_empty() {
        // A record whose system part is damaged: what is left of it, its JSON has.
        return None;
    }
    if !wants(&event) {
        return Some(event);
    }
    data(&mut event, &template, &instance.values, bump)?;
    let mut within = elements(&template, &instance.values)?;
    // Elements stand in elements as deep as a chunk has room for; four levels are more than any log has.
    for _ in 0..4 {
        for (around, bytes) in std::mem::take(&mut within) {
            if bytes.is_empty() {
                continue;
            }
            record.binxml_offset = (bytes.as_ptr() as usize).checked_sub(chunk.as_ptr() as usize)? as u64;
            record.binxml_size = u32::try_from(bytes.len()).ok()?;
            let [instance] = <[_; 1]>::try_from(record.template_instances().ok()?).ok()?;
            let template = templates.find(chunk, instance.template_def_offset, around)?;
            data(&mut event, &template, &instance.values, bump)?;
            within.extend(elements(&template, &instance.values)?);
        }
    }
    within.is_empty().then_some(event)
}

/// What other templates have to say in the elements of this one.
fn elements<'v>(template: &Template, values: &[BinXmlValue<'v>]) -> Option<Vec<(Around, &'v [u8])>> {
    let mut within = Vec::new();
    for slot in template.0.iter().filter(|slot| slot.is_there(values)) {
        let Place::Elements(around) = &slot.place else { continue };
        let Part::Value(at) = slot.part else { return None };
        match values.get(at) {
            None | Some(BinXmlValue::NullType) => {}
            Some(BinXmlValue::BinXmlType(bytes)) => within.push((*around, *bytes)),
            Some(_) => return None,
        }
    }
    Some(within)
}

fn set<'a>(event: &mut Event<'a>, part: SystemPart, from: &Part, values: &[BinXmlValue], bump: &'a Bump) -> Option<()> {
    let value = match from {
        Part::Value(at) => values.get(*at).unwrap_or(&BinXmlValue::NullType),
        Part::Text(_) => &BinXmlValue::NullType,
    };
    if let (SystemPart::Created, BinXmlValue::FileTimeType(time)) = (part, value) {
        event.created_ticks = i64::try_from(time.0).ok()?.checked_add(FILETIME_EPOCH_TICKS);
        return Some(());
    }
    let text = match from {
        Part::Text(text) => bump.alloc_str(text),
        Part::Value(_) => text(value, bump)?,
    };
    let long = || number(text).unwrap_or_default();
    match part {
        SystemPart::Provider => event.provider = Cow::Borrowed(text),
        SystemPart::EventId => event.event_id = u32::try_from(long()).unwrap_or_default(),
        SystemPart::Version => event.version = long(),
        SystemPart::Level => event.level = long(),
        SystemPart::Task => event.task = long(),
        SystemPart::Opcode => event.opcode = long(),
        SystemPart::Keywords => event.keywords = Cow::Borrowed(text),
        SystemPart::Created => event.created_ticks = parse_time(text),
        SystemPart::RecordId => event.record_id = u64::try_from(long()).unwrap_or_default(),
        SystemPart::ProcessId => event.execution_process_id = long(),
        SystemPart::ThreadId => event.execution_thread_id = long(),
        SystemPart::Channel => event.channel = Cow::Borrowed(text),
        SystemPart::Computer => event.computer = Cow::Borrowed(text),
        SystemPart::User => event.user_sid = Cow::Borrowed(text),
    }
    Some(())
}

fn data<'a>(event: &mut Event<'a>, template: &Template, values: &[BinXmlValue], bump: &'a Bump) -> Option<()> {
    event.data.reserve(template.0.len());
    for slot in template.0.iter().filter(|slot| slot.is_there(values)) {
        let Place::Data(name) = &slot.place else { continue };
        let name = Cow::Borrowed(&*bump.alloc_str(name));
        match &slot.part {
            Part::Text(text) => event.data.push((name, Cow::Borrowed(bump.alloc_str(text)))),
            Part::Value(at) => match values.get(*at) {
                Some(BinXmlValue::StringArrayType(items)) if !items.is_empty() => {
                    for item in *items {
                        event.data.push((name.clone(), Cow::Borrowed(utf16(item.as_bytes(), bump))));
                    }
                }
                value => event.data.push((name, Cow::Borrowed(text(value.unwrap_or(&BinXmlValue::NullType), bump)?))),
            },
        }
    }
    Some(())
}

/// A value as Windows writes it in the XML of an event.
fn text<'a>(value: &BinXmlValue, bump: &'a Bump) -> Option<&'a str> {
    let mut out = bumpalo::collections::String::new_in(bump);
    let done = match value {
        BinXmlValue::NullType | BinXmlValue::StringArrayType([]) => return Some(""),
        BinXmlValue::StringType(text) => return Some(utf16(text.as_bytes(), bump)),
        BinXmlValue::AnsiStringType(text) => return Some(bump.alloc_str(text)),
        BinXmlValue::Int8Type(value) => write!(out, "{value}"),
        BinXmlValue::UInt8Type(value) => write!(out, "{value}"),
        BinXmlValue::Int16Type(value) => write!(out, "{value}"),
        BinXmlValue::UInt16Type(value) => write!(out, "{value}"),
        BinXmlValue::Int32Type(value) => write!(out, "{value}"),
        BinXmlValue::UInt32Type(value) => write!(out, "{value}"),
        BinXmlValue::Int64Type(value) => write!(out, "{value}"),
        BinXmlValue::UInt64Type(value) => write!(out, "{value}"),
        BinXmlValue::BoolType(value) => write!(out, "{value}"),
        BinXmlValue::HexInt32Type(value) => write!(out, "{value:#x}"),
        BinXmlValue::HexInt64Type(value) => write!(out, "{value:#x}"),
        BinXmlValue::SidType(sid) => write!(out, "{sid}"),
        BinXmlValue::GuidType(bytes) => guid(&mut out, bytes),
        BinXmlValue::BinaryType(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}")),
        BinXmlValue::FileTimeType(time) => {
            let time = time.to_timestamp()?;
            write!(out, "{time:.7}")
        }
        _ => return None,
    };
    done.ok()?;
    Some(out.into_bump_str())
}

/// `{d1-d2-d3-d4}` in lower case; the first three parts are little-endian.
fn guid(out: &mut impl Write, bytes: &[u8; 16]) -> std::fmt::Result {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 38];
    (text[0], text[37]) = (b'{', b'}');
    let mut at = 1;
    for (position, from) in ORDER.into_iter().enumerate() {
        at += usize::from(matches!(position, 4 | 6 | 8 | 10));
        text[at] = DIGITS[usize::from(bytes[from] >> 4)];
        text[at + 1] = DIGITS[usize::from(bytes[from] & 15)];
        at += 2;
    }
    out.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn utf16<'a>(bytes: &[u8], bump: &'a Bump) -> &'a str {
    let (units, _) = bytes.as_chunks::<2>();
    if units.iter().all(|[low, high]| *high == 0 && *low < 0x80) {
        let ascii = bump.alloc_slice_fill_iter(units.iter().map(|[low, _]| *low));
        return std::str::from_utf8(ascii).unwrap_or_default();
    }
    let mut out = bumpalo::collections::String::with_capacity_in(bytes.len(), bump);
    out.extend(char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit))).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    out.into_bump_str()
}

impl Templates {
    fn find(&mut self, chunk: &[u8], offset: u32, around: Around) -> Option<Rc<Template>> {
        self.0.entry((offset, around)).or_insert_with(|| Reader::template(chunk, offset, around).map(Rc::new)).clone()
    }
}

/// The bytes of a template's definition.
struct Reader<'a> {
    chunk: &'a [u8],
    at: usize,
}

/// An element that is open.
struct Element {
    name: String,
    needs: Option<usize>,
    /// The value of the attribute `Name`.
    label: Option<String>,
    parts: Vec<Part>,
    has_elements: bool,
    has_attributes: bool,
}

/// Before the elements of a definition: where the next one is, its guid and its size.
const DEFINITION_HEADER_BYTES: usize = 24;

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.chunk.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) | u32::from(self.u16()?) << 16)
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::from(self.u16()?);
        let bytes = self.chunk.get(self.at..self.at + length * 2)?;
        self.at += length * 2;
        char::decode_utf16(bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit))).collect::<Result<_, _>>().ok()
    }

    /// A name stands where its reference is, or was written before.
    fn name(&mut self) -> Option<String> {
        const LINK_BYTES: usize = 6;
        const END_BYTES: usize = 2;
        let offset = self.u32()? as usize;
        let stands_here = offset == self.at;
        let back = self.at;
        self.at = offset + LINK_BYTES;
        let name = self.string()?;
        self.at = if stands_here { self.at + END_BYTES } else { back };
        Some(name)
    }

    fn template(chunk: &[u8], offset: u32, around: Around) -> Option<Template> {
        let mut reader = Reader { chunk, at: offset as usize + DEFINITION_HEADER_BYTES };
        let mut template = Template(Vec::new());
        let mut open: Vec<Element> = Vec::new();
        // The attribute that is read, until its value is.
        let mut attribute: Option<String> = None;
        loop {
            match reader.u8()? {
                0x00 => return open.is_empty().then_some(template),
                0x0f => reader.at += 3,
                start @ (0x01 | 0x41) => {
                    const NOTHING: u16 = 0xffff;
                    let needs = Some(reader.u16()?).filter(|at| *at != NOTHING).map(usize::from);
                    let _size_bytes = reader.u32()?;
                    let name = reader.name()?;
                    if start == 0x41 {
                        reader.at += 4;
                    }
                    if let Some(outer) = open.last_mut() {
                        outer.has_elements = true;
                    }
                    let needs = needs.or(open.last().and_then(|outer| outer.needs));
                    open.push(Element { name, needs, label: None, parts: Vec::new(), has_elements: false, has_attributes: start == 0x41 });
                }
                0x06 | 0x46 => attribute = Some(reader.name()?),
                0x02 => attribute = None,
                0x03 | 0x04 => {
                    attribute = None;
                    let closed = open.pop()?;
                    template.close(&open, around, closed)?;
                }
                0x05 | 0x45 => {
                    const STRING: u8 = 1;
                    if reader.u8()? != STRING {
                        return None;
                    }
                    let text = reader.string()?;
                    template.part(&mut open, around, attribute.take(), Part::Text(text.into()))?;
                }
                0x0d | 0x0e => {
                    let value = usize::from(reader.u16()?);
                    reader.u8()?;
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

impl Template {
    /// A value inside the innermost open element or in one of its attributes.
    fn part(&mut self, open: &mut [Element], around: Around, attribute: Option<String>, part: Part) -> Option<()> {
        let system = is_system(open, around);
        let depth = depth(open, around);
        let element = open.last_mut()?;
        match attribute {
            None => element.parts.push(part),
            Some(attribute) if system => {
                if let Some(place) = system_part(&element.name, Some(&attribute)) {
                    self.0.push(Slot { place: Place::System(place), part, needs: element.needs });
                }
            }
            // Attributes of `EventData` itself are data.
            Some(attribute) if depth == 2 && matches!(element.name.as_str(), "EventData" | "UserData") => {
                if attribute != "xmlns" {
                    self.0.push(Slot { place: Place::Data(attribute.into()), part, needs: element.needs });
                }
            }
            Some(attribute) if attribute == "Name" => {
                let Part::Text(label) = part else { return None };
                element.label = Some(label.into());
            }
            Some(_) => {}
        }
        Some(())
    }

    fn close(&mut self, open: &[Element], around: Around, mut closed: Element) -> Option<()> {
        let part = closed.parts.pop();
        // Several parts would have to be put together.
        if !closed.parts.is_empty() || closed.has_elements && part.is_some() && depth(open, around) != 0 {
            return None;
        }
        let place = match (depth(open, around), &part) {
            (0, Some(Part::Value(_))) => Place::Elements(Around::Event),
            (1, Some(Part::Value(_))) if closed.name != "System" => Place::Elements(Around::Data),
            (0 | 1, _) => return Some(()),
            (2, _) if is_system(open, around) => match system_part(&closed.name, None) {
                Some(part) => Place::System(part),
                None => return Some(()),
            },
            _ if closed.has_elements => return Some(()),
            // An element that only names its schema holds nothing.
            _ if part.is_none() && closed.has_attributes && closed.name != "Data" => return Some(()),
            _ if closed.name == "Data" => Place::Data(closed.label.unwrap_or(closed.name).into()),
            _ => Place::Data(closed.name.into()),
        };
        self.0.push(Slot { place, part: part.unwrap_or(Part::Text("".into())), needs: closed.needs });
        Some(())
    }
}

/// Whether what is open is the system part of the event, or in it.
fn is_system(open: &[Element], around: Around) -> bool {
    around == Around::Nothing && open.get(1).is_some_and(|element| element.name == "System")
}
