//! Finding out what this node holds and does not cover, and saying so in few runs.
//!
//! Nothing is remembered per blob: what is uncovered is read off the ledger, what is held off the store. So nothing is
//! forgotten by a crash, a lost transaction or a full list here: the next epoch's sweep finds it again.

use super::{Config, Custody, Effect, own_pairs};
use crate::fragments::FragmentKey;
use crate::ledger_view::LedgerView;
use floe_ledger::{Run, ShardSet};
use floe_types::{BlobId, SequenceNumber};
use std::collections::BTreeSet;

/// Numbers remembered as attested in this epoch, of eight bytes each.
const SAID_MAX: usize = 65_536;

/// What is being looked up, about to be attested, and was attested a moment ago.
#[derive(Debug, Default)]
pub(super) struct Attestations {
    /// The seats that what is due and what was said is about.
    seats: ShardSet,
    lookups: BTreeSet<BlobId>,
    due: BTreeSet<SequenceNumber>,
    due_since: Option<u64>,
    /// Attested in this epoch: not said again before the next, by when the ledger knows.
    said: BTreeSet<SequenceNumber>,
    sweep: Sweep,
}

/// An epoch's walk over what this node does not cover.
#[derive(Debug, Default)]
struct Sweep {
    from: SequenceNumber,
    left: usize,
}

impl Attestations {
    pub(super) fn wake_at(&self, config: &Config) -> Option<u64> {
        self.due_since.map(|since| since.saturating_add(config.attest_debounce_millis))
    }

    /// Attests what has been due long enough.
    pub(super) fn emit(&mut self, now: u64, config: &Config, effects: &mut Vec<Effect>) {
        if self.wake_at(config).is_none_or(|at| now < at) {
            return;
        }
        let mut runs: Vec<Run> = Vec::new();
        while let Some(number) = self.due.first().copied() {
            let full = runs.len() >= config.attest_runs_max;
            match runs.last_mut() {
                Some(run) if run.last.0.checked_add(1) == Some(number.0) => run.last = number,
                _ if full => break,
                _ => runs.push(Run { first: number, last: number }),
            }
            self.due.pop_first();
            if self.said.len() >= SAID_MAX {
                // Forgetting only means that something may be said twice.
                self.said.clear();
            }
            self.said.insert(number);
        }
        self.due_since = (!self.due.is_empty()).then_some(now);
        effects.push(Effect::Attest { shards: self.seats.clone(), runs });
    }

    /// Forgets what was found for other seats than this node has now: the next sweep finds what is true of these.
    pub(super) fn follow(&mut self, seats: ShardSet) {
        if self.seats != seats {
            self.seats = seats;
            self.due.clear();
            self.due_since = None;
            self.said.clear();
        }
    }
}

impl Custody {
    /// Looks a blob up unless this node covers all of it already, or has just said so.
    pub(super) fn consider(&mut self, view: &dyn LedgerView, blob: &BlobId, effects: &mut Vec<Effect>) {
        let full = self.attestations.lookups.len() >= self.config.lookups_max;
        let Some(facts) = view.blob(blob).filter(|facts| view.epoch() <= facts.last_paid) else { return };
        let Some(own) = own_pairs(view.committee(), &self.me, blob) else { return };
        let covers = |shard| facts.covers_seat(&self.me, shard);
        if full
            || own.iter().all(|(shard, _)| covers(*shard))
            || self.attestations.said.contains(&facts.sequence)
            || self.attestations.due.contains(&facts.sequence)
            || !self.attestations.lookups.insert(*blob)
        {
            return;
        }
        effects.push(Effect::LookUp { blob: *blob, pairs: own.iter().map(|(_, pair)| *pair).collect() });
    }

    pub(super) fn looked_up(
        &mut self,
        now: u64,
        view: &dyn LedgerView,
        blob: &BlobId,
        held: &[FragmentKey],
        effects: &mut Vec<Effect>,
    ) {
        if !self.attestations.lookups.remove(blob) {
            return;
        }
        let own = own_pairs(view.committee(), &self.me, blob);
        let facts = view.blob(blob).filter(|facts| view.epoch() <= facts.last_paid);
        // A copy above the line is refiled before its group goes; one at or below it may be gone in a moment.
        let lasting = self.collector.line().next();
        if let (Some(own), Some(facts)) = (own, facts)
            && super::missing(&own, held, facts.last_paid.min(lasting)).is_empty()
        {
            self.attestations.due.insert(facts.sequence);
            self.attestations.due_since.get_or_insert(now);
        }
        if self.attestations.lookups.is_empty() {
            self.sweep_on(view, effects);
        }
    }

    /// Starts an epoch's sweep where the last one ended. What was said and is still not covered is said again.
    pub(super) fn begin_sweep(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        self.attestations.said.clear();
        self.attestations.sweep.left = self.config.sweep_max;
        if self.attestations.lookups.is_empty() {
            self.sweep_on(view, effects);
        }
    }

    /// The next pages of the sweep, until something is looked up or nothing is left.
    fn sweep_on(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let Some(member) = view.committee().index_of(&self.me) else { return };
        while self.attestations.lookups.is_empty() && self.attestations.sweep.left > 0 {
            let limit = self.config.lookups_max.clamp(1, self.attestations.sweep.left);
            let page = view.uncovered(member, self.attestations.sweep.from, limit);
            let left = self.attestations.sweep.left - limit;
            self.attestations.sweep.left = if page.next.is_some() { left } else { 0 };
            self.attestations.sweep.from = page.next.unwrap_or_default();
            for (_, blob) in &page.blobs {
                self.consider(view, blob, effects);
            }
        }
    }
}
