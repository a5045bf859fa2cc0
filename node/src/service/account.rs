//! What happened to an account, from this node's own index beside the state.

use super::internal;
use floe_api::Problem;
use floe_api::model::{Deed, HistoryEntry, HistoryPlace, HistoryView, Purse};
use floe_api::service::HistoryPage;
use floe_ledger::history::{self, Place, Touch};
use floe_ledger::{event, views};
use floe_storage::Store;
use floe_types::AccountId;

/// A page of an account's history.
///
/// # Errors
/// [`floe_api::Code::Internal`] when the index cannot be read.
pub(super) fn history(store: &Store, account: AccountId, page: HistoryPage) -> Result<HistoryView, Problem> {
    let before = page.after.map(|place| Place { height: place.height, index: place.index });
    let limit = usize::from(page.limit);
    // Asked first: what is dropped meanwhile is then missing and not claimed to be known.
    let since = store.oldest_height().map_err(internal)?;
    let found = views::history(&store.account_index(), &account, before, limit).map_err(internal)?;
    let full = found.len() == limit;
    let entries: Vec<HistoryEntry> = found.into_iter().map(entry).collect();
    let next = entries.last().map(|last| last.place).filter(|_| full);
    Ok(HistoryView { account, entries, next, since })
}

fn entry((place, touch): (Place, Touch)) -> HistoryEntry {
    HistoryEntry {
        place: HistoryPlace { height: place.height, index: place.index },
        time: touch.time.into(),
        transaction: touch.transaction,
        fee: touch.fee.into(),
        deed: deed(touch.deed),
    }
}

/// The ledger's deed in the model's words.
fn deed(deed: history::Deed) -> Deed {
    match deed {
        history::Deed::Sent { to, amount } => Deed::Sent { to, amount: amount.into() },
        history::Deed::Received { from, amount } => Deed::Received { from, amount: amount.into() },
        history::Deed::Registered { registration, blob, price } => {
            Deed::Registered { registration, blob_id: blob, price: price.into() }
        }
        history::Deed::Extended { registration, blob, to, price } => {
            Deed::Extended { registration, blob_id: blob, last_epoch: to, price: price.into() }
        }
        history::Deed::Deleted { registration, blob, refund } => {
            Deed::Deleted { registration, blob_id: blob, refund: refund.into() }
        }
        history::Deed::Lapsed { registration, blob, refund } => {
            Deed::Lapsed { registration, blob_id: blob, refund: refund.into() }
        }
        history::Deed::BudgetSet { registration, budget } => Deed::BudgetSet { registration, budget: budget.into() },
        history::Deed::Renewed { registration, blob, to, price, left } => {
            let (price, left) = (price.into(), left.into());
            Deed::Renewed { registration, blob_id: blob, last_epoch: to, price, left }
        }
        history::Deed::BudgetReturned { registration, blob, amount } => {
            Deed::BudgetReturned { registration, blob_id: blob, amount: amount.into() }
        }
        history::Deed::Earned { epoch, storage, fees } => {
            Deed::Earned { epoch, storage: storage.into(), fees: fees.into() }
        }
        history::Deed::Rebuilt { epoch, bytes, amount } => Deed::PaidForRepair { epoch, bytes, amount: amount.into() },
        history::Deed::DebtPaid { node, amount, purse, left } => {
            let purse = match purse {
                event::Purse::Earnings => Purse::Earnings,
                event::Purse::Stake => Purse::Stake,
            };
            Deed::DebtPaid { node, amount: amount.into(), purse, left: left.into() }
        }
        history::Deed::Staked { node, stake } => Deed::Staked { node, stake: stake.into() },
        history::Deed::StakeReleased { amount } => Deed::StakeReleased { amount: amount.into() },
        history::Deed::Other => Deed::Other,
    }
}
