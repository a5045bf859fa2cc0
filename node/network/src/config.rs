//! What one operator may choose, and every limit of the network with its reason.

use crate::book::PeerBookStore;
use floe_types::NetworkId;
use floe_types::params::{BLOCK_BYTES_MAX, MEMBERS_MAX, TRANSACTION_BYTES_MAX};
use std::time::Duration;

/// Kibibyte and mebibyte, for the limits below.
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longest consensus message: a proposal carries a block, and a quarter of a mebibyte is room for its shell.
const CONSENSUS_BYTES_MAX: usize = BLOCK_BYTES_MAX + 256 * KIB;
/// Longest gossiped transaction with whatever is put around it.
const GOSSIPED_TRANSACTION_BYTES_MAX: usize = 64 * KIB;
/// Longest gossiped batch of what a member observed in a slot: two bitmaps of members, an accusation and a signature.
const OBSERVATIONS_BYTES_MAX: usize = 4 * KIB;
/// Longest answer to a challenge: a chunk of a symbol, its way to the blob id, a signature.
const CHALLENGE_ANSWER_BYTES_MAX: usize = 4 * KIB;
/// Longest blocks answer.
const BLOCKS_ANSWER_BYTES_MAX: usize = 4 * MIB;
/// Bytes waiting for one slow peer.
const DIRECT_QUEUE_BYTES_MAX: usize = 8 * MIB;

const _: () = assert!(TRANSACTION_BYTES_MAX < GOSSIPED_TRANSACTION_BYTES_MAX, "every transaction can be gossiped");
const _: () = assert!(BLOCKS_ANSWER_BYTES_MAX >= 2 * BLOCK_BYTES_MAX, "an answer holds more than one block");
const _: () = assert!(DIRECT_QUEUE_BYTES_MAX >= 2 * CONSENSUS_BYTES_MAX, "a queue holds the longest two proposals");

/// What is gossiped. Three topics and no fourth: subscriptions to anything else are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Transactions on their way to a block.
    Transactions,
    /// Votes and proposals.
    Consensus,
    /// What members observed of each other.
    Observations,
}

impl Topic {
    /// All of them.
    pub(crate) const ALL: [Topic; 3] = [Topic::Transactions, Topic::Consensus, Topic::Observations];

    /// The topic's name on the wire.
    pub(crate) fn name(self, network: &NetworkId) -> String {
        let id = network_tag(network);
        match self {
            Topic::Transactions => format!("floe/{id}/tx"),
            Topic::Consensus => format!("floe/{id}/consensus"),
            Topic::Observations => format!("floe/{id}/observations"),
        }
    }
}

/// The first 16 hexadecimal digits of the network's id: in every protocol and topic name, so that nodes of different
/// networks find nothing to say to each other.
pub(crate) fn network_tag(network: &NetworkId) -> String {
    hex::encode(network.0.get(..8).unwrap_or_default())
}

/// Whether to look for peers on the local network by multicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LanDiscovery {
    /// Do not announce this node by multicast.
    #[default]
    Off,
    /// Announce it and connect to who answers. For machines in one room.
    On,
}

/// How to start a network. The secret is not printed: this type has no `Debug`.
pub struct Config {
    /// ed25519 secret key of this node's network identity; its public key is the node's id.
    pub identity_secret: [u8; 32],
    /// Which network: part of every protocol and topic name.
    pub network: NetworkId,
    /// Where to listen, as multiaddresses: `/ip4/0.0.0.0/tcp/7100`, `/ip4/0.0.0.0/udp/7100/quic-v1`. Port 0 lets
    /// the system choose.
    pub listen: Vec<String>,
    /// First acquaintances, as multiaddresses that end in `/p2p/<peer id>`. Kept connected like members.
    pub bootstrap: Vec<String>,
    /// Multicast discovery.
    pub lan_discovery: LanDiscovery,
    /// All numbers.
    pub limits: Limits,
    /// Where the peer book is kept.
    pub peer_book: Box<dyn PeerBookStore>,
}

