//! What comes from strangers, liars and broken wires is refused, and never brings the machine down.

#![allow(clippy::unwrap_used, clippy::panic)]

mod sim;

use bytes::Bytes;
use floe_consensus::{
    Certificate, CertificateError, DropReason, Effect, Equivocation, Error, Height, Input, Machine, Message, Round,
    Signature, SyncFault, Timer, TimerKind, Validator, ValidatorSet, Verdict,
};
use sim::{FIRST, NETWORK, World, config, key, set_of, signing_key, verdict};

fn valid(_: Height, value: &[u8]) -> Verdict {
    verdict(value)
}

fn decided() -> (Bytes, Certificate) {
    let mut world = World::new(1, 4);
    world.run_to(Height(1));
    let decision = world.nodes[0].decisions[&FIRST].clone();
    (decision.value, decision.certificate)
}

fn machine(who: usize) -> Machine {
    let mut machine = Machine::new(config(), Some(signing_key(who)));
    let start = Input::StartHeight { height: FIRST, validators: set_of(0..4) };
    machine.step(start, &mut valid).unwrap();
    machine
}

fn proposer() -> usize {
    (0..4).find(|who| set_of(0..4).proposer(FIRST, Round(0)).key == key(*who)).unwrap()
}

/// A prevote and the proposal it is for, of the first round.
fn messages(value: &str) -> Vec<Message> {
    let built = Input::ValueBuilt { height: FIRST, round: Round(0), value: value.to_owned().into() };
    let effects = machine(proposer()).step(built, &mut valid).unwrap();
    let messages = effects.into_iter().filter_map(|effect| match effect {
        Effect::Publish(message) => Some(message),
        _ => None,
    });
    messages.collect()
}

#[test]
fn bad_certificates_are_refused() {
    let set = set_of(0..4);
    let (_, good) = decided();
    assert_eq!(good.verify(&NETWORK, &set), Ok(()));

    let mut few = good.clone();
    few.signatures.truncate(2);
    assert_eq!(few.verify(&NETWORK, &set), Err(CertificateError::TooLittlePower { power: 2, needed: 3 }));

    let mut twice = good.clone();
    twice.signatures[1] = twice.signatures[0];
    let doubled = twice.signatures[0].0;
    assert_eq!(twice.verify(&NETWORK, &set), Err(CertificateError::DuplicateSigner { key: doubled }));

    let mut foreign = good.clone();
    foreign.signatures[0].0 = key(9);
    assert_eq!(foreign.verify(&NETWORK, &set), Err(CertificateError::UnknownSigner { key: key(9) }));

    let mut swapped = good.clone();
    let other = swapped.signatures[1].1;
    swapped.signatures[0].1 = other;
    assert!(matches!(swapped.verify(&NETWORK, &set), Err(CertificateError::BadSignature { .. })));

    assert!(matches!(good.verify(&[8; 32], &set), Err(CertificateError::BadSignature { .. })));

    // A set in which the same signers are too weak.
    let heavy = (0..4).map(|who| Validator { key: key(who), power: 1 });
    let heavy = heavy.chain([Validator { key: key(5), power: 9 }]).collect();
    let heavy = ValidatorSet::new(heavy).unwrap();
    assert!(matches!(good.verify(&NETWORK, &heavy), Err(CertificateError::TooLittlePower { .. })));

    for (what, changed) in [
        ("height", Certificate { height: Height(2), ..good.clone() }),
        ("round", Certificate { round: Round(1), ..good.clone() }),
        ("value", Certificate { value_id: floe_consensus::ValueId([0; 32]), ..good.clone() }),
        ("empty", Certificate { signatures: vec![], ..good.clone() }),
    ] {
        assert!(changed.verify(&NETWORK, &set).is_err(), "{what}");
    }
}

