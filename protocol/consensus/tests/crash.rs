//! A validator that falls, at any moment, rises from its journal without ever contradicting itself.

#![allow(clippy::unwrap_used, clippy::panic)]

mod sim;

use floe_consensus::{
    Effect, Error, Height, Input, JournalEntry, Machine, Message, Round, Step, Timer, TimerKind, Verdict,
};
use sim::{FIRST, Luck, World, config, key, set_of, signing_key, verdict};

/// The world's log panics on two different statements of one key, so that getting through is the assertion.
#[test]
fn a_crash_before_any_effect_is_survived_without_signing_twice() {
    let mut fallen = 0;
    for falls_at in 1..=140 {
        let mut world = World::new(falls_at, 4);
        world.nodes[1].falls_at = Some(falls_at);
        world.run_to(Height(6));
        fallen += world.nodes[1].lives;
    }
    // Six heights have about 22 effects each.
    assert!(fallen > 110, "only {fallen} crashes happened");
}

#[test]
fn crashes_with_loss_and_failed_rounds_are_survived() {
    for falls_at in (1..=400).step_by(7) {
        let mut world = World::new(falls_at, 4);
        world.loss_percent = 20;
        world.nodes[1].falls_at = Some(falls_at);
        world.nodes[2].falls_at = Some(falls_at + 3);
        world.run_to(Height(8));
    }
}

#[test]
fn all_fall_at_once_and_go_on() {
    for falls_at in 1..=60 {
        let mut world = World::new(falls_at, 4);
        for node in &mut world.nodes {
            node.falls_at = Some(falls_at);
        }
        world.run_to(Height(4));
    }
}

fn valid(_: Height, value: &[u8]) -> Verdict {
    verdict(value)
}

/// Whether `who` proposes round 0 of the first height.
fn is_first_proposer(who: usize) -> bool {
    set_of(0..4).proposer(FIRST, Round(0)).key == key(who)
}

fn start(who: usize) -> (Machine, Vec<Effect>) {
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let start = Input::StartHeight { height: FIRST, validators: set_of(0..4) };
    let effects = machine.step(start, &mut valid).unwrap();
    (machine, effects)
}

fn published(effects: &[Effect]) -> Vec<Message> {
    let messages = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(message) => Some(message.clone()),
        _ => None,
    });
    messages.collect()
}

fn journaled(effects: &[Effect]) -> Vec<JournalEntry> {
    let entries = effects.iter().filter_map(|effect| match effect {
        Effect::Journal(entry) => Some(entry.clone()),
        _ => None,
    });
    entries.collect()
}

/// What the first proposer says when asked for a value.
fn first_proposal() -> Vec<Message> {
    let proposer = (0..4).find(|who| is_first_proposer(*who)).unwrap();
    let (mut machine, _) = start(proposer);
    let built = Input::ValueBuilt { height: FIRST, round: Round(0), value: "good".into() };
    published(&machine.step(built, &mut valid).unwrap())
}

/// The journal of a validator that prevoted the first proposal, and that of one that waited in vain.
fn two_histories(who: usize) -> (Vec<JournalEntry>, Vec<JournalEntry>) {
    let (mut machine, _) = start(who);
    let mut voted = vec![];
    for message in first_proposal() {
        voted.extend(journaled(&machine.step(Input::Message(message), &mut valid).unwrap()));
    }
    let (mut machine, _) = start(who);
    let timer = Timer { height: FIRST, round: Round(0), kind: TimerKind::Propose };
    let waited = journaled(&machine.step(Input::TimerFired(timer), &mut valid).unwrap());
    (voted, waited)
}

fn listener() -> usize {
    (0..4).find(|who| !is_first_proposer(*who)).unwrap()
}

#[test]
fn replay_repeats_what_was_said_and_journals_nothing_anew() {
    let who = listener();
    let (voted, _) = two_histories(who);
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let effects = machine.start_replayed(FIRST, set_of(0..4), voted).unwrap();
    assert_eq!(published(&effects).len(), 1);
    assert!(journaled(&effects).is_empty());
}

