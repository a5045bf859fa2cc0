//! What the reports of an epoch come to: who held, how well it served, what it was shown not to have.
//!
//! Everything is decided by shards. A target held in a slot when the members that claim a pass, with its own seats, hold at
//! least `f + 1` shards; a slot is decided when members that asked in it hold `n - f`; an epoch when more than half of its
//! slots are. In an undecided epoch *answered* goes by the slots of which anybody speaks, so that people see what was seen.

use super::opening::Opened;
use super::{Said, Slot};
use crate::sets::MemberSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::verdict::{Decision, Participation};
use floe_risk::holding::{self, Shards, Slots};
use floe_risk::integrity::{self, Sample};
use floe_risk::reliability::Reliability;
use floe_risk::service::{self, Seen};
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{Committee, Epoch, MemberIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an epoch came to for one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAttendance {
    /// The decided slots in which it held, one bit each.
    pub held: u8,
    /// Its service score: the share of questions answered in time, as the lower median of its reporters saw it. None when nobody
    /// asked it anything.
    pub service: Option<Reliability>,
    /// Questions that it answered in time: as many as the lower median of its reporters counted, times their number.
    pub good: u32,
    /// Samples that it was shown not to have.
    pub missing: u16,
    /// Samples that it was said not to have, and showed.
    pub refuted: u16,
}

/// What the reports of an epoch came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attendance {
    /// Who reported, who answered, whether it was decided: what verdicts go by.
    pub participation: Participation,
    /// The decided slots, one bit each.
    pub slots: u8,
    /// By member of the epoch's committee.
    pub members: Vec<MemberAttendance>,
}

/// What was remembered of `epoch`, which ended at most 400 epochs ago.
///
/// # Errors
/// [`StateError`].
pub fn attendance(state: &dyn StateRead, epoch: Epoch) -> Result<Option<Attendance>, StateError> {
    Table::Attendance.load(state, &Table::Attendance.number(epoch.0))
}

pub(crate) fn remember(overlay: &mut Overlay<'_>, epoch: Epoch, attendance: &Attendance) {
    Table::Attendance.store(overlay, Table::Attendance.number(epoch.0), attendance);
}

pub(crate) fn forget(overlay: &mut Overlay<'_>, epoch: u64) {
    overlay.delete(Table::Attendance.number(epoch));
}

impl Attendance {
    /// Decided slots among all.
    #[must_use]
    pub fn slots(&self) -> Slots {
        Slots { all: SLOTS.into(), decided: self.slots.count_ones() as u16 }
    }

    /// How many decided slots `member` held; none when there is no such member.
    #[must_use]
    pub fn held(&self, member: MemberIndex) -> u16 {
        self.members.get(usize::from(member.0)).map_or(0, |one| one.held.count_ones() as u16)
    }

    /// Whether the member's report was opened: a duty.
    #[must_use]
    pub fn report(&self, member: MemberIndex) -> holding::Report {
        match self.participation.reporters.contains(member) {
            true => holding::Report::Opened,
            false => holding::Report::Withheld,
        }
    }

    /// What `reports` of `committee` come to.
    pub(crate) fn of(committee: &Committee, reports: &BTreeMap<MemberIndex, Opened>) -> Attendance {
        let tally = Tally { committee, reports, shards: Shards::of(committee.shards()) };
        let members: Vec<MemberIndex> = (0..committee.members().len()).map(|at| MemberIndex(at as u16)).collect();
        let slots = tally.slots(|weight, shards| holding::slot_decided(shards, weight));
        let decided = Slots { all: SLOTS.into(), decided: slots.count_ones() as u16 };
        let (decision, counted) = match decided.epoch_decided() {
            true => (Decision::Decided, slots),
            false => (Decision::Undecided, tally.slots(|weight, _| weight > 0)),
        };
        let held: Vec<u8> = members.iter().map(|target| tally.held(*target)).collect();
        let most = |held: u8| (held & counted).count_ones() * 2 > counted.count_ones();
        let present = members.iter().zip(&held).filter(|(_, held)| most(**held));
        let answered: MemberSet = present.map(|(target, _)| *target).collect();
        let reporters = reports.keys().copied().collect();
        let mut found: Vec<MemberAttendance> = Vec::with_capacity(members.len());
        for (target, held) in members.iter().zip(&held) {
            let (service, good) = tally.service(*target);
            found.push(MemberAttendance { held: held & slots, service, good, missing: 0, refuted: 0 });
        }
        for (target, sample) in tally.samples() {
            let Some(one) = found.get_mut(usize::from(target.0)) else { continue };
            match sample {
                Sample::Missing => one.missing = one.missing.saturating_add(1),
                Sample::Shown => one.refuted = one.refuted.saturating_add(1),
                Sample::Unknown => {}
            }
        }
        Attendance { participation: Participation { reporters, answered, decision }, slots, members: found }
    }
}

