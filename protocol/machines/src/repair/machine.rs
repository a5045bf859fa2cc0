//! The machine: what is looked for, which jobs run, what they may fetch, and what became of it.

use super::attest::Attestations;
use super::job::{Gather, Job, Limits, Next, Phase};
use super::{
    Attempted, Bench, Config, Effect, FetchId, Input, JobId, Place, Ready, Rebuild, Tally, Trouble, Wanted, Work,
};
use crate::wire::fragment::RETRY_MILLIS_MAX;
use floe_erasure::{Axis, Layout};
use floe_types::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How far the look over the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    /// The next page begins here.
    From(Place),
    /// A page is being read.
    Asked,
    /// A page is being read that was asked for before the epoch began: it is read again from the start.
    Stale,
    /// There is no further page.
    Over,
}

#[derive(Debug)]
struct Fetching {
    job: JobId,
    node: NodeId,
    bytes: u64,
    wanted: Wanted,
}

/// The state of a node's repair. Nothing in it needs to survive a restart.
#[derive(Debug)]
pub struct Repair {
    me: NodeId,
    config: Config,
    now: u64,
    looking: Looking,
    waiting: VecDeque<Rebuild>,
    jobs: BTreeMap<JobId, Job>,
    fetching: BTreeMap<FetchId, Fetching>,
    /// Nodes that sent wrong bytes in this pass.
    liars: BTreeSet<NodeId>,
    attestations: Attestations,
    tally: Tally,
    /// Some of what is left might be rebuilt later.
    may_come: bool,
    next_pass_at: Option<u64>,
    next_number: u64,
    /// Before this time the bandwidth is used up.
    open_at: u64,
}

impl Repair {
    /// The machine of node `me`, with nothing to do.
    #[must_use]
    pub fn new(me: NodeId, config: Config) -> Repair {
        Repair {
            me,
            config,
            now: 0,
            looking: Looking::Over,
            waiting: VecDeque::new(),
            jobs: BTreeMap::new(),
            fetching: BTreeMap::new(),
            liars: BTreeSet::new(),
            attestations: Attestations::default(),
            tally: Tally::default(),
            may_come: false,
            next_pass_at: None,
            next_number: 0,
            open_at: 0,
        }
    }

