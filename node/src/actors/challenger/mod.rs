//! The shell round [`floe_machines::challenges::Challenger`]: asks the others to show what they hold, shows what this node
//! holds, and hands the coordinator what is to be reported.
//!
//! ```text
//! network --questions of others--> actor (machine) --Open--> store, on threads of its own --answer--> asker
//!                                     |--Ask--> network --answer--> actor
//! network --observations----------> actor --Publish--> network
//! coordinator --blocks------------> actor --Keep--> store, synced;  then Duty --> coordinator
//! ```
//!
//! # Memory
//! As many questions and answers of 4 KiB as the machine allows, and the hashes of the slivers that were shown lately, see
//! [`hashes`].
//!
//! # When it is full
//! A question of another node is declined: it asks again in the next slot. Observations are dropped: they move screens only.

mod actor;
mod hashes;

use super::coordinator::CoordinatorHandle;
use super::workers::Workers;
use crate::run::{RunError, Shared};
use crate::telemetry::Metrics;
use actix::{Actor, Addr, Arbiter, Message};
use bytes::Bytes;
use floe_machines::challenges::{Config, Identity};
use floe_network::{Event, Network, Reply};
use floe_storage::Store;
use floe_types::NodeId;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Threads that read and open what others ask for: two, so that one waits for the disk while the other hashes.
const THREADS: usize = 2;
/// Messages that wait for the actor: questions of others, and an answer for each of this node's own.
const MAILBOX_MAX: usize = 1_024;

/// Another node asks.
#[derive(Message)]
#[rtype(result = "()")]
struct Asked {
    from: NodeId,
    bytes: Bytes,
    reply: Reply,
}

/// How the rest of the node reaches the challenger. Cheap to clone.
#[derive(Clone)]
pub struct ChallengerHandle(Addr<actor::ChallengerActor>);

impl ChallengerHandle {
    /// Another node challenges this one.
    pub(in crate::actors) fn asked(&self, from: NodeId, bytes: Bytes, reply: Reply) {
        // Full: the asker counts it as silence and asks again in the next slot.
        let _ = self.0.try_send(Asked { from, bytes, reply });
    }
}

/// What every effect needs.
struct Parts {
    context: floe_ledger::Context,
    store: Store,
    network: Network,
    coordinator: CoordinatorHandle,
    metrics: Arc<Metrics>,
    identity: Identity,
    workers: Workers,
    hashes: hashes::Hashes,
}

/// Starts the actor on a thread of its own; `observations` come in by a queue of the network's.
///
/// # Errors
/// When the system gives no threads, or the store cannot be read.
pub fn start(
    shared: &Shared,
    identity: Identity,
    observations: mpsc::Receiver<Event>,
) -> Result<ChallengerHandle, RunError> {
    let config = Config::default();
    let workers = Workers::start("challenger", THREADS, config.answers_max);
    let workers = workers.map_err(|error| RunError::System(error.to_string()))?;
    let kept = shared.store.kept_report()?;
    let parts = Arc::new(Parts {
        context: shared.context.clone(),
        store: shared.store.clone(),
        network: shared.network.clone(),
        coordinator: shared.coordinator.clone(),
        metrics: shared.metrics.clone(),
        identity,
        workers,
        hashes: hashes::Hashes::default(),
    });
    let arbiter = Arbiter::new();
    let address = actor::ChallengerActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        actor::ChallengerActor::new(parts, (config, kept), observations)
    });
    Ok(ChallengerHandle(address))
}
