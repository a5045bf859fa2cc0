//! An upload alone: its path step by step, then a driver with holders that are slow, absent, busy or liars.

use super::*;
use crate::testing::{Chance, Ledger, bls_key, node};
use crate::wire::fragment::Refusal;
use floe_ledger::MemberSet;
use floe_types::bls::verify_aggregate;
use floe_types::{BlobId, RegistrationNumber, SequenceNumber};
use std::collections::BTreeSet;

const BLOB: BlobId = BlobId([9; 32]);

fn sign(ledger: &Ledger, seed: u8, registration: RegistrationNumber) -> BlsSignature {
    let (network, term) = (ledger.network(), ledger.committee.term());
    let statement = ConfirmationStatement { network, term, registration, blob: BLOB };
    bls_key(seed).sign(&statement.message())
}

/// An upload whose blob is registered, and the effects of that.
fn sending(members: u8, shards: u16) -> (Upload, Ledger, RegistrationNumber, Vec<Effect>) {
    let mut ledger = Ledger::new(members, shards);
    let mut upload = Upload::new(Config::default(), 1);
    assert_eq!(upload.step(0, &ledger, Input::Started), [Effect::Encode]);
    let encoded = upload.step(5, &ledger, Input::Encoded { blob: BLOB, blob_bytes: 1_000 });
    assert_eq!(encoded, [Effect::SubmitRegister { blob: BLOB, blob_bytes: 1_000 }]);
    let registration = ledger.register(BLOB, 1_000, 5);
    let effects = upload.step(100, &ledger, Input::Registered { registration });
    (upload, ledger, registration, effects)
}

fn stored(shard: ShardIndex) -> Input {
    Input::StoreEnded { shard, outcome: Outcome::Done(()) }
}

fn opened(effects: &[Effect]) -> Vec<ShardIndex> {
    let shard = |effect: &Effect| match effect {
        Effect::OpenStore { shard, .. } => Some(*shard),
        _ => None,
    };
    effects.iter().filter_map(shard).collect()
}

/// Stores everything at the members with these seeds and lets them confirm. Gives the last effects.
fn confirm(upload: &mut Upload, ledger: &Ledger, now: u64, seeds: std::ops::RangeInclusive<u8>) -> Vec<Effect> {
    let mut last = Vec::new();
    for seed in seeds {
        let index = ledger.committee.index_of(&node(seed)).unwrap();
        for shard in ledger.committee.member(index).unwrap().shards.clone() {
            last = upload.step(now, ledger, stored(shard));
        }
        assert!(matches!(last[..], [.., Effect::RequestConfirm { .. }]), "{last:?}");
        let outcome = Outcome::Done(sign(ledger, seed, RegistrationNumber(1)));
        last = upload.step(now, ledger, Input::ConfirmEnded { member: node(seed), outcome });
    }
    last
}

fn certificate(effects: &[Effect]) -> Option<(&MemberSet, &BlsSignature)> {
    effects.iter().find_map(|effect| match effect {
        Effect::SubmitCertify { members, signature, .. } => Some((members, signature)),
        _ => None,
    })
}

#[test]
fn fragments_are_offered_one_shard_of_each_holder_after_the_other() {
    let (_, ledger, registration, effects) = sending(7, 28);
    let record = UploadRecord { blob: BLOB, blob_bytes: 1_000, registration, certified_in: None };
    assert_eq!(effects[0], Effect::Save { record });
    let shards = opened(&effects);
    assert_eq!(shards[..8].iter().map(|shard| shard.0).collect::<Vec<_>>(), [0, 4, 8, 12, 16, 20, 24, 1]);
    assert_eq!(shards.len(), 28);
    assert_eq!(ledger.committee.members().len(), 7);
}

