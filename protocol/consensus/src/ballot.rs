//! The two things a validator signs, with its signature: votes and proposals.

use serde::{Deserialize, Serialize};

use crate::signing::{Signature, Statement};
use crate::{Height, NetworkId, Round, Step, ValidatorKey, ValueId};

/// Which of the two votes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VoteKind {
    Prevote,
    Precommit,
}

impl From<VoteKind> for Step {
    fn from(kind: VoteKind) -> Self {
        match kind {
            VoteKind::Prevote => Self::Prevote,
            VoteKind::Precommit => Self::Precommit,
        }
    }
}

/// A vote and its signature, as it travels and is journaled. The signature is unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedVote {
    pub kind: VoteKind,
    pub height: Height,
    pub round: Round,
    /// `None` is a vote for nil.
    pub value: Option<ValueId>,
    pub key: ValidatorKey,
    pub signature: Signature,
}

impl SignedVote {
    pub fn statement(&self) -> Statement {
        Statement {
            step: self.kind.into(),
            height: self.height,
            round: self.round,
            value: self.value,
            valid_round: None,
        }
    }

    pub fn is_signed(&self, network: &NetworkId) -> bool {
        self.statement().is_signed_by(&self.key, &self.signature, network)
    }
}

/// A proposal and its signature, without the value's bytes. The signature is unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedProposal {
    pub height: Height,
    pub round: Round,
    /// The earlier round in which the value already had a quorum of prevotes.
    pub valid_round: Option<Round>,
    pub value: ValueId,
    pub key: ValidatorKey,
    pub signature: Signature,
}

impl SignedProposal {
    pub fn statement(&self) -> Statement {
        Statement {
            step: Step::Proposal,
            height: self.height,
            round: self.round,
            value: Some(self.value),
            valid_round: self.valid_round,
        }
    }

    pub fn is_signed(&self, network: &NetworkId) -> bool {
        self.statement().is_signed_by(&self.key, &self.signature, network)
    }
}
