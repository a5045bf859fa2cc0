//! The devnet preset at work: seven nodes of four shards, and what the documents say one sees on it.
//!
//! The document's figures were made with the margin `p + f`; ours use `p + b`. Without stand-ins two members of four seats
//! are eight of the nine there may be, and both thresholds lie between the same nodes. With stand-ins they part, and our own
//! numbers are asserted.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::twin::{real, tail};
use common::{Setting, committee};
use floe_risk::hazard::Presence;
use floe_risk::loss::Load;
use floe_risk::planner::{Decision, Flag, Network, NodeIndex, Outcome, RowKind, Verdict, decide, ruler};
use floe_risk::{Params, Probability};
use floe_types::{Epoch, EpochCount};

fn devnet(ages: &[u64]) -> Setting {
    let mut setting = committee(Params::devnet(), &[4; 7]);
    for (at, age) in ages.iter().enumerate() {
        setting.nodes[at].presence = Presence::of_age(EpochCount(*age));
    }
    setting
}

fn judge(setting: &Setting, now: u64) -> Outcome {
    let plan = decide(&setting.network(), Decision::Decided, Epoch(now), std::slice::from_ref(&setting.class)).unwrap();
    plan.classes.into_iter().next().unwrap()
}

/// The margin risk in thousandths of its bound, exactly.
fn times(setting: &Setting) -> u64 {
    let mut setting = setting.clone();
    setting.class.flag = Flag::Repairing;
    let outcome = judge(&setting, 100);
    outcome.risks.margin.thousandths_of(setting.network().bounds().margin)
}

fn near(found: u64, expected: u64) -> bool {
    found.abs_diff(expected) * 100 <= expected * 6 + 100
}

#[test]
fn times_the_bound_are_those_of_the_document() {
    // State, the document's figure in thousandths, ours.
    let table: [(&[u64], u64, u64); 10] = [
        (&[], 2, 3),
        (&[1], 80, 87),
        (&[2], 140, 142),
        (&[3], 180, 184),
        (&[6], 250, 259),
        (&[100], 340, 344),
        (&[1, 1], 2_600, 2_690),
        (&[2, 1], 4_200, 4_310),
        (&[3, 1], 5_500, 5_580),
        (&[2, 2], 6_900, 7_020),
    ];
    for (ages, document, ours) in table {
        let found = times(&devnet(ages));
        println!("{ages:?}: {found}");
        assert!(near(found, ours), "{ages:?}: {found}, expected {ours}");
        assert!(found.abs_diff(document) * 100 <= document * 10 + 200, "{ages:?}: {found} is far from {document}");
    }
}

#[test]
fn one_silent_node_is_never_repaired() {
    for age in 1..40 {
        let outcome = judge(&devnet(&[age]), 100);
        assert_eq!((outcome.verdict, outcome.starts), (Verdict::Tolerated, None), "{age}");
    }
}

#[test]
fn a_second_silent_node_passes_the_bound_at_once_and_both_are_rebuilt_together() {
    // The older one alone would gain nothing: its stand-ins hold more than two members may feign.
    let waiting = judge(&devnet(&[3, 1]), 100);
    assert_eq!((waiting.verdict, waiting.starts), (Verdict::Tolerated, Some(Epoch(101))));
    assert!(waiting.urgency > 5_000);
    let mut setting = devnet(&[4, 2]);
    let started = judge(&setting, 101);
    assert_eq!((started.verdict, started.flag), (Verdict::Repairing, Flag::Repairing));
    let tickets = &started.groups[0].tickets;
    // All four of the older one, and of the younger so many that it and one more are not enough.
    assert_eq!(tickets.len(), 5);
    assert!(
        tickets.iter().take(4).all(|ticket| setting.class.rows[usize::from(ticket.shard.0)].holder == NodeIndex(0))
    );
    setting.attest(tickets);
    setting.class.flag = Flag::Repairing;
    let done = judge(&setting, 102);
    println!("after: {done:?}");
    assert_eq!((done.verdict, done.flag), (Verdict::Tolerated, Flag::Calm), "it leaves repair after one epoch");
    assert!(near(times(&setting), 229), "two of five: {}", times(&setting));
    let mut held: Vec<u32> = (2..7).map(|node| setting.held_by(node)).collect();
    held.sort_unstable();
    assert_eq!(held, [5; 5]);
    assert!(done.risks.loss.thousandths_of(setting.network().bounds().loss) < 10);
}

#[test]
fn four_of_the_older_one_are_fewer_than_the_margin_of_their_stand_ins() {
    let mut setting = devnet(&[3, 1]);
    for (shard, target) in [(0, 2), (1, 3), (2, 4), (3, 5)] {
        setting.cover(shard, target, RowKind::StandIn);
    }
    // The document has 0.16 with p + f; with two stand-ins of five shards `b` is ten.
    let found = times(&setting);
    println!("5 5 5 5 4 and one silent: {found}");
    let outcome = judge(&setting, 100);
    assert_eq!(outcome.counts.byzantine, 10);
    assert!(found > 5_000, "{found}");
}

