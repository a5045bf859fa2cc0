//! Knowing what one has: reads the whole store once in a period, and says by itself what is gone.
//!
//! Two walks, over and over:
//! 1. **over the store**, fragment after fragment in the order of keys, each read from end to end against its checksums. The
//!    pace follows from the period and what is stored, so that a disk is never busy with this. What is damaged is removed
//!    first, so that nothing is served, refiled or counted from it, and then withdrawn;
//! 2. **over the ledger**, at the start, when the ledger has caught up with the present, and before each pass: what this node's
//!    rows cover and the store does not have is withdrawn. So a lost withdrawal, a file that went, a disk that was swapped are
//!    found without being asked.
//!
//! A reader or a challenge that meets damage makes the fragment a *suspect*, which is looked at next. Damage seldom comes alone: once
//! some was found, the walk goes as fast as it may until a pass has found none.
//!
//! Withdrawing is honest and not dear: what is withdrawn is not paid for a while. Being caught costs the standing.
//!
//! # Laws
//! - **SC-1** Nothing is withdrawn that was read back whole in the same pass.
//! - **SC-2** A damaged fragment is removed before its withdrawal is said: what is attested again was stored again.
//! - **SC-3** A fragment that could not be read for another reason than damage is neither removed nor withdrawn.
//!
//! # Not here
//! Filling the gap: repair and hand-over do. How far a pass has come is not kept: a start begins anew.
//!
//! # Source
//! `design.md` section 5, *withdrawing*; `risk.md` section 10, *scrub*.

mod absent;
#[cfg(test)]
mod tests;

pub use absent::{Absent, absent};

use crate::fragments::FragmentKey;
use crate::handover::Place;
use crate::ledger_view::LedgerView;
use floe_erasure::shard_of;
use floe_ledger::{Run, ShardSet};
use floe_types::{NodeId, ShardIndex};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The pace, and the limits of what is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// In which time the whole store is read once.
    pub period_millis: u64,
    /// Bytes a second that reading may take, also when a pass is then longer than the period.
    pub bytes_per_second_max: u64,
    /// The least time between two fragments: many small ones must not keep a disk awake.
    pub pause_millis_min: u64,
    /// Keys listed at a time.
    pub page: usize,
    /// Runs looked up at a time in the walk over the ledger.
    pub runs_page: usize,
    /// How long what was found is gathered before it is said.
    pub gather_millis: u64,
    /// How long to wait when there is nothing to read, or it cannot be read.
    pub idle_millis: u64,
}

impl Config {
    /// Reading everything once in `period_millis`, at most at 50 MB/s.
    #[must_use]
    pub fn for_period(period_millis: u64) -> Config {
        Config {
            period_millis: period_millis.max(1),
            bytes_per_second_max: 50_000_000,
            pause_millis_min: 5,
            page: 64,
            runs_page: 64,
            gather_millis: 500,
            idle_millis: (period_millis / 16).clamp(500, 60_000),
        }
    }
}

/// Fragments suspected at a time; one more is found by the walk.
pub const SUSPECTS_MAX: usize = 1_024;
/// Runs gathered before they are said; one more is found by the next walk over the ledger.
pub const FOUND_MAX: usize = 4_096;

/// How a fragment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every byte is as it was written.
    Sound,
    /// From some byte on it is not.
    Damaged,
    /// It is not there any more.
    Gone,
    /// It could not be told.
    Unread,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The node has its ledger and its store. Once, first.
    Started,
    /// Answers [`Effect::List`]: keys with the bytes of each fragment, in order, fewer than the limit when there are no
    /// more, and the bytes of all that is kept. *None* when the store could not be read.
    Listed {
        /// The fragments.
        listed: Option<(Vec<(FragmentKey, u64)>, u64)>,
    },
    /// Answers [`Effect::Check`].
    Checked {
        /// Which.
        key: FragmentKey,
        /// How it is.
        condition: Condition,
    },
    /// Answers [`Effect::Discard`].
    Discarded {
        /// Which.
        key: FragmentKey,
        /// Whether it is gone for good.
        outcome: Result<(), ()>,
    },
    /// Answers [`Effect::Look`]: what is covered and not there.
    Looked {
        /// By shard. Both ends of a run are defended blobs.
        runs: Vec<(ShardIndex, Run)>,
        /// Where to go on.
        next: Option<Place>,
    },
    /// Somebody could not read a fragment because of damage.
    Suspected {
        /// Which.
        key: FragmentKey,
    },
    /// The ledger is of now, after it was of long ago. A node whose whole disk was swapped starts with a ledger that says nothing of
    /// what it covers.
    CaughtUp,
    /// Time passed; see [`Scrub::wake_at`].
    Tick,
}

