//! Years of epochs on the symbol level, and the figures of challenges and standing.
//!
//! `floe-year` prints every figure beside what was promised; `floe-year --only year --members 31 --epochs 8766` lives a year.

use clap::Parser;
use floe_simulator::year::figures::{self, Figure};
use std::process::ExitCode;

/// Years of epochs on the symbol level.
#[derive(Parser)]
struct Arguments {
    /// Of these figures only: losses, framed, selective, fetched, withdrawn, absences, others, cliques, ground, minimal, year.
    #[arg(long)]
    only: Option<String>,
    /// Members of the network, where there is one.
    #[arg(long, default_value_t = 31)]
    members: usize,
    /// Members of the networks in which losses are looked for.
    #[arg(long, value_delimiter = ',', default_value = "4,7,10,11,31")]
    sizes: Vec<usize>,
    /// Nodes that lose something, in each size.
    #[arg(long, default_value_t = 400)]
    runs: u64,
    /// Epochs of the year, and of the framers.
    #[arg(long, default_value_t = 8_766)]
    epochs: u64,
    /// Beacons that a grinder tries.
    #[arg(long, default_value_t = 4_096)]
    tries: u64,
    /// What the year is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments { members, epochs, seed, .. } = arguments;
    let all: [(&str, &dyn Fn() -> Vec<Figure>); 11] = [
        ("losses", &|| figures::losses(&arguments.sizes, arguments.runs)),
        ("framed", &|| figures::framed(members, epochs)),
        ("selective", &|| figures::selective(members)),
        ("fetched", &|| figures::fetched(members)),
        ("withdrawn", &|| figures::withdrawn(members, 96)),
        ("absences", &|| figures::absences(members)),
        ("others", &|| figures::others(members)),
        ("cliques", &|| figures::cliques(members, 90)),
        ("ground", &|| figures::ground(members.min(10), (arguments.tries, 20))),
        ("minimal", &|| figures::minimal(members)),
        ("year", &|| figures::year(members, epochs, seed)),
    ];
    let mut met = true;
    for (name, figures) in all.iter().filter(|(name, _)| arguments.only.as_deref().is_none_or(|only| only == *name)) {
        println!("{name}");
        for figure in figures() {
            println!("  {figure}");
            met &= figure.met != Some(false);
        }
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
