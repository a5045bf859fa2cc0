//! Executing commitments and reports.

use super::{REASKS_MAX, Report, SHOWN_MAX, commitment, draw, drawn};
use crate::actions::Acting;
use crate::challenges::{self, Aim, Drawing, Question, QuestionTag, Questions, Seed, Slip, Slot, Timetable};
use crate::event::Event;
use crate::merkle::Root;
use crate::refusal::{Halt, Refusal};
use crate::sets::MemberSet;
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use floe_types::codec::Domain;
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{Epoch, MemberIndex, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the state keeps of a report until the boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Hash of the seed: what the next beacon is made of.
    pub seed: [u8; 32],
    pub held: super::Held,
    pub passed: Vec<u16>,
    /// Drawn samples that it could not get.
    pub accused: Vec<(Aim, QuestionTag)>,
    pub reasks: Vec<super::ReAsk>,
}

static SEED: Domain = Domain::new("floe 1 report: seed that was opened");

impl Report {
    /// What can be wrong with it whatever the state.
    pub(crate) fn shape(&self) -> Result<(), &'static str> {
        if self.held.iter().all(Option::is_none) {
            return Err("a report speaks of at least one slot");
        }
        let slots = self.accusations.iter().map(|said| said.aim.slot);
        if self.accusations.len() > usize::from(SLOTS) || !slots.clone().all(Slot::exists) || !slots.is_sorted_by(below)
        {
            return Err("accusations must be at most one in a slot, ascending");
        }
        let reasks = self.reasks.iter().map(|said| (said.slot, said.accuser));
        // What is accused in the last slot is not asked again.
        let asked_again = |slot: Slot| slot.exists() && slot.next().is_some();
        if self.reasks.len() > REASKS_MAX || !reasks.clone().all(|(slot, _)| asked_again(slot)) {
            return Err("a report speaks of at most 512 samples of others, of slots before the last");
        }
        if !reasks.is_sorted_by(below) {
            return Err("samples of others must be ascending by slot and accuser");
        }
        if self.shown.len() > SHOWN_MAX {
            return Err("a report shows at most four answers");
        }
        Ok(())
    }

    /// What can be wrong with it in a committee of so many, when `index` is its member.
    fn check_members(&self, index: MemberIndex, members: usize) -> Result<(), Refusal> {
        let beyond = |set: &MemberSet| usize::from(set.end()) > members;
        let accused = self.accusations.iter().map(|said| said.aim.target);
        let named = accused.clone().chain(self.reasks.iter().map(|said| said.accuser));
        if self.held.iter().flatten().any(beyond) || named.clone().any(|named| usize::from(named.0) >= members) {
            return Err(Refusal::MembersBeyond { members });
        }
        if named.clone().any(|named| named == index) {
            return Err(Refusal::BadReport { why: "it speaks of its own member" });
        }
        if self.passed.len() != members {
            return Err(Refusal::BadReport { why: "it counts passes of more or fewer members than there are" });
        }
        let asked = challenges_per_slot(members);
        let slots = self.held.iter().flatten().count() as u16;
        if self.passed.iter().any(|passed| *passed > asked.saturating_mul(slots)) {
            return Err(Refusal::BadReport { why: "it counts more passes than questions" });
        }
        if self.accusations.iter().any(|said| said.aim.at >= asked) {
            return Err(Refusal::BadReport { why: "it accuses with a question that there is not" });
        }
        Ok(())
    }
}

/// Each above the one before.
fn below<T: PartialOrd>(one: &T, two: &T) -> bool {
    one < two
}

/// The reports of the running epoch.
pub(crate) fn opened(state: &dyn StateRead) -> Result<BTreeMap<MemberIndex, Opened>, StateError> {
    let entries = Table::Reports.all(state, &[])?.into_iter().map(|(key, value)| {
        let member: [u8; 2] =
            key.as_slice().try_into().map_err(|_| Table::Reports.damaged("a key is not two bytes"))?;
        Ok((MemberIndex(u16::from_be_bytes(member)), Table::Reports.parse(&value)?))
    });
    entries.collect()
}

