//! One policy on one trace: blobs come, lose fragments, are rebuilt and end.

use crate::exact::{Chances, Truth, tails};
use crate::policy::{Line, Policy};
use crate::world::{Chance, EXCLUDED_AFTER, Event, Profile, Trace};
use floe_risk::Params;
use floe_risk::hazard::{Experience, Presence};
use floe_risk::holding::Shards;
use floe_risk::planner::{
    Class, CoveringRow, Decision, Flag, Gap, GapCause, Group, Network, Node, NodeIndex, OpenTicket, Outcome, RowKind,
    Why, decide, rotation, trickles,
};
use floe_risk::reliability::Reliability;
use floe_types::{Epoch, EpochCount, SequenceNumber, ShardIndex};

/// What a run came to, summed over blobs and hours.
#[derive(Clone, Default)]
pub struct Tally {
    pub blob_years: f64,
    pub pairs: f64,
    pub wasted: f64,
    pub classic: f64,
    /// The most pairs a blob in one hour.
    pub peak: f64,
    pub floor: f64,
    pub expected: Chances,
    pub lost: u64,
    pub short_hours: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.blob_years += other.blob_years;
        self.pairs += other.pairs;
        self.wasted += other.wasted;
        self.classic += other.classic;
        self.peak = self.peak.max(other.peak);
        self.floor += other.floor;
        (0..3).for_each(|at| self.expected[at] += other.expected[at]);
        self.lost += other.lost;
        self.short_hours += other.short_hours;
    }
}

struct Blob {
    number: u64,
    ends: u64,
    class: Class,
    /// Cached truth, until a row or a disk changes.
    chances: Option<Chances>,
    tickets: Vec<(ShardIndex, NodeIndex, RowKind)>,
}

struct Peer {
    age: u64,
    dead: bool,
    gone: bool,
    reliability: Reliability,
}

pub struct Run<'a> {
    trace: &'a Trace,
    truth: Truth,
    policy: Policy,
    params: Params,
    shards: Shards,
    peers: Vec<Peer>,
    blobs: Vec<Blob>,
    experience: Experience,
    numbers: u64,
    chance: Chance,
    tally: Tally,
}

pub fn run(trace: &Trace, profile: &Profile, policy: Policy, blobs: usize, seed: u64) -> Tally {
    let nodes = trace.domains.len();
    let mut params = Params::standard();
    params.repair.rotation_run = 1;
    if let Policy::Risk(e12) = policy {
        params.large.loss_e12 = e12;
    }
    let fresh = |_| Peer { age: 0, dead: false, gone: false, reliability: Reliability::FULL };
    let mut run = Run {
        trace,
        truth: Truth::of(profile, trace.domain_count < nodes),
        policy,
        params,
        shards: Shards::of(nodes as u16).unwrap(),
        peers: (0..nodes).map(fresh).collect(),
        blobs: Vec::new(),
        experience: Experience::default(),
        numbers: 0,
        chance: Chance::new(seed ^ 0xb10b),
        tally: Tally::default(),
    };
    for _ in 0..blobs {
        let blob = run.upload(0);
        run.blobs.push(blob);
    }
    for hour in 0..trace.hours {
        run.step(hour);
    }
    run.tally.blob_years = (trace.hours * blobs) as f64 / 8_766.0;
    run.tally.floor = (trace.departures * blobs) as f64;
    run.tally
}

