//! What this node has a right to rebuild, as the ledger says: its tickets, then the gaps of its seats that it may fill.
//!
//! A gap of a seat whose shard somebody else covers is the hand-over's: it fetches whole fragments and needs no right. A ticket is
//! carried out in any case, and begins with those who cover the shard.
//!
//! What was rebuilt here and is not covered is found too, so that a crash between keeping and attesting costs nothing.

use super::{Helper, Rebuild};
use crate::fragments::FragmentStore;
use crate::wire::fragment::Right;
use floe_erasure::pair_of;
use floe_ledger::{RowKind, StateError, StateRead, views};
use floe_types::{Epoch, MemberIndex, NodeId, Params, SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Where a look over the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Among the tickets: the one at this place of the list, urgent ones first, from this number on.
    Tickets {
        /// Which ticket.
        at: usize,
        /// The number.
        sequence: SequenceNumber,
    },
    /// Among the gaps of this node's seats: from this shard and number on.
    Refills {
        /// The shard.
        shard: ShardIndex,
        /// The number.
        sequence: SequenceNumber,
    },
}

impl Place {
    /// Where every look begins.
    pub const START: Place = Place::Tickets { at: 0, sequence: SequenceNumber(0) };
    const REFILLS: Place = Place::Refills { shard: ShardIndex(0), sequence: SequenceNumber(0) };
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Fragments that are missing here and may be rebuilt, the most urgent first.
    pub rebuilds: Vec<Rebuild>,
    /// Fragments that are here and that the ledger does not know of yet.
    pub held: Vec<(ShardIndex, SequenceNumber)>,
    /// Where the next page begins; none when there is none.
    pub next: Option<Place>,
}

/// What `node`, which has what is in `store`, may rebuild, from `from` on. At most `limit` blobs are looked at in a page, so that
/// one may be empty and still have a next.
///
/// # Errors
/// [`StateError`].
pub fn work(
    (state, store): (&dyn StateRead, &dyn FragmentStore),
    params: &Params,
    node: &NodeId,
    from: Place,
    limit: usize,
) -> Result<Work, StateError> {
    let now = views::head(state)?.epoch;
    let absent = absent(state)?;
    let mut finder = Finder { state, store, params, node, now, absent, found: Work::default() };
    finder.found.next = match from {
        Place::Tickets { at, sequence } => finder.tickets(at, sequence, limit)?,
        Place::Refills { shard, sequence } => finder.refills(shard, sequence, limit)?,
    };
    Ok(finder.found)
}

struct Finder<'a> {
    state: &'a dyn StateRead,
    store: &'a dyn FragmentStore,
    params: &'a Params,
    node: &'a NodeId,
    now: Epoch,
    /// Members that did not take part in the epoch decided last: asked last, and for whole fragments not at all.
    absent: BTreeSet<NodeId>,
    found: Work,
}

impl Finder<'_> {
    /// A page of one ticket; where the next begins.
    fn tickets(&mut self, at: usize, from: SequenceNumber, limit: usize) -> Result<Option<Place>, StateError> {
        let tickets = views::tickets_of(self.state, self.node)?;
        let Some(ticket) = tickets.get(at) else { return Ok(Some(Place::REFILLS)) };
        let page = views::ticket_work(self.state, self.params, ticket, from, limit)?;
        let right = Right::Ticket { number: ticket.number };
        for gap in page.gaps {
            self.consider(ticket.shard, gap, right)?;
        }
        Ok(Some(match page.next {
            Some(sequence) => Place::Tickets { at, sequence },
            None => Place::Tickets { at: at.saturating_add(1), sequence: SequenceNumber(0) },
        }))
    }

    /// A page of one seat; where the next begins.
    fn refills(&mut self, shard: ShardIndex, from: SequenceNumber, limit: usize) -> Result<Option<Place>, StateError> {
        let rows = views::rows_of(self.state, self.node)?;
        let seats = rows.iter().filter(|(_, row)| row.kind == RowKind::Seat && row.shard >= shard);
        let Some((id, row)) = seats.min_by_key(|(_, row)| row.shard) else { return Ok(None) };
        let first = if row.shard == shard { from } else { SequenceNumber(0) };
        let page = views::refills(self.state, self.params, *id, first, limit)?;
        for refill in page.refills {
            self.consider(row.shard, refill.gap, refill.right)?;
        }
        let next_shard = || row.shard.0.checked_add(1).map(ShardIndex);
        Ok(match page.next {
            Some(sequence) => Some(Place::Refills { shard: row.shard, sequence }),
            None => next_shard().map(|shard| Place::Refills { shard, sequence: SequenceNumber(0) }),
        })
    }

    fn consider(&mut self, shard: ShardIndex, gap: views::Gap, right: Right) -> Result<(), StateError> {
        let shards = views::committee(self.state)?.shards();
        // A store that fails is asked again when the fragment is kept.
        let held = self.store.record(&gap.blob, pair_of(&gap.blob, shard, shards)).ok().flatten();
        if held.is_some_and(|record| record.key.group >= gap.last) {
            self.found.held.push((shard, gap.sequence));
            return Ok(());
        }
        let covering = views::holders(self.state, &gap.blob)?;
        let holders = covering.iter().filter(|holder| holder.shard == shard && holder.node != *self.node);
        let mut holders: Vec<NodeId> = holders.map(|holder| holder.node).collect();
        if !holders.is_empty() && !matches!(right, Right::Ticket { .. }) {
            return Ok(());
        }
        holders.retain(|node| !self.absent.contains(node));
        let Some(life) = views::sequence(self.state, gap.sequence)? else { return Ok(()) };
        // Its uploader goes on sending to the end of the next epoch.
        if right == Right::Standing && self.now <= life.certified.next() {
            return Ok(());
        }
        let others = covering.iter().filter(|holder| holder.shard != shard);
        let others = others.map(|holder| Helper { shard: holder.shard, node: holder.node }).collect();
        self.found.rebuilds.push(Rebuild {
            sequence: gap.sequence,
            registration: life.registration,
            blob: gap.blob,
            blob_bytes: gap.length,
            shards,
            shard,
            group: gap.last,
            right,
            holders,
            helpers: in_turn(others, (self.node, &self.absent), u64::from(shard.0).wrapping_add(gap.sequence.0)),
        });
        Ok(())
    }
}

