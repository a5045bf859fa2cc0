//! How nodes stand: what is remembered of each from boundary to boundary, and what the network has learned.
//!
//! ```text
//!  attendance of an epoch ──► gauges of each member ──► rank: good, on probation, excluded
//!                                    │
//!                                    └─► departures, onsets of silence, node-epochs ──► what is expected of others
//! ```
//!
//! A member's gauges move with each decided epoch, and in every epoch when its report was not opened: that is a duty. Who is
//! excluded here loses its seats at the next election as the caps allow and keeps its vote until then; it may be chosen again
//! for the first term that begins after its wait, and starts on probation.
//!
//! *A departure* is an exclusion for absence or for what was missing. *A shock* of a domain is counted when at least half its
//! members, two or more, are excluded at one boundary with silences that began in one epoch. Domains are the words that
//! candidates declare: nodes that share one are taken as one domain, and so are nodes that fall silent together more often than
//! chance allows ([`floe_risk::correlation`]).
//!
//! # Laws
//! - **I10** An outage of at most 72 epochs from a clean record excludes nobody.
//! - **I12** Long-run availability of 75 % is excluded within 45 days, of 50 % within 16.
//!
//! # Not here
//! The arithmetic: [`floe_risk`]. That a newcomer shows what it has before it counts is not done yet.

use crate::candidates;
use crate::event::Event;
use crate::reports::Attendance;
use crate::rows::Rows;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_risk::Params as Constants;
use floe_risk::correlation::{self, Onsets};
use floe_risk::hazard::{Experience, Presence};
use floe_risk::holding::attend;
use floe_risk::integrity::{Gauge, Outcome, Sample};
use floe_risk::reliability::{Cause, Rank, Record, Reliability};
use floe_types::{Committee, Epoch, EpochCount, MemberIndex, NodeId, Params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Hours in milliseconds.
const HOUR_MILLIS: u64 = 3_600_000;

/// The constants of risk and repair of a network with these parameters. Where an epoch stands for longer than it lasts, those of
/// a devnet: stand-ins of its own for each blob, and more repair at once.
pub(crate) fn constants(params: &Params) -> Constants {
    let mut constants = Constants::of_hours(params.hours_per_epoch);
    if params.epoch_millis < params.hours_per_epoch.saturating_mul(HOUR_MILLIS) {
        let devnet = Constants::devnet().repair;
        constants.repair.quarter_pairs_per_blob = devnet.quarter_pairs_per_blob;
        constants.repair.rotation_run = devnet.rotation_run;
    }
    constants
}

/// What is remembered of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    /// Its reliability and whether it is excluded.
    pub record: Record,
    /// Decided epochs in a row in which it was absent; also any in which its report was not opened.
    pub age: EpochCount,
    /// The epoch in which that silence began.
    pub silent_since: Option<Epoch>,
    /// The sequential test of whether it has what it attests.
    pub integrity: Gauge,
    /// The first epoch of its newest rebuild of what it lost honestly ([`crate::Right::Rebuild`]).
    pub rebuild: Option<Epoch>,
    /// Under which number it is compared with others.
    pub(crate) number: u16,
}

impl Gauges {
    fn new(number: u16) -> Gauges {
        let (age, integrity) = (EpochCount(0), Gauge::default());
        Gauges { record: Record::clean(), age, silent_since: None, integrity, rebuild: None, number }
    }

    /// Grants a rebuild from epoch `next` on, unless there was one in the window of its gauge.
    fn grant(&mut self, constants: &Constants, next: Epoch) {
        let recent = |before: Epoch| next.0.saturating_sub(before.0) <= constants.gauge.window.0;
        if !self.rebuild.is_some_and(recent) {
            self.rebuild = Some(next);
        }
    }

    /// The last epoch of its newest rebuild.
    pub(crate) fn rebuilds_until(&self, constants: &Constants) -> Option<Epoch> {
        Some(Epoch(self.rebuild?.0.saturating_add(constants.repair.standing.0).saturating_sub(1)))
    }

    /// Whether `epoch` is one of its newest rebuild.
    pub(crate) fn rebuilds_in(&self, constants: &Constants, epoch: Epoch) -> bool {
        let begun = self.rebuild.is_some_and(|first| first <= epoch);
        begun && self.rebuilds_until(constants).is_some_and(|last| epoch <= last)
    }

    /// What may be expected of it, unless it is excluded for another reason.
    #[must_use]
    pub fn presence(&self) -> Presence {
        if self.record.excluded.is_some() { Presence::Gone } else { Presence::of_age(self.age) }
    }
}

