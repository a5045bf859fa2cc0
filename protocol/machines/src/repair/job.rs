//! One fragment being rebuilt: its helpers, what each has given, and whom to ask next.

use super::{FetchId, Helper, Rebuild, Slot, Wanted};
use floe_erasure::{Axis, Layout, pair_of};
use floe_types::{NodeId, PairIndex};
use std::collections::{BTreeMap, BTreeSet};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Those who cover this very shard are asked for all of it.
    Whole,
    /// The shell makes room.
    Preparing(Gather),
    /// What helpers give is gathered.
    Gathering(Gather),
    /// The shell computes.
    Attempting(Gather),
    /// What was given is opened.
    Proving(Gather),
    /// The shell keeps.
    Keeping,
}

/// What is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gather {
    /// Symbols for a sliver.
    Symbols(Axis),
    /// Whole primary slivers, for the primary.
    Lines,
}

/// What a helper has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may be asked.
    Free,
    /// It is being asked.
    Asked(FetchId, Slot),
    /// It gave something.
    Given(Slot),
    /// It is being asked to open what it gave.
    Opening(FetchId, Slot),
    /// It gave something and opened it.
    Proven(Slot),
    /// It is not asked again for this fragment.
    Out,
}

#[derive(Debug)]
struct Candidate {
    helper: Helper,
    state: State,
    /// Times it was asked for what is wanted now.
    asked: usize,
    /// Not before.
    from: u64,
}

impl Candidate {
    fn slot(&self) -> Option<Slot> {
        match self.state {
            State::Asked(_, slot) | State::Given(slot) | State::Opening(_, slot) | State::Proven(slot) => Some(slot),
            State::Free | State::Out => None,
        }
    }

    fn fetch(&self) -> Option<FetchId> {
        match self.state {
            State::Asked(fetch, _) | State::Opening(fetch, _) => Some(fetch),
            _ => None,
        }
    }
}

/// What is to be fetched next for a job.
pub(super) enum Next {
    /// This, of this node.
    Ask {
        /// Which candidate, or which source of the whole fragment.
        at: usize,
        node: NodeId,
        wanted: Wanted,
    },
    /// All that is wanted is there.
    Complete,
    /// Nobody is left to ask, and what comes in does not suffice.
    Exhausted,
    /// Something comes in, or time must pass.
    Wait,
}

/// Whom a job may ask now.
pub(super) struct Limits<'a> {
    pub now: u64,
    pub attempts_max: usize,
    pub per_node_max: usize,
    /// Fetches under way with each node.
    pub with: &'a BTreeMap<NodeId, usize>,
    /// Nodes that sent wrong bytes in this pass.
    pub liars: &'a BTreeSet<NodeId>,
}

impl Limits<'_> {
    fn has_room(&self, node: &NodeId) -> bool {
        self.with.get(node).is_none_or(|fetches| *fetches < self.per_node_max)
    }
}

/// A fragment being rebuilt.
#[derive(Debug)]
pub(super) struct Job {
    pub rebuild: Rebuild,
    pub layout: Layout,
    pub phase: Phase,
    /// The shell has a bench for it.
    pub is_prepared: bool,
    candidates: Vec<Candidate>,
    /// The next holder of the whole fragment to ask.
    whole_asked: usize,
    whole_fetch: Option<FetchId>,
}

impl Job {
    pub(super) fn new(rebuild: Rebuild, layout: Layout) -> Job {
        let candidate = |helper: &Helper| Candidate { helper: *helper, state: State::Free, asked: 0, from: 0 };
        let candidates = rebuild.helpers.iter().map(candidate).collect();
        Job { rebuild, layout, phase: Phase::Whole, is_prepared: false, candidates, whole_asked: 0, whole_fetch: None }
    }

    /// The pair that a helper's shard keeps.
    fn pair(&self, helper: &Helper) -> PairIndex {
        pair_of(&self.rebuild.blob, helper.shard, self.rebuild.shards)
    }

    /// How many of what is gathered are wanted from helpers.
    fn wanted(&self, gather: Gather) -> usize {
        match gather {
            Gather::Symbols(Axis::Secondary) | Gather::Lines => usize::from(self.layout.rows()),
            // The secondary sliver, which is there by then, gives one.
            Gather::Symbols(Axis::Primary) => usize::from(self.layout.columns()).saturating_sub(1),
        }
    }

