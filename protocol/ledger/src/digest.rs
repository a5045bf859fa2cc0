//! The state root: a hash of *all* entries of the state at once, kept up to date by what a block changes.
//!
//! ```text
//!   sum  = Σ expand(key, value) over all counted entries      1,024 lanes of 16 bits, each added modulo 2^16
//!   root = H(network, sum)
//! ```
//!
//! An entry that changes takes its old expansion out and puts its new one in, so a block costs two expansions for every
//! entry that it changes in the end, however often it changed on the way. The sum does not depend on the order of
//! entries and falls apart into sums over parts: a snapshot cut into chunks is checked chunk by chunk against the sums in
//! its manifest, and the manifest against the signed root.
//!
//! # Why it is sound
//! LtHash (Bellare and Micciancio 1997; Lewi, Kim, Maykov, Weis, ePrint 2019/227): two different sets of entries with one
//! sum are a short solution of a random lattice problem, with 16 bits and 1,024 lanes above 200 bits of security. Sums wrap
//! when one entry is counted 2^16 times, so whoever adds up parts must see to it that none has an entry twice and that
//! they are fewer than that.
//!
//! # What is not counted
//! The head, which holds the root; the sum itself; the pages of the Merkle maps, which follow from the entries of the maps
//! (`pages_build`) and whose roots stand in every header; and the history of accounts, which is each node's own beside
//! the state. Everything else is: an entry that differs anywhere gives another root.

use crate::merkle::Root;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::NetworkId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Lanes of a sum.
pub const LANES: usize = 1024;
/// Entries whose values before a block are read at once.
const AT_ONCE: usize = 4096;
/// Bytes of a sum.
pub const SUM_BYTES: usize = 2 * LANES;

/// The sum over a set of entries.
#[derive(Clone, PartialEq, Eq)]
pub struct Sum(Box<[u16; LANES]>);

impl Default for Sum {
    fn default() -> Sum {
        Sum(Box::new([0; LANES]))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sum({:04x}{:04x}..)", self.0[0], self.0[1])
    }
}

/// Expands entries. Making one costs a hash, so that one is made for many entries.
pub struct Expander {
    start: blake3::Hasher,
    bytes: Box<[u8; SUM_BYTES]>,
}

impl Default for Expander {
    fn default() -> Expander {
        let start = blake3::Hasher::new_derive_key("floe 1 ledger: state entry");
        Expander { start, bytes: Box::new([0; SUM_BYTES]) }
    }
}

impl Expander {
    fn expand(&mut self, key: &[u8], value: &[u8]) -> &[[u8; 2]] {
        let mut hasher = self.start.clone();
        // The key's length first: no two entries give the same bytes.
        hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(value);
        hasher.finalize_xof().fill(&mut self.bytes[..]);
        self.bytes.as_chunks().0
    }

    /// Adds an entry to `sum`.
    pub fn put(&mut self, sum: &mut Sum, key: &[u8], value: &[u8]) {
        for (lane, more) in sum.0.iter_mut().zip(self.expand(key, value)) {
            *lane = lane.wrapping_add(u16::from_le_bytes(*more));
        }
    }

    /// Takes an entry out of `sum`.
    pub fn take(&mut self, sum: &mut Sum, key: &[u8], value: &[u8]) {
        for (lane, less) in sum.0.iter_mut().zip(self.expand(key, value)) {
            *lane = lane.wrapping_sub(u16::from_le_bytes(*less));
        }
    }
}

impl Sum {
    /// Adds the sum over other entries.
    pub fn plus(&mut self, other: &Sum) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(lane, more)| *lane = lane.wrapping_add(*more));
    }

    /// The lanes, each least significant byte first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// The sum with these bytes; `None` when they are not as many as a sum has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Sum> {
        if bytes.len() != SUM_BYTES {
            return None;
        }
        let mut sum = Sum::default();
        let lanes = sum.0.iter_mut().zip(bytes.chunks_exact(2));
        lanes.for_each(|(lane, pair)| *lane = u16::from_le_bytes([pair[0], pair[1]]));
        Some(sum)
    }

    /// The root of a state whose entries sum to this.
    #[must_use]
    pub fn root(&self, network: &NetworkId) -> Root {
        let mut hasher = blake3::Hasher::new_derive_key("floe 1 ledger: state root");
        Root(*hasher.update(&network.0).update(&self.to_bytes()).finalize().as_bytes())
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sum, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        Sum::from_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("a sum has another length"))
    }
}

/// Whether entries with this key are counted in the root, and so are part of a snapshot.
#[must_use]
pub fn is_counted(key: &[u8]) -> bool {
    const LEFT_OUT: [Table; 5] = [Table::Head, Table::Digest, Table::Merkle, Table::MerkleRoots, Table::History];
    key.first().is_some_and(|tag| LEFT_OUT.iter().all(|table| *table as u8 != *tag))
}

