//! Consensus messages straight from member to member: one long-lived stream to each peer, no mesh, no relaying
//! between peers that already hear the sender.
//!
//! # How it works
//! 1. Every node keeps one outgoing stream to each connected peer that takes part (see [`Direct::takes_part`]).
//! 2. `publish` frames the message once and queues it for every open stream. Frames are shared, not copied.
//! 3. Each node tells its peers whom it *reaches*: the nodes to which its streams are open now.
//! 4. Who accepts a message passes it on to those of its own peers that the sender does not reach. Observers and
//!    pairs without a connection of their own are served that way; in a full mesh nobody passes anything on.
//!
//! By induction a message comes to everyone who is connected through nodes that accept it: each node that has it has
//! sent it to all its peers, except to those its own sender says to have sent it to. A sender that lies about its
//! reach withholds what came through it first; the author's repetition goes out with a new nonce and another first.
//!
//! # Wire
//! ```text
//!   length u32 le | 0 | nonce u64 le | message      a message; the id of a message is the hash of nonce and message
//!   length u32 le | 1 | node id (32 bytes) ...      whom the sender reaches
//! ```
//! The nonce is new for each publish, so that a vote that is repeated on purpose is not taken for an echo.
//!
//! # Full
//! A slow peer has a queue bounded in messages and bytes; the oldest gives way, because newer votes supersede older
//! ones and who lost some catches up by itself.

use crate::config::{MessageLimits, Topic};
use crate::counters::{NetworkCounters, add};
use crate::error::PublishError;
use crate::event::{Event, EventSender, Feedback, FeedbackSender, GossipVerdict, Route};
use crate::frame::{self, LENGTH_BYTES};
use bytes::{BufMut, Bytes, BytesMut};
use floe_types::NodeId;
use futures::io::BufReader;
use futures::{AsyncReadExt, AsyncWriteExt};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// First byte of a frame that carries a message.
const KIND_MESSAGE: u8 = 0;
/// First byte of a frame that says whom the sender reaches.
const KIND_REACH: u8 = 1;
/// Kind and nonce.
const SHELL_BYTES: usize = 9;
/// Nodes in one frame of reach; more than any limit of direct peers.
const REACH_MAX: usize = 1024;
/// Ids remembered in each of two generations: some ten seconds of a hundred busy members.
const SEEN_MAX: usize = 16 * 1024;
/// What is read from a connection at once: many votes.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// How consensus travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight to each peer.
    Direct,
    /// By gossip.
    Gossip,
}

/// The direct streams of this node, shared by publishers, streams and verdicts.
pub(crate) struct Direct {
    limits: MessageLimits,
    counters: Arc<NetworkCounters>,
    nonce: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: BTreeSet<NodeId>,
    outgoing: BTreeMap<NodeId, Arc<Outgoing>>,
    reach: BTreeMap<NodeId, BTreeSet<NodeId>>,
    seen: Seen,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

impl Direct {
    pub(crate) fn new(limits: MessageLimits, counters: Arc<NetworkCounters>) -> Self {
        // Nonces of an earlier life of this node must not come again; the clock is only a convenient fresh number.
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nonce = AtomicU64::new(u64::try_from(start & u128::from(u64::MAX)).unwrap_or_default());
        Self { limits, counters, nonce, state: Mutex::new(State::default()) }
    }

    /// Longest frame, without its length.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.limits.consensus_bytes_max.saturating_add(SHELL_BYTES).max(1 + 32 * REACH_MAX)
    }

    /// Who is in the committee now; empty means not known.
    pub(crate) fn set_members(&self, members: BTreeSet<NodeId>) {
        self.state().members = members;
    }

    /// How to publish now.
    pub(crate) fn way(&self) -> Way {
        if self.state().members.len() <= self.limits.direct_members_max { Way::Direct } else { Way::Gossip }
    }

    /// Whether this node should keep a stream to that one: never in a committee that gossips; always to a member;
    /// while there is room, to everybody if we are a member (members serve observers) or the members are not known.
    pub(crate) fn takes_part(&self, own: &NodeId, peer: &NodeId) -> bool {
        let state = self.state();
        let is_open = state.outgoing.contains_key(peer);
        let has_room = is_open || state.outgoing.len() < self.limits.direct_peers_max;
        let members = &state.members;
        members.len() <= self.limits.direct_members_max
            && (members.contains(peer) || (has_room && (members.is_empty() || members.contains(own))))
    }

    /// A message with its nonce, as gossip carries it.
    pub(crate) fn wrap(&self, message: &[u8]) -> Bytes {
        let mut wrapped = BytesMut::with_capacity(message.len().saturating_add(SHELL_BYTES));
        wrapped.put_u64_le(self.nonce.fetch_add(1, Ordering::Relaxed));
        wrapped.put_slice(message);
        wrapped.freeze()
    }