/// Reports, being counted.
struct Tally<'a> {
    committee: &'a Committee,
    reports: &'a BTreeMap<MemberIndex, Opened>,
    /// None for fewer shards than a network may have: then nothing is decided.
    shards: Option<Shards>,
}

impl Tally<'_> {
    fn weight(&self, member: MemberIndex) -> u32 {
        self.committee.member(member).map_or(0, |member| member.shards.len() as u32)
    }

    /// The slots for which this holds of the shards of those that asked in it, one bit each.
    fn slots(&self, holds: impl Fn(u32, Shards) -> bool) -> u8 {
        let mut bits = 0;
        for slot in Slot::all() {
            let spoke = |report: &Opened| report.held.get(usize::from(slot.0)).is_some_and(Option::is_some);
            let spoke = self.reports.iter().filter(|(_, report)| spoke(report));
            let weight = spoke.map(|(member, _)| self.weight(*member)).sum();
            if self.shards.is_some_and(|shards| holds(weight, shards)) {
                bits |= 1 << slot.0;
            }
        }
        bits
    }

    /// The slots in which `target` held, decided or not, one bit each.
    fn held(&self, target: MemberIndex) -> u8 {
        let Some(shards) = self.shards else { return 0 };
        let own = self.weight(target);
        let mut passes = [0u32; SLOTS as usize];
        for (member, report) in self.reports.iter().filter(|(member, _)| **member != target) {
            for (sum, held) in passes.iter_mut().zip(&report.held) {
                if held.as_ref().is_some_and(|held| held.contains(target)) {
                    *sum += self.weight(*member);
                }
            }
        }
        let held = Slot::all().zip(passes).filter(|(_, passes)| holding::held(shards, own, *passes));
        held.map(|(slot, _)| 1u8 << slot.0).sum()
    }

    /// How well `target` served, and how many good samples that is.
    fn service(&self, target: MemberIndex) -> (Option<Reliability>, u32) {
        let asked = u32::from(challenges_per_slot(self.committee.members().len()));
        let mut seen: Vec<Seen> = Vec::with_capacity(self.reports.len());
        for (member, report) in self.reports.iter().filter(|(member, _)| **member != target) {
            let slots = report.held.iter().flatten().count() as u32;
            let passed = report.passed.get(usize::from(target.0)).copied().unwrap_or(0).into();
            seen.push(Seen { weight: self.weight(*member) as u16, asked: asked * slots, passed });
        }
        let score = service::score(&mut seen);
        seen.sort_unstable_by_key(|one| one.passed);
        let whole: u64 = seen.iter().map(|one| u64::from(one.weight)).sum();
        let mut below = 0;
        let middle = seen.iter().find(|one| {
            below += u64::from(one.weight);
            below * 2 >= whole
        });
        (score, middle.map_or(0, |one| one.passed.saturating_mul(seen.len() as u32)))
    }

    /// What was said to be missing, and what came of it.
    fn samples(&self) -> Vec<(MemberIndex, Sample)> {
        let mut said: BTreeMap<_, (u32, u32)> = BTreeMap::new();
        let Some(shards) = self.shards else { return Vec::new() };
        // Who asked again, by what: a target says nothing of itself.
        let mut accused = BTreeMap::new();
        for (accuser, report) in self.reports {
            for (aim, tag) in &report.accused {
                accused.insert((aim.slot, *accuser, *tag), aim.target);
                // The accuser spoke, and was not shown it.
                said.insert((aim.slot, *accuser, *tag), (self.weight(*accuser), 0));
            }
        }
        for (member, report) in self.reports {
            for one in &report.reasks {
                let key = (one.slot, one.accuser, one.tag);
                let target = accused.get(&key).copied();
                let Some((spoke, shown)) = said.get_mut(&key).filter(|_| target != Some(*member)) else { continue };
                *spoke += self.weight(*member);
                *shown += if one.said == Said::Shown { self.weight(*member) } else { 0 };
            }
        }
        let decide = |(key, target): (_, MemberIndex)| {
            let (spoke, shown) = said.get(&key).copied().unwrap_or_default();
            (target, integrity::decide(shards, self.weight(target), spoke, shown))
        };
        accused.into_iter().map(decide).collect()
    }
}
