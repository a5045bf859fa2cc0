//! Which accounts a block touched, and how: an index that a node may keep beside its blocks.
//!
//! It is no part of the state: nothing that decides reads it and no root covers it (decision 015). [`entries`] gives the
//! keys and values that a decided block adds to it, in a table of their own; a node writes them in the same batch as the
//! block. [`crate::views::history`] reads them back.
//!
//! ```text
//! tag 39 | account | height inverted | place in the block inverted ──► a Touch
//! ```
//!
//! A block adds at most a few entries for each of its transactions, and at a boundary one for each member that earned and
//! for each thing that lapsed, ended or was renewed with it.

use crate::event::{Event, Purse};
use crate::execute::Executed;
use crate::state::Entry;
use crate::tables::Table;
use floe_types::{
    AccountId, BlobId, BlockTime, Epoch, Frost, Height, NodeId, RegistrationNumber, TransactionId, codec,
};
use serde::{Deserialize, Serialize};

/// The most entries in one answer of [`crate::views::history`].
pub const HISTORY_PAGE_MAX: usize = 1000;

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is an event or an action of the same name, with its amount")]
pub enum Deed {
    /// It sent WAL.
    Sent { to: AccountId, amount: Frost },
    /// It received WAL.
    Received { from: AccountId, amount: Frost },
    /// It paid for a blob.
    Registered { registration: RegistrationNumber, blob: BlobId, price: Frost },
    /// It paid for more epochs of a registration, its own or another's; or its registration made a blob last longer.
    Extended { registration: RegistrationNumber, blob: BlobId, to: Epoch, price: Frost },
    /// It ended a registration of its own.
    Deleted { registration: RegistrationNumber, blob: BlobId, refund: Frost },
    /// A registration of its own was not certified in time.
    Lapsed { registration: RegistrationNumber, blob: BlobId, refund: Frost },
    /// It set WAL aside for renewals, or took it back.
    BudgetSet { registration: RegistrationNumber, budget: Frost },
    /// A budget of its own ended.
    BudgetReturned { registration: RegistrationNumber, blob: BlobId, amount: Frost },
    /// It earned as a member's account.
    Earned { epoch: Epoch, storage: Frost, fees: Frost },
    /// It joined the candidates with a stake, or changed what one has bonded to this.
    Staked { node: NodeId, stake: Frost },
    /// A stake of its own came back.
    StakeReleased { amount: Frost },
    /// Something else that it paid a fee for.
    Other,
    /// A budget of its own paid for more epochs of a registration of its own.
    Renewed { registration: RegistrationNumber, blob: BlobId, to: Epoch, price: Frost, left: Frost },
    /// It was paid as a member's account for fragments of so many bytes that were rebuilt for others.
    Rebuilt { epoch: Epoch, bytes: u64, amount: Frost },
    /// A debt of its node was taken out of what it earned or had bonded.
    DebtPaid { node: NodeId, amount: Frost, purse: Purse, left: Frost },
}

/// One thing that happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: BlockTime,
    /// The transaction; none for what a boundary did.
    pub transaction: Option<TransactionId>,
    /// The fee, for the account that sent the transaction.
    pub fee: Frost,
    /// What it was.
    pub deed: Deed,
}

/// Where a touch stands in the history of every account: a later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The block's height.
    pub height: Height,
    /// Its number among the touches of the block, from 0.
    pub index: u64,
}

impl Place {
    /// The end of a key: the newest comes first.
    pub(crate) fn key(self) -> [u8; 16] {
        let below = u128::from(self.height.0) << 64 | u128::from(self.index);
        (u128::MAX - below).to_be_bytes()
    }

    /// What [`Place::key`] made; none for other bytes.
    pub(crate) fn of_key(bytes: &[u8]) -> Option<Place> {
        let below = u128::MAX - u128::from_be_bytes(bytes.try_into().ok()?);
        // Both halves fit: the upper one is shifted down, the lower one is cut.
        Some(Place { height: Height((below >> 64) as u64), index: below as u64 })
    }
}

