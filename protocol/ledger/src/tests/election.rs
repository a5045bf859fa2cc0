//! Elections against the plainest forms of what they promise.

use crate::election::*;
use floe_types::{Epoch, Frost, NodeId, ShardIndex};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

fn node(at: usize) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(at as u64).to_be_bytes());
    NodeId(id)
}

fn contender(at: usize, stake: u64) -> Contender {
    Contender { node: node(at), stake: Frost(stake), room: 1024, domain: String::new(), claim: Claim::Stands }
}

/// `shards` seats dealt round to those of `stakes` that hold some; all stand.
fn election(shards: usize, holders: usize, stakes: &[u64]) -> Election {
    let faulty = ((shards - 1) / 3) as u16;
    Election {
        faulty,
        moves_max: faulty,
        by_choice_max: (faulty / 2).max(1),
        seats: (0..shards).map(|shard| node(shard % holders)).collect(),
        contenders: stakes.iter().enumerate().map(|(at, stake)| contender(at, *stake)).collect(),
        under_way: BTreeSet::new(),
        former: BTreeSet::new(),
    }
}

fn counts(seats: &[NodeId]) -> BTreeMap<NodeId, u16> {
    let mut counts = BTreeMap::new();
    seats.iter().for_each(|node| *counts.entry(*node).or_default() += 1);
    counts
}

fn held(outcome: &Outcome, at: usize) -> u16 {
    counts(&outcome.seats).get(&node(at)).copied().unwrap_or(0)
}

#[test]
fn nothing_moves_when_stakes_are_as_the_seats() {
    let outcome = election(28, 7, &[4; 7]).hold();
    assert_eq!(outcome.moves, vec![]);
    assert!(outcome.bounds.values().all(|bound| *bound == Bound::Stake));
}

#[test]
fn a_newcomer_gets_its_share_over_several_terms_at_most_half_of_f_each() {
    let mut now = election(28, 7, &[4, 4, 4, 4, 4, 4, 4, 28]);
    let mut got = Vec::new();
    loop {
        let outcome = now.hold();
        if outcome.moves.is_empty() {
            break;
        }
        assert!(outcome.moves.iter().all(|one| one.to == node(7) && one.why == Why::Stake));
        got.push(held(&outcome, 7));
        now.seats = outcome.seats;
    }
    // f = 9: four a term, and no more than nine seats whatever the stake.
    assert_eq!(got, vec![4, 8, 9]);
    assert_eq!(now.hold().bounds[&node(7)], Bound::NodeCap);
}

#[test]
fn who_gives_notice_is_emptied_first_and_who_is_excluded_at_once() {
    let mut now = election(28, 7, &[4; 7]);
    now.contenders[2].claim = Claim::Gives { since: Epoch(3) };
    now.contenders[5].claim = Claim::Gives { since: Epoch(2) };
    let outcome = now.hold();
    assert_eq!((held(&outcome, 5), held(&outcome, 2)), (0, 4));
    now.contenders[6].claim = Claim::MustGive;
    let outcome = now.hold();
    // Nine in all: four of the excluded, four by choice.
    assert_eq!((held(&outcome, 6), held(&outcome, 5), held(&outcome, 2)), (0, 0, 4));
    assert_eq!(outcome.moves.len(), 8);
    assert_eq!(outcome.bounds[&node(6)], Bound::NotStanding);
}

#[test]
fn a_seat_that_fits_nowhere_stays() {
    let mut now = election(28, 4, &[7; 4]);
    now.contenders[0].claim = Claim::MustGive;
    for contender in &mut now.contenders[1..] {
        contender.room = 7;
    }
    let outcome = now.hold();
    assert_eq!((outcome.moves.len(), held(&outcome, 0)), (0, 7));
    assert_eq!(outcome.bounds[&node(1)], Bound::Capacity);
    // Room for two more of them.
    now.contenders[2].room = 9;
    let outcome = now.hold();
    assert_eq!((outcome.moves.len(), held(&outcome, 0), held(&outcome, 2)), (2, 5, 9));
}

