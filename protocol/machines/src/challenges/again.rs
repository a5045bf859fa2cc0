//! Asking again for what others could not get, and observations: how one hears of it.
//!
//! An observation is taken in when it is signed by a member, about a slot of the running epoch that this node's clock has
//! seen begin, and the first of its member for that slot. Its accusation is followed when what it names is due of the target by the
//! ledger: whether the accuser's seed gives it shows only when that is opened, and then one that it does not give counts nothing.

use super::interface::{AskId, Effect, Error, ObservationToken};
use super::machine::{Challenger, Step, Watch};
use super::round::{Got, Open, Purpose};
use super::scoreboard::News;
use crate::coordinator::Judgement;
use crate::wire::challenge::{Accused, OF_A_READER, Observation, Request, SignedObservation};
use bytes::Bytes;
use floe_ledger::challenges::{Aim, Occasion, Question, Questions, Seed, Slip, Slot, asked_at};
use floe_ledger::reports::{REASKS_MAX, ReAsk, Said};
use floe_types::MemberIndex;

/// What became of asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not asked yet, or under way.
    Waiting,
    /// A valid answer.
    Shown,
    /// The target said no, or showed something else.
    Missing,
    /// Nothing came in time. Missing only if the target held in that slot, as others saw it.
    Silent,
}

impl Outcome {
    /// What the answer to a question asked again is.
    #[must_use]
    pub fn of(got: &Got) -> Outcome {
        match got {
            Got::Passed(_) | Got::Late(_) => Outcome::Shown,
            Got::Missed(_) => Outcome::Missing,
            Got::Silent(_) => Outcome::Silent,
        }
    }

    /// What is reported of it: of a target that was not there at all, nothing. It has not lost anything for that.
    #[must_use]
    pub fn said(self, target_was_there: bool) -> Option<Said> {
        match self {
            Outcome::Shown => Some(Said::Shown),
            Outcome::Missing => Some(Said::Missing),
            Outcome::Silent => target_was_there.then_some(Said::Missing),
            Outcome::Waiting => None,
        }
    }
}

/// A sample of somebody else's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub target: MemberIndex,
    /// Whether the accuser says that its seed gives it: else it is asked, and not reported on.
    pub is_drawn: bool,
    pub question: Question,
    pub outcome: Outcome,
}

impl Challenger {
    pub(super) fn observed(&mut self, step: &mut Step<'_>, token: ObservationToken, bytes: &[u8]) -> Result<(), Error> {
        let judgement = match SignedObservation::decode(bytes) {
            Err(_) => Judgement::Reject,
            Ok(signed) => self.hear(step, signed)?,
        };
        step.out.push(Effect::Judge { token, judgement });
        Ok(())
    }

    fn hear(&mut self, step: &mut Step<'_>, signed: SignedObservation) -> Result<Judgement, Error> {
        let Some(watch) = self.watch.as_mut() else { return Ok(Judgement::Ignore) };
        let said = &signed.observation;
        if said.network != self.network {
            return Ok(Judgement::Reject);
        }
        if said.epoch != watch.board.epoch() || !said.slot.exists() || step.now < watch.times.begins(said.slot).0 {
            return Ok(Judgement::Ignore);
        }
        let Some(member) = watch.committee.index_of(&said.member) else { return Ok(Judgement::Ignore) };
        // The signature is checked last: it costs the most, and a copy of what is known needs none.
        if watch.board.has_spoken(member, said.slot) {
            return Ok(Judgement::Ignore);
        }
        let Ok(observation) = signed.check() else { return Ok(Judgement::Reject) };
        let Observation { slot, passed, late, accused, .. } = observation;
        match watch.board.say(member, slot, (&passed, &late)) {
            News::New => {}
            News::Known => return Ok(Judgement::Ignore),
            News::Foreign => return Ok(Judgement::Reject),
        }
        match accused {
            Some(accused) => self.hear_accusation(step, (member, slot), &accused),
            None => Ok(Judgement::Accept),
        }
    }

