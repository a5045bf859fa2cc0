//! Who is there: connections, introductions, members, bans, the peer book.

use super::{Freshness, Task};
use crate::behaviour;
use crate::config::BookLimits;
use crate::counters::add;
use crate::dialer::Reason;
use crate::direct;
use crate::event::{Event, Feedback};
use crate::handle::{MemberAddress, PeerView, Role};
use crate::identity;
use crate::standing::Outcome;
use crate::streams::{Failure, Opening, Purpose};
use floe_types::NodeId;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError};
use libp2p::{Multiaddr, PeerId, identify, mdns, ping};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Peers of the book dialled in one round of upkeep, and the pause before the same one is tried again.
const BOOK_DIALS: usize = 4;
const BOOK_PAUSE: Duration = Duration::from_secs(10);
/// Pause before a votes stream that broke is opened again; and before one that the peer does not speak.
const VOTES_PAUSE: Duration = Duration::from_millis(100);
const VOTES_PAUSE_UNSUPPORTED: Duration = Duration::from_secs(10);
/// Peers remembered as belonging to another network, and for how long: their operator may correct it.
const OTHER_NETWORK_MAX: usize = 256;
const OTHER_NETWORK_FOR: Duration = Duration::from_secs(60);
/// Addresses of one connected peer that are given to Kademlia.
const TOLD_MAX: usize = 32;
/// Longest remote text that is kept.
const TEXT_BYTES_MAX: usize = 64;

/// A connected peer.
pub(super) struct Peer {
    pub id: PeerId,
    remote: Multiaddr,
    introduction: Option<Introduction>,
    /// Where it told us it listens, all introductions together: what Kademlia knows of it.
    told: BTreeSet<Multiaddr>,
    rtt: Option<Duration>,
    votes_out: Option<AbortHandle>,
    votes_in: Option<AbortHandle>,
}

/// What a peer said about itself.
struct Introduction {
    agent: String,
}

/// A peer that announced another network.
#[derive(Debug)]
pub(super) struct OtherNetwork {
    pub theirs: String,
    until: Instant,
}

impl Peer {
    pub(super) fn is_greeted(&self) -> bool {
        self.introduction.is_some()
    }

    fn stop_votes(&mut self) {
        for task in [self.votes_out.take(), self.votes_in.take()].into_iter().flatten() {
            task.abort();
        }
    }
}

impl Task {
    pub(super) fn on_connected(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        established: u32,
    ) {
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        add(&self.counters.connections_opened, 1);
        let Some(node) = identity::node_of(&id) else {
            // Not an ed25519 identity: no node of ours can have it.
            self.disconnect(id);
            return;
        };
        if established > self.limits.connections.per_peer_max {
            self.swarm.close_connection(connection);
            return;
        }
        self.dialer.connected(&node);
        let remote = without_peer(endpoint.get_remote_address());
        if let ConnectedPoint::Dialer { .. } = endpoint {
            self.book.learn(node, vec![remote.to_string()]);
        }
        self.peers.entry(node).or_insert(Peer {
            id,
            remote,
            introduction: None,
            told: BTreeSet::new(),
            rtt: None,
            votes_out: None,
            votes_in: None,
        });
    }

    pub(super) fn on_closed(&mut self, id: &PeerId, left: u32) {
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(node) = identity::node_of(id) else { return };
        if left > 0 {
            return;
        }
        self.dialer.disconnected(&node, Instant::now());
        let Some(mut peer) = self.peers.remove(&node) else { return };
        peer.stop_votes();
        self.direct.forget(&node);
        if peer.is_greeted() {
            self.book.seen(node, unix_millis());
            self.view.freshness = Freshness::Stale;
            self.tell(Event::Disconnected(node));
        }
    }

    pub(super) fn on_dial_failed(&mut self, id: Option<PeerId>, error: &DialError) {
        add(&self.counters.dials_failed, 1);
        let Some(node) = id.as_ref().and_then(identity::node_of) else { return };
        tracing::debug!(node = %node.short(), %error, "a dial failed");
        if self.peers.contains_key(&node) {
            self.dialer.connected(&node);
        } else {
            self.dialer.failed(&node, Instant::now());
        }
    }

    pub(super) fn on_incoming_failed(&mut self, error: &ListenError) {
        add(&self.counters.connections_refused, 1);
        tracing::debug!(%error, "an incoming connection was not established");
    }

