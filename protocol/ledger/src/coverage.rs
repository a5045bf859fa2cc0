//! Coverage: which shards have attested which blobs, as a map from runs of sequence numbers to sets of shards.
//!
//! The ledger's rows, one bitmap per shard, are kept *transposed*: the numbers from 0 up are cut into **segments** on each
//! of which the same shards cover everything. Neighbours with equal sets are one segment, so equal coverage has equal
//! bytes. A million blobs acknowledged everywhere are one segment; certifying the next one like the last writes nothing;
//! the classes that a boundary judges are the distinct sets of the segments, found without looking at a blob. A shard's
//! row is read back as runs ([`row`]).
//!
//! ```text
//! sequence   0 ............ 811 | 812 | 813 ............ (open)
//! shards     all 28             | 24  | all 28
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
//! No bit is ever cleared when a blob is forgotten: dead numbers belong to whatever surrounds them.

use crate::sets::ShardSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use floe_types::{Epoch, SequenceNumber, ShardIndex};
use serde::{Deserialize, Serialize};

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

/// Numbers that the same shards cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The numbers.
    pub run: Run,
    /// The shards that cover each of them.
    pub covered: ShardSet,
}

/// The number at which the open segment is stored.
const OPEN: u64 = u64::MAX;

/// The segment in a table's entry, `end` being one above the newest number.
fn parse(table: Table, key: &[u8], value: &[u8], end: u64) -> Result<Segment, StateError> {
    let (first, covered): (u64, ShardSet) = table.parse(value)?;
    let last = match number_at(table, key, 0)? {
        OPEN => end.saturating_sub(1),
        last => last,
    };
    Ok(Segment { run: Run { first: SequenceNumber(first), last: SequenceNumber(last) }, covered })
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

/// The shards that cover `number`; none when it is not given out.
pub(crate) fn covered(state: &dyn StateRead, table: Table, number: u64, end: u64) -> Result<ShardSet, StateError> {
    let found = segments_from(state, table, number, end, 1)?;
    let found = found.into_iter().find(|segment| segment.run.contains(SequenceNumber(number)));
    Ok(found.map(|segment| segment.covered).unwrap_or_default())
}

/// Gives number `end` the shards `covering`. The caller counts `end` up afterwards.
pub(crate) fn append(overlay: &mut Overlay<'_>, table: Table, end: u64, covering: &ShardSet) -> Result<(), StateError> {
    let open: Option<(u64, ShardSet)> = table.load(overlay, &table.number(OPEN))?;
    match open {
        Some((_, covered)) if covered == *covering => return Ok(()),
        Some(open) => table.store(overlay, table.number(end.saturating_sub(1)), &open),
        None => {}
    }
    table.store(overlay, table.number(OPEN), &(end, covering));
    Ok(())
}

/// What a member says of its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// It holds them now.
    Cover,
    /// It holds them no more.
    Uncover,
}

/// What [`change`] did.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    /// The segments, or parts of segments, that got or lost a shard, as they were before.
    pub before: Vec<Segment>,
}

/// Adds `shards` to every number of `run`, all of which are below `end`, or takes them from it.
pub(crate) fn change(
    overlay: &mut Overlay<'_>,
    table: Table,
    run: Run,
    (shards, change): (&ShardSet, Change),
    end: u64,
) -> Result<Covered, StateError> {
    let old = neighbourhood(overlay, table, run, end)?;
    let mut done = Covered::default();
    let mut new: Vec<Segment> = Vec::with_capacity(old.len() + 2);
    for segment in &old {
        for (part, inside) in split(segment.run, run) {
            let mut covered = segment.covered.clone();
            if inside {
                covered = match change {
                    Change::Cover => covered.union(shards),
                    Change::Uncover => covered.without(shards),
                };
                if covered != segment.covered {
                    done.before.push(Segment { run: part, covered: segment.covered.clone() });
                }
            }
            match new.last_mut() {
                Some(last) if last.covered == covered => last.run.last = part.last,
                _ => new.push(Segment { run: part, covered }),
            }
        }
    }
    if done.before.is_empty() {
        return Ok(done);
    }
    let place = |segment: &Segment| match segment.run.last.0 {
        last if last.saturating_add(1) == end => table.number(OPEN),
        last => table.number(last),
    };
    for segment in &old {
        overlay.delete(place(segment));
    }
    for segment in &new {
        table.store(overlay, place(segment), &(segment.run.first.0, &segment.covered));
    }
    Ok(done)
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
        size = (size * 4).min(1024);
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

/// The numbers that `shard` covers now, as runs.
pub(crate) fn row(state: &dyn StateRead, shard: ShardIndex, end: u64) -> Result<Vec<Run>, StateError> {
    let mut runs: Vec<Run> = Vec::new();
    for segment in segments(state, Table::Coverage, end)? {
        if !segment.covered.contains(shard) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.last.0.saturating_add(1) == segment.run.first.0 => last.last = segment.run.last,
            _ => runs.push(segment.run),
        }
    }
    Ok(runs)
}

/// Makes the attestations of the epoch that ended count, notes what each changed, and forgets them.
///
/// `next` is the first epoch that is judged by them; `count` says how many there are.
pub(crate) fn settle(overlay: &mut Overlay<'_>, next: Epoch, count: u64, end: u64) -> Result<(), StateError> {
    let mut noted = 0u64;
    for index in 0..count {
        let key = Table::Attested.number(index);
        let (run, shards, said): (Run, ShardSet, Change) = Table::Attested.must(overlay, &key)?;
        overlay.delete(key);
        for before in change(overlay, Table::Judged, run, (&shards, said), end)?.before {
            Table::Changes.store(overlay, Table::Changes.numbers(next.0, noted), &before);
            noted += 1;
        }
    }
    Ok(())
}

/// The shards by which `number` was judged in `epoch`, which has ended and is remembered.
pub(crate) fn covered_in(
    state: &dyn StateRead,
    epoch: Epoch,
    number: SequenceNumber,
    end: u64,
) -> Result<ShardSet, StateError> {
    const PAGE: usize = 1024;
    let mut from = epoch.next().0.to_be_bytes().to_vec();
    loop {
        let page = Table::Changes.page(state, &[], &from, PAGE)?;
        for (_, value) in &page {
            let before: Segment = Table::Changes.parse(value)?;
            if before.run.contains(number) {
                return Ok(before.covered);
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
