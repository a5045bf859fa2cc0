//! Rows: who may cover a shard, and since when.
//!
//! A shard has one *seat*, and while it changes hands several nodes that keep its fragments. Each of them has a **row**:
//! a number that is never given again, the shard, the holder, and what the holder is to the shard. Coverage maps runs of
//! blobs to sets of rows ([`crate::coverage`]), so that a row changes its kind, and a holder its standing, in one entry
//! here, however many blobs it covers. A shard is covered where any of its rows covers.
//!
//! ```text
//!  election         end of term          its blobs are covered otherwise, or the deadline
//!     │                 │                            │
//!  Incoming ────────► Seat ──(next move)──► Former ──┴──► past: kept aside for 400 epochs, its
//!                                             ▲           number taken out of coverage bit by bit
//!                             Seat ───────────┘
//! ```
//!
//! Beside these a *stand-in* keeps fragments for a holder that is silent or gone, from its first ticket on until the seat's
//! holder has them and answers ([`crate::plan`]). It has a row and no seat.
//!
//! A row that is past covers nothing from the epoch on with which it ended. Earlier epochs are judged with it, also when
//! they are looked up later: [`as_of`] gives the rows as they stood.

#[path = "rows_known.rs"]
mod known;

pub(crate) use known::ByRow;

use crate::sets::ShardSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::{Committee, Epoch, NodeId, ShardIndex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A row's number, counted from 0 over the life of a network and never given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowId(pub u32);

/// What a holder is to a shard, in the order in which readers ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// It has the shard's seat: it votes with it, answers for it and is paid for it.
    Seat,
    /// It had the seat and still has the fragments.
    Former,
    /// It gets the seat with the next term and gathers the fragments.
    Incoming,
    /// It keeps fragments for the seat's holder, which was silent, gone or without them when a boundary decided so.
    StandIn,
}

impl RowKind {
    /// The word for people and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RowKind::Seat => "seat",
            RowKind::Former => "former",
            RowKind::Incoming => "incoming",
            RowKind::StandIn => "stand-in",
        }
    }
}

/// One holder of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The shard.
    pub shard: ShardIndex,
    /// The node that keeps its fragments.
    pub holder: NodeId,
    /// What it is to the shard.
    pub kind: RowKind,
    /// The first epoch in which it was that.
    pub since: Epoch,
}

/// A set of rows as ascending runs of numbers: `n` rows that were given out together are one run. Equal sets have equal
/// bytes: runs are written as gap and length, of which every list is a set's only form.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowSet(Vec<(u32, u32)>);

impl RowSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> RowSet {
        RowSet(Vec::new())
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rows are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| (last - first) as usize + 1).sum()
    }

    /// Whether `row` is in it.
    #[must_use]
    pub fn contains(&self, row: RowId) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < row.0);
        self.0.get(at).is_some_and(|(first, _)| *first <= row.0)
    }

    /// Its runs, ascending.
    fn runs(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// What is in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        self.0.iter().flat_map(|(first, last)| (*first..=*last).map(RowId))
    }

    /// Adds a run that begins no earlier than every run in it.
    fn push(&mut self, (first, last): (u32, u32)) {
        match self.0.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => self.0.push((first, last)),
        }
    }

    /// What is in either set.
    #[must_use]
    pub fn union(&self, other: &RowSet) -> RowSet {
        let (mut one, mut two) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut set = RowSet(Vec::with_capacity(self.0.len().max(other.0.len())));
        loop {
            let run = match (one.peek(), two.peek()) {
                (Some(left), Some(right)) if left.0 <= right.0 => one.next(),
                (_, Some(_)) => two.next(),
                (_, None) => one.next(),
            };
            match run {
                Some(run) => set.push(*run),
                None => return set,
            }
        }
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &RowSet) -> RowSet {
        let mut set = RowSet::new();
        let mut cuts = other.0.iter().peekable();
        for (first, last) in &self.0 {
            let mut from = Some(*first);
            while let Some((cut_first, cut_last)) = cuts.peek() {
                let Some(at) = from else { break };
                if *cut_last < at {
                    cuts.next();
                } else if *cut_first > *last {
                    break;
                } else {
                    if *cut_first > at {
                        set.push((at, cut_first - 1));
                    }
                    from = cut_last.checked_add(1).filter(|next| next <= last);
                }
            }
            if let Some(at) = from {
                set.push((at, *last));
            }
        }
        set
    }
}

