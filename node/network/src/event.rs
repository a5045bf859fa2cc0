//! What the network tells the node, in four queues of stated length, and how the node answers.
//!
//! Consensus has a queue of its own, so that a vote never stands behind a request for blocks. [`Events`] reads all
//! four, consensus first; who wants a reader for each takes it apart with [`Events::into_lanes`].

use crate::config::{QueueLimits, Topic};
use crate::counters::{NetworkCounters, add};
use crate::direct::Direct;
use crate::error::ReplyError;
use crate::stream::FragmentStream;
use bytes::Bytes;
use floe_types::NodeId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A gossiped or direct message. It goes no further until `verdict` accepts it.
    Gossip {
        /// What it is about.
        topic: Topic,
        /// Who handed it to us, not who wrote it.
        from: NodeId,
        /// The message as published.
        bytes: Bytes,
        /// How to answer; dropping it ignores the message.
        verdict: GossipVerdict,
    },
    /// Somebody asks for our status.
    StatusRequest {
        /// Who asks.
        from: NodeId,
        /// The request, at most [`crate::config::RequestLimits::request_bytes_max`] bytes.
        bytes: Bytes,
        /// How to answer; dropping it declines.
        reply: Reply,
    },
    /// Somebody asks for blocks.
    BlocksRequest {
        /// Who asks.
        from: NodeId,
        /// The request, at most [`crate::config::RequestLimits::request_bytes_max`] bytes.
        bytes: Bytes,
        /// How to answer; dropping it declines.
        reply: Reply,
    },
    /// Somebody challenges us for a part of a fragment.
    ChallengeRequest {
        /// Who asks.
        from: NodeId,
        /// The request, at most [`crate::config::RequestLimits::request_bytes_max`] bytes.
        bytes: Bytes,
        /// How to answer; dropping it declines.
        reply: Reply,
    },
    /// Somebody opened a fragment stream.
    FragmentStream {
        /// Who opened it.
        from: NodeId,
        /// The stream; dropping it closes it.
        stream: FragmentStream,
    },
    /// The first connection to this node is established. [`crate::Network::peers`] is the truth if this is missed.
    Connected(NodeId),
    /// The last connection to this node is gone.
    Disconnected(NodeId),
    /// We listen on this address.
    Listening(String),
}

/// The network's answer to "what happened": reads all queues, consensus first.
#[derive(Debug)]
pub struct Events {
    lanes: Lanes,
    favours: u32,
}

/// The queues one by one.
#[derive(Debug)]
pub struct Lanes {
    /// Consensus messages, `Connected`, `Disconnected` and `Listening`.
    pub consensus: mpsc::Receiver<Event>,
    /// Status, blocks and challenge requests and fragment streams.
    pub requests: mpsc::Receiver<Event>,
    /// Gossiped transactions.
    pub transactions: mpsc::Receiver<Event>,
    /// Gossiped observations.
    pub observations: mpsc::Receiver<Event>,
}

/// How many consensus events in a row may keep other events waiting.
const FAVOURS_MAX: u32 = 64;

impl Events {
    /// The next event; `None` when the network has stopped and all is read.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// The queues one by one.
    #[must_use]
    pub fn into_lanes(self) -> Lanes {
        self.lanes
    }

    /// Polls for the next event.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Lanes { consensus, requests, transactions, observations } = &mut self.lanes;
        let consensus_first = self.favours < FAVOURS_MAX;
        let mut order = [consensus, requests, transactions, observations];
        if !consensus_first {
            self.favours = 0;
            order.rotate_left(1);
        }
        let mut ended = 0;
        for (place, lane) in order.iter_mut().enumerate() {
            match lane.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    self.favours = if consensus_first && place == 0 { self.favours.saturating_add(1) } else { 0 };
                    return Poll::Ready(Some(event));
                }
                Poll::Ready(None) => ended += 1,
                Poll::Pending => {}
            }
        }
        if ended == order.len() { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl futures::Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_recv(context)
    }
}

/// The network's ends of the queues. A full queue drops and counts.
#[derive(Debug, Clone)]
pub(crate) struct EventSender {
    consensus: mpsc::Sender<Event>,
    requests: mpsc::Sender<Event>,
    transactions: mpsc::Sender<Event>,
    observations: mpsc::Sender<Event>,
    counters: Arc<NetworkCounters>,
}

impl EventSender {
    /// The queues of the given lengths.
    pub(crate) fn new(limits: &QueueLimits, counters: Arc<NetworkCounters>) -> (Self, Events) {
        let (consensus, consensus_receiver) = mpsc::channel(limits.consensus_events.max(1));
        let (requests, requests_receiver) = mpsc::channel(limits.request_events.max(1));
        let (transactions, transactions_receiver) = mpsc::channel(limits.transaction_events.max(1));
        let (observations, observations_receiver) = mpsc::channel(limits.observation_events.max(1));
        let lanes = Lanes {
            consensus: consensus_receiver,
            requests: requests_receiver,
            transactions: transactions_receiver,
            observations: observations_receiver,
        };
        (Self { consensus, requests, transactions, observations, counters }, Events { lanes, favours: 0 })
    }

