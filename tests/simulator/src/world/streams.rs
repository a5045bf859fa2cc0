//! Streams of fragments between nodes: a request with its body there, an answer with its body back.
//!
//! A stream is a connection: what is sent arrives in order or the stream breaks off, and then what arrived is a beginning.
//! A fallen peer shows as an end; a cut link shows as silence, and whoever waits must have a deadline.

use super::{Event, World};
use crate::identity;
use floe_machines::custody::StreamId;
use floe_types::NodeId;
use std::collections::BTreeMap;

/// How long opening a stream over a cut link takes to fail, in milliseconds.
const OPEN_MILLIS_MAX: u64 = 2_000;

/// The streams there are.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    links: BTreeMap<StreamId, Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    asker: usize,
    asker_life: u64,
    holder: usize,
    /// Set when the holder has the stream.
    holder_life: Option<u64>,
}

/// Bytes that came over a stream.
#[derive(Debug)]
pub(crate) struct Carried {
    /// What arrived.
    pub bytes: Vec<u8>,
    /// Whether that is all.
    pub whole: bool,
}

/// What happens to a stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// The request arrives at the holder.
    Opened { stream: StreamId, carried: Carried },
    /// The answer arrives at the asker.
    Answered { stream: StreamId, carried: Carried },
    /// The asker learns that the stream is over.
    EndsForAsker { stream: StreamId },
    /// The holder learns that the asker has left.
    EndsForHolder { stream: StreamId },
}

impl World {
    /// Opens a stream to the holder of this name and sends the request.
    pub(super) fn open_stream(&mut self, asker: usize, holder: &NodeId, request: Vec<u8>) -> StreamId {
        let stream = StreamId(self.serial());
        let asker_life = self.nodes[asker].life;
        let reached = self.reach(asker, holder).or_else(|| identity::node_of(holder));
        let holder = reached.unwrap_or(asker);
        self.streams.links.insert(stream, Link { asker, asker_life, holder, holder_life: None });
        let open = self.network.is_open(asker, holder) && self.network.is_open(holder, asker);
        let (after, event) = if open {
            let request = self.damaged(asker, &request).map_or(request, Vec::from);
            let carried = self.carried(request);
            (self.network.carry_reliably(), StreamEvent::Opened { stream, carried })
        } else {
            (OPEN_MILLIS_MAX, StreamEvent::EndsForAsker { stream })
        };
        self.queue.plan(self.now + after, Event::Stream(event));
        stream
    }

    fn carried(&mut self, mut bytes: Vec<u8>) -> Carried {
        let length = self.network.carried_bytes(bytes.len());
        let whole = length == bytes.len();
        self.stats.broken_streams += u64::from(!whole);
        bytes.truncate(length);
        Carried { bytes, whole }
    }

    /// Sends the holder's answer; the stream is over for the holder.
    pub(super) fn answer_stream(&mut self, stream: StreamId, answer: Vec<u8>) {
        let Some(link) = self.streams.links.get(&stream).copied() else { return };
        if !self.network.is_open(link.holder, link.asker) {
            return;
        }
        let answer = self.damaged(link.holder, &answer).map_or(answer, Vec::from);
        let carried = self.carried(answer);
        let after = self.network.carry_reliably();
        self.queue.plan(self.now + after, Event::Stream(StreamEvent::Answered { stream, carried }));
    }

    /// Who opened a stream.
    pub(super) fn asker_of(&self, stream: StreamId) -> Option<NodeId> {
        let link = self.streams.links.get(&stream)?;
        self.nodes.get(link.asker).map(crate::node::Node::id)
    }

    /// The holder closes the stream without a word.
    pub(super) fn close_stream(&mut self, stream: StreamId) {
        let after = self.network.carry_reliably();
        self.queue.plan(self.now + after, Event::Stream(StreamEvent::EndsForAsker { stream }));
    }

    /// The asker gives the stream up.
    pub(super) fn cancel_stream(&mut self, stream: StreamId) {
        let Some(link) = self.streams.links.get(&stream).copied() else { return };
        if self.network.is_open(link.asker, link.holder) {
            let after = self.network.carry_reliably();
            self.queue.plan(self.now + after, Event::Stream(StreamEvent::EndsForHolder { stream }));
        } else {
            self.streams.links.remove(&stream);
        }
    }

    /// A node fell: those at the other ends of its streams learn it where the link is whole.
    pub(super) fn streams_of_the_fallen(&mut self, node: usize) {
        let concerned: Vec<_> = self
            .streams
            .links
            .iter()
            .filter(|(_, link)| link.asker == node || link.holder == node)
            .map(|(stream, link)| (*stream, *link))
            .collect();
        for (stream, link) in concerned {
            let other = if link.asker == node { link.holder } else { link.asker };
            if !self.network.is_open(node, other) {
                continue;
            }
            let event = match link.asker == node {
                true => StreamEvent::EndsForHolder { stream },
                false => StreamEvent::EndsForAsker { stream },
            };
            let after = self.network.carry_reliably();
            self.queue.plan(self.now + after, Event::Stream(event));
        }
    }

    pub(super) fn stream_happens(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { stream, carried } => self.stream_opened(stream, carried),
            StreamEvent::Answered { stream, carried } => {
                if let Some(link) = self.streams.links.remove(&stream)
                    && self.lives(link.asker, link.asker_life)
                {
                    self.trace.mix(self.now, 11, link.asker, &carried.bytes);
                    self.stream_answered(link.asker, stream, Some(carried));
                }
            }
            StreamEvent::EndsForAsker { stream } => {
                if let Some(link) = self.streams.links.remove(&stream)
                    && self.lives(link.asker, link.asker_life)
                {
                    self.trace.mix(self.now, 12, link.asker, &stream.0.to_be_bytes());
                    self.stream_answered(link.asker, stream, None);
                }
            }
            StreamEvent::EndsForHolder { stream } => {
                if let Some(link) = self.streams.links.remove(&stream)
                    && let Some(life) = link.holder_life
                    && self.lives(link.holder, life)
                {
                    self.trace.mix(self.now, 13, link.holder, &stream.0.to_be_bytes());
                    self.asker_left(link.holder, stream);
                }
            }
        }
    }

    fn stream_opened(&mut self, stream: StreamId, carried: Carried) {
        let Some(link) = self.streams.links.get_mut(&stream) else { return };
        let (asker, holder) = (link.asker, link.holder);
        if self.nodes[holder].live.is_none() {
            return self.close_stream(stream);
        }
        link.holder_life = Some(self.nodes[holder].life);
        self.trace.mix(self.now, 10, holder, &carried.bytes);
        let peer = self.nodes[asker].id();
        self.asked_on_stream(holder, stream, peer, carried);
    }
}