    fn hear_accusation(
        &mut self,
        step: &mut Step<'_>,
        (accuser, slot): (MemberIndex, Slot),
        accused: &Accused,
    ) -> Result<Judgement, Error> {
        let Some(watch) = &self.watch else { return Ok(Judgement::Ignore) };
        let Aim { slot: of, target, .. } = accused.aim;
        // What is accused in the last slot is not asked again.
        let Some(next) = slot.next().filter(|_| of == slot && target != accuser) else { return Ok(Judgement::Reject) };
        let is_sample = matches!(accused.question, Question::Chunk(_)) && watch.committee.member(target).is_some();
        if !is_sample || !Questions::of(step.state, &watch.committee)?.is_due(&accused.question, target)? {
            // This node's head may be another one: nobody is to blame.
            return Ok(Judgement::Accept);
        }
        let Some(round) = self.round.as_mut() else { return Ok(Judgement::Accept) };
        let in_slot = round.again.keys().filter(|(of, _)| *of == slot).count();
        let moment = again_at(watch, &round.seed, next, (target, accuser)).max(step.now);
        let is_late = moment > watch.times.last_question(next).0;
        if is_late || target == round.me || accuser == round.me || in_slot >= self.config.again_max {
            return Ok(Judgement::Accept);
        }
        let (question, is_drawn) = (accused.question, accused.aim.at != OF_A_READER);
        round.again.insert((slot, accuser), Again { target, is_drawn, question, outcome: Outcome::Waiting });
        round.again_waiting.insert((moment, slot, accuser));
        Ok(Judgement::Accept)
    }

    /// Asks again what is due.
    pub(super) fn ask_again(&mut self, step: &mut Step<'_>) {
        let (Some(watch), Some(round)) = (&self.watch, self.round.as_mut()) else { return };
        while round.open.len() < self.config.asks_max {
            let due = round.again_waiting.first().copied().filter(|(at, ..)| *at <= step.now);
            let Some((at, slot, accuser)) = due else { return };
            round.again_waiting.remove(&(at, slot, accuser));
            let Some(again) = round.again.get(&(slot, accuser)) else { continue };
            let Some(target) = watch.committee.member(again.target).map(|member| member.node) else { continue };
            let slip = Slip {
                epoch: round.epoch,
                slot,
                challenger: self.identity.node,
                target,
                occasion: Occasion::Again { accuser },
                question: again.question,
            };
            let ask = AskId(self.next_ask);
            self.next_ask += 1;
            let bytes = Bytes::from(Request::of(self.network, &slip).encode());
            round.open.insert(ask, Open { purpose: Purpose::Again(slot, accuser), slip, asked_at: step.now });
            step.out.push(Effect::Ask { ask, to: target, bytes });
        }
    }

    /// What is to be reported of samples of others: what was shown, and what a target that was there did not show.
    pub(super) fn reasks(&self) -> Vec<ReAsk> {
        let (Some(watch), Some(round)) = (&self.watch, &self.round) else { return Vec::new() };
        let was_there = |slot: Slot, target| watch.board.standing(slot, target).is_held();
        let said = |slot: Slot, again: &Again| {
            again.outcome.said(slot.next().is_some_and(|slot| was_there(slot, again.target)))
        };
        let drawn = round.again.iter().filter(|(_, again)| again.is_drawn);
        let all = drawn.filter_map(|((slot, accuser), again)| {
            let tag = again.question.tag();
            said(*slot, again).map(|said| ReAsk { slot: *slot, accuser: *accuser, tag, said })
        });
        all.take(REASKS_MAX).collect()
    }
}

/// When a sample of the slot before `next` is asked again: some moment of `next`.
pub(super) fn again_at(watch: &Watch, seed: &Seed, next: Slot, (target, accuser): (MemberIndex, MemberIndex)) -> u64 {
    // Numbers from above, which no question of its own has.
    let at = u16::MAX - accuser.0;
    asked_at(seed, &watch.times, &Aim { slot: next, target, at }).0
}
