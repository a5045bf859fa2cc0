//! The shell round a node's downloads: slivers asked for on streams, verified, decoded, and the id compared at the end.

use super::gateway::Answered;
use super::holder::primary_bytes;
use super::workload::Work;
use super::{Event, World};
use crate::mutant::Mutant;
use floe_erasure::{CheckedPrimary, FragmentProof, Layout, Options, ReadAt, decode, identify, pair_of, verify_primary};
use floe_machines::download::{Candidate, Config, Download, Effect, Input, SpeedBook, Trouble};
use floe_machines::ledger_view::LedgerView;
use floe_machines::wire::fragment::{Answer, Ask, ReadAxis, ReadRange};
use floe_types::{BlobId, NodeId, PairIndex};
use std::collections::{BTreeMap, VecDeque};

/// When a client whose read failed in the calm asks again, in milliseconds.
const AGAIN_MILLIS: u64 = 500;

/// Names a read within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReadId(u64);

/// Reads under way.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    book: SpeedBook,
    reads: BTreeMap<ReadId, Read>,
}

#[derive(Debug)]
struct Read {
    blob: BlobId,
    layout: Layout,
    download: Download,
    slivers: BTreeMap<PairIndex, (CheckedPrimary, Vec<u8>)>,
}

/// What a stream was opened to read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    read: ReadId,
    pair: PairIndex,
    member: NodeId,
    asked_at: u64,
}

impl Downloads {
    /// When a read waits for time to pass.
    pub fn wake_at(&self) -> Option<u64> {
        self.reads.values().filter_map(|read| read.download.wake_at()).min()
    }
}

impl World {
    /// A client reads a blob through this node.
    pub(super) fn read(&mut self, node: usize, blob: BlobId) {
        let shards = self.context.params.shards;
        let id = ReadId(self.serial());
        let it = &mut self.nodes[node];
        let Some(live) = it.live.as_mut() else { return };
        let view = live_view!(live, it.disk.state, self.context);
        let facts = view.blob(&blob);
        let made = facts.and_then(|facts| {
            let layout = Layout::new(shards, facts.blob_bytes).ok()?;
            let book = &live.gateway.downloads.book;
            let candidate = |covering: &floe_machines::ledger_view::Covering| {
                let member = covering.node;
                let pair = pair_of(&blob, covering.shard, shards);
                Candidate { pair, shard: covering.shard, member, speed: book.speed(&member) }
            };
            let candidates = facts.coverage.iter().map(candidate).collect();
            let download = Download::new(Config::default(), layout.rows(), layout.primary_bytes(), candidates);
            Some(Read { blob, layout, download, slivers: BTreeMap::new() })
        });
        let Some(read) = made else { return self.read_failed(node, &blob, "the gateway's ledger does not know it") };
        live.gateway.downloads.reads.insert(id, read);
        self.download_step(node, id, Input::Started);
    }

