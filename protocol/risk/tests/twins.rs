//! Fixed point against floats and against enumeration: never below, and above by no more than the document's table.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::committee;
use common::twin::{Chance, distribution, enumerated, real, tail};
use floe_risk::loss::{Load, Scratch, Thresholds};
use floe_risk::planner::{Decision, decide};
use floe_risk::{Params, Probability};
use floe_types::Epoch;

/// A random committee: loads in domains with shocks, rare and likely losses mixed.
fn random(chance: &mut Chance, nodes: u64, weight: u64, domains: u64) -> (Vec<Load>, Vec<Probability>) {
    let bits = 1 + chance.below(12);
    let load = |chance: &mut Chance| Load {
        domain: chance.below(domains) as u16,
        weight: chance.below(weight + 1) as u16,
        loss: chance.probability(bits),
    };
    let loads = (0..nodes).map(|_| load(chance)).collect();
    let shocks = (0..domains).map(|_| if chance.below(3) == 0 { Probability::ZERO } else { chance.probability(20) });
    (loads, shocks.collect())
}

fn ours(scratch: &mut Scratch, loads: &[Load], shocks: &[Probability], at: Thresholds) -> (f64, f64) {
    scratch.clear();
    loads.iter().for_each(|load| scratch.add(*load));
    let risks = scratch.tails(shocks, at);
    (real(risks.loss), real(risks.margin))
}

/// Nodes, cases, and the document's worst relative excess above 1e-13. Its worst absolute one is 4.4e-16 with thresholds of `f + 1` and
/// `2f + 1`; ours are any, up to all the weight there is.
const TABLE: [(u64, u64, f64); 5] =
    [(4, 20_000, 1.7e-6), (7, 20_000, 4.5e-6), (10, 20_000, 8.5e-6), (31, 4_000, 6.6e-5), (100, 600, 6.3e-4)];

#[test]
fn no_risk_is_below_the_float_and_the_excess_is_within_the_table() {
    let mut scratch = Scratch::new();
    for (nodes, cases, most) in TABLE {
        let mut chance = Chance::new(nodes);
        let (mut absolute, mut relative) = (0.0f64, 0.0f64);
        for case in 0..cases {
            let domains = 1 + chance.below(nodes.min(10));
            let (loads, shocks) = random(&mut chance, nodes, 3, domains);
            let weight: u32 = loads.iter().map(|load| u32::from(load.weight)).sum();
            let loss = 1 + chance.below(u64::from(weight) + 1) as u32;
            let margin = chance.below(u64::from(loss) + 1) as u32;
            let (found, beside) = ours(&mut scratch, &loads, &shocks, Thresholds { loss, margin });
            let exact = distribution(&loads, &shocks);
            for (found, from) in [(found, loss), (beside, margin)] {
                let exact: f64 = exact.iter().skip(from as usize).rev().sum();
                assert!(found >= exact * (1.0 - 1e-11) - 1e-300, "I20: n={nodes} case {case}: {found} < {exact}");
                // Nearer to one the float's own last place is what would be measured.
                if exact < 0.5 {
                    absolute = absolute.max(found - exact);
                }
                if exact > 1e-13 {
                    relative = relative.max(found / exact - 1.0);
                }
            }
        }
        println!("n={nodes}: worst excess {absolute:.1e} absolute, {relative:.1e} relative above 1e-13");
        assert!(relative <= most, "n={nodes}: {relative}");
        assert!(absolute <= 1e-15, "n={nodes}: {absolute}");
    }
}

#[test]
fn no_risk_is_below_the_sum_over_all_outcomes() {
    let mut scratch = Scratch::new();
    let mut chance = Chance::new(11);
    let mut worst = 0.0f64;
    for case in 0..600 {
        let (nodes, domains) = (1 + chance.below(11), 1 + chance.below(4));
        let (loads, shocks) = random(&mut chance, nodes, 3, domains);
        let weight: u32 = loads.iter().map(|load| u32::from(load.weight)).sum();
        let from = 1 + chance.below(u64::from(weight) + 1) as u32;
        let exact = enumerated(&loads, &shocks, from);
        let (found, _) = ours(&mut scratch, &loads, &shocks, Thresholds { loss: from, margin: from });
        assert!(found >= exact * (1.0 - 1e-11), "I20: case {case}: {found} < {exact}");
        assert!((tail(&loads, &shocks, from) - exact).abs() <= exact * 1e-9 + 1e-18, "the twins agree");
        if exact > 1e-13 {
            worst = worst.max(found / exact - 1.0);
        }
    }
    assert!(worst < 1.2e-5, "{worst}");
}

#[test]
fn the_common_bound_is_above_every_class_that_only_seats_cover() {
    let mut chance = Chance::new(5);
    for case in 0..300 {
        let seats: Vec<u16> = (0..4 + chance.below(9)).map(|_| 1 + chance.below(4) as u16).collect();
        let mut setting = committee(Params::standard(), &seats);
        setting.class.rows.retain(|_| chance.below(8) > 0);
        let network = setting.network();
        let classes = [setting.class.clone()];
        let outcome = decide(&network, Decision::Decided, Epoch(9), &classes).unwrap().classes.remove(0);
        let (read, faulty) = (network.shards().readable(), network.shards().faulty());
        let covered = outcome.counts.covered;
        let mut exact = setting.class.clone();
        exact.flag = floe_risk::planner::Flag::Repairing;
        let exact = decide(&network, Decision::Decided, Epoch(9), &[exact]).unwrap().classes.remove(0);
        let bound = |kept: u32| network.at_least((covered + 1).saturating_sub(kept));
        assert!(bound(read) >= exact.risks.loss, "case {case}: {outcome:?}");
        assert!(bound(read + faulty) >= exact.risks.margin, "case {case}: {outcome:?}");
    }
}

#[test]
fn the_byzantine_margin_is_the_best_of_all_coalitions() {
    let mut chance = Chance::new(6);
    for case in 0..300 {
        let members = 4 + chance.below(7) as usize;
        let seats: Vec<u16> = (0..members).map(|_| 1 + chance.below(5) as u16).collect();
        let mut setting = committee(Params::standard(), &seats);
        // Move some shards to other holders, as stand-ins whose owner withdrew.
        for row in &mut setting.class.rows {
            if chance.below(4) == 0 {
                row.holder = floe_risk::planner::NodeIndex(chance.below(members as u64) as u16);
                row.kind = floe_risk::planner::RowKind::StandIn;
            }
        }
        let network = setting.network();
        let faulty = network.shards().faulty();
        let best = (0..1u32 << members).filter_map(|coalition| {
            let inside = |node: usize| coalition >> node & 1 == 1;
            let cost: u32 = (0..members).filter(|node| inside(*node)).map(|node| u32::from(seats[node])).sum();
            let held = setting.class.rows.iter().filter(|row| inside(usize::from(row.holder.0))).count() as u32;
            (cost <= faulty).then_some(held)
        });
        let best = best.max().unwrap();
        let plan = decide(&network, Decision::Decided, Epoch(9), std::slice::from_ref(&setting.class)).unwrap();
        assert_eq!(plan.classes[0].counts.byzantine, best, "case {case}");
    }
}
