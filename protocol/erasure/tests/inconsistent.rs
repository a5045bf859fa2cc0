//! Whatever an uploader did: two readers that derive the id never disagree, and when one fails there is evidence that
//! everybody accepts. Against an honest blob there is none.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod twin;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{Stored, shuffled};
use floe_erasure::{
    Attempt, Axis, BlobId, CheckedProof, Evidence, EvidenceError, EvidenceKind, FragmentError, FragmentProof,
    InconsistencyError, Layout, Options, PairIndex, ReadAt, Recovery, RootVector, RootsError, SliverHashes, SliverId,
    decode, decode_secondaries, find_inconsistency, identify, recovery_place, recovery_symbol, verify_fragment,
    verify_primary, verify_secondary,
};
use twin::{Twin, Uploader};

/// A blob as its holders have it.
struct Held {
    blob: BlobId,
    layout: Layout,
    twin: Twin,
}

impl Held {
    fn new(uploader: &Uploader) -> Self {
        let twin = uploader.commit();
        let layout = Layout::new(uploader.rows.len() as u16, uploader.length).unwrap();
        Self { blob: BlobId(twin.blob), layout, twin }
    }

    fn proof(&self, pair: u16) -> CheckedProof {
        let proof = FragmentProof::decode(&self.twin.proofs[usize::from(pair)], &self.layout).unwrap();
        proof.check(&self.blob, &self.layout, PairIndex(pair)).unwrap()
    }

    fn sliver(&self, pair: u16, axis: Axis) -> Vec<u8> {
        let (primary, secondary) =
            self.twin.fragments[usize::from(pair)].split_at(self.layout.primary_bytes() as usize);
        if axis == Axis::Primary { primary.to_vec() } else { secondary.to_vec() }
    }

    /// Reads as a reader does that derives the id anew: from the slivers of `axis` in those pairs of `order` that
    /// verify. None when they are too few; else the bytes, or what is wrong.
    fn strict_read(&self, axis: Axis, order: &[u16]) -> Option<Result<Vec<u8>, EvidenceKind>> {
        let options = Options::default();
        let layout = &self.layout;
        let slivers: Vec<(u16, Vec<u8>)> = order.iter().map(|pair| (*pair, self.sliver(*pair, axis))).collect();
        let mut out = Vec::new();
        let mut used: Vec<(CheckedProof, &dyn ReadAt)> = Vec::new();
        let mut padding = None;
        let enough = usize::from(if axis == Axis::Primary { layout.rows() } else { layout.columns() });
        let (mut primaries, mut secondaries) = (Vec::new(), Vec::new());
        for (pair, bytes) in &slivers {
            let proof = self.proof(*pair);
            let (index, fragment_proof) = (PairIndex(*pair), proof.proof().clone());
            let error = match axis {
                Axis::Primary => verify_primary(&self.blob, layout, index, &fragment_proof, bytes, &options)
                    .map(|checked| primaries.push((checked, bytes as &dyn ReadAt))),
                Axis::Secondary => verify_secondary(&self.blob, layout, index, &fragment_proof, bytes, &options)
                    .map(|checked| secondaries.push((checked, bytes as &dyn ReadAt))),
            };
            match error {
                Ok(()) => used.push((proof, bytes)),
                Err(error) if error.is_inconsistency() => padding = Some((proof, bytes)),
                Err(_) => continue,
            }
            if used.len() == enough {
                break;
            }
        }
        if used.len() < enough {
            // A reader that met padding may stop there: it has its evidence.
            return padding.map(|(proof, bytes)| {
                let hashes = SliverHashes::of(layout, proof.pair(), axis, bytes, &options).unwrap();
                let found = Evidence::padding(&proof, &hashes, bytes).unwrap();
                Err(found.map_or(EvidenceKind::Extension, |(evidence, body)| self.accepted(&evidence, &body)))
            });
        }
        match axis {
            Axis::Primary => decode(layout, &primaries, &mut out, &options).unwrap(),
            Axis::Secondary => decode_secondaries(layout, &secondaries, &mut out, &options).unwrap(),
        }
        let derived = identify(&out, out.len() as u64, layout.shards(), &options).unwrap();
        let mut body = Vec::new();
        let found = find_inconsistency(axis, &used, &mut body, &options).unwrap();
        assert_eq!(found.is_none(), derived == self.blob, "evidence exactly when the id is another");
        Some(found.map_or(Ok(out), |evidence| Err(self.accepted(&evidence, &body))))
    }

