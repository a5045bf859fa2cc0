//! A new node comes to the newest state of a network with many blobs: from genesis and one peer, with a snapshot and the blocks after
//! it, believing nobody.
//!
//! ```text
//! cargo run --release -p floe-storage --features synthetic --example newcomer [blobs [blocks [directory]]]
//! ```
//!
//! The machine is the node's own ([`SnapshotSync`]), the peer answers from its store as a node does; only the network between them
//! is a call, so what a line's bandwidth adds is the snapshot's bytes divided by it. How many blocks the network has had makes no
//! difference: what is fetched of them are changes of committee, of which there are none here, and the blocks since
//! the snapshot, of which there are `blocks` here with a hundred transfers each.
#![allow(clippy::unwrap_used, reason = "a command that prints figures")]

mod network;

use floe_ledger::evidence::TermLink;
use floe_ledger::snapshot::{self, Outline};
use floe_ledger::synthetic;
use floe_ledger::*;
use floe_machines::certificates::CommitCertificates;
use floe_machines::snapshot::{Config, Effect, Input, SnapshotSync};
use floe_machines::wire::sync::{self, DecidedBlock, DecidedBlocks, Served};
use floe_storage::{Store, StoredBlock};
use floe_types::{AccountId, BlockTime, Epoch, Frost, Genesis, Height, NodeId};
use network::{Network, Took, commit, memory_peak, open, took};
use std::collections::VecDeque;
use std::path::Path;

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MEMBERS: usize = 31;
/// Transfers in each block after the snapshot.
const EACH: usize = 100;

/// A peer that answers from its store.
struct Peer<'a>(&'a Store);

impl DecidedBlocks for Peer<'_> {
    fn decided(&self, height: Height) -> Option<DecidedBlock> {
        let StoredBlock { block, certificate, .. } = self.0.block(height).unwrap()?;
        Some(DecidedBlock { block, certificate })
    }

    fn oldest(&self) -> Height {
        self.0.oldest_height().unwrap()
    }
}

impl Served for Peer<'_> {
    fn terms(&self, after: Epoch, bytes_max: usize) -> Vec<TermLink> {
        self.0.terms(after, bytes_max)
    }

    fn outline(&self) -> Option<Outline> {
        self.0.snapshot_outline().unwrap()
    }

    fn part(&self, height: Height, index: u32) -> Option<Vec<u8>> {
        self.0.snapshot_part(height, index).unwrap()
    }

    fn chunk(&self, height: Height, index: u32) -> Option<Vec<u8>> {
        self.0.snapshot_chunk(height, index).unwrap()
    }
}

fn say(what: &str, spent: Took) {
    println!("{what:>52}: {:>7.2} s by the clock, {:>7.2} s of processors", spent.wall, spent.process);
}

/// Ends the epoch, so that there is a boundary to cut a snapshot after.
fn end_epoch(network: &mut Network) {
    let time = views::head(&network.twin).unwrap().epoch_ends(&network.genesis.params);
    let proposer = network.genesis.members[0].node;
    let built = build_block(&network.twin, &network.context, proposer, time, vec![]).unwrap();
    network.commit(&built);
    network.twin.apply(&built.changes);
}

fn blocks(network: &mut Network, count: u64) {
    for _ in 0..count {
        let now = BlockTime(views::head(&network.twin).unwrap().time.0 + 1);
        let sign = |at: usize| {
            let key = synthetic::user(at);
            let (name, sender) = (network.context.network, AccountId(key.public()));
            let nonce = views::account(&network.twin, &sender).unwrap().nonce;
            let action = Action::Transfer { to: AccountId([9; 32]), amount: Frost(1) };
            let transaction = Transaction { network: name, sender, nonce, fee: Frost(10_000), action };
            transaction.sign(&key).check(&name).unwrap()
        };
        let all = (0..EACH).map(sign).collect();
        let proposer = network.genesis.members[0].node;
        let built = build_block(&network.twin, &network.context, proposer, now, all).unwrap();
        assert_eq!(built.block.transactions.len(), EACH);
        network.commit(&built);
        network.twin.apply(&built.changes);
    }
}

