//! What a challenge, a unit of a range and the help with a recovery cost, one core: microseconds each.
//!
//! `cargo bench -p floe-erasure --bench openings`. The machine's other work shows: compare within one run.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use floe_erasure::{
    Axis, Encoded, Grain, Layout, MemorySink, Options, PairIndex, Place, ReadAt, RootVector, SliverHashes, SliverId,
    encode, nth_chunk, open_chunk, recover_sliver, recovery_symbol, verify_chunk,
};

fn openings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("openings");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(900)).sample_size(30);
    for (n, bytes) in [(10_u16, 1_usize << 20), (100, 1 << 20), (1000, 1 << 20), (10, 16 << 20)] {
        let name = format!("n={n}/{}K", bytes >> 10);
        let options = Options::default();
        let blob: Vec<u8> = (0..bytes).map(|i| (i * i / 7) as u8).collect();
        let layout = Layout::new(n, bytes as u64).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let encoded = encode(&blob, bytes as u64, n, &sink, &options).unwrap();
        let (id, pair) = (encoded.blob_id(), PairIndex(n / 2));
        let fragment = sink.copy(encoded.fragment_offset(pair), layout.fragment_bytes() as usize).unwrap();
        let hashes = SliverHashes::of(&layout, pair, Axis::Primary, &fragment, &options).unwrap();
        let proof = encoded.proof(pair);
        let place = nth_chunk(&layout, Axis::Primary, 1).unwrap();
        let opened = open_chunk(&layout, &proof, place, &hashes, &fragment).unwrap();
        println!("{name}: a chunk is opened in {} bytes", opened.encode().len());
        group.bench_function(BenchmarkId::new("open chunk", &name), |bencher| {
            bencher.iter(|| open_chunk(&layout, &proof, place, &hashes, black_box(&fragment)).unwrap());
        });
        let units = hashes.clone().with_units(&layout, &fragment, &options).unwrap();
        group.bench_function(BenchmarkId::new("open chunk, units kept", &name), |bencher| {
            bencher.iter(|| open_chunk(&layout, &proof, place, &units, black_box(&fragment)).unwrap());
        });
        group.bench_function(BenchmarkId::new("verify chunk", &name), |bencher| {
            bencher.iter(|| verify_chunk(&id, &layout, pair, place, black_box(&opened)).unwrap());
        });
        let unit = Place { axis: Axis::Primary, symbol: 1, grain: Grain::Unit, part: 0 };
        let (part, opening) = hashes.open_part(&layout, unit, &fragment).unwrap();
        let checked = proof.clone().check(&id, &layout, pair).unwrap();
        group.bench_function(BenchmarkId::new("verify unit", &name), |bencher| {
            bencher.iter(|| checked.check_part(unit, black_box(part.clone()), &opening).unwrap());
        });
        for (what, target) in [("stored", 0), ("extension", n - 1)] {
            let target = SliverId { pair: PairIndex(target), axis: Axis::Primary };
            let mut symbol = Vec::with_capacity(layout.symbol_bytes() as usize);
            group.bench_function(BenchmarkId::new(format!("recovery symbol, {what}"), &name), |bencher| {
                bencher.iter(|| {
                    symbol.clear();
                    let ends = (black_box(&fragment) as &dyn ReadAt, &mut symbol as &mut dyn std::io::Write);
                    recovery_symbol(&layout, pair, target, ends, &options).unwrap();
                });
            });
        }
        recovering(&mut group, &name, &encoded, &sink);
        let proofs: Vec<_> = (0..layout.rows())
            .map(PairIndex)
            .map(|pair| encoded.proof(pair).check(&id, &layout, pair).unwrap())
            .collect();
        group.bench_function(BenchmarkId::new("vector of roots", &name), |bencher| {
            bencher.iter(|| RootVector::from_proofs(black_box(&proofs)).unwrap());
        });
    }
}

/// Both slivers of a pair from symbols in hand, root and all, as functions of slices.
fn recovering(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, encoded: &Encoded, sink: &MemorySink) {
    let (id, layout, options) = (encoded.blob_id(), encoded.layout(), Options::default());
    let proofs: Vec<_> =
        (0..layout.rows()).map(PairIndex).map(|pair| encoded.proof(pair).check(&id, &layout, pair).unwrap()).collect();
    let vector = RootVector::from_proofs(&proofs).unwrap();
    for axis in [Axis::Primary, Axis::Secondary] {
        let target = SliverId { pair: PairIndex(1), axis };
        let helpers = (2..layout.shards()).map(PairIndex);
        let symbols: Vec<(PairIndex, Vec<u8>)> = helpers
            .map(|helper| {
                let bytes = sink.copy(encoded.fragment_offset(helper), layout.fragment_bytes() as usize).unwrap();
                let mut symbol = Vec::new();
                recovery_symbol(&layout, helper, target, (&bytes, &mut symbol), &options).unwrap();
                (helper, symbol)
            })
            .collect();
        let symbols: Vec<(PairIndex, &dyn ReadAt)> =
            symbols.iter().map(|(helper, symbol)| (*helper, symbol as &dyn ReadAt)).collect();
        let out = MemorySink::new(layout.sliver_bytes(axis) as usize);
        group.bench_function(BenchmarkId::new(format!("rebuild {axis}"), name), |bencher| {
            bencher.iter(|| recover_sliver(&vector, target, black_box(&symbols), &out, &options).unwrap());
        });
    }
}

criterion_group!(benches, openings);
criterion_main!(benches);
