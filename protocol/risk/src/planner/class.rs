//! What is judged: blobs with the same covering rows, and what is known of the shards that nobody covers.

use super::network::{Error, Network, NodeIndex};
use crate::params::Life;
use floe_types::{Epoch, ShardIndex};

/// What a holder is to the shard of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// It has the seat.
    Seat,
    /// It will have it.
    Incoming,
    /// It had it.
    Former,
    /// It keeps the fragment for the seat's holder, which was gone or silent.
    StandIn,
}

/// A row that covers the class's blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoveringRow {
    /// The shard.
    pub shard: ShardIndex,
    /// Who holds it.
    pub holder: NodeIndex,
    /// What it is to the shard.
    pub kind: RowKind,
}

/// Why nobody covers a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// The uploader never delivered it.
    Undelivered,
    /// Its holder withdrew it.
    Withdrawn,
    /// Its holder is gone and the seat is another's.
    Vacated,
}

/// A shard that no row covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The shard.
    pub shard: ShardIndex,
    /// Why.
    pub cause: GapCause,
    /// The first epoch in which it was missing.
    pub since: Epoch,
}

/// A rebuild decided at an earlier boundary that was not attested yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTicket {
    /// The shard.
    pub shard: ShardIndex,
    /// Who rebuilds it.
    pub target: NodeIndex,
    /// Since when it has had a ticket for it at every boundary.
    pub since: Epoch,
}

/// A stand-in's copy that is needed no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The shard.
    pub shard: ShardIndex,
    /// Who has the copy.
    pub holder: NodeIndex,
}

/// Whether repair of the class had begun: it goes on to the stop line, not just below the trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// It had not.
    Calm,
    /// It had.
    Repairing,
}

/// The blobs of a class that share stand-ins and life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which way their stand-ins are rotated: [`super::rotation`] of their sequence number.
    pub rotation: u16,
    /// How much of their term is left.
    pub life: Life,
    /// How many.
    pub blobs: u64,
}

/// Blobs with the same rows and the same flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The rows that cover them, in any order.
    pub rows: Vec<CoveringRow>,
    /// What is known of uncovered shards; one that is not named counts as vacated long ago.
    pub gaps: Vec<Gap>,
    /// Rebuilds under way.
    pub open: Vec<OpenTicket>,
    /// Whether repair had begun.
    pub flag: Flag,
    /// The blobs.
    pub groups: Vec<Group>,
}

impl Class {
    /// Checks that it speaks of this network.
    pub(crate) fn check(&self, at: usize, network: &Network) -> Result<(), Error> {
        let shards = network.shards.all() as u16;
        let named = self.rows.iter().map(|row| (row.shard, Some(row.holder)));
        let named = named.chain(self.open.iter().map(|ticket| (ticket.shard, Some(ticket.target))));
        for (shard, node) in named.chain(self.gaps.iter().map(|gap| (gap.shard, None))) {
            if shard.0 >= shards {
                return Err(Error::Beyond { class: at, shard: shard.0, shards });
            }
            if let Some(node) = node.filter(|node| network.node(*node).is_none()) {
                return Err(Error::Unknown { shard: shard.0, node: node.0, nodes: network.nodes.len() });
            }
        }
        Ok(())
    }

    /// Blobs that are defended: those whose term is over do not count.
    #[must_use]
    pub fn defended(&self) -> u64 {
        let lasting = self.groups.iter().filter(|group| group.life != Life::Over);
        lasting.fold(0u64, |sum, group| sum.saturating_add(group.blobs))
    }
}

/// Where each shard of a class is counted: at the row whose holder is likeliest to live, a seat's before others.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// By shard, the node it is counted at.
    pub at: Vec<Option<NodeIndex>>,
    /// By node, the shards counted at it.
    pub weight: Vec<u16>,
    /// By node, shards it keeps for others, whether counted there or not.
    pub standing_in: Vec<u16>,
}

impl Spread {
    pub(crate) fn of(network: &Network, class: &Class) -> Spread {
        let mut spread = Spread {
            at: vec![None; network.shards.all() as usize],
            weight: vec![0; network.nodes.len()],
            standing_in: vec![0; network.nodes.len()],
        };
        // Who answers first: a rate learned in bad times may make a poor record look worse than a fresh silence.
        let rank = |row: &CoveringRow| {
            let loss = network.load(row.holder, 1, &network.loss).loss;
            (!network.answers(row.holder), loss, row.kind, row.holder)
        };
        let mut best: Vec<Option<&CoveringRow>> = vec![None; spread.at.len()];
        for row in &class.rows {
            if row.kind == RowKind::StandIn
                && let Some(count) = spread.standing_in.get_mut(usize::from(row.holder.0))
            {
                *count += 1;
            }
            if let Some(entry) = best.get_mut(usize::from(row.shard.0))
                && entry.is_none_or(|before| rank(row) < rank(before))
            {
                *entry = Some(row);
            }
        }
        for (shard, row) in best.into_iter().enumerate() {
            if let Some(row) = row {
                spread.count(shard, row.holder);
            }
        }
        spread
    }

    fn count(&mut self, shard: usize, node: NodeIndex) {
        if let Some(weight) = self.weight.get_mut(usize::from(node.0)) {
            *weight += 1;
        }
        if let Some(entry) = self.at.get_mut(shard) {
            *entry = Some(node);
        }
    }

    /// Counts a shard at `node` from now on.
    pub(crate) fn place(&mut self, shard: ShardIndex, node: NodeIndex) {
        let before = self.at.get(usize::from(shard.0)).copied().flatten();
        if let Some(weight) = before.and_then(|before| self.weight.get_mut(usize::from(before.0))) {
            *weight = weight.saturating_sub(1);
        }
        self.count(usize::from(shard.0), node);
    }

    /// A stand-in's row on top.
    pub(crate) fn stand_in(&mut self, shard: ShardIndex, node: NodeIndex) {
        self.place(shard, node);
        if let Some(count) = self.standing_in.get_mut(usize::from(node.0)) {
            *count += 1;
        }
    }

    pub(crate) fn node_of(&self, shard: u16) -> Option<NodeIndex> {
        self.at.get(usize::from(shard)).copied().flatten()
    }
}
