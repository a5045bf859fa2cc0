//! What is wrong is refused, and named for what it is: bytes, proofs, pairs, blobs, axes and encodings.

#![allow(clippy::unwrap_used, clippy::panic)]

mod twin;

use floe_erasure::{
    Axis, BlobId, Encoded, FragmentError, FragmentProof, Layout, MemorySink, Options, PairIndex, Part, PrimaryVerifier,
    SecondaryVerifier, encode, verify_fragment, verify_primary, verify_secondary,
};

const SHAPES: [(u16, usize); 5] = [(4, 0), (4, 11), (7, 30), (10, 77), (28, 401)];

fn encoded(n: u16, length: usize) -> (Encoded, MemorySink) {
    let layout = Layout::new(n, length as u64).unwrap();
    let sink = MemorySink::new(layout.encoded_bytes() as usize);
    let encoded = encode(&twin::bytes(length), length as u64, n, &sink, &Options::default()).unwrap();
    (encoded, sink)
}

fn fragment(encoded: &Encoded, sink: &MemorySink, pair: PairIndex) -> Vec<u8> {
    sink.copy(encoded.fragment_offset(pair), encoded.layout().fragment_bytes() as usize).unwrap()
}

/// The three checks on the same bytes, in one place.
struct Case<'a> {
    blob: BlobId,
    layout: Layout,
    pair: PairIndex,
    proof: &'a FragmentProof,
    bytes: &'a [u8],
}

impl Case<'_> {
    fn whole(&self) -> Result<(), FragmentError> {
        let options = Options::default();
        verify_fragment(&self.blob, &self.layout, self.pair, self.proof, &self.bytes, &options).map(drop)
    }

    fn primary(&self) -> Result<(), FragmentError> {
        let options = Options::default();
        verify_primary(&self.blob, &self.layout, self.pair, self.proof, &self.bytes, &options).map(drop)
    }

    fn secondary(&self) -> Result<(), FragmentError> {
        let part = Part::new(&self.bytes, self.layout.primary_bytes());
        verify_secondary(&self.blob, &self.layout, self.pair, self.proof, &part, &Options::default()).map(drop)
    }
}

