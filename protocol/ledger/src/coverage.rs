//! Coverage: which rows have attested which blobs, as a map from runs of sequence numbers to sets of rows.
//!
//! The ledger's rows ([`crate::rows`]: a holder of a shard each) are kept *transposed*: the numbers from 0 up are cut into
//! **segments** on each of which the same rows cover everything. Neighbours with equal sets are one segment, so equal
//! coverage has equal bytes. A million blobs acknowledged everywhere are one segment; certifying the next one like the last
//! writes nothing; the classes that a boundary judges are the distinct sets of the segments, found without looking at a
//! blob. What a row or a shard covers is read back as runs ([`runs_of`]).
//!
//! ```text
//! sequence   0 ............ 811 | 812 | 813 ............ (open)
//! rows       0..=27             | 24  | 0..=27
//! ```
//!
//! A segment is stored at its last number, so that the segment of `s` is the first one at or after `s`. The newest segment
//! is *open*: it is stored at the largest number there is and reaches to the newest blob, whichever that is.
//!
//! Two maps are kept. [`Table::Coverage`] is what is attested now: readers and custody go by it. [`Table::Judged`] is what
//! the running epoch is judged by: coverage as it stood when the epoch began and, for blobs certified since, as their
//! certificate says. At a boundary the epoch's attestations pass from the one to the other, and what each changed is
//! noted, so that the coverage of an earlier epoch can be found again.
//!
//! No bit is cleared when a blob is forgotten: dead numbers belong to whatever surrounds them, and a segment of dead numbers
//! only is taken into its neighbour ([`absorb`]), so that old gaps do not stay for ever. The numbers of past rows are taken
//! out a bounded stretch at a time ([`clear`]); until then readers of a set leave them out.

use crate::classes;
use crate::merkle::{Map, Weight};
use crate::pages::{Novelty, Put};
use crate::rows::RowSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use floe_types::{Epoch, SequenceNumber, codec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most segments that one attestation may touch: more is asked for in several transactions.
pub const ATTEST_SEGMENTS_MAX: usize = 4096;

/// Consecutive sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The first.
    pub first: SequenceNumber,
    /// The last, inclusive.
    pub last: SequenceNumber,
}

impl Run {
    /// How many numbers it has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.last.0.saturating_sub(self.first.0).saturating_add(1)
    }

    /// Whether `number` is in it.
    #[must_use]
    pub fn contains(&self, number: SequenceNumber) -> bool {
        self.first <= number && number <= self.last
    }

    /// Whether the runs are ascending, disjoint and not adjacent: the one form of a set of numbers.
    #[must_use]
    pub fn are_canonical(runs: &[Run]) -> bool {
        let apart = |pair: &[Run]| match pair {
            [one, two] => one.last.0.checked_add(1).is_some_and(|next| next < two.first.0),
            _ => true,
        };
        runs.iter().all(|run| run.first <= run.last) && runs.windows(2).all(apart)
    }
}

/// Numbers that the same rows cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The numbers.
    pub run: Run,
    /// The rows that cover each of them.
    pub rows: RowSet,
}

/// The number at which the open segment is stored.
const OPEN: u64 = u64::MAX;
/// Entries read at a time.
const PAGE: usize = 1024;

/// The segment in a table's entry, `end` being one above the newest number.
fn parse(table: Table, key: &[u8], value: &[u8], end: u64) -> Result<Segment, StateError> {
    let (first, rows): (u64, RowSet) = table.parse(value)?;
    let last = match number_at(table, key, 0)? {
        OPEN => end.saturating_sub(1),
        last => last,
    };
    Ok(Segment { run: Run { first: SequenceNumber(first), last: SequenceNumber(last) }, rows })
}

/// Up to `limit` segments from the one that holds `from` on, below `end`.
pub(crate) fn segments_from(
    state: &dyn StateRead,
    table: Table,
    from: u64,
    end: u64,
    limit: usize,
) -> Result<Vec<Segment>, StateError> {
    let entries = table.page(state, &[], &from.to_be_bytes(), limit)?;
    entries.iter().map(|(key, value)| parse(table, key, value, end)).collect()
}

