//! Blocks: what passes, and that nothing that was touched does.

use super::fixture::*;
use crate::*;
use floe_types::{BlockId, BlockTime, Epoch, Frost, Height, NetworkId};

fn transfer(world: &World, amount: u64) -> CheckedTransaction {
    world.by(&key(1), Action::Transfer { to: user(2), amount: Frost(amount) })
}

#[test]
fn a_block_time_is_above_its_parents_even_when_our_clock_is_behind() {
    let mut world = World::new();
    let first = world.block(vec![transfer(&world, 1)]);
    let built = build_block(&world.state, &world.context, node(0), BlockTime(5), vec![]).unwrap();
    assert_eq!(built.block.header.time.0, first.block.header.time.0 + 1);
}

#[test]
fn a_block_time_that_is_its_parents_is_refused() {
    let mut world = World::new();
    let parent = world.block(vec![transfer(&world, 1)]).block.header.time;
    let mut block = build_block(&world.state, &world.context, node(0), BlockTime(0), vec![]).unwrap().block;
    block.header.time = parent;
    let refused = execute_decided(&world.state, &world.context, block);
    assert_eq!(refused.unwrap_err(), BlockError::TimeNotAbove { found: parent, parent });
}

#[test]
fn a_block_ahead_of_our_clock_waits_and_a_decided_one_does_not() {
    let world = World::new();
    let block = world.build(vec![transfer(&world, 1)]).block;
    let drift = world.context.params.drift_millis_max;
    let at = |millis: u64| check_block(&world.state, &world.context, block.clone(), BlockTime(millis)).map(|_| ());
    let time = block.header.time.0;
    assert_eq!(at(time - drift), Ok(()));
    assert!(matches!(at(time - drift - 1), Err(BlockError::AheadOfClock { .. })));
    assert!(execute_decided(&world.state, &world.context, block.clone()).is_ok());
}

