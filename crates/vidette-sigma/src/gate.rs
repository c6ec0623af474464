//! What of a rule can be told from the values of an event alone, without its query.
//!
//! A gate says of an event that the rule matches, that it does not, or that only the query can tell.

use crate::source::Origin;
use regex::Regex;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// Letters whose other case is ASCII: the signs of kelvin and of the long s, and a dotted capital i.
pub const NEARLY_ASCII: [char; 3] = ['\u{212a}', '\u{17f}', '\u{130}'];

/// How a literal lies in the value of a field. Case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    Contains,
    StartsWith,
    EndsWith,
    Equals,
}

/// A test of one value; an absent field is the empty text.
#[derive(Clone, Debug)]
pub enum Test {
    IsEmpty,
    Regex(Arc<Pattern>),
    /// The text with this case.
    Cased(String, Match),
    /// It is an address in one of the networks.
    Within(Vec<Network>),
    /// As a number it stands so to another.
    Number(Ordering, bool, f64),
}

/// A regular expression, compiled when the first value is tested: of thousands few ever are.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    /// `None` when the crate cannot read it.
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), compiled: OnceLock::new() }
    }

    /// Of one that cannot be read only the query tells.
    fn holds(&self, value: &str) -> Truth {
        match self.compiled.get_or_init(|| Regex::new(&self.text).ok()) {
            Some(regex) => Truth::of(regex.is_match(value)),
            None => Truth::Unknown,
        }
    }
}

/// A network of either family; one of IPv4 is among the mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    bits: u32,
    is_v6: bool,
}

impl Network {
    /// `a.b.c.d/n` or its like of IPv6.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = text.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        Some(match address.parse().ok()? {
            IpAddr::V4(address) if bits <= 32 => Network { address: address.to_ipv6_mapped().into(), bits: bits + 96, is_v6: false },
            IpAddr::V6(address) if bits <= 128 && !text.contains('.') => Network { address: address.into(), bits, is_v6: true },
            _ => return None,
        })
    }

    /// What `ipv4_is_in_range` and `ipv6_is_in_range` say of a plain address; they know further forms.
    fn hold(networks: &[Network], value: &str) -> Truth {
        if value.is_empty() {
            return Truth::No;
        }
        let (address, is_v6): (u128, bool) = match value.parse() {
            Ok(IpAddr::V4(address)) => (address.to_ipv6_mapped().into(), false),
            Ok(IpAddr::V6(_)) if value.contains('.') => return Truth::Unknown,
            Ok(IpAddr::V6(address)) => (address.into(), true),
            Err(_) => return Truth::Unknown,
        };
        Truth::of(networks.iter().any(|network| (network.is_v6 || !is_v6) && network.has(address)))
    }

    fn has(&self, address: u128) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
        address & mask == self.address & mask
    }
}

#[derive(Clone, Debug)]
pub enum Gate {
    /// Only the query can tell.
    Open,
    /// No event matches.
    Shut,
    /// Every event when it is empty.
    All(Vec<Gate>),
    Any(Vec<Gate>),
    Not(Box<Gate>),
    /// The field holds the text in any case; the first field that is not empty is the one that counts. `*` is the whole
    /// of the data, as JSON: that a text is in there only the query can tell, that it is not, the gate.
    Literal {
        fields: Vec<String>,
        text: String,
        how: Match,
    },
    /// A test of the first field that is not empty.
    Test {
        fields: Vec<String>,
        test: Test,
    },
}

/// What is known of a predicate: Kleene's logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    No,
    Unknown,
    Yes,
}

impl Truth {
    pub fn of(truth: bool) -> Truth {
        if truth { Truth::Yes } else { Truth::No }
    }

    pub fn negated(self) -> Truth {
        match self {
            Truth::No => Truth::Yes,
            Truth::Unknown => Truth::Unknown,
            Truth::Yes => Truth::No,
        }
    }

    pub fn all(mut truths: impl Iterator<Item = Truth>) -> Truth {
        let mut least = Truth::Yes;
        while least > Truth::No {
            let Some(truth) = truths.next() else { break };
            least = least.min(truth);
        }
        least
    }

