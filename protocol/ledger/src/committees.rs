//! Answers about committees, candidates and hand-overs: plain functions that read and change nothing. Part of
//! [`crate::views`].
//!
//! | who asks | what |
//! | --- | --- |
//! | a reader | [`holders`]: who covers which shard of a blob, seats first; [`addresses`] |
//! | a holder | [`rows_of`]: what am I to keep; [`gaps`]: what do I miss; [`can_stop`]: may I be switched off |
//! | an operator | [`candidates`], [`preview`], [`crowded_domains`], [`unbonding`] |
//! | who votes | [`next_committee`], [`committee_of`] |

use crate::blobs;
use crate::candidates::{self, Candidate, Standing, Unbonding};
use crate::coverage::{self, Run};
use crate::election::{self, Bound, Outcome};
use crate::lifecycle;
use crate::pages;
use crate::records::Defence;
use crate::rows::{self, Row, RowId, RowKind, RowSet};
use crate::state::{StateError, StateRead};
use crate::tables::{Table, number_at};
use crate::views::{committee, head, next_sequence};
use floe_types::{BlobId, Committee, Epoch, Frost, NodeId, Params, SequenceNumber, ShardIndex, VoteKey};
use std::collections::BTreeMap;

/// The most blobs in one page of [`gaps`].
pub const GAPS_PAGE_MAX: usize = 1000;
/// Numbers that [`gaps`] looks at for each blob that a page may have, so that forgotten ones cannot make it long.
const LOOKED_AT_PER_GAP: u64 = 16;

/// Who covers a shard of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The shard.
    pub shard: ShardIndex,
    /// What the node is to it.
    pub kind: RowKind,
    /// The row.
    pub row: RowId,
    /// The node that attests to hold the fragment.
    pub node: NodeId,
}

/// Who attests fragments of `blob` now, by shard, the seat's holder first; nobody before its first certificate.
///
/// # Errors
/// [`StateError`].
pub fn holders(state: &dyn StateRead, blob: &BlobId) -> Result<Vec<Holder>, StateError> {
    let Some(number) = blobs::record(state, blob)?.and_then(|record| record.sequence) else { return Ok(Vec::new()) };
    let covering = coverage::covered(state, Table::Coverage, number.0, next_sequence(state)?.0)?;
    let rows = rows::load(state)?;
    let live = covering.iter().filter_map(|id| Some((id, *rows.get(id)?)));
    let mut holders: Vec<Holder> =
        live.map(|(id, row)| Holder { shard: row.shard, kind: row.kind, row: id, node: row.holder }).collect();
    holders.sort_unstable();
    Ok(holders)
}

/// The candidate that `node` is, if it is one.
///
/// # Errors
/// [`StateError`].
pub fn candidate(state: &dyn StateRead, node: &NodeId) -> Result<Option<Candidate>, StateError> {
    candidates::candidate(state, node)
}

/// The epoch in which two votes of `key` were punished, if they were.
///
/// # Errors
/// [`StateError`].
pub fn punished(state: &dyn StateRead, key: &VoteKey) -> Result<Option<Epoch>, StateError> {
    Table::Offences.load(state, &Table::Offences.key(&[&key.0]))
}

/// Where `node` listens, as it says itself most lately; none when it neither is a candidate nor has a seat.
///
/// # Errors
/// [`StateError`].
pub fn addresses(state: &dyn StateRead, node: &NodeId) -> Result<Option<Vec<String>>, StateError> {
    if let Some(candidate) = candidates::candidate(state, node)? {
        return Ok(Some(candidate.addresses));
    }
    let committee = committee(state)?;
    let member = committee.index_of(node).and_then(|index| committee.member(index));
    Ok(member.map(|member| member.addresses.clone()))
}

/// All rows that there are.
///
/// # Errors
/// [`StateError`].
pub fn rows(state: &dyn StateRead) -> Result<rows::Rows, StateError> {
    rows::load(state)
}

/// The rows of `node`: the shards whose fragments it keeps, has got to gather, or still has to keep.
///
/// # Errors
/// [`StateError`].
pub fn rows_of(state: &dyn StateRead, node: &NodeId) -> Result<Vec<(RowId, Row)>, StateError> {
    Ok(rows::load(state)?.of(node).map(|(id, row)| (id, *row)).collect())
}

/// The sequence numbers that a row covers, as runs. Forgotten numbers inside a run belong to it.
///
/// # Errors
/// [`StateError`].
pub fn row_coverage(state: &dyn StateRead, row: RowId) -> Result<Vec<Run>, StateError> {
    coverage::runs_of(state, &RowSet::from_iter([row]), next_sequence(state)?.0)
}

