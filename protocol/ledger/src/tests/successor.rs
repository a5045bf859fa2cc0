//! Successors: seven nodes lose three, the four that are left go on.

use super::evidence::{StandIn, answer};
use super::fixture::*;
use crate::evidence::{
    Answer, EvidenceError, Headers, Origin, Part, Question, Roll, Sealed, TermChain, Trust, audit, verify,
};
use crate::successor::{Succession, SuccessorError, SuccessorPlan, begin, successor};
use crate::*;
use floe_types::genesis::GenesisError;
use floe_types::{BlockTime, Epoch, Frost, Genesis, Height, SequenceNumber, VoteKey};
use std::collections::BTreeMap;

const LEFT: [usize; 4] = [0, 1, 2, 3];

fn seal(roll: &Roll, signers: &[usize], block: &Block) -> Sealed {
    let bytes = block.encode();
    let value = *blake3::hash(&bytes).as_bytes();
    Sealed::of(&bytes, &StandIn::sign(roll, signers, block.header.height, &value)).unwrap()
}

fn roll(world: &World) -> Roll {
    Roll::of(&views::committee(&world.state).unwrap())
}

/// Seven nodes at a boundary in their second term, with what a network has: blobs, budgets, gaps, an account that only moved.
fn parent() -> World {
    let mut world = World::new();
    let first = world.store(blob(1), 30, &ALL);
    world.store(blob(2), 30, &[0, 1, 2, 4, 6]);
    world.store(blob(3), 3, &ALL);
    world.act(&key(1), Action::Renew { registration: first, budget: Frost(5_000_000) });
    world.act(&key(2), Action::Transfer { to: user(9), amount: Frost(77) });
    for _ in 0..5 {
        world.end_epoch(&ALL);
    }
    let withdrawn = Run { first: SequenceNumber(1), last: SequenceNumber(1) };
    world.act(&node_key(1), Action::Withdraw { member: node(1), shards: seats(1), runs: vec![withdrawn] });
    world.register(blob(4), 30);
    world.end_epoch(&ALL);
    world
}

fn plan(world: &World, left: &[usize]) -> SuccessorPlan {
    let key = |at: &usize| (node(*at), VoteKey([*at as u8 + 60; 32]));
    SuccessorPlan {
        name: "second".into(),
        time: BlockTime(world.now.0 + 86_400_000),
        survivors: left.iter().map(key).collect(),
    }
}

fn succeed(world: &World, left: &[usize]) -> Result<Succession, SuccessorError> {
    let sealed = seal(&roll(world), &[0, 1, 3, 5, 6], world.blocks.last().unwrap());
    successor(&genesis(), &world.state, &sealed, &StandIn, &plan(world, left))
}

/// The successor's network at its height 0.
fn next(world: &World, succession: &Succession) -> World {
    let mut state = world.state.clone();
    state.apply(&succession.changes);
    World::at(Context::of(&succession.genesis), state, succession.genesis.time)
}

struct Kept(BTreeMap<Height, Sealed>);

impl Headers for Kept {
    fn sealed(&self, height: Height) -> Result<Option<Sealed>, StateError> {
        Ok(self.0.get(&height).cloned())
    }
}

fn audited(world: &World, seed: u8, epoch: u64) -> Vec<u8> {
    let roll = roll(world);
    let kept = world.blocks.iter().map(|block| (block.header.height, seal(&roll, &[0, 1, 2], block)));
    let question = Question { blob: blob(seed), epoch: Epoch(epoch), from: Origin::Genesis };
    let kept = Kept(kept.collect());
    audit(&question, world.context.network, &world.state, &kept, &StandIn).unwrap().encode()
}

