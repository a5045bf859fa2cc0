//! Answers about money: what storage costs, what is set aside, what happened to an account. They are in [`crate::views`] too.

use crate::blobs;
use crate::fund;
use crate::history::{HISTORY_PAGE_MAX, Place, Touch};
use crate::prices;
use crate::records::{Load, Prices};
use crate::refusal::{Halt, Refusal};
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use crate::terms::{self, Deal, Market, Quote};
use crate::views::head;
use floe_types::{AccountId, Epoch, Frost, NodeId, Params, RegistrationNumber};

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

/// What happened to `account`, newest first, at most `limit` and at most [`HISTORY_PAGE_MAX`]; only what was before
/// the place `before` when one is named. `index` is where the node keeps what [`crate::history::entries`] gives it.
///
/// # Errors
/// [`StateError`].
pub fn history(
    index: &dyn StateRead,
    account: &AccountId,
    before: Option<Place>,
    limit: usize,
) -> Result<Vec<(Place, Touch)>, StateError> {
    // The least key above that of `before`; every key when there is none.
    let from = before.map_or_else(Vec::new, |before| [&before.key()[..], &[0]].concat());
    let page = Table::History.page(index, &account.0, &from, limit.min(HISTORY_PAGE_MAX))?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let place = key.get(account.0.len()..).and_then(Place::of_key);
        let place = place.ok_or_else(|| Table::History.damaged("a key is no place"))?;
        Ok((place, Table::History.parse(value)?))
    };
    page.iter().map(read).collect()
}