    /// Bytes that a fetch moves.
    pub(super) fn bytes(&self, wanted: Wanted) -> u64 {
        /// An opening and its proof, about.
        const OPENING_BYTES: u64 = 1_024;
        match wanted {
            Wanted::Whole => self.layout.fragment_bytes(),
            Wanted::Symbol { .. } => self.layout.symbol_bytes(),
            Wanted::Opening { .. } => OPENING_BYTES,
            Wanted::Line { .. } => self.layout.primary_bytes(),
        }
    }

    /// Gathers anew; those who gave something last time are asked first.
    pub(super) fn gather(&mut self, gather: Gather) {
        self.candidates.sort_by_key(|candidate| candidate.slot().is_none());
        for candidate in &mut self.candidates {
            if candidate.state != State::Out {
                (candidate.state, candidate.asked, candidate.from) = (State::Free, 0, 0);
            }
        }
        self.phase = Phase::Gathering(gather);
    }

    /// Everybody who gave a symbol is to open it.
    pub(super) fn prove(&mut self, gather: Gather) {
        for candidate in &mut self.candidates {
            (candidate.asked, candidate.from) = (0, 0);
        }
        self.phase = Phase::Proving(gather);
    }

    /// Goes on gathering: what was given and proven stays.
    pub(super) fn gather_on(&mut self, gather: Gather) {
        self.phase = Phase::Gathering(gather);
    }

    /// Whether as many have given and proven theirs as are wanted.
    pub(super) fn is_proven(&self, gather: Gather) -> bool {
        let proven = self.candidates.iter().filter(|one| matches!(one.state, State::Proven(_))).count();
        proven >= self.wanted(gather)
    }

    /// Whom to ask next, and for what.
    pub(super) fn next(&mut self, limits: &Limits<'_>) -> Next {
        match self.phase {
            Phase::Whole => self.next_holder(limits),
            Phase::Gathering(gather) => self.next_helper(limits, gather),
            Phase::Proving(Gather::Symbols(axis)) => self.next_opening(limits, axis),
            // Whole slivers have their proof with them.
            Phase::Proving(Gather::Lines) => Next::Complete,
            Phase::Preparing(_) | Phase::Attempting(_) | Phase::Keeping => Next::Wait,
        }
    }

    fn next_holder(&self, limits: &Limits<'_>) -> Next {
        if self.whole_fetch.is_some() {
            return Next::Wait;
        }
        // Each once: what does not come at once is made.
        let holders = self.rebuild.holders.iter().copied().enumerate().skip(self.whole_asked);
        let next = holders.into_iter().find(|(_, node)| !limits.liars.contains(node));
        match next {
            None => Next::Exhausted,
            Some((_, node)) if !limits.has_room(&node) => Next::Wait,
            Some((at, node)) => Next::Ask { at, node, wanted: Wanted::Whole },
        }
    }

    fn next_helper(&mut self, limits: &Limits<'_>, gather: Gather) -> Next {
        for candidate in &mut self.candidates {
            let is_spent = candidate.asked >= limits.attempts_max || limits.liars.contains(&candidate.helper.node);
            if candidate.state == State::Free && is_spent {
                candidate.state = State::Out;
            }
        }
        let wanted = self.wanted(gather);
        let given =
            self.candidates.iter().filter(|one| matches!(one.state, State::Given(_) | State::Proven(_))).count();
        if given >= wanted {
            return Next::Complete;
        }
        let taken: BTreeSet<_> =
            self.candidates.iter().filter(|one| one.slot().is_some()).map(|one| one.helper.shard).collect();
        let free = |one: &&Candidate| one.state == State::Free && !taken.contains(&one.helper.shard);
        let more: BTreeSet<_> = self.candidates.iter().filter(free).map(|one| one.helper.shard).collect();
        if taken.len() + more.len() < wanted {
            // What comes in would not suffice: better nothing more than half of it.
            let is_asking = self.candidates.iter().any(|one| one.fetch().is_some());
            return if is_asking { Next::Wait } else { Next::Exhausted };
        }
        if taken.len() >= wanted {
            return Next::Wait;
        }
        let ready = |one: &Candidate| free(&one) && one.from <= limits.now && limits.has_room(&one.helper.node);
        let Some(at) = self.candidates.iter().position(ready) else { return Next::Wait };
        let Some(slot) = self.free_slot(wanted) else { return Next::Wait };
        let Some(Candidate { helper, .. }) = self.candidates.get(at) else { return Next::Wait };
        let (shard, node) = (helper.shard, helper.node);
        let wanted = match gather {
            Gather::Symbols(axis) => Wanted::Symbol { shard, axis, slot },
            Gather::Lines => Wanted::Line { shard, slot },
        };
        Next::Ask { at, node, wanted }
    }

