//! What clients want in a run: blobs stored, blobs read, payments made, each through a random gateway.
//!
//! A client whose store fails tries again a few times, as people do.

use super::gateway::{Purpose, UploadId};
use super::{Event, Local, World};
use floe_ledger::Action;
use floe_types::{AccountId, BlobId, Epoch, Frost};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest blob of a run, in bytes.
const BLOB_BYTES_MAX: u64 = 64 << 10;
/// How often a client tries to store one blob.
const TRIES_MAX: u32 = 4;

/// Of a thousand stores, those of bytes that another client stored or stores at this moment.
const KNOWN_PER_MILLE: u64 = 250;

/// Something a client wants.
#[derive(Debug)]
pub(crate) enum Work {
    /// A new blob to be stored.
    Store,
    /// A blob to be stored once more.
    StoreAgain { wanted: usize },
    /// A stored blob to be read.
    Read,
    /// A blob that could not be read to be asked for once more.
    ReadAgain { blob: BlobId },
    /// Somebody to be paid.
    Transfer,
}

/// A blob that a client wants stored.
#[derive(Debug)]
struct Wanted {
    source: Arc<Vec<u8>>,
    epochs: u64,
    tries: u32,
    is_stored: bool,
}

/// Clients and what they want.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    wanted: Vec<Wanted>,
    running: BTreeMap<UploadId, (usize, usize)>,
}

impl World {
    /// Draws what clients want and when.
    pub(super) fn plan_work(&mut self) {
        let storm = self.plan.storm_epochs * self.plan.epoch_millis;
        for _ in 0..self.plan.stores {
            let at = self.now + 300 + self.work_luck.below(storm * 3 / 4);
            self.queue.plan(at, Event::Work(Work::Store));
        }
        for _ in 0..self.plan.stores * 2 {
            let at = self.now + storm / 4 + self.work_luck.below(storm * 3 / 4);
            self.queue.plan(at, Event::Work(Work::Read));
        }
        for _ in 0..self.work_luck.below(8) {
            let at = self.now + self.work_luck.below(storm);
            self.queue.plan(at, Event::Work(Work::Transfer));
        }
    }

    pub(super) fn work(&mut self, work: Work) {
        match work {
            Work::Store => {
                self.want_stored();
            }
            Work::StoreAgain { wanted } => self.try_store(wanted),
            Work::Read => {
                let blobs = self.readable();
                if !blobs.is_empty() {
                    let blob = *self.work_luck.pick(&blobs);
                    self.read_somewhere(blob);
                }
            }
            Work::ReadAgain { blob } => self.read_somewhere(blob),
            Work::Transfer => {
                let gateways = self.gateways();
                if gateways.is_empty() {
                    return;
                }
                let from = *self.work_luck.pick(&gateways);
                let to = self.work_luck.index(self.plan.members);
                let to = AccountId(crate::identity::account_key(to).public());
                let amount = Frost(self.work_luck.between(1, 1_000));
                self.tell(from, Local::Submit { purpose: Purpose::Transfer, action: Action::Transfer { to, amount } });
            }
        }
    }

    /// A client reads a blob through a random gateway.
    pub(super) fn read_somewhere(&mut self, blob: BlobId) {
        let gateways = self.gateways();
        if !gateways.is_empty() {
            let node = *self.work_luck.pick(&gateways);
            self.read(node, blob);
        }
    }

    /// A client comes with a new blob; answers which of the wanted it is.
    pub(super) fn want_stored(&mut self) -> usize {
        let source = self.new_or_known_source();
        let epochs = self.work_luck.between(2, 40);
        self.workload.wanted.push(Wanted { source, epochs, tries: 0, is_stored: false });
        let wanted = self.workload.wanted.len() - 1;
        self.try_store(wanted);
        wanted
    }

    /// Bytes to be stored: new ones as a rule, now and then those of an earlier client.
    fn new_or_known_source(&mut self) -> Arc<Vec<u8>> {
        if !self.workload.wanted.is_empty() && self.work_luck.in_thousand(KNOWN_PER_MILLE) {
            let known = self.work_luck.index(self.workload.wanted.len());
            return self.workload.wanted[known].source.clone();
        }
        let bytes = match self.work_luck.below(5) {
            0 => self.work_luck.below(3),
            1 | 2 => self.work_luck.below(2_000),
            _ => self.work_luck.between(1, BLOB_BYTES_MAX),
        };
        let mut source = self.work_luck.bytes(bytes as usize);
        if bytes > 64 && self.work_luck.in_thousand(200) {
            source.fill(7);
        }
        Arc::new(source)
    }

    fn try_store(&mut self, wanted: usize) {
        let gateways = self.gateways();
        if gateways.is_empty() {
            return self.queue.plan(self.now + 1_000, Event::Work(Work::StoreAgain { wanted }));
        }
        let node = *self.work_luck.pick(&gateways);
        let want = &mut self.workload.wanted[wanted];
        want.tries += 1;
        let head = self.nodes[node].live.as_ref().map_or(Epoch(1), |live| live.coordinator.head().epoch);
        let (source, last) = (want.source.clone(), Epoch(head.0 + want.epochs));
        let length = source.len();
        self.trace.say(self.now, || format!("a client asks {node} to store {length} bytes until epoch {last}"));
        let upload = self.store(node, source, last);
        self.workload.running.insert(upload, (wanted, node));
    }

    /// An upload has its certificate, or never will.
    pub(super) fn store_ended(&mut self, upload: UploadId, result: Result<(), String>) {
        let Some((wanted, node)) = self.workload.running.remove(&upload) else { return };
        match result {
            Ok(()) => {
                self.stats.stores += 1;
                self.workload.wanted[wanted].is_stored = true;
                self.acknowledge(node, upload);
            }
            Err(reason) => {
                self.stats.stores_failed += 1;
                self.trace.say(self.now, || format!("storing through {node} failed: {reason}"));
                if self.workload.wanted[wanted].tries < TRIES_MAX || self.is_calm {
                    let after = self.work_luck.between(100, 500);
                    self.queue.plan(self.now + after, Event::Work(Work::StoreAgain { wanted }));
                }
            }
        }
    }

    /// The client was told: from now on the network must keep its promise.
    fn acknowledge(&mut self, node: usize, upload: UploadId) {
        let Some(spool) = self.nodes[node].disk.spools.get(&upload) else { return };
        let Some(blob) = spool.blob() else { return };
        let (source, last) = (spool.source.clone(), spool.last);
        self.laws.acknowledged(blob, source, last);
    }

    /// Whether a wanted blob has been stored.
    pub(super) fn is_stored(&self, wanted: usize) -> bool {
        self.workload.wanted.get(wanted).is_some_and(|want| want.is_stored)
    }

    /// Acknowledged blobs whose term has not ended for anybody.
    pub(super) fn readable(&self) -> Vec<BlobId> {
        let head = |node: &crate::node::Node| node.live.as_ref().map(|live| live.coordinator.head().epoch);
        let now = self.nodes.iter().filter_map(head).max().unwrap_or(Epoch(1));
        self.laws.acknowledged_blobs().into_iter().filter(|(_, last)| *last > now).map(|(blob, _)| blob).collect()
    }
}
