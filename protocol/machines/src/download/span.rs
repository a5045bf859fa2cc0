//! Reading one span of a blob: a run of units in one row, from whoever can give it.
//!
//! 1. The holder of the row is asked: what it opens is the blob's own bytes, *proven*. When it is late, failed or is not
//!    there, another holder of the same row is asked, then that of the column, when the span is in a single one.
//! 2. When all of these are late or failed, the same run is asked for in other rows: any `p` of them give it. That is a
//!    [`Download`] with its hedges, and moves `p` times as much.
//! 3. The first way that is whole wins and the others are cancelled.
//!
//! # Laws
//! - **SP-1** A span is ready only with a verified run of its own row or column, or with those of `p` other rows.
//! - **SP-2** Nothing is asked of other rows while a holder of the span itself was asked and is not late.
//! - **SP-3** Every span ends: ready, or failed when no way is left.
//!
//! # Not here
//! Verifying and decoding are the shell's, with [`floe_erasure::CheckedProof::check_part`] and
//! [`floe_erasure::RangeReader`].

use super::{Candidate, Config, Download, TooFew, Trouble};
use floe_erasure::Axis;
use floe_types::{NodeId, PairIndex, ShardIndex};

/// One of the ways to a span, for as long as the span is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The holder with this number among those that have the span itself.
    Direct(usize),
    /// The same run in the row of this pair.
    OtherRow(PairIndex),
}

/// Somebody who has the span itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direct {
    /// In its row or in its column.
    pub axis: Axis,
    /// Who and where.
    pub candidate: Candidate,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin. Once, first.
    Started,
    /// Bytes came in.
    Moved {
        /// On which way.
        way: Way,
    },
    /// The run is here and verified.
    Verified {
        /// On which way.
        way: Way,
    },
    /// The run did not come.
    Failed {
        /// On which way.
        way: Way,
        /// Why.
        trouble: Trouble,
    },
    /// Time passed; see [`Span::wake_at`].
    Tick,
}

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for the run; ended by [`Input::Verified`] or [`Input::Failed`]. Safe twice.
    Ask {
        /// The way.
        way: Way,
        /// Whom.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
        /// Which pair that is.
        pair: PairIndex,
        /// Which of its slivers.
        axis: Axis,
    },
    /// Give an exchange up; nothing is answered.
    Cancel {
        /// Which.
        way: Way,
    },
    /// A holder sent nothing for so long that it was given up.
    Stalled {
        /// Who.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
        /// Which of its slivers.
        axis: Axis,
    },
    /// A holder sent what the blob does not commit to.
    Misbehaved {
        /// Who.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
    },
    /// There is enough.
    Ready {
        /// One direct way, or `p` others.
        ways: Vec<Way>,
    },
    /// There will not be enough.
    Failed {
        /// How many rows answered at the end.
        failure: TooFew,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle { from: u64 },
    Asked { at: u64, moved_at: u64 },
    Gone,
}

#[derive(Debug)]
struct Asking {
    direct: Direct,
    stage: Stage,
    attempts: u32,
}

/// Reading from other rows: not begun, under way, or at its end.
#[derive(Debug)]
enum Others {
    Waiting(Vec<Candidate>),
    Reading(Download),
    Failed(TooFew),
}

/// The state of one span.
#[derive(Debug)]
pub struct Span {
    config: Config,
    needed: u16,
    bytes: u64,
    direct: Vec<Asking>,
    others: Others,
    has_ended: bool,
}

impl Span {
    /// A span of `bytes` bytes from `direct`, in this order, or from `needed` (`p`) different rows of `others`.
    #[must_use]
    pub fn new(config: Config, needed: u16, bytes: u64, direct: Vec<Direct>, others: Vec<Candidate>) -> Span {
        let asking = |direct| Asking { direct, stage: Stage::Idle { from: 0 }, attempts: 0 };
        let direct = direct.into_iter().map(asking).collect();
        Span { config, needed, bytes, direct, others: Others::Waiting(others), has_ended: false }
    }

