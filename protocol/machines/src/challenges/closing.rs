//! The closing: committing to what was got, and showing of it what the draw names.
//!
//! ```text
//!  closing ─ a little ─► Keep(answers) Duty(Commit) ─► ... middle ... draw ─► Keep(report) Duty(Report)
//! ```
//!
//! What is kept is enough to go on from: the answers before the commitment is said, the report before it is. After a fall the
//! same words are said again, to the byte. A duty is handed over again while the ledger does not have it: gossip may have lost it.

use super::interface::{Effect, Error};
use super::machine::{Challenger, Step};
use floe_ledger::challenges::{Aim, Answer, Outcomes, Seed};
use floe_ledger::reports::{self, Accusation, Held, Report, Shown};
use floe_ledger::{Action, Root};
use floe_types::codec;
use floe_types::{Epoch, MemberIndex};
use serde::{Deserialize, Serialize};

/// The most that is kept in bytes: six answers of the longest of each of 1,024 members, and a report.
pub const SEALED_BYTES_MAX: usize = 32 << 20;

const _: () = assert!(
    6 * 1_024 * (floe_ledger::challenges::ANSWER_BYTES_MAX + 16) + (1 << 20) <= SEALED_BYTES_MAX,
    "what is kept can be read back"
);

/// Parts of half a closing: a duty waits one before it is first handed over, because a block's clock is its proposer's, and as
/// long before each next time.
const PARTS_OF_A_HALF: u64 = 6;

/// What was got in an epoch, as it was committed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sealed {
    epoch: Epoch,
    member: MemberIndex,
    held: Held,
    passed: Vec<u16>,
    accusations: Vec<Accusation>,
    answers: Vec<(Aim, Answer)>,
    report: Option<Box<Report>>,
}

/// How far the closing is for this node.
#[derive(Debug, Default)]
pub(super) struct Closing {
    sealed: Option<Sealed>,
    /// Of the sealed answers: the way to each.
    outcomes: Option<Outcomes>,
    /// The root of those.
    root: Option<Root>,
    /// When the next duty may be handed over.
    next_at: u64,
    /// The ledger has what there is to say, or nothing can be said any more.
    is_over: bool,
}

impl Closing {
    /// A block was decided: it may be the draw.
    pub(super) fn hurry(&mut self, now: u64) {
        if self.sealed.as_ref().is_some_and(|sealed| sealed.report.is_none()) {
            self.next_at = self.next_at.min(now);
        }
    }

    fn seal(&mut self, sealed: Sealed, members: usize) {
        let mut outcomes = Outcomes::new(members);
        sealed.answers.iter().for_each(|(aim, answer)| outcomes.enter(aim, answer));
        self.root = Some(outcomes.root());
        self.outcomes = Some(outcomes);
        self.sealed = Some(sealed);
    }
}

impl Challenger {
    fn half_part(&self) -> u64 {
        (self.params.closing_millis / 2 / PARTS_OF_A_HALF).max(1)
    }

    /// Goes on from what an earlier life kept, when it is of the running epoch and of this member.
    pub(super) fn restore(&mut self, step: &Step<'_>, kept: Option<Vec<u8>>) {
        let Some(round) = &self.round else { return };
        let sealed = kept.and_then(|bytes| codec::decode::<Sealed>(&bytes, SEALED_BYTES_MAX).ok());
        let sealed = sealed.filter(|sealed| (sealed.epoch, sealed.member) == (round.epoch, round.me));
        if let Some(sealed) = sealed {
            self.closing.seal(sealed, round.members);
            self.closing.next_at = step.now;
        }
    }

    /// When the closing has something to do next, in unix milliseconds.
    pub(super) fn closing_wakes_at(&self) -> Option<u64> {
        let round = self.round.as_ref().filter(|_| !self.closing.is_over)?;
        let due = round.times.closing().0.saturating_add(self.half_part());
        Some(self.closing.next_at.max(due))
    }

