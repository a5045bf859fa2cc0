//! Answers about risk: why a blob's verdict is what it is, what would happen next, and how nodes stand. Part of
//! [`crate::views`].
//!
//! | who asks | what |
//! | --- | --- |
//! | whose blob it is | [`explain`]: the verdict with its numbers, open tickets, and where repair would start |
//! | an operator | [`node_standing`], [`standings`], [`owed`]; [`boundary_plan`], [`class_verdicts`]; [`experience`], [`suspected`] |
//!
//! Rulers are computed when somebody asks: they cost an evaluation a node, and all classes are gone through. For people, not
//! for loops.

use crate::blobs;
use crate::candidates;
use crate::claims;
use crate::coverage;
use crate::debts;
use crate::evidence::{List, kept};
use crate::plan::{self, Planned, Ruler, RulerOf};
use crate::records::Defence;
use crate::repairs::{Batch, Ticket};
use crate::reports::{self, MemberAttendance};
use crate::rows::{self, RowKind, RowSet};
use crate::standing::{self, Assembly, Gauges};
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use crate::verdict::{Judge, Verdict, VerdictRecord};
use crate::views::{committee_of, epoch_record, head, latest_decided, next_sequence, tickets, verdict};
use floe_risk::hazard::Experience;
use floe_risk::reliability::{Cause, Rank, Reliability};
use floe_types::{BlobId, Epoch, EpochCount, Frost, NodeId, Params, SequenceNumber};
use std::collections::BTreeMap;

/// Why a blob's verdict is what it is, and what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its place in the order of certification.
    pub sequence: SequenceNumber,
    /// What the epoch that ended last came to; none when the blob was certified since.
    pub record: Option<VerdictRecord>,
    /// What was decided last, when that epoch was not decided.
    pub decided: Option<VerdictRecord>,
    /// Its class as it is judged now, in shards, with the line at which repair would start; none when it is not defended.
    pub ruler: Option<Ruler>,
    /// Tickets that name it and whose targets do not cover it yet.
    pub tickets: Vec<Ticket>,
}

/// Why the verdict on `blob` is what it is; none when it was never certified.
///
/// # Errors
/// [`StateError`].
pub fn explain(state: &dyn StateRead, params: &Params, blob: &BlobId) -> Result<Option<Explanation>, StateError> {
    let Some(sequence) = blobs::record(state, blob)?.and_then(|record| record.sequence) else { return Ok(None) };
    let ended = head(state)?.epoch.0.checked_sub(1).map(Epoch);
    let record = ended.map(|epoch| verdict(state, blob, epoch)).transpose()?.flatten();
    let known = latest_decided(state)?.map(|record| record.epoch).filter(|epoch| Some(*epoch) != ended);
    let decided = known.map(|epoch| verdict(state, blob, epoch)).transpose()?.flatten();
    let is_defended = blobs::life(state, sequence)?.is_some_and(|life| life.defence == Defence::Defended);
    let ruler = if is_defended { ruler(state, params, sequence)? } else { None };
    let open = if is_defended { open_tickets(state, params, sequence)? } else { Vec::new() };
    Ok(Some(Explanation { sequence, record, decided, ruler, tickets: open }))
}

/// The ruler of the class that blob `number` is in now; none when there is no such blob.
///
/// # Errors
/// [`StateError`].
pub fn ruler(state: &dyn StateRead, params: &Params, number: SequenceNumber) -> Result<Option<Ruler>, StateError> {
    plan::ruler(state, params, RulerOf::Blob(number))
}

/// A margin in failure domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainMargin {
    /// How many, the largest first, may vanish before a read fails.
    pub domains: u16,
    /// How many hold something and answered.
    pub of_domains: u16,
}

/// What the blobs of `record` could lose in failure domains, in the epoch that it is about. Domains are those of today: what
/// members declare, and who has been seen to fall silent together. None when the epoch is no longer remembered.
///
/// # Errors
/// [`StateError`].
pub fn domain_margin(
    state: &dyn StateRead,
    params: &Params,
    record: &VerdictRecord,
) -> Result<Option<DomainMargin>, StateError> {
    let Some(epoch) = epoch_record(state, record.epoch)? else { return Ok(None) };
    let Some(committee) = committee_of(state, epoch.term)? else { return Ok(None) };
    let domains = Assembly::of(state, &standing::constants(params))?.domains(&committee);
    let judge = Judge::new(&committee, &epoch.participation(), record.epoch, rows::as_of(state, record.epoch)?);
    let (domains, of_domains) = judge.domains(&record.class, &domains);
    Ok(Some(DomainMargin { domains, of_domains }))
}

