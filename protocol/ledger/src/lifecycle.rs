//! What a boundary does with committees: electing, handing over, letting go.
//!
//! ```text
//!  term t ............................................│ term t+1 .................
//!            election                            term ends
//!               │  moving shards get Incoming rows    │ Incoming → Seat, Seat → Former
//!               │  their holders gather and attest    │ what is missing is uncovered there and
//!               │                                     │ covered by the former row until it is not
//! ```
//!
//! In this order, all with the end of one epoch:
//!
//! 1. former rows that are not needed any more, or whose deadline has come, end: a row is needed while it covers a
//!    defended blob of which neither the seat's nor an incoming holder's row covers that shard;
//! 2. if the term ends, the chosen committee takes office and its seats change hands;
//! 3. if it is time, the next committee is chosen;
//! 4. numbers of past rows are taken out of coverage, a bounded stretch at each boundary;
//! 5. debts of who is excluded or has no seat are taken out of its stake; who gave notice and has no row any more is dismissed, and
//!    stakes that are due go back, less debts.
//!
//! No step waits for anybody: a hand-over that is not finished when its term begins leaves an uncovered shard.
//!
//! # Laws
//! - **I16** A change of committee moves at most half of `f` seats by choice and `f` in all.

use crate::blobs;
use crate::candidates::{self, Candidate, Standing};
use crate::coverage::{self, Notes};
use crate::debts;
use crate::election::{Claim, Contender, Election, Outcome};
use crate::event::Event;
use crate::merkle::Weight;
use crate::rows::{self, RowId, RowKind, RowSet, Rows};
use crate::standing::{self, Assembly};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_risk::reliability::Rank;
use floe_types::{Committee, Epoch, Member, NodeId, Params, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Segments of the coverage map that one boundary takes past rows out of.
pub const SWEEP_SEGMENTS_MAX: usize = 2048;

/// The committee chosen for the next term, once it is.
pub(crate) fn next_committee(state: &dyn StateRead) -> Result<Option<Committee>, StateError> {
    Table::NextCommittee.load(state, &Table::NextCommittee.key(&[]))
}

/// The committee of a term that has ended, as long as one of its epochs is remembered.
pub(crate) fn past_committee(state: &dyn StateRead, term: u64) -> Result<Option<Committee>, StateError> {
    Table::PastCommittees.load(state, &Table::PastCommittees.number(term))
}

/// The committee of `term`: in office, chosen, or past and remembered.
pub(crate) fn committee_of(state: &dyn StateRead, term: u64) -> Result<Option<Committee>, StateError> {
    let running: Committee = Table::Committee.must(state, &Table::Committee.key(&[]))?;
    if running.term() == term {
        return Ok(Some(running));
    }
    match next_committee(state)?.filter(|next| next.term() == term) {
        Some(next) => Ok(Some(next)),
        None => past_committee(state, term),
    }
}

/// Forgets the committee that served in epoch `old`, when it served in none after it.
pub(crate) fn prune(overlay: &mut Overlay<'_>, old: Epoch, params: &Params) {
    let term = params.term_of(old);
    if params.term_of(old.next()) != term {
        overlay.delete(Table::PastCommittees.number(term));
    }
}

/// An epoch that ends, as committees see it.
pub(crate) struct Ending<'a> {
    pub params: &'a Params,
    /// In office until now.
    pub committee: &'a Committee,
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The classes that were judged in it.
    pub classes: &'a BTreeMap<RowSet, Weight>,
    /// How many blobs there have been.
    pub end: u64,
}

