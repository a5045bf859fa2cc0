//! How a later version of the protocol comes into force, and who is left behind.

use super::fixture::*;
use crate::*;
use floe_types::Epoch;

fn support(at: usize, version: u32) -> Action {
    Action::Support { member: node(at), version }
}

/// A network whose programs know version 2; the second context is that of a program that does not.
fn upgraded() -> (World, Context) {
    let mut world = World::new();
    let old = world.context.clone();
    world.context.versions_known = 2;
    (world, old)
}

#[test]
fn a_version_comes_into_force_a_term_after_enough_can_follow_it() {
    let (mut world, old) = upgraded();
    // Four of seven members have 16 of 28 shards, 19 are needed.
    for at in 0..4 {
        world.act(&node_key(at), support(at, 2));
    }
    world.end_epoch(&ALL);
    assert_eq!(views::protocol(&world.state).unwrap(), Protocol { active: 1, next: None });
    world.act(&node_key(4), support(4, 3));
    world.end_epoch(&ALL);
    let from = Epoch(world.epoch().0 + world.context.params.term_epochs.0);
    let next = Some(Activation { version: 2, from });
    assert_eq!(views::protocol(&world.state).unwrap(), Protocol { active: 1, next });

    while world.epoch().0 + 1 < from.0 {
        let record = world.end_epoch(&ALL);
        assert_eq!(world.blocks.last().unwrap().header.version, 1, "epoch {}", record.epoch);
    }
    let before = world.state.clone();
    world.end_epoch(&ALL);
    assert_eq!(world.epoch(), from);
    let boundary = world.blocks.last().unwrap().clone();
    assert_eq!(boundary.header.version, 2, "the boundary that begins the epoch is the first block of the version");
    assert_eq!(views::protocol(&world.state).unwrap(), Protocol { active: 2, next: None });

    // A program that does not know it stops before it executes anything by the wrong rules.
    let mut state = before;
    let height = views::head(&state).unwrap().height;
    for block in world.blocks.iter().filter(|block| block.header.height > height && **block != boundary) {
        state.apply(&execute_decided(&state, &old, block.clone()).unwrap().changes);
    }
    let stopped = execute_decided(&state, &old, boundary).unwrap_err();
    assert_eq!(stopped, BlockError::State(StateError::Unsupported { version: 2, known: 1 }));
    assert!(stopped.to_string().contains("install a later version"));

    // The next one is never set before the members can follow it, one at a time.
    world.end_epoch(&ALL);
    assert_eq!(views::protocol(&world.state).unwrap().next, None, "version 3 is known to one member");
}

#[test]
fn support_is_a_members_own_word_and_only_grows() {
    let (mut world, _) = upgraded();
    assert_eq!(world.refusal(&key(1), support(0, 2)), Refusal::NotMember);
    assert_eq!(world.refusal(&node_key(0), support(1, 2)), Refusal::NotMember);
    assert_eq!(world.refusal(&node_key(0), support(0, 1)), Refusal::SupportKnown { found: 1, said: 1 });
    world.act(&node_key(0), support(0, 5));
    assert_eq!(world.refusal(&node_key(0), support(0, 4)), Refusal::SupportKnown { found: 4, said: 5 });
    assert_eq!(views::support(&world.state, &node(0)).unwrap(), 5);
}

#[test]
fn a_block_of_another_version_than_is_in_force_is_refused() {
    let (world, _) = upgraded();
    let mut block = world.build(vec![]).block;
    block.header.version = 2;
    let refused = execute_decided(&world.state, &world.context, block).unwrap_err();
    assert_eq!(refused, BlockError::Version { found: 2, ours: 1 });
}
