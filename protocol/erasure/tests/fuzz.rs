//! Every decoder and verifier over garbage and over good bytes that were damaged, with many seeds: nothing panics, nothing
//! but the original is accepted, and memory stays in proportion to what was given, however much it promises.
//!
//! The seeds are fixed, so that a failure is the same everywhere. `FLOE_FUZZ_SEEDS` says how many instead of 2,000.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod counting;
mod twin;

use std::sync::Arc;

use common::Stored;
use counting::measured;
use floe_erasure::{
    Axis, BlobId, CheckedProof, ChunkOpening, Evidence, FragmentProof, Layout, Opening, Options, PairIndex, Place,
    PrimaryVerifier, ReadAt, Recovery, RootVector, SliverHashes, SliverId, nth_chunk, open_chunk, recovery_place,
    recovery_symbol, verify_chunk, verify_fragment, verify_primary, verify_secondary,
};

fn seeds() -> u64 {
    std::env::var("FLOE_FUZZ_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

/// Numbers that follow from a seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(seed: u64, salt: &str) -> Self {
        Self(blake3::Hasher::new().update(salt.as_bytes()).update(&seed.to_le_bytes()).finalize_xof())
    }

    fn number(&mut self, below: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % below.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill(&mut bytes);
        bytes
    }

    /// Good bytes, damaged in one to three ways.
    fn damaged(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.number(3) {
            let (at, length) = (self.number(bytes.len()), bytes.len());
            match self.number(8) {
                _ if length == 0 => bytes = self.bytes(3),
                0 => bytes[at] ^= 1 << self.number(8),
                1 => bytes.truncate(at),
                2 => bytes.extend_from_slice(&good[..at.min(good.len())]),
                3 => bytes.insert(at, self.number(256) as u8),
                4 => drop(bytes.remove(at)),
                5 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
                6 => {
                    let from = self.number(length);
                    let run = self.number(64).min(length - from.max(at));
                    bytes.copy_within(from..from + run, at);
                }
                _ => {
                    bytes = {
                        let length = self.number(2 * length);
                        self.bytes(length)
                    }
                }
            }
        }
        bytes
    }
}

/// Layouts from the smallest to absurd ones.
fn layouts() -> Vec<Layout> {
    let shapes =
        [(4, 0), (4, 11), (10, 5000), (10, 700_003), (31, 1), (1000, 1 << 40), (49_152, 1 << 20), (4, 1 << 58)];
    shapes.map(|(n, length)| Layout::new(n, length).unwrap()).to_vec()
}

#[test]
fn garbage_is_refused_by_every_decoder_without_memory() {
    for seed in 0..seeds() {
        let mut dice = Dice::new(seed, "garbage");
        for layout in layouts() {
            let length = dice.number(4000);
            let mut bytes = dice.bytes(length);
            // A kind of evidence, so that it goes on.
            bytes.iter_mut().take(1).for_each(|byte| *byte %= 7);
            let blob = BlobId([seed as u8; 32]);
            let pair = PairIndex(dice.number(70_000) as u16);
            let axis = if dice.number(2) == 0 { Axis::Primary } else { Axis::Secondary };
            let place = match dice.number(3) {
                0 => Place::chunk(axis, dice.number(70_000) as u16, u64::MAX >> dice.number(64)),
                1 => Place::symbol(axis, dice.number(8) as u16),
                _ => nth_chunk(&layout, axis, dice.number(100) as u64).unwrap_or(Place::chunk(axis, 0, 0)),
            };
            let ((), memory) = measured(|| {
                let _ = FragmentProof::decode(&bytes, &layout).map(|proof| proof.check(&blob, &layout, pair).is_ok());
                let _ = postcard::from_bytes::<FragmentProof>(&bytes);
                let _ = postcard::from_bytes::<BlobId>(&bytes);
                let _ = SliverHashes::from_bytes(&layout, axis, &bytes);
                let _ = Opening::decode(&bytes, &layout, &place);
                let chunk = ChunkOpening::decode(&bytes, &layout, pair, &place);
                assert!(chunk.is_err_and(|error| !format!("{error}").is_empty()) || length > 500);
                let _ = Evidence::decode(&bytes, &blob, &layout);
                let _ = std::str::from_utf8(&bytes).map(|text| text.parse::<BlobId>().is_ok());
            });
            assert!(memory < 16_384 + 8 * length, "seed {seed}: {memory} bytes for {length} in {layout:?}");
        }
    }
}

