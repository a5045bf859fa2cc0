//! Why things are as they are: a blob, a node, the network; and what is being rebuilt.
//!
//! One model for the command line, `--json` and HTTP: sentences for people, made once by the node, beside the numbers that
//! they are made of. Every number is on the ledger and can be recomputed from it.

use super::{Amount, Margin, Ruler, Time, Verdict};
use floe_types::{BlobId, Epoch, NodeId, ShardIndex};
use serde::{Deserialize, Serialize};

/// What something is, since when, why, and what comes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The answer in a line.
    pub title: String,
    /// The reasons, in the order in which they are read.
    pub lines: Vec<Sentence>,
    /// The epoch that is under way.
    pub epoch: Epoch,
    /// The epoch that was decided last; none before the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decided: Option<Epoch>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decided_at: Option<Time>,
    /// About when the next boundary is.
    pub next_boundary_about: Time,
    /// The numbers.
    pub facts: Facts,
}

/// A line of an explanation: `because  3 of 12 members are silent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sentence {
    /// What kind of line: `because`, `so`, `risk`, `repair`, `next`, `you`.
    pub label: String,
    /// The words.
    pub text: String,
}

/// The numbers of an explanation, by what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "about")]
pub enum Facts {
    /// A blob.
    Blob(Box<BlobFacts>),
    /// A node.
    Node(Box<NodeFacts>),
    /// The network.
    Network(Box<NetworkFacts>),
}

/// The numbers behind a blob's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobFacts {
    /// The blob.
    pub blob_id: BlobId,
    /// The verdict.
    pub verdict: Verdict,
    /// Where it stands; none before its first boundary and after its term.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ruler: Option<Ruler>,
    /// What may go.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub margin: Option<Margin>,
    /// What it risks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub risk: Option<RiskView>,
    /// Of a blob that is tolerated with silent holders, the epoch in which repair begins if nothing changes. None: not before
    /// one of them is excluded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repair_begins: Option<Epoch>,
    /// Who holds it.
    pub holders: Vec<HolderView>,
    /// What is being rebuilt of it.
    pub tickets: Vec<TicketView>,
}

/// A risk over the horizon of one decision, and the lines it is held against. Upper bounds, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskLine {
    /// The risk.
    pub now: f64,
    /// Repair begins above.
    pub trigger: f64,
    /// Repair ends at or below.
    pub stop: f64,
}

/// What a class of blobs risks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskView {
    /// That fewer shards survive than a read needs.
    pub loss: RiskLine,
    /// That so few survive that `f` silent liars would suffice to lose it.
    pub margin: RiskLine,
    /// The larger of the two, as a multiple of its accepted bound.
    pub times_bound: f64,
    /// Whether it was computed for this very class; else it is a bound that holds for all with as many shards.
    pub exact: bool,
    /// Whether repair had begun before the boundary: then it goes on to the stop lines.
    pub repairing: bool,
    /// Covered shards whose holder is not gone.
    pub counted: u16,
    /// The most of them that liars with at most `f` seats may be the only ones to hold.
    pub byzantine: u16,
    /// The epoch in which repair would start, when a line is passed and patience or the cap holds it back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub starts: Option<Epoch>,
}

/// A node that covers shards of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderView {
    /// The node.
    pub node: NodeId,
    /// What its operator calls it.
    pub name: String,
    /// What it is to them: `seat`, `former`, `incoming`, `stand-in`.
    pub kind: String,
    /// The shards.
    pub shards: Vec<ShardIndex>,
    /// Whether it answered in the epoch decided last.
    pub answered: bool,
    /// Decided epochs in a row in which it did not.
    pub silent_epochs: u64,
}

/// A rebuild that a boundary decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketView {
    /// Its number.
    pub number: u64,
    /// The shard whose fragments are rebuilt.
    pub shard: ShardIndex,
    /// Who rebuilds them.
    pub target: NodeId,
    /// What its operator calls it.
    pub target_name: String,
    /// What it is to the shard: `seat` or `stand-in`.
    pub kind: String,
    /// Why, in words.
    pub why: String,
    /// Since when there has been such a ticket at every boundary.
    pub since: Epoch,
    /// The last epoch in which it is valid.
    pub until: Epoch,
    /// Whether it may break the cap.
    pub urgent: bool,
}

