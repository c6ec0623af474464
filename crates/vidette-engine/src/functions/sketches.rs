//! Digests of many values: t-digest for percentiles, HyperLogLog for distinct counts. Kusto docs: `using-hll-tdigest`,
//! `tdigest-aggregation-function`, `hll-aggregation-function`.
//!
//! Kusto's own layout of these values is not documented; here a t-digest is an array of `[value, weight]`, an HLL
//! `[bits, registers in base64]`.

use super::{ScalarFunction, rows};
use crate::cells::{Cell, Out};
use crate::json::{self, from_f64};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use vidette_kql::ScalarType;

pub(super) const FUNCTIONS: &[ScalarFunction] = &[
    rows("tdigest_of", |a| a[0].json().and_then(some_items).map_or(Out::Null, |items| Digest::of(items.iter().map(weighted).collect()).show())),
    rows("tdigest_merge", |a| {
        let digests: Option<Vec<Digest>> = a.iter().map(|cell| Digest::read(&json::parse(cell.json()?)?)).collect();
        digests.map_or(Out::Null, |digests| Digest::of(digests.into_iter().flat_map(|digest| digest.points.into_iter().map(Some)).collect()).show())
    }),
    rows("tdigest_merge_list", |a| {
        let Some(items) = a[0].json().and_then(some_items) else { return Out::Null };
        let points = items.iter().filter_map(Digest::read).flat_map(|digest| digest.points.into_iter().map(Some)).collect();
        Digest::of(points).show()
    }),
    rows("percentile_tdigest", |a| match (digest(a[0]), a[1].real()) {
        (Some(digest), Some(percent)) => digest.percentile(percent).map_or(Out::Null, |value| Out::Text(json::write(&from_f64(value)))),
        _ => Out::Null,
    }),
    rows("percentiles_array_tdigest", |a| {
        let Some(digest) = digest(a[0]) else { return Out::Null };
        let wanted: Vec<f64> = match a[1] {
            Cell::Json(text) => json::numbers(text).into_iter().flatten().flatten().collect(),
            _ => a[1..].iter().filter_map(|cell| cell.real()).collect(),
        };
        Out::Text(json::write(&Value::Array(wanted.into_iter().map(|percent| digest.percentile(percent).map_or(Value::Null, from_f64)).collect())))
    }),
    rows("rank_tdigest", |a| match (digest(a[0]), a[1].real()) {
        (Some(digest), Some(value)) => Out::Real(digest.rank(value)),
        _ => Out::Null,
    }),
    rows("percentrank_tdigest", |a| match (digest(a[0]), a[1].real()) {
        (Some(digest), Some(value)) if digest.weight() > 0.0 => Out::Real(digest.rank(value) / digest.weight() * 100.0),
        _ => Out::Null,
    }),
    rows("tdigest_isvalid", |a| Out::Bool(digest(a[0]).is_some())),
    rows("weighted_percentile", |a| match (a[0].json().and_then(json::array), a[1].real()) {
        (Some(items), Some(percent)) => Out::from(Digest { points: sorted(items.iter().map(weighted).collect()) }.percentile(percent)),
        _ => Out::Null,
    }),
    rows("percentile_array", |a| {
        let Some(items) = a[0].json().and_then(json::array) else { return Out::Null };
        let whole = items.iter().all(|item| item.get(0).is_some_and(json::is_integer));
        let digest = Digest { points: sorted(items.iter().map(weighted).collect()) };
        let show = |value: f64| if whole { json!(value as i64) } else { from_f64(value) };
        let wanted = a[1].json().and_then(json::numbers).unwrap_or_default();
        Out::Text(json::write(&Value::Array(wanted.into_iter().map(|percent| percent.and_then(|percent| digest.percentile(percent)).map_or(Value::Null, show)).collect())))
    }),
    rows("hll_merge", |a| {
        let sketches: Option<Vec<Hll>> = a.iter().map(|cell| Hll::read(&json::parse(cell.json()?)?)).collect();
        sketches.and_then(|sketches| sketches.into_iter().reduce(Hll::merge)).map_or(Out::Null, |sketch| sketch.show())
    }),
    rows("hll_merge_list", |a| {
        let Some(items) = a[0].json().and_then(json::array) else { return Out::Null };
        items.iter().filter_map(Hll::read).reduce(Hll::merge).map_or(Out::Null, |sketch| sketch.show())
    }),
    rows("dcount_hll", |a| match a[0].json().and_then(json::parse) {
        Some(value) => Hll::read(&value).map_or(Out::Null, |sketch| Out::Long(sketch.estimate())),
        None => Out::Long(0),
    }),
    rows("hll_isvalid", |a| Out::Bool(a[0].json().and_then(json::parse).is_some_and(|value| Hll::read(&value).is_some()))),
    // What one document tells, and what several tell together.
    rows("schema_of", |a| {
        let mut schema = Schema::default();
        match a[0].json().and_then(json::parse) {
            Some(document) => schema.take(&document),
            None => return Out::Null,
        }
        Out::Text(json::write(&schema.save()))
    }),
    rows("schema_of_list", |a| {
        let Some(items) = a[0].json().and_then(some_items) else { return Out::Null };
        let mut schema = Schema::default();
        items.iter().for_each(|item| schema.add(item));
        Out::Text(json::write(&schema.show()))
    }),
];