/// What the shell does. Everything is safe twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// List what is kept; answered by [`Input::Listed`].
    List {
        /// From after this one.
        after: Option<FragmentKey>,
        /// The most.
        limit: usize,
    },
    /// Read a fragment from end to end; answered by [`Input::Checked`].
    Check {
        /// Which.
        key: FragmentKey,
    },
    /// Remove a damaged fragment; answered by [`Input::Discarded`].
    Discard {
        /// Which.
        key: FragmentKey,
    },
    /// Look with [`absent`] for what is covered and not there; answered by [`Input::Looked`].
    Look {
        /// From here on.
        from: Place,
        /// The most runs.
        limit: usize,
    },
    /// Submit a withdrawal.
    Withdraw {
        /// Of these shards.
        shards: ShardSet,
        /// Of these blobs: ascending, apart, at most [`floe_ledger::transaction::ATTEST_RUNS_MAX`].
        runs: Vec<Run>,
    },
    /// A pass over the store has ended. For metrics and logs.
    PassEnded(Pass),
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Fragments read.
    pub fragments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged ones.
    pub damaged: u64,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: the next thing begins at this time.
    Rest(u64),
    /// A page of keys was asked for.
    Listing,
    /// A fragment is read.
    Checking,
    /// A damaged one is being removed.
    Discarding,
    /// A page of the walk over the ledger was asked for.
    Looking,
}

/// The machine.
#[derive(Debug)]
pub struct Scrub {
    config: Config,
    node: NodeId,
    step: Step,
    /// Listed and not read yet.
    queue: VecDeque<(FragmentKey, u64)>,
    after: Option<FragmentKey>,
    /// Whether the keys in the queue are the last of the pass.
    at_end: bool,
    stored_bytes: u64,
    /// Bytes of the fragment that is being read; of a suspect none, so that it delays nothing.
    reading: u64,
    suspects: BTreeSet<FragmentKey>,
    /// Where the walk over the ledger goes on; none when it is done for this pass.
    place: Option<Place>,
    /// Whether that walk begins anew after the page that is looked up.
    again: bool,
    pass: Pass,
    /// Damage was found, and no pass since has found none.
    hurries: bool,
    found: BTreeSet<(ShardIndex, Run)>,
    found_at: Option<u64>,
}

impl Scrub {
    /// The machine of `node`, before [`Input::Started`].
    #[must_use]
    pub fn new(config: Config, node: NodeId) -> Scrub {
        Scrub {
            config,
            node,
            step: Step::Rest(u64::MAX),
            queue: VecDeque::new(),
            after: None,
            at_end: false,
            stored_bytes: 0,
            reading: 0,
            suspects: BTreeSet::new(),
            place: None,
            again: false,
            pass: Pass::default(),
            hurries: false,
            found: BTreeSet::new(),
            found_at: None,
        }
    }

