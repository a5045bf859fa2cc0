//! Blocks on a ledger that lies in RocksDB: decoded, every signature verified, executed, roots compared, and written down with
//! their certificate, their changes and the index of accounts, after a synced vote in the journal. As another node's blocks are.
//!
//! ```text
//! cargo run --release -p floe-storage --features synthetic --example ledger [blobs [kind [directory]]]
//! ```
//!
//! Three rates are printed: by the time this thread had of a processor; by that of all threads, those of the database that sort
//! included; and by the clock. The first is what one core does while another sorts. Blocks are made from a copy of the state in
//! memory, so that what the store reads for them it reads for the first time.
#![allow(clippy::unwrap_used, reason = "a command that prints figures")]

mod network;

use floe_ledger::synthetic::{self, BLOB_BYTES};
use floe_ledger::*;
use floe_storage::{Column, Store};
use floe_types::bls::aggregate;
use floe_types::keys::SecretKey;
use floe_types::{AccountId, BlockTime, Epoch, Frost, Genesis, MemberIndex, RegistrationNumber, SequenceNumber};
use network::{Network, Took, column_bytes, commit, memory_peak, took};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: usize = 2_000;
const MEMBERS: usize = 25;
/// Blocks of each kind.
const BLOCKS: usize = 4;
const FEE: Frost = Frost(10_000);

/// A store that counts how often it is read.
struct Reading<'a> {
    store: &'a Store,
    reads: Cell<u64>,
}

impl StateRead for Reading<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.reads.set(self.reads.get() + 1);
        self.store.get(key)
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.reads.set(self.reads.get() + keys.len() as u64);
        self.store.get_many(keys)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        self.reads.set(self.reads.get() + 1);
        self.store.range(from, to, limit)
    }
}

struct Bench {
    network: Network,
    nonces: BTreeMap<AccountId, u64>,
}

impl Bench {
    fn sign(&mut self, key: &SecretKey, action: Action) -> CheckedTransaction {
        let (network, sender) = (self.network.context.network, AccountId(key.public()));
        let twin = &self.network.twin;
        let next = self.nonces.entry(sender).or_insert_with(|| views::account(twin, &sender).unwrap().nonce);
        *next += 1;
        let transaction = Transaction { network, sender, nonce: *next - 1, fee: FEE, action };
        transaction.sign(key).check(&network).unwrap()
    }

    /// A block of these on top of the last one.
    fn build(&self, now: BlockTime, candidates: Vec<CheckedTransaction>) -> Executed {
        let proposer = self.network.genesis.members[0].node;
        let built = build_block(&self.network.twin, &self.network.context, proposer, now, candidates).unwrap();
        assert_eq!(built.refused, vec![]);
        built
    }

    /// Lets the store take `built` as somebody else's block. Says what it took, and how often the store was read.
    fn take(&mut self, built: &Executed) -> (Took, u64) {
        let bytes = built.block.encode();
        let height = built.block.header.height;
        let certificate = self.network.certificate(height, &bytes);
        let context = Context { memo: memo::Memo::default(), ..self.network.context.clone() };
        let store = &self.network.store;
        let reading = Reading { store, reads: Cell::new(0) };
        let (executed, spent) = took(|| {
            store.journal_append(&[(height, &[7; 200])]).unwrap();
            let executed = execute_decided(&reading, &context, Block::decode(&bytes).unwrap()).unwrap();
            commit(store, &executed, (&bytes, &certificate));
            executed
        });
        assert!(executed.changes == built.changes, "the store's state is the one in memory");
        self.network.twin.apply(&built.changes);
        (spent, reading.reads.get())
    }

    fn blocks(&mut self, name: &str, each: usize, key: impl Fn(usize) -> SecretKey, action: impl Fn(usize) -> Action) {
        if std::env::args().nth(2).is_some_and(|wanted| wanted != name) {
            return;
        }
        let (mut spent, mut reads, mut count, mut next) = (Took::default(), 0, 0, 0);
        for _ in 0..BLOCKS {
            let candidates = (0..each).map(|at| self.sign(&key(next + at), action(next + at))).collect();
            let now = BlockTime(views::head(&self.network.twin).unwrap().time.0 + 1);
            let built = self.build(now, candidates);
            let included = built.block.transactions.len();
            // What did not fit comes with the next block.
            self.nonces.clear();
            next += included;
            count += included;
            let (took, read) = self.take(&built);
            spent.plus(took);
            reads += read;
        }
        let rate = |seconds: f64| count as f64 / seconds;
        println!(
            "{name:>16}: {count:>6} in {BLOCKS} blocks, a second {:>7.0} by this thread, {:>7.0} by all, {:>7.0} by the clock, {:.1} reads each",
            rate(spent.thread),
            rate(spent.process),
            rate(spent.wall),
            reads as f64 / count as f64
        );
    }
}

