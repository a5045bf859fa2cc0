//! What the gateway is asked, and the handle by which HTTP asks it.

use super::actor::GatewayActor;
use super::problems;
use actix::{Addr, Message};
use bytes::Bytes;
use floe_api::Problem;
use floe_api::model::{BlobHead, Receipt};
use floe_api::service::{Answer, ReadStream, StoreRequest};
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};

/// Chunks of a body that wait for the client.
const BODY_CHUNKS: usize = 2;

/// What a body is made of.
pub(super) type BodySender = mpsc::Sender<Result<Bytes, Problem>>;

/// A client stores a blob.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Store {
    pub request: StoreRequest,
    pub reply: oneshot::Sender<Result<Receipt, Problem>>,
}

/// A client reads a blob.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Read {
    pub head: BlobHead,
    pub body: BodySender,
}

/// Stop: tasks end where they are; uploads go on after the next start.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// How HTTP reaches the gateway. Cheap to clone.
#[derive(Clone)]
pub struct GatewayHandle {
    pub(super) address: Addr<GatewayActor>,
}

impl GatewayHandle {
    /// Stores a blob; answers when it is certified. When the client leaves before it is registered the store is dropped.
    #[must_use]
    pub fn store(&self, request: StoreRequest) -> Answer<Receipt> {
        let address = self.address.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            address.try_send(Store { request, reply }).map_err(|_| problems::overloaded("stores"))?;
            answer.await.unwrap_or_else(|_| Err(problems::stopping()))
        })
    }

    /// Reads a blob that the ledger knows as `head` says. Answers with its first verified bytes.
    ///
    /// # Errors
    /// The problem with which the read is refused or failed before a byte could be sent.
    pub async fn read(&self, head: BlobHead) -> Result<ReadStream, Problem> {
        let (body, mut chunks) = mpsc::channel(BODY_CHUNKS);
        let request = Read { head: head.clone(), body };
        self.address.try_send(request).map_err(|_| problems::overloaded("reads"))?;
        // No first chunk: the blob is empty, and was confirmed to be.
        let first = chunks.recv().await.transpose()?;
        let rest = futures::stream::poll_fn(move |context| chunks.poll_recv(context));
        let body = futures::stream::iter(first.map(Ok)).chain(rest);
        Ok(ReadStream { head, body: Box::pin(body) })
    }

    /// Stops the gateway.
    pub async fn stop(&self) {
        // Closed means that it has stopped already.
        let _ = self.address.send(Stop).await;
    }
}
