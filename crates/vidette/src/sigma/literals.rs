//! The literals of all rules in one field, looked for at once.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use vidette_sigma::{Match, NEARLY_ASCII};

/// The literals that are looked for in one field.
#[derive(Default)]
pub struct Field {
    texts: Vec<String>,
    by_text: HashMap<String, usize>,
    /// By text: how it may lie, and the number of the literal.
    uses: Vec<Vec<(Match, u32)>>,
    /// Made when the first value is looked at.
    automaton: OnceLock<Option<AhoCorasick>>,
    /// A test asks for its value.
    pub tested: bool,
}

impl Field {
    /// Looks for a text, too; the literal of this number is seen when it lies so.
    pub fn add(&mut self, text: &str, how: Match, literal: u32) {
        let at = *self.by_text.entry(text.to_owned()).or_insert_with(|| {
            self.texts.push(text.to_owned());
            self.uses.push(Vec::new());
            self.texts.len() - 1
        });
        self.uses[at].push((how, literal));
    }

    /// Calls `visit` with every literal in a value; some of them more than once. Whether they could be looked for.
    pub fn find(&self, value: &str, visit: &mut dyn FnMut(u32)) -> bool {
        if self.texts.is_empty() {
            return true;
        }
        let make = || AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::ContiguousNFA)).build(&self.texts);
        let Some(automaton) = self.automaton.get_or_init(|| make().ok()) else { return false };
        for hit in automaton.find_overlapping_iter(value) {
            for (how, literal) in &self.uses[hit.pattern().as_usize()] {
                let lies = match how {
                    Match::Contains => true,
                    Match::StartsWith => hit.start() == 0,
                    Match::EndsWith => hit.end() == value.len(),
                    Match::Equals => hit.start() == 0 && hit.end() == value.len(),
                };
                if lies {
                    visit(*literal);
                }
            }
        }
        true
    }
}

/// What was found in the values that a field had of late: logs repeat themselves.
#[derive(Default)]
pub struct Remembered(Vec<(String, Vec<u32>)>);

impl Remembered {
    const SLOTS: usize = 256;
    const LONGEST: usize = 1024;

    /// The literals in a value of the field; `None` when they could not be looked for.
    pub fn find(&mut self, field: &Field, value: &str) -> Option<&[u32]> {
        if self.0.is_empty() {
            self.0.resize_with(Self::SLOTS + 1, Default::default);
        }
        let hash = foldhash::fast::FixedState::default().hash_one(value);
        let slot = if value.len() > Self::LONGEST { Self::SLOTS } else { hash as usize % Self::SLOTS };
        let (known, literals) = &mut self.0[slot];
        if known != value {
            literals.clear();
            known.clear();
            let found = field.find(value, &mut |literal| literals.push(literal));
            literals.sort_unstable();
            literals.dedup();
            if !found {
                return None;
            }
            known.push_str(value);
        }
        Some(literals)
    }
}

/// Letters that no search for ASCII finds, though they are the same to KQL.
pub fn is_odd(value: &str) -> bool {
    !value.is_ascii() && value.contains(NEARLY_ASCII)
}
