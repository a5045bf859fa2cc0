//! Proofs made of other validators' votes: that a value was decided, had a quorum, or that a round is over.
//!
//! A [`Certificate`] is for everybody and for ever: whoever knows the validator set of its height can check it
//! alone. The other two travel only between validators and help them meet in one round.
//!
//! Checks go from cheap to dear: membership and repetition of all signers, then their power, then signatures.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ballot::VoteKind;
use crate::codec::{self, DecodeError};
use crate::signing::{Signature, Statement};
use crate::{Height, NetworkId, Round, Step, VALIDATORS_MAX, ValidatorKey, ValidatorSet, ValueId};

/// Proof that a value was decided: precommits for it by more than two thirds of the power, in one round.
///
/// Its fields are unchecked until [`Certificate::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The height that the value was decided for.
    pub height: Height,
    /// The round of the precommits.
    pub round: Round,
    /// The name of the decided value.
    pub value_id: ValueId,
    /// Who precommitted, sorted by key where this crate made the certificate. Different nodes may hold
    /// different signers for the same decision.
    pub signatures: Vec<(ValidatorKey, Signature)>,
}

/// Why votes do not prove what a certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// A signer is not in the validator set.
    #[error("signer {key} is no validator of this height")]
    UnknownSigner {
        /// The stranger.
        key: ValidatorKey,
    },
    /// A signer is counted twice.
    #[error("signer {key} appears twice")]
    DuplicateSigner {
        /// The signer.
        key: ValidatorKey,
    },
    /// The signers are too weak.
    #[error("signers have power {power} of the {needed} needed")]
    TooLittlePower {
        /// What they have together.
        power: u64,
        /// The least that would do.
        needed: u64,
    },
    /// A signature is not by its signer over this decision on this network.
    #[error("the signature of {key} does not verify")]
    BadSignature {
        /// Whose signature it should be.
        key: ValidatorKey,
    },
    /// A vote of the wrong kind stands in a proof about precommits.
    #[error("the vote of {key} is of the wrong kind")]
    WrongVote {
        /// Whose vote it is.
        key: ValidatorKey,
    },
}

impl Certificate {
    /// Checks that validators with more than two thirds of `set`'s power precommitted this value.
    ///
    /// `set` must be that of the certificate's height: the certificate does not say which it is.
    pub fn verify(&self, network: &NetworkId, set: &ValidatorSet) -> Result<(), CertificateError> {
        let statement = Statement {
            step: Step::Precommit,
            height: self.height,
            round: self.round,
            value: Some(self.value_id),
            valid_round: None,
        };
        let votes = self.signatures.iter().map(|(key, signature)| (*key, statement, *signature));
        prove(votes, Threshold::Quorum, network, set)
    }

    /// The bytes that [`Self::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a certificate of at most `max` bytes and [`VALIDATORS_MAX`] signatures. 96 bytes per signature
    /// and 64 more always suffice.
    pub fn decode(bytes: &[u8], max: usize) -> Result<Self, DecodeError> {
        let certificate: Self = codec::decode(bytes, max)?;
        if certificate.signatures.len() > VALIDATORS_MAX {
            return Err(DecodeError::Malformed);
        }
        Ok(certificate)
    }
}

/// Proof that a value had a quorum of prevotes in a round: whoever sees it may lock on the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolkaCertificate {
    pub height: Height,
    pub round: Round,
    pub value: ValueId,
    pub signatures: Vec<(ValidatorKey, Signature)>,
}

impl PolkaCertificate {
    pub fn verify(&self, network: &NetworkId, set: &ValidatorSet) -> Result<(), CertificateError> {
        let statement = Statement {
            step: Step::Prevote,
            height: self.height,
            round: self.round,
            value: Some(self.value),
            valid_round: None,
        };
        let votes = self.signatures.iter().map(|(key, signature)| (*key, statement, *signature));
        prove(votes, Threshold::Quorum, network, set)
    }
}

/// What a round certificate proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RoundProof {
    /// More than a third voted in this round, so an honest validator is in it: join it.
    Skip,
    /// More than two thirds precommitted in this round: the next one may begin.
    Precommit,
}

/// One vote inside a round certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoundVote {
    pub kind: VoteKind,
    pub value: Option<ValueId>,
    pub key: ValidatorKey,
    pub signature: Signature,
}

/// Proof that a round may be entered, whatever was voted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoundCertificate {
    pub height: Height,
    pub round: Round,
    pub proof: RoundProof,
    pub votes: Vec<RoundVote>,
}

impl RoundCertificate {
    pub fn verify(&self, network: &NetworkId, set: &ValidatorSet) -> Result<(), CertificateError> {
        let threshold = match self.proof {
            RoundProof::Skip => Threshold::Honest,
            RoundProof::Precommit => Threshold::Quorum,
        };
        let mut misplaced = self.votes.iter().filter(|vote| vote.kind == VoteKind::Prevote);
        if let (RoundProof::Precommit, Some(vote)) = (self.proof, misplaced.next()) {
            return Err(CertificateError::WrongVote { key: vote.key });
        }
        let votes = self.votes.iter().map(|vote| {
            let statement = Statement {
                step: vote.kind.into(),
                height: self.height,
                round: self.round,
                value: vote.value,
                valid_round: None,
            };
            (vote.key, statement, vote.signature)
        });
        prove(votes, threshold, network, set)
    }
}

#[derive(Clone, Copy)]
enum Threshold {
    /// More than two thirds of the power.
    Quorum,
    /// More than one third.
    Honest,
}

fn prove(
    votes: impl Iterator<Item = (ValidatorKey, Statement, Signature)> + Clone,
    threshold: Threshold,
    network: &NetworkId,
    set: &ValidatorSet,
) -> Result<(), CertificateError> {
    let mut signers = BTreeSet::new();
    let mut power = 0;
    for (key, ..) in votes.clone() {
        let Some(more) = set.power_of(&key) else {
            return Err(CertificateError::UnknownSigner { key });
        };
        if !signers.insert(key) {
            return Err(CertificateError::DuplicateSigner { key });
        }
        // Each validator is counted once, so this stays within the set's total.
        power += more;
    }

    let (enough, needed) = match threshold {
        Threshold::Quorum => (set.is_quorum(power), set.quorum_power()),
        Threshold::Honest => (set.is_honest(power), set.total_power() / 3 + 1),
    };
    if !enough {
        return Err(CertificateError::TooLittlePower { power, needed });
    }

    for (key, statement, signature) in votes {
        let signed = set
            .verification_key(&key)
            .is_some_and(|verification| statement.verifies(verification, &signature, network));
        if !signed {
            return Err(CertificateError::BadSignature { key });
        }
    }
    Ok(())
}
