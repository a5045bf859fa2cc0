//! How fast blobs are encoded, identified, verified and decoded, in bytes of the blob.
//!
//! Every name says what is done, with how many shards, threads and bytes: `encode/n=31/t=1/16MiB`. Memory is
//! that of the options' default. `verify` is all fragments as holders check them; `read` checks and decodes `p`
//! systematic slivers, `decode` is decoding alone: from the systematic, with one missing, with all missing. What these are
//! to the machine's floor is for the `table` benchmark.

#![allow(missing_docs)] // What criterion's macros make.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use floe_erasure::{
    CheckedPrimary, Encoded, Layout, MemorySink, Options, PairIndex, Part, ReadAt, decode, encode, identify,
    verify_fragment, verify_primary,
};

const SHARDS: [u16; 4] = [10, 31, 100, 1000];
const SIZES: [(&str, usize); 4] = [("64KiB", 1 << 16), ("1MiB", 1 << 20), ("16MiB", 1 << 24), ("256MiB", 1 << 28)];

fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn options(threads: usize) -> Options<'static> {
    Options { threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN), ..Options::default() }
}

fn encoded(blob: &[u8], n: u16) -> (Encoded, Vec<u8>) {
    let layout = Layout::new(n, blob.len() as u64).expect("a layout");
    let sink = MemorySink::new(layout.encoded_bytes() as usize);
    let encoded = encode(&blob, blob.len() as u64, n, &sink, &options(2)).expect("memory does not fail");
    (encoded, sink.into_bytes())
}

/// Calls `each` with every shape, as a benchmark group of `name`.
fn shapes(
    criterion: &mut Criterion,
    name: &str,
    mut each: impl FnMut(&mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>, u16, &str, &[u8]),
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (size, length) in SIZES {
        let blob = bytes(length);
        group.throughput(Throughput::Bytes(length as u64));
        for n in SHARDS {
            each(&mut group, n, size, &blob);
        }
    }
}

fn encoding(criterion: &mut Criterion) {
    shapes(criterion, "encode", |group, n, size, blob| {
        let layout = Layout::new(n, blob.len() as u64).expect("a layout");
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        for threads in [1, 2] {
            group.bench_function(BenchmarkId::new(format!("n={n}/t={threads}"), size), |bencher| {
                bencher.iter(|| encode(black_box(&blob), blob.len() as u64, n, &sink, &options(threads)));
            });
        }
    });
    shapes(criterion, "identify", |group, n, size, blob| {
        for threads in [1, 2] {
            group.bench_function(BenchmarkId::new(format!("n={n}/t={threads}"), size), |bencher| {
                bencher.iter(|| identify(black_box(&blob), blob.len() as u64, n, &options(threads)));
            });
        }
    });
}

/// Checks the primary slivers of some pairs.
fn checked<'a>(encoded: &Encoded, parts: &'a [(PairIndex, Part<'a>)]) -> Vec<(CheckedPrimary, &'a dyn ReadAt)> {
    let (blob, layout) = (encoded.blob_id(), encoded.layout());
    let check = |(pair, part): &'a (PairIndex, Part<'a>)| {
        let proof = encoded.proof(*pair);
        let checked = verify_primary(&blob, &layout, *pair, &proof, part, &options(1)).expect("an honest sliver");
        (checked, part as &dyn ReadAt)
    };
    parts.iter().map(check).collect()
}

fn checking(criterion: &mut Criterion) {
    shapes(criterion, "verify", |group, n, size, blob| {
        let (encoded, fragments) = encoded(blob, n);
        let (id, layout) = (encoded.blob_id(), encoded.layout());
        group.bench_function(BenchmarkId::new(format!("n={n}/t=1"), size), |bencher| {
            bencher.iter(|| {
                for pair in (0..n).map(PairIndex) {
                    let part = Part::new(&fragments, encoded.fragment_offset(pair));
                    let result = verify_fragment(&id, &layout, pair, &encoded.proof(pair), &part, &options(1));
                    black_box(result).expect("an honest fragment");
                }
            });
        });
    });
}

fn reading(criterion: &mut Criterion) {
    shapes(criterion, "decode", |group, n, size, blob| {
        let (encoded, fragments) = encoded(blob, n);
        let (layout, p) = (encoded.layout(), encoded.layout().rows());
        let mut out = Vec::with_capacity(blob.len());
        let cases = [("systematic", 0..p), ("one missing", 1..p + 1), ("all missing", n - p..n)];
        for (name, pairs) in cases {
            let place = |pair| (PairIndex(pair), Part::new(&fragments, encoded.fragment_offset(PairIndex(pair))));
            let parts: Vec<(PairIndex, Part<'_>)> = pairs.map(place).collect();
            let slivers = checked(&encoded, &parts);
            group.bench_function(BenchmarkId::new(format!("n={n}/{name}"), size), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    decode(&layout, &slivers, &mut out, &options(1)).expect("enough slivers");
                });
            });
            if name == "systematic" {
                group.bench_function(BenchmarkId::new(format!("n={n}/verify and read"), size), |bencher| {
                    bencher.iter(|| {
                        out.clear();
                        let slivers = checked(&encoded, &parts);
                        decode(&layout, &slivers, &mut out, &options(1)).expect("enough slivers");
                    });
                });
            }
        }
    });
}

criterion_group!(benches, encoding, checking, reading);
criterion_main!(benches);
