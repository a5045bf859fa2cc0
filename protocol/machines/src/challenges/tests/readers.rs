//! Readers are sensors: what they could not get is asked for, and moves nothing that is decided.

use super::*;
use floe_erasure::Axis;
use floe_ledger::challenges::Unread;
use floe_types::ShardIndex;

/// What a reader could not get of the member at `place`, which has the shard of the same number.
fn unread(net: &Net, place: usize) -> Input {
    let committee = views::committee(&net.state).unwrap();
    let blob = net.nodes[0].shelf.0.keys().next().unwrap().0;
    let shard = committee.member(net.index(place)).unwrap().shards[0];
    Input::Unread { holder: net.ids[place], what: Unread { blob, shard, axis: Axis::Primary, unit: None } }
}

/// Some moment of `slot`.
fn within(net: &Net, slot: u8) -> u64 {
    net.times().begins(Slot(slot)).0 + 1
}

fn of_readers(net: &Net, place: usize) -> (u64, u64) {
    let counts = net.nodes[place].machine.counts();
    (counts.shown_to_reader, counts.missed_by_reader)
}

#[test]
fn what_a_reader_could_not_get_is_asked_in_the_next_slot_once_a_holder() {
    let mut net = Net::new(4);
    net.run_until(within(&net, 1));
    for _ in 0..5 {
        net.step(0, unread(&net, 2));
    }
    net.step(0, unread(&net, 3));
    net.run_until(net.times().begins(Slot(2)).0 - 1);
    assert_eq!(of_readers(&net, 0), (0, 0), "not in the slot that it was met in");
    net.run_until(net.times().begins(Slot(3)).0);
    assert_eq!(of_readers(&net, 0), (2, 0));
    // Said again when met again.
    net.step(0, unread(&net, 2));
    net.run_until(net.times().closing().0);
    assert_eq!(of_readers(&net, 0), (3, 0));
    assert_eq!((1..4).map(|place| of_readers(&net, place)).max(), Some((0, 0)));
}

#[test]
fn a_holder_that_does_not_show_it_is_named_to_all_and_nothing_is_decided_by_it() {
    let (mut net, mut twin) = (Net::new(4), Net::new(4));
    net.nodes[2].conduct = Conduct::Unreadable;
    for slot in 0..6 {
        net.run_until(within(&net, slot));
        net.step(0, unread(&net, 2));
    }
    net.run_until(net.times().closing().0);
    // In five slots; what is met in the last one waits. The two others ask again, but for what was named in the last slot.
    assert_eq!(of_readers(&net, 0), (0, 5));
    for place in [1, 3] {
        let counts = net.nodes[place].machine.counts();
        assert_eq!((counts.shown_again, counts.missed_again), (4, 0), "they are shown it");
        assert_eq!(net.nodes[place].machine.reasks(), [], "CM-5");
    }
    assert_eq!(net.nodes[0].machine.accusations(), [], "CM-5");
    let (header, wanted) = (net.epoch(), twin.epoch());
    assert_eq!((header.answered, header.reporters, net.refused.len()), (wanted.answered, wanted.reporters, 0));
    assert_eq!(header.verdict_root, wanted.verdict_root);
    let gauge = |net: &Net| {
        let standing = views::node_standing(&net.state, &net.context.params, &net.ids[2]).unwrap().unwrap();
        (standing.integrity, standing.reliability)
    };
    assert_eq!(gauge(&net), gauge(&twin));
    // What waited is asked in the epoch that has begun.
    net.run_until(net.times().closing().0);
    assert_eq!(of_readers(&net, 0), (0, 6));
}

#[test]
fn what_a_seed_gives_is_named_before_what_a_reader_met() {
    let mut net = Net::new(7);
    net.nodes[3].shelf = Shelf::default();
    for slot in 0..5 {
        net.run_until(within(&net, slot));
        net.step(0, unread(&net, 3));
    }
    net.run_until(net.times().closing().0);
    assert_eq!(of_readers(&net, 0), (0, 5));
    assert_eq!(net.nodes[0].machine.accusations().len(), 5);
    let counts = net.nodes[1].machine.counts();
    assert_eq!((counts.shown_again, counts.missed_again), (0, 25), "as without readers: {counts:?}");
}

#[test]
fn only_members_are_asked_and_only_what_is_due_of_them() {
    let mut net = Net::new(4);
    let Input::Unread { holder, what } = unread(&net, 2) else { unreachable!() };
    let own = net.ids[0];
    let strangers = (0..50u8).map(|at| (NodeId([at; 32]), what));
    let wrong = [
        (own, what),
        (holder, Unread { blob: BlobId([9; 32]), ..what }),
        (net.ids[1], what),
        (net.ids[3], Unread { shard: ShardIndex(900), ..what }),
    ];
    net.run_until(within(&net, 0));
    for (holder, what) in strangers.chain(wrong) {
        net.step(0, Input::Unread { holder, what });
    }
    let closing = net.times().closing().0;
    net.run_until(closing);
    assert_eq!(of_readers(&net, 0), (0, 0));
    // Nor does anything wait that is of nobody.
    for at in 0..50u8 {
        net.step(0, Input::Unread { holder: NodeId([at; 32]), what });
    }
    assert_eq!(net.nodes[0].machine.unread.len(), 0);
}
