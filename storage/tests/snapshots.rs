//! Snapshots on disk: offered, arriving, restored across openings and crashes; old blocks dropped.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::config;
use floe_ledger::evidence::{Headers, Sealed};
use floe_ledger::snapshot::{self, Part};
use floe_ledger::{Context, MemoryState, StateRead, build_block, views};
use floe_machines::coordinator::Memory;
use floe_storage::{Identity, Store};
use floe_types::bls::BlsSecretKey;
use floe_types::committee::deal;
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::{AccountId, BlockTime, Frost, Genesis, Height, Member, NodeId, Params, VoteKey};
use std::collections::BTreeSet;
use std::path::Path;

fn genesis(accounts: u32) -> Genesis {
    let bls = BlsSecretKey::from_seed([1; 32]);
    let member = Member {
        node: NodeId([2; 32]),
        name: "one".into(),
        account: AccountId([1; 32]),
        vote_key: VoteKey([7; 32]),
        bls_key: bls.public(),
        possession: bls.prove_possession(),
        addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
        domain: String::new(),
        capacity_bytes: 1,
        shards: deal(4, 1).remove(0),
    };
    let account = |at: u32| {
        let mut account = [9; 32];
        account[..4].copy_from_slice(&at.to_be_bytes());
        GenesisAccount { account: AccountId(account), balance: Frost(3) }
    };
    Genesis {
        version: PROTOCOL_VERSION,
        name: "disk".into(),
        time: BlockTime(1_000),
        params: Params::devnet(4, 1_000),
        accounts: (0..accounts).map(account).collect(),
        members: vec![member],
        parent: None,
    }
}

fn open(directory: &Path, genesis: &Genesis) -> Store {
    let identity = Identity { network: genesis.network(), node: NodeId([2; 32]) };
    Store::open(directory, identity, config()).unwrap_or_else(|error| panic!("{error}"))
}

/// Commits `count` boundary blocks.
fn grow(store: &Store, genesis: &Genesis, count: u64) {
    let context = Context::of(genesis);
    if store.last_height().is_none() {
        store.commit_genesis(&floe_ledger::begin(genesis).unwrap()).unwrap();
    }
    for _ in 0..count {
        let now = views::head(store).unwrap().epoch_ends(&genesis.params);
        let built = build_block(store, &context, NodeId([2; 32]), now, vec![]).unwrap();
        let height = built.block.header.height;
        store.commit_block(height, &built.block.encode(), b"certificate", &built.changes).unwrap();
    }
}

fn entries(store: &dyn StateRead) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.range(&[0], &[255], usize::MAX >> 8).unwrap()
}

/// Moves the snapshot that `from` offers into `to`, all but the chunks `without`.
fn carry(from: &Store, to: &Store, without: &[u32]) {
    let outline = from.snapshot_outline().unwrap().unwrap();
    let height = snapshot::height_of(&outline).unwrap();
    let part = |index| Part::decode(&from.snapshot_part(height, index).unwrap().unwrap()).unwrap();
    let parts: Vec<_> = (0..outline.parts()).map(part).collect();
    to.arriving_begin(&outline, &parts, &BTreeSet::new()).unwrap();
    for index in (0..outline.chunks).filter(|index| !without.contains(index)) {
        to.arriving_chunk(index, &from.snapshot_chunk(height, index).unwrap().unwrap()).unwrap();
    }
}

