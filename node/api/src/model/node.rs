//! The node that answers: who it is, what it does, what its disk carries.

use super::{Amount, Candidacy, ForGood, Time};
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
    /// Up to date, without seats, with a stake that stands for some.
    Candidate,
    /// Up to date, with seats.
    Member,
    /// It gave notice, and something may still rest on it.
    Leaving,
    /// Up to date, without seats and without a stake.
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

/// A snapshot of the ledger on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    /// The height after which it was taken.
    pub height: Height,
    /// Chunks that are here.
    pub chunks_kept: u32,
    /// Chunks in all.
    pub chunks: u32,
    /// Bytes in all.
    pub bytes: u64,
    /// Members that signed it.
    pub signed_members: u16,
    /// Their shards.
    pub signed_shards: u16,
}

/// How a node stands that has a stake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StakeView {
    /// What is bonded.
    pub stake: Amount,
    /// What of it the repair reserve has to get, out of earnings first.
    #[serde(default)]
    pub owed: Amount,
    /// How it stands.
    pub candidacy: Candidacy,
    /// The epoch with whose end the next committee is chosen.
    pub elects_with: Epoch,
    /// About when that is.
    pub elects_about: Time,
    /// Seats in the next term's committee, once that is chosen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seats_next: Option<u16>,
    /// When it may be switched off, for one that gave notice.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub for_good: Option<ForGood>,
}

/// What a node has to keep, and how much of it is here and attested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DutiesView {
    /// Shards of which it has the seat.
    pub seats: u16,
    /// Those of them of which it attests every defended blob.
    pub seats_covered: u16,
    /// Shards that it gathers for the next term.
    pub incoming: u16,
    /// Those of them of which it attests every defended blob.
    pub incoming_covered: u16,
    /// Shards that it keeps for those who have the seats now.
    pub former: u16,
    /// Shards that it keeps for holders that are silent or gone.
    #[serde(default)]
    pub standing_in: u16,
    /// Bytes of all that belong to seats and incoming shards.
    pub bytes: u64,
    /// Bytes of them that are not attested yet, as far as they were counted.
    pub missing_bytes: u64,
    /// Fragments that are not attested yet, as far as they were counted.
    pub missing_fragments: u64,
    /// Whether all that is missing was counted: very much is not counted to its end.
    pub counted: bool,
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
    /// The snapshot that is arriving; absent when none is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snapshot: Option<SnapshotView>,
    /// Its stake; absent without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stake: Option<StakeView>,
    /// What it has to keep; absent when nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duties: Option<DutiesView>,
    /// Disk.
    pub store: StoreBytes,
    /// Where it listens for peers.
    pub addresses: Vec<String>,
}
