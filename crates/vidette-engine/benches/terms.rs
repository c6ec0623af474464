//! `has_any` with 40 terms over command lines: a plain column, and one of few distinct values as a dictionary; and path
//! access into dynamic values.

use arrow::array::{ArrayRef, StringDictionaryBuilder, StringViewArray};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::catalog::MemTable;
use std::sync::Arc;
use vidette_engine::{Clock, Table, Workspace};
use vidette_kql::ScalarType;

const ROWS: usize = 200_000;
const BATCH: usize = 8192;

fn command(n: usize) -> String {
    format!(r#""C:\Program Files\App{}\tool-{}.exe" --config C:\Users\user{}\settings.json --url https://host{}.example/path/{n}"#, n % 97, n % 13, n % 211, n % 1009)
}

fn workspace(array: impl Fn(std::ops::Range<usize>) -> ArrayRef, ty: ScalarType) -> Workspace {
    let first = array(0..1);
    let schema = Arc::new(Schema::new(vec![Field::new("c", first.data_type().clone(), false)]));
    let batches = (0..ROWS).step_by(BATCH).map(|start| RecordBatch::try_new(schema.clone(), vec![array(start..(start + BATCH).min(ROWS))]).expect("one column")).collect();
    let provider = MemTable::try_new(schema, vec![batches]).expect("a table");
    let mut workspace = Workspace::default();
    workspace.register("T", Table::new(Arc::new(provider), vec![("c".to_owned(), ty)]));
    workspace
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let terms: Vec<String> = (0..40).map(|n| format!("\"needle{n}\"")).collect();
    let query = format!("T | where c has_any ({}) | count", terms.join(", "));
    let plain = workspace(|rows| Arc::new(StringViewArray::from_iter_values(rows.map(command))), ScalarType::String);
    let few = workspace(
        |rows| {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            rows.for_each(|n| builder.append_value(command(n % 500)));
            Arc::new(builder.finish())
        },
        ScalarType::String,
    );
    let bags =
        workspace(|rows| Arc::new(StringViewArray::from_iter_values(rows.map(|n| format!(r#"{{"a":{{"b":{n}}},"pad":"{}","z":"x"}}"#, "p".repeat(300))))), ScalarType::Dynamic);
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    let clock = Clock::now();
    let mut run = |name: &str, workspace: &Workspace, query: &str| {
        group.bench_function(name, |bencher| bencher.iter(|| runtime.block_on(workspace.query(query, clock)).expect("the query runs")));
    };
    run("has_any of 40, plain", &plain, &query);
    run("has_any of 40, 500 distinct as dictionary", &few, &query);
    run("has, plain", &plain, "T | where c has 'needle' | count");
    run("two dynamic paths", &bags, "T | where c.a.b == 5 or c.z == 'y' | count");
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