/// The margin risk with `p + f`, in thousandths of the bound, by the twin: the document's own way.
fn as_documented(setting: &Setting) -> u64 {
    let network = setting.network();
    let loads: Vec<Load> = (0..setting.nodes.len())
        .map(|node| {
            let of = setting.nodes[node];
            let loss = network.hazard().of_node(of.presence, of.reliability);
            Load { domain: node as u16, weight: setting.counted(node as u16), loss }
        })
        .collect();
    let covered: u32 = loads.iter().map(|load| u32::from(load.weight)).sum();
    let shocks = vec![network.hazard().of_domain(); loads.len()];
    let kept = network.shards().readable() + network.shards().faulty();
    let risk = tail(&loads, &shocks, (covered + 1).saturating_sub(kept));
    (risk / real(network.bounds().margin) * 1_000.0).round() as u64
}

/// A state of the document: its ages, how many of the first and of the second node's shards stand-ins have, the document's figure
/// (with `p + f`), ours (with `p + b`); all in thousandths of the bound.
const REBUILT: [(&[u64], u16, u16, u64, u64); 11] = [
    (&[3, 1], 0, 0, 5_500, 5_587),
    (&[3, 1], 1, 0, 5_500, 5_587),
    (&[3, 1], 2, 0, 5_500, 7_556),
    (&[3, 1], 3, 0, 3_400, 8_528),
    (&[3, 1], 4, 0, 160, 8_405),
    (&[3, 1], 4, 4, 220, 234),
    (&[4, 2], 4, 0, 170, 13_643),
    (&[5, 3], 4, 0, 180, 17_683),
    (&[12, 10], 4, 0, 210, 28_837),
    (&[4, 0], 4, 0, 140, 327),
    (&[4, 0, 2], 4, 0, 10_000, 16_982),
];

#[test]
fn every_state_of_the_document_has_its_figure_and_ours_beside_it() {
    for (ages, first, second, document, ours) in REBUILT {
        let mut setting = devnet(ages);
        for at in 0..first {
            setting.cover(at, 2 + at, RowKind::StandIn);
        }
        for at in 0..second {
            setting.cover(4 + at, 2 + (at + 4) % 5, RowKind::StandIn);
        }
        let (twin, found) = (as_documented(&setting), times(&setting));
        println!("{ages:?} {first} {second}: the document {document}, its way {twin}, with p + b {found}");
        assert!(twin.abs_diff(document) * 100 <= document * 10 + 200, "{ages:?} {first}: {twin}, not {document}");
        assert!(near(found, ours), "{ages:?} {first} {second}: {found}, expected {ours}");
    }
}

#[test]
fn who_returns_takes_its_place_and_nothing_is_sent() {
    let mut setting = devnet(&[4, 2]);
    let tickets = judge(&setting, 101).groups[0].tickets.clone();
    setting.attest(&tickets);
    setting.nodes[0].presence = Presence::Answering;
    setting.nodes[1].presence = Presence::Answering;
    let outcome = judge(&setting, 110);
    assert_eq!((outcome.verdict, outcome.counts.held), (Verdict::Intact, 28));
    assert_eq!((outcome.groups.len(), outcome.refill.len(), outcome.drops.len()), (0, 0, 5));
}

#[test]
fn the_line_of_a_healthy_devnet_is_twenty() {
    let healthy = devnet(&[]);
    let found = ruler(&healthy.network(), &healthy.class).unwrap();
    assert_eq!((found.held, found.repair, found.decide, found.read), (28, Some(20), 18, 10));
    assert_eq!((found.margins.shards, found.margins.nodes, found.margins.domains), (18, 4, 4));
    // The first gone for good, its four at four neighbours: the next one of five shards is one too many.
    let mut rebuilt = devnet(&[4]);
    (0..4).for_each(|at| rebuilt.cover(at, 2 + at, RowKind::StandIn));
    assert_eq!(ruler(&rebuilt.network(), &rebuilt.class).unwrap().repair, Some(23));
}

#[test]
fn twelve_members_with_the_defaults_have_their_line_at_73() {
    let mut seats = [8u16; 12];
    seats[..4].fill(9);
    let setting = committee(Params::standard(), &seats);
    let found = ruler(&setting.network(), &setting.class).unwrap();
    assert_eq!((found.held, found.repair), (100, Some(73)));
}