    /// Sends evidence over the wire to somebody who judges it.
    fn accepted(&self, evidence: &Evidence, body: &[u8]) -> EvidenceKind {
        let head = evidence.encode();
        assert!(head.len() <= Evidence::head_bytes_max(&self.layout));
        assert_eq!(body.len() as u64, evidence.body_bytes());
        let read = Evidence::decode(&head, &self.blob, &self.layout).unwrap();
        assert_eq!(read, *evidence);
        for memory_bytes_max in [0, 1 << 20] {
            let checked = read.verify(&body, &Options { memory_bytes_max, ..Options::default() }).unwrap();
            assert_eq!(
                (checked.blob(), checked.kind(), checked.sliver()),
                (self.blob, evidence.kind(), evidence.sliver())
            );
        }
        assert!(Evidence::decode(&head[..head.len() - 1], &self.blob, &self.layout).is_err());
        assert!(Evidence::decode(&[&head[..], &[0]].concat(), &self.blob, &self.layout).is_err());
        if !body.is_empty() {
            // Another body is no evidence, whatever it would decode to.
            let mut other = body.to_vec();
            other[body.len() / 2] ^= 1;
            assert!(matches!(read.verify(&other, &Options::default()), Err(EvidenceError::Body { .. })));
            let short = body[..body.len() - 1].to_vec();
            assert!(read.verify(&short, &Options::default()).unwrap_err().is_undecided());
        }
        evidence.kind()
    }

    /// Reads of many readers: what they agree on, and what they find.
    fn reads(&self, seeds: u64) -> (BTreeSet<Vec<u8>>, BTreeMap<EvidenceKind, usize>) {
        let n = self.layout.shards();
        let (mut read, mut found) = (BTreeSet::new(), BTreeMap::new());
        for seed in 0..seeds {
            for axis in [Axis::Primary, Axis::Secondary] {
                match self.strict_read(axis, &shuffled(n, seed)) {
                    None => {}
                    Some(Ok(bytes)) => drop(read.insert(bytes)),
                    Some(Err(kind)) => *found.entry(kind).or_default() += 1,
                }
            }
        }
        (read, found)
    }
}

fn honest(n: usize, length: usize) -> Uploader {
    Uploader::new(&twin::matrix(&twin::source(&twin::bytes(length), n), n), length as u64)
}

#[test]
fn against_an_honest_blob_nothing_is_found() {
    for (n, length) in [(4, 0), (4, 11), (7, 300), (10, 5000), (28, 4000)] {
        let held = Held::new(&honest(n, length));
        let (read, found) = held.reads(4);
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [twin::bytes(length)]);
        assert!(found.is_empty());
    }
}

