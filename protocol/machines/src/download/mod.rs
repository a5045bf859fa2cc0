//! Reading one blob: whom to ask for which sliver, when to ask somebody else too, when there is enough.
//!
//! 1. Any `p` different primary slivers give the blob, the `p` systematic ones without any arithmetic. So those are asked
//!    for first, unless their holder is expected to be slower than a parity sliver and its decoding. What a holder is
//!    expected to need comes from the [`SpeedBook`], and several slivers from one holder queue up behind one another.
//! 2. A sliver that is late is *hedged*: one more is asked for, the best that is left. Late is three times what was expected
//!    of its holder; when half of the slivers are there, twice what the median of those took, if that is sooner. Hedges
//!    are few ([`Config::hedges_max`]); the first `p` slivers win, whosever they are.
//! 3. A sliver that failed is replaced at once and not counted as a hedge. One that is *wrong* is named with its holder and
//!    not asked for again; another holder of the same sliver is, when there is one. A holder that is busy is asked again when it said, if it is still needed.
//! 4. With `p` verified the rest is cancelled. While systematic rows come in from the first on, their prefix can be handed
//!    out already.
//!
//! # Laws
//! - **DL-1** A read is ready only with `p` different verified slivers.
//! - **DL-2** Never more asked at a time than [`Config`] allows, in all and of one holder; never more hedges than allowed.
//! - **DL-3** Every read ends: ready, or failed when no candidate is left that could bring it to `p`.
//!
//! # Not here
//! Verifying is the shell's, with [`floe_erasure::verify_primary`]; so is confirming the id over what is handed out.

mod config;
pub mod span;
mod speed;
#[cfg(test)]
mod tests;

use crate::wire::fragment::Answer;
pub use config::Config;
use floe_types::{NodeId, PairIndex, ShardIndex};
pub use speed::{Speed, SpeedBook};
use std::collections::{BTreeMap, VecDeque};

/// A sliver that somebody covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which pair's primary sliver.
    pub pair: PairIndex,
    /// The shard that keeps it.
    pub shard: ShardIndex,
    /// Who holds it.
    pub member: NodeId,
    /// How fast that holder has been.
    pub speed: Speed,
}

/// Why a sliver did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The bytes or the proof are not of this blob.
    Wrong,
    /// The holder does not hold it, or refuses for good.
    NotThere,
    /// The holder is busy, or quiet by a rule of the network.
    Later {
        /// When to ask again.
        after_millis: u32,
    },
    /// No connection, or it broke.
    Broken,
}

impl Trouble {
    /// What an answer that is not what was asked for comes to.
    #[must_use]
    pub fn of_answer(answer: &Answer) -> Trouble {
        match answer {
            Answer::Busy { retry_after_millis: after_millis } | Answer::QuietRetry { after_millis } => {
                Trouble::Later { after_millis: *after_millis }
            }
            Answer::Refused { reason, retry_after_millis: Some(after_millis) } if reason.may_pass() => {
                Trouble::Later { after_millis: *after_millis }
            }
            Answer::Refused { .. } => Trouble::NotThere,
            Answer::Stored
            | Answer::Confirmation { .. }
            | Answer::Judged { .. }
            | Answer::Sliver { .. }
            | Answer::Symbol { .. } => Trouble::Wrong,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin. Once, first.
    Started,
    /// Bytes of a sliver came in.
    Moved {
        /// Whose.
        pair: PairIndex,
    },
    /// A sliver is here and verified.
    Verified {
        /// Whose.
        pair: PairIndex,
    },
    /// A sliver did not come.
    Failed {
        /// Whose.
        pair: PairIndex,
        /// Why.
        trouble: Trouble,
    },
    /// Time passed; see [`Download::wake_at`].
    Tick,
}

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for a primary sliver; ended by [`Input::Verified`] or [`Input::Failed`]. Safe twice.
    Ask {
        /// Whom.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
        /// Which pair that is.
        pair: PairIndex,
    },
    /// Give an exchange up; nothing is answered.
    Cancel {
        /// Which.
        pair: PairIndex,
    },
    /// A holder sent nothing for so long that it was given up.
    Stalled {
        /// Who.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
    },
    /// A holder sent bytes that are not what the blob commits to.
    Misbehaved {
        /// Who.
        member: NodeId,
        /// Which shard's.
        shard: ShardIndex,
    },
    /// The first `rows` systematic slivers are verified, more than before.
    Prefix {
        /// How many.
        rows: u16,
    },
    /// There is enough.
    Ready {
        /// Exactly `p` verified pairs, ascending.
        pairs: Vec<PairIndex>,
    },
    /// There will not be enough.
    Failed {
        /// Why.
        failure: TooFew,
    },
}

/// Too few slivers could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{answered} slivers could be read, {needed} are needed")]
pub struct TooFew {
    /// Verified slivers.
    pub answered: u16,
    /// `p`.
    pub needed: u16,
}

/// How far a sliver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Can be asked for, from then on.
    Idle { from: u64 },
    /// Asked for.
    Asked { at: u64, moved_at: u64, is_hedged: bool },
    /// Here.
    Verified,
    /// Not to be had.
    Gone,
}

