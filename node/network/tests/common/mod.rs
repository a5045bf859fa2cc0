//! Nodes on loopback ports that the system chooses, waits for states (never for time), and a villain that speaks raw
//! libp2p.

#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::panic)]

use floe_network::{
    Config, Event, Events, LanDiscovery, Limits, MemberAddress, MemoryPeerBook, Network, PeerView, node_id_of,
};
use floe_types::{NetworkId, NodeId};
use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, gossipsub, identify, noise, tcp, yamux};
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything takes on a loaded machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(15);

pub const NETWORK: NetworkId = NetworkId([7; 32]);
pub const TAG: &str = "0707070707070707";

pub struct Node {
    pub network: Network,
    pub events: Events,
    pub book: MemoryPeerBook,
}

/// What a test may change about a node.
pub struct Settings {
    pub network: NetworkId,
    pub listen: Vec<String>,
    pub bootstrap: Vec<String>,
    pub limits: Limits,
    pub book: MemoryPeerBook,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            network: NETWORK,
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: Vec::new(),
            limits: Limits::default(),
            book: MemoryPeerBook::default(),
        }
    }
}

pub fn config(seed: u8, settings: Settings) -> Config {
    Config {
        identity_secret: [seed; 32],
        network: settings.network,
        listen: settings.listen,
        bootstrap: settings.bootstrap,
        lan_discovery: LanDiscovery::Off,
        limits: settings.limits,
        peer_book: Box::new(settings.book),
    }
}

pub fn start_with(seed: u8, settings: Settings) -> Node {
    let book = settings.book.clone();
    let (network, events) = Network::start(config(seed, settings)).unwrap();
    Node { network, events, book }
}

pub fn start(seed: u8) -> Node {
    start_with(seed, Settings::default())
}

pub fn id(seed: u8) -> NodeId {
    node_id_of(&[seed; 32])
}

impl Node {
    pub fn address(&self) -> String {
        self.network.listen_addresses().first().cloned().unwrap()
    }

    pub fn member(&self) -> MemberAddress {
        MemberAddress { node: self.network.node(), addresses: self.network.listen_addresses().to_vec() }
    }

    /// Waits until the peers look as they should.
    pub async fn wait_peers(&self, what: &str, is_it_so: impl Fn(&[PeerView]) -> bool) -> Arc<Vec<PeerView>> {
        let mut peers = self.network.watch_peers();
        let waiting = peers.wait_for(|peers| is_it_so(peers));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(peers) => Arc::clone(&peers.unwrap()),
            Err(_) => panic!("{what}: still {:?}", self.network.peers()),
        }
    }

    pub async fn wait_connected(&self, nodes: &[NodeId]) {
        let is_there =
            |peers: &[PeerView], node: &NodeId| peers.iter().any(|peer| peer.node == *node && peer.connected);
        self.wait_peers("connected", |peers| nodes.iter().all(|node| is_there(peers, node))).await;
    }

    pub async fn wait_gone(&self, node: NodeId) {
        self.wait_peers("gone", |peers| !peers.iter().any(|peer| peer.node == node && peer.connected)).await;
    }

    /// The next event that the test is about.
    pub async fn next<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        let searching = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, searching).await.expect("the event comes")
    }
}

/// Waits until something observable is so. For counters, which cannot be waited for otherwise.
pub async fn until(what: &str, mut is_it_so: impl FnMut() -> bool) {
    let polling = async {
        while !is_it_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, polling).await.is_ok(), "{what}");
}

/// Starts nodes, makes them members of each other's committee and waits until all are connected.
pub async fn committee(seeds: &[u8], limits: &Limits) -> Vec<Node> {
    let nodes: Vec<Node> = seeds
        .iter()
        .map(|seed| start_with(*seed, Settings { limits: limits.clone(), ..Settings::default() }))
        .collect();
    let members: Vec<MemberAddress> = nodes.iter().map(Node::member).collect();
    for node in &nodes {
        node.network.set_members(members.clone());
    }
    for node in &nodes {
        let others: Vec<NodeId> =
            members.iter().map(|member| member.node).filter(|other| *other != node.network.node()).collect();
        node.wait_connected(&others).await;
    }
    nodes
}

#[derive(NetworkBehaviour)]
pub struct VillainBehaviour {
    pub gossip: gossipsub::Behaviour,
    pub identify: identify::Behaviour,
    pub stream: libp2p_stream::Behaviour,
}

/// A peer that obeys nobody: raw streams on any protocol, gossip of anything.
pub struct Villain {
    pub swarm: Swarm<VillainBehaviour>,
    pub id: PeerId,
}

impl Villain {
    pub fn new(seed: u8) -> Self {
        let keys = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let id = keys.public().to_peer_id();
        let gossip = gossipsub::ConfigBuilder::default()
            .protocol_id_prefix(format!("/floe/{TAG}/gossip"))
            .validation_mode(gossipsub::ValidationMode::Anonymous)
            .max_transmit_size(8 << 20)
            .message_id_fn(|message| gossipsub::MessageId::from(message.data.clone()))
            .build()
            .unwrap();
        let gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, gossip).unwrap();
        let identify = identify::Config::new(format!("/floe/{TAG}/1"), keys.public());
        let behaviour = VillainBehaviour {
            gossip,
            identify: identify::Behaviour::new(identify),
            stream: libp2p_stream::Behaviour::new(),
        };
        let swarm = SwarmBuilder::with_existing_identity(keys)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        Self { swarm, id }
    }

    pub fn node(&self, seed: u8) -> NodeId {
        node_id_of(&[seed; 32])
    }

    pub fn control(&self) -> libp2p_stream::Control {
        self.swarm.behaviour().stream.new_control()
    }

    /// Connects to a node and waits until that has happened.
    pub async fn connect(&mut self, address: &str) -> PeerId {
        let mut address: Multiaddr = address.parse().unwrap();
        let Some(Protocol::P2p(peer)) = address.pop() else { panic!("no peer id") };
        self.swarm.dial(DialOpts::peer_id(peer).addresses(vec![address]).build()).unwrap();
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => return peer,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Lets the villain act on its own from now on.
    pub fn run(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.swarm.select_next_some().await;
            }
        })
    }
}
