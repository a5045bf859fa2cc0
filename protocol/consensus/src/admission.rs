//! Lets messages of the current height in to the library, cheap checks first.
//!
//! Votes and certificates are judged by the library, which asks back for signatures. Proposals are judged
//! here, because they carry a value whose bytes the library never sees:
//!
//! ```text
//! turn, rounds, length, repetition ─▶ hash of the value ─▶ signature ─▶ the caller's verdict ─▶ library
//! ```
//!
//! The library is told the verdict before the proposal, so that a proposal is complete when it arrives and an
//! invalid one is answered by a nil prevote at once.

use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;
use bytes::Bytes;

use crate::ballot::{SignedProposal, SignedVote};
use crate::certificate::{PolkaCertificate, RoundCertificate};
use crate::context;
use crate::host::CoreInput;
use crate::machine::{Phase, Run};
use crate::message::Content;
use crate::{
    CheckValue, DropReason, Effect, Error, Message, Misbehaviour, ROUNDS_AHEAD_MAX, Round, ValidatorKey, ValueId,
    Verdict,
};

/// Different proposals of one round that are listened to. An honest proposer makes one; two prove that it is
/// not honest; the others leave room for the one that a quorum prevoted to be among them.
const PROPOSALS_PER_ROUND_MAX: usize = 4;

impl Run {
    /// Takes a message of this height whose signature was verified when it was put by.
    pub fn admit_assured(&mut self, message: Message, check: &mut dyn CheckValue) -> Result<(), Error> {
        let assured = match &message.0 {
            Content::Vote(vote) => Some((vote.key, vote.statement(), vote.signature)),
            Content::Proposal(proposal, _) => Some((proposal.key, proposal.statement(), proposal.signature)),
            Content::Polka(_) | Content::Round(_) => None,
        };
        self.host.assured.extend(assured);
        self.admit(message, check)
    }

