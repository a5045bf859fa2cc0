//! Committees and classes for tests.
#![allow(dead_code)]

pub mod twin;

use floe_risk::Params;
use floe_risk::hazard::{Experience, Presence};
use floe_risk::params::Life;
use floe_risk::planner::{Class, CoveringRow, Flag, Group, Network, Node, NodeIndex, RowKind, Ticket};
use floe_risk::reliability::Reliability;
use floe_types::ShardIndex;

/// A network and one class of one blob.
#[derive(Clone)]
pub struct Setting {
    pub params: Params,
    pub nodes: Vec<Node>,
    pub seats: Vec<NodeIndex>,
    pub experience: Experience,
    pub class: Class,
}

/// Members with so many seats each, all answering, each in a domain of its own, everything covered.
pub fn committee(params: Params, seats: &[u16]) -> Setting {
    let node = |at: usize| Node {
        domain: at as u16,
        presence: Presence::Answering,
        reliability: Reliability::FULL,
        room: 1_000_000,
        hosted: 0,
    };
    let nodes = (0..seats.len()).map(node).collect();
    let dealt = seats.iter().enumerate().flat_map(|(at, count)| vec![NodeIndex(at as u16); usize::from(*count)]);
    let seats: Vec<NodeIndex> = dealt.collect();
    let row = |(shard, holder): (usize, &NodeIndex)| CoveringRow {
        shard: ShardIndex(shard as u16),
        holder: *holder,
        kind: RowKind::Seat,
    };
    let class = Class {
        rows: seats.iter().enumerate().map(row).collect(),
        gaps: vec![],
        open: vec![],
        flag: Flag::Calm,
        groups: vec![Group { rotation: 0, life: Life::Lasting, blobs: 1 }],
    };
    Setting { params, nodes, seats, experience: Experience::default(), class }
}

impl Setting {
    pub fn network(&self) -> Network {
        Network::new(&self.params, self.nodes.clone(), self.seats.clone(), &self.experience).unwrap()
    }

    pub fn cover(&mut self, shard: u16, holder: u16, kind: RowKind) {
        self.class.rows.push(CoveringRow { shard: ShardIndex(shard), holder: NodeIndex(holder), kind });
    }

    pub fn attest(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            self.cover(ticket.shard.0, ticket.target.0, ticket.row);
        }
    }

    /// Shards a node has a row of.
    pub fn held_by(&self, node: u16) -> u32 {
        self.class.rows.iter().filter(|row| row.holder == NodeIndex(node)).count() as u32
    }

    /// Shards that are counted at a node: where it answers, or nobody who does has them.
    pub fn counted(&self, node: u16) -> u16 {
        let age = |row: &CoveringRow| match self.nodes[usize::from(row.holder.0)].presence {
            Presence::Answering => 0,
            Presence::Silent(age) => age.0,
            Presence::Gone => u64::MAX,
        };
        let best = |shard: ShardIndex| {
            let rows = self.class.rows.iter().filter(|row| row.shard == shard);
            rows.min_by_key(|row| (age(row), row.kind)).map(|row| row.holder)
        };
        (0..self.seats.len()).filter(|shard| best(ShardIndex(*shard as u16)) == Some(NodeIndex(node))).count() as u16
    }
}
