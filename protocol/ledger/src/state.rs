//! State as the ledger sees it: keys and values in order, read through a trait and written as a change set.
//!
//! Execution reads a [`StateRead`] and gives back a [`ChangeSet`]; who keeps the state applies the whole set or nothing,
//! together with the block that caused it. [`Overlay`] is state with changes on top, itself state, so that a transaction
//! stands on its block and a block on its parent, and what is refused leaves no trace. [`MemoryState`] keeps everything in
//! memory, for tests and simulation.

use crate::merkle::Map;
use crate::pages::{Novelty, Put, Puts};
use floe_types::codec::{self, DecodeError};
use serde_bytes::{ByteBuf, Bytes};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::ops::Bound;

/// State that could not be read. Never a statement about a block: whoever sees it stops or tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The medium failed.
    #[error("reading state: {reason}")]
    Read {
        /// The medium's words.
        reason: String,
    },
    /// What is kept is not what the ledger wrote.
    #[error("state is damaged in table {table}: {reason}")]
    Damaged {
        /// The table's name.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The network went on to rules that this program does not know.
    #[error(
        "the network is at protocol version {version}, this program knows up to {known}: install a later version of floe"
    )]
    Unsupported {
        /// The version in force.
        version: u32,
        /// The latest one that this program knows.
        known: u32,
    },
}

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Ordered keys and values.
pub trait StateRead {
    /// The value at `key`.
    ///
    /// # Errors
    /// [`StateError::Read`] when the medium fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// The values at `keys`, in their order. Where reading many at once costs less than one by one, this does.
    ///
    /// # Errors
    /// [`StateError::Read`] when the medium fails.
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Up to `limit` entries with `from <= key < to`, ascending.
    ///
    /// # Errors
    /// [`StateError::Read`] when the medium fails.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError>;
}

/// What a block changes: for each key its new value, or that it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet(pub BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl ChangeSet {
    /// No change.
    #[must_use]
    pub fn new() -> ChangeSet {
        ChangeSet::default()
    }

    /// Adds `later` on top: where both change a key, `later` holds.
    pub fn merge(&mut self, later: ChangeSet) {
        if self.0.is_empty() {
            self.0 = later.0;
        } else {
            self.0.extend(later.0);
        }
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entries: Vec<_> =
            self.0.iter().map(|(key, value)| (Bytes::new(key), value.as_deref().map(Bytes::new))).collect();
        codec::encode(&entries)
    }

    /// The change set of which `bytes` is the encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when there are more than `max` bytes, or they are not exactly one canonical encoding.
    pub fn decode(bytes: &[u8], max: usize) -> Result<ChangeSet, DecodeError> {
        let entries: Vec<(ByteBuf, Option<ByteBuf>)> = codec::decode(bytes, max)?;
        if entries.windows(2).any(|pair| matches!(pair, [one, two] if one.0 >= two.0)) {
            return Err(DecodeError::NotCanonical);
        }
        let entries = entries.into_iter();
        Ok(ChangeSet(entries.map(|(key, value)| (key.into_vec(), value.map(ByteBuf::into_vec))).collect()))
    }
}

/// Entries that an overlay reads at a time at most where many below it are hidden.
const PAGE: usize = 1024;

/// State with changes on top.
pub struct Overlay<'a> {
    base: &'a dyn StateRead,
    changes: ChangeSet,
    /// Leaves of the Merkle maps that wait for [`crate::pages::flush`]. No reading sees them.
    leaves: Puts,
}

impl<'a> Overlay<'a> {
    /// `base` without a change yet.
    #[must_use]
    pub fn new(base: &'a dyn StateRead) -> Overlay<'a> {
        Overlay { base, changes: ChangeSet::new(), leaves: Puts::new() }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.0.insert(key, Some(value));
    }

    /// Takes `key` out. Taking out what is not there is no error.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.0.insert(key, None);
    }

    /// Adds `later` on top.
    pub fn merge(&mut self, later: ChangeSet) {
        self.changes.merge(later);
    }

    /// Sets the leaf of `map` at `key`, with the next [`crate::pages::flush`].
    pub(crate) fn put_leaf(&mut self, map: Map, key: Vec<u8>, put: Put) {
        match self.leaves.entry((map, key)) {
            Place::Vacant(place) => {
                place.insert(put);
            }
            // What was new in this block is new to the map still.
            Place::Occupied(mut place) => {
                let gone = [place.get().novelty, put.novelty].contains(&Novelty::Gone);
                let novelty = if gone { put.novelty } else { place.get().novelty };
                place.insert(Put { novelty, ..put });
            }
        }
    }

