//! What this node's rows cover and its store does not have.

use crate::fragments::FragmentStore;
use crate::handover::Place;
use floe_erasure::pair_of;
use floe_ledger::{Run, StateError, StateRead, views};
use floe_types::{NodeId, SequenceNumber, ShardIndex};
use std::collections::BTreeMap;

/// Blobs looked up in one call, whatever is found: a walk over a million goes page by page.
pub const LOOKED_AT_MAX: usize = 4_096;

/// What is missing, by shard, and where to go on.
pub type Absent = (Vec<(ShardIndex, Run)>, Option<Place>);

/// Runs of defended blobs that a row of `node` covers and `store` has not, from `from` on, shard after shard: at most
/// `limit`, and where to go on. Forgotten numbers inside a run belong to it; both its ends are defended.
///
/// A store that cannot be read is not missing anything: it is asked again by the next walk.
///
/// # Errors
/// [`StateError`].
pub fn absent(
    (state, store): (&dyn StateRead, &dyn FragmentStore),
    node: &NodeId,
    from: Place,
    limit: usize,
) -> Result<Absent, StateError> {
    let shards = views::committee(state)?.shards();
    let epoch = views::head(state)?.epoch;
    let mut mine: BTreeMap<ShardIndex, Vec<Run>> = BTreeMap::new();
    for (id, row) in views::rows_of(state, node)? {
        if row.shard >= from.shard {
            mine.entry(row.shard).or_default().extend(views::row_coverage(state, id)?);
        }
    }
    let mut found: Vec<(ShardIndex, Run)> = Vec::new();
    let mut looked_at = 0usize;
    for (shard, mut runs) in mine {
        runs.sort_unstable();
        let first = if shard == from.shard { from.sequence } else { Place::START.sequence };
        for run in runs {
            let mut open: Option<Run> = None;
            for number in run.first.0.max(first.0)..=run.last.0 {
                let sequence = SequenceNumber(number);
                if looked_at >= LOOKED_AT_MAX || found.len() >= limit {
                    found.extend(open.map(|run| (shard, run)));
                    return Ok((found, Some(Place { shard, sequence })));
                }
                looked_at += 1;
                let life = views::sequence(state, sequence)?;
                let Some(life) = life.filter(|life| !life.defence.is_over() && life.last >= epoch) else { continue };
                let there = store.record(&life.blob, pair_of(&life.blob, shard, shards));
                match (there, &mut open) {
                    (Ok(None), Some(run)) => run.last = sequence,
                    (Ok(None), None) => open = Some(Run { first: sequence, last: sequence }),
                    (Ok(Some(_)) | Err(_), _) => found.extend(open.take().map(|run| (shard, run))),
                }
            }
            // What lies between two runs of a row is not covered by it: a withdrawal ends here.
            found.extend(open.map(|run| (shard, run)));
        }
    }
    Ok((found, None))
}
