//! Answers about repair: who rebuilds what, and who may be served the symbols for it. Part of [`crate::views`].
//!
//! | who asks | what |
//! | --- | --- |
//! | who is to rebuild | [`tickets_of`], [`ticket_work`]; [`refills`]: which gaps of a seat's row it may fill now |
//! | who is asked for symbols | [`grants`]: has the asker this right |
//! | an operator | [`tickets`], [`ticket`] |

use crate::blobs;
use crate::boundary;
use crate::committees::{self, Gap, GapsPage};
use crate::coverage;
use crate::records::{Defence, SequenceRecord};
use crate::repairs::{self, Right, Ticket, TicketNumber};
use crate::rows::{self, RowId, RowKind, Rows};
use crate::standing;
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use crate::views::{head, next_sequence};
use floe_risk::Params as Constants;
use floe_risk::params::Life;
use floe_risk::planner;
use floe_types::{Epoch, NodeId, Params, SequenceNumber, ShardIndex};

/// The constants of risk and repair of a network with these parameters.
#[must_use]
pub fn risk_constants(params: &Params) -> Constants {
    standing::constants(params)
}

/// Every ticket that is valid now, by number.
///
/// # Errors
/// [`StateError`].
pub fn tickets(state: &dyn StateRead) -> Result<Vec<Ticket>, StateError> {
    let now = head(state)?.epoch;
    let batches = repairs::batches(state)?;
    let all = batches.iter().flat_map(|batch| batch.tickets());
    Ok(all.filter(|ticket| ticket.is_valid(now)).collect())
}

/// The tickets that `node` is the target of and that are valid now, urgent ones first, then by number.
///
/// # Errors
/// [`StateError`].
pub fn tickets_of(state: &dyn StateRead, node: &NodeId) -> Result<Vec<Ticket>, StateError> {
    let mut mine: Vec<Ticket> = tickets(state)?.into_iter().filter(|ticket| ticket.target == *node).collect();
    mine.sort_by_key(|ticket| (std::cmp::Reverse(ticket.haste), ticket.number));
    Ok(mine)
}

/// A ticket that is valid now.
///
/// # Errors
/// [`StateError`].
pub fn ticket(state: &dyn StateRead, number: TicketNumber) -> Result<Option<Ticket>, StateError> {
    let now = head(state)?.epoch;
    let Some(batch) = repairs::batch_of(state, number)? else { return Ok(None) };
    let found = batch.tickets().find(|ticket| ticket.number == number);
    Ok(found.filter(|ticket| ticket.is_valid(now)))
}

/// The row with which the target of a ticket attests what it rebuilt; none when it has ended since.
///
/// # Errors
/// [`StateError`].
pub fn ticket_row(state: &dyn StateRead, ticket: &Ticket) -> Result<Option<RowId>, StateError> {
    Ok(rows::load(state)?.find(ticket.shard, &ticket.target))
}

/// Defended blobs that a ticket names and its target does not cover yet, from number `from` on: at most `limit` and
/// [`committees::GAPS_PAGE_MAX`] of them. Also none, with a place to go on from, when a long stretch of numbers has none.
///
/// # Errors
/// [`StateError`].
pub fn ticket_work(
    state: &dyn StateRead,
    params: &Params,
    ticket: &Ticket,
    from: SequenceNumber,
    limit: usize,
) -> Result<GapsPage, StateError> {
    let Some(row) = ticket_row(state, ticket)? else { return Ok(GapsPage::default()) };
    let constants = standing::constants(params);
    let Some(run) = ticket.scope.runs.iter().find(|run| run.last >= from) else { return Ok(GapsPage::default()) };
    let mut page = committees::gaps(state, row, from.max(run.first), limit)?;
    page.gaps.retain(|gap| ticket.scope.contains(&constants, gap.sequence));
    // On with the next run that has something left.
    let after = |next: SequenceNumber| {
        let run = ticket.scope.runs.iter().find(|run| run.last >= next)?;
        Some(next.max(run.first))
    };
    page.next = page.next.and_then(after);
    Ok(page)
}

/// A gap of a seat that its holder may fill now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// The blob.
    pub gap: Gap,
    /// Why it may: [`Right::Standing`], [`Right::Rebuild`] or [`Right::Trickle`].
    pub right: Right,
}

/// A page of [`refills`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefillsPage {
    /// The gaps, ascending by number.
    pub refills: Vec<Refill>,
    /// Where the next page begins; none when there is none.
    pub next: Option<SequenceNumber>,
}