impl FromIterator<RowId> for RowSet {
    fn from_iter<I: IntoIterator<Item = RowId>>(rows: I) -> RowSet {
        let mut rows: Vec<u32> = rows.into_iter().map(|row| row.0).collect();
        rows.sort_unstable();
        let mut set = RowSet::new();
        rows.into_iter().for_each(|row| set.push((row, row)));
        set
    }
}

impl fmt::Debug for RowSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.iter().map(|(first, last)| format!("{first}..={last}"));
        f.debug_set().entries(runs).finish()
    }
}

impl Serialize for RowSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A gap is counted from the least number that a further run may begin with.
        let mut least = 0;
        let gaps = self.0.iter().map(|(first, last)| {
            let gap = (first - least, last - first);
            least = last.saturating_add(2);
            gap
        });
        gaps.collect::<Vec<_>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RowSet, D::Error> {
        let gaps = Vec::<(u32, u32)>::deserialize(deserializer)?;
        let beyond = || serde::de::Error::custom("a set of rows passes the largest number");
        let mut runs = Vec::with_capacity(gaps.len());
        let mut least = Some(0u32);
        for (gap, more) in gaps {
            let first = least.and_then(|least| least.checked_add(gap)).ok_or_else(beyond)?;
            let last = first.checked_add(more).ok_or_else(beyond)?;
            runs.push((first, last));
            least = last.checked_add(2);
        }
        Ok(RowSet(runs))
    }
}

/// The rows that there are. One entry of the state: it is read with every block and written when a committee changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    next: u32,
    rows: BTreeMap<RowId, Row>,
    /// By shard, the row of its seat.
    seats: Vec<RowId>,
    /// Past rows that coverage still names somewhere.
    pub(crate) gone: RowSet,
    /// How far, in sequence numbers, they have been taken out.
    pub(crate) swept: u64,
    /// Marks that coverage has beside rows: numbers with the mark are not paid for by that row. See [`crate::fund`].
    pauses: BTreeMap<RowId, Pause>,
    /// The mark of numbers whose repair has begun, once there was one. It stays for the life of the network.
    repair: Option<RowId>,
}

/// A row that is not paid for the numbers that have this mark. Marks are numbered with the rows, so that coverage names them
/// as it names rows, and end as rows do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    pub row: RowId,
    /// The first epoch that is paid for again.
    pub until: Epoch,
}

impl Rows {
    /// The rows of a network's first committee: row `s` is the seat of shard `s`.
    pub(crate) fn first(committee: &Committee) -> Rows {
        let since = Epoch(1);
        let shards = (0..committee.shards()).map(ShardIndex);
        let holder = |shard| committee.holder(shard).and_then(|index| committee.member(index));
        let row = |shard: ShardIndex| {
            let holder = holder(shard).map(|member| member.node).unwrap_or_default();
            (RowId(u32::from(shard.0)), Row { shard, holder, kind: RowKind::Seat, since })
        };
        let rows: BTreeMap<RowId, Row> = shards.map(row).collect();
        let seats = rows.keys().copied().collect();
        let (next, gone, pauses) = (rows.len() as u32, RowSet::new(), BTreeMap::new());
        Rows { next, rows, seats, gone, swept: 0, pauses, repair: None }
    }

    /// The row with this number, unless it is past.
    #[must_use]
    pub fn get(&self, id: RowId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// All of them by number.
    pub fn iter(&self) -> impl Iterator<Item = (RowId, &Row)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// Those of `node`.
    pub fn of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = (RowId, &'a Row)> {
        self.iter().filter(move |(_, row)| row.holder == *node)
    }

    /// The row of `shard`'s seat; none only beyond `n`.
    #[must_use]
    pub fn seat(&self, shard: ShardIndex) -> Option<RowId> {
        self.seats.get(usize::from(shard.0)).copied()
    }

    /// The row of this holder of this shard.
    #[must_use]
    pub fn find(&self, shard: ShardIndex, holder: &NodeId) -> Option<RowId> {
        self.iter().find(|(_, row)| row.shard == shard && row.holder == *holder).map(|(id, _)| id)
    }

    /// The shards that `set` covers. Past rows cover nothing.
    #[must_use]
    pub fn shards(&self, set: &RowSet) -> ShardSet {
        set.iter().filter_map(|id| self.get(id)).map(|row| row.shard).collect()
    }

    /// Shards with a former holder whose fragments are still needed: hand-overs that are not finished.
    pub fn under_way(&self) -> impl Iterator<Item = ShardIndex> + '_ {
        self.rows.values().filter(|row| row.kind == RowKind::Former).map(|row| row.shard)
    }

