//! Claims: what the repair reserve owes stand-ins for fragments that they rebuilt of somebody else's gap.
//!
//! ```text
//!  attested under a ticket ──► waits ──► paid: reserve ─► who rebuilt        and as much is owed by
//!        (a boundary)           │        (a boundary)                        whose gap it was: [`crate::debts`]
//!                               └──► withdrawn, or the row ended: nothing
//! ```
//!
//! A claim is one entry for each row of a stand-in and each holder whose gaps it filled: bytes that wait, bytes that were paid
//! for, and what they were paid. It grows at the boundary from which an attestation counts, by the fragments that a ticket in
//! force named, of live blobs. It is paid at the end of the next decided epoch in which its holder took part and was shown to
//! lack nothing, so that what is paid for has been asked for.
//!
//! ```text
//! due  = floor(price of an encoded mebibyte for one epoch * bytes that wait / 2^20)
//! paid = due, as far as the debtor's stake covers all that it owes with it,
//!        and of that its part of half the reserve when more is due in all: the rest waits
//! ```
//!
//! **Nobody gains by dropping what others rebuild.** What is paid for a gap is owed at the same moment by its holder, and never
//! more than its stake covers: both together have at most what they had. A stand-in that withdraws what it was paid for owes
//! that back, so that no fragment is paid twice to one row. Who fills its own gap is not paid.
//!
//! # Laws
//! - **I7** What is paid leaves the reserve, to the unit.
//! - **I21** What holders were charged for gaps is at least what was paid for filling them.
//!
//! # Not here
//! Pay for keeping what was rebuilt: [`crate::fund`]. Who is to rebuild: [`crate::plan`].

use crate::classes::Scale;
use crate::coverage::{Altered, Run};
use crate::debts;
use crate::event::Event;
use crate::fund;
use crate::money::{self, Pot};
use crate::plan::PIECES_MAX;
use crate::repairs::{Batch, Scope};
use crate::reports::Attendance;
use crate::rows::{RowId, RowKind, Rows};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_risk::Params as Constants;
use floe_risk::planner;
use floe_risk::reliability::Reliability;
use floe_types::units::MEBIBYTE;
use floe_types::{Committee, Epoch, Frost, MemberIndex, NodeId, SequenceNumber, ShardIndex};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The part of the reserve that one boundary may pay out: one in this many. A wave of repair leaves something for the next.
const RESERVE_ONE_IN: u64 = 2;

/// What one row rebuilt of the gaps of one holder, in bytes of fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Rebuilt and not paid yet.
    pub waiting: u64,
    /// Paid for.
    pub rebuilt: u64,
    /// What was paid for them.
    pub paid: Frost,
}

/// Claims by row and by whose gaps they are about.
type Claims = BTreeMap<(RowId, NodeId), Claim>;

fn key((row, owes): &(RowId, NodeId)) -> Vec<u8> {
    Table::Claims.key(&[&row.0.to_be_bytes(), &owes.0])
}

pub(crate) fn all(state: &dyn StateRead) -> Result<Claims, StateError> {
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let damaged = || Table::Claims.damaged("a key is not a row and a node");
        let (row, node) = key.split_at_checked(4).ok_or_else(damaged)?;
        let row = row.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
        let node = node.try_into().map_err(|_| damaged())?;
        Ok(((RowId(row), NodeId(node)), Table::Claims.parse(&value)?))
    };
    Table::Claims.all(state, &[])?.into_iter().map(entry).collect()
}

fn put(overlay: &mut Overlay<'_>, of: &(RowId, NodeId), claim: &Claim) {
    match claim {
        Claim { waiting: 0, rebuilt: 0, .. } => overlay.delete(key(of)),
        claim => Table::Claims.store(overlay, key(of), claim),
    }
}

/// Bytes of fragments that nodes rebuilt for others and are not paid for yet.
pub(crate) fn waiting(state: &dyn StateRead, rows: &Rows) -> Result<BTreeMap<NodeId, u64>, StateError> {
    let mut waiting: BTreeMap<NodeId, u64> = BTreeMap::new();
    for ((row, _), claim) in all(state)? {
        if let Some(row) = rows.get(row) {
            let sum = waiting.entry(row.holder).or_default();
            *sum = sum.saturating_add(claim.waiting);
        }
    }
    Ok(waiting)
}

