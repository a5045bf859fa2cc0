//! Saying what was rebuilt, shard by shard, in few runs.
//!
//! Custody attests all seats of a node at once and only numbers of which every fragment is there. What is rebuilt is
//! attested for its own shard: a ticket is about one shard, and a stand-in's row is no seat.

use super::{Config, Effect};
use floe_ledger::{Run, ShardSet};
use floe_types::{SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers that wait; with one more all of them are said at once.
const DUE_MAX: usize = 4_096;
/// Numbers remembered as said in this epoch.
const SAID_MAX: usize = 65_536;

/// What is about to be attested, and was a moment ago.
#[derive(Debug, Default)]
pub(super) struct Attestations {
    due: BTreeMap<ShardIndex, BTreeSet<SequenceNumber>>,
    waiting: usize,
    due_since: Option<u64>,
    said: BTreeSet<(ShardIndex, SequenceNumber)>,
}

impl Attestations {
    pub(super) fn wake_at(&self, config: &Config) -> Option<u64> {
        self.due_since.map(|since| since.saturating_add(config.attest_debounce_millis))
    }

    /// What was said and is still not covered is said again from now on.
    pub(super) fn begin_epoch(&mut self) {
        self.said.clear();
    }

    /// The fragment of `shard` of this number is durable here.
    pub(super) fn add(&mut self, now: u64, shard: ShardIndex, number: SequenceNumber) {
        if !self.said.contains(&(shard, number)) && self.due.entry(shard).or_default().insert(number) {
            self.waiting += 1;
            self.due_since.get_or_insert(now);
        }
    }

    /// Says what has been due long enough.
    pub(super) fn emit(&mut self, now: u64, config: &Config, effects: &mut Vec<Effect>) {
        let is_due = self.waiting > DUE_MAX || self.wake_at(config).is_some_and(|at| at <= now);
        if !is_due {
            return;
        }
        (self.waiting, self.due_since) = (0, None);
        for (shard, numbers) in std::mem::take(&mut self.due) {
            let mut runs: Vec<Run> = Vec::new();
            let shards = || ShardSet::from_iter([shard]);
            for number in numbers {
                match runs.last_mut() {
                    Some(run) if run.last.0.checked_add(1) == Some(number.0) => run.last = number,
                    _ => {
                        if runs.len() >= config.attest_runs_max {
                            effects.push(Effect::Attest { shards: shards(), runs: std::mem::take(&mut runs) });
                        }
                        runs.push(Run { first: number, last: number });
                    }
                }
                if self.said.len() >= SAID_MAX {
                    // Forgetting only means that something may be said twice.
                    self.said.clear();
                }
                self.said.insert((shard, number));
            }
            if !runs.is_empty() {
                effects.push(Effect::Attest { shards: shards(), runs });
            }
        }
    }
}
