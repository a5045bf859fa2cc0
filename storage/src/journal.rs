//! The journal: what consensus must remember of heights that are not decided yet, so that no vote is cast twice.
//!
//! # Laws
//! - **JO-1** When [`Store::journal_append`] has returned, its entries survive the loss of power.
//! - **JO-2** [`Store::journal_entries`] gives the entries of a height in the order in which they were appended.
//! - **JO-3** Entries end with the block of their height, in the same step ([`Store::commit_block`]).

use crate::columns::{Column, journal_height, journal_key};
use crate::error::StorageError;
use crate::store::{Inner, Store, locked};
use floe_types::Height;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};
use std::collections::BTreeMap;

/// The longest entry in bytes: a proposal with its block, and room for its signatures.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 2 * floe_types::params::BLOCK_BYTES_MAX;
/// The most bytes of entries kept for all open heights together: reading them back must fit into memory. At a hundred
/// validators this is about four hundred rounds.
pub const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// The most entries kept for all open heights together.
pub const JOURNAL_ENTRIES_MAX: u64 = 1 << 20;

/// What the journal holds, by height.
#[derive(Default)]
pub(crate) struct JournalTail {
    next: BTreeMap<Height, u32>,
    bytes: BTreeMap<Height, u64>,
}

impl JournalTail {
    fn add(&mut self, height: Height, index: u32, bytes: u64) {
        self.next.insert(height, index.saturating_add(1));
        let sum = self.bytes.entry(height).or_default();
        *sum = sum.saturating_add(bytes);
    }

    pub fn forget(&mut self, up_to: Height) {
        self.next.retain(|height, _| *height > up_to);
        self.bytes.retain(|height, _| *height > up_to);
    }

    pub fn entries(&self) -> u64 {
        self.next.values().map(|count| u64::from(*count)).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Store {
    /// Appends entries, each an opaque encoding for its height, and makes them durable with one sync (JO-1). Give
    /// everything that is to be synced at a time in one call.
    ///
    /// # Errors
    /// [`StorageError::Decided`] for a height at or below the last one, [`StorageError::TooLong`],
    /// [`StorageError::TooMany`], or what the disk says. Then none was appended, and what depends on them must not be
    /// sent.
    pub fn journal_append(&self, entries: &[(Height, &[u8])]) -> Result<(), StorageError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut chain = locked(&self.inner.chain);
        let last = chain.last.unwrap_or_default();
        let (mut count, mut bytes) = (chain.journal.entries(), chain.journal.bytes());
        let mut batch = WriteBatch::default();
        let mut added = Vec::with_capacity(entries.len());
        let mut next: BTreeMap<Height, u32> = BTreeMap::new();
        for (height, entry) in entries {
            if *height <= last {
                return Err(StorageError::Decided { height: *height, last });
            }
            if entry.len() > JOURNAL_ENTRY_BYTES_MAX {
                let (found, max) = (entry.len() as u64, JOURNAL_ENTRY_BYTES_MAX as u64);
                return Err(StorageError::TooLong { what: "journal entry", found, max });
            }
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(entry.len() as u64);
            let index = next.entry(*height).or_insert_with(|| chain.journal.next.get(height).copied().unwrap_or(0));
            batch.put_cf(self.inner.column(Column::Journal), journal_key(*height, *index), entry);
            added.push((*height, *index, entry.len() as u64));
            *index = index.saturating_add(1);
        }
        if count > JOURNAL_ENTRIES_MAX {
            return Err(StorageError::TooMany { what: "journal entries", max: JOURNAL_ENTRIES_MAX });
        }
        if bytes > JOURNAL_BYTES_MAX {
            return Err(StorageError::TooMany { what: "bytes of journal", max: JOURNAL_BYTES_MAX });
        }
        self.inner.write_synced(batch, "appending to the journal")?;
        for (height, index, bytes) in added {
            chain.journal.add(height, index, bytes);
        }
        Ok(())
    }

    /// The entries of `height` in the order in which they were appended.
    ///
    /// # Errors
    /// What the disk says.
    pub fn journal_entries(&self, height: Height) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut entries = Vec::new();
        self.inner.each_entry(height, height, |_, value| entries.push(value.to_vec()))?;
        Ok(entries)
    }
}

impl Inner {
    /// Goes through the entries of heights from `from` to `to`, both included.
    fn each_entry(&self, from: Height, to: Height, mut visit: impl FnMut(Height, &[u8])) -> Result<(), StorageError> {
        const DURING: &str = "reading the journal";
        let mut options = ReadOptions::default();
        if to.0 < u64::MAX {
            options.set_iterate_upper_bound(journal_key(to.next(), 0));
        }
        let start = journal_key(from, 0);
        let mode = IteratorMode::From(&start, Direction::Forward);
        for entry in self.db.iterator_cf_opt(self.column(Column::Journal), options, mode) {
            let (key, value) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let height = journal_height(&key).ok_or_else(|| StorageError::Damaged {
                during: DURING,
                reason: format!("a key of {} bytes", key.len()),
            })?;
            visit(height, &value);
        }
        Ok(())
    }

    /// Counts what the journal holds above `last`.
    pub fn load_journal(&self, last: Height) -> Result<JournalTail, StorageError> {
        let mut tail = JournalTail::default();
        self.each_entry(last.next(), Height(u64::MAX), |height, value| {
            let index = tail.next.get(&height).copied().unwrap_or(0);
            tail.add(height, index, value.len() as u64);
        })?;
        Ok(tail)
    }

    /// Adds to `batch` the end of every entry up to `up_to`. One by one and not as a range: a range for each block would
    /// stay in memory and be asked by every read until it is merged away.
    pub fn end_journal(&self, batch: &mut WriteBatch, tail: &JournalTail, up_to: Height) {
        let column = self.column(Column::Journal);
        for (height, next) in tail.next.range(..=up_to) {
            for index in 0..*next {
                batch.delete_cf(column, journal_key(*height, index));
            }
        }
    }
}
