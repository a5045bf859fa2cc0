//! Repair: what a boundary plans, who may rebuild what, stand-ins, and how nodes stand.

use super::fixture::*;
use crate::repairs::{Haste, Why};
use crate::verdict::{Precision, Progress};
use crate::*;
use floe_risk::planner::rotation;
use floe_risk::reliability::{Cause, Rank};
use floe_types::{AccountId, Epoch, EpochCount, Frost, NodeId, SequenceNumber, ShardIndex};

/// All but these.
pub(super) fn without(gone: &[usize]) -> Vec<usize> {
    ALL.into_iter().filter(|at| !gone.contains(at)).collect()
}

fn record(world: &World, seed: u8, epoch: u64) -> VerdictRecord {
    views::verdict(&world.state, &blob(seed), Epoch(epoch)).unwrap().unwrap()
}

pub(super) fn place(of: &NodeId) -> usize {
    ALL.into_iter().find(|at| node(*at) == *of).unwrap()
}

pub(super) fn stand_ins(world: &World) -> Vec<Row> {
    let rows = views::rows(&world.state).unwrap();
    rows.iter().filter(|(_, row)| row.kind == RowKind::StandIn).map(|(_, row)| *row).collect()
}

/// Every target of a ticket rebuilds what it names, and says so. Gives how many fragments that were.
pub(super) fn work(world: &mut World) -> usize {
    let params = world.context.params.clone();
    let mut done = 0;
    for ticket in views::tickets(&world.state).unwrap() {
        let page = views::ticket_work(&world.state, &params, &ticket, SequenceNumber(0), 100).unwrap();
        for gap in page.gaps {
            let right = Right::Ticket { number: ticket.number };
            let asked = (ticket.shard, gap.sequence);
            assert!(views::grants(&world.state, &params, &ticket.target, asked, right).unwrap());
            let runs = vec![Run { first: gap.sequence, last: gap.sequence }];
            let shards = ShardSet::from_iter([ticket.shard]);
            let attest = Action::Attest { member: ticket.target, shards, runs };
            world.act(&node_key(place(&ticket.target)), attest);
            assert!(!views::grants(&world.state, &params, &ticket.target, asked, right).unwrap(), "it has it now");
            done += 1;
        }
    }
    done
}

/// A blob that all hold; node 6 is away from epoch 2 on, node 5 from epoch 5 on. Epoch 7 has begun, with tickets.
pub(super) fn two_gone() -> World {
    let mut world = World::new();
    world.store(blob(1), 100, &ALL);
    world.end_epoch(&ALL);
    for _ in 2..=4 {
        world.end_epoch(&without(&[6]));
        assert_eq!(views::tickets(&world.state).unwrap(), vec![]);
    }
    world.end_epoch(&without(&[5, 6]));
    // The bound is passed, and stand-ins for the one alone would gain nothing: the other's silence is younger than patience.
    let found = record(&world, 1, 5);
    assert_eq!((found.verdict, found.held, found.risk.starts), (Verdict::Tolerated, 20, Some(Epoch(7))));
    assert!(found.risk.now.margin > found.risk.trigger.margin && found.risk.now.loss <= found.risk.trigger.loss);
    assert_eq!(views::tickets(&world.state).unwrap(), vec![]);
    world.end_epoch(&without(&[5, 6]));
    world
}

#[test]
fn one_silent_node_is_never_repaired_and_is_excluded_in_time() {
    let mut world = World::new();
    world.store(blob(1), 100, &ALL);
    let params = world.context.params.clone();
    let (mut probation, mut excluded) = (None, None);
    for epoch in 1..=24 {
        world.end_epoch(&without(&[6]));
        let found = record(&world, 1, epoch);
        assert_eq!((found.verdict, found.held), (Verdict::Tolerated, 24), "epoch {epoch}");
        assert_eq!((found.risk.starts, views::tickets(&world.state).unwrap().len()), (None, 0), "epoch {epoch}");
        let standing = views::node_standing(&world.state, &params, &node(6)).unwrap().unwrap();
        assert_eq!(standing.silent.0, epoch);
        probation = probation.or((standing.rank == Rank::Probation).then_some(epoch));
        excluded = excluded.or((standing.rank == Rank::Excluded).then_some(epoch));
    }
    assert_eq!((probation, excluded), (Some(4), Some(20)), "five minutes of a devnet's fifteen seconds");
    let standing = views::node_standing(&world.state, &params, &node(6)).unwrap().unwrap();
    assert_eq!((standing.silent_since, standing.excluded), (Some(Epoch(1)), Some((Epoch(20), Cause::Absence))));
    // Twenty-eight epochs later is epoch 48, in term 12: it may be chosen for the one after.
    assert_eq!(standing.until_term, Some(13));
    assert_eq!(views::experience(&world.state).unwrap().departures, 1);
    let well = views::node_standing(&world.state, &params, &node(0)).unwrap().unwrap();
    assert_eq!((well.rank, well.silent.0, well.silent_since), (Rank::Good, 0, None));
}

