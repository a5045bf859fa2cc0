//! What is said: gossip and its verdicts, and the streams that carry everything else.

use super::Task;
use crate::config::Topic;
use crate::counters::add;
use crate::error::{OpenError, PublishError, StartError};
use crate::event::{Event, GossipVerdict, Route};
use crate::identity;
use crate::request::Server;
use crate::stream::FragmentStream;
use crate::streams::{Failure, Incoming, Opening, Purpose};
use bytes::Bytes;
use floe_types::NodeId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageId};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bytes of the nonce before a gossiped consensus message.
const NONCE_BYTES: usize = 8;

impl Task {
    /// Subscribes to all topics.
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
                    Topic::Observations => self.limits.messages.observations_bytes_max,
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
            Topic::Transactions | Topic::Observations => data,
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

    /// Opens a stream; the answer comes from a task of its own.
    pub(super) fn open_stream(
        &mut self,
        purpose: Purpose,
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
        self.swarm.behaviour_mut().streams.open(peer, Opening { purpose, answer: opened });
        let protocol = self.names.streams.of(purpose).to_string();
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
            Purpose::Fragment => match self.crowds.fragments.try_enter(from) {
                Some(place) => {
                    let counters = Arc::clone(&self.counters);
                    let stream = FragmentStream::new(stream, from, &self.limits.streams, counters, place);
                    self.tell(Event::FragmentStream { from, stream });
                }
                None => add(&self.counters.streams_refused, 1),
            },
            Purpose::Request(kind) => match self.crowds.of(kind).try_enter(from) {
                Some(place) => {
                    let (limits, events) = (self.limits.requests.clone(), self.events.clone());
                    let feedback = self.feedback_sender.clone();
                    tokio::spawn(Server { from, kind, limits, events, feedback, place }.serve(stream));
                }
                None => add(&self.counters.requests_refused, 1),
            },
        }
    }
}
