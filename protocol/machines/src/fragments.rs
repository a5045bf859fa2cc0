//! What a store of fragments must be able to do. RocksDB is one, the simulator's virtual disk another.
//!
//! A fragment arrives in pieces, is verified where it lies, and is *kept* by one durable step. What was staged and not
//! kept leaves no trace after a restart. Fragments are filed by the epoch in which they are first to expire, so that
//! forgetting a terabyte is dropping groups.
//!
//! # Laws
//! - **FR-1** When [`FragmentStore::keep`] has returned, the fragment and its record survive the loss of power.
//! - **FR-2** Bytes read are the bytes staged, or an error: every stored piece carries a checksum bound to its place.
//! - **FR-3** A staged fragment that was never kept is not listed and its space is given back.

use floe_types::{BlobId, Epoch, PairIndex, RegistrationNumber};
use serde::{Deserialize, Serialize};
use std::io;

/// Where a fragment lies: group, blob, pair. Ordered, so that a group is one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FragmentKey {
    /// The last paid epoch known when the fragment arrived: its group.
    pub group: Epoch,
    /// The blob.
    pub blob: BlobId,
    /// The pair.
    pub pair: PairIndex,
}

/// What the store knows of a kept fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentRecord {
    /// Where it lies.
    pub key: FragmentKey,
    /// The registration under which it arrived.
    pub registration: RegistrationNumber,
    /// Length of the blob in bytes, which with `n` gives every size.
    pub blob_bytes: u64,
    /// Its encoded [`floe_erasure::FragmentProof`].
    pub proof: Vec<u8>,
}

/// What was signed: kept so that a start can check it against what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationRecord {
    /// The blob confirmed.
    pub blob: BlobId,
    /// Under which registration.
    pub registration: RegistrationNumber,
    /// The pairs that were there when it was signed.
    pub pairs: Vec<PairIndex>,
    /// The last paid epoch then.
    pub group: Epoch,
}

/// Why a store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room: the reserve for votes and metadata is not given to fragments.
    #[error("no space for {needed} more bytes of fragments; free some or move the data directory to a larger disk")]
    Full {
        /// Bytes asked for.
        needed: u64,
    },
    /// A stored piece fails its checksum.
    #[error("fragment {pair:?} of blob {blob} is damaged at byte {offset}")]
    Damaged {
        /// The blob.
        blob: BlobId,
        /// The pair.
        pair: PairIndex,
        /// Where.
        offset: u64,
    },
    /// Asked for bytes beyond what was staged or kept.
    #[error("bytes {offset}..{end} of a fragment of {length} bytes")]
    Beyond {
        /// First byte asked for.
        offset: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Length of the fragment.
        length: u64,
    },
    /// As many fragments are arriving as the store takes at a time; later there is room again.
    #[error("{max} fragments are arriving already")]
    Busy {
        /// How many may arrive at a time.
        max: u32,
    },
    /// The fragment is not kept, or not any more.
    #[error("fragment {pair:?} of blob {blob} is not kept")]
    Absent {
        /// The blob.
        blob: BlobId,
        /// The pair.
        pair: PairIndex,
    },
    /// The group was dropped while the fragment was arriving.
    #[error("group {group} is dropped")]
    Dropped {
        /// The group.
        group: Epoch,
    },
    /// The disk or database said no.
    #[error("fragment store: {0}")]
    Io(String),
}

impl From<StoreError> for io::Error {
    /// For a coder that reads out of a store: bytes that are not there end the source.
    fn from(error: StoreError) -> io::Error {
        match error {
            StoreError::Beyond { .. } => io::ErrorKind::UnexpectedEof.into(),
            other => io::Error::other(other.to_string()),
        }
    }
}

/// A fragment on its way in. Dropping it without [`FragmentStore::keep`] abandons it.
pub trait StagedFragment: Send + Sync {
    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Beyond`] past the announced length, or what the disk says.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Bytes staged so far.
    fn staged_bytes(&self) -> u64;

    /// Reads what was staged, to verify it in place.
    ///
    /// # Errors
    /// [`StoreError::Beyond`], [`StoreError::Damaged`] or what the disk says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError>;

    /// For the store that made it.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
}

/// A store of fragments. All calls block; a shell runs them on threads of their own.
pub trait FragmentStore: Send + Sync {
    /// Begins to take in a fragment of `bytes` bytes.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room for all of it.
    fn stage(&self, key: FragmentKey, bytes: u64) -> Result<Box<dyn StagedFragment>, StoreError>;

    /// Makes staged fragments (of one blob, as a rule) durable together with their records, all or none. Keeping what
    /// is already kept under another group keeps the older one too until its group is dropped.
    ///
    /// # Errors
    /// What the disk says; then nothing was kept.
    fn keep(&self, fragments: Vec<(FragmentRecord, Box<dyn StagedFragment>)>) -> Result<(), StoreError>;

    /// The record of a kept fragment, of the latest group when there are several.
    ///
    /// # Errors
    /// What the disk says.
    fn record(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentRecord>, StoreError>;

    /// Reads bytes of a kept fragment, primary sliver first, then the secondary.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Beyond`] or what the disk says.
    fn read_at(&self, record: &FragmentRecord, buffer: &mut [u8], offset: u64) -> Result<(), StoreError>;

    /// Up to `limit` records with keys after `after`, in order of key.
    ///
    /// # Errors
    /// What the disk says.
    fn records_after(&self, after: Option<FragmentKey>, limit: usize) -> Result<Vec<FragmentRecord>, StoreError>;

    /// Makes a confirmation durable, before its signature leaves.
    ///
    /// # Errors
    /// What the disk says.
    fn keep_confirmation(&self, confirmation: &ConfirmationRecord) -> Result<(), StoreError>;

    /// Up to `limit` confirmations with registrations after `after`, in order.
    ///
    /// # Errors
    /// What the disk says.
    fn confirmations_after(
        &self,
        after: Option<RegistrationNumber>,
        limit: usize,
    ) -> Result<Vec<ConfirmationRecord>, StoreError>;

    /// Removes one kept fragment, whose bytes are damaged: as if it had never come. Removing what is not there is done.
    ///
    /// # Errors
    /// What the disk says; then it may still be there.
    fn discard(&self, key: &FragmentKey) -> Result<(), StoreError>;

    /// Drops every fragment and confirmation of groups up to and including `up_to`; answers the bytes given up.
    ///
    /// # Errors
    /// What the disk says.
    fn drop_groups(&self, up_to: Epoch) -> Result<u64, StoreError>;
}
