//! The network at a boundary: who holds seats, where, in what state; and all that is computed once for every class.

use crate::hazard::{Experience, Hazard, Presence};
use crate::holding::Shards;
use crate::loss::{Load, Risks, Scratch};
use crate::params::{Params, ParamsError};
use crate::probability::Probability;
use crate::reliability::Reliability;
use floe_types::params::{MEMBERS_MAX, SHARDS_MAX};

/// A node, by its place in the network's list: members and whoever else has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

/// A node that holds rows or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// What fails with it. Declared domains with those found by [`crate::correlation`] merged; one for each node.
    pub domain: u16,
    /// Its presence. A former holder that nobody asks is [`Presence::Gone`].
    pub presence: Presence,
    /// Its slow average.
    pub reliability: Reliability,
    /// Fragments it may still take for others: zero for who is on probation, excluded, full or no member.
    pub room: u64,
    /// Fragments it keeps for others now.
    pub hosted: u64,
}

/// The most nodes: a committee and as many that have left.
pub const NODES_MAX: usize = 2 * MEMBERS_MAX;

/// A network that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A constant is out of range.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// Too few or too many shards.
    #[error("{shards} shards; a network has from 4 to {max}", max = SHARDS_MAX)]
    Shards {
        /// Seats given.
        shards: usize,
    },
    /// Too many nodes.
    #[error("{nodes} nodes; at most {max} can be judged", max = NODES_MAX)]
    Nodes {
        /// Nodes given.
        nodes: usize,
    },
    /// A seat, row or ticket names a node that is not in the list.
    #[error("shard {shard} names node {node}, beyond the {nodes} there are")]
    Unknown {
        /// The shard.
        shard: u16,
        /// The node.
        node: u16,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A row, gap or ticket names a shard beyond `n`.
    #[error("class {class} names shard {shard} of {shards}")]
    Beyond {
        /// The class, by its place.
        class: usize,
        /// The shard.
        shard: u16,
        /// `n`.
        shards: u16,
    },
}

/// The network, checked, with the probabilities of this boundary.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) params: Params,
    pub(crate) shards: Shards,
    pub(crate) nodes: Vec<Node>,
    pub(crate) seats: Vec<NodeIndex>,
    pub(crate) seats_of: Vec<u16>,
    pub(crate) loss: Vec<Probability>,
    pub(crate) shocks: Vec<Probability>,
    /// Nodes in the order of their domains: the order in which a distribution is built.
    pub(crate) by_domain: Vec<NodeIndex>,
    pub(crate) hazard: Hazard,
    pub(crate) bounds: Risks,
    /// The probability that at least `t` shards of all seats are lost, by `t`.
    pub(crate) all: Vec<Probability>,
}

impl Network {
    /// The network with `nodes`, of which `seats` names the holder of each shard.
    ///
    /// # Errors
    /// [`Error`] with the first contradiction.
    pub fn new(
        params: &Params,
        nodes: Vec<Node>,
        seats: Vec<NodeIndex>,
        experience: &Experience,
    ) -> Result<Network, Error> {
        params.check()?;
        let count = u16::try_from(seats.len()).ok().and_then(Shards::of);
        let shards = count.ok_or(Error::Shards { shards: seats.len() })?;
        if nodes.len() > NODES_MAX {
            return Err(Error::Nodes { nodes: nodes.len() });
        }
        let mut seats_of = vec![0u16; nodes.len()];
        for (shard, holder) in seats.iter().enumerate() {
            let unknown = Error::Unknown { shard: shard as u16, node: holder.0, nodes: nodes.len() };
            *seats_of.get_mut(usize::from(holder.0)).ok_or(unknown)? += 1;
        }
        let hazard = Hazard::new(params, experience);
        let loss = nodes.iter().map(|node| hazard.of_node(node.presence, node.reliability)).collect();
        let domains = nodes.iter().map(|node| usize::from(node.domain) + 1).max().unwrap_or(0);
        let mut by_domain: Vec<NodeIndex> = (0..nodes.len()).map(|at| NodeIndex(at as u16)).collect();
        by_domain.sort_by_key(|at| nodes[usize::from(at.0)].domain);
        let members = seats_of.iter().filter(|seats| **seats > 0).count();
        let bounds = params.bounds(members);
        let shocks = vec![hazard.of_domain(); domains];
        let params = params.clone();
        let mut network = Network {
            params,
            shards,
            nodes,
            seats,
            seats_of,
            loss,
            shocks,
            by_domain,
            hazard,
            bounds,
            all: Vec::new(),
        };
        let mut scratch = Scratch::new();
        for at in &network.by_domain {
            let weight = network.seats_of[usize::from(at.0)];
            scratch.add(network.load(*at, weight, &network.loss));
        }
        network.all = scratch.all_tails(&network.shocks);
        Ok(network)
    }

    /// The constants it is judged by.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// `n` and what follows.
    #[must_use]
    pub fn shards(&self) -> Shards {
        self.shards
    }

    /// The accepted risks of one decision, before any floor.
    #[must_use]
    pub fn bounds(&self) -> Risks {
        self.bounds
    }

    /// The probabilities the boundary uses.
    #[must_use]
    pub fn hazard(&self) -> &Hazard {
        &self.hazard
    }

    /// Nodes with seats.
    #[must_use]
    pub fn members(&self) -> usize {
        self.seats_of.iter().filter(|seats| **seats > 0).count()
    }

    /// The probability that at least `lost` shards of all seats are lost: an upper bound for every class that only seats cover.
    #[must_use]
    pub fn at_least(&self, lost: u32) -> Probability {
        self.all.get(lost as usize).copied().unwrap_or(Probability::ZERO)
    }

    /// A node's load. A node that is gone carries nothing: what it held is not counted as covered either.
    pub(crate) fn load(&self, at: NodeIndex, weight: u16, loss: &[Probability]) -> Load {
        let loss = loss.get(usize::from(at.0)).copied().unwrap_or(Probability::ONE);
        let gone = self.node(at).is_none_or(|node| node.presence == Presence::Gone);
        let weight = if gone { 0 } else { weight };
        Load { domain: self.domain(at), weight, loss }
    }

    pub(crate) fn node(&self, at: NodeIndex) -> Option<&Node> {
        self.nodes.get(usize::from(at.0))
    }

    pub(crate) fn domain(&self, at: NodeIndex) -> u16 {
        self.node(at).map_or(u16::MAX, |node| node.domain)
    }

    pub(crate) fn answers(&self, at: NodeIndex) -> bool {
        self.node(at).is_some_and(|node| node.presence == Presence::Answering)
    }

    pub(crate) fn seat(&self, shard: u16) -> Option<NodeIndex> {
        self.seats.get(usize::from(shard)).copied()
    }

    pub(crate) fn seats_of(&self, at: NodeIndex) -> u16 {
        self.seats_of.get(usize::from(at.0)).copied().unwrap_or(0)
    }

    /// The largest share of one blob that a member may keep for others: half its seats, rounded up.
    pub(crate) fn stand_in_cap(&self, at: NodeIndex) -> u16 {
        self.seats_of(at).div_ceil(2)
    }
}