#[test]
fn damaged_proofs_and_chunks_prove_nothing() {
    let stored = Stored::new(10, 28 * 2600);
    let (blob, layout, options) = (stored.blob, stored.layout, Options::default());
    let pair = PairIndex(3);
    let fragment = stored.fragment(3);
    let good_proof = stored.proof(3).encode();
    for axis in [Axis::Primary, Axis::Secondary] {
        let hashes = stored.hashes(SliverId { pair, axis });
        let place = nth_chunk(&layout, axis, 7).unwrap();
        let good = open_chunk(&layout, &stored.proof(3), place, &hashes, &fragment).unwrap().encode();
        for seed in 0..seeds() {
            let mut dice = Dice::new(seed, "chunk");
            let bytes = dice.damaged(&good);
            let (opened, memory) = measured(|| ChunkOpening::decode(&bytes, &layout, pair, &place));
            assert!(memory < 4096 + 4 * bytes.len());
            if let Ok(opened) = opened {
                let verdict = verify_chunk(&blob, &layout, pair, place, &opened);
                assert_eq!(verdict.is_ok(), bytes == good, "seed {seed}");
            }
            let bytes = dice.damaged(&good_proof);
            if let Ok(proof) = FragmentProof::decode(&bytes, &layout) {
                let other = PairIndex(dice.number(12) as u16);
                assert_eq!(proof.clone().check(&blob, &layout, pair).is_ok(), bytes == good_proof);
                assert!(other == pair || proof.check(&blob, &layout, other).is_err());
            }
        }
    }
    for seed in 0..seeds() / 4 {
        let mut dice = Dice::new(seed, "sliver");
        let bytes = dice.damaged(&fragment);
        let proof = stored.proof(3);
        let same = |bytes: &[u8], end: u64| bytes.get(..end as usize) == fragment.get(..end as usize);
        let whole = verify_fragment(&blob, &layout, pair, &proof, &bytes, &options);
        assert_eq!(whole.is_ok(), same(&bytes, layout.fragment_bytes()));
        let primary = verify_primary(&blob, &layout, pair, &proof, &bytes, &options);
        assert_eq!(primary.is_ok(), same(&bytes, layout.primary_bytes()));
        assert!(verify_secondary(&blob, &layout, pair, &proof, &bytes, &options).is_err());
        let mut verifier = PrimaryVerifier::new(&blob, &layout, pair, &proof).unwrap();
        let streamed = bytes.chunks(1 + dice.number(5000)).try_for_each(|part| verifier.update(part));
        let exact = bytes.len() as u64 == layout.primary_bytes();
        assert!(streamed.and_then(|()| verifier.finish()).is_err() || exact && primary.is_ok());
    }
}

/// Good evidence of every kind, with its blob and layout.
fn evidence() -> Vec<(BlobId, Layout, Evidence, Vec<u8>)> {
    let (n, length) = (7, 300);
    let (p, c) = (3, 5);
    let honest = twin::matrix(&twin::source(&twin::bytes(length), n), n);
    let mut other_bytes = twin::bytes(length);
    other_bytes[0] ^= 1;
    let other = twin::Uploader::new(&twin::matrix(&twin::source(&other_bytes, n), n), length as u64);
    let layout = Layout::new(n as u16, length as u64).unwrap();
    let options = Options::default();
    let mut all = Vec::new();

    let mut uploader = twin::Uploader::new(&honest, length as u64);
    uploader.columns = other.columns;
    let blob = BlobId(uploader.commit().blob);
    for (axis, helpers) in [(1, (n - p..n).collect::<Vec<_>>()), (0, (n - c..n).collect())] {
        // The first column, and the first row, are where the two blobs differ.
        let target = if axis == 1 { n - 1 } else { 0 };
        let (head, body) = uploader.line_evidence(axis, target, &helpers);
        all.push((blob, layout, Evidence::decode(&head, &blob, &layout).unwrap(), body));
    }
    let mut uploader = twin::Uploader::new(&honest, length as u64);
    uploader.other_pieces.push((2, 5));
    let twin = uploader.commit();
    let blob = BlobId(twin.blob);
    let proof = |twin: &twin::Twin, blob: &BlobId, layout: &Layout, pair: usize| -> CheckedProof {
        let proof = FragmentProof::decode(&twin.proofs[pair], layout).unwrap();
        proof.check(blob, layout, PairIndex(pair as u16)).unwrap()
    };
    let proofs: Vec<CheckedProof> = (0..p).map(|pair| proof(&twin, &blob, &layout, pair)).collect();
    match RootVector::from_proofs(&proofs) {
        Err(floe_erasure::RootsError::Inconsistent { evidence }) => all.push((blob, layout, *evidence, Vec::new())),
        other => panic!("{other:?}"),
    }
    let mut uploader = twin::Uploader::new(&honest, length as u64);
    uploader.other_primary_roots.push((1, 1, [9; 32]));
    let twin = uploader.commit();
    let blob = BlobId(twin.blob);
    let body = twin.fragments[1][..layout.primary_bytes() as usize].to_vec();
    all.push((blob, layout, Evidence::extension(Axis::Primary, &proof(&twin, &blob, &layout, 1)), body));

    // 15 symbols of 20 bytes hold the 300: with a length of 299 the last must be zero.
    let uploader = twin::Uploader::new(&honest, 299);
    let twin = uploader.commit();
    let (blob, layout) = (BlobId(twin.blob), Layout::new(n as u16, 299).unwrap());
    let sliver = twin.fragments[p - 1][..layout.primary_bytes() as usize].to_vec();
    let hashes = SliverHashes::of(&layout, PairIndex(2), Axis::Primary, &sliver, &options).unwrap();
    let found = Evidence::padding(&proof(&twin, &blob, &layout, 2), &hashes, &sliver).unwrap();
    let (evidence, body) = found.unwrap();
    all.push((blob, layout, evidence, body));
    all
}

