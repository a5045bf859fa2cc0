//! Parts of symbols are opened by their holder alone and by nobody else, on both axes and in every grain.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod twin;

use std::sync::atomic::{AtomicU64, Ordering};

use common::Stored;
use floe_erasure::{
    Axis, ChunkOpening, Grain, Opening, OpeningError, Options, PairIndex, Place, ReadAt, SliverHashes, SliverId,
    UNIT_BYTES, chunk_count, nth_chunk, open_chunk, verify_chunk,
};

/// Symbols of 2 bytes, some hundred, just over a chunk, and 25 chunks.
const SHAPES: [(u16, usize); 6] = [(4, 0), (4, 11), (7, 3000), (10, 28 * 1026), (10, 700_003), (31, 100_000)];

#[test]
fn every_chunk_is_opened_and_verified() {
    for (n, length) in SHAPES {
        let stored = Stored::new(n, length);
        let layout = stored.layout;
        for pair in [0, n / 2, n - 1] {
            for axis in [Axis::Primary, Axis::Secondary] {
                let sliver = SliverId { pair: PairIndex(pair), axis };
                let (hashes, bytes, fragment) = (stored.hashes(sliver), stored.sliver(sliver), stored.fragment(pair));
                let mut whole = Vec::new();
                for number in 0..chunk_count(&layout, axis) {
                    let place = nth_chunk(&layout, axis, number).unwrap();
                    let opened = open_chunk(&layout, &stored.proof(pair), place, &hashes, &fragment).unwrap();
                    let wire = opened.encode();
                    assert_eq!(Some(wire.len()), ChunkOpening::bytes_of(&layout, PairIndex(pair), &place));
                    assert!(wire.len() <= ChunkOpening::max_bytes(&layout));
                    let read = ChunkOpening::decode(&wire, &layout, PairIndex(pair), &place).unwrap();
                    assert_eq!(read, opened);
                    let checked = verify_chunk(&stored.blob, &layout, PairIndex(pair), place, &read).unwrap();
                    assert_eq!(
                        (checked.place(), checked.pair(), checked.blob()),
                        (place, PairIndex(pair), stored.blob)
                    );
                    whole.extend(checked.into_bytes());
                }
                assert!(whole == bytes, "{n} shards, {length} bytes, {sliver}");
                assert_eq!(nth_chunk(&layout, axis, chunk_count(&layout, axis)), None);
                assert_eq!(nth_chunk(&layout, axis, u64::MAX), None);
            }
        }
    }
}

#[test]
fn openings_are_those_of_the_twin() {
    for (n, length) in [(4_u16, 11), (7, 3000), (10, 28 * 1026), (10, 28 * 5000 - 3), (7, 15 * 16_384)] {
        let (stored, shards) = (Stored::new(n, length), usize::from(n));
        let layout = stored.layout;
        let (size, twin) = (layout.symbol_bytes() as usize, twin::encode(&stored.bytes, shards));
        for pair in 0..n {
            for axis in [Axis::Primary, Axis::Secondary] {
                let sliver = SliverId { pair: PairIndex(pair), axis };
                let symbols: Vec<Vec<u8>> = stored.sliver(sliver).chunks(size).map(<[u8]>::to_vec).collect();
                let (hashes, proof, fragment) = (stored.hashes(sliver), stored.proof(pair), stored.fragment(pair));
                for number in 0..chunk_count(&layout, axis) {
                    let place = nth_chunk(&layout, axis, number).unwrap();
                    let opened = open_chunk(&layout, &proof, place, &hashes, &fragment).unwrap();
                    let (symbol, chunk) = (usize::from(place.symbol), place.part as usize);
                    assert!(opened.encode() == twin.chunk_opening(usize::from(pair), &symbols, symbol, chunk));
                }
            }
        }
    }
}