/// A claim that may be paid now.
struct Due {
    of: (RowId, NodeId),
    claim: Claim,
    /// Who is paid.
    member: MemberIndex,
    /// The most that it gets, by what the debtor can answer for.
    amount: Frost,
}

/// A decided epoch at whose end is paid.
pub(crate) struct Payday<'a> {
    pub committee: &'a Committee,
    pub attendance: &'a Attendance,
    /// By member, what part of its pay it gets for storage: nothing for who did not take part.
    pub shares: &'a [Reliability],
    /// The rows of the epoch.
    pub rows: &'a Rows,
    /// Of an encoded mebibyte for one epoch.
    pub price: Frost,
    pub epoch: Epoch,
}

impl Payday<'_> {
    /// Pays what is due. Gives how much that was, and what happened.
    pub(crate) fn turn(&self, overlay: &mut Overlay<'_>) -> Result<(Frost, Vec<Event>), StateError> {
        let due = self.due(overlay)?;
        let whole: u128 = due.iter().map(|due| u128::from(due.amount.0)).sum();
        let most = money::totals(overlay)?.reserve.0 / RESERVE_ONE_IN;
        let part = |amount: Frost| match whole <= u128::from(most) {
            true => amount,
            false => fund::share(Frost(most), amount.0.into(), whole),
        };
        let mut all = Frost::ZERO;
        let mut got: BTreeMap<MemberIndex, (u64, Frost)> = BTreeMap::new();
        let mut owed: BTreeMap<NodeId, Frost> = BTreeMap::new();
        for Due { of, mut claim, member, amount } in due {
            let pay = part(amount);
            let full = bytes_due(self.price, claim.waiting);
            // Rounded up: what is left is never paid with what was.
            let bytes = (u128::from(claim.waiting) * u128::from(pay.0)).div_ceil(u128::from(full.0.max(1)));
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(claim.waiting);
            if pay == Frost::ZERO {
                continue;
            }
            claim.waiting -= bytes;
            claim.rebuilt = claim.rebuilt.saturating_add(bytes);
            money::add(&mut claim.paid, pay);
            put(overlay, &of, &claim);
            let entry = got.entry(member).or_default();
            entry.0 = entry.0.saturating_add(bytes);
            money::add(&mut entry.1, pay);
            money::add(owed.entry(of.1).or_default(), pay);
            money::add(&mut all, pay);
        }
        let mut events = Vec::new();
        for (member, (bytes, amount)) in got {
            let Some(account) = self.committee.member(member).map(|member| member.account) else { continue };
            money::credit(overlay, &account, amount, Pot::Reserve)?;
            events.push(Event::RepairPaid { epoch: self.epoch, member, account, bytes, amount });
        }
        for (node, amount) in owed {
            let owed = debts::charge(overlay, &node, amount)?;
            events.push(Event::RepairOwed { epoch: self.epoch, node, amount, owed });
        }
        Ok((all, events))
    }

    /// Claims that may be paid now, by row and debtor.
    fn due(&self, state: &dyn StateRead) -> Result<Vec<Due>, StateError> {
        let mut backing: BTreeMap<NodeId, Frost> = BTreeMap::new();
        let mut due = Vec::new();
        for (of, claim) in all(state)? {
            let Some(member) = self.shown(of.0) else { continue };
            let covered = match backing.get(&of.1) {
                Some(covered) => *covered,
                None => debts::backing(state, &of.1)?,
            };
            let amount = bytes_due(self.price, claim.waiting).min(covered);
            backing.insert(of.1, covered.saturating_sub(amount));
            if amount > Frost::ZERO {
                due.push(Due { of, claim, member, amount });
            }
        }
        Ok(due)
    }

    /// The member that has this row as a stand-in, when it took part in the epoch and was shown to lack nothing.
    fn shown(&self, row: RowId) -> Option<MemberIndex> {
        let row = self.rows.get(row).filter(|row| row.kind == RowKind::StandIn)?;
        let member = self.committee.index_of(&row.holder)?;
        let at = usize::from(member.0);
        let took_part = self.shares.get(at).is_some_and(|share| *share > Reliability::NONE);
        let lacks = self.attendance.members.get(at).is_none_or(|seen| seen.missing > 0);
        (took_part && !lacks).then_some(member)
    }
}

