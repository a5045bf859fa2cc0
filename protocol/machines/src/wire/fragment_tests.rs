//! Every message of `/floe/fragment/1`: its frozen bytes, and what becomes of damaged ones.

use super::*;

fn blob() -> BlobId {
    BlobId([0xb1; 32])
}

fn requests() -> Vec<(&'static str, Request)> {
    let of = |ask| Request { network: NetworkId([7; 32]), ask };
    let registration = RegistrationNumber(300);
    let store =
        StoreRequest { registration, blob: blob(), blob_bytes: 1 << 20, shard: ShardIndex(27), proof: vec![5; 9] };
    vec![
        ("store", of(Ask::Store(store))),
        ("confirm", of(Ask::Confirm { registration, blob: blob() })),
        (
            "read",
            of(Ask::Read { blob: blob(), shard: ShardIndex(3), axis: ReadAxis::Primary, range: ReadRange::Whole }),
        ),
        (
            "symbol",
            of(Ask::Symbol(symbol(
                SymbolPart::Bytes,
                Right::Ticket { number: floe_ledger::repairs::TicketNumber(300) },
            ))),
        ),
        ("opening", of(Ask::Symbol(symbol(SymbolPart::Opening, Right::Trickle)))),
        ("standing", of(Ask::Symbol(symbol(SymbolPart::Bytes, Right::Standing)))),
        ("rebuild", of(Ask::Symbol(symbol(SymbolPart::Bytes, Right::Rebuild)))),
        ("judge", of(Ask::Judge { blob: blob(), head_bytes: 70_000 })),
        ("read units", {
            let range = ReadRange::Units(UnitRun { first: 1 << 40, count: 300 });
            of(Ask::Read { blob: blob(), shard: ShardIndex(3), axis: ReadAxis::Secondary, range })
        }),
    ]
}

fn symbol(part: SymbolPart, right: Right) -> SymbolRequest {
    let (shard, target) = (ShardIndex(3), ShardIndex(200));
    SymbolRequest { blob: blob(), shard, target, axis: Axis::Secondary, part, right }
}

fn answers() -> Vec<(&'static str, Answer)> {
    let number = RegistrationNumber(300);
    let refused = |reason, retry_after_millis| Answer::Refused { reason, retry_after_millis };
    let signature = BlsSignature([9; 96]);
    vec![
        ("stored", Answer::Stored),
        ("malformed", refused(Refusal::Malformed, None)),
        ("unknown", refused(Refusal::UnknownRegistration { number, epoch: Epoch(4) }, Some(500))),
        ("other blob", refused(Refusal::OtherBlob { number }, None)),
        ("late", refused(Refusal::Lapsed { number, lapse: Lapse::NotCertified { certify_by: Epoch(2) } }, None)),
        ("expired", refused(Refusal::Lapsed { number, lapse: Lapse::Expired { last: Epoch(3) } }, None)),
        ("not mine", refused(Refusal::NotMyShard { shard: ShardIndex(1), term: 2 }, Some(1))),
        ("not a member", refused(Refusal::NotMember { term: 2 }, None)),
        ("bad", refused(Refusal::BadFragment, None)),
        ("inconsistent", refused(Refusal::Inconsistent, None)),
        ("incomplete", refused(Refusal::Incomplete, Some(0))),
        ("missing", refused(Refusal::Missing { missing: vec![ShardIndex(1), ShardIndex(200)] }, Some(9))),
        ("not held", refused(Refusal::NotHeld, None)),
        ("no room", refused(Refusal::NoRoom { needed_bytes: 1 << 40 }, Some(60_000))),
        ("failed", refused(Refusal::StoreFailed, Some(5_000))),
        ("confirmation", Answer::Confirmation { signature }),
        ("sliver", Answer::Sliver { blob_bytes: 12, proof: vec![1, 2, 3] }),
        ("quiet", Answer::QuietRetry { after_millis: 70 }),
        ("busy", Answer::Busy { retry_after_millis: 250 }),
        ("no right", refused(Refusal::NoRight { target: ShardIndex(200), epoch: Epoch(7) }, Some(250))),
        ("bare symbol", Answer::Symbol { blob_bytes: 12, proof: vec![1, 2, 3], opening: Vec::new() }),
        ("opened symbol", Answer::Symbol { blob_bytes: 12, proof: vec![1, 2, 3], opening: vec![4; 64] }),
        ("not shown", refused(Refusal::NotShown, None)),
        ("judged", Answer::Judged { term: 3, signature }),
    ]
}

