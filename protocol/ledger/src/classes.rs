//! What the blobs that the same rows cover weigh together, as the running epoch is judged by: one entry a class.
//!
//! A boundary judges every class once and must not look at every segment to know what it weighs, so weights move when
//! coverage does: a certificate adds its blob to a class, what is forgotten leaves its class, and rows that numbers got or lost
//! at a boundary move the weight of those numbers from one class to another ([`shift`]).
//!
//! A class here is the set of rows as coverage names it. Past rows may still be among them until they are taken out
//! ([`crate::rows::Rows`]); a class of which nothing is defended has no entry.
//!
//! # Laws
//! - The sum over all classes is the weight of the map of blobs by number.

use crate::coverage::{Altered, Run};
use crate::merkle::Weight;
use crate::pages;
use crate::rows::RowSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::codec;
use std::collections::BTreeMap;

fn key(rows: &RowSet) -> Vec<u8> {
    Table::Classes.key(&[&codec::hash("floe 1 ledger: class", &codec::encode(rows))])
}

fn weight(state: &dyn StateRead, key: &[u8]) -> Result<Weight, StateError> {
    let stored: Option<(RowSet, Weight)> = Table::Classes.load(state, key)?;
    Ok(stored.map(|(_, weight)| weight).unwrap_or_default())
}

fn put(overlay: &mut Overlay<'_>, key: Vec<u8>, rows: &RowSet, weight: Weight) {
    match weight {
        Weight { blobs: 0, .. } => overlay.delete(key),
        weight => Table::Classes.store(overlay, key, &(rows, weight)),
    }
}

/// Adds what weighs `more` to the class of `rows`.
pub(crate) fn add(overlay: &mut Overlay<'_>, rows: &RowSet, more: Weight) -> Result<(), StateError> {
    let key = key(rows);
    let sum = weight(overlay, &key)?.plus(more);
    put(overlay, key, rows, sum);
    Ok(())
}

/// Takes what weighs `less` out of the class of `rows`.
pub(crate) fn take(overlay: &mut Overlay<'_>, rows: &RowSet, less: Weight) -> Result<(), StateError> {
    let key = key(rows);
    let rest = weight(overlay, &key)?.minus(less);
    let rest = rest.ok_or_else(|| Table::Classes.damaged("a class weighs less than what leaves it"))?;
    put(overlay, key, rows, rest);
    Ok(())
}

/// What runs of numbers weigh, read off the map of blobs in one walk. The map must have been flushed.
pub(crate) struct Scale {
    /// The numbers at which some run begins or has ended.
    edges: Vec<u64>,
    /// What all numbers below each of them weigh, from the first one on.
    below: Vec<Weight>,
}

impl Scale {
    /// A scale for these runs.
    pub(crate) fn over(state: &dyn StateRead, runs: impl Iterator<Item = Run>) -> Result<Scale, StateError> {
        let mut edges: Vec<u64> = runs.flat_map(|run| [run.first.0, run.last.0.saturating_add(1)]).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut below = Vec::with_capacity(edges.len());
        let mut sum = Weight::default();
        for weight in pages::weights(state, &edges)? {
            below.push(sum);
            sum = sum.plus(weight);
        }
        Ok(Scale { edges, below })
    }

    /// What one of the runs weighs.
    pub(crate) fn weight(&self, run: Run) -> Weight {
        let at = |edge: u64| {
            let place = self.edges.binary_search(&edge).ok();
            place.and_then(|place| self.below.get(place)).copied().unwrap_or_default()
        };
        at(run.last.0.saturating_add(1)).minus(at(run.first.0)).unwrap_or_default()
    }
}

/// Moves numbers whose rows changed from class to class. Weights are those of the flushed map.
pub(crate) fn shift(overlay: &mut Overlay<'_>, altered: &[Altered]) -> Result<(), StateError> {
    if altered.is_empty() {
        return Ok(());
    }
    let scale = Scale::over(overlay, altered.iter().map(|part| part.run))?;
    let mut moved: BTreeMap<&RowSet, (Weight, Weight)> = BTreeMap::new();
    for Altered { run, before, after } in altered {
        let weight = scale.weight(*run);
        if weight.blobs > 0 {
            let left = moved.entry(before).or_default();
            left.0 = left.0.plus(weight);
            let came = moved.entry(after).or_default();
            came.1 = came.1.plus(weight);
        }
    }
    for (rows, (left, came)) in moved {
        add(overlay, rows, came)?;
        take(overlay, rows, left)?;
    }
    Ok(())
}

/// Every class with its weight, in the order of its rows.
pub(crate) fn all(state: &dyn StateRead) -> Result<BTreeMap<RowSet, Weight>, StateError> {
    let entries = Table::Classes.all(state, &[])?;
    entries.iter().map(|(_, value)| Table::Classes.parse(value)).collect()
}

/// The classes that are judged, past rows and marks left out, with what they weigh.
pub(crate) fn judged(all: &BTreeMap<RowSet, Weight>, idle: &RowSet) -> BTreeMap<RowSet, Weight> {
    let mut classes: BTreeMap<RowSet, Weight> = BTreeMap::new();
    for (rows, weight) in all {
        let entry = classes.entry(rows.difference(idle)).or_default();
        *entry = entry.plus(*weight);
    }
    classes
}