/// One way of touching a block that it must not survive.
type Touch = (&'static str, fn(&mut Block));

const TOUCHED: &[Touch] = &[
    ("version", |block| block.header.version += 1),
    ("network", |block| block.header.network = NetworkId([1; 32])),
    ("height above", |block| block.header.height = Height(block.header.height.0 + 1)),
    ("height below", |block| block.header.height = Height(block.header.height.0 - 1)),
    ("parent", |block| block.header.parent = BlockId([1; 32])),
    ("time below the parent's", |block| block.header.time = BlockTime(START)),
    ("proposer", |block| block.header.proposer = floe_types::NodeId([99; 32])),
    ("epoch", |block| block.header.epoch = Epoch(block.header.epoch.0 + 1)),
    ("transactions root", |block| block.header.transactions_root.0[0] ^= 1),
    ("state root", |block| block.header.state_root.0[31] ^= 1),
    ("by sequence", |block| block.header.blobs_by_sequence_root.0[0] ^= 1),
    ("by id", |block| block.header.blobs_by_id_root.0[0] ^= 1),
    ("a transaction twice", |block| block.transactions.push(block.transactions[0].clone())),
    ("a transaction missing", |block| drop(block.transactions.pop())),
    ("transactions in another order", |block| block.transactions.reverse()),
    ("a transaction's amount", |block| block.transactions[0].transaction.fee.0 += 1),
    ("a signature", |block| block.transactions[0].signature.0[5] ^= 1),
];

/// Touches only a boundary block can suffer.
const TOUCHED_BOUNDARY: &[Touch] = &[
    ("no boundary", |block| block.header.boundary = None),
    ("an earlier time", |block| block.header.time.0 -= 100),
    ("a later time", |block| block.header.time.0 += 1),
    ("ended", |block| boundary(block).ended.0 += 1),
    ("decision", |block| boundary(block).decision = Decision::Undecided),
    ("reporters", |block| boundary(block).reporters = members([0])),
    ("answered", |block| boundary(block).answered = members([0])),
    ("verdict root", |block| boundary(block).verdict_root.0[0] ^= 1),
    ("classes root", |block| boundary(block).classes_root.0[0] ^= 1),
    ("transitions", |block| boundary(block).transitions_root.0[0] ^= 1),
    ("committee", |block| boundary(block).committee_root.0[0] ^= 1),
    ("term", |block| boundary(block).term += 1),
    ("tally", |block| boundary(block).tally.classes += 1),
    ("totals", |block| boundary(block).totals.reserve.0 += 1),
];

fn boundary(block: &mut Block) -> &mut BoundaryHeader {
    block.header.boundary.as_mut().unwrap()
}

#[test]
fn a_block_that_was_touched_anywhere_is_refused() {
    let mut world = World::new();
    world.store(blob(1), 4, &ALL);
    let two = |world: &World| {
        let second = world.by(&key(2), Action::Transfer { to: user(3), amount: Frost(2) });
        vec![transfer(world, 1), second]
    };
    let plain = world.build(two(&world)).block;
    world.enter_closing();
    for at in 0..5 {
        let report = world.report_action(at, ALL);
        world.act(&node_key(at), report);
    }
    let before = world.state.clone();
    let ended = world.boundary(two(&world)).block;
    let refused = |state: &MemoryState, block: &Block, (name, touch): &Touch| {
        let mut touched = block.clone();
        touch(&mut touched);
        assert_ne!(&touched, block, "{name} touches nothing");
        let result = execute_decided(state, &world.context, touched);
        assert!(!matches!(result, Ok(_) | Err(BlockError::State(_))), "{name} passed");
    };
    let plain_state = {
        let mut state = World::new();
        state.store(blob(1), 4, &ALL);
        state.state
    };
    TOUCHED.iter().for_each(|touch| refused(&plain_state, &plain, touch));
    TOUCHED.iter().chain(TOUCHED_BOUNDARY).for_each(|touch| refused(&before, &ended, touch));
    let mut early = plain.clone();
    early.header.boundary = ended.header.boundary.clone();
    assert_eq!(execute_decided(&plain_state, &world.context, early).unwrap_err(), BlockError::Boundary);
}

#[test]
fn a_transaction_that_does_not_apply_spoils_a_foreign_block() {
    let world = World::new();
    let mut block = world.build(vec![transfer(&world, 1)]).block;
    let poor = world.by(&key(2), Action::Transfer { to: user(3), amount: RICH });
    block.transactions.push(poor.signed().clone());
    let Err(BlockError::Transaction { index, transaction, refusal }) =
        execute_decided(&world.state, &world.context, block)
    else {
        panic!()
    };
    assert_eq!((index, transaction), (1, poor.id()));
    assert!(matches!(refusal, Refusal::Insufficient { .. }));
}

#[test]
fn what_is_refused_leaves_no_trace_in_the_block() {
    let world = World::new();
    let poor = world.by(&key(2), Action::Transfer { to: user(3), amount: RICH });
    let with = world.build(vec![poor.clone(), transfer(&world, 1)]);
    let without = world.build(vec![transfer(&world, 1)]);
    assert_eq!((with.id, &with.changes), (without.id, &without.changes));
    assert_eq!(with.refused.len(), 1);
}

#[test]
fn a_block_stops_at_its_size() {
    let mut world = World::new();
    let attributes = Attributes { name: Some("n".repeat(900)), ..Attributes::default() };
    let candidates = (0..1_200u64).map(|nonce| {
        let mut action = world.register_action(blob(nonce as u8), 1);
        if let Action::Register { attributes: own, .. } = &mut action {
            *own = attributes.clone();
        }
        world.sign(&key(1), nonce, FEE, action).check(&world.context.network).unwrap()
    });
    let candidates: Vec<_> = candidates.collect();
    let executed = world.block(candidates);
    let bytes = executed.block.encode().len();
    assert!((1_000_000..=floe_types::params::BLOCK_BYTES_MAX).contains(&bytes), "{bytes} bytes");
    assert_eq!(executed.refused, vec![]);
    let mut long = world.build(vec![]).block;
    long.transactions = executed.block.transactions.iter().cycle().take(2_000).cloned().collect();
    let refused = execute_decided(&world.state, &world.context, long);
    assert!(matches!(refused, Err(BlockError::TooLong { .. })));
}

#[test]
fn the_largest_header_fits_the_room_that_is_set_aside() {
    let mut world = World::new();
    let mut block = world.boundary(vec![]).block;
    let header = boundary(&mut block);
    header.reporters = MemberSet::below(1024);
    header.answered = MemberSet::below(1024);
    let largest = Weight { blobs: u64::MAX, bytes: u128::MAX, fragment_bytes: u64::MAX };
    header.tally.verdicts = Verdict::ALL.into_iter().map(|verdict| (verdict, largest)).collect();
    header.tally.forgotten = largest;
    header.tally.classes = u64::MAX;
    header.totals.supply = Frost(u64::MAX);
    header.planned = Planned { tickets: u64::MAX, pairs: u64::MAX, uncapped: u64::MAX, cap: u64::MAX };
    header.tally.thinnest =
        Some(verdict::Thinnest { margin_shards: 1000, margin_nodes: 1000, nodes: 1000, blobs: largest });
    let bytes = block.encode().len();
    assert!(bytes + 200 < crate::block::HEADER_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn replaying_all_blocks_gives_the_same_state_to_the_byte() {
    let mut world = World::new();
    world.store(blob(1), 2, &[0, 1, 2, 3, 4]);
    world.end_epoch(&ALL);
    let attest = Action::Attest {
        member: node(5),
        shards: seats(5),
        runs: vec![Run { first: Default::default(), last: Default::default() }],
    };
    world.act(&node_key(5), attest);
    world.end_epoch(&ALL);
    world.end_epoch(&[0]);
    let mut replayed = MemoryState::new();
    replayed.apply(&begin(&genesis()).unwrap());
    for block in &world.blocks {
        let executed = execute_decided(&replayed, &world.context, block.clone()).unwrap();
        // The change set goes to disk and back, and so does the state after every block.
        let changes = ChangeSet::decode(&executed.changes.encode(), 1 << 24).unwrap();
        replayed.apply(&changes);
        let entries = replayed.entries().map(|(key, value)| (key.to_vec(), Some(value.to_vec())));
        let reloaded = ChangeSet(entries.collect());
        replayed = MemoryState::new();
        replayed.apply(&reloaded);
    }
    assert_eq!(replayed, world.state);
}

#[test]
fn genesis_is_the_same_everywhere_and_a_bad_one_is_refused() {
    assert_eq!(begin(&genesis()).unwrap(), begin(&genesis()).unwrap());
    let mut bad = genesis();
    bad.accounts.reverse();
    assert!(begin(&bad).is_err());
    let world = World::new();
    let head = views::head(&world.state).unwrap();
    assert_eq!((head.height, head.epoch, head.time), (Height(0), Epoch(1), BlockTime(START)));
    assert_eq!(head.block, genesis_block(&world.context.network));
}
