//! What the tables of the state hold.

use crate::block::BoundaryHeader;
use crate::merkle::Root;
use crate::transaction::{Attributes, Persistence};
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
    /// Fees taken and not divided yet.
    pub fees: Frost,
    /// Bonded by candidates, what is on its way back included.
    pub stakes: Frost,
    /// Set aside by owners for renewals.
    pub budgets: Frost,
}

impl Totals {
    /// Whether the parts sum to the supply.
    #[must_use]
    pub fn are_conserved(&self) -> bool {
        let Totals { accounts, pending, buckets, reserve, fees, stakes, budgets, .. } = *self;
        let parts = [accounts, pending, buckets, reserve, fees, stakes, budgets];
        parts.iter().map(|part| u128::from(part.0)).sum::<u128>() == u128::from(self.supply.0)
    }
}

/// The storage fund's rates. See [`crate::fund`] for the buckets of later epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FundRates {
    /// In the bucket of the running epoch.
    pub current: Frost,
    /// What every registration that counts pays for the running epoch, summed.
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
    /// Ended before its time: by its owner, or because the blob is invalid.
    Deleted {
        /// The epoch in which that was. It lasts for one more, or to the end of this one when the blob is invalid.
        epoch: Epoch,
    },
}

/// A rate that a registration pays from some epoch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateFrom {
    /// The first epoch.
    pub from: Epoch,
    /// For one epoch.
    pub rate: Frost,
}

/// The most rates of one registration beside its first: an extension at yet another price is refused while so many of
/// them are still to come.
pub const RATES_MAX: usize = 16;

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
    /// Price of one epoch, up to the first of `later`.
    pub rate: Frost,
    /// Other rates, for epochs that were paid by extensions: ascending, at most [`RATES_MAX`]. Those of epochs that have
    /// passed may have been forgotten.
    pub later: Vec<RateFrom>,
    /// Last epoch in which it may be certified.
    pub deadline: Epoch,
    /// What the bytes are.
    pub attributes: Attributes,
    /// Whether its owner may end it.
    pub persistence: Persistence,
    /// How far it has come.
    pub status: RegistrationStatus,
    /// The registration of the same blob before this one.
    pub previous: Option<RegistrationNumber>,
}

/// Consecutive epochs paid at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first.
    pub from: Epoch,
    /// The last, inclusive.
    pub to: Epoch,
    /// For one epoch.
    pub rate: Frost,
}

impl Piece {
    /// What all its epochs cost. It was taken, so it fits.
    #[must_use]
    pub fn amount(&self) -> Frost {
        let epochs = self.to.0.saturating_sub(self.from.0).saturating_add(1);
        Frost(self.rate.0.saturating_mul(epochs))
    }
}

impl Registration {
    /// What was paid for its epochs, as far as the rates are remembered.
    #[must_use]
    pub fn price(&self) -> Frost {
        Frost(self.pieces().iter().fold(0, |sum, piece| piece.amount().0.saturating_add(sum)))
    }

    /// Its epochs by rate, ascending.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let starts = std::iter::once(RateFrom { from: self.first, rate: self.rate }).chain(self.later.iter().copied());
        let ends = self.later.iter().map(|later| Epoch(later.from.0.saturating_sub(1))).chain([self.last]);
        starts.zip(ends).map(|(start, to)| Piece { from: start.from, to, rate: start.rate }).collect()
    }

    /// The rate of its last epoch.
    pub(crate) fn last_rate(&self) -> Frost {
        self.later.last().map_or(self.rate, |later| later.rate)
    }

    /// Makes it last until `last` at `rate`; gives the epochs that were added. Epochs of one rate are one piece.
    ///
    /// # Errors
    /// How many other rates are still to come in `now`, when that is too many for one more.
    pub(crate) fn prolong(&mut self, last: Epoch, rate: Frost, now: Epoch) -> Result<Piece, usize> {
        let piece = Piece { from: self.last.next(), to: last, rate };
        // Rates that a later one has followed by now are over.
        while let Some(first) = self.later.first().copied().filter(|first| first.from <= now) {
            self.rate = first.rate;
            self.later.remove(0);
        }
        if self.last_rate() != rate {
            if self.later.len() >= RATES_MAX {
                return Err(self.later.len());
            }
            self.later.push(RateFrom { from: piece.from, rate });
        }
        self.last = last;
        Ok(piece)
    }

    /// Makes it end with `last`, which is before its last epoch and not before `now`.
    pub(crate) fn shorten(&mut self, last: Epoch) {
        self.later.retain(|later| later.from <= last);
        self.last = last;
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
    /// Its owner ended it before its time: forgotten as well, for another reason.
    Deleted,
    /// Its encoding is inconsistent: it is dropped and never taken again.
    Invalid,
}

impl Defence {
    /// Whether it was defended once and is no more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Defence::Forgotten | Defence::Deleted | Defence::Invalid)
    }
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
    /// Defended or over.
    pub defence: Defence,
    /// The registration that ends last: it keeps the blob defended.
    pub keeper: RegistrationNumber,
    /// The blob's life before this one.
    pub previous: Option<SequenceNumber>,
}

/// A life as the state keeps it: what its registration says already is left out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredLife {
    pub registration: RegistrationNumber,
    pub certified: Epoch,
    pub last: Epoch,
    pub defence: Defence,
    pub keeper: RegistrationNumber,
    pub previous: Option<SequenceNumber>,
}

impl StoredLife {
    /// The life, with what its registration says.
    pub(crate) fn whole(self, of: &Registration) -> SequenceRecord {
        let StoredLife { registration, certified, last, defence, keeper, previous } = self;
        let (blob, length, first) = (of.blob, of.length, of.first);
        SequenceRecord { blob, length, registration, first, certified, last, defence, keeper, previous }
    }
}

/// The prices of one encoded mebibyte for one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// In force.
    pub current: Frost,
    /// In force from the next term on.
    pub next: Frost,
}

/// Bytes that one shard is to keep: of every fragment of a blob there is one a shard, all of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Of defended blobs.
    pub defended: u64,
    /// Of registrations that wait for their certificate.
    pub pending: u64,
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
    /// The term it belonged to: its committee decided it. The header names that of the epoch that began.
    pub term: u64,
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
