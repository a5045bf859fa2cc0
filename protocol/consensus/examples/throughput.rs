//! Prints how many heights a whole simulated network of 4, 7 and 31 validators decides per second on one thread.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::time::Instant;

use floe_consensus::Height;

fn main() {
    println!("validators  heights  heights/s of the network  ms per decision and node");
    for (validators, heights) in [(4, 400), (7, 200), (31, 15)] {
        let mut world = sim::World::new(1, validators);
        let start = Instant::now();
        world.run_to(Height(heights));
        let seconds = start.elapsed().as_secs_f64();
        let per_second = heights as f64 / seconds;
        let per_node = seconds * 1000.0 / (heights * validators as u64) as f64;
        println!("{validators:10}  {heights:7}  {per_second:24.0}  {per_node:24.2}");
    }
}