/// Members that did not take part in the epoch decided last.
fn absent(state: &dyn StateRead) -> Result<BTreeSet<NodeId>, StateError> {
    let Some(record) = views::latest_decided(state)? else { return Ok(BTreeSet::new()) };
    let Some(committee) = views::committee_of(state, record.term)? else { return Ok(BTreeSet::new()) };
    let members = (0..).map(MemberIndex).zip(committee.members());
    let there = |index| record.boundary.answered.contains(index) && record.boundary.reporters.contains(index);
    let silent = members.filter(|(index, _)| !there(*index));
    Ok(silent.map(|(_, member)| member.node).collect())
}

/// Helpers in the order in which they are asked: this node first, then the others in turn, so that neighbouring blobs are
/// asked of different ones, and who was absent last; of a node's shards one at a time, so that its stream limit is met late.
fn in_turn(helpers: Vec<Helper>, (me, absent): (&NodeId, &BTreeSet<NodeId>), turn: u64) -> Vec<Helper> {
    let (mine, others): (Vec<Helper>, Vec<Helper>) = helpers.into_iter().partition(|helper| helper.node == *me);
    let mut of_node: BTreeMap<NodeId, Vec<Helper>> = BTreeMap::new();
    for helper in others {
        of_node.entry(helper.node).or_default().push(helper);
    }
    let mut nodes: Vec<Vec<Helper>> = of_node.into_values().collect();
    let by = turn.checked_rem(nodes.len() as u64).unwrap_or(0);
    // Below the number of nodes.
    nodes.rotate_left(by as usize);
    let (away, there): (Vec<_>, Vec<_>) =
        nodes.into_iter().partition(|shards| shards.iter().any(|helper| absent.contains(&helper.node)));
    mine.into_iter().chain(dealt(&there)).chain(dealt(&away)).collect()
}

/// One of each, then the next of each, and so on.
fn dealt(nodes: &[Vec<Helper>]) -> Vec<Helper> {
    let longest = nodes.iter().map(Vec::len).max().unwrap_or(0);
    let round = |at: usize| nodes.iter().filter_map(move |shards| shards.get(at)).copied();
    (0..longest).flat_map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    #[test]
    fn this_node_helps_first_the_absent_last_and_the_others_in_turn() {
        let of = |shard, seed| Helper { shard: ShardIndex(shard), node: node(seed) };
        let helpers = vec![of(0, 1), of(1, 2), of(2, 3), of(3, 4), of(4, 1), of(5, 2), of(6, 3), of(7, 4)];
        let absent = BTreeSet::from([node(2)]);
        let order = |turn| {
            let order = in_turn(helpers.clone(), (&node(4), &absent), turn);
            order.iter().map(|helper| helper.shard.0).collect::<Vec<_>>()
        };
        assert_eq!(order(0), [3, 7, 0, 2, 4, 6, 1, 5]);
        assert_eq!(order(2), [3, 7, 2, 0, 6, 4, 1, 5]);
        assert_eq!(in_turn(Vec::new(), (&node(4), &absent), u64::MAX), []);
    }
}
