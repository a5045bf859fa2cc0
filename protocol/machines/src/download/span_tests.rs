//! One span: its row, then its column, then any `p` rows.

use super::super::Speed;
use super::*;
use crate::testing::{Chance, node};

const NEEDED: u16 = 4;

fn candidate(pair: u16) -> Candidate {
    let speed = Speed { latency_millis: 20, bytes_per_second: 19_000_000 };
    Candidate { pair: PairIndex(pair), shard: ShardIndex(pair), member: node(pair as u8 + 1), speed }
}

fn span(direct: &[(Axis, u16)], others: std::ops::Range<u16>) -> Span {
    let direct = direct.iter().map(|(axis, pair)| Direct { axis: *axis, candidate: candidate(*pair) }).collect();
    Span::new(Config::default(), NEEDED, 1_000, direct, others.map(candidate).collect())
}

fn asked(effects: &[Effect]) -> Vec<Way> {
    let way = |effect: &Effect| match effect {
        Effect::Ask { way, .. } => Some(*way),
        _ => None,
    };
    effects.iter().filter_map(way).collect()
}

const ROW_AND_COLUMN: [(Axis, u16); 2] = [(Axis::Primary, 2), (Axis::Secondary, 7)];

#[test]
fn the_row_is_asked_alone_and_is_enough() {
    let mut span = span(&ROW_AND_COLUMN, 3..10);
    assert_eq!(asked(&span.step(0, Input::Started)), [Way::Direct(0)]);
    assert_eq!(asked(&span.step(10, Input::Moved { way: Way::Direct(0) })), [], "SP-2");
    let done = span.step(20, Input::Verified { way: Way::Direct(0) });
    assert_eq!(done, [Effect::Ready { ways: vec![Way::Direct(0)] }]);
    assert_eq!(span.wake_at(), None);
}

#[test]
fn a_row_that_is_late_is_hedged_by_its_column_and_then_by_others() {
    let mut span = span(&ROW_AND_COLUMN, 3..10);
    span.step(0, Input::Started);
    let late = span.wake_at().unwrap();
    assert_eq!(asked(&span.step(late, Input::Tick)), [Way::Direct(1)]);
    let later = span.wake_at().unwrap();
    assert!(later > late);
    let others = asked(&span.step(later, Input::Tick));
    assert_eq!(others.len(), usize::from(NEEDED), "{others:?}");
    let mut effects = Vec::new();
    for way in others {
        effects = span.step(later + 1, Input::Verified { way });
    }
    assert!(
        matches!(&effects[..], [Effect::Cancel { way: Way::Direct(0) }, Effect::Cancel { way: Way::Direct(1) }, Effect::Ready { ways }] if ways.len() == 4),
        "SP-1: {effects:?}"
    );
}

#[test]
fn who_is_gone_or_lies_is_replaced_at_once() {
    let mut span = span(&ROW_AND_COLUMN, 3..10);
    span.step(0, Input::Started);
    let effects = span.step(1, Input::Failed { way: Way::Direct(0), trouble: Trouble::Wrong });
    assert!(effects.contains(&Effect::Misbehaved { member: node(3), shard: ShardIndex(2) }));
    assert_eq!(asked(&effects), [Way::Direct(1)]);
    let effects = span.step(2, Input::Failed { way: Way::Direct(1), trouble: Trouble::NotThere });
    assert_eq!(asked(&effects).len(), usize::from(NEEDED));
}

#[test]
fn without_any_way_it_fails() {
    let mut span = span(&[(Axis::Primary, 2)], 3..6);
    span.step(0, Input::Started);
    let effects = span.step(1, Input::Failed { way: Way::Direct(0), trouble: Trouble::NotThere });
    assert!(matches!(effects[..], [Effect::Failed { failure: TooFew { answered: 0, needed: NEEDED } }]), "{effects:?}");
}

/// Runs a span against holders of all manners. Gives whether it was ready, and how many others were good.
fn run(seed: u64) -> (bool, u64) {
    let mut chance = Chance(seed);
    let bad: Vec<bool> = (0..12).map(|_| chance.in_hundred(40)).collect();
    let good = (3..10).filter(|pair| !bad[*pair]).count() as u64 + 10 * u64::from(!bad[2] || !bad[11]);
    let mut span = span(&[(Axis::Primary, 2), (Axis::Secondary, 11)], 3..10);
    let (mut open, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    let (mut now, mut input) = (0, Input::Started);
    for _ in 0..5_000 {
        for effect in span.step(now, input) {
            match effect {
                Effect::Ask { way, pair, .. } => open.push((way, pair)),
                Effect::Cancel { way } => open.retain(|(of, _)| *of != way),
                Effect::Stalled { .. } => {}
                Effect::Misbehaved { member, .. } => assert!(bad[usize::from(member.0[0]) - 1]),
                Effect::Ready { ways } => {
                    assert!(open.is_empty() && ways.iter().all(|way| seen.contains(way)), "SP-1");
                    let direct = matches!(ways[..], [Way::Direct(_)]);
                    assert!(direct || ways.len() == usize::from(NEEDED), "SP-1");
                    return (true, good);
                }
                Effect::Failed { .. } => return (false, good),
            }
        }
        input = Input::Tick;
        if chance.in_hundred(60)
            && let Some((way, pair)) = chance.take(&mut open)
        {
            input = match (chance.below(3), bad[usize::from(pair.0)]) {
                (0, true) => Input::Failed { way, trouble: Trouble::Wrong },
                (1, true) => Input::Failed { way, trouble: Trouble::Broken },
                // Absent: nothing ever comes.
                (_, true) => {
                    open.push((way, pair));
                    Input::Tick
                }
                (_, false) => {
                    seen.insert(way);
                    Input::Verified { way }
                }
            };
        }
        now += chance.below(60);
        // Who answers at all answers in time.
        let only_bad = open.iter().all(|(_, pair)| bad[usize::from(pair.0)]);
        if let (Input::Tick, true, Some(at)) = (input, only_bad, span.wake_at()) {
            now = now.max(at);
        }
    }
    panic!("seed {seed} did not end");
}

#[test]
fn every_span_ends_and_is_ready_when_anybody_can_give_it() {
    let (mut ready, mut failed) = (0, 0);
    for seed in 0..500 {
        match run(seed) {
            (true, _) => ready += 1,
            (false, good) => {
                assert!(good < u64::from(NEEDED), "seed {seed}: {good} good");
                failed += 1;
            }
        }
    }
    assert!(ready > 300 && failed > 5, "{ready} ready, {failed} failed");
}