    pub(super) fn on_listening(&mut self, address: &Multiaddr) {
        let text = self.own_address(address);
        self.view.listening.send_modify(|addresses| {
            if !addresses.contains(&text) {
                Arc::make_mut(addresses).push(text.clone());
            }
        });
        self.tell(Event::Listening(text));
    }

    pub(super) fn on_not_listening(&mut self, address: &Multiaddr) {
        let text = self.own_address(address);
        self.view.listening.send_modify(|addresses| Arc::make_mut(addresses).retain(|one| *one != text));
        tracing::warn!(address = %text, "no longer listening");
    }

    fn own_address(&self, address: &Multiaddr) -> String {
        without_peer(address).with(Protocol::P2p(*self.swarm.local_peer_id())).to_string()
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(node) = identity::node_of(&peer_id) else { return };
        if info.protocol_version != self.names.version {
            self.on_other_network(node, peer_id, &info.protocol_version);
            return;
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let greeted_before = peer.is_greeted();
        peer.introduction = Some(Introduction { agent: printable(&info.agent_version) });
        let addresses = useful_addresses(info.listen_addrs, &peer.remote, &self.limits.book);
        for address in &addresses {
            // Kademlia keeps every address it is given; a peer may introduce itself as often as it likes.
            if peer.told.len() < TOLD_MAX && peer.told.insert(address.clone()) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address.clone());
            }
        }
        self.book.learn(node, addresses.iter().map(Multiaddr::to_string).collect());
        self.book.seen(node, unix_millis());
        self.strangers_to_us.remove(&node);
        self.view.freshness = Freshness::Stale;
        if !greeted_before {
            self.open_votes(node);
            self.tell(Event::Connected(node));
        }
    }

    fn on_other_network(&mut self, node: NodeId, id: PeerId, theirs: &str) {
        add(&self.counters.other_network_peers, 1);
        let theirs = printable(theirs);
        tracing::warn!(node = %node.short(), %theirs, ours = %self.names.version, "a peer belongs to another network");
        while self.strangers_to_us.len() >= OTHER_NETWORK_MAX {
            self.strangers_to_us.pop_first();
        }
        let until = Instant::now() + OTHER_NETWORK_FOR;
        self.strangers_to_us.insert(node, OtherNetwork { theirs, until });
        self.book.forget(&node);
        self.disconnect(id);
    }

    pub(super) fn on_ping(&mut self, event: ping::Event) {
        let Some(node) = identity::node_of(&event.peer) else { return };
        match event.result {
            Ok(rtt) => {
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.rtt = Some(rtt);
                    self.view.freshness = Freshness::Stale;
                }
            }
            // Nobody answers: the connection is dead, whatever the system thinks.
            Err(ping::Failure::Timeout) => {
                self.swarm.close_connection(event.connection);
            }
            Err(error) => tracing::debug!(node = %node.short(), %error, "a probe failed"),
        }
    }

    pub(super) fn on_lan(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (id, address) in found.into_iter().take(self.limits.book.peers_max) {
            if let Some(node) = identity::node_of(&id) {
                self.book.learn(node, vec![without_peer(&address).to_string()]);
                self.dial(node, vec![without_peer(&address)]);
            }
        }
    }

    /// Keeps an outgoing votes stream to this peer open, as long as it is connected and takes part.
    fn open_votes(&mut self, node: NodeId) {
        if !self.direct.takes_part(&self.own, &node) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.is_greeted() && peer.votes_out.is_none()) else {
            return;
        };
        let (id, direct, feedback) = (peer.id, Arc::clone(&self.direct), self.feedback_sender.clone());
        let task = tokio::spawn(async move {
            loop {
                let (answer, opened) = oneshot::channel();
                let opening = Opening { purpose: Purpose::Votes, answer };
                if feedback.sender.send(Feedback::OpenVotes { peer: id, opening }).await.is_err() {
                    return;
                }
                let pause = match opened.await {
                    Ok(Ok(stream)) => {
                        let ended = direct::write_to(Arc::clone(&direct), node, stream).await;
                        tracing::debug!(node = %node.short(), ?ended, "a votes stream ended");
                        VOTES_PAUSE
                    }
                    Ok(Err(Failure::NotSupported)) => VOTES_PAUSE_UNSUPPORTED,
                    Ok(Err(_)) | Err(_) => VOTES_PAUSE,
                };
                tokio::time::sleep(pause).await;
            }
        });
        peer.votes_out = Some(task.abort_handle());
    }

    /// Reads a votes stream; a newer one from the same peer replaces it.
    pub(super) fn on_votes_stream(&mut self, node: NodeId, stream: libp2p::Stream) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let reading = direct::read_from(
            Arc::clone(&self.direct),
            node,
            stream,
            self.events.clone(),
            self.feedback_sender.clone(),
        );
        let task = tokio::spawn(reading).abort_handle();
        if let Some(older) = peer.votes_in.replace(task) {
            older.abort();
        }
    }

    /// Takes over a new list of members.
    pub(super) fn set_members(&mut self, members: &[MemberAddress]) {
        let now = Instant::now();
        let before = std::mem::take(&mut self.members);
        self.members = members.iter().map(|member| member.node).collect();
        let behaviour = self.swarm.behaviour_mut();
        *behaviour.limits.limits_mut() = behaviour::connection_limits(&self.limits, self.members.len());
        for (nodes, is_now) in [(&before, None), (&self.members, Some(()))] {
            for peer in nodes.iter().filter_map(identity::peer_of) {
                match is_now {
                    Some(()) => behaviour.limits.bypass_peer_id(&peer),
                    None => behaviour.limits.remove_peer_id(&peer),
                }
            }
        }
        self.dialer.keep_members(|node| self.members.contains(node));
        for member in members {
            let addresses = readable(member);
            self.book.learn(member.node, addresses.iter().map(Multiaddr::to_string).collect());
            self.dialer.want(member.node, Reason::Member, addresses, now);
            if self.peers.contains_key(&member.node) {
                self.dialer.connected(&member.node);
            }
        }
        self.review_votes();
        self.view.freshness = Freshness::Stale;
    }

    /// After a change of members: streams to those who take part now, none to those who do not.
    fn review_votes(&mut self) {
        let nodes: Vec<NodeId> = self.peers.keys().copied().collect();
        for node in nodes {
            if self.direct.takes_part(&self.own, &node) {
                self.open_votes(node);
            } else if let Some(task) = self.peers.get_mut(&node).and_then(|peer| peer.votes_out.take()) {
                task.abort();
            }
        }
    }

    pub(super) fn dial_due(&mut self) {
        for (node, addresses) in self.dialer.due(Instant::now()) {
            if self.peers.contains_key(&node) {
                self.dialer.connected(&node);
            } else {
                self.dial(node, addresses);
            }
        }
    }

    /// Dials a peer at the given and at all other known addresses, unless that is under way.
    fn dial(&mut self, node: NodeId, mut addresses: Vec<Multiaddr>) {
        let Some(id) = identity::peer_of(&node) else { return };
        for address in self.book.addresses(&node).iter().filter_map(|text| text.parse().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let options = DialOpts::peer_id(id)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            // From the listening port a quick return would meet the old connection's remains.
            .allocate_new_port()
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(node = %node.short(), %error, "not dialled");
            if !self.peers.contains_key(&node) {
                self.dialer.failed(&node, Instant::now());
            }
        }
    }

    /// Every second: bans end, the book is saved, and while company is scarce its peers are dialled.
    pub(super) fn upkeep(&mut self) {
        let now = Instant::now();
        for node in self.standing.lift_ended(now) {
            if let Some(peer) = identity::peer_of(&node) {
                self.swarm.behaviour_mut().bans.unblock_peer(peer);
            }
        }
        self.strangers_to_us.retain(|_, other| other.until > now);
        self.book_tried.retain(|_, tried| now.saturating_duration_since(*tried) < BOOK_PAUSE);
        if self.peers.len() < self.limits.connections.peers_wanted {
            let candidates: Vec<NodeId> = self
                .book
                .by_last_seen()
                .into_iter()
                .filter(|node| !self.peers.contains_key(node) && !self.book_tried.contains_key(node))
                .filter(|node| !self.standing.is_banned(node) && !self.strangers_to_us.contains_key(node))
                .take(BOOK_DIALS)
                .collect();
            for node in candidates {
                self.book_tried.insert(node, now);
                self.dial(node, Vec::new());
            }
        }
        if now.saturating_duration_since(self.book_saved) >= self.limits.book.save_every {
            self.book_saved = now;
            if let Some(records) = self.book.take_changes() {
                // The writer is busy with an older book: the next one will tell all.
                let _ = self.book_writer.try_send(records);
            }
        }
    }

    pub(super) fn save_book_at_the_end(&mut self) {
        let now = unix_millis();
        for (node, peer) in &self.peers {
            if peer.is_greeted() {
                self.book.seen(*node, now);
            }
        }
        if let Some(records) = self.book.take_changes() {
            let _ = self.book_writer.send(records);
        }
    }

    /// Notes a misdeed; too many cost the connection.
    pub(super) fn offend(&mut self, node: NodeId, points: u32) {
        let limits = &self.limits.standing;
        let ban = if self.members.contains(&node) { limits.member_ban } else { limits.ban };
        if self.standing.offend(node, points, ban, Instant::now()) == Outcome::Tolerated {
            return;
        }
        add(&self.counters.peers_banned, 1);
        tracing::warn!(node = %node, seconds = ban.as_secs(), "a peer is banned for sending garbage");
        if let Some(peer) = identity::peer_of(&node) {
            self.swarm.behaviour_mut().bans.block_peer(peer);
        }
    }

    fn disconnect(&mut self, id: PeerId) {
        if self.swarm.disconnect_peer_id(id).is_err() {
            tracing::debug!(peer = %id, "was not connected any more");
        }
    }

    /// Shows others the peers as they are now, if that has changed.
    pub(super) fn show(&mut self) {
        if self.view.freshness == Freshness::Current {
            return;
        }
        self.view.freshness = Freshness::Current;
        let greeted = self.peers.iter().filter(|(_, peer)| peer.is_greeted()).map(|(node, _)| *node);
        let shown: BTreeSet<NodeId> = greeted.chain(self.members.iter().copied()).collect();
        let views = shown.into_iter().filter(|node| *node != self.own).map(|node| self.view_of(node)).collect();
        self.view.peers.send_replace(Arc::new(views));
    }

    fn view_of(&self, node: NodeId) -> PeerView {
        let peer = self.peers.get(&node);
        let introduction = peer.and_then(|peer| peer.introduction.as_ref());
        PeerView {
            node,
            connected: introduction.is_some(),
            role: if self.members.contains(&node) { Role::Member } else { Role::Other },
            rtt: peer.and_then(|peer| peer.rtt),
            addresses: self.book.addresses(&node).to_vec(),
            agent: introduction.map(|introduction| introduction.agent.clone()).unwrap_or_default(),
        }
    }
}