    /// Says to the ledger what is to be said now.
    pub(super) fn close(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        if self.closing_wakes_at().is_none_or(|at| step.now < at) {
            return Ok(());
        }
        self.closing.next_at = step.now.saturating_add(self.half_part());
        let Some((me, times)) = self.round.as_ref().map(|round| (round.me, round.times)) else { return Ok(()) };
        if step.now >= times.end().0 && self.closing.sealed.is_none() {
            self.closing.is_over = true;
            return Ok(());
        }
        let commitment = reports::commitment(step.state, me)?;
        match reports::draw(step.state, &self.params)? {
            None if commitment.is_none() && step.now < times.middle().0 => self.commit(step),
            // The draw is on its way.
            None => Ok(()),
            Some(draw) => {
                let is_mine = commitment.is_some() && commitment == self.closing.root;
                if !is_mine || reports::reported(step.state, me)? {
                    self.closing.is_over = true;
                    return Ok(());
                }
                self.report(step, &draw)
            }
        }
    }

    fn commit(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        if self.closing.sealed.is_none() && !self.take_stock(step) {
            self.closing.is_over = true;
            return Ok(());
        }
        if let (Some(sealed), Some(root)) = (&self.closing.sealed, self.closing.root) {
            let action = Action::Commit { member: self.identity.node, epoch: sealed.epoch, root };
            step.out.push(Effect::Duty { action });
        }
        Ok(())
    }

    /// Seals what was got; false when there is nothing to report on.
    fn take_stock(&mut self, step: &mut Step<'_>) -> bool {
        let Some(round) = &self.round else { return false };
        let held = round.held();
        if held.iter().all(Option::is_none) {
            return false;
        }
        let answers = round.got.iter().filter_map(|(aim, got)| got.answer().map(|answer| (*aim, answer.clone())));
        let sealed = Sealed {
            epoch: round.epoch,
            member: round.me,
            passed: round.passed(),
            accusations: round.accused.values().map(|accused| Accusation { aim: accused.aim }).collect(),
            answers: answers.collect(),
            held,
            report: None,
        };
        step.out.push(Effect::Keep { epoch: sealed.epoch, bytes: codec::encode(&sealed) });
        let members = round.members;
        self.closing.seal(sealed, members);
        true
    }

    fn report(&mut self, step: &mut Step<'_>, draw: &floe_types::BlockId) -> Result<(), Error> {
        let seed = self.round.as_ref().map(|round| round.seed.clone());
        let (Some(seed), Some(outcomes)) = (seed, &self.closing.outcomes) else { return Ok(()) };
        let reasks = self.reasks();
        let node = self.identity.node;
        let Some(sealed) = self.closing.sealed.as_mut() else { return Ok(()) };
        let report = match &sealed.report {
            Some(report) => report.clone(),
            None => {
                let report = Box::new(Report {
                    member: node,
                    epoch: sealed.epoch,
                    seed: *Seed::signature(&seed),
                    held: sealed.held.clone(),
                    passed: sealed.passed.clone(),
                    accusations: sealed.accusations.clone(),
                    reasks,
                    shown: shown(sealed, outcomes, draw),
                });
                sealed.report = Some(report.clone());
                // Its answers are kept until it is in: what is shown depends on the draw, which can no longer change.
                step.out.push(Effect::Keep { epoch: sealed.epoch, bytes: codec::encode(sealed) });
                report
            }
        };
        step.out.push(Effect::Duty { action: Action::Report(report) });
        Ok(())
    }

    /// Whether this node has handed its report over in the running epoch, or found nothing to report.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        self.closing.is_over || self.closing.sealed.as_ref().is_some_and(|sealed| sealed.report.is_some())
    }
}

/// The answers that the draw names, in its order: of several to one target in one slot the first.
fn shown(sealed: &Sealed, outcomes: &Outcomes, draw: &floe_types::BlockId) -> Vec<Shown> {
    let named = reports::drawn(draw, sealed.member, &sealed.held);
    let show = |(slot, target)| {
        let (aim, answer) = sealed.answers.iter().find(|(aim, _)| (aim.slot, aim.target) == (slot, target))?;
        Some(Shown { at: aim.at, answer: answer.clone(), path: outcomes.path(aim)? })
    };
    named.into_iter().filter_map(show).collect()
}
