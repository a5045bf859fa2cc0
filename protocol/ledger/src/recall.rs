//! What a block reads of the state, remembered until the block is done.
//!
//! Execution reads an entry to change it, and the sum over all entries ([`crate::digest`]) asks for it once more as it was before.
//! In memory the second reading is for nothing; on a disk it costs as much as the first. So a block reads each entry once.
//!
//! # Limits
//! [`BYTES_MAX`] of keys and values; what comes beyond is read whenever it is asked for.

use crate::state::{Entry, StateError, StateRead};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Bytes of keys and values that are remembered: several times what a full block of transactions reads.
const BYTES_MAX: usize = 64 << 20;

/// A state, and what was read of it. Ranges are not remembered.
pub(crate) struct Recalling<'a> {
    state: &'a dyn StateRead,
    read: RefCell<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    bytes: Cell<usize>,
}

impl<'a> Recalling<'a> {
    pub(crate) fn new(state: &'a dyn StateRead) -> Recalling<'a> {
        Recalling { state, read: RefCell::default(), bytes: Cell::new(0) }
    }
}

impl StateRead for Recalling<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(value) = self.read.borrow().get(key) {
            return Ok(value.clone());
        }
        let value = self.state.get(key)?;
        let bytes = self.bytes.get().saturating_add(key.len()).saturating_add(value.as_ref().map_or(0, Vec::len));
        if bytes <= BYTES_MAX {
            self.bytes.set(bytes);
            self.read.borrow_mut().insert(key.to_vec(), value.clone());
        }
        Ok(value)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        self.state.range(from, to, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{ChangeSet, MemoryState};

    /// Counts how often it is read.
    struct Counting(MemoryState, Cell<u32>);

    impl StateRead for Counting {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
            self.1.set(self.1.get() + 1);
            self.0.get(key)
        }

        fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
            self.0.range(from, to, limit)
        }
    }

    #[test]
    fn each_entry_is_read_once_and_so_is_one_that_is_not_there() {
        let mut state = MemoryState::new();
        state.apply(&ChangeSet([(vec![1], Some(vec![2]))].into()));
        let counting = Counting(state, Cell::new(0));
        let recalling = Recalling::new(&counting);
        for _ in 0..3 {
            assert_eq!(recalling.get(&[1]), Ok(Some(vec![2])));
            assert_eq!(recalling.get(&[7]), Ok(None));
        }
        assert_eq!(counting.1.get(), 2);
        assert_eq!(recalling.range(&[0], &[9], 9), Ok(vec![(vec![1], vec![2])]));
    }

    #[test]
    fn what_does_not_fit_is_read_again() {
        let mut state = MemoryState::new();
        state.apply(&ChangeSet([(vec![1], Some(vec![2; BYTES_MAX]))].into()));
        let counting = Counting(state, Cell::new(0));
        let recalling = Recalling::new(&counting);
        for _ in 0..2 {
            assert_eq!(recalling.get(&[1]).map(|value| value.map(|value| value.len())), Ok(Some(BYTES_MAX)));
        }
        assert_eq!(counting.1.get(), 2);
        assert_eq!(recalling.bytes.get(), 0);
    }
}
