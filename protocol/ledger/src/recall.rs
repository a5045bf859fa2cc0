//! What a block reads of the state, remembered until the block is done.
//!
//! Execution reads an entry to change it, and the sum over all entries ([`crate::digest`]) asks for it once more as it was before.
//! In memory the second reading is for nothing; on a disk it costs as much as the first. So a block reads each entry once, many at
//! once where they are known beforehand ([`crate::foresight`]), and a stretch of entries ahead where it goes along a table.
//!
//! # Limits
//! [`BYTES_MAX`] of keys and values, [`STRETCHES_MAX`] stretches; what comes beyond is read whenever it is asked for.

use crate::state::{Entry, StateError, StateRead};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Bytes of keys and values that are remembered: several times what a full block of transactions reads.
const BYTES_MAX: usize = 64 << 20;
/// Stretches that are remembered: as many as a block has transactions, and more.
const STRETCHES_MAX: usize = 16_384;
/// Who asks for more entries at once goes through a table, and does not come back.
const LIMIT_MAX: usize = 64;
/// Entries read ahead of one who goes along a table.
const AHEAD_MAX: usize = 256;

/// What is at a key; none when nothing is.
type Value = Option<Vec<u8>>;

/// Neighbouring entries of the state: all that there are from a key on.
struct Stretch {
    entries: Vec<Entry>,
    /// Up to this key, itself not.
    end: Vec<u8>,
}

/// Who reads ranges goes along a table, or here and there.
#[derive(Default)]
struct Stride {
    /// Where the last range began that had to be read.
    from: Vec<u8>,
    /// Entries that are read beyond those asked for.
    ahead: usize,
}

/// A state, and what was read of it.
pub(crate) struct Recalling<'a> {
    state: &'a dyn StateRead,
    read: RefCell<BTreeMap<Vec<u8>, Value>>,
    /// By where they begin.
    stretches: RefCell<BTreeMap<Vec<u8>, Stretch>>,
    stride: RefCell<Stride>,
    bytes: Cell<usize>,
}

impl<'a> Recalling<'a> {
    pub(crate) fn new(state: &'a dyn StateRead) -> Recalling<'a> {
        let (read, stretches, stride) = (RefCell::default(), RefCell::default(), RefCell::default());
        Recalling { state, read, stretches, stride, bytes: Cell::new(0) }
    }

    /// Whether so many bytes more may be remembered; they are counted.
    fn has_room(&self, bytes: usize) -> bool {
        let all = self.bytes.get().saturating_add(bytes);
        if all > BYTES_MAX {
            return false;
        }
        self.bytes.set(all);
        true
    }

    fn remember(&self, key: &[u8], value: Option<&Vec<u8>>) {
        if self.has_room(key.len().saturating_add(value.map_or(0, Vec::len))) {
            self.read.borrow_mut().insert(key.to_vec(), value.cloned());
        }
    }

    /// Reads what is not known of `keys`, at once. Gives what had to be read, in the order of keys.
    fn bring<'k>(&self, keys: &[&'k [u8]]) -> Result<Vec<(&'k [u8], Value)>, StateError> {
        let mut unknown: Vec<&[u8]> = {
            let read = self.read.borrow();
            keys.iter().filter(|key| !read.contains_key(**key)).copied().collect()
        };
        unknown.sort_unstable();
        unknown.dedup();
        let values = self.state.get_many(&unknown)?;
        let brought: Vec<_> = unknown.into_iter().zip(values).collect();
        brought.iter().for_each(|(key, value)| self.remember(key, value.as_ref()));
        Ok(brought)
    }

    /// Reads the values at `keys`, so that they are known when they are asked for.
    pub(crate) fn fetch(&self, keys: &[&[u8]]) -> Result<(), StateError> {
        self.bring(keys).map(drop)
    }

    /// The entries from `from` up to `to`, at most `limit`, when a stretch has them.
    fn recall(&self, from: &[u8], to: &[u8], limit: usize) -> Option<Vec<Entry>> {
        let stretches = self.stretches.borrow();
        let (_, stretch) = stretches.range::<[u8], _>((Bound::Unbounded, Bound::Included(from))).next_back()?;
        let first = stretch.entries.partition_point(|(key, _)| key.as_slice() < from);
        let found: Vec<Entry> = stretch
            .entries
            .iter()
            .skip(first)
            .take_while(|(key, _)| key.as_slice() < to)
            .take(limit)
            .cloned()
            .collect();
        let is_known = from < stretch.end.as_slice() && (found.len() == limit || to <= stretch.end.as_slice());
        is_known.then_some(found)
    }

    /// How many entries to read beyond those asked for: more with each range that begins after the one before.
    fn ahead(&self, from: &[u8]) -> usize {
        let mut stride = self.stride.borrow_mut();
        stride.ahead = match stride.from.as_slice() < from {
            true => (stride.ahead * 2).clamp(1, AHEAD_MAX),
            false => 0,
        };
        stride.from = from.to_vec();
        stride.ahead
    }
}

