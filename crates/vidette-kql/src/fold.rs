//! Texts in one case: what `=~`, `has`, `contains` and their kind compare.
//!
//! No page says how Kusto folds letters beyond ASCII: here each letter is its lower-case form by Unicode, and both forms of a small
//! sigma are one, since they are one capital.

/// Appends the text in lower case, letter by letter.
pub fn fold_into(text: &str, folded: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !byte.is_ascii()) {
        let (ascii, other) = rest.split_at(at);
        push_lowercase(ascii, folded);
        let end = other.bytes().position(|byte| byte.is_ascii()).unwrap_or(other.len());
        let (other, after) = other.split_at(end);
        folded.extend(other.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }));
        rest = after;
    }
    push_lowercase(rest, folded);
}

fn push_lowercase(ascii: &str, folded: &mut String) {
    let start = folded.len();
    folded.push_str(ascii);
    folded[start..].make_ascii_lowercase();
}

/// The text in lower case, letter by letter.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    folded
}
