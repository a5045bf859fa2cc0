//! What the node asks of the network. Cheap to clone; every clone speaks to the same network thread.
//!
//! Nothing here waits for the network thread unless it says `async`. When the last clone is dropped the network stops;
//! [`Network::shutdown`] also waits until its ports are free and its peer book is saved.

use crate::behaviour::WireNames;
use crate::config::{Config, Limits, Topic};
use crate::counters::NetworkCounters;
use crate::direct::{Direct, Way};
use crate::error::{OpenError, PublishError, RequestError, StartError};
use crate::event::Events;
use crate::request::{self, Kind};
use crate::stream::{Crowd, FragmentStream};
use crate::streams::Purpose;
use crate::task;
use bytes::Bytes;
use floe_types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

/// A member and where the ledger says it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// Who.
    pub node: NodeId,
    /// Multiaddresses, with or without `/p2p/...`; those that cannot be read are left out with a warning.
    pub addresses: Vec<String>,
}

/// What a peer is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In the committee, as last told by [`Network::set_members`].
    Member,
    /// Anybody else.
    Other,
}

/// A peer as the network sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Who.
    pub node: NodeId,
    /// Whether there is a connection on which it has introduced itself as part of this network.
    pub connected: bool,
    /// What it is to us.
    pub role: Role,
    /// Round-trip time of the last probe; none before the first.
    pub rtt: Option<Duration>,
    /// Where it listens, newest first.
    pub addresses: Vec<String>,
    /// What it calls itself: printable, at most 64 bytes. A stranger's claim.
    pub agent: String,
}

/// Something the node found out about a peer that the network could not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// An answer or a stream that no honest node would have sent:
    /// [`crate::config::StandingLimits::bad_request`] points.
    Garbage,
    /// An answer whose announced length is above its limit (the network notices by itself):
    /// [`crate::config::StandingLimits::bad_frame`] points.
    LyingLength,
}

/// What the handle asks of the network thread.
#[derive(Debug)]
pub(crate) enum Command {
    Publish { topic: Topic, bytes: Bytes, answer: Option<oneshot::Sender<Result<(), PublishError>>> },
    Open { purpose: Purpose, node: NodeId, answer: oneshot::Sender<Result<libp2p::Stream, OpenError>> },
    Offend { node: NodeId, offence: Offence },
    Shutdown,
}

/// Places for our own requests in flight, of each kind.
#[derive(Debug)]
pub(crate) struct Asking {
    status: Semaphore,
    blocks: Semaphore,
    challenges: Semaphore,
}

impl Asking {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        let places = in_flight_max.max(1);
        let places = || Semaphore::new(places);
        Self { status: places(), blocks: places(), challenges: places() }
    }

    fn of(&self, kind: Kind) -> &Semaphore {
        match kind {
            Kind::Status => &self.status,
            Kind::Blocks => &self.blocks,
            Kind::Challenge => &self.challenges,
        }
    }
}

/// The network, for those who use it.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub own: NodeId,
    pub limits: Limits,
    pub names: WireNames,
    pub commands: mpsc::Sender<Command>,
    pub members: watch::Sender<Arc<Vec<MemberAddress>>>,
    pub peers: watch::Receiver<Arc<Vec<PeerView>>>,
    pub listening: watch::Receiver<Arc<Vec<String>>>,
    pub stopped: watch::Receiver<Stopped>,
    pub direct: Arc<Direct>,
    pub crowd: Crowd,
    pub asking: Asking,
    pub counters: Arc<NetworkCounters>,
}

/// Whether the network thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    NotYet,
    Yes,
}

impl Network {
    /// Starts the network on a thread of its own and returns when it listens.
    ///
    /// # Errors
    /// When an address cannot be used, the peer book cannot be read or the system refuses; nothing is left running.
    pub fn start(config: Config) -> Result<(Network, Events), StartError> {
        let (shared, events) = task::start(config)?;
        Ok((Network { shared: Arc::new(shared) }, events))
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.own
    }

    /// Publishes a message, waiting for room in the queue to the network (consensus never waits: a slow peer's oldest
    /// message gives way).
    ///
    /// # Errors
    /// `NoPeers` when nobody listens yet, which is no fault; `TooLarge`; `Full` when every peer's queue is full.
    pub async fn publish(&self, topic: Topic, bytes: impl Into<Bytes>) -> Result<(), PublishError> {
        let bytes = bytes.into();
        let Some(bytes) = self.publish_direct(topic, bytes)? else { return Ok(()) };
        let (answer, answered) = oneshot::channel();
        let command = Command::Publish { topic, bytes, answer: Some(answer) };
        self.shared.commands.send(command).await.map_err(|_| PublishError::Stopped)?;
        answered.await.map_err(|_| PublishError::Stopped)?
    }

