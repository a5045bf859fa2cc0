//! Everything that is refused, action by action, with the exact reason.

use super::fixture::*;
use crate::coverage::Run;
use crate::*;
use floe_types::bls::BlsSignature;
use floe_types::{BlobId, Epoch, Frost, NetworkId, RegistrationNumber, SequenceNumber};

fn run(first: u64, last: u64) -> Run {
    Run { first: SequenceNumber(first), last: SequenceNumber(last) }
}

#[test]
fn what_is_wrong_whatever_the_state_is_refused_before_it_is_executed() {
    let world = World::new();
    let transfer = |amount| Action::Transfer { to: user(2), amount };
    let check = |signed: SignedTransaction| signed.check(&world.context.network).map(|_| ());
    let good = world.sign(&key(1), 0, FEE, transfer(Frost(1)));
    assert_eq!(check(good.clone()), Ok(()));

    let mut stolen = good.clone();
    stolen.transaction.sender = user(2);
    let mut touched = good.clone();
    touched.transaction.nonce = 1;
    for forged in [stolen, touched] {
        assert_eq!(check(forged), Err(TransactionError::BadSignature));
    }
    let mut foreign = good.transaction.clone();
    foreign.network = NetworkId([9; 32]);
    let refused = check(foreign.sign(&key(1)));
    assert_eq!(refused, Err(TransactionError::Network { found: NetworkId([9; 32]), ours: world.context.network }));

    let mut long = Attributes::default();
    long.tags.insert("k".into(), "v".repeat(1 << 10));
    let control = Attributes { name: Some("a\nb".into()), ..Attributes::default() };
    let register = |attributes, last| Action::Register {
        blob: blob(1),
        length: 1,
        first: Epoch(2),
        last: Epoch(last),
        price_max: RICH,
        persistence: Persistence::Permanent,
        attributes,
    };
    let attest = |runs| Action::Attest { member: node(0), shards: seats(0), runs };
    let version = Action::Certify {
        blob: blob(1),
        registration: RegistrationNumber(1),
        version: 2,
        members: members(ALL),
        signature: BlsSignature([0; 96]),
    };
    let shapes = [
        transfer(Frost::ZERO),
        register(long, 2),
        register(control, 2),
        register(Attributes::default(), 1),
        attest(vec![]),
        attest(vec![run(3, 2)]),
        attest(vec![run(0, 1), run(2, 3)]),
        attest((0..257).map(|at| run(at * 2, at * 2)).collect()),
        version,
    ];
    for action in shapes {
        let refused = check(world.sign(&key(1), 0, FEE, action.clone()));
        assert!(matches!(refused, Err(TransactionError::Shape { .. })), "{action:?}");
    }
    for (nonce, fee) in [(1, Frost::ZERO), (0, Frost(1))] {
        let refused = check(world.sign(&node_key(0), nonce, fee, world.report_action(0, ALL)));
        assert!(matches!(refused, Err(TransactionError::Shape { .. })));
    }
}

#[test]
fn malformed_and_oversized_encodings_are_refused() {
    let world = World::new();
    let action = Action::Attest {
        member: node(0),
        shards: seats(0),
        runs: (0..256).map(|at| run(at << 40, at << 40)).collect(),
    };
    let bytes = world.sign(&key(1), 0, FEE, action).encode();
    assert!(SignedTransaction::decode(&bytes).is_ok());
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(SignedTransaction::decode(&bytes[..cut]).is_err());
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(SignedTransaction::decode(&long).is_err());
    assert!(SignedTransaction::decode(&vec![0; floe_types::params::TRANSACTION_BYTES_MAX + 1]).is_err());
    assert!(Block::decode(&vec![0; floe_types::params::BLOCK_BYTES_MAX + 1]).is_err());
}

