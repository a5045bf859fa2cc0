//! The shell round a node's custody: requests on streams in, fragments on the virtual disk, answers out.

use super::coordination::BlockNews;
use super::gateway::Purpose;
use super::streams::Carried;
use super::{Event, Local, World};
use crate::node::Role;
use floe_erasure::{Layout, Options, pair_of};
use floe_ledger::Action;
use floe_machines::custody::{Effect, Input, KeepId, Offer, ReceiveFailure, StoreFailure, StreamId, verify_staged};
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore, StagedFragment};
use floe_machines::wire::fragment::{self, Answer, Ask, LENGTH_BYTES, Refusal};
use floe_types::{BlobId, NodeId, PairIndex};
use std::collections::VecDeque;
use std::ops::Range;

/// An exchange that this node serves.
pub(crate) struct Serving {
    offer: Option<Offer>,
    body: Carried,
    staged: Option<(FragmentKey, Box<dyn StagedFragment>)>,
}

/// What the bytes of a request come to.
enum Asked {
    /// Too little arrived to tell.
    Nothing,
    /// Not a request.
    Malformed,
    /// This, and what follows it.
    Request(Ask, Vec<u8>),
}

fn read_request(network: &floe_types::NetworkId, bytes: &[u8]) -> Asked {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Asked::Nothing };
    let Ok(length) = fragment::header_bytes(*length) else { return Asked::Malformed };
    let Some((header, body)) = rest.split_at_checked(length) else { return Asked::Nothing };
    match fragment::decode_request(header) {
        Ok(request) if request.network == *network => Asked::Request(request.ask, body.to_vec()),
        _ => Asked::Malformed,
    }
}

impl World {
    pub(super) fn asked_on_stream(&mut self, node: usize, stream: StreamId, peer: NodeId, carried: Carried) {
        let (ask, body) = match read_request(&self.context.network, &carried.bytes) {
            Asked::Nothing => return self.close_stream(stream),
            Asked::Malformed => {
                let answer = Answer::Refused { reason: Refusal::Malformed, retry_after_millis: None };
                return self.answer_stream(stream, fragment::frame_answer(&answer));
            }
            Asked::Request(ask, body) => (ask, body),
        };
        let it = &mut self.nodes[node];
        let Some(live) = it.live.as_mut() else { return };
        let (store, shards) = (&it.disk.fragments, self.context.params.shards);
        let record = |blob: &BlobId, pair: PairIndex| store.record(blob, pair).ok().flatten();
        let mut serving = Serving { offer: None, body: Carried { bytes: body, whole: carried.whole }, staged: None };
        let input = match ask {
            Ask::Store(offer) => {
                let pair = pair_of(&offer.blob, offer.shard, shards);
                let held = record(&offer.blob, pair).map(|record| record.key);
                serving.offer = Some(offer.clone());
                Input::StoreOffered { stream, peer, offer, held }
            }
            Ask::Confirm { registration, blob } if it.role == Role::Lazy => {
                let group = floe_types::Epoch(u64::from(u32::MAX));
                let key = |pair| FragmentKey { group, blob, pair: PairIndex(pair) };
                Input::ConfirmAsked { stream, registration, blob, held: (0..shards).map(key).collect() }
            }
            Ask::Confirm { registration, blob } => {
                Input::ConfirmAsked { stream, registration, blob, held: store.of_blob(&blob) }
            }
            Ask::Read { blob, shard, axis, range } => {
                let held = record(&blob, pair_of(&blob, shard, shards)).map(|record| record.blob_bytes);
                Input::ReadAsked { stream, peer, blob, shard, axis, range, held }
            }
            Ask::Symbol(request) => {
                let pair = pair_of(&request.blob, request.shard, shards);
                let held = record(&request.blob, pair).map(|record| record.blob_bytes);
                Input::SymbolAsked { stream, peer, request, held }
            }
            // Nobody here encodes inconsistently: real sockets show that (`tests/tests/inconsistent.rs`).
            Ask::Judge { .. } => {
                let answer = Answer::Refused { reason: Refusal::NotShown, retry_after_millis: None };
                return self.answer_stream(stream, fragment::frame_answer(&answer));
            }
        };
        live.serving.insert(stream, serving);
        self.custody_step(node, input);
    }

    pub(super) fn asker_left(&mut self, node: usize, stream: StreamId) {
        self.custody_step(node, Input::Gone { stream });
    }

    /// A block was decided: custody hears what concerns it.
    pub(super) fn custody_hears(&mut self, node: usize, news: &BlockNews) {
        if news.epoch_began.is_some() {
            self.custody_step(node, Input::EpochBegan);
            self.handover_begins(node);
            self.repair_begins(node);
        }
        if !news.registered.is_empty() {
            self.custody_step(node, Input::LedgerAdvanced);
        }
        for blob in &news.certified {
            self.custody_step(node, Input::BlobCertified { blob: *blob });
        }
    }