#[test]
fn damaged_evidence_is_refused_and_bounded() {
    let options = Options::default();
    let all = evidence();
    let kinds: Vec<_> = all.iter().map(|(_, _, evidence, _)| evidence.kind()).collect();
    assert_eq!(kinds.len(), 5);
    for (blob, layout, good, body) in &all {
        assert_eq!(good.verify(body, &options).unwrap().kind(), good.kind());
        let head = good.encode();
        for seed in 0..seeds() / 2 {
            let mut dice = Dice::new(seed, "evidence");
            let bytes = dice.damaged(&head);
            let (evidence, memory) = measured(|| Evidence::decode(&bytes, blob, layout));
            assert!(memory < 4096 + 4 * bytes.len());
            if let Ok(evidence) = evidence {
                assert_eq!(evidence.encode(), bytes, "one spelling");
                let (verdict, memory) = measured(|| evidence.verify(body, &options));
                assert_eq!(verdict.is_ok(), bytes == head, "seed {seed}, {}", good.kind());
                assert!(memory < 1 << 20);
            }
            let other = dice.damaged(body);
            let verdict = good.verify(&other, &options);
            let same = other.get(..body.len()) == Some(&body[..]);
            assert_eq!(verdict.is_ok(), same, "seed {seed}, {}", good.kind());
        }
        // The same evidence against other blobs.
        for (other_blob, other_layout, _, _) in &all {
            if let Ok(evidence) = Evidence::decode(&head, other_blob, other_layout) {
                assert_eq!(evidence.verify(body, &options).is_ok(), other_blob == blob);
            }
        }
    }
}

/// Bytes without end of which nothing is ever there.
struct Absent;

impl ReadAt for Absent {
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn absurd_layouts_take_no_memory_before_there_are_bytes() {
    for (n, length) in [(4, 1 << 58), (10, 1 << 50), (1000, 1 << 45)] {
        let layout = Layout::new(n, length).unwrap();
        let options = Options { memory_bytes_max: 1 << 20, ..Options::default() };
        let blob = BlobId([1; 32]);
        let ((), memory) = measured(|| {
            let hashes = SliverHashes::of(&layout, PairIndex(0), Axis::Primary, &Absent, &options);
            assert!(hashes.unwrap_err().is_undecided());
            let mut proof = vec![0; FragmentProof::max_bytes(&layout)];
            proof[128] = layout.piece_bytes() as u8;
            let proof = FragmentProof::decode(&proof, &layout).unwrap();
            assert!(proof.check(&blob, &layout, PairIndex(0)).is_err());
            let mut nowhere = Vec::new();
            let target = SliverId { pair: PairIndex(n - 1), axis: Axis::Primary };
            let symbol = recovery_symbol(&layout, PairIndex(0), target, (&Absent, &mut nowhere), &options);
            assert!(symbol.is_err());
            assert!(recovery_place(&layout, target).unwrap().exists(&layout));
        });
        assert!(memory < 8 << 20, "{memory} bytes for {n} shards");
    }
}

#[test]
fn one_bad_symbol_among_many_is_found_wherever_it_is() {
    let stored = Stored::new(31, 31 * 400);
    let layout = stored.layout;
    let proofs: Vec<CheckedProof> = (0..layout.rows()).map(|pair| stored.checked_proof(pair)).collect();
    let vector = Arc::new(RootVector::from_proofs(&proofs).unwrap());
    for seed in 0..seeds() / 40 {
        let mut dice = Dice::new(seed, "symbol");
        let axis = if dice.number(2) == 0 { Axis::Primary } else { Axis::Secondary };
        let target = SliverId { pair: PairIndex(dice.number(31) as u16), axis };
        let mut recovery = Recovery::new(Arc::clone(&vector), target).unwrap();
        let (needed, options) = (recovery.missing(), Options::default());
        let bad = dice.number(needed);
        for helper in 0..needed as u16 {
            let mut symbol = Vec::new();
            let fragment = stored.fragment(helper);
            recovery_symbol(&layout, PairIndex(helper), target, (&fragment, &mut symbol), &options).unwrap();
            if usize::from(helper) == bad {
                let at = dice.number(symbol.len());
                symbol[at] ^= 1 << dice.number(8);
            }
            recovery.offer(PairIndex(helper), symbol).unwrap();
        }
        let attempt = recovery.attempt(&options).unwrap();
        assert!(matches!(attempt, floe_erasure::Attempt::ProofsWanted { .. }), "seed {seed}");
        let mut named = Vec::new();
        for helper in (0..needed as u16).map(PairIndex) {
            let place = recovery_place(&layout, target).unwrap();
            let hashes = stored.hashes(SliverId { pair: helper, axis: place.axis });
            let opening = hashes.open_symbol(&layout, place.symbol).unwrap();
            if recovery.prove(helper, stored.proof(helper.0), opening).is_err() {
                named.push(usize::from(helper.0));
            }
        }
        assert_eq!(named, [bad]);
    }
}