impl Ending<'_> {
    /// Does all of it. Gives the committee of the epoch that begins and what happened.
    pub(crate) fn turn(
        &self,
        overlay: &mut Overlay<'_>,
        notes: &mut Notes,
    ) -> Result<(Committee, Vec<Event>), StateError> {
        let mut rows = rows::load(overlay)?;
        let before = rows.clone();
        let mut events = self.end_rows(overlay, &mut rows);
        let committee = self.switch(overlay, &mut rows, &mut events)?;
        self.elect(overlay, &mut rows, &committee, &mut events)?;
        self.sweep(overlay, &mut rows, notes)?;
        if rows != before {
            rows::store(overlay, &rows);
        }
        let next = self.epoch.next();
        events.extend(debts::from_stakes(overlay, &committee, self.epoch)?);
        events.extend(candidates::dismiss(overlay, &rows, next, self.params)?);
        events.extend(candidates::release_due(overlay, next)?);
        Ok((committee, events))
    }

    fn end_rows(&self, overlay: &mut Overlay<'_>, rows: &mut Rows) -> Vec<Event> {
        let former: Vec<(RowId, ShardIndex, Epoch)> = rows
            .iter()
            .filter(|(_, row)| row.kind == RowKind::Former)
            .map(|(id, row)| (id, row.shard, row.since))
            .collect();
        if former.is_empty() {
            return Vec::new();
        }
        let needed = needed(rows, self.classes.keys());
        let next = self.epoch.next();
        let mut events = Vec::new();
        for (row, shard, since) in former {
            let late = since.checked_add(self.params.former_epochs).is_none_or(|deadline| deadline <= next);
            if late || !needed.contains(&row) {
                rows.end(overlay, row, next);
                events.push(Event::RowEnded { row, shard, is_covered: !needed.contains(&row) });
            }
        }
        events
    }

    fn switch(
        &self,
        overlay: &mut Overlay<'_>,
        rows: &mut Rows,
        events: &mut Vec<Event>,
    ) -> Result<Committee, StateError> {
        let (running, next) = (self.committee, self.epoch.next());
        if self.epoch < self.params.term_ends(running.term()) {
            return Ok(running.clone());
        }
        let term = running.term().saturating_add(1);
        let stays = || Committee::of_proven(term, running.shards(), running.members().to_vec());
        let office = match next_committee(overlay)? {
            Some(chosen) => chosen,
            None => stays().map_err(|error| Table::Committee.damaged(error.to_string()))?,
        };
        for member in office.members() {
            for shard in &member.shards {
                let held = rows.seat(*shard).and_then(|row| rows.get(row)).map(|row| row.holder);
                if held != Some(member.node) {
                    rows.seat_next(*shard, member.node, next);
                }
            }
        }
        for member in running.members() {
            if office.index_of(&member.node).is_none()
                && let Some(mut candidate) = candidates::candidate(overlay, &member.node)?
            {
                candidate.served = Some(self.epoch);
                candidates::put(overlay, &candidate);
            }
        }
        Table::PastCommittees.store(overlay, Table::PastCommittees.number(running.term()), running);
        Table::Committee.store(overlay, Table::Committee.key(&[]), &office);
        overlay.delete(Table::NextCommittee.key(&[]));
        events.push(Event::TermBegan { term });
        Ok(office)
    }

    fn elect(
        &self,
        overlay: &mut Overlay<'_>,
        rows: &mut Rows,
        running: &Committee,
        events: &mut Vec<Event>,
    ) -> Result<(), StateError> {
        if self.epoch != self.params.election_of(running.term()) {
            return Ok(());
        }
        let term = running.term().saturating_add(1);
        let candidates = candidates::prepare(overlay, term)?;
        let outcome = election(overlay, self.params, &candidates, (running, rows))?.hold();
        let Ok(chosen) = Committee::of_proven(term, running.shards(), members(&candidates, &outcome)) else {
            // Candidates are checked when they join, so this does not happen; if it did, the committee would stay.
            return Ok(());
        };
        for one in &outcome.moves {
            rows.admit(one.shard, one.to, self.epoch.next());
        }
        Table::NextCommittee.store(overlay, Table::NextCommittee.key(&[]), &chosen);
        events.push(Event::Elected { term, moves: outcome.moves });
        Ok(())
    }

    fn sweep(&self, overlay: &mut Overlay<'_>, rows: &mut Rows, notes: &mut Notes) -> Result<(), StateError> {
        if rows.gone.is_empty() {
            return Ok(());
        }
        let stretch = (rows.swept, self.end);
        coverage::clear(overlay, Table::Coverage, &rows.gone, stretch, SWEEP_SEGMENTS_MAX)?;
        let cleared = coverage::clear(overlay, Table::Judged, &rows.gone, stretch, SWEEP_SEGMENTS_MAX)?;
        notes.add(overlay, cleared.altered);
        match cleared.next {
            Some(next) => rows.swept = next,
            None => (rows.swept, rows.gone) = (0, RowSet::new()),
        }
        Ok(())
    }
}

