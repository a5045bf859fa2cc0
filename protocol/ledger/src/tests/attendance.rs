//! What reports come to, decided by shards.

use super::fixture::*;
use crate::challenges::{Aim, Question, Slot};
use crate::reports::{Opened, ReAsk, Said};
use crate::*;
use floe_risk::reliability::Reliability;
use floe_types::{Genesis, MemberIndex};

/// A report of one that saw these hold in all six slots, and all that they were asked answered in time.
fn saw(places: &[usize]) -> Opened {
    let passed = (0..NODES).map(|at| if places.contains(&at) { 18 } else { 0 }).collect();
    let held = std::array::from_fn(|_| Some(members(places.iter().copied())));
    Opened { seed: [0; 32], held, passed, accused: Vec::new(), reasks: Vec::new() }
}

fn of(genesis: &Genesis, reports: impl IntoIterator<Item = (usize, Opened)>) -> Attendance {
    let reports = reports.into_iter().map(|(at, report)| (MemberIndex(at as u16), report)).collect();
    Attendance::of(&genesis.committee().unwrap(), &reports)
}

#[test]
fn a_member_held_when_others_and_its_own_seats_have_more_than_f_shards() {
    // f = 9: two nodes are 8 shards, three are 12, the target's own among them.
    let say = |reports: &[(usize, &[usize])]| of(&genesis(), reports.iter().map(|(at, said)| (*at, saw(said))));
    let one = say(&[(0, &[6]), (1, &[]), (2, &[]), (3, &[]), (4, &[])]);
    assert_eq!((one.participation.answered, one.participation.decision), (members([]), Decision::Decided));
    // What it says of itself counts no more than that it is there.
    let with_itself = say(&[(0, &[6]), (6, &[6]), (2, &[]), (3, &[]), (4, &[])]);
    assert_eq!(with_itself.participation.answered, members([]));
    let two = say(&[(0, &[6]), (1, &[6])]);
    assert_eq!((two.participation.answered, two.participation.decision), (members([6]), Decision::Undecided));
    assert_eq!((two.slots, two.members[6].held), (0, 0), "nothing was decided");
}

#[test]
fn participation_turns_at_a_single_shard() {
    // 9, 1, 9, 1, 3, 3 and 2 shards of 28; f = 9, n - f = 19.
    let say = |reporters: &[usize]| of(&uneven(), reporters.iter().map(|at| (*at, saw(&[1])))).participation;
    // Member 1 has one shard of its own: 9 others are enough, 8 are not.
    assert_eq!(say(&[0]).answered, members([1]));
    assert_eq!(say(&[4, 5, 6]).answered, members([]));
    assert_eq!(say(&[3, 4, 5, 6]).answered, members([1]));
    assert_eq!(say(&[0, 2]).decision, Decision::Undecided);
    assert_eq!(say(&[0, 2, 3]).decision, Decision::Decided);
}

#[test]
fn more_than_half_of_the_decided_slots_is_an_answer() {
    // All speak of `spoken` slots, and saw member 6 in the first `held` of them.
    let say = |spoken: usize, held: usize| {
        let reports = ALL.map(|at| {
            let mut report = saw(&ALL);
            for (slot, said) in report.held.iter_mut().enumerate() {
                let seen = members(if slot < held { 0..7 } else { 0..6 });
                *said = (slot < spoken).then_some(seen);
            }
            (at, report)
        });
        let found = of(&genesis(), reports);
        let answered = found.participation.answered.contains(MemberIndex(6));
        (found.participation.decision, answered, found.slots, found.held(MemberIndex(6)))
    };
    use Decision::{Decided, Undecided};
    assert_eq!(say(6, 4), (Decided, true, 0b11_1111, 4));
    assert_eq!(say(6, 3), (Decided, false, 0b11_1111, 3));
    assert_eq!(say(5, 3), (Decided, true, 0b1_1111, 3));
    assert_eq!(say(4, 2), (Decided, false, 0b1111, 2));
    assert_eq!(say(3, 3), (Undecided, true, 0b111, 3));
}

