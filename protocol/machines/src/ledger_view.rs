//! What the data path needs to know of the ledger, as a trait that its shell answers from the newest decided state.
//!
//! Every answer is of one node's ledger at one moment: *none* means *not here, perhaps not yet*. Nothing that is
//! decided elsewhere is decided again here.

use crate::wire::fragment::Right;
use floe_ledger::transaction::{ENCODING_VERSION, confirmation_message};
use floe_ledger::views::{self, BlobStatus};
use floe_ledger::{Context, RowKind, StateError, StateRead};
use floe_types::bls::{BlsSecretKey, BlsSignature};
use floe_types::{
    BlobId, Committee, Epoch, MemberIndex, NetworkId, NodeId, RegistrationNumber, SequenceNumber, ShardIndex,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// What the node is to the shard.
    pub kind: RowKind,
    /// The node that attested to hold its fragment: a member, or one that was or will be.
    pub node: NodeId,
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
    /// Who covers which shard, ascending by shard, the seat's holder first.
    pub coverage: Vec<Covering>,
}

impl BlobFacts {
    /// How many shards are covered.
    #[must_use]
    pub fn covered(&self) -> usize {
        let shards: BTreeSet<ShardIndex> = self.coverage.iter().map(|row| row.shard).collect();
        shards.len()
    }

    /// Whether `node` covers the seat of `shard`.
    #[must_use]
    pub fn covers_seat(&self, node: &NodeId, shard: ShardIndex) -> bool {
        let seat = |row: &Covering| row.shard == shard && row.kind == RowKind::Seat && row.node == *node;
        self.coverage.iter().any(seat)
    }
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

    /// Defended blobs with numbers from `from` on, in order, of which `member` does not cover all its seats: at most
    /// `limit`, and where to go on. What it gathers for seats to come is not among them.
    fn uncovered(&self, member: MemberIndex, from: SequenceNumber, limit: usize) -> UncoveredPage;

    /// Whether the ledger lets `node` rebuild the fragment of `shard` of `blob`, for the reason it gives.
    fn allows(&self, node: &NodeId, blob: &BlobId, shard: ShardIndex, right: Right) -> bool;
}

/// A page of [`LedgerView::uncovered`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UncoveredPage {
    /// The blobs, ascending by number.
    pub blobs: Vec<(SequenceNumber, BlobId)>,
    /// Where the next page begins; none when there is none.
    pub next: Option<SequenceNumber>,
}

/// Numbers that [`LedgerAt`] looks at for each blob that a page may have, so that forgotten ones cannot make it long.
const LOOKED_AT_PER_BLOB: u64 = 16;

/// The ledger in a state, at one height: what both shells use.
///
/// State that cannot be read is answered with *none*, so that whoever asked is told to come back; the reason is kept
/// for the shell in [`LedgerAt::trouble`].
pub struct LedgerAt<'a> {
    state: &'a dyn StateRead,
    context: &'a Context,
    epoch: Epoch,
    committee: &'a Committee,
    trouble: std::cell::RefCell<Option<StateError>>,
}

