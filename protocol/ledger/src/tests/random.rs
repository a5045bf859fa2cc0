//! Random blocks: the sum is kept, the twin agrees, nothing panics. What is checked is in [`World::block`] and after it.

use super::fixture::*;
use super::model::Model;
use super::net::*;
use crate::coverage::Run;
use crate::*;
use floe_types::params::challenges_per_slot;
use floe_types::{Epoch, Frost, RegistrationNumber, SequenceNumber};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Deed {
    Transfer {
        from: u8,
        to: u8,
        amount: u64,
    },
    Register {
        by: u8,
        blob: u8,
        length: u64,
        late: u64,
        epochs: u64,
        price_max: u64,
    },
    Certify {
        registration: u64,
        blob: u8,
        places: Vec<usize>,
    },
    Attest {
        at: usize,
        first: u64,
        count: u64,
    },
    Withdraw {
        at: usize,
        first: u64,
        count: u64,
    },
    Extend {
        by: u8,
        registration: u64,
        more: u64,
        price_max: u64,
    },
    Delete {
        by: u8,
        registration: u64,
    },
    Renew {
        by: u8,
        registration: u64,
        budget: u64,
    },
    Offer {
        at: usize,
        price: u64,
    },
    Report {
        at: usize,
        answered: Vec<usize>,
        late: u64,
    },
    Join {
        seed: u8,
        stake: u64,
    },
    Stake {
        seed: u8,
        by: u8,
        change: StakeChange,
    },
    Leave {
        seed: u8,
        by: u8,
    },
    Describe {
        seed: u8,
        capacity_bytes: u64,
    },
    Announce {
        seed: u8,
        term: u64,
        key: u8,
    },
    Accuse {
        seed: u8,
        height: u64,
        same: bool,
    },
    AttestRow {
        seed: u8,
        shard: u16,
        first: u64,
        count: u64,
    },
    Invalid {
        by: u8,
        blob: u8,
        places: Vec<usize>,
        forged: bool,
    },
    Wait {
        millis: u64,
    },
    /// Bits of `spoken`: the slots of which each one speaks.
    EndEpoch {
        present: Vec<usize>,
        spoken: [u8; NODES],
    },
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..1_000_000, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn price() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(u64::MAX), 1 => 0u64..100_000]
}

fn places() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![3 => Just(ALL.to_vec()), 1 => proptest::sample::subsequence(ALL.to_vec(), 1..=7)]
}

/// Mostly all six slots.
fn spoken() -> impl Strategy<Value = [u8; NODES]> {
    proptest::array::uniform7(prop_oneof![3 => Just(63u8), 1 => 0u8..64])
}

fn deed() -> impl Strategy<Value = Deed> {
    let epochs = prop_oneof![6 => 1u64..5, 1 => any::<u64>()];
    let length = prop_oneof![6 => 0u64..(1 << 22), 1 => any::<u64>()];
    let more = prop_oneof![6 => 0u64..5, 1 => any::<u64>()];
    let budget = prop_oneof![1 => Just(0u64), 4 => 0u64..60_000, 1 => any::<u64>()];
    let price_max = price();
    prop_oneof![
        3 => (1u8..4, 1u8..5, amount()).prop_map(|(from, to, amount)| Deed::Transfer { from, to, amount }),
        5 => (1u8..4, 0u8..4, length, 0u64..2, epochs, price_max).prop_map(
            |(by, blob, length, late, epochs, price_max)| Deed::Register { by, blob, length, late, epochs, price_max },
        ),
        5 => (1u64..12, 0u8..4, places()).prop_map(|(registration, blob, places)| Deed::Certify { registration, blob, places }),
        2 => (0usize..7, 0u64..6, 0u64..3).prop_map(|(at, first, count)| Deed::Attest { at, first, count }),
        1 => (0usize..7, 0u64..6, 0u64..3).prop_map(|(at, first, count)| Deed::Withdraw { at, first, count }),
        3 => (1u8..4, 1u64..12, more, price()).prop_map(
            |(by, registration, more, price_max)| Deed::Extend { by, registration, more, price_max },
        ),
        2 => (1u8..4, 1u64..12).prop_map(|(by, registration)| Deed::Delete { by, registration }),
        2 => (1u8..4, 1u64..12, budget).prop_map(|(by, registration, budget)| Deed::Renew { by, registration, budget }),
        1 => (0usize..7, 1u64..3_000).prop_map(|(at, price)| Deed::Offer { at, price }),
        1 => (0usize..7, places(), 0u64..2).prop_map(|(at, answered, late)| Deed::Report { at, answered, late }),
        1 => (1u8..4, 0u8..4, places(), proptest::bool::weighted(0.3)).prop_map(
            |(by, blob, places, forged)| Deed::Invalid { by, blob, places, forged },
        ),
        1 => (0u64..9_000).prop_map(|millis| Deed::Wait { millis }),
        2 => (places(), spoken()).prop_map(|(present, spoken)| Deed::EndEpoch { present, spoken }),
    ]
}