#[test]
fn evidence_against_an_honest_blob_is_refused_as_consistent() {
    for (n, length) in [(4_usize, 11), (7, 300), (10, 5000)] {
        let uploader = honest(n, length);
        let held = Held::new(&uploader);
        let (p, c) = (usize::from(held.layout.rows()), usize::from(held.layout.columns()));
        let options = Options::default();
        let consistent = |head: &[u8], body: &Vec<u8>| {
            let evidence = Evidence::decode(head, &held.blob, &held.layout).unwrap();
            assert_eq!(evidence.encode(), head);
            matches!(evidence.verify(body, &options), Err(EvidenceError::Consistent))
        };
        for target in 0..n {
            let (head, body) = uploader.line_evidence(1, target, &(n - p..n).collect::<Vec<_>>());
            assert!(consistent(&head, &body));
            let (head, body) = uploader.line_evidence(0, target, &(0..c).collect::<Vec<_>>());
            assert!(consistent(&head, &body));
            let proof = held.proof(target as u16);
            for axis in [Axis::Primary, Axis::Secondary] {
                let body = held.sliver(target as u16, axis);
                assert!(consistent(&Evidence::extension(axis, &proof).encode(), &body));
                let hashes = SliverHashes::of(&held.layout, PairIndex(target as u16), axis, &body, &options).unwrap();
                assert!(Evidence::padding(&proof, &hashes, &body).unwrap().is_none());
            }
        }
        let mut roots = vec![4];
        for (pair, leaf) in held.twin.pair_leaves.iter().enumerate().skip(n - p) {
            roots.extend((pair as u16).to_le_bytes());
            roots.extend(leaf);
        }
        assert!(consistent(&roots, &Vec::new()));
        // A chunk that is all content, and all the padding there is.
        for symbol in 0..c as u16 {
            let (pair, body) = ((p - 1) as u16, held.sliver((p - 1) as u16, Axis::Primary));
            let sliver = SliverHashes::of(&held.layout, PairIndex(pair), Axis::Primary, &body, &options).unwrap();
            let place = floe_erasure::Place::chunk(Axis::Primary, symbol, 0);
            let (chunk, opening) = sliver.open_part(&held.layout, place, &body).unwrap();
            let mut head = vec![5, 0];
            head.extend(pair.to_le_bytes());
            head.extend(symbol.to_le_bytes());
            head.extend(0_u64.to_le_bytes());
            head.extend(&held.twin.proofs[usize::from(pair)][..64]);
            head.extend(&held.twin.pair_leaves[usize::from(pair)][32..]);
            head.extend(opening.encode());
            assert!(consistent(&head, &chunk));
        }
    }
}

#[test]
fn a_set_of_helpers_has_one_spelling() {
    let uploader = honest(7, 300);
    let held = Held::new(&uploader);
    for helpers in [[2, 1, 3], [1, 1, 3], [1, 3, 3], [1, 2, 0]] {
        let (head, _) = uploader.line_evidence(1, 5, &helpers);
        let read = Evidence::decode(&head, &held.blob, &held.layout);
        assert!(matches!(read, Err(EvidenceError::Shape)), "{helpers:?}");
        let mut roots = vec![4];
        for pair in helpers {
            roots.extend((pair as u16).to_le_bytes());
            roots.extend(&held.twin.pair_leaves[pair]);
        }
        assert!(Evidence::decode(&roots, &held.blob, &held.layout).is_err());
    }
}

#[test]
fn symbols_that_are_no_codewords_are_an_extension() {
    for (n, length) in [(4, 11), (7, 300), (10, 5000)] {
        for seed in 0..6 {
            let mut uploader = honest(n, length);
            let (row, column) =
                (usize::from(shuffled(n as u16, seed)[0]), usize::from(shuffled(n as u16, seed + 9)[0]));
            uploader.rows[row][column][0] ^= 1;
            uploader.columns[column][row][0] ^= 1;
            let (read, found) = Held::new(&uploader).reads(6);
            assert!(read.is_empty());
            let expected = [EvidenceKind::Extension, EvidenceKind::Column, EvidenceKind::Row];
            assert!(found.keys().all(|kind| expected.contains(kind)) && !found.is_empty());
        }
    }
}

