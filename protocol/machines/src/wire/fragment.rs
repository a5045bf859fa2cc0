//! `/floe/fragment/1`: fragments in, slivers and recovery symbols out, confirmations. One request a stream, bulk with back
//! pressure.
//!
//! ```text
//! asker                                              holder
//!   | -- u32 BE length | Request ------------------->  |
//!   | -- raw bytes of the fragment (Store only) ---->  |
//!   | -- head and body of evidence (Judge only) ---->  |
//!   | <------------------- u32 BE length | Answer ---  |
//!   | <------ raw bytes of the sliver (Sliver), symbol |
//! ```
//!
//! - A sliver is given whole, or as a run of units that prove themselves ([`super::units`]).
//! - The length of every raw part follows from `n` and the blob's length and is never sent: the asker and the holder
//!   compute it. A holder takes the blob's length from the registration, an asker from the ledger.
//! - An asker reads while it writes. An answer that comes before the fragment has been sent ends the exchange: *stored*
//!   because it is there already, or a refusal. So no round trip is spent on asking whether to send.
//! - *Stored* says that the fragment is durable. Only a confirmation is a promise towards the network.
//! - A recovery symbol is asked for bare; only when what was made of the symbols is not what the blob commits to is each
//!   helper asked to open the one it gave. Whoever asks says under which [`Right`]; the holder looks into its own ledger.
//! - [`Answer::QuietRetry`] is understood from this first version on, so that a later rule may freeze a sampled few
//!   fragments while they are asked for; an asker treats it as a holder that will answer later.
//!
//! # Laws
//! - **WF-1** A length is checked against [`HEADER_BYTES_MAX`] before memory is given for it.
//! - **WF-2** One value, one encoding: what is not canonical is refused ([`floe_types::codec`]).
//!
//! # Not here
//! Bytes on streams are the shell's; whether an offer is taken is [`crate::custody`]'s.

use crate::ledger_view::Lapse;
use crate::wire::units::UnitRun;
use floe_erasure::{Axis, Layout};
pub use floe_ledger::repairs::Right;
use floe_types::bls::BlsSignature;
use floe_types::codec::{self, DecodeError};
use floe_types::{BlobId, Epoch, NetworkId, RegistrationNumber, ShardIndex};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The longest header, request or answer, in bytes without its length. A proof at 1,024 shards is below 2 KiB, the
/// longest list of missing shards below 4 KiB; the rest is room for later versions of the answers.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// Bytes of the length before a header.
pub const LENGTH_BYTES: usize = 4;
/// The longest wait that an answer may ask for; a longer one is taken for this.
pub const RETRY_MILLIS_MAX: u32 = 60_000;

/// Which of a fragment's slivers is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAxis {
    /// The row.
    Primary,
    /// The column.
    Secondary,
    /// Both, the row first: what a shard's next holder needs.
    Pair,
}

impl From<Axis> for ReadAxis {
    fn from(axis: Axis) -> ReadAxis {
        match axis {
            Axis::Primary => ReadAxis::Primary,
            Axis::Secondary => ReadAxis::Secondary,
        }
    }
}

impl ReadAxis {
    /// The one sliver that it is; none when it is both.
    #[must_use]
    pub fn axis(self) -> Option<Axis> {
        match self {
            ReadAxis::Primary => Some(Axis::Primary),
            ReadAxis::Secondary => Some(Axis::Secondary),
            ReadAxis::Pair => None,
        }
    }

    /// Where the bytes are in a fragment of this layout.
    #[must_use]
    pub fn span(self, layout: &Layout) -> Range<u64> {
        match self {
            ReadAxis::Primary => 0..layout.primary_bytes(),
            ReadAxis::Secondary => layout.primary_bytes()..layout.fragment_bytes(),
            ReadAxis::Pair => 0..layout.fragment_bytes(),
        }
    }
}

/// Which part of a sliver is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadRange {
    /// All of it.
    Whole,
    /// Some neighbouring units of one sliver, each with its opening; of [`ReadAxis::Pair`] there are none.
    Units(UnitRun),
}