fn candidacy() -> impl Strategy<Value = Deed> {
    let stake = prop_oneof![6 => 1u64..60, 1 => any::<u64>()];
    let stake = stake.prop_map(|wal| wal.saturating_mul(WAL)).boxed();
    let term = prop_oneof![4 => 0u64..6, 1 => any::<u64>()];
    let changed = (any::<bool>(), stake.clone()).prop_map(|(add, amount)| match add {
        true => StakeChange::Add(Frost(amount)),
        false => StakeChange::Withdraw(Frost(amount)),
    });
    prop_oneof![
        4 => (0u8..4, stake).prop_map(|(seed, stake)| Deed::Join { seed, stake }),
        2 => (0u8..4, 1u8..4, changed).prop_map(|(seed, by, change)| Deed::Stake { seed, by, change }),
        1 => (0u8..4, 2u8..4).prop_map(|(seed, by)| Deed::Leave { seed, by }),
        1 => (0u8..4, any::<u64>()).prop_map(|(seed, capacity_bytes)| Deed::Describe { seed, capacity_bytes }),
        1 => (0u8..4, term, 0u8..6).prop_map(|(seed, term, key)| Deed::Announce { seed, term, key }),
        1 => (0u8..4, any::<u64>(), any::<bool>()).prop_map(|(seed, height, same)| Deed::Accuse { seed, height, same }),
        1 => (0u8..4, 0u16..30, 0u64..6, 0u64..3).prop_map(|(seed, shard, first, count)| Deed::AttestRow {
            seed, shard, first, count,
        }),
    ]
}

/// The action of a deed about newcomer `seed`, with the account that sends it.
fn of_candidate(net: &Net, deed: &Deed) -> Option<(u8, Action)> {
    let keys = |seed: &u8| Keys::newcomer(*seed);
    Some(match deed {
        Deed::Join { seed, stake } => (2, Action::Join(Box::new(net.join_of(&keys(seed), *seed, Frost(*stake))))),
        Deed::Stake { seed, by, change } => (*by, Action::Stake { node: keys(seed).node, change: *change }),
        Deed::Leave { seed, by } => (*by, Action::Leave { node: keys(seed).node }),
        Deed::Describe { seed, capacity_bytes } => {
            let (addresses, domain) = (vec!["/memory/1".to_owned()], "isp:a".to_owned());
            let said = Description { node: keys(seed).node, addresses, domain, capacity_bytes: *capacity_bytes };
            (2, Action::Describe(said))
        }
        Deed::Announce { seed, term, key: next } => (2, net.announcement(&keys(seed), *term, &key(50 + next))),
        Deed::Accuse { seed, height, same } => {
            let mut votes = super::candidacy::double_vote(net, &keys(seed).vote, *height);
            if *same {
                votes.second = votes.first;
            }
            (1, Action::Evidence(Box::new(votes)))
        }
        Deed::AttestRow { seed, shard, first, count } => {
            let runs = vec![Run { first: SequenceNumber(*first), last: SequenceNumber(first + count) }];
            let shards = [floe_types::ShardIndex(*shard)].into_iter().collect();
            (2, Action::Attest { member: keys(seed).node, shards, runs })
        }
        _ => return None,
    })
}

/// Deeds of users, members and candidates.
fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![9 => deed(), 1 => candidacy()]
}

fn check(world: &World, signed: SignedTransaction) -> Vec<CheckedTransaction> {
    signed.check(&world.context.network).into_iter().collect()
}

/// A registration of this user, when there is one from `at` on.
fn owned(world: &World, by: u8, at: u64) -> RegistrationNumber {
    let known = blobs::counters(&world.state).unwrap().next_registration;
    let mine = |number: &u64| {
        let found = views::registration(&world.state, RegistrationNumber(*number)).unwrap();
        found.is_some_and(|found| found.owner == user(by))
    };
    RegistrationNumber((at..known).chain(1..at).find(mine).unwrap_or(at))
}