/// Every segment.
pub(crate) fn segments(state: &dyn StateRead, table: Table, end: u64) -> Result<Vec<Segment>, StateError> {
    table.all(state, &[])?.iter().map(|(key, value)| parse(table, key, value, end)).collect()
}

/// The rows that cover `number`, past ones perhaps among them; none when it is not given out.
pub(crate) fn covered(state: &dyn StateRead, table: Table, number: u64, end: u64) -> Result<RowSet, StateError> {
    let found = segments_from(state, table, number, end, 1)?;
    let found = found.into_iter().find(|segment| segment.run.contains(SequenceNumber(number)));
    Ok(found.map(|segment| segment.rows).unwrap_or_default())
}

/// Gives number `end` the rows `covering`. The caller counts `end` up afterwards.
pub(crate) fn append(overlay: &mut Overlay<'_>, table: Table, end: u64, covering: &RowSet) -> Result<(), StateError> {
    let open: Option<(u64, RowSet)> = table.load(overlay, &table.number(OPEN))?;
    match open {
        Some((_, rows)) if rows == *covering => return Ok(()),
        Some((first, rows)) => put(overlay, table, end.saturating_sub(1), Some((first, &rows))),
        None => {}
    }
    put(overlay, table, OPEN, Some((end, covering)));
    Ok(())
}

/// Writes the segment that ends at `last`, or takes it out. What is judged stands in a Merkle map too.
fn put(overlay: &mut Overlay<'_>, table: Table, last: u64, segment: Option<(u64, &RowSet)>) {
    let value = segment.map(|segment| codec::encode(&segment));
    if table == Table::Judged {
        let novelty = if value.is_some() { Novelty::New } else { Novelty::Gone };
        let put = Put { value: value.clone().unwrap_or_default(), weight: Weight::default(), novelty };
        overlay.put_leaf(Map::Segments, last.to_be_bytes().to_vec(), put);
    }
    match value {
        Some(value) => overlay.put(table.number(last), value),
        None => overlay.delete(table.number(last)),
    }
}

/// Segments in the making: neighbours with equal rows become one.
fn join(into: &mut Vec<Segment>, run: Run, rows: RowSet) {
    match into.last_mut() {
        Some(last) if last.rows == rows => last.run.last = run.last,
        _ => into.push(Segment { run, rows }),
    }
}

/// Puts `new` where `old` was: the same numbers, cut otherwise.
fn replace(overlay: &mut Overlay<'_>, table: Table, (old, new): (&[Segment], &[Segment]), end: u64) {
    let place = |segment: &Segment| match segment.run.last.0 {
        last if last.saturating_add(1) == end => OPEN,
        last => last,
    };
    let mut old: BTreeMap<u64, &Segment> = old.iter().map(|segment| (place(segment), segment)).collect();
    for segment in new {
        if old.remove(&place(segment)) != Some(segment) {
            put(overlay, table, place(segment), Some((segment.run.first.0, &segment.rows)));
        }
    }
    for last in old.into_keys() {
        put(overlay, table, last, None);
    }
}

/// Numbers whose rows changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Altered {
    pub run: Run,
    pub before: RowSet,
    pub after: RowSet,
}

/// What a holder says of its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// It holds them now.
    Cover,
    /// It holds them no more.
    Uncover,
}

/// Adds `rows` to every number of `run`, all of which are below `end`, or takes them from it. Gives the segments, or parts of
/// segments, that got or lost a row.
pub(crate) fn change(
    overlay: &mut Overlay<'_>,
    table: Table,
    run: Run,
    (rows, change): (&RowSet, Change),
    end: u64,
) -> Result<Vec<Altered>, StateError> {
    let old = neighbourhood(overlay, table, run, end)?;
    let mut altered = Vec::new();
    let mut new: Vec<Segment> = Vec::with_capacity(old.len() + 2);
    for segment in &old {
        for (part, inside) in split(segment.run, run) {
            let mut held = segment.rows.clone();
            if inside {
                held = match change {
                    Change::Cover => held.union(rows),
                    Change::Uncover => held.difference(rows),
                };
                if held != segment.rows {
                    altered.push(Altered { run: part, before: segment.rows.clone(), after: held.clone() });
                }
            }
            join(&mut new, part, held);
        }
    }
    if !altered.is_empty() {
        replace(overlay, table, (&old, &new), end);
    }
    Ok(altered)
}

