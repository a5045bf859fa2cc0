//! The catalogue of bad input, numbers 4, 6 and 8: what other tests here do not name. Which test is which line:
//!
//! | line | test |
//! | --- | --- |
//! | 4 zero, all ones, non-canonical S | below: signatures of zeros, of ones and beyond the order |
//! | 4 small-order keys | below; `floe_types::keys`: a batch accepts what each signature alone is accepted for |
//! | 4 other key, other message, other domain | below: another key or domain; `refusals`: whatever the state |
//! | 4 aggregated twice, bitmaps, bits beyond `n`, quorum of `2f`, duplicated signer | `refusals`: a certificate that is not one |
//! | 6 size 0, 1, limit, limit + 1 | below: blobs of no bytes; `refusals`: a registration out of range |
//! | 6 symbols, roots, slivers of a wrong size | `floe_erasure`: `tests/refusal.rs`, `tests/fuzz.rs` |
//! | 6 equal to an expired one, two owners | `epochs`: its old certificate revives nothing; `money`: the last of its registrations ends |
//! | 8 wrap, overflow, zero price | `random`: no WAL is made; `refusals`: a price beyond the largest amount; below: nothing is offered for nothing |
//! | 8 duration 0 and max, extend after expiry | `refusals`: out of range; `money`: an extension of what cannot be extended |
//! | 8 transfer to self, 10,000 in a block, nonces | `blocks`: a transfer to oneself; `refusals`: nonce, fee and balance |
//! | 8 unknown account, payout twice | below |
//! | 8 committee change by a stranger, bond below the least | `candidacy`: who does not speak for a candidate; a wrong field |
//! | 8 evidence: against a stranger, equal messages, old | `candidacy`: what proves no offence; an offender that left |

use super::fixture::*;
use crate::transaction::ENCODING_VERSION;
use crate::*;
use floe_types::bls::BlsSignature;
use floe_types::keys::{SecretKey, Signature};
use floe_types::{AccountId, Epoch, Frost, RegistrationNumber};

fn transfer() -> Action {
    Action::Transfer { to: user(2), amount: Frost(1) }
}

/// The order of the group, little-endian: `S` and `S` plus this are the same number to a careless verifier.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn signatures_of_zeros_of_ones_and_beyond_the_order_are_refused_alone_and_in_a_block() {
    let world = World::new();
    let good = world.sign(&key(1), 0, FEE, transfer());
    let mut beyond = good.signature.0;
    let mut carry = 0u16;
    for (byte, order) in beyond[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        (*byte, carry) = ((carry & 0xff) as u8, carry >> 8);
    }
    for signature in [[0; 64], [0xff; 64], beyond] {
        let forged = SignedTransaction { signature: Signature(signature), ..good.clone() };
        let refused = forged.check(&world.context.network).map(|_| ());
        assert_eq!(refused, Err(TransactionError::BadSignature));
        let mut block = world.build(vec![good.clone().check(&world.context.network).unwrap()]).block;
        block.transactions[0].signature = Signature(signature);
        assert!(execute_decided(&world.state, &world.context, block).is_err());
    }
}

#[test]
fn a_key_of_small_order_moves_only_what_somebody_gave_it() {
    // Such a key has no secret: a signature of it may verify, by the one rule that alone and in a batch is the same.
    let mut world = World::new();
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let sender = AccountId(point);
        let transaction =
            Transaction { network: world.context.network, sender, nonce: 0, fee: FEE, action: transfer() };
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&point);
        let signed = SignedTransaction { transaction, signature: Signature(signature) };
        if let Ok(checked) = signed.check(&world.context.network) {
            let refused = world.build(vec![checked]).refused;
            assert!(matches!(refused[0].1, Refusal::Insufficient { .. }), "{refused:?}");
        }
    }
    world.end_epoch(&ALL);
}

