//! What the pool takes, what it answers, what it offers.

use super::*;
use crate::tests::fixture::*;
use crate::{Refusal, views};
use floe_types::keys::SecretKey;
use floe_types::{BlockTime, NetworkId};

fn pay(world: &World, key: &SecretKey, nonce: u64, fee: u64) -> SignedTransaction {
    world.sign(key, nonce, Frost(fee), Action::Transfer { to: user(9), amount: Frost(1) })
}

fn offered(pool: &Mempool, world: &World, bytes_max: usize) -> Vec<(AccountId, u64)> {
    let candidates = pool.candidates(&world.state, &world.context, world.now, bytes_max).unwrap();
    candidates.iter().map(|checked| (checked.transaction().sender, checked.transaction().nonce)).collect()
}

#[test]
fn each_refusal_has_its_answer() {
    let mut world = World::new();
    world.block(vec![world.by(&key(1), Action::Transfer { to: user(9), amount: Frost(1) })]);
    let mut pool = Mempool::new(MempoolLimits { count: 3, bytes: 10_000, per_sender: 10 });
    let good = pay(&world, &key(1), 1, 5_000);
    pool.add(&world.state, &world.context, good.clone()).unwrap();
    let mut forged = pay(&world, &key(1), 2, 5_000);
    forged.signature.0[0] ^= 1;
    let mut foreign = good.transaction.clone();
    (foreign.network, foreign.nonce) = (NetworkId([1; 32]), 3);
    let stranger = SecretKey::from_bytes([77; 32]);
    let mut answer = |signed: SignedTransaction| pool.add(&world.state, &world.context, signed).unwrap_err();
    assert_eq!(answer(good), MempoolError::Seen);
    assert_eq!(answer(pay(&world, &key(1), 1, 5_625)), MempoolError::NonceTaken { nonce: 1 });
    assert_eq!(answer(pay(&world, &key(1), 0, 5_000)), MempoolError::Stale { found: 0, expected: 1 });
    assert_eq!(
        answer(pay(&world, &key(1), 11, 5_000)),
        MempoolError::TooFarAhead { found: 11, expected: 1, ahead: 10 }
    );
    assert!(matches!(answer(pay(&world, &key(1), 2, 3)), MempoolError::TooCheap { found: Frost(3), .. }));
    let poor = MempoolError::Insufficient { balance: Frost::ZERO, needed: Frost(5_000) };
    assert_eq!(answer(pay(&world, &stranger, 0, 5_000)), poor);
    assert_eq!(answer(forged), MempoolError::Wrong(TransactionError::BadSignature));
    assert!(matches!(answer(foreign.sign(&key(1))), MempoolError::Wrong(TransactionError::Network { .. })));
    for nonce in [2, 3] {
        pool.add(&world.state, &world.context, pay(&world, &key(1), nonce, 5_000)).unwrap();
    }
    let full = pool.add(&world.state, &world.context, pay(&world, &key(2), 0, 5_000)).unwrap_err();
    assert!(matches!(full, MempoolError::Full { count: 3, .. }));
}