/// What [`clear`] did.
#[derive(Debug, Default)]
pub(crate) struct Cleared {
    /// The segments that lost a row.
    pub altered: Vec<Altered>,
    /// Where to go on; none when all is done.
    pub next: Option<u64>,
}

/// Takes `gone` out of the segments from the one that holds `from` on, at most `limit` of them, which is above two.
pub(crate) fn clear(
    overlay: &mut Overlay<'_>,
    table: Table,
    gone: &RowSet,
    (from, end): (u64, u64),
    limit: usize,
) -> Result<Cleared, StateError> {
    // With the one before, which may become one with the first, and the one after, which may with the last and is left as it is.
    let old = segments_from(overlay, table, from.saturating_sub(1), end, limit.saturating_add(1))?;
    let next = old.get(limit).map(|beside| beside.run.first.0);
    let mut done = Cleared { altered: Vec::new(), next };
    let mut new = Vec::with_capacity(old.len());
    for (at, segment) in old.iter().enumerate() {
        let rows = if at < limit { segment.rows.difference(gone) } else { segment.rows.clone() };
        if rows != segment.rows {
            let (before, after) = (segment.rows.clone(), rows.clone());
            done.altered.push(Altered { run: segment.run, before, after });
        }
        join(&mut new, segment.run, rows);
    }
    // Also when nothing is lost here: what was lost in the stretch before may have made neighbours equal.
    if old != new {
        replace(overlay, table, (&old, &new), end);
    }
    Ok(done)
}

/// Takes a segment of dead numbers into the one before it, or else after it. Gives what that altered: nothing when it is alone.
pub(crate) fn absorb(
    overlay: &mut Overlay<'_>,
    table: Table,
    dead: Run,
    end: u64,
) -> Result<Option<Altered>, StateError> {
    let old = neighbourhood(overlay, table, dead, end)?;
    let Some(at) = old.iter().position(|segment| segment.run == dead) else { return Ok(None) };
    let beside = if at > 0 { old.get(at - 1) } else { old.get(at + 1) };
    let Some(rows) = beside.map(|beside| beside.rows.clone()) else { return Ok(None) };
    let mut new = Vec::with_capacity(old.len());
    for segment in &old {
        join(&mut new, segment.run, if segment.run == dead { rows.clone() } else { segment.rows.clone() });
    }
    replace(overlay, table, (&old, &new), end);
    Ok(old.into_iter().nth(at).map(|segment| Altered { run: dead, before: segment.rows, after: rows }))
}

/// The segments from the one that holds `from` on whose first number is at most `last`, at most about `limit`.
///
/// Read in pages that grow: most runs touch a few segments, of which there may be a million behind them.
fn segments_until(
    state: &dyn StateRead,
    table: Table,
    (mut from, last): (u64, u64),
    end: u64,
    limit: usize,
) -> Result<Vec<Segment>, StateError> {
    let mut found: Vec<Segment> = Vec::new();
    let mut size = 4;
    while found.len() < limit && from < end {
        let page = segments_from(state, table, from, end, size)?;
        let complete = page.len() < size;
        for segment in page {
            if segment.run.first.0 > last {
                return Ok(found);
            }
            from = segment.run.last.0.saturating_add(1);
            found.push(segment);
        }
        if complete {
            break;
        }
        size = (size * 4).min(PAGE);
    }
    Ok(found)
}

/// How many segments `run` touches, counted up to a little above `limit`.
pub(crate) fn touched(
    state: &dyn StateRead,
    table: Table,
    run: Run,
    end: u64,
    limit: usize,
) -> Result<usize, StateError> {
    Ok(segments_until(state, table, (run.first.0, run.last.0), end, limit.saturating_add(1))?.len())
}