fn register(blob: u64) -> Action {
    Action::Register {
        blob: synthetic::blob(blob),
        length: BLOB_BYTES,
        first: Epoch(1),
        last: Epoch(9),
        price_max: Frost(u64::MAX),
        persistence: Persistence::Permanent,
        attributes: Attributes::default(),
    }
}

/// Blocks of each kind on a state with `count` blobs, a tenth of which one member lacks.
fn speed(directory: &Path, count: u64) {
    let genesis: Genesis = synthetic::genesis(100, MEMBERS, USERS);
    let all: RowSet = (0..100).map(RowId).collect();
    let lacking: RowSet = (4..100).map(RowId).collect();
    let covering = |at: u64| if at.is_multiple_of(10) { lacking.clone() } else { all.clone() };
    let network = Network::with(directory, genesis, count, covering);
    let mut bench = Bench { network, nonces: BTreeMap::new() };
    let state = column_bytes(&bench.network.store, Column::State);
    println!("blocks on {count} blobs in RocksDB, {} bytes of files a blob, {MEMBERS} members:", state / count);
    let user = |at: usize| synthetic::user(at % USERS);
    let to = |at: usize| AccountId(synthetic::user(at % 977).public());
    bench.blocks("transfers", 8_000, user, |at| Action::Transfer { to: to(at), amount: Frost(1) });
    bench.blocks("registrations", 8_000, user, |at| register(1 << 40 | at as u64));
    let extend = |number: u64, last: u64| {
        let (registration, last) = (RegistrationNumber(1 + number % count), Epoch(last));
        Action::Extend { registration, last, price_max: Frost(u64::MAX) }
    };
    // How often each was extended before.
    let round = |at: usize| at as u64 / count;
    bench.blocks("extensions", 8_000, user, |at| extend(at as u64 * 7_919, 10 + round(at)));
    // As somebody does who stored them one after the other.
    bench.blocks("in order", 8_000, user, |at| extend(at as u64, 50 + round(at)));
    let committee = views::committee(&bench.network.twin).unwrap();
    let member = committee.members()[0].node;
    let shards: ShardSet = committee.members()[0].shards.iter().copied().collect();
    let attested = (count as usize / 10 / BLOCKS).min(8_000);
    let run = |at: usize| Run { first: SequenceNumber(at as u64 * 10), last: SequenceNumber(at as u64 * 10) };
    let attest = |at| Action::Attest { member, shards: shards.clone(), runs: vec![run(at)] };
    bench.blocks("attestations", attested, |_| synthetic::member_key(0), attest);
    certificates(&mut bench, 1 + count + (BLOCKS * 8_000) as u64);
    print_rest(&bench.network.store);
}

/// Certificates by three quarters of the members, for blobs that are registered here.
fn certificates(bench: &mut Bench, first: u64) {
    const COUNT: usize = 256;
    let next = |bench: &Bench| BlockTime(views::head(&bench.network.twin).unwrap().time.0 + 1);
    let registered =
        (0..BLOCKS * COUNT).map(|at| bench.sign(&synthetic::user(0), register((1 << 41) + first + at as u64)));
    let registered = registered.collect();
    let built = bench.build(next(bench), registered);
    let numbers: Vec<RegistrationNumber> = built.events.iter().filter_map(registration).collect();
    bench.take(&built);
    let network = bench.network.context.network;
    let signers = MEMBERS - MEMBERS / 4;
    let certify = |at: usize| {
        let (registration, blob) = (numbers[at], synthetic::blob((1 << 41) + first + at as u64));
        let message = confirmation_message(&network, 1, registration, &blob, 1);
        let signatures: Vec<_> = (0..signers).map(|at| synthetic::confirmation_key(at).sign(&message)).collect();
        let members: MemberSet = (0..signers as u16).map(MemberIndex).collect();
        let signature = aggregate(&signatures).unwrap();
        Action::Certify { blob, registration, version: 1, members, signature }
    };
    bench.nonces.clear();
    bench.blocks("certificates", COUNT, |_| synthetic::user(0), certify);
}

fn registration(event: &Event) -> Option<RegistrationNumber> {
    match event {
        Event::Registered { registration, .. } => Some(*registration),
        _ => None,
    }
}

fn print_rest(store: &Store) {
    store.flush().unwrap();
    println!(
        "state {} MB in files, cache {} MB, most memory of this process {} MB (with the copy of the state)",
        column_bytes(store, Column::State) / 1_000_000,
        store.statistics().unwrap().cache_bytes / 1_000_000,
        memory_peak() / 1_000_000
    );
}

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let directory = std::env::args().nth(3).map_or_else(|| temporary.path().to_owned(), std::path::PathBuf::from);
    speed(&directory, count);
}
