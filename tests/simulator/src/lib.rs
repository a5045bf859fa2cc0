//! A network of Floe in one thread, by one seed: virtual network, disks and clocks round the machines of `protocol`.
//!
//! The machines are the very ones that nodes run; so are consensus, ledger, coder, signatures and every codec: between two
//! nodes there are only bytes, encoded and decoded on every hop. What is virtual is the shell: where a node has actors,
//! sockets, RocksDB and a clock, a run has a queue of events ordered by virtual time. That is why a bug found by seed 4711
//! is a bug in the code that runs in production, and why seed 4711 finds it again.
//!
//! # A run
//! 1. [`plan`]: the seed draws the network's size and its faults, within the bound that the protocol promises to bear.
//! 2. *Storm*: faults, stores, reads and transfers. Safety must hold, whatever happens.
//! 3. *Calm*: links heal, everybody but villains is back. Liveness must return, and everything that was acknowledged must
//!    read back.
//!
//! [`laws`] watch at every step. They recompute; they never call what they check. A [`mutant`] for each law proves that
//! its checker fires.
//!
//! # Not here
//! Real processes, sockets and disks: the end-to-end tests. Damage to synced data: the store's own tests.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod chance;
pub mod disk;
pub mod fragment_disk;
pub mod identity;
pub mod laws;
pub mod mutant;
pub mod network;
mod node;
pub mod plan;
pub mod queue;
pub mod report;
pub mod scenario;
pub mod snapshot_disk;
pub mod trace;
pub mod world;
pub mod year;

pub use mutant::Mutant;
pub use report::{Outcome, Stats, Tally};
pub use scenario::Scenario;
pub use world::{Options, run};