/// The sum over the state's counted entries, as the state keeps it; nothing before genesis.
pub(crate) fn kept(state: &dyn StateRead) -> Result<Sum, StateError> {
    match state.get(&Table::Digest.key(&[]))? {
        None => Ok(Sum::default()),
        Some(bytes) => Sum::from_bytes(&bytes).ok_or_else(|| Table::Digest.damaged("a sum has another length")),
    }
}

/// Brings the sum up to date with all that `overlay` changes, keeps it there, and gives the root.
pub(crate) fn renew(overlay: &mut Overlay<'_>, network: &NetworkId) -> Result<Root, StateError> {
    let sum = renewed(overlay)?;
    put_sum(overlay, &sum);
    Ok(sum.root(network))
}

/// The root that [`renew`] would give.
pub(crate) fn root_after(overlay: &Overlay<'_>, network: &NetworkId) -> Result<Root, StateError> {
    Ok(renewed(overlay)?.root(network))
}

fn renewed(overlay: &Overlay<'_>) -> Result<Sum, StateError> {
    let mut sum = kept(overlay)?;
    let mut expander = Expander::default();
    let changed: Vec<_> = overlay.changes().0.iter().filter(|(key, _)| is_counted(key)).collect();
    for part in changed.chunks(AT_ONCE) {
        let keys: Vec<&[u8]> = part.iter().map(|(key, _)| key.as_slice()).collect();
        for ((key, value), before) in part.iter().zip(overlay.before(&keys)?) {
            if before == **value {
                continue;
            }
            if let Some(before) = before {
                expander.take(&mut sum, key, &before);
            }
            if let Some(value) = value {
                expander.put(&mut sum, key, value);
            }
        }
    }
    Ok(sum)
}

/// Keeps the sum.
pub(crate) fn put_sum(overlay: &mut Overlay<'_>, sum: &Sum) {
    overlay.put(Table::Digest.key(&[]), sum.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::*;
    use crate::{ChangeSet, MemoryState};

    fn sum_of<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Sum {
        let (mut sum, mut expander) = (Sum::default(), Expander::default());
        entries.filter(|(key, _)| is_counted(key)).for_each(|(key, value)| expander.put(&mut sum, key, value));
        sum
    }

    #[test]
    fn the_sum_that_blocks_renew_is_the_sum_over_the_whole_state() {
        let mut world = World::new();
        world.store(blob(1), 1, &ALL);
        world.store(blob(2), 3, &[0, 1, 2, 3, 4]);
        for _ in 0..4 {
            world.end_epoch(&ALL);
            world.register(blob(3), 2);
            let whole = sum_of(world.state.entries());
            assert_eq!(kept(&world.state).unwrap(), whole);
            let head = crate::views::head(&world.state).unwrap();
            assert_eq!(head.state_root, whole.root(&world.context.network));
        }
    }

    #[test]
    fn an_entry_that_differs_anywhere_gives_another_root() {
        let mut world = World::new();
        world.store(blob(1), 1, &ALL);
        world.end_epoch(&ALL);
        let root = |state: &MemoryState| sum_of(state.entries()).root(&world.context.network);
        let good = root(&world.state);
        let entries: Vec<_> = world.state.entries().filter(|(key, _)| is_counted(key)).collect();
        let mut tables = std::collections::BTreeSet::new();
        for (key, value) in entries {
            tables.insert(key[0]);
            let mut cases = vec![(key.to_vec(), None)];
            for at in 0..value.len() {
                let mut touched = value.to_vec();
                touched[at] ^= 1;
                cases.push((key.to_vec(), Some(touched)));
            }
            let mut other_key = key.to_vec();
            other_key.push(0);
            cases.push((other_key, Some(value.to_vec())));
            for (key, value) in cases {
                let mut touched = world.state.clone();
                touched.apply(&ChangeSet([(key, value)].into()));
                assert_ne!(root(&touched), good);
            }
        }
        assert!(tables.len() > 12, "{tables:?}");
    }

    #[test]
    fn entries_in_any_order_and_in_any_parts_have_one_sum() {
        let mut world = World::new();
        world.store(blob(1), 1, &ALL);
        let entries: Vec<_> = world.state.entries().collect();
        let whole = sum_of(entries.iter().copied());
        assert_eq!(sum_of(entries.iter().rev().copied()), whole);
        let mut parts = Sum::default();
        entries.chunks(5).for_each(|part| parts.plus(&sum_of(part.iter().copied())));
        assert_eq!(parts, whole);
        assert_eq!(Sum::from_bytes(&whole.to_bytes()), Some(whole.clone()));
        assert_eq!(Sum::from_bytes(&whole.to_bytes()[1..]), None);
    }

    #[test]
    fn a_key_and_a_value_that_are_cut_otherwise_are_another_entry() {
        let one = sum_of([([2u8, 3].as_slice(), [4u8].as_slice())].into_iter());
        let two = sum_of([([2u8].as_slice(), [3u8, 4].as_slice())].into_iter());
        assert_ne!(one, two);
        assert_ne!(one, Sum::default());
    }
}