/// The defended class that could lose least, in the epoch that was decided last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinnestClass {
    /// What was decided about it.
    pub record: VerdictRecord,
    /// Its margin in failure domains.
    pub domains: DomainMargin,
}

/// The thinnest defended class of the epoch that was decided last; none when nothing was decided about any.
///
/// # Errors
/// [`StateError`].
pub fn thinnest(state: &dyn StateRead, params: &Params) -> Result<Option<ThinnestClass>, StateError> {
    let Some(decided) = latest_decided(state)?.map(|record| record.epoch) else { return Ok(None) };
    let judged = class_verdicts(state, decided)?
        .into_iter()
        .filter(|record| !matches!(record.verdict, Verdict::Undecided | Verdict::Forgotten | Verdict::Invalid));
    let Some(record) = judged.min_by_key(|record| (record.margin_shards, record.margin_nodes)) else { return Ok(None) };
    let domains = domain_margin(state, params, &record)?.unwrap_or_default();
    Ok(Some(ThinnestClass { record, domains }))
}

/// The ruler of the blobs that the rows of `class` cover, as things are now; none when one of the rows is gone. Costs an
/// evaluation of risk a member.
///
/// # Errors
/// [`StateError`].
pub fn ruler_of(state: &dyn StateRead, params: &Params, class: &RowSet) -> Result<Option<Ruler>, StateError> {
    plan::ruler(state, params, RulerOf::Rows(class))
}

/// The tickets that name blob `number` and whose targets do not cover it.
fn open_tickets(state: &dyn StateRead, params: &Params, number: SequenceNumber) -> Result<Vec<Ticket>, StateError> {
    let constants = standing::constants(params);
    let rows = rows::load(state)?;
    let covering = coverage::covered(state, Table::Coverage, number.0, next_sequence(state)?.0)?;
    let mut open = tickets(state)?;
    open.retain(|ticket| {
        let row = rows.find(ticket.shard, &ticket.target);
        ticket.scope.contains(&constants, number) && row.is_none_or(|row| !covering.contains(row))
    });
    Ok(open)
}

/// What an epoch was for one member, slot by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEpoch {
    /// The epoch that ended last.
    pub epoch: Epoch,
    /// Slots that were decided, one bit each from the lowest.
    pub slots: u8,
    /// What it came to for the member.
    pub attendance: MemberAttendance,
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStanding {
    /// The node.
    pub node: NodeId,
    /// What it may do.
    pub rank: Rank,
    /// Its slow average.
    pub reliability: Reliability,
    /// Decided epochs in a row in which it was absent, and others in which its report was not opened.
    pub silent: EpochCount,
    /// The epoch in which that began.
    pub silent_since: Option<Epoch>,
    /// Since when it is excluded for absence or for what was missing, and why.
    pub excluded: Option<(Epoch, Cause)>,
    /// The first term that it may be chosen for again.
    pub until_term: Option<u64>,
    /// How often it was excluded before.
    pub relapses: u32,
    /// The gauge of its integrity, in millionths of a nat.
    pub integrity: u64,
    /// Where that trips.
    pub trips_at: u64,
    /// When it tripped last.
    pub tripped: Option<Epoch>,
    /// The last epoch in which it may make again what it lost honestly; none when that is over or never was.
    pub rebuilds_until: Option<Epoch>,
    /// Shards of which it keeps some fragments for others.
    pub stands_in: u16,
    /// Tickets that it is the target of.
    pub tickets: u64,
    /// What it owes the repair reserve.
    pub owed: Frost,
    /// Bytes of fragments that it rebuilt for others and is not paid for yet.
    pub unpaid_bytes: u64,
    /// What the epoch that ended last was for it; none when it was no member of that committee.
    pub last: Option<LastEpoch>,
}

/// How `node` stands; none when nothing is remembered of it.
///
/// # Errors
/// [`StateError`].
pub fn node_standing(
    state: &dyn StateRead,
    params: &Params,
    node: &NodeId,
) -> Result<Option<NodeStanding>, StateError> {
    Ok(standings(state, params)?.into_iter().find(|standing| standing.node == *node))
}

