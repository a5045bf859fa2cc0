//! What runs come to: the outcome of a seed, and the tally of many.

use crate::laws::Violation;
use crate::plan::{FaultClass, Plan};
use crate::trace::Digest;
use std::collections::BTreeMap;
use std::fmt;

/// What happened in a run, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say what is counted")]
pub struct Stats {
    pub seeds: u64,
    pub events: u64,
    pub virtual_millis: u64,
    /// Heights decided.
    pub heights: u64,
    /// Epochs ended.
    pub epochs: u64,
    /// Blocks written, by all nodes.
    pub commits: u64,
    /// Rounds beyond the first that decisions took.
    pub rounds: u64,
    pub catch_ups: u64,
    pub stores: u64,
    pub stores_failed: u64,
    pub resumed: u64,
    pub fragments: u64,
    pub confirmations: u64,
    /// Questions that members asked each other.
    pub challenges: u64,
    /// Questions that a target said no to.
    pub denied: u64,
    /// Slots that members spoke of.
    pub observations: u64,
    pub attestations: u64,
    pub undelivered: u64,
    pub reads: u64,
    /// Reads of the storm that ended without the blob.
    pub reads_failed: u64,
    pub transfers: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub silenced: u64,
    pub messages: u64,
    pub lost: u64,
    pub cut: u64,
    pub doubled: u64,
    pub held: u64,
    pub broken_streams: u64,
    pub corrupted: u64,
    pub equivocations: u64,
    pub rejected: u64,
    pub blames: u64,
    pub forgotten_bytes: u64,
    /// Terms that began.
    pub terms: u64,
    pub joins: u64,
    pub leaves: u64,
    /// Transactions of operators in blocks.
    pub operations: u64,
    pub vote_keys: u64,
    /// Fragments asked for by whoever was to have a shard.
    pub fetches: u64,
    pub handed_over: u64,
    /// Fragments that were made again from the symbols of others, bytes asked for in all repairs, symbols and openings given,
    /// and times that what came out was not what it had to be.
    pub rebuilt: u64,
    /// Fragments that boundaries planned to rebuild, each at each boundary.
    pub planned: u64,
    /// What the reserve paid for them.
    pub repair_frost: u64,
    pub repair_bytes: u64,
    pub symbols: u64,
    pub mismatches: u64,
    pub switched_off: u64,
    pub vanished: u64,
    pub lost_disks: u64,
    pub old_disks: u64,
    pub censored: u64,
    pub halts: u64,
    /// Keys that were punished for two votes.
    pub punished: u64,
    /// Nodes that began with a snapshot.
    pub restored: u64,
    /// Terms after which every blob was read.
    pub term_reads: u64,
    /// Times that exactly a quorum was there and decided.
    pub quorum_trials: u64,
    /// Those in which it took more than five seconds.
    pub quorum_slow: u64,
    /// Milliseconds that it took, in all and at most.
    pub quorum_millis: u64,
    pub quorum_millis_max: u64,
    /// Seeds in which villains came to have had more than `f` shards in all.
    pub beyond: u64,
    /// Milliseconds of calm until everybody moved again, the worst seed's.
    pub settle_millis_max: u64,
    /// Seeds with each class of faults.
    pub classes: BTreeMap<FaultClass, u64>,
}

