//! What validators send each other.
//!
//! ```text
//! vote         one prevote or precommit, signed                                about 180 bytes
//! proposal     signed offer of a value, with the value's bytes                 value + about 180
//! polka        proof that a value had a quorum of prevotes                     96 per signer
//! round        proof that a round may be entered                               up to 131 per signer
//! ```
//!
//! The two proofs carry no signature of who sent them: they prove themselves.
//! A decoded message is unchecked; the machine checks it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ballot::{SignedProposal, SignedVote, VoteKind};
use crate::certificate::{PolkaCertificate, RoundCertificate};
use crate::codec::{self, DecodeError};
use crate::{Height, NetworkId, Round, VALIDATORS_MAX, ValidatorKey};

/// A message is never longer than its value and this: a round certificate of [`VALIDATORS_MAX`] signers.
pub const MESSAGE_OVERHEAD_MAX: usize = VALIDATORS_MAX * 132 + 256;

/// One consensus message as it travels. Unchecked until the machine has taken it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message(pub(crate) Content);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    Vote(SignedVote),
    Proposal(SignedProposal, Bytes),
    Polka(PolkaCertificate),
    Round(RoundCertificate),
}

/// What a message is, for counting and for choosing how to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
    /// A proposal with its value.
    Proposal,
    /// A proof that a value had a quorum of prevotes.
    PolkaCertificate,
    /// A proof that a round may be entered.
    RoundCertificate,
}

impl Message {
    /// The bytes that [`Self::decode`] reads. Equal messages have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a message of at most `max` bytes; [`crate::Config::message_bytes_max`] is a good choice.
    pub fn decode(bytes: &[u8], max: usize) -> Result<Self, DecodeError> {
        let message: Self = codec::decode(bytes, max)?;
        let signers = match &message.0 {
            Content::Vote(_) | Content::Proposal(..) => 1,
            Content::Polka(certificate) => certificate.signatures.len(),
            Content::Round(certificate) => certificate.votes.len(),
        };
        if signers > VALIDATORS_MAX {
            return Err(DecodeError::Malformed);
        }
        Ok(message)
    }

    /// The height that the message is about.
    pub fn height(&self) -> Height {
        match &self.0 {
            Content::Vote(vote) => vote.height,
            Content::Proposal(proposal, _) => proposal.height,
            Content::Polka(certificate) => certificate.height,
            Content::Round(certificate) => certificate.height,
        }
    }

    /// The round that the message is about.
    pub fn round(&self) -> Round {
        match &self.0 {
            Content::Vote(vote) => vote.round,
            Content::Proposal(proposal, _) => proposal.round,
            Content::Polka(certificate) => certificate.round,
            Content::Round(certificate) => certificate.round,
        }
    }

    /// Who claims to have signed it; `None` for a proof, which many signed.
    pub fn sender(&self) -> Option<ValidatorKey> {
        match &self.0 {
            Content::Vote(vote) => Some(vote.key),
            Content::Proposal(proposal, _) => Some(proposal.key),
            Content::Polka(_) | Content::Round(_) => None,
        }
    }

    /// Which sort of message it is.
    pub fn kind(&self) -> MessageKind {
        match &self.0 {
            Content::Vote(vote) => match vote.kind {
                VoteKind::Prevote => MessageKind::Prevote,
                VoteKind::Precommit => MessageKind::Precommit,
            },
            Content::Proposal(..) => MessageKind::Proposal,
            Content::Polka(_) => MessageKind::PolkaCertificate,
            Content::Round(_) => MessageKind::RoundCertificate,
        }
    }

    /// Whether the sender's signature verifies. A proof has no sender and is judged by the machine alone.
    pub fn is_signed(&self, network: &NetworkId) -> bool {
        match &self.0 {
            Content::Vote(vote) => vote.is_signed(network),
            Content::Proposal(proposal, _) => proposal.is_signed(network),
            Content::Polka(_) | Content::Round(_) => false,
        }
    }

    /// How much memory keeping the message takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let value = match &self.0 {
            Content::Proposal(_, value) => value.len(),
            _ => 0,
        };
        size_of::<Self>() + value
    }
}