#[derive(Debug)]
struct Sliver {
    candidate: Candidate,
    stage: Stage,
    attempts: u32,
    /// Others that hold it: asked in turns when the one before failed.
    spares: VecDeque<Spare>,
}

/// Another holder of a sliver.
#[derive(Clone, Copy, Debug)]
struct Spare {
    candidate: Candidate,
    attempts: u32,
    /// When it can be asked.
    from: u64,
}

/// The state of one read.
#[derive(Debug)]
pub struct Download {
    config: Config,
    needed: u16,
    sliver_bytes: u64,
    slivers: BTreeMap<PairIndex, Sliver>,
    /// What verified slivers took, ascending.
    took: Vec<u64>,
    hedges: usize,
    prefix: u16,
    has_ended: bool,
}

impl Download {
    /// A read that needs `needed` (`p`) different slivers of `sliver_bytes` bytes of these candidates. Of several with the
    /// same pair the first is asked first, another when it failed.
    #[must_use]
    pub fn new(config: Config, needed: u16, sliver_bytes: u64, candidates: Vec<Candidate>) -> Download {
        let mut slivers: BTreeMap<PairIndex, Sliver> = BTreeMap::new();
        for candidate in candidates {
            let (stage, spares) = (Stage::Idle { from: 0 }, VecDeque::new());
            match slivers.get_mut(&candidate.pair) {
                Some(sliver) => sliver.spares.push_back(Spare { candidate, attempts: 0, from: 0 }),
                None => drop(slivers.insert(candidate.pair, Sliver { candidate, stage, attempts: 0, spares })),
            }
        }
        Download { config, needed, sliver_bytes, slivers, took: Vec::new(), hedges: 0, prefix: 0, has_ended: false }
    }

