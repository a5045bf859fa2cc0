//! A store goes on in the network that succeeds its own.
//!
//! ```text
//!  parent's state at the boundary that the successor's genesis names  ──► one synced batch ──► the successor's at height 0
//!  stay: fragments, what was signed for, where peers were seen
//!  go:   blocks, headers, journal, history, snapshots, evidence, unfinished uploads: they name heights or signatures of the other network
//! ```
//!
//! # Laws
//! - **SU-2** The store is the parent's or the successor's, never half of both: what changes is one step, its owner included.

use crate::columns::{Column, meta, number};
use crate::error::StorageError;
use crate::store::Store;
use floe_ledger::ChangeSet;
use floe_ledger::evidence::Sealed;
use floe_types::{NetworkId, codec};
use rocksdb::{IteratorMode, WriteBatch};

/// Above every key of every column but the state's: none is longer than 64 bytes.
const ABOVE: [u8; 65] = [255; 65];

/// Columns of which nothing is carried over.
const DROPPED: [Column; 7] = [
    Column::Blocks,
    Column::Headers,
    Column::Journal,
    Column::History,
    Column::Snapshots,
    Column::Evidence,
    Column::Uploads,
];

impl Store {
    /// The newest boundary of which header and certificate are here.
    ///
    /// # Errors
    /// What the disk says, or [`StorageError::Damaged`].
    pub fn newest_boundary(&self) -> Result<Option<Sealed>, StorageError> {
        const DURING: &str = "reading the newest boundary";
        let mut headers = self.inner.db.iterator_cf(self.inner.column(Column::Headers), IteratorMode::End);
        let Some(entry) = headers.next() else { return Ok(None) };
        let (_, bytes) = entry.map_err(|error| StorageError::of(DURING, &error))?;
        let damaged = |error: codec::DecodeError| StorageError::Damaged { during: DURING, reason: error.to_string() };
        codec::decode(&bytes, 1 << 20).map(Some).map_err(damaged)
    }

    /// Gives a store that has no ledger yet to `network`. Durable when it returns; open the store anew.
    ///
    /// # Errors
    /// What the disk says.
    ///
    /// # Panics
    /// When there is a ledger: our bug.
    pub fn give_empty(self, network: NetworkId) -> Result<(), StorageError> {
        assert!(self.last_height().is_none(), "a ledger belongs to its network");
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.column(Column::Meta), meta::NETWORK, network.0);
        self.inner.write_synced(batch, "giving an empty store to a network")
    }

    /// Gives the store to `network`, the successor of its own: `changes` ([`floe_ledger::successor::begin`]) make the
    /// successor's state at height 0 of the state here. Durable when it returns. All clones are of the network before and must be
    /// dropped; open the store anew.
    ///
    /// # Errors
    /// What the disk says. Then the store is as before.
    pub fn succeed(self, network: NetworkId, changes: &ChangeSet) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for column in DROPPED {
            batch.delete_range_cf(self.inner.column(column), [].as_slice(), ABOVE.as_slice());
        }
        self.inner.put_changes(&mut batch, changes);
        let column = self.inner.column(Column::Meta);
        batch.put_cf(column, meta::NETWORK, network.0);
        batch.put_cf(column, meta::LAST_HEIGHT, number(0));
        batch.delete_cf(column, meta::BASE_HEIGHT);
        batch.delete_cf(column, meta::OLDEST);
        // As in a directory that is new: only others can say whether the key has voted.
        batch.put_cf(column, meta::MEMORY_LOST, []);
        self.inner.write_synced(batch, "giving the store to a successor")
    }
}