    fn download_step(&mut self, node: usize, id: ReadId, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let live = self.nodes[node].live.as_mut();
            let Some(read) = live.and_then(|live| live.gateway.downloads.reads.get_mut(&id)) else { return };
            let blob = read.blob;
            for effect in read.download.step(self.now, input) {
                if self.falls_now(node) {
                    return;
                }
                self.download_does(node, (id, blob), effect);
            }
        }
        self.plan_data_tick(node);
    }

    fn download_does(&mut self, node: usize, (id, blob): (ReadId, BlobId), effect: Effect) {
        match effect {
            Effect::Ask { member, shard, pair } => {
                let ask = Ask::Read { blob, shard, axis: ReadAxis::Primary, range: ReadRange::Whole };
                let reading = Reading { read: id, pair, member, asked_at: self.now };
                self.open_read(node, &member, ask, reading);
            }
            Effect::Cancel { pair } => {
                self.cancel_reads(node, |reading| reading.read == id && reading.pair == pair);
            }
            Effect::Misbehaved { member, shard } => {
                self.stats.blames += 1;
                self.trace
                    .say(self.now, || format!("{node} got a false sliver of shard {shard} from {}", member.short()));
            }
            Effect::Prefix { .. } | Effect::Stalled { .. } => {}
            Effect::Ready { pairs } => self.read_ready(node, id, &pairs),
            Effect::Failed { failure } => {
                self.forget_read(node, id);
                self.read_failed(node, &blob, &failure.to_string());
            }
        }
    }

    fn forget_read(&mut self, node: usize, id: ReadId) -> Option<Read> {
        self.nodes[node].live.as_mut()?.gateway.downloads.reads.remove(&id)
    }

    /// A sliver came, or did not.
    pub(super) fn sliver_came(&mut self, node: usize, reading: Reading, answered: Option<Answered>) {
        let Reading { read: id, pair, member, asked_at } = reading;
        let took = self.now.saturating_sub(asked_at);
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        let downloads = &mut live.gateway.downloads;
        let Some(read) = downloads.reads.get_mut(&id) else { return };
        let input = match verified(read, pair, answered) {
            Ok((checked, bytes)) => {
                downloads.book.measured(member, took, bytes.len() as u64, 1);
                read.slivers.insert(pair, (checked, bytes));
                Input::Verified { pair }
            }
            Err(trouble) => {
                downloads.book.failed(member);
                Input::Failed { pair, trouble }
            }
        };
        self.download_step(node, id, input);
    }

    /// Enough slivers are verified: decode, compare the id, hand out.
    fn read_ready(&mut self, node: usize, id: ReadId, pairs: &[PairIndex]) {
        let Some(mut read) = self.forget_read(node, id) else { return };
        let careless = self.mutant == Some(Mutant::HandOutUnchecked);
        if careless && let Some((_, bytes)) = pairs.first().and_then(|pair| read.slivers.get_mut(pair)) {
            // What a careless reader's memory may do between the check of a sliver and its use.
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        let slivers: Vec<(CheckedPrimary, &dyn ReadAt)> = pairs
            .iter()
            .filter_map(|pair| read.slivers.get(pair))
            .map(|(checked, bytes)| (*checked, bytes as &dyn ReadAt))
            .collect();
        let mut bytes = Vec::new();
        let options = Options::default();
        if let Err(error) = decode(&read.layout, &slivers, &mut bytes, &options) {
            return self.read_failed(node, &read.blob, &error.to_string());
        }
        let shards = self.context.params.shards;
        let identified = identify(&bytes, bytes.len() as u64, shards, &options);
        if !careless && identified.ok() != Some(read.blob) {
            return self.read_failed(node, &read.blob, "the bytes have another id");
        }
        self.stats.reads += 1;
        let (blob, length) = (read.blob, bytes.len());
        self.trace.say(self.now, || format!("{node} reads {length} bytes of blob {blob}"));
        let finding = self.laws.read(self.nodes[node].who, &blob, &bytes);
        self.judge(finding);
        self.read_back(&blob);
    }

    /// A read came to nothing. In the storm that may be; in the calm the client asks again until time is up.
    fn read_failed(&mut self, node: usize, blob: &BlobId, reason: &str) {
        self.trace.say(self.now, || format!("{node} cannot read blob {blob}: {reason}"));
        if self.is_calm {
            self.queue.plan(self.now + AGAIN_MILLIS, Event::Work(Work::ReadAgain { blob: *blob }));
        } else {
            self.stats.reads_failed += 1;
        }
    }

    pub(super) fn downloads_tick(&mut self, node: usize) {
        let Some(live) = self.nodes[node].live.as_ref() else { return };
        let is_due = |read: &Read| read.download.wake_at().is_some_and(|at| at <= self.now);
        let due: Vec<ReadId> =
            live.gateway.downloads.reads.iter().filter(|(_, read)| is_due(read)).map(|(id, _)| *id).collect();
        for id in due {
            self.download_step(node, id, Input::Tick);
        }
    }
}

/// The sliver in an answer, checked against the blob's id.
fn verified(read: &Read, pair: PairIndex, answered: Option<Answered>) -> Result<(CheckedPrimary, Vec<u8>), Trouble> {
    let Some(Answered { answer, body, whole }) = answered else { return Err(Trouble::Broken) };
    let (blob_bytes, proof) = match answer {
        Answer::Sliver { blob_bytes, proof } => (blob_bytes, proof),
        Answer::Busy { retry_after_millis } | Answer::QuietRetry { after_millis: retry_after_millis } => {
            return Err(Trouble::Later { after_millis: retry_after_millis });
        }
        Answer::Refused { .. } => return Err(Trouble::NotThere),
        Answer::Stored | Answer::Confirmation { .. } | Answer::Symbol { .. } | Answer::Judged { .. } => {
            return Err(Trouble::Wrong);
        }
    };
    if blob_bytes != read.layout.blob_bytes() {
        return Err(Trouble::Wrong);
    }
    if !whole || Some(body.len()) != primary_bytes(read.layout.shards(), blob_bytes) {
        return Err(Trouble::Broken);
    }
    let proof = FragmentProof::decode(&proof, &read.layout).map_err(|_| Trouble::Wrong)?;
    let checked = verify_primary(&read.blob, &read.layout, pair, &proof, &body, &Options::default());
    checked.map(|checked| (checked, body)).map_err(|_| Trouble::Wrong)
}
