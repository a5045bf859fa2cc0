//! The storage fund: what registrations paid, by the epoch it is for, and who gets it when that epoch is over.
//!
//! A registration that counts is spread over the epochs' *buckets*: those from its first paid epoch to the running one go to
//! the running bucket, the rest to theirs. Buckets of later epochs are not stored one by one (a registration for a year
//! would write 8,766 of them) but as the rates that begin and end with each epoch:
//!
//! ```text
//! bucket(e) = recurring + rates that begin from now+1 to e - rates that end from now to e-1      for e after now
//! ```
//!
//! **When an epoch ends** and was decided, its bucket is divided by the bytes of all `n` fragments of all defended blobs,
//! covered or not. The share of one fragment is paid once, by coverage as the epoch is judged by:
//!
//! 1. to the holder of the shard's seat, when its row covers the blob and it took part, unless it withdrew that fragment less
//!    than [`Params::pay_pause`] epochs ago: then to the reserve, whether it attested it again or not;
//! 2. else to a former holder whose row covers it, when it is a member and took part; of several to the oldest row's;
//! 3. else to a stand-in whose row covers it and that took part; of several to the oldest row's;
//! 4. else to the reserve.
//!
//! What is left, roundings included, goes to the reserve and never to the others, so that nobody gains by another's absence.
//! A holder to come is not paid: it gathers for the seat that pays it later. The bucket of an undecided epoch is added to the
//! next.
//!
//! ```text
//! paid(member) = part * floor(bucket * bytes of the fragments it is paid for / bytes of all fragments), rounded down
//! part(member) = the lesser of slots held / slots decided and the service score, halved on probation;
//!                0 when it was absent, is excluded, or its report was not opened
//! ```
//!
//! *Took part* means a part above zero.
//!
//! Fees that were taken since the last decided boundary are divided in the same moment by seats: who took part gets
//! `floor(fees * seats / n)`, the rest goes to the reserve.
//!
//! All of it costs the classes, their gaps, the former rows and the members, whatever is stored.
//!
//! # Laws
//! - **I7** What is paid and what the reserve gets are together exactly the bucket and the fees.
//!
//! # Not here
//! Shares of former holders outside the committee, whom nobody asks. Pay from the reserve for what was rebuilt for others is
//! [`crate::claims`]', debts of holders whose gaps others repaired `crate::debts`'.
//!
//! [`Params::pay_pause`]: floe_types::Params::pay_pause

use crate::event::Event;
use crate::merkle::Weight;
use crate::money::{self, Pot, WITHIN, add, sub};
use crate::records::{FundRates, Piece, Registration};
use crate::rows::{Row, RowId, RowKind, RowSet, Rows};
use crate::sets::ShardSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use crate::verdict::Decision;
use floe_risk::reliability::Reliability;
use floe_types::{Committee, Epoch, Frost, MemberIndex, ShardIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of an epoch's bucket and of the fees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// What was in the bucket.
    pub bucket: Frost,
    /// Paid to holders out of it.
    pub storage: Frost,
    /// Fees paid to members.
    pub fees: Frost,
    /// What the reserve got, of both.
    pub reserve: Frost,
    /// What was added to the next epoch's bucket: all of it when the epoch was undecided, else nothing.
    pub rolled: Frost,
    /// Paid by the reserve for fragments that were rebuilt for others.
    pub repair: Frost,
    /// What the reserve got of debts, out of earnings and stakes.
    pub repaid: Frost,
}

pub(crate) fn rates(state: &dyn StateRead) -> Result<FundRates, StateError> {
    Table::Fund.must(state, &Table::Fund.key(&[]))
}

pub(crate) fn put_rates(overlay: &mut Overlay<'_>, rates: &FundRates) {
    Table::Fund.store(overlay, Table::Fund.key(&[]), rates);
}

/// The rates that begin (or end) with an epoch, summed.
fn at(state: &dyn StateRead, table: Table, epoch: Epoch) -> Result<Frost, StateError> {
    Ok(table.load(state, &table.number(epoch.0))?.unwrap_or_default())
}