    /// When it wants a [`Input::Tick`]; none while it waits for an answer and has nothing to say.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let rest = match self.step {
            Step::Rest(u64::MAX) => None,
            Step::Rest(at) => Some(at),
            _ => None,
        };
        let say = self.found_at.map(|at| at.saturating_add(self.config.gather_millis));
        rest.into_iter().chain(say).min()
    }

    /// Takes an input in.
    pub fn step(&mut self, now: u64, view: &dyn LedgerView, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Started => {
                self.begin_pass();
                self.step = Step::Rest(now);
            }
            Input::Listed { listed } if self.step == Step::Listing => self.listed(now, listed, &mut effects),
            Input::Checked { key, condition } if self.step == Step::Checking => {
                self.checked(now, (key, condition), &mut effects);
            }
            Input::Discarded { key, outcome } if self.step == Step::Discarding => {
                if outcome.is_ok() {
                    self.withdraws(now, view, &key);
                }
                self.step = Step::Rest(now.saturating_add(self.config.pause_millis_min));
            }
            Input::Looked { runs, next } if self.step == Step::Looking => {
                runs.into_iter().for_each(|(shard, run)| self.note(now, shard, run));
                self.place = if std::mem::take(&mut self.again) { Some(Place::START) } else { next };
                self.step = Step::Rest(now.saturating_add(self.config.pause_millis_min));
            }
            Input::Suspected { key } => {
                if self.suspects.len() < SUSPECTS_MAX {
                    self.suspects.insert(key);
                }
                self.hastens(now);
            }
            Input::CaughtUp if self.step != Step::Rest(u64::MAX) => {
                self.place = Some(Place::START);
                // A page of the ledger of long ago is on its way.
                self.again = self.step == Step::Looking;
                self.hastens(now);
            }
            // An answer that nobody waits for, or only time.
            _ => {}
        }
        self.go_on(now, &mut effects);
        self.say(now, &mut effects);
        effects
    }

    /// What it rests for is less urgent than what has come; before the start there is nothing yet.
    fn hastens(&mut self, now: u64) {
        if let Step::Rest(at) = self.step
            && at != u64::MAX
        {
            self.step = Step::Rest(at.min(now));
        }
    }

    fn begin_pass(&mut self) {
        self.queue.clear();
        (self.after, self.at_end, self.pass) = (None, false, Pass::default());
        self.place = Some(Place::START);
    }

    /// Begins the next thing when it is time.
    fn go_on(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let Step::Rest(at) = self.step else { return };
        if now < at {
            return;
        }
        if let Some(key) = self.suspects.pop_first() {
            self.step = Step::Checking;
            self.reading = 0;
            effects.push(Effect::Check { key });
        } else if let Some(from) = self.place {
            self.step = Step::Looking;
            effects.push(Effect::Look { from, limit: self.config.runs_page });
        } else if let Some((key, bytes)) = self.queue.pop_front() {
            self.pass.fragments = self.pass.fragments.saturating_add(1);
            self.pass.bytes = self.pass.bytes.saturating_add(bytes);
            self.step = Step::Checking;
            self.reading = bytes;
            effects.push(Effect::Check { key });
        } else if self.at_end {
            effects.push(Effect::PassEnded(self.pass));
            self.hurries = self.pass.damaged > 0;
            let idle = if self.pass.fragments == 0 { self.config.idle_millis } else { 0 };
            self.begin_pass();
            self.step = Step::Rest(now.saturating_add(idle.max(self.config.pause_millis_min)));
        } else {
            self.step = Step::Listing;
            effects.push(Effect::List { after: self.after, limit: self.config.page });
        }
    }

    fn listed(&mut self, now: u64, listed: Option<(Vec<(FragmentKey, u64)>, u64)>, effects: &mut Vec<Effect>) {
        let Some((page, stored_bytes)) = listed else {
            self.step = Step::Rest(now.saturating_add(self.config.idle_millis));
            return;
        };
        self.at_end = page.len() < self.config.page;
        self.after = page.last().map(|(key, _)| *key).or(self.after);
        self.queue.extend(page);
        self.stored_bytes = stored_bytes;
        self.step = Step::Rest(now);
        self.go_on(now, effects);
    }

    fn checked(&mut self, now: u64, (key, condition): (FragmentKey, Condition), effects: &mut Vec<Effect>) {
        self.step = match condition {
            Condition::Damaged => {
                self.pass.damaged = self.pass.damaged.saturating_add(1);
                self.hurries = true;
                effects.push(Effect::Discard { key });
                Step::Discarding
            }
            // Of what is gone the walk over the ledger tells whether it should be there.
            Condition::Sound | Condition::Gone | Condition::Unread => {
                Step::Rest(now.saturating_add(self.pause(self.reading)))
            }
        };
    }

    /// How long to rest after so many bytes: their share of the period, and never faster than may be read.
    fn pause(&self, bytes: u64) -> u64 {
        let share = |whole: u64, of: u64| {
            let millis = u128::from(bytes).saturating_mul(u128::from(whole)) / u128::from(of.max(1));
            u64::try_from(millis).unwrap_or(u64::MAX)
        };
        let even = match self.hurries {
            true => 0,
            false => share(self.config.period_millis, self.stored_bytes).min(self.config.period_millis),
        };
        even.max(share(1_000, self.config.bytes_per_second_max)).max(self.config.pause_millis_min)
    }

    /// A fragment was removed: its shard's row covers its blob no more.
    fn withdraws(&mut self, now: u64, view: &dyn LedgerView, key: &FragmentKey) {
        let Some(facts) = view.blob(&key.blob).filter(|facts| facts.last_paid >= view.epoch()) else { return };
        let shard = shard_of(&key.blob, key.pair, view.committee().shards());
        if facts.coverage.iter().any(|row| row.shard == shard && row.node == self.node) {
            self.note(now, shard, Run { first: facts.sequence, last: facts.sequence });
        }
    }

    fn note(&mut self, now: u64, shard: ShardIndex, run: Run) {
        if self.found.len() < FOUND_MAX {
            self.found.insert((shard, run));
            self.found_at.get_or_insert(now);
        }
    }

    /// Says what was found, in as few transactions as it takes: shards with the same runs share one.
    fn say(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if self.found_at.is_none_or(|at| now < at.saturating_add(self.config.gather_millis)) {
            return;
        }
        self.found_at = None;
        let mut by_shard: BTreeMap<ShardIndex, Vec<Run>> = BTreeMap::new();
        for (shard, run) in std::mem::take(&mut self.found) {
            let runs = by_shard.entry(shard).or_default();
            match runs.last_mut() {
                Some(last) if run.first.0 <= last.last.0.saturating_add(1) => last.last = last.last.max(run.last),
                _ => runs.push(run),
            }
        }
        let mut alike: BTreeMap<Vec<Run>, ShardSet> = BTreeMap::new();
        for (shard, runs) in by_shard {
            for part in runs.chunks(floe_ledger::transaction::ATTEST_RUNS_MAX) {
                alike.entry(part.to_vec()).or_default().insert(shard);
            }
        }
        effects.extend(alike.into_iter().map(|(runs, shards)| Effect::Withdraw { shards, runs }));
    }
}
