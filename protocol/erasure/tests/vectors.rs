//! Frozen test vectors: the encoding is an agreement, and a change of any byte of it is a decision.
//!
//! `vectors.txt` has a line for each blob: shards, length, blob id, BLAKE3 of all fragments (by pair, primary
//! then secondary), BLAKE3 of all proofs (by pair). The blob's bytes are those of `twin::bytes`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod twin;

use std::fmt::Write;
use std::num::NonZeroUsize;

use floe_erasure::{Layout, MemorySink, Options, PairIndex, encode};

#[test]
fn encodings_are_the_frozen_ones() {
    let mut lines = String::new();
    for n in [4_u16, 7, 10, 31, 100, 1000] {
        for length in [0, 1, 1001, 65_536, 1_048_583] {
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
        }
    }
    let frozen = include_str!("vectors.txt");
    assert!(lines == frozen, "the encoding has changed; it is now\n{lines}");
}