/// A defended blob that a row does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its place in the order of certification.
    pub sequence: SequenceNumber,
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// The last paid epoch.
    pub last: Epoch,
}

/// A page of [`gaps`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GapsPage {
    /// The blobs, ascending by number.
    pub gaps: Vec<Gap>,
    /// Where the next page begins; none when there is none.
    pub next: Option<SequenceNumber>,
}

/// Defended blobs that `row` does not cover, from number `from` on: at most `limit` and [`GAPS_PAGE_MAX`] of them.
///
/// # Errors
/// [`StateError`].
pub fn gaps(state: &dyn StateRead, row: RowId, from: SequenceNumber, limit: usize) -> Result<GapsPage, StateError> {
    const PAGE: usize = 64;
    let end = next_sequence(state)?.0;
    let limit = limit.clamp(1, GAPS_PAGE_MAX);
    let mut left = LOOKED_AT_PER_GAP.saturating_mul(limit as u64);
    let mut page = GapsPage::default();
    let mut at = from.0;
    while at < end {
        let segments = coverage::segments_from(state, Table::Coverage, at, end, PAGE)?;
        if segments.is_empty() {
            break;
        }
        for segment in segments {
            let mut number = at.max(segment.run.first.0);
            at = segment.run.last.0.saturating_add(1);
            if segment.rows.contains(row) {
                continue;
            }
            while number < at {
                if page.gaps.len() >= limit || left == 0 {
                    page.next = Some(SequenceNumber(number));
                    return Ok(page);
                }
                left -= 1;
                let sequence = SequenceNumber(number);
                let life = blobs::life(state, sequence)?.filter(|life| life.defence == Defence::Defended);
                page.gaps.extend(life.map(|life| Gap {
                    sequence,
                    blob: life.blob,
                    length: life.length,
                    last: life.last,
                }));
                number += 1;
            }
        }
    }
    Ok(page)
}

/// The committee chosen for the next term, once it is.
///
/// # Errors
/// [`StateError`].
pub fn next_committee(state: &dyn StateRead) -> Result<Option<Committee>, StateError> {
    lifecycle::next_committee(state)
}

/// The committee of `term`: in office, chosen, or past as long as one of its epochs is remembered.
///
/// # Errors
/// [`StateError`].
pub fn committee_of(state: &dyn StateRead, term: u64) -> Result<Option<Committee>, StateError> {
    lifecycle::committee_of(state, term)
}

/// A candidate with its seats, and why they are not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateView {
    /// What it said and has at stake.
    pub candidate: Candidate,
    /// Seats in the committee in office.
    pub seats: u16,
    /// Seats in the next term's committee, once that is chosen.
    pub seats_next: Option<u16>,
    /// Shards it has to gather for the next term, and those it still keeps for others.
    pub incoming: u16,
    /// Shards it had the seat of and still has to keep.
    pub former: u16,
    /// Seats it would have if any number could move at once: what its stake comes to.
    pub share: u16,
    /// Why it would get no more at an election now.
    pub bound: Bound,
}

/// All candidates by node.
///
/// # Errors
/// [`StateError`].
pub fn candidates(state: &dyn StateRead, params: &Params) -> Result<Vec<CandidateView>, StateError> {
    let candidates = candidates::all(state)?;
    let (now, free) = elections(state, params, &candidates)?;
    let (running, next) = (committee(state)?, next_committee(state)?);
    let seats_in = |committee: &Committee, node: &NodeId| {
        let member = committee.index_of(node).and_then(|index| committee.member(index));
        member.map_or(0, |member| member.shards.len() as u16)
    };
    let rows = rows::load(state)?;
    let views = candidates.into_iter().map(|candidate| {
        let node = candidate.node;
        let count = |kind| rows.of(&node).filter(|(_, row)| row.kind == kind).count() as u16;
        CandidateView {
            seats: seats_in(&running, &node),
            seats_next: next.as_ref().map(|next| seats_in(next, &node)),
            incoming: count(RowKind::Incoming),
            former: count(RowKind::Former),
            share: seats_of(&free, &node),
            bound: now.bounds.get(&node).cloned().unwrap_or(Bound::NotStanding),
            candidate,
        }
    });
    Ok(views.collect())
}

/// The election that would be held now with these candidates, and the same without limits on how much moves.
fn elections(
    state: &dyn StateRead,
    params: &Params,
    candidates: &[Candidate],
) -> Result<(Outcome, Outcome), StateError> {
    let rows = rows::load(state)?;
    let limited = lifecycle::election(state, params, candidates, (&committee(state)?, &rows))?;
    let mut free = limited.clone();
    (free.moves_max, free.by_choice_max) = (u16::MAX, u16::MAX);
    Ok((limited.hold(), free.hold()))
}

