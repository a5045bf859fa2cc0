//! The segment map against a slow one that keeps a set per number.

use super::*;
use crate::rows::RowId;
use crate::state::MemoryState;
use proptest::prelude::*;

fn set(bits: u8) -> RowSet {
    (0..8).filter(|bit| bits & (1 << bit) != 0).map(RowId).collect()
}

fn set_of(row: u32) -> RowSet {
    [RowId(row)].into_iter().collect()
}

fn run(first: u64, last: u64) -> Run {
    Run { first: SequenceNumber(first), last: SequenceNumber(last) }
}

fn canonical(slow: &[u8]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (at, bits) in slow.iter().enumerate() {
        match segments.last_mut() {
            Some(last) if last.rows == set(*bits) => last.run.last = SequenceNumber(at as u64),
            _ => segments.push(Segment { run: run(at as u64, at as u64), rows: set(*bits) }),
        }
    }
    segments
}

#[test]
fn a_million_blobs_acknowledged_everywhere_are_one_entry() {
    let state = MemoryState::new();
    let mut overlay = Overlay::new(&state);
    for number in 0..1_000_000 {
        append(&mut overlay, Table::Coverage, number, &(0..28).map(RowId).collect()).unwrap();
    }
    assert_eq!(overlay.changes().0.len(), 1);
    assert_eq!(runs_of(&overlay, &set_of(27), 1_000_000).unwrap(), vec![run(0, 999_999)]);
    assert_eq!(runs_of(&overlay, &set_of(28), 1_000_000).unwrap(), vec![]);
}

#[test]
fn runs_have_one_form() {
    assert!(Run::are_canonical(&[run(0, 3), run(5, 5)]));
    for wrong in [[run(0, 3), run(4, 5)], [run(0, 3), run(2, 5)], [run(3, 0), run(5, 5)], [run(6, 6), run(0, 1)]] {
        assert!(!Run::are_canonical(&wrong), "{wrong:?}");
    }
    assert!(!Run::are_canonical(&[run(0, u64::MAX), run(1, 1)]));
}

#[test]
fn the_coverage_of_an_earlier_epoch_is_found_again() {
    let state = MemoryState::new();
    let mut overlay = Overlay::new(&state);
    for number in 0..10 {
        append(&mut overlay, Table::Judged, number, &set(1)).unwrap();
    }
    for (epoch, first, last, bits) in [(2u64, 3, 5, 2u8), (4, 5, 8, 4)] {
        Table::Attested.store(&mut overlay, Table::Attested.number(0), &(run(first, last), set(bits), Change::Cover));
        let notes = &mut Notes::new(Epoch(epoch));
        settle(&mut overlay, notes, &RowSet::clone, &mut |_| RowSet::new(), (9, 10)).unwrap();
    }
    let at = |epoch, number| covered_in(&overlay, Epoch(epoch), SequenceNumber(number), 10).unwrap();
    let expected = [(1, 5, 1u8), (2, 5, 3), (3, 5, 3), (4, 5, 7), (3, 7, 1), (4, 7, 5), (9, 9, 1)];
    for (epoch, number, bits) in expected {
        assert_eq!(at(epoch, number), set(bits), "number {number} in epoch {epoch}");
    }
}

