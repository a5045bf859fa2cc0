//! The shell round [`floe_machines::challenges::Challenger`]: asks the others to show what they hold, shows what this node
//! holds, and hands the coordinator what is to be reported.
//!
//! ```text
//! network --questions of others--> actor (machine) --Open--> store, on threads of its own --answer--> asker
//!                                     |--Ask--> network --answer--> actor
//! network --observations----------> actor --Publish--> network
//! gateway --what a reader could not get--> actor
//! coordinator --blocks------------> actor --Keep--> store, synced;  then Duty --> coordinator
//! ```
//!
//! # Memory
//! As many questions and answers of 4 KiB as the machine allows, and the hashes of the slivers that were shown lately, see
//! [`hashes`].
//!
//! # When it is full
//! A question of another node is declined: it asks again in the next slot. Observations are dropped: they move screens only. What
//! a reader could not get is dropped: a reader that meets it again says so again.

mod actor;
mod hashes;

use super::coordinator::CoordinatorHandle;
use super::workers::Workers;
use crate::run::{RunError, Shared};
use crate::telemetry::Metrics;
use actix::{Actor, Addr, Arbiter, Message};
use bytes::Bytes;
use floe_ledger::challenges::Unread;
use floe_machines::challenges::{Config, Identity};
use floe_machines::fragments::FragmentKey;
use floe_network::{Event, Network, Reply};
use floe_storage::Store;
use floe_types::NodeId;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Threads that read and open what others ask for: two, so that one waits for the disk while the other hashes.
const THREADS: usize = 2;
/// Messages that wait for the actor: questions of others, and an answer for each of this node's own.
const MAILBOX_MAX: usize = 1_024;

/// What readers could not get and the challenger was not told yet: beyond it is dropped.
pub const UNREAD_WAITING_MAX: usize = 64;

/// What a holder did not give a reader of this node.
#[derive(Clone, Copy, Debug)]
pub struct Unreadable {
    /// The holder.
    pub holder: NodeId,
    /// What it was asked for.
    pub what: Unread,
}

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
    /// What could not be shown: the scrubber looks at it.
    suspects: mpsc::Sender<FragmentKey>,
    workers: Workers,
    hashes: hashes::Hashes,
}

/// Starts the actor on a thread of its own; `observations` come in by a queue of the network's, what is `unread` by the
/// gateway's.
///
/// # Errors
/// When the system gives no threads, or the store cannot be read.
pub fn start(
    shared: &Shared,
    identity: Identity,
    (observations, unread): (mpsc::Receiver<Event>, mpsc::Receiver<Unreadable>),
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
        suspects: shared.suspects.clone(),
        workers,
        hashes: hashes::Hashes::default(),
    });
    let arbiter = Arbiter::new();
    let address = actor::ChallengerActor::start_in_arbiter(&arbiter.handle(), move |context| {
        context.set_mailbox_capacity(MAILBOX_MAX);
        actor::ChallengerActor::new(parts, (config, kept), (observations, unread))
    });
    Ok(ChallengerHandle(address))
}