impl<'a> LedgerAt<'a> {
    /// The ledger in `state`, whose epoch and committee are these.
    #[must_use]
    pub fn new(state: &'a dyn StateRead, context: &'a Context, epoch: Epoch, committee: &'a Committee) -> LedgerAt<'a> {
        LedgerAt { state, context, epoch, committee, trouble: std::cell::RefCell::new(None) }
    }

    /// The last failure to read the state, if any.
    #[must_use]
    pub fn trouble(&self) -> Option<StateError> {
        self.trouble.borrow().clone()
    }

    fn read<T: Default>(&self, result: Result<T, StateError>) -> T {
        result.unwrap_or_else(|error| {
            self.trouble.replace(Some(error));
            T::default()
        })
    }

    fn uncovered_page(&self, member: MemberIndex, from: u64, limit: usize) -> Result<UncoveredPage, StateError> {
        let Some(member) = self.committee.member(member) else { return Ok(UncoveredPage::default()) };
        let end = views::next_sequence(self.state)?.0;
        let mut rows = Vec::with_capacity(member.shards.len());
        for (id, row) in views::rows_of(self.state, &member.node)? {
            if row.kind == RowKind::Seat {
                rows.push(views::row_coverage(self.state, id)?);
            }
        }
        // The first number from `at` on that some row does not cover.
        let gap = |at: u64| {
            let first = |runs: &Vec<floe_ledger::Run>| {
                let over = runs.partition_point(|run| run.last.0 < at);
                runs.get(over).filter(|run| run.first.0 <= at).map_or(at, |run| run.last.0.saturating_add(1))
            };
            rows.iter().map(first).min().unwrap_or(end)
        };
        let mut blobs = Vec::new();
        let mut at = gap(from);
        let mut left = LOOKED_AT_PER_BLOB.saturating_mul(limit as u64);
        while at < end {
            if blobs.len() >= limit || left == 0 {
                return Ok(UncoveredPage { blobs, next: Some(SequenceNumber(at)) });
            }
            let life = views::sequence(self.state, SequenceNumber(at))?;
            if let Some(life) = life.filter(|life| life.last >= self.epoch) {
                blobs.push((SequenceNumber(at), life.blob));
            }
            left -= 1;
            at = gap(at.saturating_add(1));
        }
        Ok(UncoveredPage { blobs, next: None })
    }
}

impl LedgerView for LedgerAt<'_> {
    fn network(&self) -> NetworkId {
        self.context.network
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn committee(&self) -> &Committee {
        self.committee
    }

    fn registration(&self, number: RegistrationNumber) -> Option<RegistrationFacts> {
        let found = self.read(views::registration(self.state, number))?;
        let status = match found.status {
            // Nothing more is accepted of a blob that is inconsistent.
            floe_ledger::RegistrationStatus::Pending
                if self.read(views::invalid(self.state, &found.blob).map(|shown| shown.is_some())) =>
            {
                RegistrationStatus::Lapsed
            }
            floe_ledger::RegistrationStatus::Pending => RegistrationStatus::Pending,
            // One that was ended early lasts as long as it says, like any other.
            floe_ledger::RegistrationStatus::Certified { .. } | floe_ledger::RegistrationStatus::Deleted { .. } => {
                RegistrationStatus::Certified
            }
            floe_ledger::RegistrationStatus::Lapsed => RegistrationStatus::Lapsed,
        };
        let (blob, blob_bytes) = (found.blob, found.length);
        Some(RegistrationFacts { blob, blob_bytes, last: found.last, certify_by: found.deadline, status })
    }

    fn blob(&self, blob: &BlobId) -> Option<BlobFacts> {
        let found = self.read(views::blob(self.state, blob))?;
        let sequence = match found.status {
            BlobStatus::Certified { sequence, .. } | BlobStatus::Forgotten { sequence, .. } => sequence,
            BlobStatus::Registered | BlobStatus::Lapsed => return None,
        };
        let holders = self.read(views::holders(self.state, blob).map(Some))?;
        let covering = |holder: views::Holder| Covering { shard: holder.shard, kind: holder.kind, node: holder.node };
        let coverage = holders.into_iter().map(covering).collect();
        Some(BlobFacts { blob_bytes: found.length, sequence, last_paid: found.last, coverage })
    }

    fn uncovered(&self, member: MemberIndex, from: SequenceNumber, limit: usize) -> UncoveredPage {
        self.read(self.uncovered_page(member, from.0, limit))
    }

    fn allows(&self, node: &NodeId, blob: &BlobId, shard: ShardIndex, right: Right) -> bool {
        let Some(found) = self.read(views::blob(self.state, blob)) else { return false };
        let BlobStatus::Certified { sequence, .. } = found.status else { return false };
        self.read(views::grants(self.state, &self.context.params, node, (shard, sequence), right))
    }
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
        confirmation_message(&self.network, self.term, self.registration, &self.blob, ENCODING_VERSION)
    }

    /// Signs it. Only [`crate::custody::DurableConfirmation`] lets a holder do so.
    pub(crate) fn sign(&self, key: &BlsSecretKey) -> BlsSignature {
        key.sign(&self.message())
    }
}
