//! What the gateway is asked, and the handle by which HTTP asks it.

use super::actor::GatewayActor;
use super::problems;
use actix::{Addr, Message};
use bytes::Bytes;
use floe_api::Problem;
use floe_api::model::{BlobHead, Receipt};
use floe_api::service::{Answer, Provenance, ReadStream, StoreRequest};
use futures::StreamExt;
use std::ops::Range;
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

/// A part of a blob that a client reads.
pub(super) struct Wanted {
    pub bytes: Range<u64>,
    /// Told before the first byte goes.
    pub told: oneshot::Sender<Provenance>,
}

/// A client reads a blob.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Read {
    pub head: BlobHead,
    /// All of it for none.
    pub range: Option<Wanted>,
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

    /// Reads a blob that the ledger knows as `head` says, or the bytes of `range`, which are within it. Answers with the
    /// first verified bytes.
    ///
    /// # Errors
    /// The problem with which the read is refused or failed before a byte could be sent.
    pub async fn read(&self, head: BlobHead, range: Option<Range<u64>>) -> Result<ReadStream, Problem> {
        let (body, mut chunks) = mpsc::channel(BODY_CHUNKS);
        let (told, mut provenance) = oneshot::channel();
        let range = range.map(|bytes| Wanted { bytes, told });
        let request = Read { head: head.clone(), range, body };
        self.address.try_send(request).map_err(|_| problems::overloaded("reads"))?;
        // No first chunk: the blob is empty, and was confirmed to be.
        let first = chunks.recv().await.transpose()?;
        let rest = futures::stream::poll_fn(move |context| chunks.poll_recv(context));
        let body = futures::stream::iter(first.map(Ok)).chain(rest);
        let provenance = provenance.try_recv().ok();
        Ok(ReadStream { head, provenance, body: Box::pin(body) })
    }

    /// Stops the gateway.
    pub async fn stop(&self) {
        // Closed means that it has stopped already.
        let _ = self.address.send(Stop).await;
    }
}