    /// Takes one input at `now` (milliseconds of a clock that never goes back) and says what to do.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.has_ended {
            return effects;
        }
        let mut inner = super::Input::Tick;
        match input {
            Input::Started | Input::Tick => {}
            Input::Moved { way: Way::Direct(number) } => {
                if let Some(Stage::Asked { moved_at, .. }) = self.direct.get_mut(number).map(|asking| &mut asking.stage)
                {
                    *moved_at = now;
                }
            }
            Input::Verified { way: Way::Direct(number) } => {
                let asked = self.direct.get_mut(number).filter(|asking| matches!(asking.stage, Stage::Asked { .. }));
                if let Some(asking) = asked {
                    asking.stage = Stage::Gone;
                    self.end(&mut effects);
                    effects.push(Effect::Ready { ways: vec![Way::Direct(number)] });
                    return effects;
                }
            }
            Input::Failed { way: Way::Direct(number), trouble } => self.failed(now, number, trouble, &mut effects),
            Input::Moved { way: Way::OtherRow(pair) } => inner = super::Input::Moved { pair },
            Input::Verified { way: Way::OtherRow(pair) } => inner = super::Input::Verified { pair },
            Input::Failed { way: Way::OtherRow(pair), trouble } => inner = super::Input::Failed { pair, trouble },
        }
        self.step_others(now, inner, &mut effects);
        if !self.has_ended {
            self.go_on(now, &mut effects);
        }
        effects
    }

    /// When [`Input::Tick`] is next due; none when the span has ended.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        if self.has_ended {
            return None;
        }
        let inner = match &self.others {
            Others::Reading(download) => download.wake_at(),
            Others::Waiting(_) | Others::Failed(_) => None,
        };
        // Until all that were asked are late nothing else is done.
        let asked = || self.direct.iter().filter(|asking| matches!(asking.stage, Stage::Asked { .. }));
        let late = asked().filter_map(|asking| match asking.stage {
            Stage::Asked { at, .. } => Some(at.saturating_add(self.late_after(asking))),
            Stage::Idle { .. } | Stage::Gone => None,
        });
        let late = late.max();
        let times = self.direct.iter().filter_map(|asking| match asking.stage {
            Stage::Idle { from } => Some(from.max(late.unwrap_or(0))),
            Stage::Asked { moved_at, .. } => Some(moved_at.saturating_add(self.config.stall_millis)),
            Stage::Gone => None,
        });
        let inner = inner.into_iter().chain(late.filter(|_| matches!(self.others, Others::Waiting(_))));
        times.chain(inner).min()
    }

    fn late_after(&self, asking: &Asking) -> u64 {
        self.config.late_after(asking.direct.candidate.speed, self.bytes, None)
    }

    fn failed(&mut self, now: u64, number: usize, trouble: Trouble, effects: &mut Vec<Effect>) {
        let Some(asking) = self.direct.get_mut(number) else { return };
        let Stage::Asked { .. } = asking.stage else { return };
        if trouble == Trouble::Wrong {
            let Candidate { member, shard, .. } = asking.direct.candidate;
            effects.push(Effect::Misbehaved { member, shard });
        }
        let wait = self.config.retry_after(trouble);
        asking.stage = match wait.filter(|_| asking.attempts < self.config.attempts_max) {
            Some(wait) => Stage::Idle { from: now.saturating_add(wait) },
            None => Stage::Gone,
        };
    }

    fn step_others(&mut self, now: u64, input: super::Input, effects: &mut Vec<Effect>) {
        let Others::Reading(download) = &mut self.others else { return };
        for effect in download.step(now, input) {
            match effect {
                super::Effect::Ask { member, shard, pair } => {
                    effects.push(Effect::Ask { way: Way::OtherRow(pair), member, shard, pair, axis: Axis::Primary });
                }
                super::Effect::Cancel { pair } => effects.push(Effect::Cancel { way: Way::OtherRow(pair) }),
                super::Effect::Misbehaved { member, shard } => effects.push(Effect::Misbehaved { member, shard }),
                super::Effect::Stalled { member, shard } => {
                    effects.push(Effect::Stalled { member, shard, axis: Axis::Primary });
                }
                super::Effect::Prefix { .. } => {}
                super::Effect::Ready { pairs } => {
                    self.others = Others::Failed(TooFew { answered: self.needed, needed: self.needed });
                    self.end(effects);
                    effects.push(Effect::Ready { ways: pairs.into_iter().map(Way::OtherRow).collect() });
                    return;
                }
                super::Effect::Failed { failure } => {
                    self.others = Others::Failed(failure);
                    return;
                }
            }
        }
    }

    /// Gives up what is stalled, asks the next direct holder when none is in good time, and others when none is left.
    fn go_on(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let stall = self.config.stall_millis;
        let is_stalled = |asking: &Asking| matches!(asking.stage, Stage::Asked { moved_at, .. } if now >= moved_at.saturating_add(stall));
        let numbered = self.direct.iter().enumerate().filter(|(_, asking)| is_stalled(asking));
        let stalled: Vec<usize> = numbered.map(|(number, _)| number).collect();
        for number in stalled {
            effects.push(Effect::Cancel { way: Way::Direct(number) });
            if let Some(Direct { axis, candidate }) = self.direct.get(number).map(|asking| asking.direct) {
                effects.push(Effect::Stalled { member: candidate.member, shard: candidate.shard, axis });
            }
            self.failed(now, number, Trouble::Broken, effects);
        }
        let in_time = |asking: &Asking| match asking.stage {
            Stage::Asked { at, .. } => now < at.saturating_add(self.late_after(asking)),
            Stage::Idle { .. } | Stage::Gone => false,
        };
        if self.direct.iter().any(in_time) {
            return;
        }
        let can_ask = |asking: &Asking| matches!(asking.stage, Stage::Idle { from } if from <= now);
        let numbered = self.direct.iter_mut().enumerate().filter(|(_, asking)| can_ask(asking));
        if let Some((number, asking)) = numbered.min_by_key(|(number, asking)| (asking.attempts, *number)) {
            asking.stage = Stage::Asked { at: now, moved_at: now };
            asking.attempts += 1;
            let Direct { axis, candidate: Candidate { member, shard, pair, .. } } = asking.direct;
            effects.push(Effect::Ask { way: Way::Direct(number), member, shard, pair, axis });
            return;
        }
        if let Others::Waiting(candidates) = &mut self.others {
            let candidates = std::mem::take(candidates);
            self.others = Others::Reading(Download::new(self.config.clone(), self.needed, self.bytes, candidates));
            self.step_others(now, super::Input::Started, effects);
        }
        if let Others::Failed(failure) = self.others
            && !self.has_ended
            && self.direct.iter().all(|asking| asking.stage == Stage::Gone)
        {
            self.has_ended = true;
            effects.push(Effect::Failed { failure });
        }
    }

    /// Cancels whatever is still under way.
    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.has_ended = true;
        let asked = self.direct.iter().enumerate().filter(|(_, asking)| matches!(asking.stage, Stage::Asked { .. }));
        effects.extend(asked.map(|(number, _)| Effect::Cancel { way: Way::Direct(number) }));
        if let Others::Reading(download) = &mut self.others {
            let asked = download.abandon().into_iter();
            effects.extend(asked.map(|pair| Effect::Cancel { way: Way::OtherRow(pair) }));
        }
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
