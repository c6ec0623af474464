//! What must occur in an event for a rule to match it. A gate lets every match through, and few other events.

/// How a literal lies in the value of a field. Case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    Contains,
    StartsWith,
    EndsWith,
    Equals,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// It cannot be told.
    Open,
    /// No event matches.
    Shut,
    All(Vec<Gate>),
    Any(Vec<Gate>),
    /// One of the fields holds the text, which is lower-case; `*` is the whole of the data, as JSON.
    Literal {
        fields: Vec<String>,
        text: String,
        how: Match,
    },
}

impl Gate {
    pub(crate) fn literal(fields: &[String], text: &str, how: Match) -> Gate {
        // Case beyond ASCII is not the same everywhere; what has none is.
        let has_case = |c: char| !c.is_ascii() && (!c.to_lowercase().eq([c]) || !c.to_uppercase().eq([c]));
        if fields.is_empty() || text.is_empty() || text.chars().any(has_case) {
            return Gate::Open;
        }
        // In JSON these are written otherwise.
        if fields[0] == "*" && (how != Match::Contains || text.contains(['\\', '"']) || text.chars().any(char::is_control)) {
            return Gate::Open;
        }
        Gate::Literal { fields: fields.to_vec(), text: text.to_ascii_lowercase(), how }
    }

    pub(crate) fn all(gates: Vec<Gate>) -> Gate {
        let mut kept = Vec::new();
        for gate in gates {
            match gate {
                Gate::Open => {}
                Gate::Shut => return Gate::Shut,
                Gate::All(more) => kept.extend(more),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Gate::Open,
            1 => kept.remove(0),
            _ => Gate::All(kept),
        }
    }

    pub(crate) fn any(gates: Vec<Gate>) -> Gate {
        let mut kept = Vec::new();
        for gate in gates {
            match gate {
                Gate::Open => return Gate::Open,
                Gate::Shut => {}
                Gate::Any(more) => kept.extend(more),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Gate::Shut,
            1 => kept.remove(0),
            _ => Gate::Any(kept),
        }
    }

    /// Whether the gate is open when `occurs` tells of each literal whether it is there.
    pub fn is_open(&self, occurs: &mut dyn FnMut(&[String], &str, Match) -> bool) -> bool {
        match self {
            Gate::Open => true,
            Gate::Shut => false,
            Gate::All(gates) => gates.iter().all(|gate| gate.is_open(occurs)),
            Gate::Any(gates) => gates.iter().any(|gate| gate.is_open(occurs)),
            Gate::Literal { fields, text, how } => occurs(fields, text, *how),
        }
    }
}
