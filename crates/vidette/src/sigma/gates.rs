//! Gates whose literals and fields are numbers, and what is known of an event when they are asked.

use vidette_sigma::{Test, Truth};

/// A gate whose literals and fields are numbers.
pub enum Resolved {
    Open,
    Shut,
    All(Vec<Resolved>),
    Any(Vec<Resolved>),
    Not(Box<Resolved>),
    /// The literal in the first field, and in the others.
    Literal(u32, Vec<u32>),
    /// A literal somewhere in the data.
    Anywhere(u32),
    Test(Vec<u32>, Test),
}

/// What is known of an event.
#[derive(Default)]
pub struct Known {
    pub event: u64,
    /// By literal: the event in which it was seen last.
    pub seen: Vec<u64>,
    /// By field: the event that had it last, and of fields that are tested its value there.
    pub values: Vec<(u64, String)>,
    /// A field has something else than a text, or letters that no search for ASCII finds though they are the same to KQL.
    pub odd: bool,
}

impl Known {
    fn saw(&self, literal: u32) -> bool {
        self.seen[literal as usize] == self.event
    }

    fn value(&self, field: u32) -> &str {
        match &self.values[field as usize] {
            (of, value) if *of == self.event => value,
            _ => "",
        }
    }
}

impl Resolved {
    pub fn truth(&self, known: &Known) -> Truth {
        // Of values that are no texts the query tells.
        let absent = if known.odd { Truth::Unknown } else { Truth::No };
        match self {
            Resolved::Open => Truth::Unknown,
            Resolved::Shut => Truth::No,
            Resolved::All(parts) => Truth::all(parts.iter().map(|part| part.truth(known))),
            Resolved::Any(parts) => Truth::any(parts.iter().map(|part| part.truth(known))),
            Resolved::Not(part) => part.truth(known).negated(),
            Resolved::Literal(first, others) => match (known.saw(*first), others.iter().any(|other| known.saw(*other))) {
                (true, _) => Truth::Yes,
                // The first field may have another value.
                (false, true) => Truth::Unknown,
                (false, false) => absent,
            },
            Resolved::Anywhere(literal) if known.saw(*literal) => Truth::Unknown,
            Resolved::Anywhere(_) => absent,
            Resolved::Test(..) if known.odd => Truth::Unknown,
            Resolved::Test(fields, test) => {
                let value = fields.iter().map(|field| known.value(*field)).find(|value| !value.is_empty());
                test.holds(value.unwrap_or(""))
            }
        }
    }

    /// What an event's class alone tells: `seen` says of a literal in its own columns whether it is there.
    pub fn truth_of_class(&self, seen: &dyn Fn(u32) -> Option<bool>) -> Truth {
        match self {
            Resolved::Open | Resolved::Anywhere(_) | Resolved::Test(..) => Truth::Unknown,
            Resolved::Shut => Truth::No,
            Resolved::All(parts) => Truth::all(parts.iter().map(|part| part.truth_of_class(seen))),
            Resolved::Any(parts) => Truth::any(parts.iter().map(|part| part.truth_of_class(seen))),
            Resolved::Not(part) => part.truth_of_class(seen).negated(),
            Resolved::Literal(first, others) if others.is_empty() => seen(*first).map_or(Truth::Unknown, Truth::of),
            Resolved::Literal(..) => Truth::Unknown,
        }
    }

    /// Calls `visit` with every field that must be looked at to tell.
    pub fn fields(&self, of: &[u32], visit: &mut dyn FnMut(u32)) {
        match self {
            Resolved::Open | Resolved::Shut => {}
            Resolved::All(parts) | Resolved::Any(parts) => parts.iter().for_each(|part| part.fields(of, visit)),
            Resolved::Not(part) => part.fields(of, visit),
            Resolved::Literal(first, others) => std::iter::once(first).chain(others).for_each(|literal| visit(of[*literal as usize])),
            Resolved::Anywhere(literal) => visit(of[*literal as usize]),
            Resolved::Test(fields, _) => fields.iter().for_each(|field| visit(*field)),
        }
    }
}

/// The cheapest literals of which one must occur; `None` when there are none.
pub fn triggers(gate: &Resolved, weights: &[f64]) -> Option<(f64, Vec<u32>)> {
    match gate {
        Resolved::Open | Resolved::Not(_) | Resolved::Test(..) => None,
        Resolved::Shut => Some((0.0, Vec::new())),
        Resolved::Anywhere(literal) => Some((weights[*literal as usize], vec![*literal])),
        Resolved::Literal(first, others) => {
            let literals: Vec<u32> = std::iter::once(*first).chain(others.iter().copied()).collect();
            Some((literals.iter().map(|literal| weights[*literal as usize]).sum(), literals))
        }
        Resolved::All(parts) => parts.iter().filter_map(|part| triggers(part, weights)).min_by(|a, b| a.0.total_cmp(&b.0)),
        Resolved::Any(parts) => {
            let mut all = (0.0, Vec::new());
            for part in parts {
                let (weight, literals) = triggers(part, weights)?;
                all.0 += weight;
                all.1.extend(literals);
            }
            all.1.sort_unstable();
            all.1.dedup();
            Some(all)
        }
    }
}
