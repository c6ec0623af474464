//! Reads `{"id","query"}` lines and prints, for each, the syntax diagnostics: a bench for parse agreement.
use std::io::BufRead;
fn main() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let value: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let (_, diagnostics) = vidette_kql::parse(value["query"].as_str().unwrap_or_default());
        println!("{}", serde_json::json!({"id": value["id"], "diagnostics": diagnostics}));
    }
}