/// A member's addresses, without those that cannot be read.
fn readable(member: &MemberAddress) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for text in &member.addresses {
        match text.parse::<Multiaddr>() {
            Ok(address) => addresses.push(without_peer(&address)),
            Err(error) => {
                tracing::warn!(node = %member.node.short(), text = %printable(text), %error, "unreadable address");
            }
        }
    }
    addresses
}

/// The address without the peer id at its end.
fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// Those of a peer's claimed addresses that may lead to it from here: a few, and loopback only from loopback.
fn useful_addresses(claimed: Vec<Multiaddr>, remote: &Multiaddr, limits: &BookLimits) -> Vec<Multiaddr> {
    let near = is_loopback(remote);
    claimed
        .iter()
        .map(without_peer)
        .filter(|address| near || !is_loopback(address))
        .take(limits.addresses_max)
        .collect()
}

fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

/// A stranger's text made harmless for logs: printable ASCII, at most 64 bytes.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_ascii_graphic() || character == ' ' { character } else { '?' })
        .take(TEXT_BYTES_MAX)
        .collect()
}

/// Now, for the peer book only.
fn unix_millis() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_made_harmless() {
        assert_eq!(printable("floe/1 \u{1b}[31m\n"), "floe/1 ?[31m?");
        assert_eq!(printable(&"x".repeat(1000)).len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn a_thousand_claimed_addresses_are_a_few() {
        let claimed: Vec<Multiaddr> =
            (0..1000).map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()).collect();
        let remote = "/ip4/10.0.0.1/tcp/9".parse().unwrap();
        assert_eq!(useful_addresses(claimed, &remote, &BookLimits::default()).len(), 8);
    }

    #[test]
    fn loopback_is_believed_only_from_loopback() {
        let claimed: Vec<Multiaddr> = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
        let far = "/ip4/10.0.0.1/tcp/9".parse().unwrap();
        let near = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        assert_eq!(useful_addresses(claimed.clone(), &far, &BookLimits::default()).len(), 0);
        assert_eq!(useful_addresses(claimed, &near, &BookLimits::default()).len(), 1);
    }
}