impl Stats {
    /// Adds what another run did.
    pub fn add(&mut self, other: &Stats) {
        macro_rules! sum {
            ($($field:ident),*) => { $(self.$field += other.$field;)* };
        }
        sum!(
            seeds,
            events,
            virtual_millis,
            heights,
            epochs,
            commits,
            rounds,
            catch_ups,
            stores,
            stores_failed,
            resumed,
            fragments,
            confirmations,
            challenges,
            denied,
            observations,
            attestations,
            undelivered,
            reads,
            reads_failed,
            transfers,
            crashes,
            partitions,
            silenced,
            messages,
            lost,
            cut,
            doubled,
            held,
            broken_streams,
            corrupted,
            equivocations,
            rejected,
            blames,
            forgotten_bytes,
            terms,
            joins,
            leaves,
            operations,
            vote_keys,
            fetches,
            handed_over,
            rebuilt,
            planned,
            repair_frost,
            repair_bytes,
            symbols,
            mismatches,
            switched_off,
            vanished,
            lost_disks,
            old_disks,
            censored,
            halts,
            punished,
            restored,
            term_reads,
            quorum_trials,
            quorum_slow,
            quorum_millis,
            beyond
        );
        self.settle_millis_max = self.settle_millis_max.max(other.settle_millis_max);
        self.quorum_millis_max = self.quorum_millis_max.max(other.quorum_millis_max);
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_insert(0) += count;
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.virtual_millis / 1_000;
        writeln!(f, "seeds            {:>10}   virtual seconds {seconds}, events {}", self.seeds, self.events)?;
        let rounds = format!("blocks written {}, rounds beyond the first {}", self.commits, self.rounds);
        writeln!(f, "heights          {:>10}   {rounds}, catch-ups {}", self.heights, self.catch_ups)?;
        let settled = format!("the slowest calm settled in {} ms", self.settle_millis_max);
        writeln!(f, "epochs           {:>10}   {settled}", self.epochs)?;
        let uploads = format!("failed {}, resumed after a fall {}", self.stores_failed, self.resumed);
        writeln!(f, "stores           {:>10}   {uploads}, fragments kept {}", self.stores, self.fragments)?;
        let late = format!("{} attestations, {} fragments never delivered", self.attestations, self.undelivered);
        writeln!(f, "confirmations    {:>10}   {late}", self.confirmations)?;
        writeln!(f, "reads            {:>10}   without the blob, in the storm, {}", self.reads, self.reads_failed)?;
        let forgotten = self.forgotten_bytes;
        writeln!(f, "transfers        {:>10}   bytes forgotten {forgotten}", self.transfers)?;
        let others = format!("partitions {}, members silenced {}", self.partitions, self.silenced);
        writeln!(f, "crashes          {:>10}   {others}", self.crashes)?;
        let fates = format!("lost {}, into cut links {}, doubled {}", self.lost, self.cut, self.doubled);
        writeln!(f, "messages         {:>10}   {fates}, held back {}", self.messages, self.held)?;
        let lies = format!("things damaged {}, streams broken {}", self.corrupted, self.broken_streams);
        writeln!(f, "equivocations    {:>10}   {lies}, messages rejected {}", self.equivocations, self.rejected)?;
        let deeds = format!("joins {}, notices {}, switched off {}", self.joins, self.leaves, self.switched_off);
        let read = format!("read through after {}, vote keys {}", self.term_reads, self.vote_keys);
        writeln!(f, "terms            {:>10}   {deeds}, {read}", self.terms)?;
        let gaps = format!("of {} fetches, vanished {}", self.fetches, self.vanished);
        let disks = format!("disks lost {}, old {}, snapshots {}", self.lost_disks, self.old_disks, self.restored);
        writeln!(f, "handed over      {:>10}   {gaps}, {disks}, halts {}", self.handed_over, self.halts)?;
        let made =
            format!("planned {}, bytes asked for {}, symbols given {}", self.planned, self.repair_bytes, self.symbols);
        let cost = format!("mismatches {}, paid {} FROST", self.mismatches, self.repair_frost);
        writeln!(f, "rebuilt          {:>10}   {made}, {cost}", self.rebuilt)?;
        let beyond = format!("seeds beyond the budget {}", self.beyond);
        writeln!(f, "punished         {:>10}   transactions censored {}, {beyond}", self.punished, self.censored)?;
        let mean = self.quorum_millis.checked_div(self.quorum_trials).unwrap_or_default();
        let took = format!("decided in {mean} ms in the mean, {} ms at most", self.quorum_millis_max);
        let slow = self.quorum_slow;
        writeln!(f, "exact quorums    {:>10}   {took}, in over 5 s {slow}", self.quorum_trials)?;
        let classes: Vec<_> = self.classes.iter().map(|(class, count)| format!("{} {count}", class.name())).collect();
        write!(f, "seeds by fault   {}", classes.join(", "))
    }
}

/// What a seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What it was.
    pub plan: Plan,
    /// The first law broken, if any.
    pub violation: Option<Violation>,
    /// What happened, counted.
    pub stats: Stats,
    /// The hash of everything that happened.
    pub digest: Digest,
    /// The last events in words, when they were asked for.
    pub tail: Vec<String>,
}

impl Outcome {
    /// The command that runs this seed again, for `epochs` epochs of storm.
    #[must_use]
    pub fn replay_command(&self) -> String {
        let (seed, epochs) = (self.seed, self.plan.storm_epochs);
        let plan = self.plan.scenario;
        format!("cargo run --release -p floe-simulator --bin floe-sim -- --plan {plan} --seed {seed} --epochs {epochs}")
    }

    /// All there is to say about a seed that failed; empty for one that did not.
    #[must_use]
    pub fn failure(&self) -> String {
        let Some(violation) = &self.violation else { return String::new() };
        let tail = if self.tail.is_empty() { String::new() } else { format!("{}\n", self.tail.join("\n")) };
        let (seed, plan, replay) = (self.seed, &self.plan, self.replay_command());
        format!("{tail}seed {seed} FAILED: {violation}\n  plan: {plan}\n  replay: {replay}")
    }
}

/// The tally of many seeds.
#[derive(Debug, Default)]
pub struct Tally {
    /// All that happened.
    pub stats: Stats,
    /// Seeds that broke a law.
    pub failures: Vec<Outcome>,
    /// Seeds whose second run differed from the first.
    pub unequal: Vec<u64>,
}

impl Tally {
    /// Adds the outcome of a seed.
    pub fn add(&mut self, outcome: Outcome) {
        self.stats.add(&outcome.stats);
        if outcome.violation.is_some() {
            self.failures.push(outcome);
        }
    }

    /// Adds what another thread did.
    pub fn merge(&mut self, other: Tally) {
        self.stats.add(&other.stats);
        self.failures.extend(other.failures);
        self.unequal.extend(other.unequal);
    }

    /// Whether no law was broken and every second run was as the first.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.unequal.is_empty()
    }
}