#[test]
fn a_healthy_network_is_certified_whole_and_at_once() {
    let (mut upload, mut ledger, registration, _) = sending(7, 28);
    let effects = confirm(&mut upload, &ledger, 110, 1..=7);
    let (members, signature) = certificate(&effects).expect("everybody confirmed");
    assert_eq!(members.len(), 7);
    let keys: Vec<_> = (1..=7).map(|seed| bls_key(seed).public()).collect();
    let statement = ConfirmationStatement { network: ledger.network(), term: 1, registration, blob: BLOB };
    assert_eq!(verify_aggregate(&keys, &statement.message(), signature), Ok(()));

    let all: Vec<_> = (0..7).map(MemberIndex).collect();
    ledger.certify(registration, &all);
    let effects = upload.step(150, &ledger, Input::LedgerAdvanced);
    let record = UploadRecord { blob: BLOB, blob_bytes: 1_000, registration, certified_in: Some(Epoch(1)) };
    let certified = Effect::Certified { sequence: SequenceNumber(0) };
    assert_eq!(effects, [Effect::Save { record }, certified, Effect::Finished { undelivered: vec![] }]);
    assert_eq!((upload.phase(), upload.wake_at()), (Phase::Ended, None));
}

#[test]
fn a_silent_holder_costs_the_grace_and_no_more() {
    let (mut upload, ledger, ..) = sending(7, 28);
    assert_eq!(certificate(&confirm(&mut upload, &ledger, 140, 1..=4)), None, "16 of 19 shards");
    assert_eq!(certificate(&confirm(&mut upload, &ledger, 140, 5..=5)), None, "20 shards, and two members are awaited");
    // The first 20 shards took 40 ms since sending began at 100.
    assert_eq!(upload.wake_at(), Some(140 + 50 + 20));
    assert_eq!(certificate(&upload.step(209, &ledger, Input::Tick)), None);
    assert_eq!(certificate(&upload.step(210, &ledger, Input::Tick)).map(|(members, _)| members.len()), Some(5));
}

#[test]
fn holders_that_cannot_be_reached_are_not_waited_for() {
    let (mut upload, ledger, ..) = sending(7, 28);
    for shard in 20..28 {
        let input = Input::StoreEnded { shard: ShardIndex(shard), outcome: Outcome::Broken };
        upload.step(101, &ledger, input);
    }
    let effects = confirm(&mut upload, &ledger, 102, 1..=5);
    assert!(certificate(&effects).is_some());
}

#[test]
fn a_confirmation_of_something_else_is_named_and_asked_for_again() {
    let (mut upload, ledger, registration, _) = sending(7, 28);
    for shard in 0..4 {
        upload.step(100, &ledger, stored(ShardIndex(shard)));
    }
    let wrong = [sign(&ledger, 2, registration), sign(&ledger, 1, RegistrationNumber(2)), BlsSignature([0; 96])];
    for (round, signature) in wrong.into_iter().enumerate() {
        let now = 100 + round as u64 * 1_000;
        upload.step(now, &ledger, Input::Tick);
        let input = Input::ConfirmEnded { member: node(1), outcome: Outcome::Done(signature) };
        let effects = upload.step(now, &ledger, input);
        assert_eq!(effects[0], Effect::Misbehaved { member: node(1) });
        assert_eq!(upload.progress().1, 0);
    }
    let effects = upload.step(9_000, &ledger, Input::Tick);
    assert!(effects.contains(&Effect::RequestConfirm { member: node(1), registration }));
}

#[test]
fn late_holders_are_sent_to_for_an_epoch() {
    let (mut upload, mut ledger, registration, _) = sending(7, 28);
    confirm(&mut upload, &ledger, 110, 1..=6);
    ledger.certify(registration, &[]);
    upload.step(200, &ledger, Input::LedgerAdvanced);
    assert_eq!(upload.phase(), Phase::Finishing);
    upload.step(300, &ledger, Input::StoreEnded { shard: ShardIndex(24), outcome: Outcome::Broken });
    let effects = upload.step(1_000, &ledger, Input::Tick);
    assert!(opened(&effects).contains(&ShardIndex(24)), "offered again: {effects:?}");
    ledger.epoch = Epoch(2);
    assert_eq!(upload.step(1_100, &ledger, stored(ShardIndex(24))), [], "no confirmation is asked for any more");
    ledger.epoch = Epoch(3);
    let undelivered = vec![ShardIndex(25), ShardIndex(26), ShardIndex(27)];
    assert_eq!(upload.step(1_200, &ledger, Input::LedgerAdvanced), [Effect::Finished { undelivered }]);
}

