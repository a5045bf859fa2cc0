//! Carries out what the consensus library asks for, and turns what it says into our effects.
//!
//! The library runs as a coroutine: it takes one input and asks for one thing after another (sign this, verify
//! that, publish, remember) until it is done. [`run`] answers each request at once from [`Host`], without
//! waiting for anything, and collects what the outside must do.
//!
//! # Laws
//! - **CO-4** A [`Effect::Journal`] stands before the [`Effect::Publish`] of what it records.
//! - **CO-5** The decision is the last effect of a height, though the library announces it before it publishes the
//!   vote that made it.
//!
//! # Traps of the library
//! - It panics where it finds itself wrong. [`run`] catches that; the machine must not go on.
//! - Its timers have no height. Ours do.
//! - It marks the own value as valid unasked and may ask for it twice. `building` says whether it is still wanted.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;
use bytes::Bytes;
use library::{ConsensusMsg, Resumable, Resume, SignedConsensusMsg};

use crate::context::{self, Floe};
use crate::guard::Guard;
use crate::journal::{Record, ValueRecord};
use crate::message::Content;
use crate::signing::{Signature, Statement};
use crate::values::Values;
use crate::{
    Certificate, CertificateError, Config, DropReason, Effect, Equivocation, Error, Height, Message, Round, Step,
    Timer, TimerKind, ValidatorKey, ValidatorSet, Verdict, VoteSigningKey,
};

pub(crate) type CoreState = library::State<Floe>;
pub(crate) type CoreInput = library::Input<Floe>;
pub(crate) type CoreEvidence = library::MisbehaviorEvidence<Floe>;
type CoreEffect = library::Effect<Floe>;
type CoreError = library::Error<Floe>;

/// Everything that the library's requests touch, for one height.
pub(crate) struct Host {
    pub config: Config,
    pub signing_key: Option<VoteSigningKey>,
    pub height: Height,
    pub validators: ValidatorSet,
    pub values: Values,
    pub guard: Guard,
    /// What the outside must do, in order.
    pub effects: Vec<Effect>,
    /// Set once the library has decided.
    pub decision: Option<Decision>,
    /// The round that a value was asked for and has not come.
    pub building: Option<Round>,
    /// While the journal is replayed: what is in it already.
    pub replaying: Option<BTreeSet<Bytes>>,
    /// Signatures found good in this step, so that none is verified twice.
    pub assured: Vec<(ValidatorKey, Statement, Signature)>,
}

/// What the library has decided, before the value's bytes are put to it.
pub(crate) struct Decision {
    pub certificate: Certificate,
    pub equivocations: Vec<Equivocation>,
}

/// Gives the library one input and does all it asks for. After an error the state is worthless.
pub(crate) fn run(state: &mut CoreState, host: &mut Host, input: CoreInput) -> Result<(), Error> {
    // The state is not looked at again after a panic: the machine stops.
    catch_unwind(AssertUnwindSafe(|| converse(state, host, input))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Core { reason: said.unwrap_or("panic").to_owned() })
    })
}

fn converse(state: &mut CoreState, host: &mut Host, input: CoreInput) -> Result<(), Error> {
    let result: Result<(), CoreError> = library::process!(
        input: input,
        state: state,
        metrics: &(),
        with: effect => match host.carry_out(effect) {
            Ok(resume) => Ok::<_, Error>(resume),
            Err(error) => return Err(error),
        }
    );
    result.map_err(|error| match error {
        CoreError::ReplayDivergence(kind, height, round) => Error::ReplayDiverged {
            height,
            round: context::our_round(round),
            step: match kind {
                library::RecordKind::Prevote => Step::Prevote,
                library::RecordKind::Precommit => Step::Precommit,
                library::RecordKind::Proposal => Step::Proposal,
            },
        },
        other => Error::Core { reason: other.to_string() },
    })
}

