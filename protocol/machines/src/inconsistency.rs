//! Inconsistent encodings: judging the evidence that somebody brings, signing what was judged, gathering signatures.
//!
//! ```text
//!  reader ── head, body on a stream ──► member: judge ──► Finding ──► sign ── Confirmation ──► reader: Gathering
//!                                                                                               │ f + 1 shards
//!                                                                              ledger ◄── Action::Invalid
//! ```
//!
//! A member signs only what it has judged itself: a signature is made from a [`Finding`] and from nothing else. Judging is a
//! pure function over the evidence's head, its body and what the ledger says of the blob; it takes bounded memory, and time in
//! proportion to the body, which is at most a sliver.
//!
//! # Not here
//! Streams, which evidence is fetched when, and how many are judged at a time are the shell's. What the ledger does with
//! enough signatures is [`floe_ledger::invalid`].

use floe_erasure::{CheckedEvidence, Evidence, EvidenceError, LayoutError, Options, ReadAt};
use floe_ledger::{Inconsistency, InconsistencyStatement};
use floe_types::bls::{BlsSecretKey, BlsSignature, aggregate};
use floe_types::{BlobId, Committee, Layout, MemberIndex, NetworkId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A blob as the ledger has it registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accused {
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes, which its id commits to.
    pub blob_bytes: u64,
    /// `n` of the network.
    pub shards: u16,
}

/// Evidence that was not found to hold.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// There is no layout for a blob of this length.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It shows nothing, or nothing was found out ([`EvidenceError::is_undecided`]).
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// Evidence that this node judged itself and that holds. Made by [`judge`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding(CheckedEvidence);

/// Judges evidence against a blob: its head as it came, and its body.
///
/// # Errors
/// [`JudgeError`].
pub fn judge(accused: &Accused, head: &[u8], body: &dyn ReadAt, options: &Options<'_>) -> Result<Finding, JudgeError> {
    let layout = Layout::new(accused.shards, accused.blob_bytes)?;
    let evidence = Evidence::decode(head, &accused.blob, &layout)?;
    Ok(Finding(evidence.verify(body, options)?))
}

impl Finding {
    /// What a member says of it in a term.
    #[must_use]
    pub fn statement(&self, network: NetworkId, term: u64) -> InconsistencyStatement {
        let (blob, kind, sliver) = (self.0.blob(), self.0.kind(), self.0.sliver());
        InconsistencyStatement { network, term, blob, kind, sliver }
    }

    /// Says it.
    #[must_use]
    pub fn confirm(&self, node: NodeId, (network, term): (NetworkId, u64), key: &BlsSecretKey) -> Confirmation {
        Confirmation { node, term, signature: key.sign(&self.statement(network, term).message()) }
    }
}

/// That a member has judged a piece of evidence itself and that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The member.
    pub node: NodeId,
    /// The term it signed in.
    pub term: u64,
    /// Over [`InconsistencyStatement::message`].
    pub signature: BlsSignature,
}

/// A confirmation that counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    /// Not a member of the committee.
    #[error("node {node} is no member in term {term}")]
    Stranger {
        /// Who says so.
        node: NodeId,
        /// The term.
        term: u64,
    },
    /// For another term.
    #[error("signed in term {found}, gathered for term {expected}")]
    OtherTerm {
        /// Its term.
        found: u64,
        /// The gathering's.
        expected: u64,
    },
    /// Not the member's signature over this statement.
    #[error("the signature of node {node} is not over this statement")]
    Signature {
        /// The member.
        node: NodeId,
    },
}

/// Confirmations of one finding in one term, one a member.
#[derive(Clone, Debug)]
pub struct Gathering {
    statement: InconsistencyStatement,
    committee: Committee,
    confirmed: BTreeMap<MemberIndex, BlsSignature>,
}

impl Gathering {
    /// None gathered yet, for what `finding` says to this committee.
    #[must_use]
    pub fn new(finding: &Finding, network: NetworkId, committee: Committee) -> Gathering {
        let statement = finding.statement(network, committee.term());
        Gathering { statement, committee, confirmed: BTreeMap::new() }
    }

    /// Takes a confirmation. One of the same member again changes nothing.
    ///
    /// # Errors
    /// [`GatherError`]: whoever gave it is wrong.
    pub fn add(&mut self, confirmation: &Confirmation) -> Result<(), GatherError> {
        let Confirmation { node, term, signature } = *confirmation;
        let expected = self.statement.term;
        if term != expected {
            return Err(GatherError::OtherTerm { found: term, expected });
        }
        let index = self.committee.index_of(&node);
        let member = index.and_then(|index| Some((index, self.committee.member(index)?)));
        let (index, member) = member.ok_or(GatherError::Stranger { node, term })?;
        if self.confirmed.contains_key(&index) {
            return Ok(());
        }
        let verified = member.bls_key.verify(&self.statement.message(), &signature);
        verified.map_err(|_| GatherError::Signature { node })?;
        self.confirmed.insert(index, signature);
        Ok(())
    }

    /// Shards of the members that confirmed.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.committee.shards_of(self.confirmed.keys().copied())
    }

    /// What the ledger is to be told, once members with at least `f + 1` shards confirmed.
    #[must_use]
    pub fn claim(&self) -> Option<Inconsistency> {
        if self.shards() <= self.committee.faulty() {
            return None;
        }
        let signatures: Vec<BlsSignature> = self.confirmed.values().copied().collect();
        let signature = aggregate(&signatures).ok()?;
        let InconsistencyStatement { term, blob, kind, sliver, .. } = self.statement;
        let members = self.confirmed.keys().copied().collect();
        Some(Inconsistency { term, blob, kind, sliver, members, signature })
    }
}

#[cfg(test)]
#[path = "inconsistency_tests.rs"]
mod tests;
