//! Writes a plan down: flags into the map of coverage, tickets, rows of stand-ins.
//!
//! A plan replaces the one before. It was made by the committee of the epoch that ended; when another takes office with the
//! same boundary, what the plan asked of who has no seat any more is left out, and planned anew a boundary later.
//!
//! A stand-in has a row from its first ticket on, so that it can attest. The row ends when no class needs it and no ticket
//! names it: the seat's holder has the fragments and answers, or nothing was rebuilt. When its holder leaves the committee it
//! becomes a former holder's.

use super::{Plan, Planned};
use crate::coverage::{self, Change, Notes, Run};
use crate::event::Event;
use crate::repairs::{self, BATCHES_MAX, Batch, Entry, RUNS_IN_ALL_MAX, TICKETS_MAX, TicketNumber, Why};
use crate::rows::{self, Row, RowId, RowKind, RowSet, Rows};
use crate::state::{Overlay, StateError};
use crate::tables::Table;
use crate::verdict::Decision;
use floe_risk::planner::{self, Flag};
use floe_types::{Committee, Epoch, NodeId, ShardIndex};
use std::collections::BTreeMap;

/// The most runs whose flag one boundary changes: those beyond follow at later ones.
const FLAGGED_RUNS_MAX: usize = 4_096;
/// Numbers of tickets that one boundary may give.
const NUMBERS: u64 = 1 << 16;
const _: () = assert!((TICKETS_MAX as u64) < NUMBERS, "every ticket of a boundary has its own number");

/// A boundary that carries its plan out.
pub(crate) struct Carrying<'a> {
    /// The epoch that begins.
    pub next: Epoch,
    pub decision: Decision,
    /// In office in the epoch that ended: whose gaps the plan is about.
    pub judged: &'a Committee,
    /// In office from now on.
    pub office: &'a Committee,
    /// One past the newest blob.
    pub end: u64,
}