/// The former rows that cover something which neither a seat's nor an incoming holder's row of the same shard covers.
pub(crate) fn needed<'a>(rows: &Rows, classes: impl Iterator<Item = &'a RowSet>) -> BTreeSet<RowId> {
    let mut needed = BTreeSet::new();
    for class in classes {
        let (mut lasting, mut former) = (crate::sets::ShardSet::new(), Vec::new());
        for (id, row) in class.iter().filter_map(|id| Some((id, rows.get(id)?))) {
            match row.kind {
                RowKind::Seat | RowKind::Incoming | RowKind::StandIn => lasting.insert(row.shard),
                RowKind::Former => former.push((id, row.shard)),
            }
        }
        needed.extend(former.into_iter().filter(|(_, shard)| !lasting.contains(*shard)).map(|(id, _)| id));
    }
    needed
}

/// How many bytes of fragments one seat keeps now: of all defended blobs.
pub(crate) fn kept_by_seat(state: &dyn StateRead) -> Result<u64, StateError> {
    Ok(blobs::load(state)?.defended)
}

/// The election that these candidates, this committee and these rows would hold now.
pub(crate) fn election(
    state: &dyn StateRead,
    params: &Params,
    candidates: &[Candidate],
    (running, rows): (&Committee, &Rows),
) -> Result<Election, StateError> {
    let (bytes, assembly) = (kept_by_seat(state)?, Assembly::of(state, &standing::constants(params))?);
    let shards = (0..running.shards()).map(ShardIndex);
    let holder = |shard| rows.seat(shard).and_then(|row| rows.get(row)).map(|row| row.holder);
    let former = rows.iter().filter(|(_, row)| row.kind == RowKind::Former);
    Ok(Election {
        faulty: params.faulty(),
        moves_max: params.faulty(),
        by_choice_max: params.moves_by_choice(),
        seats: shards.map(|shard| holder(shard).unwrap_or_default()).collect(),
        contenders: candidates.iter().map(|candidate| contender(params, candidate, (bytes, &assembly))).collect(),
        under_way: rows.under_way().collect(),
        former: former.map(|(_, row)| (row.holder, row.shard)).collect(),
    })
}

/// A candidate as the election sees it, a seat keeping `bytes`.
fn contender(params: &Params, candidate: &Candidate, (bytes, assembly): (u64, &Assembly)) -> Contender {
    let claim = match candidate.standing {
        Standing::Excluded { .. } => Claim::MustGive,
        Standing::Leaving { since } => Claim::Gives { since },
        Standing::Standing if candidate.stake < params.stake_min => Claim::Gives { since: Epoch(0) },
        Standing::Standing if assembly.rank(&candidate.node) == Rank::Probation => Claim::Keeps,
        Standing::Standing => Claim::Stands,
    };
    let room = candidate.capacity_bytes.checked_div(bytes).unwrap_or(u64::MAX);
    Contender {
        node: candidate.node,
        stake: candidate.stake,
        room: room.min(u64::from(params.shards)) as u16,
        domain: candidate.domain.clone(),
        claim,
    }
}

/// The members that an election's seats make of candidates.
fn members(candidates: &[Candidate], outcome: &Outcome) -> Vec<Member> {
    let mut shards: BTreeMap<NodeId, Vec<ShardIndex>> = BTreeMap::new();
    for (shard, node) in (0u16..).zip(&outcome.seats) {
        shards.entry(*node).or_default().push(ShardIndex(shard));
    }
    let seated = candidates.iter().filter_map(|candidate| Some((candidate, shards.remove(&candidate.node)?)));
    seated.map(|(candidate, shards)| candidate.member(shards)).collect()
}
