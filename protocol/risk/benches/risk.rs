//! Both tails of one class and a boundary of many. `cargo bench -p floe-risk`
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use floe_risk::hazard::{Experience, Presence};
use floe_risk::loss::{Load, Scratch, Thresholds};
use floe_risk::params::{Life, Params};
use floe_risk::planner::{Class, CoveringRow, Decision, Flag, Group, Network, Node, NodeIndex, RowKind, decide};
use floe_risk::probability::Probability;
use floe_risk::reliability::Reliability;
use floe_types::{Epoch, EpochCount, ShardIndex};
use std::hint::black_box;

fn tails(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("both tails");
    for (nodes, domains) in [(10u16, 5u16), (31, 5), (100, 10), (100, 100), (1_000, 50)] {
        let faulty = u32::from((nodes - 1) / 3);
        let at = Thresholds { loss: 2 * faulty + 1, margin: faulty + 1 };
        let shocks = vec![Probability::ratio_up(6, 100_000); usize::from(domains)];
        let mut scratch = Scratch::new();
        group.bench_function(format!("n={nodes}, {domains} domains"), |bencher| {
            bencher.iter(|| {
                scratch.clear();
                for node in 0..nodes {
                    let loss = Probability::ratio_up(6 + u64::from(node % 7), 2_160);
                    // In the order of their domains, as the planner gives them.
                    scratch.add(Load { domain: node / nodes.div_ceil(domains), weight: 1, loss });
                }
                black_box(scratch.tails(&shocks, at))
            });
        });
    }
    group.finish();
}

/// A hundred nodes of one seat, three of them silent.
fn network() -> Network {
    let node = |at: u16| Node {
        domain: at % 10,
        presence: if at % 33 == 7 { Presence::Silent(EpochCount(2)) } else { Presence::Answering },
        reliability: Reliability::FULL,
        room: 1 << 20,
        hosted: 0,
    };
    let seats = (0..100).map(NodeIndex).collect();
    Network::new(&Params::standard(), (0..100).map(node).collect(), seats, &Experience::default()).unwrap()
}

/// A class with two gaps of which one is at a stand-in's: it must be judged exactly.
fn pattern(number: u16) -> Class {
    let (one, other) = (number % 100, (number / 100 + 1 + number % 100) % 100);
    let seat = |shard: u16| CoveringRow { shard: ShardIndex(shard), holder: NodeIndex(shard), kind: RowKind::Seat };
    let mut rows: Vec<CoveringRow> = (0..100).filter(|shard| *shard != one && *shard != other).map(seat).collect();
    rows.push(CoveringRow { shard: ShardIndex(one), holder: NodeIndex((one + 50) % 100), kind: RowKind::StandIn });
    let groups = vec![Group { rotation: 0, life: Life::Lasting, blobs: 200 }];
    Class { rows, gaps: vec![], open: vec![], flag: Flag::Calm, groups }
}

fn boundary(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("boundary, n=100");
    group.sample_size(10);
    let classes: Vec<Class> = (0..5_000).map(pattern).collect();
    let network_then = network();
    group.bench_function("5,000 patterns, both constraints", |bencher| {
        bencher.iter(|| decide(&network_then, Decision::Decided, Epoch(500), black_box(&classes)).unwrap());
    });
    group.bench_function("the network itself", |bencher| bencher.iter(network));
    group.finish();
}

criterion_group!(benches, tails, boundary);
criterion_main!(benches);
