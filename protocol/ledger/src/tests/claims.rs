//! Pay for repair and what it costs those whose gaps it filled.

use super::fixture::*;
use super::repair::{place, stand_ins, two_gone, without, work};
use crate::claims;
use crate::coverage::Run;
use crate::event::Purse;
use crate::*;
use floe_types::{AccountId, Epoch, Frost, Layout, NodeId, SequenceNumber};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The price of an encoded mebibyte for one epoch.
const PRICE: u64 = 1_000;

fn fragment() -> u64 {
    Layout::new(28, LENGTH).unwrap().fragment_bytes()
}

/// What the reserve pays for so many fragments of one row.
fn worth(fragments: u64) -> u64 {
    PRICE * fragments * fragment() / (1 << 20)
}

fn balance(world: &World, at: usize) -> u64 {
    views::account(&world.state, &AccountId(node_key(at).public())).unwrap().balance.0
}

fn debts(world: &World) -> BTreeMap<usize, u64> {
    crate::debts::all(&world.state).unwrap().into_iter().map(|(node, owed)| (place(&node), owed.0)).collect()
}

/// Ends the epoch and gives what happened at its boundary.
fn ended(world: &mut World, present: &[usize]) -> Vec<Event> {
    world.report(present);
    world.boundary(Vec::new()).events
}

