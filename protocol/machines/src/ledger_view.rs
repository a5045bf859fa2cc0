//! What the data path needs to know of the ledger, as a trait that its shell answers from the newest decided state.
//!
//! Every answer is of one node's ledger at one moment: *none* means *not here, perhaps not yet*. Nothing that is
//! decided elsewhere is decided again here.

use floe_types::bls::{BlsSecretKey, BlsSignature};
use floe_types::{BlobId, Committee, Epoch, MemberIndex, NetworkId, RegistrationNumber, SequenceNumber, ShardIndex};
use serde::{Deserialize, Serialize};

/// The version of the encoding and its commitments that holders confirm.
pub const ENCODING_VERSION: u32 = 1;

/// Why a registration cannot be filled any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Lapse {
    /// It was not certified in time.
    #[error("it was not certified by epoch {certify_by}")]
    NotCertified {
        /// The last epoch in which it could have been.
        certify_by: Epoch,
    },
    /// Its paid term has ended.
    #[error("it was paid up to epoch {last}")]
    Expired {
        /// The last paid epoch.
        last: Epoch,
    },
}

/// How far a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationStatus {
    /// Paid, waiting for its certificate.
    Pending,
    /// Certified.
    Certified,
    /// Not certified in time.
    Lapsed,
}

/// A registration as the ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationFacts {
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub blob_bytes: u64,
    /// The last paid epoch.
    pub last: Epoch,
    /// The last epoch in which it may be certified.
    pub certify_by: Epoch,
    /// How far it is.
    pub status: RegistrationStatus,
}

impl RegistrationFacts {
    /// Whether fragments for it still make sense in `epoch`.
    ///
    /// # Errors
    /// [`Lapse`] when it was not certified in time or its term has ended.
    pub fn open_in(&self, epoch: Epoch) -> Result<(), Lapse> {
        let certified = self.status == RegistrationStatus::Certified;
        if self.status == RegistrationStatus::Lapsed || (!certified && epoch > self.certify_by) {
            return Err(Lapse::NotCertified { certify_by: self.certify_by });
        }
        if epoch > self.last {
            return Err(Lapse::Expired { last: self.last });
        }
        Ok(())
    }
}

/// Who covers a shard of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Covering {
    /// The shard.
    pub shard: ShardIndex,
    /// The member of the current committee that attested to hold its fragment.
    pub member: MemberIndex,
}

/// A certified blob as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobFacts {
    /// Its length in bytes.
    pub blob_bytes: u64,
    /// Its number.
    pub sequence: SequenceNumber,
    /// The last paid epoch.
    pub last_paid: Epoch,
    /// Who covers which shard, ascending by shard.
    pub coverage: Vec<Covering>,
}

/// The ledger, as the data path sees it.
pub trait LedgerView {
    /// The network.
    fn network(&self) -> NetworkId;

    /// The epoch of the newest decided block.
    fn epoch(&self) -> Epoch;

    /// The committee of that epoch.
    fn committee(&self) -> &Committee;

    /// A registration.
    fn registration(&self, number: RegistrationNumber) -> Option<RegistrationFacts>;

    /// A certified blob, forgotten ones included as long as the ledger knows them.
    fn blob(&self, blob: &BlobId) -> Option<BlobFacts>;

    /// Up to `limit` defended blobs after `after`, in order, of which `member` does not cover all its shards.
    fn uncovered(
        &self,
        member: MemberIndex,
        after: Option<SequenceNumber>,
        limit: usize,
    ) -> Vec<(SequenceNumber, BlobId)>;
}

/// What a storage confirmation says: *the fragments of all my shards of this blob are verified and durable here*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationStatement {
    /// In which network.
    pub network: NetworkId,
    /// In which term: seats belong to a term.
    pub term: u64,
    /// Under which registration, so that an old confirmation revives nothing.
    pub registration: RegistrationNumber,
    /// Which blob.
    pub blob: BlobId,
}

impl ConfirmationStatement {
    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        floe_types::codec::encode(&(
            "floe 1 storage confirmation",
            self.network,
            self.term,
            self.registration,
            self.blob,
            ENCODING_VERSION,
        ))
    }

    /// Signs it. Only [`crate::custody::DurableConfirmation`] lets a holder do so.
    pub(crate) fn sign(&self, key: &BlsSecretKey) -> BlsSignature {
        key.sign(&self.message())
    }
}
