//! What is said: gossip, requests and their answers, streams.

use super::Task;
use crate::behaviour::Behaviour;
use crate::codec::BoundedCodec;
use crate::config::Topic;
use crate::counters::add;
use crate::error::{OpenError, PublishError, RequestError, StartError};
use crate::event::{Event, GossipVerdict, Reply, RequestProtocol, Route};
use crate::frame;
use crate::handle::RequestAnswer;
use crate::identity;
use crate::stream::FragmentStream;
use crate::streams::{Failure, Incoming, Opening, Purpose};
use bytes::Bytes;
use floe_types::NodeId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageId};
use libp2p::request_response::{self, InboundFailure, Message, OutboundFailure, ResponseChannel};
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bytes of the nonce before a gossiped consensus message.
const NONCE_BYTES: usize = 8;

impl Task {
    /// Subscribes to both topics.
    pub(super) fn subscribe(&mut self) -> Result<(), StartError> {
        for topic in Topic::ALL {
            let topic = IdentTopic::new(self.names.topic(topic).as_str());
            let subscribed = self.swarm.behaviour_mut().gossip.subscribe(&topic);
            subscribed.map_err(|error| StartError::Setup { reason: error.to_string() })?;
        }
        Ok(())
    }

    /// Publishes by gossip.
    pub(super) fn gossip(&mut self, topic: Topic, bytes: &Bytes) -> Result<(), PublishError> {
        let name = self.names.topic(topic).clone();
        match self.swarm.behaviour_mut().gossip.publish(name, bytes.to_vec()) {
            // A duplicate has been published a moment ago: whoever listens has it.
            Ok(_) | Err(gossipsub::PublishError::Duplicate) => {
                add(&self.counters.gossip_bytes_out, bytes.len());
                Ok(())
            }
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers),
            Err(gossipsub::PublishError::AllQueuesFull(_)) => Err(PublishError::Full),
            Err(gossipsub::PublishError::MessageTooLarge) => {
                let limit = match topic {
                    Topic::Transactions => self.limits.messages.transaction_bytes_max,
                    Topic::Consensus => self.limits.messages.consensus_bytes_max,
                };
                Err(PublishError::TooLarge { bytes: bytes.len(), limit })
            }
            Err(error) => {
                tracing::error!(%error, "gossip without signatures or compression cannot fail so");
                Err(PublishError::NoPeers)
            }
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else { return };
        let topic = Topic::ALL.into_iter().find(|topic| *self.names.topic(*topic) == message.topic);
        let (Some(topic), Some(from)) = (topic, identity::node_of(&propagation_source)) else { return };
        add(&self.counters.gossip_bytes_in, message.data.len());
        let data = Bytes::from(message.data);
        let bytes = match topic {
            Topic::Transactions => data,
            Topic::Consensus if data.len() < NONCE_BYTES => {
                self.on_verdict(from, &message_id, MessageAcceptance::Reject);
                return;
            }
            Topic::Consensus if !self.direct.is_new(&data) => {
                self.on_verdict(from, &message_id, MessageAcceptance::Ignore);
                return;
            }
            Topic::Consensus => data.slice(NONCE_BYTES..),
        };
        let verdict = GossipVerdict::new(from, Route::Gossip { id: message_id }, self.feedback_sender.clone());
        self.tell(Event::Gossip { topic, from, bytes, verdict });
    }

    pub(super) fn on_verdict(&mut self, from: NodeId, id: &MessageId, acceptance: MessageAcceptance) {
        let rejected = matches!(acceptance, MessageAcceptance::Reject);
        if let Some(peer) = identity::peer_of(&from) {
            self.swarm.behaviour_mut().gossip.report_message_validation_result(id, &peer, acceptance);
        }
        if rejected {
            self.on_rejected(from);
        }
    }

    pub(super) fn on_rejected(&mut self, from: NodeId) {
        add(&self.counters.messages_rejected, 1);
        self.offend(from, self.limits.standing.rejected_message);
    }

    pub(super) fn on_bad_frame(&mut self, from: NodeId) {
        add(&self.counters.bad_frames, 1);
        self.offend(from, self.limits.standing.bad_frame);
    }

    /// Sends a request, or says at once why not.
    pub(super) fn request(&mut self, protocol: RequestProtocol, node: NodeId, bytes: Bytes, answer: RequestAnswer) {
        let limit = self.limits.requests.in_flight_max;
        let in_flight = self.requests.keys().filter(|(of, _)| *of == protocol).count();
        let refusal = match self.greeted(&node) {
            Some(peer) if in_flight < limit => {
                add(&self.counters.request_bytes_out, bytes.len());
                let id = self.requests_of(protocol).send_request(&peer, bytes);
                self.requests.insert((protocol, id), answer);
                return;
            }
            Some(_) => RequestError::Busy { limit },
            None => match self.strangers_to_us.get(&node) {
                Some(other) => {
                    RequestError::OtherNetwork { theirs: other.theirs.clone(), ours: self.names.version.clone() }
                }
                None => RequestError::NotConnected { node },
            },
        };
        let _ = answer.send(Err(refusal));
    }

    pub(super) fn answer(&mut self, protocol: RequestProtocol, channel: ResponseChannel<Bytes>, bytes: Bytes) {
        add(&self.counters.request_bytes_out, bytes.len());
        if self.requests_of(protocol).send_response(channel, bytes).is_err() {
            tracing::debug!(?protocol, "the asker no longer waits");
        }
    }