#[test]
fn a_network_of_seven_that_lost_three_goes_on_with_four() {
    let before = parent();
    let old_evidence = |world: &World| [1, 2, 3, 9].map(|seed| answer(world, blob(seed), 4));
    let answers = old_evidence(&before);
    let succession = succeed(&before, &LEFT).unwrap();
    let mut world = next(&before, &succession);
    conservation(&world.state).unwrap();

    // Money, terms and ids are what they were; height begins anew, epochs go on.
    let balance = |world: &World, account| views::account(&world.state, &account).unwrap().balance;
    for account in [user(1), user(2), user(3), user(9)] {
        assert_eq!(balance(&world, account), balance(&before, account));
    }
    assert_eq!(views::totals(&world.state).unwrap(), views::totals(&before.state).unwrap());
    assert_eq!(views::load(&world.state).unwrap(), views::load(&before.state).unwrap());
    let head = views::head(&world.state).unwrap();
    assert_eq!((head.height, head.epoch), (Height(0), before.epoch()));
    assert_ne!(world.context.network, before.context.network);
    assert_eq!(world.context.params, before.context.params);

    // Twelve seats of three nodes went to four, none of which has more than f; what was covered is covered still.
    let committee = views::committee(&world.state).unwrap();
    assert_eq!((committee.members().len(), succession.moved.len()), (4, 12));
    assert!(committee.members().iter().all(|member| member.shards.len() <= 9));
    assert_eq!(committee.term(), views::committee(&before.state).unwrap().term());
    let covered = |world: &World, seed| views::blob(&world.state, &blob(seed)).unwrap().unwrap().covered;
    assert!([1, 2].into_iter().all(|seed| covered(&world, seed) == covered(&before, seed)));
    let holders = views::holders(&world.state, &blob(1)).unwrap();
    let seated = holders.iter().filter(|holder| holder.kind == RowKind::Seat).count();
    let former = holders.iter().filter(|holder| holder.kind == RowKind::Former).count();
    assert_eq!((seated, former), (16, 12), "readers ask the survivors, and who may come back");

    // It decides, pays, takes new blobs and fills the seats that moved.
    let record = world.end_epoch(&LEFT);
    assert_eq!(record.boundary.decision, Decision::Decided);
    assert_eq!(world.verdict(blob(1), record.epoch.0), Some(Verdict::Repairing), "twelve shards are not held");
    super::classes::check(&world.state);
    let number = SequenceNumber(0);
    for member in committee.members() {
        let gained: ShardSet = member.shards.iter().copied().filter(|shard| succession.moved.contains(shard)).collect();
        let runs = vec![Run { first: number, last: number }];
        let at = LEFT.iter().find(|at| node(**at) == member.node).unwrap();
        world.act(&node_key(*at), Action::Attest { member: member.node, shards: gained, runs });
    }
    let registration = world.register(blob(7), 5);
    let certify = world.certify_action(blob(7), registration, &LEFT);
    world.act(&key(1), certify);
    world.end_epoch(&LEFT);
    let record = world.end_epoch(&LEFT);
    for seed in [1, 7] {
        assert_eq!(world.verdict(blob(seed), record.epoch.0), Some(Verdict::Intact));
    }
    for _ in 0..12 {
        world.end_epoch(&LEFT);
        super::classes::check(&world.state);
    }

    // Old evidence is valid, new evidence shows the seam.
    assert_eq!(old_evidence(&before), answers);
    assert!(matches!(answers[0], Answer::Judged { .. }));
    let bytes = audited(&world, 1, record.epoch.0);
    let trust = Trust::Genesis(&succession.genesis);
    let found = verify(&bytes, trust, &StandIn).unwrap();
    assert!(matches!(&found.answer, Answer::Judged { record, .. } if record.verdict == Verdict::Intact));
    let parent = succession.genesis.parent.as_ref().unwrap();
    let seam = found.seam.unwrap();
    assert_eq!((seam.network, seam.block, seam.ended), (before.context.network, parent.block, parent.ended));
    assert!(matches!(verify(&bytes, Trust::Genesis(&genesis()), &StandIn), Err(EvidenceError::OtherNetwork { .. })));
    let never = audited(&world, 200, record.epoch.0);
    assert!(matches!(verify(&never, trust, &StandIn).unwrap().answer, Answer::NeverRegistered));
}