impl Acting<'_, '_, '_> {
    /// The sender's member, when it may speak of this epoch.
    fn speaker(&self, node: &NodeId, epoch: Epoch) -> Result<MemberIndex, Refusal> {
        let (member, current) = (self.member(node)?, self.scene.epoch);
        match epoch == current {
            true => Ok(member),
            false => Err(Refusal::OtherEpoch { found: epoch, current }),
        }
    }

    pub(crate) fn commit(&mut self, node: &NodeId, epoch: Epoch, root: Root) -> Result<Vec<Event>, Halt> {
        let member = self.speaker(node, epoch)?;
        let times = Timetable::of(&self.scene.context.params, self.scene.epoch_began);
        let (from, until) = (times.closing(), times.middle());
        if self.scene.time < from {
            return Err(Refusal::NotClosing { from }.into());
        }
        if self.scene.time >= until {
            return Err(Refusal::CommitmentsOver { until }.into());
        }
        if commitment(self.overlay, member)?.is_some() {
            return Err(Refusal::AlreadyCommitted.into());
        }
        Table::Commits.store(self.overlay, Table::Commits.key(&[&member.0.to_be_bytes()]), &root);
        Ok(vec![Event::Committed { transaction: self.transaction, member, epoch, root }])
    }

    pub(crate) fn report(&mut self, report: &Report) -> Result<Vec<Event>, Halt> {
        let member = self.speaker(&report.member, report.epoch)?;
        let draw = draw(self.overlay, &self.scene.context.params)?.ok_or(Refusal::NoDraw)?;
        let root = commitment(self.overlay, member)?.ok_or(Refusal::NotCommitted)?;
        let key = Table::Reports.key(&[&member.0.to_be_bytes()]);
        if self.overlay.get(&key)?.is_some() {
            return Err(Refusal::AlreadyReported.into());
        }
        report.check_members(member, self.scene.committee.members().len())?;
        let named = drawn(&draw, member, &report.held);
        let found = report.shown.len();
        if found != named.len() && self.answers_are_shown() {
            return Err(Refusal::NotShown { found, expected: named.len() }.into());
        }
        let seed = self.seed_of(member, report)?;
        let questions = Questions::of(self.overlay, self.scene.committee)?;
        for (at, (slot, target)) in named.into_iter().enumerate().filter(|_| self.answers_are_shown()) {
            self.check_shown((report, at), (&questions, &seed), (slot, target), &root)?;
        }
        let mut accused = Vec::with_capacity(report.accusations.len());
        for aim in report.accusations.iter().map(|said| said.aim) {
            let question = questions.draw(&seed, &aim)?;
            // A question that asks for nothing, or cannot be drawn again, is not asked again.
            if matches!(question, Question::Chunk(_)) && questions.beacon().drawing == Drawing::Firm {
                accused.push((aim, question.tag()));
            }
        }
        let seed = SEED.hash(&report.seed.0);
        let (held, passed, reasks) = (report.held.clone(), report.passed.clone(), report.reasks.clone());
        Table::Reports.store(self.overlay, key, &Opened { seed, held, passed, accused, reasks });
        Ok(vec![Event::Reported { transaction: self.transaction, member, epoch: report.epoch }])
    }

    /// Blobs of the ledger's own tests are names that nobody encoded, so that nobody could show them.
    fn answers_are_shown(&self) -> bool {
        #[cfg(test)]
        return self.scene.context.answers == crate::execute::Answers::Shown;
        #[cfg(not(test))]
        true
    }

    /// The seed that a report opens.
    fn seed_of(&self, member: MemberIndex, report: &Report) -> Result<Seed, Halt> {
        let keys = self.scene.committee.members().iter().map(|member| member.bls_key).collect();
        let signers = self.scene.context.memo.signers.of(keys).map_err(|_| Refusal::BadSeed)?;
        let beacon = challenges::beacon(self.overlay)?;
        let network = &self.scene.context.network;
        let seed = Seed::opened_by(network, &beacon, (&signers, member), report.seed);
        Ok(seed.map_err(|_| Refusal::BadSeed)?)
    }

    /// Checks the answer that a report shows at place `at` for the pass that the draw named there.
    fn check_shown(
        &self,
        (report, at): (&Report, usize),
        (questions, seed): (&Questions<'_>, &Seed),
        (slot, target): (Slot, MemberIndex),
        root: &Root,
    ) -> Result<(), Halt> {
        let committee = self.scene.committee;
        let Some((shown, member)) = report.shown.get(at).zip(committee.member(target)) else {
            return Err(Refusal::NotShown { found: report.shown.len(), expected: at + 1 }.into());
        };
        let aim = Aim { slot, target, at: shown.at };
        if !shown.path.leads(root, committee.members().len(), &aim, &shown.answer) {
            return Err(Refusal::OtherOutcome { slot, target: target.0 }.into());
        }
        if questions.beacon().drawing == Drawing::Spoiled {
            return Ok(());
        }
        let question = questions.draw(seed, &aim)?;
        let slip = Slip::drawn(report.epoch, &aim, (report.member, member.node), question);
        let wrong = |why| Refusal::BadAnswer { slot, target: target.0, why };
        let network = &self.scene.context.network;
        Ok(shown.answer.check(network, committee.shards(), &slip).map_err(wrong)?)
    }
}
