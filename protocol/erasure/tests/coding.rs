//! Encoding, identifying and decoding against the twin, at many shapes and whatever the machine may use.

#![allow(clippy::unwrap_used, clippy::panic)]

mod twin;

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use floe_erasure::{
    BlobId, CheckedPrimary, CheckedSecondary, DecodeError, EncodeError, Encoded, Layout, MemorySink, Options,
    PairIndex, Part, ReadAt, decode, decode_secondaries, encode, identify, verify_fragment, verify_primary,
    verify_secondary,
};
use proptest::prelude::*;

fn shapes() -> impl Iterator<Item = (u16, usize)> {
    [4_u16, 7, 10, 28, 31, 100].into_iter().flat_map(|n| {
        let layout = Layout::new(n, 0).unwrap();
        let symbols = usize::from(layout.rows()) * usize::from(layout.columns());
        let near = [symbols - 1, symbols, symbols + 1, 2 * symbols, 2 * symbols + 1, 64 * symbols + 3];
        let chunk = if n <= 28 { vec![1024 * symbols, 1024 * symbols + 1] } else { Vec::new() };
        let sizes = [0, 1, 2, 3, 1001, 1 << 16, (1 << 20) + 7];
        sizes.into_iter().chain(near).chain(chunk).map(move |length| (n, length))
    })
}

fn options(threads: usize, memory_bytes_max: usize) -> Options<'static> {
    Options { threads: NonZeroUsize::new(threads).unwrap(), memory_bytes_max, ..Options::default() }
}

fn encoded(bytes: &[u8], n: u16, options: &Options<'_>) -> (Encoded, MemorySink) {
    let layout = Layout::new(n, bytes.len() as u64).unwrap();
    let sink = MemorySink::new(layout.encoded_bytes() as usize);
    let encoded = encode(&bytes, bytes.len() as u64, n, &sink, options).unwrap();
    (encoded, sink)
}

#[test]
fn encoding_is_that_of_the_twin_and_every_fragment_verifies() {
    for (n, length) in shapes() {
        let bytes = twin::bytes(length);
        let twin = twin::encode(&bytes, usize::from(n));
        let options = Options::default();
        let (encoded, sink) = encoded(&bytes, n, &options);
        let (blob, layout) = (encoded.blob_id(), encoded.layout());
        assert_eq!(blob, BlobId(twin.blob), "{n} shards, {length} bytes");
        assert_eq!(identify(&bytes, length as u64, n, &options).unwrap(), blob);
        for pair in (0..n).map(PairIndex) {
            let offset = encoded.fragment_offset(pair);
            let fragment = sink.copy(offset, layout.fragment_bytes() as usize).unwrap();
            assert!(fragment == twin.fragments[usize::from(pair.0)], "{n} shards, {length} bytes, pair {pair}");
            let proof = encoded.proof(pair);
            assert_eq!(proof.encode(), twin.proofs[usize::from(pair.0)]);
            let whole = verify_fragment(&blob, &layout, pair, &proof, &fragment, &options).unwrap();
            assert_eq!((whole.blob(), whole.pair()), (blob, pair));
            let primary = verify_primary(&blob, &layout, pair, &proof, &fragment, &options).unwrap();
            assert_eq!(primary, whole.primary());
            let secondary = Part::new(&fragment, layout.primary_bytes());
            let secondary = verify_secondary(&blob, &layout, pair, &proof, &secondary, &options).unwrap();
            assert_eq!(secondary, whole.secondary());
        }
    }
}

#[test]
fn a_thousand_shards_are_those_of_the_twin() {
    let bytes = twin::bytes(65_536);
    let twin = twin::encode(&bytes, 1000);
    let (encoded, sink) = encoded(&bytes, 1000, &options(2, 1 << 25));
    assert_eq!(encoded.blob_id(), BlobId(twin.blob));
    assert!(sink.into_bytes() == twin.fragments.concat());
    assert!((0..1000).all(|pair| encoded.proof(PairIndex(pair)).encode() == twin.proofs[usize::from(pair)]));
}

#[test]
fn threads_and_memory_change_nothing() {
    for (n, length) in [(4, 70_001), (7, 3), (10, 1 << 20), (28, 500_000), (31, 1 << 21), (100, 1000), (100, 3_000_001)]
    {
        let bytes = twin::bytes(length);
        let (expected, sink) = encoded(&bytes, n, &options(1, 1 << 30));
        let expected_bytes = sink.into_bytes();
        for (threads, memory) in [(1, 0), (2, 1 << 20), (3, 300_000), (2, 1 << 30), (5, 5 << 20)] {
            let (again, sink) = encoded(&bytes, n, &options(threads, memory));
            assert_eq!(again.blob_id(), expected.blob_id(), "{n} {length} {threads} {memory}");
            assert!(sink.into_bytes() == expected_bytes, "{n} {length} {threads} {memory}");
            let id = identify(&bytes, length as u64, n, &options(threads, memory)).unwrap();
            assert_eq!(id, expected.blob_id());
        }
        let layout = expected.layout();
        for pair in [0, n / 2, n - 1].map(PairIndex) {
            let part = Part::new(&expected_bytes, expected.fragment_offset(pair));
            for memory in [0, 100_000, 1 << 30] {
                let (blob, proof) = (expected.blob_id(), expected.proof(pair));
                verify_fragment(&blob, &layout, pair, &proof, &part, &options(2, memory)).unwrap();
            }
        }
    }
}

