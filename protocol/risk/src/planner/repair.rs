//! What to rebuild of a class, where, and in which order: a plan built whole before it is judged.
//!
//! ```text
//!  candidates   missing at an answering seat │ missing elsewhere │ silent, the longest first
//!  target              the seat itself       │            a stand-in
//!  plan         the shortest beginning of that list that brings both risks to their stop lines; when none does, the one
//!               that comes closest, and nothing when nothing is gained
//! ```
//!
//! Single steps may gain nothing: a stand-in lowers what is lost with a silent node and raises what a liar could feign. So
//! every beginning of the list is judged by itself, first by whether loss is below its trigger, then the margin, then by the
//! distance to the stop lines.
//!
//! Who answers, has had a ticket of a class for twice as long as patience and has not rebuilt what it is about is passed over at
//! the boundary, also when it has the seat. It may be slow, or not want to; the blobs cannot wait for either (decision 046).
//!
//! # Laws
//! - **I9** Nothing silent or withdrawn is rebuilt before patience, unless hardly enough is held.

use super::class::{Class, GapCause, OpenTicket, RowKind, Spread};
use super::judge::{Judge, covered_rows, passes, urgency};
use super::network::{Network, NodeIndex};
use crate::hazard::Presence;
use crate::loss::Risks;
use floe_types::{Epoch, EpochCount, ShardIndex};
use std::collections::BTreeMap;

/// Why a fragment is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nobody has it.
    Missing,
    /// Its holder withdrew it so many epochs ago.
    Withdrawn(EpochCount),
    /// Its holder is silent for so many epochs.
    Silent(EpochCount),
}

/// A rebuild of one shard of every blob of a group: every holder serves its symbols to the target while it is valid, which is
/// until the next boundary, and not when the holder is seen again before work starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The shard.
    pub shard: ShardIndex,
    /// Who rebuilds it.
    pub target: NodeIndex,
    /// The row it gets: the seat's own or a stand-in's.
    pub row: RowKind,
    /// Why.
    pub why: Why,
}

/// The lines of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Repair begins above.
    pub trigger: Risks,
    /// Repair ends at or below.
    pub stop: Risks,
}

impl Lines {
    /// The lines with these bounds, of a class whose risks at best reach are `reach`.
    #[must_use]
    pub fn of(network: &Network, reach: &Risks) -> Lines {
        let (repair, bounds) = (&network.params.repair, &network.bounds);
        let each = |part: &dyn Fn(&Risks) -> crate::Probability| {
            let trigger = part(bounds).max(part(reach).scaled(repair.trigger_floor));
            let stop = part(bounds).divided_down(repair.stop_part).max(part(reach).scaled(repair.stop_floor));
            (trigger, stop)
        };
        let (loss, margin) = (each(&|risks| risks.loss), each(&|risks| risks.margin));
        Lines { trigger: Risks { loss: loss.0, margin: margin.0 }, stop: Risks { loss: loss.1, margin: margin.1 } }
    }
}

/// A shard that could be rebuilt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub shard: ShardIndex,
    pub why: Why,
    /// The seat's holder, when it answers and has no row.
    pub seat: Option<NodeIndex>,
}

impl Candidate {
    /// Epochs until patience is over; zero when it may be rebuilt now.
    pub(crate) fn waits(&self, patience: EpochCount) -> u64 {
        match self.why {
            Why::Missing => 0,
            Why::Withdrawn(age) | Why::Silent(age) => patience.0.saturating_sub(age.0),
        }
    }
}

/// Every shard of the class that no answering node is counted with, in the order of rebuilding.
pub(crate) fn candidates(network: &Network, class: &Class, spread: &Spread, now: Epoch) -> Vec<Candidate> {
    let seated = seat_rows(network, class);
    let mut found = Vec::new();
    for at in 0..network.shards.all() as u16 {
        let holder = spread.node_of(at).and_then(|node| network.node(node));
        let why = match holder.map(|node| node.presence) {
            Some(Presence::Answering) => continue,
            Some(Presence::Silent(age)) => Why::Silent(age),
            Some(Presence::Gone) | None => missing(class, at, now),
        };
        let free = seated.get(usize::from(at)).is_some_and(|has| !has);
        let seat =
            network.seat(at).filter(|seat| free && network.answers(*seat) && !is_idle(network, class, *seat, now));
        found.push(Candidate { shard: ShardIndex(at), why, seat });
    }
    found.sort_by_key(|candidate| match (candidate.why, candidate.seat) {
        (Why::Silent(age), _) => (2, u64::MAX - age.0, candidate.shard),
        (_, Some(_)) => (0, 0, candidate.shard),
        (_, None) => (1, 0, candidate.shard),
    });
    found
}

