//! `check`: asks a blob's holders now for a random chunk each. An observation of this node, never a verdict.
//!
//! It is asked as a member's own challenge is asked, so that a holder cannot tell it from one. Only members are answered:
//! through the gateway of another node every holder declines. What this node holds itself it reads from end to end.

use super::look::Look;
use super::{NodeService, internal};
use floe_api::Problem;
use floe_api::model::{CheckView, CheckedHolder, Time};
use floe_api::service::BlobRef;
use floe_erasure::{Axis, pair_of};
use floe_ledger::challenges::{Aim, Question, Sample, Slip, Slot};
use floe_ledger::views;
use floe_machines::fragments::FragmentStore;
use floe_machines::wire::challenge::{Reply, Request};
use floe_types::codec::{self, Domain};
use floe_types::{BlobId, Epoch, Layout, MemberIndex, NodeId, ShardIndex};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static CHANCE: Domain = Domain::new("floe 1 node: chance of a check");

/// Holders that are asked at a time.
const AT_A_TIME: usize = 16;

/// One question to one holder.
struct Ask {
    node: NodeId,
    name: String,
    shard: ShardIndex,
    slip: Slip,
}

/// What is asked about a blob.
pub(super) struct Checking {
    blob: BlobId,
    uncovered: u16,
    asks: Vec<Ask>,
}

/// A number below `bound` that nobody can foresee who is asked.
fn random(blob: &BlobId, shard: ShardIndex, label: u8, bound: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hash = CHANCE.hash(&codec::encode(&(blob, shard, label, now.as_nanos() as u64)));
    let first: [u8; 8] = hash.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first) % bound.max(1)
}

impl Look<'_> {
    /// Whom to ask for what: of each covered shard the holder that readers ask first.
    ///
    /// # Errors
    /// Unknown, not certified, or [`floe_api::Code::Internal`].
    pub(super) fn checking(&self, blob: &BlobRef) -> Result<Checking, Problem> {
        let view = self.find(&self.resolve(blob)?)?;
        let holders = views::holders(self.state, &view.blob).map_err(internal)?;
        let views::BlobStatus::Certified { sequence, .. } = view.status else {
            return Err(Problem::bad_request("id", "only a blob that the network defends has holders to ask"));
        };
        let layout = Layout::new(self.committee.shards(), view.length).map_err(internal)?;
        let mut first: BTreeMap<ShardIndex, NodeId> = BTreeMap::new();
        for holder in holders {
            first.entry(holder.shard).or_insert(holder.node);
        }
        let ask = |(shard, node): (ShardIndex, NodeId)| {
            let axis = if random(&view.blob, shard, 0, 2) == 0 { Axis::Primary } else { Axis::Secondary };
            let symbols = u64::from(match axis {
                Axis::Primary => layout.columns(),
                Axis::Secondary => layout.rows(),
            });
            let symbol = random(&view.blob, shard, 1, symbols) as u16;
            let chunks = floe_erasure::Grain::Chunk.parts(&layout);
            let chunk = random(&view.blob, shard, 2, chunks);
            let (blob, length) = (view.blob, view.length);
            let sample = Sample { number: sequence, blob, length, shard, axis, symbol, chunk };
            let aim = Aim { slot: Slot(0), target: MemberIndex(0), at: 0 };
            let slip = Slip::drawn(self.epoch(), &aim, (self.node, node), Question::Chunk(sample));
            Ask { node, name: self.name_of(&node), shard, slip }
        };
        let uncovered = self.committee.shards().saturating_sub(first.len() as u16);
        Ok(Checking { blob: view.blob, uncovered, asks: first.into_iter().map(ask).collect() })
    }

    fn epoch(&self) -> Epoch {
        self.head.epoch
    }
}

impl NodeService {
    /// Asks everybody and counts.
    pub(super) async fn ask_holders(self, checking: Checking) -> Result<CheckView, Problem> {
        let Checking { blob, uncovered, asks } = checking;
        let service = &self;
        let asked = futures::stream::iter(asks).map(|ask| service.ask_holder(ask)).buffer_unordered(AT_A_TIME);
        let mut holders: Vec<CheckedHolder> = asked.collect().await;
        holders.sort_by_key(|holder| holder.shard);
        let count = |outcome: &str| holders.iter().filter(|holder| holder.outcome == outcome).count() as u16;
        let (correct, wrong) = (count("correct"), count("wrong"));
        let silent = (holders.len() as u16).saturating_sub(correct).saturating_sub(wrong);
        Ok(CheckView { blob_id: blob, at: Time::now(), correct, wrong, silent, uncovered, holders })
    }

    async fn ask_holder(&self, ask: Ask) -> CheckedHolder {
        let began = Instant::now();
        let outcome = if ask.node == self.shared.node { self.read_own(&ask).await } else { self.ask_other(&ask).await };
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        CheckedHolder { node: ask.node, name: ask.name, shard: ask.shard, outcome: outcome.to_owned(), millis }
    }

    async fn ask_other(&self, ask: &Ask) -> &'static str {
        let request = Request::of(self.shared.context.network, &ask.slip).encode();
        let Ok(bytes) = self.shared.network.request_challenge(ask.node, request).await else { return "silent" };
        let context = &self.shared.context;
        match Reply::decode(&bytes) {
            Ok(Reply::Shown(answer)) => match answer.check(&context.network, context.params.shards, &ask.slip) {
                Ok(()) => "correct",
                Err(_) => "wrong",
            },
            Ok(Reply::No(floe_machines::wire::challenge::Denial::NotHeld)) => "wrong",
            Ok(Reply::No(_)) => "declined",
            Err(_) => "wrong",
        }
    }

    async fn read_own(&self, ask: &Ask) -> &'static str {
        let Question::Chunk(sample) = ask.slip.question else { return "correct" };
        let (store, shards) = (self.shared.store.clone(), self.shared.context.params.shards);
        let read = tokio::task::spawn_blocking(move || {
            let record = store.record(&sample.blob, pair_of(&sample.blob, sample.shard, shards)).ok().flatten()?;
            store.verify(&record).ok().map(|gap| gap.is_none())
        });
        match read.await.ok().flatten() {
            Some(true) => "correct",
            Some(false) | None => "wrong",
        }
    }
}