/// What a quote says is what execution does, in FROST and in refusals.
fn quoted(world: &World, key: &floe_types::keys::SecretKey, deal: Deal, price_max: Frost) {
    let quote = views::quote(&world.state, &world.context.params, deal).unwrap();
    let action = match deal {
        Deal::Extend { registration, last } => Action::Extend { registration, last, price_max },
        Deal::Delete { registration } => Action::Delete { registration },
        Deal::Register { .. } => return,
    };
    let account = floe_types::AccountId(key.public());
    let balance = |state: &MemoryState| i128::from(views::account(state, &account).unwrap().balance.0);
    let executed = world.build(vec![world.by(key, action)]);
    let passed_boundary = executed.block.header.boundary.is_some();
    match (executed.refused.first(), quote) {
        _ if passed_boundary => {}
        (None, Ok(quote)) => {
            let mut after = world.state.clone();
            after.apply(&executed.changes);
            let moved = i128::from(quote.refund.0) - i128::from(quote.price.0) - i128::from(FEE.0);
            assert_eq!(balance(&after) - balance(&world.state), moved, "{deal:?}");
        }
        (Some((_, Refusal::Insufficient { .. } | Refusal::TooDear { .. } | Refusal::NotOwner { .. })), _) => {}
        (Some((_, refused)), Err(refusal)) => assert_eq!(*refused, refusal),
        (refused, quote) => panic!("{deal:?}: {quote:?} and {refused:?}"),
    }
}