/// Fetches the snapshot into `store`, until it waits to be put in place.
fn fetch(giver: &Peer<'_>, genesis: &Genesis, store: &Store) {
    let (peer, name) = (NodeId([1; 32]), genesis.network());
    let mut machine = SnapshotSync::new(Config::default(), genesis, Height(0), store.arriving().unwrap());
    let mut queue = VecDeque::from([Input::Peers(vec![peer])]);
    let mut complete = false;
    while let Some(input) = queue.pop_front() {
        for effect in machine.step(0, input) {
            match effect {
                Effect::Ask { to, bytes } => {
                    let bytes = sync::serve(giver, &name, &bytes).unwrap().into();
                    queue.push_back(Input::Answered { from: to, bytes });
                }
                Effect::Begin { outline, parts, kept } => store.arriving_begin(&outline, &parts, &kept).unwrap(),
                Effect::Keep { index, bytes } => store.arriving_chunk(index, &bytes).unwrap(),
                Effect::Complete { terms, .. } => {
                    store.restore_at_next_opening(&terms).unwrap();
                    complete = true;
                }
                Effect::SetTimer { .. } => {}
                Effect::NothingOffered | Effect::Blame { .. } => unreachable!("an honest peer offers it: {effect:?}"),
            }
        }
    }
    assert!(complete);
}

/// Takes the blocks that `giver` has above the store's.
fn catch_up(giver: &Peer<'_>, context: &Context, store: &Store) -> u64 {
    let certificates = CommitCertificates::of(context.network);
    let mut taken = 0;
    while let Some(decided) = giver.decided(store.last_height().unwrap().next()) {
        let roll = evidence::Roll::of(&views::committee(store).unwrap());
        let value = *blake3::hash(&decided.block).as_bytes();
        let height = store.last_height().unwrap().next();
        evidence::Certificates::check(&certificates, &roll, height, &value, &decided.certificate).unwrap();
        let executed = execute_decided(store, context, Block::decode(&decided.block).unwrap()).unwrap();
        commit(store, &executed, (&decided.block, &decided.certificate));
        taken += 1;
    }
    taken
}

fn run(directory: &Path, blobs: u64, count: u64) {
    let genesis = synthetic::genesis(MEMBERS as u16, MEMBERS, EACH);
    let all: RowSet = (0..MEMBERS as u32).map(RowId).collect();
    let mut network = Network::with(&directory.join("giver"), genesis.clone(), blobs, |_| all.clone());
    end_epoch(&mut network);
    println!("{blobs} blobs, {MEMBERS} members:");
    let (outline, spent) = took(|| network.store.offer_snapshot().unwrap().join().unwrap().unwrap());
    say("the giver cuts its state", spent);
    let (chunks, bytes) = (outline.chunks, outline.bytes);
    println!("{:>52}: {chunks} of {} MB together, {} bytes a blob", "chunks", bytes / 1_000_000, bytes / blobs);
    blocks(&mut network, count);
    let (giver, context) = (Peer(&network.store), Context::of(&genesis));
    let here = directory.join("newcomer");
    let store = open(&here, &genesis, NodeId([77; 32]));
    store.commit_genesis(&begin(&genesis).unwrap()).unwrap();
    let (_, mut spent) = took(|| fetch(&giver, &genesis, &store));
    say("terms, sums and chunks are checked and kept", spent);
    drop(store);
    let (store, opening) = took(|| open(&here, &genesis, NodeId([77; 32])));
    say("opened again, the state is in place, its roots compared", opening);
    assert_eq!(store.last_height(), snapshot::height_of(&outline));
    let (taken, following) = took(|| catch_up(&giver, &context, &store));
    say(&format!("{taken} blocks after it are verified and executed"), following);
    spent.plus(opening);
    spent.plus(following);
    say("together", spent);
    assert_eq!(views::head(&store).unwrap(), views::head(&network.twin).unwrap());
    println!("{:>52}: {} MB, the giver and a copy included", "most memory of this process", memory_peak() / 1_000_000);
}

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let number = |at| std::env::args().nth(at).and_then(|text| text.parse().ok());
    let directory = std::env::args().nth(3).map_or_else(|| temporary.path().to_owned(), std::path::PathBuf::from);
    run(&directory, number(1).unwrap_or(1_000_000), number(2).unwrap_or(1_000));
}