#[test]
fn a_blob_that_is_defended_already_needs_no_fragments() {
    let mut ledger = Ledger::new(7, 28);
    let mut upload = Upload::new(Config::default(), 1);
    upload.step(0, &ledger, Input::Started);
    upload.step(5, &ledger, Input::Encoded { blob: BLOB, blob_bytes: 1_000 });
    let registration = ledger.register(BLOB, 1_000, 5);
    ledger.certify(registration, &[]);
    let effects = upload.step(9, &ledger, Input::Registered { registration });
    assert!(effects.contains(&Effect::Certified { sequence: SequenceNumber(0) }));
}

#[test]
fn an_upload_that_cannot_be_certified_ends_and_says_why() {
    let failure = |effects: &[Effect]| match effects {
        [.., Effect::Failed { failure }] => Some(failure.clone()),
        _ => None,
    };
    let (mut upload, mut ledger, ..) = sending(7, 28);
    confirm(&mut upload, &ledger, 110, 1..=4);
    let effects = upload.step(600_100, &ledger, Input::Tick);
    assert_eq!(failure(&effects), Some(Failure::TooFew { confirmed: 16, needed: 19 }));
    assert_eq!(upload.step(600_101, &ledger, Input::Tick), []);

    let (mut upload, ..) = sending(7, 28);
    ledger.epoch = Epoch(3);
    assert_eq!(failure(&upload.step(200, &ledger, Input::LedgerAdvanced)), Some(Failure::Lapsed));

    let (mut upload, ledger, ..) = sending(7, 28);
    let mut last = Vec::new();
    for shard in [0, 4, 8] {
        let outcome = Outcome::Refused { reason: Refusal::BadFragment, retry_after_millis: None };
        last = upload.step(200, &ledger, Input::StoreEnded { shard: ShardIndex(shard), outcome });
    }
    assert_eq!(failure(&last), Some(Failure::Refused { refused: 12, reason: Refusal::BadFragment }));
}

#[test]
fn a_certificate_that_got_lost_is_submitted_again() {
    let (mut upload, ledger, ..) = sending(7, 28);
    assert!(certificate(&confirm(&mut upload, &ledger, 110, 1..=7)).is_some());
    assert_eq!(upload.step(10_109, &ledger, Input::Tick), []);
    assert!(certificate(&upload.step(10_110, &ledger, Input::Tick)).is_some());
    upload.step(10_200, &ledger, Input::CertifyFailed { reason: "mempool full".to_owned() });
    assert!(certificate(&upload.step(11_200, &ledger, Input::Tick)).is_some());
}

#[test]
fn a_new_term_voids_confirmations_and_moves_shards() {
    let (mut upload, mut ledger, registration, _) = sending(7, 28);
    confirm(&mut upload, &ledger, 110, 1..=5);
    ledger.committee = crate::testing::committee(4, 28, 2);
    let effects = upload.step(120, &ledger, Input::LedgerAdvanced);
    assert_eq!(upload.progress().1, 0);
    // The first four shards stay with their holder; it has three more to take before it is asked again.
    assert!(!opened(&effects).contains(&ShardIndex(0)) && opened(&effects).contains(&ShardIndex(4)));
    assert_eq!(certificate(&upload.step(5_000, &ledger, Input::Tick)), None);
    let mut open: BTreeSet<ShardIndex> = upload.stores.keys().copied().collect();
    let mut confirms = BTreeSet::new();
    let mut last = Vec::new();
    while let Some(shard) = open.pop_first() {
        last = upload.step(5_001, &ledger, stored(shard));
        for effect in &last {
            if let Effect::RequestConfirm { member, .. } = effect {
                confirms.insert(*member);
            }
        }
    }
    drop(last);
    for (seed, member) in (1..=4).map(|seed| (seed, node(seed))) {
        assert!(confirms.contains(&member));
        let outcome = Outcome::Done(sign(&ledger, seed, registration));
        let effects = upload.step(5_002, &ledger, Input::ConfirmEnded { member, outcome });
        assert_eq!(certificate(&effects).is_some(), seed == 4);
    }
}

