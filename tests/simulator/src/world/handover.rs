//! The shell round a node's hand-over: gaps read off the ledger, fragments fetched on streams, checked, kept, told to custody.

use super::gateway::Answered;
use super::{Event, World};
use crate::mutant::Mutant;
use crate::node::Role;
use crate::scenario::Scenario;
use floe_erasure::{Options, pair_of};
use floe_machines::custody::{Offer, ReceiveFailure, verify_staged};
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore};
use floe_machines::handover::{Config, Effect, FetchId, Gap, Input, Trouble, gaps};
use floe_machines::wire::fragment::{Answer, Ask, ReadAxis, ReadRange};
use floe_types::NodeId;
use std::collections::VecDeque;

/// How long a fetch waits for its fragment, in milliseconds.
const PATIENCE_MILLIS: u64 = 5_000;
/// In a run about hand-overs: of a thousand fetches, those during which the node falls.
const FALLS_PER_MILLE: u64 = 60;

/// How a node hands over: as in production, but with passes soon enough for a run to see them.
pub(super) fn config() -> Config {
    Config { pass_millis: 1_500, broken_millis: 300, ..Config::default() }
}

impl World {
    /// An epoch began, or the node rose: there may be something to gather.
    pub(super) fn handover_begins(&mut self, node: usize) {
        if self.nodes[node].role != Role::Lazy {
            self.handover_step(node, Input::Begin);
        }
    }

    pub(super) fn handover_step(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(live) = self.nodes[node].live.as_mut() else { return };
            for effect in live.handover.step(self.now, input) {
                if self.falls_now(node) {
                    return;
                }
                inputs.extend(self.handover_does(node, effect));
            }
        }
        self.plan_data_tick(node);
    }

    fn handover_does(&mut self, node: usize, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Look { from, limit } => {
                let it = &self.nodes[node];
                let (gaps, next) =
                    gaps((&it.disk.state, &it.disk.fragments), &it.id(), from, limit).unwrap_or_default();
                return Some(Input::Looked { gaps, next });
            }
            Effect::Fetch { fetch, from, gap } => self.fetch(node, fetch, from, gap),
            Effect::Misbehaved { node: liar } => {
                self.stats.blames += 1;
                self.trace.say(self.now, || format!("{node} was handed a wrong fragment by {}", liar.short()));
            }
            Effect::PassEnded { fetched, bytes, left } => {
                self.stats.handed_over += fetched;
                self.trace
                    .say(self.now, || format!("{node} gathered {fetched} fragments ({bytes} bytes), {left} left"));
            }
        }
        None
    }

    fn fetch(&mut self, node: usize, fetch: FetchId, from: NodeId, gap: Gap) {
        self.stats.fetches += 1;
        if self.plan.scenario == Scenario::Handover && !self.is_calm && self.process_luck.in_thousand(FALLS_PER_MILLE) {
            let after = self.process_luck.below(4);
            self.nodes[node].falls_after.get_or_insert(after);
        }
        let ask = Ask::Read { blob: gap.blob, shard: gap.shard, axis: ReadAxis::Pair, range: ReadRange::Whole };
        let stream = self.open_fetch(node, &from, ask, (fetch, gap));
        // A cut link shows as silence.
        self.queue
            .plan(self.now + PATIENCE_MILLIS, Event::Stream(super::streams::StreamEvent::EndsForAsker { stream }));
    }

    /// A fetch has its answer, or has ended without one.
    pub(super) fn fetched(&mut self, node: usize, (fetch, gap): (FetchId, Gap), answered: Option<Answered>) {
        let blob = gap.blob;
        let outcome = self.keep_fetched(node, &gap, answered);
        let came = outcome.is_ok();
        self.handover_step(node, Input::Fetched { fetch, outcome });
        if came {
            self.custody_step(node, floe_machines::custody::Input::FragmentCame { blob });
        }
    }

    fn keep_fetched(&mut self, node: usize, gap: &Gap, answered: Option<Answered>) -> Result<(), Trouble> {
        let Some(Answered { answer, body, whole }) = answered else { return Err(Trouble::Broken) };
        let proof = match answer {
            Answer::Sliver { blob_bytes, proof } if blob_bytes == gap.blob_bytes => proof,
            Answer::Busy { retry_after_millis: after_millis } | Answer::QuietRetry { after_millis } => {
                return Err(Trouble::Later { after_millis });
            }
            Answer::Refused { reason, retry_after_millis: Some(after_millis) } if reason.may_pass() => {
                return Err(Trouble::Later { after_millis });
            }
            Answer::Refused { .. } => return Err(Trouble::NotThere),
            Answer::Sliver { .. } | Answer::Stored | Answer::Confirmation { .. } | Answer::Judged { .. } => {
                return Err(Trouble::Wrong);
            }
        };
        if !whole || (body.len() as u64) < gap.bytes {
            return Err(Trouble::Broken);
        }
        let shards = self.context.params.shards;
        let key = FragmentKey { group: gap.group, blob: gap.blob, pair: pair_of(&gap.blob, gap.shard, shards) };
        let Gap { registration, blob, blob_bytes, shard, bytes, .. } = *gap;
        let offer = Offer { registration, blob, blob_bytes, shard, proof };
        let store = &self.nodes[node].disk.fragments;
        let mut staged = store.stage(key, bytes).map_err(|_| Trouble::NoRoom)?;
        staged.append(body.get(..bytes as usize).unwrap_or_default()).map_err(|_| Trouble::NoRoom)?;
        verify_staged(staged.as_ref(), &offer, shards, &Options::default()).map_err(|failure| match failure {
            ReceiveFailure::Cut => Trouble::Broken,
            ReceiveFailure::Bad => Trouble::Wrong,
            ReceiveFailure::Inconsistent => Trouble::NotThere,
            ReceiveFailure::Store(_) => Trouble::NoRoom,
        })?;
        if self.mutant == Some(Mutant::AttestUngathered) {
            return Ok(());
        }
        let record = FragmentRecord { key, registration, blob_bytes, proof: offer.proof };
        store.keep(vec![(record, staged)]).map_err(|_| Trouble::NoRoom)
    }
}