    /// Takes a message of this height from the network.
    pub fn admit(&mut self, message: Message, check: &mut dyn CheckValue) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Voting) {
            self.drop_message(DropReason::Stale);
            return Ok(());
        }
        match message.0 {
            Content::Vote(vote) => self.admit_vote(vote),
            Content::Proposal(proposal, value) => self.admit_proposal(proposal, value, check),
            Content::Polka(certificate) => self.admit_polka(certificate),
            Content::Round(certificate) => self.admit_round(certificate),
        }
    }

    fn admit_vote(&mut self, vote: SignedVote) -> Result<(), Error> {
        if !self.host.validators.contains(&vote.key) {
            self.drop_message(DropReason::Stranger);
            return Ok(());
        }
        if self.is_far(vote.round) {
            self.drop_message(DropReason::FarAhead);
            return Ok(());
        }
        if self.host.own_key() == Some(vote.key) && !self.recall_own(&vote) {
            return Ok(());
        }
        self.feed(CoreInput::Vote(context::core_vote(&vote)))
    }

    fn admit_polka(&mut self, certificate: PolkaCertificate) -> Result<(), Error> {
        if !self.are_members(certificate.signatures.iter().map(|(key, _)| key)) {
            return Ok(());
        }
        self.feed(CoreInput::PolkaCertificate(context::core_polka(&certificate)))
    }

    fn admit_round(&mut self, certificate: RoundCertificate) -> Result<(), Error> {
        if !self.are_members(certificate.votes.iter().map(|vote| &vote.key)) {
            return Ok(());
        }
        self.feed(CoreInput::RoundCertificate(context::core_round_certificate(&certificate)))
    }

    fn are_members<'a>(&mut self, mut signers: impl Iterator<Item = &'a ValidatorKey>) -> bool {
        let all = signers.all(|key| self.host.validators.contains(key));
        if !all {
            self.drop_message(DropReason::Stranger);
        }
        all
    }

    fn admit_proposal(
        &mut self,
        proposal: SignedProposal,
        value: Bytes,
        check: &mut dyn CheckValue,
    ) -> Result<(), Error> {
        if self.is_known(&proposal) {
            return Ok(());
        }
        let fault = if self.is_far(proposal.round) {
            Some(DropReason::FarAhead)
        } else if self.is_one_too_many(&proposal) {
            Some(DropReason::Full)
        } else {
            self.proposal_fault(&proposal, &value)
        };
        if let Some(reason) = fault {
            self.drop_message(reason);
            return Ok(());
        }
        if !self.host.verify(proposal.key, proposal.statement(), proposal.signature) {
            self.drop_message(DropReason::BadSignature);
            return Ok(());
        }
        self.host.assured.push((proposal.key, proposal.statement(), proposal.signature));
        if self.host.own_key() == Some(proposal.key) {
            self.host.guard.remember(proposal.statement());
        }
        self.note_proposal(&proposal);
        self.judge(&proposal, value, check)?;
        self.feed(CoreInput::Proposal(context::core_proposal(&proposal)))?;
        if matches!(self.phase, Phase::Voting) {
            self.answer_unknowing(&proposal);
        }
        Ok(())
    }

    /// What is wrong with a proposal, as far as that can be seen without its signature and the caller's verdict.
    pub fn proposal_fault(&self, proposal: &SignedProposal, value: &Bytes) -> Option<DropReason> {
        let validators = &self.host.validators;
        if !validators.contains(&proposal.key) {
            return Some(DropReason::Stranger);
        }
        let in_turn = validators.proposer(proposal.height, proposal.round).key == proposal.key;
        if !in_turn || proposal.valid_round.is_some_and(|round| round >= proposal.round) {
            return Some(DropReason::OutOfTurn);
        }
        let right = value.len() <= self.host.config.value_bytes_max && ValueId::of(value) == proposal.value;
        (!right).then_some(DropReason::WrongValue)
    }

    /// Has the caller judge the proposal's value, unless it was found valid before, and tells the library.
    fn judge(&mut self, proposal: &SignedProposal, value: Bytes, check: &mut dyn CheckValue) -> Result<(), Error> {
        let id = proposal.value;
        let before = self.host.values.get(&id).map(|kept| (kept.verdict, kept.journaled));
        let verdict = match before {
            Some((Verdict::Valid, _)) => Verdict::Valid,
            _ => check.check(proposal.height, &value),
        };
        if verdict == Verdict::Invalid {
            let what = Misbehaviour::ProposedInvalid { height: proposal.height, round: proposal.round, value_id: id };
            self.host.effects.push(Effect::Misbehaved { key: proposal.key, what });
        }
        self.host.values.keep(id, value, verdict, proposal.round);
        self.shrink_values(Some(id));
        // The library has taken it up already if it asked to journal it.
        if before == Some((verdict, true)) {
            return Ok(());
        }
        let proposed = library::ProposedValue {
            height: proposal.height,
            round: context::core_round(proposal.round),
            valid_round: proposal.valid_round.map_or(core::Round::Nil, context::core_round),
            proposer: proposal.key,
            value: id,
            validity: core_validity(verdict),
        };
        self.feed(CoreInput::ProposedValue(proposed, core::ValueOrigin::Consensus))
    }

    fn is_known(&self, proposal: &SignedProposal) -> bool {
        let known = self.proposals.get(&proposal.round);
        known.is_some_and(|known| known.contains(&(proposal.value, proposal.valid_round)))
    }

    /// A value that a quorum prevoted in the round is always listened to: somebody may be locked on it.
    fn is_one_too_many(&self, proposal: &SignedProposal) -> bool {
        let full = self.proposals.get(&proposal.round).is_some_and(|known| known.len() >= PROPOSALS_PER_ROUND_MAX);
        full && self.state.polka_certificate(context::core_round(proposal.round), &proposal.value).is_none()
    }

    pub fn note_proposal(&mut self, proposal: &SignedProposal) {
        self.proposals.entry(proposal.round).or_default().insert((proposal.value, proposal.valid_round));
    }

    fn is_far(&self, round: Round) -> bool {
        round.0 > self.round().0.saturating_add(ROUNDS_AHEAD_MAX)
    }

    /// A vote of the own key that comes from outside was signed before the journal was lost, or by another process
    /// with the same key: never contradict it.
    fn recall_own(&mut self, vote: &SignedVote) -> bool {
        let signed = self.host.verify(vote.key, vote.statement(), vote.signature);
        if signed {
            self.host.assured.push((vote.key, vote.statement(), vote.signature));
            self.host.guard.remember(vote.statement());
        } else {
            self.drop_message(DropReason::BadSignature);
        }
        signed
    }

    fn drop_message(&mut self, reason: DropReason) {
        self.host.effects.push(Effect::Dropped(reason));
    }
}

pub(crate) fn core_validity(verdict: Verdict) -> core::Validity {
    match verdict {
        Verdict::Valid => core::Validity::Valid,
        Verdict::Invalid => core::Validity::Invalid,
    }
}
