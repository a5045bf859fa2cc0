//! What storage costs, who says so, and what is set aside to go on.

use super::{Amount, Time};
use floe_types::{AccountId, BlobId, Epoch, NodeId, RegistrationNumber};
use serde::{Deserialize, Serialize};

/// The unit of every amount in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// 10^9 are a WAL.
    #[default]
    #[serde(rename = "FROST")]
    Frost,
}

/// What a store would cost if it were registered in the running epoch, the fee aside: `GET /v1/quote`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreQuote {
    /// Encoded bytes on all shards together.
    pub encoded_bytes: u64,
    /// What is taken.
    pub cost: Amount,
    /// Of that, for one epoch.
    pub rate: Amount,
    /// In which unit.
    pub unit: Unit,
    /// The first paid epoch: the running one.
    pub first_epoch: Epoch,
    /// The last paid epoch.
    pub last_epoch: Epoch,
    /// About when that ends.
    pub expires_at: Time,
    /// What would make it cheaper, or is about to change.
    pub hints: Vec<String>,
}

/// For what a member would serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    /// What its operator calls it.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// Its seats: the weight of what it says.
    pub shards: u16,
    /// Its standing offer; absent when it never made one: it is taken to agree with the price.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offer: Option<Amount>,
}

/// The price of one encoded mebibyte for one epoch: `GET /v1/price`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PricesView {
    /// In force.
    pub current: Amount,
    /// From the next term on.
    pub next: Amount,
    /// The first epoch of the next term.
    pub next_from: Epoch,
    /// About when that begins.
    pub next_about: Time,
    /// In which unit.
    pub unit: Unit,
    /// What the members would serve for, the lowest first: at the end of the term their lower median by shards moves the
    /// price of the term after the next, by a tenth at most.
    pub offers: Vec<OfferView>,
}

/// How far a registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RegistrationPhase {
    /// Paid, waiting for its certificate.
    Pending,
    /// It counts.
    Counts,
    /// Its last paid epoch has passed.
    Over,
    /// Not certified in time.
    Lapsed,
    /// Ended by its owner.
    Deleted,
}

/// A registration with what is set aside for it: `GET /v1/registrations/{number}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationView {
    /// Its number.
    pub registration: RegistrationNumber,
    /// The blob.
    pub blob_id: BlobId,
    /// Who paid, and may change it.
    pub owner: AccountId,
    /// How far it has come.
    pub phase: RegistrationPhase,
    /// The first paid epoch.
    pub first_epoch: Epoch,
    /// The last paid epoch.
    pub last_epoch: Epoch,
    /// About when that ends.
    pub ends_about: Time,
    /// What is set aside for renewals: with the end of the last paid epoch it buys more, a term at a time.
    pub budget: Amount,
    /// What one more epoch costs at the price in force.
    pub epoch_cost: Amount,
}