#[test]
fn a_margin_in_failure_domains_counts_what_shares_a_word_as_one() {
    let mut founded = genesis();
    for (member, domain) in
        founded.members.iter_mut().zip(["isp:a", "isp:a city:x", "city:x", "isp:b", "isp:b", "", ""])
    {
        member.domain = domain.to_owned();
    }
    let mut world = World::of(&founded);
    world.store(blob(1), 100, &ALL);
    assert_eq!(views::thinnest(&world.state, &world.context.params).unwrap(), None, "nothing was decided yet");
    world.end_epoch(&ALL);
    let of = |world: &World, epoch| {
        let record = record(world, 1, epoch);
        let domains = views::domain_margin(&world.state, &world.context.params, &record).unwrap().unwrap();
        (record.margin_nodes, domains.domains, domains.of_domains)
    };
    // Twelve, eight, four and four shards: without the first, 16 are left, without the second too, eight, and ten are needed.
    assert_eq!(of(&world, 1), (4, 1, 4));
    world.end_epoch(&without(&[0, 1, 2]));
    assert_eq!(of(&world, 2), (1, 0, 3), "the eight of one domain are two more than may go, of each node four");
    assert_eq!(of(&world, 1), (4, 1, 4), "an epoch stays what it was");
}

#[test]
fn a_second_silent_node_is_repaired_by_stand_ins_and_all_is_as_before_when_both_return() {
    let mut world = two_gone();
    let first = record(&world, 1, 6);
    assert_eq!((first.verdict, first.held, first.risk.progress), (Verdict::Repairing, 20, Progress::Calm));
    assert_eq!(first.risk.precision, Precision::Exact);
    let tickets = views::tickets(&world.state).unwrap();
    assert!((5..=8).contains(&tickets.len()), "{tickets:?}");
    for ticket in &tickets {
        let age = if seats(6).contains(ticket.shard) { 5 } else { 2 };
        assert!((seats(5).contains(ticket.shard) || age == 5) && (0..5).any(|at| node(at) == ticket.target));
        assert_eq!((ticket.kind, ticket.haste), (RowKind::StandIn, Haste::Capped));
        assert_eq!(ticket.why, Why::Silent { age: EpochCount(age) });
    }
    assert_eq!(stand_ins(&world).len(), tickets.len(), "each target can attest");
    let plan = views::boundary_plan(&world.state, Epoch(6)).unwrap().unwrap();
    assert_eq!((plan.planned.tickets, plan.planned.pairs), (tickets.len() as u64, tickets.len() as u64));
    let explained = views::explain(&world.state, &world.context.params, &blob(1)).unwrap().unwrap();
    assert_eq!((explained.tickets.len(), explained.ruler.unwrap().held), (tickets.len(), 20));
    // The only class is the thinnest; nobody declares a domain, so that each node is its own.
    let thinnest = views::thinnest(&world.state, &world.context.params).unwrap().unwrap();
    let ruler = views::ruler_of(&world.state, &world.context.params, &thinnest.record.class).unwrap();
    assert_eq!((&thinnest.record, ruler), (&first, explained.ruler));
    let margin = views::DomainMargin { domains: first.margin_nodes, of_domains: 5 };
    assert_eq!((thinnest.domains, first.margin_nodes), (margin, 2));

    assert_eq!(work(&mut world), tickets.len());
    // Judged as the epoch began: still under way.
    world.end_epoch(&without(&[5, 6]));
    let second = record(&world, 1, 7);
    assert_eq!((second.verdict, second.risk.progress), (Verdict::Repairing, Progress::Repairing));
    assert_eq!(work(&mut world), 0, "nothing is rebuilt twice");
    world.end_epoch(&without(&[5, 6]));
    let held = record(&world, 1, 8);
    assert_eq!((held.held, held.risk.now.margin <= held.risk.trigger.margin), (20 + tickets.len() as u16, true));
    super::classes::check(&world.state);

    for _ in 9..=10 {
        world.end_epoch(&ALL);
    }
    assert_eq!((record(&world, 1, 10).verdict, views::tickets(&world.state).unwrap()), (Verdict::Intact, vec![]));
    assert_eq!(stand_ins(&world), vec![], "copies are dropped, nothing is sent");
    world.end_epoch(&ALL);
    assert_eq!(record(&world, 1, 11).risk.progress, Progress::Calm);
    let history: Vec<Verdict> =
        views::verdict_history(&world.state, &blob(1), 9).unwrap().iter().map(|record| record.verdict).collect();
    assert_eq!(history.first(), Some(&Verdict::Intact));
    assert!(history.contains(&Verdict::Repairing));
}