/// Who was paid for repair, and how much.
fn paid(events: &[Event]) -> BTreeMap<usize, u64> {
    let of = |event: &Event| match event {
        Event::RepairPaid { member, amount, .. } => Some((usize::from(member.0), amount.0)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// Who was charged, and how much.
fn charged(events: &[Event]) -> BTreeMap<usize, u64> {
    let mut all = BTreeMap::new();
    for event in events {
        if let Event::RepairOwed { node, amount, .. } = event {
            *all.entry(place(node)).or_default() += amount.0;
        }
    }
    all
}

fn payout(world: &World) -> Payout {
    let ended = Epoch(world.epoch().0 - 1);
    views::epoch_record(&world.state, ended).unwrap().unwrap().boundary.payout
}

fn attest(world: &mut World, row: &Row, number: u64, change: fn(NodeId, ShardSet, Vec<Run>) -> Action) {
    let runs = vec![Run { first: SequenceNumber(number), last: SequenceNumber(number) }];
    let action = change(row.holder, ShardSet::from_iter([row.shard]), runs);
    world.act(&node_key(place(&row.holder)), action);
}

fn cover(member: NodeId, shards: ShardSet, runs: Vec<Run>) -> Action {
    Action::Attest { member, shards, runs }
}

fn uncover(member: NodeId, shards: ShardSet, runs: Vec<Run>) -> Action {
    Action::Withdraw { member, shards, runs }
}

/// Stand-ins have rebuilt what was planned, and were asked for it in an epoch. Gives the world and what its end brought.
fn rebuilt() -> (World, Vec<Event>) {
    let mut world = two_gone();
    assert!(work(&mut world) > 0);
    // What was attested counts from the next epoch on, and is paid at the end of that.
    let events = ended(&mut world, &without(&[5, 6]));
    assert_eq!((paid(&events), charged(&events), debts(&world)), Default::default());
    assert!(claims::all(&world.state).unwrap().values().all(|claim| claim.waiting == fragment() && claim.rebuilt == 0));
    let events = ended(&mut world, &without(&[5, 6]));
    (world, events)
}

#[test]
fn who_rebuilds_for_others_is_paid_by_the_reserve_once_it_was_asked_for_it() {
    let mut world = two_gone();
    let tickets = views::tickets(&world.state).unwrap();
    assert!(tickets.iter().all(|ticket| ticket.owes.is_some_and(|node| place(&node) >= 5)));
    assert!(work(&mut world) > 0);
    ended(&mut world, &without(&[5, 6]));
    let (reserve, before) = (views::totals(&world.state).unwrap().reserve.0, debts(&world));
    let events = ended(&mut world, &without(&[5, 6]));
    let mut wanted = BTreeMap::<usize, u64>::new();
    tickets.iter().for_each(|ticket| *wanted.entry(place(&ticket.target)).or_default() += worth(1));
    assert_eq!((paid(&events), before), (wanted.clone(), BTreeMap::new()));
    let mut owed = BTreeMap::<usize, u64>::new();
    tickets.iter().for_each(|ticket| *owed.entry(place(&ticket.owes.unwrap())).or_default() += worth(1));
    assert_eq!((charged(&events), debts(&world)), (owed.clone(), owed));
    let (all, payout) = (wanted.values().sum::<u64>(), payout(&world));
    assert_eq!((payout.repair, payout.repaid), (Frost(all), Frost::ZERO), "who owes it earns nothing yet");
    assert_eq!(views::totals(&world.state).unwrap().reserve.0, reserve + payout.reserve.0 - all);
    // Once.
    let events = ended(&mut world, &without(&[5, 6]));
    assert_eq!((paid(&events), charged(&events)), Default::default());
}

#[test]
fn a_debt_is_taken_out_of_what_its_node_earns_when_it_is_back() {
    let (mut world, _) = rebuilt();
    let owed = debts(&world);
    let (back, owes) = owed.iter().next_back().map(|(at, owed)| (*at, *owed)).unwrap();
    let before = balance(&world, back);
    let events = ended(&mut world, &ALL);
    let earned = events.iter().find_map(|event| match event {
        Event::Earned { member, storage, fees, .. } if usize::from(member.0) == back => Some(storage.0 + fees.0),
        _ => None,
    });
    let earned = earned.unwrap();
    let taken = owes.min(earned);
    assert!(taken > 0);
    assert_eq!(balance(&world, back), before + earned - taken);
    let account = AccountId(node_key(back).public());
    let left = Frost(owes - taken);
    let amount = Frost(taken);
    let epoch = Epoch(world.epoch().0 - 1);
    let wanted = Event::DebtPaid { epoch, node: node(back), account, amount, purse: Purse::Earnings, left };
    assert!(events.contains(&wanted), "{events:?}");
    assert_eq!(debts(&world).get(&back).copied().unwrap_or(0), left.0);
    assert!(payout(&world).repaid >= amount);
    for _ in 0..20 {
        ended(&mut world, &ALL);
    }
    assert_eq!(debts(&world), BTreeMap::new());
}

#[test]
fn who_is_excluded_pays_out_of_its_stake() {
    let (mut world, _) = rebuilt();
    let stake = |world: &World| views::candidate(&world.state, &node(6)).unwrap().unwrap().stake.0;
    let (owed, before) = (debts(&world).get(&6).copied().unwrap(), stake(&world));
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Excluded { node: one, .. } if *one == node(6))) {
        assert_eq!(stake(&world), before);
        events = ended(&mut world, &without(&[6]));
    }
    let taken = before - stake(&world);
    assert!(taken >= owed && !debts(&world).contains_key(&6), "{owed} of {before}, {taken} taken");
    let out_of_stake = |event: &Event| matches!(event, Event::DebtPaid { purse: Purse::Stake, left: Frost::ZERO, .. });
    assert!(events.iter().any(out_of_stake));
    assert_eq!(payout(&world).repaid, Frost(taken));
}

#[test]
fn a_stake_that_goes_back_pays_debts_first() {
    let (mut world, _) = rebuilt();
    let owed = debts(&world)[&6];
    let candidate = views::candidate(&world.state, &node(6)).unwrap().unwrap();
    // All but the least stake is asked back before anybody can take it.
    let change = StakeChange::Withdraw(Frost(candidate.stake.0 - world.context.params.stake_min.0));
    world.act(&node_key(6), Action::Stake { node: node(6), change });
    let before = balance(&world, 6);
    let StakeChange::Withdraw(asked) = change else { unreachable!() };
    let mut released = None;
    while released.is_none() {
        // Silent, so that it earns nothing, and not for so long that it is excluded.
        let events = ended(&mut world, &without(&[6]));
        assert!(!events.iter().any(|event| matches!(event, Event::Excluded { .. })));
        released = events.iter().find_map(|event| match event {
            Event::StakeReleased { amount, .. } => Some(*amount),
            _ => None,
        });
    }
    // It may owe more by then: at most all of its fragments, for stand-ins of two of them.
    let released = released.unwrap();
    assert!(released <= Frost(asked.0 - owed) && released >= Frost(asked.0 - 8 * worth(1)), "{released:?}");
    assert_eq!((balance(&world, 6), debts(&world).get(&6)), (before + released.0, None));
}

#[test]
fn a_stand_in_that_withdraws_what_it_was_paid_for_owes_it_back_and_is_not_paid_again() {
    let (mut world, events) = rebuilt();
    let one = stand_ins(&world).remove(0);
    let at = place(&one.holder);
    assert!(paid(&events)[&at] >= worth(1));
    attest(&mut world, &one, 0, uncover);
    let again = ended(&mut world, &without(&[5, 6]));
    assert_eq!(charged(&again), BTreeMap::from([(at, worth(1))]));
    assert_eq!(paid(&again), BTreeMap::new());
    // Again the gap is somebody else's to pay; but who withdrew it is not paid for filling it.
    let rows = stand_ins(&world);
    if let Some(row) = rows.iter().find(|row| row.shard == one.shard && row.holder == one.holder) {
        attest(&mut world, row, 0, cover);
    }
    for _ in 0..3 {
        let events = ended(&mut world, &without(&[5, 6]));
        assert_eq!(paid(&events).get(&at), None);
    }
}

#[test]
fn what_no_ticket_names_is_not_paid() {
    let mut world = two_gone();
    let one = stand_ins(&world).remove(0);
    // A blob that is certified now is in no ticket of the running epoch; its stand-in says that it has it.
    world.store(blob(2), 100, &without(&[5, 6]));
    attest(&mut world, &one, 1, cover);
    for _ in 0..2 {
        let events = ended(&mut world, &without(&[5, 6]));
        assert_eq!((paid(&events), charged(&events)), Default::default());
    }
    assert_eq!(claims::all(&world.state).unwrap(), BTreeMap::new());
}

#[test]
fn who_fills_its_own_gap_is_not_paid() {
    let mut world = World::new();
    world.store(blob(1), 100, &without(&[6]));
    world.end_epoch(&ALL);
    let shard = seats(6).iter().next().unwrap();
    let own = Row { shard, holder: node(6), kind: RowKind::Seat, since: Epoch(1) };
    attest(&mut world, &own, 0, cover);
    for _ in 0..4 {
        let events = ended(&mut world, &ALL);
        assert_eq!((paid(&events), charged(&events)), Default::default());
    }
}

#[test]
fn pay_waits_while_its_holder_is_away_and_for_a_decided_epoch() {
    let mut world = two_gone();
    assert!(work(&mut world) > 0);
    ended(&mut world, &without(&[5, 6]));
    let one = place(&stand_ins(&world)[0].holder);
    assert_eq!(paid(&ended(&mut world, &[0])), BTreeMap::new(), "undecided");
    let events = ended(&mut world, &without(&[one, 5]));
    assert!(!paid(&events).contains_key(&one), "it was not asked for it");
}

#[test]
fn a_reserve_that_is_too_small_pays_a_part_and_owes_the_rest() {
    let mut world = two_gone();
    assert!(work(&mut world) > 0);
    ended(&mut world, &without(&[5, 6]));
    // As if the reserve had been spent: its WAL is in an account.
    let mut overlay = Overlay::new(&world.state);
    let mut totals = money::totals(&overlay).unwrap();
    let reserve = std::mem::take(&mut totals.reserve);
    totals.accounts = Frost(totals.accounts.0 + reserve.0);
    money::put_totals(&mut overlay, &totals);
    let mut holder = money::account(&overlay, &user(3)).unwrap();
    holder.balance = Frost(holder.balance.0 + reserve.0);
    money::put_account(&mut overlay, &user(3), &holder);
    let changes = overlay.into_changes();
    world.meddle(&changes);

    let (mut all, mut owed, mut rounds) = (0, 0, 0);
    let due: u64 = claims::all(&world.state).unwrap().values().map(|claim| PRICE * claim.waiting / (1 << 20)).sum();
    while claims::all(&world.state).unwrap().values().any(|claim| claim.waiting > 0) && rounds < 9 {
        let events = ended(&mut world, &without(&[5, 6]));
        let (got, reserve) = (payout(&world), views::totals(&world.state).unwrap().reserve.0);
        assert!(got.repair.0 <= (reserve + got.repair.0) / 2, "half of it stays");
        all += paid(&events).values().sum::<u64>();
        owed += charged(&events).values().sum::<u64>();
        rounds += 1;
    }
    assert!(all <= due && due - all <= 16 * rounds, "{all} of {due} in {rounds}: only roundings are lost");
    assert_eq!(owed, all);
}

#[test]
fn nobody_is_charged_for_what_its_stake_does_not_cover() {
    let mut world = two_gone();
    assert!(work(&mut world) > 0);
    ended(&mut world, &without(&[5, 6]));
    // As if it had lost its stake: the reserve has it.
    let mut overlay = Overlay::new(&world.state);
    for at in [5, 6] {
        let mut candidate = candidates::candidate(&overlay, &node(at)).unwrap().unwrap();
        let mut totals = money::totals(&overlay).unwrap();
        totals.stakes = Frost(totals.stakes.0 - candidate.stake.0 + 700);
        totals.reserve = Frost(totals.reserve.0 + candidate.stake.0 - 700);
        candidate.stake = Frost(700);
        candidates::put(&mut overlay, &candidate);
        money::put_totals(&mut overlay, &totals);
    }
    let changes = overlay.into_changes();
    world.meddle(&changes);
    let events = ended(&mut world, &without(&[5, 6]));
    let paid: u64 = paid(&events).values().sum();
    assert_eq!((paid, charged(&events).values().sum::<u64>()), (paid, paid));
    assert!(charged(&events).values().all(|charged| *charged <= 700) && paid > 0);
}

/// What nodes have together: balances and stakes, less what they owe.
fn wealth(world: &World, clique: &[usize]) -> i128 {
    let stake = |at: usize| views::candidate(&world.state, &node(at)).unwrap().map_or(0, |one| one.stake.0);
    let owed = debts(world);
    let of = |at: &usize| {
        i128::from(balance(world, *at)) + i128::from(stake(*at)) - i128::from(owed.get(at).copied().unwrap_or(0))
    };
    clique.iter().map(of).sum()
}

/// A clique drops what one of it keeps and another of it rebuilds it: compared with a world in which it does not.
#[test]
fn a_clique_that_drops_and_rebuilds_has_less_than_one_that_keeps() {
    let keeps = |away: &[usize]| {
        let mut world = World::new();
        world.store(blob(1), 100, &ALL);
        world.end_epoch(&ALL);
        for _ in 2..=4 {
            world.end_epoch(&without(away));
        }
        world.end_epoch(&without(&[&[5], away].concat()));
        world.end_epoch(&without(&[&[5], away].concat()));
        world
    };
    // Node 5 is away in both; node 6, of the clique, in one.
    let (mut drops, mut stays) = (keeps(&[6]), keeps(&[]));
    let spent = work(&mut drops) as i128 * i128::from(FEE.0);
    for _ in 0..3 {
        drops.end_epoch(&without(&[5, 6]));
        stays.end_epoch(&without(&[5]));
    }
    let clique = [0, 1, 2, 3, 4, 6];
    assert!(drops.epoch() == stays.epoch() && !debts(&drops).is_empty());
    assert!(wealth(&drops, &clique) + spent < wealth(&stays, &clique), "also without what attesting cost");
}

#[derive(Clone, Debug)]
struct Step {
    away: Vec<usize>,
    work: bool,
    withdraw: Option<usize>,
    attest: Option<(usize, u64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let away = prop_oneof![
        4 => Just(vec![5, 6]),
        2 => Just(vec![6]),
        1 => Just(vec![]),
        1 => Just(vec![1, 5, 6]),
        1 => proptest::sample::subsequence(ALL.to_vec(), 0..=3)
    ];
    let one = || prop_oneof![3 => Just(None), 1 => (0usize..9).prop_map(Some)];
    let attest = prop_oneof![4 => Just(None), 1 => (0usize..9, 0u64..3).prop_map(Some)];
    let step = (away, prop_oneof![3 => Just(true), 1 => Just(false)], one(), attest);
    let step = step.prop_map(|(away, work, withdraw, attest)| Step { away, work, withdraw, attest });
    proptest::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whoever is away, rebuilds, withdraws or says that it has what no ticket named: what is paid is charged, to whom it should
    /// be, no fragment of a row is paid twice, and what is owed is at stake.
    #[test]
    fn no_fragment_is_paid_twice_and_nothing_is_paid_that_nobody_owes(steps in steps()) {
        let mut world = World::new();
        for seed in 1..=3 {
            world.store(blob(seed), 200, &ALL);
        }
        (0..4).for_each(|_| drop(world.end_epoch(&without(&[6]))));
        let (mut all_paid, mut all_charged) = (0u64, 0u64);
        for Step { away, work: works, withdraw, attest: more } in steps {
            let rows = stand_ins(&world);
            if works {
                work(&mut world);
            }
            let held = |world: &World, row: &Row, number: u64| {
                let id = views::rows(&world.state).unwrap().find(row.shard, &row.holder).unwrap();
                coverage::covered(&world.state, tables::Table::Coverage, number, 3).unwrap().contains(id)
            };
            if let Some(row) = withdraw.and_then(|at| rows.get(at)) {
                (0..3).for_each(|number| if held(&world, row, number) { attest(&mut world, row, number, uncover) });
            }
            if let Some((row, number)) = more.and_then(|(at, number)| Some((rows.get(at)?, number)))
                && !held(&world, row, number)
            {
                attest(&mut world, row, number, cover);
            }
            let before = debts(&world);
            let events = ended(&mut world, &without(&away));
            let (got, owed) = (paid(&events), charged(&events));
            all_paid += got.values().sum::<u64>();
            all_charged += owed.values().sum::<u64>();
            prop_assert!(all_charged >= all_paid, "law I21");
            prop_assert_eq!(payout(&world).repair.0, got.values().sum::<u64>());
            let repaid = events.iter().filter_map(|event| match event {
                Event::DebtPaid { node, amount, .. } => Some((place(node), amount.0)),
                _ => None,
            });
            let mut wanted = before;
            owed.iter().for_each(|(at, amount)| *wanted.entry(*at).or_default() += amount);
            repaid.for_each(|(at, amount)| *wanted.get_mut(&at).unwrap() -= amount);
            wanted.retain(|_, owed| *owed > 0);
            prop_assert_eq!(debts(&world), wanted);
            for (at, owed) in debts(&world) {
                let stake = views::candidate(&world.state, &node(at)).unwrap().unwrap().stake.0;
                prop_assert!(owed <= stake, "node {} owes {} of {}", at, owed, stake);
            }
            // What a row claims, paid or not, is what it covers, each fragment once: no blob ends here.
            let mut claimed = BTreeMap::<RowId, u64>::new();
            for ((row, _), claim) in claims::all(&world.state).unwrap() {
                *claimed.entry(row).or_default() += claim.waiting + claim.rebuilt;
            }
            for (row, claimed) in claimed {
                let judged = |number: &u64| coverage::covered(&world.state, tables::Table::Judged, *number, 3).unwrap();
                let covers = (0..3).filter(|number| judged(number).contains(row)).count() as u64;
                prop_assert!(claimed <= covers * fragment(), "row {:?} claims {}", row, claimed);
            }
        }
    }
}