    /// Takes one input at `now` (milliseconds of a clock that never goes back) and says what to do.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.now = now;
        match input {
            Input::Begin => {
                self.attestations.begin_epoch();
                self.begin();
            }
            Input::Looked(work) => self.looked(work),
            Input::Prepared { job, outcome } => self.prepared(job, outcome, &mut effects),
            Input::Fetched { fetch, outcome } => self.fetched(fetch, outcome, &mut effects),
            Input::Attempted { job, outcome } => self.attempted(job, outcome, &mut effects),
            Input::Kept { job, outcome } => self.kept(job, outcome, &mut effects),
            Input::Tick => {}
        }
        if self.next_pass_at.is_some_and(|at| at <= now) {
            self.begin();
        }
        self.go_on(&mut effects);
        effects
    }

    /// When [`Input::Tick`] is next due; none when nothing waits for time to pass.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let jobs = self.jobs.values().filter_map(|job| job.wake_at(self.now));
        let is_shut = self.open_at > self.now && !(self.jobs.is_empty() && self.waiting.is_empty());
        let open = is_shut.then_some(self.open_at);
        let attest = self.attestations.wake_at(&self.config);
        jobs.chain([open, attest, self.next_pass_at].into_iter().flatten()).min()
    }

    /// Fetches under way.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.fetching.len()
    }

    /// Fragments being rebuilt.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Looks through everything anew. What runs goes on; what waits is found again if it still may be rebuilt.
    fn begin(&mut self) {
        self.looking = match self.looking {
            Looking::Asked | Looking::Stale => Looking::Stale,
            Looking::From(_) | Looking::Over => Looking::From(Place::START),
        };
        self.waiting.clear();
        self.liars.clear();
        self.next_pass_at = None;
    }

    fn looked(&mut self, work: Work) {
        match self.looking {
            Looking::Asked => {}
            Looking::Stale => {
                self.looking = Looking::From(Place::START);
                return;
            }
            Looking::From(_) | Looking::Over => return,
        }
        self.looking = work.next.map_or(Looking::Over, Looking::From);
        for (shard, number) in work.held {
            self.attestations.add(self.now, shard, number);
        }
        for rebuild in work.rebuilds {
            let same = |job: &&mut Job| job.rebuild.blob == rebuild.blob && job.rebuild.shard == rebuild.shard;
            match self.jobs.values_mut().find(same) {
                // It goes on under the right of the new epoch.
                Some(job) => job.rebuild.right = rebuild.right,
                None => self.waiting.push_back(rebuild),
            }
        }
    }

    fn prepared(&mut self, id: JobId, outcome: Result<Ready, Trouble>, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Phase::Preparing(gather) = job.phase else { return };
        match outcome {
            Ok(Ready::Bench) => {
                job.is_prepared = true;
                job.gather(gather);
            }
            Ok(Ready::Held) => self.done(id, effects),
            Err(_) => self.leave(id, true, effects),
        }
    }

    fn fetched(&mut self, fetch: FetchId, outcome: Result<(), Trouble>, effects: &mut Vec<Effect>) {
        let Some(Fetching { job: id, node, wanted, .. }) = self.fetching.remove(&fetch) else { return };
        if outcome == Err(Trouble::Wrong) {
            self.liars.insert(node);
            effects.push(Effect::Misbehaved { node });
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let wait = match outcome {
            Ok(()) if wanted == Wanted::Whole => {
                self.tally.fetched += 1;
                return self.done(id, effects);
            }
            Ok(()) => return job.gave(fetch),
            Err(Trouble::NoRoom) => return self.leave(id, true, effects),
            Err(Trouble::Wrong | Trouble::NotThere) => None,
            Err(Trouble::Later { after_millis }) => Some(u64::from(after_millis.min(RETRY_MILLIS_MAX))),
            Err(Trouble::Broken) => Some(self.config.broken_millis),
        };
        self.may_come |= wait.is_some();
        let again_at = wait.map(|wait| self.now.saturating_add(wait));
        if wanted == Wanted::Whole {
            return job.whole_failed();
        }
        if let Some(pair) = job.failed(fetch, again_at, self.config.attempts_max) {
            effects.push(Effect::Forget { job: id, pair });
        }
    }

    fn attempted(&mut self, id: JobId, outcome: Attempted, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Phase::Attempting(gather) = job.phase else { return };
        match (outcome, gather) {
            (Attempted::Recovered, Gather::Symbols(Axis::Secondary)) => job.gather(Gather::Symbols(Axis::Primary)),
            (Attempted::Recovered, _) => {
                job.phase = Phase::Keeping;
                effects.push(Effect::Keep { job: id });
            }
            (Attempted::Mismatch, _) => job.prove(gather),
            (Attempted::Inconsistent, _) => {
                effects.push(Effect::Inconsistent { blob: job.rebuild.blob });
                self.leave(id, false, effects);
            }
            (Attempted::Failed, _) => self.leave(id, true, effects),
        }
    }

    fn kept(&mut self, id: JobId, outcome: Result<(), Trouble>, effects: &mut Vec<Effect>) {
        let is_keeping = self.jobs.get(&id).is_some_and(|job| job.phase == Phase::Keeping);
        match outcome {
            _ if !is_keeping => {}
            Ok(()) => {
                self.tally.rebuilt += 1;
                self.done(id, effects);
            }
            Err(_) => self.leave(id, true, effects),
        }
    }

    /// The fragment is durable here.
    fn done(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        if let Some(job) = self.end(id, effects) {
            self.attestations.add(self.now, job.rebuild.shard, job.rebuild.sequence);
        }
    }

    /// The fragment stays missing.
    fn leave(&mut self, id: JobId, may_come: bool, effects: &mut Vec<Effect>) {
        if self.end(id, effects).is_some() {
            self.tally.left += 1;
            self.may_come |= may_come;
        }
    }

    fn end(&mut self, id: JobId, effects: &mut Vec<Effect>) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if job.is_prepared {
            effects.push(Effect::Close { job: id });
        }
        Some(job)
    }

    fn go_on(&mut self, effects: &mut Vec<Effect>) {
        if let Looking::From(from) = self.looking
            && self.waiting.len() < self.config.page / 2
        {
            self.looking = Looking::Asked;
            effects.push(Effect::Look { from, limit: self.config.page });
        }
        loop {
            let ids: Vec<JobId> = self.jobs.keys().copied().collect();
            for id in ids {
                self.advance(id, effects);
            }
            if !self.start_one() {
                break;
            }
        }
        self.attestations.emit(self.now, &self.config, effects);
        let is_over = self.looking == Looking::Over && self.waiting.is_empty() && self.jobs.is_empty();
        if is_over && self.tally != Tally::default() {
            effects.push(Effect::PassEnded(std::mem::take(&mut self.tally)));
            if std::mem::take(&mut self.may_come) {
                self.next_pass_at = Some(self.now.saturating_add(self.config.pass_millis));
            }
        }
    }

    /// Begins one job. False when none can begin.
    fn start_one(&mut self) -> bool {
        if self.jobs.len() >= self.config.jobs_max {
            return false;
        }
        let Some(rebuild) = self.waiting.front() else { return false };
        let Ok(layout) = Layout::new(rebuild.shards, rebuild.blob_bytes) else {
            self.waiting.pop_front();
            self.tally.left += 1;
            return true;
        };
        // The larger scratch is reckoned with: who needs it has no choice any more.
        let scratch = |layout: &Layout| Bench::wide_bytes(layout);
        let used = self.jobs.values().fold(0u64, |sum, job| sum.saturating_add(scratch(&job.layout)));
        if !self.jobs.is_empty() && used.saturating_add(scratch(&layout)) > self.config.scratch_bytes_max {
            return false;
        }
        let Some(rebuild) = self.waiting.pop_front() else { return false };
        let id = JobId(self.number());
        self.jobs.insert(id, Job::new(rebuild, layout));
        true
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Takes a job as far as it goes now.
    fn advance(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        loop {
            let mut with: BTreeMap<NodeId, usize> = BTreeMap::new();
            self.fetching.values().for_each(|fetching| *with.entry(fetching.node).or_default() += 1);
            let limits = Limits {
                now: self.now,
                attempts_max: self.config.attempts_max,
                per_node_max: self.config.fetches_per_node_max,
                with: &with,
                liars: &self.liars,
            };
            let Some(job) = self.jobs.get_mut(&id) else { return };
            match job.next(&limits) {
                Next::Wait => return,
                Next::Ask { at, node, wanted } => {
                    if !self.fetch(id, (at, node, wanted), effects) {
                        return;
                    }
                }
                Next::Complete => match job.phase {
                    Phase::Proving(gather) if !job.is_proven(gather) => job.gather_on(gather),
                    Phase::Gathering(gather) | Phase::Proving(gather) => {
                        job.phase = Phase::Attempting(gather);
                        effects.push(Effect::Attempt { job: id });
                        return;
                    }
                    _ => return,
                },
                Next::Exhausted => match job.phase {
                    Phase::Whole => {
                        job.phase = Phase::Preparing(Gather::Symbols(Axis::Secondary));
                        effects.push(Effect::Prepare { job: id, rebuild: job.rebuild.clone() });
                        return;
                    }
                    Phase::Gathering(Gather::Symbols(Axis::Primary)) => {
                        job.phase = Phase::Preparing(Gather::Lines);
                        effects.push(Effect::Widen { job: id });
                        return;
                    }
                    _ => return self.leave(id, self.may_come, effects),
                },
            }
        }
    }

    /// Begins a fetch; false when limits forbid it now.
    fn fetch(&mut self, id: JobId, (at, node, wanted): (usize, NodeId, Wanted), effects: &mut Vec<Effect>) -> bool {
        let config = &self.config;
        let in_flight = self.fetching.values().fold(0u64, |sum, one| sum.saturating_add(one.bytes));
        let is_full = self.fetching.len() >= config.fetches_max || in_flight >= config.bytes_in_flight_max;
        if is_full || self.now < self.open_at {
            return false;
        }
        let fetch = FetchId(self.next_number + 1);
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        // What is here already costs the line nothing.
        let bytes = if node == self.me { 0 } else { job.bytes(wanted) };
        job.asks(fetch, (at, wanted));
        let rebuild = job.rebuild.clone();
        self.next_number = fetch.0;
        self.tally.moved_bytes = self.tally.moved_bytes.saturating_add(bytes);
        let cost = bytes.saturating_mul(1_000) / config.bytes_per_second.max(1);
        self.open_at = self.open_at.max(self.now).saturating_add(cost);
        self.fetching.insert(fetch, Fetching { job: id, node, bytes, wanted });
        effects.push(Effect::Fetch { fetch, job: id, from: node, wanted, rebuild });
        true
    }
}
