//! Fragments on their way in: judged, received, kept together.

use super::{Config, Custody, Effect, KeepId, Offer, ReceiveFailure, StoreFailure, StreamId, own_pairs};
use crate::fragments::FragmentKey;
use crate::ledger_view::LedgerView;
use crate::wire::fragment::{Answer, Refusal};
use floe_erasure::{FragmentProof, Layout};
use floe_types::{BlobId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// An offer that waits for its registration.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub peer: NodeId,
    pub offer: Offer,
    pub held: Option<FragmentKey>,
    pub until: u64,
}

/// How far an accepted fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its bytes are coming in or being verified.
    Receiving { deadline: u64 },
    /// Verified; waits for its siblings until then.
    Verified { keep_at: u64 },
    /// Being made durable.
    Keeping,
}

#[derive(Debug)]
struct Arrival {
    peer: NodeId,
    offer: Offer,
    key: FragmentKey,
    bytes: u64,
    phase: Phase,
}

/// The state of what comes in.
#[derive(Debug, Default)]
pub(super) struct Intake {
    parked: BTreeMap<StreamId, Parked>,
    arrivals: BTreeMap<StreamId, Arrival>,
    keeping: BTreeMap<KeepId, Vec<StreamId>>,
    next_keep: u64,
}

/// What becomes of an offer.
enum Judgement {
    Take { key: FragmentKey, bytes: u64 },
    Park,
    Say(Answer),
}

impl Intake {
    pub(super) fn bytes(&self) -> u64 {
        self.arrivals.values().fold(0, |sum, arrival| sum.saturating_add(arrival.bytes))
    }

    pub(super) fn count(&self) -> usize {
        self.arrivals.len()
    }

    pub(super) fn wake_at(&self, config: &Config) -> Option<u64> {
        debug_assert!(self.arrivals.len() <= config.arrivals_max);
        let parked = self.parked.values().map(|parked| parked.until);
        let moving = self.arrivals.values().filter_map(|arrival| match arrival.phase {
            Phase::Receiving { deadline } => Some(deadline),
            Phase::Verified { keep_at } => Some(keep_at),
            Phase::Keeping => None,
        });
        parked.chain(moving).min()
    }

    fn of_peer(&self, peer: &NodeId) -> usize {
        self.arrivals.values().filter(|arrival| arrival.peer == *peer).count()
            + self.parked.values().filter(|parked| parked.peer == *peer).count()
    }

    /// Whether siblings of this fragment are still coming in.
    fn is_expecting(&self, of: &Offer) -> bool {
        self.arrivals.values().any(|arrival| {
            arrival.offer.registration == of.registration
                && arrival.offer.blob == of.blob
                && matches!(arrival.phase, Phase::Receiving { .. })
        })
    }
}

impl Custody {
    pub(super) fn offered(
        &mut self,
        now: u64,
        view: &dyn LedgerView,
        stream: StreamId,
        parked: Parked,
        effects: &mut Vec<Effect>,
    ) {
        match self.judge(view, &parked) {
            Judgement::Say(answer) => effects.push(Effect::Answer { stream, answer }),
            Judgement::Park if self.intake.parked.len() >= self.config.parked_max => {
                effects.push(Effect::Answer { stream, answer: self.unknown(view, &parked.offer) });
            }
            Judgement::Park => {
                self.intake.parked.insert(stream, parked);
            }
            Judgement::Take { key, bytes } => {
                let phase = Phase::Receiving { deadline: self.config.deadline(now, bytes) };
                let Parked { peer, offer, .. } = parked;
                self.intake.arrivals.insert(stream, Arrival { peer, offer, key, bytes, phase });
                effects.push(Effect::Receive { stream, key, bytes });
            }
        }
    }

    pub(super) fn recheck_parked(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let known = |parked: &Parked| view.registration(parked.offer.registration).is_some();
        let ready: Vec<StreamId> =
            self.intake.parked.iter().filter(|(_, parked)| known(parked)).map(|(stream, _)| *stream).collect();
        for stream in ready {
            if let Some(parked) = self.intake.parked.remove(&stream) {
                self.offered(now, view, stream, parked, effects);
            }
        }
    }

    fn busy(&self) -> Judgement {
        Judgement::Say(Answer::Busy { retry_after_millis: self.config.busy_retry_millis })
    }

    fn unknown(&self, view: &dyn LedgerView, offer: &Offer) -> Answer {
        let reason = Refusal::UnknownRegistration { number: offer.registration, epoch: view.epoch() };
        Answer::Refused { reason, retry_after_millis: Some(self.config.busy_retry_millis) }
    }

    /// Judges an offer by the ledger first and by room last, so that what can never be taken is not told to come back.
    fn judge(&self, view: &dyn LedgerView, parked: &Parked) -> Judgement {
        let Parked { peer, offer, held, .. } = parked;
        let never = |reason| Judgement::Say(Answer::Refused { reason, retry_after_millis: None });
        let Some(facts) = view.registration(offer.registration) else {
            return if self.intake.of_peer(peer) < self.config.arrivals_per_peer_max {
                Judgement::Park
            } else {
                self.busy()
            };
        };
        if facts.blob != offer.blob || facts.blob_bytes != offer.blob_bytes {
            return never(Refusal::OtherBlob { number: offer.registration });
        }
        if let Err(lapse) = facts.open_in(view.epoch()) {
            return never(Refusal::Lapsed { number: offer.registration, lapse });
        }
        let term = view.committee().term();
        let Some(own) = own_pairs(view.committee(), &self.me, &offer.blob) else {
            return never(Refusal::NotMember { term });
        };
        let Some((_, pair)) = own.iter().find(|(shard, _)| *shard == offer.shard) else {
            return never(Refusal::NotMyShard { shard: offer.shard, term });
        };
        let layout = Layout::new(view.committee().shards(), offer.blob_bytes);
        let proven = |layout: &Layout| FragmentProof::decode(&offer.proof, layout).is_ok();
        let Some(layout) = layout.ok().filter(proven) else {
            return never(Refusal::BadFragment);
        };
        let key = FragmentKey { group: facts.last, blob: offer.blob, pair: *pair };
        if held.is_some_and(|have| have.blob == key.blob && have.pair == key.pair && have.group >= key.group) {
            return Judgement::Say(Answer::Stored);
        }
        self.judge_room(peer, key, layout.fragment_bytes())
    }