/// All pairs in some order.
fn shuffled(n: u16, seed: u64) -> Vec<u16> {
    let mut pairs: Vec<u16> = (0..n).collect();
    let rank = |pair: &u16| *blake3::hash(&[&seed.to_le_bytes()[..], &pair.to_le_bytes()].concat()).as_bytes();
    pairs.sort_by_key(rank);
    pairs
}

/// Decodes from the given pairs.
fn decoded(encoded: &Encoded, sink: &MemorySink, pairs: &[u16], options: &Options<'_>) -> Result<Vec<u8>, DecodeError> {
    let layout = encoded.layout();
    let parts: Vec<Part> = pairs.iter().map(|i| Part::new(sink, encoded.fragment_offset(PairIndex(*i)))).collect();
    let checked: Vec<(CheckedPrimary, &dyn ReadAt)> = pairs
        .iter()
        .zip(&parts)
        .map(|(index, part)| {
            let (pair, blob) = (PairIndex(*index), encoded.blob_id());
            let proof = encoded.proof(pair);
            let checked = verify_primary(&blob, &layout, pair, &proof, part, options).unwrap();
            (checked, part as &dyn ReadAt)
        })
        .collect();
    let mut out = Vec::new();
    decode(&layout, &checked, &mut out, options).map(|()| out)
}

/// Decodes from the secondary slivers of the given pairs.
fn decoded_from_secondaries(
    encoded: &Encoded,
    sink: &MemorySink,
    pairs: &[u16],
    options: &Options<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let layout = encoded.layout();
    let place = |index: &u16| encoded.fragment_offset(PairIndex(*index)) + layout.primary_bytes();
    let parts: Vec<Part> = pairs.iter().map(|index| Part::new(sink, place(index))).collect();
    let checked: Vec<(CheckedSecondary, &dyn ReadAt)> = pairs
        .iter()
        .zip(&parts)
        .map(|(index, part)| {
            let (pair, blob) = (PairIndex(*index), encoded.blob_id());
            let proof = encoded.proof(pair);
            (verify_secondary(&blob, &layout, pair, &proof, part, options).unwrap(), part as &dyn ReadAt)
        })
        .collect();
    let mut out = Vec::new();
    decode_secondaries(&layout, &checked, &mut out, options).map(|()| out)
}

#[test]
fn blob_comes_back_from_secondary_slivers_too() {
    for (n, length) in shapes() {
        let bytes = twin::bytes(length);
        let (encoded, sink) = encoded(&bytes, n, &Options::default());
        let c = encoded.layout().columns();
        let mixed = &shuffled(n, length as u64)[..usize::from(c)];
        // Systematic columns are in the last pairs.
        for pairs in [(n - c..n).collect::<Vec<_>>(), (0..c).collect(), mixed.to_vec(), (0..n).collect()] {
            for memory in [0, 40_000, 1 << 25] {
                let out = decoded_from_secondaries(&encoded, &sink, &pairs, &options(1, memory)).unwrap();
                assert!(out == bytes, "{n} shards, {length} bytes, pairs {pairs:?}, memory {memory}");
            }
        }
        let few = decoded_from_secondaries(&encoded, &sink, &mixed[1..], &Options::default());
        assert!(matches!(few, Err(DecodeError::TooFew { .. })));
    }
}

#[test]
fn blob_comes_back_from_the_first_the_last_and_any_slivers() {
    for (n, length) in shapes() {
        let bytes = twin::bytes(length);
        let (encoded, sink) = encoded(&bytes, n, &Options::default());
        let p = encoded.layout().rows();
        let mixed = &shuffled(n, length as u64)[..usize::from(p)];
        let one_missing: Vec<u16> = (1..=p).collect();
        for pairs in
            [(0..p).collect::<Vec<_>>(), (n - p..n).collect(), mixed.to_vec(), one_missing, (0..n).rev().collect()]
        {
            for memory in [0, 40_000, 1 << 25] {
                let out = decoded(&encoded, &sink, &pairs, &options(1, memory)).unwrap();
                assert!(out == bytes, "{n} shards, {length} bytes, pairs {pairs:?}, memory {memory}");
            }
        }
    }
}

