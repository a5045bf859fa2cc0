//! The map against a slow twin, and proofs against tampering.

use super::*;
use crate::merkle::{Presence, ProofError, list_root};
use crate::state::MemoryState;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MAP: Map = Map::ById;

fn key(key: u16) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    // Near neighbours in front, so that pages are skipped and split, and something far behind.
    bytes[4..6].copy_from_slice(&key.to_be_bytes());
    bytes[30..].copy_from_slice(&key.to_le_bytes());
    bytes
}

fn weight(value: u8) -> Weight {
    Weight { blobs: 1, bytes: u128::from(value), fragment_bytes: 2 * u64::from(value) }
}

fn put(overlay: &mut Overlay<'_>, at: u16, value: u8) {
    let place = Table::Blobs.key(&[&key(at)]);
    let known = overlay.get(&place).unwrap().is_some();
    let novelty = if known { Novelty::Known } else { Novelty::New };
    overlay.put(place, vec![value]);
    overlay.put_leaf(MAP, key(at), Put { value: vec![value], weight: weight(value), novelty });
}

/// The state after these entries, flushed after every `every` of them.
fn built(entries: impl IntoIterator<Item = (u16, u8)>, every: usize) -> MemoryState {
    let mut state = MemoryState::new();
    let entries: Vec<_> = entries.into_iter().collect();
    for block in entries.chunks(every) {
        let mut overlay = Overlay::new(&state);
        for (at, value) in block {
            put(&mut overlay, *at, *value);
        }
        flush(&mut overlay).unwrap();
        let changes = overlay.into_changes();
        state.apply(&changes);
    }
    state
}

#[test]
fn an_empty_map_proves_that_nothing_is_there() {
    let state = MemoryState::new();
    let proof = prove(&state, MAP, &[0; 32]).unwrap();
    assert_eq!(root(&state, MAP).unwrap().0, EMPTY);
    assert_eq!(proof.verify(&EMPTY, &[0; 32]), Ok(Presence::Absent));
    assert_eq!(proof.verify(&Root([1; 32]), &[0; 32]), Err(ProofError::OtherRoot));
}

#[test]
fn a_proof_that_was_touched_shows_nothing() {
    let state = built((0..200).map(|key| (key, key as u8)), 50);
    let root = root(&state, MAP).unwrap().0;
    let key = key(77);
    let good = prove(&state, MAP, &key).unwrap();
    assert!(matches!(good.verify(&root, &key), Ok(Presence::Present { .. })));
    let mut tampered = Vec::new();
    for at in 0..good.path.len() {
        let mut other = good.clone();
        other.path[at].sibling.0[0] ^= 1;
        tampered.push(other);
        let mut other = good.clone();
        other.path[at].weight.blobs += 1;
        tampered.push(other);
        let mut other = good.clone();
        other.path[at].weight.fragment_bytes += 1;
        tampered.push(other);
        let mut other = good.clone();
        other.path[at].split += 1;
        tampered.push(other);
        let mut other = good.clone();
        other.path.remove(at);
        tampered.push(other);
    }
    let leaf_of = |change: fn(&mut Leaf)| {
        let mut other = good.clone();
        change(other.leaf.as_mut().unwrap());
        other
    };
    tampered.push(leaf_of(|leaf| leaf.value.0[31] ^= 1));
    tampered.push(leaf_of(|leaf| leaf.weight.bytes += 1));
    tampered.push(leaf_of(|leaf| leaf.key[7] ^= 1));
    tampered.push(leaf_of(|leaf| leaf.key.push(0)));
    tampered.push(MapProof { leaf: None, path: Vec::new() });
    for proof in tampered {
        assert!(proof.verify(&root, &key).is_err(), "{proof:?}");
    }
}

#[test]
fn the_leaf_of_another_key_does_not_show_absence() {
    let state = built((0..50).map(|key| (key, 1)), 7);
    let root = root(&state, MAP).unwrap().0;
    let other = prove(&state, MAP, &key(3)).unwrap();
    for at in (0..50).filter(|at| *at != 3) {
        assert_eq!(other.verify(&root, &key(at)), Err(ProofError::OtherPlace));
    }
}

#[test]
fn lists_of_other_length_or_order_have_other_roots() {
    let items: Vec<[u8; 1]> = (0..9).map(|item| [item]).collect();
    let mut roots = vec![list_root(&[items[1], items[0]]), list_root::<[u8; 1]>(&[])];
    roots.extend((1..9).map(|count| list_root(&items[..count])));
    let distinct: std::collections::BTreeSet<_> = roots.iter().collect();
    assert_eq!(distinct.len(), roots.len());
}

