//! Proof that a validator signed two different things where it may sign one.

use serde::{Deserialize, Serialize};

use crate::ballot::{SignedProposal, SignedVote};
use crate::codec::{self, DecodeError};
use crate::{Height, NetworkId, Round, Signature, Step, ValidatorKey, ValueId};

/// An equivocation always fits in this many bytes.
pub const EQUIVOCATION_BYTES_MAX: usize = 512;

/// One of the two statements of an [`Equivocation`], with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The value; `None` is nil.
    pub value: Option<ValueId>,
    /// Of proposals only: the earlier round that was named.
    pub valid_round: Option<Round>,
    /// By the validator.
    pub signature: Signature,
}

/// Two conflicting statements of one validator for one height, round and step, both signed.
///
/// Anyone can check it with the network's id alone. That the key was a validator of that height, and what
/// follows from it, is the caller's to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation(Pair);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pair {
    Votes(SignedVote, SignedVote),
    Proposals(SignedProposal, SignedProposal),
}

impl Equivocation {
    pub(crate) fn of_votes(first: SignedVote, second: SignedVote) -> Self {
        Self(Pair::Votes(first, second))
    }

    pub(crate) fn of_proposals(first: SignedProposal, second: SignedProposal) -> Self {
        Self(Pair::Proposals(first, second))
    }

    /// Who signed both.
    pub fn key(&self) -> ValidatorKey {
        match &self.0 {
            Pair::Votes(first, _) => first.key,
            Pair::Proposals(first, _) => first.key,
        }
    }

    /// The height of both statements.
    pub fn height(&self) -> Height {
        match &self.0 {
            Pair::Votes(first, _) => first.height,
            Pair::Proposals(first, _) => first.height,
        }
    }

    /// The round of both statements.
    pub fn round(&self) -> Round {
        match &self.0 {
            Pair::Votes(first, _) => first.round,
            Pair::Proposals(first, _) => first.round,
        }
    }

    /// Which act was done twice.
    pub fn step(&self) -> Step {
        match &self.0 {
            Pair::Votes(first, _) => first.kind.into(),
            Pair::Proposals(..) => Step::Proposal,
        }
    }

    /// Both statements, for whoever tells of them in another form.
    pub fn statements(&self) -> [Stated; 2] {
        let vote = |vote: &SignedVote| Stated { value: vote.value, valid_round: None, signature: vote.signature };
        let proposal = |offer: &SignedProposal| Stated {
            value: Some(offer.value),
            valid_round: offer.valid_round,
            signature: offer.signature,
        };
        match &self.0 {
            Pair::Votes(first, second) => [vote(first), vote(second)],
            Pair::Proposals(first, second) => [proposal(first), proposal(second)],
        }
    }

    /// Whether one key really signed two different statements for one height, round and step on this network.
    pub fn verify(&self, network: &NetworkId) -> bool {
        let (keys, statements, signed) = match &self.0 {
            Pair::Votes(first, second) => (
                (first.key, second.key),
                (first.statement(), second.statement()),
                first.is_signed(network) && second.is_signed(network),
            ),
            Pair::Proposals(first, second) => (
                (first.key, second.key),
                (first.statement(), second.statement()),
                first.is_signed(network) && second.is_signed(network),
            ),
        };
        let (first, second) = statements;
        signed
            && keys.0 == keys.1
            && first != second
            && (first.height, first.round, first.step) == (second.height, second.round, second.step)
    }

    /// The bytes that [`Self::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads an equivocation of at most [`EQUIVOCATION_BYTES_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, EQUIVOCATION_BYTES_MAX)
    }
}