/// Members, the document's figure (times the bound, in thousandths), ours. They differ where `b` is well below `f`: of five
/// members only one of six seats fits into nine, so that `b` is six.
const OTHERS: [(usize, u64, u64); 6] =
    [(4, 24_000, 24_804), (5, 32_000, 141), (6, 24_000, 24_828), (7, 340, 351), (8, 500, 490), (9, 600, 652)];

#[test]
fn a_ruler_says_when_repair_begins_if_nothing_changes() {
    let begins = |setting: &Setting| ruler(&setting.network(), &setting.class).unwrap().begins_in.map(|wait| wait.0);
    // Nobody is silent; one is, which never passes a bound; two are, which passes at once and waits for patience alone.
    assert_eq!([begins(&devnet(&[])), begins(&devnet(&[1])), begins(&devnet(&[30]))], [None; 3]);
    assert_eq!(
        [begins(&devnet(&[1, 1])), begins(&devnet(&[2, 1])), begins(&devnet(&[9, 4]))],
        [Some(1), Some(0), Some(0)]
    );
    // So few that patience is not waited for.
    assert_eq!(begins(&devnet(&[1, 1, 1, 1])), Some(0));
    let mut seats = [8u16; 12];
    seats[..4].fill(9);
    let twelve = |ages: &[u64]| {
        let mut setting = committee(Params::standard(), &seats);
        for (at, age) in ages.iter().enumerate() {
            setting.nodes[at].presence = Presence::of_age(EpochCount(*age));
        }
        setting
    };
    assert_eq!(begins(&twelve(&[5])), None);
    // The twin: silences that are that much longer pass a bound, one less does not.
    let wait = begins(&twelve(&[2, 2])).unwrap();
    let passes = |age: u64| {
        let setting = twelve(&[age, age]);
        let found = ruler(&setting.network(), &setting.class).unwrap();
        found.repair == Some(found.held)
    };
    println!("two of twelve, silent for two epochs: begins in {wait}");
    assert!(wait > 0 && passes(2 + wait) && (!passes(1 + wait) || wait == 10));
}

#[test]
fn one_gone_for_ever_in_other_committees_of_28_shards() {
    for (members, document, ours) in OTHERS {
        let seats: Vec<u16> = (0..members).map(|at| (28 / members + usize::from(at < 28 % members)) as u16).collect();
        let mut setting = committee(Params::devnet(), &seats);
        setting.nodes[0].presence = Presence::Silent(EpochCount(100));
        let found = times(&setting);
        println!("{members} members, one gone: {found}, the document has {document}");
        assert!(near(found, ours), "{members}: {found}, expected {ours}");
    }
}

#[test]
fn loss_stays_far_below_its_bound_throughout() {
    for ages in [&[1u64, 1][..], &[3, 1], &[10, 10]] {
        let setting = devnet(ages);
        let network: Network = setting.network();
        let outcome = judge(&setting, 100);
        assert!(outcome.risks.loss < network.bounds().loss && outcome.risks.loss > Probability::ZERO);
    }
}

/// The document's defaults on seven members of four: its figure for one silent hour, 5.7, is over four times what an intact
/// blob has. Over four times what the blob has at best *reach* it is nothing: six members of four and five shards.
#[test]
fn with_the_large_networks_bounds_one_silent_node_is_near_what_can_be_reached() {
    let mut setting = committee(Params::standard(), &[4; 7]);
    setting.params.large_from = 1;
    setting.class.flag = Flag::Repairing;
    let intact = judge(&setting, 100).risks;
    let silent = |setting: &mut Setting, age: u64| {
        setting.nodes[0].presence = Presence::Silent(EpochCount(age));
        judge(setting, 100)
    };
    let hour = silent(&mut setting, 1);
    let over = hour.risks.loss.thousandths_of(intact.loss.scaled(4));
    assert!(near(over, 5_700), "{over}");
    assert!(hour.risks.loss < hour.lines.trigger.loss);
    let bound = setting.network().bounds().margin;
    let first = (1..100).find(|age| silent(&mut setting, *age).risks.margin > bound);
    assert_eq!(first, Some(21), "the document has 22, without shocks");
}

#[test]
fn twelve_members_tolerate_one_silent_and_pass_with_two() {
    let mut seats = [8u16; 12];
    seats[..4].fill(9);
    let mut setting = committee(Params::standard(), &seats);
    let passes = |setting: &mut Setting, silent: usize, age: u64| {
        for node in 0..silent {
            setting.nodes[node].presence = Presence::Silent(EpochCount(age));
        }
        setting.class.flag = Flag::Repairing;
        judge(setting, 500).urgency
    };
    assert!((1..300).all(|age| passes(&mut setting, 1, age) < 1_000));
    let second = (1..300).find(|age| passes(&mut setting, 2, *age) > 1_000);
    let third = passes(&mut setting, 3, 12);
    assert_eq!(second, Some(14));
    assert!(near(third, 26_000), "{third}");
}
