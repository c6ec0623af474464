//! The literals of all rules in one field, looked for at once.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use vidette_kql::fold::folded;
use vidette_sigma::{Match, NEARLY_ASCII};

thread_local! {
    /// A value in lower case.
    static FOLDED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The literals that are looked for in one field.
#[derive(Default)]
pub struct Field {
    /// Those that may lie anywhere.
    texts: Vec<String>,
    by_text: HashMap<String, usize>,
    /// By text: the numbers of the literals.
    uses: Vec<Vec<u32>>,
    /// Made when the first value is looked at.
    automaton: OnceLock<Option<AhoCorasick>>,
    /// Those that a value begins with, or is.
    beginnings: Trie,
    /// Those that it ends with, read from their ends.
    ends: Trie,
    /// A test asks for its value.
    pub tested: bool,
}

impl Field {
    /// Texts of fewer letters make an automaton that is fast and still small.
    const FEW_LETTERS: usize = 4096;

    /// Looks for a text in lower case, too; the literal of this number is seen when it lies so.
    pub fn add(&mut self, text: &str, how: Match, literal: u32) {
        match how {
            Match::StartsWith | Match::Equals => return self.beginnings.add(text.bytes(), how, literal),
            Match::EndsWith => return self.ends.add(text.bytes().rev(), how, literal),
            Match::Contains => {}
        }
        let at = *self.by_text.entry(text.to_owned()).or_insert_with(|| {
            self.texts.push(text.to_owned());
            self.uses.push(Vec::new());
            self.texts.len() - 1
        });
        self.uses[at].push(literal);
    }

    /// Calls `visit` with every literal in a value; some of them more than once. Whether they could be looked for.
    pub fn find(&self, value: &str, visit: &mut dyn FnMut(u32)) -> bool {
        if value.is_ascii() { self.find_folded(value, visit) } else { self.find_folded(&folded(value), visit) }
    }

    /// Of a value whose letters beyond ASCII are lower-case.
    fn find_folded(&self, value: &str, visit: &mut dyn FnMut(u32)) -> bool {
        self.beginnings.find(value.bytes(), visit);
        self.ends.find(value.bytes().rev(), visit);
        if self.texts.is_empty() {
            return true;
        }
        // An automaton of one case is smaller and sooner made than one of both.
        let letters: usize = self.texts.iter().map(String::len).sum();
        let kind = if letters < Self::FEW_LETTERS { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let make = || AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(kind)).build(&self.texts);
        let Some(automaton) = self.automaton.get_or_init(|| make().ok()) else { return false };
        FOLDED.with_borrow_mut(|folded| {
            folded.clear();
            folded.push_str(value);
            folded.make_ascii_lowercase();
            for hit in automaton.find_overlapping_iter(folded.as_bytes()) {
                self.uses[hit.pattern().as_usize()].iter().for_each(|literal| visit(*literal));
            }
        });
        true
    }
}

/// Texts by their letters from one end: most values leave it after a few.
#[derive(Default)]
struct Trie(Vec<Node>);

#[derive(Default)]
struct Node {
    /// In order of the letters.
    next: Vec<(u8, u32)>,
    /// The literals of the text that ends here.
    literals: Vec<(Match, u32)>,
}

impl Trie {
    fn add(&mut self, text: impl Iterator<Item = u8>, how: Match, literal: u32) {
        if self.0.is_empty() {
            self.0.push(Node::default());
        }
        let mut at = 0;
        for letter in text {
            at = match self.0[at].next.binary_search_by_key(&letter, |(letter, _)| *letter) {
                Ok(found) => self.0[at].next[found].1 as usize,
                Err(place) => {
                    let node = self.0.len();
                    self.0[at].next.insert(place, (letter, node as u32));
                    self.0.push(Node::default());
                    node
                }
            };
        }
        self.0[at].literals.push((how, literal));
    }

    fn find(&self, mut value: impl Iterator<Item = u8>, visit: &mut dyn FnMut(u32)) {
        let Some(mut node) = self.0.first() else { return };
        loop {
            let letter = value.next().map(|letter| letter.to_ascii_lowercase());
            for (how, literal) in &node.literals {
                if *how != Match::Equals || letter.is_none() {
                    visit(*literal);
                }
            }
            let Some(letter) = letter else { return };
            let Ok(found) = node.next.binary_search_by_key(&letter, |(letter, _)| *letter) else { return };
            node = &self.0[node.next[found].1 as usize];
        }
    }
}

/// What was found in the values that a field had of late: logs repeat themselves.
#[derive(Default)]
pub struct Remembered(Vec<(String, Vec<u32>)>);

impl Remembered {
    const SLOTS: usize = 4096;
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

/// Letters that are ASCII ones to a regular expression without regard to case, or become two: what is found in such a value may not
/// be all.
pub fn is_odd(value: &str) -> bool {
    !value.is_ascii() && value.contains(NEARLY_ASCII)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_where_they_may_lie() {
        let mut field = Field::default();
        let all =
            [("cmd", Match::Contains), ("cmd.exe", Match::Equals), ("c:\\", Match::StartsWith), ("\\cmd.exe", Match::EndsWith), (".exe", Match::EndsWith), ("é", Match::EndsWith)];
        for (literal, (text, how)) in all.into_iter().enumerate() {
            field.add(text, how, literal as u32);
        }
        let found = |value: &str| {
            let mut found = Vec::new();
            assert!(field.find(value, &mut |literal| found.push(literal)));
            found.sort_unstable();
            found
        };
        assert_eq!(found("CMD.EXE"), [0, 1, 4]);
        assert_eq!(found(r"C:\Windows\Cmd.exe"), [0, 2, 3, 4]);
        assert_eq!(found("cmd.exe /c x"), [0]);
        assert_eq!((found("C:\\é"), found("c:\\É"), found(""), found("\u{e8}.ex")), (vec![2, 5], vec![2, 5], vec![], vec![]));
    }
}