#[test]
fn nonce_fee_and_balance_are_checked_first() {
    let world = World::new();
    let try_with = |nonce, fee, amount| {
        let signed = world.sign(&key(1), nonce, fee, Action::Transfer { to: user(2), amount });
        let executed = world.build(vec![signed.check(&world.context.network).unwrap()]);
        executed.refused.into_iter().next().map(|(_, refusal)| refusal)
    };
    assert_eq!(try_with(0, FEE, Frost(1)), None);
    assert_eq!(try_with(1, FEE, Frost(1)), Some(Refusal::Nonce { found: 1, expected: 0 }));
    let left = Frost(RICH.0 - FEE.0);
    assert_eq!(try_with(0, FEE, left), None);
    let needed = Frost(left.0 + 1);
    assert_eq!(try_with(0, FEE, needed), Some(Refusal::Insufficient { balance: left, needed }));
    let huge = Frost(u64::MAX);
    assert_eq!(try_with(0, huge, Frost(1)), Some(Refusal::Insufficient { balance: RICH, needed: huge }));
    assert_eq!(try_with(0, FEE, huge), Some(Refusal::Insufficient { balance: left, needed: huge }));
    let Some(Refusal::FeeTooLow { found, least }) = try_with(0, Frost(10), Frost(1)) else { panic!() };
    assert_eq!((found, least > found), (Frost(10), true));
}

#[test]
fn a_transaction_counts_once() {
    let mut world = World::new();
    let once = world.by(&key(1), Action::Transfer { to: user(2), amount: Frost(1) });
    world.block(vec![once.clone()]);
    assert_eq!(world.build(vec![once.clone()]).refused, vec![(once.id(), Refusal::Nonce { found: 0, expected: 1 })]);
    let account = views::account(&world.state, &user(2)).unwrap();
    assert_eq!(account.balance, Frost(RICH.0 + 1));
}

#[test]
fn a_registration_out_of_range_is_refused() {
    let mut world = World::new();
    let register = |length, first, last, price_max| Action::Register {
        blob: blob(1),
        length,
        first: Epoch(first),
        last: Epoch(last),
        price_max: Frost(price_max),
        persistence: Persistence::Permanent,
        attributes: Attributes::default(),
    };
    let ahead = world.context.params.paid_ahead_max.0;
    let longest = world.context.params.blob_bytes_max;
    let price = price(&world.context.params, world.context.params.price, LENGTH, Epoch(1), Epoch(16)).unwrap();
    assert_eq!(price.rate, Frost(43 * 1_000));
    assert_eq!(price.total, Frost(43 * 1_000 * 16));
    let cases = [
        (register(LENGTH, 2, 3, u64::MAX), Refusal::FirstEpoch { found: Epoch(2), current: Epoch(1) }),
        (register(LENGTH, 0, 0, u64::MAX), Refusal::TermOver { last: Epoch(0), current: Epoch(1) }),
        (register(LENGTH, 1, ahead + 1, u64::MAX), Refusal::TooFarAhead { last: Epoch(ahead + 1), max: Epoch(ahead) }),
        (register(LENGTH, 1, u64::MAX, u64::MAX), Refusal::TooFarAhead { last: Epoch(u64::MAX), max: Epoch(ahead) }),
        (register(longest + 1, 1, 1, u64::MAX), Refusal::BlobTooLong { length: longest + 1, max: longest }),
        (register(u64::MAX, 1, 1, u64::MAX), Refusal::BlobTooLong { length: u64::MAX, max: longest }),
        (
            register(LENGTH, 1, 16, price.total.0 - 1),
            Refusal::TooDear { price: price.total, max: Frost(price.total.0 - 1) },
        ),
    ];
    for (action, refusal) in cases {
        assert_eq!(world.refusal(&key(1), action.clone()), refusal, "{action:?}");
    }
    // The longest term is accepted, at the price that was named.
    let total =
        crate::price(&world.context.params, world.context.params.price, LENGTH, Epoch(1), Epoch(ahead)).unwrap().total;
    world.act(&key(1), register(LENGTH, 1, ahead, total.0));
    assert_eq!(views::totals(&world.state).unwrap().pending, total);
}

#[test]
fn a_price_beyond_the_largest_amount_is_refused() {
    let dear = floe_types::Params { price: Frost(u64::MAX / 2), ..params() };
    assert_eq!(price(&dear, dear.price, 1, Epoch(1), Epoch(1)).map(|price| price.total), Ok(dear.price));
    assert_eq!(price(&dear, dear.price, LENGTH, Epoch(1), Epoch(1)), Err(Refusal::Overflow));
    assert_eq!(price(&dear, dear.price, 1, Epoch(1), Epoch(3)), Err(Refusal::Overflow));
    assert_eq!(price(&dear, dear.price, 1, Epoch(0), Epoch(u64::MAX)), Err(Refusal::Overflow));
    assert_eq!(price(&dear, dear.price, 1, Epoch(2), Epoch(1)), Err(Refusal::Overflow));
}

