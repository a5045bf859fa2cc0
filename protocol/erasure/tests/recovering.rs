//! What is lost is rebuilt byte for byte, and whoever gave a wrong symbol for it is named.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod twin;

use std::sync::Arc;

use common::{Stored, shuffled};
use floe_erasure::{
    Attempt, Axis, CheckedProof, FragmentProof, Layout, MemorySink, Opening, Options, PairIndex, ReadAt, Recovery,
    RecoveryError, RootVector, RootsError, SliverId, recover_primary, recover_sliver, recovered_fragment,
    recovery_place, recovery_symbol, verify_fragment, verify_fragment_and_hash, verify_primary,
};
use proptest::prelude::*;

const SHAPES: [(u16, usize); 7] = [(4, 0), (4, 11), (7, 3000), (10, 77), (10, 100_003), (28, 40_001), (31, 700_000)];

fn options(memory_bytes_max: usize) -> Options<'static> {
    Options { memory_bytes_max, ..Options::default() }
}

fn vector(stored: &Stored, pairs: &[u16]) -> RootVector {
    let proofs: Vec<CheckedProof> = pairs.iter().map(|pair| stored.checked_proof(*pair)).collect();
    RootVector::from_proofs(&proofs).unwrap()
}

/// The symbol that a holder gives, and its opening.
fn help(stored: &Stored, helper: u16, target: SliverId, memory: usize) -> (Vec<u8>, Opening) {
    let (layout, own) = (stored.layout, PairIndex(helper));
    let mut symbol = Vec::new();
    recovery_symbol(&layout, own, target, (&stored.fragment(helper), &mut symbol), &options(memory)).unwrap();
    let place = recovery_place(&layout, target).unwrap();
    let opening = stored.hashes(SliverId { pair: own, axis: place.axis }).open_symbol(&layout, place.symbol).unwrap();
    (symbol, opening)
}

#[test]
fn vector_of_roots_comes_from_any_pieces_and_makes_every_proof() {
    for (n, length) in SHAPES {
        let stored = Stored::new(n, length);
        let p = usize::from(stored.layout.rows());
        for seed in 0..3 {
            let pairs = &shuffled(n, seed)[..p];
            let vector = vector(&stored, pairs);
            assert_eq!((vector.blob(), vector.layout()), (stored.blob, stored.layout));
            for pair in 0..n {
                let good = stored.proof(pair);
                let (primary, secondary) = (good.roots(Axis::Primary), good.roots(Axis::Secondary));
                assert_eq!(vector.proof(PairIndex(pair), primary, secondary), Some(good.clone()));
                assert_eq!(vector.proof(PairIndex(pair), secondary, primary), None);
                assert_eq!(vector.proof(PairIndex(n + pair), primary, secondary), None);
            }
            let few: Vec<CheckedProof> = pairs[1..].iter().map(|pair| stored.checked_proof(*pair)).collect();
            assert!(matches!(RootVector::from_proofs(&few), Err(RootsError::TooFew { .. })));
        }
        assert!(matches!(RootVector::from_proofs(&[]), Err(RootsError::TooFew { .. })));
        let other = Stored::new(n, length + 1);
        let mixed = [stored.checked_proof(0), other.checked_proof(1)];
        assert!(matches!(RootVector::from_proofs(&mixed), Err(RootsError::Mixed { pair: PairIndex(1) })));
    }
}

#[test]
fn helpers_symbols_are_those_of_the_twin() {
    for (n, length) in [(4, 11), (7, 300), (10, 5000), (28, 4000)] {
        let stored = Stored::new(n, length);
        let matrix = twin::matrix(&twin::source(&stored.bytes, usize::from(n)), usize::from(n));
        for helper in 0..n {
            for pair in 0..n {
                let (h, t) = (usize::from(helper), usize::from(pair));
                let secondary = SliverId { pair: PairIndex(pair), axis: Axis::Secondary };
                let primary = SliverId { pair: PairIndex(pair), axis: Axis::Primary };
                assert!(help(&stored, helper, secondary, 0).0 == matrix[h][usize::from(n) - 1 - t]);
                assert!(help(&stored, helper, primary, 1 << 20).0 == matrix[t][usize::from(n) - 1 - h]);
            }
        }
    }
}