fn act(net: &mut Net, deed: Deed) {
    let about = of_candidate(net, &deed);
    let world = &mut net.world;
    let transaction = |world: &World, key: &floe_types::keys::SecretKey, action: Action| {
        let sender = floe_types::AccountId(key.public());
        let nonce = if action.is_report() { 0 } else { views::account(&world.state, &sender).unwrap().nonce };
        let fee = if action.is_report() { Frost::ZERO } else { FEE };
        check(world, world.sign(key, nonce, fee, action))
    };
    let candidates = match deed {
        Deed::Transfer { from, to, amount } => {
            transaction(world, &key(from), Action::Transfer { to: user(to), amount: Frost(amount) })
        }
        Deed::Register { by, blob: id, length, late, epochs, price_max } => {
            let first = Epoch(world.epoch().0 - late);
            let last = Epoch(first.0.saturating_add(epochs - 1));
            let deletable = epochs.is_multiple_of(2);
            let persistence = if deletable { Persistence::Deletable } else { Persistence::Permanent };
            let (blob, price_max, attributes) = (blob(id), Frost(price_max), Attributes::default());
            let action = Action::Register { blob, length, first, last, price_max, persistence, attributes };
            transaction(world, &key(by), action)
        }
        Deed::Certify { registration, blob: id, places } => {
            // Mostly a blob that was registered, so that something gets certified.
            let known = blobs::counters(&world.state).unwrap().next_registration;
            let number = RegistrationNumber(1 + registration % known);
            let registered = views::registration(&world.state, number).unwrap();
            let id = registered.map_or(blob(id), |found| found.blob);
            transaction(world, &key(1), world.certify_action(id, number, &places))
        }
        Deed::Attest { at, first, count } => {
            let runs = vec![Run { first: SequenceNumber(first), last: SequenceNumber(first + count) }];
            transaction(world, &node_key(at), Action::Attest { member: node(at), shards: seats(at), runs })
        }
        Deed::Withdraw { at, first, count } => {
            let runs = vec![Run { first: SequenceNumber(first), last: SequenceNumber(first + count) }];
            transaction(world, &node_key(at), Action::Withdraw { member: node(at), shards: seats(at), runs })
        }
        Deed::Extend { by, registration, more, price_max } => {
            let registration = RegistrationNumber(registration);
            let last = views::registration(&world.state, registration).unwrap().map_or(0, |found| found.last.0);
            let (last, price_max) = (Epoch(last.saturating_add(more)), Frost(price_max));
            quoted(world, &key(by), Deal::Extend { registration, last }, price_max);
            transaction(world, &key(by), Action::Extend { registration, last, price_max })
        }
        Deed::Delete { by, registration } => {
            let registration = owned(world, by, registration);
            quoted(world, &key(by), Deal::Delete { registration }, Frost(u64::MAX));
            transaction(world, &key(by), Action::Delete { registration })
        }
        Deed::Renew { by, registration, budget } => {
            let registration = owned(world, by, registration);
            transaction(world, &key(by), Action::Renew { registration, budget: Frost(budget) })
        }
        Deed::Offer { at, price } => {
            transaction(world, &node_key(at), Action::Offer { member: node(at), price: Frost(price) })
        }
        Deed::Report { at, answered, late } => {
            let commit = transaction(world, &node_key(at), world.commit_action(at));
            let mut report = world.report_of(node(at), &bls(at), &members(answered));
            report.epoch = Epoch(report.epoch.0 + late);
            commit.into_iter().chain(transaction(world, &node_key(at), Action::Report(Box::new(report)))).collect()
        }
        Deed::Invalid { by, blob: id, places, forged } => {
            let mut shown = super::invalid::shown(world, blob(id), &places);
            if forged {
                shown.kind = floe_erasure::EvidenceKind::Padding;
            }
            transaction(world, &key(by), Action::Invalid(Box::new(shown)))
        }
        Deed::Join { .. }
        | Deed::Stake { .. }
        | Deed::Leave { .. }
        | Deed::Describe { .. }
        | Deed::Announce { .. }
        | Deed::Accuse { .. }
        | Deed::AttestRow { .. } => about.map(|(by, action)| transaction(world, &key(by), action)).unwrap_or_default(),
        Deed::Wait { millis } => {
            world.now = world.now.plus_millis(millis);
            Vec::new()
        }
        Deed::EndEpoch { present, spoken } => {
            world.enter_closing();
            let commit = |at: &usize| world.by(&node_key(*at), world.commit_action(*at));
            let commits = present.iter().map(commit).collect();
            world.block(commits);
            world.draw();
            let report = |at: &usize| {
                let mut report = world.report_of(node(*at), &bls(*at), &members(present.iter().copied()));
                let unspoken = report.held.iter_mut().enumerate().filter(|(slot, _)| spoken[*at] & (1 << slot) == 0);
                unspoken.for_each(|(_, held)| *held = None);
                let slots = report.held.iter().flatten().count() as u16;
                report.passed.iter_mut().for_each(|passed| *passed = (*passed).min(challenges_per_slot(NODES) * slots));
                transaction(world, &node_key(*at), Action::Report(Box::new(report)))
            };
            let reports = present.iter().flat_map(report).collect();
            world.block(reports);
            world.boundary(Vec::new());
            Vec::new()
        }
    };
    world.block(candidates);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_wal_is_made_or_destroyed_and_replay_agrees(
        deeds in proptest::collection::vec(any_deed(), 1..40),
    ) {
        let mut net = Net::new();
        for deed in deeds {
            act(&mut net, deed);
        }
        let mut world = net.world;
        // Both coverage maps name the same blobs; after a boundary they are the same map.
        world.boundary(Vec::new());
        let end = views::next_sequence(&world.state).unwrap().0;
        let map = |table| coverage::segments(&world.state, table, end).unwrap();
        prop_assert_eq!(map(tables::Table::Coverage), map(tables::Table::Judged));
        // Verdicts looked up blob by blob are those the boundary counted by class.
        let epoch = Epoch(world.epoch().0 - 1);
        let record = views::epoch_record(&world.state, epoch).unwrap().unwrap();
        let mut counted = std::collections::BTreeMap::<Verdict, u64>::new();
        for number in 0..end {
            let life = views::sequence(&world.state, SequenceNumber(number)).unwrap().unwrap();
            if life.last >= epoch {
                let verdict = world.verdict(life.blob, epoch.0).unwrap();
                *counted.entry(verdict).or_default() += 1;
            }
        }
        let tallied = record.boundary.tally.verdicts.iter().map(|(verdict, weight)| (*verdict, weight.blobs));
        prop_assert_eq!(counted, tallied.collect());
        super::classes::check(&world.state);
        let mut replayed = MemoryState::new();
        replayed.apply(&begin(&genesis()).unwrap());
        for block in &world.blocks {
            let executed = execute_decided(&replayed, &world.context, block.clone()).unwrap();
            replayed.apply(&executed.changes);
        }
        prop_assert_eq!(&replayed, &world.state);
    }

    #[test]
    fn a_slow_model_agrees_to_the_unit_while_the_committee_stays(deeds in proptest::collection::vec(deed(), 1..40)) {
        let mut net = Net::new();
        let mut model = Model::new(&genesis());
        for deed in deeds {
            let before = net.world.blocks.len();
            act(&mut net, deed);
            net.world.blocks[before..].iter().for_each(|block| model.block(block));
            model.compare(&net.world.state);
        }
    }

    #[test]
    fn bytes_of_a_stranger_decode_to_an_error_or_to_what_encodes_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(signed) = SignedTransaction::decode(&bytes) {
            prop_assert_eq!(signed.encode(), bytes.clone());
        }
        if let Ok(block) = Block::decode(&bytes) {
            prop_assert_eq!(block.encode(), bytes.clone());
        }
        if let Ok(changes) = ChangeSet::decode(&bytes, 1 << 20) {
            prop_assert_eq!(changes.encode(), bytes);
        }
    }
}
