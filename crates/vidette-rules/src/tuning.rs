//! Tuning: entries of the watchlist `Tuning` lower the score of what an organization knows to be benign.

use crate::rule::RuleProblem;
use serde_json::{Map, Value};
use vidette_kql::Watchlist;
use vidette_kql::time::parse_datetime;

/// The columns of the watchlist, in their order.
pub const COLUMNS: [&str; 12] =
    ["Service", "FileName", "FolderPathPrefix", "Signer", "AccountName", "DeviceGroup", "ParentFileName", "CommandRegex", "ScoreDelta", "Owner", "Reason", "Expires"];

/// What [`COLUMNS`] ask of the watchlist `Tuning`, see `vet`; any other list is left as it is.
pub fn vet_if_tuning(alias: &str, list: &mut Watchlist, now_ticks: i64) -> Vec<RuleProblem> {
    if alias == "Tuning" { vet(alias, list, now_ticks) } else { Vec::new() }
}

/// Takes out the entries that would hide attacks, and says which, and which have expired.
///
/// A name of a program or of its parent alone is refused: any program can be called so. It needs the program's folder or its
/// signer. An entry needs a service, something else that narrows it, an owner, a reason, and a day on which it expires.
fn vet(file: &str, list: &mut Watchlist, now_ticks: i64) -> Vec<RuleProblem> {
    let mut problems = Vec::new();
    let place = |name: &str| list.columns.iter().position(|column| column == name);
    let places: Vec<Option<usize>> = COLUMNS.iter().map(|name| place(name)).collect();
    let mut line = 1;
    list.rows.retain(|row| {
        line += 1;
        let cell = |name: &str| COLUMNS.iter().position(|column| *column == name).and_then(|at| places[at]).and_then(|at| row.get(at)).map_or("", |text| text.trim());
        let mut report = |message: String, fatal: bool| problems.push(RuleProblem { file: file.to_owned(), message: format!("line {line}: {message}"), fatal });
        match wrong(&cell) {
            Some(message) => {
                report(format!("entry refused: {message}"), true);
                return false;
            }
            None => {
                if parse_datetime(cell("Expires")).is_some_and(|expires| expires < now_ticks) {
                    report(format!("entry expired on {}: {}", cell("Expires"), cell("Reason")), false);
                }
            }
        }
        true
    });
    problems
}

/// Why an entry is no good.
fn wrong<'r>(cell: &dyn Fn(&str) -> &'r str) -> Option<String> {
    let narrowed = ["FolderPathPrefix", "Signer", "AccountName", "DeviceGroup", "CommandRegex"].iter().any(|name| !cell(name).is_empty());
    let named = !cell("FileName").is_empty() || !cell("ParentFileName").is_empty();
    let placed = !cell("FolderPathPrefix").is_empty() || !cell("Signer").is_empty();
    if cell("Service").is_empty() {
        return Some("it names no Service".to_owned());
    }
    if named && !placed {
        return Some("any program can bear a name; give FolderPathPrefix or Signer as well".to_owned());
    }
    if !narrowed {
        return Some("it would lower every score of the service".to_owned());
    }
    if !cell("ScoreDelta").parse::<i64>().is_ok_and(|delta| (-100..0).contains(&delta)) {
        return Some(format!("ScoreDelta is a number from -100 to -1, not `{}`", cell("ScoreDelta")));
    }
    if let Some(empty) = ["Owner", "Reason"].iter().find(|name| cell(name).is_empty()) {
        return Some(format!("it has no {empty}"));
    }
    if parse_datetime(cell("Expires")).is_none() {
        return Some(format!("Expires is a day such as 2027-01-31, not `{}`", cell("Expires")));
    }
    None
}

