//! Judging, signing and gathering, up to the ledger's taking it.

use super::*;
use crate::testing::{bls_key, committee, node};
use floe_erasure::{Axis, EvidenceKind, MemorySink, PairIndex, SliverId, encode};

const NETWORK: NetworkId = NetworkId([7; 32]);

/// A blob of eleven bytes on four shards whose symbols are no codewords, as an uploader makes it that hashes whatever it likes:
/// its id, and the evidence against a sliver of it.
const BLOB: &str = "84d5cd0e5a2a4c0614151fa0a9b2e7c1a075e2a586d331a7606d7823e955c96f";
const HEAD: &str = concat!(
    "01000100626f9984661df4546512c288d7f0be3360059c21787c1d3b56b0da362d9c63d21a2e56684b1efb089f0607c4cd81",
    "1a62cfb6f293d27c6381a428213ab1ab67a356a3ca3d122415a903a4b146fa561a3bba57fe001512fe81834600d0efba2274",
    "0101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101",
    "0101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101",
    "010101010101010101010101010101010101010101010101010101015a3e22911d8680a8f42bcd8f92a8e45093f50de03297",
    "538b8c1dae68cf57954e0e42cbd72937ea53261e101c1140a006a25705640db59c44db0812f17f9a9a85",
);
const BODY: &str = "111112121313";

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn accused() -> Accused {
    Accused { blob: BlobId(bytes(BLOB).try_into().unwrap()), blob_bytes: 11, shards: 4 }
}

fn finding() -> Finding {
    judge(&accused(), &bytes(HEAD), &bytes(BODY), &Options::default()).unwrap()
}

#[test]
fn evidence_that_holds_is_found_to_hold() {
    let statement = finding().statement(NETWORK, 3);
    assert_eq!((statement.blob, statement.kind, statement.term), (accused().blob, EvidenceKind::Extension, 3));
    assert_eq!(statement.sliver, Some(SliverId { pair: PairIndex(1), axis: Axis::Primary }));
}

#[test]
fn evidence_that_was_touched_or_is_of_another_blob_is_not() {
    let refused =
        |accused: &Accused, head: &[u8], body: &Vec<u8>| judge(accused, head, body, &Options::default()).is_err();
    let (head, body) = (bytes(HEAD), bytes(BODY));
    for bit in 0..head.len() * 8 {
        let mut touched = head.clone();
        touched[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&accused(), &touched, &body), "bit {bit} of the head");
    }
    for bit in 0..body.len() * 8 {
        let mut touched = body.clone();
        touched[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&accused(), &head, &touched), "bit {bit} of the body");
    }
    let other = Accused { blob: BlobId([3; 32]), ..accused() };
    assert!(refused(&other, &head, &body));
    for (blob_bytes, shards) in [(10, 4), (12, 4), (11, 5), (11, 0), (u64::MAX, 4)] {
        assert!(refused(&Accused { blob_bytes, shards, ..accused() }, &head, &body), "{blob_bytes} on {shards}");
    }
    assert!(refused(&accused(), &head, &body[..body.len() - 1].to_vec()));
}

#[test]
fn against_an_honest_blob_nothing_is_found() {
    let content = b"eleven byte";
    let layout = Layout::new(4, 11).unwrap();
    let sink = MemorySink::new(layout.encoded_bytes() as usize);
    let encoded = encode(&content.as_slice(), 11, 4, &sink, &Options::default()).unwrap();
    let honest = Accused { blob: encoded.blob_id(), blob_bytes: 11, shards: 4 };
    let pair = PairIndex(1);
    let proof = encoded.proof(pair).check(&honest.blob, &layout, pair).unwrap();
    let head = Evidence::extension(Axis::Primary, &proof).encode();
    let fragment = sink.copy(encoded.fragment_offset(pair), layout.fragment_bytes() as usize).unwrap();
    let body = fragment[..layout.primary_bytes() as usize].to_vec();
    let refused = judge(&honest, &head, &body, &Options::default());
    assert!(matches!(refused, Err(JudgeError::Evidence(EvidenceError::Consistent))), "{refused:?}");
}

#[test]
fn members_with_more_than_f_shards_make_a_claim_and_fewer_do_not() {
    let committee = committee(4, 4, 3);
    let mut gathering = Gathering::new(&finding(), NETWORK, committee.clone());
    let by = |seed: u8| finding().confirm(node(seed), (NETWORK, 3), &bls_key(seed));
    gathering.add(&by(2)).unwrap();
    gathering.add(&by(2)).unwrap();
    assert_eq!((gathering.shards(), gathering.claim()), (1, None));
    gathering.add(&by(4)).unwrap();
    let claim = gathering.claim().unwrap();
    assert_eq!(gathering.shards(), 2);
    let keys: Vec<_> = claim.members.iter().map(|index| committee.member(index).unwrap().bls_key).collect();
    let message = claim.statement(NETWORK).message();
    floe_types::bls::verify_aggregate(&keys, &message, &claim.signature).unwrap();
    assert!(floe_types::bls::verify_aggregate(&keys, b"another", &claim.signature).is_err());
}

#[test]
fn confirmations_that_are_not_a_members_over_this_count_for_nothing() {
    let mut gathering = Gathering::new(&finding(), NETWORK, committee(4, 4, 3));
    let good = finding().confirm(node(2), (NETWORK, 3), &bls_key(2));
    let strange = finding().confirm(node(9), (NETWORK, 3), &bls_key(9));
    assert_eq!(gathering.add(&strange), Err(GatherError::Stranger { node: node(9), term: 3 }));
    let late = finding().confirm(node(2), (NETWORK, 2), &bls_key(2));
    assert_eq!(gathering.add(&late), Err(GatherError::OtherTerm { found: 2, expected: 3 }));
    let elsewhere = finding().confirm(node(2), (NetworkId([8; 32]), 3), &bls_key(2));
    let wrong = [elsewhere, Confirmation { term: 3, ..late }, Confirmation { node: node(3), ..good }];
    for confirmation in wrong {
        let node = confirmation.node;
        assert_eq!(gathering.add(&confirmation), Err(GatherError::Signature { node }));
    }
    assert_eq!(gathering.shards(), 0);
}