#[test]
fn a_domain_holds_no_more_than_f_and_every_word_is_one() {
    let mut now = election(28, 7, &[4, 4, 4, 4, 4, 4, 4, 100, 100]);
    now.contenders[7].domain = "isp:a city:x".into();
    now.contenders[8].domain = "isp:b city:x".into();
    let mut outcome = now.hold();
    while !outcome.moves.is_empty() {
        now.seats = outcome.seats;
        outcome = now.hold();
    }
    assert_eq!(held(&outcome, 7) + held(&outcome, 8), 9);
    assert_eq!(outcome.bounds[&node(7)], Bound::DomainCap { domain: "city:x".into() });
    assert_eq!(crowded(9, &now.contenders, &outcome.seats), vec![("city:x".to_owned(), 9), ("isp:a".to_owned(), 5)]);
}

#[test]
fn a_domain_that_grew_too_full_is_relieved() {
    let mut now = election(28, 7, &[4; 7]);
    for at in [0, 1, 2] {
        now.contenders[at].domain = "isp:a".into();
    }
    let outcome = now.hold();
    assert_eq!([0, 1, 2].map(|at| held(&outcome, at)).iter().sum::<u16>(), 9);
    assert!(outcome.moves.iter().all(|one| one.why == Why::Caps) && outcome.moves.len() == 3);
}

#[test]
fn hand_overs_under_way_count_and_may_move_again() {
    let mut now = election(28, 7, &[4; 7]);
    now.contenders[0].claim = Claim::MustGive;
    now.under_way = (1..10).map(ShardIndex).collect();
    // Node 0 holds 0, 7, 14, 21: only shard 7 is under way, nine are already.
    let outcome = now.hold();
    assert_eq!(outcome.moves.iter().map(|one| one.shard.0).collect::<Vec<_>>(), vec![7]);
}

#[test]
fn a_shard_goes_back_to_who_still_has_its_fragments() {
    let mut now = election(28, 7, &[4, 4, 4, 4, 4, 4, 4, 4]);
    now.contenders[0].claim = Claim::MustGive;
    now.former = [(node(7), ShardIndex(7))].into();
    let outcome = now.hold();
    assert!(outcome.moves.iter().any(|one| one.shard == ShardIndex(7) && one.to == node(7)));
}

fn quotients(a: (u64, u16), b: (u64, u16)) -> Ordering {
    (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1)))
}

/// Seats by highest averages from nothing, nobody above `cap`.
fn slow(stakes: &[u64], shards: usize, cap: u16) -> Vec<u16> {
    let mut seats = vec![0u16; stakes.len()];
    for _ in 0..shards {
        let able = (0..stakes.len()).filter(|at| seats[*at] < cap);
        let best = able.max_by(|a, b| quotients((stakes[*a], seats[*a] + 1), (stakes[*b], seats[*b] + 1)));
        if let Some(best) = best {
            seats[best] += 1;
        }
    }
    seats
}

fn any_election() -> impl Strategy<Value = Election> {
    let one = (1u64..1_000_000, 0u16..12, 0usize..6, 0u8..8);
    (4usize..40, 1usize..8, proptest::collection::vec(one, 8..14), any::<u64>()).prop_map(
        |(shards, holders, ones, chance)| {
            let stakes: Vec<u64> = ones.iter().map(|(stake, ..)| *stake).collect();
            let mut now = election(shards, holders, &stakes);
            for (contender, (_, room, domain, claim)) in now.contenders.iter_mut().zip(&ones) {
                contender.room = if *room < 6 { 1024 } else { *room };
                contender.domain = ["", "a", "b", "a c", "b c", "d"][*domain].to_owned();
                contender.claim = match claim {
                    0 => Claim::MustGive,
                    1 => Claim::Gives { since: Epoch(1) },
                    _ => Claim::Stands,
                };
            }
            let bit = |at: usize| chance >> (at % 64) & 1 == 1;
            now.under_way = (0..shards)
                .filter(|at| bit(*at) && bit(at + 7) && bit(at + 13))
                .map(|at| ShardIndex(at as u16))
                .collect();
            now.former = (0..shards).filter(|at| bit(at + 3)).map(|at| (node(at % 9), ShardIndex(at as u16))).collect();
            now
        },
    )
}