/// Changes such a sum. One of zero is not kept.
fn change(
    overlay: &mut Overlay<'_>,
    table: Table,
    epoch: Epoch,
    by: impl FnOnce(&mut Frost),
) -> Result<(), StateError> {
    let mut sum = at(overlay, table, epoch)?;
    by(&mut sum);
    match sum {
        Frost::ZERO => overlay.delete(table.number(epoch.0)),
        sum => table.store(overlay, table.number(epoch.0), &sum),
    }
    Ok(())
}

/// Spreads `piece`, which ends with `now` or later, over the buckets. Its amount is in [`Pot::Buckets`] already.
pub(crate) fn spread(overlay: &mut Overlay<'_>, piece: &Piece, now: Epoch) -> Result<(), StateError> {
    if piece.from <= now {
        let mut rates = rates(overlay)?;
        // From the first paid epoch to the running one, both included.
        let due = now.0.saturating_sub(piece.from.0).saturating_add(1);
        add(&mut rates.current, piece.rate.checked_mul(due).expect(WITHIN));
        add(&mut rates.recurring, piece.rate);
        put_rates(overlay, &rates);
    } else {
        change(overlay, Table::FundStarts, piece.from, |sum| add(sum, piece.rate))?;
    }
    change(overlay, Table::FundEnds, piece.to, |sum| add(sum, piece.rate))
}

/// Lets a rate that ends with `before` end with `last`, which is later. Its amount is in [`Pot::Buckets`] already.
pub(crate) fn lengthen(overlay: &mut Overlay<'_>, rate: Frost, before: Epoch, last: Epoch) -> Result<(), StateError> {
    change(overlay, Table::FundEnds, before, |sum| sub(sum, rate))?;
    change(overlay, Table::FundEnds, last, |sum| add(sum, rate))
}

/// What [`cut`] would take out of the buckets, in FROST.
pub(crate) fn beyond(registration: &Registration, end: Epoch) -> Frost {
    let sum: u128 = registration.pieces().iter().map(|piece| after(piece, end)).sum();
    Frost(u64::try_from(sum).expect(WITHIN))
}

/// What a piece pays for epochs after `end`.
pub(crate) fn after(piece: &Piece, end: Epoch) -> u128 {
    let from = piece.from.0.max(end.0.saturating_add(1));
    u128::from(piece.to.0.saturating_add(1).saturating_sub(from)) * u128::from(piece.rate.0)
}

/// Takes what `registration` pays for epochs after `end` out of the buckets' rates. `end` is the running epoch or later.
pub(crate) fn cut(overlay: &mut Overlay<'_>, registration: &Registration, end: Epoch) -> Result<(), StateError> {
    for piece in registration.pieces() {
        if piece.to <= end {
            continue;
        }
        change(overlay, Table::FundEnds, piece.to, |sum| sub(sum, piece.rate))?;
        match piece.from <= end {
            true => change(overlay, Table::FundEnds, end, |sum| add(sum, piece.rate))?,
            false => change(overlay, Table::FundStarts, piece.from, |sum| sub(sum, piece.rate))?,
        }
    }
    Ok(())
}

/// An epoch that is paid for.
pub(crate) struct Paid<'a> {
    pub committee: &'a Committee,
    pub decision: Decision,
    /// By member, what part of its pay it gets.
    pub shares: &'a [Reliability],
    /// The rows of the epoch.
    pub rows: &'a Rows,
    /// The classes as the epoch is judged by, marks of pauses among their rows.
    pub classes: &'a BTreeMap<RowSet, Weight>,
}