impl Host {
    fn carry_out(&mut self, effect: CoreEffect) -> Result<Resume<Floe>, Error> {
        use CoreEffect as E;
        Ok(match effect {
            E::CancelAllTimeouts(resume) => {
                self.effects.push(Effect::CancelAllTimers);
                resume.resume_with(())
            }
            E::CancelTimeout(timeout, resume) => {
                let timer = self.timer(timeout);
                self.effects.extend(timer.map(Effect::CancelTimer));
                resume.resume_with(())
            }
            E::ScheduleTimeout(timeout, resume) => {
                self.set_timer(timeout);
                resume.resume_with(())
            }
            E::StartRound(_, _, _, _, resume) => resume.resume_with(()),
            E::PublishConsensusMsg(message, resume) => {
                self.publish_signed(message)?;
                resume.resume_with(())
            }
            E::PublishLivenessMsg(message, resume) => {
                self.publish_proof(message);
                resume.resume_with(())
            }
            E::RepublishVote(vote, resume) => {
                let vote = context::our_vote(&vote.message, vote.signature);
                self.publish(Content::Vote(vote));
                resume.resume_with(())
            }
            E::RepublishRoundCertificate(certificate, resume) => {
                let certificate = context::our_round_certificate(&certificate);
                self.publish(Content::Round(certificate));
                resume.resume_with(())
            }
            E::GetValue(_, round, _, resume) => {
                self.ask_for_value(context::our_round(round));
                resume.resume_with(())
            }
            // The proposal that is published next carries the value's bytes.
            E::RestreamProposal(.., resume) => resume.resume_with(()),
            // Synced decisions are checked by the machine and never reach the library.
            E::CertVerifiedSyncValue(_, _, resume) => resume.resume_with(()),
            E::CertRejectedSyncValue(_, _, _, resume) => resume.resume_with(()),
            // `Finalize` follows at once and says the same and more.
            E::Decide(_, _, resume) => resume.resume_with(()),
            E::Finalize(certificate, _, evidence, resume) => {
                self.decide(&certificate, &evidence);
                resume.resume_with(())
            }
            E::WalAppend(_, input, resume) => {
                self.journal(input)?;
                resume.resume_with(())
            }
            E::ExtendVote(.., resume) => resume.resume_with(None),
            E::VerifyVoteExtension(.., resume) => resume.resume_with(Ok(())),
            signature => return self.answer_about_signatures(signature),
        })
    }

    fn answer_about_signatures(&mut self, effect: CoreEffect) -> Result<Resume<Floe>, Error> {
        use CoreEffect as E;
        Ok(match effect {
            E::SignVote(vote, resume) => {
                let mut signed = context::our_vote(&vote, Signature([0; 64]));
                signed.signature = self.sign(signed.key, signed.statement())?;
                resume.resume_with(context::core_vote(&signed))
            }
            E::SignProposal(proposal, resume) => {
                let mut signed = context::our_proposal(&proposal, Signature([0; 64]));
                signed.signature = self.sign(signed.key, signed.statement())?;
                resume.resume_with(context::core_proposal(&signed))
            }
            E::VerifySignature(message, _, resume) => {
                let (key, statement) = match &message.message {
                    ConsensusMsg::Vote(vote) => {
                        let vote = context::our_vote(vote, message.signature);
                        (vote.key, vote.statement())
                    }
                    ConsensusMsg::Proposal(proposal) => {
                        let proposal = context::our_proposal(proposal, message.signature);
                        (proposal.key, proposal.statement())
                    }
                };
                let valid = self.verify(key, statement, message.signature);
                if !valid {
                    let dropped = Effect::Dropped(DropReason::BadSignature);
                    self.effects.push(dropped);
                }
                resume.resume_with(valid)
            }
            E::VerifyCommitCertificate(certificate, _, _, resume) => {
                let certificate = context::our_certificate(&certificate);
                let proven = certificate.verify(&self.config.network, &self.validators);
                resume.resume_with(proven.map_err(core_certificate_error))
            }
            E::VerifyExtendedCommitCertificate(certificate, _, _, _, resume) => {
                let certificate = context::our_certificate(&certificate.trim_vote_extensions());
                let proven = certificate.verify(&self.config.network, &self.validators);
                resume.resume_with(proven.map_err(core_certificate_error))
            }
            E::VerifyPolkaCertificate(certificate, _, _, resume) => {
                let certificate = context::our_polka(&certificate);
                let proven = certificate.verify(&self.config.network, &self.validators);
                self.note_bad_certificate(&proven);
                resume.resume_with(proven.map_err(core_certificate_error))
            }
            E::VerifyRoundCertificate(certificate, _, _, resume) => {
                let certificate = context::our_round_certificate(&certificate);
                let proven = certificate.verify(&self.config.network, &self.validators);
                self.note_bad_certificate(&proven);
                resume.resume_with(proven.map_err(core_certificate_error))
            }
            other => {
                return Err(Error::Core { reason: format!("unknown request {other:?}") });
            }
        })
    }

