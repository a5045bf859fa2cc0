//! Frozen test vectors: the encoding is an agreement, and a change of any byte of it is a decision.
//!
//! The blob's bytes are those of `twin::bytes`. `vectors.txt` has a line for each blob: shards, length, blob id, BLAKE3 of
//! all fragments (by pair, primary then secondary), BLAKE3 of all proofs (by pair).
//!
//! `openings.txt` has a line for each blob: shards, length, then BLAKE3 of what follows from it, each encoded and one after
//! the other: the openings of the first and the last chunk of both slivers of every pair; the recovery symbols of all
//! helpers for both slivers of the first and the last pair, each with its opening; the heads and bodies of evidence
//! against the same blob with its first byte flipped in all secondary slivers (column of the last pair, row of the first).

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod twin;

use std::fmt::Write;
use std::num::NonZeroUsize;

use common::Stored;
use floe_erasure::{
    Axis, BlobId, Evidence, EvidenceKind, Layout, MemorySink, Options, PairIndex, SliverId, chunk_count, encode,
    nth_chunk, open_chunk, recovery_place, recovery_symbol,
};

#[test]
fn encodings_are_the_frozen_ones() {
    let usual = [4_u16, 7, 10, 31, 100, 1000].into_iter();
    let usual = usual.flat_map(|n| [0, 1, 1001, 65_536, 1_048_583].map(|length| (n, length)));
    let odd = [(5, 17), (6, 99), (8, 3), (9, 144_001), (16, 12_345), (28, 1_048_577), (49, 70_001), (301, 33_333)];
    let mut lines = String::new();
    for (n, length) in usual.chain(odd) {
        let layout = Layout::new(n, length).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let options = Options { threads: NonZeroUsize::new(2).unwrap(), ..Options::default() };
        let encoded = encode(&twin::bytes(length as usize), length, n, &sink, &options).unwrap();
        let fragments = blake3::hash(&sink.into_bytes());
        let mut proofs = blake3::Hasher::new();
        for pair in (0..n).map(PairIndex) {
            proofs.update(&encoded.proof(pair).encode());
        }
        let proofs = proofs.finalize();
        writeln!(lines, "{n} {length} {} {fragments} {proofs}", encoded.blob_id()).unwrap();
        if odd.contains(&(n, length)) {
            let twin = twin::encode(&twin::bytes(length as usize), usize::from(n));
            assert_eq!(encoded.blob_id(), BlobId(twin.blob));
        }
    }
    let frozen = include_str!("vectors.txt");
    assert!(lines == frozen, "the encoding has changed; it is now\n{lines}");
}

/// The first and the last chunk of every sliver, opened.
fn chunks(stored: &Stored) -> blake3::Hash {
    let (layout, mut hasher) = (stored.layout, blake3::Hasher::new());
    for pair in 0..layout.shards() {
        for axis in [Axis::Primary, Axis::Secondary] {
            let hashes = stored.hashes(SliverId { pair: PairIndex(pair), axis });
            for number in [0, chunk_count(&layout, axis) - 1] {
                let place = nth_chunk(&layout, axis, number).unwrap();
                let opened = open_chunk(&layout, &stored.proof(pair), place, &hashes, &stored.fragment(pair)).unwrap();
                hasher.update(&opened.encode());
            }
        }
    }
    hasher.finalize()
}

/// What every helper gives for both slivers of the first and the last pair.
fn symbols(stored: &Stored) -> blake3::Hash {
    let (layout, mut hasher) = (stored.layout, blake3::Hasher::new());
    for pair in [0, layout.shards() - 1].map(PairIndex) {
        for target in [Axis::Primary, Axis::Secondary].map(|axis| SliverId { pair, axis }) {
            let place = recovery_place(&layout, target).unwrap();
            for helper in (0..layout.shards()).map(PairIndex) {
                let (mut symbol, fragment) = (Vec::new(), stored.fragment(helper.0));
                recovery_symbol(&layout, helper, target, (&fragment, &mut symbol), &Options::default()).unwrap();
                let hashes = stored.hashes(SliverId { pair: helper, axis: place.axis });
                hasher.update(&symbol).update(&hashes.open_symbol(&layout, place.symbol).unwrap().encode());
            }
        }
    }
    hasher.finalize()
}

/// Evidence against an uploader whose columns are those of another blob.
fn evidence(n: usize, length: usize) -> blake3::Hash {
    let matrix = |bytes: &[u8]| twin::matrix(&twin::source(bytes, n), n);
    let bytes = twin::bytes(length);
    let mut other = bytes.clone();
    other[0] ^= 1;
    let mut uploader = twin::Uploader::new(&matrix(&bytes), length as u64);
    uploader.columns = twin::Uploader::new(&matrix(&other), length as u64).columns;
    let (blob, layout) = (BlobId(uploader.commit().blob), Layout::new(n as u16, length as u64).unwrap());
    let mut hasher = blake3::Hasher::new();
    let targets = [(1, n - 1, layout.rows(), EvidenceKind::Column), (0, 0, layout.columns(), EvidenceKind::Row)];
    for (axis, target, helpers, kind) in targets {
        let (head, body) = uploader.line_evidence(axis, target, &(0..usize::from(helpers)).collect::<Vec<_>>());
        let evidence = Evidence::decode(&head, &blob, &layout).unwrap();
        assert_eq!(evidence.verify(&body, &Options::default()).unwrap().kind(), kind);
        hasher.update(&head).update(&body);
    }
    hasher.finalize()
}

#[test]
fn openings_symbols_and_evidence_are_the_frozen_ones() {
    let mut lines = String::new();
    for n in [4_u16, 7, 10, 31, 100] {
        for length in [1, 1001, 65_536, 1_048_583] {
            if u64::from(n) * length > 32 << 20 {
                continue;
            }
            let stored = Stored::new(n, length as usize);
            let evidence = evidence(usize::from(n), length as usize);
            writeln!(lines, "{n} {length} {} {} {evidence}", chunks(&stored), symbols(&stored)).unwrap();
        }
    }
    let frozen = include_str!("openings.txt");
    assert!(lines == frozen, "the encoding has changed; it is now\n{lines}");
}
