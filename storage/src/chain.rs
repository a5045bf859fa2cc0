//! The ledger's state and its blocks.
//!
//! # Laws
//! - **ST-1** A block, its certificate, the changes it makes to the state and the end of the journal up to its height
//!   become durable together or not at all.
//! - **ST-2** Heights follow one another: block `h` is committed only on block `h - 1`.
//! - **ST-3** A [`StateSnapshot`] is the state after exactly one height, whatever is committed meanwhile.

use crate::accounts::Brought;
use crate::columns::{Column, meta, number, number_of};
use crate::error::StorageError;
use crate::store::{Inner, Store, locked};
use floe_ledger::evidence::{Sealed, header_in};
use floe_ledger::{ChangeSet, StateError, StateRead};
use floe_machines::coordinator::Memory;
use floe_types::{Height, codec};
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};

/// The longest block with its certificate that is kept, in bytes: a block, and as much again for its certificate.
pub const BLOCK_AND_CERTIFICATE_BYTES_MAX: usize = 2 * floe_types::params::BLOCK_BYTES_MAX;
/// Entries that are looked up at once: in blocks of four KiB, at most a megabyte of them.
const KEYS_AT_ONCE: usize = 256;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A committed block. Both parts are opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its height.
    pub height: Height,
    /// The block's encoding.
    pub block: Vec<u8>,
    /// The encoding of the certificate that it was decided.
    pub certificate: Vec<u8>,
}

/// The ledger's state as it stood when this was taken.
pub struct StateSnapshot<'a> {
    store: &'a Store,
    snapshot: rocksdb::Snapshot<'a>,
}

impl Store {
    /// Writes the state with which the network begins; height 0 has no block.
    ///
    /// # Errors
    /// What the disk says.
    ///
    /// # Panics
    /// When there is a genesis already: our bug.
    pub fn commit_genesis(&self, changes: &ChangeSet) -> Result<(), StorageError> {
        let mut chain = locked(&self.inner.chain);
        assert!(chain.last.is_none(), "genesis is written once");
        let mut batch = WriteBatch::default();
        self.inner.put_changes(&mut batch, changes);
        batch.put_cf(self.inner.column(Column::Meta), meta::LAST_HEIGHT, number(0));
        // An empty directory beside a key that may have voted: only others can say.
        batch.put_cf(self.inner.column(Column::Meta), meta::MEMORY_LOST, []);
        self.inner.write_synced(batch, "writing genesis")?;
        chain.last = Some(Height(0));
        Ok(())
    }

    /// Writes a decided block with its certificate and all that it brings, and forgets the journal up to its height, all or
    /// nothing (ST-1). Not safe twice: a second time is a height that does not follow.
    ///
    /// It survives the death of the process at once, and the loss of power from the next synced write on, which is the
    /// journal's before the next vote. Until then a loss of power also brings back the journal of this height, from which
    /// the same block is decided again: decision 007.
    ///
    /// # Errors
    /// [`StorageError::TooLong`], or what the disk says. Then the state is as before and the call may be repeated.
    ///
    /// # Panics
    /// When `height` does not follow the last one (ST-2), or there is no genesis: our bug.
    pub fn commit_block<'a>(
        &self,
        height: Height,
        block: &[u8],
        certificate: &[u8],
        brought: impl Into<Brought<'a>>,
    ) -> Result<(), StorageError> {
        let brought = brought.into();
        let bytes = block.len().saturating_add(certificate.len());
        if bytes > BLOCK_AND_CERTIFICATE_BYTES_MAX {
            let (found, max) = (bytes as u64, BLOCK_AND_CERTIFICATE_BYTES_MAX as u64);
            return Err(StorageError::TooLong { what: "block with certificate", found, max });
        }
        let mut chain = locked(&self.inner.chain);
        let last = chain.last;
        assert!(last.is_some_and(|last| last.next() == height), "block {height} does not follow {last:?}");
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.column(Column::Blocks), number(height.0), joined(block, certificate));
        // A block that begins with no header is somebody's test: the store knows nothing else of blocks.
        if let Ok(header) = header_in(block)
            && header.boundary.is_some()
            && let Ok(sealed) = Sealed::of(block, certificate)
        {
            batch.put_cf(self.inner.column(Column::Headers), number(height.0), codec::encode(&sealed));
        }
        self.inner.put_changes(&mut batch, brought.state);
        self.inner.put_history(&mut batch, height, brought.history);
        self.inner.end_journal(&mut batch, &chain.journal, height);
        batch.put_cf(self.inner.column(Column::Meta), meta::LAST_HEIGHT, number(height.0));
        self.inner.write_unsynced(batch, "committing a block")?;
        chain.last = Some(height);
        chain.journal.forget(height);
        Ok(())
    }

    /// What this store can say of the node's memory of its votes, for [`floe_machines::coordinator::Coordinator::guarded`]:
    /// lost since it was made, began with a snapshot, or lost writes, until [`Store::memory_is_whole`].
    ///
    /// # Errors
    /// What the disk says.
    pub fn memory(&self) -> Result<Memory, StorageError> {
        let noted = self.inner.get(Column::Meta, meta::MEMORY_LOST, "reading the note of lost memory")?;
        Ok(match noted {
            None => Memory::Kept,
            // Nothing beside the note: nobody has said yet how far others were.
            Some(below) => number_of(&below).map_or(Memory::Lost, |below| Memory::LostBelow(Height(below))),
        })
    }

    /// Notes that votes may have been cast, at heights below this one, that this store does not remember. Durable when it
    /// returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn memory_is_lost(&self, below: Height) -> Result<(), StorageError> {
        self.inner.note_lost_memory(Some(below))
    }

    /// What was forgotten cannot matter any more. Durable when it returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn memory_is_whole(&self) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.inner.column(Column::Meta), meta::MEMORY_LOST);
        self.inner.write_synced(batch, "clearing the note of lost memory")
    }

    /// The last committed height: 0 after genesis, `None` before.
    #[must_use]
    pub fn last_height(&self) -> Option<Height> {
        locked(&self.inner.chain).last
    }

    /// The block at `height`.
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Damaged`].
    pub fn block(&self, height: Height) -> Result<Option<StoredBlock>, StorageError> {
        self.inner.read_block(height)
    }

    /// The blocks from `from` on: at most `count_max`, and no more than fit `bytes_max` bytes with their certificates,
    /// but at least one when there is one and `count_max` is not 0.
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Damaged`].
    pub fn blocks(&self, from: Height, count_max: usize, bytes_max: usize) -> Result<Vec<StoredBlock>, StorageError> {
        let mut blocks = Vec::new();
        let mut bytes = 0usize;
        let mut height = from;
        while blocks.len() < count_max {
            let Some(block) = self.inner.read_block(height)? else { break };
            bytes = bytes.saturating_add(block.block.len()).saturating_add(block.certificate.len());
            if bytes > bytes_max && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
            height = height.next();
        }
        Ok(blocks)
    }

    /// The state as it stands now, for readers that must see one height only.
    #[must_use]
    pub fn snapshot(&self) -> StateSnapshot<'_> {
        StateSnapshot { store: self, snapshot: self.inner.db.snapshot() }
    }
}

