//! Pay for what was withdrawn: none for as many epochs as the network says, attested again or not.

use super::fixture::*;
use crate::*;
use floe_types::{EpochCount, SequenceNumber};

fn pausing() -> floe_types::Genesis {
    let mut genesis = genesis();
    genesis.params.pay_pause = EpochCount(3);
    genesis
}

/// A network of seven that pauses pay for three epochs, with one blob, paid and covered everywhere.
fn paying() -> World {
    let mut world = World::of(&pausing());
    world.store(blob(1), 40, &ALL);
    world
}

fn says(at: usize, held: bool) -> Action {
    let (member, shards) = (node(at), seats(at));
    let runs = vec![Run { first: SequenceNumber(0), last: SequenceNumber(0) }];
    if held { Action::Attest { member, shards, runs } } else { Action::Withdraw { member, shards, runs } }
}

/// What node `at` earns from the bucket in each of so many epochs.
fn earned(world: &mut World, at: u16, epochs: usize) -> Vec<u64> {
    let mut each = Vec::new();
    for _ in 0..epochs {
        world.report(&ALL);
        let events = world.boundary(Vec::new()).events;
        super::classes::check(&world.state);
        each.extend(events.iter().find_map(|event| match event {
            Event::Earned { member, storage, .. } if member.0 == at => Some(storage.0),
            _ => None,
        }));
    }
    each
}

#[test]
fn who_withdraws_and_attests_again_is_not_paid_for_the_pause() {
    let mut world = paying();
    let full = earned(&mut world, 3, 1)[0];
    assert!(full > 0);
    world.act(&node_key(3), says(3, false));
    // The running epoch is judged and paid as it began.
    assert_eq!(earned(&mut world, 3, 1), [full]);
    world.act(&node_key(3), says(3, true));
    assert_eq!(earned(&mut world, 3, 6), [0, 0, 0, full, full, full]);
    assert_eq!(earned(&mut world, 2, 1), [full], "nobody gains by it");
    // Marks are taken out of coverage in the background.
    let end = views::next_sequence(&world.state).unwrap().0;
    let segments = coverage::segments(&world.state, tables::Table::Judged, end).unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].rows, rows_below(28));
}

#[test]
fn verdicts_go_by_what_is_covered_whatever_is_paid() {
    let mut world = paying();
    world.act(&node_key(3), says(3, false));
    let record = world.end_epoch(&ALL);
    world.act(&node_key(3), says(3, true));
    assert_eq!(record.boundary.tally.classes, 1);
    let record = world.end_epoch(&ALL);
    assert_eq!(world.verdict(blob(1), record.epoch.0), Some(Verdict::Tolerated));
    let record = world.end_epoch(&ALL);
    assert_eq!(world.verdict(blob(1), record.epoch.0), Some(Verdict::Intact));
    assert_eq!(record.boundary.tally.classes, 1);
    // An audit shows the class without the marks, which stand beside it.
    let bytes = super::evidence::ask(&world, blob(1), record.epoch.0).unwrap().encode();
    let trust = evidence::Trust::Genesis(&pausing());
    let audit = evidence::verify(&bytes, trust, &super::evidence::StandIn).unwrap();
    assert!(matches!(audit.answer, evidence::Answer::Judged { record, .. } if record.class == rows_below(28)));
}

#[test]
fn withdrawing_again_begins_the_pause_anew() {
    let mut world = paying();
    let full = earned(&mut world, 3, 1)[0];
    for _ in 0..2 {
        world.act(&node_key(3), says(3, false));
        earned(&mut world, 3, 1);
        world.act(&node_key(3), says(3, true));
        earned(&mut world, 3, 1);
    }
    // The second time it counted from the epoch before this one on.
    assert_eq!(earned(&mut world, 3, 4), [0, 0, full, full]);
}

#[test]
fn what_others_have_and_what_comes_later_is_paid_for() {
    let mut world = paying();
    let full = earned(&mut world, 3, 1)[0];
    world.act(&node_key(3), says(3, false));
    earned(&mut world, 3, 1);
    world.act(&node_key(3), says(3, true));
    world.store(blob(2), 40, &ALL);
    let each = earned(&mut world, 3, 1)[0];
    assert!(
        each > 0 && each <= full,
        "half of a bucket twice as large, for the blob that it never withdrew: {each} of {full}"
    );
}