/// The segments that touch `run` and the ones beside it, with which they may become one.
fn neighbourhood(state: &dyn StateRead, table: Table, run: Run, end: u64) -> Result<Vec<Segment>, StateError> {
    let reach = (run.first.0.saturating_sub(1), run.last.0.saturating_add(1));
    segments_until(state, table, reach, end, usize::MAX)
}

/// The parts of `whole` before, inside and after `run`, and whether each is inside.
fn split(whole: Run, run: Run) -> impl Iterator<Item = (Run, bool)> {
    let part = |first: u64, last: u64| Run { first: SequenceNumber(first), last: SequenceNumber(last) };
    let before =
        (whole.first < run.first).then(|| part(whole.first.0, whole.last.0.min(run.first.0.saturating_sub(1))));
    let inside = (whole.first <= run.last && run.first <= whole.last)
        .then(|| part(whole.first.0.max(run.first.0), whole.last.0.min(run.last.0)));
    let after = (whole.last > run.last).then(|| part(whole.first.0.max(run.last.0.saturating_add(1)), whole.last.0));
    [(before, false), (inside, true), (after, false)].into_iter().filter_map(|(run, inside)| Some((run?, inside)))
}

/// The numbers that any of `rows` covers now, as runs.
pub(crate) fn runs_of(state: &dyn StateRead, rows: &RowSet, end: u64) -> Result<Vec<Run>, StateError> {
    let mut runs: Vec<Run> = Vec::new();
    for segment in segments(state, Table::Coverage, end)? {
        if !rows.iter().any(|row| segment.rows.contains(row)) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.last.0.saturating_add(1) == segment.run.first.0 => last.last = segment.run.last,
            _ => runs.push(segment.run),
        }
    }
    Ok(runs)
}

/// What changed in the coverage that epochs are judged by: the notes by which earlier epochs find theirs again, and what the
/// classes weigh after it.
pub(crate) struct Notes {
    next: Epoch,
    count: u64,
    altered: Vec<Altered>,
}

impl Notes {
    /// The notes of the boundary that begins `next`, none yet.
    pub(crate) fn new(next: Epoch) -> Notes {
        Notes { next, count: 0, altered: Vec::new() }
    }

    /// What was noted, in order.
    pub(crate) fn altered(&self) -> &[Altered] {
        &self.altered
    }

    /// Notes what held until now.
    pub(crate) fn add(&mut self, overlay: &mut Overlay<'_>, altered: Vec<Altered>) {
        for Altered { run, before, .. } in &altered {
            let key = Table::Changes.numbers(self.next.0, self.count);
            Table::Changes.store(overlay, key, &Segment { run: *run, rows: before.clone() });
            self.count += 1;
        }
        self.altered.extend(altered);
    }

    /// Moves what was altered from class to class. The map of blobs must have been flushed.
    pub(crate) fn finish(self, overlay: &mut Overlay<'_>) -> Result<(), StateError> {
        classes::shift(overlay, &self.altered)
    }
}

/// How much of what was attested counts: everything, or the oldest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    All,
    InPart,
}