/// The table of `state`, and the pages built from it anew.
fn rebuilt(state: &MemoryState) -> MemoryState {
    let mut changes = crate::ChangeSet::new();
    let mut builder = Builder::new(MAP);
    let mut put = |key, value| {
        changes.0.insert(key, Some(value));
        Ok(())
    };
    for (key, value) in Table::Blobs.all(state, &[]).unwrap() {
        builder.add(Leaf { key, value: value_hash(&value), weight: weight(value[0]) }, &mut put).unwrap();
    }
    assert_eq!(builder.finish(&mut put).unwrap(), root(state, MAP).unwrap().0);
    for (key, value) in Table::Blobs.all(state, &[]).unwrap() {
        changes.0.insert(Table::Blobs.key(&[&key]), Some(value));
    }
    let mut rebuilt = MemoryState::new();
    rebuilt.apply(&changes);
    rebuilt
}

/// The tree as the definition has it: no pages, no state.
fn slow_root(leaves: &[(Vec<u8>, u8)]) -> Option<(Root, Weight)> {
    let (first, last) = (leaves.first()?, leaves.last()?);
    if leaves.len() == 1 {
        let leaf = Leaf { key: first.0.clone(), value: value_hash(&[first.1]), weight: weight(first.1) };
        return Some((leaf.hash(), leaf.weight));
    }
    let split = (0..256u16).find(|at| (bit(&first.0, *at) == Side::Left) != (bit(&last.0, *at) == Side::Left))?;
    let (left, right) = leaves.split_at(leaves.partition_point(|leaf| bit(&leaf.0, split) == Side::Left));
    let (left, right) = (slow_root(left)?, slow_root(right)?);
    Some((node_hash(split, left, right), left.1.plus(right.1)))
}

proptest! {
    #[test]
    fn the_map_is_its_entries_whatever_the_order_and_the_blocks(
        entries in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..60),
        (every, other) in (1usize..9, 1usize..70),
        asked in proptest::collection::vec(any::<u16>(), 0..10),
    ) {
        let slow: BTreeMap<u16, u8> = entries.iter().copied().collect();
        let state = built(entries.clone(), every);
        // The same map built in another order and at once has the same pages and nothing else.
        prop_assert_eq!(&state, &built(slow.clone().into_iter().rev(), other));
        prop_assert_eq!(&state, &rebuilt(&state));
        let top = root(&state, MAP).unwrap();
        let mut leaves: Vec<_> = slow.iter().map(|(at, value)| (key(*at), *value)).collect();
        leaves.sort();
        prop_assert_eq!(top, slow_root(&leaves).unwrap_or_default());
        for at in slow.keys().copied().chain(asked) {
            let found = prove(&state, MAP, &key(at)).unwrap().verify(&top.0, &key(at));
            let present = |value: &u8| Presence::Present { value: value_hash(&[*value]), weight: weight(*value) };
            prop_assert_eq!(found, Ok(slow.get(&at).map_or(Presence::Absent, present)));
        }
    }

    #[test]
    fn ranges_weigh_what_is_in_them(
        numbers in proptest::collection::btree_map(0u64..40_000, any::<u8>(), 0..60),
        starts in proptest::collection::btree_set(prop_oneof![0u64..40_000, Just(u64::MAX)], 0..12),
    ) {
        let mut state = MemoryState::new();
        let mut overlay = Overlay::new(&state);
        for (number, value) in &numbers {
            overlay.put(Table::Sequence.number(*number), vec![]);
            let put = Put { value: vec![*value], weight: weight(*value), novelty: Novelty::New };
            overlay.put_leaf(Map::BySequence, number.to_be_bytes().to_vec(), put);
        }
        flush(&mut overlay).unwrap();
        let changes = overlay.into_changes();
        state.apply(&changes);
        let starts: Vec<u64> = starts.into_iter().collect();
        let ends = starts.iter().skip(1).copied().chain([u64::MAX]);
        let slow = starts.iter().zip(ends).map(|(start, end)| {
            let within = numbers.iter().filter(|(number, _)| (*start..end).contains(number));
            within.fold(Weight::default(), |sum, (_, value)| sum.plus(weight(*value)))
        });
        let slow: Vec<Weight> = slow.collect();
        prop_assert_eq!(weights(&state, &starts).unwrap(), slow);
        // Each number has as many bytes as it weighs, in the order of numbers.
        let bytes = numbers.iter().flat_map(|(number, value)| vec![*number; 2 * usize::from(*value)]);
        let bytes: Vec<u64> = bytes.collect();
        for at in (0..bytes.len()).step_by(37).chain(bytes.len().checked_sub(1)) {
            prop_assert_eq!(at_byte(&state, at as u64).unwrap(), Some(SequenceNumber(bytes[at])));
        }
        for beyond in [bytes.len() as u64, u64::MAX] {
            prop_assert_eq!(at_byte(&state, beyond).unwrap(), None);
        }
    }
}