    /// Takes one input at `now` (milliseconds of a clock that never goes back) and says what to do.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.has_ended {
            return effects;
        }
        match input {
            Input::Started | Input::Tick => {}
            Input::Moved { pair } => {
                if let Some(Stage::Asked { moved_at, .. }) = self.slivers.get_mut(&pair).map(|sliver| &mut sliver.stage)
                {
                    *moved_at = now;
                }
            }
            Input::Verified { pair } => self.verified(now, pair, &mut effects),
            Input::Failed { pair, trouble } => self.failed(now, pair, trouble, &mut effects),
        }
        self.give_up_stalled(now, &mut effects);
        self.go_on(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is next due; none when the read has ended.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        if self.has_ended {
            return None;
        }
        let can_hedge = self.can_hedge();
        let waiting = self.in_flight() < usize::from(self.missing());
        let times = self.slivers.values().filter_map(|sliver| match sliver.stage {
            Stage::Asked { at, moved_at, is_hedged } => {
                let stalled = moved_at.saturating_add(self.config.stall_millis);
                let late = at.saturating_add(self.hedge_after(sliver));
                Some(if is_hedged || !can_hedge { stalled } else { stalled.min(late) })
            }
            Stage::Idle { from } if waiting => Some(from),
            Stage::Idle { .. } | Stage::Verified | Stage::Gone => None,
        });
        times.min()
    }

    /// Verified slivers so far.
    #[must_use]
    pub fn verified_count(&self) -> u16 {
        u16::try_from(self.took.len()).unwrap_or(u16::MAX)
    }

    /// How many more must be verified.
    fn missing(&self) -> u16 {
        self.needed.saturating_sub(self.verified_count())
    }

    fn in_flight(&self) -> usize {
        self.slivers.values().filter(|sliver| matches!(sliver.stage, Stage::Asked { .. })).count()
    }

    fn can_hedge(&self) -> bool {
        self.hedges < self.config.hedges_max && self.slivers.values().any(|s| matches!(s.stage, Stage::Idle { .. }))
    }

    /// How long after its request a sliver is late.
    fn hedge_after(&self, sliver: &Sliver) -> u64 {
        let median = self.took.get(self.took.len() / 2).filter(|_| self.took.len() * 2 >= usize::from(self.needed));
        let typical = median.map(|median| median.saturating_mul(2));
        self.config.late_after(sliver.candidate.speed, self.sliver_bytes, typical)
    }

    fn verified(&mut self, now: u64, pair: PairIndex, effects: &mut Vec<Effect>) {
        let Some(sliver) = self.slivers.get_mut(&pair) else { return };
        let Stage::Asked { at, .. } = sliver.stage else { return };
        sliver.stage = Stage::Verified;
        let took = now.saturating_sub(at);
        self.took.insert(self.took.partition_point(|other| *other < took), took);
        let mut rows = self.prefix;
        while rows < self.needed
            && self.slivers.get(&PairIndex(rows)).is_some_and(|sliver| sliver.stage == Stage::Verified)
        {
            rows += 1;
        }
        if rows > self.prefix {
            self.prefix = rows;
            effects.push(Effect::Prefix { rows });
        }
    }

    fn failed(&mut self, now: u64, pair: PairIndex, trouble: Trouble, effects: &mut Vec<Effect>) {
        let Some(sliver) = self.slivers.get_mut(&pair) else { return };
        let Stage::Asked { .. } = sliver.stage else { return };
        if trouble == Trouble::Wrong {
            let Candidate { member, shard, .. } = sliver.candidate;
            effects.push(Effect::Misbehaved { member, shard });
        }
        if let Some(wait) = self.config.retry_after(trouble).filter(|_| sliver.attempts < self.config.attempts_max) {
            let (candidate, attempts) = (sliver.candidate, sliver.attempts);
            sliver.spares.push_back(Spare { candidate, attempts, from: now.saturating_add(wait) });
        }
        match sliver.spares.pop_front() {
            Some(spare) => {
                (sliver.candidate, sliver.attempts) = (spare.candidate, spare.attempts);
                sliver.stage = Stage::Idle { from: spare.from };
            }
            None => sliver.stage = Stage::Gone,
        }
    }

    fn give_up_stalled(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let stall = self.config.stall_millis;
        let is_stalled = |sliver: &Sliver| matches!(sliver.stage, Stage::Asked { moved_at, .. } if now >= moved_at.saturating_add(stall));
        let stalled: Vec<PairIndex> =
            self.slivers.iter().filter(|(_, sliver)| is_stalled(sliver)).map(|(pair, _)| *pair).collect();
        for pair in stalled {
            effects.push(Effect::Cancel { pair });
            if let Some(Candidate { member, shard, .. }) = self.slivers.get(&pair).map(|sliver| sliver.candidate) {
                effects.push(Effect::Stalled { member, shard });
            }
            self.failed(now, pair, Trouble::Broken, effects);
        }
    }

    /// Ends the read when it can end; else asks for what is missing and for what is late.
    fn go_on(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if self.missing() == 0 {
            return self.ready(effects);
        }
        let within_reach = self.slivers.values().filter(|sliver| sliver.stage != Stage::Gone).count();
        if within_reach < usize::from(self.needed) {
            let failure = TooFew { answered: self.verified_count(), needed: self.needed };
            self.cancel_all(effects);
            effects.push(Effect::Failed { failure });
            return;
        }
        while self.in_flight() < usize::from(self.missing()) && self.ask_best(now, effects) {}
        for pair in self.late(now) {
            if self.hedges >= self.config.hedges_max || !self.ask_best(now, effects) {
                break;
            }
            self.hedges += 1;
            if let Some(Stage::Asked { is_hedged, .. }) = self.slivers.get_mut(&pair).map(|sliver| &mut sliver.stage) {
                *is_hedged = true;
            }
        }
    }

    /// Slivers that are late and have no hedge yet.
    fn late(&self, now: u64) -> Vec<PairIndex> {
        let is_late = |sliver: &Sliver| match sliver.stage {
            Stage::Asked { at, is_hedged: false, .. } => now >= at.saturating_add(self.hedge_after(sliver)),
            _ => false,
        };
        self.slivers.iter().filter(|(_, sliver)| is_late(sliver)).map(|(pair, _)| *pair).collect()
    }

    /// Asks for the best sliver that can be asked for now. False when there is none.
    fn ask_best(&mut self, now: u64, effects: &mut Vec<Effect>) -> bool {
        if self.in_flight() >= self.config.asks_max {
            return false;
        }
        let mut queued: BTreeMap<NodeId, u64> = BTreeMap::new();
        for sliver in self.slivers.values().filter(|sliver| matches!(sliver.stage, Stage::Asked { .. })) {
            *queued.entry(sliver.candidate.member).or_default() += 1;
        }
        let cost = |sliver: &Sliver| {
            let before = queued.get(&sliver.candidate.member).copied().unwrap_or(0);
            let penalty = if sliver.candidate.pair.0 < self.needed { 0 } else { self.config.parity_penalty_millis };
            let bytes = self.sliver_bytes.saturating_mul(before + 1);
            (sliver.attempts, sliver.candidate.speed.expected_millis(bytes).saturating_add(penalty))
        };
        let can_ask = |sliver: &Sliver| {
            let with = queued.get(&sliver.candidate.member).copied().unwrap_or(0) as usize;
            matches!(sliver.stage, Stage::Idle { from } if from <= now) && with < self.config.asks_per_holder_max
        };
        let best = self.slivers.values().filter(|sliver| can_ask(sliver)).min_by_key(|sliver| cost(sliver));
        let Some(pair) = best.map(|sliver| sliver.candidate.pair) else { return false };
        if let Some(sliver) = self.slivers.get_mut(&pair) {
            sliver.stage = Stage::Asked { at: now, moved_at: now, is_hedged: false };
            sliver.attempts += 1;
            let Candidate { member, shard, pair, .. } = sliver.candidate;
            effects.push(Effect::Ask { member, shard, pair });
        }
        true
    }

    /// Ends the read whatever it has, and gives what was asked for and has not come.
    fn abandon(&mut self) -> Vec<PairIndex> {
        self.has_ended = true;
        let asked = self.slivers.iter().filter(|(_, sliver)| matches!(sliver.stage, Stage::Asked { .. }));
        asked.map(|(pair, _)| *pair).collect()
    }

    fn cancel_all(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.abandon().into_iter().map(|pair| Effect::Cancel { pair }));
    }

    fn ready(&mut self, effects: &mut Vec<Effect>) {
        self.cancel_all(effects);
        let verified = self.slivers.iter().filter(|(_, sliver)| sliver.stage == Stage::Verified);
        effects.push(Effect::Ready { pairs: verified.map(|(pair, _)| *pair).collect() });
    }
}
