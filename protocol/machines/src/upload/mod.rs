//! Storing one blob: from bytes to a certificate, and on to the holders that were late.
//!
//! ```text
//! Encoding -> Registering -> Sending -> Certifying -> Finishing -> Ended
//!                               ^------------'  a certificate that got lost is made anew
//! ```
//! 1. Encode, register with the gateway's account.
//! 2. Offer every fragment to the holder of its shard, one shard of each holder after the other, so that all holders
//!    finish at about the same time. A holder that has all of its fragments is asked for its confirmation.
//! 3. With confirmations of `n - f` shards a certificate is possible. It is submitted when nobody else is worth waiting
//!    for: everybody confirmed, or the rest refuse or cannot be reached, or the *grace* has passed. The grace is 50 ms
//!    and half the time that the first `n - f` shards took, at most ten seconds. So a healthy network gives *intact* from
//!    the first boundary on, a silent holder costs a small blob 50 ms and a large one half its own time, and nobody can
//!    hold a certificate up.
//! 4. The ledger says when it is certified; the client is told, and the holders that are missing are sent to for one
//!    epoch more. They attest for themselves.
//!
//! A term that begins in between voids confirmations, which name it, and moves shards; both are asked for again.
//!
//! # Laws
//! - **UP-1** A certificate has verified confirmations of members with at least `n - f` shards, all of one term.
//! - **UP-2** Never more exchanges at a time than [`Config`] allows, in all and with one holder.
//! - **UP-3** From its [`UploadRecord`] and the spool an upload comes to the same end.
//! - **UP-4** Every wait ends: exchanges by their deadline, an upload without a certificate by its own.
//!
//! # Not here
//! Which account pays and what it costs is the shell's and the ledger's.

mod config;
mod exchanges;
mod interface;
mod sending;
#[cfg(test)]
mod tests;

use crate::ledger_view::{ConfirmationStatement, LedgerView, RegistrationStatus};
pub use config::Config;
use exchanges::{Exchange, Stage};
use floe_erasure::Layout;
use floe_types::bls::{BlsSignature, aggregate};
use floe_types::{Epoch, MemberIndex, NodeId, ShardIndex};
pub use interface::{Effect, Failure, Input, Outcome, UploadRecord};
use std::collections::BTreeMap;

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not begun, or the fragments are being made.
    Encoding,
    /// Waiting for the ledger to number it.
    Registering,
    /// Fragments and confirmations are under way.
    Sending,
    /// The certificate is on its way to the ledger.
    Certifying,
    /// Certified; late holders are sent to.
    Finishing,
    /// Nothing more will happen.
    Ended,
}

/// The state of one upload.
#[derive(Debug)]
pub struct Upload {
    config: Config,
    seed: u64,
    phase: Phase,
    record: Option<UploadRecord>,
    /// The term that exchanges and confirmations belong to.
    term: u64,
    /// By shard: who is offered its fragment, and how far that is.
    stores: BTreeMap<ShardIndex, (NodeId, Exchange)>,
    confirms: BTreeMap<NodeId, Exchange>,
    confirmations: BTreeMap<NodeId, BlsSignature>,
    fragment_bytes: u64,
    sending_since: u64,
    quorum_at: Option<u64>,
    certify_again_at: u64,
    certify_reason: Option<String>,
}