    fn note_bad_certificate(&mut self, proven: &Result<(), CertificateError>) {
        if proven.is_err() {
            self.effects.push(Effect::Dropped(DropReason::BadCertificate));
        }
    }

    fn sign(&mut self, key: ValidatorKey, statement: Statement) -> Result<Signature, Error> {
        let Some(signing_key) = &self.signing_key else {
            return Err(Error::Core { reason: "an observer was asked to sign".to_owned() });
        };
        self.guard.permit(statement)?;
        let signature = signing_key.sign(&statement, &self.config.network);
        self.assured.push((key, statement, signature));
        Ok(signature)
    }

    /// Verifies a member's signature, unless this step has done so already.
    pub fn verify(&mut self, key: ValidatorKey, statement: Statement, signature: Signature) -> bool {
        let known = self.assured.contains(&(key, statement, signature));
        known
            || self
                .validators
                .verification_key(&key)
                .is_some_and(|point| statement.verifies(point, &signature, &self.config.network))
    }

    /// The own key, if this node has one that votes at this height.
    pub fn own_key(&self) -> Option<ValidatorKey> {
        self.signing_key.as_ref().map(VoteSigningKey::public).filter(|key| self.validators.contains(key))
    }

    fn publish(&mut self, content: Content) {
        self.effects.push(Effect::Publish(Message(content)));
    }

    fn publish_signed(&mut self, message: SignedConsensusMsg<Floe>) -> Result<(), Error> {
        match message {
            SignedConsensusMsg::Vote(vote) => {
                let vote = context::our_vote(&vote.message, vote.signature);
                self.publish(Content::Vote(vote));
            }
            SignedConsensusMsg::Proposal(proposal) => {
                let proposal = context::our_proposal(&proposal.message, proposal.signature);
                let Some(kept) = self.values.get(&proposal.value) else {
                    return Err(self.value_lost());
                };
                let bytes = kept.bytes.clone();
                self.publish(Content::Proposal(proposal, bytes));
            }
        }
        Ok(())
    }

    fn publish_proof(&mut self, message: library::LivenessMsg<Floe>) {
        let content = match message {
            library::LivenessMsg::Vote(vote) => Content::Vote(context::our_vote(&vote.message, vote.signature)),
            library::LivenessMsg::PolkaCertificate(certificate) => Content::Polka(context::our_polka(&certificate)),
            library::LivenessMsg::SkipRoundCertificate(certificate) => {
                Content::Round(context::our_round_certificate(&certificate))
            }
        };
        self.publish(content);
    }

    fn ask_for_value(&mut self, round: Round) {
        self.building = Some(round);
        // During replay the answer may stand further down in the journal; the machine asks at its end.
        if self.replaying.is_none() {
            self.effects.push(Effect::BuildValue { height: self.height, round });
        }
    }

    fn set_timer(&mut self, timeout: core::Timeout) {
        // A decided height waits for nothing.
        if self.decision.is_some() {
            return;
        }
        if let Some(timer) = self.timer(timeout) {
            let after = self.config.timeouts.after(timer.kind, timer.round);
            self.effects.push(Effect::SetTimer { timer, after });
        }
    }

    fn timer(&self, timeout: core::Timeout) -> Option<Timer> {
        Some(Timer { height: self.height, round: context::our_round(timeout.round), kind: our_timer(timeout.kind)? })
    }

    fn decide(&mut self, certificate: &core::CommitCertificate<Floe>, evidence: &CoreEvidence) {
        self.decision = Some(Decision {
            certificate: context::our_certificate(certificate),
            equivocations: equivocations(evidence),
        });
    }