/// Whether `node` has had a ticket of this class for twice as long as patience, and what it is about is still missing.
fn is_idle(network: &Network, class: &Class, node: NodeIndex, now: Epoch) -> bool {
    let patience = network.params.repair.patience;
    let mut open = class.open.iter().filter(|open| open.target == node);
    open.any(|open| now.0.saturating_sub(open.since.0) >= patience.0.saturating_mul(2))
}

fn missing(class: &Class, shard: u16, now: Epoch) -> Why {
    let gap = class.gaps.iter().find(|gap| gap.shard.0 == shard);
    match gap {
        Some(gap) if gap.cause == GapCause::Withdrawn => Why::Withdrawn(EpochCount(now.0.saturating_sub(gap.since.0))),
        _ => Why::Missing,
    }
}

/// By shard, whether the seat's holder has a row.
pub(crate) fn seat_rows(network: &Network, class: &Class) -> Vec<bool> {
    let mut has = vec![false; network.shards.all() as usize];
    for row in &class.rows {
        if network.seat(row.shard.0) == Some(row.holder)
            && let Some(entry) = has.get_mut(usize::from(row.shard.0))
        {
            *entry = true;
        }
    }
    has
}

/// Who keeps how much for others, and in which order nodes of equal standing are taken.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    hosted: Vec<u64>,
    room: Vec<u64>,
    order: BTreeMap<u16, Vec<u64>>,
}

impl Hosts {
    pub(crate) fn of(network: &Network) -> Hosts {
        Hosts {
            hosted: network.nodes.iter().map(|node| node.hosted).collect(),
            room: network.nodes.iter().map(|node| node.room).collect(),
            order: BTreeMap::new(),
        }
    }

    /// Books the stand-ins of a plan for so many blobs.
    pub(crate) fn book(&mut self, tickets: &[Ticket], blobs: u64) {
        for ticket in tickets.iter().filter(|ticket| ticket.row == RowKind::StandIn) {
            let at = usize::from(ticket.target.0);
            if let (Some(hosted), Some(room)) = (self.hosted.get_mut(at), self.room.get_mut(at)) {
                *hosted = hosted.saturating_add(blobs);
                *room = room.saturating_sub(blobs);
            }
        }
    }

    fn prepare(&mut self, rotation: u16, nodes: usize) {
        self.order.entry(rotation).or_insert_with(|| (0..nodes).map(|at| order(rotation, at as u16)).collect());
    }
}

/// The order in which nodes come for a rotation: a hash, so that nobody is always first.
fn order(rotation: u16, node: u16) -> u64 {
    let mut input = [0u8; 4];
    input[..2].copy_from_slice(&rotation.to_le_bytes());
    input[2..].copy_from_slice(&node.to_le_bytes());
    super::hash(b"floe stand-in order", &input)
}

/// For how many blobs, rotated in which way, a plan is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For {
    pub rotation: u16,
    pub blobs: u64,
    /// The epoch that begins.
    pub now: Epoch,
}

/// Places candidates one after another.
pub(crate) struct Builder<'a, 'b> {
    network: &'a Network,
    class: &'b Class,
    hosts: &'b mut Hosts,
    whom: For,
    pub spread: Spread,
    domains: Vec<u32>,
    /// By node, what this plan gives it for others.
    taken: Vec<u64>,
    /// By shard and node, whether the node has a row of the shard.
    held: std::collections::BTreeSet<(u16, u16)>,
}

impl<'a, 'b> Builder<'a, 'b> {
    pub(crate) fn new(network: &'a Network, class: &'b Class, spread: Spread, hosts: &'b mut Hosts, whom: For) -> Self {
        let mut domains = vec![0u32; network.shocks.len()];
        for (at, weight) in spread.weight.iter().enumerate() {
            let node = NodeIndex(at as u16);
            // What a silent node holds does not make its domain heavier: it may be gone.
            if network.answers(node)
                && let Some(sum) = domains.get_mut(usize::from(network.domain(node)))
            {
                *sum += u32::from(*weight);
            }
        }
        let held = class.rows.iter().map(|row| (row.shard.0, row.holder.0)).collect();
        let taken = vec![0; network.nodes.len()];
        Builder { network, class, hosts, whom, spread, domains, taken, held }
    }