fn hash(bytes: &[u8]) -> String {
    floe_types::codec::hash("floe tests: frozen encodings", bytes)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn encodings_are_frozen() {
    let mut found: Vec<(&str, String)> = Vec::new();
    found.extend(requests().iter().map(|(name, request)| (*name, hash(&frame_request(request)))));
    found.extend(answers().iter().map(|(name, answer)| (*name, hash(&frame_answer(answer)))));
    let frozen: Vec<(&str, String)> = FROZEN.iter().map(|(name, hash)| (*name, (*hash).to_owned())).collect();
    assert_eq!(found, frozen, "an encoding changed: that is a decision, with a new protocol name");
}

#[test]
fn messages_come_back_as_they_were() {
    for (name, request) in requests() {
        assert_eq!(decode_request(&frame_request(&request)[LENGTH_BYTES..]), Ok(request), "{name}");
    }
    for (name, answer) in answers() {
        assert_eq!(decode_answer(&frame_answer(&answer)[LENGTH_BYTES..]), Ok(answer), "{name}");
    }
}

#[test]
fn a_truncated_message_is_refused_at_every_byte() {
    for (name, request) in requests() {
        let frame = frame_request(&request);
        for end in LENGTH_BYTES..frame.len() {
            assert!(decode_request(&frame[LENGTH_BYTES..end]).is_err(), "{name} cut at {end}");
        }
    }
    for (name, answer) in answers() {
        let frame = frame_answer(&answer);
        for end in LENGTH_BYTES..frame.len() {
            assert!(decode_answer(&frame[LENGTH_BYTES..end]).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn a_flipped_bit_gives_an_error_or_another_canonical_message() {
    for (_, request) in requests() {
        let body = frame_request(&request)[LENGTH_BYTES..].to_vec();
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = decode_request(&flipped) {
                assert_ne!(other, request);
                assert_eq!(frame_request(&other)[LENGTH_BYTES..], flipped);
            }
        }
    }
    for (_, answer) in answers() {
        let body = frame_answer(&answer)[LENGTH_BYTES..].to_vec();
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = decode_answer(&flipped) {
                assert_ne!(other, answer);
                assert_eq!(frame_answer(&other)[LENGTH_BYTES..], flipped);
            }
        }
    }
}

#[test]
fn lengths_are_checked_before_memory_is_given() {
    assert_eq!(header_bytes([0, 0, 0, 1]), Ok(1));
    assert_eq!(header_bytes([0, 1, 0, 0]), Ok(HEADER_BYTES_MAX));
    for length in [0u32, 65_537, 1 << 31, u32::MAX] {
        assert_eq!(header_bytes(length.to_be_bytes()), Err(HeaderError::Length { found: length }));
    }
    assert!(matches!(
        decode_request(&vec![0; HEADER_BYTES_MAX + 1]),
        Err(HeaderError::Decode(DecodeError::TooLong { .. }))
    ));
}

#[test]
fn a_list_that_lies_about_its_length_is_refused() {
    // Refused, Missing, then a list of 2^62 shards that are not there.
    let body = [1, 9, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    assert!(decode_answer(&body).is_err());
}

#[test]
fn the_longest_messages_of_the_largest_network_fit() {
    let missing = (0..floe_types::params::SHARDS_MAX).map(ShardIndex).collect();
    let longest = Answer::Refused { reason: Refusal::Missing { missing }, retry_after_millis: Some(u32::MAX) };
    assert!(frame_answer(&longest).len() < HEADER_BYTES_MAX);
}

/// The first six bytes of each frame's hash.
const FROZEN: &[(&str, &str)] = &[
    ("store", "6804f5bc7dec"),
    ("confirm", "3518bae826d1"),
    ("read", "31cb5283cc96"),
    ("symbol", "c0a27ca8dbe6"),
    ("opening", "831c98a822db"),
    ("standing", "badf044ce906"),
    ("rebuild", "78c8ec6016d6"),
    ("judge", "d11111f351f4"),
    ("read units", "c8376064150d"),
    ("stored", "6667fc344120"),
    ("malformed", "a1b864b06504"),
    ("unknown", "f42a3d9b6679"),
    ("other blob", "494224d40805"),
    ("late", "a2a9ed207596"),
    ("expired", "dbd42569cade"),
    ("not mine", "d67ed2f794a5"),
    ("not a member", "adbccfd0b4b8"),
    ("bad", "251305d048aa"),
    ("inconsistent", "ea25c4239c32"),
    ("incomplete", "819c84d27976"),
    ("missing", "585097b4ac04"),
    ("not held", "ee3fe4bcfece"),
    ("no room", "1841ce45ebbd"),
    ("failed", "f64416bb04c9"),
    ("confirmation", "592314cb6393"),
    ("sliver", "927ee7b418b1"),
    ("quiet", "72d3a7f94c14"),
    ("busy", "3c4f469d557d"),
    ("no right", "72b097648703"),
    ("bare symbol", "d31c677d9f66"),
    ("opened symbol", "5f41a05752ac"),
    ("not shown", "c97a5f47cf82"),
    ("judged", "3af4a28c8850"),
];
