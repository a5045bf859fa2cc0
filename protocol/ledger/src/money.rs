//! WAL: accounts, the storage fund, the reserve and the fees, and every way an amount may move between them.
//!
//! Nothing here makes or destroys an amount: [`debit`] takes from an account into a pot, [`credit`] the other way,
//! [`shift`] from pot to pot, each in the totals too ([`collect`] takes what there is). So the sum is kept by construction, asserted after every
//! transaction ([`assert_conserved`]), and recomputed from all entries by [`conservation`], which shares nothing with the
//! above.
//!
//! | pot | holds |
//! | --- | --- |
//! | pending | prices of registrations that wait for their certificate; one that lapses gets exactly that back |
//! | buckets | the storage fund, see [`crate::fund`] |
//! | budgets | what owners set aside for renewals |
//! | fees | since the last decided boundary |
//! | reserve | what nobody earned, fines and debts; it pays for repair, see [`crate::claims`] |
//! | stakes | what candidates have bonded, see [`crate::candidates`] |
//!
//! # Laws
//! - **I7** accounts + stakes + pending + buckets + budgets + reserve + fees = supply, after every transaction.

use crate::fund;
use crate::records::{Account, Registration, Totals};
use crate::refusal::{Halt, Refusal};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::{AccountId, Epoch, Frost, Params};

/// Where WAL is when it is in no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pot {
    Pending,
    Buckets,
    Reserve,
    Fees,
    Stakes,
    Budgets,
}

impl Pot {
    fn of(self, totals: &mut Totals) -> &mut Frost {
        match self {
            Pot::Pending => &mut totals.pending,
            Pot::Buckets => &mut totals.buckets,
            Pot::Reserve => &mut totals.reserve,
            Pot::Fees => &mut totals.fees,
            Pot::Stakes => &mut totals.stakes,
            Pot::Budgets => &mut totals.budgets,
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
pub(crate) const WITHIN: &str = "law I7: amounts never pass the supply, which is at most 2^63";

pub(crate) fn add(into: &mut Frost, amount: Frost) {
    *into = into.checked_add(amount).expect(WITHIN);
}

pub(crate) fn sub(from: &mut Frost, amount: Frost) {
    *from = from.checked_sub(amount).expect(WITHIN);
}

/// Takes `amount` from an account into a pot.
pub(crate) fn debit(overlay: &mut Overlay<'_>, id: &AccountId, amount: Frost, into: Pot) -> Result<(), Halt> {
    let held = account(overlay, id)?;
    debit_from(overlay, (id, held), amount, into)
}

/// The same from an account that was read already, and writes it with whatever else was changed in it.
pub(crate) fn debit_from(
    overlay: &mut Overlay<'_>,
    (id, mut held): (&AccountId, Account),
    amount: Frost,
    into: Pot,
) -> Result<(), Halt> {
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

/// Takes at most `most` from an account into a pot, as much as it has. Gives how much.
pub(crate) fn collect(overlay: &mut Overlay<'_>, id: &AccountId, most: Frost, into: Pot) -> Result<Frost, StateError> {
    let mut held = account(overlay, id)?;
    let amount = most.min(held.balance);
    let mut totals = totals(overlay)?;
    sub(&mut held.balance, amount);
    sub(&mut totals.accounts, amount);
    add(into.of(&mut totals), amount);
    put_account(overlay, id, &held);
    put_totals(overlay, &totals);
    Ok(amount)
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

/// The price of keeping a blob of `length` bytes from `first` to `last`, both included: whole encoded mebibytes, rounded
/// up, times epochs, times `price`, which is [`crate::views::prices`]' for what is asked now. With it, the part for one
/// epoch.
///
/// # Errors
/// [`Refusal::BlobTooLong`] when there is no layout for so long a blob, [`Refusal::Overflow`] beyond the largest amount.
pub fn price(params: &Params, price: Frost, length: u64, first: Epoch, last: Epoch) -> Result<Price, Refusal> {
    let mebibytes = floe_types::units::mebibytes_up(layout(params, length)?.encoded_bytes());
    let epochs = last.0.checked_sub(first.0).and_then(|more| more.checked_add(1)).ok_or(Refusal::Overflow)?;
    let rate = price.checked_mul(mebibytes).ok_or(Refusal::Overflow)?;
    let total = rate.checked_mul(epochs).ok_or(Refusal::Overflow)?;
    Ok(Price { rate, total })
}

/// How a blob of `length` bytes is laid out.
pub(crate) fn layout(params: &Params, length: u64) -> Result<floe_types::Layout, Refusal> {
    let too_long = Refusal::BlobTooLong { length, max: params.blob_bytes_max };
    if length > params.blob_bytes_max {
        return Err(too_long);
    }
    floe_types::Layout::new(params.shards, length).map_err(|_| too_long)
}

/// What a registration costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// For one epoch.
    pub rate: Frost,
    /// For all its epochs.
    pub total: Frost,
}

/// Stops when an amount was made or destroyed: that is our bug, and going on would spread it.
pub(crate) fn assert_conserved(state: &dyn StateRead) -> Result<(), StateError> {
    let totals = totals(state)?;
    assert!(totals.are_conserved(), "law I7 is broken: {totals:?}");
    Ok(())
}

/// Recomputes law I7 from every account, registration, budget and rate there is: a check for tests and audits, as long as
/// the state. The buckets are summed twice: by the fund's rates and by what registrations still pay.
///
/// # Errors
/// [`StateError::Damaged`] saying which sum is off, or that the state could not be read.
pub fn conservation(state: &dyn StateRead) -> Result<Totals, StateError> {
    let said = totals(state)?;
    let now = crate::views::head(state)?.epoch;
    let (mut accounts, mut pending, mut later, mut budgets) = (0u128, 0u128, 0u128, 0u128);
    for (_, value) in Table::Accounts.all(state, &[])? {
        let account: Account = Table::Accounts.parse(&value)?;
        accounts += u128::from(account.balance.0);
    }
    for (_, value) in Table::Registrations.all(state, &[])? {
        let registration: Registration = Table::Registrations.parse(&value)?;
        match registration.status {
            crate::RegistrationStatus::Pending => pending += u128::from(registration.price().0),
            crate::RegistrationStatus::Lapsed => {}
            _ => later += registration.pieces().iter().map(|piece| fund::after(piece, now)).sum::<u128>(),
        }
    }
    for (_, value) in Table::Budgets.all(state, &[])? {
        let budget: Frost = Table::Budgets.parse(&value)?;
        budgets += u128::from(budget.0);
    }
    let stakes = crate::candidates::bonded(state)?;
    let (current, rated) = fund::sums(state, now)?;
    let sums = [
        ("accounts", accounts, said.accounts),
        ("pending", pending, said.pending),
        ("buckets by rates", current + rated, said.buckets),
        ("buckets by registrations", current + later, said.buckets),
        ("budgets", budgets, said.budgets),
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