    pub fn any(mut truths: impl Iterator<Item = Truth>) -> Truth {
        let mut most = Truth::No;
        while most < Truth::Yes {
            let Some(truth) = truths.next() else { break };
            most = most.max(truth);
        }
        most
    }
}

impl Test {
    pub fn holds(&self, value: &str) -> Truth {
        Truth::of(match self {
            Test::Within(networks) => return Network::hold(networks, value),
            Test::Regex(pattern) => return pattern.holds(value),
            Test::Number(order, or_equal, number) => {
                // Of what is no plain number the query tells.
                const DIGITS: usize = 15;
                let plain = !value.is_empty() && value.len() <= DIGITS && value.bytes().all(|byte| byte.is_ascii_digit());
                let Some(found) = value.parse::<f64>().ok().filter(|_| plain).and_then(|value| value.partial_cmp(number)) else { return Truth::Unknown };
                found == *order || *or_equal && found == Ordering::Equal
            }
            Test::IsEmpty => value.is_empty(),
            Test::Cased(text, Match::Contains) => value.contains(text),
            Test::Cased(text, Match::StartsWith) => value.starts_with(text),
            Test::Cased(text, Match::EndsWith) => value.ends_with(text),
            Test::Cased(text, Match::Equals) => value == text,
        })
    }
}

impl Gate {
    pub(crate) fn literal(fields: &[String], text: &str, how: Match) -> Gate {
        if fields.is_empty() || text.is_empty() || text.contains(NEARLY_ASCII) {
            return Gate::Open;
        }
        if fields[0] == "*" {
            // In JSON some characters are written otherwise: what stands between them must occur.
            let longest = text.split(|c: char| matches!(c, '\\' | '"') || c.is_control()).max_by_key(|part| part.len()).unwrap_or_default();
            // Signs that JSON itself is made of are always there.
            let is_json = longest.chars().all(|c| matches!(c, ':' | ',' | '{' | '}' | '[' | ']'));
            if is_json || how != Match::Contains {
                return Gate::Open;
            }
            return Gate::Literal { fields: fields.to_vec(), text: longest.to_owned(), how };
        }
        Gate::Literal { fields: fields.to_vec(), text: text.to_owned(), how }
    }

    /// That the field has one of the texts somewhere; every event has it when there are none, or when one of them cannot be looked for.
    pub(crate) fn any_literal(fields: &[String], texts: &[String]) -> Gate {
        let gates: Vec<Gate> = texts.iter().map(|text| Gate::literal(fields, text, Match::Contains)).collect();
        if gates.is_empty() || gates.iter().any(|gate| matches!(gate, Gate::Open)) { Gate::All(Vec::new()) } else { Gate::any(gates) }
    }

    /// A test beside what must occur for it to hold.
    pub(crate) fn test(fields: &[String], test: Test, needs: Gate) -> Gate {
        if fields.is_empty() || fields[0] == "*" {
            return Gate::all(vec![needs, Gate::Open]);
        }
        Gate::all(vec![needs, Gate::Test { fields: fields.to_vec(), test }])
    }

    pub(crate) fn regex(fields: &[String], expression: &str, needs: Gate) -> Gate {
        Gate::test(fields, Test::Regex(Arc::new(Pattern::new(expression))), needs)
    }

    pub(crate) fn all(gates: Vec<Gate>) -> Gate {
        let mut kept = Vec::new();
        for gate in gates {
            match gate {
                Gate::Shut => return Gate::Shut,
                Gate::All(more) => kept.extend(more),
                other => kept.push(other),
            }
        }
        if kept.len() == 1 { kept.remove(0) } else { Gate::All(kept) }
    }