impl Run<'_> {
    fn upload(&mut self, hour: u64) -> Blob {
        let number = self.numbers;
        self.numbers += 1;
        let ends = hour + 2 + self.chance.exponential(180.0 * 24.0) as u64;
        let mut class = Class { rows: vec![], gaps: vec![], open: vec![], flag: Flag::Calm, groups: vec![] };
        // A blob is certified by n - f shards or not at all: with fewer up the client waits for whoever is not dead.
        let up = self.peers.iter().filter(|peer| peer.age == 0).count() as u32;
        let waits = up < self.shards.quorum();
        for (at, peer) in self.peers.iter().enumerate() {
            let shard = ShardIndex(at as u16);
            if peer.age == 0 || (waits && !peer.dead) {
                class.rows.push(CoveringRow { shard, holder: NodeIndex(at as u16), kind: RowKind::Seat });
            } else {
                class.gaps.push(Gap { shard, cause: GapCause::Undelivered, since: Epoch(hour) });
            }
        }
        Blob { number, ends, class, chances: None, tickets: vec![] }
    }

    fn step(&mut self, hour: usize) {
        let trace = self.trace;
        for event in &trace.events[hour] {
            self.happen(*event, hour as u64);
        }
        let mut left = vec![0usize; trace.domain_count];
        for (at, peer) in self.peers.iter_mut().enumerate() {
            let slots = u32::from(trace.up[hour][at]);
            peer.age = if slots * 2 > 6 { 0 } else { peer.age + 1 };
            peer.reliability = peer.reliability.after(Reliability::ratio(slots, 6), 9);
            if peer.dead && peer.age == EXCLUDED_AFTER as u64 {
                peer.gone = true;
                self.experience.departures += 1;
                left[usize::from(trace.domains[at])] += 1;
            }
        }
        for (domain, left) in left.into_iter().enumerate() {
            let size = trace.domains.iter().filter(|one| usize::from(**one) == domain).count();
            self.experience.shocks += u64::from(left >= 2 && left * 2 >= size);
        }
        self.experience.node_epochs += self.peers.len() as u64;
        self.experience.domain_epochs += trace.domain_count as u64;
        // A plan's entry is void when the owner is seen again before work starts; the simple rules work at once.
        let shipped = matches!(self.policy, Policy::Risk(_));
        if shipped {
            self.work(hour);
        }
        for at in 0..self.blobs.len() {
            if self.blobs[at].ends <= hour as u64 {
                self.blobs[at] = self.upload(hour as u64);
            }
            self.drop_copies(at);
            self.account(at, hour as u64);
        }
        match self.policy {
            Policy::Never => {}
            Policy::Risk(_) => self.plan(hour as u64 + 1),
            _ => self.rules(),
        }
        if !shipped {
            self.work(hour);
        }
    }

    fn happen(&mut self, event: Event, hour: u64) {
        match event {
            Event::Death(node) => {
                self.peers[usize::from(node)].dead = true;
                self.blobs.iter_mut().for_each(|blob| blob.chances = None);
            }
            Event::Fresh(node) => {
                self.peers[usize::from(node)] =
                    Peer { age: 0, dead: false, gone: false, reliability: Reliability::FULL };
                for blob in &mut self.blobs {
                    let before = blob.class.rows.len();
                    blob.class.rows.retain(|row| row.holder.0 != node);
                    if blob.class.rows.len() != before {
                        blob.chances = None;
                    }
                    uncovered(blob, GapCause::Vacated, hour);
                }
            }
            Event::Rot(node, seed) => {
                let mut chance = Chance::new(seed);
                for blob in &mut self.blobs {
                    if chance.hit(0.05) {
                        blob.class.rows.retain(|row| row.holder.0 != node);
                        blob.chances = None;
                        uncovered(blob, GapCause::Withdrawn, hour);
                    }
                }
            }
        }
    }

    /// Carries out the tickets of the boundary before.
    fn work(&mut self, hour: usize) {
        let mut moved = 0.0;
        let (quorum, read) = (self.shards.quorum(), self.shards.readable());
        let (p, c) = (f64::from(read), f64::from(quorum));
        let up = |node: NodeIndex| self.trace.up[hour][usize::from(node.0)] * 2 > 6;
        for blob in &mut self.blobs {
            let tickets = std::mem::take(&mut blob.tickets);
            let mut done = 0;
            for (shard, target, kind) in tickets {
                let others: Vec<_> = blob.class.rows.iter().filter(|row| row.shard == shard).copied().collect();
                let back = kind == RowKind::StandIn && others.iter().any(|row| up(row.holder));
                if !up(target) || back || others.iter().any(|row| row.holder == target) {
                    continue;
                }
                let mut helpers: Vec<u16> =
                    blob.class.rows.iter().filter(|row| up(row.holder)).map(|row| row.shard.0).collect();
                helpers.sort_unstable();
                helpers.dedup();
                let takes_over = others.iter().any(|row| up(row.holder));
                let cost = match helpers.len() as u32 {
                    _ if takes_over => 1.0,
                    count if count >= quorum => 1.0,
                    count if count >= read => (p * c / (p + c)).max(1.0),
                    _ => continue,
                };
                moved += cost;
                done += 1;
                self.tally.pairs += cost;
                if others.iter().any(|row| !self.peers[usize::from(row.holder.0)].dead) {
                    self.tally.wasted += cost;
                }
                blob.class.rows.push(CoveringRow { shard, holder: target, kind });
                blob.class.gaps.retain(|gap| gap.shard != shard);
                blob.chances = None;
            }
            if done > 0 {
                self.tally.classic += p + f64::from(done - 1);
            }
        }
        self.tally.peak = self.tally.peak.max(moved / self.blobs.len() as f64);
    }

    /// A stand-in's copy goes when the seat has the fragment and answers.
    fn drop_copies(&mut self, at: usize) {
        let peers = &self.peers;
        let blob = &mut self.blobs[at];
        if blob.class.rows.iter().all(|row| row.kind == RowKind::Seat) {
            return;
        }
        let home: Vec<ShardIndex> = blob
            .class
            .rows
            .iter()
            .filter(|row| row.kind == RowKind::Seat && peers[usize::from(row.holder.0)].age == 0)
            .map(|row| row.shard)
            .collect();
        let before = blob.class.rows.len();
        blob.class.rows.retain(|row| row.kind == RowKind::Seat || !home.contains(&row.shard));
        if before != blob.class.rows.len() {
            blob.chances = None;
        }
    }

    fn account(&mut self, at: usize, hour: u64) {
        let (read, faulty) = (self.shards.readable(), self.shards.faulty());
        if self.blobs[at].chances.is_none() {
            let mut holder = vec![None; self.peers.len()];
            for row in &self.blobs[at].class.rows {
                let entry = &mut holder[usize::from(row.shard.0)];
                if !self.peers[usize::from(row.holder.0)].dead && (entry.is_none() || row.kind == RowKind::Seat) {
                    *entry = Some(row.holder);
                }
            }
            let mut weights = vec![0u16; self.peers.len()];
            holder.iter().flatten().for_each(|holder| weights[usize::from(holder.0)] += 1);
            let held = weights.iter().map(|weight| u32::from(*weight)).sum::<u32>();
            let mut largest = weights.clone();
            largest.sort_unstable_by_key(|weight| std::cmp::Reverse(*weight));
            let feigned = largest.iter().take(faulty as usize).map(|weight| u32::from(*weight)).sum::<u32>();
            let from = [read, read + faulty, read + feigned].map(|kept| (held + 1).saturating_sub(kept));
            let chances = tails(&self.truth, &weights, &self.trace.domains, self.trace.domain_count, from);
            self.blobs[at].chances = Some(chances);
        }
        let chances = self.blobs[at].chances.unwrap_or_default();
        (0..3).for_each(|at| self.tally.expected[at] += chances[at]);
        self.tally.short_hours += u64::from(chances[1] >= 1.0);
        if chances[0] >= 1.0 {
            self.tally.lost += 1;
            self.blobs[at] = self.upload(hour);
        }
    }

    fn hosted(&self) -> Vec<u64> {
        let mut hosted = vec![0u64; self.peers.len()];
        for row in self.blobs.iter().flat_map(|blob| &blob.class.rows).filter(|row| row.kind == RowKind::StandIn) {
            hosted[usize::from(row.holder.0)] += 1;
        }
        hosted
    }

    /// The planner that ships.
    fn plan(&mut self, now: u64) {
        let hosted = self.hosted();
        let node = |(at, peer): (usize, &Peer)| Node {
            domain: self.trace.domains[at],
            presence: if peer.gone { Presence::Gone } else { Presence::of_age(EpochCount(peer.age)) },
            reliability: peer.reliability,
            room: if peer.reliability.bits() < self.params.standing.probation { 0 } else { 1 << 20 },
            hosted: hosted[at],
        };
        let nodes: Vec<Node> = self.peers.iter().enumerate().map(node).collect();
        let seats = (0..nodes.len()).map(|at| NodeIndex(at as u16)).collect();
        let network = Network::new(&self.params, nodes, seats, &self.experience).unwrap();
        // Blobs that every seat covers are one class; every other blob is its own.
        let whole = |blob: &Blob| {
            blob.class.flag == Flag::Calm
                && blob.class.rows.len() == self.peers.len()
                && blob.class.rows.iter().all(|row| row.kind == RowKind::Seat)
        };
        let group = |blob: &Blob| {
            let life = self.params.life(Epoch(now), Epoch(blob.ends));
            Group { rotation: rotation(&self.params, SequenceNumber(blob.number)), life, blobs: 1 }
        };
        let (mut classes, mut members): (Vec<Class>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
        let healthy: Vec<usize> = (0..self.blobs.len()).filter(|at| whole(&self.blobs[*at])).collect();
        if let Some(first) = healthy.first() {
            let groups = healthy.iter().map(|at| group(&self.blobs[*at])).collect();
            classes.push(Class { groups, open: vec![], gaps: vec![], ..self.blobs[*first].class.clone() });
            members.push(healthy.clone());
        }
        for (at, blob) in self.blobs.iter().enumerate().filter(|(_, blob)| !whole(blob)) {
            classes.push(Class { groups: vec![group(blob)], ..blob.class.clone() });
            members.push(vec![at]);
        }
        let plan = decide(&network, Decision::Decided, Epoch(now), &classes).unwrap();
        assert!(plan.pairs <= plan.cap, "I13: {} of {}", plan.pairs, plan.cap);
        for (outcome, members) in plan.classes.iter().zip(&members) {
            self.keeps_patience(outcome);
            for at in members {
                let blob = &mut self.blobs[*at];
                blob.class.flag = outcome.flag;
                blob.class.open.clear();
                let life = self.params.life(Epoch(now), Epoch(blob.ends));
                let due = |shard: &&ShardIndex| {
                    trickles(&self.params, Epoch(now), SequenceNumber(blob.number), **shard, life)
                };
                let refills = outcome.refill.iter().filter(due).chain(&outcome.standing);
                blob.tickets = refills.map(|shard| (*shard, NodeIndex(shard.0), RowKind::Seat)).collect();
            }
            for group in &outcome.groups {
                let blob = &mut self.blobs[members[group.group]];
                for ticket in &group.tickets {
                    blob.tickets.push((ticket.shard, ticket.target, ticket.row));
                    let since = Epoch(now);
                    blob.class.open.push(OpenTicket { shard: ticket.shard, target: ticket.target, since });
                }
            }
        }
    }

    /// I9: nothing silent or withdrawn is rebuilt early, unless hardly enough is held.
    fn keeps_patience(&self, outcome: &Outcome) {
        if outcome.counts.held <= self.shards.readable() + self.shards.faulty() / 2 {
            return;
        }
        for ticket in outcome.groups.iter().flat_map(|group| &group.tickets) {
            if let Why::Silent(age) | Why::Withdrawn(age) = ticket.why {
                assert!(age >= self.params.repair.patience, "I9: {ticket:?}");
            }
        }
    }

    /// The rules it is compared with.
    fn rules(&mut self) {
        let line = match self.policy {
            Policy::Threshold(Line::Quorum) => self.shards.quorum(),
            Policy::Threshold(Line::Near) => self.shards.readable() + self.shards.faulty() / 2,
            _ => u32::MAX,
        };
        let patience = if let Policy::Timeout(hours) = self.policy { hours } else { 1 };
        let mut hosted = self.hosted();
        for at in 0..self.blobs.len() {
            let mut youngest: Vec<Option<u64>> = vec![None; self.peers.len()];
            let mut weights = vec![0u16; self.peers.len()];
            let mut seated = vec![false; self.peers.len()];
            for row in &self.blobs[at].class.rows {
                let peer = &self.peers[usize::from(row.holder.0)];
                let entry = &mut youngest[usize::from(row.shard.0)];
                if !peer.gone {
                    *entry = Some(entry.map_or(peer.age, |age| age.min(peer.age)));
                }
                weights[usize::from(row.holder.0)] += 1;
                seated[usize::from(row.shard.0)] |= row.kind == RowKind::Seat && !peer.gone;
            }
            let held = youngest.iter().filter(|age| **age == Some(0)).count() as u32;
            if held >= line {
                continue;
            }
            let mut tickets = Vec::new();
            for (shard, age) in youngest.iter().enumerate() {
                let own = self.peers[shard].age == 0;
                if own && !seated[shard] {
                    tickets.push((ShardIndex(shard as u16), NodeIndex(shard as u16), RowKind::Seat));
                    continue;
                }
                if own || age.is_some_and(|age| age < patience) || self.peers[shard].age < patience {
                    continue;
                }
                let free = (0..self.peers.len()).filter(|node| self.peers[*node].age == 0 && weights[*node] < 2);
                let turn = self.chance.below(self.peers.len());
                let order = |node: &usize| (weights[*node], hosted[*node], (*node + turn) % self.peers.len());
                if let Some(node) = free.min_by_key(order) {
                    weights[node] += 1;
                    hosted[node] += 1;
                    tickets.push((ShardIndex(shard as u16), NodeIndex(node as u16), RowKind::StandIn));
                }
            }
            self.blobs[at].tickets = tickets;
        }
    }
}

/// Names every shard that nobody covers any more.
fn uncovered(blob: &mut Blob, cause: GapCause, hour: u64) {
    let shards = blob.class.rows.iter().map(|row| row.shard);
    let covered: std::collections::BTreeSet<ShardIndex> =
        shards.chain(blob.class.gaps.iter().map(|gap| gap.shard)).collect();
    let most = blob.class.rows.iter().map(|row| row.shard.0).max().unwrap_or(0);
    for shard in (0..=most).map(ShardIndex).filter(|shard| !covered.contains(shard)) {
        blob.class.gaps.push(Gap { shard, cause, since: Epoch(hour) });
    }
}
