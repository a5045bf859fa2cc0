//! What happened to an account, as this node remembers it.

use super::{Amount, Time};
use floe_types::{AccountId, BlobId, Epoch, Height, NodeId, RegistrationNumber, TransactionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Where an entry stands in a history, as `8112-3`: the fourth that the block of height 8112 brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryPlace {
    /// The block's height.
    pub height: Height,
    /// Its number among what the block brought, from 0.
    pub index: u64,
}

/// A text that is no place in a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a history, such as 8112-3: {found:?}")]
pub struct HistoryPlaceError {
    /// The refused text.
    pub found: String,
}

impl fmt::Display for HistoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.height, self.index)
    }
}

impl FromStr for HistoryPlace {
    type Err = HistoryPlaceError;

    fn from_str(text: &str) -> Result<HistoryPlace, HistoryPlaceError> {
        let parts = text.split_once('-').and_then(|(height, index)| Some((height.parse().ok()?, index.parse().ok()?)));
        let (height, index) = parts.ok_or_else(|| HistoryPlaceError { found: text.chars().take(64).collect() })?;
        Ok(HistoryPlace { height: Height(height), index })
    }
}

impl Serialize for HistoryPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HistoryPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HistoryPlace, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "what")]
pub enum Deed {
    /// It sent WAL.
    Sent {
        /// The receiver.
        to: AccountId,
        /// How much.
        amount: Amount,
    },
    /// It received WAL.
    Received {
        /// The sender.
        from: AccountId,
        /// How much.
        amount: Amount,
    },
    /// It paid for a blob.
    Registered {
        /// The registration.
        registration: RegistrationNumber,
        /// The blob.
        blob_id: BlobId,
        /// What it paid.
        price: Amount,
    },
    /// It paid for more epochs of a registration.
    Extended {
        /// The registration.
        registration: RegistrationNumber,
        /// The blob.
        blob_id: BlobId,
        /// The last paid epoch then.
        last_epoch: Epoch,
        /// What it paid; nothing when the registration that did it was paid when it was made.
        price: Amount,
    },
    /// It ended a registration of its own.
    Deleted {
        /// The registration.
        registration: RegistrationNumber,
        /// The blob.
        blob_id: BlobId,
        /// What came back.
        refund: Amount,
    },
    /// A registration of its own was not certified in time.
    Lapsed {
        /// The registration.
        registration: RegistrationNumber,
        /// The blob.
        blob_id: BlobId,
        /// What came back.
        refund: Amount,
    },
    /// It set WAL aside for renewals, or took it back.
    BudgetSet {
        /// The registration.
        registration: RegistrationNumber,
        /// What is set aside now.
        budget: Amount,
    },
    /// A budget of its own paid for more epochs.
    Renewed {
        /// The registration.
        registration: RegistrationNumber,
        /// The blob.
        blob_id: BlobId,
        /// The last paid epoch then.
        last_epoch: Epoch,
        /// What was taken from the budget.
        price: Amount,
        /// What is left of it.
        left: Amount,
    },
    /// A budget of its own ended.
    BudgetReturned {
        /// The registration.
        registration: RegistrationNumber,
        /// The blob.
        blob_id: BlobId,
        /// What came back.
        amount: Amount,
    },
    /// It earned as a member's account.
    Earned {
        /// For this epoch.
        epoch: Epoch,
        /// For storage.
        storage: Amount,
        /// Its part of the fees.
        fees: Amount,
    },
    /// It was paid by the repair reserve, as a member's account, for fragments that its node rebuilt for others.
    PaidForRepair {
        /// The epoch that showed that it has them.
        epoch: Epoch,
        /// Bytes of the fragments.
        bytes: u64,
        /// How much.
        amount: Amount,
    },
    /// What a node owed the repair reserve was taken from what it earned or has at stake.
    DebtPaid {
        /// The node.
        node: NodeId,
        /// How much.
        amount: Amount,
        /// Out of what.
        purse: Purse,
        /// What it still owes.
        left: Amount,
    },
    /// It bonded a stake for a node, or changed it.
    Staked {
        /// The node.
        node: NodeId,
        /// What is bonded now.
        stake: Amount,
    },
    /// A stake of its own came back.
    StakeReleased {
        /// How much.
        amount: Amount,
    },
    /// Something else that it paid a fee for.
    Other,
}

/// What a debt is paid out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purse {
    /// What the node earned with an epoch.
    Earnings,
    /// What the node has at stake.
    Stake,
}

/// One thing that happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Where it stands: `after` of the page that goes on behind it.
    pub place: HistoryPlace,
    /// The block's time.
    pub time: Time,
    /// The transaction; absent for what the end of an epoch did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub transaction: Option<TransactionId>,
    /// The fee that the account paid for it.
    pub fee: Amount,
    /// What it was.
    #[serde(flatten)]
    pub deed: Deed,
}

/// A page of `GET /v1/accounts/{account}/history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// The account.
    pub account: AccountId,
    /// What happened to it.
    pub entries: Vec<HistoryEntry>,
    /// `after` of the next page; absent when this is the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<HistoryPlace>,
    /// The oldest height that this node knows of: what was before is not shown.
    pub since: Height,
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::Frost;

    #[test]
    fn a_place_is_two_numbers() {
        let place = HistoryPlace { height: Height(8112), index: 3 };
        assert_eq!((place.to_string().as_str(), "8112-3".parse()), ("8112-3", Ok(place)));
        for bad in ["", "8112", "-3", "8112-", "a-b", "1-2-3", "99999999999999999999-0"] {
            assert!(bad.parse::<HistoryPlace>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_says_what_it_was_beside_when() {
        let deed = Deed::Earned { epoch: Epoch(4), storage: Frost(9).into(), fees: Frost(1).into() };
        let place = HistoryPlace { height: Height(7), index: 0 };
        let entry = HistoryEntry { place, time: Time(0), transaction: None, fee: Frost(0).into(), deed };
        let text = serde_json::to_string(&entry).unwrap();
        let wanted =
            r#"{"place":"7-0","time":"1970-01-01T00:00:00Z","fee":0,"what":"earned","epoch":4,"storage":9,"fees":1}"#;
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<HistoryEntry>(&text).unwrap(), entry);
    }
}
