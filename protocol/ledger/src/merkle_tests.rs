//! The map against a slow twin, and proofs against tampering.

use super::*;
use crate::state::MemoryState;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MAP: Map = Map::BySequence;

fn leaf(key: u16, value: u8) -> Leaf {
    let key = (u64::from(key) * 0x1_0001).to_be_bytes().to_vec();
    Leaf { key, value: value_hash(&[value]), weight: Weight { blobs: 1, bytes: u128::from(value) } }
}

fn built(entries: impl IntoIterator<Item = (u16, u8)>) -> MemoryState {
    let mut state = MemoryState::new();
    let mut overlay = Overlay::new(&state);
    for (key, value) in entries {
        put(&mut overlay, MAP, leaf(key, value)).unwrap();
    }
    let changes = overlay.into_changes();
    state.apply(&changes);
    state
}

#[test]
fn an_empty_map_proves_that_nothing_is_there() {
    let state = MemoryState::new();
    let proof = prove(&state, MAP, &[0; 8]).unwrap();
    assert_eq!(root(&state, MAP).unwrap().0, EMPTY);
    assert_eq!(proof.verify(&EMPTY, &[0; 8]), Ok(Presence::Absent));
    assert_eq!(proof.verify(&Root([1; 32]), &[0; 8]), Err(ProofError::OtherRoot));
}

#[test]
fn a_proof_that_was_touched_shows_nothing() {
    let state = built((0..200).map(|key| (key, key as u8)));
    let root = root(&state, MAP).unwrap().0;
    let key = leaf(77, 77).key;
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
    let state = built((0..50).map(|key| (key, 1)));
    let root = root(&state, MAP).unwrap().0;
    let other = prove(&state, MAP, &leaf(3, 1).key).unwrap();
    for key in (0..50).filter(|key| *key != 3) {
        assert_eq!(other.verify(&root, &leaf(key, 1).key), Err(ProofError::OtherPlace));
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

proptest! {
    #[test]
    fn the_map_is_its_entries_whatever_the_order(
        entries in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..60),
        removed in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        asked in proptest::collection::vec(any::<u16>(), 0..10),
        from: u16, to: u16,
    ) {
        let mut slow: BTreeMap<u16, u8> = entries.iter().copied().collect();
        let mut state = built(entries.clone());
        let mut overlay = Overlay::new(&state);
        for index in removed {
            if let Some((key, _)) = entries.get(index.index(entries.len().max(1))) {
                slow.remove(key);
                remove(&mut overlay, MAP, &leaf(*key, 0).key).unwrap();
            }
        }
        let changes = overlay.into_changes();
        state.apply(&changes);
        // The same map built in another order has the same nodes and nothing else.
        prop_assert_eq!(&state, &built(slow.clone().into_iter().rev()));
        let (top, weight) = root(&state, MAP).unwrap();
        prop_assert_eq!(weight.blobs, slow.len() as u64);
        for key in slow.keys().copied().chain(asked) {
            let expected = slow.get(&key).map(|value| leaf(key, *value));
            let found = prove(&state, MAP, &leaf(key, 0).key).unwrap().verify(&top, &leaf(key, 0).key);
            let expected = expected.map_or(Presence::Absent, |l| Presence::Present { value: l.value, weight: l.weight });
            prop_assert_eq!(found, Ok(expected));
        }
        let within = slow.iter().filter(|(key, _)| (from..=to).contains(key)).map(|(_, value)| u128::from(*value));
        let found = weigh(&state, MAP, &leaf(from, 0).key, &leaf(to, 0).key).unwrap();
        prop_assert_eq!(found.bytes, within.sum::<u128>());
    }
}
