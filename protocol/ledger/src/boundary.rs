//! The boundary: what an epoch comes to, computed in the first block of the next.
//!
//! In this order:
//!
//! 1. who took part, from the reports;
//! 2. a verdict for each class by which the epoch is judged; the root of the map of segments says which blobs are in which;
//! 3. what changed since the epoch before;
//! 4. registrations that were not certified in time lapse and are paid back;
//! 5. when a term ends the prices move; registrations with a budget that would end are renewed;
//! 6. blobs whose last paid epoch this was are forgotten: their verdict for it stands, they are in no later one;
//! 7. the epoch's bucket and the fees are paid out;
//! 8. attestations begin to count, the oldest first and so many at a boundary; its reports are dropped, what is older than 400 epochs is dropped;
//! 9. committees: former holders are let go, a term's end is carried out, the next committee chosen ([`crate::lifecycle`]);
//! 10. the roots of what stands now.
//!
//! It costs what changed, lapsed and ended, and the number of classes; never the number of blobs or of segments.

use crate::blobs;
use crate::block::BoundaryHeader;
use crate::classes;
use crate::coverage::{self, Notes, Settled};
use crate::event::Event;
use crate::evidence::{self, List, committee_root};
use crate::fund::{self, Paid};
use crate::lifecycle::{self, Ending};
use crate::merkle::{Map, Weight};
use crate::money;
use crate::pages;
use crate::prices;
use crate::records::{Defence, EpochRecord, Head};
use crate::rows::{self, RowSet, Rows};
use crate::sets::MemberSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::terms;
use crate::verdict::{Cause, Judge, Participation, Subject, Tally, Thinnest, Transition, Verdict, VerdictRecord};
use floe_types::{BlockTime, Committee, Epoch, MemberIndex, Params, SequenceNumber, codec};
use std::collections::BTreeMap;

/// Epochs that are remembered.
pub const HISTORY_EPOCHS: u64 = 400;

/// Segments of coverage that attestations and withdrawals change at one boundary before the rest waits for the next: each costs some
/// 14 microseconds, so about half a second. Far fewer would let a repair of many blobs count late.
pub const SETTLED_SEGMENTS_MAX: usize = 32_768;

