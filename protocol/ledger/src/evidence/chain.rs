//! The chain of terms: from what is trusted to the committee of any later epoch.
//!
//! The committee of an epoch signs the boundary block that ends it, and that block's header names the committee of the next.
//! So one header for each *change* of committee leads from a trusted one to all later ones; epochs in between are left out.
//!
//! # Why links cannot be left out
//! A header is accepted only when a quorum of the committee before it in the chain signed it. A chain that skips a change
//! goes on with a header that the skipped committee signed, and fails unless the older one signed it too. What a header
//! of an unchanged epoch says of its committee must be what the chain says.
//!
//! # Not here
//! Whether a certificate proves a block's hash is asked through [`Certificates`]: the ledger knows no consensus.

use super::roll::{Holding, Roll, rest_of_members, root_of};
use super::sealed::{Opened, Sealed};
use super::{EvidenceError, Part};
use crate::block::BlockHeader;
use crate::merkle::Root;
use crate::sets::MemberSet;
use floe_types::genesis::SEALED_BYTES_MAX;
use floe_types::{BlockId, Epoch, Genesis, Height, NetworkId, codec};
use serde::{Deserialize, Serialize};

/// A certificate that does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The bytes are not one.
    #[error("not a certificate: {reason}")]
    Malformed {
        /// The decoder's words.
        reason: String,
    },
    /// It is for another height or another block.
    #[error("it decides another block")]
    OtherBlock,
    /// Somebody signed who is not a member.
    #[error("signer {key} is not a member")]
    Stranger {
        /// The signer's key.
        key: String,
    },
    /// A member is counted twice.
    #[error("{member} signed twice")]
    Twice {
        /// The member's name.
        member: String,
    },
    /// A signature is not by its signer, over this block, on this network.
    #[error("signature of {member}")]
    Signature {
        /// The member's name.
        member: String,
    },
    /// The signers hold too few shards.
    #[error("its signers hold {found} shards of the {needed} needed")]
    TooFew {
        /// What they hold.
        found: u64,
        /// The least that would do.
        needed: u64,
    },
}

/// What is known of commit certificates outside of the ledger.
pub trait Certificates {
    /// Who of `roll` signed that `value` was decided at `height` in this network: more than two thirds of the shards.
    ///
    /// # Errors
    /// [`CertificateFault`] with what is wrong.
    fn check(
        &self,
        roll: &Roll,
        height: Height,
        value: &[u8; 32],
        certificate: &[u8],
    ) -> Result<MemberSet, CertificateFault>;

    /// The certificate with no more signatures than it needs; as it is when it cannot be read.
    fn least(&self, roll: &Roll, certificate: &[u8]) -> Vec<u8>;
}

/// Where trust begins.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The genesis document.
    Genesis(&'a Genesis),
    /// A boundary block whose id the auditor knows, of this network.
    Boundary {
        /// The network.
        network: NetworkId,
        /// The block.
        block: BlockId,
    },
}

impl Trust<'_> {
    /// The network that is trusted in.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        match self {
            Trust::Genesis(genesis) => genesis.network(),
            Trust::Boundary { network, .. } => *network,
        }
    }
}

/// A boundary that is trusted by its id: its header and the committee that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartHeader {
    /// The header.
    pub header: BlockHeader,
    /// Who votes from then on.
    pub roll: Roll,
    /// The rest of that committee.
    pub rest: Root,
}

/// A change of committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermLink {
    /// The boundary block that names the new committee, decided by the old one.
    pub sealed: Sealed,
    /// The new committee.
    pub roll: Roll,
    /// The rest of it.
    pub rest: Root,
}

/// A header that a quorum of its committee signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The header.
    pub header: BlockHeader,
    /// Its block's id.
    pub id: BlockId,
    /// Who signed, and who did not.
    pub signed: Holding,
    /// The others.
    pub silent: Holding,
    /// Shards that had to sign.
    pub needed: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    first: Epoch,
    roll: Roll,
    rest: Root,
}

/// Committees from what is trusted on, each checked by the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermChain {
    network: NetworkId,
    terms: Vec<Term>,
}

impl TermChain {
    /// A chain that begins with genesis, which is trusted: whoever read it has checked it ([`Genesis::check`]), which costs
    /// a pairing for each member and is not done again here.
    #[must_use]
    pub fn from_genesis(genesis: &Genesis) -> TermChain {
        let mut members = genesis.members.clone();
        members.sort_by_key(|member| member.node);
        let roll = Roll::of_members(genesis.params.shards, &members);
        let term = Term { first: genesis.first_epoch(), roll, rest: rest_of_members(&members) };
        TermChain { network: genesis.network(), terms: vec![term] }
    }

