//! Terms: elections, hand-overs, former holders, letting go.

use super::fixture::*;
use super::net::*;
use crate::views::{CanStop, Obstacle};
use crate::*;
use floe_types::{Epoch, Frost, NodeId, SequenceNumber, ShardIndex};
use std::collections::BTreeMap;

#[test]
fn terms_pass_and_nothing_moves_when_nobody_comes_or_goes() {
    let mut net = Net::new();
    net.store(blob(1), 30);
    let members = net.committee().members().to_vec();
    for term in 1..4 {
        assert_eq!(net.committee().term(), term);
        net.end_term();
    }
    assert_eq!(net.committee().members(), members);
    let moved = net.events.iter().any(|event| matches!(event, Event::Elected { moves, .. } if !moves.is_empty()));
    assert!(!moved);
    assert_eq!(net.world.verdict(blob(1), 9), Some(Verdict::Intact));
}

#[test]
fn the_header_names_the_chosen_committee_and_then_the_one_in_office() {
    let mut net = Net::new();
    net.join(1, Frost(5 * WAL));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let boundary = net.end_epoch().boundary;
        seen.push((boundary.term, boundary.committee_root, boundary.next_committee_root));
    }
    // Elected with epoch 3, in office with the end of epoch 4.
    assert_eq!(seen.iter().map(|(term, ..)| *term).collect::<Vec<_>>(), [1, 1, 1, 2]);
    assert_eq!(seen.iter().map(|(.., next)| next.is_some()).collect::<Vec<_>>(), [false, false, true, false]);
    assert_eq!(seen[2].2, Some(seen[3].1));
    assert_ne!(seen[2].1, seen[3].1);
}

#[test]
fn a_newcomer_gathers_gets_its_seats_and_the_former_holders_are_let_go() {
    let mut net = Net::new();
    net.store(blob(1), 40);
    net.store(blob(2), 40);
    let new = net.join(1, Frost(5 * WAL));
    let next = net.until_elected();
    let incoming = views::rows_of(&net.world.state, &new).unwrap();
    assert_eq!(incoming.len(), 4, "half of f seats move by choice");
    assert!(incoming.iter().all(|(_, row)| row.kind == RowKind::Incoming));
    assert_eq!(next.member(next.index_of(&new).unwrap()).unwrap().shards.len(), 4);
    // What is certified now is covered by the seats and is work for the hand-over.
    net.store(blob(3), 40);
    let gaps = views::gaps(&net.world.state, incoming[0].0, SequenceNumber(0), 10).unwrap();
    assert_eq!(gaps.gaps.iter().map(|gap| gap.blob).collect::<Vec<_>>(), [blob(1), blob(2), blob(3)]);
    net.fill(new, RowKind::Incoming);
    let shard = incoming[0].1.shard;
    let kinds = |net: &Net| {
        let of_shard = net.holders(blob(3)).into_iter().filter(|holder| holder.shard == shard);
        of_shard.map(|holder| holder.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&net), [RowKind::Seat, RowKind::Incoming]);
    net.end_term();
    assert_eq!(net.seats(&new).len(), 4);
    assert_eq!(kinds(&net), [RowKind::Seat, RowKind::Former]);
    assert_eq!(net.holders(blob(3)).iter().find(|holder| holder.shard == shard).unwrap().node, new);
    // An epoch is judged with the new rows, then the former ones are not needed.
    net.end_epoch();
    assert_eq!(kinds(&net), [RowKind::Seat]);
    assert_eq!(net.events.iter().filter(|event| matches!(event, Event::RowEnded { is_covered: true, .. })).count(), 4);
    assert_eq!(net.covered(blob(1)), 28);
    for epoch in 1..=5 {
        assert_eq!(net.world.verdict(blob(1), epoch), Some(Verdict::Intact), "epoch {epoch}");
    }
    // Past rows are taken out of coverage: all blobs are one segment again.
    let end = views::next_sequence(&net.world.state).unwrap().0;
    let segments = coverage::segments(&net.world.state, tables::Table::Coverage, end).unwrap();
    assert_eq!((segments.len(), segments[0].rows.len()), (1, 28));
}

