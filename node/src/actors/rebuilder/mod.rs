//! The shell round [`floe_machines::repair::Repair`]: rebuilds what this node has a right to rebuild.
//!
//! The actor steps the machine and hands out its effects. A fetch is a task of its own that asks a holder over the fragment
//! protocol; bytes go into a scratch file as they come; arithmetic and disk run on threads that nothing else uses.
//!
//! ```text
//! coordinator --blocks--> actor (machine) --Look--> ledger snapshot and store
//!                              |--Fetch--> symbol, opening, sliver or whole fragment --stream--> holder
//!                              |              `--> scratch of the bench
//!                              |--Attempt, Keep--> bench --> store
//!                              `--Attest--> coordinator
//! ```
//!
//! # Memory
//! A chunk of 256 KiB for each fetch, and what decoding takes. Scratch lies in files without a name: nothing is left of
//! them after a crash.
//!
//! # When it is full
//! A store or disk without room ends a job; the machine comes back to it in a later pass.

mod actor;
mod fetch;
mod scratch;

use super::fragments::FragmentsHandle;
use super::repairer;
use super::workers::Workers;
use crate::run::{RunError, Shared};
use actix::{Actor, Arbiter};
use floe_machines::repair::Config;
use std::path::PathBuf;
use std::sync::Arc;

/// Threads for disk and arithmetic: two, so that one computes while the other writes what comes.
const THREADS: usize = 2;
/// Messages that wait for the actor: one for each fetch and job, a look, and the ledger's news.
const MAILBOX_MAX: usize = 64;

/// What every effect needs.
struct Parts {
    shared: Shared,
    workers: Workers,
    /// How holders are asked.
    holders: repairer::Fetcher,
    scratch: PathBuf,
}

/// Starts the actor on a thread of its own; its scratch files lie in `scratch`.
///
/// # Errors
/// When the system gives no threads, or the folder cannot be made.
pub fn start(shared: &Shared, fragments: FragmentsHandle, scratch: PathBuf) -> Result<(), RunError> {
    let system = |error: std::io::Error| RunError::System(error.to_string());
    std::fs::create_dir_all(&scratch).map_err(system)?;
    let config = Config::default();
    let workers = Workers::start("rebuilder", THREADS, config.fetches_max).map_err(system)?;
    let holders = repairer::Fetcher::new(shared, fragments, workers.clone());
    let parts = Arc::new(Parts { shared: shared.clone(), workers, holders, scratch });
    let arbiter = Arbiter::new();
    let _address: actix::Addr<_> = actor::RebuilderActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        actor::RebuilderActor::new(parts, config)
    });
    Ok(())
}
