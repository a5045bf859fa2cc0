//! Every encoding against a frozen hash. Changing one is a decision: it makes another network.

use super::fixture::*;
use crate::coverage::Run;
use crate::*;
use floe_types::bls::BlsSignature;
use floe_types::{Epoch, Frost, RegistrationNumber, SequenceNumber, codec};

fn digest(bytes: &[u8]) -> String {
    Root(codec::hash("floe 1 conformance", bytes)).to_string()[..16].to_owned()
}

fn actions() -> Vec<(&'static str, Action, &'static str)> {
    let run = |first, last| Run { first: SequenceNumber(first), last: SequenceNumber(last) };
    let mut attributes =
        Attributes { content_type: Some("image/jpeg".into()), name: Some("a.jpg".into()), ..Attributes::default() };
    attributes.tags.insert("k".into(), "v".into());
    vec![
        ("transfer", Action::Transfer { to: user(2), amount: Frost(7) }, "0428e197aae432ef 42158e662590ce2b"),
        (
            "register",
            Action::Register {
                blob: blob(1),
                length: LENGTH,
                first: Epoch(3),
                last: Epoch(18),
                price_max: Frost(688_000),
                persistence: Persistence::Permanent,
                attributes,
            },
            "33a6585e2a808b67 af3cc7b276caea64",
        ),
        (
            "certify",
            Action::Certify {
                blob: blob(1),
                registration: RegistrationNumber(300),
                version: 1,
                members: members([0, 1, 2, 4, 6]),
                signature: BlsSignature([5; 96]),
            },
            "8449a61549b0c83c 2248ef1acf4249ff",
        ),
        (
            "attest",
            Action::Attest { member: node(3), shards: seats(3), runs: vec![run(0, 9), run(11, 4_000)] },
            "3cb03ed189152d13 c6a05dbed21c1642",
        ),
        (
            "extend",
            Action::Extend { registration: RegistrationNumber(300), last: Epoch(40), price_max: Frost(1_000) },
            "e1fda1f411f8cec3 15b4cf778c7faf9d",
        ),
        ("delete", Action::Delete { registration: RegistrationNumber(300) }, "9f59e31f02a60b9a 1afd785a785c8499"),
        (
            "renew",
            Action::Renew { registration: RegistrationNumber(300), budget: Frost(1_000) },
            "a2dbaa812d5f94dc 8a4784bef2130354",
        ),
        ("offer", Action::Offer { member: node(3), price: Frost(1_000) }, "ba687e47cf8f9f62 6dfa998a5f4f9fe1"),
        (
            "withdraw",
            Action::Withdraw { member: node(3), shards: seats(3), runs: vec![run(7, 9), run(11, 11)] },
            "03e281479def439c c975c411a5deacb5",
        ),
        (
            "report",
            Action::Report { member: node(3), epoch: Epoch(9), answered: members([0, 6]) },
            "aad56f1d2e6073ee 0e7ac35e4ee6ea43",
        ),
    ]
}

#[test]
fn transactions_have_their_frozen_encoding() {
    let world = World::new();
    let found: Vec<_> = actions()
        .into_iter()
        .map(|(name, action, frozen)| {
            let mut transaction = world.sign(&key(1), 5, FEE, action).transaction;
            transaction.network = floe_types::NetworkId([3; 32]);
            let signed = transaction.sign(&key(1));
            (name, digest(&signed.encode()), digest(&signed.id().0), frozen)
        })
        .collect();
    let wrong: Vec<_> =
        found.into_iter().filter(|(_, encoding, id, frozen)| format!("{encoding} {id}") != *frozen).collect();
    assert_eq!(wrong, vec![], "(name, encoding, id, frozen)");
}

#[test]
fn headers_confirmations_and_records_have_their_frozen_encoding() {
    let mut world = World::new();
    world.store(blob(1), 2, &ALL);
    world.end_epoch(&ALL);
    let genesis = begin(&genesis()).unwrap();
    let plain = &world.blocks[0];
    let boundary = world.blocks.last().unwrap();
    let confirmation = confirmation_message(&floe_types::NetworkId([3; 32]), 1, RegistrationNumber(9), &blob(1), 1);
    let found = [
        ("genesis state", digest(&genesis.encode()), "a775e30eac5f2346"),
        ("block", digest(&plain.encode()), "702bf62f58919240"),
        ("boundary header", digest(&codec::encode(&boundary.header)), "f7baa0fa2bb995ec"),
        ("block id", digest(&boundary.id().0), "b4d346f816e0191d"),
        ("confirmation", digest(&confirmation), "f652fe5b82753c89"),
        ("state", digest(&views::head(&world.state).unwrap().state_root.0), "60f3a0e5363df9a8"),
    ];
    let wrong: Vec<_> = found.into_iter().filter(|(_, found, frozen)| found != frozen).collect();
    assert_eq!(wrong, vec![], "(name, found, frozen)");
}