#[test]
fn in_a_full_pool_the_end_of_the_cheapest_line_gives_way_to_a_dearer_one() {
    let world = World::new();
    let mut pool = Mempool::new(MempoolLimits { count: 4, bytes: 10_000, per_sender: 10 });
    let mut add = |by, nonce, fee| {
        let signed = pay(&world, &key(by), nonce, fee);
        pool.add(&world.state, &world.context, signed)
    };
    for (by, nonce, fee) in [(1, 0, 8_000), (1, 1, 1_000), (2, 0, 2_000), (2, 1, 9_000)] {
        add(by, nonce, fee).unwrap();
    }
    let full = |result: Result<_, MempoolError>| assert!(matches!(result, Err(MempoolError::Full { count: 4, .. })));
    // Not enough more than the end of the cheapest line, and not against oneself.
    full(add(3, 0, 1_100));
    full(add(1, 2, 5_000));
    add(3, 0, 1_200).unwrap();
    // Now the cheapest end is the newcomer's own; the line of user 1 is still whole before what it lost.
    full(add(3, 1, 1_300));
    add(1, 1, 2_000).unwrap();
    // One for a nonce that waits needs no room.
    add(2, 1, 12_000).unwrap();
    let expected = [(user(1), 0), (user(1), 1), (user(2), 0), (user(2), 1)];
    let mut found = offered(&pool, &world, 1 << 20);
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_pool_that_is_full_of_bytes_makes_room_for_what_pays_for_it() {
    let world = World::new();
    let length = pay(&world, &key(1), 0, 5_000).encode().len();
    let mut pool = Mempool::new(MempoolLimits { count: 9, bytes: 2 * length + 10, per_sender: 10 });
    for by in [1, 2] {
        pool.add(&world.state, &world.context, pay(&world, &key(by), 0, 5_000)).unwrap();
    }
    let long = world.register_action(blob(1), 2);
    let long = world.sign(&key(3), 0, Frost(500_000), long);
    assert!(long.encode().len() > length && long.encode().len() <= 2 * length);
    pool.add(&world.state, &world.context, long.clone()).unwrap();
    assert_eq!((pool.len(), pool.bytes()), (1, long.encode().len()));
}

#[test]
fn a_higher_fee_takes_the_place_of_the_same_nonce() {
    let world = World::new();
    let mut pool = Mempool::new(MempoolLimits { count: 2, bytes: 10_000, per_sender: 10 });
    let (first, second) = (pay(&world, &key(1), 0, 5_000), pay(&world, &key(1), 0, 5_626));
    pool.add(&world.state, &world.context, first.clone()).unwrap();
    pool.add(&world.state, &world.context, second.clone()).unwrap();
    assert!(pool.contains(&second.id()) && !pool.contains(&first.id()));
    assert_eq!((pool.len(), pool.bytes()), (1, second.encode().len()));
    assert_eq!(pool.add(&world.state, &world.context, first), Err(MempoolError::NonceTaken { nonce: 0 }));
    let mut forged = pay(&world, &key(1), 0, 9_000);
    forged.signature.0[0] ^= 1;
    assert!(pool.add(&world.state, &world.context, forged).is_err());
    assert!(pool.contains(&second.id()), "what does not check takes nobody's place");
}

#[test]
fn candidates_come_by_fee_each_senders_in_order_and_without_a_gap() {
    let world = World::new();
    let mut pool = Mempool::default();
    for (sender, nonce, fee) in [(1, 1, 9_000), (1, 0, 4_000), (2, 0, 5_000), (2, 2, 9_000), (3, 0, 3_000)] {
        pool.add(&world.state, &world.context, pay(&world, &key(sender), nonce, fee)).unwrap();
    }
    let expected = vec![(user(2), 0), (user(1), 0), (user(1), 1), (user(3), 0)];
    assert_eq!(offered(&pool, &world, 1 << 20), expected);
    let one = pool.bytes() / 5;
    assert_eq!(offered(&pool, &world, one + one / 2).len(), 1);
    assert_eq!(offered(&pool, &world, 0), vec![]);
}

#[test]
fn what_a_block_includes_or_overtakes_leaves_the_pool() {
    let mut world = World::new();
    let mut pool = Mempool::default();
    for nonce in 0..3 {
        pool.add(&world.state, &world.context, pay(&world, &key(1), nonce, 5_000)).unwrap();
    }
    // Another transaction took nonce 0 elsewhere.
    let executed = world.block(vec![world.by(&key(1), Action::Transfer { to: user(2), amount: Frost(5) })]);
    pool.remove_included(&executed.block);
    assert_eq!(offered(&pool, &world, 1 << 20), vec![(user(1), 1), (user(1), 2)]);
    let candidates = pool.candidates(&world.state, &world.context, world.now, 1 << 20).unwrap();
    let executed = world.block(candidates);
    pool.remove_included(&executed.block);
    assert_eq!((pool.len(), pool.bytes(), pool.is_empty()), (0, 0, true));
}

#[test]
fn what_can_never_apply_is_dropped_and_what_may_is_kept() {
    let world = World::new();
    let mut pool = Mempool::default();
    let rich = world.sign(&key(1), 0, FEE, Action::Transfer { to: user(9), amount: RICH });
    let id = pool.add(&world.state, &world.context, rich).unwrap();
    pool.remove_refused(&[(id, Refusal::NotClosing { from: BlockTime(0) })]);
    assert!(pool.contains(&id));
    let candidates = pool.candidates(&world.state, &world.context, world.now, 1 << 20).unwrap();
    pool.remove_refused(&world.build(candidates).refused);
    assert!(pool.is_empty());
}

#[test]
fn reports_have_a_room_of_their_own_and_come_when_they_are_due() {
    let mut world = World::new();
    let mut pool = Mempool::new(MempoolLimits { count: 0, bytes: 0, per_sender: 1 });
    let sign = |world: &World, at: usize, action| world.sign(&node_key(at), 0, Frost::ZERO, action);
    let commit = |world: &World, at: usize| sign(world, at, world.commit_action(at));
    let report =
        |world: &World, at: usize, said: &[usize]| sign(world, at, world.report_action(at, said.iter().copied()));
    let first = report(&world, 0, &ALL);
    for signed in [first.clone(), commit(&world, 0), report(&world, 1, &ALL), commit(&world, 1)] {
        pool.add(&world.state, &world.context, signed).unwrap();
    }
    assert_eq!(pool.add(&world.state, &world.context, first.clone()), Err(MempoolError::Seen));
    let other = report(&world, 0, &[1]);
    assert_eq!(pool.add(&world.state, &world.context, other), Err(MempoolError::NonceTaken { nonce: 0 }));
    let stolen = world.sign(&key(1), 0, Frost::ZERO, world.report_action(2, ALL));
    assert_eq!(pool.add(&world.state, &world.context, stolen), Err(MempoolError::NotMember));
    assert_eq!(offered(&pool, &world, 1 << 20), vec![]);
    world.enter_closing();
    // Commitments first; reports when the draw is known, of those that have committed.
    assert_eq!(offered(&pool, &world, 1 << 20).len(), 2);
    let executed = world.block(vec![commit(&world, 0).check(&world.context.network).unwrap()]);
    assert_eq!(offered(&pool, &world, 1 << 20).len(), 1);
    pool.remove_included(&executed.block);
    assert_eq!(pool.len(), 3);
    world.draw();
    assert_eq!(offered(&pool, &world, 1 << 20), vec![(AccountId(node_key(0).public()), 0)]);
    let executed = world.block(vec![first.clone().check(&world.context.network).unwrap()]);
    assert_eq!(offered(&pool, &world, 1 << 20), vec![]);
    pool.remove_included(&executed.block);
    assert_eq!(pool.len(), 2);
    let executed = world.boundary(vec![]);
    pool.remove_included(&executed.block);
    assert!(pool.is_empty());
    let current = views::head(&world.state).unwrap().epoch;
    let late = pool.add(&world.state, &world.context, first);
    assert_eq!(late, Err(MempoolError::OtherEpoch { found: Epoch(1), current }));
}