/// How every node stands that was a member and is remembered, by node.
///
/// # Errors
/// [`StateError`].
pub fn standings(state: &dyn StateRead, params: &Params) -> Result<Vec<NodeStanding>, StateError> {
    let constants = standing::constants(params);
    let assembly = Assembly::of(state, &constants)?;
    let (rows, tickets) = (rows::load(state)?, tickets(state)?);
    let now = head(state)?.epoch;
    let (last, waiting) = (last_epoch(state)?, claims::waiting(state, &rows)?);
    let standing = |(node, gauges): (&NodeId, &Gauges)| {
        let candidate = candidates::candidate(state, node)?;
        let until_term = candidate.and_then(|candidate| match candidate.standing {
            candidates::Standing::Excluded { until, .. } => Some(until),
            _ => None,
        });
        Ok(NodeStanding {
            node: *node,
            rank: assembly.rank(node),
            reliability: gauges.record.average,
            silent: gauges.age,
            silent_since: gauges.silent_since,
            excluded: gauges.record.excluded,
            until_term,
            relapses: gauges.record.relapses,
            integrity: gauges.integrity.level,
            trips_at: constants.gauge.trip,
            tripped: gauges.integrity.tripped,
            rebuilds_until: gauges.rebuilds_until(&constants).filter(|last| *last >= now),
            stands_in: rows.of(node).filter(|(_, row)| row.kind == RowKind::StandIn).count() as u16,
            tickets: tickets.iter().filter(|ticket| ticket.target == *node).count() as u64,
            owed: debts::owed(state, node)?,
            unpaid_bytes: waiting.get(node).copied().unwrap_or(0),
            last: last.get(node).copied(),
        })
    };
    assembly.gauges.iter().map(standing).collect()
}

/// What the epoch that ended last was for each member of its committee.
fn last_epoch(state: &dyn StateRead) -> Result<BTreeMap<NodeId, LastEpoch>, StateError> {
    let Some(epoch) = head(state)?.epoch.0.checked_sub(1).map(Epoch) else { return Ok(BTreeMap::new()) };
    let Some(record) = epoch_record(state, epoch)? else { return Ok(BTreeMap::new()) };
    let (committee, attended) = (committee_of(state, record.term)?, reports::attendance(state, epoch)?);
    let (Some(committee), Some(attended)) = (committee, attended) else { return Ok(BTreeMap::new()) };
    let members = committee.members().iter().zip(attended.members);
    let slots = attended.slots;
    Ok(members.map(|(member, attendance)| (member.node, LastEpoch { epoch, slots, attendance })).collect())
}

/// What `node` owes the repair reserve.
///
/// # Errors
/// [`StateError`].
pub fn owed(state: &dyn StateRead, node: &NodeId) -> Result<Frost, StateError> {
    debts::owed(state, node)
}

/// What a boundary planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundaryPlan {
    /// The epoch that ended with it.
    pub ended: Epoch,
    /// Counted.
    pub planned: Planned,
    /// The tickets, the most urgent classes first.
    pub batches: Vec<Batch>,
}

/// What the boundary that ended `epoch` planned; none when that is not remembered.
///
/// # Errors
/// [`StateError`].
pub fn boundary_plan(state: &dyn StateRead, epoch: Epoch) -> Result<Option<BoundaryPlan>, StateError> {
    let Some(record) = epoch_record(state, epoch)? else { return Ok(None) };
    let leaves = kept::leaves(state, epoch, List::Tickets)?;
    let batches: Result<Vec<Batch>, StateError> = leaves.iter().map(|leaf| Table::Lists.parse(leaf)).collect();
    Ok(Some(BoundaryPlan { ended: epoch, planned: record.boundary.planned, batches: batches? }))
}

/// What was decided about each class in `epoch`, the most urgent first; none when it is not remembered. Classes that past rows or
/// marks tell apart are listed each.
///
/// # Errors
/// [`StateError`].
pub fn class_verdicts(state: &dyn StateRead, epoch: Epoch) -> Result<Vec<VerdictRecord>, StateError> {
    let leaves = kept::leaves(state, epoch, List::Verdicts)?;
    let record = |leaf: &Vec<u8>| {
        let (record, _): (VerdictRecord, RowSet) = Table::Lists.parse(leaf)?;
        Ok(record)
    };
    let mut records = leaves.iter().map(record).collect::<Result<Vec<_>, StateError>>()?;
    records.sort_by_key(|record| std::cmp::Reverse(record.risk.urgency));
    Ok(records)
}

/// What the network has seen of departures and of lost domains.
///
/// # Errors
/// [`StateError`].
pub fn experience(state: &dyn StateRead) -> Result<Experience, StateError> {
    Ok(standing::climate(state)?.experience)
}

/// Pairs of nodes that fall silent together more often than chance allows: they are taken to be in one failure domain.
///
/// # Errors
/// [`StateError`].
pub fn suspected(state: &dyn StateRead) -> Result<Vec<(NodeId, NodeId)>, StateError> {
    let gauges = standing::all(state)?;
    let named = |number: u16| gauges.iter().find(|(_, gauges)| gauges.number == number).map(|(node, _)| *node);
    let climate = standing::climate(state)?;
    Ok(climate.onsets.flagged().filter_map(|(one, other)| Some((named(one)?, named(other)?))).collect())
}