    /// Sends a message to every peer with an open stream.
    pub(crate) fn publish(&self, message: &[u8]) -> Result<(), PublishError> {
        let limit = self.limits.consensus_bytes_max;
        let too_large = PublishError::TooLarge { bytes: message.len(), limit };
        if message.len() > limit {
            return Err(too_large);
        }
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        let body_bytes = message.len().saturating_add(SHELL_BYTES);
        let mut frame = BytesMut::with_capacity(body_bytes.saturating_add(LENGTH_BYTES));
        frame.put_slice(&frame::length_prefix(body_bytes).ok_or(too_large)?);
        frame.put_u8(KIND_MESSAGE);
        frame.put_u64_le(nonce);
        frame.put_slice(message);
        let frame = frame.freeze();
        let id = message_id(frame.get(LENGTH_BYTES + 1..).unwrap_or_default());
        let mut state = self.state();
        state.seen.insert(id);
        if state.outgoing.is_empty() {
            return Err(PublishError::NoPeers);
        }
        for outgoing in state.outgoing.values() {
            self.push(outgoing, frame.clone());
        }
        Ok(())
    }

    /// Passes an accepted message on to those whom its sender does not reach. `body` is the frame without length.
    pub(crate) fn relay(&self, from: &NodeId, body: &Bytes) {
        let state = self.state();
        let reached = state.reach.get(from);
        let mut frame: Option<Bytes> = None;
        for (node, outgoing) in &state.outgoing {
            if node == from || reached.is_some_and(|reached| reached.contains(node)) {
                continue;
            }
            let frame = frame.get_or_insert_with(|| framed(body));
            add(&self.counters.consensus_relayed, 1);
            self.push(outgoing, frame.clone());
        }
    }

    /// Whether a message (nonce and bytes) is new here.
    pub(crate) fn is_new(&self, wrapped: &[u8]) -> bool {
        let id = message_id(wrapped);
        self.state().seen.insert(id)
    }

    /// A peer is gone: what it reached is history.
    pub(crate) fn forget(&self, node: &NodeId) {
        self.state().reach.remove(node);
    }

    /// A stream to this peer is open: messages go there until the returned guard is dropped.
    fn opened(self: &Arc<Self>, node: NodeId) -> OpenGuard {
        let outgoing = Arc::new(Outgoing::default());
        let mut state = self.state();
        state.outgoing.insert(node, Arc::clone(&outgoing));
        self.announce(&state);
        drop(state);
        OpenGuard { direct: Arc::clone(self), node, outgoing }
    }

    /// Tells all peers whom we reach. The newest announcement replaces one that still waits.
    fn announce(&self, state: &State) {
        let mut body = BytesMut::with_capacity(1 + 32 * state.outgoing.len());
        body.put_u8(KIND_REACH);
        for node in state.outgoing.keys().take(REACH_MAX) {
            body.put_slice(&node.0);
        }
        let frame = framed(&body.freeze());
        for outgoing in state.outgoing.values() {
            outgoing.queue().announcement = Some(frame.clone());
            outgoing.wake.notify_one();
        }
    }

    fn learn_reach(&self, from: NodeId, nodes: &[u8]) -> Result<(), BadFrame> {
        let (ids, rest) = nodes.as_chunks::<32>();
        if !rest.is_empty() || ids.len() > REACH_MAX {
            return Err(BadFrame);
        }
        let reached = ids.iter().map(|id| NodeId(*id)).collect();
        self.state().reach.insert(from, reached);
        Ok(())
    }