#[test]
fn replay_that_derives_another_vote_is_reported_and_stops_the_machine() {
    let who = listener();
    let (voted, waited) = two_histories(who);
    // The proposal is gone from the journal and a timer ran out instead, but the vote for the proposal is there.
    let history = vec![waited[0].clone(), voted.last().unwrap().clone()];
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let error = machine.start_replayed(FIRST, set_of(0..4), history).unwrap_err();
    assert_eq!(error, Error::ReplayDiverged { height: FIRST, round: Round(0), step: Step::Prevote });
    let start = Input::StartHeight { height: Height(2), validators: set_of(0..4) };
    assert_eq!(machine.step(start, &mut valid), Err(Error::Stopped));
}

#[test]
fn an_entry_that_does_not_decode_is_named() {
    let who = listener();
    let (mut entries, _) = two_histories(who);
    entries[1].bytes = entries[1].bytes.slice(..5);
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let error = machine.start_replayed(FIRST, set_of(0..4), entries).unwrap_err();
    assert_eq!(error, Error::JournalMalformed { index: 1 });
}

#[test]
fn left_over_entries_are_passed_over_and_later_ones_refused() {
    let who = listener();
    let (entries, _) = two_histories(who);
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let effects = machine.start_replayed(Height(2), set_of(0..4), entries.clone()).unwrap();
    assert!(published(&effects).is_empty());

    let later = entries.iter().map(|entry| JournalEntry { height: Height(3), bytes: entry.bytes.clone() });
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let error = machine.start_replayed(Height(2), set_of(0..4), later.collect()).unwrap_err();
    assert_eq!(error, Error::JournalCorrupt { index: 0 });
}

#[test]
fn no_flipped_bit_in_the_journal_panics_or_changes_what_is_said() {
    let who = listener();
    let (entries, _) = two_histories(who);
    let mut truth = Machine::new(config(), Some(signing_key(who)));
    let truth = published(&truth.start_replayed(FIRST, set_of(0..4), entries.clone()).unwrap());
    for (index, entry) in entries.iter().enumerate() {
        for bit in 0..entry.bytes.len() * 8 {
            let mut bytes = entry.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut entries = entries.clone();
            entries[index].bytes = bytes.into();
            let mut machine = Machine::new(config(), Some(signing_key(who)));
            if let Ok(effects) = machine.start_replayed(FIRST, set_of(0..4), entries) {
                for message in published(&effects) {
                    assert!(truth.contains(&message), "entry {index} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn a_validator_without_its_journal_does_not_contradict_what_it_hears_itself_say() {
    let who = listener();
    let (mut machine, _) = start(who);
    let mut said = vec![];
    for message in first_proposal() {
        said.extend(published(&machine.step(Input::Message(message), &mut valid).unwrap()));
    }
    assert_eq!(said.len(), 1);

    // It comes back with nothing, hears its own vote from a friend, and then would vote nil.
    let (mut machine, _) = start(who);
    machine.step(Input::Message(said.remove(0)), &mut valid).unwrap();
    let timer = Timer { height: FIRST, round: Round(0), kind: TimerKind::Propose };
    let error = machine.step(Input::TimerFired(timer), &mut valid).unwrap_err();
    assert!(matches!(error, Error::WouldEquivocate { .. }), "{error}");
    assert_eq!(machine.step(Input::TimerFired(timer), &mut valid), Err(Error::Stopped));
}

#[test]
fn many_random_falls_are_survived() {
    let mut luck = Luck::new(77);
    for seed in 0..12 {
        let mut world = World::new(seed, 4);
        world.loss_percent = 5;
        for _ in 0..6 {
            let node = luck.below(4) as usize;
            world.nodes[node].falls_at = Some(luck.below(500));
        }
        world.run_to(Height(15));
    }
}