/// An entry that would lower the score of the row below 45, as narrow as the row allows; by column.
pub fn propose(row: &Map<String, Value>, owner: &str, reason: &str, expires: &str) -> Vec<(&'static str, String)> {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let services: Vec<&str> = row.get("Services").and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    let path = text("FolderPath").to_lowercase();
    let folder = path.rfind(['\\', '/']).map_or(String::new(), |at| path[..=at].to_owned());
    let score = row.get("Score").and_then(Value::as_i64).unwrap_or(100);
    COLUMNS
        .into_iter()
        .map(|column| {
            let value = match column {
                "Service" => common_start(&services),
                "FileName" => text("FileName").to_lowercase(),
                "FolderPathPrefix" => folder.clone(),
                "AccountName" => text("AccountName"),
                "CommandRegex" => script_of(&text("CommandLine")).unwrap_or_default(),
                "ScoreDelta" => (40 - score).min(-1).to_string(),
                "Owner" => owner.to_owned(),
                "Reason" => reason.to_owned(),
                "Expires" => expires.to_owned(),
                _ => String::new(),
            };
            (column, value)
        })
        .collect()
}

/// What the names of all services begin with, by words.
fn common_start(services: &[&str]) -> String {
    let Some((first, others)) = services.split_first() else { return String::new() };
    let mut words: Vec<&str> = first.split(' ').collect();
    while !others.iter().all(|other| other.starts_with(&words.join(" "))) {
        words.pop();
    }
    words.join(" ")
}

/// A regular expression for the script that a command line names.
fn script_of(command: &str) -> Option<String> {
    let word = command.split([' ', '"', '\'']).find(|word| {
        let lower = word.to_lowercase();
        [".ps1", ".py", ".js", ".vbs", ".bat", ".cmd", ".sh", ".pl", ".rb"].iter().any(|end| lower.ends_with(end))
    })?;
    let escaped: String = word.chars().flat_map(|c| if c.is_alphanumeric() || c == '_' || c == ' ' || c == ':' { vec![c] } else { vec!['\\', c] }).collect();
    Some(format!("(?i){escaped}(\\s|\"|$)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vetted(row: &str) -> (usize, Vec<String>) {
        let mut list = crate::pack::watchlist(&format!("{}\n{row}\n", COLUMNS.join(",")));
        let problems = vet("Tuning.csv", &mut list, parse_datetime("2026-06-01").unwrap());
        (list.rows.len(), problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn entries_that_would_hide_attacks_are_refused() {
        assert_eq!(
            vetted("Dropbox,backup.exe,,,,,,,-40,it,nightly,2027-01-01"),
            (0, vec!["line 2: entry refused: any program can bear a name; give FolderPathPrefix or Signer as well".to_owned()])
        );
        assert_eq!(vetted("Dropbox,,,,,,,,-40,it,nightly,2027-01-01").0, 0);
        assert_eq!(vetted("Dropbox,,c:\\x\\,,,,,,40,it,nightly,2027-01-01").0, 0);
        assert_eq!(vetted("Dropbox,backup.exe,c:\\x\\,,,,,,-40,it,nightly,never").0, 0);
        assert_eq!(vetted("Dropbox,backup.exe,c:\\x\\,,,,,,-40,it,nightly,2027-01-01"), (1, vec![]));
        assert_eq!(vetted("Dropbox,backup.exe,c:\\x\\,,,,,,-40,it,nightly,2026-01-01"), (1, vec!["line 2: entry expired on 2026-01-01: nightly".to_owned()]));
    }

    #[test]
    fn a_proposal_is_as_narrow_as_the_alert() {
        let row: Map<String, Value> = serde_json::from_str(
            r#"{"Services": ["Dropbox API", "Dropbox content API"], "FileName": "Python.exe", "FolderPath": "C:\\Feeds\\python.exe", "Score": 85, "AccountName": "svc", "CommandLine": "python.exe C:\\Feeds\\pull.py -x"}"#,
        )
        .unwrap();
        let entry = propose(&row, "me", "why", "2027-01-01");
        let cells: Vec<&str> = entry.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(cells, ["Dropbox", "python.exe", "c:\\feeds\\", "", "svc", "", "", "(?i)C:\\\\Feeds\\\\pull\\.py(\\s|\"|$)", "-45", "me", "why", "2027-01-01"]);
    }
}