#[test]
fn a_hand_over_that_is_not_finished_is_covered_by_its_former_holders_until_the_deadline() {
    let mut net = Net::new();
    net.store(blob(1), 400);
    let lazy = net.join(1, Frost(2 * WAL));
    net.end_term();
    let mine = net.seats(&lazy);
    assert!(!mine.is_empty());
    assert_eq!(net.covered(blob(1)), 28);
    let moved = Epoch(net.world.epoch().0);
    let deadline = Epoch(moved.0 + net.params().former_epochs.0);
    let row = views::rows_of(&net.world.state, &lazy).unwrap()[0].0;
    assert_eq!(views::row_coverage(&net.world.state, row).unwrap(), vec![]);
    while net.world.epoch() < deadline {
        assert_eq!(net.covered(blob(1)), 28, "epoch {}", net.world.epoch());
        net.end_epoch();
    }
    assert_eq!(net.covered(blob(1)), 28 - mine.len() as u16);
    assert!(net.events.iter().any(|event| matches!(event, Event::RowEnded { is_covered: false, .. })));
    // Before it all were held, since a former holder is a member that answers; after it some are uncovered.
    net.end_epoch();
    let record = |epoch| views::verdict(&net.world.state, &blob(1), Epoch(epoch)).unwrap().unwrap();
    assert_eq!((record(deadline.0 - 1).held, record(deadline.0 - 1).uncovered), (28, 0));
    assert_eq!(record(deadline.0).uncovered, mine.len() as u16);
}

/// Ends an epoch. What each node was paid out of its bucket is the shards that it is paid for.
fn paid_shards(net: &mut Net) -> BTreeMap<NodeId, u64> {
    net.events.clear();
    let committee = net.committee();
    let bucket = net.end_epoch().boundary.payout.bucket.0;
    let earned = net.events.iter().filter_map(|event| match event {
        Event::Earned { member, storage, .. } => Some((committee.member(*member).unwrap().node, storage.0)),
        _ => None,
    });
    let shards = |paid: u64| (0..=28).find(|shards| bucket * shards / 28 == paid).unwrap();
    earned.map(|(node, paid)| (node, shards(paid))).collect()
}

#[test]
fn the_fund_pays_the_seat_that_covers_and_took_part_else_a_former_holder_else_the_reserve() {
    let mut net = Net::new();
    net.store(blob(1), 400);
    let lazy = net.join(1, Frost(2 * WAL));
    net.end_term();
    let moved = net.seats(&lazy).len() as u64;
    assert!(moved > 0);
    let count = |net: &Net, node: &NodeId, kind: RowKind| {
        views::rows_of(&net.world.state, node).unwrap().iter().filter(|(_, row)| row.kind == kind).count() as u64
    };
    let holds = |net: &Net, node: &NodeId| count(net, node, RowKind::Seat) + count(net, node, RowKind::Former);
    let nodes = ALL.map(node);
    let with_formers: BTreeMap<_, _> = nodes.iter().map(|node| (*node, holds(&net, node))).chain([(lazy, 0)]).collect();
    assert_eq!(with_formers.values().sum::<u64>(), 28);
    // The seat covers nothing: those who had it are paid for it.
    assert_eq!(paid_shards(&mut net), with_formers);
    // Nobody is paid for what is held by one who did not take part.
    let former = *nodes.iter().find(|node| count(&net, node, RowKind::Former) > 0).unwrap();
    net.gone.insert(former);
    let without = |gone: &NodeId| with_formers.clone().into_iter().filter(|(node, _)| node != gone).collect();
    assert_eq!(paid_shards(&mut net), without(&former));
    net.gone.clear();
    // It attests: in force with the next epoch.
    net.fill(lazy, RowKind::Seat);
    assert_eq!(paid_shards(&mut net), with_formers);
    let seats: BTreeMap<_, _> = nodes.iter().chain([&lazy]).map(|node| (*node, net.seats(node).len() as u64)).collect();
    assert_ne!(seats, with_formers);
    let mut absent = Net { world: net.world.clone(), keys: net.keys.clone(), gone: [lazy].into(), events: Vec::new() };
    assert_eq!(paid_shards(&mut absent), without(&lazy), "covers, but did not take part");
    assert_eq!(paid_shards(&mut net), seats);
}

#[test]
fn a_withdrawal_is_of_the_shards_that_it_names() {
    let mut net = Net::new();
    net.store(blob(1), 400);
    let (account, mine) = (node_key(3), seats(3));
    let first = mine.iter().next().unwrap();
    let run = Run { first: SequenceNumber(0), last: SequenceNumber(0) };
    let withdraw = |shard| {
        let shards = [shard].into_iter().collect();
        Action::Withdraw { member: node(3), shards, runs: vec![run] }
    };
    let events = net.act(&account, withdraw(first));
    assert!(matches!(events[0], Event::Withdrawn { numbers: 1, .. }));
    assert_eq!(net.covered(blob(1)), 27);
    assert_eq!(net.world.refusal(&account, withdraw(first)), Refusal::NothingNew);
    assert_eq!(net.world.refusal(&account, withdraw(ShardIndex(0))), Refusal::NotHolder { shard: 0 });
}