impl Upload {
    /// An upload that begins with encoding. `seed` spreads its waits.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Upload {
        Upload {
            config,
            seed,
            phase: Phase::Encoding,
            record: None,
            term: 0,
            stores: BTreeMap::new(),
            confirms: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            fragment_bytes: 0,
            sending_since: 0,
            quorum_at: None,
            certify_again_at: 0,
            certify_reason: None,
        }
    }

    /// An upload that goes on from its record and spool.
    #[must_use]
    pub fn resume(config: Config, seed: u64, record: UploadRecord) -> Upload {
        Upload { record: Some(record), ..Upload::new(config, seed) }
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Shards whose fragment is durable at its holder, and shards of members that confirmed: for progress.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let stored = self.stores.values().filter(|(_, exchange)| exchange.is_done()).count();
        let confirmed = self.stores.values().filter(|(member, _)| self.confirmations.contains_key(member)).count();
        (stored, confirmed)
    }

    /// Takes one input at `now` (milliseconds of a clock that never goes back) and says what to do.
    pub fn step(&mut self, now: u64, view: &dyn LedgerView, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let looks = !matches!(input, Input::StoreEnded { .. } | Input::ConfirmEnded { .. });
        match (self.phase, input) {
            (Phase::Ended, _) => return effects,
            (Phase::Encoding, Input::Started) => match self.record {
                None => effects.push(Effect::Encode),
                Some(record) => self.begin_sending(now, view, record),
            },
            (Phase::Encoding, Input::Encoded { blob, blob_bytes }) => {
                self.phase = Phase::Registering;
                let registration = floe_types::RegistrationNumber(0);
                self.record = Some(UploadRecord { blob, blob_bytes, registration, certified_in: None });
                effects.push(Effect::SubmitRegister { blob, blob_bytes });
            }
            (Phase::Encoding, Input::EncodeFailed { reason }) => self.fail(Failure::Encode { reason }, &mut effects),
            (Phase::Registering, Input::Registered { registration }) => {
                if let Some(record) = self.record {
                    let record = UploadRecord { registration, ..record };
                    effects.push(Effect::Save { record });
                    self.begin_sending(now, view, record);
                }
            }
            (Phase::Registering, Input::RegisterFailed { reason }) => {
                self.fail(Failure::Register { reason }, &mut effects);
            }
            (_, Input::StoreEnded { shard, outcome }) => {
                if let Some((_, exchange)) = self.stores.get_mut(&shard) {
                    exchange.end(now, outcome, self.seed, &self.config);
                }
            }
            (_, Input::ConfirmEnded { member, outcome }) => {
                self.confirm_ended(now, view, member, outcome, &mut effects);
            }
            (Phase::Certifying, Input::CertifyFailed { reason }) => {
                // Soon, but not at once: what was wrong is rarely right in the same block.
                self.certify_again_at = now.saturating_add(self.config.backoff_millis_min.saturating_mul(10));
                self.certify_reason = Some(reason);
            }
            _ => {}
        }
        if looks {
            self.watch_ledger(view, &mut effects);
        }
        self.advance(now, view, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is next due; none when nothing waits for time to pass.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        if !matches!(self.phase, Phase::Sending | Phase::Certifying | Phase::Finishing) {
            return None;
        }
        let stores = self.stores.values().filter_map(|(_, exchange)| exchange.wake_at());
        let uncertified = self.phase < Phase::Finishing;
        let confirms = self.confirms.values().filter(|_| uncertified).filter_map(Exchange::wake_at);
        let own = [
            self.quorum_at.filter(|_| self.phase == Phase::Sending).map(|at| self.grace_ends(at)),
            (self.phase == Phase::Certifying).then_some(self.certify_again_at),
            uncertified.then(|| self.sending_since.saturating_add(self.config.give_up_millis)),
        ];
        stores.chain(confirms).chain(own.into_iter().flatten()).min()
    }

    fn begin_sending(&mut self, now: u64, view: &dyn LedgerView, record: UploadRecord) {
        let layout = Layout::new(view.committee().shards(), record.blob_bytes);
        self.fragment_bytes = layout.map(|layout| layout.fragment_bytes()).unwrap_or(0);
        self.phase = if record.certified_in.is_some() { Phase::Finishing } else { Phase::Sending };
        self.sending_since = now;
        self.record = Some(record);
    }

    fn fail(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        effects.push(Effect::Failed { failure });
    }

    /// Everything that follows from the ledger, the clock and what has ended.
    fn advance(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let is_over = match self.phase {
            Phase::Encoding | Phase::Registering | Phase::Ended => true,
            Phase::Finishing => self.is_finished(view, effects),
            Phase::Sending | Phase::Certifying => false,
        };
        if is_over {
            return;
        }
        self.follow_term(view, effects);
        self.expire(now, effects);
        if self.phase < Phase::Finishing && self.is_hopeless(now, view, effects) {
            return;
        }
        self.open_exchanges(now, view, effects);
        self.certify(now, view, effects);
    }

    /// The ledger alone says whether the blob is certified.
    fn watch_ledger(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let Some(record) = self.record.filter(|_| matches!(self.phase, Phase::Sending | Phase::Certifying)) else {
            return;
        };
        // Not there: this node is behind its own registration, as after a restart.
        let Some(facts) = view.registration(record.registration) else { return };
        if facts.status != RegistrationStatus::Certified {
            if facts.open_in(view.epoch()).is_err() {
                self.fail(Failure::Lapsed, effects);
            }
            return;
        }
        let Some(blob) = view.blob(&record.blob) else { return };
        let record = UploadRecord { certified_in: Some(view.epoch()), ..record };
        self.record = Some(record);
        self.phase = Phase::Finishing;
        effects.push(Effect::Save { record });
        effects.push(Effect::Certified { sequence: blob.sequence });
        let open = self.confirms.iter().filter(|(_, exchange)| exchange.is_open());
        effects.extend(open.map(|(member, _)| Effect::CancelConfirm { member: *member }));
        self.confirms.clear();
    }

    fn is_finished(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) -> bool {
        let certified_in = self.record.and_then(|record| record.certified_in).unwrap_or(Epoch(0));
        let over = certified_in.checked_add(self.config.finish_epochs).is_none_or(|last| view.epoch() > last);
        let left = |(_, exchange): &(NodeId, Exchange)| !exchange.is_done();
        let refused = |(_, exchange): &(NodeId, Exchange)| matches!(exchange.stage, Stage::Refused(_));
        let all_sent = !self.stores.is_empty() && self.stores.values().all(|store| !left(store) || refused(store));
        if over || all_sent {
            self.phase = Phase::Ended;
            let undelivered = self.stores.iter().filter(|(_, store)| left(store)).map(|(shard, _)| *shard);
            effects.push(Effect::Finished { undelivered: undelivered.collect() });
        }
        over || all_sent
    }

    /// Ends an upload that can no longer be certified, or took too long.
    fn is_hopeless(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) -> bool {
        let committee = view.committee();
        let mut refusing: BTreeMap<NodeId, crate::wire::fragment::Refusal> = BTreeMap::new();
        let stores = self.stores.values().map(|(member, exchange)| (member, exchange));
        for (member, exchange) in stores.chain(self.confirms.iter()) {
            if let Stage::Refused(reason) = &exchange.stage {
                refusing.insert(*member, reason.clone());
            }
        }
        let refused = committee.shards_of(refusing.keys().filter_map(|member| committee.index_of(member)));
        let reason = refusing.into_values().next_back();
        if let Some(reason) = reason.filter(|_| refused > committee.faulty()) {
            self.fail(Failure::Refused { refused, reason }, effects);
            return true;
        }
        if now >= self.sending_since.saturating_add(self.config.give_up_millis) {
            let (confirmed, needed) = (committee.shards_of(self.signers(view)), committee.quorum());
            let failure = match self.certify_reason.take() {
                Some(reason) if confirmed >= needed => Failure::Certify { reason },
                None if confirmed >= needed => Failure::Certify { reason: "no answer".to_owned() },
                _ => Failure::TooFew { confirmed, needed },
            };
            self.fail(failure, effects);
            return true;
        }
        false
    }

    fn confirm_ended(
        &mut self,
        now: u64,
        view: &dyn LedgerView,
        member: NodeId,
        outcome: Outcome<BlsSignature>,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(record), Some(exchange)) = (self.record, self.confirms.get_mut(&member)) else { return };
        let committee = view.committee();
        let key = committee.index_of(&member).and_then(|index| committee.member(index)).map(|member| member.bls_key);
        let statement = ConfirmationStatement {
            network: view.network(),
            term: self.term,
            registration: record.registration,
            blob: record.blob,
        };
        let outcome = match outcome {
            Outcome::Done(signature) if exchange.is_open() => {
                match key.map(|key| key.verify(&statement.message(), &signature)) {
                    Some(Ok(())) => Outcome::Done(signature),
                    _ => {
                        effects.push(Effect::Misbehaved { member });
                        Outcome::Broken
                    }
                }
            }
            other => other,
        };
        if let Some(signature) = exchange.end(now, outcome, self.seed, &self.config) {
            self.confirmations.insert(member, signature);
        }
    }

    /// The members of the present committee that confirmed.
    fn signers(&self, view: &dyn LedgerView) -> Vec<MemberIndex> {
        self.confirmations.keys().filter_map(|member| view.committee().index_of(member)).collect()
    }

    fn grace_ends(&self, quorum_at: u64) -> u64 {
        let took = quorum_at.saturating_sub(self.sending_since);
        let grace = self.config.grace_millis_min.saturating_add(took / 2).min(self.config.grace_millis_max);
        quorum_at.saturating_add(grace)
    }

    /// Submits a certificate when there are enough confirmations and nobody else is worth waiting for.
    fn certify(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let Some(record) = self.record else { return };
        let signers = self.signers(view);
        if view.committee().shards_of(signers.iter().copied()) < view.committee().quorum() {
            self.quorum_at = None;
            return;
        }
        let quorum_at = *self.quorum_at.get_or_insert(now);
        let ready = match self.phase {
            Phase::Sending => now >= self.grace_ends(quorum_at) || self.nobody_else_is_near(),
            Phase::Certifying => now >= self.certify_again_at,
            _ => false,
        };
        if !ready {
            return;
        }
        let signatures: Vec<BlsSignature> = self.confirmations.values().copied().collect();
        // Each was verified alone, so together they have an aggregate.
        if let Ok(signature) = aggregate(&signatures) {
            self.phase = Phase::Certifying;
            self.certify_again_at = now.saturating_add(self.config.certify_again_millis);
            let UploadRecord { blob, registration, .. } = record;
            effects.push(Effect::SubmitCertify {
                blob,
                registration,
                members: signers.into_iter().collect(),
                signature,
            });
        }
    }

    /// Whether every member that has not confirmed refuses, or could not be reached when it was last tried.
    fn nobody_else_is_near(&self) -> bool {
        let is_out = |exchange: &Exchange| exchange.broke || matches!(exchange.stage, Stage::Refused(_));
        let out = |member: &NodeId| {
            self.confirms.get(member).is_some_and(is_out)
                || self.stores.values().any(|(holder, exchange)| holder == member && is_out(exchange))
        };
        self.stores.values().all(|(member, _)| self.confirmations.contains_key(member) || out(member))
    }
}