    fn requests_of(&mut self, protocol: RequestProtocol) -> &mut request_response::Behaviour<BoundedCodec> {
        let Behaviour { status, blocks, .. } = self.swarm.behaviour_mut();
        match protocol {
            RequestProtocol::Status => status,
            RequestProtocol::Blocks => blocks,
        }
    }

    pub(super) fn on_request_event(&mut self, protocol: RequestProtocol, event: request_response::Event<Bytes, Bytes>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request, channel, .. } => {
                    if let Some(from) = identity::node_of(&peer) {
                        self.on_request(protocol, from, request, channel);
                    }
                }
                Message::Response { request_id, response } => {
                    add(&self.counters.request_bytes_in, response.len());
                    self.finish(protocol, request_id, Ok(response));
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                if bad_frame(&error).is_some()
                    && let Some(node) = identity::node_of(&peer)
                {
                    self.on_bad_frame(node);
                }
                let error = self.request_error(protocol, error);
                self.finish(protocol, request_id, Err(error));
            }
            request_response::Event::InboundFailure { peer, error: InboundFailure::Io(error), .. } => {
                if frame::too_long(&error).is_some()
                    && let Some(node) = identity::node_of(&peer)
                {
                    self.on_bad_frame(node);
                }
            }
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn on_request(&mut self, protocol: RequestProtocol, from: NodeId, bytes: Bytes, channel: ResponseChannel<Bytes>) {
        add(&self.counters.request_bytes_in, bytes.len());
        let requests = &self.limits.requests;
        let limit = match protocol {
            RequestProtocol::Status => requests.status_answer_bytes_max,
            RequestProtocol::Blocks => requests.blocks_answer_bytes_max,
        };
        let reply = Reply { from, protocol, channel, limit, feedback: self.feedback_sender.clone() };
        self.tell(match protocol {
            RequestProtocol::Status => Event::StatusRequest { from, bytes, reply },
            RequestProtocol::Blocks => Event::BlocksRequest { from, bytes, reply },
        });
    }

    fn finish(
        &mut self,
        protocol: RequestProtocol,
        id: request_response::OutboundRequestId,
        result: Result<Bytes, RequestError>,
    ) {
        if let Some(answer) = self.requests.remove(&(protocol, id)) {
            // Who asked may have lost patience.
            let _ = answer.send(result);
        }
    }

    fn request_error(&self, protocol: RequestProtocol, error: OutboundFailure) -> RequestError {
        let waited = match protocol {
            RequestProtocol::Status => self.limits.requests.status_timeout,
            RequestProtocol::Blocks => self.limits.requests.blocks_timeout,
        };
        if let Some(too_long) = bad_frame(&error) {
            return RequestError::TooLarge { bytes: too_long.bytes, limit: too_long.limit };
        }
        match error {
            OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => RequestError::ConnectionLost,
            OutboundFailure::Timeout => RequestError::Timeout { waited },
            OutboundFailure::UnsupportedProtocols => {
                RequestError::NotSupported { protocol: self.names.request(protocol).to_owned() }
            }
            // The other side closed the stream instead of answering.
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => RequestError::Refused,
            OutboundFailure::Io(error) => RequestError::Failed { reason: error.to_string() },
        }
    }

    /// Opens a fragment stream; the answer comes from a task of its own.
    pub(super) fn open_fragment_stream(
        &mut self,
        node: NodeId,
        answer: oneshot::Sender<Result<libp2p::Stream, OpenError>>,
    ) {
        let Some(peer) = self.greeted(&node) else {
            let refusal = match self.strangers_to_us.get(&node) {
                Some(other) => {
                    OpenError::OtherNetwork { theirs: other.theirs.clone(), ours: self.names.version.clone() }
                }
                None => OpenError::NotConnected { node },
            };
            let _ = answer.send(Err(refusal));
            return;
        };
        let (opened, is_opened) = oneshot::channel();
        self.swarm.behaviour_mut().streams.open(peer, Opening { purpose: Purpose::Fragment, answer: opened });
        let protocol = self.names.fragment.clone();
        let waited = self.limits.streams.open_timeout;
        // Ends with the opening: the handler always answers, or is dropped with its connection.
        tokio::spawn(async move {
            let result = match is_opened.await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(Failure::NotSupported)) => Err(OpenError::NotSupported { protocol }),
                Ok(Err(Failure::Timeout)) => Err(OpenError::Timeout { waited }),
                Ok(Err(Failure::Failed(reason))) => Err(OpenError::Failed { reason }),
                Err(_) => Err(OpenError::NotConnected { node }),
            };
            let _ = answer.send(result);
        });
    }

    pub(super) fn on_stream(&mut self, incoming: Incoming) {
        let Incoming { peer, purpose, stream } = incoming;
        let Some(from) = identity::node_of(&peer) else { return };
        match purpose {
            Purpose::Votes => self.on_votes_stream(from, stream),
            Purpose::Fragment => match self.crowd.try_enter(from) {
                Some(place) => {
                    let counters = Arc::clone(&self.counters);
                    let stream = FragmentStream::new(stream, from, &self.limits.streams, counters, place);
                    self.tell(Event::FragmentStream { from, stream });
                }
                None => add(&self.counters.streams_refused, 1),
            },
        }
    }
}

/// The lying length behind a failed request, if that is what it was.
fn bad_frame(error: &OutboundFailure) -> Option<frame::TooLong> {
    match error {
        OutboundFailure::Io(error) => frame::too_long(error),
        _ => None,
    }
}