fn bytes_due(price: Frost, bytes: u64) -> Frost {
    let due = u128::from(price.0) * u128::from(bytes) / u128::from(MEBIBYTE);
    Frost(u64::try_from(due).unwrap_or(u64::MAX))
}

/// What a stand-in's row got or lost at a boundary.
struct Piece {
    row: RowId,
    run: Run,
    /// Whose gap it filled; none for what it lost.
    gained: Option<NodeId>,
}

/// A boundary that takes attestations in: what counts from the epoch after on.
pub(crate) struct Gathering<'a> {
    pub constants: &'a Constants,
    /// The tickets of the epoch that ended.
    pub batches: &'a [Batch],
    /// As they stand after what was said in it.
    pub rows: &'a Rows,
    pub epoch: Epoch,
}

impl Gathering<'_> {
    /// Lets claims grow and shrink by what changed in coverage. Of very many pieces those beyond a bound are not counted.
    pub(crate) fn turn(&self, overlay: &mut Overlay<'_>, altered: &[Altered]) -> Result<Vec<Event>, StateError> {
        let mut claims = all(overlay)?;
        for of in claims.keys().filter(|(row, _)| !self.is_stand_in(*row)) {
            overlay.delete(key(of));
        }
        claims.retain(|(row, _), _| self.is_stand_in(*row));
        let pieces = self.pieces(altered);
        let scale = Scale::over(overlay, pieces.iter().map(|piece| piece.run))?;
        let mut back: BTreeMap<NodeId, Frost> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for Piece { row, run, gained } in &pieces {
            let bytes = scale.weight(*run).fragment_bytes;
            match gained {
                Some(owes) => {
                    let claim = claims.entry((*row, *owes)).or_default();
                    claim.waiting = claim.waiting.saturating_add(bytes);
                }
                None => {
                    let Some(holder) = self.rows.get(*row).map(|row| row.holder) else { continue };
                    money::add(back.entry(holder).or_default(), give_back(&mut claims, *row, bytes));
                }
            }
            touched.insert(*row);
        }
        for (of, claim) in claims.iter().filter(|((row, _), _)| touched.contains(row)) {
            put(overlay, of, claim);
        }
        let mut events = Vec::new();
        for (node, amount) in back.into_iter().filter(|(_, amount)| *amount > Frost::ZERO) {
            let owed = debts::charge(overlay, &node, amount)?;
            events.push(Event::RepairOwed { epoch: self.epoch, node, amount, owed });
        }
        Ok(events)
    }

    /// What rows of stand-ins got under tickets, and what they lost, in the order in which it was said.
    fn pieces(&self, altered: &[Altered]) -> Vec<Piece> {
        let mut named: BTreeMap<(ShardIndex, NodeId), Vec<(&Scope, NodeId)>> = BTreeMap::new();
        for batch in self.batches {
            for entry in &batch.entries {
                if let Some(owes) = entry.owes {
                    named.entry((entry.shard, entry.target)).or_default().push((&batch.scope, owes));
                }
            }
        }
        let mut pieces = Vec::new();
        for part in altered {
            for row in part.before.difference(&part.after).iter().filter(|row| self.is_stand_in(*row)) {
                pieces.push(Piece { row, run: part.run, gained: None });
            }
            for row in part.after.difference(&part.before).iter().filter(|row| self.is_stand_in(*row)) {
                let Some(of) = self.rows.get(row).filter(|_| !self.is_paused(row, part)) else { continue };
                for (scope, owes) in named.get(&(of.shard, of.holder)).into_iter().flatten() {
                    let runs = inside(self.constants, scope, part.run, PIECES_MAX.saturating_sub(pieces.len()));
                    pieces.extend(runs.into_iter().map(|run| Piece { row, run, gained: Some(*owes) }));
                }
            }
        }
        pieces
    }

    fn is_stand_in(&self, row: RowId) -> bool {
        self.rows.get(row).is_some_and(|row| row.kind == RowKind::StandIn)
    }

    /// Whether the row withdrew these numbers not long ago: it fills its own gap.
    fn is_paused(&self, row: RowId, part: &Altered) -> bool {
        self.rows.pauses().iter().any(|(mark, pause)| pause.row == row && part.before.contains(*mark))
    }
}