#[test]
fn every_cut_and_flipped_certificate_is_refused() {
    let set = set_of(0..4);
    let (_, good) = decided();
    let bytes = good.encode();
    assert_eq!(Certificate::decode(&bytes, bytes.len()).as_ref(), Ok(&good));
    assert!(Certificate::decode(&bytes, bytes.len() - 1).is_err());
    for cut in 0..bytes.len() {
        assert!(Certificate::decode(&bytes[..cut], 1 << 20).is_err());
    }
    let mut tail = bytes.clone();
    tail.push(0);
    assert!(Certificate::decode(&tail, 1 << 20).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(certificate) = Certificate::decode(&bytes, 1 << 20) {
            assert!(certificate.verify(&NETWORK, &set).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn no_cut_or_flipped_message_panics_or_makes_anyone_speak() {
    let listener = (proposer() + 1) % 4;
    for message in messages("good") {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes, bytes.len()).as_ref(), Ok(&message));
        for cut in 0..bytes.len() {
            assert!(Message::decode(&bytes[..cut], 1 << 20).is_err());
        }
        let mut machine = machine(listener);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = Message::decode(&bytes, 1 << 20) {
                let effects = machine.step(Input::Message(message), &mut valid).unwrap();
                let quiet = effects.iter().all(|effect| matches!(effect, Effect::Dropped(_)));
                assert!(quiet, "bit {bit}: {effects:?}");
            }
        }
    }
}

#[test]
fn messages_are_dropped_for_the_stated_reason() {
    let listener = (proposer() + 1) % 4;
    let messages = messages("good");
    let dropped = |machine: &mut Machine, message: &Message| match &machine
        .step(Input::Message(message.clone()), &mut valid)
        .unwrap()[..]
    {
        [Effect::Dropped(reason)] => Some(*reason),
        _ => None,
    };
    for message in &messages {
        let mut idle = Machine::new(config(), None);
        assert_eq!(dropped(&mut idle, message), Some(DropReason::Stale));

        let mut elsewhere = Machine::new(config(), None);
        let start = Input::StartHeight { height: FIRST, validators: set_of(4..8) };
        elsewhere.step(start, &mut valid).unwrap();
        assert_eq!(dropped(&mut elsewhere, message), Some(DropReason::Stranger));

        let mut other_network = config();
        other_network.network = [8; 32];
        let mut abroad = Machine::new(other_network, None);
        abroad.step(Input::StartHeight { height: FIRST, validators: set_of(0..4) }, &mut valid).unwrap();
        assert_eq!(dropped(&mut abroad, message), Some(DropReason::BadSignature));

        let mut later = Machine::new(config(), None);
        later.step(Input::StartHeight { height: Height(2), validators: set_of(0..4) }, &mut valid).unwrap();
        assert_eq!(dropped(&mut later, message), Some(DropReason::Stale));
    }
    let mut small = config();
    small.value_bytes_max = 3;
    let mut narrow = Machine::new(small, Some(signing_key(listener)));
    narrow.step(Input::StartHeight { height: FIRST, validators: set_of(0..4) }, &mut valid).unwrap();
    assert_eq!(dropped(&mut narrow, &messages[1]), Some(DropReason::WrongValue));
}

/// A vote of the first proposer for this height: nil, after it waited in vain.
fn vote_at(height: Height) -> Message {
    let mut voter = Machine::new(config(), Some(signing_key(proposer())));
    voter.step(Input::StartHeight { height, validators: set_of(0..4) }, &mut valid).unwrap();
    let timer = Timer { height, round: Round(0), kind: TimerKind::Propose };
    let effects = voter.step(Input::TimerFired(timer), &mut valid).unwrap();
    let vote = effects.into_iter().find_map(|effect| match effect {
        Effect::Publish(message) => Some(message),
        _ => None,
    });
    vote.unwrap()
}

#[test]
fn messages_for_the_next_heights_wait_and_those_far_ahead_do_not() {
    for (ahead, kept) in [(1, true), (4, true), (5, false), (u64::MAX - 1, false)] {
        let height = Height(1 + ahead);
        let behind = Effect::Behind { height };
        let mut machine = machine((proposer() + 1) % 4);
        let effects = machine.step(Input::Message(vote_at(height)), &mut valid).unwrap();
        let again = machine.step(Input::Message(vote_at(height)), &mut valid).unwrap();
        if kept {
            assert_eq!(effects, [behind]);
            assert_eq!(again, []);
        } else {
            assert_eq!(effects, [behind, Effect::Dropped(DropReason::FarAhead)]);
        }
    }
}

#[test]
fn one_sender_has_a_small_share_of_the_backlog() {
    let mut small = config();
    small.backlog_messages_per_sender_max = 0;
    let mut machine = Machine::new(small, None);
    machine.step(Input::StartHeight { height: FIRST, validators: set_of(0..4) }, &mut valid).unwrap();
    let effects = machine.step(Input::Message(vote_at(Height(2))), &mut valid).unwrap();
    assert_eq!(effects, [Effect::Dropped(DropReason::Full)]);
}

#[test]
fn bad_catch_up_is_refused_and_names_the_fault() {
    let (value, certificate) = decided();
    let synced = |height, value: &Bytes, certificate: &Certificate| Input::Synced {
        height,
        value: value.clone(),
        certificate: certificate.clone(),
    };
    let fault_of = |input, check: fn(Height, &[u8]) -> Verdict| match &machine(0).step(input, &mut { check }).unwrap()[..]
    {
        [Effect::SyncRefused { fault, .. }] => Some(*fault),
        _ => None,
    };
    assert_eq!(fault_of(synced(FIRST, &value, &certificate), valid), None);
    assert_eq!(fault_of(synced(Height(2), &value, &certificate), valid), Some(SyncFault::NotWanted));
    assert_eq!(fault_of(synced(FIRST, &"other".into(), &certificate), valid), Some(SyncFault::Mismatch));
    let invalid = |_: Height, _: &[u8]| Verdict::Invalid;
    assert_eq!(fault_of(synced(FIRST, &value, &certificate), invalid), Some(SyncFault::InvalidValue));
    let mut forged = certificate.clone();
    forged.signatures[0].1 = Signature([1; 64]);
    assert!(matches!(fault_of(synced(FIRST, &value, &forged), valid), Some(SyncFault::Certificate(_))));

    // What decides is the last effect, and once only.
    let mut machine = machine(0);
    let effects = machine.step(synced(FIRST, &value, &certificate), &mut valid).unwrap();
    assert!(matches!(&effects[..], [Effect::CancelAllTimers, Effect::Decided { .. }]));
    let again = machine.step(synced(FIRST, &value, &certificate), &mut valid).unwrap();
    assert_eq!(again, [Effect::SyncRefused { height: FIRST, fault: SyncFault::NotWanted }]);
}

#[test]
fn callers_mistakes_change_nothing() {
    let mut machine = machine(proposer());
    let start = Input::StartHeight { height: FIRST, validators: set_of(0..4) };
    let error = Error::HeightNotAbove { height: FIRST, current: FIRST };
    assert_eq!(machine.step(start, &mut valid), Err(error));
    assert_eq!(machine.start_replayed(FIRST, set_of(0..4), vec![]), Err(Error::AlreadyStarted));
    let built = |value: Vec<u8>| Input::ValueBuilt { height: FIRST, round: Round(0), value: value.into() };
    let error = Error::ValueTooLong { length: 5000, max: 4096 };
    assert_eq!(machine.step(built(vec![0; 5000]), &mut valid), Err(error));
    assert_eq!(machine.step(built(b"bad".to_vec()), &mut valid), Err(Error::OwnValueInvalid { height: FIRST }));
    let effects = machine.step(built(b"good".to_vec()), &mut valid).unwrap();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Publish(_))));
    // It was answered; a second answer is too late.
    assert_eq!(machine.step(built(b"else".to_vec()), &mut valid), Ok(vec![]));
}

