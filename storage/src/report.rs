//! What this node is to report of an epoch, kept before it is said: so that it says one thing only, whatever falls in
//! between.

use crate::columns::{Column, meta};
use crate::error::StorageError;
use crate::store::Store;
use rocksdb::WriteBatch;

/// The longest report in bytes with all that may have to be shown: the answers of an epoch, of 4 KiB each, in a committee of a
/// thousand members that asks each once a slot.
pub const REPORT_BYTES_MAX: usize = 32 << 20;

impl Store {
    /// Keeps what is to be reported in place of what was kept before. Durable when it returns.
    ///
    /// # Errors
    /// [`StorageError::TooLong`], or what the disk says.
    pub fn keep_report(&self, bytes: &[u8]) -> Result<(), StorageError> {
        if bytes.len() > REPORT_BYTES_MAX {
            let (found, max) = (bytes.len() as u64, REPORT_BYTES_MAX as u64);
            return Err(StorageError::TooLong { what: "report", found, max });
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.column(Column::Meta), meta::REPORT, bytes);
        self.inner.write_synced(batch, "keeping a report")
    }

    /// What was kept last.
    ///
    /// # Errors
    /// What the disk says.
    pub fn kept_report(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let kept = self.inner.get(Column::Meta, meta::REPORT, "reading a report")?;
        Ok(kept.map(|bytes| bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, StoreConfig};
    use floe_types::{NetworkId, NodeId};

    #[test]
    fn the_last_report_is_there_after_an_opening_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { network: NetworkId([1; 32]), node: NodeId([2; 32]) };
        let store = Store::open(folder.path(), identity, StoreConfig::small()).unwrap();
        assert_eq!(store.kept_report().unwrap(), None);
        store.keep_report(b"one").unwrap();
        store.keep_report(b"two").unwrap();
        drop(store);
        let store = Store::open(folder.path(), identity, StoreConfig::small()).unwrap();
        assert_eq!(store.kept_report().unwrap().as_deref(), Some(&b"two"[..]));
        let long = vec![0; REPORT_BYTES_MAX + 1];
        assert!(matches!(store.keep_report(&long), Err(StorageError::TooLong { .. })));
        assert_eq!(store.kept_report().unwrap().as_deref(), Some(&b"two"[..]));
    }
}