#[test]
fn a_leaver_hands_over_is_told_when_it_may_stop_and_gets_its_stake_back() {
    let mut net = Net::new();
    net.store(blob(1), 100);
    let leaver = node(3);
    let account = floe_types::AccountId(node_key(3).public());
    assert!(matches!(
        net.can_stop(&leaver),
        CanStop::NotYet { why, .. } if why == [Obstacle::NoNotice { seats: 4 }]
    ));
    net.leave(leaver);
    // Four seats go with the end of term 1 (epoch 4); epoch 5 is judged without this node; epoch 6 is free of it.
    let why = vec![Obstacle::Seats { seats: 4, going: 0 }];
    assert_eq!(net.can_stop(&leaver), CanStop::NotYet { why, earliest: Epoch(6) });
    net.until_elected();
    let why = vec![Obstacle::Seats { seats: 4, going: 4 }];
    assert_eq!(net.can_stop(&leaver), CanStop::NotYet { why, earliest: Epoch(6) });
    net.end_term();
    assert_eq!(net.seats(&leaver), vec![]);
    let CanStop::NotYet { why, .. } = net.can_stop(&leaver) else { panic!() };
    let deadline = Epoch(5 + net.params().former_epochs.0);
    assert_eq!(why, [Obstacle::Needed { shards: 4, blobs: 1, deadline }]);
    // It still serves, though it votes no more: a reader finds it after the seats.
    assert!(net.holders(blob(1)).iter().any(|holder| holder.node == leaver && holder.kind == RowKind::Former));
    for member in net.committee().members().to_vec() {
        net.fill(member.node, RowKind::Seat);
    }
    // Attested in epoch 5, judged in epoch 6, gone with the beginning of epoch 7.
    assert_eq!(net.can_stop(&leaver), CanStop::From { epoch: Epoch(7) });
    net.end_epoch();
    assert_eq!(net.can_stop(&leaver), CanStop::From { epoch: Epoch(7) });
    net.end_epoch();
    assert_eq!(net.can_stop(&leaver), CanStop::Now);
    assert!(net.events.contains(&Event::Left { node: leaver, stake: Frost(4 * WAL), due: Epoch(4 + 9) }));
    let before = views::account(&net.world.state, &account).unwrap().balance;
    while net.world.epoch() < Epoch(13) {
        assert_eq!(views::account(&net.world.state, &account).unwrap().balance, before);
        net.end_epoch();
    }
    assert_eq!(views::account(&net.world.state, &account).unwrap().balance, Frost(before.0 + 4 * WAL));
    assert_eq!(net.covered(blob(1)), 28);
}

#[test]
fn a_leaver_that_vanishes_costs_its_shards_until_others_have_them() {
    let mut net = Net::new();
    net.store(blob(1), 100);
    let leaver = node(3);
    net.leave(leaver);
    net.gone.insert(leaver);
    net.end_term();
    net.end_epoch();
    // Its former rows cover and answer nothing: nobody asks who has no seat.
    let record = views::verdict(&net.world.state, &blob(1), Epoch(5)).unwrap().unwrap();
    assert_eq!((record.held, record.absent, record.uncovered), (24, 4, 0));
    assert_eq!(record.verdict, Verdict::Tolerated);
    for member in net.committee().members().to_vec() {
        net.fill(member.node, RowKind::Seat);
    }
    net.end_epoch();
    net.end_epoch();
    assert_eq!(net.can_stop(&leaver), CanStop::Now);
    assert_eq!(net.world.verdict(blob(1), 7), Some(Verdict::Intact));
}

#[test]
fn a_leaver_with_more_seats_than_may_move_leaves_over_several_terms() {
    let mut net = Net::of(World::of(&uneven()));
    net.store(blob(1), 100);
    let leaver = node(0);
    net.leave(leaver);
    let mut held = vec![net.seats(&leaver).len()];
    while held.last() != Some(&0) {
        net.until_elected();
        for member in views::next_committee(&net.world.state).unwrap().unwrap().members().to_vec() {
            net.fill(member.node, RowKind::Incoming);
        }
        net.end_term();
        held.push(net.seats(&leaver).len());
        assert_eq!(net.covered(blob(1)), 28);
    }
    assert_eq!(held, [9, 5, 1, 0]);
}

#[test]
fn a_certificate_of_the_term_before_counts_in_the_first_epoch_of_a_term() {
    let mut net = Net::new();
    net.join(1, Frost(5 * WAL));
    net.until_elected();
    let number = net.world.register(blob(1), 20);
    let late = net.world.register(blob(2), 20);
    let certificates = [(blob(1), number), (blob(2), late)].map(|(blob, number)| net.certificate(blob, number));
    net.end_term();
    let [first, second] = certificates;
    net.act(&key(1), first);
    // Former holders signed for the shards that moved: their rows cover them.
    assert_eq!(net.covered(blob(1)), 28);
    let former = net.holders(blob(1)).iter().filter(|holder| holder.kind == RowKind::Former).count();
    assert_eq!(former, 4);
    net.end_epoch();
    assert!(matches!(net.world.refusal(&key(1), second), Refusal::BadCertificate | Refusal::Lapsed { .. }));
}

