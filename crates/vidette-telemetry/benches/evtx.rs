//! EVTX to rows. Give a folder of real files in `VIDETTE_BENCH_EVTX`; without it the JSON samples are read.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::path::PathBuf;
use vidette_telemetry::{Normalizer, Reading, harvest};

fn size(path: &std::path::Path) -> u64 {
    if path.is_dir() { std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum() } else { path.metadata().map_or(0, |meta| meta.len()) }
}

fn bench(criterion: &mut Criterion) {
    let given = std::env::var_os("VIDETTE_BENCH_EVTX").map(PathBuf::from);
    let (name, folder) = match given {
        Some(folder) => ("evtx to rows", folder),
        None => ("samples to rows", PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples"))),
    };
    let mut group = criterion.benchmark_group("harvest");
    group.throughput(Throughput::Bytes(size(&folder))).sample_size(10);
    group.bench_function(name, |bencher| {
        bencher.iter(|| harvest(std::slice::from_ref(&folder), &Normalizer::new(|_, _| true), Reading::default(), &mut |_| {}).expect("the folder exists"))
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