impl StateRead for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.inner.read_state(ReadOptions::default(), key)
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.inner.read_many(&ReadOptions::default(), keys)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Entries, StateError> {
        self.inner.read_range(ReadOptions::default(), from, to, limit)
    }
}

impl StateSnapshot<'_> {
    /// The height after which this is the state; `None` before genesis.
    ///
    /// # Errors
    /// [`StateError::Read`] when the disk fails.
    pub fn height(&self) -> Result<Option<Height>, StateError> {
        let column = self.store.inner.column(Column::Meta);
        let bytes = self.snapshot.get_cf(column, meta::LAST_HEIGHT).map_err(|error| unreadable(&error))?;
        Ok(bytes.and_then(|bytes| number_of(&bytes)).map(Height))
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl StateRead for StateSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.store.inner.read_state(self.options(), key)
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.store.inner.read_many(&self.options(), keys)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Entries, StateError> {
        self.store.inner.read_range(self.options(), from, to, limit)
    }
}

impl Inner {
    pub fn put_changes(&self, batch: &mut WriteBatch, changes: &ChangeSet) {
        let column = self.column(Column::State);
        for (key, value) in &changes.0 {
            match value {
                Some(value) => batch.put_cf(column, key, value),
                None => batch.delete_cf(column, key),
            }
        }
    }

    pub fn read_block(&self, height: Height) -> Result<Option<StoredBlock>, StorageError> {
        const DURING: &str = "reading a block";
        let Some(bytes) = self.get(Column::Blocks, &number(height.0), DURING)? else { return Ok(None) };
        let (block, certificate) = parted(&bytes).ok_or_else(|| StorageError::Damaged {
            during: DURING,
            reason: format!("block {height} is shorter than it says"),
        })?;
        Ok(Some(StoredBlock { height, block: block.to_vec(), certificate: certificate.to_vec() }))
    }

    pub fn read_state(&self, options: ReadOptions, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.read_of(Column::State, options, key)
    }

    /// Reads many values of the state, [`KEYS_AT_ONCE`] at a time: each time all their blocks are held in memory.
    pub fn read_many(&self, options: &ReadOptions, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let column = self.column(Column::State);
        let mut values = Vec::with_capacity(keys.len());
        for part in keys.chunks(KEYS_AT_ONCE) {
            let is_sorted = part.is_sorted();
            for value in self.db.batched_multi_get_cf_opt(column, part.iter(), is_sorted, options) {
                values.push(value.map_err(|error| unreadable(&error))?.map(|value| value.to_vec()));
            }
        }
        Ok(values)
    }

    pub fn read_range(
        &self,
        options: ReadOptions,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Entries, StateError> {
        self.read_range_of(Column::State, options, (from, to), limit)
    }

    pub fn read_of(&self, column: Column, options: ReadOptions, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.db.get_cf_opt(self.column(column), key, &options).map_err(|error| unreadable(&error))
    }

    pub fn read_range_of(
        &self,
        column: Column,
        mut options: ReadOptions,
        (from, to): (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Entries, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        options.set_iterate_upper_bound(to);
        let entries =
            self.db.iterator_cf_opt(self.column(column), options, IteratorMode::From(from, Direction::Forward));
        entries
            .take(limit)
            .map(|entry| {
                entry.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(|error| unreadable(&error))
            })
            .collect()
    }
}

fn unreadable(error: &rocksdb::Error) -> StateError {
    StateError::Read { reason: error.as_ref().to_owned() }
}

/// Block length, block, certificate: a value of `blocks`.
fn joined(block: &[u8], certificate: &[u8]) -> Vec<u8> {
    let length = u32::try_from(block.len()).expect("a block is at most 2 MiB, checked by the caller");
    let mut bytes = Vec::with_capacity(4 + block.len() + certificate.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(block);
    bytes.extend_from_slice(certificate);
    bytes
}

fn parted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
