//! The laws of the planner on random networks, each with mutants that show that its checker fires.
//!
//! A mutant is the planner under wrong constants or inputs, or a wrong copy of one function; the checkers see the right ones.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::twin::{Chance, real, tail};
use common::{Setting, committee};
use floe_risk::hazard::Presence;
use floe_risk::holding::{Report, Shards, Slots, attend, held};
use floe_risk::loss::Load;
use floe_risk::params::Life;
use floe_risk::planner::{
    Class, CoveringRow, Decision, Flag, Gap, GapCause, Group, Network, NodeIndex, OpenTicket, Outcome, Plan, Precision,
    RowKind, Verdict, Why, decide,
};
use floe_risk::reliability::Reliability;
use floe_risk::{Params, Probability};
use floe_types::{Epoch, EpochCount, ShardIndex};
use std::collections::BTreeSet;

const NOW: u64 = 500;

/// A network in some trouble with a few classes.
fn trouble(seed: u64) -> (Setting, Vec<Class>) {
    let mut chance = Chance::new(seed);
    let members = 7 + chance.below(20) as usize;
    let seats: Vec<u16> = (0..members).map(|_| 1 + chance.below(3) as u16).collect();
    let params = if chance.below(4) == 0 { Params::devnet() } else { Params::standard() };
    let mut setting = committee(params, &seats);
    let domains = 1 + chance.below(members as u64);
    let silent = chance.below(4);
    for node in &mut setting.nodes {
        node.domain = chance.below(domains) as u16;
        node.room = chance.below(12);
        node.hosted = chance.below(5);
        if chance.below(members as u64) < silent {
            node.presence = Presence::of_age(EpochCount(chance.below(60)));
        }
        node.reliability = Reliability::from_bits((1 << 32) - chance.below(1 << 29));
    }
    let classes = (0..1 + chance.below(5)).map(|_| class(&setting, &mut chance)).collect();
    (setting, classes)
}

fn class(setting: &Setting, chance: &mut Chance) -> Class {
    let mut class = setting.class.clone();
    let thin = 4 + chance.below(40);
    class.rows.retain(|_| chance.below(thin) > 0);
    let covered: BTreeSet<u16> = class.rows.iter().map(|row| row.shard.0).collect();
    for shard in (0..setting.seats.len() as u16).filter(|shard| !covered.contains(shard)) {
        let cause = [GapCause::Undelivered, GapCause::Withdrawn, GapCause::Vacated][chance.below(3) as usize];
        class.gaps.push(Gap { shard: ShardIndex(shard), cause, since: Epoch(NOW - chance.below(100)) });
        if chance.below(3) == 0 {
            let holder = NodeIndex(chance.below(setting.nodes.len() as u64) as u16);
            class.rows.push(CoveringRow { shard: ShardIndex(shard), holder, kind: RowKind::StandIn });
        }
    }
    class.flag = if chance.below(3) == 0 { Flag::Repairing } else { Flag::Calm };
    let life = |chance: &mut Chance| [Life::Lasting, Life::Lasting, Life::Ending, Life::Over][chance.below(4) as usize];
    let group = |chance: &mut Chance| Group {
        rotation: chance.below(16) as u16,
        life: life(chance),
        blobs: 1 + chance.below(8),
    };
    class.groups = (0..1 + chance.below(3)).map(|_| group(chance)).collect();
    class
}

/// Both risks of a class as given, from its rows alone, in floats.
fn oracle(setting: &Setting, network: &Network, class: &Class, outcome: &Outcome) -> (f64, f64) {
    let answers = |node: NodeIndex| setting.nodes[usize::from(node.0)].presence == Presence::Answering;
    let loss = |node: NodeIndex| {
        let node = setting.nodes[usize::from(node.0)];
        network.hazard().of_node(node.presence, node.reliability)
    };
    let mut weights = vec![0u16; setting.nodes.len()];
    for shard in 0..setting.seats.len() {
        let rows = class.rows.iter().filter(|row| usize::from(row.shard.0) == shard);
        if let Some(row) = rows.min_by_key(|row| (!answers(row.holder), loss(row.holder), row.kind, row.holder)) {
            weights[usize::from(row.holder.0)] += 1;
        }
    }
    let loads: Vec<Load> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| Load {
            domain: setting.nodes[at].domain,
            weight: *weight,
            loss: loss(NodeIndex(at as u16)),
        })
        .collect();
    let covered: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    let shocks = vec![network.hazard().of_domain(); setting.nodes.len()];
    let read = network.shards().readable();
    let at = |kept: u32| tail(&loads, &shocks, (covered + 1).saturating_sub(kept));
    (at(read), at(read + outcome.counts.byzantine))
}

