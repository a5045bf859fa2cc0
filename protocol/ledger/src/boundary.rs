//! The boundary: what an epoch comes to, computed in the first block of the next.
//!
//! In this order:
//!
//! 1. who took part, from the reports;
//! 2. the classes, from the segments by which the epoch is judged, with what they weigh; a verdict for each;
//! 3. what changed since the epoch before;
//! 4. registrations that were not certified in time lapse and are paid back;
//! 5. blobs whose last paid epoch this was are forgotten: their verdict for it stands, they are in no later one;
//! 6. the epoch's bucket closes;
//! 7. its attestations begin to count, its reports are dropped, what is older than 400 epochs is dropped;
//! 8. the roots of what stands now.
//!
//! It costs what changed, lapsed and ended, and the number of segments; never the number of blobs.

use crate::blobs;
use crate::block::BoundaryHeader;
use crate::coverage::{self, Segment};
use crate::event::Event;
use crate::evidence::{self, List};
use crate::merkle::{self, Map, Weight};
use crate::money;
use crate::records::{EpochRecord, Head};
use crate::sets::{MemberSet, ShardSet};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::verdict::{Cause, Participation, Subject, Tally, Thinnest, Transition, Verdict, VerdictRecord, judge};
use floe_types::{BlockTime, Committee, Epoch, MemberIndex, codec};
use std::collections::BTreeMap;

/// Epochs that are remembered.
pub const HISTORY_EPOCHS: u64 = 400;

/// What a boundary gives.
pub(crate) struct Ended {
    pub header: BoundaryHeader,
    pub events: Vec<Event>,
}

/// The reports of the running epoch.
fn reports(state: &dyn StateRead) -> Result<BTreeMap<MemberIndex, MemberSet>, StateError> {
    let entries = Table::Reports.all(state, &[])?.into_iter().map(|(key, value)| {
        let member: [u8; 2] =
            key.as_slice().try_into().map_err(|_| Table::Reports.damaged("a key is not two bytes"))?;
        Ok((MemberIndex(u16::from_be_bytes(member)), Table::Reports.parse(&value)?))
    });
    entries.collect()
}

/// Leaves of a list that the boundary commits to.
type Leaves = Vec<Vec<u8>>;

/// The classes with what they weigh, and the segments that make them.
fn classes(segments: &[Segment], state: &dyn StateRead) -> Result<(BTreeMap<ShardSet, Weight>, Leaves), StateError> {
    let mut weights: BTreeMap<ShardSet, Weight> = BTreeMap::new();
    let mut live = Vec::new();
    for segment in segments {
        let (first, last) = (segment.run.first.0.to_be_bytes(), segment.run.last.0.to_be_bytes());
        let weight = merkle::weigh(state, Map::BySequence, &first, &last)?;
        if weight.blobs > 0 {
            let class = weights.entry(segment.covered.clone()).or_default();
            *class = class.plus(weight);
            live.push(segment);
        }
    }
    let places: BTreeMap<&ShardSet, u64> = weights.keys().zip(0..).collect();
    let leaves = live.iter().map(|segment| codec::encode(&(segment.run, places.get(&segment.covered)))).collect();
    Ok((weights, leaves))
}

/// The verdicts and their count.
fn verdicts(
    committee: &Committee,
    participation: &Participation,
    epoch: Epoch,
    classes: &BTreeMap<ShardSet, Weight>,
) -> (Vec<VerdictRecord>, Tally) {
    let mut tally = Tally { classes: classes.len() as u64, ..Tally::default() };
    let mut records = Vec::with_capacity(classes.len());
    for (class, weight) in classes {
        let record = judge(committee, participation, epoch, class);
        let counted = tally.verdicts.entry(record.verdict).or_default();
        *counted = counted.plus(*weight);
        if record.verdict != Verdict::Undecided {
            thinner(&mut tally.thinnest, &record, *weight);
        }
        records.push(record);
    }
    (records, tally)
}

fn thinner(thinnest: &mut Option<Thinnest>, record: &VerdictRecord, blobs: Weight) {
    let (margin_shards, margin_nodes, nodes) = (record.margin_shards, record.margin_nodes, record.nodes);
    match thinnest {
        Some(least) if (least.margin_shards, least.margin_nodes) < (margin_shards, margin_nodes) => {}
        Some(least) if (least.margin_shards, least.margin_nodes) == (margin_shards, margin_nodes) => {
            least.blobs = least.blobs.plus(blobs);
        }
        _ => *thinnest = Some(Thinnest { margin_shards, margin_nodes, nodes, blobs }),
    }
}