    fn push(&self, outgoing: &Outgoing, frame: Bytes) {
        let mut queue = outgoing.queue();
        let bytes = queue.bytes.saturating_add(frame.len());
        queue.bytes = bytes;
        queue.frames.push_back(frame);
        while queue.frames.len() > self.limits.direct_queue_messages_max.max(1)
            || (queue.bytes > self.limits.direct_queue_bytes_max && queue.frames.len() > 1)
        {
            if let Some(oldest) = queue.frames.pop_front() {
                queue.bytes = queue.bytes.saturating_sub(oldest.len());
                add(&self.counters.consensus_dropped_out, 1);
            }
        }
        drop(queue);
        outgoing.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body with its length before it.
fn framed(body: &[u8]) -> Bytes {
    let length = frame::length_prefix(body.len()).expect("bodies are bounded far below 4 GiB");
    let mut frame = BytesMut::with_capacity(body.len().saturating_add(LENGTH_BYTES));
    frame.put_slice(&length);
    frame.put_slice(body);
    frame.freeze()
}

/// The name of a message for recognising echoes.
fn message_id(wrapped: &[u8]) -> [u8; 32] {
    *blake3::hash(wrapped).as_bytes()
}

/// The ids seen lately, in two generations: the older one is dropped whole when the younger one is full.
#[derive(Default)]
struct Seen {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Seen {
    /// Remembers an id; `true` when it was not known.
    fn insert(&mut self, id: [u8; 32]) -> bool {
        if self.old.contains(&id) || !self.young.insert(id) {
            return false;
        }
        if self.young.len() >= SEEN_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        true
    }
}

/// What waits for one peer.
#[derive(Default)]
struct Outgoing {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    announcement: Option<Bytes>,
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Bytes> {
        let mut queue = self.queue();
        if let Some(frame) = queue.announcement.take() {
            return Some(frame);
        }
        let frame = queue.frames.pop_front()?;
        queue.bytes = queue.bytes.saturating_sub(frame.len());
        Some(frame)
    }
}

/// As long as it lives, messages are queued for the peer.
struct OpenGuard {
    direct: Arc<Direct>,
    node: NodeId,
    outgoing: Arc<Outgoing>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        let mut state = self.direct.state();
        if state.outgoing.get(&self.node).is_some_and(|current| Arc::ptr_eq(current, &self.outgoing)) {
            state.outgoing.remove(&self.node);
            self.direct.announce(&state);
        }
    }
}

/// Writes what is published to one peer until the stream breaks.
pub(crate) async fn write_to(direct: Arc<Direct>, node: NodeId, mut stream: libp2p::Stream) -> io::Result<()> {
    let guard = direct.opened(node);
    let mut nothing = [0u8; 1];
    loop {
        while let Some(frame) = guard.outgoing.take() {
            stream.write_all(&frame).await?;
            add(&direct.counters.consensus_bytes_out, frame.len());
            add(&direct.counters.consensus_messages_out, usize::from(frame.get(LENGTH_BYTES) == Some(&KIND_MESSAGE)));
        }
        stream.flush().await?;
        tokio::select! {
            () = guard.outgoing.wake.notified() => {}
            // Nothing is ever sent back: whatever is read is the end of the stream.
            _ = stream.read(&mut nothing) => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

/// A frame that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BadFrame;

/// Reads what one peer publishes until the stream breaks or turns out to be garbage.
pub(crate) async fn read_from(
    direct: Arc<Direct>,
    from: NodeId,
    stream: libp2p::Stream,
    events: EventSender,
    feedback: FeedbackSender,
) {
    let mut stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    let limit = direct.frame_bytes_max();
    loop {
        let body = match frame::read(&mut stream, limit).await {
            Ok(body) => body,
            Err(error) if frame::too_long(&error).is_some() => break,
            Err(_) => return,
        };
        add(&direct.counters.consensus_bytes_in, body.len().saturating_add(LENGTH_BYTES));
        match deliver(&direct, from, body, &feedback) {
            Ok(Some(event)) => events.send(event),
            Ok(None) => {}
            Err(BadFrame) => break,
        }
    }
    feedback.bad_frame(from);
}

/// Turns a frame into an event, if it is a message that is new here.
fn deliver(
    direct: &Arc<Direct>,
    from: NodeId,
    body: Bytes,
    feedback: &FeedbackSender,
) -> Result<Option<Event>, BadFrame> {
    match body.split_first() {
        Some((&KIND_MESSAGE, wrapped)) if body.len() >= SHELL_BYTES => {
            add(&direct.counters.consensus_messages_in, 1);
            if !direct.is_new(wrapped) {
                return Ok(None);
            }
            let bytes = body.slice(SHELL_BYTES..);
            let route = Route::Direct { frame: body, direct: Arc::clone(direct) };
            let verdict = GossipVerdict::new(from, route, feedback.clone());
            Ok(Some(Event::Gossip { topic: Topic::Consensus, from, bytes, verdict }))
        }
        Some((&KIND_REACH, nodes)) => direct.learn_reach(from, nodes).map(|()| None),
        _ => Err(BadFrame),
    }
}

impl FeedbackSender {
    /// A peer sent bytes that are no message of the protocol.
    pub(crate) fn bad_frame(&self, from: NodeId) {
        if self.sender.try_send(Feedback::BadFrame { from }).is_err() {
            add(&self.counters.commands_dropped, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QueueLimits;
    use tokio::sync::mpsc;

    fn node(seed: u8) -> NodeId {
        NodeId([seed; 32])
    }

    fn direct(limits: MessageLimits) -> (Arc<Direct>, Arc<NetworkCounters>) {
        let counters = Arc::new(NetworkCounters::default());
        (Arc::new(Direct::new(limits, Arc::clone(&counters))), counters)
    }

    fn messages(outgoing: &Outgoing) -> Vec<Vec<u8>> {
        let frames = std::iter::from_fn(|| outgoing.take());
        let messages = frames.filter(|frame| frame[LENGTH_BYTES] == KIND_MESSAGE);
        messages.map(|frame| frame[LENGTH_BYTES + SHELL_BYTES..].to_vec()).collect()
    }

    fn body(nonce: u64, message: &[u8]) -> Bytes {
        [&[KIND_MESSAGE], nonce.to_le_bytes().as_slice(), message].concat().into()
    }

    #[test]
    fn the_oldest_gives_way_when_a_peer_is_slow() {
        let limits = MessageLimits { direct_queue_messages_max: 3, ..MessageLimits::default() };
        let (direct, counters) = direct(limits);
        assert_eq!(direct.publish(b"nobody"), Err(PublishError::NoPeers));
        let slow = direct.opened(node(1));
        for message in 0..5u8 {
            direct.publish(&[message]).unwrap();
        }
        assert_eq!(messages(&slow.outgoing), vec![vec![2], vec![3], vec![4]]);
        assert_eq!(counters.values().consensus_dropped_out, 2);
        assert_eq!(slow.outgoing.queue().bytes, 0);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_message_always_fits() {
        let limits = MessageLimits { direct_queue_bytes_max: 100, ..MessageLimits::default() };
        let (direct, _) = direct(limits);
        let slow = direct.opened(node(1));
        for message in 0..3u8 {
            direct.publish(&[message; 60]).unwrap();
        }
        assert_eq!(messages(&slow.outgoing), vec![vec![2; 60]]);
        direct.publish(&[9; 1000]).unwrap();
        assert_eq!(messages(&slow.outgoing), vec![vec![9; 1000]]);
    }

    #[test]
    fn an_accepted_message_goes_to_those_its_sender_does_not_reach() {
        let (direct, _) = direct(MessageLimits::default());
        let open: Vec<OpenGuard> = (1..=3).map(|seed| direct.opened(node(seed))).collect();
        direct.learn_reach(node(1), &[node(2).0, node(9).0].concat()).unwrap();
        direct.relay(&node(1), &body(1, b"vote"));
        let heard: Vec<usize> = open.iter().map(|guard| messages(&guard.outgoing).len()).collect();
        assert_eq!(heard, vec![0, 0, 1]);
    }

    #[test]
    fn echoes_are_recognised_and_repetitions_are_not_echoes() {
        let (direct, counters) = direct(MessageLimits::default());
        let (sender, _receiver) = mpsc::channel(1);
        let feedback = FeedbackSender { sender, counters };
        let deliver = |nonce| deliver(&direct, node(1), body(nonce, b"vote"), &feedback).unwrap().is_some();
        assert!(deliver(1));
        assert!(!deliver(1));
        assert!(deliver(2));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let (direct, counters) = direct(MessageLimits::default());
        let (sender, _receiver) = mpsc::channel(1);
        let feedback = FeedbackSender { sender, counters };
        let frames: [&[u8]; 6] = [b"", &[0], &[0; 8], &[1; 32], &[2; 40], &[255]];
        for frame in frames {
            let result = deliver(&direct, node(1), Bytes::copy_from_slice(frame), &feedback);
            assert_eq!(result.err(), Some(BadFrame), "{frame:?}");
        }
    }

    #[test]
    fn a_stream_that_ends_is_no_longer_reached() {
        let (direct, _) = direct(MessageLimits::default());
        let stays = direct.opened(node(1));
        let ends = direct.opened(node(2));
        drop(ends);
        let announced = stays.outgoing.queue().announcement.clone().unwrap();
        assert_eq!(announced[LENGTH_BYTES + 1..], node(1).0);
    }

    #[test]
    fn who_takes_part_depends_on_the_committee() {
        let limits = MessageLimits { direct_members_max: 2, ..MessageLimits::default() };
        let (direct, _) = direct(limits);
        let (own, member, observer, other) = (node(1), node(2), node(3), node(4));
        assert!(direct.takes_part(&own, &observer), "while the members are not known");
        direct.set_members([own, member].into());
        assert!(direct.takes_part(&own, &member) && direct.takes_part(&own, &observer));
        assert!(direct.takes_part(&observer, &member) && !direct.takes_part(&observer, &other));
        direct.set_members([own, member, other].into());
        assert!(!direct.takes_part(&own, &member), "a large committee gossips");
        assert_eq!(direct.way(), Way::Gossip);
    }

    #[test]
    fn memory_of_ids_is_bounded_and_covers_the_recent() {
        let mut seen = Seen::default();
        for number in 0..3 * SEEN_MAX {
            assert!(seen.insert(message_id(&number.to_le_bytes())));
        }
        assert!(seen.young.len() + seen.old.len() <= 2 * SEEN_MAX);
        assert!(!seen.insert(message_id(&(3 * SEEN_MAX - 1).to_le_bytes())));
        assert!(QueueLimits::default().consensus_events < SEEN_MAX);
    }
}