/// Laws EL-1 and EL-2.
fn check(before: &Election, outcome: &Outcome) -> Result<(), TestCaseError> {
    prop_assert_eq!(outcome.seats.len(), before.seats.len());
    let mut expected = before.seats.clone();
    let mut moved = BTreeSet::new();
    for one in &outcome.moves {
        prop_assert!(moved.insert(one.shard), "a shard moves twice");
        let seat = &mut expected[usize::from(one.shard.0)];
        prop_assert!(*seat == one.from && one.from != one.to);
        *seat = one.to;
    }
    prop_assert_eq!(&expected, &outcome.seats);
    let by_choice = outcome.moves.iter().filter(|one| one.why != Why::Excluded).count();
    prop_assert!(by_choice <= usize::from(before.by_choice_max));
    let waiting = moved.union(&before.under_way).count();
    let most = usize::from(before.moves_max).max(before.under_way.len());
    prop_assert!(waiting <= most, "{} shards wait, at most {} may", waiting, most);
    let (was, is) = (counts(&before.seats), counts(&outcome.seats));
    let seats = |counts: &BTreeMap<NodeId, u16>, one: &Contender| counts.get(&one.node).copied().unwrap_or(0);
    for one in &before.contenders {
        if seats(&is, one) > seats(&was, one) {
            prop_assert!(one.claim == Claim::Stands);
            prop_assert!(seats(&is, one) <= one.room.min(before.faulty));
        }
    }
    for domain in ["a", "b", "c", "d"] {
        let inside = |one: &&Contender| one.domain.split(' ').any(|word| word == domain);
        let sum = |counts| before.contenders.iter().filter(inside).map(|one| seats(counts, one)).sum::<u16>();
        prop_assert!(sum(&is) <= before.faulty.max(sum(&was)), "domain {} has {}", domain, sum(&is));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_caps_and_limits_hold_and_it_comes_to_rest(first in any_election()) {
        let mut now = first;
        for term in 0.. {
            let outcome = now.hold();
            check(&now, &outcome)?;
            prop_assert_eq!(&outcome, &now.hold());
            if outcome.moves.is_empty() {
                break;
            }
            prop_assert!(term < 80, "it moves for ever");
            now.seats = outcome.seats;
        }
    }

    #[test]
    fn in_time_seats_are_those_of_highest_averages(
        shards in 4usize..40, stakes in proptest::collection::vec(1u64..1_000_000, 4..12), holders in 1usize..4,
    ) {
        let mut now = election(shards, holders, &stakes);
        while !now.hold().moves.is_empty() {
            now.seats = now.hold().seats;
        }
        let (is, cap) = (counts(&now.seats), now.faulty);
        let seats: Vec<u16> = (0..stakes.len()).map(|at| is.get(&node(at)).copied().unwrap_or(0)).collect();
        if usize::from(cap) * stakes.len() < shards {
            return Ok(());
        }
        // No seat is better placed elsewhere.
        for to in (0..stakes.len()).filter(|to| seats[*to] < cap) {
            for from in (0..stakes.len()).filter(|from| seats[*from] > 0 && from != &to) {
                prop_assert!(quotients((stakes[to], seats[to] + 1), (stakes[from], seats[from])) != Ordering::Greater);
            }
        }
        // And so they are the plain apportionment, where that is only one.
        let model = slow(&stakes, shards, cap);
        let tie = |at: usize, other: usize| {
            at != other && model[at] > 0 && model[other] < cap
                && quotients((stakes[at], model[at]), (stakes[other], model[other] + 1)) == Ordering::Equal
        };
        if !(0..stakes.len()).any(|at| (0..stakes.len()).any(|other| tie(at, other))) {
            prop_assert_eq!(seats, model);
        }
    }
}