/// I8, I9, I13 and I20 on a plan; the first violation in words.
fn violation(setting: &Setting, classes: &[Class], plan: &Plan) -> Option<String> {
    let network = setting.network();
    let repair = &setting.params.repair;
    let defended: u64 = classes.iter().map(Class::defended).sum();
    let cap = (defended * repair.quarter_pairs_per_blob / 4).max(setting.seats.len() as u64);
    let (mut capped, mut hosted) = (0, vec![0u64; setting.nodes.len()]);
    for (class, outcome) in classes.iter().zip(&plan.classes) {
        let (loss, margin) = oracle(setting, &network, class, outcome);
        if real(outcome.risks.loss) < loss * (1.0 - 1e-11) || real(outcome.risks.margin) < margin * (1.0 - 1e-11) {
            return Some(format!("I20: {:?} below {loss} or {margin}", outcome.risks));
        }
        let (bounds, shards) = (network.bounds(), network.shards());
        let passed = loss > real(bounds.loss) * (1.0 - 1e-3) || margin > real(bounds.margin) * (1.0 - 1e-3);
        let edge = outcome.counts.held <= shards.readable() + shards.faulty() / 2;
        for group in &outcome.groups {
            if class.groups[group.group].life == Life::Over {
                return Some("I8: a blob whose term is over is planned for".into());
            }
            if !passed && class.flag == Flag::Calm {
                return Some(format!("I9: repair begins at {loss} and {margin}"));
            }
            let far = loss > 999.0 * real(bounds.loss) || margin > 999.0 * real(bounds.margin);
            if !far && !edge {
                capped += group.blobs * group.tickets.len() as u64;
            }
            let mut seen = BTreeSet::new();
            let mut standing = vec![0u16; setting.nodes.len()];
            for row in class.rows.iter().filter(|row| row.kind == RowKind::StandIn) {
                standing[usize::from(row.holder.0)] += 1;
            }
            for ticket in &group.tickets {
                let target = usize::from(ticket.target.0);
                let early = |age: EpochCount| age < repair.patience && !edge;
                match ticket.why {
                    Why::Silent(age) | Why::Withdrawn(age) if early(age) => {
                        return Some(format!("I9: rebuilt at age {age}"));
                    }
                    _ => {}
                }
                if !seen.insert(ticket.shard) {
                    return Some("I13: a shard is planned twice".into());
                }
                if setting.nodes[target].presence != Presence::Answering {
                    return Some("a target that does not answer".into());
                }
                if ticket.row == RowKind::StandIn {
                    standing[target] += 1;
                    hosted[target] += group.blobs;
                    let seats = setting.seats.iter().filter(|seat| **seat == ticket.target).count() as u16;
                    if standing[target] > seats.div_ceil(2) || hosted[target] > setting.nodes[target].room {
                        return Some("a member keeps more for others than it may".into());
                    }
                }
            }
        }
        if outcome.groups.is_empty() == (outcome.verdict == Verdict::Repairing) {
            return Some("repairing without an entry, or an entry without saying so".into());
        }
    }
    (capped > cap).then(|| format!("I13: {capped} pairs, {cap} allowed"))
}

#[test]
fn no_law_is_broken_on_random_networks() {
    let mut planned = 0;
    for seed in 0..3_000 {
        let (setting, classes) = trouble(seed);
        let plan = decide(&setting.network(), Decision::Decided, Epoch(NOW), &classes).unwrap();
        assert_eq!(violation(&setting, &classes, &plan), None, "seed {seed}");
        planned += plan.classes.iter().filter(|outcome| !outcome.groups.is_empty()).count();
    }
    assert!(planned > 300, "only {planned} plans were made: nothing was shown");
}

/// How many seeds it takes until a mutant is seen.
fn caught(law: &str, mutate: impl Fn(&mut Setting, &mut Vec<Class>)) -> u64 {
    let seen = (0..500).find(|seed| {
        let (setting, classes) = trouble(*seed);
        let (mut wrong, mut given) = (setting.clone(), classes.clone());
        mutate(&mut wrong, &mut given);
        let plan = decide(&wrong.network(), Decision::Decided, Epoch(NOW), &given).unwrap();
        violation(&setting, &classes, &plan).is_some_and(|found| found.starts_with(law))
    });
    seen.unwrap_or_else(|| panic!("no seed shows the mutant of {law}"))
}