/// A fragment offered to the holder of its shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRequest {
    /// Under which registration.
    pub registration: RegistrationNumber,
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes; refused when the registration says otherwise.
    pub blob_bytes: u64,
    /// The shard whose fragment follows.
    pub shard: ShardIndex,
    /// The fragment's encoded proof.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// What is asked on a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Keep this fragment. Its bytes follow, the primary sliver first.
    Store(StoreRequest),
    /// Sign that the fragments of all your shards are durable.
    Confirm {
        /// Under which registration.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
    },
    /// Give a sliver, or both.
    Read {
        /// The blob.
        blob: BlobId,
        /// Of which shard.
        shard: ShardIndex,
        /// Which of the two.
        axis: ReadAxis,
        /// Which part.
        range: ReadRange,
    },
    /// Give a symbol for a fragment that the asker rebuilds.
    Symbol(SymbolRequest),
    /// Judge this evidence that the blob is encoded inconsistently. Its head follows, then its body, whose length follows
    /// from the head.
    Judge {
        /// The blob.
        blob: BlobId,
        /// Bytes of the head: at most [`floe_erasure::Evidence::head_bytes_max`].
        head_bytes: u32,
    },
}

/// What of a recovery symbol is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SymbolPart {
    /// Its bytes, without anything that proves them.
    Bytes,
    /// Its opening, without its bytes: the sliver made with it was not the committed one.
    Opening,
}

/// A recovery symbol, or its opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolRequest {
    /// The blob.
    pub blob: BlobId,
    /// The shard whose fragment gives the symbol.
    pub shard: ShardIndex,
    /// The shard whose fragment is rebuilt.
    pub target: ShardIndex,
    /// Which of its slivers.
    pub axis: Axis,
    /// What of it.
    pub part: SymbolPart,
    /// Why.
    pub right: Right,
}

/// A request: whose network, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The asker's network.
    pub network: NetworkId,
    /// What is asked.
    pub ask: Ask,
}

/// Why a holder will not, with the facts that let the asker decide what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The request is not one, or is of another network.
    #[error("the request is malformed or of another network")]
    Malformed,
    /// The holder's ledger has no such registration; it may be behind.
    #[error("registration {number} is not on the holder's ledger (its epoch is {epoch})")]
    UnknownRegistration {
        /// The number asked for.
        number: RegistrationNumber,
        /// The holder's epoch.
        epoch: Epoch,
    },
    /// The registration is of another blob or length.
    #[error("registration {number} is of another blob or length")]
    OtherBlob {
        /// The number asked for.
        number: RegistrationNumber,
    },
    /// The registration cannot be filled any more.
    #[error("registration {number} is over: {lapse}")]
    Lapsed {
        /// The number asked for.
        number: RegistrationNumber,
        /// Why.
        lapse: Lapse,
    },
    /// The shard is somebody else's.
    #[error("shard {shard} is not the holder's in term {term}")]
    NotMyShard {
        /// The shard asked for.
        shard: ShardIndex,
        /// The holder's term.
        term: u64,
    },
    /// The holder has no seat.
    #[error("the holder is not a member of the committee of term {term}")]
    NotMember {
        /// The holder's term.
        term: u64,
    },
    /// The fragment or its proof does not belong to the blob.
    #[error("the fragment does not verify against the blob id")]
    BadFragment,
    /// The fragment is what the blob id commits to, but the blob is encoded inconsistently: its uploader's doing.
    #[error("the blob is encoded inconsistently")]
    Inconsistent,
    /// The stream ended, or was too slow, before the fragment was whole.
    #[error("the fragment did not arrive whole and in time")]
    Incomplete,
    /// The holder has not all fragments of its shards.
    #[error("fragments of {} shards are missing", missing.len())]
    Missing {
        /// The shards, ascending.
        missing: Vec<ShardIndex>,
    },
    /// The holder does not hold this fragment.
    #[error("the holder does not hold this fragment")]
    NotHeld,
    /// The holder's disk is full.
    #[error("the holder has no room for {needed_bytes} bytes")]
    NoRoom {
        /// Bytes asked for.
        needed_bytes: u64,
    },
    /// The holder's disk failed or its piece is damaged; what it says is not for strangers.
    #[error("the holder's store failed")]
    StoreFailed,
    /// The holder's ledger gives the asker no such right; it may be behind, or ahead.
    #[error("nothing on the holder's ledger lets the asker rebuild shard {target} (its epoch is {epoch})")]
    NoRight {
        /// The shard to be rebuilt.
        target: ShardIndex,
        /// The holder's epoch.
        epoch: Epoch,
    },
    /// The evidence does not show what it says, or not of a blob that is defended.
    #[error("the evidence does not show that the blob is encoded inconsistently")]
    NotShown,
}

