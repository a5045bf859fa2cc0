//! Readers are sensors: what a reader of this node could not get is its member's next question.
//!
//! ```text
//!  gateway --Unread(holder, sliver)--> next slot: one chunk of it, at a moment of the seed's --> shown: cleared
//!                                                                                           `--> not: named to all, once
//! ```
//!
//! - *Which chunk* follows from this member's seed ([`Questions::of_reader`]), so that the holder does not know it before.
//! - *How often*: one sample of a holder in a slot, the first that came. What comes beside it is dropped: a reader that meets
//!   it again says so again. So a holder is asked at most once more by each member in a slot, for which its limits have room, and
//!   what waits is bounded by the committee.
//! - *What it counts*: nothing in any report. A chunk that a member chose would convict a holder of one lost kilobyte as often as
//!   anybody read it. Where the slot brought no accusation that the seed gives, this one is named to all in its place, and they
//!   ask again: the holder, asked for what it cannot show, finds out and withdraws it.
//! - After the last slot it waits for the next epoch.

use super::again::again_at;
use super::interface::{AskId, Effect, Error};
use super::machine::{Challenger, Step};
use super::round::{Got, Open, Purpose, Round};
use crate::wire::challenge::{Accused, OF_A_READER, Request};
use bytes::Bytes;
use floe_ledger::challenges::{Aim, Occasion, Question, Questions, Slip, Slot, Unread};
use floe_types::NodeId;

impl Challenger {
    /// Takes note of what a reader could not get of `holder`.
    pub(super) fn unread(&mut self, step: &Step<'_>, holder: NodeId, what: Unread) {
        let (Some(watch), Some(round)) = (&self.watch, self.round.as_mut()) else { return };
        let Some(target) = watch.committee.index_of(&holder).filter(|target| *target != round.me) else { return };
        let Some(next) = Slot::all().find(|slot| watch.times.begins(*slot).0 > step.now) else {
            self.unread.entry(holder).or_insert(what);
            return;
        };
        if round.unread.contains_key(&(next, target)) {
            return;
        }
        round.unread.insert((next, target), what);
        round.unread_waiting.insert((again_at(watch, &round.seed, next, (target, round.me)), next, target));
    }

    /// Asks what readers could not get and is due.
    pub(super) fn ask_for_readers(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        let (Some(watch), Some(round)) = (&self.watch, self.round.as_mut()) else { return Ok(()) };
        if round.unread_waiting.first().is_none_or(|(at, ..)| *at > step.now) {
            return Ok(());
        }
        let questions = Questions::of(step.state, &watch.committee)?;
        while round.open.len() < self.config.asks_max {
            let due = round.unread_waiting.first().copied().filter(|(at, ..)| *at <= step.now);
            let Some((at, slot, target)) = due else { break };
            round.unread_waiting.remove(&(at, slot, target));
            let Some(what) = round.unread.get(&(slot, target)) else { continue };
            let is_late = step.now > watch.times.last_question(slot).0;
            let Some(node) = watch.committee.member(target).map(|member| member.node).filter(|_| !is_late) else {
                continue;
            };
            let Some(question) = questions.of_reader(&round.seed, (slot, target), what)? else { continue };
            // As one that this member itself could not get: the holder has room for one of each member's.
            let occasion = Occasion::Again { accuser: round.me };
            let slip =
                Slip { epoch: round.epoch, slot, challenger: self.identity.node, target: node, occasion, question };
            let ask = AskId(self.next_ask);
            self.next_ask += 1;
            let bytes = Bytes::from(Request::of(self.network, &slip).encode());
            round.open.insert(ask, Open { purpose: Purpose::OfReader(slot, target), slip, asked_at: step.now });
            step.out.push(Effect::Ask { ask, to: node, bytes });
        }
        Ok(())
    }
}

impl Round {
    /// What a reader could not get and this member could not in `slot` either: denied, or passed over in silence by a target
    /// that answers otherwise. None in the last slot.
    pub(super) fn accusation_of_reader(&self, slot: Slot) -> Option<Accused> {
        slot.next()?;
        let of_slot = || self.of_readers.iter().filter(move |((of, _), _)| *of == slot);
        let accused =
            |target, question: &Question| Accused { aim: Aim { slot, target, at: OF_A_READER }, question: *question };
        let denied = of_slot().find_map(|((_, target), got)| match got {
            Got::Missed(question) => Some(accused(*target, question)),
            _ => None,
        });
        let silent = || {
            of_slot().find_map(|((_, target), got)| match got {
                Got::Silent(question) if self.answers_otherwise(slot, *target) => Some(accused(*target, question)),
                _ => None,
            })
        };
        denied.or_else(silent)
    }
}
