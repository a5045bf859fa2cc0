//! What the fragments actor is told, and the handle by which the rest of the node reaches it.

use super::actor::FragmentsActor;
use super::exchange::Instruction;
use crate::actors::coordinator::Committed;
use crate::actors::pipe::{self, BoxedPipe};
use actix::{Addr, Message};
use floe_machines::custody::{Input, StreamId};
use floe_machines::fragments::{FragmentRecord, StagedFragment};
use floe_network::{FragmentStream, Network};
use floe_types::{BlobId, NodeId};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A stream came in.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Incoming {
    pub peer: NodeId,
    pub pipe: BoxedPipe,
}

/// A fragment that is staged and verified, with the record it will be kept under.
pub(super) type Staged = (FragmentRecord, Box<dyn StagedFragment>);

/// An exchange or an effect tells the machine something.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Told {
    pub input: Input,
    /// With [`Input::Received`]: what was staged.
    pub staged: Option<(StreamId, Staged)>,
}

impl Told {
    pub(super) fn of(input: Input) -> Told {
        Told { input, staged: None }
    }
}

/// An exchange has asked something and waits for instructions.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Asked {
    pub stream: StreamId,
    pub input: Input,
    pub instructions: mpsc::Sender<Instruction>,
}

/// An exchange is over.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Over {
    pub stream: StreamId,
}

/// A block is durable, or some were missed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Ledger {
    Decided(Arc<Committed>),
    Missed,
}

/// How the rest of the node reaches the fragments actor. Cheap to clone.
#[derive(Clone)]
pub struct FragmentsHandle {
    pub(super) address: Addr<FragmentsActor>,
    pub(super) node: NodeId,
    pub(super) network: Network,
}

impl FragmentsHandle {
    /// Serves a stream of another node. When there is no room it is closed, and its asker tries again later.
    pub fn serve(&self, from: NodeId, stream: FragmentStream) {
        let _ = self.address.try_send(Incoming { peer: from, pipe: Box::new(stream) });
    }

    /// A pipe to this node's own holder, which treats it like any other node's.
    #[must_use]
    pub fn connect(&self) -> BoxedPipe {
        let (ours, theirs) = pipe::local();
        let _ = self.address.try_send(Incoming { peer: self.node, pipe: theirs });
        ours
    }

    /// A fragment of `blob` was fetched by this node and is durable: custody attests it.
    pub async fn fragment_came(&self, blob: BlobId) {
        // Closed: the node is stopping; its next start finds the fragment.
        let _ = self.address.send(Told::of(Input::FragmentCame { blob })).await;
    }

    /// A pipe to the holder on `node`.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn open(&self, node: NodeId) -> Result<BoxedPipe, floe_network::OpenError> {
        if node == self.node {
            return Ok(self.connect());
        }
        Ok(Box::new(self.network.open_fragment_stream(node).await?))
    }
}