impl Paid<'_> {
    /// Bytes of the fragments that each member is paid for, and of all fragments. What every seat covers is counted once, so
    /// that a class costs its gaps and the former rows there are.
    fn bytes(&self) -> (Vec<u128>, u128) {
        let shards = self.committee.shards();
        let all = self.classes.values().map(|weight| u128::from(weight.fragment_bytes)).sum::<u128>();
        let mut bytes = vec![0u128; self.committee.members().len()];
        let mut change = |member: &MemberIndex, by: &dyn Fn(&mut u128)| {
            bytes.get_mut(usize::from(member.0)).into_iter().for_each(by);
        };
        let (seats, others) = (self.seats(), self.others());
        let full: RowSet = seats.keys().copied().collect();
        seats.values().for_each(|member| change(member, &|sum| *sum += all));
        for (class, weight) in self.classes {
            let weight = u128::from(weight.fragment_bytes);
            for gap in full.difference(class).iter().filter_map(|row| seats.get(&row)) {
                change(gap, &|sum| *sum -= weight);
            }
            let paused = self.paused(class);
            for member in paused.iter().filter(|row| class.contains(*row)).filter_map(|row| seats.get(&row)) {
                change(member, &|sum| *sum -= weight);
            }
            // One for each shard, in the order in which others come.
            let mut stood_for = ShardSet::new();
            for (row, shard, member) in &others {
                let seat = self.rows.seat(*shard).filter(|seat| seats.contains_key(seat));
                if !class.contains(*row)
                    || paused.contains(*row)
                    || seat.is_some_and(|seat| class.contains(seat))
                    || stood_for.contains(*shard)
                {
                    continue;
                }
                stood_for.insert(*shard);
                change(member, &|sum| *sum += weight);
            }
        }
        (bytes, all * u128::from(shards))
    }

    /// The rows that are not paid for this class.
    fn paused(&self, class: &RowSet) -> RowSet {
        let marks = self.rows.pauses().iter().filter(|(mark, _)| class.contains(**mark));
        marks.map(|(_, pause)| pause.row).collect()
    }

    /// The member that has the row, when it took part.
    fn took_part(&self, row: &Row) -> Option<MemberIndex> {
        self.committee.index_of(&row.holder).filter(|member| self.part(*member) > Reliability::NONE)
    }

    fn part(&self, member: MemberIndex) -> Reliability {
        self.shares.get(usize::from(member.0)).copied().unwrap_or(Reliability::NONE)
    }

    /// Rows of seats whose holder took part.
    fn seats(&self) -> BTreeMap<RowId, MemberIndex> {
        let rows = (0..self.committee.shards()).filter_map(|shard| self.rows.seat(ShardIndex(shard)));
        rows.filter_map(|id| Some((id, self.took_part(self.rows.get(id)?)?))).collect()
    }

    /// Rows of former holders that are members and took part, by number, then those of stand-ins.
    fn others(&self) -> Vec<(RowId, ShardIndex, MemberIndex)> {
        let of = |kind| {
            let rows = self.rows.iter().filter(move |(_, row)| row.kind == kind);
            rows.filter_map(|(id, row)| Some((id, row.shard, self.took_part(row)?)))
        };
        of(RowKind::Former).chain(of(RowKind::StandIn)).collect()
    }
}

/// `amount * part / whole`, rounded down; `part` is at most `whole`. Parts that sum to at most `whole` give shares that sum
/// to at most `amount`.
pub(crate) fn share(amount: Frost, part: u128, whole: u128) -> Frost {
    // A product of 64 bits and 64 bits fits. Larger weights lose their lowest bits, the whole as much as the parts.
    let surplus = 64u32.saturating_sub(whole.leading_zeros());
    let (part, whole) = (part >> surplus, whole >> surplus);
    let share = (u128::from(amount.0) * part).checked_div(whole).unwrap_or(0);
    Frost(u64::try_from(share).expect("a part of an amount is not above it"))
}

/// A part of an amount, rounded down.
fn part_of(amount: Frost, part: Reliability) -> Frost {
    share(amount, part.bits().into(), Reliability::FULL.bits().into())
}