    fn journal(&mut self, input: CoreInput) -> Result<(), Error> {
        let record = match input {
            CoreInput::Vote(vote) => {
                let vote = context::our_vote(&vote.message, vote.signature);
                Record::Vote(vote)
            }
            CoreInput::Proposal(proposal) => {
                let signed = context::our_proposal(&proposal.message, proposal.signature);
                Record::Proposal(signed)
            }
            CoreInput::PolkaCertificate(certificate) => Record::Polka(context::our_polka(&certificate)),
            CoreInput::TimeoutElapsed(timeout) => match our_timer(timeout.kind) {
                Some(kind) => Record::Timer { kind, round: context::our_round(timeout.round) },
                None => return Ok(()),
            },
            CoreInput::ProposedValue(value, _) => match self.value_record(&value)? {
                Some(record) => Record::Value(record),
                None => return Ok(()),
            },
            other => {
                return Err(Error::Core { reason: format!("asked to journal {other:?}") });
            }
        };

        // Who signs nothing at this height has nothing to remember.
        if self.own_key().is_none() {
            return Ok(());
        }
        let entry = record.encode(self.height);
        let known = self.replaying.as_ref().is_some_and(|known| known.contains(&entry.bytes));
        if !known {
            self.effects.push(Effect::Journal(entry));
        }
        Ok(())
    }

    /// The record of a value; `None` during replay, when every value comes from the journal.
    fn value_record(&mut self, value: &library::ProposedValue<Floe>) -> Result<Option<ValueRecord>, Error> {
        if self.replaying.is_some() {
            return Ok(None);
        }
        if self.values.get(&value.value).is_none() {
            return Err(self.value_lost());
        }
        Ok(Some(ValueRecord {
            round: context::our_round(value.round),
            valid_round: value.valid_round.as_u32().map(Round),
            proposer: value.proposer,
            value: value.value,
            verdict: match value.validity {
                core::Validity::Valid => Verdict::Valid,
                core::Validity::Invalid => Verdict::Invalid,
            },
            bytes: self.values.take_for_journal(&value.value),
        }))
    }

    fn value_lost(&self) -> Error {
        Error::Core { reason: format!("a value of height {} is needed and gone", self.height) }
    }
}

/// The pairs of conflicting statements that the library has gathered.
pub(crate) fn equivocations(evidence: &CoreEvidence) -> Vec<Equivocation> {
    let our_vote = |vote: &context::CoreVote| context::our_vote(&vote.message, vote.signature);
    let our_proposal = |proposal: &context::CoreProposal| context::our_proposal(&proposal.message, proposal.signature);
    let votes = evidence.votes.iter().flat_map(|(_, pairs)| pairs);
    let votes = votes.map(|(first, second)| Equivocation::of_votes(our_vote(first), our_vote(second)));
    let proposals = evidence.proposals.iter().flat_map(|(_, pairs)| pairs);
    let proposals =
        proposals.map(|(first, second)| Equivocation::of_proposals(our_proposal(first), our_proposal(second)));
    votes.chain(proposals).collect()
}

pub(crate) fn our_timer(kind: core::TimeoutKind) -> Option<TimerKind> {
    match kind {
        core::TimeoutKind::Propose => Some(TimerKind::Propose),
        core::TimeoutKind::Prevote => Some(TimerKind::Prevote),
        core::TimeoutKind::Precommit => Some(TimerKind::Precommit),
        core::TimeoutKind::Rebroadcast => Some(TimerKind::Rebroadcast),
        // Heights have no target time here, so nothing waits for more precommits.
        core::TimeoutKind::FinalizeHeight(_) => None,
    }
}

pub(crate) fn core_timer(kind: TimerKind) -> core::TimeoutKind {
    match kind {
        TimerKind::Propose => core::TimeoutKind::Propose,
        TimerKind::Prevote => core::TimeoutKind::Prevote,
        TimerKind::Precommit => core::TimeoutKind::Precommit,
        TimerKind::Rebroadcast => core::TimeoutKind::Rebroadcast,
    }
}

/// The library only asks whether there is an error; which one it was is ours to know.
fn core_certificate_error(_: CertificateError) -> core::CertificateError<Floe> {
    core::CertificateError::VerificationError(None)
}