#[test]
fn a_registration_of_another_length_than_the_defended_blob_is_refused() {
    let mut world = World::new();
    world.store(blob(1), 4, &ALL);
    let mut action = world.register_action(blob(1), 4);
    if let Action::Register { length, .. } = &mut action {
        *length += 1;
    }
    let refusal = Refusal::LengthMismatch { blob: blob(1), kept: LENGTH, found: LENGTH + 1 };
    assert_eq!(world.refusal(&key(2), action), refusal);
}

/// A good certificate with one thing changed.
fn certificates(world: &World, number: RegistrationNumber) -> Vec<(&'static str, Action, Refusal)> {
    let good = world.certify_action(blob(1), number, &ALL);
    let Action::Certify { signature, .. } = &good else { unreachable!() };
    let with = |blob: BlobId, registration, members: MemberSet, signature: BlsSignature| Action::Certify {
        blob,
        registration,
        version: 1,
        members,
        signature,
    };
    let signed = |message: Vec<u8>| {
        let signatures: Vec<_> = ALL.iter().map(|at| bls(*at).sign(&message)).collect();
        let signature = floe_types::bls::aggregate(&signatures).unwrap();
        with(blob(1), number, members(ALL), signature)
    };
    let network = &world.context.network;
    let foreign: Vec<_> =
        (10..17).map(|at| bls(at).sign(&confirmation_message(network, 1, number, &blob(1), 1))).collect();
    let foreign = floe_types::bls::aggregate(&foreign).unwrap();
    let mut doubled: Vec<_> = vec![bls(0).sign(&confirmation_message(network, 1, number, &blob(1), 1)); 2];
    doubled.extend((1..5).map(|at| bls(at).sign(&confirmation_message(network, 1, number, &blob(1), 1))));
    let doubled = floe_types::bls::aggregate(&doubled).unwrap();
    let next = RegistrationNumber(number.0 + 1);
    vec![
        (
            "four nodes are 16 shards",
            world.certify_action(blob(1), number, &[0, 1, 2, 3]),
            Refusal::BelowQuorum { found: 16, needed: 19 },
        ),
        ("nobody", with(blob(1), number, members([]), *signature), Refusal::BelowQuorum { found: 0, needed: 19 }),
        (
            "members beyond the committee",
            with(blob(1), number, members([0, 1, 2, 3, 4, 7]), *signature),
            Refusal::MembersBeyond { members: 7 },
        ),
        ("another term", signed(confirmation_message(network, 2, number, &blob(1), 1)), Refusal::BadCertificate),
        (
            "another registration's confirmation",
            signed(confirmation_message(network, 1, next, &blob(1), 1)),
            Refusal::BadCertificate,
        ),
        (
            "another blob's confirmation",
            signed(confirmation_message(network, 1, number, &blob(2), 1)),
            Refusal::BadCertificate,
        ),
        (
            "another network's confirmation",
            signed(confirmation_message(&NetworkId([1; 32]), 1, number, &blob(1), 1)),
            Refusal::BadCertificate,
        ),
        (
            "another version's confirmation",
            signed(confirmation_message(network, 1, number, &blob(1), 2)),
            Refusal::BadCertificate,
        ),
        (
            "other signers than it names",
            with(blob(1), number, members([0, 1, 2, 3, 4]), *signature),
            Refusal::BadCertificate,
        ),
        ("keys of no member", with(blob(1), number, members(ALL), foreign), Refusal::BadCertificate),
        ("one signature twice", with(blob(1), number, members([0, 1, 2, 3, 4]), doubled), Refusal::BadCertificate),
        ("no signature", with(blob(1), number, members(ALL), BlsSignature([0; 96])), Refusal::BadCertificate),
        (
            "a registration there is not",
            with(blob(1), next, members(ALL), *signature),
            Refusal::NoRegistration { registration: next },
        ),
        (
            "another blob's registration",
            with(blob(2), number, members(ALL), *signature),
            Refusal::NoRegistration { registration: number },
        ),
    ]
}