    /// Places a candidate; none when nobody may take it.
    pub(crate) fn place(&mut self, candidate: &Candidate) -> Option<Ticket> {
        let (shard, why) = (candidate.shard, candidate.why);
        let (target, row) = match candidate.seat {
            Some(seat) => (seat, RowKind::Seat),
            None => (self.open_target(shard).or_else(|| self.stand_in(shard))?, RowKind::StandIn),
        };
        match row {
            RowKind::StandIn => {
                self.spread.stand_in(shard, target);
                if let Some(taken) = self.taken.get_mut(usize::from(target.0)) {
                    *taken = taken.saturating_add(self.whom.blobs);
                }
            }
            _ => self.spread.place(shard, target),
        }
        if let Some(sum) = self.domains.get_mut(usize::from(self.network.domain(target))) {
            *sum += 1;
        }
        Some(Ticket { shard, target, row, why })
    }

    /// Who is at it already goes on.
    fn open_target(&self, shard: ShardIndex) -> Option<NodeIndex> {
        let of_shard = |ticket: &&OpenTicket| ticket.shard == shard;
        self.class.open.iter().filter(of_shard).map(|ticket| ticket.target).find(|target| self.may(shard, *target))
    }

    fn may(&self, shard: ShardIndex, node: NodeIndex) -> bool {
        let at = usize::from(node.0);
        let standing_in = self.spread.standing_in.get(at).copied().unwrap_or(u16::MAX);
        let needed = self.taken.get(at).map_or(u64::MAX, |taken| taken.saturating_add(self.whom.blobs));
        self.network.answers(node)
            && standing_in < self.network.stand_in_cap(node)
            && self.hosts.room.get(at).is_some_and(|room| *room >= needed)
            && !self.held.contains(&(shard.0, node.0))
            // Who has the seat does not stand in for itself.
            && self.network.seat(shard.0) != Some(node)
            && !is_idle(self.network, self.class, node, self.whom.now)
    }

    /// The least weighted domain, the fewest hosted, then the rotation's order.
    fn stand_in(&mut self, shard: ShardIndex) -> Option<NodeIndex> {
        let nodes = self.network.nodes.len();
        let allowed = (0..nodes as u16).map(NodeIndex).filter(|node| self.may(shard, *node)).collect::<Vec<_>>();
        self.hosts.prepare(self.whom.rotation, nodes);
        let Hosts { hosted, order, .. } = &*self.hosts;
        let turn = order.get(&self.whom.rotation);
        let key = |node: &NodeIndex| {
            let at = usize::from(node.0);
            let domain = self.domains.get(usize::from(self.network.domain(*node))).copied().unwrap_or(u32::MAX);
            let turn = turn.and_then(|turn| turn.get(at)).copied().unwrap_or(0);
            let hosted =
                hosted.get(at).zip(self.taken.get(at)).map_or(u64::MAX, |(one, more)| one.saturating_add(*more));
            (domain, hosted, turn, *node)
        };
        allowed.into_iter().min_by_key(key)
    }
}

/// The risks with everything placed that can be.
pub(crate) fn reach(judge: &mut Judge<'_>, builder: &mut Builder<'_, '_>, candidates: &[Candidate]) -> Risks {
    for candidate in candidates {
        builder.place(candidate);
    }
    let rows = covered_rows(&builder.spread);
    judge.exact(&builder.spread, rows).1
}

/// Beginnings of a list that are judged at most: above, every second, third and so on.
const STEPS_MAX: usize = 48;

/// Loss above its trigger, then the margin above its own, then the distance to the stop lines. Smaller is better; the
/// least there is means *stop*.
type Score = (u64, u64, u64);

fn score(risks: &Risks, lines: &Lines) -> Score {
    let over = |risk: crate::Probability, line: crate::Probability| {
        if risk > line { risk.thousandths_of(line) } else { 0 }
    };
    let rest = if passes(risks, &lines.stop) { urgency(risks, &lines.stop) } else { 0 };
    (over(risks.loss, lines.trigger.loss), over(risks.margin, lines.trigger.margin), rest)
}

/// The plan of one group: what to rebuild of `candidates`, which may all be rebuilt now, when the risks are `risks`.
pub(crate) fn plan(
    judge: &mut Judge<'_>,
    mut builder: Builder<'_, '_>,
    candidates: &[Candidate],
    risks: &Risks,
    lines: &Lines,
) -> Vec<Ticket> {
    let step = candidates.len().div_ceil(STEPS_MAX).max(1);
    let mut best = (score(risks, lines), 0);
    let mut tickets = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let Some(ticket) = builder.place(candidate) else { continue };
        tickets.push(ticket);
        if tickets.len() % step != 0 && at + 1 != candidates.len() {
            continue;
        }
        let rows = covered_rows(&builder.spread);
        let reached = score(&judge.exact(&builder.spread, rows).1, lines);
        if reached < best.0 {
            best = (reached, tickets.len());
        }
        if reached == Score::default() {
            break;
        }
    }
    tickets.truncate(best.1);
    tickets
}
