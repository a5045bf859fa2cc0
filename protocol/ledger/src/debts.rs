//! Debts: what nodes owe the repair reserve, and how it comes in.
//!
//! A node owes what the reserve paid others for filling its gaps, and what it was paid for fragments that it withdrew
//! ([`crate::claims`]). A debt is no WAL: nothing moves until it is paid. It is paid, at boundaries,
//!
//! 1. out of what the node earned with the epoch, before its operator sees it: storage, fees and repair;
//! 2. out of its stake, once it is excluded or has no seats: it earns nothing any more;
//! 3. out of whatever of its stake goes back, however long ago that was asked for.
//!
//! Nobody is charged for what its stake does not cover, so that every debt comes in. What a fine leaves uncovered is forgiven
//! when nothing of the node is left at stake.
//!
//! # Laws
//! - **I7** What is taken comes to the reserve, to the unit.

use crate::candidates::{self, Standing, Unbonding};
use crate::event::{Event, Purse};
use crate::money::{self, Pot};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::{AccountId, Committee, Epoch, Frost, NodeId};
use std::collections::BTreeMap;

fn key(node: &NodeId) -> Vec<u8> {
    Table::Debts.key(&[&node.0])
}

/// What `node` owes.
pub(crate) fn owed(state: &dyn StateRead, node: &NodeId) -> Result<Frost, StateError> {
    Ok(Table::Debts.load(state, &key(node))?.unwrap_or_default())
}

/// Every debt, by node.
pub(crate) fn all(state: &dyn StateRead) -> Result<BTreeMap<NodeId, Frost>, StateError> {
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let node = key.as_slice().try_into().map_err(|_| Table::Debts.damaged("a key is not a node"))?;
        Ok((NodeId(node), Table::Debts.parse(&value)?))
    };
    Table::Debts.all(state, &[])?.into_iter().map(entry).collect()
}

fn put(overlay: &mut Overlay<'_>, node: &NodeId, owed: Frost) {
    match owed {
        Frost::ZERO => overlay.delete(key(node)),
        owed => Table::Debts.store(overlay, key(node), &owed),
    }
}

/// Lets `node` owe so much more. Gives what it owes then.
pub(crate) fn charge(overlay: &mut Overlay<'_>, node: &NodeId, amount: Frost) -> Result<Frost, StateError> {
    let owed = Frost(owed(overlay, node)?.0.saturating_add(amount.0));
    put(overlay, node, owed);
    Ok(owed)
}

/// Stakes of `node` on their way back, with the keys of their entries.
fn unbonding(state: &dyn StateRead, node: &NodeId) -> Result<Vec<Unbonding>, StateError> {
    let entries = Table::Unbonding.all(state, &[])?.into_iter();
    entries
        .filter(|(key, _)| key.get(8..) == Some(&node.0[..]))
        .map(|(_, value)| Table::Unbonding.parse(&value))
        .collect()
}

/// What `node` has at stake beyond what it owes.
pub(crate) fn backing(state: &dyn StateRead, node: &NodeId) -> Result<Frost, StateError> {
    let bonded = candidates::candidate(state, node)?.map_or(Frost::ZERO, |candidate| candidate.stake);
    let unbonding = unbonding(state, node)?;
    let whole = unbonding.iter().fold(bonded.0, |sum, entry| sum.saturating_add(entry.amount.0));
    Ok(Frost(whole.saturating_sub(owed(state, node)?.0)))
}

/// Takes debts out of what members earned with `epoch`, which their accounts have already.
pub(crate) fn from_earnings(
    overlay: &mut Overlay<'_>,
    (committee, epoch): (&Committee, Epoch),
    earned: &[Event],
) -> Result<Vec<Event>, StateError> {
    let mut debts = all(overlay)?;
    debts.retain(|node, _| committee.index_of(node).is_some());
    let mut events = Vec::new();
    for (node, owed) in debts {
        let Some(index) = committee.index_of(&node) else { continue };
        let (mut account, mut sum) = (None, 0u64);
        for event in earned {
            let (member, to, amount) = match event {
                Event::Earned { member, account, storage, fees, .. } => (member, account, storage.0 + fees.0),
                Event::RepairPaid { member, account, amount, .. } => (member, account, amount.0),
                _ => continue,
            };
            if *member == index {
                (account, sum) = (Some(*to), sum.saturating_add(amount));
            }
        }
        let Some(account) = account else { continue };
        let amount = money::collect(overlay, &account, owed.min(Frost(sum)), Pot::Reserve)?;
        events.extend(settle(overlay, (&node, &account), (amount, Purse::Earnings), epoch)?);
    }
    Ok(events)
}

/// Writes down that so much of a debt came in. Gives the event, unless it was nothing.
fn settle(
    overlay: &mut Overlay<'_>,
    (node, account): (&NodeId, &AccountId),
    (amount, purse): (Frost, Purse),
    epoch: Epoch,
) -> Result<Option<Event>, StateError> {
    if amount == Frost::ZERO {
        return Ok(None);
    }
    let left = owed(overlay, node)?.saturating_sub(amount);
    put(overlay, node, left);
    Ok(Some(Event::DebtPaid { epoch, node: *node, account: *account, amount, purse, left }))
}

/// Takes debts out of the stakes of those who are excluded or have no seat in `office`, with the end of `epoch`; forgives those
/// of whom nothing is at stake.
pub(crate) fn from_stakes(
    overlay: &mut Overlay<'_>,
    office: &Committee,
    epoch: Epoch,
) -> Result<Vec<Event>, StateError> {
    let mut events = Vec::new();
    for (node, owed) in all(overlay)? {
        let Some(mut candidate) = candidates::candidate(overlay, &node)? else {
            if unbonding(overlay, &node)?.is_empty() {
                put(overlay, &node, Frost::ZERO);
            }
            continue;
        };
        let excluded = matches!(candidate.standing, Standing::Excluded { .. });
        if office.index_of(&node).is_some() && !excluded {
            continue;
        }
        let amount = owed.min(candidate.stake);
        candidate.stake = candidate.stake.saturating_sub(amount);
        candidates::put(overlay, &candidate);
        money::shift(overlay, Pot::Stakes, Pot::Reserve, amount)?;
        events.extend(settle(overlay, (&node, &candidate.owner), (amount, Purse::Stake), epoch)?);
    }
    Ok(events)
}

/// Takes the debt of `node` out of a stake that goes back with the end of `epoch`. Gives what is left of it, and what happened.
pub(crate) fn from_release(
    overlay: &mut Overlay<'_>,
    node: &NodeId,
    entry: Unbonding,
    epoch: Epoch,
) -> Result<(Frost, Option<Event>), StateError> {
    let amount = owed(overlay, node)?.min(entry.amount);
    money::shift(overlay, Pot::Stakes, Pot::Reserve, amount)?;
    let event = settle(overlay, (node, &entry.account), (amount, Purse::Stake), epoch)?;
    Ok((entry.amount.saturating_sub(amount), event))
}
