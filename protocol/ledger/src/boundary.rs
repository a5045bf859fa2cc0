//! The boundary: what an epoch comes to, computed in the first block of the next.
//!
//! In this order:
//!
//! 1. who took part, from the reports ([`crate::reports`]), and how each node stands after it ([`crate::standing`]);
//! 2. what each class risks ([`crate::plan`]); the root of the map of segments says which blobs are in which;
//! 4. registrations that were not certified in time lapse and are paid back;
//! 5. when a term ends the prices move; registrations with a budget that would end are renewed;
//! 6. blobs whose last paid epoch this was are forgotten: their verdict for it stands, they are in no later one;
//!    What is to be rebuilt of the rest is planned, and with that there is a verdict for each class by which the epoch is judged
//!    and what changed since the epoch before;
//! 7. the epoch's bucket and the fees are paid out, the reserve pays for repair, debts are taken out of what was earned;
//! 8. attestations begin to count, the oldest first and so many at a boundary, and stand-ins' claims with them; its reports are dropped, the next epoch's beacon
//!    is made, what is older than 400 epochs is dropped;
//! 9. committees: former holders are let go, a term's end is carried out, the next committee chosen ([`crate::lifecycle`]);
//! 10. tickets, and the rows of stand-ins;
//! 11. the roots of what stands now.
//!
//! It costs what changed, lapsed and ended, and the number of classes; never the number of blobs. While something is under
//! repair it looks at every segment once.

use crate::blobs;
use crate::block::BoundaryHeader;
use crate::challenges;
use crate::claims::{Gathering, Payday};
use crate::classes;
use crate::coverage::{self, Notes, Settled};
use crate::debts;
use crate::event::Event;
use crate::evidence::{self, List, committee_root};
use crate::fund::{self, Paid, Payout};
use crate::lifecycle::{self, Ending};
use crate::merkle::{Map, Root, Weight};
use crate::money;
use crate::pages;
use crate::plan::{self, Carrying, Desk, Plan, Planned, Scene};
use crate::prices;
use crate::records::{Counters, Defence, EpochRecord, Head};
use crate::repairs;
use crate::reports::{self, Attendance};
use crate::rows::{self, RowKind, RowSet, Rows};
use crate::standing::{self, Assembly, Taken};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::terms;
use crate::verdict::{
    Cause, Decision, Judge, Participation, Progress, Subject, Tally, Thinnest, Transition, Verdict, VerdictRecord,
};
use floe_types::{BlockTime, Committee, Epoch, Frost, NodeId, Params, SequenceNumber, codec};
use std::collections::{BTreeMap, BTreeSet};

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

/// The leaves of the list of verdicts: one for each set of rows that coverage names, in their order.
fn leaves(all: &BTreeMap<RowSet, Weight>, idle: &RowSet, records: &BTreeMap<RowSet, VerdictRecord>) -> Vec<Vec<u8>> {
    let leaf = |rows: &RowSet| {
        let record = records.get(&rows.difference(idle))?;
        Some(codec::encode(&(record, rows.difference(&record.class))))
    };
    all.keys().filter_map(leaf).collect()
}