fn seats_of(outcome: &Outcome, node: &NodeId) -> u16 {
    outcome.seats.iter().filter(|holder| *holder == node).count() as u16
}

/// A candidacy that is thought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The node; one that is a candidate is taken as if it said the rest.
    pub node: NodeId,
    /// What would be bonded in all.
    pub stake: Frost,
    /// Bytes it would have room for.
    pub capacity_bytes: u64,
    /// What fails together with it.
    pub domain: String,
}

/// What a candidacy would come to if nothing else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The epoch with whose end the next election is held.
    pub elected_with: Epoch,
    /// The first epoch of the term that it is for.
    pub serves_from: Epoch,
    /// Seats it would get then.
    pub seats: u16,
    /// Seats it would come to in time.
    pub share: u16,
    /// Bytes that its first seats would have it gather.
    pub arriving_bytes: u64,
    /// Why it would get no more at first.
    pub bound: Bound,
}

/// What `proposal` would come to.
///
/// # Errors
/// [`StateError`].
pub fn preview(state: &dyn StateRead, params: &Params, proposal: &Proposal) -> Result<Preview, StateError> {
    let mut candidates = candidates::all(state)?;
    let stands = |candidate: &mut Candidate| {
        candidate.stake = proposal.stake;
        candidate.capacity_bytes = proposal.capacity_bytes;
        candidate.domain = proposal.domain.clone();
    };
    match candidates.iter_mut().find(|candidate| candidate.node == proposal.node) {
        Some(candidate) => stands(candidate),
        None => candidates.push(Candidate::imagined(proposal.node, stands)),
    }
    let (now, free) = elections(state, params, &candidates)?;
    let term = next_election_term(state, params)?;
    let held = rows::load(state)?.of(&proposal.node).filter(|(_, row)| row.kind == RowKind::Seat).count() as u16;
    let seats = seats_of(&now, &proposal.node);
    let gained = u64::from(seats.saturating_sub(held));
    Ok(Preview {
        elected_with: params.election_of(term),
        serves_from: params.term_ends(term).next(),
        seats,
        share: seats_of(&free, &proposal.node),
        arriving_bytes: lifecycle::kept_by_seat(state)?.saturating_mul(gained),
        bound: now.bounds.get(&proposal.node).cloned().unwrap_or(Bound::NotStanding),
    })
}

/// The epoch with whose end the next committee is chosen.
///
/// # Errors
/// [`StateError`].
pub fn next_election(state: &dyn StateRead, params: &Params) -> Result<Epoch, StateError> {
    Ok(params.election_of(next_election_term(state, params)?))
}

/// The term in which that epoch's end elects: the committee takes office when it ends.
fn next_election_term(state: &dyn StateRead, params: &Params) -> Result<u64, StateError> {
    let running = head(state)?.epoch;
    let term = params.term_of(running);
    // This term's election may be over, and a first term as short as its notice has none.
    Ok(if params.election_of(term) < running { term.saturating_add(1) } else { term })
}

/// Failure domains that hold more than half of `f` of the seats in office, fullest first.
///
/// # Errors
/// [`StateError`].
pub fn crowded_domains(state: &dyn StateRead, params: &Params) -> Result<Vec<(String, u16)>, StateError> {
    let candidates = candidates::all(state)?;
    let election = lifecycle::election(state, params, &candidates, (&committee(state)?, &rows::load(state)?))?;
    Ok(election::crowded(params.faulty(), &election.contenders, &election.seats))
}

/// Stakes of `node` on their way back, by the epoch with which they come.
///
/// # Errors
/// [`StateError`].
pub fn unbonding(state: &dyn StateRead, node: &NodeId) -> Result<Vec<(Epoch, Unbonding)>, StateError> {
    let mut found = Vec::new();
    for (key, value) in Table::Unbonding.all(state, &[])? {
        if key.get(8..) == Some(&node.0[..]) {
            found.push((Epoch(number_at(Table::Unbonding, &key, 0)?), Table::Unbonding.parse(&value)?));
        }
    }
    Ok(found)
}

