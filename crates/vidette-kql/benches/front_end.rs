//! Lexer, parser and binder on a rule of the pack and on a machine-made one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use vidette_kql::{Catalog, Feature, ScalarType, compile, lex, parse};

struct AnyTable;

impl Catalog for AnyTable {
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        let text = ["DeviceName", "ActionType", "RemoteUrl", "FileName", "ProcessCommandLine"].map(|column| (column.to_owned(), ScalarType::String));
        name.starts_with("Device").then(|| text.into_iter().chain([("Timestamp".to_owned(), ScalarType::DateTime)]).collect())
    }

    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn runs(&self, _: Feature, _: &str) -> bool {
        true
    }
}

const RULE: &str = r#"let Hosts = dynamic(["pastebin.com", "api.telegram.org", "discord.com"]);
DeviceNetworkEvents
| where Timestamp > ago(24h) and ActionType == "ConnectionSuccess" // outbound only
| where RemoteUrl has_any (Hosts) or FileName in~ ("curl.exe", "powershell.exe")
| extend Host = tolower(tostring(parse_url(RemoteUrl).Host)), Encoded = ProcessCommandLine matches regex @"(?i)\s-e[a-z]*\s+[a-z0-9+/=]{40,}"
| summarize Events = count(), First = min(Timestamp), Last = max(Timestamp), Hosts = make_set(Host, 20) by DeviceName, FileName, bin(Timestamp, 1h)
| where Events > 3
| sort by Last desc
"#;

fn bench(criterion: &mut Criterion) {
    let terms: Vec<String> = (0..2000).map(|n| format!("FileName == \"tool{n}.exe\"")).collect();
    let chain = format!("DeviceProcessEvents | where {}", terms.join(" or "));
    for (name, text) in [("rule", RULE), ("2000 terms", &chain)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("lex", |bencher| bencher.iter(|| lex(black_box(text))));
        group.bench_function("parse", |bencher| bencher.iter(|| parse(black_box(text))));
        group.bench_function("compile", |bencher| bencher.iter(|| compile(black_box(text), &AnyTable)));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
