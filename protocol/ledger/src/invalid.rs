//! Inconsistent encodings: members say that they checked evidence against a blob, and the blob leaves every duty.
//!
//! The evidence is as long as a sliver and never on the ledger. `Invalid` names the blob, the kind and the sliver, and shows
//! the aggregate signature of members with at least `f + 1` shards over [`InconsistencyStatement::message`]: then at least one
//! honest member verified it. Anyone may send it.
//!
//! **The bond.** Whoever sends one puts [`Params::invalid_bond`](floe_types::Params) down. It comes back at once when enough
//! members signed, and goes to the reserve when too few did or the signature is not theirs: such a transaction is *executed* and
//! changes nothing else, so that it cannot be tried for nothing. What is wrong for other reasons (a blob that nobody
//! registered, one that is invalid already, a term that is over) is refused and costs nothing: races are nobody's fault.
//!
//! **What follows**, in the same block: the blob is judged, challenged and paid for no more, from the running epoch on; what
//! its registrations have paid for later epochs goes to the reserve and never back, else a faulty encoding would be free storage
//! until it is found; budgets set aside for renewals go back to their owners. The id can be registered and certified never
//! again. The epoch's boundary notes the transition.
//!
//! # Laws
//! - **I7** What leaves the buckets is what the reserve gets.

use crate::actions::Acting;
use crate::blobs;
use crate::challenges;
use crate::event::Event;
use crate::lifecycle;
use crate::money::{self, Pot};
use crate::records::Defence;
use crate::refusal::{Halt, Refusal};
use crate::sets::MemberSet;
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use floe_erasure::{Axis, EvidenceKind, SliverId};
use floe_types::bls::BlsSignature;
use floe_types::{BlobId, Committee, Epoch, MemberIndex, NetworkId, codec};
use serde::{Deserialize, Serialize};

/// What a member signs after it has verified a piece of evidence itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InconsistencyStatement {
    /// In which network.
    pub network: NetworkId,
    /// In which term: seats belong to a term.
    pub term: u64,
    /// The blob whose encoding is inconsistent.
    pub blob: BlobId,
    /// What the evidence shows.
    pub kind: EvidenceKind,
    /// The sliver it shows it of; none for [`EvidenceKind::Roots`].
    pub sliver: Option<SliverId>,
}

impl InconsistencyStatement {
    /// The bytes that are signed, in a domain of their own.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        codec::encode(&("floe 1 inconsistent encoding", self))
    }
}

/// That a blob's encoding is inconsistent, as members with at least `f + 1` shards checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inconsistency {
    /// The term in which they signed.
    pub term: u64,
    /// The blob.
    pub blob: BlobId,
    /// What the evidence shows.
    pub kind: EvidenceKind,
    /// The sliver it shows it of; none for [`EvidenceKind::Roots`].
    pub sliver: Option<SliverId>,
    /// Who checked it.
    pub members: MemberSet,
    /// The aggregate of their signatures over the statement.
    pub signature: BlsSignature,
}

impl Inconsistency {
    /// What its members signed.
    #[must_use]
    pub fn statement(&self, network: NetworkId) -> InconsistencyStatement {
        InconsistencyStatement { network, term: self.term, blob: self.blob, kind: self.kind, sliver: self.sliver }
    }

    /// What can be wrong with it whatever the state.
    pub(crate) fn shape(&self) -> Result<(), &'static str> {
        let axis = self.sliver.map(|sliver| sliver.axis);
        match (self.kind, axis) {
            (EvidenceKind::Roots, None)
            | (EvidenceKind::Column, Some(Axis::Secondary))
            | (EvidenceKind::Row, Some(Axis::Primary))
            | (EvidenceKind::Extension | EvidenceKind::Padding, Some(_)) => Ok(()),
            _ => Err("evidence of this kind is not about such a sliver"),
        }
    }
}

/// What the ledger remembers of an inconsistent blob, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidRecord {
    /// The epoch in which it was shown: the first without the blob.
    pub epoch: Epoch,
    /// What was shown and who said so.
    pub shown: Inconsistency,
}

/// What is remembered of `blob` when it is invalid.
pub(crate) fn record(state: &dyn StateRead, blob: &BlobId) -> Result<Option<InvalidRecord>, StateError> {
    Table::Invalid.load(state, &Table::Invalid.key(&[&blob.0]))
}

impl Acting<'_, '_, '_> {
    pub(crate) fn invalidate(&mut self, shown: &Inconsistency) -> Result<Vec<Event>, Halt> {
        let blob = shown.blob;
        match blobs::record(self.overlay, &blob)?.map(|record| record.defence) {
            None => return Err(Refusal::NoBlob { blob }.into()),
            Some(Defence::Invalid) => return Err(Refusal::BlobInvalid { blob }.into()),
            Some(_) => {}
        }
        let shards = self.scene.committee.shards();
        if let Some(sliver) = shown.sliver.filter(|sliver| sliver.pair.0 >= shards) {
            return Err(Refusal::NoSliver { pair: sliver.pair.0, shards }.into());
        }
        let committee = self.signers_of(shown.term)?;
        let (transaction, bond) = (self.transaction, self.scene.context.params.invalid_bond);
        money::debit(self.overlay, &self.sender, bond, Pot::Reserve)?;
        if !self.is_shown(&committee, shown) {
            return Ok(vec![Event::BondLost { transaction, account: self.sender, blob, lost: bond }]);
        }
        money::credit(self.overlay, &self.sender, bond, Pot::Reserve)?;
        let epoch = self.scene.epoch;
        let key = Table::Invalid.key(&[&blob.0]);
        Table::Invalid.store(self.overlay, key, &InvalidRecord { epoch, shown: shown.clone() });
        let (sequence, reserve) = blobs::invalidate(self.overlay, &self.scene.context.params, &blob, epoch)?;
        if let Some(number) = sequence {
            challenges::spoil(self.overlay, number)?;
        }
        let (kind, sliver) = (shown.kind, shown.sliver);
        Ok(vec![Event::BlobInvalid { transaction, blob, sequence, kind, sliver, reserve }])
    }

    /// The committee of `term`: in office, or the one before in the first epoch of a term.
    fn signers_of(&self, term: u64) -> Result<Committee, Halt> {
        let running = self.scene.committee;
        if term == running.term() {
            return Ok(running.clone());
        }
        let least = if self.term_begins() { running.term().saturating_sub(1) } else { running.term() };
        let before = if term == least { lifecycle::past_committee(self.overlay, term)? } else { None };
        Ok(before.ok_or(Refusal::OtherTerm { found: term, least, most: running.term() })?)
    }

    /// Whether members with at least `f + 1` shards signed.
    fn is_shown(&self, committee: &Committee, shown: &Inconsistency) -> bool {
        if usize::from(shown.members.end()) > committee.members().len() {
            return false;
        }
        let signers = shown.members.iter().filter_map(|index| committee.member(index));
        if signers.map(|member| member.shards.len()).sum::<usize>() <= usize::from(committee.faulty()) {
            return false;
        }
        let keys = committee.members().iter().map(|member| member.bls_key).collect();
        let message = shown.statement(self.scene.context.network).message();
        let signs = |at: usize| shown.members.contains(MemberIndex(at as u16));
        let decoded = self.scene.context.memo.signers.of(keys);
        decoded.is_ok_and(|signers| signers.verify(&signs, &message, &shown.signature).is_ok())
    }
}
