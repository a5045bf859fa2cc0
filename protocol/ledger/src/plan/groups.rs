//! The blobs of classes that may be repaired, cut into the runs that share stand-ins.

use super::Runs;
use crate::coverage::{self, Run};
use crate::pages;
use crate::repairs::RUNS_MAX;
use crate::rows::RowSet;
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use floe_risk::Params as Constants;
use floe_risk::params::Life;
use floe_risk::planner::{self, Class, Flag, Group, Outcome, Verdict};
use floe_types::SequenceNumber;
use std::collections::BTreeMap;

/// The most pieces that one boundary weighs: eight million blobs in the runs of a public network. The blobs beyond wait.
pub(crate) const PIECES_MAX: usize = 32_768;

/// Where each class lies, by its rows without what is `idle`.
pub(crate) fn runs_by_class(state: &dyn StateRead, end: u64, idle: &RowSet) -> Result<Runs, StateError> {
    let mut runs = Runs::new();
    for segment in coverage::segments(state, Table::Judged, end)? {
        let of_class: &mut Vec<Run> = runs.entry(segment.rows.difference(idle)).or_default();
        match of_class.last_mut() {
            Some(last) if last.last.0.saturating_add(1) == segment.run.first.0 => last.last = segment.run.last,
            _ => of_class.push(segment.run),
        }
    }
    Ok(runs)
}

/// Whether two ascending lists of runs have a number in common.
pub(super) fn overlap(one: &[Run], two: &[Run]) -> bool {
    let (short, long) = if one.len() <= two.len() { (one, two) } else { (two, one) };
    short.iter().any(|run| {
        let at = long.partition_point(|other| other.last < run.first);
        long.get(at).is_some_and(|other| other.first <= run.last)
    })
}

/// Numbers of one class and one turn of the rotation, and how many defended blobs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub run: Run,
    pub blobs: u64,
}

/// By class and turn, its pieces in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<RowSet, BTreeMap<u16, Vec<Piece>>>);

impl Blocks {
    /// Cuts the classes and weighs the pieces in one walk over the map of blobs.
    pub(super) fn weigh(
        state: &dyn StateRead,
        constants: &Constants,
        wanted: &[RowSet],
        runs: &Runs,
    ) -> Result<Blocks, StateError> {
        let size = constants.repair.rotation_run.max(1);
        let mut pieces: Vec<(Run, &RowSet)> = Vec::new();
        for key in wanted {
            for run in runs.get(key).into_iter().flatten().take(RUNS_MAX) {
                let mut first = run.first.0;
                while first <= run.last.0 && pieces.len() < PIECES_MAX {
                    let last = run.last.0.min((first / size).saturating_mul(size).saturating_add(size - 1));
                    pieces.push((Run { first: SequenceNumber(first), last: SequenceNumber(last) }, key));
                    first = last.saturating_add(1);
                }
            }
        }
        pieces.sort_unstable_by_key(|(run, _)| *run);
        let edges = pieces.iter().flat_map(|(run, _)| [run.first.0, run.last.0.saturating_add(1)]);
        let mut starts: Vec<u64> = edges.collect();
        starts.dedup();
        let weights = pages::weights(state, &starts)?;
        let mut blocks = Blocks::default();
        for (run, key) in pieces {
            let place = starts.binary_search(&run.first.0).ok();
            let blobs = place.and_then(|place| weights.get(place)).map_or(0, |weight| weight.blobs);
            if blobs > 0 {
                let turns = blocks.0.entry(key.clone()).or_default();
                turns.entry(planner::rotation(constants, run.first)).or_default().push(Piece { run, blobs });
            }
        }
        Ok(blocks)
    }

    pub(super) fn of(&self, key: &RowSet) -> impl Iterator<Item = (u16, &[Piece])> {
        self.0.get(key).into_iter().flatten().map(|(rotation, pieces)| (*rotation, pieces.as_slice()))
    }

    pub(super) fn blobs(&self) -> u64 {
        self.0.values().flat_map(BTreeMap::values).flatten().fold(0, |sum, piece| piece.blobs.saturating_add(sum))
    }
}

/// Pieces as the planner counts them. What is over was forgotten before they were weighed.
pub(super) fn group(rotation: u16, pieces: &[Piece]) -> Group {
    let blobs = pieces.iter().fold(0u64, |sum, piece| sum.saturating_add(piece.blobs));
    Group { rotation, life: Life::Lasting, blobs }
}

/// Blobs that count and are not planned for.
pub(super) fn bystanders(blobs: u64) -> Class {
    let groups = vec![Group { rotation: 0, life: Life::Lasting, blobs }];
    Class { rows: Vec::new(), gaps: Vec::new(), open: Vec::new(), flag: Flag::Calm, groups }
}

/// Takes what was decided for a part of a class into what was decided for all of it.
pub(super) fn merge(whole: &mut Outcome, part: &Outcome) {
    whole.lines = part.lines;
    if part.verdict == Verdict::Repairing {
        whole.verdict = Verdict::Repairing;
    }
    if part.flag == Flag::Repairing {
        whole.flag = Flag::Repairing;
    }
    whole.starts = match (whole.starts, part.starts) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}

/// The last number of `pieces` up to which there are `blobs` defended ones.
pub(super) fn cut(state: &dyn StateRead, pieces: &[Piece], blobs: u64) -> Result<SequenceNumber, StateError> {
    let mut left = blobs;
    for piece in pieces {
        if piece.blobs < left {
            left -= piece.blobs;
            continue;
        }
        if piece.blobs == left {
            return Ok(piece.run.last);
        }
        let numbers: Vec<u64> = (piece.run.first.0..=piece.run.last.0.saturating_add(1)).collect();
        for (number, weight) in numbers.iter().zip(pages::weights(state, &numbers)?) {
            left = left.saturating_sub(weight.blobs);
            if left == 0 {
                return Ok(SequenceNumber(*number));
            }
        }
    }
    Ok(pieces.last().map_or(SequenceNumber(0), |piece| piece.run.last))
}

/// The runs of a class from the first of `pieces` to number `cut`.
pub(super) fn clipped(all: &[Run], pieces: &[Piece], cut: SequenceNumber) -> Vec<Run> {
    let first = pieces.first().map_or(SequenceNumber(0), |piece| piece.run.first);
    let parts = all.iter().take(RUNS_MAX).filter(|run| run.last >= first && run.first <= cut);
    parts.map(|run| Run { first: run.first.max(first), last: run.last.min(cut) }).collect()
}
