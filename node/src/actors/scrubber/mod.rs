//! The shell round [`floe_machines::scrub::Scrub`]: reads the store through once in a period and withdraws what is gone.
//!
//! ```text
//! exchanges --damaged fragment--> actor (machine) --List, Check, Discard--> store, one visit at a time
//!                                    |--Look--> ledger snapshot and store
//!                                    `--Withdraw--> coordinator
//! ```
//!
//! # Memory
//! One buffer of a chunk while a fragment is read.
//!
//! # When it is full
//! Suspects beyond the queue are found by the pass.

mod actor;

use super::workers::Workers;
use crate::run::{RunError, Shared};
use actix::{Actor, Arbiter};
use floe_machines::fragments::FragmentKey;
use floe_machines::scrub::Config;
use floe_types::Params;
use tokio::sync::mpsc;

/// Threads: one. Nothing here is in a hurry.
const THREADS: usize = 1;
/// Messages that wait for the actor: one answer and some suspects.
const MAILBOX_MAX: usize = 64;
/// Suspects that wait to be told.
pub const SUSPECTS_WAITING_MAX: usize = 64;
/// Hours in which the whole store is read once: a week.
const PERIOD_HOURS: u64 = 168;

/// What the actor needs.
struct Parts {
    shared: Shared,
    workers: Workers,
}

/// The period of a network with `params`, in milliseconds.
fn period_millis(params: &Params) -> u64 {
    PERIOD_HOURS.div_ceil(params.hours_per_epoch.max(1)).saturating_mul(params.epoch_millis)
}

/// Starts the actor on a thread of its own; `suspected` are fragments that somebody could not read.
///
/// # Errors
/// When the system gives no thread.
pub fn start(shared: &Shared, suspected: mpsc::Receiver<FragmentKey>) -> Result<(), RunError> {
    let config = Config::for_period(period_millis(&shared.context.params));
    let workers = Workers::start("scrubber", THREADS, 1);
    let workers = workers.map_err(|error| RunError::System(error.to_string()))?;
    let parts = std::sync::Arc::new(Parts { shared: shared.clone(), workers });
    let arbiter = Arbiter::new();
    let _address: actix::Addr<_> = actor::ScrubberActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        actor::ScrubberActor::new(parts, config, suspected)
    });
    Ok(())
}
