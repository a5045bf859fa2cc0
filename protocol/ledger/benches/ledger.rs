//! Blocks and boundaries on a state in memory. `cargo bench -p floe-ledger --features synthetic`
//!
//! The curve over the size of the state, with bytes a blob, is the example `curve`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use floe_ledger::synthetic;
use floe_ledger::*;
use floe_types::{AccountId, BlockTime, Epoch, Frost};

fn transfers(criterion: &mut Criterion) {
    const COUNT: usize = 4_000;
    let genesis = synthetic::genesis(100, 25, COUNT);
    let (context, state) = synthetic::founded(&genesis).unwrap();
    let sign = |at: usize| {
        let key = synthetic::user(at);
        let action = Action::Transfer { to: AccountId([9; 32]), amount: Frost(1) };
        let (network, sender, nonce, fee) = (context.network, AccountId(key.public()), 0, Frost(10_000));
        Transaction { network, sender, nonce, fee, action }.sign(&key).check(&context.network).unwrap()
    };
    let now = BlockTime(genesis.time.0 + 1);
    let all = (0..COUNT).map(sign).collect();
    let block = build_block(&state, &context, genesis.members[0].node, now, all).unwrap().block;
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(block.transactions.len() as u64)).sample_size(10);
    for (name, known) in [("transfers", false), ("transfers, known", true)] {
        let memo = memo::Memo::default();
        group.bench_function(name, |bencher| {
            let fresh = || {
                let memo = if known { memo.clone() } else { memo::Memo::default() };
                (Context { memo, ..context.clone() }, block.clone())
            };
            let check = |(context, block)| execute_decided(&state, &context, block).unwrap();
            bencher.iter_batched(fresh, check, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn boundary(criterion: &mut Criterion) {
    let genesis = synthetic::genesis(1_000, 100, 1);
    let (context, mut state) = synthetic::founded(&genesis).unwrap();
    let all: RowSet = (0..1_000).map(RowId).collect();
    synthetic::store(&mut state, &context, 100_000, |_| all.clone(), |_| Epoch(9)).unwrap();
    let time = BlockTime(genesis.time.0 + context.params.epoch_millis);
    criterion.bench_function("boundary, 100,000 blobs covered everywhere", |bencher| {
        bencher.iter(|| build_block(&state, &context, genesis.members[0].node, time, vec![]).unwrap());
    });
}

/// The rows that cover each blob.
type Covering = fn(u64) -> RowSet;

/// Runs of 256 lack eight of 31 shards, in 465 ways.
fn eight_missing(at: u64) -> RowSet {
    let run = at / 256;
    let (first, stride) = (run % 31, run / 31 % 15 + 1);
    let missing: Vec<u64> = (0..8).map(|step| (first + step * stride) % 31).collect();
    (0..31u32).filter(|row| !missing.contains(&u64::from(*row))).map(RowId).collect()
}

/// One blob in a hundred lacks up to three shards of its own: nearly five thousand classes.
fn gaps_of_their_own(at: u64) -> RowSet {
    let noise = at.wrapping_mul(0xd134_2543_de82_ef95) >> 20;
    let missing: Vec<u64> = (0..3).map(|part| (noise >> (10 * part)) % 31).collect();
    let lacks = |row: &u32| at % 100 == 7 && missing.contains(&u64::from(*row));
    (0..31u32).filter(|row| !lacks(row)).map(RowId).collect()
}

/// A million blobs at 31 members, with challenges, reports, risk and plan. With eight shards missing and four members silent all
/// of it is above its bound and is planned for; with gaps of their own and four silent every class is judged exactly.
fn repair(criterion: &mut Criterion) {
    const BLOBS: u64 = 1_000_000;
    let mut group = criterion.benchmark_group("boundary, 1,000,000 blobs, 31 members");
    group.sample_size(10);
    let cases: [(&str, Covering, usize); 4] = [
        ("465 classes, nothing decided", eight_missing, 31),
        ("465 classes under repair", eight_missing, 4),
        ("gaps of their own, all answer", gaps_of_their_own, 0),
        ("gaps of their own, four silent", gaps_of_their_own, 4),
    ];
    for (name, covering, silent) in cases {
        let genesis = synthetic::genesis(31, 31, 1);
        let (context, mut state) = synthetic::founded(&genesis).unwrap();
        synthetic::store(&mut state, &context, BLOBS, covering, |_| Epoch(999)).unwrap();
        let boundary = |state: &MemoryState| {
            let time = views::head(state).unwrap().epoch_ends(&context.params);
            build_block(state, &context, genesis.members[0].node, time, vec![]).unwrap()
        };
        synthetic::attend(&mut state, silent).unwrap();
        let header = boundary(&state).block.header.boundary.unwrap();
        println!("{name}: {:?}, {:?}", header.planned, header.tally);
        group.bench_function(name, |bencher| bencher.iter(|| boundary(&state)));
    }
    group.finish();
}

criterion_group!(benches, transfers, boundary, repair);
criterion_main!(benches);