/// What the network has learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Climate {
    pub experience: Experience,
    pub onsets: Onsets,
}

pub(crate) fn climate(state: &dyn StateRead) -> Result<Climate, StateError> {
    Ok(Table::Climate.load(state, &Table::Climate.key(&[]))?.unwrap_or_default())
}

fn key(node: &NodeId) -> Vec<u8> {
    Table::Gauges.key(&[&node.0])
}

/// Of all nodes, by node.
pub(crate) fn all(state: &dyn StateRead) -> Result<BTreeMap<NodeId, Gauges>, StateError> {
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let node = key.as_slice().try_into().map_err(|_| Table::Gauges.damaged("a key is not a node"))?;
        Ok((NodeId(node), Table::Gauges.parse(&value)?))
    };
    Table::Gauges.all(state, &[])?.into_iter().map(entry).collect()
}

/// The gauges of one node.
pub(crate) fn of(state: &dyn StateRead, node: &NodeId) -> Result<Option<Gauges>, StateError> {
    Table::Gauges.load(state, &key(node))
}

/// Grants a rebuild from epoch `next` on to each node that has said that it lost fragments of its seats.
pub(crate) fn grant(
    overlay: &mut Overlay<'_>,
    constants: &Constants,
    nodes: &BTreeSet<NodeId>,
    next: Epoch,
) -> Result<(), StateError> {
    for node in nodes {
        let Some(before) = of(overlay, node)? else { continue };
        let mut gauges = before;
        gauges.grant(constants, next);
        if gauges != before {
            Table::Gauges.store(overlay, key(node), &gauges);
        }
    }
    Ok(())
}

/// Members and others as a boundary finds them.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub gauges: BTreeMap<NodeId, Gauges>,
    pub climate: Climate,
    /// Excluded, also for what is no matter of presence.
    excluded: BTreeSet<NodeId>,
    constants: Constants,
}

impl Assembly {
    /// As the state says now.
    pub(crate) fn of(state: &dyn StateRead, constants: &Constants) -> Result<Assembly, StateError> {
        let (gauges, climate, constants) = (all(state)?, climate(state)?, constants.clone());
        let barred = candidates::all(state)?.into_iter();
        let barred = barred.filter(|one| matches!(one.standing, candidates::Standing::Excluded { .. }));
        let excluded = barred.map(|candidate| candidate.node).collect();
        Ok(Assembly { gauges, climate, excluded, constants })
    }

    pub(crate) fn rank(&self, node: &NodeId) -> Rank {
        if self.excluded.contains(node) {
            return Rank::Excluded;
        }
        self.gauges.get(node).map_or(Rank::Good, |gauges| gauges.record.rank(&self.constants.standing))
    }

    pub(crate) fn presence(&self, node: &NodeId) -> Presence {
        match self.rank(node) {
            Rank::Excluded => Presence::Gone,
            _ => self.gauges.get(node).map_or(Presence::Answering, Gauges::presence),
        }
    }

    pub(crate) fn reliability(&self, node: &NodeId) -> Reliability {
        self.gauges.get(node).map_or(Reliability::FULL, |gauges| gauges.record.average)
    }

    /// The failure domain of each member: declared words that are shared, and pairs that fall silent together, make one.
    pub(crate) fn domains(&self, committee: &Committee) -> Vec<u16> {
        let members = committee.members();
        let alone: Vec<u16> = (0..members.len()).map(|at| at as u16).collect();
        let mut first: BTreeMap<&str, u16> = BTreeMap::new();
        let mut pairs = Vec::new();
        for (at, member) in (0u16..).zip(members) {
            for word in member.domain.split_whitespace() {
                pairs.push((at, *first.entry(word).or_insert(at)));
            }
        }
        let numbered = members.iter().map(|member| self.gauges.get(&member.node).map(|gauges| gauges.number));
        let places: BTreeMap<u16, u16> = numbered.zip(0u16..).filter_map(|(number, at)| Some((number?, at))).collect();
        let flagged = self.climate.onsets.flagged();
        pairs.extend(flagged.filter_map(|(one, other)| Some((*places.get(&one)?, *places.get(&other)?))));
        correlation::merge(&alone, pairs.into_iter())
    }
}

/// The epoch that is taken in.
pub(crate) struct Taken<'a> {
    pub params: &'a Params,
    pub constants: &'a Constants,
    pub committee: &'a Committee,
    pub attendance: &'a Attendance,
    pub epoch: Epoch,
}

