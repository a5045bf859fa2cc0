//! Which blocks touched an account: an index beside the state, written with each block and dropped with it.
//!
//! What stands in it is [`floe_ledger::history`]'s; this keeps the keys of each height beside it, so that dropping a block
//! drops exactly what it brought. No root covers it and no snapshot carries it (decision 015).
//!
//! # Laws
//! - **AH-1** What a block brought to the index is there as long as the block is, and no longer.

use crate::columns::{Column, number};
use crate::error::StorageError;
use crate::store::{Inner, Store};
use floe_ledger::{ChangeSet, Entry, StateError, StateRead};
use floe_types::Height;
use floe_types::codec;
use rocksdb::{ReadOptions, WriteBatch};

/// The longest list of keys of one block in bytes: a block of 1 MiB has at most some ten thousand transactions, each brings
/// at most two keys of 49 bytes, and a boundary a few for each member and each thing that ends.
const KEYS_BYTES_MAX: usize = 64 << 20;

/// What a decided block brings beside itself.
#[derive(Clone, Copy, Debug)]
pub struct Brought<'a> {
    /// What changes in the state.
    pub state: &'a ChangeSet,
    /// What it adds to the index of accounts, as [`floe_ledger::history::entries`] gives it.
    pub history: &'a [Entry],
}

/// A block that touches no account.
impl<'a> From<&'a ChangeSet> for Brought<'a> {
    fn from(state: &'a ChangeSet) -> Brought<'a> {
        Brought { state, history: &[] }
    }
}

/// The index of accounts, for [`floe_ledger::views::history`].
#[derive(Clone, Copy)]
pub struct AccountIndex<'a>(&'a Inner);

impl Store {
    /// The index of accounts. It knows of the blocks that are kept, see [`Store::oldest_height`].
    #[must_use]
    pub fn account_index(&self) -> AccountIndex<'_> {
        AccountIndex(&self.inner)
    }
}

fn entry_key(key: &[u8]) -> Vec<u8> {
    [b"e".as_slice(), key].concat()
}

fn height_key(height: Height) -> Vec<u8> {
    [b"h".as_slice(), &number(height.0)].concat()
}

impl StateRead for AccountIndex<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.0.read_of(Column::History, ReadOptions::default(), &entry_key(key))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let (from, to) = (entry_key(from), entry_key(to));
        let entries = self.0.read_range_of(Column::History, ReadOptions::default(), (&from, &to), limit)?;
        Ok(entries.into_iter().map(|(key, value)| (key.get(1..).unwrap_or_default().to_vec(), value)).collect())
    }
}

impl Inner {
    /// Adds what the block at `height` brought.
    pub fn put_history(&self, batch: &mut WriteBatch, height: Height, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        let column = self.column(Column::History);
        for (key, value) in entries {
            batch.put_cf(column, entry_key(key), value);
        }
        let keys: Vec<&[u8]> = entries.iter().map(|(key, _)| key.as_slice()).collect();
        batch.put_cf(column, height_key(height), codec::encode(&keys));
    }

    /// Drops what the block at `height` brought.
    pub fn drop_history(&self, batch: &mut WriteBatch, height: Height) -> Result<(), StorageError> {
        const DURING: &str = "dropping old history of accounts";
        let of_height = height_key(height);
        let Some(bytes) = self.get(Column::History, &of_height, DURING)? else { return Ok(()) };
        let keys: Vec<Vec<u8>> = codec::decode(&bytes, KEYS_BYTES_MAX)
            .map_err(|error| StorageError::Damaged { during: DURING, reason: error.to_string() })?;
        let column = self.column(Column::History);
        for key in keys {
            batch.delete_cf(column, entry_key(&key));
        }
        batch.delete_cf(column, of_height);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, StoreConfig};
    use floe_types::{NetworkId, NodeId};

    fn open(directory: &std::path::Path) -> Store {
        let identity = Identity { network: NetworkId([1; 32]), node: NodeId([2; 32]) };
        Store::open(directory, identity, StoreConfig::small()).unwrap()
    }

    fn found(store: &Store) -> Vec<Vec<u8>> {
        let entries = store.account_index().range(&[0], &[255], 99).unwrap();
        entries.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn what_a_block_brought_comes_and_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let nothing = ChangeSet::new();
        store.commit_genesis(&nothing).unwrap();
        let entry = |name: &[u8]| (name.to_vec(), vec![9]);
        let brought = [vec![entry(b"a1"), entry(b"b1")], vec![], vec![entry(b"a3")]];
        for (height, history) in (1u64..).zip(&brought) {
            store.commit_block(Height(height), b"", b"", Brought { state: &nothing, history }).unwrap();
        }
        assert_eq!(found(&store), [b"a1", b"a3", b"b1"]);
        assert_eq!(store.account_index().get(b"b1").unwrap(), Some(vec![9]));
        assert_eq!(store.prune_blocks(Height(3), 1).unwrap(), 1);
        assert_eq!(found(&store), [b"a3"]);
        assert_eq!(store.prune_blocks(Height(99), 99).unwrap(), 1, "the last block stays, and what it brought");
        drop(store);
        assert_eq!(found(&open(directory.path())), [b"a3"]);
    }
}