#[test]
fn too_few_or_mixed_slivers_are_refused() {
    let options = Options::default();
    let (one, one_sink) = encoded(&twin::bytes(1000), 10, &options);
    assert!(matches!(decoded(&one, &one_sink, &[1, 2, 3], &options), Err(DecodeError::TooFew { needed: 4, given: 3 })));
    let twice = decoded(&one, &one_sink, &[1, 1, 2, 3], &options);
    assert!(matches!(twice, Err(DecodeError::TooFew { needed: 4, given: 3 })));

    let mut other_bytes = twin::bytes(1000);
    other_bytes[5] ^= 1;
    let (other, other_sink) = encoded(&other_bytes, 10, &options);
    let checked = |encoded: &Encoded, sink: &MemorySink, index: u16| {
        let (pair, layout) = (PairIndex(index), encoded.layout());
        let part = Part::new(sink, encoded.fragment_offset(pair));
        verify_primary(&encoded.blob_id(), &layout, pair, &encoded.proof(pair), &part, &options).unwrap()
    };
    let empty: &dyn ReadAt = &Vec::new();
    let mut slivers: Vec<(CheckedPrimary, &dyn ReadAt)> =
        (0..4).map(|index| (checked(&one, &one_sink, index), empty)).collect();
    slivers[2].0 = checked(&other, &other_sink, 2);
    let result = decode(&one.layout(), &slivers, &mut Vec::new(), &options);
    assert!(matches!(result, Err(DecodeError::Mixed { pair: PairIndex(2) })));
    slivers.remove(2);
    slivers.push((checked(&one, &one_sink, 9), empty));
    let result = decode(&one.layout(), &slivers, &mut Vec::new(), &options);
    assert!(matches!(result, Err(DecodeError::Read { .. })));
    let result = decode(&Layout::new(10, 999).unwrap(), &slivers, &mut Vec::new(), &options);
    assert!(matches!(result, Err(DecodeError::Mixed { .. })));
}

#[test]
fn failing_media_and_cancelling_are_errors() {
    let bytes = twin::bytes(1000);
    for threads in [1, 3] {
        let options = options(threads, 1 << 20);
        let short = encode(&bytes, 1001, 10, &MemorySink::new(1 << 20), &options);
        assert!(matches!(short, Err(EncodeError::Read { .. })));
        let full = encode(&bytes, 1000, 10, &MemorySink::new(100), &options);
        assert!(matches!(full, Err(EncodeError::Write { .. })));
    }
    let shapes = [(3, 1), (4, u64::MAX)];
    for (n, length) in shapes {
        assert!(matches!(identify(&bytes, length, n, &options(1, 0)), Err(EncodeError::Layout(_))));
    }
    let cancel = AtomicBool::new(true);
    let cancelled = Options { cancel: Some(&cancel), ..Options::default() };
    assert!(matches!(identify(&bytes, 1000, 10, &cancelled), Err(EncodeError::Cancelled)));
}

#[test]
fn progress_grows_to_the_length() {
    let bytes = twin::bytes(1_000_000);
    let seen = Mutex::new(Vec::new());
    let progress = |done| seen.lock().unwrap().push(done);
    let options = Options { progress: Some(&progress), ..options(2, 200_000) };
    identify(&bytes, 1_000_000, 10, &options).unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() > 5 && seen.is_sorted());
    assert_eq!(seen.last(), Some(&1_000_000));
}

#[test]
fn files_are_sources_and_sinks() {
    let bytes = twin::bytes(300_001);
    let (expected, sink) = encoded(&bytes, 28, &Options::default());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("blob"), &bytes).unwrap();
    let source = std::fs::File::open(directory.path().join("blob")).unwrap();
    let path = directory.path().join("fragments");
    let target = std::fs::File::create(&path).unwrap();
    let encoded = encode(&source, 300_001, 28, &target, &options(2, 400_000)).unwrap();
    assert_eq!(encoded.blob_id(), expected.blob_id());
    assert!(std::fs::read(&path).unwrap() == sink.into_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shape_and_any_erasures(n in 4_u16..60, length in 0_usize..40_000, seed in any::<u64>(), memory in 0_usize..300_000) {
        let bytes = twin::bytes(length);
        let (encoded, sink) = encoded(&bytes, n, &options(1 + (seed % 3) as usize, memory));
        prop_assert_eq!(encoded.blob_id(), BlobId(twin::encode(&bytes, usize::from(n)).blob));
        let mut pairs = shuffled(n, seed);
        pairs.truncate(usize::from(encoded.layout().rows()));
        prop_assert!(decoded(&encoded, &sink, &pairs, &options(1, memory)).unwrap() == bytes);
        let mut pairs = shuffled(n, seed ^ 1);
        pairs.truncate(usize::from(encoded.layout().columns()));
        prop_assert!(decoded_from_secondaries(&encoded, &sink, &pairs, &options(1, memory)).unwrap() == bytes);
    }
}
