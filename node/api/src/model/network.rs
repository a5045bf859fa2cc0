//! The network as decided and as seen from here: epochs, committee, verdict records, accounts.
//!
//! What was *decided* is equal on every node; what this node *observes* since then may differ, and stands in its own
//! fields ([`Answering`], [`Connection`]), never merged with verdicts.

use super::{Amount, Lines, Margin, Ruler, Time, Verdict};
use floe_types::{AccountId, BlockId, Epoch, Height, NetworkId, NodeId, ShardIndex, TransactionId, VoteKey};
use serde::{Deserialize, Serialize};

/// Blobs of one verdict in the newest decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobCount {
    /// The verdict.
    pub verdict: Verdict,
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes, unencoded.
    pub bytes: u64,
}

/// A boundary that has been made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The epoch it ended.
    pub epoch: Epoch,
    /// Its block's time.
    pub at: Time,
    /// Its block's height.
    pub height: Height,
    /// Root of the class verdicts, hex: equal on every node.
    pub verdict_root: String,
}

/// That the network cannot decide, and since when this node has seen so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumLoss {
    /// When this node first saw too few seats answer.
    pub since: Time,
}

/// Seats that answer this node now: an observation, not a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answering {
    /// Shards whose seat holder answers.
    pub shards: u16,
    /// Members that answer, this node included.
    pub members: u16,
}

/// Whether decisions can be made, by what this node observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deciding {
    /// Seats that answer.
    pub answering: Answering,
    /// Present when they are fewer than the decide line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_quorum: Option<QuorumLoss>,
}

/// Everything `floe status` without an id shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    /// The network's name.
    pub name: String,
    /// The network's id.
    pub network: NetworkId,
    /// The current epoch.
    pub epoch: Epoch,
    /// When it began.
    pub epoch_began: Time,
    /// About when it ends; in the past when the boundary is overdue.
    pub next_boundary_about: Time,
    /// The least length of an epoch in milliseconds.
    pub epoch_millis: u64,
    /// The newest block's height.
    pub height: Height,
    /// The newest block's time.
    pub block_time: Time,
    /// Root of the ledger's state after the newest block, hex.
    pub state_root: String,
    /// Members of the committee.
    pub members: u16,
    /// The lines.
    pub lines: Lines,
    /// The newest decision; absent in the first epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decided: Option<Decision>,
    /// Blobs by verdict in that decision.
    pub blobs: Vec<BlobCount>,
    /// The ruler of the defended blobs with the smallest margin; absent when there are none, or nothing was decided of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ruler: Option<Ruler>,
    /// The smallest margin over defended blobs in that decision; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub margin_min: Option<Margin>,
    /// What this node observes since.
    pub deciding: Deciding,
    /// The largest blob in bytes.
    pub blob_bytes_max: u64,
    /// Price of one encoded MiB for one epoch.
    pub price: Amount,
    /// Fee for one byte of a transaction.
    pub fee_per_byte: Amount,
    /// All WAL there is.
    pub supply: Amount,
}

/// How this node and a member stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Connection {
    /// It is this node.
    Itself,
    /// Connected and it answers.
    Answering,
    /// Connected, but its last answer is too old.
    Silent,
    /// Not connected.
    Disconnected,
}

/// A member of the committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// What its operator calls it.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// Its account.
    pub account: AccountId,
    /// Its key for votes.
    pub vote_key: VoteKey,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What fails together with it.
    pub domain: String,
    /// Bytes of fragments it promises to have room for.
    pub capacity_bytes: u64,
    /// Its seats, ascending.
    pub shards: Vec<ShardIndex>,
    /// Decided epochs in a row in which it was absent; 0 when it answered in the newest.
    pub silent_epochs: u64,
    /// What this node observes now.
    pub connection: Connection,
}

/// The committee of a term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitteeView {
    /// The term, from 1.
    pub term: u64,
    /// The current epoch.
    pub epoch: Epoch,
    /// The lines.
    pub lines: Lines,
    /// Shards that may be faulty.
    pub faulty: u16,
    /// The members, sorted by name.
    pub members: Vec<MemberView>,
    /// What this node observes now.
    pub deciding: Deciding,
}

/// What was decided about a member for an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberEpoch {
    /// What its operator calls it.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// Its seats.
    pub shards: u16,
    /// Whether it answered in the epoch; absent when the epoch is undecided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answered: Option<bool>,
    /// Whether its report for the epoch is on the ledger.
    pub reported: bool,
    /// Whether it signed the boundary block's certificate as this node keeps it.
    pub signed: bool,
}

/// One verdict record of an epoch: a class of blobs with the numbers that made the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictRecord {
    /// The verdict.
    pub verdict: Verdict,
    /// Blobs of the class.
    pub blobs: u64,
    /// Their bytes, unencoded.
    pub bytes: u64,
    /// Where the class stands on the ruler.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ruler: Option<Ruler>,
    /// The margin of that ruler.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub margin: Option<Margin>,
}

/// Everything `floe epoch show` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochView {
    /// The epoch.
    pub epoch: Epoch,
    /// When it began.
    pub began: Time,
    /// When it ended: exact once it has; about, for the current one.
    pub ended_about: Time,
    /// The boundary that ended it; absent for the current epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decision: Option<Decision>,
    /// The boundary block; absent for the current epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub block: Option<BlockId>,
    /// Root of the state after that block, hex; absent for the current epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state_root: Option<String>,
    /// Shards whose holders signed the boundary; absent for the current epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signed_shards: Option<u16>,
    /// The lines.
    pub lines: Lines,
    /// Verdict records, worst first; empty for the current epoch.
    pub verdicts: Vec<VerdictRecord>,
    /// The members of the epoch; empty for the current one.
    pub members: Vec<MemberEpoch>,
}

/// An account of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// The account.
    pub account: AccountId,
    /// Name of the member whose account it is, when it is one's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<String>,
    /// What it holds.
    pub balance: Amount,
    /// The next transaction's number.
    pub nonce: u64,
    /// The block after which this was so.
    pub height: Height,
}

/// What became of a transaction that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum TransactionOutcome {
    /// It is in a block.
    Included {
        /// The block's height.
        height: Height,
    },
    /// It waits for one: for a transaction of the same sender before it, or for the network to decide.
    Waiting,
}

/// The answer to a transaction that was handed in and taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionAnswer {
    /// Its id.
    pub transaction: TransactionId,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: TransactionOutcome,
}