#[test]
fn lost_fragments_are_rebuilt_byte_for_byte_with_their_proof() {
    for (n, length) in SHAPES {
        let stored = Stored::new(n, length);
        let layout = stored.layout;
        for lost in [0, n / 2, n - 1] {
            let pair = PairIndex(lost);
            let others: Vec<u16> = shuffled(n, u64::from(lost)).into_iter().filter(|pair| *pair != lost).collect();
            let vector = vector(&stored, &others[..usize::from(layout.rows())]);
            let mut slivers = Vec::new();
            for (axis, memory) in [(Axis::Secondary, 0), (Axis::Primary, 1 << 20)] {
                let target = SliverId { pair, axis };
                let symbols: Vec<(PairIndex, Vec<u8>)> = others
                    .iter()
                    .map(|helper| (PairIndex(*helper), help(&stored, *helper, target, memory).0))
                    .collect();
                let symbols: Vec<(PairIndex, &dyn ReadAt)> =
                    symbols.iter().map(|(helper, symbol)| (*helper, symbol as &dyn ReadAt)).collect();
                let out = MemorySink::new(layout.sliver_bytes(axis) as usize);
                let recovered = recover_sliver(&vector, target, &symbols, &out, &options(memory)).unwrap();
                assert!(out.into_bytes() == stored.sliver(target), "{n} shards, {length} bytes, {target}");
                assert_eq!(recovered.roots(), stored.proof(lost).roots(axis));
                assert_eq!(*recovered.hashes(), stored.hashes(target));
                slivers.push(recovered);
            }
            let (proof, checked) = recovered_fragment(&vector, &slivers[1], &slivers[0]).unwrap();
            assert_eq!(proof, stored.proof(lost));
            let fragment = stored.fragment(lost);
            let expected = verify_fragment(&stored.blob, &layout, pair, &proof, &fragment, &Options::default());
            assert_eq!(checked, expected.unwrap());
            assert!(recovered_fragment(&vector, &slivers[0], &slivers[1]).is_none());
        }
    }
}

/// Rebuilds both slivers of a pair as a node does: the secondary one first, which then helps with the primary.
fn rebuilt_pair(stored: &Stored, lost: u16) -> (FragmentProof, Vec<u8>, u64) {
    let (layout, pair) = (stored.layout, PairIndex(lost));
    let vector = Arc::new(vector(stored, &shuffled(layout.shards(), 3)[..usize::from(layout.rows())]));
    let fill = |recovery: &mut Recovery, target: SliverId| {
        for helper in shuffled(layout.shards(), 4).into_iter().filter(|helper| *helper != lost) {
            if recovery.missing() > 0 {
                let (fragment, mut symbol) = (stored.fragment(helper), Vec::new());
                let ends = (&fragment as &dyn ReadAt, &mut symbol as &mut dyn std::io::Write);
                recovery_symbol(&layout, PairIndex(helper), target, ends, &Options::default()).unwrap();
                recovery.offer(PairIndex(helper), symbol).unwrap();
            }
        }
        match recovery.attempt(&Options::default()).unwrap() {
            Attempt::Recovered { sliver, bytes } => (sliver, bytes),
            other => panic!("{other:?}"),
        }
    };
    let target = SliverId { pair, axis: Axis::Secondary };
    let mut first = Recovery::new(Arc::clone(&vector), target).unwrap();
    let (secondary, secondary_bytes) = fill(&mut first, target);
    let mut second = Recovery::after_secondary(Arc::clone(&vector), &secondary, &secondary_bytes).unwrap();
    assert_eq!(second.missing(), usize::from(layout.columns()) - 1);
    let (primary, primary_bytes) = fill(&mut second, SliverId { pair, axis: Axis::Primary });
    let (proof, checked) = recovered_fragment(&vector, &primary, &secondary).unwrap();
    assert_eq!(checked.pair(), pair);
    assert!(Recovery::after_secondary(vector, &primary, &primary_bytes).is_err());
    (proof, [primary_bytes, secondary_bytes].concat(), first.received_bytes() + second.received_bytes())
}