    /// The leaves that wait.
    pub(crate) fn take_leaves(&mut self) -> Puts {
        std::mem::take(&mut self.leaves)
    }

    /// Adds what was done on an overlay of this one.
    pub(crate) fn absorb(&mut self, (changes, leaves): (ChangeSet, Puts)) {
        self.changes.merge(changes);
        for ((map, key), put) in leaves {
            self.put_leaf(map, key, put);
        }
    }

    /// What was changed and which leaves wait, leaving the base behind.
    pub(crate) fn into_parts(self) -> (ChangeSet, Puts) {
        (self.changes, self.leaves)
    }

    /// The values at `keys` below all changes.
    ///
    /// # Errors
    /// [`StateError::Read`] when the medium fails.
    pub fn before(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.base.get_many(keys)
    }

    /// What was changed.
    #[must_use]
    pub fn changes(&self) -> &ChangeSet {
        &self.changes
    }

    /// What was changed, leaving the base behind.
    #[must_use]
    pub fn into_changes(self) -> ChangeSet {
        self.changes
    }
}

impl StateRead for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match self.changes.0.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        let mut changed = self.changes.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let (mut found, mut start, mut wanted) = (Vec::new(), from.to_vec(), limit);
        loop {
            let below = self.base.range(&start, to, wanted)?;
            let last = below.last().filter(|_| below.len() >= wanted);
            let next = last.map(|(key, _)| [key.as_slice(), &[0]].concat());
            for (key, value) in below {
                let before = std::iter::from_fn(|| changed.next_if(|(other, _)| **other < key));
                found.extend(before.filter_map(|(key, value)| Some((key.clone(), value.clone()?))));
                match changed.next_if(|(other, _)| **other == key) {
                    Some((_, value)) => found.extend(value.clone().map(|value| (key, value))),
                    None => found.push((key, value)),
                }
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
            let Some(next) = next else { break };
            // Deletions hide what is below: so many more are asked for.
            (start, wanted) = (next, wanted.saturating_mul(2).min(PAGE.max(limit)));
        }
        let beyond = changed.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        found.extend(beyond.take(limit - found.len()));
        Ok(found)
    }
}

/// State in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState(BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryState {
    /// Empty state, before genesis.
    #[must_use]
    pub fn new() -> MemoryState {
        MemoryState::default()
    }

    /// Makes the changes.
    pub fn apply(&mut self, changes: &ChangeSet) {
        for (key, value) in &changes.0 {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// All entries, ascending.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl StateRead for MemoryState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let entries = self.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(entries.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_set_survives_its_encoding_and_nothing_else_does() {
        let mut changes = ChangeSet::new();
        changes.0.insert(vec![1], Some(vec![2, 3]));
        changes.0.insert(vec![4], None);
        let bytes = changes.encode();
        assert_eq!(ChangeSet::decode(&bytes, 64), Ok(changes));
        assert!(ChangeSet::decode(&bytes, bytes.len() - 1).is_err());
        let unordered = codec::encode(&[(Bytes::new(&[4]), None::<&Bytes>), (Bytes::new(&[1]), None)].to_vec());
        assert_eq!(ChangeSet::decode(&unordered, 64), Err(DecodeError::NotCanonical));
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_the_state_it_will_become(
            base in proptest::collection::btree_map(any::<u8>(), any::<u8>(), 0..20),
            changes in proptest::collection::btree_map(any::<u8>(), any::<Option<u8>>(), 0..20),
            from: u8, to: u8, limit in 0usize..12,
        ) {
            let mut state = MemoryState::new();
            state.apply(&ChangeSet(base.iter().map(|(k, v)| (vec![*k], Some(vec![*v]))).collect()));
            let changes = ChangeSet(changes.iter().map(|(k, v)| (vec![*k], v.map(|v| vec![v]))).collect());
            let mut overlay = Overlay::new(&state);
            overlay.merge(changes.clone());
            let mut after = state.clone();
            after.apply(&changes);
            prop_assert_eq!(overlay.range(&[from], &[to], limit), after.range(&[from], &[to], limit));
            prop_assert_eq!(overlay.get(&[from]), after.get(&[from]));
        }
    }
}
