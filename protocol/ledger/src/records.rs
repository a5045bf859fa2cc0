//! What the tables of the state hold.

use crate::block::BoundaryHeader;
use crate::merkle::Root;
use crate::transaction::Attributes;
use crate::verdict::{Decision, Participation};
use floe_types::{AccountId, BlobId, BlockId, BlockTime, Epoch, Frost, Height, RegistrationNumber, SequenceNumber};
use serde::{Deserialize, Serialize};

/// Where the ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Height of the last block; 0 at genesis.
    pub height: Height,
    /// The last block; at genesis [`crate::genesis_block`].
    pub block: BlockId,
    /// Its time; at genesis that of genesis.
    pub time: BlockTime,
    /// The epoch that is running.
    pub epoch: Epoch,
    /// When it began.
    pub epoch_began: BlockTime,
    /// The state after the last block.
    pub state_root: Root,
}

impl Head {
    /// When the running epoch may end: a block of at least this time is a boundary.
    #[must_use]
    pub fn epoch_ends(&self, params: &floe_types::Params) -> BlockTime {
        self.epoch_began.plus_millis(params.epoch_millis)
    }

    /// When the running epoch's closing begins: reports are executed in blocks of at least this time.
    #[must_use]
    pub fn closing_begins(&self, params: &floe_types::Params) -> BlockTime {
        self.epoch_began.plus_millis(params.epoch_millis.saturating_sub(params.closing_millis))
    }
}

/// An account. One that was never touched reads as empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it holds.
    pub balance: Frost,
    /// Transactions executed, reports aside: the next one's nonce.
    pub nonce: u64,
}

/// Where all WAL is. The first is the sum of the others: law I7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All there is.
    pub supply: Frost,
    /// In accounts.
    pub accounts: Frost,
    /// Prices of registrations that are not certified yet.
    pub pending: Frost,
    /// In the storage fund's buckets, one per epoch, the running one included.
    pub buckets: Frost,
    /// In the repair reserve.
    pub reserve: Frost,
    /// Fees taken.
    pub fees: Frost,
}

impl Totals {
    /// Whether the parts sum to the supply.
    #[must_use]
    pub fn are_conserved(&self) -> bool {
        let parts = [self.accounts, self.pending, self.buckets, self.reserve, self.fees];
        parts.iter().map(|part| u128::from(part.0)).sum::<u128>() == u128::from(self.supply.0)
    }
}

/// The storage fund's rates. The bucket of a later epoch is the sum of the rates that end with it or after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FundRates {
    /// In the bucket of the running epoch.
    pub current: Frost,
    /// What every registration that is certified and not over pays for an epoch, summed.
    pub recurring: Frost,
}

/// What is counted up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub next_registration: u64,
    pub next_sequence: u64,
    /// Runs attested in this epoch.
    pub attested: u64,
}

/// How far a registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationStatus {
    /// Paid, waiting for its certificate until the deadline.
    Pending,
    /// Counts since this epoch.
    Certified {
        /// The epoch in which it began to count.
        epoch: Epoch,
    },
    /// Not certified in time; paid back.
    Lapsed,
}

/// A registration: somebody paid for a blob to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its number.
    pub number: RegistrationNumber,
    /// The blob.
    pub blob: BlobId,
    /// Who paid.
    pub owner: AccountId,
    /// Bytes of the blob, as its owner says. Holders confirm only when it fits the blob's id.
    pub length: u64,
    /// First paid epoch: the one in which it was registered.
    pub first: Epoch,
    /// Last paid epoch.
    pub last: Epoch,
    /// Price of one epoch.
    pub rate: Frost,
    /// Last epoch in which it may be certified.
    pub deadline: Epoch,
    /// What the bytes are.
    pub attributes: Attributes,
    /// How far it has come.
    pub status: RegistrationStatus,
}

impl Registration {
    /// What was paid: the rate for every epoch from first to last. It was taken, so it fits.
    #[must_use]
    pub fn price(&self) -> Frost {
        let epochs = self.last.0.saturating_sub(self.first.0).saturating_add(1);
        Frost(self.rate.0.saturating_mul(epochs))
    }
}

/// What the ledger knows of a blob id. Its encoding is a value of the map by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Its newest place in the order of certification; none when it was never certified.
    pub sequence: Option<SequenceNumber>,
    /// Whether it is defended.
    pub defence: Defence,
    /// Registrations that wait for their certificate.
    pub pending: u64,
    /// Registrations ever.
    pub registrations: u64,
    /// The newest of them.
    pub newest: RegistrationNumber,
}

/// Whether a blob is challenged, judged and paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defence {
    /// Never certified.
    Never,
    /// Certified and paid for.
    Defended,
    /// Its paid term has ended.
    Forgotten,
}

/// One life of a blob: from its certificate until it is forgotten. Its encoding is a value of the map by sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRecord {
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// The registration it was certified for.
    pub registration: RegistrationNumber,
    /// First paid epoch of that registration.
    pub first: Epoch,
    /// The epoch in which it was certified.
    pub certified: Epoch,
    /// Last paid epoch, of the certified registration that ends last.
    pub last: Epoch,
    /// Defended or forgotten.
    pub defence: Defence,
    /// The blob's life before this one, so that from the newest life every older one can be shown.
    pub previous: Option<SequenceNumber>,
}

/// What is remembered of an epoch that ended, for 400 epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// When it began.
    pub began: BlockTime,
    /// When it ended: the time of the boundary block.
    pub ended: BlockTime,
    /// The boundary block's height.
    pub height: Height,
    /// What it came to.
    pub boundary: BoundaryHeader,
}

impl EpochRecord {
    /// Who reported and who answered.
    #[must_use]
    pub fn participation(&self) -> Participation {
        Participation {
            reporters: self.boundary.reporters.clone(),
            answered: self.boundary.answered.clone(),
            decision: self.boundary.decision,
        }
    }

    /// Whether it was decided.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.boundary.decision == Decision::Decided
    }
}
