//! What the swarm is made of, and the numbers each part is given. Nothing decides here.

use crate::config::{Config, LanDiscovery, Limits, Topic, network_tag};
use crate::error::StartError;
use crate::streams::{self, Names};
use floe_types::NetworkId;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, IdentityTransform, MessageId, TopicHash, WhitelistSubscriptionFilter};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, mdns, memory_connection_limits, noise, ping};
use libp2p::{tcp, yamux};
use std::time::Duration;

/// How often a quiet connection is probed, and how long the answer may take: a dead peer is noticed within both.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Gossip messages that may wait for one slow peer.
const GOSSIP_QUEUE: usize = 512;
/// Streams that one connection may be negotiating at our end.
const NEGOTIATING_MAX: usize = 128;

/// The parts. Limits come first: what they refuse, the others never see.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub bans: allow_block_list::Behaviour<BlockedPeers>,
    pub streams: streams::Behaviour,
    pub gossip: gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub kad: kad::Behaviour<MemoryStore>,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Every name on the wire, each with the network's tag.
#[derive(Debug, Clone)]
pub(crate) struct WireNames {
    pub version: String,
    pub streams: Names,
    pub kad: String,
    pub gossip_prefix: String,
    pub transactions: TopicHash,
    pub consensus: TopicHash,
    pub observations: TopicHash,
}

impl WireNames {
    pub(crate) fn new(network: &NetworkId) -> Self {
        let tag = network_tag(network);
        let name = |what: &str| format!("/floe/{tag}/{what}");
        let stream = |what: &str| {
            StreamProtocol::try_from_owned(name(what)).expect("a protocol name starts with a slash, and this one does")
        };
        Self {
            version: name("1"),
            streams: Names {
                votes: stream("votes/1"),
                fragment: stream("fragment/1"),
                status: stream("status/1"),
                blocks: stream("sync/1"),
                challenge: stream("challenge/1"),
            },
            kad: name("kad/1"),
            gossip_prefix: name("gossip"),
            transactions: IdentTopic::new(Topic::Transactions.name(network)).hash(),
            consensus: IdentTopic::new(Topic::Consensus.name(network)).hash(),
            observations: IdentTopic::new(Topic::Observations.name(network)).hash(),
        }
    }

    pub(crate) fn topic(&self, topic: Topic) -> &TopicHash {
        match topic {
            Topic::Transactions => &self.transactions,
            Topic::Consensus => &self.consensus,
            Topic::Observations => &self.observations,
        }
    }
}

/// The limits for a committee of `members`: strangers share these, members are outside the counts.
pub(crate) fn connection_limits(limits: &Limits, members: usize) -> ConnectionLimits {
    let limits = &limits.connections;
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_in_max))
        .with_max_pending_outgoing(Some(limits.pending_out_max))
        .with_max_established_incoming(Some(limits.established_in_base.saturating_add(members.saturating_mul(8))))
        .with_max_established(Some(limits.established_base.saturating_add(members.saturating_mul(16))))
        .with_max_established_per_peer(Some(limits.per_peer_max))
}

/// A swarm with all its parts, not listening yet. Must be called inside the runtime it is to live in.
pub(crate) fn swarm(config: &Config, keys: Keypair, names: &WireNames) -> Result<Swarm<Behaviour>, StartError> {
    let behaviour = behaviour(config, &keys, names)?;
    let limits = config.limits.connections.clone();
    let swarm = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(setup)?
        .with_quic()
        .with_dns()
        .map_err(setup)?
        .with_behaviour(|_| behaviour)
        .map_err(setup)?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(limits.idle_timeout)
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        .with_connection_timeout(limits.handshake_timeout)
        .build();
    Ok(swarm)
}

fn behaviour(config: &Config, keys: &Keypair, names: &WireNames) -> Result<Behaviour, StartError> {
    let limits = &config.limits;
    let own = keys.public().to_peer_id();
    let memory_share = f64::from(limits.connections.memory_percent_max.min(100)) / 100.0;
    let identify = identify::Config::new(names.version.clone(), keys.public())
        .with_agent_version(concat!("floe/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        .with_cache_size(limits.book.peers_max);
    let mdns = match config.lan_discovery {
        LanDiscovery::Off => None,
        LanDiscovery::On => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), own).map_err(setup)?),
    };
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits(limits, 0)),
        memory: memory_connection_limits::Behaviour::with_max_percentage(memory_share),
        bans: allow_block_list::Behaviour::default(),
        streams: streams::Behaviour::new(names.streams.clone()),
        gossip: gossip(limits, names)?,
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_TIMEOUT)),
        kad: kademlia(own, names)?,
        mdns: Toggle::from(mdns),
    })
}

/// Gossip without signatures of its own: every message that matters is signed inside, and signing twice costs twice.
fn gossip(
    limits: &Limits,
    names: &WireNames,
) -> Result<gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>, StartError> {
    /// Room for the frame that gossip puts around a message, and for consensus' nonce.
    const FRAME_BYTES: usize = 512;
    let messages = &limits.messages;
    let consensus_max = messages.consensus_bytes_max.saturating_add(FRAME_BYTES);
    let transaction_max = messages.transaction_bytes_max.saturating_add(FRAME_BYTES);
    let observations_max = messages.observations_bytes_max.saturating_add(FRAME_BYTES);
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(names.gossip_prefix.clone())
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .duplicate_cache_time(messages.duplicate_window)
        .max_transmit_size(consensus_max.max(transaction_max))
        .max_transmit_size_for_topic(transaction_max, names.transactions.clone())
        .max_transmit_size_for_topic(consensus_max, names.consensus.clone())
        .max_transmit_size_for_topic(observations_max, names.observations.clone())
        .connection_handler_queue_len(GOSSIP_QUEUE)
        .flood_publish(true)
        // Whom to connect to is not for strangers to say.
        .prune_peers(0)
        .build()
        .map_err(setup)?;
    let topics = Topic::ALL.map(|topic| names.topic(topic).clone()).into_iter().collect();
    let filter = WhitelistSubscriptionFilter(topics);
    let anonymous = gossipsub::MessageAuthenticity::Anonymous;
    gossipsub::Behaviour::new_with_subscription_filter(anonymous, config, filter).map_err(setup)
}

/// The name of a gossiped message: a hash of topic and content, so that equal messages are one.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(&message.data);
    MessageId::from(hasher.finalize().as_bytes().to_vec())
}

/// Kademlia finds peers and keeps no records: those of others are refused, and there are none of ours.
fn kademlia(own: PeerId, names: &WireNames) -> Result<kad::Behaviour<MemoryStore>, StartError> {
    let mut config = kad::Config::new(protocol(&names.kad)?);
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    config.set_query_timeout(Duration::from_secs(20));
    let mut kademlia = kad::Behaviour::with_config(own, MemoryStore::new(own), config);
    kademlia.set_mode(Some(kad::Mode::Server));
    Ok(kademlia)
}

fn protocol(name: &str) -> Result<StreamProtocol, StartError> {
    StreamProtocol::try_from_owned(name.to_owned()).map_err(setup)
}

fn setup(error: impl std::fmt::Display) -> StartError {
    StartError::Setup { reason: error.to_string() }
}
