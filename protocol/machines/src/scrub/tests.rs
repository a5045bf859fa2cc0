//! A store that rots, a ledger that remembers, and a clock.

use super::*;
use crate::ledger_view::{BlobFacts, Covering};
use crate::testing::{Ledger, node};
use floe_erasure::pair_of;
use floe_ledger::RowKind;
use floe_types::{BlobId, Epoch, SequenceNumber};

const SHARDS: u16 = 7;

struct World {
    scrub: Scrub,
    ledger: Ledger,
    now: u64,
    kept: BTreeMap<FragmentKey, Condition>,
    absent: Vec<(ShardIndex, Run)>,
    withdrawn: Vec<(Vec<ShardIndex>, Vec<Run>)>,
    passes: Vec<Pass>,
    read: Vec<(u64, FragmentKey)>,
}

fn blob(number: u64) -> BlobId {
    BlobId([number as u8; 32])
}

fn key(number: u64) -> FragmentKey {
    FragmentKey { group: Epoch(9), blob: blob(number), pair: pair_of(&blob(number), ShardIndex(0), SHARDS) }
}

fn run(first: u64, last: u64) -> Run {
    Run { first: SequenceNumber(first), last: SequenceNumber(last) }
}

/// A store of a hundred bytes for each of `blobs` fragments, all of shard 0, covered by node 1; the period is 10 s.
fn world(blobs: u64) -> World {
    let mut ledger = Ledger::new(SHARDS as u8, SHARDS);
    for number in 0..blobs {
        let coverage = vec![Covering { shard: ShardIndex(0), kind: RowKind::Seat, node: node(1) }];
        let sequence = SequenceNumber(number);
        ledger.blobs.insert(blob(number), BlobFacts { blob_bytes: 300, sequence, last_paid: Epoch(9), coverage });
    }
    World {
        scrub: Scrub::new(Config { page: 4, ..Config::for_period(10_000) }, node(1)),
        ledger,
        now: 0,
        kept: (0..blobs).map(|number| (key(number), Condition::Sound)).collect(),
        absent: Vec::new(),
        withdrawn: Vec::new(),
        passes: Vec::new(),
        read: Vec::new(),
    }
}

impl World {
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.scrub.step(self.now, &self.ledger, input) {
                inputs.extend(self.answer(effect));
            }
        }
    }

    fn answer(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::List { after, limit } => {
                let later = self.kept.keys().filter(|key| Some(**key) > after).take(limit);
                let page = later.map(|key| (*key, 100)).collect();
                return Some(Input::Listed { listed: Some((page, 100 * self.kept.len() as u64)) });
            }
            Effect::Check { key } => {
                self.read.push((self.now, key));
                let condition = self.kept.get(&key).copied().unwrap_or(Condition::Gone);
                return Some(Input::Checked { key, condition });
            }
            Effect::Discard { key } => {
                self.kept.remove(&key);
                return Some(Input::Discarded { key, outcome: Ok(()) });
            }
            Effect::Look { .. } => return Some(Input::Looked { runs: std::mem::take(&mut self.absent), next: None }),
            Effect::Withdraw { shards, runs } => self.withdrawn.push((shards.iter().collect(), runs)),
            Effect::PassEnded(pass) => self.passes.push(pass),
        }
        None
    }

    fn run_until(&mut self, until: u64) {
        while let Some(at) = self.scrub.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = until;
    }
}

#[test]
fn everything_is_read_once_in_a_period_at_an_even_pace() {
    let mut world = world(20);
    world.step(Input::Started);
    world.run_until(9_999);
    assert_eq!(world.read.len(), 20);
    let gaps: Vec<u64> = world.read.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.iter().all(|gap| *gap == 500), "{gaps:?}");
    world.run_until(21_000);
    assert_eq!(world.passes.first(), Some(&Pass { fragments: 20, bytes: 2_000, damaged: 0 }));
    assert!(world.withdrawn.is_empty());
}

#[test]
fn what_rotted_is_removed_and_withdrawn_before_anybody_asks() {
    let mut world = world(20);
    for number in [7, 8, 15] {
        world.kept.insert(key(number), Condition::Damaged);
    }
    world.step(Input::Started);
    world.run_until(12_000);
    assert_eq!(world.kept.len(), 17, "what is damaged is gone");
    let said: Vec<Run> = world.withdrawn.iter().flat_map(|(_, runs)| runs.clone()).collect();
    assert_eq!(said.iter().map(|run| run.last.0 - run.first.0 + 1).sum::<u64>(), 3, "{said:?}");
    assert!(world.withdrawn.iter().all(|(shards, _)| *shards == [ShardIndex(0)]));
    assert_eq!(world.passes.iter().map(|pass| pass.damaged).sum::<u64>(), 3);
}

