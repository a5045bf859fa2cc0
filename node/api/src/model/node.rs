//! The node that answers: who it is, what it does, what its disk carries.

use super::Time;
use floe_types::{AccountId, Epoch, Height, NetworkId, NodeId};
use serde::{Deserialize, Serialize};

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodePhase {
    /// Opening its data and looking for peers.
    Starting,
    /// Behind the others and fetching blocks.
    Syncing,
    /// Up to date, with seats.
    Member,
    /// Up to date, without seats.
    Observer,
    /// Going down in order.
    Stopping,
}

/// Bytes on this node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreBytes {
    /// Fragments of defended blobs.
    pub live: u64,
    /// Fragments of forgotten blobs, dropped when the space is needed.
    pub reclaimable: u64,
    /// Free on the file system.
    pub free: u64,
    /// Kept free: below it stores are refused.
    pub reserve: u64,
}

/// Everything `GET /v1/node` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Version of the program.
    pub version: String,
    /// The network's name.
    pub network_name: String,
    /// The network.
    pub network: NetworkId,
    /// The node.
    pub node: NodeId,
    /// Its libp2p peer id.
    pub peer: String,
    /// Its name as a member, or its short id.
    pub name: String,
    /// The account from which its gateway stores.
    pub account: AccountId,
    /// What it is doing.
    pub phase: NodePhase,
    /// When this process started.
    pub started: Time,
    /// Its newest block.
    pub height: Height,
    /// Its current epoch.
    pub epoch: Epoch,
    /// The highest block any peer spoke of.
    pub height_seen: Height,
    /// Seats.
    pub shards: u16,
    /// Connected peers.
    pub peers: u32,
    /// Fragments kept.
    pub fragments: u64,
    /// Disk.
    pub store: StoreBytes,
    /// Where it listens for peers.
    pub addresses: Vec<String>,
}