#[test]
fn signatures_by_another_key_or_under_another_domain_are_refused() {
    let world = World::new();
    let good = world.sign(&key(1), 0, FEE, transfer());
    let bytes = floe_types::codec::encode(&good.transaction);
    let plain = |key: &SecretKey, message: &[u8]| SignedTransaction { signature: key.sign(message), ..good.clone() };
    let foreign = world.sign(&key(2), 0, FEE, transfer()).signature;
    let other_key = SignedTransaction { signature: foreign, ..good.clone() };
    let domains = [plain(&key(1), &bytes), plain(&key(1), &[b"floe 1 vote".as_slice(), &bytes].concat()), other_key];
    for forged in domains {
        assert_eq!(forged.check(&world.context.network).map(|_| ()), Err(TransactionError::BadSignature));
    }
}

#[test]
fn aggregates_of_ones_of_nothing_or_over_another_statement_certify_nothing() {
    let mut world = World::new();
    let registration = world.register(blob(1), 4);
    let certify = |signature| Action::Certify {
        blob: blob(1),
        registration,
        version: ENCODING_VERSION,
        members: members(ALL),
        signature,
    };
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    let statement = InconsistencyStatement {
        network: world.context.network,
        term: 1,
        blob: blob(1),
        kind: floe_erasure::EvidenceKind::Roots,
        sliver: None,
    };
    let signatures: Vec<BlsSignature> = ALL.iter().map(|at| bls(*at).sign(&statement.message())).collect();
    let other = floe_types::bls::aggregate(&signatures).unwrap();
    for signature in [BlsSignature([0xff; 96]), BlsSignature(infinity), other] {
        assert_eq!(world.refusal(&key(1), certify(signature)), Refusal::BadCertificate);
    }
}

#[test]
fn blobs_of_no_bytes_of_one_byte_and_the_longest_are_taken() {
    let world = World::new();
    let longest = world.context.params.blob_bytes_max;
    for (seed, length) in [(1, 0), (2, 1), (3, longest)] {
        let price = price(&world.context.params, world.context.params.price, length, Epoch(1), Epoch(1)).unwrap();
        let action = Action::Register {
            blob: blob(seed),
            length,
            first: Epoch(1),
            last: Epoch(1),
            price_max: price.total,
            persistence: Persistence::Permanent,
            attributes: Attributes::default(),
        };
        assert!(price.total > Frost::ZERO, "nothing is kept for nothing");
        let signed = world.by(&key(1), action);
        let built = world.build(vec![signed]);
        let poor =
            matches!(built.refused.first(), Some((_, Refusal::Insufficient { .. } | Refusal::NoCapacity { .. })));
        assert!(built.refused.is_empty() || (length == longest && poor), "{length}: {:?}", built.refused);
    }
}

#[test]
fn nothing_is_offered_for_nothing_and_an_unknown_account_pays_for_nothing() {
    let mut world = World::new();
    let offer = world.sign(&node_key(1), 0, FEE, Action::Offer { member: node(1), price: Frost::ZERO });
    assert!(matches!(offer.check(&world.context.network), Err(TransactionError::Shape { .. })));
    let stranger = key(99);
    let Refusal::Insufficient { balance, .. } = world.refusal(&stranger, transfer()) else { panic!() };
    assert_eq!(balance, Frost::ZERO);
    assert!(matches!(
        world.refusal(&stranger, world.register_action(blob(1), 3)),
        Refusal::Insufficient { balance: Frost::ZERO, .. }
    ));
    world.end_epoch(&ALL);
}

#[test]
fn an_epoch_is_paid_out_once() {
    let mut world = World::new();
    world.store(blob(1), 3, &ALL);
    world.end_epoch(&ALL);
    let before = world.clone();
    world.enter_closing();
    let boundary = world.boundary(vec![]).block;
    let paid = views::totals(&world.state).unwrap();
    // The same boundary again, and one more for the same epoch.
    assert!(execute_decided(&world.state, &world.context, boundary.clone()).is_err());
    let mut again = boundary.clone();
    again.header.height = world.blocks.last().unwrap().header.height.next();
    again.header.parent = boundary.header.id();
    assert!(execute_decided(&world.state, &world.context, again).is_err());
    assert_eq!(views::totals(&world.state).unwrap(), paid);
    assert_eq!(paid.supply, views::totals(&before.state).unwrap().supply);
    assert_eq!(views::registration(&world.state, RegistrationNumber(2)).unwrap(), None);
}
