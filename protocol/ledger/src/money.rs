//! WAL: accounts, the storage fund, the reserve and the fees, and every way an amount may move between them.
//!
//! Nothing here makes or destroys an amount: [`debit`] takes from an account into a pot, [`credit`] the other way,
//! [`shift`] from pot to pot, each in the totals too. So the sum is kept by construction, asserted after every
//! transaction ([`assert_conserved`]), and recomputed from all entries by [`conservation`], which shares nothing with the
//! above.
//!
//! **The fund.** `Register` takes the whole price at once. Until the certificate it stands in `pending`; a registration that
//! lapses gets exactly that back. With the certificate it is spread over the epochs' *buckets*: those from the first paid
//! epoch to the running one go to the running bucket, the rest to theirs. Buckets of later epochs are not stored one by
//! one (a registration for a year would write 8,766 of them) but as the rates that end with each epoch:
//!
//! ```text
//! bucket(e) = sum of the rates that end with e or later          for e after the running epoch
//! ```
//!
//! When an epoch ends its bucket goes to the reserve; an undecided epoch's is added to the next. Dividing it among the
//! holders comes with scoring.
//!
//! # Laws
//! - **I7** accounts + stakes + pending + buckets + reserve + fees = supply, after every transaction.

use crate::records::{Account, FundRates, Registration, Totals};
use crate::refusal::{Halt, Refusal};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use crate::verdict::Decision;
use floe_types::{AccountId, Epoch, Frost, Params};

/// Where WAL is when it is in no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pot {
    Pending,
    Buckets,
    Reserve,
    Fees,
    Stakes,
}

impl Pot {
    fn of(self, totals: &mut Totals) -> &mut Frost {
        match self {
            Pot::Pending => &mut totals.pending,
            Pot::Buckets => &mut totals.buckets,
            Pot::Reserve => &mut totals.reserve,
            Pot::Fees => &mut totals.fees,
            Pot::Stakes => &mut totals.stakes,
        }
    }
}

pub(crate) fn totals(state: &dyn StateRead) -> Result<Totals, StateError> {
    Table::Totals.must(state, &Table::Totals.key(&[]))
}

pub(crate) fn put_totals(overlay: &mut Overlay<'_>, totals: &Totals) {
    Table::Totals.store(overlay, Table::Totals.key(&[]), totals);
}

pub(crate) fn account(state: &dyn StateRead, id: &AccountId) -> Result<Account, StateError> {
    Ok(Table::Accounts.load(state, &Table::Accounts.key(&[&id.0]))?.unwrap_or_default())
}

pub(crate) fn put_account(overlay: &mut Overlay<'_>, id: &AccountId, account: &Account) {
    Table::Accounts.store(overlay, Table::Accounts.key(&[&id.0]), account);
}

/// Totals are all within the supply, so that no sum of two of them can pass the largest amount.
const WITHIN: &str = "law I7: amounts never pass the supply, which is at most 2^63";

fn add(into: &mut Frost, amount: Frost) {
    *into = into.checked_add(amount).expect(WITHIN);
}

fn sub(from: &mut Frost, amount: Frost) {
    *from = from.checked_sub(amount).expect(WITHIN);
}

/// Takes `amount` from an account into a pot.
pub(crate) fn debit(overlay: &mut Overlay<'_>, id: &AccountId, amount: Frost, into: Pot) -> Result<(), Halt> {
    let mut held = account(overlay, id)?;
    let insufficient = Refusal::Insufficient { balance: held.balance, needed: amount };
    held.balance = held.balance.checked_sub(amount).ok_or(insufficient)?;
    let mut totals = totals(overlay)?;
    sub(&mut totals.accounts, amount);
    add(into.of(&mut totals), amount);
    put_account(overlay, id, &held);
    put_totals(overlay, &totals);
    Ok(())
}

/// Gives `amount` from a pot to an account.
pub(crate) fn credit(overlay: &mut Overlay<'_>, id: &AccountId, amount: Frost, from: Pot) -> Result<(), StateError> {
    let mut held = account(overlay, id)?;
    let mut totals = totals(overlay)?;
    sub(from.of(&mut totals), amount);
    add(&mut totals.accounts, amount);
    add(&mut held.balance, amount);
    put_account(overlay, id, &held);
    put_totals(overlay, &totals);
    Ok(())
}

/// Moves `amount` between pots.
pub(crate) fn shift(overlay: &mut Overlay<'_>, from: Pot, into: Pot, amount: Frost) -> Result<(), StateError> {
    let mut totals = totals(overlay)?;
    sub(from.of(&mut totals), amount);
    add(into.of(&mut totals), amount);
    put_totals(overlay, &totals);
    Ok(())
}

/// Moves `amount` between accounts, which may be the same.
pub(crate) fn transfer(overlay: &mut Overlay<'_>, from: &AccountId, to: &AccountId, amount: Frost) -> Result<(), Halt> {
    let mut giver = account(overlay, from)?;
    let insufficient = Refusal::Insufficient { balance: giver.balance, needed: amount };
    giver.balance = giver.balance.checked_sub(amount).ok_or(insufficient)?;
    put_account(overlay, from, &giver);
    let mut taker = account(overlay, to)?;
    add(&mut taker.balance, amount);
    put_account(overlay, to, &taker);
    Ok(())
}