#[test]
fn a_store_starts_over_from_a_snapshot_and_goes_on_as_the_one_it_was_cut_from() {
    let genesis = genesis(30_000);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let giver = open(one.path(), &genesis);
    grow(&giver, &genesis, 5);
    let outline = giver.offer_snapshot().unwrap().join().unwrap().unwrap();
    assert!(outline.chunks > 2 && outline.bytes > 1 << 20);
    let then = entries(&giver);

    let taker = open(two.path(), &genesis);
    grow(&taker, &genesis, 2);
    carry(&giver, &taker, &[1]);
    assert!(taker.restore_at_next_opening(&[]).is_err(), "a chunk is missing");
    drop(taker);
    let taker = open(two.path(), &genesis);
    let arrived = taker.arriving().unwrap().unwrap();
    assert_eq!(arrived.kept, (0..outline.chunks).filter(|index| *index != 1).collect());
    let chunk = giver.snapshot_chunk(Height(5), 1).unwrap().unwrap();
    taker.arriving_chunk(1, &chunk).unwrap();
    taker.restore_at_next_opening(&[]).unwrap();
    assert_eq!(taker.last_height(), Some(Height(2)), "until it is opened again nothing changes");
    taker.memory_is_lost(Height(7)).unwrap();
    drop(taker);

    let taker = open(two.path(), &genesis);
    assert_eq!(taker.memory().unwrap(), Memory::LostBelow(Height(7)), "a snapshot forgets no vote that can matter");
    assert_eq!((taker.last_height(), taker.oldest_height().unwrap()), (Some(Height(5)), Height(6)));
    assert!(entries(&taker) == then, "the state is the same to the byte");
    assert_eq!(taker.arriving().unwrap(), None);
    assert_eq!(taker.sealed(Height(5)).unwrap(), giver.sealed(Height(5)).unwrap());
    grow(&giver, &genesis, 3);
    grow(&taker, &genesis, 3);
    assert!(entries(&taker) == entries(&giver));
    drop(taker);
    assert_eq!(open(two.path(), &genesis).last_height(), Some(Height(8)));
}

#[test]
fn a_snapshot_shows_one_height_whatever_is_committed_meanwhile_and_the_newest_two_stay() {
    let genesis = genesis(3_000);
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &genesis);
    for _ in 0..4 {
        grow(&store, &genesis, 1);
        let cutting = store.offer_snapshot().unwrap();
        grow(&store, &genesis, 2);
        cutting.join().unwrap().unwrap();
    }
    let outline = store.snapshot_outline().unwrap().unwrap();
    let header = outline.sealed.open().unwrap().header;
    assert_eq!(header.height, Height(10));
    let part = Part::decode(&store.snapshot_part(Height(10), 0).unwrap().unwrap()).unwrap();
    let mut total = floe_ledger::digest::Sum::default();
    part.sums.iter().for_each(|sum| total.plus(sum));
    assert_eq!(total.root(&genesis.network()), header.state_root);
    let there = |height| store.snapshot_chunk(Height(height), 0).unwrap().is_some();
    assert_eq!([1, 4, 7, 10].map(there), [false, false, true, true]);
}

#[test]
fn a_chunk_that_was_damaged_on_disk_is_noticed_when_it_is_put_in() {
    let genesis = genesis(3_000);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let giver = open(one.path(), &genesis);
    grow(&giver, &genesis, 1);
    giver.offer_snapshot().unwrap().join().unwrap().unwrap();
    let taker = open(two.path(), &genesis);
    carry(&giver, &taker, &[]);
    let mut chunk = giver.snapshot_chunk(Height(1), 0).unwrap().unwrap();
    chunk[500] ^= 1;
    taker.arriving_chunk(0, &chunk).unwrap();
    taker.restore_at_next_opening(&[]).unwrap();
    drop(taker);
    let identity = Identity { network: genesis.network(), node: NodeId([2; 32]) };
    let refused = Store::open(two.path(), identity, config());
    let Err(error) = refused else { panic!("it opened") };
    assert!(error.to_string().contains("chunk 0"), "{error}");
}

#[test]
fn old_blocks_go_at_a_pace_and_headers_of_boundaries_stay() {
    let genesis = genesis(1);
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &genesis);
    grow(&store, &genesis, 20);
    assert_eq!(store.memory().unwrap(), Memory::Lost, "until others have said otherwise");
    store.memory_is_whole().unwrap();
    assert_eq!(store.memory().unwrap(), Memory::Kept);
    assert_eq!(store.prune_blocks(Height(15), 10).unwrap(), 10);
    assert_eq!(store.oldest_height().unwrap(), Height(11));
    assert_eq!(store.prune_blocks(Height(15), 10).unwrap(), 4);
    assert_eq!(store.prune_blocks(Height(15), 10).unwrap(), 0);
    assert_eq!(store.prune_blocks(Height(1_000), 1_000).unwrap(), 5, "never the last one");
    drop(store);
    let store = open(directory.path(), &genesis);
    assert_eq!((store.last_height(), store.oldest_height().unwrap()), (Some(Height(20)), Height(20)));
    for height in 1..=20 {
        assert_eq!(store.block(Height(height)).unwrap().is_some(), height == 20);
        let sealed: Sealed = store.sealed(Height(height)).unwrap().unwrap();
        assert_eq!(sealed.open().unwrap().header.height, Height(height));
    }
    let _ = MemoryState::new();
}