/// Holders by seed, each with its manner, and the ledger that certifies: the other side of an upload.
struct World {
    ledger: Ledger,
    held: BTreeSet<ShardIndex>,
    now: u64,
    chance: Chance,
    certified_at: Option<u64>,
    ended: Option<Effect>,
    open: Vec<Effect>,
    in_flight: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    Flaky,
    Absent,
    Liar,
}

impl World {
    fn manner(seed: u64, member: &NodeId) -> Manner {
        // Two of seven members are not good: eight of 28 shards, within f.
        match u64::from(member.0[0]) {
            m if m == seed % 7 + 1 => Manner::Absent,
            m if m == (seed / 7 + 3) % 7 + 1 => Manner::Liar,
            m if m % 2 == 0 => Manner::Flaky,
            _ => Manner::Good,
        }
    }

    fn take(&mut self, upload: &Upload, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SubmitCertify { members, signature, registration, .. } => {
                    assert!(self.ledger.committee.shards_of(members.iter()) >= 19, "UP-1");
                    let committee = &self.ledger.committee;
                    let keys: Vec<_> = members.iter().map(|index| committee.member(index).unwrap().bls_key).collect();
                    let (network, term) = (self.ledger.network(), committee.term());
                    let statement = ConfirmationStatement { network, term, registration, blob: BLOB };
                    assert_eq!(verify_aggregate(&keys, &statement.message(), &signature), Ok(()), "UP-1");
                    if self.chance.in_hundred(70) && self.ledger.blobs.is_empty() {
                        self.ledger.certify(registration, &members.iter().collect::<Vec<_>>());
                    }
                }
                Effect::CancelStore { shard } => {
                    self.open.retain(|open| !matches!(open, Effect::OpenStore { shard: of, .. } if *of == shard));
                }
                Effect::CancelConfirm { member } => {
                    self.open
                        .retain(|open| !matches!(open, Effect::RequestConfirm { member: of, .. } if *of == member));
                }
                Effect::Certified { .. } => self.certified_at = Some(self.now),
                Effect::Finished { .. } | Effect::Failed { .. } => self.ended = Some(effect),
                Effect::OpenStore { .. } | Effect::RequestConfirm { .. } => self.open.push(effect),
                _ => {}
            }
        }
        self.in_flight = self.open.len();
        assert!(self.in_flight <= upload.config.streams_max, "UP-2");
        for seed in 1..=7 {
            let with = |effect: &&Effect| match effect {
                Effect::OpenStore { member, .. } | Effect::RequestConfirm { member, .. } => *member == node(seed),
                _ => false,
            };
            assert!(self.open.iter().filter(with).count() <= upload.config.streams_per_holder_max, "UP-2");
        }
    }

    fn answer(&mut self, seed: u64, effect: Effect) -> Option<Input> {
        let (Effect::OpenStore { member, .. } | Effect::RequestConfirm { member, .. }) = &effect else { return None };
        let manner = World::manner(seed, member);
        let fails = manner == Manner::Flaky && self.chance.in_hundred(40);
        let failures = [
            Some(Outcome::Busy { retry_after_millis: 250 }),
            Some(Outcome::Refused { reason: Refusal::StoreFailed, retry_after_millis: Some(100) }),
            None,
        ];
        let drawn = failures[self.chance.below(3) as usize].clone();
        match effect {
            _ if manner == Manner::Absent => None,
            Effect::OpenStore { shard, .. } if fails => {
                Some(Input::StoreEnded { shard, outcome: drawn.unwrap_or(Outcome::Broken) })
            }
            Effect::OpenStore { shard, .. } => {
                self.held.insert(shard);
                Some(stored(shard))
            }
            Effect::RequestConfirm { member, .. } if fails => {
                Some(Input::ConfirmEnded { member, outcome: Outcome::Broken })
            }
            Effect::RequestConfirm { member, registration } => {
                let claimed = if manner == Manner::Liar { RegistrationNumber(77) } else { registration };
                let outcome = Outcome::Done(sign(&self.ledger, member.0[0], claimed));
                Some(Input::ConfirmEnded { member, outcome })
            }
            _ => None,
        }
    }
}

