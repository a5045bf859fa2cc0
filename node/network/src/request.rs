//! Requests and answers: one stream each, one frame each way, each with its own limit. Nothing is decoded here.
//!
//! ```text
//!   asker   ── frame(request), end ──▶   server
//!   asker   ◀── frame(answer), end ──    server      or just the end: declined
//! ```
//!
//! # Where we differ
//! libp2p's request-response does the same inside the connection, but keeps a request that cannot be read to itself:
//! nobody learns who sent a lying length. Here the stream's owner reads it and holds it against the sender.

use crate::config::RequestLimits;
use crate::counters::{NetworkCounters, add};
use crate::error::{OpenError, RequestError};
use crate::event::{Event, EventSender, FeedbackSender, Reply};
use crate::frame;
use crate::stream::Place;
use bytes::Bytes;
use floe_types::NodeId;
use futures::AsyncWriteExt;
use std::io;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How much longer an answer is waited for than its asker does.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// Which request protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/floe/<network>/status/1`
    Status,
    /// `/floe/<network>/sync/1`
    Blocks,
    /// `/floe/<network>/challenge/1`
    Challenge,
}

impl Kind {
    /// Longest answer, in bytes.
    pub(crate) fn answer_bytes_max(self, limits: &RequestLimits) -> usize {
        match self {
            Kind::Status => limits.status_answer_bytes_max,
            Kind::Blocks => limits.blocks_answer_bytes_max,
            Kind::Challenge => limits.challenge_answer_bytes_max,
        }
    }

    /// Time for the whole exchange.
    pub(crate) fn timeout(self, limits: &RequestLimits) -> Duration {
        match self {
            Kind::Status => limits.status_timeout,
            Kind::Blocks => limits.blocks_timeout,
            Kind::Challenge => limits.challenge_timeout,
        }
    }
}

/// Asks over a fresh stream. The caller keeps the time.
pub(crate) async fn ask(
    mut stream: libp2p::Stream,
    kind: Kind,
    request: &[u8],
    limits: &RequestLimits,
    counters: &NetworkCounters,
) -> Result<Bytes, RequestError> {
    let exchange = async {
        frame::write(&mut stream, request, limits.request_bytes_max).await?;
        stream.close().await?;
        add(&counters.request_bytes_out, request.len());
        frame::read(&mut stream, kind.answer_bytes_max(limits)).await
    };
    let answer = exchange.await.map_err(|error| failure(&error))?;
    add(&counters.request_bytes_in, answer.len());
    Ok(answer)
}

fn failure(error: &io::Error) -> RequestError {
    if let Some(frame::TooLong { bytes, limit }) = frame::too_long(error) {
        return RequestError::TooLarge { bytes, limit };
    }
    match error.kind() {
        // The other side ended or reset the stream where an answer should have been.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::WriteZero => {
            RequestError::Refused
        }
        io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected | io::ErrorKind::ConnectionAborted => {
            RequestError::ConnectionLost
        }
        _ => RequestError::Failed { reason: error.to_string() },
    }
}

impl From<OpenError> for RequestError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotConnected { node } => RequestError::NotConnected { node },
            OpenError::Timeout { waited } => RequestError::Timeout { waited },
            OpenError::NotSupported { protocol } => RequestError::NotSupported { protocol },
            OpenError::OtherNetwork { theirs, ours } => RequestError::OtherNetwork { theirs, ours },
            OpenError::Failed { reason } => RequestError::Failed { reason },
            OpenError::Stopped => RequestError::Stopped,
        }
    }
}

/// What serving a request needs.
pub(crate) struct Server {
    pub from: NodeId,
    pub kind: Kind,
    pub limits: RequestLimits,
    pub events: EventSender,
    pub feedback: FeedbackSender,
    /// Given back when the exchange is over.
    pub place: Place,
}

impl Server {
    /// Reads a request, hands it to the node, and sends what the node answers. Ends soon after the request's
    /// time.
    pub(crate) async fn serve(self, mut stream: libp2p::Stream) {
        let Ok(read) =
            timeout(self.limits.header_timeout, frame::read(&mut stream, self.limits.request_bytes_max)).await
        else {
            return;
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                if frame::too_long(&error).is_some() {
                    self.feedback.bad_frame(self.from);
                }
                return;
            }
        };
        add(&self.feedback.counters.request_bytes_in, bytes.len());
        let (answer, answered) = oneshot::channel();
        self.events.send(self.event(bytes, answer));
        // A little longer than the asker waits, so that its own clock speaks first and says why.
        let time = self.kind.timeout(&self.limits).saturating_add(ANSWER_SLACK);
        let limit = self.kind.answer_bytes_max(&self.limits);
        let answering = async {
            if let Ok(bytes) = answered.await {
                frame::write(&mut stream, &bytes, limit).await?;
                add(&self.feedback.counters.request_bytes_out, bytes.len());
            }
            // Without an answer the end alone says that we decline.
            stream.close().await
        };
        match timeout(time, answering).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(from = %self.from.short(), %error, "an answer was not delivered"),
            Err(_) => tracing::debug!(from = %self.from.short(), kind = ?self.kind, "not answered in time"),
        }
        drop(self.place);
    }

    fn event(&self, bytes: Bytes, answer: oneshot::Sender<Bytes>) -> Event {
        let from = self.from;
        let limit = self.kind.answer_bytes_max(&self.limits);
        let reply = Reply { from, answer, limit, feedback: self.feedback.clone() };
        match self.kind {
            Kind::Status => Event::StatusRequest { from, bytes, reply },
            Kind::Blocks => Event::BlocksRequest { from, bytes, reply },
            Kind::Challenge => Event::ChallengeRequest { from, bytes, reply },
        }
    }
}