#[test]
fn a_pair_is_rebuilt_with_one_symbol_less_than_it_has() {
    for (n, length) in [(4, 11), (10, 5000), (31, 60_000), (1000, 1 << 20)] {
        let stored = Stored::new(n, length);
        for lost in [0, n / 2, n - 1] {
            let (proof, fragment, received) = rebuilt_pair(&stored, lost);
            assert_eq!(proof, stored.proof(lost));
            assert!(fragment == stored.fragment(lost), "{n} shards, {length} bytes, pair {lost}");
            assert_eq!(received, stored.layout.fragment_bytes() - stored.layout.symbol_bytes());
        }
    }
}

#[test]
fn hashes_come_with_the_check_of_a_fragment() {
    let stored = Stored::new(10, 5000);
    let pair = PairIndex(3);
    let checked = verify_fragment_and_hash(&stored.checked_proof(3), &stored.fragment(3), &Options::default());
    let (checked, primary, secondary) = checked.unwrap();
    assert_eq!(checked.blob(), stored.blob);
    assert_eq!(primary, stored.hashes(SliverId { pair, axis: Axis::Primary }));
    assert_eq!(secondary, stored.hashes(SliverId { pair, axis: Axis::Secondary }));
}

#[test]
fn primary_is_rebuilt_from_whole_primaries() {
    for (n, length) in SHAPES {
        let stored = Stored::new(n, length);
        let (layout, p) = (stored.layout, usize::from(stored.layout.rows()));
        let vector = vector(&stored, &shuffled(n, 1)[..p]);
        for (lost, memory) in [(0, 0), (n / 2, 100_000), (n - 1, 1 << 25)] {
            let sources: Vec<u16> = shuffled(n, 2).into_iter().filter(|pair| *pair != lost).take(p).collect();
            let bytes: Vec<Vec<u8>> = sources.iter().map(|pair| stored.fragment(*pair)).collect();
            let check = |(pair, bytes): (&u16, &Vec<u8>)| {
                let proof = stored.proof(*pair);
                verify_primary(&stored.blob, &layout, PairIndex(*pair), &proof, bytes, &options(0)).unwrap()
            };
            let checked: Vec<_> = sources.iter().zip(&bytes).map(check).collect();
            let slivers: Vec<_> = checked.iter().zip(&bytes).map(|(c, bytes)| (*c, bytes as &dyn ReadAt)).collect();
            let out = MemorySink::new(layout.primary_bytes() as usize);
            let recovered = recover_primary(&vector, PairIndex(lost), &slivers, &out, &options(memory)).unwrap();
            let target = SliverId { pair: PairIndex(lost), axis: Axis::Primary };
            assert_eq!(recovered.sliver(), target);
            assert!(out.into_bytes() == stored.sliver(target), "{n} shards, {length} bytes, memory {memory}");
            let few = recover_primary(&vector, PairIndex(lost), &slivers[1..], &MemorySink::new(0), &options(0));
            assert!(matches!(few, Err(RecoveryError::TooFew { .. })));
        }
    }
}

#[test]
fn bare_symbols_are_enough_when_all_are_honest() {
    let stored = Stored::new(100, 1 << 20);
    let layout = stored.layout;
    let vector = Arc::new(vector(&stored, &shuffled(100, 5)[..34]));
    for axis in [Axis::Secondary, Axis::Primary] {
        let target = SliverId { pair: PairIndex(17), axis };
        let mut recovery = Recovery::new(Arc::clone(&vector), target).unwrap();
        assert_eq!(Some(recovery.wanted()), recovery_place(&layout, target));
        let needed = recovery.missing();
        for helper in (0..100).filter(|helper| *helper != 17).take(needed) {
            assert!(matches!(recovery.attempt(&options(0)).unwrap(), Attempt::Short { .. }));
            recovery.offer(PairIndex(helper), help(&stored, helper, target, 1 << 20).0).unwrap();
        }
        let extra = recovery.offer(PairIndex(99), vec![0; layout.symbol_bytes() as usize]);
        assert!(matches!(extra, Err(RecoveryError::Enough)));
        let Attempt::Recovered { bytes, .. } = recovery.attempt(&Options::default()).unwrap() else {
            panic!("not recovered");
        };
        assert!(bytes == stored.sliver(target));
        assert_eq!(recovery.received_bytes(), layout.sliver_bytes(axis), "not a byte more than the sliver has");
    }
}

