//! Gates whose literals and fields are numbers, and what is known of an event when they are asked.

use vidette_sigma::{Test, Truth};

/// The events' own columns that gates ask for; their fields have these numbers.
pub const COLUMNS: [&str; 3] = ["Channel", "Provider", "EventID"];

/// Whether the field is a column of all events, of which their class tells the literals.
pub fn is_own(field: u32) -> bool {
    (field as usize) < COLUMNS.len()
}

/// A gate whose literals and fields are numbers.
pub enum Resolved {
    Open,
    Shut,
    All(Vec<Resolved>),
    Any(Vec<Resolved>),
    Not(Box<Resolved>),
    /// One of the literals in the first field that is not empty: by field, in their order, the literals in it.
    Literals(Vec<(u32, Vec<u32>)>),
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

    fn has(&self, field: u32) -> bool {
        self.values[field as usize].0 == self.event
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
            Resolved::Literals(columns) => {
                // The first field that is not empty counts: one before may have another value.
                let mut counts = true;
                for (field, literals) in columns {
                    let has = known.has(*field);
                    if (has || is_own(*field)) && literals.iter().any(|literal| known.saw(*literal)) {
                        return if counts { Truth::Yes } else { Truth::Unknown };
                    }
                    counts &= !has;
                }
                absent
            }
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
            Resolved::Literals(columns) => match columns.as_slice() {
                [(_, literals)] => Truth::any(literals.iter().map(|literal| seen(*literal).map_or(Truth::Unknown, Truth::of))),
                _ => Truth::Unknown,
            },
        }
    }

    /// Calls `visit` with every field that must be looked at to tell.
    pub fn fields(&self, of: &[u32], visit: &mut dyn FnMut(u32)) {
        match self {
            Resolved::Open | Resolved::Shut => {}
            Resolved::All(parts) | Resolved::Any(parts) => parts.iter().for_each(|part| part.fields(of, visit)),
            Resolved::Not(part) => part.fields(of, visit),
            Resolved::Literals(columns) => columns.iter().for_each(|(field, _)| visit(*field)),
            Resolved::Anywhere(literal) => visit(of[*literal as usize]),
            Resolved::Test(fields, _) => fields.iter().for_each(|field| visit(*field)),
        }
    }
}

/// Alternatives; those that look for literals in the same fields are one.
pub fn merged(parts: impl Iterator<Item = Resolved>) -> Vec<Resolved> {
    let mut all: Vec<Resolved> = Vec::new();
    for part in parts {
        let same = |known: &Resolved| match (known, &part) {
            (Resolved::Literals(known), Resolved::Literals(columns)) => known.iter().map(|(field, _)| field).eq(columns.iter().map(|(field, _)| field)),
            _ => false,
        };
        match (all.iter().position(same).map(|at| &mut all[at]), part) {
            (Some(Resolved::Literals(known)), Resolved::Literals(columns)) => known.iter_mut().zip(columns).for_each(|((_, known), (_, literals))| known.extend(literals)),
            (_, part) => all.push(part),
        }
    }
    all
}

/// The cheapest literals of which one must occur; `None` when there are none.
pub fn triggers(gate: &Resolved, weights: &[f64]) -> Option<(f64, Vec<u32>)> {
    match gate {
        Resolved::Open | Resolved::Not(_) | Resolved::Test(..) => None,
        Resolved::Shut => Some((0.0, Vec::new())),
        Resolved::Anywhere(literal) => Some((weights[*literal as usize], vec![*literal])),
        Resolved::Literals(columns) => {
            let literals: Vec<u32> = columns.iter().flat_map(|(_, literals)| literals).copied().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_that_an_event_has_counts() {
        // `Image`, else `NewProcessName`, ends with a text: literals 0 and 1.
        let [image, process] = [COLUMNS.len(), COLUMNS.len() + 1];
        let gate = Resolved::Literals(vec![(image as u32, vec![0]), (process as u32, vec![1])]);
        let truth = |seen: [u64; 2], had: [u64; 2]| {
            let values = [0; COLUMNS.len()].iter().chain(&had).map(|event| (*event, String::new())).collect();
            gate.truth(&Known { event: 1, seen: seen.to_vec(), values, odd: false })
        };
        assert_eq!(truth([1, 0], [1, 0]), Truth::Yes);
        assert_eq!(truth([0, 1], [0, 1]), Truth::Yes);
        // `Image` is there, and may be another program or empty.
        assert_eq!(truth([0, 1], [1, 1]), Truth::Unknown);
        assert_eq!(truth([0, 0], [1, 1]), Truth::No);
    }
}