#[test]
fn a_planner_without_patience_is_caught() {
    caught("I9", |setting, _| setting.params.repair.patience = EpochCount(1));
}

#[test]
fn a_planner_that_begins_below_the_bound_is_caught() {
    caught("I9: repair begins", |setting, _| {
        setting.params.large.loss_e12 = 1;
        setting.params.large.margin_e12 = 1_000_000;
        setting.params.small.loss_e12 = 1_000;
        setting.params.small.margin_e12 = 1_000;
    });
}

#[test]
fn a_planner_without_a_cap_is_caught() {
    caught("I13", |setting, _| setting.params.repair.quarter_pairs_per_blob = 1 << 20);
}

#[test]
fn a_planner_that_is_not_told_of_the_end_of_a_term_is_caught() {
    caught("I8", |_, classes| {
        classes.iter_mut().flat_map(|class| &mut class.groups).for_each(|group| group.life = Life::Lasting);
    });
}

#[test]
fn a_planner_that_forgets_what_silence_means_is_caught() {
    caught("I20", |setting, _| {
        setting.params.departure_prior = EpochCount(1 << 30);
        setting.params.shock_prior = EpochCount(1 << 30);
    });
}

#[test]
fn a_risk_rounded_down_is_caught() {
    let down =
        |one: Probability, other: Probability| ((u128::from(one.bits()) * u128::from(other.bits())) >> 63) as u64;
    let mut chance = Chance::new(1);
    let below = (0..500).any(|_| {
        let (one, other) = (chance.probability(30), chance.probability(30));
        let exact = u128::from(one.bits()) * u128::from(other.bits());
        assert!(u128::from(one.times_up(other).bits()) << 63 >= exact, "I20");
        u128::from(down(one, other)) << 63 < exact
    });
    assert!(below);
}

#[test]
fn a_vote_with_f_instead_of_one_more_is_caught() {
    let mutant = |shards: Shards, own: u32, passes: u32| own + passes >= shards.faulty();
    let shards = Shards::of(10).unwrap();
    // I6: a target of one seat with its f - 1 friends.
    assert!(!held(shards, 1, 2) && mutant(shards, 1, 2));
}

#[test]
fn an_undecided_epoch_counted_as_a_miss_is_caught() {
    let slots = Slots { all: 6, decided: 3 };
    let right = attend(slots, 0, Report::Opened, EpochCount(0));
    assert_eq!((right.share, right.age), (None, EpochCount(0)));
    let mutant = attend(Slots { all: 6, decided: 6 }, 0, Report::Opened, EpochCount(0));
    assert_ne!((mutant.share, mutant.age), (right.share, right.age));
}

#[test]
fn one_outage_of_a_day_costs_nothing_in_committees_of_seven_and_more() {
    for (members, each) in [(7, 1), (7, 4), (8, 3), (9, 1), (10, 1), (12, 8), (13, 1), (31, 1), (31, 3), (100, 1)] {
        for age in 1..=24 {
            let mut setting = committee(Params::standard(), &vec![each; members]);
            setting.nodes[3].presence = Presence::of_age(EpochCount(age));
            let plan = decide(&setting.network(), Decision::Decided, Epoch(NOW), std::slice::from_ref(&setting.class))
                .unwrap();
            let outcome = &plan.classes[0];
            assert!(outcome.groups.is_empty() && outcome.refill.is_empty(), "I10: {members} x {each} at {age}");
        }
    }
}

#[test]
fn a_seat_that_answers_and_never_fills_its_gap_gives_it_up_to_a_stand_in() {
    // Two of seven withdrew what they had of four seats each: within a day there is a plan for it.
    let mut setting = committee(Params::devnet(), &[4; 7]);
    setting.class.rows.retain(|row| row.holder.0 > 1);
    let gap = |shard| Gap { shard: ShardIndex(shard), cause: GapCause::Withdrawn, since: Epoch(NOW - 20) };
    setting.class.gaps = (0..8).map(gap).collect();
    setting.class.flag = Flag::Repairing;
    let long = 2 * setting.params.repair.patience.0;
    let targets = |since: u64| {
        let open =
            |shard: u16| OpenTicket { shard: ShardIndex(shard), target: NodeIndex(shard / 4), since: Epoch(since) };
        let class = Class { open: (0..8).map(open).collect(), ..setting.class.clone() };
        let plan = decide(&setting.network(), Decision::Decided, Epoch(NOW), &[class]).unwrap();
        let tickets: Vec<_> = plan.classes[0].groups.iter().flat_map(|group| group.tickets.clone()).collect();
        assert!(!tickets.is_empty());
        tickets.into_iter().map(|ticket| (ticket.target.0, ticket.row)).collect::<Vec<_>>()
    };
    assert!(targets(NOW - long + 1).iter().all(|(target, row)| *target < 2 && *row == RowKind::Seat));
    assert!(targets(NOW - long).iter().all(|(target, row)| *target > 1 && *row == RowKind::StandIn));
}