impl Carrying<'_> {
    /// Does all of it. Gives what was planned, and what happened.
    pub(crate) fn turn(
        &self,
        overlay: &mut Overlay<'_>,
        notes: &mut Notes,
        plan: &Plan,
    ) -> Result<(Planned, Vec<Event>), StateError> {
        let mut rows = rows::load(overlay)?;
        let before = rows.clone();
        let old = repairs::batches(overlay)?;
        let mut planned = plan.planned;
        let batches = match self.decision {
            Decision::Decided => self.batches(plan, &old, &mut rows),
            Decision::Undecided => old.iter().map(|batch| Batch { until: self.next, ..batch.clone() }).collect(),
        };
        planned.tickets = batches.iter().map(|batch| batch.entries.len() as u64).sum();
        for batch in &old {
            overlay.delete(repairs::key(batch));
        }
        for batch in &batches {
            repairs::put(overlay, batch);
        }
        self.flag(overlay, notes, plan, &mut rows)?;
        let events = match self.decision {
            Decision::Decided => self.end_rows(overlay, plan, &batches, &mut rows),
            Decision::Undecided => Vec::new(),
        };
        if rows != before {
            rows::store(overlay, &rows);
        }
        Ok((planned, events))
    }

    /// The plan's entries as batches. Opens the rows of stand-ins.
    fn batches(&self, plan: &Plan, old: &[Batch], rows: &mut Rows) -> Vec<Batch> {
        let since: BTreeMap<(ShardIndex, NodeId), Epoch> = old
            .iter()
            .flat_map(|batch| batch.entries.iter().map(|entry| ((entry.shard, entry.target), entry.since)))
            .collect();
        let mut batches: Vec<Batch> = Vec::new();
        let (mut given, mut runs) = (0usize, 0usize);
        for entry in &plan.entries {
            if batches.len() >= BATCHES_MAX {
                break;
            }
            let mut entries = Vec::new();
            for ticket in &entry.tickets {
                let Some(target) = plan.nodes.get(usize::from(ticket.target.0)).copied() else { continue };
                let Some(kind) = self.kind(rows, ticket, &target) else { continue };
                let since = since.get(&(ticket.shard, target)).copied().unwrap_or(self.next);
                let (shard, owes) = (ticket.shard, self.owes(ticket.shard, kind, &target));
                entries.push(Entry { shard, target, kind, why: why(ticket.why), owes, since });
            }
            let more = entry.scope.runs.len();
            if entries.is_empty() || given + entries.len() > TICKETS_MAX || runs + more > RUNS_IN_ALL_MAX {
                continue;
            }
            runs += more;
            for one in entries.iter().filter(|one| one.kind == RowKind::StandIn) {
                rows.stand_in(one.shard, one.target, self.next);
            }
            let first = TicketNumber(self.next.0.saturating_mul(NUMBERS).saturating_add(given as u64));
            given += entries.len();
            let (issued, until, haste, scope) = (self.next, self.next, entry.haste, entry.scope.clone());
            batches.push(Batch { first, issued, until, haste, scope, blobs: entry.blobs, entries });
        }
        batches
    }

    /// Whose gap a stand-in fills: that of who had the seat in the epoch by which it was planned.
    fn owes(&self, shard: ShardIndex, kind: RowKind, target: &NodeId) -> Option<NodeId> {
        let holder = self.judged.holder(shard).and_then(|index| self.judged.member(index)).map(|member| member.node);
        holder.filter(|holder| kind == RowKind::StandIn && holder != target)
    }

    /// What the target of a ticket is to the shard now; none when it may not rebuild it any more.
    fn kind(&self, rows: &Rows, ticket: &planner::Ticket, target: &NodeId) -> Option<RowKind> {
        let has_seat = rows.seat(ticket.shard).and_then(|seat| rows.get(seat)).is_some_and(|row| row.holder == *target);
        match ticket.row {
            _ if has_seat => Some(RowKind::Seat),
            planner::RowKind::StandIn if self.office.index_of(target).is_some() => Some(RowKind::StandIn),
            _ => None,
        }
    }

    fn flag(
        &self,
        overlay: &mut Overlay<'_>,
        notes: &mut Notes,
        plan: &Plan,
        rows: &mut Rows,
    ) -> Result<(), StateError> {
        if plan.flags.is_empty() {
            return Ok(());
        }
        let mark = RowSet::from_iter([rows.repair_mark()]);
        let parts = plan.flags.iter().flat_map(|(key, flag)| {
            let runs: &[Run] = plan.runs.get(key).map_or(&[], Vec::as_slice);
            runs.iter().map(move |run| (*run, *flag))
        });
        for (run, flag) in parts.take(FLAGGED_RUNS_MAX) {
            let change = if flag == Flag::Repairing { Change::Cover } else { Change::Uncover };
            let altered = coverage::change(overlay, Table::Judged, run, (&mark, change), self.end)?;
            coverage::change(overlay, Table::Coverage, run, (&mark, change), self.end)?;
            notes.add(overlay, altered);
        }
        Ok(())
    }

    fn end_rows(&self, overlay: &mut Overlay<'_>, plan: &Plan, batches: &[Batch], rows: &mut Rows) -> Vec<Event> {
        let entries = || batches.iter().flat_map(|batch| &batch.entries);
        let stand_ins: Vec<(RowId, Row)> =
            rows.iter().filter(|(_, row)| row.kind == RowKind::StandIn).map(|(id, row)| (id, *row)).collect();
        let mut events = Vec::new();
        for (id, row) in stand_ins {
            let named = entries().any(|entry| entry.shard == row.shard && entry.target == row.holder);
            if self.office.index_of(&row.holder).is_none() {
                rows.retire(id, self.next);
            } else if !named && !plan.needed.contains(&id) {
                rows.end(overlay, id, self.next);
                events.push(Event::RowEnded { row: id, shard: row.shard, is_covered: true });
            }
        }
        events
    }
}

fn why(why: planner::Why) -> Why {
    match why {
        planner::Why::Missing => Why::Missing,
        planner::Why::Withdrawn(ago) => Why::Withdrawn { ago },
        planner::Why::Silent(age) => Why::Silent { age },
    }
}
