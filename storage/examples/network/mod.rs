//! What the examples with a large ledger share: a network whose blobs nobody encoded, on disk as a node would have it, and
//! clocks that say what was waited for and what was computed.
#![allow(dead_code, reason = "each example takes what it needs")]

use floe_consensus::{Certificate, Height as VotedHeight, Round, Signature, ValidatorKey, ValueId};
use floe_ledger::synthetic;
use floe_ledger::{ChangeSet, Context, Executed, MemoryState, RowSet, history};
use floe_storage::{Brought, Column, Identity, Store, StoreConfig};
use floe_types::{Epoch, Genesis, Height, NodeId};
use std::path::Path;
use std::time::Instant;

/// A network and the store of one of its nodes.
pub struct Network {
    pub genesis: Genesis,
    pub context: Context,
    /// The same state in memory: what blocks are made from, so that making one warms no cache of the store's.
    pub twin: MemoryState,
    pub store: Store,
}

/// Opens the store of this node.
pub fn open(directory: &Path, genesis: &Genesis, node: NodeId) -> Store {
    let identity = Identity { network: genesis.network(), node };
    Store::open(directory, identity, StoreConfig::default()).unwrap()
}

impl Network {
    /// A network with `blobs` defended blobs, number `at` covered by `covering(at)`.
    pub fn with(directory: &Path, genesis: Genesis, blobs: u64, covering: impl Fn(u64) -> RowSet) -> Network {
        let (context, mut twin) = synthetic::founded(&genesis).unwrap();
        synthetic::store(&mut twin, &context, blobs, covering, |_| Epoch(9)).unwrap();
        synthetic::seal(&mut twin, &context).unwrap();
        let store = open(directory, &genesis, genesis.members[0].node);
        let all = twin.entries().map(|(key, value)| (key.to_vec(), Some(value.to_vec()))).collect();
        store.commit_genesis(&ChangeSet(all)).unwrap();
        store.flush().unwrap();
        Network { genesis, context, twin, store }
    }

    /// Commits a block as a node does, with a certificate of all members.
    pub fn commit(&self, executed: &Executed) {
        let (height, block) = (executed.block.header.height, executed.block.encode());
        let certificate = self.certificate(height, &block);
        commit(&self.store, executed, (&block, &certificate));
    }

    /// A certificate with the votes of all members.
    pub fn certificate(&self, height: Height, block: &[u8]) -> Vec<u8> {
        let value = *blake3::hash(block).as_bytes();
        let vote = |at| {
            let key = synthetic::vote_key(at);
            (ValidatorKey(key.public()), Signature(key.sign(&self.statement(height, &value)).0))
        };
        let mut signatures: Vec<_> = (0..self.genesis.members.len()).map(vote).collect();
        signatures.sort_by_key(|(key, _)| *key);
        let (height, value_id) = (VotedHeight(height.0), ValueId(value));
        Certificate { height, round: Round(0), value_id, signatures }.encode()
    }

    /// The bytes of a precommit in the first round, as `floe_consensus::signing` draws them.
    fn statement(&self, height: Height, value: &[u8; 32]) -> Vec<u8> {
        let mut bytes = b"floe-consensus-v1".to_vec();
        bytes.extend_from_slice(&self.context.network.0);
        bytes.push(2);
        bytes.extend_from_slice(&height.0.to_be_bytes());
        bytes.extend_from_slice(&0u32.to_be_bytes());
        bytes.push(1);
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(&[0; 5]);
        bytes
    }
}

/// Writes down what a block came to, index of accounts included.
pub fn commit(store: &Store, executed: &Executed, (block, certificate): (&[u8], &[u8])) {
    let history = history::entries(executed);
    let brought = Brought { state: &executed.changes, history: &history };
    store.commit_block(executed.block.header.height, block, certificate, brought).unwrap();
}

/// Bytes of the files of a column.
pub fn column_bytes(store: &Store, column: Column) -> u64 {
    let all = store.statistics().unwrap().table_bytes;
    all.into_iter().find(|(of, _)| *of == column).map_or(0, |(_, bytes)| bytes)
}

/// Time that goes by: for this thread, for all of this process, and on the wall, in seconds.
#[derive(Clone, Copy, Default)]
pub struct Took {
    pub thread: f64,
    pub process: f64,
    pub wall: f64,
}

impl Took {
    pub fn plus(&mut self, other: Took) {
        self.thread += other.thread;
        self.process += other.process;
        self.wall += other.wall;
    }
}

/// Does `work` and says what it took.
pub fn took<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (wall, thread, process) = (Instant::now(), thread_seconds(), process_seconds());
    let done = work();
    let wall = wall.elapsed().as_secs_f64();
    (done, Took { thread: thread_seconds() - thread, process: process_seconds() - process, wall })
}

fn thread_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Counted in hundredths of a second, threads that have ended included.
fn process_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Most bytes of memory this process has had.
pub fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