#[test]
fn a_chunk_at_a_thousand_shards_takes_about_two_kilobytes() {
    let stored = Stored::new(1000, 64 << 20);
    let layout = stored.layout;
    let sliver = SliverId { pair: PairIndex(3), axis: Axis::Primary };
    let place = nth_chunk(&layout, Axis::Primary, 600).unwrap();
    let opened = open_chunk(&layout, &stored.proof(3), place, &stored.hashes(sliver), &stored.fragment(3)).unwrap();
    assert!(opened.encode().len() < 1300);
    assert!(ChunkOpening::max_bytes(&layout) < 2048);
    let large = floe_erasure::Layout::new(1000, 1 << 40).unwrap();
    assert!(ChunkOpening::max_bytes(&large) < 2500);
}

#[test]
fn every_flipped_bit_and_every_other_place_is_refused() {
    let stored = Stored::new(7, 15 * 2500);
    let layout = stored.layout;
    let sliver = SliverId { pair: PairIndex(2), axis: Axis::Secondary };
    let (pair, hashes, fragment) = (sliver.pair, stored.hashes(sliver), stored.fragment(2));
    let place = Place::chunk(Axis::Secondary, 1, 1);
    let good = open_chunk(&layout, &stored.proof(2), place, &hashes, &fragment).unwrap();
    let wire = good.encode();
    for bit in 0..8 * wire.len() {
        let mut bad = wire.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let verdict = ChunkOpening::decode(&bad, &layout, pair, &place)
            .and_then(|opening| verify_chunk(&stored.blob, &layout, pair, place, &opening));
        assert!(verdict.is_err(), "bit {bit}");
    }
    for size in (0..wire.len() + 70).filter(|size| *size != wire.len()) {
        let mut bad = wire.clone();
        bad.resize(size, 0);
        let read = ChunkOpening::decode(&bad, &layout, pair, &place);
        assert!(matches!(read, Err(OpeningError::Length { .. })));
    }
    assert!(ChunkOpening::decode(&vec![0; 100 << 20], &layout, pair, &place).is_err());
    for axis in [Axis::Primary, Axis::Secondary] {
        for symbol in 0..8 {
            for chunk in 0..4 {
                let other = Place::chunk(axis, symbol, chunk);
                let verdict = verify_chunk(&stored.blob, &layout, pair, other, &good);
                assert_eq!(verdict.is_ok(), other == place);
            }
        }
    }
    for other in (0..9).filter(|other| *other != 2).map(PairIndex) {
        assert!(verify_chunk(&stored.blob, &layout, other, place, &good).is_err());
    }
    let other = Stored::new(7, 15 * 2500 - 1);
    assert!(verify_chunk(&other.blob, &other.layout, pair, place, &good).is_err());
}

#[test]
fn places_that_are_not_stored_are_not_opened() {
    let stored = Stored::new(7, 3000);
    let layout = stored.layout;
    let sliver = SliverId { pair: PairIndex(2), axis: Axis::Primary };
    let (hashes, fragment, proof) = (stored.hashes(sliver), stored.fragment(2), stored.proof(2));
    let wrong = [
        Place::chunk(Axis::Primary, 5, 0),
        Place::chunk(Axis::Primary, 0, 1),
        Place::chunk(Axis::Primary, u16::MAX, u64::MAX),
        Place::chunk(Axis::Secondary, 0, 0),
        Place::symbol(Axis::Primary, 0),
    ];
    for place in wrong {
        let opened = open_chunk(&layout, &proof, place, &hashes, &fragment);
        assert!(matches!(opened, Err(OpeningError::Place { .. })), "{place:?}");
    }
    let short = open_chunk(&layout, &proof, Place::chunk(Axis::Primary, 1, 0), &hashes, &Vec::new());
    assert!(matches!(short, Err(OpeningError::Read { .. })));
}