    pub(crate) fn any(gates: Vec<Gate>) -> Gate {
        let mut kept = Vec::new();
        for gate in gates {
            match gate {
                Gate::Shut => {}
                Gate::Any(more) => kept.extend(more),
                // An address is read once for all networks.
                Gate::Test { fields, test: Test::Within(more) } => match kept.last_mut() {
                    Some(Gate::Test { fields: before, test: Test::Within(networks) }) if *before == fields => networks.extend(more),
                    _ => kept.push(Gate::Test { fields, test: Test::Within(more) }),
                },
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Gate::Shut,
            1 => kept.remove(0),
            _ => Gate::Any(kept),
        }
    }

    /// The gate of one field's value, which may be chosen by another.
    pub(crate) fn or_chosen(self, origin: &Origin) -> Gate {
        let Some(choice) = &origin.choice else { return self };
        let is_empty = Gate::Test { fields: origin.names.clone(), test: Test::IsEmpty };
        let is_chosen = Gate::literal(std::slice::from_ref(&choice.field), &choice.value, Match::Equals);
        let when = |text: &str| match self.truth_of(text) {
            Truth::Yes => Gate::All(Vec::new()),
            Truth::Unknown => Gate::Open,
            Truth::No => Gate::Shut,
        };
        let (then, otherwise) = (when(&choice.then), when(&choice.otherwise));
        Gate::any(vec![
            Gate::all(vec![is_empty.clone().negated(), self]),
            Gate::all(vec![is_empty.clone(), is_chosen.clone(), then]),
            Gate::all(vec![is_empty, is_chosen.negated(), otherwise]),
        ])
    }

    /// What the gate of one field says of an ASCII text in it.
    fn truth_of(&self, value: &str) -> Truth {
        match self {
            Gate::Open => Truth::Unknown,
            Gate::Shut => Truth::No,
            Gate::All(parts) => Truth::all(parts.iter().map(|part| part.truth_of(value))),
            Gate::Any(parts) => Truth::any(parts.iter().map(|part| part.truth_of(value))),
            Gate::Not(part) => part.truth_of(value).negated(),
            Gate::Literal { text, how, .. } => Test::Cased(text.to_ascii_lowercase(), *how).holds(&value.to_ascii_lowercase()),
            Gate::Test { test, .. } => test.holds(value),
        }
    }

    pub(crate) fn negated(self) -> Gate {
        Gate::Not(Box::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_networks() {
        use Truth::{No, Unknown, Yes};
        let holds = |network: &str, value: &str| Test::Within(vec![Network::parse(network).expect("a network")]).holds(value);
        assert_eq!((holds("10.0.0.0/8", "10.1.2.3"), holds("10.0.0.0/8", "11.1.2.3"), holds("0.0.0.0/0", "1.2.3.4")), (Yes, No, Yes));
        assert_eq!((holds("10.0.0.0/8", "fe80::1"), holds("10.0.0.0/8", ""), holds("10.0.0.0/8", "10.1.2.3/32")), (No, No, Unknown));
        assert_eq!((holds("fe80::/10", "fe80::1"), holds("fe80::/10", "10.1.2.3"), holds("::1/128", "::1")), (Yes, No, Yes));
        assert_eq!((holds("::/0", "::ffff:1.2.3.4"), Network::parse("10.0.0.0"), Network::parse("10.0.0.0/33")), (Unknown, None, None));
    }

    #[test]
    fn a_field_may_be_chosen_by_another() {
        let choice = crate::Choice { field: "Direction".to_owned(), value: "%%14593".to_owned(), then: "true".to_owned(), otherwise: "false".to_owned() };
        let origin = Origin { names: vec!["Initiated".to_owned()], choice: Some(choice) };
        let gate = Gate::literal(&origin.names, "True", Match::Equals).or_chosen(&origin);
        let Gate::Any(ways) = &gate else { panic!("{gate:?}") };
        // What is not chosen for is no way to match.
        assert_eq!(ways.len(), 2);
        assert!(matches!(&ways[1], Gate::All(parts) if matches!(&parts[1], Gate::Literal { fields, .. } if fields[0] == "Direction")), "{gate:?}");
    }

    #[test]
    fn what_is_unknown_decides_nothing() {
        use Truth::{No, Unknown, Yes};
        assert_eq!(Truth::all([Yes, Unknown].into_iter()), Unknown);
        assert_eq!(Truth::all([Unknown, No].into_iter()), No);
        assert_eq!(Truth::any([Unknown, Yes].into_iter()), Yes);
        assert_eq!(Truth::any([No, Unknown].into_iter()), Unknown);
        assert_eq!((Truth::all([].into_iter()), Truth::any([].into_iter()), Unknown.negated()), (Yes, No, Unknown));
    }
}