    /// Checks the seam between this chain's network and its successor, whose genesis is trusted no further than that: the
    /// boundary it goes on from was decided by the committee that this chain has for the epoch.
    ///
    /// # Errors
    /// [`EvidenceError::Tampered`] that names [`Part::Seam`].
    pub fn seam(&self, certificates: &dyn Certificates, successor: &Genesis) -> Result<Checked, EvidenceError> {
        let part = Part::Seam;
        let parent = successor.parent.as_ref().ok_or_else(|| part.wrong("the genesis names no network before it"))?;
        let sealed: Sealed = codec::decode(&parent.sealed, SEALED_BYTES_MAX).map_err(|error| part.wrong(error))?;
        let checked = self.check(certificates, &sealed, part)?;
        let header = &checked.header;
        let ended = header.boundary.as_ref().map(|boundary| boundary.ended);
        let named = (parent.network, parent.block, parent.height, Some(parent.ended), Root(parent.state_root));
        if named != (header.network, checked.id, header.height, ended, header.state_root) {
            return Err(part.wrong("the genesis names another boundary than the one it shows"));
        }
        self.agrees(header, part)?;
        Ok(checked)
    }

    /// A chain that begins with a boundary block of which the id is trusted.
    ///
    /// # Errors
    /// [`EvidenceError::Tampered`] when `start` is not that block with its committee.
    pub fn from_boundary(network: NetworkId, block: BlockId, start: &StartHeader) -> Result<TermChain, EvidenceError> {
        if start.header.id() != block || start.header.network != network {
            return Err(Part::Start.wrong("it is not the boundary block that is trusted"));
        }
        let boundary = start.header.boundary.as_ref().ok_or_else(|| Part::Start.wrong("it is no boundary block"))?;
        if boundary.committee_root != root_of(boundary.term, &start.roll.root(), &start.rest) {
            return Err(Part::Start.wrong("the committee is not the one that its header names"));
        }
        let term = Term { first: boundary.ended.next(), roll: start.roll.clone(), rest: start.rest };
        Ok(TermChain { network, terms: vec![term] })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The first epoch whose committee is known.
    #[must_use]
    pub fn first(&self) -> Epoch {
        self.terms.first().map_or(Epoch(1), |term| term.first)
    }

    /// The first epoch of the newest committee.
    #[must_use]
    pub fn newest(&self) -> Epoch {
        self.terms.last().map_or(Epoch(1), |term| term.first)
    }

    /// Committees in the chain.
    #[must_use]
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Never: a chain begins with a committee.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Who votes in `epoch`, as far as this chain says: from the newest committee on the last one known.
    #[must_use]
    pub fn roll_in(&self, epoch: Epoch) -> Option<&Roll> {
        self.term_in(epoch).map(|term| &term.roll)
    }

    fn term_in(&self, epoch: Epoch) -> Option<&Term> {
        let after = self.terms.partition_point(|term| term.first <= epoch);
        self.terms.get(after.checked_sub(1)?)
    }

    /// Checks that the committee of its epoch decided the block that `sealed` shows the header of.
    ///
    /// # Errors
    /// [`EvidenceError::Tampered`] that names `part`.
    pub fn check(
        &self,
        certificates: &dyn Certificates,
        sealed: &Sealed,
        part: Part,
    ) -> Result<Checked, EvidenceError> {
        let Opened { header, value } = sealed.open().map_err(|error| part.wrong(error))?;
        if header.network != self.network {
            return Err(part.wrong("it is of another network"));
        }
        // A boundary block is voted on by the committee of the epoch that it ends.
        let epoch = header.boundary.as_ref().map_or(header.epoch, |boundary| boundary.ended);
        let term = self.term_in(epoch).ok_or_else(|| part.wrong("it is older than what is trusted"))?;
        let signers = certificates
            .check(&term.roll, header.height, &value, &sealed.certificate)
            .map_err(|fault| part.wrong(fault))?;
        let (signed, silent) = (term.roll.holding(&signers), term.roll.others(&signers));
        Ok(Checked { id: header.id(), header, signed, silent, needed: term.roll.quorum() })
    }

    /// Takes the next change of committee into the chain.
    ///
    /// # Errors
    /// [`EvidenceError::Tampered`] with what is wrong; the chain is as before.
    pub fn extend(&mut self, certificates: &dyn Certificates, link: &TermLink) -> Result<Checked, EvidenceError> {
        let part = Part::Term { number: self.terms.len() as u64 };
        let checked = self.check(certificates, &link.sealed, part)?;
        let boundary = checked.header.boundary.as_ref().ok_or_else(|| part.wrong("it is no boundary block"))?;
        let first = boundary.ended.next();
        if first <= self.newest() {
            return Err(part.wrong("it is older than the one before"));
        }
        if boundary.committee_root != root_of(boundary.term, &link.roll.root(), &link.rest) {
            return Err(part.wrong("the committee is not the one that its header names"));
        }
        self.terms.push(Term { first, roll: link.roll.clone(), rest: link.rest });
        Ok(checked)
    }

    /// Checks that a boundary header names the committee that the chain has for the epoch that it begins.
    ///
    /// # Errors
    /// [`EvidenceError::Tampered`] that names `part`: a change of committee was left out.
    pub fn agrees(&self, header: &BlockHeader, part: Part) -> Result<(), EvidenceError> {
        let Some(boundary) = &header.boundary else { return Ok(()) };
        let begins = self.term_in(boundary.ended.next());
        let known = begins.map(|term| root_of(boundary.term, &term.roll.root(), &term.rest));
        if known == Some(boundary.committee_root) {
            Ok(())
        } else {
            Err(part.wrong("it names a committee that is not in the chain of terms"))
        }
    }
}