    /// Steps the node's custody, and again with every answer that its disk gives at once.
    pub(super) fn custody_step(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let it = &mut self.nodes[node];
            let Some(live) = it.live.as_mut() else { return };
            let view = live_view!(live, it.disk.state, self.context);
            if let Some(helps) = self.mutant.and_then(|mutant| mutant.helps(&input, self.context.params.shards)) {
                inputs.extend(self.custody_does(node, helps));
                continue;
            }
            let effects = live.custody.step(self.now, &view, input);
            for effect in effects {
                if self.falls_now(node) {
                    return;
                }
                inputs.extend(self.custody_does(node, effect));
            }
        }
        self.plan_data_tick(node);
    }

    /// A lazy node keeps nothing and says that it has.
    fn pretended(&self, node: usize, effect: &Effect) -> Option<Input> {
        let all = |blob: &BlobId, pairs: &[PairIndex]| {
            let group = floe_types::Epoch(u64::from(u32::MAX));
            pairs.iter().map(|pair| FragmentKey { group, blob: *blob, pair: *pair }).collect()
        };
        match effect {
            Effect::LookUp { blob, pairs } if self.mutant == Some(crate::mutant::Mutant::AttestUngathered) => {
                Some(Input::LookedUp { blob: *blob, held: all(blob, pairs) })
            }
            _ if self.nodes[node].role != Role::Lazy => None,
            Effect::Receive { stream, .. } => Some(Input::Received { stream: *stream, outcome: Ok(()) }),
            Effect::Keep { keep, .. } => Some(Input::KeepDone { keep: *keep, outcome: Ok(()) }),
            Effect::KeepConfirmation { stream, .. } => {
                Some(Input::ConfirmationKept { stream: *stream, outcome: Ok(()) })
            }
            Effect::LookUp { blob, pairs } => Some(Input::LookedUp { blob: *blob, held: all(blob, pairs) }),
            _ => None,
        }
    }

    fn custody_does(&mut self, node: usize, effect: Effect) -> Option<Input> {
        if let Some(pretended) = self.pretended(node, &effect) {
            return Some(pretended);
        }
        match effect {
            Effect::Receive { stream, key, bytes } => {
                let outcome = self.receive(node, stream, key, bytes);
                return Some(Input::Received { stream, outcome });
            }
            Effect::Keep { keep, streams } => return Some(self.keep(node, keep, &streams)),
            Effect::KeepConfirmation { stream, record } => {
                let kept = self.nodes[node].disk.fragments.keep_confirmation(&record);
                let outcome = kept.map_err(|error| StoreFailure::from(&error));
                return Some(Input::ConfirmationKept { stream, outcome });
            }
            Effect::Sign { stream, confirmation } => {
                let signature = confirmation.sign(&crate::identity::bls_key(self.nodes[node].who));
                self.stats.confirmations += 1;
                self.reply(node, stream, fragment::frame_answer(&Answer::Confirmation { signature }));
            }
            Effect::Serve { stream, blob, pair, span } => {
                self.serve(node, stream, &blob, (pair, span));
                return Some(Input::ReadDone { stream });
            }
            Effect::Help { stream, pair, request } => {
                self.help(node, stream, (pair, request));
                return Some(Input::ReadDone { stream });
            }
            // Readers of the simulator read whole slivers only.
            Effect::ServeUnits { stream, .. } => {
                self.forget_serving(node, stream);
                self.close_stream(stream);
                return Some(Input::ReadDone { stream });
            }
            Effect::Answer { stream, answer } => self.reply(node, stream, fragment::frame_answer(&answer)),
            Effect::Close { stream } => {
                self.forget_serving(node, stream);
                self.close_stream(stream);
            }
            Effect::LookUp { blob, pairs } => {
                let store = &self.nodes[node].disk.fragments;
                let held = pairs.iter().filter_map(|pair| store.record(&blob, *pair).ok().flatten());
                return Some(Input::LookedUp { blob, held: held.map(|record| record.key).collect() });
            }
            Effect::Attest { shards, runs } => {
                let action = Action::Attest { member: self.nodes[node].id(), shards, runs };
                self.stats.attestations += 1;
                self.tell(node, Local::Submit { purpose: Purpose::Attest, action });
            }
            Effect::ListRecords { after, limit } => {
                let records = self.nodes[node].disk.fragments.records_after(after, limit);
                let keys = records.map(|records| records.iter().map(|record| record.key).collect());
                return Some(Input::Listed { keys: keys.map_err(|error| StoreFailure::from(&error)) });
            }
            Effect::Refile { key, group } => {
                let outcome = self.nodes[node].disk.fragments.refile(key, group);
                return Some(Input::Refiled { key, outcome: outcome.map_err(|error| StoreFailure::from(&error)) });
            }
            Effect::DropGroups { up_to } => {
                let given_up = self.nodes[node].disk.fragments.drop_groups(up_to).unwrap_or(0);
                self.stats.forgotten_bytes += given_up;
            }
        }
        None
    }

    fn forget_serving(&mut self, node: usize, stream: StreamId) {
        if let Some(live) = self.nodes[node].live.as_mut() {
            live.serving.remove(&stream);
        }
    }

    pub(super) fn reply(&mut self, node: usize, stream: StreamId, answer: Vec<u8>) {
        self.forget_serving(node, stream);
        self.answer_stream(stream, answer);
    }

    /// Stages what came and verifies it where it lies.
    fn receive(&mut self, node: usize, stream: StreamId, key: FragmentKey, bytes: u64) -> Result<(), ReceiveFailure> {
        let it = &mut self.nodes[node];
        let serving = it.live.as_mut().and_then(|live| live.serving.get_mut(&stream)).ok_or(ReceiveFailure::Cut)?;
        let store = |error: floe_machines::fragments::StoreError| ReceiveFailure::Store(StoreFailure::from(&error));
        let mut staged = it.disk.fragments.stage(key, bytes).map_err(store)?;
        let length = serving.body.bytes.len().min(bytes as usize);
        staged.append(serving.body.bytes.get(..length).unwrap_or_default()).map_err(store)?;
        if !serving.body.whole || (length as u64) < bytes {
            return Err(ReceiveFailure::Cut);
        }
        let offer = serving.offer.as_ref().ok_or(ReceiveFailure::Bad)?;
        verify_staged(staged.as_ref(), offer, self.context.params.shards, &Options::default())?;
        serving.staged = Some((key, staged));
        Ok(())
    }

    fn keep(&mut self, node: usize, keep: KeepId, streams: &[StreamId]) -> Input {
        let it = &mut self.nodes[node];
        let mut fragments = Vec::new();
        for stream in streams {
            let serving = it.live.as_mut().and_then(|live| live.serving.get_mut(stream));
            let Some(serving) = serving else { continue };
            if let (Some(offer), Some((key, staged))) = (&serving.offer, serving.staged.take()) {
                let record = FragmentRecord {
                    key,
                    registration: offer.registration,
                    blob_bytes: offer.blob_bytes,
                    proof: offer.proof.clone(),
                };
                fragments.push((record, staged));
            }
        }
        self.stats.fragments += fragments.len() as u64;
        let kept = it.disk.fragments.keep(fragments);
        Input::KeepDone { keep, outcome: kept.map_err(|error| StoreFailure::from(&error)) }
    }

    /// Sends a primary sliver with its proof; a corrupter damages it on the way.
    fn serve(&mut self, node: usize, stream: StreamId, blob: &BlobId, (pair, span): (PairIndex, Range<u64>)) {
        let store = &self.nodes[node].disk.fragments;
        let mut sliver = vec![0; (span.end - span.start) as usize];
        let record = store.record(blob, pair).ok().flatten();
        let Some(record) = record.filter(|record| store.read_at(record, &mut sliver, span.start).is_ok()) else {
            let answer = Answer::Refused { reason: Refusal::StoreFailed, retry_after_millis: None };
            return self.reply(node, stream, fragment::frame_answer(&answer));
        };
        let FragmentRecord { blob_bytes, mut proof, .. } = record;
        if self.nodes[node].role == Role::Corrupter && self.villain_luck.coin() {
            self.stats.corrupted += 1;
            let body = if self.villain_luck.in_thousand(100) { &mut proof } else { &mut sliver };
            if !body.is_empty() {
                let at = self.villain_luck.index(body.len());
                body[at] ^= 1 << self.villain_luck.below(8);
            }
        }
        let mut answer = fragment::frame_answer(&Answer::Sliver { blob_bytes, proof });
        answer.extend(sliver);
        self.reply(node, stream, answer);
    }

    /// Plans the next look at the clock for the data path, when there is a reason.
    pub(super) fn plan_data_tick(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Some(live) = it.live.as_mut() else { return };
        let repair = live.repair.wake_at();
        let due = [live.custody.wake_at(), live.gateway.wake_at(), live.handover.wake_at(), repair];
        let due = due.into_iter().flatten().min();
        let Some(due) = due.map(|at| at.max(self.now + 1)) else { return };
        if live.tick_at.is_none_or(|at| due < at || at <= self.now) {
            live.tick_at = Some(due);
            let life = it.life;
            self.queue.plan(due, Event::DataTick { node, life });
        }
    }

    pub(super) fn data_tick(&mut self, node: usize, life: u64) {
        if !self.lives(node, life) {
            return;
        }
        if let Some(live) = self.nodes[node].live.as_mut() {
            live.tick_at = None;
            if live.custody.wake_at().is_some_and(|at| at <= self.now) {
                self.custody_step(node, Input::Tick);
            }
        }
        let handover = self.nodes[node].live.as_ref().and_then(|live| live.handover.wake_at());
        if handover.is_some_and(|at| at <= self.now) {
            self.handover_step(node, floe_machines::handover::Input::Tick);
        }
        self.repair_tick(node);
        self.gateway_tick(node);
        self.plan_data_tick(node);
    }
}

/// Bytes of a primary sliver, or none when there is no such layout.
pub(super) fn primary_bytes(shards: u16, blob_bytes: u64) -> Option<usize> {
    Layout::new(shards, blob_bytes).ok().and_then(|layout| usize::try_from(layout.primary_bytes()).ok())
}
