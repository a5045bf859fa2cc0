//! Answers about money: what storage costs, what is set aside, what happened to an account. They are in [`crate::views`] too.

use crate::blobs;
use crate::fund;
use crate::history::{HISTORY_PAGE_MAX, Touch};
use crate::prices;
use crate::records::{Load, Prices};
use crate::refusal::{Halt, Refusal};
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use crate::terms::{self, Deal, Market, Quote};
use crate::views::head;
use floe_types::{AccountId, Epoch, Frost, Height, NodeId, Params, RegistrationNumber};

/// The storage fund's bucket of `epoch`; nothing for one that has ended.
///
/// # Errors
/// [`StateError`].
pub fn bucket(state: &dyn StateRead, epoch: Epoch) -> Result<Frost, StateError> {
    fund::bucket(state, head(state)?.epoch, epoch)
}

/// The prices of one encoded mebibyte for one epoch: in force, and from the next term on.
///
/// # Errors
/// [`StateError`].
pub fn prices(state: &dyn StateRead) -> Result<Prices, StateError> {
    prices::prices(state)
}

/// The price that `node` said it would serve for; none when it never said.
///
/// # Errors
/// [`StateError`].
pub fn offer(state: &dyn StateRead, node: &NodeId) -> Result<Option<Frost>, StateError> {
    prices::offer(state, node)
}

/// What `deal` costs or brings back when it is executed in the running epoch, the fee aside. Execution takes exactly this.
///
/// # Errors
/// [`StateError`]. The inner error is why it would be refused.
pub fn quote(state: &dyn StateRead, params: &Params, deal: Deal) -> Result<Result<Quote, Refusal>, StateError> {
    let market = Market { params, now: head(state)?.epoch, price: prices(state)?.current };
    match terms::quote(state, &market, deal) {
        Ok(quote) => Ok(Ok(quote)),
        Err(Halt::Refused(refusal)) => Ok(Err(refusal)),
        Err(Halt::State(error)) => Err(error),
    }
}

/// What is set aside for renewing a registration.
///
/// # Errors
/// [`StateError`].
pub fn budget(state: &dyn StateRead, number: RegistrationNumber) -> Result<Frost, StateError> {
    terms::budget(state, number)
}

/// Bytes that each shard keeps of defended blobs, and would of those that are registered.
///
/// # Errors
/// [`StateError`].
pub fn load(state: &dyn StateRead) -> Result<Load, StateError> {
    blobs::load(state)
}

/// What happened to `account`, newest first, at most `limit` and at most [`HISTORY_PAGE_MAX`]; only below height `before`
/// when one is named. `index` is where the node keeps what [`crate::history::entries`] gives it.
///
/// # Errors
/// [`StateError`].
pub fn history(
    index: &dyn StateRead,
    account: &AccountId,
    before: Option<Height>,
    limit: usize,
) -> Result<Vec<Touch>, StateError> {
    let from = before.map_or(0, |height| u64::MAX - height.0.saturating_sub(1)).to_be_bytes();
    let page = Table::History.page(index, &account.0, &from, limit.min(HISTORY_PAGE_MAX))?;
    page.iter().map(|(_, value)| Table::History.parse(value)).collect()
}