#[test]
fn whoever_has_the_parents_state_and_the_genesis_makes_the_same_successor() {
    let before = parent();
    let succession = succeed(&before, &LEFT).unwrap();
    assert_eq!(succeed(&before, &LEFT).unwrap(), succession);
    assert_eq!(begin(&before.state, &succession.genesis).unwrap(), succession.changes);
    assert!(matches!(crate::begin(&succession.genesis), Err(GenesisError::NeedsState { .. })));
    // Another state, another genesis.
    let read: Genesis = succession.genesis.clone();
    let mut later = before.clone();
    later.end_epoch(&ALL);
    assert!(matches!(begin(&later.state, &read), Err(SuccessorError::OtherState { .. })));
    let mut other = read.clone();
    other.members.swap_remove(0);
    assert!(matches!(begin(&before.state, &other), Err(SuccessorError::Genesis(GenesisError::Committee(_)))));
    let mut other = read.clone();
    other.parent.as_mut().unwrap().begins_with[3] ^= 1;
    assert!(matches!(begin(&before.state, &other), Err(SuccessorError::OtherRoot { .. })));
    let mut other = read.clone();
    let moved = other.members[0].shards.pop().unwrap();
    other.members[1].shards.push(moved);
    other.members[1].shards.sort();
    assert!(matches!(begin(&before.state, &other), Err(SuccessorError::OtherRoot { .. })));
}

#[test]
fn an_auditor_with_the_old_genesis_checks_who_signed_at_the_seam() {
    let before = parent();
    let succession = succeed(&before, &LEFT).unwrap();
    let chain = TermChain::from_genesis(&genesis());
    let checked = chain.seam(&StandIn, &succession.genesis).unwrap();
    assert_eq!(checked.signed.shards, 20);
    assert_eq!(Some(checked.id), succession.genesis.parent.as_ref().map(|parent| parent.block));
    for meddle in [
        |parent: &mut floe_types::Parent| parent.block.0[1] ^= 1,
        |parent: &mut floe_types::Parent| parent.height = Height(3),
        |parent: &mut floe_types::Parent| parent.ended = Epoch(2),
        |parent: &mut floe_types::Parent| parent.state_root[0] ^= 1,
        |parent: &mut floe_types::Parent| parent.network.0[0] ^= 1,
        |parent: &mut floe_types::Parent| *parent.sealed.last_mut().unwrap() ^= 1,
    ] {
        let mut other = succession.genesis.clone();
        meddle(other.parent.as_mut().unwrap());
        let refused = chain.seam(&StandIn, &other).unwrap_err();
        assert!(matches!(refused, EvidenceError::Tampered { part: Part::Seam, .. }), "{refused}");
    }
    assert!(chain.seam(&StandIn, &genesis()).is_err());
}

#[test]
fn what_cannot_go_on_is_refused() {
    let before = parent();
    assert_eq!(succeed(&before, &ALL), Err(SuccessorError::NobodyGone));
    // Three nodes hold nine shards each at most.
    assert_eq!(succeed(&before, &[0, 1, 2]), Err(SuccessorError::TooFew { left: 1, cap: 9 }));
    let block = before.blocks.last().unwrap();
    let made = |sealed: &Sealed, plan: &SuccessorPlan| successor(&genesis(), &before.state, sealed, &StandIn, plan);
    let good = seal(&roll(&before), &[0, 1, 3, 5, 6], block);
    let mut strange = plan(&before, &LEFT);
    strange.survivors.insert(node(40), VoteKey([1; 32]));
    assert_eq!(made(&good, &strange), Err(SuccessorError::Stranger { node: node(40) }));
    let early = SuccessorPlan { time: block.header.time, ..plan(&before, &LEFT) };
    assert_eq!(made(&good, &early), Err(SuccessorError::Time { least: block.header.time }));
    let mut stolen = plan(&before, &LEFT);
    stolen.survivors.insert(node(0), VoteKey([205; 32]));
    assert!(matches!(made(&good, &stolen), Err(SuccessorError::Genesis(GenesisError::Committee(_)))));
    // Four of seven are sixteen shards of the nineteen needed.
    let few = seal(&roll(&before), &LEFT, block);
    let refused = made(&few, &plan(&before, &LEFT));
    assert!(matches!(refused, Err(SuccessorError::Evidence(EvidenceError::Tampered { part: Part::Seam, .. }))));
    let earlier = seal(&roll(&before), &[0, 1, 3, 5, 6], &before.blocks[before.blocks.len() - 2]);
    assert!(matches!(made(&earlier, &plan(&before, &LEFT)), Err(SuccessorError::OtherState { .. })));
    // A transaction of the old network says nothing in the new one.
    let world = next(&before, &succeed(&before, &LEFT).unwrap());
    let old = before.sign(&key(1), 99, FEE, Action::Transfer { to: user(2), amount: Frost(1) });
    assert!(matches!(old.check(&world.context.network), Err(TransactionError::Network { .. })));
}