/// The numbers of `run` that a ticket's scope names, as runs, at most `limit` of them.
fn inside(constants: &Constants, scope: &Scope, run: Run, limit: usize) -> Vec<Run> {
    let size = constants.repair.rotation_run.max(1);
    let at = scope.runs.partition_point(|named| named.last < run.first);
    let named = scope.runs.iter().skip(at).take_while(|named| named.first <= run.last);
    let mut found: Vec<Run> = Vec::new();
    for named in named {
        let (mut first, last) = (named.first.0.max(run.first.0), named.last.0.min(run.last.0));
        while first <= last {
            let end = (first - first % size).saturating_add(size - 1).min(last);
            if planner::rotation(constants, SequenceNumber(first)) == scope.rotation {
                if found.len() >= limit {
                    return found;
                }
                found.push(Run { first: SequenceNumber(first), last: SequenceNumber(end) });
            }
            let Some(next) = end.checked_add(1) else { return found };
            first = next;
        }
    }
    found
}

/// Takes bytes that a row lost out of its claims, those first that wait. Gives what was paid for the others, rounded up.
fn give_back(claims: &mut Claims, row: RowId, lost: u64) -> Frost {
    let of_row = (row, NodeId([0; 32]))..=(row, NodeId([255; 32]));
    let (mut left, mut back) = (lost, Frost::ZERO);
    for (_, claim) in claims.range_mut(of_row.clone()) {
        let part = claim.waiting.min(left);
        claim.waiting -= part;
        left -= part;
    }
    for (_, claim) in claims.range_mut(of_row) {
        let part = claim.rebuilt.min(left);
        let worth = (u128::from(claim.paid.0) * u128::from(part)).div_ceil(u128::from(claim.rebuilt.max(1)));
        // At most what was paid, as the part is at most what was rebuilt.
        let worth = Frost(u64::try_from(worth).unwrap_or(claim.paid.0));
        money::sub(&mut claim.paid, worth);
        money::add(&mut back, worth);
        claim.rebuilt -= part;
        left -= part;
    }
    back
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(first: u64, last: u64) -> Run {
        Run { first: SequenceNumber(first), last: SequenceNumber(last) }
    }

    #[test]
    fn a_mebibyte_is_worth_the_price_of_an_epoch() {
        assert_eq!(bytes_due(Frost(1_000), MEBIBYTE), Frost(1_000));
        assert_eq!(bytes_due(Frost(1_000), MEBIBYTE / 1_000), Frost(0), "less than a unit waits for more");
        assert_eq!(bytes_due(Frost(u64::MAX), u64::MAX), Frost(u64::MAX), "and no product overflows");
    }

    proptest! {
        #[test]
        fn what_a_ticket_names_is_found_run_by_run(
            first in 0u64..600, more in 0u64..600, named in 0u64..900, count in 0u64..900, number in 0u64..2_000,
        ) {
            let constants = Constants::standard();
            let whole = run(first, first + more);
            let rotation = planner::rotation(&constants, SequenceNumber(named));
            let scope = Scope { runs: vec![run(named, named + count)], rotation };
            let found = inside(&constants, &scope, whole, usize::MAX);
            let number = SequenceNumber(number);
            let slow = whole.contains(number) && scope.contains(&constants, number);
            prop_assert_eq!(found.iter().filter(|run| run.contains(number)).count(), usize::from(slow));
            prop_assert!(inside(&constants, &scope, whole, 1).len() <= 1);
        }

        /// Whatever is lost in whichever parts, what is owed back is what was paid, once all is lost.
        #[test]
        fn what_was_paid_is_owed_back_when_it_is_lost(
            waiting in 0u64..1_000, rebuilt in 1u64..1_000_000, paid in 0u64..1_000_000,
            parts in proptest::collection::vec(0u64..300_000, 0..9),
        ) {
            let (row, owes) = (RowId(4), NodeId([7; 32]));
            let mut claims = Claims::from([((row, owes), Claim { waiting, rebuilt, paid: Frost(paid) })]);
            claims.insert((RowId(5), owes), Claim { waiting: 9, rebuilt: 9, paid: Frost(9) });
            let mut back = 0;
            for part in parts {
                back += give_back(&mut claims, row, part).0;
                prop_assert!(back <= paid);
            }
            back += give_back(&mut claims, row, u64::MAX).0;
            prop_assert_eq!((back, claims[&(row, owes)]), (paid, Claim::default()));
            prop_assert_eq!(claims[&(RowId(5), owes)], Claim { waiting: 9, rebuilt: 9, paid: Frost(9) });
        }
    }
}
