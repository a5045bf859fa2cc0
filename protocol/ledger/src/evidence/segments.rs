//! The map of segments that a boundary committed to, for an epoch that is past: put together again from coverage as it stands
//! and the notes of what changed since ([`crate::coverage`]), with a proof of one segment.
//!
//! The map of the running epoch is kept page by page ([`crate::pages`]); of earlier ones only the roots are, in the boundaries.
//! An audit is rare and a boundary is not, so an audit pays: it costs all segments and all changes since its epoch.

use crate::blobs;
use crate::coverage::{self, Run};
use crate::merkle::{EMPTY, Leaf, MapProof, ProofStep, Root, Side, Weight, bit, node_hash, value_hash};
use crate::records::StoredLife;
use crate::rows::RowSet;
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use floe_types::{Epoch, SequenceNumber, codec};

/// A segment with its proof.
pub(crate) struct Shown {
    /// The root of the map that it is in.
    pub root: Root,
    pub proof: MapProof,
    pub run: Run,
    pub rows: RowSet,
}

/// Shows the segment by which `number` was judged in `epoch`, which has ended and is remembered.
pub(crate) fn show(state: &dyn StateRead, epoch: Epoch, number: SequenceNumber) -> Result<Shown, StateError> {
    let now = blobs::counters(state)?.next_sequence;
    let end = certified_by(state, epoch, now)?;
    let segments = coverage::segments_in(state, epoch, (end, now))?;
    let place = segments.partition_point(|segment| segment.run.last < number);
    let shown = segments.get(place).filter(|segment| segment.run.contains(number));
    let shown = shown.ok_or_else(|| Table::Judged.damaged("a defended blob is in no segment"))?.clone();
    let leaf = |segment: coverage::Segment| Leaf {
        key: segment.run.last.0.to_be_bytes().to_vec(),
        value: value_hash(&codec::encode(&(segment.run.first.0, &segment.rows))),
        weight: Weight::default(),
    };
    let leaves: Vec<Leaf> = segments.into_iter().map(leaf).collect();
    let mut path = Vec::new();
    let root = climb(&leaves, Some(place), &mut path);
    path.reverse();
    let proof = MapProof { leaf: leaves.into_iter().nth(place), path };
    Ok(Shown { root, proof, run: shown.run, rows: shown.rows })
}

/// How many lives had begun by the end of `epoch`: numbers are given out in the order of certificates.
fn certified_by(state: &dyn StateRead, epoch: Epoch, now: u64) -> Result<u64, StateError> {
    let (mut low, mut high) = (0, now);
    while low < high {
        let middle = low + (high - low) / 2;
        let life: StoredLife = Table::Sequence.must(state, &Table::Sequence.number(middle))?;
        if life.certified <= epoch { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// The root over `leaves`, which ascend, and the path from the leaf at `place` up.
fn climb(leaves: &[Leaf], place: Option<usize>, path: &mut Vec<ProofStep>) -> Root {
    let (first, last) = match leaves {
        [] => return EMPTY,
        [only] => return only.hash(),
        [first, .., last] => (&first.key, &last.key),
    };
    let length = first.len() as u16 * 8;
    let split = (0..length).find(|at| bit(first, *at) != bit(last, *at)).unwrap_or(length);
    let middle = leaves.partition_point(|leaf| bit(&leaf.key, split) == Side::Left);
    // Keys differ, so both sides have leaves.
    let (left, right) = leaves.split_at(middle.clamp(1, leaves.len() - 1));
    let (at_left, at_right) = match place {
        Some(place) if place < left.len() => (Some(place), None),
        Some(place) => (None, Some(place - left.len())),
        None => (None, None),
    };
    let weight = Weight::default();
    let (one, two) = (climb(left, at_left, path), climb(right, at_right, path));
    let sibling = if at_left.is_some() { two } else { one };
    if place.is_some() {
        path.push(ProofStep { split, sibling, weight });
    }
    node_hash(split, (one, weight), (two, weight))
}