#[test]
fn units_and_whole_symbols_are_opened_also_those_of_the_extension() {
    for (n, length) in [(4, 1 << 20), (7, 3000), (10, 28 * 65_536), (10, 3_000_001)] {
        let stored = Stored::new(n, length);
        let layout = stored.layout;
        for axis in [Axis::Primary, Axis::Secondary] {
            let sliver = SliverId { pair: PairIndex(1), axis };
            let (hashes, bytes, proof) = (stored.hashes(sliver), stored.sliver(sliver), stored.checked_proof(1));
            for grain in [Grain::Unit, Grain::Symbol] {
                for part in 0..grain.parts(&layout) {
                    let place = Place { axis, symbol: 1, grain, part };
                    let (part, opening) = hashes.open_part(&layout, place, &bytes).unwrap();
                    let wire = opening.encode();
                    assert_eq!(wire.len(), place.opening_bytes(&layout));
                    let opening = Opening::decode(&wire, &layout, &place).unwrap();
                    assert_eq!(proof.check_part(place, part.clone(), &opening).unwrap().bytes(), part);
                    let mut bad = part.clone();
                    bad[part.len() - 1] ^= 0x80;
                    assert!(matches!(proof.check_part(place, bad, &opening), Err(OpeningError::Wrong { .. })));
                    let longer = [&part[..], &[0]].concat();
                    assert!(matches!(proof.check_part(place, longer, &opening), Err(OpeningError::Bytes { .. })));
                }
            }
            for symbol in 0..n {
                let opening = hashes.open_symbol(&layout, symbol).unwrap();
                assert_eq!(opening.encode().len(), Place::symbol(axis, symbol).opening_bytes(&layout));
            }
            assert!(hashes.open_symbol(&layout, n).is_none());
            let kept = SliverHashes::from_bytes(&layout, axis, hashes.as_bytes()).unwrap();
            assert_eq!((kept.roots(), kept), (proof.roots(axis), hashes.clone()));
            assert!(SliverHashes::from_bytes(&layout, axis, &hashes.as_bytes()[1..]).is_none());
        }
    }
}

/// Counts what is read of it.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl ReadAt for Counted {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.bytes.read_exact_at(buffer, offset)
    }
}

#[test]
fn with_the_hashes_of_units_a_chunk_is_opened_by_reading_its_unit() {
    for length in [3000, 6 * 65_536, 6 * 65_538, 6 * 200_000, 6 * (1 << 20) - 7, 6 * 720_898] {
        let stored = Stored::new(4, length);
        let (layout, proof, options) = (stored.layout, stored.proof(1), Options::default());
        for axis in [Axis::Primary, Axis::Secondary] {
            let sliver = SliverId { pair: PairIndex(1), axis };
            let (hashes, bytes) = (stored.hashes(sliver), stored.sliver(sliver));
            let kept = hashes.clone().with_units(&layout, &bytes, &options).unwrap();
            let again = SliverHashes::from_bytes(&layout, axis, kept.as_bytes()).unwrap();
            assert_eq!(again.with_unit_bytes(&layout, kept.unit_bytes()).as_ref(), Some(&kept));
            if layout.symbol_bytes() > UNIT_BYTES {
                let short = &kept.unit_bytes()[32..];
                assert_eq!(hashes.clone().with_unit_bytes(&layout, short), None);
                assert_eq!(hashes.clone().with_unit_bytes(&layout, &short[1..]), None);
                assert!(hashes.clone().with_units(&layout, &Vec::new(), &options).is_err());
            } else {
                assert!(kept.unit_bytes().is_empty());
            }
            let fragment = Counted { bytes: stored.fragment(1), read: AtomicU64::new(0) };
            for number in (0..chunk_count(&layout, axis)).step_by(7).chain([chunk_count(&layout, axis) - 1]) {
                let place = nth_chunk(&layout, axis, number).unwrap();
                let expected = open_chunk(&layout, &proof, place, &hashes, &fragment).unwrap();
                fragment.read.store(0, Ordering::Relaxed);
                assert_eq!(open_chunk(&layout, &proof, place, &kept, &fragment).unwrap(), expected);
                assert!(fragment.read.load(Ordering::Relaxed) <= UNIT_BYTES);
            }
            for part in 0..Grain::Unit.parts(&layout) {
                let place = Place { axis, symbol: 1, grain: Grain::Unit, part };
                let opened = [&hashes, &kept].map(|hashes| hashes.open_part(&layout, place, &bytes).unwrap());
                assert_eq!(opened[0], opened[1]);
            }
        }
    }
}