#[test]
fn a_slot_is_decided_by_those_that_asked_in_it() {
    // Members 0 and 1 were away in the first three slots, 2 and 3 in the last three: 20 shards of 28 in each.
    let reports = ALL.map(|at| {
        let mut report = saw(&ALL);
        let away = match at {
            0 | 1 => 0..3,
            2 | 3 => 3..6,
            _ => 0..0,
        };
        report.held[away].iter_mut().for_each(|said| *said = None);
        (at, report)
    });
    let found = of(&genesis(), reports.clone());
    assert_eq!((found.slots, found.participation.decision), (63, Decision::Decided));
    // A third one away in the first slots: 16 are too few, and half of the slots is not more than half.
    let mut fewer = reports;
    fewer[4].1.held[0..3].iter_mut().for_each(|said| *said = None);
    let found = of(&genesis(), fewer);
    assert_eq!((found.slots, found.participation.decision), (0b11_1000, Decision::Undecided));
    assert_eq!(found.participation.reporters, members(ALL));
}

#[test]
fn f_liars_frame_nobody_and_shield_nobody() {
    // Members 0 and 2 have 9 shards each, which is f: once as liars, once as the one that is away.
    for (liar, other) in [(0, 2), (2, 0)] {
        let honest: Vec<usize> = ALL.iter().copied().filter(|at| *at != liar).collect();
        let framed = of(&uneven(), honest.iter().map(|at| (*at, saw(&ALL))).chain([(liar, saw(&[liar]))]));
        assert_eq!(framed.participation.answered, members(ALL));
        // The liar is away itself and has a friend of one shard less than would do.
        let friends = [(other, saw(&[other]))];
        let rest = honest.iter().filter(|at| **at != other).map(|at| (*at, saw(&honest)));
        let shielded = of(&uneven(), rest.chain(friends));
        assert!(!shielded.participation.answered.contains(MemberIndex(liar as u16)));
    }
}

#[test]
fn service_is_the_lower_median_of_what_reporters_saw() {
    let reports = ALL.map(|at| {
        let mut report = saw(&ALL);
        // Of member 6: 3, 6, 9, 12, 15 and 18 of 18 in time.
        report.passed[6] = (at as u16 + 1) * 3;
        (at, report)
    });
    let found = of(&genesis(), reports);
    assert_eq!(found.members[6].service, Some(Reliability::ratio(9, 18)));
    assert_eq!((found.members[6].good, found.members[0].good), (6 * 9, 18 * 6));
    let nobody = of(&genesis(), [(6, saw(&ALL))]);
    assert_eq!((nobody.members[6].service, nobody.members[6].good), (None, 0));
    // Who asked in half of the slots saw half of what could be seen.
    let mut half = saw(&ALL);
    half.held[..3].iter_mut().for_each(|said| *said = None);
    half.passed[6] = 9;
    assert_eq!(of(&genesis(), [(0, half)]).members[6].service, Some(Reliability::FULL));
}

#[test]
fn a_sample_is_missing_when_enough_asked_again_and_too_few_were_shown_it() {
    let aim = Aim { slot: Slot(2), target: MemberIndex(6), at: 0 };
    let tag = Question::Presence.tag();
    // Member 0 accuses; these speak of it, and the ones named second were shown it.
    let say = |spoke: &[usize], shown: &[usize]| {
        let reports = ALL.map(|at| {
            let mut report = saw(&ALL);
            if at == 0 {
                report.accused = vec![(aim, tag)];
            }
            let said = if shown.contains(&at) { Said::Shown } else { Said::Missing };
            if spoke.contains(&at) {
                report.reasks = vec![ReAsk { slot: aim.slot, accuser: MemberIndex(0), tag, said }];
            }
            (at, report)
        });
        let found = of(&genesis(), reports).members[6];
        (found.missing, found.refuted)
    };
    // With the accuser and the target 20 shards spoke: n - f is 19.
    assert_eq!(say(&[1, 2, 3], &[]), (1, 0));
    assert_eq!(say(&[1, 2], &[]), (0, 0));
    // With the target 8 shards were shown it, then 12: f is 9.
    assert_eq!(say(&[1, 2, 3, 4, 5], &[1]), (1, 0));
    assert_eq!(say(&[1, 2, 3, 4, 5], &[1, 2]), (0, 1));
    // Nor does the target speak for itself.
    assert_eq!(say(&[1, 2, 6], &[6]), (0, 0));
    assert_eq!(say(&[1, 2, 3, 6], &[1, 6]), (1, 0));
}
