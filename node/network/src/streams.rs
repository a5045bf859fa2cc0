//! Plain streams as a part of the swarm: who opens one gets it, who is offered one is told.
//!
//! Votes, fragments and requests ride on it. Only the opening passes through the swarm task; bytes go between
//! the stream's owner and its connection.
//!
//! # Where we differ
//! `libp2p-stream` does the same and hands incoming streams over through a queue of one place: a second stream that
//! arrives before the queue is read is dropped after its opener was told it is open. Uploads open many at once, so
//! here they wait in the handler, up to [`WAITING_MAX`] a connection.

use crate::request::Kind;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// Streams that may wait in one connection, to be opened or to be handed over. More are refused.
pub(crate) const WAITING_MAX: usize = 128;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One-way: consensus messages.
    Votes,
    /// Both ways: fragments.
    Fragment,
    /// A question and its answer.
    Request(Kind),
}

impl Purpose {
    /// All, as they are offered to a peer; votes first, because the first name is found soonest.
    const ALL: [Purpose; 5] = [
        Purpose::Votes,
        Purpose::Fragment,
        Purpose::Request(Kind::Challenge),
        Purpose::Request(Kind::Status),
        Purpose::Request(Kind::Blocks),
    ];
}

/// The names of the protocols.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub votes: StreamProtocol,
    pub fragment: StreamProtocol,
    pub status: StreamProtocol,
    pub blocks: StreamProtocol,
    pub challenge: StreamProtocol,
}

impl Names {
    pub(crate) fn of(&self, purpose: Purpose) -> StreamProtocol {
        match purpose {
            Purpose::Votes => self.votes.clone(),
            Purpose::Fragment => self.fragment.clone(),
            Purpose::Request(Kind::Status) => self.status.clone(),
            Purpose::Request(Kind::Blocks) => self.blocks.clone(),
            Purpose::Request(Kind::Challenge) => self.challenge.clone(),
        }
    }
}

/// Why a stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The other side does not speak the protocol.
    NotSupported,
    /// The other side did not answer.
    Timeout,
    /// Something else, in words.
    Failed(String),
}

/// A stream that somebody waits for.
#[derive(Debug)]
pub(crate) struct Opening {
    pub purpose: Purpose,
    pub answer: oneshot::Sender<Result<Stream, Failure>>,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub peer: PeerId,
    pub purpose: Purpose,
    pub stream: Stream,
}

/// The part of the swarm that opens and accepts streams.
#[derive(Debug)]
pub(crate) struct Behaviour {
    names: Names,
    /// Bounded by who calls: each entry is a waiting caller of [`Behaviour::open`].
    requests: VecDeque<(PeerId, Opening)>,
    arrived: VecDeque<Incoming>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new(names: Names) -> Self {
        Self { names, requests: VecDeque::new(), arrived: VecDeque::new(), waker: None }
    }

    /// Asks for a stream over any connection to the peer. Without a connection the answer's sender is dropped.
    pub(crate) fn open(&mut self, peer: PeerId, opening: Opening) {
        self.requests.push_back((peer, opening));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self) -> Handler {
        Handler { names: self.names.clone(), opening: VecDeque::new(), arrived: VecDeque::new(), waker: None }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        // Drained by the very next poll of the swarm, which also is what called us.
        self.arrived.push_back(Incoming { peer, purpose: event.0, stream: event.1 });
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Incoming, THandlerInEvent<Self>>> {
        if let Some(incoming) = self.arrived.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(incoming));
        }
        if let Some((peer_id, event)) = self.requests.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A stream as the handler hands it over.
#[derive(Debug)]
pub(crate) struct Arrived(Purpose, Stream);

/// The part of a connection that opens and accepts streams.
#[derive(Debug)]
pub(crate) struct Handler {
    names: Names,
    opening: VecDeque<Opening>,
    arrived: VecDeque<Arrived>,
    waker: Option<Waker>,
}

impl Handler {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Opening;
    type ToBehaviour = Arrived;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade, ()> {
        SubstreamProtocol::new(Upgrade { names: self.names.clone(), only: None }, ())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, Opening, Arrived>> {
        if let Some(arrived) = self.arrived.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(arrived));
        }
        if let Some(opening) = self.opening.pop_front() {
            let upgrade = Upgrade { names: self.names.clone(), only: Some(opening.purpose) };
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(upgrade, opening),
            });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, opening: Opening) {
        if self.opening.len() < WAITING_MAX {
            self.opening.push_back(opening);
            self.wake();
        } else {
            let _ = opening.answer.send(Err(Failure::Failed("too many streams are being opened".to_owned())));
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Upgrade, Upgrade, (), Opening>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (purpose, stream), .. })
                if self.arrived.len() < WAITING_MAX =>
            {
                self.arrived.push_back(Arrived(purpose, stream));
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (_, stream), info }) => {
                // Who asked may have lost patience: the stream is then dropped, which resets it.
                let _ = info.answer.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let failure = match error {
                    StreamUpgradeError::Timeout => Failure::Timeout,
                    StreamUpgradeError::NegotiationFailed => Failure::NotSupported,
                    StreamUpgradeError::Io(error) => Failure::Failed(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.answer.send(Err(failure));
            }
            _ => {}
        }
    }
}

/// The negotiation: all protocols are accepted, one is asked for.
#[derive(Debug)]
pub(crate) struct Upgrade {
    names: Names,
    only: Option<Purpose>,
}

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        match self.only {
            Some(purpose) => vec![self.names.of(purpose)].into_iter(),
            None => Purpose::ALL.map(|purpose| self.names.of(purpose)).to_vec().into_iter(),
        }
    }
}

impl Upgrade {
    fn done(&self, stream: Stream, name: &StreamProtocol) -> (Purpose, Stream) {
        let purpose = Purpose::ALL.into_iter().find(|purpose| self.names.of(*purpose) == *name);
        (purpose.expect("only names that we offered are negotiated"), stream)
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Purpose, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok(self.done(stream, &name)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Purpose, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok(self.done(stream, &name)))
    }
}
