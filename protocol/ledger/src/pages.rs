//! How the Merkle maps are stored: as pages of up to sixteen slots, changed once a block.
//!
//! The tree that [`crate::merkle`] hashes is binary; stored node by node it would cost more than what it is over. A *page*
//! holds all nodes that split at one of the four bits of one half-byte (*nibble*), as the summaries of what is in its
//! slots; the nodes inside are hashed again when they are needed. A page stands at a depth counted in nibbles and under
//! the nibbles before it. Pages with a single slot are left out: a slot names the nibbles it skips. So a leaf costs about its
//! hash, and the pages there are follow from the keys alone.
//!
//! ```text
//! top ──skips 0,0,0──► page at depth 3 ──slot a──► leaf
//!                                      └─slot c──► page at depth 4 ── ...
//! ```
//!
//! A leaf's key is not stored either: it is the only key of the map's own table that begins as the slot says. Only the map of
//! segments has its keys in the slots, because its table may be other than its leaves while a block is on its way.
//!
//! **Once a block.** A change ([`Overlay::put_leaf`](crate::state::Overlay::put_leaf)) waits until [`flush`] writes all of them in
//! one pass, so that a block which changes a thousand leaves hashes the upper pages once. Roots, weights and proofs are of
//! what was flushed.
//!
//! The maps of blobs never lose a key: the ledger forgets by changing a leaf, so that *it was there* stays provable. Segments
//! become one and fall apart, so their map loses keys: a page that is left with a single slot gives it to the page above, and
//! the pages there are follow from the keys alone in that map too.

#[path = "pages_build.rs"]
mod build;

pub(crate) use build::{Builder, Sink};

use crate::blobs;
use crate::merkle::{EMPTY, Leaf, Map, MapProof, ProofStep, Root, Side, Weight, bit, node_hash, value_hash};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, after};
use floe_types::SequenceNumber;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether the map has the key of a changed leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    Known,
    /// The key is taken out of the map. Only of segments.
    Gone,
}

/// A leaf that waits to be written.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    /// The encoding that the map commits to.
    pub value: Vec<u8>,
    pub weight: Weight,
    pub novelty: Novelty,
}

/// Leaves that wait, by map and key.
pub(crate) type Puts = BTreeMap<(Map, Vec<u8>), Put>;

/// What stands in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Slot {
    Leaf(Root, Weight),
    /// A page, and the nibbles between its slot and it.
    Page(Root, Weight, Vec<u8>),
    /// A leaf that weighs nothing, and its key.
    Keyed(Root, #[serde(with = "serde_bytes")] Vec<u8>),
}

impl Slot {
    fn of_leaf(map: Map, hash: Root, weight: Weight, key: &[u8]) -> Slot {
        match map {
            Map::Segments => Slot::Keyed(hash, key.to_vec()),
            Map::BySequence | Map::ById => Slot::Leaf(hash, weight),
        }
    }

    fn summary(&self) -> (Root, Weight) {
        match self {
            Slot::Leaf(hash, weight) | Slot::Page(hash, weight, _) => (*hash, *weight),
            Slot::Keyed(hash, _) => (*hash, Weight::default()),
        }
    }

    /// The slot as it stands when the page that it was in, `path` below, is left out.
    fn lifted(self, path: Vec<u8>, nibble: u8) -> Slot {
        match self {
            Slot::Page(hash, weight, below) => Slot::Page(hash, weight, [path, vec![nibble], below].concat()),
            leaf => leaf,
        }
    }
}

/// Slots by nibble.
#[derive(Clone, Debug, Default)]
struct Page([Option<Slot>; 16]);

impl Page {
    fn load(state: &dyn StateRead, map: Map, depth: usize, key: &[u8]) -> Result<Page, StateError> {
        let (occupied, slots): (u16, Vec<Slot>) = Table::Merkle.must(state, &address(map, depth, key))?;
        let mut page = Page::default();
        let places = (0..16).filter(|at| occupied & (1 << at) != 0);
        for (at, slot) in places.zip(slots) {
            if let Some(place) = page.0.get_mut(at) {
                *place = Some(slot);
            }
        }
        Ok(page)
    }