#[test]
fn rows_and_columns_that_are_codewords_of_different_blobs_are_lines() {
    for (n, length) in [(4, 11), (7, 300), (10, 5000)] {
        let mut other_bytes = twin::bytes(length);
        other_bytes[length / 2] ^= 1;
        let other = Uploader::new(&twin::matrix(&twin::source(&other_bytes, n), n), length as u64);
        let mut uploader = honest(n, length);
        uploader.columns = other.columns;
        let held = Held::new(&uploader);
        // Every holder signs: each sliver alone is as it should be.
        for pair in 0..n as u16 {
            let fragment = &held.twin.fragments[usize::from(pair)];
            let proof = held.proof(pair).proof().clone();
            verify_fragment(&held.blob, &held.layout, PairIndex(pair), &proof, fragment, &Options::default()).unwrap();
        }
        let (read, found) = held.reads(4);
        assert!(read.is_empty());
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [EvidenceKind::Column, EvidenceKind::Row]);
    }
}

#[test]
fn one_row_of_another_blob_is_found_by_whoever_reads_it_and_by_whoever_does_not() {
    for (n, length) in [(4, 11), (7, 300), (10, 5000)] {
        for row in [0, n - 1] {
            let mut other_bytes = twin::bytes(length);
            other_bytes[0] ^= 1;
            let other = twin::matrix(&twin::source(&other_bytes, n), n);
            let mut uploader = honest(n, length);
            uploader.rows[row] = other[row].clone();
            let (read, found) = Held::new(&uploader).reads(6);
            assert!(read.is_empty() && !found.is_empty());
        }
    }
}

