//! Who stands for seats, who is chosen, what a candidacy would come to, and when a node may be switched off.

use super::{Amount, Time};
use floe_types::{AccountId, Epoch, NodeId};
use serde::{Deserialize, Serialize};

/// How a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Candidacy {
    /// It may be given seats.
    Standing,
    /// It gave notice.
    #[serde(rename_all = "camelCase")]
    Leaving {
        /// In this epoch.
        since: Epoch,
    },
    /// It signed two things where it may sign one.
    #[serde(rename_all = "camelCase")]
    Excluded {
        /// Since this epoch.
        since: Epoch,
        /// The first term it may be chosen for again.
        until_term: u64,
    },
}

/// A candidate with what it has at stake and the seats it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateView {
    /// What its operator calls it.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// The account that bonded its stake.
    pub owner: AccountId,
    /// The account of its duties and its pay.
    pub account: AccountId,
    /// What fails together with it.
    pub domain: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Bytes of fragments it has room for.
    pub capacity_bytes: u64,
    /// What is bonded.
    pub stake: Amount,
    /// How it stands.
    pub candidacy: Candidacy,
    /// Seats in the committee in office.
    pub seats: u16,
    /// Seats in the next term's, once that is chosen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seats_next: Option<u16>,
    /// Seats its stake comes to in time.
    pub share: u16,
    /// Shards whose fragments it gathers for the next term.
    pub incoming: u16,
    /// Shards of which it still keeps fragments for those who have the seats now.
    pub former: u16,
    /// Why it would get no more seats at an election now.
    pub bound: String,
}

/// A failure domain with more seats than is wise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CrowdedDomain {
    /// The domain.
    pub domain: String,
    /// Its seats.
    pub shards: u16,
}

/// Everything `floe committee candidates` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidatesView {
    /// The term in office.
    pub term: u64,
    /// The current epoch.
    pub epoch: Epoch,
    /// The epoch with whose end the next committee is chosen.
    pub elects_with: Epoch,
    /// About when that is.
    pub elects_about: Time,
    /// The least stake of a candidate.
    pub stake_min: Amount,
    /// The candidates, the most seats first.
    pub candidates: Vec<CandidateView>,
    /// Domains that hold more than half of what may be lost.
    pub crowded: Vec<CrowdedDomain>,
}

/// What a candidacy would come to if nothing else changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewView {
    /// The epoch with whose end the election is held.
    pub elected_with: Epoch,
    /// About when that is.
    pub elected_about: Time,
    /// The first epoch of the term it is for.
    pub serves_from: Epoch,
    /// About when that begins.
    pub serves_about: Time,
    /// Seats it would get then.
    pub seats: u16,
    /// Seats it would come to in time.
    pub share: u16,
    /// All seats.
    pub shards: u16,
    /// Bytes it would have to gather.
    pub arriving_bytes: u64,
    /// Why it would get no more at first.
    pub bound: String,
}

/// Whether a node may be switched off for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum ForGood {
    /// It may: nothing rests on it.
    Now,
    /// It may from the beginning of this epoch on.
    #[serde(rename_all = "camelCase")]
    From {
        /// The epoch.
        epoch: Epoch,
        /// About when it begins.
        about: Time,
    },
    /// It may not.
    #[serde(rename_all = "camelCase")]
    NotYet {
        /// Why, one line each.
        why: Vec<String>,
        /// The first epoch in which it might, if all goes well.
        earliest: Epoch,
        /// About when that begins.
        about: Time,
    },
}

/// Everything `floe node can-stop` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanStopView {
    /// The node.
    pub node: NodeId,
    /// Its seats.
    pub seats: u16,
    /// Shards whose holders answer now, this node's included.
    pub answering: u16,
    /// Shards that would answer without it.
    pub answering_without: u16,
    /// Shards that decide.
    pub needed: u16,
    /// Whether it may be stopped for a while: the network goes on deciding without it.
    pub for_a_while: bool,
    /// Whether it may be switched off for good.
    pub for_good: ForGood,
}