/// Every limit of the network. Defaults are meant for production; tests make them smaller.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Connections and dialling.
    pub connections: ConnectionLimits,
    /// Gossip and direct messages.
    pub messages: MessageLimits,
    /// Requests and answers.
    pub requests: RequestLimits,
    /// Fragment streams.
    pub streams: StreamLimits,
    /// Who loses patience when.
    pub standing: StandingLimits,
    /// Queues between the network and the node.
    pub queues: QueueLimits,
    /// The peer book.
    pub book: BookLimits,
}

/// How many connections, to whom, and how hard we try. `n` below is the number of members.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Incoming connections whose handshake is under way. More are refused: a flood of half-open connections costs
    /// 32 handshakes of memory, and members are also dialled by us.
    pub pending_in_max: u32,
    /// Outgoing connections under way.
    pub pending_out_max: u32,
    /// Incoming connections of strangers besides `8n`.
    pub established_in_base: u32,
    /// All connections of strangers besides `16n`. Members are outside these counts: their slots are reserved.
    pub established_base: u32,
    /// Connections per peer, members included: two, because both may dial at once.
    pub per_peer_max: u32,
    /// A handshake that takes longer is dropped.
    pub handshake_timeout: Duration,
    /// A connection on which nothing is open is closed after this time.
    pub idle_timeout: Duration,
    /// No new connections while this process uses more than this share of the machine's memory, in percent.
    pub memory_percent_max: u8,
    /// First pause before a member is dialled again; doubled by each failure.
    pub backoff_min: Duration,
    /// Longest pause. A member that comes up dials us too, so the pause is not what its return waits for.
    pub backoff_max: Duration,
    /// Below this number of connected peers, peers of the book are dialled.
    pub peers_wanted: usize,
    /// How many members are remembered; `set_members` beyond it is cut. The largest committee.
    pub members_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            pending_in_max: 32,
            pending_out_max: 32,
            established_in_base: 64,
            established_base: 128,
            per_peer_max: 2,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            memory_percent_max: 80,
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            peers_wanted: 8,
            members_max: MEMBERS_MAX,
        }
    }
}

/// Sizes of messages, and how consensus travels.
#[derive(Debug, Clone)]
pub struct MessageLimits {
    /// Longest consensus message: a proposal with its block.
    pub consensus_bytes_max: usize,
    /// Longest transaction.
    pub transaction_bytes_max: usize,
    /// Longest batch of observations.
    pub observations_bytes_max: usize,
    /// Committees of at most this many members send consensus messages directly to each other, larger ones by
    /// gossip. Directly costs `n-1` sends for a message in the whole network's view of one sender and nothing for
    /// relaying, which is leanest until the sender's uplink has to carry a proposal too many times.
    pub direct_members_max: usize,
    /// Peers to which consensus is sent directly, observers included.
    pub direct_peers_max: usize,
    /// Messages waiting for one slow peer; the oldest is dropped for the newest, which supersedes it.
    pub direct_queue_messages_max: usize,
    /// Bytes waiting for one slow peer. Must hold two of the longest messages.
    pub direct_queue_bytes_max: usize,
    /// How long gossip remembers a transaction. Longer than gossip's own message history (5 s), or repairs of the
    /// mesh would deliver twice; a mempool that offers a transaction again does so later than this.
    pub duplicate_window: Duration,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            consensus_bytes_max: CONSENSUS_BYTES_MAX,
            transaction_bytes_max: GOSSIPED_TRANSACTION_BYTES_MAX,
            observations_bytes_max: OBSERVATIONS_BYTES_MAX,
            direct_members_max: 32,
            direct_peers_max: 96,
            direct_queue_messages_max: 2048,
            direct_queue_bytes_max: DIRECT_QUEUE_BYTES_MAX,
            duplicate_window: Duration::from_secs(10),
        }
    }
}

