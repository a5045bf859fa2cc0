//! Showing what this node holds: whom it lets ask, and how an answer is made.
//!
//! Members are served, each as much as its duties may need in a slot and a little more, so that nobody reads blobs by way of
//! challenges. A question of the epoch before or after is answered too: heads differ for as long as a block travels, and an
//! answer says itself what it is for.
//!
//! Making an answer costs one pass over the sliver that the chunk is in, unless the hashes of its symbols are kept
//! ([`KeptHashes`]); then it reads one symbol.

use super::interface::{Effect, ExchangeId};
use super::machine::{Challenger, Step};
use crate::custody::KeptFragment;
use crate::fragments::FragmentStore;
use crate::wire::challenge::{Denial, Reply, Request};
use bytes::Bytes;
use floe_erasure::{Axis, ChunkOpening, FragmentProof, Options, Part, SliverHashes, open_chunk, pair_of};
use floe_ledger::challenges::{Answer, Question, Sample, Slip};
use floe_types::keys::SecretKey;
use floe_types::params::challenges_per_slot;
use floe_types::{BlobId, Layout, NetworkId, NodeId, PairIndex};
use std::collections::BTreeMap;

/// Who is being answered, and how much each has asked of late.
#[derive(Debug, Default)]
pub(super) struct Answering {
    serving: BTreeMap<ExchangeId, NodeId>,
    asked: BTreeMap<NodeId, u32>,
    window_began: u64,
}

impl Answering {
    pub(super) fn count(&self) -> usize {
        self.serving.len()
    }

    pub(super) fn done(&mut self, exchange: ExchangeId) {
        self.serving.remove(&exchange);
    }

    /// Counts a question of `peer`; false when it has asked `most` within `window` milliseconds.
    fn may_ask(&mut self, now: u64, peer: NodeId, (most, window): (u32, u64)) -> bool {
        if now >= self.window_began.saturating_add(window) || now < self.window_began {
            (self.window_began, self.asked) = (now, BTreeMap::new());
        }
        // Members only: as many entries as a committee has.
        let asked = self.asked.entry(peer).or_insert(0);
        *asked = asked.saturating_add(1);
        *asked <= most
    }
}

impl Challenger {
    pub(super) fn asked(&mut self, step: &mut Step<'_>, exchange: ExchangeId, peer: NodeId, bytes: &[u8]) {
        let effect = match self.admit(step.now, peer, bytes) {
            Err(denial) => reply(exchange, &Reply::No(denial)),
            Ok(slip) if slip.question == Question::Presence => {
                let answer = Answer::present(&self.network, &slip, &self.identity.network_key);
                reply(exchange, &Reply::Shown(answer))
            }
            Ok(slip) => {
                self.answering.serving.insert(exchange, peer);
                Effect::Open { exchange, slip }
            }
        };
        step.out.push(effect);
    }

    fn admit(&mut self, now: u64, peer: NodeId, bytes: &[u8]) -> Result<Slip, Denial> {
        let request = Request::decode(bytes).ok().filter(|asked| asked.network == self.network && asked.slot.exists());
        let request = request.ok_or(Denial::Malformed)?;
        let watch = self.watch.as_ref().ok_or(Denial::Busy)?;
        let epoch = watch.board.epoch();
        if request.epoch.0.abs_diff(epoch.0) > 1 {
            return Err(Denial::OtherEpoch { epoch });
        }
        watch.committee.index_of(&peer).ok_or(Denial::NotMember)?;
        let members = watch.committee.members().len();
        // Its own questions of two slots, and one of each member's that it asks again.
        let most = u32::from(challenges_per_slot(members)) * 2 + members as u32;
        let of_peer = self.answering.serving.values().filter(|served| **served == peer).count();
        let is_room = self.answering.count() < self.config.answers_max && of_peer < self.config.answers_per_peer_max;
        if !self.answering.may_ask(now, peer, (most, self.params.slot_millis())) || !is_room {
            return Err(Denial::Busy);
        }
        Ok(request.slip(peer, self.identity.node))
    }
}

fn reply(exchange: ExchangeId, reply: &Reply) -> Effect {
    Effect::Reply { exchange, bytes: Bytes::from(reply.encode()) }
}

/// Which sliver of which fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliverKey {
    /// The blob.
    pub blob: BlobId,
    /// The pair.
    pub pair: PairIndex,
    /// The row or the column.
    pub axis: Axis,
}

/// Where the hashes of slivers' symbols may be kept, 32 bytes for each of `n`. A cache: losing them costs a pass over the
/// sliver, and wrong ones make answers that lead nowhere.
pub trait KeptHashes {
    /// Those of this sliver, if they are kept.
    fn hashes(&self, layout: &Layout, sliver: &SliverKey) -> Option<SliverHashes>;

    /// Takes those of this sliver, or not.
    fn keep(&self, sliver: &SliverKey, hashes: (&Layout, &SliverHashes));
}

/// Keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHashes;

impl KeptHashes for NoHashes {
    fn hashes(&self, _layout: &Layout, _sliver: &SliverKey) -> Option<SliverHashes> {
        None
    }

    fn keep(&self, _sliver: &SliverKey, _hashes: (&Layout, &SliverHashes)) {}
}

/// Makes the reply to `slip` from what the store has, signed with this node's network identity. Blocks.
///
/// `shards` is `n`. Whatever the store cannot give is not held: nobody is the wiser for a reason.
#[must_use]
pub fn show(
    network: &NetworkId,
    shards: u16,
    slip: &Slip,
    (store, kept): (&dyn FragmentStore, &dyn KeptHashes),
    key: &SecretKey,
) -> Reply {
    let sample = match &slip.question {
        Question::Presence => return Reply::Shown(Answer::present(network, slip, key)),
        Question::Chunk(sample) => sample,
    };
    match open(shards, sample, store, kept) {
        Some(opening) => Reply::Shown(Answer::show(network, slip, &opening, key)),
        None => Reply::No(Denial::NotHeld),
    }
}

fn open(shards: u16, sample: &Sample, store: &dyn FragmentStore, kept: &dyn KeptHashes) -> Option<ChunkOpening> {
    if sample.shard.0 >= shards {
        return None;
    }
    let pair = pair_of(&sample.blob, sample.shard, shards);
    let record = store.record(&sample.blob, pair).ok()??;
    if record.blob_bytes != sample.length {
        return None;
    }
    let layout = Layout::new(shards, record.blob_bytes).ok()?;
    let proof = FragmentProof::decode(&record.proof, &layout).ok()?;
    let fragment = KeptFragment::new(store, &record);
    let start = match sample.axis {
        Axis::Primary => 0,
        Axis::Secondary => layout.primary_bytes(),
    };
    let sliver = Part::new(&fragment, start);
    let named = SliverKey { blob: sample.blob, pair, axis: sample.axis };
    let hashes = match kept.hashes(&layout, &named) {
        Some(hashes) => hashes,
        None => {
            let hashes = SliverHashes::of(&layout, pair, sample.axis, &sliver, &Options::default()).ok()?;
            kept.keep(&named, (&layout, &hashes));
            hashes
        }
    };
    open_chunk(&layout, &proof, sample.place(), &hashes, &fragment).ok()
}