#[test]
fn pieces_that_are_not_those_of_the_roots_are_roots() {
    for (n, length) in [(4_usize, 11), (7, 300), (10, 5000)] {
        let mut uploaders = vec![honest(n, length); 3];
        uploaders[0].other_pieces = vec![(n - 1, 3)];
        uploaders[1].other_vector = vec![5];
        // The last byte of the padding of the vector, if it has any.
        uploaders[2].other_vector = vec![usize::MAX - usize::MAX % 2];
        for uploader in uploaders {
            let held = Held::new(&uploader);
            let (read, found) = held.reads(4);
            assert!(read.is_empty());
            assert!(found.contains_key(&EvidenceKind::Roots));
            let all: Vec<CheckedProof> = (0..n as u16).rev().map(|pair| held.proof(pair)).collect();
            match RootVector::from_proofs(&all) {
                Err(RootsError::Inconsistent { evidence }) => drop(held.accepted(&evidence, &[])),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn roots_of_nothing_anybody_has_are_found_too() {
    for (n, length) in [(4_usize, 11), (7, 300), (10, 5000)] {
        for (sliver, which) in [(0, 0), (0, 1), (n - 1, 0), (n - 1, 1)] {
            for axis in 0..2 {
                let mut uploader = honest(n, length);
                let other = (sliver, which, [7; 32]);
                match axis {
                    0 => uploader.other_primary_roots.push(other),
                    _ => uploader.other_secondary_roots.push(other),
                }
                let (read, found) = Held::new(&uploader).reads(5);
                assert!(read.is_empty() && !found.is_empty());
            }
        }
    }
}

#[test]
fn bytes_after_the_end_are_padding_whoever_reads() {
    // 28 symbols of 18 bytes are 504: with a length of 500 the last four must be zero.
    let n = 10;
    let uploader = Uploader::new(&twin::matrix(&twin::source(&twin::bytes(504), n), n), 500);
    let held = Held::new(&uploader);
    let (read, found) = held.reads(6);
    assert!(read.is_empty());
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [EvidenceKind::Padding]);
    // Readers of parity slivers only find it in the source that they computed.
    let parity: Vec<u16> = (6..10).collect();
    assert_eq!(held.strict_read(Axis::Primary, &parity), Some(Err(EvidenceKind::Padding)));
    let error = verify_fragment(
        &held.blob,
        &held.layout,
        PairIndex(3),
        held.proof(3).proof(),
        &held.twin.fragments[3],
        &Options::default(),
    );
    assert!(matches!(error, Err(FragmentError::Padding { .. })));

    let vector = RootVector::from_proofs(&(0..4).map(|pair| held.proof(pair)).collect::<Vec<_>>()).unwrap();
    let target = SliverId { pair: PairIndex(3), axis: Axis::Primary };
    let found = recover(&held, Arc::new(vector), target);
    assert_eq!(found, EvidenceKind::Padding);
}

/// Recovers until something is found to be inconsistent.
fn recover(held: &Held, vector: Arc<RootVector>, target: SliverId) -> EvidenceKind {
    let (layout, options) = (held.layout, Options::default());
    let mut recovery = Recovery::new(vector, target).unwrap();
    let mut helpers = (0..layout.shards()).rev();
    loop {
        match recovery.attempt(&options).unwrap() {
            Attempt::Short { .. } => {
                let helper = helpers.next().unwrap();
                let (mut symbol, fragment) = (Vec::new(), &held.twin.fragments[usize::from(helper)]);
                recovery_symbol(&layout, PairIndex(helper), target, (fragment, &mut symbol), &options).unwrap();
                recovery.offer(PairIndex(helper), symbol).unwrap();
            }
            Attempt::ProofsWanted { helpers } => {
                for helper in helpers {
                    let place = recovery_place(&layout, target).unwrap();
                    let bytes = held.sliver(helper.0, place.axis);
                    let hashes = SliverHashes::of(&layout, helper, place.axis, &bytes, &options).unwrap();
                    let opening = hashes.open_symbol(&layout, place.symbol).unwrap();
                    recovery.prove(helper, held.proof(helper.0).proof().clone(), opening).unwrap();
                }
            }
            Attempt::Inconsistent { evidence, body } => return held.accepted(&evidence, &body),
            Attempt::Recovered { .. } => panic!("it was to be inconsistent"),
        }
    }
}

#[test]
fn recovery_from_proven_symbols_finds_lines() {
    for (n, length) in [(4, 11), (7, 300), (10, 5000)] {
        let mut other_bytes = twin::bytes(length);
        other_bytes[length / 2] ^= 1;
        let other = Uploader::new(&twin::matrix(&twin::source(&other_bytes, n), n), length as u64);
        let mut uploader = honest(n, length);
        uploader.columns = other.columns;
        let held = Held::new(&uploader);
        let proofs: Vec<CheckedProof> = (0..held.layout.rows()).map(|pair| held.proof(pair)).collect();
        let vector = Arc::new(RootVector::from_proofs(&proofs).unwrap());
        let mut kinds = BTreeSet::new();
        for pair in 0..n as u16 {
            for (axis, kind) in [(Axis::Secondary, EvidenceKind::Column), (Axis::Primary, EvidenceKind::Row)] {
                // Symbols in which the two blobs agree are recovered: those are no evidence.
                let (row, column) = (usize::from(pair), n - 1 - usize::from(pair));
                let differs = match axis {
                    Axis::Secondary => {
                        uploader.rows.iter().enumerate().any(|(i, row)| row[column] != uploader.columns[column][i])
                    }
                    Axis::Primary => {
                        uploader.columns.iter().enumerate().any(|(j, column)| column[row] != uploader.rows[row][j])
                    }
                };
                if differs {
                    let target = SliverId { pair: PairIndex(pair), axis };
                    assert_eq!(recover(&held, Arc::clone(&vector), target), kind);
                    kinds.insert(kind);
                }
            }
        }
        assert_eq!(kinds.len(), 2);
    }
}

#[test]
fn a_holder_that_finds_an_extension_can_show_it() {
    let (n, length) = (10, 5000);
    let mut uploader = honest(n, length);
    uploader.rows[2][8][0] ^= 1;
    let held = Held::new(&uploader);
    let (proof, fragment) = (held.proof(2), &held.twin.fragments[2]);
    let error = verify_fragment(&held.blob, &held.layout, PairIndex(2), proof.proof(), fragment, &Options::default())
        .unwrap_err();
    let FragmentError::Extension { axis, .. } = error else { panic!("{error}") };
    let kind = held.accepted(&Evidence::extension(axis, &proof), &held.sliver(2, axis));
    assert_eq!(kind, EvidenceKind::Extension);
}

#[test]
fn any_mixture_of_lies_leaves_readers_of_one_mind() {
    let (mut agreed, mut all) = (0, BTreeMap::new());
    for seed in 0..150_u64 {
        let number = |salt: u64, below: usize| {
            let hash = blake3::hash(&[seed.to_le_bytes(), salt.to_le_bytes()].concat());
            u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()) as usize % below
        };
        let n = [4, 5, 7, 8][number(0, 4)];
        let length = number(1, 200) + 1;
        // Padding that is not zero, in some.
        let written = if number(2, 4) == 0 { length + 3 } else { length };
        let layout = Layout::new(n as u16, length as u64).unwrap();
        let room = usize::from(layout.rows()) * usize::from(layout.columns()) * layout.symbol_bytes() as usize;
        let mut bytes = twin::bytes(written.min(room));
        bytes.resize(room, 0);
        let mut uploader = Uploader::new(&twin::matrix(&twin::source(&bytes, n), n), length as u64);
        for lie in 0..number(3, 4) as u64 {
            let (a, b, which) = (number(10 + lie, n), number(20 + lie, n), number(30 + lie, 2));
            match number(40 + lie, 7) {
                0 => uploader.rows[a][b][0] ^= 1,
                1 => uploader.columns[a][b][1] ^= 1,
                2 => uploader.other_primary_roots.push((a, which, [b as u8; 32])),
                3 => uploader.other_secondary_roots.push((a, which, [b as u8; 32])),
                4 => uploader.other_pieces.push((a, b)),
                5 => uploader.other_vector.push(a * 31 + b),
                _ => {
                    let mut other = bytes.clone();
                    other[0] ^= 1;
                    uploader.rows[a] = twin::matrix(&twin::source(&other, n), n)[a].clone();
                }
            }
        }
        let (read, found) = Held::new(&uploader).reads(5);
        assert!(read.len() <= 1, "seed {seed}: readers disagree");
        assert!(read.is_empty() || found.is_empty(), "seed {seed}: some read what others find inconsistent");
        agreed += read.len();
        found.into_keys().for_each(|kind| *all.entry(kind).or_insert(0) += 1);
    }
    assert!(agreed > 10 && all.len() == 5, "{agreed} {all:?}");
}

#[test]
fn wrong_slivers_are_named_before_anything_is_found() {
    let stored = Stored::new(10, 5000);
    let options = Options::default();
    let fragments: Vec<Vec<u8>> = (0..4).map(|pair| stored.fragment(pair)).collect();
    let mut slivers: Vec<(CheckedProof, &dyn ReadAt)> =
        (0..4).map(|pair| (stored.checked_proof(pair), &fragments[usize::from(pair)] as &dyn ReadAt)).collect();
    let mut body = Vec::new();
    assert!(find_inconsistency(Axis::Primary, &slivers, &mut body, &options).unwrap().is_none());
    let few = find_inconsistency(Axis::Secondary, &slivers, &mut body, &options);
    assert!(matches!(few, Err(InconsistencyError::TooFew { needed: 7, given: 4 })));
    slivers[2].1 = &fragments[1];
    match find_inconsistency(Axis::Primary, &slivers, &mut body, &options) {
        Err(InconsistencyError::Sliver(wrong)) => {
            assert_eq!(wrong.sliver, SliverId { pair: PairIndex(2), axis: Axis::Primary });
        }
        other => panic!("{other:?}"),
    }
    let nothing = find_inconsistency(Axis::Primary, &[], &mut body, &options);
    assert!(matches!(nothing, Err(InconsistencyError::TooFew { .. })));
    assert!(body.is_empty());
}