impl Taken<'_> {
    /// Moves every gauge, and writes them down. Gives how all stand then and what happened.
    pub(crate) fn turn(&self, overlay: &mut Overlay<'_>) -> Result<(Assembly, Vec<Event>), StateError> {
        let mut assembly = Assembly::of(overlay, self.constants)?;
        let before = assembly.gauges.clone();
        self.number(&mut assembly);
        let mut fell = Vec::new();
        for index in (0..self.committee.members().len()).map(|at| MemberIndex(at as u16)) {
            fell.extend(self.observe(index, &mut assembly));
        }
        let events = self.exclude(overlay, &mut assembly, &fell)?;
        self.learn(&mut assembly, &before, &fell);
        self.forget(overlay, &mut assembly)?;
        for (node, gauges) in &assembly.gauges {
            if before.get(node) != Some(gauges) {
                Table::Gauges.store(overlay, key(node), gauges);
            }
        }
        for node in before.keys().filter(|node| !assembly.gauges.contains_key(node)) {
            overlay.delete(key(node));
        }
        Table::Climate.store(overlay, Table::Climate.key(&[]), &assembly.climate);
        Ok((assembly, events))
    }

    /// What part of its pay each member gets: the share of decided slots that it held, or its service score when that is lower.
    /// Nothing for who was absent, whose report was not opened, or who is excluded; half on probation.
    pub(crate) fn shares(&self, assembly: &Assembly) -> Vec<Reliability> {
        let participation = &self.attendance.participation;
        let decided = self.attendance.slots.count_ones();
        let of = |(index, node): (MemberIndex, &NodeId)| {
            let present = participation.answered.contains(index) && participation.reporters.contains(index);
            let seen = self.attendance.members.get(usize::from(index.0)).filter(|_| present);
            let Some(seen) = seen else { return Reliability::NONE };
            let held = Reliability::ratio(self.attendance.held(index).into(), decided);
            let proven = seen.service.map_or(held, |service| service.min(held));
            match assembly.rank(node) {
                Rank::Good => proven,
                Rank::Probation => Reliability::from_bits(proven.bits() / 2),
                Rank::Excluded => Reliability::NONE,
            }
        };
        let members = self.committee.members().iter().map(|member| &member.node);
        (0..).map(MemberIndex).zip(members).map(of).collect()
    }

    fn is_decided(&self) -> bool {
        self.attendance.participation.decision == crate::Decision::Decided
    }

    /// Gives those that have none the lowest free number.
    fn number(&self, assembly: &mut Assembly) {
        let mut used: BTreeSet<u16> = assembly.gauges.values().map(|gauges| gauges.number).collect();
        let mut free = 0u16;
        for member in self.committee.members() {
            if assembly.gauges.contains_key(&member.node) {
                continue;
            }
            while used.contains(&free) {
                free = free.saturating_add(1);
            }
            used.insert(free);
            assembly.gauges.insert(member.node, Gauges::new(free));
        }
    }

    /// Takes in what the epoch was for one member. Gives it when that excludes it.
    fn observe(&self, index: MemberIndex, assembly: &mut Assembly) -> Option<(NodeId, Cause)> {
        let (constants, epoch) = (self.constants, self.epoch);
        let node = self.committee.member(index)?.node;
        let gauges = assembly.gauges.get_mut(&node)?;
        let seen = self.attendance.members.get(usize::from(index.0));
        let (slots, held) = (self.attendance.slots(), self.attendance.held(index));
        let after = attend(slots, held, self.attendance.report(index), gauges.age);
        gauges.silent_since = match (gauges.age.0, after.age.0) {
            (_, 0) => None,
            (0, _) => Some(epoch),
            _ => gauges.silent_since,
        };
        gauges.age = after.age;
        let was = gauges.record.excluded;
        gauges.record.observe(&constants.standing, epoch, after.share);
        if let Some(seen) = seen.filter(|_| self.is_decided()) {
            gauges.integrity.observe_good(&constants.gauge, u64::from(seen.good));
            for _ in 0..seen.missing {
                match gauges.integrity.observe(&constants.gauge, epoch, Sample::Missing) {
                    Outcome::Quiet => {}
                    Outcome::Tripped => gauges.grant(constants, epoch.next()),
                    Outcome::Convicted => gauges.record.exclude(epoch, Cause::Integrity),
                }
            }
        }
        match (was, gauges.record.excluded) {
            (None, Some((_, cause))) => Some((node, cause)),
            _ => None,
        }
    }

    /// Tells the candidates of it, and lets those begin anew whose wait is over.
    fn exclude(
        &self,
        overlay: &mut Overlay<'_>,
        assembly: &mut Assembly,
        fell: &[(NodeId, Cause)],
    ) -> Result<Vec<Event>, StateError> {
        let (params, standing) = (self.params, &self.constants.standing);
        let mut events = Vec::new();
        for (node, cause) in fell {
            let record = assembly.gauges.get(node).map(|gauges| gauges.record);
            let due = record.and_then(|record| record.may_return(standing)).unwrap_or(self.epoch);
            // An election that was held already does not count.
            let until = params.term_of(due).max(self.committee.term().saturating_add(1)).saturating_add(1);
            candidates::set_aside(overlay, node, self.epoch.next(), until)?;
            assembly.excluded.insert(*node);
            events.push(Event::Excluded { node: *node, epoch: self.epoch, cause: *cause, until });
        }
        let Assembly { gauges, excluded, .. } = assembly;
        for (_, gauges) in gauges.iter_mut().filter(|(node, _)| !excluded.contains(*node)) {
            if let Some(record) = gauges.record.readmitted(standing, self.epoch) {
                (gauges.record, gauges.integrity) = (record, Gauge::default());
            }
        }
        Ok(events)
    }

    /// Counts departures, shocks and time, and looks who falls silent together.
    fn learn(&self, assembly: &mut Assembly, before: &BTreeMap<NodeId, Gauges>, fell: &[(NodeId, Cause)]) {
        let members = self.committee.members();
        let domains = assembly.domains(self.committee);
        let place = |node: &NodeId| self.committee.index_of(node).map(|index| usize::from(index.0));
        let mut left: BTreeMap<(u16, Epoch), usize> = BTreeMap::new();
        for (node, _) in fell {
            let domain = place(node).and_then(|place| domains.get(place)).copied();
            let onset = assembly.gauges.get(node).and_then(|gauges| gauges.silent_since);
            if let (Some(domain), Some(onset)) = (domain, onset) {
                *left.entry((domain, onset)).or_default() += 1;
            }
        }
        let size = |domain: u16| domains.iter().filter(|one| **one == domain).count();
        let shocks = left.iter().filter(|((domain, _), left)| **left >= 2 && **left * 2 >= size(*domain)).count();
        let experience = &mut assembly.climate.experience;
        experience.departures = experience.departures.saturating_add(fell.len() as u64);
        experience.shocks = experience.shocks.saturating_add(shocks as u64);
        if !self.is_decided() {
            return;
        }
        let distinct: BTreeSet<u16> = domains.iter().copied().collect();
        experience.node_epochs = experience.node_epochs.saturating_add(members.len() as u64);
        experience.domain_epochs = experience.domain_epochs.saturating_add(distinct.len() as u64);
        let present = |node: &NodeId| before.get(node).is_none_or(|gauges| gauges.age.0 == 0);
        let now = members.iter().filter_map(|member| Some((member.node, assembly.gauges.get(&member.node)?)));
        let began = now.filter(|(node, gauges)| gauges.age.0 > 0 && present(node));
        let began: Vec<u16> = began.map(|(_, gauges)| gauges.number).collect();
        let (coincidence, onsets) = (&self.constants.coincidence, &mut assembly.climate.onsets);
        onsets.observe(coincidence, self.epoch, &began, members.len());
        if self.is_check() {
            onsets.flag(coincidence, self.epoch, members.len());
        }
    }

    fn is_check(&self) -> bool {
        self.epoch.0.is_multiple_of(self.constants.standing.check_every.0.max(1))
    }

    /// Drops, once a day, what is remembered of nodes that are neither candidates nor members nor have a row.
    fn forget(&self, overlay: &Overlay<'_>, assembly: &mut Assembly) -> Result<(), StateError> {
        if !self.is_check() {
            return Ok(());
        }
        let mut known: BTreeSet<NodeId> = self.committee.members().iter().map(|member| member.node).collect();
        known.extend(candidates::all(overlay)?.into_iter().map(|candidate| candidate.node));
        let rows: Rows = crate::rows::load(overlay)?;
        known.extend(rows.iter().map(|(_, row)| row.holder));
        let Assembly { gauges, climate, .. } = assembly;
        gauges.retain(|node, gauges| {
            let stays = known.contains(node);
            if !stays {
                climate.onsets.forget(gauges.number);
            }
            stays
        });
        Ok(())
    }
}