    /// Queues an event or drops it. What is dropped answers for itself: verdicts ignore, requests are declined.
    pub(crate) fn send(&self, event: Event) {
        let (lane, dropped) = match &event {
            Event::Gossip { topic: Topic::Transactions, .. } => {
                (&self.transactions, &self.counters.transaction_events_dropped)
            }
            Event::Gossip { topic: Topic::Observations, .. } => {
                (&self.observations, &self.counters.observation_events_dropped)
            }
            Event::StatusRequest { .. }
            | Event::BlocksRequest { .. }
            | Event::ChallengeRequest { .. }
            | Event::FragmentStream { .. } => (&self.requests, &self.counters.request_events_dropped),
            Event::Gossip { topic: Topic::Consensus, .. }
            | Event::Connected(_)
            | Event::Disconnected(_)
            | Event::Listening(_) => (&self.consensus, &self.counters.consensus_events_dropped),
        };
        if lane.try_send(event).is_err() {
            add(dropped, 1);
        }
    }
}

/// What the node says back to the network.
#[derive(Debug)]
pub(crate) enum Feedback {
    /// What became of a gossiped message.
    Verdict { from: NodeId, id: MessageId, acceptance: MessageAcceptance },
    /// A direct message was rejected.
    Rejected { from: NodeId },
    /// A peer sent bytes that are no message of the protocol.
    BadFrame { from: NodeId },
    /// A request was garbage.
    BadRequest { from: NodeId },
    /// A votes stream is to be opened.
    OpenVotes { peer: libp2p::PeerId, opening: crate::streams::Opening },
}

/// Sends [`Feedback`] from wherever the node is, without waiting.
#[derive(Debug, Clone)]
pub(crate) struct FeedbackSender {
    pub sender: mpsc::Sender<Feedback>,
    pub counters: Arc<NetworkCounters>,
}

impl FeedbackSender {
    fn send(&self, feedback: Feedback) -> Result<(), ()> {
        self.sender.try_send(feedback).map_err(|_| add(&self.counters.commands_dropped, 1))
    }
}

/// How a message reached us, and so how it goes on.
pub(crate) enum Route {
    /// By gossip, which waits for the verdict on this id.
    Gossip { id: MessageId },
    /// Directly; the frame goes to those whom its sender does not reach.
    Direct { frame: Bytes, direct: Arc<Direct> },
}

/// The node's judgement of a message, owed to the network. Dropping it ignores the message.
pub struct GossipVerdict {
    from: NodeId,
    route: Option<Route>,
    feedback: FeedbackSender,
}

impl GossipVerdict {
    pub(crate) fn new(from: NodeId, route: Route, feedback: FeedbackSender) -> Self {
        Self { from, route: Some(route), feedback }
    }

    /// Valid: pass it on.
    pub fn accept(mut self) {
        match self.route.take() {
            Some(Route::Direct { frame, direct }) => direct.relay(&self.from, &frame),
            route => self.answer(route, MessageAcceptance::Accept),
        }
    }

    /// Neither good nor bad (old, already known, too early to tell): do not pass it on, hold it against nobody.
    pub fn ignore(mut self) {
        let route = self.route.take();
        self.answer(route, MessageAcceptance::Ignore);
    }

    /// Garbage that an honest peer would not have passed on: it costs the sender
    /// [`crate::config::StandingLimits::rejected_message`] points.
    pub fn reject(mut self) {
        match self.route.take() {
            Some(Route::Direct { .. }) => {
                let _ = self.feedback.send(Feedback::Rejected { from: self.from });
            }
            route => self.answer(route, MessageAcceptance::Reject),
        }
    }

    fn answer(&self, route: Option<Route>, acceptance: MessageAcceptance) {
        if let Some(Route::Gossip { id }) = route {
            // Lost when the queue is full: the message is then ignored, and counted.
            let _ = self.feedback.send(Feedback::Verdict { from: self.from, id, acceptance });
        }
    }
}

impl Drop for GossipVerdict {
    fn drop(&mut self) {
        let route = self.route.take();
        self.answer(route, MessageAcceptance::Ignore);
    }
}

impl fmt::Debug for GossipVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GossipVerdict").field("from", &self.from).finish_non_exhaustive()
    }
}

/// The answer owed to a request. Dropping it declines, which the asker learns at once.
#[derive(Debug)]
pub struct Reply {
    pub(crate) from: NodeId,
    pub(crate) answer: oneshot::Sender<Bytes>,
    pub(crate) limit: usize,
    pub(crate) feedback: FeedbackSender,
}

impl Reply {
    /// Longest answer that can be sent, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sends the answer.
    ///
    /// # Errors
    /// When it is too long (the asker is told that we declined) or nobody waits any more.
    pub fn send(self, bytes: impl Into<Bytes>) -> Result<(), ReplyError> {
        let bytes = bytes.into();
        if bytes.len() > self.limit {
            return Err(ReplyError::TooLarge { bytes: bytes.len(), limit: self.limit });
        }
        self.answer.send(bytes).map_err(|_| ReplyError::Gone)
    }

    /// The request was garbage: declines, and costs the asker
    /// [`crate::config::StandingLimits::bad_request`] points.
    pub fn reject(self) {
        let _ = self.feedback.send(Feedback::BadRequest { from: self.from });
    }
}