    /// Publishes a message without waiting. For gossip it is not known whether anybody listened.
    ///
    /// # Errors
    /// As [`Network::publish`]; `Full` when the queue to the network is full.
    pub fn try_publish(&self, topic: Topic, bytes: impl Into<Bytes>) -> Result<(), PublishError> {
        let bytes = bytes.into();
        let Some(bytes) = self.publish_direct(topic, bytes)? else { return Ok(()) };
        let command = Command::Publish { topic, bytes, answer: None };
        self.shared.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Full,
            mpsc::error::TrySendError::Closed(_) => PublishError::Stopped,
        })
    }

    /// Publishes directly if that is how it goes now; otherwise gives back what is to be gossiped.
    fn publish_direct(&self, topic: Topic, bytes: Bytes) -> Result<Option<Bytes>, PublishError> {
        let messages = &self.shared.limits.messages;
        let limit = match topic {
            Topic::Transactions => messages.transaction_bytes_max,
            Topic::Consensus => messages.consensus_bytes_max,
            Topic::Observations => messages.observations_bytes_max,
        };
        if bytes.len() > limit {
            return Err(PublishError::TooLarge { bytes: bytes.len(), limit });
        }
        match (topic, self.shared.direct.way()) {
            (Topic::Transactions | Topic::Observations, _) => Ok(Some(bytes)),
            (Topic::Consensus, Way::Gossip) => Ok(Some(self.shared.direct.wrap(&bytes))),
            (Topic::Consensus, Way::Direct) => self.shared.direct.publish(&bytes).map(|()| None),
        }
    }

    /// Asks a node for its status; at most [`crate::config::RequestLimits::status_timeout`].
    ///
    /// # Errors
    /// See [`RequestError`]; a request of another network's node fails as `OtherNetwork` or `NotSupported`.
    pub async fn request_status(&self, node: NodeId, bytes: impl Into<Bytes>) -> Result<Bytes, RequestError> {
        self.request(Kind::Status, node, bytes.into()).await
    }

    /// Asks a node for blocks; at most [`crate::config::RequestLimits::blocks_timeout`].
    ///
    /// # Errors
    /// As [`Network::request_status`].
    pub async fn request_blocks(&self, node: NodeId, bytes: impl Into<Bytes>) -> Result<Bytes, RequestError> {
        self.request(Kind::Blocks, node, bytes.into()).await
    }

    /// Challenges a node; at most [`crate::config::RequestLimits::challenge_timeout`].
    ///
    /// # Errors
    /// As [`Network::request_status`].
    pub async fn request_challenge(&self, node: NodeId, bytes: impl Into<Bytes>) -> Result<Bytes, RequestError> {
        self.request(Kind::Challenge, node, bytes.into()).await
    }

    async fn request(&self, kind: Kind, node: NodeId, bytes: Bytes) -> Result<Bytes, RequestError> {
        let shared = &self.shared;
        let limits = &shared.limits.requests;
        let limit = limits.request_bytes_max;
        if bytes.len() > limit {
            return Err(RequestError::TooLarge { bytes: bytes.len(), limit });
        }
        let busy = RequestError::Busy { limit: limits.in_flight_max };
        let _place = shared.asking.of(kind).try_acquire().map_err(|_| busy)?;
        let exchange = async {
            let stream = self.open(Purpose::Request(kind), node).await?;
            request::ask(stream, kind, &bytes, limits, &shared.counters).await
        };
        let waited = kind.timeout(limits);
        let result = timeout(waited, exchange).await.map_err(|_| RequestError::Timeout { waited })?;
        if let Err(RequestError::TooLarge { .. }) = &result {
            self.report(node, Offence::LyingLength);
        }
        result
    }

    async fn open(&self, purpose: Purpose, node: NodeId) -> Result<libp2p::Stream, OpenError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Open { purpose, node, answer };
        self.shared.commands.send(command).await.map_err(|_| OpenError::Stopped)?;
        answered.await.map_err(|_| OpenError::Stopped)?
    }

    /// Opens a fragment stream; at most [`crate::config::StreamLimits::open_timeout`], the wait for a free place
    /// included.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_fragment_stream(&self, node: NodeId) -> Result<FragmentStream, OpenError> {
        let shared = &self.shared;
        let waited = shared.limits.streams.open_timeout;
        let opening = async {
            let place = shared.crowd.enter(node).await.ok_or(OpenError::Stopped)?;
            let stream = self.open(Purpose::Fragment, node).await?;
            let counters = Arc::clone(&shared.counters);
            Ok(FragmentStream::new(stream, node, &shared.limits.streams, counters, place))
        };
        timeout(waited, opening).await.map_err(|_| OpenError::Timeout { waited })?
    }

    /// Who is in the committee and where: kept connected from now on, with reserved slots. Replaces what was told
    /// before; our own entry tells us that we are a member.
    pub fn set_members(&self, members: Vec<MemberAddress>) {
        let mut members = members;
        members.truncate(self.shared.limits.connections.members_max);
        self.shared.direct.set_members(members.iter().map(|member| member.node).collect());
        self.shared.members.send_replace(Arc::new(members));
    }

    /// Holds something against a peer. Lost, and counted, when the network is too busy.
    pub fn report(&self, node: NodeId, offence: Offence) {
        if self.shared.commands.try_send(Command::Offend { node, offence }).is_err() {
            crate::counters::add(&self.shared.counters.commands_dropped, 1);
        }
    }

    /// Connected peers, and members whether connected or not, in the order of their ids.
    #[must_use]
    pub fn peers(&self) -> Arc<Vec<PeerView>> {
        Arc::clone(&self.shared.peers.borrow())
    }

    /// The same, for waiting for changes.
    #[must_use]
    pub fn watch_peers(&self) -> watch::Receiver<Arc<Vec<PeerView>>> {
        self.shared.peers.clone()
    }

    /// Where we listen, as multiaddresses with our peer id: what others may be given as bootstrap addresses.
    #[must_use]
    pub fn listen_addresses(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.shared.listening.borrow())
    }

    /// What was sent, received, dropped and refused.
    #[must_use]
    pub fn counters(&self) -> &NetworkCounters {
        &self.shared.counters
    }

    /// The names on the wire: what a node of this network announces itself as.
    #[must_use]
    pub fn protocol_version(&self) -> &str {
        &self.shared.names.version
    }

    /// Stops the network and waits until its ports are free and the peer book is saved. Safe to call twice.
    pub async fn shutdown(&self) {
        let _ = self.shared.commands.send(Command::Shutdown).await;
        let mut stopped = self.shared.stopped.clone();
        // An error means that the thread is gone, which is what we wait for.
        let _ = stopped.wait_for(|stopped| *stopped == Stopped::Yes).await;
    }
}
