//! The planner that ships, on traces of outages, departures, disasters and rot, against eager, timeout and threshold repair.
//!
//! `cargo run --release -p floe-risk --example traces -- [--quick] [--plot FILE] [--nodes N,...] [--profile NAME]
//! [--years N] [--seeds N] [--policies few]`
//!
//! Costs are in pairs (a fragment) per blob and year; the *floor* is one pair for each permanent departure. The chances are
//! the exact model's, integrated along the true trajectory with the true rates, not with what the planner believes. Ten-minute
//! ticks, hourly decisions, one seat a node, forty blobs that live 180 days in the mean; seeds are fixed. `--quick`
//! shows three policies on mild traces: a minute or two.
#![allow(clippy::unwrap_used, missing_docs, reason = "an example")]

mod exact;
mod plot;
mod policy;
mod run;
mod world;

use policy::{Line, Policy};
use run::{Tally, run};
use world::{PROFILES, trace};

/// One line of the table.
pub struct Row {
    pub nodes: usize,
    pub profile: &'static str,
    pub policy: Policy,
    pub tally: Tally,
}

impl Row {
    pub fn cost(&self) -> f64 {
        self.tally.pairs / self.tally.blob_years
    }

    pub fn over_floor(&self) -> f64 {
        self.tally.pairs / self.tally.floor.max(1.0)
    }

    fn chance(&self, at: usize) -> f64 {
        self.tally.expected[at] / self.tally.blob_years
    }

    fn print(&self) {
        let tally = &self.tally;
        println!(
            "| {} {} | {} | {:.1} | {:.2} | {:.0} % | {:.2} | {:.0} | {:.1e} | {:.1e} | {:.1e} | {} |",
            self.nodes,
            self.profile,
            self.policy.name(),
            self.cost(),
            self.over_floor(),
            100.0 * tally.wasted / tally.pairs.max(1.0),
            tally.peak,
            tally.classic / tally.blob_years,
            self.chance(1),
            self.chance(2),
            self.chance(0),
            tally.lost,
        );
    }
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|one| one == name).and_then(|at| arguments.get(at + 1));
    let quick = arguments.iter().any(|one| one == "--quick");
    let sizes: Vec<usize> = match value("--nodes") {
        Some(list) => list.split(',').map(|one| one.parse().unwrap()).collect(),
        None => vec![4, 7, 10, 31, 100],
    };
    let number = |name: &str, default: u64| value(name).map_or(default, |one| one.parse().unwrap());
    let years = number("--years", if quick { 3 } else { 5 }) as usize;
    let seeds = number("--seeds", if quick { 2 } else { 6 });
    let policies = [
        Policy::Never,
        Policy::Timeout(1),
        Policy::Timeout(4),
        Policy::Timeout(24),
        Policy::Timeout(72),
        Policy::Threshold(Line::Quorum),
        Policy::Threshold(Line::Near),
        Policy::Risk(1_000),
    ];
    let few = [Policy::Timeout(1), Policy::Timeout(24), Policy::Risk(1_000)];
    let policies = if quick || value("--policies").is_some() { &few[..] } else { &policies[..] };
    println!("{years} years, {seeds} seeds, 40 blobs, one seat a node");
    println!(
        "| case | policy | pairs/blob-yr | x floor | wasted | peak 1 h | classic RS | E[< k+f]/yr | E[< k+b]/yr | E[loss]/yr | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let only = value("--profile").map(String::as_str).or(quick.then_some("mild"));
    let shown = |name: &str| only.is_none_or(|only| only == name);
    let mut rows = Vec::new();
    for profile in PROFILES.iter().filter(|profile| shown(profile.name)) {
        for nodes in &sizes {
            // Large committees are slow to follow and smooth enough in a year.
            let (years, seeds) = if quick && *nodes >= 100 { (1, 1) } else { (years, seeds) };
            let mut tallies = vec![Tally::default(); policies.len()];
            for seed in 1..=seeds {
                let trace = trace(*nodes, years * 8_766, profile, seed * 1_000 + *nodes as u64);
                for (policy, tally) in policies.iter().zip(&mut tallies) {
                    tally.add(&run(&trace, profile, *policy, 40, seed));
                }
            }
            for (policy, tally) in policies.iter().zip(tallies) {
                let row = Row { nodes: *nodes, profile: profile.name, policy: *policy, tally };
                row.print();
                rows.push(row);
            }
        }
    }
    let missed = goals(&rows);
    if let Some(path) = value("--plot").or(value("--svg")) {
        std::fs::write(path, plot::svg(&rows)).unwrap();
        println!("plot written to {path}");
    }
    if missed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

/// The goals of the reliability document, each with what was reached. Gives how many were missed.
fn goals(rows: &[Row]) -> usize {
    let missed = std::cell::Cell::new(0);
    let find = |nodes: usize, policy: Policy| {
        rows.iter().find(|row| row.nodes == nodes && row.profile == "mild" && row.policy == policy)
    };
    let say = |what: &str, found: f64, goal: f64, good: bool| {
        missed.set(missed.get() + usize::from(!good));
        println!("{} {what}: {found:.2} (goal {goal})", if good { "met   " } else { "MISSED" });
    };
    println!();
    for (nodes, floor, eager) in [(10, 2.5, 10.0), (31, 1.35, 15.0), (100, 1.2, 15.0)] {
        let (Some(ours), Some(theirs)) = (find(nodes, Policy::Risk(1_000)), find(nodes, Policy::Timeout(1))) else {
            continue;
        };
        let (reached, below) = (ours.over_floor(), theirs.cost() / ours.cost());
        say(&format!("n={nodes} mild, times the floor"), reached, floor, reached <= floor);
        say(&format!("n={nodes} mild, times below eager"), below, eager, below >= eager);
        if nodes == 31 {
            say("n=31 mild, peak pairs per blob and hour", ours.tally.peak, 5.0, ours.tally.peak <= 5.0);
        }
        // Below the last place of the arithmetic, 3.4e-14 a year, nothing tells one policy from another.
        let ratio = ours.chance(0).max(3.4e-14) / theirs.chance(0).max(3.4e-14);
        say(&format!("n={nodes} mild, E[loss] over eager's"), ratio, 2.0, ratio <= 2.0);
    }
    missed.get()
}
