//! Passes over what is missing, with sources that hold, lack, lie, stall and go.

use super::*;
use std::collections::BTreeMap;

fn node(seed: u8) -> NodeId {
    NodeId([seed; 32])
}

fn gap(number: u64, sources: &[u8]) -> Gap {
    Gap {
        sequence: SequenceNumber(number),
        registration: RegistrationNumber(number),
        blob: BlobId([number as u8; 32]),
        blob_bytes: 1_000,
        shard: ShardIndex(3),
        group: Epoch(9),
        bytes: 1_000,
        sources: sources.iter().map(|seed| node(*seed)).collect(),
    }
}

/// A world of sources; time passes only when nothing else can happen.
struct World {
    machine: Handover,
    now: u64,
    missing: BTreeMap<u64, Gap>,
    answer: fn(u8, u64, usize) -> Result<(), Trouble>,
    asked: Vec<(u8, u64)>,
    ended: Vec<(u64, u64)>,
    misbehaved: usize,
    most: (usize, usize),
}

impl World {
    fn new(gaps: Vec<Gap>, answer: fn(u8, u64, usize) -> Result<(), Trouble>) -> World {
        let missing = gaps.into_iter().map(|gap| (gap.sequence.0, gap)).collect();
        let (asked, ended) = (Vec::new(), Vec::new());
        let machine = Handover::new(Config { page: 4, bytes_per_second: 1_000_000, ..Config::default() });
        World { machine, now: 0, missing, answer, asked, ended, misbehaved: 0, most: (0, 0) }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let effects = self.machine.step(self.now, input);
            let mut with: BTreeMap<NodeId, usize> = BTreeMap::new();
            self.machine.fetching.values().for_each(|one| *with.entry(one.node).or_default() += 1);
            let of_one = with.values().max().copied().unwrap_or(0);
            self.most = (self.most.0.max(self.machine.fetches()), self.most.1.max(of_one));
            for effect in effects {
                match effect {
                    Effect::Look { from, limit } => {
                        let page: Vec<Gap> =
                            self.missing.range(from.sequence.0..).take(limit).map(|(_, gap)| gap.clone()).collect();
                        let next = page
                            .last()
                            .map(|gap| Place { shard: ShardIndex(3), sequence: SequenceNumber(gap.sequence.0 + 1) })
                            .filter(|_| page.len() == limit);
                        inputs.push_back(Input::Looked { gaps: page, next });
                    }
                    Effect::Fetch { fetch, from, gap } => {
                        let times = self.asked.iter().filter(|(_, number)| *number == gap.sequence.0).count();
                        self.asked.push((from.0[0], gap.sequence.0));
                        let outcome = (self.answer)(from.0[0], gap.sequence.0, times);
                        if outcome.is_ok() {
                            self.missing.remove(&gap.sequence.0);
                        }
                        inputs.push_back(Input::Fetched { fetch, outcome });
                    }
                    Effect::Misbehaved { .. } => self.misbehaved += 1,
                    Effect::PassEnded { fetched, left, .. } => self.ended.push((fetched, left)),
                }
            }
        }
    }

    fn run(&mut self, until: u64) {
        while let Some(at) = self.machine.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = until;
    }
}

#[test]
fn everything_missing_is_fetched_in_order_and_within_the_limits() {
    let mut world = World::new((0..50).map(|number| gap(number, &[1, 2])).collect(), |_, _, _| Ok(()));
    world.step(Input::Begin);
    world.run(60_000);
    assert!(world.missing.is_empty());
    assert_eq!(world.ended, [(50, 0)]);
    assert!(world.asked.iter().all(|(source, _)| *source == 1), "the first source has everything");
    assert!(world.asked.windows(2).all(|pair| pair[0].1 < pair[1].1));
    assert!(world.most.0 <= 8 && world.most.1 <= 2, "{:?}", world.most);
    assert_eq!(world.machine.wake_at(), None, "nothing is left to wait for");
}