impl Refusal {
    /// Whether asking the same holder for the same thing again may end differently.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Refusal::UnknownRegistration { .. }
            | Refusal::NotMyShard { .. }
            | Refusal::NotMember { .. }
            | Refusal::Incomplete
            | Refusal::Missing { .. }
            | Refusal::NoRoom { .. }
            | Refusal::StoreFailed
            | Refusal::NoRight { .. } => true,
            Refusal::Malformed
            | Refusal::OtherBlob { .. }
            | Refusal::Lapsed { .. }
            | Refusal::BadFragment
            | Refusal::Inconsistent
            | Refusal::NotHeld
            | Refusal::NotShown => false,
        }
    }
}

/// What is answered on a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The fragment is durable here, whether by this request or before.
    Stored,
    /// No.
    Refused {
        /// Why.
        reason: Refusal,
        /// Milliseconds after which asking again makes sense; none when it makes none.
        retry_after_millis: Option<u32>,
    },
    /// The confirmation asked for.
    Confirmation {
        /// Over [`crate::ledger_view::ConfirmationStatement`].
        signature: BlsSignature,
    },
    /// The bytes of the sliver, of both, or of the units and openings asked for, follow.
    Sliver {
        /// Length of the blob as the holder keeps it. An asker that expects another length stops reading.
        blob_bytes: u64,
        /// The fragment's encoded proof.
        #[serde(with = "serde_bytes")]
        proof: Vec<u8>,
    },
    /// A rule of the network asks the holder to be quiet about this fragment for a while.
    QuietRetry {
        /// Milliseconds.
        after_millis: u32,
    },
    /// The holder's limits are reached.
    Busy {
        /// Milliseconds after which asking again makes sense.
        retry_after_millis: u32,
    },
    /// The symbol asked for: its bytes follow, or its opening is here.
    Symbol {
        /// Length of the blob as the holder keeps it. An asker that expects another length stops reading.
        blob_bytes: u64,
        /// The encoded proof of the fragment that gives it.
        #[serde(with = "serde_bytes")]
        proof: Vec<u8>,
        /// The encoded opening; empty when the bytes follow.
        #[serde(with = "serde_bytes")]
        opening: Vec<u8>,
    },
    /// The evidence holds.
    Judged {
        /// Signed in this term.
        term: u64,
        /// Over [`floe_ledger::InconsistencyStatement::message`].
        signature: BlsSignature,
    },
}

/// A header that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The announced length is zero or too long.
    #[error("a header of {found} bytes, allowed are 1 to {HEADER_BYTES_MAX}")]
    Length {
        /// As announced.
        found: u32,
    },
    /// The bytes are not one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The length announced by the first four bytes of a header.
///
/// # Errors
/// [`HeaderError::Length`] when it is zero or above [`HEADER_BYTES_MAX`].
pub fn header_bytes(length: [u8; LENGTH_BYTES]) -> Result<usize, HeaderError> {
    let found = u32::from_be_bytes(length);
    match usize::try_from(found) {
        Ok(bytes) if (1..=HEADER_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(HeaderError::Length { found }),
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    // A header of ours is never longer than 64 KiB: proofs and lists in it are bounded by the number of shards.
    let length = u32::try_from(body.len()).expect("headers are shorter than 64 KiB");
    let mut frame = Vec::with_capacity(LENGTH_BYTES + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// A request with its length before it, as it goes on a stream.
#[must_use]
pub fn frame_request(request: &Request) -> Vec<u8> {
    framed(&codec::encode(request))
}

/// An answer with its length before it, as it goes on a stream.
#[must_use]
pub fn frame_answer(answer: &Answer) -> Vec<u8> {
    framed(&codec::encode(answer))
}

/// The request in the bytes after the length.
///
/// # Errors
/// [`HeaderError::Decode`] when they are not exactly one.
pub fn decode_request(body: &[u8]) -> Result<Request, HeaderError> {
    Ok(codec::decode(body, HEADER_BYTES_MAX)?)
}

/// The answer in the bytes after the length.
///
/// # Errors
/// [`HeaderError::Decode`] when they are not exactly one.
pub fn decode_answer(body: &[u8]) -> Result<Answer, HeaderError> {
    Ok(codec::decode(body, HEADER_BYTES_MAX)?)
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
