//! Any text through lexer, parser and binder, and its diagnostics as people see them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vidette_kql::{Catalog, Feature, ScalarType, compile, render};

struct Tables;

impl Catalog for Tables {
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        use ScalarType::{Bool, DateTime, Dynamic, Int, Long, Real, String, TimeSpan};
        let columns = [("b", Bool), ("i", Int), ("n", Long), ("r", Real), ("s", String), ("t", DateTime), ("p", TimeSpan), ("d", Dynamic)];
        matches!(name, "T" | "U").then(|| columns.map(|(name, ty)| (name.to_owned(), ty)).to_vec())
    }

    fn table_names(&self) -> Vec<std::string::String> {
        vec!["T".to_owned(), "U".to_owned()]
    }

    fn runs(&self, _: Feature, _: &str) -> bool {
        true
    }
}

fuzz_target!(|text: &str| {
    let (_, diagnostics) = compile(text, &Tables);
    render(text, "q.kql", &diagnostics);
});