    fn set(&mut self, nibble: u8, slot: Slot) {
        if let Some(place) = self.0.get_mut(usize::from(nibble)) {
            *place = Some(slot);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let places = self.0.iter().enumerate().filter(|(_, slot)| slot.is_some());
        let occupied: u16 = places.map(|(at, _)| 1u16 << at).sum();
        let slots: Vec<&Slot> = self.0.iter().flatten().collect();
        floe_types::codec::encode(&(occupied, slots))
    }

    fn store(&self, overlay: &mut Overlay<'_>, map: Map, depth: usize, key: &[u8]) {
        overlay.put(address(map, depth, key), self.encode());
    }

    /// The summary of the slots from `first` on, `16 >> bit` of them, in a page at `depth`; none when all are empty.
    fn summary(&self, depth: usize, first: usize, bit: u16) -> Option<(Root, Weight)> {
        if bit == 4 {
            return self.0.get(first)?.as_ref().map(Slot::summary);
        }
        let left = self.summary(depth, first, bit + 1);
        let right = self.summary(depth, first + (8 >> bit), bit + 1);
        match (left, right) {
            (Some(left), Some(right)) => Some((node_hash(split(depth, bit), left, right), left.1.plus(right.1))),
            (only, None) | (None, only) => only,
        }
    }
}

/// The bit of a key that a node in a page at `depth` splits at. Keys have at most 64 nibbles.
fn split(depth: usize, bit: u16) -> u16 {
    depth as u16 * 4 + bit
}

fn nibble(key: &[u8], at: usize) -> u8 {
    let byte = key.get(at / 2).copied().unwrap_or(0);
    if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

/// Sets a nibble of a key.
fn set_nibble(key: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = key.get_mut(at / 2) {
        *byte = if at.is_multiple_of(2) { (*byte & 15) | (value << 4) } else { (*byte & 0xf0) | (value & 15) };
    }
}

/// Where the page at `depth` under the first nibbles of `key` is.
fn address(map: Map, depth: usize, key: &[u8]) -> Vec<u8> {
    let mut prefix = key.get(..depth.div_ceil(2)).unwrap_or(key).to_vec();
    if !depth.is_multiple_of(2) {
        set_nibble(&mut prefix, depth, 0);
    }
    Table::Merkle.key(&[&[map as u8, depth as u8], &prefix])
}

/// The table whose keys are the map's, and how long they are in bytes.
pub(crate) fn table(map: Map) -> (Table, usize) {
    match map {
        Map::BySequence => (Table::Sequence, 8),
        Map::ById => (Table::Blobs, 32),
        Map::Segments => (Table::Judged, 8),
    }
}

fn top(state: &dyn StateRead, map: Map) -> Result<Option<Slot>, StateError> {
    Table::MerkleRoots.load(state, &Table::MerkleRoots.key(&[&[map as u8]]))
}

/// The keys that begin with the first `depth` nibbles of `key`, at most `limit`.
fn keys_below(
    state: &dyn StateRead,
    map: Map,
    depth: usize,
    key: &[u8],
    limit: usize,
) -> Result<Vec<Vec<u8>>, StateError> {
    let (table, length) = table(map);
    let (mut least, mut most) = (vec![0; length], vec![255; length]);
    for at in 0..depth {
        set_nibble(&mut least, at, nibble(key, at));
        set_nibble(&mut most, at, nibble(key, at));
    }
    let entries = state.range(&table.key(&[&least]), &after(table.key(&[&most])), limit)?;
    Ok(entries.into_iter().map(|(key, _)| key.get(1..).unwrap_or_default().to_vec()).collect())
}

/// A leaf on its way into the tree.
#[derive(Clone)]
struct Item {
    key: Vec<u8>,
    hash: Root,
    weight: Weight,
    novelty: Novelty,
}

/// Writes pages of one map.
struct Writer<'o, 'b> {
    overlay: &'o mut Overlay<'b>,
    map: Map,
}

impl Writer<'_, '_> {
    /// `slot` with `items` in it: ascending, at least one, all beginning with the `depth` nibbles that lead to the slot.
    ///
    /// None when nothing is left in it.
    fn update(&mut self, slot: Option<Slot>, depth: usize, items: &[Item]) -> Result<Option<Slot>, StateError> {
        match slot {
            Some(Slot::Keyed(hash, key)) => {
                let mut all = items.to_vec();
                if let Err(place) = all.binary_search_by(|item| item.key.cmp(&key)) {
                    all.insert(place, Item { key, hash, weight: Weight::default(), novelty: Novelty::Known });
                }
                self.grow(depth, &all)
            }
            None => self.grow(depth, items),
            // The only key here that the map had is the one that stood here.
            Some(Slot::Leaf(..)) if items.iter().any(|item| item.novelty == Novelty::Known) => self.grow(depth, items),
            Some(Slot::Leaf(hash, weight)) => {
                let first = items.first().map(|item| item.key.clone()).unwrap_or_default();
                let found = keys_below(self.overlay, self.map, depth, &first, items.len() + 1)?;
                let old = found.into_iter().find(|key| items.iter().all(|item| item.key != *key));
                let key = old.ok_or_else(|| Table::Merkle.damaged("a leaf's key is not in its table"))?;
                let mut all = items.to_vec();
                let place = all.partition_point(|item| item.key < key);
                all.insert(place, Item { key, hash, weight, novelty: Novelty::Known });
                self.grow(depth, &all)
            }
            Some(Slot::Page(hash, weight, path)) => self.descend((hash, weight, path), depth, items),
        }
    }

    fn descend(
        &mut self,
        (hash, weight, path): (Root, Weight, Vec<u8>),
        depth: usize,
        items: &[Item],
    ) -> Result<Option<Slot>, StateError> {
        let Some(first) = items.first() else { return Ok(Some(Slot::Page(hash, weight, path))) };
        let leaves = |at: usize, kept: u8| items.iter().any(|item| nibble(&item.key, depth + at) != kept);
        let fork = path.iter().enumerate().position(|(at, kept)| leaves(at, *kept));
        let (page, path) = match fork {
            None => (Page::load(self.overlay, self.map, depth + path.len(), &first.key)?, path),
            Some(at) => {
                let (before, rest) = path.split_at(at);
                let (taken, rest) = rest.split_first().map_or((0, rest), |(taken, rest)| (*taken, rest));
                let mut page = Page::default();
                if let Some(place) = page.0.get_mut(usize::from(taken)) {
                    *place = Some(Slot::Page(hash, weight, rest.to_vec()));
                }
                (page, before.to_vec())
            }
        };
        self.fill(page, depth, path, items)
    }

    /// A slot for what was not there before.
    fn grow(&mut self, depth: usize, items: &[Item]) -> Result<Option<Slot>, StateError> {
        if items.iter().any(|item| item.novelty == Novelty::Gone) {
            let left: Vec<_> = items.iter().filter(|item| item.novelty != Novelty::Gone).cloned().collect();
            return self.grow(depth, &left);
        }
        match items {
            [] => Ok(None),
            [only] => Ok(Some(Slot::of_leaf(self.map, only.hash, only.weight, &only.key))),
            [first, .., last] => {
                let differs = |at: &usize| nibble(&first.key, *at) != nibble(&last.key, *at);
                let end = (depth..first.key.len() * 2).find(differs);
                let end = end.ok_or_else(|| Table::Merkle.damaged("a key is twice in one map"))?;
                let path = (depth..end).map(|at| nibble(&first.key, at)).collect();
                self.fill(Page::default(), depth, path, items)
            }
        }
    }

    /// Puts `items` into a page that stands `path` below `depth`, and stores it, unless a single slot or none is left.
    fn fill(
        &mut self,
        mut page: Page,
        depth: usize,
        path: Vec<u8>,
        items: &[Item],
    ) -> Result<Option<Slot>, StateError> {
        let end = depth + path.len();
        for group in items.chunk_by(|one, two| nibble(&one.key, end) == nibble(&two.key, end)) {
            let Some(first) = group.first() else { continue };
            if let Some(place) = page.0.get_mut(usize::from(nibble(&first.key, end))) {
                *place = self.update(place.take(), end + 1, group)?;
            }
        }
        let Some(first) = items.first() else { return Ok(None) };
        if page.0.iter().flatten().count() < 2 {
            self.overlay.delete(address(self.map, end, &first.key));
            let only = (0u8..).zip(page.0).find_map(|(nibble, slot)| Some((nibble, slot?)));
            return Ok(only.map(|(nibble, slot)| slot.lifted(path, nibble)));
        }
        page.store(self.overlay, self.map, end, &first.key);
        let (hash, weight) = page.summary(end, 0, 0).unwrap_or_default();
        Ok(Some(Slot::Page(hash, weight, path)))
    }
}

/// Writes the leaves that wait in `overlay` into their maps.
pub(crate) fn flush(overlay: &mut Overlay<'_>) -> Result<(), StateError> {
    let mut maps: BTreeMap<Map, Vec<Item>> = BTreeMap::new();
    for ((map, key), put) in overlay.take_leaves() {
        let leaf = Leaf { key, value: value_hash(&put.value), weight: put.weight };
        let hash = leaf.hash();
        let item = Item { key: leaf.key, hash, weight: put.weight, novelty: put.novelty };
        maps.entry(map).or_default().push(item);
    }
    for (map, items) in maps {
        let slot = top(overlay, map)?;
        let slot = Writer { overlay, map }.update(slot, 0, &items)?;
        let key = Table::MerkleRoots.key(&[&[map as u8]]);
        match slot {
            Some(slot) => Table::MerkleRoots.store(overlay, key, &slot),
            None => overlay.delete(key),
        }
    }
    Ok(())
}

/// The map's root and what all of it weighs.
pub(crate) fn root(state: &dyn StateRead, map: Map) -> Result<(Root, Weight), StateError> {
    Ok(top(state, map)?.map_or((EMPTY, Weight::default()), |slot| slot.summary()))
}

/// What the numbers from each of `starts` to the next one weigh; those below the first are left out. `starts` ascend.
///
/// One walk, which visits the pages that some start divides and no other.
pub(crate) fn weights(state: &dyn StateRead, starts: &[u64]) -> Result<Vec<Weight>, StateError> {
    let mut found = vec![Weight::default(); starts.len()];
    if let Some(slot) = top(state, Map::BySequence)? {
        weigh(state, (&slot, 0, 0), starts, &mut found)?;
    }
    Ok(found)
}

fn weigh(
    state: &dyn StateRead,
    (slot, depth, least): (&Slot, usize, u64),
    starts: &[u64],
    found: &mut [Weight],
) -> Result<(), StateError> {
    let key = least.to_be_bytes();
    let most = least | u64::MAX.checked_shr(depth as u32 * 4).unwrap_or(0);
    let below = starts.partition_point(|start| *start <= least);
    let undivided = starts.partition_point(|start| *start <= most) == below;
    let add = |place: usize, found: &mut [Weight]| {
        if let Some(sum) = place.checked_sub(1).and_then(|place| found.get_mut(place)) {
            *sum = sum.plus(slot.summary().1);
        }
    };
    match slot {
        _ if undivided => add(below, found),
        Slot::Leaf(..) | Slot::Keyed(..) => {
            let key = keys_below(state, Map::BySequence, depth, &key, 1)?.pop().unwrap_or_default();
            let number = u64::from_be_bytes(key.try_into().unwrap_or_default());
            add(starts.partition_point(|start| *start <= number), found);
        }
        Slot::Page(_, _, path) => {
            let mut key = key;
            path.iter().enumerate().for_each(|(at, taken)| set_nibble(&mut key, depth + at, *taken));
            let end = depth + path.len();
            for (taken, slot) in (0u8..).zip(Page::load(state, Map::BySequence, end, &key)?.0) {
                set_nibble(&mut key, end, taken);
                if let Some(slot) = slot {
                    weigh(state, (&slot, end + 1, u64::from_be_bytes(key)), starts, found)?;
                }
            }
        }
    }
    Ok(())
}

/// The number of the blob that has byte `byte` of one shard's fragments of all defended blobs, one after the other in the order of
/// their numbers; none beyond the last.
pub(crate) fn at_byte(state: &dyn StateRead, mut byte: u64) -> Result<Option<SequenceNumber>, StateError> {
    let Some(mut slot) = top(state, Map::BySequence)?.filter(|slot| byte < slot.summary().1.fragment_bytes) else {
        return Ok(None);
    };
    let (mut at, mut depth) = (vec![0; table(Map::BySequence).1], 0);
    while let Slot::Page(_, _, path) = slot {
        path.iter().enumerate().for_each(|(step, taken)| set_nibble(&mut at, depth + step, *taken));
        depth += path.len();
        let slots = (0u8..).zip(Page::load(state, Map::BySequence, depth, &at)?.0);
        let mut next = None;
        for (taken, below) in slots {
            let Some(below) = below else { continue };
            match byte.checked_sub(below.summary().1.fragment_bytes) {
                Some(rest) => byte = rest,
                None => {
                    next = Some((taken, below));
                    break;
                }
            }
        }
        let (taken, below) = next.ok_or_else(|| Table::Merkle.damaged("a page weighs more than what is in it"))?;
        set_nibble(&mut at, depth, taken);
        depth += 1;
        slot = below;
    }
    let key = keys_below(state, Map::BySequence, depth, &at, 1)?.pop().and_then(|key| key.try_into().ok());
    let key = key.ok_or_else(|| Table::Merkle.damaged("a leaf's key is not in its table"))?;
    Ok(Some(SequenceNumber(u64::from_be_bytes(key))))
}

/// The encoding that `map` commits to at `key`.
fn value(state: &dyn StateRead, map: Map, key: &[u8]) -> Result<Vec<u8>, StateError> {
    let missing = || Table::Merkle.damaged("a leaf has no record");
    match map {
        Map::ById => state.get(&Table::Blobs.key(&[key]))?.ok_or_else(missing),
        Map::Segments => state.get(&Table::Judged.key(&[key]))?.ok_or_else(missing),
        Map::BySequence => {
            let number = u64::from_be_bytes(key.try_into().map_err(|_| missing())?);
            let life = blobs::life(state, SequenceNumber(number))?.ok_or_else(missing)?;
            Ok(floe_types::codec::encode(&life))
        }
    }
}

/// A proof about `key`.
pub(crate) fn prove(state: &dyn StateRead, map: Map, key: &[u8]) -> Result<MapProof, StateError> {
    let mut path = Vec::new();
    let Some(mut slot) = top(state, map)? else { return Ok(MapProof { leaf: None, path }) };
    // Where the walk has come, which the key need not agree with.
    let (mut at, mut depth) = (vec![0; table(map).1], 0);
    while let Slot::Page(_, _, skipped) = slot {
        skipped.iter().enumerate().for_each(|(step, taken)| set_nibble(&mut at, depth + step, *taken));
        depth += skipped.len();
        let page = Page::load(state, map, depth, &at)?;
        let mut first = 0;
        for step in 0..4u16 {
            let half = 8 >> step;
            let (left, right) = (page.summary(depth, first, step + 1), page.summary(depth, first + half, step + 1));
            let (taken, other) = match (bit(key, split(depth, step)), left, right) {
                (Side::Left, Some(_), other) => (first, other),
                (Side::Right, other, Some(_)) => (first + half, other),
                (Side::Left, None, _) => (first + half, None),
                (Side::Right, _, None) => (first, None),
            };
            path.extend(other.map(|(sibling, weight)| ProofStep { split: split(depth, step), sibling, weight }));
            first = taken;
        }
        set_nibble(&mut at, depth, first as u8);
        depth += 1;
        let next = page.0.into_iter().nth(first).flatten();
        slot = next.ok_or_else(|| Table::Merkle.damaged("a page is empty"))?;
    }
    let key = keys_below(state, map, depth, &at, 1)?.pop();
    let key = key.ok_or_else(|| Table::Merkle.damaged("a leaf's key is not in its table"))?;
    let leaf = Leaf { value: value_hash(&value(state, map, &key)?), weight: slot.summary().1, key };
    Ok(MapProof { leaf: Some(leaf), path })
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