/// Runs an upload to its end, restarting it from its record once when `restart_at` says so.
fn run(seed: u64, restart_at: Option<usize>) -> World {
    let config = Config { streams_max: 6, streams_per_holder_max: 2, ..Config::default() };
    let mut ledger = Ledger::new(7, 28);
    let registration = ledger.register(BLOB, 1_000, 5);
    let mut record = UploadRecord { blob: BLOB, blob_bytes: 1_000, registration, certified_in: None };
    let mut upload = Upload::resume(config.clone(), seed, record);
    let mut world = World {
        ledger,
        held: BTreeSet::new(),
        now: 0,
        chance: Chance(seed),
        certified_at: None,
        ended: None,
        open: Vec::new(),
        in_flight: 0,
    };
    let mut pending = vec![Input::Started];
    for turn in 0..20_000 {
        if restart_at == Some(turn) {
            upload = Upload::resume(config.clone(), seed + 1, record);
            world.open.clear();
            pending = vec![Input::Started];
        }
        let input = pending.pop().unwrap_or(Input::Tick);
        let effects = upload.step(world.now, &world.ledger, input);
        for effect in &effects {
            if let Effect::Save { record: saved } = effect {
                record = *saved;
            }
        }
        world.take(&upload, effects);
        if world.ended.is_some() {
            return world;
        }
        if world.chance.in_hundred(80)
            && let Some(effect) = world.chance.take(&mut world.open)
        {
            match world.answer(seed, effect.clone()) {
                Some(input) => pending.push(input),
                None => world.open.push(effect),
            }
        }
        world.now += world.chance.below(40);
        if let (true, Some(at)) = (turn % 16 == 0, upload.wake_at()) {
            world.now = world.now.max(at);
        }
        let epoch = 1 + world.certified_at.map_or(0, |at| (world.now - at) / 60_000);
        world.ledger.epoch = Epoch(epoch);
    }
    panic!("seed {seed} did not end in {:?}", upload.phase());
}

#[test]
fn every_upload_within_f_is_certified_and_every_good_holder_served() {
    for seed in 0..21 {
        for restart_at in [None, Some(40), Some(150)] {
            let world = run(seed, restart_at);
            assert!(world.certified_at.is_some(), "seed {seed}, restart {restart_at:?}: {:?}", world.ended);
            for member in world.ledger.committee.members() {
                if World::manner(seed, &member.node) == Manner::Good {
                    assert!(member.shards.iter().all(|shard| world.held.contains(shard)), "seed {seed}");
                }
            }
        }
    }
}

#[test]
fn equal_seeds_wait_equally_and_within_bounds() {
    let config = Config::default();
    for attempts in 0..40 {
        for what in 0..28 {
            let wait = config.backoff(5, what, attempts);
            assert_eq!(wait, config.backoff(5, what, attempts));
            assert!(wait >= config.backoff_millis_min / 2 && wait <= config.backoff_millis_max);
        }
    }
}