/// The price of a registration: whole encoded mebibytes, rounded up, times epochs (first and last included), times the
/// network's price. With it, the part for one epoch.
///
/// # Errors
/// [`Refusal::BlobTooLong`] when there is no layout for so long a blob, [`Refusal::Overflow`] beyond the largest amount.
pub fn price(params: &Params, length: u64, first: Epoch, last: Epoch) -> Result<Price, Refusal> {
    let too_long = Refusal::BlobTooLong { length, max: params.blob_bytes_max };
    if length > params.blob_bytes_max {
        return Err(too_long);
    }
    let layout = floe_erasure::Layout::new(params.shards, length).map_err(|_| too_long)?;
    let mebibytes = floe_types::units::mebibytes_up(layout.encoded_bytes());
    let epochs = last.0.checked_sub(first.0).and_then(|more| more.checked_add(1)).ok_or(Refusal::Overflow)?;
    let rate = params.price.checked_mul(mebibytes).ok_or(Refusal::Overflow)?;
    let total = rate.checked_mul(epochs).ok_or(Refusal::Overflow)?;
    Ok(Price { rate, total })
}

/// What a registration costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// For one epoch.
    pub rate: Frost,
    /// For all its epochs.
    pub total: Frost,
}

pub(crate) fn rates(state: &dyn StateRead) -> Result<FundRates, StateError> {
    Table::Fund.must(state, &Table::Fund.key(&[]))
}

pub(crate) fn put_rates(overlay: &mut Overlay<'_>, rates: &FundRates) {
    Table::Fund.store(overlay, Table::Fund.key(&[]), rates);
}

/// Spreads a paid registration that begins to count in epoch `now` over the buckets.
pub(crate) fn spread(overlay: &mut Overlay<'_>, registration: &Registration, now: Epoch) -> Result<(), StateError> {
    shift(overlay, Pot::Pending, Pot::Buckets, registration.price())?;
    let mut rates = rates(overlay)?;
    // From the first paid epoch to the running one, both included.
    let due = now.0.saturating_sub(registration.first.0).saturating_add(1);
    add(&mut rates.current, registration.rate.checked_mul(due).expect(WITHIN));
    add(&mut rates.recurring, registration.rate);
    put_rates(overlay, &rates);
    let key = Table::FundEnds.number(registration.last.0);
    let mut ending: Frost = Table::FundEnds.load(overlay, &key)?.unwrap_or_default();
    add(&mut ending, registration.rate);
    Table::FundEnds.store(overlay, key, &ending);
    Ok(())
}

/// Closes the bucket of `ended` and opens the next.
pub(crate) fn turn(overlay: &mut Overlay<'_>, ended: Epoch, decision: Decision) -> Result<(), StateError> {
    let mut rates = rates(overlay)?;
    let key = Table::FundEnds.number(ended.0);
    if let Some(ending) = Table::FundEnds.load(overlay, &key)? {
        sub(&mut rates.recurring, ending);
        overlay.delete(key);
    }
    let rolled = match decision {
        Decision::Decided => {
            shift(overlay, Pot::Buckets, Pot::Reserve, rates.current)?;
            Frost::ZERO
        }
        Decision::Undecided => rates.current,
    };
    rates.current = rolled;
    add(&mut rates.current, rates.recurring);
    put_rates(overlay, &rates);
    Ok(())
}

/// What the bucket of `epoch` holds when `now` is the running epoch; nothing for one that has ended.
pub(crate) fn bucket(state: &dyn StateRead, now: Epoch, epoch: Epoch) -> Result<Frost, StateError> {
    if epoch <= now {
        let current = rates(state)?.current;
        return Ok(if epoch == now { current } else { Frost::ZERO });
    }
    let mut sum = Frost::ZERO;
    for (key, value) in Table::FundEnds.all(state, &[])? {
        if number_at(Table::FundEnds, &key, 0)? >= epoch.0 {
            add(&mut sum, Table::FundEnds.parse(&value)?);
        }
    }
    Ok(sum)
}

/// Stops when an amount was made or destroyed: that is our bug, and going on would spread it.
pub(crate) fn assert_conserved(state: &dyn StateRead) -> Result<(), StateError> {
    let totals = totals(state)?;
    assert!(totals.are_conserved(), "law I7 is broken: {totals:?}");
    Ok(())
}

/// Recomputes law I7 from every account, registration and rate there is: a check for tests and audits, as long as the state.
///
/// # Errors
/// [`StateError::Damaged`] saying which sum is off, or that the state could not be read.
pub fn conservation(state: &dyn StateRead) -> Result<Totals, StateError> {
    let said = totals(state)?;
    let head: crate::Head = Table::Head.must(state, &Table::Head.key(&[]))?;
    let (mut accounts, mut pending, mut buckets) = (0u128, 0u128, 0u128);
    for (_, value) in Table::Accounts.all(state, &[])? {
        let account: Account = Table::Accounts.parse(&value)?;
        accounts += u128::from(account.balance.0);
    }
    for (_, value) in Table::Registrations.all(state, &[])? {
        let registration: Registration = Table::Registrations.parse(&value)?;
        if registration.status == crate::RegistrationStatus::Pending {
            pending += u128::from(registration.price().0);
        }
    }
    buckets += u128::from(rates(state)?.current.0);
    for (key, value) in Table::FundEnds.all(state, &[])? {
        let later = number_at(Table::FundEnds, &key, 0)?.saturating_sub(head.epoch.0);
        let rate: Frost = Table::FundEnds.parse(&value)?;
        buckets += u128::from(later) * u128::from(rate.0);
    }
    let stakes = crate::candidates::bonded(state)?;
    let sums = [
        ("accounts", accounts, said.accounts),
        ("pending", pending, said.pending),
        ("buckets", buckets, said.buckets),
        ("stakes", stakes, said.stakes),
    ];
    for (name, found, said) in sums {
        if found != u128::from(said.0) {
            let reason = format!("{name} hold {found} FROST, the totals say {said}");
            return Err(StateError::Damaged { table: "totals", reason });
        }
    }
    match said.are_conserved() {
        true => Ok(said),
        false => Err(StateError::Damaged { table: "totals", reason: format!("law I7 is broken: {said:?}") }),
    }
}