    /// The first place in the scratch that nobody's bytes have or will have.
    fn free_slot(&self, wanted: usize) -> Option<Slot> {
        let used: BTreeSet<Slot> = self.candidates.iter().filter_map(Candidate::slot).collect();
        (0..wanted).filter_map(|slot| u16::try_from(slot).ok()).map(Slot).find(|slot| !used.contains(slot))
    }

    fn next_opening(&self, limits: &Limits<'_>, axis: Axis) -> Next {
        let given = |one: &&Candidate| matches!(one.state, State::Given(_));
        let ready = |one: &Candidate| given(&one) && one.from <= limits.now && limits.has_room(&one.helper.node);
        if let Some(at) = self.candidates.iter().position(ready)
            && let Some(Candidate { helper, .. }) = self.candidates.get(at)
        {
            return Next::Ask { at, node: helper.node, wanted: Wanted::Opening { shard: helper.shard, axis } };
        }
        let is_open = self.candidates.iter().any(|one| given(&one) || one.fetch().is_some());
        if is_open { Next::Wait } else { Next::Complete }
    }

    /// What [`Job::next`] said is being done.
    pub(super) fn asks(&mut self, fetch: FetchId, (at, wanted): (usize, Wanted)) {
        if wanted == Wanted::Whole {
            (self.whole_asked, self.whole_fetch) = (at + 1, Some(fetch));
            return;
        }
        let Some(candidate) = self.candidates.get_mut(at) else { return };
        candidate.asked += 1;
        candidate.state = match (candidate.state, wanted) {
            (State::Given(slot), Wanted::Opening { .. }) => State::Opening(fetch, slot),
            (_, Wanted::Symbol { slot, .. } | Wanted::Line { slot, .. }) => State::Asked(fetch, slot),
            (state, _) => state,
        };
    }

    /// A whole fragment did not come; its next holder is asked.
    pub(super) fn whole_failed(&mut self) {
        self.whole_fetch = None;
    }

    /// A helper gave what it was asked for.
    pub(super) fn gave(&mut self, fetch: FetchId) {
        let Some(candidate) = self.candidates.iter_mut().find(|one| one.fetch() == Some(fetch)) else { return };
        candidate.state = match candidate.state {
            State::Asked(_, slot) => State::Given(slot),
            State::Opening(_, slot) => State::Proven(slot),
            state => state,
        };
    }

    /// A helper did not. Whose symbol is to be forgotten, if it is over with it.
    pub(super) fn failed(&mut self, fetch: FetchId, again_at: Option<u64>, attempts_max: usize) -> Option<PairIndex> {
        let at = self.candidates.iter().position(|one| one.fetch() == Some(fetch))?;
        let candidate = self.candidates.get_mut(at)?;
        let again = again_at.filter(|_| candidate.asked < attempts_max);
        candidate.from = again.unwrap_or(candidate.from);
        let (state, is_over) = match (candidate.state, again) {
            (State::Opening(_, slot), Some(_)) => (State::Given(slot), false),
            (State::Opening(..), None) => (State::Out, true),
            (_, Some(_)) => (State::Free, false),
            (_, None) => (State::Out, false),
        };
        candidate.state = state;
        let helper = candidate.helper;
        is_over.then(|| self.pair(&helper))
    }

    /// When something in it waits for time to pass, after `now`.
    pub(super) fn wake_at(&self, now: u64) -> Option<u64> {
        let waits = |one: &&Candidate| match self.phase {
            Phase::Gathering(_) => one.state == State::Free,
            Phase::Proving(_) => matches!(one.state, State::Given(_)),
            _ => false,
        };
        let candidates = self.candidates.iter().filter(waits).map(|one| one.from);
        candidates.filter(|at| *at > now).min()
    }
}