#[test]
fn bytes_a_second_are_kept_to() {
    // Fifty kilobytes at a megabyte a second.
    let mut world = World::new((0..50).map(|number| gap(number, &[1])).collect(), |_, _, _| Ok(()));
    world.step(Input::Begin);
    world.run(40);
    assert!((35..=43).contains(&world.asked.len()), "{}", world.asked.len());
    world.run(60);
    assert_eq!(world.asked.len(), 50);
}

#[test]
fn a_source_that_lacks_or_breaks_is_followed_by_the_next() {
    let answer = |source: u8, number: u64, _: usize| match (source, number % 3) {
        (1, 0) => Err(Trouble::NotThere),
        (1, 1) => Err(Trouble::Broken),
        _ => Ok(()),
    };
    let mut world = World::new((0..30).map(|number| gap(number, &[1, 2])).collect(), answer);
    world.step(Input::Begin);
    world.run(60_000);
    assert_eq!(world.ended, [(30, 0)]);
}

#[test]
fn a_liar_is_named_once_and_not_asked_again_in_the_pass() {
    let answer = |source: u8, _: u64, _: usize| if source == 1 { Err(Trouble::Wrong) } else { Ok(()) };
    let mut world = World::new((0..30).map(|number| gap(number, &[1, 2])).collect(), answer);
    world.step(Input::Begin);
    world.run(60_000);
    assert_eq!(world.ended, [(30, 0)]);
    assert!(world.misbehaved <= 2, "as many as were under way with it");
}

#[test]
fn a_pass_ends_with_what_nobody_has_and_comes_again_for_what_may_come() {
    let answer = |_: u8, number: u64, times: usize| match number {
        0 => Err(Trouble::NotThere),
        1 if times < 8 => Err(Trouble::Later { after_millis: 500 }),
        _ => Ok(()),
    };
    let mut world = World::new(vec![gap(0, &[1, 2]), gap(1, &[1, 2]), gap(2, &[])], answer);
    world.step(Input::Begin);
    world.run(9_000);
    assert_eq!(world.ended, [(0, 3)], "six refusals of the second, and one has no source");
    world.run(30_000);
    assert_eq!(world.ended[1], (1, 2), "the second came in the next pass");
    let asked = world.asked.iter().filter(|(_, number)| *number == 0).count();
    assert!(asked <= 3 * 2 * 3, "each source three times a pass");

    // Without a source there is nothing to hope for.
    let mut world = World::new(vec![gap(2, &[])], answer);
    world.step(Input::Begin);
    world.run(60_000);
    assert_eq!((world.ended.as_slice(), world.machine.wake_at()), ([(0, 1)].as_slice(), None));
}

#[test]
fn a_reason_during_a_pass_begins_another_after_it() {
    let mut world = World::new(vec![gap(0, &[1]), gap(1, &[1])], |_, _, _| Ok(()));
    let effects = world.machine.step(0, Input::Begin);
    assert_eq!(effects, [Effect::Look { from: Place::START, limit: 4 }]);
    assert!(world.machine.step(0, Input::Begin).is_empty(), "one pass at a time");
    world.step(Input::Looked { gaps: vec![gap(0, &[1])], next: None });
    world.run(10);
    assert!(world.missing.is_empty(), "the second was found by the second pass");
    assert_eq!(world.ended, [(1, 0), (1, 0)]);
}

#[test]
fn no_room_here_is_nobodys_fault_and_is_tried_again_later() {
    let answer = |_: u8, _: u64, times: usize| if times == 0 { Err(Trouble::NoRoom) } else { Ok(()) };
    let mut world = World::new(vec![gap(0, &[1])], answer);
    world.step(Input::Begin);
    world.run(5_000);
    assert_eq!(world.ended, [(0, 1)]);
    world.run(15_000);
    assert_eq!((world.ended.len(), world.missing.len(), world.misbehaved), (2, 0, 0));
}
