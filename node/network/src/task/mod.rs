//! The network thread: one swarm, one loop, no work of its own.
//!
//! The loop only says where things go: what concerns peers is in `peers`, what concerns messages in `messages`,
//! starting and stopping in `start`. Nothing in it waits for the node: full queues drop and count.

mod messages;
mod peers;
mod start;

pub(crate) use start::start;

use crate::behaviour::{Behaviour, BehaviourEvent, WireNames};
use crate::book::{Book, PeerRecord};
use crate::config::Limits;
use crate::counters::NetworkCounters;
use crate::dialer::Dialer;
use crate::direct::Direct;
use crate::event::{Event, EventSender, Feedback, FeedbackSender};
use crate::handle::{Command, MemberAddress, Offence, PeerView};
use crate::request::Kind;
use crate::standing::Standing;
use crate::stream::Crowd;
use floe_types::NodeId;
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How often bans are lifted, the book is looked after and strangers are dialled.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Everything the network thread owns.
struct Task {
    own: NodeId,
    limits: Limits,
    names: WireNames,
    swarm: Swarm<Behaviour>,
    events: EventSender,
    feedback_sender: FeedbackSender,
    counters: Arc<NetworkCounters>,
    direct: Arc<Direct>,
    crowds: Crowds,
    peers: BTreeMap<NodeId, peers::Peer>,
    members: BTreeSet<NodeId>,
    strangers_to_us: BTreeMap<NodeId, peers::OtherNetwork>,
    dialer: Dialer,
    standing: Standing,
    book: Book,
    book_tried: BTreeMap<NodeId, Instant>,
    book_saved: Instant,
    /// Takes whole books to the thread that writes them; holds one.
    book_writer: std::sync::mpsc::SyncSender<Vec<PeerRecord>>,
    view: View,
}

/// Places for what peers open here.
struct Crowds {
    fragments: Crowd,
    status: Crowd,
    blocks: Crowd,
    challenges: Crowd,
}

impl Crowds {
    fn new(limits: &Limits) -> Self {
        let requests = || Crowd::new(limits.requests.per_peer_max, limits.requests.served_max);
        let fragments = Crowd::new(limits.streams.per_peer_max, limits.streams.total_max);
        Self { fragments, status: requests(), blocks: requests(), challenges: requests() }
    }

    fn of(&self, kind: Kind) -> &Crowd {
        match kind {
            Kind::Status => &self.status,
            Kind::Blocks => &self.blocks,
            Kind::Challenge => &self.challenges,
        }
    }
}

/// What is shown to others, and whether it is out of date.
struct View {
    peers: watch::Sender<Arc<Vec<PeerView>>>,
    listening: watch::Sender<Arc<Vec<String>>>,
    freshness: Freshness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Current,
    Stale,
}

/// What the loop listens to besides the swarm.
struct Inlets {
    commands: mpsc::Receiver<Command>,
    feedback: mpsc::Receiver<Feedback>,
    members: watch::Receiver<Arc<Vec<MemberAddress>>>,
}

impl Task {
    /// Runs until told to stop, or until nobody is left who could tell.
    async fn run(mut self, mut inlets: Inlets) {
        let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
        upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let dialling = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(dialling);
        loop {
            if let Some(next) = self.dialer.next()
                && dialling.deadline() != tokio::time::Instant::from_std(next)
            {
                dialling.as_mut().reset(tokio::time::Instant::from_std(next));
            }
            let may_dial = self.dialer.next().is_some();
            tokio::select! {
                Some(feedback) = inlets.feedback.recv() => self.on_feedback(feedback),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = inlets.commands.recv() => match command {
                    None | Some(Command::Shutdown) => break,
                    Some(command) => self.on_command(command),
                },
                Ok(()) = inlets.members.changed() => {
                    let members = Arc::clone(&inlets.members.borrow_and_update());
                    self.set_members(&members);
                }
                () = &mut dialling, if may_dial => self.dial_due(),
                _ = upkeep.tick() => self.upkeep(),
            }
            self.show();
        }
        self.save_book_at_the_end();
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, bytes, answer } => {
                let result = self.gossip(topic, &bytes);
                if let Some(answer) = answer {
                    let _ = answer.send(result);
                }
            }
            Command::Open { purpose, node, answer } => self.open_stream(purpose, node, answer),
            Command::Offend { node, offence: Offence::Garbage } => {
                self.offend(node, self.limits.standing.bad_request);
            }
            Command::Offend { node, offence: Offence::LyingLength } => self.on_bad_frame(node),
            Command::Shutdown => {}
        }
    }

    fn on_feedback(&mut self, feedback: Feedback) {
        match feedback {
            Feedback::Verdict { from, id, acceptance } => self.on_verdict(from, &id, acceptance),
            Feedback::Rejected { from } => self.on_rejected(from),
            Feedback::BadFrame { from } => self.on_bad_frame(from),
            Feedback::BadRequest { from } => self.offend(from, self.limits.standing.bad_request),
            Feedback::OpenVotes { peer, opening } => self.swarm.behaviour_mut().streams.open(peer, opening),
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
                self.on_closed(&peer_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                self.on_dial_failed(peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => self.on_incoming_failed(&error),
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(&address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_not_listening(&address),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener failed"),
            SwarmEvent::ListenerClosed { addresses, .. } => {
                for address in &addresses {
                    self.on_not_listening(address);
                }
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Streams(incoming) => self.on_stream(incoming),
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Mdns(event) => self.on_lan(event),
            BehaviourEvent::Kad(_) => {}
            BehaviourEvent::Limits(never) | BehaviourEvent::Memory(never) | BehaviourEvent::Bans(never) => {
                match never {}
            }
        }
    }

    /// The peer's id, if there is an established connection on which it introduced itself.
    fn greeted(&self, node: &NodeId) -> Option<PeerId> {
        self.peers.get(node).filter(|peer| peer.is_greeted()).map(|peer| peer.id)
    }

    fn tell(&self, event: Event) {
        self.events.send(event);
    }
}
