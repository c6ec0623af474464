//! Queries for places without saved functions and without watchlists.

use crate::pack::Pack;
use std::collections::BTreeSet;
use vidette_kql::syntax::{LetValue, Statement};
use vidette_kql::{Watchlist, lex, parse};

/// A saved function of a pack.
pub struct Function {
    pub name: String,
    /// `(Start:datetime, End:datetime)`, without the brackets.
    pub parameters: String,
    /// What is between the braces.
    pub body: String,
    /// `Name = (…) { … }`
    text: String,
}

/// The saved functions of the pack, in their order, without comments.
pub fn functions(pack: &Pack) -> Vec<Function> {
    let mut all = Vec::new();
    for (_, text) in &pack.functions {
        for statement in parse(text).0.statements {
            let Statement::Let { name, value: LetValue::Function(function) } = statement else { continue };
            let text = without_comments(&text[name.span.start as usize..function.span.end as usize]);
            let (head, rest) = text.split_once('{').unwrap_or((&text, ""));
            let parameters = head.split_once('=').map_or("", |(_, list)| list.trim());
            let parameters = parameters.strip_prefix('(').and_then(|list| list.strip_suffix(')')).unwrap_or(parameters);
            let (parameters, body) = (parameters.to_owned(), rest.trim_end().trim_end_matches('}').trim_matches('\n').to_owned());
            all.push(Function { name: name.node, parameters, body, text });
        }
    }
    all
}

/// The text without its comments, and without the lines that hold nothing else.
fn without_comments(text: &str) -> String {
    let tokens = lex(text).0;
    let mut out = String::new();
    let mut at = 0;
    for token in tokens {
        let (start, end) = (token.span.start as usize, token.span.end as usize);
        // Between two tokens there is white space or a comment.
        let gap = &text[at..start.max(at)];
        out.push_str(&gap.split('\n').map(|line| line.split_once("//").map_or(line, |(before, _)| before)).collect::<Vec<_>>().join("\n"));
        out.push_str(&text[start..end]);
        at = end;
    }
    out.push_str(&text[at..]);
    out.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// The query with what it calls written before it: functions, and watchlists as `datatable`s.
pub fn standalone(pack: &Pack, query: &str) -> String {
    let functions = functions(pack);
    let mut needed = BTreeSet::new();
    let mut texts = vec![query.to_owned()];
    while let Some(text) = texts.pop() {
        for (at, function) in functions.iter().enumerate() {
            if calls(&text, &function.name) && needed.insert(at) {
                texts.push(function.text.clone());
            }
        }
    }
    let called: String = needed.iter().map(|at| format!("let {};\n", functions[*at].text)).collect();
    let mut body = format!("{called}{query}");
    let mut lists = String::new();
    for (alias, list) in &pack.watchlists {
        let call = format!("_GetWatchlist(\"{alias}\")");
        if body.contains(&call) {
            body = body.replace(&call, &format!("List_{alias}"));
            lists += &format!("let List_{alias} = {};\n", datatable(list));
        }
    }
    lists + &body
}

/// Whether a name is in the text as a word of its own.
fn calls(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
}

fn datatable(list: &Watchlist) -> String {
    let columns: Vec<String> = list.columns.iter().map(|name| format!("{name}:string")).collect();
    let cell = |cell: &String| format!("\"{}\"", cell.replace('\\', "\\\\").replace('"', "\\\""));
    let rows: Vec<String> = list.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(",")).collect();
    format!("datatable({})[\n{}\n]", columns.join(", "), rows.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_come_with_what_they_call_and_lists_become_tables() {
        let text = "// All.\nlet A = (x:long) { // one\n    x + 1 };\nlet B = (T:(y:long)) { T | extend z = A(y), u = \"http://h\" };\nlet C = () { 1 };\n";
        let list = Watchlist { columns: vec!["Host".to_owned()], rows: vec![vec!["a\"b".to_owned()]] };
        let pack = Pack { functions: vec![(String::new(), text.to_owned())], watchlists: vec![("W".to_owned(), list)], ..Pack::default() };
        assert_eq!(
            standalone(&pack, "_GetWatchlist(\"W\") | extend y = 1 | invoke B()"),
            "let List_W = datatable(Host:string)[\n\"a\\\"b\"\n];\nlet A = (x:long) { \n    x + 1 };\nlet B = (T:(y:long)) { T | extend z = A(y), u = \"http://h\" };\nList_W | extend y = 1 | invoke B()"
        );
        assert_eq!(functions(&pack)[0].parameters, "x:long");
        assert_eq!(functions(&pack)[2].body.trim(), "1");
    }
}
