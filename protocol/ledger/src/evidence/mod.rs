//! Evidence: answers that anyone can check offline, long after, without a network.
//!
//! *Was this blob available in this epoch, and who says so?* [`audit`] makes a file that answers, [`verify`] checks it from
//! genesis, or from a boundary that the auditor trusts, and gives the answer in structured form or names what was tampered
//! with. Answers that say no are as good as those that say yes: never registered, not certified yet, forgotten since,
//! nothing decided.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`sealed`] | a block's header under the hash that its certificate names, without the block |
//! | [`roll`] | who votes, and the terms in which that changed |
//! | [`chain`] | from what is trusted to the committee of any later epoch |
//! | [`list`] | items of the lists that boundaries commit to |
//! | [`kept`] | those lists, kept while their epoch is remembered |
//! | `segments` | the map of segments of an epoch that is past, put together again |
//! | [`proof`] | what a file holds and how it is made |
//! | [`verify`](mod@verify) | how it is checked |
//!
//! # Why an answer is sound
//! A file shows two headers that a quorum of their committees signed. The **boundary that ended the epoch** commits to the
//! verdicts and the segments of that epoch for ever. The **anchor**, the newest block of whoever made the file, commits to
//! what is known of the blob. That the anchor is younger than the epoch does no harm, because of how lives are written:
//!
//! 1. A life's number, blob, length, first epoch, epoch of certification and predecessor are written once.
//! 2. Its last paid epoch may move while it is defended, by a deletion at most back to the running epoch, and never again.
//!    It is forgotten at the boundary of that epoch, at no other. One that is found invalid is defended to the end of the
//!    epoch before, and no epoch that has ended is taken from it. So at any later block: *defended in `e`* if and only if *certified* `<= e <=` *last*.
//! 3. A number is in exactly one segment of an epoch in which it was defended: segments do not overlap and leave nothing out.
//!
//! So the newest life that began by the end of `e`, reached from the blob's entry through its predecessors, is the one that
//! `e` judged or had forgotten; that none is skipped follows from the links, and that there is none follows from the end
//! of the chain or from absence in the map by id.
//!
//! # What it rests on
//! BLAKE3, the votes' signatures, and that no more than a third of each committee on the way signs two histories, then or
//! later: votes of a term are signed with keys that are destroyed when it is over. From a boundary that is younger than the
//! unbonding time the last part needs no trust in the past.

pub mod chain;
pub mod kept;
pub mod list;
pub mod proof;
pub mod roll;
pub mod sealed;
pub(crate) mod segments;
pub mod verify;

pub use chain::{CertificateFault, Certificates, Checked, StartHeader, TermChain, TermLink, Trust};
pub use kept::List;
pub use list::{ListProof, ListProofError};
pub use proof::{AUDIT_BYTES_MAX, AuditError, AuditProof, Headers, Origin, Question, audit, links};
pub use roll::{Holding, Roll, TermRecord, Voter, committee_root};
pub use sealed::{CERTIFICATE_BYTES_MAX, Opened, Sealed, SealedError, header_in};
pub use verify::{Answer, Audit, Seam, verify};

pub(crate) use kept::{drop_lists, keep};
pub(crate) use roll::note_term;

use floe_types::{NetworkId, SequenceNumber};
use std::fmt;

/// A part of a proof, to say which one is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is asked.
    Question,
    /// The trusted boundary, or genesis.
    Start,
    /// Where a successor goes on from the network before it.
    Seam,
    /// A change of committee.
    Term {
        /// Counted from 1, the first after what is trusted.
        number: u64,
    },
    /// The boundary that ended the epoch.
    Decided,
    /// The block under which the blob is shown.
    Anchor,
    /// The blob's entry by its id.
    Blob,
    /// A life of it.
    Life {
        /// Its number.
        number: SequenceNumber,
    },
    /// The segment that the blob was judged in.
    Class,
    /// The verdict.
    Verdict,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Question => f.write_str("question"),
            Part::Start => f.write_str("trusted boundary"),
            Part::Seam => f.write_str("boundary that a successor goes on from"),
            Part::Term { number } => write!(f, "term header {number}"),
            Part::Decided => f.write_str("boundary of the epoch"),
            Part::Anchor => f.write_str("newest block"),
            Part::Blob => f.write_str("entry of the blob"),
            Part::Life { number } => write!(f, "sequence record {number}"),
            Part::Class => f.write_str("segment of the blob"),
            Part::Verdict => f.write_str("verdict record"),
        }
    }
}

impl Part {
    /// The error that names this part.
    pub(crate) fn wrong(self, reason: impl fmt::Display) -> EvidenceError {
        EvidenceError::Tampered { part: self, reason: reason.to_string() }
    }
}

/// A proof that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Longer than a proof may be.
    #[error("{found} bytes, a proof has at most {max}")]
    TooLong {
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not the encoding of a proof.
    #[error("not an audit proof: {reason}")]
    Malformed {
        /// The decoder's words.
        reason: String,
    },
    /// Of another version.
    #[error("the proof is of version {found}, this program reads {ours}")]
    Version {
        /// Its version.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// Of another network than the one that is trusted.
    #[error("the proof is of network {found}, not of {expected}")]
    OtherNetwork {
        /// Its network.
        found: NetworkId,
        /// The trusted one.
        expected: NetworkId,
    },
    /// A part is not what was signed.
    #[error("{part}: {reason}")]
    Tampered {
        /// Which part.
        part: Part,
        /// What is wrong with it.
        reason: String,
    },
}