#[test]
fn nobody_but_the_target_of_a_ticket_is_served_symbols_for_it() {
    let world = two_gone();
    let params = &world.context.params;
    let ticket = views::tickets(&world.state).unwrap().remove(0);
    let right = Right::Ticket { number: ticket.number };
    let number = SequenceNumber(0);
    let granted = |asker: &NodeId, shard, number, right| {
        views::grants(&world.state, params, asker, (shard, number), right).unwrap()
    };
    assert!(granted(&ticket.target, ticket.shard, number, right));
    for at in ALL.into_iter().filter(|at| node(*at) != ticket.target) {
        assert!(!granted(&node(at), ticket.shard, number, right), "node {at} has another's ticket");
    }
    let other = (0..28).map(ShardIndex).find(|shard| *shard != ticket.shard).unwrap();
    assert!(!granted(&ticket.target, other, number, right), "of another shard");
    assert!(!granted(&ticket.target, ticket.shard, SequenceNumber(9), right), "of no blob");
    let unknown = Right::Ticket { number: TicketNumber(ticket.number.0 + 1000) };
    assert!(!granted(&ticket.target, ticket.shard, number, unknown));
    for right in [Right::Standing, Right::Trickle] {
        assert!(!granted(&ticket.target, ticket.shard, number, right), "without the seat");
        assert!(!granted(&node(0), seats(0).iter().next().unwrap(), number, right), "what it covers it has");
    }
}

#[test]
fn a_ticket_is_valid_until_the_next_boundary_that_decides() {
    let mut world = two_gone();
    let before = views::tickets(&world.state).unwrap();
    world.end_epoch(&[0]);
    let kept = views::tickets(&world.state).unwrap();
    assert_eq!(kept.len(), before.len());
    assert!(kept.iter().all(|ticket| ticket.until == Epoch(8) && ticket.issued == Epoch(7)));
    assert_eq!(views::ticket(&world.state, before[0].number).unwrap().as_ref(), kept.first());
    world.end_epoch(&without(&[5, 6]));
    let again = views::tickets(&world.state).unwrap();
    assert!(
        again.iter().any(|ticket| ticket.since == Epoch(7)) && again.iter().all(|ticket| ticket.issued == Epoch(9)),
        "{again:?}"
    );
    assert_eq!(views::ticket(&world.state, before[0].number).unwrap(), None);
    // With one of them back nothing is rebuilt.
    world.end_epoch(&without(&[5]));
    assert_eq!(views::tickets(&world.state).unwrap(), vec![]);
}

#[test]
fn a_blob_whose_term_is_over_is_in_no_plan() {
    let mut world = World::new();
    world.store(blob(1), 5, &ALL);
    world.store(blob(2), 100, &ALL);
    for _ in 1..=3 {
        world.end_epoch(&without(&[6]));
    }
    world.end_epoch(&without(&[5, 6]));
    world.end_epoch(&without(&[5, 6]));
    assert_eq!(record(&world, 1, 5).verdict, Verdict::Repairing, "its class is repaired");
    let params = world.context.params.clone();
    let constants = views::risk_constants(&params);
    let tickets = views::tickets(&world.state).unwrap();
    assert!(!tickets.is_empty());
    for ticket in tickets {
        let page = views::ticket_work(&world.state, &params, &ticket, SequenceNumber(0), 100).unwrap();
        assert_eq!(page.gaps.iter().map(|gap| gap.blob).collect::<Vec<_>>(), [blob(2)]);
        assert_eq!(ticket.scope.rotation, rotation(&constants, SequenceNumber(1)));
        let right = Right::Ticket { number: ticket.number };
        let asked = (ticket.shard, SequenceNumber(0));
        assert!(!views::grants(&world.state, &params, &ticket.target, asked, right).unwrap());
    }
}