#[test]
fn liars_are_named_after_a_mismatch_and_the_rest_suffices() {
    for (n, length) in [(4, 11), (10, 5000), (31, 60_000)] {
        let stored = Stored::new(n, length);
        let layout = stored.layout;
        let vector = Arc::new(vector(&stored, &shuffled(n, 7)[..usize::from(layout.rows())]));
        for axis in [Axis::Secondary, Axis::Primary] {
            let target = SliverId { pair: PairIndex(1), axis };
            let mut recovery = Recovery::new(Arc::clone(&vector), target).unwrap();
            let mut helpers = shuffled(n, 9).into_iter();
            let liars: Vec<u16> = helpers.clone().take(usize::from(layout.faulty())).collect();
            let mut offer = |recovery: &mut Recovery| {
                while recovery.missing() > 0 {
                    let helper = helpers.next().unwrap();
                    let mut symbol = help(&stored, helper, target, 0).0;
                    symbol[0] ^= u8::from(liars.contains(&helper));
                    recovery.offer(PairIndex(helper), symbol).unwrap();
                }
            };
            offer(&mut recovery);
            let bytes = loop {
                match recovery.attempt(&Options::default()).unwrap() {
                    Attempt::Recovered { bytes, .. } => break bytes,
                    Attempt::Short { .. } => offer(&mut recovery),
                    Attempt::ProofsWanted { helpers } => {
                        for helper in helpers {
                            let opening = help(&stored, helper.0, target, 0).1;
                            let proven = recovery.prove(helper, stored.proof(helper.0), opening);
                            assert_eq!(proven.is_err(), liars.contains(&helper.0));
                        }
                    }
                    Attempt::Inconsistent { .. } => panic!("an honest blob"),
                }
            };
            assert!(bytes == stored.sliver(target));
            let mut named: Vec<u16> = recovery.unproven().map(|pair| pair.0).collect();
            named.sort_by_key(|pair| liars.iter().position(|liar| liar == pair));
            assert_eq!(named, liars);
        }
    }
}