    /// Makes `holder` the next holder of `shard`. One that held it and still has a row goes on with it.
    pub(crate) fn admit(&mut self, shard: ShardIndex, holder: NodeId, since: Epoch) -> RowId {
        let id = self.find(shard, &holder).unwrap_or_else(|| {
            let id = RowId(self.next);
            self.next += 1;
            id
        });
        self.rows.insert(id, Row { shard, holder, kind: RowKind::Incoming, since });
        id
    }

    /// Gives `shard`'s seat to `holder`, which was admitted, and makes the one who had it a former holder.
    pub(crate) fn seat_next(&mut self, shard: ShardIndex, holder: NodeId, since: Epoch) {
        let id = match self.find(shard, &holder) {
            Some(id) => id,
            None => self.admit(shard, holder, since),
        };
        let Some(place) = self.seats.get_mut(usize::from(shard.0)) else { return };
        let before = std::mem::replace(place, id);
        if let Some(row) = self.rows.get_mut(&before).filter(|_| before != id) {
            (row.kind, row.since) = (RowKind::Former, since);
        }
        if let Some(row) = self.rows.get_mut(&id) {
            (row.kind, row.since) = (RowKind::Seat, since);
        }
    }

    /// The marks that say of each of `rows` that it is not paid before `until`.
    pub(crate) fn pause(&mut self, rows: &RowSet, until: Epoch) -> RowSet {
        let mut marks = Vec::new();
        for row in rows.iter().filter(|row| self.rows.contains_key(row)) {
            let pause = Pause { row, until };
            // The newest marks are the last.
            let known = self.pauses.iter().rev().find(|(_, known)| **known == pause).map(|(mark, _)| *mark);
            marks.push(known.unwrap_or_else(|| {
                let mark = RowId(self.next);
                self.next += 1;
                self.pauses.insert(mark, pause);
                mark
            }));
        }
        marks.into_iter().collect()
    }

    /// Ends the pauses that are over in `epoch`.
    pub(crate) fn resume(&mut self, epoch: Epoch) {
        let over: RowSet =
            self.pauses.iter().filter(|(_, pause)| pause.until <= epoch).map(|(mark, _)| *mark).collect();
        if !over.is_empty() {
            self.pauses.retain(|_, pause| pause.until > epoch);
            self.gone = self.gone.union(&over);
            self.swept = 0;
        }
    }

    /// The mark of numbers whose repair has begun.
    pub(crate) fn repair_mark(&mut self) -> RowId {
        *self.repair.get_or_insert_with(|| {
            let mark = RowId(self.next);
            self.next += 1;
            mark
        })
    }

    /// Whether `set`, as coverage names it, has that mark.
    #[must_use]
    pub fn is_under_repair(&self, set: &RowSet) -> bool {
        self.repair.is_some_and(|mark| set.contains(mark))
    }

    /// Lets `holder` keep `shard`'s fragments for others, unless it has a row of the shard already.
    pub(crate) fn stand_in(&mut self, shard: ShardIndex, holder: NodeId, since: Epoch) {
        if self.find(shard, &holder).is_none() {
            self.rows.insert(RowId(self.next), Row { shard, holder, kind: RowKind::StandIn, since });
            self.next += 1;
        }
    }

    /// Makes a former holder of one that kept a shard and has left.
    pub(crate) fn retire(&mut self, id: RowId, since: Epoch) {
        if let Some(row) = self.rows.get_mut(&id) {
            (row.kind, row.since) = (RowKind::Former, since);
        }
    }

    /// The marks in force.
    pub(crate) fn pauses(&self) -> &BTreeMap<RowId, Pause> {
        &self.pauses
    }

    /// What coverage may name and verdicts do not go by: past rows and marks.
    pub(crate) fn idle(&self) -> RowSet {
        self.gone.union(&self.pauses.keys().copied().collect())
    }

