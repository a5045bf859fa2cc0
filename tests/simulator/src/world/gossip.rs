//! How consensus messages and transactions spread.
//!
//! Transactions go by gossip: to everybody in touch, relayed by whoever accepts them, known by a hash of their content,
//! so that the same bytes are one message for as long as gossip remembers. Consensus goes the same way in large
//! committees, each publication a message of its own; in small ones it goes to every member directly and is relayed by
//! nobody. Both are the node's ways; the plan draws one.

use super::{Event, World};
use crate::node::{Heard, Role};
use crate::plan::Spread;
use bytes::Bytes;
use floe_machines::coordinator::{GossipToken, Input, Judgement, Topic};

/// How long gossip remembers what it has seen, in milliseconds: as the node's network is configured.
const DUPLICATE_WINDOW_MILLIS: u64 = 10_000;
/// Of a thousand messages, those that a corrupter damages.
const DAMAGED_PER_MILLE: u64 = 100;
/// What is remembered at most before the old is looked through.
const SEEN_MAX: usize = 4_096;

/// The name of a message: of its content alone, or of this one publication.
fn message_id(topic: Topic, bytes: &[u8], publication: Option<u64>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[topic as u8]);
    hasher.update(&publication.unwrap_or(0).to_be_bytes()).update(bytes);
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

impl World {
    fn is_relayed(&self, topic: Topic) -> bool {
        topic == Topic::Transactions || self.plan.spread == Spread::Gossip
    }

    /// A node publishes a message of its own.
    pub(super) fn publish(&mut self, node: usize, topic: Topic, bytes: &Bytes) {
        let publication = (topic == Topic::Consensus).then(|| self.serial());
        let id = message_id(topic, bytes, publication);
        if self.is_relayed(topic) && !self.note_seen(node, id) {
            return;
        }
        self.spread(node, None, (topic, id, bytes));
    }

    /// Sends to everybody in touch but the one it came from.
    fn spread(&mut self, node: usize, from: Option<usize>, (topic, id, bytes): (Topic, [u8; 16], &Bytes)) {
        for to in 0..self.nodes.len() {
            let own = self.nodes[to].who == self.nodes[node].who;
            let touch = self.nodes[node].is_in_touch_with(to) && self.nodes[to].is_in_touch_with(node);
            if own || !touch || Some(to) == from {
                continue;
            }
            for after in self.network.carry(node, to) {
                let (bytes, id) = match self.damaged(node, bytes) {
                    Some(damaged) => (damaged.clone(), message_id(topic, &damaged, None)),
                    None => (bytes.clone(), id),
                };
                let event = Event::Message { to, from: node, topic, id, bytes };
                self.queue.plan(self.now + after, event);
            }
        }
    }

    /// What a corrupter makes of bytes that leave it: now and then something else.
    pub(super) fn damaged(&mut self, node: usize, bytes: &[u8]) -> Option<Bytes> {
        if self.nodes[node].role != Role::Corrupter || !self.villain_luck.in_thousand(DAMAGED_PER_MILLE) {
            return None;
        }
        let mut bytes = bytes.to_vec();
        self.stats.corrupted += 1;
        let at = self.villain_luck.index(bytes.len().max(1));
        match self.villain_luck.below(4) {
            0 => bytes.truncate(at),
            1 => {
                let more = self.villain_luck.between(1, 40) as usize;
                bytes.extend(self.villain_luck.bytes(more));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.villain_luck.below(8);
                }
            }
        }
        Some(bytes.into())
    }

    /// Whether this message is new to the node, which remembers it from now on.
    fn note_seen(&mut self, node: usize, id: [u8; 16]) -> bool {
        let now = self.now;
        let Some(live) = self.nodes[node].live.as_mut() else { return false };
        if live.seen.len() >= SEEN_MAX {
            live.seen.retain(|_, until| *until > now);
        }
        let until = now + DUPLICATE_WINDOW_MILLIS;
        let known = live.seen.get(&id).is_some_and(|until| *until > now);
        if !known {
            live.seen.insert(id, until);
        }
        !known
    }

    pub(super) fn message_arrives(&mut self, to: usize, from: usize, topic: Topic, id: [u8; 16], bytes: Bytes) {
        if self.nodes[to].live.is_none() || self.is_deaf(to) || self.is_cut_short(from) {
            return;
        }
        if self.is_relayed(topic) && !self.note_seen(to, id) {
            return;
        }
        if topic == Topic::Transactions && self.nodes[to].role == Role::Censor && !self.is_calm {
            self.stats.censored += 1;
            return;
        }
        self.trace.mix(self.now, 1 + topic as u8, to, &bytes);
        self.trace.say(self.now, || format!("{to} hears from {from}: {}", super::coordination::words(topic, &bytes)));
        if let Some(live) = self.nodes[to].live.as_mut() {
            live.judging = Some(Heard { topic, id, bytes: bytes.clone(), from });
        }
        let token = GossipToken(0);
        let input = match topic {
            Topic::Transactions => Input::TransactionMessage { token, bytes },
            Topic::Consensus => Input::ConsensusMessage { token, bytes },
        };
        self.coordinate(to, input);
        if let Some(live) = self.nodes[to].live.as_mut() {
            live.judging = None;
        }
    }

    /// The coordinator has made up its mind about the message that is being heard.
    pub(super) fn judged(&mut self, node: usize, judgement: Judgement) {
        let Some(heard) = self.nodes[node].live.as_mut().and_then(|live| live.judging.take()) else { return };
        if judgement == Judgement::Reject {
            self.stats.rejected += 1;
        }
        let topic = heard.topic;
        if judgement == Judgement::Accept && self.is_relayed(topic) {
            self.spread(node, Some(heard.from), (topic, heard.id, &heard.bytes));
        }
    }
}