/// What a boundary gives.
pub(crate) struct Ended {
    pub header: BoundaryHeader,
    pub events: Vec<Event>,
    /// Of the epoch that begins.
    pub committee: Committee,
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

fn drop_reports(overlay: &mut Overlay<'_>, reports: &BTreeMap<MemberIndex, MemberSet>) {
    for member in reports.keys() {
        overlay.delete(Table::Reports.key(&[&member.0.to_be_bytes()]));
    }
}

/// The classes that are judged, past rows and marks left out, with what they weigh.
fn judged(all: &BTreeMap<RowSet, Weight>, idle: &RowSet) -> BTreeMap<RowSet, Weight> {
    let mut classes: BTreeMap<RowSet, Weight> = BTreeMap::new();
    for (rows, weight) in all {
        let entry = classes.entry(rows.difference(idle)).or_default();
        *entry = entry.plus(*weight);
    }
    classes
}

/// The leaves of the list of verdicts: one for each set of rows that coverage names, in their order.
fn leaves(all: BTreeMap<RowSet, Weight>, idle: &RowSet, records: &[VerdictRecord]) -> Vec<Vec<u8>> {
    let by_class: BTreeMap<&RowSet, &VerdictRecord> = records.iter().map(|record| (&record.class, record)).collect();
    let leaf = |rows: RowSet| {
        let record = by_class.get(&rows.difference(idle))?;
        Some(codec::encode(&(record, rows.difference(&record.class))))
    };
    all.into_keys().filter_map(leaf).collect()
}

/// The verdicts and their count.
fn verdicts(judge: &Judge<'_>, classes: &BTreeMap<RowSet, Weight>) -> (Vec<VerdictRecord>, Tally) {
    let mut tally = Tally { classes: classes.len() as u64, ..Tally::default() };
    let mut records = Vec::with_capacity(classes.len());
    for (class, weight) in classes {
        let record = judge.verdict(class);
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

/// Classes whose verdict for `epoch` is another than the same rows had in the epoch before; none when that is not remembered.
fn changed(
    state: &dyn StateRead,
    running: &Committee,
    records: &[VerdictRecord],
    epoch: Epoch,
) -> Result<Vec<Transition>, StateError> {
    let before = epoch.0.checked_sub(1).map(|before| epoch_record(state, Epoch(before))).transpose()?.flatten();
    let Some(before) = before else { return Ok(Vec::new()) };
    let past = if before.term == running.term() { None } else { lifecycle::past_committee(state, before.term)? };
    let committee = past.as_ref().unwrap_or(running);
    let rows = rows::as_of(state, before.epoch)?;
    let judge = Judge::new(committee, &before.participation(), before.epoch, rows);
    let change = |record: &VerdictRecord| {
        let from = judge.verdict(&record.class).verdict;
        let unsure = from == Verdict::Undecided || record.verdict == Verdict::Undecided;
        let cause = if unsure { Cause::Quorum } else { Cause::Answers };
        let subject = Subject::Class(record.class.clone());
        (from != record.verdict).then_some(Transition { epoch: record.epoch, subject, from, to: record.verdict, cause })
    };
    Ok(records.iter().filter_map(change).collect())
}

pub(crate) fn epoch_record(state: &dyn StateRead, epoch: Epoch) -> Result<Option<EpochRecord>, StateError> {
    Table::Epochs.load(state, &Table::Epochs.number(epoch.0))
}

/// Drops what is no longer remembered once `ended` has ended.
fn prune(overlay: &mut Overlay<'_>, ended: Epoch, params: &Params) -> Result<(), StateError> {
    let Some(old) = ended.0.checked_sub(HISTORY_EPOCHS) else { return Ok(()) };
    overlay.delete(Table::Epochs.number(old));
    evidence::drop_lists(overlay, Epoch(old))?;
    for (key, _) in Table::Changes.all(overlay, &old.to_be_bytes())? {
        overlay.delete(Table::Changes.key(&[&key]));
    }
    lifecycle::prune(overlay, Epoch(old), params);
    rows::prune(overlay, Epoch(old))
}

/// Takes segments in which everything was just forgotten into their neighbours: dead numbers belong to what surrounds them.
fn absorb(
    overlay: &mut Overlay<'_>,
    notes: &mut Notes,
    forgotten: &[SequenceNumber],
    end: u64,
) -> Result<(), StateError> {
    let mut looked_at: Option<SequenceNumber> = None;
    for number in forgotten {
        if looked_at.is_some_and(|last| *number <= last) {
            continue;
        }
        let found = coverage::segments_from(overlay, Table::Judged, number.0, end, 1)?;
        let Some(run) = found.first().map(|segment| segment.run) else { continue };
        looked_at = Some(run.last);
        let weights = pages::weights(overlay, &[run.first.0, run.last.0.saturating_add(1)])?;
        if weights.first().is_some_and(|weight| weight.blobs == 0) {
            let before = coverage::absorb(overlay, Table::Judged, run, end)?;
            coverage::absorb(overlay, Table::Coverage, run, end)?;
            notes.add(overlay, before.into_iter().collect());
        }
    }
    Ok(())
}

/// Forgets what is not paid for beyond the judged epoch; `end` is one past the newest blob. The numbers of what was forgotten, in order.
fn forget(
    overlay: &mut Overlay<'_>,
    params: &Params,
    (judge, epoch): (&Judge<'_>, Epoch),
    end: u64,
    (transitions, tally): (&mut Vec<Transition>, &mut Tally),
) -> Result<(Vec<SequenceNumber>, Vec<Event>), StateError> {
    let (mut dead, mut events) = (Vec::new(), Vec::new());
    let mut left: BTreeMap<RowSet, Weight> = BTreeMap::new();
    for (sequence, life) in blobs::forget(overlay, params, epoch)? {
        let class = coverage::covered(overlay, Table::Judged, sequence.0, end)?;
        let from = judge.verdict(&class).verdict;
        let (to, cause) = match life.defence {
            Defence::Invalid => (Verdict::Invalid, Cause::Encoding),
            Defence::Deleted => (Verdict::Forgotten, Cause::Deleted),
            _ => (Verdict::Forgotten, Cause::Term),
        };
        let subject = Subject::Blob(sequence);
        transitions.push(Transition { epoch, subject, from, to, cause });
        let fragment_bytes = blobs::fragment_bytes(params.shards, life.length);
        let weight = Weight { blobs: 1, bytes: u128::from(life.length), fragment_bytes };
        dead.push(sequence);
        if life.defence == Defence::Invalid {
            // It left its class when it was found.
            tally.invalid = tally.invalid.plus(weight);
            continue;
        }
        tally.forgotten = tally.forgotten.plus(weight);
        let of_class = left.entry(class).or_default();
        *of_class = of_class.plus(weight);
        events.push(Event::BlobForgotten { blob: life.blob, sequence, last: life.last, defence: life.defence });
    }
    for (rows, weight) in left {
        classes::take(overlay, &rows, weight)?;
    }
    Ok((dead, events))
}

/// Lets attestations and withdrawals count, as many as one boundary takes; pauses that are over end, new ones begin.
fn settle(
    overlay: &mut Overlay<'_>,
    notes: &mut Notes,
    (params, rows): (&Params, &Rows),
    next: Epoch,
    end: u64,
) -> Result<Settled, StateError> {
    let until = next.checked_add(params.pay_pause).unwrap_or(Epoch(u64::MAX));
    let mut changed = rows.clone();
    changed.resume(next);
    let mut pause = |lost: &RowSet| match params.pay_pause.0 {
        0 => RowSet::new(),
        _ => changed.pause(lost, until),
    };
    let live = |said: &RowSet| said.iter().filter(|row| rows.get(*row).is_some()).collect();
    let settled = coverage::settle(overlay, notes, &live, &mut pause, (SETTLED_SEGMENTS_MAX, end))?;
    if changed != *rows {
        rows::store(overlay, &changed);
    }
    Ok(settled)
}

/// Ends the running epoch with a block of `time` on top of `head`.
pub(crate) fn end_epoch(
    overlay: &mut Overlay<'_>,
    (params, committee): (&Params, &Committee),
    head: &Head,
    time: BlockTime,
) -> Result<Ended, StateError> {
    let epoch = head.epoch;
    let reports = reports(overlay)?;
    let participation = Participation::of(committee, &reports);
    let mut counters = blobs::counters(overlay)?;
    // As the epoch is judged: nothing of this boundary is in it yet.
    let classes_root = pages::root(overlay, Map::Segments)?.0;
    let covering = classes::all(overlay)?;
    let rows = rows::load(overlay)?;
    let judge = Judge::new(committee, &participation, epoch, rows.iter().map(|(id, row)| (id, *row)));
    let idle = rows.idle();
    let classes = judged(&covering, &idle);
    let (records, mut tally) = verdicts(&judge, &classes);
    let mut transitions = changed(overlay, committee, &records, epoch)?;

    let mut events = blobs::lapse(overlay, params, epoch)?;
    prices::turn(overlay, params, committee, epoch)?;
    events.extend(terms::renew_all(overlay, params, epoch)?);
    let end = counters.next_sequence;
    let (dead, dropped) = forget(overlay, params, (&judge, epoch), end, (&mut transitions, &mut tally))?;
    events.extend(dropped);
    // What follows weighs what is left.
    pages::flush(overlay)?;
    let paid = Paid { committee, participation: &participation, rows: &rows, classes: &covering };
    let (payout, earned) = fund::turn(overlay, &paid, epoch)?;
    events.extend(earned);
    let mut notes = Notes::new(epoch.next());
    if settle(overlay, &mut notes, (params, &rows), epoch.next(), end)? == Settled::All {
        counters.attested = 0;
    }
    absorb(overlay, &mut notes, &dead, end)?;
    blobs::put_counters(overlay, &counters);
    drop_reports(overlay, &reports);
    prune(overlay, epoch, params)?;
    let ending = Ending { params, committee, epoch, classes: &classes, end };
    let (office, turned) = ending.turn(overlay, &mut notes)?;
    events.extend(turned);
    notes.finish(overlay)?;

    let leaves = leaves(covering, &idle, &records);
    let verdict_root = evidence::keep(overlay, epoch, List::Verdicts, leaves);
    let transitions = transitions.iter().map(codec::encode).collect();
    evidence::note_term(overlay, epoch.next(), head.height.next(), &office)?;
    let header = BoundaryHeader {
        ended: epoch,
        decision: participation.decision,
        reporters: participation.reporters,
        answered: participation.answered,
        verdict_root,
        classes_root,
        transitions_root: evidence::keep(overlay, epoch, List::Transitions, transitions),
        committee_root: committee_root(&office),
        term: office.term(),
        tally,
        totals: money::totals(overlay)?,
        next_committee_root: lifecycle::next_committee(overlay)?.as_ref().map(committee_root),
        payout,
        prices: prices::prices(overlay)?,
    };
    money::assert_conserved(overlay)?;
    let (began, height, boundary) = (head.epoch_began, head.height.next(), header.clone());
    let record = EpochRecord { epoch, began, ended: time, height, boundary, term: committee.term() };
    Table::Epochs.store(overlay, Table::Epochs.number(epoch.0), &record);
    events.push(Event::EpochEnded { epoch, decision: header.decision, verdict_root });
    Ok(Ended { header, events, committee: office })
}
