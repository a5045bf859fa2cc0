//! Two small books: where other nodes were last seen, and which uploads are unfinished.
//!
//! The peer book is a hint and is not synced. An upload is synced: its sender was told that it will be carried on.

use crate::columns::Column;
use crate::error::StorageError;
use crate::store::{Inner, Store, locked};
use floe_types::NodeId;
use rocksdb::{Direction, IteratorMode, WriteBatch};

/// The most nodes in the peer book: every member of the largest committee, and as many strangers.
pub const PEERS_MAX: usize = 2 * floe_types::params::MEMBERS_MAX;
/// The longest entry of the peer book in bytes: a dozen addresses.
pub const PEER_BYTES_MAX: usize = 4 << 10;
/// The longest key of an upload in bytes.
pub const UPLOAD_KEY_BYTES_MAX: usize = 64;
/// The longest value of an upload in bytes.
pub const UPLOAD_BYTES_MAX: usize = 64 << 10;

/// An unfinished upload. Both parts are the gateway's and opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its name, at most [`UPLOAD_KEY_BYTES_MAX`] bytes.
    pub key: Vec<u8>,
    /// What is needed to go on, at most [`UPLOAD_BYTES_MAX`] bytes.
    pub value: Vec<u8>,
}

fn check_length(what: &'static str, bytes: &[u8], max: usize) -> Result<(), StorageError> {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(StorageError::TooLong { what, found: bytes.len() as u64, max: max as u64 })
}

impl Store {
    /// Replaces the peer book. Each entry is opaque.
    ///
    /// # Errors
    /// [`StorageError::TooMany`], [`StorageError::TooLong`], or what the disk says. Then the old book stands.
    pub fn save_peers(&self, peers: &[(NodeId, Vec<u8>)]) -> Result<(), StorageError> {
        if peers.len() > PEERS_MAX {
            return Err(StorageError::TooMany { what: "peers", max: PEERS_MAX as u64 });
        }
        let column = self.inner.column(Column::Peers);
        let mut batch = WriteBatch::default();
        for (node, _) in self.load_peers()? {
            if !peers.iter().any(|(kept, _)| *kept == node) {
                batch.delete_cf(column, node.0);
            }
        }
        for (node, entry) in peers {
            check_length("peer", entry, PEER_BYTES_MAX)?;
            batch.put_cf(column, node.0, entry);
        }
        self.inner.write_unsynced(batch, "saving the peer book")
    }

    /// The peer book, in order of node.
    ///
    /// # Errors
    /// What the disk says.
    pub fn load_peers(&self) -> Result<Vec<(NodeId, Vec<u8>)>, StorageError> {
        const DURING: &str = "reading the peer book";
        let mut peers = Vec::new();
        for entry in self.inner.db.iterator_cf(self.inner.column(Column::Peers), IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| StorageError::of(DURING, &error))?;
            let node: [u8; 32] = key.as_ref().try_into().map_err(|_| StorageError::Damaged {
                during: DURING,
                reason: format!("a node id of {} bytes", key.len()),
            })?;
            peers.push((NodeId(node), value.into_vec()));
        }
        Ok(peers)
    }

    /// Remembers an unfinished upload, in place of what `key` held before. Durable when it returns.
    ///
    /// # Errors
    /// [`StorageError::TooMany`] at the configured bound, [`StorageError::TooLong`], or what the disk says.
    pub fn put_upload(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        const DURING: &str = "remembering an upload";
        check_length("upload key", key, UPLOAD_KEY_BYTES_MAX)?;
        check_length("upload", value, UPLOAD_BYTES_MAX)?;
        let mut count = locked(&self.inner.uploads);
        let max = u64::from(self.inner.config.uploads_max);
        let added = u64::from(self.inner.get(Column::Uploads, key, DURING)?.is_none());
        if count.saturating_add(added) > max {
            return Err(StorageError::TooMany { what: "unfinished uploads", max });
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.column(Column::Uploads), key, value);
        self.inner.write_synced(batch, DURING)?;
        *count = count.saturating_add(added);
        Ok(())
    }

    /// Up to `limit` unfinished uploads with keys after `after`, in order of key.
    ///
    /// # Errors
    /// What the disk says.
    pub fn uploads_after(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Upload>, StorageError> {
        let mode = after.map_or(IteratorMode::Start, |key| IteratorMode::From(key, Direction::Forward));
        let entries = self.inner.db.iterator_cf(self.inner.column(Column::Uploads), mode);
        let mut uploads = Vec::new();
        for entry in entries {
            let (key, value) = entry.map_err(|error| StorageError::of("listing uploads", &error))?;
            if uploads.len() >= limit {
                break;
            }
            if after != Some(key.as_ref()) {
                uploads.push(Upload { key: key.into_vec(), value: value.into_vec() });
            }
        }
        Ok(uploads)
    }

    /// Forgets an upload. Forgetting what is not there is no error.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove_upload(&self, key: &[u8]) -> Result<(), StorageError> {
        const DURING: &str = "forgetting an upload";
        let mut count = locked(&self.inner.uploads);
        if self.inner.get(Column::Uploads, key, DURING)?.is_none() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.inner.column(Column::Uploads), key);
        // Unsynced: an upload that comes back after the loss of power is carried on once more for nothing.
        self.inner.write_unsynced(batch, DURING)?;
        *count = count.saturating_sub(1);
        Ok(())
    }
}

impl Inner {
    pub fn count_uploads(&self) -> Result<u64, StorageError> {
        let mut count = 0u64;
        for entry in self.db.iterator_cf(self.column(Column::Uploads), IteratorMode::Start) {
            entry.map_err(|error| StorageError::of("counting uploads", &error))?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}