/// Classes whose verdict is another than the same shards had in the epoch before.
fn changed(committee: &Committee, records: &[VerdictRecord], before: Option<&EpochRecord>) -> Vec<Transition> {
    let Some(before) = before else { return Vec::new() };
    let participation = before.participation();
    let change = |record: &VerdictRecord| {
        let from = judge(committee, &participation, before.epoch, &record.class).verdict;
        let unsure = from == Verdict::Undecided || record.verdict == Verdict::Undecided;
        let cause = if unsure { Cause::Quorum } else { Cause::Answers };
        let subject = Subject::Class(record.class.clone());
        (from != record.verdict).then_some(Transition { epoch: record.epoch, subject, from, to: record.verdict, cause })
    };
    records.iter().filter_map(change).collect()
}

pub(crate) fn epoch_record(state: &dyn StateRead, epoch: Epoch) -> Result<Option<EpochRecord>, StateError> {
    Table::Epochs.load(state, &Table::Epochs.number(epoch.0))
}

/// Drops what is no longer remembered once `ended` has ended.
fn prune(overlay: &mut Overlay<'_>, ended: Epoch) -> Result<(), StateError> {
    let Some(old) = ended.0.checked_sub(HISTORY_EPOCHS) else { return Ok(()) };
    overlay.delete(Table::Epochs.number(old));
    evidence::drop_lists(overlay, Epoch(old))?;
    for (key, _) in Table::Changes.all(overlay, &old.to_be_bytes())? {
        overlay.delete(Table::Changes.key(&[&key]));
    }
    Ok(())
}

/// Ends the running epoch with a block of `time` on top of `head`.
pub(crate) fn end_epoch(
    overlay: &mut Overlay<'_>,
    committee: &Committee,
    head: &Head,
    time: BlockTime,
) -> Result<Ended, StateError> {
    let epoch = head.epoch;
    let reports = reports(overlay)?;
    let participation = Participation::of(committee, &reports);
    let mut counters = blobs::counters(overlay)?;
    let segments = coverage::segments(overlay, Table::Judged, counters.next_sequence)?;
    let (classes, segments) = classes(&segments, overlay)?;
    let (records, mut tally) = verdicts(committee, &participation, epoch, &classes);
    let before = epoch.0.checked_sub(1).map(|before| epoch_record(overlay, Epoch(before))).transpose()?.flatten();
    let mut transitions = changed(committee, &records, before.as_ref());

    let mut events = blobs::lapse(overlay, epoch)?;
    for (sequence, life) in blobs::forget(overlay, epoch)? {
        let class = coverage::covered(overlay, Table::Judged, sequence.0, counters.next_sequence)?;
        let from = judge(committee, &participation, epoch, &class).verdict;
        let (subject, to, cause) = (Subject::Blob(sequence), Verdict::Forgotten, Cause::Term);
        transitions.push(Transition { epoch, subject, from, to, cause });
        tally.forgotten = tally.forgotten.plus(Weight { blobs: 1, bytes: u128::from(life.length) });
        events.push(Event::BlobForgotten { blob: life.blob, sequence, last: life.last });
    }
    money::turn(overlay, epoch, participation.decision)?;
    coverage::settle(overlay, epoch.next(), counters.attested, counters.next_sequence)?;
    counters.attested = 0;
    blobs::put_counters(overlay, &counters);
    for member in reports.keys() {
        overlay.delete(Table::Reports.key(&[&member.0.to_be_bytes()]));
    }
    prune(overlay, epoch)?;

    let verdict_root = evidence::keep(overlay, epoch, List::Verdicts, records.iter().map(codec::encode).collect());
    let transitions = transitions.iter().map(codec::encode).collect();
    evidence::note_term(overlay, epoch.next(), head.height.next(), committee)?;
    let header = BoundaryHeader {
        ended: epoch,
        decision: participation.decision,
        reporters: participation.reporters,
        answered: participation.answered,
        verdict_root,
        classes_root: evidence::keep(overlay, epoch, List::Classes, segments),
        transitions_root: evidence::keep(overlay, epoch, List::Transitions, transitions),
        committee_root: evidence::committee_root(committee),
        term: committee.term(),
        tally,
        totals: money::totals(overlay)?,
    };
    money::assert_conserved(overlay)?;
    let (began, height, boundary) = (head.epoch_began, head.height.next(), header.clone());
    let record = EpochRecord { epoch, began, ended: time, height, boundary };
    Table::Epochs.store(overlay, Table::Epochs.number(epoch.0), &record);
    events.push(Event::EpochEnded { epoch, decision: header.decision, verdict_root });
    Ok(Ended { header, events })
}
