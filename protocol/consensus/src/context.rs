//! Our words as the consensus library wants to hear them: its context, and nothing else of it.
//!
//! The library thinks in its own traits. This module names our types for it and translates votes, proposals and
//! certificates both ways. A value is only its name here; its bytes stay with [`crate::values`].
//!
//! # Not here
//! Timeouts, signing and verification are answered in [`crate::host`]. Proposal parts and vote extensions are
//! features of the library that we do not use.

use std::fmt;

use arc_malachitebft_core_types as core;
use core::{NilOrVal, VoteType};

use crate::ballot::{SignedProposal, SignedVote, VoteKind};
use crate::certificate::{PolkaCertificate, RoundCertificate, RoundProof, RoundVote};
use crate::signing::Signature;
use crate::{Certificate, Height, Round, Validator, ValidatorKey, ValidatorSet, ValueId};

/// The library's view of this network. It has no state: everything depends on the arguments alone.
#[derive(Clone, Debug)]
pub(crate) struct Floe;

pub(crate) type CoreVote = core::SignedVote<Floe>;
pub(crate) type CoreProposal = core::SignedProposal<Floe>;

/// A vote without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    height: Height,
    round: core::Round,
    value: NilOrVal<ValueId>,
    kind: VoteType,
    key: ValidatorKey,
}

/// A proposal without its signature and without the value's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    height: Height,
    round: core::Round,
    value: ValueId,
    valid_round: core::Round,
    key: ValidatorKey,
}

/// A piece of a proposal. There are none: a proposal travels whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoPart {}

/// Ed25519, as far as the library needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ed25519;

/// Timeouts as the library would hold them; ours are in [`crate::Timeouts`] and it never asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoTimeouts;

impl core::Context for Floe {
    type Address = ValidatorKey;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = NoTimeouts;
    type Value = ValueId;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: core::Round) -> &'a Validator {
        set.proposer(height, our_round(round))
    }

    fn new_proposal(
        &self,
        height: Height,
        round: core::Round,
        value: ValueId,
        valid_round: core::Round,
        key: ValidatorKey,
    ) -> Proposal {
        Proposal { height, round, value, valid_round, key }
    }

    fn new_prevote(&self, height: Height, round: core::Round, value: NilOrVal<ValueId>, key: ValidatorKey) -> Vote {
        Vote { height, round, value, kind: VoteType::Prevote, key }
    }

    fn new_precommit(&self, height: Height, round: core::Round, value: NilOrVal<ValueId>, key: ValidatorKey) -> Vote {
        Vote { height, round, value, kind: VoteType::Precommit, key }
    }
}

#[doc(hidden)]
impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

#[doc(hidden)]
impl core::Address for ValidatorKey {}

#[doc(hidden)]
impl core::Value for ValueId {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

#[doc(hidden)]
impl core::Validator<Floe> for Validator {
    fn address(&self) -> &ValidatorKey {
        &self.key
    }

    fn public_key(&self) -> &ValidatorKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

#[doc(hidden)]
impl core::ValidatorSet<Floe> for ValidatorSet {
    fn count(&self) -> usize {
        self.validators().len()
    }

    fn total_voting_power(&self) -> u64 {
        self.total_power()
    }

    fn get_by_address(&self, key: &ValidatorKey) -> Option<&Validator> {
        self.get(key)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators().get(index)
    }
}

impl core::Vote<Floe> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> core::Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<ValueId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<ValueId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.key
    }

    fn extension(&self) -> Option<&core::SignedExtension<Floe>> {
        None
    }

    fn take_extension(&mut self) -> Option<core::SignedExtension<Floe>> {
        None
    }

    fn extend(self, _: core::SignedExtension<Floe>) -> Self {
        self
    }
}

impl core::Proposal<Floe> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> core::Round {
        self.round
    }

    fn value(&self) -> &ValueId {
        &self.value
    }

    fn take_value(self) -> ValueId {
        self.value
    }

    fn pol_round(&self) -> core::Round {
        self.valid_round
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.key
    }
}

impl core::ProposalPart<Floe> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

impl core::Timeouts<Floe> for NoTimeouts {
    fn duration_for(&self, _: core::Timeout) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// Bytes of the wrong length for a key or a signature.
#[derive(Debug)]
pub(crate) struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong length")
    }
}

impl core::SigningScheme for Ed25519 {
    type DecodingError = WrongLength;
    type Signature = Signature;
    type PublicKey = ValidatorKey;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<Signature, WrongLength> {
        bytes.try_into().map(Signature).map_err(|_| WrongLength)
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<ValidatorKey, WrongLength> {
        bytes.try_into().map(ValidatorKey).map_err(|_| WrongLength)
    }

    fn encode_public_key(key: &ValidatorKey) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// The library's round as ours. It has a round -1 before a height begins, in which nothing is signed or sent.
pub(crate) fn our_round(round: core::Round) -> Round {
    Round(round.as_u32().unwrap_or(0))
}

pub(crate) fn core_round(round: Round) -> core::Round {
    core::Round::new(round.0)
}

fn our_valid_round(round: core::Round) -> Option<Round> {
    round.as_u32().map(Round)
}

fn core_valid_round(round: Option<Round>) -> core::Round {
    round.map_or(core::Round::Nil, core_round)
}

fn our_value(value: &NilOrVal<ValueId>) -> Option<ValueId> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(*id),
    }
}

