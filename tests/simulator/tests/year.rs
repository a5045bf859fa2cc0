//! Figures of the year model in a small size, and a defect for each law that only years show.
//!
//! In full: `cargo run --release -p floe-simulator --bin floe-year`.
#![allow(clippy::unwrap_used, clippy::panic)]

use floe_simulator::year::figures::{self, Figure};
use floe_simulator::year::truth::Truth;
use floe_simulator::year::villains::flapper::{Away, Flapper};
use floe_simulator::year::villains::partial::Partial;
use floe_simulator::year::world::Flaw;
use floe_simulator::year::{Land, Villain, Weather, World};
use floe_types::EpochCount;
use floe_types::laws::Law;

type Villains = Vec<(usize, Box<dyn Villain>)>;

fn all_met(figures: Vec<Figure>) {
    figures.iter().for_each(|figure| println!("{figure}"));
    let missed: Vec<_> = figures.iter().filter(|figure| figure.met == Some(false)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn one_missing_percent_is_seen_and_five_trip_the_gauge_in_time() {
    let land = Land::whole(7, 64);
    let found = figures::partial(&land, 10_000, (60, 2), 8);
    // 99 % are promised; of 120 fewer than 114 would be one chance in ten thousand.
    assert!(figures::within(&found.seen, 8) >= 95.0, "{found:?}");
    let found = figures::partial(&land, 50_000, (60, 1), 6);
    assert!(figures::within(&found.tripped, 6) >= 95.0, "{found:?}");
    let found = figures::partial(&land, 500_000, (10, 1), 6);
    assert_eq!((figures::within(&found.seen, 1), figures::within(&found.excluded, 6)), (100.0, 100.0), "{found:?}");
}

#[test]
fn f_framers_make_nobody_absent_and_nothing_lost() {
    all_met(figures::framed(10, 120));
}

#[test]
fn who_answers_few_is_absent_or_unpaid() {
    all_met(figures::selective(10));
}

#[test]
fn who_fetches_moves_much_and_has_no_right_to_symbols() {
    all_met(figures::fetched(10));
}

#[test]
fn withdrawing_excuses_nothing_and_causes_no_storm() {
    all_met(figures::withdrawn(10, 48));
}

#[test]
fn absences_cost_what_they_last() {
    all_met(figures::absences(7));
}

#[test]
fn everybody_else_gets_nothing_out_of_it() {
    all_met(figures::others(10));
}

#[test]
fn a_clique_loses_nothing_and_is_found_out() {
    all_met(figures::cliques(10, 40));
}

#[test]
fn who_tries_many_beacons_is_asked_no_less() {
    all_met(figures::ground(7, (32, 6)));
}

#[test]
fn what_an_uploader_leaves_out_is_made_by_who_it_is_of() {
    all_met(figures::minimal(10));
}

#[test]
fn a_month_with_as_many_villains_as_are_borne() {
    for seed in 0..2 {
        all_met(figures::year(10, 400, seed));
    }
}

/// What is broken in so many epochs of a network of seven, of four shards each, with a flaw.
fn broken(flaw: Flaw, villains: Villains, epochs: u64) -> Vec<Law> {
    let mut world = World::begin(&Land::found((7, 4), 0, 32, |_, _| true), Weather::Fair, 3, villains);
    world.spoil(flaw);
    let mut truth = Truth::default();
    world.live(EpochCount(epochs), &mut truth);
    truth.bears_absence(12, world.rebuilt, !truth.excluded.is_empty());
    truth.laws.into_iter().collect()
}

#[test]
fn every_flaw_is_seen_by_the_checker_of_its_law() {
    let gone = |at: usize| -> (usize, Box<dyn Villain>) { (at, Box::new(Flapper { on: 0, off: 1 })) };
    let away = || -> Villains {
        (0..2).map(|at| -> (usize, Box<dyn Villain>) { (at, Box::new(Away { from: 4, epochs: 11 })) }).collect()
    };
    let half = || -> Villains { vec![(1, Box::new(Flapper { on: 1, off: 1 }))] };
    let lossy = || -> Villains { (0..2).map(|at| (at, Partial::of(900_000, at as u64))).collect() };
    let cases: [(Flaw, Law, Villains, u64); 8] = [
        (Flaw::LoseQuietly, Law::I3, lossy(), 12),
        (Flaw::OverlookOne, Law::I5, vec![], 3),
        (Flaw::VouchForAll, Law::I6, vec![gone(0)], 3),
        (Flaw::PlanForTheDead, Law::I8, vec![], 24),
        (Flaw::Impatience, Law::I9, away(), 40),
        (Flaw::Impatience, Law::I10, away(), 40),
        (Flaw::VouchForAll, Law::I12, half(), 16 * 24 + 1),
        (Flaw::PlanTwice, Law::I13, vec![gone(0), gone(1)], 40),
    ];
    for (flaw, law, villains, epochs) in cases {
        let found = broken(flaw, villains, epochs);
        assert!(found.contains(&law), "{flaw:?} is to break {law:?}: {found:?}");
    }
    let sound = broken(Flaw::None, away(), 40);
    assert_eq!(sound, vec![]);
}