/// The verdicts and their count.
fn verdicts(
    judge: &Judge<'_>,
    desk: &Desk<'_>,
    classes: &BTreeMap<RowSet, Weight>,
) -> (BTreeMap<RowSet, VerdictRecord>, Tally) {
    let mut tally = Tally { classes: classes.len() as u64, ..Tally::default() };
    let mut records = BTreeMap::new();
    for (class, weight) in classes {
        let mut record = judge.verdict(class);
        desk.complete(class, &mut record);
        let counted = tally.verdicts.entry(record.verdict).or_default();
        *counted = counted.plus(*weight);
        if record.verdict != Verdict::Undecided {
            thinner(&mut tally.thinnest, &record, *weight);
        }
        records.insert(class.clone(), record);
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

/// What was decided in the epoch before, by class and by whether repair had begun.
type Before = BTreeMap<(RowSet, Progress), Verdict>;

fn decided_before(state: &dyn StateRead, epoch: Epoch) -> Result<Before, StateError> {
    let leaves = evidence::kept::leaves(state, epoch, List::Verdicts)?.into_iter();
    let verdict = |leaf: Vec<u8>| {
        let (record, _): (VerdictRecord, RowSet) = Table::Lists.parse(&leaf)?;
        Ok(((record.class, record.risk.progress), record.verdict))
    };
    leaves.map(verdict).collect()
}

/// Classes whose verdict for `epoch` is another than the same rows had in the epoch before, or would have had; none when that
/// is not remembered.
fn changed<'a>(
    state: &dyn StateRead,
    running: &Committee,
    records: impl Iterator<Item = &'a VerdictRecord>,
    epoch: Epoch,
) -> Result<Vec<Transition>, StateError> {
    let before = epoch.0.checked_sub(1).map(|before| epoch_record(state, Epoch(before))).transpose()?.flatten();
    let Some(before) = before else { return Ok(Vec::new()) };
    let past = if before.term == running.term() { None } else { lifecycle::past_committee(state, before.term)? };
    let committee = past.as_ref().unwrap_or(running);
    let rows = rows::as_of(state, before.epoch)?;
    let judge = Judge::new(committee, &before.participation(), before.epoch, rows);
    let decided = decided_before(state, before.epoch)?;
    let change = |record: &VerdictRecord| {
        let known = |progress| decided.get(&(record.class.clone(), progress)).copied();
        let other = match record.risk.progress {
            Progress::Calm => Progress::Repairing,
            Progress::Repairing => Progress::Calm,
        };
        let known = known(record.risk.progress).or_else(|| known(other));
        let from = known.unwrap_or_else(|| judge.verdict(&record.class).verdict);
        let unsure = from == Verdict::Undecided || record.verdict == Verdict::Undecided;
        let repair = [from, record.verdict].contains(&Verdict::Repairing);
        let cause = match () {
            () if unsure => Cause::Quorum,
            () if repair => Cause::Repair,
            () => Cause::Answers,
        };
        let subject = Subject::Class(record.class.clone());
        (from != record.verdict).then_some(Transition { epoch: record.epoch, subject, from, to: record.verdict, cause })
    };
    Ok(records.filter_map(change).collect())
}

pub(crate) fn epoch_record(state: &dyn StateRead, epoch: Epoch) -> Result<Option<EpochRecord>, StateError> {
    Table::Epochs.load(state, &Table::Epochs.number(epoch.0))
}

/// Drops what is no longer remembered once `ended` has ended.
fn prune(overlay: &mut Overlay<'_>, ended: Epoch, params: &Params) -> Result<(), StateError> {
    let Some(old) = ended.0.checked_sub(HISTORY_EPOCHS) else { return Ok(()) };
    overlay.delete(Table::Epochs.number(old));
    reports::forget(overlay, old);
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

/// A blob that left with the epoch.
struct Gone {
    sequence: SequenceNumber,
    /// The rows that it was judged by.
    rows: RowSet,
    to: Verdict,
    cause: Cause,
}

/// What left with an epoch.
#[derive(Default)]
struct Forgotten {
    gone: Vec<Gone>,
    forgotten: Weight,
    invalid: Weight,
    events: Vec<Event>,
}

impl Forgotten {
    fn numbers(&self) -> Vec<SequenceNumber> {
        self.gone.iter().map(|gone| gone.sequence).collect()
    }

    /// The transitions, when these were the verdicts of the epoch.
    fn transitions(
        &self,
        (epoch, idle): (Epoch, &RowSet),
        judge: &Judge<'_>,
        records: &BTreeMap<RowSet, VerdictRecord>,
    ) -> impl Iterator<Item = Transition> {
        let transition = |gone: &Gone| {
            let known = records.get(&gone.rows.difference(idle)).map(|record| record.verdict);
            let from = known.unwrap_or_else(|| judge.verdict(&gone.rows).verdict);
            Transition { epoch, subject: Subject::Blob(gone.sequence), from, to: gone.to, cause: gone.cause }
        };
        self.gone.iter().map(transition).collect::<Vec<_>>().into_iter()
    }
}

/// Forgets what is not paid for beyond the judged epoch; `end` is one past the newest blob.
fn forget(overlay: &mut Overlay<'_>, params: &Params, epoch: Epoch, end: u64) -> Result<Forgotten, StateError> {
    let mut done = Forgotten::default();
    let mut left: BTreeMap<RowSet, Weight> = BTreeMap::new();
    for (sequence, life) in blobs::forget(overlay, params, epoch)? {
        let rows = coverage::covered(overlay, Table::Judged, sequence.0, end)?;
        let (to, cause) = match life.defence {
            Defence::Invalid => (Verdict::Invalid, Cause::Encoding),
            Defence::Deleted => (Verdict::Forgotten, Cause::Deleted),
            _ => (Verdict::Forgotten, Cause::Term),
        };
        done.gone.push(Gone { sequence, rows: rows.clone(), to, cause });
        let fragment_bytes = blobs::fragment_bytes(params.shards, life.length);
        let weight = Weight { blobs: 1, bytes: u128::from(life.length), fragment_bytes };
        if life.defence == Defence::Invalid {
            // It left its class when it was found.
            done.invalid = done.invalid.plus(weight);
            continue;
        }
        done.forgotten = done.forgotten.plus(weight);
        let of_class = left.entry(rows).or_default();
        *of_class = of_class.plus(weight);
        done.events.push(Event::BlobForgotten { blob: life.blob, sequence, last: life.last, defence: life.defence });
    }
    for (rows, weight) in left {
        classes::take(overlay, &rows, weight)?;
    }
    Ok(done)
}

/// Lets attestations and withdrawals count, as many as one boundary takes; pauses that are over end, new ones begin. Who said
/// that it lost fragments of its seats may make them again, once in a window.
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
    let mut losers: BTreeSet<NodeId> = BTreeSet::new();
    let mut pause = |lost: &RowSet| {
        let seats = lost.iter().filter_map(|row| rows.get(row)).filter(|row| row.kind == RowKind::Seat);
        losers.extend(seats.map(|row| row.holder));
        match params.pay_pause.0 {
            0 => RowSet::new(),
            _ => changed.pause(lost, until),
        }
    };
    let live = |said: &RowSet| said.iter().filter(|row| rows.get(*row).is_some()).collect();
    let settled = coverage::settle(overlay, notes, &live, &mut pause, (SETTLED_SEGMENTS_MAX, end))?;
    if changed != *rows {
        rows::store(overlay, &changed);
    }
    standing::grant(overlay, &standing::constants(params), &losers, next)?;
    Ok(settled)
}

/// What an epoch is judged by: nothing of its boundary is in it.
struct Judged {
    counters: Counters,
    classes_root: Root,
    /// Every set of rows that coverage names.
    covering: BTreeMap<RowSet, Weight>,
    rows: Rows,
    /// What of those sets is left out.
    idle: RowSet,
    classes: BTreeMap<RowSet, Weight>,
}

impl Judged {
    fn of(overlay: &Overlay<'_>) -> Result<Judged, StateError> {
        let covering = classes::all(overlay)?;
        let rows = rows::load(overlay)?;
        let idle = rows.idle();
        let classes = classes::judged(&covering, &idle);
        let (counters, classes_root) = (blobs::counters(overlay)?, pages::root(overlay, Map::Segments)?.0);
        Ok(Judged { counters, classes_root, covering, rows, idle, classes })
    }

    fn end(&self) -> u64 {
        self.counters.next_sequence
    }
}

/// What was decided of an epoch.
struct Decided {
    /// By class.
    records: BTreeMap<RowSet, VerdictRecord>,
    tally: Tally,
    transitions: Vec<Transition>,
    /// What was forgotten.
    dead: Vec<SequenceNumber>,
    plan: Plan,
    events: Vec<Event>,
}

/// Judges the epoch, forgets what ended with it, and plans for what is left.
fn decide(
    overlay: &mut Overlay<'_>,
    taken: &Taken<'_>,
    assembly: &Assembly,
    judged: &Judged,
) -> Result<Decided, StateError> {
    let Taken { params, committee, epoch, .. } = *taken;
    let participation = &taken.attendance.participation;
    let scene = Scene {
        params,
        constants: taken.constants.clone(),
        committee,
        assembly,
        decision: participation.decision,
        epoch,
        rows: &judged.rows,
        idle: &judged.idle,
        covering: &judged.covering,
        classes: &judged.classes,
        end: judged.end(),
        defended: plan::defended(judged.classes.values()),
    };
    let mut desk = Desk::judge(&scene, overlay)?;
    let mut events = blobs::lapse(overlay, params, epoch)?;
    prices::turn(overlay, params, committee, epoch)?;
    events.extend(terms::renew_all(overlay, params, epoch)?);
    let mut gone = forget(overlay, params, epoch, judged.end())?;
    events.append(&mut gone.events);
    // What follows weighs what is left.
    pages::flush(overlay)?;
    let plan = desk.plan(overlay)?;
    let judge = Judge::new(committee, participation, epoch, judged.rows.iter().map(|(id, row)| (id, *row)));
    let (records, mut tally) = verdicts(&judge, &desk, &judged.classes);
    (tally.forgotten, tally.invalid) = (gone.forgotten, gone.invalid);
    let mut transitions = changed(overlay, committee, records.values(), epoch)?;
    transitions.extend(gone.transitions((epoch, &judged.idle), &judge, &records));
    Ok(Decided { records, tally, transitions, dead: gone.numbers(), plan, events })
}

/// Ends the running epoch with a block of `time` on top of `head`.
pub(crate) fn end_epoch(
    overlay: &mut Overlay<'_>,
    (params, committee): (&Params, &Committee),
    head: &Head,
    time: BlockTime,
) -> Result<Ended, StateError> {
    let epoch = head.epoch;
    let reports = reports::opened(overlay)?;
    let attendance = Attendance::of(committee, &reports);
    let constants = standing::constants(params);
    let taken = Taken { params, constants: &constants, committee, attendance: &attendance, epoch };
    let (assembly, mut events) = taken.turn(overlay)?;
    let mut judged = Judged::of(overlay)?;
    let end = judged.end();
    let mut decided = decide(overlay, &taken, &assembly, &judged)?;
    events.append(&mut decided.events);
    let shares = taken.shares(&assembly);
    let paid = Paid {
        committee,
        decision: attendance.participation.decision,
        shares: &shares,
        rows: &judged.rows,
        classes: &judged.covering,
    };
    let (mut payout, mut earned) = fund::turn(overlay, &paid, epoch)?;
    if paid.decision == Decision::Decided {
        let (shares, rows, price) = (&shares[..], &judged.rows, prices::prices(overlay)?.current);
        let payday = Payday { committee, attendance: &attendance, shares, rows, price, epoch };
        let (repair, rebuilt) = payday.turn(overlay)?;
        payout.repair = repair;
        earned.extend(rebuilt);
    }
    let settled = debts::from_earnings(overlay, (committee, epoch), &earned)?;
    events.extend(earned.into_iter().chain(settled));
    let mut notes = Notes::new(epoch.next());
    if settle(overlay, &mut notes, (params, &judged.rows), epoch.next(), end)? == Settled::All {
        judged.counters.attested = 0;
    }
    let (batches, rows) = (repairs::batches(overlay)?, rows::load(overlay)?);
    let gathering = Gathering { constants: &constants, batches: &batches, rows: &rows, epoch };
    events.extend(gathering.turn(overlay, notes.altered())?);
    absorb(overlay, &mut notes, &decided.dead, end)?;
    blobs::put_counters(overlay, &judged.counters);
    reports::clear(overlay)?;
    reports::remember(overlay, epoch, &attendance);
    let seeds: Vec<_> = reports.values().map(|report| report.seed).collect();
    challenges::turn(overlay, (epoch.next(), end), &head.block, &seeds);
    prune(overlay, epoch, params)?;
    let ending = Ending { params, committee, epoch, classes: &judged.classes, end };
    let (office, turned) = ending.turn(overlay, &mut notes)?;
    events.extend(turned);
    payout.repaid = repaid(&events);
    let decision = attendance.participation.decision;
    let carrying = Carrying { next: epoch.next(), decision, judged: committee, office: &office, end };
    let (planned, carried) = carrying.turn(overlay, &mut notes, &decided.plan)?;
    events.extend(carried);
    if planned.tickets > 0 {
        events.push(Event::RepairPlanned { epoch, planned });
    }
    notes.finish(overlay)?;
    evidence::note_term(overlay, epoch.next(), head.height.next(), &office)?;
    let header = Sealing { epoch, office: &office, judged: &judged, decided: &decided, payout, planned };
    let header = header.header(overlay, attendance.participation)?;
    money::assert_conserved(overlay)?;
    let (began, height, boundary) = (head.epoch_began, head.height.next(), header.clone());
    let record = EpochRecord { epoch, began, ended: time, height, boundary, term: committee.term() };
    Table::Epochs.store(overlay, Table::Epochs.number(epoch.0), &record);
    let (decision, verdict_root) = (header.decision, header.verdict_root);
    events.push(Event::EpochEnded { epoch, decision, verdict_root });
    Ok(Ended { header, events, committee: office })
}

/// What came in of debts.
fn repaid(events: &[Event]) -> Frost {
    let amounts =
        events.iter().map(|event| if let Event::DebtPaid { amount, .. } = event { *amount } else { Frost::ZERO });
    amounts.fold(Frost::ZERO, |mut sum, amount| {
        money::add(&mut sum, amount);
        sum
    })
}

/// A boundary about to be sealed.
struct Sealing<'a> {
    epoch: Epoch,
    office: &'a Committee,
    judged: &'a Judged,
    decided: &'a Decided,
    payout: Payout,
    planned: Planned,
}

impl Sealing<'_> {
    /// Keeps the lists, and names everything.
    fn header(&self, overlay: &mut Overlay<'_>, who: Participation) -> Result<BoundaryHeader, StateError> {
        let Sealing { epoch, office, judged, decided, payout, planned } = *self;
        let verdicts = leaves(&judged.covering, &judged.idle, &decided.records);
        let transitions = decided.transitions.iter().map(codec::encode).collect();
        let tickets = repairs::batches(overlay)?.iter().map(codec::encode).collect();
        Ok(BoundaryHeader {
            ended: epoch,
            decision: who.decision,
            reporters: who.reporters,
            answered: who.answered,
            verdict_root: evidence::keep(overlay, epoch, List::Verdicts, verdicts),
            classes_root: judged.classes_root,
            transitions_root: evidence::keep(overlay, epoch, List::Transitions, transitions),
            tickets_root: evidence::keep(overlay, epoch, List::Tickets, tickets),
            planned,
            committee_root: committee_root(office),
            term: office.term(),
            tally: decided.tally.clone(),
            totals: money::totals(overlay)?,
            next_committee_root: lifecycle::next_committee(overlay)?.as_ref().map(committee_root),
            payout,
            prices: prices::prices(overlay)?,
        })
    }
}