#[test]
fn what_does_not_belong_into_a_recovery_is_refused() {
    let stored = Stored::new(10, 5000);
    let vector = Arc::new(vector(&stored, &[0, 1, 2, 3]));
    let target = SliverId { pair: PairIndex(4), axis: Axis::Secondary };
    let absent = SliverId { pair: PairIndex(10), axis: Axis::Primary };
    assert!(Recovery::new(Arc::clone(&vector), absent).is_err());
    for axis in [Axis::Primary, Axis::Secondary] {
        assert_eq!(recovery_place(&stored.layout, SliverId { pair: PairIndex(u16::MAX), axis }), None);
    }
    let mut recovery = Recovery::new(Arc::clone(&vector), target).unwrap();
    let symbol = help(&stored, 6, target, 0).0;
    assert!(matches!(recovery.offer(PairIndex(10), symbol.clone()), Err(RecoveryError::Helper { .. })));
    assert!(matches!(recovery.offer(PairIndex(6), vec![0; 3]), Err(RecoveryError::Symbol { actual: 3, .. })));
    assert!(matches!(recovery.offer(PairIndex(6), Vec::new()), Err(RecoveryError::Symbol { actual: 0, .. })));
    recovery.offer(PairIndex(6), symbol.clone()).unwrap();
    assert!(matches!(recovery.offer(PairIndex(6), symbol.clone()), Err(RecoveryError::Helper { .. })));
    let opening = help(&stored, 6, target, 0).1;
    let nobody = recovery.prove(PairIndex(5), stored.proof(5), opening.clone());
    assert!(matches!(nobody, Err(RecoveryError::Helper { .. })));
    // Another's proof, then nobody listens any more.
    let wrong = recovery.prove(PairIndex(6), stored.proof(7), opening);
    assert!(matches!(wrong, Err(RecoveryError::Unproven { helper: PairIndex(6) })));
    assert!(matches!(recovery.offer(PairIndex(6), symbol), Err(RecoveryError::Helper { .. })));

    let zeros = vec![0_u8; stored.layout.symbol_bytes() as usize];
    let symbols: Vec<(PairIndex, &dyn ReadAt)> = (0..4).map(|pair| (PairIndex(pair), &zeros as &dyn ReadAt)).collect();
    let out = MemorySink::new(stored.layout.secondary_bytes() as usize);
    let recover = |symbols: &[(PairIndex, &dyn ReadAt)], out: &MemorySink| {
        recover_sliver(&vector, target, symbols, out, &Options::default()).unwrap_err()
    };
    assert!(matches!(recover(&symbols, &out), RecoveryError::Mismatch { .. }));
    assert!(matches!(recover(&symbols[1..], &out), RecoveryError::TooFew { needed: 4, given: 3 }));
    assert!(matches!(recover(&symbols, &MemorySink::new(1)), RecoveryError::Write { .. }));
    let repeated = [symbols[0], symbols[0], symbols[1], symbols[2]];
    assert!(matches!(recover(&repeated, &out), RecoveryError::TooFew { needed: 4, given: 3 }));
    let short = vec![0_u8; 3];
    let unreadable = [symbols[0], symbols[1], symbols[2], (PairIndex(8), &short as &dyn ReadAt)];
    assert!(matches!(recover(&unreadable, &out), RecoveryError::Read { pair: PairIndex(8), .. }));
    let mut sink = Vec::new();
    let nobody =
        recovery_symbol(&stored.layout, PairIndex(10), target, (&stored.fragment(0), &mut sink), &Options::default());
    assert!(matches!(nobody, Err(RecoveryError::Helper { .. })));
    let proof: FragmentProof = stored.proof(0);
    assert!(proof.check(&stored.blob, &Layout::new(10, 5001).unwrap(), PairIndex(0)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_sliver_from_any_helpers(n in 4_u16..40, length in 0_usize..20_000, seed in any::<u64>(), memory in 0_usize..200_000) {
        let stored = Stored::new(n, length);
        let layout = stored.layout;
        let vector = vector(&stored, &shuffled(n, seed)[..usize::from(layout.rows())]);
        let axis = if seed % 2 == 0 { Axis::Primary } else { Axis::Secondary };
        let target = SliverId { pair: PairIndex((seed / 2 % u64::from(n)) as u16), axis };
        // The target's own pair is among them or not.
        let symbols: Vec<(PairIndex, Vec<u8>)> = shuffled(n, seed ^ 1)
            .into_iter()
            .take(usize::from(if axis == Axis::Primary { layout.columns() } else { layout.rows() }))
            .map(|helper| (PairIndex(helper), help(&stored, helper, target, memory).0))
            .collect();
        let symbols: Vec<(PairIndex, &dyn ReadAt)> =
            symbols.iter().map(|(helper, symbol)| (*helper, symbol as &dyn ReadAt)).collect();
        let out = MemorySink::new(layout.sliver_bytes(axis) as usize);
        let recovered = recover_sliver(&vector, target, &symbols, &out, &options(memory)).unwrap();
        prop_assert!(out.into_bytes() == stored.sliver(target));
        prop_assert_eq!(recovered.roots(), stored.proof(target.pair.0).roots(axis));
    }
}

#[test]
fn a_symbol_is_checked_by_its_opening_without_being_held_in_memory() {
    for (n, length) in [(4, 11), (10, 100_003), (28, 40_001)] {
        let stored = Stored::new(n, length);
        let (layout, helper) = (stored.layout, 1);
        for (lost, axis) in [(0, Axis::Primary), (n - 1, Axis::Primary), (0, Axis::Secondary), (n - 1, Axis::Secondary)]
        {
            let target = SliverId { pair: PairIndex(lost), axis };
            let place = recovery_place(&layout, target).unwrap();
            let (symbol, opening) = help(&stored, helper, target, 1 << 20);
            let proof = stored.checked_proof(helper);
            assert!(proof.check_symbol(place, &symbol, &opening).is_ok(), "{n} shards, {target}");
            let mut other = symbol.clone();
            other[0] ^= 1;
            assert!(proof.check_symbol(place, &other, &opening).is_err());
            assert!(proof.check_symbol(place, &&symbol[1..], &opening).is_err(), "too short");
            assert!(stored.checked_proof(2).check_symbol(place, &symbol, &opening).is_err(), "another's");
        }
    }
}
