//! Evidence against members that signed two things for one step of one height, for whoever judges them later.

use crate::columns::{Column, number};
use crate::error::StorageError;
use crate::store::Store;
use floe_types::Height;
use rocksdb::{Direction, IteratorMode, WriteBatch};

/// The most pieces kept for one height: consensus hands over at most three pairs a member, and members that sign twice
/// are few. More are dropped.
pub const EVIDENCE_PER_HEIGHT_MAX: usize = 64;
/// The longest piece in bytes: two signed messages.
pub const EVIDENCE_BYTES_MAX: usize = 4 << 10;
/// Heights for which evidence is kept; with the above, the column's bound. Far longer than any unbonding.
pub const EVIDENCE_HEIGHTS: u64 = 1_000_000;

impl Store {
    /// Keeps what a height's decision brought against members, and drops what is too old to matter. Durable with the
    /// next synced write, the height's own block.
    ///
    /// # Errors
    /// [`StorageError::TooLong`], or what the disk says.
    pub fn keep_evidence(&self, height: Height, pieces: &[Vec<u8>]) -> Result<(), StorageError> {
        let column = self.inner.column(Column::Evidence);
        let mut batch = WriteBatch::default();
        for (index, piece) in (0u32..).zip(pieces.iter().take(EVIDENCE_PER_HEIGHT_MAX)) {
            if piece.len() > EVIDENCE_BYTES_MAX {
                let (found, max) = (piece.len() as u64, EVIDENCE_BYTES_MAX as u64);
                return Err(StorageError::TooLong { what: "piece of evidence", found, max });
            }
            let key = [&number(height.0)[..], &index.to_be_bytes()].concat();
            batch.put_cf(column, key, piece);
        }
        let oldest = height.0.saturating_sub(EVIDENCE_HEIGHTS);
        batch.delete_range_cf(column, number(0).to_vec(), number(oldest).to_vec());
        self.inner.write_unsynced(batch, "keeping evidence")
    }

    /// Up to `limit` pieces from `height` on, in order.
    ///
    /// # Errors
    /// What the disk says.
    pub fn evidence(&self, height: Height, limit: usize) -> Result<Vec<(Height, Vec<u8>)>, StorageError> {
        let from = number(height.0);
        let column = self.inner.column(Column::Evidence);
        let entries = self.inner.db.iterator_cf(column, IteratorMode::From(&from, Direction::Forward));
        let mut found = Vec::new();
        for entry in entries.take(limit) {
            let (key, value) = entry.map_err(|error| StorageError::of("listing evidence", &error))?;
            let place = key.get(..8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).unwrap_or_default();
            found.push((Height(u64::from_be_bytes(place)), value.into_vec()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, StoreConfig};
    use floe_types::{NetworkId, NodeId};

    #[test]
    fn evidence_is_found_by_height_and_an_old_one_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity { network: NetworkId([1; 32]), node: NodeId([2; 32]) };
        let store = Store::open(directory.path(), identity, StoreConfig::small()).unwrap();
        store.keep_evidence(Height(5), &[vec![1], vec![2]]).unwrap();
        store.keep_evidence(Height(7), &[vec![3]]).unwrap();
        let all = store.evidence(Height(0), 10).unwrap();
        assert_eq!(all, vec![(Height(5), vec![1]), (Height(5), vec![2]), (Height(7), vec![3])]);
        assert_eq!(store.evidence(Height(6), 10).unwrap().len(), 1);
        store.keep_evidence(Height(EVIDENCE_HEIGHTS + 6), &[vec![4]]).unwrap();
        assert_eq!(store.evidence(Height(0), 10).unwrap().len(), 2);
        assert!(store.keep_evidence(Height(9), &[vec![0; EVIDENCE_BYTES_MAX + 1]]).is_err());
    }
}