impl StateRead for Recalling<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(value) = self.read.borrow().get(key) {
            return Ok(value.clone());
        }
        let value = self.state.get(key)?;
        self.remember(key, value.as_ref());
        Ok(value)
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let brought: BTreeMap<&[u8], Value> = self.bring(keys)?.into_iter().collect();
        // What was read just now may not have been remembered.
        let value = |key: &&[u8]| brought.get(key).map_or_else(|| self.get(key), |value| Ok(value.clone()));
        keys.iter().map(value).collect()
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        if limit > LIMIT_MAX {
            return self.state.range(from, to, limit);
        }
        if let Some(found) = self.recall(from, to, limit) {
            return Ok(found);
        }
        let wanted = limit.saturating_add(self.ahead(from));
        let mut entries = self.state.range(from, to, wanted)?;
        let end = match entries.last() {
            // More may follow: known is what is not beyond the last one.
            Some((last, _)) if entries.len() >= wanted => [last.as_slice(), &[0]].concat(),
            _ => to.to_vec(),
        };
        let found = entries.get(..limit.min(entries.len())).unwrap_or_default().to_vec();
        let bytes = entries.iter().fold(from.len() + end.len(), |sum, (key, value)| sum + key.len() + value.len());
        let mut stretches = self.stretches.borrow_mut();
        if stretches.len() < STRETCHES_MAX && self.has_room(bytes) {
            entries.shrink_to_fit();
            stretches.insert(from.to_vec(), Stretch { entries, end });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{ChangeSet, MemoryState};
    use proptest::prelude::*;

    /// Counts how often it is read.
    struct Counting(MemoryState, Cell<u32>);

    impl Counting {
        fn of(entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Counting {
            let mut state = MemoryState::new();
            state.apply(&ChangeSet(entries.into_iter().map(|(key, value)| (key, Some(value))).collect()));
            Counting(state, Cell::new(0))
        }
    }

    impl StateRead for Counting {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
            self.1.set(self.1.get() + 1);
            self.0.get(key)
        }

        fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
            self.1.set(self.1.get() + 1);
            self.0.range(from, to, limit)
        }
    }

    #[test]
    fn each_entry_is_read_once_and_so_is_one_that_is_not_there() {
        let counting = Counting::of([(vec![1], vec![2])]);
        let recalling = Recalling::new(&counting);
        for _ in 0..3 {
            assert_eq!(recalling.get(&[1]), Ok(Some(vec![2])));
            assert_eq!(recalling.get(&[7]), Ok(None));
            assert_eq!(recalling.get_many(&[&[8], &[1], &[8], &[7]]), Ok(vec![None, Some(vec![2]), None, None]));
        }
        assert_eq!(counting.1.get(), 3);
        assert_eq!(recalling.range(&[0], &[9], 9), Ok(vec![(vec![1], vec![2])]));
    }

    #[test]
    fn what_does_not_fit_is_read_again() {
        let counting = Counting::of([(vec![1], vec![2; BYTES_MAX])]);
        let recalling = Recalling::new(&counting);
        for _ in 0..2 {
            assert_eq!(recalling.get(&[1]).map(|value| value.map(|value| value.len())), Ok(Some(BYTES_MAX)));
            assert_eq!(recalling.range(&[0], &[9], 9).map(|found| found.len()), Ok(1));
        }
        assert_eq!(counting.1.get(), 4);
        assert_eq!(recalling.bytes.get(), 0);
    }

    #[test]
    fn who_goes_along_a_table_reads_it_in_long_stretches() {
        let counting = Counting::of((0..10_000u16).map(|at| (at.to_be_bytes().to_vec(), vec![])));
        let recalling = Recalling::new(&counting);
        for at in (0..9_000u16).step_by(5) {
            let found = recalling.range(&at.to_be_bytes(), &[255, 255], 4).unwrap();
            assert_eq!((found.len(), found[0].0.as_slice()), (4, &at.to_be_bytes()[..]));
        }
        assert!(counting.1.get() < 60, "{} readings", counting.1.get());
    }

    proptest! {
        #[test]
        fn ranges_read_as_those_of_the_state(
            keys in proptest::collection::btree_set(0u8..60, 0..40),
            asked in proptest::collection::vec((0u8..64, 0u8..64, 0usize..6), 0..60),
        ) {
            let counting = Counting::of(keys.into_iter().map(|key| (vec![key], vec![key])));
            let recalling = Recalling::new(&counting);
            for (from, to, limit) in asked {
                prop_assert_eq!(recalling.range(&[from], &[to], limit), counting.0.range(&[from], &[to], limit));
            }
        }
    }
}