    fn judge_room(&self, peer: &NodeId, key: FragmentKey, bytes: u64) -> Judgement {
        let staged = self.intake.bytes();
        let fits = staged == 0 || staged.saturating_add(bytes) <= self.config.staged_bytes_max;
        let is_coming = self.intake.arrivals.values().any(|arrival| arrival.key == key);
        let room = fits
            && !is_coming
            && self.intake.arrivals.len() < self.config.arrivals_max
            && self.intake.of_peer(peer) < self.config.arrivals_per_peer_max;
        if room { Judgement::Take { key, bytes } } else { self.busy() }
    }

    pub(super) fn received(
        &mut self,
        now: u64,
        view: &dyn LedgerView,
        stream: StreamId,
        outcome: Result<(), ReceiveFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let linger = self.config.keep_linger_millis;
        let Some(arrival) = self.intake.arrivals.get_mut(&stream) else { return };
        let Phase::Receiving { .. } = arrival.phase else { return };
        match outcome {
            Ok(()) => arrival.phase = Phase::Verified { keep_at: now.saturating_add(linger) },
            Err(failure) => {
                self.intake.arrivals.remove(&stream);
                let wait = Some(self.config.busy_retry_millis);
                let refused = |reason, retry_after_millis| Answer::Refused { reason, retry_after_millis };
                let answer = match failure {
                    ReceiveFailure::Cut => refused(Refusal::Incomplete, wait),
                    ReceiveFailure::Bad => refused(Refusal::BadFragment, None),
                    ReceiveFailure::Inconsistent => refused(Refusal::Inconsistent, None),
                    ReceiveFailure::Store(failure) => self.failed(failure),
                };
                effects.push(Effect::Answer { stream, answer });
            }
        }
        self.intake_on_time(now, view, effects);
    }

    pub(super) fn kept(
        &mut self,
        view: &dyn LedgerView,
        keep: KeepId,
        outcome: Result<(), StoreFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let mut blobs = BTreeSet::new();
        for stream in self.intake.keeping.remove(&keep).unwrap_or_default() {
            let Some(arrival) = self.intake.arrivals.remove(&stream) else { continue };
            let answer = match outcome {
                Ok(()) => Answer::Stored,
                Err(failure) => self.failed(failure),
            };
            blobs.insert(arrival.offer.blob);
            effects.push(Effect::Answer { stream, answer });
        }
        if outcome.is_ok() {
            for blob in blobs {
                self.consider(view, &blob, effects);
            }
        }
    }

    pub(super) fn intake_gone(&mut self, now: u64, view: &dyn LedgerView, stream: StreamId, effects: &mut Vec<Effect>) {
        self.intake.parked.remove(&stream);
        // What is verified is worth keeping although nobody waits for the answer.
        let phase = self.intake.arrivals.get(&stream).map(|arrival| arrival.phase);
        if let Some(Phase::Receiving { .. }) = phase {
            self.intake.arrivals.remove(&stream);
            self.intake_on_time(now, view, effects);
        }
    }

    /// Ends what waited or took too long, and keeps what is ready.
    pub(super) fn intake_on_time(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let late: Vec<StreamId> =
            self.intake.parked.iter().filter(|(_, parked)| now >= parked.until).map(|(stream, _)| *stream).collect();
        for stream in late {
            if let Some(parked) = self.intake.parked.remove(&stream) {
                effects.push(Effect::Answer { stream, answer: self.unknown(view, &parked.offer) });
            }
        }
        let wait = Some(self.config.busy_retry_millis);
        self.intake.arrivals.retain(|stream, arrival| {
            let slow = matches!(arrival.phase, Phase::Receiving { deadline } if now >= deadline);
            if slow {
                let answer = Answer::Refused { reason: Refusal::Incomplete, retry_after_millis: wait };
                effects.push(Effect::Answer { stream: *stream, answer });
            }
            !slow
        });
        self.keep_ready(now, effects);
    }

    /// Keeps verified fragments, all of one blob together: at once when no sibling is still coming, else when they have
    /// lingered.
    fn keep_ready(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let mut batches: BTreeMap<BlobId, (Vec<StreamId>, bool)> = BTreeMap::new();
        for (stream, arrival) in &self.intake.arrivals {
            let Phase::Verified { keep_at } = arrival.phase else { continue };
            let ready = now >= keep_at || !self.intake.is_expecting(&arrival.offer);
            let (streams, is_ready) = batches.entry(arrival.offer.blob).or_default();
            streams.push(*stream);
            *is_ready |= ready;
        }
        for (streams, _) in batches.into_values().filter(|(_, is_ready)| *is_ready) {
            for stream in &streams {
                if let Some(arrival) = self.intake.arrivals.get_mut(stream) {
                    arrival.phase = Phase::Keeping;
                }
            }
            let keep = KeepId(self.intake.next_keep);
            self.intake.next_keep += 1;
            self.intake.keeping.insert(keep, streams.clone());
            effects.push(Effect::Keep { keep, streams });
        }
    }
}