#[test]
fn every_publish_stands_after_its_journal_entry() {
    let built = Input::ValueBuilt { height: FIRST, round: Round(0), value: "good".into() };
    let effects = machine(proposer()).step(built, &mut valid).unwrap();
    let kinds: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Journal(_) => Some('j'),
            Effect::Publish(_) => Some('p'),
            _ => None,
        })
        .collect();
    // Value, proposal and prevote are journaled before prevote and proposal are sent.
    assert_eq!(kinds, ['j', 'j', 'j', 'p', 'p']);
}

#[test]
fn equivocations_survive_the_wire_and_no_flip_makes_another() {
    let mut world = World::new(0, 4);
    let twin = world.add(3, false);
    world.nodes[3].audience = Some(vec![0, 2]);
    world.nodes[twin].audience = Some(vec![1, 2]);
    world.run_to(Height(30));
    let found = world.nodes[..3].iter().flat_map(|node| node.decisions.values());
    let evidence: Vec<_> = found.flat_map(|decision| decision.equivocations.clone()).collect();
    assert!(!evidence.is_empty());
    let bytes = evidence[0].encode();
    assert_eq!(Equivocation::decode(&bytes), Ok(evidence[0]));
    for cut in 0..bytes.len() {
        assert!(Equivocation::decode(&bytes[..cut]).is_err());
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(forged) = Equivocation::decode(&bytes) {
            assert!(!forged.verify(&NETWORK), "bit {bit}");
        }
    }
}

#[test]
fn machine_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Machine>();
}