#[test]
fn a_suspect_is_looked_at_at_once() {
    let mut world = world(20);
    world.step(Input::Started);
    world.run_until(100);
    world.kept.insert(key(19), Condition::Damaged);
    world.step(Input::Suspected { key: key(19) });
    assert_eq!(world.read.last(), Some(&(100, key(19))));
    world.run_until(700);
    assert_eq!(world.withdrawn, [(vec![ShardIndex(0)], vec![run(19, 19)])]);
}

#[test]
fn what_is_covered_and_not_there_is_withdrawn_at_the_start_in_one_word_for_all_shards() {
    let mut world = world(3);
    world.absent = vec![(ShardIndex(0), run(0, 9)), (ShardIndex(1), run(0, 4)), (ShardIndex(1), run(5, 9))];
    world.step(Input::Started);
    world.run_until(600);
    assert_eq!(world.withdrawn, [(vec![ShardIndex(0), ShardIndex(1)], vec![run(0, 9)])]);
}

#[test]
fn a_swapped_disk_is_withdrawn_as_soon_as_the_ledger_says_what_was_on_it() {
    // An idle time of a minute: the ledger of the start knows of nothing.
    let mut world = world(0);
    world.scrub = Scrub::new(Config::for_period(10_000_000), node(1));
    world.step(Input::Started);
    world.run_until(1_000);
    assert_eq!(world.withdrawn, []);
    world.absent = vec![(ShardIndex(3), run(0, 40))];
    world.step(Input::CaughtUp);
    world.run_until(2_000);
    assert_eq!(world.withdrawn, [(vec![ShardIndex(3)], vec![run(0, 40)])]);
}

#[test]
fn a_fragment_that_could_not_be_read_for_another_reason_stays() {
    let mut world = world(5);
    world.kept.insert(key(3), Condition::Unread);
    world.step(Input::Started);
    world.run_until(15_000);
    assert!(world.withdrawn.is_empty());
    assert_eq!(world.kept.len(), 5);
}

#[test]
fn what_is_not_covered_or_not_paid_for_is_removed_in_silence() {
    let mut world = world(2);
    world.ledger.blobs.get_mut(&blob(0)).unwrap().coverage.clear();
    world.ledger.blobs.get_mut(&blob(1)).unwrap().last_paid = Epoch(0);
    world.kept.values_mut().for_each(|condition| *condition = Condition::Damaged);
    world.step(Input::Started);
    world.run_until(15_000);
    assert!(world.withdrawn.is_empty());
    assert!(world.kept.is_empty());
}

#[test]
fn an_empty_or_silent_store_is_not_asked_in_a_circle() {
    let mut world = world(0);
    world.step(Input::Started);
    world.run_until(60_000);
    assert!(world.passes.len() < 130, "{} passes a minute", world.passes.len());

    let mut scrub = Scrub::new(Config::for_period(10_000), node(1));
    scrub.step(0, &world.ledger, Input::Started);
    scrub.step(0, &world.ledger, Input::Looked { runs: Vec::new(), next: None });
    assert_eq!(scrub.step(5, &world.ledger, Input::Tick), [Effect::List { after: None, limit: 64 }]);
    assert!(scrub.step(6, &world.ledger, Input::Listed { listed: None }).is_empty());
    assert!(scrub.wake_at().unwrap() >= 500);
}

#[test]
fn a_thousand_runs_are_said_in_parts_that_a_transaction_holds() {
    let mut world = world(1);
    world.absent = (0..1_000).map(|at| (ShardIndex(2), run(at * 2, at * 2))).collect();
    world.step(Input::Started);
    world.run_until(1_000);
    assert_eq!(world.withdrawn.len(), 4);
    assert!(world.withdrawn.iter().all(|(_, runs)| runs.len() <= 256));
    assert!(world.withdrawn.iter().all(|(_, runs)| Run::are_canonical(runs)));
}

#[test]
fn once_damage_is_found_the_rest_is_read_at_once_until_a_pass_finds_none() {
    let mut world = world(20);
    world.kept.insert(key(19), Condition::Damaged);
    world.step(Input::Started);
    world.run_until(100);
    world.step(Input::Suspected { key: key(19) });
    world.run_until(1_000);
    assert!(world.read.len() > 20, "{} were read within a second", world.read.len());
    let passes = world.passes.len();
    world.run_until(9_000);
    assert!(world.passes.len() <= passes + 2, "and then at an even pace again: {} passes", world.passes.len());
}