/// What a boundary planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedView {
    /// Tickets given.
    pub tickets: u64,
    /// Fragments that count against the cap.
    pub fragments: u64,
    /// Fragments beside it.
    pub urgent_fragments: u64,
    /// The cap.
    pub cap: u64,
}

/// What is being rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairView {
    /// The epoch under way.
    pub epoch: Epoch,
    /// What the newest boundary planned.
    pub planned: PlannedView,
    /// What the reserve paid with it for fragments that were rebuilt for others.
    #[serde(default)]
    pub paid: Amount,
    /// What the reserve got with it from those whose gaps others filled.
    #[serde(default)]
    pub repaid: Amount,
    /// What the reserve has.
    #[serde(default)]
    pub reserve: Amount,
    /// The tickets that are valid, at most a thousand.
    pub tickets: Vec<TicketView>,
    /// Tickets that are valid.
    pub total: u64,
    /// Fragments that this node has rebuilt since it started.
    pub rebuilt_here: u64,
    /// Bytes that came here for it.
    pub bytes_here: u64,
}

/// A node's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RankView {
    /// It may have seats.
    Good,
    /// It gets no new seats.
    Probation,
    /// It has no say beyond its vote, and loses its seats.
    Excluded,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// The node.
    pub node: NodeId,
    /// What its operator calls it.
    pub name: String,
    /// Its seats.
    pub shards: u16,
    /// What fails together with it.
    pub domain: String,
    /// Whether it answered in the epoch decided last.
    pub answered: bool,
    /// Slots of that epoch in which it held, and how many were decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slots: Option<(u16, u16)>,
    /// Decided epochs in a row in which it did not answer.
    pub silent_epochs: u64,
    /// The slow average of its slots, from 0 to 1.
    pub reliability: f64,
    /// Below it no new seats.
    pub probation_below: f64,
    /// Below it at two checks in a row it is excluded.
    pub excluded_below: f64,
    /// Its rank.
    pub rank: RankView,
    /// The sequential test of whether it has what it attests: at 1 it trips.
    pub integrity_gauge: f64,
    /// What it owes the repair reserve for gaps of its that others filled.
    #[serde(default)]
    pub owed: Amount,
    /// Bytes of fragments that it rebuilt for others and is not paid for yet.
    #[serde(default)]
    pub unpaid_bytes: u64,
    /// The last epoch in which it may make again at once what it lost and said so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rebuilds_until: Option<Epoch>,
    /// Fragments it is to rebuild now.
    pub tickets: Vec<TicketView>,
}

/// What is known of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFacts {
    /// The members, without their tickets.
    pub members: Vec<NodeFacts>,
    /// Seats that answer this node now.
    pub answering_now: u16,
    /// Seats that deciding needs.
    pub needed: u16,
    /// What the newest boundary planned.
    pub planned: PlannedView,
    /// The ruler of the defended blobs that have least.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ruler: Option<Ruler>,
    /// Their margin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thinnest: Option<Margin>,
}

/// What holders say of a blob when they are asked now: an observation of this node, not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// The blob.
    pub blob_id: BlobId,
    /// When they were asked.
    pub at: Time,
    /// Shards whose holder opened a random chunk correctly.
    pub correct: u16,
    /// Shards whose holder answered with something else.
    pub wrong: u16,
    /// Shards whose holder did not answer in time.
    pub silent: u16,
    /// Shards that nobody attests.
    pub uncovered: u16,
    /// The holders, one by one.
    pub holders: Vec<CheckedHolder>,
}

/// One holder that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedHolder {
    /// The node.
    pub node: NodeId,
    /// What its operator calls it.
    pub name: String,
    /// The shard asked about.
    pub shard: ShardIndex,
    /// How it went: `correct`, `wrong`, `silent`.
    pub outcome: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}