#[test]
fn what_an_uploader_did_not_deliver_is_filled_by_its_seat() {
    let mut world = World::new();
    world.store(blob(1), 100, &without(&[6]));
    let params = world.context.params.clone();
    let shard = seats(6).iter().next().unwrap();
    let row = views::rows(&world.state).unwrap().seat(shard).unwrap();
    let refills = |world: &World| views::refills(&world.state, &params, row, SequenceNumber(0), 10).unwrap().refills;
    assert_eq!(refills(&world).iter().map(|refill| refill.right).collect::<Vec<_>>(), [Right::Standing]);
    let granted = |world: &World, right| {
        views::grants(&world.state, &params, &node(6), (shard, SequenceNumber(0)), right).unwrap()
    };
    assert!(granted(&world, Right::Standing) && !granted(&world, Right::Trickle), "nobody has answered yet");
    // Twelve epochs of standing, then once in twelve epochs.
    let mut turns = Vec::new();
    for epoch in 1..=36u64 {
        world.end_epoch(&ALL);
        if granted(&world, Right::Trickle) {
            turns.push(epoch);
        }
        assert_eq!(granted(&world, Right::Standing), epoch < 12, "epoch {}", epoch + 1);
    }
    assert_eq!(turns.len(), 3, "{turns:?}");
}

#[test]
fn who_does_not_report_is_silent_and_unpaid_whatever_others_say() {
    let mut world = World::new();
    world.store(blob(1), 100, &ALL);
    let reporters = without(&[6]);
    let commits = reporters.iter().map(|at| world.by(&node_key(*at), world.commit_action(*at))).collect();
    let reports = reporters.iter().map(|at| world.by(&node_key(*at), world.report_action(*at, ALL))).collect();
    world.close(commits, reports);
    let before = views::account(&world.state, &AccountId(node_key(6).public())).unwrap().balance;
    let executed = world.boundary(vec![]);
    assert_eq!(record(&world, 1, 1).verdict, Verdict::Intact, "it answered");
    let after = views::account(&world.state, &AccountId(node_key(6).public())).unwrap().balance;
    assert_eq!(after, before);
    let earned = executed.events.iter().filter(|event| matches!(event, Event::Earned { .. })).count();
    assert_eq!(earned, 6);
    let standing = views::node_standing(&world.state, &world.context.params, &node(6)).unwrap().unwrap();
    assert_eq!((standing.silent.0, standing.silent_since), (1, Some(Epoch(1))));
}

#[test]
fn a_stand_in_is_paid_for_what_its_seat_does_not_serve() {
    let mut world = two_gone();
    let tickets = views::tickets(&world.state).unwrap();
    assert!(work(&mut world) > 0);
    // What is paid for the work itself is paid with the second of these.
    (0..2).for_each(|_| drop(world.end_epoch(&without(&[5, 6]))));
    let balance =
        |world: &World, at: usize| views::account(&world.state, &AccountId(node_key(at).public())).unwrap().balance.0;
    let before: Vec<u64> = (0..5).map(|at| balance(&world, at)).collect();
    let record = world.end_epoch(&without(&[5, 6]));
    let bucket = record.boundary.payout.bucket;
    for (at, before) in before.into_iter().enumerate() {
        let stands_in = tickets.iter().filter(|ticket| ticket.target == node(at)).count() as u64;
        let paid = Frost(balance(&world, at) - before);
        let fees = record.boundary.payout.fees.0 / 5;
        assert_eq!(paid.0 - fees, bucket.0 * (4 + stands_in) / 28, "node {at} stands in for {stands_in}");
    }
}

#[test]
fn silence_shared_again_and_again_makes_one_domain() {
    let mut world = World::new();
    let flagged = |world: &World| views::suspected(&world.state).unwrap();
    for epoch in 1..=160 {
        let gone: &[usize] = if epoch % 12 == 0 { &[2, 4] } else { &[] };
        world.end_epoch(&without(gone));
    }
    assert_eq!(flagged(&world), [(node(2), node(4))]);
}

/// What node 6 may fill now of the gaps of its first seat, by which right.
fn refill_rights(world: &World) -> Vec<Right> {
    let shard = seats(6).iter().next().unwrap();
    let row = views::rows(&world.state).unwrap().seat(shard).unwrap();
    let page = views::refills(&world.state, &world.context.params, row, SequenceNumber(0), 10).unwrap();
    let granted =
        |right| views::grants(&world.state, &world.context.params, &node(6), (shard, SequenceNumber(0)), right);
    for refill in &page.refills {
        assert!(granted(refill.right).unwrap());
    }
    assert_eq!(granted(Right::Rebuild).unwrap(), page.refills.iter().any(|refill| refill.right == Right::Rebuild));
    page.refills.iter().map(|refill| refill.right).collect()
}