    /// Makes former holders of those that were to get a seat by an election that does not count: they may have fragments.
    pub(crate) fn call_off(&mut self, since: Epoch) {
        for row in self.rows.values_mut().filter(|row| row.kind == RowKind::Incoming) {
            (row.kind, row.since) = (RowKind::Former, since);
        }
    }

    /// Ends a row: from epoch `ended` on it covers nothing.
    pub(crate) fn end(&mut self, overlay: &mut Overlay<'_>, id: RowId, ended: Epoch) {
        let Some(row) = self.rows.remove(&id) else { return };
        let key = Table::PastRows.key(&[&ended.0.to_be_bytes(), &id.0.to_be_bytes()]);
        Table::PastRows.store(overlay, key, &row);
        self.gone = self.gone.union(&RowSet::from_iter([id]));
        self.swept = 0;
    }
}

pub(crate) fn load(state: &dyn StateRead) -> Result<Rows, StateError> {
    Table::Rows.must(state, &Table::Rows.key(&[]))
}

pub(crate) fn store(overlay: &mut Overlay<'_>, rows: &Rows) {
    Table::Rows.store(overlay, Table::Rows.key(&[]), rows);
}

/// The rows that covered in `epoch`, which is remembered: those that there are, and those that ended later.
pub(crate) fn as_of(state: &dyn StateRead, epoch: Epoch) -> Result<BTreeMap<RowId, Row>, StateError> {
    const PAGE: usize = 1024;
    let mut rows = load(state)?.rows;
    let mut from = epoch.next().0.to_be_bytes().to_vec();
    loop {
        let page = Table::PastRows.page(state, &[], &from, PAGE)?;
        for (key, value) in &page {
            let id = key.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
            let id = id.ok_or_else(|| Table::PastRows.damaged("a key is too short"))?;
            rows.insert(RowId(id), Table::PastRows.parse(value)?);
        }
        let complete = page.len() < PAGE;
        match page.into_iter().last() {
            Some((key, _)) if !complete => {
                from = key;
                from.push(0);
            }
            _ => return Ok(rows),
        }
    }
}

/// Forgets the rows that ended with `old` or before: no epoch that is remembered was judged with them.
pub(crate) fn prune(overlay: &mut Overlay<'_>, old: Epoch) -> Result<(), StateError> {
    for (key, _) in Table::PastRows.all(overlay, &old.0.to_be_bytes())? {
        overlay.delete(Table::PastRows.key(&[&key]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::codec::{decode, encode};
    use std::collections::BTreeSet;

    fn set(slow: &BTreeSet<u32>) -> RowSet {
        slow.iter().copied().map(RowId).collect()
    }

    #[test]
    fn rows_given_out_together_are_one_run() {
        let all: RowSet = (0..1000).map(RowId).collect();
        assert_eq!(encode(&all).len(), 4);
        assert_eq!(all.len(), 1000);
        assert_eq!(decode::<RowSet>(&encode(&all), 64), Ok(all));
    }

    #[test]
    fn a_set_beyond_the_largest_number_is_refused() {
        let largest: RowSet = [RowId(0), RowId(u32::MAX)].into_iter().collect();
        assert_eq!(decode::<RowSet>(&encode(&largest), 64), Ok(largest));
        for bad in [vec![(u32::MAX, 1)], vec![(u32::MAX, 0), (0, 0)], vec![(0, u32::MAX - 1), (0, 0)]] {
            assert!(decode::<RowSet>(&encode(&bad), 64).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_set_does_what_a_slow_set_does(one: BTreeSet<u8>, two: BTreeSet<u8>) {
            let widen = |small: &BTreeSet<u8>| small.iter().map(|i| u32::from(*i % 40)).collect::<BTreeSet<u32>>();
            let (one, two) = (widen(&one), widen(&two));
            let (a, b) = (set(&one), set(&two));
            proptest::prop_assert_eq!(a.union(&b), set(&one.union(&two).copied().collect()));
            proptest::prop_assert_eq!(a.difference(&b), set(&one.difference(&two).copied().collect()));
            proptest::prop_assert_eq!(a.len(), one.len());
            proptest::prop_assert_eq!(a.iter().map(|row| row.0).collect::<BTreeSet<_>>(), one.clone());
            proptest::prop_assert!((0..42).all(|row| a.contains(RowId(row)) == one.contains(&row)));
            proptest::prop_assert_eq!(decode::<RowSet>(&encode(&a), 1024), Ok(a));
        }
    }
}
