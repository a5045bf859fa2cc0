//! A store goes on in a successor: its fragments stay, everything that named heights of the network before is gone.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{bytes, config, confirmation, keep, key, read};
use floe_ledger::evidence::{CertificateFault, Certificates, Headers, Roll};
use floe_ledger::successor::{self, SuccessorPlan};
use floe_ledger::{Context, MemberSet, build_block, views};
use floe_machines::coordinator::Memory;
use floe_machines::fragments::FragmentStore;
use floe_storage::{Identity, OpenError, Store};
use floe_types::bls::BlsSecretKey;
use floe_types::committee::deal;
use floe_types::genesis::PROTOCOL_VERSION;
use floe_types::{AccountId, BlockTime, Epoch, Genesis, Height, Member, NodeId, Params, VoteKey};
use std::path::Path;

/// Who signed is the ledger's to check, and its tests do: here everybody did.
struct Anybody;

impl Certificates for Anybody {
    fn check(&self, roll: &Roll, _: Height, _: &[u8; 32], _: &[u8]) -> Result<MemberSet, CertificateFault> {
        Ok((0u16..).map(floe_types::MemberIndex).take(roll.voters.len()).collect())
    }

    fn least(&self, _: &Roll, certificate: &[u8]) -> Vec<u8> {
        certificate.to_vec()
    }
}

fn genesis() -> Genesis {
    let member = |(at, shards): (u8, Vec<_>)| {
        let bls = BlsSecretKey::from_seed([at; 32]);
        Member {
            node: NodeId([at; 32]),
            name: format!("member-{at}"),
            account: AccountId([at; 32]),
            vote_key: VoteKey([at + 20; 32]),
            bls_key: bls.public(),
            possession: bls.prove_possession(),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{at}")],
            domain: String::new(),
            capacity_bytes: 1 << 40,
            shards,
        }
    };
    Genesis {
        version: PROTOCOL_VERSION,
        name: "first".into(),
        time: BlockTime(1_000),
        params: Params::devnet(7, 1_000),
        accounts: Vec::new(),
        members: (1u8..).zip(deal(7, 7)).map(member).collect(),
        parent: None,
    }
}

fn open(directory: &Path, genesis: &Genesis) -> Result<Store, OpenError> {
    Store::open(directory, Identity { network: genesis.network(), node: NodeId([2; 32]) }, config())
}

fn boundary(store: &Store, genesis: &Genesis) {
    let now = views::head(store).unwrap().epoch_ends(&genesis.params);
    let built = build_block(store, &Context::of(genesis), NodeId([2; 32]), now, vec![]).unwrap();
    let height = built.block.header.height;
    store.commit_block(height, &built.block.encode(), b"certificate", &built.changes).unwrap();
}

#[test]
fn a_store_goes_on_in_a_successor_with_its_fragments_and_without_the_past() {
    let (parent, home) = (genesis(), tempfile::tempdir().unwrap());
    let store = open(home.path(), &parent).unwrap();
    store.commit_genesis(&floe_ledger::begin(&parent).unwrap()).unwrap();
    assert!(store.newest_boundary().unwrap().is_none());
    (0..3).for_each(|_| boundary(&store, &parent));
    let fragment = key(9, 1);
    keep(&store, fragment, &bytes(1, 300_000));
    store.keep_confirmation(&confirmation(1, 9)).unwrap();
    store.journal_append(&[(Height(4), b"a vote".as_slice())]).unwrap();
    store.offer_snapshot().unwrap().join().unwrap().unwrap();
    store.memory_is_whole().unwrap();

    let sealed = store.newest_boundary().unwrap().unwrap();
    let survivors = (1u8..=4).map(|at| (NodeId([at; 32]), VoteKey([at + 60; 32]))).collect();
    let plan = SuccessorPlan { name: "second".into(), time: BlockTime(100_000), survivors };
    let made = successor::successor(&parent, &store, &sealed, &Anybody, &plan).unwrap();
    let next = made.genesis.clone();
    store.succeed(next.network(), &made.changes).unwrap();

    assert!(matches!(open(home.path(), &parent), Err(OpenError::OtherNetwork { .. })));
    let store = open(home.path(), &next).unwrap();
    let head = views::head(&store).unwrap();
    assert_eq!((head.height, head.epoch), (Height(0), Epoch(4)));
    assert_eq!(store.last_height(), Some(Height(0)));
    assert_eq!((store.oldest_height().unwrap(), store.memory().unwrap()), (Height(1), Memory::Lost));
    assert!(store.block(Height(3)).unwrap().is_none() && store.sealed(Height(3)).unwrap().is_none());
    assert!(store.snapshot_outline().unwrap().is_none() && store.journal_entries(Height(4)).unwrap().is_empty());
    assert_eq!(read(&store, fragment, 300_000), bytes(1, 300_000));
    assert_eq!(store.confirmations_after(None, 9).unwrap().len(), 1);

    // It decides from height 1 on, across an opening.
    boundary(&store, &next);
    drop(store);
    let store = open(home.path(), &next).unwrap();
    boundary(&store, &next);
    assert_eq!(views::head(&store).unwrap().epoch, Epoch(6));
}