fn core_value(value: Option<ValueId>) -> NilOrVal<ValueId> {
    value.map_or(NilOrVal::Nil, NilOrVal::Val)
}

fn our_kind(kind: VoteType) -> VoteKind {
    match kind {
        VoteType::Prevote => VoteKind::Prevote,
        VoteType::Precommit => VoteKind::Precommit,
    }
}

fn core_kind(kind: VoteKind) -> VoteType {
    match kind {
        VoteKind::Prevote => VoteType::Prevote,
        VoteKind::Precommit => VoteType::Precommit,
    }
}

pub(crate) fn our_vote(vote: &Vote, signature: Signature) -> SignedVote {
    SignedVote {
        kind: our_kind(vote.kind),
        height: vote.height,
        round: our_round(vote.round),
        value: our_value(&vote.value),
        key: vote.key,
        signature,
    }
}

pub(crate) fn core_vote(vote: &SignedVote) -> CoreVote {
    let message = Vote {
        height: vote.height,
        round: core_round(vote.round),
        value: core_value(vote.value),
        kind: core_kind(vote.kind),
        key: vote.key,
    };
    core::SignedMessage::new(message, vote.signature)
}

pub(crate) fn our_proposal(proposal: &Proposal, signature: Signature) -> SignedProposal {
    SignedProposal {
        height: proposal.height,
        round: our_round(proposal.round),
        valid_round: our_valid_round(proposal.valid_round),
        value: proposal.value,
        key: proposal.key,
        signature,
    }
}

pub(crate) fn core_proposal(proposal: &SignedProposal) -> CoreProposal {
    let message = Proposal {
        height: proposal.height,
        round: core_round(proposal.round),
        value: proposal.value,
        valid_round: core_valid_round(proposal.valid_round),
        key: proposal.key,
    };
    core::SignedMessage::new(message, proposal.signature)
}

/// A commit certificate, its signers sorted by key.
pub(crate) fn our_certificate(certificate: &core::CommitCertificate<Floe>) -> Certificate {
    let mut signatures: Vec<_> =
        certificate.commit_signatures.iter().map(|commit| (commit.address, commit.signature)).collect();
    signatures.sort_unstable_by_key(|(key, _)| *key);
    Certificate {
        height: certificate.height,
        round: our_round(certificate.round),
        value_id: certificate.value_id,
        signatures,
    }
}

pub(crate) fn our_polka(certificate: &core::PolkaCertificate<Floe>) -> PolkaCertificate {
    PolkaCertificate {
        height: certificate.height,
        round: our_round(certificate.round),
        value: certificate.value_id,
        signatures: certificate.polka_signatures.iter().map(|polka| (polka.address, polka.signature)).collect(),
    }
}

pub(crate) fn core_polka(certificate: &PolkaCertificate) -> core::PolkaCertificate<Floe> {
    core::PolkaCertificate {
        height: certificate.height,
        round: core_round(certificate.round),
        value_id: certificate.value,
        polka_signatures: certificate
            .signatures
            .iter()
            .map(|(key, signature)| core::PolkaSignature::new(*key, *signature))
            .collect(),
    }
}

pub(crate) fn our_round_certificate(certificate: &core::RoundCertificate<Floe>) -> RoundCertificate {
    RoundCertificate {
        height: certificate.height,
        round: our_round(certificate.round),
        proof: match certificate.cert_type {
            core::RoundCertificateType::Skip => RoundProof::Skip,
            core::RoundCertificateType::Precommit => RoundProof::Precommit,
        },
        votes: certificate
            .round_signatures
            .iter()
            .map(|vote| RoundVote {
                kind: our_kind(vote.vote_type),
                value: our_value(&vote.value_id),
                key: vote.address,
                signature: vote.signature,
            })
            .collect(),
    }
}

pub(crate) fn core_round_certificate(certificate: &RoundCertificate) -> core::RoundCertificate<Floe> {
    core::RoundCertificate {
        height: certificate.height,
        round: core_round(certificate.round),
        cert_type: match certificate.proof {
            RoundProof::Skip => core::RoundCertificateType::Skip,
            RoundProof::Precommit => core::RoundCertificateType::Precommit,
        },
        round_signatures: certificate
            .votes
            .iter()
            .map(|vote| {
                let kind = core_kind(vote.kind);
                core::RoundSignature::new(kind, core_value(vote.value), vote.key, vote.signature)
            })
            .collect(),
    }
}