fn is_proof_error(result: Result<(), FragmentError>) -> bool {
    matches!(result, Err(FragmentError::Proof { .. }))
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    for (n, length) in SHAPES {
        let (encoded, sink) = encoded(n, length);
        let (blob, layout) = (encoded.blob_id(), encoded.layout());
        for pair in [0, n / 2, n - 1].map(PairIndex) {
            let bytes = fragment(&encoded, &sink, pair);
            let good = encoded.proof(pair).encode();
            for bit in 0..8 * good.len() {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Ok(proof) = FragmentProof::decode(&bad, &layout) {
                    let case = Case { blob, layout, pair, proof: &proof, bytes: &bytes };
                    assert!(is_proof_error(case.whole()), "bit {bit}");
                    assert!(is_proof_error(case.primary()), "bit {bit}");
                    assert!(is_proof_error(case.secondary()), "bit {bit}");
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_sliver_is_refused() {
    for (n, length) in SHAPES {
        let (encoded, sink) = encoded(n, length);
        let (blob, layout) = (encoded.blob_id(), encoded.layout());
        for pair in [0, n / 2, n - 1].map(PairIndex) {
            let proof = encoded.proof(pair);
            let mut bytes = fragment(&encoded, &sink, pair);
            for bit in 0..8 * bytes.len() {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let case = Case { blob, layout, pair, proof: &proof, bytes: &bytes };
                let in_primary = ((bit / 8) as u64) < layout.primary_bytes();
                let axis = if in_primary { Axis::Primary } else { Axis::Secondary };
                let is_sliver_error = |result: Result<(), FragmentError>| match result {
                    Err(FragmentError::Sliver { pair: of, axis: which }) => of == pair && which == axis,
                    _ => false,
                };
                assert!(is_sliver_error(case.whole()), "bit {bit}");
                assert_eq!(is_sliver_error(case.primary()), in_primary, "bit {bit}");
                assert_eq!(is_sliver_error(case.secondary()), !in_primary, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

#[test]
fn proofs_of_any_other_length_are_refused() {
    for (n, length) in SHAPES {
        let (encoded, sink) = encoded(n, length);
        let (blob, layout) = (encoded.blob_id(), encoded.layout());
        for pair in (0..n).map(PairIndex) {
            let good = encoded.proof(pair).encode();
            let bytes = fragment(&encoded, &sink, pair);
            assert!(good.len() <= FragmentProof::max_bytes(&layout));
            for size in (0..good.len() + 200).filter(|size| *size != good.len()) {
                let mut bad = good.clone();
                bad.resize(size, 0);
                if let Ok(proof) = FragmentProof::decode(&bad, &layout) {
                    let case = Case { blob, layout, pair, proof: &proof, bytes: &bytes };
                    assert!(is_proof_error(case.whole()));
                }
            }
        }
        assert!(FragmentProof::decode(&vec![0; 100 << 20], &layout).is_err());
    }
}

#[test]
fn proofs_go_through_serde_and_only_in_bounds() {
    let (encoded, _) = encoded(28, 401);
    let proof = encoded.proof(PairIndex(3));
    let binary = postcard::to_allocvec(&proof).unwrap();
    assert_eq!(binary.len(), proof.encode().len() + 2);
    assert_eq!(postcard::from_bytes::<FragmentProof>(&binary).unwrap(), proof);
    let json = serde_json::to_string(&proof).unwrap();
    assert_eq!(serde_json::from_str::<FragmentProof>(&json).unwrap(), proof);

    // A length that promises more than any proof has, and one that keeps its promise.
    let boast = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
    assert!(postcard::from_bytes::<FragmentProof>(&boast).is_err());
    assert!(postcard::from_bytes::<FragmentProof>(&postcard::to_allocvec(&vec![0_u8; 5000]).unwrap()).is_err());
    assert!(serde_json::from_str::<FragmentProof>(&serde_json::to_string(&vec![0_u8; 5000]).unwrap()).is_err());
    for size in 0..binary.len() {
        assert!(postcard::from_bytes::<FragmentProof>(&binary[..size]).is_err());
    }
}

#[test]
fn wrong_pair_blob_layout_or_axis_is_refused() {
    let (n, length) = (10, 77);
    let (good, sink) = encoded(n, length);
    let (blob, layout, pair) = (good.blob_id(), good.layout(), PairIndex(2));
    let (bytes, proof) = (fragment(&good, &sink, pair), good.proof(pair));
    fn make<'a>(blob: BlobId, layout: Layout, pair: PairIndex, proof: &'a FragmentProof, bytes: &'a [u8]) -> Case<'a> {
        Case { blob, layout, pair, proof, bytes }
    }
    make(blob, layout, pair, &proof, &bytes).whole().unwrap();

    for other in (0..n).filter(|other| *other != pair.0).map(PairIndex) {
        assert!(is_proof_error(make(blob, layout, other, &proof, &bytes).whole()));
        let other_proof = good.proof(other);
        assert!(is_proof_error(make(blob, layout, pair, &other_proof, &bytes).primary()));
        let result = make(blob, layout, other, &other_proof, &bytes).whole();
        assert!(matches!(result, Err(FragmentError::Sliver { axis: Axis::Primary, .. })));
    }
    for beyond in [n, u16::MAX].map(PairIndex) {
        let result = make(blob, layout, beyond, &proof, &bytes).whole();
        assert!(matches!(result, Err(FragmentError::Pair { shards: 10, .. })));
    }
    let other_blob = encoded(n, length + 1).0.blob_id();
    assert!(is_proof_error(make(other_blob, layout, pair, &proof, &bytes).whole()));
    for (n, length) in [(10_u16, 76_u64), (10, 78), (11, 77), (10, 7700)] {
        assert!(is_proof_error(make(blob, Layout::new(n, length).unwrap(), pair, &proof, &bytes).whole()));
    }

    // The secondary sliver with as much after it as a primary one needs.
    let swapped = [&bytes[layout.primary_bytes() as usize..], &bytes[..]].concat();
    let case = Case { blob, layout, pair, proof: &proof, bytes: &swapped };
    assert!(matches!(case.primary(), Err(FragmentError::Sliver { axis: Axis::Primary, .. })));
    let as_secondary = verify_secondary(&blob, &layout, pair, &proof, &bytes, &Options::default());
    assert!(matches!(as_secondary, Err(FragmentError::Sliver { axis: Axis::Secondary, .. })));
    let short = &bytes[..bytes.len() - 1];
    let result = verify_fragment(&blob, &layout, pair, &proof, &short, &Options::default());
    assert!(result.unwrap_err().is_undecided());
}

#[test]
fn slivers_stream_in_any_parts_and_only_whole() {
    for (n, length) in [(4, 11), (10, 77), (28, 300_001), (100, 100_000)] {
        let (encoded, sink) = encoded(n, length);
        let (blob, layout, pair) = (encoded.blob_id(), encoded.layout(), PairIndex(1));
        let (bytes, proof) = (fragment(&encoded, &sink, pair), encoded.proof(pair));
        let (primary, secondary) = bytes.split_at(layout.primary_bytes() as usize);
        for part in [1, 3, 64, 1000, 1 << 20] {
            let mut verifier = PrimaryVerifier::new(&blob, &layout, pair, &proof).unwrap();
            primary.chunks(part).for_each(|part| verifier.update(part).unwrap());
            assert!(matches!(verifier.update(&[0]), Err(FragmentError::Length { .. })));
            verifier.finish().unwrap();
            let mut verifier = SecondaryVerifier::new(&blob, &layout, pair, &proof).unwrap();
            secondary.chunks(part).for_each(|part| verifier.update(part).unwrap());
            assert_eq!(verifier.finish().unwrap().blob(), blob);
        }
        let mut verifier = PrimaryVerifier::new(&blob, &layout, pair, &proof).unwrap();
        verifier.update(&primary[1..]).unwrap();
        assert!(matches!(verifier.finish(), Err(FragmentError::Length { .. })));
    }
}

/// Checks all fragments of what a twin committed to; returns the pairs in which something was found.
fn found(twin: &twin::Twin, n: u16, length: u64) -> Vec<(u16, FragmentError)> {
    let layout = Layout::new(n, length).unwrap();
    let check = |index: u16| {
        let proof = FragmentProof::decode(&twin.proofs[usize::from(index)], &layout).unwrap();
        let bytes = &twin.fragments[usize::from(index)];
        let case = Case { blob: BlobId(twin.blob), layout, pair: PairIndex(index), proof: &proof, bytes };
        case.whole().err().map(|error| (index, error))
    };
    (0..n).filter_map(check).collect()
}

#[test]
fn inconsistent_extension_is_found_by_its_holder_and_named() {
    let (n, length) = (10, 500);
    let honest = twin::matrix(&twin::source(&twin::bytes(length), n), n);
    let (p, c) = (4, 7);
    // The two slivers of the symbol are in different pairs, so that both are heard.
    for (row, column) in [(0, 0), (1, 7), (6, 2), (9, 9), (p - 1, c - 2)] {
        let mut matrix = honest.clone();
        matrix[row][column][0] ^= 1;
        let found = found(&twin::commit(&matrix, length as u64), n as u16, length as u64);
        // The row's holder and the column's: each finds that its sliver does not extend to what it commits to.
        let mut expected = vec![(row, Axis::Primary), (n - 1 - column, Axis::Secondary)];
        expected.sort();
        let found: Vec<(usize, Axis)> = found
            .into_iter()
            .map(|(index, error)| {
                assert!(error.is_inconsistency() && !error.is_undecided());
                match error {
                    FragmentError::Extension { axis, .. } => (usize::from(index), axis),
                    other => panic!("{other}"),
                }
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn consistent_encoding_with_bytes_after_the_end_is_found() {
    let n = 10;
    // 28 symbols of 18 bytes are 504: with a length of 500 the last four must be zero.
    let twin = twin::commit(&twin::matrix(&twin::source(&twin::bytes(504), n), n), 500);
    let found = found(&twin, n as u16, 500);
    let padded: Vec<(u16, bool)> =
        found.iter().map(|(index, error)| (*index, matches!(error, FragmentError::Padding { .. }))).collect();
    // The last source row is in pair 3, the last source column, 6, as well.
    assert_eq!(padded, [(3, true)]);
    let layout = Layout::new(10, 500).unwrap();
    let proof = FragmentProof::decode(&twin.proofs[3], &layout).unwrap();
    let case = Case { blob: BlobId(twin.blob), layout, pair: PairIndex(3), proof: &proof, bytes: &twin.fragments[3] };
    assert!(matches!(case.primary(), Err(FragmentError::Padding { axis: Axis::Primary, .. })));
    assert!(matches!(case.secondary(), Err(FragmentError::Padding { axis: Axis::Secondary, .. })));
}