/// Sizes and times of requests.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// Longest request of any kind.
    pub request_bytes_max: usize,
    /// Longest status answer.
    pub status_answer_bytes_max: usize,
    /// Longest blocks answer: some blocks of 1 MiB and their certificates.
    pub blocks_answer_bytes_max: usize,
    /// Longest answer to a challenge.
    pub challenge_answer_bytes_max: usize,
    /// A status is small: who needs longer is as good as silent.
    pub status_timeout: Duration,
    /// 4 MiB in this time is 210 KiB/s.
    pub blocks_timeout: Duration,
    /// The longest hard deadline that a network may have; its own is kept by whoever asks.
    pub challenge_timeout: Duration,
    /// Our own requests in flight, of each kind.
    pub in_flight_max: usize,
    /// Requests of one peer that we serve at once, of each kind.
    pub per_peer_max: usize,
    /// Requests that we serve at once, of each kind: 32 answers of 4 MiB are what sending them may hold.
    pub served_max: usize,
    /// A request must be read within this time.
    pub header_timeout: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            request_bytes_max: 64 * KIB,
            status_answer_bytes_max: 64 * KIB,
            blocks_answer_bytes_max: BLOCKS_ANSWER_BYTES_MAX,
            challenge_answer_bytes_max: CHALLENGE_ANSWER_BYTES_MAX,
            status_timeout: Duration::from_secs(2),
            blocks_timeout: Duration::from_secs(20),
            challenge_timeout: Duration::from_secs(10),
            in_flight_max: 256,
            per_peer_max: 8,
            served_max: 32,
            header_timeout: Duration::from_secs(5),
        }
    }
}

/// How many fragment streams, and how slow they may be.
#[derive(Debug, Clone)]
pub struct StreamLimits {
    /// Streams open with one peer, each way.
    pub per_peer_max: usize,
    /// Streams open with all peers, each way.
    pub total_max: usize,
    /// Waiting for a free place and for the other side to accept.
    pub open_timeout: Duration,
    /// Time that may be spent waiting for the other side besides what its bytes earn.
    pub grace: Duration,
    /// Bytes that earn a second of waiting: a slower stream fails with `TimedOut`.
    pub bytes_per_second_min: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            per_peer_max: 32,
            total_max: 256,
            open_timeout: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            bytes_per_second_min: 16 * 1024,
        }
    }
}

/// Who loses patience when. Points fall by one a second.
#[derive(Debug, Clone)]
pub struct StandingLimits {
    /// Points at which a peer loses its connection and is banned.
    pub points_max: u32,
    /// Points for a relayed message that the node rejected.
    pub rejected_message: u32,
    /// Points for bytes that are no message of the protocol: a lying length, an unknown kind.
    pub bad_frame: u32,
    /// Points for a request that the node found to be garbage.
    pub bad_request: u32,
    /// How long a stranger stays out.
    pub ban: Duration,
    /// How long a member stays out: short, because its votes are needed and its misdeeds have a price elsewhere.
    pub member_ban: Duration,
    /// Peers whose points are remembered; the best behaved is forgotten first.
    pub peers_max: usize,
}

impl Default for StandingLimits {
    fn default() -> Self {
        Self {
            points_max: 100,
            rejected_message: 10,
            bad_frame: 25,
            bad_request: 20,
            ban: Duration::from_secs(300),
            member_ban: Duration::from_secs(10),
            peers_max: 4096,
        }
    }
}

/// Queues between the network and the node. A full one drops the newest and counts it.
#[derive(Debug, Clone)]
pub struct QueueLimits {
    /// Consensus messages and changes of connection: several seconds of a busy committee of a hundred.
    pub consensus_events: usize,
    /// Gossiped transactions: the next block holds fewer.
    pub transaction_events: usize,
    /// Gossiped batches of observations: a committee of a hundred sends as many in a slot. What is lost moves screens only.
    pub observation_events: usize,
    /// Requests and incoming fragment streams.
    pub request_events: usize,
    /// Commands to the network, of each kind.
    pub commands: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            consensus_events: 4096,
            transaction_events: 1024,
            observation_events: 512,
            request_events: 256,
            commands: 1024,
        }
    }
}

/// The peer book.
#[derive(Debug, Clone)]
pub struct BookLimits {
    /// Peers remembered; the one seen longest ago is forgotten first.
    pub peers_max: usize,
    /// Addresses remembered for one peer.
    pub addresses_max: usize,
    /// Pause between two saves.
    pub save_every: Duration,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self { peers_max: 1000, addresses_max: 8, save_every: Duration::from_secs(5) }
    }
}
