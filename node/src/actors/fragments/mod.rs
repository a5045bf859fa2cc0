//! The shell round [`floe_machines::custody::Custody`]: keeps fragments for others, confirms, serves, attests.
//!
//! The actor lives on a thread of its own and does no work: it steps the machine and hands out its effects. Every exchange
//! is a task ([`exchange`]) that reads and writes one stream; disk, hashing and verification run on [`Workers`], where a
//! waiting disk slows down only exchanges.
//!
//! ```text
//! network, own gateway --pipe--> exchange --Told--> actor (machine) --Instruction--> exchange
//!                                    `--jobs--> workers <--jobs--´
//! coordinator --blocks--> actor
//! ```
//!
//! # Memory
//! One buffer of 256 KiB for each fragment coming in and each sliver going out, so at most
//! `(arrivals_max + reads_max) * 256 KiB` = 48 MiB by default, and 16 KiB for each other exchange; 64 MiB of hashes of
//! slivers of which ranges are read. Evidence that is judged lies in a file without a name, one at a time ([`judge`]).
//!
//! # When it is full
//! Exchanges beyond the limit are closed unanswered, which their askers take for a broken stream and try again later; the
//! machine answers *busy* long before.

mod actor;
mod config;
mod effects;
mod exchange;
mod ingress;
mod judge;
mod units;

pub use config::{Config, MAILBOX_MAX};
pub use ingress::FragmentsHandle;

use super::workers::Workers;
use crate::run::{RunError, Shared};
use actix::{Actor, Addr, Arbiter};
use floe_types::bls::BlsSecretKey;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Threads that make recovery symbols.
const HELPER_THREADS: usize = 2;

/// What every exchange and every effect needs.
pub(in crate::actors::fragments) struct Parts {
    shared: Shared,
    workers: Workers,
    /// For symbols of fragments that others rebuild, and for units: the first of a sliver costs a pass over it. They may be large
    /// and their askers slow, and readers of whole slivers do not wait for them.
    helpers: Workers,
    key: BlsSecretKey,
    config: Config,
    /// One for each piece of evidence that may be judged at a time.
    judging: Semaphore,
    hashes: units::HashesBook,
}

/// Starts the actor on a thread of its own.
///
/// # Errors
/// When the system gives no threads, or the ledger cannot be read.
pub fn start(shared: &Shared, key: BlsSecretKey, config: Config) -> Result<FragmentsHandle, RunError> {
    let workers = Workers::start("fragments", config.threads, config.exchanges_max);
    let workers = workers.map_err(|error| RunError::System(error.to_string()))?;
    let helpers = Workers::start("helpers", HELPER_THREADS, config.exchanges_max);
    let helpers = helpers.map_err(|error| RunError::System(error.to_string()))?;
    let ledger = actor::Ledger::read(shared).map_err(|error| RunError::System(error.to_string()))?;
    let judging = Semaphore::new(judge::AT_ONCE);
    let hashes = units::HashesBook::default();
    let parts = Arc::new(Parts { shared: shared.clone(), workers, helpers, key, config, judging, hashes });
    let arbiter = Arbiter::new();
    let started = Arc::clone(&parts);
    let address: Addr<actor::FragmentsActor> =
        actor::FragmentsActor::start_in_arbiter(&arbiter.handle(), move |context| {
            context.set_mailbox_capacity(MAILBOX_MAX);
            actor::FragmentsActor::new(started, ledger)
        });
    Ok(FragmentsHandle { address, node: shared.node, network: shared.network.clone() })
}