/// Pays for the ended epoch and opens the bucket of the next.
pub(crate) fn turn(
    overlay: &mut Overlay<'_>,
    paid: &Paid<'_>,
    ended: Epoch,
) -> Result<(Payout, Vec<Event>), StateError> {
    let Paid { committee, decision, .. } = *paid;
    let mut rates = rates(overlay)?;
    let mut payout = Payout { bucket: rates.current, ..Payout::default() };
    let mut events = Vec::new();
    match decision {
        Decision::Undecided => payout.rolled = rates.current,
        Decision::Decided => {
            let fees = money::totals(overlay)?.fees;
            let (bytes, whole) = paid.bytes();
            for (index, member) in (0u16..).map(MemberIndex).zip(committee.members()) {
                let proven = paid.part(index);
                if proven == Reliability::NONE {
                    continue;
                }
                let bytes = bytes.get(usize::from(index.0)).copied().unwrap_or(0);
                let storage = part_of(share(payout.bucket, bytes, whole), proven);
                let of_fees = share(fees, member.shards.len() as u128, u128::from(committee.shards()));
                money::credit(overlay, &member.account, storage, Pot::Buckets)?;
                money::credit(overlay, &member.account, of_fees, Pot::Fees)?;
                add(&mut payout.storage, storage);
                add(&mut payout.fees, of_fees);
                let (epoch, account) = (ended, member.account);
                events.push(Event::Earned { epoch, member: index, account, storage, fees: of_fees });
            }
            let (mut rest, mut of_fees) = (payout.bucket, fees);
            sub(&mut rest, payout.storage);
            sub(&mut of_fees, payout.fees);
            money::shift(overlay, Pot::Buckets, Pot::Reserve, rest)?;
            money::shift(overlay, Pot::Fees, Pot::Reserve, of_fees)?;
            add(&mut payout.reserve, rest);
            add(&mut payout.reserve, of_fees);
        }
    }
    sub(&mut rates.recurring, at(overlay, Table::FundEnds, ended)?);
    add(&mut rates.recurring, at(overlay, Table::FundStarts, ended.next())?);
    overlay.delete(Table::FundEnds.number(ended.0));
    overlay.delete(Table::FundStarts.number(ended.next().0));
    rates.current = payout.rolled;
    add(&mut rates.current, rates.recurring);
    put_rates(overlay, &rates);
    Ok((payout, events))
}

/// What the bucket of `epoch` holds when `now` is the running epoch; nothing for one that has ended.
pub(crate) fn bucket(state: &dyn StateRead, now: Epoch, epoch: Epoch) -> Result<Frost, StateError> {
    let rates = rates(state)?;
    if epoch <= now {
        return Ok(if epoch == now { rates.current } else { Frost::ZERO });
    }
    let mut sum = u128::from(rates.recurring.0);
    for (start, rate) in listed(state, Table::FundStarts)? {
        sum += if start <= epoch.0 { u128::from(rate.0) } else { 0 };
    }
    for (end, rate) in listed(state, Table::FundEnds)? {
        sum -= if end < epoch.0 { u128::from(rate.0) } else { 0 };
    }
    Ok(Frost(u64::try_from(sum).expect(WITHIN)))
}

fn listed(state: &dyn StateRead, table: Table) -> Result<Vec<(u64, Frost)>, StateError> {
    let entries = table.all(state, &[])?.into_iter();
    entries.map(|(key, value)| Ok((number_at(table, &key, 0)?, table.parse(&value)?))).collect()
}

/// The running bucket, and all later ones together, by the rates: for [`money::conservation`].
pub(crate) fn sums(state: &dyn StateRead, now: Epoch) -> Result<(u128, u128), StateError> {
    let mut later = 0u128;
    for (end, rate) in listed(state, Table::FundEnds)? {
        later += u128::from(end.saturating_sub(now.0)) * u128::from(rate.0);
    }
    for (start, rate) in listed(state, Table::FundStarts)? {
        let unpaid = start.saturating_sub(now.0).saturating_sub(1);
        later = later
            .checked_sub(u128::from(unpaid) * u128::from(rate.0))
            .ok_or_else(|| Table::FundStarts.damaged("more rates begin than end"))?;
    }
    Ok((u128::from(rates(state)?.current.0), later))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down_and_never_sum_to_more() {
        assert_eq!(share(Frost(100), 1, 3), Frost(33));
        assert_eq!(share(Frost(100), 0, 0), Frost(0));
        assert_eq!(share(Frost(u64::MAX), u128::MAX, u128::MAX), Frost(u64::MAX));
        let whole = (1u128 << 90) + 12_345;
        let part = whole / 3;
        let each = share(Frost(1 << 63), part, whole);
        assert!(each.0 <= (1 << 63) / 3 && each.0 > (1 << 63) / 3 - 4);
    }
}