#[test]
fn the_first_block_of_a_term_is_by_the_old_committee_and_for_the_new_one() {
    let mut net = Net::new();
    let leaver = node(3);
    net.leave(leaver);
    net.until_elected();
    let head = views::head(&net.world.state).unwrap();
    let now = head.epoch_ends(&net.world.context.params);
    // The leaver proposes the block with which its term ends, and may not propose the next.
    let built = build_block(&net.world.state, &net.world.context, leaver, now, vec![]).unwrap();
    assert_eq!(built.block.header.boundary.as_ref().unwrap().term, 2);
    let mut state = net.world.state.clone();
    state.apply(&execute_decided(&state, &net.world.context, built.block).unwrap().changes);
    let next = build_block(&state, &net.world.context, leaver, now, vec![]).unwrap().block;
    assert_eq!(execute_decided(&state, &net.world.context, next).unwrap_err(), BlockError::Proposer);
}

#[test]
fn a_vote_key_announced_in_time_is_the_next_terms() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let keys = net.keys[&new].clone();
    let secrets: Vec<_> = (50..53).map(key).collect();
    let second = net.announcement(&keys, 2, &secrets[0]);
    net.act(&keys.account, second);
    let key_in = |net: &Net| net.committee().members().iter().find(|member| member.node == new).unwrap().vote_key.0;
    net.until_elected();
    let third = net.announcement(&keys, 3, &secrets[1]);
    net.act(&keys.account, third);
    net.end_term();
    assert_eq!(key_in(&net), secrets[0].public());
    net.end_term();
    assert_eq!(key_in(&net), secrets[1].public());
    // Who announces nothing keeps its key.
    net.end_term();
    assert_eq!(key_in(&net), secrets[1].public());
}

#[test]
fn a_returning_holder_goes_on_with_the_row_it_had() {
    let mut net = Net::new();
    net.store(blob(1), 100);
    let lazy = net.join(1, Frost(5 * WAL));
    net.end_term();
    let row = |net: &Net, shard: ShardIndex| {
        let holder = net.holders(blob(1)).into_iter().find(|holder| holder.shard == shard).unwrap();
        (holder.row, holder.kind)
    };
    let shards = net.seats(&lazy);
    let before: Vec<_> = shards.iter().map(|shard| row(&net, *shard)).collect();
    assert!(before.iter().all(|(_, kind)| *kind == RowKind::Former));
    net.leave(lazy);
    net.end_term();
    let after: Vec<_> = shards.iter().map(|shard| row(&net, *shard)).collect();
    let back = before.iter().zip(&after).filter(|((was, _), (is, kind))| was == is && *kind == RowKind::Seat).count();
    assert_eq!(back, 4, "{before:?} {after:?}");
    assert_eq!(net.covered(blob(1)), 28);
}

#[test]
fn a_preview_says_what_a_candidacy_will_come_to() {
    let mut net = Net::new();
    net.store(blob(1), 100);
    let keys = Keys::newcomer(1);
    let proposal = |stake, capacity_bytes| views::Proposal {
        node: keys.node,
        stake: Frost(stake),
        capacity_bytes,
        domain: String::new(),
    };
    let ask = |net: &Net, proposal| views::preview(&net.world.state, &net.params(), &proposal).unwrap();
    let preview = ask(&net, proposal(20 * WAL, 1 << 40));
    assert_eq!((preview.elected_with, preview.serves_from), (Epoch(3), Epoch(5)));
    assert_eq!((preview.seats, preview.share), (4, 9));
    assert_eq!(preview.bound, election::Bound::Moves);
    // 10 MiB in a network of 28: 29/190 of it a seat, and a little.
    assert!((1_600_000..1_610_000).contains(&(preview.arriving_bytes / 4)), "{}", preview.arriving_bytes);
    assert_eq!(ask(&net, proposal(20 * WAL, 3_500_000)).seats, 2);
    assert_eq!(ask(&net, proposal(20 * WAL, 3_500_000)).bound, election::Bound::Capacity);
    assert_eq!(ask(&net, proposal(WAL / 2, 1 << 40)).bound, election::Bound::NotStanding);
    let new = net.join(1, Frost(20 * WAL));
    net.end_term();
    assert_eq!(net.seats(&new).len(), 4);
    let views = views::candidates(&net.world.state, &net.params()).unwrap();
    let mine = views.iter().find(|view| view.candidate.node == new).unwrap();
    assert_eq!((mine.seats, mine.share, mine.incoming, mine.former), (4, 9, 0, 0));
    assert_eq!(views.iter().map(|view| view.former).sum::<u16>(), 4);
}