/// Why a node may not be switched off yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It has seats and did not give notice.
    NoNotice {
        /// How many seats.
        seats: u16,
    },
    /// It has seats that are to go to others.
    Seats {
        /// How many.
        seats: u16,
        /// How many of them go at the end of this term, as was chosen already.
        going: u16,
    },
    /// It is chosen for more seats in the next term.
    Incoming {
        /// How many.
        seats: u16,
    },
    /// It has fragments that no other holder has attested yet.
    Needed {
        /// In how many shards.
        shards: u16,
        /// Of how many blobs at most.
        blobs: u64,
        /// The epoch with which it need not keep them any longer in any case.
        deadline: Epoch,
    },
}

/// Whether a node may be switched off for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanStop {
    /// It may: it has no row.
    Now,
    /// All it has is covered by others; with the beginning of this epoch its last row is gone.
    From {
        /// The epoch.
        epoch: Epoch,
    },
    /// It may not.
    NotYet {
        /// Why.
        why: Vec<Obstacle>,
        /// The first epoch in which it might, if all goes well.
        earliest: Epoch,
    },
}

/// Whether `node` may be switched off for good, from when on, and why not yet. A restart is another question.
///
/// # Errors
/// [`StateError`].
pub fn can_stop(state: &dyn StateRead, params: &Params, node: &NodeId) -> Result<CanStop, StateError> {
    let rows = rows::load(state)?;
    if rows.of(node).next().is_none() {
        return Ok(CanStop::Now);
    }
    let now = head(state)?.epoch;
    let of_kind = |kind| rows.of(node).filter(move |(_, row)| row.kind == kind);
    let (seats, incoming) = (of_kind(RowKind::Seat).count() as u16, of_kind(RowKind::Incoming).count() as u16);
    let candidate = candidates::candidate(state, node)?;
    let leaves = candidate.is_some_and(|candidate| matches!(candidate.standing, Standing::Leaving { .. }));
    let mut why = Vec::new();
    let mut earliest = now.next();
    if seats > 0 {
        let next = next_committee(state)?;
        let stays = next.as_ref().map(|next| {
            let member = next.index_of(node).and_then(|index| next.member(index));
            member.map_or(0, |member| member.shards.len() as u16)
        });
        let going = stays.map_or(0, |stays| seats.saturating_sub(stays));
        why.push(if leaves { Obstacle::Seats { seats, going } } else { Obstacle::NoNotice { seats } });
        // Each election takes so many; the last one's term must end, and an epoch be judged without this node.
        let elections = u64::from((seats - going).div_ceil(params.moves_by_choice()));
        let last = match elections.checked_sub(1) {
            Some(more) => next_election_term(state, params)?.saturating_add(more),
            None => params.term_of(now),
        };
        earliest = params.term_ends(last).next().next();
    }
    if incoming > 0 {
        why.push(Obstacle::Incoming { seats: incoming });
    }
    let end = next_sequence(state)?.0;
    let mine: Vec<(RowId, Row)> = of_kind(RowKind::Former).map(|(id, row)| (id, *row)).collect();
    let (needed, blobs) = needed(state, Table::Coverage, &rows, &mine, end)?;
    if let Some(since) = needed.iter().map(|row| row.since).max() {
        let deadline = since.checked_add(params.former_epochs).unwrap_or(Epoch(u64::MAX));
        why.push(Obstacle::Needed { shards: needed.len() as u16, blobs, deadline });
    }
    if !why.is_empty() {
        return Ok(CanStop::NotYet { why, earliest });
    }
    // Rows end by what the ended epoch was judged with: what was attested in this epoch counts with the next.
    let (judged, _) = self::needed(state, Table::Judged, &rows, &mine, end)?;
    Ok(CanStop::From { epoch: if judged.is_empty() { now.next() } else { now.next().next() } })
}

/// Those of the former rows `mine` that cover defended blobs which no seat's or incoming holder's row covers, and how many
/// blobs the segments have in which they do.
fn needed(
    state: &dyn StateRead,
    table: Table,
    rows: &rows::Rows,
    mine: &[(RowId, Row)],
    end: u64,
) -> Result<(Vec<Row>, u64), StateError> {
    if mine.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let mut found: BTreeMap<RowId, Row> = BTreeMap::new();
    let mut blobs = 0;
    let segments = coverage::segments(state, table, end)?;
    let starts: Vec<u64> = segments.iter().map(|segment| segment.run.first.0).collect();
    for (segment, weight) in segments.iter().zip(pages::weights(state, &starts)?) {
        let needed = lifecycle::needed(rows, [&segment.rows].into_iter());
        let held: Vec<_> = mine.iter().filter(|(id, _)| needed.contains(id)).collect();
        if !held.is_empty() && weight.blobs > 0 {
            blobs += weight.blobs;
            found.extend(held.into_iter().copied());
        }
    }
    Ok((found.into_values().collect(), blobs))
}