/// What a boundary did to somebody, when it says to whom.
fn by_boundary(event: &Event) -> Option<Whose> {
    match *event {
        Event::RegistrationLapsed { registration, blob, owner, refund } => {
            Some((owner, Deed::Lapsed { registration, blob, refund }))
        }
        Event::Renewed { registration, blob, owner, to, price, left, .. } => {
            Some((owner, Deed::Renewed { registration, blob, to, price, left }))
        }
        Event::BudgetReturned { registration, blob, owner, amount } => {
            Some((owner, Deed::BudgetReturned { registration, blob, amount }))
        }
        Event::StakeReleased { account, amount } => Some((account, Deed::StakeReleased { amount })),
        Event::Earned { epoch, account, storage, fees, .. } => Some((account, Deed::Earned { epoch, storage, fees })),
        Event::RepairPaid { epoch, account, bytes, amount, .. } => {
            Some((account, Deed::Rebuilt { epoch, bytes, amount }))
        }
        Event::DebtPaid { node, account, amount, purse, left, .. } => {
            Some((account, Deed::DebtPaid { node, amount, purse, left }))
        }
        _ => None,
    }
}

/// A deed and whose it is.
type Whose = (AccountId, Deed);

/// What a transaction did: which, to its sender, and to whom else.
fn by_transaction(event: &Event) -> Option<(TransactionId, Deed, Option<Whose>)> {
    match *event {
        Event::Transferred { transaction, from, to, amount } => {
            let received = (to, Deed::Received { from, amount });
            Some((transaction, Deed::Sent { to, amount }, Some(received)))
        }
        Event::Registered { transaction, registration, blob, price, .. } => {
            Some((transaction, Deed::Registered { registration, blob, price }, None))
        }
        Event::Extended { transaction, registration, blob, to, price, .. } => {
            Some((transaction, Deed::Extended { registration, blob, to, price }, None))
        }
        Event::Deleted { transaction, registration, blob, refund, .. } => {
            Some((transaction, Deed::Deleted { registration, blob, refund }, None))
        }
        Event::BudgetSet { transaction, registration, budget } => {
            Some((transaction, Deed::BudgetSet { registration, budget }, None))
        }
        Event::Joined { transaction, node, stake } | Event::Staked { transaction, node, stake } => {
            Some((transaction, Deed::Staked { node, stake }, None))
        }
        Event::Certified { transaction, .. }
        | Event::Attested { transaction, .. }
        | Event::Withdrawn { transaction, .. }
        | Event::Offered { transaction, .. }
        | Event::Supported { transaction, .. }
        | Event::Leaving { transaction, .. }
        | Event::Described { transaction, .. }
        | Event::VoteKeyAnnounced { transaction, .. }
        | Event::Punished { transaction, .. } => Some((transaction, Deed::Other, None)),
        _ => None,
    }
}

/// What `executed` adds to the index, to be written together with its block or not at all.
#[must_use]
pub fn entries(executed: &Executed) -> Vec<Entry> {
    let (height, time) = (executed.block.header.height, executed.block.header.time);
    let mut found: Vec<Entry> = Vec::new();
    let mut add = |account: AccountId, transaction, fee, deed| {
        let place = Place { height, index: found.len() as u64 };
        let key = Table::History.key(&[&account.0, &place.key()]);
        found.push((key, codec::encode(&Touch { height, time, transaction, fee, deed })));
    };
    // Events come in the order of transactions, so that one walk finds the sender of each.
    let mut senders = executed.ids.iter().zip(&executed.block.transactions).peekable();
    for event in &executed.events {
        if let Some((account, deed)) = by_boundary(event) {
            add(account, None, Frost::ZERO, deed);
        }
        let Some((id, deed, other)) = by_transaction(event) else { continue };
        while senders.next_if(|(other, _)| **other != id).is_some() {}
        let Some((_, signed)) = senders.peek() else { break };
        let (sender, fee) = (signed.transaction.sender, signed.transaction.fee);
        add(sender, Some(id), fee, deed);
        if let Some((account, deed)) = other.filter(|(account, _)| *account != sender) {
            add(account, Some(id), Frost::ZERO, deed);
        }
    }
    found
}
