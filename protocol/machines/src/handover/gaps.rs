//! What is missing here, as the ledger says: the fragments of shards that come to this node, or came, and are not attested.
//!
//! Only shards that somebody else holds too are looked at: what nobody hands over is not fetched but rebuilt, and that is
//! another machine's business. What has been gathered and is not attested yet (a seat to come is not spoken for before
//! its term begins) is not missing. So a network in which nothing moves costs one look at its rows an epoch.

use super::{Gap, Place};
use crate::fragments::FragmentStore;
use floe_erasure::{Layout, pair_of};
use floe_ledger::{RowKind, StateError, StateRead, views};
use floe_types::{NodeId, ShardIndex};

/// The gaps of `node`, which has what is in `store`, from `from` on, shard after shard and by number within each: at most
/// `limit`, and where to go on.
///
/// # Errors
/// [`StateError`].
pub fn gaps(
    (state, store): (&dyn StateRead, &dyn FragmentStore),
    node: &NodeId,
    from: Place,
    limit: usize,
) -> Result<(Vec<Gap>, Option<Place>), StateError> {
    let shards = views::committee(state)?.shards();
    let rows = views::rows(state)?;
    let is_mine = |kind: RowKind| matches!(kind, RowKind::Seat | RowKind::Incoming);
    let mut mine: Vec<_> = rows.of(node).filter(|(_, row)| is_mine(row.kind) && row.shard >= from.shard).collect();
    mine.sort_by_key(|(_, row)| row.shard);
    let handed_over = |shard: ShardIndex| rows.iter().any(|(_, row)| row.shard == shard && row.holder != *node);
    let mut found = Vec::new();
    for (id, row) in mine.into_iter().filter(|(_, row)| handed_over(row.shard)) {
        let first = if row.shard == from.shard { from.sequence } else { Place::START.sequence };
        let room = limit.saturating_sub(found.len());
        if room == 0 {
            return Ok((found, Some(Place { shard: row.shard, sequence: first })));
        }
        let page = views::gaps(state, id, first, room)?;
        for gap in page.gaps {
            let Some(life) = views::sequence(state, gap.sequence)? else { continue };
            let Ok(layout) = Layout::new(shards, gap.length) else { continue };
            // A store that fails is asked again when the fragment is kept.
            let held = store.record(&gap.blob, pair_of(&gap.blob, row.shard, shards)).ok().flatten();
            if held.is_some_and(|record| record.key.group >= gap.last) {
                continue;
            }
            let sources = views::holders(state, &gap.blob)?;
            let sources = sources.into_iter().filter(|holder| holder.shard == row.shard && holder.node != *node);
            found.push(Gap {
                sequence: gap.sequence,
                registration: life.registration,
                blob: gap.blob,
                blob_bytes: gap.length,
                shard: row.shard,
                group: gap.last,
                bytes: layout.fragment_bytes(),
                sources: sources.map(|holder| holder.node).collect(),
            });
        }
        if let Some(sequence) = page.next {
            return Ok((found, Some(Place { shard: row.shard, sequence })));
        }
    }
    Ok((found, None))
}