#[test]
fn who_comes_back_with_its_data_is_sent_nothing() {
    for seed in 0..200 {
        let (mut setting, _) = trouble(seed);
        setting.nodes.iter_mut().for_each(|node| node.presence = Presence::Answering);
        let mut chance = Chance::new(seed);
        let stand_ins: Vec<_> = setting.class.rows.iter().filter(|_| chance.below(5) == 0).copied().collect();
        for row in &stand_ins {
            let other = (row.holder.0 + 1) % setting.nodes.len() as u16;
            setting.cover(row.shard.0, other, RowKind::StandIn);
        }
        setting.class.flag = Flag::Repairing;
        let plan =
            decide(&setting.network(), Decision::Decided, Epoch(NOW), std::slice::from_ref(&setting.class)).unwrap();
        let outcome = &plan.classes[0];
        assert_eq!((outcome.verdict, outcome.flag), (Verdict::Intact, Flag::Calm));
        assert!(outcome.groups.is_empty() && outcome.refill.is_empty(), "I11");
        assert_eq!(outcome.drops.len(), stand_ins.len(), "a copy that is needed no more is dropped");
    }
}

#[test]
fn the_order_of_rows_gaps_and_tickets_changes_nothing() {
    for seed in 0..300 {
        let (setting, classes) = trouble(seed);
        let mut turned = classes.clone();
        for class in &mut turned {
            class.rows.reverse();
            class.gaps.reverse();
        }
        let plan = |classes: &[Class]| decide(&setting.network(), Decision::Decided, Epoch(NOW), classes).unwrap();
        let (one, other) = (plan(&classes), plan(&turned));
        for (one, other) in one.classes.iter().zip(&other.classes) {
            assert_eq!((&one.groups, one.verdict, one.risks), (&other.groups, other.verdict, other.risks), "I14");
        }
    }
}

#[test]
fn nothing_new_is_planned_in_an_undecided_epoch() {
    for seed in 0..300 {
        let (setting, classes) = trouble(seed);
        let plan = decide(&setting.network(), Decision::Undecided, Epoch(NOW), &classes).unwrap();
        for (class, outcome) in classes.iter().zip(&plan.classes) {
            assert!(outcome.groups.is_empty());
            assert!(matches!(outcome.verdict, Verdict::Undecided | Verdict::Lost));
            assert!(outcome.flag == class.flag || outcome.verdict == Verdict::Lost);
        }
    }
}

#[test]
fn a_million_healthy_blobs_are_one_bound() {
    let mut setting = committee(Params::standard(), &[1; 100]);
    setting.class.groups[0].blobs = 1_000_000;
    setting.nodes[5].presence = Presence::of_age(EpochCount(30));
    let plan = decide(&setting.network(), Decision::Decided, Epoch(NOW), std::slice::from_ref(&setting.class)).unwrap();
    assert_eq!((plan.classes[0].precision, plan.classes[0].verdict), (Precision::Bound, Verdict::Tolerated));
}

#[test]
fn a_class_of_another_network_is_refused() {
    let mut setting = committee(Params::standard(), &[1; 7]);
    setting.cover(7, 0, RowKind::Former);
    let refused =
        decide(&setting.network(), Decision::Decided, Epoch(NOW), std::slice::from_ref(&setting.class)).unwrap_err();
    assert_eq!(refused.to_string(), "class 0 names shard 7 of 7");
    setting.class.rows.pop();
    setting.cover(6, 7, RowKind::Former);
    let refused =
        decide(&setting.network(), Decision::Decided, Epoch(NOW), std::slice::from_ref(&setting.class)).unwrap_err();
    assert_eq!(refused.to_string(), "shard 6 names node 7, beyond the 7 there are");
}
