//! What the planner is told: members and other holders as places of a network, rows, gaps.

use crate::merkle::Weight;
use crate::rows::{ByRow, RowId, RowKind, RowSet, Rows};
use crate::standing::Assembly;
use crate::state::StateError;
use crate::tables::Table;
use crate::verdict::Decision;
use floe_risk::Params as Constants;
use floe_risk::hazard::Presence;
use floe_risk::planner::{self, CoveringRow, Gap, GapCause, NODES_MAX, Network, Node, NodeIndex};
use floe_risk::reliability::Rank;
use floe_types::{Committee, Epoch, NodeId, Params};
use std::collections::{BTreeMap, BTreeSet};

/// An epoch that ended, as its plan sees it.
pub(crate) struct Scene<'a> {
    pub params: &'a Params,
    pub constants: Constants,
    /// The committee of the epoch.
    pub committee: &'a Committee,
    pub assembly: &'a Assembly,
    pub decision: Decision,
    pub epoch: Epoch,
    /// The rows of the epoch.
    pub rows: &'a Rows,
    /// What coverage names and classes do not go by.
    pub idle: &'a RowSet,
    /// Every set of rows that coverage names.
    pub covering: &'a BTreeMap<RowSet, Weight>,
    /// The classes.
    pub classes: &'a BTreeMap<RowSet, Weight>,
    /// One past the newest blob.
    pub end: u64,
    /// Defended blobs.
    pub defended: u64,
}

impl Scene<'_> {
    /// Nodes by their place: members first, then whoever else has a row.
    fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.committee.members().iter().map(|member| member.node).collect();
        let members: BTreeSet<NodeId> = nodes.iter().copied().collect();
        let others: BTreeSet<NodeId> = self.rows.iter().map(|(_, row)| row.holder).collect();
        nodes.extend(others.difference(&members));
        // Holders beyond that are not counted: there are fewer unless former ones are as many as members.
        nodes.truncate(NODES_MAX);
        nodes
    }

    /// The network, and its nodes by their place.
    pub(super) fn network(&self) -> Result<(Network, Vec<NodeId>), StateError> {
        let names = self.nodes();
        let hosted = self.hosted(&names);
        let of_members = self.assembly.domains(self.committee);
        let fragment = self.fragment_bytes();
        let nodes = (0u16..).zip(&names).map(|(at, name)| {
            let member = self.committee.index_of(name).and_then(|index| self.committee.member(index));
            let hosted = hosted.get(usize::from(at)).copied().unwrap_or(0);
            // Nobody asks who is no member.
            let presence = member.map_or(Presence::Gone, |_| self.assembly.presence(name));
            let rank = self.assembly.rank(name);
            let room = member.filter(|_| rank == Rank::Good).map_or(0, |member| {
                let seats = self.rows.of(name).filter(|(_, row)| row.kind != RowKind::StandIn).count() as u64;
                let kept = seats.saturating_mul(self.defended).saturating_add(hosted);
                let all = member.capacity_bytes.checked_div(fragment).unwrap_or(u64::MAX);
                all.saturating_sub(kept)
            });
            let domain = of_members.get(usize::from(at)).copied().unwrap_or(at);
            Node { domain, presence, reliability: self.assembly.reliability(name), room, hosted }
        });
        let nodes: Vec<Node> = nodes.collect();
        let mut seats = vec![NodeIndex(0); usize::from(self.committee.shards())];
        for (at, member) in (0u16..).zip(self.committee.members()) {
            for shard in &member.shards {
                if let Some(seat) = seats.get_mut(usize::from(shard.0)) {
                    *seat = NodeIndex(at);
                }
            }
        }
        let network = Network::new(&self.constants, nodes, seats, &self.assembly.climate.experience);
        Ok((network.map_err(|error| Table::Committee.damaged(error.to_string()))?, names))
    }

    /// The mean size of a fragment in bytes, rounded up; one when nothing is stored.
    fn fragment_bytes(&self) -> u64 {
        let all = self.classes.values().fold(0u64, |sum, weight| sum.saturating_add(weight.fragment_bytes));
        all.div_ceil(self.defended.max(1)).max(1)
    }

    /// By place, the fragments that nodes keep as stand-ins.
    fn hosted(&self, names: &[NodeId]) -> Vec<u64> {
        let places: BTreeMap<NodeId, usize> = names.iter().copied().zip(0..).collect();
        let stand_ins = self.rows.iter().filter(|(_, row)| row.kind == RowKind::StandIn);
        let hosts: BTreeMap<RowId, usize> =
            stand_ins.filter_map(|(id, row)| Some((id, *places.get(&row.holder)?))).collect();
        let mut hosted = vec![0u64; names.len()];
        if hosts.is_empty() {
            return hosted;
        }
        for (class, weight) in self.classes {
            for place in class.iter().filter_map(|row| hosts.get(&row)) {
                if let Some(sum) = hosted.get_mut(*place) {
                    *sum = sum.saturating_add(weight.blobs);
                }
            }
        }
        hosted
    }

    /// The rows as the planner knows them.
    pub(super) fn covering_rows(&self, names: &[NodeId]) -> ByRow<CoveringRow> {
        let places: BTreeMap<NodeId, u16> = names.iter().copied().zip(0u16..).collect();
        let rows = self.rows.iter().filter_map(|(id, row)| {
            let kind = match row.kind {
                RowKind::Seat => planner::RowKind::Seat,
                RowKind::Incoming => planner::RowKind::Incoming,
                RowKind::Former => planner::RowKind::Former,
                RowKind::StandIn => planner::RowKind::StandIn,
            };
            let holder = NodeIndex(*places.get(&row.holder)?);
            Some((id, CoveringRow { shard: row.shard, holder, kind }))
        });
        rows.collect()
    }

    /// By class, the shards that were withdrawn and since when: a pause begins with the withdrawal that it answers.
    ///
    /// A gap that nothing is known of counts as vacated, which waits for nobody: so it is once the pause is over, which is
    /// as long as patience.
    pub(super) fn gaps(&self) -> BTreeMap<RowSet, Vec<Gap>> {
        let mut gaps: BTreeMap<RowSet, Vec<Gap>> = BTreeMap::new();
        for rows in self.covering.keys() {
            let paused = self.rows.pauses().iter().filter(|(mark, _)| rows.contains(**mark));
            let withdrawn: Vec<Gap> = paused
                .filter_map(|(_, pause)| {
                    let since = Epoch(pause.until.0.saturating_sub(self.params.pay_pause.0));
                    let shard = self.rows.get(pause.row)?.shard;
                    Some(Gap { shard, cause: GapCause::Withdrawn, since })
                })
                .collect();
            if !withdrawn.is_empty() {
                gaps.entry(rows.difference(self.idle)).or_default().extend(withdrawn);
            }
        }
        // Of several the youngest comes first.
        gaps.values_mut().for_each(|gaps| gaps.sort_by_key(|gap| (gap.shard, std::cmp::Reverse(gap.since))));
        gaps
    }
}
