//! What validators decide together, when all is well and when some of them or the network are not.

#![allow(clippy::unwrap_used, clippy::panic)]

mod sim;

use floe_consensus::{Height, Round, Step};
use sim::{Conduct, World, key, set_of};

#[test]
fn four_validators_decide_200_heights_the_same_way_every_time() {
    let run = || {
        let mut world = World::new(4711, 4);
        world.run_to(Height(200));
        let rounds: u32 = world.nodes[0].decisions.values().map(|decision| decision.round.0).sum();
        assert_eq!(rounds, 0);
        world.trace.finalize()
    };
    assert_eq!(run(), run());
}

#[test]
fn another_seed_is_another_history() {
    let trace = |seed| {
        let mut world = World::new(seed, 4);
        world.run_to(Height(5));
        world.trace.finalize()
    };
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_single_validator_decides_alone() {
    let mut world = World::new(1, 1);
    world.run_to(Height(20));
}

#[test]
fn one_silent_validator_costs_a_round_when_it_is_its_turn() {
    for seed in 0..4 {
        let mut world = World::new(seed, 4);
        world.nodes[3].conduct = Conduct::Silent;
        world.run_to(Height(60));
        let late = world.nodes[0].decisions.values().filter(|decision| decision.round > Round(0)).count();
        assert!((10..=25).contains(&late), "{late} heights took more than one round");
    }
}

#[test]
fn one_equivocating_validator_divides_nobody_and_is_proven_guilty() {
    let mut caught = [false; 3];
    for seed in 0..6 {
        let mut world = World::new(seed, 4);
        // Two machines with one key: each proposes and votes for itself, one to some, the other to the rest, and
        // both to node 2.
        let twin = world.add(3, false);
        world.nodes[3].audience = Some(vec![0, 2]);
        world.nodes[twin].audience = Some(vec![1, 2]);
        world.run_to(Height(40));
        for node in &world.nodes[..3] {
            for evidence in node.decisions.values().flat_map(|decision| &decision.equivocations) {
                assert_eq!(evidence.key(), key(3));
                assert!(!evidence.verify(&[8; 32]));
                match evidence.step() {
                    Step::Prevote => caught[0] = true,
                    Step::Precommit => caught[1] = true,
                    Step::Proposal => caught[2] = true,
                }
            }
        }
    }
    assert!(caught[0] && caught[2], "{caught:?}");
}

#[test]
fn a_tenth_of_all_messages_lost_is_made_up_for_by_catch_up() {
    let mut catch_ups = 0;
    for seed in 0..4 {
        let mut world = World::new(seed, 4);
        world.loss_percent = 10;
        world.run_to(Height(80));
        catch_ups += world.nodes.iter().map(|node| node.catch_ups).sum::<u64>();
    }
    assert!(catch_ups > 0);
}

#[test]
fn half_of_all_messages_lost_is_slow_and_safe() {
    let mut world = World::new(9, 4);
    world.loss_percent = 50;
    world.run_to(Height(15));
}

#[test]
fn the_validator_set_changes_between_heights() {
    for seed in 0..3 {
        let mut world = World::new(seed, 6);
        world.sets = Box::new(|height| match height.0 % 30 {
            0..10 => set_of(0..4),
            10..20 => set_of(1..6),
            _ => set_of([0, 2, 5]),
        });
        world.run_to(Height(60));
    }
}

#[test]
fn an_observer_follows_and_says_nothing() {
    let mut world = World::new(5, 4);
    let observer = world.add(9, true);
    world.run_to(Height(30));
    assert_eq!(world.nodes[observer].decisions.len(), 30);
    // Nor does a node whose key is not in the set.
    let mut world = World::new(5, 4);
    world.add(9, false);
    world.run_to(Height(30));
}

#[test]
fn an_invalid_value_is_voted_nil_at_once_and_the_next_round_decides() {
    let mut world = World::new(3, 4);
    world.nodes[1].conduct = Conduct::ProposesBad;
    world.run_to(Height(40));
    let decisions = &world.nodes[0].decisions;
    let second: Vec<_> = decisions.values().filter(|decision| decision.round == Round(1)).collect();
    assert_eq!(second.len(), 10, "one height in four has a bad first proposer");
    assert!(decisions.values().all(|decision| decision.value.starts_with(b"good")));
    assert!(world.nodes[0].misbehaviour_seen >= 10);
    // Nobody waited for a propose timeout: a round that fails by nil votes ends within the vote timeouts.
    assert!(world.now < 40 * 200_000 + 10 * 450_000, "{}", world.now);
}

#[test]
fn crashes_loss_and_a_liar_together_are_survived() {
    for seed in 0..6 {
        let mut world = World::new(seed, 7);
        world.loss_percent = 5;
        world.nodes[6].conduct = Conduct::Silent;
        world.nodes[5].conduct = Conduct::ProposesBad;
        for node in 0..5 {
            world.nodes[node].falls_at = Some(50 + 37 * node as u64);
        }
        world.run_to(Height(25));
    }
}