/// What was gathered; of nothing there is no digest.
fn some_items(json: &str) -> Option<Vec<Value>> {
    json::array(json).filter(|items| !items.is_empty())
}

pub(super) fn is_hll(text: &str) -> bool {
    text.starts_with("[1") && json::parse(text).is_some_and(|value| Hll::read(&value).is_some())
}

/// Points that a digest keeps; more are merged with their neighbours.
const MOST_POINTS: usize = 2000;

/// Values with their weights, sorted.
struct Digest {
    points: Vec<(f64, f64)>,
}

/// `v` or `[v, weight]`
fn weighted(item: &Value) -> Option<(f64, f64)> {
    match item {
        Value::Array(pair) => Some((pair.first()?.as_f64()?, pair.get(1).and_then(Value::as_f64).unwrap_or(1.0))),
        other => other.as_f64().map(|value| (value, 1.0)),
    }
}

fn sorted(points: Vec<Option<(f64, f64)>>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = points.into_iter().flatten().filter(|(_, weight)| *weight > 0.0).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn digest(cell: Cell) -> Option<Digest> {
    Digest::read(&json::parse(cell.json()?)?)
}

impl Digest {
    fn of(points: Vec<Option<(f64, f64)>>) -> Digest {
        let mut merged: Vec<(f64, f64)> = Vec::new();
        for (value, weight) in sorted(points) {
            match merged.last_mut() {
                Some(last) if last.0 == value => last.1 += weight,
                _ => merged.push((value, weight)),
            }
        }
        // The ends stay exact; in the middle neighbours become their mean.
        while merged.len() > MOST_POINTS {
            let keep = MOST_POINTS / 20;
            let middle: Vec<(f64, f64)> = merged[keep..merged.len() - keep].chunks(2).map(mean).collect();
            merged = [&merged[..keep], &middle, &merged[merged.len() - keep..]].concat();
        }
        Digest { points: merged }
    }

    fn read(value: &Value) -> Option<Digest> {
        let items = value.as_array()?;
        let points: Vec<(f64, f64)> = items.iter().map(|item| item.as_array().and(weighted(item))).collect::<Option<_>>()?;
        Some(Digest { points })
    }

    fn show(&self) -> Out {
        Out::Text(json::write(&Value::Array(self.points.iter().map(|(value, weight)| json!([from_f64(*value), from_f64(*weight)])).collect())))
    }

    fn weight(&self) -> f64 {
        self.points.iter().map(|(_, weight)| weight).sum()
    }

    /// The value at nearest rank.
    fn percentile(&self, percent: f64) -> Option<f64> {
        let rank = percent / 100.0 * self.weight();
        let mut seen = 0.0;
        let found = self.points.iter().find(|(_, weight)| {
            seen += weight;
            seen >= rank
        });
        found.or(self.points.last()).map(|(value, _)| *value)
    }

    /// How much weight is not above the value.
    fn rank(&self, value: f64) -> f64 {
        self.points.iter().take_while(|(point, _)| *point <= value).map(|(_, weight)| weight).sum::<f64>() + 0.0
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let weight: f64 = points.iter().map(|(_, weight)| weight).sum();
    (points.iter().map(|(value, weight)| value * weight).sum::<f64>() / weight, weight)
}

/// HyperLogLog over 64-bit hashes, with linear counting where few registers are set.
#[derive(Clone, Debug)]
pub(crate) struct Hll {
    bits: u32,
    registers: Vec<u8>,
}

impl Hll {
    /// How many registers Kusto's accuracies 0 to 4 have.
    pub(crate) fn size(accuracy: i64) -> usize {
        match accuracy {
            0 => 1 << 12,
            2 => 1 << 16,
            3 => 1 << 17,
            4 => 1 << 18,
            _ => 1 << 14,
        }
    }

    pub(crate) fn new(accuracy: i64) -> Hll {
        Hll::with_registers(vec![0; Hll::size(accuracy)])
    }

    /// As many registers as some accuracy has.
    pub(crate) fn with_registers(registers: Vec<u8>) -> Hll {
        Hll { bits: registers.len().trailing_zeros(), registers }
    }

    pub(crate) fn registers(&self) -> &[u8] {
        &self.registers
    }

    pub(crate) fn add(&mut self, hash: u64) {
        let index = (hash >> (64 - self.bits)) as usize;
        let zeros = (hash << self.bits).leading_zeros().min(64 - self.bits) as u8 + 1;
        self.registers[index] = self.registers[index].max(zeros);
    }

    /// Adds what as many registers have seen.
    pub(crate) fn add_registers(&mut self, registers: &[u8]) {
        for (register, other) in self.registers.iter_mut().zip(registers) {
            *register = (*register).max(*other);
        }
    }

    pub(crate) fn of(cell: Cell) -> Option<Hll> {
        Hll::read(&json::parse(cell.json()?)?)
    }

    fn read(value: &Value) -> Option<Hll> {
        let [bits, registers] = value.as_array()?.as_slice() else { return None };
        let bits = bits.as_u64().filter(|bits| (12..=18).contains(bits))? as u32;
        let registers = BASE64.decode(registers.as_str()?).ok()?;
        (registers.len() == 1 << bits).then_some(Hll { bits, registers })
    }

    pub(crate) fn to_json(&self) -> String {
        json::write(&json!([self.bits, BASE64.encode(&self.registers)]))
    }

    fn show(&self) -> Out {
        Out::Text(self.to_json())
    }

    /// With fewer bits on one side, the other's registers are folded.
    pub(crate) fn merge(self, other: Hll) -> Hll {
        let (mut fine, mut coarse) = if self.bits >= other.bits { (self, other) } else { (other, self) };
        while fine.bits > coarse.bits {
            fine = fine.folded();
        }
        coarse.add_registers(&fine.registers);
        coarse
    }

    /// The same hashes with one bit less for the register's number: it becomes the first of the counted bits.
    fn folded(&self) -> Hll {
        let half = self.registers.chunks(2).map(|pair| match pair {
            [even, odd] => (if *even > 0 { even + 1 } else { 0 }).max(u8::from(*odd > 0)),
            _ => 0,
        });
        Hll { bits: self.bits - 1, registers: half.collect() }
    }

    pub(crate) fn estimate(&self) -> i64 {
        let m = self.registers.len() as f64;
        // Neighbors are often equal: counted side by side, none waits for the one before.
        let mut beside = [[0_u32; 256]; 4];
        for four in self.registers.as_chunks::<4>().0 {
            four.iter().zip(&mut beside).for_each(|(register, counts)| counts[usize::from(*register)] += 1);
        }
        let counts: [u32; 256] = std::array::from_fn(|register| beside.iter().map(|counts| counts[register]).sum());
        let empty = f64::from(counts[0]);
        let sum: f64 = counts.iter().enumerate().map(|(register, count)| f64::from(*count) * 0.5_f64.powi(register as i32)).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        (if raw <= 2.5 * m && empty > 0.0 { m * (m / empty).ln() } else { raw }).round() as i64
    }
}

/// What `buildschema` knows of a place in the documents.
#[derive(Default)]
struct Schema {
    /// Properties of bags; there may be none.
    properties: Option<Vec<(String, Schema)>>,
    elements: Option<Box<Schema>>,
    types: Vec<ScalarType>,
}

impl Schema {
    fn take(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.note(ScalarType::Bool),
            Value::Number(_) => self.note(if json::is_integer(value) { ScalarType::Long } else { ScalarType::Real }),
            Value::String(_) => self.note(ScalarType::String),
            Value::Array(items) => {
                let inner = self.elements.get_or_insert_default();
                items.iter().for_each(|item| inner.take(item));
            }
            Value::Object(bag) => {
                self.properties.get_or_insert_default();
                for (name, item) in bag {
                    self.property(name).take(item);
                }
            }
        }
    }

    /// As `[properties, elements, types]`, for [`Schema::add`].
    fn save(&self) -> Value {
        let properties = self.properties.iter().map(|properties| properties.iter().map(|(name, schema)| (name.clone(), schema.save())).collect());
        let types = self.types.iter().map(|ty| Value::from(ty.name())).collect();
        json!([properties.map(Value::Object).next(), self.elements.as_ref().map(|elements| elements.save()), Value::Array(types)])
    }

    /// Adds what another document told.
    fn add(&mut self, saved: &Value) {
        if let Some(properties) = saved[0].as_object() {
            for (name, schema) in properties {
                self.property(name).add(schema);
            }
            self.properties.get_or_insert_default();
        }
        if saved[1].is_array() {
            self.elements.get_or_insert_default().add(&saved[1]);
        }
        for ty in saved[2].as_array().into_iter().flatten().filter_map(|ty| ScalarType::from_name(ty.as_str()?)) {
            self.note(ty);
        }
    }

    fn note(&mut self, ty: ScalarType) {
        if !self.types.contains(&ty) {
            self.types.push(ty);
        }
    }

    fn property(&mut self, name: &str) -> &mut Schema {
        let properties = self.properties.get_or_insert_default();
        let at = properties.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            properties.push((name.to_owned(), Schema::default()));
            properties.len() - 1
        });
        &mut properties[at].1
    }

    fn show(&self) -> Value {
        let mut parts: Vec<Value> = Vec::new();
        if let Some(properties) = &self.properties {
            parts.push(Value::Object(properties.iter().map(|(name, schema)| (name.clone(), schema.show())).collect()));
        }
        if let Some(elements) = &self.elements {
            parts.push(json!({"`indexer`": elements.show()}));
        }
        parts.extend(self.types.iter().map(|ty| Value::from(if *ty == ScalarType::Real { "double" } else { ty.name() })));
        if parts.len() == 1 { parts.remove(0) } else { Value::Array(parts) }
    }
}