#[test]
fn what_a_boundary_does_not_take_counts_with_a_later_one_oldest_first_and_without_rows_that_ended() {
    let state = MemoryState::new();
    let mut overlay = Overlay::new(&state);
    for number in 0..10 {
        append(&mut overlay, Table::Judged, number, &set(1)).unwrap();
    }
    let said = [(0, 2u8, Change::Cover), (2, 2, Change::Cover), (0, 1, Change::Uncover), (4, 6, Change::Cover)];
    for (index, (number, bits, change)) in (0u64..).zip(said) {
        let key = Table::Attested.number(index);
        Table::Attested.store(&mut overlay, key, &(run(number, number), set(bits), change));
    }
    let rows = |overlay: &Overlay<'_>, number| covered(overlay, Table::Judged, number, 10).unwrap();
    let boundary = |overlay: &mut Overlay<'_>, epoch, gone: u8| {
        let live = move |said: &RowSet| said.difference(&set(gone));
        settle(overlay, &mut Notes::new(Epoch(epoch)), &live, &mut |_| RowSet::new(), (2, 10)).unwrap()
    };
    assert_eq!(boundary(&mut overlay, 2, 0), Settled::InPart);
    assert_eq!([0, 2, 4].map(|number| rows(&overlay, number)), [set(3), set(3), set(1)]);
    // The row of bit 4 has ended meanwhile.
    assert_eq!(boundary(&mut overlay, 3, 4), Settled::All);
    assert_eq!([0, 2, 4].map(|number| rows(&overlay, number)), [set(2), set(3), set(3)]);
    assert!(Table::Attested.all(&overlay, &[]).unwrap().is_empty());
    // The epochs between are judged by what counted then.
    assert_eq!(
        [1, 2, 3].map(|epoch| covered_in(&overlay, Epoch(epoch), SequenceNumber(0), 10).unwrap()),
        [set(1), set(3), set(2)]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Change(u64, u64, u8, Change),
    Clear(u8),
    Absorb(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4).prop_map(Step::Append),
        (0u64..40, 0u64..40, 0u8..8).prop_map(|(a, b, bits)| Step::Change(a, b, bits, Change::Cover)),
        (0u64..40, 0u64..40, 0u8..8).prop_map(|(a, b, bits)| Step::Change(a, b, bits, Change::Uncover)),
        (0u8..8).prop_map(Step::Clear),
        (0u64..40).prop_map(Step::Absorb),
    ]
}

proptest! {
    #[test]
    fn segments_are_what_a_set_per_number_would_be(steps in proptest::collection::vec(step(), 0..60)) {
        let state = MemoryState::new();
        let mut overlay = Overlay::new(&state);
        let mut slow: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Append(bits) => {
                    append(&mut overlay, Table::Coverage, slow.len() as u64, &set(bits)).unwrap();
                    slow.push(bits);
                }
                Step::Change(a, b, bits, said) if !slow.is_empty() => {
                    let end = slow.len() as u64;
                    let (first, last) = (a.min(b) % end, a.max(b) % end);
                    let run = run(first.min(last), first.max(last));
                    let done = change(&mut overlay, Table::Coverage, run, (&set(bits), said), end).unwrap();
                    let inside = slow.iter_mut().enumerate();
                    let inside = inside.filter(|(at, _)| run.contains(SequenceNumber(*at as u64)));
                    let mut changed = 0;
                    for (_, held) in inside {
                        let now = if said == Change::Cover { *held | bits } else { *held & !bits };
                        changed += u64::from(now != *held);
                        *held = now;
                    }
                    prop_assert_eq!(done.iter().map(|part| part.run.count()).sum::<u64>(), changed);
                }
                Step::Clear(bits) => {
                    let end = slow.len() as u64;
                    let (mut from, mut numbers) = (0, 0);
                    loop {
                        let done = clear(&mut overlay, Table::Coverage, &set(bits), (from, end), 3).unwrap();
                        numbers += done.altered.iter().map(|segment| segment.run.count()).sum::<u64>();
                        match done.next {
                            Some(next) => from = next,
                            None => break,
                        }
                    }
                    prop_assert_eq!(numbers, slow.iter().filter(|held| **held & bits != 0).count() as u64);
                    slow.iter_mut().for_each(|held| *held &= !bits);
                }
                Step::Absorb(at) if !slow.is_empty() => {
                    let end = slow.len() as u64;
                    let cut = canonical(&slow);
                    let place = cut.iter().position(|segment| segment.run.contains(SequenceNumber(at % end))).unwrap();
                    let dead = cut[place].run;
                    let done = absorb(&mut overlay, Table::Coverage, dead, end).unwrap();
                    let beside = if place > 0 { dead.first.0.checked_sub(1) } else { Some(dead.last.0 + 1) };
                    let beside = beside.and_then(|at| slow.get(at as usize).copied());
                    prop_assert_eq!(done.is_some(), beside.is_some());
                    if let Some(bits) = beside {
                        (dead.first.0..=dead.last.0).for_each(|at| slow[at as usize] = bits);
                    }
                }
                Step::Change(..) | Step::Absorb(_) => {}
            }
            let end = slow.len() as u64;
            let found = segments(&overlay, Table::Coverage, end).unwrap();
            prop_assert_eq!(&found, &canonical(&slow));
            for (at, bits) in slow.iter().enumerate() {
                prop_assert_eq!(covered(&overlay, Table::Coverage, at as u64, end).unwrap(), set(*bits));
            }
        }
    }
}