fn says_of_first(world: &mut World, held: bool) {
    let shards: ShardSet = seats(6).iter().take(1).collect();
    let (member, runs) = (node(6), vec![Run { first: SequenceNumber(0), last: SequenceNumber(0) }]);
    let said = if held { Action::Attest { member, shards, runs } } else { Action::Withdraw { member, shards, runs } };
    world.act(&node_key(6), said);
}

#[test]
fn who_says_that_it_lost_fragments_may_make_them_again_at_once_and_once_in_a_window() {
    let mut world = World::new();
    world.store(blob(1), 400, &ALL);
    // Beyond what an uploader may still deliver.
    (1..=14).for_each(|_| drop(world.end_epoch(&ALL)));
    says_of_first(&mut world, false);
    assert_eq!(refill_rights(&world), [], "a withdrawal is in force from the next boundary");
    world.end_epoch(&ALL);
    let constants = views::risk_constants(&world.context.params);
    let last = world.epoch().0 + constants.repair.standing.0 - 1;
    let until = |world: &World| {
        views::node_standing(&world.state, &world.context.params, &node(6)).unwrap().unwrap().rebuilds_until
    };
    assert_eq!((refill_rights(&world), until(&world)), (vec![Right::Rebuild], Some(Epoch(last))));
    says_of_first(&mut world, true);
    assert_eq!(refill_rights(&world), [], "it has it");
    while world.epoch().0 <= last {
        world.end_epoch(&ALL);
    }
    // A second loss in the window is filled in its turn.
    says_of_first(&mut world, false);
    world.end_epoch(&ALL);
    assert_eq!(until(&world), None);
    let mut turns = Vec::new();
    for _ in 0..constants.repair.trickle.0 {
        turns.extend(refill_rights(&world));
        world.end_epoch(&ALL);
    }
    assert_eq!(turns, [Right::Trickle]);
    // And one after the window is as the first.
    says_of_first(&mut world, true);
    while world.epoch().0 <= last + constants.gauge.window.0 {
        world.end_epoch(&ALL);
    }
    says_of_first(&mut world, false);
    world.end_epoch(&ALL);
    assert_eq!(refill_rights(&world), [Right::Rebuild]);
}

#[test]
fn a_gauge_that_trips_for_the_first_time_gives_a_rebuild_and_for_the_second_convicts() {
    let mut world = World::new();
    world.store(blob(1), 400, &without(&[6]));
    (1..=14).for_each(|_| drop(world.end_epoch(&ALL)));
    let (params, epoch) = (world.context.params.clone(), world.epoch());
    let (constants, committee) = (views::risk_constants(&params), views::committee(&world.state).unwrap());
    let lacks = |at: usize| MemberAttendance { held: 63, missing: if at == 6 { 6 } else { 0 }, ..Default::default() };
    let participation = Participation { reporters: members(ALL), answered: members(ALL), decision: Decision::Decided };
    let attendance = Attendance { participation, slots: 63, members: ALL.into_iter().map(lacks).collect() };
    let after = |world: &World, epoch: Epoch| {
        let mut overlay = Overlay::new(&world.state);
        let taken = standing::Taken {
            params: &params,
            constants: &constants,
            committee: &committee,
            attendance: &attendance,
            epoch,
        };
        taken.turn(&mut overlay).unwrap();
        overlay.into_changes()
    };
    let changes = after(&world, epoch);
    world.meddle(&changes);
    let standing = |world: &World| views::node_standing(&world.state, &params, &node(6)).unwrap().unwrap();
    let first = standing(&world);
    assert_eq!((first.tripped, first.rank, first.integrity), (Some(epoch), Rank::Good, 0));
    assert_eq!(first.rebuilds_until, Some(Epoch(epoch.0 + constants.repair.standing.0)));
    world.end_epoch(&ALL);
    assert_eq!(refill_rights(&world), [Right::Rebuild]);
    assert_eq!(
        standing(&world).rebuilds_until,
        first.rebuilds_until,
        "withdrawing what it was told of gives no second"
    );
    let changes = after(&world, Epoch(epoch.0 + 2));
    world.meddle(&changes);
    assert_eq!(standing(&world).rank, Rank::Excluded);
}
