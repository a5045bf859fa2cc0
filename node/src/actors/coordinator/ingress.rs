//! What the coordinator is told, and the handle by which the rest of the node tells it.

use super::actor::CoordinatorActor;
use actix::{Addr, MailboxError, Message};
use bytes::Bytes;
use floe_ledger::{Action, Event, Head, SignedTransaction};
use floe_machines::coordinator::{Outcome, Seen, SubmitError};
use floe_network::{Network, Reply};
use floe_storage::Store;
use floe_types::{AccountId, Epoch, Height, NodeId, TransactionId};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// What the coordinator needs to start.
pub struct CoordinatorParts {
    /// The machine, at the head of the store.
    pub machine: floe_machines::coordinator::Coordinator,
    /// State, blocks and journal.
    pub store: Store,
    /// Where messages go out.
    pub network: Network,
    /// Votes and proposals as they come in, in a bounded queue of the network's.
    pub consensus: mpsc::Receiver<floe_network::Event>,
    /// Transactions as they come in, likewise.
    pub transactions: mpsc::Receiver<floe_network::Event>,
    /// The files of this node's vote keys.
    pub vote_keys: crate::keys::VoteKeyFiles,
    /// Told once when the coordinator cannot go on.
    pub failed: mpsc::Sender<String>,
    /// What is kept of the past.
    pub history: crate::history::History,
    /// The account that it earns on.
    pub account: AccountId,
    /// What is counted.
    pub metrics: Arc<crate::telemetry::Metrics>,
}

/// Another node asks for our status.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StatusAsked {
    pub bytes: Bytes,
    pub reply: Reply,
}

/// This node wants something of the ledger.
#[derive(Message)]
#[rtype(result = "Result<Submission, SubmitError>")]
pub(super) struct Submit(pub Action);

/// This node owes the ledger a word that costs nothing: a commitment or a report.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Duty(pub Action);

/// Somebody hands in a transaction that is signed already.
#[derive(Message)]
#[rtype(result = "Result<Submission, SubmitError>")]
pub(super) struct Relay(pub Box<SignedTransaction>);

/// Answer everything that came before this, then say so: an orderly stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// A transaction of this node on its way.
#[derive(Debug)]
pub struct Submission {
    /// Its id.
    pub transaction: TransactionId,
    /// Resolves when it is in a block or never will be. Closed when the node stops first.
    pub settled: oneshot::Receiver<Outcome>,
}

/// Why a submission failed.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFailure {
    /// The coordinator said no.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// The coordinator is gone: the node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// A block that is durable here, as told to listeners.
#[derive(Debug)]
pub struct Committed {
    /// Its height.
    pub height: Height,
    /// The epoch after it.
    pub epoch: Epoch,
    /// What happened in it.
    pub events: Vec<Event>,
}

/// What this node sees now, between decisions. For screens and for choosing whom to ask first, never for a decision.
#[derive(Clone, Debug)]
pub struct Live {
    /// The newest block.
    pub head: Head,
    /// The other members, as their status answers show them.
    pub members: Vec<(NodeId, Seen)>,
    /// Since when a height has been under way without a decision, in unix milliseconds.
    pub undecided_since: Option<u64>,
    /// Whether others are known to be ahead.
    pub behind: bool,
    /// The height that others claim, while a snapshot is the better way to it.
    pub far_behind: Option<Height>,
    /// Transactions waiting for a block.
    pub waiting_transactions: usize,
}

/// How the rest of the node reaches the coordinator. Cheap to clone.
#[derive(Clone)]
pub struct CoordinatorHandle {
    pub(super) address: Addr<CoordinatorActor>,
    pub(super) live: watch::Receiver<Arc<Live>>,
    pub(super) committed: broadcast::Sender<Arc<Committed>>,
}

impl CoordinatorHandle {
    /// Signs `action` with the node's account and sends it on its way. Waits for room in the mailbox.
    ///
    /// # Errors
    /// [`SubmitFailure`] when the ledger would refuse it as things stand, too much waits, or the node is stopping.
    pub async fn submit(&self, action: Action) -> Result<Submission, SubmitFailure> {
        match self.address.send(Submit(action)).await {
            Ok(result) => Ok(result?),
            Err(MailboxError::Closed | MailboxError::Timeout) => Err(SubmitFailure::Stopping),
        }
    }

    /// Sends on a transaction that was signed elsewhere. Waits for room in the mailbox.
    ///
    /// # Errors
    /// As [`CoordinatorHandle::submit`].
    pub async fn relay(&self, transaction: SignedTransaction) -> Result<Submission, SubmitFailure> {
        match self.address.send(Relay(Box::new(transaction))).await {
            Ok(result) => Ok(result?),
            Err(MailboxError::Closed | MailboxError::Timeout) => Err(SubmitFailure::Stopping),
        }
    }

    /// Signs and sends what this node owes the ledger for nothing.
    pub(in crate::actors) fn duty(&self, action: Action) {
        // Full: it is handed over again.
        let _ = self.address.try_send(Duty(action));
    }

    /// What this node sees now.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.borrow().clone()
    }

    /// Follows what this node sees.
    #[must_use]
    pub fn watch_live(&self) -> watch::Receiver<Arc<Live>> {
        self.live.clone()
    }

    /// Blocks from now on. A listener more than [`super::COMMITTED_MAX`] blocks behind is told that it missed some.
    #[must_use]
    pub fn committed(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.committed.subscribe()
    }

    /// Stops the coordinator after what it was told before.
    pub async fn stop(&self) {
        // Closed means that it has stopped already.
        let _ = self.address.send(Stop).await;
    }

    /// Another node asks for our status.
    pub(in crate::actors) fn status_asked(&self, bytes: Bytes, reply: Reply) {
        // Full: the asker counts it as not answered, which is the truth.
        let _ = self.address.try_send(StatusAsked { bytes, reply });
    }
}
