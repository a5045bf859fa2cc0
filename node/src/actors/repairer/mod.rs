//! The shell round [`floe_machines::handover::Handover`]: fills the shards that came to this node.
//!
//! The actor steps the machine and hands out its effects. A fetch is a task: it asks a holder for a whole fragment over
//! the same protocol that readers use, stages the bytes as they come, checks everything a holder checks before it signs,
//! and makes the fragment durable; then custody is told, which attests it with others.
//!
//! ```text
//! coordinator --blocks--> actor (machine) --Look--> ledger snapshot
//!                              `--Fetch--> fetch --stream--> holder
//!                                            `--staged, verified, kept--> store, then custody
//! ```
//!
//! # Memory
//! One buffer of 256 KiB for each fetch, 2 MiB by default.
//!
//! # When it is full
//! A store without room ends a fetch; the machine comes back to it in a later pass.

mod actor;
mod fetch;

pub(super) use fetch::chunk;

use super::fragments::FragmentsHandle;
use super::pipe::BoxedPipe;
use super::workers::Workers;
use crate::run::{RunError, Shared};
use actix::{Actor, Arbiter};
use floe_machines::handover::{Config, Gap, Trouble};
use floe_machines::wire::fragment::{Answer, Ask};
use floe_types::NodeId;
use std::sync::Arc;

/// Threads for staging and checking what comes: two, so that one waits for the disk while the other checks.
const THREADS: usize = 2;
/// Messages that wait for the actor: one for each fetch, the answer to a look, and the ledger's news.
const MAILBOX_MAX: usize = 64;

/// What every fetch needs.
struct Parts {
    shared: Shared,
    fragments: FragmentsHandle,
    workers: Workers,
}

/// Asks holders for others who fetch too: for whole fragments, which are staged, checked, kept and told to custody, and for
/// whatever else. Cheap to clone.
#[derive(Clone)]
pub(in crate::actors) struct Fetcher(Arc<Parts>);

impl Fetcher {
    /// Fetches with `workers` for disk and checks.
    pub(in crate::actors) fn new(shared: &Shared, fragments: FragmentsHandle, workers: Workers) -> Fetcher {
        Fetcher(Arc::new(Parts { shared: shared.clone(), fragments, workers }))
    }

    /// Asks `from`, and waits for its answer, after which bytes may come: see [`chunk`].
    pub(in crate::actors) async fn ask(&self, from: NodeId, ask: Ask) -> Result<(BoxedPipe, Answer), Trouble> {
        fetch::ask(&self.0, from, ask).await
    }

    /// Fetches `gap` from `from`.
    pub(in crate::actors) async fn fetch(&self, from: NodeId, gap: Gap) -> Result<(), Trouble> {
        fetch::run(&self.0, from, gap).await
    }
}

/// Starts the actor on a thread of its own.
///
/// # Errors
/// When the system gives no threads.
pub fn start(shared: &Shared, fragments: FragmentsHandle) -> Result<(), RunError> {
    let config = Config::default();
    let workers = Workers::start("repairer", THREADS, config.fetches_max);
    let workers = workers.map_err(|error| RunError::System(error.to_string()))?;
    let parts = Arc::new(Parts { shared: shared.clone(), fragments, workers });
    let arbiter = Arbiter::new();
    let _address: actix::Addr<_> = actor::RepairerActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        actor::RepairerActor::new(parts, config)
    });
    Ok(())
}
