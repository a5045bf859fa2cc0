//! What a holder does with fragments: takes them in, confirms, serves, attests, lets go.
//!
//! The machine judges and counts; it does no I/O. Its shell reads and writes streams, stages bytes in the fragment
//! store, verifies them with [`verify_staged`] on its own threads and answers with inputs.
//!
//! # How a fragment becomes a promise
//! ```text
//! StoreOffered --judge--> Receive --(staged, verified)--> Received --> Keep --(durable)--> KeepDone --> Stored
//! ConfirmAsked --all own fragments held--> KeepConfirmation --(durable)--> ConfirmationKept --> Sign
//! ```
//! 1. An offer is judged by the ledger before its bytes are read: registered, paid, in time, this shard ours, the size
//!    from `n` and length. What the ledger does not know *yet* waits a moment: blocks reach nodes at different times.
//! 2. Verified fragments of one blob are kept in one durable step: one sync for the shards of a holder.
//! 3. A confirmation is asked for by itself, refused unless every own fragment is held, and signed only after its record
//!    is durable: [`DurableConfirmation`] is the only thing that signs and comes out of no other input.
//! 4. Fragments that arrive after the certificate, or whose confirmation came too late for it, are *attested*: looked
//!    for when the ledger certifies, when something is kept, and in a bounded sweep every epoch.
//!
//! # Laws
//! - **CU-1** A signature leaves after all fragments of the holder's shards, and its own record, are durable.
//! - **CU-2** Streams, bytes in flight and parked offers are never above [`Config`]'s limits; what is above is answered
//!   *busy*.
//! - **CU-3** Nobody but members uses the last part of the read slots.
//! - **CU-4** Every exchange gets at most one answer, and every one in flight has a deadline.
//! - **CU-5** Only sequence numbers of which all own fragments are held are attested.
//! - **CU-6** No group is dropped that has a copy of a defended fragment, unless a durable copy is filed later.
//! - **CU-7** A recovery symbol, or its opening, leaves only under a right that this node's own ledger gives the asker.
//!
//! # Not here
//! Withdrawing comes with its own issue, answering challenges is another machine's. What a fragment weighs is the ledger's.
//! Gathering fragments for seats to come is the hand-over's; this machine speaks for the seats that its node has. What it
//! holds beyond them (for a seat to come, or as a former holder) it serves and refiles as long as the blob is defended.

mod attest;
mod collect;
mod config;
mod intake;
mod interface;
mod reads;
mod symbols;
#[cfg(test)]
mod tests;
mod verify;

use crate::fragments::{ConfirmationRecord, FragmentKey};
use crate::ledger_view::{ConfirmationStatement, LedgerView};
use crate::wire::fragment::{Answer, Refusal};
use attest::Attestations;
use collect::Collector;
pub use config::Config;
use floe_ledger::ShardSet;
use floe_types::bls::{BlsSecretKey, BlsSignature};
use floe_types::{BlobId, Committee, Epoch, NodeId, PairIndex, RegistrationNumber, ShardIndex};
use intake::Intake;
pub use interface::{Effect, Input, KeepId, Offer, Room, StoreFailure, StreamId};
use reads::Reads;
use std::collections::BTreeMap;
pub use symbols::{KeptFragment, SymbolError, give_symbol, open_symbol};
pub use verify::{ReceiveFailure, verify_staged};

/// A confirmation whose record is durable. Only [`Custody::step`] makes one, and only this signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableConfirmation(ConfirmationStatement);

impl DurableConfirmation {
    /// The signature to send.
    #[must_use]
    pub fn sign(&self, key: &BlsSecretKey) -> BlsSignature {
        self.0.sign(key)
    }

    /// What it says.
    #[must_use]
    pub fn statement(&self) -> &ConfirmationStatement {
        &self.0
    }
}

/// The state of a holder: exchanges in flight and what is about to be attested. Nothing in it needs to survive a
/// restart; what must is in the store.
#[derive(Debug)]
pub struct Custody {
    me: NodeId,
    config: Config,
    intake: Intake,
    confirming: BTreeMap<StreamId, ConfirmationStatement>,
    reads: Reads,
    attestations: Attestations,
    collector: Collector,
}

