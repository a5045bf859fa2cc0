//! Runs seeds of the simulator and says what they did.
//!
//! `floe-sim --seed 4711` runs one seed and prints its end in words; `floe-sim --seeds 0..1000` runs many and sums up. One
//! seed in fifty is run twice and must do the same again.

use clap::Parser;
use floe_simulator::mutant::Mutant;
use floe_simulator::trace::Detail;
use floe_simulator::world::EPOCHS_DEFAULT;
use floe_simulator::{Options, Outcome, Scenario, Tally, run};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Of how many seeds one is run twice.
const TWICE_ONE_IN: u64 = 50;
/// Failures after which a range of seeds is given up.
const FAILURES_MAX: usize = 5;

/// A network of Floe in one thread, by one seed.
#[derive(Parser)]
struct Arguments {
    /// Run this seed and print its last events.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run these seeds, as FROM..TO without TO.
    #[arg(long, value_parser = range, default_value = "0..64")]
    seeds: Range<u64>,
    /// Threads; each runs seeds of its own.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Length of the storm in epochs.
    #[arg(long, default_value_t = EPOCHS_DEFAULT)]
    epochs: u64,
    /// What the runs are for: mixed, static, churn, handover, failing, lazy, censor, evidence, halt, disks, snapshots, evaders,
    /// repair, quorum, terms.
    #[arg(long)]
    plan: Option<Scenario>,
    /// Run with this seeded defect and only the checker that must catch it.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// With --seed: print every event as it happens.
    #[arg(long)]
    live: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parse = |part: &str| part.parse().map_err(|_| format!("{part} is not a number"));
    let (from, to) = text.split_once("..").ok_or("give a range as FROM..TO")?;
    let range = parse(from)?..parse(to)?;
    if range.is_empty() { Err("the range is empty".to_owned()) } else { Ok(range) }
}

impl Arguments {
    fn options(&self, seed: u64) -> Options {
        let options = match self.mutant {
            Some(mutant) => Options::hunting(seed, mutant),
            None => Options::of(seed),
        };
        Options { epochs: self.epochs, scenario: self.plan.unwrap_or(options.scenario), ..options }
    }

    /// Runs a seed, and again in words when it fails; answers whether a second run differed.
    fn run(&self, seed: u64) -> (Outcome, Option<u64>) {
        let options = self.options(seed);
        let outcome = run(&options);
        let again = outcome.violation.is_some() || seed.is_multiple_of(TWICE_ONE_IN);
        if !again {
            return (outcome, None);
        }
        let second = run(&Options { detail: Detail::Tail, ..options });
        let unequal = second.digest != outcome.digest || second.violation != outcome.violation;
        (second, unequal.then_some(seed))
    }
}

fn one(arguments: &Arguments, seed: u64) -> ExitCode {
    let detail = if arguments.live { Detail::Live } else { Detail::Tail };
    let outcome = run(&Options { detail, ..arguments.options(seed) });
    println!("{}\nhash {}\nplan: {}", outcome.stats, outcome.digest, outcome.plan);
    if outcome.violation.is_none() {
        println!("seed {seed} holds every law");
        return ExitCode::SUCCESS;
    }
    println!("{}", outcome.failure());
    ExitCode::FAILURE
}

fn many(arguments: &Arguments) -> Tally {
    let next = AtomicU64::new(arguments.seeds.start);
    let worker = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= arguments.seeds.end || tally.failures.len() >= FAILURES_MAX {
                return tally;
            }
            let (outcome, unequal) = arguments.run(seed);
            if outcome.violation.is_some() {
                println!("{}\n", outcome.failure());
            }
            tally.add(outcome);
            tally.unequal.extend(unequal);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut all = Tally::default();
        for worker in workers {
            // A run that panics has already said why on standard error.
            match worker.join() {
                Ok(tally) => all.merge(tally),
                Err(_) => all.unequal.push(u64::MAX),
            }
        }
        all
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return one(&arguments, seed);
    }
    let began = Instant::now();
    let tally = many(&arguments);
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", tally.stats);
    println!("in {seconds:.1} s: {:.1} seeds/s", tally.stats.seeds as f64 / seconds);
    for seed in &tally.unequal {
        println!("seed {seed} did not do the same twice");
    }
    match tally.is_clean() {
        true => ExitCode::SUCCESS,
        false => {
            println!("{} seeds failed", tally.failures.len());
            ExitCode::FAILURE
        }
    }
}