/// The defended blobs that `row`, a seat's, does not cover and whose fragments its holder may rebuild now without a ticket,
/// from number `from` on. At most `limit` and [`committees::GAPS_PAGE_MAX`] gaps are looked at, so that a page may be empty
/// and still have a next one.
///
/// # Errors
/// [`StateError`].
pub fn refills(
    state: &dyn StateRead,
    params: &Params,
    row: RowId,
    from: SequenceNumber,
    limit: usize,
) -> Result<RefillsPage, StateError> {
    let rows = rows::load(state)?;
    let Some(of) = rows.get(row).filter(|of| of.kind == RowKind::Seat).copied() else {
        return Ok(RefillsPage::default());
    };
    let desk = Desk::new(state, params, &of.holder)?;
    let page = committees::gaps(state, row, from, limit)?;
    let mut refills = Vec::new();
    for gap in page.gaps {
        let Some(life) = blobs::life(state, gap.sequence)? else { continue };
        let right = desk.of_seat(of.shard, gap.sequence, &life);
        refills.extend(right.map(|right| Refill { gap, right }));
    }
    Ok(RefillsPage { refills, next: page.next })
}

/// Whether `asker` may be served, under `right`, the recovery symbols of `shard`'s fragment of blob `number`.
///
/// Nobody may who covers the fragment already, whatever else is true, and nobody for a blob that is not defended.
///
/// # Errors
/// [`StateError`].
pub fn grants(
    state: &dyn StateRead,
    params: &Params,
    asker: &NodeId,
    (shard, number): (ShardIndex, SequenceNumber),
    right: Right,
) -> Result<bool, StateError> {
    let Some(life) = blobs::life(state, number)?.filter(|life| life.defence == Defence::Defended) else {
        return Ok(false);
    };
    let rows = rows::load(state)?;
    let Some(row) = rows.find(shard, asker) else { return Ok(false) };
    if coverage::covered(state, Table::Coverage, number.0, next_sequence(state)?.0)?.contains(row) {
        return Ok(false);
    }
    if let Right::Ticket { number: ticket } = right {
        let constants = standing::constants(params);
        let named = self::ticket(state, ticket)?;
        return Ok(named.is_some_and(|ticket| {
            ticket.target == *asker && ticket.shard == shard && ticket.scope.contains(&constants, number)
        }));
    }
    let desk = Desk::new(state, params, asker)?;
    Ok(is_seat(&rows, row) && desk.has(shard, number, &life, right))
}

fn is_seat(rows: &Rows, row: RowId) -> bool {
    rows.get(row).is_some_and(|row| row.kind == RowKind::Seat)
}

/// What rights of a seat's holder without a ticket depend on, looked up once.
struct Desk {
    constants: Constants,
    now: Epoch,
    /// Whether it answered in the epoch decided last.
    answered: bool,
    /// Whether it may make again what it lost honestly.
    rebuilds: bool,
}

impl Desk {
    fn new(state: &dyn StateRead, params: &Params, holder: &NodeId) -> Result<Desk, StateError> {
        let now = head(state)?.epoch;
        let mut answered = false;
        let mut epoch = now.0;
        while let Some(earlier) = epoch.checked_sub(1) {
            epoch = earlier;
            let Some(record) = boundary::epoch_record(state, Epoch(epoch))? else { break };
            if record.is_decided() {
                if let Some(committee) = committees::committee_of(state, record.term)? {
                    let index = committee.index_of(holder);
                    answered = index.is_some_and(|index| record.boundary.answered.contains(index));
                }
                break;
            }
        }
        let constants = standing::constants(params);
        let gauges = standing::of(state, holder)?;
        let rebuilds = gauges.is_some_and(|gauges| gauges.rebuilds_in(&constants, now));
        Ok(Desk { constants, now, answered, rebuilds })
    }

    /// The right that a seat's holder has for a gap, if any.
    fn of_seat(&self, shard: ShardIndex, number: SequenceNumber, life: &SequenceRecord) -> Option<Right> {
        let rights = [Right::Standing, Right::Rebuild, Right::Trickle];
        rights.into_iter().find(|right| self.has(shard, number, life, *right))
    }

    fn has(&self, shard: ShardIndex, number: SequenceNumber, life: &SequenceRecord, right: Right) -> bool {
        match right {
            Right::Ticket { .. } => false,
            Right::Rebuild => self.rebuilds,
            Right::Standing => self.now.0.saturating_sub(life.certified.0) < self.constants.repair.standing.0,
            Right::Trickle => {
                let left = self.constants.life(self.now, life.last);
                left == Life::Lasting
                    && self.answered
                    && planner::trickles(&self.constants, self.now, number, shard, left)
            }
        }
    }
}