#[test]
fn a_certificate_that_is_not_one_is_refused() {
    let mut world = World::new();
    let number = world.register(blob(1), 4);
    for (name, action, refusal) in certificates(&world, number) {
        assert_eq!(world.refusal(&key(2), action), refusal, "{name}");
    }
    // Five nodes are 20 shards, and anyone may send the certificate.
    let good = world.certify_action(blob(1), number, &[0, 2, 3, 5, 6]);
    world.act(&key(2), good.clone());
    assert_eq!(world.refusal(&key(2), good), Refusal::AlreadyCertified { registration: number });
}

#[test]
fn a_certificate_one_shard_below_the_quorum_is_refused() {
    let mut world = World::of(&uneven());
    let number = world.register(blob(1), 4);
    let below = world.certify_action(blob(1), number, &[0, 2]);
    assert_eq!(world.refusal(&key(1), below), Refusal::BelowQuorum { found: 18, needed: 19 });
    let at = world.certify_action(blob(1), number, &[0, 1, 2]);
    world.act(&key(1), at);
}

#[test]
fn a_certificate_after_the_deadline_is_refused() {
    let mut world = World::new();
    let number = world.register(blob(1), 9);
    let certificate = world.certify_action(blob(1), number, &ALL);
    world.end_epoch(&ALL);
    // One epoch after that of its registration it may still be certified.
    assert_eq!(world.build(vec![world.by(&key(1), certificate.clone())]).refused, vec![]);
    world.end_epoch(&ALL);
    assert_eq!(world.refusal(&key(1), certificate), Refusal::Lapsed { registration: number });
}

#[test]
fn an_attestation_that_says_nothing_true_is_refused() {
    let mut world = World::new();
    world.store(blob(1), 1, &ALL);
    world.store(blob(2), 4, &[0, 1, 2, 3, 4]);
    let attest = |at, runs: &[Run]| Action::Attest { member: node(at), shards: seats(at % 7), runs: runs.to_vec() };
    let cases = [
        (6, attest(6, &[run(2, 2)]), Refusal::NotDefended { number: 2 }),
        (6, attest(6, &[run(1, u64::MAX)]), Refusal::NotDefended { number: u64::MAX }),
        (6, attest(5, &[run(1, 1)]), Refusal::NotMember),
        (6, attest(50, &[run(1, 1)]), Refusal::NotMember),
        (0, attest(0, &[run(0, 1)]), Refusal::NothingNew),
        (6, attest(6, &[run(0, 0)]), Refusal::NothingNew),
    ];
    for (at, action, refusal) in cases {
        assert_eq!(world.refusal(&node_key(at), action.clone()), refusal, "{action:?}");
    }
    world.end_epoch(&ALL);
    // Blob 1 is forgotten: no attestation begins or ends at it.
    assert_eq!(world.refusal(&node_key(6), attest(6, &[run(0, 1)])), Refusal::NotDefended { number: 0 });
    world.act(&node_key(6), attest(6, &[run(1, 1)]));
    assert_eq!(world.refusal(&node_key(6), attest(6, &[run(1, 1)])), Refusal::NothingNew);
}

#[test]
fn a_block_holds_a_bounded_number_of_certificates() {
    let mut world = World::new();
    let count = crate::block::BLOCK_CERTIFICATES_MAX + 1;
    let mut candidates = Vec::new();
    let register = |world: &World, at: usize| {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&(at as u64).to_be_bytes());
        let action = world.register_action(BlobId(id), 2);
        (BlobId(id), world.sign(&key(1), at as u64, FEE, action).check(&world.context.network).unwrap())
    };
    let (ids, registrations): (Vec<_>, Vec<_>) = (0..count).map(|at| register(&world, at)).unzip();
    world.block(registrations);
    for (at, id) in ids.into_iter().enumerate() {
        let action = world.certify_action(id, RegistrationNumber(at as u64 + 1), &ALL);
        let signed = world.sign(&key(1), (count + at) as u64, FEE, action);
        candidates.push(signed.check(&world.context.network).unwrap());
    }
    let refused = world.block(candidates).refused;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].1.may_pass());
}
