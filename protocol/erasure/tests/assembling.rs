//! Reads whose slivers come one by one, some of them wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod twin;

use common::Stored;
use floe_erasure::{
    Assembler, Axis, DecodeError, FragmentError, Layout, Options, PairIndex, SliverId, Taken, verify_primary,
};

const SHAPES: [(u16, usize); 6] = [(4, 0), (4, 11), (7, 3000), (10, 77), (28, 40_001), (31, 100_000)];

fn primary(pair: u16) -> SliverId {
    SliverId { pair: PairIndex(pair), axis: Axis::Primary }
}

fn secondary(pair: u16) -> SliverId {
    SliverId { pair: PairIndex(pair), axis: Axis::Secondary }
}

#[test]
fn rows_go_out_as_they_come_and_the_rest_when_there_are_enough() {
    let options = Options::default();
    for (n, length) in SHAPES {
        let stored = Stored::new(n, length);
        let p = stored.layout.rows();
        // The first row, a parity sliver, then all others from behind: row 1 is never there.
        let order: Vec<u16> = [0, n - 1].into_iter().chain((2..p).rev()).collect();
        let mut assembler = Assembler::new(&stored.blob, &stored.layout);
        let mut out = Vec::new();
        for (count, pair) in order.iter().copied().enumerate() {
            let bytes = stored.sliver(primary(pair));
            let taken = assembler.offer(primary(pair), &stored.proof(pair), bytes.clone(), &options).unwrap();
            assert_eq!(taken, Taken::Kept);
            assert_eq!(assembler.missing(Axis::Primary), usize::from(p) - count - 1);
            let again = assembler.offer(primary(pair), &stored.proof(pair), bytes, &options).unwrap();
            assert_eq!(again, Taken::Spare);
            let ready = assembler.ready_bytes();
            let written = assembler.write_ready(&mut out, &options).unwrap();
            assert_eq!(ready, out.len() as u64);
            assert!(written <= ready);
            let first_row = stored.layout.primary_bytes().min(length as u64);
            assert!(count + 1 == usize::from(p) || ready == first_row);
        }
        assert!(assembler.is_done() && out == stored.bytes, "{n} shards, {length} bytes");
        assert_eq!(assembler.write_ready(&mut out, &options).unwrap(), 0);
    }
}

#[test]
fn secondaries_finish_what_primaries_began() {
    let options = Options::default();
    for (n, length) in SHAPES {
        let stored = Stored::new(n, length);
        for memory_bytes_max in [0, 1 << 20] {
            let options = Options { memory_bytes_max, ..options };
            let mut assembler = Assembler::new(&stored.blob, &stored.layout);
            let mut out = Vec::new();
            assembler.offer(primary(0), &stored.proof(0), stored.sliver(primary(0)), &options).unwrap();
            assembler.write_ready(&mut out, &options).unwrap();
            for pair in 0..stored.layout.columns() {
                let bytes = stored.sliver(secondary(pair));
                assembler.offer(secondary(pair), &stored.proof(pair), bytes, &options).unwrap();
            }
            assembler.write_ready(&mut out, &options).unwrap();
            assert!(assembler.is_done() && out == stored.bytes, "{n} shards, {length} bytes");
        }
    }
}

#[test]
fn wrong_slivers_are_named_and_right_ones_are_taken_from_others() {
    let options = Options::default();
    let stored = Stored::new(10, 5000);
    let mut assembler = Assembler::new(&stored.blob, &stored.layout);
    let mut bad = stored.sliver(primary(2));
    bad[100] ^= 1;
    let error = assembler.offer(primary(2), &stored.proof(2), bad, &options).unwrap_err();
    assert_eq!(error.sliver, primary(2));
    assert!(matches!(error.error, FragmentError::Sliver { pair: PairIndex(2), axis: Axis::Primary }));
    let error = assembler.offer(secondary(4), &stored.proof(3), stored.sliver(secondary(4)), &options).unwrap_err();
    assert!(matches!(error.error, FragmentError::Proof { pair: PairIndex(4) }));
    let error = assembler.offer(primary(99), &stored.proof(3), Vec::new(), &options).unwrap_err();
    assert!(matches!(error.error, FragmentError::Pair { .. }));
    // Too short: the medium said so, nothing is known about the sliver.
    let error = assembler.offer(primary(1), &stored.proof(1), vec![0; 3], &options).unwrap_err();
    assert!(error.error.is_undecided());
    let named: Vec<SliverId> = assembler.wrong().map(|(sliver, _)| sliver).collect();
    assert_eq!(named, [primary(2), secondary(4)]);

    for pair in [2, 5, 7, 9] {
        assembler.offer(primary(pair), &stored.proof(pair), stored.sliver(primary(pair)), &options).unwrap();
    }
    let mut out = Vec::new();
    assembler.write_ready(&mut out, &options).unwrap();
    assert!(out == stored.bytes);

    let other = Stored::new(10, 5001);
    let sliver = other.sliver(primary(0));
    let checked = verify_primary(&other.blob, &other.layout, PairIndex(0), &other.proof(0), &sliver, &options).unwrap();
    let mixed = assembler.take_primary(checked, sliver);
    assert!(matches!(mixed, Err(DecodeError::Mixed { pair: PairIndex(0) })));
    assert_eq!(Layout::new(10, 5000).unwrap(), stored.layout);
}