impl Custody {
    /// The machine of node `me`, with nothing in flight.
    #[must_use]
    pub fn new(me: NodeId, config: Config) -> Custody {
        Custody {
            me,
            config,
            intake: Intake::default(),
            confirming: BTreeMap::new(),
            reads: Reads::default(),
            attestations: Attestations::default(),
            collector: Collector::default(),
        }
    }

    /// Takes one input at `now` (milliseconds of a clock that never goes back) and says what to do. `view` is the
    /// ledger as this node has it.
    pub fn step(&mut self, now: u64, view: &dyn LedgerView, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.attestations.follow(seats(view.committee(), &self.me));
        match input {
            Input::Started | Input::EpochBegan => self.begin_epoch(view, &mut effects),
            Input::LedgerAdvanced => self.recheck_parked(now, view, &mut effects),
            Input::BlobCertified { blob } | Input::FragmentCame { blob } => self.consider(view, &blob, &mut effects),
            Input::StoreOffered { stream, peer, offer, held } => {
                let parked = intake::Parked { peer, offer, held, until: now + self.config.park_millis };
                self.offered(now, view, stream, parked, &mut effects);
            }
            Input::Received { stream, outcome } => self.received(now, view, stream, outcome, &mut effects),
            Input::KeepDone { keep, outcome } => self.kept(view, keep, outcome, &mut effects),
            Input::ConfirmAsked { stream, registration, blob, held } => {
                let effect = match self.judge_confirm(view, registration, &blob, &held) {
                    Ok((statement, record)) => {
                        self.confirming.insert(stream, statement);
                        Effect::KeepConfirmation { stream, record }
                    }
                    Err(answer) => Effect::Answer { stream, answer },
                };
                effects.push(effect);
            }
            Input::ConfirmationKept { stream, outcome } => {
                if let Some(statement) = self.confirming.remove(&stream) {
                    effects.push(match outcome {
                        Ok(()) => Effect::Sign { stream, confirmation: DurableConfirmation(statement) },
                        Err(failure) => Effect::Answer { stream, answer: self.failed(failure) },
                    });
                }
            }
            Input::ReadAsked { stream, peer, blob, shard, axis, range, held } => {
                let asked = reads::Asked { peer, blob, shard, axis, range, held };
                self.read_asked(now, view, stream, asked, &mut effects);
            }
            Input::SymbolAsked { stream, peer, request, held } => {
                self.symbol_asked((now, view), stream, (peer, request), held, &mut effects);
            }
            Input::ReadDone { stream } => self.reads.done(stream),
            Input::Gone { stream } => self.gone(now, view, stream, &mut effects),
            Input::LookedUp { blob, held } => self.looked_up(now, view, &blob, &held, &mut effects),
            Input::Listed { keys } => self.listed(view, keys, &mut effects),
            Input::Refiled { key, outcome } => self.refiled(&key, outcome.map_err(drop), &mut effects),
            Input::Room(room) => {
                self.collector.room = room;
                self.begin_collecting(view, &mut effects);
            }
            Input::Tick => {}
        }
        self.on_time(now, view, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is next due; none when nothing waits for time to pass.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        [self.intake.wake_at(&self.config), self.reads.wake_at(), self.attestations.wake_at(&self.config)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Bytes of fragments accepted and not yet kept.
    #[must_use]
    pub fn staged_bytes(&self) -> u64 {
        self.intake.bytes()
    }

    /// Reads being served.
    #[must_use]
    pub fn reads_in_flight(&self) -> usize {
        self.reads.count()
    }

    /// Fragments on their way in.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        self.intake.count()
    }

    fn on_time(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        self.intake_on_time(now, view, effects);
        self.reads.expire(now, effects);
        self.attestations.emit(now, &self.config, effects);
    }

    fn gone(&mut self, now: u64, view: &dyn LedgerView, stream: StreamId, effects: &mut Vec<Effect>) {
        self.confirming.remove(&stream);
        self.reads.done(stream);
        self.intake_gone(now, view, stream, effects);
    }

    fn begin_epoch(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        self.begin_collecting(view, effects);
        self.begin_sweep(view, effects);
    }

    /// The answer when the store could not do its part.
    fn failed(&self, failure: StoreFailure) -> Answer {
        let (reason, wait) = match failure {
            StoreFailure::Busy => return Answer::Busy { retry_after_millis: self.config.busy_retry_millis },
            StoreFailure::Full { needed_bytes } => (Refusal::NoRoom { needed_bytes }, self.config.full_retry_millis),
            StoreFailure::Io => (Refusal::StoreFailed, self.config.full_retry_millis),
        };
        Answer::Refused { reason, retry_after_millis: Some(wait) }
    }

    fn judge_confirm(
        &self,
        view: &dyn LedgerView,
        registration: RegistrationNumber,
        blob: &BlobId,
        held: &[FragmentKey],
    ) -> Result<(ConfirmationStatement, ConfirmationRecord), Answer> {
        let refused = |reason, retry_after_millis| Answer::Refused { reason, retry_after_millis };
        if self.confirming.len() >= self.config.confirmations_max {
            return Err(Answer::Busy { retry_after_millis: self.config.busy_retry_millis });
        }
        let wait = Some(self.config.busy_retry_millis);
        let unknown = Refusal::UnknownRegistration { number: registration, epoch: view.epoch() };
        let facts = view.registration(registration).ok_or(refused(unknown, wait))?;
        if facts.blob != *blob {
            return Err(refused(Refusal::OtherBlob { number: registration }, None));
        }
        let over = |lapse| refused(Refusal::Lapsed { number: registration, lapse }, None);
        facts.open_in(view.epoch()).map_err(over)?;
        let term = view.committee().term();
        let own = own_pairs(view.committee(), &self.me, blob).ok_or(refused(Refusal::NotMember { term }, None))?;
        let missing = missing(&own, held, facts.last);
        if !missing.is_empty() {
            return Err(refused(Refusal::Missing { missing }, wait));
        }
        let statement = ConfirmationStatement { network: view.network(), term, registration, blob: *blob };
        let pairs = own.iter().map(|(_, pair)| *pair).collect();
        Ok((statement, ConfirmationRecord { blob: *blob, registration, pairs, group: facts.last }))
    }
}

/// The shards that `node` has the seat of.
fn seats(committee: &Committee, node: &NodeId) -> ShardSet {
    let member = committee.index_of(node).and_then(|index| committee.member(index));
    member.into_iter().flat_map(|member| member.shards.iter().copied()).collect()
}

/// The shards of `node` with the pair of `blob` that each keeps; none when it has no seat.
#[must_use]
pub fn own_pairs(committee: &Committee, node: &NodeId, blob: &BlobId) -> Option<Vec<(ShardIndex, PairIndex)>> {
    let member = committee.member(committee.index_of(node)?)?;
    let pair = |shard: &ShardIndex| (*shard, floe_erasure::pair_of(blob, *shard, committee.shards()));
    Some(member.shards.iter().map(pair).collect())
}

/// The shards whose pair is not held under a group from `last` on. Before its certificate a blob has no claim to be
/// refiled, so a copy from an earlier life is as good as missing.
fn missing(own: &[(ShardIndex, PairIndex)], held: &[FragmentKey], last: Epoch) -> Vec<ShardIndex> {
    let is_held = |pair: PairIndex| held.iter().any(|have| have.pair == pair && have.group >= last);
    own.iter().filter(|(_, pair)| !is_held(*pair)).map(|(shard, _)| *shard).collect()
}

/// The pairs that a confirmation promised and that are not there: checked for every confirmation when a node starts,
/// against what its store has of the confirmation's blob.
#[must_use]
pub fn lost_pairs(confirmation: &ConfirmationRecord, held: &[FragmentKey]) -> Vec<PairIndex> {
    let is_held = |pair: &PairIndex| held.iter().any(|have| have.pair == *pair && have.group >= confirmation.group);
    confirmation.pairs.iter().filter(|pair| !is_held(pair)).copied().collect()
}