/// Makes attestations and withdrawals count, the oldest first, notes what each changed, and forgets them. Stops when `limit`
/// segments were altered, so at most [`ATTEST_SEGMENTS_MAX`] beyond: what is left counts with a later boundary (decision 041).
///
/// `live` gives those of some rows that there are still: a row may have ended while its word waited. `pause` gives the marks
/// that rows get which numbers have lost.
pub(crate) fn settle(
    overlay: &mut Overlay<'_>,
    notes: &mut Notes,
    live: &dyn Fn(&RowSet) -> RowSet,
    pause: &mut dyn FnMut(&RowSet) -> RowSet,
    (limit, end): (usize, u64),
) -> Result<Settled, StateError> {
    let (mut done, mut from) = (0usize, Vec::new());
    loop {
        let page = Table::Attested.page(overlay, &[], &from, PAGE)?;
        let complete = page.len() < PAGE;
        for (key, value) in page {
            if done >= limit {
                return Ok(Settled::InPart);
            }
            let (run, rows, said): (Run, RowSet, Change) = Table::Attested.parse(&value)?;
            overlay.delete(Table::Attested.key(&[&key]));
            let altered = change(overlay, Table::Judged, run, (&live(&rows), said), end)?;
            done += altered.len().max(1);
            for part in altered.iter().filter(|_| said == Change::Uncover) {
                let marks = pause(&part.before.difference(&part.after));
                let marked = change(overlay, Table::Judged, part.run, (&marks, Change::Cover), end)?;
                change(overlay, Table::Coverage, part.run, (&marks, Change::Cover), end)?;
                notes.altered.extend(marked);
            }
            notes.add(overlay, altered);
            from = [key.as_slice(), &[0]].concat();
        }
        if complete {
            return Ok(Settled::All);
        }
    }
}

/// The segments by which `epoch` was judged, which has ended and is remembered, when `end` was one above the newest number:
/// as they stood in the map that its boundary committed to, the open one up to the largest number there is.
pub(crate) fn segments_in(
    state: &dyn StateRead,
    epoch: Epoch,
    (end, now): (u64, u64),
) -> Result<Vec<Segment>, StateError> {
    let mut pieces: BTreeMap<u64, RowSet> = BTreeMap::new();
    for segment in segments(state, Table::Judged, now)? {
        pieces.insert(segment.run.first.0, segment.rows);
    }
    let mut notes: Vec<Segment> = Vec::new();
    let from = epoch.next().0.to_be_bytes();
    let mut cursor = from.to_vec();
    loop {
        let page = Table::Changes.page(state, &[], &cursor, PAGE)?;
        for (_, value) in &page {
            notes.push(Table::Changes.parse(value)?);
        }
        match page.into_iter().last() {
            Some((key, _)) => cursor = [key.as_slice(), &[0]].concat(),
            None => break,
        }
    }
    // The oldest last: it says what held first.
    for Segment { run, rows } in notes.into_iter().rev() {
        cut_at(&mut pieces, run.first.0);
        cut_at(&mut pieces, run.last.0.saturating_add(1));
        let inside: Vec<u64> = pieces.range(run.first.0..=run.last.0).map(|(first, _)| *first).collect();
        inside.iter().for_each(|first| drop(pieces.remove(first)));
        pieces.insert(run.first.0, rows);
    }
    let mut found = Vec::new();
    let lasts: Vec<u64> = pieces.keys().skip(1).map(|first| first.saturating_sub(1)).chain([OPEN]).collect();
    for ((first, rows), last) in pieces.into_iter().zip(lasts).filter(|((first, _), _)| *first < end) {
        let last = if last.saturating_add(1) >= end { OPEN } else { last };
        join(&mut found, Run { first: SequenceNumber(first), last: SequenceNumber(last) }, rows);
    }
    Ok(found)
}

/// Lets a piece begin at `at`, unless that is below all.
fn cut_at(pieces: &mut BTreeMap<u64, RowSet>, at: u64) {
    if let Some((first, rows)) = pieces.range(..=at).next_back()
        && *first < at
    {
        let rows = rows.clone();
        pieces.insert(at, rows);
    }
}

/// The rows by which `number` was judged in `epoch`, which has ended and is remembered.
pub(crate) fn covered_in(
    state: &dyn StateRead,
    epoch: Epoch,
    number: SequenceNumber,
    end: u64,
) -> Result<RowSet, StateError> {
    let mut from = epoch.next().0.to_be_bytes().to_vec();
    loop {
        let page = Table::Changes.page(state, &[], &from, PAGE)?;
        for (_, value) in &page {
            let before: Segment = Table::Changes.parse(value)?;
            if before.run.contains(number) {
                return Ok(before.rows);
            }
        }
        match page.into_iter().last() {
            Some((key, _)) => {
                from = key;
                from.push(0);
            }
            None => return covered(state, Table::Judged, number.0, end),
        }
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
